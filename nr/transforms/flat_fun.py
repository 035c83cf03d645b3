"""Between users' functions of pytrees and the core's functions of flat lists of leaves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.core.tracing import PYTHON_SCALARS
from nr.core.trees import PyTreeDef, keystr, tree_flatten, tree_flatten_with_path, tree_map


class FlatFun:
    """f of flat leaves; after a call, `out_tree` is the structure of what f returned.

    With has_aux, f returns a pair; what is in its second part is not differentiated: the
    transformation replaces its own tracers there by their primals (`primal_aux`).
    """

    __slots__ = ("f", "in_tree", "op", "out_tree", "has_aux", "aux")

    def __init__(self, f: Callable, in_tree: PyTreeDef, op: str, *, has_aux: bool = False) -> None:
        self.f = f
        self.in_tree = in_tree
        self.op = op
        self.has_aux = has_aux

    def __call__(self, *leaves: Any) -> list[Any]:
        args, kwargs = self.in_tree.unflatten(leaves)
        out = self.f(*args, **kwargs)
        if self.has_aux:
            if not isinstance(out, (tuple, list)) or len(out) != 2:
                raise TypeError(
                    f"{self.op}: with has_aux=True the function must return a pair (output, aux); "
                    f"got {type(out).__name__}."
                )
            out, self.aux = out
        outs, self.out_tree = tree_flatten(out)
        for x in outs:
            if not is_array_like(x):
                raise bad_leaf(self.op, "the function must return arrays or numbers", out)
        return outs

    def primal_aux(self, primal: Callable[[Any], Any]) -> None:
        """Apply a function to the leaves of aux, while the transformation's trace is at hand."""
        if self.has_aux:
            self.aux = tree_map(primal, self.aux)


def is_array_like(x: Any) -> bool:
    """Whether x can be a leaf: an array, or a number."""
    return (
        isinstance(x, (Array, np.ndarray, np.generic, *PYTHON_SCALARS))
        and not (isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "OSUM")
        or hasattr(x, "__jax_array__")
    )


def bad_leaf(op: str, requirement: str, tree: Any, name: str = "") -> TypeError:
    """The error that names the first leaf of a tree that is no array."""
    for path, leaf in tree_flatten_with_path(tree)[0]:
        if not is_array_like(leaf):
            where = f"{name}{keystr(path)}" if name or path else "its result"
            return TypeError(
                f"{op}: {requirement}; got {leaf!r:.60} of type {type(leaf).__name__} "
                f"at {where}. Make it static, or register its class as a pytree."
            )
    raise AssertionError("nr bug: no bad leaf")


def check_leaves(op: str, leaves: Sequence[Any], tree: Any, name: str = "argument ") -> None:
    """Raise TypeError where a leaf of a tree is no array."""
    for x in leaves:
        if not is_array_like(x):
            raise bad_leaf(op, "arguments must be arrays, numbers or pytrees of them", tree, name)


def signature_of(f: Callable) -> inspect.Signature | None:
    """The signature of a callable, where it can be had."""
    try:
        return inspect.signature(f)
    except (ValueError, TypeError):
        return None


def argument_names(
    signature: inspect.Signature | None, args: Sequence[Any], kwargs: dict[str, Any]
) -> list[str]:
    """The user's name of each positional argument: x, args[1] ..."""
    names: list[str] = []
    variadic = None
    if signature is not None:
        for p in signature.parameters.values():
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
                names.append(p.name)
            elif p.kind is p.VAR_POSITIONAL:
                variadic = p.name
                break
    first = len(names)
    for i in range(first, len(args)):
        names.append(f"{variadic or 'args'}[{i - first if variadic else i}]")
    return names[: len(args)]


def leaf_names(
    signature: inspect.Signature | None, args: Sequence[Any], kwargs: dict[str, Any]
) -> list[str]:
    """The user's name of every leaf of the arguments: params['w'], x ..."""
    return names_of_leaves(argument_names(signature, args, kwargs), args, kwargs)


def names_of_leaves(names: Sequence[str], args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
    """The names of all leaves, given those of the positional arguments."""
    result = []
    for name, arg in zip(names, args, strict=True):
        result += [f"{name}{keystr(path)}" for path, _ in tree_flatten_with_path(arg)[0]]
    for key in sorted(kwargs):
        result += [f"{key}{keystr(path)}" for path, _ in tree_flatten_with_path(kwargs[key])[0]]
    return result
