"""Without this, a kernel of the CPU table could disagree with XLA in value, shape or dtype."""

import itertools
import os

import ml_dtypes
import numpy as np
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax")
scipy_special = pytest.importorskip("scipy.special")

from jax import lax  # noqa: E402

from nr.backends.table import conv, dot, elementwise, special, window  # noqa: E402

ELEMENTWISE, SPECIAL = elementwise.rows(np), special.rows(np)
DOT, CONV = dot.rows(np)["dot_general"], conv.rows(np)["conv_general_dilated"]
WINDOW = window.rows(np)
BF16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [BF16, np.dtype("f2"), np.dtype("f4"), np.dtype("f8")]
COMPLEX = [np.dtype("c8"), np.dtype("c16")]
INTS = [np.dtype(t) for t in ("i1", "u1", "i4", "u8")]
SIGNED = [t for t in INTS if t.kind == "i"]
BOOL = np.dtype(bool)
# Both sides approximate, to a few ulp; XLA's float64 log1p is the worst, 23 ulp off near -0.39
# where NumPy's is within one of mpmath's.
ULPS = 32

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def epsilon(dtype):
    return float(ml_dtypes.finfo(dtype).eps) if dtype in FLOATS + COMPLEX else 0.0


def assert_same(got, want, *, ulps=0, name=""):
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype, (name, got.dtype, want.dtype)
    assert got.shape == want.shape, (name, got.shape, want.shape)
    if got.dtype == BF16:  # whose NaN no comparison of NumPy's knows
        got, want = got.astype(np.float32), want.astype(np.float32)
        eps = epsilon(BF16)
    else:
        eps = epsilon(got.dtype)
    if ulps and eps:
        np.testing.assert_allclose(got, want, rtol=ulps * eps, atol=eps, err_msg=name)
    else:
        np.testing.assert_array_equal(got, want, err_msg=name)


def samples(dtype, size=64, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == BOOL:
        return rng.integers(0, 2, size).astype(bool)
    if dtype in INTS:
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, size, dtype=dtype, endpoint=True)
        x[:6] = [0, 1, info.max, info.min, 2, 3]
        return rng.permutation(x)
    if dtype in COMPLEX:
        return (rng.normal(size=size) + 1j * rng.normal(size=size)).astype(dtype)
    x = rng.normal(size=size) * 3
    x[:9] = [0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 0.5, -2.5]
    return rng.permutation(x).astype(dtype)


