"""Without this, sums, means, extremes and running sums could differ from NumPy's and JAX's."""

import warnings

import numpy as np
import pytest

import nr
from nr.core import dtypes
from nr.lax import elementwise
from nr.numpy import reductions as jnp
from nr.numpy.creation import asarray, full, zeros

BF16 = dtypes.DTYPES["bfloat16"]
RNG = np.random.default_rng(0)
FLOATS = RNG.normal(size=(2, 3, 4))
INTS = RNG.integers(-5, 6, (2, 3, 4))
DATA = {
    "f32": FLOATS.astype(np.float32),
    "f64": FLOATS,
    "f16": FLOATS.astype(np.float16),
    "bf16": FLOATS.astype(BF16),
    "i32": INTS.astype(np.int32),
    "i8": INTS.astype(np.int8),
    "u8": np.abs(INTS).astype(np.uint8),
    "b1": INTS > 0,
    "c64": (FLOATS + 1j * FLOATS[::-1]).astype(np.complex64),
}
MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, True, False]])
# Rounding of up to 24 additions, relative to a sum of terms of order 1, in units of eps.
ROUNDING = 64
EPS = {"f64": 2.3e-16, "f16": 9.8e-4, "bf16": 7.9e-3}

REDUCTIONS = ["sum", "prod", "max", "min", "any", "all", "mean", "var", "std", "ptp",
              "nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd"]  # fmt: skip
CUMULATIVE = ["cumsum", "cumprod", "nancumsum", "nancumprod"]
POSITIONS = ["argmax", "argmin", "nanargmax", "nanargmin"]
UNORDERED = {"ptp", "nanmax", "nanmin", *POSITIONS}


def accepted(name, dtype):
    """Complex numbers have no order, and bools no difference."""
    return not (dtype == "c64" and name in UNORDERED) and (name, dtype) != ("ptp", "b1")


def options(name):
    if name in CUMULATIVE:
        return [{"axis": None}, {"axis": 0}, {"axis": -1}]
    if name in POSITIONS:
        return [{"axis": None}, {"axis": 1}, {"axis": -1, "keepdims": True}]
    result = [{}, {"axis": 1}, {"axis": (0, -1), "keepdims": True}, {"axis": ()}]
    if name in ("sum", "prod", "any", "all", "mean", "var", "std", "nansum", "nanvar"):
        result.append({"axis": 2, "where": MASK})
    if name in ("sum", "max", "min", "nanmax"):
        result.append({"axis": (0, 2), "where": MASK, "initial": 1})
    if name in ("var", "nanstd"):
        result.append({"axis": 0, "ddof": 1})
    return result


def expected(name, x, kwargs):
    wide = x.astype(np.float64) if x.dtype in (BF16, np.float16) else x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(getattr(np, name)(wide, **kwargs))


@pytest.mark.parametrize(
    "name, dtype",
    [
        (name, dtype)
        for name in [*REDUCTIONS, *CUMULATIVE, *POSITIONS]
        for dtype in DATA
        if accepted(name, dtype)
    ],
)
def test_values_equal_numpy(name, dtype):
    x = DATA[dtype]
    for kwargs in options(name):
        got = getattr(jnp, name)(asarray(x), **kwargs)
        want = expected(name, x, kwargs)
        assert got.shape == want.shape, kwargs
        tolerance = ROUNDING * EPS.get(dtype, 1.2e-7)
        if name in ("cumsum", "nancumsum") and dtype == "i8":
            want = want.astype(np.int8)
        if name in ("cumprod", "nancumprod") and dtype in ("i8", "u8"):
            want = want.astype(x.dtype)
        np.testing.assert_allclose(
            np.asarray(got).astype(np.complex128),
            want.astype(np.complex128),
            rtol=tolerance,
            atol=tolerance,
            err_msg=str(kwargs),
        )


@pytest.mark.parametrize("name", [*REDUCTIONS, *CUMULATIVE, *POSITIONS, "count_nonzero",
                                  "cumulative_sum", "cumulative_prod"])  # fmt: skip
def test_dtypes_and_shapes_equal_jax(name):
    jax = pytest.importorskip("jax")
    for dtype, x in DATA.items():
        if dtype == "f64" or not accepted(name, dtype):
            continue
        if name == "cumulative_prod" and dtype in ("i8", "u8"):
            continue  # JAX keeps them; the array API standard wants the default integer
        f, g = getattr(jnp, name), getattr(jax.numpy, name)
        kwargs = {"axis": 1} if "arg" not in name else {"axis": 1, "keepdims": True}
        if name.startswith("cumulative"):
            kwargs["include_initial"] = True
        want = jax.eval_shape(lambda x, g=g, kwargs=kwargs: g(x, **kwargs), x)
        got = f(asarray(x), **kwargs)
        assert (got.dtype, got.shape) == (want.dtype, want.shape), dtype


