"""Sorting along a dimension, with values that go along, and the k largest elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.core.avals import ShapedArray, Zero
from nr.core.dtypes import ANY, BOOL, FLOATING, REAL
from nr.core.tracing import Primitive, typeof
from nr.lax.elementwise import neg
from nr.lax.gather import gather_along
from nr.lax.rules import (
    canonical_axis,
    check_dtype,
    move_dim,
    operand,
    operand_of,
    to_front,
    zero_tangent,
)
from nr.lax.shape import broadcasted_iota

_INT32 = np.dtype(np.int32)
_INT64 = np.dtype(np.int64)


# ---------------------------------------------------------------- sort
def _sort_aval(
    *xs: ShapedArray, dimension: int, is_stable: bool, num_keys: int
) -> list[ShapedArray]:
    if any(x.shape != xs[0].shape for x in xs):
        got = ", ".join(map(str, xs))
        raise TypeError(f"sort: operands must have the same shape; got {got}.")
    if not 0 <= dimension < xs[0].ndim:
        raise ValueError(
            f"sort: the dimension must lie in [0, {xs[0].ndim}); got {dimension} for {xs[0]}."
        )
    if not 1 <= num_keys <= len(xs):
        raise ValueError(
            f"sort: num_keys must lie between 1 and the number of operands, {len(xs)}; "
            f"got {num_keys}."
        )
    for x in xs[:num_keys]:
        check_dtype("sort", x, ANY)
    return [x.strip_weak_type() for x in xs]


def _sort_jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    dimension: int,
    is_stable: bool,
    num_keys: int,
) -> Any:
    params = {"dimension": dimension, "is_stable": is_stable, "num_keys": num_keys}
    if all(type(t) is Zero for t in tangents) or typeof(primals[0]).size == 0:
        outs = sort_p.bind(*primals, **params)
        return outs, [zero_tangent(out) for out in outs]
    shape = typeof(primals[0]).shape
    places = broadcasted_iota(_index_dtype(shape[dimension]), shape, dimension)
    *outs, order = sort_p.bind(*primals, places, **params)
    out_dots = [
        zero_tangent(out) if type(t) is Zero else gather_along(t, order, dimension)
        for t, out in zip(tangents, outs, strict=True)
    ]
    return outs, out_dots


def _index_dtype(extent: int) -> np.dtype:
    return _INT32 if extent <= np.iinfo(np.int32).max else _INT64


def _sort_batch(
    axis: Any,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    dimension: int,
    is_stable: bool,
    num_keys: int,
) -> Any:
    if len(set(dims)) == 1:  # one layout: sort it as it lies
        assert dims[0] is not None
        dim = dims[0]
    else:
        dim, args = 0, [to_front(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
    outs = sort_p.bind(
        *args, dimension=dimension + (dimension >= dim), is_stable=is_stable, num_keys=num_keys
    )
    return outs, [dim] * len(outs)


sort_p = Primitive(
    "sort", abstract_eval=_sort_aval, jvp=_sort_jvp, batch=_sort_batch, multiple_results=True
)


def sort(operand: Any, dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Any:
    """Sort along a dimension, ascending, NaN last.

    Args:
        operand: an array, or a sequence of arrays of one shape that are reordered together.
        dimension: the dimension to sort along.
        is_stable: whether what compares equal keeps its order.
        num_keys: how many of the arrays, from the first, are compared; later ones break ties.

    Returns:
        An array like the operand, or a tuple of them.

    Raises:
        TypeError: if shapes differ.
        ValueError: if the dimension or num_keys is out of range.

    Example:
        >>> import nr
        >>> nr.lax.sort(nr.numpy.array([3., 1., 2.]))
        Array([1., 2., 3.], dtype=float32)
    """
    many = isinstance(operand, (tuple, list))
    if many and not operand:
        raise TypeError("sort: at least one array was expected; got none.")
    xs = [_operand(x) for x in (operand if many else [operand])]
    params: dict[str, Any] = {
        "dimension": canonical_axis("sort", dimension, xs[0].ndim),
        "is_stable": bool(is_stable),
        "num_keys": int(num_keys),
    }
    # Indexing would take operands of several shapes: check before, not after a failure.
    _sort_aval(*[x.aval for x in xs], **params)
    outs = sort_p.bind(*xs, **params)
    return tuple(outs) if many else outs[0]


def _operand(x: Any) -> Any:
    return operand("sort", x)


def sort_key_val(
    keys: Any, values: Any, dimension: int = -1, is_stable: bool = True
) -> tuple[Array, Array]:
    """Keys sorted along a dimension, and values in the order of their keys.

    Example:
        >>> import nr
        >>> nr.lax.sort_key_val(nr.numpy.array([2, 0, 1]), nr.numpy.array([5., 6., 7.]))[1]
        Array([6., 7., 5.], dtype=float32)
    """
    return sort((keys, values), dimension, is_stable)


# ---------------------------------------------------------------- top_k
def _top_k_aval(x: ShapedArray, *, k: int) -> list[ShapedArray]:
    check_dtype("top_k", x, REAL | BOOL)
    if not x.shape:
        raise TypeError(f"top_k: the operand must have rank 1 or more; got {x}.")
    if not 0 <= k <= x.shape[-1]:
        raise ValueError(
            f"top_k: k must lie between 0 and the extent of the axis, {x.shape[-1]}; "
            f"got k={k} for {x}."
        )
    shape = (*x.shape[:-1], k)
    return [ShapedArray(shape, x.dtype), ShapedArray(shape, _INT32)]


def _top_k_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, k: int) -> Any:
    (x,), (t,) = primals, tangents
    values, indices = top_k_p.bind(x, k=k)
    if type(t) is Zero or typeof(values).size == 0:
        values_dot: Any = zero_tangent(values)
    else:
        values_dot = gather_along(t, indices, typeof(t).ndim - 1)
    return [values, indices], [values_dot, zero_tangent(indices)]


def _top_k_batch(axis: Any, args: Sequence[Any], dims: Sequence[int], *, k: int) -> Any:
    (x,), (dim,) = args, dims
    if dim == typeof(x).ndim - 1:
        x, dim = move_dim(x, dim, 0), 0
    return top_k_p.bind(x, k=k), [dim, dim]


top_k_p = Primitive(
    "top_k",
    abstract_eval=_top_k_aval,
    jvp=_top_k_jvp,
    batch=_top_k_batch,
    multiple_results=True,
)


def top_k(operand: Any, k: int, *, axis: int = -1) -> list[Array]:
    """The k largest elements along an axis, largest first, NaN before all.

    Args:
        operand: an array of real numbers or bool.
        k: how many; at most the extent of the axis.
        axis: the axis to look along.

    Returns:
        The values, and their int32 indices; of equal elements the lower index comes first.

    Raises:
        ValueError: if k is negative or larger than the axis.

    Example:
        >>> import nr
        >>> nr.lax.top_k(nr.numpy.array([1., 5., 3.]), 2)[1]
        Array([1, 2], dtype=int32)
    """
    x = _operand(operand)
    axis = canonical_axis("top_k", axis, x.ndim)
    last = x.ndim - 1
    x = move_dim(x, axis, last)
    # Slices stop at the end of the axis: check before, not after a failure.
    _top_k_aval(x.aval, k=int(k))
    return [move_dim(out, last, axis) for out in top_k_p.bind(x, k=int(k))]


def _approx(op: str, x: Any, k: int, dimension: int, recall_target: float) -> list[Array]:
    x = operand(op, x)
    check_dtype(op, x.aval, FLOATING)
    if not 0 < recall_target <= 1:
        raise ValueError(f"{op}: recall_target must lie in (0, 1]; got {recall_target}.")
    return top_k(x, k, axis=dimension)


def approx_max_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> tuple[Array, Array]:
    """The k largest elements along a dimension and their indices: here exact, as `top_k`.

    Args:
        operand: an array of floating numbers.
        k: how many; at most the extent of the dimension.
        reduction_dimension: the dimension to look along.
        recall_target: how many of the k largest are to be found, on accelerators that trade that
            for speed.
        reduction_input_size_override, aggregate_to_topk: accepted as in JAX, and not used.

    Example:
        >>> import nr
        >>> nr.lax.approx_max_k(nr.numpy.array([1., 5., 3.]), 2)[0]
        Array([5., 3.], dtype=float32)
    """
    values, indices = _approx("approx_max_k", operand, k, reduction_dimension, recall_target)
    return values, indices


def approx_min_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> tuple[Array, Array]:
    """The k smallest elements along a dimension and their indices; see `approx_max_k`."""
    op = "approx_min_k"
    x = operand_of(op, operand, FLOATING)
    values, indices = _approx(op, neg(x), k, reduction_dimension, recall_target)
    return neg(values), indices
