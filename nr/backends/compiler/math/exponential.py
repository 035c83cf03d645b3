"""exp, exp2, expm1 and logistic.

Arguments are reduced to |r| <= log(2)/2 by a multiple of log(2) in two parts (Cody & Waite,
"Software Manual for the Elementary Functions", 1980), whose rounding to an integer n is done by
adding 1.5 * 2**(bits of the significand): the low bits of the sum are n. The polynomials are
minimax ones, found by Remez' algorithm with coefficients rounded one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from nr.backends.compiler.expr import Expr, bitcast, const, copysign, fma, node, select, unary
from nr.backends.compiler.math.polynomial import horner


class Format(NamedTuple):
    """A floating-point format, and logarithms in it."""

    integer: str  # the integer type of the same size
    fraction: int  # bits of the significand that are stored
    bias: int
    log2e: float
    ln2: tuple[float, float]  # log(2) in two parts
    magic: float  # 1.5 * 2**fraction
    magic_bits: int


FORMATS = {
    "f32": Format(
        "i32", 23, 127, 1.4426950216293335, (0.6931471824645996, -1.904654323148236e-09),
        1.5 * 2**23, 0x4B400000,
    ),
    "f64": Format(
        "i64", 52, 1023, 1.4426950408889634, (0.6931471805599453, 2.3190468138462996e-17),
        1.5 * 2**52, 0x4338000000000000,
    ),
}  # fmt: skip

# (exp(r) - 1 - r) / r**2 on |r| <= log(2)/2; the error of exp(r) is below 3.2e-9 and 8e-20.
_EXP = {
    "f32": (0.4999999404, 0.1666652113, 0.04166826233, 0.008368668146, 0.001382083632),
    "f64": (
        0.5, 0.16666666666666688, 0.041666666666666824, 0.00833333333331389, 0.001388888888877777,
        0.00019841269903384312, 2.480158755968043e-05, 2.7557228658867126e-06,
        2.755706738565428e-07, 2.511394365253543e-08, 2.0977807505405253e-09,
    ),
}  # fmt: skip
# The same with the relative error of r + r**2 p(r) weighted: below 1.5e-8 and 3.1e-19.
_EXPM1 = {
    "f32": (0.5, 0.1666654497, 0.04166644439, 0.008366393857, 0.00139368244),
    "f64": (
        0.5, 0.16666666666666677, 0.04166666666666667, 0.008333333333321383,
        0.0013888888888878214, 0.00019841269886822175, 2.4801587346081583e-05,
        2.7557243447067435e-06, 2.7557249095451746e-07, 2.5109321091408794e-08,
        2.0924039096459073e-09,
    ),
}  # fmt: skip
# (2**r - 1) / r on |r| <= 1/2; the error of 2**r is below 3e-9 and 4.3e-18.
_EXP2 = {
    "f32": (
        0.6931471825, 0.2402264774, 0.05550359562, 0.009618500248, 0.001339096692, 0.0001532868046,
    ),
    "f64": (
        0.6931471805599453, 0.24022650695909997, 0.05550410866482377, 0.009618129107670867,
        0.0013333558145896967, 0.00015403530314686128, 1.5252734322991407e-05,
        1.3215550444283297e-06, 1.0177860416488369e-07, 7.031564933688084e-09,
        4.4848495954422804e-10, 5.7524775531646146e-11,
    ),
}  # fmt: skip


def rounded(x: Expr, factor: float) -> tuple[Expr, Expr]:
    """n, the integer nearest to x * factor, as a float, and a float whose low bits are n."""
    f = FORMATS[x.dtype]
    shifted = fma(x, factor, f.magic)
    return shifted - f.magic, shifted


def power_of_two(shifted: Expr, offset: int = 0, *, inverse: bool = False) -> Expr:
    """2**(n + offset), or 2**(offset - n), from the second result of `rounded`, if it is normal."""
    f = FORMATS[shifted.dtype]
    bits = bitcast(shifted, f.integer) << f.fraction
    one = const((f.bias + offset) << f.fraction, f.integer)
    return bitcast(one - bits if inverse else one + bits, shifted.dtype)


def integer_of(shifted: Expr) -> Expr:
    """n as an integer from the second result of `rounded`."""
    f = FORMATS[shifted.dtype]
    return bitcast(shifted, f.integer) - f.magic_bits


def scaled(x: Expr, exponent: Expr) -> Expr:
    """x * 2**exponent, rounded once, for an exponent up to twice what a power of two can have."""
    f = FORMATS[x.dtype]
    half = exponent >> 1
    first = bitcast((half + f.bias) << f.fraction, x.dtype)
    second = bitcast((exponent - half + f.bias) << f.fraction, x.dtype)
    # As a fused operation, the first product can not be merged into another.
    return fma(x, first, -0.0) * second


def reduced(x: Expr, parts: int = 2) -> tuple[Expr, Expr]:
    """r = x - n log(2), and a float whose low bits are n."""
    f = FORMATS[x.dtype]
    n, shifted = rounded(x, f.log2e)
    for part in f.ln2[:parts]:
        x = fma(n, -part, x)
    return x, shifted


def _exp_reduced(r: Expr, coefficients: Sequence[float]) -> Expr:
    return horner(r, (1.0, 1.0, *coefficients))


def _with_exponent(p: Expr, shifted: Expr, x: Expr, safe: float, low: float, high: float) -> Expr:
    """p * 2**n: where |x| <= safe by an integer addition, and beyond with care.

    Below `low` the result is zero, above `high` it is infinite.
    """
    f = FORMATS[x.dtype]
    bits = bitcast(p, f.integer) + (bitcast(shifted, f.integer) << f.fraction)
    careful = scaled(p, integer_of(shifted))
    careful = select(x < low, 0.0, select(x > high, math.inf, careful))
    return node(
        "rarely", (~(unary("abs", x) <= safe), careful, bitcast(bits, x.dtype)), x.dtype
    )  # fmt: skip


def exp(x: Expr) -> Expr:
    """e**x.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> exp(node("register", (), "f32", "x")).dtype
        'f32'
    """
    r, shifted = reduced(x)
    p = _exp_reduced(r, _EXP[x.dtype])
    bounds = (87.0, -104.0, 89.0) if x.dtype == "f32" else (708.0, -746.0, 710.0)
    return _with_exponent(p, shifted, x, *bounds)


def exp2(x: Expr) -> Expr:
    """2**x; exact for integers."""
    n, shifted = rounded(x, 1.0)
    return _exp2(x - n, shifted, x)


def exp2_of_parts(n: Expr, r: Expr) -> Expr:
    """2**(n + r) for an integer n and |r| <= 1/2; n is at most 2000."""
    return _exp2(r, n + FORMATS[n.dtype].magic, n)


def _exp2(r: Expr, shifted: Expr, x: Expr) -> Expr:
    p = horner(r, (1.0, *_EXP2[x.dtype]))
    bounds = (125.0, -151.0, 129.0) if x.dtype == "f32" else (1021.0, -1076.0, 1025.0)
    return _with_exponent(p, shifted, x, *bounds)


def expm1_reduced(r: Expr) -> Expr:
    """exp(r) - 1 for |r| <= log(2)/2."""
    return fma(r * r, horner(r, _EXPM1[r.dtype]), r)


def expm1(x: Expr) -> Expr:
    """exp(x) - 1 without cancellation near zero: 2**n (exp(r) - 1) + (2**n - 1)."""
    low, safe, high = (-18.0, 88.0, 89.0) if x.dtype == "f32" else (-38.0, 709.0, 710.0)
    r, shifted = reduced(select(x < low, low, x))
    q = expm1_reduced(r)
    scale = power_of_two(shifted)
    usual = fma(scale, q, scale - 1.0)
    half = power_of_two(shifted, -1)
    large = select(x > high, math.inf, fma(half, q, half) * 2.0)
    result = node("rarely", (~(x <= safe), large, usual), x.dtype)
    return copysign(result, x)


def logistic(x: Expr) -> Expr:
    """1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) for negative x, so that nothing overflows."""
    z = exp(-unary("abs", x))
    return select(x < 0.0, z, const(1.0, x.dtype)) / (z + 1.0)
