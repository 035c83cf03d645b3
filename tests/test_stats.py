"""Without these, distributions, ranks and estimated densities could differ from SciPy's."""

import mpmath
import numpy as np
import pytest
import scipy.stats

import nr
import nr.numpy as jnp
from nr.scipy import stats
from nr.test_util import check_grads

# Kernels are accurate to a few hundred roundings; differences of log-gammas cancel some more.
F64 = {"rtol": 2e-11, "atol": 1e-13}
RNG = np.random.default_rng(0)
X = np.array([-4.0, -0.6, 0.0, 0.3, 0.95, 1.7, 6.0, 20.0, np.nan])
LEVELS = np.array([0.01, 0.3, 0.5, 0.99])
COUNTS = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0])
PLACE, SCALE = (0.25,), (0.25, 1.5)
DISTRIBUTIONS = [
    ("betabinom", (5, 1.2, 0.7), PLACE),
    ("binom", (5, 0.3), PLACE),
    ("nbinom", (2.5, 0.3), PLACE),
    ("geom", (0.3,), PLACE),
    ("chi2", (3.3,), SCALE),
    ("gennorm", (1.3,), ()),
    ("gumbel_r", (), SCALE),
    ("gumbel_l", (), SCALE),
    ("pareto", (2.5,), SCALE),
    ("truncnorm", (-1.0, 2.0), SCALE),
    ("truncnorm", (3.0, 5.5), SCALE),
    ("truncnorm", (-np.inf, 1.0), SCALE),
    ("vonmises", (2.3,), ()),
    ("wrapcauchy", (0.4,), ()),
]


@pytest.mark.parametrize("name, shapes, place", DISTRIBUTIONS)
def test_distributions(name, shapes, place):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    for function in ours.__all__:
        x = COUNTS if function in ("logpmf", "pmf") else LEVELS if function == "ppf" else X
        for where in {(), place}:
            at = x + 0.25 if where == PLACE else x
            np.testing.assert_allclose(
                getattr(ours, function)(at, *shapes, *where),
                getattr(theirs, function)(at, *shapes, *where),
                err_msg=f"{function} {where}",
                **F64,
            )
            # (a Python float that is an argument of jit is a float32)
            arguments = [np.float64(y) for y in (*shapes, *where)]
            jitted = nr.jit(getattr(ours, function))(at, *arguments)
            np.testing.assert_allclose(jitted, getattr(ours, function)(at, *arguments), **F64)


def test_truncnorm_far_out():
    x = np.array([-31.0, -29.0, -25.0, -20.5, -20.001, -19.0])
    for function in stats.truncnorm.__all__:
        np.testing.assert_allclose(
            getattr(stats.truncnorm, function)(x, -30.0, -20.0),
            getattr(scipy.stats.truncnorm, function)(x, -30.0, -20.0),
            err_msg=function,
            **F64,
        )


def test_entropy_of_poisson():
    def reference(mean):
        with mpmath.workdps(30):
            mean = mpmath.mpf(mean)
            total = mpmath.mpf(0)
            for k in range(int(mean + 40 * mpmath.sqrt(mean) + 60)):
                log_p = k * mpmath.log(mean) - mean - mpmath.loggamma(k + 1)
                total -= mpmath.exp(log_p) * log_p
            return float(total)

    means = np.array([0.01, 0.5, 3.0, 20.0, 59.0, 61.0, 100.0])
    wanted = [reference(m) for m in means]
    # log-gammas of sixty, of some two hundred, have errors of 1e-14 times that of the entropy
    np.testing.assert_allclose(stats.poisson.entropy(means), wanted, rtol=2e-14)
    assert float(stats.poisson.entropy(0.0)) == 0 and np.isnan(stats.poisson.entropy(-1.0))


