"""Making arrays: from data, from a shape, and from buffers.

What is made eagerly is made by NumPy at once. Under a transformation, constants of a shape are
operations of the program, so that a compiled function carries no large constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from nr.core import devices, dtypes
from nr.core.array import DELETED, Array, ArrayImpl
from nr.core.config import config
from nr.core.devices import chosen_default
from nr.core.tracing import EVAL, PYTHON_SCALARS, Tracer, current_trace, typeof
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import add, mul
from nr.lax.rules import operand, refuse_mask
from nr.lax.shape import broadcast_in_dim, canonical_shape, concatenate, iota, reshape
from nr.lax.shape import copy as lax_copy
from nr.lax.shape import full as lax_full

__all__ = [
    "arange",
    "array",
    "array_repr",
    "array_str",
    "asarray",
    "copy",
    "empty",
    "empty_like",
    "from_dlpack",
    "frombuffer",
    "fromfunction",
    "fromiter",
    "fromstring",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]

_PYTHON_SET = frozenset(PYTHON_SCALARS)
# NumPy takes Python floats to these in one rounding; to others they go through double precision.
_STRAIGHT = frozenset(dtypes.DTYPES[name] for name in ("float32", "float64", "complex64"))
_LARGEST_F32 = float(np.finfo(np.float32).max)
# Bytes of a line of the cache, and from how many on copies begin at one.
_LINE, _LARGE = 64, 1 << 12


# ---------------------------------------------------------------- placement
def place(x: Any, device: Any) -> Any:
    """x on the device that was asked for, or on the one of `nr.default_device`.

    A traced value stays where its program runs.
    """
    where = chosen_default() if device is None else devices.device(device)
    if where is None or type(x) is not ArrayImpl or x.committed is where:
        return x
    if device is None and x.committed is not None:
        return x
    data = x.host() if x.committed is not None else x.data
    return ArrayImpl(where.backend.put(data, where), where, x.weak)


def _fresh(data: np.ndarray, device: Any) -> ArrayImpl:
    """An Array around NumPy's fresh numbers."""
    if device is None and chosen_default() is None:
        return ArrayImpl(data)
    return place(ArrayImpl(data), device)


# ---------------------------------------------------------------- from data
def array(
    object: Any,  # noqa: A002 - NumPy's name
    dtype: Any = None,
    copy: bool = True,
    order: str | None = "K",
    ndmin: int = 0,
    *,
    device: Any = None,
) -> Array:
    """An array from numbers, nested lists, NumPy arrays or Arrays.

    Python numbers take the default dtypes; NumPy arrays keep theirs and are always copied.

    Args:
        object: the data; lists may hold arrays, also traced ones.
        dtype: the dtype of the result; by default that of the data, promoted.
        copy: whether an Array's memory is copied too.
        order: "K" or "C"; there is no other layout.
        ndmin: leading dimensions of extent 1 are added up to this rank.
        device: where to put it, as ``"cpu"``, ``"cuda:0"`` or an `nr.Device`.

    Raises:
        TypeError: if the data is not numbers.
        ValueError: if nested lists are ragged.
        OverflowError: if an integer does not fit the dtype.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.array([[1, 2], [3, 4.5]])
        Array([[1. , 2. ],
               [3. , 4.5]], dtype=float32)
    """
    if order != "K" and order not in (None, "C"):
        _reject_order("array", order)
    out = _convert("array", object, dtype, copy)
    if ndmin and out.ndim < ndmin:
        out = reshape(out, (1,) * (ndmin - out.ndim) + out.shape)
    if device is not None or chosen_default() is not None:
        return place(out, device)
    return out


