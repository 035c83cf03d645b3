"""The Householder reflectors of a QR decomposition, column by column."""

from __future__ import annotations

from typing import Any

from nr.core.array import Array
from nr.lax.dynamic_slice import dynamic_index_in_dim
from nr.numpy.creation import arange, zeros
from nr.numpy.number_parts import conj, imag, real
from nr.numpy.products import matmul, outer
from nr.numpy.reductions import sum as sum_of
from nr.numpy.selection import where
from nr.numpy.ufuncs import sqrt, square
from nr.transforms.control_flow import scan


def reflectors(a: Array) -> tuple[Array, Array]:
    """R and the reflectors of ``[m, n]``, as LAPACK's geqrf keeps them.

    Column k's reflector is ``1 - tau v v^H``, where v is 0 above the diagonal and 1 on it. It takes
    the column to a multiple of a unit vector whose sign is not that of the number it takes the
    place of, so that nothing cancels. Source: G. Golub, C. Van Loan, "Matrix Computations", 5.1.

    Returns:
        R, with the vectors below the diagonal, and the factors tau ``[min(m, n)]``.
    """
    m, n = a.shape
    if not min(m, n):
        return a, zeros(0, a.dtype)
    rows, columns = arange(m), arange(n)

    def reflect(x: Array, k: Any) -> tuple[Array, Array]:
        column = dynamic_index_in_dim(x, k, 1, keepdims=False)
        pivot = dynamic_index_in_dim(column, k, keepdims=False)
        tail = where(rows > k, column, 0)
        rest = sum_of(square(real(tail)) + square(imag(tail)))
        length = sqrt(square(real(pivot)) + square(imag(pivot)) + rest)
        # A column that is a real multiple of the unit vector stays as it is.
        done = (rest == 0) & (imag(pivot) == 0)
        turned = where(done, pivot, where(real(pivot) >= 0, -length, length).astype(x.dtype))
        tau = where(done, 0, (turned - pivot) / where(done, 1, turned))
        vector = where(rows == k, 1, tail / where(done, 1, pivot - turned))
        others = x - conj(tau) * outer(vector, matmul(conj(vector), x))
        kept = where(rows == k, turned, where(rows > k, vector, column))
        return where(columns > k, others, where(columns == k, kept[:, None], x)), tau

    return scan(reflect, a, arange(min(m, n)))
