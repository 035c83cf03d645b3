"""Without this nr.nn could differ from jax.nn, and a model might not be a pytree."""

import dataclasses
import math
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn
from nr.nn import initializers

X = np.concatenate([np.linspace(-8, 8, 41), [0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 1e-4, -1e-4, 90, -90]])
X32 = X.astype(np.float32)
# Functions of a few float32 operations, each rounded once (6e-8), here and in JAX.
RTOL, ATOL = 2e-6, 2e-6

ACTIVATIONS = [
    "celu", "elu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity",
    "leaky_relu", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign",
    "softplus", "sparse_plus", "sparse_sigmoid", "squareplus", "swish", "tanh", "gelu",
]  # fmt: skip
REDUCTIONS = ["softmax", "log_softmax", "logsumexp", "standardize"]


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def close(got, expected, rtol=RTOL, atol=ATOL):
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    assert np.dtype(got.dtype) == expected.dtype
    np.testing.assert_allclose(np.asarray(got), expected, rtol=rtol, atol=atol)


def derivative(lib, jnp_, f, x):
    return lib.grad(lambda x: jnp_.sum(f(x)))(x)


# ---------------------------------------------------------------- activations
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_derivatives_are_those_of_jax(name, jax):
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    close(ours(X32), theirs(X32))
    close(nr.jit(ours)(X32), theirs(X32))
    # X holds the kinks: 0, 1, -1, 3, -3, 6.
    close(derivative(nr, jnp, ours, X32), derivative(jax, jax.numpy, theirs, X32))
    assert ours(jnp.ones(2, "bfloat16")).dtype == "bfloat16"
    assert ours(X).dtype == "float64"


@pytest.mark.parametrize(
    "call",
    [
        lambda nn: nn.elu(X32, alpha=0.5),
        lambda nn: nn.celu(X32, 2.0),
        lambda nn: nn.leaky_relu(X32, 0.2),
        lambda nn: nn.squareplus(X32, 1.0),
        lambda nn: nn.gelu(X32, approximate=False),
        lambda nn: nn.glu(X32[:40].reshape(4, 10)),
        lambda nn: nn.glu(X32[:40].reshape(4, 10), axis=0),
        lambda nn: nn.log1mexp(np.abs(X32) + np.float32(1e-6)),
        lambda nn: nn.relu(np.array([-1, 2], np.int32)),
    ],
)
def test_arguments_of_activations(call, jax):
    close(call(nn), call(jax.nn))


def test_activations_in_float64_against_their_formulas():
    phi = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in X])
    np.testing.assert_allclose(nn.gelu(X, approximate=False), X * phi, rtol=1e-12)
    assert np.abs(nn.gelu(X) - X * phi).max() < 5e-4  # the docstring's promise
    np.testing.assert_allclose(nn.log_sigmoid(X), -np.logaddexp(0, -X), rtol=1e-14)
    tiny = np.array([1e-12, 1e-3, 30.0])
    np.testing.assert_allclose(
        nn.log1mexp(tiny), [np.log(1e-12), np.log(-np.expm1(-1e-3)), -np.exp(-30.0)], rtol=1e-12
    )


@pytest.mark.parametrize("name", ["relu", "elu", "celu", "softplus", "sigmoid", "log_sigmoid"])
def test_extremes_have_finite_derivatives(name):
    x = np.array([-np.inf, -1e30, 1e30, np.inf], np.float32)
    slopes = derivative(nr, jnp, getattr(nn, name), x)
    assert np.isfinite(slopes).all()
    assert np.isnan(getattr(nn, name)(np.float32(np.nan)))


def test_relu_is_differentiable_twice_and_maps():
    x = jnp.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(nr.vmap(nr.grad(nn.relu))(x), [0, 0, 1])
    np.testing.assert_array_equal(nr.hessian(lambda x: (nn.relu(x) ** 2).sum())(x)[2], [0, 0, 2])


# ---------------------------------------------------------------- over an axis
SCORES = np.array([[1.0, -2.0, 0.5, 1000.0], [-np.inf, 3.0, 3.0, -1000.0]], np.float32)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [-1, 0, (0, 1), None])
def test_functions_over_an_axis_are_those_of_jax(name, axis, jax):
    x = np.clip(SCORES, -50, 50) if name == "standardize" else SCORES
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    close(ours(x, axis=axis), theirs(x, axis=axis))
    finite = np.clip(x, -50, 50)
    weights = np.linspace(1, 2, np.size(ours(finite, axis=axis)), dtype=np.float32)
    slopes = [
        derivative(lib, np_, lambda x, f=f, np_=np_: np_.ravel(f(x, axis=axis)) * weights, finite)
        for lib, np_, f in ((nr, jnp, ours), (jax, jax.numpy, theirs))
    ]
    close(*slopes, atol=1e-5)  # differences of terms as large as 50


