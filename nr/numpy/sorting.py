"""Sorting and binary search; what builds on sorted arrays as sets is in sets.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.core.tracing import typeof
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import (
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    eq,
    ge,
    imag,
    lt,
    real,
    sub,
)
from nr.lax.elementwise import shift_right_arithmetic as shift_right
from nr.lax.gather import gather
from nr.lax.indexing import GatherDimensionNumbers
from nr.lax.rules import canonical_axis, const_like, operand
from nr.lax.select import select
from nr.lax.shape import (
    broadcast_in_dim,
    broadcasted_iota,
    expand_dims,
    full,
    index_in_dim,
    reshape,
    rev,
)
from nr.lax.sort import sort as lax_sort
from nr.numpy.promotion import promote

__all__ = [
    "argpartition",
    "argsort",
    "digitize",
    "lexsort",
    "partition",
    "searchsorted",
    "sort",
    "sort_complex",
]


def flat(x: Any) -> Array:
    """x as a vector."""
    return reshape(x, (typeof(x).size,))


def index_dtype(extent: int) -> np.dtype:
    """The dtype of positions on an axis: the default integer, if that is wide enough."""
    if extent <= np.iinfo(config.default_int).max:
        return config.default_int
    return dtypes.DTYPES["int64"]


def take_flat(x: Any, indices: Any) -> Array:
    """x[indices] along the first dimension, for indices of any shape that are in range."""
    shape, rank = typeof(x).shape, typeof(indices).ndim
    return gather(
        x,
        expand_dims(indices, (rank,)),
        GatherDimensionNumbers(tuple(range(rank, rank + len(shape) - 1)), (0,), (0,)),
        (1, *shape[1:]),
        mode="clip",
    )


def _operand_and_axis(
    op: str, a: Any, axis: int | None, kind: Any, order: Any
) -> tuple[Array, int]:
    if kind is not None or order is not None:
        raise ValueError(f"{op}: kind and order must be None; use stable=True or stable=False.")
    x = operand(op, a)
    if axis is None:
        return flat(x), 0
    return x, canonical_axis(op, axis, x.ndim)


# ---------------------------------------------------------------- sort
def sort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
) -> Array:
    """The elements in ascending order along an axis, NaN last.

    Args:
        a: an array; complex numbers are ordered by real, then imaginary part.
        axis: the axis; None sorts all elements as a vector.
        kind: must be None.
        order: must be None.
        stable: whether equal elements keep their order.
        descending: the reverse order, NaN first.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.sort(jnp.array([3, 1, 2]), descending=True)
        Array([3, 2, 1], dtype=int32)
    """
    x, axis = _operand_and_axis("sort", a, axis, kind, order)
    x = lax_sort(x, axis, is_stable=stable)
    return rev(x, (axis,)) if descending else x


def argsort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
    dtype: Any = None,
) -> Array:
    """The positions that put the elements in order along an axis.

    Args:
        a: an array.
        axis: the axis; None sorts all elements as a vector.
        kind: must be None.
        order: must be None.
        stable: whether equal elements keep their order, also if descending.
        descending: largest first, NaN before all.
        dtype: an integer dtype for the positions.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.argsort(jnp.array([3., 1., 2.]))
        Array([1, 2, 0], dtype=int32)
    """
    x, axis = _operand_and_axis("argsort", a, axis, kind, order)
    dtype = index_dtype(x.shape[axis]) if dtype is None else dtypes.canonicalize(dtype)
    places = broadcasted_iota(dtype, x.shape, axis)
    if descending:  # reversed before and after, what is equal keeps its order
        x, places = rev(x, (axis,)), rev(places, (axis,))
    _, places = lax_sort((x, places), axis, is_stable=stable)
    return rev(places, (axis,)) if descending else places


def lexsort(keys: Sequence[Any] | Any, axis: int = -1) -> Array:
    """The positions that sort by several keys, of which the last one counts most.

    Args:
        keys: arrays of one shape; or one array, whose first dimension counts keys.
        axis: the axis to sort along.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.lexsort((jnp.array([1, 0, 2]), jnp.array([5, 5, 3])))
        Array([2, 1, 0], dtype=int32)
    """
    if not isinstance(keys, (tuple, list)):
        stack = operand("lexsort", keys)
        keys = [index_in_dim(stack, i, keepdims=False) for i in range(stack.shape[0])]
    xs = [operand("lexsort", key) for key in keys]
    if not xs:
        raise TypeError("lexsort: at least one key was expected; got none.")
    if not xs[0].ndim:
        return full((), 0, index_dtype(1))
    axis = canonical_axis("lexsort", axis, xs[0].ndim)
    places = broadcasted_iota(index_dtype(xs[0].shape[axis]), xs[0].shape, axis)
    return lax_sort((*xs[::-1], places), axis, num_keys=len(xs))[-1]


def sort_complex(a: Any) -> Array:
    """The elements as complex numbers, in order of real, then imaginary part."""
    x = operand("sort_complex", a)
    return sort(convert_element_type(x, dtypes.to_complex(dtypes.to_inexact(x.dtype))))


def _check_kth(op: str, kth: int, x: Array, axis: int) -> None:
    n = x.shape[axis]
    if not -n <= kth < n:
        raise ValueError(f"{op}: kth must lie in [{-n}, {n}); got {kth} for {x.aval}.")


def partition(a: Any, kth: int, axis: int = -1) -> Array:
    """Elements with the kth smallest in its sorted place, smaller ones before, larger ones after.

    On either side the order is undefined (in fact, all are sorted).
    """
    x, axis = _operand_and_axis("partition", a, axis, None, None)
    _check_kth("partition", kth, x, axis)
    return sort(x, axis, stable=False)


def argpartition(a: Any, kth: int, axis: int = -1) -> Array:
    """The positions that put elements in the order of `partition`."""
    x, axis = _operand_and_axis("argpartition", a, axis, None, None)
    _check_kth("argpartition", kth, x, axis)
    return argsort(x, axis)


# ---------------------------------------------------------------- search
def _less(x: Any, y: Any) -> Any:
    """x < y in the order of `sort`: NaN above all, complex numbers by real, then imaginary part."""
    dtype = typeof(x).dtype
    if dtype in dtypes.COMPLEX:
        tie = bitwise_and(eq(real(x), real(y)), lt(imag(x), imag(y)))
        return bitwise_or(lt(real(x), real(y)), tie)
    less = lt(x, y)
    if dtype not in dtypes.FLOATING:
        return less
    return bitwise_or(less, bitwise_and(bitwise_not(eq(y, y)), eq(x, x)))


def searchsorted(
    a: Any, v: Any, side: str = "left", sorter: Any = None, *, method: str = "scan"
) -> Array:
    """Where elements would have to be inserted into a sorted vector to keep it sorted.

    Args:
        a: a sorted vector.
        v: the elements, an array of any shape.
        side: "left" inserts before elements that are equal, "right" after them.
        sorter: positions that sort a, if it is not sorted.
        method: accepted for JAX's sake; the search is binary.

    Returns:
        Positions, of the shape of v.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.searchsorted(jnp.array([1., 2., 4.]), jnp.array([2., 3., 9.]))
        Array([1, 2, 3], dtype=int32)
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right'; got {side!r}.")
    a, v = promote("searchsorted", a, v)
    if a.ndim != 1:
        raise ValueError(f"searchsorted: a must be a vector; got {a.aval}.")
    if sorter is not None:
        a = take_flat(a, operand("searchsorted", sorter))
    return search(a, v, side)


