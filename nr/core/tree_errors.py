"""Where one structure stops being a prefix of another, and how a message says so.

Works on the nested tuples of `tree_nodes`: `trees` raises what is found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .tree_nodes import REGISTRY, KeyPath, Node, NoneType, count_leaves, keystr, node_keys


def broadcast(prefix: Node, full: Node, leaves: Iterator[Any], out: list[Any]) -> bool:
    """Append the prefix's leaves, repeated; False where it is not a prefix of the structure."""
    if prefix is None:
        out.extend([next(leaves)] * count_leaves(full))
        return True
    if not _same_node(prefix, full):
        return False
    return all(broadcast(a, b, leaves, out) for a, b in zip(prefix[2], full[2]))


def _same_node(a: tuple, b: Node) -> bool:
    """Whether two structures agree at their root."""
    return (
        b is not None
        and a[0] is b[0]
        and (a[1] is b[1] or bool(a[1] == b[1]))
        and len(a[2]) == len(b[2])
    )


def differences(a: Node, b: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, tuple, Node]]:
    """The places where structure `a` is no prefix of `b`: (path, node of a, node of b)."""
    if a is None:
        return
    if not _same_node(a, b):
        yield path, a, b
        return
    for key, x, y in zip(node_keys(a), a[2], b[2], strict=True):
        yield from differences(x, y, (*path, key))


def first_difference(node: Node, other: Node, left: str, right: str) -> tuple[str, str, str, str]:
    """Where a tree departs from a structure: (place, what was there, what came, a note)."""
    path, a, b = next(differences(node, other))
    wanted, got, note = _describe_pair(a, b, left, right)
    if a[0] is NoneType or (b is not None and b[0] is NoneType):
        note += " None is an empty node; to map it as a leaf pass is_leaf=lambda x: x is None."
    return keystr(path) or "the root", wanted, got, note


def difference_error(difference: tuple[KeyPath, tuple, Node], name: str) -> ValueError:
    """The exception for one of the `differences`, `name` being the user's name of the prefix."""
    path, a, b = difference
    wanted, got, note = _describe_pair(a, b, name, "the value")
    return ValueError(
        f"{name}: must be a tree prefix of the value; at {name}{keystr(path)} got {wanted} in "
        f"{name} and {got} in the value.{note}"
    )


def prefix_error(prefix: Node, full: Node, name: str) -> ValueError:
    """The exception for the first place where a structure is not a prefix of another."""
    return difference_error(next(differences(prefix, full)), name)


def _describe_pair(a: tuple, b: Node, left: str, right: str) -> tuple[str, str, str]:
    """Two structures in words, and a note of what is in one only."""
    same = b is not None and a[0] is b[0]
    words = _describe(a, same), _describe(b, same)
    if not (same and a[0] is dict):
        return (*words, "")
    notes = [
        f" Only in {where}: {', '.join([repr(key) for key in keys])}."
        for where, keys in (
            (left, [key for key in a[1] if key not in b[1]]),
            (right, [key for key in b[1] if key not in a[1]]),
        )
        if keys
    ]
    if notes:
        notes.append(" (Dict key mismatch)")  # JAX's words, which programs' tests look for
    return (*words, "".join(notes))


def _describe(node: Node, with_data: bool) -> str:
    if node is None:
        return "a leaf"
    cls, aux, children = node
    if cls is NoneType:
        return "None"
    if cls in (tuple, list):
        return f"{cls.__name__} of {len(children)}"
    if cls is dict:
        return f"dict of {len(children)}"
    if cls in REGISTRY and with_data:
        return f"{cls.__name__} of {len(children)} with static data {aux!r}"
    return cls.__name__