def test_vectors():
    x, alpha = RNG.dirichlet([1, 2, 3], 5), np.array([1.0, 2.0, 3.0])
    wanted = [scipy.stats.dirichlet.logpdf(p, alpha) for p in x]
    np.testing.assert_allclose(stats.dirichlet.logpdf(x.T, alpha), wanted, **F64)
    np.testing.assert_allclose(stats.dirichlet.pdf(x.T[:2], alpha), np.exp(wanted), **F64)
    assert float(stats.dirichlet.logpdf(np.full(3, 0.3), alpha)) == -np.inf
    p = np.array([0.2, 0.3, 0.5])
    counts = RNG.multinomial(7, p, size=4)
    wanted = scipy.stats.multinomial.logpmf(counts, 7, p)
    np.testing.assert_allclose(stats.multinomial.logpmf(counts, 7, p), wanted, **F64)
    np.testing.assert_array_equal(stats.multinomial.pmf(counts, 6, p), 0)
    a, mean, x = RNG.normal(size=(3, 3)), RNG.normal(size=3), RNG.normal(size=(4, 3))
    cov = a @ a.T + np.eye(3)
    ours, theirs = stats.multivariate_normal, scipy.stats.multivariate_normal
    np.testing.assert_allclose(ours.logpdf(x, mean, cov), theirs.logpdf(x, mean, cov), **F64)
    np.testing.assert_allclose(ours.logpdf(x, mean, 2.0), theirs.logpdf(x, mean, 2.0), **F64)
    np.testing.assert_allclose(
        ours.logpdf(x[:, 0], 0.0, 2.0), theirs.logpdf(x[:, 0], 0.0, 2.0), **F64
    )
    stacked = ours.pdf(x, np.stack([mean] * 4), np.stack([cov] * 4))
    np.testing.assert_allclose(stacked, theirs.pdf(x, mean, cov), **F64)
    check_grads(lambda x, m: ours.logpdf(x, m, cov), (x, mean), 2, rtol=1e-6)


