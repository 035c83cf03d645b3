"""Without this, Schur, Hessenberg and polar forms could be wrong on large or hard matrices."""

import functools

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.test_util import check_grads

LINALG = nr.lax.linalg
TYPES = ("float32", "float64", "complex64", "complex128")


def eps(dtype):
    return float(np.finfo(dtype).eps)


def normal(dtype, *shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3, 5, 5), (70, 70)])
def test_schur(shape, dtype, wrap):
    a = normal(dtype, *shape)
    t, q = map(np.asarray, wrap(LINALG.schur)(a))
    n, tol = shape[-1], 20 * shape[-1] * eps(dtype)
    np.testing.assert_allclose(q @ t @ adjoint(q), a, atol=tol)
    np.testing.assert_allclose(q @ adjoint(q), np.broadcast_to(np.eye(n), shape), atol=tol)
    assert not np.tril(t, -2 if a.dtype.kind == "f" else -1).any()
    if a.dtype.kind == "f":  # blocks of 2 by 2 stand apart
        below = np.diagonal(t, -1, -2, -1) != 0
        assert not (below[..., 1:] & below[..., :-1]).any()
    (alone,) = wrap(lambda x: LINALG.schur(x, compute_schur_vectors=False))(a)
    np.testing.assert_allclose(np.linalg.norm(alone), np.linalg.norm(a), rtol=tol)


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit])
def test_schur_of_what_is_not_finite(wrap):
    good = normal("float32", 3, 3)
    a = np.stack([good, np.full((3, 3), np.nan, np.float32), good])
    t, q = wrap(LINALG.schur)(a)
    assert np.isnan(t[1]).all()
    assert np.isnan(q[1]).all()
    assert np.isfinite(t[::2]).all()


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [1, 2, 40, 130])
def test_forms_of_larger_matrices(n, dtype, wrap):
    a = normal(dtype, n, n)
    packed, taus = map(np.asarray, wrap(LINALG.hessenberg)(a))
    assert taus.shape == (n - 1,)
    h = np.triu(packed, -1)
    tol = 20 * n * eps(dtype)
    np.testing.assert_allclose(np.trace(h), np.trace(a), rtol=tol, atol=tol)
    np.testing.assert_allclose(np.linalg.norm(h), np.linalg.norm(a), rtol=tol)
    a = (a + adjoint(a)).astype(dtype)
    for lower in (True, False):
        half = np.tril(a) if lower else np.triu(a)
        f = wrap(functools.partial(LINALG.tridiagonal, lower=lower))
        packed, d, e, taus = map(np.asarray, f(half))
        assert (d.dtype, e.shape, taus.shape) == (a.real.dtype, (n - 1,), (n - 1,))
        t = np.diag(d) + np.diag(e, 1) + np.diag(e, -1)
        want = np.linalg.eigvalsh(a)
        np.testing.assert_allclose(np.linalg.eigvalsh(t), want, atol=tol * abs(want).max())


def test_empty_stacks():
    a = np.zeros((0, 3, 3), np.float32)
    for wrap in (lambda f: f, nr.jit):
        assert [x.shape for x in wrap(LINALG.schur)(a)] == [(0, 3, 3)] * 2
        assert [x.shape for x in wrap(LINALG.hessenberg)(a)] == [(0, 3, 3), (0, 2)]
        q, r, p = wrap(lambda x: LINALG.qr(x, pivoting=True))(a)
        assert (q.shape, r.shape, p.shape) == ((0, 3, 3), (0, 3, 3), (0, 3))
    assert [x.shape for x in LINALG.schur(np.zeros((0, 0), np.float32))] == [(0, 0)] * 2
    with pytest.raises(ValueError, match="tridiagonal: matrices must have rows"):
        LINALG.tridiagonal(np.zeros((0, 0), np.float32))


@pytest.mark.parametrize("f", [LINALG.schur, LINALG.hessenberg, LINALG.tridiagonal])
def test_no_derivatives(f):
    with pytest.raises(NotImplementedError, match="it has no forward-mode derivative rule"):
        nr.jacfwd(f)(np.eye(2, dtype=np.float32))


# ---------------------------------------------------------------- tridiagonal systems
@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit])
def test_singular_tridiagonal_systems(wrap):
    zero, b = jnp.zeros(3), jnp.ones((3, 2))
    assert np.isnan(wrap(LINALG.tridiagonal_solve)(zero, zero, zero, b)).all()
    solve = wrap(lambda *xs: LINALG.tridiagonal_solve(*xs, perturb_singular=True))
    assert np.isfinite(solve(zero, zero, zero, b)).all()
    d, beside = jnp.full(3, 4.0), jnp.ones(3)
    np.testing.assert_allclose(
        solve(beside, d, beside, b), LINALG.tridiagonal_solve(beside, d, beside, b), rtol=1e-5
    )


def test_tridiagonal_solve_exchanges_rows():
    """Elimination without exchanges would divide by the zero on the diagonal."""
    d = jnp.array([0.0, 0.0, 1.0])
    x = LINALG.tridiagonal_solve(jnp.ones(3), d, jnp.ones(3), jnp.array([[2.0], [4.0], [5.0]]))
    np.testing.assert_allclose(x[:, 0], [1.0, 2.0, 3.0], rtol=1e-6)


def test_tridiagonal_solve_errors():
    with pytest.raises(ValueError, match=r"shapes \[..., n\] for the diagonals"):
        LINALG.tridiagonal_solve(jnp.ones(3), jnp.ones(2), jnp.ones(3), jnp.ones((3, 1)))
    x = jnp.ones(3, "complex64")
    with pytest.raises(NotImplementedError, match="must be f32 or f64"):
        LINALG.tridiagonal_solve(x, x, x, x[:, None], perturb_singular=True)


