"""``x.at[index]``: arrays with some of their elements changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.tracing import EVAL, PYTHON_SCALARS, Tracer, current_trace
from nr.lax.convert import convert_element_type
from nr.lax.dynamic_slice import dynamic_update_slice
from nr.lax.elementwise import add, div, max, min, mul, neg, pow
from nr.lax.indexing import GatherScatterMode, ScatterDimensionNumbers, scatter_mode
from nr.lax.rules import operand
from nr.lax.scatter import scatter_add_p, scatter_max_p, scatter_min_p, scatter_mul_p, scatter_p
from nr.lax.select import select
from nr.lax.shape import (
    broadcast_in_dim,
    broadcast_shapes,
    expand_dims,
    full_like,
    reshape,
    rev,
)
from nr.numpy.creation import asarray
from nr.numpy.indexing import (
    Advanced,
    Int,
    NewAxis,
    Parsed,
    Slice,
    index_vectors,
    is_checked,
    numpy_index,
    parse,
    rewriting_take,
    unwrapped,
)
from nr.numpy.promotion import promote

Mode = str | GatherScatterMode | None


class IndexUpdateHelper:
    """The property ``at`` of arrays: ``x.at[index]`` is an `IndexUpdateRef`."""

    __slots__ = ("array",)

    def __init__(self, array: Array) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> IndexUpdateRef:
        return IndexUpdateRef(self.array, index)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.array!r})"


class IndexUpdateRef:
    """A part of an array, to be read or replaced; the array itself never changes.

    The methods share some arguments: `indices_are_sorted` and `unique_indices` are promises that
    may make the operation cheaper. `mode` says what becomes of indices out of range: "drop"
    leaves them out, "clip" moves them to the nearest end, "promise_in_bounds" says that there are
    none. Without a mode such an index raises IndexError if its numbers are known, and is
    dropped if it is traced. Without `wrap_negative_indices` negative indices are out of range, too.
    Values are converted to the array's dtype and broadcast.
    """

    __slots__ = ("array", "index")

    def __init__(self, array: Array, index: Any) -> None:
        self.array = array
        self.index = index

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.array!r}, {self.index!r})"

    def get(
        self,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        fill_value: Any = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """``x[index]``; with mode "fill" what is out of range gives `fill_value`.

        Example:
            >>> import nr.numpy as jnp
            >>> jnp.array([1.0, 2.0]).at[jnp.array([1, 5])].get(mode="fill", fill_value=-1.0)
            Array([ 2., -1.], dtype=float32)
        """
        return rewriting_take(
            self.array,
            self.index if wrap_negative_indices else unwrapped(self.index),
            indices_are_sorted=indices_are_sorted,
            unique_indices=unique_indices,
            mode=mode,
            fill_value=fill_value,
        )

    def set(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x with ``x[index] = values``; where several values meet, the last one stays.

        Example:
            >>> import nr.numpy as jnp
            >>> jnp.zeros(4).at[1:3].set(jnp.array([5.0, 6.0]))
            Array([0., 5., 6., 0.], dtype=float32)
        """
        if mode is None and wrap_negative_indices:
            out = _set_now(self.array, self.index, values)
            if out is not None:
                return out
        return self._counted(wrap_negative_indices)._update(
            "set", values, indices_are_sorted, unique_indices, mode
        )

    def add(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x with values added; all that meet at a place are summed.

        Example:
            >>> import nr.numpy as jnp
            >>> jnp.zeros(3).at[jnp.array([0, 0, 2])].add(1.0)
            Array([2., 0., 1.], dtype=float32)
        """
        return self._counted(wrap_negative_indices)._update(
            "add", values, indices_are_sorted, unique_indices, mode
        )

    def subtract(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x with values subtracted."""
        values = neg(promote("at.subtract", self.array, _not_nested(values))[1])
        return self._counted(wrap_negative_indices)._update(
            "add", values, indices_are_sorted, unique_indices, mode
        )

    def multiply(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x with the indexed elements multiplied by values."""
        return self._counted(wrap_negative_indices)._update(
            "mul", values, indices_are_sorted, unique_indices, mode
        )

    mul = multiply

    def divide(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x with the indexed elements divided by values; integers become floats."""
        x = operand("at.divide", self.array)
        x = convert_element_type(x, dtypes.to_inexact(x.dtype))
        ref = self._counted(wrap_negative_indices)
        factors = ref._factors(x, values, indices_are_sorted, unique_indices, mode)
        return div(x, factors)

    def power(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x with the indexed elements raised to powers."""
        x = operand("at.power", self.array)
        ref = self._counted(wrap_negative_indices)
        return pow(x, ref._factors(x, values, indices_are_sorted, unique_indices, mode))

    def _counted(self, from_end: bool) -> IndexUpdateRef:
        """The part itself, or with negative numbers in its index out of range."""
        return self if from_end else IndexUpdateRef(self.array, unwrapped(self.index))

    def _factors(self, x: Array, values: Any, *options: Any) -> Array:
        """The product of the values that meet at each place, 1 where there are none."""
        ones = full_like(x, 1)
        return IndexUpdateRef(ones, self.index)._update("mul", values, *options)

    def min(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x with the smaller of the indexed elements and values."""
        return self._counted(wrap_negative_indices)._update(
            "min", values, indices_are_sorted, unique_indices, mode
        )

    def max(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x with the larger of the indexed elements and values."""
        return self._counted(wrap_negative_indices)._update(
            "max", values, indices_are_sorted, unique_indices, mode
        )

    def apply(
        self,
        func: Callable[[Array], Any],
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x with a function (element by element) of the indexed elements.

        It is applied as often as an element is indexed, or once where indices are traced.
        """
        if not wrap_negative_indices:
            sorted_and_unique = {
                "indices_are_sorted": indices_are_sorted,
                "unique_indices": unique_indices,
            }
            return self._counted(False).apply(func, mode=mode, **sorted_and_unique)
        mask = _traced_mask(self.index)
        if mask is not None:
            return self._update_masked(mask, lambda x, _: _cast(func(x), x), 0)
        times = None if unique_indices else _repetitions(self.array, self.index)
        if times is not None:
            x = operand("at.apply", self.array)
            for n in range(times.max()):
                x = select(operand("at.apply", times > n), _cast(func(x), x), x)
            return x
        current = self.get(mode=mode, unique_indices=unique_indices)
        return self._update("set", func(current), indices_are_sorted, unique_indices, mode)

    def _update(
        self, op: str, values: Any, indices_are_sorted: bool, unique_indices: bool, mode: Mode
    ) -> Array:
        x, values = operand(f"at.{op}", self.array), _not_nested(values)
        if op != "set":
            wide = promote(f"at.{op}", x, values)[0].dtype
            if wide != x.dtype:  # integers and fractions meet as fractions
                wider = IndexUpdateRef(convert_element_type(x, wide), self.index)
                options = (indices_are_sorted, unique_indices, mode)
                return _cast(wider._update(op, values, *options), x)
        values = _cast(values, x)
        mask = _traced_mask(self.index)
        if mask is not None:
            return self._update_masked(mask, _COMBINE[op], values)
        parsed = parse(x.shape, self.index, mode)
        values = _broadcast_values(op, values, parsed.shape)
        if not values.size:
            return x
        known = all(entry.known for entry in parsed.advanced)
        if known and is_checked(mode):
            mode = "promise_in_bounds"
        single = int(np.prod(parsed.block, dtype=np.int64)) <= 1
        return _write(
            x,
            op,
            parsed,
            values,
            indices_are_sorted=indices_are_sorted,
            unique_indices=unique_indices or single,
            mode=scatter_mode(mode),
        )

    def _update_masked(self, mask: Tracer, combine: Callable, values: Any) -> Array:
        """The update where a traced mask holds: possible when values don't depend on how many."""
        x = operand("at", self.array)
        values = operand("at", values)
        rest = x.shape[mask.ndim :]
        if mask.shape != x.shape[: mask.ndim]:
            parse(x.shape, mask)  # raises
        if values.ndim > len(rest):
            raise IndexError(
                f"at: under a traced mask values must broadcast to the dimensions {rest} behind "
                f"the mask's; got {values.aval} for mask {mask.aval} and {x.aval}. "
                f"Use nr.numpy.where(mask, values, x)."
            )
        values = broadcast_in_dim(values, x.shape, range(x.ndim - values.ndim, x.ndim))
        chosen = broadcast_in_dim(mask, x.shape, range(mask.ndim))
        return select(chosen, combine(x, values), x)


def _repetitions(x: Any, index: Any) -> np.ndarray | None:
    """How often each element is indexed, if integers that are known index some more than once."""
    plain = numpy_index(index)
    items = plain if isinstance(plain, tuple) else (plain,)
    if not any([type(item) is np.ndarray and item.dtype.kind in "iu" for item in items]):
        return None
    times = np.zeros(x.shape, np.int32)
    try:
        np.add.at(times, plain, 1)
    except IndexError:  # the modes say what becomes of these
        return None
    return times if times.max(initial=0) > 1 else None


def _traced_mask(index: Any) -> Tracer | None:
    if isinstance(index, tuple) and len(index) == 1:
        (index,) = index
    traced = isinstance(index, Tracer) and index.dtype == dtypes.bool_dt
    return index if traced and index.concrete() is None else None


_COMBINE = {"set": lambda x, y: y, "add": add, "mul": mul, "min": min, "max": max}
_SCATTER = {
    "set": scatter_p,
    "add": scatter_add_p,
    "mul": scatter_mul_p,
    "min": scatter_min_p,
    "max": scatter_max_p,
}


def _not_nested(values: Any) -> Any:
    """Values as they are, but nested lists and tuples of numbers as arrays."""
    return asarray(values) if isinstance(values, (list, tuple)) else values


def _cast(values: Any, x: Any) -> Any:
    return convert_element_type(values, x.dtype)


def _broadcast_values(op: str, values: Any, shape: tuple[int, ...]) -> Any:
    """Values in the shape of what the index selects; NumPy lets leading dimensions of 1 go."""
    extra = values.ndim - len(shape)
    if extra > 0 and values.shape[:extra] == (1,) * extra:
        values = reshape(values, values.shape[extra:])
    try:
        fits = broadcast_shapes(values.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"at.{op}: values must broadcast to the shape {shape} that the index selects; "
            f"got {values.aval}."
        )
    return broadcast_in_dim(values, shape, range(len(shape) - values.ndim, len(shape)))


def _set_now(array: Any, index: Any, values: Any) -> Array | None:
    """``set`` done by NumPy, where everything is here and the index is plain; else None."""
    if type(array) is not ArrayImpl or array.committed is not None or current_trace() is not EVAL:
        return None
    plain = numpy_index(index)
    if plain is None or type(array.data) is not np.ndarray:
        return None
    if type(values) not in PYTHON_SCALARS:
        values = operand("at.set", _not_nested(values))
        if type(values) is not ArrayImpl or values.committed is not None:
            return None
    values = convert_element_type(values, array.dtype).data
    out = array.data.copy()
    try:
        out[plain] = values
    except (IndexError, ValueError):  # the general way has the message
        return None
    return ArrayImpl(out)


def _write(x: Any, op: str, parsed: Parsed, values: Any, *, mode: str, **options: Any) -> Array:
    """x with values, of the shape that the index selects, combined into it."""
    new = [d for d, n in enumerate(_origins(parsed)) if type(n) is NewAxis]
    if new:
        values = reshape(values, [n for d, n in enumerate(values.shape) if d not in new])
    origins = [origin for origin in _origins(parsed) if type(origin) is not NewAxis]
    backwards = [d for d, o in enumerate(origins) if type(o) is Slice and o.step == -1]
    if backwards:
        values = rev(values, backwards)
    basic = [e for e in parsed.entries if type(e) in (Int, Slice)]
    if op == "set" and not parsed.advanced and all(abs(_step(e)) == 1 for e in basic):
        dropped = tuple([e.dim for e in basic if type(e) is Int])
        starts = [e.value if type(e) is Int else _low(e) for e in basic]
        return dynamic_update_slice(x, expand_dims(values, dropped) if dropped else values, starts)
    return _scatter(x, op, parsed.entries, origins, parsed.block, values, mode, options)


def _origins(parsed: Parsed) -> list[Any]:
    """What each dimension of the selected part comes from: a piece, or a number in the block."""
    origins: list[Any] = []
    for piece in parsed.pieces:
        origins.extend(range(len(parsed.block)) if piece is None else [piece])
    return origins


def _step(entry: Int | Slice) -> int:
    return entry.step if type(entry) is Slice else 1


def _low(entry: Slice) -> int:
    return entry.start if entry.step > 0 else entry.start - (entry.count - 1)


def _scatter(
    x: Any,
    op: str,
    entries: Sequence[Any],
    origins: list[Any],
    block: tuple[int, ...],
    values: Any,
    mode: str,
    options: dict,
) -> Array:
    """Contiguous slices are the windows of the scatter; all else is places of windows."""
    is_window = [type(o) is Slice and abs(o.step) == 1 for o in origins]
    window_dims = tuple([d for d, w in enumerate(is_window) if w])
    place_origins = [o for o, w in zip(origins, is_window, strict=True) if not w]
    place_shape = tuple([n for n, w in zip(values.shape, is_window, strict=True) if not w])
    columns, mapped, inserted = [], [], []
    for entry in entries:
        if type(entry) is Int:
            column = np.asarray(entry.value)
        elif type(entry) is Advanced and entry.dim is not None:
            column = _spread_block(entry.array, block, place_origins)
        elif type(entry) is Slice and abs(entry.step) == 1:
            if _low(entry) == 0:
                continue
            column = np.asarray(_low(entry))
        elif type(entry) is Slice:
            line = entry.start + entry.step * np.arange(entry.count)
            at = next(i for i, o in enumerate(place_origins) if o is entry)
            column = line.reshape([-1 if i == at else 1 for i in range(len(place_origins))])
        else:
            continue
        columns.append(_narrow(column, x.shape[entry.dim]))
        mapped.append(entry.dim)
        if not (type(entry) is Slice and abs(entry.step) == 1):
            inserted.append(entry.dim)
    return _SCATTER[op].bind(
        x,
        index_vectors(columns, place_shape),
        values,
        dimension_numbers=ScatterDimensionNumbers(window_dims, tuple(inserted), tuple(mapped)),
        mode=mode,
        **options,
    )


def _narrow(column: Any, extent: int) -> Any:
    if isinstance(column, np.ndarray) and extent < np.iinfo(np.int32).max:
        return column.astype(np.int32)
    return column


def _spread_block(array: Any, block: tuple[int, ...], place_origins: list[Any]) -> Any:
    """An advanced index with extents of 1 for the places that strided slices give."""
    shape = (1,) * (len(block) - array.ndim) + array.shape
    spread = [shape[o] if type(o) is int else 1 for o in place_origins]
    return array.reshape(spread) if isinstance(array, np.ndarray) else reshape(array, spread)
