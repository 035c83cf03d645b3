"""Without this attention could differ from torch's at a mask or a size, or decoding with a cache
from the whole sequence at once."""

import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn

RNG = np.random.default_rng(0)
KEY = nr.random.key(0)
# Sums of up to a hundred products of numbers around 1, four of them one behind the other.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
B, T, S, N = 2, 5, 7, 4


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def normal(*shape, dtype="float32"):
    return RNG.normal(size=shape).astype(dtype)


def randomized(module):
    """The module with random numbers for all leaves, biases too."""
    return nr.tree.map(lambda x: jnp.asarray(0.3 * normal(*x.shape), x.dtype), module)


def as_torch(torch, layer, **options):
    """torch's layer with the same weights, and the fields that its gradients belong to."""
    e = layer.q_proj.weight.shape[0]
    sizes = layer.k_proj.weight.shape[0], layer.v_proj.weight.shape[0]
    theirs = torch.nn.MultiheadAttention(
        e, layer.num_heads, bias=layer.q_proj.bias is not None, kdim=sizes[0], vdim=sizes[1],
        batch_first=True, **options,
    ).to(getattr(torch, str(layer.q_proj.weight.dtype)))  # fmt: skip
    parts = [layer.q_proj, layer.k_proj, layer.v_proj]
    weights = [np.asarray(p.weight).T for p in parts]
    state = {"out_proj.weight": np.asarray(layer.out_proj.weight).T}
    if sizes == (e, e):
        state["in_proj_weight"] = np.concatenate(weights)
    else:
        state.update({f"{n}_proj_weight": w for n, w in zip("qkv", weights, strict=True)})
    if layer.q_proj.bias is not None:
        state["in_proj_bias"] = np.concatenate([np.asarray(p.bias) for p in parts])
        state["out_proj.bias"] = np.asarray(layer.out_proj.bias)
    theirs.load_state_dict({k: torch.tensor(np.ascontiguousarray(v)) for k, v in state.items()})
    return theirs


def gradients_of_torch(theirs, layer):
    """By the names of our fields."""
    if theirs.in_proj_weight is not None:
        weights = theirs.in_proj_weight.grad.chunk(3)
    else:
        weights = [
            p.grad for p in (theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight)
        ]
    got = {f"{n}_proj.weight": w.T for n, w in zip("qkv", weights, strict=True)}
    got["out_proj.weight"] = theirs.out_proj.weight.grad.T
    if layer.q_proj.bias is not None:
        biases = theirs.in_proj_bias.grad.chunk(3)
        got.update({f"{n}_proj.bias": b for n, b in zip("qkv", biases, strict=True)})
        got["out_proj.bias"] = theirs.out_proj.bias.grad
    return got


def close(got, expected, dtype, what=""):
    scale = max(1.0, float(np.abs(np.asarray(expected)).max()))
    assert np.dtype(got.dtype) == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * scale, err_msg=what)


MASK = RNG.random((T, S)) < 0.7
MASK[:, 2] = True
BATCHED = RNG.random((B, N, T, S)) < 0.7
BATCHED[..., 2] = True
PADDING = np.arange(S) < np.array([[7], [4]])
BIAS = normal(T, S)

# What our call gets, and what torch's: there True means that a key takes no part.
CALLS = {
    "plain": ({}, {}),
    "mask": ({"mask": MASK}, {"attn_mask": ~MASK}),
    "mask of each head": ({"mask": BATCHED}, {"attn_mask": ~BATCHED.reshape(-1, T, S)}),
    "bias": ({"bias": BIAS}, {"attn_mask": BIAS}),
    "padding": ({"mask": PADDING[:, None, None]}, {"key_padding_mask": ~PADDING}),
    "lengths": ({"lengths": np.array([7, 4], "i4")}, {"key_padding_mask": ~PADDING}),
    "padding and mask": (
        {"lengths": np.array([7, 4], "i4"), "mask": MASK},
        {"key_padding_mask": ~PADDING, "attn_mask": ~MASK},
    ),
    "causal": ({"causal": True}, {"attn_mask": ~np.tri(T, S, dtype=bool)}),
}


