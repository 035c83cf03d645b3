"""Rprop: steps whose sizes depend on the signs of gradients only."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass
from nr.optim.base import GradientTransformation
from nr.optim.hyper import Number, check_nonnegative, hyper_dtype, map_leaves, moments_like

__all__ = ["RpropState", "rprop"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class RpropState:
    """The state of `rprop`.

    Attributes:
        step: i32[], the number of updates made.
        eta_minus, eta_plus: the factors by which sizes shrink and grow.
        min_step_size, max_step_size: the bounds of sizes.
        sizes: of the steps, like params.
        signs: those of the last gradients; 0 where the last step was left out.
    """

    step: Array
    eta_minus: Array
    eta_plus: Array
    min_step_size: Array
    max_step_size: Array
    sizes: Any
    signs: Any


def rprop(
    learning_rate: Number,
    eta_minus: Number = 0.5,
    eta_plus: Number = 1.2,
    min_step_size: Number = 1e-6,
    max_step_size: Number = 50.0,
) -> GradientTransformation:
    """Resilient propagation: each element has a step size of its own.

    It grows while the gradient keeps its sign. Where the sign changes it shrinks, and no step is
    made. For gradients of the whole data set, since those of batches change their signs by chance.

    Args:
        learning_rate: the first size of all steps.
        eta_minus, eta_plus: the factors by which sizes shrink and grow.
        min_step_size, max_step_size: the bounds of sizes.

    Source: Riedmiller and Braun, "A Direct Adaptive Method for Faster Backpropagation Learning:
    the RPROP Algorithm", 1993; without going back after a change of sign, as in Igel and Hüsken,
    "Improving the Rprop Learning Algorithm", 2000 (Rprop-, with the last sign forgotten).

    Example:
        >>> import nr
        >>> optimizer = nr.optim.rprop(0.1)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> _, state = optimizer.update(nr.numpy.array([1.0, 1.0]), state)
        >>> optimizer.update(nr.numpy.array([5.0, -5.0]), state)[0] + 0.0
        Array([-0.12,  0.  ], dtype=float32)
    """
    op = "rprop"
    check_nonnegative(op, learning_rate=learning_rate, eta_minus=eta_minus, eta_plus=eta_plus)
    check_nonnegative(op, min_step_size=min_step_size, max_step_size=max_step_size)
    hyper = {"eta_minus": eta_minus, "eta_plus": eta_plus}
    hyper |= {"min_step_size": min_step_size, "max_step_size": max_step_size}

    def init(params: Any) -> RpropState:
        dtype = hyper_dtype(op, params)
        arrays = {name: jnp.asarray(value, dtype) for name, value in hyper.items()}
        sizes = moments_like(params, learning_rate)
        return RpropState(jnp.zeros((), "int32"), **arrays, sizes=sizes, signs=moments_like(params))

    def update(
        grads: Any, state: RpropState, params: Any = None, **extra: Any
    ) -> tuple[Any, RpropState]:
        low, high = state.min_step_size, state.max_step_size

        def rule(g: Array, p: Any, decays: Any, size: Array, before: Array) -> tuple:
            sign = jnp.sign(g)
            agree = sign * before
            factor = jnp.where(agree > 0, state.eta_plus, state.eta_minus)
            size = jnp.where(agree == 0, size, jnp.clip(size * factor, low, high))
            sign = jnp.where(agree < 0, 0, sign)
            return -size * sign, size, sign

        updates, sizes, signs = map_leaves(rule, grads, None, None, state.sizes, state.signs)
        return updates, dataclasses.replace(state, step=state.step + 1, sizes=sizes, signs=signs)

    return GradientTransformation(init, update)
