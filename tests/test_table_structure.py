"""Without this, the kernels that move, reduce, index and sort could differ from JAX's primitives.

Every case runs on NumPy, and again on a stand-in for CuPy that lacks the ufunc methods CuPy lacks,
which takes the device branches without a device.
"""

import warnings

import ml_dtypes
import numpy as np
import pytest

jax = pytest.importorskip("jax")
from jax import lax  # noqa: E402

from nr.backends.table import indexing, reduce, shape, sort, threefry  # noqa: E402

F32, I32, U8, B1 = (np.dtype(t) for t in ("f4", "i4", "u1", "?"))
F16, BF16, C64, I8 = np.dtype("f2"), np.dtype(ml_dtypes.bfloat16), np.dtype("c8"), np.dtype("i1")
NAN, INF = np.nan, np.inf

# Sums of at most 60 float32 of size ~1 in another order: a few roundings of 2**-24 each.
SUM_RTOL = 2e-6


class _DeviceUfunc:
    """A ufunc with what CuPy's has: the call, and `at` for sums."""

    def __init__(self, ufunc):
        self._ufunc = ufunc
        if ufunc is np.add:
            self.at = ufunc.at

    def __call__(self, *args, **kwargs):
        return self._ufunc(*args, **kwargs)


class _Device:
    __name__ = "cupy"

    def __getattr__(self, name):
        attribute = getattr(np, name)
        return _DeviceUfunc(attribute) if isinstance(attribute, np.ufunc) else attribute


def _table(xp):
    modules = (shape, reduce, indexing, sort, threefry)
    return {name: row for module in modules for name, row in module.rows(xp).items()}


TABLES = {"host": _table(np), "device": _table(_Device())}


@pytest.fixture(params=sorted(TABLES))
def table(request):
    return TABLES[request.param]


def _check(got, want, rtol=0.0):
    want = np.asarray(want)
    assert isinstance(got, np.ndarray)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if got.dtype in (F16, BF16):
        got, want = got.astype(F32), want.astype(F32)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=0)
    if got.dtype.kind == "f" and rtol == 0:
        number = ~np.isnan(got)
        np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(want)[number])


