"""Statistics of order and frequency: `rankdata` and `mode`."""

from __future__ import annotations

from typing import Any, NamedTuple

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.lax.rules import canonical_axis, operand

__all__ = ["ModeResult", "mode", "rankdata"]


def _check_policy(op: str, nan_policy: str) -> None:
    if nan_policy not in ("propagate", "omit", "raise"):
        raise ValueError(
            f'{op}: nan_policy must be "propagate", "omit" or "raise"; got {nan_policy!r}.'
        )
    if nan_policy != "propagate":
        raise NotImplementedError(f'{op}: nan_policy must be "propagate"; got {nan_policy!r}.')


def _starts(ordered: Array) -> Array:
    """Whether each element of the last, sorted axis differs from the one before."""
    first = jnp.ones_like(ordered[..., :1], "bool")
    return jnp.concatenate([first, ordered[..., 1:] != ordered[..., :-1]], axis=-1)


def rankdata(
    a: Any, method: str = "average", *, axis: int | None = None, nan_policy: str = "propagate"
) -> Array:
    """The ranks of elements, from 1 for the least.

    Args:
        a: an array.
        method: which rank equal elements have: "average", "min" or "max" of the ranks they take up,
            "dense" for "min" among different elements, "ordinal" for ranks in their order.
        axis: along which; None means the array as a vector.
        nan_policy: must be "propagate": where there is a NaN, all ranks are.

    Returns:
        Ranks of the default float, shaped like a.

    Example:
        >>> import nr.numpy as jnp
        >>> rankdata(jnp.array([3, 1, 3]))
        Array([2.5, 1. , 2.5], dtype=float32)
    """
    _check_policy("rankdata", nan_policy)
    if method not in ("average", "min", "max", "dense", "ordinal"):
        raise ValueError(
            f'rankdata: method must be "average", "min", "max", "dense" or "ordinal"; '
            f"got {method!r}."
        )
    x = operand("rankdata", a)
    dtype = config.default_float
    x = jnp.atleast_1d(x.reshape(-1) if axis is None else x)
    axis = canonical_axis("rankdata", -1 if axis is None else axis, x.ndim)
    x = jnp.moveaxis(x, axis, -1)
    if not x.size:
        return jnp.moveaxis(x.astype(dtype), -1, axis)
    n = x.shape[-1]
    order = jnp.argsort(x, axis=-1, stable=True)
    place = jnp.argsort(order, axis=-1, stable=True)  # of each element, when sorted
    if method == "ordinal":
        ranks = (place + 1).astype(dtype)
    else:
        start = _starts(jnp.take_along_axis(x, order, axis=-1))
        group = jnp.cumsum(start, axis=-1) - 1
        if method == "dense":
            ranks = (group + 1).astype(dtype)
        else:
            at = jnp.arange(n, dtype=group.dtype)
            low = lax.cummax(jnp.where(start, at, 0), axis=x.ndim - 1)
            ends = jnp.concatenate([start[..., 1:], jnp.ones_like(start[..., :1])], axis=-1)
            high = lax.cummin(jnp.where(ends, at, n), axis=x.ndim - 1, reverse=True)
            low, high = low.astype(dtype) + 1, high.astype(dtype) + 1
            ranks = {"min": low, "max": high, "average": (low + high) / 2}[method]
        ranks = jnp.take_along_axis(ranks, place, axis=-1)
    if x.dtype in dtypes.INEXACT:
        ranks = jnp.where(jnp.isnan(x).any(-1, keepdims=True), jnp.nan, ranks)
    return jnp.moveaxis(ranks, -1, axis)


class ModeResult(NamedTuple):
    """The most frequent elements, and how often they occur."""

    mode: Array
    count: Array  # type: ignore[assignment]  # the name of a tuple's method, as in SciPy


def mode(
    a: Any, axis: int | None = 0, nan_policy: str = "propagate", keepdims: bool = False
) -> ModeResult:
    """The most frequent element, the least of those equally frequent, and how often it occurs.

    Args:
        a: an array.
        axis: along which; None means the array as a vector.
        nan_policy: must be "propagate"; NaNs count as equal, and as the largest.
        keepdims: keep the axis, with extent 1.

    Example:
        >>> import nr.numpy as jnp
        >>> mode(jnp.array([3, 1, 3]))
        ModeResult(mode=Array(3, dtype=int32), count=Array(2, dtype=int32))
    """
    _check_policy("mode", nan_policy)
    x = jnp.atleast_1d(operand("mode", a))
    rank = x.ndim
    if axis is None:
        x, axis = x.reshape(-1), 0
        lead = (1,) * rank
    else:
        axis = canonical_axis("mode", axis, rank)
        lead = None
    x = jnp.moveaxis(x, axis, -1)
    n = x.shape[-1]
    if not n:
        value = jnp.full(x.shape[:-1], jnp.nan, dtypes.to_inexact(x.dtype))
        count = jnp.zeros(x.shape[:-1], "int32")
    else:
        ordered = jnp.sort(x, axis=-1)
        start = _starts(ordered)
        if x.dtype in dtypes.INEXACT:  # all NaNs but the first are like the one before
            nan = jnp.isnan(ordered)
            start = start & ~(nan & jnp.roll(nan, 1, axis=-1)) | (jnp.arange(n) == 0)
        at = jnp.arange(n, dtype="int32")
        run = at - lax.cummax(jnp.where(start, at, 0), axis=x.ndim - 1) + 1
        best = jnp.argmax(run, axis=-1)[..., None]
        value = jnp.take_along_axis(ordered, best, axis=-1)[..., 0]
        count = jnp.take_along_axis(run, best, axis=-1)[..., 0]
    if keepdims:
        value, count = [
            y.reshape(lead) if lead is not None else jnp.expand_dims(y, axis)
            for y in (value, count)
        ]
    return ModeResult(value, count)
