"""Adafactor: second moments of matrices from their rows and columns."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_map
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
    need_params,
)
from nr.optim.weight_decay import decaying_leaves

__all__ = ["AdafactorState", "adafactor"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class AdafactorState:
    """The state of `adafactor`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        decay_rate: how fast averages get longer.
        decay_offset: the step from which averages start.
        clipping_threshold: the largest root mean square of a direction; infinite for none.
        momentum: the factor by which the average of steps decays.
        weight_decay_rate: the part of parameters taken off in a step.
        eps: what is added to squares.
        v_row, v_col: the average squares of factored leaves, reduced over the largest axis and over
            the second largest; of size 0 for other leaves.
        v: the average squares of other leaves; of size 0 for factored ones.
        mu: the average of steps, like params; None without momentum.
    """

    step: Array
    learning_rate: Array
    decay_rate: Array
    decay_offset: Array
    clipping_threshold: Array
    momentum: Array
    weight_decay_rate: Array
    eps: Array
    v_row: Any
    v_col: Any
    v: Any
    mu: Any


def adafactor(
    learning_rate: Rate,
    min_dim_size_to_factor: int = 128,
    decay_rate: Number = 0.8,
    decay_offset: Number = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Number | None = 1.0,
    momentum: Number = 0.0,
    weight_decay_rate: Number = 0.0,
    eps: Number = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any = None,
) -> GradientTransformation:
    """Adafactor: gradients over the root of average squares, kept as sums of rows and columns.

    Averages decay by ``1 - (t - decay_offset) ** -decay_rate`` in step t = 1, 2, ... Those of a
    matrix are ``v_row * v_col / mean(v_row)``. Directions whose root mean square exceeds
    clipping_threshold are scaled down to it; the step is ``-lr * max(rms(params), 1e-3)`` times
    the direction.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one; the paper's is
            ``lambda step: jnp.minimum(1e-2, (1.0 + step) ** -0.5)``.
        min_dim_size_to_factor: leaves are factored where their two largest axes have this size.
        decay_rate: positive.
        decay_offset: where training goes on from a state without averages, the step of that.
        multiply_by_parameter_scale: False for steps of ``-lr`` times the direction.
        clipping_threshold: positive, or None.
        momentum: in [0, 1), the decay of an average of steps that is taken in their place.
        weight_decay_rate: the part of the parameters that is taken off in each step, whatever the
            rate (Optax's definition; in PyTorch the rate is a factor of it).
        eps: added to squares. PyTorch bounds averages from below instead.
        factored: False for averages of all elements of all leaves.
        weight_decay_mask: which leaves decay, as in `add_decayed_weights`.

    Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
    2018, algorithms 4 and 5.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.adafactor(0.1)
        >>> params = nr.numpy.ones((256, 512))
        >>> state = optimizer.init(params)
        >>> state.v_row.shape, state.v_col.shape, state.v.shape
        ((256,), (512,), (0,))
        >>> optimizer.update(2 * params, state, params)[0][0, :3].round(4)
        Array([-0.1, -0.1, -0.1], dtype=float32)
    """
    op = "adafactor"
    has_momentum, decaying = not is_zero(momentum), not is_zero(weight_decay_rate)
    check_nonnegative(op, learning_rate=learning_rate, eps=eps, decay_rate=decay_rate)
    check_nonnegative(op, weight_decay_rate=weight_decay_rate)
    check_nonnegative(op, below=1, momentum=momentum)
    clips = clipping_threshold is not None
    if clips and isinstance(clipping_threshold, (int, float)) and not clipping_threshold > 0:
        raise ValueError(
            f"{op}: clipping_threshold must be positive; got {clipping_threshold}. "
            "Write None for no clipping."
        )
    hyper = {
        "decay_rate": decay_rate,
        "decay_offset": decay_offset,
        "clipping_threshold": clipping_threshold if clips else np.inf,
        "momentum": momentum,
        "weight_decay_rate": weight_decay_rate,
        "eps": eps,
    }

    def axes_of(leaf: Any) -> tuple[int, int] | None:
        """The largest axis and the second largest of what is factored."""
        shape = np.shape(leaf)
        if not factored or len(shape) < 2:
            return None
        second, first = (int(axis) for axis in np.argsort(shape, kind="stable")[-2:])
        return (first, second) if shape[second] >= min_dim_size_to_factor else None

    def init(params: Any) -> AdafactorState:
        def reduced(which: int, like: Any) -> Array:
            axes = axes_of(like)
            shape = (0,) if axes is None else np.delete(like.shape, axes[which]).tolist()
            return jnp.zeros(shape, like.dtype)

        full = moments_like(params)
        return AdafactorState(
            **common_fields(op, params, learning_rate, **hyper),
            v_row=tree_map(lambda m: reduced(0, m), full),
            v_col=tree_map(lambda m: reduced(1, m), full),
            v=tree_map(lambda m: m if axes_of(m) is None else jnp.zeros(0, m.dtype), full),
            mu=moments_like(params) if has_momentum else None,
        )

    def update(
        grads: Any, state: AdafactorState, params: Any = None, **extra: Any
    ) -> tuple[Any, AdafactorState]:
        if multiply_by_parameter_scale:
            need_params(op, params, "steps are in proportion to them")
        decay_mask = decaying_leaves(op, decaying, weight_decay_mask, params)
        rate, step = current_rate(learning_rate, state), state.step + 1
        share = (step - state.decay_offset) ** -state.decay_rate  # of the new in averages

        def average(old: Array, new: Array) -> Array:
            return (1 - share) * old + share * new

        def rule(
            g: Array, p: Any, decays: bool, v_row: Array, v_col: Array, v: Array, mu: Any
        ) -> tuple:
            square = jnp.square(g) + state.eps
            axes = axes_of(g)
            if axes is None:
                v = average(v, square)
                out = g / jnp.sqrt(v)
            else:
                first, second = axes
                v_row = average(v_row, jnp.mean(square, axis=first))
                v_col = average(v_col, jnp.mean(square, axis=second))
                rest = second - 1 if second > first else second
                row = jnp.sqrt(jnp.mean(v_row, axis=rest, keepdims=True) / v_row)
                column = 1 / jnp.sqrt(v_col)
                out = g * jnp.expand_dims(row, first) * jnp.expand_dims(column, second)
            size = rate
            if clips:
                size = size / jnp.maximum(1, _rms(out) / state.clipping_threshold)
            if multiply_by_parameter_scale:
                size = size * jnp.maximum(_rms(p), _MIN_SCALE)
            out = size * out
            if mu is not None:
                out = mu = state.momentum * mu + (1 - state.momentum) * out
            if decays:
                out = out + state.weight_decay_rate * p
            return -out, v_row, v_col, v, mu

        moments = (state.v_row, state.v_col, state.v, state.mu)
        updates, v_row, v_col, v, mu = map_leaves(rule, grads, params, decay_mask, *moments)
        changes = {"v_row": v_row, "v_col": v_col, "v": v, "mu": mu}
        return updates, dataclasses.replace(state, step=step, learning_rate=rate, **changes)

    return GradientTransformation(init, update)


# Parameters that are 0 at first must be able to leave it (the paper's eps_2).
_MIN_SCALE = 1e-3


def _rms(x: Array) -> Array:
    return jnp.sqrt(jnp.sum(jnp.square(x)) / max(x.size, 1))
