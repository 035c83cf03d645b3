"""How the incomplete gamma function changes with its parameter, on float64 arrays of rank 1.

dP/da is -D G, where D = x^a exp(-x) / gamma(1 + a) and G is a sum of terms of mostly one sign: the
series or the continued fraction of P and Q (DLMF 8.7.1 and 8.9.2), differentiated term by term.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._gamma import digamma
from ._incomplete import gamma_density, log1p_less_u
from ._series import converge
from ._structure import Array

_EPS = float(np.finfo(np.float64).eps)
_TINY = 1e-300  # stands in for a zero denominator in Lentz's method
_LIMIT = 5000
# Above this the series need thousands of terms, and two terms in 1 / a are enough.
_ASYMPTOTIC_FROM = 2e5


def igamma_grad_a(xp: Any, a: Array, x: Array) -> Array:
    """The derivative of the regularized lower incomplete gamma function P(a, x) along a.

    Args:
        xp: the array module.
        a: float64, shape [n].
        x: float64, shape [n].

    Returns:
        float64, shape [n]; NaN where a is not positive, or x is negative.

    Example:
        >>> round(float(igamma_grad_a(np, np.array([1.0]), np.array([1.0]))[0]), 6)
        -0.43173
    """
    return _where_inside(xp, a, x, lambda a, x: -gamma_density(xp, a, x) * _slope(xp, a, x))


def random_gamma_grad(xp: Any, a: Array, x: Array) -> Array:
    """The derivative along a of a sample x of the gamma distribution whose P(a, x) stays.

    Args:
        xp: the array module.
        a: float64, shape [n].
        x: float64, shape [n].

    Returns:
        float64, shape [n]; NaN where a is not positive, or x is negative.

    Example:
        >>> round(float(random_gamma_grad(np, np.array([1.0]), np.array([1.0]))[0]), 6)
        1.173563
    """
    return _where_inside(xp, a, x, lambda a, x: x / a * _slope(xp, a, x))


def _where_inside(xp: Any, a: Array, x: Array, function: Any) -> Array:
    result = xp.full_like(x, np.nan)
    result[(a > 0) & ((x == 0) | (x == np.inf))] = 0.0
    inside = (a > 0) & (x > 0) & xp.isfinite(a) & xp.isfinite(x)
    if inside.any():
        result[inside] = function(a[inside], x[inside])
    return result


def _slope(xp: Any, a: Array, x: Array) -> Array:
    """G: of positive and finite a and x."""
    out = xp.empty_like(x)
    asymptotic = a > _ASYMPTOTIC_FROM
    fraction = ~asymptotic & (x > 1.1) & (x >= a)
    for where, part in (
        (asymptotic, _asymptotic),
        (fraction, _fraction),
        (~asymptotic & ~fraction, _series),
    ):
        if where.any():
            out[where] = part(xp, a[where], x[where])
    return out


def _series(xp: Any, a: Array, x: Array) -> Array:
    def step(k: int, total: Array, term: Array, harmonic: Array, start: Array, a: Array, x: Array):
        term = term * (x / (a + k))
        harmonic = harmonic + 1.0 / (a + k)
        total = total + term * (harmonic - start)
        size = term * (harmonic + xp.absolute(start))
        done = ~(size > 0.5 * _EPS * xp.absolute(total))
        return (total, term, harmonic, start, a, x), done

    start = xp.log(x) - digamma(xp, a + 1.0)
    state = (-start, xp.ones_like(x), xp.zeros_like(x), start, a, x)
    return converge(xp, state, step, _LIMIT)


def _fraction(xp: Any, a: Array, x: Array) -> Array:
    def step(
        k: int, out: Array, value: Array, slope: Array, b: Array, c: Array, c_dot: Array, d: Array,
        d_dot: Array, start: Array, a: Array,
    ):  # fmt: skip
        # Lentz's method for Q's fraction, with the derivative of the logarithm of each factor.
        numerator = k * (a - k)
        b = b + 2.0
        d_dot = k * d + numerator * d_dot - 1.0
        d = numerator * d + b
        d = 1.0 / xp.where(d == 0, _TINY, d)
        d_dot = -d_dot * d * d
        c_dot = (k - numerator * (c_dot / c)) / c - 1.0
        c = b + numerator / c
        c = xp.where(c == 0, _TINY, c)
        change = c_dot / c + d_dot / d
        value, slope = value * (c * d), slope + change
        total = start + slope
        done = ~(xp.absolute(c * d - 1.0) > _EPS) & ~(
            xp.absolute(change) > _EPS * xp.absolute(total)
        )
        state = (value * total, value, slope, b, c, c_dot, d, d_dot, start, a)
        return state, done

    start = xp.log(x) - digamma(xp, a)
    b = x + 1.0 - a
    large, zero = xp.full_like(x, 1.0 / _TINY), xp.zeros_like(x)
    state = (
        (start + 1.0 / b) / b,
        1.0 / b,
        1.0 / b,
        b,
        large,
        zero,
        1.0 / b,
        1.0 / b / b,
        start,
        a,
    )
    return a * converge(xp, state, step, _LIMIT)


def _asymptotic(xp: Any, a: Array, x: Array) -> Array:
    # From the equation that mixed derivatives of P give, in powers of 1 / a, where x is close to a.
    u = (x - a) / a
    first = 1.0 + log1p_less_u(xp, u) / xp.where(u == 0, 1.0, u)
    return first + (1.0 / 6.0 - u / 12.0) / a
