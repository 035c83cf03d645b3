"""The operators and methods of Array, in terms of the functions of nr.numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.lax.convert import bitcast_convert_type
from nr.lax.rules import canonical_axes
from nr.lax.shape import reshape as lax_reshape
from nr.lax.shape import transpose as lax_transpose
from nr.numpy import indexing, number_parts, ufuncs, ufuncs_logic
from nr.numpy.at import IndexUpdateHelper
from nr.numpy.creation import place
from nr.numpy.dtype_functions import astype as astype_function

API_VERSION = "2024.12"

# Functions whose first argument is the array: they are methods just as they are.
_METHODS = (
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "choose", "conj", "conjugate",
    "cumprod", "cumsum", "diagonal", "dot", "max", "mean", "min", "nonzero", "prod", "ptp",
    "ravel", "repeat", "round", "searchsorted", "sort", "squeeze", "std", "sum", "swapaxes",
    "take", "trace", "var",
)  # fmt: skip

_OPERATORS = {
    "add": ufuncs.add,
    "sub": ufuncs.subtract,
    "mul": ufuncs.multiply,
    "truediv": ufuncs.divide,
    "floordiv": ufuncs.floor_divide,
    "mod": ufuncs.remainder,
    "divmod": ufuncs.divmod,
    "pow": ufuncs.power,
    "and": ufuncs_logic.bitwise_and,
    "or": ufuncs_logic.bitwise_or,
    "xor": ufuncs_logic.bitwise_xor,
    "lshift": ufuncs_logic.left_shift,
    "rshift": ufuncs_logic.right_shift,
}
_COMPARISONS = {
    "eq": ufuncs_logic.equal,
    "ne": ufuncs_logic.not_equal,
    "lt": ufuncs_logic.less,
    "le": ufuncs_logic.less_equal,
    "gt": ufuncs_logic.greater,
    "ge": ufuncs_logic.greater_equal,
}
_OPERANDS = (Array, float, int, np.ndarray, np.generic, complex)


def _operator(name: str, function: Callable) -> Callable:
    """An operator that leaves operands unknown to nr to their own class."""
    # The short way of the function, if it has one, without a detour through the operator.
    in_front_of = getattr(function, "in_front_of", None)
    general = function.__wrapped__ if in_front_of else function  # type: ignore[attr-defined]

    def operator(self: Array, other: Any) -> Any:
        if isinstance(other, _OPERANDS) or hasattr(other, "__jax_array__"):
            return general(self, other)
        return NotImplemented

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = function.__doc__
    return in_front_of(operator) if in_front_of else operator


def _reflected(name: str, function: Callable) -> Callable:
    def operator(self: Array, other: Any) -> Any:
        if isinstance(other, _OPERANDS) or hasattr(other, "__jax_array__"):
            return function(other, self)
        return NotImplemented

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = function.__doc__
    return operator


def getitem(self: Array, index: Any) -> Array:
    """``x[index]`` by NumPy's rules."""
    return indexing.getitem(self, index)


def iterate(self: Array) -> Iterator[Array]:
    """The slices along the first dimension."""
    return indexing.iterate(self)


def at(self: Array) -> IndexUpdateHelper:
    """The array with some elements changed: ``x.at[index].set(values)``, ``.add`` and so on."""
    return IndexUpdateHelper(self)


def round_to(self: Array, ndigits: int | None = None) -> Array:
    """Python's round(), which gives integers unless it is told how many digits to keep."""
    if ndigits is None:
        return astype(number_parts.round(self), int)
    return number_parts.round(self, ndigits)


def itself(self: Array, *memo: Any) -> Array:
    """The array itself: what can't change needs no copies."""
    return self


def namespace(self: Array, /, *, api_version: str | None = None) -> Any:
    """The module of array functions, as the array API standard has it.

    Raises:
        ValueError: for a version of the standard that nr.numpy does not follow.
    """
    import nr.numpy

    known = ("2021.12", "2022.12", "2023.12", API_VERSION)
    if api_version is not None and api_version not in known:
        raise ValueError(
            f"__array_namespace__: api_version must be one of {', '.join(known)}; "
            f"got {api_version!r}."
        )
    return nr.numpy


def to_device(self: Array, device: Any, /, *, stream: Any = None) -> Array:
    """The array on a device.

    Args:
        stream: must be None.
    """
    if stream is not None:
        raise ValueError("to_device: stream must be None; got one.")
    return place(self, device)


def astype(self: Array, dtype: Any, copy: bool = False, device: Any = None) -> Array:
    """The array in another dtype; see `nr.numpy.astype`."""
    return astype_function(self, dtype, copy=copy, device=device)


def copy(self: Array) -> Array:
    """An array of the same numbers in memory of its own."""
    if type(self) is ArrayImpl and type(self.data) is np.ndarray:
        return ArrayImpl(self.data.copy(), self.committed, self.weak)
    return self


