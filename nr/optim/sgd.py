"""SGD: gradient descent, with momentum."""

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
    is_zero,
    map_leaves,
    moments_like,
)
from nr.optim.weight_decay import decaying_leaves

__all__ = ["SGDState", "sgd"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class SGDState:
    """The state of `sgd`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        momentum: the factor by which the velocity decays.
        dampening: the part of the gradient that does not go into the velocity.
        weight_decay: the factor of parameters that is added to gradients.
        velocity: like params; None for an SGD made without momentum.
    """

    step: Array
    learning_rate: Array
    momentum: Array
    dampening: Array
    weight_decay: Array
    velocity: Any


def sgd(
    learning_rate: Rate,
    momentum: Number = 0.0,
    nesterov: bool = False,
    *,
    dampening: Number = 0.0,
    weight_decay: Number = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """Stochastic gradient descent: ``velocity = momentum * velocity + g``, step ``-lr * velocity``.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one.
        momentum: in [0, 1).
        nesterov: step by ``g + momentum * velocity``: the gradient looked for one step ahead.
        dampening: in [0, 1); the velocity takes ``(1 - dampening) * g``, from the second step on
            (PyTorch's definition).
        weight_decay: ``weight_decay * params`` is added to gradients. Where it is not the number
            0, ``update`` needs the parameters.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: Sutskever et al., "On the Importance of Initialization and Momentum in Deep
    Learning", 2013, in the form where the rate is not part of the velocity.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.sgd(0.1, momentum=0.9)
        >>> state = optimizer.init({"w": nr.numpy.ones(2)})
        >>> updates, state = optimizer.update({"w": nr.numpy.ones(2)}, state)
        >>> updates["w"], state.learning_rate
        (Array([-0.1, -0.1], dtype=float32), Array(0.1, dtype=float32))
    """
    check_nonnegative("sgd", learning_rate=learning_rate, weight_decay=weight_decay)
    check_nonnegative("sgd", below=1, momentum=momentum, dampening=dampening)
    has_velocity, decaying = nesterov or not is_zero(momentum), not is_zero(weight_decay)

    def init(params: Any) -> SGDState:
        hyper = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        fields = common_fields("sgd", params, learning_rate, **hyper)
        return SGDState(**fields, velocity=moments_like(params) if has_velocity else None)

    def update(
        grads: Any, state: SGDState, params: Any = None, **extra: Any
    ) -> tuple[Any, SGDState]:
        decay_mask = decaying_leaves("sgd", decaying, mask, params)
        rate = current_rate(learning_rate, state)
        share = jnp.where(state.step == 0, 1, 1 - state.dampening)

        def rule(g: Array, p: Any, decays: bool, v: Any) -> tuple:
            if decays:
                g = g + state.weight_decay * p
            if v is None:
                return -rate * g, None
            v = state.momentum * v + (g if is_zero(dampening) else share * g)
            return -rate * (g + state.momentum * v if nesterov else v), v

        updates, velocity = map_leaves(rule, grads, params, decay_mask, state.velocity)
        changes = {"step": state.step + 1, "learning_rate": rate, "velocity": velocity}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)
