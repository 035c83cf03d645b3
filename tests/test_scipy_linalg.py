"""Without these, matrix functions and special matrices could differ from SciPy's."""

import numpy as np
import pytest
import scipy.linalg

import nr
import nr.numpy as jnp
from nr.scipy import linalg
from nr.test_util import check_grads

# Products and factorizations of matrices of order 5 whose condition is about a hundred.
F64 = {"rtol": 1e-11, "atol": 1e-12}
RNG = np.random.default_rng(0)
VECTOR, LONGER = RNG.normal(size=5), RNG.normal(size=7)
REAL = RNG.normal(size=(5, 5))
MATRICES = {"real": REAL, "complex": REAL + 1j * RNG.normal(size=(5, 5))}
POSITIVE = REAL @ REAL.T + np.eye(5)


# ---------------------------------------------------------------- special matrices
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("circulant", (VECTOR,)),
        ("companion", (VECTOR,)),
        ("fiedler", (VECTOR,)),
        ("fiedler_companion", (VECTOR,)),
        ("fiedler_companion", (LONGER,)),
        ("fiedler_companion", (VECTOR[:2],)),
        ("hankel", (VECTOR,)),
        ("hankel", (VECTOR, LONGER)),
        ("leslie", (VECTOR, VECTOR[1:])),
    ],
)
def test_matrices_of_elements(name, arguments):
    function = getattr(linalg, name)
    wanted = getattr(scipy.linalg, name)(*arguments)
    np.testing.assert_allclose(function(*arguments), wanted, **F64)
    stacked = function(*[np.stack([2 * x, x]) for x in arguments])
    np.testing.assert_allclose(stacked[1], wanted, **F64)


@pytest.mark.parametrize("sizes", [(3, 5), (5, 3), (4, 4), (1, 1), (6, 2)])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolution_matrix(sizes, mode):
    a, v = RNG.normal(size=sizes[0]), RNG.normal(size=sizes[1])
    matrix = linalg.convolution_matrix(a, sizes[1], mode)
    np.testing.assert_allclose(matrix, scipy.linalg.convolution_matrix(a, sizes[1], mode), **F64)
    np.testing.assert_allclose(matrix @ v, np.convolve(a, v, mode), **F64)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_matrices_by_size(n):
    with nr.config.using(default_float="float64"):
        for name in ("helmert", "hilbert", "invhilbert"):
            wanted = getattr(scipy.linalg, name)(n)
            np.testing.assert_allclose(getattr(linalg, name)(n), wanted, **F64)
        np.testing.assert_allclose(linalg.helmert(n, True), scipy.linalg.helmert(n, True), **F64)
        for kind in ("symmetric", "lower", "upper"):
            for name in ("pascal", "invpascal"):
                wanted = getattr(scipy.linalg, name)(n, kind)
                np.testing.assert_array_equal(getattr(linalg, name)(n, kind), wanted)
        for scale in (None, "n", "sqrtn"):
            np.testing.assert_allclose(linalg.dft(n, scale), scipy.linalg.dft(n, scale), **F64)
    size = 1 << (n - 1)
    np.testing.assert_array_equal(linalg.hadamard(size), scipy.linalg.hadamard(size))