def check(torch, layer, inputs, ours, theirs, dtype):
    """Values and gradients, eagerly and under jit, against torch."""
    module = as_torch(torch, layer)
    xs = [torch.tensor(x, requires_grad=True) for x in inputs]
    query, context, values = [*xs, *[xs[-1]] * (3 - len(xs))]
    options = {k: torch.tensor(v) for k, v in theirs.items()}
    if dtype == "float64" and "attn_mask" in options and options["attn_mask"].is_floating_point():
        options["attn_mask"] = options["attn_mask"].double()
    expected, weights = module(query, context, values, average_attn_weights=False, **options)
    factor = normal(*expected.shape, dtype=dtype)
    (expected * torch.tensor(factor)).sum().backward()

    def loss(layer, *inputs):
        y = layer(*inputs, **ours)
        return jnp.sum(y * factor), y

    for transform in (lambda f: f, nr.jit):
        f = transform(nr.grad(loss, argnums=tuple(range(1 + len(inputs))), has_aux=True))
        (of_layer, *of_inputs), y = f(layer, *inputs)
        close(y, expected.detach(), dtype, "values")
        for x, g in zip(xs, of_inputs, strict=True):
            close(g, x.grad, dtype, "gradients of inputs")
        for name, g in gradients_of_torch(module, layer).items():
            field, leaf = name.split(".")
            close(getattr(getattr(of_layer, field), leaf), g, dtype, name)
    report = f.lower(layer, *inputs).compile().as_text("report")
    assert "everything is compiled" in report
    if len(inputs) < 3:
        close(layer.weights(*inputs, **ours), weights.detach(), dtype, "weights")


# ---------------------------------------------------------------- torch
@pytest.mark.parametrize("name", CALLS)
def test_calls_are_those_of_torch(name, torch):
    layer = randomized(nn.MultiHeadAttention.init(16, N, key=KEY))
    ours, theirs = CALLS[name]
    check(torch, layer, [normal(B, T, 16), normal(B, S, 16)], ours, theirs, "float32")


@pytest.mark.parametrize(
    "options, sizes",
    [
        ({}, [16]),
        ({"bias": False}, [16]),
        ({"key_features": 6}, [16, 6]),
        ({"key_features": 6, "value_features": 9}, [16, 6, 9]),
        ({"value_features": 9, "bias": False}, [16, 16, 9]),
    ],
)
def test_sizes_are_those_of_torch(options, sizes, torch):
    layer = randomized(nn.MultiHeadAttention.init(16, N, key=KEY, **options))
    check(torch, layer, [normal(B, T, n) for n in sizes], {}, {}, "float32")


def test_float64_against_torch(torch):
    layer = randomized(nn.MultiHeadAttention.init(16, N, key=KEY, dtype="float64"))
    inputs = [normal(B, T, 16, dtype="float64"), normal(B, S, 16, dtype="float64")]
    ours, theirs = CALLS["padding and mask"]
    check(torch, layer, inputs, ours, theirs, "float64")


def test_grouped_queries_are_those_of_torch(torch):
    layer = randomized(nn.MultiHeadAttention.init(24, 6, num_kv_heads=2, key=KEY))
    assert layer.k_proj.weight.shape == (24, 8)
    x = normal(B, T, 24)
    q, k, v = [
        torch.tensor(np.asarray(p(x))).unflatten(-1, (-1, 4)).transpose(1, 2)
        for p in (layer.q_proj, layer.k_proj, layer.v_proj)
    ]
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    expected = layer.out_proj(np.asarray(y.transpose(1, 2).flatten(2)))
    close(layer(x, causal=True), expected, "float32")


# ---------------------------------------------------------------- forms of arguments
def test_any_number_of_leading_dimensions():
    layer = randomized(nn.MultiHeadAttention.init(8, 2, key=KEY, rotary=nn.Rotary()))
    x = normal(2, 3, 5, 8)
    mask, bias = RNG.random((3, 1, 5, 5)) < 0.8, normal(2, 1, 2, 1, 5)
    lengths = np.array([[5, 4, 3], [2, 1, 5]])
    got = layer(x, mask=mask, bias=bias, lengths=lengths)
    for i in range(2):
        for j in range(3):
            one = layer(x[i, j], mask=mask[j], bias=bias[i, 0], lengths=lengths[i, j])
            close(got[i, j], one, "float32")
    mapped = nr.vmap(nr.vmap(lambda x: layer(x, causal=True)))(x)
    close(mapped, layer(x, causal=True), "float32")


def test_sizes_of_heads_and_of_the_result():
    layer = nn.MultiHeadAttention.init(10, 3, qkv_features=12, out_features=5, key=KEY)
    assert layer(normal(T, 10)).shape == (T, 5)


