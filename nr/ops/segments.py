"""Sums, products and extrema of the rows that share an id: scatters into as many rows as ids."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.indexing import ScatterDimensionNumbers
from nr.lax.rules import operand
from nr.numpy.creation import known_scalar

__all__ = ["segment_max", "segment_min", "segment_prod", "segment_sum"]


def _lowest(dtype: np.dtype) -> Any:
    if dtype in dtypes.INEXACT:
        return -math.inf
    return False if dtype == np.bool_ else np.iinfo(dtype).min


def _highest(dtype: np.dtype) -> Any:
    if dtype in dtypes.INEXACT:
        return math.inf
    return True if dtype == np.bool_ else np.iinfo(dtype).max


def _reduce(
    op: str,
    scatter: Callable,
    merge: Callable,
    start: Any,
    data: Any,
    segment_ids: Any,
    num_segments: Any,
    indices_are_sorted: bool,
    unique_indices: bool,
    bucket_size: int | None,
    mode: Any,
) -> Array:
    data, ids = operand(op, data), operand(op, segment_ids)
    if ids.dtype not in dtypes.INTEGER:
        raise TypeError(f'{op}: integers were expected; got {ids.aval} for "segment_ids".')
    leading = zip(data.shape[: ids.ndim][::-1], ids.shape[::-1], strict=False)
    if any([n not in (1, m) for n, m in leading]):
        raise ValueError(
            f'{op}: the shape of "segment_ids" must be that of the leading dimensions of "data", '
            f"or these must broadcast to it; got {ids.aval} for {data.aval}."
        )
    if num_segments is None:
        count = known_scalar(op, "the largest segment id", jnp.max(ids, initial=-1)) + 1
    else:
        count = known_scalar(op, "num_segments", num_segments)
    if count < 0:
        raise ValueError(f"{op}: num_segments must not be negative; got {count}.")
    rows, row = ids.size, data.shape[ids.ndim :]
    data = jnp.broadcast_to(data, (*ids.shape, *row))
    data, ids = data.reshape(rows, *row), ids.reshape(rows)
    buckets = 1 if bucket_size is None else max(-(-rows // bucket_size), 1)
    index = ids[:, None]
    if buckets > 1:
        bucket = jnp.arange(rows, dtype=ids.dtype) // bucket_size
        index = jnp.stack([bucket, ids], axis=1)
    start = np.full((), start, data.dtype)
    lead = index.shape[1]
    out = scatter(
        lax.full((*([buckets] if lead == 2 else []), count, *row), start),
        index,
        data,
        ScatterDimensionNumbers(
            update_window_dims=tuple(range(1, data.ndim)),
            inserted_window_dims=tuple(range(lead)),
            scatter_dims_to_operand_dims=tuple(range(lead)),
        ),
        indices_are_sorted=indices_are_sorted,
        unique_indices=unique_indices,
        mode=mode,
    )
    return merge(out, axis=0) if lead == 2 else out


def segment_sum(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
) -> Array:
    """The sums of the rows of data that have the same id; zeros for ids that do not occur.

    Args:
        data: an array, whose leading dimensions are those of the ids, or 1, or left out.
        segment_ids: integers, in any order. By default those that are negative, or not less than
            num_segments, are left out.
        num_segments: how many segments there are; by default one more than the largest id, which
            must then be known: give it under jit.
        indices_are_sorted: whether the ids ascend.
        unique_indices: whether no id occurs twice.
        bucket_size: add up so many rows at a time, and then these sums: fewer rounding errors.
        mode: what to do about ids out of bounds, as in `nr.lax.scatter`.

    Returns:
        ``[num_segments, ...]``, with data's dtype.

    Raises:
        TypeError: if segment_ids are not integers.
        ValueError: if their shape does not begin that of data, or num_segments is negative.

    Example:
        >>> import nr
        >>> nr.ops.segment_sum(nr.numpy.array([5, 1, 7]), nr.numpy.array([0, 1, 0]))
        Array([12,  1], dtype=int32)
    """
    return _reduce(
        "segment_sum",
        lax.scatter_add,
        jnp.sum,
        0,
        data,
        segment_ids,
        num_segments,
        indices_are_sorted,
        unique_indices,
        bucket_size,
        mode,
    )


def segment_prod(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
) -> Array:
    """The products of rows with the same id, ones for ids that do not occur; see `segment_sum`."""
    return _reduce(
        "segment_prod",
        lax.scatter_mul,
        jnp.prod,
        1,
        data,
        segment_ids,
        num_segments,
        indices_are_sorted,
        unique_indices,
        bucket_size,
        mode,
    )


def segment_max(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
) -> Array:
    """The largest of rows with the same id, or the dtype's least number; see `segment_sum`.

    Example:
        >>> import nr
        >>> nr.ops.segment_max(nr.numpy.array([5., 1., 7.]), nr.numpy.array([0, 2, 0]))
        Array([  7., -inf,   1.], dtype=float32)
    """
    return _reduce(
        "segment_max",
        lax.scatter_max,
        jnp.max,
        _lowest(operand("segment_max", data).dtype),
        data,
        segment_ids,
        num_segments,
        indices_are_sorted,
        unique_indices,
        bucket_size,
        mode,
    )


def segment_min(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
) -> Array:
    """The least of rows with the same id, or the dtype's largest number; see `segment_sum`."""
    return _reduce(
        "segment_min",
        lax.scatter_min,
        jnp.min,
        _highest(operand("segment_min", data).dtype),
        data,
        segment_ids,
        num_segments,
        indices_are_sorted,
        unique_indices,
        bucket_size,
        mode,
    )
