"""NumPy indexing: what ``x[index]`` means, and reading it.

An index is parsed into one entry a dimension (`parse`). Integers and slices become static slices,
which are views; traced scalars a `dynamic_slice`; arrays one `gather`. nr/numpy/at.py writes to
what the same entries describe.

Indexing is checked: where the numbers of an index are known and no mode is given, one that is out
of range raises IndexError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.config import config
from nr.core.errors import NonConcreteBooleanIndexError, TracerIntegerConversionError
from nr.core.tracing import EVAL, Tracer, current_trace, typeof
from nr.lax.checks import check_index
from nr.lax.convert import convert_element_type
from nr.lax.dynamic_slice import dynamic_slice_p
from nr.lax.elementwise import lt
from nr.lax.gather import gather, wrap_negative
from nr.lax.indexing import GatherDimensionNumbers, GatherScatterMode, gather_mode
from nr.lax.rules import operand
from nr.lax.select import select
from nr.lax.shape import (
    broadcast_in_dim,
    broadcast_shapes,
    concatenate,
    expand_dims,
    full_like,
    index_in_dim,
    rev,
    squeeze,
)
from nr.lax.shape import slice as lax_slice
from nr.numpy.creation import asarray


# ---------------------------------------------------------------- entries
class Int(NamedTuple):
    """A position known now; it drops its dimension."""

    dim: int
    value: int


class Slice(NamedTuple):
    """The positions start, start + step, ..., of which there are count."""

    dim: int
    start: int
    count: int  # type: ignore[assignment]
    step: int


class NewAxis(NamedTuple):
    """A new dimension of extent 1."""


class Separator(NamedTuple):
    """An ellipsis that stands for no dimensions: it still keeps advanced entries apart."""


class Advanced(NamedTuple):
    """Positions given by an array. A boolean scalar has no dimension, only a shape."""

    dim: int | None
    array: Any
    known: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


class Parsed(NamedTuple):
    """An index, understood.

    `pieces` are what the dimensions of the result come from, in their order: `Slice`, `NewAxis`,
    or None for the place of the block of dimensions, of shape `block`, that the advanced entries
    give together.
    """

    entries: list[Any]
    pieces: list[Any]
    advanced: list[Advanced]
    block: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        shape: list[int] = []
        for piece in self.pieces:
            if piece is None:
                shape.extend(self.block)
            else:
                shape.append(piece.count if type(piece) is Slice else 1)
        return tuple(shape)


def parse(shape: tuple[int, ...], index: Any, mode: Any = None) -> Parsed:
    """Understand an index of an array of that shape.

    Raises:
        IndexError: for too many indices, masks that don't fit, and positions that are known to be
            out of range (unless a mode says what is to become of them).
        TypeError: for what can't be an index.
    """
    items = [_listed(item) for item in index] if isinstance(index, tuple) else [index]
    items = [_normal_item(item) for item in items]
    entries: list[Any] = []
    for item in _without_ellipsis(items, shape):
        dim = sum(getattr(entry, "dim", None) is not None for entry in entries)
        if item is None:
            entries.append(NewAxis())
        elif item is Ellipsis:
            entries.append(Separator())
        elif isinstance(item, slice):
            entries.append(_slice_entry(item, dim, shape[dim]))
        elif type(item) is bool:
            entries.append(Advanced(None, np.zeros(int(item), np.int32), True))
        elif type(item) is int:
            entries.append(_int_entry(item, dim, shape[dim], mode))
        elif item.dtype == dtypes.bool_dt:
            entries.extend(_mask_entries(item, dim, shape))
        else:
            entries.append(array_entry(item, dim, shape[dim], mode))
    advanced = [entry for entry in entries if type(entry) is Advanced]
    block = _block_shape(advanced) if advanced else ()
    return Parsed(entries, _pieces(entries, bool(advanced)), advanced, block)


def _listed(item: Any) -> Any:
    """An item of an index tuple; in there, unlike by itself, a list or a tuple is an array."""
    if isinstance(item, (list, tuple)):
        return asarray(item) if len(item) else np.zeros(0, np.int32)
    return item


def _normal_item(item: Any) -> Any:
    """None, Ellipsis, slice, bool, int, NumPy array (numbers known), or Tracer."""
    kind = type(item)
    if item is None or item is Ellipsis or kind in (int, bool, slice):
        return item
    if isinstance(item, (list, range)):
        raise TypeError(
            f"index: a list is no index; got {_short(item)}. Use nr.numpy.array of it, or a tuple "
            f"for several dimensions."
        )
    if isinstance(item, str):
        raise TypeError(f"index: an integer, slice or array was expected; got {item!r}.")
    if isinstance(item, Tracer):
        known = item.concrete()
        if known is not None:
            item = known
    if not isinstance(item, Tracer):
        if not hasattr(item, "dtype") and hasattr(item, "__index__"):
            return item.__index__()
        item = item.host() if isinstance(item, ArrayImpl) else np.asarray(item)
    if item.dtype not in dtypes.INTEGER and item.dtype != dtypes.bool_dt:
        is_scalar = not isinstance(item, Tracer) and item.ndim == 0
        got = item.item() if is_scalar else typeof(item) if item.dtype in dtypes.ANY else item.dtype
        raise TypeError(
            f"index: arrays used as indices must be of an integer type or bool; got {got}. "
            f'Convert it with .astype("int32").'
        )
    if not isinstance(item, Tracer) and item.ndim == 0:
        return item.item()
    return item


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 40 else text[:37] + "..."


def _consumes(item: Any) -> int:
    if item is None or item is Ellipsis or type(item) is bool:
        return 0
    if isinstance(item, (int, slice)) or item.dtype != dtypes.bool_dt:
        return 1
    return item.ndim


def _without_ellipsis(items: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Items for all dimensions; an ellipsis stays only where it stands for none."""
    places = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(places) > 1:
        raise IndexError("index: an index can only have a single ellipsis ('...'); got several.")
    used = sum(map(_consumes, items))
    missing = len(shape) - used
    if missing < 0:
        plural = "" if len(shape) == 1 else "s"
        raise IndexError(
            f"index: too many indices: the array has shape {shape}, {len(shape)} "
            f"dimension{plural}; got indices for {used}."
        )
    fill: list[Any] = [slice(None)] * missing
    if not places:
        return items + fill
    (at,) = places
    return items[:at] + (fill or [Ellipsis]) + items[at + 1 :]


