"""Windowed reductions and the pooling gradients, one vectorized pass for each tap of the window."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ._structure import Array, highest, lowest, narrow, widen
from .padding import place, placed_slices, window_extent


def rows(xp: Any) -> dict[str, Callable[..., Array]]:
    """The window rows of the kernel table.

    Args:
        xp: the array module, ``numpy`` or ``cupy``.

    Returns:
        A dict from primitive name to a function of raw arrays.

    Example:
        >>> rows(np)["reduce_window_max"](
        ...     np.array([1, 3, 2]),
        ...     window_dimensions=(2,),
        ...     window_strides=(1,),
        ...     padding=((0, 0),),
        ...     base_dilation=(1,),
        ...     window_dilation=(1,),
        ... ).tolist()
        [3, 3]
    """

    def reducer(combine: Callable[..., Array], identity: Callable[[Any], Any]):
        def reduce_window(
            x: Array,
            *,
            window_dimensions: Sequence[int],
            window_strides: Sequence[int],
            padding: Sequence[tuple[int, int]],
            base_dilation: Sequence[int],
            window_dilation: Sequence[int],
        ) -> Array:
            wide = widen(x)
            fill = identity(wide.dtype)
            wide = place(xp, wide, fill=fill, padding=padding, dilation=base_dilation)
            # A box window is a window along each dimension in turn.
            for axis, (window, stride, dilation) in enumerate(
                zip(window_dimensions, window_strides, window_dilation, strict=True)
            ):
                if window > 1 or stride > 1:
                    wide = _reduce_along(wide, axis, window, stride, dilation, combine)
            return narrow(wide, x.dtype)

        return reduce_window

    def select_and_scatter_add(
        source: Array,
        operand: Array,
        *,
        select_prim: str,
        window_dimensions: Sequence[int],
        window_strides: Sequence[int],
        padding: Sequence[tuple[int, int]],
    ) -> Array:
        ones = (1,) * operand.ndim
        padded, inside = _padded(xp, operand, padding, ones)
        taps = list(_taps(padded.shape, window_dimensions, window_strides, ones))
        selected = xp.full(source.shape, -1, np.int32)
        for tap, taken in _selections(xp, padded, inside, taps, select_prim):
            xp.copyto(selected, np.int32(tap), where=taken)
        wide = widen(source)
        total = xp.zeros(padded.shape, wide.dtype)
        for tap, window in enumerate(taps):
            total[window] += xp.where(selected == tap, wide, wide.dtype.type(0))
        kept, landed = placed_slices(operand.shape, padded.shape, padding=padding, dilation=ones)
        result = xp.zeros(operand.shape, wide.dtype)
        result[kept] = total[landed]
        return narrow(result, source.dtype)

    def select_and_gather_add(
        tangents: Array,
        operand: Array,
        *,
        select_prim: str,
        window_dimensions: Sequence[int],
        window_strides: Sequence[int],
        padding: Sequence[tuple[int, int]],
        base_dilation: Sequence[int],
        window_dilation: Sequence[int],
    ) -> Array:
        padded, inside = _padded(xp, operand, padding, base_dilation)
        tangents = place(xp, tangents, fill=0, padding=padding, dilation=base_dilation)
        taps = list(_taps(padded.shape, window_dimensions, window_strides, window_dilation))
        result = xp.zeros_like(tangents[taps[0]])
        for tap, taken in _selections(xp, padded, inside, taps, select_prim):
            xp.copyto(result, tangents[taps[tap]], where=taken)
        return result

    return {
        "reduce_window_sum": reducer(xp.add, lambda dtype: dtype.type(0)),
        "reduce_window_max": reducer(xp.maximum, lowest),
        "reduce_window_min": reducer(xp.minimum, highest),
        "select_and_scatter_add": select_and_scatter_add,
        "select_and_gather_add": select_and_gather_add,
    }


def _reduce_along(
    x: Array,
    axis: int,
    window: int,
    stride: int,
    dilation: int,
    combine: Callable[..., Array],
) -> Array:
    extent = window_extent(x.shape[axis], window, dilation, stride)
    lead = (slice(None),) * axis

    def tap(position: int) -> Array:
        start = position * dilation
        stop = start + (extent - 1) * stride + 1 if extent else start
        return x[(*lead, slice(start, stop, stride))]

    if window == 1:
        return tap(0)
    total = combine(tap(0), tap(1))
    for position in range(2, window):
        combine(total, tap(position), out=total)
    return total


def _padded(
    xp: Any, x: Array, padding: Sequence[tuple[int, int]], dilation: Sequence[int]
) -> tuple[Array, Array | None]:
    """The padded operand, and where it holds an element of the operand (None for everywhere)."""
    padded = place(xp, x, fill=0, padding=padding, dilation=dilation)
    if all(step == 1 for step in dilation) and not any(lo > 0 or hi > 0 for lo, hi in padding):
        return padded, None
    everywhere = xp.ones(x.shape, np.bool_)
    return padded, place(xp, everywhere, fill=0, padding=padding, dilation=dilation)


def _taps(
    shape: Sequence[int], window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Iterator[tuple[slice, ...]]:
    """For each position in the window, the slices of the elements it meets, in row-major order."""
    extents = tuple(map(window_extent, shape, window, dilation, strides))
    for position in itertools.product(*map(range, window)):
        yield tuple(
            slice(k * d, k * d + (n - 1) * s + 1 if n else k * d, s)
            for k, n, d, s in zip(position, extents, dilation, strides, strict=True)
        )


def _selections(
    xp: Any,
    operand: Array,
    inside: Array | None,
    taps: list[tuple[slice, ...]],
    select_prim: str,
) -> Iterator[tuple[int, Array]]:
    """Walk the taps; yield each with the windows in which it displaces the choice so far.

    As in XLA, padding is never a choice, the first element inside a window is chosen first, and a
    later one displaces it unless ``chosen select_prim later`` holds (so a NaN is displaced).
    """
    prefers = {"ge": xp.greater_equal, "le": xp.less_equal}[select_prim]
    best = operand[taps[0]].copy()
    started: Any = None if inside is None else inside[taps[0]].copy()
    yield 0, xp.ones(best.shape, np.bool_) if started is None else started
    for tap, window in enumerate(taps[1:], 1):
        taken = ~prefers(best, operand[window])
        if inside is not None:
            taken |= ~started
            taken &= inside[window]
            started |= taken
        xp.copyto(best, operand[window], where=taken)
        yield tap, taken
