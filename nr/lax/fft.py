"""The discrete Fourier transform over the last dimensions."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.tracing import typeof
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import conj, mul, real
from nr.lax.rules import const_like, linear, operand, to_front
from nr.lax.shape import broadcast_in_dim, pad


class FftType(IntEnum):
    """Kinds of the transform: complex to complex, real to half a spectrum, and their inverses."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


_REAL = frozenset(dtypes.DTYPES[n] for n in ("float32", "float64"))


def _fft_aval(x: ShapedArray, *, fft_type: str, fft_lengths: tuple[int, ...]) -> ShapedArray:
    wanted, kind = (_REAL, "f32 or f64") if fft_type == "RFFT" else (dtypes.COMPLEX, "complex")
    if x.dtype not in wanted:
        raise TypeError(
            f"fft: of {fft_type} the operand's dtype must be {kind}; got {x}. "
            f"Convert it with .astype(...)."
        )
    *most, last = fft_lengths
    expected = (*most, last // 2 + 1) if fft_type == "IRFFT" else fft_lengths
    if not fft_lengths or last < 1 or x.shape[-len(fft_lengths) :] != expected:
        raise ValueError(
            f"fft: of {fft_type} with fft_lengths {fft_lengths} the operand's last dimensions "
            f"must be {expected}; got {x}. Pad or cut it, or use nr.numpy.fft."
        )
    if fft_type in ("FFT", "IFFT"):
        return x.strip_weak_type()
    dtype = dtypes.to_complex(x.dtype) if fft_type == "RFFT" else dtypes.to_real(x.dtype)
    half = last // 2 + 1 if fft_type == "RFFT" else last
    return ShapedArray((*x.shape[:-1], half), dtype)


def _fft_transpose(ct: Any, x: Any, *, fft_type: str, fft_lengths: tuple[int, ...]) -> Any:
    n = fft_lengths[-1]
    if fft_type in ("FFT", "IFFT"):  # a symmetric matrix
        return fft_p.bind(ct, fft_type=fft_type, fft_lengths=fft_lengths)
    rank = typeof(ct).ndim
    if fft_type == "RFFT":  # the first rows of FFT's matrix, applied to real numbers
        config = [(0, 0, 0)] * (rank - 1) + [(0, n - typeof(ct).shape[-1], 0)]
        whole = pad(ct, const_like(ct, 0), config)
        return real(fft_p.bind(whole, fft_type="FFT", fft_lengths=fft_lengths))
    # IRFFT counts twice the frequencies of which it is given one of a conjugate pair.
    spectrum = conj(fft_p.bind(ct, fft_type="RFFT", fft_lengths=fft_lengths))
    weights = np.full(n // 2 + 1, 2.0 / np.prod(fft_lengths, dtype=np.float64))
    weights[0] /= 2
    if n % 2 == 0:
        weights[-1] /= 2
    weights = weights.astype(typeof(spectrum).dtype)
    return mul(spectrum, broadcast_in_dim(weights, typeof(spectrum).shape, (rank - 1,)))


def _fft_batch(axis: Any, args: Any, dims: Any, **params: Any) -> Any:
    return fft_p.bind(to_front(args[0], dims[0], axis.size), **params), 0


fft_p = linear("fft", abstract_eval=_fft_aval, transpose=_fft_transpose, batch=_fft_batch)


def fft(x: Any, fft_type: FftType | int | str, fft_lengths: Any) -> Array:
    """The discrete Fourier transform over the last dimensions, one for each length.

    Args:
        x: complex, or real; for RFFT it must be.
        fft_type: a `FftType`, its number or its name, "RFFT" or "rfft". RFFT gives the first
            n // 2 + 1 frequencies along the last dimension, which IRFFT takes; inverses divide by
            the number of elements.
        fft_lengths: the extents of the transform; IRFFT's result has these.

    Returns:
        An array, complex except of IRFFT.

    Raises:
        TypeError: if the dtype is not that of the kind.
        ValueError: if the extents of x don't fit.

    Example:
        >>> import nr
        >>> nr.lax.fft(nr.numpy.array([1., 0., 0.]), "RFFT", (3,))
        Array([1.+0.j, 1.+0.j], dtype=complex64)
    """
    x = operand("fft", x)
    names = FftType.__members__
    kind = next((k for k, v in names.items() if fft_type in (k, k.lower(), v)), None)
    if kind is None:
        raise ValueError(f"fft: fft_type must be FFT, IFFT, RFFT or IRFFT; got {fft_type!r}.")
    if x.dtype not in dtypes.COMPLEX:
        real_dtype = dtypes.to_inexact(x.dtype)
        x = convert_element_type(x, real_dtype if kind == "RFFT" else dtypes.to_complex(real_dtype))
    params: dict[str, Any] = {"fft_type": kind, "fft_lengths": tuple([int(n) for n in fft_lengths])}
    # NumPy would convert, pad and cut: check before.
    _fft_aval(typeof(x), **params)
    return fft_p.bind(x, **params)
