"""Student's t distribution."""

from __future__ import annotations

import math
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.stats._shared import arguments

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density at x, for df degrees of freedom."""
    x, df, loc, scale = arguments("t.logpdf", x, df, loc, scale)
    z = (x - loc) / scale
    norm = lax.lgamma((df + 1) / 2) - lax.lgamma(df / 2) - 0.5 * jnp.log(df * math.pi)
    return norm - jnp.log(scale) - (df + 1) / 2 * jnp.log1p(z * z / df)


def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, df, loc, scale))
