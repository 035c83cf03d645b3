"""Without this dropout could drop too much or too little, forget to scale what stays, drop from
another place backward than forward, or store its masks."""

import math
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn

KEY = nr.random.key(7)
# How improbable a count must be to be taken for an error.
ALPHA = 1e-9


@pytest.fixture
def binom():
    return pytest.importorskip("scipy.stats").binom


def assert_binomial(binom, count, n, p):
    assert binom.cdf(count, n, p) > ALPHA and binom.sf(count - 1, n, p) > ALPHA


def ones(*shape):
    return jnp.ones(shape, "float32")


# ---------------------------------------------------------------- counts and scales
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_as_many_are_dropped_as_the_rate_says(binom, rate, dtype):
    x = jnp.ones((200, 300), dtype)
    drop = nn.Dropout(rate)
    y = drop(x, key=KEY, training=True)
    assert y.dtype == dtype
    dropped = np.asarray(y) == 0
    assert_binomial(binom, dropped.sum(), y.size, rate)
    # In rows, columns and neighbours as in all: elements are independent.
    assert_binomial(binom, dropped[::7].sum(), dropped[::7].size, rate)
    assert_binomial(binom, dropped[:, ::7].sum(), dropped[:, ::7].size, rate)
    both = dropped[:, ::2] & dropped[:, 1::2]
    assert_binomial(binom, both.sum(), both.size, rate**2)
    kept = np.asarray(y)[~dropped]
    np.testing.assert_array_equal(kept, np.asarray(jnp.asarray(1 / (1 - rate), dtype)))
    np.testing.assert_array_equal(nr.jit(lambda x, k: drop(x, key=k, training=True))(x, KEY), y)


def test_the_mean_stays(binom):
    x = jnp.asarray(np.random.default_rng(0).normal(3, 1, (500, 400)).astype("float32"))
    for rate in (0.1, 0.5):
        y = np.asarray(nn.Dropout(rate)(x, key=KEY, training=True), "float64")
        # Of each element the variance is x^2 rate / (1 - rate); 6 deviations of the sum.
        deviation = math.sqrt(np.sum(np.asarray(x, "float64") ** 2) * rate / (1 - rate))
        assert abs(y.sum() - np.asarray(x, "float64").sum()) < 6 * deviation


def test_other_keys_drop_others():
    drop = nn.Dropout(0.5)
    first, second = (
        np.asarray(drop(ones(1000), key=k, training=True)) for k in nr.random.split(KEY)
    )
    assert 300 < (first != second).sum() < 700
    np.testing.assert_array_equal(
        first, drop(ones(1000), key=nr.random.split(KEY)[0], training=True)
    )


LAYERS = [nn.Dropout, nn.AlphaDropout, nn.DropPath]


@pytest.mark.parametrize("layer", LAYERS)
def test_inference_and_rate_0_give_x(layer):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)).astype("float32"))
    for drop, training in ((layer(0.5), False), (layer(1.0), False), (layer(0.0), True)):
        np.testing.assert_array_equal(drop(x, training=training), x)
        np.testing.assert_array_equal(drop(x, training=training, key=KEY), x)
    assert layer(0.5)(jnp.arange(3), training=False).dtype == "float32"
    assert layer(0.5)(jnp.ones((0, 3)), training=True, key=KEY).shape == (0, 3)


@pytest.mark.parametrize("layer", LAYERS)
def test_rate_1_gives_0_and_gradients_of_0(layer):
    def f(x):
        return layer(1.0)(x, key=KEY, training=True)

    x = jnp.asarray([1.0, np.inf, np.nan])
    np.testing.assert_array_equal(f(x), np.zeros(3))
    np.testing.assert_array_equal(nr.grad(lambda x: f(x).sum())(x), np.zeros(3))


@pytest.mark.parametrize(
    "drop",
    [nn.Dropout(0.4), nn.Dropout(0.4, (-2,)), nn.AlphaDropout(0.4), nn.DropPath(0.4)],
    ids=str,
)
def test_gradients_come_through_what_was_kept(drop):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(20, 3, 4)).astype("float32"))

    def f(x):
        return drop(x, key=KEY, training=True)

    y, pull = nr.vjp(f, x)
    (dx,) = pull(jnp.ones_like(y))
    # Each element is affine in its own x: the slope is what two values differ by.
    slope = np.asarray(f(x + 1) - f(x))
    np.testing.assert_allclose(dx, slope, atol=2e-6)
    assert 0 < (np.asarray(dx) == 0).mean() < 1

    def loss(x):
        return (f(x) ** 2).sum()

    np.testing.assert_allclose(
        nr.jit(nr.grad(nr.checkpoint(loss)))(x), nr.grad(loss)(x), rtol=1e-6, atol=1e-6
    )


# ---------------------------------------------------------------- variants
@pytest.mark.parametrize(
    ("dims", "shape"), [((-3, -2), (40, 1, 1, 30)), ((1,), (40, 1, 6, 30)), ((0, 3), (1, 5, 6, 1))]
)
@pytest.mark.parametrize("layer", [nn.Dropout, nn.AlphaDropout])
def test_broadcast_dims_are_dropped_together(binom, layer, dims, shape):
    y = np.asarray(layer(0.3, dims)(ones(40, 5, 6, 30), key=KEY, training=True))
    one = y[tuple([slice(0, 1) if n == 1 else slice(None) for n in shape])]
    np.testing.assert_array_equal(y, np.broadcast_to(one, y.shape))
    assert_binomial(binom, (one == one.min()).sum(), one.size, 0.3)


