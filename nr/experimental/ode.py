"""`odeint`: solutions of ordinary differential equations, with derivatives by the adjoint equation.

The method is Dormand and Prince's pair of orders 5 and 4 (1980, J. Comput. Appl. Math. 6). How it
starts, chooses its steps and fills them in is E. Hairer, S. P. Norsett and G. Wanner (1993),
Solving Ordinary Differential Equations I, sections II.4 and II.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.core.trees import tree_map
from nr.flatten_util import ravel_pytree
from nr.transforms.custom_derivatives import custom_vjp
from nr.transforms.custom_gradient import closure_convert
from nr.transforms.derivatives import vjp
from nr.transforms.vmap import vmap

__all__ = ["odeint"]

_NODES = [1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0]
_STAGES = [  # the last one is the solution itself, of order 5
    [1 / 5],
    [3 / 40, 9 / 40],
    [44 / 45, -56 / 15, 32 / 9],
    [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
    [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    [35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
]
# What order 5 gives less what order 4 gives.
_ERROR = [71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40]
_DENSE = [
    -12715105075 / 11282082432,
    0.0,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
]
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 10.0  # of the factors by which steps change


class _Step(NamedTuple):
    y: Array
    slope: Array
    t: Array
    size: Array  # of the next step
    start: Array  # of the last step that was taken
    curve: Array  # the coefficients of the solution within it


class _Control(NamedTuple):
    rtol: Any
    atol: Any
    most_steps: Any
    largest: Any


def odeint(
    func: Callable,
    y0: Any,
    t: Any,
    *args: Any,
    rtol: float = 1.4e-8,
    atol: float = 1.4e-8,
    mxstep: float = math.inf,
    hmax: float = math.inf,
) -> Any:
    """The solution of ``dy/dt = func(y, t, *args)`` with ``y(t[0]) = y0``, at increasing times.

    Derivatives are of the equation's solution: the adjoint equation is solved backward in time, so
    that steps take no memory (Chen et al. 2018, Neural Ordinary Differential Equations).

    Args:
        func: of the state, the time and args; gives a pytree like the state.
        y0: the state at t[0], a pytree of real or complex arrays.
        t: the times, f[n], increasing.
        args: pytrees of floating arrays, with respect to which there are derivatives.
        rtol, atol: what a step may err by, relative to the state and absolutely.
        mxstep: how many steps may lie between two times.
        hmax: the largest step.

    Returns:
        The states, each leaf with a new leading axis of n.

    Raises:
        ValueError: if t has another rank than 1.

    Example:
        >>> import nr.numpy as jnp
        >>> from nr.experimental.ode import odeint
        >>> odeint(lambda y, t: -y, 1.0, jnp.array([0.0, 1.0, 2.0])).round(4)
        Array([1.    , 0.3679, 0.1353], dtype=float32)
    """
    times = _inexact(jnp.asarray(t))
    if times.ndim != 1:
        raise ValueError(f'odeint: times of rank 1 were required; got {times.aval} for "t".')
    flat, unravel = ravel_pytree(y0)
    flat = _inexact(flat)

    def slope(y: Array, t: Array, *args: Any) -> Array:
        return ravel_pytree(func(unravel(y), t, *args))[0].astype(y.dtype)

    closed, captured = closure_convert(slope, flat, times[0], *args)
    control = _Control(rtol, atol, mxstep, hmax)
    return vmap(unravel)(_solution(closed, control, flat, times, (*args, *captured)))


def _inexact(x: Array) -> Array:
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)


def _solution(func: Callable, control: _Control, y0: Array, times: Array, args: tuple) -> Array:
    @custom_vjp
    def solve(y0: Array, times: Array, args: tuple) -> Array:
        return _integrate(lambda y, t: func(y, t, *args), control, y0, times)

    def forward(y0: Array, times: Array, args: tuple) -> tuple:
        states = solve(y0, times, args)
        return states, (states, times, args)

    def backward(residuals: tuple, cotangent: Array) -> tuple:
        states, times, args = residuals
        return _adjoint(func, control, states, times, args, cotangent)

    solve.defvjp(forward, backward)
    return solve(y0, times, args)


def _adjoint(
    func: Callable, control: _Control, states: Array, times: Array, args: tuple, cotangent: Array
) -> tuple:
    """The cotangents of the first state, the times and args, from those of all states."""
    zeros = (jnp.zeros_like(states[0]), jnp.zeros_like(times[0]), tree_map(jnp.zeros_like, args))

    def back(carry: tuple, x: tuple) -> tuple:
        y, t, earlier, y_bar = x
        later_bar, first_bar, args_bar = carry
        t_bar = jnp.real(jnp.dot(func(y, t, *args), y_bar)).astype(t.dtype)
        start = (y, later_bar + y_bar, first_bar - t_bar, args_bar)
        flat, unravel = ravel_pytree(start)

        def slope(flat: Array, minus_t: Array, args: tuple) -> Array:
            y, y_bar, *_ = unravel(flat)
            slope, pull = vjp(func, y, -minus_t, *args)
            y_dot, t_dot, *args_dot = pull(y_bar)
            return ravel_pytree((-slope, y_dot, t_dot, args_dot))[0].astype(flat.dtype)

        end = _solution(slope, control, flat, jnp.stack([-t, -earlier]), (args,))[1]
        return unravel(end)[1:], t_bar

    steps = (states[1:], times[1:], times[:-1], cotangent[1:])
    (y_bar, first_bar, args_bar), t_bars = lax.scan(back, zeros, steps, reverse=True)
    return y_bar + cotangent[0], jnp.concatenate([first_bar[None], t_bars]), args_bar


def _integrate(func: Callable, control: _Control, y0: Array, times: Array) -> Array:
    def unfinished(state: tuple) -> Array:
        step, taken, target = state
        return (step.t < target) & (taken < control.most_steps) & (step.size > 0)

    def advance(state: tuple) -> tuple:
        step, taken, target = state
        return _try(func, control, step), taken + 1, target

    def reach(step: _Step, target: Array) -> tuple[_Step, Array]:
        step, _, _ = lax.while_loop(unfinished, advance, (step, 0, target))
        span = step.t - step.start
        share = (target - step.start) / jnp.where(span == 0, 1, span)
        return step, _fill(step.curve, share.astype(jnp.real(y0).dtype))

    slope = func(y0, times[0])
    size = jnp.clip(_first_size(func, control, y0, slope, times[0]), 0.0, control.largest)
    curve = jnp.stack([y0] + [jnp.zeros_like(y0)] * 4)
    step = _Step(y0, slope, times[0], size.astype(times.dtype), times[0], curve)
    _, states = lax.scan(reach, step, times[1:])
    return jnp.concatenate([y0[None], states])


def _try(func: Callable, control: _Control, step: _Step) -> _Step:
    """The step taken if its error is small enough; else the same place with a smaller one."""
    h = step.size.astype(jnp.real(step.y).dtype)
    slopes = [step.slope]
    for node, row in zip(_NODES, _STAGES, strict=True):
        y = step.y + h * _combine(row, slopes)
        slopes.append(func(y, step.t + step.size * node))
    scale = control.atol + control.rtol * jnp.maximum(jnp.abs(step.y), jnp.abs(y))
    error = _norm(h * _combine(_ERROR, slopes) / scale)
    least = jnp.where(error < 1, 1.0, _LEAST)
    factor = _SAFETY * jnp.where(error == 0, 1, error) ** -0.2
    factor = jnp.where(error == 0, _MOST, jnp.clip(factor, least, _MOST))
    size = jnp.clip(step.size * factor, 0.0, control.largest).astype(step.t.dtype)
    rise = y - step.y
    bend = h * step.slope - rise
    end = rise - h * slopes[-1] - bend
    curve = jnp.stack([step.y, rise, bend, end, h * _combine(_DENSE, slopes)])
    taken = _Step(y, slopes[-1], step.t + step.size, size, step.t, curve)
    kept = step._replace(size=size)
    return _Step(*[jnp.where(error <= 1, a, b) for a, b in zip(taken, kept, strict=True)])


def _fill(curve: Array, share: Array) -> Array:
    """The solution within a step, a polynomial of degree 4, after a share of it."""
    y, rise, bend, end, last = curve
    rest = 1 - share
    return y + share * (rise + rest * (bend + share * (end + rest * last)))


def _first_size(func: Callable, control: _Control, y0: Array, slope: Array, t: Array) -> Array:
    scale = control.atol + jnp.abs(y0) * control.rtol
    size, speed = _norm(y0 / scale), _norm(slope / scale)
    small = (size < 1e-5) | (speed < 1e-5)
    guess = jnp.where(small, 1e-6, 0.01 * size / jnp.where(small, 1, speed))
    later = func(y0 + guess * slope, t + guess.astype(t.dtype))
    turn = _norm((later - slope) / scale) / guess
    largest = jnp.maximum(speed, turn)
    flat = largest <= 1e-15
    by_turn = jnp.where(
        flat, jnp.maximum(1e-6, guess * 1e-3), (0.01 / jnp.where(flat, 1, largest)) ** 0.2
    )
    return jnp.minimum(100.0 * guess, by_turn)


def _norm(x: Array) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(jnp.abs(x))))


def _combine(weights: list[float], slopes: list[Array]) -> Array:
    terms = [w * k for w, k in zip(weights, slopes, strict=True) if w]
    return sum(terms[1:], terms[0])
