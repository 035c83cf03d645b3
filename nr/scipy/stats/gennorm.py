"""The generalized normal distribution, whose density falls like exp(-|x|^beta)."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["cdf", "logpdf", "pdf"]


def logpdf(x: Any, beta: Any) -> Array:
    """The logarithm of the density at x, for shape beta."""
    x, beta = arguments("gennorm.logpdf", x, beta)
    return jnp.log(beta / 2) - lax.lgamma(1 / beta) - jnp.abs(x) ** beta


def pdf(x: Any, beta: Any) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, beta))


def cdf(x: Any, beta: Any) -> Array:
    """The probability of at most x; no derivative in beta."""
    x, beta = arguments("gennorm.cdf", x, beta)
    size = jnp.where(x <= 0, -x, x)  # its slope at 0 is that of the branch below
    tail = 0.5 * special.gammaincc(1 / beta, size**beta)
    return jnp.where(x <= 0, tail, 1 - tail)
