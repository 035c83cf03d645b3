"""Without these, statistics, sampled functions and polynomials could differ from NumPy's."""

import jax
import jax.numpy as jax_numpy
import numpy as np
import pytest

import nr
from nr.core.errors import ConcretizationTypeError
from nr.lax.rules import operand
from nr.numpy import calculus, polynomials, statistics

# float64 sums of a few dozen terms, in another order than NumPy's
SUM64 = {"rtol": 1e-12, "atol": 1e-12}
NAN = np.nan


def wrapped(x):
    return operand("test", x)


def close(ours, wanted):
    assert ours.shape == np.shape(wanted)
    np.testing.assert_allclose(np.asarray(ours), np.asarray(wanted), **SUM64)


def check(fun, reference, *xs):
    """Eager and jitted results agree with the reference."""
    wanted = reference(*xs)
    for form in (fun, nr.jit(fun)):
        ours = form(*map(wrapped, xs))
        if isinstance(wanted, (tuple, list)):
            assert len(ours) == len(wanted)
            for mine, theirs in zip(ours, wanted):
                close(mine, theirs)
        else:
            close(ours, wanted)


def pair(name, module, **options):
    """The same call of ours and of NumPy's function."""
    ours, theirs = getattr(module, name), getattr(np, name)
    return lambda *a: ours(*a, **options), lambda *a: theirs(*a, **options)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def check_gradient(fun, x):
    """The gradient of the weighted sum of a function of one argument, by central differences."""
    weights = normal(*fun(wrapped(x)).shape, seed=5)
    total = lambda a: nr.lax.reduce_sum(nr.lax.mul(fun(a), wrapped(weights)), None)  # noqa: E731
    direction, step = normal(*x.shape, seed=6), 1e-6
    slope = float(total(wrapped(x + step * direction)) - total(wrapped(x - step * direction)))
    along = float(np.sum(np.asarray(nr.grad(total)(wrapped(x))) * direction))
    np.testing.assert_allclose(along, slope / (2 * step), rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------- quantiles and averages
@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "inverted_cdf"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
def test_quantiles(method, axis):
    x, q = normal(3, 4, 5), np.array([0.0, 0.1, 0.25, 0.8, 1.0])
    for keepdims in (False, True):
        options = {"axis": axis, "method": method, "keepdims": keepdims}
        check(*pair("quantile", statistics, **options), x, q)
        check(*pair("percentile", statistics, **options), x, np.float64(30.0))
    x[0, 1, 2] = x[2, 2, 2] = NAN
    check(*pair("quantile", statistics, axis=axis, method=method), x, q)
    check(*pair("nanquantile", statistics, axis=axis, method=method), x, q)
    check(*pair("nanpercentile", statistics, axis=axis, method=method), x, np.float64(30.0))


def test_nearest_quantile_is_jax_s():
    x, q = normal(3, 8).astype(np.float32), np.linspace(0, 1, 9).astype(np.float32)
    ours = statistics.quantile(wrapped(x), wrapped(q), axis=1, method="nearest")
    np.testing.assert_array_equal(ours, jax_numpy.quantile(x, q, axis=1, method="nearest"))


@pytest.mark.parametrize("axis", [None, 0, (1, 2)])
def test_median(axis):
    x = normal(3, 4, 5)
    check(*pair("median", statistics, axis=axis), x)
    check(*pair("median", statistics, axis=axis, keepdims=True), x[:, :3])
    x[0, 1, 2] = NAN
    check(*pair("median", statistics, axis=axis), x)
    check(*pair("nanmedian", statistics, axis=axis), x)


@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_weighted_quantiles_are_jax_s(name, axis):
    x = normal(4, 5).astype(np.float32)
    w = np.random.default_rng(1).integers(0, 4, (4, 5)).astype(np.float32)
    with_nan, bad = x.copy(), w.copy()
    with_nan[1, 2], with_nan[3], bad[0, 0] = NAN, NAN, -1.0
    q = np.array([0, 0.3, 0.5, 1], np.float32)
    of_axis = {0: w[:, 0], -1: w[0]}.get(axis, w)
    for a, weights in ((x, w), (with_nan, w), (x, bad), (x, of_axis)):
        options = {"axis": axis, "weights": weights, "method": "inverted_cdf", "keepdims": True}
        ours = getattr(statistics, name)(wrapped(a), wrapped(q), **options)
        np.testing.assert_array_equal(ours, getattr(jax_numpy, name)(a, q, **options))
    percents = statistics.percentile(wrapped(x), 30, axis, weights=w, method="inverted_cdf")
    np.testing.assert_array_equal(
        percents, statistics.quantile(wrapped(x), 0.3, axis, weights=w, method="inverted_cdf")
    )


def test_weights_of_quantiles_that_do_not_fit():
    x = wrapped(normal(4, 5))
    with pytest.raises(NotImplementedError, match="method must be \"inverted_cdf\"; got 'linear'"):
        statistics.quantile(x, 0.5, weights=x)
    with pytest.raises(ValueError, match="weights must have the shape of the array, or of its a"):
        statistics.quantile(x, 0.5, axis=0, weights=x[0], method="inverted_cdf")


def test_quantile_edges():
    assert np.isnan(float(statistics.median(wrapped(np.zeros(0)))))
    assert np.isnan(float(statistics.nanmedian(wrapped(np.array([NAN, NAN])))))
    infinite = wrapped(np.array([1.0, 2.0, np.inf]))
    assert float(statistics.quantile(infinite, 0.5)) == 2.0
    for dtype in ("int32", "bfloat16", "float16", "bool"):
        x = np.ones(4).astype(nr.core.dtypes.DTYPES[dtype])
        theirs = jax.eval_shape(lambda a: jax_numpy.quantile(a, 0.3), x)
        assert statistics.quantile(wrapped(x), 0.3).dtype == theirs.dtype
    with pytest.raises(ValueError, match="quantile: method must be one of"):
        statistics.quantile(infinite, 0.5, method="weibull")
    check_gradient(lambda a: statistics.quantile(a, 0.3, axis=1), normal(3, 6))


def test_average():
    x, w, v = normal(3, 4), np.abs(normal(3, 4, seed=1)), np.abs(normal(4, seed=2))
    check(*pair("average", statistics), x)
    check(*pair("average", statistics, axis=1, returned=True), x)
    check(
        lambda a, b: statistics.average(a, 0, b, True), lambda a, b: np.average(a, 0, b, True), x, w
    )
    check(lambda a, b: statistics.average(a, 1, b), lambda a, b: np.average(a, 1, b), x, v)
    with pytest.raises(ValueError, match="average: weights must have"):
        statistics.average(wrapped(x), 0, wrapped(v))


def test_cov_and_corrcoef():
    x, y, few = normal(3, 8), normal(2, 8, seed=1), np.array([1, 2, 1, 3, 0, 1, 1, 2])
    weights = np.abs(normal(8, seed=2))
    for name in ("cov", "corrcoef"):
        check(*pair(name, statistics), x)
        check(*pair(name, statistics), x, y)
        check(*pair(name, statistics, rowvar=False), x)
        check(*pair(name, statistics), x[0])
        check(*pair(name, statistics), x + 1j * x[::-1])
    check(*pair("cov", statistics, ddof=0), x)
    check(*pair("cov", statistics, bias=True), x)
    for options in ({}, {"ddof": 0}):
        check(
            lambda a, f, w, o=options: statistics.cov(a, fweights=f, aweights=w, **o),
            lambda a, f, w, o=options: np.cov(a, fweights=f, aweights=w, **o),
            x, few, weights,
        )  # fmt: skip
        check(
            lambda a, w, o=options: statistics.cov(a, fweights=w, **o),
            lambda a, w, o=options: np.cov(a, fweights=w, **o),
            x, few,
        )  # fmt: skip
    check_gradient(statistics.cov, x)


# ---------------------------------------------------------------- counts
def test_bincount():
    x, w = np.array([3, 1, 3, 0]), np.array([0.5, 1.0, 2.0, 4.0])
    for options in ({}, {"minlength": 6}, {"minlength": 2}):
        close(statistics.bincount(wrapped(x), **options), np.bincount(x, **options))
        close(statistics.bincount(wrapped(x), wrapped(w), **options), np.bincount(x, w, **options))
    assert statistics.bincount(wrapped(x)).dtype == np.int32
    assert statistics.bincount(wrapped(np.zeros(0, np.int32))).shape == (0,)
    fixed = nr.jit(lambda a: statistics.bincount(a, length=3))(wrapped(np.array([2, 9, -4, 2])))
    np.testing.assert_array_equal(fixed, jax_numpy.bincount(np.array([2, 9, -4, 2]), length=3))
    known = nr.jit(lambda: statistics.bincount(wrapped(x)))  # its numbers are no arguments
    np.testing.assert_array_equal(known(), np.bincount(x))
    with pytest.raises(ConcretizationTypeError, match="bincount: the length .* length="):
        nr.jit(statistics.bincount)(wrapped(x))
    with pytest.raises(TypeError, match="bincount: a vector of integers"):
        statistics.bincount(wrapped(w))


@pytest.mark.parametrize("density", [False, True])
def test_histograms(density):
    x, y, w = normal(40), normal(40, seed=1), np.abs(normal(40, seed=2))
    check(*pair("histogram", statistics, bins=7, density=density), x)
    check(*pair("histogram", statistics, bins=7, density=density, range=(-1.0, 0.5)), x)
    ours = lambda a, b, c: statistics.histogram(a, b, weights=c, density=density)  # noqa: E731
    theirs = lambda a, b, c: np.histogram(a, b, weights=c, density=density)  # noqa: E731
    check(ours, theirs, x, np.array([-1.0, 0.0, 0.1, 2.0]), w)
    check(*pair("histogram2d", statistics, bins=4, density=density), x, y)
    check(*pair("histogram2d", statistics, bins=[3, 5], density=density), x, y)
    points = np.stack([x, y, w], 1)
    counts, edges = statistics.histogramdd(wrapped(points), (2, 3, 4), density=density)
    assert counts.dtype == ("float64" if density else "int32")
    wanted, wanted_edges = np.histogramdd(points, (2, 3, 4), density=density)
    close(counts, wanted)
    for mine, other in zip(edges, wanted_edges):
        close(mine, other)


def test_histogram_edges():
    for x in (np.array([2.0, 2.0]), np.zeros(0), np.array([1.0, 4.0])):
        check(*pair("histogram_bin_edges", statistics, bins=3), x)
    for dtype in ("int32", "float32", "bfloat16"):
        x = np.arange(4).astype(nr.core.dtypes.DTYPES[dtype])
        for ours, theirs in zip(
            statistics.histogram(wrapped(x)), jax.eval_shape(jax_numpy.histogram, x)
        ):
            assert ours.dtype == theirs.dtype


# ---------------------------------------------------------------- sampled functions
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("n, m", [(5, 3), (3, 5), (6, 2), (2, 6), (4, 4), (1, 3)])
def test_convolve_and_correlate(mode, n, m):
    a, v = normal(n), normal(m, seed=1)
    for name in ("convolve", "correlate"):
        check(*pair(name, calculus, mode=mode), a, v)
        check(*pair(name, calculus, mode=mode), a + 1j * a[::-1], v - 2j * v)
    check_gradient(lambda x: calculus.convolve(x, wrapped(v), mode), a)


def test_interp():
    xp, fp = np.array([0.0, 1.0, 3.0, 4.0]), np.array([1.0, -1.0, 2.0, 5.0])
    x = np.array([[-1.0, 0.0, 0.3], [1.0, 3.9, 7.0]])
    check(calculus.interp, np.interp, x, xp, fp)
    check(*pair("interp", calculus, left=-9.0, right=9.0), x, xp, fp)
    check(*pair("interp", calculus, period=3.5), x, xp[[2, 0, 1, 3]], fp)
    check(calculus.interp, np.interp, x, xp[:1], fp[:1])
    assert np.isnan(np.asarray(calculus.interp(wrapped(np.array(NAN)), wrapped(xp), wrapped(fp))))
    straight = calculus.interp(wrapped(x), wrapped(xp), wrapped(fp), "extrapolate", "extrapolate")
    np.testing.assert_allclose(straight[0, 0], 3.0)
    np.testing.assert_allclose(straight[1, 2], 14.0)
    check_gradient(lambda a: calculus.interp(a, wrapped(xp), wrapped(fp)), np.array([0.3, 2.0]))
    check_gradient(lambda f: calculus.interp(wrapped(x), wrapped(xp), f), fp)
    double = nr.grad(lambda a: calculus.interp(a, wrapped(np.array([0.0, 0, 1])), wrapped(fp[:3])))
    assert np.isfinite(float(double(wrapped(np.float64(0.0)))))


def test_differences():
    x = normal(3, 5)
    for n in (0, 1, 2, 7):
        for axis in (0, 1):
            check(*pair("diff", calculus, n=n, axis=axis), x)
    check(
        lambda a, b: calculus.diff(a, prepend=0.0, append=b),
        lambda a, b: np.diff(a, prepend=0.0, append=b),
        x,
        x[:, :2],
    )
    close(calculus.diff(wrapped(x > 0)), np.diff(x > 0))
    check(*pair("ediff1d", calculus), x)
    check(lambda a, b: calculus.ediff1d(a, b, 3.0), lambda a, b: np.ediff1d(a, b, 3.0), x, x[0])
    for axis in (0, 1, (0, 1), None):
        check(*pair("gradient", calculus, axis=axis), x)
    check(lambda a: calculus.gradient(a, 2.0), lambda a: np.gradient(a, 2.0), x)
    places = np.array([0.0, 1.0, 1.5, 4.0, 5.0])
    check(lambda a, p: calculus.gradient(a, 2.0, p), lambda a, p: np.gradient(a, 2.0, p), x, places)
    with pytest.raises(ValueError, match="gradient: two samples or more"):
        calculus.gradient(wrapped(x[:1]), axis=0)
    check_gradient(lambda a: calculus.gradient(a, axis=1), x)


def test_trapezoid():
    y, x = normal(3, 5), np.sort(normal(5, seed=1))
    check(*pair("trapezoid", calculus), y)
    check(*pair("trapezoid", calculus, dx=0.1, axis=0), y)
    check(*pair("trapezoid", calculus), y, x)
    check(*pair("trapezoid", calculus, axis=0), y, x[:3])
    check(*pair("trapezoid", calculus), y, np.stack([x, 2 * x, x - 1]))


# ---------------------------------------------------------------- polynomials
def test_polynomials():
    p, q, x = normal(4), normal(2, seed=1), normal(2, 3, seed=2)
    check(polynomials.polyval, np.polyval, p, x)
    for name in ("polyadd", "polysub", "polymul"):
        check(*pair(name, polynomials), p, q)
        check(*pair(name, polynomials), q, p)
    for m in (0, 1, 2, 4):
        check(*pair("polyder", polynomials, m=m), p)
        check(*pair("polyint", polynomials, m=m), p)
    check(lambda a, k: polynomials.polyint(a, 2, k), lambda a, k: np.polyint(a, 2, k), p, q)
    check(polynomials.poly, np.poly, p)
    check_gradient(lambda a: polynomials.polyval(a, wrapped(x)), p)
    trimmed = polynomials.polymul(
        wrapped(np.array([0.0, 1.0, 2.0])), wrapped(np.array([0.0, 3.0])), trim_leading_zeros=True
    )
    close(trimmed, [3.0, 6.0])
