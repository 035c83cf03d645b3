"""Pytrees: nested containers of leaves, taken apart and rebuilt (JAX's names and semantics).

Nodes are None (empty), tuple, list, dict (keys sorted), OrderedDict, defaultdict, named tuples and
registered classes; all else is a leaf, subclasses of these included unless they are registered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .tree_codegen import emit_flatten, emit_unflatten, make_guarded_flattener
from .tree_errors import (
    broadcast,
    difference_error,
    differences,
    first_difference,
    prefix_error,
)
from .tree_nodes import (
    LEAF,
    REGISTRY,
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    KeyPath,
    Node,
    Partial,
    SequenceKey,
    count_leaves,
    count_nodes,
    flatten_one_level,
    flatten_one_level_with_keys,
    is_tree_node,
    keystr,
    node_type,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
    show_node,
    sorted_keys,
    unflatten_node,
)

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "KeyPath",
    "Partial",
    "PyTreeDef",
    "SequenceKey",
    "all_leaves",
    "broadcast_prefix",
    "build_tree",
    "emit_flatten",
    "emit_unflatten",
    "flatten_axes",
    "flatten_one_level",
    "flatten_one_level_with_keys",
    "is_tree_node",
    "keystr",
    "make_guarded_flattener",
    "prefix_errors",
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
    "with_children",
]

IsLeaf = Callable[[Any], bool] | None
_UNSET = object()


# ------------------------------------------------------------------ structures
class PyTreeDef:
    """The structure of a pytree: all of it but its leaves. Immutable, hashable, compared by value.

    Made by `tree_structure` and `tree_flatten`.

    Example:
        >>> tree_structure({"a": 1, "b": (2, 3)})
        PyTreeDef({'a': *, 'b': (*, *)})
    """

    __slots__ = ("__weakref__", "_hash", "_node", "_num_leaves")

    def __init__(self, node: Node, num_leaves: int) -> None:
        self._node, self._num_leaves = node, num_leaves
        self._hash: int | None = None

    @property
    def node(self) -> Node:
        """The structure as nested tuples ``(type, aux, children)``, a leaf being None."""
        return self._node

    @property
    def num_leaves(self) -> int:
        """The number of leaves."""
        return self._num_leaves

    @property
    def num_nodes(self) -> int:
        """The number of nodes, leaves counted."""
        return count_nodes(self._node)

    @property
    def is_leaf(self) -> bool:
        """Whether this is the structure of one leaf (`treedef_is_leaf` also takes empty nodes)."""
        return self._node is LEAF

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """Rebuild a tree of this structure.

        Args:
            leaves: as many values as `num_leaves`, in order.

        Raises:
            ValueError: there are fewer or more leaves.
        """
        leaves = list(leaves)
        if len(leaves) != self._num_leaves:
            raise ValueError(
                f"unflatten: required {self._num_leaves} leaves for {self}; got {len(leaves)}."
            )
        return unflatten_node(self._node, iter(leaves))

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The subtrees of `tree` that stand where this structure has its leaves.

        Raises:
            ValueError: this structure is not a prefix of the tree's.

        Example:
            >>> tree_structure((0, 0)).flatten_up_to((1, [2, 3]))
            [1, [2, 3]]
        """
        out: list[Any] = []
        if not _flatten_up_to(self._node, tree, out.append):
            where, wanted, got, note = first_difference(
                self._node, tree_structure(tree).node, "the first tree", "tree"
            )
            raise ValueError(
                f"flatten_up_to: required a tree that starts with this structure; at {where} "
                f"got {got}, where the structure has {wanted}.{note}"
            )
        return out

    def children(self) -> list[PyTreeDef]:
        """The structures one level down."""
        return [] if self._node is None else [_treedef(child) for child in self._node[2]]

    def node_data(self) -> tuple[type, Any] | None:
        """The root's type and static data: a dict's keys, a registered class's aux data."""
        if self._node is None:
            return None
        cls, aux, _ = self._node
        return cls, list(aux) if cls is dict else aux

    def compose(self, inner: PyTreeDef) -> PyTreeDef:
        """This structure with `inner` in the place of each leaf."""
        return PyTreeDef(_compose(self._node, inner._node), self._num_leaves * inner._num_leaves)

    def __eq__(self, other: object) -> bool:
        if type(other) is not PyTreeDef:
            return NotImplemented
        return self is other or (
            self._num_leaves == other._num_leaves and self._node == other._node
        )

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = _hash_node(self._node)
        return self._hash

    def __repr__(self) -> str:
        return f"PyTreeDef({show_node(self._node)})"

    def __reduce__(self) -> tuple:
        return PyTreeDef, (self._node, self._num_leaves)  # not the hash: strings hash by process


