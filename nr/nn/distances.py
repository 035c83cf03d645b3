"""Norms of vectors, and distances and angles between them, over an axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core.array import Array
from nr.numpy.promotion import promote_inexact

__all__ = ["cosine_similarity", "normalize", "pairwise_distance"]


def _wide(op: str, *xs: Any) -> tuple[np.dtype, list[Array]]:
    """The dtype of the result, and operands to compute with: float32 where they are half floats.

    Squares leave the range of float16 early, and its smallest number is far above the epsilons.
    """
    values = promote_inexact(op, *xs)
    dtype = values[0].dtype
    return dtype, [x.astype(np.float32) for x in values] if dtype.itemsize == 2 else values


def _norm(op: str, x: Array, p: float, axis: int, keepdims: bool = False) -> Array:
    """The p-norm; its derivative is 0 where it is 0."""
    if not p > 0:
        raise ValueError(f"{op}: p must be positive; got {p}.")
    if p == math.inf:
        return jnp.max(jnp.abs(x), axis, keepdims=keepdims)
    if p == 1:
        return jnp.sum(x * jnp.sign(x), axis, keepdims=keepdims)
    if p == 2:
        total = jnp.sum(jnp.square(x), axis, keepdims=keepdims)
    else:
        zero = x == 0
        powers = jnp.abs(jnp.where(zero, 1, x)) ** p
        total = jnp.sum(jnp.where(zero, 0, powers), axis, keepdims=keepdims)
    # Roots are infinitely steep at 0.
    zero = total == 0
    safe = jnp.where(zero, 1, total)
    return jnp.where(zero, 0, jnp.sqrt(safe) if p == 2 else safe ** (1 / p))


def normalize(x: Any, p: float = 2.0, axis: int = -1, eps: float = 1e-12) -> Array:
    """x / max(norm(x), eps): vectors of length 1 along an axis.

    Args:
        x: any array.
        p: of the norm; positive, may be ``math.inf``.
        axis: along which the vectors lie.
        eps: keeps the divisor from 0: vectors of zeros stay zeros.

    Raises:
        ValueError: p is not positive.

    Example:
        >>> import nr
        >>> nr.nn.normalize(nr.numpy.array([3.0, 4.0]))
        Array([0.6, 0.8], dtype=float32)
    """
    dtype, (x,) = _wide("normalize", x)
    return (x / jnp.maximum(_norm("normalize", x, p, axis, True), eps)).astype(dtype)


def cosine_similarity(x1: Any, x2: Any, axis: int = -1, eps: float = 1e-8) -> Array:
    """The cosine of the angle between vectors: sum(x1 * x2) / (norm(x1) * norm(x2)).

    Args:
        x1, x2: arrays that broadcast together.
        axis: along which the vectors lie, of the arrays as broadcast; the result lacks it.
        eps: the least norm: the cosine with a vector of zeros is 0.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[3.0, 4.0], [0.0, 2.0]])
        >>> nr.nn.cosine_similarity(x[:, None], x[None])  # all pairs
        Array([[1. , 0.8],
               [0.8, 1. ]], dtype=float32)
    """
    op = "cosine_similarity"
    dtype, (x1, x2) = _wide(op, x1, x2)
    x1, x2 = jnp.broadcast_arrays(x1, x2)
    norms = [jnp.maximum(_norm(op, x, 2, axis), eps) for x in (x1, x2)]
    # Each norm divides of its own: their product may be out of range.
    return (jnp.sum(x1 * x2, axis) / norms[0] / norms[1]).astype(dtype)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, axis: int = -1, eps: float = 1e-6) -> Array:
    """norm(x1 - x2 + eps).

    Args:
        x1, x2: arrays that broadcast together.
        p: of the norm; positive, may be ``math.inf``.
        axis: along which the vectors lie, of the arrays as broadcast; the result lacks it.
        eps: added to each difference; it keeps the gradient of equal vectors from 0.

    Raises:
        ValueError: p is not positive.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[0.0, 0.0], [3.0, 4.0]])
        >>> nr.nn.pairwise_distance(x[:, None], x[None], eps=0.0)  # all pairs
        Array([[0., 5.],
               [5., 0.]], dtype=float32)
    """
    op = "pairwise_distance"
    dtype, (x1, x2) = _wide(op, x1, x2)
    return _norm(op, x1 - x2 + eps, p, axis).astype(dtype)
