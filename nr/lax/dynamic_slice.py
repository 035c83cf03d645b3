"""Slices of static size read from, or written to, positions known only when the program runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.tracing import PYTHON_SCALARS, Primitive, typeof
from nr.lax.convert import convert_element_type
from nr.lax.gather import gather_p, wrap_negative
from nr.lax.indexing import GatherDimensionNumbers, to_scatter
from nr.lax.rules import (
    broadcast_batch,
    canonical_axis,
    cast_weak,
    instantiate,
    linear,
    move_dim,
    zero_tangent,
    zeros_of,
)
from nr.lax.rules import (
    operand as to_operand,
)
from nr.lax.scatter import scatter_p
from nr.lax.shape import canonical_shape, concatenate, expand_dims, index_in_dim, squeeze


def _check_window(
    op: str, x: ShapedArray, sizes: Sequence[int], starts: Sequence[ShapedArray]
) -> None:
    if len(sizes) != x.ndim or any(not 0 <= size <= n for size, n in zip(sizes, x.shape)):
        raise TypeError(
            f"{op}: the slice must have the operand's rank and fit into it; "
            f"got sizes {tuple(sizes)} for {x}."
        )
    if len(starts) != x.ndim:
        raise TypeError(f"{op}: a start a dimension of {x} was expected; got {len(starts)}.")
    for start in starts:
        if start.shape or start.dtype not in dtypes.INTEGER:
            raise TypeError(f"{op}: starts must be integers of rank 0; got {start}.")


def _start_vector(starts: Sequence[Any], dims: Sequence[int | None], size: int) -> Any:
    """Starts, some batched, as one array [batch, rank] of indices."""
    wide = any(typeof(s).dtype.itemsize > 4 for s in starts)
    columns = []
    for start, dim in zip(starts, dims, strict=True):
        start = convert_element_type(start, np.int64 if wide else np.int32)
        columns.append(expand_dims(start if dim is not None else broadcast_batch(start, size), 1))
    return concatenate(columns, 1)


def _whole_window(rank: int) -> GatherDimensionNumbers:
    return GatherDimensionNumbers(tuple(range(rank)), (), tuple(range(rank)))


def _starts(op: str, x: Array, start_indices: Any, negative: bool | Sequence[bool]) -> list[Any]:
    """One start a dimension, in [0, extent) where they counted from the end."""
    if isinstance(start_indices, (Array, np.ndarray)):
        if start_indices.ndim != 1:
            raise TypeError(f"{op}: starts must be a vector; got {typeof(start_indices)}.")
        if isinstance(start_indices, (np.ndarray, ArrayImpl)):
            start_indices = list(np.asarray(start_indices))
        else:
            n = start_indices.shape[0]
            start_indices = [index_in_dim(start_indices, i, keepdims=False) for i in range(n)]
    if len(start_indices) != x.ndim:
        raise TypeError(
            f"{op}: a start a dimension of {x.aval} was expected; got {len(start_indices)}."
        )
    flags = [negative] * x.ndim if isinstance(negative, bool) else list(negative)
    if len(flags) != x.ndim:
        raise TypeError(
            f"{op}: allow_negative_indices must be a bool, or one a dimension of {x.aval}; got "
            f"{len(flags)}."
        )
    return [_start(op, i, n, f) for i, n, f in zip(start_indices, x.shape, flags)]


def _start(op: str, index: Any, extent: int, negative: bool) -> Any:
    if isinstance(index, (*PYTHON_SCALARS, np.integer)) and hasattr(index, "__index__"):
        index = index.__index__()
        return _static_start(index + extent if index < 0 and negative else index, extent)
    index = to_operand(op, index)
    if index.dtype not in dtypes.INTEGER or index.ndim:
        raise TypeError(f"{op}: starts must be integers of rank 0; got {index.aval}.")
    index = convert_element_type(index, _index_dtype(index.dtype))
    return wrap_negative(index, extent) if negative else index


def _static_start(index: int, extent: int) -> Any:
    index = min(max(index, 0), extent)
    return np.int32(index) if extent <= np.iinfo(np.int32).max else np.int64(index)


def _index_dtype(dtype: np.dtype) -> np.dtype:
    """A signed dtype in which an extent can be added to an index."""
    wide = dtype.itemsize > 4 or dtype == dtypes.DTYPES["uint32"]
    return dtypes.DTYPES["int64" if wide else "int32"]


# ---------------------------------------------------------------- dynamic_slice
def _dynamic_slice_aval(
    x: ShapedArray, *starts: ShapedArray, slice_sizes: tuple[int, ...]
) -> ShapedArray:
    _check_window("dynamic_slice", x, slice_sizes, starts)
    return ShapedArray(slice_sizes, x.dtype)


def _dynamic_slice_batch(
    axis: Any, args: Sequence[Any], dims: Sequence[int | None], *, slice_sizes: tuple[int, ...]
) -> Any:
    (x, *starts), (x_dim, *start_dims) = args, dims
    if all(dim is None for dim in start_dims):
        assert x_dim is not None
        starts.insert(x_dim, np.int32(0))
        sizes = (*slice_sizes[:x_dim], axis.size, *slice_sizes[x_dim:])
        return dynamic_slice_p.bind(x, *starts, slice_sizes=sizes), x_dim
    assert gather_p.batch is not None
    return gather_p.batch(
        axis,
        [x, _start_vector(starts, start_dims, axis.size)],
        [x_dim, 0],
        dimension_numbers=_whole_window(len(slice_sizes)),
        slice_sizes=slice_sizes,
        unique_indices=True,
        indices_are_sorted=True,
        mode="clip",
        fill_value=None,
    )


dynamic_slice_p = linear(
    "dynamic_slice",
    abstract_eval=_dynamic_slice_aval,
    transpose=lambda ct, x, *starts, slice_sizes: dynamic_update_slice_p.bind(
        zeros_of(x.aval), ct, *starts
    ),
    batch=_dynamic_slice_batch,
)


def dynamic_slice(
    operand: Any,  # noqa: A002
    start_indices: Any,
    slice_sizes: Sequence[int],
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Array:
    """The part of an array of static size from positions that may be traced.

    Args:
        operand: array.
        start_indices: a start a dimension; negative ones count from the end, and then all are
            clamped so that the slice lies in the array.
        slice_sizes: the extents of the slice.
        allow_negative_indices: whether negative starts, of all dimensions or of each, count from
            the end; otherwise they are clamped as they are.

    Example:
        >>> import nr
        >>> nr.lax.dynamic_slice(nr.numpy.arange(5), (3,), (3,))
        Array([2, 3, 4], dtype=int32)
    """
    x = to_operand("dynamic_slice", operand)
    starts = _starts("dynamic_slice", x, start_indices, allow_negative_indices)
    sizes = canonical_shape("dynamic_slice", slice_sizes)
    if not sizes:
        return x
    _check_window("dynamic_slice", x.aval, sizes, [typeof(start) for start in starts])
    return dynamic_slice_p.bind(x, *starts, slice_sizes=sizes)


# ---------------------------------------------------------------- dynamic_update_slice
def _dynamic_update_aval(x: ShapedArray, update: ShapedArray, *starts: ShapedArray) -> ShapedArray:
    if x.dtype != update.dtype:
        raise TypeError(
            f"dynamic_update_slice: operand and update must have one dtype; got {x} and {update}. "
            f"Convert the update with .astype(...)."
        )
    _check_window("dynamic_update_slice", x, update.shape, starts)
    return x.strip_weak_type()


def _dynamic_update_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    out = dynamic_update_slice_p.bind(*primals)
    x_dot, u_dot, *_ = tangents
    if type(x_dot) is Zero and type(u_dot) is Zero:
        return out, zero_tangent(out)
    return out, dynamic_update_slice_p.bind(instantiate(x_dot), instantiate(u_dot), *primals[2:])


def _dynamic_update_transpose(ct: Any, x: Any, update: Any, *starts: Any) -> list[Any]:
    u_aval = typeof(update)
    ct_x = ct_update = None
    if type(x) is UndefinedPrimal:
        ct_x = dynamic_update_slice_p.bind(ct, zeros_of(u_aval), *starts)
    if type(update) is UndefinedPrimal:
        ct_update = dynamic_slice_p.bind(ct, *starts, slice_sizes=u_aval.shape)
    return [ct_x, ct_update, *[None] * len(starts)]


def _dynamic_update_batch(axis: Any, args: Sequence[Any], dims: Sequence[int | None]) -> Any:
    (x, update, *starts), (x_dim, u_dim, *start_dims) = args, dims
    if all(dim is None for dim in start_dims):
        dim = u_dim if x_dim is None else x_dim
        assert dim is not None
        x, update = (
            broadcast_batch(y, axis.size, dim) if d is None else move_dim(y, d, dim)
            for y, d in ((x, x_dim), (update, u_dim))
        )
        starts.insert(dim, np.int32(0))
        return dynamic_update_slice_p.bind(x, update, *starts), dim
    assert scatter_p.batch is not None
    return scatter_p.batch(
        axis,
        [x, _start_vector(starts, start_dims, axis.size), update],
        [x_dim, 0, u_dim],
        dimension_numbers=to_scatter(_whole_window(len(starts))),
        unique_indices=True,
        indices_are_sorted=True,
        mode="clip",
    )


dynamic_update_slice_p: Primitive = Primitive(
    "dynamic_update_slice",
    abstract_eval=_dynamic_update_aval,
    jvp=_dynamic_update_jvp,
    transpose=_dynamic_update_transpose,
    batch=_dynamic_update_batch,
)


def dynamic_update_slice(
    operand: Any,  # noqa: A002
    update: Any,
    start_indices: Any,
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Array:
    """An array with a part replaced, at positions that may be traced.

    Args:
        operand: array.
        update: what is written: an array of the operand's rank that fits into it.
        start_indices: a start a dimension, as in `dynamic_slice`.
        allow_negative_indices: as in `dynamic_slice`.

    Example:
        >>> import nr
        >>> nr.lax.dynamic_update_slice(nr.numpy.zeros(4), nr.numpy.ones(2), (1,))
        Array([0., 1., 1., 0.], dtype=float32)
    """
    x = to_operand("dynamic_update_slice", operand)
    update = cast_weak("dynamic_update_slice", update, x.dtype)
    starts = _starts("dynamic_update_slice", x, start_indices, allow_negative_indices)
    _dynamic_update_aval(x.aval, typeof(update), *[typeof(start) for start in starts])
    return dynamic_update_slice_p.bind(x, update, *starts)


# ---------------------------------------------------------------- along one dimension
def dynamic_slice_in_dim(
    operand: Any,  # noqa: A002
    start_index: Any,
    slice_size: int,
    axis: int = 0,
    *,
    allow_negative_indices: bool = True,
) -> Array:
    """`dynamic_slice` along one dimension, with all of the others."""
    x = to_operand("dynamic_slice_in_dim", operand)
    axis = canonical_axis("dynamic_slice_in_dim", axis, x.ndim)
    starts, sizes = [0] * x.ndim, list(x.shape)
    starts[axis], sizes[axis] = start_index, slice_size
    return dynamic_slice(x, starts, sizes, allow_negative_indices=allow_negative_indices)


def dynamic_index_in_dim(
    operand: Any,  # noqa: A002
    index: Any,
    axis: int = 0,
    keepdims: bool = True,
    *,
    allow_negative_indices: bool = True,
) -> Array:
    """One position along a dimension, which may be traced; out-of-range ones are clamped."""
    x = to_operand("dynamic_index_in_dim", operand)
    axis = canonical_axis("dynamic_index_in_dim", axis, x.ndim)
    result = dynamic_slice_in_dim(x, index, 1, axis, allow_negative_indices=allow_negative_indices)
    return result if keepdims else squeeze(result, axis)


def dynamic_update_slice_in_dim(
    operand: Any,  # noqa: A002
    update: Any,
    start_index: Any,
    axis: int,
    *,
    allow_negative_indices: bool = True,
) -> Array:
    """`dynamic_update_slice` along one dimension, from the beginning of the others."""
    x = to_operand("dynamic_update_slice_in_dim", operand)
    axis = canonical_axis("dynamic_update_slice_in_dim", axis, x.ndim)
    starts: list[Any] = [0] * x.ndim
    starts[axis] = start_index
    return dynamic_update_slice(x, update, starts, allow_negative_indices=allow_negative_indices)


def dynamic_update_index_in_dim(
    operand: Any,  # noqa: A002
    update: Any,
    index: Any,
    axis: int,
    *,
    allow_negative_indices: bool = True,
) -> Array:
    """One position along a dimension replaced; the update may lack that dimension."""
    x = to_operand("dynamic_update_index_in_dim", operand)
    axis = canonical_axis("dynamic_update_index_in_dim", axis, x.ndim)
    if typeof(update).ndim == x.ndim - 1:
        update = expand_dims(update, axis)
    return dynamic_update_slice_in_dim(
        x, update, index, axis, allow_negative_indices=allow_negative_indices
    )
