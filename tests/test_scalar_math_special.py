"""Without these, special functions (erf, lgamma, Bessel …) could be compiled into wrong digits."""

import math

import numpy as np
import pytest
import scipy.special
from mpmath import mp, mpf

from nr.backends.compiler.expr import compiling, const, node
from nr.backends.compiler.math.bessel import bessel_i0e, bessel_i1e
from nr.backends.compiler.math.error import erf, erf_inv, erfc
from nr.backends.compiler.math.gamma import digamma, lgamma
from nr.backends.compiler.math.incomplete import igamma, igammac, regularized_incomplete_beta
from nr.backends.compiler.math.zeta import polygamma, zeta
from nr.core import devices
from tests import expr_interpreter, native_kernels
from tests.math_reference import around, log_gamma, roots_of_digamma, roots_of_log_gamma

DTYPES = {"f32": np.float32, "f64": np.float64}
EXACT = {
    erf: mp.erf,
    erfc: mp.erfc,
    erf_inv: mp.erfinv,
    lgamma: log_gamma,
    digamma: mp.digamma,
    bessel_i0e: lambda x: mp.besseli(0, x) * mp.exp(-abs(x)),
    bessel_i1e: lambda x: mp.besseli(1, x) * mp.exp(-abs(x)),
}
BITS = 200  # of the exact values


def interpreted(function, *arrays):
    with compiling():
        kind = {v: k for k, v in DTYPES.items()}[arrays[0].dtype.type]
        leaves = [node("register", (), kind, f"x{k}") for k in range(len(arrays))]
        return expr_interpreter.evaluate(function(*leaves), dict(zip(leaves, arrays, strict=True)))


def eager(function, x):
    with np.errstate(all="ignore"):
        return devices.backend("cpu").table[function.__name__](x)


def exact(function, x):
    """Rounded to more digits than those of x, as a longdouble of float64 and float64 of float32."""
    wide = np.longdouble if x.dtype == np.float64 else np.float64
    with mp.workprec(BITS):
        values = [EXACT[function](mpf(v)) for v in x.tolist()]
        if wide is np.float64:
            return np.array([float(v) for v in values])
        high = [float(v) for v in values]
        low = [float(v - h) for v, h in zip(values, high)]
    return np.array(high, wide) + np.array(low, wide)


def ulps(got, expected):
    """The error in units in the last place of the type of `got`."""
    rounded = np.abs(expected).astype(got.dtype)
    return np.abs(got - expected) / np.spacing(rounded).astype(expected.dtype)


def sample(dtype, *intervals, n=60):
    """Evenly spaced in the logarithm in each interval."""
    rng = np.random.default_rng(0)
    parts = [np.exp(rng.uniform(np.log(a), np.log(b), n)) for a, b in intervals]
    return np.concatenate(parts).astype(DTYPES[dtype])


# What to try: intervals of |x|, and the largest error in ulp that the docstrings promise.
ERF = ((1e-30, 0.1), (0.1, 1), (1, 3), (3, 7))
BESSEL = ((1e-10, 1), (1, 8), (8, 12), (12, 1000))
ACCURACY = {
    "erf": (erf, ERF, {"f32": 2.3, "f64": 3.9}),
    "erfc": (erfc, (*ERF, (2, 9.1)), {"f32": 3.5, "f64": 3.5}),
    "erf_inv": (
        erf_inv, ((1e-30, 0.1), (0.1, 0.9), (0.9, 0.999), (0.999, 0.99999)),
        {"f32": 2.5, "f64": 2.5},
    ),
    "lgamma": (
        lgamma, ((1e-30, 0.5), (0.5, 0.99), (0.99, 1.01), (1.01, 1.99), (1.99, 2.01), (2.01, 3),
                 (3, 4), (4, 10), (10, 1e30)),
        {"f32": 3.3, "f64": 3.3},
    ),
    "digamma": (
        digamma, ((1e-30, 0.5), (0.5, 1.46), (1.46, 1.463), (1.463, 3), (3, 4), (4, 10), (10, 1e5)),
        {"f32": 3.3, "f64": 3.3},
    ),
    "bessel_i0e": (bessel_i0e, BESSEL, {"f32": 3.3, "f64": 3.3}),
    "bessel_i1e": (bessel_i1e, BESSEL, {"f32": 3.3, "f64": 3.3}),
}  # fmt: skip


