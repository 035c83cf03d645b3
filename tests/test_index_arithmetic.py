"""Without these tests a wrong simplification of an index would read or write another element.

Indices are built at random, together with the same arithmetic over a table of all values of the
loop variables, in the order in which the compiler builds them: flattening, slicing, reshaping.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nr.backends.compiler.expr import Expr, compiling, node
from nr.backends.compiler.index import (
    ZERO,
    Div,
    Index,
    Loop,
    Mod,
    flatten,
    index_of,
    reindexed,
    strides_of,
    unflatten,
)

properties = settings(max_examples=250, deadline=None, derandomize=True)
seeds = st.integers(0, 2**48)


def value_of(index: Index, env: dict) -> np.ndarray:
    """An index over all points, as machines compute it: divisions are of unsigned numbers."""
    total = np.asarray(index.offset)
    for atom, c in index.terms.items():
        if isinstance(atom, Div | Mod):
            inner = value_of(atom.index, env)
            assert (inner >= 0).all(), f"{index}: a negative number is divided"
            part = inner // atom.divisor if isinstance(atom, Div) else inner % atom.divisor
        else:
            part = env[atom]
        total = total + c * part
    return total


def points(loops: list[Loop]) -> dict[Loop, np.ndarray]:
    grids = np.meshgrid(*[np.arange(loop.extent) for loop in loops], indexing="ij")
    return dict(zip(loops, grids, strict=True))


class Grown:
    """Random indices beside their values; every operation keeps them equal, and not negative."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        extents = [self.random.choice([1, 2, 3, 4, 5, 6, 8, 12]) for _ in range(3)]
        self.loops = [Loop(f"i{d}", n) for d, n in enumerate(extents)]
        self.env: dict = dict(points(self.loops))
        self.known = [(index_of(loop), self.env[loop]) for loop in self.loops]

    def add_expression(self, low: int, high: int) -> None:
        """An atom of which nothing is known: a gathered index."""
        shape = [loop.extent for loop in self.loops]
        expr = node("load", (), "i64", f"gathered{len(self.env)}")
        values = np.random.default_rng(self.random.randrange(2**32)).integers(low, high, shape)
        self.env[expr] = values
        self.known.append((index_of(expr), values))

    def grow(self) -> None:
        r = self.random
        (a, x), (b, y) = r.choice(self.known), r.choice(self.known)
        n = r.randint(1, 13)
        which = r.randrange(7)
        if which == 0:
            new = (a + b, x + y)
        elif which == 1:
            new = (a * n, x * n)
        elif which == 2:
            new = (a // n, x // n)
        elif which == 3:
            new = (a % n, x % n)
        elif which == 4:
            new = (a * n + b % n, x * n + y % n)
        elif which == 5:
            new = (int(x.max()) - a, x.max() - x)  # reversed
        else:
            m = r.randint(-5, 5)
            new = (a + m, x + m)
        if (new[1] >= 0).all() and new[1].max() < 10**6:
            self.known.append(new)


@properties
@given(seeds)
def test_arithmetic_keeps_values(seed: int) -> None:
    grown = Grown(seed)
    for _ in range(12):
        grown.grow()
    for index, values in grown.known:
        np.testing.assert_array_equal(value_of(index, grown.env), values, str(index))


@properties
@given(seeds)
def test_arithmetic_with_gathered_indices_keeps_values(seed: int) -> None:
    with compiling():
        grown = Grown(seed)
        grown.add_expression(0, 9)
        for _ in range(12):
            grown.grow()
        for index, values in grown.known:
            np.testing.assert_array_equal(value_of(index, grown.env), values, str(index))


@properties
@given(seeds)
def test_ranges_hold_all_values(seed: int) -> None:
    grown = Grown(seed)
    for _ in range(12):
        grown.grow()
    for index, values in grown.known:
        bounds = index.range()
        assert bounds is not None, f"{index} has loop variables only"
        assert bounds[0] <= values.min() and values.max() <= bounds[1], str(index)
        if index.constant is not None:
            assert (values == index.constant).all()


@properties
@given(seeds)
def test_substitution_keeps_values(seed: int) -> None:
    """As scheduling does it: a loop is split in two, or given a constant."""
    grown = Grown(seed)
    for _ in range(10):
        grown.grow()
    loop = grown.random.choice(grown.loops)
    divisor = grown.random.choice([d for d in range(1, loop.extent + 1) if loop.extent % d == 0])
    outer, inner = Loop("o", loop.extent // divisor), Loop("i", divisor)
    new_loops = [x for x in grown.loops if x is not loop] + [outer, inner]
    env = points(new_loops)
    whole = env[outer] * divisor + env[inner]
    old_env = {x: whole if x is loop else env[x] for x in grown.loops}
    for index, _ in grown.known:
        new = index.substitute({loop: index_of(outer) * divisor + index_of(inner)}, same)
        assert loop not in new.loops()
        np.testing.assert_array_equal(value_of(new, env), value_of(index, old_env), str(index))
        fixed = index.substitute({loop: ZERO}, same)
        at_zero = {x: 0 * v if x is loop else v for x, v in grown.env.items()}
        np.testing.assert_array_equal(value_of(fixed, grown.env), value_of(index, at_zero))


def same(expr: Expr) -> Expr:
    return expr


def shapes(r: random.Random, size: int) -> tuple[int, ...]:
    """A shape of a given number of elements."""
    shape: list[int] = []
    while size > 1 and len(shape) < 4:
        n = r.choice([d for d in range(1, size + 1) if size % d == 0])
        shape.append(n)
        size //= n
    return (*shape, size) if size > 1 or r.random() < 0.2 else tuple(shape)


@properties
@given(seeds)
def test_moves_read_the_elements_that_numpy_reads(seed: int) -> None:
    """Reshapes, transposes, slices, reversals and broadcasts one after another: the flat place
    that is read in the first array."""
    r = random.Random(seed)
    start = shapes(r, r.choice([6, 24, 60, 72, 128, 210]))
    array = np.arange(math.prod(start)).reshape(start)
    moves: list[Callable[[tuple[Index, ...]], tuple[Index, ...]]] = []
    for _ in range(r.randint(1, 5)):
        before = array.shape
        which = r.randrange(5)
        if which == 0:
            array = array.reshape(shapes(r, array.size))
            moves.append(lambda p, a=array.shape, b=before: reindexed(p, a, b))
        elif which == 1:
            order = r.sample(range(array.ndim), array.ndim)
            array = array.transpose(order)
            back = [order.index(d) for d in range(len(order))]
            moves.append(lambda p, back=back: tuple([p[d] for d in back]))
        elif which == 2 and array.ndim:
            d, n = r.randrange(array.ndim), 0
            n = array.shape[d]
            low, step = r.randrange(n), r.randint(1, 3)
            array = array[(slice(None),) * d + (slice(low, None, step),)]
            moves.append(
                lambda p, d=d, low=low, step=step: (*p[:d], p[d] * step + low, *p[d + 1 :])
            )
        elif which == 3 and array.ndim:
            d = r.randrange(array.ndim)
            n = array.shape[d]
            array = np.flip(array, d)
            moves.append(lambda p, d=d, n=n: (*p[:d], n - 1 - p[d], *p[d + 1 :]))
        elif array.size < 500:
            array = np.broadcast_to(array, (3, *array.shape))
            moves.append(lambda p: p[1:])
    loops = [Loop(f"i{d}", n) for d, n in enumerate(array.shape)]
    place = tuple([index_of(loop) for loop in loops])
    for move in reversed(moves):
        place = move(place)
    flat = flatten(place, start)
    env = points(loops) if loops else {}
    values = np.broadcast_to(value_of(flat, env), array.shape)
    np.testing.assert_array_equal(values, array, str(flat))


def test_reshapes_there_and_back_are_no_arithmetic() -> None:
    i, j = Loop("i", 6), Loop("j", 35)
    place = (index_of(i), index_of(j))
    there = unflatten(flatten(place, (6, 35)), (2, 3, 5, 7))
    assert unflatten(flatten(there, (2, 3, 5, 7)), (6, 35)) == place
    assert flatten(there, (2, 3, 5, 7)) == index_of(i) * 35 + index_of(j)


def test_divisions_that_ranges_decide() -> None:
    i, j = Loop("i", 4), Loop("j", 8)
    both = index_of(i) * 8 + index_of(j)
    assert both // 8 == index_of(i)
    assert both % 8 == index_of(j)
    assert (both // 4) // 2 == index_of(i)
    assert both // 32 == ZERO
    assert (both + 3) // 64 == ZERO
    assert both % 4 == index_of(j) % 4
    assert (index_of(j) // 2) // 2 == index_of(j) // 4


@pytest.mark.parametrize("divisor", [2, 7, 33, 98])
def test_reversed_indices_are_divided_as_positive_numbers(divisor: int) -> None:
    """98 - i is not negative, but 98 % 33 - i is: it can't be what is divided."""
    i = Loop("i", 99)
    env = points([i])
    place = 98 - index_of(i)
    np.testing.assert_array_equal(value_of(place // divisor, env), (98 - env[i]) // divisor)
    np.testing.assert_array_equal(value_of(place % divisor, env), (98 - env[i]) % divisor)


def test_what_is_smaller_than_a_common_factor_takes_no_part_in_a_division() -> None:
    i, j = Loop("i", 6), Loop("j", 35)
    flat = index_of(i) * 35 + index_of(j)
    assert flat // 105 == index_of(i) // 3
    assert flat % 105 == (index_of(i) % 3) * 35 + index_of(j)
    assert flat // 105 * 105 + flat % 105 == flat


def test_equal_indices_are_equal_and_hash_alike() -> None:
    i, j = Loop("i", 4), Loop("j", 8)
    a = index_of(i) * 2 + index_of(j) + 3
    b = index_of(j) + 3 + index_of(i) * 2
    assert a == b and hash(a) == hash(b)
    assert a - a == ZERO
    assert index_of(Loop("i", 4)) != index_of(i), "loops are their own, whatever their names"
    assert len({a // 5, b // 5, a % 5}) == 2


def test_text() -> None:
    i, j = Loop("i", 4), Loop("j", 9)
    assert str(index_of(i) * 128 + index_of(j) + 3) == "128*i + j + 3"
    assert str(index_of(j) // 2 + index_of(j) % 4) == "(j // 2) + (j % 4)"
    assert str(ZERO) == "0"


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (1, 4, 1)])
def test_strides_and_flat_places(shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.int8)
    for got, expected, n in zip(strides_of(shape), array.strides, shape, strict=True):
        assert got == expected or n == 1
    loops = [Loop(f"i{d}", n) for d, n in enumerate(shape)]
    flat = flatten([index_of(loop) for loop in loops], shape)
    trivial = {loop: ZERO for loop in loops if loop.extent == 1}
    assert unflatten(flat, shape) == tuple(
        [ZERO if loop in trivial else index_of(loop) for loop in loops]
    )


@properties
@given(seeds)
def test_reshapes_leave_dimensions_alone_that_stay(seed: int) -> None:
    """Whatever is read there, a condition outside of the index may rule it out."""
    r = random.Random(seed)
    before, after = [shapes(r, 24) for _ in range(2)]
    loops = [Loop(f"i{d}", n) for d, n in enumerate((*before, 7))]
    places = [index_of(loop) for loop in loops]
    beyond = places[-1] - 3
    to = (*after, 7)
    found = reindexed([*places[:-1], beyond], (*before, 7), to)
    assert len(found) == len(to) and found[-1] == beyond
    whole = reindexed(places, (*before, 7), to)
    want = unflatten(flatten(places, (*before, 7)), to)
    env = points(loops)
    for one, other in zip(whole, want, strict=True):
        np.testing.assert_array_equal(value_of(one, env) + 0 * env[loops[0]], value_of(other, env))
    unit = reindexed([beyond], (7,), (1, 7, 1, 1))
    assert unit == (ZERO, beyond, ZERO, ZERO)
    assert len(reindexed(places[:1], (0,), (3, 0))) == 2
