"""Without these, programs that are written with pmap could compute otherwise than on one device."""

import jax
import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

WEIGHTS = {"w": np.arange(3, dtype=np.float32), "b": np.float32(0.5)}
X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)


def step_of(library):
    """A step of gradient descent on the mean over all lanes."""

    def loss(params, x, y):
        return ((x @ params["w"] + params["b"] - y) ** 2).mean()

    def step(params, x, y):
        value, grads = library.value_and_grad(loss)(params, x, y)
        value, grads = library.lax.pmean((value, grads), axis_name="batch")
        return library.tree.map(lambda p, g: p - 0.1 * g, params, grads), value

    return step


def replicated(n):
    return nr.tree.map(lambda x: np.stack([x] * n), WEIGHTS)


def test_a_training_step_is_that_of_jax():
    ours = nr.pmap(step_of(nr), axis_name="batch")(replicated(1), X[:1], Y[:1])
    theirs = jax.pmap(step_of(jax), axis_name="batch")(replicated(1), X[:1], Y[:1])
    for got, want in zip(nr.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5)  # sums of fifteen terms


def test_lanes_are_as_many_as_the_axis_is_long():
    params, value = nr.pmap(step_of(nr), "batch")(replicated(4), X, Y)
    together, mean = step_of_whole()
    np.testing.assert_allclose(value, [mean] * 4, rtol=1e-5)
    np.testing.assert_allclose(params["w"], np.stack([together["w"]] * 4), rtol=1e-5)


def step_of_whole():
    lanes = nr.vmap(step_of(nr), in_axes=(None, 0, 0), out_axes=None, axis_name="batch")
    return lanes(WEIGHTS, X, Y)


def test_axes_static_arguments_and_keywords():
    def f(x, scale, power, *, shift):
        return lax.axis_index("i") + scale * x**power + shift, scale

    run = nr.pmap(
        f, "i", in_axes=(1, None, None), out_axes=(0, None), static_broadcasted_argnums=(2,)
    )
    out, scale = run(X[0], 2.0, 3, shift=jnp.ones(3))
    np.testing.assert_allclose(out, np.arange(3)[:, None] + 2 * X[0].T ** 3 + 1, rtol=1e-5)
    assert scale == 2.0
    run(X[0], 2.0, 2, shift=jnp.ones(3))
    assert len(run.traces()) == 2
    keys = nr.random.split(nr.random.key(0), 2)
    drawn = nr.pmap(lambda key: nr.random.normal(key, (2,)))(keys)
    np.testing.assert_array_equal(drawn[1], nr.random.normal(keys[1], (2,)))


def test_donated_arguments_are_gone():
    x = jnp.ones((2, 3))
    nr.pmap(lambda x: x + 1, donate_argnums=0)(x)
    with pytest.raises(RuntimeError, match="donated"):
        x + 1


def test_extents_that_differ():
    with pytest.raises(ValueError, match="vmap"):
        nr.pmap(lambda x, y: x)(jnp.ones(2), jnp.ones(3))
