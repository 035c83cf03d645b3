"""Putting arrays together and taking them apart: concatenate, stack, split, insert, delete ..."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.tracing import EVAL, Tracer, current_trace
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import add, ge, lt, sub
from nr.lax.reduce import reduce_sum
from nr.lax.rules import canonical_axis
from nr.lax.select import select
from nr.lax.shape import (
    broadcast_in_dim,
    canonical_shape,
    concatenate_p,
    iota,
    slice_in_dim,
    squeeze_p,
)
from nr.lax.sort import sort
from nr.numpy.creation import array, zeros
from nr.numpy.index_functions import take
from nr.numpy.manipulation import (
    as_operand,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    broadcast_to,
    moveaxis,
    ravel,
    reshape,
    take_static,
    tile,
)
from nr.numpy.promotion import promote

__all__ = [
    "append",
    "array_split",
    "block",
    "column_stack",
    "concat",
    "concatenate",
    "delete",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "insert",
    "resize",
    "split",
    "stack",
    "trim_zeros",
    "unstack",
    "vsplit",
    "vstack",
]


# ---------------------------------------------------------------- together
def _sequence(op: str, arrays: Any) -> list[Any]:
    """A sequence of arrays, nested lists or numbers as arrays."""
    if isinstance(arrays, (Array, np.ndarray)):
        arrays = list(unstack(arrays))
    if not isinstance(arrays, (tuple, list)):
        raise TypeError(
            f"{op}: a sequence of arrays was expected; got {type(arrays).__name__}. "
            f"Pass a tuple or a list."
        )
    if not arrays:
        raise ValueError(f"{op}: at least one array was expected; got none.")
    other = [isinstance(x, (tuple, list)) or hasattr(x, "__jax_array__") for x in arrays]
    return [array(x) if convert else x for x, convert in zip(arrays, other, strict=True)]


def _plain(arrays: Any) -> list[np.ndarray] | None:
    """The NumPy arrays behind Arrays of one dtype on the host, if they may be joined right away."""
    if current_trace() is not EVAL or not isinstance(arrays, (tuple, list)) or not arrays:
        return None
    data = []
    for x in arrays:
        if type(x) is not ArrayImpl or x.committed is not None or x.data is None:
            return None
        data.append(x.data)
    dtype = data[0].dtype
    return data if all([x.dtype == dtype for x in data]) else None


def _join(op: str, xs: list[Any], axis: Any, dtype: Any = None) -> Any:
    if dtype is None:
        xs = promote(op, *xs)
    else:
        xs = [convert_element_type(as_operand(op, x), dtype) for x in xs]
    axis = canonical_axis(op, axis, xs[0].ndim)
    return xs[0] if len(xs) == 1 else concatenate_p.bind(*xs, dimension=axis)


def concatenate(arrays: Any, axis: int | None = 0, dtype: Any = None) -> Array:
    """Arrays joined along an axis that they have.

    Args:
        arrays: a sequence of arrays, whose other extents agree.
        axis: the axis; None joins the flat arrays.
        dtype: the dtype of the result, by default the promoted one.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.concatenate([jnp.ones(2), jnp.zeros(1)])
        Array([1., 1., 0.], dtype=float32)
    """
    data = _plain(arrays) if dtype is None else None
    if data is not None:
        try:
            return ArrayImpl(np.concatenate(data, axis))
        except (TypeError, ValueError):
            pass  # the general way says what is wrong
    xs = _sequence("concatenate", arrays)
    if axis is None:
        return _join("concatenate", [ravel(x) for x in xs], 0, dtype)
    if any([np.ndim(x) == 0 for x in xs]):
        raise ValueError(
            "concatenate: arrays of rank 1 or more were expected; got one of rank 0. Use stack."
        )
    return _join("concatenate", xs, axis, dtype)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Array:
    """Arrays joined along an axis that they have; the array API's name of `concatenate`."""
    return concatenate(arrays, axis)


