"""Functions of pytrees as functions of leaves, for programs that extend nr."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nr.core.avals import ShapedArray
from nr.core.tracing import typeof
from nr.core.trees import PyTreeDef, tree_flatten
from nr.extend.linear_util import WrappedFun

__all__ = [
    "debug_info",
    "flatten_fun",
    "flatten_fun_nokwargs",
    "safe_map",
    "shaped_abstractify",
]


def debug_info(*args: Any, **kwargs: Any) -> None:
    """JAX's record of a function's name and arguments for messages; nr finds them itself."""


def safe_map(f: Callable, *args: Iterable[Any]) -> list[Any]:
    """A list of f of each item, or of items at one place of iterables of one length.

    Example:
        >>> import nr
        >>> nr.api_util.safe_map(lambda x, y: x + y, (1, 2), (3, 4))
        [4, 6]
    """
    return [f(*items) for items in zip(*args, strict=True)]


def shaped_abstractify(x: Any) -> ShapedArray:
    """The aval of an array or a number."""
    return typeof(x)


def flatten_fun(f: WrappedFun, in_tree: PyTreeDef) -> tuple[WrappedFun, Callable[[], PyTreeDef]]:
    """A function of leaves from one of (args, kwargs), and what gives its result's structure.

    Example:
        >>> import nr
        >>> leaves, tree = nr.tree.flatten(((1, 2), {"z": 3}))
        >>> f = nr.extend.linear_util.wrap_init(lambda x, y, z: {"sum": x + y + z})
        >>> flat, out_tree = nr.api_util.flatten_fun(f, tree)
        >>> flat.call_wrapped(*leaves), out_tree()
        ([6], PyTreeDef({'sum': *}))
    """

    def call(args_and_kwargs: Any) -> Any:
        args, kwargs = args_and_kwargs
        return f.call_wrapped(*args, **kwargs)

    return _flat(call, in_tree)


def flatten_fun_nokwargs(
    f: WrappedFun, in_tree: PyTreeDef
) -> tuple[WrappedFun, Callable[[], PyTreeDef]]:
    """As `flatten_fun`, of a function without keyword arguments; `in_tree` is that of its args."""
    return _flat(lambda args: f.call_wrapped(*args), in_tree)


def _flat(
    call: Callable[[Any], Any], in_tree: PyTreeDef
) -> tuple[WrappedFun, Callable[[], PyTreeDef]]:
    seen: list[PyTreeDef] = []

    def flat(*leaves: Any) -> list[Any]:
        outs, tree = tree_flatten(call(in_tree.unflatten(leaves)))
        seen.append(tree)
        return outs

    return WrappedFun(flat), lambda: seen[-1]
