"""Adam, AdamW and AMSGrad, and the update that they share with the variants of Adam."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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

__all__ = [
    "AdamState",
    "adam",
    "adam_like",
    "adamw",
    "amsgrad",
    "average",
    "check_adam",
    "nesterov_average",
]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class AdamState:
    """The state of `adam`, `adamw`, `amsgrad`; and of `nadam` without a schedule of momentum.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        b1, b2: the factors by which the averages decay.
        eps: what is added to the root.
        eps_root: what is added under the root.
        weight_decay: how fast parameters decay.
        mu, nu: the averages of gradients and of their squares, like params.
        nu_max: the largest nu so far; None without AMSGrad.
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
    nu_max: Any


# ---------------------------------------------------------------- Adam
def adam(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    *,
    nesterov: bool = False,
    amsgrad: bool = False,
    weight_decay: Number = 0.0,
    decoupled_weight_decay: bool = False,
    mask: Any = None,
) -> GradientTransformation:
    """Adam: steps of the average gradient over the root of the average squared gradient.

    ``mu = b1 * mu + (1 - b1) * g``, ``nu = b2 * nu + (1 - b2) * g**2``, and the step is
    ``-lr * (mu / (1 - b1**t)) / (sqrt(nu / (1 - b2**t) + eps_root) + eps)``.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one.
        b1, b2: in [0, 1), the decay of the averages of gradients and of squares.
        eps: added to the root, after the correction of its bias.
        eps_root: added under the root; positive where gradients of updates are taken.
        nesterov: look one step ahead, as in `nadam`.
        amsgrad: divide by the root of the largest nu so far. It is found before the bias is
            corrected (PyTorch's definition); `amsgrad`, the function, corrects first.
        weight_decay: ``weight_decay * params`` is added to gradients (L2 regularization). Where
            it is not the number 0, ``update`` needs the parameters.
        decoupled_weight_decay: ``lr * weight_decay * params`` is taken off instead, as in `adamw`.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: Kingma and Ba, "Adam: a Method for Stochastic Optimization", 2014, algorithm 1;
    Reddi, Kale, Kumar, "On the Convergence of Adam and Beyond", 2018.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.adam(lambda step: 0.1 / (1 + step))
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(nr.numpy.array([1.0, -5.0]), state)
        >>> updates.round(4), state.learning_rate
        (Array([-0.05,  0.05], dtype=float32), Array(0.05, dtype=float32))
    """
    return adam_like(
        "adam",
        learning_rate,
        {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay},
        nesterov_average if nesterov else average,
        decaying=not is_zero(weight_decay),
        decoupled=decoupled_weight_decay,
        mask=mask,
        amsgrad=amsgrad,
    )


def adamw(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    *,
    weight_decay: Number = 1e-2,
    mask: Any = None,
    nesterov: bool = False,
    amsgrad: bool = False,
) -> GradientTransformation:
    """Adam with decoupled weight decay: each step also takes ``lr * weight_decay * params`` off.

    Args:
        learning_rate, b1, b2, eps, eps_root, nesterov, amsgrad: as in `adam`.
        weight_decay: the rate of decay; ``update`` needs the parameters.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.adamw(0.1, weight_decay=0.5)
        >>> params = nr.numpy.array([1.0, 2.0])
        >>> state = optimizer.init(params)
        >>> optimizer.update(nr.numpy.array([3.0, 0.0]), state, params)[0].round(3)
        Array([-0.15, -0.1 ], dtype=float32)
    """
    return adam_like(
        "adamw",
        learning_rate,
        {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay},
        nesterov_average if nesterov else average,
        decaying=True,
        decoupled=True,
        mask=mask,
        amsgrad=amsgrad,
    )


