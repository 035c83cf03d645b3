"""LU decomposition with partial pivoting, and its derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, Zero
from nr.core.tracing import Primitive, typeof
from nr.lax.elementwise import add
from nr.lax.gather import gather_along
from nr.lax.linalg.matrices import (
    check_matrices,
    identity_like,
    keep,
    matrix_batch,
    matrix_operand,
    part,
    product,
    without,
)
from nr.lax.linalg.solvers import triangular_solve
from nr.lax.rules import check_dtype, nondifferentiable, operand, zero_tangent
from nr.lax.shape import broadcast_in_dim, concatenate

_INT32 = np.dtype(np.int32)


def _lu_aval(a: ShapedArray) -> list[ShapedArray]:
    check_matrices("lu", a)
    *lead, m, n = a.shape
    return [
        a.strip_weak_type(),
        ShapedArray((*lead, min(m, n)), _INT32),
        ShapedArray((*lead, m), _INT32),
    ]


def _lu_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    # P A = L U gives L' U + L U' for P A'; inv(L) L' is strictly lower, U' inv(U) is upper
    # triangular, so they are the parts of inv(L) P A' inv(U). What is not square is completed
    # by an identity.
    (a,), (a_dot,) = primals, tangents
    lu, pivots, permutation = lu_p.bind(a)
    if type(a_dot) is Zero:
        return [lu, pivots, permutation], [zero_tangent(x) for x in (lu, pivots, permutation)]
    shape = typeof(a).shape
    m, n = shape[-2:]
    permuted = permute_rows(a_dot, permutation)
    lower, upper = _completed(lu, m, -1), _completed(lu, n, -2)
    inner = triangular_solve(lower, permuted, left_side=True, lower=True, unit_diagonal=True)
    inner = triangular_solve(upper, inner, left_side=False, lower=False)
    lu_dot = add(
        product(lower_unit(lower), keep(inner, "lower")),
        product(without(inner, "lower"), without(upper, "lower")),
    )
    return [lu, pivots, permutation], [lu_dot, zero_tangent(pivots), zero_tangent(permutation)]


def permute_rows(x: Any, permutation: Any) -> Any:
    """Rows of matrices in the order of a permutation."""
    shape = typeof(x).shape
    rows = broadcast_in_dim(permutation, shape, tuple(range(len(shape) - 1)))
    return gather_along(x, rows, len(shape) - 2)


def lower_unit(x: Any) -> Any:
    """The part below the diagonal, with ones on it."""
    return add(keep(x, "lower"), identity_like(x))


def _completed(lu: Any, n: int, axis: int) -> Any:
    """The square matrix of extent n that begins with lu and goes on with the identity.

    axis: along which lu may be too narrow (-1: columns, -2: rows).
    """
    missing = n - typeof(lu).shape[axis]
    square = part(lu, n, n)
    if missing <= 0:
        return square
    whole = broadcast_in_dim(np.ones((), typeof(lu).dtype), (*typeof(lu).shape[:-2], n, n), ())
    ones = keep(whole, "diagonal")
    if axis == -1:
        rest = part(ones, n, slice(n - missing, n))
    else:
        rest = part(ones, slice(n - missing, n), n)
    return concatenate([square, rest], typeof(lu).ndim + axis)


lu_p = Primitive(
    "lu", abstract_eval=_lu_aval, jvp=_lu_jvp, batch=matrix_batch("lu"), multiple_results=True
)


def lu(x: Any) -> tuple[Array, Array, Array]:
    """The LU decomposition with partial pivoting: ``x[permutation] = L @ U``.

    Args:
        x: matrices ``[..., m, n]``.

    Returns:
        L (below the diagonal; on it are ones) and U in one array ``[..., m, n]``; pivots
        ``[..., min(m, n)]``: the row that each row was exchanged with, in turn; and the
        permutation ``[..., m]`` of rows.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if x has rank below 2.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[1., 2.], [2., 2.]])
        >>> nr.lax.linalg.lu(x)[0]
        Array([[2. , 2. ],
               [0.5, 1. ]], dtype=float32)
    """
    lu, pivots, permutation = lu_p.bind(matrix_operand("lu", x, "x"))
    return lu, pivots, permutation


# ---------------------------------------------------------------- pivots
def _permutation_aval(pivots: ShapedArray, *, permutation_size: int) -> ShapedArray:
    check_dtype("lu_pivots_to_permutation", pivots, dtypes.INTEGER)
    if not pivots.shape or pivots.shape[-1] > permutation_size:
        raise ValueError(
            f"lu_pivots_to_permutation: pivots [..., k] with k at most permutation_size = "
            f"{permutation_size} were expected; got {pivots}."
        )
    return ShapedArray((*pivots.shape[:-1], permutation_size), _INT32)


lu_pivots_to_permutation_p = nondifferentiable(
    "lu_pivots_to_permutation",
    abstract_eval=_permutation_aval,
    batch=matrix_batch("lu_pivots_to_permutation"),
)


def lu_pivots_to_permutation(pivots: Any, permutation_size: int) -> Array:
    """The permutation of rows that the pivots of `lu` describe.

    Example:
        >>> import nr
        >>> nr.lax.linalg.lu_pivots_to_permutation(nr.numpy.array([2, 2]), 3)
        Array([2, 0, 1], dtype=int32)
    """
    pivots = operand("lu_pivots_to_permutation", pivots)
    params = {"permutation_size": int(permutation_size)}
    _permutation_aval(typeof(pivots), **params)
    return lu_pivots_to_permutation_p.bind(pivots, **params)
