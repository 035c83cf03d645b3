"""Without this the adaptive softmax could differ from PyTorch's, or take labels of no class."""

import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn

RNG = np.random.default_rng(0)
# Sums of some dozen products of numbers around 1, and softmaxes of them.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
CLASSES, CUTOFFS = 50, [7, 20]
LABELS = np.array([0, 6, 7, 19, 20, 49, 33])


def pair(dtype, bias):
    """The same layer, here and in PyTorch."""
    torch = pytest.importorskip("torch")
    layer = nn.AdaptiveLogSoftmax.init(
        16, CLASSES, CUTOFFS, key=nr.random.key(0), div_value=2.0, bias=bias, dtype=dtype
    )
    if bias:
        layer = layer.replace(head=layer.head.replace(bias=jnp.asarray(RNG.normal(size=9), dtype)))
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(
        16, CLASSES, CUTOFFS, div_value=2.0, head_bias=bias, dtype=getattr(torch, dtype)
    )
    theirs.load_state_dict(nr.interop.torch.state_dict(layer))
    return torch, layer, theirs


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loss_and_gradients_are_those_of_torch(dtype, bias, jitted):
    torch, layer, theirs = pair(dtype, bias)
    x = RNG.normal(size=(7, 16)).astype(dtype)
    tensor = torch.tensor(x, requires_grad=True)
    out, loss = theirs(tensor, torch.tensor(LABELS))
    loss.backward()

    def ours(layer, x):
        y = layer(x, LABELS)
        return -y.mean(), y

    step = nr.value_and_grad(ours, (0, 1), has_aux=True)
    (value, y), (grads, dx) = (nr.jit(step) if jitted else step)(layer, jnp.asarray(x))
    tol = TOLERANCE[dtype]
    np.testing.assert_allclose(y, out.detach().numpy(), rtol=tol, atol=tol)
    np.testing.assert_allclose(value, loss.item(), rtol=tol)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=tol, atol=tol)
    theirs = {name: p.grad.numpy().T for name, p in theirs.named_parameters()}
    got = nn.state_dict(grads)
    assert len(got) == len(theirs) == 5 + bias
    for name, g in got.items():
        np.testing.assert_allclose(
            g, theirs[name.replace("layers.", "")], rtol=tol, atol=tol, err_msg=name
        )
    full = layer.log_probabilities(x)
    np.testing.assert_allclose(
        np.take_along_axis(np.asarray(full), LABELS[:, None], 1)[:, 0], y, rtol=tol, atol=tol
    )
    np.testing.assert_allclose(np.exp(full).sum(-1), 1, rtol=tol)


def test_any_batch_vmap_and_pickle():
    layer = nn.AdaptiveLogSoftmax.init(16, CLASSES, CUTOFFS, key=nr.random.key(0))
    x = jnp.asarray(RNG.normal(size=(2, 7, 16)), "float32")
    labels = jnp.asarray(np.stack([LABELS, LABELS[::-1]]), "uint8")
    y = layer(x, labels)
    assert y.shape == (2, 7)
    np.testing.assert_allclose(nr.vmap(layer)(x, labels), y, rtol=1e-6)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(layer))(x, labels), y)
    assert layer(x.astype("bfloat16"), labels).dtype == "float32"


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("label", [-1, CLASSES])
def test_labels_of_no_class_are_refused(label, jitted):
    layer = nn.AdaptiveLogSoftmax.init(16, CLASSES, CUTOFFS, key=nr.random.key(0))
    call = nr.jit(layer) if jitted else layer
    with pytest.raises(IndexError):
        call(jnp.ones(16), jnp.array(label))


def test_what_does_not_fit_is_refused():
    key = nr.random.key(0)
    for cutoffs in ([], [0], [7, 7], [20, 7], [50]):
        with pytest.raises(ValueError, match="cutoffs that increase, from 1 to 49"):
            nn.AdaptiveLogSoftmax.init(16, 50, cutoffs, key=key)
    with pytest.raises(ValueError, match="a feature or more for each cluster"):
        nn.AdaptiveLogSoftmax.init(16, 50, [10, 20, 30], key=key)
    layer = nn.AdaptiveLogSoftmax.init(16, 50, [10], key=key)
    with pytest.raises(TypeError, match=r"integers \[3\] were required; got f32\[3\]"):
        layer(jnp.ones((3, 16)), jnp.zeros(3))
    with pytest.raises(TypeError, match=r"integers \[3\] were required; got i32\[2\]"):
        layer(jnp.ones((3, 16)), jnp.zeros(2, "int32"))
