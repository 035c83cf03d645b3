"""sin, cos and tan, of arguments of any size.

x = n pi/2 + r with |r| <= pi/4, and sin and cos of r are polynomials. Up to some 10**5 (f32) or
10**9 (f64), n pi/2 is subtracted in three parts (Cody & Waite, 1980), each with one rounding.
Beyond, x * 2/pi modulo 4 is found from as many bits of 2/pi as matter (Payne & Hanek, "Radian
reduction for trigonometric functions", SIGNUM Newsletter 18, 1983): with x = 2**k * y and y an
integer, 2**k * 2/pi is tabulated modulo 4 for every 16th or 32nd k, as a sum of float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from nr.backends.compiler.expr import (
    Expr,
    bitcast,
    const,
    convert,
    eq,
    fma,
    ne,
    node,
    select,
    unary,
)
from nr.backends.compiler.math.exponential import FORMATS, rounded
from nr.backends.compiler.math.polynomial import exact_product, horner

# pi/2 in parts, and the largest |x| from which they are subtracted.
_HALF_PI = {
    "f32": (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    "f64": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33),
}
_MODERATE = {"f32": 2e5, "f64": 1e9}

# (sin(r) - r) / r**3, (cos(r) - 1 + r**2/2) / r**4 and (tan(r) - r) / r**3 in r**2 on
# |r| <= pi/4; their errors are below 4e-9, 2e-10 and 2e-9 (f32), 1e-19, 5e-20 and 1.1e-18.
_SIN = {
    "f32": (-0.1666665524, 0.008332190104, -0.0001951840532),
    "f64": (
        -0.16666666666666666, 0.008333333333333038, -0.00019841269840956014, 2.7557319069769073e-06,
        -2.5052069671429727e-08, 1.605413850263495e-10, -7.380409089620201e-13,
    ),
}  # fmt: skip
_COS = {
    "f32": (0.04166664556, -0.001388730132, 2.44306666e-5),
    "f64": (
        0.0416666666666666, -0.0013888888888874441, 2.480158728963646e-05, -2.755731438756623e-07,
        2.0875727079702158e-09, -1.1359803926495831e-11,
    ),
}  # fmt: skip
_TAN = {
    "f32": (
        0.3333335221, 0.1333258301, 0.05406865105, 0.02123861015, 0.01094554365, -4.618677121e-5,
        0.004441828933,
    ),
    "f64": (
        0.33333333333333387, 0.13333333333324526, 0.053968253973323055, 0.021869488388403562,
        0.00886323809044539, 0.003592099206759945, 0.00145605692684489, 0.0005888100806220153,
        0.00024393825616543264, 8.309618649237905e-05, 6.803810197788881e-05,
        -2.6635696003604073e-05, 4.9449021602961716e-05, -2.4666022628534253e-05,
        9.884108002634397e-06,
    ),
}  # fmt: skip

# Of the large arguments: bits of an integer y, k's step, number of steps, parts of a constant.
_LARGE = {"f32": (23, 16, 7, 2), "f64": (52, 32, 31, 4)}


@cache
def _two_over_pi(bits: int) -> int:
    """2/pi * 2**bits, from pi = 16 atan(1/5) - 4 atan(1/239) (Machin, 1706)."""
    one = 1 << (bits + 64)

    def inverse_tangent(n: int) -> int:
        total = term = one // n
        k, sign = 1, 1
        while term:
            term //= n * n
            k, sign = k + 2, -sign
            total += sign * (term // k)
        return total

    pi = 16 * inverse_tangent(5) - 4 * inverse_tangent(239)
    return 2 * (one << bits) // pi


@cache
def _constants(dtype: str) -> tuple[tuple[float, ...], ...]:
    """For each part, its values for every k: the parts of 2**k * 2/pi, modulo 4, in [-2, 2]."""
    _, step, count, parts = _LARGE[dtype]
    bits = step * count + 64 * (parts + 2)
    scale = _two_over_pi(bits)
    rows = []
    for i in range(count):
        modulus = 4 << bits
        rest = (scale << (step * i)) % modulus
        if rest > modulus // 2:
            rest -= modulus
        row = []
        for _ in range(parts):
            row.append(rest / (1 << bits))  # Python rounds the quotient of integers once
            numerator, denominator = row[-1].as_integer_ratio()
            rest -= numerator * (1 << bits) // denominator
        rows.append(row)
    return tuple(zip(*rows, strict=True))


def _modulo_4(x: Expr) -> Expr:
    """x less a multiple of 4, exactly."""
    return fma(unary("round_even", x * 0.25), -4.0, x)


def _exact_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b rounded, and its error, whichever is the larger (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _reduce_large(x: Expr) -> tuple[Expr, Expr]:
    """n (modulo 4, as a float) and r, of the type of x, for a large x; NaN for infinities."""
    f = FORMATS[x.dtype]
    fraction, step, count, _ = _LARGE[x.dtype]
    exponent = (bitcast(x, f.integer) >> f.fraction) & (2 * f.bias + 1)
    number = exponent - (f.bias + fraction)
    number = select(number < 0, 0, number) >> (step.bit_length() - 1)
    number = convert(select(number > count - 1, count - 1, number), "i32")
    scale = bitcast((convert(-number, "i64") * step + 1023) << 52, "f64")
    y = convert(x, "f64") * scale
    c = [node("table", (number,), "f64", values) for values in _constants(x.dtype)]
    high, low = exact_product(y, c[0])
    total = _modulo_4(high)
    if x.dtype == "f32":  # y has 24 bits, and 2**-64 is precise enough
        rest = fma(y, c[1], low)
        n = unary("round_even", total + rest)
        return convert(n, "f32"), convert(((total - n) + rest) * _HALF_PI["f64"][0], "f32")
    high_2, low_2 = exact_product(y, c[1])
    high_3, low_3 = exact_product(y, c[2])
    total, a = _exact_sum(total, _modulo_4(low))
    total, b = _exact_sum(total, _modulo_4(high_2))
    n = unary("round_even", total)
    total, d = _exact_sum(total - n, low_2)
    total, e = _exact_sum(total, high_3)
    rest = ((a + b) + (d + e)) + fma(y, c[3], low_3)
    fraction_high, fraction_low = _exact_sum(total, rest)
    first, second, _ = _HALF_PI["f64"]
    r, error = exact_product(fraction_high, first)
    return n, r + fma(fraction_high, second, fma(fraction_low, first, error))


def _reduce(x: Expr) -> tuple[Expr, Expr]:
    """A float whose low bits are n, and r, for a moderate x."""
    n, shifted = rounded(x, 2 / math.pi)
    for part in _HALF_PI[x.dtype]:
        x = fma(n, -part, x)
    return shifted, x


def _with_reduction(x: Expr, function: Callable[[Expr, Expr], Expr]) -> Expr:
    """function(bits of n, r)."""
    f = FORMATS[x.dtype]
    shifted, r = _reduce(x)
    n, large = _reduce_large(x)
    return node(
        "rarely",
        (
            ~(unary("abs", x) <= _MODERATE[x.dtype]),
            function(bitcast(n + f.magic, f.integer), large),
            function(bitcast(shifted, f.integer), r),
        ),
        x.dtype,
    )


def _sin_cos(r: Expr) -> tuple[Expr, Expr]:
    z = r * r
    sine = fma(r * z, horner(z, _SIN[r.dtype]), r)
    cosine = fma(z, fma(z, horner(z, _COS[r.dtype]), -0.5), 1.0)
    return sine, cosine


def _flipped(x: Expr, n: Expr) -> Expr:
    """x, or -x where the bit of 2 of n is set."""
    f = FORMATS[x.dtype]
    width = int(x.dtype[1:])
    turn = (n << (width - 2)) & (-1 << (width - 1))
    return bitcast(bitcast(x, f.integer) ^ turn, x.dtype)


def _odd(n: Expr) -> Expr:
    return ne(n & 1, 0)


def sin(x: Expr) -> Expr:
    """The sine of radians.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> sin(node("register", (), "f32", "x")).dtype
        'f32'
    """

    def quadrant(n: Expr, r: Expr) -> Expr:
        sine, cosine = _sin_cos(r)
        return _flipped(select(_odd(n), cosine, sine), n)

    return select(eq(x, 0.0), x, _with_reduction(x, quadrant))


def cos(x: Expr) -> Expr:
    """The cosine of radians."""

    def quadrant(n: Expr, r: Expr) -> Expr:
        sine, cosine = _sin_cos(r)
        return _flipped(select(_odd(n), sine, cosine), n + 1)

    return _with_reduction(x, quadrant)


def tan(x: Expr) -> Expr:
    """The tangent of radians: tan(r), or -1 / tan(r) in the odd quadrants."""

    def quadrant(n: Expr, r: Expr) -> Expr:
        z = r * r
        tangent = fma(r * z, horner(z, _TAN[r.dtype]), r)
        odd = _odd(n)
        return select(odd, -1.0, tangent) / select(odd, tangent, const(1.0, x.dtype))

    return select(eq(x, 0.0), x, _with_reduction(x, quadrant))
