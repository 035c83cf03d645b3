"""Functions that pick, place and find elements: take, put, diag, nonzero, ix_ and their kin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.errors import ConcretizationTypeError
from nr.core.tracing import Tracer, typeof
from nr.lax.convert import convert_element_type
from nr.lax.cumulative import cumsum
from nr.lax.elementwise import add, clamp, div, lt, mul, ne, rem, sub
from nr.lax.elementwise import max as lax_max
from nr.lax.gather import gather, gather_along, wrap_negative
from nr.lax.indexing import (
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
    gather_mode,
    scatter_mode,
)
from nr.lax.rules import canonical_axis, const_like, operand
from nr.lax.scatter import scatter
from nr.lax.select import select
from nr.lax.shape import (
    broadcast_in_dim,
    broadcast_shapes,
    concatenate,
    expand_dims,
    full,
    iota,
    pad,
    reshape,
    squeeze,
    transpose,
)
from nr.numpy.at import IndexUpdateRef
from nr.numpy.indexing import (
    array_entry,
    is_checked,
    rewriting_take,
    signed_index_dtype,
    unwrapped,
)

Mode = str | GatherScatterMode | None


def _known(x: Any) -> np.ndarray | None:
    """The numbers of an array, if they are known."""
    if isinstance(x, Tracer):
        x = x.concrete()
    if x is None or isinstance(x, Tracer):
        return None
    return x.host() if isinstance(x, ArrayImpl) else np.asarray(x)


def _integers(op: str, name: str, x: Any) -> Any:
    """x as a known NumPy array or a tracer, of an integer type."""
    x = operand(op, x)
    if x.dtype not in dtypes.INTEGER:
        raise TypeError(f'{op}: "{name}" must be of an integer type; got {x.aval}.')
    known = _known(x)
    return x if known is None else known


def _index_array(x: np.ndarray) -> Array:
    """Positions as an array of the default integer dtype, or wider if they need it."""
    dtype = dtypes.scalar_dtype(int)
    if x.size and x.max() > np.iinfo(dtype).max:
        dtype = np.dtype(np.int64)
    return ArrayImpl(np.ascontiguousarray(x, dtype).reshape(x.shape))


def _flat(x: Any) -> Any:
    return reshape(x, (math.prod(x.shape),))


def _flat_places(x: Any) -> Any:
    return x.reshape(-1) if isinstance(x, np.ndarray) else _flat(x)


def _broadcast(x: Any, shape: tuple[int, ...]) -> Any:
    return broadcast_in_dim(x, shape, range(len(shape) - typeof(x).ndim, len(shape)))


def _no_out(op: str, out: None) -> None:
    if out is not None:
        raise NotImplementedError(f"{op}: arrays are immutable; got an `out`. Use the result.")


def _not_inplace(op: str, inplace: bool) -> None:
    if inplace:
        raise ValueError(
            f"{op}: arrays are immutable; got inplace=True. Use the result with inplace=False."
        )


# ---------------------------------------------------------------- picking
def take(
    a: Any,
    indices: Any,
    axis: int | None = None,
    out: None = None,
    mode: Mode = None,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    fill_value: Any = None,
) -> Array:
    """Elements of an array along an axis (flattened if it is None) at the given positions.

    Args:
        a: array.
        indices: integers of any shape.
        axis: the axis that they are positions on.
        mode: what positions out of range give: "fill" (NaN, or `fill_value`), "clip" (the nearest
            end, which for negative ones is the first), "wrap" (positions modulo the size), "raise".
            By default IndexError where the numbers of the indices are known, else as "fill".

    Returns:
        An array with the shape of the indices in place of the axis.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.take(jnp.array([[1, 2], [3, 4]]), jnp.array([1, 0]), axis=1)
        Array([[2, 1],
               [4, 3]], dtype=int32)
    """
    _no_out("take", out)
    x = operand("take", a)
    if axis is None:
        x, axis = _flat(x), 0
    axis = canonical_axis("take", axis, x.ndim)
    indices, mode = _apply_mode("take", indices, x.shape[axis], mode)
    return rewriting_take(
        x,
        (*[slice(None)] * axis, indices),
        mode=mode,
        fill_value=fill_value,
        unique_indices=unique_indices,
        indices_are_sorted=indices_are_sorted,
        traced_mode="fill",
    )


def _apply_mode(op: str, indices: Any, extent: int, mode: Mode) -> tuple[Any, Mode]:
    """Indices with NumPy's "wrap" and "clip" done, and the mode that is left to do."""
    indices = _integers(op, "indices", indices)
    if mode == "raise":
        return indices, "error"
    if mode not in ("wrap", "clip") or extent == 0:
        return indices, mode
    if isinstance(indices, np.ndarray):
        wide = indices.astype(np.int64)
        wide = wide % extent if mode == "wrap" else np.clip(wide, 0, extent - 1)
        return ArrayImpl(wide), "promise_in_bounds"
    indices = convert_element_type(indices, signed_index_dtype(indices.dtype))
    if mode == "wrap":
        indices = wrap_negative(rem(indices, const_like(indices, extent)), extent)
    else:
        indices = clamp(const_like(indices, 0), indices, const_like(indices, extent - 1))
    return indices, "promise_in_bounds"


