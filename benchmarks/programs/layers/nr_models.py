"""The models built from nr.nn, with the weights of those by hand, and their training steps.

The ResNet and the GPT are those of examples/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import nr
import nr.numpy as jnp
from nr import nn, optim
from programs.layers import by_hand
from programs.layers.examples import example
from programs.models import RATE

KEY = nr.random.key(0)


def training(loss: Callable, model: Any, *batch: Any) -> Callable[[], Any]:
    """A call that makes a step of ``loss(model, *batch)``, and returns its value."""
    optimizer = optim.adam(RATE)

    @partial(nr.jit, donate_argnums=(0, 1))
    def step(model: Any, state: Any, *batch: Any) -> tuple:
        value, grads = nr.value_and_grad(loss)(model, *batch)
        updates, state = optimizer.update(grads, state, model)
        return optim.apply_updates(model, updates), state, value

    return repeated(step, model, optimizer.init(model), *batch)


def repeated(step: Callable, *args: Any) -> Callable[[], Any]:
    """A call of a step whose first two arguments are donated and replaced."""
    carry, rest = list(args[:2]), args[2:]

    def call() -> Any:
        *carry[:], value = step(*carry, *rest)
        return value

    return call


def with_weights(make: Callable[[], Any], weights: dict[str, Any]) -> Any:
    """A model with weights in place of random ones, and of their dtype."""
    dtype = next(iter(weights.values())).dtype
    shapes = nr.tree.map(lambda x: nr.ShapeDtypeStruct(x.shape, dtype), nr.eval_shape(make))
    return nn.load_state_dict(shapes, weights)


def linear(name: str, p: Any) -> dict:
    return {f"{name}.weight": p["dense"], f"{name}.bias": p["b"]}


def conv(name: str, p: Any) -> dict:
    return {f"{name}.weight": p["conv"], f"{name}.bias": p["b"]}


def norm(name: str, p: Any) -> dict:
    return {f"{name}.weight": p["scale"], f"{name}.bias": p["bias"]}


# ---------------------------------------------------------------- CNN
def cnn(params: Any, stats: Any, *batch: Any) -> Callable[[], Any]:
    """Two convolutions and an affine layer."""

    def make() -> nn.Sequential:
        keys = nr.random.split(KEY, 3)
        return nn.Sequential(
            [
                nn.Conv.init(3, 32, (3, 3), key=keys[0]),
                nn.relu,
                partial(nn.max_pool, window=(2, 2)),
                nn.Conv.init(32, 64, (3, 3), key=keys[1]),
                nn.relu,
                partial(nn.max_pool, window=(2, 2)),
                lambda x: x.reshape(x.shape[0], -1),
                nn.Linear.init(4096, by_hand.CLASSES, key=keys[2]),
            ]
        )

    head = {"dense": params["head"]["flat"].reshape(4096, -1), "b": params["head"]["b"]}
    weights = conv("layers.0", params["first"]) | conv("layers.3", params["second"])
    return training(_classify, with_weights(make, weights | linear("layers.7", head)), *batch)


def _classify(model: Any, images: Any, labels: Any) -> Any:
    return nn.softmax_cross_entropy(model(images), labels)


# ---------------------------------------------------------------- ResNet-18
def resnet(params: Any, stats: Any, *batch: Any) -> Callable[[], Any]:
    """The example's, without dropout."""
    source = example("resnet")

    def make() -> nn.Sequential:
        layers = list(source.resnet18(by_hand.CLASSES, key=KEY).layers)
        return nn.Sequential([nn.Dropout(0.0) if isinstance(x, nn.Dropout) else x for x in layers])

    def unit(convolution: str, name: str, p: Any, s: Any) -> dict:
        running = {f"{name}.running_mean": s["mean"], f"{name}.running_var": s["var"]}
        return {f"{convolution}.weight": p["conv"]} | norm(name, p) | running

    weights = unit("layers.0", "layers.1", params["stem"], stats["stem"])
    for i, (p, s) in enumerate(zip(params["blocks"], stats["blocks"])):
        block = f"layers.{3 + i}"
        weights |= unit(f"{block}.conv1", f"{block}.norm1", p["a"], s["a"])
        weights |= unit(f"{block}.conv2", f"{block}.norm2", p["b"], s["b"])
        if "short" in p:
            short = f"{block}.shortcut.layers"
            weights |= unit(f"{short}.0", f"{short}.1", p["short"], s["short"])
    weights |= linear("layers.13", params["head"])
    model, optimizer = with_weights(make, weights), optim.adam(RATE)
    return repeated(source.make_step(optimizer), model, optimizer.init(model), *batch, KEY)