# ---------------------------------------------------------------- factorizations
@pytest.mark.parametrize("kind", MATRICES)
def test_similar_matrices(kind):
    a = MATRICES[kind]
    h, q = linalg.hessenberg(a, calc_q=True)
    wanted = scipy.linalg.hessenberg(a, calc_q=True)
    np.testing.assert_allclose(h, wanted[0], **F64)
    np.testing.assert_allclose(q, wanted[1], **F64)
    np.testing.assert_allclose(linalg.hessenberg(a), h, **F64)
    for output in ("real", "complex"):
        t, z = linalg.schur(a, output)
        np.testing.assert_allclose(z @ t @ z.conj().T, a, **F64)
        below = -1 if kind == "complex" or output == "complex" else -2
        np.testing.assert_allclose(np.tril(t, below), 0, atol=1e-12)
    t, z = linalg.rsf2csf(*linalg.schur(a))
    np.testing.assert_allclose(z @ t @ z.conj().T, a, **F64)
    np.testing.assert_allclose(np.tril(t, -1), 0, atol=1e-12)
    for n in (0, 1):
        assert linalg.hessenberg(np.eye(n), calc_q=True)[1].shape == (n, n)


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("method", ["qdwh", "svd"])
def test_polar(kind, method):
    a = MATRICES[kind]
    for matrix, side in ((a, "right"), (a, "left"), (a[:, :3], "right"), (a[:3], "left")):
        got = linalg.polar(matrix, side, method=method)
        for ours, theirs in zip(got, scipy.linalg.polar(matrix, side), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-11)
    wide = linalg.polar(a[:3], method="svd")
    np.testing.assert_allclose(wide[1], scipy.linalg.polar(a[:3])[1], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("pivoting", [False, True])
def test_qr_multiply(kind, pivoting):
    a = MATRICES[kind][:, :3]
    for mode, c in (
        ("right", RNG.normal(size=(2, 5))),
        ("left", RNG.normal(size=(3, 2))),
        ("right", VECTOR),
        ("left", VECTOR[:3]),
    ):
        for conjugate in (False, True):
            got = linalg.qr_multiply(a, c, mode, pivoting, conjugate)
            wanted = scipy.linalg.qr_multiply(a, c, mode, pivoting, conjugate)
            for ours, theirs in zip(got, wanted, strict=True):
                np.testing.assert_allclose(ours, theirs, **F64)
    for ours, theirs in zip(
        linalg.qr(a, pivoting=True), scipy.linalg.qr(a, pivoting=True), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, **F64)


def test_eigh_tridiagonal():
    d, e = LONGER, RNG.normal(size=6)
    w, v = linalg.eigh_tridiagonal(d, e)
    wanted = scipy.linalg.eigh_tridiagonal(d, e)
    np.testing.assert_allclose(w, wanted[0], **F64)
    np.testing.assert_allclose(np.abs(v), np.abs(wanted[1]), rtol=1e-9, atol=1e-11)
    some = linalg.eigh_tridiagonal(d, e, eigvals_only=True, select="i", select_range=(1, 3))
    np.testing.assert_allclose(some, wanted[0][1:4], **F64)
    check_grads(lambda d, e: linalg.eigh_tridiagonal(d, e)[0], (d, e), 1, rtol=1e-6)


# ---------------------------------------------------------------- functions of matrices
@pytest.mark.parametrize("kind", MATRICES)
def test_functions_of_matrices(kind):
    a = MATRICES[kind]
    root = linalg.sqrtm(a)
    np.testing.assert_allclose(root, scipy.linalg.sqrtm(a), **F64)
    np.testing.assert_allclose(root @ root, a, **F64)
    np.testing.assert_allclose(linalg.funm(a, jnp.exp), scipy.linalg.expm(a), **F64)
    value, error = linalg.funm(a, jnp.sin, disp=False)
    np.testing.assert_allclose(value, scipy.linalg.funm(a, np.sin), **F64)
    assert 0 < float(error) < 1e-12
    for ours, theirs in zip(
        linalg.expm_frechet(a, a.T), scipy.linalg.expm_frechet(a, a.T), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, **F64)
    b, c = RNG.normal(size=(4, 4)), RNG.normal(size=(5, 4))
    x = linalg.solve_sylvester(a, b, c)
    np.testing.assert_allclose(a @ x + x @ b, c, **F64)
    assert x.dtype == np.result_type(a, c)


def test_roots_that_there_are_not():
    assert np.isnan(linalg.sqrtm(np.array([[0.0, 1.0], [0.0, 0.0]]))).any()
    np.testing.assert_array_equal(linalg.sqrtm(np.zeros((2, 2))), 0)
    assert np.isnan(linalg.solve_sylvester(REAL, -REAL, REAL)).all()


def test_derivatives_of_matrix_functions():
    b, c = RNG.normal(size=(4, 4)), RNG.normal(size=(5, 4))
    check_grads(linalg.solve_sylvester, (REAL, b, c), 1, rtol=1e-5, atol=1e-5)
    check_grads(lambda a: linalg.sqrtm(a).real, (POSITIVE,), 1, rtol=1e-5, atol=1e-6)
    jitted = nr.jit(linalg.sqrtm)(POSITIVE)
    np.testing.assert_allclose(jitted, scipy.linalg.sqrtm(POSITIVE), **F64)
    batched = nr.vmap(linalg.sqrtm)(np.stack([POSITIVE, 2 * POSITIVE]))
    np.testing.assert_allclose(batched[1], scipy.linalg.sqrtm(2 * POSITIVE), **F64)
    batched = nr.vmap(lambda c: linalg.solve_sylvester(REAL, b, c))(np.stack([c, 2 * c]))
    np.testing.assert_allclose(batched[1], 2 * batched[0], **F64)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: linalg.companion(VECTOR[:1]), ValueError, "companion: two coefficients"),
        (lambda: linalg.convolution_matrix(VECTOR, 0), ValueError, "a positive n"),
        (lambda: linalg.convolution_matrix(VECTOR, 2, "x"), ValueError, "mode must be"),
        (lambda: linalg.leslie(VECTOR, VECTOR), ValueError, 'leslie: "f" must be'),
        (lambda: linalg.dft(3, "x"), ValueError, "dft: scale must be"),
        (lambda: linalg.hadamard(6), ValueError, "hadamard: n must be a power of 2; got 6"),
        (lambda: linalg.helmert(0), ValueError, "helmert: n must be positive"),
        (lambda: linalg.pascal(3, "x"), ValueError, "pascal: kind must be"),
        (lambda: linalg.sqrtm(REAL, 2), NotImplementedError, "sqrtm: blocksize must be 1"),
        (lambda: linalg.sqrtm(REAL[None]), ValueError, "Use nr.vmap"),
        (lambda: linalg.funm(REAL[0], jnp.exp), ValueError, "funm: the shape must be"),
        (lambda: linalg.schur(REAL, "x"), ValueError, "schur: output must be"),
        (lambda: linalg.polar(REAL, "x"), ValueError, "polar: side must be"),
        (lambda: linalg.polar(REAL, method="x"), ValueError, "polar: method must be"),
        (lambda: linalg.polar(REAL[:2]), NotImplementedError, 'Use method="svd"'),
        (lambda: linalg.qr_multiply(REAL, REAL, "x"), ValueError, "qr_multiply: mode must be"),
        (lambda: linalg.qr_multiply(REAL, LONGER), ValueError, "an extent of 5 along axis 0"),
        (lambda: linalg.solve_sylvester(REAL, REAL, VECTOR), ValueError, r"\[m, n\] were"),
        (lambda: linalg.solve_sylvester(REAL, REAL, REAL, method="x"), ValueError, "method"),
        (lambda: linalg.expm_frechet(REAL, VECTOR), ValueError, "E must have the shape of A"),
        (lambda: linalg.eigh_tridiagonal(VECTOR, VECTOR), ValueError, r'"e" \[..., n - 1\]'),
        (
            lambda: linalg.eigh_tridiagonal(VECTOR, VECTOR[1:], select="v"),
            NotImplementedError,
            'select must be "a" or "i"',
        ),
        (
            lambda: linalg.eigh_tridiagonal(VECTOR, VECTOR[1:], select="i", select_range=(1, 5)),
            ValueError,
            "indices from 0 to 4",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