def take_along_axis(
    arr: Any,
    indices: Any,
    axis: int | None = -1,
    mode: Mode = None,
    fill_value: Any = None,
    *,
    wrap_negative_indices: bool = True,
) -> Array:
    """Elements picked along an axis, in each line of the array by the same line of the indices.

    Args:
        arr: array.
        indices: integers of the same rank; other dimensions than the axis broadcast.
        axis: the axis that they are positions on; None means that both are flattened.
        mode: what positions out of range give: "fill", "clip", or "one_hot" for 0. By default
            IndexError where the numbers of the indices are known, else as "fill".
        fill_value: what "fill" gives; by default as in `take`.
        wrap_negative_indices: whether negative positions count from the end.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.take_along_axis(jnp.array([[1, 2], [3, 4]]), jnp.array([[1], [0]]), axis=1)
        Array([[2],
               [3]], dtype=int32)
    """
    x, places = operand("take_along_axis", arr), _integers("take_along_axis", "indices", indices)
    if not wrap_negative_indices:
        places = _integers("take_along_axis", "indices", unwrapped(places))
    if mode == "one_hot":
        mode, fill_value = "fill", 0
    if axis is None:
        x, places, axis = _flat(x), _flat_places(places), 0
    axis, places, known = _line_places("take_along_axis", x, places, axis, mode)
    shape = broadcast_shapes(
        (*x.shape[:axis], 1, *x.shape[axis + 1 :]),
        (*places.shape[:axis], 1, *places.shape[axis + 1 :]),
    )
    places = _broadcast(places, (*shape[:axis], places.shape[axis], *shape[axis + 1 :]))
    if 0 in places.shape:  # x may be empty as well: then no element could be read
        return full(places.shape, 0, x.dtype)
    others = [d for d in range(x.ndim) if d != axis]
    together = tuple([d for d in others if x.shape[d] == shape[d]])
    collapsed = tuple([d for d in range(x.ndim) if d not in together])
    return gather(
        x,
        expand_dims(places, x.ndim),
        GatherDimensionNumbers((), collapsed, (axis,), together, together),
        (1,) * x.ndim,
        mode="promise_in_bounds" if known and is_checked(mode) else gather_mode(mode, "fill"),
        fill_value=fill_value,
    )


def _line_places(op: str, x: Any, places: Any, axis: int, mode: Mode) -> tuple[int, Any, bool]:
    if places.ndim != x.ndim:
        raise ValueError(
            f"{op}: array and indices must have one rank; got {x.aval} and {typeof(places)}. "
            f"Add dimensions of extent 1 to the indices."
        )
    axis = canonical_axis(op, axis, x.ndim)
    entry = array_entry(places, axis, x.shape[axis], mode)
    return axis, ArrayImpl(entry.array) if entry.known else entry.array, entry.known


