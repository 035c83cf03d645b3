"""The cost of calling a model outside of jit, and jitted: small affine layers, one example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

WIDTH, DEPTH = 16, 3


def _inputs() -> tuple:
    """Parameters and one example, which is what Equinox's layers take."""
    rng = np.random.default_rng(0)
    params = [
        {
            "dense": rng.standard_normal((WIDTH, WIDTH), np.float32) * np.float32(WIDTH**-0.5),
            "b": rng.standard_normal(WIDTH, np.float32),
        }
        for _ in range(DEPTH)
    ]
    return params, rng.standard_normal(WIDTH, np.float32)


def _nr(jit: bool) -> Callable:
    def build(params: Any, x: Any) -> Callable[[], Any]:
        import nr

        first, *others = (nr.nn.Linear(p["dense"], p["b"]) for p in params)
        layers = [first]
        for layer in others:
            layers += [nr.nn.relu, layer]
        model = nr.nn.Sequential(layers)
        f = nr.jit(lambda model, x: model(x)) if jit else lambda model, x: model(x)
        return lambda: f(model, x)

    return build


def _by_hand(lib: Any) -> Callable:
    def model(params: Any, x: Any) -> Any:
        for p in params[:-1]:
            x = lib.nn.relu(x @ p["dense"] + p["b"])
        return x @ params[-1]["dense"] + params[-1]["b"]

    return model


def _flax(jit: bool) -> Callable:
    def build(params: Any, x: Any) -> Callable[[], Any]:
        from flax import nnx

        from programs.layers.flax_models import linear

        layers = []
        for p in params:
            layer = nnx.Linear(WIDTH, WIDTH, rngs=nnx.Rngs(0))
            linear(layer, p)
            layers += [nnx.relu, layer] if layers else [layer]
        model = nnx.Sequential(*layers)
        f = nnx.jit(lambda model, x: model(x)) if jit else lambda model, x: model(x)
        return lambda: f(model, x)

    return build


def _equinox(jit: bool) -> Callable:
    def build(params: Any, x: Any) -> Callable[[], Any]:
        import equinox as eqx
        import jax

        from programs.layers.equinox_models import KEY, linear

        layers = []
        for p in params:
            layer = linear(eqx.nn.Linear(WIDTH, WIDTH, key=KEY), p)
            layers += [eqx.nn.Lambda(jax.nn.relu), layer] if layers else [layer]
        model = eqx.nn.Sequential(layers)
        f = eqx.filter_jit(lambda model, x: model(x)) if jit else lambda model, x: model(x)
        return lambda: f(model, x)

    return build


def _torch(compiled: bool = False) -> Callable:
    def build(params: Any, x: Any) -> Callable[[], Any]:
        import torch

        layers: list = []
        for p in params:
            layer = torch.nn.Linear(WIDTH, WIDTH)
            layer.load_state_dict({"weight": p["dense"].t(), "bias": p["b"]})
            layers += [torch.nn.ReLU(), layer] if layers else [layer]
        model = torch.nn.Sequential(*layers)
        model = torch.compile(model) if compiled else model
        return lambda: model(x)

    return build


def _row(name: str, jit: bool, torch: dict[str, Callable], why: str = "") -> Row:
    return Row(
        name,
        "dispatch",
        inputs=_inputs,
        program=_by_hand,
        jit=jit,
        nr=_nr(jit),
        jax={"flax": _flax(jit), "equinox": _equinox(jit)},
        torch=torch,
        block=False,
        why=why,
    )


ROWS = [
    _row(
        "model call outside jit, 3 layers of width 16",
        False,
        {"eager": _torch()},
        why="PyTorch's operations are called from C++. The target is a fifth of Equinox's time.",
    ),
    _row("the same model jitted", True, {"compile": _torch(compiled=True)}),
]
