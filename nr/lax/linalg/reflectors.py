"""Products of Householder reflectors, as LAPACK's decompositions give them.

A product of k reflectors ``I - tau v v^H`` is ``I - V T V^H``, where the inverse of T has 1 / tau
on its diagonal and the inner products of the vectors above it. Source: C. Puglisi (1992),
"Modification of the Householder method based on the compact WY representation".
"""

from __future__ import annotations

from typing import Any

from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.tracing import typeof
from nr.lax.elementwise import div, eq, sub
from nr.lax.linalg.lu import lower_unit
from nr.lax.linalg.matrices import (
    adjoint,
    along,
    check_matrices,
    identity_like,
    keep,
    matrix_mask,
    matrix_operand,
    part,
    product,
    scale_columns,
)
from nr.lax.linalg.solvers import triangular_solve
from nr.lax.rules import const_like, operand, zeros_of
from nr.lax.select import select
from nr.lax.shape import full_like


def _check_factors(op: str, a: ShapedArray, taus: ShapedArray) -> None:
    if a.dtype != taus.dtype:
        raise TypeError(
            f'{op}: operands must have the same dtype; got {a} for "a" and {taus} for "taus". '
            f"Convert one with .astype(...)."
        )
    most = min(a.shape[-2:])
    if taus.shape[:-1] != a.shape[:-2] or not taus.shape or taus.shape[-1] > most:
        raise ValueError(
            f'{op}: "taus" must be [..., k], with the leading dimensions of "a" and k at most '
            f"{most}; got {taus} for {a}."
        )


def _reflected(a: Any, taus: Any, x: Any, *, transpose: bool = False) -> Any:
    """Q x, or Q^H x, for the product Q of reflectors that lie in the columns of a."""
    m, k = typeof(a).shape[-2], typeof(taus).shape[-1]
    if k == 0:
        return x
    none = eq(taus, const_like(taus, 0))  # a reflector with tau = 0 is the identity
    vectors = lower_unit(part(a, m, k))
    vectors = select(along(none, typeof(vectors).shape, -1), zeros_of(typeof(vectors)), vectors)
    inner = product(adjoint(vectors), vectors)
    ones = full_like(taus, 1)
    scale = div(ones, select(none, ones, taus))
    diagonal = scale_columns(identity_like(inner), scale)
    inverse = select(matrix_mask(typeof(inner).shape, "diagonal"), diagonal, keep(inner, "upper"))
    turned = triangular_solve(
        inverse, product(adjoint(vectors), x), left_side=True,
        transpose_a=transpose, conjugate_a=transpose,
    )  # fmt: skip
    return sub(x, product(vectors, turned))


def householder_product(a: Any, taus: Any) -> Array:
    """The first columns of a product of Householder reflectors, as of Q in a QR decomposition.

    Args:
        a: ``[..., m, n]`` with m >= n; the reflectors' vectors are below the diagonal, and their
            ones on it are not read.
        taus: the reflectors' factors, ``[..., k]`` with k <= n.

    Returns:
        n orthonormal columns, in the shape of a.

    Raises:
        TypeError: if dtypes differ, or are other than f32, f64, c64 and c128.
        ValueError: if shapes don't fit.

    Example:
        >>> import nr
        >>> a, taus = nr.numpy.array([[0.], [1.]]), nr.numpy.array([1.])
        >>> nr.lax.linalg.householder_product(a, taus)
        Array([[ 0.],
               [-1.]], dtype=float32)
    """
    a, taus = matrix_operand("householder_product", a), operand("householder_product", taus)
    if a.shape[-2] < a.shape[-1]:
        raise ValueError(
            f'householder_product: "a" must not have more columns than rows; got {a.aval}.'
        )
    _check_factors("householder_product", a.aval, taus.aval)
    return _reflected(a, taus, identity_like(a))


def ormqr(a: Any, taus: Any, c: Any, *, left: bool = True, transpose: bool = False) -> Array:
    """Products with Q, the product of Householder reflectors, without computing Q.

    Args:
        a: the reflectors' vectors below the diagonal of ``[..., m, n]``, as `householder_product`
            takes them.
        taus: their factors ``[..., k]``.
        c: matrices ``[..., m, p]``, or ``[..., p, m]`` on the other side.
        left: whether Q stands left of c.
        transpose: whether to take Q^H in place of Q.

    Returns:
        Q c, Q^H c, c Q or c Q^H, in the shape of c.

    Raises:
        TypeError: if dtypes differ, or are other than f32, f64, c64 and c128.
        ValueError: if shapes don't fit.

    Example:
        >>> import nr
        >>> a, taus = nr.numpy.array([[0.], [1.]]), nr.numpy.array([1.])
        >>> nr.lax.linalg.ormqr(a, taus, nr.numpy.array([[1.], [2.]]))
        Array([[-2.],
               [-1.]], dtype=float32)
    """
    a, taus, c = matrix_operand("ormqr", a), operand("ormqr", taus), operand("ormqr", c)
    _check_factors("ormqr", a.aval, taus.aval)
    check_matrices("ormqr", c.aval, "c")
    if c.dtype != a.dtype or c.shape[:-2] != a.shape[:-2]:
        raise TypeError(
            f'ormqr: "c" must have the dtype and the leading dimensions of "a", {a.aval}; '
            f"got {c.aval}."
        )
    if c.shape[-2 if left else -1] != a.shape[-2]:
        wanted = "rows" if left else "columns"
        raise ValueError(
            f'ormqr: "c" must have as many {wanted} as "a" has rows; got {c.aval} for {a.aval}.'
        )
    if left:
        return _reflected(a, taus, c, transpose=bool(transpose))
    # c Q is the adjoint of Q^H c^H
    return adjoint(_reflected(a, taus, adjoint(c), transpose=not transpose))
