"""Without this the models of docs/models.md might not run, or differ from their peers."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn, optim
from nr.interop import torch as interop

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
KEY = nr.random.key(0)
# In float64; small batches make normalization magnify roundings by three digits a step.
TOLERANCE = {"rtol": 1e-8, "atol": 1e-10}


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{Path(name).stem}", EXAMPLES / name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def code_lines(name):
    """Without what a peer's file needs to run by itself."""
    text = (EXAMPLES / name).read_text()
    return len(text.split("\n\n\ndef main")[0].rstrip().splitlines())


@pytest.mark.parametrize("name, label", [("resnet", "ResNet-18"), ("gpt", "GPT")])
def test_examples_are_as_short_as_the_page_says(name, label):
    counts = [code_lines(f"{name}.py")]
    counts += [code_lines(f"peers/{name}_{peer}.py") for peer in ("equinox", "flax", "torch")]
    assert counts[0] < 80
    page = (EXAMPLES.parent / "docs" / "models.md").read_text()
    assert f"| {label} | {' | '.join(map(str, counts))} |" in page


def test_the_resnet_is_that_of_torch():
    torch = pytest.importorskip("torch")
    ours, theirs = load("resnet.py"), load("peers/resnet_torch.py")
    reference = theirs.resnet18(10).double()
    names = {"layers.13": "14"}  # torch flattens in a layer of its own
    shapes = nr.tree.map(
        lambda x: nr.ShapeDtypeStruct(x.shape, "float64"),
        nr.eval_shape(lambda: ours.resnet18(10, key=KEY)),
    )
    model = interop.load_state_dict(shapes, reference.state_dict(), names=names)
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3))
    labels = np.arange(4)
    reference[13].p = 0.0
    model = model.replace(layers=(*model.layers[:12], nn.Dropout(0.0), model.layers[13]))

    optimizer = optim.sgd(0.05, momentum=0.9)
    trained = torch.optim.SGD(reference.parameters(), 0.05, momentum=0.9)
    step, their_step = ours.make_step(optimizer), theirs.make_step(reference, trained)
    state = optimizer.init(model)
    for _ in range(2):
        model, state, value = step(model, state, images, labels, KEY)
        expected = their_step(torch.tensor(images).permute(0, 3, 1, 2), torch.tensor(labels))
        np.testing.assert_allclose(value, expected, **TOLERANCE)
    moved = interop.state_dict(model, names=names)
    for name, tensor in reference.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_allclose(moved[name], tensor, err_msg=name, **TOLERANCE)


def test_the_gpt_is_that_of_torch():
    torch = pytest.importorskip("torch")
    ours, theirs = load("gpt.py"), load("peers/gpt_torch.py")
    reference = theirs.GPT(50, 16, 32, 4, 3)
    # Its attention is written out, with names of its own.
    state = {
        name.replace("attention.qkv.", "attention.in_proj_").replace(
            "attention.out.", "attention.out_proj."
        ): value
        for name, value in reference.state_dict().items()
    }
    shapes = nr.eval_shape(lambda: ours.GPT.init(50, 16, 32, 4, 3, key=KEY))
    model = interop.load_state_dict(shapes, state)
    tokens = np.random.default_rng(0).integers(50, size=(4, 17))
    logits = reference(torch.tensor(tokens[:, :-1])).detach()
    np.testing.assert_allclose(model(tokens[:, :-1]), logits, rtol=1e-4, atol=2e-5)

    optimizer = optim.adamw(1e-3, weight_decay=1e-2)
    trained = torch.optim.AdamW(reference.parameters(), 1e-3, weight_decay=1e-2)
    step, their_step = ours.make_step(optimizer), theirs.make_step(reference, trained)
    state = optimizer.init(model)
    for _ in range(3):
        model, state, value = step(model, state, jnp.asarray(tokens), KEY)
        np.testing.assert_allclose(value, their_step(torch.tensor(tokens)), rtol=1e-4)
    assert np.isfinite(float(value))


def test_the_gpt_learns_with_dropout():
    gpt = load("gpt.py")
    model = gpt.GPT.init(20, 12, 32, 4, 2, dropout=0.1, key=KEY)
    optimizer = optim.adamw(1e-2)
    step, state = gpt.make_step(optimizer), optimizer.init(model)
    tokens = (jnp.arange(13) + jnp.arange(8)[:, None]) % 20
    losses = []
    for key in nr.random.split(KEY, 40):
        model, state, value = step(model, state, tokens, key)
        losses.append(float(value))
    assert losses[-1] < 0.3 * losses[0]
