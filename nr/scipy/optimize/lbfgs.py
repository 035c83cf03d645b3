"""The BFGS method with limited memory: the last pairs of differences stand for the Hessian.

J. Nocedal and S. Wright (2006), Numerical Optimization, algorithms 7.4 and 7.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.optimize.bfgs import UNFINISHED
from nr.scipy.optimize.line_search import line_search
from nr.transforms.derivatives import value_and_grad

__all__ = ["minimize"]


class _State(NamedTuple):
    status: Array
    steps: Array
    evaluations: Array
    x: Array
    value: Array
    gradient: Array
    moves: Array  # [maxcor, n], the newest last
    changes: Array  # of the gradient
    weights: Array  # 1 / (move . change), 0 where there is no pair


def minimize(
    fun: Callable,
    x0: Array,
    maxiter: float | None = None,
    norm: Any = math.inf,
    maxcor: int = 10,
    ftol: float = 2.220446049250313e-09,
    gtol: float = 1e-05,
    maxfun: float | None = None,
    maxgrad: float | None = None,
    maxls: int = 20,
) -> _State:
    """Minimize a function from x0; the state that it ended with."""
    steps_limit = math.inf if maxiter is None else maxiter
    value_limit = math.inf if maxfun is None else maxfun
    gradient_limit = math.inf if maxgrad is None else maxgrad
    both = value_and_grad(fun)
    value, gradient = both(x0)

    def small(gradient: Array) -> Array:
        return jnp.linalg.norm(gradient, ord=norm) < gtol

    def body(state: _State) -> _State:
        direction = _direction(state)
        # Until there is a pair, the gradient says nothing about the length of steps.
        size = jnp.where(state.steps == 0, jnp.linalg.norm(state.gradient), 1)
        first = jnp.minimum(1, 1 / jnp.where(size > 0, size, 1))
        found = line_search(both, state.x, direction, state.value, state.gradient, first, maxls)
        move, change = found.step * direction, found.gradient - state.gradient
        curvature = jnp.vdot(move, change)
        positive = curvature > 0
        weight = jnp.where(positive, 1 / jnp.where(positive, curvature, 1), 0)
        steps, evaluations = state.steps + 1, state.evaluations + found.evaluations
        status = jnp.full((), UNFINISHED)
        for holds, code in (
            (state.value - found.value < ftol, 4),
            (evaluations >= gradient_limit, 3),
            (evaluations >= value_limit, 2),
            (steps >= steps_limit, 1),
            (found.status > 0, 5),
            (small(found.gradient), 0),
        ):
            status = jnp.where(holds, code, status)
        return _State(
            status.astype("int32"),
            steps,
            evaluations,
            state.x + move,
            found.value,
            found.gradient,
            _appended(state.moves, move),
            _appended(state.changes, change),
            _appended(state.weights, weight),
        )

    pairs = jnp.zeros((maxcor, x0.shape[0]), x0.dtype)
    status = jnp.where(small(gradient), 0, UNFINISHED if steps_limit > 0 else 1)
    init = _State(
        status.astype("int32"),
        jnp.zeros((), "int32"),
        jnp.ones((), "int32"),
        x0,
        value,
        gradient,
        pairs,
        pairs,
        jnp.zeros(maxcor, x0.dtype),
    )
    return lax.while_loop(lambda state: state.status == UNFINISHED, body, init)


def _appended(rows: Array, row: Array) -> Array:
    return jnp.concatenate([rows[1:], row[None]])


def _direction(state: _State) -> Array:
    """Minus the inverse Hessian times the gradient: algorithm 7.4, with equation 7.20's scale."""
    pairs = (state.moves, state.changes, state.weights)

    def back(q: Array, pair: Any) -> tuple[Array, Array]:
        move, change, weight = pair
        alpha = weight * jnp.vdot(move, q)
        return q - alpha * change, alpha

    def forth(r: Array, pair: Any) -> tuple[Array, None]:
        move, change, weight, alpha = pair
        return r + (alpha - weight * jnp.vdot(change, r)) * move, None

    q, alphas = lax.scan(back, state.gradient, pairs, reverse=True)
    size = jnp.vdot(state.changes[-1], state.changes[-1]) * state.weights[-1]
    r = q / jnp.where(size > 0, size, 1)
    return -lax.scan(forth, r, (*pairs, alphas))[0]
