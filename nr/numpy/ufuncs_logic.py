"""Comparisons, logic, bits, and tests of elements and of whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.core.tracing import Primitive
from nr.lax import elementwise as lax
from nr.lax.convert import bitcast_convert_type, convert_element_type
from nr.lax.reduce import reduce_and
from nr.lax.rules import check_dtype, const_like, operand
from nr.lax.shape import full
from nr.numpy.creation import asarray
from nr.numpy.eager import NATIVE_INEXACT, binary, unary
from nr.numpy.promotion import broadcast_shape, broadcast_to_shape, promote_broadcast

__all__ = [
    "allclose", "array_equal", "array_equiv", "bitwise_and", "bitwise_count", "bitwise_invert",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "equal", "greater", "greater_equal", "invert", "isclose", "iscomplex", "iscomplexobj",
    "isfinite", "isinf", "isnan", "isneginf", "isposinf", "isreal", "isrealobj", "left_shift",
    "less", "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "not_equal",
    "right_shift", "signbit",
]  # fmt: skip


# ---------------------------------------------------------------- comparison
@binary(np.equal, weak=False)
def equal(x1: Any, x2: Any, /) -> Array:
    """Whether x1 == x2."""
    return lax.eq_p.bind(*promote_broadcast("equal", x1, x2))


@binary(np.not_equal, weak=False)
def not_equal(x1: Any, x2: Any, /) -> Array:
    """Whether x1 != x2."""
    return lax.ne_p.bind(*promote_broadcast("not_equal", x1, x2))


@binary(np.less, weak=False)
def less(x1: Any, x2: Any, /) -> Array:
    """Whether x1 < x2."""
    return lax.lt_p.bind(*promote_broadcast("less", x1, x2))


@binary(np.less_equal, weak=False)
def less_equal(x1: Any, x2: Any, /) -> Array:
    """Whether x1 <= x2."""
    return lax.le_p.bind(*promote_broadcast("less_equal", x1, x2))


@binary(np.greater, weak=False)
def greater(x1: Any, x2: Any, /) -> Array:
    """Whether x1 > x2."""
    return lax.gt_p.bind(*promote_broadcast("greater", x1, x2))


@binary(np.greater_equal, weak=False)
def greater_equal(x1: Any, x2: Any, /) -> Array:
    """Whether x1 >= x2."""
    return lax.ge_p.bind(*promote_broadcast("greater_equal", x1, x2))


# ---------------------------------------------------------------- logic
def truth(op: str, x: Any) -> Array:
    """x as bool: whether its elements are not 0."""
    x = operand(op, x)
    return x if x.dtype == dtypes.bool_dt else lax.ne_p.bind(x, const_like(x, 0))


def _logical(op: str, primitive: Primitive, x1: Any, x2: Any) -> Array:
    return primitive.bind(*promote_broadcast(op, truth(op, x1), truth(op, x2)))


@binary(np.logical_and, weak=False)
def logical_and(x1: Any, x2: Any, /) -> Array:
    """Whether both x1 and x2 hold (are not 0)."""
    return _logical("logical_and", lax.and_p, x1, x2)


@binary(np.logical_or, weak=False)
def logical_or(x1: Any, x2: Any, /) -> Array:
    """Whether x1 or x2 holds (is not 0)."""
    return _logical("logical_or", lax.or_p, x1, x2)


@binary(np.logical_xor, weak=False)
def logical_xor(x1: Any, x2: Any, /) -> Array:
    """Whether one of x1 and x2 holds and the other does not."""
    return _logical("logical_xor", lax.xor_p, x1, x2)


@unary(np.logical_not, dtypes.REAL | dtypes.BOOL, weak=False)
def logical_not(x: Any, /) -> Array:
    """Whether x is 0."""
    return lax.not_p.bind(truth("logical_not", x))


# ---------------------------------------------------------------- bits
@binary(np.bitwise_and)
def bitwise_and(x1: Any, x2: Any, /) -> Array:
    """The bits set in both x1 and x2."""
    return lax.and_p.bind(*promote_broadcast("bitwise_and", x1, x2))


@binary(np.bitwise_or)
def bitwise_or(x1: Any, x2: Any, /) -> Array:
    """The bits set in x1 or x2."""
    return lax.or_p.bind(*promote_broadcast("bitwise_or", x1, x2))


@binary(np.bitwise_xor)
def bitwise_xor(x1: Any, x2: Any, /) -> Array:
    """The bits set in one of x1 and x2 only."""
    return lax.xor_p.bind(*promote_broadcast("bitwise_xor", x1, x2))


@unary(np.invert, dtypes.INTEGER | dtypes.BOOL)
def invert(x: Any, /) -> Array:
    """All bits flipped; of bools the negation."""
    return lax.bitwise_not(x)


bitwise_not = bitwise_invert = invert


def _shift_operands(op: str, x1: Any, x2: Any) -> list[Array]:
    arrays = promote_broadcast(op, x1, x2)
    if arrays[0].dtype == dtypes.bool_dt:
        return [convert_element_type(x, config.default_int) for x in arrays]
    check_dtype(op, arrays[0].aval, dtypes.INTEGER)
    return arrays


def left_shift(x1: Any, x2: Any, /) -> Array:
    """x1 times 2 to the x2; 0 for shifts by the width or more."""
    return lax.shift_left_p.bind(*_shift_operands("left_shift", x1, x2))


def right_shift(x1: Any, x2: Any, /) -> Array:
    """x1 shifted right by x2 bits, filling with its sign."""
    x, y = _shift_operands("right_shift", x1, x2)
    unsigned = x.dtype in dtypes.UNSIGNED
    return (lax.shift_right_logical_p if unsigned else lax.shift_right_arithmetic_p).bind(x, y)


bitwise_left_shift, bitwise_right_shift = left_shift, right_shift


def bitwise_count(x: Any, /) -> Array:
    """The number of bits set in |x|, as uint8.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.bitwise_count(jnp.array([7, -8]))
        Array([3, 1], dtype=uint8)
    """
    x = operand("bitwise_count", x)
    if x.dtype in dtypes.SIGNED:
        x = lax.abs(x)
    elif x.dtype in dtypes.BOOL:
        return convert_element_type(x, np.uint8)
    return convert_element_type(lax.population_count(x), np.uint8)


# ---------------------------------------------------------------- tests of elements
def _constant(x: Array, value: bool) -> Array:
    return full(x.shape, value, dtypes.bool_dt)


def _of_parts(test: Callable, combine: Callable, x: Array) -> Array:
    """A test of complex numbers by a test of their parts."""
    return combine(test(lax.real(x)), test(lax.imag(x)))


@unary(np.isfinite, NATIVE_INEXACT, weak=False)
def isfinite(x: Any, /) -> Array:
    """Whether x is neither infinite nor NaN."""
    x = operand("isfinite", x)
    if x.dtype in dtypes.COMPLEX:
        return _of_parts(isfinite, lax.bitwise_and, x)
    return lax.is_finite(x) if x.dtype in dtypes.FLOATING else _constant(x, True)


@unary(np.isinf, NATIVE_INEXACT, weak=False)
def isinf(x: Any, /) -> Array:
    """Whether x is infinite (of complex x: one of its parts)."""
    x = operand("isinf", x)
    if x.dtype in dtypes.COMPLEX:
        return _of_parts(isinf, lax.bitwise_or, x)
    if x.dtype not in dtypes.FLOATING:
        return _constant(x, False)
    return lax.eq(lax.abs(x), const_like(x, np.inf))


@unary(np.isnan, NATIVE_INEXACT, weak=False)
def isnan(x: Any, /) -> Array:
    """Whether x is NaN (of complex x: one of its parts)."""
    x = operand("isnan", x)
    return lax.ne(x, x) if x.dtype in dtypes.INEXACT else _constant(x, False)


def _is_value(op: str, x: Any, value: float) -> Array:
    x = operand(op, x)
    if x.dtype in dtypes.COMPLEX:
        raise ValueError(f"{op}: the dtype must be real; got {x.aval}. Test its parts.")
    return lax.eq(x, const_like(x, value)) if x.dtype in dtypes.FLOATING else _constant(x, False)


def isposinf(x: Any, /) -> Array:
    """Whether x is plus infinity."""
    return _is_value("isposinf", x, np.inf)


def isneginf(x: Any, /) -> Array:
    """Whether x is minus infinity."""
    return _is_value("isneginf", x, -np.inf)


def signbit(x: Any, /) -> Array:
    """Whether x carries a minus sign, as -0. does."""
    x = operand("signbit", x)
    if x.dtype in dtypes.COMPLEX:
        raise ValueError(f"signbit: the dtype must be real; got {x.aval}. Test its parts.")
    if x.dtype in dtypes.UNSIGNED or x.dtype == dtypes.bool_dt:
        return _constant(x, False)
    if x.dtype in dtypes.FLOATING:
        x = bitcast_convert_type(x, f"int{8 * x.dtype.itemsize}")
    return lax.lt(x, const_like(x, 0))


def iscomplex(x: Any) -> Array:
    """Whether the imaginary part of x is not 0."""
    x = operand("iscomplex", x)
    if x.dtype not in dtypes.COMPLEX:
        return _constant(x, False)
    return truth("iscomplex", lax.imag(x))


def isreal(x: Any) -> Array:
    """Whether the imaginary part of x is 0."""
    return lax.bitwise_not(iscomplex(x))


def iscomplexobj(x: Any) -> bool:
    """Whether x has, or is, a complex dtype; what is no array of numbers has none."""
    if isinstance(x, (type, np.dtype)):
        return dtypes.canonicalize(x) in dtypes.COMPLEX
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    return dtype in dtypes.COMPLEX


def isrealobj(x: Any) -> bool:
    """Whether x has no complex dtype."""
    return not iscomplexobj(x)


# ---------------------------------------------------------------- tests of arrays
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Array:
    """Whether |a - b| <= atol + rtol |b|, or both are the same infinity.

    Args:
        equal_nan: NaN is close to NaN.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.isclose(jnp.array([1., 2.]), jnp.array([1.000001, 2.1]))
        Array([ True, False], dtype=bool)
    """
    x, y = promote_broadcast("isclose", a, b, inexact=True)
    gap = lax.abs(lax.sub(x, y))
    _, rtol = promote_broadcast("isclose", gap, rtol)
    _, atol = promote_broadcast("isclose", gap, atol)
    close = lax.le(gap, lax.add(atol, lax.mul(rtol, lax.abs(y))))
    # An infinite bound is close to nothing but itself.
    close = lax.bitwise_and(close, isfinite(y))
    close = lax.bitwise_or(close, lax.eq(x, y))
    if equal_nan:
        close = lax.bitwise_or(close, lax.bitwise_and(isnan(x), isnan(y)))
    return close


def _all(x: Array) -> Array:
    return reduce_and(x, tuple(range(x.ndim)))


def allclose(
    a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False
) -> Array:
    """Whether all elements are close; arguments as in `isclose`."""
    return _all(isclose(a, b, rtol, atol, equal_nan))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Array:
    """Whether two arrays have the same shape and elements.

    Args:
        equal_nan: NaN equals NaN.
    """
    x, y = asarray(a1), asarray(a2)
    if x.shape != y.shape:
        return full((), False, dtypes.bool_dt)
    same = equal(x, y)
    if equal_nan:
        same = lax.bitwise_or(same, lax.bitwise_and(isnan(x), isnan(y)))
    return _all(same)


def array_equiv(a1: Any, a2: Any) -> Array:
    """Whether two arrays are equal after broadcasting; False if they can't be broadcast."""
    x, y = asarray(a1), asarray(a2)
    try:
        shape = broadcast_shape("array_equiv", x, y)
    except ValueError:
        return full((), False, dtypes.bool_dt)
    return _all(broadcast_to_shape(equal(x, y), shape))
