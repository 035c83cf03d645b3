"""Lion: steps by signs."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass
from nr.optim.base import GradientTransformation
from nr.optim.hyper import (
    Number,
    Rate,
    check_nonnegative,
    common_fields,
    current_rate,
    map_leaves,
    moments_like,
)
from nr.optim.weight_decay import decaying_leaves

__all__ = ["LionState", "lion"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class LionState:
    """The state of `lion`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        b1: the part of mu in what gives the sign.
        b2: the factor by which mu decays.
        weight_decay: how fast parameters decay.
        mu: the average of gradients, like params.
    """

    step: Array
    learning_rate: Array
    b1: Array
    b2: Array
    weight_decay: Array
    mu: Any


def lion(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.99,
    *,
    weight_decay: Number = 1e-3,
    mask: Any = None,
) -> GradientTransformation:
    """Lion: the sign of an average gradient, which takes no second moments.

    The step is ``-lr * (sign(b1 * mu + (1 - b1) * g) + weight_decay * params)``, and after it
    ``mu = b2 * mu + (1 - b2) * g``.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one; all elements
            change by it, so it is 3 to 10 times smaller than `adamw`'s.
        b1, b2: in [0, 1).
        weight_decay: the rate of decay; ``update`` needs the parameters.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, algorithm 2.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.lion(0.1, weight_decay=0.0)
        >>> params = nr.numpy.ones(3)
        >>> state = optimizer.init(params)
        >>> optimizer.update(nr.numpy.array([1.0, -5.0, 0.0]), state, params)[0] + 0.0
        Array([-0.1,  0.1,  0. ], dtype=float32)
    """
    check_nonnegative("lion", learning_rate=learning_rate, weight_decay=weight_decay)
    check_nonnegative("lion", below=1, b1=b1, b2=b2)

    def init(params: Any) -> LionState:
        hyper = {"b1": b1, "b2": b2, "weight_decay": weight_decay}
        fields = common_fields("lion", params, learning_rate, **hyper)
        return LionState(**fields, mu=moments_like(params))

    def update(
        grads: Any, state: LionState, params: Any = None, **extra: Any
    ) -> tuple[Any, LionState]:
        decay_mask = decaying_leaves("lion", True, mask, params)
        rate, b1, b2 = current_rate(learning_rate, state), state.b1, state.b2

        def rule(g: Array, p: Array, decays: bool, mu: Array) -> tuple:
            out = jnp.sign(b1 * mu + (1 - b1) * g)
            if decays:
                out = out + state.weight_decay * p
            return -rate * out, b2 * mu + (1 - b2) * g

        updates, mu = map_leaves(rule, grads, params, decay_mask, state.mu)
        changes = {"step": state.step + 1, "learning_rate": rate, "mu": mu}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)
