"""Linear algebra with SciPy's names and defaults, over stacks of matrices.

Options for reuse of memory and for checks (`overwrite_a`, `check_finite` and the like) are
accepted, as in JAX, and have no effect.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import Tracer
from nr.lax.linalg.lu import lower_unit, permute_rows
from nr.lax.linalg.matrices import (
    adjoint,
    check_matrices,
    identity_like,
    part,
    without,
)
from nr.numpy.promotion import promote, promote_inexact

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "det",
    "eigh",
    "expm",
    "inv",
    "lu",
    "lu_factor",
    "lu_solve",
    "qr",
    "solve",
    "solve_triangular",
    "svd",
    "toeplitz",
]


def _matrices(op: str, a: Any, *, square: bool = False) -> Any:
    (a,) = promote_inexact(op, a)
    check_matrices(op, a.aval, square=square)
    return a


def _system(op: str, a: Any, b: Any) -> tuple[Any, Any, bool]:
    """a, b as matrices in stacks of one shape, and whether b was a vector."""
    a, b = promote_inexact(op, a, b)
    check_matrices(op, a.aval, square=True)
    n = a.shape[-1]
    vector = b.ndim == 1
    if b.ndim == 0 or b.shape[0 if vector else -2] != n:
        raise ValueError(
            f'{op}: the shape of "b" must be [{n}] or [..., {n}, k]; got {b.aval} for "a" {a.aval}.'
        )
    b = b[:, None] if vector else b
    lead = lax.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = jnp.broadcast_to(a, (*lead, n, n)), jnp.broadcast_to(b, (*lead, *b.shape[-2:]))
    return a, b, vector


# ---------------------------------------------------------------- systems
def solve_triangular(
    a: Any,
    b: Any,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    debug: Any = None,
    check_finite: bool = True,
) -> Array:
    """The solution x of ``a @ x == b`` with triangular a.

    Args:
        a: ``[..., n, n]``, of which one triangle is read.
        b: ``[n]`` or ``[..., n, k]``.
        trans: 0 or "N" for a, 1 or "T" for its transpose, 2 or "C" for its adjoint.
        lower: which triangle.
        unit_diagonal: whether ones are taken to be on the diagonal.

    Example:
        >>> import nr.numpy as jnp
        >>> solve_triangular(jnp.array([[2., 1.], [0., 1.]]), jnp.array([4., 2.]))
        Array([1., 2.], dtype=float32)
    """
    kinds = {0: 0, "N": 0, 1: 1, "T": 1, 2: 2, "C": 2}
    if trans not in kinds:
        raise ValueError(f'solve_triangular: trans must be 0, 1, 2, "N", "T", "C"; got {trans!r}.')
    a, b, vector = _system("solve_triangular", a, b)
    x = lax.linalg.triangular_solve(
        a,
        b,
        left_side=True,
        lower=lower,
        transpose_a=kinds[trans] > 0,
        conjugate_a=kinds[trans] == 2,
        unit_diagonal=unit_diagonal,
    )
    return x[..., 0] if vector else x


def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    debug: bool = False,
    check_finite: bool = True,
    assume_a: str = "gen",
) -> Array:
    """The solution x of ``a @ x == b``.

    Args:
        a: ``[..., n, n]``.
        b: ``[n]`` or ``[..., n, k]``.
        lower: of positive definite a, which triangle is read.
        assume_a: "gen", "sym", "her", or "pos" for positive definite a, solved by `cholesky`.
    """
    if assume_a not in ("gen", "sym", "her", "pos"):
        raise ValueError(f'solve: assume_a must be "gen", "sym", "her" or "pos"; got {assume_a!r}.')
    if assume_a == "pos":
        return cho_solve(cho_factor(a, lower=lower), b)
    return jnp.linalg.solve(a, b)


def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The inverse; infinities and NaNs where there is none."""
    return jnp.linalg.inv(a)


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The determinant."""
    return jnp.linalg.det(a)


# ---------------------------------------------------------------- cholesky
def cholesky(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Array:
    """U with ``U^H @ U == a``, or L with ``L @ L^H == a`` if lower; one triangle of a is read."""
    a = _matrices("cholesky", a, square=True)
    factor = lax.linalg.cholesky(a if lower else adjoint(a), symmetrize_input=False)
    return factor if lower else adjoint(factor)


def cho_factor(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Array, bool]:
    """The factor of `cholesky` and which one it is, for `cho_solve`."""
    return cholesky(a, lower), lower


def cho_solve(
    c_and_lower: tuple[Any, bool], b: Any, overwrite_b: bool = False, check_finite: bool = True
) -> Array:
    """The solution x of ``a @ x == b`` from `cho_factor(a)`."""
    c, lower = c_and_lower
    c, b, vector = _system("cho_solve", c, b)
    for transposed in (not lower, lower):
        b = lax.linalg.triangular_solve(
            c, b, left_side=True, lower=lower, transpose_a=transposed, conjugate_a=transposed
        )
    return b[..., 0] if vector else b


# ---------------------------------------------------------------- lu
def lu(
    a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Array, ...]:
    """P, L and U with ``P @ L @ U == a``; or ``P @ L`` and U.

    Args:
        a: ``[..., m, n]``.
        permute_l: whether to multiply P and L.
    """
    a = _matrices("lu", a)
    m, n = a.shape[-2:]
    k = min(m, n)
    packed, _, permutation = lax.linalg.lu(a)
    low, up = lower_unit(part(packed, m, k)), without(part(packed, k, n), "lower")
    if permute_l:
        return permute_rows(low, jnp.argsort(permutation, axis=-1)), up
    rows = jnp.arange(m, dtype="int32")[:, None]
    return (rows == permutation[..., None, :]).astype(dtypes.to_real(a.dtype)), low, up


def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Array, Array]:
    """L and U in one array, and the pivots, for `lu_solve`."""
    packed, pivots, _ = lax.linalg.lu(_matrices("lu_factor", a))
    return packed, pivots


def lu_solve(
    lu_and_piv: tuple[Any, Any],
    b: Any,
    trans: int = 0,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """The solution x of ``a @ x == b`` from `lu_factor(a)`.

    Args:
        lu_and_piv: what `lu_factor` gave.
        b: ``[n]`` or ``[..., n, k]``.
        trans: 0 for a, 1 for its transpose, 2 for its adjoint.
    """
    if trans not in (0, 1, 2):
        raise ValueError(f"lu_solve: trans must be 0, 1 or 2; got {trans!r}.")
    packed, pivots = lu_and_piv
    packed, b, vector = _system("lu_solve", packed, b)
    permutation = lax.linalg.lu_pivots_to_permutation(pivots, packed.shape[-1])
    permutation = jnp.broadcast_to(permutation, b.shape[:-1])
    low = {"left_side": True, "lower": True, "unit_diagonal": True}
    up = {"left_side": True, "lower": False, "unit_diagonal": False}
    if trans == 0:
        b = permute_rows(b, permutation)
        for factor in (low, up):
            b = lax.linalg.triangular_solve(packed, b, **factor)
    else:
        for factor in (up, low):
            b = lax.linalg.triangular_solve(
                packed, b, transpose_a=True, conjugate_a=trans == 2, **factor
            )
        b = permute_rows(b, jnp.argsort(permutation, axis=-1))
    return b[..., 0] if vector else b


# ---------------------------------------------------------------- other factorizations
def qr(
    a: Any,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> tuple[Array, ...]:
    """Q with orthonormal columns and upper triangular R, with ``Q @ R == a``.

    Args:
        a: ``[..., m, n]``.
        mode: "full" (Q is square), "economic" (Q is ``[..., m, min(m, n)]``), or "r" (R only).
        pivoting: must be False.
    """
    if pivoting:
        raise NotImplementedError("qr: pivoting must be False; columns are not exchanged.")
    if mode not in ("full", "economic", "r"):
        raise ValueError(f'qr: mode must be "full", "economic" or "r"; got {mode!r}.')
    q, r = lax.linalg.qr(_matrices("qr", a), full_matrices=mode != "economic")
    return (r,) if mode == "r" else (q, r)


def eigh(
    a: Any,
    b: None = None,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    turbo: bool = True,
    eigvals: None = None,
    type: int = 1,  # noqa: A002
    check_finite: bool = True,
) -> Any:
    """Eigenvalues, ascending, and eigenvectors of Hermitian matrices; one triangle is read.

    Args:
        a: ``[..., n, n]``.
        b: must be None.
        lower: which triangle.
        eigvals_only: whether to give no eigenvectors.
        eigvals: must be None.
        type: must be 1.
    """
    if b is not None or eigvals is not None or type != 1:
        raise NotImplementedError("eigh: only b=None, eigvals=None and type=1 are supported.")
    a = _matrices("eigh", a, square=True)
    v, w = lax.linalg.eigh(a, lower=lower, symmetrize_input=False)
    return w if eigvals_only else (w, v)


def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """U, the singular values and Vh with ``U @ diag(s) @ Vh == a``; or the values only."""
    return lax.linalg.svd(_matrices("svd", a), full_matrices=full_matrices, compute_uv=compute_uv)


# ---------------------------------------------------------------- exponential
# N. Higham (2005), "The scaling and squaring method for the matrix exponential revisited": by the
# size of a real number, a degree and the 1-norm up to which the approximant is exact but rounding.
_PADE = {4: (7, 3.925724783138660), 8: (13, 5.371920351148152)}


def expm(A: Any, *, upper_triangular: bool = False, max_squarings: int = 16) -> Array:  # noqa: N803
    """The matrix exponential, by scaling and squaring a Padé approximant.

    Args:
        A: ``[..., n, n]``.
        upper_triangular: accepted for JAX's sake.
        max_squarings: matrices so large that they would need more give NaNs.

    Example:
        >>> import nr.numpy as jnp
        >>> expm(jnp.zeros((2, 2)))
        Array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    a = _matrices("expm", A, square=True)
    degree, bound = _PADE[dtypes.to_real(a.dtype).itemsize]
    norms = lax.stop_gradient(jnp.linalg.norm(a, 1, (-2, -1)))
    large = norms > bound
    squarings = jnp.where(large, jnp.ceil(jnp.log2(jnp.where(large, norms / bound, 1))), 0)
    most = jnp.max(squarings, initial=0)
    rounds = max_squarings if isinstance(most, Tracer) else int(min(float(most), max_squarings))
    squarings = squarings[..., None, None]
    result = _pade(a / jnp.exp2(squarings).astype(a.dtype), degree)
    for i in range(rounds):
        # zeros where there are no more squarings: those must not overflow, nor their derivatives
        factor = jnp.where(i < squarings, result, 0)
        result = jnp.where(i < squarings, factor @ factor, result)
    return jnp.where(squarings > max_squarings, np.nan, result)