def asarray(
    a: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    device: Any = None,
) -> Array:
    """`array`, which gives an Array of the right dtype back as it is.

    Args:
        a: the data.
        dtype: the dtype of the result.
        order: None, "K" or "C".
        copy: True copies always; False raises ValueError where a copy is needed.
        device: where to put it.

    Example:
        >>> import nr.numpy as jnp
        >>> x = jnp.ones(2)
        >>> jnp.asarray(x) is x
        True
    """
    if order is not None and order not in ("K", "C"):
        _reject_order("asarray", order)
    out = _convert("asarray", a, dtype, bool(copy))
    if device is not None or chosen_default() is not None:
        out = place(out, device)
    if copy is False and out is not a:
        raise ValueError(
            f"asarray: copy=False asks for the same memory; got {type(a).__name__}, which must "
            f"be copied or converted. Leave out copy=False."
        )
    return out


def _reject_order(op: str, order: Any) -> None:
    raise ValueError(f'{op}: order must be "K" or "C"; got {order!r}. Arrays have no other layout.')


def _convert(op: str, x: Any, dtype: Any, copy: bool) -> Any:
    kind = type(x)
    if dtype is not None:
        dtype = dtypes.canonicalize(dtype)
    if kind is np.ndarray:
        if dtype is None:
            dtype = x.dtype
            if dtype not in dtypes.ANY or not dtype.isnative:
                dtype = _data_dtype(op, x)
        return ArrayImpl(_cast(x, dtype) if x.dtype != dtype else _copied(x))
    if kind is ArrayImpl:
        if dtype is not None and x.dtype != dtype:
            return convert_element_type(x, dtype)
        if x.data is None:
            raise RuntimeError(DELETED)
        weak = x.weak and dtype is None
        return ArrayImpl(x.data.copy(), x.committed, weak) if copy or weak != x.weak else x
    if kind in _PYTHON_SET:
        return _from_scalar(op, x, kind, dtype)
    if kind is list or kind is tuple:
        return _from_nested(op, x, dtype)
    if isinstance(x, Tracer):
        return x if dtype is None else convert_element_type(x, dtype)
    return _from_other(op, x, dtype, copy)


def _copied(x: np.ndarray) -> np.ndarray:
    """A copy that begins at a line of the cache, if it is large: kernels read whole vectors, and of
    NumPy's own arrays most of these lie across two lines."""
    if x.nbytes < _LARGE:
        return x.copy()
    room = np.empty(x.nbytes + _LINE, np.uint8)
    begin = -room.ctypes.data % _LINE
    out = room[begin : begin + x.nbytes].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


def _from_scalar(op: str, x: Any, kind: type, dtype: np.dtype | None) -> ArrayImpl:
    if dtype is None:
        weak = kind is not bool
        dtype = dtypes.scalar_dtype(kind)
    else:
        weak = False
    if kind is float and not -_LARGEST_F32 <= x <= _LARGEST_F32:
        return ArrayImpl(_cast(np.asarray(x), dtype), None, weak)
    try:
        return ArrayImpl(np.array(x, dtype), None, weak)
    except OverflowError:
        raise _overflow(op, x, dtype) from None


def _overflow(op: str, x: Any, dtype: np.dtype) -> OverflowError:
    return OverflowError(
        f"{op}: integers must fit the dtype {dtypes.short_name(dtype)}; got {_short(x)}. "
        f"Ask for a wider one, as dtype='int64'."
    )


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 40 else text[:37] + "..."


def _cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A fresh copy in a dtype, with lax's conversions: silent, floats saturated to integers."""
    if x.dtype not in dtypes.ANY or not x.dtype.isnative:
        x = x.astype(_data_dtype("array", x))
    return devices.backend("cpu").table["convert_element_type"](x, new_dtype=dtype)


def _data_dtype(op: str, x: np.ndarray) -> np.dtype:
    """The native dtype of NumPy data; TypeError if it holds no numbers."""
    if x.dtype.kind in "OSUMmT" or x.dtype.fields is not None:
        raise TypeError(
            f"{op}: numbers were expected; got {_short(x.tolist())} of NumPy dtype {x.dtype}. "
            f"Convert the data to a numeric dtype first."
        )
    return dtypes.canonicalize(x.dtype.newbyteorder("="))


