"""Unit quaternions (x, y, z, w), and what else rotations are written as: functions of arrays.

J. Diebel (2006), "Representing attitude: Euler angles, unit quaternions, and rotation vectors".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr import numpy as jnp
from nr.core.array import Array

__all__ = [
    "canonical",
    "compose",
    "from_euler",
    "from_matrix",
    "from_mrp",
    "from_rotvec",
    "normalized",
    "to_euler",
    "to_matrix",
    "to_rotvec",
]


def normalized(q: Array) -> Array:
    return q / jnp.linalg.norm(q, axis=-1, keepdims=True)


def canonical(q: Array) -> Array:
    """Of q and -q, which are the same rotation, the one whose last nonzero element is positive."""
    x, y, z, w = [q[..., i] for i in range(4)]
    minus = (w < 0) | ((w == 0) & ((x < 0) | ((x == 0) & ((y < 0) | ((y == 0) & (z < 0))))))
    return jnp.where(minus[..., None], -q, q)


def compose(p: Array, q: Array) -> Array:
    """The rotation q, followed by p."""
    vector = p[..., 3:] * q[..., :3] + q[..., 3:] * p[..., :3] + jnp.cross(p[..., :3], q[..., :3])
    scalar = p[..., 3:] * q[..., 3:] - jnp.sum(p[..., :3] * q[..., :3], -1, keepdims=True)
    return jnp.concatenate([vector, scalar], axis=-1)


# ---------------------------------------------------------------- rotation vectors
def from_rotvec(vector: Array) -> Array:
    square = jnp.sum(vector * vector, -1, keepdims=True)
    small = square < 1e-6
    angle = jnp.sqrt(jnp.where(small, 1, square))
    near = 0.5 - square / 48 + square * square / 3840  # of sin(angle / 2) / angle
    scale = jnp.where(small, near, jnp.sin(angle / 2) / angle)
    cosine = jnp.where(small, 1 - square / 8 + square * square / 384, jnp.cos(angle / 2))
    return jnp.concatenate([scale * vector, cosine], axis=-1)


def to_rotvec(q: Array) -> Array:
    q = canonical(q)
    vector, w = q[..., :3], q[..., 3:]
    square = jnp.sum(vector * vector, -1, keepdims=True)
    small = square < 1e-6
    sine = jnp.sqrt(jnp.where(small, 1, square))
    near = 2 + square / 3 + 3 * square * square / 20  # of 2 asin(s) / s
    scale = jnp.where(small, near, 2 * jnp.arctan2(sine, w) / sine)
    return scale * vector


def from_mrp(vector: Array) -> Array:
    """From modified Rodrigues parameters, the axis times tan(angle / 4)."""
    square = jnp.sum(vector * vector, -1, keepdims=True)
    return jnp.concatenate([2 * vector, 1 - square], axis=-1) / (1 + square)


# ---------------------------------------------------------------- matrices
def to_matrix(q: Array) -> Array:
    x, y, z, w = [q[..., i] for i in range(4)]
    rows = [
        [x * x - y * y - z * z + w * w, 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), y * y - x * x - z * z + w * w, 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), z * z - x * x - y * y + w * w],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def from_matrix(m: Array) -> Array:
    """S. Shepperd (1978), "Quaternion from rotation matrix": from the element that is largest."""
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    trace = xx + yy + zz
    above = [m[..., 2, 1], m[..., 0, 2], m[..., 1, 0]]
    below = [m[..., 1, 2], m[..., 2, 0], m[..., 0, 1]]
    # four times the products of each pair of elements
    wx, wy, wz = [a - b for a, b in zip(above, below)]
    yz, xz, xy = [a + b for a, b in zip(above, below)]
    squares = [1 + 2 * d - trace for d in (xx, yy, zz)] + [1 + trace]
    x, y, z, w = squares
    candidates = jnp.stack(
        [
            jnp.stack([x, xy, xz, wx], axis=-1),
            jnp.stack([xy, y, yz, wy], axis=-1),
            jnp.stack([xz, yz, z, wz], axis=-1),
            jnp.stack([wx, wy, wz, w], axis=-1),
        ],
        axis=-2,
    )
    largest = jnp.argmax(jnp.stack(squares, axis=-1), axis=-1)
    chosen = jnp.take_along_axis(candidates, largest[..., None, None], axis=-2)[..., 0, :]
    return normalized(chosen)


# ---------------------------------------------------------------- Euler angles
def axes_of(op: str, seq: str) -> tuple[list[int], bool]:
    """The axes of a sequence such as "xyz", and whether they turn along (capital letters)."""
    turning = seq.isupper()
    if not 1 <= len(seq) <= 3 or not (turning or seq.islower()) or set(seq.lower()) - set("xyz"):
        raise ValueError(
            f'{op}: one to three letters of "xyz", or of "XYZ", were expected; got {seq!r}.'
        )
    axes = ["xyz".index(letter) for letter in seq.lower()]
    if any(a == b for a, b in zip(axes, axes[1:])):
        raise ValueError(f"{op}: neighbouring axes must differ; got {seq!r}.")
    return axes, turning


def from_euler(axes: Sequence[int], turning: bool, angles: Array) -> Array:
    total = None
    for i, axis in enumerate(axes):
        half = angles[..., i] / 2
        parts = [jnp.zeros_like(half)] * 3 + [jnp.cos(half)]
        parts[axis] = jnp.sin(half)
        q = jnp.stack(parts, axis=-1)
        if total is None:
            total = q
        else:
            total = compose(total, q) if turning else compose(q, total)
    return total  # type: ignore[return-value]


def to_euler(axes: Sequence[int], turning: bool, q: Array) -> Array:
    """E. Bernardes and S. Viollet (2022), "Quaternion to Euler angles conversion", PLoS ONE 17(11).

    Where only the sum or the difference of two angles is known, the third of them is 0.
    """
    i, j, k = reversed(axes) if turning else axes
    proper = i == k
    if proper:
        k = 3 - i - j
    sign = (i - j) * (j - k) * (k - i) // 2
    parts = [q[..., axis] for axis in range(4)]
    if proper:
        a, b, c, d = parts[3], parts[i], parts[j], parts[k] * sign
    else:
        a, b = parts[3] - parts[j], parts[i] + parts[k] * sign
        c, d = parts[j] + parts[3], parts[k] * sign - parts[i]
    middle = 2 * jnp.arctan2(jnp.hypot(c, d), jnp.hypot(a, b))
    half_sum, half_difference = jnp.arctan2(b, a), jnp.arctan2(d, c)
    near = 1e-7
    at_start, at_end = jnp.abs(middle) <= near, jnp.abs(middle - np.pi) <= near
    locked = at_start | at_end
    first = jnp.where(
        at_start,
        2 * half_sum,
        jnp.where(at_end, -2 * half_difference, half_sum - half_difference),
    )
    third = jnp.where(locked, 0, half_sum + half_difference)
    if turning:
        # the third angle is the first of the sequence; it is the one that stays
        first, third = (
            jnp.where(locked, 0, first),
            jnp.where(at_start, 2 * half_sum, jnp.where(at_end, 2 * half_difference, third)),
        )
    if not proper:
        third = third * sign
        middle = middle - np.pi / 2
    angles = [third, middle, first] if turning else [first, middle, third]
    return jnp.stack([_within_a_turn(angle) for angle in angles], axis=-1)


def _within_a_turn(angle: Any) -> Any:
    angle = jnp.where(angle < -np.pi, angle + 2 * np.pi, angle)
    return jnp.where(angle > np.pi, angle - 2 * np.pi, angle)
