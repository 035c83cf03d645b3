"""log and log1p.

x = 2**e * m with m in [sqrt(1/2), sqrt(2)), found with integer operations on the bits, and
f = m - 1. In f32, log(1 + f) = f - f**2/2 + f**3 p(f); in f64, the polynomial is in
s = f / (2 + f), as log(1 + f) = 2 atanh(s) (Ng, fdlibm, 1993; Tang 1990).
"""

from __future__ import annotations

import math

from nr.backends.compiler.expr import (
    NUMPY,
    Expr,
    bitcast,
    compare,
    const,
    convert,
    copysign,
    eq,
    fma,
    node,
    select,
)
from nr.backends.compiler.math.exponential import FORMATS
from nr.backends.compiler.math.polynomial import horner

_SQRT_HALF = {"f32": 0x3F3504F3, "f64": 0x3FE6A09E667F3BCD}  # bits of sqrt(1/2)
_UNSIGNED = {"f32": "u32", "f64": "u64"}

# (log(1 + f) - f + f**2/2) / f**3 for sqrt(1/2) <= 1 + f <= sqrt(2); log errs by 6e-9 of it.
_SINGLE = (
    0.3333331645, -0.2500081062, 0.2000231147, -0.1662455797,
    0.1418060958, -0.1312814206, 0.1288554668, -0.07866181433,
)  # fmt: skip
# (2 atanh(s) - 2 s) / s**3 in s**2 for the same range; log errs by 2.5e-18 of it.
_DOUBLE = (
    0.6666666666666734, 0.3999999999941658, 0.28571428742057037, 0.22222198600592963,
    0.18183563155690483, 0.15314075331137164, 0.14795744575414702,
)  # fmt: skip


def exponent_of(x: Expr) -> tuple[Expr, Expr]:
    """e as an integer, and the bits of m, of a positive normal number x = 2**e * m."""
    f = FORMATS[x.dtype]
    start = _SQRT_HALF[x.dtype]
    bits = bitcast(x, f.integer) - start
    return bits >> f.fraction, (bits & ((1 << f.fraction) - 1)) + start


def not_normal(x: Expr, high: float = math.inf) -> Expr:
    """Whether x is not a positive normal number below `high`, by one unsigned comparison."""
    unsigned = _UNSIGNED[x.dtype]
    f = FORMATS[x.dtype]
    first = 1 << f.fraction  # the smallest normal number
    last = int(const(high, x.dtype).param.view(NUMPY[unsigned]))
    return compare("ge", bitcast(x, unsigned) - first, const(last - first, unsigned))


def _log_sum(f: Expr, e: Expr) -> Expr:
    """e log(2) + log(1 + f)."""
    high, low = FORMATS[f.dtype].ln2
    square = f * f
    if f.dtype == "f32":
        tail = fma(square, fma(f, horner(f, _SINGLE), -0.5), e * low)
        return fma(e, high, f + tail)
    s = f / (f + 2.0)
    z = s * s
    half = square * 0.5
    tail = fma(s, fma(z, horner(z, _DOUBLE), half), e * low)
    return fma(e, high, f - (half - tail))


def _log_normal(x: Expr, offset: float = 0.0) -> Expr:
    e, m = exponent_of(x)
    e = convert(e, x.dtype)
    if offset:
        e = e + offset
    return _log_sum(bitcast(m, x.dtype) - 1.0, e)


def log(x: Expr) -> Expr:
    """The natural logarithm.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> log(node("register", (), "f32", "x")).op
        'rarely'
    """
    fraction = FORMATS[x.dtype].fraction
    subnormal = _log_normal(x * 2.0**fraction, -fraction)
    special = select(
        x > 0.0,
        select(x < math.inf, subnormal, x),
        select(eq(x, 0.0), -math.inf, const(math.nan, x.dtype)),
    )
    return node("rarely", (not_normal(x), special, _log_normal(x)), x.dtype)


def log1p(x: Expr) -> Expr:
    """log(1 + x), accurate near zero.

    With 2**e * m = 1 + x rounded, f = 2**-e * (1 + x) - 1 is a single rounding away from the
    exact x, so that the rounding of 1 + x is of no consequence.
    """
    format_ = FORMATS[x.dtype]
    high = 2.0**100 if x.dtype == "f32" else 2.0**1000
    u = x + 1.0
    e, _ = exponent_of(u)
    one = const(format_.bias << format_.fraction, e.dtype)
    scale = bitcast(one - (e << format_.fraction), x.dtype)  # 2**-e
    usual = _log_sum(fma(x, scale, scale - 1.0), convert(e, x.dtype))
    special = select(
        x > 0.0,
        select(x < math.inf, _log_normal(x), x),
        select(eq(x, -1.0), -math.inf, const(math.nan, x.dtype)),
    )
    return copysign(node("rarely", (not_normal(u, high), special, usual), x.dtype), x)
