"""The models built from Flax's NNX, with the weights of those by hand, and their training steps.

The ResNet and the GPT are those of examples/peers/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import optax
from flax import nnx

from programs.layers import by_hand
from programs.layers.examples import example
from programs.models import RATE


def training(step: Callable, model: Any, *batch: Any) -> Callable[[], Any]:
    """A call that makes a step, of which model and optimizer keep what changes."""
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)
    return lambda: step(model, optimizer, *batch)


def step_of(loss: Callable) -> Callable:
    """A jitted step of ``loss(model, *batch)``."""

    @nnx.jit
    def step(model: Any, optimizer: Any, *batch: Any) -> Any:
        value, grads = nnx.value_and_grad(loss)(model, *batch)
        optimizer.update(model, grads)
        return value

    return step


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _classify(model: Any, images: Any, labels: Any) -> Any:
    return _cross_entropy(model(images), labels)


def _next_token(model: Any, tokens: Any) -> Any:
    return _cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])


# ---------------------------------------------------------------- weights
def linear(layer: Any, p: Any) -> None:
    """Of Linear, Conv, and the layers of attention, which have an axis of heads."""
    kernel = p["dense"] if "dense" in p else p["conv"]
    layer.kernel[...] = kernel.reshape(layer.kernel.shape)
    if "b" in p:
        layer.bias[...] = p["b"].reshape(layer.bias.shape)


def norm(layer: Any, p: Any) -> None:
    layer.scale[...], layer.bias[...] = p["scale"], p["bias"]


def block(layer: Any, p: Any, up: Any, down: Any) -> None:
    """A transformer's block; with leading axes, several."""
    norm(layer.norm1, p["norm1"])
    norm(layer.norm2, p["norm2"])
    kernels = jnp.split(p["qkv"]["dense"], 3, axis=-1)
    biases = jnp.split(p["qkv"]["b"], 3, axis=-1)
    parts = layer.attention.query, layer.attention.key, layer.attention.value
    for part, kernel, bias in zip(parts, kernels, biases):
        linear(part, {"dense": kernel, "b": bias})
    linear(layer.attention.out, p["out"])
    linear(up, p["up"])
    linear(down, p["down"])


def _like_the_others(model: Any) -> Any:
    """No dropout, and what PyTorch has in place of Flax's defaults: the same work."""
    for _, layer in nnx.iter_modules(model):
        if isinstance(layer, nnx.LayerNorm):
            layer.epsilon = 1e-5
        if isinstance(layer, nnx.Dropout):
            layer.rate = 0.0
        if isinstance(layer, nnx.Conv):
            layer.padding = layer.kernel_size[0] // 2  # as much on each side
    return model


# ---------------------------------------------------------------- convolutional networks
def cnn(params: Any, stats: Any, *batch: Any) -> Callable[[], Any]:
    """Two convolutions and an affine layer."""
    rngs = nnx.Rngs(0)
    pool = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))
    first, second = nnx.Conv(3, 32, (3, 3), rngs=rngs), nnx.Conv(32, 64, (3, 3), rngs=rngs)
    head = nnx.Linear(4096, by_hand.CLASSES, rngs=rngs)
    linear(first, params["first"])
    linear(second, params["second"])
    linear(head, {"dense": params["head"]["flat"], "b": params["head"]["b"]})

    def flat(x: Any) -> Any:
        return x.reshape(x.shape[0], -1)

    model = nnx.Sequential(first, nnx.relu, pool, second, nnx.relu, pool, flat, head)
    return training(step_of(_classify), model, *batch)


def resnet(params: Any, stats: Any, *batch: Any) -> Callable[[], Any]:
    """The example's, without dropout."""
    source = example("peers/resnet_flax")
    model = _like_the_others(source.resnet18(by_hand.CLASSES, rngs=nnx.Rngs(0)))

    def unit(convolution: Any, normalization: Any, p: Any) -> None:
        linear(convolution, p)
        norm(normalization, p)

    layers = model.layers
    unit(layers[0], layers[1], params["stem"])
    for layer, p in zip(layers[3:11], params["blocks"]):
        unit(layer.conv1, layer.norm1, p["a"])
        unit(layer.conv2, layer.norm2, p["b"])
        if "short" in p:
            unit(*layer.shortcut.layers, p["short"])
    linear(layers[-1], params["head"])
    return training(source.step, model, *batch)


