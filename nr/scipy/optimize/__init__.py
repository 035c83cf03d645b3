"""Minimization of functions of a vector, with the names of jax.scipy.optimize."""

from nr.scipy.optimize.minimize import OptimizeResults, minimize

__all__ = ["OptimizeResults", "minimize"]
