"""Causal attention by itself: forward, and the gradients of query, key and value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

WIDTH = 64
SIZES = ((256, 8, 4), (1024, 2, 4), (4096, 1, 2))  # length, batch, heads


def _inputs(length: int, batch: int, heads: int) -> Callable[[], tuple]:
    """Query, key, value and a cotangent: f32[batch, length, heads, width]."""

    def inputs() -> tuple:
        rng = np.random.default_rng(0)
        return tuple(rng.standard_normal((4, batch, length, heads, WIDTH), np.float32))

    return inputs


def _forward(lib: Any) -> Callable:
    return lambda q, k, v, _: lib.nn.dot_product_attention(q, k, v, is_causal=True)


def _gradient(lib: Any) -> Callable:
    def gradient(q: Any, k: Any, v: Any, cotangent: Any) -> tuple:
        attention = lib.nn.dot_product_attention
        out, pull = lib.vjp(lambda *args: attention(*args, is_causal=True), q, k, v)
        return out, *pull(cotangent)

    return gradient


def _heads_first(args: tuple) -> list:
    """PyTorch's own layout, f32[batch, heads, length, width]."""
    return [x.transpose(1, 2).contiguous() for x in args]


def _forward_torch(*args: Any) -> Callable[[], Any]:
    from torch.nn.functional import scaled_dot_product_attention

    q, k, v, _ = _heads_first(args)
    return lambda: scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def _gradient_torch(*args: Any) -> Callable[[], Any]:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    *parts, cotangent = _heads_first(args)
    for part in parts:
        part.requires_grad_()

    def run() -> Any:
        out = scaled_dot_product_attention(*parts, is_causal=True)
        grads = torch.autograd.grad(out, parts, cotangent)
        return [x.detach().transpose(1, 2) for x in (out, *grads)]

    return run


def _rows(length: int, batch: int, heads: int) -> list[Row]:
    # A product of all pairs of positions; half of them count, as the mask hides the others.
    product = float(batch * heads * length**2 * WIDTH)
    size = 4.0 * batch * heads * length * WIDTH
    made = []
    for name, program, torch, products, arrays in (
        ("forward", _forward, _forward_torch, 2, (3, 1)),
        ("gradient", _gradient, _gradient_torch, 7, (4, 4)),
    ):
        made.append(
            Row(
                f"causal attention, T {length}, B {batch}, H {heads}: {name}",
                "attention",
                inputs=_inputs(length, batch, heads),
                program=program,
                torch={"scaled_dot_product_attention": torch},
                flops=products * product,
                read=arrays[0] * size,
                written=arrays[1] * size,
                grad=name == "gradient",
                tolerance=1e-5,  # weighted means of rounded terms, in another order
                why="Blocks on the diagonal are computed whole, and at two threads two heads are "
                "two tasks a step. First calls compile a dozen kernels.",
            )
        )
    return made


ROWS = [row for size in SIZES for row in _rows(*size)]
