"""Discrete cosine transforms, with the names of jax.scipy.fft.

J. Makhoul (1980), "A fast cosine transform in one and two dimensions": a transform of type II is a
Fourier transform of the even elements, followed by the odd ones backwards, turned by quarter waves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import canonical_axes, canonical_axis
from nr.numpy.promotion import promote_inexact

__all__ = ["dct", "dctn", "idct", "idctn"]

_NORMS = (None, "backward", "ortho", "forward")


def dct(
    x: Any,
    type: int = 2,  # noqa: A002 - SciPy's name
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
) -> Array:
    """The discrete cosine transform, y[k] = 2 sum of x[j] cos(pi k (2 j + 1) / (2 n)).

    Args:
        x: an array.
        type: must be 2.
        n: how many elements to transform; others are cut off, or zeros are added.
        axis: along which.
        norm: "ortho" for an orthogonal transform, "forward" to divide by 2 n here instead of in
            `idct`, or None.

    Raises:
        NotImplementedError: for other types.
        ValueError: for an unknown norm.

    Example:
        >>> import nr.numpy as jnp
        >>> dct(jnp.array([1., 1., 1., 1.])) + 0.0
        Array([8., 0., 0., 0.], dtype=float32)
    """
    (x,) = _operands("dct", x, type, norm)
    return _along("dct", x, n, axis, norm, _forward)


def idct(
    x: Any,
    type: int = 2,  # noqa: A002
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
) -> Array:
    """The inverse of `dct`, with its arguments.

    Example:
        >>> import nr.numpy as jnp
        >>> idct(jnp.array([8., 0., 0., 0.]))
        Array([1., 1., 1., 1.], dtype=float32)
    """
    (x,) = _operands("idct", x, type, norm)
    return _along("idct", x, n, axis, norm, _backward)


def dctn(
    x: Any,
    type: int = 2,  # noqa: A002
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """`dct` along several axes.

    Args:
        s: how many elements to transform along each.
        axes: along which; by default all, or as many of the last as s has numbers.
    """
    return _over_axes("dctn", x, type, s, axes, norm, _forward)


def idctn(
    x: Any,
    type: int = 2,  # noqa: A002
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """The inverse of `dctn`, with its arguments."""
    return _over_axes("idctn", x, type, s, axes, norm, _backward)


def _operands(op: str, x: Any, kind: int, norm: str | None) -> list[Array]:
    if kind != 2:
        raise NotImplementedError(f"{op}: type must be 2; got {kind}.")
    if norm not in _NORMS:
        raise ValueError(
            f'{op}: norm must be "backward", "ortho", "forward" or None; got {norm!r}.'
        )
    (x,) = promote_inexact(op, x)
    return [x.astype("float32") if x.dtype.itemsize < 4 else x]


def _over_axes(
    op: str, x: Any, kind: int, s: Any, axes: Any, norm: str | None, transform: Any
) -> Array:
    (x,) = _operands(op, x, kind, norm)
    if axes is None:
        axes = range(x.ndim) if s is None else range(-len(s), 0)
    axes = canonical_axes(op, tuple(axes), x.ndim)
    lengths = [None] * len(axes) if s is None else list(s)
    if len(lengths) != len(axes):
        raise ValueError(f"{op}: as many lengths as axes were expected; got s={s} for axes={axes}.")
    for axis, n in zip(axes, lengths):
        x = _along(op, x, n, axis, norm, transform)
    return x


def _along(op: str, x: Array, n: int | None, axis: int, norm: str | None, transform: Any) -> Array:
    axis = canonical_axis(op, axis, x.ndim)
    x = jnp.moveaxis(x, axis, -1)
    if n is not None and n != x.shape[-1]:
        x = x[..., :n] if n < x.shape[-1] else _with_zeros(x, n)
    if not x.shape[-1]:
        raise ValueError(f"{op}: an axis with elements was expected; got {x.aval}.")
    if x.dtype in dtypes.COMPLEX:
        y = lax.complex(transform(x.real, norm), transform(x.imag, norm))
    else:
        y = transform(x, norm)
    return jnp.moveaxis(y, -1, axis)


def _with_zeros(x: Array, n: int) -> Array:
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n - x.shape[-1])])


def _turns(n: int, dtype: np.dtype, sign: int) -> Array:
    """exp(sign i pi k / (2 n)) for the frequencies k of a real transform."""
    angles = sign * np.pi * np.arange(n // 2 + 1) / (2 * n)
    return jnp.asarray(np.exp(1j * angles), dtypes.to_complex(dtype))


def _factors(n: int, dtype: np.dtype, norm: str) -> Array:
    """What a norm multiplies the transform by."""
    if norm == "forward":
        return jnp.asarray(1 / (2 * n), dtype)
    first = np.arange(n) == 0
    return jnp.asarray(np.where(first, math.sqrt(1 / (4 * n)), math.sqrt(1 / (2 * n))), dtype)


def _forward(x: Array, norm: str | None) -> Array:
    n = x.shape[-1]
    folded = jnp.concatenate([x[..., ::2], x[..., 1::2][..., ::-1]], axis=-1)
    turned = 2 * _turns(n, x.dtype, -1) * jnp.fft.rfft(folded)
    # what the frequency n - k would be is there as the imaginary part of k
    upper = -turned.imag[..., 1 : (n + 1) // 2]
    y = jnp.concatenate([turned.real, upper[..., ::-1]], axis=-1)
    return y if norm in (None, "backward") else y * _factors(n, x.dtype, norm)


def _backward(y: Array, norm: str | None) -> Array:
    n = y.shape[-1]
    if norm not in (None, "backward"):
        y = y / _factors(n, y.dtype, norm)
    half = n // 2 + 1
    zero = jnp.zeros_like(y[..., :1])
    upper = jnp.concatenate([zero, y[..., ::-1][..., : half - 1]], axis=-1)
    spectrum = lax.complex(y[..., :half], -upper) * _turns(n, y.dtype, 1) * 0.5
    folded = jnp.fft.irfft(spectrum, n)
    middle = (n + 1) // 2
    even, odd = folded[..., :middle], folded[..., middle:][..., ::-1]
    odd = _with_zeros(odd, middle)
    return jnp.stack([even, odd], axis=-1).reshape(*y.shape[:-1], 2 * middle)[..., :n]
