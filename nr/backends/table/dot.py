"""Matrix products: every ``dot_general`` becomes one ``matmul`` over views where it can."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._structure import Array, is_half

DimensionNumbers = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]

_BLAS_CHARS = "fdFD"  # float32, float64, complex64, complex128; hashing a dtype costs more


def rows(xp: Any) -> dict[str, Callable[..., Array]]:
    """The matrix-product row of the kernel table.

    Args:
        xp: the array module, ``numpy`` or ``cupy``.

    Returns:
        A dict with the one entry ``dot_general``.

    Example:
        >>> a, b = np.ones((2, 3)), np.ones((3, 4))
        >>> rows(np)["dot_general"](a, b, dimension_numbers=(((1,), (0,)), ((), ()))).shape
        (2, 4)
    """

    def dot_general(
        a: Array,
        b: Array,
        *,
        dimension_numbers: DimensionNumbers,
        preferred_element_type: Any = None,
        precision: Any = None,
        **_: Any,
    ) -> Array:
        del precision  # every CPU product is already at full precision
        out_dtype = a.dtype if preferred_element_type is None else np.dtype(preferred_element_type)
        if a.dtype != out_dtype or out_dtype.char not in _BLAS_CHARS:
            work = working_dtype(a.dtype, out_dtype)
            a, b = a.astype(work), b.astype(work)
            return _product(xp, a, b, dimension_numbers).astype(out_dtype)
        return _product(xp, a, b, dimension_numbers)

    return {"dot_general": dot_general}


def working_dtype(in_dtype: Any, out_dtype: Any) -> np.dtype:
    """The dtype in which a sum of products is taken, to be cast to the result's dtype.

    Args:
        in_dtype: the operands' dtype.
        out_dtype: the result's dtype.

    Returns:
        float32 for 16-bit floats; the wider of the two dtypes otherwise.

    Example:
        >>> working_dtype(np.dtype(np.int8), np.dtype(np.int32))
        dtype('int32')
    """
    float32 = np.dtype(np.float32)
    return np.promote_types(
        float32 if is_half(in_dtype) else in_dtype,
        float32 if is_half(out_dtype) else out_dtype,
    )


def matmul(xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
    """``xp.matmul`` without its slow paths.

    NumPy takes every product of bools or integers in a plain triple loop. Those of 8 and 16 bits
    go through float64, where each sum is exact, and are cast back, which wraps as integer
    arithmetic does.

    Args:
        xp: the array module.
        a: shape [..., m, k] or [k].
        b: shape [..., k, n] or [k], of the same dtype.
        out: where to put the result.

    Returns:
        The product, in the operands' dtype.

    Example:
        >>> matmul(np, np.int8([[100, 100]]), np.int8([[1], [1]])).tolist()
        [[-56]]
    """
    dtype = a.dtype
    if dtype.char in _BLAS_CHARS:
        return xp.matmul(a, b, out)
    if dtype == np.bool_:  # a sum of non-negative terms is above zero as soon as one of them is
        result = xp.matmul(a.astype(np.float32), b.astype(np.float32)) > 0
    elif dtype.itemsize <= 2:
        result = xp.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64)
        result = result.astype(dtype)
    else:
        return xp.matmul(a, b, out)
    if out is None:
        return result
    out[...] = result
    return out


def _product(xp: Any, a: Array, b: Array, dimension_numbers: DimensionNumbers) -> Array:
    (lhs_contract, rhs_contract), (lhs_batch, _) = dimension_numbers
    a_rank, b_rank = a.ndim, b.ndim
    if a_rank <= 2 and b_rank <= 2 and not lhs_batch and len(lhs_contract) == 1:
        if a_rank == 2 and lhs_contract[0] == 0:
            a = a.T
        if b_rank == 2 and rhs_contract[0] == 1:
            b = b.T
        return matmul(xp, a, b)
    return _general_product(xp, a, b, dimension_numbers)


def _general_product(xp: Any, a: Array, b: Array, dimension_numbers: DimensionNumbers) -> Array:
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = dimension_numbers
    lhs_batch, rhs_batch = tuple(lhs_batch), tuple(rhs_batch)
    # Ascending order on the left leaves its reshape a view in the common layouts.
    pairs = sorted(zip(lhs_contract, rhs_contract, strict=True))
    lhs_contract = tuple(left for left, _ in pairs)
    rhs_contract = tuple(right for _, right in pairs)
    lhs_free = tuple(d for d in range(a.ndim) if d not in lhs_contract and d not in lhs_batch)
    rhs_free = tuple(d for d in range(b.ndim) if d not in rhs_contract and d not in rhs_batch)
    a = a.transpose(lhs_batch + lhs_free + lhs_contract)
    b = b.transpose(rhs_batch + rhs_contract + rhs_free)
    batch_rank = len(lhs_batch)
    batch, a_free = a.shape[:batch_rank], a.shape[batch_rank : batch_rank + len(lhs_free)]
    contract, b_free = a.shape[batch_rank + len(lhs_free) :], b.shape[batch_rank + len(pairs) :]
    if not contract:  # an outer product
        a = a.reshape(batch + a_free + (1,) * len(b_free))
        b = b.reshape(batch + (1,) * len(a_free) + b_free)
        return xp.multiply(a, b)
    m, k, n = math.prod(a_free), math.prod(contract), math.prod(b_free)
    result = matmul(xp, a.reshape((*batch, m, k)), b.reshape((*batch, k, n)))
    return result.reshape(batch + a_free + b_free)
