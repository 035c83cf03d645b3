"""Without this file nr.numpy could stray from the array API standard that other libraries rely on.

The reference is array_api_strict, which follows the standard to the letter.
"""

import inspect
import itertools
import math
import operator

import numpy as np
import pytest

import nr.numpy as jnp

strict = pytest.importorskip("array_api_strict")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.array_api import make_strategies_namespace  # noqa: E402

SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
REAL = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
DTYPES = ["bool", *SIGNED, *UNSIGNED, *REAL, *COMPLEX]
# The standard leaves the default integer open: nr's is int32, array_api_strict's int64.
DEFAULTS = {"int64": "int32", "uint64": "uint32"}
# Elementary functions are within a few units in the last place of each other, not equal.
ULPS = {4: 1e-5, 8: 1e-12}

_words = str.split
xps = make_strategies_namespace(jnp)
quick = settings(max_examples=15, deadline=None, derandomize=True)
every_dtype = xps.scalar_dtypes() | xps.complex_dtypes()


def to_strict(x):
    return strict.asarray(np.asarray(x))


def as_numpy(x):
    return np.asarray(x._array if hasattr(x, "_array") else x)


def assert_same(got, want):
    """Equal values (zeros with their signs, floats but for rounding) and shapes."""
    got, want = as_numpy(got), as_numpy(want)
    assert got.shape == want.shape
    assert got.dtype.kind == want.dtype.kind
    if got.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want)
        return
    pairs = [(got.real, want.real), (got.imag, want.imag)] if got.dtype.kind == "c" else []
    for a, b in pairs or [(got, want)]:
        np.testing.assert_allclose(a, b, rtol=ULPS[a.dtype.itemsize], atol=0)
        zeros = b == 0
        np.testing.assert_array_equal(np.signbit(a[zeros]), np.signbit(b[zeros]))


_ARITHMETIC = _words("add sub mul truediv floordiv mod pow and or xor lshift rshift")


# ---------------------------------------------------------------- names and signatures
_OWN = {  # array_api_strict's switches, not names of the standard
    "ArrayAPIStrictFlags", "Device", "__version__", "get_array_api_strict_flags",
    "reset_array_api_strict_flags", "set_array_api_strict_flags",
}  # fmt: skip


def _standard_names():
    yield from ((n, strict, jnp) for n in strict.__all__ if n not in _OWN)
    for name in ("linalg", "fft"):
        ours, theirs = getattr(jnp, name), getattr(strict, name)
        yield from ((n, theirs, ours) for n in theirs.__all__)


NAMES = [pytest.param(*case, id=f"{case[1].__name__}.{case[0]}") for case in _standard_names()]
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def assert_accepts(function, reference, skip=0):
    """A function can be called in all the ways in which the standard's can."""
    ours = list(inspect.signature(function).parameters.values())[skip:]
    theirs = [p for p in inspect.signature(reference).parameters.values() if p.name != "self"]
    named = {p.name: p for p in ours}
    for place, want in enumerate(theirs):
        if want.kind in _POSITIONAL:
            got = ours[place]
            assert got.kind in (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL), str(want)
            if want.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
                assert (got.name, got.kind) == (want.name, want.kind)
            if want.default is not inspect.Parameter.empty:
                assert got.default is not inspect.Parameter.empty, str(want)
        elif want.kind is inspect.Parameter.KEYWORD_ONLY:
            assert want.name in named, f"keyword {want.name} is missing"
            assert named[want.name].kind is not inspect.Parameter.POSITIONAL_ONLY, want.name
        else:
            assert ours[place].kind is want.kind, str(want)


@pytest.mark.parametrize("name, theirs, ours", NAMES)
def test_functions_exist_and_take_the_arguments_of_the_standard(name, theirs, ours):
    assert hasattr(ours, name)
    if inspect.isfunction(getattr(theirs, name)):
        assert_accepts(getattr(ours, name), getattr(theirs, name))


def test_arrays_have_the_attributes_of_the_standard():
    x = jnp.ones((2, 2))
    reference = type(strict.ones(1))
    # x += y makes a new array by __add__; the others are array_api_strict's own.
    not_needed = {f"__i{op}__" for op in (*_ARITHMETIC, "matmul")} | {
        "__annotations__",
        "__buffer__",
    }
    names = set(vars(reference)) - set(dir(object)) - not_needed
    names = {n for n in names if not n.startswith("_") or n.endswith("__")}
    assert {"__add__", "__dlpack__", "to_device", "mT", "__index__"} <= names
    assert {n for n in names if not hasattr(x, n)} == set()
    assert_accepts(type(x).__array_namespace__, reference.__array_namespace__, skip=1)
    assert "stream" in inspect.signature(type(x).to_device).parameters


