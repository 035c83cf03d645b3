"""Adan: Adam with Nesterov's momentum made of differences of gradients."""

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
    bias_correction,
    check_nonnegative,
    common_fields,
    current_rate,
    is_zero,
    map_leaves,
    moments_like,
)
from nr.optim.weight_decay import decaying_leaves

__all__ = ["AdanState", "adan"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class AdanState:
    """The state of `adan`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        b1, b2, b3: the factors by which mu, delta and nu decay.
        eps: what is added to the root.
        eps_root: what is added under the root.
        weight_decay: how fast parameters decay.
        mu, delta, nu: the averages of gradients, of their differences, and of the squares of
            gradients looked for one step ahead, like params.
        previous: the last gradients.
    """

    step: Array
    learning_rate: Array
    b1: Array
    b2: Array
    b3: Array
    eps: Array
    eps_root: Array
    weight_decay: Array
    mu: Any
    delta: Any
    nu: Any
    previous: Any


def adan(
    learning_rate: Rate,
    b1: Number = 0.98,
    b2: Number = 0.92,
    b3: Number = 0.99,
    eps: Number = 1e-8,
    eps_root: Number = 1e-8,
    weight_decay: Number = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """Adan: with d the change of the gradient g, three averages, of g, d and (g + (1 - b2) * d)**2.

    The step is ``-lr * ((mu + (1 - b2) * delta) / (sqrt(nu + eps_root) + eps) + weight_decay *
    params)``, where averages are corrected for their bias.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one.
        b1, b2, b3: in [0, 1); the paper has the complements, 0.02, 0.08 and 0.01.
        eps: added to the root.
        eps_root: added under the root.
        weight_decay: decoupled; where it is not the number 0, ``update`` needs the parameters.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
    Models", 2022, algorithm 1, with the weight decay of `adamw`.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.adan(0.1)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([1.0, -5.0]), state)[0].round(4)
        Array([-0.1,  0.1], dtype=float32)
    """
    op, decaying = "adan", not is_zero(weight_decay)
    check_nonnegative(op, learning_rate=learning_rate, eps=eps, eps_root=eps_root)
    check_nonnegative(op, weight_decay=weight_decay)
    check_nonnegative(op, below=1, b1=b1, b2=b2, b3=b3)
    hyper = {"b1": b1, "b2": b2, "b3": b3, "eps": eps, "eps_root": eps_root}

    def init(params: Any) -> AdanState:
        fields = common_fields(op, params, learning_rate, **hyper, weight_decay=weight_decay)
        mu, delta, nu, previous = [moments_like(params) for _ in range(4)]
        return AdanState(**fields, mu=mu, delta=delta, nu=nu, previous=previous)

    def update(
        grads: Any, state: AdanState, params: Any = None, **extra: Any
    ) -> tuple[Any, AdanState]:
        decay_mask = decaying_leaves(op, decaying, mask, params)
        rate, step = current_rate(learning_rate, state), state.step + 1
        b1, b2, b3 = state.b1, state.b2, state.b3
        of_mu, of_delta, of_nu = [1 / bias_correction(b, step) for b in (b1, b2, b3)]

        def rule(g: Array, p: Any, decays: bool, m: Array, d: Array, n: Array, old: Array) -> tuple:
            change = jnp.where(state.step == 0, 0, g - old)
            m = b1 * m + (1 - b1) * g
            d = b2 * d + (1 - b2) * change
            n = b3 * n + (1 - b3) * jnp.square(g + (1 - b2) * change)
            out = of_mu * m + (1 - b2) * of_delta * d
            out = out / (jnp.sqrt(of_nu * n + state.eps_root) + state.eps)
            if decays:
                out = out + state.weight_decay * p
            return -rate * out, m, d, n, g

        moments = (state.mu, state.delta, state.nu, state.previous)
        updates, mu, delta, nu, previous = map_leaves(rule, grads, params, decay_mask, *moments)
        changes = {"mu": mu, "delta": delta, "nu": nu, "previous": previous}
        return updates, dataclasses.replace(state, step=step, learning_rate=rate, **changes)

    return GradientTransformation(init, update)
