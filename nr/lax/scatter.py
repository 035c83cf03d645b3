"""Scatter: an array with windows of it replaced or combined, at places that indices give.

Where several updates meet at one place, `scatter` keeps the last one in the order of the updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.tracing import Primitive, typeof
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import add, div, eq, max, mul, neg
from nr.lax.gather import gather
from nr.lax.indexing import (
    GatherScatterMode,
    ScatterDimensionNumbers,
    as_tuples,
    check_batching,
    check_dims,
    check_indices,
    scatter_mode,
    shifted,
    to_gather,
)
from nr.lax.rules import (
    add_tangents,
    cast_weak,
    const_like,
    instantiate,
    move_dim,
    to_front,
    zero_tangent,
    zeros_of,
)
from nr.lax.rules import (
    operand as to_operand,
)
from nr.lax.select import select
from nr.lax.shape import iota, reshape


# ---------------------------------------------------------------- rules that the family shares
def _aval_rule(op: str) -> Callable:
    def rule(
        x: ShapedArray,
        indices: ShapedArray,
        updates: ShapedArray,
        *,
        dimension_numbers: ScatterDimensionNumbers,
        **params: Any,
    ) -> ShapedArray:
        dims = dimension_numbers
        if x.dtype != updates.dtype:
            raise TypeError(
                f"{op}: operand and updates must have one dtype; got {x} and {updates}. "
                f"Convert the updates with .astype(...), or use x.at[...], which converts."
            )
        mapped = dims.scatter_dims_to_operand_dims
        check_indices(op, indices, len(mapped), "scatter_dims_to_operand_dims")
        check_dims(op, "update_window_dims", dims.update_window_dims, updates.ndim)
        check_dims(op, "inserted_window_dims", dims.inserted_window_dims, x.ndim)
        check_dims(op, "scatter_dims_to_operand_dims", mapped, x.ndim, ordered=False)
        check_batching(
            op,
            x,
            indices,
            dims.operand_batching_dims,
            dims.scatter_indices_batching_dims,
            (*dims.inserted_window_dims, *mapped),
        )
        absent = {*dims.inserted_window_dims, *dims.operand_batching_dims}
        kept = [n for d, n in enumerate(x.shape) if d not in absent]
        window = [updates.shape[d] for d in dims.update_window_dims]
        if len(window) != len(kept) or any(size > n for size, n in zip(window, kept, strict=True)):
            raise TypeError(
                f"{op}: windows must fit into the operand; got updates {updates} with window "
                f"dimensions {dims.update_window_dims}, of extents {tuple(window)}, for extents "
                f"{tuple(kept)} of {x}."
            )
        places = [n for d, n in enumerate(updates.shape) if d not in dims.update_window_dims]
        if places != list(indices.shape[:-1]):
            raise TypeError(
                f"{op}: updates must have the indices' dimensions {indices.shape[:-1]} beside "
                f"their window dimensions {dims.update_window_dims}; got {updates}."
            )
        return x.strip_weak_type()

    return rule


def _batch_rule(op: str) -> Callable:
    def batch(
        axis: Any,
        args: Sequence[Any],
        dims: Sequence[int | None],
        *,
        dimension_numbers: ScatterDimensionNumbers,
        indices_are_sorted: bool,
        **params: Any,
    ) -> Any:
        (x, indices, updates), (x_dim, i_dim, u_dim) = args, dims
        window, inserted, index_map, x_batching, i_batching = dimension_numbers
        x, updates = to_front(x, x_dim, axis.size), to_front(updates, u_dim, axis.size)
        window, inserted, index_map, x_batching = map(
            shifted, (window, inserted, index_map, x_batching)
        )
        if i_dim is None:  # every window reaches through the batch
            window = (0, *window)
        else:
            indices = move_dim(indices, i_dim, 0)
            x_batching, i_batching = (0, *x_batching), (0, *shifted(i_batching))
        out = Primitive.all[op].bind(
            x,
            indices,
            updates,
            dimension_numbers=ScatterDimensionNumbers(
                window, inserted, index_map, x_batching, i_batching
            ),
            indices_are_sorted=indices_are_sorted and i_dim is None,
            **params,
        )
        return out, 0

    return batch


def _linear_jvp(op: str) -> Callable:
    """The jvp rule of what is linear in operand and updates together."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        (x, indices, updates), (x_dot, _, u_dot) = primals, tangents
        bind = Primitive.all[op].bind
        out = bind(x, indices, updates, **params)
        if type(x_dot) is Zero and type(u_dot) is Zero:
            return out, zero_tangent(out)
        return out, bind(instantiate(x_dot), indices, instantiate(u_dot), **params)

    return jvp


