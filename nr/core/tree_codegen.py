"""Python source that flattens and rebuilds trees of one known structure, for quick dispatch.

A generic flatten looks every type up, sorts keys and builds a structure to compare. Where the
structure is known beforehand it is enough to check it on the way down: these functions write the
straight-line code which does that.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .tree_nodes import (
    NAMEDTUPLE,
    REGISTRY,
    Node,
    NoneType,
    count_leaves,
    is_tree_node,
    node_type,
    unflatten_node,
)

if TYPE_CHECKING:
    from .trees import PyTreeDef

# CPython's parser refuses expressions of about 100 levels; deeper subtrees are rebuilt by a call.
_MAX_DEPTH = 40
_BUILTIN: dict[type, str] = {tuple: "tuple", list: "list", dict: "dict"}


class _Constants:
    """Objects which generated source refers to, each under one name of a namespace."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.names = {id(v): k for k, v in namespace.items() if k.startswith("_tree_")}

    def __call__(self, value: Any) -> str:
        if id(value) in self.names:
            return self.names[id(value)]
        number = len(self.namespace)
        while (name := f"_tree_{number}") in self.namespace:
            number += 1
        self.namespace[name] = value
        self.names[id(value)] = name
        return name

    def cls(self, cls: type) -> str:
        return _BUILTIN.get(cls) or self(cls)

    def key(self, key: Any) -> str:
        return repr(key) if type(key) in (str, int, bool, bytes) else self(key)


