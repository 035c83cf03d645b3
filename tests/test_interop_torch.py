"""Without this weights from PyTorch could land in the wrong place, or get lost on the way."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn
from nr.interop import torch as interop

torch = pytest.importorskip("torch")
KEY = nr.random.key(0)
RTOL, ATOL = 2e-5, 2e-6  # sums of a few dozen float32 products in another order


def image(x):
    """[N, *space, C] as torch has it."""
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def inputs(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


# name: our layer, torch's, the input's shape, and whether channels are last for us only.
LAYERS = {
    "Linear": (
        lambda: nn.Linear.init(3, 4, key=KEY), lambda: torch.nn.Linear(3, 4), (5, 3), False),
    "Linear without bias": (
        lambda: nn.Linear.init(3, 4, bias=False, key=KEY),
        lambda: torch.nn.Linear(3, 4, bias=False), (5, 3), False),
    "Conv 1d": (
        lambda: nn.Conv.init(4, 6, (3,), groups=2, padding=1, key=KEY),
        lambda: torch.nn.Conv1d(4, 6, 3, groups=2, padding=1), (2, 8, 4), True),
    "Conv 2d": (
        lambda: nn.Conv.init(4, 6, (3, 2), stride=2, padding="VALID", key=KEY),
        lambda: torch.nn.Conv2d(4, 6, (3, 2), stride=2), (2, 8, 7, 4), True),
    "Conv 3d": (
        lambda: nn.Conv.init(2, 3, (3, 2, 1), padding="VALID", key=KEY),
        lambda: torch.nn.Conv3d(2, 3, (3, 2, 1)), (2, 5, 4, 3, 2), True),
    "ConvTranspose 2d": (
        lambda: nn.ConvTranspose.init(4, 6, (3, 2), stride=2, padding="VALID", groups=2, key=KEY),
        lambda: torch.nn.ConvTranspose2d(4, 6, (3, 2), stride=2, groups=2), (2, 5, 4, 4), True),
    "ConvTranspose 1d": (
        lambda: nn.ConvTranspose.init(4, 3, (3,), padding="VALID", key=KEY),
        lambda: torch.nn.ConvTranspose1d(4, 3, 3), (2, 5, 4), True),
    "LayerNorm": (lambda: nn.LayerNorm.init(6), lambda: torch.nn.LayerNorm(6), (5, 6), False),
    "GroupNorm": (
        lambda: nn.GroupNorm.init(2, 6, spatial_dims=2),
        lambda: torch.nn.GroupNorm(2, 6), (3, 4, 4, 6), True),
    "RMSNorm": (
        lambda: nn.RMSNorm.init(6, eps=1e-6), lambda: torch.nn.RMSNorm(6, eps=1e-6), (5, 6), False),
    "BatchNorm": (
        lambda: nn.BatchNorm.init(6), lambda: torch.nn.BatchNorm2d(6), (3, 4, 4, 6), True),
    "WeightNorm": (
        lambda: nn.WeightNorm.init(nn.Conv.init(3, 4, (2, 2), padding="VALID", key=KEY)),
        lambda: torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, 4, 2)),
        (2, 5, 4, 3), True),
    "SpectralNorm": (
        lambda: nn.SpectralNorm.init(
            nn.Conv.init(3, 4, (2, 2), padding="VALID", key=KEY), key=KEY),
        lambda: torch.nn.utils.parametrizations.spectral_norm(torch.nn.Conv2d(3, 4, 2)),
        (2, 5, 4, 3), True),
    "RNN": (
        lambda: nn.RNN.init(3, 5, key=KEY),
        lambda: torch.nn.RNN(3, 5, batch_first=True), (2, 7, 3), False),
    "LSTM": (
        lambda: nn.LSTM.init(3, 5, num_layers=2, bidirectional=True, key=KEY),
        lambda: torch.nn.LSTM(3, 5, 2, bidirectional=True, batch_first=True), (2, 7, 3), False),
    "LSTM with projection": (
        lambda: nn.LSTM.init(3, 5, proj_size=4, key=KEY),
        lambda: torch.nn.LSTM(3, 5, proj_size=4, batch_first=True), (2, 7, 3), False),
    "GRU": (
        lambda: nn.GRU.init(3, 5, num_layers=2, key=KEY),
        lambda: torch.nn.GRU(3, 5, 2, batch_first=True), (2, 7, 3), False),
    "GRUCell": (lambda: nn.GRUCell.init(3, 5, key=KEY), lambda: torch.nn.GRUCell(3, 5), None, 0),
    "Sequential": (
        lambda: nn.Sequential([nn.Linear.init(3, 4, key=KEY), nn.relu, nn.LayerNorm.init(4)]),
        lambda: torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.LayerNorm(4)),
        (5, 3), False),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder.init(2, 8, 2, hidden_features=16, key=KEY, final_norm=True),
        lambda: torch.nn.TransformerEncoder(
            torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2,
            torch.nn.LayerNorm(8), enable_nested_tensor=False),
        (3, 5, 8), False),
    "Embedding": (
        lambda: nn.Embedding.init(5, 3, key=KEY), lambda: torch.nn.Embedding(5, 3), None, False),
    "PReLU": (lambda: nn.PReLU.init(3), lambda: torch.nn.PReLU(3), (4, 3), False),
    "Stack": (
        lambda: nn.Stack.init(3, lambda key: nn.Sequential(
            [nn.Linear.init(4, 4, key=key), nn.tanh]), key=KEY),
        lambda: torch.nn.Sequential(
            *[torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh()) for _ in range(3)]),
        (5, 4), False),
}  # fmt: skip


def first(x):
    return x[0] if isinstance(x, tuple) else x


def randomized(layer):
    """torch's layer with no two weights alike, which ones and zeros would hide."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in layer.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator) * 0.5
                tensor.add_(noise + (0.1 if name.endswith("running_var") else 0))
    return layer.eval()


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_the_same_with_loaded_weights(name):
    make, make_theirs, shape, moves = LAYERS[name]
    theirs = randomized(make_theirs())
    # From shapes alone: nothing of the layer's own weights is left.
    layer = interop.load_state_dict(nr.eval_shape(make), theirs.state_dict())
    if shape is not None:
        x = inputs(*shape)
        options = {"training": False} if name in ("BatchNorm", "SpectralNorm") else {}
        got = first(layer(x, **options))
        expected = first(theirs(image(x) if moves else torch.tensor(x))).detach().numpy()
        expected = np.moveaxis(expected, 1, -1) if moves else expected
        np.testing.assert_allclose(got, expected, rtol=RTOL, atol=ATOL)
    # And out again: torch takes all of it, and it computes the same there.
    again = make_theirs()
    again.load_state_dict(interop.state_dict(layer))
    again.eval()
    if shape is not None:
        x = image(x) if moves else torch.tensor(x)
        torch.testing.assert_close(first(again(x)), first(theirs(x)), rtol=RTOL, atol=ATOL)
    for leaf, same in zip(
        nr.tree.leaves(layer),
        nr.tree.leaves(interop.load_state_dict(layer, again.state_dict())),
    ):
        np.testing.assert_array_equal(leaf, same)


