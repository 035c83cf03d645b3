"""`Slerp`: rotations between rotations."""

from __future__ import annotations

import dataclasses
from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.core.tree_nodes import register_dataclass
from nr.numpy.promotion import promote_inexact
from nr.scipy.spatial.transform.rotation import Rotation

__all__ = ["Slerp"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class Slerp:
    """Spherical linear interpolation: from one rotation to the next at constant speed.

    K. Shoemake (1985), "Animating rotation with quaternion curves". It is made by `Slerp.init`,
    and is a function of times.

    Attributes:
        times: ``[k]``, ascending.
        timedelta: ``[k - 1]``, their differences.
        rotations: the rotations at times, but for the last.
        rotvecs: ``[k - 1, 3]``, from each rotation to the next.

    Example:
        >>> import nr.numpy as jnp
        >>> turns = Rotation.from_euler("z", jnp.array([[0.], [90.]]), degrees=True)
        >>> Slerp.init(jnp.array([0., 1.]), turns)(0.5).as_euler("xyz", degrees=True).round(2) + 0.0
        Array([ 0.,  0., 45.], dtype=float32)
    """

    times: Array
    timedelta: Array
    rotations: Rotation
    rotvecs: Array

    @classmethod
    def init(cls, times: Any, rotations: Rotation) -> Slerp:
        """From at least two rotations and their times."""
        (times,) = promote_inexact("Slerp.init", times)
        if rotations.single or len(rotations) < 2 or times.shape != (len(rotations),):
            count = 1 if rotations.single else len(rotations)
            raise ValueError(
                f"Slerp.init: two rotations or more, and as many times, were expected; got {count} "
                f"and {times.aval}."
            )
        before, after = rotations[:-1], rotations[1:]
        return cls(times, jnp.diff(times), before, (before.inv() * after).as_rotvec())

    def __call__(self, times: Any) -> Rotation:
        (times,) = promote_inexact("Slerp", times)
        flat = jnp.atleast_1d(times)
        last = self.rotvecs.shape[0] - 1
        index = jnp.clip(jnp.searchsorted(self.times, flat, side="right") - 1, 0, last)
        part = (flat - self.times[index]) / self.timedelta[index]
        between = self.rotations[index] * Rotation.from_rotvec(self.rotvecs[index] * part[:, None])
        return between if times.ndim else between[0]