@pytest.mark.parametrize("name", [*REDUCTIONS, *CUMULATIVE, *POSITIONS])
def test_jit_and_vmap_equal_eager(name):
    f = getattr(jnp, name)
    for x in map(asarray, (DATA["f32"], DATA["i8"])):
        eager = f(x, axis=1)
        tolerance = {"rtol": 1e-6, "atol": 1e-6}  # the order of float32 additions
        for other in (nr.jit(lambda x: f(x, axis=1))(x), nr.vmap(lambda x: f(x, axis=0))(x)):
            assert other.dtype == eager.dtype
            np.testing.assert_allclose(np.asarray(other), np.asarray(eager), **tolerance)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "mean", "var", "cumsum", "cumprod",
                                  "nansum", "nanmax"])  # fmt: skip
def test_gradients_equal_jax(name):
    jax = pytest.importorskip("jax")
    x = np.array([[1.0, 2.0, 2.0], [0.0, 3.0, 1.0]], np.float32)
    f, g = getattr(jnp, name), getattr(jax.numpy, name)
    got = nr.grad(lambda x: jnp.sum(elementwise.square(f(x, axis=1))))(asarray(x))
    want = jax.grad(lambda x: (g(x, axis=1) ** 2).sum())(x)
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-5, atol=1e-6)


def test_half_sums_accumulate_in_float32():
    for name in ("float16", "bfloat16"):
        x = full((4096,), 1, name)
        assert float(jnp.sum(x)) == 4096.0
        assert float(jnp.mean(x)) == 1.0
    assert float(jnp.mean(full((8192,), 60000, "float16"))) == 60000.0


def test_dtype_argument():
    assert jnp.sum(asarray(DATA["i8"]), dtype="int8").dtype == np.int8
    assert jnp.sum(asarray(DATA["f32"]), dtype="float64").dtype == np.float64
    assert jnp.sum(asarray(DATA["i8"]), promote_integers=False).dtype == np.int8
    assert jnp.sum(asarray([2, 0]), dtype=bool).dtype == np.bool_
    assert bool(jnp.sum(asarray([2, 0]), dtype=bool))
    assert jnp.sum(asarray(np.ones(2, np.int64))).dtype == np.int64
    assert jnp.mean(asarray([1, 2]), dtype="int32").item() == 1


def test_nan_is_seen_or_left_out():
    x = asarray([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])
    assert np.isnan(np.asarray(jnp.max(x, axis=1))).all()
    np.testing.assert_array_equal(np.asarray(jnp.nanmax(x, axis=1)), [3.0, np.nan])
    np.testing.assert_array_equal(np.asarray(jnp.nanargmin(x, axis=1)), [0, -1])
    np.testing.assert_array_equal(np.asarray(jnp.argmax(x, axis=1)), [1, 0])
    np.testing.assert_array_equal(np.asarray(jnp.nanmean(x, axis=1)), [2.0, np.nan])


def test_var_divisors():
    x = asarray([1.0, 2.0, 4.0])
    assert float(jnp.var(x, correction=1)) == pytest.approx(7 / 3)
    assert float(jnp.var(x, mean=asarray(0.0))) == 7.0
    assert np.isnan(float(jnp.var(x, ddof=3)))
    assert np.isnan(float(jnp.var(x, ddof=2, where=asarray([True, False, True]))))
    assert jnp.std(x, dtype=np.complex64).dtype == np.complex64


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: jnp.max(zeros((3, 0)), axis=1), ValueError, r"f32\[3,0\], whose axis 1"),
        (lambda: jnp.argmin(zeros((0,))), ValueError, "must not be empty"),
        (lambda: jnp.max(zeros(3), where=asarray([True] * 3)), ValueError, "initial"),
        (lambda: jnp.sum(zeros(3), where=asarray([True] * 2)), ValueError, r"b1\[2\]"),
        (lambda: jnp.sum(zeros((2, 3)), axis=2), ValueError, "out of bounds"),
        (lambda: jnp.sum(zeros((2, 3)), axis=(0, 0)), ValueError, "duplicate"),
        (lambda: jnp.sum([1, 2]), TypeError, "sum: an array or a number was expected"),
        (lambda: jnp.sum(zeros(3), out=zeros(())), NotImplementedError, "immutable"),
        (lambda: jnp.argmax(asarray([1j])), TypeError, "argmax"),
        (lambda: jnp.cumulative_sum(zeros((2, 2))), ValueError, "axis must be given"),
        (lambda: jnp.var(zeros(3), ddof=1, correction=1), ValueError, "ddof"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
