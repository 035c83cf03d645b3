"""Without this recurrent layers could differ from torch's, or from it at the ends of sequences."""

import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

B, T, IN, HIDDEN = 3, 5, 4, 6
LENGTHS = np.array([5, 2, 4])
# float64: a few hundred roundings of 1e-16. float32: of 6e-8, gradients summed over all steps.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}

LAYERS = [
    ("LSTM", {}),
    ("LSTM", {"num_layers": 3, "bias": False}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"proj_size": 3}),
    ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
    ("GRU", {}),
    ("GRU", {"bias": False}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2, "bidirectional": True, "bias": False}),
]
IDS = [f"{kind}-{'-'.join(map(str, options.values())) or 'plain'}" for kind, options in LAYERS]


# ---------------------------------------------------------------- torch's parameters
def array(tensor):
    return jnp.array(tensor.detach().numpy())


def cell_of(kind, get, nonlinearity="tanh", gradient=False):
    """Our cell of torch's parameters, as the docstrings say; of gradients, that of our biases."""
    weights = [array(get(name)).T for name in ("weight_ih", "weight_hh")]
    ih, hh = get("bias_ih"), get("bias_hh")
    if kind == "GRU":
        if ih is None:
            return nn.GRUCell(*weights)
        ih, hh = array(ih), array(hh)
        n = hh.shape[0] // 3
        both = ih if gradient else ih + hh.at[2 * n :].set(0)
        return nn.GRUCell(*weights, both, hh[2 * n :])
    bias = None if ih is None else array(ih) if gradient else array(ih) + array(hh)
    if kind == "RNN":
        return nn.RNNCell(*weights, bias, nonlinearity)
    hr = get("weight_hr")
    return nn.LSTMCell(*weights, bias, None if hr is None else array(hr).T)


def layer_of(module, gradient=False):
    def cell(suffix):
        def get(name):
            value = getattr(module, name + suffix, None)
            return value.grad if gradient and value is not None else value

        nonlinearity = getattr(module, "nonlinearity", "tanh")
        return cell_of(kind, get, nonlinearity, gradient)

    kind = type(module).__name__
    ends = ["", "_reverse"] if module.bidirectional else [""]
    cells = tuple([cell(f"_l{i}{end}") for i in range(module.num_layers) for end in ends])
    return getattr(nn, kind)(cells, module.bidirectional)


def torch_layer(kind, dtype, **options):
    torch.manual_seed(0)
    return getattr(torch.nn, kind)(
        IN, HIDDEN, batch_first=True, dtype=getattr(torch, dtype), **options
    )