def _treedef(node: Node) -> PyTreeDef:
    return PyTreeDef(node, count_leaves(node))


def _compose(node: Node, inner: Node) -> Node:
    if node is None:
        return inner
    return (node[0], node[1], tuple([_compose(child, inner) for child in node[2]]))


def _hash_node(node: Node) -> int:
    try:
        return hash(node)
    except TypeError:  # aux data that does not hash still compares: leave it out
        cls, aux, children = node
        try:
            own = hash((cls, aux))
        except TypeError:
            own = hash(cls)
        return hash((own, tuple([_hash_node(child) for child in children])))


# ------------------------------------------------------------------ flatten
def _flatten(values: Iterable[Any], push: Callable[[Any], None]) -> tuple[Node, ...]:
    """Push the leaves of several values; return their structures. One call for each container."""
    nodes: list[Node] = []
    for x in values:
        cls = type(x)
        found = REGISTRY.get(cls)
        if found is None:
            if not isinstance(x, tuple) or not hasattr(cls, "_fields"):
                push(x)
                nodes.append(LEAF)
            else:
                nodes.append((cls, None, _flatten(x, push)))
        elif cls is dict:
            try:
                keys = sorted(x)
            except Exception:
                keys = sorted_keys(x)  # raises with a message
            nodes.append((cls, tuple(keys), _flatten(map(x.__getitem__, keys), push)))
        elif cls is tuple or cls is list:
            nodes.append((cls, None, _flatten(x, push)))
        else:
            children, aux = found.flatten(x)
            nodes.append((cls, aux, _flatten(children, push)))
    return tuple(nodes)


def _flatten_until(x: Any, push: Callable[[Any], None], is_leaf: Callable[[Any], bool]) -> Node:
    """As `_flatten`, stopping where `is_leaf` says so."""
    found = node_type(type(x))
    if found is None or is_leaf(x):
        push(x)
        return LEAF
    children, aux = found.flatten(x)
    return (type(x), aux, tuple([_flatten_until(child, push, is_leaf) for child in children]))


def tree_flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], PyTreeDef]:
    """Split a pytree into its leaves and its structure.

    Args:
        tree: any value.
        is_leaf: a predicate of nodes; where true the node is taken as a leaf.

    Returns:
        (leaves, treedef).

    Raises:
        ValueError: a dict has keys that cannot be sorted.

    Example:
        >>> tree_flatten({"b": [2, 3], "a": 1})
        ([1, 2, 3], PyTreeDef({'a': *, 'b': [*, *]}))
    """
    leaves: list[Any] = []
    if is_leaf is None:
        (node,) = _flatten((tree,), leaves.append)
    else:
        node = _flatten_until(tree, leaves.append, is_leaf)
    return leaves, PyTreeDef(node, len(leaves))


def tree_unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """Rebuild a tree from its structure and leaves: the inverse of `tree_flatten`.

    Raises:
        ValueError: the number of leaves is not that of the structure.
    """
    if not isinstance(treedef, PyTreeDef):
        raise TypeError(
            "tree_unflatten: the first argument must be a PyTreeDef, the second the leaves; "
            f"got {type(treedef).__name__} first."
        )
    return treedef.unflatten(leaves)


def with_children(tree: Any, children: Sequence[Any]) -> Any:
    """A node like this one, not what is in it, with other children."""
    return tree_structure(tree, is_leaf=lambda x: x is not tree).unflatten(children)


