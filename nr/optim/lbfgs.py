"""L-BFGS, and the line search that it is used with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_leaves, tree_map
from nr.optim.base import GradientTransformation, apply_updates
from nr.optim.hyper import (
    Number,
    Rate,
    check_nonnegative,
    common_fields,
    current_rate,
    hyper_dtype,
    moments_like,
    need_params,
    widen,
)
from nr.transforms.control_flow import scan, while_loop

__all__ = [
    "BacktrackingState",
    "LBFGSState",
    "lbfgs",
    "scale_by_backtracking_linesearch",
]


def _dot(a: Any, b: Any) -> Array:
    """The inner product of two trees."""
    terms = [jnp.sum(widen(x) * widen(y)) for x, y in zip(tree_leaves(a), tree_leaves(b))]
    return sum(terms[1:], start=terms[0]) if terms else jnp.zeros(())


# ---------------------------------------------------------------- L-BFGS
@register_dataclass
@dataclasses.dataclass(frozen=True)
class LBFGSState:
    """The state of `lbfgs`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        params, grads: those of the last update.
        steps, changes: [memory_size, ...] like params: the last changes of parameters and of
            gradients, the oldest one overwritten by the next.
        weights: [memory_size], one over the inner products of these; 0 for those left out.
    """

    step: Array
    learning_rate: Array
    params: Any
    grads: Any
    steps: Any
    changes: Any
    weights: Array


def lbfgs(
    learning_rate: Rate = 1.0,
    memory_size: int = 10,
    scale_init_precond: bool = True,
) -> GradientTransformation:
    """L-BFGS: gradients times an inverse Hessian that is estimated from the last gradients.

    For functions without noise. The direction is a good one where changes of gradients have been
    along those of parameters; how far to go is found by `scale_by_backtracking_linesearch`, after
    it in a chain. Changes against each other (negative curvature) are left out.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one.
        memory_size: how many changes are remembered; positive.
        scale_init_precond: start from the identity times ``s @ y / y @ y`` of the last change s of
            parameters and y of gradients (the first time ``min(1, 1 / norm(g))``), not times 1.

    Source: Nocedal and Wright, "Numerical Optimization", 2006, algorithm 7.4 and equation 7.20.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.lbfgs()
        >>> loss = lambda x: ((x - 3) ** 2 * nr.numpy.array([1.0, 10.0])).sum()
        >>> params = nr.numpy.zeros(2)
        >>> state = optimizer.init(params)
        >>> for _ in range(12):
        ...     updates, state = optimizer.update(nr.grad(loss)(params), state, params)
        ...     params = nr.optim.apply_updates(params, updates)
        >>> params.round(3)
        Array([3., 3.], dtype=float32)
    """
    op = "lbfgs"
    check_nonnegative(op, learning_rate=learning_rate)
    if memory_size < 1:
        raise ValueError(f"{op}: memory_size must be positive; got {memory_size}.")

    def history(params: Any) -> Any:
        return tree_map(lambda m: jnp.zeros((memory_size, *m.shape), m.dtype), moments_like(params))

    def init(params: Any) -> LBFGSState:
        fields = common_fields(op, params, learning_rate)
        return LBFGSState(
            **fields,
            params=moments_like(params),
            grads=moments_like(params),
            steps=history(params),
            changes=history(params),
            weights=jnp.zeros(memory_size, fields["learning_rate"].dtype),
        )

    def update(
        grads: Any, state: LBFGSState, params: Any = None, **extra: Any
    ) -> tuple[Any, LBFGSState]:
        need_params(op, params, "their changes tell of the curvature")
        rate, dtype = current_rate(learning_rate, state), state.weights.dtype
        has_last = state.step > 0
        g, p = tree_map(widen, grads), tree_map(widen, params)
        s = tree_map(lambda new, old: new - old, p, state.params)
        y = tree_map(lambda new, old: new - old, g, state.grads)
        sy, yy, size = _dot(s, y), _dot(y, y), jnp.sqrt(_dot(g, g))
        curves = has_last & (sy > 0)
        weight = jnp.where(curves, 1 / jnp.where(curves, sy, 1), 0).astype(dtype)

        last = (state.step - 1) % memory_size
        steps = tree_map(lambda old, new: old.at[last].set(new), state.steps, s)
        changes = tree_map(lambda old, new: old.at[last].set(new), state.changes, y)
        weights = state.weights.at[last].set(weight)

        scale = jnp.ones((), dtype)
        if scale_init_precond:
            first = 1 / jnp.maximum(size, 1)
            scale = jnp.where(has_last, jnp.where(curves, sy / jnp.where(curves, yy, 1), 1), first)
        order = (state.step + jnp.arange(memory_size)) % memory_size  # the oldest first
        direction = _precondition(g, steps, changes, weights, scale, order)
        updates = tree_map(lambda d, x: (-rate * d).astype(x.dtype), direction, grads)
        return updates, LBFGSState(state.step + 1, rate, p, g, steps, changes, weights)

    return GradientTransformation(init, update)


def _precondition(
    g: Any, steps: Any, changes: Any, weights: Array, scale: Array, order: Array
) -> Any:
    """The estimated inverse Hessian times g."""

    def add(tree: Any, factor: Array, others: Any, i: Array) -> Any:
        return tree_map(lambda x, other: (x + factor * other[i]).astype(x.dtype), tree, others)

    def backward(vector: Any, i: Array) -> tuple[Any, Array]:
        alpha = weights[i] * _dot(tree_map(lambda x: x[i], steps), vector).astype(weights.dtype)
        return add(vector, -alpha, changes, i), alpha

    def forward(vector: Any, i_alpha: tuple[Array, Array]) -> tuple[Any, None]:
        i, alpha = i_alpha
        beta = weights[i] * _dot(tree_map(lambda x: x[i], changes), vector).astype(weights.dtype)
        return add(vector, alpha - beta, steps, i), None

    vector, alphas = scan(backward, g, order, reverse=True)
    vector = tree_map(lambda x: (scale * x).astype(x.dtype), vector)
    return scan(forward, vector, (order, alphas))[0]


# ---------------------------------------------------------------- line search
@register_dataclass
@dataclasses.dataclass(frozen=True)
class BacktrackingState:
    """The state of `scale_by_backtracking_linesearch`.

    Attributes:
        learning_rate: the factor of the last step.
        value: of the function after it.
        slope_rtol, decrease_factor, increase_factor, max_learning_rate: the arguments.
    """

    learning_rate: Array
    value: Array
    slope_rtol: Array
    decrease_factor: Array
    increase_factor: Array
    max_learning_rate: Array


def scale_by_backtracking_linesearch(
    max_backtracking_steps: int,
    slope_rtol: Number = 1e-4,
    decrease_factor: Number = 0.8,
    increase_factor: Number = 1.5,
    max_learning_rate: Number = 1.0,
) -> GradientTransformation:
    """Scale a step down until the function decreases by a part of what its slope promises.

    The last part of a chain. ``update`` needs, by keyword, the function, its value and its gradient
    at the parameters: ``update(grads, state, params, value=value, grad=grads, value_fn=f)``. The
    factor is the last one times increase_factor, at most max_learning_rate, times decrease_factor
    until ``f(params + factor * step) <= f(params) + slope_rtol * factor * (step @ grad)``. A step
    that leads to no finite value in the end is not made.

    Args:
        max_backtracking_steps: how often a step is made smaller, at most.
        slope_rtol: in [0, 1).
        decrease_factor: in [0, 1).
        increase_factor: not negative; 1 or more.
        max_learning_rate: not negative.

    Source: Nocedal and Wright, "Numerical Optimization", 2006, algorithm 3.1.

    Example:
        >>> import nr
        >>> search = nr.optim.scale_by_backtracking_linesearch(10, decrease_factor=0.5)
        >>> optimizer = nr.optim.chain(nr.optim.sgd(1.0), search)
        >>> f = lambda x: 4 * x ** 2
        >>> x = nr.numpy.array(1.0)
        >>> state = optimizer.init(x)
        >>> value, grad = nr.value_and_grad(f)(x)
        >>> updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=f)
        >>> updates, state[1].value
        (Array(-1., dtype=float32), Array(0., dtype=float32))
    """
    op = "scale_by_backtracking_linesearch"
    check_nonnegative(op, below=1, slope_rtol=slope_rtol, decrease_factor=decrease_factor)
    check_nonnegative(op, increase_factor=increase_factor, max_learning_rate=max_learning_rate)

    def init(params: Any) -> BacktrackingState:
        dtype = hyper_dtype(op, params)
        hyper = (slope_rtol, decrease_factor, increase_factor, max_learning_rate)
        arrays = [jnp.asarray(x, dtype) for x in hyper]
        return BacktrackingState(jnp.ones((), dtype), jnp.full((), jnp.inf, dtype), *arrays)

    def update(
        grads: Any,
        state: BacktrackingState,
        params: Any = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Callable | None = None,
        **extra: Any,
    ) -> tuple[Any, BacktrackingState]:
        need_params(op, params, "the function is called at them")
        if value is None or grad is None or value_fn is None:
            missing = [
                name
                for name, x in (("value", value), ("grad", grad), ("value_fn", value_fn))
                if x is None
            ]
            raise ValueError(
                f"{op}: the function, its value and its gradient were required; got None for "
                f'"{missing[0]}". Write update(grads, state, params, value=value, grad=grads, '
                "value_fn=f)."
            )
        dtype = state.learning_rate.dtype
        start = jnp.asarray(value, dtype)
        slope = _dot(grads, grad).astype(dtype)

        def scaled(factor: Array) -> Any:
            return tree_map(lambda u: (factor * u).astype(u.dtype), grads)

        def value_at(factor: Array) -> Array:
            return jnp.asarray(value_fn(apply_updates(params, scaled(factor))), dtype)

        def goes_on(carry: tuple[Array, Array, Array]) -> Array:
            made, factor, reached = carry
            decreased = reached <= start + state.slope_rtol * factor * slope
            return ~decreased & (made < max_backtracking_steps)

        def shorten(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            made, factor, _ = carry
            factor = factor * state.decrease_factor
            return made + 1, factor, value_at(factor)

        factor = jnp.minimum(state.increase_factor * state.learning_rate, state.max_learning_rate)
        carry = (jnp.zeros((), "int32"), factor, value_at(factor))
        _, factor, reached = while_loop(goes_on, shorten, carry)
        fails = ~jnp.isfinite(reached)
        updates = tree_map(lambda u: jnp.where(fails, 0, u), scaled(factor))
        value = jnp.where(fails, start, reached)
        return updates, dataclasses.replace(state, learning_rate=factor, value=value)

    return GradientTransformation(init, update)
