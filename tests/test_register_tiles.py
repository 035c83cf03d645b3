"""Without these tests tiled loops could skip rests of rows or columns, or stay in memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler.expr import compiling, const
from nr.backends.compiler.index import Loop, index_of
from nr.backends.compiler.loops import Buffer, Kernel, Pass, Reducer, Store, load, validate
from tests.native_kernels import run_kernel

rng = np.random.default_rng(0)


def whole(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Small whole numbers, of which products and sums are exact in every type."""
    return rng.integers(-3, 4, shape).astype(dtype)


def product_kernel(
    m: int, k: int, n: int, tiles: tuple[int, int], width: int, tasks: str, dtype: str = "f32"
) -> Kernel:
    i, j, c = Loop("i", m), Loop("j", n), Loop("c", k, reduced=True)
    a, b, out = Buffer("a", dtype, m * k), Buffer("b", dtype, k * n), Buffer("out", dtype, m * n)
    value = load(a, index_of(i) * k + index_of(c)) * load(b, index_of(c) * n + index_of(j))
    total = Reducer("r", (value,), (const(0, dtype),), lambda x, y: (x[0] + y[0],))
    after = [Store(out, index_of(i) * n + index_of(j), total.result())]
    kept = [j, i] if tasks == "columns" else [i, j]
    step = Pass([total], [], after)
    return Kernel(kept, [c], j, [step], int(tasks != "none"), width, [], {i: tiles[0], j: tiles[1]})


@pytest.mark.parametrize("tasks", ["rows", "columns", "none"])
@pytest.mark.parametrize("tiles", [(1, 1), (3, 2), (5, 1), (2, 4)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 32), (7, 3, 33), (11, 4, 64), (6, 0, 100)])
def test_rests_of_rows_and_columns(
    shape: tuple[int, int, int], tiles: tuple[int, int], tasks: str
) -> None:
    m, k, n = shape
    a, b = whole(m, k), whole(k, n)
    out = np.full((m + 1, n), 99, np.float32)
    with compiling():
        run_kernel(product_kernel(m, k, n, tiles, 16, tasks), {"a": a, "b": b, "out": out})
    assert np.array_equal(out[:m], a @ b)
    assert (out[m] == 99).all()


def test_tiles_are_refused_where_tasks_would_begin_within_them() -> None:
    with compiling():
        kernel = product_kernel(10, 4, 16, (4, 1), 16, "rows")
        outer = Loop("o", 3)
        kernel.kept, kernel.tasks = [outer, *kernel.kept], 2
        with pytest.raises(AssertionError, match="a task would begin"):
            validate(kernel)