def _from_nested(op: str, x: Any, dtype: np.dtype | None) -> Any:
    """An array from nested lists, stacked by operations where they hold traced values."""
    kinds = set(map(type, x))
    pending = x
    while list in kinds or tuple in kinds:
        pending = [z for y in pending if type(y) is list or type(y) is tuple for z in y]
        kinds.discard(list)
        kinds.discard(tuple)
        kinds.update(map(type, pending))
    if kinds <= _PYTHON_SET:
        return ArrayImpl(_from_python(op, x, kinds, dtype))
    leaves: list[Any] = []
    resolved = _resolve(op, x, leaves)
    if dtype is None:
        dtype = dtypes.promote([(leaf.dtype, leaf.weak_type) for leaf in leaves])[0]
    if all([type(leaf) is ArrayImpl and leaf.committed is None for leaf in leaves]):
        return ArrayImpl(_numpy_array(op, _on_host(resolved, dtype), dtype))
    return _stack(op, resolved, dtype)


def _from_python(op: str, x: Any, kinds: set[type], dtype: np.dtype | None) -> np.ndarray:
    if complex in kinds:
        kind: type = complex
    elif float in kinds or not kinds:
        kind = float
    else:
        kind = int if int in kinds else bool
    if dtype is None:
        dtype = dtypes.scalar_dtype(kind)
    if kind is float or kind is complex:
        if dtype in _STRAIGHT:
            with np.errstate(over="ignore"):
                return _numpy_array(op, x, dtype)
        wide = np.dtype(np.float64 if kind is float else np.complex128)
        return _cast(_numpy_array(op, x, wide), dtype)
    return _numpy_array(op, x, dtype)


def _numpy_array(op: str, x: Any, dtype: np.dtype) -> np.ndarray:
    try:
        return np.array(x, dtype)
    except OverflowError:
        raise _overflow(op, x, dtype) from None
    except TypeError as err:
        raise TypeError(
            f"{op}: numbers of dtype {dtypes.short_name(dtype)} were expected; got {_short(x)}. "
            f"Ask for another dtype, or take the real parts."
        ) from err
    except ValueError as err:
        raise ValueError(
            f"{op}: nested lists must be rectangular and of numbers; got {_short(x)}. "
            f"NumPy says: {err}"
        ) from None


def _resolve(op: str, x: Any, leaves: list[Any]) -> Any:
    """Nested lists with every leaf an Array; the leaves are collected too."""
    if isinstance(x, (list, tuple)):
        return [_resolve(op, y, leaves) for y in x]
    leaf = _convert(op, x, None, False)
    leaves.append(leaf)
    return leaf


def _on_host(x: Any, dtype: np.dtype) -> Any:
    if type(x) is list:
        return [_on_host(y, dtype) for y in x]
    return x.data if x.dtype == dtype else _cast(x.data, dtype)


def _stack(op: str, x: Any, dtype: np.dtype) -> Any:
    if type(x) is not list:
        return convert_element_type(x, dtype)
    parts = [_stack(op, y, dtype) for y in x]
    if len({part.shape for part in parts}) > 1:
        got = ", ".join([str(part.aval) for part in parts])
        raise ValueError(f"{op}: nested lists must be rectangular; got elements {_clip(got)}.")
    if not parts:
        return zeros((0,), dtype)
    return concatenate([reshape(part, (1, *part.shape)) for part in parts], 0)


