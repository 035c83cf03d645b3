"""Matrix products: square, batched small ones, matrix by vector."""

from __future__ import annotations

from typing import Any

import numpy as np
from row import Row


def _normal(*shapes: tuple[int, ...]) -> tuple:
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)


def _product(lib: Any) -> Any:
    return lambda a, b: a @ b


def _row(name: str, left: tuple[int, ...], right: tuple[int, ...], why: str = "") -> Row:
    out = np.broadcast_shapes(left[:-2], right[:-2]) + left[-2:-1] + right[len(left) - 1 :]
    return Row(
        name,
        "matmul",
        inputs=lambda: _normal(left, right),
        program=_product,
        torch={"eager": lambda a, b: lambda: a @ b},
        flops=2.0 * np.prod(out) * left[-1],
        read=4.0 * (np.prod(left) + np.prod(right)),
        written=4.0 * np.prod(out),
        tolerance=1e-5,  # sums of up to 4096 rounded products, in another order
        why=why,
    )


_LARGE = "nr's products are slower than MKL's, which PyTorch calls."
_SMALL = (
    "A jitted call takes 2 us, 1 more than one of PyTorch's; in a loop, the product itself runs at "
    "the floor. First calls: LLVM compiles a tile and its rests."
)

ROWS = [
    *(_row(f"matmul {n}x{n}", (n, n), (n, n), _SMALL) for n in (64, 128, 256)),
    *(_row(f"matmul {n}x{n}", (n, n), (n, n), _LARGE) for n in (512, 1024, 2048)),
    _row("1024 batched 16x16", (1024, 16, 16), (1024, 16, 16)),
    _row("matrix-vector 4096x4096", (4096, 4096), (4096,)),
]
