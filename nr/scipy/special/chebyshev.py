"""Sums of Chebyshev polynomials, in which the special functions here are expanded.

The expansions' coefficients were computed with mpmath, as discrete cosine transforms in 40 digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array

__all__ = ["chebyshev_on", "chebyshev_sum", "gap_and_log_ratio", "upper_digits"]


def chebyshev_sum(coefficients: Sequence[float], t: Array) -> Array:
    """The sum of c[k] T_k(t) for t in [-1, 1], by Clenshaw's recurrence (DLMF 3.11.15).

    Coefficients below the dtype's rounding errors are left out.
    """
    least = float(jnp.finfo(t.dtype).eps) / 64 * max(abs(c) for c in coefficients)
    count = max(k for k, c in enumerate(coefficients) if abs(c) > least) + 1
    double = 2 * t
    after, current = jnp.zeros_like(t), jnp.zeros_like(t)
    for c in reversed(coefficients[1:count]):
        after, current = current, double * current - after + c
    return t * current - after + coefficients[0]


def chebyshev_on(coefficients: Sequence[float], low: float, high: float, x: Array) -> Array:
    """A function on [low, high] that is expanded there."""
    return chebyshev_sum(coefficients, (2 * x - (low + high)) / (high - low))


def gap_and_log_ratio(x: Array, root: tuple[float, float]) -> tuple[Array, Array]:
    """x - r and log(x / r), accurate next to a number r that is given in two parts."""
    high = x.dtype.type(root[0])
    low = x.dtype.type(root[0] - np.float64(high) + root[1])
    gap = (x - high) - low
    close = jnp.abs(gap) < 0.2
    near = jnp.log1p(jnp.where(close, gap, 0) / root[0])
    return gap, jnp.where(close, near, jnp.log(x / root[0]))


def upper_digits(x: Array) -> Array:
    """x rounded to so few digits that its square is exact."""
    bits = {4: (8, 11), 8: (11, 25)}.get(x.dtype.itemsize)
    return lax.reduce_precision(x, *bits) if bits else x