def _sizes(args: tuple[Any, ...]) -> Any:
    """What stands in ``f(2, 3)`` or ``f((2, 3))``."""
    return args[0] if len(args) == 1 else args


def reshape(self: Array, *args: Any, order: str = "C", copy: bool | None = None) -> Array:
    """The elements in another shape, of which one extent may be -1.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.arange(6).reshape(2, -1).shape
        (2, 3)
    """
    import nr.numpy

    return nr.numpy.reshape(self, _sizes(args), order=order, copy=copy)


def flatten(self: Array, order: str = "C") -> Array:
    """All elements in one dimension."""
    import nr.numpy

    return nr.numpy.ravel(self, order=order)


def transpose(self: Array, *args: Any) -> Array:
    """The dimensions in another order; reversed if none is given."""
    if not args or args == (None,):
        return transposed(self)
    axes = _sizes(args)
    axes = axes if isinstance(axes, (tuple, list)) else (axes,)
    return lax_transpose(self, canonical_axes("transpose", tuple(axes), self.ndim))


def transposed(self: Array) -> Array:
    """The array with its dimensions reversed."""
    if self.ndim < 2:
        return self
    return lax_transpose(self, range(self.ndim)[::-1])


def matrix_transposed(self: Array) -> Array:
    """The array with its last two dimensions exchanged."""
    if self.ndim < 2:
        raise ValueError(f"mT: an array of rank 2 or more was expected; got {self.aval}.")
    order = range(self.ndim)
    return lax_transpose(self, (*order[:-2], order[-1], order[-2]))


def clip(self: Array, min: Any = None, max: Any = None) -> Array:  # noqa: A002 - NumPy's names
    """The array held between min and max."""
    from nr.numpy.selection import clip

    return clip(self, min, max)


def compress(
    self: Array, condition: Any, axis: int | None = None, *, out: None = None, **options: Any
) -> Array:
    """The slices along an axis for which a condition holds."""
    from nr.numpy.index_functions import compress

    return compress(condition, self, axis, out=out, **options)


def view(self: Array, dtype: Any = None) -> Array:
    """The same bits read as another dtype; where widths differ, the last dimension changes.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.array([1.0]).view("int32")
        Array([1065353216], dtype=int32)
    """
    dtype = self.dtype if dtype is None else dtypes.canonicalize(dtype)
    old, new = self.dtype.itemsize, dtype.itemsize
    if dtypes.bool_dt in (self.dtype, dtype):
        if old != new:
            raise TypeError(f"view: bool can be read as 8-bit integers only; got {self.aval}.")
        if self.dtype == dtype:
            return self
        return self.astype(dtype)
    if old == new:
        return bitcast_convert_type(self, dtype)
    if not self.shape or self.shape[-1] * old % new:
        raise ValueError(
            f"view: the last dimension must be a multiple of {new} bytes; got {self.aval}."
        )
    *lead, last = self.shape
    if old > new:
        return lax_reshape(bitcast_convert_type(self, dtype), (*lead, last * old // new))
    return bitcast_convert_type(lax_reshape(self, (*lead, last * old // new, new // old)), dtype)


def install(functions: dict[str, Any]) -> None:
    """Give Array its operators and methods, of which many are the public functions."""
    for name, function in _OPERATORS.items():
        setattr(Array, f"__{name}__", _operator(f"__{name}__", function))
        setattr(Array, f"__r{name}__", _reflected(f"__r{name}__", function))
    for name, function in _COMPARISONS.items():
        setattr(Array, f"__{name}__", _operator(f"__{name}__", function))
    Array.__matmul__ = _operator("__matmul__", functions["matmul"])  # type: ignore[method-assign]
    Array.__rmatmul__ = _reflected("__rmatmul__", functions["matmul"])  # type: ignore[method-assign]
    for name in _METHODS:
        setattr(Array, name, functions[name])
    for name, function in _OWN_METHODS.items():
        setattr(Array, name, function)
    for name, function in _PROPERTIES.items():
        setattr(Array, name, property(function))


_OWN_METHODS = {
    "__abs__": ufuncs.absolute,
    "__neg__": ufuncs.negative,
    "__pos__": ufuncs.positive,
    "__invert__": ufuncs_logic.invert,
    "__round__": round_to,
    "__getitem__": getitem,
    "__iter__": iterate,
    "__copy__": itself,
    "__deepcopy__": itself,
    "__array_namespace__": namespace,
    "to_device": to_device,
    "astype": astype,
    "clip": clip,
    "compress": compress,
    "copy": copy,
    "flatten": flatten,
    "reshape": reshape,
    "transpose": transpose,
    "view": view,
}
_PROPERTIES = {
    "T": transposed,
    "mT": matrix_transposed,
    "at": at,
    "imag": number_parts.imag,
    "real": number_parts.real,
}