def _slice_entry(item: slice, dim: int, extent: int) -> Slice:
    ends = [_slice_end(end) for end in (item.start, item.stop, item.step)]
    if ends[2] == 0:
        raise ValueError("index: the step of a slice must not be 0; got 0.")
    start, stop, step = slice(*ends).indices(extent)
    count = len(range(start, stop, step))
    return Slice(dim, start if count else 0, count, step if count else 1)


def _slice_end(end: Any) -> int | None:
    if end is None or type(end) is int:
        return end
    try:
        return end.__index__()
    except TracerIntegerConversionError:
        raise IndexError(
            f"index: the ends of a slice must be static integers; got a traced {end.aval}. "
            f"Use nr.lax.dynamic_slice_in_dim(x, start, size), or make it static."
        ) from None
    except (AttributeError, TypeError):
        raise TypeError(f"index: the ends of a slice must be integers; got {end!r}.") from None


def out_of_bounds(index: int, dim: int, extent: int) -> IndexError:
    return IndexError(f"index: index {index} is out of bounds for axis {dim} with size {extent}.")


def is_checked(mode: Any) -> bool:
    """Whether a mode leaves it to us to refuse positions out of range."""
    return config.check_indices if mode is None else mode in ("error", GatherScatterMode.ERROR)


def _int_entry(value: int, dim: int, extent: int, mode: Any) -> Int | Advanced:
    if -extent <= value < extent:
        return Int(dim, value + extent if value < 0 else value)
    if is_checked(mode):
        raise out_of_bounds(value, dim, extent)
    return array_entry(np.asarray(value), dim, extent, mode)


def unwrapped(index: Any) -> Any:
    """The index with its negative numbers out of range, not counted from the end."""
    if isinstance(index, tuple):
        return tuple([unwrapped(item) for item in index])
    if type(index) is int:
        return index if index >= 0 else np.iinfo(np.int32).min
    dtype = getattr(index, "dtype", None)
    if dtype is None or dtype.kind != "i":
        return index
    index = convert_element_type(operand("index", index), signed_index_dtype(dtype))
    negative = lt(index, full_like(index, 0))
    return select(negative, full_like(index, np.iinfo(np.int32).min), index)


def array_entry(array: Any, dim: int, extent: int, mode: Any) -> Advanced:
    if isinstance(array, Tracer):
        if is_checked(mode):
            array = check_index(array, dim, extent, -extent, extent)
        array = convert_element_type(array, signed_index_dtype(array.dtype))
        return Advanced(dim, wrap_negative(array, extent), False)
    # One place beyond either end stands for all that is out of range: so the range fits int32.
    if array.dtype == np.uint64:
        array = np.minimum(array, np.uint64(np.iinfo(np.int64).max))
    array = array.astype(np.int64)
    bad = (array < -extent) | (array >= extent)
    if bad.any():
        if is_checked(mode):
            raise out_of_bounds(int(array[bad].flat[0]), dim, extent)
        array = np.clip(array, -extent - 1, extent)
    array = np.where(array < 0, array + extent, array)
    if extent < np.iinfo(np.int32).max:
        array = array.astype(np.int32)
    return Advanced(dim, array, True)


