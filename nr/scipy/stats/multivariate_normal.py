"""The normal distribution of vectors."""

from __future__ import annotations

import math
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.numpy.promotion import promote_inexact

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, mean: Any, cov: Any, allow_singular: None = None) -> Array:
    """The logarithm of the density at x.

    Args:
        x: ``[..., n]``.
        mean: ``[..., n]``; or a number, if cov is one: then elements of x are independent.
        cov: ``[..., n, n]``, positive definite; or a number, which stands for its multiple of the
            identity if mean is a vector.
        allow_singular: must be None.

    Example:
        >>> logpdf(jnp.zeros(2), jnp.zeros(2), jnp.eye(2)).round(3)
        Array(-1.838, dtype=float32)
    """
    op = "multivariate_normal.logpdf"
    if allow_singular is not None:
        raise NotImplementedError(f"{op}: allow_singular must be None; got {allow_singular}.")
    x, mean, cov = promote_inexact(op, x, mean, cov)
    log_two_pi = math.log(2 * math.pi)
    if not mean.ndim:
        if cov.ndim:
            raise ValueError(f'{op}: "cov" must be a number, as "mean" is one; got {cov.aval}.')
        return -0.5 * ((x - mean) ** 2 / cov + log_two_pi + jnp.log(cov))
    n = mean.shape[-1]
    if not cov.ndim:
        y = x - mean
        return -0.5 * (jnp.sum(y * y, -1) / cov + n * (log_two_pi + jnp.log(cov)))
    if cov.ndim < 2 or cov.shape[-2:] != (n, n):
        raise ValueError(f'{op}: "cov" must be [..., {n}, {n}]; got {cov.aval}.')
    low = jnp.linalg.cholesky(cov)
    y = x - mean
    lead = lax.broadcast_shapes(y.shape[:-1], low.shape[:-2])
    white = lax.linalg.triangular_solve(
        jnp.broadcast_to(low, (*lead, n, n)),
        jnp.broadcast_to(y, (*lead, n))[..., None],
        left_side=True,
        lower=True,
    )[..., 0]
    log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(low, axis1=-2, axis2=-1)), -1)
    return -0.5 * (jnp.sum(white * white, -1) + n * log_two_pi + log_det)


def pdf(x: Any, mean: Any, cov: Any) -> Array:
    """The density at x."""
    return jnp.exp(logpdf(x, mean, cov))
