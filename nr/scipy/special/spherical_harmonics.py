"""Spherical harmonics."""

from __future__ import annotations

import math
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.numpy.creation import known_scalar
from nr.numpy.promotion import broadcast_arrays_list, promote_inexact

__all__ = ["sph_harm_y"]


def sph_harm_y(
    n: Any, m: Any, theta: Any, phi: Any, diff_n: int | None = None, n_max: int | None = None
) -> Array:
    """The spherical harmonics, of norm 1 on the sphere (DLMF 14.30.1).

    Args:
        n: integers, the degrees, not negative.
        m: integers, the orders; 0 is given where the absolute value is larger than n.
        theta: angles from the pole, from 0 to pi.
        phi: angles around the axis.
        diff_n: must be None.
        n_max: the largest degree; it must be given where n is traced.

    Returns:
        Complex numbers, of the shape that all arguments are broadcast to.

    Example:
        >>> sph_harm_y(0, 0, 0.0, 0.0).real.round(4)
        Array(0.2821, dtype=float32)
    """
    op = "sph_harm_y"
    if diff_n is not None:
        raise NotImplementedError(f"{op}: diff_n must be None; got {diff_n}. Use nr.jvp.")
    n, m = operand(op, n), operand(op, m)
    if n.dtype not in dtypes.INTEGER or m.dtype not in dtypes.INTEGER:
        raise TypeError(f"{op}: degrees and orders must be integers; got {n.aval} and {m.aval}.")
    if n_max is None:
        n_max = known_scalar(op, "the largest degree", jnp.max(n, initial=0))
    theta, phi = promote_inexact(op, theta, phi)
    n, m, theta, phi = broadcast_arrays_list(op, n, m, theta, phi)
    order = jnp.abs(m)
    legendre = _normalized_legendre(n, order, jnp.cos(theta), jnp.sin(theta), n_max)
    # conj(Y(n, m)) = (-1)^m Y(n, -m)
    legendre = jnp.where((m < 0) & (order % 2 == 1), -legendre, legendre)
    angle = m.astype(phi.dtype) * phi
    return lax.complex(legendre * jnp.cos(angle), legendre * jnp.sin(angle))


def _normalized_legendre(n: Array, m: Array, x: Array, sine: Array, n_max: int) -> Array:
    """Legendre functions with the harmonics' norm, by recurrence in the degree (DLMF 14.10.3)."""
    order = m.astype(x.dtype)
    start = jnp.full_like(x, 0.5 / math.sqrt(math.pi))
    for k in range(1, n_max + 1):
        start = jnp.where(k <= m, start * sine * -math.sqrt((2 * k + 1) / (2 * k)), start)

    def step(pair: Any, k: Any) -> Any:
        """From the degrees m + k - 2 and m + k - 1 to m + k, where that is at most n."""
        before, last = pair
        degree = order + k.astype(x.dtype)
        square = degree * degree - order * order
        a = jnp.sqrt((4 * degree * degree - 1) / square)
        below = degree - 1
        b = jnp.sqrt((below * below - order * order) / (4 * below * below - 1))
        further = a * (x * last - jnp.where(k > 1, b, 0) * before)
        more = m + k <= n
        return (jnp.where(more, last, before), jnp.where(more, further, last)), None

    (_, value), _ = lax.scan(step, (jnp.zeros_like(x), start), jnp.arange(1, n_max + 1))
    return jnp.where(m <= n, value, 0)
