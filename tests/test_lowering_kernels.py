"""Without this, primitives that are kernels of their own could be wrong at the edges of shapes,
indices and dtypes, or run in Python unnoticed."""

import ml_dtypes
import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler.checks import with_errors
from nr.backends.compiler.counted import with_counted_rows
from nr.backends.compiler.plan import runs_in_table
from nr.backends.compiler.simplify import simplify
from nr.core.tracing import Primitive
from nr.lax import ScatterDimensionNumbers

# Both sides add a few dozen terms in another order, or round products differently.
ROUNDING = {"float32": 2e-6, "float64": 1e-14, "complex64": 2e-6, "bfloat16": 8e-3, "float16": 1e-3}


def check(function, *arrays, exact=False):
    """Natively compiled, jit gives what eager evaluation gives."""
    arrays = [jnp.asarray(a) for a in arrays]
    jaxpr = with_errors(simplify(nr.make_jaxpr(function)(*arrays)))[0]
    in_table = [str(q.primitive.name) for q in jaxpr.eqns if runs_in_table(q)]
    assert not in_table, f"in the table: {in_table}"
    eager, jitted = function(*arrays), nr.jit(function)(*arrays)
    assert (eager.shape, eager.dtype) == (jitted.shape, jitted.dtype)
    a, b = np.asarray(jitted), np.asarray(eager)
    tol = 0.0 if exact else ROUNDING.get(b.dtype.name, 0.0)
    if b.dtype.name == "bfloat16":
        a, b = a.astype(np.float32), b.astype(np.float32)
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def some(shape, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bfloat16":
        return rng.normal(size=shape).astype(np.float32).astype(ml_dtypes.bfloat16)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 7, shape).astype(dtype)
    if np.dtype(dtype).kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


# ------------------------------------------------------------------------------ scatter
SCATTERS = {
    "scatter": lax.scatter,
    "add": lax.scatter_add,
    "mul": lax.scatter_mul,
    "min": lax.scatter_min,
    "max": lax.scatter_max,
}
# dimension numbers, and shapes of operand, indices and updates
LAYOUTS = {
    "rows": (((1,), (0,), (0,)), (7, 37), (12, 1), (12, 37)),
    "columns": (((0,), (1,), (1,)), (5, 9), (6, 1), (5, 6)),
    "elements": (((), (0, 1), (0, 1)), (5, 9), (30, 2), (30,)),
    "rank 1": (((), (0,), (0,)), (11,), (40, 1), (40,)),
    "windows that overlap": (((1, 2), (), (0, 1)), (9, 21), (5, 2), (5, 3, 17)),
    "window in the middle": (((0, 2), (1,), (1,)), (3, 4, 19), (6, 1), (3, 6, 19)),
    "batch": (((), (1,), (1,), (0,), (0,)), (6, 5), (6, 4, 1), (6, 4)),
    "batch behind": (((), (0,), (0,), (1,), (1,)), (6, 35), (4, 35, 1), (4, 35)),
    "few": (((), (1,), (1,), (0,), (0,)), (6, 5), (6, 1), (6,)),
    "one window": (((0, 1), (), (0, 1)), (9, 21), (2,), (3, 17)),
    "one row": (((0,), (0,), (0,)), (4, 33), (1,), (33,)),
    "indices of rank 3": (((2,), (0,), (0,)), (8, 50), (3, 4, 1), (3, 4, 50)),
    "inserted, not indexed": (((), (0, 1), (1,)), (4, 9), (1,), ()),
    "scalar": (((), (), ()), (), (0,), ()),
    "no updates": (((1,), (0,), (0,)), (7, 4), (0, 1), (0, 4)),
    "empty operand": (((1,), (0,), (0,)), (7, 0), (3, 1), (3, 0)),
}


