"""`unfold` and `fold`: windows over space laid out, and summed back; channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.rules import operand
from nr.nn.padding import pad
from nr.nn.spatial import (
    IntOrInts,
    Ints,
    PaddingLike,
    Pairs,
    each,
    explicit,
    extents,
    padding_of,
    shape_text,
    space_of,
    spread,
)
from nr.numpy.manipulation import take_static

__all__ = ["fold", "unfold"]


def unfold(
    x: Any,
    window: Sequence[int],
    *,
    stride: IntOrInts = 1,
    padding: PaddingLike = "VALID",
    dilation: IntOrInts = 1,
) -> Array:
    """The windows over space ("im2col").

    PyTorch's ``Unfold`` (images only) has [N, C * h * w, windows]: exchange and merge axes.

    Args:
        x: [..., *space, C].
        window: extents, one a spatial dimension; their number is the rank.
        stride: distance of windows, an int or one for each dimension.
        padding: "VALID" (none), "SAME", "SAME_LOWER", an int for all sides, or ints or
            (low, high) pairs for each dimension; with zeros.
        dilation: distance of a window's elements, an int or one for each dimension.

    Returns:
        [..., *windows, *window, C].

    Raises:
        TypeError: x has too few dimensions, or the window does not fit into it.
        ValueError: for an int as window, and for options that don't fit.

    Example:
        >>> import nr
        >>> images = nr.numpy.ones((8, 224, 224, 3))
        >>> nr.nn.unfold(images, (16, 16), stride=16).shape
        (8, 14, 14, 16, 16, 3)
    """
    op = "unfold"
    x = operand(op, x)
    window = extents(op, "window", window)
    rank = len(window)
    space = space_of(op, x, rank)
    stride, pads, dilation = _lie(op, space, window, stride, padding, dilation)
    x = pad(x, pads) if any([p != (0, 0) for p in pads]) else x
    first = x.ndim - 1 - rank
    for d in range(rank):
        axis = first + 2 * d
        places = _places(op, x.shape[axis], window[d], stride[d], dilation[d])
        if places.size != x.shape[axis] or stride[d] != window[d]:  # else it is all of x
            x = take_static(x, places.reshape(-1), axis)
        x = x.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
    order = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
    return x.transpose(*range(first), *[first + d for d in order], x.ndim - 1)


def fold(
    y: Any,
    output_size: Sequence[int],
    *,
    stride: IntOrInts = 1,
    padding: PaddingLike = "VALID",
    dilation: IntOrInts = 1,
) -> Array:
    """Windows added up where they lie: the transpose (the gradient) of `unfold`.

    Args:
        y: [..., *windows, *window, C].
        output_size: the extents of space; their number is the rank.
        stride, padding, dilation: those of `unfold`.

    Returns:
        [..., *output_size, C].

    Raises:
        TypeError: y does not have the windows that `unfold` would give.
        ValueError: for an int as output_size, and for options that don't fit.

    Example:
        >>> import nr
        >>> y = nr.nn.unfold(nr.numpy.ones((4, 1)), (2,))  # windows 0-1, 1-2, 2-3
        >>> nr.nn.fold(y, (4,))[:, 0]
        Array([1., 2., 2., 1.], dtype=float32)
    """
    op = "fold"
    y = operand(op, y)
    sizes = extents(op, "output_size", output_size)
    rank = len(sizes)
    first = y.ndim - 1 - 2 * rank
    window = y.shape[first + rank : -1]
    if first < 0 or not all(window):
        raise TypeError(
            f"{op}: {shape_text(['*windows', '*window', 'C'])} of rank {2 * rank + 1} or more "
            f'was required for output_size {sizes}; got {y.aval} for "y".'
        )
    stride, pads, dilation = _lie(op, sizes, window, stride, padding, dilation)
    padded = [n + lo + hi for n, (lo, hi) in zip(sizes, pads)]
    places = [_places(op, *each_of) for each_of in zip(padded, window, stride, dilation)]
    windows = tuple([len(p) for p in places])
    if y.shape[first : first + rank] != windows:
        raise TypeError(
            f"{op}: {shape_text([*windows, *window, 'C'])} was required for output_size {sizes}; "
            f'got {y.aval} for "y".'
        )
    y = y.transpose(
        *range(first),
        *[first + d + side for d in range(rank) for side in (0, rank)],
        y.ndim - 1,
    )
    for d in reversed(range(rank)):
        axis = first + 2 * d
        y = y.reshape(*y.shape[:axis], places[d].size, *y.shape[axis + 2 :])
        if places[d].size != padded[d] or stride[d] != window[d]:
            zeros = jnp.zeros((*y.shape[:axis], padded[d], *y.shape[axis + 1 :]), y.dtype)
            y = zeros.at[(slice(None),) * axis + (places[d].reshape(-1),)].add(y)
    return pad(y, [(-lo, -hi) for lo, hi in pads]) if any([p != (0, 0) for p in pads]) else y


def _lie(
    op: str, space: Ints, window: Ints, stride: Any, padding: Any, dilation: Any
) -> tuple[Ints, Pairs, Ints]:
    rank = len(window)
    stride = each(op, "stride", stride, rank)
    dilation = each(op, "dilation", dilation, rank)
    pads = explicit(padding_of(op, padding, rank), space, spread(window, dilation), stride)
    return stride, pads, dilation


def _places(op: str, size: int, window: int, stride: int, dilation: int) -> np.ndarray:
    """Where windows lie in a padded dimension: [windows, window]."""
    (reach,) = spread((window,), (dilation,))
    if size < reach:
        raise TypeError(
            f"{op}: space of at least the window's extent, {reach}, was required; got {size} with "
            f"padding. Pad more."
        )
    starts = np.arange(0, size - reach + 1, stride)
    return starts[:, None] + np.arange(window) * dilation
