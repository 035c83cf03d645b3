"""Operations element by element: arithmetic, comparison, rounding, bits, and elementary functions.

Operands have one dtype, and one shape or rank 0; `nr.numpy` promotes and broadcasts. Each block
holds the primitive with its derivatives and the public function.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, UndefinedPrimal
from nr.core.dtypes import ANY, BOOL, COMPLEX, FLOATING, INEXACT, INTEGER, NUMERIC, REAL
from nr.core.tracing import Primitive, typeof
from nr.lax.convert import convert_element_type
from nr.lax.rules import (
    broadcast_scalar,
    const_like,
    elementwise,
    elementwise_aval,
    one_dtype,
    operand,
    operand_of,
    operands,
    unbroadcast,
    zeros_of,
)
from nr.lax.select import select

BITS = INTEGER | BOOL


def _bool_result(dtype: np.dtype) -> np.dtype:
    return dtypes.bool_dt


# ---------------------------------------------------------------- arithmetic
def _add_transpose(ct: Any, x: Any, y: Any) -> list[Any]:
    return [unbroadcast(ct, z.aval) if type(z) is UndefinedPrimal else None for z in (x, y)]


add_p = elementwise(
    "add", ANY, lambda t, out, x, y: t, lambda t, out, x, y: t, transpose=_add_transpose
)


def add(x: Any, y: Any) -> Array:
    """x + y, element by element.

    Example:
        >>> import nr
        >>> nr.lax.add(nr.numpy.array([1, 2]), 3)
        Array([4, 5], dtype=int32)
    """
    return add_p.bind(*operands("add", x, y))


def _sub_transpose(ct: Any, x: Any, y: Any) -> list[Any]:
    return [
        unbroadcast(ct, x.aval) if type(x) is UndefinedPrimal else None,
        unbroadcast(neg(ct), y.aval) if type(y) is UndefinedPrimal else None,
    ]


sub_p = elementwise(
    "sub", NUMERIC, lambda t, out, x, y: t, lambda t, out, x, y: neg(t), transpose=_sub_transpose
)


def sub(x: Any, y: Any) -> Array:
    """x - y, element by element."""
    return sub_p.bind(*operands("sub", x, y, accepts=NUMERIC))


def _mul_transpose(ct: Any, x: Any, y: Any) -> list[Any]:
    if type(x) is UndefinedPrimal:
        return [unbroadcast(mul_p.bind(ct, y), x.aval), None]
    return [None, unbroadcast(mul_p.bind(x, ct), y.aval)]


mul_p: Primitive = elementwise(
    "mul",
    ANY,
    lambda t, out, x, y: mul_p.bind(t, y),
    lambda t, out, x, y: mul_p.bind(x, t),
    transpose=_mul_transpose,
)


def mul(x: Any, y: Any) -> Array:
    """x * y, element by element."""
    return mul_p.bind(*operands("mul", x, y))


def _div_transpose(ct: Any, x: Any, y: Any) -> list[Any]:
    return [unbroadcast(div_p.bind(ct, y), x.aval), None]


div_p: Primitive = elementwise(
    "div",
    NUMERIC,
    lambda t, out, x, y: div_p.bind(t, y),
    lambda t, out, x, y: neg(mul(t, div(out, y))),
    transpose=_div_transpose,
)


def div(x: Any, y: Any) -> Array:
    """x / y, element by element; integers are divided towards zero, as in C."""
    return div_p.bind(*operands("div", x, y, accepts=NUMERIC))


rem_p = elementwise(
    "rem",
    REAL,
    lambda t, out, x, y: t,
    lambda t, out, x, y: mul(neg(t), round_towards_zero(div(x, y))),
)


def rem(x: Any, y: Any) -> Array:
    """The remainder of x / y with the sign of x, as C's fmod."""
    return rem_p.bind(*operands("rem", x, y, accepts=REAL))


def round_towards_zero(x: Any) -> Array:
    """x without its fractional part."""
    return mul(sign(x), floor(abs(x)))


neg_p = elementwise("neg", NUMERIC, lambda t, out, x: neg(t), transpose=lambda ct, x: [neg(ct)])


