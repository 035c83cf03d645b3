"""The beta-binomial distribution: successes in n trials, whose probability is beta distributed."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["logpmf", "pmf"]


def logpmf(k: Any, n: Any, a: Any, b: Any, loc: Any = 0) -> Array:
    """The logarithm of the probability of k successes in n trials, for shapes a and b."""
    k, n, a, b, loc = arguments("betabinom.logpmf", k, n, a, b, loc)
    y = k - loc
    possible = (y >= 0) & (y <= n) & (y == jnp.floor(y))
    safe = jnp.where(possible, y, 0)
    ways = -jnp.log1p(n) - special.betaln(n - safe + 1, safe + 1)
    body = ways + special.betaln(safe + a, n - safe + b) - special.betaln(a, b)
    valid = (n >= 0) & (a > 0) & (b > 0)
    return jnp.where(valid, jnp.where(possible, body, -jnp.inf), jnp.nan)


def pmf(k: Any, n: Any, a: Any, b: Any, loc: Any = 0) -> Array:
    """The probability of k."""
    return jnp.exp(logpmf(k, n, a, b, loc))
