"""Without this, arrays could get wrong numbers or dtypes, or share memory that they must not."""

import numpy as np
import pytest

import nr
from nr.core import dtypes
from nr.core.array import ArrayImpl
from nr.lax import elementwise
from nr.numpy import creation as jnp
from nr.numpy import grids, reductions, windows

BF16 = dtypes.DTYPES["bfloat16"]


def same(got, want, dtype=None):
    assert got.shape == np.shape(want)
    if dtype is not None:
        assert got.dtype == np.dtype(dtype)
    np.testing.assert_allclose(np.asarray(got), want, rtol=2e-6)  # float32 rounding


# ---------------------------------------------------------------- from data
@pytest.mark.parametrize(
    "data, dtype",
    [
        (1, "int32"),
        (1.5, "float32"),
        (True, "bool"),
        (1j, "complex64"),
        ([], "float32"),
        ([[1, 2], [3, 4]], "int32"),
        ([1, 2.5, True], "float32"),
        ((True, 2), "int32"),
        (range(3), "int32"),
        (np.float64(1.5), "float64"),
        ([np.float64(1.5), 2], "float64"),
        ([np.float16(1.5), 2.0], "float16"),
        ([np.arange(2, dtype=np.int8), [3, 4]], "int8"),
        (np.arange(3.0), "float64"),
        (np.arange(3), "int64"),
        (np.arange(3, dtype=">i4"), "int32"),
        (np.arange(3) > 1, "bool"),
    ],
)
def test_array_of_data(data, dtype):
    for make in (jnp.array, jnp.asarray):
        same(make(data), np.asarray(data), dtype)


def test_lists_of_arrays_promote_like_jax():
    one, half = jnp.array(1.0), jnp.array(2.0, dtype="bfloat16")
    assert jnp.array([one, half]).dtype == BF16  # rank-0 arrays of Python numbers are weak
    assert jnp.array([jnp.array([1.0]), [2]]).dtype == np.float32
    same(jnp.array([jnp.array([1.0]), [2]]), [[1.0], [2.0]])


def test_requested_dtypes_are_given():
    assert jnp.array([1, 2], dtype="float64").dtype == np.float64
    assert jnp.array(2**40, dtype="int64").item() == 2**40
    same(jnp.array([1.7, -1.7], dtype="int32"), [1, -1], "int32")
    same(jnp.array(np.array([np.nan, 1e10]), dtype="int32"), [0, 2**31 - 1], "int32")
    assert np.isinf(np.asarray(jnp.array([1e300, 2**200])))[0]
    same(nr.numpy.float32("-inf"), -np.inf, "float32")
    same(jnp.asarray("3", dtype="int8"), 3, "int8")
    with nr.config.using(default_float="float64", default_int="int64"):
        assert jnp.array([1.5]).dtype == np.float64
        assert jnp.arange(3).dtype == np.int64


def test_numpy_memory_is_copied():
    data = np.zeros(3, np.float32)
    made = [jnp.array(data), jnp.asarray(data), jnp.array([data])]
    data[0] = 1
    for x in made:
        assert np.asarray(x).max() == 0


def test_copies():
    x = jnp.ones(3)
    assert jnp.asarray(x) is x
    assert jnp.asarray(x, copy=False) is x
    assert jnp.array(x).data is not x.data
    assert jnp.copy(x).data is not x.data
    assert jnp.asarray(x, copy=True).data is not x.data


def test_traced_values_in_lists():
    def f(x):
        return jnp.array([[x, 2], [3, x]])

    same(nr.jit(f)(1.0), [[1, 2], [3, 1]], "float32")
    assert float(nr.grad(lambda x: reductions.sum(f(x)))(1.0)) == 2.0


