"""Norms of vectors and matrices, for nr.numpy.linalg."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.lax.linalg import svd
from nr.lax.rules import canonical_axes
from nr.numpy.manipulation import expand_dims, moveaxis, reshape
from nr.numpy.number_parts import conj, real
from nr.numpy.promotion import promote_inexact
from nr.numpy.reductions import max, min, sum
from nr.numpy.ufuncs import abs, power, sqrt
from nr.numpy.ufuncs_logic import not_equal

__all__ = ["matrix_norm", "norm", "vector_norm"]


def _two_norm(x: Any, axis: Any, keepdims: bool) -> Array:
    return sqrt(sum(real(x * conj(x)), axis=axis, keepdims=keepdims))


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:  # noqa: A002
    """The norm of a vector along one axis, or of matrices along two.

    Args:
        x: an array.
        ord: which norm. Of vectors: any number, infinities, 0 (how many are not zero); 2 by
            default. Of matrices: "fro" (the default), "nuc", 1, -1, 2, -2, infinities.
        axis: an axis, or a pair of them; by default all, of rank 1 or 2 unless ord is None.
        keepdims: whether reduced axes stay, with extent 1.

    Raises:
        ValueError: for orders and axes that there are no norms for.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.linalg.norm(jnp.array([3., 4.]))
        Array(5., dtype=float32)
    """
    (x,) = promote_inexact("norm", x)
    if axis is None and ord is None:
        return _two_norm(x, None, keepdims)
    axes = canonical_axes("norm", axis, x.ndim)
    if len(axes) == 1:
        return _vector_norm("norm", x, 2 if ord is None else ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix_norm("norm", x, "fro" if ord is None else ord, axes, keepdims)
    raise ValueError(
        f"norm: one axis or two were expected; got {axes} for {x.aval}. "
        f"Use nr.numpy.linalg.vector_norm, which takes any number of axes."
    )


def vector_norm(
    x: Any,
    /,
    *,
    axis: Any = None,
    keepdims: bool = False,
    ord: Any = 2,  # noqa: A002
) -> Array:
    """The norm of vectors along axes (all by default): the order is any number, or an infinity."""
    (x,) = promote_inexact("vector_norm", x)
    axes = canonical_axes("vector_norm", axis, x.ndim)
    return _vector_norm("vector_norm", x, ord, axes, keepdims)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:  # noqa: A002
    """The norm of the matrices in the last two dimensions: see `norm`."""
    (x,) = promote_inexact("matrix_norm", x)
    if x.ndim < 2:
        raise ValueError(f"matrix_norm: the shape must be [..., m, n]; got {x.aval}.")
    return _matrix_norm("matrix_norm", x, ord, (x.ndim - 2, x.ndim - 1), keepdims)


def _vector_norm(op: str, x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Array:  # noqa: A002
    options: dict[str, Any] = {"axis": axes, "keepdims": keepdims}
    if isinstance(ord, str):
        raise ValueError(
            f"{op}: of vectors the order must be a number; got {ord!r} for {x.aval}. "
            f"Give two axes for the norm of matrices."
        )
    if ord is None or (isinstance(ord, (int, float)) and ord == 2):
        return _two_norm(x, **options)
    if isinstance(ord, (int, float)):
        if ord == np.inf:
            return max(abs(x), initial=0, **options)
        if ord == -np.inf:
            return min(abs(x), **options)
        if ord == 0:
            return sum(not_equal(x, 0).astype(dtypes.to_real(x.dtype)), **options)
        if ord == 1:
            return sum(abs(x), **options)
    return power(sum(power(abs(x), ord), **options), 1 / ord)


def _matrix_norm(op: str, x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Array:  # noqa: A002
    row, column = axes
    if ord in ("fro", "f"):
        return _two_norm(x, axes, keepdims)
    if ord in (2, -2, "nuc"):
        s = svd(moveaxis(x, axes, (-2, -1)), compute_uv=False)
        if ord == "nuc":
            out = sum(s, axis=-1)
        else:
            out = max(s, axis=-1, initial=0) if ord == 2 else min(s, axis=-1)
        return expand_dims(out, tuple(sorted(axes))) if keepdims else out
    if ord in (1, -1):
        summed, over = row, column
    elif ord in (np.inf, -np.inf):
        summed, over = column, row
    else:
        raise ValueError(
            f'{op}: of matrices the order must be "fro", "nuc", 1, -1, 2, -2, inf or -inf; '
            f"got {ord!r} for {x.aval}."
        )
    sums = sum(abs(x), axis=summed, keepdims=True)
    out = (
        max(sums, axis=over, keepdims=True, initial=0)
        if ord > 0
        else min(sums, axis=over, keepdims=True)
    )
    if keepdims:
        return out
    return reshape(out, tuple([n for d, n in enumerate(x.shape) if d not in axes]))
