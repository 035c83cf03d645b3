"""Products of matrices with their own transposes."""

from __future__ import annotations

from typing import Any

from nr.core.array import Array
from nr.lax.elementwise import add, mul
from nr.lax.linalg.matrices import (
    check_matrices,
    keep,
    matrix_operand,
    matrix_transposed,
    product,
    without,
)
from nr.lax.rules import const_like, operand


def symmetric_product(
    a_matrix: Any,
    c_matrix: Any,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    symmetrize_output: bool = False,
) -> Array:
    """``alpha a a^T + beta c`` (without conjugation).

    Args:
        a_matrix: ``[..., m, n]``.
        c_matrix: symmetric matrices ``[..., m, m]``.
        alpha, beta: numbers.
        symmetrize_output: write the lower triangle of the result over the upper one, so that c need
            have a lower triangle only.

    Raises:
        TypeError: if dtypes differ, or are other than f32, f64, c64 and c128.
        ValueError: if shapes don't fit.

    Example:
        >>> import nr
        >>> a = nr.numpy.array([[1.], [2.]])
        >>> nr.lax.linalg.symmetric_product(a, nr.numpy.eye(2), beta=1.0)
        Array([[2., 2.],
               [2., 5.]], dtype=float32)
    """
    op = "symmetric_product"
    a = matrix_operand(op, a_matrix, "a_matrix")
    c = operand(op, c_matrix)
    check_matrices(op, c.aval, "c_matrix", square=True)
    if c.dtype != a.dtype:
        raise TypeError(
            f"{op}: operands must have the same dtype; got {a.aval} and {c.aval}. "
            f"Convert one with .astype(...)."
        )
    if c.shape[:-1] != a.shape[:-1]:
        raise ValueError(
            f'{op}: shapes [..., m, n] for "a_matrix" and [..., m, m] for "c_matrix" were '
            f"expected, with the same leading dimensions; got {a.aval} and {c.aval}."
        )
    out = mul(product(a, matrix_transposed(a)), const_like(a, alpha))
    if beta != 0:
        out = add(out, mul(c, const_like(c, beta)))
    if not symmetrize_output:
        return out
    return add(without(out, "upper"), matrix_transposed(keep(out, "lower")))
