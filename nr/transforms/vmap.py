"""vmap for users: axes given as trees, sizes checked, names for messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.core.source_info import api_boundary, function_name, wraps
from nr.core.tracing import typeof
from nr.core.trees import flatten_axes, tree_flatten, tree_leaves, tree_structure, tree_unflatten
from nr.lax.rules import as_users_get_it, broadcast_batch, move_dim, operand
from nr.transforms.batching import vmap_flat
from nr.transforms.flat_fun import FlatFun, check_leaves, leaf_names, signature_of


def vmap(
    fun: Callable,
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
    spmd_axis_name: Any = None,
) -> Callable:
    """A function that maps `fun` over an axis of its arguments, all lanes at once.

    Args:
        fun: a function of arrays or pytrees.
        in_axes: for each positional argument, the axis to map (negative counts from the end) or
            None; an int for all; a tree that is a prefix of an argument. Keyword arguments are
            mapped over their first axis.
        out_axes: where the mapped axis goes in the outputs, likewise.
        axis_name: a name by which collectives (`nr.lax.psum`) refer to the axis.
        axis_size: needed only where no argument is mapped.

    Raises:
        ValueError: if mapped axes have different sizes, or axes do not fit the arguments.

    Example:
        >>> import nr
        >>> x, y = nr.numpy.eye(2), nr.numpy.array([1., 2.])
        >>> nr.vmap(lambda x, y: x @ y, in_axes=(0, None))(x, y)
        Array([1., 2.], dtype=float32)
    """
    if not callable(fun):
        raise TypeError(f"vmap: a function was expected; got {fun!r}.")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not (in_axes is None or isinstance(in_axes, (int, tuple, dict))):
        raise TypeError(
            f"vmap: in_axes must be an int, None, or a tuple with one entry an argument; "
            f"got {in_axes!r}."
        )
    for name, axes in (("in_axes", in_axes), ("out_axes", out_axes)):
        if type(axes) is not int:
            _check_axes(name, axes)
    signature = signature_of(fun)

    @wraps(fun)
    @api_boundary
    def vmap_f(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ValueError(
                f"vmap: in_axes must have one entry for each positional argument; got "
                f"{len(in_axes)} entries for {len(args)} argument(s) of {function_name(fun)}."
            )
        leaves, in_tree = tree_flatten((args, kwargs))
        dims = flatten_axes("in_axes", tree_structure(args), in_axes)
        dims += [0] * (len(leaves) - len(dims))
        # what is not mapped may be any Python object (a function, say)
        check_leaves("vmap", [x for x, d in zip(leaves, dims, strict=True) if d is not None], args)
        size, dims = _mapped_size(leaves, dims, axis_size, signature, args, kwargs)
        flat = FlatFun(fun, in_tree, "vmap")
        leaves = [  # Python numbers that are not mapped stay what they are
            operand("vmap", x) if d is not None or isinstance(x, np.ndarray) else x
            for x, d in zip(leaves, dims, strict=True)
        ]
        outs, out_dims = vmap_flat(flat, leaves, dims, size, axis_name)
        wanted = flatten_axes("out_axes", flat.out_tree, out_axes)
        results = [_place(x, d, w, size) for x, d, w in zip(outs, out_dims, wanted, strict=True)]
        return tree_unflatten(flat.out_tree, results)

    return vmap_f


def _check_axes(name: str, axes: Any) -> None:
    for axis in tree_leaves(axes):
        if not hasattr(axis, "__index__") or isinstance(axis, (bool, Array)):
            raise TypeError(f"vmap: {name} must be ints or None (or trees of them); got {axis!r}.")


def _mapped_size(
    leaves: list, dims: list, axis_size: int | None, signature: Any, args: Any, kwargs: Any
) -> tuple[int, list[int | None]]:
    sizes: dict[int, int] = {}
    result: list[int | None] = []
    for i, (x, d) in enumerate(zip(leaves, dims, strict=True)):
        if d is None:
            result.append(None)
            continue
        aval = typeof(x)
        if not -aval.ndim <= d < aval.ndim:
            name = leaf_names(signature, args, kwargs)[i]
            raise ValueError(
                f"vmap: an axis to map must be one of the argument's {aval.ndim} axes; got "
                f"{d!r} for `{name}` ({aval}). Use None in in_axes for what is not mapped."
            )
        d = d.__index__() % aval.ndim
        result.append(d)
        sizes[i] = aval.shape[d]
    if axis_size is not None:
        if any(n != axis_size for n in sizes.values()):
            raise ValueError(
                f"vmap: axis_size={axis_size} was given; got mapped axes of sizes "
                f"{sorted(set(sizes.values()))}."
            )
        return axis_size, result
    if not sizes:
        raise ValueError(
            "vmap: at least one argument must be mapped; got in_axes of None for all. "
            "Pass axis_size=... to map none."
        )
    if len(set(sizes.values())) > 1:
        names = leaf_names(signature, args, kwargs)
        found: dict[int, str] = {}
        for i, n in sizes.items():
            aval, d = typeof(leaves[i]), result[i]
            found.setdefault(n, f"{n} for `{names[i]}` (axis {d}, {aval})")
        raise ValueError(
            f"vmap: mapped axes must have equal size; got {' and '.join(found.values())}."
        )
    return next(iter(sizes.values())), result


def _place(x: Any, dim: int | None, wanted: Any, size: int) -> Any:
    """An output with its mapped axis where out_axes wants it."""
    x = operand("vmap", x)
    if wanted is None:
        if dim is not None:
            raise ValueError(
                f"vmap: an output with out_axes=None must not depend on mapped arguments; got "
                f"{typeof(x)} mapped along axis {dim}. Give it an axis in out_axes."
            )
        return x
    aval = typeof(x)
    rank = aval.ndim + (dim is None)
    if not -rank <= wanted < rank:
        raise ValueError(
            f"vmap: out_axes must be one of the output's {rank} axes; got {wanted!r} for "
            f"an output of {aval}."
        )
    wanted = wanted.__index__() % rank
    placed = broadcast_batch(x, size, wanted) if dim is None else move_dim(x, dim, wanted)
    return as_users_get_it(placed) if aval.dtype.names else placed  # float0 is structured
