"""Sorts, selections and cumulative sums of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

SHAPE = (4096, 1024)
BYTES = 4.0 * SHAPE[0] * SHAPE[1]
K = 8


def _matrix() -> tuple:
    """Normal numbers, all different: the order of equal ones is the library's own."""
    rng = np.random.default_rng(0)
    count = SHAPE[0] * SHAPE[1]
    values = np.unique(rng.standard_normal(count + count // 4, np.float32))
    return (rng.permutation(values)[:count].reshape(SHAPE),)


def _top_k(lib: Any) -> Callable:
    return lambda x: lib.lax.top_k(x, K)


def _sort_numpy(x: Any) -> Callable[[], Any]:
    return lambda: np.sort(x, axis=-1)


def _argsort_numpy(x: Any) -> Callable[[], Any]:
    return lambda: np.argsort(x, axis=-1)


def _row(
    name: str,
    program: Callable[[Any], Callable],
    torch: Callable,
    written: float,
    numpy: Callable | None = None,
    tolerance: float = 0,
    why: str = "",
) -> Row:
    return Row(
        name,
        "ordering",
        inputs=_matrix,
        program=program,
        torch={"eager": torch},
        numpy=numpy,
        peers=("jax", "torch", "numpy"),
        read=BYTES,
        written=written,
        tolerance=tolerance,
        why=why,
    )


ROWS = [
    _row(
        "sort",
        lambda lib: lambda x: lib.numpy.sort(x, axis=-1),
        lambda x: lambda: x.sort(-1).values,
        BYTES,
        _sort_numpy,
    ),
    _row(
        "argsort",
        lambda lib: lambda x: lib.numpy.argsort(x, axis=-1),
        lambda x: lambda: x.argsort(-1),
        BYTES,
        _argsort_numpy,
    ),
    _row(f"top-k {K}", _top_k, lambda x: lambda: list(x.topk(K)), 8.0 * SHAPE[0] * K),
    _row(
        "cumsum",
        lambda lib: lambda x: x.cumsum(-1),
        lambda x: lambda: x.cumsum(-1),
        BYTES,
        tolerance=1e-5,  # sums of rounded terms, in another order
    ),
    _row(
        "argmax",
        lambda lib: lambda x: x.argmax(-1),
        lambda x: lambda: x.argmax(-1),
        4.0 * SHAPE[0],
    ),
]