def numbers(seed, *shape, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def unstacked(kind, states):
    """Torch's stacked states as our carry: one for each cell."""
    if kind == "LSTM":
        return tuple(zip(*states, strict=True))
    return tuple(states[0])


def restacked(kind, carry):
    if kind == "LSTM":
        return [jnp.stack(each) for each in zip(*carry, strict=True)]
    return [jnp.stack(carry)]


def case(kind, dtype="float64", **options):
    """A torch layer, inputs, initial states as torch stacks them, and weights of a loss."""
    module = torch_layer(kind, dtype, **options)
    directions = 2 if module.bidirectional else 1
    n = module.num_layers * directions
    size = module.proj_size or HIDDEN
    states = [numbers(1, n, B, size, dtype=dtype)]
    if kind == "LSTM":
        states.append(numbers(2, n, B, HIDDEN, dtype=dtype))
    shapes = [(B, T, directions * size), *[s.shape for s in states]]
    weights = [numbers(5 + i, *shape, dtype=dtype) for i, shape in enumerate(shapes)]
    return module, numbers(0, B, T, IN, dtype=dtype), states, weights


def by_torch(module, x, states, weights, lengths):
    """Outputs, final states and all gradients of their weighted sum, from torch."""
    x = torch.tensor(x, requires_grad=True)
    states = [torch.tensor(s, requires_grad=True) for s in states]
    given = states[0] if len(states) == 1 else tuple(states)
    if lengths is None:
        y, finals = module(x, given)
    else:
        rnn = torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(
            x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        y, finals = module(packed, given)
        y, _ = rnn.pad_packed_sequence(y, batch_first=True, total_length=T)
    results = [y, *([finals] if len(states) == 1 else finals)]
    sum((r * torch.tensor(w)).sum() for r, w in zip(results, weights, strict=True)).backward()
    return (
        [array(r) for r in results],
        layer_of(module, gradient=True),
        array(x.grad),
        [array(s.grad) for s in states],
    )


def by_us(jit, module, x, states, weights, lengths):
    kind = type(module).__name__

    def loss(layer, x, states):
        y, carry = layer(x, unstacked(kind, states), lengths=lengths)
        results = [y, *restacked(kind, carry)]
        return sum((r * w).sum() for r, w in zip(results, weights, strict=True)), results

    f = nr.grad(loss, argnums=(0, 1, 2), has_aux=True)
    gradients, results = (nr.jit(f) if jit else f)(layer_of(module), jnp.array(x), states)
    return results, *gradients


def close(got, expected, tol):
    got, expected = nr.tree.leaves(got), nr.tree.leaves(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


# ---------------------------------------------------------------- beside torch
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=IDS)
def test_layers_are_those_of_torch(kind, options, lengths):
    """Outputs, final states, gradients of inputs, initial states and all parameters."""
    arguments = (*case(kind, **options), lengths)
    expected = by_torch(*arguments)
    for jit in (False, True):
        close(by_us(jit, *arguments), expected, TOLERANCE["float64"])


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_layers_in_float32(kind):
    options = {"num_layers": 2, "bidirectional": True}
    arguments = (*case(kind, "float32", **options), LENGTHS)
    close(by_us(True, *arguments), by_torch(*arguments), TOLERANCE["float32"])


@pytest.mark.parametrize(
    ("kind", "options"),
    [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {}),
     ("LSTM", {"bias": False}), ("GRU", {"bias": False})],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_cells_are_those_of_torch(kind, options, dtype):
    torch.manual_seed(0)
    module = getattr(torch.nn, kind + "Cell")(IN, HIDDEN, dtype=getattr(torch, dtype), **options)
    x, *states = (numbers(i, B, n, dtype=dtype) for i, n in enumerate([IN, HIDDEN, HIDDEN]))
    states = states[: 2 if kind == "LSTM" else 1]
    weights = [numbers(7 + i, B, HIDDEN, dtype=dtype) for i in range(len(states))]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, *states)]
    out = module(theirs[0], theirs[1] if kind != "LSTM" else tuple(theirs[1:]))
    outs = out if kind == "LSTM" else [out]
    sum((o * torch.tensor(w)).sum() for o, w in zip(outs, weights, strict=True)).backward()

    def loss(cell, x, *states):
        carry, y = cell(states if kind == "LSTM" else states[0], x)
        carry = carry if kind == "LSTM" else (carry,)
        states_and_output = [*carry, y]
        return sum((c * w).sum() for c, w in zip(carry, weights, strict=True)), states_and_output

    def get(name, gradient=False):
        value = getattr(module, name, None)
        return value.grad if gradient and value is not None else value

    nonlinearity = options.get("nonlinearity", "tanh")
    cell = cell_of(kind, get, nonlinearity)
    f = nr.grad(loss, argnums=tuple(range(2 + len(states))), has_aux=True)
    slopes = cell_of(kind, lambda name: get(name, True), nonlinearity, gradient=True)
    expected = ((slopes, *[array(a.grad) for a in theirs]), [array(o) for o in (*outs, outs[0])])
    for g in (f, nr.jit(f)):
        close(g(cell, x, *states), expected, TOLERANCE[dtype])


