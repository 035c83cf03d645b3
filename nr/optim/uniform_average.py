"""uniform_average: the mean of weights along a trajectory."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_map
from nr.optim.base import GradientTransformation
from nr.optim.hyper import moments_like

__all__ = ["UniformAverageState", "uniform_average"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class UniformAverageState:
    """The state of `uniform_average`.

    Attributes:
        step: i32[], how many trees were averaged.
        average: their mean, in float32 at least.
    """

    step: Array
    average: Any


def uniform_average() -> GradientTransformation:
    """The mean of all trees so far, each with the same weight: stochastic weight averaging.

    It is used as `ema` is for weights: call its ``update`` with the parameters, at the end of each
    cycle or epoch of the last part of training, and evaluate with what it returns, after renewing
    running statistics by a pass over the data. ``masked(uniform_average())`` leaves these out.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    2018, algorithm 1.

    Example:
        >>> import nr
        >>> average = nr.optim.uniform_average()
        >>> state = average.init(nr.numpy.zeros(()))
        >>> for weight in (3.0, 6.0, 0.0):
        ...     averaged, state = average.update(nr.numpy.array(weight), state)
        >>> averaged
        Array(3., dtype=float32)
    """

    def init(params: Any) -> UniformAverageState:
        return UniformAverageState(jnp.zeros((), "int32"), moments_like(params))

    def update(
        grads: Any, state: UniformAverageState, params: Any = None, **extra: Any
    ) -> tuple[Any, UniformAverageState]:
        step = state.step + 1
        average = tree_map(
            lambda a, x: a + (x.astype(a.dtype) - a) / step.astype(a.dtype), state.average, grads
        )
        averaged = tree_map(lambda a, x: a.astype(x.dtype), average, grads)
        return averaged, UniformAverageState(step, average)

    return GradientTransformation(init, update)
