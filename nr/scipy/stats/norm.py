"""The normal distribution."""

from __future__ import annotations

import math
from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments, standard

__all__ = ["cdf", "isf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density at x, with mean loc and standard deviation scale.

    Example:
        >>> logpdf(jnp.array([0.]))
        Array([-0.9189385], dtype=float32)
    """
    z, scale = standard("norm.logpdf", x, loc, scale)
    return -0.5 * z * z - 0.5 * math.log(2 * math.pi) - jnp.log(scale)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of at most x."""
    return special.ndtr(standard("norm.cdf", x, loc, scale)[0])


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of at most x."""
    return special.log_ndtr(standard("norm.logcdf", x, loc, scale)[0])


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of more than x."""
    return special.ndtr(-standard("norm.sf", x, loc, scale)[0])


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of more than x."""
    return special.log_ndtr(-standard("norm.logsf", x, loc, scale)[0])


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The x below which a fraction q lies."""
    q, loc, scale = arguments("norm.ppf", q, loc, scale)
    return special.ndtri(q) * scale + loc


def isf(q: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The x above which a fraction q lies."""
    q, loc, scale = arguments("norm.isf", q, loc, scale)
    return loc - special.ndtri(q) * scale