# ---------------------------------------------------------------- shapes
def small(kind="LSTM", **options):
    options = {"dtype": "float64", **options}
    return getattr(nn, kind).init(IN, HIDDEN, key=nr.random.key(0), **options)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_any_number_of_batch_dimensions(kind):
    layer = small(kind, bidirectional=True)
    x = numbers(0, 2, 3, T, IN)
    lengths = np.array([[5, 0, 2], [1, 4, 3]])
    y, carry = layer(x, lengths=lengths)
    flat, flat_carry = layer(x.reshape(6, T, IN), lengths=lengths.reshape(6))
    reshaped = nr.tree.map(lambda a: a.reshape(2, 3, *a.shape[1:]), (flat, flat_carry))
    close((y, carry), reshaped, 1e-14)
    close(layer(x[1, 2], lengths=3), nr.tree.map(lambda a: a[1, 2], (y, carry)), 1e-14)
    mapped = nr.jit(nr.vmap(lambda x, n: layer(x, lengths=n)))(x[0], lengths[0])
    close(mapped, nr.tree.map(lambda a: a[0], (y, carry)), 1e-13)
    cell = layer.cells[0]
    start = cell.initial_carry((2, 3))
    one = nr.tree.map(lambda a: a[0, 1], cell(start, x[:, :, 0]))
    close(cell(cell.initial_carry(), x[0, 1, 0]), one, 1e-14)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_no_step_and_one(kind):
    layer = small(kind, num_layers=2)
    x = numbers(0, B, 1, IN)
    carry = nr.tree.map(lambda a: a + 0.5, layer.initial_carry((B,)))
    for f in (layer, nr.jit(layer)):
        y, same = f(x[:, :0], carry)
        assert y.shape == (B, 0, HIDDEN)
        close(same, carry, 0)
        y, final = f(x, carry)
        first, inner = layer.cells[0](carry[0], x[:, 0])
        second, out = layer.cells[1](carry[1], inner)
        close((y, final), (out[:, None], (first, second)), 1e-14)
    slopes = nr.jit(nr.grad(lambda layer: layer(x[:, :0], carry)[0].sum()))(layer)
    assert not any(np.any(a) for a in nr.tree.leaves(slopes))


def test_a_carry_continues_sequences():
    layer = small("GRU", num_layers=2)
    x = numbers(0, B, T, IN)
    y, final = layer(x)
    first, carry = layer(x[:, :2])
    second, last = layer(x[:, 2:], carry)
    close((jnp.concatenate([first, second], 1), last), (y, final), 1e-14)


def test_reverse_is_from_the_end_of_each_sequence():
    forward = small()
    backward = forward.replace(reverse=True)
    x = numbers(0, B, T, IN)
    turned, carry = forward(x[:, ::-1])
    close(backward(x), (turned[:, ::-1], carry), 1e-14)
    y, final = backward(x, lengths=LENGTHS)
    for i, n in enumerate(LENGTHS):
        alone, end = backward(x[i, :n])
        close((y[i, :n], nr.tree.map(lambda a, i=i: a[i], final)), (alone, end), 1e-14)
        assert not y[i, n:].any()


def test_what_is_after_the_end_has_no_influence():
    layer = small(bidirectional=True, num_layers=2)
    x = numbers(0, B, T, IN)
    spoiled = np.where(nn.sequence_mask(LENGTHS, T)[..., None], x, np.nan)

    @nr.jit
    def gradient(layer, x):
        return nr.value_and_grad(lambda *a: (a[0](a[1], lengths=LENGTHS)[0] ** 2).sum(), (0, 1))(
            layer, x
        )

    close(gradient(layer, spoiled), gradient(layer, x), 0)


def test_sequences_of_no_step_give_back_the_initial_carry():
    layer = small(bidirectional=True)
    carry = nr.tree.map(lambda a: a + 0.5, layer.initial_carry((2,)))
    y, final = layer(numbers(0, 2, T, IN), carry, lengths=[0, 0] * np.ones(1, np.int32))
    assert not y.any()
    close(final, carry, 0)


