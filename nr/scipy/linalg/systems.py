"""Linear systems: triangular ones, and any by LU or Cholesky factors, which are kept or not."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.linalg.lu import lower_unit, permute_rows
from nr.lax.linalg.matrices import adjoint, check_matrices, part, without
from nr.numpy.promotion import promote_inexact
from nr.scipy.linalg.arguments import matrices

__all__ = [
    "cho_factor",
    "cho_solve",
    "cholesky",
    "det",
    "inv",
    "lu",
    "lu_factor",
    "lu_solve",
    "solve",
    "solve_triangular",
]


def _system(op: str, a: Any, b: Any, *, half: bool = False) -> tuple[Any, Any, bool]:
    """a, b as matrices in stacks of one shape, and whether b was a vector."""
    a, b = promote_inexact(op, a, b)
    check_matrices(op, a.aval, square=True, half=half)
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
    a, b, vector = _system("solve_triangular", a, b, half=True)
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
    a = matrices("cholesky", a, square=True)
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
    c, b, vector = _system("cho_solve", c, b, half=True)
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
    a = matrices("lu", a)
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
    packed, pivots, _ = lax.linalg.lu(matrices("lu_factor", a))
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
