"""Protects what is emitted twice, for places between borders and for all: without it, rolled and
padded arrays have wrong elements at their ends, or conditions on every one."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler.borders import between_borders
from nr.backends.compiler.expr import Expr, compiling
from nr.backends.compiler.index import Loop, index_of
from nr.backends.compiler.loops import Buffer, Kernel, Pass, Store, load
from nr.backends.compiler.lowering.rules import from_index
from tests.util import check_compiled

properties = settings(max_examples=150, deadline=None, derandomize=True)


def array(*shape: int, dtype: str = "float32") -> Any:
    """Whole numbers, of which sums are exact."""
    numbers = np.random.default_rng(len(shape)).integers(-1, 2, shape)
    return jnp.asarray(numbers, dtype)


def neighbours(x: Any) -> Any:
    """Sums of what is around each element, of an array that ends where it begins."""
    total = 3 * x
    for d, shift in itertools.product(range(x.ndim), (-1, 1, 2)):
        total = total + jnp.roll(x, shift, d)
    return total


SHAPES = [(1,), (2,), (16,), (17,), (100,), (3, 5), (31, 33), (24, 128), (7, 200), (5, 6, 70)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bfloat16", "complex64"])
def test_rolled_arrays(shape: tuple[int, ...], dtype: str) -> None:
    x = array(*shape, dtype=dtype)
    check_compiled(neighbours, x)
    check_compiled(lambda x: lax.scan(lambda c, _: (neighbours(c) - c, c), x, None, length=2), x)
    check_compiled(lambda x: neighbours(x[::-1])[..., ::-1], x)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_rolled_arrays(shape: tuple[int, ...]) -> None:
    x = array(*shape)
    check_compiled(nr.grad(lambda x: (neighbours(x) * neighbours(neighbours(x))).sum()), x)


@pytest.mark.parametrize("ends", [(1, 1), (0, 3), (40, 2), (-1, 5), (-2, -3)])
@pytest.mark.parametrize("between", [0, 1])
def test_padded_arrays(ends: tuple[int, int], between: int) -> None:
    def f(x: Any) -> Any:
        wide = lax.pad(x * 2, 5.0, [(*ends, between), (*ends, 0)])
        return wide + 1, wide.sum(0), jnp.maximum(wide[:, 1:], wide[:, :-1])

    check_compiled(f, array(20, 67))


def test_sums_of_windows_at_borders() -> None:
    """Conditions on a kept loop and a reduced one together."""
    for k, stride in itertools.product((2, 3, 5), (1, 2)):
        x = array(2, 20, 40, 3)
        window, strides = (1, k, k, 1), (1, stride, stride, 1)
        check_compiled(
            lambda x, w=window, s=strides: lax.reduce_window(x, 0.0, lax.add, w, s, "SAME"), x
        )
        check_compiled(
            lambda x, w=window, s=strides: lax.reduce_window(x, -9.0, lax.max, w, s, "SAME"), x
        )


def test_arrays_one_after_another() -> None:
    for n in (1, 15, 16, 100):
        parts = [array(5, n), array(5, 90)]
        check_compiled(lambda a, b: jnp.concatenate([a * 2, b, a], 1) + 1, *parts)
        check_compiled(lambda a, b: jnp.concatenate([a.ravel(), b.ravel() * 2]) + 1, *parts)


def test_most_places_have_no_conditions() -> None:
    x = array(24, 128)
    loops = nr.jit(neighbours).lower(x).as_text("loops")
    assert "width=16:" in loops or "width=8:" in loops or "width=4:" in loops, loops
    text = nr.jit(neighbours).lower(x).as_text("llvm")
    inside = text[text.index("inside") : text.index("beside", text.index("inside"))]
    assert "select" not in inside and "masked" not in inside


def test_vectors_of_which_nothing_is_read_are_read_elsewhere() -> None:
    """Lanes that are passed over far away take hundreds of cycles."""
    text = nr.jit(neighbours).lower(array(24, 128)).as_text("llvm")
    loads = [line for line in text.splitlines() if "masked.load" in line and "call" in line]
    chosen = {line.split(" = ")[0].strip() for line in text.splitlines() if ", ptr @zeros" in line}
    assert loads and all([any([f"ptr {c}," in line for c in chosen]) for line in loads])


def test_what_is_read_between_borders_is_not_read_before() -> None:
    """Rows of which one element is read: beyond the border it may be no memory at all."""
    f = nr.jit(lambda x, y: jnp.pad(x, 1)[:, None] * y)
    text = f.lower(array(20), array(22, 2)).as_text("llvm")
    loads = [line for line in text[: text.index("\ninside")].splitlines() if "= load float" in line]
    chosen = {line.split(" = ")[0].strip() for line in text.splitlines() if ", ptr @zeros" in line}
    assert loads and all([any([f"ptr {c}," in line for c in chosen]) for line in loads])


@properties
@given(st.integers(0, 2**48))
def test_conditions_are_known_between_borders(seed: int) -> None:
    """By the answers of each condition at each step."""
    r = random.Random(seed)
    with compiling():
        width = r.choice([1, 4, 8])
        kept = [Loop(f"i{d}", r.choice([3, 8, 20, 64])) for d in range(2)]
        reduced = Loop("k", r.choice([2, 3]), reduced=True)
        source, target = [Buffer(name, "f32", 1 << 12) for name in "xy"]
        conditions = []
        value = load(source, index_of(0))
        for _ in range(r.randint(1, 3)):
            loop = r.choice(kept)
            index = index_of(loop) * r.choice([-2, -1, 1, 3]) + r.randint(-4, 8)
            if r.random() < 0.4:
                index = index + index_of(reduced) * r.choice([-1, 1, 2])
            guard = from_index(index, "i64")
            guard = guard < r.randint(0, 60) if r.random() < 0.5 else guard >= r.randint(0, 60)
            conditions.append((loop, guard))
            value = value + load(source, index, guard)
        store = Store(target, index_of(kept[0]) * kept[1].extent + index_of(kept[1]), value)
        kernel = Kernel(kept, [reduced], kept[1], [Pass(stores=[store])], 0, width)
        for loop, (low, high) in between_borders(kernel).items():
            assert 0 <= low <= high < loop.extent
            assert any([
                len(answers(guard, loop, range(low, high + 1), reduced)) == 1
                for of, guard in conditions if of is loop
            ])  # fmt: skip


def answers(guard: Expr, loop: Loop, steps: range, reduced: Loop) -> set[bool]:
    index, limit = guard.args[0].param, int(guard.args[1].param)
    return {
        (index.offset + index.terms[loop] * i + index.terms.get(reduced, 0) * k < limit)
        == (guard.op == "lt")
        for i in steps
        for k in range(reduced.extent)
    }
