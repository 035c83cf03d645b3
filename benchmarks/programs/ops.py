"""What networks are made of: once for nr and JAX, channels last, and once as PyTorch has it.

An architecture is a function of one of the two classes, a tree of parameters, and an input. The
parameters' keys say how they are used, and so how PyTorch keeps them: ``LAYOUTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from programs.models import cross_entropy

EPSILON = 1e-5
MOMENTUM = 0.1


# ---------------------------------------------------------------- nr and JAX
class ChannelsLast:
    """Layers written with nr's or JAX's functions, over f32[batch, height, width, channels]."""

    def __init__(self, lib: Any) -> None:
        self.lib = lib
        self.relu = lib.nn.relu
        self.sigmoid = lib.nn.sigmoid
        self.exp = lib.numpy.exp
        self.softplus = lib.nn.softplus

    def gelu(self, x: Any, approximate: bool = False) -> Any:
        return self.lib.nn.gelu(x, approximate=approximate)

    def conv(self, p: Any, x: Any, stride: int = 1, pad: int | None = None) -> Any:
        """A convolution; depthwise where the kernel has one input channel and x has more."""
        kernel = p["conv"]
        pad = kernel.shape[0] // 2 if pad is None else pad
        out = self.lib.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((pad, pad), (pad, pad)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1] // kernel.shape[2],
        )
        return out + p["b"] if "b" in p else out

    def deconv(self, p: Any, x: Any) -> Any:
        """A transposed convolution that doubles height and width."""
        return self.lib.lax.conv_transpose(x, p["deconv"], (2, 2), "SAME") + p["b"]

    def batch_norm(self, p: Any, stats: dict, x: Any, train: bool) -> Any:
        """Normalizes by the batch, and updates stats in place, or by stats."""
        mean, variance = stats["mean"], stats["var"]
        if train:
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            count = x.size / x.shape[-1]
            unbiased = variance * (count / (count - 1))
            stats["mean"] = (1 - MOMENTUM) * stats["mean"] + MOMENTUM * mean
            stats["var"] = (1 - MOMENTUM) * stats["var"] + MOMENTUM * unbiased
        return (x - mean) * self.lib.lax.rsqrt(variance + EPSILON) * p["scale"] + p["bias"]

    def max_pool(self, x: Any, window: int, stride: int, pad: int = 0) -> Any:
        pads = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        sizes = (1, window, window, 1), (1, stride, stride, 1)
        return self.lib.lax.reduce_window(x, -np.inf, self.lib.lax.max, *sizes, pads)

    def mean_pool(self, x: Any) -> Any:
        return x.mean((1, 2))

    def dense(self, p: Any, x: Any) -> Any:
        return x @ p["dense"] + p["b"]

    def flat(self, p: Any, x: Any) -> Any:
        """A dense layer of all pixels and channels."""
        return x.reshape(x.shape[0], -1) @ p["flat"].reshape(-1, p["flat"].shape[-1]) + p["b"]

    def image(self, p: Any, x: Any) -> Any:
        """A dense layer to all pixels and channels."""
        kernel = p["image"]
        return (x @ kernel.reshape(kernel.shape[0], -1)).reshape(-1, *kernel.shape[1:])

    def layer_norm(self, p: Any, x: Any) -> Any:
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) * self.lib.lax.rsqrt(variance + EPSILON) * p["scale"] + p["bias"]

    def attention(self, qkv: Any, heads: int, causal: bool = False) -> Any:
        """Softmax attention of every position, from f32[batch, length, 3 * width].

        It is to all positions, or to those that are not later.
        """
        np_ = self.lib.numpy
        b, t, width = qkv.shape
        q, k, v = (part.reshape(b, t, heads, -1) for part in np_.split(qkv, 3, axis=-1))
        scores = np_.einsum("bihd,bjhd->bhij", q, k) / q.shape[-1] ** 0.5
        if causal:
            scores = np_.where(np_.tril(np_.ones((t, t), bool)), scores, -1e9)
        out = np_.einsum("bhij,bjhd->bihd", self.lib.nn.softmax(scores), v)
        return out.reshape(b, t, width // 3)

    def tokens(self, x: Any) -> Any:
        """Pixels in one dimension."""
        return x.reshape(x.shape[0], -1, x.shape[-1])

    def prepend(self, token: Any, x: Any) -> Any:
        np_ = self.lib.numpy
        first = np_.broadcast_to(token, (x.shape[0], 1, x.shape[-1]))
        return np_.concatenate([first, x], axis=1)

    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        return cross_entropy(self.lib, logits, labels)


# ---------------------------------------------------------------- PyTorch
class Torch:
    """The same layers with PyTorch's functions, over f32[batch, channels, height, width]."""

    def __init__(self) -> None:
        import torch
        from torch.nn import functional

        self.f = functional
        self.cat = torch.cat
        self.relu = functional.relu
        self.softplus = functional.softplus
        self.sigmoid, self.exp = torch.sigmoid, torch.exp
        self.cross_entropy = functional.cross_entropy

    def gelu(self, x: Any, approximate: bool = False) -> Any:
        return self.f.gelu(x, approximate="tanh" if approximate else "none")

    def conv(self, p: Any, x: Any, stride: int = 1, pad: int | None = None) -> Any:
        kernel = p["conv"]
        pad = kernel.shape[-1] // 2 if pad is None else pad
        groups = x.shape[1] // kernel.shape[1]
        return self.f.conv2d(x, kernel, p.get("b"), stride, pad, groups=groups)

    def deconv(self, p: Any, x: Any) -> Any:
        pad = p["deconv"].shape[-1] // 2 - 1
        return self.f.conv_transpose2d(x, p["deconv"], p["b"], stride=2, padding=pad)

    def batch_norm(self, p: Any, stats: dict, x: Any, train: bool) -> Any:
        averages = stats["mean"], stats["var"]
        return self.f.batch_norm(x, *averages, p["scale"], p["bias"], train, MOMENTUM, EPSILON)

    def max_pool(self, x: Any, window: int, stride: int, pad: int = 0) -> Any:
        return self.f.max_pool2d(x, window, stride, pad)

    def mean_pool(self, x: Any) -> Any:
        return x.mean((2, 3))

    def dense(self, p: Any, x: Any) -> Any:
        return self.f.linear(x, p["dense"], p["b"])

    def flat(self, p: Any, x: Any) -> Any:
        return self.f.linear(x.flatten(1), p["flat"].flatten(1), p["b"])

    def image(self, p: Any, x: Any) -> Any:
        kernel = p["image"]
        return self.f.linear(x, kernel.flatten(0, 2)).unflatten(1, kernel.shape[:3])

    def layer_norm(self, p: Any, x: Any) -> Any:
        return self.f.layer_norm(x, x.shape[-1:], p["scale"], p["bias"], EPSILON)

    def attention(self, qkv: Any, heads: int, causal: bool = False) -> Any:
        parts = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
        out = self.f.scaled_dot_product_attention(*parts, is_causal=causal)
        return out.transpose(1, 2).flatten(2)

    def tokens(self, x: Any) -> Any:
        return x.flatten(2).transpose(1, 2)

    def prepend(self, token: Any, x: Any) -> Any:
        return self.cat([token.expand(x.shape[0], -1, -1), x], 1)


