"""Without these, special functions and distributions could differ from SciPy's, or lose digits."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

import nr
from nr import scipy as nr_scipy
from nr.lax.rules import operand
from nr.scipy import special, stats

# Kernels are accurate to a few hundred roundings; differences of log-gammas cancel some more.
F64 = {"rtol": 2e-11, "atol": 1e-13}
F32 = {"rtol": 3e-5, "atol": 1e-6}
NAN, INF = np.nan, np.inf


def wrapped(x):
    return operand("test", x)


def compare(fun, reference, xs, single=True):
    """Against SciPy in float64, in float32, and under jit."""
    wanted = reference(*xs)
    ours = fun(*map(wrapped, xs))
    assert ours.dtype == np.float64 and ours.shape == wanted.shape
    np.testing.assert_allclose(ours, wanted, **F64)
    np.testing.assert_allclose(nr.jit(fun)(*map(wrapped, xs)), ours, **F64)
    if single:
        small = fun(*[wrapped(x.astype(np.float32)) for x in xs])
        assert small.dtype == np.float32
        np.testing.assert_allclose(small, reference(*[np.float32(x) for x in xs]), **F32)


WIDE = np.array([-30.0, -3.2, -1.0, -0.3, 0.0, 0.4, 1.0, 2.5, 12.0])
POSITIVE = np.array([0.01, 0.4, 1.0, 2.5, 7.0, 20.0])
UNIT = np.array([0.0, 1e-6, 0.1, 0.3, 0.5, 0.77, 1.0])
ONE = {
    "expit": WIDE, "logit": UNIT, "erf": WIDE, "erfc": WIDE, "erfinv": UNIT[1:-1],
    "gammaln": POSITIVE, "gamma": np.array([-2.5, -0.7, 0.4, 1.0, 4.0, 8.5]), "digamma": POSITIVE,
    "psi": POSITIVE, "entr": np.array([-1.0, 0.0, 0.3, 2.0, NAN]), "ndtr": WIDE, "log_ndtr": WIDE,
    "i0": WIDE, "i0e": WIDE, "i1": WIDE, "i1e": WIDE, "factorial": np.array([-1.0, 0.0, 3.0, 5.5]),
    "gammasgn": np.array([-2.5, -1.5, -0.5, 0.0, -0.0, 2.0, NAN]),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_argument(name):
    compare(getattr(special, name), getattr(scipy.special, name), [ONE[name]])


def test_ndtri_and_log_ndtr_reach_far():
    p = np.array([1e-300, 1e-100, 1e-10, 1e-3, 0.3, 0.5, 0.9, 1 - 1e-9, 0.0, 1.0, -0.1, NAN])
    np.testing.assert_allclose(special.ndtri(wrapped(p)), scipy.special.ndtri(p), **F64)
    single = p[3:8].astype(np.float32)
    np.testing.assert_allclose(special.ndtri(wrapped(single)), scipy.special.ndtri(single), **F32)
    x = np.linspace(-60, 10, 141)
    np.testing.assert_allclose(special.log_ndtr(wrapped(x)), scipy.special.log_ndtr(x), **F64)
    x = x.astype(np.float32)
    np.testing.assert_allclose(special.log_ndtr(wrapped(x)), scipy.special.log_ndtr(x), **F32)


TWO = {
    "xlogy": (np.array([0.0, 0.0, 1.0, 2.0, 0.0]), np.array([0.0, -1.0, 3.0, 0.0, NAN])),
    "xlog1py": (np.array([0.0, 0.0, 1.0, 2.0, 0.0]), np.array([-1.0, -2.0, 3.0, 0.1, NAN])),
    "rel_entr": (np.array([0.0, 0.2, 1.0, -1.0, 2.0]), np.array([0.0, 0.7, 0.0, 1.0, NAN])),
    "kl_div": (np.array([0.0, 0.2, 1.0, -1.0, 2.0]), np.array([0.5, 0.7, 0.0, 1.0, 3.0])),
    "beta": (POSITIVE, POSITIVE[::-1]),
    "betaln": (POSITIVE, POSITIVE[::-1]),
    "gammainc": (POSITIVE, POSITIVE[::-1]),
    "gammaincc": (POSITIVE, POSITIVE[::-1]),
    "poch": (POSITIVE, np.array([0.0, 1.0, 2.0, 0.5, 3.0, 0.1])),
    "zeta": (POSITIVE + 1.5, POSITIVE),
}


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_arguments(name):
    compare(getattr(special, name), getattr(scipy.special, name), list(TWO[name]))


def test_other_functions():
    n = np.array([0.0, 1.0, 2.0, 3.0])
    compare(special.polygamma, scipy.special.polygamma, [n, POSITIVE[1:5]])
    a, b, x = POSITIVE[1:], POSITIVE[:0:-1], np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    compare(special.betainc, scipy.special.betainc, [a, b, x])
    compare(
        lambda t: special.multigammaln(t, 3), lambda t: scipy.special.multigammaln(t, 3), [x + 2]
    )
    compare(special.zeta, scipy.special.zeta, [POSITIVE + 1.5])
    assert special.gammaln(3).dtype == np.float32
    with pytest.raises(TypeError, match="erf: real numbers were expected"):
        special.erf(wrapped(np.array([1j])))


def test_logsumexp_and_softmax():
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=(3, 4)) * 300, rng.normal(size=(3, 4))
    for axis in (None, 0, (0, 1)):
        for keepdims in (False, True):
            options = {"axis": axis, "keepdims": keepdims}
            compare(
                lambda a, o=options: special.logsumexp(a, **o),
                lambda a, o=options: np.asarray(scipy.special.logsumexp(a, **o)),
                [x],
            )
        for name in ("softmax", "log_softmax"):
            ours, theirs = getattr(special, name), getattr(scipy.special, name)
            compare(lambda a, f=ours, d=axis: f(a, d), lambda a, f=theirs, d=axis: f(a, d), [x])
    value, sign = special.logsumexp(wrapped(x), axis=1, b=wrapped(b), return_sign=True)
    wanted, wanted_sign = scipy.special.logsumexp(x, axis=1, b=b, return_sign=True)
    np.testing.assert_allclose(value, wanted, **F64)
    np.testing.assert_array_equal(sign, wanted_sign)
    empty = special.logsumexp(wrapped(np.full(3, -INF)))
    assert float(empty) == -INF
    assert float(special.logsumexp(wrapped(np.array([1.0, INF])))) == INF
    masked = special.logsumexp(wrapped(x), axis=1, where=wrapped(b > 0))
    wanted = scipy.special.logsumexp(np.where(b > 0, x, -INF), axis=1)
    np.testing.assert_allclose(masked, wanted, **F64)
    grad = nr.grad(special.logsumexp)(wrapped(x[0]))
    np.testing.assert_allclose(grad, scipy.special.softmax(x[0]), **F64)


GRADIENTS = ["expit", "erf", "gammaln", "gamma", "ndtr", "log_ndtr", "ndtri", "i0", "i1", "entr"]


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("at", [0.11, 0.7])
def test_gradients(name, at):
    fun, reference, h = getattr(special, name), getattr(scipy.special, name), 1e-6
    slope = (reference(at + h) - reference(at - h)) / (2 * h)
    # central differences: h squared times the third derivative, and 1e-16 / h
    np.testing.assert_allclose(float(nr.grad(fun)(np.float64(at))), slope, rtol=1e-7)


@pytest.mark.parametrize(
    "function, at, slope",
    [
        (special.log_ndtr, 0.0, np.sqrt(2 / np.pi)),
        (special.i0, 0.0, 0.0),
        (stats.laplace.cdf, 0.0, 0.5),
        (lambda x: stats.gennorm.cdf(x, 1.0), 0.0, 0.5),
        (lambda x: special.xlogy(x, 0.3), 0.0, np.log(0.3)),
        (lambda x: special.xlog1py(x, 0.3), 0.0, np.log(1.3)),
        (lambda a: stats.gamma.logpdf(0.3, a), 1.0, np.log(0.3) - scipy.special.digamma(1)),
        (lambda d: stats.chi2.logpdf(0.3, d), 2.0,
         (np.log(0.15) - scipy.special.digamma(1)) / 2),
    ],
)  # fmt: skip
def test_gradients_where_branches_meet(function, at, slope):
    np.testing.assert_allclose(float(nr.grad(function)(np.float64(at))), slope, rtol=1e-6)


def test_gradients_at_the_edges_are_finite():
    for fun in (special.xlogy, special.xlog1py):
        assert np.isfinite(float(nr.grad(fun, argnums=1)(0.0, 0.0)))
    assert float(nr.grad(special.log_ndtr)(np.float32(-50.0))) == pytest.approx(50.02, rel=1e-4)


# ---------------------------------------------------------------- distributions
SHAPES = {"gamma": (2.5,), "beta": (2.5, 0.7), "t": (4.5,)}
X = np.array([-4.0, -0.6, 0.0, 0.3, 0.95, 1.7, 6.0])
LEVELS = np.array([0.01, 0.3, 0.5, 0.99])
CONTINUOUS = ["norm", "uniform", "expon", "logistic", "laplace", "cauchy", "gamma", "beta", "t"]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name):
    ours, theirs = getattr(nr_scipy.stats, name), getattr(scipy.stats, name)
    shapes = SHAPES.get(name, ())
    for function in ours.__all__:
        x = LEVELS if function in ("ppf", "isf") else X
        for place in ((), (0.25, 1.5)):
            np.testing.assert_allclose(
                np.asarray(getattr(ours, function)(wrapped(x), *shapes, *place)),
                getattr(theirs, function)(x, *shapes, *place),
                err_msg=f"{name}.{function}",
                **F64,
            )


@pytest.mark.parametrize("name, shape", [("poisson", 2.5), ("bernoulli", 0.3)])
def test_discrete_distributions(name, shape):
    ours, theirs = getattr(nr_scipy.stats, name), getattr(scipy.stats, name)
    for function in ours.__all__:
        x = LEVELS if function == "ppf" else np.array([-1.0, 0.0, 0.5, 1.0, 3.0])
        np.testing.assert_allclose(
            np.asarray(getattr(ours, function)(wrapped(x), shape)),
            getattr(theirs, function)(x, shape),
            err_msg=f"{name}.{function}",
            **F64,
        )


def test_densities_have_gradients():
    for name in CONTINUOUS:
        logpdf = getattr(nr_scipy.stats, name).logpdf
        reference = getattr(scipy.stats, name).logpdf
        shapes, h, at = SHAPES.get(name, ()), 1e-6, 0.4
        slope = (reference(at + h, *shapes) - reference(at - h, *shapes)) / (2 * h)
        grad = float(nr.grad(logpdf)(np.float64(at), *shapes))
        np.testing.assert_allclose(grad, slope, rtol=1e-7, atol=1e-8, err_msg=name)