# ---------------------------------------------------------------- LSTM language model
@nn.module
class LanguageModel:
    """Tokens to logits of the next ones."""

    tokens: nn.Embedding
    lstm: nn.LSTM
    head: nn.Linear

    @classmethod
    def init(cls, vocabulary: int, width: int, depth: int, *, key: Any) -> LanguageModel:
        keys = nr.random.split(key, 3)
        return cls(
            nn.Embedding.init(vocabulary, width, key=keys[0]),
            nn.LSTM.init(width, width, num_layers=depth, key=keys[1]),
            nn.Linear.init(width, vocabulary, key=keys[2]),
        )

    def __call__(self, tokens: Any) -> Any:
        states, _ = self.lstm(self.tokens(tokens))
        return self.head(states)


def language_model(params: Any, stats: Any, tokens: Any) -> Callable[[], Any]:
    """An LSTM of several layers."""
    vocabulary, width = params["embed"].shape
    depth = len(params["cells"])
    weights = {"tokens.weight": params["embed"]} | linear("head", params["head"])
    for i, p in enumerate(params["cells"]):
        for name, key in (("weight_ih", "wx"), ("weight_hh", "wh"), ("bias", "b")):
            weights[f"lstm.cells.{i}.{name}"] = p[key]
    model = with_weights(lambda: LanguageModel.init(vocabulary, width, depth, key=KEY), weights)
    return training(_next_token, model, tokens)


def _next_token(model: Any, tokens: Any) -> Any:
    return nn.softmax_cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])


# ---------------------------------------------------------------- transformers
def _blocks(prefix: str, blocks: Any, attention: str, up: str, down: str) -> dict:
    """The weights of stacked blocks: leaves with a leading axis."""
    weights: dict[str, list] = {}
    for p in blocks:
        own = norm("norm1", p["norm1"]) | norm("norm2", p["norm2"])
        own |= linear(f"{attention}.out_proj", p["out"])
        kernels = jnp.split(p["qkv"]["dense"], 3, axis=1)
        biases = jnp.split(p["qkv"]["b"], 3)
        for name, kernel, bias in zip("qkv", kernels, biases):
            own |= linear(f"{attention}.{name}_proj", {"dense": kernel, "b": bias})
        own |= linear(up, p["up"]) | linear(down, p["down"])
        for name, x in own.items():
            weights.setdefault(f"{prefix}.{name}", []).append(x)
    return {name: jnp.stack(parts) for name, parts in weights.items()}


def gpt(params: Any, stats: Any, tokens: Any) -> Callable[[], Any]:
    """The example's."""
    source, sizes = example("gpt"), by_hand.GPT
    vocabulary, width = params["embed"].shape
    length = len(params["position"])

    def make() -> Any:
        return source.GPT.init(vocabulary, length, width, sizes.heads, sizes.layers, key=KEY)

    blocks = params["encoder"]["blocks"]
    weights = {"tokens.weight": params["embed"], "positions.weight": params["position"]}
    weights |= norm("norm", params["encoder"]["norm"])
    weights |= _blocks("blocks.layers", blocks, "attention", "mlp.layers.0", "mlp.layers.2")
    model, optimizer = with_weights(make, weights), optim.adam(RATE)
    return repeated(source.make_step(optimizer), model, optimizer.init(model), tokens, KEY)


@nn.module
class ViT:
    """A vision transformer: Dosovitskiy et al. (2020)."""

    patch: nn.Conv
    token: Any
    position: Any
    encoder: nn.TransformerEncoder
    head: nn.Linear

    @classmethod
    def init(
        cls, patch: int, tokens: int, width: int, heads: int, depth: int, classes: int, *, key: Any
    ) -> ViT:
        keys = nr.random.split(key, 5)
        gelu = partial(nn.gelu, approximate=False)
        return cls(
            nn.Conv.init(3, width, (patch, patch), stride=patch, padding=0, key=keys[0]),
            0.02 * nr.random.normal(keys[1], (1, 1, width)),
            0.02 * nr.random.normal(keys[2], (1, tokens, width)),
            nn.TransformerEncoder.init(
                depth, width, heads, norm_first=True, activation=gelu, key=keys[3]
            ),
            nn.Linear.init(width, classes, key=keys[4]),
        )

    def __call__(self, images: Any) -> Any:
        x = self.patch(images)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        first = jnp.broadcast_to(self.token, (x.shape[0], 1, x.shape[-1]))
        x = jnp.concatenate([first, x], axis=1) + self.position
        return self.head(self.encoder(x)[:, 0])


def vit(params: Any, stats: Any, *batch: Any) -> Callable[[], Any]:
    """A small one."""
    sizes, tokens = by_hand.VIT, params["position"].shape[1]

    def make() -> ViT:
        shape = sizes.width, sizes.heads, sizes.layers
        return ViT.init(by_hand.PATCH, tokens, *shape, by_hand.CLASSES, key=KEY)

    encoder = params["encoder"]
    weights = conv("patch", params["patch"]) | linear("head", params["head"])
    weights |= {"token": params["token"], "position": params["position"]}
    weights |= norm("encoder.norm", encoder["norm"])
    weights |= _blocks("encoder.layers", encoder["blocks"], "self_attn", "linear1", "linear2")
    return training(_classify, with_weights(make, weights), *batch)
