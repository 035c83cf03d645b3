"""Without these, functions of complex numbers could be compiled into wrong digits or branches."""

from unittest import mock

import numpy as np
import pytest
from mpmath import mp, mpc, mpf

from nr.backends.compiler.emission import emit_kernel
from nr.backends.compiler.math.complex import COMPLEX_FUNCTIONS
from nr.backends.compiler.rewrite import expand
from tests import native_kernels

DTYPES = [np.complex64, np.complex128]


def evaluate(name, *args, out=None, **params):
    """Natively, with the real functions inside written out as the compiler does it."""
    with mock.patch.object(native_kernels, "emit_kernel", lambda k: emit_kernel(expand(k))):
        return native_kernels.evaluate(
            lambda *xs: COMPLEX_FUNCTIONS[name](*xs, **params), *args, out=out
        )


def normal(rng, n):
    return rng.normal(size=n) + 1j * rng.normal(size=n)


def spread(rng, n):
    """Components of very different sizes, and of any sign."""
    size = np.exp(rng.uniform(-5, 4, (2, n))) * rng.choice([-1, 1], (2, n))
    return size[0] + 1j * size[1]


def near_circle(rng, n):
    """Near the unit circle, where logarithms cancel."""
    return np.exp(1j * rng.uniform(-np.pi, np.pi, n)) * (1 + 1e-3 * rng.normal(size=n))


def samples(dtype, n=40):
    rng = np.random.default_rng(0)
    return np.concatenate([f(rng, n) for f in (normal, spread, near_circle)]).astype(dtype)


def errors(got, exact):
    """The errors in epsilon: of the whole, and the larger of those of the components."""
    epsilon = np.finfo(got.dtype).eps

    def relative(value, reference):
        difference = abs(value - reference)
        return float(difference / abs(reference)) / epsilon if difference else 0.0

    whole, parts = [], []
    for z, w in zip(got.tolist(), exact):
        whole.append(relative(mpc(z), w))
        parts.append(max(relative(mpf(z.real), mp.re(w)), relative(mpf(z.imag), mp.im(w))))
    return np.array(whole), np.array(parts)


