"""Transformations of some leaves only: masks, groups with settings of their own, frozen leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import nr.numpy as jnp
from nr.core.trees import (
    keystr,
    register_dataclass,
    tree_broadcast,
    tree_flatten,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_unflatten,
)
from nr.optim.base import GradientTransformation
from nr.optim.weight_decay import mask_for

__all__ = ["PartitionState", "masked", "partition", "set_to_zero"]


def _keep(tree: Any, flags: list[bool]) -> Any:
    """The tree with None, which has no leaves, in place of the leaves that are not kept."""
    if tree is None:
        return None
    leaves, treedef = tree_flatten(tree)
    return tree_unflatten(treedef, [x if keep else None for x, keep in zip(leaves, flags)])


def set_to_zero() -> GradientTransformation:
    """Updates of zero: for parameters that are frozen.

    Example:
        >>> import nr
        >>> frozen = nr.optim.set_to_zero()
        >>> frozen.update(nr.numpy.ones(2), frozen.init(nr.numpy.ones(2)))[0]
        Array([0., 0.], dtype=float32)
    """

    def update(grads: Any, state: tuple, params: Any = None, **extra: Any) -> tuple[Any, tuple]:
        return tree_map(jnp.zeros_like, grads), state

    return GradientTransformation(lambda params: (), update)


def masked(transformation: GradientTransformation, mask: Any = None) -> GradientTransformation:
    """Apply a transformation to some leaves; the gradients of others pass as they are.

    The state holds nothing for the others: the transformation sees None in their place. Use
    `partition` with `set_to_zero` for leaves that must not change.

    Args:
        transformation: for the leaves whose mask is True.
        mask: a tree of bools like params, or a prefix of one; or a function from params (or
            gradients) to it. By default `nr.tree.trainable`: all but running statistics.

    Example:
        >>> import nr
        >>> params = {"w": nr.numpy.ones(2), "b": nr.numpy.ones(2)}
        >>> clip = nr.optim.masked(nr.optim.clip(0.5), {"w": True, "b": False})
        >>> clip.update(params, clip.init(params))[0]
        {'b': Array([1., 1.], dtype=float32), 'w': Array([0.5, 0.5], dtype=float32)}
    """

    def flags_of(tree: Any) -> list[bool]:
        return tree_leaves(mask_for("masked", mask, tree))

    def init(params: Any) -> Any:
        return transformation.init(_keep(params, flags_of(params)))

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        flags = flags_of(grads if params is None else params)
        kept, state = transformation.update(
            _keep(grads, flags), state, _keep(params, flags), **extra
        )
        leaves, treedef = tree_flatten(grads)
        new = iter(tree_leaves(kept))
        merged = [next(new) if keep else g for g, keep in zip(leaves, flags)]
        return tree_unflatten(treedef, merged), state

    return GradientTransformation(init, update)


@register_dataclass
@dataclasses.dataclass(frozen=True)
class PartitionState:
    """The state of `partition`.

    Attributes:
        states: for each label the state of its transformation.
    """

    states: dict[str, Any]


def partition(
    transformations: Mapping[str, GradientTransformation], labels: Any
) -> GradientTransformation:
    """Give each leaf to the transformation that its label names: groups of parameters.

    Args:
        transformations: by label.
        labels: a tree of labels like params, or a prefix of one; or a function from params (or
            gradients) to it.

    Example:
        >>> import nr
        >>> params = {"body": [nr.numpy.ones(2)], "head": [nr.numpy.ones(2)]}
        >>> optimizer = nr.optim.partition(
        ...     {"slow": nr.optim.set_to_zero(), "fast": nr.optim.sgd(0.5)},
        ...     {"body": "slow", "head": "fast"})
        >>> optimizer.update(params, optimizer.init(params), params)[0]
        {'body': [Array([0., 0.], dtype=float32)], 'head': [Array([-0.5, -0.5], dtype=float32)]}
    """

    def labels_of(tree: Any) -> list[str]:
        given = labels(tree) if callable(labels) else labels
        try:
            full = tree_broadcast(given, tree)
        except ValueError as error:
            raise ValueError(
                "partition: labels like the parameters were required: a tree of strings with their "
                f"structure or a prefix of it. {error}"
            ) from None
        for path, label in tree_leaves_with_path(full):
            if label not in transformations:
                raise ValueError(
                    f"partition: labels among {', '.join(map(repr, transformations))} were "
                    f'required; got {label!r} at "labels{keystr(path)}".'
                )
        return tree_leaves(full)

    def init(params: Any) -> PartitionState:
        found = labels_of(params)
        return PartitionState(
            {
                name: transformation.init(_keep(params, [label == name for label in found]))
                for name, transformation in transformations.items()
            }
        )

    def update(
        grads: Any, state: PartitionState, params: Any = None, **extra: Any
    ) -> tuple[Any, PartitionState]:
        found = labels_of(grads if params is None else params)
        new, states = {}, {}
        for name, transformation in transformations.items():
            flags = [label == name for label in found]
            updates, states[name] = transformation.update(
                _keep(grads, flags), state.states[name], _keep(params, flags), **extra
            )
            new[name] = iter(tree_leaves(updates))
        _, treedef = tree_flatten(grads)
        merged = [next(new[label]) for label in found]
        return tree_unflatten(treedef, merged), PartitionState(states)

    return GradientTransformation(init, update)