def _pade(a: Any, degree: int) -> Any:
    """The Padé approximant [degree/degree] of exp(a)."""
    m = degree
    weights = [
        math.factorial(2 * m - j) * math.factorial(m)
        / (math.factorial(2 * m) * math.factorial(m - j) * math.factorial(j))
        for j in range(m + 1)
    ]  # fmt: skip
    power = identity_like(a)
    squared = a @ a
    even, odd = weights[0] * power, weights[1] * power
    for j in range(2, m, 2):
        power = power @ squared
        even, odd = even + weights[j] * power, odd + weights[j + 1] * power
    odd = a @ odd
    return jnp.linalg.solve(even - odd, even + odd)


# ---------------------------------------------------------------- special matrices
def block_diag(*arrs: Any) -> Array:
    """A matrix with the given ones along its diagonal, and zeros elsewhere.

    Example:
        >>> import nr.numpy as jnp
        >>> block_diag(jnp.array([[1, 2]]), 3)
        Array([[1, 2, 0],
               [0, 0, 3]], dtype=int32)
    """
    if not arrs:
        raise ValueError("block_diag: at least one array was expected; got none.")
    blocks = promote("block_diag", *arrs)
    for x in blocks:
        if x.ndim > 2:
            raise ValueError(f"block_diag: arrays of rank 2 or less were expected; got {x.aval}.")
    blocks = [jnp.atleast_2d(x) for x in blocks]
    columns, left, rows = sum([x.shape[1] for x in blocks]), 0, []
    for x in blocks:
        right = columns - left - x.shape[1]
        rows.append(lax.pad(x, x.dtype.type(0), [(0, 0, 0), (left, right, 0)]))
        left += x.shape[1]
    return lax.concatenate(rows, 0)


def toeplitz(c: Any, r: Any = None) -> Array:
    """The matrix with constant diagonals that has the first column c and the first row r.

    Args:
        c: ``[..., m]``.
        r: ``[..., n]``, of which the first element is not read; by default the conjugate of c.

    Example:
        >>> import nr.numpy as jnp
        >>> toeplitz(jnp.array([1, 2, 3]), jnp.array([1, 5]))
        Array([[1, 5],
               [2, 1],
               [3, 2]], dtype=int32)
    """
    (c,) = promote("toeplitz", c)
    r = jnp.conj(c) if r is None else r
    c, r = [jnp.atleast_1d(x) for x in promote("toeplitz", c, r)]
    lead = lax.broadcast_shapes(c.shape[:-1], r.shape[:-1])
    m, n = c.shape[-1], r.shape[-1]
    c, r = jnp.broadcast_to(c, (*lead, m)), jnp.broadcast_to(r, (*lead, n))
    line = jnp.concatenate([jnp.flip(c, -1), r[..., 1:]], axis=-1)
    places = np.arange(m)[::-1, None] + np.arange(n)
    return jnp.take(line, places, axis=-1)