def emit_flatten(
    treedef: PyTreeDef, root: str, namespace: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """Write source that checks the structure of a variable and binds its leaves.

    The lines do ``return None`` where container types, lengths, keys or static data differ. They
    have no indentation and belong into the body of a function which has `namespace` as globals.
    A missing dict key raises KeyError, so the function's body stands in ``try`` with
    ``except KeyError: return None``. The lines do *not* check that leaves are leaves: where a
    container may stand in a leaf's place, the caller's test of each leaf must refuse it.

    Args:
        treedef: the structure to expect.
        root: the name of the variable that holds the tree. Locals are named ``<root>__<n>``.
        namespace: gets the objects which the source needs, under names that start with ``_tree_``.

    Returns:
        (lines, leaf names): the source, and the local variable of each leaf in order.

    Example:
        >>> from nr.core.trees import tree_structure
        >>> lines, leaves = emit_flatten(tree_structure({"a": 0, "b": 0}), "t", {})
        >>> print("\\n".join(lines))
        if type(t) is not dict or len(t) != 2: return None
        t__0 = t['a']
        t__1 = t['b']
        >>> leaves
        ['t__0', 't__1']
    """
    writer = _FlattenWriter(root, _Constants(namespace))
    writer.write(treedef.node, root)
    return writer.lines, writer.leaves


class _FlattenWriter:
    """The state of one `emit_flatten`: lines so far, leaves so far, the next free name."""

    def __init__(self, root: str, constants: _Constants) -> None:
        self.root, self.constants = root, constants
        self.lines: list[str] = []
        self.leaves: list[str] = []
        self.count = 0

    def fresh(self) -> str:
        self.count += 1
        return f"{self.root}__{self.count - 1}"

    def write(self, node: Node, name: str) -> None:
        if node is None:
            self.leaves.append(name)
            return
        cls, aux, children = node
        if cls is NoneType:
            self.lines.append(f"if {name} is not None: return None")
            return
        names = [self.fresh() for _ in children]
        found = node_type(cls)
        if cls in (tuple, list) or found is NAMEDTUPLE:
            self.check(name, cls, f"len({name}) != {len(children)}")
            self.unpack(names, name)
        elif cls is dict:
            self.check(name, cls, f"len({name}) != {len(children)}")
            self.lookup(names, name, aux)
        elif REGISTRY[cls].fields is not None:
            self.write_dataclass(node, name, names)
        elif cls in (OrderedDict, defaultdict):
            self.write_keyed(node, name, names)
        else:
            self.write_custom(node, name, names)
        for child, child_name in zip(children, names, strict=True):
            self.write(child, child_name)

    def check(self, name: str, cls: type, *others: str) -> None:
        tests = " or ".join([f"type({name}) is not {self.constants.cls(cls)}", *others])
        self.lines.append(f"if {tests}: return None")

    def unpack(self, names: list[str], value: str) -> None:
        if names:
            self.lines.append(f"{', '.join(names)}, = {value}")

    def lookup(self, names: list[str], value: str, keys: tuple) -> None:
        for child, key in zip(names, keys, strict=True):
            self.lines.append(f"{child} = {value}[{self.constants.key(key)}]")

    def write_dataclass(self, node: tuple, name: str, names: list[str]) -> None:
        cls, aux, _ = node
        fields: Any = REGISTRY[cls].fields
        data, meta = fields
        self.check(name, cls)
        for field, value in zip(meta, aux, strict=True):
            self.compare(f"{name}.{field}", value)
        self.lines += [
            f"{child} = {name}.{field}" for child, field in zip(names, data, strict=True)
        ]

    def write_keyed(self, node: tuple, name: str, names: list[str]) -> None:
        """An OrderedDict (whose order counts) or defaultdict (where a lookup would insert)."""
        cls, aux, _ = node
        if cls is defaultdict:
            factory, keys = aux
            wanted = self.constants(dict.fromkeys(keys).keys())
            self.check(name, cls, f"{name}.keys() != {wanted}")
            self.compare(f"{name}.default_factory", factory)
        else:
            keys = aux
            self.check(name, cls, f"tuple({name}) != {self.constants(aux)}")
        self.lookup(names, name, keys)

    def write_custom(self, node: tuple, name: str, names: list[str]) -> None:
        cls, aux, children = node
        self.check(name, cls)
        parts, data = self.fresh(), self.fresh()
        self.lines.append(f"{parts}, {data} = {self.constants(REGISTRY[cls].flatten)}({name})")
        self.compare(data, aux)
        self.lines.append(f"{parts} = tuple({parts})")
        self.lines.append(f"if len({parts}) != {len(children)}: return None")
        self.unpack(names, parts)

    def compare(self, expression: str, wanted: Any) -> None:
        got, constant = self.fresh(), self.constants(wanted)
        self.lines.append(f"{got} = {expression}")
        self.lines.append(f"if {got} is not {constant} and {got} != {constant}: return None")


def emit_unflatten(treedef: PyTreeDef, leaf_exprs: list[str], namespace: dict[str, Any]) -> str:
    """Write an expression that rebuilds a tree from expressions of its leaves.

    Args:
        treedef: the structure to build.
        leaf_exprs: source of each leaf, in order.
        namespace: gets the objects which the expression needs, under names that start with
            ``_tree_``; it must be among the globals where the expression is evaluated.

    Raises:
        ValueError: the number of leaves is not that of the structure.

    Example:
        >>> from nr.core.trees import tree_structure
        >>> emit_unflatten(tree_structure({"a": 0, "b": (0, None)}), ["x", "y"], {})
        "{'a': x, 'b': (y, None,)}"
    """
    if len(leaf_exprs) != treedef.num_leaves:
        raise ValueError(
            f"emit_unflatten: required {treedef.num_leaves} leaf expressions for {treedef}; "
            f"got {len(leaf_exprs)}."
        )
    return _build(treedef.node, iter(leaf_exprs), _Constants(namespace), 0)


def _build(node: Node, leaves: Iterator[str], constants: _Constants, depth: int) -> str:
    if node is None:
        return next(leaves)
    cls, aux, children = node
    if cls is NoneType:
        return "None"
    if depth >= _MAX_DEPTH:

        def rebuild(*values: Any) -> Any:
            return unflatten_node(node, iter(values))

        given = [next(leaves) for _ in range(count_leaves(node))]
        return f"{constants(rebuild)}({', '.join(given)})"
    parts = [_build(child, leaves, constants, depth + 1) for child in children]
    listed = "".join([f"{part}, " for part in parts]).rstrip(" ")
    if cls is tuple:
        return f"({listed})" if parts else "()"
    if cls is list:
        return f"[{listed}]"
    if cls is dict:
        items = [f"{constants.key(key)}: {part}" for key, part in zip(aux, parts, strict=True)]
        return f"{{{', '.join(items)}}}"
    found: Any = node_type(cls)
    if found is NAMEDTUPLE:
        return f"{constants(cls)}({listed})"
    if found.fields is not None:
        data, meta = found.fields
        given = [*parts, *[constants(value) for value in aux]]
        pairs = zip((*data, *meta), given, strict=True)
        return f"{constants(cls)}({', '.join([f'{name}={value}' for name, value in pairs])})"
    if found.custom_unflatten is not None:
        return f"{constants(found.custom_unflatten)}({constants(aux)}, ({listed}))"
    return f"{constants(found.unflatten)}({constants(cls)}, {constants(aux)}, ({listed}))"


def make_guarded_flattener(
    treedef: PyTreeDef,
    leaf_guard: Callable[[int, str], list[str]] | None = None,
    namespace: dict[str, Any] | None = None,
) -> Callable[[Any], tuple[Any, ...] | None]:
    """Compile a function that flattens trees of one structure and returns None for any other.

    Args:
        treedef: the structure to accept.
        leaf_guard: ``(index, name) -> lines`` of source that do ``return None`` where the leaf in
            this variable is not acceptable. By default a leaf must not be a pytree node.
        namespace: the globals of the source, for what `leaf_guard`'s lines refer to.

    Example:
        >>> from nr.core.trees import tree_structure
        >>> flatten = make_guarded_flattener(tree_structure((0, {"a": 0})))
        >>> flatten((1, {"a": 2}))
        (1, 2)
        >>> flatten((1, {"b": 2})) is None
        True
    """
    namespace = {} if namespace is None else namespace
    lines, leaves = emit_flatten(treedef, "tree", namespace)
    if leaf_guard is None:
        namespace["_is_node"] = is_tree_node

        def leaf_guard(i: int, name: str) -> list[str]:
            return [f"if _is_node(type({name})): return None"]

    for i, name in enumerate(leaves):
        lines += leaf_guard(i, name)
    lines.append(f"return ({''.join([f'{name}, ' for name in leaves])})")
    body = "".join([f"        {line}\n" for line in lines])
    source = f"def flattener(tree):\n    try:\n{body}    except KeyError:\n        return None\n"
    exec(compile(source, "<nr tree flattener>", "exec"), namespace)
    return namespace["flattener"]