# ---------------------------------------------------------------- dropout
def test_dropout_is_between_layers_in_training():
    layer = small(num_layers=2, dropout=0.5)
    x = numbers(0, B, 200, IN)
    still, carry = layer(x, training=False)
    close((still, carry), layer.replace(dropout=0.0)(x), 0)
    y, dropped = layer(x, training=True, key=nr.random.key(1))
    close(dropped[0], carry[0], 0)  # the first layer's inputs are not dropped, nor are outputs
    assert np.all(y != 0)
    assert np.abs(y - still).max() > 1e-3
    close(layer(x, training=True, key=nr.random.key(1))[0], y, 0)
    assert np.any(layer(x, training=True, key=nr.random.key(2))[0] != y)
    alone = small(dropout=0.5)
    close(alone(x, training=True), alone(x, training=False), 0)  # nothing is between


def test_dropout_keeps_the_mean_and_all_may_be_dropped():
    identity = nn.RNNCell(jnp.eye(2), jnp.zeros((2, 2)), None, "relu")
    layer = nn.RNN((identity, identity), dropout=0.25)
    y, _ = layer(jnp.ones((100, 50, 2)), training=True, key=nr.random.key(0))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(np.mean(y) - 1) < 0.03  # 5 standard deviations of the mean of 10,000
    y, _ = layer.replace(dropout=1.0)(jnp.ones((3, 2)), training=True, key=nr.random.key(0))
    assert not y.any()


# ---------------------------------------------------------------- dtypes
def test_results_follow_promotion():
    half = small("LSTM", dtype="bfloat16", proj_size=2)
    x = numbers(0, B, T, IN, dtype="float32")
    kinds = lambda out: {a.dtype.name for a in nr.tree.leaves(out)}  # noqa: E731
    assert kinds(half(jnp.array(x, "bfloat16"), lengths=LENGTHS)) == {"bfloat16"}
    assert kinds(half(x)) == {"float32"}
    assert kinds(half(np.ones((B, T, IN), np.int32))) == {"bfloat16"}
    carry = half.initial_carry((B,), "float32")
    assert kinds(carry) == kinds(half(jnp.array(x, "bfloat16"), carry)) == {"float32"}
    assert kinds(half.cells[0](half.cells[0].initial_carry(), jnp.ones(IN, "bfloat16"))) == {
        "bfloat16"
    }


# ---------------------------------------------------------------- transformations
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_gradients_are_compiled_as_a_whole(kind, lengths):
    layer = small(kind, bidirectional=True, num_layers=2, dropout=0.5)

    def loss(layer, x, key):
        return (layer(x, lengths=lengths, training=True, key=key)[0] ** 2).mean()

    args = layer, jnp.array(numbers(0, B, T, IN)), nr.random.key(0)
    report = nr.jit(nr.value_and_grad(loss)).lower(*args).compile().as_text("report")
    assert "everything is compiled" in report


@pytest.mark.parametrize(("kind", "kept"), [("RNN", 1), ("LSTM", 7), ("GRU", 5)])
def test_steps_keep_values_of_gates_and_not_their_slopes(kind, kept):
    """A gradient's time goes with what steps keep: for an LSTM h, c and five activations."""
    layer = small(kind)
    for lengths in (None, LENGTHS):

        def loss(layer, x, lengths=lengths):
            return layer(x, lengths=lengths)[0].sum()

        jaxpr = nr.make_jaxpr(nr.grad(loss))(layer, numbers(0, B, T, IN)).jaxpr
        forward = next(q for q in jaxpr.eqns if q.primitive.name == "scan")
        body = forward.params["jaxpr"]
        masks = int(lengths is not None)
        assert len(set(body.outvars[forward.params["num_carry"] :])) == kept + masks + 1
        # the product with the inputs is not in the loop
        assert [q.primitive.name for q in body.eqns].count("dot_general") == 1


