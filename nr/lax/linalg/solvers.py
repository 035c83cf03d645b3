"""Linear systems, general and triangular, and their derivatives.

Derivatives are those of M. Giles (2008), "An extended collection of matrix derivative results for
forward and reverse mode automatic differentiation"; none forms an inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.tracing import Primitive, typeof
from nr.lax.convert import convert_element_type
from nr.lax.dot import product_operands
from nr.lax.elementwise import neg
from nr.lax.linalg.matrices import (
    HALF_DTYPES,
    check_matrices,
    conjugated,
    keep,
    matrix_batch,
    matrix_transposed,
    product,
    without,
)
from nr.lax.rules import add_tangents, move_dim, zero_tangent
from nr.lax.shape import reshape


def _check_system(op: str, a: ShapedArray, b: ShapedArray, left_side: bool = True) -> None:
    check_matrices(op, a, "a", square=True)
    check_matrices(op, b, "b")
    if a.dtype != b.dtype:
        raise TypeError(
            f'{op}: operands must have the same dtype; got {a} for "a" and {b} for "b". '
            f"Convert one with .astype(...), or use nr.numpy, which promotes."
        )
    if a.shape[:-2] != b.shape[:-2] or b.shape[-2 if left_side else -1] != a.shape[-1]:
        wanted = "[..., n, k]" if left_side else "[..., k, n]"
        raise ValueError(
            f'{op}: shapes [..., n, n] for "a" and {wanted} for "b" were expected, with the same '
            f"leading dimensions; got {a} and {b}."
        )


def _system_batch(axis: Any, args: Any, dims: Any, primitive: Any, left: bool, params: Any) -> Any:
    """Batching of op(a) x = b; where a is the same in all lanes, they are more columns of b."""
    (a, b), (a_dim, b_dim) = args, dims
    if a_dim is not None or b_dim is None:
        return matrix_batch(primitive.name)(axis, args, dims, **params)
    rank = typeof(b).ndim - 1
    into = rank if left else rank - 1  # the columns, or the rows of x op(a) = b
    b = move_dim(b, b_dim, into)
    shape = typeof(b).shape
    if left:
        folded = (*shape[:-2], shape[-2] * shape[-1])
    else:
        folded = (*shape[:-3], shape[-3] * shape[-2], shape[-1])
    x = primitive.bind(a, reshape(b, folded), **params)
    return reshape(x, shape), into


# ---------------------------------------------------------------- triangular_solve
def _triangular_aval(
    a: ShapedArray, b: ShapedArray, *, left_side: bool, **params: bool
) -> ShapedArray:
    _check_system("triangular_solve", a, b, left_side)
    return b.strip_weak_type()


def _triangular_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: bool) -> Any:
    (a, b), (a_dot, b_dot) = primals, tangents
    x = triangular_solve_p.bind(a, b, **params)
    right = b_dot
    if type(a_dot) is not Zero:  # op(a) x' = b' - op(a') x
        lower = params["lower"]
        if params["unit_diagonal"]:
            a_dot = keep(a_dot, "lower" if lower else "upper")
        else:
            a_dot = without(a_dot, "upper" if lower else "lower")
        a_dot = conjugated(a_dot) if params["conjugate_a"] else a_dot
        a_dot = matrix_transposed(a_dot) if params["transpose_a"] else a_dot
        term = product(a_dot, x) if params["left_side"] else product(x, a_dot)
        right = add_tangents(right, neg(term))
    if type(right) is Zero:
        return x, zero_tangent(x)
    return x, triangular_solve_p.bind(a, right, **params)


def _triangular_transpose(ct: Any, a: Any, b: Any, *, transpose_a: bool, **params: bool) -> Any:
    assert type(a) is not UndefinedPrimal, "nr bug: triangular_solve is not linear in a"
    return [None, triangular_solve_p.bind(a, ct, transpose_a=not transpose_a, **params)]


triangular_solve_p: Primitive = Primitive(
    "triangular_solve",
    abstract_eval=_triangular_aval,
    jvp=_triangular_jvp,
    transpose=_triangular_transpose,
    batch=lambda axis, args, dims, **params: _system_batch(
        axis, args, dims, triangular_solve_p, params["left_side"], params
    ),
)


def triangular_solve(
    a: Any,
    b: Any,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Array:
    """Solve ``op(a) x = b``, or ``x op(a) = b``, with triangular matrices by substitution.

    Args:
        a: ``[..., n, n]``, of which one triangle is read.
        b: ``[..., n, k]``, or ``[..., k, n]`` on the other side; or vectors ``[..., n]``.
        left_side: whether op(a) stands left of x.
        lower: whether the lower triangle of a is read, not the upper one.
        transpose_a: whether op transposes a.
        conjugate_a: whether op conjugates a.
        unit_diagonal: whether ones are taken to be on the diagonal, which is then not read.

    Returns:
        x in the shape of b; infinities and NaNs where a is singular. Half floats are solved for
        in f32, and rounded once.

    Raises:
        TypeError: if dtypes differ, or are other than f16, bf16, f32, f64, c64 and c128.
        ValueError: if shapes don't fit.

    Example:
        >>> import nr
        >>> a = nr.numpy.array([[2., 0.], [1., 1.]])
        >>> nr.lax.linalg.triangular_solve(a, nr.numpy.array([2., 3.]), left_side=True, lower=True)
        Array([1., 2.], dtype=float32)
    """
    a, b = product_operands("triangular_solve", a, b)
    dtype = b.dtype
    if a.dtype == dtype and dtype in HALF_DTYPES:
        a, b = convert_element_type(a, np.float32), convert_element_type(b, np.float32)
    vector = b.ndim == a.ndim - 1
    if vector:
        b = reshape(b, (*b.shape, 1) if left_side else (*b.shape[:-1], 1, *b.shape[-1:]))
    _check_system("triangular_solve", typeof(a), typeof(b), left_side)
    x = triangular_solve_p.bind(
        a,
        b,
        left_side=bool(left_side),
        lower=bool(lower),
        transpose_a=bool(transpose_a),
        conjugate_a=bool(conjugate_a),
        unit_diagonal=bool(unit_diagonal),
    )
    x = convert_element_type(x, dtype)
    if not vector:
        return x
    return reshape(x, x.shape[:-1] if left_side else (*x.shape[:-2], x.shape[-1]))


# ---------------------------------------------------------------- solve
def _solve_aval(a: ShapedArray, b: ShapedArray) -> ShapedArray:
    _check_system("solve", a, b)
    return b.strip_weak_type()


def _solve_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    (a, b), (a_dot, b_dot) = primals, tangents
    x = solve_p.bind(a, b)
    right = b_dot
    if type(a_dot) is not Zero:  # a x' = b' - a' x
        right = add_tangents(right, neg(product(a_dot, x)))
    if type(right) is Zero:
        return x, zero_tangent(x)
    return x, solve_p.bind(a, right)


def _solve_transpose(ct: Any, a: Any, b: Any) -> list[Any]:
    assert type(a) is not UndefinedPrimal, "nr bug: solve is not linear in a"
    return [None, solve_p.bind(matrix_transposed(a), ct)]


solve_p: Primitive = Primitive(
    "solve",
    abstract_eval=_solve_aval,
    jvp=_solve_jvp,
    transpose=_solve_transpose,
    batch=lambda axis, args, dims: _system_batch(axis, args, dims, solve_p, True, {}),
)


def solve(a: Any, b: Any) -> Array:
    """Solve ``a x = b`` by LU decomposition, for a ``[..., n, n]`` and b ``[..., n, k]``.

    Returns:
        x in the shape of b; infinities and NaNs where a is singular.

    Raises:
        TypeError: if dtypes differ, or are other than f32, f64, c64 and c128.
        ValueError: if shapes don't fit.
    """
    a, b = product_operands("solve", a, b)
    _check_system("solve", typeof(a), typeof(b))
    return solve_p.bind(a, b)