REAL_FUNCTIONS = [
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "rsqrt",
    "cbrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "logistic",
]
UNARY = [
    *((name, dtype) for name in REAL_FUNCTIONS for dtype in FLOATS),
    *((name, dtype) for name in ("exp", "log", "sqrt", "tanh", "logistic") for dtype in COMPLEX),
    *((name, dtype) for name in ("neg", "sign") for dtype in FLOATS + COMPLEX + INTS),
    *(("square", dtype) for dtype in FLOATS + COMPLEX + INTS),
    *(("abs", dtype) for dtype in FLOATS + COMPLEX + SIGNED),
    *((name, dtype) for name in ("floor", "ceil", "is_finite") for dtype in FLOATS),
    *(("not", dtype) for dtype in [*INTS, BOOL]),
    *((name, dtype) for name in ("population_count", "clz") for dtype in INTS),
    *((name, dtype) for name in ("real", "imag", "conj") for dtype in COMPLEX),
    ("conj", np.dtype("f4")),
]
JAX_NAMES = {"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "not": "bitwise_not"}


def reference(name):
    return getattr(lax, JAX_NAMES.get(name, name))


@pytest.mark.parametrize(("name", "dtype"), UNARY, ids=lambda v: str(v))
def test_unary(name, dtype):
    x = samples(dtype)
    row = ELEMENTWISE[name]
    # XLA's float32 cbrt and 16-bit functions round intermediate steps; one rule covers them.
    assert_same(row(x), reference(name)(x), ulps=ULPS, name=name)
    assert_same(row(x[::-2]), row(np.ascontiguousarray(x[::-2])), ulps=1)
    scalar = np.asarray(row(x[3]))
    assert scalar.shape == () and scalar.dtype == np.asarray(row(x)).dtype
    assert np.asarray(row(x[:0])).shape == (0,)


BINARY = [
    *((n, d) for n in ("add", "sub", "mul", "div") for d in FLOATS + COMPLEX[:1] + INTS),
    *((n, d) for n in ("rem", "max", "min") for d in FLOATS + INTS),
    *((n, d) for n in ("atan2", "pow") for d in FLOATS),
    *(("nextafter", d) for d in FLOATS),
    *((n, d) for n in ("eq", "ne") for d in [BF16, *COMPLEX, *INTS, BOOL]),
    *((n, d) for n in ("lt", "ge") for d in [BF16, *INTS, BOOL]),
    *((n, np.dtype("f4")) for n in ("le", "gt")),
    *((n, d) for n in ("and", "or", "xor") for d in [*INTS, BOOL]),
]


@pytest.mark.parametrize(("name", "dtype"), BINARY, ids=lambda v: str(v))
def test_binary(name, dtype):
    x, y = samples(dtype, 256), samples(dtype, 256, seed=1)
    if dtype in INTS and name in ("div", "rem"):
        y[:40] = 0
        y[40:80] = np.asarray(-1).astype(dtype)
        x[40:60] = np.iinfo(dtype).min
    # Products and quotients of complex numbers may be fused; everything else is exact or a libm's.
    inexact = name in ("atan2", "pow") or dtype in COMPLEX
    row = ELEMENTWISE[name]
    assert_same(row(x, y), reference(name)(x, y), ulps=ULPS if inexact else 0, name=name)
    one = y[5]
    spread = np.full_like(x, one)
    assert_same(row(x, one), row(x, spread), name=name)
    assert_same(row(np.asarray(one), x), row(spread, x), name=name)
    assert np.asarray(row(x[1], one)).shape == ()


@pytest.mark.parametrize("dtype", INTS, ids=str)
def test_shifts(dtype):
    x = samples(dtype)
    for count in (0, 1, 3, 8 * dtype.itemsize - 1, 8 * dtype.itemsize, 100, -1):
        y = np.full_like(x, np.asarray(count).astype(dtype))
        for name in ("shift_left", "shift_right_logical", "shift_right_arithmetic"):
            want = reference(name)(x, y)
            assert_same(ELEMENTWISE[name](x, y), want, name=name)
            assert_same(ELEMENTWISE[name](x, y[0]), want, name=name)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_round_and_float_powers(dtype):
    x = np.array([0.5, 1.5, -2.5, -0.5, 0.49, 7.0, -3.6, np.inf, np.nan], dtype)
    for method in (0, 1):
        got = ELEMENTWISE["round"](x, rounding_method=method)
        assert_same(got, lax.round(x, lax.RoundingMethod(method)))
        assert not np.any(np.signbit(got.astype("f8")) != np.signbit(x.astype("f8")))
    for y in (-3, -1, 0, 1, 2, 3, 7):
        got = ELEMENTWISE["integer_pow"](x, y=y)
        assert_same(got, lax.integer_pow(x, y), ulps=ULPS)
    y = np.arange(-4, 5, dtype=np.int32)
    assert_same(ELEMENTWISE["pow"](x, y), lax.pow(x, y), ulps=ULPS)


def test_integer_powers_wrap_and_divide():
    x = np.array([2, -3, 0, 1, -1, 2, -1, 0, 100], np.int8)
    y = np.array([6, 3, 0, -5, -5, -1, -2, -1, 2], np.int8)
    assert_same(ELEMENTWISE["pow"](x, y), np.array([64, -27, 1, 1, -1, 0, 1, -1, 16], np.int8))
    assert_same(ELEMENTWISE["integer_pow"](x, y=3), lax.integer_pow(x, 3))


def test_signed_zero_of_sign_and_complex_pieces():
    assert np.signbit(ELEMENTWISE["sign"](np.float32(-0.0)))
    real, imag = np.arange(3, dtype="f4"), np.float32(2)
    assert_same(ELEMENTWISE["complex"](real, imag), lax.complex(real, np.full(3, imag)))


SPECIAL_RANGES = {
    "erf": (scipy_special.erf, (-6, 6)),
    "erfc": (scipy_special.erfc, (-6, 5)),
    "erf_inv": (scipy_special.erfinv, (-1, 1)),
    "lgamma": (scipy_special.gammaln, (0, 100)),
    "digamma": (scipy_special.digamma, (0, 100)),
    "bessel_i0e": (scipy_special.i0e, (-50, 50)),
    "bessel_i1e": (scipy_special.i1e, (-50, 50)),
}


@pytest.mark.parametrize("name", SPECIAL_RANGES)
def test_special_functions_of_one_operand(name):
    exact, (low, high) = SPECIAL_RANGES[name]
    x = np.random.default_rng(0).uniform(low, high, 40_000)
    tiny = 10.0 ** np.random.default_rng(1).uniform(-300, -1, 2_000)
    x = np.concatenate([x, tiny])
    # scipy's own erfc is off by 60 ulp, and near the zeros of lgamma it is good to 3e-16 absolute.
    near_zero = 3e-16 if name == "lgamma" else 1e-307
    assert_close(SPECIAL[name](x), exact(x), 2e-14, name, near_zero)
    for dtype in FLOATS[:3]:
        narrow = x.astype(dtype)
        got = SPECIAL[name](narrow)
        assert got.dtype == dtype
        want = exact(narrow.astype("f8"))
        assert_close(got.astype("f8"), want, 0.9 * epsilon(dtype), name, 1.5 * least(dtype))
        assert np.asarray(SPECIAL[name](narrow[7])).shape == ()
    assert SPECIAL[name](x[:0].reshape(0, 3)).shape == (0, 3)
    grid = x[:1000].reshape(40, 25).T
    assert_same(SPECIAL[name](grid), SPECIAL[name](np.ascontiguousarray(grid)))


def least(dtype):
    return float(ml_dtypes.finfo(dtype).smallest_subnormal)


def assert_close(got, want, rtol, name, atol=1e-307):
    want = np.where(np.abs(want) < np.inf, want, np.nan)  # overflow is the narrow dtype's business
    got = np.where(np.isnan(want), np.nan, got)
    finite = np.isfinite(got)
    np.testing.assert_allclose(got[finite], want[finite], rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", SPECIAL_RANGES)
def test_special_values(name):
    x = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, -2.5, np.nan, np.inf, -np.inf])
    want = np.asarray(reference(name)(x))
    np.testing.assert_allclose(SPECIAL[name](x), want, rtol=1e-13, atol=1e-13, err_msg=name)
    assert SPECIAL[name](np.array([-0.0])) == SPECIAL[name](np.array([0.0])) or name == "digamma"


