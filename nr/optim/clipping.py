"""Clipping of gradients: by value, and by norms of leaves, of units, or of all together.

All of them leave small gradients as they are, bit for bit, and let NaN through.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_map
from nr.optim.base import GradientTransformation, global_norm
from nr.optim.hyper import Number, hyper_dtype, need_params

__all__ = [
    "AdaptiveClipState",
    "BoundState",
    "ClipState",
    "adaptive_grad_clip",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "clip_by_norm",
]


def _check_positive(op: str, **hyper: Any) -> None:
    for name, value in hyper.items():
        if isinstance(value, (int, float)) and not value > 0:
            raise ValueError(f"{op}: {name} must be positive; got {value}.")


def _scaled(factor: Array, g: Array) -> Array:
    return (factor * g).astype(g.dtype)


# ---------------------------------------------------------------- leaf by leaf
@register_dataclass
@dataclasses.dataclass(frozen=True)
class BoundState:
    """The state of `clip`, `clip_by_norm` and `clip_by_block_rms`.

    Attributes:
        bound: the largest value, norm or root mean square let through.
    """

    bound: Array


def _leafwise(op: str, bound: Number, rule: Callable) -> GradientTransformation:
    def init(params: Any) -> BoundState:
        return BoundState(jnp.asarray(bound, hyper_dtype(op, params)))

    def update(
        grads: Any, state: BoundState, params: Any = None, **extra: Any
    ) -> tuple[Any, BoundState]:
        return tree_map(lambda g: rule(g, state.bound), grads), state

    return GradientTransformation(init, update)


def clip(max_delta: Number) -> GradientTransformation:
    """Clip each element of the gradients to ``[-max_delta, max_delta]``.

    Args:
        max_delta: positive.

    Example:
        >>> import nr
        >>> clip = nr.optim.clip(1.0)
        >>> grads = nr.numpy.array([0.5, -3.0])
        >>> clip.update(grads, clip.init(grads))[0]
        Array([ 0.5, -1. ], dtype=float32)
    """
    _check_positive("clip", max_delta=max_delta)
    return _leafwise("clip", max_delta, lambda g, bound: jnp.clip(g, -bound, bound).astype(g.dtype))


def clip_by_norm(max_norm: Number) -> GradientTransformation:
    """Scale each leaf down where its own Euclidean norm exceeds a bound.

    Args:
        max_norm: positive.

    Example:
        >>> import nr
        >>> clip = nr.optim.clip_by_norm(1.0)
        >>> grads = {"w": nr.numpy.array([3.0, 4.0]), "b": nr.numpy.array([0.5])}
        >>> clip.update(grads, clip.init(grads))[0]
        {'b': Array([0.5], dtype=float32), 'w': Array([0.6, 0.8], dtype=float32)}
    """
    _check_positive("clip_by_norm", max_norm=max_norm)

    def rule(g: Array, bound: Array) -> Array:
        # maximum, so that a norm of 0 is not divided by.
        return _scaled(bound / jnp.maximum(global_norm(_widen(g)), bound), g)

    return _leafwise("clip_by_norm", max_norm, rule)


def clip_by_block_rms(threshold: Number) -> GradientTransformation:
    """Scale each leaf down where the root of the mean of its squares exceeds a bound.

    Args:
        threshold: positive.

    Source: Shazeer and Stern, "Adafactor", 2018, section 6, with one leaf as a block.
    """
    _check_positive("clip_by_block_rms", threshold=threshold)

    def rule(g: Array, bound: Array) -> Array:
        rms = jnp.sqrt(jnp.mean(jnp.square(_widen(g))))
        return _scaled(bound / jnp.maximum(rms, bound), g)

    return _leafwise("clip_by_block_rms", threshold, rule)


def _widen(g: Array) -> Array:
    """g in float32 at least: squares of float16 overflow at 256."""
    return g.astype(dtypes.promote_types(g.dtype, "float32"))


# ---------------------------------------------------------------- all leaves together
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


def clip_by_global_norm(max_norm: Number) -> GradientTransformation:
    """Scale gradients down where the norm of all of them together exceeds a bound.

    Args:
        max_norm: positive.

    Source: Pascanu, Mikolov, Bengio, "On the Difficulty of Training Recurrent Neural Networks",
    2012, algorithm 1.
    """
    _check_positive("clip_by_global_norm", max_norm=max_norm)

    def init(params: Any) -> ClipState:
        dtype = hyper_dtype("clip_by_global_norm", params)
        return ClipState(jnp.asarray(max_norm, dtype), jnp.zeros((), dtype))

    def update(
        grads: Any, state: ClipState, params: Any = None, **extra: Any
    ) -> tuple[Any, ClipState]:
        norm = global_norm(tree_map(_widen, grads)).astype(state.norm.dtype)
        factor = state.max_norm / jnp.maximum(norm, state.max_norm)
        return tree_map(lambda g: _scaled(factor, g), grads), ClipState(state.max_norm, norm)

    return GradientTransformation(init, update)


# ---------------------------------------------------------------- against the parameters
@register_dataclass
@dataclasses.dataclass(frozen=True)
class AdaptiveClipState:
    """The state of `adaptive_grad_clip`.

    Attributes:
        clipping: the largest ratio let through.
        eps: what norms of parameters are taken for where they are smaller.
    """

    clipping: Array
    eps: Array


def adaptive_grad_clip(
    clipping: Number, eps: Number = 1e-3, axis: int | tuple[int, ...] | None = None
) -> GradientTransformation:
    """Scale the gradient of each unit down where it is large against the unit's parameters.

    A unit is what makes one output: a column of a linear weight [in, out], a filter of a
    convolution's [*window, in, out]. Vectors and scalars are one unit.

    Args:
        clipping: the largest ratio of the norms of gradient and parameters, positive.
        eps: norms of parameters are taken to be at least this, so that zeros can change.
        axis: the axes of one unit, for weights of other layouts; by default all but the last.

    Source: Brock et al., "High-Performance Large-Scale Image Recognition Without Normalization",
    2021, section 4.

    Example:
        >>> import nr
        >>> clip = nr.optim.adaptive_grad_clip(0.5)
        >>> weight = nr.numpy.array([[3.0, 1.0], [4.0, 0.0]])
        >>> grads = nr.numpy.array([[0.0, 0.0], [1.0, 1.0]])
        >>> clip.update(grads, clip.init(weight), weight)[0]
        Array([[0. , 0. ],
               [1. , 0.5]], dtype=float32)
    """
    op = "adaptive_grad_clip"
    _check_positive(op, clipping=clipping, eps=eps)

    def init(params: Any) -> AdaptiveClipState:
        dtype = hyper_dtype(op, params)
        return AdaptiveClipState(jnp.asarray(clipping, dtype), jnp.asarray(eps, dtype))

    def update(
        grads: Any, state: AdaptiveClipState, params: Any = None, **extra: Any
    ) -> tuple[Any, AdaptiveClipState]:
        need_params(op, params, "gradients are compared with them")

        def rule(g: Array, p: Array) -> Array:
            largest = state.clipping * jnp.maximum(_unit_norms(p, axis), state.eps)
            return _scaled(largest / jnp.maximum(_unit_norms(g, axis), largest), g)

        return tree_map(rule, grads, params), state

    return GradientTransformation(init, update)


def _unit_norms(x: Array, axis: int | tuple[int, ...] | None) -> Array:
    """The norm of each unit, with axes of size 1 for those summed over."""
    if axis is None:
        is_vector = sum(size > 1 for size in x.shape) <= 1
        axis = tuple(range(x.ndim if is_vector else x.ndim - 1))
    return jnp.sqrt(jnp.sum(jnp.square(_widen(x)), axis=axis, keepdims=True))