# By key of a parameter: how PyTorch keeps it, and back.
LAYOUTS: dict[str, tuple[Callable, Callable]] = {
    "conv": (lambda w: w.permute(3, 2, 0, 1), lambda w: w.permute(2, 3, 1, 0)),
    "deconv": (
        lambda w: w.permute(2, 3, 0, 1).flip(2, 3),
        lambda w: w.flip(2, 3).permute(2, 3, 0, 1),
    ),
    "dense": (lambda w: w.t(), lambda w: w.t()),
    "flat": (lambda w: w.permute(3, 2, 0, 1), lambda w: w.permute(2, 3, 1, 0)),
    "image": (lambda w: w.permute(3, 1, 2, 0), lambda w: w.permute(3, 1, 2, 0)),
}


def to_torch(tree: Any, channels_last: bool, key: str = "") -> Any:
    """Parameters as PyTorch keeps them."""
    import torch

    if isinstance(tree, dict):
        return {k: to_torch(item, channels_last, k) for k, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_torch(item, channels_last, key) for item in tree]
    kept = LAYOUTS[key][0](tree) if key in LAYOUTS else tree
    convolves = key in ("conv", "deconv")
    return kept.contiguous(
        memory_format=torch.channels_last
        if channels_last and convolves
        else torch.contiguous_format
    )


def batch_to_torch(x: Any, channels_last: bool) -> Any:
    """Images as PyTorch keeps them; class numbers as it asks for them; other arrays as they are."""
    import torch

    if x.dtype == torch.int32:
        return x.long()
    if x.dim() != 4:
        return x
    format = torch.channels_last if channels_last else torch.contiguous_format
    return x.permute(0, 3, 1, 2).contiguous(memory_format=format)


def keys(tree: Any, key: str = "") -> Iterator[str]:
    """The key of every leaf, in the order of row.leaves."""
    if isinstance(tree, dict):
        for k in sorted(tree):
            yield from keys(tree[k], k)
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from keys(item, key)
    else:
        yield key