@pytest.mark.parametrize("evaluate", [interpreted, native_kernels.evaluate])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy(name, dtype, evaluate):
    function, intervals, bounds = ACCURACY[name]
    x = sample(dtype, *intervals)
    if name not in ("lgamma", "digamma"):
        x = np.concatenate([x, -x[::5]])
    error = ulps(evaluate(function, x), exact(function, x))
    assert error.max() <= bounds[dtype], f"{name}: {error.max()} ulp at {x[error.argmax()]!r}"


NEGATIVE = ((1e-30, 0.4), (0.4, 0.6), (0.5, 3), (3, 20), (20, 100), (100, 1e5))


@pytest.mark.parametrize("evaluate", [interpreted, native_kernels.evaluate, eager])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [lgamma, digamma])
def test_negative_arguments(function, dtype, evaluate):
    """The two terms of the reflection formulas cancel, more or less, nearly everywhere."""
    x = -sample(dtype, *NEGATIVE)
    poles = -np.array([1, 2, 3, 7, 16, 17, 18, 33, 64, 1000], x.dtype)
    near_poles = [poles * (1 + s * np.finfo(x.dtype).eps * k) for k in (1, 2, 900) for s in (1, -1)]
    x = np.concatenate([x, *near_poles, [-0.5, -1e-300, -1.5]], dtype=x.dtype)
    x = x[x != np.rint(x)]
    error = ulps(evaluate(function, x), exact(function, x))
    assert error.max() <= 3.3, f"{error.max()} ulp at {x[error.argmax()]!r}"


# Roots of digamma that are closer to a float64 than any others between powers of two.
CLOSEST = [-120.81548081155381, -2977.8808777877402, -6066919.936815942, -204097275.94819948]


@pytest.mark.parametrize("evaluate", [interpreted, native_kernels.evaluate, eager])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [lgamma, digamma])
def test_roots_at_negative_arguments(function, dtype, evaluate):
    """All digits of the small results next to the roots, and on the way to them."""
    if function is lgamma:
        roots = [r for n in range(2, 17) for r in roots_of_log_gamma(n)]
    else:
        roots = [*[roots_of_digamma(n) for n in (*range(24), 87, 300)], *CLOSEST]
    x = np.concatenate(
        [
            around(roots, dtype, 4),
            *[around(roots, dtype, 0) * (1 + (-2.0) ** -k) for k in range(3, 51)],
        ],
        dtype=DTYPES[dtype],
    )
    x = x[x != np.rint(x)]
    error = ulps(evaluate(function, x), exact(function, x))
    assert error.max() <= 3.3, f"{error.max()} ulp at {x[error.argmax()]!r}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_far_tail_of_erfc(dtype):
    """Through the subnormal numbers, down to zero."""
    x = np.linspace(*{"f32": (8.5, 10.3), "f64": (24, 27.5)}[dtype], 150).astype(DTYPES[dtype])
    got, expected = interpreted(erfc, x), exact(erfc, x)
    assert ulps(got, expected).max() <= 3.5
    assert got[-1] == 0 and np.sum((got > 0) & (got < np.finfo(x.dtype).tiny)) > 10


@pytest.mark.parametrize("dtype", DTYPES)
def test_ends_of_erf_inv(dtype):
    """The last numbers below 1, whose results are the largest."""
    epsilon = np.finfo(DTYPES[dtype]).eps
    x = (1 - epsilon / 2 * np.array([1, 2, 3, 10, 100, 1000])).astype(DTYPES[dtype])
    assert ulps(interpreted(erf_inv, x), exact(erf_inv, x)).max() <= 2.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_erf_stays_within_one(dtype):
    x = np.linspace(2, 7, 20000).astype(DTYPES[dtype])
    assert interpreted(erf, x).max() == 1
    assert native_kernels.evaluate(erf, x).max() == 1


