"""Operations that move elements without computing: broadcast, reshape, transpose, slice, pad ..."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.tracing import Primitive, Tracer, typeof
from nr.core.trees import tree_map
from nr.lax.rules import (
    canonical_axes,
    canonical_axis,
    const_like,
    instantiate,
    linear,
    move_dim,
    no_derivative,
    one_dtype,
    to_front,
    zero_tangent,
    zeros_of,
)
from nr.lax.rules import (
    operand as as_operand,
)


def canonical_shape(op: str, shape: Any) -> tuple[int, ...]:
    """A shape as a tuple of ints; TypeError for traced or fractional extents."""
    if hasattr(shape, "__index__") and not getattr(shape, "shape", ()):
        shape = (shape,)
    try:
        result = tuple([n if type(n) is int else n.__index__() for n in shape])
    except AttributeError:
        raise TypeError(f"{op}: a shape of integers was expected; got {shape!r}.") from None
    if any(n < 0 for n in result):
        raise ValueError(f"{op}: shape must have no negative extents; got {result}.")
    return result


def _prod(extents: Sequence[int]) -> int:
    n = 1
    for extent in extents:
        n *= extent
    return n


# ---------------------------------------------------------------- broadcast_in_dim
@functools.lru_cache(maxsize=4096)
def _broadcast_aval(
    x: ShapedArray, *, shape: tuple[int, ...], broadcast_dimensions: tuple[int, ...]
) -> ShapedArray:
    dims = broadcast_dimensions
    fits = len(dims) == x.ndim and all(0 <= d < len(shape) for d in dims)
    if not fits or any(a >= b for a, b in zip(dims, dims[1:], strict=False)):
        raise ValueError(
            f"broadcast_in_dim: broadcast_dimensions must be {x.ndim} increasing dimensions of "
            f"the result {shape}; got {dims} for {x}."
        )
    for n, d in zip(x.shape, dims, strict=True):
        if n not in (1, shape[d]):
            raise ValueError(
                f"broadcast_in_dim: extents must be 1 or equal; got {x} for shape {shape} "
                f"along dimensions {dims}."
            )
    return ShapedArray(shape, x.dtype)


def _broadcast_transpose(
    ct: Any, x: Any, *, shape: tuple[int, ...], broadcast_dimensions: tuple[int, ...]
) -> Any:
    old = x.aval.shape
    axes = _repeated(old, shape, broadcast_dimensions)
    if axes:
        ct = Primitive.all["reduce_sum"].bind(ct, axes=axes)
    return ct if typeof(ct).shape == old else reshape(ct, old)


@functools.lru_cache(maxsize=4096)
def _repeated(
    old: tuple[int, ...], shape: tuple[int, ...], broadcast_dimensions: tuple[int, ...]
) -> tuple[int, ...]:
    """The dimensions of a broadcast's result along which it repeats."""
    kept = [d for n, d in zip(old, broadcast_dimensions, strict=True) if n == shape[d]]
    return tuple([d for d in range(len(shape)) if d not in kept])


def _broadcast_batch(
    axis: Any, args: Any, dims: Any, *, shape: tuple[int, ...], broadcast_dimensions: tuple
) -> Any:
    x = move_dim(args[0], dims[0], 0)
    return (
        broadcast_in_dim_p.bind(
            x,
            shape=(axis.size, *shape),
            broadcast_dimensions=(0, *[d + 1 for d in broadcast_dimensions]),
        ),
        0,
    )


broadcast_in_dim_p = linear(
    "broadcast_in_dim",
    abstract_eval=_broadcast_aval,
    transpose=_broadcast_transpose,
    batch=_broadcast_batch,
)


def broadcast_in_dim(operand: Any, shape: Any, broadcast_dimensions: Any) -> Array:
    """An array repeated to a shape; its dimension i is broadcast_dimensions[i] of the result.

    Example:
        >>> import nr
        >>> nr.lax.broadcast_in_dim(nr.numpy.array([1, 2]), (2, 2), (0,))
        Array([[1, 1],
               [2, 2]], dtype=int32)
    """
    x = as_operand("broadcast_in_dim", operand)
    shape = canonical_shape("broadcast_in_dim", shape)
    if x.shape == shape and tuple(broadcast_dimensions) == tuple(range(x.ndim)):
        return x
    return broadcast_in_dim_p.bind(
        x, shape=shape, broadcast_dimensions=tuple(map(int, broadcast_dimensions))
    )


