"""Reductions and row kernels, written as users write them; PyTorch has its own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

SHAPE = (4096, 1024)
BYTES = 4.0 * SHAPE[0] * SHAPE[1]


def _matrix() -> tuple:
    return (np.random.default_rng(0).standard_normal(SHAPE, np.float32),)


def _softmax(lib: Any) -> Callable:
    np_ = lib.numpy

    def softmax(x: Any) -> Any:
        e = np_.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return softmax


def _layer_norm(lib: Any) -> Callable:
    np_ = lib.numpy

    def layer_norm(x: Any, scale: Any, bias: Any) -> Any:
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np_.sqrt(variance + 1e-5) * scale + bias

    return layer_norm


def _logsumexp(lib: Any) -> Callable:
    np_ = lib.numpy

    def logsumexp(x: Any) -> Any:
        largest = x.max(-1, keepdims=True)
        return np_.log(np_.exp(x - largest).sum(-1)) + largest[..., 0]

    return logsumexp


def _layer_norm_inputs() -> tuple:
    rng = np.random.default_rng(1)
    scale, bias = rng.standard_normal((2, SHAPE[1]), np.float32)
    return (*_matrix(), scale, bias)


def _layer_norm_torch(x: Any, scale: Any, bias: Any) -> Callable[[], Any]:
    from torch.nn.functional import layer_norm

    return lambda: layer_norm(x, SHAPE[1:], scale, bias, 1e-5)


def _transpose_one_pass(x: Any) -> Callable[[], Any]:
    import torch

    return lambda: torch.add(x.t(), 1, out=torch.empty(SHAPE[::-1]))


def _transpose_two_passes(x: Any) -> Callable[[], Any]:
    return lambda: x.t().contiguous().add_(1)


def _row(
    name: str,
    program: Callable[[Any], Callable],
    torch: Callable | dict[str, Callable],
    written: float,
    inputs: Callable[[], tuple] = _matrix,
    why: str = "",
) -> Row:
    return Row(
        name,
        "rows",
        inputs=inputs,
        program=program,
        torch=torch if isinstance(torch, dict) else {"eager": torch},
        read=BYTES,
        written=written,
        tolerance=1e-5,  # sums of rounded terms, in another order
        floor_factor=1.3,
        why=why,
    )


_EXP = "exp takes 0.19 ns an element and thread, more than memory does."

ROWS = [
    _row(
        "sum, axis 0",
        lambda lib: lambda x: x.sum(0),
        lambda x: lambda: x.sum(0),
        4 * SHAPE[1],
        why="Pieces of 1 KB a row: the processor prefetches less well than along whole rows.",
    ),
    _row("sum, axis 1", lambda lib: lambda x: x.sum(1), lambda x: lambda: x.sum(1), 4 * SHAPE[0]),
    _row("sum, whole", lambda lib: lambda x: x.sum(), lambda x: lambda: x.sum(), 4),
    _row("softmax", _softmax, lambda x: lambda: x.softmax(-1), BYTES, why=_EXP),
    _row("layer norm", _layer_norm, _layer_norm_torch, BYTES, _layer_norm_inputs),
    _row("logsumexp", _logsumexp, lambda x: lambda: x.logsumexp(-1), 4 * SHAPE[0], why=_EXP),
    _row(
        "variance",
        lambda lib: lambda x: x.var(-1),
        lambda x: lambda: x.var(-1, correction=0),
        4 * SHAPE[0],
    ),
    # The addition keeps libraries from returning a view.
    _row(
        "transpose, plus 1",
        lambda lib: lambda x: x.T + 1,
        {"one pass": _transpose_one_pass, "two passes": _transpose_two_passes},
        BYTES,
        why="Squares are transposed in registers; stores go to as many rows as there are lanes.",
    ),
]
