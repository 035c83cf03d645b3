"""Polynomials and convergence loops over arrays, for the special functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ._structure import Array

_CHECK_EVERY = 8  # testing and compressing costs about as much as a few steps


def horner(coefficients: Sequence[float], x: Array) -> Array:
    """Evaluate a polynomial, highest power first.

    Args:
        coefficients: at least two, from the highest power down to the constant.
        x: a float array of rank 1 or more.

    Returns:
        A new array of the shape and dtype of ``x``.

    Example:
        >>> import numpy as np
        >>> horner([1.0, 2.0, 3.0], np.array([10.0])).tolist()
        [123.0]
    """
    result = x * coefficients[0]
    result += coefficients[1]
    for coefficient in coefficients[2:]:
        result *= x
        result += coefficient
    return result


def clenshaw(coefficients: Sequence[float], t: Array) -> Array:
    """Evaluate a Chebyshev series by Clenshaw's recurrence (Clenshaw, 1955).

    Args:
        coefficients: of T0, T1, ..., at least two.
        t: points in [-1, 1].

    Returns:
        A new array of the shape of ``t``.

    Example:
        >>> import numpy as np
        >>> clenshaw([1.0, 2.0, 3.0], np.array([0.5])).tolist()
        [0.5]
    """
    twice = t + t
    later, latest = 0.0 * t, 0.0 * t
    for coefficient in coefficients[:0:-1]:
        later, latest = latest, twice * latest - later + coefficient
    return t * latest - later + coefficients[0]


def converge(
    xp: Any,
    state: tuple[Array, ...],
    step: Callable[..., tuple[tuple[Array, ...], Array]],
    limit: int,
) -> Array:
    """Iterate each element until it has converged, dropping those that have.

    Args:
        xp: the array module.
        state: arrays of one shape [n]; the first is the running result.
        step: called as ``step(k, *state)`` with k = 1, 2, ...; gives the next state and the
            mask of the elements that have converged.
        limit: the most steps to take.

    Returns:
        The first array of the state at convergence, shape [n].

    Example:
        >>> import numpy as np
        >>> def newton(k, root, square):
        ...     better = (root + square / root) / 2
        ...     return (better, square), abs(better - root) < 1e-12
        >>> converge(np, (np.ones(1), np.full(1, 9.0)), newton, 100).tolist()
        [3.0]
    """
    result = xp.empty_like(state[0])
    places = xp.arange(result.size)
    for k in range(1, limit + 1):
        state, done = step(k, *state)
        if k == limit:
            result[places] = state[0]
        elif k % _CHECK_EVERY == 0 and done.any():
            result[places[done]] = state[0][done]
            going = ~done
            places, state = places[going], tuple(part[going] for part in state)
            if not places.size:
                break
    return result
