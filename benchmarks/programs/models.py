"""The models of the training and compile rows, for nr and JAX: an MLP and a GPT, with Adam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from row import tree_map

RATE = 1e-4  # small: a batch is trained on for thousands of steps and should not be learnt
SIZES = (784, 512, 512, 10)
BATCH = 128


# ---------------------------------------------------------------- multilayer perceptron
def mlp_inputs() -> tuple:
    """Parameters, a batch and its classes."""
    rng = np.random.default_rng(0)
    params = [
        {
            "w": rng.standard_normal((m, n), np.float32) * np.float32((2 / m) ** 0.5),
            "b": np.zeros(n, np.float32),
        }
        for m, n in zip(SIZES[:-1], SIZES[1:])
    ]
    x = rng.standard_normal((BATCH, SIZES[0]), np.float32)
    return params, x, rng.integers(0, SIZES[-1], BATCH, np.int32)


def mlp_flops() -> float:
    """Of a training step: three products a layer, less that for the gradient of the inputs."""
    products = [2.0 * BATCH * m * n for m, n in zip(SIZES[:-1], SIZES[1:])]
    return 3 * sum(products) - products[0]


def mlp_loss(lib: Any) -> Callable:
    """The mean cross entropy of a batch."""
    np_ = lib.numpy

    def loss(params: Any, x: Any, labels: Any) -> Any:
        for layer in params[:-1]:
            x = np_.maximum(x @ layer["w"] + layer["b"], 0)
        return cross_entropy(lib, x @ params[-1]["w"] + params[-1]["b"], labels)

    return loss


def cross_entropy(lib: Any, logits: Any, labels: Any) -> Any:
    """The mean over all but the last axis of -log(softmax(logits)[label])."""
    np_ = lib.numpy
    shifted = logits - lib.lax.stop_gradient(logits.max(-1, keepdims=True))
    log_probs = shifted - np_.log(np_.exp(shifted).sum(-1, keepdims=True))
    return -np_.take_along_axis(log_probs, labels[..., None], axis=-1).mean()


# ---------------------------------------------------------------- GPT
@dataclass(frozen=True)
class GPT:
    """Sizes of a decoder-only transformer, and of its batch."""

    layers: int = 4
    width: int = 256
    heads: int = 4
    length: int = 128
    batch: int = 8
    vocabulary: int = 1000

    def inputs(self) -> tuple:
        """Parameters and int32[batch, length + 1] tokens."""
        rng = np.random.default_rng(0)
        d = self.width

        def dense(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, np.float32) * np.float32(0.02)

        def norm() -> dict:
            return {"scale": np.ones(d, np.float32), "bias": np.zeros(d, np.float32)}

        def block() -> dict:
            return {
                "norm1": norm(),
                "norm2": norm(),
                "qkv": dense(d, 3 * d),
                "out": dense(d, d),
                "up": {"w": dense(d, 4 * d), "b": np.zeros(4 * d, np.float32)},
                "down": {"w": dense(4 * d, d), "b": np.zeros(d, np.float32)},
            }

        params = {
            "embed": dense(self.vocabulary, d),
            "position": dense(self.length, d),
            "blocks": [block() for _ in range(self.layers)],
            "norm": norm(),
        }
        tokens = rng.integers(0, self.vocabulary, (self.batch, self.length + 1), np.int32)
        return params, tokens

    def flops(self, training: bool) -> float:
        """Of the matrix products; those of attention count in full, masked or not."""
        tokens = self.batch * self.length
        per_token = self.layers * (12 * self.width**2 + 2 * self.length * self.width)
        per_token += self.width * self.vocabulary
        return 2.0 * tokens * per_token * (3 if training else 1)

    def logits(self, lib: Any) -> Callable:
        """A function from parameters and int32[batch, length] tokens to logits."""
        np_ = lib.numpy
        width, heads = self.width, self.heads

        def norm(p: Any, x: Any) -> Any:
            mean = x.mean(-1, keepdims=True)
            variance = ((x - mean) ** 2).mean(-1, keepdims=True)
            return (x - mean) / np_.sqrt(variance + 1e-5) * p["scale"] + p["bias"]

        def softmax(x: Any) -> Any:
            e = np_.exp(x - lib.lax.stop_gradient(x.max(-1, keepdims=True)))
            return e / e.sum(-1, keepdims=True)

        def attention(p: Any, x: Any) -> Any:
            b, t, _ = x.shape
            parts = np_.split(x @ p["qkv"], 3, axis=-1)
            q, k, v = (part.reshape(b, t, heads, width // heads) for part in parts)
            scores = np_.einsum("bihd,bjhd->bhij", q, k) / (width // heads) ** 0.5
            scores = np_.where(np_.tril(np_.ones((t, t), bool)), scores, -1e9)
            out = np_.einsum("bhij,bjhd->bihd", softmax(scores), v)
            return out.reshape(b, t, width) @ p["out"]

        def gelu(x: Any) -> Any:
            return 0.5 * x * (1 + np_.tanh(0.7978845608 * (x + 0.044715 * x**3)))

        def logits(params: Any, tokens: Any) -> Any:
            x = params["embed"][tokens] + params["position"][: tokens.shape[1]]
            for p in params["blocks"]:
                x = x + attention(p, norm(p["norm1"], x))
                h = gelu(norm(p["norm2"], x) @ p["up"]["w"] + p["up"]["b"])
                x = x + h @ p["down"]["w"] + p["down"]["b"]
            return norm(params["norm"], x) @ params["embed"].T

        return logits

    def loss(self, lib: Any) -> Callable:
        """The mean cross entropy of the next token."""
        logits = self.logits(lib)

        def loss(params: Any, tokens: Any) -> Any:
            return cross_entropy(lib, logits(params, tokens[:, :-1]), tokens[:, 1:])

        return loss


# ---------------------------------------------------------------- optimizers
def sgd_step(lib: Any, loss: Callable) -> Callable:
    """A training step (params, *batch) -> (params, loss)."""

    def step(params: Any, *batch: Any) -> tuple:
        value, grads = lib.value_and_grad(loss)(params, *batch)
        return lib.tree.map(lambda p, g: p - 0.1 * g, params, grads), value

    return step


def adam_step(lib: Any, loss: Callable) -> Callable:
    """A training step (params, state, *batch) -> (params, state, loss)."""
    update = adam_update(lib)

    def step(params: Any, state: Any, *batch: Any) -> tuple:
        value, grads = lib.value_and_grad(loss)(params, *batch)
        return *update(params, state, grads), value

    return step


def adam_update(lib: Any) -> Callable:
    """A function (params, state, grads) -> (params, state).

    nr's own optimizer, and for JAX the same formula by hand.
    """
    if lib.__name__ == "nr":
        optimizer = lib.optim.adam(RATE)

        def update(params: Any, state: Any, grads: Any) -> tuple:
            updates, state = optimizer.update(grads, state, params)
            return lib.optim.apply_updates(params, updates), state

        return update

    np_, tree = lib.numpy, lib.tree

    def update_by_hand(params: Any, state: Any, grads: Any) -> tuple:
        count = state["step"] + 1
        b1, b2 = state["b1"], state["b2"]
        mu = tree.map(lambda m, g: b1 * m + (1 - b1) * g, state["mu"], grads)
        nu = tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state["nu"], grads)
        root2 = np_.sqrt(-np_.expm1(count * np_.log(b2)))
        size = state["rate"] * root2 / -np_.expm1(count * np_.log(b1))
        eps = state["eps"] * root2
        params = tree.map(lambda p, m, v: p - size * m / (np_.sqrt(v) + eps), params, mu, nu)
        return params, {**state, "step": count, "mu": mu, "nu": nu}

    return update_by_hand


def adam_setup(lib: Any, params: Any, *batch: Any) -> tuple:
    """The arguments of a step with Adam."""
    if lib.__name__ == "nr":
        return params, lib.optim.adam(RATE).init(params), *batch
    number = lib.numpy.float32
    state = {
        "step": lib.numpy.int32(0),
        "rate": number(RATE),
        "b1": number(0.9),
        "b2": number(0.999),
        "eps": number(1e-8),
        "mu": tree_map(lib.numpy.zeros_like, params),
        "nu": tree_map(lib.numpy.zeros_like, params),
    }
    return params, state, *batch


def adam_seen(out: tuple) -> list:
    """The loss and Adam's averages: after one step, multiples of the gradient and its square.

    The parameters themselves move by the rate times the gradient's sign: no measure of it.
    """
    _, state, value = out
    if isinstance(state, dict):
        return [value, state["mu"], state["nu"]]
    return [value, state.mu, state.nu]
