"""Convolutions: strided windows gathered into a matrix (im2col), then one batched matmul.

Depthwise convolutions have too little work per window for a matmul; they add one tap at a time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._structure import Array
from .dot import matmul, working_dtype
from .padding import place, window_extent

_PATCH_BYTES = 64 << 20  # what the gathered windows may take at a time
_MOST_TAPS = 128  # above this a loop over taps loses to a matmul with one row a group


def rows(xp: Any) -> dict[str, Callable[..., Array]]:
    """The convolution row of the kernel table.

    Args:
        xp: the array module, ``numpy`` or ``cupy``.

    Returns:
        A dict with the one entry ``conv_general_dilated``.

    Example:
        >>> sorted(rows(np))
        ['conv_general_dilated']
    """

    def conv_general_dilated(
        lhs: Array,
        rhs: Array,
        *,
        window_strides: Sequence[int],
        padding: Sequence[tuple[int, int]],
        lhs_dilation: Sequence[int],
        rhs_dilation: Sequence[int],
        dimension_numbers: Any,
        feature_group_count: int = 1,
        batch_group_count: int = 1,
        preferred_element_type: Any = None,
        **_: Any,
    ) -> Array:
        out_dtype = lhs.dtype
        if preferred_element_type is not None:
            out_dtype = np.dtype(preferred_element_type)
        work = working_dtype(lhs.dtype, out_dtype)
        # Canonical order is (batch, feature, *space); these are views, the memory stays put.
        lhs = lhs.astype(work, copy=False).transpose(dimension_numbers.lhs_spec)
        rhs = rhs.astype(work, copy=False).transpose(dimension_numbers.rhs_spec)
        groups = feature_group_count
        if batch_group_count > 1:
            lhs = _batch_groups_to_features(lhs, batch_group_count)
            groups = batch_group_count
        lhs = place(
            xp, lhs, fill=0, padding=((0, 0), (0, 0), *padding), dilation=(1, 1, *lhs_dilation)
        )
        space = tuple(
            window_extent(size, taps, dilation, stride)
            for size, taps, dilation, stride in zip(
                lhs.shape[2:], rhs.shape[2:], rhs_dilation, window_strides, strict=True
            )
        )
        out_spec = tuple(dimension_numbers.out_spec)
        features_last = len(space) > 0 and out_spec[1] == len(out_spec) - 1
        if 0 in space or lhs.size == 0 or rhs.size == 0:
            result = xp.zeros((lhs.shape[0], rhs.shape[0], *space), work)
        elif groups > 1 and rhs.shape[1] == 1 and math.prod(rhs.shape[2:]) <= _MOST_TAPS:
            taps = _taps(rhs.shape[2:], space, rhs_dilation, window_strides)
            result = _depthwise(xp, lhs, rhs, groups, taps, space)
        else:
            windows = _windows(xp, lhs, rhs.shape[2:], space, rhs_dilation, window_strides)
            gathered = _features_last_product if features_last else _features_first_product
            result = gathered(xp, windows, rhs, groups, len(space))
        result = result.transpose(_inverse(out_spec))
        return result if result.dtype == out_dtype else result.astype(out_dtype)

    return {"conv_general_dilated": conv_general_dilated}


def _inverse(permutation: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def _batch_groups_to_features(lhs: Array, groups: int) -> Array:
    # Group g of the batch meets group g of the output features only, so the groups can stand
    # side by side as feature groups over a batch that is `groups` times smaller.
    batch, features, *space = lhs.shape
    split = lhs.reshape((groups, batch // groups, features, *space)).swapaxes(0, 1)
    return split.reshape((batch // groups, groups * features, *space))


def _taps(
    window: Sequence[int], space: Sequence[int], dilation: Sequence[int], strides: Sequence[int]
) -> list[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each position in the window, with the slices of the elements it meets."""
    return [
        (
            position,
            tuple(
                slice(k * d, k * d + (n - 1) * s + 1, s)
                for k, n, d, s in zip(position, space, dilation, strides, strict=True)
            ),
        )
        for position in itertools.product(*map(range, window))
    ]


