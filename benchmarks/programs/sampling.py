"""Random numbers, dropout, and the gradient of an embedding.

nr and JAX draw the same bits; PyTorch and NumPy draw their own, of which moments are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

COUNT = 1_000_000
SHAPE, RATE = (1024, 3072), 0.1
VOCABULARY, WIDTH, TOKENS = 32_000, 256, 4096


def _key(lib: Any, *args: Any) -> tuple:
    return lib.random.PRNGKey(0), *args


def _draws(name: str, torch: str, numpy: str, why: str = "") -> Row:
    def program(lib: Any) -> Callable:
        return lambda key: getattr(lib.random, name)(key, (COUNT,))

    def draw_torch() -> Callable[[], Any]:
        import torch as library

        return lambda: getattr(library, torch)(COUNT)

    def draw_numpy() -> Callable[[], Any]:
        draw = getattr(np.random.default_rng(0), numpy)
        return lambda: draw(COUNT, np.float32)

    return Row(
        f"{name}, {COUNT:,} float32",
        "sampling",
        program=program,
        setup=_key,
        torch={"eager": draw_torch},
        numpy=draw_numpy,
        own_draws=True,
        written=4.0 * COUNT,
        tolerance=1e-6,  # some ulp of the largest one
        why=why,
    )


# ---------------------------------------------------------------- dropout
def _normal() -> tuple:
    """An input and a cotangent."""
    return tuple(np.random.default_rng(0).standard_normal((2, *SHAPE), np.float32))


def _dropout(lib: Any) -> Callable:
    def dropout(key: Any, x: Any, cotangent: Any) -> tuple:
        def drop(x: Any) -> Any:
            keep = lib.random.bernoulli(key, 1 - RATE, x.shape)
            return lib.numpy.where(keep, x / (1 - RATE), 0)

        out, pull = lib.vjp(drop, x)
        return out, *pull(cotangent)

    return dropout


def _dropout_torch(x: Any, cotangent: Any) -> Callable[[], Any]:
    import torch
    from torch.nn.functional import dropout

    x.requires_grad_()

    def run() -> Any:
        out = dropout(x, RATE)
        return [out.detach(), *torch.autograd.grad(out, x, cotangent)]

    return run


# ---------------------------------------------------------------- embedding
def _embedding_inputs() -> tuple:
    """A table, tokens, and a cotangent."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((VOCABULARY, WIDTH), np.float32)
    tokens = rng.integers(0, VOCABULARY, TOKENS, np.int32)
    return table, tokens, rng.standard_normal((TOKENS, WIDTH), np.float32)


def _embedding(lib: Any) -> Callable:
    def gradient(table: Any, tokens: Any, cotangent: Any) -> Any:
        return lib.vjp(lambda table: table[tokens], table)[1](cotangent)[0]

    return gradient


def _embedding_torch(table: Any, tokens: Any, cotangent: Any) -> Callable[[], Any]:
    import torch
    from torch.nn.functional import embedding

    out = embedding(tokens.long(), table.requires_grad_())
    return lambda: torch.autograd.grad(out, table, cotangent, retain_graph=True)[0]


ROWS = [
    _draws("normal", "randn", "standard_normal"),
    _draws("uniform", "rand", "random"),
    Row(
        "dropout and its gradient, 1024x3072",
        "sampling",
        inputs=_normal,
        program=_dropout,
        setup=_key,
        torch={"eager": _dropout_torch},
        own_draws=True,
        read=8.0 * SHAPE[0] * SHAPE[1],
        written=8.0 * SHAPE[0] * SHAPE[1],
        grad=True,
        tolerance=1e-6,
    ),
    Row(
        "embedding gradient, 32,000x256, 4,096 tokens",
        "sampling",
        inputs=_embedding_inputs,
        program=_embedding,
        torch={"eager": _embedding_torch},
        read=4.0 * TOKENS * WIDTH,
        written=4.0 * VOCABULARY * WIDTH,
        grad=True,
        tolerance=1e-6,  # sums of a few terms
    ),
]
