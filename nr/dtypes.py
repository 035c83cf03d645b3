"""Dtypes and promotion (the names of jax.dtypes)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core.config import config
from nr.core.dtypes import (
    bfloat16,
    canonicalize,
    extended,
    finfo,
    float0,
    iinfo,
    issubdtype,
    prng_key,
    promote_types,
    short_name,
)
from nr.core.errors import TypePromotionError
from nr.core.tracing import PYTHON_SCALARS, typeof
from nr.numpy.dtype_functions import result_dtype

__all__ = [
    "TypePromotionError",
    "bfloat16",
    "canonicalize_dtype",
    "extended",
    "finfo",
    "float0",
    "iinfo",
    "issubdtype",
    "itemsize_bits",
    "prng_key",
    "promote_types",
    "result_type",
    "scalar_type_of",
    "short_name",
]


def canonicalize_dtype(dtype: Any, allow_extended_dtype: bool = False) -> Any:
    """The dtype that arrays made with ``dtype`` have; None means the default floating dtype.

    Args:
        dtype: a dtype, its name, or a Python scalar type.
        allow_extended_dtype: give the dtype of typed random keys back as it is; else it is refused.

    Example:
        >>> import nr
        >>> nr.dtypes.canonicalize_dtype(int), nr.dtypes.canonicalize_dtype(None)
        (dtype('int32'), dtype('float32'))
    """
    if dtype is None:
        return config.default_float
    if issubdtype(dtype, extended):
        if allow_extended_dtype:
            return dtype
        raise ValueError(
            f"canonicalize_dtype: a dtype of numbers was expected; got {dtype}. "
            f"Pass allow_extended_dtype=True to leave it as it is."
        )
    return canonicalize(dtype)


def result_type(*args: Any, return_weak_type_flag: bool = False) -> Any:
    """The dtype to which arrays, dtypes and Python numbers promote together.

    Args:
        *args: arrays, dtypes and Python numbers.
        return_weak_type_flag: also return whether it is weak: all are Python numbers, or like them.

    Example:
        >>> import nr
        >>> nr.dtypes.result_type(1, 2.5, return_weak_type_flag=True)
        (dtype('float32'), True)
    """
    result = result_dtype(args)
    return result if return_weak_type_flag else result[0]


def itemsize_bits(dtype: Any) -> int:
    """How many bits an element takes.

    Example:
        >>> import nr
        >>> nr.dtypes.itemsize_bits("bfloat16")
        16
    """
    return 8 * canonicalize(dtype).itemsize


def scalar_type_of(x: Any) -> type:
    """The Python scalar type (bool, int, float or complex) of an array or number.

    Example:
        >>> import nr
        >>> nr.dtypes.scalar_type_of(np.float32(1.0))
        <class 'float'>
    """
    kind = typeof(x).dtype
    for scalar, parent in zip(PYTHON_SCALARS, (np.bool_, np.integer, np.floating), strict=False):
        if issubdtype(kind, parent):
            return scalar
    return complex
