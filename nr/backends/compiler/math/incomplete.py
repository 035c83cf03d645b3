"""The regularized incomplete gamma and beta functions.

Each is a power series on one side of its bulk and a continued fraction on the other (DLMF 8.7.1,
8.9.2 and 8.17.22), times a density. The density of a large parameter is formed from
log(1 + u) - u, so that it keeps its digits where log x and log a nearly cancel. Everything is
computed in f64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from nr.backends.compiler.expr import (
    Expr,
    const,
    convert,
    copysign,
    eq,
    fma,
    maximum,
    minimum,
    node,
    select,
    unary,
)
from nr.backends.compiler.math.error import erfc
from nr.backends.compiler.math.exponential import exp, expm1
from nr.backends.compiler.math.gamma import lgamma_one_plus, stirling_error
from nr.backends.compiler.math.iteration import iterate
from nr.backends.compiler.math.logarithm import log
from nr.backends.compiler.math.polynomial import exact_sum, horner

_EPS = 2.0**-52
_TINY = 1e-300  # stands in for a zero denominator in Lentz's method
_LIMIT = 5000
_LARGE = 4.0  # from here on Stirling's formula
# Above this the series need thousands of terms, and Temme's expansion only a few.
_TEMME_FROM = 2e5
# (2 atanh(r) - 2 r) / r**3 in r**2, for |r| <= 1/3.
_ATANH = tuple([2.0 / (2 * k + 3) for k in range(17)])
# N. M. Temme, "The asymptotic expansion of the incomplete gamma functions", SIAM J. Math. Anal.
# 10 (1979): the Taylor coefficients in eta of its first two terms.
_TEMME_0 = (
    -1.0 / 3.0, 1.0 / 12.0, -2.0 / 135.0, 1.0 / 864.0, 1.0 / 2835.0, -139.0 / 777600.0,
    1.0 / 25515.0,
)  # fmt: skip
_TEMME_1 = (-1.0 / 540.0, -1.0 / 288.0, 1.0 / 378.0, -77.0 / 77760.0)


def log_less(u: Expr, logarithm: Expr) -> Expr:
    """log(1 + u) - u, of u and log(1 + u): near zero by 2 atanh(r) with r = u / (2 + u)."""
    r = u / (u + 2.0)
    square = r * r
    near = fma(r * square, horner(square, _ATANH), -(r * u))
    return select(unary("abs", u) < 0.5, near, logarithm - u)


def nonzero(x: Expr) -> Expr:
    """x, or a number close to zero in place of zero: for denominators in Lentz's method."""
    return select(eq(x, 0.0), _TINY, x)


# ------------------------------------------------------------------------ incomplete gamma
def _lower_step(k: Expr, total: Expr, term: Expr, a: Expr, x: Expr):  # noqa: ANN202
    term = term * (x / (a + k))
    total = total + term
    return (total, term), term > total * (0.5 * _EPS)


def _upper_step(k: Expr, total: Expr, term: Expr, a: Expr, x: Expr):  # noqa: ANN202
    term = term * (-x / k)
    change = term / (a + k)
    total = total + change
    return (total, term), unary("abs", change) > unary("abs", total) * (0.5 * _EPS)


def _fraction_step(k: Expr, value: Expr, b: Expr, c: Expr, d: Expr, a: Expr):  # noqa: ANN202
    numerator = k * (a - k)
    b = b + 2.0
    d = 1.0 / nonzero(fma(numerator, d, b))
    c = nonzero(b + numerator / c)
    change = c * d
    return (value * change, b, c, d), unary("abs", change - 1.0) > _EPS


class _Density(NamedTuple):
    value: Expr  # x**a exp(-x) / gamma(1 + a)
    logarithm: Expr  # of x / a if a is large, else of x
    less: Expr  # log(x / a) - x / a + 1, of a large a
    power: Expr  # the logarithm of x**a / gamma(1 + a), for a below 2


def _density(a: Expr, x: Expr) -> _Density:
    large, below_two = a >= _LARGE, a < 2.0
    logarithm = log(select(large, x / a, x))
    less = log_less((x - a) / a, logarithm)
    # Of a small a, gamma(1 + a) is a (a - 1) gamma(a - 1) from 2 on.
    power = fma(a, logarithm, -lgamma_one_plus(select(below_two, a, a - 2.0)))
    exponent = select(large, fma(a, less, -stirling_error(a)), power - x)
    divisor = select(
        large,
        unary("sqrt", a * (2.0 * math.pi)),
        select(below_two, const(1.0, "f64"), a * (a - 1.0)),
    )
    return _Density(exp(exponent) / divisor, logarithm, less, power)