def broadcast(operand: Any, sizes: Any) -> Array:
    """x with new leading dimensions of the given sizes."""
    x = as_operand("broadcast", operand)
    sizes = canonical_shape("broadcast", sizes)
    return broadcast_in_dim(x, (*sizes, *x.shape), range(len(sizes), len(sizes) + x.ndim))


def broadcast_to_rank(x: Any, rank: int) -> Array:
    """x with leading dimensions of extent 1 up to a rank."""
    x = as_operand("broadcast_to_rank", x)
    return reshape(x, (1,) * (rank - x.ndim) + x.shape)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that NumPy's broadcasting gives.

    Raises:
        ValueError: if the shapes are not compatible.
    """
    if len(shapes) == 2 and shapes[0] == shapes[1]:
        return tuple(shapes[0])
    rank = max((len(s) for s in shapes), default=0)
    result = []
    for column in zip(*[(1,) * (rank - len(s)) + tuple(s) for s in shapes], strict=True):
        wide = {n for n in column if n != 1}
        if len(wide) > 1:
            raise ValueError(
                f"broadcast: Incompatible shapes for broadcasting: "
                f"{', '.join(str(tuple(s)) for s in shapes)}. "
                f"Extents must be equal or 1, counted from the end."
            )
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Array:
    """An array of one value."""
    shape = canonical_shape("full", shape)
    x = as_operand("full", fill_value)
    if x.ndim:
        raise TypeError(f"full: the fill value must have rank 0; got {x.aval}.")
    dtype = x.dtype if dtype is None else dtypes.canonicalize(dtype)
    from nr.lax.convert import convert_element_type

    return broadcast_in_dim_p.bind(
        convert_element_type(fill_value, dtype), shape=shape, broadcast_dimensions=()
    )


def full_like(x: Any, fill_value: Any, dtype: Any = None, shape: Any = None) -> Array:
    """An array of one value with the shape and dtype of another (or of a ShapeDtypeStruct)."""
    aval = x if isinstance(getattr(x, "dtype", None), np.dtype) else typeof(x)
    return full(aval.shape if shape is None else shape, fill_value, dtype or aval.dtype)


# ---------------------------------------------------------------- reshape
def _reshape_aval(x: ShapedArray, *, new_sizes: tuple[int, ...]) -> ShapedArray:
    if _prod(new_sizes) != x.size:
        raise TypeError(
            f"reshape: the number of elements must stay the same; "
            f"got {x} ({x.size}) for shape {new_sizes} ({_prod(new_sizes)})."
        )
    return ShapedArray(new_sizes, x.dtype, x.weak_type and not new_sizes)


def _reshape_batch(axis: Any, args: Any, dims: Any, *, new_sizes: tuple[int, ...]) -> Any:
    x = move_dim(args[0], dims[0], 0)
    return reshape_p.bind(x, new_sizes=(axis.size, *new_sizes)), 0


reshape_p = linear(
    "reshape",
    abstract_eval=_reshape_aval,
    transpose=lambda ct, x, *, new_sizes: reshape(ct, x.aval.shape),
    batch=_reshape_batch,
)


def reshape(operand: Any, new_sizes: Any, dimensions: Any = None) -> Array:
    """x with the same elements in row-major order in another shape.

    Raises:
        TypeError: if the number of elements would change.
    """
    x = as_operand("reshape", operand)
    if dimensions is not None:
        x = transpose(x, dimensions)
    new_sizes = canonical_shape("reshape", new_sizes)
    if x.shape == new_sizes:
        return x
    return reshape_p.bind(x, new_sizes=new_sizes)


def _squeeze_aval(x: ShapedArray, *, dimensions: tuple[int, ...]) -> ShapedArray:
    for d in dimensions:
        if x.shape[d] != 1:
            raise ValueError(f"squeeze: extents must be 1; got {x} for dimension {d}.")
    return ShapedArray([n for d, n in enumerate(x.shape) if d not in dimensions], x.dtype)


def _squeeze_batch(axis: Any, args: Any, dims: Any, *, dimensions: tuple[int, ...]) -> Any:
    x = move_dim(args[0], dims[0], 0)
    return squeeze_p.bind(x, dimensions=tuple(d + 1 for d in dimensions)), 0


squeeze_p = linear(
    "squeeze",
    abstract_eval=_squeeze_aval,
    transpose=lambda ct, x, *, dimensions: reshape(ct, x.aval.shape),
    batch=_squeeze_batch,
)


def squeeze(array: Any, dimensions: Any) -> Array:
    """x without the given dimensions, which must have extent 1."""
    x = as_operand("squeeze", array)
    dimensions = canonical_axes("squeeze", dimensions, x.ndim)
    return squeeze_p.bind(x, dimensions=dimensions) if dimensions else x


def expand_dims(array: Any, dimensions: Any) -> Array:
    """x with dimensions of extent 1 inserted at the given positions of the result."""
    x = as_operand("expand_dims", array)
    dims = dimensions if isinstance(dimensions, (tuple, list, range)) else (dimensions,)
    rank = x.ndim + len(dims)
    dims = canonical_axes("expand_dims", tuple(dims), rank)
    kept = [d for d in range(rank) if d not in dims]
    shape = [1] * rank
    for d, n in zip(kept, x.shape, strict=True):
        shape[d] = n
    return broadcast_in_dim(x, shape, kept)


def collapse(operand: Any, start_dimension: int, stop_dimension: int | None = None) -> Array:
    """x with dimensions start to stop flattened into one."""
    x = as_operand("collapse", operand)
    lo, hi, _ = slice_builtin(start_dimension, stop_dimension).indices(x.ndim)
    return reshape(x, (*x.shape[:lo], _prod(x.shape[lo:hi]), *x.shape[hi:]))


# ---------------------------------------------------------------- transpose
def _transpose_aval(x: ShapedArray, *, permutation: tuple[int, ...]) -> ShapedArray:
    if sorted(permutation) != list(range(x.ndim)):
        raise TypeError(
            f"transpose: a permutation of the {x.ndim} dimensions was expected; "
            f"got {permutation} for {x}."
        )
    return ShapedArray([x.shape[d] for d in permutation], x.dtype)


def _transpose_batch(axis: Any, args: Any, dims: Any, *, permutation: tuple[int, ...]) -> Any:
    (dim,) = dims
    order = (dim, *[d + (d >= dim) for d in permutation])
    return transpose_p.bind(*args, permutation=order), 0


transpose_p = linear(
    "transpose",
    abstract_eval=_transpose_aval,
    transpose=lambda ct, x, *, permutation: transpose(ct, np.argsort(permutation)),
    batch=_transpose_batch,
)


def transpose(operand: Any, permutation: Any) -> Array:
    """Dimensions in another order: the result's dimension i is permutation[i] of the operand."""
    x = as_operand("transpose", operand)
    permutation = tuple([int(d) for d in permutation])
    if permutation == tuple(range(x.ndim)):
        return x
    return transpose_p.bind(x, permutation=permutation)


