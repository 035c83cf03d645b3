"""The Hurwitz zeta function and polygamma.

Euler-Maclaurin summation after ten direct terms (DLMF 25.11.5), relative to the first term q**-s:
with y = s log(1 + k/q), a later term is exp(-y), whose error of y epsilon is worth at most
exp(-1) epsilon. Where s is a small constant, as in the derivatives of digamma, the powers are
products. Everything is computed in f64.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from nr.backends.compiler.expr import Expr, const, convert, eq, ne, node, select, unary
from nr.backends.compiler.math.exponential import exp
from nr.backends.compiler.math.gamma import digamma, lgamma
from nr.backends.compiler.math.logarithm import log, log1p
from nr.backends.compiler.math.power import integer_pow, pow

_DIRECT_TERMS = 10
# Bernoulli numbers B2, B4, ..., B24, over factorials.
_BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798,
    -174611 / 330, 854513 / 138, -236364091 / 2730,
)  # fmt: skip
_COEFFICIENTS = tuple([b / math.factorial(2 * k) for k, b in enumerate(_BERNOULLI, 1)])
_LARGEST_PRODUCT = 8
_LAST_FACTORIAL = 170
_FACTORIALS = tuple([float(math.factorial(n)) for n in range(_LAST_FACTORIAL + 1)])


def _constant_integer(s: Expr) -> int | None:
    """The value of s if it is a small constant integer above 1."""
    if s.op == "const" and 1 < s.param <= _LARGEST_PRODUCT and s.param == int(s.param):
        return int(s.param)
    return None


def _powers(s: Expr) -> tuple[Callable[[Expr], Expr], Callable[[Expr, int], Expr]]:
    """The functions q**-s and ((q + k) / q)**-s."""
    whole = _constant_integer(s)
    if whole is not None:
        return (
            lambda q: integer_pow(q, -whole),
            lambda q, k: integer_pow(q / (q + float(k)), whole),
        )
    return lambda q: pow(q, -s), lambda q, k: exp(-s * log1p(k / q))


def _positive(s: Expr, q: Expr) -> Expr:
    """zeta(s, q) for s > 1 and q >= 0."""
    first, decay = _powers(s)
    total = const(1.0, "f64")
    for k in range(1, _DIRECT_TERMS):
        total = total + decay(q, k)
    end = q + float(_DIRECT_TERMS)
    inverse = 1.0 / end
    tail = end / (s - 1.0) + 0.5
    factor = s * inverse
    for k, coefficient in enumerate(_COEFFICIENTS):
        tail = tail + factor * coefficient
        growth = ((s + float(2 * k + 1)) * inverse) * ((s + float(2 * k + 2)) * inverse)
        factor = factor * growth
    last = decay(q, _DIRECT_TERMS)
    total = total + select(eq(last, 0.0), 0.0, last * tail)
    return first(q) * total


def _zeta(s: Expr, q: Expr) -> Expr:
    """zeta(s, q) of f64, where -q is no integer and s > 1.

    The terms that a negative q makes negative are the difference of two such series.
    """
    below = q < 0.0
    whole = unary("floor", -q)
    part = -q - whole  # in [0, 1)
    positive = _positive(s, select(below, 1.0 - part, q))
    difference = _positive(s, part) - _positive(s, whole + part + 1.0)
    half = s * 0.5
    even = eq(unary("round_even", half), half)
    with_negative = positive + select(even, difference, -difference)
    integer = eq(unary("floor", s), s)
    with_negative = select(integer, with_negative, math.nan)
    result = node("rarely", (below, with_negative, positive), "f64")
    return select(below & eq(part, 0.0) | eq(q, 0.0), math.inf, result)


def zeta(x: Expr, q: Expr) -> Expr:
    """The Hurwitz zeta function, the sum of (q + k)**-x over k >= 0.

    At most 6 ulp in f64 for q > 0; infinite for x = 1 and at the poles in q, NaN for x < 1, and
    for negative q unless x is an integer.

    Example:
        >>> from nr.backends.compiler.expr import const, node
        >>> zeta(const(2.0, "f32"), node("register", (), "f32", "q")).dtype
        'f32'
    """
    s, wide = convert(x, "f64"), convert(q, "f64")
    result = select(eq(wide, math.inf), 0.0, _zeta(s, wide))
    result = select(eq(s, 1.0), math.inf, result)
    result = select((s < 1.0) | ne(s, s) | ne(wide, wide), math.nan, result)
    return convert(result, q.dtype)


def _factorial(m: Expr) -> Expr:
    """m! up to 170!, and 1 beyond."""
    if m.op == "const":
        return const(_FACTORIALS[int(m.param)] if m.param <= _LAST_FACTORIAL else 1.0, "f64")
    index = convert(select((m >= 0.0) & (m <= float(_LAST_FACTORIAL)), m, 0.0), "i32")
    return node("table", (index,), "f64", _FACTORIALS)


def polygamma(m: Expr, x: Expr) -> Expr:
    """The m-th derivative of digamma, at most 7 ulp in f64 for m <= 170 and x > 0.

    NaN where m is no integer above -1.
    """
    order, wide = convert(m, "f64"), convert(x, "f64")
    if order.op == "const" and order.param == 0:
        return digamma(x)
    valid = (order >= 0.0) & eq(unary("floor", order), order)
    if order.op == "const":
        safe = const(max(1.0, float(order.param)), "f64")
    else:
        safe = select(order >= 1.0, order, 1.0)
    sums = zeta(safe + 1.0, wide)
    size = _factorial(safe) * sums
    far = exp(lgamma(safe + 1.0) + log(sums))
    size = node("rarely", (safe > float(_LAST_FACTORIAL), far, size), "f64")
    half = safe * 0.5
    size = select(eq(unary("round_even", half), half), -size, size)
    size = node("rarely", (eq(order, 0.0), digamma(wide), size), "f64")
    return convert(select(valid, size, math.nan), x.dtype)
