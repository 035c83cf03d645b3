"""Trends of signals: means and straight lines, fitted by least squares and taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.lax.rules import canonical_axis
from nr.numpy.promotion import promote_inexact

__all__ = ["detrend"]


def detrend(
    data: Any,
    axis: int = -1,
    type: str = "linear",  # noqa: A002 - SciPy's name
    bp: int | Sequence[int] | np.ndarray = 0,
    overwrite_data: None = None,
) -> Array:
    """The data without their mean, or without the straight line that fits them best.

    Args:
        data: an array.
        axis: the axis along which the signals lie.
        type: "linear" (or "l") for lines, "constant" (or "c") for the mean.
        bp: places along the axis where a new line begins.
        overwrite_data: accepted for SciPy's sake.

    Raises:
        ValueError: for an unknown type, or places that are not within the data.

    Example:
        >>> import nr.numpy as jnp
        >>> detrend(jnp.array([1., 2., 3.]), type="constant")
        Array([-1.,  0.,  1.], dtype=float32)
    """
    if type not in ("linear", "l", "constant", "c"):
        raise ValueError(f'detrend: type must be "linear" or "constant"; got {type!r}.')
    (x,) = promote_inexact("detrend", data)
    axis = canonical_axis("detrend", axis, x.ndim)
    if type in ("constant", "c"):
        return x - jnp.mean(x, axis, keepdims=True)
    n = x.shape[axis]
    places = sorted({0, n, *np.atleast_1d(np.asarray(bp, np.int64)).tolist()})
    if places[0] < 0 or places[-1] > n:
        raise ValueError(f"detrend: places from 0 to {n} were expected; got bp={bp}.")
    pieces = [
        _without_line(lax.slice_in_dim(x, start, end, axis=axis), axis)
        for start, end in zip(places, places[1:])
    ]
    return lax.concatenate(pieces, axis)


def _without_line(x: Array, axis: int) -> Array:
    n = x.shape[axis]
    x = x - jnp.mean(x, axis, keepdims=True)
    places = np.arange(n) - (n - 1) / 2
    places = places / max(float(np.linalg.norm(places)), 0.5)
    time = jnp.asarray(places, x.dtype).reshape(-1, *(1,) * (x.ndim - 1 - axis))
    return x - jnp.sum(x * time, axis, keepdims=True) * time