def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Array:
    """The element of ``choices[a]`` at each place, all broadcast to one shape.

    Args:
        a: integers in [0, number of choices).
        choices: arrays, or one array whose first dimension counts the choices.
        mode: what other integers mean: "raise" (ValueError; the numbers must be known), "wrap"
            or "clip".
    """
    _no_out("choose", out)
    which = _integers("choose", "a", a)
    if isinstance(choices, (Array, np.ndarray)):
        choices = [rewriting_take(choices, i) for i in range(choices.shape[0])]
    choices = [operand("choose", c) for c in choices]
    n = len(choices)
    if mode == "raise":
        if isinstance(which, Tracer):
            raise ConcretizationTypeError(
                f'choose: mode "raise" needs known numbers; got a traced {which.aval}. '
                f'Use mode="clip" or mode="wrap".'
            )
        if which.size and not (which.min() >= 0 and which.max() < n):
            raise ValueError(f"choose: integers in [0, {n}) were expected; got {which}.")
        which = ArrayImpl(which)
    else:
        which, _ = _apply_mode("choose", which, n, mode)
    dtype, _ = dtypes.promote([(c.dtype, c.weak_type) for c in choices])
    shape = broadcast_shapes(which.shape, *[c.shape for c in choices])
    rows = [expand_dims(_broadcast(convert_element_type(c, dtype), shape), 0) for c in choices]
    picked = gather_along(concatenate(rows, 0), expand_dims(_broadcast(which, shape), 0), 0)
    return squeeze(picked, 0)


def compress(
    condition: Any,
    a: Any,
    axis: int | None = None,
    *,
    size: int | None = None,
    fill_value: Any = 0,
    out: None = None,
) -> Array:
    """The slices of an array along an axis for which a rank-1 condition holds.

    Args:
        condition: bools, one a position on the axis (missing ones are False).
        axis: None means that the array is flattened.
        size: how many to return, for use under `jit`; the rest is `fill_value`.
    """
    _no_out("compress", out)
    condition, x = operand("compress", condition), operand("compress", a)
    if condition.ndim != 1:
        raise ValueError(f"compress: the condition must have rank 1; got {condition.aval}.")
    if axis is None:
        x, axis = _flat(x), 0
    axis = canonical_axis("compress", axis, x.ndim)
    if size is None:
        return take(x, flatnonzero(condition), axis)
    places = flatnonzero(condition, size=size, fill_value=x.shape[axis])
    return take(x, places, axis, mode="fill", fill_value=fill_value)


def extract(condition: Any, arr: Any, *, size: int | None = None, fill_value: Any = 0) -> Array:
    """The elements, as a rank-1 array, for which a condition of the same size holds."""
    return compress(_flat(operand("extract", condition)), arr, size=size, fill_value=fill_value)


# ---------------------------------------------------------------- placing
def put_along_axis(
    arr: Any,
    indices: Any,
    values: Any,
    axis: int | None,
    inplace: bool = False,
    *,
    mode: Mode = None,
) -> Array:
    """arr with values put where `take_along_axis` would read with the same indices.

    Args:
        values: broadcast to the shape of the indices, converted to arr's dtype.
        mode: what positions out of range do: "drop" or "clip". By default IndexError where the
            numbers of the indices are known, else as "drop".

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.put_along_axis(jnp.zeros((2, 2)), jnp.array([[1], [0]]), 5.0, axis=1)
        Array([[0., 5.],
               [5., 0.]], dtype=float32)
    """
    _not_inplace("put_along_axis", inplace)
    x, places = operand("put_along_axis", arr), _integers("put_along_axis", "indices", indices)
    shape = x.shape
    if axis is None:
        x, places, axis = _flat(x), _flat_places(places), 0
    axis, places, known = _line_places("put_along_axis", x, places, axis, mode)
    lines = (*x.shape[:axis], places.shape[axis], *x.shape[axis + 1 :])
    others = tuple([d for d in range(x.ndim) if d != axis])
    out = scatter(
        x,
        expand_dims(_broadcast(places, lines), x.ndim),
        _broadcast(convert_element_type(values, x.dtype), lines),
        ScatterDimensionNumbers((), (axis,), (axis,), others, others),
        mode="promise_in_bounds" if known and is_checked(mode) else scatter_mode(mode),
    )
    return reshape(out, shape)


