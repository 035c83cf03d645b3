"""Without this weight norm and spectral norm could differ from PyTorch's, or train their singular
vectors."""

import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn, optim

RNG = np.random.default_rng(0)
# Sums of some dozen products of numbers around 1, divided by the root of another.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
KEY = nr.random.key(5)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def random(*shape, dtype="float32"):
    return RNG.normal(size=shape).astype(dtype)


def close(got, expected, tol):
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(np.asarray(got), expected, rtol=tol, atol=tol)


def linears(torch, dtype):
    """The same linear layer, and inputs and cotangents."""
    layer = nn.Linear(jnp.asarray(random(6, 4, dtype=dtype)), jnp.asarray(random(4, dtype=dtype)))
    theirs = torch.nn.Linear(6, 4)
    theirs.weight.data = torch.tensor(np.asarray(layer.weight).T.copy())
    theirs.bias.data = torch.tensor(np.asarray(layer.bias))
    return layer, theirs, random(5, 6, dtype=dtype), random(5, 4, dtype=dtype)


def convolutions(torch, dtype):
    weight = jnp.asarray(random(3, 3, 4, 5, dtype=dtype))
    layer = nn.Conv.init(4, 5, (3, 3), key=KEY, padding="VALID")
    layer = layer.replace(weight=weight, bias=jnp.asarray(random(5, dtype=dtype)))
    theirs = torch.nn.Conv2d(4, 5, 3)
    theirs.weight.data = torch.tensor(np.asarray(weight).transpose(3, 2, 0, 1).copy())
    theirs.bias.data = torch.tensor(np.asarray(layer.bias))
    return layer, theirs, random(2, 6, 7, 4, dtype=dtype), random(2, 4, 5, 5, dtype=dtype)


MAKERS = {"linear": linears, "conv": convolutions}


def first(x):
    """x with channels first."""
    return np.moveaxis(x, -1, 1) if x.ndim > 2 else x


def last(x):
    """x with channels last."""
    return np.moveaxis(x.numpy(), 1, -1) if x.ndim > 2 else x.numpy()


def weight_of(x):
    """A weight of PyTorch, [out, in, *window], as [*window, in, out]."""
    x = np.asarray(x)
    return np.moveaxis(np.moveaxis(x, 0, -1), 0, -2) if x.ndim > 2 else x.T


def run_torch(torch, module, x, ct):
    x = torch.tensor(first(x).copy(), requires_grad=True)
    y = module(x)
    y.backward(torch.tensor(first(ct).copy()))

    return last(y.detach()), last(x.grad)


def vjp(call, layer, x, ct):
    def outputs(layer, x):
        y, pull, new = nr.vjp(call, layer, x, has_aux=True)
        return y, pull(jnp.asarray(ct)), new

    return [f(layer, jnp.asarray(x)) for f in (outputs, nr.jit(outputs))]


# ---------------------------------------------------------------- weight norm
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weight_norm_is_that_of_torch(torch, maker, dtype):
    inner, theirs, x, ct = MAKERS[maker](torch, dtype)
    theirs = torch.nn.utils.parametrizations.weight_norm(theirs)
    layer = nn.WeightNorm.init(inner)
    tol = TOLERANCE[dtype]
    close(layer.weight, inner.weight, tol)
    g = random(*layer.g.shape, dtype=dtype)
    layer = layer.replace(g=jnp.asarray(g))
    original = theirs.parametrizations.weight
    original.original0.data = torch.tensor(g.reshape(original.original0.shape))
    y, dx = run_torch(torch, theirs, x, ct)
    for got, (dlayer, got_dx), _ in vjp(lambda layer, x: (layer(x), None), layer, x, ct):
        close(got, y, tol)
        close(got_dx, dx, tol)
        close(dlayer.g, original.original0.grad.numpy().ravel(), tol * 10)
        close(dlayer.v, weight_of(original.original1.grad), tol * 10)
        close(dlayer.layer.bias, theirs.bias.grad, tol * 10)  # sums over the batch
        assert dlayer.layer.weight is None


def test_weight_norm_over_another_axis():
    layer = nn.Linear.init(6, 4, key=KEY)
    norm = nn.WeightNorm.init(layer, axis=0)
    assert norm.g.shape == (6,)
    close(norm.g, np.linalg.norm(layer.weight, axis=1), 1e-6)
    close(norm.replace(g=norm.g * 2)(jnp.ones(6)), layer(jnp.full(6, 2.0)), 1e-6)


