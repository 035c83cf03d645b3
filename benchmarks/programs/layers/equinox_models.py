"""The models built from Equinox, with the weights of those by hand, and their training steps.

The ResNet and the GPT are those of examples/peers/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from equinox import nn

from programs.layers import by_hand
from programs.layers.examples import example
from programs.models import RATE

KEY = jax.random.key(0)


def training(step: Callable, state: list, *batch: Any) -> Callable[[], Any]:
    """A call of a step whose first arguments, those in state, are donated and replaced."""

    def call() -> Any:
        # Donation is of all arguments: the batch must be another one each time.
        *state[:], value = step(*state, *jax.tree.map(jnp.copy, batch))
        return value

    return call


def step_of(loss: Callable, optimizer: Any) -> Callable:
    """A jitted step of ``loss(model, *batch)``."""

    @eqx.filter_jit(donate="all")
    def step(model: Any, state: Any, *batch: Any) -> tuple:
        value, grads = eqx.filter_value_and_grad(loss)(model, *batch)
        updates, state = optimizer.update(grads, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, value

    return step


def optimizer_of(model: Any) -> tuple[Any, Any]:
    """Adam and its state."""
    optimizer = optax.adam(RATE)
    return optimizer, optimizer.init(eqx.filter(model, eqx.is_array))


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _classify(model: Any, images: Any, labels: Any) -> Any:
    return _cross_entropy(jax.vmap(model)(images), labels)


def _next_token(model: Any, tokens: Any) -> Any:
    return _cross_entropy(jax.vmap(model)(tokens[:, :-1]), tokens[:, 1:])


# ---------------------------------------------------------------- weights
def linear(layer: Any, p: Any) -> Any:
    """Of Linear, or several of them with a leading axis."""
    kernel = jnp.swapaxes(p["dense"], -1, -2)
    return eqx.tree_at(lambda x: (x.weight, x.bias), layer, (kernel, p["b"]))


def conv(layer: Any, p: Any) -> Any:
    layer = eqx.tree_at(lambda x: x.weight, layer, p["conv"].transpose(3, 2, 0, 1))
    if "b" not in p:
        return layer
    return eqx.tree_at(lambda x: x.bias, layer, p["b"].reshape(-1, 1, 1))


def norm(layer: Any, p: Any) -> Any:
    return eqx.tree_at(lambda x: (x.weight, x.bias), layer, (p["scale"], p["bias"]))


def attention(heads: int, p: Any) -> Any:
    """A layer with biases, from the parameters of a block."""
    width = p["out"]["dense"].shape[-1]
    biases = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}
    layer = nn.MultiheadAttention(heads, width, **biases, key=KEY)
    kernels = jnp.split(p["qkv"]["dense"], 3, axis=-1)
    values = jnp.split(p["qkv"]["b"], 3, axis=-1)
    parts = [{"dense": kernel, "b": b} for kernel, b in zip(kernels, values)] + [p["out"]]

    def projections(x: Any) -> list:
        return [x.query_proj, x.key_proj, x.value_proj, x.output_proj]

    made = [linear(layer, part) for layer, part in zip(projections(layer), parts)]
    return eqx.tree_at(projections, layer, made)


def block(layer: Any, heads: int, p: Any) -> Any:
    """A transformer's block, or several of them with a leading axis."""
    return eqx.tree_at(
        lambda x: [x.norm1, x.norm2, x.attention, x.up, x.down],
        layer,
        [
            norm(layer.norm1, p["norm1"]),
            norm(layer.norm2, p["norm2"]),
            attention(heads, p),
            linear(layer.up, p["up"]),
            linear(layer.down, p["down"]),
        ],
    )


# ---------------------------------------------------------------- convolutional networks
def cnn(params: Any, stats: Any, images: Any, labels: Any) -> Callable[[], Any]:
    """Two convolutions and an affine layer."""
    first = nn.Conv2d(3, 32, 3, padding=1, key=KEY)
    second = nn.Conv2d(32, 64, 3, padding=1, key=KEY)
    # Pixels come after channels here.
    flat = params["head"]["flat"].transpose(2, 0, 1, 3).reshape(4096, -1)
    head = nn.Linear(4096, by_hand.CLASSES, key=KEY)
    relu, pool = nn.Lambda(jax.nn.relu), nn.MaxPool2d(2, 2)
    layers = [conv(first, params["first"]), relu, pool, conv(second, params["second"]), relu, pool]
    last = linear(head, {"dense": flat, "b": params["head"]["b"]})
    model = nn.Sequential([*layers, nn.Lambda(jnp.ravel), last])
    optimizer, state = optimizer_of(model)
    step = step_of(_classify, optimizer)
    return training(step, [model, state], images.transpose(0, 3, 1, 2), labels)


