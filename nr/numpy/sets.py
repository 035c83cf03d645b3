"""Vectors as sets: unique elements, and union, intersection and differences.

The sizes of these results depend on numbers. Where those are traced, the caller gives `size`;
results are then cut off or filled up to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nr.core import dtypes
from nr.core.array import Array
from nr.core.errors import ConcretizationTypeError
from nr.core.tracing import Tracer
from nr.lax.convert import convert_element_type
from nr.lax.cumulative import cumsum
from nr.lax.elementwise import bitwise_and, bitwise_not, bitwise_or, eq, lt, min, ne, sub
from nr.lax.reduce import reduce_sum
from nr.lax.rules import canonical_axis, const_like, move_dim, operand
from nr.lax.select import select
from nr.lax.shape import (
    broadcast_in_dim,
    concatenate,
    full,
    index_in_dim,
    iota,
    reshape,
    slice_in_dim,
)
from nr.lax.sort import sort as lax_sort
from nr.numpy.promotion import promote
from nr.numpy.sorting import flat, index_dtype, search, take_flat

__all__ = [
    "intersect1d",
    "isin",
    "setdiff1d",
    "setxor1d",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


# ---------------------------------------------------------------- places where a mask holds
def _places(op: str, mask: Array, size: int | None) -> Array:
    """The places where a mask holds, `size` of them; missing ones are its length.

    Raises:
        ConcretizationTypeError: if size is None and the mask is traced.
    """
    n = mask.shape[0]
    dtype = index_dtype(n)
    if size is None:
        size = _known(op, _count(mask))
    counting = iota(dtype, n)
    places = lax_sort(select(mask, counting, full((n,), n, dtype)))
    if size > n:
        places = concatenate([places, full((size - n,), n, dtype)], 0)
    return slice_in_dim(places, 0, size)


def _count(mask: Array) -> Array:
    return reduce_sum(convert_element_type(mask, index_dtype(mask.shape[0])), (0,))


def _known(op: str, count: Any) -> int:
    value = count.concrete() if isinstance(count, Tracer) else count
    if value is None:
        raise ConcretizationTypeError(
            f"{op}: the shape of the result depends on the numbers of a traced value; "
            f"{count.describe()}. Give the number of elements with size=..."
        )
    return int(value)


def _pick(x: Array, places: Array, fill_value: Any) -> Array:
    """x at places; those that are missing get the fill value, or by default the first element."""
    n, size = x.shape[0], places.shape[0]
    if not n:
        fill = 0 if fill_value is None else fill_value
        return full((size, *x.shape[1:]), convert_element_type(fill, x.dtype))
    first = index_in_dim(places, 0) if size else places
    missing = eq(places, const_like(places, n))
    if size:  # where nothing is there at all, the first element of x
        first = select(eq(first, const_like(first, n)), full((1,), 0, first.dtype), first)
        places = select(missing, broadcast_in_dim(first, (size,), (0,)), places)
    out = take_flat(x, places)
    if fill_value is None:
        return out
    fill = convert_element_type(operand("fill_value", fill_value), x.dtype)
    return select(
        broadcast_in_dim(missing, out.shape, (0,)),
        broadcast_in_dim(fill, out.shape, tuple(range(out.ndim - fill.ndim, out.ndim))),
        out,
    )


# ---------------------------------------------------------------- unique
class UniqueAll(NamedTuple):
    """Unique values, where they first occur, which one each element is, and how often they do."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCounts(NamedTuple):
    """Unique values, and how often each occurs."""

    values: Array
    counts: Array


class UniqueInverse(NamedTuple):
    """Unique values, and which of them each element is."""

    values: Array
    inverse_indices: Array


def _differs(x: Array, equal_nan: bool) -> Array:
    """Whether each element of a sorted vector but the first differs from the one before it."""
    n = x.shape[0]
    a, b = slice_in_dim(x, 0, n - 1), slice_in_dim(x, 1, n)
    if equal_nan and x.dtype in dtypes.INEXACT:
        return bitwise_and(ne(a, b), bitwise_or(eq(a, a), eq(b, b)))
    return ne(a, b)


