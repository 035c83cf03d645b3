"""Initializers under the names of ``jax.nn.initializers``, with its numbers for the same key.

`calculate_gain`, `dirac`, `eye` and `sparse` are torch's, for the layouts of weights of `nr.nn`.
`zeros`, `ones` and `eye` are initializers; other names make one. An initializer is a function
``(key, shape, dtype=None) -> array``; the dtype is by default the one that it was made with, and
that is by default the default float.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

import nr.numpy as jnp
from nr import lax, random
from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config

__all__ = [
    "Initializer",
    "calculate_gain",
    "constant",
    "delta_orthogonal",
    "dirac",
    "eye",
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
    "orthogonal",
    "sparse",
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
# The same of the complex standard normal, restricted to the disk of radius 2.
_TRUNCATED_STDDEV_COMPLEX = 0.95311164380491208


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
        dtype: floating, or complex (then ``"uniform"`` is uniform over a disk).

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
        if kind not in dtypes.INEXACT:
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
        if kind in dtypes.COMPLEX and distribution != "normal":
            if distribution == "uniform":  # |z|**2 is 1/2 on average
                return _in_disk(key, shape, kind, None) * np.sqrt(kind.type(2) * variance)
            stddev = np.sqrt(variance) / kind.type(_TRUNCATED_STDDEV_COMPLEX)
            return _in_disk(key, shape, kind, 2.0) * stddev
        if distribution == "uniform":
            return random.uniform(key, shape, kind, -1) * np.sqrt(kind.type(3) * variance)
        if distribution == "normal":
            return random.normal(key, shape, kind) * np.sqrt(variance)
        stddev = np.sqrt(variance) / kind.type(_TRUNCATED_STDDEV)
        return random.truncated_normal(key, -2, 2, shape, kind) * stddev

    return init


def _in_disk(key: Any, shape: Sequence[int], dtype: np.dtype, bound: float | None) -> Array:
    """Complex samples: standard normal ones up to a bound of |z|, without one uniform ones of the
    unit disk. Radius (by inversion) and angle are independent.
    """
    real = np.dtype(np.float32 if dtype.itemsize == 8 else np.float64)
    keys = random.split(key)
    u = random.uniform(keys[0], shape, real)
    if bound is None:
        radius = jnp.sqrt(u)
    else:
        radius = jnp.sqrt(-jnp.log(1 - (1 - np.exp(real.type(-(bound**2)))) * u))
    angle = 2 * np.pi * random.uniform(keys[1], shape, real)
    return lax.complex(radius * jnp.cos(angle), radius * jnp.sin(angle))


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


def calculate_gain(nonlinearity: str, negative_slope: float = 0.01) -> float:
    """The factor of standard deviations that makes up for what an activation does to them.

    ``variance_scaling(gain**2, "fan_in", "uniform")`` and ``orthogonal(gain)`` take it.

    Args:
        nonlinearity: ``"linear"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` or
            ``"selu"``. For selu it is an empirical 3 / 4; self-normalization asks for
            ``"linear"``.
        negative_slope: of leaky_relu.

    Raises:
        ValueError: for another nonlinearity.

    Source: He et al., 2015, equations 10 and 15, for the rectifiers; torch for the others.

    Example:
        >>> from nr.nn import initializers
        >>> round(initializers.calculate_gain("leaky_relu", 5**0.5) ** 2, 6)  # torch's Linear
        0.333333
    """
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + negative_slope**2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ValueError(
            f"calculate_gain: one of {', '.join(gains)} was required; got {nonlinearity!r}."
        )
    return gains[nonlinearity]


# ---------------------------------------------------------------- orthogonal matrices
def orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """Matrices of which the rows or the columns, whichever are fewer, are orthonormal, times scale.

    They are uniform over all such matrices. An array of more axes than two is taken as a matrix
    whose columns are along the column axis.

    Args:
        scale: the length of the rows or columns.
        column_axis: the axis that counts columns.
        dtype: floating.

    Raises:
        ValueError: when called for fewer axes than two.

    Source: Saxe, McClelland, Ganguli, "Exact Solutions to the Nonlinear Dynamics of Learning in
    Deep Linear Neural Networks", 2013.

    Example:
        >>> import nr
        >>> w = nr.nn.initializers.orthogonal()(nr.random.key(0), (5, 3))
        >>> bool(nr.numpy.allclose(w.T @ w, nr.numpy.eye(3), atol=1e-6))
        True
    """
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        kind = _dtype(default if dtype is None else dtype)
        if len(shape) < 2:
            raise ValueError(
                "orthogonal: a shape of two or more axes was required; "
                f"got {tuple(shape)}. For biases use initializers.zeros."
            )
        columns = shape[column_axis]
        others = [n for i, n in enumerate(shape) if i != column_axis % len(shape)]
        # Factorized in float32 where the dtype is of 16 bits.
        wide = np.dtype(np.float32) if kind.itemsize == 2 else kind
        matrix = random.orthogonal(key, math.prod(others), (), wide, columns)
        matrix = jnp.moveaxis(matrix.reshape(*others, columns), -1, column_axis)
        return (matrix * jnp.asarray(scale, wide)).astype(kind)

    return init


def delta_orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """Kernels of convolutions that are an `orthogonal` matrix in the window's middle, else 0.

    Args:
        scale, column_axis, dtype: as for `orthogonal`.

    Raises:
        ValueError: when called for other shapes than [*window, in, out], with a window of one to
            three axes and at least as many outputs as inputs.

    Source: Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", 2018.
    """
    make = orthogonal(scale, column_axis, dtype)

    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        if len(shape) not in (3, 4, 5):
            raise ValueError(
                "delta_orthogonal: a shape [*window, in, out] with a window of one to three axes "
                f"was required; got {tuple(shape)}."
            )
        if shape[-2] > shape[-1]:
            raise ValueError(
                f"delta_orthogonal: at least {shape[-2]} outputs, the number of inputs, were "
                f"required; got {tuple(shape)}. Use initializers.orthogonal."
            )
        matrix = make(key, shape[-2:], dtype)
        middle = tuple((n - 1) // 2 for n in shape[:-2])
        return jnp.zeros(shape, matrix.dtype).at[middle].set(matrix)

    return init


# ---------------------------------------------------------------- identities, few connections
def eye(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
    """Ones on the diagonal of [in, out], else zeros: features pass through `Linear`.

    The key is not used and may be None.

    Raises:
        ValueError: the shape has not two axes.
    """
    if len(shape) != 2:
        raise ValueError(
            f"eye: a shape [in, out] was required; got {tuple(shape)}. "
            "For convolutions use initializers.dirac()."
        )
    rows, columns = shape
    return jnp.eye(rows, columns, dtype=_dtype(dtype))


def dirac(groups: int = 1, dtype: Any = None) -> Initializer:
    """Kernels that pass channels on: a one in the window's middle from input i to output i.

    Args:
        groups: of the convolution; outputs of each group take over its inputs.
        dtype: by default the default float.

    Returns:
        An initializer whose key is not used and may be None.

    Raises:
        ValueError: when called for other shapes than [*window, in / groups, out], or outputs
            that the groups do not divide.

    Example:
        >>> import nr
        >>> nr.nn.initializers.dirac()(None, (3, 1, 2))[:, 0]  # the second output has no input
        Array([[0., 0.],
               [1., 0.],
               [0., 0.]], dtype=float32)
    """
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        if len(shape) < 3 or shape[-1] % groups:
            raise ValueError(
                f"dirac: a shape [*window, in / groups, out] with outputs that are a multiple of "
                f"{groups} was required; got {tuple(shape)}. For matrices use initializers.eye."
            )
        *window, inputs, outputs = shape
        kernel = np.zeros(shape, np.float32)
        passing = np.arange(min(inputs, outputs // groups))
        middle: tuple[Any, ...] = tuple(n // 2 for n in window)
        for start in range(0, outputs, max(outputs // groups, 1)):
            kernel[(*middle, passing, start + passing)] = 1
        return jnp.asarray(kernel, _dtype(default if dtype is None else dtype))

    return init


def sparse(sparsity: float, stddev: float = 0.01, dtype: Any = None) -> Initializer:
    """Normal samples, of which some for each output are 0: units with few connections.

    Args:
        sparsity: in [0, 1], the fraction of each output's inputs whose weight is 0, rounded up to
            a whole number of inputs.
        stddev: of the other weights.
        dtype: floating.

    Raises:
        ValueError: sparsity is not in [0, 1], or when called for other shapes than [in, out].

    Source: Martens, "Deep Learning via Hessian-free Optimization", 2010, section 5.

    Example:
        >>> import nr
        >>> w = nr.nn.initializers.sparse(0.75)(nr.random.key(0), (8, 3))
        >>> (w != 0).sum(0)
        Array([2, 2, 2], dtype=int32)
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse: sparsity must be in [0, 1]; got {sparsity}.")
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        if len(shape) != 2:
            raise ValueError(f"sparse: a shape [in, out] was required; got {tuple(shape)}.")
        values, order = random.split(key)
        weights = normal(stddev)(values, shape, default if dtype is None else dtype)
        places = jnp.broadcast_to(jnp.arange(shape[0])[:, None], tuple(shape))
        ranks = random.permutation(order, places, independent=True)
        return jnp.where(ranks < math.ceil(sparsity * shape[0]), 0, weights)

    return init
