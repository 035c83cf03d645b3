"""Protects transposes that are done in registers: without it, elements of squares, of the rests
beside them or of other types change places, or transposed copies take 5-15 times as long."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.backends.cpu.target import target
from tests.util import check_compiled

DTYPES = ["float32", "float64", "bfloat16", "float16", "int8", "int32", "bool", "complex64"]


def array(*shape: int, dtype: str = "float32") -> Any:
    """Small whole numbers, different in each row and column."""
    return jnp.asarray(np.random.default_rng(len(shape)).integers(-99, 100, shape), dtype)


def changed(x: Any) -> Any:
    return ~x if x.dtype == bool else x + x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(16, 16), (64, 48), (17, 33), (100, 31), (8, 200), (3, 90), (1, 40), (33, 0)]
)
def test_matrices(shape: tuple[int, int], dtype: str) -> None:
    x = array(*shape, dtype=dtype)
    check_compiled(lambda x: changed(x.T), x)
    check_compiled(lambda x: changed(x[1:, 3:].T), x)
    check_compiled(lambda x: changed(x[::-1].T), x)
    check_compiled(lambda x: changed(x[:, ::-1].T), x)
    check_compiled(lambda x: changed(x[::2, ::2].T), x)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_orders_of_dimensions(axes: tuple[int, ...]) -> None:
    for shape in ((5, 20, 33), (32, 17, 16), (2, 64, 40), (40, 3, 18)):
        x = array(*shape)
        check_compiled(lambda x: jnp.transpose(x, axes) * 2, x)
        check_compiled(nr.vmap(lambda x: jnp.transpose(x, axes) - 1), array(3, *shape))
        check_compiled(nr.grad(lambda x: (jnp.transpose(x, axes) ** 2).sum()), x)


def test_beside_other_arrays() -> None:
    x, y = array(70, 45), array(45, 70) + 1
    check_compiled(lambda x, y: x.T + y, x, y)
    check_compiled(lambda x, y: (x.T * y, y - 1, x.T - y.T[::-1].T), x, y)
    check_compiled(lambda x, y: jnp.where(x.T > 0, y, x.T), x, y)
    check_compiled(lambda x, y: x.T + y[:, :1] + jnp.arange(70), x, y)
    check_compiled(lambda x: x[:45].T + x[:45].T[::-1], x)
    square = array(64, 64)
    check_compiled(lambda x: x + x.T, square)
    kept = nr.jit(lambda x: x + x.T, donate_argnums=0)(jnp.array(square))
    np.testing.assert_array_equal(np.asarray(kept), np.asarray(square + square.T))


def test_images_are_transposed_for_each_of_a_batch() -> None:
    x = array(20, 24, 9, 11)
    check_compiled(lambda x: x.transpose(0, 2, 3, 1) * 2, x)
    check_compiled(lambda x: x.transpose(0, 3, 1, 2) * 2, x)
    loops = nr.jit(lambda x: x.transpose(0, 2, 3, 1) * 2).lower(x).as_text("loops")
    assert "in 20 parallel" in loops and "by 1" in loops, loops


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_whole_squares_are_read_by_rows(dtype: str) -> None:
    lowered = nr.jit(lambda x: x.T + x[0, 0]).lower(array(64, 64, dtype=dtype))
    lanes = target().vector_bytes // (8 if dtype == "float64" else 4)
    if lanes < 4:
        pytest.skip("too few lanes")
    assert f"by {lanes}" in lowered.as_text("loops")
    assert "gather" not in lowered.as_text("llvm")