def _read_back(
    x: Any,
    indices: Any,
    updates_shape: tuple[int, ...],
    *,
    dimension_numbers: ScatterDimensionNumbers,
    unique_indices: bool,
    indices_are_sorted: bool,
    mode: str,
) -> Any:
    """What x has where the updates go, in the shape of the updates; 0 for those dropped."""
    dims = dimension_numbers
    absent = {*dims.inserted_window_dims, *dims.operand_batching_dims}
    extents = iter([updates_shape[d] for d in dims.update_window_dims])
    return gather(
        x,
        indices,
        to_gather(dims),
        [1 if d in absent else next(extents) for d in range(typeof(x).ndim)],
        unique_indices=unique_indices,
        indices_are_sorted=indices_are_sorted,
        mode=mode,
        fill_value=0,
    )


def _bind(
    primitive: Primitive,
    x: Any,
    indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    indices_are_sorted: bool,
    unique_indices: bool,
    mode: str | GatherScatterMode | None,
) -> Array:
    op = primitive.name
    x, indices = to_operand(op, x), to_operand(op, indices)
    updates = cast_weak(op, updates, x.dtype)
    params = {
        "dimension_numbers": as_tuples(dimension_numbers),
        "unique_indices": bool(unique_indices),
        "indices_are_sorted": bool(indices_are_sorted),
        "mode": scatter_mode(mode),
    }
    # NumPy would take much of what does not fit, and give something else.
    primitive.abstract_eval(x.aval, typeof(indices), typeof(updates), **params)
    return primitive.bind(x, indices, updates, **params)


# ---------------------------------------------------------------- scatter
def _winners(indices: Any, x_shape: tuple[int, ...], u_shape: tuple[int, ...], params: dict) -> Any:
    """Which elements of the updates are the ones that stay."""
    size = int(np.prod(u_shape, dtype=np.int64))
    dtype = np.int32 if size < np.iinfo(np.int32).max else np.int64
    numbers = reshape(add(iota(dtype, size), dtype(1)), u_shape)
    blank = zeros_of(ShapedArray(x_shape, dtype))
    stayed = scatter_p.bind(blank, indices, numbers, **params)
    return eq(_read_back(stayed, indices, u_shape, **params), numbers)


def _scatter_transpose(ct: Any, x: Any, indices: Any, updates: Any, **params: Any) -> list[Any]:
    u_aval = typeof(updates)
    ct_x = ct_updates = None
    if type(x) is UndefinedPrimal:
        ct_x = scatter_p.bind(ct, indices, zeros_of(u_aval), **params)
    if type(updates) is UndefinedPrimal:
        ct_updates = _read_back(ct, indices, u_aval.shape, **params)
        if not params["unique_indices"]:
            stay = _winners(indices, typeof(ct).shape, u_aval.shape, params)
            ct_updates = select(stay, ct_updates, zeros_of(u_aval))
    return [ct_x, None, ct_updates]


scatter_p = Primitive(
    "scatter",
    abstract_eval=_aval_rule("scatter"),
    # which update stays depends on the indices alone, so tangents have the same winners
    jvp=_linear_jvp("scatter"),
    transpose=_scatter_transpose,
    batch=_batch_rule("scatter"),
)


