"""Elementwise arithmetic, comparison and bit kernels.

A row is NumPy's own ufunc wherever that ufunc already has XLA's semantics, so that eager dispatch
pays nothing extra. The functions below exist for the places where the two differ: integer
division, rounding modes, shifts past the width, signed bit counts, and 16-bit floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._structure import Array, narrow, widen

_UNSIGNED = {1: np.dtype("u1"), 2: np.dtype("u2"), 4: np.dtype("u4"), 8: np.dtype("u8")}
_SIGNED = {1: np.dtype("i1"), 2: np.dtype("i2"), 4: np.dtype("i4"), 8: np.dtype("i8")}


def rows(xp: Any) -> dict[str, Callable[..., Array]]:
    """The elementwise rows of the kernel table.

    Args:
        xp: the array module, ``numpy`` or ``cupy``.

    Returns:
        A dict from primitive name to a function of raw arrays.

    Example:
        >>> int(rows(np)["div"](np.int32(-7), np.int32(2)))
        -3
    """
    return {
        **_ufunc_rows(xp),
        **_arithmetic_rows(xp),
        **_bit_rows(xp),
        **_complex_rows(xp),
    }


def _ufunc_rows(xp: Any) -> dict[str, Callable[..., Array]]:
    return {
        "add": xp.add,
        "sub": xp.subtract,
        "mul": xp.multiply,
        "neg": xp.negative,
        "abs": xp.absolute,
        "floor": xp.floor,
        "ceil": xp.ceil,
        "is_finite": xp.isfinite,
        "exp": xp.exp,
        "exp2": xp.exp2,
        "expm1": xp.expm1,
        "log": xp.log,
        "log1p": xp.log1p,
        "sqrt": xp.sqrt,
        "cbrt": xp.cbrt,
        "square": xp.square,
        "sin": xp.sin,
        "cos": xp.cos,
        "tan": xp.tan,
        "asin": xp.arcsin,
        "acos": xp.arccos,
        "atan": xp.arctan,
        "sinh": xp.sinh,
        "cosh": xp.cosh,
        "tanh": xp.tanh,
        "asinh": xp.arcsinh,
        "acosh": xp.arccosh,
        "atanh": xp.arctanh,
        "max": xp.maximum,
        "min": xp.minimum,
        "nextafter": xp.nextafter,
        "atan2": xp.arctan2,
        "eq": xp.equal,
        "ne": xp.not_equal,
        "lt": xp.less,
        "le": xp.less_equal,
        "gt": xp.greater,
        "ge": xp.greater_equal,
        "and": xp.bitwise_and,
        "or": xp.bitwise_or,
        "xor": xp.bitwise_xor,
        "not": xp.invert,
    }


def _arithmetic_rows(xp: Any) -> dict[str, Callable[..., Array]]:
    def int_div(x: Array, y: Array) -> Array:
        # x - fmod(x, y) is an exact multiple of y nearer zero than x, so floor division of it
        # truncates without overflow; INT_MIN // -1 wraps to INT_MIN in NumPy already.
        quotient = xp.floor_divide(x - xp.fmod(x, y), y)
        by_zero = y == 0
        if by_zero.any():
            quotient = xp.where(by_zero, xp.asarray(-1).astype(quotient.dtype), quotient)
        return quotient

    def div(x: Array, y: Array) -> Array:
        return int_div(x, y) if x.dtype.kind in "iu" else xp.true_divide(x, y)

    def rem(x: Array, y: Array) -> Array:
        result = xp.fmod(x, y)
        if x.dtype.kind in "iu":
            by_zero = y == 0
            if by_zero.any():
                result = xp.where(by_zero, x, result)
        return result

    def sign(x: Array) -> Array:
        kind = x.dtype.kind
        if kind in "iu":
            return xp.sign(x)
        if kind == "c":
            modulus = xp.absolute(x)
            unit = _pack(xp, x.real / modulus, x.imag / modulus, x.dtype)
            return xp.where(modulus == 0, x, unit)
        return xp.where(x == 0, x, xp.sign(x))  # XLA keeps the sign of zero, NumPy drops it

    def round_(x: Array, *, rounding_method: int = 0) -> Array:
        if int(rounding_method) == 1:
            return xp.rint(x)
        whole = xp.trunc(x)
        half_or_more = xp.absolute(x - whole) >= 0.5
        return whole + xp.copysign(half_or_more.astype(x.dtype), x)

    def rsqrt(x: Array) -> Array:
        return narrow(xp.reciprocal(xp.sqrt(widen(x))), x.dtype)

    def logistic(x: Array) -> Array:
        # 1/(1 + e^-x) loses nothing at either end: e^-x overflows only where the result is 0.
        total = xp.exp(xp.negative(widen(x)))
        total += 1
        return narrow(xp.reciprocal(total), x.dtype)

    def int_pow(x: Array, y: Array) -> Array:
        negative = y < 0
        if not negative.any():
            return xp.power(x, y)
        power = xp.power(x, xp.absolute(xp.where(negative, y % 2, y)).astype(y.dtype))
        # x**-n truncates to zero unless |x| is 1; x = 0 divides by zero as `div` does.
        inverse = xp.where(xp.absolute(x) <= 1, int_div(xp.ones_like(x), x), xp.zeros_like(x))
        odd_one = xp.where(y % 2 == 0, xp.absolute(inverse), inverse)
        return xp.where(negative, xp.where(x == 0, inverse, odd_one), power)

    def pow_(x: Array, y: Array) -> Array:
        if x.dtype.kind in "iu":
            return int_pow(x, y.astype(x.dtype) if x.dtype != y.dtype else y)
        if y.dtype.kind in "iu":
            if x.dtype.kind == "c":
                return xp.power(x, y.astype(x.dtype))
            # float64 keeps the parity of every exponent below 2**53.
            return xp.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)
        return xp.power(x, y)

    def integer_pow(x: Array, *, y: int) -> Array:
        if y == 2:
            return xp.square(x)
        result = _repeated_product(xp, widen(x), abs(y))
        if y < 0:
            result = div(xp.ones_like(result), result)
        return narrow(result, x.dtype)

    return {
        "div": div,
        "rem": rem,
        "sign": sign,
        "round": round_,
        "rsqrt": rsqrt,
        "logistic": logistic,
        "pow": pow_,
        "integer_pow": integer_pow,
    }


def _repeated_product(xp: Any, x: Array, exponent: int) -> Array:
    if exponent == 0:
        return xp.ones_like(x)
    result = None
    while True:
        if exponent & 1:
            result = x if result is None else xp.multiply(result, x)
        exponent >>= 1
        if not exponent:
            return result
        x = xp.square(x)


def _bit_rows(xp: Any) -> dict[str, Callable[..., Array]]:
    native_count = getattr(xp, "bitwise_count", None)
    # NumPy defines shifts by the width or more (and by negative counts, which read as huge
    # unsigned ones); the C semantics of CUDA's shifts do not.
    shifts_saturate = xp.__name__ == "numpy"

    def as_unsigned(x: Array) -> Array:
        return x if x.dtype.kind == "u" else x.view(_UNSIGNED[x.dtype.itemsize])

    def bit_count(bits: Array) -> Array:
        if native_count is not None:
            return native_count(bits)
        counts = (bits & 1).astype(np.uint8)
        for position in range(1, 8 * bits.dtype.itemsize):
            counts += ((bits >> position) & 1).astype(np.uint8)
        return counts

    def population_count(x: Array) -> Array:
        return bit_count(as_unsigned(x)).astype(x.dtype)

    def clz(x: Array) -> Array:
        bits = as_unsigned(x)
        width = 8 * bits.dtype.itemsize
        shift = 1
        while shift < width:
            bits = bits | (bits >> shift)
            shift *= 2
        return bit_count(xp.invert(bits)).astype(x.dtype)

    def checked(shift: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
        def apply(x: Array, y: Array) -> Array:
            too_far = as_unsigned(y) >= 8 * x.dtype.itemsize
            shifted = shift(x, xp.where(too_far, xp.zeros_like(y), y))
            return xp.where(too_far, xp.zeros_like(shifted), shifted)

        return apply

    shift_left = xp.left_shift if shifts_saturate else checked(xp.left_shift)
    shift_right = xp.right_shift if shifts_saturate else checked(xp.right_shift)

    def shift_right_logical(x: Array, y: Array) -> Array:
        if x.dtype.kind == "u":
            return shift_right(x, y)
        return shift_right(as_unsigned(x), as_unsigned(y)).view(x.dtype)

    def shift_right_arithmetic(x: Array, y: Array) -> Array:
        signed = _SIGNED[x.dtype.itemsize]
        count = as_unsigned(y)
        top = count.dtype.type(8 * x.dtype.itemsize - 1)
        count = xp.minimum(count, top).view(signed)  # a shift by width - 1 is all sign already
        return xp.right_shift(x if x.dtype == signed else x.view(signed), count).view(x.dtype)

    return {
        "population_count": population_count,
        "clz": clz,
        "shift_left": shift_left,
        "shift_right_logical": shift_right_logical,
        "shift_right_arithmetic": shift_right_arithmetic,
    }


def _pack(xp: Any, real: Array, imag: Array, dtype: Any) -> Array:
    result = xp.empty(np.broadcast_shapes(real.shape, imag.shape), dtype)
    result.real = real
    result.imag = imag
    return result


def _complex_rows(xp: Any) -> dict[str, Callable[..., Array]]:
    def complex_(real: Array, imag: Array) -> Array:
        dtype = np.complex128 if real.dtype == np.float64 else np.complex64
        return _pack(xp, real, imag, dtype)

    def conj(x: Array, *, input_dtype: Any = None) -> Array:
        # As in JAX, the conjugate of a real array is a complex one.
        del input_dtype
        if x.dtype.kind == "c":
            return xp.conjugate(x)
        return x.astype(np.complex128 if x.dtype == np.float64 else np.complex64)

    return {
        "real": lambda x: x.real,
        "imag": lambda x: x.imag,
        "complex": complex_,
        "conj": conj,
    }