def tree_leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves of a tree, in order.

    Example:
        >>> tree_leaves({"b": 2, "a": (1, None)})
        [1, 2]
    """
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: IsLeaf = None) -> PyTreeDef:
    """The structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf = None) -> bool:
    """Whether every element is a leaf (and no element a container).

    Example:
        >>> all_leaves([1, 2]), all_leaves([1, (2,)])
        (True, False)
    """
    return all(not is_tree_node(type(x)) or (is_leaf is not None and is_leaf(x)) for x in iterable)


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Whether a structure has no children: one leaf, or an empty node."""
    return treedef.node is None or not treedef.node[2]


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple of trees of these structures."""
    return _treedef((tuple, None, tuple([treedef.node for treedef in treedefs])))


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures one level down."""
    return treedef.children()


def build_tree(treedef: PyTreeDef, xs: Any) -> Any:
    """Rebuild a tree from nested iterables of the same shape, such as lists for every node.

    Example:
        >>> build_tree(tree_structure({"a": 0, "b": (0, 0)}), [1, [2, 3]])
        {'a': 1, 'b': (2, 3)}
    """
    values: list[Any] = []
    _collect(treedef.node, xs, values)
    return treedef.unflatten(values)


def _collect(node: Node, xs: Any, values: list[Any]) -> None:
    if node is None:
        values.append(xs)
        return
    items = [] if xs is None else list(xs)
    if len(items) != len(node[2]):
        raise ValueError(
            f"build_tree: required {len(node[2])} items for {show_node(node)}; got {len(items)}."
        )
    for child, item in zip(node[2], items, strict=True):
        _collect(child, item, values)


# ------------------------------------------------------------------ map, reduce, transpose
def tree_map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None) -> Any:
    """Apply a function to each leaf, and to the subtrees of `rest` in the same place.

    Args:
        f: takes one leaf of `tree` and one subtree of each of `rest`.
        tree: gives the structure of the result.
        *rest: trees which have the structure of `tree`, or have it as a prefix.
        is_leaf: as in `tree_flatten`, for `tree`.

    Raises:
        ValueError: the structures differ; the message names the key path.

    Example:
        >>> tree_map(lambda x, y: x + y, {"w": 1, "b": [2]}, {"w": 10, "b": [20]})
        {'b': [22], 'w': 11}
    """
    leaves, treedef = tree_flatten(tree, is_leaf)
    if not rest:
        return unflatten_node(treedef.node, iter([f(leaf) for leaf in leaves]))
    columns = _columns("tree_map", treedef, rest)
    mapped = [f(*args) for args in zip(leaves, *columns, strict=True)]
    return unflatten_node(treedef.node, iter(mapped))


def _columns(name: str, treedef: PyTreeDef, rest: tuple[Any, ...]) -> list[list[Any]]:
    """The subtrees of each of `rest` at the leaves of the first tree."""
    columns = []
    for number, tree in enumerate(rest, 2):
        column: list[Any] = []
        if not _flatten_up_to(treedef.node, tree, column.append):
            other = f"tree {number}"
            where, first, got, note = first_difference(
                treedef.node, tree_structure(tree).node, "the first tree", other
            )
            raise ValueError(
                f"{name}: trees must have the same structure; at {where} got {first} in the "
                f"first tree and {got} in {other}.{note}"
            )
        columns.append(column)
    return columns


def _flatten_up_to(node: Node, x: Any, push: Callable[[Any], None]) -> bool:
    """Push the subtrees of `x` at a structure's leaves; False where the structures differ."""
    if node is None:
        push(x)
        return True
    cls, aux, nodes = node
    if type(x) is not cls:
        return False
    children: Any
    if cls is dict:
        if len(x) != len(aux):
            return False
        try:
            children = [x[key] for key in aux]
        except KeyError:
            return False
    elif cls is tuple or cls is list:
        children = x
    else:
        found: Any = node_type(cls)
        children, other = found.flatten(x)
        if other is not aux and other != aux:
            return False
        children = tuple(children)
    if len(children) != len(nodes):
        return False
    for child, value in zip(nodes, children):
        if child is None:
            push(value)
        elif not _flatten_up_to(child, value, push):
            return False
    return True


def tree_reduce(
    function: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = _UNSET,
    is_leaf: IsLeaf = None,
) -> Any:
    """Combine the leaves from left to right: ``function(accumulated, leaf)``.

    Raises:
        TypeError: the tree has no leaves and there is no initializer.

    Example:
        >>> tree_reduce(lambda x, y: x + y, {"a": 1, "b": (2, 3)})
        6
    """
    leaves = tree_leaves(tree, is_leaf)
    if initializer is not _UNSET:
        return functools.reduce(function, leaves, initializer)
    if not leaves:
        raise TypeError(
            "tree_reduce: a tree without leaves needs an initializer; got "
            f"{tree_structure(tree)}. Write tree_reduce(f, tree, initial value)."
        )
    return functools.reduce(function, leaves)


