"""Discrete Fourier transforms, with the names of jax.numpy.fft.

Results are complex64 for real and complex numbers of up to 32 bits, and for integers while the
default float is float32; complex128 otherwise. `norm` says which direction is scaled: "backward"
(the inverse by 1/n, the default), "forward" (by 1/n), or "ortho" (both by 1/sqrt(n)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.lax import fft as lax_fft
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import conj as lax_conj
from nr.lax.elementwise import mul
from nr.lax.rules import canonical_axes, const_like, operand
from nr.lax.shape import pad, slice_in_dim, transpose
from nr.numpy.creation import asarray
from nr.numpy.manipulation import roll

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]

_NORMS = (None, "backward", "ortho", "forward")
_SWAPPED = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _wide(dtype: np.dtype) -> np.dtype:
    """The dtype in which numbers of another one are transformed: f32, f64, c64 or c128."""
    dtype = dtypes.to_inexact(dtype)
    return dtypes.DTYPES["float32"] if dtype.itemsize < 4 else dtype


def _transform(op: str, kind: str, a: Any, s: Any, axes: Any, norm: str | None) -> Array:
    x = operand(op, a)
    if norm not in _NORMS:
        raise ValueError(f'{op}: norm must be "backward", "ortho" or "forward"; got {norm!r}.')
    dtype = _wide(x.dtype)
    if kind == "RFFT" and dtype in dtypes.COMPLEX:
        raise TypeError(f"{op}: real numbers were expected; got {x.aval}. Use nr.numpy.fft.fft.")
    x = convert_element_type(x, dtype if kind == "RFFT" else dtypes.to_complex(dtype))
    if axes is None:
        axes = tuple(range(x.ndim)) if s is None else tuple(range(-len(s), 0))
    axes = canonical_axes(op, tuple(axes), x.ndim)
    if not axes:
        if kind in ("FFT", "IFFT"):
            return x
        raise ValueError(f"{op}: one axis or more was expected; got {x.aval} and axes=().")
    lengths = _lengths(op, kind, x, s, axes)
    for axis, n in zip(axes, lengths, strict=True):
        halved = kind == "IRFFT" and axis == axes[-1]
        x = _resized(x, axis, n // 2 + 1 if halved else n)
    kept = [d for d in range(x.ndim) if d not in axes]
    order = (*kept, *axes)
    out = lax_fft(transpose(x, order), kind, lengths)
    out = transpose(out, sorted(range(len(order)), key=order.__getitem__))
    factor = _factor(math.prod(lengths), norm, kind in ("IFFT", "IRFFT"))
    return out if factor == 1 else mul(out, const_like(out, factor))


def _lengths(op: str, kind: str, x: Any, s: Any, axes: Sequence[int]) -> tuple[int, ...]:
    if s is None:
        lengths = [x.shape[axis] for axis in axes]
        if kind == "IRFFT":
            lengths[-1] = 2 * (lengths[-1] - 1)
    else:
        lengths = [int(n) for n in s]
    if len(lengths) != len(axes):
        raise ValueError(
            f"{op}: as many lengths as axes were expected; got s={tuple(s)} for axes {axes}."
        )
    if min(lengths) < 1:
        raise ValueError(
            f"{op}: transforms must have length 1 or more; got {tuple(lengths)} for {x.aval}."
        )
    return tuple(lengths)


def _resized(x: Any, axis: int, n: int) -> Any:
    """x cut, or padded with zeros, to an extent along an axis."""
    have = x.shape[axis]
    if n <= have:
        return slice_in_dim(x, 0, n, axis=axis)
    config_ = [(0, 0, 0)] * x.ndim
    config_[axis] = (0, n - have, 0)
    return pad(x, const_like(x, 0), config_)


def _factor(n: int, norm: str | None, inverse: bool) -> float:
    """What the unscaled forward, or the inverse transform with its 1/n, is multiplied by."""
    if norm == "ortho":
        return math.sqrt(n) if inverse else 1 / math.sqrt(n)
    if norm == "forward":
        return n if inverse else 1 / n
    return 1


def _one(op: str, kind: str, a: Any, n: int | None, axis: int, norm: str | None) -> Array:
    return _transform(op, kind, a, None if n is None else (n,), (axis,), norm)


# ---------------------------------------------------------------- one dimension
def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The discrete Fourier transform along an axis.

    Args:
        a: an array.
        n: the length, to which a is cut or padded with zeros; by default that of the axis.
        axis: the axis.
        norm: which direction is scaled; see the module.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.fft.fft(jnp.array([1., 0., 0., 0.]))
        Array([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j], dtype=complex64)
    """
    return _one("fft", "FFT", a, n, axis, norm)