def gamma_density(a: Expr, x: Expr) -> Expr:
    """x**a exp(-x) / gamma(1 + a), of positive and finite f64."""
    return _density(a, x).value


def _tails(a: Expr, x: Expr) -> tuple[Expr, Expr]:
    """P(a, x) and Q(a, x) of f64."""
    inside = (a > 0.0) & (x > 0.0) & (a < math.inf) & (x < math.inf)
    temme, below_two = inside & (a > _TEMME_FROM), a < 2.0
    u, one = (x - a) / a, const(1.0, "f64")
    density, logarithm, less, power = _density(a, x)

    fraction = inside & ~temme & (x > 1.1) & (x >= a)
    # Where Q is the small tail, or P so close to 1 that 1 - P would lose digits of Q.
    above = select(x <= 0.5, a * logarithm >= -0.4, a <= x * 1.1)
    small = inside & ~temme & (x <= 1.1) & below_two & above
    series = inside & ~temme & ~fraction & ~small
    lower = iterate(_lower_step, series, (one, one), (a, x), _LIMIT) * density
    b = x + 1.0 - a
    start = (1.0 / b, b, const(1.0 / _TINY, "f64"), 1.0 / b)
    upper = iterate(_fraction_step, fraction, start, (a,), _LIMIT) * (a * density)
    p = select(fraction, 1.0 - upper, lower)
    q = select(fraction, upper, 1.0 - lower)

    # For small a and x both tails come from expm1, as P tends to 1 when a tends to 0.
    change = expm1(power)
    sums = a * iterate(_upper_step, small, (const(0.0, "f64"), one), (a, x), _LIMIT)
    rest = fma(change, sums, sums)
    p = node("rarely", (small, change + 1.0 + rest, p), "f64")
    q = node("rarely", (small, -change - rest, q), "f64")

    half_square = select(less < 0.0, -less, 0.0)
    eta = copysign(unary("sqrt", half_square * 2.0), u)
    # Beyond |eta| = 1 the exponential below is zero, whatever its factor.
    bounded = select(eta > 1.0, 1.0, select(eta < -1.0, -1.0, eta))
    correction = horner(bounded, _TEMME_0) + horner(bounded, _TEMME_1) / a
    correction = correction * exp(-a * half_square) / unary("sqrt", a * (2.0 * math.pi))
    argument = eta * unary("sqrt", a * 0.5)
    p = node("rarely", (temme, erfc(-argument) * 0.5 - correction, p), "f64")
    q = node("rarely", (temme, erfc(argument) * 0.5 + correction, q), "f64")

    infinite_a = eq(a, math.inf) & (x >= 0.0) & (x < math.inf)
    infinite_x = eq(x, math.inf) & (a >= 0.0) & (a < math.inf)
    to_zero = eq(x, 0.0) & (a > 0.0) | infinite_a
    to_one = eq(a, 0.0) & (x > 0.0) | infinite_x
    p = select(inside, p, select(to_zero, 0.0, select(to_one, one, math.nan)))
    q = select(inside, q, select(to_zero, one, select(to_one, const(0.0, "f64"), math.nan)))
    return p, q


def igamma(a: Expr, x: Expr) -> Expr:
    """The regularized lower incomplete gamma function P(a, x), to 5e-14 (relative) for x < 1e3.

    Beyond, digits are lost as in exp(-x). NaN where a or x is negative.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> igamma(*[node("register", (), "f32", name) for name in "ax"]).dtype
        'f32'
    """
    return convert(_tails(convert(a, "f64"), convert(x, "f64"))[0], x.dtype)


def igammac(a: Expr, x: Expr) -> Expr:
    """The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x), to as many digits."""
    return convert(_tails(convert(a, "f64"), convert(x, "f64"))[1], x.dtype)


# ------------------------------------------------------------------------ incomplete beta
def _small_gamma(a: Expr) -> tuple[Expr, Expr]:
    """A factor f and l for which 1 / gamma(a) = f exp(-l), for 0 < a < 4."""
    below, above = a < 0.5, a >= 3.0
    factor = select(below, a, select(above, 1.0 / (a - 1.0), 1.0))
    return factor, lgamma_one_plus(select(below, a, a - select(above, const(2.0, "f64"), 1.0)))


