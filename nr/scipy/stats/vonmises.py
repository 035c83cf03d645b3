"""The von Mises distribution of angles."""

from __future__ import annotations

import math
from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy import special
from nr.scipy.stats._shared import arguments

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, kappa: Any) -> Array:
    """The logarithm of the density at the angle x, for the concentration kappa."""
    x, kappa = arguments("vonmises.logpdf", x, kappa)
    half = jnp.sin(x / 2)
    return -2 * kappa * half * half - jnp.log(2 * math.pi * special.i0e(kappa))


def pdf(x: Any, kappa: Any) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, kappa))