def neg(x: Any) -> Array:
    """-x, element by element."""
    return neg_p.bind(operand_of("neg", x, NUMERIC))


def _abs_derivative(t: Any, out: Any, x: Any) -> Any:
    if typeof(x).dtype not in COMPLEX:
        return select(ge(x, const_like(x, 0)), t, neg(t))
    safe = select(eq(out, const_like(out, 0)), const_like(out, 1), out)
    direction = div(conj(x), complex(safe, const_like(safe, 0)))
    return real(mul(t, direction))


abs_p = elementwise("abs", NUMERIC, _abs_derivative, result=dtypes.to_real)


def abs(x: Any) -> Array:  # noqa: A001 - the field's name
    """|x|, element by element; real for complex x."""
    return abs_p.bind(operand_of("abs", x, NUMERIC))


sign_p = elementwise("sign", NUMERIC, None)


def sign(x: Any) -> Array:
    """-1, 0 or 1; x / |x| for complex x; NaN stays NaN."""
    return sign_p.bind(operand_of("sign", x, NUMERIC))


def _balanced(out: Any, x: Any, y: Any) -> Any:
    """1 where x gives the result, 1/2 where both do, 0 elsewhere."""
    one, half, zero = (const_like(out, v) for v in (1, 0.5, 0))
    return select(eq(x, out), select(eq(y, out), half, one), zero)


max_p = elementwise(
    "max",
    ANY,
    lambda t, out, x, y: mul(t, _balanced(out, x, y)),
    lambda t, out, x, y: mul(t, _balanced(out, y, x)),
)


def max(x: Any, y: Any) -> Array:  # noqa: A001
    """The larger of x and y, NaN if either is."""
    return max_p.bind(*operands("max", x, y))


min_p = elementwise(
    "min",
    ANY,
    lambda t, out, x, y: mul(t, _balanced(out, x, y)),
    lambda t, out, x, y: mul(t, _balanced(out, y, x)),
)


def min(x: Any, y: Any) -> Array:  # noqa: A001
    """The smaller of x and y, NaN if either is."""
    return min_p.bind(*operands("min", x, y))


nextafter_p = elementwise("nextafter", FLOATING, None, None)


def nextafter(x1: Any, x2: Any) -> Array:
    """The next representable number after x1 in the direction of x2."""
    return nextafter_p.bind(*operands("nextafter", x1, x2, accepts=FLOATING))


def _clamp_aval(lo: ShapedArray, x: ShapedArray, hi: ShapedArray) -> ShapedArray:
    for name, bound in (("min", lo), ("max", hi)):
        if bound.shape and bound.shape != x.shape:
            raise TypeError(
                f"clamp: bounds must have rank 0 or the shape of the operand; got {bound} for "
                f'"{name}" and {x}. Use nr.numpy.clip, which broadcasts.'
            )
    return elementwise_aval("clamp", ANY)(lo, x, hi).update(shape=x.shape)


clamp_p = elementwise(
    "clamp",
    ANY,
    lambda t, out, lo, x, hi: select_where(bitwise_and(gt(lo, x), lt(lo, hi)), t, out),
    lambda t, out, lo, x, hi: select_where(bitwise_and(gt(x, lo), lt(x, hi)), t, out),
    lambda t, out, lo, x, hi: select_where(lt(hi, x), t, out),
    abstract_eval=_clamp_aval,
)


def select_where(mask: Any, t: Any, out: Any) -> Any:
    """t where the mask holds, else 0, in the shape of out."""
    shape = typeof(out).shape
    return select(broadcast_scalar(mask, shape), broadcast_scalar(t, shape), zeros_of(typeof(out)))


def clamp(min: Any, x: Any, max: Any) -> Array:  # noqa: A002 - JAX's argument names
    """x held between min and max (rank 0, or the shape of x)."""
    lo, x, hi = bounds = one_dtype("clamp", min, x, max)
    for bound in (lo, hi):
        if bound.dtype != x.dtype or (bound.shape and bound.shape != x.shape):
            _clamp_aval(*[typeof(y) for y in bounds])  # raises; NumPy would broadcast
    return clamp_p.bind(lo, x, hi)


