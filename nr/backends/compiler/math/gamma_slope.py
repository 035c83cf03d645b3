"""How the incomplete gamma function changes with its parameter.

dP/da is -D G, where D = x^a exp(-x) / gamma(1 + a) and G is a sum of terms of mostly one sign: the
series or the continued fraction of P and Q (DLMF 8.7.1 and 8.9.2), differentiated term by term.
Everything is computed in f64.
"""

from __future__ import annotations

import math

from nr.backends.compiler.expr import Expr, const, convert, eq, fma, node, select, unary
from nr.backends.compiler.math.gamma import digamma
from nr.backends.compiler.math.incomplete import gamma_density, log_less, nonzero
from nr.backends.compiler.math.iteration import iterate
from nr.backends.compiler.math.logarithm import log

_EPS = 2.0**-52
_TINY = 1e-300  # stands in for a zero denominator in Lentz's method
_LIMIT = 5000
# Above this the series need thousands of terms, and two terms in 1 / a are enough.
_ASYMPTOTIC_FROM = 2e5


def _series_step(  # noqa: ANN202
    k: Expr, total: Expr, term: Expr, harmonic: Expr, start: Expr, a: Expr, x: Expr
):
    term = term * (x / (a + k))
    harmonic = harmonic + 1.0 / (a + k)
    total = fma(term, harmonic - start, total)
    size = term * (harmonic + unary("abs", start))
    return (total, term, harmonic), size > unary("abs", total) * (0.5 * _EPS)


def _fraction_step(  # noqa: ANN202
    k: Expr, out: Expr, value: Expr, slope: Expr, b: Expr, c: Expr, c_dot: Expr, d: Expr,
    d_dot: Expr, start: Expr, a: Expr,
):  # fmt: skip
    # Lentz's method for Q's fraction, with the derivative of the logarithm of each factor.
    numerator = k * (a - k)
    b = b + 2.0
    d_dot = fma(numerator, d_dot, k * d - 1.0)
    d = 1.0 / nonzero(fma(numerator, d, b))
    d_dot = -d_dot * d * d
    c_dot = (k - numerator * (c_dot / c)) / c - 1.0
    c = nonzero(b + numerator / c)
    change = c_dot / c + d_dot / d
    factor = c * d
    value, slope = value * factor, slope + change
    total = start + slope
    moves = unary("abs", factor - 1.0) > _EPS
    moves = moves | (unary("abs", change) > unary("abs", total) * _EPS)
    return (value * total, value, slope, b, c, c_dot, d, d_dot), moves


def _inside(a: Expr, x: Expr) -> Expr:
    return (a > 0.0) & (x > 0.0) & (a < math.inf) & (x < math.inf)


def _slope(a: Expr, x: Expr) -> Expr:
    """G: of positive and finite a and x."""
    inside = _inside(a, x)
    asymptotic = inside & (a > _ASYMPTOTIC_FROM)
    fraction = inside & ~asymptotic & (x > 1.1) & (x >= a)
    series = inside & ~asymptotic & ~fraction
    zero, one = const(0.0, "f64"), const(1.0, "f64")
    logarithm = log(x)
    # digamma(a + 1) is digamma(a) + 1 / a, but for small a that cancels.
    start = logarithm - digamma(a + select(fraction, zero, one))
    lower = iterate(_series_step, series, (-start, one, zero), (start, a, x), _LIMIT)
    b = x + 1.0 - a
    first = 1.0 / b
    states = (
        (start + first) * first, first, first, b, const(1.0 / _TINY, "f64"), zero, first,
        first * first,
    )  # fmt: skip
    upper = a * iterate(_fraction_step, fraction, states, (start, a), _LIMIT)
    # From the equation that mixed derivatives of P give, in powers of 1 / a, where x is close to a.
    u = (x - a) / a
    ratio = log_less(u, log(x / a)) / select(eq(u, 0.0), one, u)
    large = ratio + 1.0 + (u * (-1.0 / 12.0) + 1.0 / 6.0) / a
    return node("rarely", (asymptotic, large, select(fraction, upper, lower)), "f64")


def _at_the_ends(a: Expr, x: Expr, value: Expr) -> Expr:
    zero = (a > 0.0) & (eq(x, 0.0) | eq(x, math.inf))
    return select(_inside(a, x), value, select(zero, const(0.0, "f64"), math.nan))


def igamma_grad_a(a: Expr, x: Expr) -> Expr:
    """The derivative along a of the regularized lower incomplete gamma function P(a, x).

    NaN where a is not positive, or x is negative.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> igamma_grad_a(*[node("register", (), "f32", name) for name in "ax"]).dtype
        'f32'
    """
    dtype = x.dtype
    a, x = convert(a, "f64"), convert(x, "f64")
    return convert(_at_the_ends(a, x, -gamma_density(a, x) * _slope(a, x)), dtype)


def random_gamma_grad(a: Expr, x: Expr) -> Expr:
    """The derivative along a of a sample x of the gamma distribution whose P(a, x) stays."""
    dtype = x.dtype
    a, x = convert(a, "f64"), convert(x, "f64")
    return convert(_at_the_ends(a, x, x / a * _slope(a, x)), dtype)
