"""Composed transforms: vmap of while, vmap of grad, forward over reverse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row, leaves

SIZES, BATCH = (128, 256, 10), 64
DIMENSION = 100


# ---------------------------------------------------------------- vmapped while
def _starts() -> tuple:
    return (np.arange(1, 4097, dtype=np.int32),)


def _collatz(lib: Any) -> Callable:
    """The number of Collatz steps from each number to 1: 237 at most here."""
    np_ = lib.numpy

    def count(n: Any) -> Any:
        def step(state: tuple) -> tuple:
            n, steps = state
            return np_.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1

        return lib.lax.while_loop(lambda state: state[0] != 1, step, (n, np_.int32(0)))[1]

    return lib.vmap(count)


def _collatz_torch(starts: Any) -> Callable[[], Any]:
    import torch

    def run() -> Any:
        n, steps = starts, torch.zeros_like(starts)
        while (going := n != 1).any():
            n = torch.where(going, torch.where(n % 2 == 0, n // 2, 3 * n + 1), n)
            steps = steps + going
        return steps

    return run


# ---------------------------------------------------------------- per-example gradients
def _examples() -> tuple:
    rng = np.random.default_rng(0)
    params = [
        {
            "w": rng.standard_normal((m, n), np.float32) * np.float32(m**-0.5),
            "b": np.zeros(n, np.float32),
        }
        for m, n in zip(SIZES[:-1], SIZES[1:])
    ]
    return params, *(rng.standard_normal((BATCH, n), np.float32) for n in (SIZES[0], SIZES[-1]))


def _loss(tanh: Callable, params: Any, x: Any, y: Any) -> Any:
    hidden = tanh(x @ params[0]["w"] + params[0]["b"])
    return ((hidden @ params[1]["w"] + params[1]["b"] - y) ** 2).mean()


def _per_example(lib: Any) -> Callable:
    def loss(params: Any, x: Any, y: Any) -> Any:
        return _loss(lib.numpy.tanh, params, x, y)

    return lib.vmap(lib.grad(loss), in_axes=(None, 0, 0))


def _per_example_torch(compiled: bool) -> Callable:
    def build(params: Any, x: Any, y: Any) -> Callable[[], Any]:
        import torch

        def loss(params: Any, x: Any, y: Any) -> Any:
            return _loss(torch.tanh, params, x, y)

        f = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
        f = torch.compile(f) if compiled else f
        return lambda: f(params, x, y)

    return build


# ---------------------------------------------------------------- Hessian
def _point() -> tuple:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((DIMENSION, DIMENSION), np.float32) * np.float32(DIMENSION**-0.5)
    return rng.standard_normal(DIMENSION, np.float32), a


def _valley(tanh: Callable, x: Any, a: Any) -> Any:
    """Rosenbrock's function in n dimensions, plus terms that couple all of them."""
    rosenbrock = (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()
    return rosenbrock + (tanh(a @ x) ** 2).sum()


def _hessian(lib: Any) -> Callable:
    return lib.hessian(lambda x, a: _valley(lib.numpy.tanh, x, a))


def _hessian_torch(compiled: bool) -> Callable:
    def build(x: Any, a: Any) -> Callable[[], Any]:
        import torch

        f = torch.func.hessian(lambda x, a: _valley(torch.tanh, x, a))
        f = torch.compile(f) if compiled else f
        return lambda: f(x, a)

    return build


def _per_example_bytes() -> float:
    """The gradients are what is written: BATCH times the parameters."""
    return 4.0 * BATCH * sum(m * n + n for m, n in zip(SIZES[:-1], SIZES[1:]))


ROWS = [
    Row(
        "vmapped while: Collatz from 1 to 4,096",
        "transforms",
        inputs=_starts,
        program=_collatz,
        torch={"eager loop": _collatz_torch},
        tolerance=0,
    ),
    Row(
        "per-example gradients, MLP 128-256-10, batch 64",
        "transforms",
        inputs=_examples,
        program=_per_example,
        seen=lambda grads: list(leaves(grads)),
        torch={"eager": _per_example_torch(False), "compile": _per_example_torch(True)},
        read=_per_example_bytes() / BATCH,
        written=_per_example_bytes(),
        tolerance=1e-5,  # float32 products of length 256
    ),
    Row(
        "Hessian, n 100",
        "transforms",
        inputs=_point,
        program=_hessian,
        torch={"eager": _hessian_torch(False), "compile": _hessian_torch(True)},
        flops=2.0 * 2 * DIMENSION**3,  # a's rows by the tangents, and back
        tolerance=1e-5,  # float32 products of length 100
    ),
]
