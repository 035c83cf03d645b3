"""Without this normalization layers could differ from PyTorch's, lose digits where a mean is far
from 0, train their running statistics, or pass over memory more often than they need to."""

import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn, optim
from nr.nn.moments import affine, moments
from nr.test_util import check_grads

RNG = np.random.default_rng(0)
# Sums of up to some hundred numbers around 1, divided by a deviation around 1, and the cotangents'
# sums of as many: some dozen roundings.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


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


def with_random_affine(layer, dtype):
    """The layer with other weights than ones and zeros."""
    for name in ("weight", "bias"):
        if getattr(layer, name, None) is not None:
            new = random(*getattr(layer, name).shape, dtype=dtype)
            layer = layer.replace(**{name: jnp.asarray(new)})
    return layer


def channels_first(x):
    return np.moveaxis(x, -1, 1) if x.ndim > 2 else x


def channels_last(x):
    return np.moveaxis(x, 1, -1) if x.ndim > 2 else x


def gradients_of_torch(torch, call, module, x, ct):
    """y, dx and the gradients of weight and bias (None if there is none), as arrays."""
    x = torch.tensor(x, requires_grad=True)
    y = call(module, x)
    y.backward(torch.tensor(ct))
    params = [getattr(module, name, None) for name in ("weight", "bias")]
    return [t if t is None else t.detach().numpy() for t in (y, x.grad, *[
        None if p is None else p.grad for p in params
    ])]  # fmt: skip


def copy_affine(torch, layer, module):
    for name in ("weight", "bias"):
        if getattr(layer, name, None) is not None:
            getattr(module, name).data = torch.tensor(np.asarray(getattr(layer, name)))
    return module


def compare(layer, x, ct, expected, tol, call=lambda layer, x: layer(x)):
    """Values and gradients, eager and compiled."""

    def outputs(layer, x):
        y, pull = nr.vjp(call, layer, x)
        dlayer, dx = pull(jnp.asarray(ct))
        return y, dx, dlayer

    for f in (outputs, nr.jit(outputs)):
        y, dx, dlayer = f(layer, jnp.asarray(x))
        close(y, expected[0], tol)
        close(dx, expected[1], tol)
        for name, reference in zip(("weight", "bias"), expected[2:], strict=True):
            if reference is not None:
                close(getattr(dlayer, name), reference, tol * 10)  # sums over the batch


