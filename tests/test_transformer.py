"""Without this transformers could differ from torch's, or a stack from its layers."""

import functools
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn

RNG = np.random.default_rng(0)
KEY = nr.random.key(0)
# Two dozen sums of some dozen products one behind the other, and norms, in each dtype; relative to
# the largest number.
TOLERANCE = {"float32": 5e-5, "float64": 1e-12}
B, T, S, E, N = 2, 5, 7, 16, 4


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def normal(*shape, dtype="float32"):
    return RNG.normal(size=shape).astype(dtype)


def randomized(module):
    """The module with random numbers for all leaves; those of norms are around 1."""
    return nr.tree.map(lambda x: x + jnp.asarray(0.2 * normal(*x.shape), x.dtype), module)


def close(got, expected, dtype="float32", what=""):
    scale = max(1.0, float(np.abs(np.asarray(expected)).max()))
    assert np.dtype(got.dtype) == dtype
    tolerance = TOLERANCE[dtype] * scale
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=what)


# ---------------------------------------------------------------- torch's names and layouts
def leaves_of_layer(layer):
    """Our leaves by the names of torch's state dict, in its layout."""
    out = {}
    for name in ("self_attn", "multihead_attn"):
        if (attention := getattr(layer, name, None)) is not None:
            parts = [attention.q_proj, attention.k_proj, attention.v_proj]
            out[f"{name}.in_proj_weight"] = np.concatenate([np.asarray(p.weight).T for p in parts])
            out[f"{name}.out_proj.weight"] = np.asarray(attention.out_proj.weight).T
            if parts[0].bias is not None:
                out[f"{name}.in_proj_bias"] = np.concatenate([np.asarray(p.bias) for p in parts])
                out[f"{name}.out_proj.bias"] = np.asarray(attention.out_proj.bias)
    for name in ("linear1", "linear2", "norm1", "norm2", "norm3"):
        if (part := getattr(layer, name, None)) is not None:
            out[f"{name}.weight"] = np.asarray(part.weight).T
            if part.bias is not None:
                out[f"{name}.bias"] = np.asarray(part.bias)
    return out


def leaves_of(model):
    if not hasattr(model, "layers"):
        return leaves_of_layer(model)
    out = {}
    for i in range(len(model.layers.linear1.weight)):
        layer = nr.tree.map(lambda x, i=i: x[i], model.layers)
        out.update({f"layers.{i}.{k}": v for k, v in leaves_of_layer(layer).items()})
    if model.norm is not None:
        out.update({"norm.weight": model.norm.weight, "norm.bias": model.norm.bias})
    return {k: np.asarray(v) for k, v in out.items()}


def check(torch, ours, theirs, inputs, options, their_options, dtype="float32"):
    """Values and gradients, eagerly and under jit, against torch's module with our weights."""
    theirs = theirs.to(getattr(torch, dtype))
    state = leaves_of(ours)
    theirs.load_state_dict({k: torch.tensor(np.ascontiguousarray(v)) for k, v in state.items()})
    xs = [torch.tensor(x, requires_grad=True) for x in inputs]
    expected = theirs(*xs, **{k: torch.tensor(v) for k, v in their_options.items()})
    factor = normal(*expected.shape, dtype=dtype)
    (expected * torch.tensor(factor)).sum().backward()

    def loss(ours, *inputs):
        y = ours(*inputs, **options)
        return jnp.sum(y * factor), y

    for transform in (lambda f: f, nr.jit):
        f = transform(nr.grad(loss, argnums=tuple(range(1 + len(inputs))), has_aux=True))
        (of_model, *of_inputs), y = f(ours, *inputs)
        close(y, expected.detach(), dtype, "values")
        for x, g in zip(xs, of_inputs, strict=True):
            close(g, x.grad, dtype, "gradients of inputs")
        gradients = leaves_of(of_model)
        for name, p in theirs.named_parameters():
            close(gradients[name], p.grad, dtype, name)
    assert "everything is compiled" in f.lower(ours, *inputs).compile().as_text("report")


ACTIVATIONS = {"relu": nn.relu, "gelu": functools.partial(nn.gelu, approximate=False)}
MASK = RNG.random((T, T)) < 0.7
MASK[:, 2] = True
LENGTHS = np.array([5, 3], "i4")
PADDING = np.arange(T) >= LENGTHS[:, None]
FUTURE = ~np.tri(T, dtype=bool)
MEMORY_MASK = RNG.random((T, S)) < 0.7
MEMORY_MASK[:, 2] = True


