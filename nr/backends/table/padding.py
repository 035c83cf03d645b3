"""Pad, crop and dilate in one copy: the shared first step of convolutions and windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._structure import Array


def place(
    xp: Any,
    x: Array,
    *,
    fill: Any,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> Array:
    """Spread the elements of an array apart and pad or crop its edges.

    Args:
        xp: the array module.
        x: an array of any rank.
        fill: the value of every new element.
        padding: one (low, high) pair a dimension; negative amounts crop.
        dilation: one step a dimension; step d leaves d - 1 new elements between neighbours.

    Returns:
        An array of the same dtype; ``x`` itself when there is nothing to do.

    Example:
        >>> import numpy as np
        >>> place(np, np.array([1, 2]), fill=0, padding=[(1, -1)], dilation=[2]).tolist()
        [0, 1, 0]
    """
    if all(step == 1 for step in dilation) and not any(lo or hi for lo, hi in padding):
        return x
    shape = placed_shape(x.shape, padding=padding, dilation=dilation)
    result = xp.full(shape, fill, x.dtype) if fill else xp.zeros(shape, x.dtype)
    source, target = placed_slices(x.shape, shape, padding=padding, dilation=dilation)
    result[target] = x[source]
    return result


def placed_shape(
    shape: Sequence[int], *, padding: Sequence[tuple[int, int]], dilation: Sequence[int]
) -> tuple[int, ...]:
    """The shape that ``place`` gives.

    Args:
        shape: the shape of the array before.
        padding: as for ``place``.
        dilation: as for ``place``.

    Returns:
        The shape after; no extent is below zero.

    Example:
        >>> placed_shape((3,), padding=[(1, 1)], dilation=[2])
        (7,)
    """
    return tuple(
        max(0, lo + hi + (size - 1) * step + 1 if size else lo + hi)
        for size, (lo, hi), step in zip(shape, padding, dilation, strict=True)
    )


def placed_slices(
    shape: Sequence[int],
    result_shape: Sequence[int],
    *,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Which elements survive ``place``, and where they land.

    Args:
        shape: the shape of the array before.
        result_shape: the shape after.
        padding: as for ``place``.
        dilation: as for ``place``.

    Returns:
        The slices of the array before and the matching slices of the array after.

    Example:
        >>> placed_slices((3,), (3,), padding=[(-1, 1)], dilation=[1])
        ((slice(1, 3, None),), (slice(0, 2, 1),))
    """
    source, target = [], []
    for size, extent, (lo, _), step in zip(shape, result_shape, padding, dilation, strict=True):
        first = max(0, -(lo // step))  # the first element with lo + element * step >= 0
        last = min(size, (extent - 1 - lo) // step + 1)
        count = max(0, last - first)
        start = lo + first * step if count else 0
        source.append(slice(first, first + count))
        target.append(slice(start, start + (count - 1) * step + 1 if count else start, step))
    return tuple(source), tuple(target)


def window_extent(size: int, window: int, dilation: int, stride: int) -> int:
    """How many windows fit in a dimension.

    Args:
        size: the extent of the padded dimension.
        window: the number of elements in a window.
        dilation: the distance between the elements of a window.
        stride: the distance between windows.

    Returns:
        The extent of the result.

    Example:
        >>> window_extent(7, 3, 1, 2)
        3
    """
    reach = (window - 1) * dilation + 1
    return max(0, (size - reach) // stride + 1)
