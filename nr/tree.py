"""Functions of pytrees under the short names of ``jax.tree``, such as ``nr.tree.map``."""

from __future__ import annotations

import dataclasses
from typing import Any

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
