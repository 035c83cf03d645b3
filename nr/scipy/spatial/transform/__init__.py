"""Rotations in space, with the names of jax.scipy.spatial.transform."""

from nr.scipy.spatial.transform.rotation import Rotation
from nr.scipy.spatial.transform.slerp import Slerp

__all__ = ["Rotation", "Slerp"]
