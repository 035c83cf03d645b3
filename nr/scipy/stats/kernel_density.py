"""`gaussian_kde`: the density of data as a mean of normal densities around each point.

D. W. Scott (1992), Multivariate Density Estimation, chapter 6; B. W. Silverman (1986), Density
Estimation for Statistics and Data Analysis, section 4.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr import random as nr_random
from nr.core.array import Array
from nr.core.tree_nodes import register_pytree_node_class
from nr.numpy.promotion import promote_inexact
from nr.scipy import special

__all__ = ["gaussian_kde"]


@register_pytree_node_class
class gaussian_kde:  # noqa: N801 - SciPy's name
    """A density estimated from data; a function of points, and a pytree.

    Args:
        dataset: ``[d, n]``, n points with d coordinates; or ``[n]``.
        bw_method: the factor on the data's standard deviation: "scott" (the default), "silverman",
            a number, or a function of this object.
        weights: ``[n]``; by default all are equal.

    Attributes:
        neff: how many points of equal weight are worth as much.
        dataset: ``[d, n]``.
        weights: ``[n]``, with sum 1.
        covariance: ``[d, d]``, of the normal density around each point.
        inv_cov: its inverse.

    Example:
        >>> import nr.numpy as jnp
        >>> density = gaussian_kde(jnp.array([-1., 0., 1.]))
        >>> bool(jnp.argmax(density(jnp.array([-2., 0., 2.]))) == 1)
        True
    """

    neff: Array
    dataset: Array
    weights: Array
    covariance: Array
    inv_cov: Array

    def __init__(
        self,
        dataset: Any,
        bw_method: str | float | Array | Callable[[Any], Any] | None = None,
        weights: Any = None,
    ) -> None:
        op = "gaussian_kde"
        (data,) = promote_inexact(op, dataset)
        data = jnp.atleast_2d(data)
        if data.ndim != 2 or data.shape[1] < 2:
            raise ValueError(
                f"{op}: [d, n] or [n] with n > 1 was expected; got {data.aval} as dataset."
            )
        n = data.shape[1]
        if weights is None:
            weights = jnp.full((n,), 1 / n, data.dtype)
        else:
            data, weights = promote_inexact(op, data, weights)
            if weights.shape != (n,):
                raise ValueError(f'{op}: "weights" must be [{n}]; got {weights.aval}.')
            weights = weights / jnp.sum(weights)
        self.dataset, self.weights = data, weights
        self.neff = 1 / jnp.sum(weights * weights)
        factor = self._factor(bw_method)
        spread = jnp.atleast_2d(jnp.cov(data, rowvar=True, bias=False, aweights=weights))
        self.covariance = spread * factor**2
        self.inv_cov = jnp.linalg.inv(spread) / factor**2

    def _factor(self, method: Any) -> Any:
        if method is None or (isinstance(method, str) and method == "scott"):
            return self.neff ** (-1 / (self.d + 4))
        if isinstance(method, str) and method == "silverman":
            return (self.neff * (self.d + 2) / 4) ** (-1 / (self.d + 4))
        if callable(method):
            return method(self)
        if isinstance(method, str) or jnp.ndim(method):
            raise ValueError(
                f'gaussian_kde: bw_method must be "scott", "silverman", a number or a function; '
                f"got {method!r}."
            )
        return method

    def tree_flatten(self) -> tuple[tuple[Array, ...], None]:
        return (self.neff, self.dataset, self.weights, self.covariance, self.inv_cov), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Any) -> gaussian_kde:
        new = object.__new__(cls)
        new.neff, new.dataset, new.weights, new.covariance, new.inv_cov = children
        return new

    @property
    def d(self) -> int:
        """The number of coordinates."""
        return self.dataset.shape[0]

    @property
    def n(self) -> int:
        """The number of points."""
        return self.dataset.shape[1]

    # ------------------------------------------------------------ densities
    def _points(self, op: str, points: Any) -> Array:
        points, _ = promote_inexact(f"gaussian_kde.{op}", points, self.dataset)
        points = jnp.atleast_2d(points)
        if points.ndim == 2 and points.shape[0] == 1 and points.shape[1] == self.d:
            points = points.T  # one point
        if points.ndim != 2 or points.shape[0] != self.d:
            raise ValueError(
                f"gaussian_kde.{op}: points [{self.d}, m] were expected; got {points.aval}."
            )
        return points

    def logpdf(self, x: Any) -> Array:
        """The logarithm of the density at points ``[d, m]``: ``[m]``."""
        points = self._points("logpdf", x)
        return _log_mixture(self.dataset, self.weights, self.covariance, points)

    def evaluate(self, points: Any) -> Array:
        """The density at points ``[d, m]``: ``[m]``."""
        return jnp.exp(self.logpdf(points))

    __call__ = pdf = evaluate

    # ------------------------------------------------------------ integrals
    def integrate_gaussian(self, mean: Any, cov: Any) -> Array:
        """The integral of the density times a normal density of mean ``[d]`` and cov ``[d, d]``."""
        mean, cov = promote_inexact("gaussian_kde.integrate_gaussian", mean, cov)
        mean, cov = jnp.atleast_1d(mean), jnp.atleast_2d(cov)
        if mean.shape != (self.d,) or cov.shape != (self.d, self.d):
            raise ValueError(
                f"gaussian_kde.integrate_gaussian: mean [{self.d}] and cov [{self.d}, {self.d}] "
                f"were expected; got {mean.aval} and {cov.aval}."
            )
        total = self.covariance + cov
        return jnp.exp(_log_mixture(self.dataset, self.weights, total, mean[:, None])[0])

    def integrate_box_1d(self, low: Any, high: Any) -> Array:
        """The probability between two numbers, for data of one coordinate."""
        if self.d != 1:
            raise ValueError(f"gaussian_kde.integrate_box_1d: d must be 1; got {self.d}.")
        low, high, points = promote_inexact(
            "gaussian_kde.integrate_box_1d", low, high, self.dataset[0]
        )
        width = jnp.sqrt(self.covariance[0, 0])
        above, below = special.ndtr((high - points) / width), special.ndtr((low - points) / width)
        return jnp.sum(self.weights * (above - below))

    def integrate_kde(self, other: gaussian_kde) -> Array:
        """The integral of the product of two such densities."""
        if other.d != self.d:
            raise ValueError(
                f"gaussian_kde.integrate_kde: densities of one d were expected; got {self.d} "
                f"and {other.d}."
            )
        total = self.covariance + other.covariance
        at_points = jnp.exp(_log_mixture(self.dataset, self.weights, total, other.dataset))
        return jnp.sum(other.weights * at_points)

    def integrate_box(self, low_bounds: Any, high_bounds: Any, maxpts: Any = None) -> Array:
        raise NotImplementedError(
            "gaussian_kde.integrate_box: only boxes of one coordinate have their integral; use "
            "integrate_box_1d."
        )

    def set_bandwidth(self, bw_method: Any = None) -> None:
        raise NotImplementedError(
            "gaussian_kde.set_bandwidth: densities do not change. Make one with the bw_method."
        )

    # ------------------------------------------------------------ samples
    def resample(self, key: Any, shape: tuple[int, ...] = ()) -> Array:
        """Samples ``[d, *shape]`` from the density."""
        chosen_key, normal_key = nr_random.split(key)
        chosen = nr_random.choice(chosen_key, self.n, shape=shape, p=self.weights)
        noise = nr_random.normal(normal_key, (*shape, self.d), self.dataset.dtype)
        noise = noise @ jnp.linalg.cholesky(self.covariance).T
        return jnp.moveaxis(noise + self.dataset.T[chosen], -1, 0)


def _log_mixture(centers: Array, weights: Array, covariance: Array, points: Array) -> Array:
    """The logarithm of the weighted mean of normal densities around centers, at points."""
    d = centers.shape[0]
    low = jnp.linalg.cholesky(covariance)
    both = lax.linalg.triangular_solve(
        low, jnp.concatenate([centers, points], axis=1), left_side=True, lower=True
    )
    white_centers, white_points = both[:, : centers.shape[1]], both[:, centers.shape[1] :]
    gaps = white_points[:, :, None] - white_centers[:, None, :]
    energy = 0.5 * jnp.sum(gaps * gaps, axis=0)
    norm = 0.5 * d * math.log(2 * math.pi) + jnp.sum(jnp.log(jnp.diagonal(low)))
    return special.logsumexp(-energy, axis=1, b=weights) - norm
