"""asin, acos, atan and atan2.

atan(t) and asin(t) are odd polynomials for small t; atan is brought there by the quotients d/n and,
in f64, (n - d)/(n + d), which turn the angle of (d, n) by a multiple of pi/4; asin by
asin(x) = pi/2 - 2 asin(sqrt((1 - x)/2)) (Cody & Waite, 1980).
"""

from __future__ import annotations

import math

from nr.backends.compiler.expr import (
    Expr,
    bitcast,
    compare,
    const,
    copysign,
    eq,
    fma,
    select,
    unary,
)
from nr.backends.compiler.math.exponential import FORMATS
from nr.backends.compiler.math.polynomial import horner

_QUARTER_PI = {
    "f32": (0.7853981852531433, -2.1855694143368964e-08),
    "f64": (0.7853981633974483, 3.061616997868383e-17),
}
_TAN_EIGHTH = math.sqrt(2) - 1  # tan(pi/8)
# (atan(t) - t) / t**3 in t**2 for |t| <= 1 (f32, within 1.7e-8) or tan(pi/8) (f64, 1.3e-18).
_ATAN = {
    "f32": (
        -0.3333315253, 0.1999376714, -0.1421100348, 0.1066578254,
        -0.07551707327, 0.04320552573, -0.01636383869, 0.002919625957,
    ),
    "f64": (
        -0.333333333333332, 0.19999999999953813, -0.14285714280220585, 0.11111110784714884,
        -0.0909089779485601, 0.07692060885818428, -0.06663111717950988, 0.05847944973498626,
        -0.050395535322283, 0.038070807932733236, -0.017913951725975912,
    ),
}  # fmt: skip
# (asin(t) - t) / t**3 in t**2 for |t| <= 1/2, within 5e-9 and 1e-18.
_ASIN = {
    "f32": (0.1666675359, 0.07495249063, 0.04547666386, 0.02414808795, 0.04221990332),
    "f64": (
        0.16666666666666763, 0.07499999999970063, 0.04464285717535603, 0.03038194267073888,
        0.022372216059283134, 0.01735159237423105, 0.013981059769614852, 0.011396928782011274,
        0.01079149775705079, 0.0036634986103814848, 0.021812829324802316, -0.021149498158095276,
        0.032723480787113464,
    ),
}  # fmt: skip


def _odd_polynomial(t: Expr, square: Expr, coefficients: tuple[float, ...]) -> Expr:
    return fma(t * square, horner(square, coefficients), t)


def _angle(n: Expr, d: Expr, turned: Expr | None = None) -> Expr:
    """The angle of (d, n) for n, d >= 0, or of (-d, n) where `turned`: k pi/4 +- atan(t)."""
    kind = n.dtype
    steep = n > d
    low, high = select(steep, d, n), select(steep, n, d)
    k = select(steep, const(2.0, kind), 0.0)
    if kind == "f64":
        diagonal = low > high * _TAN_EIGHTH
        k = select(diagonal, 1.0, k)
        low, high = select(diagonal, low - high, low), select(diagonal, low + high, high)
    t = low / high
    p = _odd_polynomial(t, t * t, _ATAN[kind])
    p = select(steep, -p, p)
    if turned is not None:
        k = select(turned, 4.0 - k, k)
        p = select(turned, -p, p)
    pi, rest = _QUARTER_PI[kind]
    return fma(k, pi, fma(k, rest, p))


def atan(x: Expr) -> Expr:
    """The inverse of tan, in [-pi/2, pi/2]."""
    return copysign(_angle(unary("abs", x), const(1.0, x.dtype)), x)


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of the point (x, y) in [-pi, pi]; signed zeros and infinities as in C99, F.9.1.4.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> atan2(*[node("register", (), "f64", name) for name in "yx"]).dtype
        'f64'
    """
    n, d = unary("abs", y), unary("abs", x)
    if x.dtype == "f64":  # their sum must not overflow, nor the smaller angles lose bits
        larger = select(n > d, n, d)
        small = select(larger < 2.0**-900, const(2.0**100, "f64"), 1.0)
        factor = select(larger > 2.0**1000, 2.0**-60, small)
        n, d = n * factor, d * factor
    # Both zero or both infinite: as (1, 0) or (1, 1).
    same = eq(n, d) & (eq(n, 0.0) | eq(n, math.inf))
    n, d = select(same & (n > 0.0), 1.0, n), select(same, 1.0, d)
    turned = bitcast(x, FORMATS[x.dtype].integer) < 0
    return copysign(_angle(n, d, turned), y)


def _half_arc(x: Expr) -> tuple[Expr, Expr]:
    """Whether |x| > 1/2, and asin of |x| or else of sqrt((1 - |x|)/2)."""
    a = unary("abs", x)
    large = a > 0.5
    square = select(large, (1.0 - a) * 0.5, a * a)
    t = select(large, unary("sqrt", square), a)
    return large, _odd_polynomial(t, square, _ASIN[x.dtype])


def asin(x: Expr) -> Expr:
    """The inverse of sin, in [-pi/2, pi/2]; NaN outside of [-1, 1]."""
    large, p = _half_arc(x)
    pi, rest = _QUARTER_PI[x.dtype]
    return copysign(select(large, fma(p - rest, -2.0, 2.0 * pi), p), x)


def acos(x: Expr) -> Expr:
    """The inverse of cos, in [0, pi]; NaN outside of [-1, 1]."""
    large, p = _half_arc(x)
    pi, rest = _QUARTER_PI[x.dtype]
    negative = x < 0.0
    k = select(large, select(negative, const(4.0, x.dtype), 0.0), 2.0)
    p = select(large, p + p, p)
    # The sign with which the angle p is added: + for large positive x and for small negative x.
    p = select(compare("eq", large, negative), -p, p)
    return fma(k, pi, fma(k, rest, p))
