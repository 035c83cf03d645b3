"""Reductions over axes: sum, product, extremes, bits, positions of extremes, and any monoid."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes, trees
from nr.core.array import Array, ArrayImpl
from nr.core.avals import ShapedArray, Zero
from nr.core.dtypes import ANY, BOOL, INTEGER, NUMERIC, REAL
from nr.core.tracing import PYTHON_SCALARS, Primitive, typeof
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import (
    add,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    div,
    eq,
    max,
    min,
    mul,
    mul_p,
)
from nr.lax.rules import (
    Accepts,
    broadcast_scalar,
    canonical_axes,
    canonical_axis,
    check_dtype,
    linear,
    nondifferentiable,
    operand,
    operands,
    zero_tangent,
)
from nr.lax.shape import broadcast_in_dim_p, reshape, slice_in_dim, squeeze, transpose

BITS = INTEGER | BOOL


# ---------------------------------------------------------------- rules that reductions share
def _reduction_aval(op: str, accepts: Accepts) -> Callable:
    @functools.lru_cache(maxsize=4096)
    def rule(x: ShapedArray, *, axes: tuple[int, ...]) -> ShapedArray:
        check_dtype(op, x, accepts)
        return ShapedArray(_kept(op, x, axes), x.dtype)

    return rule


def _kept(op: str, x: ShapedArray, axes: tuple[int, ...]) -> list[int]:
    """The extents that stay."""
    if len(set(axes)) != len(axes) or not all(0 <= axis < x.ndim for axis in axes):
        raise ValueError(
            f"{op}: axes must be distinct and lie in [0, {x.ndim}); got {axes} for {x}. "
            f"Count from the front: axis -1 is {x.ndim - 1}."
        )
    return [n for d, n in enumerate(x.shape) if d not in axes]


def _reduction_batch(name: str) -> Callable:
    def batch(
        axis: Any, args: Sequence[Any], dims: Sequence[int], *, axes: tuple[int, ...], **params: Any
    ) -> Any:
        (dim,) = dims
        moved = tuple([a + (a >= dim) for a in axes])
        out = Primitive.all[name].bind(*args, axes=moved, **params)
        return out, dim - sum(a < dim for a in moved)

    return batch


def _spread(x: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """The result of a reduction over axes, repeated to the shape of the operand."""
    if not axes:
        return x
    kept = tuple([d for d in range(len(shape)) if d not in axes])
    return broadcast_in_dim_p.bind(x, shape=shape, broadcast_dimensions=kept)


def _tree(combine: Callable, elements: list[Any]) -> list[Any]:
    """Arrays combined along axis 0 in order, neighbours first: log2(n) calls of combine."""
    last = None
    while (n := typeof(elements[0]).shape[0]) > 1:
        if n % 2:
            end = [slice_in_dim(x, n - 1, n) for x in elements]
            last = end if last is None else combine(end, last)
        elements = combine(
            [slice_in_dim(x, 0, n - 1, 2) for x in elements],
            [slice_in_dim(x, 1, n, 2) for x in elements],
        )
    if last is not None:
        elements = combine(elements, last)
    return [squeeze(x, (0,)) for x in elements]


def _axes_in_front(x: Any, axes: tuple[int, ...]) -> Any:
    """x with the axes, in order, made one in front."""
    shape = typeof(x).shape
    kept = [d for d in range(len(shape)) if d not in axes]
    n = 1
    for axis in axes:
        n *= shape[axis]
    return reshape(transpose(x, (*axes, *kept)), (n, *[shape[d] for d in kept]))


# ---------------------------------------------------------------- sum
reduce_sum_p = linear(
    "reduce_sum",
    abstract_eval=_reduction_aval("reduce_sum", NUMERIC),
    transpose=lambda ct, x, *, axes: _spread(ct, x.aval.shape, axes),
    batch=_reduction_batch("reduce_sum"),
)


def reduce_sum(operand: Any, axes: Any) -> Array:
    """The sum over axes, in the operand's dtype; 0 where there is nothing to add.

    Args:
        operand: a numeric array.
        axes: distinct axes; None means all.

    Example:
        >>> import nr
        >>> nr.lax.reduce_sum(nr.numpy.array([[1, 2], [3, 4]]), (0,))
        Array([4, 6], dtype=int32)
    """
    return _reduce("reduce_sum", reduce_sum_p, operand, axes, NUMERIC)


def _reduce(op: str, primitive: Primitive, x: Any, axes: Any, accepts: Accepts) -> Array:
    x = operand(op, x)
    if x.dtype not in accepts:  # NumPy may take it, and give it another meaning
        check_dtype(op, x.aval, accepts)
    return primitive.bind(x, axes=canonical_axes(op, axes, x.ndim))


# ---------------------------------------------------------------- product
def _prod_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axes: tuple[int, ...]) -> Any:
    (x,), (t,) = primals, tangents
    out = reduce_prod_p.bind(x, axes=axes)
    if type(t) is Zero or typeof(x).size == 0:
        return out, zero_tangent(out)
    # The product rule on a tree of pairs: no division, so zeros do no harm, in any order.
    pair = [_axes_in_front(x, axes), _axes_in_front(t, axes)]
    _, out_dot = _tree(_product_rule, pair)
    return out, out_dot


def _product_rule(left: list[Any], right: list[Any]) -> list[Any]:
    (x, x_dot), (y, y_dot) = left, right
    assert mul_p.jvp is not None
    return list(mul_p.jvp((x, y), (x_dot, y_dot)))


reduce_prod_p = Primitive(
    "reduce_prod",
    abstract_eval=_reduction_aval("reduce_prod", NUMERIC),
    jvp=_prod_jvp,
    batch=_reduction_batch("reduce_prod"),
)


def reduce_prod(operand: Any, axes: Any) -> Array:
    """The product over axes, in the operand's dtype; 1 where there is nothing to multiply."""
    return _reduce("reduce_prod", reduce_prod_p, operand, axes, NUMERIC)


