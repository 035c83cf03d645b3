"""Without this file elementwise functions could differ from jax.numpy, or eager from jitted."""

import itertools

import numpy as np
import pytest

import nr
import nr.numpy as jnp

jax = pytest.importorskip("jax")
import jax.numpy as ref  # noqa: E402

VALUES = {
    "float32": [-2.5, -0.0, 0.0, 0.5, 1.0, 3.25, np.inf, -np.inf, np.nan],
    "bfloat16": [-2.5, 0.0, 0.5, 1.0, 3.25],
    "int32": [-7, -1, 0, 1, 2, 5],
    "uint8": [0, 1, 2, 5, 200],
    "bool": [True, False],
    "complex64": [0.5 + 0.25j, -1.0 + 2.0j, 1.0 - 1.0j],
}
REAL = ["float32", "bfloat16", "int32", "uint8", "bool"]
ALL = [*REAL, "complex64"]
WHOLE = ["int32", "uint8"]
# Elementary functions are within a few units in the last place of each other, not equal.
ULPS = {"float32": 1e-5, "bfloat16": 2e-2, "complex64": 1e-5, "float16": 2e-3}

UNARY = {
    "abs absolute positive real imag conj conjugate isfinite isnan isinf iscomplex isreal "
    "logical_not exp square sin cos tanh reciprocal angle": ALL,
    "floor ceil trunc rint fabs sign signbit isposinf isneginf nan_to_num "
    "exp2 expm1 log log2 log10 log1p sqrt cbrt tan arctan asin acos sinh cosh arcsinh arccosh "
    "arctanh deg2rad rad2deg sinc i0": REAL,
    "round": ["float32", "bfloat16", "int32", "uint8"],
    "negative": ["float32", "bfloat16", "int32", "uint8", "complex64"],
    "invert bitwise_not": ["int32", "uint8", "bool"],
    "bitwise_count": WHOLE,
    "modf": ["bfloat16", "int32"],
    "frexp": ["float32", "bfloat16", "int32"],
}
NOT_FOR_BOOL = {"sign", "negative"}
BINARY = {
    "add multiply equal not_equal maximum minimum divide": ALL,
    "less less_equal greater greater_equal logical_and logical_or logical_xor fmax fmin": REAL,
    "subtract": ["float32", "bfloat16", "int32", "uint8", "complex64"],
    "power arctan2 hypot logaddexp logaddexp2 copysign fmod remainder floor_divide "
    "float_power heaviside": REAL,
    "bitwise_and bitwise_or bitwise_xor": ["int32", "uint8", "bool"],
    "left_shift right_shift gcd lcm": WHOLE,
}


def spread(table):
    return [(name, dtype) for names, dtypes in table.items() for name in names.split()
            for dtype in dtypes]  # fmt: skip


def both(dtype, values):
    data = np.asarray(ref.asarray(values, dtype))
    return jnp.asarray(data), ref.asarray(data)


def check(got, want, *, exact=False):
    if isinstance(want, tuple):
        for g, w in zip(got, want, strict=True):
            check(g, w)
        return
    assert got.dtype == np.dtype(want.dtype)
    assert got.shape == want.shape
    a, b = np.asarray(got), np.asarray(want)
    if a.dtype.name == "bfloat16":
        a, b = a.astype(np.float32), b.astype(np.float32)
    tolerance = 0 if exact else ULPS.get(got.dtype.name, 0)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_parts_of_real_scalars_are_arrays():
    for x in (jnp.asarray(2.0), jnp.int32(2)):
        assert isinstance(jnp.imag(x), nr.Array) and isinstance(x.imag, nr.Array)
        assert isinstance(nr.lax.zeros_like_array(x), nr.Array)


@pytest.mark.parametrize(("name", "dtype"), spread(UNARY))
def test_unary_equals_jax(name, dtype):
    if dtype == "bool" and name in NOT_FOR_BOOL:
        with pytest.raises(TypeError, match=name):
            getattr(jnp, name)(jnp.array([True]))
        return
    x, x_ref = both(dtype, VALUES[dtype])
    got = getattr(jnp, name)(x)
    check(got, getattr(ref, name)(x_ref))
    check(nr.jit(getattr(jnp, name))(x), jax.tree.map(np.asarray, got))


