"""Functions of pytrees under the names of ``jax.tree_util``; `nr.tree` has the short names."""

from __future__ import annotations

from typing import Any

from nr.core.trees import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    KeyPath,
    Partial,
    PyTreeDef,
    SequenceKey,
    all_leaves,
    build_tree,
    flatten_one_level,
    flatten_one_level_with_keys,
    is_tree_node,
    keystr,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
    tree_all,
    tree_broadcast,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_with_path,
    tree_reduce,
    tree_reduce_associative,
    tree_structure,
    tree_transpose,
    tree_unflatten,
    treedef_children,
    treedef_is_leaf,
    treedef_tuple,
)


class PyTreeRegistry:
    """The types that are known as nodes, with JAX's methods: there is one registry."""

    flatten = staticmethod(tree_flatten)
    register_node = staticmethod(register_pytree_node)

    def flatten_one_level(self, x: Any) -> tuple[tuple[Any, ...], Any] | None:
        """The children of a node and what else it is made of; None for a leaf.

        Example:
            >>> import nr
            >>> nr.tree_util.default_registry.flatten_one_level([1, (2, 3)])
            ((1, (2, 3)), None)
        """
        return flatten_one_level(x) if is_tree_node(type(x)) else None


default_registry = PyTreeRegistry()
KeyEntry = DictKey | FlattenedIndexKey | GetAttrKey | SequenceKey

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "KeyEntry",
    "KeyPath",
    "Partial",
    "PyTreeDef",
    "PyTreeRegistry",
    "SequenceKey",
    "all_leaves",
    "build_tree",
    "default_registry",
    "flatten_one_level",
    "flatten_one_level_with_keys",
    "is_tree_node",
    "keystr",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "register_static",
    "tree_all",
    "tree_broadcast",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_reduce",
    "tree_reduce_associative",
    "tree_structure",
    "tree_transpose",
    "tree_unflatten",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
]
