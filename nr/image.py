"""`resize`, under the name of ``jax.image``, and resampling along one axis.

Resampling is separable: along each axis, each output is a weighted sum of a few inputs (taps),
whose places and weights are constants.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.lax.rules import operand
from nr.lax.shape import slice_in_dim
from nr.numpy.manipulation import broadcast_to, take_static
from nr.numpy.promotion import promote_inexact

__all__ = ["resize"]

Taps = tuple[np.ndarray, np.ndarray]

_METHODS = {
    "nearest": "nearest",
    **dict.fromkeys(["linear", "bilinear", "trilinear", "triangle"], "linear"),
    **dict.fromkeys(["cubic", "bicubic", "tricubic"], "cubic"),
    **dict.fromkeys(["cubic-pytorch", "bicubic-pytorch"], "cubic-pytorch"),
    "lanczos3": "lanczos3",
    "lanczos5": "lanczos5",
    "area": "area",
}


def resize(
    image: Any, shape: Sequence[int], method: str, antialias: bool = True, precision: Any = None
) -> Array:
    """An array of any rank resampled to a shape of the same rank.

    Elements are taken to fill space evenly, and ends stay where they are.

    Args:
        image: an array; integers are made floating, but for "nearest".
        shape: of the result; axes of batch and channels keep their extents.
        method: "nearest"; "linear" (or "bilinear", "trilinear", "triangle"); "cubic" (or
            "bicubic", "tricubic"), with -0.5 for Keys's a; "cubic-pytorch" (or "bicubic-pytorch"),
            which is "cubic" with antialias, else has -0.75 for a and repeats the outermost
            elements; "lanczos3", "lanczos5"; "area", means of all that an output stands for.
        antialias: whether along axes that shrink the method's kernel is as wide as an output.
        precision: accepted for JAX's sake.

    Raises:
        ValueError: for a shape of another rank, or with elements where image has none; for an
            unknown method.

    Example:
        >>> import nr
        >>> nr.image.resize(nr.numpy.array([0.0, 4.0]), (4,), "linear")
        Array([0., 1., 3., 4.], dtype=float32)
    """
    op = "resize"
    x = operand(op, image)
    shape = tuple([int(n) for n in shape])
    if len(shape) != x.ndim or min(shape, default=0) < 0:
        raise ValueError(
            f'{op}: {x.ndim} extents were required; got {shape} for "shape" and {x.aval} for '
            f'"image". Axes of batch and channels keep theirs.'
        )
    if method not in _METHODS:
        raise ValueError(
            f'{op}: one of {", ".join(_METHODS)} was required; got {method!r} for "method".'
        )
    if any([m and not n for n, m in zip(x.shape, shape, strict=True)]):
        raise ValueError(
            f"{op}: elements along axes that get some were required; got {x.aval} for "
            f'"image" and {shape} for "shape".'
        )
    kind = _METHODS[method]
    if kind == "nearest":
        for axis, m in enumerate(shape):
            n = x.shape[axis]
            if n != m:
                x = take_evenly(x, nearest_places(n, m, n / max(m, 1), True), axis)
        return x
    if kind == "cubic-pytorch" and antialias:
        kind = "cubic"
    (x,) = promote_inexact(op, x)
    dtype = x.dtype
    if dtype.itemsize == 2:  # sums of few bits are rounded once
        x = x.astype(np.float32)
    # Smaller axes first: there is less to do for those that grow.
    for axis in sorted(range(x.ndim), key=lambda d: shape[d] / max(x.shape[d], 1)):
        n, m = x.shape[axis], shape[axis]
        if m == 0:
            x = slice_in_dim(x, 0, 0, axis=axis)
        elif n != m:
            if kind == "area":
                taps = _overlaps(n, m)
            elif kind == "cubic-pytorch":
                taps = nearby_taps(n, m, n / m, "cubic", False)
            else:
                taps = kernel_taps(n, m, n / m, kind, antialias)
            x = weighted(x, *taps, axis)
    return x.astype(dtype)


# ---------------------------------------------------------------- arrays along an axis
def take_evenly(x: Array, places: np.ndarray, axis: int) -> Array:
    """Elements at places, which may be each element as often, or at equal distances."""
    n, m = x.shape[axis], len(places)
    if m == 0:
        return slice_in_dim(x, 0, 0, axis=axis)
    if n == m and np.array_equal(places, np.arange(n)):
        return x
    if m % n == 0 and np.array_equal(places, np.repeat(np.arange(n), m // n)):
        before, after = x.shape[: axis + 1], x.shape[axis + 1 :]
        x = x.reshape(*before, 1, *after)
        return broadcast_to(x, (*before, m // n, *after)).reshape(*before[:-1], m, *after)
    step = n // m
    if step and np.array_equal(places, places[0] + np.arange(m) * step):
        return slice_in_dim(x, int(places[0]), int(places[-1]) + 1, step, axis)
    return take_static(x, places, axis)


def weighted(x: Array, places: np.ndarray, weights: np.ndarray, axis: int) -> Array:
    """Weighted sums along an axis: [m, taps] places and weights give m elements."""
    m, taps = places.shape
    x = take_static(x, places.reshape(-1), axis)
    x = x.reshape(*x.shape[:axis], m, taps, *x.shape[axis + 1 :])
    shape = (m, taps, *[1] * (x.ndim - axis - 2))
    return (x * weights.astype(x.dtype).reshape(shape)).sum(axis + 1)


# ---------------------------------------------------------------- taps
@functools.lru_cache(maxsize=1024)
def nearest_places(n: int, m: int, ratio: float, exact: bool) -> np.ndarray:
    """The nearest of n elements for each of m outputs, by their centers (exact) or their starts."""
    # In float32, as PyTorch computes it: for some sizes the product is just below an integer, and
    # an exact one would take the next element.
    coordinates = np.arange(m, dtype=np.float32) + np.float32(0.5 if exact else 0)
    return np.minimum(np.floor(coordinates * np.float32(ratio)).astype(np.int64), n - 1)


@functools.lru_cache(maxsize=1024)
def nearby_taps(n: int, m: int, ratio: float, kind: str, align_corners: bool) -> Taps:
    """Two (linear) or four (cubic) elements around each output, the outermost ones repeated.

    Returns:
        Places of elements of n, and their weights, for each of m outputs: [m, taps].
    """
    if align_corners:
        center = np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)
    else:
        center = (np.arange(m) + 0.5) * ratio - 0.5
    if kind == "linear":
        center = np.maximum(center, 0)
        low = np.minimum(np.floor(center).astype(np.int64), n - 1)
        part = center - low
        places = np.stack([low, np.minimum(low + 1, n - 1)], 1)
        return places, np.stack([1 - part, part], 1)
    places = np.floor(center).astype(np.int64)[:, None] + np.arange(-1, 3)
    return np.clip(places, 0, n - 1), cubic(places - center[:, None], -0.75)


@functools.lru_cache(maxsize=1024)
def kernel_taps(n: int, m: int, ratio: float, kind: str, antialias: bool) -> Taps:
    """All elements under a kernel around each output; their weights add up to 1."""
    kernel, reach = _KERNELS[kind]
    width = max(ratio, 1.0) if antialias else 1.0
    center = (np.arange(m) + 0.5) * ratio
    start = np.maximum(np.floor(center - reach * width + 0.5).astype(np.int64), 0)
    stop = np.minimum(np.floor(center + reach * width + 0.5).astype(np.int64), n)
    places = start[:, None] + np.arange((stop - start).max())
    weights = kernel((places + 0.5 - center[:, None]) / width)
    return _normalized(places, np.where(places < stop[:, None], weights, 0), n)


@functools.lru_cache(maxsize=1024)
def _overlaps(n: int, m: int) -> Taps:
    """All elements that an output stands for, weighted by how much of them it does."""
    edges = np.arange(m + 1) * (n / m)
    start, stop = edges[:-1, None], edges[1:, None]
    first = np.floor(start).astype(np.int64)
    places = first + np.arange((np.ceil(stop).astype(np.int64) - first).max())
    return _normalized(
        places, np.maximum(np.minimum(stop, places + 1) - np.maximum(start, places), 0), n
    )


def _normalized(places: np.ndarray, weights: np.ndarray, n: int) -> Taps:
    weights = np.where(places < n, weights, 0)
    return np.minimum(places, n - 1), weights / weights.sum(1, keepdims=True)


# ---------------------------------------------------------------- kernels
def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(distance), 0)


def cubic(distance: np.ndarray, a: float = -0.5) -> np.ndarray:
    """The piecewise cubic kernel of Keys, 1981."""
    t = np.abs(distance)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    """A sinc under the central lobe of a wider one (Duchon, 1979)."""
    return lambda distance: np.where(
        np.abs(distance) < radius, np.sinc(distance) * np.sinc(distance / radius), 0
    )


_KERNELS = {
    "linear": (_triangle, 1),
    "cubic": (cubic, 2),
    "lanczos3": (_lanczos(3), 3),
    "lanczos5": (_lanczos(5), 5),
}