def resnet(params: Any, stats: Any, images: Any, labels: Any) -> Callable[[], Any]:
    """The example's, without dropout."""
    source = example("peers/resnet_equinox")
    model, running = nn.make_with_state(source.ResNet18)(by_hand.CLASSES, key=KEY)

    def blocks() -> list:
        made = []
        for layer, p in zip(model.blocks, params["blocks"]):
            layer = eqx.tree_at(
                lambda x: [x.conv1, x.norm1, x.conv2, x.norm2],
                layer,
                [
                    conv(layer.conv1, p["a"]),
                    norm(layer.norm1, p["a"]),
                    conv(layer.conv2, p["b"]),
                    norm(layer.norm2, p["b"]),
                ],
            )
            if "short" in p:
                first, second = layer.shortcut.layers
                short = nn.Sequential([conv(first, p["short"]), norm(second, p["short"])])
                layer = eqx.tree_at(lambda x: x.shortcut, layer, short)
            made.append(layer)
        return made

    model = eqx.tree_at(
        lambda x: [x.stem, x.norm, x.blocks, x.dropout.p, x.head],
        model,
        [
            conv(model.stem, params["stem"]),
            norm(model.norm, params["stem"]),
            blocks(),
            0.0,
            linear(model.head, params["head"]),
        ],
    )
    optimizer, state = optimizer_of(model)
    step = source.make_step(optimizer)
    batch = images.transpose(0, 3, 1, 2), labels, KEY
    return training(step, [model, running, state], *batch)


# ---------------------------------------------------------------- LSTM language model
class LanguageModel(eqx.Module):
    """Tokens to logits of the next ones, of one sequence."""

    tokens: nn.Embedding
    cells: list[nn.LSTMCell]
    head: nn.Linear

    def __call__(self, tokens: Any) -> Any:
        x = self.tokens.weight[tokens]
        for cell in self.cells:

            def step(carry: Any, x: Any, cell: Any = cell) -> Any:
                carry = cell(x, carry)
                return carry, carry[0]

            zeros = jnp.zeros(cell.hidden_size)
            _, x = jax.lax.scan(step, (zeros, zeros), x)
        return jax.vmap(self.head)(x)


def language_model(params: Any, stats: Any, tokens: Any) -> Callable[[], Any]:
    """An LSTM of several layers."""
    vocabulary, width = params["embed"].shape

    def cell(p: Any) -> Any:
        made = nn.LSTMCell(width, width, key=KEY)
        values = p["wx"].T, p["wh"].T, p["b"]
        return eqx.tree_at(lambda x: (x.weight_ih, x.weight_hh, x.bias), made, values)

    embedding = nn.Embedding(weight=params["embed"])
    head = linear(nn.Linear(width, vocabulary, key=KEY), params["head"])
    model = LanguageModel(embedding, [cell(p) for p in params["cells"]], head)
    optimizer, state = optimizer_of(model)
    return training(step_of(_next_token, optimizer), [model, state], tokens)


# ---------------------------------------------------------------- transformers
def gpt(params: Any, stats: Any, tokens: Any) -> Callable[[], Any]:
    """The example's, with biases in its attention."""
    source, sizes = example("peers/gpt_equinox"), by_hand.GPT
    vocabulary, width = params["embed"].shape
    shape = vocabulary, len(params["position"]), width, sizes.heads, sizes.layers
    model = source.GPT(*shape, key=KEY)
    blocks = by_hand.stacked(jnp, params["encoder"]["blocks"])
    model = eqx.tree_at(
        lambda x: [x.tokens.weight, x.positions.weight, x.blocks, x.norm],
        model,
        [
            params["embed"],
            params["position"],
            block(model.blocks, sizes.heads, blocks),
            norm(model.norm, params["encoder"]["norm"]),
        ],
    )
    optimizer, state = optimizer_of(model)
    return training(source.make_step(optimizer), [model, state], tokens, KEY)


class Block(eqx.Module):
    """Attention and a network of two affine layers."""

    norm1: nn.LayerNorm
    attention: nn.MultiheadAttention
    norm2: nn.LayerNorm
    up: nn.Linear
    down: nn.Linear

    def __init__(self, width: int, heads: int, *, key: Any) -> None:
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(heads, width, key=key)
        self.up = nn.Linear(width, 4 * width, key=key)
        self.down = nn.Linear(4 * width, width, key=key)

    def __call__(self, x: Any) -> Any:
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y)
        y = jax.nn.gelu(jax.vmap(self.up)(jax.vmap(self.norm2)(x)), approximate=False)
        return x + jax.vmap(self.down)(y)


class ViT(eqx.Module):
    """A vision transformer: Dosovitskiy et al. (2020)."""

    patch: nn.Conv2d
    token: jax.Array
    position: jax.Array
    blocks: list[Block]
    norm: nn.LayerNorm
    head: nn.Linear

    def __call__(self, image: Any) -> Any:
        x = self.patch(image)
        x = jnp.concatenate([self.token, x.reshape(x.shape[0], -1).T]) + self.position
        for layer in self.blocks:
            x = layer(x)
        return self.head(self.norm(x[0]))


def vit(params: Any, stats: Any, images: Any, labels: Any) -> Callable[[], Any]:
    """A small one."""
    width, heads, size = by_hand.VIT.width, by_hand.VIT.heads, by_hand.PATCH
    encoder = params["encoder"]
    empty = Block(width, heads, key=KEY)
    model = ViT(
        conv(nn.Conv2d(3, width, size, size, key=KEY), params["patch"]),
        params["token"][0],
        params["position"][0],
        [block(empty, heads, p) for p in encoder["blocks"]],
        norm(nn.LayerNorm(width), encoder["norm"]),
        linear(nn.Linear(width, by_hand.CLASSES, key=KEY), params["head"]),
    )
    optimizer, state = optimizer_of(model)
    step = step_of(_classify, optimizer)
    return training(step, [model, state], images.transpose(0, 3, 1, 2), labels)
