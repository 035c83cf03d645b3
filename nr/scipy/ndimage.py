"""Images with any number of dimensions, with the names of jax.scipy.ndimage."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.numpy.promotion import promote_inexact

__all__ = ["map_coordinates"]


def _mirrored(index: Any, n: int) -> Any:
    """The image turned over at the centres of its first and last elements."""
    period = max(2 * (n - 1), 1)
    return jnp.minimum(index % period, -index % period)


def _reflected(index: Any, n: int) -> Any:
    """The image turned over at its edges, so that these elements occur twice."""
    place = index % (2 * n)
    return jnp.minimum(place, 2 * n - 1 - place)


# By mode: the element that stands for one outside. None: there is none.
_MODES: dict[str, Callable[[Any, int], Any] | None] = {
    "constant": None,
    "nearest": lambda index, n: jnp.clip(index, 0, n - 1),
    "wrap": lambda index, n: index % n,
    "mirror": _mirrored,
    "reflect": _reflected,
}


def map_coordinates(
    input: Any,  # noqa: A002 - SciPy's name
    coordinates: Sequence[Any],
    order: int,
    mode: str = "constant",
    cval: Any = 0.0,
) -> Array:
    """The values of an image at places between its elements.

    Args:
        input: the image, an array of any rank.
        coordinates: as many arrays of places, of one shape, as the image has dimensions.
        order: 0 for the nearest element, 1 for linear interpolation.
        mode: what lies outside: "constant" for cval, "nearest" for the outermost elements, "wrap"
            for the image again, "mirror" for the image turned over at the centres of its outermost
            elements, "reflect" at their outer edges.
        cval: the value outside, with mode="constant". Between the last element and it, order 1
            interpolates.

    Returns:
        An array of the coordinates' shape and the image's dtype; integers are rounded.

    Raises:
        ValueError: for a wrong number of coordinates, or an unknown mode.
        NotImplementedError: for other orders.

    Example:
        >>> import nr.numpy as jnp
        >>> map_coordinates(jnp.array([0., 10., 20.]), [jnp.array([0.5, 1.2])], order=1)
        Array([ 5., 12.], dtype=float32)
    """
    image = operand("map_coordinates", input)
    if mode not in _MODES:
        known = ", ".join(f'"{name}"' for name in _MODES)
        raise ValueError(f"map_coordinates: mode must be one of {known}; got {mode!r}.")
    if order not in (0, 1):
        raise NotImplementedError(f"map_coordinates: order must be 0 or 1; got {order}.")
    if len(coordinates) != image.ndim:
        raise ValueError(
            f"map_coordinates: as many coordinates as the image has dimensions were expected; got "
            f"{len(coordinates)} for {image.aval}."
        )
    axes = [
        _weighted(x, order)
        for x in (promote_inexact("map_coordinates", *coordinates) if image.ndim else ())
    ]
    outside = jnp.asarray(cval, image.dtype)
    total: Any = 0
    for corner in itertools.product(*axes):
        value = _at(image, [index for index, _ in corner], mode, outside)
        total = total + value * math.prod([w for _, w in corner], start=1)
    if image.dtype not in dtypes.INEXACT and order:
        total = lax.round(total)
    return total.astype(image.dtype)


def _weighted(x: Array, order: int) -> list[tuple[Array, Any]]:
    """Indices next to places, and their weights."""
    if order == 0:
        return [(lax.round(x).astype("int32"), 1)]  # halves away from zero
    low = jnp.floor(x)
    part = x - low
    low = low.astype("int32")
    return [(low, 1 - part), (low + 1, part)]


def _at(image: Array, indices: list[Array], mode: str, outside: Array) -> Array:
    fold = _MODES[mode]
    if fold is not None:
        return image[tuple([fold(i, n) for i, n in zip(indices, image.shape)])]
    inside: Any = True
    for i, n in zip(indices, image.shape):
        inside = inside & (i >= 0) & (i < n)
    safe = [jnp.clip(i, 0, n - 1) for i, n in zip(indices, image.shape)]
    return jnp.where(inside, image[tuple(safe)], outside)
