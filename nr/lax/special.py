"""Special functions, element by element: error functions, gamma, beta, Bessel and zeta functions.

Derivatives are those of the NIST Digital Library of Mathematical Functions (DLMF), whose sections
the comments name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nr.core.array import Array
from nr.core.dtypes import FLOATING
from nr.core.tracing import Primitive, typeof
from nr.lax.elementwise import add, div, eq, exp, log, log1p, mul, neg, sign, square, sub
from nr.lax.rules import (
    broadcast_scalar,
    const_like,
    elementwise,
    operands,
)
from nr.lax.select import select


def _no_derivative(op: str, name: str) -> Callable:
    """The derivative of an operand that has none: an error that says so."""

    def derivative(*args: Any) -> Any:
        raise NotImplementedError(
            f"{op}: the derivative with respect to {name} is not defined. "
            f"Hold {name} constant, as with nr.lax.stop_gradient({name})."
        )

    return derivative


def _bind(op: str, primitive: Primitive, *xs: Any) -> Array:
    arrays = operands(op, *xs)
    # The rows would round to integers if they got integers: check before, not after a failure.
    primitive.abstract_eval(*[typeof(x) for x in arrays])
    return primitive.bind(*arrays)


def _scaled(x: Any, factor: float) -> Any:
    return mul(x, const_like(x, factor))


# ---------------------------------------------------------------- error functions (DLMF 7.2)
_TWO_BY_SQRT_PI = 2 / math.sqrt(math.pi)


def _gaussian(x: Any, scale: float) -> Any:
    return _scaled(exp(neg(square(x))), scale)


erf_p = elementwise("erf", FLOATING, lambda t, y, x: mul(t, _gaussian(x, _TWO_BY_SQRT_PI)))
erfc_p = elementwise("erfc", FLOATING, lambda t, y, x: mul(t, _gaussian(x, -_TWO_BY_SQRT_PI)))
erf_inv_p = elementwise(
    "erf_inv", FLOATING, lambda t, y, x: mul(t, _scaled(exp(square(y)), 1 / _TWO_BY_SQRT_PI))
)


def erf(x: Any) -> Array:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    Example:
        >>> import nr
        >>> nr.lax.erf(nr.numpy.array([0., 1.]))
        Array([0.       , 0.8427008], dtype=float32)
    """
    return _bind("erf", erf_p, x)


def erfc(x: Any) -> Array:
    """1 - erf(x), accurate where that is small."""
    return _bind("erfc", erfc_p, x)


def erf_inv(x: Any) -> Array:
    """The inverse of erf on (-1, 1)."""
    return _bind("erf_inv", erf_inv_p, x)


# ---------------------------------------------------------------- gamma functions (DLMF 5.2, 5.15)
def _trigamma(x: Any) -> Any:
    return polygamma(const_like(x, 1), x)


lgamma_p = elementwise("lgamma", FLOATING, lambda t, y, x: mul(t, digamma(x)))
digamma_p = elementwise("digamma", FLOATING, lambda t, y, x: mul(t, _trigamma(x)))
polygamma_p = elementwise(
    "polygamma",
    FLOATING,
    _no_derivative("polygamma", "m"),
    lambda t, out, m, x: mul(t, polygamma(add(m, const_like(m, 1)), x)),
)


def lgamma(x: Any) -> Array:
    """log |gamma(x)|."""
    return _bind("lgamma", lgamma_p, x)


def digamma(x: Any) -> Array:
    """The derivative of lgamma."""
    return _bind("digamma", digamma_p, x)


def polygamma(m: Any, x: Any) -> Array:
    """The m-th derivative of digamma; m holds integers in the floating dtype of x.

    It has no derivative with respect to m: asking for it raises NotImplementedError.
    """
    return _bind("polygamma", polygamma_p, m, x)


# ---------------------------------------------------------------- incomplete gamma (DLMF 8.2, 8.8)
def _power(x: Any, exponent: Any) -> Any:
    """The logarithm of x^exponent, 0 where the exponent is 0 even if x is."""
    shape = max(typeof(x).shape, typeof(exponent).shape, key=len)
    x, exponent = broadcast_scalar(x, shape), broadcast_scalar(exponent, shape)
    safe = select(eq(exponent, const_like(exponent, 0)), const_like(x, 1), x)
    return mul(exponent, log(safe))


def _gamma_density(a: Any, x: Any) -> Any:
    """x^(a-1) exp(-x) / gamma(a)."""
    return exp(sub(sub(_power(x, sub(a, const_like(a, 1))), x), lgamma(a)))


igamma_p = elementwise(
    "igamma",
    FLOATING,
    lambda t, out, a, x: mul(t, igamma_grad_a(a, x)),
    lambda t, out, a, x: mul(t, _gamma_density(a, x)),
)
igammac_p = elementwise(
    "igammac",
    FLOATING,
    lambda t, out, a, x: neg(mul(t, igamma_grad_a(a, x))),
    lambda t, out, a, x: neg(mul(t, _gamma_density(a, x))),
)
igamma_grad_a_p = elementwise(
    "igamma_grad_a",
    FLOATING,
    _no_derivative("igamma_grad_a", "a"),
    # that, along a, of the density
    lambda t, out, a, x: mul(t, mul(_gamma_density(a, x), _log_less_mean(a, x))),
)
random_gamma_grad_p = elementwise(
    "random_gamma_grad",
    FLOATING,
    _no_derivative("random_gamma_grad", "a"),
    # out is the ratio of igamma_grad_a to the density, but for the sign
    lambda t, out, a, x: neg(mul(t, add(_log_less_mean(a, x), mul(out, _log_slope(a, x))))),
)