@pytest.mark.parametrize("mode", ["clip", "drop"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SCATTERS)
def test_scatter(name, layout, mode):
    dims, shape, places, updates = LAYOUTS[layout]
    indices = np.random.default_rng(3).integers(-3, 12, places).astype(np.int32)
    check(
        lambda x, i, u: SCATTERS[name](x, i, u, ScatterDimensionNumbers(*dims), mode=mode),
        some(shape), indices, some(updates, seed=1),
        exact=name not in ("add", "mul"),
    )  # fmt: skip


@pytest.mark.parametrize("layout", ["rows", "elements", "few"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "complex64", "int8", "uint16"])
@pytest.mark.parametrize("name", ["scatter", "add", "mul", "max"])
def test_scatter_dtypes(name, dtype, layout):
    if name == "max" and dtype == "complex64":
        pytest.skip("complex numbers are not ordered")
    dims, shape, places, updates = LAYOUTS[layout]
    indices = np.random.default_rng(3).integers(0, 3, places)
    check(
        lambda x, i, u: SCATTERS[name](x, i, u, ScatterDimensionNumbers(*dims)),
        some(shape, dtype), indices, some(updates, dtype, seed=1),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint64"])
@pytest.mark.parametrize("mode", ["clip", "drop"])
def test_scatter_index_dtypes(mode, dtype):
    info = np.iinfo(dtype)
    indices = np.array([[0], [3], [info.max], [info.min], [2]], dtype)
    dims = ScatterDimensionNumbers((1,), (0,), (0,))
    check(
        lambda x, i, u: lax.scatter_add(x, i, u, dims, mode=mode),
        some((4, 8)), indices, some((5, 8), seed=1),
    )  # fmt: skip


def test_sums_of_16_bit_floats_are_rounded_once():
    dims = ScatterDimensionNumbers((), (0,), (0,))
    updates = jnp.full((1000,), 0.01, jnp.bfloat16)
    add = nr.jit(lambda x, i, u: lax.scatter_add(x, i, u, dims))
    total = add(jnp.zeros(1, jnp.bfloat16), jnp.zeros((1000, 1), jnp.int32), updates)
    assert abs(float(total[0]) - 10.0) < 0.05  # adding bfloat16 stops at 4


def test_the_last_update_stays():
    dims = ScatterDimensionNumbers((), (0,), (0,))
    put = nr.jit(lambda x, i, u: lax.scatter(x, i, u, dims))
    indices = np.random.default_rng(0).integers(0, 50, (1000, 1))
    expected = np.zeros(50, np.float32)
    for k, i in enumerate(indices[:, 0]):
        expected[i] = k
    got = put(jnp.zeros(50), jnp.asarray(indices), jnp.arange(1000, dtype=jnp.float32))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, i: (jnp.take(x, i, axis=0) ** 2).sum(),
        lambda x, i: (x[i] * 2.0).sum(),
        lambda x, i: (x[:, i] ** 2).sum(),
        lambda x, i: (x[jnp.arange(9), i] ** 2).sum(),
        lambda x, i: (jnp.take_along_axis(x, i[:, None], axis=1) ** 2).sum(),
        lambda x, i: (jnp.take_along_axis(x, i[None, :], axis=0) ** 2).sum(),
        lambda x, i: (x[i[0]] ** 2).sum() + (x[i[1], i[2]] ** 3),
    ],
    ids=["take", "rows", "columns", "labels", "along 1", "along 0", "scalars"],
)
def test_gradients_of_indexing(function):
    x, i = some((9, 9)), np.array([1, 8, 8, 0, -1, 3, 3, 3, 2], np.int32)
    check(nr.grad(function), x, i)
    check(lambda x, i: nr.vmap(nr.grad(function), (0, None))(x, i), np.stack([x, x + 1]), i)


def test_scatter_in_a_loop():
    def body(k, x):
        return x.at[k * 2 % 5].add(x[k]).at[jnp.array([1, 1, 3])].mul(0.5)

    check(lambda x: lax.fori_loop(0, 7, body, x), some((8, 5)))


# ------------------------------------------------------------------------------ cumulative
CUMULATIVE = {
    "sum": lax.cumsum,
    "prod": lax.cumprod,
    "max": lax.cummax,
    "min": lax.cummin,
    "logsumexp": lax.cumlogsumexp,
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1,), 0), ((13,), 0), ((3, 1), 1), ((9, 21), 0), ((9, 21), 1), ((2, 5, 7), 1),
        ((3, 5, 2), 1), ((3, 5, 130), 1), ((0, 4), 0), ((0, 4), 1), ((4, 0), 1), ((4, 0), 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", CUMULATIVE)
def test_cumulative(name, shape, axis, reverse):
    check(lambda x: CUMULATIVE[name](x, axis, reverse), some(shape))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(1 << 13,), (10_007,), (3, 9_001), (9_001, 2)])
@pytest.mark.parametrize("name", ["sum", "max", "logsumexp"])
def test_long_cumulative(name, shape, reverse):
    axis = int(np.argmax(shape))
    x = np.round(some(shape, "float64") * 100)  # whole numbers: sums are exact in any order
    check(lambda x: CUMULATIVE[name](x, axis, reverse), x / 100 if name == "logsumexp" else x)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64", "int8", "uint64"])
