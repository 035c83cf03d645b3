"""The Bernoulli distribution: 1 with probability p, else 0."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["cdf", "logpmf", "pmf", "ppf"]


def logpmf(k: Any, p: Any, loc: Any = 0) -> Array:
    """The logarithm of the probability of k."""
    k, p, loc = arguments("bernoulli.logpmf", k, p, loc)
    n = k - loc
    possible = (n == 0) | (n == 1)
    safe = jnp.where(possible, n, 0)
    body = special.xlogy(safe, p) + special.xlog1py(1 - safe, -p)
    return jnp.where(possible, body, -jnp.inf)


def pmf(k: Any, p: Any, loc: Any = 0) -> Array:
    """The probability of k."""
    return jnp.exp(logpmf(k, p, loc))


def cdf(k: Any, p: Any) -> Array:
    """The probability of at most k."""
    k, p = arguments("bernoulli.cdf", k, p)
    return jnp.where(k < 0, 0, jnp.where(k < 1, 1 - p, 1))


def ppf(q: Any, p: Any) -> Array:
    """The least k with a probability of at least q of at most k."""
    q, p = arguments("bernoulli.ppf", q, p)
    return jnp.where((q >= 0) & (q <= 1), jnp.where(q <= 1 - p, 0, 1), jnp.nan)
