"""Gamma and beta functions and their kin, and the numbers of combinatorics."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.numpy.promotion import promote_inexact
from nr.scipy.special.operands import operands, unary

__all__ = [
    "bernoulli",
    "beta",
    "betainc",
    "betaln",
    "comb",
    "digamma",
    "factorial",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "gammasgn",
    "loggamma",
    "multigammaln",
    "poch",
    "polygamma",
    "psi",
    "zeta",
]

gammaln = unary("gammaln", lax.lgamma, "log |gamma(x)| (DLMF 5.2).")
digamma = unary("digamma", lax.digamma, "The derivative of `gammaln` (DLMF 5.2).")
psi = digamma


def gammasgn(x: Any) -> Array:
    """The sign of gamma(x); NaN at negative integers (DLMF 5.2)."""
    (x,) = operands("gammasgn", x)
    floor = jnp.floor(x)
    sign = jnp.where((x < 0) & (jnp.mod(floor, 2) != 0), -1, 1).astype(x.dtype)
    sign = jnp.where((x < 0) & (x == floor), jnp.nan, sign)
    return jnp.where(x == 0, jnp.copysign(jnp.ones_like(x), x), jnp.where(x != x, x, sign))


def gamma(x: Any) -> Array:
    """The gamma function (DLMF 5.2).

    Example:
        >>> gamma(5.)
        Array(24., dtype=float32)
    """
    (x,) = operands("gamma", x)
    return gammasgn(x) * jnp.exp(lax.lgamma(x))


def factorial(n: Any, exact: bool = False) -> Array:
    """n!, as gamma(n + 1); 0 for negative n."""
    if exact:
        raise NotImplementedError("factorial: exact=True is not there; use math.factorial.")
    (n,) = operands("factorial", n)
    return jnp.where(n < 0, 0, jnp.exp(lax.lgamma(jnp.where(n < 0, 0, n) + 1)))


def poch(z: Any, m: Any) -> Array:
    """gamma(z + m) / gamma(z), the rising factorial (DLMF 5.2.5)."""
    z, m = operands("poch", z, m)
    sign = gammasgn(z + m) * gammasgn(z)
    value = sign * jnp.exp(lax.lgamma(z + m) - lax.lgamma(z))
    return jnp.where(m == 0, 1, value)


def betaln(a: Any, b: Any) -> Array:
    """log |beta(a, b)| (DLMF 5.12)."""
    a, b = operands("betaln", a, b)
    return lax.lgamma(a) + lax.lgamma(b) - lax.lgamma(a + b)


def beta(a: Any, b: Any) -> Array:
    """gamma(a) gamma(b) / gamma(a + b) (DLMF 5.12)."""
    a, b = operands("beta", a, b)
    sign = gammasgn(a) * gammasgn(b) * gammasgn(a + b)
    return sign * jnp.exp(betaln(a, b))


def betainc(a: Any, b: Any, x: Any) -> Array:
    """The regularized incomplete beta function (DLMF 8.17); no derivative in a and b."""
    return lax.betainc(*operands("betainc", a, b, x))


def gammainc(a: Any, x: Any) -> Array:
    """The regularized lower incomplete gamma function P(a, x) (DLMF 8.2); no derivative in a."""
    return lax.igamma(*operands("gammainc", a, x))


def gammaincc(a: Any, x: Any) -> Array:
    """The regularized upper incomplete gamma function Q(a, x) (DLMF 8.2); no derivative in a."""
    return lax.igammac(*operands("gammaincc", a, x))


def polygamma(n: Any, x: Any) -> Array:
    """The n-th derivative of `digamma` (DLMF 5.15); no derivative in n."""
    return lax.polygamma(*operands("polygamma", n, x))


def multigammaln(a: Any, d: int) -> Array:
    """The logarithm of the multivariate gamma function of dimension d (DLMF 35.3)."""
    (a,) = operands("multigammaln", a)
    result = lax.lgamma(a) + d * (d - 1) / 4 * math.log(math.pi)
    for j in range(1, d):
        result = result + lax.lgamma(a - j / 2)
    return result


def zeta(x: Any, q: Any = None) -> Array:
    """The Hurwitz zeta function (DLMF 25.11), Riemann's for q = 1; no derivative in x."""
    return lax.zeta(*operands("zeta", x, 1.0 if q is None else q))


# ---------------------------------------------------------------- combinatorics
_FACTORS = 128


