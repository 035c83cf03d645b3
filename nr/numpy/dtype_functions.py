"""Questions about dtypes, and conversion between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.core.dtypes import issubdtype, promote_types
from nr.core.tracing import PYTHON_SCALARS
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import ne, real
from nr.lax.rules import const_like, operand
from nr.numpy.creation import place
from nr.numpy.promotion import dtype_and_weak

__all__ = [
    "astype", "can_cast", "finfo", "iinfo", "isdtype", "isscalar", "issubdtype",
    "promote_types", "result_type",
]  # fmt: skip


def astype(x: Any, dtype: Any, /, *, copy: bool = False, device: Any = None) -> Array:
    """x in another dtype.

    Floats are truncated towards zero to integers, complex numbers lose their imaginary part, and
    what is not 0 becomes True.

    Args:
        dtype: None means the default floating dtype.
        copy: no matter, arrays being immutable.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.astype(jnp.array([1.9, -1.9]), jnp.int32)
        Array([ 1, -1], dtype=int32)
    """
    x = operand("astype", x)
    dtype = config.default_float if dtype is None else dtypes.canonicalize(dtype)
    if x.dtype != dtype and x.dtype in dtypes.COMPLEX and dtype not in dtypes.COMPLEX:
        x = ne(x, const_like(x, 0)) if dtype == dtypes.bool_dt else real(x)
    return place(convert_element_type(x, dtype), device)


def result_type(*args: Any) -> np.dtype:
    """The dtype to which arrays, dtypes and Python numbers promote together.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.result_type(jnp.ones(2, jnp.bfloat16), 1.0)
        dtype(bfloat16)
    """
    return result_dtype(args)[0]


def result_dtype(args: Sequence[Any]) -> tuple[np.dtype, bool]:
    """`result_type`, and whether it is weak."""
    if not args:
        raise ValueError("result_type: an array or dtype was expected; got none.")
    pairs = []
    for x in args:
        if type(x) in PYTHON_SCALARS or isinstance(x, Array):
            pairs.append(dtype_and_weak(x))
        elif x in PYTHON_SCALARS if isinstance(x, type) else False:
            pairs.append((dtypes.scalar_dtype(x), x is not bool))
        else:
            pairs.append((dtypes.canonicalize(x), False))
    return dtypes.promote(pairs)


def can_cast(from_: Any, to: Any, casting: str = "safe") -> bool:
    """Whether a dtype (or an array's) can be cast to another by NumPy's casting rules."""
    before, after = dtypes.canonicalize(from_), dtypes.canonicalize(to)
    return bool(np.can_cast(before, after, casting))  # type: ignore[arg-type]


def _dtype_of(x: Any) -> Any:
    return x.dtype if isinstance(x, (Array, np.ndarray, np.generic)) else x


class FloatLimits:
    """What `finfo` gives: the standard's limits as Python numbers, NumPy's other ones as they are.

    Python numbers are weak in a promotion: an array keeps its dtype beside a limit.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self._info = info = dtypes.finfo(dtype)
        self.dtype: np.dtype = dtypes.to_real(dtype)
        self.bits = int(info.bits)
        self.eps = float(info.eps)
        self.max = float(info.max)
        self.min = float(info.min)
        self.smallest_normal = float(info.smallest_normal)

    def __getattr__(self, name: str) -> Any:
        if name == "_info":  # asked for before __init__, by copy and pickle
            raise AttributeError(name)
        return getattr(self._info, name)

    def __repr__(self) -> str:
        return f"finfo(dtype={self.dtype}, min={self.min}, max={self.max}, eps={self.eps})"


def finfo(dtype: Any) -> FloatLimits:
    """The limits of a floating dtype; of its parts for a complex one.

    Args:
        dtype: a dtype, or an array for its own.

    Raises:
        ValueError: for another dtype.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.finfo(jnp.float32).eps
        1.1920928955078125e-07
    """
    return FloatLimits(dtypes.canonicalize(_dtype_of(dtype)))


def iinfo(int_type: Any) -> np.iinfo:
    """The limits of an integer dtype.

    Args:
        int_type: a dtype, or an array for its own.

    Raises:
        ValueError: for another dtype.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.iinfo(jnp.int8).max
        127
    """
    return dtypes.iinfo(dtypes.canonicalize(_dtype_of(int_type)))


_KINDS = {
    "bool": dtypes.BOOL,
    "signed integer": dtypes.SIGNED,
    "unsigned integer": dtypes.UNSIGNED,
    "integral": dtypes.INTEGER,
    "real floating": dtypes.FLOATING,
    "complex floating": dtypes.COMPLEX,
    "numeric": dtypes.NUMERIC,
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind, named as in the array API standard.

    Args:
        kind: "bool", "signed integer", "unsigned integer", "integral", "real floating",
            "complex floating" or "numeric"; or a dtype; or a tuple of these.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.isdtype(jnp.bfloat16, "real floating")
        True
    """
    dtype = dtypes.canonicalize(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return dtype in _KINDS[kind]
    try:
        return dtype == dtypes.canonicalize(kind)
    except TypeError:
        raise ValueError(
            f"isdtype: kind must be a dtype or one of {', '.join(_KINDS)}; got {kind!r}."
        ) from None


def isscalar(element: Any) -> bool:
    """Whether an object is a number, or an array of rank 0.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.isscalar(3), jnp.isscalar(jnp.array(3)), jnp.isscalar([3])
        (True, True, False)
    """
    if isinstance(element, (Array, np.ndarray)):
        return element.ndim == 0
    return bool(np.isscalar(element))
