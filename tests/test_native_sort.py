"""Without this, compiled sorts could lose elements, order NaN, zeros or ties otherwise than eager
code does, depend on how many threads there are, or run in Python unnoticed."""

import ml_dtypes
import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler.plan import Target, runs_in_table
from nr.backends.compiler.simplify import simplify
from nr.backends.cpu import program

FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
REAL = [*FLOATS, *INTEGERS, "bool"]
COMPLEX = ["complex64", "complex128"]
WORD = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def dtype_of(name):
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def some(shape, dtype, seed=0, *, few=False):
    """Numbers of all bits, among them NaNs of several bits, or a few numbers of which many are
    equal: zeros of both signs, infinities, NaN."""
    rng = np.random.default_rng(seed)
    dtype = dtype_of(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if few and dtype.kind in "iu":
        return rng.integers(0, 5, shape).astype(dtype)
    if few:
        values = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, -np.nan]
        part = rng.choice(values, shape)
        if dtype.kind == "c":
            return (part + 0).astype(dtype) + (1j * rng.choice(values[:4], shape)).astype(dtype)
        return part.astype(dtype)
    raw = rng.bytes(int(np.prod(shape)) * dtype.itemsize)
    return np.frombuffer(raw, dtype).reshape(shape)


def words(x):
    """The bits of an array."""
    x = np.ascontiguousarray(x)
    return x.view(np.uint8).reshape(*x.shape, x.dtype.itemsize)


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_array_equal(words(a), words(b))


def jitted(function, *arrays):
    """What jit gives, natively, on 1, 2 and 3 threads."""
    jaxpr = simplify(nr.make_jaxpr(function)(*arrays))
    in_table = [str(q.primitive.name) for q in jaxpr.eqns if runs_in_table(q)]
    assert not in_table, f"in the table: {in_table}"
    compiled = nr.jit(function)
    results = []
    for threads in (1, 2, 3):
        with nr.num_threads(threads):
            results.append([np.asarray(x) for x in nr.tree.leaves(compiled(*arrays))])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            same(a, b)
    return results[0]


def check_sort(x, axis):
    """Values, places, and values that go along."""
    x = jnp.asarray(x)
    order = np.asarray(jnp.argsort(x, axis))
    (values,) = jitted(lambda x: lax.sort(x, axis), x)
    same(values, np.take_along_axis(np.asarray(x), order, axis))
    (places,) = jitted(lambda x: jnp.argsort(x, axis), x)
    same(places, order)
    y = jnp.asarray(some(x.shape, "int16", 7))
    keys, along = jitted(lambda x, y: lax.sort((x, y), axis), x, y)
    same(keys, values)
    same(along, np.take_along_axis(np.asarray(y), order, axis))


SHAPES = [
    ((0,), 0), ((1,), 0), ((2,), 0), ((3, 7), 1), ((5, 33), 1), ((2, 257), 1), ((3, 1000), 1),
    ((2, 4111), 1), ((7, 3), 0), ((37, 70), 0), ((3, 65, 5), 1), ((3, 0), 0), ((0, 3), 0),
    ((3, 1), 1), ((300, 5), 1), ((300, 19), 1), ((20, 50, 8), 1), ((33, 64), 1),
    ((9, 77), 0), ((4, 9, 35), 1),
]  # fmt: skip


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("dtype", [*REAL, *COMPLEX])
def test_sort(dtype, few):
    for k, (shape, axis) in enumerate(SHAPES):
        check_sort(some(shape, dtype, k, few=few), axis)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "uint8", "float64", "complex64"])
def test_long_rows(dtype, few):
    for shape, axis in [((40_001,), 0), ((2, 17_000), 1), ((17_001, 2), 0)]:
        check_sort(some(shape, dtype, 3, few=few), axis)


def test_a_sort_of_one_array_gives_what_eager_code_gives():
    x = jnp.asarray(some((50, 300), "float32", few=True))
    (values,) = jitted(lambda x: lax.sort(x, 1), x)
    eager = np.asarray(lax.sort(x, 1))
    np.testing.assert_array_equal(values, eager)
    zeros = values == 0
    np.testing.assert_array_equal(np.signbit(values[zeros]), np.signbit(eager[zeros]))


@pytest.mark.parametrize("n", [50, 3000, 20_000])
@pytest.mark.parametrize("num_keys", [1, 2, 3])
def test_several_keys(n, num_keys):
    operands = [
        jnp.asarray(some((2, n), dtype, k, few=True))
        for k, dtype in enumerate(["int8", "float32", "complex64", "float64", "bool", "complex128"])
    ]

    def function(*xs):
        return lax.sort(xs, 1, num_keys=num_keys)

    for got, expected in zip(jitted(function, *operands), function(*operands), strict=True):
        same(got, expected)