def _log_less_mean(a: Any, x: Any) -> Any:
    """log x less its mean; the derivative along a of the density's logarithm."""
    return sub(log(x), digamma(a))


def _log_slope(a: Any, x: Any) -> Any:
    """The derivative along x of the density's logarithm."""
    return sub(div(sub(a, const_like(a, 1)), x), const_like(x, 1))


def igamma(a: Any, x: Any) -> Array:
    """The regularized lower incomplete gamma function P(a, x), for a > 0 and x >= 0.

    Example:
        >>> import nr
        >>> nr.lax.igamma(1.0, 1.0)
        Array(0.63212055, dtype=float32, weak_type=True)
        >>> nr.grad(nr.lax.igamma)(1.0, 1.0)
        Array(-0.4317297, dtype=float32, weak_type=True)
    """
    return _bind("igamma", igamma_p, a, x)


def igammac(a: Any, x: Any) -> Array:
    """The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return _bind("igammac", igammac_p, a, x)


def igamma_grad_a(a: Any, x: Any) -> Array:
    """The derivative of `igamma` with respect to a; it has none with respect to a itself."""
    return _bind("igamma_grad_a", igamma_grad_a_p, a, x)


def random_gamma_grad(a: Any, x: Any) -> Array:
    """The derivative, along a, of a sample x of the gamma distribution with parameter a.

    It is that of the x at which P(a, x) keeps its value: how a sample moves that is made by the
    inverse of P. Source: M. Figurnov, S. Mohamed, A. Mnih (2018), "Implicit reparameterization
    gradients".

    Example:
        >>> import nr
        >>> nr.lax.random_gamma_grad(1.0, 1.0)
        Array(1.173563, dtype=float32, weak_type=True)
    """
    return _bind("random_gamma_grad", random_gamma_grad_p, a, x)


# ---------------------------------------------------------------- incomplete beta (DLMF 8.17)
def _beta_density(a: Any, b: Any, x: Any) -> Any:
    """x^(a-1) (1-x)^(b-1) / beta(a, b)."""
    one = const_like(x, 1)
    log_beta = sub(add(lgamma(a), lgamma(b)), lgamma(add(a, b)))
    powers = add(_power(x, sub(a, one)), _power_of_complement(x, sub(b, one)))
    return exp(sub(powers, log_beta))


def _power_of_complement(x: Any, exponent: Any) -> Any:
    """The logarithm of (1-x)^exponent, 0 where the exponent is 0 even if x is 1."""
    shape = max(typeof(x).shape, typeof(exponent).shape, key=len)
    x, exponent = broadcast_scalar(x, shape), broadcast_scalar(exponent, shape)
    zero = const_like(x, 0)
    return mul(exponent, log1p(neg(select(eq(exponent, zero), zero, x))))


regularized_incomplete_beta_p = elementwise(
    "regularized_incomplete_beta",
    FLOATING,
    _no_derivative("betainc", "a"),
    _no_derivative("betainc", "b"),
    lambda t, out, a, b, x: mul(t, _beta_density(a, b, x)),
)


def betainc(a: Any, b: Any, x: Any) -> Array:
    """The regularized incomplete beta function, for a, b > 0 and x in [0, 1].

    It has no derivative with respect to a or b: asking for one raises NotImplementedError.
    """
    return _bind("betainc", regularized_incomplete_beta_p, a, b, x)


# ---------------------------------------------------------------- Bessel functions (DLMF 10.29)
def _i1e_derivative(t: Any, out: Any, x: Any) -> Any:
    # I1' = I0 - I1 / x, and exp(-|x|) brings -sign(x) I1e; at 0 the limit is 1/2.
    at_zero = eq(x, const_like(x, 0))
    safe = select(at_zero, const_like(x, 1), x)
    slope = sub(bessel_i0e(x), mul(out, add(sign(x), div(const_like(x, 1), safe))))
    return mul(t, select(at_zero, const_like(x, 0.5), slope))


bessel_i0e_p = elementwise(
    "bessel_i0e",
    FLOATING,
    lambda t, out, x: mul(t, sub(bessel_i1e(x), mul(sign(x), out))),
)
bessel_i1e_p = elementwise("bessel_i1e", FLOATING, _i1e_derivative)


def bessel_i0e(x: Any) -> Array:
    """exp(-|x|) times the modified Bessel function of the first kind of order 0."""
    return _bind("bessel_i0e", bessel_i0e_p, x)


def bessel_i1e(x: Any) -> Array:
    """exp(-|x|) times the modified Bessel function of the first kind of order 1."""
    return _bind("bessel_i1e", bessel_i1e_p, x)


# ---------------------------------------------------------------- zeta (DLMF 25.11)
zeta_p = elementwise(
    "zeta",
    FLOATING,
    _no_derivative("zeta", "x"),
    lambda t, out, x, q: neg(mul(t, mul(x, zeta(add(x, const_like(x, 1)), q)))),
)


def zeta(x: Any, q: Any) -> Array:
    """The Hurwitz zeta function, the sum of (k + q)^-x over k = 0, 1, ..., for x > 1.

    It has no derivative with respect to x: asking for it raises NotImplementedError.
    """
    return _bind("zeta", zeta_p, x, q)
