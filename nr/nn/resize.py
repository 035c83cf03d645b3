"""`interpolate`, which changes the size of space, and rearrangements of space and channels.

Interpolation is separable: along each spatial axis, each output is a weighted sum of a few inputs,
whose places and weights are constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from nr.core.array import Array
from nr.image import kernel_taps, nearby_taps, nearest_places, take_evenly, weighted
from nr.lax.rules import operand
from nr.nn.pooling import adaptive_avg_pool
from nr.nn.spatial import Ints, extents, shape_text, space_of
from nr.numpy.promotion import promote_inexact

__all__ = ["InterpolateMode", "channel_shuffle", "interpolate", "pixel_shuffle", "pixel_unshuffle"]

InterpolateMode = Literal[
    "nearest", "nearest-exact", "linear", "bilinear", "trilinear", "cubic", "bicubic", "area"
]
# PyTorch's names that fix the rank.
_RANKED = {"bilinear": ("linear", 2), "trilinear": ("linear", 3), "bicubic": ("cubic", 2)}
_MODES = ("nearest", "nearest-exact", "linear", "cubic", "area")


# ---------------------------------------------------------------- rearrangements
def pixel_shuffle(x: Any, factor: int) -> Array:
    """Channels made pixels: each pixel becomes factor x factor ones (sub-pixel convolution).

    Channel ``(c * factor + i) * factor + j`` goes to row i and column j, as in PyTorch.

    Args:
        x: [..., H, W, C * factor * factor].
        factor: positive.

    Returns:
        [..., H * factor, W * factor, C].

    Raises:
        TypeError: x has too few dimensions, or factor ** 2 does not divide its channels.
        ValueError: factor is not a positive integer.

    Example:
        >>> import nr
        >>> x = nr.numpy.arange(4).reshape(1, 1, 4)
        >>> nr.nn.pixel_shuffle(x, 2)[..., 0]
        Array([[0, 1],
               [2, 3]], dtype=int32)

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network", 2016.
    """
    op = "pixel_shuffle"
    x, r = operand(op, x), _positive(op, "factor", factor)
    if x.ndim < 3 or x.shape[-1] % (r * r):
        raise TypeError(f'{op}: {shape_text(["H", "W", f"C * {r * r}"])} was required; got '
                        f'{x.aval} for "x".')  # fmt: skip
    *lead, h, w, channels = x.shape
    x = x.reshape(*lead, h, w, channels // (r * r), r, r)
    x = x.transpose(*range(len(lead)), *[len(lead) + d for d in (0, 3, 1, 4, 2)])
    return x.reshape(*lead, h * r, w * r, channels // (r * r))


def pixel_unshuffle(x: Any, factor: int) -> Array:
    """Pixels made channels, the inverse of `pixel_shuffle`.

    Args:
        x: [..., H * factor, W * factor, C].
        factor: positive.

    Returns:
        [..., H, W, C * factor * factor].

    Raises:
        TypeError: x has too few dimensions, or factor does not divide its height and width.
        ValueError: factor is not a positive integer.

    Example:
        >>> import nr
        >>> nr.nn.pixel_unshuffle(nr.numpy.arange(4).reshape(2, 2, 1), 2)
        Array([[[0, 1, 2, 3]]], dtype=int32)
    """
    op = "pixel_unshuffle"
    x, r = operand(op, x), _positive(op, "factor", factor)
    if x.ndim < 3 or x.shape[-3] % r or x.shape[-2] % r:
        raise TypeError(
            f"{op}: {shape_text([f'H * {r}', f'W * {r}', 'C'])} was required; got {x.aval} for "
            f'"x". Pad it with nr.nn.pad.'
        )
    *lead, h, w, channels = x.shape
    x = x.reshape(*lead, h // r, r, w // r, r, channels)
    x = x.transpose(*range(len(lead)), *[len(lead) + d for d in (0, 2, 4, 1, 3)])
    return x.reshape(*lead, h // r, w // r, channels * r * r)


def channel_shuffle(x: Any, groups: int) -> Array:
    """Channels of different groups made neighbours: channel g * n + i goes to i * groups + g.

    Args:
        x: [..., C].
        groups: divides C.

    Raises:
        TypeError: groups does not divide the last axis.
        ValueError: groups is not a positive integer.

    Example:
        >>> import nr
        >>> nr.nn.channel_shuffle(nr.numpy.array([0, 1, 2, 10, 11, 12]), 2)
        Array([ 0, 10,  1, 11,  2, 12], dtype=int32)

    Source: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for
    Mobile Devices", 2017.
    """
    op = "channel_shuffle"
    x, groups = operand(op, x), _positive(op, "groups", groups)
    if x.ndim == 0 or x.shape[-1] % groups:
        raise TypeError(f'{op}: [..., C * {groups}] was required; got {x.aval} for "x".')
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups).swapaxes(-1, -2).reshape(x.shape)


def _positive(op: str, name: str, given: Any) -> int:
    if type(given) is not int or given < 1:
        raise ValueError(f'{op}: a positive integer was required; got {given!r} for "{name}".')
    return given


# ---------------------------------------------------------------- interpolate
def interpolate(
    x: Any,
    size: Sequence[int] | None = None,
    *,
    scale_factor: Sequence[float] | None = None,
    mode: InterpolateMode = "nearest",
    align_corners: bool = False,
    antialias: bool = False,
) -> Array:
    """x with its space in another size, as PyTorch's ``interpolate`` (and ``Upsample``).

    Args:
        x: [..., *space, C]. Integers are made floating, but for the nearest modes.
        size: the extents of the result, one a spatial dimension; their number is the rank.
        scale_factor: in place of size, the factor of each dimension: ``floor(n * factor)``
            outputs, exactly that factor apart.
        mode: "nearest" (rounds coordinates down); "nearest-exact" (compares centers); "linear" in
            each dimension ("bilinear" and "trilinear" are the same for rank 2 and 3); "cubic"
            ("bicubic" for rank 2), which overshoots; "area", `adaptive_avg_pool`.
        align_corners: for linear and cubic modes, whether the centers of the outermost elements
            are the ends that stay where they are, not their edges.
        antialias: for linear and cubic modes, whether a smaller result averages over all that it
            stands for, and not only over the nearest elements. Its cubic has -0.5 for a, as in
            Pillow, and not -0.75.

    Returns:
        [..., *size, C].

    Raises:
        TypeError: x has too few dimensions, or its space is empty; not one of size and
            scale_factor.
        ValueError: for an int as size or scale_factor, which leaves the rank open; for an unknown
            mode, or options that it does not have.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[0.0], [4.0]])
        >>> nr.nn.interpolate(x, (4,), mode="linear")[:, 0]
        Array([0., 1., 3., 4.], dtype=float32)

    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981.
    """
    op = "interpolate"
    x = operand(op, x)
    if (size is None) == (scale_factor is None):
        raise TypeError(
            f"{op}: one of size and scale_factor was required; got {size!r} and {scale_factor!r}."
        )
    if size is not None:
        sizes = extents(op, "size", size)
        space = _filled_space(op, x, len(sizes))
        ratios = [n / m for n, m in zip(space, sizes, strict=True)]
    else:
        factors = _factors(op, scale_factor)
        space = _filled_space(op, x, len(factors))
        sizes = tuple([math.floor(n * f) for n, f in zip(space, factors, strict=True)])
        if 0 in sizes:
            raise TypeError(
                f"{op}: space of which scale_factor {factors} leaves something was required; got "
                f'{x.aval} for "x".'
            )
        ratios = [1 / f for f in factors]
    kind = _kind(op, mode, len(sizes), align_corners, antialias)
    if kind == "area":
        return adaptive_avg_pool(x, sizes)
    nearest = kind.startswith("nearest")
    if not nearest:
        (x,) = promote_inexact(op, x)
    dtype = x.dtype
    if not nearest and dtype.itemsize == 2:  # sums of few bits are rounded once
        x = x.astype(np.float32)
    first = x.ndim - 1 - len(sizes)
    # Smaller axes first: there is less to do for those that grow.
    for d in sorted(range(len(sizes)), key=lambda d: sizes[d] / space[d]):
        axis, n, m, ratio = first + d, space[d], sizes[d], float(ratios[d])
        if nearest:
            x = take_evenly(x, nearest_places(n, m, ratio, kind == "nearest-exact"), axis)
        elif n != m or ratio != 1:
            if antialias:
                if align_corners:  # sets distances, but centers do not move, as in PyTorch
                    ratio = (n - 1) / (m - 1) if m > 1 else 0.0
                taps = kernel_taps(n, m, ratio, kind, antialias)
            else:
                taps = nearby_taps(n, m, ratio, kind, align_corners)
            x = weighted(x, *taps, axis)
    return x.astype(dtype)


def _filled_space(op: str, x: Array, rank: int) -> Ints:
    space = space_of(op, x, rank)
    if 0 in space:
        raise TypeError(f'{op}: space that is not empty was required; got {x.aval} for "x".')
    return space


def _factors(op: str, given: Any) -> list[float]:
    try:
        factors = [float(f) for f in given]
    except (TypeError, ValueError):
        factors = []
    if not factors or not all([0 < f < math.inf for f in factors]):
        raise ValueError(
            f"{op}: a positive number for each spatial dimension was required; got {given!r} for "
            f'"scale_factor". Write (f,) for sequences, (f, f) for images.'
        )
    return factors


def _kind(op: str, mode: str, rank: int, align_corners: bool, antialias: bool) -> str:
    kind, of_rank = _RANKED.get(mode, (mode, rank))
    if kind not in _MODES or of_rank != rank:
        known = [*_MODES, *[name for name, (_, n) in _RANKED.items() if n == rank]]
        raise ValueError(
            f"{op}: one of {', '.join(known)} was required for rank {rank}; got {mode!r} for "
            f'"mode".'
        )
    if kind not in ("linear", "cubic") and (align_corners or antialias):
        raise ValueError(
            f'{op}: align_corners and antialias are for linear and cubic modes; got "{mode}". '
            f"Leave them out."
        )
    return kind
