"""Functions of pytrees under the short names of ``jax.tree``, such as ``nr.tree.map``."""

from __future__ import annotations

import dataclasses
from typing import Any

from nr.core.trees import flatten_one_level_with_keys, is_tree_node, with_children
from nr.core.trees import tree_all as all
from nr.core.trees import tree_broadcast as broadcast
from nr.core.trees import tree_flatten as flatten
from nr.core.trees import tree_flatten_with_path as flatten_with_path
from nr.core.trees import tree_leaves as leaves
from nr.core.trees import tree_leaves_with_path as leaves_with_path
from nr.core.trees import tree_map as map
from nr.core.trees import tree_map_with_path as map_with_path
from nr.core.trees import tree_reduce as reduce
from nr.core.trees import tree_reduce_associative as reduce_associative
from nr.core.trees import tree_structure as structure
from nr.core.trees import tree_transpose as transpose
from nr.core.trees import tree_unflatten as unflatten

__all__ = [
    "all",
    "broadcast",
    "buffer",
    "flatten",
    "flatten_with_path",
    "leaves",
    "leaves_with_path",
    "map",
    "map_with_path",
    "reduce",
    "reduce_associative",
    "static",
    "structure",
    "trainable",
    "transpose",
    "unflatten",
]


def static(**kwargs: Any) -> Any:
    """A dataclass field that `register_dataclass` takes as structure, not as a child.

    Args:
        **kwargs: those of `dataclasses.field`.

    Example:
        >>> import dataclasses
        >>> from nr import tree, tree_util
        >>> @tree_util.register_dataclass
        ... @dataclasses.dataclass
        ... class Linear:
        ...     w: float
        ...     name: str = tree.static(default="linear")
        >>> tree.leaves(Linear(2.0))
        [2.0]
    """
    metadata = {**(kwargs.pop("metadata", None) or {}), "static": True}
    return dataclasses.field(metadata=metadata, **kwargs)


def buffer(**kwargs: Any) -> Any:
    """A dataclass field whose leaves are data but are not trained, such as running statistics.

    They are leaves like all others; `trainable` tells them apart.

    Args:
        **kwargs: those of `dataclasses.field`.
    """
    metadata = {**(kwargs.pop("metadata", None) or {}), "buffer": True}
    return dataclasses.field(metadata=metadata, **kwargs)


def trainable(tree: Any) -> Any:
    """A tree of bools: False for the leaves that lie in a `buffer` field, True for all others.

    It is the default mask of what must not touch running statistics, such as weight decay.

    Example:
        >>> import dataclasses
        >>> from nr import tree, tree_util
        >>> @tree_util.register_dataclass
        ... @dataclasses.dataclass
        ... class Norm:
        ...     weight: float
        ...     running_mean: float = tree.buffer()
        >>> tree.trainable([Norm(1.0, 0.0), 2.0])
        [Norm(weight=True, running_mean=False), True]
    """
    if not is_tree_node(type(tree)):
        return True
    buffers = set()
    if dataclasses.is_dataclass(tree):
        buffers = {f.name for f in dataclasses.fields(tree) if f.metadata.get("buffer", False)}
    children, _ = flatten_one_level_with_keys(tree)
    marked = [
        map(lambda _: False, child) if getattr(key, "name", None) in buffers else trainable(child)
        for key, child in children
    ]
    return with_children(tree, marked)
