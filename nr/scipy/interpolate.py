"""Interpolation on grids, with the names of jax.scipy.interpolate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr import numpy as jnp
from nr.core.array import Array
from nr.lax.rules import operand
from nr.numpy.promotion import promote_inexact

__all__ = ["RegularGridInterpolator"]

_METHODS = ("linear", "nearest")


class RegularGridInterpolator:
    """A function known at the points of a grid, whose lines need not be evenly spaced.

    It is a function ``f(xi, method=None)``: xi is an array ``[..., n]`` of places, or a tuple of n
    arrays of coordinates that are broadcast; the result is ``[..., *values.shape[n:]]``.

    Args:
        points: for each of n axes the coordinates of the grid's lines, ascending.
        values: ``[m1, ..., mn, ...]``, the values at the points.
        method: "linear" or "nearest".
        bounds_error: must be False.
        fill_value: the value outside of the grid; None extrapolates.

    Raises:
        ValueError: for an unknown method, or if points and values do not fit.
        NotImplementedError: for bounds_error.

    Example:
        >>> import nr.numpy as jnp
        >>> f = RegularGridInterpolator([jnp.array([0., 1., 3.])], jnp.array([0., 10., 30.]))
        >>> f(jnp.array([[0.5], [2.0], [4.0]]))
        Array([ 5., 20., nan], dtype=float32)
    """

    def __init__(
        self,
        points: Sequence[Any],
        values: Any,
        method: str = "linear",
        bounds_error: bool = False,
        fill_value: Any = np.nan,
    ) -> None:
        op = "RegularGridInterpolator"
        _check_method(op, method)
        if bounds_error:
            raise NotImplementedError(
                f"{op}: bounds_error must be False; compare places with the grid's ends."
            )
        (self.values,) = promote_inexact(op, values)
        self.grid = tuple(operand(op, p) for p in points)
        if len(self.grid) > self.values.ndim:
            raise ValueError(
                f"{op}: values of rank {len(self.grid)} or more were expected, as there are so "
                f"many points; got {self.values.aval}."
            )
        for d, p in enumerate(self.grid):
            if p.shape != (self.values.shape[d],):
                raise ValueError(
                    f"{op}: points[{d}] must be [{self.values.shape[d]}], as values are "
                    f"{self.values.aval}; got {p.aval}."
                )
        self.method = method
        self.fill_value = fill_value

    def __call__(self, xi: Any, method: str | None = None) -> Array:
        op = "RegularGridInterpolator"
        method = self.method if method is None else method
        _check_method(op, method)
        n = len(self.grid)
        if isinstance(xi, tuple):
            xi = jnp.stack(jnp.broadcast_arrays(*xi), axis=-1)
        (xi,) = promote_inexact(op, xi)
        if not xi.ndim or xi.shape[-1] != n:
            raise ValueError(f"{op}: places must be [..., {n}]; got {xi.aval}.")
        flat = xi.reshape(-1, n)
        places = [_place(p, flat[:, d], method) for d, p in enumerate(self.grid)]
        rest = (1,) * (self.values.ndim - n)
        total: Any = 0
        for corner in itertools.product(*places):
            weight: Any = 1
            for _, part in corner:
                weight = weight * part
            value = self.values[tuple([index for index, _ in corner])]
            total = total + value * jnp.reshape(weight, (-1, *rest))
        if self.fill_value is not None:
            outside: Any = False
            for d, p in enumerate(self.grid):
                outside = outside | (flat[:, d] < p[0]) | (flat[:, d] > p[-1])
            total = jnp.where(outside.reshape(-1, *rest), self.fill_value, total)
        nan = jnp.isnan(flat).any(-1).reshape(-1, *rest)
        total = jnp.where(nan, jnp.nan, total)
        return total.reshape(*xi.shape[:-1], *self.values.shape[n:])


def _check_method(op: str, method: str) -> None:
    if method not in _METHODS:
        raise ValueError(f'{op}: method must be "linear" or "nearest"; got {method!r}.')


def _place(points: Array, x: Array, method: str) -> list[tuple[Array, Any]]:
    """Along an axis: the indices of lines around places, and the weights of these."""
    last = points.shape[0] - 1
    if not last:
        return [(jnp.zeros(x.shape, "int32"), jnp.ones_like(x))]
    low = jnp.clip(jnp.searchsorted(points, x, side="right") - 1, 0, last - 1)
    left, right = points[low], points[low + 1]
    part = (x - left) / (right - left)
    if method == "nearest":
        return [(jnp.where(part <= 0.5, low, low + 1), jnp.ones_like(x))]
    return [(low, 1 - part), (low + 1, part)]