def test_ndmin_and_device():
    assert jnp.array(1, ndmin=2).shape == (1, 1)
    cpu = nr.device("cpu")
    for x in (jnp.array([1], device="cpu"), jnp.zeros(2, device=cpu), jnp.arange(3, device=cpu)):
        assert x.committed is cpu
    with nr.default_device("cpu"):
        assert jnp.zeros(2).committed is cpu
        assert jnp.array([1, 2]).committed is cpu


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: jnp.array("a"), TypeError, "array: numbers were expected; got 'a'"),
        (lambda: jnp.array("x", dtype="float32"), ValueError, "could not convert string"),
        (lambda: jnp.array([None]), ValueError, "numbers were expected; got None"),
        (lambda: jnp.array({1, 2}), TypeError, "list of numbers"),
        (lambda: jnp.array(np.array(["a"])), TypeError, "numeric dtype"),
        (lambda: jnp.array([[1], [1, 2]]), ValueError, "rectangular"),
        (lambda: jnp.array([2**40]), OverflowError, "must fit the dtype i32"),
        (lambda: jnp.array(2**40), OverflowError, "must fit the dtype i32"),
        (lambda: jnp.array([300], dtype="uint8"), OverflowError, "u8"),
        (lambda: jnp.array([1], order="F"), ValueError, "order"),
        (lambda: jnp.asarray(np.ones(2), copy=False), ValueError, "copy=False"),
        (lambda: jnp.zeros((2, -1)), ValueError, "negative"),
        (lambda: jnp.zeros("a"), TypeError, "shape of integers"),
        (lambda: jnp.full((2, 2), [1, 2, 3]), ValueError, r"i32\[3\]"),
        (lambda: jnp.arange(0, 3, 0), ValueError, "zero"),
        (lambda: jnp.zeros(2, device="tpu"), ValueError, "platform"),
        (lambda: grids.tril(jnp.ones(3)), ValueError, r"f32\[3\]"),
        (lambda: grids.meshgrid(jnp.ones(2), indexing="ab"), ValueError, "indexing"),
        (lambda: grids.linspace(0, 1, -1), ValueError, "num"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_spaced_numbers_between_traced_ends():
    f = nr.jit(lambda a, b: grids.linspace(a, b, 8))
    np.testing.assert_array_equal(f(-3.0, 4.0), np.arange(-3, 5))  # whole ones are exact
    for low, high in [(-3e38, 3e38), (0.1, 0.7), (5.0, 5.0)]:
        got, expected = np.asarray(f(low, high), np.float64), np.linspace(low, high, 8)
        # Three roundings, of numbers up to the ends' size.
        bound = 2.0**-22 * max(abs(low), abs(high))
        np.testing.assert_allclose(got, expected, rtol=0, atol=bound)
    got = f(np.float16(-60000), np.float16(60000))
    np.testing.assert_allclose(got, np.linspace(-60000, 60000, 8), rtol=4e-3)
    slopes = np.asarray(nr.jacfwd(f, 0)(-3e38, 3e38))
    np.testing.assert_allclose(slopes, 1 - np.arange(8) / 7, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- from a shape
def test_constant_arrays():
    same(jnp.zeros(3), np.zeros(3), "float32")
    same(jnp.ones((2, 0), "bfloat16"), np.ones((2, 0)), BF16)
    same(jnp.empty((2,), int), np.zeros(2), "int32")
    same(jnp.full((2, 2), [1, 2]), [[1, 2], [1, 2]], "int32")
    same(jnp.full((2,), 1.5, "float64"), [1.5, 1.5], "float64")
    x = jnp.ones((2, 3), "int8")
    same(jnp.zeros_like(x), np.zeros((2, 3)), "int8")
    same(jnp.ones_like(x, shape=(2,)), np.ones(2), "int8")
    same(jnp.full_like(x, 2.7), np.full((2, 3), 2), "int8")
    same(jnp.empty_like(x, dtype="float32"), np.zeros((2, 3)), "float32")


@pytest.mark.parametrize(
    "args",
    [(5,), (2, 8, 3), (8, 2, -3), (3, 1), (3.5,), (0, 1, 0.1), (2.0, 8.0, 1.5), (np.int8(3),)],
)
def test_arange(args):
    jax = pytest.importorskip("jax")
    want = jax.numpy.arange(*args)
    same(jnp.arange(*args), np.asarray(want), want.dtype)
    same(nr.jit(lambda: jnp.arange(*args))(), np.asarray(want), want.dtype)
    same(jnp.arange(*args, dtype="bfloat16"), np.arange(*args).astype(BF16), BF16)


def test_creation_in_programs_carries_no_constants():
    jaxpr = nr.make_jaxpr(lambda: (jnp.zeros((9, 9)), jnp.arange(99), grids.eye(9)))()
    assert not jaxpr.consts


CONSTRUCTIONS = [
    lambda m: m.linspace(0, 1, 5),
    lambda m: m.linspace(0, 10, 4, dtype="int32"),
    lambda m: m.linspace(0, 1, 5, endpoint=False, retstep=True)[1],
    lambda m: m.linspace(3, 4, 1),
    lambda m: m.linspace(np.float32([1, 2]), 5, 3, axis=1),
    lambda m: m.logspace(0, 2, 5, base=2),
    lambda m: m.geomspace(-1, -1000, 4),
    lambda m: m.eye(3, 4, 1),
    lambda m: m.identity(2, int),
    lambda m: m.tri(3, 4, -1),
    lambda m: m.vander(np.float32([1, 2, 3]), 4),
    lambda m: m.vander(np.float32([1, 2, 3]), 2, increasing=True),
    lambda m: m.indices((2, 3)),
    lambda m: m.mgrid[0:3, 0:2],
    lambda m: m.mgrid[0:1:3j, 1:5:2],
    lambda m: m.ogrid[0:3, 0:2][1],
    lambda m: m.meshgrid(np.float32([1, 2]), np.int32([3, 4, 5]))[1],
    lambda m: m.meshgrid(np.float32([1, 2]), np.int32([3, 4]), sparse=True, indexing="ij")[0],
    lambda m: m.r_[0:3, 5, np.float32([1, 2])],
    lambda m: m.r_["0,2,0", np.int32([1, 2]), np.int32([3, 4])],
    lambda m: m.c_[np.int32([1, 2]), np.int32([3, 4])],
]


@pytest.mark.parametrize("make", CONSTRUCTIONS)
def test_patterns_equal_jax(make):
    jax = pytest.importorskip("jax")
    want = make(jax.numpy)
    same(make(grids), np.asarray(want), want.dtype)


@pytest.mark.parametrize("k", [-2, 0, 1])
def test_triangles(k):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    same(grids.tril(jnp.array(x), k), np.tril(x, k), "float32")
    same(nr.jit(lambda x: grids.triu(x, k))(jnp.array(x)), np.triu(x, k), "float32")


@pytest.mark.parametrize("name", ["linspace", "logspace", "geomspace"])
def test_spacing_between_traced_ends(name):
    f = getattr(grids, name)
    got = nr.jit(lambda a, b: f(a, b, 5, axis=-1))(jnp.array([1.0, 2.0]), 4.0)
    same(got, getattr(np, name)([1.0, 2.0], 4.0, 5, axis=-1), "float32")
    slope = nr.grad(lambda a: reductions.sum(f(a, 4.0, 5)))(jnp.array(1.0))
    h = 1e-6
    want = (getattr(np, name)(1 + h, 4, 5).sum() - getattr(np, name)(1 - h, 4, 5).sum()) / (2 * h)
    assert float(slope) == pytest.approx(want, rel=1e-4)  # of the difference quotient


@pytest.mark.parametrize("name, args", [("hamming", ()), ("hanning", ()), ("blackman", ()),
                                        ("bartlett", ()), ("kaiser", (2.5,))])  # fmt: skip
def test_windows(name, args):
    got = getattr(windows, name)(7, *args)
    assert got.dtype == np.float32
    np.testing.assert_allclose(np.asarray(got), getattr(np, name)(7, *args), atol=1e-7)


# ---------------------------------------------------------------- from buffers and functions
def test_buffers_and_text():
    data = np.arange(3, dtype=np.float32)
    same(jnp.frombuffer(data.tobytes(), "float32"), data, "float32")
    same(jnp.fromiter((i * i for i in range(4)), int), [0, 1, 4, 9], "int32")
    same(jnp.fromstring("1 2 3", dtype=float, sep=" "), [1, 2, 3], "float32")
    same(jnp.fromfunction(lambda i, j: elementwise.add(i, j), (2, 3)), [[0, 1, 2], [1, 2, 3]])
    assert jnp.array_repr(jnp.arange(2)) == "Array([0, 1], dtype=int32)"
    assert jnp.array_str(jnp.array([1, 2], "bfloat16")) == "[1. 2.]"


def test_dlpack_shares_memory():
    data = np.arange(3, dtype=np.float32)
    assert np.shares_memory(jnp.from_dlpack(data).data, data)
    assert not np.shares_memory(jnp.from_dlpack(data, copy=True).data, data)
    assert isinstance(jnp.from_dlpack(jnp.arange(3)), ArrayImpl)
    with pytest.raises(TypeError, match="__dlpack__"):
        jnp.from_dlpack([1, 2])


@pytest.mark.parametrize("dtype", ["float32", "int8", "complex64", "bool"])
def test_large_copies_begin_at_a_line_of_the_cache(dtype):
    for shape in ((100, 100), (7, 5000)):
        x = np.asfortranarray(np.arange(np.prod(shape)).reshape(shape) % 2).astype(dtype)
        y = jnp.asarray(x)
        np.testing.assert_array_equal(y, x)
        assert y.data.ctypes.data % 64 == 0 and y.data.flags.c_contiguous
        x[0, 0] = 1 - x[0, 0]
        assert y[0, 0] != x[0, 0]  # it is a copy


def test_full_of_a_number_without_extents_is_weak():
    out = jnp.full((), 2.0)
    assert out.weak_type and (out * jnp.ones(2, "bfloat16")).dtype == "bfloat16"
    assert not jnp.full((), 2.0, "float32").weak_type