# ---------------------------------------------------------------- extremes
def _extreme(name: str) -> Primitive:
    def jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axes: tuple[int, ...]) -> Any:
        (x,), (t,) = primals, tangents
        out = primitive.bind(x, axes=axes)
        aval = typeof(x)
        if type(t) is Zero or aval.size == 0:
            return out, zero_tangent(out)
        # The mean of the tangents at the places that attain the extreme.
        attains = eq(x, _spread(out, aval.shape, axes))
        weights = convert_element_type(attains, aval.dtype)
        total = reduce_sum_p.bind(mul(t, weights), axes=axes)
        return out, div(total, reduce_sum_p.bind(weights, axes=axes))

    primitive = Primitive(
        name,
        abstract_eval=_reduction_aval(name, ANY),
        jvp=jvp,
        batch=_reduction_batch(name),
    )
    return primitive


reduce_max_p = _extreme("reduce_max")
reduce_min_p = _extreme("reduce_min")


def reduce_max(operand: Any, axes: Any) -> Array:
    """The largest element over axes, NaN if there is one; -inf (or the least integer) if none.

    Where several elements attain it, the derivative is the mean of theirs.
    """
    return _reduce("reduce_max", reduce_max_p, operand, axes, ANY)


def reduce_min(operand: Any, axes: Any) -> Array:
    """The smallest element over axes, NaN if there is one; inf (or the largest integer) if none.

    Where several elements attain it, the derivative is the mean of theirs.
    """
    return _reduce("reduce_min", reduce_min_p, operand, axes, ANY)


# ---------------------------------------------------------------- bits
def _bitwise(name: str) -> Primitive:
    return nondifferentiable(
        name, abstract_eval=_reduction_aval(name, BITS), batch=_reduction_batch(name)
    )


reduce_and_p = _bitwise("reduce_and")
reduce_or_p = _bitwise("reduce_or")
reduce_xor_p = _bitwise("reduce_xor")


def reduce_and(operand: Any, axes: Any) -> Array:
    """The bitwise "and" over axes; for bool, whether all hold."""
    return _reduce("reduce_and", reduce_and_p, operand, axes, BITS)


def reduce_or(operand: Any, axes: Any) -> Array:
    """The bitwise "or" over axes; for bool, whether any holds."""
    return _reduce("reduce_or", reduce_or_p, operand, axes, BITS)


def reduce_xor(operand: Any, axes: Any) -> Array:
    """The bitwise "exclusive or" over axes; for bool, whether an odd number hold."""
    return _reduce("reduce_xor", reduce_xor_p, operand, axes, BITS)


# ---------------------------------------------------------------- positions of extremes
def _arg_aval(op: str) -> Callable:
    def rule(x: ShapedArray, *, axes: tuple[int], index_dtype: np.dtype) -> ShapedArray:
        check_dtype(op, x, REAL | BOOL)
        if len(axes) != 1:
            raise ValueError(f"{op}: one axis was expected; got {axes} for {x}. Flatten x first.")
        shape = _kept(op, x, axes)
        if x.shape[axes[0]] == 0:
            raise ValueError(f"{op}: the axis must not be empty; got {x} for axis {axes[0]}.")
        if index_dtype not in INTEGER:
            raise TypeError(
                f"{op}: index_dtype must be an integer type; "
                f"got {dtypes.short_name(index_dtype)}. Use 'int32'."
            )
        return ShapedArray(shape, index_dtype)

    return rule


def _arg_extreme(name: str) -> Primitive:
    return nondifferentiable(name, abstract_eval=_arg_aval(name), batch=_reduction_batch(name))


argmax_p = _arg_extreme("argmax")
argmin_p = _arg_extreme("argmin")


def argmax(operand: Any, axis: int, index_dtype: Any) -> Array:
    """The first position of the largest element along an axis, or of a NaN if there is one.

    Example:
        >>> import nr
        >>> nr.lax.argmax(nr.numpy.array([[1., 3., 3.], [5., 4., 0.]]), 1, "int32")
        Array([1, 0], dtype=int32)
    """
    return _arg("argmax", argmax_p, operand, axis, index_dtype)


