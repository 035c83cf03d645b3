"""Array: the immutable handle of numbers on a device, and the public type of all arrays.

`Array` is what users see and test with isinstance; `ArrayImpl` holds numbers, a `Tracer`
(tracing.py) stands for numbers that are not there yet. The operators and methods of `Array` are
functions of `nr.numpy`, which installs them (nr/numpy/array_methods.py).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nr.core import devices, dtypes
from nr.core.avals import ShapedArray

_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "divmod", "and",
           "or", "xor", "lshift", "rshift")  # fmt: skip
_OPERATORS = [
    *_BINARY,
    *[f"r{name}" for name in _BINARY],
    *["neg", "pos", "abs", "invert", "round", "getitem", "iter"],
    *["eq", "ne", "lt", "le", "gt", "ge"],
]


def _import_methods() -> None:
    """Import nr.numpy, which installs the operators and methods of arrays."""
    importlib.import_module("nr.numpy")


def _operator(name: str) -> Any:
    def operator(self: Any, *args: Any) -> Any:
        _import_methods()
        return getattr(type(self), name)(self, *args)

    return operator


class Array:
    """An immutable n-dimensional array; make one with ``nr.numpy.array`` and its kin."""

    __slots__ = ()
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    aval: ShapedArray

    if TYPE_CHECKING:  # what nr/numpy/array_methods.py installs

        def __add__(self, other: Any) -> Array: ...
        def __radd__(self, other: Any) -> Array: ...
        def __sub__(self, other: Any) -> Array: ...
        def __rsub__(self, other: Any) -> Array: ...
        def __mul__(self, other: Any) -> Array: ...
        def __rmul__(self, other: Any) -> Array: ...
        def __truediv__(self, other: Any) -> Array: ...
        def __rtruediv__(self, other: Any) -> Array: ...
        def __floordiv__(self, other: Any) -> Array: ...
        def __rfloordiv__(self, other: Any) -> Array: ...
        def __mod__(self, other: Any) -> Array: ...
        def __rmod__(self, other: Any) -> Array: ...
        def __pow__(self, other: Any) -> Array: ...
        def __rpow__(self, other: Any) -> Array: ...
        def __matmul__(self, other: Any) -> Array: ...
        def __rmatmul__(self, other: Any) -> Array: ...
        def __and__(self, other: Any) -> Array: ...
        def __rand__(self, other: Any) -> Array: ...
        def __or__(self, other: Any) -> Array: ...
        def __ror__(self, other: Any) -> Array: ...
        def __xor__(self, other: Any) -> Array: ...
        def __rxor__(self, other: Any) -> Array: ...
        def __lshift__(self, other: Any) -> Array: ...
        def __rlshift__(self, other: Any) -> Array: ...
        def __rshift__(self, other: Any) -> Array: ...
        def __rrshift__(self, other: Any) -> Array: ...
        def __lt__(self, other: Any) -> Array: ...
        def __le__(self, other: Any) -> Array: ...
        def __gt__(self, other: Any) -> Array: ...
        def __ge__(self, other: Any) -> Array: ...
        def __eq__(self, other: Any) -> Array: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Array: ...  # type: ignore[override]
        def __neg__(self) -> Array: ...
        def __pos__(self) -> Array: ...
        def __abs__(self) -> Array: ...
        def __invert__(self) -> Array: ...
        def __divmod__(self, other: Any) -> tuple[Array, Array]: ...
        def __rdivmod__(self, other: Any) -> tuple[Array, Array]: ...
        def __round__(self, ndigits: int | None = None) -> Array: ...
        def __getitem__(self, index: Any) -> Array: ...
        def __iter__(self) -> Iterator[Array]: ...
        def __bool__(self) -> bool: ...
        def __int__(self) -> int: ...
        def __float__(self) -> float: ...
        def __complex__(self) -> complex: ...
        def __index__(self) -> int: ...
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray: ...
        def block_until_ready(self) -> Array: ...
        def item(self, *args: int) -> Any: ...
        def tolist(self) -> Any: ...

        T: Array
        mT: Array
        real: Array
        imag: Array
        at: Any

        def __getattr__(self, name: str) -> Any: ...  # the methods that are nr.numpy's functions

    else:

        def __getattr__(self, name: str) -> Any:
            if "nr.numpy" not in sys.modules and not name.startswith("_"):
                _import_methods()
                return getattr(self, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return self.aval.ndim

    @property
    def size(self) -> int:
        return self.aval.size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def weak_type(self) -> bool:
        return self.aval.weak_type

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: an array of rank 1 or more was expected; got rank 0.")
        return self.shape[0]

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            f"item assignment: arrays are immutable; got x[{_index_text(index)}] = ... for "
            f"{self.aval}. Write x = x.at[{_index_text(index)}].set(...)."
        )

    def __delitem__(self, index: Any) -> None:
        raise TypeError("item deletion: arrays are immutable. Use nr.numpy.delete.")


for _name in _OPERATORS:  # until nr.numpy is imported, by the first of them that is used
    setattr(Array, f"__{_name}__", _operator(f"__{_name}__"))


def _index_text(index: Any) -> str:
    if isinstance(index, tuple):
        return ", ".join(map(_index_text, index))
    if isinstance(index, slice):
        ends = ["" if end is None else str(end) for end in (index.start, index.stop)]
        return ":".join(ends + ([] if index.step is None else [str(index.step)]))
    return (
        "..."
        if index is Ellipsis
        else "i"
        if isinstance(index, (Array, np.ndarray))
        else str(index)
    )


class ArrayImpl(Array):
    """An array whose numbers are there: `data` is a NumPy or CuPy array that nobody else writes.

    `committed` is the device it was put on, or None: uncommitted arrays lie on the CPU and follow
    the operands that they meet.
    """

    __slots__ = ("data", "committed", "weak", "_aval", "__weakref__")

    def __init__(self, data: Any, committed: devices.Device | None = None, weak: bool = False):
        self.data = data
        self.committed = committed
        self.weak = weak
        self._aval: ShapedArray | None = None

    @classmethod
    def of_aval(cls, data: Any, aval: ShapedArray) -> ArrayImpl:
        """An uncommitted array whose aval is known."""
        x = cls(data, None, aval.weak_type)
        x._aval = aval
        return x

    @property
    def aval(self) -> ShapedArray:  # type: ignore[override]
        aval = self._aval
        if aval is None:
            data = self.data
            if data is None:
                raise RuntimeError(DELETED)
            aval = self._aval = ShapedArray(data.shape, data.dtype, self.weak)
        return aval

    # Straight from the data: much used, and cheaper than through the aval.
    @property
    def shape(self) -> tuple[int, ...]:
        return self._aval.shape if self._aval is not None else self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self._aval.dtype if self._aval is not None else self.data.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def weak_type(self) -> bool:
        return self.weak

    @property
    def device(self) -> devices.Device:
        return self.committed or devices.cpu()

    @property
    def sharding(self) -> devices.Device:
        return self.device

    def devices(self) -> set[devices.Device]:
        """The set that holds the array's device."""
        return {self.device}

    def is_deleted(self) -> bool:
        """Whether the memory was given away (donated to a jitted function)."""
        return self.data is None

    def delete(self) -> None:
        """Give the memory back now; using the array afterwards raises RuntimeError."""
        self.aval  # noqa: B018 - keeps shape and dtype readable afterwards
        self.data = None

    def block_until_ready(self) -> ArrayImpl:
        """Wait until the numbers are there (they always are on the CPU)."""
        if self.committed is not None:
            self.committed.backend.synchronize(self.committed)
        return self

    @property
    def is_fully_addressable(self) -> bool:
        """Whether this process has all of the array: it always has."""
        return True

    is_fully_replicated = is_fully_addressable

    def unsafe_buffer_pointer(self) -> int:
        """The address of the array's memory, which lasts as long as the array."""
        if self.data is None:
            raise RuntimeError(DELETED)
        if type(self.data) is np.ndarray:
            return self.data.ctypes.data
        return self.data.data.ptr

    def copy_to_host_async(self) -> None:
        """Nothing to do: copies to the host happen when they are asked for."""

    def host(self) -> np.ndarray:
        """The numbers as a NumPy array (the array's own memory on the CPU: don't write to it)."""
        data = self.data
        if type(data) is np.ndarray:
            return data
        if data is None:
            raise RuntimeError(DELETED)
        return self.device.backend.get(data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        host = self.host()
        if dtype is not None and host.dtype != dtype:
            if copy is False:
                raise ValueError("array: a view was asked for, but the dtype must change.")
            return host.astype(dtype)
        if copy:
            return host.copy()
        view = host.view()
        view.flags.writeable = False
        return view

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        data = self.data
        if data is None:
            raise RuntimeError(DELETED)
        if type(data) is np.ndarray and data.dtype == dtypes.DTYPES["bfloat16"]:
            raise BufferError("dlpack: NumPy can't export bf16. Convert with .astype('float32').")
        options = {
            "stream": stream,
            "max_version": max_version,
            "dl_device": dl_device,
            "copy": copy,
        }
        return data.__dlpack__(**{k: v for k, v in options.items() if v is not None})

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()

    def __reduce__(self) -> tuple:
        return _unpickle, (np.ascontiguousarray(self.host()).reshape(self.shape), self.weak)

    def __bool__(self) -> bool:
        if self.size != 1:
            what = "an empty array" if self.size == 0 else f"{self.aval}"
            raise ValueError(
                f"bool: the truth value of one element was expected; got {what}. "
                f"Use .any() or .all()."
            )
        return bool(self.host().reshape(())[()])

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __float__(self) -> float:
        return float(self._scalar("float"))

    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

    def __index__(self) -> int:
        if self.shape or self.dtype not in dtypes.INTEGER:
            raise TypeError(f"index: a rank-0 integer was expected; got {self.aval}.")
        return int(self.host()[()])

    def _scalar(self, kind: str) -> Any:
        if self.shape:
            raise TypeError(
                f"{kind}: an array of rank 0 was expected; got {self.aval}. Use .item()."
            )
        if self.dtype in dtypes.COMPLEX and kind != "complex":
            raise TypeError(f"{kind}: a real number was expected; got {self.aval}. Use .real.")
        return self.host().reshape(())[()]

    def item(self, *args: int) -> Any:
        """One element as a Python scalar."""
        return self.host().item(*args)

    def tolist(self) -> Any:
        """The numbers as nested Python lists."""
        return self.host().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        """The numbers' bytes in row-major order."""
        return self.host().tobytes(order)  # type: ignore[arg-type]

    @property
    def addressable_data(self) -> Any:
        return lambda index=0: self

    def __format__(self, spec: str) -> str:
        if self.shape and spec:
            raise TypeError(f"format: {spec!r} is for arrays of rank 0; got {self.aval}.")
        return format(str(self) if self.shape else self.host()[()], spec)

    def __repr__(self) -> str:
        if self.data is None:
            return f"Array(deleted, {self.aval})"
        body = np.array2string(_printable(self.host()), separator=", ", prefix="Array(", suffix=")")
        shape = f", shape={self.shape}" if self.size == 0 else ""
        weak = ", weak_type=True" if self.weak else ""
        return f"Array({body}{shape}, dtype={self.dtype.name}{weak})"

    def __str__(self) -> str:
        return repr(self) if self.data is None else str(_printable(self.host()))


def weak_scalar(x: Any) -> Any:
    """A NumPy scalar of 64 bits as a weak array; anything else as it is.

    What NumPy makes of Python numbers, such as ``np.sqrt(2)``, is of 64 bits: beside an array it
    takes the array's dtype, as a Python number does; by itself it keeps its bits.
    """
    if isinstance(x, (np.float64, np.int64, np.complex128)):
        return ArrayImpl(np.asarray(x), None, True)
    return x


DELETED = (
    "array: its memory was given away (donated to a jitted function, or deleted). "
    "Use the function's result, or don't donate this argument."
)


def _printable(data: np.ndarray) -> np.ndarray:
    return data.astype(np.float32) if data.dtype == dtypes.DTYPES["bfloat16"] else data


def _unpickle(data: np.ndarray, weak: bool) -> ArrayImpl:
    return ArrayImpl(data, None, weak)


def as_host(value: Any) -> np.ndarray:
    """A concrete array of nr, or what NumPy takes for an array, as a NumPy array."""
    return value.host() if type(value) is ArrayImpl else np.asarray(value)