def stack(arrays: Any, axis: int = 0, out: None = None, dtype: Any = None) -> Array:
    """Arrays of one shape joined along a new axis.

    Args:
        arrays: a sequence of arrays.
        axis: the position of the new axis.
        out: None.
        dtype: the dtype of the result, by default the promoted one.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.stack([jnp.array([1, 2]), jnp.array([3, 4])], axis=1)
        Array([[1, 3],
               [2, 4]], dtype=int32)
    """
    if out is not None:
        raise NotImplementedError("stack: out must be None; arrays are immutable. Use the result.")
    data = _plain(arrays) if dtype is None else None
    if data is not None:
        try:
            return ArrayImpl(np.stack(data, axis))
        except (TypeError, ValueError):
            pass  # the general way says what is wrong
    xs = [as_operand("stack", x) for x in _sequence("stack", arrays)]
    shape = xs[0].shape
    for x in xs:
        if x.shape != shape:
            raise ValueError(
                f"stack: all arrays must have the same shape; got {xs[0].aval} and {x.aval}. "
                f"Use concatenate to join along an axis."
            )
    axis = canonical_axis("stack", axis, len(shape) + 1)
    new_shape = (*shape[:axis], 1, *shape[axis:])
    if dtype is None:
        xs = promote("stack", *xs)
    return _join("stack", [reshape(x, new_shape) for x in xs], axis, dtype)


def _stacked(op: str, tup: Any, raised: Callable, axis: Callable, dtype: Any) -> Any:
    xs = [raised(x) for x in _sequence(op, tup)]
    return _join(op, xs, axis(xs[0]), dtype)


def vstack(tup: Any, dtype: Any = None) -> Array:
    """Arrays joined as rows, along axis 0 of rank 2."""
    return _stacked("vstack", tup, atleast_2d, lambda x: 0, dtype)


def hstack(tup: Any, dtype: Any = None) -> Array:
    """Arrays joined side by side: along axis 1, or axis 0 for rank 1."""
    return _stacked("hstack", tup, atleast_1d, lambda x: 0 if x.ndim == 1 else 1, dtype)


def dstack(tup: Any, dtype: Any = None) -> Array:
    """Arrays joined in depth, along axis 2 of rank 3."""
    return _stacked("dstack", tup, atleast_3d, lambda x: 2, dtype)


def column_stack(tup: Any) -> Array:
    """Arrays joined as columns: rank 1 gives one column each."""

    def column(x: Any) -> Any:
        x = as_operand("column_stack", x)
        return reshape(x, (x.size, 1)) if x.ndim < 2 else x

    return _stacked("column_stack", tup, column, lambda x: 1, None)


def block(arrays: Any) -> Array:
    """An array put together from nested lists of blocks.

    The innermost lists are joined along the last axis, those around them along the one before.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.block([[jnp.eye(2), jnp.ones((2, 1))]])
        Array([[1., 0., 1.],
               [0., 1., 1.]], dtype=float32)
    """
    leaves: list[Any] = []
    depth = _block_depth(arrays, leaves)
    rank = max(depth, *[x.ndim for x in leaves])
    dtype = dtypes.promote([(x.dtype, x.weak_type) for x in leaves])[0]

    def build(x: Any, level: int) -> Any:
        if isinstance(x, list):
            return _join("block", [build(y, level - 1) for y in x], rank - level)
        x = convert_element_type(as_operand("block", x), dtype)
        return reshape(x, (1,) * (rank - x.ndim) + x.shape)

    return build(arrays, depth)


def _block_depth(x: Any, leaves: list[Any]) -> int:
    if isinstance(x, tuple):
        raise TypeError("block: nested lists were expected; got a tuple. Use lists.")
    if not isinstance(x, list):
        leaves.append(as_operand("block", x))
        return 0
    depths = {_block_depth(y, leaves) for y in x}
    if len(depths) != 1:
        raise ValueError(
            f"block: lists must not be empty and be nested equally deep; got depths "
            f"{sorted(depths)} in one list."
        )
    return 1 + depths.pop()


def append(arr: Any, values: Any, axis: int | None = None) -> Array:
    """An array with values joined at its end (both flattened if axis is None)."""
    return concatenate([arr, values], axis)


