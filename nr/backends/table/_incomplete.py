"""Incomplete gamma and beta functions, on float64 arrays of rank 1.

Each is a power series on one side of its bulk and a continued fraction on the other (DLMF 8.7.1,
8.9.2 and 8.17.22), times a density. The density is formed from log(1 + u) - u, so that it keeps
its digits where log x and log a nearly cancel. The relative errors stated were measured on random
operands between 0.01 and 1e5 (gamma: up to 1e8) with results above 1e-300.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._erf import erfc
from ._gamma import lgamma, lgamma_one_plus, stirling_error
from ._series import converge, horner
from ._structure import Array

_EPS = float(np.finfo(np.float64).eps)
_TINY = 1e-300  # stands in for a zero denominator in Lentz's method
_LIMIT = 5000
_STIRLING_FROM = 10.0
# Above this the series need thousands of terms, and Temme's expansion only a few.
_TEMME_FROM = 2e5
_ATANH = tuple(2.0 / (2 * k + 3) for k in range(17))[::-1]
# N. M. Temme, "The asymptotic expansion of the incomplete gamma functions", SIAM J. Math. Anal.
# 10 (1979): the Taylor coefficients in eta of its first two terms, highest power first.
_TEMME_0 = (
    1.0 / 25515.0,
    -139.0 / 777600.0,
    1.0 / 2835.0,
    1.0 / 864.0,
    -2.0 / 135.0,
    1.0 / 12.0,
    -1.0 / 3.0,
)
_TEMME_1 = (-77.0 / 77760.0, 1.0 / 378.0, -1.0 / 288.0, -1.0 / 540.0)


def igamma(xp: Any, a: Array, x: Array) -> Array:
    """The regularized lower incomplete gamma function P(a, x), to 1e-13 (relative).

    Args:
        xp: the array module.
        a: float64, shape [n].
        x: float64, shape [n].

    Returns:
        float64, shape [n]; NaN where a or x is negative and at a = x = 0.

    Example:
        >>> round(float(igamma(np, np.array([1.0]), np.array([1.0]))[0]), 6)
        0.632121
    """
    return _both_tails(xp, a, x)[0]


def igammac(xp: Any, a: Array, x: Array) -> Array:
    """The regularized upper incomplete gamma function Q(a, x), to 1e-13 (relative).

    Args:
        xp: the array module.
        a: float64, shape [n].
        x: float64, shape [n].

    Returns:
        float64, shape [n]; NaN where a or x is negative and at a = x = 0.

    Example:
        >>> round(float(igammac(np, np.array([1.0]), np.array([1.0]))[0]), 6)
        0.367879
    """
    return _both_tails(xp, a, x)[1]


def _both_tails(xp: Any, a: Array, x: Array) -> tuple[Array, Array]:
    lower, upper = xp.full_like(x, np.nan), xp.full_like(x, np.nan)
    at_zero = ((x == 0) & (a > 0)) | (xp.isinf(a) & (a > 0) & (x >= 0) & xp.isfinite(x))
    at_one = ((a == 0) & (x > 0)) | ((x == np.inf) & (a >= 0) & xp.isfinite(a))
    for where, value in ((at_zero, 0.0), (at_one, 1.0)):
        lower[where], upper[where] = value, 1.0 - value
    inside = (a > 0) & (x > 0) & xp.isfinite(a) & xp.isfinite(x)
    temme = inside & (a > _TEMME_FROM)
    # Where Q is the small tail, or P so close to 1 that 1 - P would lose digits of Q.
    fraction = inside & ~temme & (x > 1.1) & (x >= a)
    with_log = xp.log(xp.where(x > 0, x, 1.0))
    small = inside & ~temme & (x <= 1.1)
    cutoff = xp.where(x <= 0.5, -0.4 / xp.where(with_log < 0, with_log, -1.0), x * 1.1)
    small &= a <= cutoff
    series = inside & ~temme & ~fraction & ~small
    for where, pair in (
        (temme, _temme),
        (fraction, _upper_fraction),
        (small, _upper_series),
        (series, _lower_series),
    ):
        if where.any():
            lower[where], upper[where] = pair(xp, a[where], x[where])
    return lower, upper


def log1p_less_u(xp: Any, u: Array) -> Array:
    """log(1 + u) - u without cancellation: with r = u/(2 + u), log(1 + u) = 2 atanh(r)."""
    r = u / (2.0 + u)
    square = r * r
    near = r * square * horner(_ATANH, square) - r * u
    return xp.where(xp.absolute(u) < 0.5, near, xp.log1p(u) - u)


def gamma_density(xp: Any, a: Array, x: Array) -> Array:
    """x**a exp(-x) / gamma(1 + a)."""
    direct = xp.exp(a * xp.log(x) - x - lgamma(xp, a + 1.0))
    large = a >= _STIRLING_FROM
    if large.any():
        y = a[large]
        exponent = y * log1p_less_u(xp, (x[large] - y) / y)
        direct[large] = xp.exp(exponent - stirling_error(y)) / xp.sqrt(2.0 * math.pi * y)
    return direct


def _lower_series(xp: Any, a: Array, x: Array) -> tuple[Array, Array]:
    def step(k: int, total: Array, term: Array, a: Array, x: Array):
        term = term * (x / (a + k))
        total = total + term
        return (total, term, a, x), ~(term > 0.5 * _EPS * total)

    total = converge(xp, (xp.ones_like(x), xp.ones_like(x), a, x), step, _LIMIT)
    lower = total * gamma_density(xp, a, x)
    return lower, 1.0 - lower


def _upper_series(xp: Any, a: Array, x: Array) -> tuple[Array, Array]:
    # For small a and x both tails come from expm1, as P tends to 1 when a tends to 0.
    def step(k: int, total: Array, term: Array, a: Array, x: Array):
        term = term * (-x / k)
        change = term / (a + k)
        total = total + change
        return (total, term, a, x), ~(xp.absolute(change) > 0.5 * _EPS * xp.absolute(total))

    total = converge(xp, (xp.zeros_like(x), xp.ones_like(x), a, x), step, _LIMIT)
    exponent = a * xp.log(x) - lgamma_one_plus(a)
    lower = xp.exp(exponent) * (1.0 + a * total)
    return lower, -xp.expm1(exponent) - xp.exp(exponent) * a * total


def _upper_fraction(xp: Any, a: Array, x: Array) -> tuple[Array, Array]:
    def step(k: int, value: Array, b: Array, c: Array, d: Array, a: Array):
        numerator = -k * (k - a)
        b = b + 2.0
        d = numerator * d + b
        d = 1.0 / xp.where(d == 0, _TINY, d)
        c = b + numerator / c
        c = xp.where(c == 0, _TINY, c)
        change = c * d
        return (value * change, b, c, d, a), ~(xp.absolute(change - 1.0) > _EPS)

    b = x + 1.0 - a
    state = (1.0 / b, b, xp.full_like(x, 1.0 / _TINY), 1.0 / b, a)
    upper = a * gamma_density(xp, a, x) * converge(xp, state, step, _LIMIT)
    return 1.0 - upper, upper


def _temme(xp: Any, a: Array, x: Array) -> tuple[Array, Array]:
    u = (x - a) / a
    half_square = xp.maximum(-log1p_less_u(xp, u), 0.0)
    eta = xp.copysign(xp.sqrt(2.0 * half_square), u)
    # Beyond |eta| = 1 the exponential below is zero, whatever its factor.
    bounded = xp.clip(eta, -1.0, 1.0)
    correction = horner(_TEMME_0, bounded) + horner(_TEMME_1, bounded) / a
    correction *= xp.exp(-a * half_square) / xp.sqrt(2.0 * math.pi * a)
    scaled = eta * xp.sqrt(0.5 * a)
    return 0.5 * erfc(xp, -scaled) - correction, 0.5 * erfc(xp, scaled) + correction


def regularized_incomplete_beta(xp: Any, a: Array, b: Array, x: Array) -> Array:
    """The regularized incomplete beta function I_x(a, b), to 3e-12 (relative).

    Args:
        xp: the array module.
        a: float64, shape [n].
        b: float64, shape [n].
        x: float64, shape [n].

    Returns:
        float64, shape [n]; NaN for a negative a or b, and for x outside [0, 1].

    Example:
        >>> one = np.ones(1)
        >>> round(float(regularized_incomplete_beta(np, one, one, 0.25 * one)[0]), 6)
        0.25
    """
    result = xp.full_like(x, np.nan)
    valid = (a >= 0) & (b >= 0) & (x >= 0) & (x <= 1)
    neither = ((a == 0) & (b == 0)) | (xp.isinf(a) & xp.isinf(b))
    to_one = (a == 0) | xp.isinf(b) | (x == 1)
    to_zero = (b == 0) | xp.isinf(a) | (x == 0)
    result[valid & ~neither & to_one] = 1.0
    # At an end of the interval, the end decides whatever a and b are.
    result[valid & ~neither & to_zero & ~(x == 1)] = 0.0
    result[valid & ~neither & (x == 0)] = 0.0
    inside = valid & ~to_one & ~to_zero
    a, b, x = a[inside], b[inside], x[inside]
    if x.size:
        # The fraction converges fast below the mean; above it, use I_x(a, b) = 1 - I_1-x(b, a).
        swapped = x > (a + 1.0) / (a + b + 2.0)
        y = 1.0 - x
        lower = _beta_fraction(
            xp,
            xp.where(swapped, b, a),
            xp.where(swapped, a, b),
            xp.where(swapped, y, x),
            xp.where(swapped, x, y),
        )
        result[inside] = xp.where(swapped, 1.0 - lower, lower)
    return result


def _beta_density(xp: Any, a: Array, b: Array, x: Array, y: Array) -> Array:
    """x**a y**b / beta(a, b), with y = 1 - x."""
    log_beta = lgamma(xp, a) + lgamma(xp, b) - lgamma(xp, a + b)
    direct = xp.exp(a * xp.log(x) + b * xp.log1p(-x) - log_beta)
    large = (a >= _STIRLING_FROM) & (b >= _STIRLING_FROM)
    if large.any():
        a, b, x, y = a[large], b[large], x[large], y[large]
        away = x * b - y * a
        exponent = a * log1p_less_u(xp, away / a) + b * log1p_less_u(xp, -away / b)
        exponent += stirling_error(a + b) - stirling_error(a) - stirling_error(b)
        total = a + b
        direct[large] = xp.exp(exponent) * xp.sqrt((a / total) * b / (2.0 * math.pi))
    return direct


def _beta_fraction(xp: Any, a: Array, b: Array, x: Array, y: Array) -> Array:
    def refine(value: Array, c: Array, d: Array, numerator: Array):
        d = 1.0 + numerator * d
        d = 1.0 / xp.where(d == 0, _TINY, d)
        c = 1.0 + numerator / c
        c = xp.where(c == 0, _TINY, c)
        return value * (c * d), c, d, c * d

    def step(k: int, value: Array, c: Array, d: Array, a: Array, b: Array, x: Array):
        even = a + 2 * k
        value, c, d, _ = refine(value, c, d, k * (b - k) * x / ((even - 1.0) * even))
        numerator = -(a + k) * (a + b + k) * x / (even * (even + 1.0))
        value, c, d, change = refine(value, c, d, numerator)
        return (value, c, d, a, b, x), ~(xp.absolute(change - 1.0) > _EPS)

    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / xp.where(d == 0, _TINY, d)
    value = converge(xp, (d, xp.ones_like(x), d, a, b, x), step, _LIMIT)
    return value * _beta_density(xp, a, b, x, y) / a