def put(a: Any, ind: Any, v: Any, mode: str | None = None, *, inplace: bool = False) -> Array:
    """a with ``a.flat[ind] = v``; v is repeated as often as needed.

    Args:
        mode: what positions out of range do: "clip", "wrap", "drop" or "raise". By default
            IndexError where their numbers are known, else as "drop".
    """
    _not_inplace("put", inplace)
    x, values = operand("put", a), _flat(operand("put", v))
    ind, left = _apply_mode("put", ind, math.prod(x.shape), mode)
    ind = _flat_places(ind)
    n = ind.shape[0]
    if not n or not values.shape[0]:
        return x
    if values.shape[0] != n:
        values = rewriting_take(values, np.arange(n) % values.shape[0])
    flat = IndexUpdateRef(_flat(x), ind).set(values, mode=left)
    return reshape(flat, x.shape)


def place(arr: Any, mask: Any, vals: Any, *, inplace: bool = False) -> Array:
    """arr with the elements where mask holds set to vals, which are repeated as often as needed.

    Args:
        arr: an array.
        mask: as many elements as arr has.
        vals: one value or more.

    Raises:
        ValueError: if the mask has another size, or there are no values.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.place(jnp.arange(4), jnp.array([True, False, True, True]), jnp.array([7, 8]))
        Array([7, 1, 8, 7], dtype=int32)
    """
    _not_inplace("place", inplace)
    x, chosen, values = operand("place", arr), _flat(operand("place", mask)), operand("place", vals)
    values = _flat(values)
    size = math.prod(x.shape)
    if chosen.shape[0] != size:
        raise ValueError(f"place: the mask must have {size} elements; got {chosen.aval}.")
    if not values.shape[0]:
        raise ValueError("place: one value or more was expected; got none.")
    if not size:
        return x
    chosen = convert_element_type(chosen, np.bool_)
    count = cumsum(convert_element_type(chosen, np.int32), 0)
    places = rem(sub(lax_max(count, np.int32(1)), np.int32(1)), np.int32(values.shape[0]))
    values = convert_element_type(rewriting_take(values, places), x.dtype)
    return reshape(select(chosen, values, _flat(x)), x.shape)


def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = False) -> Array:
    """a with its main diagonal set to val, which is repeated as often as needed.

    Args:
        a: array of rank 2, or of higher rank with equal extents.
        wrap: of a tall matrix, go on with the diagonal after each square.
    """
    _not_inplace("fill_diagonal", inplace)
    x = operand("fill_diagonal", a)
    if x.ndim < 2 or x.ndim > 2 and len(set(x.shape)) > 1:
        raise ValueError(f"fill_diagonal: rank 2, or equal extents, was expected; got {x.aval}.")
    size, end = math.prod(x.shape), None
    if x.ndim == 2:
        step = x.shape[1] + 1
        end = None if wrap else x.shape[1] * x.shape[1]
    else:
        step = 1 + sum(math.prod(x.shape[:d]) for d in range(1, x.ndim))
    n = len(range(*slice(0, end, step).indices(size)))
    values = _flat(operand("fill_diagonal", val))
    if n and values.shape[0] not in (1, n):
        values = rewriting_take(values, np.arange(n) % values.shape[0])
    return reshape(IndexUpdateRef(_flat(x), slice(0, end, step)).set(values), x.shape)