INF, NAN = np.inf, np.nan
SPECIAL = {
    "erf": (erf, [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1)]),
    "erfc": (erfc, [(0.0, 1), (-0.0, 1), (INF, 0.0), (-INF, 2), (30, 0.0), (-30, 2)]),
    "erf_inv": (
        erf_inv, [(0.0, 0.0), (-0.0, -0.0), (1, INF), (-1, -INF), (1.5, NAN), (-INF, NAN)],
    ),
    "lgamma": (
        lgamma, [(0.0, INF), (-0.0, INF), (1, 0.0), (2, 0.0), (-1, INF), (-2, INF), (-1e30, INF),
                 (INF, INF), (-INF, INF)],
    ),
    "digamma": (
        digamma, [(0.0, NAN), (-0.0, NAN), (-1, NAN), (-2, NAN), (-1e30, NAN), (INF, INF),
                  (-INF, NAN)],
    ),
    "bessel_i0e": (bessel_i0e, [(0.0, 1), (-0.0, 1), (INF, 0.0), (-INF, 0.0)]),
    "bessel_i1e": (bessel_i1e, [(0.0, 0.0), (-0.0, -0.0), (INF, 0.0), (-INF, -0.0)]),
}  # fmt: skip


@pytest.mark.parametrize("evaluate", [interpreted, native_kernels.evaluate])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name, dtype, evaluate):
    function, cases = SPECIAL[name]
    x, expected = np.array([*cases, (NAN, NAN)], DTYPES[dtype]).T
    got = evaluate(function, x)
    np.testing.assert_array_equal(got, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(expected)[numbers])


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_arguments(dtype):
    x = np.array([1, -7, 1000], DTYPES[dtype]) * np.finfo(DTYPES[dtype]).smallest_subnormal
    assert ulps(interpreted(erf, x), exact(erf, x)).max() <= 1
    assert ulps(interpreted(erf_inv, x), exact(erf_inv, x)).max() <= 1
    assert ulps(interpreted(lgamma, x), exact(lgamma, x)).max() <= 1
    np.testing.assert_array_equal(interpreted(digamma, x), [-INF, INF, -INF])


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [1, 2, 3, 10])
def test_zeta_and_polygamma(order, dtype, constant):
    """Also of a constant order, as in the derivatives of digamma; of negative x, to a few epsilon
    of the largest term, which is the next pole's."""
    positive = sample(dtype, (0.05, 1), (1, 5), (5, 100), n=15)
    negative = np.random.default_rng(0).uniform(-6, -0.01, 15).astype(DTYPES[dtype])
    x = np.concatenate([positive, negative])
    with mp.workprec(400):
        exact_zeta = [mp.zeta(order + 1, mpf(v)) for v in positive.tolist()]
        exact_gamma = [mp.polygamma(order, mpf(v)) for v in x.tolist()]
    exact_zeta, exact_gamma = np.array(exact_zeta, np.double), np.array(exact_gamma, np.double)
    # The reference is rounded to float64, which is worth half an ulp of it.
    bound = {"f32": 0.51, "f64": 7.5}[dtype]

    def evaluate(function, first, x):
        if constant:
            return native_kernels.evaluate(lambda x: function(const(first, x.dtype), x), x)
        return native_kernels.evaluate(function, np.full_like(x, first), x)

    assert ulps(evaluate(zeta, order + 1, positive), exact_zeta).max() <= bound
    got = evaluate(polygamma, order, x)
    n = len(positive)
    assert ulps(got[:n], exact_gamma[:n]).max() <= bound
    pole = np.abs(negative - np.rint(negative)).astype(float)
    size = np.abs(exact_gamma[n:]) + float(math.factorial(order)) * pole ** -(order + 1)
    assert np.max(np.abs(got[n:] - exact_gamma[n:]) / size) <= 8 * np.finfo(x.dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_of_zeta_and_polygamma(dtype):
    x = np.array([0.0, -1, -2, INF, NAN, 2], DTYPES[dtype])
    one = np.ones_like(x)
    evaluate = native_kernels.evaluate
    np.testing.assert_array_equal(evaluate(zeta, one * 2.5, x)[:5], [INF, INF, INF, 0, NAN])
    np.testing.assert_array_equal(evaluate(zeta, one, x)[5:], [INF])
    np.testing.assert_array_equal(evaluate(zeta, one * 0.5, x), np.full(6, NAN))
    np.testing.assert_array_equal(evaluate(polygamma, one, x)[:5], [INF, INF, INF, 0, NAN])
    np.testing.assert_array_equal(evaluate(polygamma, one * 1.5, x), np.full(6, NAN))
    np.testing.assert_array_equal(evaluate(polygamma, -one, x), np.full(6, NAN))
    np.testing.assert_array_equal(evaluate(polygamma, one * 0, x)[5:], evaluate(digamma, x)[5:])


INCOMPLETE = {
    "igamma": (igamma, lambda a, x: mp.gammainc(a, 0, x, regularized=True)),
    "igammac": (igammac, lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True)),
    "betainc": (
        regularized_incomplete_beta, lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True),
    ),
}  # fmt: skip
RANGES = ((1e-6, 2), (0.5, 5), (3, 40), (20, 500))


