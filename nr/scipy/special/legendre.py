"""Associated Legendre functions of all orders and degrees up to one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.lax.rules import operand

__all__ = ["lpmn", "lpmn_values"]


def lpmn(m: int, n: int, z: Any) -> tuple[Array, Array]:
    """Associated Legendre functions of the first kind, and their derivatives.

    The derivatives are those of DLMF 14.10.5, and their limits at -1 and 1.

    Args:
        m: the largest order; it must be n.
        n: the largest degree.
        z: f32[k] or f64[k], numbers from -1 to 1.

    Returns:
        Two arrays [m+1, n+1, k] of z's dtype, by order and degree; 0 where the order is larger.

    Example:
        >>> import nr.numpy as jnp
        >>> values, slopes = lpmn(1, 1, jnp.array([0.6]))
        >>> values[:, :, 0].round(2).tolist() == jnp.array([[1, 0.6], [0, -0.8]]).tolist()
        True
        >>> slopes[:, :, 0].round(2).tolist() == jnp.array([[0, 1], [0, 0.75]]).tolist()
        True
    """
    n, z = _arguments("lpmn", m, n, z)
    values = _by_recurrence(n, z, _plain(n))
    orders = np.arange(n + 1)[:, None, None].astype(z.dtype)
    degrees = np.arange(n + 1)[None, :, None].astype(z.dtype)
    below = jnp.pad(values[:, :-1], ((0, 0), (1, 0), (0, 0)))
    square = 1 - z * z
    inside = square > 0
    slopes = (orders + degrees) * below - degrees * z * values
    slopes = slopes / jnp.where(inside, square, 1)
    at_one = np.zeros((n + 1, n + 1, 1), z.dtype)
    at_one[:1] = (degrees * (degrees + 1) / 2)[:1]
    at_one[1:2, 1:] = np.inf
    at_one[2:3] = -((degrees - 1) * degrees * (degrees + 1) * (degrees + 2) / 4)
    odd = (orders + degrees) % 2 == 0  # in z, the derivative of what is even
    return values, jnp.where(inside, slopes, jnp.where(odd & (z < 0), -at_one, at_one))


def lpmn_values(m: int, n: int, z: Any, is_normalized: bool) -> Array:
    """Associated Legendre functions of the first kind.

    Args:
        m: the largest order; it must be n.
        n: the largest degree.
        z: f32[k] or f64[k], numbers from -1 to 1.
        is_normalized: whether they have the factor that makes spherical harmonics orthonormal.

    Returns:
        An array [m+1, n+1, k] of z's dtype, by order and degree; 0 where the order is larger.

    Example:
        >>> import nr.numpy as jnp
        >>> lpmn_values(1, 1, jnp.array([0.0]), False)[1, 1]
        Array([-1.], dtype=float32)
    """
    n, z = _arguments("lpmn_values", m, n, z)
    return _by_recurrence(n, z, _normalized(n) if is_normalized else _plain(n))


def _arguments(op: str, m: Any, n: Any, z: Any) -> tuple[int, Array]:
    z = operand(op, z)
    if z.dtype not in (np.float32, np.float64):
        raise TypeError(f"{op}: z must be f32 or f64; got {z.aval}. Convert it with .astype(...).")
    if z.ndim != 1:
        raise ValueError(f"{op}: z must be of rank 1; got {z.aval}. Use z.ravel().")
    m, n = m.__index__(), n.__index__()
    if m != n or n < 0:
        raise NotImplementedError(
            f"{op}: m and n must be one number that is not negative; got {m} and {n}. "
            f"Give the larger one for both, and take what is wanted of the result."
        )
    return n, z


# Factors of a recurrence in the degree l: P[l] = a[l] z P[l-1] - b[l] P[l-2] for orders below l,
# and P[l] = -c[l] sqrt(1 - z^2) P[l-1] from the order l - 1 to l.
_Factors = tuple[float, np.ndarray, np.ndarray, np.ndarray]


def _grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    degrees, orders = np.arange(n + 1.0)[:, None], np.arange(n + 1.0)
    return np.maximum(degrees, orders + 1), orders  # orders from the degree on have no use


def _plain(n: int) -> _Factors:
    """DLMF 14.10.3 and 14.7.15, with the phase of Condon and Shortley."""
    degrees, m = _grid(n)
    a, b = (2 * degrees - 1) / (degrees - m), (degrees + m - 1) / (degrees - m)
    return 1.0, a, b, np.abs(2 * np.arange(n + 1.0) - 1)


def _normalized(n: int) -> _Factors:
    """The same for functions times sqrt((2l + 1) / (4 pi) (l - m)! / (l + m)!), DLMF 14.30.1."""
    degrees, m = _grid(n)
    a = np.sqrt((4 * degrees**2 - 1) / (degrees**2 - m**2))
    before = np.maximum((degrees - 1) ** 2, 1.0)  # degree 0 has none before
    b = a * np.sqrt(np.maximum(before - m**2, 0) / (4 * before - 1))
    last = np.maximum(np.arange(n + 1.0), 1.0)
    return math.sqrt(0.25 / math.pi), a, b, np.sqrt((2 * last + 1) / (2 * last))


def _by_recurrence(n: int, z: Array, factors: _Factors) -> Array:
    first, *rest = factors
    a, b, c = [x.astype(z.dtype) for x in rest]
    orders = np.arange(n + 1)[:, None]
    sine = lax.sqrt((1 - z) * (1 + z))
    before = jnp.zeros((n + 1, *z.shape), z.dtype)
    rows = [jnp.where(orders == 0, jnp.full_like(z, first), before)]
    for degree in range(1, n + 1):
        inner = a[degree, :, None] * z * rows[-1] - b[degree, :, None] * before
        diagonal = -c[degree] * sine * rows[-1][degree - 1]
        row = jnp.where(orders < degree, inner, jnp.where(orders == degree, diagonal, 0))
        before = rows[-1]
        rows.append(row.astype(z.dtype))
    return jnp.stack(rows, axis=1)
