"""Distributions with SciPy's names: densities, their integrals and, where known, inverses."""

from nr.scipy.stats import (
    bernoulli,
    beta,
    cauchy,
    expon,
    gamma,
    laplace,
    logistic,
    norm,
    poisson,
    t,
    uniform,
)

__all__ = [
    "bernoulli",
    "beta",
    "cauchy",
    "expon",
    "gamma",
    "laplace",
    "logistic",
    "norm",
    "poisson",
    "t",
    "uniform",
]
