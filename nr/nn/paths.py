"""Parameters by name: flat dicts, masks by pattern, and parts of a model to train or to freeze.

A name is the path to a leaf, joined by dots: ``"encoder.layers.0.weight"``. These functions work on
any pytree, modules, gradients and optimizer states included.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import nr.numpy as jnp
from nr.core.trees import (
    KeyPath,
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    tree_map_with_path,
    tree_unflatten,
)
from nr.transforms.make_jaxpr import aval_of
from nr.tree import trainable

__all__ = [
    "count_parameters",
    "load_state_dict",
    "mask",
    "merge",
    "partition",
    "state_dict",
]

Where = str | Sequence[str] | Callable[[str, Any], bool]


def name_of(path: KeyPath) -> str:
    """The dotted name of a path: ``"layers.0.weight"``."""
    return ".".join([str(_part(key)) for key in path])


def _part(key: Any) -> Any:
    for attribute in ("name", "idx", "key"):
        if hasattr(key, attribute):
            return getattr(key, attribute)
    return key


# ---------------------------------------------------------------- flat dicts
def state_dict(tree: Any) -> dict[str, Any]:
    """All leaves by name, in the order of the tree.

    Example:
        >>> import nr
        >>> model = [nr.nn.Linear.init(4, 2, key=nr.random.key(0))]
        >>> {name: x.shape for name, x in nr.nn.state_dict(model).items()}
        {'0.weight': (4, 2), '0.bias': (2,)}
    """
    return {name_of(path): leaf for path, leaf in tree_flatten_with_path(tree)[0]}


def load_state_dict(tree: Any, state: Mapping[str, Any], *, strict: bool = True) -> Any:
    """A tree like this one with leaves taken by name.

    Args:
        tree: a model, or shapes of one (`nr.eval_shape` of its ``init``).
        state: arrays by name; of the leaves' shapes, converted to the leaves' dtypes.
        strict: whether names must be the same on both sides; otherwise leaves without an entry
            stay as they are, and entries without a leaf are left out.

    Raises:
        ValueError: names are missing or unknown (strict), or shapes differ; all of them are told.

    Example:
        >>> import nr
        >>> layer = nr.nn.Linear.init(4, 2, key=nr.random.key(0))
        >>> new = {"bias": nr.numpy.ones(2)}
        >>> nr.nn.load_state_dict(layer, new, strict=False).bias
        Array([1., 1.], dtype=float32)
    """
    leaves, structure = tree_flatten_with_path(tree)
    names = [name_of(path) for path, _ in leaves]
    problems = []
    if strict:
        problems += [f'"{name}" is missing' for name in names if name not in state]
        known = set(names)
        problems += [f'"{name}" is unknown' for name in state if name not in known]
    loaded = []
    for name, (_, leaf) in zip(names, leaves):
        if name not in state:
            loaded.append(leaf)
            continue
        required, got = aval_of(leaf), aval_of(state[name])
        if required.shape != got.shape:
            problems.append(f'"{name}" is {got}, and {required} was required')
            continue
        loaded.append(jnp.asarray(state[name], required.dtype))
    if problems:
        raise ValueError(
            f"load_state_dict: an array for each leaf was required; got {len(state)} in which "
            f"{listed(problems)}. With strict=False missing and unknown names are "
            "passed over."
        )
    return tree_unflatten(structure, loaded)


def listed(problems: list[str]) -> str:
    """The first of them, and how many more there are: for messages."""
    more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
    return "; ".join(problems[:10]) + more


# ---------------------------------------------------------------- choice by name
def mask(tree: Any, where: Where) -> Any:
    """A tree of bools, True for the leaves that are chosen: for decay, freezing, `partition`.

    Args:
        tree: any pytree.
        where: a pattern for names, in which ``*`` stands for any characters (dots included) and
            ``?`` for one; several patterns, one of which must match; or a function
            ``(name, leaf) -> bool``.

    Raises:
        ValueError: a pattern matches no leaf.

    Example:
        >>> import nr
        >>> layer = nr.nn.Linear.init(4, 2, key=nr.random.key(0))
        >>> nr.nn.mask(layer, "*bias")
        Linear(weight=False, bias=True)
        >>> nr.nn.mask(layer, lambda name, x: x.ndim > 1)
        Linear(weight=True, bias=False)
    """
    if callable(where):
        chosen = where
        return tree_map_with_path(lambda path, leaf: bool(chosen(name_of(path), leaf)), tree)
    patterns = [where] if isinstance(where, str) else list(where)
    names = [name_of(path) for path, _ in tree_flatten_with_path(tree)[0]]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise ValueError(
                f'mask: a pattern that matches a leaf was required; got "{pattern}" for leaves '
                f"{some}. Print nr.nn.state_dict(tree).keys() for all names."
            )
    return tree_map_with_path(
        lambda path, _: any([fnmatch.fnmatchcase(name_of(path), p) for p in patterns]), tree
    )


def partition(tree: Any, where: Any) -> tuple[Any, Any]:
    """Two trees like this one: the chosen leaves, and the others; None stands for what is absent.

    None is an empty node, so that gradients, optimizers and jit see only the leaves that are there:
    differentiate with respect to the first and `merge` inside of the loss to train a part.

    Args:
        tree: any pytree.
        where: as in `mask`, or a tree of bools.

    Example:
        >>> import nr
        >>> layer = nr.nn.Linear.init(4, 2, key=nr.random.key(0))
        >>> head, rest = nr.nn.partition(layer, "bias")
        >>> head, rest
        (Linear(weight=None, bias=f32[2]), Linear(weight=f32[4,2], bias=None))
        >>> loss = lambda head, x: nr.nn.merge(head, rest)(x).sum()
        >>> nr.grad(loss)(head, nr.numpy.ones(4))
        Linear(weight=None, bias=f32[2])
    """
    if isinstance(where, str) or callable(where) or _holds_text(where):
        where = mask(tree, where)
    return (
        tree_map(lambda chosen, leaf: leaf if chosen else None, where, tree),
        tree_map(lambda chosen, leaf: None if chosen else leaf, where, tree),
    )


def _holds_text(where: Any) -> bool:
    return isinstance(where, (list, tuple)) and bool(where) and isinstance(where[0], str)


def merge(*trees: Any) -> Any:
    """The tree of which these are parts: of each leaf, the one that is not None.

    Args:
        *trees: as from `partition`.

    Raises:
        ValueError: a leaf is given by several.
    """

    def only(path: KeyPath, *leaves: Any) -> Any:
        given = [leaf for leaf in leaves if leaf is not None]
        if len(given) > 1:
            raise ValueError(
                f"merge: each leaf in one of the trees was required; got {len(given)} for "
                f'"{name_of(path)}". Merge what `partition` gave.'
            )
        return given[0] if given else None

    return tree_map_with_path(only, *trees, is_leaf=lambda x: x is None)


def count_parameters(tree: Any) -> int:
    """The number of elements of all leaves that are trained: not of buffers.

    Example:
        >>> import nr
        >>> nr.nn.count_parameters(nr.nn.Linear.init(784, 10, key=nr.random.key(0)))
        7850
    """
    pairs = zip(tree_leaves(trainable(tree)), tree_leaves(tree), strict=True)
    return sum([math.prod(aval_of(leaf).shape) for trained, leaf in pairs if trained])
