"""The Pareto distribution, whose density falls as a power."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.stats._shared import arguments

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def _above(op: str, x: Any, b: Any, loc: Any, scale: Any) -> tuple[Array, Array, Array, Array]:
    """b, log((x - loc) / scale) where that is positive, whether it is, and the scale."""
    x, b, loc, scale = arguments(op, x, b, loc, scale)
    z = (x - loc) / scale
    inside = z >= 1
    return b, jnp.log(jnp.where(inside | (z != z), z, 1)), inside | (z != z), scale


def logpdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density at x, for the exponent b."""
    b, log_z, inside, scale = _above("pareto.logpdf", x, b, loc, scale)
    return jnp.where(inside, jnp.log(b) - (b + 1) * log_z - jnp.log(scale), -jnp.inf)


def pdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, b, loc, scale))


def logsf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of more than x."""
    b, log_z, inside, _ = _above("pareto.logsf", x, b, loc, scale)
    return jnp.where(inside, -b * log_z, 0)


def sf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of more than x."""
    return jnp.exp(logsf(x, b, loc, scale))


def cdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of at most x."""
    return -jnp.expm1(logsf(x, b, loc, scale))


def logcdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of at most x."""
    return jnp.log1p(-sf(x, b, loc, scale))


def ppf(q: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The x below which a fraction q lies."""
    q, b, loc, scale = arguments("pareto.ppf", q, b, loc, scale)
    return loc + scale * jnp.exp(-jnp.log1p(-q) / b)