@pytest.mark.parametrize("name", REDUCTIONS)
def test_where_masks_values_and_gradients(name, jax):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5)).astype(np.float32)
    mask = np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 0]], bool)
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    close(ours(x, axis=-1, where=mask), theirs(x, axis=-1, where=mask))
    if name != "standardize":  # whose masked elements are still moved and scaled
        poisoned = np.where(mask, x, np.nan)
        close(ours(poisoned, axis=-1, where=mask), theirs(x, axis=-1, where=mask))
        slopes = derivative(
            nr, jnp, lambda x: jnp.where(mask.any(), ours(x, axis=-1, where=mask), 0)[..., :1], x
        )
        assert (np.asarray(slopes)[:, 1:][~mask[:, 1:]] == 0).all()


def test_softmax_of_a_row_masked_as_a_whole_is_zero():
    x, mask = jnp.ones((2, 3)), np.array([[True] * 3, [False] * 3])
    value, slopes = nr.value_and_grad(
        lambda x: (nn.softmax(x, where=mask) * jnp.arange(3.0)).sum()
    )(x)
    assert float(value) == pytest.approx(1.0)
    np.testing.assert_allclose(slopes, [[-1 / 3, 0, 1 / 3], [0, 0, 0]], atol=ATOL)


def test_rows_of_infinities_are_as_in_jax(jax):
    inf = np.inf
    x = np.array([[-inf, -inf], [inf, 1.0], [inf, inf], [-inf, 0.0]], np.float32)
    for name in ("softmax", "log_softmax"):
        close(getattr(nn, name)(x), getattr(jax.nn, name)(x))
    close(nn.logsumexp(x, axis=1), jax.nn.logsumexp(x, axis=1))


def test_logsumexp_arguments(jax):
    x = np.array([[1.0, 2.0, -np.inf], [100.0, 0.0, 1.0]], np.float32)
    b = np.array([[1.0, -2.0, 5.0], [0.0, 2.0, -3.0]], np.float32)
    close(nn.logsumexp(x, axis=1, b=b), jax.nn.logsumexp(x, axis=1, b=b))
    got = nn.logsumexp(x, axis=0, b=b, return_sign=True, keepdims=True)
    for mine, theirs in zip(
        got, jax.nn.logsumexp(x, axis=0, b=b, return_sign=True, keepdims=True), strict=True
    ):
        close(mine, theirs)
    close(nn.logmeanexp(x, axis=1), jax.nn.logmeanexp(x, axis=1))
    mask = np.array([True, True, False])
    close(nn.logmeanexp(x, axis=1, where=mask), jax.nn.logmeanexp(x, axis=1, where=mask))


def test_standardize_takes_given_moments(jax):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    kwargs = {"mean": np.float32(1.0), "variance": np.full((2, 1), 4.0, np.float32)}
    close(nn.standardize(x, epsilon=0.1, **kwargs), jax.nn.standardize(x, epsilon=0.1, **kwargs))
    far = 1e4 + x  # where mean(x**2) - mean(x)**2 has lost all digits
    np.testing.assert_allclose(nn.standardize(far).std(axis=-1), 1.0, rtol=1e-3)


def test_one_hot(jax):
    x = np.array([[0, 2], [3, -1]])
    for kwargs in ({}, {"axis": 0}, {"axis": -2}, {"dtype": np.int32}, {"dtype": bool}):
        close(nn.one_hot(x, 3, **kwargs), jax.nn.one_hot(x, 3, **kwargs))
    close(nn.one_hot(np.uint8(200), 300), jax.nn.one_hot(np.uint8(200), 300))
    close(nn.one_hot(1, 2), jax.nn.one_hot(1, 2))


# ---------------------------------------------------------------- losses
def test_softmax_cross_entropy_of_classes_and_probabilities():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(5, 7)), rng.integers(0, 7, 5)
    expected = np.log(np.exp(logits).sum(-1)) - logits[np.arange(5), labels]
    for reduction, value in (
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.mean()),
    ):
        for given in (labels, np.eye(7)[labels]):
            got = nn.softmax_cross_entropy(logits, given, reduction=reduction)
            np.testing.assert_allclose(got, value, rtol=1e-13)
        got = nn.softmax_cross_entropy(logits.T, labels, axis=0, reduction=reduction)
        np.testing.assert_allclose(got, value, rtol=1e-13)
    slopes = nr.grad(nn.softmax_cross_entropy)(logits, labels)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(slopes, (probabilities - np.eye(7)[labels]) / 5, atol=1e-15)


def test_softmax_cross_entropy_is_safe():
    logits = jnp.array([[0.0, 1e4], [-jnp.inf, 0.0]])
    one = jnp.array([1, 1])
    for labels in (one, nn.one_hot(one, 2)):
        value, slopes = nr.value_and_grad(nn.softmax_cross_entropy)(logits, labels)
        assert float(value) == 0.0
        np.testing.assert_array_equal(slopes, np.zeros((2, 2)))


# ---------------------------------------------------------------- initializers
SHAPE = (3, 3, 4, 8)
MAKERS = [
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "kaiming_normal",
    "kaiming_uniform", "lecun_normal", "lecun_uniform", "xavier_normal", "xavier_uniform",
    "normal", "uniform", "truncated_normal",
]  # fmt: skip
# nr.random promises 4 ulp for samplers; a product rounds once more.
INIT_RTOL = 6 * 1.2e-7