def test_orders_that_sorts_already_have():
    for n in (5000, 150_000):
        up = np.arange(n, dtype=np.float32)
        for x in (up, up[::-1], np.zeros(n, np.float32), np.roll(up, n // 3), up % 1000):
            check_sort(x, 0)
            check_sort(np.tile(x[:600], (3, 1)), 1)


def test_places_of_other_types_and_results_that_nobody_reads():
    x = jnp.asarray(some((4, 100), "float32"))
    for dtype in ("uint8", "int16", "int64", "uint32"):
        for axis in (0, 1):
            (got,) = jitted(lambda x, d=dtype, a=axis: jnp.argsort(x, a, dtype=d), x)
            same(got, jnp.argsort(x, axis, dtype=dtype))
    (got,) = jitted(lambda x: lax.sort((x, x * 2, -x), 1)[1], x)
    same(got, lax.sort((x, x * 2, -x), 1)[1])
    both = lambda x: lax.sort((lax.broadcasted_iota("int32", x.shape, 1), x), 1)  # noqa: E731
    for got, expected in zip(jitted(both, x), both(x), strict=True):
        same(got, expected)


def test_a_payload_that_counts_along_another_dimension():
    x = jnp.asarray(some((30, 40), "int32", few=True))
    function = lambda x: lax.sort((x, lax.broadcasted_iota("int32", x.shape, 0)), 1)  # noqa: E731
    for got, expected in zip(jitted(function, x), function(x), strict=True):
        same(got, expected)


def test_sorts_within_programs():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32))

    def function(x):
        y = jnp.sort(x, 1) * 2
        return jnp.median(y, 0), jnp.sum(jnp.sort(y, 0)[1:3], 0), nr.vmap(jnp.argsort)(y * -1)

    for got, expected in zip(jitted(function, x), function(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    grads = [f(lambda x: jnp.sum(jnp.sort(x, 1) * jnp.arange(40.0)))(x) for f in (
        nr.grad, lambda g: nr.jit(nr.grad(g)))]  # fmt: skip
    np.testing.assert_array_equal(*[np.asarray(g) for g in grads])


def test_sorts_in_loops_and_batches():
    x = jnp.asarray(some((5, 6, 70), "float32", few=True))
    (got,) = jitted(lambda x: lax.map(lambda y: jnp.argsort(y, 0), x), x)
    same(got, jnp.argsort(x, 1))
    for axis in (0, 1, 2):
        (got,) = jitted(nr.vmap(jnp.argsort, axis), x)
        same(got, nr.vmap(jnp.argsort, axis)(x))
    (got,) = jitted(lambda x: lax.fori_loop(0, 3, lambda i, x: jnp.sort(x, 1)[::-1], x), x)
    same(got, lax.fori_loop(0, 3, lambda i, x: jnp.sort(x, 1)[::-1], x))


@pytest.mark.parametrize("seed", range(8))
def test_random_sorts(seed):
    rng = np.random.default_rng(seed)
    for _ in range(6):
        shape = tuple(rng.integers(1, [6, 300, 6][: rng.integers(1, 4)]))
        axis = int(rng.integers(0, len(shape)))
        dtypes = rng.choice([*REAL, *COMPLEX], rng.integers(1, 5))
        num_keys = int(rng.integers(1, len(dtypes) + 1))
        operands = [
            jnp.asarray(some(shape, dtype, k, few=bool(rng.integers(0, 2))))
            for k, dtype in enumerate(dtypes)
        ]

        def function(*xs, axis=axis, num_keys=num_keys):
            return lax.sort(xs, axis, num_keys=num_keys)

        eager = function(*operands, lax.broadcasted_iota("int32", shape, axis))[-1]
        for got, x in zip(jitted(function, *operands), operands, strict=True):
            same(got, np.take_along_axis(np.asarray(x), np.asarray(eager), axis))


@pytest.mark.parametrize("vector_bytes", [16, 32])
def test_other_vectors(vector_bytes, monkeypatch):
    """As on processors without AVX-512."""
    monkeypatch.setattr(program, "target", lambda: Target(vector_bytes))
    for dtype in ("float32", "float64", "bfloat16"):
        for shape, axis in [((40, 7), 1), ((3, 1000), 1), ((20_000,), 0)]:
            check_sort(some(shape, dtype, few=True), axis)
        check_top_k(some((3, 1000), dtype), 5)
    got = jitted(lambda x: lax.sort((x, -x), 0), jnp.asarray(some((300, 3), "complex128")))
    assert len(got) == 2


# ------------------------------------------------------------------------------ top_k
TOP_K = [
    ((5,), 2), ((5,), 5), ((1,), 1), ((3, 0), 0), ((3, 4), 0), ((2, 100), 1), ((2, 100), 8),
    ((3, 1000), 3), ((3, 1000), 16), ((3, 1000), 17), ((2, 1000), 200), ((2, 1000), 900),
    ((2, 9000), 2100), ((3, 2000), 64), ((40, 7), 3), ((33, 50), 50), ((40_007,), 5),
    ((2, 33_000), 300), ((1, 33_000), 32_000),
]  # fmt: skip


def check_top_k(x, k):
    x = jnp.asarray(x)
    order = np.asarray(lax.top_k(x, k)[1])
    values, places = jitted(lambda x: lax.top_k(x, k), x)
    same(places, order)
    same(values, np.take_along_axis(np.asarray(x), order, -1))


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("dtype", REAL)
def test_top_k(dtype, few):
    for n, (shape, k) in enumerate(TOP_K):
        check_top_k(some(shape, dtype, n, few=few), k)


def test_top_k_of_rows_that_are_in_order():
    """Every element of a rising row passes the threshold."""
    for dtype in ("float32", "int64"):
        up = np.arange(5000).astype(dtype)
        for x in (up, up[::-1], np.zeros(5000, dtype)):
            for k in (1, 8, 60):
                check_top_k(x, k)
    x = np.full((2, 5000), np.nan, np.float32)
    check_top_k(x, 8)
    check_top_k(np.concatenate([np.zeros_like(x), x], 1), 500)


def test_top_k_along_other_axes():
    x = jnp.asarray(some((30, 50, 4), "float32"))
    for axis in (0, 1):
        got = jitted(lambda x, a=axis: lax.top_k(x, 3, axis=a), x)
        for a, b in zip(got, lax.top_k(x, 3, axis=axis), strict=True):
            same(a, b)
