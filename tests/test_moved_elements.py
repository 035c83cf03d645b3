"""Protects programs that move elements about: without it, what is padded, rolled, repeated, taken
apart and put together again in one kernel comes out in other places, or from beyond its array."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import nr
import nr.numpy as jnp
from nr import lax
from tests.util import check_compiled

SIZES = [1, 2, 3, 5, 8, 9, 16, 17, 31, 32, 33, 48, 64, 65]
_MOST = 20000  # elements


def _stencil(x: Any, axis: int, mode: str) -> Any:
    ends = [(1, 1) if d == axis else (0, 0) for d in range(x.ndim)]
    wide, n = jnp.pad(x, ends, mode=mode), x.shape[axis]
    return sum([w * lax.slice_in_dim(wide, k, k + n, axis=axis) for k, w in enumerate((1, -2, 3))])


def _padded(r: random.Random, shape: tuple[int, ...]) -> Callable:
    ends = [(r.randint(-1 if n > 2 else 0, 3), r.randint(0, 3), r.choice([0, 0, 1])) for n in shape]
    return lambda x: lax.pad(x, jnp.asarray(2, x.dtype), ends)


def _reshaped(r: random.Random, shape: tuple[int, ...]) -> Callable:
    size = int(np.prod(shape))
    first = r.choice([n for n in range(1, size + 1) if size % n == 0])
    return lambda x: x.reshape(first, -1)


def move(r: random.Random, shape: tuple[int, ...]) -> Callable:
    """A function that moves the elements of arrays of some shape."""
    axis = r.randrange(len(shape))
    n, times, shift = shape[axis], r.choice([2, 3, 4, 8]), r.randint(-5, 5)
    begin, stride = r.randint(0, min(n - 1, 2)), r.choice([1, 2, 3])
    places = [r.randrange(n) for _ in range(r.choice([2, 5, 9]))]
    mode = r.choice(["constant", "edge", "wrap"])
    return r.choice(
        [
            _padded(r, shape),
            _reshaped(r, shape),
            lambda x: jnp.roll(x, shift, axis),
            lambda x: jnp.roll(x, 1, axis) + 2 * jnp.roll(x, -1, axis) - x,
            lambda x: jnp.repeat(x, times, axis),
            lambda x: _stencil(x, axis, mode),
            lambda x: jnp.concatenate([x, 2 * x, jnp.flip(x, axis)], axis),
            lambda x: jnp.stack([jnp.roll(x, shift, axis), x], axis),
            lambda x: lax.slice_in_dim(x, begin, n, stride, axis),
            lambda x: jnp.where(lax.broadcasted_iota(int, x.shape, axis) < n // 2, x, 3 * x),
            lambda x: jnp.tile(x, 2),
            lambda x: jnp.moveaxis(x, 0, -1),
            lambda x: jnp.take(x, jnp.asarray(places), axis),
        ]
    )


def program(r: random.Random) -> tuple[tuple[int, ...], Callable]:
    shape = tuple(r.choice(SIZES) for _ in range(r.choice([1, 2, 2, 3])))
    while np.prod(shape) > _MOST:
        shape = tuple(max(1, n // 2) for n in shape)
    steps: list[Callable] = []
    now = shape
    for _ in range(r.randint(2, 6)):
        step = move(r, now)
        then = nr.eval_shape(step, nr.ShapeDtypeStruct(now, np.float32)).shape
        if 0 < np.prod(then) <= 3 * _MOST:
            steps.append(step)
            now = then

    def run(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return shape, run


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.integers(0, 2**48))
def test_random_moves(seed: int) -> None:
    r = random.Random(seed)
    shape, f = program(r)
    dtype = r.choice(["float32", "float32", "float64", "int8", "int32", "complex64"])
    # Whole numbers, of which no sum is rounded.
    x = jnp.asarray(np.random.default_rng(seed).integers(-2, 3, shape), dtype)
    form = r.choice(["plain", "vmap", "grad"] if dtype[0] == "f" else ["plain", "vmap"])
    if form == "vmap":
        x, f = jnp.stack([x, 2 * x, x + 1]), nr.vmap(f)
    elif form == "grad":
        plain = f

        def f(x: Any) -> Any:
            out, pull = nr.vjp(plain, x)
            return pull(jnp.sign(out))[0]

    check_compiled(f, x)
