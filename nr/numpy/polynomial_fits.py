"""Polynomials divided, their zeros, and fits of them to points."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core.array import Array
from nr.lax.shape import concatenate, full, slice_in_dim
from nr.numpy import linalg, reductions
from nr.numpy.creation import ones, zeros
from nr.numpy.grids import eye, vander
from nr.numpy.joining import trim_zeros
from nr.numpy.manipulation import as_operand
from nr.numpy.polynomials import coefficients
from nr.numpy.products import outer
from nr.numpy.promotion import promote_inexact
from nr.numpy.selection import where
from nr.numpy.sorting import argsort
from nr.numpy.ufuncs import abs as absolute
from nr.numpy.ufuncs import sqrt

__all__ = ["polydiv", "polyfit", "roots"]


def polydiv(u: Any, v: Any, *, trim_leading_zeros: bool = False) -> tuple[Array, Array]:
    """The quotient of two polynomials, and the remainder.

    Args:
        u: coefficients of the dividend, highest power first.
        v: coefficients of the divisor; the first must not be zero.
        trim_leading_zeros: drop leading zeros of the remainder; not for traced values.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.polydiv(jnp.array([1., 5., 7.]), jnp.array([1., 2.]))
        (Array([1., 3.], dtype=float32), Array([0., 0., 1.], dtype=float32))
    """
    u, v = promote_inexact("polydiv", *coefficients("polydiv", u, v))
    steps = u.size - v.size + 1
    quotient = []
    for k in range(max(steps, 0)):
        factor = u[k] / v[0]
        quotient.append(factor)
        u = u.at[k : k + v.size].add(-factor * v)
    result = zeros(1, u.dtype) if steps <= 0 else concatenate([q[None] for q in quotient], 0)
    return result, trim_zeros(u, "f") if trim_leading_zeros else u


def roots(p: Any, *, strip_zeros: bool = True) -> Array:
    """The zeros of a polynomial, as the eigenvalues of its companion matrix.

    Args:
        p: coefficients, highest power first.
        strip_zeros: drop leading and trailing zeros of p first, which decides how many zeros there
            are; not for traced values. Otherwise there are as many as p has coefficients, less one;
            NaNs stand at the end for those that leading zeros of p take away.

    Returns:
        Complex numbers.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.roots(jnp.array([2., 0., -8.])).real.sort()
        Array([-2.,  2.], dtype=float32)
    """
    (p,) = promote_inexact("roots", *coefficients("roots", p))
    n = p.size
    if not strip_zeros:
        return _roots_of_any(p)
    places = np.flatnonzero(np.asarray(p))
    if not len(places):
        return zeros(0, _dtype_of_roots(p))
    first, last = int(places[0]), int(places[-1])
    found = linalg.eigvals(_companion(slice_in_dim(p, first, last + 1)))
    return concatenate([found, full((n - 1 - last,), 0, found.dtype)], 0)


def _dtype_of_roots(p: Array) -> np.dtype:
    return np.result_type(p.dtype, np.complex64)


def _companion(p: Array) -> Array:
    n = p.size - 1
    if n < 1:
        return zeros((0, 0), p.dtype)
    return eye(n, k=-1, dtype=p.dtype).at[0].set(-p[1:] / p[0])


def _roots_of_any(p: Array) -> Array:
    """As many roots as there may be: leading zeros of p, counted at run time, give NaNs."""
    n = p.size - 1
    if n < 1:
        return zeros(0, _dtype_of_roots(p))
    leading = reductions.argmax(p != 0)
    shifted = where(np.arange(n + 1) + leading <= n, p[(np.arange(n + 1) + leading) % (n + 1)], 0)
    # Zeros that moved to the end are roots at 0; they are told from the others by their number.
    found = linalg.eigvals(_companion(shifted))
    order = argsort(-absolute(found))
    return where(np.arange(n) < n - leading, found[order], np.nan)


def polyfit(
    x: Any,
    y: Any,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Any = None,
    cov: bool | str = False,
) -> Any:
    """The polynomial of a degree that is closest to points, in the sum of squares.

    Args:
        x: where the points are, ``[m]``.
        y: their values, ``[m]`` or ``[m, k]``.
        deg: the degree.
        rcond: as for `linalg.lstsq`; by default m times the machine epsilon.
        full: also return residuals, rank, singular values and rcond.
        w: weights of the points (not squared), ``[m]``.
        cov: also return the covariance of the coefficients, scaled by the residuals' variance;
            "unscaled" leaves that out.

    Returns:
        The coefficients, highest power first, ``[deg + 1]`` or ``[deg + 1, k]``; and what full or
        cov ask for.

    Raises:
        ValueError: if deg is negative, or there are too few points for cov.
        TypeError: if shapes don't fit.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.polyfit(jnp.array([0., 1., 2.]), jnp.array([1., 3., 5.]), 1).round(4)
        Array([2., 1.], dtype=float32)
    """
    if deg < 0:
        raise ValueError(f"polyfit: deg must not be negative; got {deg}.")
    x, y = promote_inexact("polyfit", x, y)
    if x.ndim != 1 or not x.size or y.ndim not in (1, 2) or y.shape[0] != x.size:
        raise TypeError(
            f'polyfit: shapes [m] for "x" and [m] or [m, k] for "y" were expected, m not 0; got '
            f"{x.aval} and {y.aval}."
        )
    order = deg + 1
    rcond = x.size * float(np.finfo(x.dtype).eps) if rcond is None else rcond
    left, right = vander(x, order), y
    if w is not None:
        w = as_operand("polyfit", w).astype(x.dtype)
        if w.shape != x.shape:
            raise TypeError(f'polyfit: "w" must have the shape of "x"; got {w.aval} for {x.aval}.')
        left, right = left * w[:, None], right * (w if y.ndim == 1 else w[:, None])
    # Columns of one length make the problem better conditioned.
    scale = sqrt(reductions.sum(left * left, 0))
    c, residuals, rank, singular = linalg.lstsq(left / scale, right, rcond)
    c = (c.T / scale).T
    if full:
        return c, residuals, rank, singular, as_operand("polyfit", rcond)
    if not cov:
        return c
    base = linalg.inv(left.T @ left / outer(scale, scale)) / outer(scale, scale)
    if cov == "unscaled":
        factor = ones((), base.dtype)
    else:
        if x.size <= order:
            raise ValueError(
                f"polyfit: the covariance needs more than {order} points for degree {deg}; got "
                f"{x.size}."
            )
        factor = residuals / (x.size - order)
    return c, base * factor if y.ndim == 1 else base[:, :, None] * factor