def test_inspection():
    info = jnp.__array_namespace_info__()
    assert info.capabilities()["boolean indexing"] is True
    assert info.capabilities()["data-dependent shapes"] is True
    assert info.default_device() in info.devices()
    for device in (None, *info.devices()):
        defaults = info.default_dtypes(device=device)
        assert defaults["integral"] == jnp.asarray(0).dtype == defaults["indexing"]
        assert defaults["real floating"] == jnp.asarray(0.0).dtype
        assert defaults["complex floating"] == jnp.asarray(0j).dtype
        assert sorted(info.dtypes(device=device)) == sorted(DTYPES)
    assert list(info.dtypes(kind="unsigned integer")) == UNSIGNED
    assert set(info.dtypes(kind=("bool", "complex floating"))) == {"bool", *COMPLEX}


# ---------------------------------------------------------------- dtypes
@pytest.mark.parametrize("name", ["float32", "float64", "complex64", "complex128"])
def test_finfo(name):
    want = np.finfo(name)
    for given_as in (getattr(jnp, name), jnp.dtype(name), jnp.ones(2, name)):
        got = jnp.finfo(given_as)
        for field in ("eps", "max", "min", "smallest_normal"):
            assert type(getattr(got, field)) is float  # weak beside arrays, as the standard asks
            assert getattr(got, field) == float(getattr(want, field))
        assert type(got.bits) is int and got.bits == want.bits
        assert got.dtype == want.dtype
        assert got.nmant == want.nmant


@pytest.mark.parametrize("name", SIGNED + UNSIGNED)
def test_iinfo(name):
    for given_as in (getattr(jnp, name), jnp.dtype(name), jnp.ones(2, name)):
        got = jnp.iinfo(given_as)
        assert (got.bits, got.min, got.max) == (
            np.iinfo(name).bits, np.iinfo(name).min, np.iinfo(name).max
        )  # fmt: skip
        assert {type(v) for v in (got.bits, got.min, got.max)} == {int}


def test_limits_of_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="finfo: the dtype must be floating"):
        jnp.finfo(jnp.int32)
    with pytest.raises(ValueError, match="iinfo: the dtype must be an integer"):
        jnp.iinfo(jnp.float32)


def _promotions():
    """Two dtypes and what they promote to, where the standard says so."""
    for first, second in itertools.combinations_with_replacement(DTYPES, 2):
        try:
            want = strict.result_type(getattr(strict, first), getattr(strict, second))
        except TypeError:
            continue
        yield first, second, str(want).rpartition(".")[2]


@pytest.mark.parametrize("first, second, want", list(_promotions()))
def test_result_type(first, second, want):
    a, b = jnp.ones(2, first), jnp.ones((3, 1), second)
    assert jnp.result_type(getattr(jnp, first), getattr(jnp, second)) == want
    assert jnp.where(a == a, a, b).dtype == jnp.concat([a[None], b[:1, [0, 0]]]).dtype == want
    if want != "bool":
        assert (a + b).dtype == (b * a).dtype == want


@pytest.mark.parametrize(
    "function, dtypes",
    [
        ("sum prod cumulative_sum cumulative_prod", SIGNED + UNSIGNED + REAL + COMPLEX),
        ("max min argmax argmin sort argsort", SIGNED + UNSIGNED + REAL),
        ("mean std var", REAL),
        ("count_nonzero nonzero unique_values", DTYPES),
    ],
)
def test_dtypes_of_reductions(function, dtypes):
    counts = ("argmax", "argmin", "argsort", "count_nonzero", "nonzero")
    for name, dtype in itertools.product(function.split(), dtypes):
        got = getattr(jnp, name)(jnp.ones(3, dtype))
        want = getattr(strict, name)(strict.ones(3, dtype=getattr(strict, dtype)))
        got, want = (r[0] if isinstance(r, tuple) else r for r in (got, want))
        want = str(as_numpy(want).dtype)
        if name in counts or dtype not in ("int64", "uint64", want):
            want = DEFAULTS.get(want, want)
        assert str(got.dtype) == want, (name, dtype)


_SCALARS = {"b": [True], "i": [1, -2], "u": [3], "f": [1, 1.5], "c": [2, 1.5, 1j]}