# ---------------------------------------------------------------- comparison
eq_p = elementwise("eq", ANY, None, None, result=_bool_result)
ne_p = elementwise("ne", ANY, None, None, result=_bool_result)
lt_p = elementwise("lt", ANY, None, None, result=_bool_result)
le_p = elementwise("le", ANY, None, None, result=_bool_result)
gt_p = elementwise("gt", ANY, None, None, result=_bool_result)
ge_p = elementwise("ge", ANY, None, None, result=_bool_result)


def eq(x: Any, y: Any) -> Array:
    """x == y, element by element."""
    return eq_p.bind(*operands("eq", x, y))


def ne(x: Any, y: Any) -> Array:
    """x != y, element by element."""
    return ne_p.bind(*operands("ne", x, y))


def lt(x: Any, y: Any) -> Array:
    """x < y, element by element."""
    return lt_p.bind(*operands("lt", x, y))


def le(x: Any, y: Any) -> Array:
    """x <= y, element by element."""
    return le_p.bind(*operands("le", x, y))


def gt(x: Any, y: Any) -> Array:
    """x > y, element by element."""
    return gt_p.bind(*operands("gt", x, y))


def ge(x: Any, y: Any) -> Array:
    """x >= y, element by element."""
    return ge_p.bind(*operands("ge", x, y))