def test_bilinear():
    theirs = torch.nn.Bilinear(3, 4, 5)
    layer = nn.Bilinear.init(3, 4, 5, key=KEY)
    layer = interop.load_state_dict(layer, theirs.state_dict())
    x, y = inputs(2, 3), inputs(2, 4)
    expected = theirs(torch.tensor(x), torch.tensor(y)).detach()
    np.testing.assert_allclose(layer(x, y), expected, rtol=RTOL, atol=ATOL)
    np.testing.assert_array_equal(interop.state_dict(layer)["weight"], theirs.weight.detach())


@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 10}])
def test_attention(sizes):
    theirs = randomized(torch.nn.MultiheadAttention(8, 2, batch_first=True, **sizes))
    options = {"key_features": 6, "value_features": 10} if sizes else {}
    layer = nn.MultiHeadAttention.init(8, 2, key=KEY, **options)
    layer = interop.load_state_dict(layer, theirs.state_dict())
    for name, tensor in interop.state_dict(layer).items():
        np.testing.assert_array_equal(tensor, theirs.state_dict()[name])
    if not sizes:
        x = inputs(2, 5, 8)
        expected = theirs(*[torch.tensor(x)] * 3)[0].detach()
        np.testing.assert_allclose(layer(x), expected, rtol=RTOL, atol=ATOL)


def test_a_transformer_decoder():
    theirs = torch.nn.TransformerDecoder(
        torch.nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 3
    )
    layer = nn.TransformerDecoder.init(3, 8, 2, hidden_features=16, key=KEY)
    layer = interop.load_state_dict(layer, randomized(theirs).state_dict())
    x, memory = inputs(2, 5, 8), inputs(2, 4, 8)
    expected = theirs(torch.tensor(x), torch.tensor(memory)).detach()
    np.testing.assert_allclose(layer(x, memory, causal=False), expected, rtol=RTOL, atol=1e-5)


@nn.module
class Net:
    body: dict[str, nn.Linear]
    head: nn.Linear
    extra: nr.Array


def net():
    return Net({"a": nn.Linear.init(2, 2, key=KEY)}, nn.Linear.init(2, 1, key=KEY), jnp.zeros(3))


STATE = {
    "body.a.weight": np.eye(2), "body.a.bias": np.ones(2), "fc.weight": np.ones((1, 2)),
    "fc.bias": np.zeros(1), "extra": np.ones(3),
}  # fmt: skip


def test_names_that_differ():
    model = interop.load_state_dict(net(), STATE, names={"head": "fc"})
    assert float(model.head(model.body["a"](jnp.ones(2)))[0]) == 4.0
    assert set(interop.state_dict(model, names={"head": "fc"})) == set(STATE)
    part = interop.load_state_dict(net(), {"fc.bias": np.ones(1)}, names={"head": "fc"},
                                   strict=False)  # fmt: skip
    assert float(part.head.bias[0]) == 1.0


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError) as error:
        interop.load_state_dict(net(), STATE)
    for text in ('"head.weight" is missing', '"fc.weight" is unknown', "names={"):
        assert text in str(error.value)
    wrong = {**STATE, "fc.weight": np.ones((2, 2))}
    with pytest.raises(ValueError, match=r'"head.weight" is f64\[2,2\], and f32\[2,1\] was req'):
        interop.load_state_dict(net(), wrong, names={"head": "fc"})
    wrong = {**STATE, "fc.weight": np.ones(2)}
    with pytest.raises(ValueError, match=r'"head.weight" is f64\[2\], and f32\[2,1\] was req'):
        interop.load_state_dict(net(), wrong, names={"head": "fc"})


def test_bfloat16_goes_both_ways():
    theirs = torch.nn.Linear(3, 4).bfloat16()
    layer = nn.Linear.init(3, 4, key=KEY, dtype="bfloat16")
    layer = interop.load_state_dict(layer, theirs.state_dict())
    assert layer.weight.dtype == "bfloat16"
    back = interop.state_dict(layer)["weight"]
    assert back.dtype == torch.bfloat16 and torch.equal(back, theirs.weight.detach())
