"""Protects concatenations stored piece by piece: without it, each element computes all pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from tests.util import check_compiled


def text(f: Callable, *args: Any) -> str:
    return nr.jit(f).lower(*args).as_text("loops")


def array(*shape: int) -> Any:
    """Whole numbers, of which sums and products are exact."""
    return jnp.asarray(np.random.default_rng(len(shape)).integers(-8, 9, shape), "float32")


def test_pieces_within_pieces_are_stored_by_one_kernel() -> None:
    def f(a: Any, b: Any) -> Any:
        return jnp.concatenate([jnp.stack([a * 2, b + 1], 1), jnp.stack([a - b, b * 3], 1)], 2)

    a = array(8, 16, 32)
    loops = text(f, a, a + 1)
    assert loops.count("kernel") == 1 and loops.count("out0[") == 4 and "select" not in loops
    check_compiled(f, a, a + 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_stacks_and_concatenations_along_any_axis(axis: int, count: int) -> None:
    def f(x: Any) -> Any:
        parts = [x * k - k for k in range(count)]
        return jnp.concatenate(parts, axis), jnp.stack(parts, axis).sum(axis), parts[0]

    check_compiled(f, array(3, 4, 16))


def test_pieces_of_different_sizes_and_pieces_that_are_stored() -> None:
    def f(a: Any, b: Any) -> Any:
        joined = jnp.concatenate([a + 1, b * 2, a - 3], 1)
        again = jnp.concatenate([a, a], 1)
        return joined, again, jnp.concatenate([again * 2, jnp.concatenate([a, b[:, :16]], 1)], 0)

    check_compiled(f, array(4, 16), array(4, 24))


def slices(x: Any) -> Any:
    a, b, c, d = jnp.split(x, 4, -1)
    return (a * b + c * d * d).sum() + (b * c).sum()


def test_gradients_of_slices_are_stored_side_by_side() -> None:
    x = array(6, 64)
    loops = text(nr.grad(slices), x)
    assert loops.count("out0[") == 4 and "select" not in loops
    check_compiled(nr.grad(slices), x)
    check_compiled(nr.vmap(nr.grad(slices)), array(3, 6, 64))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_sums_of_padded_parts_in_any_order(order: tuple[int, ...]) -> None:
    def f(*parts: Any) -> Any:
        padded = [
            lax.pad(p, 0.0, [(0, 0, 0), (16 * k, 32 - 16 * k, 0)]) for k, p in enumerate(parts)
        ]
        one, two, three = [padded[k] for k in order]
        return one + two + three

    parts = [array(5, 16) + k for k in range(3)]
    assert text(f, *parts).count("out0[") == 3
    check_compiled(f, *parts)


@pytest.mark.parametrize(
    "padding",
    [
        [((0, 0, 0), (0, 16, 0)), ((0, 0, 0), (15, 1, 0))],  # they overlap, and leave a gap
        [((0, 0, 0), (0, 16, 0)), ((0, 0, 0), (16, 0, 0))],
        [((0, 16, 0), (0, 16, 0)), ((16, 0, 0), (16, 0, 0))],  # along both dimensions
        [((0, 0, 0), (0, 1, 1)), ((0, 0, 0), (1, 0, 1))],  # between the elements
    ],
)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_other_sums_of_padded_parts_stay_sums(padding: list, value: float) -> None:
    def f(a: Any, b: Any) -> Any:
        first, second = [lax.pad(x, value, c) for x, c in zip((a, b), padding, strict=True)]
        return first + second, first * 2

    check_compiled(f, array(16, 16), array(16, 16) + 1)


def test_stacks_of_rolled_arrays_are_stored_array_by_array() -> None:
    """A rolled array is a concatenation of two parts of different sizes."""

    def f(x: Any) -> Any:
        shifts = [(k % 3 - 1, k // 3 - 1) for k in range(9)]
        rolled = jnp.stack([jnp.roll(x[k], s, (0, 1)) for k, s in enumerate(shifts)])
        return rolled - rolled.sum(0)

    x = array(9, 24, 48)
    first, _ = text(f, x).split("kernel")[1:]
    assert first.count("] = ") == 9, first
    assert "//" not in first, "places are not divided"
    check_compiled(f, x)
    check_compiled(nr.grad(lambda x: (f(x) * x).sum()), x)
