"""Gather: slices of an array, read from places that an array of indices gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, Zero
from nr.core.tracing import Primitive, typeof
from nr.lax.elementwise import add, lt
from nr.lax.indexing import (
    GatherDimensionNumbers,
    GatherScatterMode,
    as_tuples,
    check_batching,
    check_dims,
    check_indices,
    gather_mode,
    scatter_mode,
    shifted,
    to_scatter,
)
from nr.lax.rules import (
    canonical_axis,
    const_like,
    move_dim,
    zero_tangent,
    zeros_of,
)
from nr.lax.rules import (
    operand as to_operand,
)
from nr.lax.select import select
from nr.lax.shape import canonical_shape, concatenate, expand_dims


# ---------------------------------------------------------------- gather
def _gather_aval(
    x: ShapedArray,
    indices: ShapedArray,
    *,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: tuple[int, ...],
    **params: Any,
) -> ShapedArray:
    dims = dimension_numbers
    check_indices("gather", indices, len(dims.start_index_map), "start_index_map")
    if len(slice_sizes) != x.ndim or any(
        not 0 <= size <= n for size, n in zip(slice_sizes, x.shape, strict=True)
    ):
        raise TypeError(
            f"gather: slice_sizes must have an entry a dimension of the operand, none larger "
            f"than its extent; got {slice_sizes} for {x}."
        )
    check_dims("gather", "collapsed_slice_dims", dims.collapsed_slice_dims, x.ndim)
    check_dims("gather", "start_index_map", dims.start_index_map, x.ndim, ordered=False)
    check_batching(
        "gather",
        x,
        indices,
        dims.operand_batching_dims,
        dims.start_indices_batching_dims,
        (*dims.collapsed_slice_dims, *dims.start_index_map),
    )
    dropped = {*dims.collapsed_slice_dims, *dims.operand_batching_dims}
    if any(slice_sizes[d] > 1 for d in dropped):
        raise TypeError(
            f"gather: slice sizes must be 1 along collapsed and batching dimensions "
            f"{tuple(sorted(dropped))}; got {slice_sizes} for {x}."
        )
    window = [size for d, size in enumerate(slice_sizes) if d not in dropped]
    rank = indices.ndim - 1 + len(window)
    check_dims("gather", "offset_dims", dims.offset_dims, rank)
    if len(dims.offset_dims) != len(window):
        raise TypeError(
            f"gather: offset_dims must name the {len(window)} dimensions of a slice; got "
            f"{dims.offset_dims} for slice sizes {slice_sizes} without dimensions "
            f"{tuple(sorted(dropped))}."
        )
    extents, places = iter(window), iter(indices.shape[:-1])
    return ShapedArray(
        [next(extents) if d in dims.offset_dims else next(places) for d in range(rank)], x.dtype
    )


def _gather_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
    out = gather_p.bind(*primals, **params)
    if type(tangents[0]) is Zero:
        return out, zero_tangent(out)
    # a fill value does not depend on the operand
    return out, gather_p.bind(tangents[0], primals[1], **{**params, "fill_value": 0})


def _gather_transpose(
    ct: Any,
    x: Any,
    indices: Any,
    *,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: tuple[int, ...],
    unique_indices: bool,
    indices_are_sorted: bool,
    mode: str,
    fill_value: Any,
) -> list[Any]:
    ct_x = Primitive.all["scatter_add"].bind(
        zeros_of(x.aval),
        indices,
        ct,
        dimension_numbers=to_scatter(dimension_numbers),
        unique_indices=unique_indices,
        indices_are_sorted=indices_are_sorted,
        mode=scatter_mode(mode),
    )
    return [ct_x, None]


def _gather_batch(
    axis: Any,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: tuple[int, ...],
    indices_are_sorted: bool,
    **params: Any,
) -> Any:
    (x, indices), (x_dim, i_dim) = args, dims
    old = dimension_numbers
    if axis.size == 0 and x_dim is not None and i_dim is not None:
        # no lane is there for a slice of one lane to lie in
        lanes = [
            ShapedArray(a.shape[:d] + a.shape[d + 1 :], a.dtype)
            for a, d in ((typeof(x), x_dim), (typeof(indices), i_dim))
        ]
        lane = _gather_aval(*lanes, dimension_numbers=old, slice_sizes=slice_sizes)
        return zeros_of(lane.update(shape=(0, *lane.shape))), 0
    offset = shifted(old.offset_dims)
    collapsed, index_map = old.collapsed_slice_dims, old.start_index_map
    x_batching, i_batching = old.operand_batching_dims, old.start_indices_batching_dims
    if x_dim is not None:
        x = move_dim(x, x_dim, 0)
        collapsed, index_map, x_batching = map(shifted, (collapsed, index_map, x_batching))
        slice_sizes = (axis.size if i_dim is None else 1, *slice_sizes)
    if i_dim is None:  # every slice reaches through the batch
        offset = (0, *offset)
    else:
        indices = move_dim(indices, i_dim, 0)
        i_batching = shifted(i_batching)
        if x_dim is not None:
            x_batching, i_batching = (0, *x_batching), (0, *i_batching)
    out = gather_p.bind(
        x,
        indices,
        dimension_numbers=GatherDimensionNumbers(
            offset, collapsed, index_map, x_batching, i_batching
        ),
        slice_sizes=slice_sizes,
        indices_are_sorted=indices_are_sorted and i_dim is None,
        **params,
    )
    return out, 0


gather_p = Primitive(
    "gather",
    abstract_eval=_gather_aval,
    jvp=_gather_jvp,
    transpose=_gather_transpose,
    batch=_gather_batch,
)


def gather(
    operand: Any,  # noqa: A002 - JAX's argument name
    start_indices: Any,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: Any = None,
) -> Array:
    """Slices of the operand, of one size, starting where the indices say.

    Args:
        operand: the array that is read.
        start_indices: integers ``[..., k]``: vectors of k start positions.
        dimension_numbers: how the dimensions belong together.
        slice_sizes: the extent of a slice along each dimension of the operand.
        unique_indices: promise that no two slices overlap.
        indices_are_sorted: promise that the indices are sorted.
        mode: what out-of-bounds slices give: "clip" (the default) moves them inside, "fill" gives
            `fill_value`, "error" raises IndexError, "promise_in_bounds" says there are none.
        fill_value: for mode "fill"; by default NaN, the least signed or greatest unsigned integer,
            or True.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([10, 11, 12])
        >>> dims = nr.lax.GatherDimensionNumbers((), (0,), (0,))
        >>> nr.lax.gather(x, nr.numpy.array([[2], [0]]), dims, (1,))
        Array([12, 10], dtype=int32)
    """
    x, indices = to_operand("gather", operand), to_operand("gather", start_indices)
    mode = gather_mode(mode)
    params = {
        "dimension_numbers": as_tuples(dimension_numbers),
        "slice_sizes": canonical_shape("gather", slice_sizes),
        "unique_indices": bool(unique_indices),
        "indices_are_sorted": bool(indices_are_sorted),
        "mode": mode,
        "fill_value": _static_fill(fill_value) if mode == "fill" else None,
    }
    # NumPy would take much of what does not fit, and give something else.
    _gather_aval(x.aval, indices.aval, **params)
    return gather_p.bind(x, indices, **params)


def _static_fill(value: Any) -> Any:
    """A fill value as a Python scalar, so that it can be a parameter."""
    if value is None or type(value) in (bool, int, float, complex):
        return value
    return np.asarray(value).item()


def wrap_negative(indices: Any, extent: int) -> Any:
    """Traced indices with those below 0 counted from the end."""
    if typeof(indices).dtype in dtypes.UNSIGNED:
        return indices
    from_end = add(indices, const_like(indices, extent))
    return select(lt(indices, const_like(indices, 0)), from_end, indices)


def gather_along(x: Any, indices: Any, axis: int) -> Array:
    """Elements of x picked along an axis, in each line of it by the same line of the indices.

    Args:
        x: array.
        indices: integers in bounds (this is not checked), of x's shape except along the axis.
        axis: the axis that the indices are positions on.

    Example:
        >>> import nr
        >>> from nr.lax.gather import gather_along
        >>> gather_along(nr.numpy.array([[1, 2], [3, 4]]), nr.numpy.array([[1], [0]]), 1)
        Array([[2],
               [3]], dtype=int32)
    """
    rank = typeof(x).ndim
    axis = canonical_axis("gather_along", axis, rank)
    others = tuple([d for d in range(rank) if d != axis])
    return gather(
        x,
        expand_dims(indices, rank),
        GatherDimensionNumbers((), (axis,), (axis,), others, others),
        tuple([min(n, 1) for n in typeof(x).shape]),
        mode="promise_in_bounds",
    )


def index_take(src: Any, idxs: Sequence[Any], axes: Sequence[int]) -> Array:
    """The slices of src at the points whose coordinates along some axes rank-1 arrays give.

    Args:
        src: array.
        idxs: a rank-1 integer array an axis, of one length n; negative ones count from the end.
        axes: axes of src.

    Returns:
        An array ``[n, ...]`` with the other axes of src.
    """
    src = to_operand("index_take", src)
    axes = tuple([canonical_axis("index_take", axis, src.ndim) for axis in axes])
    columns = [wrap_negative(to_operand("index_take", i), src.shape[a]) for i, a in zip(idxs, axes)]
    indices = concatenate([expand_dims(c, 1) for c in columns], 1)
    return gather(
        src,
        indices,
        GatherDimensionNumbers(
            tuple(range(1, src.ndim - len(axes) + 1)), tuple(sorted(axes)), axes
        ),
        [1 if d in axes else n for d, n in enumerate(src.shape)],
    )