def signed_index_dtype(dtype: np.dtype) -> np.dtype:
    """A signed dtype that holds the values of an index dtype and an extent beside them."""
    wide = dtype.itemsize > 4 or dtype == dtypes.DTYPES["uint32"]
    return dtypes.DTYPES["int64" if wide else "int32"]


def _mask_entries(mask: Any, dim: int, shape: tuple[int, ...]) -> list[Advanced]:
    extents = shape[dim : dim + mask.ndim]
    if mask.shape != extents:
        raise IndexError(
            f"index: a mask must have the shape of the dimensions that it selects from; got "
            f"{typeof(mask)} for dimensions {tuple(range(dim, dim + mask.ndim))} of an array of "
            f"shape {shape}."
        )
    if isinstance(mask, Tracer):
        raise NonConcreteBooleanIndexError(
            f"index: the numbers of a mask must be known, for the result's shape depends on them; "
            f"got a traced {mask.aval}; {mask.describe()}. Use nr.numpy.where(mask, x, ...), or "
            f"nr.numpy.nonzero(mask, size=...)."
        )
    dtype = np.int32 if max(extents, default=0) < np.iinfo(np.int32).max else np.int64
    return [
        Advanced(dim + i, places.astype(dtype), True) for i, places in enumerate(np.nonzero(mask))
    ]


def _block_shape(advanced: Sequence[Advanced]) -> tuple[int, ...]:
    try:
        return broadcast_shapes(*[entry.shape for entry in advanced])
    except ValueError:
        got = ", ".join(str(entry.shape) for entry in advanced)
        raise ValueError(
            f"index: arrays used as indices must have shapes that broadcast together; got {got}."
        ) from None


def _pieces(entries: list[Any], with_block: bool) -> list[Any]:
    """NumPy's rule: the block stands where its entries do if they are neighbours, else first."""
    pieces = [entry for entry in entries if type(entry) in (Slice, NewAxis)]
    if with_block:
        places = [i for i, entry in enumerate(entries) if type(entry) in (Int, Advanced)]
        together = places[-1] - places[0] == len(places) - 1
        before = entries[: places[0]] if together else []
        at = sum(type(entry) in (Slice, NewAxis) for entry in before)
        pieces.insert(at, None)
    return pieces


