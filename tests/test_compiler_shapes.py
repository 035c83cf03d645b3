"""Without these tests the compiler would be known to be right for the shapes of the benchmarks.

Normalizations, reductions over every set of axes, products in every form, and their gradients, for
extents of 0, 1, primes and beside the width of vectors; inputs of every memory layout; outputs
that are inputs, constants, or the same value twice. Compiled programs beside eager ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from tests.interpreted import interpreting

# f64: a few hundred terms in another order, elementary functions to a few units of the last place.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}
# The same in f32.
CLOSE32 = {"rtol": 2e-5, "atol": 2e-5}

# No row, one; beside 16, 32 and 64 lanes; primes; more than the longest vectors.
SHAPES: list[tuple[int, ...]] = [
    (0,), (1,), (2,), (7,), (15,), (16,), (17,), (63,), (64,), (65,), (127,), (257,), (1021,),
    (0, 3), (3, 0), (1, 1), (1, 5), (5, 1), (3, 17), (17, 3), (2, 64), (31, 33), (65, 129),
    (128, 1), (0, 3, 2), (2, 0, 3), (2, 3, 0), (1, 1, 1), (2, 3, 5), (3, 1, 17), (4, 16, 8),
    (5, 33, 2), (2, 65, 3),
    (1, 2, 1, 3), (2, 3, 4, 5), (3, 2, 17, 1), (2, 3, 2, 33),
    (2, 1, 3, 2, 5), (1, 2, 3, 1, 17),
]  # fmt: skip
NONEMPTY = [s for s in SHAPES if math.prod(s)]


def normal(shape: Sequence[int], seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=tuple(shape)).astype(dtype)


def same(got: Any, want: Any, close: dict[str, float] | None = None) -> None:
    """Equal trees: shapes and dtypes, integers and booleans exactly, floats closely."""
    got, want = nr.tree.leaves(got), nr.tree.leaves(want)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if a.dtype.kind in "fc":
            np.testing.assert_allclose(a, b, **(close or CLOSE))
        else:
            np.testing.assert_array_equal(a, b)


def agrees(f: Callable, *args: np.ndarray, close: dict[str, float] | None = None) -> None:
    """The compiled function gives what the table gives, operation by operation."""
    with interpreting():
        want = f(*[jnp.asarray(x) for x in args])
    same(nr.jit(f)(*args), want, close)


def weighted(f: Callable) -> Callable:
    """A scalar function of f's outputs in which every element counts differently."""

    def loss(*args: Any) -> Any:
        total = 0.0
        for y in nr.tree.leaves(f(*args)):
            weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
            total = total + jnp.sum(y * weights)
        return total

    return loss


def agrees_with_gradient(f: Callable, *args: np.ndarray) -> None:
    agrees(f, *args)
    gradient = nr.value_and_grad(weighted(f), argnums=tuple(range(len(args))))
    agrees(gradient, *args)


# ---------------------------------------------------------------- normalizations
def softmax(x: Any) -> Any:
    y = jnp.exp(x - jnp.max(x, axis=-1, keepdims=True))
    return y / jnp.sum(y, axis=-1, keepdims=True)


def logsumexp(x: Any) -> Any:
    m = lax.stop_gradient(jnp.max(x, axis=-1))
    return m + jnp.log(jnp.sum(jnp.exp(x - m[..., None]), axis=-1))


def layer_norm(x: Any) -> Any:
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.var(x, axis=-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-3) * 1.5 + 0.5


def batch_norm(x: Any) -> Any:
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axis=axes)
    variance = jnp.mean((x - mean) ** 2, axis=axes)
    return (x - mean) * lax.rsqrt(variance + 1e-3)


def variances(x: Any) -> Any:
    return jnp.var(x, axis=0), jnp.std(x, axis=-1) + 0 * jnp.sum(x), jnp.mean(x * x)


NORMALIZATIONS = [softmax, logsumexp, layer_norm, batch_norm, nr.nn.log_softmax]


