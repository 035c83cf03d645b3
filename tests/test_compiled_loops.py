"""Without these tests only loops and branches that somebody thought of would be known to work.

Random programs of nested scans, while loops, branches and calls, over several carried values of
several types, also batched and differentiated: compiled beside interpreted.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler import plan, updates
from tests.interpreted import interpreting

SHAPES = ((), (), (3,), (2, 5), (17,), (40,), (70, 9))
# f64. Every step's slope is about 1 at most, there are a few dozen: some thousand units.
CLOSE = {"rtol": 1e-10, "atol": 1e-10}

Type = tuple[tuple[int, ...], str]
VECTOR: Type = ((17,), "float64")


def fit(x: Any, kind: Type) -> Any:
    """A value as one of another shape and dtype."""
    shape, dtype = kind
    if x.dtype != dtype:
        if dtype == "float64":
            x = jnp.tanh(x.astype(np.float64) * 0.25)
        elif dtype == "int32":
            x = (x > 0.3).astype(np.int32)
        else:
            x = x > 0.3
    if x.shape == shape:
        return x
    if shape and x.size >= np.prod(shape):
        return jnp.reshape(x, (-1,))[: int(np.prod(shape))].reshape(shape)
    return jnp.broadcast_to(jnp.reshape(x, (-1,))[-1], shape)


def written(x: Any, y: Any, at: Any) -> Any:
    """An array with elements of another, or its own, written into it, or added."""
    if not x.shape:
        return y
    flat, n = x.reshape(-1), x.size
    moved = lax.dynamic_update_slice(flat, y.reshape(-1)[: n // 4], (at,))
    other = moved.at[(at + 1) % n].set(flat[n // 2])
    if x.dtype == np.float64:
        other = other.at[jnp.array([0, n - 1, 0])].add(moved[-1] / 2)
    return other.reshape(x.shape)


class Programs:
    """Draws functions of lists of values."""

    def __init__(self, seed: int, *, reverse_mode: bool) -> None:
        self.r = random.Random(seed)
        self.reverse_mode = reverse_mode
        self.text: list[str] = []

    def kinds(self, most: int) -> list[Type]:
        dtypes = ("float64", "float64", "int32", "bool")
        n = self.r.randint(1, most)
        return [(self.r.choice(SHAPES), self.r.choice(dtypes)) for _ in range(n)]

    def expression(self, kind: Type, depth: int) -> Callable:
        """A function of a list of values that gives one of this type."""
        r = self.r
        a, b, c = [r.randrange(8) for _ in range(3)]
        get = lambda v, k: fit(v[k % len(v)], kind)  # noqa: E731
        flag = lambda v: fit(v[c % len(v)], (kind[0], "bool"))  # noqa: E731
        if depth and r.random() < 0.4:
            return self.nested(kind, depth - 1)
        shape, dtype = kind
        general: list[Callable] = [
            lambda v: get(v, a),
            lambda v: jnp.where(flag(v), get(v, a), get(v, b)),
            lambda v: jnp.flip(get(v, a)) if shape else get(v, a),
            lambda v: jnp.roll(get(v, a), 1),
            lambda v: get([*v, jnp.ones(shape, dtype)], a),
            lambda v: written(get(v, a), get(v, b), fit(v[c % len(v)], ((), "int32"))),
        ]
        own: dict[str, list[Callable]] = {
            "float64": [
                lambda v: jnp.sin(get(v, a)),
                lambda v: 0.5 * get(v, a) + 0.4 * get(v, b),
                lambda v: get(v, a) * jnp.tanh(get(v, b)),
                lambda v: jnp.maximum(get(v, a), get(v, b) * 0.5),
                lambda v: get(v, a) - jnp.mean(get(v, b)),
                lambda v: jnp.exp(-jnp.abs(get(v, a))),
                lambda v: jnp.cumsum(get(v, a).reshape(-1)).reshape(shape) / 70.0,
                lambda v: jnp.sort(get(v, a).reshape(-1)).reshape(shape),
                lambda v: fit(v[a % len(v)], ((4, 4), dtype)) @ jnp.eye(4)[0] @ jnp.ones(4) / 4
                + get(v, b) * 0.5,
                lambda v: get(v, a) + (lax.stop_gradient(jnp.max(get(v, b))) > 0.5),
            ],
            "int32": [
                lambda v: (get(v, a) * 5 + 3) % 11,
                lambda v: get(v, a) + get(v, b),
                lambda v: get(v, a) ^ 6,
                lambda v: get(v, a) + jnp.argmax(fit(v[b % len(v)], VECTOR)).astype("i4"),
            ],
            "bool": [
                lambda v: ~get(v, a),
                lambda v: get(v, a) & get(v, b),
                lambda v: get(v, a) ^ flag(v),
            ],
        }  # fmt: skip
        return r.choice(own[dtype] * 2 + general)

    def body(self, kinds: Sequence[Type], depth: int) -> Callable:
        """A function of a list of values that gives values of these types."""
        parts = [self.expression(k, depth) for k in kinds]
        if self.r.random() < 0.3:  # what is carried unchanged, or the same twice
            k = self.r.randrange(len(kinds))
            parts[k] = lambda v, k=k: fit(v[k % len(v)], kinds[k])
        return lambda values: [p(values) for p in parts]

    def nested(self, kind: Type, depth: int) -> Callable:
        r = self.r
        kinds = [kind, *self.kinds(2)]
        which = r.choice(["scan", "map", "cond", "switch", "jit", "checkpoint", "fori", "while"])
        if self.reverse_mode and which in ("fori", "while"):
            which = "scan"
        self.text.append(which)
        step = self.body(kinds, depth)
        length = r.choice([0, 1, 2, 3, 6])
        start = lambda v: [fit(v[i % len(v)], k) for i, k in enumerate(kinds)]  # noqa: E731
        if which == "scan":
            row, reverse, out = r.choice(SHAPES), r.random() < 0.4, r.randrange(len(kinds))

            def scan(v: list) -> Any:
                rows = [fit(v[-1], (row, "float64")) * (i + 1) / 7 for i in range(max(length, 1))]
                xs = jnp.stack(rows)[:length]
                close = v[0]

                def one(carry: list, x: Any) -> tuple:
                    new = step([*carry, x, close])
                    return new, (new[out], x)

                carry, ys = lax.scan(one, start(v), xs, reverse=reverse)
                total = [fit(y[0], kind) for y in ys] if length else []
                pick = [carry[0], *total][out % (1 + len(total))]
                return pick

            return scan
        if which == "map":

            def mapped(v: list) -> Any:
                rows = jnp.stack([fit(v[-1], kind), fit(v[0], kind)])
                return lax.map(lambda x: step([x, *v])[0], rows)[1]

            return mapped
        if which in ("cond", "switch"):
            steps = [step, self.body(kinds, depth), self.body(kinds, 0)]
            if which == "cond":
                return lambda v: lax.cond(
                    fit(v[-1], ((), "bool")), lambda s: steps[0](s), lambda s: steps[1](s), start(v)
                )[0]
            return lambda v: lax.switch(
                fit(v[-1], ((), "int32")), [lambda s, f=f: f(s) for f in steps], start(v)
            )[0]
        if which == "jit":
            return lambda v: nr.jit(lambda s: step(s))(start(v))[0]
        if which == "checkpoint":
            return lambda v: nr.checkpoint(lambda s: step(s))(start(v))[0]
        if which == "fori":
            dynamic = r.random() < 0.5

            def fori(v: list) -> Any:
                n = fit(v[-1], ((), "int32")) * 0 + length if dynamic else length
                return lax.fori_loop(0, n, lambda i, s: step([*s, i]), start(v))[0]

            return fori

        def while_loop(v: list) -> Any:
            limit = fit(v[-1], ((), "int32")) % 3 + length

            def go_on(s: tuple) -> Any:
                return s[0] < limit

            return lax.while_loop(go_on, lambda s: (s[0] + 1, step([*s[1], s[0]])), (0, start(v)))[
                1
            ][0]

        return while_loop


def check(seed: int) -> str:
    """Compare one random program, in one random form, and say what it was."""
    r = random.Random(seed)
    form = r.choice(["plain", "plain", "vmap", "grad", "jvp", "vmap of grad"])
    p = Programs(seed + 1, reverse_mode="grad" in form)
    inputs: list[Type] = [(r.choice(SHAPES), "float64") for _ in range(2)]
    kinds = p.kinds(3)
    step = p.body(kinds, 3)
    rng = np.random.default_rng(seed)
    lanes = (3,) if "vmap" in form else ()
    args = [rng.normal(size=(*lanes, *shape)) for shape, _ in inputs]

    def plain(x: Any, y: Any) -> list:
        return step([x, y])

    def loss(x: Any, y: Any) -> Any:
        return sum(
            [jnp.sum(jnp.sin(out)) for out in plain(x, y) if out.dtype == np.float64]
        ) + 0 * (jnp.sum(x) + jnp.sum(y))

    f = {
        "plain": plain,
        "vmap": nr.vmap(plain),
        "grad": nr.grad(loss, (0, 1)),
        "jvp": lambda x, y: nr.jvp(loss, (x, y), (jnp.cos(x), jnp.sin(y))),
        "vmap of grad": nr.vmap(nr.grad(loss, (0, 1))),
    }[form]
    what = f"{form} of {p.text}"
    with interpreting():
        want = f(*map(jnp.asarray, args))
    donating = nr.jit(f, donate_argnums=(0, 1))
    for compiled in (nr.jit(f), donating):
        got = compiled(*map(jnp.asarray, args))
        for a, b in zip(nr.tree.leaves(got), nr.tree.leaves(want), strict=True):
            a, b = np.asarray(a), np.asarray(b)
            assert (a.shape, a.dtype) == (b.shape, b.dtype), what
            if a.dtype == np.float64:
                np.testing.assert_allclose(a, b, **CLOSE, err_msg=what)
            else:
                np.testing.assert_array_equal(a, b, err_msg=what)
    return what


@pytest.fixture(autouse=True, scope="module")
def _as_for_large_arrays():
    """Small arrays are updated in place, too, so that they stand for large ones."""
    with mock.patch.object(updates, "_SMALLEST", 0), mock.patch.object(plan, "REUSED", 0):
        yield


# NR_LOOP_EXAMPLES=1000 draws that many programs, others each time.
_EXAMPLES = int(os.environ.get("NR_LOOP_EXAMPLES", "0"))


@settings(
    max_examples=_EXAMPLES or 100,
    deadline=None,
    derandomize=not _EXAMPLES,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.integers(0, 2**48))
def test_random_loops_and_branches(seed: int) -> None:
    note(f"seed {seed}")
    check(seed)