@pytest.mark.parametrize(
    "name, shapes, at",
    [
        ("truncnorm", (-1.0, 2.0), 1.4),
        ("chi2", (3.3,), 1.4),
        ("pareto", (2.5,), 1.4),
        ("vonmises", (2.3,), 1.4),
        ("gumbel_l", (), 1.4),
        ("wrapcauchy", (0.4,), 1.4),
        ("gennorm", (1.3,), 1.4),
    ],
)
def test_densities_have_gradients(name, shapes, at):
    arguments = tuple(np.float64(x) for x in (at, *shapes))
    check_grads(getattr(stats, name).logpdf, arguments, 2, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- ranks and frequencies
@pytest.mark.filterwarnings("ignore:After omitting NaNs")
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
def test_ranks_modes_and_errors(shape):
    y = RNG.integers(0, 4, shape)
    z = np.where(RNG.uniform(size=shape) < 0.1, np.nan, y)
    with nr.config.using(default_float="float64"):
        for axis in (None, *range(len(shape))):
            for x in (y, z):
                for method in ("average", "min", "max", "dense", "ordinal"):
                    wanted = scipy.stats.rankdata(x, method, axis=axis)
                    got = stats.rankdata(x, method, axis=axis)
                    np.testing.assert_array_equal(got, wanted.reshape(got.shape))
            for keepdims in (False, True):
                options = {"axis": axis, "keepdims": keepdims}
                for got, wanted in zip(
                    stats.mode(y, **options), scipy.stats.mode(y, **options), strict=True
                ):
                    np.testing.assert_array_equal(got, wanted)
                    assert got.shape == np.shape(wanted)
                got, wanted = stats.sem(y, **options), scipy.stats.sem(y, **options)
                np.testing.assert_allclose(got, wanted, **F64)
                options["nan_policy"] = "omit"
                got, wanted = stats.sem(z, **options), scipy.stats.sem(z, **options)
                np.testing.assert_allclose(got, wanted, **F64)


def test_modes_of_nans_and_of_nothing():
    value, count = stats.mode(np.array([np.nan, 1.0, np.nan]))
    assert np.isnan(value) and int(count) == 2
    value, count = stats.mode(np.array([]))
    assert np.isnan(value) and int(count) == 0


# ---------------------------------------------------------------- estimated densities
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("bw_method", [None, "silverman", 0.3, lambda density: 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_gaussian_kde(d, bw_method, weighted):
    data, points = RNG.normal(size=(d, 30)), RNG.normal(size=(d, 7))
    weights = RNG.uniform(size=30) if weighted else None
    ours = stats.gaussian_kde(data, bw_method, weights)
    theirs = scipy.stats.gaussian_kde(data, bw_method, weights)
    for name in ("covariance", "inv_cov", "neff", "d", "n"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), **F64)
    np.testing.assert_allclose(ours(points), theirs(points), **F64)
    np.testing.assert_allclose(ours.logpdf(points), theirs.logpdf(points), **F64)
    np.testing.assert_allclose(nr.jit(lambda k, p: k(p))(ours, points), theirs(points), **F64)
    mean, cov = np.ones(d), 2 * np.eye(d)
    wanted = theirs.integrate_gaussian(mean, cov)
    np.testing.assert_allclose(ours.integrate_gaussian(mean, cov), wanted, **F64)
    np.testing.assert_allclose(ours.integrate_kde(ours), theirs.integrate_kde(theirs), **F64)
    if d == 1:
        wanted = theirs.integrate_box_1d(-1.0, 0.5)
        np.testing.assert_allclose(ours.integrate_box_1d(-1.0, 0.5), wanted, **F64)


def test_samples_of_gaussian_kde():
    data = RNG.normal(size=(2, 30))
    density = stats.gaussian_kde(data)
    samples = np.asarray(density.resample(nr.random.key(0), (20000,)))
    assert samples.shape == (2, 20000)
    # five standard deviations of a mean of 20000 numbers of variance 1.5
    np.testing.assert_allclose(samples.mean(1), data.mean(1), atol=5 * np.sqrt(1.5 / 20000))
    wanted = np.cov(data, bias=True) + density.covariance
    np.testing.assert_allclose(np.cov(samples), wanted, rtol=0.06, atol=0.06)
    slope = nr.grad(lambda x: stats.gaussian_kde(x).logpdf(jnp.zeros((2, 1))).sum())(data)
    assert slope.shape == data.shape and np.isfinite(slope).all()


DATA = np.ones((2, 5))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: stats.rankdata(DATA, "x"), ValueError, "rankdata: method must be"),
        (lambda: stats.rankdata(DATA, nan_policy="x"), ValueError, "rankdata: nan_policy must"),
        (lambda: stats.mode(DATA, nan_policy="omit"), NotImplementedError, "mode: nan_policy"),
        (lambda: stats.sem(DATA, nan_policy="x"), ValueError, "sem: nan_policy must be"),
        (lambda: stats.dirichlet.pdf(DATA[0], DATA), ValueError, r"alpha must be \[k\]"),
        (
            lambda: stats.multivariate_normal.pdf(DATA, 0.0, DATA),
            ValueError,
            '"cov" must be a number',
        ),
        (
            lambda: stats.multivariate_normal.logpdf(DATA, DATA[0], DATA),
            ValueError,
            r'"cov" must be \[..., 5, 5\]',
        ),
        (lambda: stats.gaussian_kde(DATA[:, :1]), ValueError, r"\[d, n\] or \[n\] with n > 1"),
        (lambda: stats.gaussian_kde(DATA, "x"), ValueError, "bw_method must be"),
        (lambda: stats.gaussian_kde(DATA, weights=DATA[0, :2]), ValueError, r"must be \[5\]"),
        (lambda: stats.gaussian_kde(DATA)(np.ones((3, 4))), ValueError, r"points \[2, m\]"),
        (
            lambda: stats.gaussian_kde(DATA).integrate_box_1d(0.0, 1.0),
            ValueError,
            "d must be 1; got 2",
        ),
        (lambda: stats.gaussian_kde(DATA).set_bandwidth(), NotImplementedError, "do not change"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