def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `fft`."""
    return _one("ifft", "IFFT", a, n, axis, norm)


def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The first n // 2 + 1 frequencies of real numbers; the others are their conjugates."""
    return _one("rfft", "RFFT", a, n, axis, norm)


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `rfft`; n is the length of the result, by default the even one."""
    return _one("irfft", "IRFFT", a, n, axis, norm)


def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The real transform of a signal with conjugate symmetry, of which the first half is given."""
    if norm not in _NORMS:
        raise ValueError(f'hfft: norm must be "backward", "ortho" or "forward"; got {norm!r}.')
    return _one("hfft", "IRFFT", _conj(operand("hfft", a)), n, axis, _SWAPPED[norm])


def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `hfft`."""
    if norm not in _NORMS:
        raise ValueError(f'ihfft: norm must be "backward", "ortho" or "forward"; got {norm!r}.')
    return _conj(_one("ihfft", "RFFT", a, n, axis, _SWAPPED[norm]))


def _conj(x: Any) -> Any:
    return lax_conj(x) if x.dtype in dtypes.COMPLEX else x


# ---------------------------------------------------------------- several dimensions
def _two(op: str, kind: str, a: Any, s: Any, axes: Any, norm: str | None) -> Array:
    if len(axes) != 2:
        raise ValueError(f"{op}: two axes were expected; got {axes}. Use nr.numpy.fft.{op[:-1]}n.")
    return _transform(op, kind, a, s, axes, norm)


def fft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Array:
    """`fftn` over two axes."""
    return _two("fft2", "FFT", a, s, axes, norm)


def ifft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Array:
    """The inverse of `fft2`."""
    return _two("ifft2", "IFFT", a, s, axes, norm)


def rfft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Array:
    """`rfftn` over two axes."""
    return _two("rfft2", "RFFT", a, s, axes, norm)


def irfft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Array:
    """The inverse of `rfft2`."""
    return _two("irfft2", "IRFFT", a, s, axes, norm)


def fftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Array:
    """The discrete Fourier transform over several axes.

    Args:
        a: an array.
        s: lengths, to which a is cut or padded; by default its extents.
        axes: the axes; by default all, or the last ones if lengths are given.
        norm: which direction is scaled; see the module.
    """
    return _transform("fftn", "FFT", a, s, axes, norm)


def ifftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Array:
    """The inverse of `fftn`."""
    return _transform("ifftn", "IFFT", a, s, axes, norm)


def rfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Array:
    """`fftn` of real numbers, with the first n // 2 + 1 frequencies along the last of the axes."""
    return _transform("rfftn", "RFFT", a, s, axes, norm)


def irfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Array:
    """The inverse of `rfftn`; s are the extents of the result."""
    return _transform("irfftn", "IRFFT", a, s, axes, norm)


# ---------------------------------------------------------------- frequencies
def _frequencies(op: str, places: Any, n: int, d: Any, dtype: Any, device: Any) -> Array:
    if n < 1:
        raise ValueError(f"{op}: n must be 1 or more; got {n}.")
    dtype = config.default_float if dtype is None else dtypes.canonicalize(dtype)
    return asarray((places(n) / (n * float(d))).astype(dtype), device=device)


def fftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Array:
    """The frequencies of `fft`'s result, in cycles per unit of the sample spacing d.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.fft.fftfreq(4)
        Array([ 0.  ,  0.25, -0.5 , -0.25], dtype=float32)
    """

    def places(n: int) -> np.ndarray:
        k = np.arange(n)
        return np.where(k < (n + 1) // 2, k, k - n)

    return _frequencies("fftfreq", places, int(n), d, dtype, device)


def rfftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Array:
    """The frequencies of `rfft`'s result, in cycles per unit of the sample spacing d."""
    return _frequencies("rfftfreq", lambda n: np.arange(n // 2 + 1), int(n), d, dtype, device)


def fftshift(x: Any, axes: Any = None) -> Array:
    """x with the frequency 0 moved to the middle of axes (all by default)."""
    x = operand("fftshift", x)
    axes = canonical_axes("fftshift", axes, x.ndim)
    return roll(x, tuple([x.shape[d] // 2 for d in axes]), axes)


def ifftshift(x: Any, axes: Any = None) -> Array:
    """The inverse of `fftshift`."""
    x = operand("ifftshift", x)
    axes = canonical_axes("ifftshift", axes, x.ndim)
    return roll(x, tuple([-(x.shape[d] // 2) for d in axes]), axes)