@pytest.mark.parametrize(("name", "dtype"), spread(BINARY))
def test_binary_equals_jax(name, dtype):
    values = VALUES[dtype]
    if name == "floor_divide" and dtype == "float32":
        values = [v for v in values if v != 0]  # the standard's infinity for JAX's NaN: see below
    if name in ("heaviside", "power", "float_power", "hypot", "logaddexp2", "lcm", "gcd"):
        values = [v for v in values if v == v and abs(v) < 100]
    pairs = list(itertools.product(values, values))
    if dtype == "int32" and name == "power":
        pairs = [(x, y) for x, y in pairs if y >= 0]  # JAX leaves the others undefined
    if dtype == "bool" and name == "fmod":
        pairs = [(x, y) for x, y in pairs if y]
    if name in ("left_shift", "right_shift"):
        pairs = [(x, s) for x in values for s in (0, 1, 7)]
    if name == "floor_divide" and dtype in WHOLE:
        pairs = [(x, y) for x, y in pairs if y]
    if name in ("power", "float_power") and dtype == "float32":
        pairs = [(x, y) for x, y in pairs if x != 0 or y >= 0]
    (x, x_ref), (y, y_ref) = (both(dtype, column) for column in zip(*pairs, strict=True))
    got = getattr(jnp, name)(x, y)
    check(got, getattr(ref, name)(x_ref, y_ref))
    check(nr.jit(getattr(jnp, name))(x, y), np.asarray(got))


PAIRED = {
    "float32": [0.5, 3.25],
    "bfloat16": [0.5, 3.0],
    "int32": [2, 5],
    "uint8": [1, 4],
    "bool": [True, True],
    "complex64": [0.5 + 0.25j, -1.0 + 2.0j],
}


@pytest.mark.parametrize("name", ["add", "multiply", "divide", "maximum", "less", "power"])
@pytest.mark.parametrize("left", ALL)
@pytest.mark.parametrize("right", [*ALL, 2, 2.5, True])
def test_pairs_of_dtypes_promote_as_in_jax(name, left, right):
    f, g = getattr(jnp, name), getattr(ref, name)
    x, x_ref = both(left, PAIRED[left])
    y, y_ref = both(right, PAIRED[right]) if isinstance(right, str) else (right, right)
    for args, args_ref in (((x, y), (x_ref, y_ref)), ((y, x), (y_ref, x_ref))):
        got = f(*args)
        check(got, g(*args_ref))
        check(nr.jit(f)(*args), np.asarray(got))


def test_python_scalars_are_weak_and_stay_so():
    x = jnp.add(1, 2.5)
    assert x.weak_type and x.dtype == np.float32
    assert (x * jnp.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16
    assert (jnp.uint8(3) * jnp.array([2], jnp.uint8)).dtype == np.uint8


def test_python_integers_beyond_the_dtype_wrap_or_raise():
    x = jnp.array([5], jnp.uint8)
    assert (x + 300).tolist() == [49]
    assert nr.jit(lambda x: x + 300)(x).tolist() == [49]
    for f in (lambda x: x + 2**40, nr.jit(lambda x: x + 2**40)):
        with pytest.raises(OverflowError):
            f(jnp.array([1], jnp.int32))


def test_64_bit_inputs_keep_their_width():
    x = jnp.asarray(np.array([1.0, 2.0]))
    assert (x + 1).dtype == jnp.exp(x).dtype == (x * jnp.ones(2)).dtype == np.float64
    assert (jnp.asarray(np.array([1])) * 2).dtype == np.int64


@pytest.mark.parametrize("jit", [False, True])
def test_broadcasting_and_its_message(jit):
    def add(x, y):
        return jnp.add(x, y)

    f = nr.jit(add) if jit else add
    assert f(jnp.ones((2, 1, 3)), jnp.ones((4, 1))).shape == (2, 4, 3)
    words = r"^add: Incompatible shapes for broadcasting: f32\[32,64\] and f32\[32\]\. "
    with pytest.raises(ValueError, match=words):
        f(jnp.ones((32, 64)), jnp.ones(32))


def test_lists_are_refused():
    with pytest.raises(TypeError, match="add: an array or a number was expected"):
        jnp.add([1], 2)


def test_division_by_zero_follows_the_definitions():
    for f in (jnp.floor_divide, nr.jit(jnp.floor_divide)):
        np.testing.assert_array_equal(f(jnp.array([5.0, -5.0]), 0.0), [np.inf, -np.inf])
        np.testing.assert_array_equal(
            f(jnp.array([5, -5]), jnp.array([0, 0])), ref.floor_divide(ref.array([5, -5]), 0)
        )
    for f in (jnp.remainder, nr.jit(jnp.remainder)):
        assert f(jnp.array([5]), jnp.array([0])).tolist() == [0]


# ---------------------------------------------------------------- derivatives
def test_gradients_at_special_points():
    grad = nr.grad
    assert grad(jnp.sinc)(jnp.float32(0)) == 0
    second = grad(grad(jnp.sinc))(jnp.asarray(0.0))
    np.testing.assert_allclose(second, -(np.pi**2) / 3, rtol=1e-6)
    for x, y, dx in [(1, 1, 0.5), (-np.inf, 3, 0), (3, -np.inf, 1), (np.inf, 2, 1)]:
        x, y = jnp.asarray(float(x)), jnp.asarray(float(y))
        assert grad(jnp.logaddexp)(x, y) == dx
    hess = nr.hessian(jnp.logaddexp)(jnp.asarray(2.0), jnp.asarray(2.0))
    np.testing.assert_allclose(hess, 0.25, rtol=1e-6)
    assert grad(lambda x: x**2)(jnp.asarray(0.0)) == 0
    assert grad(lambda x: x**0)(jnp.asarray(0.0)) == 0
    assert grad(jnp.power)(jnp.asarray(0.0), jnp.asarray(1.0)) == 1


@pytest.mark.parametrize(
    "name", ["remainder", "floor_divide", "hypot", "arctan2", "maximum", "power", "logaddexp2"]
)
def test_binary_gradients_equal_jax(name):
    x, y = np.float32([5.5, -5.5, 2.0]), np.float32([3.0, 2.0, 2.0])
    if name == "power":
        x = abs(x)
    got = nr.grad(lambda x, y: getattr(jnp, name)(x, y).sum(), (0, 1))(jnp.array(x), jnp.array(y))
    want = jax.grad(lambda x, y: getattr(ref, name)(x, y).sum(), (0, 1))(x, y)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6)


