"""Schedule-free learning: an average of weights in the place of a falling rate."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_map
from nr.optim.base import GradientTransformation
from nr.optim.hyper import (
    Number,
    Rate,
    check_nonnegative,
    hyper_dtype,
    need_params,
    rate_at,
)
from nr.tree import trainable

__all__ = ["ScheduleFreeState", "schedule_free", "schedule_free_params"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class ScheduleFreeState:
    """The state of `schedule_free`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        b1: where between z and the average gradients are taken.
        power: the power of rates by which the average weighs.
        max_rate: the largest rate so far.
        weight_sum: the sum of the average's weights.
        z: the weights that the inner optimizer moves, in float32 at least; None for what is not
            trained.
        inner: the state of the inner optimizer.
    """

    step: Array
    learning_rate: Array
    b1: Array
    power: Array
    max_rate: Array
    weight_sum: Array
    z: Any
    inner: Any


def schedule_free(
    transformation: GradientTransformation,
    learning_rate: Rate,
    b1: Number = 0.9,
    weight_lr_power: Number = 2.0,
) -> GradientTransformation:
    """Make an optimizer of constant rate do as well as with a schedule that one would have to know.

    Three points: z, which the optimizer moves; x, the average of the z; and the parameters,
    ``y = (1 - b1) * z + b1 * x``, where gradients are taken. Evaluate at x, which
    `schedule_free_params` gives. Its updates must reach the parameters unchanged: it stands last
    in a chain.

    Args:
        transformation: the inner optimizer, without momentum, as b1 takes its place.
        learning_rate: that of the inner optimizer; a schedule of a warm-up is of use.
        b1: in (0, 1).
        weight_lr_power: z weighs ``max_rate**weight_lr_power`` in the average.

    Source: Defazio et al., "The Road Less Scheduled", 2024, equations 3 to 5, and section 4 for
    the weights.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.schedule_free(nr.optim.sgd(1.0), 1.0, b1=0.5)
        >>> params = nr.numpy.array(4.0)
        >>> state = optimizer.init(params)
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(nr.numpy.array(1.0), state, params)
        ...     params = nr.optim.apply_updates(params, updates)
        >>> state.z, params, nr.optim.schedule_free_params(state, params)
        (Array(2., dtype=float32), Array(2.25, dtype=float32), Array(2.5, dtype=float32))
    """
    op = "schedule_free"
    check_nonnegative(op, learning_rate=learning_rate)
    check_nonnegative(op, below=1, b1=b1)
    if isinstance(b1, (int, float)) and b1 == 0:
        raise ValueError(f"{op}: b1 must not be 0, since gradients would miss the average.")

    def init(params: Any) -> ScheduleFreeState:
        dtype, step = hyper_dtype(op, params), jnp.zeros((), "int32")

        def start(p: Any, trains: bool) -> Array | None:
            return jnp.asarray(p, dtypes.promote_types(p.dtype, "float32")) if trains else None

        return ScheduleFreeState(
            step=step,
            learning_rate=rate_at(learning_rate, step, dtype),
            b1=jnp.asarray(b1, dtype),
            power=jnp.asarray(weight_lr_power, dtype),
            max_rate=jnp.zeros((), dtype),
            weight_sum=jnp.zeros((), dtype),
            z=tree_map(start, params, trainable(params)),
            inner=transformation.init(params),
        )

    def update(
        grads: Any, state: ScheduleFreeState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScheduleFreeState]:
        need_params(op, params, "gradients are taken at them")
        rate = state.learning_rate
        if callable(learning_rate):
            rate = rate_at(learning_rate, state.step, rate.dtype)
        steps, inner = transformation.update(grads, state.inner, params, **extra)
        max_rate = jnp.maximum(state.max_rate, rate)
        weight = max_rate**state.power
        weight_sum = state.weight_sum + weight
        share = jnp.where(weight_sum > 0, weight / jnp.where(weight_sum > 0, weight_sum, 1), 0)
        b1 = state.b1

        def follow(u: Array, z: Array | None) -> Array | None:
            return None if z is None else (z + u).astype(z.dtype)

        def change(u: Array, p: Array, old: Array | None, z: Array | None) -> Array:
            if z is None:
                return u
            x = _average(p, old, b1)
            x = x + share * (z - x)
            return (z + b1 * (x - z) - p).astype(u.dtype)

        z = tree_map(follow, steps, state.z)
        updates = tree_map(change, steps, params, state.z, z)
        return updates, dataclasses.replace(
            state,
            step=state.step + 1,
            learning_rate=rate,
            max_rate=max_rate,
            weight_sum=weight_sum,
            z=z,
            inner=inner,
        )

    return GradientTransformation(init, update)


def schedule_free_params(state: ScheduleFreeState, params: Any) -> Any:
    """The averaged weights x of `schedule_free`, with which to evaluate.

    Args:
        state: that of `schedule_free`.
        params: the parameters that are trained.
    """

    def average(p: Array, z: Array | None) -> Array:
        return p if z is None else _average(p, z, state.b1).astype(p.dtype)

    return tree_map(average, params, state.z)


def _average(y: Array, z: Any, b1: Array) -> Array:
    """x, of which y = (1 - b1) * z + b1 * x."""
    return z + (y - z) / b1