def incomplete_operands(name, dtype, n):
    """Around the bulk, where results are neither 0 nor 1, and far from it."""
    rng = np.random.default_rng(0)
    operands = []
    for low, high in RANGES:
        a, b = np.exp(rng.uniform(np.log(low), np.log(high), (2, n)))
        away = rng.normal(size=n) * np.where(np.arange(n) % 4, 1, 4)
        if name == "betainc":
            x = 1 / (1 + b / a * np.exp(away / np.sqrt(np.minimum(a, b))))
            operands.append((a, b, np.clip(x, 1e-6, 1 - 1e-6)))
        else:
            operands.append((a, a * np.exp(away / np.sqrt(a) / 2).clip(1e-8, 1e8)))
    return [np.concatenate(x).astype(dtype) for x in zip(*operands, strict=True)]


@pytest.mark.parametrize("evaluate", [interpreted, native_kernels.evaluate])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", INCOMPLETE)
def test_incomplete_functions(name, dtype, evaluate):
    """All regions, relative to the result; I_x(a, b) may be 1 less what is close to it."""
    function, reference = INCOMPLETE[name]
    operands = incomplete_operands(name, DTYPES[dtype], 12)
    with mp.workprec(120):
        expected = [reference(*map(mpf, v)) for v in zip(*[x.tolist() for x in operands])]
    expected = np.array([float(v) for v in expected])
    got = evaluate(function, *operands)
    seen = expected > np.finfo(got.dtype).tiny
    rounded = 2.0**-50 if name == "betainc" else 0.0
    error = (np.abs(got[seen] - expected[seen]) - rounded) / expected[seen]
    assert seen.sum() >= 40
    assert error.max() <= {"f32": 6e-8, "f64": 5e-14}[dtype]


@pytest.mark.parametrize("name", INCOMPLETE)
def test_incomplete_functions_of_large_parameters(name):
    """Temme's expansion, and fractions of thousands of steps."""
    a = np.array([2.5e5, 1e7, 1e12, 1.9e5, 1e4])
    spread = np.array([-3.0, -0.5, 0.0, 0.7, 4.0])
    a, spread = np.repeat(a, 5), np.tile(spread, 5)
    if name == "betainc":
        operands = (np.minimum(a, 1e5), 2 * np.minimum(a, 1e5), 1 / 3 + 0.3 * spread / np.sqrt(a))
        expected = scipy.special.betainc(*operands)
    else:
        operands = (a, a + spread * np.sqrt(a))
        expected = {"igamma": scipy.special.gammainc, "igammac": scipy.special.gammaincc}[name](
            *operands
        )
    got = native_kernels.evaluate(INCOMPLETE[name][0], *operands)
    np.testing.assert_allclose(got, expected, rtol=2e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", INCOMPLETE)
def test_special_values_of_incomplete_functions(name, dtype):
    """All combinations of them, as eager code has them."""
    values = np.array([0.0, -0.0, 0.5, 1, -1, 30, INF, -INF, NAN], DTYPES[dtype])
    count = 3 if name == "betainc" else 2
    operands = [x.ravel() for x in np.meshgrid(*[values] * count)]
    table = devices.backend("cpu").table[INCOMPLETE[name][0].__name__]
    got = native_kernels.evaluate(INCOMPLETE[name][0], *operands)
    np.testing.assert_allclose(got, table(*operands), rtol=1e-6)


def test_a_lane_does_not_depend_on_its_neighbours():
    """Lanes that have converged wait for the others without changing."""
    operands = incomplete_operands("igamma", np.float64, 12)
    together = native_kernels.evaluate(igamma, *operands)
    order = np.random.default_rng(0).permutation(len(together))
    shuffled = native_kernels.evaluate(igamma, *[x[order] for x in operands])
    np.testing.assert_array_equal(shuffled, together[order])
