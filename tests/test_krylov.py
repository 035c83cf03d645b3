"""Without these, iterative solvers could stop too early, or have the steps' derivatives."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.scipy.sparse.linalg import bicgstab, cg, gmres
from nr.test_util import check_grads

N = 20
RNG = np.random.default_rng(0)
GENERAL = RNG.normal(size=(N, N)) + 8 * np.eye(N)
DEFINITE = GENERAL @ GENERAL.T + N * np.eye(N)
COMPLEX = GENERAL + 1j * RNG.normal(size=(N, N))
HERMITIAN = COMPLEX @ COMPLEX.conj().T + N * np.eye(N)
B = RNG.normal(size=N)
SOLVERS = [
    (cg, DEFINITE), (cg, HERMITIAN), (bicgstab, GENERAL), (bicgstab, COMPLEX), (gmres, GENERAL),
    (gmres, COMPLEX), (gmres, DEFINITE),
]  # fmt: skip


@pytest.mark.parametrize("solver, matrix", SOLVERS)
@pytest.mark.parametrize("preconditioned", [False, True])
def test_solutions(solver, matrix, preconditioned):
    m = np.diag(1 / np.diag(matrix)) if preconditioned else None
    for b in (B, np.stack([B, B + 1], axis=1)):
        b = b.astype(matrix.dtype)
        x, info = solver(matrix, b, tol=1e-12, M=m)
        assert info is None if solver is not gmres else int(info) == 0
        # the residual's norm is at most tol times that of b
        assert np.linalg.norm(matrix @ np.asarray(x) - b) <= 1e-11 * np.linalg.norm(b)
        np.testing.assert_allclose(x, np.linalg.solve(matrix, b), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("solver", [cg, bicgstab, gmres])
def test_derivatives_are_those_of_the_solution(solver):
    def solution(a, b):
        matrix = a @ a.T + jnp.eye(N) * N if solver is cg else a
        return solver(matrix, b, tol=1e-13)[0]

    def reference(a, b):
        return jnp.linalg.solve(a @ a.T + jnp.eye(N) * N if solver is cg else a, b)

    def loss(f):
        return lambda a, b: jnp.sum(jnp.sin(f(a, b)))

    for transform in (lambda f: nr.grad(f, (0, 1)), lambda f: nr.jit(nr.grad(f, (0, 1)))):
        got, wanted = transform(loss(solution))(GENERAL, B), nr.grad(loss(reference), (0, 1))
        for x, y in zip(got, wanted(GENERAL, B), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11)
    tangents = (GENERAL * 0.3, B * 0.2)
    got = nr.jvp(loss(solution), (GENERAL, B), tangents)[1]
    np.testing.assert_allclose(got, nr.jvp(loss(reference), (GENERAL, B), tangents)[1], rtol=1e-9)
    check_grads(lambda b: solution(GENERAL, b), (B,), 2, rtol=1e-6)


@pytest.mark.parametrize("solver", [bicgstab, gmres])
def test_preconditioners_are_transposed_with_the_system(solver):
    inverse = np.linalg.inv(GENERAL) + 1e-3 * RNG.normal(size=(N, N))
    slope = nr.grad(lambda b: solver(GENERAL, b, tol=1e-12, M=inverse, maxiter=8)[0].sum())(B)
    np.testing.assert_allclose(slope, np.linalg.solve(GENERAL.T, np.ones(N)), rtol=1e-9)


def test_pytrees_and_functions():
    def matvec(t):
        return {"a": 3 * t["a"] + t["b"], "b": 10 * t["b"] + t["a"].sum()}

    b = {"a": np.ones((2, 3)), "b": np.float64(2.0)}
    for solver in (cg, bicgstab, gmres):
        x, _ = solver(matvec, b, tol=1e-12)
        for name, value in matvec(x).items():
            np.testing.assert_allclose(value, b[name], rtol=1e-10)


def test_starts_limits_and_restarts():
    exact = np.linalg.solve(DEFINITE, B)
    np.testing.assert_allclose(cg(DEFINITE, B, exact, maxiter=0)[0], exact)
    rough = cg(DEFINITE, B, maxiter=2)[0]
    assert np.linalg.norm(DEFINITE @ np.asarray(rough) - B) > 1e-6
    np.testing.assert_array_equal(cg(DEFINITE, B, atol=1e9)[0], np.zeros(N))
    for method in ("batched", "incremental"):
        x, _ = gmres(GENERAL, B, tol=1e-10, restart=4, solve_method=method)
        np.testing.assert_allclose(GENERAL @ np.asarray(x), B, atol=1e-8)
    one_basis = gmres(GENERAL, B, tol=1e-10, restart=4, maxiter=1)[0]
    assert np.linalg.norm(GENERAL @ np.asarray(one_basis) - B) > 1e-6


def test_singular_and_empty_systems_end():
    np.testing.assert_array_equal(cg(np.zeros((2, 2)), np.zeros(2))[0], 0)
    assert np.isfinite(bicgstab(np.zeros((2, 2)), np.ones(2))[0]).all()
    assert np.isfinite(gmres(np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([0.0, 1.0]))[0]).all()
    for solver in (cg, bicgstab, gmres):
        x, info = solver(np.eye(2) * np.nan, np.ones(2))
        assert np.isnan(x).all() and (info is None or int(info) == -1)
    assert cg(np.eye(3, dtype=np.float32), np.ones(3, int))[0].dtype == np.float32


def test_batches():
    b = np.stack([B, 2 * B, B + 1])
    for solver in (cg, bicgstab, gmres):
        x = nr.vmap(lambda b, s=solver: s(DEFINITE, b, tol=1e-12)[0])(b)
        np.testing.assert_allclose(x, np.linalg.solve(DEFINITE, b.T).T, rtol=1e-8)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: cg(np.ones((3, 2)), B), r"cg: A must be a square matrix or .*; got f64\[3,2\]"),
        (lambda: cg(DEFINITE, B[:3]), r'cg: "b" must be \[20\] or \[20, k\]'),
        (lambda: cg(DEFINITE, {"a": B}), "Give a function for other structures"),
        (lambda: cg(lambda x: x[:2], B), 'cg: the result of A must have the shapes of "b"'),
        (lambda: bicgstab(DEFINITE, B, B[:2]), 'bicgstab: x0 must have the shapes of "b"'),
        (lambda: bicgstab(DEFINITE, B, [B]), 'bicgstab: x0 must have the structure of "b"'),
        (lambda: gmres(DEFINITE, B, solve_method="x"), "gmres: solve_method must be"),
        (lambda: gmres(DEFINITE, None), 'gmres: "b" must hold arrays; got None'),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
