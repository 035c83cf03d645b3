"""Running sums, products, extremes and log-sum-exps along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nr.core.array import Array
from nr.core.avals import ShapedArray, Zero
from nr.core.dtypes import INEXACT, NUMERIC
from nr.core.tracing import Primitive, typeof
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import abs, add, eq, exp, max_p, min_p, mul, mul_p, sub
from nr.lax.rules import (
    Accepts,
    canonical_axis,
    check_dtype,
    const_like,
    linear,
    operand,
    zero_tangent,
)
from nr.lax.select import select
from nr.lax.shape import concatenate, full_like, pad, rev, slice_in_dim


# ---------------------------------------------------------------- rules that they share
def _cumulative_aval(op: str, accepts: Accepts) -> Callable:
    def rule(x: ShapedArray, *, axis: int, reverse: bool) -> ShapedArray:
        check_dtype(op, x, accepts)
        if not 0 <= axis < x.ndim:
            raise ValueError(
                f"{op}: the axis must lie in [0, {x.ndim}); got {axis} for {x}. "
                f"Count from the front: axis -1 is {x.ndim - 1}."
            )
        return x.strip_weak_type()

    return rule


def _cumulative_batch(name: str) -> Callable:
    def batch(mapped: Any, args: Any, dims: Any, *, axis: int, reverse: bool) -> Any:
        (dim,) = dims
        axis += axis >= dim
        return Primitive.all[name].bind(*args, axis=axis, reverse=reverse), dim

    return batch


def _scan(combine: Callable, elements: list[Any], axis: int) -> list[Any]:
    """All prefixes of arrays under an associative function of lists of arrays.

    Pairs are combined, their prefixes found by recursion, and the places between filled in:
    2 log2(n) calls of combine on 2n elements in all (Blelloch 1990, Prefix sums and their
    applications).
    """
    n = typeof(elements[0]).shape[axis]
    if n < 2:
        return elements

    def part(xs: list[Any], start: int, stop: int, stride: int) -> list[Any]:
        return [slice_in_dim(x, start, stop, stride, axis) for x in xs]

    odd = _scan(combine, combine(part(elements, 0, n - 1, 2), part(elements, 1, n, 2)), axis)
    even = part(elements, 0, 1, 1)
    if n > 2:
        rest = combine(part(odd, 0, (n - 1) // 2, 1), part(elements, 2, n, 2))
        even = [concatenate([x, y], axis) for x, y in zip(even, rest, strict=True)]
    return [_interleave(x, y, n, axis) for x, y in zip(even, odd, strict=True)]


def _interleave(even: Any, odd: Any, n: int, axis: int) -> Any:
    """An array of n places along an axis, from those at even and at odd positions."""

    def spread(x: Any, low: int) -> Any:
        covered = 2 * typeof(x).shape[axis] - 1
        config = [(0, 0, 0)] * typeof(x).ndim
        config[axis] = (low, n - low - covered, 1)
        return pad(x, const_like(x, 0), config)

    return add(spread(even, 0), spread(odd, 1))


def _scanned(name: str, accepts: Accepts, tangent: Callable) -> Primitive:
    """A cumulative operation; ``tangent(t, out, x, axis)`` gives the tangent of a forward one."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axis: int, reverse: bool) -> Any:
        (x,), (t,) = primals, tangents
        out = primitive.bind(x, axis=axis, reverse=reverse)
        if type(t) is Zero or typeof(x).size == 0:
            return out, zero_tangent(out)
        if not reverse:
            return out, tangent(t, out, x, axis)
        flipped = [rev(z, (axis,)) for z in (t, out, x)]
        return out, rev(tangent(*flipped, axis), (axis,))

    primitive = Primitive(
        name,
        abstract_eval=_cumulative_aval(name, accepts),
        jvp=jvp,
        batch=_cumulative_batch(name),
    )
    return primitive