# ---------------------------------------------------------------- rounding
class RoundingMethod(IntEnum):
    """What `round` does with halves."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


floor_p = elementwise("floor", FLOATING, None)
ceil_p = elementwise("ceil", FLOATING, None)
round_p = elementwise("round", FLOATING, None)
is_finite_p = elementwise("is_finite", FLOATING, None, result=_bool_result)


def floor(x: Any) -> Array:
    """The largest integer not above x."""
    return floor_p.bind(operand_of("floor", x, FLOATING))


def ceil(x: Any) -> Array:
    """The smallest integer not below x."""
    return ceil_p.bind(operand_of("ceil", x, FLOATING))


def round(  # noqa: A001
    x: Any, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO
) -> Array:
    """The nearest integer; halves go away from zero, or to the even one."""
    x = operand_of("round", x, FLOATING)
    return round_p.bind(x, rounding_method=RoundingMethod(rounding_method))


def is_finite(x: Any) -> Array:
    """Neither NaN nor infinite."""
    return is_finite_p.bind(operand_of("is_finite", x, FLOATING))


# ---------------------------------------------------------------- bits
and_p = elementwise("and", BITS, None, None)
or_p = elementwise("or", BITS, None, None)
xor_p = elementwise("xor", BITS, None, None)
not_p = elementwise("not", BITS, None)
shift_left_p = elementwise("shift_left", INTEGER, None, None)
shift_right_logical_p = elementwise("shift_right_logical", INTEGER, None, None)
shift_right_arithmetic_p = elementwise("shift_right_arithmetic", INTEGER, None, None)
population_count_p = elementwise("population_count", INTEGER, None)
clz_p = elementwise("clz", INTEGER, None)


def bitwise_and(x: Any, y: Any) -> Array:
    """x & y, element by element."""
    return and_p.bind(*operands("and", x, y, accepts=BITS))


def bitwise_or(x: Any, y: Any) -> Array:
    """x | y, element by element."""
    return or_p.bind(*operands("or", x, y, accepts=BITS))


def bitwise_xor(x: Any, y: Any) -> Array:
    """x ^ y, element by element."""
    return xor_p.bind(*operands("xor", x, y, accepts=BITS))


def bitwise_not(x: Any) -> Array:
    """~x, element by element."""
    return not_p.bind(operand_of("not", x, BITS))


def shift_left(x: Any, y: Any) -> Array:
    """x << y; 0 where y is not below the width."""
    return shift_left_p.bind(*operands("shift_left", x, y, accepts=INTEGER))


def shift_right_logical(x: Any, y: Any) -> Array:
    """x >> y, filling with zeros."""
    return shift_right_logical_p.bind(*operands("shift_right_logical", x, y, accepts=INTEGER))


def shift_right_arithmetic(x: Any, y: Any) -> Array:
    """x >> y, filling with the sign."""
    return shift_right_arithmetic_p.bind(*operands("shift_right_arithmetic", x, y, accepts=INTEGER))


def population_count(x: Any) -> Array:
    """The number of bits set."""
    return population_count_p.bind(operand_of("population_count", x, INTEGER))


def clz(x: Any) -> Array:
    """The number of leading zero bits."""
    return clz_p.bind(operand_of("clz", x, INTEGER))


# ---------------------------------------------------------------- exponentials and logarithms
exp_p = elementwise("exp", INEXACT, lambda t, y, x: mul_p.bind(t, y))
exp2_p = elementwise("exp2", INEXACT, lambda t, y, x: mul(t, mul(y, const_like(y, math.log(2)))))
expm1_p = elementwise("expm1", INEXACT, lambda t, y, x: mul(t, add(y, const_like(y, 1))))
log_p = elementwise("log", INEXACT, lambda t, y, x: div_p.bind(t, x))
log1p_p = elementwise("log1p", INEXACT, lambda t, y, x: div(t, add(x, const_like(x, 1))))
# One product with the slope, here and of tanh: of a sum of two, the transpose adds large parts of a
# cotangent that cancel.
logistic_p = elementwise(
    "logistic", INEXACT, lambda t, y, x: mul(t, mul(y, sub(const_like(y, 1), y)))
)


def exp(x: Any) -> Array:
    """e to the x.

    Example:
        >>> import nr
        >>> nr.lax.exp(nr.numpy.array([0., -float("inf")]))
        Array([1., 0.], dtype=float32)
    """
    return exp_p.bind(operand_of("exp", x, INEXACT))


def exp2(x: Any) -> Array:
    """2 to the x."""
    return exp2_p.bind(operand_of("exp2", x, INEXACT))


def expm1(x: Any) -> Array:
    """exp(x) - 1, accurate near 0."""
    return expm1_p.bind(operand_of("expm1", x, INEXACT))


def log(x: Any) -> Array:
    """The natural logarithm."""
    return log_p.bind(operand_of("log", x, INEXACT))


def log1p(x: Any) -> Array:
    """log(1 + x), accurate near 0."""
    return log1p_p.bind(operand_of("log1p", x, INEXACT))


def logistic(x: Any) -> Array:
    """1 / (1 + exp(-x))."""
    return logistic_p.bind(operand_of("logistic", x, INEXACT))


# ---------------------------------------------------------------- powers and roots
sqrt_p = elementwise("sqrt", INEXACT, lambda t, y, x: div(t, mul(y, const_like(y, 2))))
rsqrt_p = elementwise("rsqrt", INEXACT, lambda t, y, x: mul(t, mul(div(y, x), const_like(y, -0.5))))
cbrt_p = elementwise("cbrt", FLOATING, lambda t, y, x: div(t, mul(square(y), const_like(y, 3))))
square_p = elementwise("square", NUMERIC, lambda t, y, x: mul(t, mul(x, const_like(x, 2))))


def sqrt(x: Any) -> Array:
    """The square root."""
    return sqrt_p.bind(operand_of("sqrt", x, INEXACT))


def rsqrt(x: Any) -> Array:
    """1 / sqrt(x)."""
    return rsqrt_p.bind(operand_of("rsqrt", x, INEXACT))


def cbrt(x: Any) -> Array:
    """The real cube root."""
    return cbrt_p.bind(operand_of("cbrt", x, FLOATING))


def square(x: Any) -> Array:
    """x * x."""
    return square_p.bind(operand_of("square", x, NUMERIC))


integer_pow_p = elementwise(
    "integer_pow",
    NUMERIC,
    lambda t, out, x, *, y: mul(t, mul(integer_pow(x, y - 1), const_like(x, y))),
)


def integer_pow(x: Any, y: int) -> Array:
    """x to a Python integer, by repeated multiplication."""
    x = operand_of("integer_pow", x, NUMERIC)
    if y == 1:
        return x
    if y == 0:
        return operand("integer_pow", broadcast_scalar(const_like(x, 1), x.shape))
    return integer_pow_p.bind(x, y=int(y))


def _pow_base_derivative(t: Any, out: Any, x: Any, y: Any) -> Any:
    y = convert_element_type(y, typeof(x).dtype)
    one = const_like(y, 1)
    # y x^(y-1); where y == 0 the derivative is 0 even at x == 0, which the formula gives as NaN
    safe = select(eq(y, const_like(y, 0)), one, y)
    return mul(t, mul(y, pow(x, sub(safe, one))))


def _pow_exponent_derivative(t: Any, out: Any, x: Any, y: Any) -> Any:
    return mul(t, mul(log(select(eq(x, const_like(x, 0)), const_like(x, 1), x)), out))


def _pow_aval(x: ShapedArray, y: ShapedArray) -> ShapedArray:
    if y.dtype in INTEGER:  # an integer exponent may have any width
        y = y.update(dtype=x.dtype)
    return elementwise_aval("pow", NUMERIC)(x, y)


pow_p = elementwise(
    "pow", NUMERIC, _pow_base_derivative, _pow_exponent_derivative, abstract_eval=_pow_aval
)


def pow(x: Any, y: Any) -> Array:  # noqa: A001
    """x to the y, element by element; y may also be an integer array."""
    x, y = operand("pow", x), operand("pow", y)
    if y.dtype not in INTEGER or y.weak_type or x.weak_type:
        x, y = operands("pow", x, y, accepts=NUMERIC)
    elif x.shape != y.shape and x.shape and y.shape:
        _pow_aval(typeof(x), typeof(y))  # raises; NumPy would broadcast
    return pow_p.bind(x, y)


# ---------------------------------------------------------------- trigonometry
sin_p = elementwise("sin", INEXACT, lambda t, y, x: mul(t, cos(x)))
cos_p = elementwise("cos", INEXACT, lambda t, y, x: neg(mul(t, sin(x))))
tan_p = elementwise("tan", INEXACT, lambda t, y, x: mul(t, add(const_like(y, 1), square(y))))
asin_p = elementwise(
    "asin", INEXACT, lambda t, y, x: mul(t, rsqrt(sub(const_like(x, 1), square(x))))
)
acos_p = elementwise(
    "acos", INEXACT, lambda t, y, x: neg(mul(t, rsqrt(sub(const_like(x, 1), square(x)))))
)
atan_p = elementwise("atan", INEXACT, lambda t, y, x: div(t, add(const_like(x, 1), square(x))))
atan2_p = elementwise(
    "atan2",
    FLOATING,
    lambda t, out, x, y: mul(t, div(y, add(square(x), square(y)))),
    lambda t, out, x, y: mul(t, div(neg(x), add(square(x), square(y)))),
)


def sin(x: Any) -> Array:
    """Sine of x in radians."""
    return sin_p.bind(operand_of("sin", x, INEXACT))


def cos(x: Any) -> Array:
    """Cosine of x in radians."""
    return cos_p.bind(operand_of("cos", x, INEXACT))


def tan(x: Any) -> Array:
    """Tangent of x in radians."""
    return tan_p.bind(operand_of("tan", x, INEXACT))


def asin(x: Any) -> Array:
    """Arcsine, in radians."""
    return asin_p.bind(operand_of("asin", x, INEXACT))


def acos(x: Any) -> Array:
    """Arccosine, in radians."""
    return acos_p.bind(operand_of("acos", x, INEXACT))


def atan(x: Any) -> Array:
    """Arctangent, in radians."""
    return atan_p.bind(operand_of("atan", x, INEXACT))


def atan2(x: Any, y: Any) -> Array:
    """The angle of the point (y, x), in radians in [-pi, pi].

    Of complex numbers it is -i log((y + i x) / sqrt(x^2 + y^2)).
    """
    x, y = operands("atan2", x, y, accepts=INEXACT)
    if x.dtype in FLOATING:
        return atan2_p.bind(x, y)
    ratio = div(add(y, mul(const_like(x, 1j), x)), sqrt(add(square(x), square(y))))
    return mul(const_like(x, -1j), log(ratio))


# ---------------------------------------------------------------- hyperbolic functions
sinh_p = elementwise("sinh", INEXACT, lambda t, y, x: mul(t, cosh(x)))
cosh_p = elementwise("cosh", INEXACT, lambda t, y, x: mul(t, sinh(x)))
tanh_p = elementwise("tanh", INEXACT, lambda t, y, x: mul(t, sub(const_like(y, 1), square(y))))
asinh_p = elementwise(
    "asinh", INEXACT, lambda t, y, x: mul(t, rsqrt(add(square(x), const_like(x, 1))))
)
acosh_p = elementwise(
    "acosh",
    INEXACT,
    lambda t, y, x: mul(t, mul(rsqrt(sub(x, const_like(x, 1))), rsqrt(add(x, const_like(x, 1))))),
)
atanh_p = elementwise("atanh", INEXACT, lambda t, y, x: div(t, sub(const_like(x, 1), square(x))))


def sinh(x: Any) -> Array:
    """Hyperbolic sine."""
    return sinh_p.bind(operand_of("sinh", x, INEXACT))


def cosh(x: Any) -> Array:
    """Hyperbolic cosine."""
    return cosh_p.bind(operand_of("cosh", x, INEXACT))


def tanh(x: Any) -> Array:
    """Hyperbolic tangent."""
    return tanh_p.bind(operand_of("tanh", x, INEXACT))


def asinh(x: Any) -> Array:
    """Inverse hyperbolic sine."""
    return asinh_p.bind(operand_of("asinh", x, INEXACT))


def acosh(x: Any) -> Array:
    """Inverse hyperbolic cosine."""
    return acosh_p.bind(operand_of("acosh", x, INEXACT))


def atanh(x: Any) -> Array:
    """Inverse hyperbolic tangent."""
    return atanh_p.bind(operand_of("atanh", x, INEXACT))


# ---------------------------------------------------------------- complex numbers
def _zero_like(x: Any) -> Any:
    return const_like(x, 0)


real_p = elementwise(
    "real",
    COMPLEX,
    lambda t, y, x: real(t),
    result=dtypes.to_real,
    transpose=lambda ct, x: [complex(ct, _zero_like(ct))],
)
imag_p = elementwise(
    "imag",
    COMPLEX,
    lambda t, y, x: imag(t),
    result=dtypes.to_real,
    transpose=lambda ct, x: [complex(_zero_like(ct), neg(ct))],
)


def _complex_transpose(ct: Any, x: Any, y: Any) -> list[Any]:
    return [
        unbroadcast(real(ct), x.aval) if type(x) is UndefinedPrimal else None,
        unbroadcast(neg(imag(ct)), y.aval) if type(y) is UndefinedPrimal else None,
    ]


_PAIRED = frozenset(d for d in FLOATING if d.itemsize >= 4)  # there are complex dtypes of these
complex_p = elementwise(
    "complex",
    _PAIRED,
    lambda t, out, x, y: complex(t, _zero_like(t)),
    lambda t, out, x, y: complex(_zero_like(t), t),
    result=dtypes.to_complex,
    transpose=_complex_transpose,
)
conj_p = elementwise("conj", COMPLEX, lambda t, y, x: conj(t), transpose=lambda ct, x: [conj(ct)])


def real(x: Any) -> Array:
    """The real part of complex x."""
    return real_p.bind(operand_of("real", x, COMPLEX))


def imag(x: Any) -> Array:
    """The imaginary part of complex x."""
    return imag_p.bind(operand_of("imag", x, COMPLEX))


def complex(x: Any, y: Any) -> Array:  # noqa: A001
    """x + iy from real x and y."""
    return complex_p.bind(*operands("complex", x, y, accepts=_PAIRED))


def conj(x: Any) -> Array:
    """The complex conjugate; real x becomes complex."""
    x = operand("conj", x)
    if x.dtype not in COMPLEX:
        return complex(x, _zero_like(x))
    return conj_p.bind(x)


def reciprocal(x: Any) -> Array:
    """1 / x."""
    x = operand("reciprocal", x)
    return div(const_like(x, 1), x)
