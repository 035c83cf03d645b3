"""Arguments that layers over space share: one extent a spatial dimension, and padding.

The rank of a convolution or pooling is the length of its window. An int therefore stands for a
stride, padding or dilation that is the same in each dimension, but never for a window or a size:
inputs have any number of leading dimensions, so the rank could not be told from them.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from nr.core.array import Array
from nr.lax.conv import ConvDimensionNumbers, dilated, padtype_to_pads

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
IntOrInts = int | Sequence[int]
PaddingLike = str | int | Sequence[int] | Sequence[tuple[int, int]]

_KINDS = ("SAME", "SAME_LOWER", "VALID")


# ---------------------------------------------------------------- integers
def _as_ints(given: Any) -> Ints | None:
    try:
        return tuple([operator.index(n) for n in given])
    except TypeError:
        return None


def _as_int(given: Any) -> int | None:
    try:
        return operator.index(given)
    except TypeError:
        return None


def extents(op: str, name: str, given: Any, least: int = 1) -> Ints:
    """One integer a spatial dimension, whose number is the rank.

    Raises:
        ValueError: for an int, whose rank could be any, and for integers below the least.
    """
    sizes = _as_ints(given)
    if not sizes or min(sizes) < least:
        raise ValueError(
            f"{op}: an integer of {least} or more for each spatial dimension was required; got "
            f'{given!r} for "{name}". Write (n,) for sequences, (n, n) for images, (n, n, n) for '
            f"volumes."
        )
    return sizes


def each(op: str, name: str, given: Any, rank: int, least: int = 1) -> Ints:
    """An int for all spatial dimensions, or one for each.

    Raises:
        ValueError: for another number of integers, and for integers below the least.
    """
    one = _as_int(given)
    sizes = (one,) * rank if one is not None else _as_ints(given)
    if sizes is None or len(sizes) != rank or min(sizes) < least:
        raise ValueError(
            f"{op}: an integer of {least} or more, or {rank} of them, was required; got {given!r} "
            f'for "{name}".'
        )
    return sizes


def pairs_of(given: Any) -> Pairs:
    """A pair for each entry, which is an int, for both, or a pair; none if one is neither."""
    try:
        pairs = [_as_ints((e, e)) or _as_ints(e) for e in given]
    except TypeError:
        return ()
    return tuple(pairs) if all([p and len(p) == 2 for p in pairs]) else ()  # type: ignore[arg-type]


def padding_of(op: str, given: Any, rank: int) -> str | Pairs:
    """Padding in one of its two forms: a string, or a (low, high) pair for each dimension.

    Raises:
        ValueError: if it is neither a known string, an int, nor ints or pairs for each dimension.
    """
    if isinstance(given, str):
        if given.upper() in _KINDS:
            return given.upper()
    else:
        pairs = pairs_of(given if _as_int(given) is None else [given] * rank)
        if len(pairs) == rank and min([min(pair) for pair in pairs]) >= 0:
            return pairs
    raise ValueError(
        f'{op}: "SAME", "SAME_LOWER", "VALID", an int, or {rank} ints or (low, high) pairs, none '
        f'negative, were required; got {given!r} for "padding".'
    )


def explicit(padding: str | Pairs, space: Ints, window: Ints, stride: Ints) -> Pairs:
    """Padding as pairs; windows are given with their dilation."""
    if isinstance(padding, str):
        return tuple(padtype_to_pads(space, window, stride, padding))
    return padding


def spread(window: Ints, dilation: Ints) -> Ints:
    """The extents of windows whose elements stand apart."""
    return tuple([dilated(n, d) for n, d in zip(window, dilation, strict=True)])


# ---------------------------------------------------------------- inputs
def shape_text(parts: Sequence[Any]) -> str:
    """A required shape, as in messages: ``[..., H, W, 3]``."""
    return f"[{', '.join(['...', *map(str, parts)])}]"


def space_of(op: str, x: Array, rank: int, channels: int | None = None) -> Ints:
    """The spatial extents of x: [..., *space, channels].

    Raises:
        TypeError: x has too few dimensions, or another number of channels.
    """
    if x.ndim <= rank or (channels is not None and x.shape[-1] != channels):
        names = {1: ["T"], 2: ["H", "W"], 3: ["D", "H", "W"]}.get(rank, ["..."] * rank)
        required = shape_text([*names, "C" if channels is None else channels])
        raise TypeError(
            f'{op}: {required} was required; got {x.aval} for "x". Channels are the last axis, '
            f"space the {rank} before it."
        )
    return x.shape[-1 - rank : -1]


def channels_last(rank: int) -> ConvDimensionNumbers:
    """The layouts [N, *space, C], [*window, I, O] and [N, *space, C]."""
    space = tuple(range(1, rank + 1))
    last = (0, rank + 1, *space)
    return ConvDimensionNumbers(last, (rank + 1, rank, *range(rank)), last)
