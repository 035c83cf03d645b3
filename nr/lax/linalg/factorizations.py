"""Cholesky, QR, eigenvalue and singular value decompositions, and their derivatives.

Derivatives are those of M. Giles (2008), "An extended collection of matrix derivative results for
forward and reverse mode automatic differentiation", and M. Seeger et al. (2017), "Auto-
differentiating linear algebra". Where two eigenvalues or singular values are equal the derivative
of their vectors does not exist; its terms that would be divided by zero are set to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, Zero
from nr.core.tracing import Primitive, typeof
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import abs as absolute
from nr.lax.elementwise import add, div, eq, mul, neg, real, sqrt, square, sub
from nr.lax.gather import gather_along
from nr.lax.linalg.matrices import (
    adjoint,
    along,
    check_matrices,
    diagonal,
    half_lower,
    identity_like,
    keep,
    matrix_batch,
    matrix_operand,
    part,
    product,
    scale_columns,
    scale_rows,
)
from nr.lax.linalg.solvers import solve_p, triangular_solve
from nr.lax.reduce import reduce_sum
from nr.lax.rules import const_like, nondifferentiable, zero_tangent, zeros_of
from nr.lax.select import select
from nr.lax.shape import broadcast_in_dim, concatenate, slice_in_dim


def _symmetrized(x: Any) -> Any:
    return mul(add(x, adjoint(x)), const_like(x, 0.5))


def _hermitian_tangent(t: Any, lower: bool) -> Any:
    """The tangent of the Hermitian matrix of which one triangle is read."""
    half = half_lower(t if lower else adjoint(t))
    return add(half, adjoint(half))


def _reciprocals(x: Any) -> Any:
    """1 / x, with 0 for 1 / 0; safe to differentiate."""
    zero = eq(x, const_like(x, 0))
    zeros = zeros_of(typeof(x))
    one = add(zeros, const_like(x, 1))
    return select(zero, zeros, div(one, select(zero, one, x)))


def _as_dtype_of(x: Any, like: Any) -> Any:
    return convert_element_type(x, typeof(like).dtype)


# ---------------------------------------------------------------- cholesky
def _cholesky_aval(a: ShapedArray) -> ShapedArray:
    check_matrices("cholesky", a, square=True)
    return a.strip_weak_type()


def _cholesky_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    # inv(L) A' inv(L)^H = inv(L) L' + its adjoint, of which inv(L) L' is the lower half.
    (a,), (t,) = primals, tangents
    low = cholesky_p.bind(a)
    if type(t) is Zero:
        return low, zero_tangent(low)
    inner = triangular_solve(low, _hermitian_tangent(t, True), left_side=True, lower=True)
    inner = triangular_solve(low, inner, lower=True, transpose_a=True, conjugate_a=True)
    return low, product(low, half_lower(inner))


cholesky_p = Primitive(
    "cholesky", abstract_eval=_cholesky_aval, jvp=_cholesky_jvp, batch=matrix_batch("cholesky")
)


def cholesky(x: Any, *, symmetrize_input: bool = True) -> Array:
    """The lower triangular L with ``L @ L^H == x``; NaNs where x is not positive definite.

    Args:
        x: Hermitian matrices ``[..., n, n]``.
        symmetrize_input: whether to take the mean of x and its adjoint first; if not, only the
            lower triangle is read.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if x is not square.

    Example:
        >>> import nr
        >>> nr.lax.linalg.cholesky(nr.numpy.array([[4., 2.], [2., 2.]]))
        Array([[2., 0.],
               [1., 1.]], dtype=float32)
    """
    x = matrix_operand("cholesky", x, "x", square=True)
    return cholesky_p.bind(_symmetrized(x) if symmetrize_input else x)


# ---------------------------------------------------------------- qr
def _qr_aval(a: ShapedArray, *, full_matrices: bool) -> list[ShapedArray]:
    check_matrices("qr", a)
    *lead, m, n = a.shape
    k = m if full_matrices else min(m, n)
    return [ShapedArray((*lead, m, k), a.dtype), ShapedArray((*lead, k, n), a.dtype)]


def _qr_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, full_matrices: bool) -> Any:
    # With A = Q R, Q^H Q' is skew-Hermitian and R' inv(R) upper triangular with a real diagonal;
    # they add up to Q^H A' inv(R). Of wide matrices the first columns give Q.
    (a,), (t,) = primals, tangents
    q, r = qr_p.bind(a, full_matrices=full_matrices)
    if type(t) is Zero:
        return [q, r], [zero_tangent(q), zero_tangent(r)]
    m, n = typeof(a).shape[-2:]
    if full_matrices and m > n:
        first = part(q, m, n)
        first_dot, r_dot = _qr_tangents(first, part(r, n, n), t)
        rest_dot = _completion_tangent(first, first_dot)
        zeros = zeros_of(typeof(part(r, slice(n, m), n)))
        axis = typeof(a).ndim - 2
        return [q, r], [
            concatenate([first_dot, rest_dot], axis + 1),
            concatenate([r_dot, zeros], axis),
        ]
    return [q, r], list(_qr_tangents(q, r, t))


def _qr_tangents(q: Any, r: Any, t: Any) -> tuple[Any, Any]:
    """The tangents of Q and R, of which Q has no more columns than R."""
    m, (k, n) = typeof(q).shape[-2], typeof(r).shape[-2:]
    square_r, square_t = (part(r, k, k), part(t, m, k)) if n > k else (r, t)
    scaled = triangular_solve(square_r, square_t)
    inner = product(adjoint(q), scaled)
    low = keep(inner, "lower")
    skew = sub(low, adjoint(low))
    if typeof(q).dtype in dtypes.COMPLEX:
        diag = keep(inner, "diagonal")
        skew = add(skew, sub(diag, _as_dtype_of(real(diag), diag)))
    q_dot = add(product(q, sub(skew, inner)), scaled)
    if n == k:
        return q_dot, product(sub(inner, skew), r)
    return q_dot, product(adjoint(q), sub(t, product(q_dot, r)))


def _completion_tangent(q: Any, t: Any) -> Any:
    """The tangent of the columns by which n Householder reflectors complete Q to a square matrix.

    With G = I - (the first n rows of Q) and B the other rows, the columns are G inv(G)^H B^H over
    I - B inv(G)^H B^H. They jump where G is singular: NaNs, then.
    """
    m, n = typeof(q).shape[-2:]
    rows, others = part(q, n, n), part(q, slice(n, m), n)
    g, g_dot = sub(identity_like(rows), rows), neg(part(t, n, n))
    b_dot = part(t, slice(n, m), n)
    k = solve_p.bind(adjoint(g), adjoint(others))
    k_dot = solve_p.bind(adjoint(g), sub(adjoint(b_dot), product(adjoint(g_dot), k)))
    top = add(product(g_dot, k), product(g, k_dot))
    bottom = neg(add(product(b_dot, k), product(others, k_dot)))
    return concatenate([top, bottom], typeof(q).ndim - 2)


qr_p = Primitive(
    "qr", abstract_eval=_qr_aval, jvp=_qr_jvp, batch=matrix_batch("qr"), multiple_results=True
)


def _qr_pivots_aval(a: ShapedArray) -> ShapedArray:
    check_matrices("qr", a)
    return ShapedArray((*a.shape[:-2], a.shape[-1]), np.dtype(np.int32))


qr_pivots_p = nondifferentiable(
    "qr_pivots", abstract_eval=_qr_pivots_aval, batch=matrix_batch("qr_pivots")
)


def qr(x: Any, *, pivoting: bool = False, full_matrices: bool = True) -> tuple[Array, ...]:
    """Q with orthonormal columns and upper triangular R, with ``Q @ R == x``.

    Args:
        x: matrices ``[..., m, n]``.
        pivoting: whether to choose the largest of the columns that are left, step by step, so that
            the diagonal of R falls: then ``Q @ R == x[:, p]``.
        full_matrices: whether Q is ``[..., m, m]``; if not, ``[..., m, min(m, n)]``.

    Returns:
        Q and R; and, with pivoting, the order p of columns, ``[..., n]``.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if x has rank below 2.
    """
    x = matrix_operand("qr", x, "x")
    if not pivoting:
        q, r = qr_p.bind(x, full_matrices=bool(full_matrices))
        return q, r
    order = qr_pivots_p.bind(x)
    shape = typeof(x).shape
    columns = broadcast_in_dim(order, shape, (*range(len(shape) - 2), len(shape) - 1))
    x = gather_along(x, columns, len(shape) - 1)
    q, r = qr_p.bind(x, full_matrices=bool(full_matrices))
    return q, r, order


# ---------------------------------------------------------------- eigh
def _eigh_aval(a: ShapedArray, *, lower: bool) -> list[ShapedArray]:
    check_matrices("eigh", a, square=True)
    return [a.strip_weak_type(), ShapedArray(a.shape[:-1], dtypes.to_real(a.dtype))]


def _eigh_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, lower: bool) -> Any:
    (a,), (t,) = primals, tangents
    v, w = eigh_p.bind(a, lower=lower)
    if type(t) is Zero:
        return [v, w], [zero_tangent(v), zero_tangent(w)]
    inner = product(product(adjoint(v), _hermitian_tangent(t, lower)), v)
    w_dot = diagonal(inner)
    if typeof(w_dot).dtype in dtypes.COMPLEX:
        w_dot = real(w_dot)
    shape = typeof(v).shape
    factors = _reciprocals(sub(along(w, shape, -1), along(w, shape, -2)))
    v_dot = product(v, mul(_as_dtype_of(factors, v), inner))
    return [v, w], [v_dot, w_dot]


eigh_p = Primitive(
    "eigh",
    abstract_eval=_eigh_aval,
    jvp=_eigh_jvp,
    batch=matrix_batch("eigh"),
    multiple_results=True,
)


def _chosen(op: str, subset: Sequence[int], n: int) -> slice:
    """The range of indices that a user asked for."""
    start, stop = subset
    if not 0 <= start < stop <= n:
        raise ValueError(
            f"{op}: subset_by_index must be (start, end) with 0 <= start < end <= {n}; "
            f"got {tuple(subset)}."
        )
    return slice(start, stop)


def eigh(
    x: Any,
    *,
    lower: bool = True,
    symmetrize_input: bool = True,
    sort_eigenvalues: bool = True,
    subset_by_index: tuple[int, int] | None = None,
) -> tuple[Array, Array]:
    """Eigenvectors and eigenvalues of Hermitian matrices.

    Args:
        x: Hermitian matrices ``[..., n, n]``.
        lower: which triangle is read, if the input is not symmetrized.
        symmetrize_input: whether to take the mean of x and its adjoint first.
        sort_eigenvalues: accepted as in JAX: eigenvalues are always ascending.
        subset_by_index: give only the eigenvalues from one index to another (exclusive), and
            their vectors.

    Returns:
        Orthonormal eigenvectors in columns, ``[..., n, n]``, and real eigenvalues ``[..., n]``,
        ascending.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if x is not square, or the subset is not within its eigenvalues.
    """
    x = matrix_operand("eigh", x, "x", square=True)
    v, w = eigh_p.bind(_symmetrized(x) if symmetrize_input else x, lower=bool(lower))
    if subset_by_index is not None:
        n = x.shape[-1]
        chosen = _chosen("eigh", subset_by_index, n)
        v, w = part(v, n, chosen), slice_in_dim(w, chosen.start, chosen.stop, axis=-1)
    return v, w


# ---------------------------------------------------------------- svd
def _svd_aval(a: ShapedArray, *, full_matrices: bool, compute_uv: bool) -> list[ShapedArray]:
    check_matrices("svd", a)
    *lead, m, n = a.shape
    k = min(m, n)
    s = ShapedArray((*lead, k), dtypes.to_real(a.dtype))
    if not compute_uv:
        return [s]
    rows, columns = (m, n) if full_matrices else (k, k)
    return [
        s,
        ShapedArray((*lead, m, rows), a.dtype),
        ShapedArray((*lead, columns, n), a.dtype),
    ]


def _svd_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, full_matrices: bool, compute_uv: bool
) -> Any:
    (a,), (t,) = primals, tangents
    params = {"full_matrices": full_matrices, "compute_uv": compute_uv}
    if type(t) is Zero:
        outs = svd_p.bind(a, **params)
        return outs, [zero_tangent(x) for x in outs]
    m, n = typeof(a).shape[-2:]
    if compute_uv and full_matrices and m != n:
        raise NotImplementedError(
            f"svd: with full_matrices=True, only square matrices have a derivative; got "
            f"{typeof(a)}. Use full_matrices=False."
        )
    s, u, vh = svd_p.bind(a, full_matrices=False, compute_uv=True)
    uh, v = adjoint(u), adjoint(vh)
    inner = product(product(uh, t), v)
    s_dot = diagonal(inner)
    complex_valued = typeof(a).dtype in dtypes.COMPLEX
    if complex_valued:
        s_dot = real(s_dot)
    if not compute_uv:
        return [s], [s_dot]
    # U^H U' and V^H V' are skew-Hermitian; with S they make up the rest of U^H A' V.
    shape = typeof(inner).shape
    s_columns, s_rows = along(s, shape, -1), along(s, shape, -2)
    factors = _reciprocals(mul(add(s_columns, s_rows), sub(s_columns, s_rows)))
    factors = _as_dtype_of(factors, a)
    s_full = _as_dtype_of(s, a)
    right, left = scale_columns(inner, s_full), scale_rows(inner, s_full)
    u_turn = mul(factors, add(right, adjoint(right)))
    v_turn = mul(factors, add(left, adjoint(left)))
    inverse_s = _as_dtype_of(_reciprocals(s), a)
    if complex_valued:  # the phase that the diagonal leaves open is given to U
        half = mul(sub(inner, adjoint(inner)), const_like(inner, 0.5))
        u_turn = add(u_turn, keep(scale_columns(half, inverse_s), "diagonal"))
    u_dot, v_dot = product(u, u_turn), product(v, v_turn)
    if m > n:
        outside = product(t, v)
        outside = sub(outside, product(u, product(uh, outside)))
        u_dot = add(u_dot, scale_columns(outside, inverse_s))
    if n > m:
        outside = product(adjoint(t), u)
        outside = sub(outside, product(v, product(vh, outside)))
        v_dot = add(v_dot, scale_columns(outside, inverse_s))
    return [s, u, vh], [s_dot, u_dot, adjoint(v_dot)]


svd_p = Primitive(
    "svd", abstract_eval=_svd_aval, jvp=_svd_jvp, batch=matrix_batch("svd"), multiple_results=True
)


def svd(
    x: Any,
    *,
    full_matrices: bool = True,
    compute_uv: bool = True,
    subset_by_index: tuple[int, int] | None = None,
) -> Any:
    """The singular value decomposition ``x == (U * s) @ Vh``.

    Args:
        x: matrices ``[..., m, n]``; k is min(m, n).
        full_matrices: whether U and Vh are square; if not, ``[..., m, k]`` and ``[..., k, n]``.
        compute_uv: whether U and Vh are wanted.
        subset_by_index: give only the singular values from one index to another (exclusive), and
            their vectors.

    Returns:
        U, s and Vh, or s only; s is real, descending.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if x has rank below 2, if the subset is not within its singular values, or if
            one is given with full_matrices.
    """
    x = matrix_operand("svd", x, "x")
    outs = svd_p.bind(x, full_matrices=bool(full_matrices), compute_uv=bool(compute_uv))
    if subset_by_index is not None:
        if full_matrices and compute_uv:
            raise ValueError(
                "svd: a subset has no full matrices; got subset_by_index and full_matrices=True. "
                "Pass full_matrices=False."
            )
        m, n = x.shape[-2:]
        chosen = _chosen("svd", subset_by_index, min(m, n))
        outs[0] = slice_in_dim(outs[0], chosen.start, chosen.stop, axis=-1)
        if compute_uv:
            outs[1:] = part(outs[1], m, chosen), part(outs[2], chosen, n)
    if not compute_uv:
        return outs[0]
    s, u, vh = outs
    return u, s, vh


# ---------------------------------------------------------------- eig
def _eig_aval(a: ShapedArray, *, compute_vectors: bool) -> list[ShapedArray]:
    check_matrices("eig", a, square=True)
    dtype = dtypes.to_complex(a.dtype)
    w = ShapedArray(a.shape[:-1], dtype)
    return [w, ShapedArray(a.shape, dtype)] if compute_vectors else [w]


def _eig_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, compute_vectors: bool) -> Any:
    (a,), (t,) = primals, tangents
    if type(t) is Zero:
        outs = eig_p.bind(a, compute_vectors=compute_vectors)
        return outs, [zero_tangent(x) for x in outs]
    w, v = eig_p.bind(a, compute_vectors=True)
    inner = solve_p.bind(v, product(_as_dtype_of(t, v), v))
    w_dot = diagonal(inner)
    if not compute_vectors:
        return [w], [w_dot]
    shape = typeof(v).shape
    factors = _reciprocals(sub(along(w, shape, -1), along(w, shape, -2)))
    v_dot = product(v, mul(factors, inner))
    # Vectors keep their length, and turn by no phase: v_dot is orthogonal to v.
    v_dot = sub(v_dot, scale_columns(v, diagonal(product(adjoint(v), v_dot))))
    return [w, v], [w_dot, v_dot]


eig_p = Primitive(
    "eig", abstract_eval=_eig_aval, jvp=_eig_jvp, batch=matrix_batch("eig"), multiple_results=True
)


def eig(
    x: Any, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True
) -> list[Array]:
    """Eigenvalues and eigenvectors of square matrices.

    Derivatives of eigenvectors are those up to a phase; functions that depend on it have none.

    Args:
        x: matrices ``[..., n, n]``.
        compute_left_eigenvectors: whether to give the vectors u with ``u^H x == w u^H``. They
            are columns of the inverse adjoint of the right ones, and NaN where that is none.
        compute_right_eigenvectors: whether to give the vectors v with ``x v == w v``.

    Returns:
        The eigenvalues ``[..., n]``, then left and right eigenvectors in columns, of length 1, as
        far as they were asked for; all complex.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if x is not square.
    """
    x = matrix_operand("eig", x, "x", square=True)
    if not (compute_left_eigenvectors or compute_right_eigenvectors):
        return eig_p.bind(x, compute_vectors=False)
    w, v = eig_p.bind(x, compute_vectors=True)
    outs = [w]
    if compute_left_eigenvectors:
        u = solve_p.bind(adjoint(v), identity_like(v))
        length = sqrt(reduce_sum(square(absolute(u)), (typeof(u).ndim - 2,)))
        outs.append(scale_columns(u, _as_dtype_of(_reciprocals(length), u)))
    return [*outs, v] if compute_right_eigenvectors else outs
