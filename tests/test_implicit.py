"""Without this, custom_linear_solve and custom_root could differentiate the solver's steps."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.test_util import check_grads

jax = pytest.importorskip("jax")
TOL = 2e-5  # a 3x3 system of condition below 20, in float32: some tens of epsilon times that


def _direct(matvec, b):
    return jnp.linalg.solve(nr.jacfwd(matvec)(b), b)


def _matrix(seed, n=3):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, n)) + 3 * np.eye(n)).astype(np.float32)


A, B = jnp.array(_matrix(0)), jnp.array([1.0, -2.0, 0.5])


def _system(a, b, **options):
    return lax.custom_linear_solve(lambda x: a @ x, b, _direct, **options)


def _both(a, b):
    return _system(a, b, transpose_solve=_direct)


def _symmetric(a, b):
    return lax.custom_linear_solve(lambda x: (a + a.T) @ x, b, _direct, symmetric=True)


def test_linear_solve_is_that_of_jax():
    def theirs(a, b):
        def direct(mv, y):
            return jax.numpy.linalg.solve(jax.jacfwd(mv)(y), y)

        return jax.lax.custom_linear_solve(lambda x: a @ x, b, direct, direct)

    a, b = np.asarray(A), np.asarray(B)
    np.testing.assert_allclose(_both(A, B), theirs(a, b), TOL, TOL)
    ours = nr.jacrev(_both, (0, 1))(A, B)
    expected = jax.jacrev(theirs, (0, 1))(a, b)
    for x, y in zip(ours, expected, strict=True):
        np.testing.assert_allclose(x, y, TOL, TOL)


@pytest.mark.parametrize("f", [_both, _symmetric])
@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit])
def test_linear_solve_gradients(f, wrap):
    check_grads(wrap(f), (A, B), order=2, modes=("fwd", "rev"), atol=2e-2, rtol=2e-2)


def test_linear_solve_under_vmap():
    a = jnp.stack([jnp.array(_matrix(i)) for i in range(3)])
    b = jnp.arange(9.0).reshape(3, 3) + 1
    for dims in ((0, 0), (0, None), (None, 1)):
        args = (a if dims[0] == 0 else A, b if dims[1] is not None else B)
        grad = nr.grad(lambda x, y: _both(x, y).sum(), (0, 1))
        got = nr.jit(nr.vmap(grad, dims))(*args)
        lanes = [grad(a[i] if dims[0] == 0 else A, {0: b[i], None: B, 1: b[:, i]}[dims[1]])
                 for i in range(3)]  # fmt: skip
        for x, y in zip(got, zip(*lanes, strict=True), strict=True):
            np.testing.assert_allclose(x, np.stack(y), TOL, TOL)


def test_linear_solve_of_trees_by_a_loop():
    """Reverse mode through a while loop would be an error: it is a system of its own instead."""

    def jacobi(matvec, b):
        # x <- x + (b - A x) / 4 converges: A's eigenvalues lie between 2 and 5
        def step(carry):
            x, i = carry
            residual = nr.tree.map(lambda p, q: (p - q) / 4, b, matvec(x))
            return nr.tree.map(jnp.add, x, residual), i + 1

        x = nr.tree.map(jnp.zeros_like, b)
        return lax.while_loop(lambda c: c[1] < 60, step, (x, 0))[0]

    def f(a, c, b):
        def matvec(x):
            return {"u": a * x["u"] + c * x["v"].sum(), "v": 3.0 * x["v"] + c * x["u"]}

        return lax.custom_linear_solve(matvec, b, jacobi, jacobi)

    b = {"u": jnp.float32(2.0), "v": jnp.array([1.0, -1.0])}
    x = f(4.0, 0.5, b)
    np.testing.assert_allclose(4.0 * x["u"] + 0.5 * x["v"].sum(), b["u"], TOL, TOL)
    np.testing.assert_allclose(3.0 * x["v"] + 0.5 * x["u"], b["v"], TOL, TOL)
    check_grads(f, (4.0, 0.5, b), order=1, modes=("fwd", "rev"), atol=1e-2, rtol=1e-2)


def test_linear_solve_aux():
    def solve(matvec, b):
        return _direct(matvec, b), {"norm": jnp.abs(b).max()}

    def f(b):
        return lax.custom_linear_solve(lambda x: A @ x, b, solve, solve, has_aux=True)

    x, aux = f(B)
    np.testing.assert_allclose(A @ x, B, TOL, TOL)
    assert aux["norm"] == 2.0
    assert not nr.grad(lambda b: f(b)[1]["norm"])(B).any()
    expected = jnp.linalg.solve(A.T, jnp.ones(3))
    np.testing.assert_allclose(nr.grad(lambda b: f(b)[0].sum())(B), expected, TOL, TOL)


def test_linear_solve_errors():
    with pytest.raises(TypeError, match="reverse mode needs a solver for the transposed system"):
        nr.grad(lambda b: _system(A, b).sum())(B)
    with pytest.raises(ValueError, match=r"must return the shapes of b; got f32\[2\] for f32\[3\]"):
        lax.custom_linear_solve(lambda x: x[:2], B, _direct)
    with pytest.raises(TypeError, match="must return the structure of b"):
        lax.custom_linear_solve(lambda x: (x, x), B, _direct)
    with pytest.raises(TypeError, match="must return a pair"):
        lax.custom_linear_solve(lambda x: x, B, _direct, has_aux=True)


# ---------------------------------------------------------------- custom_root
def _newton(f, x):
    def step(_, x):
        return x - jnp.linalg.solve(nr.jacfwd(f)(x), f(x)) if x.ndim else x - f(x) / nr.grad(f)(x)

    return lax.fori_loop(0, 12, step, x)


def _scalar(g, y):
    return y / g(jnp.ones_like(y))


def cube_root(a):
    return lax.custom_root(lambda x: x**3 - a, 1.0, _newton, _scalar)


def test_root_value_and_derivatives():
    np.testing.assert_allclose(cube_root(8.0), 2.0, TOL)
    np.testing.assert_allclose(nr.grad(cube_root)(8.0), 1 / 12, TOL)
    np.testing.assert_allclose(nr.jit(nr.grad(nr.grad(cube_root)))(8.0), -1 / 144, TOL)
    check_grads(cube_root, (5.0,), order=2, modes=("fwd", "rev"), atol=1e-2, rtol=1e-2)


def test_root_under_vmap_and_jit():
    a = jnp.array([1.0, 8.0, 27.0])
    np.testing.assert_allclose(nr.jit(nr.vmap(cube_root))(a), [1.0, 2.0, 3.0], TOL)
    np.testing.assert_allclose(nr.vmap(nr.grad(cube_root))(a), 1 / (3 * np.array([1, 4, 9])), TOL)


def test_root_of_a_system():
    """x solves A x + x^3 = b; the inner system is solved by custom_linear_solve."""

    def tangent_solve(g, y):
        return lax.custom_linear_solve(g, y, _direct, _direct)

    def f(a, b):
        return lax.custom_root(lambda x: a @ x + x**3 - b, jnp.zeros(3), _newton, tangent_solve)

    x = f(A, B)
    np.testing.assert_allclose(A @ x + x**3, B, TOL, TOL)
    got = nr.jacrev(f)(A, B)
    expected = -np.linalg.inv(A + 3 * jnp.diag(x**2))[:, :, None] * np.asarray(x)
    np.testing.assert_allclose(got, expected, TOL, TOL)
    check_grads(nr.jit(f), (A, B), order=2, modes=("fwd", "rev"), atol=2e-2, rtol=2e-2)


def test_root_aux_and_trees():
    def solve(f, guess):
        x = {"x": _newton(lambda x: f({"x": x})["x"], guess["x"])}
        return x, f(x)["x"]

    def f(a):
        equation = lambda t: {"x": t["x"] ** 2 - a}  # noqa: E731
        tangent = lambda g, y: {"x": y["x"] / g({"x": jnp.ones_like(y["x"])})["x"]}  # noqa: E731
        return lax.custom_root(equation, {"x": 1.0}, solve, tangent, has_aux=True)

    root, residual = f(9.0)
    np.testing.assert_allclose(root["x"], 3.0, TOL)
    np.testing.assert_allclose(residual, 0.0, atol=TOL)
    np.testing.assert_allclose(nr.grad(lambda a: f(a)[0]["x"])(9.0), 1 / 6, TOL)
    assert nr.grad(lambda a: f(a)[1])(9.0) == 0


def test_root_errors():
    with pytest.raises(ValueError, match="must return the shapes of initial_guess"):
        lax.custom_root(lambda x: jnp.stack([x, x]), 1.0, _newton, _scalar)
    with pytest.raises(ValueError, match="must return the shapes of initial_guess"):
        nr.grad(lambda a: lax.custom_root(lambda x: x - a, 1.0, lambda f, x: x, lambda g, y: B))(
            1.0
        )