def _few_of(n: Array, k: Array) -> Array:
    """n (n - 1) ... (n - k + 1) / k! for integers k up to `_FACTORS`."""

    def step(product: Array, i: Any) -> Any:
        i = i.astype(n.dtype)  # every step gives an integer, if n is one
        return jnp.where(i <= k, product * (n - k + i) / i, product), None

    return lax.scan(step, jnp.ones_like(n), jnp.arange(1, _FACTORS + 1))[0]


def comb(N: Any, k: Any, *, repetition: bool = False) -> Array:  # noqa: N803 - SciPy's name
    """The number of ways to choose k of N things; 0 where there are none.

    Args:
        N: how many things.
        k: how many are chosen.
        repetition: whether a thing may be chosen several times.

    Example:
        >>> comb(5, 2)
        Array(10., dtype=float32)
    """
    n, k = operands("comb", N, k)
    if repetition:
        return comb(n + k - 1, k)
    possible = (k <= n) & (n >= 0) & (k >= 0)
    n, k = jnp.where(possible, n, 1), jnp.where(possible, k, 1)
    whole = (n == jnp.floor(n)) & (k == jnp.floor(k))
    k = jnp.where(whole, jnp.minimum(k, n - k), k)
    few = (k <= _FACTORS) & (k == jnp.floor(k))
    many = jnp.exp(lax.lgamma(n + 1) - lax.lgamma(k + 1) - lax.lgamma(n - k + 1))
    return jnp.where(possible, jnp.where(few, _few_of(n, k), many), 0)


def bernoulli(n: int) -> Array:
    """The Bernoulli numbers B0 to Bn (DLMF 24.2), by the triangle of S. Akiyama and Y. Tanigawa.

    Example:
        >>> bernoulli(2)
        Array([ 1.        , -0.5       ,  0.16666667], dtype=float32)
    """
    if n < 0:
        raise ValueError(f"bernoulli: n must not be negative; got {n}.")
    numbers, row = [], []
    for m in range(n + 1):
        row.append(Fraction(1, m + 1))
        for j in range(m, 0, -1):
            row[j - 1] = j * (row[j - 1] - row[j])
        numbers.append(-row[0] if m == 1 else row[0])
    return jnp.asarray(np.array([_rounded(x) for x in numbers]), config.default_float)


def _rounded(x: Fraction) -> float:
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


# ---------------------------------------------------------------- complex logarithm of gamma
def loggamma(x: Any) -> Array:
    """The logarithm of gamma, without jumps but on the negative axis (DLMF 5.4, 5.11).

    Args:
        x: real numbers, for which it is `gammaln`, and NaN below 0; or complex ones.

    Example:
        >>> loggamma(jnp.array([3.0, -0.5]))
        Array([0.6931472,       nan], dtype=float32)
    """
    (x,) = promote_inexact("loggamma", x)
    if x.dtype not in dtypes.COMPLEX:
        return jnp.where(x < 0, jnp.nan, lax.lgamma(jnp.where(x < 0, 1, x)))
    return _complex_loggamma(x)


_STIRLING = (
    1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400,
)  # fmt: skip
_SHIFT = 8


def _complex_loggamma(z: Array) -> Array:
    left = z.real < 0.5
    right = jnp.where(left, 1 - z, z)
    # Stirling's series, from where it converges well
    near = right.real**2 + right.imag**2 < _SHIFT**2
    shifted = jnp.where(near, right + _SHIFT, right)
    inverse = 1 / shifted
    square = inverse * inverse
    series = jnp.zeros_like(z)
    for coefficient in reversed(_STIRLING):
        series = series * square + coefficient
    value = (shifted - 0.5) * jnp.log(shifted) - shifted + 0.5 * math.log(2 * math.pi)
    value = value + series * inverse
    down = jnp.zeros_like(z)
    for k in range(_SHIFT):
        down = down + jnp.log(right + k)
    value = jnp.where(near, value - down, value)
    # Reflection (DLMF 5.5.3), with a logarithm of sin(pi z) that has no jumps in the upper half:
    # -i pi (z - 1/2) - log 2 + log(1 - exp(2 pi i z)).
    up = jnp.where(z.imag < 0, jnp.conj(z), z)
    turn = jnp.exp(2j * math.pi * (up - jnp.round(up.real)))
    log_sine = -1j * math.pi * (up - 0.5) - math.log(2) + jnp.log(1 - turn)
    reflected = math.log(math.pi) - jnp.where(z.imag < 0, jnp.conj(log_sine), log_sine) - value
    return jnp.where(left, reflected, value)
