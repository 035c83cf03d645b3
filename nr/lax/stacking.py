"""stack, unstack, tile, broadcast_like, empty: composed of what moves elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.tracing import typeof
from nr.lax.rules import canonical_axis, one_dtype, zeros_of
from nr.lax.rules import operand as as_operand
from nr.lax.shape import (
    broadcast_in_dim,
    broadcast_shapes,
    canonical_shape,
    concatenate,
    expand_dims,
    index_in_dim,
    reshape,
)


def stack(operands: Sequence[Any], axis: int = 0) -> Array:
    """Arrays of one shape and dtype joined along a new axis.

    Raises:
        TypeError: if dtypes differ.
        ValueError: if shapes differ, or there are no arrays.

    Example:
        >>> import nr
        >>> nr.lax.stack([nr.numpy.array([1, 2]), nr.numpy.array([3, 4])], axis=1)
        Array([[1, 3],
               [2, 4]], dtype=int32)
    """
    if not len(operands):
        raise ValueError("stack: one array or more was expected; got none.")
    xs = [as_operand("stack", x) for x in one_dtype("stack", *operands)]
    if any(x.shape != xs[0].shape for x in xs):
        got = ", ".join([str(x.aval) for x in xs])
        raise ValueError(f"stack: arrays must have the same shape; got {got}.")
    axis = canonical_axis("stack", axis, xs[0].ndim + 1)
    return concatenate([expand_dims(x, (axis,)) for x in xs], axis)


def unstack(x: Any, axis: int = 0) -> tuple[Array, ...]:
    """The slices of an array along an axis, which they lose.

    Example:
        >>> import nr
        >>> nr.lax.unstack(nr.numpy.array([[1, 2], [3, 4]]), axis=1)
        (Array([1, 3], dtype=int32), Array([2, 4], dtype=int32))
    """
    x = as_operand("unstack", x)
    axis = canonical_axis("unstack", axis, x.ndim)
    return tuple([index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])])


def tile(operand: Any, reps: Sequence[int]) -> Array:
    """An array repeated as a whole, so many times along each of its dimensions.

    Raises:
        ValueError: unless there are as many repeats as dimensions, none negative.

    Example:
        >>> import nr
        >>> nr.lax.tile(nr.numpy.array([1, 2]), (2,))
        Array([1, 2, 1, 2], dtype=int32)
    """
    x = as_operand("tile", operand)
    reps = canonical_shape("tile", tuple(reps))
    if len(reps) != x.ndim:
        raise ValueError(
            f"tile: as many repeats as dimensions were expected; got {reps} for {x.aval}. "
            f"Use nr.numpy.tile, which adds dimensions."
        )
    between = [n for pair in zip(reps, x.shape, strict=True) for n in pair]
    wide = broadcast_in_dim(x, between, range(1, 2 * x.ndim, 2))
    return reshape(wide, tuple([r * n for r, n in zip(reps, x.shape, strict=True)]))


def broadcast_like(arr: Any, like_arr: Any) -> Array:
    """An array broadcast to the shape of another.

    Raises:
        ValueError: if its shape does not broadcast to that shape.

    Example:
        >>> import nr
        >>> nr.lax.broadcast_like(nr.numpy.array([1, 2]), nr.numpy.zeros((2, 2)))
        Array([[1, 2],
               [1, 2]], dtype=int32)
    """
    arr, shape = as_operand("broadcast_like", arr), typeof(like_arr).shape
    if broadcast_shapes(arr.shape, shape) != shape:
        raise ValueError(
            f"broadcast_like: the array must broadcast to the shape {shape}; got {arr.aval}."
        )
    return broadcast_in_dim(arr, shape, range(len(shape) - arr.ndim, len(shape)))


def empty(shape: Any, dtype: Any) -> Array:
    """An array whose elements do not matter; they are zeros.

    Example:
        >>> import nr
        >>> nr.lax.empty((2,), "int32").shape
        (2,)
    """
    if hasattr(shape, "__index__"):
        shape = (shape,)
    return as_operand(
        "empty", zeros_of(ShapedArray(canonical_shape("empty", shape), dtypes.canonicalize(dtype)))
    )