def test_lgamma_keeps_its_digits_near_its_zeros():
    x = np.array([0.999, 1.001, 1.9999, 2.003])
    # From mpmath with 40 digits.
    want = [
        0.0005780385328913802,
        -0.0005763935982833062,
        -4.227520877215346e-05,
        0.0012712533917493911,
    ]
    np.testing.assert_allclose(SPECIAL["lgamma"](x), want, rtol=1e-15)


def test_lgamma_and_digamma_below_zero():
    x = np.random.default_rng(0).uniform(-20, 0, 5000)
    scale = 1 + np.abs(scipy_special.gammaln(x))
    assert np.max(np.abs(SPECIAL["lgamma"](x) - scipy_special.gammaln(x)) / scale) < 1e-13
    x = np.floor(x) + 0.05 + 0.9 * (x - np.floor(x))  # near a pole scipy loses what x - n keeps
    scale = 1 + np.abs(scipy_special.digamma(x))
    assert np.max(np.abs(SPECIAL["digamma"](x) - scipy_special.digamma(x)) / scale) < 1e-13


def test_incomplete_gamma():
    rng = np.random.default_rng(0)
    a = 10.0 ** rng.uniform(-3, 3, 2000)
    x = a * np.exp(rng.uniform(-2, 2, 2000) / np.sqrt(a))
    assert_close(SPECIAL["igamma"](a, x), scipy_special.gammainc(a, x), 1e-12, "igamma")
    assert_close(SPECIAL["igammac"](a, x), scipy_special.gammaincc(a, x), 1e-12, "igammac")
    # From mpmath's quadrature of the density; scipy is off by 1e-9 in the first.
    a, x = np.full(4, 4e5), 4e5 + np.array([-3000.0, -300, 0, 300])
    want = [9.93215776563058e-07, 0.31777376910342847, 0.500210261046422, 0.6825174583980311]
    np.testing.assert_allclose(SPECIAL["igamma"](a, x), want, rtol=1e-14)
    pairs = [(0, 1), (1, 0), (-1, 1), (1, -1), (np.inf, 1), (1, np.inf), (0, 0), (np.nan, 1)]
    a, x = np.array(pairs, float).T
    np.testing.assert_array_equal(SPECIAL["igammac"](a, x), 1 - SPECIAL["igamma"](a, x))
    want = [1, 0, np.nan, np.nan, 0, 1, np.nan, np.nan]
    np.testing.assert_array_equal(SPECIAL["igamma"](a, x), want)
    half = np.array([0.5, 2.0], BF16)
    assert_same(
        SPECIAL["igamma"](half, BF16.type(1)), scipy_special.gammainc([0.5, 2], 1).astype(BF16)
    )


