"""Bessel functions."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.special.operands import operands, unary

__all__ = ["bessel_jn", "i0", "i0e", "i1", "i1e"]

i0e = unary("i0e", lax.bessel_i0e, "exp(-|x|) I0(x), the scaled modified Bessel function.")
i1e = unary("i1e", lax.bessel_i1e, "exp(-|x|) I1(x), the scaled modified Bessel function.")
i0 = unary("i0", jnp.i0, "The modified Bessel function I0.")
i1 = unary(
    "i1", lambda x: jnp.exp(jnp.abs(x)) * lax.bessel_i1e(x), "The modified Bessel function I1."
)


def bessel_jn(z: Any, *, v: int, n_iter: int = 50) -> Array:
    """The Bessel functions J0 to Jv, by recurrence downwards (J. C. P. Miller; DLMF 3.6).

    Args:
        z: real numbers, in absolute value well below v + n_iter.
        v: the highest order.
        n_iter: how far above it the recurrence begins.

    Returns:
        ``[v + 1, *z.shape]``.

    Example:
        >>> bessel_jn(0.0, v=1)
        Array([1., 0.], dtype=float32)
    """
    (z,) = operands("bessel_jn", z)
    if v < 0 or n_iter < 1:
        raise ValueError(
            f"bessel_jn: v must not be negative, and n_iter positive; got {v} and {n_iter}."
        )
    # next to 0 the recurrence overflows in one step, and all but the first terms are 0
    limits = jnp.finfo(z.dtype)
    tiny = jnp.abs(z) < float(limits.smallest_normal) ** 0.25
    inverse = 2 / jnp.where(tiny, 1, z)
    large = float(limits.max) ** 0.25
    rows = jnp.arange(v + 1).reshape(-1, *(1,) * z.ndim)

    def step(carry: Any, order: Any) -> Any:
        """From the orders above and here to the one below; the sum of odd orders' lower ones."""
        above, here, total, kept = carry
        below = order.astype(z.dtype) * inverse * here - above
        total = total + jnp.where(order % 2 == 1, below, 0)
        kept = jnp.where(rows == order - 1, below, kept)
        shrink = jnp.where(jnp.abs(below) > large, jnp.full_like(z, 1 / large), 1)
        return (here * shrink, below * shrink, total * shrink, kept * shrink), None

    zeros = jnp.zeros_like(z)
    init = (zeros, jnp.full_like(z, 1 / large), zeros, jnp.zeros((v + 1, *z.shape), z.dtype))
    (_, zeroth, total, kept), _ = lax.scan(step, init, jnp.arange(v + n_iter, 0, -1))
    norm = 2 * total - zeroth  # J0 + 2 J2 + 2 J4 + ... = 1 (DLMF 10.12.4)
    half = jnp.where(tiny, z, 0) / 2
    leading = jnp.where(rows == 0, 1, jnp.where(rows == 1, half, half * half / 2 * (rows == 2)))
    return jnp.where(tiny, leading, kept / norm)