def test_bfloat16_and_integers():
    layer = nn.MultiHeadAttention.init(16, N, key=KEY, dtype="bfloat16", rotary=nn.Rotary())
    x = jnp.asarray(normal(B, T, 16), "bfloat16")
    wide = nr.tree.map(lambda x: x.astype("float32"), layer)
    got, expected = nr.jit(layer)(x), wide(x.astype("float32"))
    assert got.dtype == "bfloat16"
    # Four sums of 16 products, each rounded to 8 bits.
    np.testing.assert_allclose(np.asarray(got, "f4"), expected, atol=0.05)
    assert wide(x).dtype == "float32"
    assert wide(np.ones((T, 16), "i4")).dtype == "float32"
    cache = layer.init_cache((B,), 8)
    assert cache.key.dtype == "bfloat16"
    assert layer(x, cache=cache)[0].dtype == "bfloat16"


def test_a_query_that_sees_no_key_has_the_mean_of_all_values():
    layer = randomized(nn.MultiHeadAttention.init(8, 2, key=KEY))
    x = normal(T, 8)
    expected = layer.out_proj(jnp.mean(layer.v_proj(x), 0))
    got = layer(x, mask=np.zeros((T, T), bool))
    close(got, jnp.broadcast_to(expected, (T, 8)), "float32")


def test_projected_contexts():
    layer = randomized(nn.MultiHeadAttention.init(8, 2, key=KEY, rotary=nn.Rotary()))
    x, context = normal(B, T, 8), normal(B, S, 8)
    close(layer(x, layer.project(context)), layer(x, context), "float32")
    close(layer.weights(x, layer.project(context)), layer.weights(x, context), "float32")
    # Queries and keys may stand elsewhere than at 0.
    moved = layer.project(context, positions=np.arange(S) + 50)
    close(layer(x, moved, positions=np.arange(T) + 50), layer(x, context), "float32")


def test_a_layer_is_pickled_and_is_one_structure():
    layers = [nn.MultiHeadAttention.init(8, 2, key=KEY, rotary=nn.Rotary(500.0)) for _ in range(2)]
    again = pickle.loads(pickle.dumps(layers[0]))
    assert nr.tree.structure(layers[0]) == nr.tree.structure(layers[1]) == nr.tree.structure(again)
    x = normal(T, 8)
    np.testing.assert_array_equal(again(x), layers[0](x))


# ---------------------------------------------------------------- dropout
def test_dropout_of_probabilities():
    layer = randomized(nn.MultiHeadAttention.init(8, 2, num_kv_heads=1, key=KEY, dropout=0.25))
    x = normal(B, T, 8)
    options = {"mask": RNG.random((T, T)) < 0.8, "lengths": np.array([5, 3]), "causal": True,
               "bias": normal(2, 1, T)}  # fmt: skip
    exact = layer(x, training=False, **options)
    close(exact, layer.replace(dropout=0.0)(x, **options), "float32")
    # The mean over keys is what inference gives: 4000 samples of deviation below 2.
    f = nr.jit(nr.vmap(lambda key: layer(x, training=True, key=key, **options)))
    samples = f(nr.random.split(KEY, 4000))
    assert abs(samples.mean(0) - exact).max() < 5 * float(samples.std(0).max()) / 4000**0.5
    assert float(samples.std(0).max()) > 0.1
    # All or nothing of the only key that is seen, over 1 - rate.
    value = layer.v_proj(x)[:, :1]
    first = layer.replace(out_proj=lambda y: y)
    y = np.concatenate([
        np.asarray(first(x, causal=True, training=True, key=k))[:, 0].reshape(B, 2, 4)
        for k in nr.random.split(KEY, 20)
    ])  # fmt: skip
    kept = np.abs(y).max(-1) > 0
    assert 0.5 < kept.mean() < 0.95
    expected = np.tile(np.asarray(value), (20, 2, 1)) / 0.75
    np.testing.assert_allclose(y[kept], expected[kept], rtol=1e-5)


