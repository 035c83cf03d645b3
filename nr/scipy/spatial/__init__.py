"""Geometry, with the names of jax.scipy.spatial."""

from nr.scipy.spatial import transform

__all__ = ["transform"]