SHAPES = [(1, 7, 16), (13, 1, 40), (33, 47, 61), (64, 64, 64), (40, 129, 127), (2, 600, 300)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_products(shape: tuple[int, int, int], dtype: str) -> None:
    m, k, n = shape
    a, b = whole(m, k), whole(k, n)
    x, y = jnp.asarray(a).astype(dtype), jnp.asarray(b).astype(dtype)
    want = (jnp.asarray(a @ b)).astype(dtype)
    for f, args in (
        (lambda a, b: a @ b, (x, y)),
        (lambda a, b: a.T @ b, (x.T, y)),
        (lambda a, b: a @ b.T, (x, y.T)),
        (lambda a, b: (b.T @ a.T).T, (x, y)),
    ):
        assert jnp.array_equal(nr.jit(f)(*args), want)


@pytest.mark.parametrize("f", [
    lambda x, w, b: jnp.tanh(x @ w + b),
    lambda x, w, b: jnp.maximum(x @ w + b, 0).astype(jnp.bfloat16),
    lambda x, w, b: (jnp.exp(x) - 1) @ jnp.sin(w) + b,
    lambda x, w, b: nr.nn.softmax(x @ w + b),
    lambda x, w, b: (x @ w, x @ (w * 2), (x @ w).sum(0)),
    lambda x, w, b: nr.vmap(lambda r: r @ w)(x[:, None]) + b,
    nr.grad(lambda x, w, b: (jnp.tanh(x @ w + b) ** 2).sum(), (0, 1, 2)),
    lambda x, w, b: lax.scan(lambda c, _: (jnp.tanh(c @ w[: w.shape[1]]), c), x @ w, None, 3)[1],
])  # fmt: skip
@pytest.mark.parametrize("shape", [(37, 70, 50), (64, 96, 64)])
def test_what_comes_before_and_after(f: Callable, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    x, w, b = [0.3 * rng.standard_normal(s).astype("f") for s in ((m, k), (k, n), (n,))]
    with nr.disable_jit():
        want = nr.tree.leaves(f(jnp.asarray(x), jnp.asarray(w), jnp.asarray(b)))
    for got, expected in zip(nr.tree.leaves(nr.jit(f)(x, w, b)), want, strict=True):
        # Sums of k products in another order; a bfloat16 has 8 bits.
        tolerance = 1e-2 if got.dtype == jnp.bfloat16 else 1e-4
        np.testing.assert_allclose(
            np.asarray(got.astype("float32")), np.asarray(expected.astype("float32")),
            rtol=tolerance, atol=tolerance,
        )  # fmt: skip


def test_batches() -> None:
    for b, m, k, n in (
        (3, 2, 5, 7),
        (100, 16, 16, 16),
        (5, 33, 9, 40),
        (0, 4, 4, 4),
        (2, 50, 40, 30),
    ):
        x, y = whole(b, m, k), whole(b, k, n)
        assert np.array_equal(nr.jit(jnp.matmul)(x, y), x @ y)


def test_products_of_complex_numbers_have_two_sums_each() -> None:
    x, y = [whole(*s) + 1j * whole(*s) for s in ((20, 30), (30, 20))]
    assert np.array_equal(nr.jit(jnp.matmul)(x.astype("complex64"), y.astype("complex64")), x @ y)


def test_infinities_and_nans_reach_their_results_only() -> None:
    x, y = whole(34, 40), whole(40, 35)
    x[3, 5], x[33, 0], y[7, 34] = np.inf, np.nan, np.nan
    with np.errstate(invalid="ignore"):
        want = (x[:, :, None].astype("d") * y[None]).sum(1).astype("f")
    assert np.array_equal(nr.jit(jnp.matmul)(x, y), want, equal_nan=True)


def text(stage: str, f: Callable, *args: Any) -> str:
    return nr.jit(f).lower(*args).compile().as_text(stage)


def test_results_do_not_depend_on_threads() -> None:
    x, y = [rng.standard_normal(s).astype("f") for s in ((300, 130), (130, 70))]
    f = nr.jit(lambda x, y: jnp.tanh(x @ y))
    before = nr.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            nr.set_num_threads(threads)
            results.append(np.asarray(f(x, y)))
    finally:
        nr.set_num_threads(before)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_a_layer_is_one_kernel() -> None:
    x, w, b = whole(64, 64), whole(64, 128), whole(128)
    loops = text("loops", lambda x, w, b: jnp.tanh(x @ w + b), x, w, b)
    assert loops.count("kernel") == 1 and " by " in loops and "in panels" not in loops


def test_gradients_of_weights_are_tiles() -> None:
    x, w = whole(64, 96), whole(96, 64)
    assert "in panels" not in text("loops", nr.grad(lambda w, x: (x @ w).sum()), w, x)


def test_what_does_not_stay_in_cache_is_for_blas() -> None:
    assert "in panels" in text("loops", lambda x, y: x @ y, whole(64, 1100), whole(1100, 1100))


def test_accumulators_are_registers() -> None:
    x = whole(64, 64)
    assembly = text("assembly", lambda x, y: x @ y, x, x)
    multiplications = [m.start() for m in re.finditer("vfmadd", assembly)]
    if not multiplications:
        pytest.skip("not an x86 processor with fused multiplications")
    body = assembly[multiplications[0] : multiplications[12]]
    assert not re.search(r"vmovap[sd]\s.*\((%rsp|%rbp)\)|\((%rsp|%rbp)\), %[yz]mm", body)