# The reference; the largest error in epsilon of the size of the result; and of its components,
# where the formula has no cancellation between terms.
ACCURACY = {
    "exp": (mp.exp, 2, 2),
    "expm1": (mp.expm1, 3, None),
    "log": (mp.log, 2, 15),
    "log1p": (lambda z: mp.log(1 + z), 2, 15),
    "sqrt": (mp.sqrt, 2, 2),
    "rsqrt": (lambda z: 1 / mp.sqrt(z), 2, 4),
    "square": (lambda z: z * z, 1.1, 2),
    "sign": (lambda z: z / abs(z), 1.5, 2),
    "sin": (mp.sin, 2, 2),
    "cos": (mp.cos, 2, 2),
    "tan": (mp.tan, 3, 4),
    "sinh": (mp.sinh, 2, 2),
    "cosh": (mp.cosh, 2, 2),
    "tanh": (mp.tanh, 3, 4),
    "asin": (mp.asin, 2.5, 3),
    "acos": (mp.acos, 2.5, 3),
    "atan": (mp.atan, 2, 2),
    "asinh": (mp.asinh, 2.5, 3),
    "acosh": (mp.acosh, 2.5, 3),
    "atanh": (mp.atanh, 2, 2),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy(name, dtype):
    reference, bound, parts_bound = ACCURACY[name]
    z = samples(dtype)
    with mp.workprec(200):
        whole, parts = errors(evaluate(name, z), [reference(mpc(v)) for v in z.tolist()])
    inside = np.abs(z.real) < 80  # beyond, exponentials of float32 overflow
    assert whole[inside].max() <= bound
    if parts_bound is not None:
        assert parts[inside & (np.abs(z.real) < 8)].max() <= parts_bound


@pytest.mark.parametrize("dtype", DTYPES)
def test_logistic(dtype):
    """Relative to its condition number, which is large near the poles."""
    z = samples(dtype)
    with mp.workprec(200):
        exact = [1 / (1 + mp.exp(-mpc(v))) for v in z.tolist()]
        whole, _ = errors(evaluate("logistic", z), exact)
        condition = np.array([1 + float(abs(mpc(v) * (1 - w))) for v, w in zip(z.tolist(), exact)])
    assert np.max(whole / condition) <= 4


OPERATORS = {
    "add": (lambda x, y: x + y, 0.51),
    "sub": (lambda x, y: x - y, 0.51),
    "mul": (lambda x, y: x * y, 1.5),
    "div": (lambda x, y: x / y, 2.5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name, dtype):
    reference, bound = OPERATORS[name]
    x, y = samples(dtype), samples(dtype)[::-1].copy()
    with mp.workprec(200):
        exact = [reference(mpc(a), mpc(b)) for a, b in zip(x.tolist(), y.tolist())]
        whole, _ = errors(evaluate(name, x, y), exact)
    assert whole.max() <= bound


@pytest.mark.parametrize("dtype", DTYPES)
def test_pow(dtype):
    x, y = samples(dtype), samples(dtype)[::-1].copy()
    with mp.workprec(200):
        pairs = list(zip(x.tolist(), y.tolist()))
        exact = [mp.exp(mpc(b) * mp.log(mpc(a))) for a, b in pairs]
        condition = np.array([1 + float(abs(mpc(b) * mp.log(mpc(a)))) for a, b in pairs])
        normal_range = np.array([1e-30 < abs(w) < 1e30 for w in exact])
        whole, _ = errors(evaluate("pow", x, y), exact)
    if dtype is np.complex64:  # computed in float64
        condition[:] = 1
    assert np.max((whole / condition)[normal_range]) <= 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("y", [-3, -1, 0, 1, 2, 7])
def test_integer_pow(y, dtype):
    z = samples(dtype)
    with mp.workprec(200):
        whole, _ = errors(evaluate("integer_pow", z, y=y), [mpc(v) ** y for v in z.tolist()])
    assert whole.max() <= 1.5 * abs(y) + 2


def extremes(dtype):
    """Numbers whose squares overflow or underflow, subnormal ones among them."""
    info = np.finfo(dtype)
    big, small = float(info.max) / 4, float(info.tiny)
    sizes = [big, 1e20, 1.0, 1e-20, small, small / 64]
    return np.array([complex(a, b) for a in sizes for b in (*sizes, 0, -1.0)], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["abs", "sqrt", "log", "asin", "acos", "atan", "acosh", "sign"])
def test_extreme_sizes(name, dtype):
    z = extremes(dtype)
    if name in ("asin", "acos"):  # mpmath has no signed zeros to tell the sides of a cut
        z = z[z.imag != 0]
    reference = abs if name == "abs" else ACCURACY[name][0]
    out = {np.complex64: "f32", np.complex128: "f64"}[dtype] if name == "abs" else None
    got = evaluate(name, z, out=out)
    # A float is too coarse for what is subnormal: the error is of its spacing.
    floor = 2 * float(np.finfo(dtype).smallest_subnormal)
    with mp.workprec(1200 if dtype is np.complex64 else 8000):
        for value, v in zip(got.tolist(), z.tolist()):
            exact = reference(mpc(v))
            assert abs(mpc(value) - exact) <= 3 * np.finfo(dtype).eps * abs(exact) + floor, v


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_quotients(dtype):
    z = extremes(dtype)
    x, y = [a.ravel() for a in np.meshgrid(z, z)]
    got = evaluate("div", x, y)
    info = np.finfo(dtype)
    with mp.workprec(400):
        for a, b, value in zip(x.tolist(), y.tolist(), got.tolist()):
            exact = mpc(a) / mpc(b)
            largest = max(abs(mp.re(exact)), abs(mp.im(exact)))
            if largest < float(info.max) * 0.999:
                bound = 3 * info.eps * abs(exact) + 2 * float(info.smallest_subnormal)
                assert abs(mpc(value) - exact) <= bound, (a, b)
            elif largest > float(info.max) * 1.001:
                assert np.isinf(complex(value)), (a, b)
    np.testing.assert_array_equal(evaluate("div", z, z).imag, 0)


INF, NAN = np.inf, np.nan
VALUES = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, INF, -INF, NAN]
# Where the C library below NumPy, or NumPy, is less careful or has another choice C99 leaves open.
UNSPECIFIED = {
    "sinh": lambda z: np.isinf(z.real) & ~np.isfinite(z.imag),
    "sin": lambda z: np.isinf(z.imag) & ~np.isfinite(z.real),
    "asin": lambda z: np.isnan(z.imag),
    "acos": lambda z: np.isnan(z.imag),
    "acosh": lambda z: np.isnan(z.imag),
    "atanh": lambda z: np.isnan(z.imag),
    "asinh": lambda z: np.isnan(z.real),
    "atan": lambda z: np.isnan(z.real),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name, reference",
    [
        ("exp", np.exp), ("log", np.log), ("sqrt", np.sqrt), ("sin", np.sin), ("cos", np.cos),
        ("tan", np.tan), ("sinh", np.sinh), ("cosh", np.cosh), ("tanh", np.tanh),
        ("asin", np.arcsin), ("acos", np.arccos), ("atan", np.arctan), ("asinh", np.arcsinh),
        ("acosh", np.arccosh), ("atanh", np.arctanh), ("log1p", np.log1p),
    ],
)  # fmt: skip
def test_special_values(name, reference, dtype):
    """Zeros, infinities, NaN, and both sides of the branch cuts, by C99 as NumPy has it."""
    z = np.array([complex(a, b) for a in VALUES for b in VALUES], dtype)
    z = z[~UNSPECIFIED.get(name, np.zeros_like)(z).astype(bool)]
    got, expected = evaluate(name, z), reference(z)
    # The signs of zeros that infinity or NaN times a sine makes are not specified.
    periodic = name in ("exp", "sin", "cos", "tan", "sinh", "cosh", "tanh")
    for a, b, v in zip(got, expected, z):
        for p, q in ((a.real, b.real), (a.imag, b.imag)):
            np.testing.assert_allclose(p, q, rtol=4 * np.finfo(dtype).eps, err_msg=f"{name}({v})")
            signed = not np.isnan(q) and (np.isfinite(v) or not periodic)
            assert not signed or np.signbit(p) == np.signbit(q), (v, a, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_division_by_zero_and_infinity(dtype):
    x = np.array([1 + 2j, -1, 0, 1, complex(INF, 1), complex(INF, NAN), complex(INF, 0)], dtype)
    y = np.array([0, 0, 0, complex(INF, NAN), 2, 1, complex(INF, 0)], dtype)
    got = evaluate("div", x, y)
    np.testing.assert_array_equal(got.real, [INF, -INF, NAN, 0, INF, INF, NAN])
    np.testing.assert_array_equal(got.imag[:6], [INF, NAN, NAN, 0, 0, NAN][:4] + [NAN, NAN])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_comparisons():
    """By the real parts, then the imaginary ones; NaN is unequal and unordered."""
    x = np.array([1 + 2j, 1 + 3j, 0, 2, complex(NAN, 1)])
    y = np.array([1 + 2j, 1 + 2j, 1 + 9j, 1 - 9j, 0])
    expected = {
        "eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y,
    }  # fmt: skip
    for name, truth in expected.items():
        np.testing.assert_array_equal(evaluate(name, x, y, out="b1"), truth, err_msg=name)
    np.testing.assert_array_equal(evaluate("max", x, y), np.maximum(x, y))
    np.testing.assert_array_equal(evaluate("min", x, y), np.minimum(x, y))
    x, y = x[:4], y[:4]
    np.testing.assert_array_equal(evaluate("clamp", y, x, y), y)


def test_powers_of_zero():
    got = evaluate("pow", np.array([0j, 0j, 0j, 2j]), np.array([2 + 0j, 0j, -1 + 0j, 0j]))
    np.testing.assert_array_equal(got, np.array([0, 1, complex(NAN, NAN), 1]))
