"""Without this, work on constants could be done in every call, or its results be overwritten."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.cpu import program
from tests.cases import ALL_CASES
from tests.util import arrays, assert_close, leaves, tolerance

NHWC = ("NHWC", "HWIO", "NHWC")
rng = np.random.default_rng(0)


def whole(*shape: int) -> np.ndarray:
    """Numbers whose sums and products are exact."""
    return rng.integers(-3, 4, shape).astype(np.float32)


def parts(f: Any, *args: Any) -> tuple[str, str]:
    """The loops that run once, and those of each call."""
    text = nr.jit(f).lower(*args).as_text("loops")
    if not text.startswith("once:"):
        return "", text
    once, each = text.split("each time:")
    return once, each


def held(f: Any, constants: tuple, *args: Any) -> None:
    """Calls give the same, thrice, whether the first arguments are constants or not."""
    expected = nr.jit(f)(*constants, *args)
    closed = nr.jit(lambda *rest: f(*[jnp.asarray(c) for c in constants], *rest))
    for _ in range(3):
        got = closed(*args)
        for a, b in zip(nr.tree.leaves(got), nr.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)


def conv(w: Any, x: Any) -> Any:
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC)


def test_windows_are_transformed_once() -> None:
    w, x = whole(3, 3, 64, 64), whole(2, 14, 14, 64)
    held(conv, (w,), x)
    w = jnp.asarray(w)
    once, each = parts(lambda x: conv(w, x), x)
    assert "c0[" in once and "c0[" not in each


def test_panels_are_cut_once() -> None:
    w, x = whole(3, 3, 512, 512), whole(1, 5, 5, 512)
    held(conv, (w,), x)
    w = jnp.asarray(w)
    once, each = parts(lambda x: conv(w, x), x)
    assert "panels[" in once and "panel[" not in each and "c0[" not in each
    assert "panel[" in parts(conv, w, x)[1]


def test_transposed_weights_of_a_loop() -> None:
    w, x = whole(96, 96) / 8, whole(4, 96)

    def f(w: Any, x: Any) -> Any:
        return lax.scan(lambda h, _: (jnp.clip(h @ w.T, -2, 2), h.sum()), x, None, length=9)

    held(f, (w,), x)
    w = jnp.asarray(w)
    once, each = parts(lambda x: f(w, x), x)
    assert "c0[" in once and "c0[" not in each


def test_what_is_large_is_computed_each_time() -> None:
    small = jnp.asarray(whole(1, 256))

    def f(x: Any) -> Any:
        spread = jnp.sort(jnp.broadcast_to(small, (256, 256)), axis=0)
        return jnp.sort(spread + x, axis=1)

    assert parts(f, np.float32(1))[0] == ""


@pytest.mark.parametrize("size", [7, 40_000])
def test_constants_stay_what_they_are(size: int) -> None:
    """Copies that are written into are made in each call."""
    c, v = whole(size), whole(5)
    held(lambda c, v: c.at[1:6].set(v), (c,), v)
    held(lambda c, v: jnp.sort(c).at[1:6].add(v), (c,), v)
    held(lambda c, i: lax.fori_loop(0, i, lambda k, c: c.at[k].add(1.0), jnp.cumsum(c)), (c,), 6)
    held(lambda c, i: lax.fori_loop(0, i, lambda k, c: c * 2.0, jnp.sort(c)), (c,), 3)
    held(
        lambda c, i: lax.cond(i > 2, lambda c: c.at[0].set(9.0), lambda c: c, jnp.cumsum(c)),
        (c,), 3,
    )  # fmt: skip
    held(lambda c, x: (jnp.sort(c), jnp.sort(c) + x, c), (c,), np.float32(2))


def test_a_donated_argument_beside_a_constant() -> None:
    c = jnp.asarray(whole(200, 300))
    step = nr.jit(lambda x: jnp.sort(c, axis=0) * 2 + x, donate_argnums=0)
    expected = np.sort(np.asarray(c), axis=0) * 2
    x = jnp.zeros((200, 300))
    for k in range(3):
        x = step(x)
        np.testing.assert_array_equal(x, (k + 1) * expected)


def test_constants_of_branches_and_bodies() -> None:
    c, x = whole(64, 64), whole(64)

    def f(c: Any, i: Any, x: Any) -> Any:
        grown = lambda x: jnp.linalg.cholesky(c @ c.T + 64 * jnp.eye(64)) @ x  # noqa: E731
        x = lax.cond(i > 0, grown, lambda x: jnp.sort(c, axis=1) @ x, x)
        return lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] @ c / 64), (i, x))[1]

    expected = [nr.jit(f)(c, i, x) for i in (0, 1)]
    constant = jnp.asarray(c)
    g = nr.jit(lambda i, x: f(constant, i, x))
    for i in (0, 1, 0, 1):
        np.testing.assert_allclose(g(i, x), expected[i], rtol=1e-5, atol=1e-5)


def test_failed_checks_are_reported_in_each_call() -> None:
    table, at = jnp.asarray(whole(50, 50)), jnp.asarray([3, 50])
    f = nr.jit(lambda x: jnp.sort(table[at], axis=1) + x)
    for _ in range(2):
        with pytest.raises(IndexError, match="50"):
            f(np.float32(1))


def test_the_plan_counts_what_is_kept() -> None:
    w = jnp.asarray(whole(3, 3, 64, 64))
    plan = nr.plan(lambda x: conv(w, x), whole(2, 14, 14, 64))
    # Of each window 16 numbers take the place of 9.
    assert plan.constant_bytes == w.nbytes * 16 // 9


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.name)
def test_every_operation_of_constants(case: Any) -> None:
    """Its results are written into, and it is in a loop: each time, from what they were."""
    ((sample,), dtype) = case.samples(case.dtypes[0], 1), case.dtypes[0]
    args = arrays(sample)

    def written(i: Any) -> Any:
        def one(y: Any) -> Any:
            flat = y.reshape(-1)
            return flat.at[i].set(flat[-1]).reshape(y.shape) if y.size else y

        return nr.tree.map(one, case.fun(*args))

    def repeated(i: Any) -> Any:
        stacked = lax.scan(lambda i, _: (i + 1, case.fun(*args)), i, None, length=2)[1]
        return nr.tree.map(lambda y: y[1], stacked)

    f = nr.jit(lambda i: (written(i), repeated(i)))
    first, second = [[np.array(y) for y in leaves(f(0))] for _ in range(2)]
    for a, b in zip(first, second, strict=True):
        assert a.tobytes() == b.tobytes()
    plain = [np.array(y) for y in leaves(case.fun(*args))]
    changed = [y.copy() for y in plain]
    for y in changed:
        if y.size:
            y.reshape(-1)[0] = y.reshape(-1)[-1]
    for a, y in zip(first, [*changed, *plain], strict=True):
        assert_close(a, y, tolerance(case, y.dtype), f"{dtype}, constants")


def test_programs_share_what_is_kept() -> None:
    w, other = jnp.asarray(whole(3, 3, 64, 64)), jnp.asarray(whole(3, 3, 64, 64))
    f = nr.jit(lambda x: conv(w, x) + 2 * conv(other, x))
    g = nr.jit(lambda x: conv(other, x))
    gc.collect()
    before = len(program._prepared)
    for n in (2, 3, 5):  # a program for each shape
        x = whole(n, 14, 14, 64)
        np.testing.assert_array_equal(f(x), conv(w, x) + 2 * conv(other, x))
        np.testing.assert_array_equal(g(x), conv(other, x))
        assert len(program._prepared) == before + 2
    del f, g
    gc.collect()
    assert len(program._prepared) == before


def test_threads_share_what_is_kept() -> None:
    w, x = jnp.asarray(whole(3, 3, 64, 64)), whole(2, 14, 14, 64)
    f = nr.jit(lambda x: conv(w, x))
    expected = np.asarray(conv(w, x))
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(f, [x] * 32):
            np.testing.assert_array_equal(got, expected)
