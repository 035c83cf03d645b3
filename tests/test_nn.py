"""Without this a model might not be a pytree, or its errors and its repr not say what it is."""

import dataclasses
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn


# ---------------------------------------------------------------- modules
@nn.module
class MLP:
    """A model with a static field, a list of layers and an optional one."""

    layers: list[nn.Linear]
    activation: object = nn.static(default=nn.relu)
    skip: nn.Linear | None = None

    @classmethod
    def init(cls, *sizes, key):
        keys = nr.random.split(key, len(sizes) - 1)
        return cls([nn.Linear.init(*ab, key=k) for ab, k in zip(zip(sizes, sizes[1:]), keys)])

    def __call__(self, x):
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


@pytest.fixture
def model():
    return MLP.init(3, 4, 2, key=nr.random.key(0))


def test_linear_acts_on_the_last_axis():
    layer = nn.Linear.init(3, 4, key=nr.random.key(0))
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    np.testing.assert_allclose(layer(x), x @ np.asarray(layer.weight), rtol=1e-6)
    assert layer(x[0, 0]).shape == (4,)
    bare = nn.Linear.init(3, 4, key=nr.random.key(0), bias=False, dtype="bfloat16")
    assert bare.bias is None and bare.weight.dtype == "bfloat16"
    assert len(nr.tree.leaves(bare)) == 1


def test_transformations_take_models(model):
    x = jnp.ones((5, 3))

    def loss(model, x):
        return (model(x) ** 2).sum()

    grads = nr.grad(loss)(model, x)
    assert nr.tree.structure(grads) == nr.tree.structure(model)
    for a, b in zip(nr.tree.leaves(nr.jit(nr.grad(loss))(model, x)), nr.tree.leaves(grads)):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    # d(sum y**2)/d(last bias) = sum over the batch of 2 y.
    np.testing.assert_allclose(grads.layers[-1].bias, 2 * model(x).sum(0), rtol=1e-6)
    np.testing.assert_allclose(nr.vmap(model)(x), model(x), rtol=1e-6)
    np.testing.assert_allclose(nr.jit(lambda m, x: m(x))(model, x), model(x), rtol=1e-6)


def test_vmap_of_init_makes_stacked_models(model):
    keys = nr.random.split(nr.random.key(1), 6)
    stack = nr.vmap(lambda key: MLP.init(3, 4, 2, key=key))(keys)
    assert stack.layers[0].weight.shape == (6, 3, 4)
    x = jnp.ones((5, 3))
    outs = nr.vmap(lambda model, x: model(x), (0, None))(stack, x)
    third = nr.tree.map(lambda leaf: leaf[2], stack)
    np.testing.assert_allclose(outs[2], third(x), rtol=1e-6)

    blocks = nr.vmap(lambda key: nn.Linear.init(3, 3, key=key))(keys)
    scanned, _ = nr.lax.scan(lambda h, layer: (nn.relu(layer(h)), None), x, blocks)
    looped = x
    for i in range(6):
        looped = nn.relu(nr.tree.map(lambda leaf, i=i: leaf[i], blocks)(looped))
    np.testing.assert_allclose(scanned, looped, rtol=1e-5, atol=1e-6)


def test_static_fields_are_structure(model):
    other = model.replace(activation=nn.tanh)
    assert nr.tree.structure(other) != nr.tree.structure(model)
    f = nr.jit(lambda model, x: model(x))
    x = jnp.ones((5, 3))
    assert not np.array_equal(f(model, x), f(other, x))
    assert len(f.traces()) == 2
    paths = [nr.tree_util.keystr(path) for path, _ in nr.tree.leaves_with_path(model)]
    assert paths[0] == ".layers[0].weight"


def test_models_pickle_and_are_frozen(model):
    restored = pickle.loads(pickle.dumps(model))
    assert nr.tree.structure(restored) == nr.tree.structure(model)
    x = jnp.ones((5, 3))
    np.testing.assert_array_equal(restored(x), model(x))
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.skip = None
    assert model != restored and model == model and len({model, restored}) == 2


def test_repr_shows_shapes_on_lines_that_fit(model):
    assert repr(model.layers[0]) == "Linear(weight=f32[3,4], bias=f32[4])"
    deep = MLP.init(3, 4, 2, 5, key=nr.random.key(0))
    assert repr(deep.replace(activation=nn.tanh)) == (
        "MLP(\n"
        "  layers=[\n"
        "    Linear(weight=f32[3,4], bias=f32[4]),\n"
        "    Linear(weight=f32[4,2], bias=f32[2]),\n"
        "    Linear(weight=f32[2,5], bias=f32[5]),\n"
        "  ],\n"
        "  activation=tanh,\n"
        "  skip=None,\n"
        ")"
    )
    assert "activation" not in repr(deep)  # the default
    shapes = nr.eval_shape(lambda: nn.Linear.init(3, 4, key=nr.random.key(0)))
    assert repr(shapes) == "Linear(weight=f32[3,4], bias=f32[4])"


def test_replace(model):
    bare = model.layers[0].replace(bias=None)
    assert bare.bias is None and model.layers[0].bias is not None
    with pytest.raises(TypeError, match=r'a field of Linear \(weight, bias\) .* got "biass"'):
        model.layers[0].replace(biass=None)


# ---------------------------------------------------------------- errors
def test_linear_says_what_it_takes():
    layer = nn.Linear.init(3, 4, key=nr.random.key(0))
    for call in (layer, nr.jit(layer)):
        with pytest.raises(TypeError, match=r"Linear: \[\.\.\., 3\] was required; got f32\[2,5\]"):
            call(jnp.ones((2, 5)))


def test_module_names_the_field_that_should_be_static():
    class Pool:
        weight: nr.Array
        window: int

    with pytest.raises(TypeError, match=r"Write window: int = nr\.nn\.static\(\)"):
        nn.module(Pool)


def test_flatten():
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(nn.flatten(x), x.reshape(2, 60))
    np.testing.assert_array_equal(nr.jit(lambda x: nn.flatten(x, 2))(x), x.reshape(2, 3, 20))
    assert nn.flatten(jnp.ones((0, 2, 3, 4))).shape == (0, 24)
    with pytest.raises(ValueError, match=r'flatten: an axis of "x" was required; got start=-3 for'):
        nn.flatten(jnp.ones((2, 3)))
