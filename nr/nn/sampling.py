"""`grid_sample` and `affine_grid`: space sampled at coordinates that are arrays."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.shape import stop_gradient
from nr.nn.spatial import extents, shape_text
from nr.numpy.promotion import promote_inexact

__all__ = ["SampleMode", "SamplePadding", "affine_grid", "grid_sample"]

SampleMode = Literal["nearest", "linear", "cubic"]
SamplePadding = Literal["zeros", "border", "reflection"]

# For each tap along a dimension its place, a floating integer, and its weight.
Taps = list[tuple[Array, Array | float]]


def affine_grid(theta: Any, size: Sequence[int], *, align_corners: bool = False) -> Array:
    """Coordinates for `grid_sample` that turn, scale and move space.

    Args:
        theta: [..., r, r + 1], maps of (x, y, 1), for volumes (x, y, z, 1), to coordinates.
        size: the r extents of the result's space.
        align_corners: as for `grid_sample`.

    Returns:
        [..., *size, r].

    Raises:
        TypeError: theta has another shape.
        ValueError: for an int as size.

    Example:
        >>> import nr
        >>> identity = nr.numpy.eye(2, 3)
        >>> nr.nn.affine_grid(identity, (2, 2))[0]
        Array([[-0.5, -0.5],
               [ 0.5, -0.5]], dtype=float32)

    Source: Jaderberg et al., "Spatial Transformer Networks", 2015.
    """
    op = "affine_grid"
    (theta,) = promote_inexact(op, theta)
    size = extents(op, "size", size)
    rank = len(size)
    if theta.shape[-2:] != (rank, rank + 1):
        raise TypeError(
            f"{op}: {shape_text([rank, rank + 1])} was required for size {size}; got {theta.aval} "
            f'for "theta".'
        )
    lines = [_normalized(n, align_corners) for n in size]
    mesh = np.meshgrid(*lines, indexing="ij")
    base = np.stack([*reversed(mesh), np.ones(size)], -1).reshape(-1, rank + 1)
    grid = base.astype(theta.dtype) @ theta.swapaxes(-1, -2)
    return grid.reshape(*theta.shape[:-2], *size, rank)


def _normalized(n: int, align_corners: bool) -> np.ndarray:
    """The coordinates, from -1 to 1, of the centers of n elements."""
    if align_corners:
        return np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
    return (2 * np.arange(n) + 1) / n - 1


def grid_sample(
    x: Any,
    grid: Any,
    *,
    mode: SampleMode = "linear",
    padding_mode: SamplePadding = "zeros",
    align_corners: bool = False,
) -> Array:
    """x interpolated at coordinates, of which it is differentiable, too.

    Args:
        x: [..., *space, C]; integers are made floating.
        grid: [..., *outputs, r] for r spatial dimensions, with the leading dimensions of x and r
            dimensions of outputs. Coordinates are in PyTorch's order, (x, y) for images and
            (x, y, z) for volumes, thus against the order of axes; -1 and 1 are the ends.
        mode: "nearest", "linear" or "cubic" (PyTorch calls linear in two and three dimensions
            "bilinear", and cubic in two "bicubic").
        padding_mode: what is beyond the ends: "zeros", "border" (the outermost element), or
            "reflection".
        align_corners: whether -1 and 1 are the centers of the outermost elements, not their edges.

    Returns:
        [..., *outputs, C].

    Raises:
        TypeError: shapes don't fit, or x is empty.
        ValueError: for an unknown mode.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[1.0], [2.0], [4.0]])
        >>> nr.nn.grid_sample(x, nr.numpy.array([[0.0], [0.5]]), align_corners=True)[:, 0]
        Array([2., 3.], dtype=float32)

    Source: Jaderberg et al., "Spatial Transformer Networks", 2015.
    """
    op = "grid_sample"
    x, grid = promote_inexact(op, x, grid)
    if mode not in ("nearest", "linear", "cubic"):
        raise ValueError(
            f'{op}: "nearest", "linear" or "cubic" was required; got {mode!r} for "mode".'
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            f'{op}: "zeros", "border" or "reflection" was required; got {padding_mode!r} for '
            f'"padding_mode".'
        )
    rank = grid.shape[-1] if grid.ndim else 0
    first = grid.ndim - 1 - rank
    if rank == 0 or first < 0 or x.ndim != grid.ndim or x.shape[:first] != grid.shape[:first]:
        raise TypeError(
            f"{op}: [..., *space, C] and [..., *outputs, r] with the same leading dimensions and "
            f'r dimensions of space and of outputs were required; got {x.aval} for "x" and '
            f'{grid.aval} for "grid".'
        )
    lead, space = x.shape[:first], x.shape[first:-1]
    if 0 in space:
        raise TypeError(f'{op}: space that is not empty was required; got {x.aval} for "x".')
    outputs, batch = grid.shape[first:-1], math.prod(lead)
    points = grid.reshape(batch, math.prod(outputs), rank)
    rows = x.reshape(batch, math.prod(space), x.shape[-1])
    taps = [
        _taps(points[..., rank - 1 - d], n, mode, padding_mode, align_corners)
        for d, n in enumerate(space)
    ]
    strides = [math.prod(space[d + 1 :]) for d in range(rank)]
    image = np.arange(batch)[:, None]
    total: Any = 0
    for corner in itertools.product(*taps):
        inside = [(place >= 0) & (place < n) for (place, _), n in zip(corner, space)]
        index = [
            jnp.clip(place, 0, n - 1).astype(np.int32) * stride
            for (place, _), n, stride in zip(corner, space, strides)
        ]
        values = rows[image, functools.reduce(operator.add, index)]
        weight = functools.reduce(operator.mul, [w for _, w in corner])
        if padding_mode == "zeros":
            met = functools.reduce(operator.and_, inside)
            values = jnp.where(met[..., None], values, 0)
        total = total + values * (weight[..., None] if isinstance(weight, Array) else weight)
    return total.reshape(*lead, *outputs, x.shape[-1])


# ---------------------------------------------------------------- along one dimension
def _taps(c: Array, n: int, mode: str, padding_mode: str, align_corners: bool) -> Taps:
    """The elements of n that a coordinate from -1 to 1 lies between."""
    c = (c + 1) * ((n - 1) / 2) if align_corners else ((c + 1) * n - 1) / 2

    def within(c: Array) -> Array:
        return _within(c, n, padding_mode, align_corners)

    if mode == "nearest":
        return [(stop_gradient(jnp.round(within(c))), 1.0)]
    if mode == "linear":
        c = within(c)
        low = stop_gradient(jnp.floor(c))
        return [(low, low + 1 - c), (low + 1, c - low)]
    low = stop_gradient(jnp.floor(c))
    t = c - low
    return [(within(low + k), _cubic(t - k, abs(2 * k - 1) < 2)) for k in (-1, 0, 1, 2)]


def _within(c: Array, n: int, padding_mode: str, align_corners: bool) -> Array:
    """Coordinates beyond the ends moved to where their value is taken from."""
    if padding_mode == "zeros":
        return c
    if padding_mode == "reflection":
        # Between the ends, which are centers or edges, to and fro.
        start, span = (0.0, float(n - 1)) if align_corners else (-0.5, float(n))
        if span == 0:
            return jnp.zeros_like(c)
        distance = jnp.abs(c - start)
        turns = stop_gradient(jnp.floor(distance / span))
        rest = distance - turns * span
        c = jnp.where(turns % 2 == 0, rest, span - rest) + start
    return jnp.clip(c, 0, n - 1)


def _cubic(distance: Array, near: bool, a: float = -0.75) -> Array:
    """Keys's kernel, for distances up to 1 (near) or from 1 to 2."""
    t = jnp.abs(distance)
    if near:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return a * (((t - 5) * t + 8) * t - 4)