# ---------------------------------------------------------------- rev
def _rev_aval(x: ShapedArray, *, dimensions: tuple[int, ...]) -> ShapedArray:
    return x.strip_weak_type()


def _rev_batch(axis: Any, args: Any, dims: Any, *, dimensions: tuple[int, ...]) -> Any:
    (dim,) = dims
    return rev_p.bind(*args, dimensions=tuple(d + (d >= dim) for d in dimensions)), dim


rev_p = linear(
    "rev",
    abstract_eval=_rev_aval,
    transpose=lambda ct, x, *, dimensions: rev(ct, dimensions),
    batch=_rev_batch,
)


def rev(operand: Any, dimensions: Any) -> Array:
    """x with the order along the given dimensions reversed."""
    x = as_operand("rev", operand)
    return rev_p.bind(x, dimensions=canonical_axes("rev", tuple(dimensions), x.ndim))


# ---------------------------------------------------------------- concatenate
def _concatenate_aval(*xs: ShapedArray, dimension: int) -> ShapedArray:
    first = xs[0]
    if len({x.dtype for x in xs}) > 1 or len({x.ndim for x in xs}) > 1:
        got = ", ".join(map(str, xs))
        raise TypeError(f"concatenate: operands must have one rank and one dtype; got {got}.")
    if not 0 <= dimension < first.ndim:
        raise TypeError(f"concatenate: dimension {dimension} is out of range for {first}.")
    for x in xs:
        if x.shape[:dimension] + x.shape[dimension + 1 :] != (
            first.shape[:dimension] + first.shape[dimension + 1 :]
        ):
            got = ", ".join(map(str, xs))
            raise TypeError(
                f"concatenate: extents must agree except along dimension {dimension}; got {got}."
            )
    total = sum(x.shape[dimension] for x in xs)
    return first.update(
        shape=(*first.shape[:dimension], total, *first.shape[dimension + 1 :]), weak_type=False
    )


