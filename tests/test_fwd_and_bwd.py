"""Without these tests a backward pass could not be kept, passed on, or compiled once."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp

X, W = np.ones((2, 3), "float32"), np.full((3, 4), 0.5, "float32")


def layer(x, w):
    return jnp.tanh(x @ w)


@pytest.mark.parametrize("jitted", [True, False])
def test_both_passes(jitted):
    fwd, bwd = nr.fwd_and_bwd(layer, argnums=(0, 1), jitted=jitted)
    want = nr.grad(lambda x, w: layer(x, w).sum(), (0, 1))(X, W)
    for _ in range(3):
        out, residuals = fwd(X, W)
        cts = bwd(residuals, np.ones_like(out))
    np.testing.assert_allclose(out, layer(X, W), rtol=1e-6)
    for ct, w in zip(cts, want, strict=True):
        np.testing.assert_allclose(ct, w, rtol=1e-6)
    if jitted:
        assert len(fwd.traces()) == len(bwd.traces()) == 1


def test_one_argument_and_aux():
    fwd, bwd = nr.fwd_and_bwd(lambda x, w: (layer(x, w), {"sum": w.sum()}), -1, has_aux=True)
    out, residuals, aux = fwd(X, W)
    assert float(aux["sum"]) == 6.0
    assert bwd(residuals, np.ones_like(out)).shape == W.shape


def test_pullbacks_are_pytrees_of_their_residuals():
    out, pullback = nr.jit(lambda x: nr.vjp(lambda x: jnp.sin(x) * x, x))(jnp.arange(3.0))
    leaves = nr.tree.leaves(pullback)
    assert leaves and all(isinstance(x, nr.Array) and x.shape == (3,) for x in leaves)
    want = pullback(np.ones(3, "float32"))[0]
    np.testing.assert_allclose(nr.jit(pullback)(np.ones(3, "float32"))[0], want, rtol=1e-6)
    passed = nr.jit(lambda f, ct: f(ct))(pullback, np.ones(3, "float32"))
    np.testing.assert_allclose(passed[0], want, rtol=1e-6)
    product = nr.vjp(lambda x, y: x * y, jnp.ones(3), jnp.full(3, 2.0))[1]
    twice = nr.tree.map(lambda x: 2 * x, product)  # its residuals are its factors
    np.testing.assert_allclose(twice(np.ones(3, "float32")), [[4.0] * 3, [2.0] * 3])


def test_linear_functions_are_pytrees_too():
    out, push = nr.jit(lambda x: nr.linearize(jnp.sin, x))(jnp.arange(3.0))
    np.testing.assert_allclose(nr.jit(push)(np.ones(3, "float32")), np.cos(np.arange(3.0)), 1e-6)
    lanes = nr.vmap(push)(np.eye(3, dtype="float32"))
    np.testing.assert_allclose(lanes, np.diag(np.cos(np.arange(3.0))), 1e-6)