@pytest.mark.parametrize("f", NORMALIZATIONS, ids=lambda f: f.__name__)
def test_normalizations_of_every_shape(f: Callable) -> None:
    for shape in NONEMPTY:
        if f is logsumexp or shape[-1] > 1 or f is not layer_norm:
            agrees_with_gradient(f, normal(shape))


@pytest.mark.parametrize("f", [softmax, layer_norm, batch_norm], ids=lambda f: f.__name__)
def test_normalizations_of_nothing(f: Callable) -> None:
    for shape in [(0, 3), (0,) * 3, (2, 0, 3)]:
        if shape[-1]:
            agrees(f, normal(shape))


def test_variances() -> None:
    for shape in NONEMPTY:
        agrees(variances, normal(shape))


@pytest.mark.parametrize("f", [softmax, layer_norm, batch_norm], ids=lambda f: f.__name__)
def test_normalizations_in_single_precision(f: Callable) -> None:
    for shape in [(7,), (65,), (3, 1021), (129, 63), (2, 17, 33)]:
        agrees(f, normal(shape, dtype=np.float32), close=CLOSE32)


# ---------------------------------------------------------------- reductions
def test_sums_over_every_subset_of_axes() -> None:
    for shape in [s for s in SHAPES if len(s) < 5]:
        x = normal(shape)
        subsets = [
            axes
            for n in range(len(shape) + 1)
            for axes in itertools.combinations(range(len(shape)), n)
        ]
        agrees(lambda x, subsets=subsets: [jnp.sum(x, axis=a) for a in subsets], x)


def test_each_sum_in_a_program_of_its_own() -> None:
    """Not combined with others: each chooses its own loops."""
    for shape in [(3, 17), (65, 129), (2, 3, 5), (4, 16, 8), (2, 3, 2, 33)]:
        for n in range(1, len(shape) + 1):
            for axes in itertools.combinations(range(len(shape)), n):
                f = lambda x, axes=axes: jnp.sum(jnp.sin(x), axis=axes)  # noqa: E731
                agrees_with_gradient(f, normal(shape))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32", "bool", "int64"])
def test_other_reductions(dtype: str) -> None:
    for shape in [(7,), (65,), (3, 17), (17, 3), (2, 65, 3), (129, 2)]:
        x = (normal(shape) * 9).astype(np.int8).astype(dtype)
        for axis in (None, 0, len(shape) - 1):
            agrees(
                lambda x, axis=axis: [
                    jnp.max(x, axis), jnp.min(x, axis), jnp.argmax(x, axis), jnp.argmin(x, axis),
                    jnp.any(x, axis), jnp.all(x, axis), jnp.sum(x, axis),
                ],
                x,
            )  # fmt: skip


def test_reductions_of_nothing_give_their_identity() -> None:
    for shape, axis in [((0,), 0), ((0, 3), 0), ((3, 0), 1), ((2, 0, 3), 1), ((0, 3), None)]:
        agrees(lambda x, a=axis: [jnp.sum(x, a), jnp.prod(x, a), jnp.all(x > 0, a)], normal(shape))


@pytest.mark.parametrize(
    "shape", [(70_001,), (3, 40_009), (40_009, 3), (263, 257), (5, 127, 129), (2, 50_000, 2)]
)
def test_reductions_in_two_steps(shape: tuple[int, ...]) -> None:
    """Long ones are split into parts whose number does not divide the extent."""
    x = normal(shape)
    # 1e5 terms: errors of a few hundred units of the last place of sums about 300 high.
    close = {"rtol": 1e-11, "atol": 1e-10}
    for axis in (None, *range(len(shape))):
        f = lambda x, a=axis: [jnp.sum(x, a), jnp.max(x, a), jnp.argmin(x, a), jnp.var(x, a)]  # noqa: E731
        agrees(f, x, close=close)


