"""Without these, a loop would copy a large array to write a row, or write over what it needs."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from tests.interpreted import interpreting

N, D = 200, 40
BYTES = N * D * 4
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def set_rows(x):
    return lax.fori_loop(1, N, lambda i, x: x.at[i].set(x[i - 1] * 0.5 + x[i]), x)


def add_rows(x):
    return lax.fori_loop(0, N - 3, lambda i, x: x.at[jnp.array([0, 2, 0]) + i].add(0.1), x)


def key_value_cache(x):
    def step(carry, row):
        cache, i = carry
        cache = lax.dynamic_update_slice(cache, row[None], (i, 0))
        weights = jnp.exp(-jnp.abs(cache @ row) / D)
        return (cache, i + 1), weights @ cache

    return lax.scan(step, (jnp.zeros_like(x), 0), x[:50])


def read_before(x):
    """A row of the carry is read before it is overwritten, and used after."""

    def step(carry, i):
        old = carry[i]
        carry = carry.at[i].set(jnp.cos(old))
        return carry, jnp.sum(old - carry[i])

    return lax.scan(step, x, jnp.arange(50))


def swap_rows(x):
    def step(i, x):
        a, b = x[i], x[N - 1 - i]
        return x.at[i].set(b).at[N - 1 - i].set(a)

    return lax.fori_loop(0, N // 2, step, x)


def nested(x):
    def row(i, x):
        return lax.fori_loop(0, D, lambda j, x: x.at[i, j].set(x[i, j - 1] + 1), x)

    return lax.fori_loop(0, 20, row, x)


def in_a_branch(x):
    def step(i, x):
        return lax.cond(i % 3 == 0, lambda x: x.at[i].set(0), lambda x: x, x)

    return lax.fori_loop(0, 50, step, x)


def while_positive(x):
    return lax.while_loop(
        lambda s: s[0] < N, lambda s: (s[0] + 7, s[1].at[s[0]].multiply(2.0)), (0, x)
    )[1]


def elementwise(x):
    return lax.fori_loop(0, 10, lambda i, x: jnp.sin(x) + 0.5 * x, x)


IN_PLACE = [
    set_rows, add_rows, key_value_cache, read_before, swap_rows, nested, in_a_branch,
    while_positive, elementwise,
]  # fmt: skip


def agree(f, *args):
    with interpreting():
        want = f(*map(jnp.asarray, args))
    got = nr.jit(f)(*args)
    for a, b in zip(nr.tree.leaves(got), nr.tree.leaves(want), strict=True):
        # Some hundred roundings of float32.
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("f", IN_PLACE)
def test_no_second_array(f):
    agree(f, X)
    assert nr.plan(f, X).temporary_bytes < BYTES / 2


def add_whole_and_set(x):
    """The array of before is read after its row was written: it has to be copied."""

    def step(carry, i):
        new = carry.at[i].set(1.0)
        return new, jnp.sum(carry * new[i])

    return lax.scan(step, x, jnp.arange(20))


def depends_on_both(x):
    def step(i, x):
        new = x.at[i].set(x[i] + 1)
        return new * 0.5 + jnp.flip(x, 0) * 0.5

    return lax.fori_loop(0, 20, step, x)


def exchanged(x):
    def step(i, xy):
        x, y = xy
        return y.at[i].set(x[i]), x

    return lax.fori_loop(0, 21, step, (x, x + 1))


def same_start_twice(x):
    def step(i, xy):
        x, y = xy
        return x.at[i].set(y[i + 1]), y.at[i].set(x[i + 2])

    return lax.fori_loop(0, 20, step, (x, x))


def start_needed_after(x):
    y = jnp.sin(x)
    z = lax.fori_loop(0, 20, lambda i, z: z.at[i].set(y[i + 1]), y)
    return y + z


@pytest.mark.parametrize(
    "f",
    [add_whole_and_set, depends_on_both, exchanged, same_start_twice, start_needed_after],
)
def test_what_is_needed_is_kept(f):
    agree(f, X)


@pytest.mark.parametrize("f", [set_rows, swap_rows, key_value_cache])
def test_batched(f):
    agree(nr.vmap(f), np.stack([X, X + 1, X - 1]))


def test_gradient():
    agree(nr.grad(lambda x: jnp.sum(jnp.sin(key_value_cache(x)[1]))), X)
    agree(nr.grad(lambda x: jnp.sum(jnp.sin(read_before(x)[0]))), X)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64", "int8", "bool", "complex64"])
def test_types(dtype):
    big = np.tile(X, (8, 1)).astype(dtype if dtype != "bool" else bool)

    def f(x):
        return lax.fori_loop(1, N, lambda i, x: x.at[i].set(x[i - 1]), x)

    with interpreting():
        want = np.asarray(f(jnp.asarray(big)))
    np.testing.assert_array_equal(np.asarray(nr.jit(f)(big)), want)
    assert nr.plan(f, big).temporary_bytes < big.nbytes / 2


# ---------------------------------------------------------------- donated arguments
def training_step(w, m, x):
    g = nr.grad(lambda w: jnp.sum(jnp.tanh(x @ w) ** 2))(w)
    m = 0.9 * m + g
    return w - 0.01 * m, m


W = np.random.default_rng(1).normal(size=(256, 64)).astype(np.float32)
ROWS = np.random.default_rng(2).normal(size=(8, 256)).astype(np.float32)


def address(x):
    return np.asarray(x).ctypes.data


def donating(f, *numbers):
    return nr.jit(f, donate_argnums=numbers)


def test_results_lie_where_donated_arguments_did():
    f = donating(training_step, 0, 1)
    w, m = f(jnp.asarray(W), jnp.asarray(W), ROWS)  # results of programs have memory of a pool
    places = {address(w), address(m)}
    want = training_step(w, m, ROWS)
    w, m = f(w, m, ROWS)
    assert {address(w), address(m)} == places
    # One float32 product of 8 x 256 x 64, twice.
    np.testing.assert_allclose(w, want[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(m, want[1], rtol=1e-4, atol=1e-4)
    plan = f.lower(w, m, ROWS).plan()
    assert plan.reused_bytes == 2 * W.nbytes
    assert plan.peak_bytes < 3 * W.nbytes + ROWS.nbytes + 20_000


def test_an_updated_cache_is_not_copied():
    f = donating(lambda cache, row, i: cache.at[i].set(row), 0)
    cache = f(jnp.asarray(W), W[0, :], 3)
    for i in range(10):
        before = address(cache)
        cache = f(cache, W[i + 50], i)
        assert address(cache) == before
    np.testing.assert_array_equal(np.asarray(cache)[:10], W[50:60])
    np.testing.assert_array_equal(np.asarray(cache)[10:], W[10:])


def test_results_of_another_shape_have_memory_of_their_own():
    f = donating(lambda x: x.reshape(64, 256) * 2, 0)
    out = f(nr.jit(lambda x: x + 0)(W))
    np.testing.assert_array_equal(out, W.reshape(64, 256) * 2)


def views(x):
    data = np.asarray(x)
    return [data, data.T, data[3:], memoryview(data), np.from_dlpack(x)]


@pytest.mark.parametrize("kind", range(5))
def test_what_others_see_is_not_written_over(kind):
    f = donating(lambda x: x * 2 + 1, 0)
    x = f(jnp.asarray(W))
    seen = views(x)[kind]
    copy = np.array(seen)
    y = f(x)
    np.testing.assert_array_equal(np.asarray(seen), copy)
    np.testing.assert_array_equal(y, (W * 2 + 1) * 2 + 1)
    assert x.is_deleted()


def test_users_arrays_are_not_written_over():
    mine = W.copy()
    f = donating(lambda x: x * 2, 0)
    f(mine), f(jnp.asarray(mine)), f(mine)
    np.testing.assert_array_equal(mine, W)


def test_an_argument_donated_and_kept():
    f = donating(lambda x, y: (x * 2, y + 1), 0)
    x, _ = f(jnp.asarray(W), W)
    value = np.array(x)
    a, b = f(x, x)
    np.testing.assert_array_equal(a, value * 2)
    np.testing.assert_array_equal(b, value + 1)


def test_closed_over_and_donated():
    x = nr.jit(lambda x: x + 1)(W)
    value = np.array(x)
    f = donating(lambda y: y * 2 + x, 0)
    np.testing.assert_array_equal(f(x), value * 2 + value)


def test_an_error_in_a_step_leaves_the_next_call_right():
    def f(x):
        y = x * 2
        nr.pure_callback(fail, nr.ShapeDtypeStruct((), np.float32), y[0, 0])
        return y + nr.pure_callback(fail, nr.ShapeDtypeStruct((), np.float32), y[0, 0])

    failing = [True]

    def fail(_):
        if failing[0]:
            raise ValueError("mine")
        return np.float32(1)

    g = donating(f, 0)
    x = nr.jit(lambda x: x + 0)(W)
    with pytest.raises(Exception, match="mine"):
        g(x)
    assert x.is_deleted()
    failing[0] = False
    np.testing.assert_array_equal(g(nr.jit(lambda x: x + 0)(W)), W * 2 + 1)


# ---------------------------------------------------------------- windows of what a product adds to
def _blocks(change):
    """A loop that adds products to blocks of an array, in place or not as it has to be."""

    def f(c, xs, ys, order):
        def step(c, x):
            x, y, i = x
            j = (i + 1) % 8 if change == "other block" else i
            old = lax.dynamic_index_in_dim(c, i, keepdims=False)
            if change == "other rows":
                old = old[::-1]
            new = old + jnp.einsum("hij,hjk->hik", x, y)
            if change == "other columns":
                new = new + jnp.roll(old, 1, -1)
            out = c[:, 0].sum() if change == "read before" else None
            c = lax.dynamic_update_index_in_dim(c, new, j, 0)
            return c, (c[:, 1].sum() if change == "read after" else out)

        return lax.scan(step, c, (xs, ys, order))

    return f


@pytest.mark.parametrize(
    "change",
    ["", "other block", "other rows", "other columns", "read before", "read after"],
)
def test_blocks_that_products_are_added_to(change):
    rng = np.random.default_rng(0)
    whole = [rng.integers(-3, 4, s).astype(np.float32) for s in ((8, 4, 32, 32), (12, 4, 32, 32))]
    args = [*whole, whole[1][::-1].copy(), rng.integers(0, 8, 12).astype(np.int32)]
    f = _blocks(change)
    for threads in (1, 2, 3):
        with nr.num_threads(threads):
            got = nr.jit(f)(*args)
        want = np.array(args[0])
        for x, y, i in zip(*args[1:], strict=True):
            old = want[i].copy()
            if change == "other rows":
                old = old[::-1]
            new = old + np.einsum("hij,hjk->hik", x, y)
            if change == "other columns":
                new = new + np.roll(old, 1, -1)
            want[(i + 1) % 8 if change == "other block" else i] = new
        np.testing.assert_array_equal(np.asarray(got[0]), want)


def test_blocks_that_products_are_added_to_are_written_where_they_are():
    """Without that, each step copies the whole array."""
    shapes = [(64, 2, 64, 64), (99, 2, 64, 64), (99, 2, 64, 64)]
    args = [nr.ShapeDtypeStruct(s, np.float32) for s in shapes]
    plan = nr.plan(lambda *a: _blocks("")(*a)[0], *args, nr.ShapeDtypeStruct((99,), np.int32))
    whole = 64 * 2 * 64 * 64 * 4
    assert plan.temporary_bytes < whole / 2
