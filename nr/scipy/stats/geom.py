"""The geometric distribution: trials until the first success of probability p."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["logpmf", "pmf"]


def logpmf(k: Any, p: Any, loc: Any = 0) -> Array:
    """The logarithm of the probability that the k-th trial is the first success."""
    k, p, loc = arguments("geom.logpmf", k, p, loc)
    y = k - loc
    possible = (y >= 1) & (y == jnp.floor(y))
    safe = jnp.where(possible, y, 1)
    body = special.xlog1py(safe - 1, -p) + jnp.log(p)
    return jnp.where(possible, body, -jnp.inf)


def pmf(k: Any, p: Any, loc: Any = 0) -> Array:
    """The probability of k."""
    return jnp.exp(logpmf(k, p, loc))
