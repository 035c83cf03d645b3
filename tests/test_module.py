"""Without this a model might not be a pytree everywhere, or its parameters not be found by name."""

import functools
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn

KEY = nr.random.key(0)
X = jnp.linspace(-1.0, 1.0, 24).reshape(6, 4)


@nn.module
class Counting:
    """A layer with a buffer: adds up what it has seen in training."""

    scale: nr.Array
    seen: nr.Array = nn.buffer()

    @classmethod
    def init(cls, size):
        return cls(jnp.ones(size), jnp.zeros(()))

    def __call__(self, x, *, training):
        seen = nr.lax.stop_gradient(self.seen)
        y = self.scale * x
        return y, self.replace(seen=seen + x.size) if training else self


@nn.module
class Noise:
    """A layer that takes a key."""

    size: float = nn.static(default=1.0)

    def __call__(self, x, *, key, training):
        return x + self.size * nr.random.normal(key, x.shape) if training else x


def plain():
    first, second = nr.random.split(KEY)
    return nn.Sequential(
        [
            nn.Linear.init(4, 8, key=first),
            nn.relu,
            functools.partial(nn.leaky_relu, negative_slope=0.1),
            nn.Linear.init(8, 3, key=second),
        ]
    )


def loss(model, x):
    return jnp.mean(model(x) ** 2)


# ---------------------------------------------------------------- Sequential
def test_sequential_is_the_composition():
    model = plain()
    first, _, _, last = model.layers
    expected = last(nn.leaky_relu(nn.relu(first(X)), 0.1))
    np.testing.assert_array_equal(model(X), expected)
    np.testing.assert_allclose(nr.jit(lambda m, x: m(x))(model, X), expected, rtol=1e-6)
    assert repr(model.layers[1:3]) == "(relu, leaky_relu(negative_slope=0.1))"


def test_models_of_one_structure_compile_once():
    traced = []

    @nr.jit
    def call(model, x):
        traced.append(1)
        return model(x)

    call(plain(), X)
    call(pickle.loads(pickle.dumps(plain())), X)
    assert len(traced) == 1
    assert nr.tree.structure(plain()) == nr.tree.structure(plain())


def test_sequential_hands_on_keys_training_and_buffers():
    model = nn.Sequential([Counting.init(4), Noise(), nn.relu, Counting.init(4), Noise(2.0)])
    y, model = model(X, key=KEY, training=True)
    assert [float(model.layers[i].seen) for i in (0, 3)] == [X.size, X.size]
    noise = [nr.random.normal(nr.random.fold_in(KEY, i), X.shape) for i in (1, 4)]
    np.testing.assert_allclose(y, nn.relu(X + noise[0]) + 2 * noise[1], rtol=1e-6)
    y, same = model(X, training=False)
    np.testing.assert_array_equal(y, nn.relu(X))
    assert float(same.layers[0].seen) == X.size
    # Inside of another one, it is a layer that returns a pair.
    outer = nn.Sequential([model, jnp.sum])
    y, outer = outer(X, key=KEY, training=True)
    assert y.shape == () and float(outer.layers[0].layers[3].seen) == 2 * X.size


def test_sequential_asks_for_training():
    with pytest.raises(TypeError) as error:
        nn.Sequential([nn.relu, Noise()])(X)
    assert str(error.value) == (
        "Sequential: training=True or False was required, for layer 1, a Noise; got None. "
        "Write model(x, training=False) for inference."
    )


def test_sequential_asks_for_options_that_can_be_hashed():
    with pytest.raises(TypeError, match=r"Sequential: options that can be hashed .* got \[-1\] for "
                       '"axis" of sum. Write a tuple'):  # fmt: skip
        nn.Sequential([functools.partial(jnp.sum, axis=[-1])])


# ---------------------------------------------------------------- Stack
def make(key):
    return nn.Sequential([nn.Linear.init(4, 4, key=key), nn.tanh])


@pytest.mark.parametrize("remat", [False, True])
def test_a_stack_is_its_layers_in_turn(remat):
    stack = nn.Stack.init(3, make, key=KEY, remat=remat)
    layers = [make(key) for key in nr.random.split(KEY, 3)]

    def by_hand(layers, x):
        for layer in layers:
            x = layer(x)
        return x

    # Compiled and eager products of 4 terms of size 1 are summed in another order.
    np.testing.assert_allclose(stack(X), by_hand(layers, X), rtol=1e-6, atol=4 * 6e-8)
    got = nr.jit(nr.grad(lambda s: jnp.sum(s(X) ** 2)))(stack)
    expected = nr.grad(lambda ls: jnp.sum(by_hand(ls, X) ** 2))(layers)
    for i in range(3):
        nr.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6),
            got.layers,
            expected[i],
        )


def test_a_stack_hands_on_keys_training_and_buffers():
    stack = nn.Stack.init(
        3, lambda key: nn.Sequential([Counting.init(4), Noise()]), key=nr.random.key(1)
    )
    y, new = nr.jit(lambda s, x: s(x, key=KEY, training=True))(stack, X)
    np.testing.assert_array_equal(new.layers.layers[0].seen, [24.0, 24.0, 24.0])
    assert not np.allclose(y, X)
    y, _ = stack(X, training=False)
    np.testing.assert_array_equal(y, X)
    with pytest.raises(ValueError, match="Stack: a depth of at least 1 was required; got 0"):
        nn.Stack.init(0, make, key=KEY)