def tree_reduce_associative(
    operation: Callable[[Any, Any], Any],
    tree: Any,
    *,
    identity: Any = _UNSET,
    is_leaf: IsLeaf = None,
) -> Any:
    """Combine the leaves by halves, in a tree of logarithmic depth.

    Args:
        operation: an associative function of two values.
        tree: whose leaves are combined.
        identity: the result for a tree without leaves.
        is_leaf: as in `tree_flatten`.

    Example:
        >>> tree_reduce_associative(lambda x, y: f"({x}{y})", ["a", "b", "c"])
        '(a(bc))'
    """
    leaves = tree_leaves(tree, is_leaf)
    if leaves:
        return _reduce_halves(operation, leaves)
    if identity is _UNSET:
        raise TypeError(
            "tree_reduce_associative: a tree without leaves needs an identity; got "
            f"{tree_structure(tree)}. Write identity=."
        )
    return identity


def _reduce_halves(operation: Callable[[Any, Any], Any], leaves: list[Any]) -> Any:
    if len(leaves) == 1:
        return leaves[0]
    middle = len(leaves) // 2
    left = _reduce_halves(operation, leaves[:middle])
    return operation(left, _reduce_halves(operation, leaves[middle:]))


def tree_all(tree: Any, *, is_leaf: IsLeaf = None) -> bool:
    """Whether all leaves are true.

    Example:
        >>> tree_all({"a": True, "b": (1, 0)})
        False
    """
    return all(tree_leaves(tree, is_leaf))


def tree_transpose(
    outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: Any
) -> Any:
    """Turn a tree of trees inside out.

    Args:
        outer_treedef: the structure of the outer tree.
        inner_treedef: the structure of the inner trees; None takes that of the first.
        pytree_to_transpose: a tree with structure ``outer_treedef.compose(inner_treedef)``.

    Raises:
        TypeError: the number of leaves does not fit.

    Example:
        >>> tree = {"a": (1, 2), "b": (3, 4)}
        >>> tree_transpose(tree_structure({"a": 0, "b": 0}), tree_structure((0, 0)), tree)
        ({'a': 1, 'b': 3}, {'a': 2, 'b': 4})
    """
    leaves, treedef = tree_flatten(pytree_to_transpose)
    if inner_treedef is None:
        inner_treedef = tree_structure(outer_treedef.flatten_up_to(pytree_to_transpose)[0])
    size = inner_treedef.num_leaves
    if treedef.num_leaves != outer_treedef.num_leaves * size:
        raise TypeError(
            f"tree_transpose: required the structure {outer_treedef.compose(inner_treedef)}; "
            f"got {treedef}."
        )
    columns = [outer_treedef.unflatten(leaves[i::size]) for i in range(size)]
    return inner_treedef.unflatten(columns)


# ------------------------------------------------------------------ key paths
def tree_flatten_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]:
    """As `tree_flatten`, with the key path of each leaf.

    Args:
        tree: any value.
        is_leaf: as in `tree_flatten`.
        is_leaf_takes_path: call ``is_leaf(path, node)`` rather than ``is_leaf(node)``.

    Returns:
        ([(path, leaf), ...], treedef).

    Example:
        >>> pairs, _ = tree_flatten_with_path({"w": (1, 2)})
        >>> [(keystr(path), leaf) for path, leaf in pairs]
        [("['w'][0]", 1), ("['w'][1]", 2)]
    """
    if is_leaf is None:
        stop = None
    elif is_leaf_takes_path:
        stop = is_leaf
    else:

        def stop(path: KeyPath, x: Any) -> bool:
            return is_leaf(x)

    pairs: list[tuple[KeyPath, Any]] = []
    node = _flatten_with_path((), tree, pairs, stop)
    return pairs, PyTreeDef(node, len(pairs))