@pytest.mark.parametrize("name", MAKERS)
def test_initializers_give_the_numbers_of_jax(name, jax):
    ours, theirs = getattr(initializers, name)(), getattr(jax.nn.initializers, name)()
    expected = theirs(jax.random.key(7), SHAPE)
    close(ours(nr.random.key(7), SHAPE), expected, rtol=INIT_RTOL, atol=0)
    compiled = nr.jit(lambda key: ours(key, SHAPE))(nr.random.key(7))
    close(compiled, expected, rtol=INIT_RTOL, atol=0)
    assert ours(nr.random.key(7), SHAPE, "bfloat16").dtype == "bfloat16"


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
def test_variance_scaling(mode, distribution, jax):
    args = (0.7, mode, distribution, 0, (-1, 2), 1)
    close(
        initializers.variance_scaling(*args)(nr.random.key(3), (4, 5, 6, 7)),
        jax.nn.initializers.variance_scaling(*args)(jax.random.key(3), (4, 5, 6, 7)),
        rtol=INIT_RTOL,
        atol=0,
    )


def test_truncated_normal_bounds_and_constants(jax):
    close(
        initializers.truncated_normal(0.5, lower=-1.0, upper=3.0)(nr.random.key(1), (50,)),
        jax.nn.initializers.truncated_normal(0.5, lower=-1.0, upper=3.0)(jax.random.key(1), (50,)),
        rtol=INIT_RTOL,
        atol=0,
    )
    np.testing.assert_array_equal(initializers.zeros(None, (2,)), [0, 0])
    np.testing.assert_array_equal(initializers.ones(None, (2,), "int32"), [1, 1])
    np.testing.assert_array_equal(initializers.constant([1.0, 2.0])(None, (2, 2)), [[1, 2]] * 2)


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
    assert repr(MLP.init(3, 4, 2, 5, key=nr.random.key(0))) == (
        "MLP(\n"
        "  layers=[\n"
        "    Linear(weight=f32[3,4], bias=f32[4]),\n"
        "    Linear(weight=f32[4,2], bias=f32[2]),\n"
        "    Linear(weight=f32[2,5], bias=f32[5]),\n"
        "  ],\n"
        "  activation=relu,\n"
        "  skip=None,\n"
        ")"
    )
    shapes = nr.eval_shape(lambda: nn.Linear.init(3, 4, key=nr.random.key(0)))
    assert repr(shapes) == "Linear(weight=f32[3,4], bias=f32[4])"


def test_replace(model):
    bare = model.layers[0].replace(bias=None)
    assert bare.bias is None and model.layers[0].bias is not None
    with pytest.raises(TypeError, match=r'a field of Linear \(weight, bias\) .* got "biass"'):
        model.layers[0].replace(biass=None)


# ---------------------------------------------------------------- errors
def test_errors():
    layer = nn.Linear.init(3, 4, key=nr.random.key(0))
    for call in (layer, nr.jit(layer)):
        with pytest.raises(TypeError, match=r"Linear: \[\.\.\., 3\] was required; got f32\[2,5\]"):
            call(jnp.ones((2, 5)))
    with pytest.raises(ValueError, match=r"glu: axis -1 .* even size; got f32\[3\]"):
        nn.glu(jnp.ones(3))
    with pytest.raises(TypeError, match=r"one_hot: integers were required; got f32\[2\]"):
        nn.one_hot(jnp.ones(2), 3)
    with pytest.raises(ValueError, match="one_hot: an axis of the result, of rank 2"):
        nn.one_hot(jnp.ones(2, int), 3, axis=2)
    logits = jnp.ones((2, 3))
    with pytest.raises(TypeError, match=r"i32\[2\] was required .* got i32\[3\]"):
        nn.softmax_cross_entropy(logits, jnp.ones(3, int))
    with pytest.raises(TypeError, match=r"f32\[2,3\] was required .* got f32\[2\]"):
        nn.softmax_cross_entropy(logits, jnp.ones(2))
    with pytest.raises(TypeError, match=r"got b1\[2\] for \"labels\""):
        nn.softmax_cross_entropy(logits, jnp.ones(2, bool))
    with pytest.raises(ValueError, match="reduction must be .* got 'avg'"):
        nn.softmax_cross_entropy(logits, jnp.ones(2, int), reduction="avg")
    with pytest.raises(ValueError, match="mode must be"):
        initializers.variance_scaling(1.0, "fan", "normal")
    with pytest.raises(ValueError, match="distribution must be"):
        initializers.variance_scaling(1.0, "fan_in", "gaussian")
    with pytest.raises(ValueError, match=r"got \(3,\). For biases use initializers.zeros"):
        initializers.lecun_normal()(nr.random.key(0), (3,))
    with pytest.raises(ValueError, match="a floating dtype was required; got i32"):
        initializers.lecun_normal()(nr.random.key(0), (3, 3), "int32")


def test_module_names_the_field_that_should_be_static():
    class Pool:
        weight: nr.Array
        window: int

    with pytest.raises(TypeError, match=r"Write window: int = nr\.nn\.static\(\)"):
        nn.module(Pool)
