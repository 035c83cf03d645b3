"""NovoGrad: gradients over their norms, one average of squares for each leaf."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_map
from nr.optim.adam import check_adam
from nr.optim.base import GradientTransformation
from nr.optim.hyper import (
    Number,
    Rate,
    common_fields,
    current_rate,
    is_zero,
    map_leaves,
    moments_like,
)
from nr.optim.weight_decay import decaying_leaves

__all__ = ["NovoGradState", "novograd"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class NovoGradState:
    """The state of `novograd`.

    Attributes:
        step, learning_rate, b1, b2, eps, eps_root, weight_decay: as in `AdamState`.
        mu: the sums of normalized gradients, like params.
        nu: for each leaf one number, the average squared norm.
    """

    step: Array
    learning_rate: Array
    b1: Array
    b2: Array
    eps: Array
    eps_root: Array
    weight_decay: Array
    mu: Any
    nu: Any


def novograd(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.25,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """Momentum of gradients that are divided by the average norm of their leaf.

    ``nu = b2 * nu + (1 - b2) * norm(g)**2``, at first ``norm(g)**2``;
    ``mu = b1 * mu + g / (sqrt(nu + eps_root) + eps) + weight_decay * params``; the step is
    ``-lr * mu``. It keeps half of what `adam` keeps.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one.
        b1, b2: in [0, 1).
        eps: added to the root.
        eps_root: added under the root.
        weight_decay: where it is not the number 0, ``update`` needs the parameters.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: Ginsburg et al., "Stochastic Gradient Methods with Layer-wise Adaptive Moments for
    Training of Deep Networks", 2019, algorithm 1.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.novograd(0.1)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([3.0, -4.0]), state)[0].round(4)
        Array([-0.06,  0.08], dtype=float32)
    """
    op, decaying = "novograd", not is_zero(weight_decay)
    hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
    check_adam(op, learning_rate, **hyper)

    def init(params: Any) -> NovoGradState:
        fields = common_fields(op, params, learning_rate, **hyper)
        mu = moments_like(params)
        return NovoGradState(**fields, mu=mu, nu=tree_map(lambda m: jnp.zeros((), m.dtype), mu))

    def update(
        grads: Any, state: NovoGradState, params: Any = None, **extra: Any
    ) -> tuple[Any, NovoGradState]:
        decay_mask = decaying_leaves(op, decaying, mask, params)
        rate = current_rate(learning_rate, state)
        b2 = jnp.where(state.step == 0, 0, state.b2)

        def rule(g: Array, p: Any, decays: bool, m: Array, v: Array) -> tuple:
            v = b2 * v + (1 - b2) * jnp.sum(jnp.square(g))
            out = g / (jnp.sqrt(v + state.eps_root) + state.eps)
            if decays:
                out = out + state.weight_decay * p
            m = state.b1 * m + out
            return -rate * m, m, v

        updates, mu, nu = map_leaves(rule, grads, params, decay_mask, state.mu, state.nu)
        changes = {"step": state.step + 1, "learning_rate": rate, "mu": mu, "nu": nu}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)
