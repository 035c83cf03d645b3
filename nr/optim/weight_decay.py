"""Weight decay as a part of chains, and the masks that say which leaves decay."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_broadcast, tree_map
from nr.optim.base import GradientTransformation
from nr.optim.hyper import Number, check_nonnegative, hyper_dtype, map_leaves, need_params
from nr.tree import trainable

__all__ = ["AddDecayedWeightsState", "add_decayed_weights", "decaying_leaves", "mask_for"]


def mask_for(op: str, mask: Any, params: Any) -> Any:
    """The tree of bools, like params, that a ``mask`` argument stands for.

    Args:
        op: the name for error messages.
        mask: None for all that is trained (`nr.tree.trainable`), a tree of bools that has the
            structure of params or a prefix of it, or a function from params to such a tree.
        params: a pytree of arrays.
    """
    if mask is None:
        return trainable(params)
    try:
        return tree_map(bool, tree_broadcast(mask(params) if callable(mask) else mask, params))
    except ValueError as error:
        raise ValueError(
            f"{op}: a mask like the parameters was required: a tree of bools with their "
            f"structure or a prefix of it. {error}"
        ) from None


def decaying_leaves(op: str, decaying: bool, mask: Any, params: Any) -> Any:
    """What `map_leaves` takes as mask for an optimizer that decays, or does not."""
    if not decaying:
        return None
    need_params(op, params, "they decay")
    return mask_for(op, mask, params)


@register_dataclass
@dataclasses.dataclass(frozen=True)
class AddDecayedWeightsState:
    """The state of `add_decayed_weights`.

    Attributes:
        weight_decay: the factor of the parameters.
    """

    weight_decay: Array


def add_decayed_weights(weight_decay: Number = 0.0, mask: Any = None) -> GradientTransformation:
    """Add ``weight_decay * params`` to what comes in: L2 regularization, before an optimizer.

    Args:
        weight_decay: not negative.
        mask: which leaves decay: None for all that is trained, so that running statistics stay as
            they are; or a tree of bools like params, or a function from params to one.

    Example:
        >>> import nr
        >>> params = {"weight": nr.numpy.ones(2), "bias": nr.numpy.ones(())}
        >>> matrices = lambda params: nr.tree.map(lambda p: p.ndim > 0, params)
        >>> decay = nr.optim.add_decayed_weights(0.5, mask=matrices)
        >>> grads = nr.tree.map(nr.numpy.zeros_like, params)
        >>> decay.update(grads, decay.init(params), params)[0]
        {'bias': Array(0., dtype=float32), 'weight': Array([0.5, 0.5], dtype=float32)}
    """
    op = "add_decayed_weights"
    check_nonnegative(op, weight_decay=weight_decay)

    def init(params: Any) -> AddDecayedWeightsState:
        return AddDecayedWeightsState(jnp.asarray(weight_decay, hyper_dtype(op, params)))

    def update(
        grads: Any, state: AddDecayedWeightsState, params: Any = None, **extra: Any
    ) -> tuple[Any, AddDecayedWeightsState]:

        def rule(g: Array, p: Array, decays: bool) -> tuple[Array]:
            return (g + state.weight_decay * p if decays else g,)

        (updates,) = map_leaves(rule, grads, params, decaying_leaves(op, True, mask, params))
        return updates, state

    return GradientTransformation(init, update)