# ---------------------------------------------------------------- transformations
def test_models_go_through_all_transformations():
    model = plain()
    grads = nr.grad(loss)(model, X)
    assert nr.tree.structure(grads) == nr.tree.structure(model)
    by_row = nr.vmap(nr.grad(loss), (None, 0))(model, X)
    for mean, rows in zip(nr.tree.leaves(grads), nr.tree.leaves(by_row)):
        np.testing.assert_allclose(rows.mean(0), mean, rtol=1e-5, atol=1e-7)
    models = nr.vmap(lambda key: nn.Linear.init(4, 2, key=key))(nr.random.split(KEY, 5))
    assert nr.vmap(lambda m, x: m(x), (0, None))(models, X).shape == (5, 6, 2)
    again = nr.grad(lambda m: loss(nr.checkpoint(lambda m: m)(m), X))(model)
    np.testing.assert_allclose(again.layers[0].weight, grads.layers[0].weight, rtol=1e-6)
    assert nr.tree.map(lambda p, g: p - g, model, grads).layers[1] is not None


# ---------------------------------------------------------------- by name
def test_state_dicts_go_out_and_in():
    model = plain()
    state = nn.state_dict(model)
    assert list(state) == ["layers.0.weight", "layers.0.bias", "layers.3.weight", "layers.3.bias"]
    other = nr.tree.map(jnp.zeros_like, model)
    loaded = nn.load_state_dict(other, {k: np.asarray(v) for k, v in state.items()})
    np.testing.assert_array_equal(loaded(X), model(X))
    shapes = nr.eval_shape(plain)
    np.testing.assert_array_equal(nn.load_state_dict(shapes, state)(X), model(X))
    part = nn.load_state_dict(other, {"layers.0.bias": np.ones(8), "x": np.ones(1)}, strict=False)
    assert part.layers[0].bias.dtype == "float32" and float(part.layers[0].bias.sum()) == 8


def test_load_state_dict_tells_all_that_is_wrong():
    state = nn.state_dict(plain())
    state["head"] = state.pop("layers.0.bias")
    state["layers.3.bias"] = jnp.ones(7)
    with pytest.raises(ValueError) as error:
        nn.load_state_dict(plain(), state)
    text = str(error.value)
    assert '"layers.0.bias" is missing' in text and '"head" is unknown' in text
    assert '"layers.3.bias" is f32[7], and f32[3] was required' in text


def test_masks_by_pattern_and_by_function():
    model = plain()
    assert nr.tree.leaves(nn.mask(model, "*.weight")) == [True, False, True, False]
    assert nr.tree.leaves(nn.mask(model, ["layers.0.*", "*3.bias"])) == [True, True, False, True]
    assert nr.tree.leaves(nn.mask(model, lambda name, x: x.ndim > 1)) == [True, False, True, False]
    with pytest.raises(ValueError, match='mask: a pattern that matches a leaf .* got "head"'):
        nn.mask(model, "head")


def test_a_part_of_a_model_can_be_trained():
    model = plain()
    head, rest = nn.partition(model, "layers.3.*")
    grads = nr.jit(nr.grad(lambda head: loss(nn.merge(head, rest), X)))(head)
    whole = nr.grad(loss)(model, X)
    assert grads.layers[0].weight is None
    np.testing.assert_allclose(grads.layers[3].weight, whole.layers[3].weight, rtol=1e-5)
    assert nr.tree.structure(nn.merge(rest, head)) == nr.tree.structure(model)
    with pytest.raises(ValueError, match='merge: .* got 2 for "layers.0.weight"'):
        nn.merge(model, rest)


def test_buffers_are_not_parameters():
    model = [Counting.init(4), nn.Linear.init(2, 3, key=KEY)]
    assert nr.tree.leaves(nr.tree.trainable(model)) == [True, False, True, True]
    assert nn.count_parameters(model) == 4 + 9
    _, buffers = nn.partition(model, nr.tree.trainable(model))
    assert list(nn.state_dict(buffers)) == ["0.seen"]


# ---------------------------------------------------------------- summary
def test_the_summary_has_a_line_a_module():
    stack = nn.Stack.init(3, make, key=KEY)
    model = nn.Sequential([stack, Counting.init(4), nn.Linear.init(4, 2, key=KEY)])
    text = nn.summary(model, nr.ShapeDtypeStruct((5, 4), "float32"), training=True)
    rows = [line.split() for line in text.split("\n")]
    assert [row[0] for row in rows[1:]] == [
        "Sequential", "layers.0", "layers.0.layers", "layers.0.layers.layers.0",
        "layers.0.layers.layers.1", "layers.1", "layers.2",
    ]  # fmt: skip
    assert rows[1][1:] == ["f32[5,2]", "74", rows[1][-1]]
    assert rows[2][2:4] == ["f32[5,4]", "60"]
    # a product of 5 x 4 by 4 x 2, and the bias: of so few terms none is added to a zero
    assert rows[-1][-1] == str(5 * 2 * (4 + 3 + 1))
    # The model is as before, and no class is left behind.
    assert type(model.layers[2]) is nn.Linear
    assert nn.summary(model, nr.ShapeDtypeStruct((5, 4), "float32"), training=True) == text
