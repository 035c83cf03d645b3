"""The Dirichlet distribution of vectors of probabilities."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.numpy.promotion import promote_inexact
from nr.scipy import special

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, alpha: Any) -> Array:
    """The logarithm of the density at x.

    Args:
        x: ``[k, ...]``, probabilities along the first axis; or ``[k - 1, ...]`` without the last
            of them, which is what is left of 1.
        alpha: ``[k]``, concentrations.

    Returns:
        An array of the shape of x without its first axis; minus infinity where x is negative or
        has another sum than 1.

    Raises:
        ValueError: for other shapes.
    """
    x, alpha = promote_inexact("dirichlet.logpdf", x, alpha)
    if alpha.ndim != 1 or not x.ndim or x.shape[0] not in (alpha.size, alpha.size - 1):
        raise ValueError(
            f"dirichlet.logpdf: alpha must be [k], and x [k, ...] or [k - 1, ...]; got {x.aval} "
            f"for alpha {alpha.aval}."
        )
    if x.shape[0] < alpha.size:
        x = jnp.concatenate([x, 1 - jnp.sum(x, 0, keepdims=True)])
    norm = jnp.sum(lax.lgamma(alpha)) - lax.lgamma(jnp.sum(alpha))
    weights = alpha.reshape(-1, *(1,) * (x.ndim - 1)) - 1
    body = jnp.sum(special.xlogy(weights, x), 0) - norm
    tolerance = 10 * float(jnp.finfo(x.dtype).eps)
    inside = (x > 0).all(0) & (jnp.abs(jnp.sum(x, 0) - 1) <= tolerance)
    return jnp.where(inside, body, -jnp.inf)


def pdf(x: Any, alpha: Any) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, alpha))
