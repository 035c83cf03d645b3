"""The logistic distribution."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments, standard

__all__ = ["cdf", "isf", "logpdf", "pdf", "ppf", "sf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density at x."""
    z, scale = standard("logistic.logpdf", x, loc, scale)
    z = jnp.abs(z)  # the density is even, and the exponential of -|z| can't overflow
    return -z - 2 * jnp.log1p(jnp.exp(-z)) - jnp.log(scale)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of at most x."""
    return special.expit(standard("logistic.cdf", x, loc, scale)[0])


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of more than x."""
    return special.expit(-standard("logistic.sf", x, loc, scale)[0])


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The x below which a fraction q lies."""
    q, loc, scale = arguments("logistic.ppf", q, loc, scale)
    return special.logit(q) * scale + loc


def isf(q: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The x above which a fraction q lies."""
    q, loc, scale = arguments("logistic.isf", q, loc, scale)
    return loc - special.logit(q) * scale
