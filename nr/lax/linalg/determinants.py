"""Determinants, and their derivatives (Jacobi's formula), also of singular matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, Zero
from nr.core.tracing import Primitive, typeof
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import add, mul, ne, real, sub
from nr.lax.gather import gather_along
from nr.lax.linalg.lu import lu_p, permute_rows
from nr.lax.linalg.matrices import (
    check_matrices,
    diagonal,
    identity_like,
    matrix_batch,
    matrix_operand,
    part,
    product,
)
from nr.lax.linalg.solvers import solve_p, triangular_solve
from nr.lax.reduce import reduce_and, reduce_prod, reduce_sum
from nr.lax.rules import const_like, nondifferentiable, zero_tangent
from nr.lax.select import select
from nr.lax.shape import broadcast_in_dim, broadcasted_iota, concatenate, index_in_dim, reshape


# ---------------------------------------------------------------- det
def _det_aval(a: ShapedArray) -> ShapedArray:
    check_matrices("det", a, square=True)
    return ShapedArray(a.shape[:-2], a.dtype)


def _det_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    (a,), (t,) = primals, tangents
    out = det_p.bind(a)
    if type(t) is Zero or typeof(a).shape[-1] == 0:
        return out, zero_tangent(out)
    return out, _adjugate_trace(a, t)


def _adjugate_trace(a: Any, t: Any) -> Any:
    """trace(adjugate(a) t), the derivative of det along t."""
    n = typeof(a).shape[-1]
    if n == 1:
        return reshape(t, typeof(t).shape[:-2])
    if n == 2:
        (a00, a01), (a10, a11) = _entries(a)
        (t00, t01), (t10, t11) = _entries(t)
        return sub(_dot((a00, a11), (t11, t00)), _dot((a01, a10), (t10, t01)))
    if n == 3:  # row i of t meets the cross product of the two other rows of a
        rows, t_rows = _entries(a), _entries(t)
        terms = [_dot(t_rows[i], _cross(rows[(i + 1) % 3], rows[(i + 2) % 3])) for i in range(3)]
        return add(add(terms[0], terms[1]), terms[2])
    # With the columns in an order that leaves the smallest pivot for last, what follows is finite
    # unless there are two zeros, and then the derivative is 0. Exchanges change the sign only.
    order, sign = pivot_columns_p.bind(a)
    shape, rank = typeof(a).shape, typeof(a).ndim
    columns = broadcast_in_dim(order, shape, (*range(rank - 2), rank - 1))
    a, t = gather_along(a, columns, rank - 1), gather_along(t, columns, rank - 1)
    trace = reduce_sum(diagonal(_adjugate_product(a, t)), (rank - 2,))
    return mul(trace, convert_element_type(sign, typeof(trace).dtype))


def _pivot_columns_aval(a: ShapedArray) -> list[ShapedArray]:
    check_matrices("pivot_columns", a, square=True)
    return [ShapedArray(a.shape[:-1], np.int32), ShapedArray(a.shape[:-2], np.int32)]


pivot_columns_p = nondifferentiable(
    "pivot_columns",
    abstract_eval=_pivot_columns_aval,
    batch=matrix_batch("pivot_columns"),
    multiple_results=True,
)


def _entries(a: Any) -> list[list[Any]]:
    rank, n = typeof(a).ndim, typeof(a).shape[-1]
    rows = [index_in_dim(a, i, rank - 2, keepdims=False) for i in range(n)]
    return [[index_in_dim(row, j, rank - 2, keepdims=False) for j in range(n)] for row in rows]


def _dot(xs: Sequence[Any], ys: Sequence[Any]) -> Any:
    total = mul(xs[0], ys[0])
    for x, y in zip(xs[1:], ys[1:], strict=True):
        total = add(total, mul(x, y))
    return total


def _cross(x: Sequence[Any], y: Sequence[Any]) -> list[Any]:
    return [sub(mul(x[i], y[j]), mul(x[j], y[i])) for i, j in ((1, 2), (2, 0), (0, 1))]


def _adjugate_product(a: Any, t: Any) -> Any:
    """adjugate(a) t = det(a) inv(a) t, without the division by the last pivot u of P a = L U.

    With U = [[U', w], [0, u]], y = inv(L) P t and d the determinant of U' with the sign of P, it
    is d y_n in the last row, and d inv(U') (u y' - w y_n) above: finite also where u is 0.
    """
    rank, n = typeof(a).ndim, typeof(a).shape[-1]
    lu, pivots, permutation = lu_p.bind(a)
    t = permute_rows(t, permutation)
    y = triangular_solve(lu, t, left_side=True, lower=True, unit_diagonal=True)
    head, last = slice(0, n - 1), slice(n - 1, n)
    y_head, y_last = part(y, head, n), part(y, last, n)
    upper = part(lu, head, head)
    d = mul(_sign(pivots, typeof(a).dtype), reduce_prod(diagonal(upper), (rank - 2,)))
    u = broadcast_in_dim(part(lu, last, last), typeof(y_head).shape, tuple(range(rank)))
    above = sub(mul(u, y_head), product(part(lu, head, last), y_last))
    regular = reduce_and(ne(diagonal(upper), const_like(a, 0)), (rank - 2,))
    regular = broadcast_in_dim(regular, typeof(upper).shape, tuple(range(rank - 2)))
    upper = select(regular, upper, identity_like(upper))
    above = triangular_solve(upper, above, left_side=True)
    whole = concatenate([above, y_last], rank - 2)
    return mul(broadcast_in_dim(d, typeof(whole).shape, tuple(range(rank - 2))), whole)


def _sign(pivots: Any, dtype: Any) -> Any:
    """1 or -1: minus for each exchange of rows."""
    shape = typeof(pivots).shape
    moved = ne(pivots, broadcasted_iota(typeof(pivots).dtype, shape, len(shape) - 1))
    one = broadcast_in_dim(dtype.type(1), shape, ())
    return reduce_prod(select(moved, mul(one, const_like(one, -1)), one), (len(shape) - 1,))


det_p = Primitive("det", abstract_eval=_det_aval, jvp=_det_jvp, batch=matrix_batch("det"))


def det(a: Any) -> Array:
    """The determinants of matrices ``[..., n, n]``.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if a is not square.
    """
    return det_p.bind(matrix_operand("det", a, square=True))


# ---------------------------------------------------------------- slogdet
def _slogdet_aval(a: ShapedArray) -> list[ShapedArray]:
    check_matrices("slogdet", a, square=True)
    lead = a.shape[:-2]
    return [ShapedArray(lead, a.dtype), ShapedArray(lead, dtypes.to_real(a.dtype))]


def _slogdet_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    (a,), (t,) = primals, tangents
    sign, logdet = slogdet_p.bind(a)
    if type(t) is Zero or typeof(a).shape[-1] == 0:
        return [sign, logdet], [zero_tangent(sign), zero_tangent(logdet)]
    trace = reduce_sum(diagonal(solve_p.bind(a, t)), (typeof(a).ndim - 2,))
    if typeof(a).dtype not in dtypes.COMPLEX:
        return [sign, logdet], [zero_tangent(sign), trace]
    size = real(trace)
    turn = sub(trace, convert_element_type(size, typeof(trace).dtype))
    return [sign, logdet], [mul(sign, turn), size]


slogdet_p = Primitive(
    "slogdet",
    abstract_eval=_slogdet_aval,
    jvp=_slogdet_jvp,
    batch=matrix_batch("slogdet"),
    multiple_results=True,
)


def slogdet(a: Any) -> tuple[Array, Array]:
    """The sign of the determinant (a number of modulus 1 if complex; 0), and log of its modulus."""
    sign, logdet = slogdet_p.bind(matrix_operand("slogdet", a, square=True))
    return sign, logdet