def test_incomplete_beta():
    rng = np.random.default_rng(0)
    a, b = 10.0 ** rng.uniform(-1, 3, (2, 2000))
    x = np.clip(a / (a + b) * rng.uniform(0.7, 1.3, 2000), 0, 1)
    want = scipy_special.betainc(a, b, x)
    got = SPECIAL["regularized_incomplete_beta"](a, b, x)
    assert_close(got, want, 1e-11, "betainc", 1e-200)
    cases = [(0, 1, 0.5), (1, 0, 0.5), (0, 0, 0.5), (-1, 1, 0.5), (1, 1, 0), (1, 1, 1), (1, 1, 2)]
    cases += [(np.nan, 1, 0.5), (np.inf, 1, 0.5), (1, np.inf, 0.5), (0, 1, 0), (1, 0, 1)]
    a, b, x = np.array(cases, float).T
    got = SPECIAL["regularized_incomplete_beta"](a, b, x)
    np.testing.assert_array_equal(got, scipy_special.betainc(a, b, x))


def test_zeta_and_polygamma():
    rng = np.random.default_rng(0)
    x, q = 1 + 10.0 ** rng.uniform(-2, 1.5, 3000), 10.0 ** rng.uniform(-2, 4, 3000)
    assert_close(SPECIAL["zeta"](x, q), scipy_special.zeta(x, q), 2e-14, "zeta")
    x = np.array([1.0, 0.5, 2, 2, 2, 3, 2.5, 2, 3])
    q = np.array([1.0, 1, 0, -1, -1.5, -1.5, -1.5, np.nan, -40.25])
    np.testing.assert_allclose(SPECIAL["zeta"](x, q), scipy_special.zeta(x, q), rtol=1e-13)
    m = rng.integers(0, 20, 3000).astype(float)
    y = 10.0 ** rng.uniform(-2, 3, 3000)
    assert_close(SPECIAL["polygamma"](m, y), scipy_special.polygamma(m.astype(int), y), 2e-14, "")
    assert np.all(np.isnan(SPECIAL["polygamma"](np.array([1.5, -1.0]), np.ones(2))))
    at_infinity = np.array([2.5, 3.0]), np.full(2, np.inf)
    assert np.array_equal(SPECIAL["zeta"](*at_infinity), [0.0, 0.0])


DOTS = [
    ((5, 7), (7, 3), (((1,), (0,)), ((), ()))),
    ((7, 5), (7, 3), (((0,), (0,)), ((), ()))),
    ((5, 7), (3, 7), (((1,), (1,)), ((), ()))),
    ((7, 5), (3, 7), (((0,), (1,)), ((), ()))),
    ((7,), (7,), (((0,), (0,)), ((), ()))),
    ((7,), (7, 3), (((0,), (0,)), ((), ()))),
    ((5, 7), (7,), (((1,), (0,)), ((), ()))),
    ((2, 5, 7), (2, 7, 3), (((2,), (1,)), ((0,), (0,)))),
    ((5, 2, 7), (7, 3, 2), (((2,), (0,)), ((1,), (2,)))),
    ((2, 3, 4, 5), (5, 4, 6), (((3, 2), (0, 1)), ((), ()))),
    ((2, 3, 4, 5), (3, 2, 5, 4), (((3,), (2,)), ((0, 1), (1, 0)))),
    ((2, 3), (4, 5), (((), ()), ((), ()))),
    ((2, 3), (2, 5), (((), ()), ((0,), (0,)))),
    ((2, 3), (2, 3), (((1,), (1,)), ((0,), (0,)))),
    ((3, 0), (0, 4), (((1,), (0,)), ((), ()))),
    ((0, 3), (3, 4), (((1,), (0,)), ((), ()))),
    ((2, 4, 0), (0, 3), (((2,), (0,)), ((), ()))),
    ((), (), (((), ()), ((), ()))),
]


@pytest.mark.parametrize("case", DOTS, ids=str)
def test_dot_general(case):
    a_shape, b_shape, numbers = case
    for dtype in (BF16, *map(np.dtype, ("f4", "c8", "i1")), BOOL):
        a = samples_finite(dtype, a_shape, 0)
        b = samples_finite(dtype, b_shape, 1)
        want = lax.dot_general(a, b, numbers, precision="highest")
        got = DOT(a, b, dimension_numbers=numbers)
        assert_same(got, want, ulps=ULPS, name=str(dtype))
        assert_same(DOT(a, b.copy(order="F"), dimension_numbers=numbers), got, ulps=ULPS)


