"""Variants of Adam: NAdam, RAdam, AdaBelief, Yogi, Adamax."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass
from nr.optim.adam import AdamState, adam_like, average, check_adam, nesterov_average
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
    "AdamaxState",
    "NAdamState",
    "RAdamState",
    "adabelief",
    "adamax",
    "nadam",
    "nadamw",
    "radam",
    "yogi",
]


# ---------------------------------------------------------------- NAdam
@register_dataclass
@dataclasses.dataclass(frozen=True)
class NAdamState(AdamState):
    """The state of `nadam` with a schedule of momentum.

    Attributes:
        momentum_decay: how fast the momentum approaches b1.
        momentum_product: that of all momenta so far.
    """

    momentum_decay: Array
    momentum_product: Array


def nadam(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    *,
    momentum_decay: Number | None = None,
    weight_decay: Number = 0.0,
    decoupled_weight_decay: bool = False,
    mask: Any = None,
) -> GradientTransformation:
    """Adam with Nesterov's momentum: the average gradient is looked for one step ahead.

    In place of ``mu / (1 - b1**t)`` of `adam` stands
    ``b1 * mu / (1 - b1**(t + 1)) + (1 - b1) * g / (1 - b1**t)``.

    Args:
        learning_rate, b1, b2, eps, eps_root: as in `adam`.
        momentum_decay: where given, the momentum of step t is
            ``b1 * (1 - 0.96 ** (t * momentum_decay) / 2)`` in place of b1, and products of these in
            place of its powers (PyTorch's definition, where 4e-3 is the default).
        weight_decay, decoupled_weight_decay, mask: as in `adam`.

    Source: Dozat, "Incorporating Nesterov Momentum into Adam", 2016.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.nadam(0.1)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([1.0, -5.0]), state)[0].round(3)
        Array([-0.147,  0.147], dtype=float32)
    """
    return _nadam(
        "nadam",
        learning_rate,
        {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay},
        momentum_decay,
        decaying=not is_zero(weight_decay),
        decoupled=decoupled_weight_decay,
        mask=mask,
    )


def nadamw(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    *,
    momentum_decay: Number | None = None,
    weight_decay: Number = 1e-2,
    mask: Any = None,
) -> GradientTransformation:
    """`nadam` with the decoupled weight decay of `adamw`.

    Args:
        learning_rate, b1, b2, eps, eps_root, momentum_decay: as in `nadam`.
        weight_decay, mask: as in `adamw`.

    Source: those of `nadam` and of `adamw`.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.nadamw(0.1, weight_decay=0.5)
        >>> params = nr.numpy.array([1.0, 2.0])
        >>> state = optimizer.init(params)
        >>> optimizer.update(nr.numpy.zeros(2), state, params)[0]
        Array([-0.05, -0.1 ], dtype=float32)
    """
    return _nadam(
        "nadamw",
        learning_rate,
        {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay},
        momentum_decay,
        decaying=True,
        decoupled=True,
        mask=mask,
    )


def _nadam(
    op: str, learning_rate: Rate, hyper: dict[str, Any], momentum_decay: Any, **decay: Any
) -> GradientTransformation:
    if momentum_decay is None:
        return adam_like(op, learning_rate, hyper, nesterov_average, **decay)
    check_nonnegative(op, momentum_decay=momentum_decay)
    more = {"momentum_decay": momentum_decay, "momentum_product": 1.0}
    return adam_like(op, learning_rate, hyper | more, _scheduled_nesterov, NAdamState, **decay)


def _scheduled_nesterov(state: NAdamState, step: Array) -> tuple[Array, Array, dict[str, Array]]:
    def momentum(at: Array) -> Array:
        power = jnp.exp(at * state.momentum_decay * math.log(0.96))
        return state.b1 * (1 - power / 2)

    now, following = momentum(step), momentum(step + 1)
    product = state.momentum_product * now
    of_mu, of_g = following / (1 - product * following), (1 - now) / (1 - product)
    return of_mu, of_g, {"momentum_product": product}


# ---------------------------------------------------------------- RAdam
@register_dataclass
@dataclasses.dataclass(frozen=True)
class RAdamState(AdamState):
    """The state of `radam`.

    Attributes:
        threshold: how many squares must have been averaged before gradients are divided.
    """

    threshold: Array


def radam(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    threshold: Number = 5.0,
    *,
    nesterov: bool = False,
    weight_decay: Number = 0.0,
    decoupled_weight_decay: bool = False,
    mask: Any = None,
) -> GradientTransformation:
    """Adam whose first steps, over too few squares, are smaller or those of plain momentum.

    With ``rho = 2 / (1 - b2) - 1 - 2 * t * b2**t / (1 - b2**t)``, the number of squares averaged,
    steps are those of `adam` times ``sqrt((rho - 4) * (rho - 2) * end / ((end - 4) * (end - 2) *
    rho))``, where end is rho at infinity; and ``-lr * mu / (1 - b1**t)`` while rho < threshold.

    Args:
        learning_rate, b1, b2, eps, eps_root, nesterov: as in `adam`. In PyTorch eps is added
            before the bias of nu is corrected, here after it, as in Optax.
        threshold: of rho; at least 4.
        weight_decay, decoupled_weight_decay, mask: as in `adam`.

    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2019,
    algorithm 2.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.radam(0.1)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([1.0, -5.0]), state)[0].round(4)
        Array([-0.1,  0.5], dtype=float32)
    """
    if isinstance(threshold, (int, float)) and threshold < 4:
        raise ValueError(f"radam: threshold must be at least 4; got {threshold}.")
    hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    return adam_like(
        "radam",
        learning_rate,
        hyper | {"weight_decay": weight_decay, "threshold": threshold},
        nesterov_average if nesterov else average,
        RAdamState,
        rectify=_rectification,
        decaying=not is_zero(weight_decay),
        decoupled=decoupled_weight_decay,
        mask=mask,
    )


def _rectification(state: RAdamState, step: Array) -> tuple[Array, Array]:
    """Whether steps are Adam's, and the factor that these get.

    In float64, since rho is the difference of two numbers near 2 / (1 - b2).
    """
    b2, t = state.b2.astype("float64"), step.astype("float64")
    end = 2 / (1 - b2) - 1
    rho = end - 2 * t / jnp.expm1(-t * jnp.log(b2))
    square = (rho - 4) * (rho - 2) * end / ((end - 4) * (end - 2) * rho)
    # The factor is used where rho is above a threshold of at least 4: no root of negative numbers.
    factor = jnp.sqrt(jnp.maximum(square, 0))
    return rho >= state.threshold, factor.astype(state.b2.dtype)


# ---------------------------------------------------------------- AdaBelief and Yogi
def adabelief(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    *,
    nesterov: bool = False,
    weight_decay: Number = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """Adam that divides by how far gradients are from their average, not from zero.

    ``nu = b2 * nu + (1 - b2) * (g - mu)**2 + eps_root``, with the new mu.

    Args:
        learning_rate, b1, b2, eps: as in `adam`.
        eps_root: added to nu at each step.
        nesterov: look one step ahead, as in `nadam`.
        weight_decay, mask: decoupled, as in `adamw`.

    Source: Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
    Gradients", 2020, algorithm 2.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.adabelief(0.1, b1=0.5, b2=0.0)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([1.0, -5.0]), state)[0].round(4)
        Array([-0.2,  0.2], dtype=float32)
    """

    def spread(state: AdamState, g: Array, m: Array, v: Array) -> Array:
        return state.b2 * v + (1 - state.b2) * jnp.square(g - m) + state.eps_root

    return adam_like(
        "adabelief",
        learning_rate,
        {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay},
        nesterov_average if nesterov else average,
        spread=spread,
        decaying=not is_zero(weight_decay),
        decoupled=True,
        mask=mask,
    )


def yogi(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-3,
    *,
    initial_accumulator_value: Number = 1e-6,
) -> GradientTransformation:
    """Adam whose nu goes toward squares at a rate that does not grow with its distance from them.

    ``nu = nu - (1 - b2) * sign(nu - g**2) * g**2``.

    Args:
        learning_rate, b1, b2, eps: as in `adam`.
        initial_accumulator_value: of mu and nu.

    Source: Zaheer et al., "Adaptive Methods for Nonconvex Optimization", 2018, algorithm 2.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.yogi(0.1)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([1.0, -5.0]), state)[0].round(3)
        Array([-0.1,  0.1], dtype=float32)
    """

    def spread(state: AdamState, g: Array, m: Array, v: Array) -> Array:
        square = jnp.square(g)
        return v - (1 - state.b2) * jnp.sign(v - square) * square

    return adam_like(
        "yogi",
        learning_rate,
        {"b1": b1, "b2": b2, "eps": eps, "eps_root": 0.0, "weight_decay": 0.0},
        average,
        spread=spread,
        initial=initial_accumulator_value,
    )


# ---------------------------------------------------------------- Adamax
@register_dataclass
@dataclasses.dataclass(frozen=True)
class AdamaxState:
    """The state of `adamax`.

    Attributes:
        step, learning_rate, b1, b2, eps, weight_decay: as in `AdamState`.
        mu, nu: the average of gradients, and their decaying maximum.
    """

    step: Array
    learning_rate: Array
    b1: Array
    b2: Array
    eps: Array
    weight_decay: Array
    mu: Any
    nu: Any


def adamax(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    *,
    weight_decay: Number = 0.0,
    decoupled_weight_decay: bool = False,
    mask: Any = None,
) -> GradientTransformation:
    """Adam with a maximum in place of the average of squares.

    ``nu = max(b2 * nu, abs(g) + eps)``, and the step is ``-lr * (mu / (1 - b1**t)) / nu``.

    Args:
        learning_rate, b1, b2: as in `adam`.
        eps: added to absolute values of gradients.
        weight_decay, decoupled_weight_decay, mask: as in `adam`.

    Source: Kingma and Ba, "Adam: a Method for Stochastic Optimization", 2014, algorithm 2.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.adamax(0.1)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([1.0, -5.0]), state)[0].round(4)
        Array([-0.1,  0.1], dtype=float32)
    """
    op, decaying = "adamax", not is_zero(weight_decay)
    hyper = {"b1": b1, "b2": b2, "eps": eps, "weight_decay": weight_decay}
    check_adam(op, learning_rate, **hyper)

    def init(params: Any) -> AdamaxState:
        fields = common_fields(op, params, learning_rate, **hyper)
        return AdamaxState(**fields, mu=moments_like(params), nu=moments_like(params))

    def update(
        grads: Any, state: AdamaxState, params: Any = None, **extra: Any
    ) -> tuple[Any, AdamaxState]:
        decay_mask = decaying_leaves(op, decaying, mask, params)
        rate, step = current_rate(learning_rate, state), state.step + 1
        b1, correction = state.b1, bias_correction(state.b1, step)

        def rule(g: Array, p: Any, decays: bool, m: Array, v: Array) -> tuple:
            if decays and not decoupled_weight_decay:
                g = g + state.weight_decay * p
            m = b1 * m + (1 - b1) * g
            v = jnp.maximum(state.b2 * v, jnp.abs(g) + state.eps)
            out = m / (correction * v)
            if decays and decoupled_weight_decay:
                out = out + state.weight_decay * p
            return -rate * out, m, v

        updates, mu, nu = map_leaves(rule, grads, params, decay_mask, state.mu, state.nu)
        changes = {"step": step, "learning_rate": rate, "mu": mu, "nu": nu}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)
