"""Without these, programs of stax and its optimizers could train otherwise than in JAX."""

import jax
import jax.example_libraries.optimizers
import jax.example_libraries.stax
import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.example_libraries import optimizers, stax

INPUTS = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype(np.float32)
PARAMS = {"w": np.ones((4, 3), np.float32) * np.arange(3, dtype=np.float32), "b": np.float32(2.0)}
# Sums of at most some hundred terms, and two samplers' last digits.
CLOSE = {"rtol": 2e-5, "atol": 2e-6}

LAYERS = {
    "dense": lambda s: s.Dense(4),
    "conv": lambda s: s.Conv(4, (3, 2), strides=(2, 1), padding="SAME"),
    "general": lambda s: s.GeneralConv(("HWCN", "OIHW", "NHWC"), 4, (2, 2)),
    "transposed": lambda s: s.ConvTranspose(4, (3, 3), (2, 2), "SAME"),
    "norm": lambda s: s.serial(s.BatchNorm(), s.BatchNorm(axis=(0, 2), center=False)),
    "max_pool": lambda s: s.MaxPool((2, 2), (2, 2), "SAME"),
    "avg_pool": lambda s: s.AvgPool((3, 3), padding="SAME"),
    "sum_pool": lambda s: s.SumPool((2, 3), spec="NHWC"),
    "flat": lambda s: s.serial(s.Flatten, s.Dense(3), s.LogSoftmax),
    "branches": lambda s: s.serial(
        s.FanOut(2), s.parallel(s.Dense(3), s.serial(s.Dense(3), s.Softplus)), s.FanInSum
    ),
    "beside": lambda s: s.serial(s.FanOut(2), s.parallel(s.Identity, s.Dense(2)), s.FanInConcat()),
    "dropout": lambda s: s.serial(s.Relu, s.Dropout(0.7), s.Gelu, s.Dropout(0.5, mode="test")),
    "by_shape": lambda s: s.shape_dependent(lambda shape: s.Dense(shape[-1] * 2)),
}

OPTIMIZERS = {
    "sgd": lambda o: o.sgd(o.piecewise_constant([1, 2], [0.1, 0.01, 0.001])),
    "momentum": lambda o: o.momentum(o.constant(0.1), 0.9),
    "nesterov": lambda o: o.nesterov(o.exponential_decay(0.1, 2, 0.5), 0.9),
    "adagrad": lambda o: o.adagrad(0.1),
    "rmsprop": lambda o: o.rmsprop(o.inverse_time_decay(0.1, 2, 0.5)),
    "rmsprop_momentum": lambda o: o.rmsprop_momentum(0.01),
    "adam": lambda o: o.adam(o.polynomial_decay(0.1, 5, 0.01)),
    "adamax": lambda o: o.adamax(o.inverse_time_decay(0.1, 2, 0.5, staircase=True)),
    "sm3": lambda o: o.sm3(0.1),
}


def assert_same(ours, theirs):
    for got, want in zip(nr.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    init, apply = LAYERS[name](stax)
    init_theirs, apply_theirs = LAYERS[name](jax.example_libraries.stax)
    shape, params = init(nr.random.key(0), INPUTS.shape)
    shape_theirs, params_theirs = init_theirs(jax.random.key(0), INPUTS.shape)
    assert shape == tuple(shape_theirs)
    assert_same(params, params_theirs)
    out = nr.jit(apply)(params, INPUTS, rng=nr.random.key(1))
    assert_same(out, apply_theirs(params_theirs, INPUTS, rng=jax.random.key(1)))


def test_batches_of_unknown_extent():
    init, _ = stax.serial(stax.Conv(4, (3, 3)), stax.MaxPool((2, 2)), stax.Flatten, stax.Dense(3))
    assert init(nr.random.key(0), (-1, 8, 8, 3))[0] == (-1, 3)


def test_dropout_needs_a_key():
    with pytest.raises(ValueError, match='Dropout: a key was required; got None for "rng"'):
        stax.Dropout(0.5)[1]((), INPUTS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    def train(library, made, grad, np):
        init, update, get_params = made(library)
        state = init(PARAMS)
        loss = lambda p: np.sum(p["w"] ** 2) + (p["b"] - 1) ** 2  # noqa: E731
        for i in range(4):
            grads = library.clip_grads(grad(loss)(get_params(state)), 2.0)
            state = update(i, grads, state)
        state = library.pack_optimizer_state(library.unpack_optimizer_state(state))
        return get_params(state)

    ours = train(optimizers, OPTIMIZERS[name], nr.grad, jnp)
    theirs = train(jax.example_libraries.optimizers, OPTIMIZERS[name], jax.grad, jax.numpy)
    assert_same(ours, theirs)


def test_states_pass_through_jit():
    init, update, get_params = optimizers.adam(0.1)
    step = nr.jit(lambda i, s: update(i, nr.tree.map(jnp.ones_like, get_params(s)), s))
    assert_same(get_params(step(0, init(PARAMS))), nr.tree.map(lambda x: x - 0.1, PARAMS))


def test_errors_of_optimizers():
    init, update, _ = optimizers.sgd(0.1)
    with pytest.raises(TypeError, match="update: gradients with the structure of the parameters"):
        update(0, [1.0], init(PARAMS))
    growing = optimizers.optimizer(lambda: (lambda x: x, lambda i, g, x: (x, x), lambda x: x))()
    with pytest.raises(TypeError, match="update: states of one structure were required"):
        growing.update_fn(0, PARAMS, growing.init_fn(PARAMS))
    with pytest.raises(TypeError, match="pack_optimizer_state: leaves that are JoinPoints"):
        optimizers.pack_optimizer_state(PARAMS)
    with pytest.raises(ValueError, match="piecewise_constant: one value more than boundaries"):
        optimizers.piecewise_constant([1, 2], [1.0])
    with pytest.raises(TypeError, match="make_schedule: a number or a function was required"):
        optimizers.sgd(np.ones(3))
