"""Without these, convolutions and spectra could differ from SciPy's, or have no derivatives."""

import numpy as np
import pytest
import scipy.signal

import nr
from nr.scipy import signal
from nr.scipy.signal.convolution import _fast_length
from nr.scipy.signal.windows import window_values
from nr.test_util import check_grads

# Sums of tens of products, and Fourier transforms of tens of elements.
F64 = {"rtol": 1e-10, "atol": 1e-12}
RNG = np.random.default_rng(0)


def sample(shape, kind="float64"):
    x = RNG.normal(size=shape)
    return x + 1j * RNG.normal(size=shape) if kind == "complex128" else x


SHAPES = [
    ((5, 6), (2, 3)),
    ((2, 3), (5, 3)),
    ((4, 4), (4, 4)),
    ((5,), (2,)),
    ((3, 4, 5), (2, 2, 2)),
]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_convolutions(shapes, mode, kind):
    x, y = [sample(shape, kind) for shape in shapes]
    for name in ("convolve", "correlate"):
        ours, theirs = getattr(signal, name), getattr(scipy.signal, name)
        for method in ("auto", "direct", "fft"):
            got, wanted = ours(x, y, mode, method), theirs(x, y, mode)
            np.testing.assert_allclose(got, wanted, err_msg=f"{name} {method}", **F64)
        if x.ndim == 2:
            got = getattr(signal, f"{name}2d")(x, y, mode)
            np.testing.assert_allclose(got, getattr(scipy.signal, f"{name}2d")(x, y, mode), **F64)
    np.testing.assert_allclose(
        signal.fftconvolve(x, y, mode), scipy.signal.fftconvolve(x, y, mode), **F64
    )


def test_convolution_along_some_axes():
    x, y = sample((3, 5)), sample((1, 4))
    np.testing.assert_allclose(
        signal.fftconvolve(x, y, axes=1), scipy.signal.fftconvolve(x, y, axes=1), **F64
    )
    check_grads(lambda x, y: signal.fftconvolve(x, y, axes=1), (x, y), 2, rtol=1e-6)
    check_grads(signal.convolve, (x, y), 2, rtol=1e-6)
    np.testing.assert_allclose(nr.jit(signal.convolve)(x, y), signal.convolve(x, y), **F64)


def test_fast_lengths_have_small_factors():
    for n in range(1, 400):
        rest = _fast_length(n)
        assert n <= rest < 2 * n or n == 1
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        assert rest == 1


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_detrend(axis):
    x = sample((9, 12, 10))
    for options in ({}, {"type": "constant"}, {"bp": [3, 7]}):
        got = signal.detrend(x, axis=axis, **options)
        np.testing.assert_allclose(got, scipy.signal.detrend(x, axis=axis, **options), **F64)
    np.testing.assert_allclose(signal.detrend(np.ones((2, 2)), axis=0), 0, atol=1e-15)


WINDOWS = [
    "boxcar", "hann", "hamming", "blackman", "nuttall", "blackmanharris", "flattop", "bartlett",
    "triang", "cosine", "tukey", ("tukey", 0.3), ("kaiser", 3.0), ("gaussian", 2.0), 4.0,
    ("general_gaussian", 1.5, 2.0), ("general_hamming", 0.6), ("exponential", None, 2.0),
]  # fmt: skip


@pytest.mark.parametrize("window", WINDOWS)
def test_windows(window):
    for n in (1, 2, 7, 8):
        wanted = scipy.signal.get_window(window, n)
        np.testing.assert_allclose(window_values("test", window, n), wanted, **F64)


SEGMENTS = [
    {},
    {"nperseg": 8},
    {"nperseg": 9, "noverlap": 5, "nfft": 16, "fs": 3.0},
    {"nperseg": 7, "return_onesided": False, "window": "hamming"},
    {"nperseg": 12, "window": np.hanning(12), "detrend": "linear"},
]


