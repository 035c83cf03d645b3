"""The binomial distribution: successes in n trials of probability p."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["logpmf", "pmf"]


def logpmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Array:
    """The logarithm of the probability of k successes in n trials of probability p.

    Example:
        >>> pmf(jnp.array([0, 1, 2]), 2, 0.5).round(3)
        Array([0.25, 0.5 , 0.25], dtype=float32)
    """
    k, n, p, loc = arguments("binom.logpmf", k, n, p, loc)
    y = k - loc
    possible = (y >= 0) & (y <= n) & (y == jnp.floor(y))
    safe = jnp.where(possible, y, 0)
    ways = lax.lgamma(n + 1) - lax.lgamma(safe + 1) - lax.lgamma(n - safe + 1)
    body = ways + special.xlogy(safe, p) + special.xlog1py(n - safe, -p)
    valid = (n >= 0) & (p >= 0) & (p <= 1)
    return jnp.where(valid, jnp.where(possible, body, -jnp.inf), jnp.nan)


def pmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Array:
    """The probability of k."""
    return jnp.exp(logpmf(k, n, p, loc))