def _depthwise(
    xp: Any,
    lhs: Array,
    rhs: Array,
    groups: int,
    taps: list[tuple[tuple[int, ...], tuple[slice, ...]]],
    space: tuple[int, ...],
) -> Array:
    batch, multiplier, rank = lhs.shape[0], rhs.shape[0] // groups, len(space)
    lhs = lhs[:, :, None]
    rhs = rhs.reshape((1, groups, multiplier, *rhs.shape[2:]) + (1,) * rank)
    total: Any = None
    product: Any = None
    for position, window in taps:
        weights = rhs[(slice(None),) * 3 + position]
        elements = lhs[(slice(None),) * 3 + window]
        if total is None:
            total = xp.multiply(elements, weights)
            product = xp.empty_like(total)
        else:
            total += xp.multiply(elements, weights, product)
    return total.reshape((batch, groups * multiplier, *space))


def _windows(
    xp: Any,
    lhs: Array,
    window: Sequence[int],
    space: Sequence[int],
    dilation: Sequence[int],
    strides: Sequence[int],
) -> Array:
    """A view of shape (batch, feature, *space, *window)."""
    steps = lhs.strides[2:]
    return xp.lib.stride_tricks.as_strided(
        lhs,
        (*lhs.shape[:2], *space, *window),
        (
            *lhs.strides[:2],
            *(step * s for step, s in zip(steps, strides, strict=True)),
            *(step * d for step, d in zip(steps, dilation, strict=True)),
        ),
    )


def _chunks(batch: int, bytes_each: int) -> list[slice]:
    count = max(1, _PATCH_BYTES // max(1, bytes_each))
    return [slice(start, min(start + count, batch)) for start in range(0, batch, count)]


def _gather(xp: Any, windows: Array, buffer: Array | None) -> tuple[Array, Array | None]:
    """The windows as a contiguous array, without a copy where they are one already."""
    if windows.flags.c_contiguous:
        return windows, buffer
    if buffer is None:
        buffer = xp.empty(windows.shape, windows.dtype)
    part = buffer[: windows.shape[0]]
    part[...] = windows
    return part, buffer


def _features_first_product(xp: Any, windows: Array, rhs: Array, groups: int, rank: int) -> Array:
    batch, features = windows.shape[:2]
    space, taps = windows.shape[2 : 2 + rank], windows.shape[2 + rank :]
    points, depth = math.prod(space), features // groups * math.prod(taps)
    order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    windows = windows.transpose(order)
    weights = rhs.reshape((groups, rhs.shape[0] // groups, depth))
    result = xp.empty((batch, groups, weights.shape[1], points), windows.dtype)
    buffer = None
    for part in _chunks(batch, features * math.prod(taps) * points * windows.dtype.itemsize):
        patches, buffer = _gather(xp, windows[part], buffer)
        patches = patches.reshape((patches.shape[0], groups, depth, points))
        matmul(xp, weights, patches, result[part])
    return result.reshape((batch, rhs.shape[0], *space))


def _features_last_product(xp: Any, windows: Array, rhs: Array, groups: int, rank: int) -> Array:
    batch, features = windows.shape[:2]
    space, taps = windows.shape[2 : 2 + rank], windows.shape[2 + rank :]
    points, inner = math.prod(space), features // groups
    depth = inner * math.prod(taps)
    windows = windows.transpose((0, *range(2, 2 + 2 * rank), 1))
    weights = rhs.reshape((groups, rhs.shape[0] // groups, *rhs.shape[1:]))
    weights = weights.transpose((0, *range(3, 3 + rank), 2, 1)).reshape((groups, depth, -1))
    result = xp.empty((batch * points, groups, weights.shape[2]), windows.dtype)
    buffer = None
    for part in _chunks(batch, features * math.prod(taps) * points * windows.dtype.itemsize):
        patches, buffer = _gather(xp, windows[part], buffer)
        target = result[part.start * points : part.stop * points].swapaxes(0, 1)
        patches = patches.reshape((target.shape[1], math.prod(taps), groups, inner))
        patches = patches.transpose((2, 0, 1, 3)).reshape((groups, target.shape[1], depth))
        matmul(xp, patches, weights, target)
    result = result.reshape((batch, *space, rhs.shape[0]))
    return result.transpose((0, rank + 1, *range(1, rank + 1)))
