"""A line search for the strong Wolfe conditions: bracketing, then zooming with cubics.

J. Nocedal and S. Wright (2006), Numerical Optimization, algorithms 3.5 and 3.6, equation 3.59.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array

__all__ = ["LineSearch", "line_search"]

_SUFFICIENT_DECREASE = 1e-4
_CURVATURE = 0.9
_BRACKETING, _ZOOMING, _FOUND = 0, 1, 2


class _Point(NamedTuple):
    """A place on the line, the function there and its slope along the line."""

    step: Array
    value: Array
    slope: Array


class _State(NamedTuple):
    stage: Array
    evaluations: Array
    trial: Array
    low: _Point  # the best so far
    high: _Point  # the interval's other end, while zooming
    gradient: Array  # at low


class LineSearch(NamedTuple):
    """What a search found: the step, value and gradient there, how many evaluations it took.

    status is 0 if the conditions hold, else 3 where zooming and 5 where bracketing ended early.
    """

    step: Array
    value: Array
    gradient: Array
    evaluations: Array
    status: Array


def line_search(
    value_and_grad: Callable[[Any], tuple[Array, Array]],
    x: Array,
    direction: Array,
    value: Array,
    gradient: Array,
    first: Array,
    maxiter: int,
) -> LineSearch:
    """Search along x + a direction, from the step `first` on, with at most maxiter evaluations."""
    slope = jnp.vdot(gradient, direction)
    start = _Point(jnp.zeros_like(value), value, slope)

    def body(state: _State) -> _State:
        new_value, new_gradient = value_and_grad(x + state.trial * direction)
        new = _Point(state.trial, new_value, jnp.vdot(new_gradient, direction))
        low, high = state.low, state.high
        bracketing = state.stage == _BRACKETING
        bound = value + _SUFFICIENT_DECREASE * new.step * slope
        # written so that NaN is too high
        too_high = ~(new.value <= bound) | (
            (new.value >= low.value) & (~bracketing | (state.evaluations > 0))
        )
        found = ~too_high & (jnp.abs(new.slope) <= -_CURVATURE * slope)
        # the side of new on which a minimum is known to lie: before it, or up to the other end
        turned = jnp.where(bracketing, new.slope >= 0, new.slope * (high.step - low.step) >= 0)
        next_high = _choose(too_high, new, _choose(turned, low, high))
        next_low = _choose(too_high, low, new)
        stage = jnp.where(
            found,
            _FOUND,
            jnp.where(bracketing & ~too_high & ~turned, _BRACKETING, _ZOOMING),
        )
        trial = jnp.where(stage == _BRACKETING, 2 * new.step, _between(next_low, next_high))
        return _State(
            stage.astype(state.stage.dtype),
            state.evaluations + 1,
            trial,
            next_low,
            next_high,
            jnp.where(too_high, state.gradient, new_gradient),
        )

    def unfinished(state: _State) -> Array:
        return (state.stage != _FOUND) & (state.evaluations < maxiter)

    zero = jnp.zeros((), "int32")
    init = _State(zero, zero, first.astype(value.dtype), start, start, gradient)
    last = lax.while_loop(unfinished, body, init)
    status = jnp.where(last.stage == _FOUND, 0, jnp.where(last.stage == _ZOOMING, 3, 5))
    return LineSearch(
        last.low.step, last.low.value, last.gradient, last.evaluations, status.astype("int32")
    )


def _choose(condition: Array, a: _Point, b: _Point) -> _Point:
    return _Point(*[jnp.where(condition, x, y) for x, y in zip(a, b)])


def _between(a: _Point, b: _Point) -> Array:
    """The minimum of the cubic through two points, or the middle if that is no good."""
    width = b.step - a.step
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / jnp.where(width == 0, 1, -width)
    square = d1 * d1 - a.slope * b.slope
    d2 = jnp.sign(width) * jnp.sqrt(jnp.maximum(square, 0))
    bottom = b.slope - a.slope + 2 * d2
    at = (b.slope + d2 - d1) / jnp.where(bottom == 0, 1, bottom)
    part = 1 - at
    good = (square >= 0) & (bottom != 0) & (part >= 0.1) & (part <= 0.9)
    return a.step + width * jnp.where(good, part, 0.5)