def _sorted_rows(x: Array, equal_nan: bool) -> tuple[Array, Array]:
    """The order that sorts the rows of ``[n, m]``, and which sorted rows differ from the last."""
    n, m = x.shape
    columns = [reshape(slice_in_dim(x, i, i + 1, axis=1), (n,)) for i in range(m)]
    counting = iota(index_dtype(n), n)
    if not m:
        return counting, lt(counting, const_like(counting, 1))
    *columns, order = lax_sort((*columns, counting), num_keys=m)
    if not n:
        return order, full((0,), False)
    differs = _differs(columns[0], equal_nan)
    for column in columns[1:]:
        differs = bitwise_or(differs, _differs(column, equal_nan))
    return order, concatenate([full((1,), True), differs], 0)


def _unique(
    op: str, ar: Any, axis: int | None, equal_nan: bool, size: int | None, fill_value: Any
) -> UniqueAll:
    ar = operand(op, ar)
    x = flat(ar) if axis is None else move_dim(ar, canonical_axis(op, axis, ar.ndim), 0)
    n = x.shape[0]
    order, mask = _sorted_rows(reshape(x, (n, x.size // n if n else 1)), equal_nan)
    if size is None:
        size = _known(op, _count(mask))
    edges = _places(op, mask, size + 1)  # where runs of equals start, and the last one ends
    places = slice_in_dim(edges, 0, size)
    counts = sub(slice_in_dim(edges, 1, size + 1), places)
    values = _pick(take_flat(x, order) if n else x, places, fill_value)
    ranks = cumsum(convert_element_type(mask, places.dtype))
    ranks = sub(ranks, const_like(ranks, 1))
    inverse = lax_sort((order, ranks))[1] if n else ranks
    indices = _pick(order, places, None)
    if axis is None:
        inverse = reshape(inverse, ar.shape)
    else:
        values = move_dim(values, 0, canonical_axis(op, axis, ar.ndim))
    return UniqueAll(values, indices, inverse, counts)


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: Any = None,
    sorted: bool = True,  # noqa: A002 - the standard's argument name
) -> Any:
    """The distinct elements, in ascending order.

    Args:
        ar: an array.
        return_index: also return where each first occurs.
        return_inverse: also return, for each element of ar, its place in the result.
        return_counts: also return how often each occurs.
        axis: take slices along this axis as the elements; None takes numbers.
        equal_nan: whether all NaN are one element.
        size: the number of elements to return; needed where numbers are traced.
        fill_value: fills up to size; by default the smallest element.
        sorted: accepted for NumPy's sake; the result is always sorted.

    Returns:
        The elements, or a tuple of them and what else was asked for.

    Raises:
        ConcretizationTypeError: if the numbers are traced and size is not given.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.unique(jnp.array([3, 1, 3]), return_counts=True)
        (Array([1, 3], dtype=int32), Array([1, 2], dtype=int32))
    """
    values, *others = _unique("unique", ar, axis, equal_nan, size, fill_value)
    wanted = (return_index, return_inverse, return_counts)
    extra = [x for x, is_wanted in zip(others, wanted) if is_wanted]
    return (values, *extra) if extra else values


def unique_all(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueAll:
    """Distinct elements with indices, inverse and counts; every NaN is distinct."""
    return _unique("unique_all", x, None, False, size, fill_value)


def unique_counts(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueCounts:
    """Distinct elements, and how often each occurs; every NaN is distinct."""
    result = _unique("unique_counts", x, None, False, size, fill_value)
    return UniqueCounts(result.values, result.counts)


def unique_inverse(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueInverse:
    """Distinct elements, and which of them each element is; every NaN is distinct."""
    result = _unique("unique_inverse", x, None, False, size, fill_value)
    return UniqueInverse(result.values, result.inverse_indices)


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Array:
    """Distinct elements; every NaN is distinct."""
    return _unique("unique_values", x, None, False, size, fill_value).values


# ---------------------------------------------------------------- membership
def _is_member(x: Array, sorted_set: Array) -> Array:
    """Whether each element of x is in a sorted vector of its dtype."""
    n = sorted_set.shape[0]
    if not n:
        return full(x.shape, False)
    places = search(sorted_set, x, "left")
    return eq(take_flat(sorted_set, min(places, const_like(places, n - 1))), x)


def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    method: str = "auto",
) -> Array:
    """Whether each element of one array is in another; NaN is in none.

    Args:
        element: the elements asked about.
        test_elements: the array they may be in.
        assume_unique: accepted for NumPy's sake.
        invert: ask whether they are absent.
        method: accepted for JAX's sake.

    Returns:
        A bool array of the shape of element.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.isin(jnp.array([1, 2, 3]), jnp.array([3, 1]))
        Array([ True, False,  True], dtype=bool)
    """
    x, others = promote("isin", element, test_elements)
    result = _is_member(x, lax_sort(flat(others)))
    return bitwise_not(result) if invert else result


# ---------------------------------------------------------------- set operations
def _sorted_set(x: Array) -> tuple[Array, Array, Array]:
    """x as a sorted vector, the order that sorts it, and which elements are the first of equals."""
    x = flat(x)
    order, first = _sorted_rows(reshape(x, (x.size, 1)), True)
    return (take_flat(x, order) if x.size else x), order, first


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Array:
    """The distinct elements of two arrays together, in ascending order.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.union1d(jnp.array([1, 2]), jnp.array([2, 3]))
        Array([1, 2, 3], dtype=int32)
    """
    x, y = promote("union1d", ar1, ar2)
    both = concatenate([flat(x), flat(y)], 0)
    return _unique("union1d", both, None, True, size, fill_value).values


def intersect1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The distinct elements that two arrays have in common, in ascending order.

    Args:
        ar1: an array.
        ar2: an array.
        assume_unique: accepted for NumPy's sake.
        return_indices: also return where they first occur in each of the flattened arrays.
        size: the number of elements to return; needed where numbers are traced.
        fill_value: fills up to size; by default the smallest element. Indices are filled up with
            the length of the array.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.intersect1d(jnp.array([1, 2, 3]), jnp.array([3, 2, 5]))
        Array([2, 3], dtype=int32)
    """
    x, y = promote("intersect1d", ar1, ar2)
    x, x_order, x_first = _sorted_set(x)
    y, y_order, _ = _sorted_set(y)
    places = _places("intersect1d", bitwise_and(x_first, _is_member(x, y)), size)
    values = _pick(x, places, fill_value)
    if not return_indices:
        return values
    n, m = x.shape[0], y.shape[0]
    missing = eq(places, const_like(places, n))
    in_x = _pick(x_order, places, n)
    in_y = full(places.shape, m, places.dtype)
    if n and m:
        found = take_flat(y_order, search(y, _pick(x, places, None), "left"))
        in_y = select(missing, in_y, found)
    return values, in_x, in_y


def setdiff1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Array:
    """The distinct elements of one array that another lacks, in ascending order.

    With assume_unique, all such elements in the order of the first array.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.setdiff1d(jnp.array([1, 2, 3]), jnp.array([2]))
        Array([1, 3], dtype=int32)
    """
    x, y = promote("setdiff1d", ar1, ar2)
    x, first = flat(x), None
    if not assume_unique:
        x, _, first = _sorted_set(x)
    keep = bitwise_not(_is_member(x, lax_sort(flat(y))))
    places = _places("setdiff1d", keep if first is None else bitwise_and(keep, first), size)
    return _pick(x, places, fill_value)


def setxor1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Array:
    """The distinct elements that exactly one of two arrays has, in ascending order.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.setxor1d(jnp.array([1, 2]), jnp.array([2, 3]))
        Array([1, 3], dtype=int32)
    """
    x, y = promote("setxor1d", ar1, ar2)
    x, _, x_first = _sorted_set(x)
    y, _, y_first = _sorted_set(y)
    keep = concatenate(
        [
            bitwise_and(x_first, bitwise_not(_is_member(x, y))),
            bitwise_and(y_first, bitwise_not(_is_member(y, x))),
        ],
        0,
    )
    both, keep = lax_sort((concatenate([x, y], 0), keep))
    places = _places("setxor1d", keep, size)
    return _pick(both, places, fill_value)
