"""The uniform distribution on [loc, loc + scale]."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.stats._shared import arguments, standard

__all__ = ["cdf", "logpdf", "pdf", "ppf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density at x."""
    z, scale = standard("uniform.logpdf", x, loc, scale)
    return jnp.where((z >= 0) & (z <= 1), -jnp.log(scale), jnp.where(z != z, z, -jnp.inf))


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of at most x."""
    return jnp.clip(standard("uniform.cdf", x, loc, scale)[0], 0, 1)


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The x below which a fraction q lies."""
    q, loc, scale = arguments("uniform.ppf", q, loc, scale)
    return jnp.where((q >= 0) & (q <= 1), loc + q * scale, jnp.nan)