@pytest.mark.filterwarnings("ignore:nperseg:UserWarning", "ignore:Input data is complex")
@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize("options", SEGMENTS)
def test_spectra(kind, options):
    x, y = sample((3, 50, 2), kind), sample((3, 40, 2))
    for boundary in ("zeros", "even", "odd", "constant", None):
        extra = {**options, "boundary": boundary, "padded": boundary is not None}
        got = signal.stft(x, axis=1, **extra)
        for ours, theirs in zip(got, scipy.signal.stft(x, axis=1, **extra), strict=True):
            np.testing.assert_allclose(ours, theirs, **F64)
    for scaling in ("density", "spectrum"):
        for average in ("mean", "median"):
            extra = {**options, "scaling": scaling, "average": average, "axis": 1}
            got = (*signal.welch(x, **extra), *signal.csd(x, y, **extra))
            wanted = (*scipy.signal.welch(x, **extra), *scipy.signal.csd(x, y, **extra))
            for ours, theirs in zip(got, wanted, strict=True):
                np.testing.assert_allclose(ours, theirs, **F64)


@pytest.mark.parametrize(
    "options",
    [
        {"nperseg": 8},
        {"nperseg": 9},
        {"nperseg": 9, "noverlap": 5, "nfft": 16, "fs": 3.0},
        {"nperseg": 7, "window": "hamming", "noverlap": 4},
    ],
)
def test_istft_gives_the_signal_back(options):
    x = sample((3, 50, 2))
    transform = signal.stft(x, axis=1, **options)[2]
    times, back = signal.istft(transform, freq_axis=1, time_axis=-1, **options)
    np.testing.assert_allclose(np.moveaxis(np.asarray(back), -1, 1)[:, :50], x, **F64)
    np.testing.assert_allclose(times, np.arange(back.shape[-1]) / options.get("fs", 1), **F64)
    wanted = scipy.signal.istft(np.asarray(transform), freq_axis=1, time_axis=-1, **options)[1]
    np.testing.assert_allclose(back, wanted, **F64)


def test_spectra_under_transformations():
    x = sample((2, 30))
    check_grads(lambda x: signal.welch(x, nperseg=8)[1], (x,), 2, rtol=1e-6)
    check_grads(lambda x: signal.istft(signal.stft(x, nperseg=8)[2])[1], (x,), 1, rtol=1e-6)
    got = nr.vmap(nr.jit(lambda x: signal.stft(x, nperseg=8)[2]))(x)
    np.testing.assert_allclose(got, signal.stft(x, nperseg=8)[2], **F64)
    assert signal.stft(np.arange(20), nperseg=8)[2].dtype == np.complex64


X = np.ones(12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: signal.convolve(X, X[:0]), "convolve: arrays with elements"),
        (lambda: signal.convolve(X, X, "odd"), "convolve: mode must be one of"),
        (lambda: signal.convolve(X, X[None]), "convolve: arrays of one rank"),
        (lambda: signal.correlate(X, X, method="no"), "correlate: method must be one of"),
        (lambda: signal.convolve(X[None], X[:2, None], "valid"), 'convolve: with mode="valid"'),
        (lambda: signal.convolve2d(X, X), "convolve2d: arrays of rank 2"),
        (lambda: signal.fftconvolve(X[None], X[None, :2], axes=0), "fftconvolve: extents along"),
        (lambda: signal.detrend(X, type="x"), "detrend: type must be"),
        (lambda: signal.detrend(X, bp=13), "detrend: places from 0 to 12"),
        (lambda: signal.stft(X, window="x"), "stft: the window must be an array or one of"),
        (lambda: signal.stft(X, nperseg=4, noverlap=4), "stft: noverlap must be less"),
        (lambda: signal.stft(X, nperseg=4, nfft=3), r"stft: nfft must be 4 \(nperseg\) or more"),
        (lambda: signal.stft(X, nperseg=4, boundary="x"), "stft: boundary must be"),
        (lambda: signal.stft(X, nperseg=4, window=X), "stft: nperseg must be the window's length"),
        (lambda: signal.welch(X, scaling="x"), "welch: scaling must be"),
        (lambda: signal.csd(X, X, average="x"), "csd: average must be"),
        (lambda: signal.istft(X), "istft: an array of rank 2 or more"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unsupported_boundaries():
    with pytest.raises(NotImplementedError, match='convolve2d: boundary must be "fill"'):
        signal.convolve2d(X[None], X[None], boundary="wrap")
