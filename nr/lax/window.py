"""Reductions over sliding windows (pooling) and what their gradients are made of."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, Zero
from nr.core.dtypes import BOOL, NUMERIC, REAL
from nr.core.tracing import Primitive, Tracer, typeof
from nr.core.trees import tree_flatten, tree_leaves, tree_unflatten
from nr.lax import elementwise
from nr.lax.conv import (
    Padding,
    conv_dimension_numbers,
    conv_general_dilated,
    dilated,
    explicit_padding,
    padtype_to_pads,
    steps,
    transposed_pads,
    window_positions,
)
from nr.lax.rules import (
    Accepts,
    check_dtype,
    const_like,
    linear,
    operands,
    to_front,
    zero_tangent,
    zeros_of,
)
from nr.lax.rules import operand as _operand
from nr.lax.select import select
from nr.lax.shape import broadcast_in_dim, pad, slice, slice_in_dim

Ints = tuple[int, ...]


# ---------------------------------------------------------------- shapes and batching
def _window_shape(
    op: str,
    x: ShapedArray,
    *,
    window_dimensions: Ints,
    window_strides: Ints,
    padding: Padding,
    base_dilation: Ints | None = None,
    window_dilation: Ints | None = None,
) -> Ints:
    base_dilation = base_dilation or (1,) * x.ndim
    window_dilation = window_dilation or (1,) * x.ndim
    entries = (window_dimensions, window_strides, padding, base_dilation, window_dilation)
    if any(len(given) != x.ndim for given in entries):
        raise ValueError(
            f"{op}: window dimensions, strides, padding and dilations must have {x.ndim} entries; "
            f"got {', '.join(map(str, entries))} for {x}."
        )
    shape = []
    for size, window, stride, (lo, hi), spread, dilation in zip(x.shape, *entries, strict=True):
        padded = dilated(size, spread) + lo + hi
        if padded < 0:
            raise ValueError(
                f"{op}: negative padding must not cut off more than there is; got padding "
                f"{padding} for {x}."
            )
        shape.append(window_positions(padded, dilated(window, dilation), stride))
    return tuple(shape)


def _insert(dim: int, params: dict) -> dict:
    """Parameters for operands with one more dimension, along which nothing is reduced."""
    return {
        name: entries
        if name == "select_prim"
        else (*entries[:dim], (0, 0) if name == "padding" else 1, *entries[dim:])
        for name, entries in params.items()
    }


def _window_batch(name: str) -> Callable:
    def batch(axis: Any, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        dim = dims[0]
        if dim is None or any(d != dim for d in dims):
            args = [to_front(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
            dim = 0
        return Primitive.all[name].bind(*args, **_insert(dim, params)), dim

    return batch


def _reduce_window_aval(op: str, accepts: Accepts) -> Callable:
    @functools.lru_cache(maxsize=1024)
    def rule(x: ShapedArray, **params: Any) -> ShapedArray:
        check_dtype(op, x, accepts)
        return ShapedArray(_window_shape(op, x, **params), x.dtype)

    return rule


# ---------------------------------------------------------------- sums
def _sum_transpose(
    ct: Any,
    x: Any,
    *,
    window_dimensions: Ints,
    window_strides: Ints,
    padding: Padding,
    base_dilation: Ints,
    window_dilation: Ints,
) -> Any:
    extents = typeof(ct).shape
    if 0 in extents or 0 in x.aval.shape:
        return zeros_of(x.aval)
    pads = [
        transposed_pads(dilated(n, spread), dilated(window, dilation), dilated(m, stride), lo)
        for n, m, window, stride, (lo, _), spread, dilation in zip(
            x.aval.shape, extents, window_dimensions, window_strides, padding, base_dilation,
            window_dilation, strict=True,
        )
    ]  # fmt: skip
    return reduce_window_sum_p.bind(
        ct,
        window_dimensions=window_dimensions,
        window_strides=base_dilation,
        padding=tuple(pads),
        base_dilation=window_strides,
        window_dilation=window_dilation,
    )


reduce_window_sum_p = linear(
    "reduce_window_sum",
    abstract_eval=_reduce_window_aval("reduce_window_sum", NUMERIC),
    transpose=_sum_transpose,
    batch=_window_batch("reduce_window_sum"),
)


# ---------------------------------------------------------------- maxima and minima
def _extremum(name: str, select_prim: str) -> Primitive:
    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        (x,), (t,) = primals, tangents
        out = primitive.bind(x, **params)
        if type(t) is Zero:
            return out, zero_tangent(out)
        return out, select_and_gather_add_p.bind(t, x, select_prim=select_prim, **params)

    primitive = Primitive(
        name,
        abstract_eval=_reduce_window_aval(name, REAL | BOOL),
        jvp=jvp,
        batch=_window_batch(name),
    )
    return primitive


reduce_window_max_p = _extremum("reduce_window_max", "ge")
reduce_window_min_p = _extremum("reduce_window_min", "le")


# ---------------------------------------------------------------- gradients of extrema
def _scatter_aval(
    source: ShapedArray, x: ShapedArray, *, select_prim: str, **params: Any
) -> ShapedArray:
    shape = _window_shape("select_and_scatter_add", x, **params)
    if source.shape != shape or source.dtype != x.dtype:
        raise TypeError(
            f"select_and_scatter_add: source must have an element for each window and the dtype "
            f'of the operand; got {source} for "source" and {x} for "operand", whose windows '
            f"have shape {shape}."
        )
    return x.strip_weak_type()


def _scatter_transpose(ct: Any, source: Any, x: Any, **params: Any) -> Any:
    ones = (1,) * typeof(x).ndim
    return select_and_gather_add_p.bind(ct, x, base_dilation=ones, window_dilation=ones, **params)


select_and_scatter_add_p = linear(
    "select_and_scatter_add",
    abstract_eval=_scatter_aval,
    transpose=_scatter_transpose,
    batch=_window_batch("select_and_scatter_add"),
)


def _gather_aval(
    tangents: ShapedArray, x: ShapedArray, *, select_prim: str, **params: Any
) -> ShapedArray:
    if tangents.shape != x.shape or tangents.dtype != x.dtype:
        raise TypeError(
            f"select_and_gather_add: tangents and operand must have one shape and dtype; got "
            f'{tangents} for "tangents" and {x} for "operand".'
        )
    return ShapedArray(_window_shape("select_and_gather_add", x, **params), x.dtype)


def _gather_transpose(
    ct: Any,
    tangents: Any,
    x: Any,
    *,
    select_prim: str,
    base_dilation: Ints,
    window_dilation: Ints,
    **params: Any,
) -> Any:
    if all(step == 1 for step in base_dilation + window_dilation):
        return select_and_scatter_add_p.bind(ct, x, select_prim=select_prim, **params)
    return _scatter_dilated(ct, x, select_prim, base_dilation, window_dilation, **params)


def _scatter_dilated(
    ct: Any,
    x: Any,
    select_prim: str,
    base_dilation: Ints,
    window_dilation: Ints,
    *,
    window_dimensions: Ints,
    window_strides: Ints,
    padding: Padding,
) -> Any:
    """What select_and_scatter_add does, for dilated windows, one position in the window a time."""
    extents, rank = typeof(ct).shape, typeof(x).ndim
    if 0 in extents:
        return zeros_of(typeof(x))
    reduce_p, unreachable = {
        "ge": (reduce_window_max_p, -np.inf),
        "le": (reduce_window_min_p, np.inf),
    }[select_prim]
    best = reduce_p.bind(
        x,
        window_dimensions=window_dimensions,
        window_strides=window_strides,
        padding=padding,
        base_dilation=base_dilation,
        window_dilation=window_dilation,
    )
    spread = [(lo, hi, step - 1) for (lo, hi), step in zip(padding, base_dilation, strict=True)]
    padded = pad(x, const_like(x, unreachable), spread)
    zeros, taken, total = zeros_of(typeof(ct)), None, zeros_of(typeof(padded))
    for position in itertools.product(*map(range, window_dimensions)):
        start = [k * step for k, step in zip(position, window_dilation, strict=True)]
        stop = [
            lo + (n - 1) * step + 1
            for lo, n, step in zip(start, extents, window_strides, strict=True)
        ]
        chosen = elementwise.eq(slice(padded, start, stop, window_strides), best)
        if taken is not None:  # an earlier position keeps what it has
            chosen = elementwise.bitwise_and(chosen, elementwise.bitwise_not(taken))
        taken = chosen if taken is None else elementwise.bitwise_or(taken, chosen)
        config = [
            (lo, n - hi, step - 1)
            for lo, hi, n, step in zip(start, stop, padded.shape, window_strides, strict=True)
        ]
        part = pad(select(chosen, ct, zeros), const_like(ct, 0), config)
        total = elementwise.add(total, part)
    inner = pad(total, const_like(ct, 0), [(-lo, -hi, 0) for lo, hi in padding])
    return slice(inner, [0] * rank, inner.shape, base_dilation)


select_and_gather_add_p = linear(
    "select_and_gather_add",
    abstract_eval=_gather_aval,
    transpose=_gather_transpose,
    batch=_window_batch("select_and_gather_add"),
)


# ---------------------------------------------------------------- reduce_window
_MONOIDS: dict[str, tuple[Primitive, Callable, tuple[Callable, ...]]] = {
    "add": (reduce_window_sum_p, elementwise.add, (np.add,)),
    "maximum": (reduce_window_max_p, elementwise.max, (np.maximum,)),
    "minimum": (reduce_window_min_p, elementwise.min, (np.minimum,)),
}


def _monoid(computation: Callable) -> str | None:
    numpy_api = sys.modules.get("nr.numpy")  # which is built on this module
    for name, (_, lax_function, others) in _MONOIDS.items():
        known = (lax_function, *others, getattr(numpy_api, name, None))
        if any(computation is function for function in known):
            return name
    return None


def _is_identity(name: str, value: Any, dtype: np.dtype) -> bool:
    if isinstance(value, Tracer) or np.ndim(value):
        return False
    value = np.asarray(value)[()]
    if name == "add":
        return bool(value == 0)
    if dtype.kind == "b":
        return bool(value == (name == "minimum"))
    outermost = -np.inf if name == "maximum" else np.inf
    if dtype in dtypes.INTEGER:
        limits = dtypes.iinfo(dtype)
        bound = limits.min if name == "maximum" else limits.max
        return bool(value in (outermost, bound))
    return bool(value == outermost)


def _rank_zero(op: str, x: Any, init: Any) -> tuple[Any, Any]:
    """An operand, and its initial value in the same dtype."""
    x, init = operands(op, x, init)
    x, init = _operand(op, x), _operand(op, init)
    if init.shape or init.dtype != x.dtype:
        raise TypeError(
            f"{op}: the initial value must have rank 0 and the dtype of the operand; got "
            f'{init.aval} for "init_value" and {x.aval} for "operand".'
        )
    return x, init


def _reduce_any(
    op: str, operand: Any, init_value: Any, computation: Callable, params: dict[str, Any]
) -> Any:
    """Any associative function over windows, of one array or several: a dimension at a time."""
    leaves, tree = tree_flatten(operand)
    inits, init_tree = tree_flatten(init_value)
    if tree != init_tree:
        raise TypeError(
            f"{op}: operand and init_value must have one structure; got {tree} and {init_tree}."
        )
    pairs = [_rank_zero(op, x, init) for x, init in zip(leaves, inits, strict=True)]
    if any(x.shape != pairs[0][0].shape for x, _ in pairs):
        got = ", ".join([str(x.aval) for x, _ in pairs])
        raise TypeError(f"{op}: operands must have one shape; got {got}.")

    def combine(left: list[Any], right: list[Any]) -> list[Any]:
        out = computation(*[tree_unflatten(tree, side) for side in (left, right)])
        outs, out_tree = tree_flatten(out)
        if out_tree != tree:
            raise TypeError(
                f"{op}: the computation must return the structure of its operands, {tree}; got "
                f"{out_tree}."
            )
        return outs

    shape = _window_shape(op, pairs[0][0].aval, **params)
    config = [
        (lo, hi, step - 1)
        for (lo, hi), step in zip(params["padding"], params["base_dilation"], strict=True)
    ]
    values = [pad(x, init, config) for x, init in pairs]
    first = [broadcast_in_dim(init, shape, ()) for _, init in pairs]
    if 0 in shape or 0 in params["window_dimensions"]:
        return tree_unflatten(tree, first)
    for d in reversed(range(len(shape))):
        stride, dilation = params["window_strides"][d], params["window_dilation"][d]
        slices = [
            [slice_in_dim(x, k * dilation, k * dilation + (shape[d] - 1) * stride + 1, stride, d)
             for x in values]
            for k in range(params["window_dimensions"][d])
        ]  # fmt: skip
        values = functools.reduce(combine, slices)
    return tree_unflatten(tree, combine(first, values))


def reduce_window(
    operand: Any,
    init_value: Any,
    computation: Callable,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """Elements combined over windows that slide over an array, or over several at once.

    Args:
        operand: an array, or a pytree of arrays of one shape.
        init_value: a scalar that goes into each result (0 of a sum, -inf of a maximum), in the
            structure of the operand; it should be an identity of the computation.
        computation: ``(x, y) -> z``, associative, on values in the structure of the operand.
            `nr.lax.add`, `nr.lax.max` and `nr.lax.min` are operations of their own; others take
            a step for each place along each dimension of the window.
        window_dimensions: extent of the window in each dimension.
        window_strides: distance between windows in each dimension.
        padding: "SAME", "SAME_LOWER", "VALID", or a (low, high) pair for each dimension. Padded
            places hold the initial value.
        base_dilation: distance to which elements of the operand are moved apart.
        window_dilation: distance between the elements of a window.

    Returns:
        Arrays of the operand's structure and dtypes with an element for each window.

    Raises:
        TypeError: if structures, shapes or dtypes do not agree.
        ValueError: if windows, strides, padding or dilations are invalid.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([1, 5, 2, 4])
        >>> nr.lax.reduce_window(x, 0, nr.lax.add, (2,), (2,), "VALID")
        Array([6, 6], dtype=int32)
        >>> nr.lax.reduce_window(x, 1, nr.lax.mul, (2,))
        Array([ 5, 10,  8], dtype=int32)
    """
    op = "reduce_window"
    leaves = tree_leaves(operand)
    if not leaves:
        raise TypeError(f"{op}: an array or a pytree of arrays was expected; got {operand!r}.")
    shape = typeof(_operand(op, leaves[0])).shape
    rank = len(shape)
    window = steps(op, "window_dimensions", window_dimensions, rank)
    strides = steps(op, "window_strides", window_strides, rank)
    base = steps(op, "base_dilation", base_dilation, rank)
    dilation = steps(op, "window_dilation", window_dilation, rank)
    if isinstance(padding, str):
        padding = padtype_to_pads(
            [dilated(n, step) for n, step in zip(shape, base, strict=True)],
            [dilated(n, step) for n, step in zip(window, dilation, strict=True)],
            strides,
            padding,
        )
    params = {
        "window_dimensions": window,
        "window_strides": strides,
        "padding": explicit_padding(op, padding),
        "base_dilation": base,
        "window_dilation": dilation,
    }
    name = _monoid(computation)
    if name is None or leaves[0] is not operand:
        return _reduce_any(op, operand, init_value, computation, params)
    primitive, combine, _ = _MONOIDS[name]
    x = _operand(op, operand)
    primitive.abstract_eval(x.aval, **params)
    out = primitive.bind(x, **params)
    if _is_identity(name, init_value, x.dtype):
        return out
    return combine(*_rank_zero(op, out, init_value))


# ---------------------------------------------------------------- patches
def conv_general_dilated_patches(
    lhs: Any,
    filter_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """The windows that a convolution would meet, laid out along the feature dimension.

    Args:
        lhs: the input, with C features.
        filter_shape: extents of the window.
        window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers: as for
            `conv_general_dilated`.
        precision: accepted for JAX's sake.
        preferred_element_type: the dtype of the result, where not that of lhs.

    Returns:
        An array with ``C * prod(filter_shape)`` features, those of one input feature together.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[[1., 2., 3.]]])
        >>> nr.lax.conv_general_dilated_patches(x, (2,), (1,), "VALID")
        Array([[[1., 2.],
                [2., 3.]]], dtype=float32)
    """
    lhs = _operand("conv_general_dilated_patches", lhs)
    window = tuple([int(n) for n in filter_shape])
    specs = conv_dimension_numbers(lhs.shape, (1,) * (len(window) + 2), dimension_numbers)
    features, taps = lhs.shape[specs.lhs_spec[1]], int(np.prod(window))
    one_each = np.tile(np.eye(taps, dtype=lhs.dtype).reshape(taps, 1, *window),
                       (features, 1, *[1] * len(window)))  # fmt: skip
    return conv_general_dilated(
        lhs,
        one_each.transpose(np.argsort(specs.rhs_spec)),
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        specs,
        feature_group_count=features,
        preferred_element_type=preferred_element_type,
    )
