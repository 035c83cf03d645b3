"""Errors of estimates."""

from __future__ import annotations

import math
from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.numpy.promotion import promote_inexact

__all__ = ["sem"]


def sem(
    a: Any,
    axis: int | None = 0,
    ddof: int = 1,
    nan_policy: str = "propagate",
    *,
    keepdims: bool = False,
) -> Array:
    """The standard error of the mean: the standard deviation over the root of the count.

    Args:
        a: an array.
        axis: along which; None means all of it.
        ddof: what is taken off the count in the variance.
        nan_policy: "propagate" gives NaN where there is one, "omit" leaves NaNs out.
        keepdims: keep the axis, with extent 1.

    Example:
        >>> import nr.numpy as jnp
        >>> sem(jnp.array([1., 1., 4., 4.]), ddof=0)
        Array(0.75, dtype=float32)
    """
    if nan_policy not in ("propagate", "omit"):
        raise ValueError(f'sem: nan_policy must be "propagate" or "omit"; got {nan_policy!r}.')
    (a,) = promote_inexact("sem", a)
    if nan_policy == "omit":
        count = jnp.sum(~jnp.isnan(a), axis, keepdims=keepdims)
        return jnp.nanstd(a, axis, ddof=ddof, keepdims=keepdims) / jnp.sqrt(count.astype(a.dtype))
    return jnp.std(a, axis, ddof=ddof, keepdims=keepdims) / math.sqrt(
        a.size if axis is None else a.shape[axis]
    )
