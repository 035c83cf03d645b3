"""Without these, interpolation, cosine transforms or nearest codes could differ from SciPy's."""

import numpy as np
import pytest
import scipy.cluster.vq
import scipy.fft
import scipy.interpolate

import nr
import nr.numpy as jnp
from nr.scipy import fft, integrate
from nr.scipy.cluster.vq import vq
from nr.scipy.interpolate import RegularGridInterpolator
from nr.scipy.ndimage import map_coordinates
from nr.test_util import check_grads

# Sums of tens of products.
F64 = {"rtol": 1e-11, "atol": 1e-12}
RNG = np.random.default_rng(0)


# ---------------------------------------------------------------- cosine transforms
@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
def test_cosine_transforms(n, norm):
    x = RNG.normal(size=(3, n))
    for name in ("dct", "idct"):
        ours, theirs = getattr(fft, name), getattr(scipy.fft, name)
        for options in ({}, {"n": 4}, {"n": 7}, {"axis": 0}):
            got = ours(x, norm=norm, **options)
            np.testing.assert_allclose(got, theirs(x, norm=norm, **options), **F64)
        ours, theirs = getattr(fft, name + "n"), getattr(scipy.fft, name + "n")
        for options in ({}, {"axes": (0,)}, {"s": (5,)}, {"s": (2, 6), "axes": (1, 0)}):
            got = ours(x, norm=norm, **options)
            np.testing.assert_allclose(got, theirs(x, norm=norm, **options), **F64)
    z = x + 1j * x[::-1]
    np.testing.assert_allclose(fft.dct(z, norm=norm), scipy.fft.dct(z, norm=norm), **F64)
    back = fft.idct(fft.dct(x.astype(np.float32), norm=norm), norm=norm)
    np.testing.assert_allclose(back, x, rtol=1e-5, atol=1e-5)


def test_cosine_transforms_are_linear_maps():
    x = RNG.normal(size=6)
    matrix = scipy.fft.dct(np.eye(6), axis=0)
    np.testing.assert_allclose(nr.jacrev(fft.dct)(x), matrix, **F64)
    np.testing.assert_allclose(nr.jit(nr.jacfwd(fft.dct))(x), matrix, **F64)
    np.testing.assert_allclose(nr.jacrev(fft.idct)(x), np.linalg.inv(matrix), **F64)


# ---------------------------------------------------------------- places in images
COORDINATES = np.concatenate([RNG.uniform(-9, 14, 40), np.arange(-3, 4) / 2])


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8", "complex128"])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("mode", ["constant", "nearest", "wrap", "mirror", "reflect"])
def test_map_coordinates_like_jax(dtype, order, mode):
    jax = pytest.importorskip("jax")
    theirs = pytest.importorskip("jax.scipy.ndimage").map_coordinates
    for shape in ((5,), (1, 3), (2, 3, 4)):
        image = RNG.integers(0, 200, shape).astype(dtype)
        places = [COORDINATES * (1 + d) / 2 for d in range(len(shape))]
        got = map_coordinates(image, places, order, mode, cval=3)
        with jax.enable_x64(True):
            wanted = np.asarray(theirs(image, places, order, mode, cval=3))
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, **F64)


def test_map_coordinates_has_gradients():
    image, x = RNG.normal(size=(4, 5)), np.array([0.3, 1.4, 2.6])

    def values(image, x):
        return map_coordinates(image, [x, 0.7 * x], 1, "mirror")

    check_grads(values, (image, x), 1, rtol=1e-6)
    np.testing.assert_allclose(nr.jit(values)(image, x), values(image, x), **F64)
    batched = nr.vmap(values, (None, 0))(image, np.stack([x, x + 0.1]))
    np.testing.assert_allclose(batched[1], values(image, x + 0.1), **F64)


# ---------------------------------------------------------------- grids
GRID = (np.sort(RNG.normal(size=5)), np.sort(RNG.normal(size=4)), np.array([1.0, 2.0]))
VALUES = RNG.normal(size=(5, 4, 2, 3))


@pytest.mark.parametrize("method", ["linear", "nearest"])
@pytest.mark.parametrize("fill_value", [np.nan, None, 7.0])
def test_interpolation_on_grids(method, fill_value):
    xi = np.stack([RNG.uniform(p[0] - 0.5, p[-1] + 0.5, 50) for p in GRID], axis=-1)
    xi[0], xi[1] = np.nan, [GRID[0][0], GRID[1][-1], 1.0]
    ours = RegularGridInterpolator(GRID, VALUES, method, fill_value=fill_value)
    theirs = scipy.interpolate.RegularGridInterpolator(
        GRID, VALUES, method, bounds_error=False, fill_value=fill_value
    )
    np.testing.assert_allclose(ours(xi), theirs(xi), **F64)
    np.testing.assert_allclose(nr.jit(ours)(xi), theirs(xi), **F64)
    got = ours((xi[:, 0], xi[:, 1], 1.5), method="linear")
    np.testing.assert_allclose(got, theirs((xi[:, 0], xi[:, 1], 1.5), method="linear"), **F64)


def test_interpolation_has_gradients():
    place = np.array([0.5 * (p[0] + p[1]) for p in GRID])
    check_grads(
        lambda values, x: RegularGridInterpolator(GRID, values)(x), (VALUES, place), 1, rtol=1e-6
    )


# ---------------------------------------------------------------- codes, integrals
def test_vq():
    obs, codes = RNG.normal(size=(10, 3)), RNG.normal(size=(4, 3))
    for x, y in ((obs, codes), (obs[:, 0], codes[:, 0])):
        for got, wanted in zip(vq(x, y), scipy.cluster.vq.vq(x, y), strict=True):
            np.testing.assert_allclose(got, wanted, **F64)


def test_trapezoid_is_that_of_numpy():
    assert float(integrate.trapezoid(jnp.array([1.0, 2.0, 3.0]), dx=2.0)) == 8.0


X = np.ones(4)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: fft.dct(X, type=3), NotImplementedError, "dct: type must be 2; got 3"),
        (lambda: fft.idct(X, norm="x"), ValueError, "idct: norm must be"),
        (lambda: fft.dctn(X, s=(2, 3), axes=(0,)), ValueError, "dctn: as many lengths as axes"),
        (lambda: map_coordinates(X, [X], 1, "x"), ValueError, "map_coordinates: mode must be"),
        (lambda: map_coordinates(X, [X], 3), NotImplementedError, "order must be 0 or 1; got 3"),
        (lambda: map_coordinates(X, [X, X], 1), ValueError, "as many coordinates"),
        (lambda: RegularGridInterpolator([X], X, "x"), ValueError, "method must be"),
        (lambda: RegularGridInterpolator([X], X[:2]), ValueError, r"points\[0\] must be \[2\]"),
        (lambda: RegularGridInterpolator([X, X], X), ValueError, "values of rank 2 or more"),
        (
            lambda: RegularGridInterpolator([X], X, bounds_error=True),
            NotImplementedError,
            "bounds_error must be False",
        ),
        (lambda: RegularGridInterpolator([X], X)(np.ones((2, 3))), ValueError, r"\[..., 1\]"),
        (lambda: vq(X, X[None]), ValueError, 'vq: "obs" and "code_book" must be'),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
