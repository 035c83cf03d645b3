"""Elementwise kernels on arrays beyond the caches of a core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

SHAPE = (1024, 3072)
BYTES = 4.0 * SHAPE[0] * SHAPE[1]


def _normal(*shapes: tuple[int, ...]) -> tuple:
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)


def _row(
    name: str,
    program: Callable[[Any], Callable],
    torch: Callable,
    arguments: int = 1,
    why: str = "",
) -> Row:
    return Row(
        name,
        "elementwise",
        inputs=lambda: _normal(*[SHAPE] * arguments),
        program=program,
        torch={"eager": torch},
        read=arguments * BYTES,
        written=BYTES,
        tolerance=1e-6,  # some ulp of the largest result
        floor_factor=1.3,
        why=why,
    )


def _softplus(x: Any) -> Callable[[], Any]:
    from torch.nn.functional import softplus

    return lambda: softplus(x)


def _gelu(lib: Any) -> Callable:
    return lambda x, bias, residual: lib.nn.gelu(x + bias, approximate=True) + residual


def _gelu_eager(x: Any, bias: Any, residual: Any) -> Callable[[], Any]:
    from torch.nn.functional import gelu

    return lambda: gelu(x + bias, approximate="tanh") + residual


def _gelu_compiled(x: Any, bias: Any, residual: Any) -> Callable[[], Any]:
    import torch
    from torch.nn.functional import gelu

    f = torch.compile(lambda x, bias, residual: gelu(x + bias, approximate="tanh") + residual)
    return lambda: f(x, bias, residual)


ROWS = [
    _row(
        "add",
        lambda lib: lib.numpy.add,
        lambda x, y: lambda: x + y,
        arguments=2,
        why="At the floor on Intel. Where cores share no cache, as the two of some AMD machines, it"
        " counts which of them has an array in its own; times vary by a third from run to run.",
    ),
    _row("exp", lambda lib: lib.numpy.exp, lambda x: x.exp),
    _row("tanh", lambda lib: lib.numpy.tanh, lambda x: x.tanh),
    _row("erf", lambda lib: lib.lax.erf, lambda x: x.erf),
    _row("sin", lambda lib: lib.numpy.sin, lambda x: x.sin),
    _row(
        "softplus",
        lambda lib: lib.nn.softplus,
        _softplus,
        why="An exp and a log1p an element take longer than memory does.",
    ),
    Row(
        "gelu(x + bias) + residual",
        "elementwise",
        inputs=lambda: _normal(SHAPE, SHAPE[1:], SHAPE),
        program=_gelu,
        torch={"eager": _gelu_eager, "compile": _gelu_compiled},
        read=2 * BYTES,
        written=BYTES,
        tolerance=1e-6,
        floor_factor=1.3,
    ),
]
