"""Kernels of linear algebra, over the array module's own; triangular systems and LU are ours."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from ._structure import Array, Kernel

_BLOCK = 64  # triangular systems above this are halved: most work is then in matrix products
_PANEL = 32  # columns that LU eliminates one by one before it updates the rest at once


def _tuple(out: Any) -> tuple[Array, ...]:
    return out if isinstance(out, tuple) else (out,)


def _lapack(xp: ModuleType, function: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """A function of stacks of matrices that gives NaNs where NumPy's raises LinAlgError."""

    def kernel(a: Array) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            try:
                return tuple([xp.asarray(x) for x in _tuple(function(a))])
            except np.linalg.LinAlgError:
                pass
            if a.ndim == 2:
                like = _tuple(function(xp.eye(*a.shape, dtype=a.dtype)))
                return tuple([xp.full_like(x, np.nan) for x in like])
            each = [kernel(x) for x in a]
            return tuple([xp.stack(xs) for xs in zip(*each, strict=True)])

    return kernel


def _finite(xp: ModuleType, a: Array) -> Array:
    """The operand of a function whose iteration may not end with NaNs or infinities."""
    if not xp.isfinite(a).all():
        raise np.linalg.LinAlgError("infinities or NaNs")
    return a


def _transposed(a: Array) -> Array:
    return a.swapaxes(-1, -2)


# ---------------------------------------------------------------- triangular systems
def _substitute(xp: ModuleType, a: Array, b: Array, lower: bool, unit: bool) -> Array:
    """Solve triangular systems row by row; zeros on the diagonal give infinities and NaNs."""
    n = a.shape[-1]
    x = xp.array(b)
    for i in range(n) if lower else range(n - 1, -1, -1):
        known = slice(0, i) if lower else slice(i + 1, n)
        row = x[..., i : i + 1, :] - a[..., i : i + 1, known] @ x[..., known, :]
        x[..., i : i + 1, :] = row if unit else row / a[..., i : i + 1, i : i + 1]
    return x


def _solve_triangular(xp: ModuleType, a: Array, b: Array, lower: bool, unit: bool) -> Array:
    """Solve triangular systems with the triangle of `a` that is named, by halves."""
    n = a.shape[-1]
    if n <= _BLOCK:
        return _solve_block(xp, a, b, lower, unit)
    half = n // 2
    first, second = (slice(0, half), slice(half, n)) if lower else (slice(half, n), slice(0, half))
    x = xp.empty_like(b)
    x[..., first, :] = _solve_triangular(xp, a[..., first, first], b[..., first, :], lower, unit)
    rest = b[..., second, :] - a[..., second, first] @ x[..., first, :]
    x[..., second, :] = _solve_triangular(xp, a[..., second, second], rest, lower, unit)
    return x


def _solve_block(xp: ModuleType, a: Array, b: Array, lower: bool, unit: bool) -> Array:
    n = a.shape[-1]
    if n <= 4:  # fewer steps than the general solver takes checks
        return _substitute(xp, a, b, lower, unit)
    inside = xp.tri(n, k=-1 if unit else 0, dtype=bool)
    matrix = xp.where(inside if lower else inside.T, a, a.dtype.type(0))
    if unit:
        matrix = matrix + xp.eye(n, dtype=a.dtype)
    try:
        return xp.linalg.solve(matrix, b)
    except np.linalg.LinAlgError:
        return _substitute(xp, a, b, lower, unit)


# ---------------------------------------------------------------- LU
def _size(xp: ModuleType, x: Array) -> Array:
    """What pivots are compared by; LAPACK's measure of complex numbers."""
    return abs(x.real) + abs(x.imag) if x.dtype.kind == "c" else abs(x)


def _lu_stack(xp: ModuleType, a: Array) -> tuple[Array, Array, Array]:
    """LU with partial pivoting of matrices [stack, m, n], right-looking, in panels of columns."""
    stack, m, n = a.shape
    k = min(m, n)
    a = a.copy()
    lanes = xp.arange(stack)
    permutation = xp.tile(xp.arange(m, dtype=np.int32), (stack, 1))
    pivots = xp.empty((stack, k), np.int32)
    for start in range(0, k, _PANEL):
        stop = min(start + _PANEL, k)
        for j in range(start, stop):
            p = _size(xp, a[:, j:, j]).argmax(axis=1) + j
            pivots[:, j] = p
            for rows in (a, permutation):
                chosen = rows[lanes, p]
                rows[lanes, p] = rows[:, j]
                rows[:, j] = chosen
            pivot = a[:, j, j, None]
            # a column of zeros stays: its pivot is the largest of them
            column = a[:, j + 1 :, j] / xp.where(pivot == 0, a.dtype.type(1), pivot)
            a[:, j + 1 :, j] = column
            a[:, j + 1 :, j + 1 : stop] -= column[:, :, None] * a[:, j, None, j + 1 : stop]
        if stop < n:
            across = _solve_triangular(
                xp, a[:, start:stop, start:stop], a[:, start:stop, stop:], True, True
            )
            a[:, start:stop, stop:] = across
            a[:, stop:, stop:] -= a[:, stop:, start:stop] @ across
    return a, pivots, permutation


