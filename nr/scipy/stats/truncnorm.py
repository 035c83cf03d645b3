"""The normal distribution, cut off on both sides."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats import norm
from nr.scipy.stats._shared import arguments

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def _log_mass(a: Array, b: Array) -> Array:
    """The logarithm of the standard normal probability between a and b, accurate in both tails."""
    left, right = b <= 0, a > 0
    # By symmetry an interval to the right of 0 is one to the left of it.
    low = jnp.where(right, -b, jnp.where(left, a, -1))
    high = jnp.where(right, -a, jnp.where(left, b, -1))
    log_low, log_high = special.log_ndtr(low), special.log_ndtr(high)
    gap = jnp.where(log_low < log_high, log_low - log_high, -jnp.inf)
    tail = log_high + jnp.log1p(-jnp.exp(gap))
    tail = jnp.where(low < high, tail, -jnp.inf)
    middle = jnp.log1p(-special.ndtr(a) - special.ndtr(-b))
    return jnp.where(left | right, tail, middle)


def _standard(op: str, *xs: Any) -> list[Array]:
    """(x - loc) / scale, a, b and the scale."""
    x, a, b, loc, scale = arguments(op, *xs)
    return [(x - loc) / scale, a, b, scale]


def logpdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density at x.

    Args:
        x: where.
        a: where it is cut off on the left, in standard deviations from the mean.
        b: where it is cut off on the right.
        loc: the mean before that.
        scale: the standard deviation before that.
    """
    z, a, b, scale = _standard("truncnorm.logpdf", x, a, b, loc, scale)
    inside = (z >= a) & (z <= b)
    body = norm.logpdf(jnp.where(inside, z, 0)) - _log_mass(a, b) - jnp.log(scale)
    body = jnp.where(inside, body, jnp.where(z != z, z, -jnp.inf))
    return jnp.where(a < b, body, jnp.nan)


def pdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, a, b, loc, scale))


def _log_part(op: str, upper: bool, *xs: Any) -> Array:
    """The logarithm of the probability of what is below x, or above."""
    z, a, b, _ = _standard(op, *xs)
    inside = (z > a) & (z < b)
    safe = jnp.where(inside, z, (a + b) / 2)
    below, above = _log_mass(a, safe), _log_mass(safe, b)
    own, other = (above, below) if upper else (below, above)
    total = _log_mass(a, b)
    # near 1 it is what is left of the other part that has the digits
    rest = jnp.exp(other - total)
    log_part = jnp.where(rest < 0.5, jnp.log1p(-jnp.where(rest < 0.5, rest, 0)), own - total)
    ends = (z <= a) if upper else (z >= b)
    log_part = jnp.where(inside, log_part, jnp.where(ends, 0, jnp.where(z != z, z, -jnp.inf)))
    return jnp.where(a < b, log_part, jnp.nan)


def logcdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of at most x."""
    return _log_part("truncnorm.logcdf", False, x, a, b, loc, scale)


def cdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of at most x."""
    return jnp.exp(logcdf(x, a, b, loc, scale))


def logsf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the probability of more than x."""
    return _log_part("truncnorm.logsf", True, x, a, b, loc, scale)


def sf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The probability of more than x."""
    return jnp.exp(logsf(x, a, b, loc, scale))
