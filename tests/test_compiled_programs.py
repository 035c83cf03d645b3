"""Without these tests loops, branches, callbacks and errors in compiled programs could go wrong.

Nested control flow beside plain Python and NumPy, callbacks (their order, their exceptions), the
state of a program after an exception, donation, memory over many calls, jit inside jit, checkpoint.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from tests.interpreted import interpreting

# f64, a few dozen steps with bounded derivatives: products are fused with sums, elementary
# functions are right to a few units of the last place.
CLOSE = {"rtol": 1e-11, "atol": 1e-12}


def normal(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def same(got: Any, want: Any) -> None:
    got, want = nr.tree.leaves(got), nr.tree.leaves(want)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, **CLOSE)


def agrees(f: Callable, *args: Any) -> None:
    """What is compiled gives what the table gives, operation by operation; twice."""
    with interpreting():
        want = f(*nr.tree.map(jnp.asarray, args))
    compiled = nr.jit(f)
    same(compiled(*args), want)
    same(compiled(*args), want)


def agrees_transformed(f: Callable, *args: np.ndarray) -> None:
    """Also its gradient, its forward derivative and its batched form."""
    agrees(f, *args)

    def loss(*args: Any) -> Any:
        return sum([jnp.sum(jnp.sin(y)) for y in nr.tree.leaves(f(*args))])

    agrees(nr.grad(loss, argnums=tuple(range(len(args)))), *args)
    agrees(lambda *a: nr.jvp(f, a, tuple([jnp.cos(x) for x in a])), *args)
    agrees(nr.vmap(f), *[np.stack([x, x * 0.5, -x]) for x in args])
    agrees(nr.vmap(nr.grad(loss)), *[np.stack([x, x * 0.5]) for x in args])


# ---------------------------------------------------------------- scans
def test_scan_in_scan() -> None:
    def f(x: Any, c: Any) -> Any:
        def inner(c: Any, x: Any) -> Any:
            c = jnp.tanh(c * 0.5 + x)
            return c, c * x

        def outer(c: Any, x: Any) -> Any:
            c, ys = lax.scan(inner, c, x)
            return c, (ys, jnp.sum(ys))

        return lax.scan(outer, c, x)

    agrees_transformed(f, normal((4, 3, 2)), normal((2,), 1))


def test_scan_reads_closed_over_arrays() -> None:
    w = normal((5, 5), 2)

    def f(x: Any, b: Any) -> Any:
        return lax.scan(lambda c, x: (jnp.tanh(c @ w + x), jnp.sum(c * b)), x[0] * 0, x)

    agrees_transformed(f, normal((6, 5)), normal((5,), 1))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_lengths_and_directions_of_scans(length: int, reverse: bool) -> None:
    def f(x: Any, c: Any) -> Any:
        return lax.scan(
            lambda c, x: (c * 0.5 + jnp.sum(x), (c, x * 2)), c, x, length, reverse=reverse
        )

    agrees(f, normal((length, 3)), normal((2,), 1))
    agrees(
        nr.grad(lambda x, c: jnp.sum(f(x, c)[0] ** 2), (0, 1)), normal((length, 3)), normal((2,))
    )


def test_scan_without_arrays_and_without_carries() -> None:
    agrees(lambda c: lax.scan(lambda c, _: (c * 1.5 + 1, None), c, None, length=7), normal((3,)))
    agrees(lambda x: lax.scan(lambda _, x: (None, x * x), None, x), normal((4, 3)))
    agrees(lambda x: lax.map(lambda row: jnp.sort(row) - jnp.max(row), x), normal((4, 3)))


def test_carries_that_are_swapped_kept_duplicated_and_constant() -> None:
    def swap(carry: Any, x: Any) -> Any:
        a, b, kept, count = carry
        return (b, a, kept, count + 1), (a, kept)

    def twice(carry: Any, x: Any) -> Any:
        a, b = carry
        new = a + x
        return (new, new), b

    def rotate(carry: Any, x: Any) -> Any:
        a, b, c = carry
        return (b, c, a), a - c

    def forget(carry: Any, x: Any) -> Any:
        return (jnp.zeros(3, x.dtype), x), carry

    xs = normal((5, 3), 9)
    for n in (1, 2, 5):
        a, b, c = normal((3,), 1), normal((3,), 2), normal((3,), 3)
        agrees(lambda a, b, c, xs: lax.scan(swap, (a, b, c, 0), xs), a, b, c, xs[:n])
        agrees(lambda a, b, c, xs: lax.scan(twice, (a, b), xs), a, b, c, xs[:n])
        agrees(lambda a, b, c, xs: lax.scan(rotate, (a, b, c), xs), a, b, c, xs[:n])
        agrees(lambda a, b, c, xs: lax.scan(forget, (a, b), xs), a, b, c, xs[:n])
        agrees(lambda a, b, c, xs: lax.scan(rotate, (a, a, a), xs), a, b, c, xs[:n])


def test_results_that_are_constants_inputs_or_stacked_twice() -> None:
    def body(c: Any, x: Any) -> Any:
        y = c + x
        return y, (y, y, jnp.ones(2), 1.5, x, c)

    agrees(lambda x, c: lax.scan(body, c, x), normal((4, 3)), normal((3,), 1))


def test_carries_large_enough_for_several_threads() -> None:
    def f(c: Any) -> Any:
        c, s = lax.scan(lambda c, _: (jnp.roll(c, 1) * 0.9 + 1, jnp.sum(c)), c, None, length=6)
        return c, s

    agrees(f, normal((300, 301)))


# ---------------------------------------------------------------- while loops and branches
def test_while_in_cond_in_scan() -> None:
    def f(x: Any) -> Any:
        def halve(y: Any) -> Any:
            return lax.while_loop(
                lambda s: jnp.abs(s[0]) > 0.1, lambda s: (s[0] * 0.5, s[1] + 1), (y, 0)
            )

        def body(c: Any, y: Any) -> Any:
            small, n = lax.cond(y > 0, halve, lambda y: (y * 2, -1), y)
            return c + n, (small, n)

        return lax.scan(body, 0, x)

    agrees(f, normal((12,)))
    agrees(nr.vmap(f), normal((3, 12)))


def test_fori_loops_with_fixed_and_computed_bounds() -> None:
    agrees(lambda x, n: lax.fori_loop(0, n, lambda i, y: y * 0.9 + i, x), normal((5,)), np.int32(6))
    agrees(lambda x: lax.fori_loop(2, 9, lambda i, y: y.at[i % 5].add(i), x), normal((5,)))
    agrees(lambda x, n: lax.fori_loop(0, n, lambda i, y: y + 1, x), normal((5,)), np.int32(0))


def test_while_in_while() -> None:
    def f(n: Any) -> Any:
        def collatz(n: Any) -> Any:
            def step(s: Any) -> Any:
                n, k = s
                return jnp.where(n % 2 == 0, n // 2, 3 * n + 1), k + 1

            return lax.while_loop(lambda s: s[0] != 1, step, (n, 0))[1]

        def body(s: Any) -> Any:
            i, best = s
            return i + 1, jnp.maximum(best, collatz(i))

        return lax.while_loop(lambda s: s[0] < n, body, (1, 0))

    got = nr.jit(f)(np.int32(30))
    assert [int(v) for v in got] == [30, 111]  # 27 takes 111 steps


def test_condition_of_a_while_loop_reads_closed_over_values() -> None:
    def f(x: Any, limit: Any) -> Any:
        return lax.while_loop(lambda c: jnp.sum(c * c) < limit, lambda c: c * 1.5 + x, x)

    agrees(f, normal((4,)), np.float64(50.0))
    agrees(nr.vmap(f, (0, None)), normal((3, 4)), np.float64(50.0))
    agrees(
        lambda x, limit: nr.jvp(lambda x: f(x, limit), (x,), (x,)), normal((4,)), np.float64(9.0)
    )


def test_switch_and_its_clamped_index() -> None:
    w = normal((3, 3), 5)
    branches = [
        lambda x: x,
        lambda x: jnp.sin(x) @ w,
        lambda x: lax.scan(lambda c, _: (c * 0.5, None), x, None, length=3)[0],
        lambda x: jnp.ones((2, 3), x.dtype),
    ]

    def f(i: Any, x: Any) -> Any:
        return lax.switch(i, branches, x)

    for i in (-5, 0, 1, 2, 3, 9):
        agrees(f, np.int32(i), normal((2, 3)))
        agrees(nr.grad(lambda x, i=i: jnp.sum(f(i, x) ** 2)), normal((2, 3)))
    agrees(nr.vmap(f), np.arange(-1, 5, dtype=np.int32), normal((6, 2, 3)))


def test_branches_that_give_operands_back_or_the_same_value_twice() -> None:
    def f(p: Any, x: Any, y: Any) -> Any:
        return lax.cond(p, lambda x, y: (x, y, x, 2.0), lambda x, y: (y, y, x + y, 3.0), x, y)

    for p in (True, False):
        agrees(f, p, normal((3,)), normal((3,), 1))
    agrees(lambda p, x: lax.cond(p, lambda: x, lambda: x * 2), True, normal((70,)))


def test_branch_that_is_not_taken_has_no_effect() -> None:
    seen: list[int] = []

    def f(p: Any, x: Any) -> Any:
        def record(x: Any) -> Any:
            nr.debug.callback(lambda v: seen.append(int(v)), x)
            return x

        return lax.cond(p, record, lambda x: -x, x)

    jitted = nr.jit(f)
    assert int(jitted(False, 3)) == -3 and seen == []
    assert int(jitted(True, 3)) == 3 and seen == [3]


def test_recurrent_network_and_its_gradient() -> None:
    def f(params: Any, xs: Any) -> Any:
        def cell(h: Any, x: Any) -> Any:
            gates = x @ params["wx"] + h @ params["wh"] + params["b"]
            z, r, n = jnp.split(gates, 3, axis=-1)
            h = nr.nn.sigmoid(z) * h + (1 - nr.nn.sigmoid(z)) * jnp.tanh(n * nr.nn.sigmoid(r))
            return h, h

        h, ys = lax.scan(cell, jnp.zeros((3, 4), xs.dtype), xs)
        return jnp.mean(ys**2) + jnp.sum(h)

    params = {"wx": normal((5, 12), 1) * 0.3, "wh": normal((4, 12), 2) * 0.3, "b": normal((12,), 3)}
    agrees(nr.value_and_grad(f), params, normal((7, 3, 5)))


# ---------------------------------------------------------------- callbacks and exceptions
def test_callbacks_inside_loops_come_in_order() -> None:
    seen: list[int] = []

    def double(v: Any) -> Any:
        seen.append(int(v))
        return np.asarray(2 * v)

    def f(x: Any) -> Any:
        shape = nr.ShapeDtypeStruct((), np.float64)

        def body(c: Any, x: Any) -> Any:
            y = nr.pure_callback(double, shape, x)
            return c + y, y

        return lax.scan(body, 0.0, x)

    total, ys = nr.jit(f)(np.arange(5.0))
    assert seen == [0, 1, 2, 3, 4]
    assert float(total) == 20 and np.asarray(ys).tolist() == [0, 2, 4, 6, 8]


class Refused(Exception):
    pass


def _refusing(limit: float) -> Callable:
    def check(v: Any) -> None:
        if v > limit:
            raise Refused(f"{v} is too much")

    def f(x: Any) -> Any:
        def body(c: Any, x: Any) -> Any:
            nr.debug.callback(check, x, ordered=True)
            return c + jnp.sin(x), c

        return lax.scan(body, x[0] * 0, x)

    return f


def test_exceptions_of_callbacks_come_through_and_leave_the_program_usable() -> None:
    f = nr.jit(_refusing(3.0))
    good, bad = np.arange(3.0), np.array([1.0, 5.0, 2.0])
    want = f(good)
    for _ in range(3):
        with pytest.raises(Refused, match=r"5\.0 is too much"):
            f(bad)
        same(f(good), want)


def test_exceptions_in_a_large_program_give_its_memory_back() -> None:
    def fail(v: Any) -> Any:
        if v < 0:
            raise ZeroDivisionError("negative")
        return v

    def f(x: Any) -> Any:
        y = jnp.sin(x) @ jnp.cos(x)
        s = nr.pure_callback(fail, nr.ShapeDtypeStruct((), np.float64), y[0, 0])
        return jnp.sum(y * s), y.T

    g = nr.jit(f)
    x = np.full((300, 300), 0.5)
    want = g(x)
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            g(-x)
        same(g(x), want)


def test_a_callback_may_call_the_same_program() -> None:
    def g(n: Any) -> Any:
        return nr.pure_callback(again, nr.ShapeDtypeStruct((), np.int32), n) + 1

    compiled = nr.jit(g)

    def again(n: Any) -> Any:
        return np.int32(0) if n == 0 else np.asarray(compiled(np.int32(n - 1)))

    assert int(compiled(np.int32(4))) == 5


def test_callbacks_may_keep_their_arguments() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        def body(c: Any, x: Any) -> Any:
            y = x * 2 + c
            nr.debug.callback(kept.append, y)
            return c + 1, y

        return lax.scan(body, 0.0, x)[1]

    ys = np.asarray(nr.jit(f)(normal((4, 3))))
    np.asarray(nr.jit(f)(normal((4, 3), 1)))
    np.testing.assert_array_equal(np.stack([np.asarray(k) for k in kept[:4]]), ys)


# ---------------------------------------------------------------- calls
def test_donated_arrays() -> None:
    def step(x: Any, y: Any) -> Any:
        return x + y, x * y

    f = nr.jit(step, donate_argnums=(0,))
    for n in (3, 1000, 70_000):
        x, y = normal((n,), 1), normal((n,), 2)
        donated = jnp.asarray(x)
        got = f(donated, y)
        same(got, (x + y, x * y))
        with pytest.raises(RuntimeError):
            donated + 1
        same(f(got[0], got[1]), ((x + y) + x * y, (x + y) * (x * y)))


def test_many_calls_do_not_grow() -> None:
    def f(x: Any, w: Any) -> Any:
        y = nr.nn.softmax(jnp.tanh(x @ w))
        total, _ = lax.scan(lambda c, r: (c + jnp.sum(r), None), 0.0, y)
        return total, y, jnp.sort(y, 1)

    g = nr.jit(f)
    x, w = normal((64, 80)), normal((80, 96))

    def calls(n: int) -> None:
        for _ in range(n):
            g(x, w)
        gc.collect()

    calls(100)
    before, objects = _resident(), len(gc.get_objects())
    calls(1000)
    # One result is 100 kB: if calls kept theirs, this would be 100 MB.
    assert _resident() - before < 4 << 20
    assert len(gc.get_objects()) - objects < 100


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_jit_inside_jit_and_inside_loops() -> None:
    inner = nr.jit(lambda x, y: (jnp.sin(x) * y, x))

    def f(x: Any) -> Any:
        a, b = inner(x, x)
        c, _ = lax.scan(lambda c, r: inner(c, r), a[0], b)
        return nr.jit(lambda z: inner(z, a[0])[0] + jnp.sum(b))(c)

    agrees_transformed(f, normal((3, 4)))


def test_checkpoint_in_a_scan() -> None:
    w = normal((4, 4), 1)

    def f(x: Any) -> Any:
        def layer(h: Any) -> Any:
            return jnp.tanh(jnp.sin(h @ w) + h)

        h, _ = lax.scan(lambda h, _: (nr.checkpoint(layer)(h), None), x, None, length=4)
        return nr.checkpoint(lambda h: jnp.sum(h * jnp.exp(-h * h)))(h)

    agrees(nr.value_and_grad(f), normal((3, 4)))
    plain = nr.grad(lambda x: f(x))(normal((3, 4)))
    same(nr.jit(nr.grad(f))(normal((3, 4))), plain)


def test_random_numbers_inside_loops() -> None:
    def f(key: Any) -> Any:
        def body(key: Any, _: Any) -> Any:
            key, sub = nr.random.split(key)
            return key, (nr.random.normal(sub, (3,)), nr.random.randint(sub, (2,), 0, 100))

        return lax.scan(body, key, None, length=4)[1]

    got, want = nr.jit(f)(nr.random.key(3)), f(nr.random.key(3))
    np.testing.assert_array_equal(np.asarray(got[1]), np.asarray(want[1]))
    # f32 through the inverse of the error function: some tens of units of the last place.
    np.testing.assert_allclose(np.asarray(got[0]), np.asarray(want[0]), rtol=3e-6, atol=1e-6)


def test_library_rows_between_kernels() -> None:
    """Sorting, decompositions, transforms and cumulative sums run through the table."""

    def f(x: Any) -> Any:
        a = x @ x.T + 3 * jnp.eye(x.shape[0])
        factor = jnp.linalg.cholesky(a)
        order = jnp.argsort(x, axis=1)
        spectrum = jnp.abs(jnp.fft.rfft(x))
        return (
            factor * 2,
            jnp.take_along_axis(x, order, 1) + 1,
            spectrum.sum(),
            jnp.cumsum(x * 2, 0),
        )

    agrees(f, normal((4, 6)))
    agrees(nr.vmap(f), normal((2, 4, 6)))
    agrees(lambda x: lax.map(f, x), normal((2, 4, 6)))


def test_updates_of_elements_in_loops() -> None:
    def f(x: Any, at: Any) -> Any:
        def body(i: Any, s: Any) -> Any:
            table, total = s
            table = table.at[at[i]].add(x[i]).at[0].set(jnp.max(table, axis=0))
            return table, total + table[at[i], 0]

        return lax.fori_loop(0, x.shape[0], body, (jnp.zeros((4, 3)), 0.0))

    agrees(f, normal((6, 3)), np.array([1, 3, 1, 2, 0, 3], np.int32))
    agrees(
        lambda x, at: jnp.zeros((4, 3)).at[at].add(x), normal((6, 3)), np.array([1, 3, 1, 2, 0, 3])
    )


def test_a_program_of_many_eqns() -> None:
    def f(x: Any) -> Any:
        for i in range(300):
            x = jnp.sin(x) * 1.5 + i * 0.01 if i % 3 else x - jnp.mean(x)
        return x

    # Three hundred steps, each with a slope up to 1.5: the functions differ in the last place.
    x = normal((40,))
    np.testing.assert_allclose(np.asarray(nr.jit(f)(x)), np.asarray(f(jnp.asarray(x))), rtol=1e-6)


def test_functions_of_operands_of_other_types_are_other_functions() -> None:
    """In scalar code functions are called; pow is one function for floats, one for integers."""

    def twice(x: Any, n: Any) -> Any:
        return lax.pow(lax.pow(x, n), n.astype(jnp.float32))

    def many(x: Any, n: Any) -> Any:
        parts = [lax.pow(x + i, n) + lax.pow(x - i, n.astype(jnp.float32)) for i in range(4)]
        return sum(parts)

    def thrice(x: Any, n: Any) -> Any:
        return nr.grad(lambda x: lax.pow(lax.pow(lax.pow(x, n), n), n))(x)

    for f in (twice, many, thrice):
        agrees(f, np.float32(1.5), np.int32(2))
