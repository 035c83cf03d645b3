"""Convolution, spectra and trends, with the names of jax.scipy.signal."""

from nr.scipy.signal.convolution import convolve, convolve2d, correlate, correlate2d, fftconvolve
from nr.scipy.signal.spectral import csd, istft, stft, welch
from nr.scipy.signal.trends import detrend

__all__ = [
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "csd",
    "detrend",
    "fftconvolve",
    "istft",
    "stft",
    "welch",
]