# ---------------------------------------------------------------- cache
@pytest.mark.parametrize("rotary", [None, nn.Rotary(), nn.Rotary(dims=2, interleaved=True)])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_decoding_gives_what_the_whole_sequence_does(rotary, lead):
    layer = randomized(nn.MultiHeadAttention.init(16, 4, num_kv_heads=2, key=KEY, rotary=rotary))
    x = normal(*lead, 9, 16)
    expected = layer(x, causal=True)

    @nr.jit(donate_argnums=1)
    def step(x, cache):
        return layer(x, cache=cache)

    cache, parts = layer.init_cache(lead, 12), []
    for first, last in ((0, 4), (4, 5), (5, 7), (7, 8), (8, 9)):
        y, cache = step(x[..., first:last, :], cache)
        parts.append(y)
    close(jnp.concatenate(parts, -2), expected, "float32")
    assert int(cache.length) == 9

    def body(cache, x):
        y, cache = layer(x, cache=cache)
        return cache, y

    xs = jnp.moveaxis(x, -2, 0)[..., None, :]
    _, ys = nr.jit(lambda cache: nr.lax.scan(body, cache, xs))(layer.init_cache(lead, 9))
    close(jnp.moveaxis(ys[..., 0, :], 0, -2), expected, "float32")
    eager, _ = layer(x, cache=layer.init_cache(lead, 9))
    close(eager, expected, "float32")


def test_all_steps_are_one_program():
    layer = nn.MultiHeadAttention.init(8, 2, key=KEY, rotary=nn.Rotary())
    traces = []

    @nr.jit
    def step(x, cache):
        traces.append(x.shape)
        return layer(x, cache=cache)

    cache = layer.init_cache((1,), 4)
    for _ in range(4):
        _, cache = step(normal(1, 1, 8), cache)
    assert traces == [(1, 1, 8)]
    text = step.lower(normal(1, 1, 8), cache).compile().as_text("report")
    assert "everything is compiled" in text
    with pytest.raises(IndexError, match="index 4 is out of bounds for axis 1 with size 4"):
        step(normal(1, 1, 8), cache)
    with pytest.raises(IndexError, match="index 4 is out of bounds for axis 1 with size 4"):
        layer(normal(1, 1, 8), cache=cache)


def test_masks_and_positions_with_a_cache():
    layer = randomized(nn.MultiHeadAttention.init(8, 2, key=KEY, rotary=nn.Rotary()))
    x = normal(B, 6, 8)
    # The first two positions of the second sequence are padding: its text begins at the third.
    start = np.array([[0], [2]])
    mask = (np.arange(8) >= start)[:, None, None]
    bias = nn.alibi_bias(2, np.arange(6), np.arange(8))
    positions = np.maximum(np.arange(6) - start, 0)
    y, cache = layer(
        x[:, :4], cache=layer.init_cache((B,), 8), mask=mask, bias=bias[:, :4],
        positions=positions[:, :4],
    )  # fmt: skip
    z, cache = layer(x[:, 4:], cache=cache, mask=mask, bias=bias[:, 4:], positions=positions[:, 4:])
    got = jnp.concatenate([y, z], 1)
    whole = {"causal": True, "bias": bias[..., :6]}
    close(got[0], layer(x[0], **whole), "float32")
    close(got[1, 2:], layer(x[1, 2:], causal=True, bias=bias[:, 2:, 2:6]), "float32")
    lengths = layer(x[:1], cache=layer.init_cache((1,), 8), lengths=np.array([3]))[0]
    close(lengths, layer(x[:1], causal=True, lengths=np.array([3])), "float32")


def test_sequences_of_different_lengths_by_vmap():
    layer = randomized(nn.MultiHeadAttention.init(8, 2, key=KEY, rotary=nn.Rotary()))
    x = normal(2, 6, 8)
    caches = [
        layer(x[0, :4], cache=layer.init_cache((), 8))[1],
        layer(x[1, :2], cache=layer.init_cache((), 8))[1],
    ]
    both = nr.tree.map(lambda a, b: jnp.stack([a, b]), *caches)
    step = nr.jit(nr.vmap(lambda x, cache: layer(x, cache=cache)))
    y, both = step(jnp.stack([x[0, 4:5], x[1, 2:3]]), both)
    assert both.length.tolist() == [5, 3]
    close(y[0, 0], layer(x[0, :5], causal=True)[4], "float32")
    close(y[1, 0], layer(x[1, :3], causal=True)[2], "float32")