def _flatten_with_path(
    path: KeyPath,
    x: Any,
    pairs: list[tuple[KeyPath, Any]],
    stop: Callable[[KeyPath, Any], bool] | None,
) -> Node:
    found = node_type(type(x))
    if found is None or (stop is not None and stop(path, x)):
        pairs.append((path, x))
        return LEAF
    children, aux = found.flatten(x)
    nodes = [
        _flatten_with_path((*path, key), child, pairs, stop)
        for key, child in zip(found.keys(x), children, strict=True)
    ]
    return (type(x), aux, tuple(nodes))


def tree_leaves_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> list[tuple[KeyPath, Any]]:
    """The pairs ``(key path, leaf)`` of a tree, in order."""
    return tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


def tree_map_with_path(
    f: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: Callable[..., bool] | None = None,
    is_leaf_takes_path: bool = False,
) -> Any:
    """As `tree_map`, `f` being called with the key path first: ``f(path, leaf, *others)``.

    Example:
        >>> tree_map_with_path(lambda path, x: f"{keystr(path)}={x}", {"w": (1, 2)})
        {'w': ("['w'][0]=1", "['w'][1]=2")}
    """
    pairs, treedef = tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)
    columns = _columns("tree_map_with_path", treedef, rest)
    rows = zip(pairs, *columns, strict=True)
    return treedef.unflatten([f(path, leaf, *others) for (path, leaf), *others in rows])


# ------------------------------------------------------------------ prefixes
def broadcast_prefix(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves of a prefix tree, each repeated for the leaves of `full_tree` below it.

    Raises:
        ValueError: the first tree is not a prefix of the second.

    Example:
        >>> broadcast_prefix((1, [2]), ((0, 0), [{"a": 0}]))
        [1, 1, 2]
    """
    leaves, prefix = tree_flatten(prefix_tree, is_leaf)
    full = tree_structure(full_tree)
    out: list[Any] = []
    if not broadcast(prefix.node, full.node, iter(leaves), out):
        raise prefix_error(prefix.node, full.node, "prefix_tree")
    return out


def tree_broadcast(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf = None) -> Any:
    """Repeat the leaves of a prefix tree until it has the structure of `full_tree`.

    Example:
        >>> tree_broadcast((1, 2), ((0, 0), [0]))
        ((1, 1), [2])
    """
    return tree_structure(full_tree).unflatten(broadcast_prefix(prefix_tree, full_tree, is_leaf))


def prefix_errors(
    prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf = None
) -> list[Callable[[str], ValueError]]:
    """Why one tree is not a prefix of another.

    Returns:
        One function for each place where they part, which takes the user's name of the prefix
        tree (`"in_axes"`) and gives the exception to raise; none where it is a prefix.

    Example:
        >>> [error] = prefix_errors({"w": (1, 2)}, {"w": (1, 2, 3)})
        >>> print(error("in_axes"))
        in_axes: must be a tree prefix of the value; at in_axes['w'] got tuple of 2 in in_axes \
and tuple of 3 in the value.
    """
    prefix, full = tree_structure(prefix_tree, is_leaf).node, tree_structure(full_tree).node
    return [
        functools.partial(difference_error, difference) for difference in differences(prefix, full)
    ]


def flatten_axes(name: str, treedef: PyTreeDef, axis_tree: Any) -> list[Any]:
    """Give each leaf of a structure its entry of a prefix tree in which None is a value.

    Args:
        name: the argument's name for messages: `"in_axes"`.
        treedef: the structure of the values.
        axis_tree: a prefix of it, such as vmap's ``in_axes``: None and ints, one for a subtree.

    Returns:
        One entry for each leaf of `treedef`.

    Raises:
        ValueError: `axis_tree` is not a prefix; the message names the place and both structures.

    Example:
        >>> flatten_axes("in_axes", tree_structure((0, (0, 0))), (None, 1))
        [None, 1, 1]
    """
    leaves, prefix = tree_flatten(axis_tree, is_leaf=_is_none)
    out: list[Any] = []
    if not broadcast(prefix.node, treedef.node, iter(leaves), out):
        error = prefix_error(prefix.node, treedef.node, name)
        raise ValueError(
            f"{error} The structure of {name} is {prefix}, that of the value {treedef}."
        )
    return out


def _is_none(x: Any) -> bool:
    return x is None
