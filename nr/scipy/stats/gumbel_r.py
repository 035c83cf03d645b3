"""The Gumbel distribution of the largest of many numbers."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.stats._shared import arguments, standard

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density at x."""
    z, scale = standard("gumbel_r.logpdf", x, loc, scale)
    return -z - jnp.exp(-z) - jnp.log(scale)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, loc, scale))


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of at most x."""
    z, _ = standard("gumbel_r.logcdf", x, loc, scale)
    return -jnp.exp(-z)


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of at most x."""
    return jnp.exp(logcdf(x, loc, scale))


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of more than x."""
    return -jnp.expm1(logcdf(x, loc, scale))


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of more than x."""
    z, _ = standard("gumbel_r.logsf", x, loc, scale)
    small = jnp.exp(-z)  # the logarithm of the other side, with a minus
    return jnp.where(small < 0.5, jnp.log(-jnp.expm1(-small)), jnp.log1p(-jnp.exp(-small)))


def ppf(p: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The x below which a fraction p lies."""
    p, loc, scale = arguments("gumbel_r.ppf", p, loc, scale)
    return loc + scale * -jnp.log(-jnp.log(p))
