"""accumulate: one step for the mean gradient of several micro-batches."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_map
from nr.optim.base import GradientTransformation
from nr.optim.finite import update_if
from nr.optim.hyper import hyper_dtype, moments_like

__all__ = ["AccumulateState", "accumulate"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class AccumulateState:
    """The state of `accumulate`.

    Attributes:
        steps: i32[], how many gradients make one step; it can be changed between steps.
        count: i32[], how many gradients the mean is of.
        mean: of these, like params, in float32 at least.
        inner: the state of the transformation.
    """

    steps: Array
    count: Array
    mean: Any
    inner: Any


def accumulate(transformation: GradientTransformation, steps: int) -> GradientTransformation:
    """Update with the mean of several gradients; updates in between are zeros.

    Gradients of losses that are means over batches of one size give what one batch of all would.

    Args:
        transformation: gets the means, once in `steps` calls.
        steps: how many gradients are averaged.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.accumulate(nr.optim.sgd(1.0), 2)
        >>> state = optimizer.init(nr.numpy.zeros(()))
        >>> for gradient in (1.0, 3.0):
        ...     updates, state = optimizer.update(nr.numpy.array(gradient), state)
        ...     print(updates, int(state.inner.step))
        0.0 0
        -2.0 1
    """
    if isinstance(steps, (int, float)) and (steps != int(steps) or steps < 1):
        raise ValueError(f"accumulate: steps must be an integer of at least 1; got {steps}.")

    def init(params: Any) -> AccumulateState:
        hyper_dtype("accumulate", params)
        return AccumulateState(
            steps=jnp.asarray(steps, "int32"),
            count=jnp.zeros((), "int32"),
            mean=moments_like(params),
            inner=transformation.init(params),
        )

    def update(
        grads: Any, state: AccumulateState, params: Any = None, **extra: Any
    ) -> tuple[Any, AccumulateState]:
        count = state.count + 1
        # A running mean, so that sums of float16's size do not overflow, however many there are.
        mean = tree_map(lambda m, g: m + (g - m) / count.astype(m.dtype), state.mean, grads)
        full = count >= state.steps
        rounded = tree_map(lambda m, g: m.astype(g.dtype), mean, grads)
        updates, inner = update_if(full, transformation, rounded, state.inner, params, extra)
        return updates, AccumulateState(
            steps=state.steps,
            count=jnp.where(full, 0, count),
            mean=tree_map(lambda m: jnp.where(full, 0, m), mean),
            inner=inner,
        )

    return GradientTransformation(init, update)
