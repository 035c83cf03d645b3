"""Element rules of what moves elements: broadcasts, transposes, slices, pads, concatenation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nr.backends.compiler import expr as e
from nr.backends.compiler.index import ZERO, Index, index_of, reindexed
from nr.backends.compiler.lowering.rules import (
    Value,
    choose,
    constant,
    element,
    from_index,
    in_range,
    register,
    storage,
    to_index,
)


@element("broadcast_in_dim", cost=0)
def _broadcast_in_dim(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    shape = eqn.invars[0].aval.shape
    places = eqn.params["broadcast_dimensions"]
    return read(
        0, tuple([ZERO if n == 1 else index[d] for n, d in zip(shape, places, strict=True)])
    )


@element("reshape", cost=0)
def _reshape(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    return read(0, reindexed(index, eqn.outvars[0].aval.shape, eqn.invars[0].aval.shape))


@element("squeeze", cost=0)
def _squeeze(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    rank = len(eqn.invars[0].aval.shape)
    dropped = {d % rank for d in eqn.params["dimensions"]}
    rest = iter(index)
    return read(0, tuple([ZERO if d in dropped else next(rest) for d in range(rank)]))


@element("transpose", cost=0)
def _transpose(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    permutation = eqn.params["permutation"]
    places: list[Any] = [None] * len(permutation)
    for place, d in zip(index, permutation, strict=True):
        places[d] = place
    return read(0, tuple(places))


@element("slice", cost=0)
def _slice(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    starts = eqn.params["start_indices"]
    strides = eqn.params["strides"] or (1,) * len(starts)
    return read(0, tuple([i * s + b for i, b, s in zip(index, starts, strides, strict=True)]))


@element("rev", cost=0)
def _rev(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    shape = eqn.outvars[0].aval.shape
    flipped = {d % len(shape) for d in eqn.params["dimensions"]}
    places = enumerate(zip(index, shape, strict=True))
    return read(0, tuple([(n - 1) - i if d in flipped else i for d, (i, n) in places]))


@element("iota", cost=0)
def _iota(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    aval = eqn.outvars[0].aval
    value = from_index(index[eqn.params["dimension"]], register(aval))
    if storage(aval.dtype) in ("c64", "c128"):
        return e.Complex(value, e.const(0, value.dtype))
    return value


@element("concatenate", cost=1)
def _concatenate(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    d = eqn.params["dimension"]
    place, start = index[d], 0
    bounds = place.range()
    result = None
    for k, piece in enumerate(eqn.invars):
        extent = piece.aval.shape[d]
        stop = start + extent
        if extent and (bounds is None or (bounds[0] < stop and bounds[1] >= start)):
            guard = in_range(place, start, stop)
            at = (*index[:d], place - start, *index[d + 1 :])
            value = read(k, at, guard=guard)
            inside = in_range(place, start, 1 << 62)
            result = value if result is None else choose(inside, value, result)
        start = stop
    # Outside of all pieces: a guard further out keeps it from being used.
    return constant(0, eqn.outvars[0].aval) if result is None else result


def _and(a: e.Expr | None, b: e.Expr | None) -> e.Expr | None:
    """Both conditions, None being one that always holds."""
    if a is None or b is None:
        return b if a is None else a
    return a & b


@element("pad", cost=1)
def _pad(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    shape = eqn.invars[0].aval.shape
    if 0 in shape:
        return read(1, ())
    guard, at = None, []
    for i, n, (low, _, interior) in zip(index, shape, eqn.params["padding_config"], strict=True):
        place, step = i - low, interior + 1
        guard = _and(guard, in_range(place, 0, (n - 1) * step + 1))
        if interior:
            # Whole steps are added, so that what is divided is not negative.
            before = -(-low // step)
            shifted = place + step * before
            guard = _and(guard, e.eq(from_index(shifted % step, "i64"), 0))
            place = shifted // step - before
        at.append(place)
    fill = read(1, ())
    return choose(guard, read(0, tuple(at), guard=guard), fill)


def _start(value: e.Expr, extent: int, size: int) -> Index:
    """The start of a window, moved so that the window is inside."""
    last = max(extent - size, 0)
    if last == 0:
        return ZERO
    start = to_index(value)
    bounds = start.range()
    if bounds is not None and bounds[0] >= 0 and bounds[1] <= last:
        return start
    wide = e.convert(value, "i64") if value.dtype != "u64" else value
    if wide.dtype != "u64":
        wide = e.maximum(wide, 0)
    return to_index(e.minimum(wide, last))


@element("dynamic_slice", cost=1)
def _dynamic_slice(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    shape, sizes = eqn.invars[0].aval.shape, eqn.params["slice_sizes"]
    starts = [
        _start(read(k + 1, ()), n, s) for k, (n, s) in enumerate(zip(shape, sizes, strict=True))
    ]
    return read(0, tuple([i + b for i, b in zip(index, starts, strict=True)]))


@element("dynamic_update_slice", cost=2)
def _dynamic_update_slice(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    shape, sizes = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape
    guard, at = None, []
    for d, (i, n, s) in enumerate(zip(index, shape, sizes, strict=True)):
        place = i - _start(read(d + 2, ()), n, s)
        guard = _and(guard, in_range(place, 0, s))
        at.append(place)
    return choose(guard, read(1, tuple(at), guard=guard), read(0, index))


def _mode(eqn: Any) -> str:
    """What happens to indices outside of the operand: e.g. "clip" or "fill_or_drop"."""
    mode = eqn.params["mode"]
    return getattr(mode, "name", str(mode)).lower()


@element("gather", cost=3, supports=lambda eqn: _mode(eqn) != "error")
def _gather(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    dims, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    shape, places_shape = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape
    window = iter([index[d] for d in dims.offset_dims])
    batch = [index[d] for d in range(len(index)) if d not in dims.offset_dims]
    gone = {*dims.collapsed_slice_dims, *dims.operand_batching_dims}
    at = [ZERO if d in gone else next(window) for d in range(len(shape))]
    for d, b in zip(dims.operand_batching_dims, dims.start_indices_batching_dims, strict=True):
        at[d] = batch[b]
    fills = "fill" in _mode(eqn)
    guard = None
    for k, d in enumerate(dims.start_index_map):
        component = index_of(k) if places_shape[-1] > 1 else ZERO
        value = read(1, (*batch, component))
        if fills:
            start = to_index(value)
            guard = _and(guard, in_range(start, 0, shape[d] - sizes[d] + 1))
        else:
            start = _start(value, shape[d], sizes[d])
        at[d] = at[d] + start
    if guard is None:
        return read(0, tuple(at))
    return choose(guard, read(0, tuple(at), guard=guard), _fill(eqn))


def _fill(eqn: Any) -> Value:
    """What a gather gives for what is outside, by default: the least integer, the greatest of
    unsigned ones, NaN."""
    aval, value = eqn.outvars[0].aval, eqn.params.get("fill_value")
    if value is None:
        kind = np.dtype(aval.dtype).kind
        if kind == "i":
            value = np.iinfo(aval.dtype).min
        elif kind == "u":
            value = np.iinfo(aval.dtype).max
        else:
            value = True if kind == "b" else np.nan
    return constant(value, aval)
