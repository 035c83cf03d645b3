"""`Rotation`: one rotation in space, or an array of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr import numpy as jnp
from nr import random as nr_random
from nr.core.array import Array
from nr.core.tree_nodes import register_dataclass
from nr.numpy.promotion import promote_inexact
from nr.scipy.spatial.transform import quaternions

__all__ = ["Rotation"]


def _floating(op: str, x: Any, *shapes: tuple[Any, ...]) -> Array:
    """x as a floating array whose last dimensions are one of some shapes."""
    (x,) = promote_inexact(f"Rotation.{op}", jnp.asarray(x))
    for shape in shapes:
        if x.ndim in (len(shape), len(shape) + 1) and x.shape[x.ndim - len(shape) :] == shape:
            return x
    wanted = " or ".join(
        f"[{n}] or [k, {n}]" for n in [", ".join(map(str, shape)) for shape in shapes]
    )
    raise ValueError(f"Rotation.{op}: an array {wanted} was expected; got {x.aval}.")


@register_dataclass
@dataclasses.dataclass(frozen=True)
class Rotation:
    """Rotations as unit quaternions; a pytree, made by the class methods ``from_...``.

    Attributes:
        quat: ``[4]`` for one, ``[k, 4]`` for several: x, y, z, w.

    Example:
        >>> import nr.numpy as jnp
        >>> turn = Rotation.from_euler("z", 90.0, degrees=True)
        >>> (turn * turn).apply(jnp.array([1., 0., 0.])).round(4) + 0.0
        Array([-1.,  0.,  0.], dtype=float32)
    """

    quat: Array

    # ------------------------------------------------------------ from other forms
    @classmethod
    def concatenate(cls, rotations: Sequence[Rotation]) -> Rotation:
        """Several rotations, one after another."""
        return cls(jnp.concatenate([jnp.atleast_2d(r.quat) for r in rotations]))

    @classmethod
    def from_euler(cls, seq: str, angles: Any, degrees: bool = False) -> Rotation:
        """From angles about a sequence of axes.

        Args:
            seq: one to three of "x", "y", "z", for axes that stay; in capital letters, for axes
                that the rotations before have turned.
            angles: ``[len(seq)]`` or ``[k, len(seq)]``; for one axis also a number or ``[k]``.
            degrees: whether angles are degrees.
        """
        axes, turning = quaternions.axes_of("Rotation.from_euler", seq)
        (values,) = promote_inexact("Rotation.from_euler", jnp.asarray(angles))
        if len(axes) == 1 and values.ndim < 2 and values.shape != (1,):
            values = values[..., None]
        values = _floating("from_euler", values, (len(axes),))
        if degrees:
            values = jnp.deg2rad(values)
        return cls(quaternions.from_euler(axes, turning, values))

    @classmethod
    def from_matrix(cls, matrix: Any) -> Rotation:
        """From orthogonal matrices ``[..., 3, 3]`` of determinant 1."""
        return cls(quaternions.from_matrix(_floating("from_matrix", matrix, (3, 3))))

    @classmethod
    def from_mrp(cls, mrp: Any) -> Rotation:
        """From modified Rodrigues parameters ``[..., 3]``: the axis times tan(angle / 4)."""
        return cls(quaternions.from_mrp(_floating("from_mrp", mrp, (3,))))

    @classmethod
    def from_quat(cls, quat: Any) -> Rotation:
        """From quaternions ``[..., 4]``, which need not be of length 1."""
        return cls(quaternions.normalized(_floating("from_quat", quat, (4,))))

    @classmethod
    def from_rotvec(cls, rotvec: Any, degrees: bool = False) -> Rotation:
        """From vectors ``[..., 3]`` along the axis whose lengths are the angles."""
        vector = _floating("from_rotvec", rotvec, (3,))
        return cls(quaternions.from_rotvec(jnp.deg2rad(vector) if degrees else vector))

    @classmethod
    def identity(cls, num: int | None = None, dtype: Any = float) -> Rotation:
        """The rotation that changes nothing, or num of them."""
        lead = () if num is None else (num,)
        return cls(jnp.broadcast_to(jnp.array([0, 0, 0, 1], dtype), (*lead, 4)))

    @classmethod
    def random(cls, random_key: Any, num: int | None = None) -> Rotation:
        """A rotation, or num of them, of the uniform distribution."""
        lead = () if num is None else (num,)
        return cls.from_quat(nr_random.normal(random_key, (*lead, 4)))

    # ------------------------------------------------------------ as arrays of rotations
    @property
    def single(self) -> bool:
        """Whether this is one rotation, and no array of them."""
        return self.quat.ndim == 1

    def __len__(self) -> int:
        if self.single:
            raise TypeError("Rotation: a single rotation has no length.")
        return self.quat.shape[0]

    def __getitem__(self, indexer: Any) -> Rotation:
        if self.single:
            raise TypeError("Rotation: a single rotation has no items.")
        return Rotation(jnp.asarray(self.quat)[indexer])

    # ------------------------------------------------------------ what rotations do
    def __mul__(self, other: Rotation) -> Rotation:
        """The rotation other, followed by this one."""
        return Rotation(quaternions.compose(self.quat, other.quat))

    def inv(self) -> Rotation:
        """The rotation back."""
        return Rotation(self.quat * jnp.array([-1, -1, -1, 1], self.quat.dtype))

    def apply(self, vectors: Any, inverse: bool = False) -> Array:
        """The vectors ``[3]`` or ``[k, 3]``, rotated, or rotated back."""
        x = _floating("apply", vectors, (3,))
        matrix = self.as_matrix()
        return jnp.einsum("...ji,...j->...i" if inverse else "...ij,...j->...i", matrix, x)

    def magnitude(self) -> Array:
        """The angles, from 0 to pi."""
        size = jnp.linalg.norm(self.quat[..., :3], axis=-1)
        return 2 * jnp.arctan2(size, jnp.abs(self.quat[..., 3]))

    def mean(self, weights: Any = None) -> Rotation:
        """The mean of rotations, of weights ``[k]``.

        F. Markley et al. (2007), "Averaging quaternions": the largest eigenvector.
        """
        quat = jnp.atleast_2d(self.quat)
        weighted = quat if weights is None else quat * jnp.asarray(weights)[:, None]
        return Rotation(jnp.linalg.eigh(quat.T @ weighted)[1][:, -1])

    # ------------------------------------------------------------ as other forms
    def as_euler(self, seq: str, degrees: bool = False) -> Array:
        """Angles ``[..., 3]`` about a sequence of three axes; see `from_euler`.

        Where the first and the third axis coincide, one of the angles is 0.
        """
        axes, turning = quaternions.axes_of("Rotation.as_euler", seq)
        if len(axes) != 3:
            raise ValueError(f"Rotation.as_euler: three axes were expected; got {seq!r}.")
        angles = quaternions.to_euler(axes, turning, self.quat)
        return jnp.rad2deg(angles) if degrees else angles

    def as_matrix(self) -> Array:
        """Matrices ``[..., 3, 3]``."""
        return quaternions.to_matrix(self.quat)

    def as_mrp(self) -> Array:
        """Modified Rodrigues parameters ``[..., 3]``, of length 1 at most."""
        w = self.quat[..., 3:]
        return jnp.where(w < 0, -1, 1) * self.quat[..., :3] / (1 + jnp.abs(w))

    def as_quat(self, canonical: bool = False, scalar_first: bool = False) -> Array:
        """Quaternions ``[..., 4]``.

        Args:
            canonical: of the two that are the same rotation, the one with w > 0.
            scalar_first: w, x, y, z instead of x, y, z, w.
        """
        q = quaternions.canonical(self.quat) if canonical else self.quat
        return jnp.roll(q, 1, axis=-1) if scalar_first else q

    def as_rotvec(self, degrees: bool = False) -> Array:
        """Vectors ``[..., 3]`` along the axis whose lengths are the angles, up to pi."""
        vector = quaternions.to_rotvec(self.quat)
        return vector * (180 / np.pi) if degrees else vector