def test_drop_path_drops_examples(binom):
    y = np.asarray(nn.DropPath(0.3)(ones(2000, 3, 4), key=KEY, training=True))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    assert_binomial(binom, (y[:, 0, 0] == 0).sum(), 2000, 0.3)
    np.testing.assert_array_equal(np.unique(y), np.float32([0, 1 / 0.7]))
    two = np.asarray(nn.DropPath(0.3, 2)(ones(50, 40, 4), key=KEY, training=True))
    assert_binomial(binom, (two[:, :, 0] == 0).sum(), 2000, 0.3)
    # Under vmap, one example each.
    one = nn.DropPath(0.3, 0)
    keys = nr.random.split(KEY, 2000)
    lanes = nr.vmap(lambda x, k: one(x, key=k, training=True))(ones(2000, 5), keys)
    assert_binomial(binom, (np.asarray(lanes)[:, 0] == 0).sum(), 2000, 0.3)
    np.testing.assert_array_equal(lanes[:, 0], lanes[:, 4])


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_alpha_dropout_is_that_of_torch_and_keeps_mean_and_variance(rate):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1000, 1000)).astype("float32"))
    y = np.asarray(nn.AlphaDropout(rate)(x, key=KEY, training=True), "float64")
    assert abs(y.mean()) < 6e-3 and abs(y.var() - 1) < 0.02  # 6 deviations of 10^6 numbers
    torch = pytest.importorskip("torch")
    theirs = torch.nn.AlphaDropout(rate)(torch.zeros(1000)).numpy()
    zeros = nn.AlphaDropout(rate)(jnp.zeros(1000), key=KEY, training=True)
    np.testing.assert_allclose(np.unique(zeros), np.unique(theirs), rtol=1e-5)


def test_drop_connect_drops_weights(binom):
    linear = nn.Linear.init(100, 80, key=nr.random.key(1))
    layer = nn.DropConnect(linear, 0.3)
    x = jnp.eye(100)
    rows = np.asarray(layer(x, key=KEY, training=True))
    weight = np.asarray(linear.weight)
    assert_binomial(binom, (rows == 0).sum(), rows.size, 0.3)
    np.testing.assert_allclose(rows[rows != 0], weight[rows != 0] / np.float32(0.7), rtol=1e-6)
    np.testing.assert_array_equal(layer(x, training=False), linear(x))
    grads = nr.grad(lambda layer: layer(x, key=KEY, training=True).sum())(layer)
    np.testing.assert_allclose(grads.layer.weight, (rows != 0) / 0.7, rtol=1e-6)


# ---------------------------------------------------------------- as modules
def test_layers_have_no_leaves_and_are_hashed_by_value():
    for drop in (nn.Dropout(0.5, (-2,)), nn.AlphaDropout(0.5), nn.DropPath(0.5)):
        assert nr.tree.leaves(drop) == []
        copy = pickle.loads(pickle.dumps(drop))
        assert nr.tree.structure(copy) == nr.tree.structure(drop)
        assert repr(copy) == repr(drop)


def test_vmap_over_keys():
    drop = nn.Dropout(0.5)
    keys = nr.random.split(KEY, 3)
    many = nr.vmap(lambda k: drop(ones(50), key=k, training=True))(keys)
    for i in range(3):
        np.testing.assert_array_equal(many[i], drop(ones(50), key=keys[i], training=True))


def test_masks_are_not_stored():
    x = nr.ShapeDtypeStruct((128, 512), "float32")
    drop = nn.Dropout(0.1)

    def loss(x, key):
        return (drop(x, key=key, training=True) ** 2).sum()

    text = nr.jit(lambda x, k: drop(x, key=k, training=True)).lower(x, KEY).as_text("loops")
    assert text.count("kernel") == 1 and text.count("] = ") == 1, text
    # Backward the mask is computed again, in the kernel that needs it.
    plan = nr.plan(nr.grad(loss), x, KEY)
    assert plan.temporary_bytes < 1000, plan


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("error", "message", "f"),
    [
        (TypeError, "Dropout: a key was required in training; got None. Call the layer with key=",
         lambda: nn.Dropout(0.5)(ones(3), training=True)),
        (TypeError, "AlphaDropout: a key was required in training; got None",
         lambda: nn.AlphaDropout(1.0)(ones(3), training=True)),
        (TypeError, "DropPath: a key was required in training; got None",
         lambda: nn.DropPath(0.5)(ones(3), training=True)),
        (TypeError, "DropConnect: a key was required in training; got None",
         lambda: nn.DropConnect(nn.Linear.init(3, 2, key=KEY), 0.5)(ones(3), training=True)),
        (TypeError, "training", lambda: nn.Dropout(0.5)(ones(3), key=KEY)),
        (ValueError, "Dropout: a probability was required; got rate=1.5", lambda: nn.Dropout(1.5)),
        (ValueError, "AlphaDropout: a probability was required; got rate=-0.1",
         lambda: nn.AlphaDropout(-0.1)),
        (ValueError, "DropPath: a probability was required; got rate=nan",
         lambda: nn.DropPath(float("nan"))),
        (ValueError, "DropConnect: a probability was required; got rate=2",
         lambda: nn.DropConnect(nn.Linear.init(3, 2, key=KEY), 2)),
        (ValueError, r'Dropout: dimensions of "x" were required; got broadcast_dims=\(-3,\) for '
         r"f32\[3,4\]", lambda: nn.Dropout(0.5, (-3,))(ones(3, 4), key=KEY, training=True)),
        (TypeError, r'DropPath: 2 dimensions of examples were required; got f32\[3\] for "x"',
         lambda: nn.DropPath(0.5, 2)(ones(3), key=KEY, training=True)),
        (TypeError, "Dropout: an array or a number was expected",
         lambda: nn.Dropout(0.5)("x", training=False)),
    ],
)  # fmt: skip
def test_errors(error, message, f):
    with pytest.raises(error, match=message):
        f()
