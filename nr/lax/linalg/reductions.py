"""Reductions of square matrices by unitary similarity: Hessenberg, tridiagonal and Schur form.

They have no derivatives, as in JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.tracing import Primitive
from nr.lax.linalg.matrices import check_matrices, matrix_batch, matrix_operand


# ---------------------------------------------------------------- hessenberg
def _hessenberg_aval(a: ShapedArray) -> list[ShapedArray]:
    check_matrices("hessenberg", a, square=True)
    *lead, n = a.shape[:-1]
    return [a.strip_weak_type(), ShapedArray((*lead, max(n - 1, 0)), a.dtype)]


hessenberg_p = Primitive(
    "hessenberg",
    abstract_eval=_hessenberg_aval,
    batch=matrix_batch("hessenberg"),
    multiple_results=True,
)


def hessenberg(a: Any) -> tuple[Array, Array]:
    """The upper Hessenberg form H of matrices, with ``a == Q @ H @ Q^H``.

    Args:
        a: matrices ``[..., n, n]``.

    Returns:
        H on and above the first subdiagonal, and below it the Householder vectors that make up Q,
        in one array ``[..., n, n]``; and their factors ``[..., n - 1]``. With these,
        `householder_product` of the rows and columns from the second on gives those of Q.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if a is not square.

    Example:
        >>> import nr
        >>> packed, taus = nr.lax.linalg.hessenberg(nr.numpy.ones((3, 3)))
        >>> nr.numpy.triu(packed, -1).round(3) + 0.0
        Array([[ 1.   , -1.414,  0.   ],
               [-1.414,  2.   ,  0.   ],
               [ 0.   ,  0.   ,  0.   ]], dtype=float32)
    """
    packed, taus = hessenberg_p.bind(matrix_operand("hessenberg", a, square=True))
    return packed, taus


# ---------------------------------------------------------------- tridiagonal
def _tridiagonal_aval(a: ShapedArray, *, lower: bool) -> list[ShapedArray]:
    check_matrices("tridiagonal", a, square=True)
    *lead, n = a.shape[:-1]
    if not n:
        raise ValueError(f"tridiagonal: matrices must have rows; got {a}.")
    real = dtypes.to_real(a.dtype)
    return [
        a.strip_weak_type(),
        ShapedArray((*lead, n), real),
        ShapedArray((*lead, n - 1), real),
        ShapedArray((*lead, n - 1), a.dtype),
    ]


tridiagonal_p = Primitive(
    "tridiagonal",
    abstract_eval=_tridiagonal_aval,
    batch=matrix_batch("tridiagonal"),
    multiple_results=True,
)


def tridiagonal(a: Any, *, lower: bool = True) -> tuple[Array, Array, Array, Array]:
    """The tridiagonal form T of Hermitian matrices, with ``a == Q @ T @ Q^H``.

    Args:
        a: Hermitian matrices ``[..., n, n]``, of which one triangle is read.
        lower: whether that is the lower triangle.

    Returns:
        ``(packed, d, e, taus)``: T in its triangle of a, with the Householder vectors that make up
        Q beyond it; T's diagonal ``[..., n]`` and what is beside it, ``[..., n - 1]``, both real;
        and the vectors' factors ``[..., n - 1]``.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if a is not square, or has no rows.

    Example:
        >>> import nr
        >>> _, d, e, _ = nr.lax.linalg.tridiagonal(nr.numpy.array([[2., 1.], [1., 3.]]))
        >>> d, e
        (Array([2., 3.], dtype=float32), Array([1.], dtype=float32))
    """
    a = matrix_operand("tridiagonal", a, square=True)
    packed, d, e, taus = tridiagonal_p.bind(a, lower=bool(lower))
    return packed, d, e, taus


# ---------------------------------------------------------------- schur
def _schur_aval(a: ShapedArray, *, compute_vectors: bool) -> list[ShapedArray]:
    check_matrices("schur", a, square=True)
    return [a.strip_weak_type()] * (1 + compute_vectors)


schur_p = Primitive(
    "schur", abstract_eval=_schur_aval, batch=matrix_batch("schur"), multiple_results=True
)


def schur(
    x: Any,
    *,
    compute_schur_vectors: bool = True,
    sort_eig_vals: bool = False,
    select_callable: Callable | None = None,
) -> list[Array]:
    """The Schur form T of matrices, with ``x == Q @ T @ Q^H``.

    Of complex matrices T is upper triangular; of real ones there are blocks of 2 by 2 on its
    diagonal for pairs of complex eigenvalues. NaNs where x has some.

    Args:
        x: matrices ``[..., n, n]``.
        compute_schur_vectors: whether Q is wanted.
        sort_eig_vals, select_callable: accepted as in JAX, and not used.

    Returns:
        T, and Q if it is wanted.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: if x is not square.

    Example:
        >>> import nr
        >>> t, q = nr.lax.linalg.schur(nr.numpy.array([[1., 2.], [0., 3.]]))
        >>> t
        Array([[1., 2.],
               [0., 3.]], dtype=float32)
    """
    x = matrix_operand("schur", x, "x", square=True)
    return schur_p.bind(x, compute_vectors=bool(compute_schur_vectors))