def search(a: Any, v: Any, side: str) -> Array:
    """searchsorted for a vector and an array of one dtype."""
    n, shape = typeof(a).shape[0], typeof(v).shape
    dtype = index_dtype(n)
    low, high = full(shape, 0, dtype), full(shape, n, dtype)
    for _ in range(n.bit_length()):  # halves the interval until it is empty
        middle = shift_right(add(low, high), const_like(low, 1))
        pivot = take_flat(a, middle)
        above = _less(pivot, v) if side == "left" else bitwise_not(_less(v, pivot))
        above = bitwise_and(above, lt(low, high))
        low, high = (
            select(above, add(middle, const_like(low, 1)), low),
            select(above, high, middle),
        )
    return low


def digitize(x: Any, bins: Any, right: bool = False, *, method: str | None = None) -> Array:
    """The number of the bin in which each element lies; 0 below all, len(bins) above.

    Args:
        x: an array of real numbers.
        bins: a vector of bounds that increase or decrease.
        right: whether a bin holds its right bound rather than its left one.
        method: accepted for JAX's sake.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.digitize(jnp.array([0.5, 1., 3.]), jnp.array([0., 1., 2.]))
        Array([1, 2, 3], dtype=int32)
    """
    x, bins = promote("digitize", x, bins)
    if bins.ndim != 1:
        raise ValueError(f"digitize: bins must be a vector; got {bins.aval}.")
    side, n = "left" if right else "right", bins.shape[0]
    if not n:
        return full(x.shape, 0, index_dtype(0))
    rising = ge(index_in_dim(bins, -1, keepdims=False), index_in_dim(bins, 0, keepdims=False))
    ordered = select(broadcast_in_dim(rising, (n,), ()), bins, rev(bins, (0,)))
    places = search(ordered, x, side)
    return select(broadcast_in_dim(rising, x.shape, ()), places, sub(const_like(places, n), places))
