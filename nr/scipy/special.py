"""Special functions with SciPy's names, element by element unless they say otherwise.

Formulas are those of the NIST Digital Library of Mathematical Functions (DLMF), whose sections are
named. Operands are promoted to a floating dtype and broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import canonical_axes
from nr.numpy.promotion import broadcast_arrays_list, promote_inexact

__all__ = [
    "beta",
    "betainc",
    "betaln",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfinv",
    "expit",
    "factorial",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "gammasgn",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "kl_div",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "poch",
    "polygamma",
    "psi",
    "rel_entr",
    "softmax",
    "xlog1py",
    "xlogy",
    "zeta",
]


def _operands(op: str, *xs: Any) -> list[Array]:
    """Real floating operands of one dtype and shape."""
    arrays = broadcast_arrays_list(op, *promote_inexact(op, *xs))
    if arrays[0].dtype in dtypes.COMPLEX:
        got = " and ".join(str(x.aval) for x in arrays)
        raise TypeError(f"{op}: real numbers were expected; got {got}.")
    return arrays


# ---------------------------------------------------------------- exponentials and logarithms
def logsumexp(
    a: Any,
    axis: Any = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Any = None,
) -> Any:
    """log(sum(b exp(a))) over axes, without overflow.

    Args:
        a: an array.
        axis: the axes; None means all.
        b: factors, broadcast with a; the sum must not be negative, unless return_sign.
        keepdims: keep the axes, with extent 1.
        return_sign: also return the sign of the sum, of whose absolute value the logarithm is.
        where: a mask of the elements that count.

    Example:
        >>> import nr.numpy as jnp
        >>> logsumexp(jnp.array([1000., 1000.]))
        Array(1000.6932, dtype=float32)
    """
    if b is None:
        (x,) = promote_inexact("logsumexp", a)
        factor = None
    else:
        x, factor = broadcast_arrays_list("logsumexp", *promote_inexact("logsumexp", a, b))
        x = jnp.where(factor == 0, -jnp.inf, x)
    if where is not None:
        x = jnp.where(where, x, -jnp.inf)
    axes = canonical_axes("logsumexp", axis, x.ndim)
    largest = jnp.max(jnp.real(x), axes, keepdims=True, initial=-jnp.inf)
    largest = lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    terms = jnp.exp(x - largest)
    if factor is not None:
        terms = jnp.where(factor == 0, 0, terms * factor)
    total = jnp.sum(terms, axes, keepdims=True)
    sign = jnp.sign(total)
    if return_sign:
        total = jnp.abs(total)
    result = jnp.log(total) + largest
    if not keepdims:
        result, sign = lax.squeeze(result, axes), lax.squeeze(sign, axes)
    return (result, sign) if return_sign else result


def softmax(x: Any, axis: Any = None) -> Array:
    """exp(x) divided by its sum over axes (all, if None).

    Example:
        >>> import nr.numpy as jnp
        >>> softmax(jnp.array([0., 0.]))
        Array([0.5, 0.5], dtype=float32)
    """
    (x,) = promote_inexact("softmax", x)
    axes = canonical_axes("softmax", axis, x.ndim)
    terms = jnp.exp(x - lax.stop_gradient(jnp.max(x, axes, keepdims=True)))
    return terms / jnp.sum(terms, axes, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Array:
    """The logarithm of `softmax`, accurate where that is small."""
    (x,) = promote_inexact("log_softmax", x)
    axes = canonical_axes("log_softmax", axis, x.ndim)
    shifted = x - lax.stop_gradient(jnp.max(x, axes, keepdims=True))
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axes, keepdims=True))


def expit(x: Any) -> Array:
    """The logistic function 1 / (1 + exp(-x))."""
    (x,) = promote_inexact("expit", x)
    return lax.logistic(x)


def logit(x: Any) -> Array:
    """log(x / (1 - x)), the inverse of `expit`."""
    (x,) = promote_inexact("logit", x)
    return jnp.log(x) - jnp.log1p(-x)


def xlogy(x: Any, y: Any) -> Array:
    """x log(y), which is 0 where x is.

    Example:
        >>> xlogy(0., 0.)
        Array(0., dtype=float32)
    """
    x, y = _operands("xlogy", x, y)
    is_zero = x == 0
    return jnp.where(is_zero & (y == y), 0, x * jnp.log(jnp.where(is_zero & (y == y), 1, y)))


def xlog1py(x: Any, y: Any) -> Array:
    """x log(1 + y), which is 0 where x is."""
    x, y = _operands("xlog1py", x, y)
    is_zero = (x == 0) & (y == y)
    return jnp.where(is_zero, 0, x * jnp.log1p(jnp.where(is_zero, 0, y)))


def entr(x: Any) -> Array:
    """-x log(x), the entropy's term; 0 at 0, and minus infinity below."""
    (x,) = _operands("entr", x)
    return jnp.where(x < 0, -jnp.inf, -xlogy(jnp.where(x < 0, 1, x), jnp.where(x < 0, 1, x)))


