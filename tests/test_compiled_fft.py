"""Without these, Fourier transforms in compiled programs could be wrong, or run in Python."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.backends.compiler.lowering.fourier.butterflies import dft
from nr.backends.compiler.lowering.fourier.lines import factors
from nr.backends.compiler.lowering.fourier.roots import radices
from nr.backends.compiler.plan import Target
from nr.backends.cpu import program
from nr.lax import fft as lax_fft

# Every radix, several passes with stride first and in between, and primes that are too large.
LENGTHS = [*range(1, 17), 18, 20, 34, 49, 60, 101, 121, 128, 169, 250, 509, 1000, 4096]
# Measured: up to 10 epsilon of the root of the mean square, for convolutions; NumPy's up to 5.
BOUND = 16


def some(shape, dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def compiled(function, x):
    f = nr.jit(function)
    assert "everything is compiled" in f.lower(jnp.asarray(x)).as_text("report")
    return np.asarray(f(jnp.asarray(x)))


def check(function, x, expected):
    got = compiled(function, x)
    assert got.shape == expected.shape
    size = max(float(np.sqrt(np.mean(np.abs(expected) ** 2))), 1e-30)
    assert np.max(np.abs(got - expected)) <= BOUND * np.finfo(got.dtype).eps * size


@pytest.mark.parametrize("n", LENGTHS)
def test_all_lengths(n):
    for dtype in ("complex64", "complex128"):
        x = some((3, n), dtype)
        wide = x.astype("complex128")
        check(jnp.fft.fft, x, np.fft.fft(wide))
        check(jnp.fft.ifft, x, np.fft.ifft(wide))


@pytest.mark.parametrize("n", LENGTHS)
def test_all_lengths_of_real_transforms(n):
    for dtype in ("float32", "float64"):
        x = some((3, n), dtype)
        check(jnp.fft.rfft, x, np.fft.rfft(x.astype("float64")))
        half = some((3, n // 2 + 1), np.result_type(dtype, "complex64"))
        # The imaginary parts of the ends are not looked at.
        expected = np.fft.irfft(half.astype("complex128"), n)
        check(lambda x: lax_fft(x, "IRFFT", (n,)), half, expected)


@pytest.mark.parametrize("shape", [(40, 64), (300, 12), (2, 3, 5), (7, 1), (1, 1), (64, 34)])
def test_several_dimensions(shape):
    x = some((2, *shape), "complex64")
    axes = tuple(range(1, x.ndim))
    check(lambda x: jnp.fft.fftn(x, axes=axes), x, np.fft.fftn(x.astype("complex128"), axes=axes))
    check(lambda x: jnp.fft.ifftn(x, axes=axes), x, np.fft.ifftn(x.astype("complex128"), axes=axes))
    real = x.real.copy()
    spectrum = np.fft.rfftn(real.astype("float64"), axes=axes)
    check(lambda x: jnp.fft.rfftn(x, axes=axes), real, spectrum)
    check(
        lambda x: jnp.fft.irfftn(x, s=shape, axes=axes),
        spectrum.astype("complex64"), real.astype("float64"),
    )  # fmt: skip


def test_along_the_first_dimension():
    x = some((48, 10), "complex64")
    check(lambda x: jnp.fft.fft(x, axis=0), x, np.fft.fft(x.astype("complex128"), axis=0))


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 1000])
def test_any_number_of_rows(rows):
    for n in (8, 256):
        x = some((rows, n), "complex64")
        check(jnp.fft.fft, x, np.fft.fft(x.astype("complex128")))
        check(jnp.fft.ifft, x, np.fft.ifft(x.astype("complex128")))


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_other_vectors(vector_bytes, monkeypatch):
    """Rows in pairs, columns, convolutions and real rows, as on other processors."""
    monkeypatch.setattr(program, "target", lambda: Target(vector_bytes))
    for dtype in ("complex64", "complex128"):
        for n in (64, 100, 128, 192, 509, 1000):
            x = some((3, n), dtype)
            wide = x.astype("complex128")
            check(jnp.fft.fft, x, np.fft.fft(wide))
            check(jnp.fft.ifft, x, np.fft.ifft(wide))
            check(jnp.fft.rfft, x.real.copy(), np.fft.rfft(wide.real))
        x = some((2, 24, 37), dtype)
        check(jnp.fft.fft2, x, np.fft.fft2(x.astype("complex128")))
        check(jnp.fft.ifft2, x, np.fft.ifft2(x.astype("complex128")))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (2, 0), (1, 3), (0, 1, 2)])
def test_along_some_dimensions_without_transposing(axes):
    x = some((6, 48, 20, 3), "complex64")
    wide = x.astype("complex128")
    check(lambda x: jnp.fft.fftn(x, axes=axes), x, np.fft.fftn(wide, axes=axes))
    check(lambda x: jnp.fft.ifftn(x, axes=axes), x, np.fft.ifftn(wide, axes=axes))
    if axes in ((0,), (1,)):
        steps = nr.jit(lambda x: jnp.fft.fftn(x, axes=axes)).lower(jnp.asarray(x)).as_text("loops")
        assert steps.startswith("out0 = fft of columns(in0, ")


def test_a_transposed_operand_and_spectrum_that_others_read():
    x = some((40, 24), "complex64")
    wide = x.astype("complex128")
    check(lambda x: jnp.fft.fft(x.T) + x.T, x, np.fft.fft(wide.T) + wide.T)
    check(lambda x: (s := jnp.fft.fft(x.T)).T * s[0, 0], x, (s := np.fft.fft(wide.T)).T * s[0, 0])


@pytest.mark.parametrize("length", [1 << 15, 1 << 16, 1 << 17])
def test_long_rows(length):
    """Two at a time, one at a time, or all in passes that threads share, by what scratch takes."""
    x = some((3, length), "complex64")
    check(jnp.fft.fft, x, np.fft.fft(x.astype("complex128")))
    check(jnp.fft.ifft, x, np.fft.ifft(x.astype("complex128")))


def test_factors_of_passes_over_vectors():
    for n in range(1, 2000):
        found = factors(n)
        if 210 ** n.bit_length() % n:  # a prime factor above 7
            assert found is None
        else:
            assert np.prod(found) == n and max(found) <= 9


def test_no_rows():
    assert compiled(jnp.fft.fft, np.zeros((0, 8), "complex64")).shape == (0, 8)


def test_fused_with_what_is_around_it_and_in_loops():
    kernel = np.fft.rfft(some((128,), "float64"))

    def convolved(x):
        return jnp.fft.irfft(jnp.fft.rfft(x) * jnp.asarray(kernel, "complex64"), 128) + 1

    x = some((128,), "float32")
    expected = np.fft.irfft(np.fft.rfft(x.astype("float64")) * kernel, 128) + 1
    check(convolved, x, expected)

    def thrice(x):
        return nr.lax.fori_loop(0, 3, lambda _, x: jnp.fft.fft(x) / 8, x)

    z = some((64,), "complex64")
    expected = z.astype("complex128")
    for _ in range(3):
        expected = np.fft.fft(expected) / 8
    check(thrice, z, expected)


def test_steps_that_a_thread_does_for_its_rows():
    x = some((64, 512), "float32")
    kernel = np.fft.rfft(some((512,), "float64"))

    def convolved(x):
        return jnp.fft.irfft(jnp.fft.rfft(x) * jnp.asarray(kernel, "complex64"), 512)

    assert nr.jit(convolved).lower(jnp.asarray(x)).as_text("loops").startswith("row by row:")
    check(convolved, x, np.fft.irfft(np.fft.rfft(x.astype("float64")) * kernel, 512))
    # Planes: in pairs of rows, of which an odd number is not whole pairs.
    for shape in ((32, 64, 32), (32, 63, 64), (33, 63, 64)):
        z = some(shape, "complex64")
        expected = np.fft.fftn(z.astype("complex128"), axes=(1, 2))
        check(lambda z: jnp.fft.fftn(z, axes=(1, 2)), z, expected)


def test_the_gradient_is_compiled():
    x = some((4, 20), "float32")
    gradient = nr.grad(lambda x: jnp.sum(jnp.abs(jnp.fft.rfft(x)) ** 2))
    np.testing.assert_allclose(compiled(gradient, x), np.asarray(gradient(jnp.asarray(x))), 1e-5)


def test_results_do_not_depend_on_the_number_of_threads():
    for shape in ((1 << 14,), (1 << 16,), (100, 100), (63, 256), (64, 1024), (40, 64, 64)):
        x = jnp.asarray(some(shape, "complex64"))
        f = nr.jit(jnp.fft.fftn if len(shape) == 3 else jnp.fft.fft)
        with nr.num_threads(1):
            one = np.asarray(f(x))
        with nr.num_threads(2):
            np.testing.assert_array_equal(np.asarray(f(x)), one)


def test_factors():
    for n in range(1, 2000):
        found = radices(n)
        if found is None:
            assert any(n % p == 0 for p in range(17, n + 1) if all(p % d for d in range(2, p)))
        else:
            assert np.prod(found) == n and max(found) <= 16
    assert radices(1 << 13) == [16, 8, 8, 8]


@pytest.mark.parametrize("n", range(1, 17))
def test_small_transforms_as_expressions(n):
    """Of constants, which fold: both signs."""
    from nr.backends.compiler.expr import Complex, compiling, const

    x = some((n,), "complex128")
    with compiling():
        values = [Complex(const(v.real, "f64"), const(v.imag, "f64")) for v in x]
        for sign in (-1, 1):
            got = [complex(v.re.param, v.im.param) for v in dft(values, sign)]
            expected = np.fft.fft(x) if sign < 0 else np.fft.ifft(x) * n
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)
