"""The beta distribution."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def logpdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density at x, for shapes a and b."""
    x, a, b, loc, scale = arguments("beta.logpdf", x, a, b, loc, scale)
    z = (x - loc) / scale
    inside = (z >= 0) & (z <= 1)
    safe = jnp.where(inside, z, 0.5)
    body = special.xlogy(a - 1, safe) + special.xlog1py(b - 1, -safe)
    body = body - special.betaln(a, b) - jnp.log(scale)
    return jnp.where(inside, body, jnp.where(z != z, z, -jnp.inf))


def pdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, a, b, loc, scale))


def cdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of at most x; no derivative in a and b."""
    x, a, b, loc, scale = arguments("beta.cdf", x, a, b, loc, scale)
    return special.betainc(a, b, jnp.clip((x - loc) / scale, 0, 1))


def logcdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of at most x."""
    return jnp.log(cdf(x, a, b, loc, scale))


def sf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of more than x; no derivative in a and b."""
    x, a, b, loc, scale = arguments("beta.sf", x, a, b, loc, scale)
    return special.betainc(b, a, 1 - jnp.clip((x - loc) / scale, 0, 1))


def logsf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of more than x."""
    return jnp.log(sf(x, a, b, loc, scale))