@pytest.mark.parametrize("name", ["sum", "prod", "max"])
def test_cumulative_dtypes(name, dtype):
    if name == "max" and dtype == "complex64":
        pytest.skip("complex numbers are not ordered")
    for axis in (0, 1):
        check(lambda x, axis=axis: CUMULATIVE[name](x, axis), some((17, 19), dtype))


def test_cumulative_of_what_is_not_finite():
    inf, nan = np.inf, np.nan
    rows = [[-inf, -inf, 1, 2], [1, inf, 2, inf], [1, nan, 2, inf], [-inf, inf, -inf, nan]]
    for name in ("max", "min", "logsumexp"):
        for axis in (0, 1):
            check(lambda x, f=CUMULATIVE[name], axis=axis: f(x, axis), np.array(rows, np.float32))


# ------------------------------------------------------------------------------ windows
# shape, window, strides, padding, and dilations of operand and window
WINDOWS = {
    "small": ((9, 37), (2, 2), (2, 2), [(0, 0), (0, 0)], None, None),
    "overlapping": ((9, 37), (3, 3), (2, 1), [(1, 1), (1, 1)], None, None),
    "long": ((3, 67), (1, 20), (1, 3), [(0, 0), (7, 12)], None, None),
    "gaps": ((11, 37), (2, 1), (5, 3), [(0, 0), (0, 0)], None, None),
    "cropped": ((9, 37), (2, 3), (2, 2), [(-1, 1), (-2, -3)], None, None),
    "images": ((2, 9, 9, 17), (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)])
    + (None, None),
    "last of length 1": ((7, 10, 1), (1, 4, 4), (3, 1, 2), [(0, 0), (0, 1), (3, 3)], None, None),
    "length 1": ((1,), (1,), (1,), [(0, 0)], None, None),
    "more padding than operand": ((2,), (3,), (2,), [(5, 6)], None, None),
    "no windows": ((2, 3), (1, 5), (1, 1), [(0, 0), (0, 0)], None, None),
    "rank 0": ((), (), (), [], None, None),
    "dilated": ((5, 6), (2, 3), (2, 1), [(3, 1), (-1, 2)], (2, 3), (2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", ["sum", "max", "min"])
def test_reduce_window(name, window):
    shape, *params = WINDOWS[window]
    init = {"sum": 0.0, "max": -np.inf, "min": np.inf}[name]
    combine = {"sum": lax.add, "max": lax.max, "min": lax.min}[name]
    check(lambda x: lax.reduce_window(x, init, combine, *params), some(shape))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("window", [w for w in WINDOWS if w != "dilated"])
def test_gradients_of_pooling(window, dtype):
    shape, *params = WINDOWS[window]
    if 0 in lax.reduce_window(jnp.zeros(shape), -np.inf, lax.max, *params).shape:
        pytest.skip("no windows: the gradient is 0 before anything is compiled")

    def pool(x):
        return lax.reduce_window(x, -np.inf, lax.max, *params)

    # Few different values, so that windows have several largest elements.
    x = np.round(some(shape, "float64")).astype(some((1,), dtype).dtype)
    weights = lax.reduce_window(jnp.asarray(some(shape, dtype, 1)), 0.0, lax.add, *params)
    check(nr.grad(lambda x: (pool(x) * weights).sum().astype("float32")), x)
    check(lambda x, t: nr.jvp(pool, (x,), (t,))[1], x, some(shape, dtype, 1))


# ------------------------------------------------------------------------------ bits
EVERY_HALF = np.arange(1 << 16, dtype=np.uint16)
WORDS = {
    dtype: np.random.default_rng(0).integers(0, 2**63, 300).view(dtype)
    for dtype in ("uint8", "int16", "uint32", "int64", "float32", "float64")
}
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, 65504.0, 6e-8, 1e-40, 1e300]


def same_bits(function, x):
    jaxpr = simplify(nr.make_jaxpr(function)(x))
    assert not [q for q in jaxpr.eqns if runs_in_table(q)]
    a, b = np.asarray(nr.jit(function)(x)), np.asarray(function(x))
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_array_equal(a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8))


