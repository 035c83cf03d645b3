"""scale: updates times a number or a schedule, to build optimizers from parts."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_map
from nr.optim.base import GradientTransformation
from nr.optim.hyper import Rate, hyper_dtype, rate_at

__all__ = ["ScaleState", "scale"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class ScaleState:
    """The state of `scale`.

    Attributes:
        step: i32[], the number of updates made.
        factor: that of the last update (before the first: that of the first).
    """

    step: Array
    factor: Array


def scale(factor: Rate) -> GradientTransformation:
    """Multiply updates by a number, or by what a schedule gives for the step.

    Args:
        factor: a number of either sign, or a function from the step (i32[], from 0) to one.

    Example:
        >>> import nr
        >>> half = nr.optim.scale(0.5)
        >>> half.update(nr.numpy.ones(2), half.init(nr.numpy.ones(2)))[0]
        Array([0.5, 0.5], dtype=float32)
    """

    def init(params: Any) -> ScaleState:
        step = jnp.zeros((), "int32")
        return ScaleState(step, rate_at(factor, step, hyper_dtype("scale", params)))

    def update(
        grads: Any, state: ScaleState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleState]:
        now = state.factor
        if callable(factor):
            now = rate_at(factor, state.step, now.dtype)
        updates = tree_map(lambda g: (now * g).astype(g.dtype), grads)
        return updates, ScaleState(state.step + 1, now)

    return GradientTransformation(init, update)