def index_vectors(columns: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Index arrays, broadcast to a shape, as the vectors ``[*shape, k]`` of gather and scatter."""
    if all(isinstance(column, np.ndarray) for column in columns):
        wide = any(column.dtype.itemsize > 4 for column in columns)
        stacked = np.empty((*shape, len(columns)), np.int64 if wide else np.int32)
        for i, column in enumerate(columns):
            stacked[..., i] = column
        return ArrayImpl(stacked)
    wide = any(typeof(column).dtype.itemsize > 4 for column in columns)
    parts = []
    for column in columns:
        column = convert_element_type(column, np.int64 if wide else np.int32)
        lead = len(shape) - column.ndim
        column = broadcast_in_dim(column, shape, range(lead, len(shape)))
        parts.append(expand_dims(column, len(shape)))
    return concatenate(parts, len(shape))


# ---------------------------------------------------------------- reading
def getitem(x: Array, index: Any) -> Array:
    """``x[index]``, as `Array.__getitem__`.

    Raises:
        IndexError: for an index out of range, if its numbers are known.
    """
    if type(x) is ArrayImpl and current_trace() is EVAL:
        data = x.data
        if type(data) is np.ndarray and x.committed is None:
            plain = numpy_index(index)
            if plain is not None:
                try:
                    if type(plain) is np.ndarray and plain.dtype.kind == "i":
                        out = data.take(plain, axis=0)
                    else:
                        out = data[plain]
                except (IndexError, ValueError):  # the general way has the message
                    return rewriting_take(x, index)
                return ArrayImpl(out if type(out) is np.ndarray else np.asarray(out))
    return rewriting_take(x, index)


def numpy_index(index: Any) -> Any:
    """The index in NumPy's terms if it is plain and its numbers are here, else None.

    ``None`` alone is an index too, but not plain.
    """
    kind = type(index)
    if kind is int or index is Ellipsis:
        return index
    if kind is slice:
        for end in (index.start, index.stop, index.step):
            if end is not None and type(end) is not int:
                return None
        return index
    if kind is tuple:
        items = []
        for item in index:
            if item is not None:
                item = numpy_index(item)
                if item is None:
                    return None
            items.append(item)
        return tuple(items)
    if kind is ArrayImpl:
        index = index.data
    elif not isinstance(index, (np.ndarray, np.integer)):
        return None
    return (
        index if isinstance(index, (np.ndarray, np.integer)) and index.dtype.kind in "iub" else None
    )


def rewriting_take(
    x: Any,
    index: Any,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: Any = None,
    traced_mode: str = "clip",
) -> Array:
    """``x[index]`` in terms of lax operations.

    Args:
        mode: what indices out of range give ("clip", "fill", "promise_in_bounds", "error"), after
            negative ones have been counted from the end. None: IndexError where the numbers of
            the index are known, else `traced_mode`.
        fill_value: for mode "fill".
    """
    x = operand("index", x)
    if index is Ellipsis or type(index) is tuple and not index:
        return x
    parsed = parse(x.shape, index, mode)
    x = _read_basic(x, parsed.entries)
    if parsed.advanced:
        known = all(entry.known for entry in parsed.advanced)
        if known and is_checked(mode):
            mode = "promise_in_bounds"
        x = _read_advanced(
            x,
            parsed,
            mode=gather_mode(mode, traced_mode),
            fill_value=fill_value,
            indices_are_sorted=indices_are_sorted,
            unique_indices=unique_indices,
        )
    new = [d for d, piece in enumerate(_flat_pieces(parsed)) if type(piece) is NewAxis]
    return expand_dims(x, new) if new else x


def _flat_pieces(parsed: Parsed) -> list[Any]:
    """What each dimension of the result comes from."""
    flat: list[Any] = []
    for piece in parsed.pieces:
        flat.extend([None] * len(parsed.block) if piece is None else [piece])
    return flat


def _read_basic(x: Any, entries: list[Any]) -> Any:
    """x with its slices taken, and without the dimensions of static integers."""
    starts, limits, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    backwards, dropped = [], []
    for entry in entries:
        if type(entry) is Int:
            d = entry.dim
            starts[d], limits[d] = entry.value, entry.value + 1
            dropped.append(d)
        elif type(entry) is Slice:
            d, last = entry.dim, entry.start + (entry.count - 1) * entry.step
            low, high = (last, entry.start) if entry.step < 0 else (entry.start, last)
            starts[d], limits[d], steps[d] = low, high + 1, abs(entry.step)
            if entry.count == 0:
                starts[d], limits[d] = 0, 0
            if entry.step < 0 and entry.count > 1:
                backwards.append(d)
    x = lax_slice(x, starts, limits, steps)
    if backwards:
        x = rev(x, backwards)
    return squeeze(x, tuple(dropped)) if dropped else x


def _read_advanced(x: Any, parsed: Parsed, *, mode: str, **options: Any) -> Any:
    """x, of which only sliced and advanced dimensions are left, gathered along the latter."""
    left = [e for e in parsed.entries if type(e) in (Slice, Advanced) and e.dim is not None]
    places = {d: entry for d, entry in enumerate(left) if type(entry) is Advanced}
    rank = len(parsed.block)
    if not rank and mode in ("clip", "promise_in_bounds"):
        starts = [places[d].array if d in places else 0 for d in range(x.ndim)]
        sizes = [1 if d in places else n for d, n in enumerate(x.shape)]
        if all(x.shape[d] for d in places):
            return squeeze(_window(x, starts, sizes), tuple(places))
    sliced = x.ndim - len(places)
    before = [p for p in parsed.pieces[: parsed.pieces.index(None)] if type(p) is Slice]
    lead = len(before)
    if 0 in parsed.block and not all(x.shape[d] for d in places):
        # No window is read, and none would fit: dimensions without elements are indexed.
        kept = [n for d, n in enumerate(x.shape) if d not in places]
        zero = convert_element_type(0, x.dtype)
        return broadcast_in_dim(zero, (*kept[:lead], *parsed.block, *kept[lead:]), ())
    return gather(
        x,
        index_vectors([entry.array for entry in places.values()], parsed.block),
        GatherDimensionNumbers(
            (*range(lead), *range(lead + rank, sliced + rank)), tuple(places), tuple(places)
        ),
        [1 if d in places else n for d, n in enumerate(x.shape)],
        mode=mode,
        **options,
    )


def _window(x: Any, starts: list[Any], sizes: list[int]) -> Any:
    """A dynamic_slice whose starts have been wrapped already."""
    starts = [np.int32(s) if type(s) is int else s for s in starts]
    return dynamic_slice_p.bind(x, *starts, slice_sizes=tuple(sizes))


def iterate(x: Array) -> Iterator[Array]:
    """The slices of an array along its first dimension, as `Array.__iter__`."""
    if x.ndim == 0:
        raise TypeError("iteration: an array of rank 1 or more was expected; got rank 0.")
    if type(x) is ArrayImpl and type(x.data) is np.ndarray and x.committed is None:
        return iter([ArrayImpl(np.asarray(row)) for row in x.data])
    return iter([index_in_dim(x, i, keepdims=False) for i in range(x.shape[0])])
