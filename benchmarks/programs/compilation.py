"""What a program costs before it runs: tracing, compilation, import; each in a new process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

from programs.models import GPT, adam_seen, adam_setup, adam_step, mlp_inputs, mlp_loss

CHAIN = 200


def _chain(lib: Any) -> Callable:
    np_ = lib.numpy

    def chain(x: Any) -> Any:
        for i in range(CHAIN):
            f = (np_.sin, np_.tanh, np_.exp, np_.square)[i % 4]
            x = f(x) * (0.5 + i / CHAIN) - 0.25
        return x

    return chain


def _chain_inputs() -> tuple:
    return (np.linspace(-1, 1, 4096, dtype=np.float32),)


def _trace(lib: Any) -> Callable:
    """Traces a training step; there is no result to compare but that it could be traced."""
    step = adam_step(lib, GPT().loss(lib))

    def trace(*args: Any) -> np.ndarray:
        lib.make_jaxpr(step)(*args)
        return np.zeros(())

    return trace


def _compiled(name: str, inputs: Callable, loss: Callable, tolerance: float) -> Row:
    return Row(
        name,
        "compile",
        inputs=inputs,
        program=lambda lib: adam_step(lib, loss(lib)),
        setup=adam_setup,
        carry=2,
        seen=adam_seen,
        metric="first",
        tolerance=tolerance,
    )


_TINY = "jit(lambda x: x + 1)(numpy.ones(3)).block_until_ready()"

ROWS = [
    _compiled("MLP step", mlp_inputs, mlp_loss, 3e-5),
    _compiled("GPT step, 4 layers", GPT().inputs, GPT().loss, 1e-4),
    _compiled("GPT step, 12 layers", GPT(layers=12).inputs, GPT(layers=12).loss, 3e-4),
    Row(
        f"chain of {3 * CHAIN} elementwise operations",
        "compile",
        inputs=_chain_inputs,
        program=_chain,
        metric="first",
        # 200 functions of each other's results: nr is 4e-5 from float64, JAX 9e-5.
        tolerance=2e-4,
    ),
    Row(
        "GPT step, 4 layers: tracing alone",
        "compile",
        inputs=GPT().inputs,
        program=_trace,
        setup=adam_setup,
        jit=False,
        metric="first",
        tolerance=0,
    ),
    Row(
        "import",
        "import",
        scripts={name: f"import {name}" for name in ("nr", "jax", "torch", "numpy")},
        metric="first",
    ),
    Row(
        "import and first jitted call",
        "import",
        scripts={
            "nr": f"import nr; nr.{_TINY.replace('numpy', 'nr.numpy')}",
            "jax": f"import jax; jax.{_TINY.replace('numpy', 'jax.numpy')}",
            "torch": "import torch; torch.ones(3) + 1",
        },
        metric="first",
    ),
]
