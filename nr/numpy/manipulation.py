"""Changing the shape of arrays and the order of their elements, and broadcasting."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.tracing import Tracer
from nr.lax.convert import convert_element_type
from nr.lax.cumulative import cumsum
from nr.lax.elementwise import add, bitwise_and, mul, ne, rem, shift_right_logical, sub
from nr.lax.indexing import ScatterDimensionNumbers
from nr.lax.reduce import reduce_sum
from nr.lax.rules import canonical_axes, canonical_axis, operand, sequence_of_axes
from nr.lax.scatter import scatter_add
from nr.lax.shape import (
    broadcast_in_dim,
    broadcast_in_dim_p,
    broadcast_shapes,
    canonical_shape,
    concatenate,
    full,
    iota,
    reshape_p,
    rev,
    slice_in_dim,
    squeeze_p,
    transpose_p,
)
from nr.lax.shape import copy as lax_copy
from nr.lax.shape import pad as lax_pad
from nr.numpy.creation import array
from nr.numpy.index_functions import take
from nr.numpy.promotion import broadcast_to_shape

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "matrix_transpose",
    "moveaxis",
    "ndim",
    "packbits",
    "permute_dims",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "rollaxis",
    "rot90",
    "shape",
    "size",
    "squeeze",
    "swapaxes",
    "tile",
    "transpose",
    "unpackbits",
]


def as_operand(op: str, x: Any) -> Any:
    """`operand`, without a call for what is an array already."""
    return x if type(x) is ArrayImpl else operand(op, x)


# ---------------------------------------------------------------- shape
def reshape(a: Any, shape: Any, order: str = "C", *, copy: bool | None = None) -> Array:
    """The elements of an array in another shape.

    Args:
        a: an array.
        shape: the new shape; one extent may be -1, which is found from the others.
        order: "C" counts the last axis fastest, "F" the first.
        copy: True gives the result memory of its own.

    Raises:
        TypeError: if the number of elements would change.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.reshape(jnp.arange(6), (2, -1))
        Array([[0, 1, 2],
               [3, 4, 5]], dtype=int32)
    """
    a = as_operand("reshape", a)
    shape = _new_shape(a, shape)
    if order == "F":
        out = transpose(_reshape(transpose(a), shape[::-1]))
    elif order in ("C", "A"):
        out = _reshape(a, shape)
    else:
        raise ValueError(f'reshape: order must be "C", "F" or "A"; got {order!r}.')
    return lax_copy(out) if copy else out


def _reshape(a: Any, shape: tuple[int, ...]) -> Any:
    return a if a.shape == shape else reshape_p.bind(a, new_sizes=shape)


def _new_shape(a: Any, shape: Any) -> tuple[int, ...]:
    if hasattr(shape, "__index__") and not getattr(shape, "shape", ()):
        shape = (shape,)
    try:
        shape = tuple([n if type(n) is int else n.__index__() for n in shape])
    except AttributeError:
        raise TypeError(f"reshape: a shape of integers was expected; got {shape!r}.") from None
    unknown = shape.count(-1)
    if not unknown:
        return canonical_shape("reshape", shape)
    known = 1
    for n in shape:
        known *= n if n != -1 else 1
    if unknown > 1:
        raise ValueError(f"reshape: only one extent can be -1; got {shape}.")
    if known == 0 or a.size % known:
        raise TypeError(
            f"reshape: the known extents must divide the number of elements; got {a.aval} "
            f"({a.size}) for shape {shape}."
        )
    return tuple([a.size // known if n == -1 else n for n in shape])


def ravel(a: Any, order: str = "C") -> Array:
    """All elements of an array in one row."""
    return reshape(a, (-1,) if np.prod(np.shape(a)) else (0,), order)


def expand_dims(a: Any, axis: Any) -> Array:
    """An array with axes of extent 1 inserted at positions of the result.

    Raises:
        AxisError: for a position out of bounds, an IndexError (as the array API standard has it)
            as well as a ValueError (as JAX has it).

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.expand_dims(jnp.ones(3), (0, -1)).shape
        (1, 3, 1)
    """
    a = as_operand("expand_dims", a)
    places = tuple(sequence_of_axes(axis))
    old = iter(a.shape)
    rank = a.ndim + len(places)
    try:
        places = canonical_axes("expand_dims", places, rank)
    except ValueError as err:
        raise np.exceptions.AxisError(str(err)) from None
    return _reshape(a, tuple([1 if d in places else next(old) for d in range(rank)]))


def squeeze(a: Any, axis: Any = None) -> Array:
    """An array without axes of extent 1: the given ones, or all.

    Raises:
        ValueError: if a given axis has another extent.
    """
    a = as_operand("squeeze", a)
    if axis is None:
        dims = tuple([d for d, n in enumerate(a.shape) if n == 1])
    else:
        dims = canonical_axes("squeeze", axis, a.ndim)
        for d in dims:
            if a.shape[d] != 1:
                raise ValueError(
                    f"squeeze: an axis to drop must have extent 1; got {a.aval} for axis {d}. "
                    f"Index or reduce it instead."
                )
    return squeeze_p.bind(a, dimensions=dims) if dims else a


def _atleast(op: str, arys: tuple[Any, ...], shape_of: Any) -> Any:
    out = []
    for x in arys:
        x = as_operand(op, x)
        out.append(_reshape(x, shape_of(x.shape)))
    return out[0] if len(out) == 1 else out


def atleast_1d(*arys: Any) -> Any:
    """Arrays of rank 1 or more (a list of them for several)."""
    return _atleast("atleast_1d", arys, lambda shape: shape or (1,))


def atleast_2d(*arys: Any) -> Any:
    """Arrays of rank 2 or more, new axes in front (a list of them for several)."""
    return _atleast("atleast_2d", arys, lambda shape: (1,) * (2 - len(shape)) + shape)


def _three(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) > 2:
        return shape
    return (*shape, 1) if len(shape) == 2 else (1, *(shape or (1,)), 1)


def atleast_3d(*arys: Any) -> Any:
    """Arrays of rank 3 or more; rank 1 becomes (1, n, 1), rank 2 (m, n, 1)."""
    return _atleast("atleast_3d", arys, _three)


def ndim(a: Any) -> int:
    """The rank of what has a `shape`."""
    return len(shape(a))


def shape(a: Any) -> tuple[int, ...]:
    """The shape of an array (of numbers or typed keys), of what only tells it, as a
    ShapeDtypeStruct, or of nested sequences."""
    return tuple(a.shape) if hasattr(a, "dtype") else np.shape(a)


def size(a: Any, axis: Any = None) -> int:
    """The number of elements, or the extent along an axis (the product of several)."""
    extents = shape(a)
    if axis is None:
        return math.prod(extents)
    return math.prod([extents[d] for d in canonical_axes("size", axis, len(extents))])


# ---------------------------------------------------------------- order of axes
def transpose(a: Any, axes: Any = None) -> Array:
    """An array with its axes in another order, reversed by default.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.transpose(jnp.ones((2, 3, 4)), (1, 0, 2)).shape
        (3, 2, 4)
    """
    a = as_operand("transpose", a)
    rank = a.ndim
    if axes is None:
        order = tuple(range(rank - 1, -1, -1))
    else:
        order = canonical_axes("transpose", tuple(axes), rank)
        if len(order) != rank:
            raise ValueError(
                f"transpose: one entry for each of the {rank} axes was expected; got {axes} for "
                f"{a.aval}."
            )
    return _permute(a, order)


def _permute(a: Any, order: tuple[int, ...]) -> Any:
    if order == tuple(range(len(order))):
        return a
    return transpose_p.bind(a, permutation=order)


def permute_dims(a: Any, /, axes: Any) -> Array:
    """An array with its axes in another order."""
    return transpose(a, axes)


def matrix_transpose(x: Any, /) -> Array:
    """An array with its last two axes exchanged."""
    x = as_operand("matrix_transpose", x)
    if x.ndim < 2:
        raise ValueError(f'matrix_transpose: rank 2 or more was expected; got {x.aval} for "x".')
    rank = x.ndim
    return transpose_p.bind(x, permutation=(*range(rank - 2), rank - 1, rank - 2))


def swapaxes(a: Any, axis1: int, axis2: int) -> Array:
    """An array with two axes exchanged."""
    a = as_operand("swapaxes", a)
    i, j = [canonical_axis("swapaxes", axis, a.ndim) for axis in (axis1, axis2)]
    order = list(range(a.ndim))
    order[i], order[j] = j, i
    return _permute(a, tuple(order))


def moveaxis(a: Any, source: Any, destination: Any) -> Array:
    """An array with axes moved to other positions; the rest keep their order.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.moveaxis(jnp.ones((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    a = as_operand("moveaxis", a)
    sources = canonical_axes("moveaxis", source, a.ndim)
    places = canonical_axes("moveaxis", destination, a.ndim)
    if len(sources) != len(places):
        raise ValueError(
            f"moveaxis: as many destinations as sources were expected; got {source} and "
            f"{destination}."
        )
    order = [d for d in range(a.ndim) if d not in sources]
    for place, d in sorted(zip(places, sources, strict=True)):
        order.insert(place, d)
    return _permute(a, tuple(order))


def rollaxis(a: Any, axis: int, start: int = 0) -> Array:
    """An array with one axis moved back until it lies before the axis `start`."""
    a = as_operand("rollaxis", a)
    axis = canonical_axis("rollaxis", axis, a.ndim)
    start = canonical_axis("rollaxis", start, a.ndim + 1) if start >= 0 else start + a.ndim
    return moveaxis(a, axis, start - (axis < start))


# ---------------------------------------------------------------- order of elements
def flip(m: Any, axis: Any = None) -> Array:
    """An array with the order along axes reversed (along all if None)."""
    m = as_operand("flip", m)
    return rev(m, canonical_axes("flip", axis, m.ndim))


def _at_least_rank(op: str, m: Any, rank: int) -> Any:
    m = as_operand(op, m)
    if m.ndim < rank:
        raise ValueError(f'{op}: rank {rank} or more was expected; got {m.aval} for "m".')
    return m


def flipud(m: Any) -> Array:
    """An array with axis 0 reversed."""
    return rev(_at_least_rank("flipud", m, 1), (0,))


def fliplr(m: Any) -> Array:
    """An array with axis 1 reversed."""
    return rev(_at_least_rank("fliplr", m, 2), (1,))


def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """An array turned k times by 90 degrees, from the first of two axes towards the second."""
    m = _at_least_rank("rot90", m, 2)
    first, second = canonical_axes("rot90", tuple(axes), m.ndim)
    turns = operator.index(k) % 4
    if turns == 0:
        return m
    if turns == 1:
        return swapaxes(flip(m, second), first, second)
    if turns == 2:
        return flip(m, (first, second))
    return flip(swapaxes(m, first, second), second)


def roll(a: Any, shift: Any, axis: Any = None) -> Array:
    """An array with its elements moved along axes; what falls off comes in at the other end.

    Args:
        a: an array.
        shift: how far, or one number an axis; it may be traced.
        axis: an axis or several; None rolls the flat array.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.roll(jnp.arange(5), 2)
        Array([3, 4, 0, 1, 2], dtype=int32)
    """
    a = as_operand("roll", a)
    if axis is None:
        return reshape(roll(ravel(a), shift, 0), a.shape)
    axes = [canonical_axis("roll", d, a.ndim) for d in _listed(axis)]
    shifts = _shifts(shift)
    if len(shifts) == 1:
        shifts *= len(axes)
    elif len(axes) == 1:
        axes *= len(shifts)
    if len(shifts) != len(axes):
        raise ValueError(
            f"roll: one shift for each axis was expected; got {len(shifts)} shifts for axes {axes}."
        )
    for d, by in zip(axes, shifts, strict=True):
        n = a.shape[d]
        if n == 0:
            continue
        if isinstance(by, Tracer):
            places = sub(iota(by.dtype, n), by)
            extent = np.asarray(n).astype(by.dtype)[()]
            positive = rem(add(rem(places, extent), extent), extent)
            a = take(a, positive, d, mode="clip")
        elif by % n:
            cut = n - by % n
            parts = [slice_in_dim(a, cut, n, axis=d), slice_in_dim(a, 0, cut, axis=d)]
            a = concatenate(parts, d)
    return a


def _listed(axis: Any) -> list[Any]:
    return list(axis) if isinstance(axis, (tuple, list)) else [axis]


def _shifts(shift: Any) -> list[Any]:
    if isinstance(shift, Tracer):
        if shift.ndim == 0:
            return [shift]
        return [reshape(slice_in_dim(shift, i, i + 1), ()) for i in range(shift.shape[0])]
    if isinstance(shift, (tuple, list)):
        return [s if isinstance(s, Tracer) else operator.index(s) for s in shift]
    return [int(s) for s in np.asarray(shift).reshape(-1)]


# ---------------------------------------------------------------- repetition
def tile(A: Any, reps: Any) -> Array:
    """An array repeated as a whole, `reps` times along each axis.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.tile(jnp.array([1, 2]), (2, 2))
        Array([[1, 2, 1, 2],
               [1, 2, 1, 2]], dtype=int32)
    """
    A = as_operand("tile", A)
    reps = canonical_shape("tile", reps)
    rank = max(A.ndim, len(reps))
    old = (1,) * (rank - A.ndim) + A.shape
    reps = (1,) * (rank - len(reps)) + reps
    if all([r == 1 for r in reps]):
        return _reshape(A, old)
    between = [n for pair in zip(reps, old, strict=True) for n in pair]
    wide = broadcast_in_dim(_reshape(A, old), between, range(1, 2 * rank, 2))
    return _reshape(wide, tuple([r * n for r, n in zip(reps, old, strict=True)]))


def repeat(
    a: Any, repeats: Any, axis: int | None = None, *, total_repeat_length: int | None = None
) -> Array:
    """An array with each element repeated along an axis (of the flat array if None).

    Args:
        a: an array.
        repeats: how often: one number, or one for each element along the axis.
        axis: the axis.
        total_repeat_length: the extent of the result, which traced `repeats` need; what is longer
            is cut, what is shorter is filled with the last element.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.repeat(jnp.array([1, 2, 3]), jnp.array([2, 0, 1]))
        Array([1, 1, 3], dtype=int32)
    """
    a = as_operand("repeat", a)
    if axis is None:
        a, axis = ravel(a), 0
    axis = canonical_axis("repeat", axis, a.ndim)
    n = a.shape[axis]
    if isinstance(repeats, Tracer) and repeats.concrete() is None:
        return _repeat_traced(a, repeats, axis, total_repeat_length)
    counts = np.asarray(repeats.concrete() if isinstance(repeats, Tracer) else repeats)
    if counts.dtype.kind not in "iub" or counts.ndim > 1 or (counts < 0).any():
        raise TypeError(
            f"repeat: repeats must be integers that are not negative, of rank 0 or 1; got {counts}."
        )
    if counts.size == 1 and total_repeat_length is None:
        k = int(counts.reshape(()))
        wide = broadcast_in_dim(
            a,
            (*a.shape[: axis + 1], k, *a.shape[axis + 1 :]),
            [d + (d > axis) for d in range(a.ndim)],
        )
        return _reshape(wide, (*a.shape[:axis], n * k, *a.shape[axis + 1 :]))
    if counts.size not in (1, n):
        raise ValueError(
            f"repeat: one number of repeats, or {n} for axis {axis}, was expected; got "
            f"{counts.size} for {a.aval}."
        )
    places = np.repeat(np.arange(n), counts)
    if total_repeat_length is not None:
        missing = max(total_repeat_length - len(places), 0)
        places = np.concatenate([places[:total_repeat_length], np.full(missing, n - 1)])
    return take_static(a, places, axis)


def take_static(a: Any, places: np.ndarray, axis: int) -> Any:
    """Elements at places that are known and in range."""
    return take(a, array(places.astype(np.int32)), axis, mode="clip")


def _repeat_traced(a: Any, repeats: Any, axis: int, total: int | None) -> Any:
    if total is None:
        raise TypeError(
            f"repeat: traced repeats need a static length of the result; got {repeats.aval}. "
            f"Pass total_repeat_length=..."
        )
    n = a.shape[axis]
    if repeats.ndim > 1 or (repeats.ndim and repeats.shape[0] not in (1, n)):
        raise ValueError(f"repeat: {n} repeats were expected for axis {axis}; got {repeats.aval}.")
    counts = convert_element_type(broadcast_to_shape(repeats, (n,)), np.int32)
    # Each element but the first begins where the counts before it end; the number of beginnings
    # up to a place is the position of its element.
    ends = slice_in_dim(cumsum(counts), 0, n - 1)
    steps = scatter_add(
        full((total,), 0, np.int32),
        reshape(ends, (n - 1, 1)),
        full((n - 1,), 1, np.int32),
        ScatterDimensionNumbers((), (0,), (0,)),
        mode="drop",
    )
    return take(a, cumsum(steps), axis, mode="clip")


# ---------------------------------------------------------------- broadcasting
def broadcast_to(array: Any, shape: Any) -> Array:
    """An array repeated to a shape by NumPy's rules.

    Raises:
        ValueError: if it does not fit.
    """
    a = as_operand("broadcast_to", array)
    shape = canonical_shape("broadcast_to", shape)
    if a.shape == shape:
        return a
    lead = len(shape) - a.ndim
    if lead < 0 or not all([n in (1, m) for n, m in zip(a.shape, shape[lead:], strict=True)]):
        raise ValueError(
            f'broadcast_to: incompatible shapes for broadcasting: got {a.aval} for "array" and '
            f"shape {shape}. Extents must be 1 or equal, counted from the end."
        )
    return broadcast_in_dim_p.bind(
        a, shape=shape, broadcast_dimensions=tuple(range(lead, len(shape)))
    )


def broadcast_arrays(*args: Any) -> list[Array]:
    """Arrays broadcast against each other.

    Raises:
        ValueError: if their shapes are not compatible.
    """
    arrays = [as_operand("broadcast_arrays", x) for x in args]
    common = broadcast_shapes(*[x.shape for x in arrays])
    return [broadcast_to_shape(x, common) for x in arrays]


# ---------------------------------------------------------------- bits
_PLACES = {"big": tuple(range(7, -1, -1)), "little": tuple(range(8))}


def _bit_places(op: str, bitorder: str) -> np.ndarray:
    if bitorder not in _PLACES:
        raise ValueError(f'{op}: bitorder must be "big" or "little"; got {bitorder!r}.')
    return np.array(_PLACES[bitorder], np.uint8)


def packbits(a: Any, axis: int | None = None, bitorder: str = "big") -> Array:
    """Eight truth values of an axis in each uint8, zeros filling up the last.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.packbits(jnp.array([1, 0, 1]))
        Array([160], dtype=uint8)
    """
    a = as_operand("packbits", a)
    if a.dtype not in dtypes.INTEGER | dtypes.BOOL:
        raise TypeError(f"packbits: an integer type or bool was expected; got {a.aval}.")
    weights = np.left_shift(np.uint8(1), _bit_places("packbits", bitorder))
    if axis is None:
        a, axis = ravel(a), 0
    axis = canonical_axis("packbits", axis, a.ndim)
    bits = convert_element_type(ne(a, np.zeros((), a.dtype)[()]), np.uint8)
    n = a.shape[axis]
    config: Sequence[Any] = [(0, -n % 8 if d == axis else 0, 0) for d in range(a.ndim)]
    bits = lax_pad(bits, np.uint8(0), config)
    grouped = (*a.shape[:axis], -(-n // 8), 8, *a.shape[axis + 1 :])
    parts = mul(_reshape(bits, grouped), broadcast_in_dim(array(weights), grouped, (axis + 1,)))
    return reduce_sum(parts, (axis + 1,))


def unpackbits(
    a: Any, axis: int | None = None, count: int | None = None, bitorder: str = "big"
) -> Array:
    """The bits of each uint8 of an axis, one after another.

    Args:
        a: an array of uint8.
        axis: the axis (of the flat array if None).
        count: how many bits to give: more are zeros, negative leaves out the last ones.
        bitorder: "big" gives the highest bit first.
    """
    a = as_operand("unpackbits", a)
    if a.dtype != np.uint8:
        raise TypeError(f"unpackbits: u8 was expected; got {a.aval}. Convert it with .astype.")
    places = _bit_places("unpackbits", bitorder)
    if axis is None:
        a, axis = ravel(a), 0
    axis = canonical_axis("unpackbits", axis, a.ndim)
    n = a.shape[axis]
    grouped = (*a.shape[: axis + 1], 8, *a.shape[axis + 1 :])
    wide = broadcast_in_dim(a, grouped, [d + (d > axis) for d in range(a.ndim)])
    shifted = shift_right_logical(wide, broadcast_in_dim(array(places), grouped, (axis + 1,)))
    bits = _reshape(
        bitwise_and(shifted, np.uint8(1)), (*a.shape[:axis], 8 * n, *a.shape[axis + 1 :])
    )
    if count is None:
        return bits
    extra = count - 8 * n if count >= 0 else count
    return lax_pad(bits, np.uint8(0), [(0, extra if d == axis else 0, 0) for d in range(a.ndim)])