def _clip(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _from_other(op: str, x: Any, dtype: np.dtype | None, copy: bool) -> Any:
    """What is no plain list, number or array: NumPy scalars, subclasses, buffers, protocols."""
    if hasattr(x, "__jax_array__"):
        return _convert(op, x.__jax_array__(), dtype, copy)
    if isinstance(x, (np.ndarray, np.generic)):
        refuse_mask(op, x)
        return _convert(op, np.asarray(x), dtype, copy)
    if isinstance(x, PYTHON_SCALARS):
        base = next(base for base in PYTHON_SCALARS if isinstance(x, base))
        return _convert(op, base(x), dtype, copy)
    if isinstance(x, (list, tuple, range)):
        return _from_nested(op, list(x), dtype)
    if isinstance(x, str) and dtype is not None:  # as in float32("inf")
        return _convert(op, np.asarray(x, dtype), dtype, copy)
    if x is None:
        raise ValueError(f"{op}: numbers were expected; got None.")
    if isinstance(x, (str, bytes)):
        raise TypeError(
            f"{op}: numbers were expected; got {_short(x)} of type {type(x).__name__}. "
            f"Parse it into numbers first."
        )
    data = np.asarray(x)
    if data.dtype.kind in "OSUMmT":
        raise TypeError(
            f"{op}: numbers, nested lists or arrays were expected; got {_short(x)} of type "
            f"{type(x).__name__}. Convert it to a list of numbers."
        )
    return _convert(op, data, dtype, copy)


def copy(a: Any, order: str | None = None) -> Array:
    """A copy in memory of its own."""
    if order not in (None, "K", "C"):
        _reject_order("copy", order)
    return lax_copy(operand("copy", a))


# ---------------------------------------------------------------- from a shape
def _dtype(dtype: Any) -> np.dtype:
    return config.default_float if dtype is None else dtypes.canonicalize(dtype)


def zeros(shape: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Zeros of a shape; the default float if no dtype is given.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.zeros((2, 2))
        Array([[0., 0.],
               [0., 0.]], dtype=float32)
    """
    shape, dtype = canonical_shape("zeros", shape), _dtype(dtype)
    if current_trace() is EVAL:
        return _fresh(np.zeros(shape, dtype), device)
    return place(lax_full(shape, np.zeros((), dtype)[()], dtype), device)


def ones(shape: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Ones of a shape; the default float if no dtype is given."""
    shape, dtype = canonical_shape("ones", shape), _dtype(dtype)
    if current_trace() is EVAL:
        return _fresh(np.ones(shape, dtype), device)
    return place(lax_full(shape, np.ones((), dtype)[()], dtype), device)


def empty(shape: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """Zeros of a shape: an array that can't be written to has no use for unset memory."""
    return zeros(shape, dtype, device=device)


def full(shape: Any, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Array:
    """An array of one value, or of values that broadcast to the shape.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.full((2, 2), jnp.array([1, 2]))
        Array([[1, 2],
               [1, 2]], dtype=int32)
    """
    shape = canonical_shape("full", shape)
    value = _convert("full", fill_value, dtype, False)
    if not shape and value.weak_type:
        return place(value, device)
    if type(value) is ArrayImpl and value.committed is None and current_trace() is EVAL:
        out = np.empty(shape, value.dtype)
        try:
            out[...] = value.data
        except ValueError:
            raise _full_error(value, shape) from None
        return _fresh(out, device)
    if value.ndim > len(shape):
        raise _full_error(value, shape)
    dims = tuple(range(len(shape) - value.ndim, len(shape)))
    return place(broadcast_in_dim(value, shape, dims), device)


def _full_error(value: Any, shape: tuple[int, ...]) -> ValueError:
    return ValueError(
        f'full: "fill_value" must broadcast to the shape {shape}; got {value.aval}. '
        f"Extents must be equal or 1, counted from the end."
    )


def _like(a: Any, dtype: Any, shape: Any, device: Any) -> tuple[tuple[int, ...], Any, Any]:
    """Shape, dtype and device of an array like another (or like anything with those two)."""
    aval = a
    if type(a) is ArrayImpl:
        device = a.committed if device is None else device
    elif not (hasattr(a, "shape") and hasattr(a, "dtype")):
        aval = operand("zeros_like", a)
    return (
        tuple(aval.shape) if shape is None else shape,
        aval.dtype if dtype is None else dtype,
        device,
    )


def zeros_like(a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None) -> Array:
    """Zeros with the shape and dtype of an array, on its device."""
    shape, dtype, device = _like(a, dtype, shape, device)
    return zeros(shape, dtype, device=device)


def ones_like(a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None) -> Array:
    """Ones with the shape and dtype of an array, on its device."""
    shape, dtype, device = _like(a, dtype, shape, device)
    return ones(shape, dtype, device=device)


def empty_like(
    prototype: Any, dtype: Any = None, shape: Any = None, *, device: Any = None
) -> Array:
    """Zeros with the shape and dtype of an array, as `empty`."""
    return zeros_like(prototype, dtype, shape, device=device)


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, shape: Any = None, *, device: Any = None
) -> Array:
    """One value in the shape and dtype of an array, on its device."""
    shape, dtype, device = _like(a, dtype, shape, device)
    return full(shape, convert_element_type(fill_value, dtype), device=device)


# ---------------------------------------------------------------- counting
def known_scalar(op: str, name: str, x: Any) -> Any:
    """The number behind a static argument; the concretization error if it is traced."""
    if isinstance(x, Array):
        if x.ndim:
            raise TypeError(f'{op}: "{name}" must be a number; got {x.aval}.')
        return x.item()
    if type(x) in _PYTHON_SET:
        return x
    if isinstance(x, (np.ndarray, np.generic)) and x.ndim == 0:
        return x.item()
    if hasattr(x, "__index__"):
        return x.__index__()
    if isinstance(x, PYTHON_SCALARS):
        return x
    raise TypeError(f'{op}: "{name}" must be a number; got {_short(x)} of type {type(x).__name__}.')


def arange(
    start: Any, stop: Any = None, step: Any = None, dtype: Any = None, *, device: Any = None
) -> Array:
    """Numbers from start up to, but without, stop.

    Args:
        start: the first number; with `start` alone, counting goes from 0 to it.
        stop: the end of the half-open interval.
        step: the distance between neighbours, 1 by default.
        dtype: by default the promoted dtype of the arguments.
        device: where to put the result.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.arange(3), jnp.arange(1, 2, 0.25)
        (Array([0, 1, 2], dtype=int32), Array([1.  , 1.25, 1.5 , 1.75], dtype=float32))
    """
    given = [x for x in (start, stop, step) if x is not None]
    if dtype is None:
        if all([type(x) is int for x in given]):
            dtype = config.default_int
        else:
            pairs = [(aval.dtype, aval.weak_type) for aval in map(typeof, given)]
            dtype = dtypes.promote(pairs)[0]
    else:
        dtype = dtypes.canonicalize(dtype)
    start = known_scalar("arange", "start", start)
    step = 1 if step is None else known_scalar("arange", "step", step)
    if stop is None:
        start, stop = 0, start
    else:
        stop = known_scalar("arange", "stop", stop)
    if step == 0:
        raise ValueError("arange: step must not be zero; got 0.")
    whole = type(start) is int and type(step) is int
    if whole and current_trace() is not EVAL:
        count = max(math.ceil((stop - start) / step), 0)
        return place(_count(start, step, count, dtype), device)
    if whole and dtype.kind in "iu" and type(stop) is int:
        try:
            return _fresh(np.arange(start, stop, step, dtype), device)  # type: ignore[call-overload]
        except OverflowError:
            raise _overflow("arange", stop, dtype) from None
    # Fractions are counted in double precision and rounded once.
    return _fresh(_cast(np.arange(start, stop, step), dtype), device)


def _count(start: int, step: int, count: int, dtype: np.dtype) -> Any:
    """start + step * i as operations, exact in integers."""
    ends = (start, start + step * count)
    counting = dtype if dtype.kind in "iu" else dtypes.DTYPES["int32"]
    if counting.itemsize < 8 and not all([abs(end) < 2**31 for end in ends]):
        counting = dtypes.DTYPES["int64"]
    x = iota(counting, count)
    if step != 1:
        x = mul(x, np.asarray(step).astype(counting)[()])
    if start:
        x = add(x, np.asarray(start).astype(counting)[()])
    return convert_element_type(x, dtype)


# ---------------------------------------------------------------- from buffers and functions
def frombuffer(buffer: Any, dtype: Any = float, count: int = -1, offset: int = 0) -> Array:
    """A rank-1 array of a copy of a buffer's bytes; `float` means float64, as in NumPy."""
    dtype = np.dtype(np.float64) if dtype is float else dtypes.canonicalize(dtype)
    return _fresh(np.frombuffer(buffer, dtype, count, offset).copy(), None)


def fromiter(iter: Iterable, dtype: Any, count: int = -1) -> Array:  # noqa: A002
    """A rank-1 array of the numbers that an iterable gives."""
    return _fresh(np.fromiter(iter, dtypes.canonicalize(dtype), count), None)


def fromstring(string: str, dtype: Any = float, count: int = -1, *, sep: str) -> Array:
    """A rank-1 array of numbers written in a string, with a separator between them.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.fromstring("1, 2, 3", dtype=int, sep=",")
        Array([1, 2, 3], dtype=int32)
    """
    return _fresh(np.fromstring(string, dtypes.canonicalize(dtype), count, sep=sep), None)


def fromfunction(function: Callable, shape: Any, *, dtype: Any = float, **kwargs: Any) -> Any:
    """The values of a function of the coordinates of each place of a shape.

    The function sees one place at a time, as under `nr.vmap`; it may return a pytree.

    Args:
        function: ``(i, j, ...) -> value``, one coordinate a dimension.
        shape: the shape of the result.
        dtype: the dtype of the coordinates.
        **kwargs: passed on to the function.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.fromfunction(lambda i, j: 10 * i + j, (2, 3), dtype=int)
        Array([[ 0,  1,  2],
               [10, 11, 12]], dtype=int32)
    """
    from nr.transforms.vmap import vmap

    shape = canonical_shape("fromfunction", shape)
    dtype = dtypes.canonicalize(dtype)

    def over(*places: Any) -> Any:
        return function(*places, **kwargs)

    for d in reversed(range(len(shape))):
        over = vmap(over, in_axes=tuple([0 if i == d else None for i in range(len(shape))]))
    return over(*[arange(n, dtype=dtype) for n in shape])


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Array:
    """An array from any object that speaks DLPack, such as a torch or CuPy array.

    The memory is shared unless `copy`: don't write to it afterwards from the other side.

    Args:
        x: an object with ``__dlpack__`` and ``__dlpack_device__``.
        device: where to put it; by default it stays.
        copy: True copies always; False raises ValueError where moving to `device` needs a copy.
    """
    if isinstance(x, Array):
        out = x
    elif not hasattr(x, "__dlpack_device__"):
        raise TypeError(
            f"from_dlpack: an object with __dlpack__ was expected; got {type(x).__name__}. "
            f"Use nr.numpy.asarray."
        )
    else:
        kind, index = x.__dlpack_device__()
        if kind == 2:  # kDLCUDA of dlpack.h
            where = devices.device(f"cuda:{index}")
            out = ArrayImpl(where.backend.cupy.from_dlpack(x), where)  # type: ignore[attr-defined]
        else:
            out = ArrayImpl(np.from_dlpack(x))
    if copy:
        out = lax_copy(out)
    moved = out if device is None else place(out, device)
    if copy is False and moved is not out and type(moved.data) is not type(out.data):
        raise ValueError(
            f"from_dlpack: copy=False was asked for, but moving to {device} needs a copy."
        )
    return moved


# ---------------------------------------------------------------- text
def array_repr(
    arr: Any, max_line_width: int | None = None, precision: int | None = None,
    suppress_small: bool | None = None,
) -> str:  # fmt: skip
    """What `repr` gives for an array, with NumPy's options."""
    arr = asarray(arr)
    body = np.array2string(
        _text_data(arr), max_line_width, precision, suppress_small, ", ", prefix="Array("
    )
    return f"Array({body}, dtype={arr.dtype.name})"


def array_str(
    a: Any, max_line_width: int | None = None, precision: int | None = None,
    suppress_small: bool | None = None,
) -> str:  # fmt: skip
    """What `str` gives for an array, with NumPy's options."""
    return np.array_str(_text_data(asarray(a)), max_line_width, precision, suppress_small)


def _text_data(x: Any) -> np.ndarray:
    data = x.host() if type(x) is ArrayImpl else np.asarray(x)
    return data.astype(np.float32) if data.dtype == dtypes.DTYPES["bfloat16"] else data
