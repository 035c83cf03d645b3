"""Arrays of other libraries, without a copy (the names of jax.dlpack)."""

from __future__ import annotations

from typing import Any

from nr.core import dtypes
from nr.numpy.creation import from_dlpack

__all__ = ["from_dlpack", "is_supported_dtype"]


def is_supported_dtype(dtype: Any) -> bool:
    """Whether arrays of a dtype can be exchanged: NumPy speaks DLPack for its own dtypes only.

    Example:
        >>> import nr
        >>> nr.dlpack.is_supported_dtype("float32"), nr.dlpack.is_supported_dtype("bfloat16")
        (True, False)
    """
    try:
        return dtypes.canonicalize(dtype) in dtypes.ANY - {dtypes.DTYPES["bfloat16"]}
    except TypeError:
        return False
