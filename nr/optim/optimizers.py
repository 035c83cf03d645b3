"""Optimizers: SGD, Adam, AdamW; clipping of gradients.

Hyper-parameters are arrays of rank 0 in the state, in the widest dtype of the parameters and at
least float32; arithmetic is done in that dtype or the leaf's, whichever is wider.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import typeof
from nr.core.trees import (
    keystr,
    register_dataclass,
    tree_leaves_with_path,
    tree_map,
)
from nr.optim.base import GradientTransformation, global_norm

__all__ = [
    "AdamState",
    "ClipState",
    "SGDState",
    "adam",
    "adamw",
    "clip_by_global_norm",
    "sgd",
]

Schedule = Callable[[Any], Any]


# ---------------------------------------------------------------- hyper-parameters
def _hyper_dtype(op: str, params: Any) -> np.dtype:
    """The dtype of hyper-parameters for these parameters, which must be real."""
    dtype = dtypes.DTYPES["float32"]
    for path, leaf in tree_leaves_with_path(params):
        aval = typeof(leaf)
        if aval.dtype not in dtypes.FLOATING:
            raise TypeError(
                f'{op}: floating parameters were required; got {aval} at "params{keystr(path)}". '
                "Keep what is not trained out of the parameters, or mark it static."
            )
        dtype = dtypes.promote_types(dtype, aval.dtype)
    return dtype


def _check_nonnegative(op: str, below: float = np.inf, **hyper: Any) -> None:
    for name, value in hyper.items():
        if isinstance(value, (int, float)) and not 0 <= value < below:
            upper = "" if below == np.inf else f" and less than {below:g}"
            raise ValueError(f"{op}: {name} must not be negative{upper}; got {value}.")


def _rate_at(learning_rate: Any, step: Array, dtype: np.dtype) -> Array:
    """A schedule's value at a step, or the fixed rate."""
    return jnp.asarray(learning_rate(step) if callable(learning_rate) else learning_rate, dtype)


def _current_rate(learning_rate: Any, state: Any) -> Array:
    """What this update uses: the state's own rate, unless a schedule says otherwise."""
    if callable(learning_rate):
        return _rate_at(learning_rate, state.step, state.learning_rate.dtype)
    return state.learning_rate


def _zeros_like(params: Any) -> Any:
    return tree_map(jnp.zeros_like, params)


# ---------------------------------------------------------------- SGD
@register_dataclass
@dataclasses.dataclass(frozen=True)
class SGDState:
    """The state of `sgd`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        momentum: the factor by which the velocity decays.
        velocity: like params; None for an SGD made without momentum.
    """

    step: Array
    learning_rate: Array
    momentum: Array
    velocity: Any