def amsgrad(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
) -> GradientTransformation:
    """Adam over the root of the largest nu so far, of those whose bias is corrected (Optax's form).

    Steps never grow again where gradients get smaller. ``adam(..., amsgrad=True)`` is PyTorch's
    form, in which the bias of the largest nu is corrected.

    Args:
        learning_rate, b1, b2, eps, eps_root: as in `adam`.

    Source: Reddi, Kale, Kumar, "On the Convergence of Adam and Beyond", 2018, algorithm 2.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.amsgrad(0.1, b1=0.0, b2=0.0)
        >>> state = optimizer.init(nr.numpy.zeros(()))
        >>> _, state = optimizer.update(nr.numpy.array(4.0), state)
        >>> optimizer.update(nr.numpy.array(1.0), state)[0].round(4)
        Array(-0.025, dtype=float32)
    """
    return adam_like(
        "amsgrad",
        learning_rate,
        {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": 0.0},
        average,
        amsgrad=True,
        corrects_first=True,
    )


# ---------------------------------------------------------------- what they have in common
# How the average gradient is made of mu and g: the factors of both (None for one left out), and
# what changes in the state.
Average = Callable[[Any, Array], tuple[Array, Array | None, dict[str, Array]]]
# Whether steps divide by the root of nu, and the factor of these.
Rectify = Callable[[Any, Array], tuple[Array, Array]]
# The new nu: from the state, the gradient, the new mu and the old nu.
Spread = Callable[[Any, Array, Array, Array], Array]


def average(state: AdamState, step: Array) -> tuple[Array, None, dict[str, Array]]:
    return 1 / bias_correction(state.b1, step), None, {}


def nesterov_average(state: AdamState, step: Array) -> tuple[Array, Array, dict[str, Array]]:
    b1 = state.b1
    of_mu, of_g = b1 / bias_correction(b1, step + 1), (1 - b1) / bias_correction(b1, step)
    return of_mu, of_g, {}


def check_adam(op: str, learning_rate: Any, *, b1: Any, b2: Any, **others: Any) -> None:
    check_nonnegative(op, learning_rate=learning_rate, **others)
    check_nonnegative(op, below=1, b1=b1, b2=b2)


def adam_like(
    op: str,
    learning_rate: Rate,
    hyper: dict[str, Any],
    average: Average,
    state_type: type = AdamState,
    *,
    rectify: Rectify | None = None,
    spread: Spread | None = None,
    initial: Number = 0.0,
    decaying: bool = False,
    decoupled: bool = False,
    mask: Any = None,
    amsgrad: bool = False,
    corrects_first: bool = False,
) -> GradientTransformation:
    """An optimizer with the state of Adam.

    Args:
        op: its name, for messages.
        learning_rate: a number, or a function from the step to one.
        hyper: the other hyper-parameters: fields of the state.
        average: how the average gradient is made of mu and g.
        state_type: `AdamState` or a subclass.
        rectify: which steps do not divide by the root of nu.
        spread: what nu is, if not the average of squares; it uses eps_root, and the root does not.
        initial: the first mu and nu.
        decaying, decoupled, mask: whether, how and which parameters decay.
        amsgrad: divide by the root of the largest nu.
        corrects_first: the bias of nu is corrected before the largest is found.
    """
    check_adam(op, learning_rate, **hyper)

    def init(params: Any) -> Any:
        fields = common_fields(op, params, learning_rate, **hyper)
        mu, nu = moments_like(params, initial), moments_like(params, initial)
        return state_type(**fields, mu=mu, nu=nu, nu_max=moments_like(params) if amsgrad else None)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        decay_mask = decaying_leaves(op, decaying, mask, params)
        rate, step = current_rate(learning_rate, state), state.step + 1
        b1, b2, weight_decay = state.b1, state.b2, state.weight_decay
        of_mu, of_g, changes = average(state, step)
        correction = bias_correction(b2, step)
        # Of m / (sqrt(v / correction + eps_root) + eps) the parts that are no arrays are gathered.
        under = jnp.ones_like(correction) if corrects_first else correction
        root = jnp.sqrt(under)
        eps, eps_root = state.eps * root, state.eps_root * under if spread is None else 0
        scale, decay = -rate * root, rate * weight_decay
        if rectify is not None:
            divides, factor = rectify(state, step)
            scale = scale * factor

        def mean(scale: Array, m: Array, g: Array) -> Array:
            out = (scale * of_mu) * m
            return out if of_g is None else out + (scale * of_g) * g

        def rule(g: Array, p: Any, decays: bool, m: Array, v: Array, largest: Any) -> tuple:
            if decays and not decoupled:
                g = g + weight_decay * p
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * jnp.square(g) if spread is None else spread(state, g, m, v)
            size = v
            if amsgrad:
                size = largest = jnp.maximum(largest, v / correction if corrects_first else v)
            out = mean(scale, m, g) / (jnp.sqrt(size + eps_root) + eps)
            if rectify is not None:
                out = jnp.where(divides, out, mean(-rate, m, g))
            if decays and decoupled:
                out = out - decay * p
            return out, m, v, largest

        moments = (state.mu, state.nu, state.nu_max)
        updates, mu, nu, nu_max = map_leaves(rule, grads, params, decay_mask, *moments)
        changes |= {"step": step, "learning_rate": rate, "mu": mu, "nu": nu, "nu_max": nu_max}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)
