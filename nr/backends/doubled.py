"""Arithmetic on pairs of f64, which hold a number to some 105 bits.

Where large terms cancel, a result can be given to all its digits only if they are computed to more.
Products and sums take the exact rounding errors of their leading parts along (Dekker 1971; Hida,
Li & Bailey, "Algorithms for quad-double precision floating point arithmetic", ARITH-15, 2001).
Their errors are some 2**-104 of the operands, so that a difference is good in absolute terms.

The numbers are whatever an `Arithmetic` works on: expressions of compiled programs, or arrays.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, Protocol

Number = Any  # a Python number, or what an Arithmetic works on
Coefficient = float | tuple[float, float]

_LN2 = (0.6931471805599453, 2.3190468138462996e-17)
# Logarithms are tabulated for k / 64, from the k next to 64 sqrt(1/2) to that next to 64 sqrt(2).
_STEPS, _FIRST, _LAST = 64, 45, 91
# 2 atanh(s) / s in s**2 for |s| < 2**-7: three terms as pairs.
_ATANH: tuple[Coefficient, ...] = (
    (2.0, 0.0), (0.6666666666666666, 3.700743415417188e-17), (0.4, -2.220446049250313e-17),
    2 / 7, 2 / 9, 2 / 11, 2 / 13,
)  # fmt: skip


class Arithmetic(Protocol):
    """What is needed of f64 besides +, -, *, / and comparisons."""

    def product(self, a: Number, b: Number) -> tuple[Number, Number]:
        """a * b rounded, and its error."""

    def residual(self, a: Number, b: Number, c: Number) -> Number:
        """c - a * b, exactly where a * b is c to rounding."""

    def fma(self, a: Number, b: Number, c: Number) -> Number:
        """a * b + c, with one rounding or two."""

    def select(self, condition: Number, a: Number, b: Number) -> Number:
        """a where the condition holds, else b."""

    def equal(self, a: Number, b: Number) -> Number:
        """Whether a = b."""

    def size(self, a: Number) -> Number:
        """|a|."""

    def nearest(self, a: Number) -> Number:
        """The integer next to a; of two, the even one."""

    def floor(self, a: Number) -> Number:
        """The largest integer up to a."""

    def lookup(self, values: tuple[float, ...], number: Number) -> Number:
        """The value with that number, truncated; of a number beyond their range, any."""

    def split(self, a: Number) -> tuple[Number, Number, Number]:
        """e, m and 2**-e for a positive normal a = 2**e * m, with m from sqrt(1/2) to sqrt(2)."""


class Pair(NamedTuple):
    """The sum of two f64, of which the second is no larger than rounding errors of the first."""

    high: Number
    low: Number

    def __neg__(self) -> Pair:
        return Pair(-self.high, -self.low)


def total(a: Number, b: Number) -> Pair:
    """a + b exactly, whichever is the larger (Knuth)."""
    high = a + b
    part = high - a
    return Pair(high, (a - (high - part)) + (b - part))


def ordered_total(a: Number, b: Number) -> Pair:
    """a + b exactly, where |a| >= |b| or a = 0 (Dekker)."""
    high = a + b
    return Pair(high, b - (high - a))


def add(a: Pair, b: Pair) -> Pair:
    """a + b."""
    high, low = total(a.high, b.high)
    return ordered_total(high, low + (a.low + b.low))


def choose(of: Arithmetic, condition: Number, a: Pair, b: Pair) -> Pair:
    """`a` where the condition holds, else `b`."""
    return Pair(of.select(condition, a.high, b.high), of.select(condition, a.low, b.low))


def multiply(of: Arithmetic, a: Pair, b: Pair) -> Pair:
    """a * b."""
    high, low = of.product(a.high, b.high)
    return ordered_total(high, of.fma(a.high, b.low, of.fma(a.low, b.high, low)))


def reciprocal(of: Arithmetic, a: Pair) -> Pair:
    """1 / a."""
    high = 1.0 / a.high
    return Pair(high, of.fma(-high, a.low, of.residual(high, a.high, 1.0)) * high)


def divide(of: Arithmetic, a: Pair, b: Pair) -> Pair:
    """a / b."""
    high = a.high / b.high
    rest = of.fma(-high, b.low, of.residual(high, b.high, a.high)) + a.low
    return ordered_total(high, rest / b.high)


def horner(of: Arithmetic, x: Pair, coefficients: Sequence[Coefficient]) -> Pair:
    """``c[0] + c[1] x + …``: the coefficients that are pairs as such, the last ones in f64.

    A pair must be larger than the sum of the terms after it, and there must be two plain ones.
    """
    pairs = [c for c in coefficients if isinstance(c, tuple)]
    *plain, value = [c for c in coefficients if not isinstance(c, tuple)]
    for c in reversed(plain):
        value = of.fma(x.high, value, c)
    result = Pair(value, 0.0)
    for first, second in reversed(pairs):
        product = multiply(of, x, result)
        high, low = ordered_total(first, product.high)
        result = Pair(high, low + (product.low + second))
    return result


@cache
def _logarithms() -> tuple[tuple[float, ...], ...]:
    """For each step, what is close to its reciprocal, and -log of that as a pair."""
    context = decimal.Context(prec=50)
    rows = []
    for k in range(_FIRST, _LAST + 1):
        inverse = _STEPS / k
        logarithm = Decimal(inverse).ln(context).copy_negate()
        high = float(logarithm)
        rows.append((inverse, high, float(context.subtract(logarithm, Decimal(high)))))
    return tuple(zip(*rows, strict=True))


def log(of: Arithmetic, x: Pair) -> Pair:
    """The natural logarithm of a positive normal number.

    x = 2**e * m; r m - 1, with r close to 1 / m from a table, is exact as a pair, and small.
    """
    e, m, scale = of.split(x.high)
    number = of.fma(m, float(_STEPS), 0.5 - _FIRST)
    inverse, high, low = [of.lookup(values, number) for values in _logarithms()]
    product, rest = of.product(m, inverse)
    difference = ordered_total(product - 1.0, of.fma(x.low * scale, inverse, rest))
    denominator, error = ordered_total(2.0, difference.high)
    s = divide(of, difference, Pair(denominator, error + difference.low))
    small = multiply(of, s, horner(of, multiply(of, s, s), _ATANH))
    # e log(2), a tabulated logarithm and this: each is larger than what follows, or zero.
    whole, error = of.product(e, _LN2[0])
    first, a = ordered_total(whole, high)
    second, b = ordered_total(first, small.high)
    return ordered_total(second, a + b + (of.fma(e, _LN2[1], error) + (low + small.low)))
