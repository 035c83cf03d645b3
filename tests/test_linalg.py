"""Without this, nr.numpy.linalg could give wrong numbers, dtypes, derivatives or errors."""

import numpy as np
import pytest
import scipy.linalg

import nr
import nr.numpy as jnp
from nr.test_util import check_grads
from tests.cases.linalg_cases import apart, hermitian

LINALG = jnp.linalg
TYPES = ("float32", "float64", "complex64", "complex128")
# Condition numbers are below 100: that many times tens of epsilon.
TOL = {"float32": 5e-4, "complex64": 5e-4, "float64": 1e-11, "complex128": 1e-11}


def sample(dtype, shape, make=apart, seed=0):
    return make(np.random.default_rng(seed), np.dtype(dtype), shape)


def close(got, expected, tol):
    for a, b in zip(nr.tree.leaves(got), nr.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, tol, tol)


# ---------------------------------------------------------------- values
SAME = {
    "det": (3, 3),
    "slogdet": (2, 4, 4),
    "inv": (2, 3, 3),
    "svdvals": (2, 3, 4),
    "pinv": (4, 3),
    "cond": (2, 3, 3),
    "matrix_rank": (2, 3, 4),
    "matrix_transpose": (2, 3, 4),
    "trace": (2, 3, 4),
    "diagonal": (2, 3, 4),
    "norm": (3, 4),
    "matrix_norm": (2, 3, 4),
    "vector_norm": (2, 3, 4),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", SAME)
def test_value(name, dtype):
    x = sample(dtype, SAME[name])
    got, expected = getattr(LINALG, name)(jnp.array(x)), getattr(np.linalg, name)(x)
    got, expected = (
        nr.tree.leaves(got),
        nr.tree.leaves(tuple(expected) if isinstance(expected, tuple) else expected),
    )
    close(got, expected, TOL[dtype])
    if name != "matrix_rank":
        assert [x.dtype for x in got] == [x.dtype for x in expected]


@pytest.mark.parametrize("p", [None, 2, -2, 1, -1, np.inf, -np.inf, "fro"])
def test_cond(p):
    x = sample("float64", (2, 3, 3))
    close(LINALG.cond(x, p), np.linalg.cond(x, p), TOL["float64"])


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms(order, keepdims):
    x = sample("complex128", (2, 3, 4))
    for axis in ((0, 2), (2, 1)):
        expected = np.linalg.norm(x, order, axis, keepdims)
        close(LINALG.norm(x, order, axis, keepdims), expected, 1e-12)


@pytest.mark.parametrize("order", [None, 0, 1, 2, 3, -1, 0.5, np.inf, -np.inf])
def test_vector_norms(order):
    x = sample("complex128", (2, 3, 4))
    close(LINALG.norm(x, order, 1, True), np.linalg.norm(x, order, 1, True), 1e-12)
    order = 2 if order is None else order
    got = LINALG.vector_norm(x, axis=(0, 2), ord=order)
    close(got, np.linalg.vector_norm(x, axis=(0, 2), ord=order), 1e-12)


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 5])
def test_matrix_power(n):
    x = sample("float64", (2, 3, 3))
    close(LINALG.matrix_power(x, n), np.linalg.matrix_power(x, n), 1e-10)


def test_solve_broadcasts():
    a, b = sample("float64", (2, 1, 3, 3)), sample("float64", (4, 3, 2))
    close(LINALG.solve(a, b), np.linalg.solve(a, b), 1e-12)
    close(LINALG.solve(a, b[0, :, 0]), np.linalg.solve(a, b[0, :, 0]), 1e-12)


@pytest.mark.parametrize("shape", [(4, 3), (3, 3), (3, 5), (1, 2), (2, 0)])
@pytest.mark.parametrize("dtype", TYPES)
def test_reflectors_of_qr_equal_numpy(dtype, shape):
    x = sample(dtype, shape)
    if shape == (4, 3):
        x[:, 0] = [0, 1, 0, 0]  # no number in place of the pivot, then zeros below it
        x[1:, 1] = 0
    vectors, factors = LINALG.qr(x, "raw")
    wanted, wanted_factors = np.linalg.qr(x, "raw")
    assert vectors.dtype == factors.dtype == dtype
    close(vectors, wanted, 10 * TOL[dtype])
    close(factors, wanted_factors, 10 * TOL[dtype])
    stacked = nr.jit(lambda x: LINALG.qr(x, mode="raw"))(jnp.stack([x, x]))
    close(stacked[0][1], wanted, 10 * TOL[dtype])
    if shape[0] >= shape[1] > 0:
        q = nr.lax.linalg.householder_product(vectors.mT, factors)
        close(q, LINALG.qr(x).Q, 10 * TOL[dtype])
    assert LINALG.qr(x, "full").Q.shape == (shape[0], shape[0])


