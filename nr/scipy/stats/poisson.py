"""The Poisson distribution."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["cdf", "logpmf", "pmf"]


def logpmf(k: Any, mu: Any, loc: Any = 0) -> Array:
    """The logarithm of the probability of k, for mean mu."""
    k, mu, loc = arguments("poisson.logpmf", k, mu, loc)
    n = k - loc
    possible = (n >= 0) & (n == jnp.floor(n))
    safe = jnp.where(possible, n, 0)
    body = special.xlogy(safe, mu) - lax.lgamma(safe + 1) - mu
    return jnp.where(possible, body, -jnp.inf)


def pmf(k: Any, mu: Any, loc: Any = 0) -> Array:
    """The probability of k."""
    return jnp.exp(logpmf(k, mu, loc))


def cdf(k: Any, mu: Any, loc: Any = 0) -> Array:
    """The probability of at most k."""
    k, mu, loc = arguments("poisson.cdf", k, mu, loc)
    n = jnp.floor(k - loc)
    return jnp.where(n < 0, 0, special.gammaincc(jnp.where(n < 0, 0, n) + 1, mu))