# ---------------------------------------------------------------- divisions
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_divisions_by_one_number_are_correctly_rounded(dtype: Any) -> None:
    """They are multiplications by a reciprocal, corrected."""
    info = np.finfo(dtype)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, info.max, -info.max]
    x = np.concatenate([normal((5000,), 1), 10.0 ** normal((5000,), 2), special]).astype(dtype)
    divide = nr.jit(lambda x, y: x / y)
    divisors = [1, -1, 3, 768, 0.1, 0.0, -0.0, np.inf, np.nan, 1e30, 1e-30, info.max, info.tiny]
    for y in [*np.array(divisors, dtype), *normal((20,), 3).astype(dtype)]:
        with np.errstate(all="ignore"):
            want = x / y
        got = np.asarray(divide(x, np.array(y)))
        np.testing.assert_array_equal(got, want, f"divided by {y}")
        np.testing.assert_array_equal(np.signbit(got)[want == 0], np.signbit(want)[want == 0])


# ---------------------------------------------------------------- moves
def test_transposes_in_every_order() -> None:
    for shape in [(3, 17), (65, 129), (2, 3, 5), (4, 16, 8), (5, 33, 2), (2, 3, 4, 5), (0, 3, 2)]:
        for order in itertools.permutations(range(len(shape))):
            f = lambda x, order=order: [lax.transpose(x, order), lax.transpose(x, order) * 2 + 1]  # noqa: E731
            agrees(f, normal(shape))


def test_moves_and_their_gradients() -> None:
    def f(x: Any) -> Any:
        y = jnp.concatenate([x[:, ::-1], jnp.pad(x, ((1, 2), (0, 1)))[1:-2, 1:]], axis=1)
        z = jnp.reshape(jnp.transpose(y), (-1, x.shape[0]))
        return (
            jnp.sin(z) * z[::-1],
            jnp.roll(x, 3, axis=1),
            jnp.broadcast_to(x[None], (2, *x.shape)),
        )

    for shape in [(1, 1), (1, 5), (3, 17), (17, 3), (31, 33), (2, 64)]:
        agrees_with_gradient(f, normal(shape))


DTYPES = ("f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?", "c8", "c16")


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_every_storage_type(dtype: str) -> None:
    def f(x: Any) -> Any:
        y = jnp.where(x > 0, x, x[:1]) if x.dtype.kind in "fiu" else x
        return x, x[::-1, ::-1], x.T, y, x[:, ::2], jnp.concatenate([x, x], axis=1)

    for n in (1, 15, 17, 64, 65, 257):
        x = np.abs(normal((3, n)) * 5)
        agrees(f, x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype))