@pytest.mark.parametrize("dtype", TYPES)
def test_factors_multiply_to_the_operand(dtype):
    x = jnp.array(sample(dtype, (2, 4, 3)))
    q, r = LINALG.qr(x)
    u, s, vh = LINALG.svd(x, full_matrices=False)
    h = jnp.array(sample(dtype, (2, 3, 3), hermitian))
    w, v = LINALG.eigh(h)
    hu, hs, hvh = LINALG.svd(-h, hermitian=True)
    upper = LINALG.cholesky(h, upper=True)
    values, vectors = LINALG.eig(h)
    tol = TOL[dtype]
    close(q @ r, x, tol)
    close((u * s[:, None, :]) @ vh, x, tol)
    close((v * w[:, None, :]) @ v.conj().mT, h, tol)
    close((hu * hs[:, None, :]) @ hvh, -h, tol)
    close(upper.conj().mT @ upper, h, tol)
    close(h @ vectors, vectors * values[:, None, :], tol)
    assert np.array_equal(upper, jnp.triu(upper))
    assert values.dtype == jnp.promote_types(dtype, "complex64")
    left = nr.lax.linalg.eig(x[:, :3])[1]
    close(
        left.conj().mT @ x[:, :3], nr.lax.linalg.eig(x[:, :3])[0][..., None] * left.conj().mT, tol
    )


