"""add_noise: normal noise on gradients, less and less of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr import random
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_flatten, tree_unflatten
from nr.optim.base import GradientTransformation
from nr.optim.hyper import Number, check_nonnegative, hyper_dtype, widen

__all__ = ["AddNoiseState", "add_noise"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class AddNoiseState:
    """The state of `add_noise`.

    Attributes:
        step: i32[], the number of updates made.
        eta: the variance of the first step's noise.
        gamma: how fast the variance falls.
        key: from which those of the steps are made.
    """

    step: Array
    eta: Array
    gamma: Array
    key: Any


def add_noise(eta: Number, gamma: Number, *, key: Any) -> GradientTransformation:
    """Add normal noise of variance ``eta / t**gamma`` to gradients, with t = 1, 2, ...

    Args:
        eta: the variance of the first step's noise.
        gamma: how fast it falls; the paper has 0.55.
        key: for all steps; each takes another part of the stream.

    Source: Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep Networks",
    2015, equation 1.

    Example:
        >>> import nr
        >>> part = nr.optim.add_noise(1.0, 0.5, key=nr.random.key(0))
        >>> noisy, state = part.update(nr.numpy.zeros(10000), part.init(nr.numpy.zeros(10000)))
        >>> noisy.std().round(1), part.update(noisy * 0, state)[0].std().round(1)
        (Array(1., dtype=float32), Array(0.8, dtype=float32))
    """
    op = "add_noise"
    check_nonnegative(op, eta=eta, gamma=gamma)

    def init(params: Any) -> AddNoiseState:
        dtype = hyper_dtype(op, params)
        variance, fall = jnp.asarray(eta, dtype), jnp.asarray(gamma, dtype)
        return AddNoiseState(jnp.zeros((), "int32"), variance, fall, key)

    def update(
        grads: Any, state: AddNoiseState, params: Any = None, **extra: Any
    ) -> tuple[Any, AddNoiseState]:
        step = state.step + 1
        size = jnp.sqrt(state.eta * step.astype(state.eta.dtype) ** -state.gamma)
        leaves, treedef = tree_flatten(grads)
        keys = random.split(random.fold_in(state.key, state.step), max(len(leaves), 1))
        noisy = []
        for g, k in zip(leaves, keys):
            wide = widen(g)
            noisy.append((wide + size * random.normal(k, g.shape, wide.dtype)).astype(g.dtype))
        return tree_unflatten(treedef, noisy), dataclasses.replace(state, step=step)

    return GradientTransformation(init, update)