@pytest.mark.parametrize("dtype", DTYPES)
def test_operators_with_python_numbers(dtype):
    ours, theirs = jnp.ones(2, dtype), strict.ones(2, dtype=getattr(strict, dtype))
    checked = 0
    for number, op, side in itertools.product(
        _SCALARS[np.dtype(dtype).kind], (*_ARITHMETIC, "eq", "lt"), ("", "r")
    ):
        name = f"__{side}{op}__"
        if number == -2 and op in ("lshift", "rshift", "pow") or not hasattr(theirs, name):
            continue
        try:
            want = getattr(theirs, name)(number)
        except TypeError:
            continue
        got = getattr(ours, name)(number)
        assert got.dtype == as_numpy(want).dtype, name
        assert_same(got, want)
        checked += 1
    assert checked > 6


@pytest.mark.parametrize("dtype", SIGNED + UNSIGNED)
def test_extreme_python_integers_fit(dtype):
    for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        x = jnp.asarray([limit], dtype=getattr(jnp, dtype))
        for same in (jnp.full(1, limit, dtype=dtype), x * 0 + limit, jnp.clip(x, limit, limit)):
            assert same.dtype == dtype and int(same[0]) == limit
        assert bool((x == limit)[0])


# ---------------------------------------------------------------- values
_INF, _NAN = math.inf, math.nan
_FLOATS = [0.0, -0.0, 1, -1, _INF, -_INF, _NAN, 0.5, -0.5, 1.5, 2.5, -2.5, 3, -3, 1e10, math.pi]
_UNARY = _words("""abs acos acosh asin asinh atan atanh ceil cos cosh exp expm1 floor isfinite isinf
isnan log log1p log2 log10 negative positive reciprocal round sign signbit sin sinh sqrt square
tan tanh trunc""")
_BINARY = _words("""add atan2 copysign divide equal floor_divide greater greater_equal hypot less
less_equal logaddexp maximum minimum multiply nextafter not_equal pow remainder subtract""")


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", _UNARY)
def test_special_values_of_one_argument(name, dtype):
    x = np.array(_FLOATS, dtype)
    assert_same(getattr(jnp, name)(jnp.asarray(x)), getattr(strict, name)(strict.asarray(x)))


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", _BINARY)
def test_special_values_of_two_arguments(name, dtype):
    x = np.array(_FLOATS, dtype)[:, None]
    y = x.T.copy()
    with np.errstate(all="ignore"):
        want = getattr(strict, name)(strict.asarray(x), strict.asarray(y))
    assert_same(getattr(jnp, name)(jnp.asarray(x), jnp.asarray(y)), want)


def test_zero_is_the_sign_of_minus_zero_under_jit_too():
    import nr

    assert not np.signbit(np.asarray(nr.jit(jnp.sign)(jnp.asarray([-0.0]))))


def test_complex_logarithms_of_zero_and_infinity():
    x = jnp.asarray([0j, complex(0, _INF)])
    for function, base in ((jnp.log2, 2), (jnp.log10, 10)):
        got = np.asarray(function(x))
        np.testing.assert_array_equal(got.real, [-_INF, _INF])
        np.testing.assert_allclose(got.imag, [0, math.pi / 2 / math.log(base)], rtol=1e-6)


@quick
@given(xps.arrays(every_dtype, xps.array_shapes(min_dims=0, min_side=0)), st.data())
def test_indexing(x, data):
    key = data.draw(xps.indices(x.shape, allow_newaxis=True))
    assert_same(x[key], np.asarray(x)[key])
    mask = data.draw(xps.arrays(jnp.bool, x.shape))
    assert_same(x[mask], np.asarray(x)[np.asarray(mask)])


@quick
@given(xps.arrays(every_dtype, xps.array_shapes(min_side=0)), st.data())
def test_manipulation(x, data):
    reference = to_strict(x)
    axes = data.draw(xps.valid_tuple_axes(x.ndim, min_size=1))
    shifts = tuple(data.draw(st.integers(-99, 99)) for _ in axes)
    order = tuple(data.draw(st.permutations(range(x.ndim))))
    for call in (
        lambda xp, a: xp.roll(a, shifts, axis=axes),
        lambda xp, a: xp.roll(a, 10**6 + 1),
        lambda xp, a: xp.flip(a, axis=axes),
        lambda xp, a: xp.permute_dims(a, order),
        lambda xp, a: xp.concat([a, a], axis=None),
        lambda xp, a: xp.stack([a, a], axis=axes[0]),
        lambda xp, a: xp.tile(a, (2, 1, 3)),
        lambda xp, a: xp.repeat(a, 3),
        lambda xp, a: xp.any(a, axis=axes),
        lambda xp, a: xp.all(a, axis=axes, keepdims=True),
        lambda xp, a: xp.count_nonzero(a, axis=axes),
    ):
        assert_same(call(jnp, x), call(strict, reference))


