"""Without this L-BFGS could estimate a wrong Hessian, or its line search take steps uphill."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import optim

START = np.array([0.5, 1.5, 0.7, 2.0])


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def bowl(x):
    """Convex, not quadratic."""
    return (x**4).sum() / 4 + (x[:-1] - 2 * x[1:]) @ (x[:-1] - 2 * x[1:])


def searching(steps=30, **options):
    search = optim.scale_by_backtracking_linesearch(steps, decrease_factor=0.5, **options)
    return optim.chain(optim.lbfgs(), search)


def run(optimizer, f, steps, dtype="float64"):
    def step(carry, _):
        x, state = carry
        value, grad = nr.value_and_grad(f)(x)
        updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=f)
        x = optim.apply_updates(x, updates)
        return (x, state), x

    x = jnp.asarray(START, dtype)
    train = nr.jit(lambda x: nr.lax.scan(step, (x, optimizer.init(x)), None, length=steps))
    return train(x)


def run_optax(make, f, steps):
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    with jax.enable_x64(True):
        optimizer = make(optax)

        def step(carry, _):
            x, state = carry
            value, grad = jax.value_and_grad(f)(x)
            updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=f)
            x = optax.apply_updates(x, updates)
            return (x, state), x

        x = jax.numpy.asarray(START)
        train = jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), None, length=steps))
        return np.asarray(train(x)[1])


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("memory", [1, 3, 10])
def test_steps_are_those_of_optax(memory, scale):
    rate = 0.5 if scale else 0.01
    _, path = run(optim.lbfgs(rate, memory, scale), bowl, 12)
    expected = run_optax(lambda o: o.lbfgs(rate, memory, scale, linesearch=None), bowl, 12)
    # Inner products of changes that get small lose digits; 12 steps of that.
    np.testing.assert_allclose(path, expected, rtol=1e-8, atol=1e-8)


def test_line_search_is_that_of_optax():
    def theirs(optax):
        search = optax.scale_by_backtracking_linesearch(30, decrease_factor=0.5)
        return optax.chain(optax.sgd(1.0), search)

    search = optim.scale_by_backtracking_linesearch(30, decrease_factor=0.5)
    _, path = run(optim.chain(optim.sgd(1.0), search), rosenbrock, 25)
    np.testing.assert_allclose(path, run_optax(theirs, rosenbrock, 25), rtol=1e-10)


@pytest.mark.parametrize("dtype, steps, rtol", [("float64", 60, 1e-10), ("float32", 60, 1e-3)])
def test_finds_the_minimum_of_rosenbrock(dtype, steps, rtol):
    (x, state), path = run(searching(), rosenbrock, steps, dtype)
    assert x.dtype == dtype
    np.testing.assert_allclose(x, 1, rtol=rtol)
    values = [float(rosenbrock(x)) for x in path]
    assert all(b <= a * (1 + 1e-6) for a, b in zip(values, values[1:]))
    np.testing.assert_allclose(state[1].value, values[-1], rtol=1e-6, atol=1e-12)


def test_trees_are_one_vector():
    def split(x):
        return {"a": x[:1].reshape(1, 1), "b": (x[1], x[2:]), "none": None}

    def whole(tree):
        return jnp.concatenate([tree["a"].ravel(), tree["b"][0][None], tree["b"][1]])

    optimizer = optim.lbfgs(0.5)
    x = jnp.asarray(START)
    tree, state = split(x), optimizer.init(split(x))
    for _ in range(6):
        updates, state = optimizer.update(nr.grad(lambda t: bowl(whole(t)))(tree), state, tree)
        tree = optim.apply_updates(tree, updates)
    (expected, _), _ = run(optimizer, bowl, 6)
    np.testing.assert_allclose(whole(tree), expected, rtol=1e-12)
    assert optimizer.update({}, optimizer.init({}), {})[0] == {}


def test_changes_against_each_other_are_left_out():
    optimizer = optim.lbfgs()
    x, state = jnp.array([1.0, 2.0]), optimizer.init(jnp.zeros(2))
    _, state = optimizer.update(x, state, x)
    updates, state = optimizer.update(x - 0.5, state, x + 0.5)  # gradients fall along the step
    np.testing.assert_array_equal(updates, -(x - 0.5))
    assert float(state.weights[0]) == 0


def test_a_step_to_no_finite_value_is_not_made():
    def f(x):
        return jnp.where(x == 1, 0.0, jnp.nan)

    search = optim.scale_by_backtracking_linesearch(3)
    x = jnp.ones(())
    updates, state = search.update(
        jnp.array(-1.0), search.init(x), x, value=f(x), grad=jnp.array(1.0), value_fn=f
    )
    assert float(updates) == 0
    assert float(state.value) == 0


def test_errors():
    with pytest.raises(ValueError, match="lbfgs: memory_size must be positive; got 0"):
        optim.lbfgs(memory_size=0)
    with pytest.raises(ValueError, match="lbfgs: the parameters were required"):
        optim.lbfgs().update(jnp.ones(2), optim.lbfgs().init(jnp.ones(2)))
    search = optim.scale_by_backtracking_linesearch(3)
    with pytest.raises(ValueError, match=r'got None for "value_fn". Write update\(grads, state'):
        search.update(jnp.ones(2), search.init(jnp.ones(2)), jnp.ones(2), value=1, grad=jnp.ones(2))
    with pytest.raises(ValueError, match="decrease_factor must not be negative and less than 1"):
        optim.scale_by_backtracking_linesearch(3, decrease_factor=1.0)
