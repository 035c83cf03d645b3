"""The multinomial distribution: how often each of several outcomes occurs in n trials."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.numpy.promotion import promote_inexact
from nr.scipy import special

__all__ = ["logpmf", "pmf"]


def logpmf(x: Any, n: Any, p: Any) -> Array:
    """The logarithm of the probability of the counts x.

    Args:
        x: ``[..., k]``, counts.
        n: ``[...]``, the number of trials.
        p: ``[..., k]``, probabilities, whose sum is 1.

    Returns:
        ``[...]``; minus infinity where the counts do not add up to n.
    """
    x, n, p = promote_inexact("multinomial.logpmf", x, n, p)
    possible = ((x >= 0) & (x == jnp.floor(x))).all(-1) & (jnp.sum(x, -1) == n)
    safe = jnp.maximum(x, 0)
    body = lax.lgamma(n + 1) + jnp.sum(special.xlogy(safe, p) - lax.lgamma(safe + 1), -1)
    return jnp.where(possible, body, -jnp.inf)


def pmf(x: Any, n: Any, p: Any) -> Array:
    """The probability of the counts x."""
    return jnp.exp(logpmf(x, n, p))
