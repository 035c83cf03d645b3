"""The programs that benchmarks run, written once for JAX and nr: `lib` is either module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def mlp(lib: Any) -> tuple[Callable, tuple]:
    """The loss of a small multilayer perceptron, and its arguments."""
    np_ = lib.numpy
    keys = lib.random.split(lib.random.PRNGKey(0), 4)
    sizes = [(16, 32), (32, 32), (32, 4)]
    params = [
        {"w": lib.random.normal(k, s) * 0.3, "b": np_.zeros(s[1])}
        for k, s in zip(keys[:3], sizes, strict=True)
    ]
    x = lib.random.normal(keys[3], (8, 16))

    def loss(params: Any, x: Any) -> Any:
        for layer in params[:-1]:
            x = np_.tanh(x @ layer["w"] + layer["b"])
        return np_.mean((x @ params[-1]["w"] + params[-1]["b"]) ** 2)

    return loss, (params, x)


def gpt(
    lib: Any,
    *,
    layers: int = 4,
    width: int = 256,
    heads: int = 8,
    length: int = 128,
    batch: int = 8,
) -> tuple[Callable, tuple]:
    """One training step (loss, gradient, Adam) of a small GPT, and its arguments."""
    np_, vocabulary = lib.numpy, 256

    def dense(key: Any, *shape: int) -> Any:
        return lib.random.normal(key, shape) * 0.02

    def block(key: Any) -> dict:
        k = lib.random.split(key, 4)
        return {
            "norm1": {"scale": np_.ones(width), "bias": np_.zeros(width)},
            "norm2": {"scale": np_.ones(width), "bias": np_.zeros(width)},
            "qkv": dense(k[0], width, 3 * width),
            "out": dense(k[1], width, width),
            "up": {"w": dense(k[2], width, 4 * width), "b": np_.zeros(4 * width)},
            "down": {"w": dense(k[3], 4 * width, width), "b": np_.zeros(width)},
        }

    keys = lib.random.split(lib.random.PRNGKey(0), layers + 3)
    params = {
        "embed": dense(keys[0], vocabulary, width),
        "position": dense(keys[1], length, width),
        "blocks": [block(k) for k in keys[2 : 2 + layers]],
        "norm": {"scale": np_.ones(width), "bias": np_.zeros(width)},
    }

    def norm(p: Any, x: Any) -> Any:
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np_.sqrt(variance + 1e-5) * p["scale"] + p["bias"]

    def softmax(x: Any) -> Any:
        e = np_.exp(x - lib.lax.stop_gradient(x.max(-1, keepdims=True)))
        return e / e.sum(-1, keepdims=True)

    def attention(p: Any, x: Any) -> Any:
        b, t, _ = x.shape
        q, k, v = np_.split((x @ p["qkv"]).reshape(b, t, heads, -1), 3, axis=-1)
        scores = np_.einsum("bihd,bjhd->bhij", q, k) / (width // heads) ** 0.5
        scores = np_.where(np_.tril(np_.ones((t, t), bool)), scores, -1e9)
        out = np_.einsum("bhij,bjhd->bihd", softmax(scores), v)
        return out.reshape(b, t, width) @ p["out"]

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + np_.tanh(0.7978845608 * (x + 0.044715 * x**3)))

    def loss(params: Any, tokens: Any) -> Any:
        x = params["embed"][tokens[:, :-1]] + params["position"][: tokens.shape[1] - 1]
        for p in params["blocks"]:
            x = x + attention(p, norm(p["norm1"], x))
            h = gelu(norm(p["norm2"], x) @ p["up"]["w"] + p["up"]["b"])
            x = x + h @ p["down"]["w"] + p["down"]["b"]
        logits = norm(params["norm"], x) @ params["embed"].T
        shifted = logits - lib.lax.stop_gradient(logits.max(-1, keepdims=True))
        log_probs = shifted - np_.log(np_.exp(shifted).sum(-1, keepdims=True))
        return -np_.take_along_axis(log_probs, tokens[:, 1:, None], axis=-1).mean()

    def step(params: Any, m: Any, v: Any, tokens: Any) -> Any:
        value, grads = lib.value_and_grad(loss)(params, tokens)
        m = lib.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = lib.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        params = lib.tree.map(lambda p, m, v: p - 1e-3 * m / (np_.sqrt(v) + 1e-8), params, m, v)
        return params, m, v, value

    zeros = lib.tree.map(np_.zeros_like, params)
    tokens = lib.random.randint(keys[-1], (batch, length), 0, vocabulary)
    return step, (params, zeros, zeros, tokens)


def tree_of(lib: Any, leaves: int) -> dict:
    """A parameter tree with small leaves, shaped like a model's."""
    one = lib.numpy.ones(4)
    per_layer = {"attention": {"w": one, "b": one}, "mlp": (one, one), "norm": one}
    return {f"layer{i}": lib.tree.map(lambda x: x + 0, per_layer) for i in range(leaves // 5)}