def _run(table, name, want, *args, rtol=0.0, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = table[name](*args, **params)
    if isinstance(want, (tuple, list)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            _check(g, w, rtol)
    else:
        _check(got, want, rtol)


def _sample(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        return rng.integers(0, 100, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def _strided(shape, dtype):
    """An array with a negative and a doubled stride, of the same values as a fresh one."""
    x = _sample(tuple(2 * n for n in shape), dtype)
    return x[tuple(slice(None, None, -2) for _ in shape)]


INPUTS = {
    "f32": _sample((3, 4, 5), F32),
    "strided": _strided((3, 4, 5), F32),
    "bf16": _sample((3, 4, 5), BF16),
    "i32": _sample((3, 4, 5), I32),
    "bool": _sample((3, 4, 5), B1),
    "empty": np.zeros((3, 0, 5), F32),
}


@pytest.fixture(params=sorted(INPUTS))
def x(request):
    return INPUTS[request.param]


# --- shape ---------------------------------------------------------------------------------


def test_views(table, x):
    _run(table, "transpose", x.transpose(2, 0, 1), x, permutation=(2, 0, 1))
    _run(table, "reshape", x.reshape(5, -1), x, new_sizes=(5, x.size // 5))
    _run(table, "rev", lax.rev(x, (0, 2)), x, dimensions=(0, 2))
    _run(table, "squeeze", x, x[:, None, :, :, None], dimensions=(1, 4))
    _run(table, "concatenate", np.concatenate([x, x], 1), x, x, dimension=1)
    _run(table, "copy", x, x)
    cut = {"start_indices": (0, 0, 1), "limit_indices": (3, x.shape[1], 4)}
    _run(table, "slice", x[:, :, 1:4], x, **cut, strides=None)
    _run(table, "slice", x[::2, :, 1:4:2], x, **cut, strides=(2, 1, 2))


@pytest.mark.parametrize("scalar", [np.float32(2), np.array(2, BF16), np.bool_(True)])
def test_rank_0(table, scalar):
    want = np.asarray(scalar)
    for name, params in [
        ("transpose", {"permutation": ()}),
        ("reshape", {"new_sizes": ()}),
        ("rev", {"dimensions": ()}),
        ("squeeze", {"dimensions": ()}),
        ("copy", {}),
        ("slice", {"start_indices": (), "limit_indices": (), "strides": None}),
        ("dynamic_slice", {"slice_sizes": ()}),
        ("broadcast_in_dim", {"shape": (), "broadcast_dimensions": ()}),
        ("reduce_max", {"axes": ()}),
        ("convert_element_type", {"new_dtype": want.dtype}),
    ]:
        _run(table, name, want, scalar, **params)
    _run(table, "pad", want, scalar, scalar, padding_config=())
    _run(table, "dynamic_update_slice", want, scalar, scalar)
    _run(table, "convert_element_type", want.astype(I32), scalar, new_dtype=I32)


@pytest.mark.parametrize("size", [2, 3000])
@pytest.mark.parametrize("dtype", [F32, BF16, B1])
def test_broadcast_in_dim(table, size, dtype):
    x = _sample((3, 1), dtype)
    out = (size, 3, 4, 2)
    want = np.broadcast_to(x.reshape(1, 3, 1, 1), out)
    _run(table, "broadcast_in_dim", want, x, shape=out, broadcast_dimensions=(1, 2))
    one = x[0, 0]
    _run(
        table,
        "broadcast_in_dim",
        np.full((size, 0), one),
        one,
        shape=(size, 0),
        broadcast_dimensions=(),
    )


@pytest.mark.parametrize(
    "config",
    [
        ((1, 2, 0), (0, 0, 3)),
        ((-1, -1, 0), (2, -3, 1)),
        ((-4, 0, 2), (-2, -2, 1)),
        ((3, -5, 1), (-9, 8, 0)),
        ((-6, 7, 1), (0, 1, 0)),
    ],
)
@pytest.mark.parametrize("dtype", [F32, BF16])
def test_pad(table, config, dtype):
    for rows in (4, 0):
        if rows == 0 and sum(config[0][:2]) < 0:
            continue
        x, value = _sample((rows, 5), dtype), np.array(7, dtype)
        _run(table, "pad", lax.pad(x, value, config), x, value, padding_config=config)


@pytest.mark.parametrize("starts", [(0, 1), (-3, 2), (9, 200)])
def test_dynamic_slices(table, starts):
    x, y = _strided((4, 5), F32), _sample((2, 3), F32, 1)
    starts = tuple(np.array(s, d) for s, d in zip(starts, (np.int8, np.int32), strict=True))
    as_i32 = [np.int32(s) for s in starts]
    want = lax.dynamic_slice_p.bind(x, *as_i32, slice_sizes=(2, 3))
    _run(table, "dynamic_slice", want, x, *starts, slice_sizes=(2, 3))
    want = lax.dynamic_update_slice_p.bind(x, y, *as_i32)
    before = x.copy()
    _run(table, "dynamic_update_slice", want, x, y, *starts)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", [F32, BF16, F16, I32, U8, C64])
def test_iota(table, dtype):
    for size in (300, 0):
        _check(
            table["iota"](dtype=dtype, shape=(2, size), dimension=1),
            lax.broadcasted_iota(I32, (2, size), 1).astype(dtype),
        )


EDGES = [NAN, -NAN, INF, -INF, 0.0, -0.0, -0.5, 1.5, -1.5, 127.6, 300, -300.5, 3e9, -3e9, 1e20]
CONVERSIONS = [F32, F16, BF16, I32, np.dtype("u4"), U8, I8, B1]


@pytest.mark.parametrize("new", CONVERSIONS, ids=str)
def test_convert_element_type(table, new):
    with np.errstate(over="ignore"):
        floats = [np.array(EDGES, np.float64).astype(d) for d in (F32, F16, BF16)]
    tame = np.array([0.0, 1.5, -1.5, 99.9], F32)
    others = [_sample(7, d) for d in (I32, U8, B1)] + [np.array([-1, 70000, 2**31 - 1], I32)]
    for x in (*floats, tame, *others, np.zeros(0, F32)):
        want = lax.convert_element_type(x, new)
        _run(table, "convert_element_type", want, x, new_dtype=new)
        if len(x):
            _run(table, "convert_element_type", want[0], x[0], new_dtype=new)
    z = np.array([1 + 2j, -3 + 0j], C64)
    if new in (F32, I32, BF16):
        _run(table, "convert_element_type", z.real.astype(new), z, new_dtype=new)
    _run(table, "convert_element_type", tame.astype(C64), tame, new_dtype=C64)


def test_convert_64_bit(table):
    x = np.array([NAN, INF, -INF, 2.0**63, -(2.0**63), 2.0**62, -1.5])
    i64 = np.iinfo(np.int64)
    want = np.array([0, i64.max, i64.min, i64.max, i64.min, 2**62, -1])
    _run(table, "convert_element_type", want, x, new_dtype=np.int64)
    _run(table, "convert_element_type", want, x.astype(F32), new_dtype=np.int64)
    _run(table, "convert_element_type", np.array([INF], F32), np.array([1e300]), new_dtype=F32)


@pytest.mark.parametrize("pair", [("f4", "i4"), ("f4", "u2"), ("i4", "u1"), ("f2", "i2")], ids=str)
def test_bitcast_convert_type(table, pair):
    old, new = map(np.dtype, pair)
    for x in (_strided((3, 4), old), np.array(3, old), np.zeros((2, 0), old)):
        there = lax.bitcast_convert_type(x, new)
        _run(table, "bitcast_convert_type", there, x, new_dtype=new)
        _run(table, "bitcast_convert_type", x, np.asarray(there), new_dtype=old)


@pytest.mark.parametrize("dtype", [F32, F16, BF16], ids=str)
def test_reduce_precision(table, dtype):
    with np.errstate(over="ignore"):
        x = np.array([*EDGES, 1e-5, -1e-40, 1e5, -65519, 1.23456, 6e-8, 65520]).astype(dtype)
    for exponent_bits, mantissa_bits in [
        (5, 10),
        (8, 7),
        (4, 3),
        (2, 1),
        (5, 0),
        (3, 20),
        (11, 52),
    ]:
        params = {"exponent_bits": exponent_bits, "mantissa_bits": mantissa_bits}
        _run(table, "reduce_precision", lax.reduce_precision(x, **params), x, **params)
    _run(table, "reduce_precision", x[0], x[0], exponent_bits=5, mantissa_bits=2)


@pytest.mark.parametrize("dtype", [F32, BF16, B1], ids=str)
def test_select_n(table, dtype):
    a, b, c = (_sample((2, 3), dtype, i) for i in range(3))
    which = np.array([[True, False, True], [False, False, True]])
    _run(table, "select_n", lax.select_n(which, a, b), which, a, b)
    for scalar in (np.True_, np.array(False)):
        _run(table, "select_n", lax.select_n(scalar, a, b), scalar, a, b)
    numbers = np.array([[0, 1, 2], [-4, 9, 1]], I32)
    _run(table, "select_n", lax.select_n(numbers, a, b, c), numbers, a, b, c)
    _run(table, "select_n", lax.select_n(np.int32(1), a, b, c), np.int32(1), a, b, c)


@pytest.mark.parametrize("dtype", [F32, BF16, I32], ids=str)
def test_clamp(table, dtype):
    x = _sample((2, 3), dtype)
    lo, hi = np.array(0, dtype), np.array(1, dtype)
    _run(table, "clamp", lax.clamp(lo, x, hi), lo, x, hi)
    _run(table, "clamp", lax.clamp(x, x[::-1], x), x, x[::-1], x)
    if dtype != I32:
        nan = np.array(NAN, dtype)
        for args in ((nan, x, hi), (lo, x, nan), (lo, nan, hi)):
            _run(table, "clamp", lax.clamp(*args), *args)


# --- reductions ----------------------------------------------------------------------------

REDUCED = {
    "f32": _sample((3, 4, 5), F32),
    "strided": _strided((3, 4, 5), F32),
    "i32": _sample((3, 4, 5), I32),
    "empty": np.zeros((3, 0, 5), F32),
    "empty_i32": np.zeros((0, 2, 5), I32),
    "nan": np.where(_sample((3, 4, 5), B1), np.float32(NAN), _sample((3, 4, 5), F32)),
    "inf": np.where(_sample((3, 4, 5), B1), np.float32(-INF), _sample((3, 4, 5), F32)),
}


@pytest.mark.parametrize("key", sorted(REDUCED))
@pytest.mark.parametrize("axes", [(1,), (0, 2), (0, 1, 2)], ids=str)
def test_reductions(table, key, axes):
    x = REDUCED[key]
    _run(table, "reduce_sum", lax.reduce_sum_p.bind(x, axes=axes, out_sharding=None), x,
         axes=axes, rtol=SUM_RTOL)  # fmt: skip
    small = x if x.dtype == F32 else x % 3 + 1
    _run(table, "reduce_prod", lax.reduce_prod_p.bind(small, axes=axes, out_sharding=None), small,
         axes=axes, rtol=SUM_RTOL)  # fmt: skip
    _run(table, "reduce_max", lax.reduce_max(x, axes), x, axes=axes)
    _run(table, "reduce_min", lax.reduce_min(x, axes), x, axes=axes)
    if x.dtype == I32:
        for name in ("reduce_and", "reduce_or", "reduce_xor"):
            _run(table, name, getattr(lax, name)(x, axes), x, axes=axes)


@pytest.mark.parametrize("axes", [(1,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("rows", [3, 0])
def test_bool_reductions(table, axes, rows):
    x = _sample((rows, 5, rows), B1)
    for name in ("reduce_and", "reduce_or", "reduce_xor", "reduce_max", "reduce_min"):
        _run(table, name, getattr(lax, name)(x, axes), x, axes=axes)


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_half_sums_accumulate_in_float32(table, dtype):
    x = np.ones((2, 5000), dtype)
    x[1] = -3
    want = x.astype(F32).sum(1).astype(dtype)
    _run(table, "reduce_sum", want, x, axes=(1,))
    last = table["cumsum"](x, axis=1, reverse=False)
    _check(last[:, -1], want)
    _run(table, "reduce_max", np.array([1, -3], dtype), x, axes=(1,))
    x[0, 7] = NAN
    _run(table, "reduce_min", np.array([NAN, -3], dtype), x, axes=(1,))
    _run(table, "argmax", np.array([7, 0], I32), x, axes=(1,), index_dtype=I32)


@pytest.mark.parametrize("key", ["f32", "strided", "i32", "nan", "inf"])
@pytest.mark.parametrize("axis", [0, 2])
def test_arg_reductions(table, key, axis):
    x = REDUCED[key]
    _run(table, "argmax", lax.argmax(x, axis, I32), x, axes=(axis,), index_dtype=I32)
    _run(table, "argmin", lax.argmin(x, axis, I32), x, axes=(axis,), index_dtype=I32)
    _run(table, "argmax", np.array(0, U8), np.array([True, True]), axes=(0,), index_dtype=U8)


@pytest.mark.parametrize("key", ["f32", "strided", "i32", "nan", "inf", "empty"])
@pytest.mark.parametrize("reverse", [False, True])
def test_scans(table, key, reverse):
    x = REDUCED[key]
    for name in ("cummax", "cummin"):
        want = getattr(lax, name)(x, axis=1, reverse=reverse)
        _run(table, name, want, x, axis=1, reverse=reverse)
    _run(table, "cumsum", lax.cumsum(x, 1, reverse), x, axis=1, reverse=reverse, rtol=2e-5)
    small = x if x.dtype == F32 else x % 3
    _run(table, "cumprod", lax.cumprod(small, 1, reverse), small, axis=1, reverse=reverse,
         rtol=SUM_RTOL)  # fmt: skip


def _loop_log_sum_exp(x):
    """The definition, in float64, without over- or underflow."""
    out, running = [], -INF
    for value in x.astype(np.float64):
        running = np.logaddexp(running, value)
        out.append(running)
    return np.array(out, x.dtype)


def test_cumlogsumexp(table):
    x = np.array([-INF, -INF, -200.0, 3, 100, 99, -5], F32)
    want = _loop_log_sum_exp(x)
    _run(table, "cumlogsumexp", want, x, axis=0, reverse=False, rtol=SUM_RTOL)
    want = _loop_log_sum_exp(x[::-1])[::-1]
    _run(table, "cumlogsumexp", want, x, axis=0, reverse=True, rtol=SUM_RTOL)
    assert np.isnan(table["cumlogsumexp"](np.array([NAN, 1], F32), axis=0, reverse=False)).all()
    z = np.array([1 + 1j, -50 + 2j, 3 - 1j], C64)
    want = np.log(np.cumsum(np.exp(z.astype(np.complex128)))).astype(C64)
    _run(table, "cumlogsumexp", want, z, axis=0, reverse=False, rtol=SUM_RTOL)


# --- indexing ------------------------------------------------------------------------------


def _g(offset_dims, collapsed, start_map, batching=(), batch_axes=()):
    return lax.GatherDimensionNumbers(offset_dims, collapsed, start_map, batching, batch_axes)


# Each: operand shape, indices, dimension numbers, slice sizes.
_rng = np.random.default_rng(5)
GATHERS = {
    "rows": ((5, 3), _rng.integers(-2, 7, (4, 1)), _g((1,), (0,), (0,)), (1, 3)),
    "rows2": ((5, 3), _rng.integers(-2, 7, (4, 2, 1)), _g((2,), (0,), (0,)), (1, 3)),
    "columns": ((3, 5, 2), _rng.integers(-2, 7, (4, 1)), _g((0, 2), (1,), (1,)), (3, 1, 2)),
    "columns_last": ((3, 5, 2), _rng.integers(-2, 7, (4, 2, 1)), _g((2, 3), (1,), (1,)), (3, 1, 2)),
    "columns_first": ((3, 5), _rng.integers(-2, 7, (4, 1)), _g((1,), (1,), (1,)), (3, 1)),
    "part_row": ((5, 6), _rng.integers(-2, 7, (4, 1)), _g((1,), (0,), (0,)), (1, 4)),
    "scalar": ((5, 3), np.array([3]), _g((0,), (0,), (0,)), (1, 3)),
    "scalar_out": ((5, 3), np.array([5]), _g((0,), (0,), (0,)), (1, 3)),
    "window": ((5, 6), np.array([2, 3]), _g((0, 1), (), (0, 1)), (2, 2)),
    "window_out": ((5, 6), np.array([-1, 5]), _g((0, 1), (), (1, 0)), (2, 3)),
    "windows": ((5, 6), _rng.integers(-1, 6, (3, 2)), _g((0, 2), (), (1, 0)), (2, 3)),
    "points": ((5, 6), _rng.integers(-1, 7, (3, 4, 2)), _g((), (0, 1), (0, 1)), (1, 1)),
    "mixed": ((5, 6, 3), _rng.integers(-1, 7, (4, 2)), _g((1, 2), (2,), (2, 0)), (2, 6, 1)),
    "collapsed_free": ((5, 6), _rng.integers(-1, 7, (4, 1)), _g((), (0, 1), (1,)), (1, 1)),
    "batched": (
        (4, 5, 3),
        _rng.integers(-1, 6, (2, 4, 1)),
        _g((2,), (1,), (1,), (0,), (1,)),
        (1, 1, 3),
    ),
    "batched_window": (
        (4, 5, 3),
        _rng.integers(-1, 4, (4, 2, 2)),
        _g((1, 3), (), (1, 2), (0,), (0,)),
        (1, 2, 2),
    ),
    "none": ((5, 3), np.zeros((0, 1), int), _g((1,), (0,), (0,)), (1, 3)),
    "no_index": ((5, 3), np.zeros((2, 0), int), _g((1, 2), (), ()), (4, 3)),
    "thin": ((5, 0), _rng.integers(-2, 7, (4, 1)), _g((1,), (0,), (0,)), (1, 0)),
}
MODES = {"clip": "clip", "fill": "fill", "drop": "fill", "promise_in_bounds": "clip"}


@pytest.mark.parametrize("key", sorted(GATHERS))
@pytest.mark.parametrize("mode", ["clip", "fill"])
def test_gather(table, key, mode):
    shape, indices, numbers, sizes = GATHERS[key]
    x, indices = _strided(shape, F32), indices.astype(I32)
    want = lax.gather(x, indices, numbers, sizes, mode=mode)
    params = {"dimension_numbers": numbers, "slice_sizes": sizes, "indices_are_sorted": False}
    _run(table, "gather", want, x, indices, **params, mode=mode, fill_value=None)
    if mode == "clip":
        _run(table, "gather", want, x, indices, **params, mode="promise_in_bounds")
        _run(table, "gather", want, x, indices.astype(I8), **params, mode="clip")


@pytest.mark.parametrize("dtype", [F32, BF16, I32, U8, B1, C64], ids=str)
def test_gather_fill_value(table, dtype):
    shape, indices, numbers, sizes = GATHERS["columns"]
    x, indices = _sample(shape, dtype), indices.astype(I32)
    params = {"dimension_numbers": numbers, "slice_sizes": sizes, "mode": "fill"}
    for value in (None, 1):
        want = lax.gather(x, indices, numbers, sizes, mode="fill", fill_value=value)
        _run(table, "gather", want, x, indices, **params, fill_value=value)


def test_gather_of_nothing_fills(table):
    params = {"dimension_numbers": _g((1,), (0,), (0,)), "slice_sizes": (1, 2), "mode": "fill"}
    x = np.zeros((0, 2), I32)
    want = np.full((3, 2), 7, I32)
    _run(table, "gather", want, x, np.zeros((3, 1), I32), **params, fill_value=7)


def test_huge_unsigned_index_is_clipped_to_the_end(table):
    params = {"dimension_numbers": _g((), (0,), (0,)), "slice_sizes": (1,), "mode": "clip"}
    indices = np.array([[2**64 - 1], [0]], np.uint64)
    _run(table, "gather", np.array([2, 0], I32), np.arange(3, dtype=I32), indices, **params)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("scalar_out", "index 5 is out of bounds for axis 0 with size 5"),
        ("window_out", "index -1 is out of bounds for axis 1 with size 6"),
    ],
)
def test_error_mode_of_one_index(table, key, message):
    shape, indices, numbers, sizes = GATHERS[key]
    with pytest.raises(IndexError, match=message):
        table["gather"](
            np.zeros(shape), indices, dimension_numbers=numbers, slice_sizes=sizes, mode="error"
        )


def test_error_mode_names_the_first_bad_index(table):
    x = np.arange(30.0).reshape(5, 6)
    indices = np.array([[4, 0], [0, 7], [9, 1]])
    params = {"dimension_numbers": _g((), (0, 1), (0, 1)), "slice_sizes": (1, 1), "mode": "error"}
    with pytest.raises(IndexError, match="index 7 is out of bounds for axis 1 with size 6"):
        table["gather"](x, indices, **params)
    _run(table, "gather", x[[4], [0]], x, indices[:1], **params)
    numbers = lax.ScatterDimensionNumbers((), (0, 1), (0, 1))
    with pytest.raises(IndexError, match="index 7 is out of bounds for axis 1 with size 6"):
        table["scatter_add"](x, indices, np.ones(3), dimension_numbers=numbers, mode="error")


def _scatter_case(key, dtype):
    """The scatter whose windows are those of the gather of the same name."""
    shape, indices, g, sizes = GATHERS[key]
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=g.offset_dims,
        inserted_window_dims=g.collapsed_slice_dims,
        scatter_dims_to_operand_dims=g.start_index_map,
        operand_batching_dims=g.operand_batching_dims,
        scatter_indices_batching_dims=g.start_indices_batching_dims,
    )
    indices = indices.astype(I32)
    zeros = np.zeros(shape, F32)
    updates_shape = lax.gather(zeros, indices, g, sizes, mode="clip").shape
    updates = (_sample(updates_shape, F32, 3) * 8).astype(I32).astype(dtype)
    return (_sample(shape, F32) * 8).astype(I32).astype(dtype), indices, updates, numbers


@pytest.mark.parametrize("key", sorted(GATHERS))
def test_scatter_add(table, key):
    x, indices, updates, numbers = _scatter_case(key, F32)
    for ours, theirs in MODES.items():
        want = lax.scatter_add(x, indices, updates, numbers, mode=theirs)
        _run(table, "scatter_add", want, x, indices, updates, dimension_numbers=numbers,
             mode=ours, unique_indices=False, indices_are_sorted=False)  # fmt: skip


@pytest.mark.parametrize("key", ["rows", "scalar", "window", "windows", "batched"])
@pytest.mark.parametrize("dtype", [F32, I32, BF16], ids=str)
def test_scatter_kinds(table, key, dtype):
    x, indices, updates, numbers = _scatter_case(key, dtype)
    if dtype == BF16:  # products stay exact, so that the order of rounding cannot matter
        updates = np.sign(updates.astype(F32)).astype(dtype)
    for name in ("scatter_add", "scatter_mul", "scatter_min", "scatter_max"):
        want = getattr(lax, name)(x, indices, updates, numbers, mode="fill")
        _run(table, name, want, x, indices, updates, dimension_numbers=numbers, mode="drop")


def _loop_scatter(x, indices, updates, numbers):
    """Set the windows one after the other, by the definition, out-of-bounds ones dropped."""
    out = x.copy()
    window = numbers.update_window_dims
    batch = [j for j in range(updates.ndim) if j not in window]
    absent = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    kept = [d for d in range(x.ndim) if d not in absent]
    moved = updates.transpose(*batch, *window)
    for place in np.ndindex(indices.shape[:-1]):
        start, size = [0] * x.ndim, [1] * x.ndim
        for d, value in zip(numbers.scatter_dims_to_operand_dims, indices[place], strict=True):
            start[d] = int(value)
        for d, axis in zip(
            numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True
        ):
            start[d] = place[axis]
        for d, axis in zip(kept, window, strict=True):
            size[d] = updates.shape[axis]
        if all(s >= 0 and s + n <= e for s, n, e in zip(start, size, x.shape, strict=True)):
            box = tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))
            out[box] = moved[place].reshape(size)
    return out


@pytest.mark.parametrize("key", sorted(GATHERS))
@pytest.mark.parametrize("dtype", [F32, BF16, B1], ids=str)
def test_scatter_sets_in_order(table, key, dtype):
    x, indices, updates, numbers = _scatter_case(key, dtype)
    before = x.copy()
    want = _loop_scatter(x, indices, updates, numbers)
    _run(table, "scatter", want, x, indices, updates, dimension_numbers=numbers, mode="drop")
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("indices", [[0], [[0], [0]]], ids=str)
def test_scatter_add_overflows_silently(table, indices):
    """Warnings are errors in `_run`: an overflow is infinity, as in compiled code."""
    indices = np.array(indices)
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    x, updates = np.full(2, 3e38, F32), np.full(indices.shape[:-1], 3e38, F32)
    want = np.array([INF, 3e38], F32)
    _run(table, "scatter_add", want, x, indices, updates, dimension_numbers=numbers, mode="drop")


def test_scatter_of_unique_indices(table):
    numbers = lax.ScatterDimensionNumbers((1,), (0,), (0,))
    x, updates = _strided((5, 3), F32), _sample((3, 3), F32, 1)
    indices = np.array([[4], [9], [0]])
    want = x.copy()
    want[[4, 0]] = updates[[0, 2]]
    _run(table, "scatter", want, x, indices, updates, dimension_numbers=numbers, mode="drop",
         unique_indices=True)  # fmt: skip


def test_half_scatter_add_accumulates_in_float32(table):
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    x, indices = np.zeros(2, BF16), np.zeros((1000, 1), I32)
    want = np.array([1000, 0], F32).astype(BF16)
    _run(table, "scatter_add", want, x, indices, np.ones(1000, BF16), dimension_numbers=numbers,
         mode="clip")  # fmt: skip


# --- sorting -------------------------------------------------------------------------------

SORTED = {
    "f32": np.array([[3, NAN, -0.0, 0.0, -INF, 0.0], [INF, -0.0, -NAN, 2, 2, -1]], F32),
    "bf16": np.array([[3, NAN, -0.0, 0.0, -INF, 0.0], [INF, -0.0, NAN, 2, 2, -1]], BF16),
    "f16": np.array([[3, NAN, -0.0, 0.0, -INF, 0.0], [INF, -0.0, NAN, 2, 2, -1]], F16),
    "i32": np.array([[3, -(2**31), 2**31 - 1, 0, 3, -1], [5, 4, 3, 2, 1, 0]], I32),
    "u8": np.array([[3, 255, 0, 1, 3, 7], [5, 4, 3, 2, 1, 0]], U8),
    "bool": np.array([[1, 0, 1, 0, 0, 1], [0, 1, 1, 1, 0, 0]], B1),
    "c64": np.array([[1 + 1j, 1 - 1j, complex(NAN, 0), complex(0, NAN), 0, complex(-1, NAN)]], C64),
    "empty": np.zeros((2, 0), F32),
}


@pytest.mark.parametrize("key", sorted(SORTED))
@pytest.mark.parametrize("axis", [0, 1])
def test_sort(table, key, axis):
    x = SORTED[key]
    want = (lax.sort(x, axis, is_stable=True),)
    _run(table, "sort", want, x, dimension=axis, is_stable=True, num_keys=1)
    ties = x[:, :1] if x.size else x
    keys = (np.where(x == x, ties, ties).astype(x.dtype), x)
    places = np.broadcast_to(np.arange(x.shape[1], dtype=I32), x.shape)
    for num_keys in (1, 2):
        want = lax.sort((*keys, places), axis, num_keys=num_keys)
        _run(table, "sort", want, *keys, places, dimension=axis, is_stable=True, num_keys=num_keys)


def test_unstable_sort_orders(table):
    x = _sample(1000, F32)
    _run(table, "sort", (np.sort(x),), x[::-1], dimension=0, is_stable=False, num_keys=1)


@pytest.mark.parametrize("dtype", ["i8", "u8", "f8"])
def test_sort_64_bit_keys(table, dtype):
    x = (_sample(50, "f8") * 3).astype("i4").astype(dtype)
    if dtype == "u8":
        x[3] = 2**64 - 1
    order = np.argsort(x, kind="stable").astype(I32)
    want = (x[order], order)
    _run(table, "sort", want, x, np.arange(50, dtype=I32), dimension=0, is_stable=True, num_keys=1)
    down = sorted(range(50), key=lambda i: (-int(x[i]), i))[:9]
    _run(table, "top_k", (x[down], np.array(down, I32)), x, k=9)


@pytest.mark.parametrize("key", sorted(set(SORTED) - {"c64", "empty"}))
@pytest.mark.parametrize("k", [0, 1, 3, 6])
def test_top_k(table, key, k):
    x = SORTED[key]
    if x.dtype == F32:
        x = np.where(x == x, x, np.float32(NAN))  # JAX puts a NaN with a sign last; we do not
    _run(table, "top_k", lax.top_k(x, k), x, k=k)
    values, indices = lax.top_k(x, k)
    _run(table, "top_k", (values.T, indices.T), x.T, k=k, axis=0)


def test_top_k_nan_of_either_sign_is_largest(table):
    x = np.array([1, -NAN, INF, NAN], F32)
    _run(table, "top_k", (x[[1, 3, 2]], np.array([1, 3, 2], I32)), x, k=3)


# --- threefry ------------------------------------------------------------------------------


def test_threefry_known_answers(table):
    """The known-answer vectors of Random123 for threefry2x32 with 20 rounds."""
    vectors = [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]
    for key, counter, want in vectors:
        for repeat in ((), (3,), (9,)):
            x1, x2 = (np.full(repeat, c, np.uint32) for c in counter)
            outs = tuple(np.full(repeat, w, np.uint32) for w in want)
            _run(table, "threefry2x32", outs, *map(np.uint32, key), x1, x2)


@pytest.mark.parametrize("shape", [(), (3,), (40001,), (5, 7), (0, 2)], ids=str)
def test_threefry_against_jax(table, shape):
    from jax.extend.random import threefry2x32_p

    rng = np.random.default_rng(0)
    x1, x2 = rng.integers(0, 2**32, (2, *shape), np.uint32)
    key = np.uint32(7), np.uint32(0xDEADBEEF)
    full_key = tuple(np.full(shape, k) for k in key)
    want = threefry2x32_p.bind(*full_key, x1, x2)
    _run(table, "threefry2x32", want, *key, x1, x2)
    _run(table, "threefry2x32", want, *full_key, x1, x2)
    if shape == (5, 7):
        keys = rng.integers(0, 2**32, (2, 5, 1), np.uint32)
        want = threefry2x32_p.bind(*(np.broadcast_to(k, shape) for k in keys), x1, x2)
        _run(table, "threefry2x32", want, *keys, x1, x2)
