"""For large batches: steps in proportion to the norms of parameters, as those of LARS and LAMB."""

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
    bias_correction,
    check_nonnegative,
    common_fields,
    current_rate,
    hyper_dtype,
    is_zero,
    map_leaves,
    moments_like,
    need_params,
)
from nr.optim.weight_decay import decaying_leaves, mask_for

__all__ = ["LAMBState", "LARSState", "TrustRatioState", "lamb", "lars", "scale_by_trust_ratio"]


def _norm(x: Array) -> Array:
    return jnp.sqrt(jnp.sum(jnp.square(x)))


def _trust_ratio(p: Array, out: Array, coefficient: Any, eps: Any) -> Array:
    """How large a step is to be over how large it is; 1 where one of both has no size."""
    wanted, size = coefficient * _norm(p), _norm(out)
    has_size = (wanted > 0) & (size > 0)
    return jnp.where(has_size, wanted / jnp.where(has_size, size + eps, 1), 1)


# ---------------------------------------------------------------- LARS
@register_dataclass
@dataclasses.dataclass(frozen=True)
class LARSState:
    """The state of `lars`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        weight_decay: the factor of parameters that is added to gradients.
        trust_coefficient: the norm of a step over that of its parameter, at a rate of 1.
        eps: what is added to norms of gradients.
        momentum: the factor by which the velocity decays.
        velocity: like params.
    """

    step: Array
    learning_rate: Array
    weight_decay: Array
    trust_coefficient: Array
    eps: Array
    momentum: Array
    velocity: Any


def lars(
    learning_rate: Rate,
    weight_decay: Number = 0.0,
    weight_decay_mask: Any = None,
    trust_coefficient: Number = 0.001,
    eps: Number = 0.0,
    trust_ratio_mask: Any = None,
    momentum: Number = 0.9,
    nesterov: bool = False,
) -> GradientTransformation:
    """LARS: momentum, with gradients of each leaf scaled by ``norm(params) / norm(gradients)``.

    With ``d = g + weight_decay * params`` and ``ratio = trust_coefficient * norm(params) /
    (norm(d) + eps)``, ``velocity = momentum * velocity + lr * ratio * d``, which is the step.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one; it is part
            of the velocity.
        weight_decay: not negative.
        weight_decay_mask: which leaves decay, as in `add_decayed_weights`.
        trust_coefficient: the norm of a step over that of its parameter, at a rate of 1.
        eps: added to norms of gradients.
        trust_ratio_mask: which leaves' gradients are scaled; biases and scales of norms usually
            are not. As weight_decay_mask.
        momentum: in [0, 1).
        nesterov: step by the velocity looked for one step ahead.

    Source: You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", 2017,
    algorithm 1.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.lars(0.1, trust_coefficient=1.0)
        >>> params = nr.numpy.array([3.0, 4.0])
        >>> state = optimizer.init(params)
        >>> optimizer.update(nr.numpy.array([0.0, 20.0]), state, params)[0] + 0.0
        Array([ 0. , -0.5], dtype=float32)
    """
    op = "lars"
    check_nonnegative(op, learning_rate=learning_rate, weight_decay=weight_decay)
    check_nonnegative(op, trust_coefficient=trust_coefficient, eps=eps)
    check_nonnegative(op, below=1, momentum=momentum)
    hyper = {"weight_decay": weight_decay, "trust_coefficient": trust_coefficient, "eps": eps}

    def init(params: Any) -> LARSState:
        fields = common_fields(op, params, learning_rate, **hyper, momentum=momentum)
        return LARSState(**fields, velocity=moments_like(params))

    def update(
        grads: Any, state: LARSState, params: Any = None, **extra: Any
    ) -> tuple[Any, LARSState]:
        need_params(op, params, "steps are in proportion to them")
        decaying = mask_for(op, weight_decay_mask, params)
        scaled = mask_for(op, trust_ratio_mask, params)
        masks = tree_map(lambda *both: both, decaying, scaled)
        rate, momentum = current_rate(learning_rate, state), state.momentum

        def rule(g: Array, p: Array, masks: tuple[bool, bool], velocity: Array) -> tuple:
            decays, scales = masks
            if decays and not is_zero(weight_decay):
                g = g + state.weight_decay * p
            ratio = _trust_ratio(p, g, state.trust_coefficient, state.eps) if scales else 1
            out = rate * ratio * g
            velocity = momentum * velocity + out
            return -(momentum * velocity + out if nesterov else velocity), velocity

        updates, velocity = map_leaves(rule, grads, params, masks, state.velocity)
        changes = {"step": state.step + 1, "learning_rate": rate, "velocity": velocity}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)