# ---------------------------------------------------------------- products
def _forms() -> list[tuple[tuple, tuple, Any]]:
    """Operand shapes and dimension numbers of dot_general."""
    forms: list[tuple[tuple, tuple, Any]] = []
    b, m, n, k, c = 3, 5, 33, 17, 2
    # Vectors, and matrices, each transposed or not; some so large that they are in panels.
    forms += [((k,), (k,), (((0,), (0,)), ((), ()))), ((m,), (n,), (((), ()), ((), ())))]
    forms += [((m, k), (k,), (((1,), (0,)), ((), ()))), ((k,), (n, k), (((0,), (1,)), ((), ())))]
    for big in (False, True):
        rows, columns, inner = (65, 47, 40) if big else (m, n, k)
        for left in (0, 1):
            for right in (0, 1):
                x = (inner, rows) if left == 0 else (rows, inner)
                y = (inner, columns) if right == 0 else (columns, inner)
                forms.append((x, y, (((left,), (right,)), ((), ()))))
    # A batch dimension at every place of both operands.
    for p in range(3):
        for q in range(3):
            x, y = [m, k], [k, n]
            x.insert(p, b)
            y.insert(q, b)
            left = next(d for d in range(3) if x[d] == k)
            right = next(d for d in range(3) if y[d] == k)
            forms.append((tuple(x), tuple(y), (((left,), (right,)), ((p,), (q,)))))
    # Two contracted dimensions in either order, two batch dimensions in either order.
    for order in ((0, 1), (1, 0)):
        axes = ((2, 1), tuple([(0, 1)[o] for o in order]))
        ext = {0: c, 1: k} if order == (1, 0) else {0: k, 1: c}
        y = (ext[0], ext[1], n)
        x = (m, y[axes[1][1]], y[axes[1][0]])
        forms.append((x, y, (axes, ((), ()))))
        forms.append(((b, c, m, k), (c, b, k, n) if order == (1, 0) else (b, c, k, n),
                      (((3,), (2,)), ((0, 1), order))))  # fmt: skip
    # Nothing contracted, everything contracted, extents of 0 and 1.
    forms += [
        ((b, m), (b, n), (((), ()), ((0,), (0,)))),
        ((m, k), (m, k), (((0, 1), (0, 1)), ((), ()))),
    ]
    forms += [((m, k), (k, m), (((0, 1), (1, 0)), ((), ())))]
    forms += [
        ((0, k), (k, n), (((1,), (0,)), ((), ()))),
        ((m, 0), (0, n), (((1,), (0,)), ((), ()))),
    ]
    forms += [
        ((1, 1), (1, 1), (((1,), (0,)), ((), ()))),
        ((64, 1), (1, 64), (((1,), (0,)), ((), ()))),
    ]
    forms += [
        ((1, 300), (300, 70), (((1,), (0,)), ((), ()))),
        ((70, 300), (300, 1), (((1,), (0,)), ((), ()))),
    ]
    forms += [((0, 65, 40), (0, 40, 50), (((2,), (1,)), ((0,), (0,))))]
    # Batches of matrices so large that they are in panels.
    forms += [((4, 33, 40), (4, 40, 35), (((2,), (1,)), ((0,), (0,))))]
    forms += [((33, 4, 40), (35, 4, 40), (((2,), (2,)), ((1,), (1,))))]
    forms += [((33, 40, 4), (40, 35, 4), (((1,), (0,)), ((2,), (2,))))]
    return forms


@pytest.mark.parametrize(("x", "y", "numbers"), _forms())
def test_products_in_every_form(x: tuple, y: tuple, numbers: Any) -> None:
    a, b = normal(x, 1), normal(y, 2)
    product = lambda a, b: lax.dot_general(a, b, numbers)  # noqa: E731
    if math.prod(x) and math.prod(y):
        agrees_with_gradient(product, a, b)
        agrees(lambda a, b: jnp.tanh(product(a * 2, b + 1)), a, b)
    agrees(product, a, b)
    agrees(product, a.astype(np.float32), b.astype(np.float32), close={"rtol": 1e-4, "atol": 1e-4})
    agrees(product, (a * 4).astype(np.int32), (b * 4).astype(np.int32))


def test_products_of_inputs_that_are_transposed_in_memory() -> None:
    a, b = normal((65, 40), 1), normal((47, 40), 2)
    agrees(lambda a, b: a @ b, a, np.asfortranarray(b).T)
    agrees(lambda a, b: (a.T @ a, b @ b.T, a @ b.T), a, b)
    agrees(lambda a, b: jnp.einsum("ij,kj->ki", a, b), a, b)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_products_of_16_bit_floats_are_summed_in_32(dtype: Any) -> None:
    # Products of 8-bit significands are exact in f32: only the order of 40 sums, and one rounding.
    a, b = normal((33, 40), 1, dtype), normal((40, 35), 2, dtype)
    want = a.astype(np.float64) @ b.astype(np.float64)
    got = np.asarray(nr.jit(lambda a, b: a @ b)(a, b)).astype(np.float64)
    unit = 2.0**-8 if dtype is not np.float16 else 2.0**-11
    np.testing.assert_allclose(got, want, rtol=1.01 * unit, atol=1e-5)


