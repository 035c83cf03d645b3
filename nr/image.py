"""`resize` and `scale_and_translate`, as in ``jax.image``, and resampling along one axis.

Resampling is separable: along each axis, each output is a weighted sum of a few inputs (taps),
whose places and weights are constants; those of `scale_and_translate` may be traced.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr import numpy as jnp
from nr.core.array import Array
from nr.lax.rules import canonical_axis, operand
from nr.lax.shape import slice_in_dim
from nr.numpy.manipulation import broadcast_to, take_static
from nr.numpy.promotion import promote_inexact

__all__ = ["ResizeMethod", "resize", "scale_and_translate"]

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


class ResizeMethod(enum.Enum):
    """The methods of `resize`, where strings are not wanted."""

    NEAREST = "nearest"
    LINEAR = "linear"
    LANCZOS3 = "lanczos3"
    LANCZOS5 = "lanczos5"
    CUBIC = "cubic"
    CUBIC_PYTORCH = "cubic-pytorch"
    AREA = "area"

    @staticmethod
    def from_string(s: str) -> ResizeMethod:
        """The method of a name, such as "bilinear"."""
        return ResizeMethod(_kind("ResizeMethod", s))


def _kind(op: str, method: str | ResizeMethod) -> str:
    if isinstance(method, ResizeMethod):
        return method.value
    if method not in _METHODS:
        raise ValueError(
            f'{op}: one of {", ".join(_METHODS)} was required; got {method!r} for "method".'
        )
    return _METHODS[method]


def _extents(op: str, shape: Sequence[int], x: Array) -> tuple[int, ...]:
    shape = tuple([int(n) for n in shape])
    if len(shape) != x.ndim or min(shape, default=0) < 0:
        raise ValueError(
            f'{op}: {x.ndim} extents were required; got {shape} for "shape" and {x.aval} for '
            f'"image". Axes of batch and channels keep theirs.'
        )
    return shape


def resize(
    image: Any,
    shape: Sequence[int],
    method: str | ResizeMethod,
    antialias: bool = True,
    precision: Any = None,
) -> Array:
    """An array of any rank resampled to a shape of the same rank.

    Elements are taken to fill space evenly, and ends stay where they are.

    Args:
        image: an array; integers are made floating, but for "nearest".
        shape: of the result; axes of batch and channels keep their extents.
        method: "nearest"; "linear" (or "bilinear", "trilinear", "triangle"); "cubic" (or
            "bicubic", "tricubic"), with -0.5 for Keys's a; "cubic-pytorch" (or "bicubic-pytorch"),
            which is "cubic" with antialias, else has -0.75 for a and repeats the outermost
            elements; "lanczos3", "lanczos5"; "area", means of all that an output stands for; or a
            `ResizeMethod`.
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
    shape, kind = _extents(op, shape, x), _kind(op, method)
    if any([m and not n for n, m in zip(x.shape, shape, strict=True)]):
        raise ValueError(
            f"{op}: elements along axes that get some were required; got {x.aval} for "
            f'"image" and {shape} for "shape".'
        )
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


def scale_and_translate(
    image: Any,
    shape: Sequence[int],
    spatial_dims: Sequence[int],
    scale: Any,
    translation: Any,
    method: str | ResizeMethod,
    antialias: bool = True,
    precision: Any = None,
) -> Array:
    """An array resampled after its axes are stretched and moved.

    What is at x along an axis, the first element reaching from 0 to 1, comes to
    ``x * scale + translation``. Outputs whose centers nothing comes to are 0.

    Args:
        image: an array; integers are made floating.
        shape: of the result, of the same rank.
        spatial_dims: k axes; the others keep their extents.
        scale: ``[k]``, may be traced and has derivatives.
        translation: ``[k]``, likewise.
        method: as for `resize`, but not "nearest".
        antialias: whether along axes that shrink the method's kernel is as wide as an output.
        precision: accepted for JAX's sake.

    Raises:
        ValueError: for a shape of another rank, or another method.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([1.0, 2.0, 3.0])
        >>> nr.image.scale_and_translate(x, (4,), (0,), [1.0], [1.0], "linear")
        Array([0., 1., 2., 3.], dtype=float32)
    """
    op = "scale_and_translate"
    x = operand(op, image)
    shape, kind = _extents(op, shape, x), _kind(op, method)
    if kind == "nearest":
        raise ValueError(f'{op}: a method with weights was required; got "nearest". Use "linear".')
    if kind == "cubic-pytorch" and antialias:
        kind = "cubic"
    (x,) = promote_inexact(op, x)
    scale, translation = promote_inexact(op, jnp.asarray(scale), jnp.asarray(translation))
    dtype = x.dtype
    if dtype.itemsize == 2:  # sums of few bits are rounded once
        x = x.astype(np.float32)
    for i, dim in enumerate(spatial_dims):
        axis = canonical_axis(op, dim, x.ndim)
        weights = _warped(x.shape[axis], shape[axis], scale[i], translation[i], kind, antialias)
        x = jnp.moveaxis(jnp.tensordot(x, weights.astype(x.dtype), (axis, 0)), -1, axis)
    return x.astype(dtype)


def _warped(n: int, m: int, scale: Array, translation: Array, kind: str, antialias: bool) -> Array:
    """What each of n elements counts for each of m outputs: ``[n, m]``."""
    start = (jnp.arange(m, dtype=scale.dtype) - translation) / scale
    center = start + 0.5 / scale - 0.5
    beyond = 2 if kind == "cubic-pytorch" else 0  # elements that repeat the outermost ones
    places = jnp.arange(-beyond, n + beyond, dtype=scale.dtype)[:, None]
    if kind == "area":
        end = start + 1 / scale
        weights = jnp.minimum(end, places + 1) - jnp.maximum(start, places)
        weights = jnp.maximum(weights, 0)
    else:
        width = jnp.maximum(1 / scale, 1) if antialias else 1
        weights = _KERNELS[kind][0]((places - center) / width, jnp)
    if beyond:
        ends = weights[:beyond].sum(0), weights[n + beyond :].sum(0)
        weights = weights[beyond : n + beyond].at[0].add(ends[0]).at[-1].add(ends[1])
    total = weights.sum(0)
    enough = jnp.abs(total) > 1000 * float(np.finfo(np.float32).eps)
    weights = jnp.where(enough, weights / jnp.where(enough, total, 1), 0)
    return weights if beyond else jnp.where((center >= -0.5) & (center <= n - 0.5), weights, 0)


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
def _triangle(distance: Any, xp: Any = np) -> Any:
    return xp.maximum(1 - xp.abs(distance), 0)


def cubic(distance: Any, a: float = -0.5, xp: Any = np) -> Any:
    """The piecewise cubic kernel of Keys, 1981; xp is NumPy or nr.numpy."""
    t = xp.abs(distance)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return xp.where(t <= 1, near, xp.where(t < 2, far, 0))


def _lanczos(radius: int) -> Callable[..., Any]:
    """A sinc under the central lobe of a wider one (Duchon, 1979)."""
    return lambda distance, xp=np: xp.where(
        xp.abs(distance) < radius, xp.sinc(distance) * xp.sinc(distance / radius), 0
    )


_KERNELS = {
    "linear": (_triangle, 1),
    "cubic": (lambda distance, xp=np: cubic(distance, -0.5, xp), 2),
    "cubic-pytorch": (lambda distance, xp=np: cubic(distance, -0.75, xp), 2),
    "lanczos3": (_lanczos(3), 3),
    "lanczos5": (_lanczos(5), 5),
}