def _column_order(xp: ModuleType, a: Array) -> tuple[Array, Array]:
    """The order of columns of [stack, n, n] that complete pivoting finds, and its sign."""
    stack, n = a.shape[:2]
    a = a.copy()
    lanes = xp.arange(stack)
    order = xp.tile(xp.arange(n, dtype=np.int32), (stack, 1))
    sign = xp.ones(stack, np.int32)
    for j in range(n - 1):
        largest = _size(xp, a[:, j:, j:]).reshape(stack, (n - j) ** 2).argmax(axis=1)
        p, q = largest // (n - j) + j, largest % (n - j) + j
        for lines, place in ((a, p), (a.swapaxes(1, 2), q), (order, q)):
            chosen = lines[lanes, place]
            lines[lanes, place] = lines[:, j]
            lines[:, j] = chosen
        sign = xp.where(q == j, sign, -sign)
        pivot = a[:, j, j, None]
        column = a[:, j + 1 :, j] / xp.where(pivot == 0, a.dtype.type(1), pivot)
        a[:, j + 1 :, j + 1 :] -= column[:, :, None] * a[:, j, None, j + 1 :]
    return order, sign


def rows(xp: ModuleType) -> dict[str, Kernel]:
    """Return the kernels of this file over the arrays of `xp`.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name.
    """
    linalg = xp.linalg

    def triangular_solve(
        a: Array,
        b: Array,
        *,
        left_side: bool,
        lower: bool,
        transpose_a: bool,
        conjugate_a: bool,
        unit_diagonal: bool,
    ) -> Array:
        if conjugate_a and a.dtype.kind == "c":
            a = a.conj()
        # x op(a) = b is op(a)^T x^T = b^T
        if transpose_a == left_side:
            a, lower = _transposed(a), not lower
        with np.errstate(all="ignore"):
            if left_side:
                return _solve_triangular(xp, a, b, lower, unit_diagonal)
            return _transposed(_solve_triangular(xp, a, _transposed(b), lower, unit_diagonal))

    def lu(a: Array) -> tuple[Array, Array, Array]:
        lead, (m, n) = a.shape[:-2], a.shape[-2:]
        with np.errstate(all="ignore"):
            count = int(np.prod(lead, dtype=np.int64))
            out, pivots, permutation = _lu_stack(xp, xp.reshape(a, (count, m, n)))
        return (
            out.reshape(a.shape),
            pivots.reshape((*lead, min(m, n))),
            permutation.reshape((*lead, m)),
        )

    def pivot_columns(a: Array) -> tuple[Array, Array]:
        lead, n = a.shape[:-2], a.shape[-1]
        with np.errstate(all="ignore"):
            count = int(np.prod(lead, dtype=np.int64))
            order, sign = _column_order(xp, xp.reshape(a, (count, n, n)))
        return order.reshape((*lead, n)), sign.reshape(lead)

    def lu_pivots_to_permutation(pivots: Array, *, permutation_size: int) -> Array:
        lead, k = pivots.shape[:-1], pivots.shape[-1]
        places = xp.arange(permutation_size, dtype=np.int32)
        permutation = xp.array(xp.broadcast_to(places, (*lead, permutation_size)))
        for j in range(k):
            p = pivots[..., j : j + 1]
            chosen = xp.take_along_axis(permutation, p, -1)
            xp.put_along_axis(permutation, p, permutation[..., j : j + 1], -1)
            permutation[..., j : j + 1] = chosen
        return permutation

    def solve(a: Array, b: Array) -> Array:
        with np.errstate(all="ignore"):
            try:
                return linalg.solve(a, b)
            except np.linalg.LinAlgError:  # some are singular: infinities, by elimination
                factors, _, permutation = lu(a)
                b = xp.take_along_axis(b, permutation[..., None].astype(np.int64), -2)
                b = _solve_triangular(xp, factors, b, True, True)
                return _solve_triangular(xp, factors, b, False, False)

    def det(a: Array) -> Array:
        with np.errstate(all="ignore"):
            return linalg.det(a)

    def slogdet(a: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            sign, logdet = linalg.slogdet(a)
        return sign, logdet

    cholesky_or_nan = _lapack(xp, linalg.cholesky)

    def cholesky(a: Array) -> Array:
        (out,) = cholesky_or_nan(a)
        return xp.tril(out)

    def qr(a: Array, *, full_matrices: bool) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            q, r = linalg.qr(a, mode="complete" if full_matrices else "reduced")
        return q, r

    def eigh(a: Array, *, lower: bool) -> tuple[Array, Array]:
        w, v = _lapack(xp, lambda x: tuple(linalg.eigh(x, "L" if lower else "U")))(a)
        return v, w

    def svd(a: Array, *, full_matrices: bool, compute_uv: bool) -> tuple[Array, ...]:
        if not compute_uv:
            return _lapack(xp, lambda x: linalg.svd(_finite(xp, x), compute_uv=False))(a)
        u, s, vh = _lapack(xp, lambda x: tuple(linalg.svd(_finite(xp, x), full_matrices)))(a)
        return s, u, vh

    def eig(a: Array, *, compute_vectors: bool) -> tuple[Array, ...]:
        dtype = np.result_type(a.dtype, np.complex64)  # NumPy's may be real
        function = linalg.eig if compute_vectors else linalg.eigvals
        outs = _lapack(xp, lambda x: tuple(function(x)) if compute_vectors else function(x))(a)
        return tuple([x.astype(dtype, copy=False) for x in outs])

    return {
        "triangular_solve": triangular_solve,
        "lu": lu,
        "pivot_columns": pivot_columns,
        "lu_pivots_to_permutation": lu_pivots_to_permutation,
        "solve": solve,
        "det": det,
        "slogdet": slogdet,
        "cholesky": cholesky,
        "qr": qr,
        "eigh": eigh,
        "svd": svd,
        "eig": eig,
    }
