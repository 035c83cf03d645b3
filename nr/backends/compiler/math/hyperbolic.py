"""sinh, cosh, tanh and their inverses."""

from __future__ import annotations

import math

from nr.backends.compiler.expr import Expr, const, copysign, fma, node, select, unary
from nr.backends.compiler.math.exponential import (
    expm1_reduced,
    power_of_two,
    reduced,
)
from nr.backends.compiler.math.logarithm import log, log1p
from nr.backends.compiler.math.polynomial import horner

# (sinh(r) - r) / r**3 and (cosh(r) - 1) / r**2 in r**2, on |r| <= log(2)/2.
_SINH = {
    "f32": (0.1666654199, 0.008366717026),
    "f64": (
        0.16666666666666666, 0.008333333333334424, 0.000198412698370911,
        2.7557326213422574e-06, 2.504679167052261e-08, 1.7574983783455438e-10,
    ),
}  # fmt: skip
_COSH = {
    "f32": (0.5, 0.04166645929, 0.001393543789),
    "f64": (
        0.5, 0.041666666666666685, 0.0013888888888873283, 2.4801587349202185e-05,
        2.7557251820599783e-07, 2.0921768912603984e-09,
    ),
}  # fmt: skip


def tanh(x: Expr) -> Expr:
    """The hyperbolic tangent: -w / (2 + w) with w = exp(-2 |x|) - 1.

    With 2**n and the reduced q = exp(r) - 1, w = 2**n q + (2**n - 1) and
    2 + w = 2**n q + (2**n + 1), each rounded once.
    """
    end = 10.0 if x.dtype == "f32" else 20.0  # the result rounds to 1 there
    a = unary("abs", x)
    # One part of log(2) will do in f32: where n is large, exp(r) hardly counts.
    r, shifted = reduced(select(a > end, end, a) * -2.0, parts=1 if x.dtype == "f32" else 2)
    q, scale = expm1_reduced(r), power_of_two(shifted)
    result = fma(-scale, q, 1.0 - scale) / fma(scale, q, scale + 1.0)
    return copysign(result, x)


def _sinh_cosh(x: Expr, hyperbolic: str) -> Expr:
    """With x = n log(2) + r, by the addition theorems; sinh and cosh of n log(2) are exact for
    small n, and sinh(r) and cosh(r) - 1 are polynomials."""
    safe, high = (86.0, 89.5) if x.dtype == "f32" else (708.0, 710.5)
    a = unary("abs", x)
    r, shifted = reduced(a)
    z = r * r
    sinh_r = fma(r * z, horner(z, _SINH[x.dtype]), r)
    cosh_r = z * horner(z, _COSH[x.dtype])  # less 1
    up, down = power_of_two(shifted, -1), power_of_two(shifted, -1, inverse=True)
    sinh_n, cosh_n = up - down, up + down
    quarter = power_of_two(shifted, -2)
    large = fma(quarter, sinh_r + cosh_r, quarter) * 2.0
    large = select(a > high, math.inf, large)
    if hyperbolic == "sinh":
        usual = sinh_n + fma(cosh_n, sinh_r, sinh_n * cosh_r)
    else:
        usual = cosh_n + fma(cosh_n, cosh_r, sinh_n * sinh_r)
    return node("rarely", (~(a <= safe), large, usual), x.dtype)


def sinh(x: Expr) -> Expr:
    """The hyperbolic sine."""
    return copysign(_sinh_cosh(x, "sinh"), x)


def cosh(x: Expr) -> Expr:
    """The hyperbolic cosine."""
    return _sinh_cosh(x, "cosh")


def _log_of_twice(x: Expr) -> Expr:
    return log(x) + math.log(2)


_HUGE = {"f32": 1e18, "f64": 1e150}  # squares do not overflow up to here


def asinh(x: Expr) -> Expr:
    """The inverse of sinh: log1p(|x| + x**2 / (1 + sqrt(1 + x**2))), with the sign of x."""
    a = unary("abs", x)
    square = a * a
    usual = log1p(a + square / (unary("sqrt", fma(a, a, 1.0)) + 1.0))
    huge = ~(a <= _HUGE[x.dtype])
    return copysign(node("rarely", (huge, _log_of_twice(a), usual), x.dtype), x)


def acosh(x: Expr) -> Expr:
    """The inverse of cosh, with t = x - 1: log1p(t + sqrt(t**2 + 2 t)); NaN below 1."""
    t = x - 1.0
    usual = log1p(t + unary("sqrt", fma(t, t, t + t)))
    huge = ~(x <= _HUGE[x.dtype])
    result = node("rarely", (huge, _log_of_twice(x), usual), x.dtype)
    return select(x < 1.0, const(math.nan, x.dtype), result)


def atanh(x: Expr) -> Expr:
    """The inverse of tanh: log1p(2 |x| / (1 - |x|)) / 2, with the sign of x; NaN beyond 1."""
    a = unary("abs", x)
    return copysign(log1p((a + a) / (1.0 - a)) * 0.5, x)
