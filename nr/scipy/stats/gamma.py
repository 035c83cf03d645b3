"""The gamma distribution."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def logpdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density at x, for shape a."""
    x, a, loc, scale = arguments("gamma.logpdf", x, a, loc, scale)
    z = (x - loc) / scale
    safe = jnp.where(z >= 0, z, 1)
    body = special.xlogy(a - 1, safe) - safe - lax.lgamma(a) - jnp.log(scale)
    return jnp.where(z >= 0, body, jnp.where(z != z, z, -jnp.inf))


def pdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, a, loc, scale))


def _scaled(op: str, x: Any, a: Any, loc: Any, scale: Any) -> tuple[Array, Array]:
    x, a, loc, scale = arguments(op, x, a, loc, scale)
    return a, jnp.maximum((x - loc) / scale, 0)


def cdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of at most x; no derivative in a."""
    return special.gammainc(*_scaled("gamma.cdf", x, a, loc, scale))


def logcdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of at most x."""
    return jnp.log(cdf(x, a, loc, scale))


def sf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of more than x; no derivative in a."""
    return special.gammaincc(*_scaled("gamma.sf", x, a, loc, scale))


def logsf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of more than x."""
    return jnp.log(sf(x, a, loc, scale))