@quick
@given(xps.arrays(xps.integer_dtypes(), xps.array_shapes(min_side=1)), st.data())
def test_integer_reductions_and_sorting(x, data):
    reference = to_strict(x)
    wide = "int64" if x.dtype.kind == "i" else "uint64"
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    low, high = sorted(data.draw(xps.from_dtype(x.dtype)) for _ in range(2))
    for call in (
        lambda xp, a: xp.sum(a, axis=axis, dtype=getattr(xp, wide)),
        lambda xp, a: xp.prod(a, axis=axis, dtype=getattr(xp, wide), keepdims=True),
        lambda xp, a: xp.cumulative_sum(
            a, axis=axis, dtype=getattr(xp, wide), include_initial=True
        ),
        lambda xp, a: xp.max(a, axis=axis),
        lambda xp, a: xp.argmin(a, axis=axis, keepdims=True),
        lambda xp, a: xp.sort(a, axis=axis, descending=True),
        lambda xp, a: xp.argsort(a, axis=axis, descending=True, stable=True),
        lambda xp, a: xp.diff(a, axis=axis),
        lambda xp, a: xp.clip(a, low, high),
        lambda xp, a: xp.clip(a, max=high),
        lambda xp, a: xp.unique_all(a).inverse_indices,
        lambda xp, a: xp.unique_counts(a).counts,
    ):
        assert_same(call(jnp, x), call(strict, reference))


def test_nans_are_distinct_in_sets():
    found = jnp.unique_all(jnp.asarray([_NAN, 1.0, _NAN, -0.0, 0.0]))
    assert found.counts.tolist() == [2, 1, 1, 1]
    assert found.inverse_indices.shape == (5,)


# ---------------------------------------------------------------- arrays as objects
@pytest.mark.parametrize("dtype", DTYPES)
def test_conversion_to_python_numbers(dtype):
    x, kind = jnp.ones((), dtype), np.dtype(dtype).kind
    assert bool(x) is True and complex(x) == 1 and type(complex(x)) is complex
    if kind != "c":
        assert type(int(x)) is int and type(float(x)) is float
    if kind in "iu":
        assert operator.index(x) == 1
    else:
        with pytest.raises(TypeError, match="index: a rank-0 integer"):
            operator.index(x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exchange_with_other_libraries(dtype):
    x = jnp.ones((2, 3), dtype)
    for options in ({}, {"device": x.device}, {"copy": True}, {"device": None, "copy": None}):
        y = jnp.from_dlpack(x, **options)
        assert y.dtype == x.dtype and bool(jnp.all(x == y))
    for options in ({"copy": True}, {"max_version": (1, 0)}, {"dl_device": (1, 0)}):
        x.__dlpack__(**options)
    assert int(x.__dlpack_device__()[0]) == 1
    assert jnp.asarray(x, dtype=x.dtype, copy=False) is x
    with pytest.raises(ValueError, match="copy=False"):
        jnp.asarray([1, 0], copy=False)


def test_operators_in_place_make_new_arrays():
    x = before = jnp.ones(2)
    x += 1
    assert x.tolist() == [2, 2] and before.tolist() == [1, 1]
    with pytest.raises(TypeError, match="immutable"):
        x[0] = 1.0


def test_errors_of_the_standard():
    x = jnp.ones((2, 3))
    for axis in (-4, 3):
        with pytest.raises(IndexError, match=f"expand_dims: axis {axis}"):
            jnp.expand_dims(x, axis=axis)
    with pytest.raises(ValueError, match="squeeze"):
        jnp.squeeze(x, 0)
    with pytest.raises(ValueError, match="nonzero: an array of rank 1 or more"):
        jnp.nonzero(jnp.ones(()))
    with pytest.raises(IndexError):
        x[jnp.ones((3, 2), bool)]
    with pytest.raises(ValueError, match="api_version"):
        x.__array_namespace__(api_version="1999.12")
    for wrong in (jnp.ones(()), jnp.ones((2, 2, 2))[:1, :, :1]):
        with pytest.raises((TypeError, ValueError)):
            jnp.matmul(wrong, x)