@pytest.mark.parametrize("shape", [(100, 100), (90, 40), (40, 90)])
def test_lu_in_panels(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    lu, pivots, permutation = map(np.asarray, nr.lax.linalg.lu(x))
    expected, expected_pivots = scipy.linalg.lu_factor(x)
    close(lu, expected, 1e-10)
    assert np.array_equal(pivots, expected_pivots)
    again = nr.lax.linalg.lu_pivots_to_permutation(pivots, shape[0])
    assert np.array_equal(permutation, again)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_triangular_systems_of_half_floats(dtype):
    a, b = jnp.array([[2, 0], [1, 4]], dtype), jnp.array([[1], [3]], dtype)
    solved = np.array([[0.5], [0.625]])
    for f in (lambda g: g, nr.jit):
        x = f(lambda a, b: nr.lax.linalg.triangular_solve(a, b, left_side=True, lower=True))(a, b)
        assert x.dtype == a.dtype and np.array_equal(x.astype("float32"), solved)
    x = SCIPY.cho_solve((a, True), SCIPY.solve_triangular(a, b, lower=True))
    expected = scipy.linalg.cho_solve((np.asarray(a, float), True), solved)
    assert x.dtype == a.dtype
    close(x.astype("float32"), expected, 1e-2)


@pytest.mark.parametrize("lower", [False, True])
def test_large_triangular_systems(lower):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((150, 150)) / 20 + 2 * np.eye(150), rng.standard_normal((150, 3))
    got = nr.lax.linalg.triangular_solve(a, b, left_side=True, lower=lower)
    close(got, scipy.linalg.solve_triangular(a, b, lower=lower), 1e-12)


def test_least_squares():
    rng = np.random.default_rng(0)
    for m, n in ((5, 3), (3, 5)):
        a, b = rng.standard_normal((m, n)), rng.standard_normal((m, 2))
        got = LINALG.lstsq(a, b, numpy_resid=True)
        close(got, tuple(np.linalg.lstsq(a, b)), 1e-12)
        close(LINALG.lstsq(a, b[:, 0])[0], np.linalg.lstsq(a, b[:, 0])[0], 1e-12)


def test_tensor_systems():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((6, 4, 2, 3, 4)), rng.standard_normal((6, 4))
    close(LINALG.tensorsolve(a, b), np.linalg.tensorsolve(a, b), 1e-10)
    moved = np.moveaxis(a, 2, 0)
    close(LINALG.tensorsolve(moved, b, (0,)), np.linalg.tensorsolve(moved, b, (0,)), 1e-10)
    close(LINALG.tensorinv(a.reshape(6, 4, 24), 2), np.linalg.tensorinv(a.reshape(6, 4, 24)), 1e-10)


# ---------------------------------------------------------------- what has no exact answer
def test_cholesky_of_indefinite_matrices_is_nan():
    x = np.stack([np.eye(2), [[1, 2], [2, 1]], 4 * np.eye(2)])
    got = np.asarray(LINALG.cholesky(x))
    np.testing.assert_array_equal(got[0], np.eye(2))
    assert np.isnan(np.diagonal(got[1])).all() and got[1, 0, 1] == 0
    np.testing.assert_array_equal(got[2], 2 * np.eye(2))


def test_nan_stays_in_its_matrix():
    x = np.stack([np.eye(3), np.full((3, 3), np.nan)])
    for name in ("svdvals", "eigvalsh", "eigvals", "inv", "det"):
        got = np.asarray(getattr(LINALG, name)(x))
        assert np.isfinite(got[0]).all() and np.isnan(got[1]).all(), name


def test_singular_systems_are_not_finite():
    x = np.array([[1.0, 2.0], [2.0, 4.0]])
    assert not np.isfinite(LINALG.inv(x)).any()
    assert not np.isfinite(nr.lax.linalg.triangular_solve(np.zeros((6, 6)), np.ones((6, 1)),
                                                          left_side=True)).any()  # fmt: skip
    sign, logdet = LINALG.slogdet(x)
    assert float(sign) == 0 and float(logdet) == -np.inf


def test_matrices_without_elements():
    assert float(LINALG.det(np.zeros((0, 0)))) == 1
    assert LINALG.inv(np.zeros((2, 0, 0))).shape == (2, 0, 0)
    assert LINALG.pinv(np.zeros((0, 3))).shape == (3, 0)
    assert LINALG.svdvals(np.zeros((2, 0, 3))).shape == (2, 0)


# ---------------------------------------------------------------- derivatives
def _low_rank(x):
    return LINALG.pinv(x @ x[:, :2, :].mT @ x[:, :2, :])


DERIVATIVES = {
    "det": LINALG.det,
    "slogdet": lambda x: LINALG.slogdet(x),
    "inv": LINALG.inv,
    "solve": lambda x: LINALG.solve(x, x[:, :, :2]),
    "pinv": lambda x: LINALG.pinv(x[..., :2]),
    "pinv of low rank": _low_rank,
    "lstsq": lambda x: LINALG.lstsq(x[0, :, :2], x[0, :, 2])[0],
    "cond": LINALG.cond,
    "nuc": lambda x: LINALG.norm(x, "nuc", (1, 2)),
    "norm": lambda x: LINALG.norm(x, 3, 1),
    "svd of Hermitian": lambda x: LINALG.svd(x + x.mT, compute_uv=False, hermitian=True),
    "matrix_power": lambda x: LINALG.matrix_power(x, -2),
    "cholesky": lambda x: LINALG.cholesky(x @ x.mT, upper=True),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name):
    check_grads(DERIVATIVES[name], (sample("float64", (2, 3, 3)),), 2)


def _phaseless(x):
    return jnp.real(x * jnp.conj(x))


COMPLEX_DERIVATIVES = {
    "cholesky": lambda x: LINALG.cholesky(x @ x.conj().mT),
    "qr": LINALG.qr,
    "wide qr": lambda x: LINALG.qr(x[:, :2]),
    "lu": lambda x: nr.lax.linalg.lu(x)[0],
    "slogdet": LINALG.slogdet,
    "det": LINALG.det,
    "eigh": lambda x: nr.tree.map(_phaseless, LINALG.eigh(x + x.conj().mT)),
    "eig": lambda x: (LINALG.eigvals(x), _phaseless(LINALG.eig(x).eigenvectors)),
    "svd": lambda x: nr.tree.map(_phaseless, LINALG.svd(x)),
    "tall svd": lambda x: nr.tree.map(_phaseless, LINALG.svd(x[..., :2], full_matrices=False)),
    "solve": lambda x: LINALG.solve(x, x[:, :, :2]),
    "pinv": lambda x: LINALG.pinv(x[..., :2]),
    "norm": LINALG.norm,
}


@pytest.mark.parametrize("name", COMPLEX_DERIVATIVES)
def test_complex_derivatives(name):
    check_grads(COMPLEX_DERIVATIVES[name], (sample("complex128", (2, 3, 3)),), 2)


@pytest.mark.parametrize("zero", ["row", "column", "equal rows", "rank", "scaled columns"])
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_derivative_of_a_determinant_that_is_zero(n, zero):
    x = np.random.default_rng(0).standard_normal((n, n))
    if zero == "row":
        x[1] = 0
    elif zero == "column":
        x[:, 0] = 0
    elif zero == "equal rows":
        x[-1] = x[0]
    elif zero == "rank":
        x[:, :2] = 0
    else:  # not singular
        x *= 2.0 ** np.arange(n)
    cofactors = [
        [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) for j in range(n)]
        for i in range(n)
    ]
    np.testing.assert_allclose(nr.grad(LINALG.det)(x), cofactors, 1e-9, 1e-12)