def torch_options(activation="relu", norm_first=False, bias=True):
    return {
        "dim_feedforward": 24, "dropout": 0.0, "activation": activation, "batch_first": True,
        "norm_first": norm_first, "bias": bias,
    }  # fmt: skip


def our_options(activation="relu", norm_first=False, bias=True):
    return {
        "hidden_features": 24, "activation": ACTIVATIONS[activation], "norm_first": norm_first,
        "bias": bias, "key": KEY,
    }  # fmt: skip


SETTINGS = [
    {"norm_first": False},
    {"norm_first": True, "activation": "gelu"},
    {"norm_first": False, "activation": "gelu", "bias": False},
]


# ---------------------------------------------------------------- layers
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("masks", ["none", "causal", "both"])
def test_encoder_layers_are_those_of_torch(setting, masks, torch):
    ours = randomized(nn.TransformerEncoderLayer.init(E, N, **our_options(**setting)))
    theirs = torch.nn.TransformerEncoderLayer(E, N, **torch_options(**setting))
    options, their_options = {
        "none": ({}, {}),
        "causal": ({"causal": True}, {"src_mask": FUTURE}),
        "both": (
            {"mask": MASK, "lengths": LENGTHS},
            {"src_mask": ~MASK, "src_key_padding_mask": PADDING},
        ),
    }[masks]
    check(torch, ours, theirs, [normal(B, T, E)], options, their_options)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("masks", ["causal", "all"])
def test_decoder_layers_are_those_of_torch(setting, masks, torch):
    ours = randomized(nn.TransformerDecoderLayer.init(E, N, **our_options(**setting)))
    theirs = torch.nn.TransformerDecoderLayer(E, N, **torch_options(**setting))
    options, their_options = {
        "causal": ({}, {"tgt_mask": FUTURE}),
        "all": (
            {
                "mask": MASK, "causal": False, "lengths": LENGTHS, "memory_mask": MEMORY_MASK,
                "memory_lengths": np.array([7, 4]),
            },
            {
                "tgt_mask": ~MASK, "tgt_key_padding_mask": PADDING, "memory_mask": ~MEMORY_MASK,
                "memory_key_padding_mask": np.arange(S) >= np.array([[7], [4]]),
            },
        ),
    }[masks]  # fmt: skip
    check(torch, ours, theirs, [normal(B, T, E), normal(B, S, E)], options, their_options)


# ---------------------------------------------------------------- stacks
@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_encoders_are_those_of_torch(norm_first, remat, torch):
    options = our_options(norm_first=norm_first)
    ours = randomized(nn.TransformerEncoder.init(3, E, N, remat=remat, **options))
    assert (ours.norm is not None) == norm_first
    theirs = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(E, N, **torch_options(norm_first=norm_first)), 3,
        torch.nn.LayerNorm(E) if norm_first else None, enable_nested_tensor=False,
    )  # fmt: skip
    check(torch, ours, theirs, [normal(B, T, E)], {"causal": True}, {"mask": FUTURE})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decoders_are_those_of_torch(dtype, torch):
    options = our_options("gelu", norm_first=dtype == "float64")
    ours = randomized(nn.TransformerDecoder.init(2, E, N, final_norm=True, dtype=dtype, **options))
    theirs = torch.nn.TransformerDecoder(
        torch.nn.TransformerDecoderLayer(E, N, **torch_options("gelu", dtype == "float64")), 2,
        torch.nn.LayerNorm(E),
    )  # fmt: skip
    inputs = [normal(B, T, E, dtype=dtype), normal(B, S, E, dtype=dtype)]
    check(torch, ours, theirs, inputs, {}, {"tgt_mask": FUTURE}, dtype)


def test_a_stack_is_its_layers_one_after_another():
    encoder = randomized(
        nn.TransformerEncoder.init(
            3, E, N, key=KEY, norm_first=True, num_kv_heads=2, rotary=nn.Rotary()
        )
    )
    x = normal(2, 3, T, E)  # any leading dimensions
    y = jnp.asarray(x)
    positions = np.arange(T) * 2
    for i in range(3):
        layer = nr.tree.map(lambda x, i=i: x[i], encoder.layers)
        y = layer(y, bias=nn.alibi_bias(N, positions), positions=positions, causal=True)
    got = encoder(x, bias=nn.alibi_bias(N, positions), positions=positions, causal=True)
    close(got, encoder.norm(y))


