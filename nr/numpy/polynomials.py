"""Polynomials as vectors of coefficients, highest power first."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core.array import Array
from nr.lax.rules import operand
from nr.lax.shape import broadcast_in_dim, broadcast_shapes, concatenate, full, slice_in_dim
from nr.numpy import reductions
from nr.numpy.calculus import convolve
from nr.numpy.linalg import eigvals
from nr.numpy.promotion import promote, promote_inexact

__all__ = ["poly", "polyadd", "polyder", "polyint", "polymul", "polysub", "polyval"]


def coefficients(op: str, *ps: Any) -> list[Array]:
    """Coefficients as vectors of one dtype."""
    xs = promote(op, *ps)
    for x in xs:
        if x.ndim > 1:
            raise ValueError(f"{op}: a vector of coefficients was expected; got {x.aval}.")
    return [x if x.ndim else broadcast_in_dim(x, (1,), ()) for x in xs]


def polyval(p: Any, x: Any, *, unroll: int = 16) -> Array:
    """The polynomial with coefficients p, highest power first, at x (Horner's rule).

    Args:
        p: coefficients along the first axis; its other axes broadcast with x.
        x: where to evaluate it, an array of any shape.
        unroll: accepted for JAX's sake.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.polyval(jnp.array([1., 0., -1.]), jnp.array([2., 3.]))
        Array([3., 8.], dtype=float32)
    """
    p, x = promote("polyval", p, x)
    if not p.ndim:
        raise ValueError(f"polyval: a vector of coefficients was expected; got {p.aval}.")
    result = full(broadcast_shapes(p.shape[1:], x.shape), 0, x.dtype)
    for i in range(p.shape[0]):
        result = result * x + p[i]
    return result


def _padded(op: str, a1: Any, a2: Any) -> list[Array]:
    """Two vectors of coefficients, the shorter one with zeros in front."""
    a, b = coefficients(op, a1, a2)
    n = max(a.size, b.size)
    return [
        x if x.size == n else concatenate([full((n - x.size,), 0, x.dtype), x], 0) for x in (a, b)
    ]


def polyadd(a1: Any, a2: Any) -> Array:
    """The sum of two polynomials.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.polyadd(jnp.array([1, 2, 3]), jnp.array([10]))
        Array([ 1,  2, 13], dtype=int32)
    """
    a, b = _padded("polyadd", a1, a2)
    return a + b


def polysub(a1: Any, a2: Any) -> Array:
    """The difference of two polynomials."""
    a, b = _padded("polysub", a1, a2)
    return a - b


def polymul(a1: Any, a2: Any, *, trim_leading_zeros: bool = False) -> Array:
    """The product of two polynomials, floating as in JAX.

    Args:
        a1: coefficients.
        a2: coefficients.
        trim_leading_zeros: drop leading zeros of both first; not for traced values.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.polymul(jnp.array([1., 1.]), jnp.array([1., -1.]))
        Array([ 1.,  0., -1.], dtype=float32)
    """
    a, b = coefficients("polymul", a1, a2)
    if trim_leading_zeros and a.size > 1 and b.size > 1:
        a, b = _trimmed(a), _trimmed(b)
    return convolve(a, b)


def _trimmed(p: Array) -> Array:
    """p without leading zeros, but never empty."""
    start = int(reductions.argmax(p != 0)) if bool(reductions.any(p != 0)) else p.size - 1
    return slice_in_dim(p, start, p.size)


def polyder(p: Any, m: int = 1) -> Array:
    """The m-th derivative of a polynomial.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.polyder(jnp.array([1., 2., 3.]))
        Array([2., 2.], dtype=float32)
    """
    if m < 0:
        raise ValueError(f"polyder: m must not be negative; got {m}.")
    (p,) = promote_inexact("polyder", *coefficients("polyder", p))
    for _ in range(m):
        powers = np.arange(p.size - 1, 0, -1).astype(p.dtype)
        p = slice_in_dim(p, 0, max(p.size - 1, 0)) * powers
    return p


def polyint(p: Any, m: int = 1, k: Any = None) -> Array:
    """The m-th antiderivative of a polynomial.

    Args:
        p: coefficients.
        m: how many times to integrate.
        k: constants of integration, a number or a vector of m; by default 0.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.polyint(jnp.array([2., 2.]))
        Array([1., 2., 0.], dtype=float32)
    """
    if m < 0:
        raise ValueError(f"polyint: m must not be negative; got {m}.")
    p, k = promote_inexact("polyint", *coefficients("polyint", p, 0 if k is None else k))
    if k.size not in (1, m):
        raise ValueError(f"polyint: one constant or {m} were expected; got {k.aval}.")
    for i in range(m):
        powers = np.arange(p.size, 0, -1).astype(p.dtype)
        constant = slice_in_dim(k, i, i + 1) if k.size == m else k
        p = concatenate([p / powers, constant], 0)
    return p


def poly(seq_of_zeros: Any) -> Array:
    """The coefficients of the monic polynomial with given zeros.

    Args:
        seq_of_zeros: the zeros; or a square matrix, whose characteristic polynomial it then is.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.poly(jnp.array([1., 2.]))
        Array([ 1., -3.,  2.], dtype=float32)
    """
    seq_of_zeros = operand("poly", seq_of_zeros)
    if seq_of_zeros.ndim == 2:
        seq_of_zeros = eigvals(seq_of_zeros)
    (zeros,) = promote_inexact("poly", *coefficients("poly", seq_of_zeros))
    result = full((1,), 1, zeros.dtype)
    nothing = full((1,), 0, zeros.dtype)
    for i in range(zeros.size):
        shifted, same = concatenate([result, nothing], 0), concatenate([nothing, result], 0)
        result = shifted - same * zeros[i]
    return result