def _side(a: Expr, x: Expr, total: Expr, away: Expr) -> tuple[Expr, Expr]:
    """The logarithm and a factor of x**a / gamma(a), in terms that do not cancel: less a log of
    gamma(total) / (2 pi / total)**(1/2) in Stirling's formula, where total is large."""
    large = a >= _LARGE
    u = away / a
    scaled = x * total
    argument = select(large, scaled / a, select(total >= _LARGE, scaled, x))
    logarithm = log(argument)
    factor, gamma = _small_gamma(a)
    small = fma(a, logarithm, -gamma) - select(total >= _LARGE, scaled, 0.0)
    exponent = select(large, fma(a, log_less(u, logarithm), -stirling_error(a)), small)
    return exponent, select(large, unary("sqrt", a * (0.5 / math.pi)), factor)


def _beta_density(a: Expr, b: Expr, x: Expr, y: Expr, away: Expr) -> Expr:
    """x**a y**b / beta(a, b), with y = 1 - x and away = x (a + b) - a."""
    total = a + b
    large = total >= _LARGE
    first, f = _side(a, x, total, away)
    second, g = _side(b, y, total, -away)
    factor, gamma = _small_gamma(total)
    exponent = first + second + select(large, stirling_error(total), gamma)
    scale = select(large, unary("sqrt", (2.0 * math.pi) / total), 1.0 / factor)
    return exp(exponent) * (f * g * scale)


def _refined(value: Expr, c: Expr, d: Expr, numerator: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    d = 1.0 / nonzero(fma(numerator, d, 1.0))
    c = nonzero(numerator / c + 1.0)
    change = c * d
    return value * change, c, d, change


def _beta_step(k: Expr, value: Expr, c: Expr, d: Expr, a: Expr, b: Expr, x: Expr):  # noqa: ANN202
    even = a + k * 2.0
    value, c, d, _ = _refined(value, c, d, k * (b - k) * x / ((even - 1.0) * even))
    numerator = -(a + k) * (a + b + k) * x / (even * (even + 1.0))
    value, c, d, change = _refined(value, c, d, numerator)
    return (value, c, d), unary("abs", change - 1.0) > _EPS


def regularized_incomplete_beta(a: Expr, b: Expr, x: Expr) -> Expr:
    """The regularized incomplete beta function I_x(a, b), to 5e-14 (relative) for a, b < 1e3.

    Where x > (a + 1) / (a + b + 2), the error is 2**-50 if that is more. NaN for a negative a or b,
    and for x outside [0, 1].

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> names = [node("register", (), "f32", name) for name in "abx"]
        >>> regularized_incomplete_beta(*names).dtype
        'f32'
    """
    dtype = x.dtype
    a, b, x = [convert(v, "f64") for v in (a, b, x)]
    one = const(1.0, "f64")
    valid = (a >= 0.0) & (b >= 0.0) & (x >= 0.0) & (x <= 1.0)
    neither = eq(a, 0.0) & eq(b, 0.0) | eq(a, math.inf) & eq(b, math.inf)
    at_end = eq(x, 1.0)
    to_one = eq(a, 0.0) | eq(b, math.inf) | at_end
    to_zero = eq(b, 0.0) | eq(a, math.inf) | eq(x, 0.0)
    inside = valid & ~to_one & ~to_zero
    # The fraction converges fast below the mean; above it, use I_x(a, b) = 1 - I_1-x(b, a).
    swapped = x > (a + 1.0) / (a + b + 2.0)
    y = 1.0 - x
    p, q = select(swapped, b, a), select(swapped, a, b)
    near, far = select(swapped, y, x), select(swapped, x, y)
    # x (a + b) - a from what a + b is before it is rounded.
    total, low = exact_sum(maximum(a, b), minimum(a, b))
    away = fma(x, total, -a) + x * low
    d = 1.0 / nonzero(1.0 - (p + q) * near / (p + 1.0))
    sums = iterate(_beta_step, inside, (d, one, d), (p, q, near), _LIMIT)
    lower = sums * _beta_density(p, q, near, far, select(swapped, -away, away)) / p
    result = select(swapped, 1.0 - lower, lower)
    # At an end of the interval, the end decides whatever a and b are.
    ends = select(to_zero & ~at_end, 0.0, select(to_one, one, math.nan))
    ends = select(eq(x, 0.0), 0.0, ends)
    result = select(inside, result, select(valid & ~neither, ends, math.nan))
    return convert(result, dtype)
