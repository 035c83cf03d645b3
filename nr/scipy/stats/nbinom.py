"""The negative binomial distribution: failures before the n-th success of probability p."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["logpmf", "pmf"]


def logpmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Array:
    """The logarithm of the probability of k failures before n successes of probability p."""
    k, n, p, loc = arguments("nbinom.logpmf", k, n, p, loc)
    y = k - loc
    possible = (y >= 0) & (y == jnp.floor(y))
    safe = jnp.where(possible, y, 0)
    ways = lax.lgamma(safe + n) - lax.lgamma(safe + 1) - lax.lgamma(n)
    body = ways + special.xlogy(n, p) + special.xlog1py(safe, -p)
    return jnp.where(possible, body, -jnp.inf)


def pmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Array:
    """The probability of k."""
    return jnp.exp(logpmf(k, n, p, loc))