def sgd(
    learning_rate: float | Array | Schedule,
    momentum: float | Array = 0.0,
    nesterov: bool = False,
) -> GradientTransformation:
    """Stochastic gradient descent: ``velocity = momentum * velocity + g``, step ``-lr * velocity``.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one.
        momentum: in [0, 1).
        nesterov: step by ``g + momentum * velocity``: the gradient looked for one step ahead.

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
    _check_nonnegative("sgd", learning_rate=learning_rate)
    _check_nonnegative("sgd", below=1, momentum=momentum)
    has_velocity = nesterov or not isinstance(momentum, (int, float)) or momentum != 0

    def init(params: Any) -> SGDState:
        dtype = _hyper_dtype("sgd", params)
        step = jnp.zeros((), "int32")
        return SGDState(
            step,
            _rate_at(learning_rate, step, dtype),
            jnp.asarray(momentum, dtype),
            _zeros_like(params) if has_velocity else None,
        )

    def update(
        grads: Any, state: SGDState, params: Any = None, **extra: Any
    ) -> tuple[Any, SGDState]:
        rate = _current_rate(learning_rate, state)
        velocity, directions = None, grads
        if has_velocity:
            velocity = tree_map(
                lambda v, g: (state.momentum * v + g).astype(v.dtype), state.velocity, grads
            )
            directions = velocity
            if nesterov:
                directions = tree_map(lambda v, g: state.momentum * v + g, velocity, grads)
        updates = tree_map(lambda d, g: (-rate * d).astype(g.dtype), directions, grads)
        return updates, SGDState(state.step + 1, rate, state.momentum, velocity)

    return GradientTransformation(init, update)


# ---------------------------------------------------------------- Adam
@register_dataclass
@dataclasses.dataclass(frozen=True)
class AdamState:
    """The state of `adam` and `adamw`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        b1, b2: the factors by which the averages decay.
        eps: what is added to the root.
        weight_decay: of `adamw`; 0 for `adam`.
        mu, nu: the averages of gradients and of their squares, like params.
    """

    step: Array
    learning_rate: Array
    b1: Array
    b2: Array
    eps: Array
    weight_decay: Array
    mu: Any
    nu: Any


def adam(
    learning_rate: float | Array | Schedule,
    b1: float | Array = 0.9,
    b2: float | Array = 0.999,
    eps: float | Array = 1e-8,
) -> GradientTransformation:
    """Adam: steps of the average gradient over the root of the average squared gradient.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one.
        b1, b2: in [0, 1), the decay of the averages of gradients and of squares.
        eps: added to the root, after the correction of its bias.

    Source: Kingma and Ba, "Adam: a Method for Stochastic Optimization", 2014, algorithm 1.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.adam(lambda step: 0.1 / (1 + step))
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(nr.numpy.array([1.0, -5.0]), state)
        >>> updates.round(4), state.learning_rate
        (Array([-0.05,  0.05], dtype=float32), Array(0.05, dtype=float32))
    """
    return _adam("adam", learning_rate, b1, b2, eps, None)


def adamw(
    learning_rate: float | Array | Schedule,
    b1: float | Array = 0.9,
    b2: float | Array = 0.999,
    eps: float | Array = 1e-8,
    weight_decay: float | Array = 1e-2,
) -> GradientTransformation:
    """Adam with decoupled weight decay: each step also takes ``lr * weight_decay * params`` off.

    Args:
        learning_rate, b1, b2, eps: as in `adam`.
        weight_decay: the rate of decay; ``update`` needs the parameters.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017.
    """
    return _adam("adamw", learning_rate, b1, b2, eps, weight_decay)


def _adam(
    op: str, learning_rate: Any, b1: Any, b2: Any, eps: Any, weight_decay: Any
) -> GradientTransformation:
    decays = weight_decay is not None
    _check_nonnegative(op, learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    _check_nonnegative(op, below=1, b1=b1, b2=b2)

    def init(params: Any) -> AdamState:
        dtype = _hyper_dtype(op, params)
        step = jnp.zeros((), "int32")
        return AdamState(
            step,
            _rate_at(learning_rate, step, dtype),
            b1=jnp.asarray(b1, dtype),
            b2=jnp.asarray(b2, dtype),
            eps=jnp.asarray(eps, dtype),
            weight_decay=jnp.asarray(weight_decay if decays else 0.0, dtype),
            mu=_zeros_like(params),
            nu=_zeros_like(params),
        )

    def update(
        grads: Any, state: AdamState, params: Any = None, **extra: Any
    ) -> tuple[Any, AdamState]:
        if decays and params is None:
            raise ValueError(
                f"{op}: the parameters were required, since they decay; got None for "
                f'"params". Write update(grads, state, params).'
            )
        rate = _current_rate(learning_rate, state)
        step = state.step + 1
        b1, b2 = state.b1, state.b2
        mu = tree_map(lambda m, g: (b1 * m + (1 - b1) * g).astype(m.dtype), state.mu, grads)
        nu = tree_map(
            lambda v, g: (b2 * v + (1 - b2) * jnp.square(g)).astype(v.dtype), state.nu, grads
        )
        # Of m / c1 / (sqrt(v / c2) + eps) the parts that are no arrays are gathered first.
        root2 = jnp.sqrt(_bias_correction(b2, step))
        size = rate * root2 / _bias_correction(b1, step)
        eps = state.eps * root2

        def change(m: Array, v: Array, g: Array, *p: Array) -> Array:
            out = -size * m / (jnp.sqrt(v) + eps)
            if p:
                out = out - rate * state.weight_decay * p[0]
            return out.astype(g.dtype)

        rest = (params,) if decays else ()
        updates = tree_map(change, mu, nu, grads, *rest)
        changed = dataclasses.replace(state, step=step, learning_rate=rate, mu=mu, nu=nu)
        return updates, changed

    return GradientTransformation(init, update)


def _bias_correction(decay: Array, step: Array) -> Array:
    """1 - decay**step, without the cancellation that costs float32 three digits at 0.999."""
    return -jnp.expm1(step.astype(decay.dtype) * jnp.log(decay))


# ---------------------------------------------------------------- clipping
@register_dataclass
@dataclasses.dataclass(frozen=True)
class ClipState:
    """The state of `clip_by_global_norm`.

    Attributes:
        max_norm: the largest norm let through.
        norm: that of the last gradients, before clipping.
    """

    max_norm: Array
    norm: Array


def clip_by_global_norm(max_norm: float | Array) -> GradientTransformation:
    """Scale gradients down where the norm of all of them together exceeds a bound.

    Args:
        max_norm: positive.

    Source: Pascanu, Mikolov, Bengio, "On the Difficulty of Training Recurrent Neural Networks",
    2012, algorithm 1.
    """
    if isinstance(max_norm, (int, float)) and not max_norm > 0:
        raise ValueError(f"clip_by_global_norm: max_norm must be positive; got {max_norm}.")

    def init(params: Any) -> ClipState:
        dtype = _hyper_dtype("clip_by_global_norm", params)
        return ClipState(jnp.asarray(max_norm, dtype), jnp.zeros((), dtype))

    def update(
        grads: Any, state: ClipState, params: Any = None, **extra: Any
    ) -> tuple[Any, ClipState]:
        norm = global_norm(grads).astype(state.norm.dtype)
        # maximum, so that gradients of norm 0 are not divided by it.
        factor = state.max_norm / jnp.maximum(norm, state.max_norm)
        clipped = tree_map(lambda g: (factor * g).astype(g.dtype), grads)
        return clipped, ClipState(state.max_norm, norm)

    return GradientTransformation(init, update)
