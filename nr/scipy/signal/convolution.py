"""Convolutions and correlations in any number of dimensions, directly or through the FFT.

Definitions: Oppenheim and Schafer, Discrete-Time Signal Processing, sections 2.3 and 8.7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import canonical_axes
from nr.numpy.promotion import promote_inexact

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "fftconvolve"]

_MODES = ("full", "same", "valid")
_METHODS = ("auto", "direct", "fft")


def _check_option(op: str, name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        choices = ", ".join(f'"{x}"' for x in allowed)
        raise ValueError(f"{op}: {name} must be one of {choices}; got {value!r}.")


def _pair(op: str, in1: Any, in2: Any, mode: str) -> tuple[Array, Array]:
    _check_option(op, "mode", mode, _MODES)
    in1, in2 = promote_inexact(op, in1, in2)
    if in1.ndim != in2.ndim:
        raise ValueError(f"{op}: arrays of one rank were expected; got {in1.aval} and {in2.aval}.")
    if not (in1.size and in2.size):
        raise ValueError(
            f"{op}: arrays with elements were expected; got {in1.aval} and {in2.aval}."
        )
    return in1, in2


def _inside(op: str, in1: Array, in2: Array, axes: Sequence[int]) -> bool:
    """Whether in2 fits into in1 along all axes (else in1 fits into in2)."""
    if all(in1.shape[d] >= in2.shape[d] for d in axes):
        return True
    if all(in1.shape[d] <= in2.shape[d] for d in axes):
        return False
    raise ValueError(
        f'{op}: with mode="valid" one array must fit into the other in every dimension; got '
        f"{in1.aval} and {in2.aval}."
    )


def _slide(op: str, in1: Array, in2: Array, mode: str, flip: bool) -> Array:
    """Products of in1 with in2 at each of its places; flip makes the correlation a convolution."""
    axes = tuple(range(in1.ndim))
    if mode == "valid" and not _inside(op, in1, in2, axes):
        # What slides is the smaller one. A correlation goes through the places the other way.
        out = _slide(op, in2, in1, mode, flip)
        return out if flip else lax.rev(out, axes)
    if not in1.ndim:
        return in1 * in2
    pads = [
        {"full": (n - 1, n - 1), "same": (n // 2, n - 1 - n // 2), "valid": (0, 0)}[mode]
        for n in in2.shape
    ]
    window = lax.rev(in2, axes) if flip else in2
    out = lax.conv_general_dilated(in1[None, None], window[None, None], (1,) * in1.ndim, pads)
    return out[0, 0]


def convolve(
    in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None
) -> Array:
    """The convolution of two arrays of one rank, y[k] = sum of in1[i] in2[k - i].

    Args:
        in1: an array.
        in2: an array of the same rank.
        mode: "full" for every k where they overlap; "same" for the middle of that, with the shape
            of in1; "valid" for those k where one lies within the other.
        method: "direct" (or "auto"), or "fft" for `fftconvolve`, quicker where both are large.
        precision: accepted for JAX's sake.

    Raises:
        ValueError: for different ranks, empty arrays, or unknown options.

    Example:
        >>> import nr.numpy as jnp
        >>> convolve(jnp.array([1., 2., 3.]), jnp.array([1., 1.]))
        Array([1., 3., 5., 3.], dtype=float32)
    """
    _check_option("convolve", "method", method, _METHODS)
    if method == "fft":
        return fftconvolve(in1, in2, mode)
    return _slide("convolve", *_pair("convolve", in1, in2, mode), mode, flip=True)


def correlate(
    in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None
) -> Array:
    """The correlation of two arrays of one rank, y[k] = sum of in1[i + k] conj(in2[i]).

    k begins where the last of in2 meets the first of in1. Arguments are those of `convolve`.

    Example:
        >>> import nr.numpy as jnp
        >>> correlate(jnp.array([1., 2., 3.]), jnp.array([0., 1.]), mode="valid")
        Array([2., 3.], dtype=float32)
    """
    _check_option("correlate", "method", method, _METHODS)
    in1, in2 = _pair("correlate", in1, in2, mode)
    in2 = jnp.conj(in2)
    if method == "fft":
        return fftconvolve(in1, lax.rev(in2, tuple(range(in2.ndim))), mode)
    return _slide("correlate", in1, in2, mode, flip=False)


def _check_planes(op: str, in1: Any, in2: Any, boundary: str, fillvalue: Any) -> None:
    if boundary != "fill" or fillvalue != 0:
        raise NotImplementedError(
            f'{op}: boundary must be "fill" and fillvalue 0; got {boundary!r} and {fillvalue!r}. '
            f'Extend in1 with nr.numpy.pad, and use mode="valid".'
        )
    if jnp.ndim(in1) != 2 or jnp.ndim(in2) != 2:
        raise ValueError(
            f"{op}: arrays of rank 2 were expected; got ranks {jnp.ndim(in1)} and {jnp.ndim(in2)}."
        )


def convolve2d(
    in1: Any,
    in2: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: float = 0,
    precision: Any = None,
) -> Array:
    """The convolution of two matrices, with zeros around them; see `convolve`."""
    _check_planes("convolve2d", in1, in2, boundary, fillvalue)
    return _slide("convolve2d", *_pair("convolve2d", in1, in2, mode), mode, flip=True)


def correlate2d(
    in1: Any,
    in2: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: float = 0,
    precision: Any = None,
) -> Array:
    """The correlation of two matrices, with zeros around them; see `correlate`.

    As in SciPy the middle lies, where there are two, after that of `correlate`; and with
    mode="valid" it is in1 that is conjugated, if that fits into in2.
    """
    op = "correlate2d"
    _check_planes(op, in1, in2, boundary, fillvalue)
    in1, in2 = _pair(op, in1, in2, mode)
    if mode == "valid" and not _inside(op, in1, in2, (0, 1)):
        return lax.rev(_slide(op, in2, jnp.conj(in1), mode, flip=False), (0, 1))
    if mode == "same":
        in1 = jnp.pad(in1, [((n - 1) // 2, n // 2) for n in in2.shape])
        mode = "valid"
    return _slide(op, in1, jnp.conj(in2), mode, flip=False)


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Array:
    """`convolve` as a product of Fourier transforms, along all axes or some.

    Rounding errors are relative to the largest element of the result.

    Args:
        in1: an array.
        in2: an array of the same rank; along axes that are not convolved, extents are equal or 1.
        mode: as in `convolve`.
        axes: the axes to convolve over; None means all.

    Example:
        >>> import nr.numpy as jnp
        >>> fftconvolve(jnp.array([1., 2., 3.]), jnp.array([1., 1.])).round(4)
        Array([1., 3., 5., 3.], dtype=float32)
    """
    op = "fftconvolve"
    in1, in2 = _pair(op, in1, in2, mode)
    if not in1.ndim:
        return in1 * in2
    axes = canonical_axes(op, axes, in1.ndim)
    for d in set(range(in1.ndim)) - set(axes):
        if in1.shape[d] != in2.shape[d] and 1 not in (in1.shape[d], in2.shape[d]):
            raise ValueError(
                f"{op}: extents along axes that are not convolved must be equal, or 1; got "
                f"{in1.aval} and {in2.aval} for axes={axes}."
            )
    if mode == "valid" and not _inside(op, in1, in2, axes):
        in1, in2 = in2, in1
    if not axes:
        return in1 * in2
    full = [in1.shape[d] + in2.shape[d] - 1 for d in axes]
    lengths = [_fast_length(n) for n in full]
    if in1.dtype in dtypes.COMPLEX:
        product = jnp.fft.fftn(in1, lengths, axes) * jnp.fft.fftn(in2, lengths, axes)
        out = jnp.fft.ifftn(product, lengths, axes)
    else:
        product = jnp.fft.rfftn(in1, lengths, axes) * jnp.fft.rfftn(in2, lengths, axes)
        out = jnp.fft.irfftn(product, lengths, axes).astype(in1.dtype)
    for d, n in zip(axes, full):
        own, other = in1.shape[d], in2.shape[d]
        size = {"full": n, "same": own, "valid": own - other + 1}[mode]
        start = (n - size) // 2
        out = lax.slice_in_dim(out, start, start + size, axis=d)
    return out


def _fast_length(n: int) -> int:
    """The least product of 2, 3 and 5 that is n or more: transforms of such lengths are quick."""
    best = 1 << math.ceil(math.log2(n))
    fives = 1
    while fives < best:
        threes = fives
        while threes < best:
            rest = -(-n // threes)
            best = min(best, threes << (rest - 1).bit_length())
            threes *= 3
        fives *= 5
    return best
