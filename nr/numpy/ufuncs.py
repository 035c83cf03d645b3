"""Arithmetic, powers, exponentials, logarithms and trigonometry, element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.lax import elementwise as lax
from nr.lax.rules import check_dtype, const_like, operand
from nr.lax.select import select
from nr.numpy.eager import NATIVE_FLOATING, NATIVE_INEXACT, binary, unary
from nr.numpy.promotion import (
    broadcast_arrays_list,
    broadcast_shape,
    broadcast_to_shape,
    promote_broadcast,
    promote_inexact,
)

__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctan2", "arctanh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh",
    "deg2rad", "degrees", "divide", "divmod", "exp", "exp2", "expm1", "fabs", "float_power",
    "floor_divide", "fmax", "fmin", "fmod", "heaviside", "hypot", "log", "log10", "log1p", "log2",
    "logaddexp", "logaddexp2", "maximum", "minimum", "mod", "multiply", "negative", "positive",
    "pow", "power", "rad2deg", "radians", "reciprocal", "remainder", "sign", "sin", "sinc", "sinh",
    "sqrt", "square", "subtract", "tan", "tanh", "true_divide",
]  # fmt: skip


def promote_numeric(op: str, *xs: Any) -> list[Array]:
    """Promoted and broadcast operands, bool ones made integers."""
    arrays = promote_broadcast(op, *xs)
    if arrays[0].dtype == dtypes.bool_dt:
        return [lax.convert_element_type(x, config.default_int) for x in arrays]
    return arrays


# ---------------------------------------------------------------- arithmetic
@binary(np.add)
def add(x1: Any, x2: Any, /) -> Array:
    """x1 + x2; of bools their disjunction.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.add(jnp.array([1, 2]), 0.5)
        Array([1.5, 2.5], dtype=float32)
    """
    return lax.add_p.bind(*promote_broadcast("add", x1, x2))


@binary(np.subtract)
def subtract(x1: Any, x2: Any, /) -> Array:
    """x1 - x2."""
    return lax.sub_p.bind(*promote_broadcast("subtract", x1, x2))


@binary(np.multiply)
def multiply(x1: Any, x2: Any, /) -> Array:
    """x1 * x2; of bools their conjunction.

    Fractions times a bool array are 0 where it is False, also if they are infinite or NaN: what a
    mask leaves out must not spoil a sum.
    """
    x, y = promote_broadcast("multiply", x1, x2)
    if x.dtype in dtypes.INEXACT:
        for factor, mask in ((x, x2), (y, x1)):
            if isinstance(mask, (Array, np.ndarray)) and mask.dtype == np.bool_:
                shape = broadcast_shape("multiply", x, y)
                factor = broadcast_to_shape(factor, shape)
                chosen = broadcast_to_shape(operand("multiply", mask), shape)
                return select(chosen, factor, const_like(factor, 0))
    return lax.mul_p.bind(x, y)


@binary(np.true_divide, NATIVE_INEXACT)
def divide(x1: Any, x2: Any, /) -> Array:
    """x1 / x2, floating also for integers."""
    return lax.div_p.bind(*promote_broadcast("divide", x1, x2, inexact=True))


true_divide = divide


_DIVIDES = dtypes.INTEGER | NATIVE_FLOATING


def _floor_divide_now(x: Any, y: Any) -> Any:
    whole = y.dtype.kind in "iu" if isinstance(y, np.ndarray) else type(y) is int
    if whole and not np.all(y):
        raise ZeroDivisionError("left to the definition, which follows XLA")
    return np.floor_divide(x, y)


@binary(_floor_divide_now, _DIVIDES)
def floor_divide(x1: Any, x2: Any, /) -> Array:
    """The quotient of x1 and x2 rounded towards minus infinity.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.floor_divide(jnp.array([7, -7]), 2)
        Array([ 3, -4], dtype=int32)
    """
    x, y = promote_numeric("floor_divide", x1, x2)
    _refuse_complex("floor_divide", x)
    quotient = lax.div(x, y)
    if x.dtype in dtypes.UNSIGNED:
        return quotient
    if x.dtype in dtypes.SIGNED:
        opposite = lax.ne(lax.sign(x), lax.sign(y))
        inexact = lax.ne(lax.rem(x, y), const_like(x, 0))
        down = lax.sub(quotient, const_like(x, 1))
        return select(lax.bitwise_and(opposite, inexact), down, quotient)
    return _float_divmod(x, y)[0]


def _float_divmod(x: Any, y: Any) -> tuple[Array, Array]:
    rest = lax.rem(x, y)
    quotient = lax.div(lax.sub(x, rest), y)
    zero, one = const_like(x, 0), const_like(x, 1)
    down = lax.bitwise_and(lax.ne(rest, zero), lax.ne(lax.sign(y), lax.sign(rest)))
    rest = select(down, lax.add(rest, y), rest)
    quotient = lax.round(select(down, lax.sub(quotient, one), quotient))
    return select(lax.eq(y, zero), lax.div(x, y), quotient), rest


def _refuse_complex(op: str, x: Array) -> None:
    if x.dtype in dtypes.COMPLEX:
        raise TypeError(f"{op}: the dtype must be real; got {x.aval}. Use its real part.")


def _nonzero_divisor(y: Any) -> Any:
    """An integer divisor with 1 for 0, so that the remainder by 0 is 0."""
    if y.dtype not in dtypes.INTEGER:
        return y
    return select(lax.eq(y, const_like(y, 0)), const_like(y, 1), y)


@binary(np.remainder, _DIVIDES)
def remainder(x1: Any, x2: Any, /) -> Array:
    """The remainder of floor_divide, with the sign of x2; an integer modulo 0 is 0.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.remainder(jnp.array([7, -7]), 3)
        Array([1, 2], dtype=int32)
    """
    x, y = promote_numeric("remainder", x1, x2)
    y = _nonzero_divisor(y)
    rest = lax.rem(x, y)
    if x.dtype in dtypes.UNSIGNED:
        return rest
    zero = const_like(x, 0)
    opposite = lax.ne(lax.lt(rest, zero), lax.lt(y, zero))
    adjust = lax.bitwise_and(opposite, lax.ne(rest, zero))
    return select(adjust, lax.add(rest, y), rest)


mod = remainder


def fmod(x1: Any, x2: Any, /) -> Array:
    """The remainder of x1 / x2 with the sign of x1, as in C."""
    x, y = promote_numeric("fmod", x1, x2)
    return lax.rem(x, _nonzero_divisor(y))


def divmod(x1: Any, x2: Any, /) -> tuple[Array, Array]:
    """The pair of floor_divide and remainder."""
    x, y = promote_numeric("divmod", x1, x2)
    _refuse_complex("divmod", x)
    if x.dtype in dtypes.FLOATING:
        return _float_divmod(x, y)
    return floor_divide(x, y), remainder(x, y)


@unary(np.negative, dtypes.NUMERIC)
def negative(x: Any, /) -> Array:
    """-x."""
    return lax.neg(x)


def positive(x: Any, /) -> Array:
    """x itself."""
    return operand("positive", x)


@unary(np.absolute, dtypes.REAL | dtypes.COMPLEX)
def absolute(x: Any, /) -> Array:
    """|x|, real for complex x."""
    x = operand("absolute", x)
    return x if x.dtype == dtypes.bool_dt else lax.abs(x)


abs = absolute  # noqa: A001 - NumPy's name


def fabs(x: Any, /) -> Array:
    """|x| as a floating array, of real x."""
    (x,) = promote_inexact("fabs", x)
    check_dtype("fabs", x.aval, dtypes.FLOATING)
    return lax.abs(x)


@unary(np.sign, dtypes.INTEGER | NATIVE_FLOATING)
def sign(x: Any, /) -> Array:
    """-1, 0 or 1 by the sign of x, +0 also for -0; x / |x| for complex x."""
    out = lax.sign(x)
    return lax.add(out, const_like(out, 0)) if out.dtype in dtypes.FLOATING else out


@unary(np.square, dtypes.NUMERIC)
def square(x: Any, /) -> Array:
    """x * x."""
    return lax.square(*promote_numeric("square", x))


def reciprocal(x: Any, /) -> Array:
    """1 / x, floating also for integers."""
    return lax.reciprocal(*promote_inexact("reciprocal", x))


# ---------------------------------------------------------------- extremes
@binary(np.maximum)
def maximum(x1: Any, x2: Any, /) -> Array:
    """The larger of x1 and x2, NaN if either is."""
    return lax.max_p.bind(*promote_broadcast("maximum", x1, x2))


@binary(np.minimum)
def minimum(x1: Any, x2: Any, /) -> Array:
    """The smaller of x1 and x2, NaN if either is."""
    return lax.min_p.bind(*promote_broadcast("minimum", x1, x2))


def fmax(x1: Any, x2: Any) -> Array:
    """The larger of x1 and x2, the other one if one is NaN."""
    x, y = promote_broadcast("fmax", x1, x2)
    return select(lax.bitwise_or(lax.gt(x, y), lax.ne(y, y)), x, y)


def fmin(x1: Any, x2: Any) -> Array:
    """The smaller of x1 and x2, the other one if one is NaN."""
    x, y = promote_broadcast("fmin", x1, x2)
    return select(lax.bitwise_or(lax.lt(x, y), lax.ne(y, y)), x, y)


def heaviside(x1: Any, x2: Any, /) -> Array:
    """0 where x1 < 0, x2 where it is 0, 1 where it is greater, NaN where it is NaN."""
    x, at_zero = promote_broadcast("heaviside", x1, x2, inexact=True)
    _refuse_complex("heaviside", x)
    zero, one = const_like(x, 0), const_like(x, 1)
    step = select(lax.gt(x, zero), one, select(lax.lt(x, zero), zero, x))
    return select(lax.eq(x, zero), at_zero, step)


# ---------------------------------------------------------------- powers and roots
@binary(np.power, NATIVE_INEXACT)
def _float_to_float(x1: Any, x2: Any, /) -> Array:
    return lax.pow_p.bind(*promote_numeric("power", x1, x2))


def _mixed(x: Any, y: Any) -> bool:
    """Whether x is a floating array and y an integer one, which pow takes as they are."""
    if not isinstance(x, Array) or not isinstance(y, Array) or x.weak_type or y.weak_type:
        return False
    return x.dtype in dtypes.INEXACT and y.dtype in dtypes.INTEGER


def _broadcast_pair(op: str, x: Array, y: Array) -> tuple[Array, Array]:
    """Two operands broadcast together, each in its own dtype."""
    if x.shape == y.shape or not x.shape or not y.shape:
        return x, y
    shape = broadcast_shape(op, x, y)
    return broadcast_to_shape(x, shape), broadcast_to_shape(y, shape)


def power(x1: Any, x2: Any, /) -> Array:
    """x1 to the x2.

    A Python integer as exponent gives repeated multiplication, and derivatives that are right at 0.

    Raises:
        TypeError: for integers to a negative Python integer.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.power(jnp.array([1., 2., 3.]), 2)
        Array([1., 4., 9.], dtype=float32)
    """
    if type(x2) is int:
        if x2 == 2:
            return square(x1)
        (x,) = promote_numeric("power", x1)
        if x.dtype in dtypes.INTEGER and x2 < 0:
            raise TypeError(
                f"power: integers can't be raised to negative powers; got {x.aval} to {x2}. "
                f"Convert the base with .astype('float32')."
            )
        return lax.integer_pow(x, x2)
    if _mixed(x1, x2):
        return lax.pow_p.bind(*_broadcast_pair("power", x1, x2))
    return _float_to_float(x1, x2)


pow = power  # noqa: A001 - NumPy's name


def float_power(x1: Any, x2: Any, /) -> Array:
    """x1 to the x2 as floating numbers."""
    return lax.pow_p.bind(*promote_broadcast("float_power", x1, x2, inexact=True))


@unary(np.sqrt, NATIVE_INEXACT)
def sqrt(x: Any, /) -> Array:
    """The square root; NaN for negative real x."""
    return lax.sqrt(*promote_inexact("sqrt", x))


@unary(np.cbrt, NATIVE_FLOATING)
def cbrt(x: Any, /) -> Array:
    """The real cube root."""
    return lax.cbrt(*promote_inexact("cbrt", x))


def hypot(x1: Any, x2: Any, /) -> Array:
    """sqrt(x1^2 + x2^2) without overflow in between."""
    x, y = promote_broadcast("hypot", x1, x2, inexact=True)
    if x.dtype in dtypes.COMPLEX:
        raise ValueError(f"hypot: the dtype must be real; got {x.aval}. Use absolute values.")
    x, y = lax.abs(x), lax.abs(y)
    large, small = lax.max(x, y), lax.min(x, y)
    zero, one, inf = (const_like(x, v) for v in (0, 1, np.inf))
    ordinary = lax.bitwise_and(lax.ne(large, zero), lax.ne(large, inf))
    ratio = lax.div(small, select(ordinary, large, one))
    length = lax.mul(large, lax.sqrt(lax.add(lax.square(ratio), one)))
    length = select(ordinary, length, large)
    infinite = lax.bitwise_or(lax.eq(x, inf), lax.eq(y, inf))
    return select(infinite, inf, length)


# ---------------------------------------------------------------- exponentials and logarithms
@unary(np.exp, NATIVE_INEXACT)
def exp(x: Any, /) -> Array:
    """e to the x."""
    return lax.exp(*promote_inexact("exp", x))


@unary(np.exp2, NATIVE_INEXACT)
def exp2(x: Any, /) -> Array:
    """2 to the x."""
    return lax.exp2(*promote_inexact("exp2", x))


@unary(np.expm1, NATIVE_INEXACT)
def expm1(x: Any, /) -> Array:
    """exp(x) - 1, accurate near 0."""
    return lax.expm1(*promote_inexact("expm1", x))


@unary(np.log, NATIVE_INEXACT)
def log(x: Any, /) -> Array:
    """The natural logarithm."""
    return lax.log(*promote_inexact("log", x))


@unary(np.log1p, NATIVE_INEXACT)
def log1p(x: Any, /) -> Array:
    """log(1 + x), accurate near 0."""
    return lax.log1p(*promote_inexact("log1p", x))


def log2(x: Any, /) -> Array:
    """The logarithm to base 2."""
    return _log_to_base("log2", x, 2)


def log10(x: Any, /) -> Array:
    """The logarithm to base 10."""
    return _log_to_base("log10", x, 10)


def _log_to_base(op: str, x: Any, base: int) -> Array:
    (x,) = promote_inexact(op, x)
    out = lax.log(x)
    if out.dtype not in dtypes.COMPLEX:
        return lax.div(out, const_like(out, math.log(base)))
    # Part by part: a complex division would make NaN of the infinite parts.
    parts = lax.real(out), lax.imag(out)
    return lax.complex(*[lax.div(part, const_like(part, math.log(base))) for part in parts])


def _high_low_difference(x: Any, y: Any) -> tuple[Any, Any]:
    """The operand of larger real part, and the other one less this one.

    The two are picked, not computed, so that derivatives of all orders are right also at ties.
    """
    x, y = broadcast_arrays_list("logaddexp", x, y)
    sizes = [lax.real(z) if z.dtype in dtypes.COMPLEX else z for z in (x, y)]
    first = lax.ge(*sizes)
    high, low = select(first, x, y), select(first, y, x)
    # inf - inf would be NaN
    proper = lax.bitwise_or(lax.is_finite(select(first, *sizes)), lax.ne(high, low))
    return high, select(proper, lax.sub(low, high), const_like(x, 0))


def _complex_logaddexp(x: Any, y: Any) -> Array:
    """The principal value of log(exp(x) + exp(y))."""
    high, difference = _high_low_difference(x, y)
    out = lax.add(high, lax.log1p(lax.exp(difference)))
    angle = lax.imag(out)
    turn = const_like(angle, 2 * math.pi)
    turns = lax.floor(lax.div(lax.add(angle, const_like(angle, math.pi)), turn))
    return lax.complex(lax.real(out), lax.sub(angle, lax.mul(turn, turns)))


def logaddexp(x1: Any, x2: Any, /) -> Array:
    """log(exp(x1) + exp(x2)), without overflow and accurate for small results.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.logaddexp(1000., jnp.array([1000., -jnp.inf]))
        Array([1000.6932, 1000.    ], dtype=float32)
    """
    x, y = promote_broadcast("logaddexp", x1, x2, inexact=True)
    if x.dtype in dtypes.COMPLEX:
        return _complex_logaddexp(x, y)
    high, difference = _high_low_difference(x, y)
    return lax.add(high, lax.log1p(lax.exp(difference)))


def logaddexp2(x1: Any, x2: Any, /) -> Array:
    """log2(2^x1 + 2^x2), without overflow."""
    x, y = promote_broadcast("logaddexp2", x1, x2, inexact=True)
    if x.dtype in dtypes.COMPLEX:
        unit = const_like(x, math.log(2))
        return lax.div(_complex_logaddexp(lax.mul(x, unit), lax.mul(y, unit)), unit)
    high, difference = _high_low_difference(x, y)
    excess = lax.div(lax.log1p(lax.exp2(difference)), const_like(high, math.log(2)))
    return lax.add(high, excess)


# ---------------------------------------------------------------- trigonometry
@unary(np.sin, NATIVE_INEXACT)
def sin(x: Any, /) -> Array:
    """Sine of x in radians."""
    return lax.sin(*promote_inexact("sin", x))


@unary(np.cos, NATIVE_INEXACT)
def cos(x: Any, /) -> Array:
    """Cosine of x in radians."""
    return lax.cos(*promote_inexact("cos", x))


@unary(np.tan, NATIVE_INEXACT)
def tan(x: Any, /) -> Array:
    """Tangent of x in radians."""
    return lax.tan(*promote_inexact("tan", x))


@unary(np.arcsin, NATIVE_INEXACT)
def arcsin(x: Any, /) -> Array:
    """Arcsine, in radians."""
    return lax.asin(*promote_inexact("arcsin", x))


@unary(np.arccos, NATIVE_INEXACT)
def arccos(x: Any, /) -> Array:
    """Arccosine, in radians."""
    return lax.acos(*promote_inexact("arccos", x))


@unary(np.arctan, NATIVE_INEXACT)
def arctan(x: Any, /) -> Array:
    """Arctangent, in radians."""
    return lax.atan(*promote_inexact("arctan", x))


@binary(np.arctan2, NATIVE_FLOATING)
def arctan2(x1: Any, x2: Any, /) -> Array:
    """The angle of the point (x2, x1), in radians in [-pi, pi]."""
    return lax.atan2(*promote_broadcast("arctan2", x1, x2, inexact=True))


@unary(np.sinh, NATIVE_INEXACT)
def sinh(x: Any, /) -> Array:
    """Hyperbolic sine."""
    return lax.sinh(*promote_inexact("sinh", x))


@unary(np.cosh, NATIVE_INEXACT)
def cosh(x: Any, /) -> Array:
    """Hyperbolic cosine."""
    return lax.cosh(*promote_inexact("cosh", x))


@unary(np.tanh, NATIVE_INEXACT)
def tanh(x: Any, /) -> Array:
    """Hyperbolic tangent."""
    return lax.tanh(*promote_inexact("tanh", x))


@unary(np.arcsinh, NATIVE_INEXACT)
def arcsinh(x: Any, /) -> Array:
    """Inverse hyperbolic sine."""
    return lax.asinh(*promote_inexact("arcsinh", x))


@unary(np.arccosh, NATIVE_INEXACT)
def arccosh(x: Any, /) -> Array:
    """Inverse hyperbolic cosine."""
    return lax.acosh(*promote_inexact("arccosh", x))


@unary(np.arctanh, NATIVE_INEXACT)
def arctanh(x: Any, /) -> Array:
    """Inverse hyperbolic tangent."""
    return lax.atanh(*promote_inexact("arctanh", x))


asin, acos, atan, atan2 = arcsin, arccos, arctan, arctan2
asinh, acosh, atanh = arcsinh, arccosh, arctanh


def deg2rad(x: Any, /) -> Array:
    """Degrees to radians."""
    (x,) = promote_inexact("deg2rad", x)
    return lax.mul(x, const_like(x, math.pi / 180))


def rad2deg(x: Any, /) -> Array:
    """Radians to degrees."""
    (x,) = promote_inexact("rad2deg", x)
    return lax.mul(x, const_like(x, 180 / math.pi))


radians, degrees = deg2rad, rad2deg


def sinc(x: Any, /) -> Array:
    """sin(pi x) / (pi x), 1 at 0.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.sinc(jnp.array([0., 0.5]))
        Array([1.        , 0.63661975], dtype=float32)
    """
    (x,) = promote_inexact("sinc", x)
    z = lax.mul(x, const_like(x, math.pi))
    at_zero = lax.eq(z, const_like(z, 0))
    safe = select(at_zero, const_like(z, 1), z)
    # At 0 the Maclaurin series stands in: its value is 1, and it has the derivatives.
    square_z = lax.square(z)
    series = const_like(z, 0)
    for degree in (8, 6, 4, 2, 0):
        coefficient = (-1) ** (degree // 2) / math.factorial(degree + 1)
        series = lax.add(lax.mul(series, square_z), const_like(z, coefficient))
    return select(at_zero, series, lax.div(lax.sin(safe), safe))