# ---------------------------------------------------------------- layer and RMS norm
@pytest.mark.parametrize("batch", [(), (5,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize(
    ("shape", "options", "dtype"),
    [
        (7, {}, "float32"),
        ((4, 7), {}, "float32"),
        (7, {"bias": False, "eps": 0.1}, "float32"),
        (7, {"affine": False}, "float32"),
        ((4, 7), {}, "float64"),
        (1, {}, "float64"),
    ],
)
def test_layer_norm_is_that_of_torch(torch, batch, shape, options, dtype):
    layer = with_random_affine(nn.LayerNorm.init(shape, **options, dtype=dtype), dtype)
    theirs = torch.nn.LayerNorm(
        shape,
        eps=options.get("eps", 1e-5),
        elementwise_affine=options.get("affine", True),
        bias=options.get("bias", True),
    )
    copy_affine(torch, layer, theirs)
    x, ct = (random(*batch, *np.atleast_1d(shape), dtype=dtype) for _ in range(2))
    expected = gradients_of_torch(torch, lambda m, x: m(x), theirs, x, ct)
    compare(layer, x, ct, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("batch", [(), (5,), (2, 3, 4)])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rms_norm_is_that_of_torch(torch, batch, affine, dtype):
    layer = with_random_affine(nn.RMSNorm.init((3, 7), affine=affine, eps=1e-3, dtype=dtype), dtype)
    theirs = torch.nn.RMSNorm((3, 7), eps=1e-3, elementwise_affine=affine)
    copy_affine(torch, layer, theirs)
    x, ct = random(*batch, 3, 7, dtype=dtype), random(*batch, 3, 7, dtype=dtype)
    expected = gradients_of_torch(torch, lambda m, x: m(x), theirs, x, ct)
    compare(layer, x, ct, expected, TOLERANCE[dtype])


# ---------------------------------------------------------------- group and instance norm
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(
    ("positions", "dtype"),
    [
        ((), "float64"),
        ((9,), "float32"),
        ((33, 2), "float32"),
        ((5, 4), "float64"),
        ((1, 1), "float64"),
    ],
)
def test_group_norm_is_that_of_torch(torch, groups, positions, dtype):
    layer = nn.GroupNorm.init(groups, 6, spatial_dims=len(positions), dtype=dtype)
    layer = with_random_affine(layer, dtype)
    theirs = copy_affine(torch, layer, torch.nn.GroupNorm(groups, 6))
    x, ct = random(4, *positions, 6, dtype=dtype), random(4, *positions, 6, dtype=dtype)
    y, dx, dw, db = gradients_of_torch(
        torch, lambda m, x: m(x), theirs, channels_first(x), channels_first(ct)
    )
    compare(layer, x, ct, [channels_last(y), channels_last(dx), dw, db], TOLERANCE[dtype])


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("positions", "dtype"), [((9,), "float32"), ((40, 3), "float32"), ((2, 3, 4), "float64")]
)
def test_instance_norm_is_that_of_torch(torch, affine, positions, dtype):
    layer = nn.InstanceNorm.init(5, spatial_dims=len(positions), affine=affine, dtype=dtype)
    layer = with_random_affine(layer, dtype)
    kind = getattr(torch.nn, f"InstanceNorm{len(positions)}d")
    theirs = copy_affine(torch, layer, kind(5, affine=affine))
    x, ct = random(4, *positions, 5, dtype=dtype), random(4, *positions, 5, dtype=dtype)
    y, dx, dw, db = gradients_of_torch(
        torch, lambda m, x: m(x), theirs, channels_first(x), channels_first(ct)
    )
    compare(layer, x, ct, [channels_last(y), channels_last(dx), dw, db], TOLERANCE[dtype])


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (2, 1, 3)])
def test_examples_are_normalized_by_themselves(batch):
    x = random(*batch, 6, 5, 4)
    flat = jnp.asarray(x.reshape(-1, 6, 5, 4))
    for layer in (
        nn.GroupNorm.init(2, 4, spatial_dims=2),
        nn.InstanceNorm.init(4, spatial_dims=2, affine=True),
    ):
        layer = with_random_affine(layer, "float32")
        one_by_one = nr.vmap(layer)(flat).reshape(x.shape)
        np.testing.assert_allclose(layer(x), one_by_one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_local_response_norm_is_that_of_torch(torch, size, dtype):
    x, ct = random(3, 4, 6, dtype=dtype), random(3, 4, 6, dtype=dtype)
    options = {"alpha": 0.5, "beta": 0.6, "k": 2.0}

    def theirs(_, x):
        return torch.nn.functional.local_response_norm(x, size, **options)

    y, dx, *_ = gradients_of_torch(torch, theirs, None, channels_first(x), channels_first(ct))

    def ours(_, x):
        return nn.local_response_norm(x, size, **options)

    compare(None, x, ct, [channels_last(y), channels_last(dx), None, None], TOLERANCE[dtype], ours)


# ---------------------------------------------------------------- batch norm
def torch_batch_norm(torch, layer, x):
    kind = getattr(torch.nn, f"BatchNorm{max(1, x.ndim - 2)}d")
    theirs = kind(
        layer.num_features,
        eps=layer.eps,
        momentum=layer.momentum,
        affine=layer.weight is not None,
        track_running_stats=layer.running_mean is not None,
    ).to(torch.tensor(x).dtype)
    copy_affine(torch, layer, theirs)
    return theirs


@pytest.mark.parametrize(
    ("shape", "options", "dtype"),
    [
        ((32,), {}, "float32"),
        ((20, 7), {"momentum": 0.7}, "float32"),
        ((2, 9, 5), {"eps": 0.1}, "float32"),
        ((40, 3, 3), {"affine": False}, "float32"),
        ((4, 2, 3, 2), {}, "float32"),
        ((3, 5, 4), {"track_running_stats": False}, "float32"),
        ((1, 5), {}, "float32"),
        ((20, 3, 5), {}, "float64"),
    ],
)
def test_batch_norm_is_that_of_torch(torch, shape, options, dtype):
    layer = with_random_affine(nn.BatchNorm.init(6, **options, dtype=dtype), dtype)
    tol = TOLERANCE[dtype]
    x = random(*shape, 6, dtype=dtype)
    theirs = torch_batch_norm(torch, layer, x)
    step = nr.jit(lambda layer, x: layer(x, training=True))
    for i in range(3):
        x = random(*shape, 6, dtype=dtype) * 3 + 2
        ct = random(*shape, 6, dtype=dtype)
        y, dx, dw, db = gradients_of_torch(
            torch, lambda m, x: m(x), theirs, channels_first(x), channels_first(ct)
        )
        expected = [channels_last(y), channels_last(dx), dw, db]
        compare(layer, x, ct, expected, tol, lambda layer, x: layer(x, training=True)[0])
        theirs.zero_grad()
        layer = (step if i else step.__wrapped__)(layer, x)[1]
        if layer.running_mean is not None:
            close(layer.running_mean, theirs.running_mean.numpy(), tol)
            close(layer.running_var, theirs.running_var.numpy(), tol)
    theirs.eval()
    y, dx, dw, db = gradients_of_torch(
        torch, lambda m, x: m(x), theirs, channels_first(x), channels_first(ct)
    )
    expected = [channels_last(y), channels_last(dx), dw, db]
    compare(layer, x, ct, expected, tol, lambda layer, x: layer(x, training=False)[0])
    assert layer(x, training=False)[1] is layer


def test_running_statistics_are_not_trained():
    layer = nn.BatchNorm.init(3)
    x = random(8, 3)

    def loss(layer):
        y, new = layer(x, training=True)
        inference = new(x, training=False)[0]
        return (y**3).sum() + (inference**2).sum() + new.running_var.sum()

    grads = nr.grad(loss)(layer)
    assert not np.any(grads.running_mean) and not np.any(grads.running_var)
    assert np.any(grads.weight) and np.any(grads.bias)
    mask = nr.tree.trainable(layer)
    assert mask.weight and mask.bias and not (mask.running_mean or mask.running_var)
    optimizer = optim.adamw(1e-2, weight_decay=0.5)
    layer = layer(x, training=True)[1]
    updates, _ = optimizer.update(nr.grad(loss)(layer), optimizer.init(layer), layer)
    new = optim.apply_updates(layer, updates)
    np.testing.assert_array_equal(new.running_mean, layer.running_mean)
    np.testing.assert_array_equal(new.running_var, layer.running_var)
    assert not np.array_equal(new.weight, layer.weight)


def test_batch_norm_in_a_scan_over_stacked_layers():
    layers = nr.vmap(lambda _: nn.BatchNorm.init(4))(jnp.arange(3))
    layers = layers.replace(weight=jnp.asarray(random(3, 4)))
    x = jnp.asarray(random(10, 4))

    def body(x, layer):
        y, layer = layer(jnp.tanh(x), training=True)
        return y, layer

    def loop(layers, x):
        for_all = nr.lax.scan(body, x, layers)
        return for_all[0].sum() ** 2, for_all

    (_, (y, new)), grads = nr.jit(nr.value_and_grad(loop, has_aux=True))(layers, x)
    expected = x
    for i in range(3):
        expected, one = body(expected, nr.tree.map(lambda a, i=i: a[i], layers))
        np.testing.assert_allclose(new.running_mean[i], one.running_mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(new.running_var[i], one.running_var, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert grads.weight.shape == (3, 4) and not np.any(grads.running_var)


def test_a_model_of_layers_with_statistics_and_keys_trains():
    keys = nr.random.split(nr.random.key(0), 3)
    model = nn.Sequential(
        [
            nn.Linear.init(4, 16, key=keys[0]),
            nn.BatchNorm.init(16),
            nn.relu,
            nn.Dropout(0.1),
            nn.LayerNorm.init(16),
            nn.Linear.init(16, 1, key=keys[1]),
        ]
    )
    x = random(64, 4)
    target = np.abs(x[:, :1])
    optimizer = optim.adamw(1e-2)

    @nr.jit
    def step(model, state, key):
        def loss(model):
            y, model = model(x, training=True, key=key)
            return ((y - target) ** 2).mean(), model

        (value, model), grads = nr.value_and_grad(loss, has_aux=True)(model)
        updates, state = optimizer.update(grads, state, model)
        return value, optim.apply_updates(model, updates), state

    state, losses = optimizer.init(model), []
    for i in range(150):
        value, model, state = step(model, state, nr.random.fold_in(keys[2], i))
        losses.append(value.item())
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 4
    # Statistics are those of the layer before, which moves slowly: 10 steps are what counts.
    hidden = np.asarray(model.layers[0](x))
    norm = model.layers[1]
    np.testing.assert_allclose(norm.running_mean, hidden.mean(0), atol=0.15)
    np.testing.assert_allclose(norm.running_var, hidden.var(0, ddof=1), rtol=0.3)
    assert model(x, training=False)[0].shape == (64, 1)


def test_a_masked_batch_is_the_batch_without_what_is_masked():
    layer = with_random_affine(nn.BatchNorm.init(5), "float32")
    x = random(6, 9, 5)
    mask = RNG.random((6, 9)) < 0.6
    for call in (nn.BatchNorm.__call__, nr.jit(nn.BatchNorm.__call__, static_argnames="training")):
        y, new = call(layer, x, training=True, mask=mask)
        expected, reference = layer(x[mask], training=True)
        close(y[mask], expected, 1e-5)
        close(new.running_mean, reference.running_mean, 1e-6)
        close(new.running_var, reference.running_var, 1e-6)
    weights = random(6, 9, 5)

    def loss(x, w, **options):
        return (layer(x, training=True, **options)[0] * w).sum()

    masked = nr.grad(lambda x: loss(x, weights * mask[..., None], mask=mask))(x)
    close(masked[mask], nr.grad(loss)(x[mask], weights[mask]), 1e-5)
    assert not np.any(masked[~mask])
    rows = np.array([True, False, True, True, False, True])
    close(
        layer(x, training=True, mask=rows[:, None])[1].running_var,
        layer(x[rows], training=True)[1].running_var,
        1e-6,
    )
    y, new = layer(x, training=True, mask=np.zeros((6, 9), bool))
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(new.running_mean, layer.running_mean)
    np.testing.assert_array_equal(new.running_var, layer.running_var)


@pytest.mark.parametrize("masked", [False, True])
def test_synchronized_statistics_are_those_of_the_whole_batch(masked):
    layer = with_random_affine(nn.BatchNorm.init(5, axis_name="i"), "float32")
    alone = layer.replace(axis_name=None)
    x, ct = random(4, 3, 5) + np.arange(4)[:, None, None].astype("f") * 3, random(4, 3, 5)
    mask = RNG.random((4, 3)) < 0.7 if masked else None

    def lanes(layer, x):
        return nr.vmap(
            lambda x, mask: layer(x, training=True, mask=mask),
            in_axes=(0, 0 if masked else None),
            out_axes=(0, None),
            axis_name="i",
        )(x, mask)

    def whole(layer, x):
        flat_mask = mask.reshape(12) if masked else None
        y, new = alone.replace(weight=layer.weight)(x.reshape(12, 5), training=True, mask=flat_mask)
        return y.reshape(4, 3, 5), new

    for f in (lanes, nr.jit(lanes)):
        y, new = f(layer, x)
        close(y, whole(layer, x)[0], 1e-5)
        close(new.running_mean, whole(layer, x)[1].running_mean, 1e-5)
        close(new.running_var, whole(layer, x)[1].running_var, 1e-5)
    (dx, dlayer), (dx_whole, dwhole) = [
        nr.grad(lambda x, layer, f=f: (f(layer, x)[0] * ct).sum(), argnums=(0, 1))(x, layer)
        for f in (lanes, whole)
    ]
    close(dx, dx_whole, 2e-5)
    close(dlayer.weight, dwhole.weight, 1e-4)
    # One value a lane is enough, if there are several lanes.
    one = nr.vmap(lambda x: layer(x, training=True)[0], axis_name="i")(x[:, 0])
    close(one, alone(x[:, 0], training=True)[0], 1e-5)


def test_folded_batch_norm():
    norm = with_random_affine(nn.BatchNorm.init(3), "float32")
    norm = norm(random(20, 3) * 2 + 1, training=True)[1]
    x = random(5, 4)
    for bias in (True, False):
        layer = nn.Linear.init(4, 3, key=nr.random.key(0), bias=bias)
        if bias:
            layer = layer.replace(bias=jnp.asarray(random(3)))
        folded = nn.fold_batch_norm(layer, norm)
        close(folded(x), norm(layer(x), training=False)[0], 1e-5)
    for has_weight in (True, False):
        plain = nn.BatchNorm.init(3, affine=has_weight)
        close(nn.fold_batch_norm(layer, plain)(x), plain(layer(x), training=False)[0], 1e-5)


# ---------------------------------------------------------------- numbers
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
@pytest.mark.parametrize("shape", [(64, 8, 6), (3, 700, 6), (2, 6), (1, 100, 6)])
def test_shifted_moments_keep_the_digits(offset, shape):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) + offset).astype("float32")
    x[0, ..., 0] += 50  # the part that the shift is taken of differs from the rest
    axes = tuple(range(x.ndim - 1))
    wide = x.astype("float64")
    for f in (moments, nr.jit(moments, static_argnums=(1, 2))):
        mean, variance = f(jnp.asarray(x), axes, True)
        # Roundings of the mean itself, and of sums of what is left without the shift: up to 100
        # numbers are added one after the other, and roundings grow as the root of that.
        error = np.abs(np.ravel(mean) - wide.mean(axes))
        size = np.abs(wide - wide[0].mean(axes[:-1])).mean(axes) + np.abs(wide.mean(axes))
        assert (error <= 10 * np.finfo(np.float32).eps * size).all()
        # The same, and 16 variances that are subtracted at worst: see the docstring.
        np.testing.assert_allclose(np.ravel(variance), wide.var(axes), rtol=16 * 1e-6)


def test_constant_channels_have_the_variance_0():
    x = jnp.full((40, 7, 3), 1234.567, "float32")
    mean, variance = moments(x, (0, 1), True)
    assert (np.asarray(variance) >= 0).all() and (np.asarray(variance) < 1e-6).all()
    y, layer = nn.BatchNorm.init(3)(x, training=True)
    assert np.abs(np.asarray(y)).max() < 0.1 and np.isfinite(layer.running_var).all()


def test_derivative_rules_are_the_derivatives_of_every_order():
    x, w, b = random(5, 4, dtype="float64"), random(4, dtype="float64"), random(4, dtype="float64")
    where = np.array([True, False, True, True, True])[:, None]
    for shifted, mask in ((False, None), (True, None), (False, where)):
        check_grads(lambda x, s=shifted, m=mask: moments(x, (0,), s, m), (x,), order=2)
    check_grads(affine, (x, b, w, b), order=2)
    check_grads(lambda x, m, s: affine(x, m, s, None), (x, b, w), order=2)
    layer = nn.BatchNorm.init(4, dtype="float64")
    check_grads(lambda x: layer(x, training=True)[0], (x,), order=2)
    check_grads(nn.LayerNorm.init(4, dtype="float64"), (x,), order=2)
    check_grads(nn.GroupNorm.init(2, 4, spatial_dims=1, dtype="float64"), (x,), order=2)


LAYERS = [
    lambda dtype: nn.LayerNorm.init(8, dtype=dtype),
    lambda dtype: nn.RMSNorm.init(8, dtype=dtype),
    lambda dtype: nn.GroupNorm.init(2, 8, spatial_dims=1, dtype=dtype),
    lambda dtype: nn.InstanceNorm.init(8, spatial_dims=1, affine=True, dtype=dtype),
    lambda dtype: nn.BatchNorm.init(8, dtype=dtype),
]


def call(layer, x, training=True):
    if isinstance(layer, nn.BatchNorm):
        return layer(x, training=training)[0]
    return layer(x)


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_floats_are_computed_in_float32(make, dtype):
    # Squares of float16 numbers around 400 overflow, and their differences are 7 bits in bfloat16.
    x = jnp.asarray(random(6, 20, 8) * 40 + 400, dtype)
    layer = make(dtype)
    eps = 2**-8 if dtype == "bfloat16" else 2**-11  # one rounding of the result
    for training in (True, False):
        exact = np.asarray(call(make("float32"), x.astype("float32"), training))
        assert exact.dtype == "float32"
        for f in (call, nr.jit(call, static_argnums=2)):
            y = f(layer, x, training)
            assert y.dtype == dtype
            np.testing.assert_allclose(np.asarray(y, "float32"), exact, rtol=1.01 * eps, atol=1e-5)
        assert call(make("float32"), x, training).dtype == "float32"
    if isinstance(layer, nn.BatchNorm):
        new = layer(x, training=True)[1]
        assert new.running_mean.dtype == new.running_var.dtype == "float32"
        assert layer.weight.dtype == dtype


@pytest.mark.parametrize("make", LAYERS)
def test_transformations(make):
    layer = with_random_affine(make("float32"), "float32")
    x = jnp.asarray(random(3, 5, 6, 8))
    many = nr.vmap(lambda x: call(layer, x))(x)
    for i in range(3):
        close(many[i], call(layer, x[i]), 1e-5)

    def loss(layer, x):
        return (call(layer, x) ** 3).sum()

    plain = nr.grad(loss)(layer, x)
    again = nr.jit(nr.grad(nr.checkpoint(loss)))(layer, x)
    for a, b in zip(nr.tree.leaves(plain), nr.tree.leaves(again), strict=True):
        close(a, b, 2e-4)  # sums of 90 cubes
    copy = pickle.loads(pickle.dumps(layer))
    close(call(copy, x), call(layer, x), 0)
    stacked = nr.vmap(lambda _: make("float32"))(jnp.arange(2))
    y, _ = nr.lax.scan(lambda x, layer: (call(layer, x), None), x, stacked)
    close(y, call(make("float32"), call(make("float32"), x)), 1e-5)


@pytest.mark.parametrize("make", LAYERS)
def test_integers_and_empty_batches(make):
    layer = make(None)
    x = RNG.integers(0, 9, (4, 6, 8))
    close(call(layer, x), call(layer, x.astype("float32")), 0)
    empty = jnp.zeros((0, 6, 8))
    assert call(layer, empty, training=False).shape == (0, 6, 8)


# ---------------------------------------------------------------- passes
def kernels(f, *args):
    text = nr.jit(f).lower(*args).compile().as_text("loops")
    return text, text.count("kernel width")


def test_layer_norm_is_one_kernel():
    x = nr.ShapeDtypeStruct((128, 512), "float32")
    for layer in (nn.LayerNorm.init(512), nn.RMSNorm.init(512)):
        text, count = kernels(lambda layer, x: layer(x), layer, x)
        assert count == 1, text
    # The gradient: one for dx, one (and the sum of its parts) for weight and bias.
    gradient = nr.grad(lambda layer, x, ct: (layer(x) * ct).sum(), argnums=(0, 1))
    text, count = kernels(gradient, nn.LayerNorm.init(512), x, x)
    assert count == 3, text


def test_batch_norm_passes_over_a_batch_twice():
    x = nr.ShapeDtypeStruct((64, 16, 16, 32), "float32")
    layer = nn.BatchNorm.init(32)
    # Statistics and result, and a 16th part for the shift.
    text, _ = kernels(lambda layer, x: layer(x, training=True), layer, x)
    assert text.count("in4[") == 3, text
    text, count = kernels(lambda layer, x: layer(x, training=False)[0], layer, x)
    assert count == 2 and text.count("in4[") == 1, text
    assert "add(mul(in4[32*i0 + i3], b6[i3]), b7[i3])" in text, text


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("error", "message", "f"),
    [
        (TypeError, r'LayerNorm: \[..., 4, 8\] was required; got f32\[8\] for "x"',
         lambda: nn.LayerNorm.init((4, 8))(jnp.ones(8))),
        (TypeError, r'LayerNorm: \[..., 8\] was required; got f32\[2,7\] for "x"',
         lambda: nn.LayerNorm.init(8)(jnp.ones((2, 7)))),
        (TypeError, r'LayerNorm: real numbers were required; got c64\[8\] for "x"',
         lambda: nn.LayerNorm.init(8)(jnp.ones(8, "complex64"))),
        (ValueError, r'LayerNorm: the last dimensions of inputs were required; got \(\)',
         lambda: nn.LayerNorm.init(())),
        (ValueError, "RMSNorm: the last dimensions of inputs were required; got -1",
         lambda: nn.RMSNorm.init(-1)),
        (TypeError, r'RMSNorm: \[..., 8\] was required; got f32\[\] for "x"',
         lambda: nn.RMSNorm.init(8)(1.0)),
        (ValueError, "GroupNorm: groups of one size were required; got 3 groups of 8 channels",
         lambda: nn.GroupNorm.init(3, 8, spatial_dims=2)),
        (ValueError, "GroupNorm: groups of one size were required; got 0 groups",
         lambda: nn.GroupNorm.init(0, 8, spatial_dims=2)),
        (ValueError, "InstanceNorm: a number of axes was required; got spatial_dims=-1",
         lambda: nn.InstanceNorm.init(8, spatial_dims=-1)),
        (TypeError, r'GroupNorm: \[..., d1, d2, 8\] was required; got f32\[5,8\] for "x"',
         lambda: nn.GroupNorm.init(2, 8, spatial_dims=2)(jnp.ones((5, 8)))),
        (TypeError, r'InstanceNorm: \[..., d1, 8\] was required; got f32\[5,6\] for "x"',
         lambda: nn.InstanceNorm.init(8, spatial_dims=1)(jnp.ones((5, 6)))),
        (ValueError, "local_response_norm: a positive number of channels was required; got size=0",
         lambda: nn.local_response_norm(jnp.ones(3), 0)),
        (TypeError, r'BatchNorm: \[..., 8\] was required; got f32\[5,6\] for "x"',
         lambda: nn.BatchNorm.init(8)(jnp.ones((5, 6)), training=True)),
        (ValueError, r"BatchNorm: two values a channel were required for statistics; got 1 of "
         r'f32\[1,8\] for "x"', lambda: nn.BatchNorm.init(8)(jnp.ones((1, 8)), training=True)),
        (ValueError, "BatchNorm: two values a channel were required for statistics; got 0",
         lambda: nn.BatchNorm.init(8)(jnp.ones((0, 8)), training=True)),
        (TypeError, r'BatchNorm: bools that broadcast to \(5,\) were required; got f32\[5\]',
         lambda: nn.BatchNorm.init(8)(jnp.ones((5, 8)), training=True, mask=jnp.ones(5))),
        (TypeError, r"BatchNorm: bools that broadcast to \(5,\) were required; got b1\[5,8\]",
         lambda: nn.BatchNorm.init(8)(
             jnp.ones((5, 8)), training=True, mask=jnp.ones((5, 8), bool))),
        (TypeError, "training",
         lambda: nn.BatchNorm.init(8)(jnp.ones((5, 8)))),
        (ValueError, "fold_batch_norm: running statistics were required",
         lambda: nn.fold_batch_norm(
             nn.Linear.init(2, 3, key=nr.random.key(0)),
             nn.BatchNorm.init(3, track_running_stats=False))),
    ],
)  # fmt: skip
def test_errors(error, message, f):
    with pytest.raises(error, match=message):
        f()