def argmin(operand: Any, axis: int, index_dtype: Any) -> Array:
    """The first position of the smallest element along an axis, or of a NaN if there is one."""
    return _arg("argmin", argmin_p, operand, axis, index_dtype)


def _arg(op: str, primitive: Primitive, x: Any, axis: int, index_dtype: Any) -> Array:
    x = operand(op, x)
    axes, index_dtype = (canonical_axis(op, axis, x.ndim),), dtypes.canonicalize(index_dtype)
    # NumPy would take complex numbers and any index_dtype: check before, not after a failure.
    primitive.abstract_eval(x.aval, axes=axes, index_dtype=index_dtype)
    return primitive.bind(x, axes=axes, index_dtype=index_dtype)


# ---------------------------------------------------------------- any monoid
_MONOIDS = {
    add: (reduce_sum, lambda dtype: 0),
    mul: (reduce_prod, lambda dtype: 1),
    max: (reduce_max, lambda dtype: _limit(dtype, "min")),
    min: (reduce_min, lambda dtype: _limit(dtype, "max")),
    bitwise_and: (reduce_and, lambda dtype: True if dtype == dtypes.bool_dt else -1),
    bitwise_or: (reduce_or, lambda dtype: 0),
    bitwise_xor: (reduce_xor, lambda dtype: 0),
}


def _limit(dtype: np.dtype, end: str) -> Any:
    if dtype == dtypes.bool_dt:
        return end == "max"
    if dtype in INTEGER:
        return getattr(np.iinfo(dtype), end)
    return np.inf if end == "max" else -np.inf


def _is_identity(init: Any, dtype: np.dtype, identity: Any) -> bool:
    """Whether an initial value that can be looked at is the monoid's identity."""
    if type(init) is ArrayImpl and init.committed is None:
        init = init.data
    elif not isinstance(init, (*PYTHON_SCALARS, np.ndarray, np.generic)):
        return False
    return bool(np.asarray(init).astype(dtype) == np.asarray(identity).astype(dtype))


def reduce(operands: Any, init_values: Any, computation: Callable, dimensions: Any) -> Any:
    """Combine elements over dimensions with an associative function.

    `add`, `mul`, `max`, `min`, `bitwise_and`, `bitwise_or` and `bitwise_xor` of this module run
    as their own reductions; other functions are called on about log2(n) pairs of slices.

    Args:
        operands: an array, or a pytree of arrays of one shape.
        init_values: the rank-0 value to begin with, in the structure of the operands; it should
            be an identity of the computation.
        computation: ``(x, y) -> z`` on values in the structure of the operand, working element
            by element; x holds what comes earlier.
        dimensions: the axes to reduce.

    Returns:
        Arrays in the structure of the operand, without those dimensions.

    Raises:
        TypeError: if structures, shapes or dtypes do not agree.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[1., 2.], [3., 4.]])
        >>> nr.lax.reduce(x, 0., nr.lax.add, (1,))
        Array([3., 7.], dtype=float32)
    """
    xs, structure = trees.tree_flatten(operands)
    inits, init_structure = trees.tree_flatten(init_values)
    if structure != init_structure or not xs:
        raise TypeError(
            f"reduce: operands and init_values must be one array and one number, or pytrees of one "
            f"structure; got {structure} and {init_structure}."
        )
    pairs = [_with_init(x, init) for x, init in zip(xs, inits, strict=True)]
    xs, starts = [x for x, _ in pairs], [init for _, init in pairs]
    shape = xs[0].shape
    if any(x.shape != shape for x in xs):
        got = ", ".join([str(x.aval) for x in xs])
        raise TypeError(f"reduce: operands must have the same shape; got {got}.")
    axes = canonical_axes("reduce", tuple(dimensions), len(shape))

    if len(xs) == 1 and computation in _MONOIDS:
        run, identity_of = _MONOIDS[computation]
        out, dtype = run(xs[0], axes), xs[0].dtype
        if not _is_identity(inits[0], dtype, identity_of(dtype)):
            out = computation(starts[0], out)
        return trees.tree_unflatten(structure, [out])

    def combine(left: list[Any], right: list[Any]) -> list[Any]:
        out = computation(*[trees.tree_unflatten(structure, side) for side in (left, right)])
        outs, out_structure = trees.tree_flatten(out)
        if out_structure != structure:
            raise TypeError(
                f"reduce: the computation must return the structure of its operands, "
                f"{structure}; got {out_structure}."
            )
        return outs

    fronts = [_axes_in_front(x, axes) for x in xs]
    n, *kept = fronts[0].shape
    outs = [broadcast_scalar(init, tuple(kept)) for init in starts]
    if n:
        outs = combine(outs, _tree(combine, fronts))
    return trees.tree_unflatten(structure, outs)


def _with_init(x: Any, init: Any) -> Sequence[Any]:
    x, init = operands("reduce", x, init)
    x, init = operand("reduce", x), operand("reduce", init)
    if init.ndim or init.dtype != x.dtype:
        raise TypeError(
            f"reduce: init_value must have rank 0 and the dtype of the operand; "
            f"got {init.aval} for {x.aval}."
        )
    return x, init
