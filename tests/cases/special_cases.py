"""Op cases of nr.lax.special; the references are SciPy's, in float64."""

import numpy as np
import scipy.special as scipy_special

import nr
from tests.cases.base import FLOATS, OpCase, normal, positive, unit

LAX = nr.lax
SHAPES = [(7,), (2, 3), (), (0, 3)]


def _double(reference):
    return lambda *xs: reference(*[np.asarray(x, np.float64) for x in xs])


def _unary(name, reference, sample, note=""):
    return [
        OpCase(
            f"{name} {note}{shape}",
            getattr(LAX, name),
            lambda rng, dt, shape=shape: (sample(rng, dt, shape),),
            _double(reference),
            FLOATS,
            primitive=name,
        )
        for shape in SHAPES
    ]


def _wide(rng, dt, shape):
    return (normal(rng, dt, shape) * 4).astype(dt)


def _off_integers(rng, dt, shape):
    """Negative numbers away from the poles at the integers, and positive ones."""
    return (np.floor(_wide(rng, dt, shape)) + 0.5 + unit(rng, dt, shape) * 0.25).astype(dt)


def _inside(rng, dt, shape):
    """Numbers in (0, 1), away from both ends."""
    return (unit(rng, dt, shape) * 0.45 + 0.5).astype(dt)


def _order(rng, dt, shape):
    return rng.integers(0, 4, shape).astype(dt)


def _above(low):
    return lambda rng, dt, shape: (positive(rng, dt, shape) + low).astype(dt)


UNARY = [
    *_unary("erf", scipy_special.erf, normal),
    *_unary("erfc", scipy_special.erfc, normal),
    *_unary("erf_inv", scipy_special.erfinv, lambda *a: (unit(*a) * 0.9).astype(a[1])),
    *_unary("lgamma", scipy_special.gammaln, positive),
    *_unary("lgamma", scipy_special.gammaln, _off_integers, "signs "),
    *_unary("digamma", scipy_special.digamma, positive),
    *_unary("digamma", scipy_special.digamma, _off_integers, "signs "),
    *_unary("bessel_i0e", scipy_special.i0e, _wide),
    *_unary("bessel_i1e", scipy_special.i1e, _wide),
]


def _several(name, reference, samples, shapes, grad, primitive=None):
    return OpCase(
        f"{name} {', '.join(map(str, shapes))}",
        getattr(LAX, name),
        lambda rng, dt: tuple(s(rng, dt, shape) for s, shape in zip(samples, shapes, strict=True)),
        _double(reference),
        FLOATS,
        grad=grad,
        tol={"float64": 1e-10} if "grad" in name else {},  # what the reference's differences keep
        primitive=primitive or name,
    )


def _slope_of_gammainc(a, x):
    """By differences of the sixth order; what the step leaves is some 1e-12."""
    h = 1e-3 * a
    steps = zip((1, 2, 3), (45, -9, 1), strict=True)
    f = scipy_special.gammainc
    return sum(w * (f(a + k * h, x) - f(a - k * h, x)) for k, w in steps) / (60 * h)


def _slope_of_gammaincinv(a, x):
    density = np.exp((a - 1) * np.log(x) - x - scipy_special.gammaln(a))
    return -_slope_of_gammainc(a, x) / density


PAIRS = [((5,), (5,)), ((), (2, 3)), ((2, 3), ()), ((), ()), ((0,), (0,))]
TRIPLES = [((5,), (5,), (5,)), ((), (), (2, 3)), ((4,), (), (4,)), ((2, 2), (2, 2), ())]

SEVERAL = [
    *[
        _several(name, reference, samples, shapes, (1,))
        for name, reference, samples in (
            ("igamma", scipy_special.gammainc, (positive, positive)),
            ("igammac", scipy_special.gammaincc, (positive, positive)),
            ("igamma_grad_a", _slope_of_gammainc, (positive, positive)),
            ("random_gamma_grad", _slope_of_gammaincinv, (positive, positive)),
            ("polygamma", scipy_special.polygamma, (_order, _above(0.5))),
            ("zeta", scipy_special.zeta, (_above(1.25), _above(0.25))),
        )
        for shapes in PAIRS
    ],
    *[
        _several(
            "betainc",
            scipy_special.betainc,
            (positive, positive, _inside),
            shapes,
            (2,),
            "regularized_incomplete_beta",
        )
        for shapes in TRIPLES
    ],
]

CASES = [*UNARY, *SEVERAL]