# ---------------------------------------------------------------- spectral norm
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("steps", [1, 3])
def test_spectral_norm_is_that_of_torch(torch, maker, dtype, steps):
    inner, theirs, x, ct = MAKERS[maker](torch, dtype)
    theirs = torch.nn.utils.parametrizations.spectral_norm(theirs, n_power_iterations=steps)
    layer = nn.SpectralNorm.init(inner, key=KEY, n_power_iterations=steps)
    tol = TOLERANCE[dtype]
    # Far from the singular vectors, so that each iteration moves them.
    u, v = (random(n, dtype=dtype) for n in (layer.u.size, layer.v.size))
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    layer = layer.replace(u=jnp.asarray(u), v=jnp.asarray(v))
    state = theirs.parametrizations.weight[0]
    # PyTorch's rows go over [in, *window], ours over [*window, in].
    shape = inner.weight.shape[:-1]
    to_torch = np.moveaxis(np.arange(v.size).reshape(shape), -1, 0).ravel()
    state._u.data, state._v.data = torch.tensor(u), torch.tensor(v[to_torch])
    for training in (True, True, False):
        theirs.train(training)
        theirs.zero_grad()
        y, dx = run_torch(torch, theirs, x, ct)

        def call(layer, x, t=training):
            return layer(x, training=t)

        for got, (dlayer, got_dx), new in vjp(call, layer, x, ct):
            close(got, y, tol)
            close(got_dx, dx, tol)
            weight = theirs.parametrizations.weight.original
            close(dlayer.layer.weight, weight_of(weight.grad), tol * 10)
            close(dlayer.layer.bias, theirs.bias.grad, tol * 10)  # sums over the batch
            assert not np.any(dlayer.u) and not np.any(dlayer.v)
            close(new.u, state._u, tol)
            close(new.v, state._v.numpy()[np.argsort(to_torch)], tol)
        layer = layer(x, training=training)[1]
    assert layer(x, training=False)[1] is layer


@pytest.mark.parametrize(
    "inner",
    [nn.Linear.init(30, 20, key=KEY), nn.Conv.init(4, 8, (3, 3), key=KEY)],
    ids=["linear", "conv"],
)
def test_spectral_norm_finds_the_largest_singular_value(inner):
    layer = nn.SpectralNorm.init(inner, key=KEY, n_power_iterations=100)
    x = jnp.ones((5, 5, inner.weight.shape[-2]))
    for f in (
        nn.SpectralNorm.__call__,
        nr.jit(nn.SpectralNorm.__call__, static_argnames="training"),
    ):
        weight = f(layer, x, training=True)[1].weight
        largest = np.linalg.norm(np.asarray(weight).reshape(-1, weight.shape[-1]), 2)
        assert abs(largest - 1) < 1e-4  # the ratio of the two largest, to the 200th power


def test_vectors_are_not_trained():
    layer = nn.SpectralNorm.init(nn.Linear.init(6, 4, key=KEY), key=KEY)
    mask = nr.tree.trainable(layer)
    assert not mask.u and not mask.v and mask.layer.weight and mask.layer.bias

    def loss(layer):
        return (layer(jnp.ones(6), training=True)[0] ** 2).sum()

    optimizer = optim.adamw(1e-2, weight_decay=0.5)
    updates, _ = optimizer.update(nr.grad(loss)(layer), optimizer.init(layer), layer)
    new = optim.apply_updates(layer, updates)
    np.testing.assert_array_equal(new.u, layer.u)
    np.testing.assert_array_equal(new.v, layer.v)
    assert not np.array_equal(new.layer.weight, layer.layer.weight)


# ---------------------------------------------------------------- as modules
def weighted(key):
    return nn.WeightNorm.init(nn.Linear.init(5, 5, key=key))


def spectral(key):
    return nn.SpectralNorm.init(nn.Linear.init(5, 5, key=key), key=key)


def call(layer, x):
    return layer(x, training=True)[0] if isinstance(layer, nn.SpectralNorm) else layer(x)


@pytest.mark.parametrize("make", [weighted, spectral])
def test_transformations(make):
    keys = nr.random.split(KEY, 3)
    stacked = nr.vmap(make)(keys)
    x = jnp.asarray(random(4, 5))
    y, _ = nr.jit(lambda s, x: nr.lax.scan(lambda x, layer: (call(layer, x), None), x, s))(
        stacked, x
    )
    expected = x
    for key in keys:
        expected = call(make(key), expected)
    close(y, expected, 1e-4)  # the vectors come of 15 iterations of another order of sums
    layer = make(KEY)
    close(nr.vmap(lambda x: call(layer, x))(x), call(layer, x), 1e-5)

    def loss(layer):
        return (call(layer, x) ** 2).sum()

    plain, again = nr.grad(loss)(layer), nr.grad(nr.checkpoint(loss))(layer)
    for a, b in zip(nr.tree.leaves(plain), nr.tree.leaves(again), strict=True):
        close(a, b, 1e-5)
    close(call(pickle.loads(pickle.dumps(layer)), x), call(layer, x), 0)
    half = nr.tree.map(lambda a: a.astype("bfloat16"), layer)
    assert call(half, x.astype("bfloat16")).dtype == "bfloat16"
    assert call(layer, jnp.zeros((0, 5))).shape == (0, 5)


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("error", "message", "f"),
    [
        (TypeError, "WeightNorm: a layer with a weight of 1 or more dimensions was required; got "
         "a layer without one: Dropout", lambda: nn.WeightNorm.init(nn.Dropout(0.5))),
        (TypeError, r"SpectralNorm: a layer with a weight of 2 or more dimensions was required; "
         r"got f32\[3\]: LayerNorm",
         lambda: nn.SpectralNorm.init(nn.LayerNorm.init(3), key=KEY)),
        (ValueError, "SpectralNorm: one step a call or more was required; got n_power_iterations=0",
         lambda: nn.SpectralNorm.init(
             nn.Linear.init(2, 3, key=KEY), key=KEY, n_power_iterations=0)),
        (TypeError, "training", lambda: spectral(KEY)(jnp.ones(5))),
    ],
)  # fmt: skip
def test_errors(error, message, f):
    with pytest.raises(error, match=message):
        f()
