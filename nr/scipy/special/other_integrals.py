"""Spence's dilogarithm and Owen's T function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.special.operands import operands, unary
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["owens_t", "spence"]

# ---------------------------------------------------------------- dilogarithm
# B_2n / (2n + 1)!
_BERNOULLI = (
    1 / 36, -1 / 3600, 1 / 211680, -1 / 10886400, 1 / 526901760, -691 / 16999766784000,
    1 / 1120863744000, -3617 / 181400588328960000, 43867 / 97072790126247936000,
    -174611 / 16860010916664115200000,
)  # fmt: skip


def _from_logarithm(u: Array) -> Array:
    """The dilogarithm of 1 - exp(-u), for |u| up to log 2 (DLMF 25.12.2, integrated by parts)."""
    square = u * u
    terms = jnp.zeros_like(u)
    for coefficient in reversed(_BERNOULLI):
        terms = (terms + coefficient) * square
    return u * (1 - u / 4 + terms)


@custom_jvp
def _spence(x: Array) -> Array:
    large = x > 2
    y = jnp.where(large, 1 / jnp.where(large, x, 1), x)  # spence(x) + spence(1/x) = -log(x)^2 / 2
    small = y < 0.5
    middle = _from_logarithm(0 - jnp.log(jnp.where(small, 1, y)))
    # spence(y) + spence(1 - y) = pi^2 / 6 - log(y) log(1 - y)  (DLMF 25.12.6)
    part = jnp.where(small, y, 0.25)
    log_part = jnp.log(part)
    complement = jnp.log1p(-part)
    product = jnp.where(part == 0, 0, log_part * complement)
    near_zero = math.pi**2 / 6 - product - _from_logarithm(-complement)
    value = jnp.where(small, near_zero, middle)
    log_x = jnp.log(jnp.where(large, x, 1))
    return jnp.where(x < 0, jnp.nan, jnp.where(large, -0.5 * log_x * log_x - value, value))


def _slope(x: Array) -> Array:
    """log(x) / (1 - x)."""
    gap = x - 1
    close = jnp.abs(gap) < 1e-3
    series = -(1 - gap / 2 * (1 - gap * 2 / 3 * (1 - gap * 3 / 4 * (1 - gap * 4 / 5))))
    return jnp.where(close, series, jnp.log(x) / jnp.where(close, 1, -gap))


_spence.defjvps(lambda t, y, x: t * _slope(x))
spence = unary(
    "spence",
    _spence,
    "The integral of log(t) / (1 - t) from 1 to x: the dilogarithm of 1 - x (DLMF 25.12).",
)


# ---------------------------------------------------------------- Owen's T
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


def _owens_integral(h: Array, a: Array) -> Array:
    """T(h, a) for h >= 0 and 0 <= a <= 1, by Gauss's rule."""
    # further out the integrand is below rounding errors
    end = jnp.minimum(a, 9.5 / jnp.maximum(h, 1))
    total = jnp.zeros_like(h)
    for node, weight in zip(_NODES, _WEIGHTS):
        x = end * (0.5 * (1 + float(node)))
        square = x * x
        total = total + float(weight) * jnp.exp(-0.5 * h * h * square) / (1 + square)
    return total * end * jnp.exp(-0.5 * h * h) * (0.25 / math.pi)


@custom_jvp
def _owens_t(h: Array, a: Array) -> Array:
    size, slope = jnp.abs(h), jnp.abs(a)
    steep = slope > 1
    scaled = jnp.where(steep & (size > 0), size * slope, size)
    inner = _owens_integral(
        jnp.where(jnp.isinf(scaled), 0, scaled),
        jnp.where(steep, 1 / jnp.where(steep, slope, 1), slope),
    )
    # D. Owen (1956), "Tables for computing bivariate normal probabilities", equation 2.3, with
    # probabilities of the right side
    right, right_scaled = [0.5 * lax.erfc(x * math.sqrt(0.5)) for x in (size, scaled)]
    swapped = 0.5 * (right + right_scaled) - right * right_scaled - inner
    value = jnp.where(steep, swapped, inner)
    value = jnp.where(jnp.isinf(size) & (a == a), 0, value)
    return jnp.where(a < 0, -value, value)


_owens_t.defjvps(
    lambda t, y, h, a: (
        -t * 0.5 / math.sqrt(2 * math.pi) * jnp.exp(-0.5 * h * h) * lax.erf(a * h * math.sqrt(0.5))
    ),
    lambda t, y, h, a: t * jnp.exp(-0.5 * h * h * (1 + a * a)) / (2 * math.pi * (1 + a * a)),
)


def owens_t(h: Any, a: Any) -> Array:
    """The probability of X > h and 0 < Y < a X for independent standard normal X and Y.

    Example:
        >>> owens_t(0.0, 1.0).round(4)
        Array(0.125, dtype=float32)
    """
    return _owens_t(*operands("owens_t", h, a))