# ---------------------------------------------------------------- reflectors
def test_reflectors_of_tau_zero_are_the_identity():
    a, taus = normal("float32", 4, 3), np.zeros(3, np.float32)
    np.testing.assert_array_equal(LINALG.householder_product(a, taus), np.eye(4, 3))
    np.testing.assert_array_equal(LINALG.ormqr(a, taus[:0], a), a)


def test_reflectors_errors():
    a, taus = jnp.ones((2, 3)), jnp.ones(2)
    with pytest.raises(ValueError, match="must not have more columns than rows"):
        LINALG.householder_product(a, taus)
    with pytest.raises(ValueError, match='"taus" must be'):
        LINALG.householder_product(a.T, jnp.ones(3))
    with pytest.raises(ValueError, match='"c" must have as many rows as "a" has rows'):
        LINALG.ormqr(a.T, taus, jnp.ones((2, 3)))


# ---------------------------------------------------------------- updates and polar decomposition
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cholesky_update(dtype):
    r, w = np.triu(normal(dtype, 5, 5)), normal(dtype, 5, seed=1)
    new = np.asarray(nr.jit(LINALG.cholesky_update)(r, w))
    np.testing.assert_allclose(new.T @ new, r.T @ r + np.outer(w, w), atol=100 * eps(dtype))
    assert not np.tril(new, -1).any()
    assert (np.diag(new) >= 0).all()


def test_cholesky_update_from_nothing_and_of_lanes():
    """A sum of outer products from an R of zeros, where there is nothing to divide by."""
    rows = normal("float32", 4, 3)
    r = np.zeros((3, 3), np.float32)
    for w in rows:
        r = np.asarray(LINALG.cholesky_update(r, w))
    np.testing.assert_allclose(r.T @ r, rows.T @ rows, atol=1e-5)  # some tens of epsilon
    lanes = nr.vmap(LINALG.cholesky_update, (None, 0))(r, rows)
    np.testing.assert_allclose(lanes[2], LINALG.cholesky_update(r, rows[2]), atol=1e-6)
    check_grads(lambda r, w: jnp.square(LINALG.cholesky_update(jnp.triu(r), w)), (r, rows[0]),
                order=1, modes=("fwd", "rev"), atol=1e-2, rtol=1e-2)  # fmt: skip
    with pytest.raises(ValueError, match=r"shapes \[n, n\]"):
        LINALG.cholesky_update(r, rows)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(4, 4), (6, 3)])
def test_polar_decomposition(shape, dtype):
    a = normal(dtype, *shape)
    u, h, steps, converged = nr.jit(LINALG.qdwh)(a)
    u, h = np.asarray(u), np.asarray(h)
    tol = 100 * eps(dtype)
    np.testing.assert_allclose(u @ h, a, atol=tol)
    np.testing.assert_allclose(adjoint(u) @ u, np.eye(shape[1]), atol=tol)
    np.testing.assert_allclose(h, adjoint(h), atol=tol)
    assert np.linalg.eigvalsh(h).min() > -tol
    assert converged
    assert 0 < steps < 8
    assert not LINALG.qdwh(a, max_iterations=2)[3]


def test_polar_decomposition_of_hard_and_padded_matrices():
    a = np.diag([1.0, 1e-3, 1e-6]).astype(np.float64) @ np.linalg.qr(normal("float64", 3, 3))[0]
    u, h, _, converged = LINALG.qdwh(a)
    np.testing.assert_allclose(u @ h, a, atol=1e-14)
    np.testing.assert_allclose(u.T @ u, np.eye(3), atol=1e-14)
    assert converged
    padded = np.full((5, 5), 7.0)
    padded[:3, :2] = a[:, :2]
    u, h, _, _ = nr.jit(lambda x, m, n: LINALG.qdwh(x, dynamic_shape=(m, n)))(padded, 3, 2)
    np.testing.assert_allclose(u[:3, :2] @ h[:2, :2], a[:, :2], atol=1e-14)
    assert not np.asarray(u)[3:].any()
    with pytest.raises(ValueError, match="m >= n"):
        LINALG.qdwh(np.ones((2, 3)))


# ---------------------------------------------------------------- subsets and completions
def test_subsets():
    a = normal("float64", 2, 4, 4)
    a = a + adjoint(a)
    v, w = LINALG.eigh(a, subset_by_index=(1, 3))
    np.testing.assert_allclose(w, np.linalg.eigvalsh(a)[..., 1:3], atol=1e-13)
    np.testing.assert_allclose(a @ np.asarray(v), v * np.asarray(w)[..., None, :], atol=1e-13)
    u, s, vh = LINALG.svd(a, full_matrices=False, subset_by_index=(0, 2))
    assert (u.shape, s.shape, vh.shape) == ((2, 4, 2), (2, 2), (2, 2, 4))
    np.testing.assert_allclose(s, np.linalg.svd(a)[1][..., :2], atol=1e-13)
    with pytest.raises(ValueError, match="subset_by_index must be"):
        LINALG.eigh(a, subset_by_index=(1, 5))
    with pytest.raises(ValueError, match="a subset has no full matrices"):
        LINALG.svd(a, subset_by_index=(0, 1))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivative_of_a_completed_qr(dtype):
    """Columns of Q beyond those of a tall matrix have a derivative too: that of LAPACK's choice."""
    a = normal(dtype, 5, 2)
    check_grads(lambda x: LINALG.qr(x, full_matrices=True), (a,), order=1, modes=("fwd", "rev"))
