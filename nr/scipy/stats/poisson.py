"""The Poisson distribution."""

from __future__ import annotations

import math
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["cdf", "entropy", "logpmf", "pmf"]


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


# The entropy of large means: 1/2 log(2 pi e mu) and these times mu^-1, mu^-2, ...: the expectation
# of Stirling's series, expanded at mu (R. J. Evans and J. Boersma (1988), "The entropy of a Poisson
# distribution", SIAM Review 30(2)).
_ENTROPY = (
    -1 / 12, -1 / 24, -19 / 360, -9 / 80, -863 / 2520, -1375 / 1008, -33953 / 5040, -57281 / 1440,
)  # fmt: skip
_LARGE_MEAN = 60.0
_TERMS = 160  # those beyond are below rounding errors, for means up to that


def entropy(mu: Any, loc: Any = 0) -> Array:
    """The entropy, in nats, for mean mu; NaN for a negative one."""
    mu, _ = arguments("poisson.entropy", mu, loc)
    large = mu > _LARGE_MEAN
    x = jnp.where(large, mu, _LARGE_MEAN)
    series = jnp.zeros_like(x)
    for coefficient in reversed(_ENTROPY):
        series = (series + coefficient) / x
    far = 0.5 * jnp.log(2 * math.pi * math.e * x) + series
    small = jnp.where(large | (mu < 0), 1, mu)[..., None]
    k = jnp.arange(_TERMS, dtype=mu.dtype)
    log_p = logpmf(k, small)
    near = -jnp.sum(jnp.where(log_p > -jnp.inf, jnp.exp(log_p) * log_p, 0), -1)
    return jnp.where(large, far, jnp.where(mu >= 0, near, jnp.nan))