def rel_entr(p: Any, q: Any) -> Array:
    """p log(p / q), the relative entropy's term; 0 where p is 0 and q is not negative.

    Infinite where p or q is negative, or q is 0.
    """
    p, q = _operands("rel_entr", p, q)
    both, zero = (p > 0) & (q > 0), (p == 0) & (q >= 0)
    safe_p, safe_q = jnp.where(both, p, 1), jnp.where(both, q, 1)
    result = jnp.where(both, safe_p * jnp.log(safe_p / safe_q), jnp.where(zero, 0, jnp.inf))
    return jnp.where((p != p) | (q != q), jnp.nan, result)


def kl_div(p: Any, q: Any) -> Array:
    """p log(p / q) - p + q, the term of the Kullback-Leibler divergence."""
    p, q = _operands("kl_div", p, q)
    return rel_entr(p, q) - p + q


# ---------------------------------------------------------------- error functions, normal integral
def _unary(name: str, function: Callable, summary: str) -> Callable:
    def apply(x: Any) -> Array:
        (x,) = _operands(name, x)
        return function(x)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = summary
    return apply


erf = _unary("erf", lax.erf, "The error function (DLMF 7.2).")
erfc = _unary("erfc", lax.erfc, "1 - erf(x), accurate where that is small (DLMF 7.2).")
erfinv = _unary("erfinv", lax.erf_inv, "The inverse of `erf` on (-1, 1).")
gammaln = _unary("gammaln", lax.lgamma, "log |gamma(x)| (DLMF 5.2).")
digamma = _unary("digamma", lax.digamma, "The derivative of `gammaln` (DLMF 5.2).")
psi = digamma
i0e = _unary("i0e", lax.bessel_i0e, "exp(-|x|) I0(x), the scaled modified Bessel function.")
i1e = _unary("i1e", lax.bessel_i1e, "exp(-|x|) I1(x), the scaled modified Bessel function.")
i0 = _unary(
    "i0", lambda x: jnp.exp(jnp.abs(x)) * lax.bessel_i0e(x), "The modified Bessel function I0."
)
i1 = _unary(
    "i1", lambda x: jnp.exp(jnp.abs(x)) * lax.bessel_i1e(x), "The modified Bessel function I1."
)


def ndtr(x: Any) -> Array:
    """The integral of the standard normal density up to x.

    Example:
        >>> ndtr(jnp.array([0.]))
        Array([0.5], dtype=float32)
    """
    (x,) = _operands("ndtr", x)
    return 0.5 * lax.erfc(x * -math.sqrt(0.5))


def log_ndtr(x: Any) -> Array:
    """The logarithm of `ndtr`, accurate also far to the left (DLMF 7.12.1)."""
    (x,) = _operands("log_ndtr", x)
    # Left of the cut the asymptotic series is at rounding error, and right of it erfc is normal.
    double = x.dtype == np.float64
    cut = -20.0 if double else -9.0
    far = x < cut
    near = jnp.where(far, 0, x)
    upper = lax.erfc(jnp.abs(near) * math.sqrt(0.5)) * 0.5
    body = jnp.where(near > 0, jnp.log1p(-upper), jnp.log(upper))
    t = jnp.where(far, x, cut)
    square = 1 / (t * t)
    series, term = 1.0, 1.0
    for k in range(1, 11 if double else 5):
        term = term * square * -(2 * k - 1)
        series = series + term
    tail = -0.5 * t * t - jnp.log(-t) - 0.5 * math.log(2 * math.pi) + jnp.log(series)
    return jnp.where(far, tail, body)


