"""Clusters, with the names of jax.scipy.cluster."""

from nr.scipy.cluster import vq

__all__ = ["vq"]
