"""Fractional max pooling: windows at random distances, whole numbers only on average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr import random
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand_of
from nr.nn.spatial import extents, space_of

__all__ = ["fractional_max_pool"]


def fractional_max_pool(
    x: Any, window: Sequence[int], output_size: Sequence[int], *, key: Any
) -> Array:
    """Maxima of windows whose starts are spread over space, at distances that a key decides.

    Along an axis of n elements, with m windows of k elements and a number u in [0, 1), window i
    begins at ``floor((i + u) * a) - floor(u * a)``, ``a = (n - k) / (m - 1)``, the last at n - k.

    Args:
        x: [..., *space, C], of real numbers.
        window: how many elements there are in a window, for each spatial dimension.
        output_size: how many windows there are, likewise.
        key: for one u for each spatial dimension.

    Returns:
        [..., *output_size, C], of x's dtype.

    Raises:
        TypeError: x has too few dimensions, or too little space.
        ValueError: for an int as window, which leaves the rank open, or sizes that do not fit it.

    Source: Graham, "Fractional Max-Pooling", 2014, section 2.1: pseudorandom, overlapping regions.

    Example:
        >>> import nr
        >>> x = nr.numpy.arange(100.0).reshape(10, 10, 1)
        >>> y = nr.nn.fractional_max_pool(x, (2, 2), (7, 7), key=nr.random.key(0))
        >>> y.shape, y[-1, -1, 0]
        ((7, 7, 1), Array(99., dtype=float32))
    """
    op = "fractional_max_pool"
    x = operand_of(op, x, dtypes.REAL)
    sizes, counts = extents(op, "window", window), extents(op, "output_size", output_size)
    if len(sizes) != len(counts):
        raise ValueError(
            f'{op}: {len(sizes)} integers, one for each of "window", were required; got '
            f'{output_size!r} for "output_size".'
        )
    space = space_of(op, x, len(sizes))
    if any([k + m - 1 > n for n, k, m in zip(space, sizes, counts, strict=True)]):
        raise TypeError(
            f"{op}: space for {list(counts)} windows of {list(sizes)} elements was required; got "
            f'{x.aval} for "x". Each window begins one element or more after the one before.'
        )
    draws = random.uniform(key, (len(sizes),), np.float32)
    for i, (n, k, m) in enumerate(zip(space, sizes, counts, strict=True)):
        axis = x.ndim - 1 - len(sizes) + i
        places = _starts(draws[i], n, k, m)[:, None] + jnp.arange(k)
        taken = jnp.take(x, places, axis, mode="promise_in_bounds")
        x = jnp.max(taken, axis + 1)
    return x


def _starts(u: Array, n: int, k: int, m: int) -> Array:
    """Where m windows of k elements begin in n."""
    if m == 1:
        return jnp.array([n - k])
    distance = np.float32((n - k) / (m - 1))
    before = jnp.floor((jnp.arange(m - 1) + u) * distance) - jnp.floor(u * distance)
    return jnp.append(before.astype(np.int32), n - k)