# ---------------------------------------------------------------- diagonals
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The diagonal of two dimensions, as the last dimension of the result.

    Args:
        offset: above 0 for a diagonal above the main one.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.diagonal(jnp.array([[1, 2], [3, 4]]))
        Array([1, 4], dtype=int32)
    """
    x = operand("diagonal", a)
    if x.ndim < 2:
        raise ValueError(f"diagonal: rank 2 or more was expected; got {x.aval}.")
    axis1 = canonical_axis("diagonal", axis1, x.ndim)
    axis2 = canonical_axis("diagonal", axis2, x.ndim)
    if axis1 == axis2:
        raise ValueError(f"diagonal: two different axes were expected; got {axis1} twice.")
    rest = [d for d in range(x.ndim) if d not in (axis1, axis2)]
    x = transpose(x, (*rest, axis1, axis2))
    below, above = max(-offset, 0), max(offset, 0)
    line = np.arange(max(min(x.shape[-2] - below, x.shape[-1] - above), 0), dtype=np.int32)
    return rewriting_take(x, (..., line + below, line + above), unique_indices=True)


def diag(v: Any, k: int = 0) -> Array:
    """The matrix with v on a diagonal, if v has rank 1; else the diagonal of the matrix v."""
    x = operand("diag", v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError(f"diag: rank 1 or 2 was expected; got {x.aval}.")
    n = x.shape[0]
    m = n + abs(k)
    zero = const_like(x, 0)
    if n == 0:
        return full((m, m), zero)
    # In row-major order neighbours on a diagonal lie m + 1 apart.
    start = k if k >= 0 else -k * m
    flat = pad(x, zero, [(start, m * m - start - (n - 1) * (m + 1) - 1, m)])
    return reshape(flat, (m, m))


def diagflat(v: Any, k: int = 0) -> Array:
    """The matrix with the elements of v on a diagonal."""
    return diag(_flat(operand("diagflat", v)), k)


def diag_indices(n: int, ndim: int = 2) -> tuple[Array, ...]:
    """Indices of the main diagonal of an array with ndim extents n."""
    return tuple([_index_array(np.arange(n)) for _ in range(ndim)])


def diag_indices_from(arr: Any) -> tuple[Array, ...]:
    """Indices of the main diagonal of an array of equal extents."""
    x = operand("diag_indices_from", arr)
    if x.ndim < 2 or len(set(x.shape)) > 1:
        raise ValueError(
            f"diag_indices_from: rank 2 or more and equal extents were expected; got {x.aval}."
        )
    return diag_indices(x.shape[0], x.ndim)


def _static_indices(found: Sequence[np.ndarray]) -> tuple[Array, ...]:
    return tuple([_index_array(places) for places in found])


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """Row and column indices of the lower triangle of an n-by-m matrix."""
    return _static_indices(np.tril_indices(n, k, m))  # type: ignore[return-value]


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """Row and column indices of the upper triangle of an n-by-m matrix."""
    return _static_indices(np.triu_indices(n, k, m))  # type: ignore[return-value]


def tril_indices_from(arr: Any, k: int = 0) -> tuple[Array, Array]:
    """Row and column indices of the lower triangle of a matrix."""
    return tril_indices(arr.shape[-2], k, arr.shape[-1])


def triu_indices_from(arr: Any, k: int = 0) -> tuple[Array, Array]:
    """Row and column indices of the upper triangle of a matrix."""
    return triu_indices(arr.shape[-2], k, arr.shape[-1])


def mask_indices(
    n: int, mask_func: Callable[[Any, int], Any], k: int = 0, *, size: int | None = None
) -> tuple[Array, Array]:
    """Indices of the nonzero elements of ``mask_func(ones((n, n)), k)``."""
    return nonzero(mask_func(full((n, n), 1), k), size=size)  # type: ignore[return-value]


# ---------------------------------------------------------------- making indices
def ix_(*args: Any) -> tuple[Array, ...]:
    """Rank-1 sequences shaped so that indexing with all of them selects their outer product.

    Example:
        >>> import nr.numpy as jnp
        >>> x = jnp.arange(6).reshape(2, 3)
        >>> x[jnp.ix_(jnp.array([0, 1]), jnp.array([2, 0]))]
        Array([[2, 0],
               [5, 3]], dtype=int32)
    """
    out = []
    for i, x in enumerate(args):
        x = operand("ix_", np.asarray(x) if isinstance(x, (list, tuple)) else x)
        if x.ndim != 1:
            raise ValueError(f"ix_: sequences of rank 1 were expected; got {x.aval}.")
        if x.dtype == dtypes.bool_dt:
            x = flatnonzero(x)
        elif x.shape[0] == 0:
            x = convert_element_type(x, dtypes.scalar_dtype(int))
        shape = [1] * len(args)
        shape[i] = x.shape[0]
        out.append(reshape(x, shape))
    return tuple(out)


def unravel_index(indices: Any, shape: int | Sequence[int]) -> tuple[Array, ...]:
    """Coordinates of positions in a flattened array of a shape.

    Args:
        indices: integers; negative ones count from the end. Those out of range raise IndexError
            where their numbers are known, else they are clamped.
    """
    shape = (shape,) if isinstance(shape, int) else tuple([int(n) for n in shape])
    entry = array_entry(_integers("unravel_index", "indices", indices), 0, math.prod(shape), None)
    if entry.known:
        return _static_indices(np.unravel_index(entry.array, shape))
    left = entry.array
    left = clamp(const_like(left, 0), left, const_like(left, max(math.prod(shape) - 1, 0)))
    return _coordinates(left, shape)


def _coordinates(left: Any, shape: tuple[int, ...]) -> tuple[Array, ...]:
    out: list[Any] = []
    for n in reversed(shape):
        extent = const_like(left, n)
        out.append(rem(left, extent))
        left = div(left, extent)
    return tuple(reversed(out))


def ravel_multi_index(
    multi_index: Sequence[Any],
    dims: Sequence[int],
    mode: str | Sequence[str] = "raise",
    order: str = "C",
    *,
    dtype: Any = None,
) -> Array:
    """Positions in a flattened array of given extents, from coordinates.

    Args:
        multi_index: an integer array a dimension.
        dims: the extents.
        mode: what coordinates out of range do: "raise" (ValueError; their numbers must be known),
            "wrap" or "clip"; one for all or one a dimension.
        order: "C" for row-major, "F" for column-major.
        dtype: of the result; by default the default integer dtype.
    """
    if len(multi_index) != len(dims):
        raise ValueError(
            f"ravel_multi_index: {len(dims)} coordinate arrays were expected; "
            f"got {len(multi_index)}."
        )
    modes = [mode] * len(dims) if isinstance(mode, str) else mode
    dtype = dtypes.canonicalize(int if dtype is None else dtype)
    strides = [math.prod(dims[d + 1 :] if order == "C" else dims[:d]) for d in range(len(dims))]
    total: Any = None
    columns = []
    for column, n, how in zip(multi_index, dims, modes, strict=True):
        column = _integers("ravel_multi_index", "multi_index", column)
        if how == "raise":
            if isinstance(column, Tracer):
                raise ConcretizationTypeError(
                    f'ravel_multi_index: mode "raise" needs known numbers; got a traced '
                    f'{column.aval}. Use mode="clip" or mode="wrap".'
                )
            if column.size and not (column.min() >= 0 and column.max() < n):
                raise ValueError(
                    f"ravel_multi_index: coordinates in [0, {n}) were expected; got {column}."
                )
            columns.append(ArrayImpl(column))
        else:
            columns.append(_apply_mode("ravel_multi_index", column, n, how)[0])
    shape = broadcast_shapes(*[c.shape for c in columns])
    for column, stride in zip(columns, strides, strict=True):
        column = _broadcast(convert_element_type(column, dtype), shape)
        term = mul(column, const_like(column, stride))
        total = term if total is None else add(total, term)
    return total


# ---------------------------------------------------------------- finding
def nonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> tuple[Array, ...]:
    """Indices of the elements that are not 0, an array a dimension.

    Args:
        a: array.
        size: how many to return. Needed under `jit`, where shapes can't depend on numbers: more
            are cut off, missing ones are `fill_value`.
        fill_value: an integer, or one a dimension; 0 by default.

    Raises:
        ConcretizationTypeError: for a traced array without `size`.
        ValueError: for an array of rank 0.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.nonzero(jnp.array([0, 5, 0, 6]), size=3, fill_value=-1)
        (Array([ 1,  3, -1], dtype=int32),)
    """
    x = operand("nonzero", a)
    if x.ndim == 0:
        raise ValueError(
            f"nonzero: an array of rank 1 or more was expected; got {x.aval}. "
            f"Write nonzero(x.reshape(1))."
        )
    fills = fill_value if isinstance(fill_value, tuple) else (fill_value or 0,) * x.ndim
    if len(fills) != x.ndim:
        raise ValueError(f"nonzero: {x.ndim} fill values were expected; got {len(fills)}.")
    known = _known(x)
    if known is None:
        if size is None:
            raise ConcretizationTypeError(
                f"nonzero: the size of the result depends on the numbers of a traced {x.aval}; "
                f"{x.describe()}. Give it, as in nonzero(x, size=..., fill_value=...)."
            )
        return _nonzero_traced(x, size, fills)
    found = np.nonzero(known)
    if size is None:
        return _static_indices(found)
    count = min(size, len(found[0])) if found else 0
    out = []
    for places, fill in zip(found, fills, strict=True):
        line = np.full(size, np.asarray(fill), dtypes.scalar_dtype(int))
        line[:count] = places[:count]
        out.append(ArrayImpl(line))
    return tuple(out)


def _nonzero_traced(x: Any, size: int, fills: Sequence[Any]) -> tuple[Array, ...]:
    """Each nonzero element sends its position to the place that a running count gives it."""
    n = math.prod(x.shape)
    dtype = dtypes.scalar_dtype(int)
    if n == 0:
        return tuple([full((size,), fill, dtype) for fill in fills])
    mask = _flat(ne(x, const_like(x, 0)))
    counts = cumsum(convert_element_type(mask, dtype))
    target = select(mask, sub(counts, const_like(counts, 1)), full((n,), size, dtype))
    flat = scatter(
        full((size,), 0, dtype),
        expand_dims(target, 1),
        iota(dtype, n),
        ScatterDimensionNumbers((), (0,), (0,)),
        mode="drop",
    )
    total = rewriting_take(counts, -1)
    is_there = lt(iota(dtype, size), total)
    out = []
    for places, fill in zip(_coordinates(flat, x.shape), fills, strict=True):
        fill = _broadcast(convert_element_type(fill, dtype), (size,))
        out.append(select(is_there, places, fill))
    return tuple(out)


def flatnonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> Array:
    """Positions in the flattened array of the elements that are not 0; see `nonzero`."""
    return nonzero(_flat(operand("flatnonzero", a)), size=size, fill_value=fill_value)[0]


def argwhere(a: Any, *, size: int | None = None, fill_value: Any = None) -> Array:
    """Indices of the elements that are not 0, as the rows of a matrix; see `nonzero`."""
    x = operand("argwhere", a)
    columns = nonzero(x if x.ndim else reshape(x, (1,)), size=size, fill_value=fill_value)
    if x.ndim == 0:
        return full((columns[0].shape[0], 0), 0, dtypes.scalar_dtype(int))
    return concatenate([expand_dims(column, 1) for column in columns], 1)