def test_where_masks_the_gradient():
    x = jnp.array([-1.0, 4.0])
    g = nr.grad(lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0).sum())(x)
    assert g.tolist() == [0, 0.25]


# ---------------------------------------------------------------- the other functions
X = [-2.0, -0.5, 0.0, 1.5, 7.0]
CASES = {
    "clip": lambda m, x: m.clip(x, -1, 2),
    "clip one side": lambda m, x: m.clip(x, None, 0.5),
    "clip to arrays": lambda m, x: m.clip(x, m.zeros(5), m.arange(5)),
    "round decimals": lambda m, x: m.round(x * 1.2345, 2),
    "round tens": lambda m, x: m.around(x * 11, -1),
    "where": lambda m, x: m.where(x > 0, x, 0),
    "where broadcast": lambda m, x: m.where(x[:, None] > 0, x, 1),
    "where mixed": lambda m, x: m.where(x, m.arange(5), x),
    "select": lambda m, x: m.select([x < 0, x > 1], [x, 10 * x], 3),
    "piecewise": lambda m, x: m.piecewise(x, [x < 0, x > 1], [lambda v: -v, 9.0, m.sin]),
    "isclose": lambda m, x: m.isclose(x, x + 1e-6),
    "allclose": lambda m, x: m.allclose(x, x + 1e-3),
    "array_equal": lambda m, x: m.array_equal(x, x),
    "array_equal shape": lambda m, x: m.array_equal(x, x[:2]),
    "array_equiv": lambda m, x: m.array_equiv(x[None], x),
    "ldexp": lambda m, x: m.ldexp(x, m.arange(5) - 2),
    "ldexp unsigned": lambda m, x: m.ldexp(x, m.arange(5, dtype="uint32")),
    "logaddexp complex": lambda m, x: m.logaddexp(x * 1.5j + x, x - 3j),
    "logaddexp2 complex": lambda m, x: m.logaddexp2(x * 1.5j + x, x - 3j),
    "array_equal lists": lambda m, x: m.array_equal([1, 2], (1, 2)),
    "nextafter": lambda m, x: m.nextafter(x, 0.0),
    "unwrap": lambda m, x: m.unwrap(x * 2),
    "divmod": lambda m, x: m.divmod(x, 2),
    "nan_to_num": lambda m, x: m.nan_to_num(m.array([m.nan, m.inf, -m.inf]), nan=2, posinf=5),
    "angle": lambda m, x: m.angle(x + 1j, deg=True),
    "float and integers": lambda m, x: m.power(x, m.arange(5)),
    "integers": lambda m, x: m.arange(5) ** 3,
}


@pytest.mark.parametrize("case", CASES)
def test_other_functions_equal_jax(case):
    f = CASES[case]
    x = jnp.array(X)
    got = f(jnp, x)
    check(got, f(ref, ref.array(X)))
    jitted = nr.jit(lambda x: f(jnp, x))(x)
    check(jitted, tuple(map(np.asarray, got)) if isinstance(got, tuple) else np.asarray(got))