# ---------------------------------------------------------------- LSTM language model
class LanguageModel(nnx.Module):
    """Tokens to logits of the next ones."""

    def __init__(self, vocabulary: int, width: int, depth: int, *, rngs: Any) -> None:
        self.tokens = nnx.Embed(vocabulary, width, rngs=rngs)
        cells = [nnx.OptimizedLSTMCell(width, width, rngs=rngs) for _ in range(depth)]
        self.lstm = nnx.Sequential(*[nnx.RNN(cell, rngs=rngs) for cell in cells])
        self.head = nnx.Linear(width, vocabulary, rngs=rngs)

    def __call__(self, tokens: Any) -> Any:
        return self.head(self.lstm(self.tokens(tokens)))


def language_model(params: Any, stats: Any, tokens: Any) -> Callable[[], Any]:
    """An LSTM of several layers."""
    vocabulary, width = params["embed"].shape
    model = LanguageModel(vocabulary, width, len(params["cells"]), rngs=nnx.Rngs(0))
    model.tokens.embedding[...] = params["embed"]
    linear(model.head, params["head"])
    for layer, p in zip(model.lstm.layers, params["cells"]):
        linear(layer.cell.dense_i, {"dense": p["wx"]})
        linear(layer.cell.dense_h, {"dense": p["wh"], "b": p["b"]})
    return training(step_of(_next_token), model, tokens)


# ---------------------------------------------------------------- transformers
def gpt(params: Any, stats: Any, tokens: Any) -> Callable[[], Any]:
    """The example's."""
    source, sizes = example("peers/gpt_flax"), by_hand.GPT
    vocabulary, width = params["embed"].shape
    shape = vocabulary, len(params["position"]), width, sizes.heads, sizes.layers
    model = _like_the_others(source.GPT(*shape, rngs=nnx.Rngs(0)))
    model.tokens.embedding[...] = params["embed"]
    model.positions.embedding[...] = params["position"]
    norm(model.norm, params["encoder"]["norm"])
    up, _, down = model.blocks.mlp.layers
    block(model.blocks, by_hand.stacked(jnp, params["encoder"]["blocks"]), up, down)
    return training(source.step, model, tokens)


class Block(nnx.Module):
    """Attention and a network of two affine layers."""

    def __init__(self, width: int, heads: int, *, rngs: Any) -> None:
        self.norm1 = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = x + self.attention(self.norm1(x))
        return x + self.down(nnx.gelu(self.up(self.norm2(x)), approximate=False))


class ViT(nnx.Module):
    """A vision transformer: Dosovitskiy et al. (2020)."""

    def __init__(self, params: Any, *, rngs: Any) -> None:
        patch, _, colours, width = params["patch"]["conv"].shape
        sizes = (patch, patch)
        self.patch = nnx.Conv(colours, width, sizes, sizes, padding="VALID", rngs=rngs)
        self.token, self.position = nnx.Param(params["token"]), nnx.Param(params["position"])
        heads, depth = by_hand.VIT.heads, by_hand.VIT.layers
        self.blocks = nnx.Sequential(*[Block(width, heads, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        self.head = nnx.Linear(width, by_hand.CLASSES, rngs=rngs)

    def __call__(self, images: Any) -> Any:
        x = self.patch(images)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        first = jnp.broadcast_to(self.token[...], (x.shape[0], 1, x.shape[-1]))
        x = jnp.concatenate([first, x], axis=1) + self.position[...]
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit(params: Any, stats: Any, *batch: Any) -> Callable[[], Any]:
    """A small one."""
    model = ViT(params, rngs=nnx.Rngs(0))
    linear(model.patch, params["patch"])
    for layer, p in zip(model.blocks.layers, params["encoder"]["blocks"]):
        block(layer, p, layer.up, layer.down)
    norm(model.norm, params["encoder"]["norm"])
    linear(model.head, params["head"])
    return training(step_of(_classify), model, *batch)