def test_layers_map_scan_checkpoint_and_pickle():
    keys = nr.random.split(nr.random.key(0), 3)
    stack = nr.vmap(lambda key: nn.GRU.init(IN, IN, key=key, dtype="float64"))(keys)
    x = numbers(0, B, T, IN)

    def through(stack, wrap):
        def step(x, layer):
            return wrap(lambda layer, x: layer(x)[0])(layer, x), None

        return (nr.lax.scan(step, x, stack)[0] ** 2).sum()

    plain = nr.jit(nr.value_and_grad(through), static_argnums=1)(stack, lambda f: f)
    again = nr.jit(nr.value_and_grad(through), static_argnums=1)(stack, nr.checkpoint)
    close(again, plain, 1e-12)
    side_by_side, _ = nr.jit(nr.vmap(lambda layer, x: layer(x), (0, None)))(stack, x)
    loop = jnp.array(x)
    for i in range(3):
        layer = nr.tree.map(lambda a, i=i: a[i], stack)
        close(side_by_side[i], layer(x)[0], 1e-13)
        loop, _ = layer(loop)
    np.testing.assert_allclose(plain[0], (loop**2).sum(), rtol=1e-12)
    layer = small(proj_size=2, num_layers=2)
    close(pickle.loads(pickle.dumps(layer))(x), layer(x), 0)


def test_derivatives_of_higher_order():
    cell = small().cells[0]
    h, c, x = numbers(1, HIDDEN), numbers(2, HIDDEN), numbers(3, IN)
    nr.test_util.check_grads(lambda *a: cell((a[0], a[1]), a[2])[0], (h, c, x), order=2)


# ---------------------------------------------------------------- initial parameters
def test_initial_parameters():
    key = nr.random.key(0)
    layer = nn.LSTM.init(50, 40, proj_size=30, num_layers=2, bidirectional=True, key=key)
    assert [c.weight_ih.shape for c in layer.cells] == [(50, 160)] * 2 + [(60, 160)] * 2
    cell = layer.cells[3]
    assert (cell.weight_hh.shape, cell.weight_hr.shape) == ((30, 160), (40, 30))
    np.testing.assert_array_equal(cell.bias, np.repeat([0, 1, 0, 0], 40))
    zero = nn.LSTMCell.init(3, 2, key=key, forget_bias=0.0)
    assert not zero.bias.any()
    assert nn.LSTMCell.init(3, 2, key=key, bias=False).bias is None
    gru = nn.GRUCell.init(300, 200, key=key)
    assert not gru.bias.any()
    assert not gru.bias_hn.any()
    assert abs(np.std(gru.weight_ih) * 300**0.5 - 1) < 0.01
    for gate in np.split(np.asarray(gru.weight_hh), 3, -1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(200), atol=1e-5)
    assert nn.GRUCell.init(3, 2, key=key, bias=False).bias_hn is None
    rnn = nn.RNN.init(3, 2, key=key, weight_init=nn.initializers.ones, dtype="bfloat16")
    assert rnn.cells[0].weight_ih.dtype == "bfloat16"
    assert np.all(rnn.cells[0].weight_ih == 1)


# ---------------------------------------------------------------- padded batches
def test_pad_sequences_and_mask():
    parts = [numbers(i, n, 2) for i, n in enumerate([3, 0, 1])]
    padded, lengths = nn.pad_sequences(parts)
    assert padded.shape == (3, 3, 2)
    np.testing.assert_array_equal(lengths, [3, 0, 1])
    longer, _ = nn.pad_sequences(parts, length=8)
    assert longer.shape == (3, 8, 2)
    for each in (padded, longer):
        mask = np.asarray(nn.sequence_mask(lengths, each.shape[1]))
        np.testing.assert_array_equal(mask.sum(-1), lengths)
        np.testing.assert_array_equal(np.asarray(each)[mask], np.concatenate(parts))
        assert not np.asarray(each)[~mask].any()
    tokens, _ = nn.pad_sequences([np.array([7, 8], np.int16), np.array([9], np.int32)])
    assert tokens.dtype == "int32"
    assert nn.sequence_mask(np.uint8(200), 300).sum() == 200