def test_spacing_modf_and_frexp_equal_numpy_at_the_extremes():
    limits = np.finfo(np.float32)
    x = np.float32([0, 1, -2, limits.max, limits.tiny, 1e-45, -1e-40, np.inf, np.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(jnp.spacing(jnp.array(x)), np.spacing(x))
        for got, want in zip(jnp.modf(jnp.array(x)), np.modf(x), strict=True):
            np.testing.assert_array_equal(got, want)
    for got, want in zip(jnp.frexp(jnp.array(x)), np.frexp(x), strict=True):
        np.testing.assert_array_equal(got, want)


def test_zeroth_powers_of_numbers_are_arrays():
    for x in (2.0, 3, jnp.float32(2), np.float32(2)):
        assert isinstance(jnp.power(x, 0), nr.Array) and jnp.power(x, 0) == 1


def test_shapes_that_do_not_fit_are_not_equivalent():
    assert not jnp.array_equiv(jnp.ones((2, 3)), jnp.ones(2))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_a_mask_leaves_out_what_is_not_finite(dtype):
    x, mask = jnp.array([np.inf, np.nan, 3.0], dtype), jnp.array([False, False, True])
    for f in (lambda x: x * mask, lambda x: mask * x, lambda x: x * np.asarray(mask)):
        for out in (f(x), nr.jit(f)(x)):
            assert out.dtype == dtype and out.tolist() == [0, 0, 3]
    assert (x[0] * mask).tolist() == [0, 0, np.inf] and (mask[:, None] * x).shape == (3, 3)
    if dtype == "float32":
        grad = nr.grad(lambda x: (jnp.sqrt(x) * jnp.array([True, False, True])).sum())(x)
        np.testing.assert_allclose(grad, [0, np.nan, 0.5 / np.sqrt(3)], rtol=1e-6)
    assert (jnp.arange(3) * mask).tolist() == [0, 0, 2] and (mask * mask).dtype == np.bool_


def test_where_of_weak_operands_is_weak():
    x = jnp.array(2.0)
    for f in (lambda m, x: jnp.where(m, 0, x), lambda m, x: jnp.where(m, x, 0)):
        for out in (f(True, x), f(jnp.array(False), x), nr.jit(f)(True, x)):
            assert out.weak_type and out.dtype == np.float32
    assert not jnp.where(True, jnp.float32(1), 0).weak_type


def test_where_of_one_argument_is_nonzero():
    (found,) = jnp.where(jnp.array([0, 3, 0, 4]))
    assert found.tolist() == [1, 3]


def test_wrong_arguments():
    x = jnp.ones(3)
    with pytest.raises(ValueError, match="where: both x and y"):
        jnp.where(x > 0, x)
    with pytest.raises(ValueError, match="clip: arguments must be real"):
        jnp.clip(x + 1j, 0)
    with pytest.raises(TypeError, match="floor_divide: the dtype must be real"):
        jnp.floor_divide(x + 1j, 2)
    with pytest.raises(ValueError, match="hypot: the dtype must be real; got c64"):
        jnp.hypot(1j, x)
    with pytest.raises(TypeError, match="heaviside: the dtype must be real; got c64"):
        jnp.heaviside(x, 1j)
    for shift in (jnp.left_shift, jnp.right_shift):
        with pytest.raises(TypeError, match="shift: the dtype must be an integer type; got f32"):
            shift(x, 1)
    with pytest.raises(TypeError, match="negative powers"):
        jnp.power(jnp.array([2]), -1)
    with pytest.raises(ValueError, match="gcd: arguments must be of an integer type"):
        jnp.gcd(x, 2)
    with pytest.raises(NotImplementedError, match="decimals"):
        jnp.round(jnp.array([15]), -1)


# ---------------------------------------------------------------- dtypes
def test_dtype_functions():
    assert jnp.result_type(jnp.ones(1, jnp.bfloat16), 1.0) == jnp.bfloat16
    assert jnp.result_type(np.int32, jnp.float16) == np.float16
    assert jnp.result_type(3, True) == np.int32
    assert jnp.can_cast(np.int32, np.int64) and not jnp.can_cast(np.float32, np.int32)
    assert jnp.isdtype(np.int8, "integral") and jnp.isdtype(jnp.bfloat16, "real floating")
    assert jnp.isdtype(np.float32, ("bool", np.float32))
    with pytest.raises(ValueError, match="isdtype: kind"):
        jnp.isdtype(np.int8, "whole")
    assert jnp.finfo(jnp.bfloat16).bits == 16 and jnp.iinfo("int8").max == 127
    assert jnp.astype(jnp.array([1.9, -1.9]), "int32").tolist() == [1, -1]
    assert jnp.astype(jnp.array([1 + 2j, 0]), bool).tolist() == [True, False]
    assert jnp.astype(jnp.array([1 + 2j, 0]), "float32").tolist() == [1, 0]


@pytest.mark.parametrize("f", [lambda f: f, nr.jit])
def test_arctan2_of_complex_numbers(f):
    x, y = (np.array(v, np.complex64) for v in ([0.5 + 0.25j, -1 + 2j], [1 - 1j, 0.3 + 1j]))
    np.testing.assert_allclose(f(jnp.arctan2)(x, y), ref.arctan2(x, y), rtol=1e-5)