def samples_finite(dtype, shape, seed):
    if dtype in FLOATS or dtype in COMPLEX:
        # Positive entries: no cancellation, so that an error bound in ulps of the result holds.
        rng = np.random.default_rng(seed)
        x = rng.uniform(0.5, 1.5, shape)
        return (x * 1j + 0.1 if dtype in COMPLEX else np.asarray(x)).astype(dtype)
    return samples(dtype, 4096, seed)[: int(np.prod(shape))].reshape(shape)


def test_dot_accumulates_in_the_preferred_type():
    a = np.full((1, 300), 100, np.int8)
    numbers = (((1,), (0,)), ((), ()))
    got = DOT(a, a.T, dimension_numbers=numbers, preferred_element_type=np.int32)
    assert_same(got, np.array([[3_000_000]], np.int32))
    x = np.full((1, 1000), 1.0, BF16)
    got = DOT(x, x.T, dimension_numbers=numbers, preferred_element_type=np.float32)
    assert_same(got, np.array([[1000]], np.float32))
    assert float(DOT(x, x.T, dimension_numbers=numbers)[0, 0]) == 1000.0


LAYOUTS = [("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC"), ("CNHW", "IOHW", "NHCW")]
GEOMETRY = [
    ((1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    ((2, 1), ((1, 2), (-1, 3)), (2, 3), (1, 2)),
    ((2, 2), ((-4, 1), (-2, -1)), (3, 2), (1, 1)),
    ((1, 1), ((-4, -3), (0, 0)), (1, 1), (1, 1)),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("groups", [(1, 1), (2, 1), (4, 1), (1, 2)], ids=str)
def test_convolution(layout, groups, monkeypatch):
    monkeypatch.setattr(conv, "_PATCH_BYTES", 4000)  # several chunks of the batch
    feature_groups, batch_groups = groups
    for geometry, (kh, kw) in [*((g, (3, 2)) for g in GEOMETRY), (GEOMETRY[0], (1, 1))]:
        strides, padding, lhs_dilation, rhs_dilation = geometry
        sizes = {"N": 4, "C": 4, "O": 8, "H": kh, "W": kw, "I": 4 // feature_groups}
        rhs = samples_finite(np.dtype("f4"), [sizes[c] for c in layout[1]], 1)
        sizes |= {"H": 7, "W": 6}
        lhs = samples_finite(np.dtype("f4"), [sizes[c] for c in layout[0]], 0)
        options = {
            "window_strides": strides,
            "padding": padding,
            "lhs_dilation": lhs_dilation,
            "rhs_dilation": rhs_dilation,
            "dimension_numbers": lax.conv_dimension_numbers(lhs.shape, rhs.shape, layout),
            "feature_group_count": feature_groups,
            "batch_group_count": batch_groups,
        }
        want = lax.conv_general_dilated(lhs, rhs, **options, precision="highest")
        assert_same(CONV(lhs, rhs, **options), want, ulps=ULPS)


@pytest.mark.parametrize("dtype", [BF16, np.dtype("f2"), np.dtype("i4"), np.dtype("c8")], ids=str)
@pytest.mark.parametrize("rank", [0, 1, 3])
def test_convolution_ranks_and_dtypes(dtype, rank):
    lhs = samples_finite(dtype, (2, 3) + (5,) * rank, 0)
    rhs = samples_finite(dtype, (4, 3) + (2,) * rank, 1)
    options = {
        "window_strides": (1,) * rank,
        "padding": ((1, 0),) * rank,
        "lhs_dilation": (1,) * rank,
        "rhs_dilation": (1,) * rank,
        "dimension_numbers": lax.conv_dimension_numbers(lhs.shape, rhs.shape, None),
    }
    want = lax.conv_general_dilated(lhs, rhs, **options)
    assert_same(CONV(lhs, rhs, **options), want, ulps=ULPS)
    assert CONV(lhs[:0], rhs, **options).shape == (0, *want.shape[1:])


WINDOWS = [
    ((2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    ((3, 2), (2, 3), ((1, 2), (0, 1)), (1, 1), (1, 1)),
    ((2, 2), (1, 2), ((2, -1), (1, 1)), (2, 3), (2, 1)),
    ((1, 1), (2, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
]


def window_options(case):
    names = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
    return dict(zip(names, case, strict=True))


@pytest.mark.parametrize("case", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, np.dtype("i4"), np.dtype("u1")], ids=str)
def test_reduce_window(case, dtype):
    options = window_options(case)
    x = samples(dtype, 63).reshape(7, 9)
    info = np.iinfo(dtype) if dtype in INTS else None
    low = info.min if info else -np.inf
    high = info.max if info else np.inf
    for name, monoid, start in (
        ("reduce_window_max", lax.max, low),
        ("reduce_window_min", lax.min, high),
        ("reduce_window_sum", lax.add, 0),
    ):
        operand = x
        if name.endswith("sum") and dtype in FLOATS:
            operand = samples_finite(dtype, (7, 9), 0)
        want = lax.reduce_window(operand, np.asarray(start).astype(dtype), monoid, *case)
        assert_same(WINDOW[name](operand, **options), want, ulps=ULPS * name.endswith("sum"))
    assert WINDOW["reduce_window_sum"](x[:0], **options).shape[1] == want.shape[1]


def reference_scatter(source, operand, select, case):
    """XLA's rule, window by window."""
    size, strides, padding = case[:3]
    result = np.zeros(operand.shape, source.dtype)
    for place in np.ndindex(source.shape):
        chosen = None
        for tap in np.ndindex(*size):
            at = tuple(
                p * s + t - lo
                for p, s, t, (lo, _) in zip(place, strides, tap, padding, strict=True)
            )
            if any(i < 0 or i >= n for i, n in zip(at, operand.shape, strict=True)):
                continue
            if chosen is None or not select(operand[chosen], operand[at]):
                chosen = at
        if chosen is not None:
            result[chosen] += source[place]
    return result


@pytest.mark.parametrize("select", ["ge", "le"])
@pytest.mark.parametrize("case", [WINDOWS[0], WINDOWS[1], WINDOWS[3]], ids=str)
def test_select_and_scatter_add(case, select):
    # Few distinct values, so that ties are common; NaN and infinities at the padded edge.
    operand = np.random.default_rng(0).integers(0, 4, (7, 9)).astype("f4")
    operand[0, :4] = [np.nan, -np.inf, np.inf, -np.inf]
    shape = WINDOW["reduce_window_max"](operand, **window_options(case)).shape
    source = np.random.default_rng(1).integers(1, 9, shape).astype("f4")
    options = dict(itertools.islice(window_options(case).items(), 3))
    got = WINDOW["select_and_scatter_add"](source, operand, select_prim=select, **options)
    rule = np.greater_equal if select == "ge" else np.less_equal
    assert_same(got, reference_scatter(source, operand, rule, case))
    half = WINDOW["select_and_scatter_add"](
        source.astype(BF16), operand.astype(BF16), select_prim=select, **options
    )
    assert_same(half, got.astype(BF16))


def test_select_and_scatter_add_is_the_gradient_of_max_pooling():
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 3)).astype("f4")
    geometry = ((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 1), (0, 0)))
    options = window_options((*geometry, (1,) * 4, (1,) * 4))

    def pool(x):
        return lax.reduce_window(x, -np.inf, lax.max, *geometry)

    value, pull = jax.vjp(pool, x)
    source = np.random.default_rng(1).normal(size=value.shape).astype("f4")
    scatter = {name: options[name] for name in ("window_dimensions", "window_strides", "padding")}
    got = WINDOW["select_and_scatter_add"](source, x, select_prim="ge", **scatter)
    np.testing.assert_allclose(got, pull(source)[0], rtol=1e-6, atol=1e-6)
    tangents = np.random.default_rng(2).normal(size=x.shape).astype("f4")
    got = WINDOW["select_and_gather_add"](tangents, x, select_prim="ge", **options)
    assert_same(got, jax.jvp(pool, (x,), (tangents,))[1])


def test_select_and_gather_add_with_dilation():
    x = np.random.default_rng(0).permutation(63).reshape(7, 9).astype("f8")
    for case, select in itertools.product(WINDOWS, ("ge", "le")):
        options = window_options(case)
        got = WINDOW["select_and_gather_add"](x * 10, x, select_prim=select, **options)
        name = "reduce_window_max" if select == "ge" else "reduce_window_min"
        best = WINDOW[name](x, **options)
        assert_same(got, np.where(np.isfinite(best), best * 10, 0))
