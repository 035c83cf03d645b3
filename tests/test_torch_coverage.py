"""Without this a name of PyTorch, jax.nn or optax could have no counterpart and no reason for it,
or the pages that say what to write could name what does not exist."""

from __future__ import annotations

import ast
import fnmatch
import functools
import importlib
import inspect
import re
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn, optim

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("from_torch.md", "from_jax.md")
# What code in the pages may begin with.
ROOTS = {"nr": nr, "nn": nn, "optim": optim, "jnp": jnp}


# ---------------------------------------------------------------- reading pages
@functools.cache
def tables(page: str) -> list[tuple[str, dict[str, str]]]:
    """The rows of a page's tables: the heading that they stand under, and cells by column."""
    rows, heading, header = [], "", None
    for line in (DOCS / page).read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if header is None:
            header = cells
        elif not set(line) <= set("|-"):
            assert len(cells) == len(header), f"{page}: {line}"
            rows.append((heading, dict(zip(header, cells, strict=True))))
    return rows


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def expanded(name: str) -> list[str]:
    """The names that one with braces stands for."""
    braces = re.search(r"\{(.*?)\}", name)
    if braces is None:
        return [name]
    return [name[: braces.start()] + part + name[braces.end() :] for part in braces[1].split(",")]


@functools.cache
def listed(page: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a page has a counterpart for, and patterns of those that it leaves out."""
    found: set[str] = set()
    left_out: set[str] = set()
    for _, row in tables(page):
        if "why" in row:
            assert row["why"], f"{page}: no reason for {row['names']}"
            left_out |= set(code(row["names"]))
            continue
        assert code(row["nr"]), f"{page}: nothing to write for {row}"
        for column, cell in row.items():
            if column not in ("nr", "notes"):
                found |= {name for entry in code(cell) for name in expanded(entry)}
    return frozenset(found), frozenset(left_out)


def missing(page: str, names: Any, same: Any = None) -> list[str]:
    """Those that a page says nothing of, and that do not exist here under the same name."""
    found, left_out = listed(page)
    return [
        name
        for name in names
        if name not in found
        and name not in getattr(same, "__all__", ())
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in left_out)
    ]


def public(module: Any, kind: Any = callable) -> list[str]:
    names = [name for name in dir(module) if not name.startswith("_")]
    return [name for name in names if kind(getattr(module, name))]


# ---------------------------------------------------------------- nothing is missing
def test_modules_of_torch() -> None:
    torch = pytest.importorskip("torch")
    modules = public(
        torch.nn, lambda x: inspect.isclass(x) and issubclass(x, (torch.nn.Module, torch.Tensor))
    )
    assert len(modules) > 150
    assert not missing("from_torch.md", modules)


def test_functions_of_torch() -> None:
    torch = pytest.importorskip("torch")
    functions = public(torch.nn.functional)
    assert len(functions) > 120
    assert not missing("from_torch.md", functions, nn)


def test_initializers_and_utilities_of_torch() -> None:
    torch = pytest.importorskip("torch")
    initializers = [n for n in public(torch.nn.init) if n.endswith("_")]
    assert len(initializers) > 10
    found, _ = listed("from_torch.md")
    assert set(initializers) | {"calculate_gain"} <= found  # not by the pattern of functions
    utils = torch.nn.utils
    assert not missing("from_torch.md", public(utils, lambda x: True))
    # Of these modules `__all__` has what is meant to be used.
    for name in ("rnn", "parametrizations"):
        module = getattr(utils, name)
        inside = [f"{name}.{n}" for n in module.__all__ if n != "invert_permutation"]
        assert not missing("from_torch.md", inside)


def test_optimizers_and_schedulers_of_torch() -> None:
    torch = pytest.importorskip("torch")
    optimizers = public(torch.optim, inspect.isclass)
    assert len(optimizers) > 12
    assert not missing("from_torch.md", optimizers)
    for name in ("lr_scheduler", "swa_utils"):
        module = importlib.import_module(f"torch.optim.{name}")
        inside = [f"{name}.{n}" for n in module.__all__]
        assert inside
        assert not missing("from_torch.md", inside)


def test_names_of_jax_nn() -> None:
    jax = pytest.importorskip("jax")
    assert not missing("from_jax.md", public(jax.nn), nn)
    assert not missing("from_jax.md", public(jax.nn.initializers), nn.initializers)


def test_names_of_optax() -> None:
    optax = pytest.importorskip("optax")
    names = public(optax, lambda x: not isinstance(x, types.ModuleType))
    assert len(names) > 150
    assert not missing("from_jax.md", names, optim)
    for module in (optax.losses, optax.schedules, optax.transforms):
        assert not missing("from_jax.md", public(module), optim)


@pytest.mark.parametrize("library", ["flax.linen", "equinox.nn"])
def test_layers_of_flax_and_equinox(library: str) -> None:
    module = pytest.importorskip(library)
    layers = public(module, inspect.isclass)
    if library == "flax.linen":
        layers = [n for n in layers if issubclass(getattr(module, n), module.Module)]
    assert len(layers) > 25
    assert not missing("from_jax.md", layers, nn)


# ---------------------------------------------------------------- what is named exists
def snippets() -> list[tuple[str, str]]:
    """All code in what to write, and code in notes and reasons that begins with one of `ROOTS`."""
    found = []
    for page in PAGES:
        for _, row in tables(page):
            found += [(page, text) for text in code(row.get("nr", ""))]
        text = (DOCS / page).read_text()
        found += [
            (page, c) for c in code(text) if re.match(rf"({'|'.join(ROOTS)}|partial)[.(]\w", c)
        ]
    return sorted(set(found))


def resolved(node: ast.expr) -> Any:
    """What a chain of names beginning with one of `ROOTS` stands for; None for all else."""
    if isinstance(node, ast.Name):
        return ROOTS.get(node.id)
    if isinstance(node, ast.Attribute):
        base = resolved(node.value)
        if isinstance(base, types.ModuleType) and not hasattr(base, node.attr):
            return importlib.import_module(f"{base.__name__}.{node.attr}")
        return None if base is None else getattr(base, node.attr)
    return None


@pytest.mark.parametrize(("page", "text"), snippets())
def test_what_to_write_exists_and_takes_these_arguments(page: str, text: str) -> None:
    tree = ast.parse(text.replace("...", "model"), mode="eval")
    chains = [n for n in ast.walk(tree) if isinstance(n, (ast.Attribute, ast.Name))]
    for node in chains:
        resolved(node)  # raises AttributeError or ModuleNotFoundError
    for call in [n for n in ast.walk(tree) if isinstance(n, ast.Call)]:
        function, args = resolved(call.func), call.args
        partly = isinstance(call.func, ast.Name) and call.func.id == "partial"
        if partly:
            function, *args = [resolved(args[0]), *args[1:]]
        if function is None:
            continue
        signature = inspect.signature(function)
        bind = signature.bind_partial if partly else signature.bind
        bind(*args, **{k.arg: None for k in call.keywords if k.arg})


def test_the_check_of_code_can_fail() -> None:
    for text, error in (
        ("nn.Liner", AttributeError),
        ("nn.max_pool(x, size=3)", TypeError),
        ("nn.Linear.init(3)", TypeError),
        ("partial(nn.max_pool, size=3)", TypeError),
    ):
        with pytest.raises((error, ModuleNotFoundError)):
            test_what_to_write_exists_and_takes_these_arguments("", text)
    assert missing("from_torch.md", ["Conv2d", "Conv4d", "LazyConv2d"]) == ["Conv4d"]


def test_each_row_has_names_of_the_library() -> None:
    """A misspelt name in a table would hide nothing, but would mislead."""
    torch = pytest.importorskip("torch")
    places = [torch.nn, torch.nn.functional, torch.nn.init, torch.nn.utils, torch.optim, torch]
    places += [torch.nn.utils.parametrizations]
    for heading, row in tables("from_torch.md"):
        if "why" in row:
            continue
        for column, cell in row.items():
            if column in ("nr", "notes"):
                continue
            for name in [n for entry in code(cell) for n in expanded(entry)]:
                path = name.removeprefix("torch.").split(".")
                known = any(_has(place, path) for place in places)
                assert known, f"{heading}: PyTorch has no {name}"


def _has(place: Any, path: list[str]) -> bool:
    for name in path:
        if not hasattr(place, name):
            return False
        place = getattr(place, name)
    return True


# ---------------------------------------------------------------- it does what PyTorch does
def written(heading: str, column: str) -> dict[str, Any]:
    """By PyTorch's name, what the first code of a row in `from_torch.md` makes."""
    return {
        name: code(row["nr"])[0]
        for where, row in tables("from_torch.md")
        if where == heading
        for name in code(row[column])
    }


# Of the norm of the weights, after 15 steps, in float64. Others than 1e-12, where PyTorch corrects
# the bias of eps too, bounds a norm by eps to which we add it, keeps a product of momenta in
# float32; and where the rate as written is a float32, rounded by 6e-8 at each step.
STEPS_RTOL = {"RAdam": 1e-8, "Muon": 1e-9, "NAdam": 1e-9}
STEPS_RTOL |= {"Adafactor": 15 * 6e-8, "ASGD": 15 * 6e-8}
OPTIMIZERS = ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad"]
OPTIMIZERS += ["Adadelta", "Adafactor", "Muon", "Rprop", "ASGD"]
OPTIONS = {"SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_as_written_make_the_steps_of_torch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # in Muon
    rng = np.random.default_rng(0)
    start, a, b = rng.normal(size=(4, 3)), rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    weights = torch.tensor(start.T.copy(), requires_grad=True)  # matrices have its layout
    theirs = getattr(torch.optim, name)([weights], **OPTIONS.get(name, {}))
    ours = eval(written("torch.optim", "class")[name], dict(ROOTS))
    params = jnp.asarray(start)
    state = ours.init(params)
    for _ in range(15):
        theirs.zero_grad()
        ((torch.tensor(a) @ weights.T - torch.tensor(b)) ** 2).sum().backward()
        theirs.step()
        grads = 2 * a.T @ (a @ params - b)
        updates, state = ours.update(grads, state, params)
        params = optim.apply_updates(params, updates)
    expected = weights.detach().numpy().T
    assert np.linalg.norm(expected - start) > 1e-3 * np.linalg.norm(start)
    difference = np.linalg.norm(params - expected) / np.linalg.norm(expected)
    assert difference < STEPS_RTOL.get(name, 1e-12), difference


SCHEDULERS: dict[str, tuple[Any, ...]] = {
    "LambdaLR": (lambda step: 0.95**step,),
    "StepLR": (30,),
    "MultiStepLR": ([30, 80],),
    "ConstantLR": (),
    "LinearLR": (),
    "ExponentialLR": (0.95,),
    "PolynomialLR": (),
    "CosineAnnealingLR": (100,),
    "CosineAnnealingWarmRestarts": (10, 2),
    "CyclicLR": (0.01, 0.1, 2000, None, "triangular", 1.0, None, "cycle", False),
    "OneCycleLR": (0.1, 1000),
}


@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedules_as_written_are_those_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, *SCHEDULERS[name])
    steps = {"OneCycleLR": 1000, "CyclicLR": 2500}.get(name, 101)
    expected = []
    for i in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        if i < steps - 1:
            scheduler.step()
    schedule = eval(written("torch.optim", "class")[f"lr_scheduler.{name}"], dict(ROOTS))
    got = nr.vmap(schedule)(jnp.arange(steps))
    assert np.ptp(expected) > 0.01
    # Rates of 0.1 in float32, from a few operations each.
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-8)
