"""Which types are pytree nodes and how each is taken apart: the registry, key classes, `Partial`.

Structure is kept as plain nested tuples so that equality and hashing run in C. A node is
``(type, aux, children)``; a leaf is `LEAF` (None). `trees` wraps a whole structure as `PyTreeDef`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

LEAF = None
NoneType = type(None)
Node = Any  # a tuple (type, aux, children of the same kind), or LEAF
_C = TypeVar("_C")


# ------------------------------------------------------------------ key paths
@dataclasses.dataclass(frozen=True, slots=True)
class DictKey:
    """The step of a key path into a dict: ``['w']``."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclasses.dataclass(frozen=True, slots=True)
class SequenceKey:
    """The step of a key path into a tuple or list: ``[0]``."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx}]"


@dataclasses.dataclass(frozen=True, slots=True)
class GetAttrKey:
    """The step of a key path to an attribute, of a named tuple or dataclass: ``.w``."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class FlattenedIndexKey:
    """The step of a key path into a class that was registered without keys: its n-th child."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


KeyPath = tuple[Any, ...]


def keystr(keys: KeyPath, *, simple: bool = False, separator: str = "") -> str:
    """Write a key path as text.

    Args:
        keys: a key path, as `tree_flatten_with_path` gives.
        simple: write only the key, index or name of each step, without brackets and dots.
        separator: put between the steps.

    Example:
        >>> keystr((DictKey("w"), SequenceKey(1)))
        "['w'][1]"
        >>> keystr((DictKey("w"), SequenceKey(1)), simple=True, separator="/")
        'w/1'
    """
    return separator.join([_simple_key(key) if simple else str(key) for key in keys])


def _simple_key(key: Any) -> str:
    match key:
        case DictKey(value) | SequenceKey(value) | GetAttrKey(value) | FlattenedIndexKey(value):
            return str(value)
    return str(key)


# ------------------------------------------------------------------ the registry
class NodeType:
    """How one type of container is taken apart and rebuilt.

    flatten: ``x -> (children, aux)``; unflatten: ``(cls, aux, children) -> x``; keys:
    ``(x) -> list of path steps``; custom_unflatten: the user's ``(aux, children) -> x``, if any;
    fields: ``(data names, meta names)`` of a registered dataclass.
    """

    __slots__ = ("custom_unflatten", "fields", "flatten", "keys", "unflatten")

    def __init__(
        self,
        flatten: Callable[[Any], tuple[Iterable[Any], Any]],
        unflatten: Callable[[type, Any, Sequence[Any]], Any],
        keys: Callable[[Any], list[Any]],
        custom_unflatten: Callable[[Any, Sequence[Any]], Any] | None = None,
        fields: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
    ) -> None:
        self.flatten, self.unflatten, self.keys = flatten, unflatten, keys
        self.custom_unflatten, self.fields = custom_unflatten, fields


def sorted_keys(d: dict) -> list[Any]:
    """The keys of a dict in their sorted order, which is the order of its children."""
    try:
        return sorted(d)
    except Exception as err:
        kinds = ", ".join(sorted({type(key).__name__ for key in d}))
        raise ValueError(
            f"tree_flatten: the keys of a dict must be sortable; got keys of types {kinds}. "
            "Use keys of one type, or an OrderedDict, which keeps its own order."
        ) from err


def _flatten_dict(d: dict) -> tuple[list[Any], tuple]:
    keys = sorted_keys(d)
    return [d[key] for key in keys], tuple(keys)


def _flatten_defaultdict(d: defaultdict) -> tuple[list[Any], tuple]:
    keys = sorted_keys(d)
    return [d[key] for key in keys], (d.default_factory, tuple(keys))


def _sequence_keys(x: Sequence) -> list[SequenceKey]:
    return [SequenceKey(i) for i in range(len(x))]


REGISTRY: dict[type, NodeType] = {
    NoneType: NodeType(lambda x: ((), None), lambda cls, aux, ch: None, lambda x: []),
    tuple: NodeType(lambda x: (x, None), lambda cls, aux, ch: tuple(ch), _sequence_keys),
    list: NodeType(lambda x: (x, None), lambda cls, aux, ch: list(ch), _sequence_keys),
    dict: NodeType(
        _flatten_dict,
        lambda cls, aux, ch: dict(zip(aux, ch, strict=True)),
        lambda x: [DictKey(key) for key in sorted_keys(x)],
    ),
    OrderedDict: NodeType(
        lambda x: (list(x.values()), tuple(x)),
        lambda cls, aux, ch: OrderedDict(zip(aux, ch, strict=True)),
        lambda x: [DictKey(key) for key in x],
    ),
    defaultdict: NodeType(
        _flatten_defaultdict,
        lambda cls, aux, ch: defaultdict(aux[0], zip(aux[1], ch, strict=True)),
        lambda x: [DictKey(key) for key in sorted_keys(x)],
    ),
}
NAMEDTUPLE = NodeType(
    lambda x: (x, None),
    lambda cls, aux, ch: cls(*ch),
    lambda x: [GetAttrKey(name) for name in x._fields],
)


def node_type(cls: Any) -> NodeType | None:
    """The `NodeType` of a class, or None where its instances are leaves."""
    found = REGISTRY.get(cls)
    if found is None and issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return NAMEDTUPLE
    return found


def is_tree_node(typ: type) -> bool:
    """Whether instances of a class are pytree nodes (and not leaves)."""
    return node_type(typ) is not None


def flatten_one_level(tree: Any) -> tuple[tuple[Any, ...], Any]:
    """Take one node apart: its children, and what else is needed to rebuild it.

    Raises:
        ValueError: `tree` is a leaf.

    Example:
        >>> flatten_one_level({"a": (1, 2)})
        (((1, 2),), ('a',))
    """
    found = _node_type_of("flatten_one_level", tree)
    children, aux = found.flatten(tree)
    return tuple(children), aux


def flatten_one_level_with_keys(tree: Any) -> tuple[tuple[tuple[Any, Any], ...], Any]:
    """As `flatten_one_level`, with the key of each child: ``(((key, child), ...), aux)``."""
    found = _node_type_of("flatten_one_level_with_keys", tree)
    children, aux = found.flatten(tree)
    return tuple(zip(found.keys(tree), children, strict=True)), aux


def _node_type_of(name: str, tree: Any) -> NodeType:
    found = node_type(type(tree))
    if found is None:
        raise ValueError(f"{name}: required a pytree node; got a leaf of {type(tree)}.")
    return found


# ------------------------------------------------------------------ registration
def _register(cls: Any, entry: NodeType, api: str) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"{api}: required a class; got {cls!r}.")
    if cls in REGISTRY:
        raise ValueError(f"{api}: {cls} is a registered pytree node already.")
    REGISTRY[cls] = entry


def register_pytree_node(
    nodetype: Any,
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, Sequence[Any]], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]] | None = None,
) -> None:
    """Make a class a pytree node.

    Args:
        nodetype: the class. Its subclasses are not registered with it.
        flatten_func: ``x -> (children, aux)``; `aux` is compared with ``==``, best hashable.
        unflatten_func: ``(aux, children) -> x``.
        flatten_with_keys_func: ``x -> (((key, child), ...), aux)``, for key paths.

    Raises:
        ValueError: the class is registered already.

    Example:
        >>> class Pair:
        ...     def __init__(self, a, b):
        ...         self.a, self.b = a, b
        >>> register_pytree_node(Pair, lambda p: ((p.a, p.b), None), lambda _, ab: Pair(*ab))
        >>> flatten_one_level(Pair(1, 2))
        ((1, 2), None)
    """
    api = "register_pytree_node"
    for what, func in (("flatten_func", flatten_func), ("unflatten_func", unflatten_func)):
        if not callable(func):
            raise TypeError(f"{api}: {what} must be callable; got {func!r}.")
    if flatten_with_keys_func is None:

        def keys(x: Any) -> list[Any]:
            return [FlattenedIndexKey(i) for i, _ in enumerate(flatten_func(x)[0])]
    else:

        def keys(x: Any) -> list[Any]:
            return [key for key, _ in flatten_with_keys_func(x)[0]]

    def unflatten(cls: type, aux: Any, children: Sequence[Any]) -> Any:
        return unflatten_func(aux, children)

    _register(nodetype, NodeType(flatten_func, unflatten, keys, unflatten_func), api)


def register_pytree_with_keys(
    nodetype: Any,
    flatten_with_keys: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]],
    unflatten_func: Callable[[Any, Sequence[Any]], Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]] | None = None,
) -> None:
    """Make a class a pytree node whose children have keys in key paths.

    Args:
        nodetype: the class.
        flatten_with_keys: ``x -> (((key, child), ...), aux)``, a key being e.g. `GetAttrKey`.
        unflatten_func: ``(aux, children) -> x``.
        flatten_func: ``x -> (children, aux)``, the same without keys, where that is quicker.
    """
    if flatten_func is None:

        def flatten_func(x: Any) -> tuple[list[Any], Any]:
            pairs, aux = flatten_with_keys(x)
            return [child for _, child in pairs], aux

    register_pytree_node(nodetype, flatten_func, unflatten_func, flatten_with_keys)


def register_pytree_node_class(cls: _C) -> _C:
    """Decorator: register a class by its methods ``tree_flatten(self)`` and the class method
    ``tree_unflatten(cls, aux, children)``."""
    node: Any = cls
    register_pytree_node(node, node.tree_flatten, node.tree_unflatten)
    return cls


def register_pytree_with_keys_class(cls: _C) -> _C:
    """Decorator: register a class by its methods ``tree_flatten_with_keys(self)``, the class method
    ``tree_unflatten(cls, aux, children)`` and, where it has one, ``tree_flatten(self)``."""
    node: Any = cls
    flatten = getattr(node, "tree_flatten", None)
    register_pytree_with_keys(node, node.tree_flatten_with_keys, node.tree_unflatten, flatten)
    return cls


def register_dataclass(
    nodetype: _C,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> _C:
    """Make a dataclass a pytree node: data fields are its children, meta fields its structure.

    Args:
        nodetype: a dataclass; or, with both lists of fields given, any class with such attributes
            which takes them as keyword arguments.
        data_fields: names of the children. When not given, every field that is not static.
        meta_fields: names of the static fields, which are compared with ``==`` and should be
            hashable. When not given, the fields with ``metadata={"static": True}``
            (`nr.tree.static`).
        drop_fields: names of fields that are neither: they get their default when rebuilt.

    Returns:
        The class, so that this serves as a decorator.

    Raises:
        ValueError: the fields are not exactly those of ``__init__``, or overlap.
        TypeError: only one list was given, or none for a class that is not a dataclass.

    Example:
        >>> @register_dataclass
        ... @dataclasses.dataclass(frozen=True)
        ... class Scale:
        ...     w: float
        ...     axis: int = dataclasses.field(default=-1, metadata={"static": True})
        >>> flatten_one_level(Scale(2.0))
        ((2.0,), (-1,))
    """
    api = "register_dataclass"
    cls: Any = nodetype
    is_dataclass = isinstance(nodetype, type) and dataclasses.is_dataclass(nodetype)
    if (data_fields is None) != (meta_fields is None):
        raise TypeError(
            f"{api}: data_fields and meta_fields must both be given, or neither; "
            f"got data_fields={data_fields!r} and meta_fields={meta_fields!r}."
        )
    if data_fields is None or meta_fields is None:
        if not is_dataclass:
            raise TypeError(
                f"{api}: a class that is not a dataclass needs data_fields and meta_fields; "
                f"got {nodetype!r}."
            )
        fields = [f for f in dataclasses.fields(cls) if f.name not in drop_fields]
        data = tuple(f.name for f in fields if not f.metadata.get("static", False))
        meta = tuple(f.name for f in fields if f.metadata.get("static", False))
    else:
        data, meta = tuple(data_fields), tuple(meta_fields)
    _check_fields(nodetype, data, meta, drop_fields if is_dataclass else None)

    def flatten(x: Any) -> tuple[list[Any], tuple]:
        return [getattr(x, name) for name in data], tuple([getattr(x, name) for name in meta])

    def custom_unflatten(aux: tuple, children: Sequence[Any]) -> Any:
        kwargs = dict(zip(data, children, strict=True))
        kwargs.update(zip(meta, aux, strict=True))
        return cls(**kwargs)

    def unflatten(cls: type, aux: tuple, children: Sequence[Any]) -> Any:
        return custom_unflatten(aux, children)

    def keys(x: Any) -> list[Any]:
        return [GetAttrKey(name) for name in data]

    _register(nodetype, NodeType(flatten, unflatten, keys, custom_unflatten, (data, meta)), api)
    return nodetype


def _check_fields(
    nodetype: Any, data: tuple[str, ...], meta: tuple[str, ...], drop: Sequence[str] | None
) -> None:
    """Raise unless data and meta fields are, with the dropped ones, the arguments of __init__."""
    named = [*data, *meta]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ValueError(
            f"register_dataclass: a field of {nodetype.__name__} must be named once, as data or "
            f"as meta; got {twice} twice."
        )
    if drop is None:
        return
    init = {f.name for f in dataclasses.fields(nodetype) if f.init}
    missing, unexpected = init - set(named) - set(drop), set(named) - init
    if missing or unexpected:
        found = [f"lacks {sorted(missing)}"] if missing else []
        found += [f"names {sorted(unexpected)}, which __init__ does not take"] if unexpected else []
        raise ValueError(
            f"register_dataclass: the data and meta fields of {nodetype.__name__} must be the "
            f"fields that its __init__ takes; this list {' and '.join(found)}. "
            "Put fields that are neither into drop_fields."
        )


def register_static(cls: _C) -> _C:
    """Decorator: instances of the class are structure, without leaves, compared with ``==``.

    Example:
        >>> @register_static
        ... class Mode(str):
        ...     pass
        >>> flatten_one_level(Mode("train"))
        ((), 'train')
    """
    _register(
        cls,
        NodeType(
            lambda x: ((), x), lambda cls, aux, ch: aux, lambda x: [], lambda aux, children: aux
        ),
        "register_static",
    )
    return cls


# ------------------------------------------------------------------ Partial
class _Opaque:
    """A callable that `functools.partial` does not merge with, hashed and compared as its own."""

    __slots__ = ("func",)

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.func(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return type(other) is _Opaque and self.func == other.func

    def __hash__(self) -> int:
        return hash(self.func)

    def __repr__(self) -> str:
        return repr(self.func)


class Partial(functools.partial):
    """`functools.partial` as a pytree: the arguments are children, the function is structure.

    Functions must be compared by something stable for `jit` to reuse compiled code: a lambda made
    anew is a new structure. A partial of a partial is kept whole as the function.

    Example:
        >>> add_one = Partial(lambda x, y: x + y, 1)
        >>> add_one(2)
        3
        >>> flatten_one_level(add_one)[0]
        ((1,), {})
    """

    def __new__(cls, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Partial:
        if isinstance(func, functools.partial):
            func = _Opaque(func)
        return super().__new__(cls, func, *args, **kwargs)


register_pytree_node(
    Partial,
    lambda p: ((p.args, p.keywords), p.func),
    lambda func, children: Partial(func, *children[0], **children[1]),
)


# ------------------------------------------------------------------ structures
def count_leaves(node: Node) -> int:
    """How many leaves a structure has."""
    return 1 if node is None else sum([count_leaves(child) for child in node[2]])


def count_nodes(node: Node) -> int:
    """How many nodes a structure has, leaves counted."""
    return 1 if node is None else 1 + sum([count_nodes(child) for child in node[2]])


def unflatten_node(node: Node, leaves: Iterator[Any]) -> Any:
    """Rebuild a tree of this structure, taking its leaves in turn from an iterator."""
    if node is None:
        return next(leaves)
    cls, aux, children = node
    built = []
    for child in children:
        built.append(next(leaves) if child is None else unflatten_node(child, leaves))
    if cls is dict:
        return dict(zip(aux, built))
    if cls is tuple:
        return tuple(built)
    if cls is list:
        return built
    found: Any = node_type(cls)
    return found.unflatten(cls, aux, tuple(built))


def node_keys(node: tuple) -> list[Any]:
    """The path steps to the children of a structure's node, of which there is no instance.

    A class's own keys can depend on the instance, so one is rebuilt around placeholders; where its
    constructor refuses them, the children are numbered.
    """
    cls, aux, children = node
    found: Any = node_type(cls)
    with contextlib.suppress(Exception):
        keys = found.keys(found.unflatten(cls, aux, tuple([object() for _ in children])))
        if len(keys) == len(children):
            return keys
    return [FlattenedIndexKey(i) for i in range(len(children))]


def show_node(node: Node) -> str:
    """A structure as text, leaves written ``*``."""
    if node is None:
        return "*"
    cls, aux, children = node
    inside = [show_node(child) for child in children]
    if cls is NoneType:
        return "None"
    if cls is tuple:
        return f"({inside[0]},)" if len(inside) == 1 else f"({', '.join(inside)})"
    if cls is list:
        return f"[{', '.join(inside)}]"
    if cls is dict:
        items = [f"{key!r}: {child}" for key, child in zip(aux, inside, strict=True)]
        return f"{{{', '.join(items)}}}"
    head = f"namedtuple[{cls.__name__}]" if cls not in REGISTRY else f"{cls.__name__}[{aux}]"
    return f"CustomNode({head}, [{', '.join(inside)}])"