# ---------------------------------------------------------------- errors
X = np.ones((B, T, IN), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f(X[..., :3]), TypeError,
         r'LSTM: \[\.\.\., 4\] was required; got f32\[3,5,3\] for "x"'),
        (lambda f: f(X[0, 0]), TypeError, r"LSTM: \[\.\.\., T, 4\] was required; got f32\[4\]"),
        (lambda f: f(X, lengths=np.ones(B)), TypeError,
         r'LSTM: integers were required; got f64\[3\] for "lengths"'),
        (lambda f: f(X, lengths=np.ones(2, np.int32)), TypeError,
         r"LSTM: a length for each sequence, i32\[3\], was required; got i32\[2\]"),
        (lambda f: f(X, f.initial_carry((B,))[0]), TypeError,
         r"LSTM: a tuple of 1, the carries of the 1 cells, was required; got a tuple of 2"),
        (lambda f: f(X, X), TypeError, r"LSTM: a tuple of 1.*; got f32\[3,5,4\]"),
        (lambda f: f(X, f.initial_carry()), TypeError,
         r'LSTM: a state of \[3,6\] was required; got f32\[6\] for "h of carry"'),
        (lambda f: f.cells[0](X, X), TypeError, r"LSTMCell: a pair \(h, c\) was required; got"),
        (lambda f: f.cells[0](f.cells[0].initial_carry(), X[..., 0]), TypeError,
         r"LSTMCell: \[\.\.\., 4\] was required; got f32\[3,5\]"),
        (lambda f: f.replace(dropout=0.5)(X), TypeError,
         r"LSTM: training=True or training=False is required; got none"),
        (lambda f: f.replace(cells=f.cells * 2, dropout=0.5)(X, training=True), TypeError,
         r"LSTM: a key is required in training; got key=None"),
    ],
)  # fmt: skip
def test_errors_of_calls(call, error, message):
    layer = nn.LSTM.init(IN, HIDDEN, key=nr.random.key(0))
    for f in (call, nr.jit(call)):
        with pytest.raises(error, match=message):
            f(layer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda k: nn.RNN.init(2, 3, key=k, nonlinearity="sin"),
         "RNNCell: nonlinearity must be \"tanh\" or \"relu\"; got 'sin'"),
        (lambda k: nn.LSTM.init(2, 3, key=k, proj_size=0), "LSTMCell: proj_size must be positive"),
        (lambda k: nn.GRU.init(2, 3, key=k, num_layers=0), "GRU: num_layers must be positive"),
        (lambda k: nn.GRU.init(2, 3, key=k, dropout=1.5), "GRU: dropout must be a rate between"),
        (lambda k: nn.LSTM.init(2, 3, key=k, bidirectional=True, reverse=True),
         "LSTM: a layer goes in both directions or in reverse"),
        (lambda k: nn.pad_sequences([]), "pad_sequences: one sequence or more was required"),
        (lambda k: nn.pad_sequences([X, X[..., :2]]), r"pad_sequences: sequences must be arrays"),
        (lambda k: nn.pad_sequences([X], length=2), "pad_sequences: length must not be less"),
    ],
)  # fmt: skip
def test_errors_of_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(nr.random.key(0))


def test_errors_of_masks_and_carries():
    with pytest.raises(TypeError, match=r"sequence_mask: integers were required; got f32\[2\]"):
        nn.sequence_mask(jnp.ones(2), 3)
    for kind in ("RNNCell", "GRUCell"):
        cell = getattr(nn, kind).init(IN, HIDDEN, key=nr.random.key(0))
        with pytest.raises(TypeError, match=rf"{kind}: a state of \[3,5,6\] was required"):
            cell(jnp.ones(HIDDEN), X)
        with pytest.raises(TypeError, match=rf"{kind}: \[\.\.\., 4\] was required"):
            cell(jnp.ones(HIDDEN), X[..., 0])