@pytest.mark.parametrize("kind, of_cache", [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_a_cache_of_another_dtype(kind, of_cache):
    layer = randomized(nn.MultiHeadAttention.init(8, 2, key=KEY))
    x = normal(5, 8)
    expected = layer(x, causal=True)
    layer = nr.tree.map(lambda x: x.astype(kind), layer)
    for length in (5, 1):
        y, cache = layer(jnp.asarray(x[:length], kind), cache=layer.init_cache((), 8, of_cache))
        assert y.dtype == kind and cache.key.dtype == of_cache
        # A few numbers around 1 of 8 bits.
        np.testing.assert_allclose(np.asarray(y, "f4"), expected[:length], atol=0.05)


def test_gradients_flow_through_a_cache():
    layer = randomized(nn.MultiHeadAttention.init(8, 2, key=KEY))
    x, factor = normal(1, 5, 8), normal(1, 5, 8)

    def by_steps(layer, x):
        y, cache = layer(x[:, :3], cache=layer.init_cache((1,), 5))
        z, _ = layer(x[:, 3:], cache=cache)
        return jnp.sum(jnp.concatenate([y, z], 1) * factor)

    got = nr.jit(nr.grad(by_steps, argnums=(0, 1)))(layer, x)
    f = nr.grad(lambda layer, x: jnp.sum(layer(x, causal=True) * factor), argnums=(0, 1))
    expected = f(layer, x)
    nr.tree.map(lambda x, y: close(x, y, "float32"), got, expected)


# ---------------------------------------------------------------- errors
LAYER = nn.MultiHeadAttention.init(8, 2, key=KEY)
DROPPING = nn.MultiHeadAttention.init(8, 2, key=KEY, dropout=0.5)
X = np.ones((2, 5, 8), "f4")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: LAYER(X[..., :7]), r'\[..., length, 8\] was required; got f32\[2,5,7\] for "x"'),
        (lambda: LAYER(X[0, 0]), r'got f32\[8\] for "x"'),
        (lambda: LAYER(X, X[..., :7]), r'length, 8\] was required; .* for "context"'),
        (lambda: LAYER(X, X, X[..., :7]), r'length, 8\] was required; .* for "values"'),
        (
            lambda: LAYER(X, X, X[:, :3]),
            r"one value a key .* \[2, 3\] values and \[2, 5\] keys",
        ),
        (lambda: LAYER(X, X[:1]), r"leading dimensions .* got \[2\] and \[1\]"),
        (lambda: LAYER(X, mask=X[0, :, :5]), r'bool was required; got f32\[5,5\] for "mask"'),
        (lambda: LAYER(X, mask=np.ones((2, 5, 5), bool)[:, :4]), r"got b1\[2,4,5\]"),
        (lambda: LAYER(X, mask=np.ones((3, 2, 2, 5, 5), bool)), r"= \[2, 2, 5, 5\], or 1"),
        (lambda: LAYER(X, bias=np.ones((5, 5), bool)), r'floating .* got b1\[5,5\] for "bias"'),
        (
            lambda: LAYER(X[:, :1], cache=LAYER.init_cache((2,), 8), bias=np.ones(8, bool)),
            r'floating .* got b1\[8\] for "bias"',
        ),
        (lambda: LAYER(X, bias=X[0, :, :4]), r'got f32\[5,4\] for "bias"'),
        (lambda: LAYER(X, lengths=X[:, 0, 0]), r'integers \[2\], .* got f32\[2\] for "lengths"'),
        (lambda: LAYER(X, lengths=3), r'got i32\[\] for "lengths"'),
        (lambda: LAYER(X, X, cache=LAYER.init_cache((2,), 8)), "no context was required"),
        (
            lambda: LAYER(X, cache=LAYER.init_cache((3,), 8)),
            r"got \[3, 8, 2, 4\] for",
        ),
        (lambda: LAYER(X, LAYER.project(X), X), 'no "values" were required'),
        (lambda: DROPPING(X), "MultiHeadAttention: training=True or False was required"),
        (lambda: DROPPING(X, training=True), "MultiHeadAttention: a key was required"),
    ],
)
def test_arguments_that_do_not_fit(call, message):
    for f in (call, nr.jit(call)):
        with pytest.raises(TypeError, match=message):
            f()


def test_a_cache_that_is_too_short():
    with pytest.raises(IndexError, match="room for 5 positions was required; got a cache of 4"):
        LAYER(X, cache=LAYER.init_cache((2,), 4))


@pytest.mark.parametrize(
    "heads, options, message",
    [
        (3, {}, 'divide the 8 features were required; got 3 for "num_heads"'),
        (4, {"num_kv_heads": 3}, 'divide the 4 of queries were required; got 3 for "num_kv_heads"'),
        (2, {"dropout": 1.5}, r"a rate in \[0, 1\] was required; got 1.5"),
    ],
)
def test_settings_that_do_not_fit(heads, options, message):
    with pytest.raises(ValueError, match=message):
        nn.MultiHeadAttention.init(8, heads, key=KEY, **options)
