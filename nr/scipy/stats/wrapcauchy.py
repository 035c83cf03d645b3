"""The Cauchy distribution wrapped around the circle."""

from __future__ import annotations

import math
from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.stats._shared import arguments

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, c: Any) -> Array:
    """The logarithm of the density at the angle x in [0, 2 pi], for c between 0 and 1."""
    x, c = arguments("wrapcauchy.logpdf", x, c)
    half = jnp.sin(x / 2)
    body = jnp.log1p(-c * c) - jnp.log((1 - c) ** 2 + 4 * c * half * half) - math.log(2 * math.pi)
    inside = (x >= 0) & (x <= 2 * math.pi)
    body = jnp.where(inside, body, jnp.where(x != x, x, -jnp.inf))
    return jnp.where((c > 0) & (c < 1), body, jnp.nan)


def pdf(x: Any, c: Any) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, c))
