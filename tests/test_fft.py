"""Without this, nr.numpy.fft could give wrong numbers, dtypes, derivatives or errors."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.test_util import check_grads

FFT = jnp.fft
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
TWO = ("fft2", "ifft2", "rfft2", "irfft2")
MANY = ("fftn", "ifftn", "rfftn", "irfftn")
REAL = ("rfft", "ihfft", "rfft2", "rfftn")
# Both sides add up a few dozen rounded terms.
TOL = {"float32": 1e-5, "complex64": 1e-5, "float64": 1e-13, "complex128": 1e-13}


def sample(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def check(name, x, **options):
    got = getattr(FFT, name)(jnp.array(x), **options)
    expected = getattr(np.fft, name)(x, **options)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    tol = TOL[x.dtype.name] * max(1, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, atol=tol)


@pytest.mark.parametrize("dtype", TOL)
@pytest.mark.parametrize("name", (*ONE, *TWO, *MANY))
def test_value(name, dtype):
    if name in REAL and np.dtype(dtype).kind == "c":
        return
    x = sample(dtype, (3, 4, 5))
    for norm in (None, "backward", "ortho", "forward"):
        check(name, x, norm=norm)


@pytest.mark.parametrize("name", ONE)
def test_lengths_and_axes(name):
    x = sample("float64", (3, 4, 5))
    for n in (1, 3, 4, 8, 9):
        check(name, x, n=n)
        check(name, x, n=n, axis=1)


@pytest.mark.parametrize("name", MANY)
def test_several_lengths_and_axes(name):
    x = sample("float64", (3, 4, 5))
    check(name, x, axes=(2, 0))
    check(name, x, axes=(-2,))
    check(name, x, s=(2, 7), axes=(1, 2))
    check(name, x, s=(4, 6), axes=(2, 0))


def test_frequencies_and_shifts():
    for n in (1, 4, 7):
        np.testing.assert_allclose(FFT.fftfreq(n, 0.5), np.fft.fftfreq(n, 0.5), rtol=1e-6)
        np.testing.assert_allclose(FFT.rfftfreq(n, 0.5), np.fft.rfftfreq(n, 0.5), rtol=1e-6)
    assert FFT.fftfreq(4).dtype == np.float32 and FFT.rfftfreq(4, dtype="float64").dtype == float
    x = jnp.arange(20).reshape(4, 5)
    for axes in (None, 0, (1,), (0, 1)):
        np.testing.assert_array_equal(FFT.fftshift(x, axes), np.fft.fftshift(np.asarray(x), axes))
        np.testing.assert_array_equal(FFT.ifftshift(FFT.fftshift(x, axes), axes), x)


@pytest.mark.parametrize("name", (*ONE, "fft2", "rfftn", "irfftn"))
def test_derivatives(name):
    x = sample("float64" if name in REAL else "complex128", (2, 3, 4))
    f = getattr(FFT, name)
    check_grads(lambda x: f(x, norm="ortho"), (x,), 1)
    if name in ONE:
        check_grads(lambda x: f(x, n=5, axis=1) ** 2, (x,), 2)


@pytest.mark.parametrize("name", (*ONE, *TWO))
def test_vmap_and_jit(name):
    f = getattr(FFT, name)
    x = sample("float64", (3, 4, 5, 2))
    lanes = np.stack([f(x[..., i]) for i in range(2)])
    np.testing.assert_allclose(nr.vmap(f, -1)(x), lanes, atol=1e-13)
    np.testing.assert_allclose(nr.jit(f)(x[..., 0]), lanes[0], atol=1e-13)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32", "complex64"])
def test_dtypes_are_those_of_jax(dtype):
    jax = pytest.importorskip("jax")
    x = np.ones((4, 6), dtype)
    for name in (*ONE, *TWO, *MANY):
        if name in REAL and dtype == "complex64":
            continue
        got, expected = getattr(FFT, name)(jnp.array(x)), getattr(jax.numpy.fft, name)(x)
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape), name


def test_lax_transforms_of_real_numbers():
    x = jnp.array([1.0, 2.0, 4.0])
    for kind in ("FFT", "ifft"):
        for real in (x, x.astype("int32")):
            out = nr.lax.fft(real, kind, (3,))
            assert out.dtype == np.complex64
            np.testing.assert_array_equal(out, nr.lax.fft(x.astype(out.dtype), kind, (3,)))


ERRORS = {
    "norm": (lambda: FFT.fft(jnp.ones(4), norm="both"), ValueError, 'fft: norm must be "backward"'),
    "complex": (lambda: FFT.rfft(jnp.ones(4, "complex64")), TypeError, "rfft: real numbers .* c64"),
    "length": (lambda: FFT.fft(jnp.ones(4), n=0), ValueError, "fft: transforms must have length 1"),
    "axis": (lambda: FFT.fft(jnp.ones(4), axis=1), ValueError, "fft: axis 1 is out of bounds"),
    "axes": (lambda: FFT.fft2(jnp.ones((4, 4)), axes=(0,)), ValueError, "fft2: two axes"),
    "twice": (lambda: FFT.fftn(jnp.ones((4, 4)), axes=(0, 0)), ValueError, "duplicate value"),
    "lax": (lambda: nr.lax.fft(jnp.ones(4, "c8"), "RFFT", (4,)), TypeError, "or f64; got c64"),
    "extent": (lambda: nr.lax.fft(jnp.ones(4), "RFFT", (5,)), ValueError, "must be .5,.; got f32"),
    "kind": (lambda: nr.lax.fft(jnp.ones(4), "DCT", (4,)), ValueError, "fft_type must be FFT"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call()