def scatter(
    operand: Any,  # noqa: A002 - JAX's argument name
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """The operand with windows replaced by updates; the last update to a place stays.

    Args:
        operand: the array to start from.
        scatter_indices: integers ``[..., k]``: vectors of k window starts.
        updates: what is written, of the operand's dtype.
        dimension_numbers: how the dimensions belong together.
        indices_are_sorted: promise that the indices are sorted.
        unique_indices: promise that no two windows overlap; derivatives are cheaper then.
        mode: what out-of-bounds windows do: "drop" (the default) leaves them out, "clip" moves
            them inside, "error" raises IndexError, "promise_in_bounds" says there are none.

    Example:
        >>> import nr
        >>> x, i = nr.numpy.zeros(3), nr.numpy.array([[1]])
        >>> nr.lax.scatter(x, i, nr.numpy.array([5.0]),
        ...                nr.lax.ScatterDimensionNumbers((), (0,), (0,)))
        Array([0., 5., 0.], dtype=float32)
    """
    return _bind(
        scatter_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


# ---------------------------------------------------------------- scatter_add
def _scatter_add_transpose(ct: Any, x: Any, indices: Any, updates: Any, **params: Any) -> list[Any]:
    return [
        ct if type(x) is UndefinedPrimal else None,
        None,
        _read_back(ct, indices, updates.aval.shape, **params)
        if type(updates) is UndefinedPrimal
        else None,
    ]


scatter_add_p = Primitive(
    "scatter_add",
    abstract_eval=_aval_rule("scatter_add"),
    jvp=_linear_jvp("scatter_add"),
    transpose=_scatter_add_transpose,
    batch=_batch_rule("scatter_add"),
)


def scatter_add(
    operand: Any,  # noqa: A002
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """The operand with updates added to windows of it; arguments as in `scatter`."""
    return _bind(
        scatter_add_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


def scatter_sub(
    operand: Any,  # noqa: A002
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """The operand with updates subtracted from windows of it; arguments as in `scatter`."""
    return _bind(
        scatter_add_p,
        operand,
        scatter_indices,
        neg(updates),
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


# ---------------------------------------------------------------- scatter_mul
def _scatter_mul_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
    (x, indices, updates), (x_dot, _, u_dot) = primals, tangents
    out = scatter_mul_p.bind(x, indices, updates, **params)
    out_dot: Any = zero_tangent(out)
    if type(x_dot) is not Zero:
        out_dot = scatter_mul_p.bind(x_dot, indices, updates, **params)
    if type(u_dot) is not Zero:
        others = _product_of_others(x, indices, updates, params)
        blank = zeros_of(typeof(out))
        term = scatter_add_p.bind(blank, indices, mul(u_dot, others), **params)
        out_dot = add_tangents(out_dot, term)
    return out, out_dot


def _product_of_others(x: Any, indices: Any, updates: Any, params: dict) -> Any:
    """For each update, the product of all else that meets at its place."""
    shape = typeof(updates).shape
    if params["unique_indices"]:
        return _read_back(x, indices, shape, **params)
    # Division by the update itself gives it, unless that is 0: so zeros are counted apart.
    zero, one = const_like(updates, 0), const_like(updates, 1)
    is_zero = eq(updates, zero)
    nonzero = select(is_zero, one, updates)
    product = scatter_mul_p.bind(x, indices, nonzero, **params)
    count = scatter_add_p.bind(
        zeros_of(typeof(x)), indices, convert_element_type(is_zero, typeof(x).dtype), **params
    )
    count = _read_back(count, indices, shape, **params)
    quotient = div(_read_back(product, indices, shape, **params), nonzero)
    alone = eq(count, convert_element_type(is_zero, typeof(x).dtype))
    return select(alone, quotient, zero)


def _scatter_mul_transpose(ct: Any, x: Any, indices: Any, updates: Any, **params: Any) -> list[Any]:
    return [scatter_mul_p.bind(ct, indices, updates, **params), None, None]


scatter_mul_p = Primitive(
    "scatter_mul",
    abstract_eval=_aval_rule("scatter_mul"),
    jvp=_scatter_mul_jvp,
    transpose=_scatter_mul_transpose,
    batch=_batch_rule("scatter_mul"),
)


def scatter_mul(
    operand: Any,  # noqa: A002
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """The operand with windows of it multiplied by updates; arguments as in `scatter`.

    Unlike in JAX, updates have derivatives also without `unique_indices`. Where an update is
    exactly 0 and others meet it, first derivatives are right and higher ones are not.
    """
    return _bind(
        scatter_mul_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


# ---------------------------------------------------------------- scatter_min, scatter_max
def _extremal_jvp(op: str) -> Callable:
    """Tangents of what the result is equal to, in equal parts where several are."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        (x, indices, updates), (x_dot, _, u_dot) = primals, tangents
        out = Primitive.all[op].bind(x, indices, updates, **params)
        if type(x_dot) is Zero and type(u_dot) is Zero:
            return out, zero_tangent(out)
        dtype = typeof(out).dtype
        from_x = convert_element_type(eq(x, out), dtype)
        reached = _read_back(out, indices, typeof(updates).shape, **params)
        from_updates = convert_element_type(eq(updates, reached), dtype)
        parts = scatter_add_p.bind(from_x, indices, from_updates, **params)
        total = scatter_add_p.bind(
            mul(instantiate(x_dot), from_x),
            indices,
            mul(instantiate(u_dot), from_updates),
            **params,
        )
        return out, div(total, max(parts, const_like(parts, 1)))

    return jvp


def _extremal(op: str) -> Primitive:
    return Primitive(op, abstract_eval=_aval_rule(op), jvp=_extremal_jvp(op), batch=_batch_rule(op))


scatter_min_p = _extremal("scatter_min")
scatter_max_p = _extremal("scatter_max")


def scatter_min(
    operand: Any,  # noqa: A002
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """The operand with the smaller of it and the updates in windows; arguments as in `scatter`."""
    return _bind(
        scatter_min_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


def scatter_max(
    operand: Any,  # noqa: A002
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """The operand with the larger of it and the updates in windows; arguments as in `scatter`."""
    return _bind(
        scatter_max_p,
        operand,
        scatter_indices,
        updates,
        dimension_numbers,
        indices_are_sorted,
        unique_indices,
        mode,
    )


# ---------------------------------------------------------------- scatter_apply
def scatter_apply(
    operand: Any,  # noqa: A002
    scatter_indices: Any,
    func: Callable[[Array], Array],
    dimension_numbers: ScatterDimensionNumbers,
    *,
    update_shape: Sequence[int] = (),
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """The operand with a function applied to windows of it, once to each place.

    Args:
        func: a function element by element.
        update_shape: the shape that updates would have; other arguments as in `scatter`.
    """
    x, indices = to_operand("scatter_apply", operand), to_operand("scatter_apply", scatter_indices)
    params = {
        "dimension_numbers": as_tuples(dimension_numbers),
        "unique_indices": bool(unique_indices),
        "indices_are_sorted": bool(indices_are_sorted),
        "mode": scatter_mode(mode),
    }
    windows = _read_back(x, indices, tuple(update_shape), **params)
    return scatter_p.bind(x, indices, convert_element_type(func(windows), x.dtype), **params)