# ---------------------------------------------------------------- complex numbers
COMPLEX: dict[str, Callable] = {
    "arithmetic": lambda z, w: (z * w + z, z / w, -z, z - 1j * w, jnp.conj(z) * 2),
    "parts": lambda z, w: (jnp.abs(z), jnp.real(w) - jnp.imag(z * w), jnp.angle(z)),
    "functions": lambda z, w: (jnp.exp(z) * w, jnp.log(z), jnp.sqrt(w), jnp.sin(z), jnp.tanh(w)),
    "reductions": lambda z, w: (jnp.sum(z, 0), jnp.sum(z * w, 1), jnp.prod(z[:, :4], 1), z.mean()),
    "products": lambda z, w: (z @ w.T, jnp.conj(z) @ w.T, jnp.vdot(z, w)),
    "moves": lambda z, w: (z.T, jnp.concatenate([z, w])[::-1], jnp.pad(z, 1), z[:, ::2]),
    "choices": lambda z, w: (jnp.where(jnp.real(z) > 0, z, w), z == w, z != z),
    "gathers": lambda z, w: (z[jnp.argmax(jnp.abs(w), 1) % 5], z.at[1:3].add(w[:2])),
    "loops": lambda z, w: lax.scan(lambda c, x: (c * 0.5 + x, c * jnp.conj(x)), z[0], w),
    "gradients": lambda z, w: nr.grad(lambda z: jnp.sum(jnp.abs(z * w) ** 2))(z),
    "long sums": lambda z, w: jnp.sum(jnp.tile(z, (300, 30)), 0),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers(name: str) -> None:
    z, w = [normal((5, 17), s) + 1j * normal((5, 17), s + 1) for s in (1, 3)]
    agrees(COMPLEX[name], z, w)
    z, w = z.astype(np.complex64), w.astype(np.complex64)
    agrees(COMPLEX[name], z, w, close={"rtol": 3e-4, "atol": 3e-4})


# ---------------------------------------------------------------- indices
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_indices_out_of_bounds_in_every_dtype(dtype: str) -> None:
    x = normal((6, 4))
    wide = [0, -1, 5, 6, -6, -7, 2**31, 2**40, -(2**40), 2**63 - 1, -(2**63), 2**31 - 1, 255, 127]
    places = np.array([v % 2**64 for v in wide], np.uint64).astype(dtype)

    def many(x: Any, i: Any) -> Any:
        modes = ("clip", "fill", "wrap")
        taken = [jnp.take(x * 2, i, axis=d, mode=m) for m in modes for d in (0, 1)]
        integers = jnp.take(jnp.arange(6, dtype=np.int16), i, mode="fill")
        read = x.at[i].get(mode="clip")
        added, written = x.at[i].add(1.5, mode="drop"), x.at[i, i].set(1.5, mode="drop")
        return taken, integers, read, added, written

    def one(x: Any, i: Any) -> Any:
        branches = [lambda x: x, lambda x: x * 2, lambda x: x * 3]
        cut = lax.dynamic_slice(x, (i, i), (3, 2))
        return cut, lax.dynamic_update_slice(x, cut * 2, (i, i)), lax.switch(i, branches, x)

    for f, i in [(many, places), *[(one, p) for p in places]]:
        with interpreting():
            want = nr.jit(lambda x, i, f=f: f(x, i))(x, i)  # eager code refuses some of them
        same(nr.jit(f)(x, i), want)


# ---------------------------------------------------------------- memory of inputs
def _layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same values in memory of other layouts."""
    wide = np.zeros((*x.shape[:-1], 3 * x.shape[-1]), x.dtype)
    wide[..., ::3] = x
    raw = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    shifted = np.zeros(x.size + 1, x.dtype)[1:].reshape(x.shape)
    shifted[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    return {
        "contiguous": x,
        "strided": wide[..., ::3],
        "fortran": np.asfortranarray(x),
        "transposed": np.ascontiguousarray(x.T).T,
        "reversed": np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        "unaligned": unaligned,
        "not aligned to a vector": shifted,
        "read-only": frozen,
        "broadcast": np.broadcast_to(x[:1], x.shape),
        "memory-mapped": x.view(np.memmap),
    }


@pytest.mark.parametrize("layout", sorted(_layouts(np.zeros((2, 2)))))
def test_inputs_of_every_layout(layout: str) -> None:
    jitted = nr.jit(lambda x, y: (x * 2 + y, jnp.sum(x, axis=0), x.T @ y, x))
    for shape in [(3, 5), (17, 33), (65, 64)]:
        x, y = _layouts(normal(shape, 3))[layout], normal(shape, 4)
        kept = np.array(x)
        for a, b in ((x, y), (y, x), (x, x)):
            want = (a * 2 + b, a.sum(0), a.T @ b, np.asarray(a, np.float64))
            same(jitted(a, b), want)
        np.testing.assert_array_equal(x, kept, "an input was changed")


def test_scalars_of_every_kind() -> None:
    jitted = nr.jit(lambda x: (x + 1, x * jnp.ones(3, x.dtype)))
    for x in [np.array(2.5), np.float64(2.5), np.float32(2.5), jnp.asarray(2.5), 2.5, np.array(3)]:
        got = jitted(x)
        assert got[0].shape == () and got[1].shape == (3,)
        assert float(got[0]) == float(x) + 1
        np.testing.assert_array_equal(np.asarray(got[1]), np.full(3, float(x)))


def test_the_same_array_twice() -> None:
    x = normal((17, 5))
    agrees(lambda a, b: (a + b, a @ b.T, a), x, x)
    a = jnp.asarray(x)
    got = nr.jit(lambda a, b: (b, a * b))(a, a)
    same(got, (x, x * x))


# ---------------------------------------------------------------- outputs
def test_outputs_that_are_inputs_or_literals_or_twice_the_same() -> None:
    x = normal((3, 5))

    def f(x: Any) -> Any:
        y = jnp.sin(x)
        return x, y, y, 2.0, x, jnp.reshape(y, (5, 3)), jnp.reshape(x, (15,)), True, jnp.ones(3)

    got = nr.jit(f)(x)
    y = np.sin(x)
    ones = np.ones(3, np.float32)
    same(got, (x, y, y, np.float32(2), x, y.reshape(5, 3), x.reshape(15), np.True_, ones))


def test_outputs_do_not_share_memory_with_inputs_or_each_other() -> None:
    x = normal((300,))
    first, again, reshaped = [np.asarray(y) for y in nr.jit(lambda x: (x, x, x.reshape(20, 15)))(x)]
    before = first.copy()
    x[:] = 0
    for y in (first, again, reshaped):
        np.testing.assert_array_equal(y.ravel(), before)


def test_results_of_one_call_survive_the_next() -> None:
    f = nr.jit(lambda x: (jnp.cumsum(x), x * 2, jnp.sum(x)))
    xs = [normal((1000,), s) for s in range(5)]
    results = [f(x) for x in xs]
    for x, got in zip(xs, results, strict=True):
        same(got, (np.cumsum(x), x * 2, x.sum()))


def test_no_outputs_and_no_inputs() -> None:
    assert nr.jit(lambda x: ())(1.0) == ()
    assert nr.jit(lambda: None)() is None
    same(
        nr.jit(lambda: (jnp.arange(70), jnp.full((2, 3), 1.5)))(),
        (np.arange(70, dtype=np.int32), np.full((2, 3), np.float32(1.5))),
    )


def test_empty_arrays_everywhere() -> None:
    def f(x: Any) -> Any:
        y = jnp.concatenate([x, x * 2], axis=0)
        return (
            y,
            jnp.sum(y, axis=0),
            y.T,
            jnp.reshape(y, (-1,)),
            jnp.sort(y, 0),
            y @ jnp.ones((2, 3)),
        )

    agrees(f, normal((0, 2)))
    agrees(lambda x: (x[:0], x[:0].sum(), x[:0].T @ x[:0]), normal((4, 2)))


def test_large_ranks() -> None:
    def f(x: Any) -> Any:
        order = (7, 0, 5, 2, 4, 1, 3, 6)
        return jnp.sum(jnp.sin(x), axis=(1, 3, 4, 7)), lax.transpose(x, order)

    agrees_with_gradient(f, normal((2, 1, 3, 1, 2, 2, 1, 3)))