def test_a_stack_compiles_like_one_layer():
    def kernels(depth):
        encoder = nn.TransformerEncoder.init(depth, E, N, key=KEY)
        f = nr.jit(nr.grad(lambda encoder, x: encoder(x).sum()))
        report = f.lower(encoder, normal(B, T, E)).compile().as_text("report")
        assert "everything is compiled" in report
        return report.split("kernels: ")[1].split()[0]

    assert kernels(2) == kernels(7)


# ---------------------------------------------------------------- cache
@pytest.mark.parametrize("kind", ["encoder", "decoder", "decoder, projected"])
def test_decoding_gives_what_the_whole_sequence_does(kind):
    options = {"key": KEY, "norm_first": True, "rotary": nn.Rotary(), "num_kv_heads": 2}
    memory = normal(B, S, E)
    if kind == "encoder":
        model = randomized(nn.TransformerEncoder.init(3, E, N, **options))
        args, expected = (), lambda x: model(x, causal=True)
    else:
        model = randomized(nn.TransformerDecoder.init(3, E, N, **options))
        args = (model.project(memory) if kind == "decoder, projected" else memory,)
        expected = lambda x: model(x, memory)  # noqa: E731
    x = normal(B, 6, E)

    @nr.jit(donate_argnums=1)
    def step(x, cache):
        return model(x, *args, cache=cache)

    y, cache = step(x[:, :3], model.init_cache((B,), 8))
    parts = [y]
    for i in range(3, 6):
        y, cache = step(x[:, i : i + 1], cache)
        parts.append(y)
    close(jnp.concatenate(parts, 1), expected(x))
    assert cache.key.shape == (3, B, 8, 2, 4) and int(cache.length) == 6

    def body(cache, x):
        y, cache = model(x[:, None], *args, cache=cache)
        return cache, y[:, 0]

    xs = jnp.moveaxis(jnp.asarray(x), 1, 0)
    _, ys = nr.jit(lambda cache: nr.lax.scan(body, cache, xs))(model.init_cache((B,), 6))
    close(jnp.moveaxis(ys, 0, 1), expected(x))
    _, cache = model(x, *args, cache=model.init_cache((B,), 6))
    with pytest.raises(IndexError, match="index 6 is out of bounds"):
        model(x[:, :1], *args, cache=cache)
    with pytest.raises(IndexError, match="index 6 is out of bounds"):
        step(x[:, :1], cache)


# ---------------------------------------------------------------- dropout
@pytest.mark.parametrize("kind", [nn.TransformerEncoder, nn.TransformerDecoder])
def test_dropout(kind):
    model = kind.init(2, E, N, key=KEY, dropout=0.1)
    args = [normal(B, T, E)] * (1 if kind is nn.TransformerEncoder else 2)
    exact = model(*args, training=False)
    still = kind.init(2, E, N, key=KEY)
    np.testing.assert_array_equal(exact, still(*args))
    first, again, other = [
        nr.jit(lambda key: model(*args, training=True, key=key))(key)
        for key in (KEY, KEY, nr.random.key(1))
    ]
    np.testing.assert_array_equal(first, again)
    assert abs(first - other).max() > 0.1 and abs(first - exact).max() > 0.1


def test_each_place_of_a_layer_drops():
    layer = randomized(nn.TransformerEncoderLayer.init(E, N, key=KEY, norm_first=True))
    x = normal(50, T, E)
    drop = nn.Dropout(0.25)

    def dropped(layer):
        return np.asarray(layer(x, training=True, key=KEY) - x)

    # Of the network's branch, whose affine layer gives ones: 0 or 1 / (1 - rate).
    ones = layer.linear2.replace(weight=layer.linear2.weight * 0, bias=jnp.ones(E))
    none = layer.self_attn.out_proj.replace(
        weight=layer.self_attn.out_proj.weight * 0, bias=jnp.zeros(E)
    )
    silent = layer.replace(
        dropout=drop, linear2=ones, self_attn=layer.self_attn.replace(out_proj=none)
    )
    values = dropped(silent)
    assert abs((np.abs(values) < 1e-5).mean() - 0.25) < 0.03
    np.testing.assert_allclose(values[np.abs(values) > 1e-5], 1 / 0.75, rtol=1e-5)
    # Of attention's branch.
    ones_out = none.replace(bias=jnp.ones(E))
    zero = ones.replace(bias=jnp.zeros(E))
    silent = layer.replace(
        dropout=drop, linear2=zero, self_attn=layer.self_attn.replace(out_proj=ones_out)
    )
    values = dropped(silent)
    assert abs((np.abs(values) < 1e-5).mean() - 0.25) < 0.03
    # Of the hidden features: ones summed up, 64 of them.
    hidden = layer.replace(
        dropout=drop, activation=jnp.ones_like,
        linear2=ones.replace(weight=jnp.full((4 * E, E), 1 / 64), bias=jnp.zeros(E)),
        self_attn=layer.self_attn.replace(out_proj=none),
    )  # fmt: skip
    values = dropped(hidden) * 0.75
    values = values[np.abs(values) > 1e-5]  # those that the branch itself did not drop
    assert abs(values.mean() - 1) < 0.02 and values.std() > 0.03


