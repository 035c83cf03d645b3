"""What a call costs that does next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row, leaves


def _ten() -> tuple:
    return np.arange(10, dtype=np.float32), np.ones(10, np.float32)


def _tree() -> tuple:
    """80 small leaves, in a tree like a model's."""
    one = np.ones(4, np.float32)
    return (
        {
            f"layer{i}": {"attention": {"w": one, "b": one}, "mlp": (one, one), "norm": one}
            for i in range(16)
        },
    )


def _pick(lib: Any) -> Callable:
    return lambda tree: tree["layer0"]["norm"] + 1


def _increment(lib: Any) -> Callable:
    return lambda tree: lib.tree.map(lambda x: x + 1, tree)


def _increment_torch(tree: dict) -> Callable[[], Any]:
    import torch

    parts = list(leaves(tree))
    return lambda: torch._foreach_add(parts, 1)


# ---------------------------------------------------------------- eager gradient
SIZES = ((16, 32), (32, 32), (32, 4))


def _mlp() -> tuple:
    rng = np.random.default_rng(0)
    params = [
        {"w": 0.3 * rng.standard_normal(s, np.float32), "b": np.zeros(s[1], np.float32)}
        for s in SIZES
    ]
    return params, rng.standard_normal((8, 16), np.float32)


def _mlp_loss(tanh: Callable, params: Any, x: Any) -> Any:
    for layer in params[:-1]:
        x = tanh(x @ layer["w"] + layer["b"])
    return ((x @ params[-1]["w"] + params[-1]["b"]) ** 2).mean()


def _mlp_grad(lib: Any) -> Callable:
    return lib.grad(lambda params, x: _mlp_loss(lib.numpy.tanh, params, x))


def _mlp_grad_torch(params: Any, x: Any) -> Callable[[], Any]:
    import torch

    weights = [p.requires_grad_() for p in leaves(params)]
    return lambda: torch.autograd.grad(_mlp_loss(torch.tanh, params, x), weights)


ROWS = [
    Row(
        "eager add of 10 numbers",
        "dispatch",
        inputs=_ten,
        program=lambda lib: lambda x, y: x + y,
        jit=False,
        torch={"eager": lambda x, y: lambda: x + y},
        numpy=lambda x, y: lambda: x + y,
        block=False,
        tolerance=0,
    ),
    Row(
        "jitted x + 1, 10 numbers",
        "dispatch",
        inputs=lambda: _ten()[:1],
        program=lambda lib: lambda x: x + 1,
        torch={"eager": lambda x: lambda: x + 1},
        block=False,
        tolerance=0,
    ),
    Row(
        "80 leaves in, 1 out",
        "dispatch",
        inputs=_tree,
        program=_pick,
        block=False,
        tolerance=0,
    ),
    Row(
        "80 leaves in, x + 1 of each out",
        "dispatch",
        inputs=_tree,
        program=_increment,
        torch={"foreach": _increment_torch},
        block=False,
        tolerance=0,
    ),
    Row(
        "eager gradient of MLP 16-32-32-4, batch 8",
        "dispatch",
        inputs=_mlp,
        program=_mlp_grad,
        jit=False,
        torch={"eager": _mlp_grad_torch},
        grad=True,
        block=False,
        why="Eager differentiation traces in Python; PyTorch records in C++. Under jit it is free.",
    ),
]
