"""Rounding, the bits of floating numbers, the parts of complex ones, divisors of integers."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.dtypes import DTYPES
from nr.lax import elementwise as lax
from nr.lax.convert import bitcast_convert_type, convert_element_type
from nr.lax.reduce import reduce_or
from nr.lax.rules import const_like, operand
from nr.lax.select import select
from nr.lax.shape import zeros_like_array
from nr.numpy.eager import NATIVE_FLOATING, binary, unary
from nr.numpy.promotion import broadcast_arrays_list, promote, promote_broadcast, promote_inexact
from nr.numpy.ufuncs_logic import signbit

__all__ = [
    "angle", "around", "ceil", "conj", "conjugate", "copysign", "fix", "floor", "frexp", "gcd",
    "imag", "lcm", "ldexp", "modf", "nextafter", "real", "rint", "round", "spacing", "trunc",
]  # fmt: skip


# ---------------------------------------------------------------- rounding
def _rounded(op: str, how: Callable, x: Any) -> Array:
    """x rounded; integers and bools are whole already."""
    x = operand(op, x)
    if x.dtype in dtypes.COMPLEX:
        raise TypeError(f"{op}: the dtype must be real; got {x.aval}. Round its parts.")
    return how(x) if x.dtype in dtypes.FLOATING else x


@unary(np.floor, NATIVE_FLOATING)
def floor(x: Any, /) -> Array:
    """The largest integer not above x, in the dtype of x."""
    return _rounded("floor", lax.floor, x)


@unary(np.ceil, NATIVE_FLOATING)
def ceil(x: Any, /) -> Array:
    """The smallest integer not below x, in the dtype of x."""
    return _rounded("ceil", lax.ceil, x)


def _toward_zero(x: Array) -> Array:
    return select(lax.lt(x, const_like(x, 0)), lax.ceil(x), lax.floor(x))


@unary(np.trunc, NATIVE_FLOATING)
def trunc(x: Any) -> Array:
    """x without its fractional part, in the dtype of x."""
    return _rounded("trunc", _toward_zero, x)


fix = trunc


def _to_even(x: Array) -> Array:
    return lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)


@unary(np.rint, NATIVE_FLOATING)
def rint(x: Any, /) -> Array:
    """The nearest integer, the even one of two, as a floating array."""
    (x,) = promote_inexact("rint", x)
    return round(x)


def round(a: Any, decimals: int = 0, out: None = None) -> Array:  # noqa: A001
    """a rounded to decimals, halves to even; integers stay what they are.

    Raises:
        NotImplementedError: for integers and negative decimals.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.round(jnp.array([0.5, 1.5, 1.26]), 1)
        Array([0.5, 1.5, 1.3], dtype=float32)
    """
    if out is not None:
        raise NotImplementedError("round: out must be None; arrays are immutable.")
    x = operand("round", a)
    decimals = decimals.__index__()
    if x.dtype in dtypes.COMPLEX:
        return lax.complex(round(lax.real(x), decimals), round(lax.imag(x), decimals))
    if x.dtype not in dtypes.FLOATING:
        if decimals < 0:
            raise NotImplementedError(
                f"round: decimals must not be negative for integers; got {decimals} for {x.aval}. "
                f"Convert with .astype('float32')."
            )
        return x
    if decimals == 0:
        return _to_even(x)
    dtype = x.dtype
    if dtype.itemsize < 4:
        x = convert_element_type(x, np.float32)
    factor = const_like(x, 10.0 ** builtins.abs(decimals))
    if decimals > 0:
        x = lax.div(_to_even(lax.mul(x, factor)), factor)
    else:
        x = lax.mul(_to_even(lax.div(x, factor)), factor)
    return convert_element_type(x, dtype)


around = round


# ---------------------------------------------------------------- bits of floating numbers
def copysign(x1: Any, x2: Any, /) -> Array:
    """|x1| with the sign of x2, that of zeros and NaNs included."""
    x, y = promote_broadcast("copysign", x1, x2, inexact=True)
    size = lax.abs(x)
    return select(signbit(y), lax.neg(size), size)


def nextafter(x1: Any, x2: Any, /) -> Array:
    """The next number after x1 in the direction of x2."""
    return lax.nextafter_p.bind(*promote_broadcast("nextafter", x1, x2, inexact=True))


def spacing(x: Any, /) -> Array:
    """The distance from x to the next number away from 0, with the sign of x.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.spacing(jnp.array([1., -2.]))
        Array([ 1.1920929e-07, -2.3841858e-07], dtype=float32)
    """
    (x,) = promote_inexact("spacing", x)
    size = lax.abs(x)
    gap = lax.sub(lax.nextafter(size, const_like(x, np.inf)), size)
    gap = select(lax.is_finite(size), gap, const_like(x, np.nan))
    return copysign(gap, x)


def _layout(dtype: np.dtype) -> tuple[np.dtype, int, int, int]:
    """(integer of the same width, mantissa bits, exponent mask, bias) of float32 and float64."""
    if dtype == DTYPES["float64"]:
        return DTYPES["int64"], 52, 0x7FF, 1023
    return DTYPES["int32"], 23, 0xFF, 127


def _widened(op: str, x: Any) -> tuple[Array, np.dtype]:
    """x as float32 or float64, and its dtype."""
    (x,) = promote_inexact(op, x)
    if x.dtype in dtypes.COMPLEX:
        raise TypeError(f"{op}: the dtype must be real; got {x.aval}. Use its parts.")
    dtype = x.dtype
    return (x if dtype.itemsize >= 4 else convert_element_type(x, np.float32)), dtype


def ldexp(x1: Any, x2: Any, /) -> Array:
    """x1 times 2 to the integer x2, exact unless the result is subnormal.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.ldexp(jnp.array([1., 3.]), 2)
        Array([ 4., 12.], dtype=float32)
    """
    exponent = operand("ldexp", x2)
    if exponent.dtype not in dtypes.INTEGER and exponent.dtype != dtypes.bool_dt:
        raise ValueError(f"ldexp: x2 must be of an integer type; got {exponent.aval}.")
    x, dtype = _widened("ldexp", x1)
    bits, mantissa, _, bias = _layout(x.dtype)
    x, exponent = broadcast_arrays_list("ldexp", x, exponent)
    # Any exponent that matters is the sum of three that a floating number has.
    low, high = 1 - bias, bias
    if exponent.dtype.itemsize >= 4:
        least = 0 if exponent.dtype in dtypes.UNSIGNED else 3 * low
        exponent = lax.clamp(const_like(exponent, least), exponent, const_like(exponent, 3 * high))
    exponent = convert_element_type(exponent, bits)
    for _ in range(3):
        step = lax.clamp(const_like(exponent, low), exponent, const_like(exponent, high))
        exponent = lax.sub(exponent, step)
        power = lax.shift_left(lax.add(step, const_like(step, bias)), const_like(step, mantissa))
        x = lax.mul(x, bitcast_convert_type(power, x.dtype))
    return convert_element_type(x, dtype)


def frexp(x: Any, /) -> tuple[Array, Array]:
    """The pair (mantissa, exponent): x = mantissa * 2^exponent, 0.5 <= |mantissa| < 1.

    Of 0, infinities and NaN the mantissa is the number itself and the exponent 0.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.frexp(jnp.array([1., 6.]))
        (Array([0.5 , 0.75], dtype=float32), Array([1, 3], dtype=int32))
    """
    x, dtype = _widened("frexp", x)
    bits, mantissa, mask, bias = _layout(x.dtype)
    subnormal = lax.lt(lax.abs(x), const_like(x, np.finfo(x.dtype).tiny))
    scaled = select(subnormal, lax.mul(x, const_like(x, 2.0 ** (mantissa + 1))), x)
    word = bitcast_convert_type(scaled, bits)
    field = lax.shift_right_logical(word, const_like(word, mantissa))
    field = lax.bitwise_and(field, const_like(word, mask))
    offset = select(subnormal, const_like(word, bias + mantissa), const_like(word, bias - 1))
    ordinary = lax.bitwise_and(lax.is_finite(x), lax.ne(x, const_like(x, 0)))
    exponent = select(ordinary, lax.sub(field, offset), const_like(word, 0))
    fraction = select(ordinary, ldexp(x, lax.neg(exponent)), x)
    return convert_element_type(fraction, dtype), convert_element_type(exponent, np.int32)


def modf(x: Any, /, out: None = None) -> tuple[Array, Array]:
    """The pair (fractional part, whole part), both with the sign of x."""
    if out is not None:
        raise NotImplementedError("modf: out must be None; arrays are immutable.")
    (x,) = promote_inexact("modf", x)
    whole = trunc(x)
    infinite = lax.eq(lax.abs(x), const_like(x, np.inf))
    return copysign(select(infinite, const_like(x, 0), lax.sub(x, whole)), x), whole


# ---------------------------------------------------------------- parts of complex numbers
def real(val: Any, /) -> Array:
    """The real part; real x is its own."""
    x = operand("real", val)
    return lax.real(x) if x.dtype in dtypes.COMPLEX else x


def imag(val: Any, /) -> Array:
    """The imaginary part; zeros for real x."""
    x = operand("imag", val)
    return lax.imag(x) if x.dtype in dtypes.COMPLEX else zeros_like_array(x)


def conjugate(x: Any, /) -> Array:
    """The complex conjugate; real x is its own."""
    x = operand("conjugate", x)
    return lax.conj(x) if x.dtype in dtypes.COMPLEX else x


conj = conjugate


def angle(z: Any, deg: bool = False) -> Array:
    """The angle of a complex number to the positive real axis, in (-pi, pi].

    Args:
        deg: in degrees instead of radians.
    """
    (z,) = promote_inexact("angle", z)
    if z.dtype in dtypes.COMPLEX:
        result = lax.atan2(lax.imag(z), lax.real(z))
    else:
        result = lax.atan2(zeros_like_array(z), z)
    return lax.mul(result, const_like(result, 180 / math.pi)) if deg else result


# ---------------------------------------------------------------- divisors
def _integers(op: str, x1: Any, x2: Any) -> list[Array]:
    arrays = promote(op, x1, x2)
    if arrays[0].dtype not in dtypes.INTEGER:
        raise ValueError(f"{op}: arguments must be of an integer type; got {arrays[0].aval}.")
    return broadcast_arrays_list(op, *arrays)


@binary(np.gcd)
def gcd(x1: Any, x2: Any) -> Array:
    """The greatest common divisor of |x1| and |x2|, by Euclid's algorithm."""
    from nr.transforms.control_flow import while_loop

    x, y = _integers("gcd", x1, x2)

    def unfinished(pair: tuple[Array, Array]) -> Array:
        rest = lax.ne(pair[1], const_like(pair[1], 0))
        return reduce_or(rest, tuple(range(rest.ndim)))

    def step(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        a, b = pair
        done = lax.eq(b, const_like(b, 0))
        rest = lax.rem(a, select(done, const_like(b, 1), b))
        return select(done, a, b), select(done, b, rest)

    return while_loop(unfinished, step, (lax.abs(x), lax.abs(y)))[0]


def lcm(x1: Any, x2: Any) -> Array:
    """The least common multiple of |x1| and |x2|; 0 if one is 0.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.lcm(jnp.array([4, 0]), 6)
        Array([12,  0], dtype=int32)
    """
    x, y = _integers("lcm", x1, x2)
    divisor = gcd(x, y)
    safe = select(lax.eq(divisor, const_like(x, 0)), const_like(x, 1), divisor)
    return lax.mul(lax.abs(x), lax.div(lax.abs(y), safe))
