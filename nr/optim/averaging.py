"""Averages along a trajectory: moving averages of gradients or weights, and lookahead."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_map
from nr.optim.base import GradientTransformation
from nr.optim.hyper import (
    Number,
    bias_correction,
    check_nonnegative,
    hyper_dtype,
    moments_like,
    need_params,
)
from nr.tree import trainable

__all__ = ["EmaState", "LookaheadState", "ema", "lookahead"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class EmaState:
    """The state of `ema`.

    Attributes:
        step: i32[], how many trees were averaged.
        decay: the weight of the old average.
        average: the sum of trees by their weights, in float32 at least, before the correction.
    """

    step: Array
    decay: Array
    average: Any


def ema(decay: Number, debias: bool = True) -> GradientTransformation:
    """Exponential moving average: ``average = decay * average + (1 - decay) * new``.

    In a chain it averages gradients. On its own it averages weights: call its ``update`` with the
    parameters after each step, and evaluate with what it returns. ``masked(ema(decay))`` leaves
    the running statistics of a model as they are.

    Args:
        decay: in [0, 1).
        debias: divide by the sum of the weights, ``1 - decay**step``, so that the first values
            are not averaged with zeros.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992;
    the correction is that of Kingma and Ba, "Adam", 2014, section 3.

    Example:
        >>> import nr
        >>> average = nr.optim.ema(0.5)
        >>> state = average.init(nr.numpy.zeros(()))
        >>> for weight in (3.0, 6.0):
        ...     averaged, state = average.update(nr.numpy.array(weight), state)
        >>> averaged
        Array(5., dtype=float32)
    """
    check_nonnegative("ema", below=1, decay=decay)

    def init(params: Any) -> EmaState:
        dtype = hyper_dtype("ema", params)
        return EmaState(jnp.zeros((), "int32"), jnp.asarray(decay, dtype), moments_like(params))

    def update(
        grads: Any, state: EmaState, params: Any = None, **extra: Any
    ) -> tuple[Any, EmaState]:
        step, rate = state.step + 1, state.decay
        average = tree_map(
            lambda a, x: (rate * a + (1 - rate) * x).astype(a.dtype), state.average, grads
        )
        weight = bias_correction(rate, step) if debias else 1
        averaged = tree_map(lambda a, x: (a / weight).astype(x.dtype), average, grads)
        return averaged, EmaState(step, rate, average)

    return GradientTransformation(init, update)


@register_dataclass
@dataclasses.dataclass(frozen=True)
class LookaheadState:
    """The state of `lookahead`.

    Attributes:
        step: i32[], how many steps were made since the fast weights were set to the slow.
        sync_period: i32[], after how many they are.
        slow_step_size: which part of the way the slow weights go.
        slow: the slow weights, like params, in float32 at least; None for what is not trained.
        inner: the state of the fast optimizer.
    """

    step: Array
    sync_period: Array
    slow_step_size: Array
    slow: Any
    inner: Any


def lookahead(
    transformation: GradientTransformation, sync_period: int = 5, slow_step_size: Number = 0.5
) -> GradientTransformation:
    """Every few steps, go back a part of the way: to slow weights that follow the fast ones.

    The parameters are the fast weights, and ``update`` needs them; just after every
    sync_period-th step they are the slow weights. Its updates must reach the parameters unchanged,
    so that it stands last in a chain. Running statistics are left to themselves.

    Args:
        transformation: the optimizer that makes the fast steps.
        sync_period: how many of them are made.
        slow_step_size: which part of their way the slow weights go.

    Source: Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", 2019, algorithm 1.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.lookahead(nr.optim.sgd(1.0), sync_period=2, slow_step_size=0.5)
        >>> params = nr.numpy.zeros(())
        >>> state = optimizer.init(params)
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(nr.numpy.array(-1.0), state, params)
        ...     params = nr.optim.apply_updates(params, updates)
        ...     print(params)
        1.0
        1.0
    """
    op = "lookahead"
    check_nonnegative(op, slow_step_size=slow_step_size)
    if sync_period < 1:
        raise ValueError(f"{op}: sync_period must be at least 1; got {sync_period}.")

    def init(params: Any) -> LookaheadState:
        dtype = hyper_dtype(op, params)

        def first(p: Any, trains: bool) -> Array | None:
            return jnp.asarray(p, dtypes.promote_types(p.dtype, "float32")) if trains else None

        return LookaheadState(
            step=jnp.zeros((), "int32"),
            sync_period=jnp.asarray(sync_period, "int32"),
            slow_step_size=jnp.asarray(slow_step_size, dtype),
            slow=tree_map(first, params, trainable(params)),
            inner=transformation.init(params),
        )

    def update(
        grads: Any, state: LookaheadState, params: Any = None, **extra: Any
    ) -> tuple[Any, LookaheadState]:
        need_params(op, params, "slow weights follow them")
        fast, inner = transformation.update(grads, state.inner, params, **extra)
        step = state.step + 1
        syncs = step >= state.sync_period

        def follow(u: Array, p: Array, slow: Array | None) -> Array | None:
            if slow is None:
                return None
            moved = slow + state.slow_step_size * (p + u - slow)
            return jnp.where(syncs, moved, slow).astype(slow.dtype)

        def change(u: Array, p: Array, slow: Array | None) -> Array:
            return u if slow is None else jnp.where(syncs, slow - p, u).astype(u.dtype)

        slow = tree_map(follow, fast, params, state.slow)
        updates = tree_map(change, fast, params, slow)
        changed = dataclasses.replace(state, step=jnp.where(syncs, 0, step), slow=slow, inner=inner)
        return updates, changed

    return GradientTransformation(init, update)
