"""Without this, linear_call could transpose its function itself, or lose what residuals bring."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.custom_derivatives import linear_call


def scaled(a, x):
    return jnp.sin(a) * x


def scaled_twice(a, ct):
    return 2 * jnp.sin(a) * ct  # no transpose of `scaled`: the results show which one ran


def call(a, x, transpose=scaled):
    return linear_call(scaled, transpose, a, x)


A, X = 0.7, 2.0


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit], ids=["eager", "jit"])
def test_reverse_mode_calls_the_transpose(wrap):
    gradient = wrap(nr.grad(lambda x: call(A, x, scaled_twice)))
    np.testing.assert_allclose(gradient(X), 2 * np.sin(A), rtol=1e-6)
    _, tangent = nr.jvp(wrap(lambda x: call(A, x, scaled_twice)), (X,), (1.0,))
    np.testing.assert_allclose(tangent, np.sin(A), rtol=1e-6)


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit], ids=["eager", "jit"])
def test_derivatives_by_residuals(wrap):
    by_both = wrap(nr.grad(call, argnums=(0, 1)))
    np.testing.assert_allclose(by_both(A, X), (X * np.cos(A), np.sin(A)), rtol=1e-6)
    mixed = wrap(nr.grad(nr.grad(call, argnums=1)))  # of the transpose, by the residual
    np.testing.assert_allclose(mixed(A, X), np.cos(A), rtol=1e-6)


def test_trees_and_what_is_closed_over():
    b = jnp.arange(3.0)

    def f(known, given):
        return {"sum": known[0] * given["x"] + b * given["y"]}

    def transposed(known, ct):
        return {"x": known[0] * ct["sum"], "y": jnp.sum(b * ct["sum"])}

    def loss(x, y):
        out = linear_call(f, transposed, (jnp.float32(3),), {"x": x, "y": y})
        return jnp.sum(b * out["sum"])

    by_x, by_y = nr.grad(loss, argnums=(0, 1))(jnp.ones(3), jnp.float32(1))
    np.testing.assert_allclose(by_x, 3 * np.arange(3.0))
    np.testing.assert_allclose(by_y, 5.0)


@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0)])
def test_vmap(dims):
    a, x = jnp.arange(1.0, 4.0), jnp.arange(3.0)
    args = [v if d == 0 else v[1] for v, d in zip((a, x), dims, strict=True)]
    gradient = nr.grad(lambda a, x: call(a, x, scaled_twice) ** 2, argnums=1)
    got = nr.vmap(gradient, dims)(*args)
    rows = [[v[i] if d == 0 else v for v, d in zip(args, dims, strict=True)] for i in range(3)]
    np.testing.assert_allclose(got, [gradient(*row) for row in rows], rtol=1e-6)


def test_results_are_those_of_jax():
    jax = pytest.importorskip("jax")

    def f(module, call):
        def scaled(a, x):
            return module.sin(a) * x

        return lambda x: call(scaled, scaled, np.float32(A), x) ** 2

    expected = jax.grad(f(jax.numpy, jax.custom_derivatives.linear_call))(X)
    np.testing.assert_allclose(nr.grad(f(jnp, linear_call))(X), expected, rtol=1e-6)


def test_errors():
    with pytest.raises(TypeError, match="must return the structure of linear_args"):
        call(A, X, lambda a, ct: (ct, ct))
    with pytest.raises(ValueError, match="must return the shapes and dtypes of linear_args"):
        call(A, X, lambda a, ct: jnp.zeros(2) * ct)