def test_equal_eigenvalues_have_finite_derivatives():
    x = np.eye(3)
    for f in (LINALG.eigh, lambda x: LINALG.svd(x), LINALG.eigvals):
        outs, dots = nr.jvp(f, (x,), (np.ones((3, 3)),))
        assert all(np.isfinite(t).all() for t in nr.tree.leaves(dots))
    total = lambda x: sum(jnp.sum(y) for y in LINALG.svd(x))  # noqa: E731
    assert np.isfinite(nr.hessian(total)(x)).all()


# ---------------------------------------------------------------- transformations
BATCHED = {
    **{name: f for name, f in DERIVATIVES.items() if name != "lstsq"},
    "eigh": LINALG.eigvalsh,
    "qr": LINALG.qr,
    "svd": LINALG.svdvals,
    "rank": LINALG.matrix_rank,
}


@pytest.mark.parametrize("name", BATCHED)
def test_vmap_and_jit(name):
    f = BATCHED[name]
    x = sample("float64", (2, 4, 3, 3))
    eager = f(jnp.array(x[:, 0]))
    close(nr.jit(f)(x[:, 0]), eager, 1e-12)
    mapped = nr.vmap(f, in_axes=1)(x)
    close(nr.tree.map(lambda y: y[0], mapped), eager, 1e-12)
    close(nr.tree.map(lambda y: y[3], mapped), f(jnp.array(x[:, 3])), 1e-12)


def test_systems_with_one_matrix_share_it():
    a, b = jnp.array(sample("float64", (3, 3))), jnp.array(sample("float64", (5, 3, 2)))
    jaxpr = str(nr.make_jaxpr(nr.vmap(nr.lax.linalg.solve, (None, 0)))(a, b))
    assert "f64[3,10]" in jaxpr  # right sides side by side; a is not repeated


# ---------------------------------------------------------------- parity and errors
@pytest.mark.parametrize("dtype", ["int32", "float32", "complex64"])
def test_dtypes_are_those_of_jax(dtype):
    jax = pytest.importorskip("jax")
    x = (10 * sample("float64", (3, 3), hermitian)).astype(dtype)
    for name in ("det", "slogdet", "inv", "cholesky", "qr", "eigh", "eig", "svd", "pinv",
                 "matrix_rank", "cond", "norm", "trace"):  # fmt: skip
        got = nr.tree.leaves(getattr(LINALG, name)(jnp.array(x)))
        expected = jax.tree.leaves(getattr(jax.numpy.linalg, name)(x))
        assert [(y.dtype, y.shape) for y in got] == [(y.dtype, y.shape) for y in expected], name