def _tangent_through(primitive: Primitive) -> Callable:
    """The tangent of prefixes under a primitive of two operands, by that primitive's own rule.

    So there is no division by elements that may be zero, and ties are split as `max` splits them.
    """

    def combine(left: list[Any], right: list[Any]) -> list[Any]:
        (x, x_dot), (y, y_dot) = left, right
        assert primitive.jvp is not None
        return list(primitive.jvp((x, y), (x_dot, y_dot)))

    return lambda t, out, x, axis: _scan(combine, [x, t], axis)[1]


def _cumulative(op: str, primitive: Primitive, x: Any, axis: int, reverse: bool) -> Array:
    x = operand(op, x)
    axis, reverse = canonical_axis(op, axis, x.ndim), bool(reverse)
    # NumPy would take bool, or round what has to be a fraction: check before, not after a failure.
    primitive.abstract_eval(x.aval, axis=axis, reverse=reverse)
    return primitive.bind(x, axis=axis, reverse=reverse)


# ---------------------------------------------------------------- sum
cumsum_p: Primitive = linear(
    "cumsum",
    abstract_eval=_cumulative_aval("cumsum", NUMERIC),
    transpose=lambda ct, x, *, axis, reverse: cumsum_p.bind(ct, axis=axis, reverse=not reverse),
    batch=_cumulative_batch("cumsum"),
)


def cumsum(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """Running sums along an axis, from its end where `reverse`.

    Example:
        >>> import nr
        >>> nr.lax.cumsum(nr.numpy.array([1, 2, 3]), reverse=True)
        Array([6, 5, 3], dtype=int32)
    """
    return _cumulative("cumsum", cumsum_p, operand, axis, reverse)


# ---------------------------------------------------------------- product and extremes
cumprod_p = _scanned("cumprod", NUMERIC, _tangent_through(mul_p))
cummax_p = _scanned("cummax", NUMERIC, _tangent_through(max_p))
cummin_p = _scanned("cummin", NUMERIC, _tangent_through(min_p))


def cumprod(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """Running products along an axis, from its end where `reverse`."""
    return _cumulative("cumprod", cumprod_p, operand, axis, reverse)


def cummax(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """The largest element so far along an axis, from its end where `reverse`."""
    return _cumulative("cummax", cummax_p, operand, axis, reverse)


def cummin(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """The smallest element so far along an axis, from its end where `reverse`."""
    return _cumulative("cummin", cummin_p, operand, axis, reverse)


# ---------------------------------------------------------------- log-sum-exp
def _cumlogsumexp_tangent(t: Any, out: Any, x: Any, axis: int) -> Any:
    # out[i] = log(exp(out[i-1]) + exp(x[i])): a linear recurrence in the tangents, whose
    # coefficients exp(out[i-1] - out[i]) and exp(x[i] - out[i]) lie in [0, 1].
    n = typeof(x).shape[axis]
    first = slice_in_dim(out, 0, 1, axis=axis)
    before = concatenate(
        [full_like(first, float("-inf")), slice_in_dim(out, 0, n - 1, axis=axis)], axis
    )
    elements = [_share(before, out), mul(t, _share(x, out))]
    return _scan(_compose_affine, elements, axis)[1]


def _share(x: Any, out: Any) -> Any:
    """exp(x - out), where out may be infinite; then x has all or nothing of it."""
    infinity = const_like(out, float("inf"))
    infinite = eq(abs(out), const_like(abs(out), float("inf")))
    zeros = full_like(out, 0)
    finite_share = exp(sub(select(infinite, zeros, x), select(infinite, zeros, out)))
    return select(infinite, convert_element_type(eq(x, infinity), out.dtype), finite_share)


def _compose_affine(left: list[Any], right: list[Any]) -> list[Any]:
    """d -> a2 (a1 d + b1) + b2 for the maps d -> a1 d + b1, then d -> a2 d + b2."""
    (a1, b1), (a2, b2) = left, right
    return [mul(a1, a2), add(mul(b1, a2), b2)]


cumlogsumexp_p = _scanned("cumlogsumexp", INEXACT, _cumlogsumexp_tangent)


def cumlogsumexp(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """log(cumsum(exp(x))) without overflow, from the end of the axis where `reverse`."""
    return _cumulative("cumlogsumexp", cumlogsumexp_p, operand, axis, reverse)