# ---------------------------------------------------------------- forms
def test_models_are_pytrees_of_one_structure():
    models = [
        nn.TransformerEncoder.init(2, E, N, activation=functools.partial(nn.gelu), key=KEY)
        for _ in range(2)
    ]
    again = pickle.loads(pickle.dumps(models[0]))
    structures = [nr.tree.structure(model) for model in (*models, again)]
    assert structures[0] == structures[1] == structures[2]
    np.testing.assert_array_equal(again(normal(T, E) * 0), models[1](np.zeros((T, E), "f4")))


def test_bfloat16_and_other_inputs():
    model = nn.TransformerEncoder.init(2, E, N, key=KEY, dtype="bfloat16", norm_first=True)
    wide = nr.tree.map(lambda x: x.astype("float32"), model)
    x = jnp.asarray(normal(B, T, E), "bfloat16")
    got = nr.jit(model)(x)
    assert got.dtype == "bfloat16"
    # A dozen numbers below 4, each rounded to 8 bits.
    np.testing.assert_allclose(np.asarray(got, "f4"), wide(x), atol=0.1)
    assert wide(x).dtype == "float32"
    y, cache = model(x, cache=model.init_cache((B,), T, "float32"))
    assert y.dtype == "bfloat16" and cache.key.dtype == "float32"
    assert wide(np.ones((T, E), "i4")).dtype == "float32"


def test_a_model_learns():
    """Each position's task is the mean of what came before: only attention can tell it."""
    model = nn.TransformerEncoder.init(
        2, E, N, key=KEY, norm_first=True, num_kv_heads=1, dropout=0.01
    )
    x = normal(16, 8, E)
    goal = np.cumsum(x, 1) / np.arange(1, 9)[:, None]

    @nr.jit
    def step(model, key):
        key, now = nr.random.split(key)

        def loss(model):
            return jnp.mean((model(x, causal=True, training=True, key=now) - goal) ** 2)

        value, gradient = nr.value_and_grad(loss)(model)
        return nr.tree.map(lambda p, g: p - 0.2 * g, model, gradient), key, value

    key, losses = KEY, []
    for _ in range(100):
        model, key, loss = step(model, key)
        losses.append(float(loss))
    assert losses[-1] < 0.25 * losses[0]


# ---------------------------------------------------------------- errors
X = np.ones((2, 5, 16), "f4")


@pytest.mark.parametrize("name", ["Encoder", "Decoder"])
@pytest.mark.parametrize("stack", [False, True])
def test_arguments_that_do_not_fit(name, stack):
    kind = getattr(nn, f"Transformer{name}" + ("" if stack else "Layer"))
    depth = (2,) if stack else ()
    model = kind.init(*depth, E, N, key=KEY, dropout=0.5)
    args = [X] * (1 if name == "Encoder" else 2)
    with pytest.raises(TypeError, match=f"{kind.__name__}: training=True or False was required"):
        model(*args)
    with pytest.raises(TypeError, match=f'{kind.__name__}: a key was .* got None for "key"'):
        model(*args, training=True)
    with pytest.raises(TypeError, match=r"length, 16\] was required; got f32\[2,5,15\]"):
        kind.init(*depth, E, N, key=KEY, norm_first=False)(X[..., :15], *args[1:])
    with pytest.raises(ValueError, match='got 3 for "num_heads"'):
        kind.init(*depth, E, 3, key=KEY)


@pytest.mark.parametrize("kind", [nn.TransformerEncoder, nn.TransformerDecoder])
def test_a_stack_of_nothing(kind):
    with pytest.raises(ValueError, match='at least 1 layer was required; got 0 for "depth"'):
        kind.init(0, E, N, key=KEY)
