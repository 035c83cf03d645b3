"""Fourier transforms of the overlapping segments of signals, and the power spectra from them.

P. D. Welch (1967), "The use of fast Fourier transform for the estimation of power spectra".
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import canonical_axis, operand
from nr.numpy.promotion import promote_inexact
from nr.scipy.signal.trends import detrend as without_trend
from nr.scipy.signal.windows import window_values

__all__ = ["csd", "istft", "stft", "welch"]


# ---------------------------------------------------------------- segments
class _Segments(NamedTuple):
    """How signals are cut: the window, how far segments overlap, and how long transforms are."""

    window: Array
    overlap: int
    nfft: int


def _segments(
    op: str, window: Any, nperseg: Any, noverlap: Any, nfft: Any, length: int, dtype: np.dtype
) -> _Segments:
    by_name = isinstance(window, (str, tuple, int, float))
    if by_name:
        nperseg = min(256 if nperseg is None else int(nperseg), length)
        if nperseg < 1:
            raise ValueError(f"{op}: nperseg must be positive; got {nperseg}.")
        values = jnp.asarray(window_values(op, window, nperseg), dtype)
    else:
        values = operand(op, window)
        if values.ndim != 1 or values.shape[0] > length:
            raise ValueError(
                f"{op}: the window must be a vector of {length} elements or less; "
                f"got {values.aval}."
            )
        if nperseg is not None and nperseg != values.shape[0]:
            raise ValueError(
                f"{op}: nperseg must be the window's length {values.shape[0]}; got {nperseg}."
            )
        values, nperseg = values.astype(dtype), values.shape[0]
    overlap = nperseg // 2 if noverlap is None else int(noverlap)
    if not 0 <= overlap < nperseg:
        raise ValueError(
            f"{op}: noverlap must be less than nperseg={nperseg}, and not negative; got {overlap}."
        )
    nfft = nperseg if nfft is None else int(nfft)
    if nfft < nperseg:
        raise ValueError(f"{op}: nfft must be {nperseg} (nperseg) or more; got {nfft}.")
    return _Segments(values, overlap, nfft)


def _cut(x: Array, length: int, step: int) -> Array:
    """The segments of the last axis, ``[..., count, length]``."""
    count = (x.shape[-1] - length) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(length)
    return jnp.take(x, places, axis=-1, mode="clip")


def _transform(x: Array, cut: _Segments, detrend: Any, onesided: bool) -> Array:
    """Transforms of the segments of the last axis, ``[..., frequency, segment]``."""
    n = cut.window.shape[0]
    frames = _cut(x, n, n - cut.overlap)
    if callable(detrend):
        frames = detrend(frames)
    elif detrend:
        frames = without_trend(frames, type=detrend)
    frames = frames * cut.window
    transform = jnp.fft.rfft if onesided else jnp.fft.fft
    return jnp.swapaxes(transform(frames, cut.nfft), -1, -2)


def _frequencies(nfft: int, fs: Any, onesided: bool, dtype: np.dtype) -> Array:
    places = np.fft.rfftfreq(nfft) if onesided else np.fft.fftfreq(nfft)
    return jnp.asarray(places, dtype) * fs


def _extended(op: str, x: Array, kind: str | None, n: int) -> Array:
    """x with n more elements at both ends of the last axis."""
    if kind is None or not n:
        return x
    if kind == "zeros" or kind == "constant":
        mode = {"zeros": "constant", "constant": "edge"}[kind]
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(n, n)], mode=mode)
    if kind not in ("even", "odd"):
        raise ValueError(
            f'{op}: boundary must be "even", "odd", "constant", "zeros" or None; got {kind!r}.'
        )
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(n, n)], mode="reflect", reflect_type=kind)


def _floating(op: str, x: Any) -> Array:
    (x,) = promote_inexact(op, x)
    return x.astype("float32") if x.dtype.itemsize < 4 else x


# ---------------------------------------------------------------- transforms
def stft(
    x: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int = 256,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = False,
    return_onesided: bool = True,
    boundary: str | None = "zeros",
    padded: bool = True,
    axis: int = -1,
) -> tuple[Array, Array, Array]:
    """The short-time Fourier transform: spectra of overlapping windowed segments.

    Args:
        x: an array of signals.
        fs: samples per unit of time.
        window: a vector, the name of a window, or a tuple of a name and its parameters.
        nperseg: the segments' length, at most the signals'.
        noverlap: how many samples neighbours share; by default half of a segment.
        nfft: the transforms' length; segments are padded with zeros.
        detrend: "constant" or "linear" takes trends out of segments; False does not.
        return_onesided: whether real signals have no negative frequencies.
        boundary: how signals go on at both ends by half a segment: "zeros", "even", "odd",
            "constant", or None for not at all.
        padded: add zeros to the end, so that segments take up all samples.
        axis: the axis of time.

    Returns:
        The frequencies, the times of the segments' centres, and the transforms, with frequency in
        the place of time and the segments as the last axis; a sine of amplitude 1 has 1/2.

    Example:
        >>> import nr.numpy as jnp
        >>> stft(jnp.ones(16), nperseg=8)[2].shape
        (5, 5)
    """
    op = "stft"
    x = _floating(op, x)
    axis = canonical_axis(op, axis, x.ndim)
    x = jnp.moveaxis(x, axis, -1)
    dtype = dtypes.to_real(x.dtype)
    cut = _segments(op, window, nperseg, noverlap, nfft, x.shape[-1], dtype)
    n = cut.window.shape[0]
    step = n - cut.overlap
    x = _extended(op, x, boundary, n // 2)
    if padded:
        rest = -(x.shape[-1] - n) % step
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, rest)])
    onesided = return_onesided and x.dtype not in dtypes.COMPLEX
    out = _transform(x, cut, detrend, onesided) / jnp.sum(cut.window)
    start = 0 if boundary is not None else n / 2
    times = jnp.asarray(start + step * np.arange(out.shape[-1]), dtype) / fs
    return _frequencies(cut.nfft, fs, onesided, dtype), times, jnp.moveaxis(out, -2, axis)


def istft(
    Zxx: Any,  # noqa: N803 - SciPy's name
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    input_onesided: bool = True,
    boundary: bool = True,
    time_axis: int = -1,
    freq_axis: int = -2,
) -> tuple[Array, Array]:
    """The inverse of `stft`: segments are windowed once more and added up.

    D. Griffin and J. Lim (1984), "Signal estimation from modified short-time Fourier transform".

    Args:
        Zxx: what `stft` gave; other arguments as they were there.
        input_onesided: whether negative frequencies were left out.
        boundary: whether signals were extended at both ends.
        time_axis: the axis of segments.
        freq_axis: the axis of frequencies.

    Returns:
        The times and the signals.

    Example:
        >>> import nr.numpy as jnp
        >>> istft(stft(jnp.ones(16), nperseg=8)[2])[1].shape
        (16,)
    """
    op = "istft"
    (z,) = promote_inexact(op, Zxx)
    if z.ndim < 2:
        raise ValueError(f"{op}: an array of rank 2 or more was expected; got {z.aval}.")
    time_axis = canonical_axis(op, time_axis, z.ndim)
    freq_axis = canonical_axis(op, freq_axis, z.ndim)
    if time_axis == freq_axis:
        raise ValueError(f"{op}: time_axis and freq_axis must differ; got {time_axis} for both.")
    z = jnp.moveaxis(z, (time_axis, freq_axis), (-2, -1))
    dtype = dtypes.to_real(z.dtype)
    count, bins = z.shape[-2:]
    whole = 2 * (bins - 1) if input_onesided else bins
    if nperseg is None:
        nperseg = whole if isinstance(window, (str, tuple)) else jnp.shape(window)[0]
    if nfft is None:
        # an odd length gives as many frequencies as the even one below it
        nfft = nperseg if input_onesided and nperseg == whole + 1 else whole
    cut = _segments(op, window, nperseg, noverlap, nfft, nperseg, dtype)
    step = nperseg - cut.overlap
    transform = jnp.fft.irfft if input_onesided else jnp.fft.ifft
    frames = transform(z, nfft)[..., :nperseg] * (cut.window * jnp.sum(cut.window))
    x = _overlap_added(frames, step)
    weights = jnp.broadcast_to(cut.window * cut.window, (count, nperseg))
    total = _overlap_added(weights, step)
    if boundary:
        keep = slice(nperseg // 2, x.shape[-1] - nperseg // 2)
        x, total = x[..., keep], total[keep]
    x = x / jnp.where(total > 1e-10, total, 1)
    if freq_axis < time_axis:
        time_axis -= 1
    times = jnp.asarray(np.arange(x.shape[-1]), dtype) / fs
    return times, jnp.moveaxis(x, -1, time_axis)


def _overlap_added(frames: Array, step: int) -> Array:
    """The sums of the last axis of ``[..., count, n]``, each row a step after the one before."""
    *lead, count, n = frames.shape
    parts = -(-n // step)
    frames = jnp.pad(frames, [(0, 0)] * (frames.ndim - 1) + [(0, parts * step - n)])
    total = (count + parts - 1) * step
    out = jnp.zeros((*lead, total), frames.dtype)
    for j in range(parts):
        piece = frames[..., j * step : (j + 1) * step].reshape(*lead, count * step)
        before = j * step
        after = total - before - count * step
        out = out + jnp.pad(piece, [(0, 0)] * len(lead) + [(before, after)])
    return lax.slice_in_dim(out, 0, (count - 1) * step + n, axis=-1)


# ---------------------------------------------------------------- power spectra
def csd(
    x: Any,
    y: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Array, Array]:
    """The cross power spectrum of two signals, by Welch's method.

    Args:
        x: an array of signals.
        y: another one; the shorter signals go on with zeros. None means x.
        fs: samples per unit of time.
        window: a vector, the name of a window, or a tuple of a name and its parameters.
        nperseg: the segments' length; by default 256, or the signals' if that is less.
        noverlap: how many samples neighbours share; by default half of a segment.
        nfft: the transforms' length; segments are padded with zeros.
        detrend: "constant" or "linear" takes trends out of segments; False does not.
        return_onesided: whether real signals have no negative frequencies.
        scaling: "density" for power per frequency, "spectrum" for power.
        axis: the axis of time.
        average: over segments, "mean" or "median".

    Returns:
        The frequencies, and the spectrum conj(X) Y in the place of time.

    Example:
        >>> import nr.numpy as jnp
        >>> x = jnp.sin(jnp.arange(64.) * jnp.pi / 4)
        >>> f, p = csd(x, x, nperseg=16)
        >>> float(f[jnp.argmax(p.real)])
        0.125
    """
    frequencies, spectrum = _power(
        "csd", x, y, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis,
        average,
    )  # fmt: skip
    return frequencies, spectrum


def welch(
    x: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Array, Array]:
    """The power spectrum of signals, averaged over segments; arguments as in `csd`.

    Example:
        >>> import nr.numpy as jnp
        >>> f, p = welch(jnp.sin(jnp.arange(64.) * jnp.pi / 4), nperseg=16)
        >>> float(f[jnp.argmax(p)])
        0.125
    """
    return _power(
        "welch", x, None, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling,
        axis, average,
    )  # fmt: skip


def _power(
    op: str, x: Any, y: Any, fs: Any, window: Any, nperseg: Any, noverlap: Any, nfft: Any,
    detrend: Any, return_onesided: bool, scaling: str, axis: int, average: str,
) -> tuple[Array, Array]:  # fmt: skip
    if scaling not in ("density", "spectrum"):
        raise ValueError(f'{op}: scaling must be "density" or "spectrum"; got {scaling!r}.')
    if average not in ("mean", "median"):
        raise ValueError(f'{op}: average must be "mean" or "median"; got {average!r}.')
    alone = y is None
    x, y = _signals(op, x, x if alone else y, axis)
    dtype = dtypes.to_real(x.dtype)
    cut = _segments(op, window, nperseg, noverlap, nfft, x.shape[-1], dtype)
    onesided = return_onesided and x.dtype not in dtypes.COMPLEX
    first = _transform(x, cut, detrend, onesided)
    if alone:
        power = jnp.real(first) ** 2 + jnp.imag(first) ** 2
    else:
        power = jnp.conj(first) * _transform(y, cut, detrend, onesided)
    if scaling == "density":
        power = power / (fs * jnp.sum(cut.window * cut.window))
    else:
        power = power / jnp.sum(cut.window) ** 2
    if onesided:  # the negative frequencies' share; 0 has none, nor has the highest of even lengths
        twice = np.full((power.shape[-2], 1), 2.0)
        twice[0] = 1
        if cut.nfft % 2 == 0:
            twice[-1] = 1
        power = power * jnp.asarray(twice, dtype)
    spectrum = _averaged(power, average)
    frequencies = _frequencies(cut.nfft, fs, onesided, dtype)
    return frequencies, jnp.moveaxis(spectrum, -1, axis)


def _averaged(power: Array, average: str) -> Array:
    if average == "mean":
        return jnp.mean(power, -1)
    # The median of exponentially distributed numbers is less than their mean; Allen et al. (2012),
    # "FINDCHIRP", appendix B.
    count = power.shape[-1]
    bias = 1 + math.fsum(1 / (k + 1) - 1 / k for k in range(2, count, 2))
    if power.dtype in dtypes.COMPLEX:
        middle = lax.complex(jnp.median(power.real, -1), jnp.median(power.imag, -1))
    else:
        middle = jnp.median(power, -1)
    return middle / bias


def _signals(op: str, x: Any, y: Any, axis: int) -> tuple[Array, Array]:
    """Two arrays of signals of one dtype and shape, with time as the last axis."""
    x, y = promote_inexact(op, _floating(op, x), _floating(op, y))
    x, y = jnp.moveaxis(x, axis, -1), jnp.moveaxis(y, axis, -1)
    n = max(x.shape[-1], y.shape[-1])
    x, y = [jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, n - a.shape[-1])]) for a in (x, y)]
    if x.shape != y.shape:
        x, y = jnp.broadcast_arrays(x, y)
    return x, y