# ---------------------------------------------------------------- apart
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The slices of an array along an axis, which they lose."""
    x = as_operand("unstack", x)
    if x.ndim == 0:
        raise ValueError(f"unstack: rank 1 or more was expected; got {x.aval}.")
    axis = canonical_axis("unstack", axis, x.ndim)
    return tuple(
        [
            squeeze_p.bind(slice_in_dim(x, i, i + 1, axis=axis), dimensions=(axis,))
            for i in range(x.shape[axis])
        ]
    )


def _split(op: str, ary: Any, where: Any, axis: int, equal: bool) -> list[Array]:
    x = as_operand(op, ary)
    axis = canonical_axis(op, axis, x.ndim)
    n = x.shape[axis]
    if isinstance(where, (tuple, list)) or np.ndim(where):
        cuts = [0, *[operator.index(i) for i in where], n]
        bounds = [slice(a, b).indices(n)[:2] for a, b in zip(cuts, cuts[1:], strict=False)]
        bounds = [(a, max(a, b)) for a, b in bounds]
    else:
        parts = operator.index(where)
        if parts <= 0 or (equal and n % parts):
            raise ValueError(
                f"{op}: the number of parts must be positive"
                f"{' and divide the axis evenly' if equal else ''}; got {parts} for axis {axis} "
                f"of {x.aval}.{' Use array_split.' if equal else ''}"
            )
        short, longer = divmod(n, parts)
        sizes = [short + 1] * longer + [short] * (parts - longer)
        ends = np.cumsum([0, *sizes]).tolist()
        bounds = list(zip(ends, ends[1:], strict=False))
    return [slice_in_dim(x, a, b, axis=axis) for a, b in bounds]


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """An array cut along an axis into equal parts, or at positions.

    Args:
        ary: an array.
        indices_or_sections: the number of parts, or the positions of the cuts.
        axis: the axis.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.split(jnp.arange(4), [1])
        [Array([0], dtype=int32), Array([1, 2, 3], dtype=int32)]
    """
    return _split("split", ary, indices_or_sections, axis, True)


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """`split`, where the first parts may be longer by one."""
    return _split("array_split", ary, indices_or_sections, axis, False)


def _ranked(op: str, ary: Any, rank: int) -> Any:
    x = as_operand(op, ary)
    if x.ndim < rank:
        raise ValueError(f'{op}: rank {rank} or more was expected; got {x.aval} for "ary".')
    return x


def vsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """`split` along axis 0 of an array of rank 2 or more."""
    return _split("vsplit", _ranked("vsplit", ary, 2), indices_or_sections, 0, True)


def hsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """`split` along axis 1, or axis 0 for rank 1."""
    x = _ranked("hsplit", ary, 1)
    return _split("hsplit", x, indices_or_sections, 0 if x.ndim == 1 else 1, True)


def dsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """`split` along axis 2 of an array of rank 3 or more."""
    return _split("dsplit", _ranked("dsplit", ary, 3), indices_or_sections, 2, True)


# ---------------------------------------------------------------- in between
def _flat_axis(op: str, arr: Any, axis: Any) -> tuple[Any, int]:
    x = as_operand(op, arr)
    if axis is None:
        return ravel(x), 0
    return x, canonical_axis(op, axis, x.ndim)


def _positions(op: str, obj: Any, n: int) -> np.ndarray:
    """Static positions on an axis of extent n, counted from its start."""
    if isinstance(obj, slice):
        return np.arange(*obj.indices(n))
    places = np.asarray(obj)
    if places.dtype.kind == "b":
        if op == "delete" and places.shape != (n,):
            raise ValueError(f"{op}: a mask must have the shape {(n,)} of the axis; got {obj!r}.")
        places = np.flatnonzero(places)
    if places.size == 0:
        places = places.astype(np.int64)
    if places.dtype.kind not in "iu" or (places.ndim > 1 and op == "insert"):
        most = " of rank 0 or 1" if op == "insert" else ""
        raise TypeError(f'{op}: integers{most} were expected for "obj"; got {obj!r}.')
    limit = n + (op == "insert")
    if ((places < -n) | (places >= limit)).any():
        raise IndexError(f"{op}: positions must lie in [{-n}, {limit}); got {places}.")
    return np.where(places < 0, places + n, places)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Array:
    """An array with values inserted before positions of an axis (of the flat array if None).

    Args:
        arr: an array.
        obj: static positions: an integer, a slice, or a sequence of integers.
        values: what to insert; it is converted to the dtype of `arr` and broadcast.
        axis: the axis.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.insert(jnp.array([1, 2, 3]), 1, 9)
        Array([1, 9, 2, 3], dtype=int32)
    """
    x, axis = _flat_axis("insert", arr, axis)
    n = x.shape[axis]
    places = _positions("insert", obj, n)
    new = array(values, x.dtype, copy=False, ndmin=x.ndim)
    if places.ndim == 0:
        new = moveaxis(new, 0, axis)
        places = np.full(new.shape[axis], places)
    elif places.size == 1:
        places = np.full(new.shape[axis], places)
    count = len(places)
    new = broadcast_to(new, (*x.shape[:axis], count, *x.shape[axis + 1 :]))
    # The order of old and new elements: new ones come before the old one at their position.
    order = np.argsort(np.concatenate([np.arange(n) * 2 + 1, places * 2]), kind="stable")
    return take_static(_join("insert", [x, new], axis), order, axis)


def delete(
    arr: Any, obj: Any, axis: int | None = None, *, assume_unique_indices: bool = False
) -> Array:
    """An array without positions of an axis (of the flat array if None).

    Args:
        arr: an array.
        obj: an integer, a slice, or a sequence of integers or bools; a traced integer is taken
            too, and a traced array with `assume_unique_indices`.
        axis: the axis.
        assume_unique_indices: promise that no position comes twice.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.delete(jnp.array([1, 2, 3]), 1)
        Array([1, 3], dtype=int32)
    """
    x, axis = _flat_axis("delete", arr, axis)
    n = x.shape[axis]
    if isinstance(obj, Tracer) and (obj.ndim == 0 or assume_unique_indices):
        return _delete_traced(x, ravel(obj), axis)
    kept = np.ones(n, bool)
    kept[_positions("delete", obj, n)] = False
    return take_static(x, np.flatnonzero(kept), axis)


def _delete_traced(x: Any, places: Any, axis: int) -> Any:
    n, count = x.shape[axis], places.shape[0]
    places = convert_element_type(places, np.int32)
    places = sort(select(lt(places, np.int32(0)), add(places, np.int32(n)), places))
    # Of those kept, number i comes after as many deleted ones as lie at most at i + their rank.
    rest = n - count
    grid = (rest, count)
    limits = broadcast_in_dim(sub(places, iota(np.int32, count)), grid, (1,))
    kept = iota(np.int32, rest)
    passed = ge(broadcast_in_dim(kept, grid, (0,)), limits)
    places = add(kept, reduce_sum(convert_element_type(passed, np.int32), (1,)))
    return take(x, places, axis, mode="clip")


def resize(a: Any, new_shape: Any) -> Array:
    """An array of a shape filled with the elements of another, again and again.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.resize(jnp.array([1, 2, 3]), (2, 2))
        Array([[1, 2],
               [3, 1]], dtype=int32)
    """
    x = ravel(a)
    shape = canonical_shape("resize", new_shape)
    total = int(np.prod(shape, dtype=np.int64))
    if x.size == 0:
        return zeros(shape, x.dtype)
    return reshape(slice_in_dim(tile(x, -(-total // x.size)), 0, total), shape)


def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Array:
    """An array without the zeros at its front ("f") and back ("b"), along axes (all if None).

    The shape of the result depends on the numbers, so they must be known.
    """
    x = as_operand("trim_zeros", filt)
    sides = trim.lower()
    if sides not in ("f", "b", "fb", "bf"):
        raise ValueError(f'trim_zeros: trim must be "f", "b" or "fb"; got {trim!r}.')
    found = np.nonzero(np.asarray(x))
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else [axis]
    for d in [canonical_axis("trim_zeros", d, x.ndim) for d in axes]:
        places = found[d]
        low = (int(places.min()) if places.size else x.shape[d]) if "f" in sides else 0
        high = (int(places.max()) + 1 if places.size else 0) if "b" in sides else x.shape[d]
        x = slice_in_dim(x, low, max(low, high), axis=d)
    return x
