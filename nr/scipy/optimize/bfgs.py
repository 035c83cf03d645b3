"""The BFGS method: Newton's, with an inverse Hessian that is learned from differences.

J. Nocedal and S. Wright (2006), Numerical Optimization, algorithm 6.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.optimize.line_search import line_search
from nr.transforms.derivatives import value_and_grad

__all__ = ["minimize"]

UNFINISHED = -1


class _State(NamedTuple):
    status: Array
    steps: Array
    evaluations: Array
    x: Array
    value: Array
    gradient: Array
    inverse: Array  # of the Hessian
    previous: Array  # the value before


def minimize(
    fun: Callable,
    x0: Array,
    maxiter: int | None = None,
    norm: Any = math.inf,
    gtol: float = 1e-5,
    line_search_maxiter: int = 10,
) -> _State:
    """Minimize a function from x0; the state that it ended with."""
    limit = x0.size * 200 if maxiter is None else maxiter
    both = value_and_grad(fun)
    n = x0.shape[0]
    value, gradient = both(x0)

    def small(gradient: Array) -> Array:
        return jnp.linalg.norm(gradient, ord=norm) < gtol

    def body(state: _State) -> _State:
        direction = -(state.inverse @ state.gradient)
        slope = jnp.vdot(state.gradient, direction)
        # The step that a parabola with the last decrease would take (equation 3.60).
        guess = 2.02 * (state.value - state.previous) / jnp.where(slope == 0, 1, slope)
        first = jnp.where((guess > 0) & (guess < 1), guess, 1)
        found = line_search(
            both, state.x, direction, state.value, state.gradient, first, line_search_maxiter
        )
        step = found.step * direction
        inverse = _updated(state.inverse, step, found.gradient - state.gradient)
        steps = state.steps + 1
        status = jnp.where(
            small(found.gradient),
            0,
            jnp.where(found.status > 0, found.status, jnp.where(steps >= limit, 1, UNFINISHED)),
        )
        return _State(
            status.astype("int32"),
            steps,
            state.evaluations + found.evaluations,
            state.x + step,
            found.value,
            found.gradient,
            inverse,
            state.value,
        )

    status = jnp.where(small(gradient), 0, UNFINISHED if limit > 0 else 1)
    init = _State(
        status.astype("int32"),
        jnp.zeros((), "int32"),
        jnp.ones((), "int32"),
        x0,
        value,
        gradient,
        jnp.eye(n, dtype=x0.dtype),
        value + jnp.linalg.norm(gradient) / 2,
    )
    return lax.while_loop(lambda state: state.status == UNFINISHED, body, init)


def _updated(inverse: Array, step: Array, change: Array) -> Array:
    """The inverse that maps the gradient's change to the step (equation 6.17)."""
    curvature = jnp.vdot(change, step)
    positive = curvature > 0
    rho = jnp.where(positive, 1 / jnp.where(positive, curvature, 1), 0)
    moved = inverse @ change
    scale = rho * (1 + rho * jnp.vdot(change, moved))
    crossed = jnp.outer(step, moved)
    return inverse + scale * jnp.outer(step, step) - rho * (crossed + crossed.T)
