"""Without these, special functions could lose digits, or be wrong at infinity, poles or roots."""

import math

import mpmath
import numpy as np
import pytest
import scipy.special

import nr
from nr.scipy import special
from nr.test_util import check_grads

RNG = np.random.default_rng(0)
INF, NAN = np.inf, np.nan


def spread(low, high, count=60):
    """Numbers evenly spread, and by their logarithms."""
    start = max(low, 1e-9)
    logarithms = RNG.uniform(np.log(start), np.log(high), count)
    return np.concatenate([RNG.uniform(low, high, count), np.exp(logarithms)])


def near(root):
    return np.concatenate([[root], root + RNG.normal(size=20) * 1e-4])


def erfcx(x):
    return mpmath.exp(x * x) * mpmath.erfc(x)


def dawsn(x):
    return mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-x * x) * mpmath.erfi(x)


def owens_t(h, a):
    def integrand(x):
        return mpmath.exp(-h * h * (1 + x * x) / 2) / (1 + x * x)

    return mpmath.quad(integrand, mpmath.linspace(0, a, 8)) / (2 * mpmath.pi)


def first(function):
    return lambda x: function(x)[0]


def second(function):
    return lambda x: function(x)[1]


# name: (function, reference, places, the most units in the last place that it may be wrong)
ONE = {
    "erfcx": (special.erfcx, erfcx, np.concatenate([spread(0, 20), RNG.uniform(-9, 0, 60)]), 6),
    "dawsn": (special.dawsn, dawsn, spread(0, 30), 4),
    "exp1": (special.exp1, mpmath.e1, spread(0, 80), 5),
    "expi": (special.expi, mpmath.ei, np.concatenate([spread(0, 80), near(0.3725074107813666)]), 7),
    "expi below 0": (special.expi, mpmath.ei, -spread(0, 80), 5),
    "Si": (first(special.sici), mpmath.si, spread(0, 300), 4),
    "Ci": (second(special.sici), mpmath.ci, np.concatenate([spread(0, 2), near(0.6165)]), 8),
    "1 + Ci": (lambda x: special.sici(x)[1] + 1, lambda x: mpmath.ci(x) + 1, spread(2, 300), 6),
    "S": (first(special.fresnel), mpmath.fresnels, spread(1e-5, 50), 5),
    "C": (second(special.fresnel), mpmath.fresnelc, spread(1e-5, 50), 5),
    "spence": (special.spence, lambda x: mpmath.polylog(2, 1 - x).real, spread(0, 1e4), 4),
}
SHAPE = [RNG.uniform(0.1, 3, 40) for _ in range(3)]
ORDERS = np.concatenate([RNG.integers(1, 12, 40), RNG.integers(12, 200, 20)]).astype(float)
MORE = {
    "expn": (special.expn, mpmath.expint, (ORDERS, spread(1e-3, 40, 30)), 12),
    "comb": (special.comb, mpmath.binomial, (np.arange(1.0, 61), np.arange(60) // 2), 6),
    "boxcox": (
        special.boxcox,
        lambda x, p: mpmath.expm1(p * mpmath.log(x)) / p,
        (spread(1e-3, 50, 30), RNG.normal(size=60) * 10.0 ** RNG.uniform(-7, 0, 60)),
        16,
    ),
    "boxcox1p": (
        special.boxcox1p,
        lambda x, p: mpmath.expm1(p * mpmath.log1p(x)) / p,
        (spread(0, 50, 30), RNG.normal(size=60) * 10.0 ** RNG.uniform(-7, 0, 60)),
        16,
    ),
    # exp(-h^2 / 2) has h^2 / 2 times the rounding error of h
    "owens_t": (special.owens_t, owens_t, (RNG.uniform(0, 4, 20), RNG.uniform(0, 3, 20)), 40),
    # sums of up to two hundred terms, each from the one before
    "hyp1f1": (special.hyp1f1, mpmath.hyp1f1, (*SHAPE[:2], RNG.uniform(-60, 60, 40)), 80),
    "hyp1f1 far left": (special.hyp1f1, mpmath.hyp1f1, (*SHAPE[:2], -spread(150, 1e4, 20)), 80),
    "hyp2f1": (
        special.hyp2f1,
        mpmath.hyp2f1,
        (*SHAPE[:2], SHAPE[2] + 1.5, RNG.uniform(-0.9, 0.9, 40)),
        40,
    ),
    "hyp2f1 near 1": (special.hyp2f1, mpmath.hyp2f1, (*SHAPE, RNG.uniform(0.9, 1, 40)), 400),
    "hyp2f1 left": (special.hyp2f1, mpmath.hyp2f1, (*SHAPE, RNG.uniform(-30, -1, 40)), 200),
}


def check_units(function, reference, places, bound, dtype):
    places = [x.astype(dtype) for x in places]
    got = np.asarray(function(*places))
    assert got.dtype == dtype
    with mpmath.workdps(40):
        for value, *at in zip(got, *places, strict=True):
            exact = reference(*[mpmath.mpf(float(x)) for x in at])
            unit = float(np.spacing(max(abs(dtype(float(exact))), np.finfo(dtype).tiny)))
            error = float(abs(mpmath.mpf(float(value)) - exact)) / unit
            assert error <= bound, f"{at}: {error} units"
    # eager and compiled elementary functions differ by a unit or two each
    jitted = nr.jit(function)(*places)
    np.testing.assert_allclose(jitted, got, rtol=bound * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ONE)
def test_accuracy_in_one_argument(name, dtype):
    function, reference, places, bound = ONE[name]
    check_units(function, reference, [places], bound, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", MORE)
def test_accuracy_in_more_arguments(name, dtype):
    function, reference, places, bound = MORE[name]
    check_units(function, reference, places, bound, dtype)


def complex_places(x, y, count=80):
    return RNG.uniform(*x, count) + 1j * RNG.uniform(*y, count)


# (function, reference, places, the error relative to the absolute value, in machine epsilons)
COMPLEX = {
    "wofz": (special.wofz, lambda z: mpmath.exp(-z * z) * mpmath.erfc(-1j * z), (-9, 9), (0, 9), 8),
    "wofz near 0": (
        special.wofz, lambda z: mpmath.exp(-z * z) * mpmath.erfc(-1j * z), (-1, 1), (0, 1), 8,
    ),
    # exp(-z^2) has |z|^2 times the rounding error of z
    "wofz below": (
        special.wofz, lambda z: mpmath.exp(-z * z) * mpmath.erfc(-1j * z), (-4, 4), (-4, 0), 40,
    ),
    "erfcx": (special.erfcx, lambda z: mpmath.exp(z * z) * mpmath.erfc(z), (0, 5), (-5, 5), 8),
    "loggamma": (special.loggamma, mpmath.loggamma, (0.5, 20), (-30, 30), 20),
    "loggamma left": (special.loggamma, mpmath.loggamma, (-20, 0.5), (-8, 8), 20),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("name", COMPLEX)
def test_accuracy_of_complex_functions(name, dtype):
    function, reference, x, y, bound = COMPLEX[name]
    least = 1 if function is special.loggamma else 0  # it has roots, where digits are lost
    places = complex_places(x, y).astype(dtype)
    with mpmath.workdps(40):
        wanted = np.array([complex(reference(mpmath.mpc(complex(z)))) for z in places])
    for got in (function(places), nr.jit(function)(places)):
        assert got.dtype == dtype
        error = np.abs(np.asarray(got) - wanted) / np.maximum(np.abs(wanted), least)
        assert error.max() <= bound * np.finfo(dtype).eps


def test_wofz_on_the_real_axis():
    x = np.array([3.0, -3.0, 0.0, 27.0])
    got, wanted = np.asarray(special.wofz(x)), scipy.special.wofz(x)
    np.testing.assert_allclose(got.real, wanted.real, rtol=1e-14)
    np.testing.assert_allclose(got.imag, wanted.imag, rtol=1e-14)


# ---------------------------------------------------------------- special values
SPECIAL = {
    "erfcx": [0, -0.0, INF, -INF, NAN, 1e-300, -27, 1e300],
    "dawsn": [0, -0.0, INF, -INF, NAN, 1e-300, 1e300],
    "exp1": [0, -0.0, INF, -INF, NAN, -1, 1e-300, 800],
    "expi": [0, -0.0, INF, -INF, NAN, 1e-300, -800, -1],
    "spence": [0, -0.0, 1, -1, NAN, 1e300, 1e-300],
    "sici": [0, -0.0, INF, NAN, 1e300, 1e-300, -2, 1e17],
    "fresnel": [0, -0.0, INF, -INF, NAN, 1e300, 1e-300, -2, 1e17],
    "loggamma": [0, 1, 2, -1, -1.5, INF, NAN],
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name):
    x = np.array(SPECIAL[name], float)
    got, wanted = getattr(special, name)(x), getattr(scipy.special, name)(x)
    for ours, theirs in zip(nr.tree.leaves(got), nr.tree.leaves(wanted), strict=True):
        # 1e-17: integrals that swing around 0, at large numbers
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-17)
        clear = np.isfinite(theirs) & (x != 0)
        np.testing.assert_array_equal(np.signbit(ours)[clear], np.signbit(theirs)[clear])


GRIDS = {
    "owens_t": ([0, 1, -1, INF, -INF, NAN, 40], [0, 1, -1, 2, 0.5, INF, -INF, NAN]),
    "boxcox": ([0, 1, -1, 2, INF, NAN, 1e-300], [0, 1, -1, 2, 0.5, 1e-12, NAN]),
    "boxcox1p": ([0, 1, -1, -2, 2, INF, NAN, 1e-300], [0, 1, -1, 2, 0.5, 1e-12, NAN]),
    "comb": ([0, 1, -1, 2, 5.5, 10, 60, NAN], [0, 1, -1, 2, 0.5, 5, 30, NAN]),
    "expn": ([0, 1, -1, 2, 5, NAN], [0, 1, -1, 2, 0.5, INF, 50, NAN]),
    "hyp1f1": ([1, 2, 0.5, -2.5], [1, 2, 0.5, -1, 3], [0, 1, -1, 0.5, -300, 20, 50]),
    "hyp2f1": ([0, 1, -1, 0.5, -2.5], [1, 2, 0.5, -2], [1, 2, 0.5, 3],
               [0, 0.5, -0.5, 1, -1, -5, 0.95, 0.99]),
}  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_special_values_of_several_arguments(name):
    places = [x.ravel() for x in np.meshgrid(*[np.array(x, float) for x in GRIDS[name]])]
    wanted = getattr(scipy.special, name)(*places)
    np.testing.assert_allclose(getattr(special, name)(*places), wanted, rtol=1e-11, atol=1e-15)


def test_hypergeometric_beyond_1_is_complex():
    assert np.isnan(special.hyp2f1(0.5, 1.0, 2.0, 1.5))


# ---------------------------------------------------------------- orders and numbers
def test_bessel_jn():
    z = np.concatenate([[0.0, 1e-200, 1e-3, 0.05], RNG.uniform(-20, 20, 30)])
    got = np.asarray(special.bessel_jn(z, v=10))
    wanted = [scipy.special.jv(n, z) for n in range(11)]
    assert got.shape == (11, *z.shape)
    # relative to the largest value near z; and tiny ones on their own
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-14)
    assert got[3, 2] == pytest.approx(scipy.special.jv(3, 1e-3), rel=1e-12)
    np.testing.assert_allclose(nr.jit(lambda z: special.bessel_jn(z, v=10))(z), got, rtol=1e-11)


def test_bernoulli():
    with nr.config.using(default_float="float64"):
        wanted = [float(mpmath.bernoulli(k)) for k in range(41)]
        np.testing.assert_allclose(special.bernoulli(40), wanted, rtol=1e-15)
        assert special.bernoulli(0).shape == (1,)
        assert np.isinf(special.bernoulli(270)[-1])


def test_comb():
    n, k = np.meshgrid(np.arange(40), np.arange(40))
    wanted = np.vectorize(math.comb)(n, k)
    np.testing.assert_array_equal(special.comb(n.astype(float), k.astype(float)), wanted)
    many = special.comb(np.float64(5), np.float64(3), repetition=True)
    assert float(many) == scipy.special.comb(5, 3, repetition=True)
    large = special.comb(np.float64(1000), np.float64(300))
    assert float(large) == pytest.approx(scipy.special.comb(1000, 300), rel=1e-11)


@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_legendre_functions_of_all_orders(n):
    z = np.array([-1.0, -0.9, -0.3, 0.0, 0.5, 0.99, 1.0])
    every = scipy.special.assoc_legendre_p_all(n, n, z, diff_n=1)
    wanted, wanted_slopes = every[:, :, : n + 1].transpose(0, 2, 1, 3)
    largest = np.abs(wanted).max()
    values, slopes = special.lpmn(n, n, z)
    # Both are recurrences of n steps, in which what is small at the ends cancels.
    np.testing.assert_allclose(values, wanted, rtol=1e-12, atol=1e-15 * largest)
    np.testing.assert_allclose(slopes, wanted_slopes, rtol=1e-11, atol=1e-12 * largest)
    np.testing.assert_array_equal(special.lpmn_values(n, n, z, False), values)
    normalized = special.lpmn_values(n, n, z, True)
    for m in range(n + 1):
        harmonic = scipy.special.sph_harm_y(n, m, np.arccos(z), 0.0).real
        np.testing.assert_allclose(normalized[m, n], harmonic, rtol=1e-12, atol=1e-14)
    f32 = nr.jit(lambda z: special.lpmn_values(n, n, z, True))(z.astype(np.float32))
    assert f32.dtype == np.float32
    np.testing.assert_allclose(f32, normalized, rtol=1e-4, atol=1e-5)  # sqrt(1 - z) loses digits


def test_errors_of_legendre_functions():
    with pytest.raises(NotImplementedError, match="lpmn: m and n must be one number .*2 and 3"):
        special.lpmn(2, 3, np.ones(2))
    with pytest.raises(TypeError, match="lpmn_values: z must be f32 or f64; got i64"):
        special.lpmn_values(2, 2, np.arange(2), True)
    with pytest.raises(ValueError, match="lpmn: z must be of rank 1; got f64"):
        special.lpmn(2, 2, np.ones((2, 2)))


def test_spherical_harmonics():
    n = np.array([0, 1, 2, 3, 5, 9, 9, 4, 2, 30])
    m = np.array([0, -1, 1, 0, -5, 3, 9, -4, 3, -17])
    theta, phi = RNG.uniform(0, np.pi, 10), RNG.uniform(0, 6, 10)
    wanted = scipy.special.sph_harm_y(n, m, theta, phi)
    np.testing.assert_allclose(special.sph_harm_y(n, m, theta, phi), wanted, atol=1e-14)
    jitted = nr.jit(lambda *xs: special.sph_harm_y(*xs, n_max=30))(n, m, theta, phi)
    np.testing.assert_allclose(jitted, wanted, atol=1e-14)


# ---------------------------------------------------------------- derivatives
SLOPES = [
    (special.erfcx, (0.7,)), (special.erfcx, (-1.2,)), (special.dawsn, (0.7,)),
    (special.dawsn, (5.0,)), (special.dawsn, (30.0,)), (special.exp1, (0.5,)),
    (special.exp1, (3.0,)), (special.expi, (0.5,)), (special.expi, (-2.0,)),
    (special.expi, (9.0,)), (special.spence, (0.3,)), (special.spence, (1.0,)),
    (special.spence, (1.0005,)), (special.spence, (4.0,)), (special.sici, (0.5,)),
    (special.sici, (-5.0,)), (special.fresnel, (0.5,)), (special.fresnel, (-3.0,)),
    (special.owens_t, (0.7, 1.5)), (special.boxcox, (2.5, 0.0)), (special.boxcox, (2.5, 1e-5)),
    (special.boxcox, (2.5, 0.5)), (lambda x: special.expn(3.0, x), (0.7,)),
    (lambda x: special.expn(0.0, x), (0.7,)), (lambda x: special.expn(2.0, x), (3.0,)),
    (lambda x: special.hyp1f1(1.5, 2.5, x), (0.7,)),
    (lambda x: special.hyp2f1(1.5, 2.5, 0.7, x), (0.3,)),
    (lambda x: special.bessel_jn(x, v=3), (1.7,)),
    (lambda x: special.comb(x, 3.0), (7.2,)),
    (lambda t: special.sph_harm_y(np.array(3), np.array(-2), t, 0.2).real, (0.7,)),
]  # fmt: skip


@pytest.mark.parametrize("function, at", SLOPES)
def test_derivatives(function, at):
    check_grads(function, tuple(np.float64(x) for x in at), 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "function, at, names",
    [
        (special.expn, (2.0, 0.3), "n"),
        (special.hyp1f1, (1.0, 2.0, 0.3), "ab"),
        (special.hyp2f1, (1.0, 2.0, 3.0, 0.3), "abc"),
    ],
)
def test_derivatives_that_are_not_there(function, at, names):
    for i, name in enumerate(names):
        for transform in (nr.grad, nr.jacfwd):
            with pytest.raises(NotImplementedError, match=f"with respect to {name} is not defined"):
                transform(function, argnums=i)(*at)
    batched = nr.vmap(function, (0, *[None] * (len(at) - 1)))(np.full(2, at[0]), *at[1:])
    np.testing.assert_allclose(batched, float(function(*at)), rtol=1e-6)


def test_errors():
    with pytest.raises(TypeError, match="dawsn: real numbers were expected; got c128"):
        special.dawsn(np.array(1j))
    with pytest.raises(ValueError, match="bessel_jn: v must not be negative"):
        special.bessel_jn(1.0, v=-1)
    with pytest.raises(ValueError, match="bernoulli: n must not be negative; got -1"):
        special.bernoulli(-1)
    with pytest.raises(NotImplementedError, match="sph_harm_y: diff_n must be None"):
        special.sph_harm_y(1, 1, 0.1, 0.1, diff_n=1)
    with pytest.raises(TypeError, match="degrees and orders must be integers"):
        special.sph_harm_y(1.0, 1, 0.1, 0.1)
