"""Updates of AdamW: of one large leaf, and of many small ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from row import Row

RATE, DECAY = 1e-3, 1e-2


def _leaves(count: int, size: int) -> Callable[[], tuple]:
    """Parameters and gradients."""

    def inputs() -> tuple:
        rng = np.random.default_rng(0)

        def tree() -> dict:
            return {f"leaf{i:03}": rng.standard_normal(size, np.float32) for i in range(count)}

        return tree(), tree()

    return inputs


def _nr(params: Any, grads: Any) -> Callable[[], Any]:
    import nr

    return _updates(nr, nr.optim, params, grads)


def _optax(params: Any, grads: Any) -> Callable[[], Any]:
    import jax
    import optax

    return _updates(jax, optax, params, grads)


def _updates(lib: Any, optim: Any, params: Any, grads: Any) -> Callable[[], Any]:
    optimizer = optim.adamw(RATE, weight_decay=DECAY)

    @partial(lib.jit, donate_argnums=(0, 1))
    def update(params: Any, state: Any, grads: Any) -> tuple:
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state

    carry = [params, optimizer.init(params)]

    def call() -> Any:
        carry[:] = update(*carry, grads)
        return carry[0]

    return call


def _torch(params: Any, grads: Any, **options: bool) -> Callable[[], Any]:
    import torch

    for key, p in params.items():
        p.requires_grad_()
        p.grad = grads[key]
    rule = torch.optim.AdamW([*params.values()], RATE, weight_decay=DECAY, **options)

    def call() -> Any:
        rule.step()
        return params

    return call


def _row(name: str, count: int, size: int) -> Row:
    numbers = 4.0 * count * size
    return Row(
        name,
        "optimizers",
        inputs=_leaves(count, size),
        nr=_nr,
        jax={"optax": _optax},
        torch={
            "fused": partial(_torch, fused=True),
            "foreach": partial(_torch, foreach=True),
        },
        calls=3,
        read=4 * numbers,  # parameters, gradients and two averages
        written=3 * numbers,
        grad=True,
        tolerance=1e-5,
    )


ROWS = [
    _row("AdamW update, 1 leaf of 4,000,000", 1, 4_000_000),
    _row("AdamW update, 300 leaves of 10,000", 300, 10_000),
]
