"""Integrals of sampled functions, with the names of jax.scipy.integrate."""

from nr.numpy import trapezoid

__all__ = ["trapezoid"]