@pytest.mark.parametrize("new", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize("old", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
def test_bitcast(old, new):
    x = WORDS[old]
    ratio = np.dtype(new).itemsize // x.dtype.itemsize
    x = jnp.asarray(x.reshape(-1, ratio) if ratio > 1 else x)
    same_bits(lambda x: lax.bitcast_convert_type(x, new), x)


@pytest.mark.parametrize("half", [jnp.bfloat16, jnp.float16])
def test_bitcast_of_every_16_bit_float(half):
    words = jnp.asarray(EVERY_HALF)
    floats = lax.bitcast_convert_type(words, half)
    numbers = floats[floats == floats]  # NaNs are made quiet
    same_bits(lambda x: lax.bitcast_convert_type(x, jnp.int16), numbers)
    same_bits(lambda x: lax.bitcast_convert_type(x, jnp.uint8), numbers)
    same_bits(lambda x: lax.bitcast_convert_type(x, half), words[np.asarray(floats == floats)])


@pytest.mark.parametrize("bits", [(8, 7), (5, 10), (3, 4), (8, 23), (5, 0), (4, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_reduce_precision(dtype, bits):
    x = np.concatenate([some((2000,), "float64") * 1e3, some((200,), "float64") * 1e-6, SPECIAL])
    x = jnp.asarray(x).astype(dtype)
    check(lambda x: lax.reduce_precision(x, *bits), x, exact=True)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("normal_from_uniform", "float64")]
    + [
        (name, dtype)
        for name in ("normal_from_uniform", "log_of_uniform")
        for dtype in ("float32", "bfloat16", "float16")
    ],
)
def test_samples_have_the_eager_bits(name, dtype):
    low = -1.0 if name == "normal_from_uniform" else 0.0
    u = np.random.default_rng(0).uniform(low, 1.0, 50_001).astype(np.float32)
    u = jnp.clip(jnp.asarray(u).astype(dtype), low + 0.01, 0.99)
    if dtype in ("float32", "float64"):
        tails = [0.9999, 0.99999, 1 - 2e-8]
        if name == "normal_from_uniform":
            tails += [-0.999, -1 + 1e-13 if dtype == "float64" else -0.9999, -1, 1, 0, -0.0, np.nan]
        u = jnp.concatenate([u, jnp.asarray(tails, dtype)])
    same_bits(Primitive.all[name].bind, u)


# ------------------------------------------------------------------------------ counted indices
@pytest.mark.parametrize(
    ("function", "batching"),
    [
        (lambda x, i: x[jnp.arange(6), i, i], (0,)),
        (lambda x, i: x[i, i, jnp.arange(6)], (2,)),
        (lambda x, i: x[jnp.arange(6), i], (0,)),
        (lambda x, i: x[i, jnp.arange(6)], (1,)),
        (lambda x, i: x[np.arange(6), i], (0,)),
        (lambda x, i: x[jnp.arange(6)[:, None], i], (0,)),
        (lambda x, i: x[jnp.arange(6)[:, None], i[None, :], jnp.arange(6)[None]], (0, 2)),
        (lambda x, i: x[jnp.arange(5), i[:5]], ()),  # not all rows
        (lambda x, i: x[jnp.arange(6) - 1, i], ()),
        (lambda x, i: x[jnp.arange(5, -1, -1), i], ()),
    ],
)
def test_indices_that_count_are_rows(function, batching):
    x, i = jnp.asarray(some((6, 6, 6))), jnp.asarray([5, 0, 0, -1, 2, 3], dtype=jnp.int32)
    check(function, x, i)
    check(nr.grad(lambda x, i: (function(x, i) ** 2).sum()), x, i)
    found = with_counted_rows(with_errors(simplify(nr.make_jaxpr(function)(x, i)))[0])
    (gather,) = [q for q in found.eqns if q.primitive.name == "gather"]
    assert gather.params["dimension_numbers"].operand_batching_dims == batching


# ------------------------------------------------------------------------------ convolutions
# shapes of images and kernels, layouts, and parameters
CONVOLUTIONS = {
    "plain": ((2, 3, 9, 11), (5, 3, 3, 2), ("NCHW", "OIHW", "NCHW"), {}),
    "features last": ((2, 9, 11, 3), (3, 2, 3, 37), ("NHWC", "HWIO", "NHWC"), {}),
    "strided": ((2, 3, 9, 11), (5, 3, 3, 2), None, {"window_strides": (2, 3)}),
    "padded": ((2, 3, 9, 11), (5, 3, 3, 2), None, {"padding": [(2, 1), (-1, 3)]}),
    "dilated": ((2, 3, 9, 11), (5, 3, 3, 2), None, {"rhs_dilation": (2, 1)}),
    "transposed": ((2, 3, 4, 5), (5, 3, 3, 2), None,
                   {"lhs_dilation": (2, 3), "padding": [(3, 1), (-1, 2)]}),
    "groups": ((2, 6, 9, 11), (9, 2, 3, 2), None, {"feature_group_count": 3}),
    "depthwise": ((2, 9, 11, 35), (3, 3, 1, 35), ("NHWC", "HWIO", "NHWC"),
                  {"feature_group_count": 35}),
    "batch groups": ((6, 2, 9, 11), (9, 2, 3, 2), None, {"batch_group_count": 3}),
    "1d": ((2, 3, 70), (4, 3, 5), None, {}),
    "long window": ((1, 1, 200), (1, 1, 150), None, {}),
    "no space": ((5, 7), (3, 7), None, {}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "complex64", "int32"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name, dtype):
    image, kernel, layouts, options = CONVOLUTIONS[name]
    rank = len(image) - 2
    options = {"window_strides": (1,) * rank, "padding": [(0, 0)] * rank, **options}

    def convolve(x, k):
        return lax.conv_general_dilated(x, k, dimension_numbers=layouts, **options)

    # Whole numbers: their sums and products are exact in every dtype, up to 256 in bfloat16.
    x, k = [
        np.round(some(s, "float32", i)).astype(some((1,), dtype).dtype)
        for i, s in enumerate((image, kernel))
    ]
    check(convolve, x, k)
    if dtype == "float32":
        check(nr.grad(lambda x, k: (convolve(x, k) ** 2).sum(), 0), x, k)
        check(nr.grad(lambda x, k: (convolve(x, k) ** 2).sum(), 1), x, k)


# ------------------------------------------------------------------------------ every second number
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "complex64", "int8"])
@pytest.mark.parametrize("n", [2, 3, 64, 130, 1001])
def test_every_second_element(n, dtype):
    """They are read with their neighbours, which must not lie outside of the array."""
    x = some((3, n), dtype)
    one = np.dtype(dtype).type(1)
    check(lambda x: x[:, ::2] + one, x)
    check(lambda x: x[:, 1::2] + one, x)
    check(lambda x: x.reshape(-1)[1::2] * x.reshape(-1)[::2][: x.size // 2], x)
    check(lambda x: jnp.pad(x[:, 1::2], ((0, 0), (2, 3))) + one, x)
    check(lambda x: jnp.sum(x[:, ::2], axis=1), x)


@pytest.mark.parametrize("n", [1, 5, 300])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_extrema_of_complex_numbers(dtype, n):
    """By real, then by imaginary parts; NaN if one is."""
    rng = np.random.default_rng(0)
    real, imag = rng.integers(-2, 3, (2, 6, n))
    x = (real + 1j * imag).astype(dtype)
    with_nan = x.copy()
    with_nan[3, n // 2] = np.nan
    for values in (x, with_nan, np.full_like(x, complex(-np.inf, -np.inf))):
        check(lambda x: jnp.max(x, axis=1), values, exact=True)
        check(lambda x: jnp.min(x, axis=0), values, exact=True)
        check(lambda x: jnp.max(x), values, exact=True)
        check(lambda x: lax.cummax(x, axis=1), values, exact=True)
        check(lambda x: lax.cummin(x, axis=0, reverse=True), values, exact=True)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("n", [1, 6, 300, 20_000])
def test_cumulative_log_sum_exp_of_complex_numbers(n, axis):
    """Of logarithms the imaginary part is defined up to turns: compare exponentials."""
    x = jnp.asarray(some((3, n), "complex64"))
    function = lambda x: lax.cumlogsumexp(x, axis=axis)  # noqa: E731
    assert "everything is compiled" in nr.jit(function).lower(x).as_text("report")
    exact = np.cumsum(np.exp(np.asarray(x).astype("complex128")), axis)
    got = np.asarray(nr.jit(function)(x)).astype("complex128")
    scale = np.cumsum(np.exp(np.asarray(x).real.astype("float64")), axis)
    np.testing.assert_array_less(np.abs(np.exp(got) - exact), 3e-6 * scale)


def test_bitcasts_to_the_same_dtype():
    for dtype in ("bool", "complex64", "int8"):
        check(lambda x, t=dtype: lax.bitcast_convert_type(x, t), some((5,), dtype), exact=True)


def test_bfloat16_is_rounded_once_and_not_where_it_only_moves():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 32)).astype("f4"))

    def roundings(f, x):
        return nr.jit(f).lower(x).as_text("llvm").count("fcmp uno")

    def moved(x):
        return jnp.pad(x.T, 1)

    half = x.astype("bfloat16")
    assert roundings(lambda x: (x * 2).astype("bfloat16"), x) == 1
    assert roundings(moved, half) == 0
    got, want = nr.jit(moved)(half), np.pad(np.asarray(half).T, 1)
    assert np.array_equal(np.asarray(got).view("u2"), want.view("u2"))
