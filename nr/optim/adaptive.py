"""Rates of each element from the sizes of its gradients: RMSprop, Adagrad, Adadelta."""

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
from nr.optim.hyper import bias_correction as _bias_correction
from nr.optim.weight_decay import decaying_leaves

__all__ = [
    "AdadeltaState",
    "AdagradState",
    "RMSpropState",
    "adadelta",
    "adagrad",
    "rmsprop",
]


# ---------------------------------------------------------------- RMSprop
@register_dataclass
@dataclasses.dataclass(frozen=True)
class RMSpropState:
    """The state of `rmsprop`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        decay: the factor by which averages decay.
        eps: what is added to the root, or under it.
        momentum: the factor by which the velocity decays.
        weight_decay: the factor of parameters that is added to gradients.
        nu: the average of squared gradients, like params.
        mu: the average of gradients; None unless centered.
        velocity: like params; None without momentum.
    """

    step: Array
    learning_rate: Array
    decay: Array
    eps: Array
    momentum: Array
    weight_decay: Array
    nu: Any
    mu: Any
    velocity: Any


def rmsprop(
    learning_rate: Rate,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: Number = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Number = 0.0,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    weight_decay: Number = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """RMSprop: gradients over the root of the average squared gradient.

    ``nu = decay * nu + (1 - decay) * g**2`` and ``velocity = momentum * velocity +
    g / sqrt(nu + eps)``; the step is ``-lr * velocity``.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one. It is not
            part of the velocity (as in PyTorch; in Optax it is, which differs where it changes).
        decay: in [0, 1).
        eps: added under the root.
        initial_scale: the first nu.
        eps_in_sqrt: False for ``sqrt(nu) + eps`` (PyTorch's definition).
        centered: divide by the deviation: the root of ``nu - mu**2``, mu being the average g.
        momentum: in [0, 1).
        nesterov: step by the velocity looked for one step ahead.
        bias_correction: divide nu, and mu, by ``1 - decay**t``, as in `adam`.
        weight_decay: ``weight_decay * params`` is added to gradients. Where it is not the number
            0, ``update`` needs the parameters.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: Hinton, "Neural Networks for Machine Learning", lecture 6, 2012; Graves, "Generating
    Sequences With Recurrent Neural Networks", 2013, equations 38 to 45, for the centered form.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.rmsprop(0.1, decay=0.75)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([1.0, -5.0]), state)[0].round(4)
        Array([-0.2,  0.2], dtype=float32)
    """
    op, decaying, corrects = "rmsprop", not is_zero(weight_decay), bias_correction
    check_nonnegative(op, learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check_nonnegative(op, below=1, decay=decay, momentum=momentum)
    check_nonnegative(op, initial_scale=initial_scale)
    has_velocity = nesterov or not is_zero(momentum)

    def init(params: Any) -> RMSpropState:
        hyper = {"decay": decay, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        return RMSpropState(
            **common_fields(op, params, learning_rate, **hyper),
            nu=moments_like(params, initial_scale),
            mu=moments_like(params) if centered else None,
            velocity=moments_like(params) if has_velocity else None,
        )

    def update(
        grads: Any, state: RMSpropState, params: Any = None, **extra: Any
    ) -> tuple[Any, RMSpropState]:
        decay_mask = decaying_leaves(op, decaying, mask, params)
        rate, step = current_rate(learning_rate, state), state.step + 1
        keep, momentum = state.decay, state.momentum
        scale = 1 / _bias_correction(keep, step) if corrects else None

        def rule(g: Array, p: Any, decays: bool, nu: Array, mu: Any, velocity: Any) -> tuple:
            if decays:
                g = g + state.weight_decay * p
            nu = keep * nu + (1 - keep) * jnp.square(g)
            square = nu if scale is None else scale * nu
            if mu is not None:
                mu = keep * mu + (1 - keep) * g
                mean = mu if scale is None else scale * mu
                # A variance of 0 may come out negative.
                square = jnp.maximum(square - jnp.square(mean), 0)
            out = g / _root(square, state.eps, eps_in_sqrt)
            if velocity is not None:
                velocity = momentum * velocity + out
                out = momentum * velocity + out if nesterov else velocity
            return -rate * out, nu, mu, velocity

        moments = (state.nu, state.mu, state.velocity)
        updates, nu, mu, velocity = map_leaves(rule, grads, params, decay_mask, *moments)
        changes = {"step": step, "learning_rate": rate, "nu": nu, "mu": mu, "velocity": velocity}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)


def _root(square: Array, eps: Array, eps_in_sqrt: bool) -> Array:
    return jnp.sqrt(square + eps) if eps_in_sqrt else jnp.sqrt(square) + eps


# ---------------------------------------------------------------- Adagrad
@register_dataclass
@dataclasses.dataclass(frozen=True)
class AdagradState:
    """The state of `adagrad`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        eps: what is added to the root, or under it.
        weight_decay: the factor of parameters that is added to gradients.
        sum_of_squares: of all gradients, like params.
    """

    step: Array
    learning_rate: Array
    eps: Array
    weight_decay: Array
    sum_of_squares: Any


def adagrad(
    learning_rate: Rate,
    initial_accumulator_value: Number = 0.1,
    eps: Number = 1e-7,
    *,
    eps_in_sqrt: bool = True,
    weight_decay: Number = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """Adagrad: gradients over the root of the sum of all squared gradients.

    ``sum = sum + g**2``, and the step is ``-lr * g / sqrt(sum + eps)``; 0 where sum is.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one: PyTorch's
            ``lr_decay`` is ``lambda step: lr / (1 + step * lr_decay)``.
        initial_accumulator_value: the first sum; 0 in PyTorch.
        eps: added under the root.
        eps_in_sqrt: False for ``sqrt(sum) + eps`` (PyTorch's definition).
        weight_decay: ``weight_decay * params`` is added to gradients. Where it is not the number
            0, ``update`` needs the parameters.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", 2011, with a diagonal matrix.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.adagrad(0.1, initial_accumulator_value=0.0)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> for _ in range(4):
        ...     updates, state = optimizer.update(nr.numpy.array([3.0, 0.0]), state)
        >>> updates.round(4) + 0.0
        Array([-0.05,  0.  ], dtype=float32)
    """
    op, decaying = "adagrad", not is_zero(weight_decay)
    check_nonnegative(op, learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check_nonnegative(op, initial_accumulator_value=initial_accumulator_value)

    def init(params: Any) -> AdagradState:
        hyper = {"eps": eps, "weight_decay": weight_decay}
        fields = common_fields(op, params, learning_rate, **hyper)
        sums = moments_like(params, initial_accumulator_value)
        return AdagradState(**fields, sum_of_squares=sums)

    def update(
        grads: Any, state: AdagradState, params: Any = None, **extra: Any
    ) -> tuple[Any, AdagradState]:
        decay_mask = decaying_leaves(op, decaying, mask, params)
        rate = current_rate(learning_rate, state)

        def rule(g: Array, p: Any, decays: bool, total: Array) -> tuple:
            if decays:
                g = g + state.weight_decay * p
            total = total + jnp.square(g)
            # Where nothing has come yet the root is 1, lest it be 0 where eps is.
            root = jnp.where(total > 0, _root(total, state.eps, eps_in_sqrt), 1)
            return -rate * g / root, total

        updates, sums = map_leaves(rule, grads, params, decay_mask, state.sum_of_squares)
        changes = {"step": state.step + 1, "learning_rate": rate, "sum_of_squares": sums}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)


# ---------------------------------------------------------------- Adadelta
@register_dataclass
@dataclasses.dataclass(frozen=True)
class AdadeltaState:
    """The state of `adadelta`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        rho: the factor by which averages decay.
        eps: what is added under the roots.
        weight_decay: the factor of parameters that is added to gradients.
        e_g, e_x: the averages of squared gradients and of squared steps, like params.
    """

    step: Array
    learning_rate: Array
    rho: Array
    eps: Array
    weight_decay: Array
    e_g: Any
    e_x: Any


def adadelta(
    learning_rate: Rate = 1.0,
    rho: Number = 0.9,
    eps: Number = 1e-6,
    weight_decay: Number = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """Adadelta: steps as large as the last ones were, in the gradient's direction.

    ``e_g = rho * e_g + (1 - rho) * g**2``, ``x = g * sqrt(e_x + eps) / sqrt(e_g + eps)``,
    ``e_x = rho * e_x + (1 - rho) * x**2``, and the step is ``-lr * x``.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one.
        rho: in [0, 1).
        eps: added under the roots; it sets the size of the first steps.
        weight_decay: ``weight_decay * params`` is added to gradients. Where it is not the number
            0, ``update`` needs the parameters.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.adadelta(rho=0.75, eps=1e-4)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([1.0, -5.0]), state)[0].round(4)
        Array([-0.02,  0.02], dtype=float32)
    """
    op, decaying = "adadelta", not is_zero(weight_decay)
    check_nonnegative(op, learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check_nonnegative(op, below=1, rho=rho)

    def init(params: Any) -> AdadeltaState:
        hyper = {"rho": rho, "eps": eps, "weight_decay": weight_decay}
        fields = common_fields(op, params, learning_rate, **hyper)
        return AdadeltaState(**fields, e_g=moments_like(params), e_x=moments_like(params))

    def update(
        grads: Any, state: AdadeltaState, params: Any = None, **extra: Any
    ) -> tuple[Any, AdadeltaState]:
        decay_mask = decaying_leaves(op, decaying, mask, params)
        rate, rho, eps = current_rate(learning_rate, state), state.rho, state.eps

        def rule(g: Array, p: Any, decays: bool, e_g: Array, e_x: Array) -> tuple:
            if decays:
                g = g + state.weight_decay * p
            e_g = rho * e_g + (1 - rho) * jnp.square(g)
            x = g * jnp.sqrt((e_x + eps) / (e_g + eps))
            return -rate * x, e_g, rho * e_x + (1 - rho) * jnp.square(x)

        updates, e_g, e_x = map_leaves(rule, grads, params, decay_mask, state.e_g, state.e_x)
        changes = {"step": state.step + 1, "learning_rate": rate, "e_g": e_g, "e_x": e_x}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)
