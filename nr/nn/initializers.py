"""Initializers under the names of ``jax.nn.initializers``, with its numbers for the same key.

`zeros` and `ones` are initializers; the other names make one. An initializer is a function
``(key, shape, dtype=None) -> array``; the dtype is by default the one that it was made with, and
that is by default the default float.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

import nr.numpy as jnp
from nr import random
from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config

__all__ = [
    "Initializer",
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Axes = int | Sequence[int]
Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution = Literal["truncated_normal", "normal", "uniform"]


class Initializer(Protocol):
    """The type of initializers."""

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Array: ...


def _dtype(dtype: Any) -> np.dtype:
    return config.default_float if dtype is None else dtypes.canonicalize(dtype)


# ---------------------------------------------------------------- fixed scale
def zeros(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
    """Zeros; the key is not used and may be None."""
    return jnp.zeros(shape, _dtype(dtype))


def ones(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
    """Ones; the key is not used and may be None."""
    return jnp.ones(shape, _dtype(dtype))


def constant(value: Any, dtype: Any = None) -> Initializer:
    """An initializer that fills with a value, which may be an array that broadcasts."""
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        return jnp.full(shape, value, _dtype(default if dtype is None else dtype))

    return init


def uniform(scale: float = 1e-2, dtype: Any = None) -> Initializer:
    """Uniform over [0, scale)."""
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        kind = _dtype(default if dtype is None else dtype)
        return random.uniform(key, shape, kind) * jnp.asarray(scale, kind)

    return init


def normal(stddev: float = 1e-2, dtype: Any = None) -> Initializer:
    """Normal with mean 0.

    Example:
        >>> import nr
        >>> nr.nn.initializers.normal(2.0)(nr.random.key(0), (2,))
        Array([3.2452843, 4.0505295], dtype=float32)
    """
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        kind = _dtype(default if dtype is None else dtype)
        return random.normal(key, shape, kind) * jnp.asarray(stddev, kind)

    return init


def truncated_normal(
    stddev: float = 1e-2, dtype: Any = None, lower: float = -2.0, upper: float = 2.0
) -> Initializer:
    """The standard normal restricted to (lower, upper), then times stddev."""
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        kind = _dtype(default if dtype is None else dtype)
        samples = random.truncated_normal(key, lower, upper, shape, kind)
        return samples * jnp.asarray(stddev, kind)

    return init


# ---------------------------------------------------------------- scale by fans
# The standard deviation of the standard normal restricted to (-2, 2).
_TRUNCATED_STDDEV = 0.87962566103423978


def variance_scaling(
    scale: float,
    mode: Mode,
    distribution: Distribution,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
) -> Initializer:
    """Samples of mean 0 and variance scale / n, where n counts a unit's connections.

    Args:
        scale: positive.
        mode: what n is: a unit's inputs, its outputs, or their arithmetic or geometric mean.
        distribution: ``"truncated_normal"`` (cut at two standard deviations), ``"normal"`` or
            ``"uniform"``.
        in_axis, out_axis: the axes of inputs and outputs; others, like those of a convolution's
            window, count for both.
        batch_axis: axes that count for neither.
        dtype: floating.

    Raises:
        ValueError: for an unknown mode or distribution, or when called for fewer axes than two.

    Source: He et al., "Delving Deep into Rectifiers", 2015, with the modes of Glorot and Bengio,
    "Understanding the Difficulty of Training Deep Feedforward Neural Networks", 2010.
    """
    if mode not in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"):
        raise ValueError(
            'variance_scaling: mode must be "fan_in", "fan_out", "fan_avg" or "fan_geo_avg"; '
            f"got {mode!r}."
        )
    if distribution not in ("truncated_normal", "normal", "uniform"):
        raise ValueError(
            'variance_scaling: distribution must be "truncated_normal", "normal" or "uniform"; '
            f"got {distribution!r}."
        )
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        kind = _dtype(default if dtype is None else dtype)
        if kind not in dtypes.FLOATING:
            raise ValueError(
                "variance_scaling: a floating dtype was required; "
                f"got {dtypes.short_name(kind)}. Initialize in float32 and convert."
            )
        fan_in, fan_out = _fans(tuple(shape), in_axis, out_axis, batch_axis)
        n = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[mode]
        # Rounded to the dtype at each step, as JAX does: the numbers are the same bit for bit.
        variance = kind.type(scale / n) if n else kind.type(0)
        if distribution == "uniform":
            return random.uniform(key, shape, kind, -1) * np.sqrt(kind.type(3) * variance)
        if distribution == "normal":
            return random.normal(key, shape, kind) * np.sqrt(variance)
        stddev = np.sqrt(variance) / kind.type(_TRUNCATED_STDDEV)
        return random.truncated_normal(key, -2, 2, shape, kind) * stddev

    return init


def _fans(
    shape: tuple[int, ...], in_axis: Axes, out_axis: Axes, batch_axis: Axes
) -> tuple[float, float]:
    if len(shape) < 2:
        raise ValueError(
            "variance_scaling: a shape with an axis of inputs and one of outputs was required; "
            f"got {shape}. For biases use initializers.zeros."
        )

    def extent(axes: Axes) -> int:
        return math.prod(shape[i] for i in ((axes,) if isinstance(axes, int) else axes))

    inputs, outputs = extent(in_axis), extent(out_axis)
    both = inputs * outputs * extent(batch_axis)
    window = math.prod(shape) / both if both else 0
    return inputs * window, outputs * window


def _scaled(name: str, scale: float, mode: Mode, distribution: Distribution, source: str) -> Any:
    def make(
        in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
    ) -> Initializer:
        return variance_scaling(scale, mode, distribution, in_axis, out_axis, batch_axis, dtype)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = (
        f'``variance_scaling({scale}, "{mode}", "{distribution}", ...)``.\n\n    Source: {source}.'
    )
    return make


_GLOROT = "Glorot and Bengio, 2010"
_HE = "He et al., 2015"
_LECUN = 'LeCun et al., "Efficient BackProp", 1998'
glorot_uniform = _scaled("glorot_uniform", 1.0, "fan_avg", "uniform", _GLOROT)
glorot_normal = _scaled("glorot_normal", 1.0, "fan_avg", "truncated_normal", _GLOROT)
lecun_uniform = _scaled("lecun_uniform", 1.0, "fan_in", "uniform", _LECUN)
lecun_normal = _scaled("lecun_normal", 1.0, "fan_in", "truncated_normal", _LECUN)
he_uniform = _scaled("he_uniform", 2.0, "fan_in", "uniform", _HE)
he_normal = _scaled("he_normal", 2.0, "fan_in", "truncated_normal", _HE)
xavier_uniform, xavier_normal = glorot_uniform, glorot_normal
kaiming_uniform, kaiming_normal = he_uniform, he_normal