ERRORS = {
    "square": (lambda: LINALG.inv(jnp.ones((2, 3))), ValueError, r"inv: .*\[..., n, n\]; got f32"),
    "rank": (lambda: LINALG.svd(jnp.ones(3)), ValueError, r"svd: .*\[..., m, n\]; got f32\[3\]"),
    "bf16": (
        lambda: LINALG.cholesky(jnp.ones((2, 2), "bfloat16")),
        TypeError,
        "cholesky: the dtype must be f32, f64, c64 or c128; got bf16",
    ),
    "system": (
        lambda: LINALG.solve(jnp.ones((2, 2)), jnp.ones(3)),
        ValueError,
        'got f32.3. for "a',
    ),
    "mixed": (
        lambda: nr.lax.linalg.solve(jnp.ones((2, 2)), np.ones((2, 1))),
        TypeError,
        "solve: operands must have the same dtype",
    ),
    "list": (lambda: LINALG.det([[1.0]]), TypeError, "det: an array or a number was expected"),
    "order": (lambda: LINALG.norm(jnp.ones((2, 2)), 3), ValueError, 'norm: .* order must be "fro"'),
    "full svd": (
        lambda: nr.jvp(LINALG.svd, (np.ones((3, 2)),), (np.ones((3, 2)),)),
        NotImplementedError,
        "svd: .*full_matrices=False",
    ),
    "mode": (lambda: LINALG.qr(jnp.ones((2, 2)), "full r"), ValueError, "qr: mode must be"),
    "power": (lambda: LINALG.matrix_power(jnp.ones((2, 2)), 0.5), TypeError, "must be an integer"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call()


# ---------------------------------------------------------------- nr.scipy.linalg
SCIPY = nr.scipy.linalg
PARTS = [
    ("cholesky", lambda m, x, h: m.cholesky(h)),
    ("lower cholesky", lambda m, x, h: m.cholesky(h, lower=True)),
    ("cho_solve", lambda m, x, h: m.cho_solve(m.cho_factor(h), x)),
    ("lower cho_solve", lambda m, x, h: m.cho_solve(m.cho_factor(h, lower=True), x[:, 0])),
    ("solve", lambda m, x, h: m.solve(h, x, assume_a="pos")),
    ("lu", lambda m, x, h: m.lu(x)),
    ("tall lu", lambda m, x, h: m.lu(x[:, :2], permute_l=True)),
    ("qr", lambda m, x, h: m.qr(x[:, :2])),
    ("economic qr", lambda m, x, h: m.qr(x[:, :2], mode="economic")),
    ("eigh", lambda m, x, h: m.eigh(h, eigvals_only=True)),
    ("svd", lambda m, x, h: m.svd(x, compute_uv=False)),
    ("inv", lambda m, x, h: m.inv(x)),
    ("det", lambda m, x, h: m.det(x)),
    ("expm", lambda m, x, h: m.expm(x)),
    ("expm of small", lambda m, x, h: m.expm(x / 50)),
    ("expm of large", lambda m, x, h: m.expm(-h * 9)),
    ("block_diag", lambda m, x, h: m.block_diag(x, h[:2], x[0, 0])),
    ("toeplitz", lambda m, x, h: m.toeplitz(x[0], h[1])),
    ("square toeplitz", lambda m, x, h: m.toeplitz(x[0])),
    *[(f"lu_solve {t}", lambda m, x, h, t=t: m.lu_solve(m.lu_factor(x), h, t)) for t in (0, 1, 2)],
    *[
        (f"solve_triangular {t} {lower}", lambda m, x, h, t=t, lower=lower: m.solve_triangular(
            h, x, t, lower, t == 1))
        for t in (0, 1, "C")
        for lower in (False, True)
    ],
]  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", [name for name, _ in PARTS])
def test_scipy(name, dtype):
    f = dict(PARTS)[name]
    x, h = sample(dtype, (4, 4)), sample(dtype, (4, 4), hermitian)
    got, expected = f(SCIPY, jnp.array(x), jnp.array(h)), f(scipy.linalg, x, h)
    got, expected = nr.tree.leaves(got), nr.tree.leaves(expected)
    close(got, expected, TOL[dtype])
    if name != "det":  # SciPy gives it in double precision
        assert [y.dtype for y in got] == [y.dtype for y in expected]


def test_expm_under_transformations():
    x = np.stack([sample("float64", (3, 3)) / 10, sample("float64", (3, 3)) * 2])
    check_grads(SCIPY.expm, (x,), 2, rtol=1e-5)
    expected = scipy.linalg.expm(x)
    close(nr.jit(SCIPY.expm)(x), expected, 1e-11)
    close(nr.vmap(SCIPY.expm)(x), expected, 1e-11)
    slope = nr.jit(nr.grad(lambda x: SCIPY.expm(x).sum()))(x)
    close(slope, nr.grad(lambda x: SCIPY.expm(x).sum())(x), 1e-10)
    assert np.isnan(SCIPY.expm(np.full((2, 2), 1e9))).all()