def ndtri(p: Any) -> Array:
    """The inverse of `ndtr`, by Newton's method on its logarithm."""
    (p,) = _operands("ndtri", p)
    upper = p > 0.5
    small = jnp.where(upper, 1 - p, p)  # by symmetry only the left half is needed
    inside = small > 0
    safe = jnp.where(inside, small, 0.25)
    # Where erf_inv runs out of digits, start from the tail's asymptote.
    u = jnp.sqrt(-2 * jnp.log(safe))
    asymptote = -(u - jnp.log(u * math.sqrt(2 * math.pi)) / u)
    tail = safe < 1e-3
    x = jnp.where(tail, asymptote, lax.erf_inv(2 * jnp.where(tail, 0.25, safe) - 1) * math.sqrt(2))
    for _ in range(4):  # Newton's method on log ndtr, which is concave
        density = -0.5 * x * x - 0.5 * math.log(2 * math.pi)
        log_p = log_ndtr(x)
        x = x - (log_p - jnp.log(safe)) * jnp.exp(log_p - density)
    x = jnp.where(upper, -x, x)
    ends = jnp.where(small == 0, jnp.where(upper, jnp.inf, -jnp.inf), jnp.nan)
    return jnp.where(inside, x, ends)


# ---------------------------------------------------------------- gamma and beta functions
def gammasgn(x: Any) -> Array:
    """The sign of gamma(x); NaN at negative integers (DLMF 5.2)."""
    (x,) = _operands("gammasgn", x)
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
    (x,) = _operands("gamma", x)
    return gammasgn(x) * jnp.exp(lax.lgamma(x))


def factorial(n: Any, exact: bool = False) -> Array:
    """n!, as gamma(n + 1); 0 for negative n."""
    if exact:
        raise NotImplementedError("factorial: exact=True is not there; use math.factorial.")
    (n,) = _operands("factorial", n)
    return jnp.where(n < 0, 0, jnp.exp(lax.lgamma(jnp.where(n < 0, 0, n) + 1)))


def poch(z: Any, m: Any) -> Array:
    """gamma(z + m) / gamma(z), the rising factorial (DLMF 5.2.5)."""
    z, m = _operands("poch", z, m)
    sign = gammasgn(z + m) * gammasgn(z)
    value = sign * jnp.exp(lax.lgamma(z + m) - lax.lgamma(z))
    return jnp.where(m == 0, 1, value)


def betaln(a: Any, b: Any) -> Array:
    """log |beta(a, b)| (DLMF 5.12)."""
    a, b = _operands("betaln", a, b)
    return lax.lgamma(a) + lax.lgamma(b) - lax.lgamma(a + b)


def beta(a: Any, b: Any) -> Array:
    """gamma(a) gamma(b) / gamma(a + b) (DLMF 5.12)."""
    a, b = _operands("beta", a, b)
    sign = gammasgn(a) * gammasgn(b) * gammasgn(a + b)
    return sign * jnp.exp(betaln(a, b))


def betainc(a: Any, b: Any, x: Any) -> Array:
    """The regularized incomplete beta function (DLMF 8.17); no derivative in a and b."""
    return lax.betainc(*_operands("betainc", a, b, x))


def gammainc(a: Any, x: Any) -> Array:
    """The regularized lower incomplete gamma function P(a, x) (DLMF 8.2); no derivative in a."""
    return lax.igamma(*_operands("gammainc", a, x))


def gammaincc(a: Any, x: Any) -> Array:
    """The regularized upper incomplete gamma function Q(a, x) (DLMF 8.2); no derivative in a."""
    return lax.igammac(*_operands("gammaincc", a, x))


def polygamma(n: Any, x: Any) -> Array:
    """The n-th derivative of `digamma` (DLMF 5.15); no derivative in n."""
    return lax.polygamma(*_operands("polygamma", n, x))


def multigammaln(a: Any, d: int) -> Array:
    """The logarithm of the multivariate gamma function of dimension d (DLMF 35.3)."""
    (a,) = _operands("multigammaln", a)
    result = lax.lgamma(a) + d * (d - 1) / 4 * math.log(math.pi)
    for j in range(1, d):
        result = result + lax.lgamma(a - j / 2)
    return result


def zeta(x: Any, q: Any = None) -> Array:
    """The Hurwitz zeta function (DLMF 25.11), Riemann's for q = 1; no derivative in x."""
    return lax.zeta(*_operands("zeta", x, 1.0 if q is None else q))
