"""Functions that only move elements around, of arrays of typed random keys, too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nr import lax
from nr.core import dtypes
from nr.core.array import Array
from nr.core.trees import tree_flatten, tree_map, tree_unflatten
from nr.transforms.vmap import vmap

# The functions that move elements, and which of their positional arguments they move.
_OF_NUMPY: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            *("array", "array_split", "asarray", "atleast_1d", "atleast_2d", "broadcast_to"),
            *("concat", "concatenate", "copy", "empty_like", "expand_dims", "flip", "hstack"),
            *("moveaxis", "permute_dims", "ravel", "repeat", "reshape", "roll", "split"),
            *("squeeze", "stack", "swapaxes", "take", "take_along_axis", "tile", "transpose"),
            *("unstack", "vstack", "zeros_like"),
        ),
        (0,),
    ),
    "append": (0, 1),
    "full_like": (0, 1),
    "where": (1, 2),
}
_OF_LAX: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            *("broadcast", "broadcast_in_dim", "collapse", "concatenate", "dynamic_index_in_dim"),
            *("dynamic_slice", "dynamic_slice_in_dim", "expand_dims", "index_in_dim", "reshape"),
            *("rev", "slice", "slice_in_dim", "split", "squeeze", "transpose"),
        ),
        (0,),
    ),
    **dict.fromkeys(
        (
            *("dynamic_update_index_in_dim", "dynamic_update_slice"),
            "dynamic_update_slice_in_dim",
        ),
        (0, 1),
    ),
    "select": (1, 2),
}


def install(names: dict[str, Any]) -> None:
    """Let the functions among the names of nr.numpy, and those of nr.lax, take keys."""
    for module, moving in ((names, _OF_NUMPY), (vars(lax), _OF_LAX)):
        for name, which in moving.items():
            module[name] = also_of_keys(module[name], which)


def _is_key(x: Any) -> bool:
    return isinstance(x, Array) and getattr(x.dtype, "type", None) is dtypes.prng_key


def also_of_keys(function: Callable, which: tuple[int, ...]) -> Callable:
    """The function, which takes typed keys as well: all bits of a key go the same way.

    Keys are no arrays of numbers, so the function fails on them: it is then applied to each word of
    the keys.

    Args:
        function: a function that only moves elements.
        which: the positional arguments that hold what is moved; numbers can't stand beside keys.
    """

    @functools.wraps(function)
    def moved(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError:
            moving = tree_flatten([args[i] for i in which if i < len(args)], is_leaf=_is_key)[0]
            if not moving or not all([_is_key(x) for x in moving]):
                raise
        leaves, tree = tree_flatten((args, kwargs), is_leaf=_is_key)

        def of_words(*words: Any) -> Any:
            rest = iter(words)
            given, named = tree_unflatten(tree, [next(rest) if _is_key(x) else x for x in leaves])
            return function(*given, **named)

        words = [x._data for x in leaves if _is_key(x)]
        return tree_map(type(moving[0]), vmap(of_words, in_axes=-1, out_axes=-1)(*words))

    return moved