# ---------------------------------------------------------------- LAMB
@register_dataclass
@dataclasses.dataclass(frozen=True)
class LAMBState:
    """The state of `lamb`.

    Attributes:
        step, learning_rate, b1, b2, eps, eps_root, weight_decay, mu, nu: as in `AdamState`.
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


def lamb(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """LAMB: the steps of `adamw`, of each leaf scaled to ``lr * norm(params)``.

    With d, Adam's direction plus ``weight_decay * params``, the step is
    ``-lr * d * norm(params) / norm(d)``; ``-lr * d`` where one of the norms is 0.

    Args:
        learning_rate, b1, b2, eps, eps_root: as in `adam`.
        weight_decay: not negative.
        mask: which leaves decay, as in `add_decayed_weights`.

    Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
    2019, algorithm 2.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.lamb(0.1)
        >>> params = nr.numpy.array([3.0, 4.0])
        >>> state = optimizer.init(params)
        >>> optimizer.update(nr.numpy.array([0.0, 20.0]), state, params)[0] + 0.0
        Array([ 0. , -0.5], dtype=float32)
    """
    op = "lamb"
    hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
    check_adam(op, learning_rate, **hyper)

    def init(params: Any) -> LAMBState:
        fields = common_fields(op, params, learning_rate, **hyper)
        return LAMBState(**fields, mu=moments_like(params), nu=moments_like(params))

    def update(
        grads: Any, state: LAMBState, params: Any = None, **extra: Any
    ) -> tuple[Any, LAMBState]:
        need_params(op, params, "steps are in proportion to them")
        decay_mask = decaying_leaves(op, not is_zero(weight_decay), mask, params)
        rate, step, b1, b2 = current_rate(learning_rate, state), state.step + 1, state.b1, state.b2
        of_mu, of_nu = 1 / bias_correction(b1, step), 1 / bias_correction(b2, step)

        def rule(g: Array, p: Array, decays: bool, mu: Array, nu: Array) -> tuple:
            mu = b1 * mu + (1 - b1) * g
            nu = b2 * nu + (1 - b2) * jnp.square(g)
            out = of_mu * mu / (jnp.sqrt(of_nu * nu + state.eps_root) + state.eps)
            if decays:
                out = out + state.weight_decay * p
            return -rate * _trust_ratio(p, out, 1, 0) * out, mu, nu

        updates, mu, nu = map_leaves(rule, grads, params, decay_mask, state.mu, state.nu)
        changes = {"step": step, "learning_rate": rate, "mu": mu, "nu": nu}
        return updates, dataclasses.replace(state, **changes)

    return GradientTransformation(init, update)


# ---------------------------------------------------------------- the part that both share
@register_dataclass
@dataclasses.dataclass(frozen=True)
class TrustRatioState:
    """The state of `scale_by_trust_ratio`.

    Attributes:
        trust_coefficient: the norm of an update over that of its parameter.
        eps: what is added to norms of updates.
    """

    trust_coefficient: Array
    eps: Array


def scale_by_trust_ratio(
    *, trust_coefficient: Number = 1.0, eps: Number = 0.0
) -> GradientTransformation:
    """Scale each leaf by ``trust_coefficient * norm(params) / (norm(updates) + eps)``.

    Where one of both norms is 0, updates pass as they are. In a chain it makes a LAMB of any
    optimizer of rate 1, followed by `scale`; ``masked`` keeps it off biases.

    Args:
        trust_coefficient: the norm of an update over that of its parameter.
        eps: added to norms of updates.

    Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
    2019, section 3.

    Example:
        >>> import nr
        >>> part = nr.optim.scale_by_trust_ratio()
        >>> params = nr.numpy.array([3.0, 4.0])
        >>> part.update(nr.numpy.array([0.0, 20.0]), part.init(params), params)[0]
        Array([0., 5.], dtype=float32)
    """
    op = "scale_by_trust_ratio"
    check_nonnegative(op, trust_coefficient=trust_coefficient, eps=eps)

    def init(params: Any) -> TrustRatioState:
        dtype = hyper_dtype(op, params)
        return TrustRatioState(jnp.asarray(trust_coefficient, dtype), jnp.asarray(eps, dtype))

    def update(
        grads: Any, state: TrustRatioState, params: Any = None, **extra: Any
    ) -> tuple[Any, TrustRatioState]:
        need_params(op, params, "updates are in proportion to them")

        def rule(g: Array, p: Array, _: Any) -> tuple[Array]:
            return (_trust_ratio(p, g, state.trust_coefficient, state.eps) * g,)

        (updates,) = map_leaves(rule, grads, params, None)
        return updates, state

    return GradientTransformation(init, update)