def _concatenate_jvp(primals: Any, tangents: Any, *, dimension: int) -> Any:
    out = concatenate_p.bind(*primals, dimension=dimension)
    if all(type(t) is Zero for t in tangents):
        return out, zero_tangent(out)
    return out, concatenate_p.bind(*map(instantiate, tangents), dimension=dimension)


def _concatenate_transpose(ct: Any, *xs: Any, dimension: int) -> list[Any]:
    result, start = [], 0
    for x in xs:
        stop = start + typeof(x).shape[dimension]
        undefined = type(x) is UndefinedPrimal
        result.append(slice_in_dim(ct, start, stop, axis=dimension) if undefined else None)
        start = stop
    return result


def _concatenate_batch(axis: Any, args: Any, dims: Any, *, dimension: int) -> Any:
    args = [to_front(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
    return concatenate_p.bind(*args, dimension=dimension + 1), 0


concatenate_p = Primitive(
    "concatenate",
    abstract_eval=_concatenate_aval,
    jvp=_concatenate_jvp,
    transpose=_concatenate_transpose,
    batch=_concatenate_batch,
)


def concatenate(operands: Any, dimension: int) -> Array:
    """Arrays joined along an existing dimension."""
    xs = one_dtype("concatenate", *operands)
    if not xs:
        raise ValueError("concatenate: at least one array was expected; got none.")
    if len(xs) == 1:
        return as_operand("concatenate", xs[0])
    dimension = canonical_axis("concatenate", dimension, xs[0].ndim)
    if any([x.dtype != xs[0].dtype for x in xs]):
        _concatenate_aval(*map(typeof, xs), dimension=dimension)  # raises; NumPy would promote
    return concatenate_p.bind(*xs, dimension=dimension)


# ---------------------------------------------------------------- pad
def _pad_aval(x: ShapedArray, value: ShapedArray, *, padding_config: tuple) -> ShapedArray:
    if x.dtype != value.dtype:
        raise TypeError(f"pad: operand and padding value must have one dtype; got {x} and {value}.")
    if value.shape or len(padding_config) != x.ndim:
        raise TypeError(
            f"pad: a rank-0 value and {x.ndim} (low, high, interior) entries were expected; "
            f"got {value} and {padding_config}."
        )
    shape = []
    for n, (lo, hi, interior) in zip(x.shape, padding_config, strict=True):
        if interior < 0:
            raise ValueError(f"pad: interior padding must not be negative; got {padding_config}.")
        extent = lo + hi + n + max_builtin(n - 1, 0) * interior
        if extent < 0:
            raise ValueError(f"pad: extents must not become negative; got {padding_config} on {x}.")
        shape.append(extent)
    return ShapedArray(shape, x.dtype)


def _pad_jvp(primals: Any, tangents: Any, *, padding_config: tuple) -> Any:
    out = pad_p.bind(*primals, padding_config=padding_config)
    if all(type(t) is Zero for t in tangents):
        return out, zero_tangent(out)
    return out, pad_p.bind(*map(instantiate, tangents), padding_config=padding_config)


def _pad_transpose(ct: Any, x: Any, value: Any, *, padding_config: tuple) -> list[Any]:
    unpadded = [(-lo, -hi, 0) for lo, hi, _ in padding_config]
    inner = pad(ct, const_like(ct, 0), unpadded)
    strides = [interior + 1 for *_, interior in padding_config]
    inner = slice(inner, [0] * len(strides), typeof(inner).shape, strides)
    ct_x = inner if type(x) is UndefinedPrimal else None
    if type(value) is not UndefinedPrimal:
        return [ct_x, None]
    total = Primitive.all["reduce_sum"].bind
    everything = tuple(range(len(strides)))
    outer = Primitive.all["sub"].bind(total(ct, axes=everything), total(inner, axes=everything))
    return [ct_x, outer]


def _pad_batch(axis: Any, args: Any, dims: Any, *, padding_config: tuple) -> Any:
    (x, value), (xd, vd) = args, dims
    config = ((0, 0, 0), *padding_config)
    x = to_front(x, xd, axis.size)
    if vd is None:
        return pad_p.bind(x, value, padding_config=config), 0
    # a different padding value in each lane: pad a mask too, and select
    padded = pad_p.bind(x, const_like(x, 0), padding_config=config)
    mask = pad(full_like(x, True, np.bool_), np.False_, config)
    shape = typeof(padded).shape
    value = broadcast_in_dim(value, shape, (0,))
    return Primitive.all["select_n"].bind(mask, value, padded), 0


pad_p = Primitive(
    "pad", abstract_eval=_pad_aval, jvp=_pad_jvp, transpose=_pad_transpose, batch=_pad_batch
)


def pad(operand: Any, padding_value: Any, padding_config: Any) -> Array:
    """x with (low, high, interior) padding in each dimension; negative low and high cut off."""
    x, padding_value = one_dtype("pad", operand, padding_value)
    config = tuple([tuple([int(n) for n in entry]) for entry in padding_config])
    if x.dtype != padding_value.dtype or padding_value.shape:
        _pad_aval(typeof(x), typeof(padding_value), padding_config=config)  # raises
    return pad_p.bind(x, padding_value, padding_config=config)


# ---------------------------------------------------------------- slice
slice_builtin = __builtins__["slice"] if isinstance(__builtins__, dict) else __builtins__.slice
max_builtin = max


def _slice_aval(
    x: ShapedArray, *, start_indices: tuple, limit_indices: tuple, strides: tuple | None
) -> ShapedArray:
    ranks = {len(start_indices), len(limit_indices), len(strides or start_indices)}
    if ranks != {x.ndim}:
        raise TypeError(
            f"slice: {x.ndim} starts, limits and strides were expected; got {start_indices}, "
            f"{limit_indices} and {strides} for {x}."
        )
    shape = []
    for n, lo, hi, step in zip(
        x.shape, start_indices, limit_indices, strides or (1,) * x.ndim, strict=True
    ):
        if not (0 <= lo <= hi <= n and step > 0):
            raise TypeError(
                f"slice: starts and limits must lie in the array, strides be positive; got "
                f"{start_indices}, {limit_indices} and {strides} for {x}."
            )
        shape.append((hi - lo + step - 1) // step)
    return ShapedArray(shape, x.dtype)


def _slice_transpose(
    ct: Any, x: Any, *, start_indices: tuple, limit_indices: tuple, strides: tuple | None
) -> Any:
    config = []
    for n, out, lo, step in zip(
        x.aval.shape, typeof(ct).shape, start_indices, strides or (1,) * len(start_indices),
        strict=True,
    ):  # fmt: skip
        covered = 0 if out == 0 else (out - 1) * step + 1
        config.append((lo, n - lo - covered, step - 1))
    return pad(ct, const_like(ct, 0), config)


def _slice_batch(
    axis: Any, args: Any, dims: Any, *, start_indices: tuple, limit_indices: tuple, strides: Any
) -> Any:
    (dim,) = dims

    def insert(entries: tuple, value: int) -> tuple:
        return (*entries[:dim], value, *entries[dim:])

    return (
        slice_p.bind(
            *args,
            start_indices=insert(start_indices, 0),
            limit_indices=insert(limit_indices, axis.size),
            strides=None if strides is None else insert(strides, 1),
        ),
        dim,
    )


slice_p = linear("slice", abstract_eval=_slice_aval, transpose=_slice_transpose, batch=_slice_batch)


def slice(  # noqa: A001
    operand: Any, start_indices: Any, limit_indices: Any, strides: Any = None
) -> Array:
    """The part from static starts to limits, in steps."""
    x = as_operand("slice", operand)
    start = tuple([int(i) for i in start_indices])
    limit = tuple([int(i) for i in limit_indices])
    steps = None if strides is None else tuple([int(i) for i in strides])
    if steps is not None and all(step == 1 for step in steps):
        steps = None
    if steps is None and limit == x.shape and not any(start):
        return x
    shape = x.shape
    if len(start) != len(shape) or any(
        [not 0 <= lo <= hi <= n for lo, hi, n in zip(start, limit, shape, strict=True)]
    ):  # raises; NumPy would count from the end, or cut at it
        _slice_aval(typeof(x), start_indices=start, limit_indices=limit, strides=steps)
    return slice_p.bind(x, start_indices=start, limit_indices=limit, strides=steps)


def slice_in_dim(
    operand: Any, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0
) -> Array:
    """A slice along one dimension; negative positions count from the end."""
    x = as_operand("slice_in_dim", operand)
    axis = canonical_axis("slice_in_dim", axis, x.ndim)
    n = x.shape[axis]
    lo = 0 if start_index is None else int(start_index)
    hi = n if limit_index is None else int(limit_index)
    starts, limits, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis] = lo + n if lo < 0 else lo
    limits[axis] = hi + n if hi < 0 else hi
    steps[axis] = int(stride)
    return slice(x, starts, limits, steps)


def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Array:
    """One static position along a dimension."""
    x = as_operand("index_in_dim", operand)
    axis = canonical_axis("index_in_dim", axis, x.ndim)
    n = x.shape[axis]
    if not -n <= index < n:
        raise IndexError(
            f"index_in_dim: index {index} is out of bounds for axis {axis} with size {n}."
        )
    index = index + n if index < 0 else index
    result = slice_in_dim(x, index, index + 1, axis=axis)
    return result if keepdims else squeeze(result, (axis,))


def split(operand: Any, sizes: Any, axis: int = 0) -> list[Array]:
    """x cut into pieces of the given sizes along an axis."""
    x = as_operand("split", operand)
    axis = canonical_axis("split", axis, x.ndim)
    if sum(sizes) != x.shape[axis]:
        raise ValueError(
            f"split: sizes must add up to the extent of axis {axis}; got {tuple(sizes)} for "
            f"{x.aval}."
        )
    pieces, start = [], 0
    for n in sizes:
        pieces.append(slice_in_dim(x, start, start + n, axis=axis))
        start += n
    return pieces


# ---------------------------------------------------------------- iota
def _iota_aval(*, dtype: np.dtype, shape: tuple[int, ...], dimension: int) -> ShapedArray:
    if not 0 <= dimension < len(shape):
        raise ValueError(f"iota: dimension {dimension} is out of range for shape {shape}.")
    return ShapedArray(shape, dtype)


iota_p = Primitive("iota", abstract_eval=_iota_aval)
iota_p.jvp = lambda primals, tangents, **params: (iota_p.bind(**params), Zero(_iota_aval(**params)))
iota_p.batch = lambda axis, args, dims, **params: (iota_p.bind(**params), None)


def iota(dtype: Any, size: int) -> Array:
    """0, 1, ..., size - 1."""
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: Any, shape: Any, dimension: int) -> Array:
    """An array that counts along one dimension."""
    shape = canonical_shape("iota", shape)
    return iota_p.bind(
        dtype=dtypes.canonicalize(dtype),
        shape=shape,
        dimension=canonical_axis("iota", dimension, len(shape)),
    )


def shape_as_value(shape: Sequence[int]) -> Array:
    """The extents of a shape as an array of the default integer dtype."""
    return ArrayImpl(np.asarray(shape, dtypes.scalar_dtype(int)))


# ---------------------------------------------------------------- copy
copy_p: Primitive = linear(
    "copy",
    abstract_eval=lambda x: x.strip_weak_type(),
    transpose=lambda ct, x: ct,
    batch=lambda axis, args, dims: (copy_p.bind(*args), dims[0]),
)


def copy(x: Any) -> Array:
    """The same numbers in memory of their own."""
    return copy_p.bind(as_operand("copy", x))


def zeros_like_array(x: Any) -> Array:
    """Zeros with the shape and dtype of x."""
    return as_operand("zeros_like_array", zeros_of(typeof(x).strip_weak_type()))


# ---------------------------------------------------------------- stop_gradient
stop_gradient_p: Primitive = Primitive(
    "stop_gradient",
    abstract_eval=lambda x: x.strip_weak_type(),
    batch=lambda axis, args, dims: (stop_gradient_p.bind(*args), dims[0]),
    keeps_weak=True,
)
stop_gradient_p.jvp = no_derivative(stop_gradient_p)


def stop_gradient(x: Any) -> Any:
    """x, a constant to differentiation. x may be a pytree.

    Example:
        >>> import nr
        >>> nr.grad(lambda x: x * nr.lax.stop_gradient(x))(3.0)
        Array(3., dtype=float32, weak_type=True)
    """

    def one(leaf: Any) -> Any:
        leaf = as_operand("stop_gradient", leaf)
        varies = isinstance(leaf, Tracer) and leaf.dtype in dtypes.INEXACT
        return stop_gradient_p.bind(leaf) if varies else leaf

    return one(x) if isinstance(x, Array) else tree_map(one, x)
