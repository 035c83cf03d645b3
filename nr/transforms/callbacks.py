"""Calling Python from traced programs: pure_callback, io_callback, debug.callback, debug.print."""

from __future__ import annotations

import logging
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core.array import ArrayImpl
from nr.core.avals import ShapedArray
from nr.core.source_info import api_boundary
from nr.core.tracing import Primitive, typeof
from nr.core.trees import tree_flatten, tree_unflatten
from nr.lax.rules import move_dim, no_derivative, operand, to_front
from nr.transforms.control_flow import map as lax_map
from nr.transforms.flat_fun import is_array_like
from nr.transforms.make_jaxpr import aval_of


def _callback_aval(
    *avals: ShapedArray, callback: Callable, result_avals: tuple, **params: Any
) -> list[ShapedArray]:
    return list(result_avals)


def _no_derivative(op: str) -> Callable:
    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        raise ValueError(
            f"{op}: it can't be differentiated: nr does not see into the callback. Wrap the "
            f"function that calls it in nr.custom_jvp or nr.custom_vjp."
        )

    return jvp


def _one_call_a_lane(primitive: Callable[[], Primitive]) -> Callable:
    """Batching by a loop over lanes (vmap_method="sequential")."""

    def batch(axis: Any, args: Any, dims: Any, **params: Any) -> Any:
        moved = [x if d is None else move_dim(x, d, 0) for x, d in zip(args, dims, strict=True)]

        def lane(mapped: list[Any]) -> list[Any]:
            rest = iter(mapped)
            full = [x if d is None else next(rest) for x, d in zip(moved, dims, strict=True)]
            return primitive().bind(*full, **params)

        outs = lax_map(lane, [x for x, d in zip(moved, dims, strict=True) if d is not None])
        return outs, [0] * len(outs)

    return batch


def _pure_batch(
    axis: Any, args: Any, dims: Any, *, callback: Callable, result_avals: tuple, vmap_method: Any
) -> Any:
    params = {"callback": callback, "result_avals": result_avals, "vmap_method": vmap_method}
    if vmap_method is None:
        raise NotImplementedError(
            "pure_callback: under vmap it must be said how; got vmap_method=None. Pass "
            "vmap_method='sequential', 'expand_dims' or 'broadcast_all'."
        )
    if vmap_method.startswith("sequential"):
        return _one_call_a_lane(lambda: pure_callback_p)(axis, args, dims, **params)
    wide = tuple([a.update(shape=(axis.size, *a.shape)) for a in result_avals])
    if vmap_method == "legacy_vectorized":
        args = [x if d is None else move_dim(x, d, 0) for x, d in zip(args, dims, strict=True)]
    elif vmap_method == "broadcast_all":
        args = [to_front(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
    else:
        args = [
            operand("pure_callback", x)[None] if d is None else move_dim(x, d, 0)
            for x, d in zip(args, dims, strict=True)
        ]
    outs = pure_callback_p.bind(*args, **{**params, "result_avals": wide})
    return outs, [0] * len(outs)


pure_callback_p = Primitive(
    "pure_callback",
    multiple_results=True,
    abstract_eval=_callback_aval,
    jvp=_no_derivative("pure_callback"),
    batch=_pure_batch,
)
io_callback_p: Primitive = Primitive(
    "io_callback",
    multiple_results=True,
    abstract_eval=_callback_aval,
    jvp=_no_derivative("io_callback"),
    batch=_one_call_a_lane(lambda: io_callback_p),
    effectful=True,
)


def _debug_batch(axis: Any, args: Any, dims: Any, **params: Any) -> Any:
    """Once a lane, in order, with no results."""
    for i in range(axis.size):
        debug_callback_p.bind(
            *[
                x if d is None else move_dim(operand("debug", x), d, 0)[i]
                for x, d in zip(args, dims, strict=True)
            ],
            **params,
        )
    return [], []


debug_callback_p = Primitive(
    "debug_callback",
    multiple_results=True,
    abstract_eval=_callback_aval,
    batch=_debug_batch,
    effectful=True,
)
debug_callback_p.jvp = no_derivative(debug_callback_p)


def _flat_callback(callback: Callable, in_tree: Any, out_tree: Any) -> Callable:
    def flat(*leaves: Any) -> list[Any]:
        args, kwargs = tree_unflatten(in_tree, [ArrayImpl(np.array(x)) for x in leaves])
        outs, tree = tree_flatten(callback(*args, **kwargs))
        if len(outs) != out_tree.num_leaves:  # containers may be others, as a tuple for a list
            raise ValueError(
                f"callback: it must return the declared structure {out_tree}; got {tree}."
            )
        return outs

    return flat


def _call(
    primitive: Primitive,
    callback: Callable,
    result_shape: Any,
    args: Any,
    kwargs: Any,
    **params: Any,
) -> Any:
    leaves, in_tree = tree_flatten((args, kwargs))
    shapes, out_tree = tree_flatten(result_shape)
    outs = primitive.bind(
        *[operand(primitive.name, x) for x in leaves],
        callback=_flat_callback(callback, in_tree, out_tree),
        result_avals=tuple([aval_of(s).strip_weak_type() for s in shapes]),
        **params,
    )
    return tree_unflatten(out_tree, outs)


@api_boundary
def pure_callback(
    callback: Callable,
    result_shape_dtypes: Any,
    *args: Any,
    vmap_method: str | None = None,
    **kwargs: Any,
) -> Any:
    """Call a pure Python function on arrays, in traced programs too.

    Args:
        callback: gets arrays, returns what `result_shape_dtypes` declares; it may be called
            any number of times.
        result_shape_dtypes: a pytree of ShapeDtypeStructs (or arrays).
        vmap_method: what to do under vmap: "sequential" (one call a lane), "expand_dims" or
            "broadcast_all" (one call with leading batch dimensions), "legacy_vectorized" (which
            only mapped arguments have).

    Example:
        >>> import nr, numpy as np
        >>> out = nr.ShapeDtypeStruct((3,), "float32")
        >>> f = nr.jit(lambda x: nr.pure_callback(np.cumsum, out, x))
        >>> f(nr.numpy.ones(3))
        Array([1., 2., 3.], dtype=float32)
    """
    if vmap_method not in (None, "sequential", "sequential_unrolled", "expand_dims",
                           "broadcast_all", "legacy_vectorized"):  # fmt: skip
        raise ValueError(
            f"pure_callback: vmap_method must be 'sequential', 'expand_dims' or "
            f"'broadcast_all'; got {vmap_method!r}."
        )
    return _call(
        pure_callback_p, callback, result_shape_dtypes, args, kwargs, vmap_method=vmap_method
    )


@api_boundary
def io_callback(
    callback: Callable,
    result_shape_dtypes: Any,
    *args: Any,
    ordered: bool = False,
    **kwargs: Any,
) -> Any:
    """Call a Python function that has effects, exactly once each time, in program order."""
    return _call(io_callback_p, callback, result_shape_dtypes, args, kwargs)


@api_boundary
def debug_callback(
    callback: Callable, *args: Any, ordered: bool = False, partitioned: bool = False, **kwargs: Any
) -> None:
    """Call a Python function for its effect, in traced programs too; its result is ignored.

    Arguments that are no arrays, such as strings, reach the function as they are.
    """
    leaves, in_tree = tree_flatten((args, kwargs))
    numbers = [is_array_like(x) for x in leaves]
    others = [None if number else x for x, number in zip(leaves, numbers, strict=True)]

    def effect(*values: Any) -> None:
        rest = iter(values)
        full = [next(rest) if number else x for x, number in zip(others, numbers, strict=True)]
        positional, named = tree_unflatten(in_tree, full)
        callback(*positional, **named)

    given = [x for x, number in zip(leaves, numbers, strict=True) if number]
    _call(debug_callback_p, effect, None, given, {})


class _StrictFormatter(string.Formatter):
    """A formatter that takes no more values than its format has fields for."""

    def check_unused_args(self, used: Any, args: Any, kwargs: Any) -> None:
        unused = [i for i in range(len(args)) if i not in used]
        unused += [name for name in kwargs if name not in used]
        if unused:
            raise ValueError(
                f"debug.print: there must be a field for each value; got none for "
                f"{', '.join(map(repr, unused))}."
            )


def debug_print(fmt: str, *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Print values when the program runs: ``debug.print("x = {x}", x=x)``.

    Raises:
        ValueError, KeyError, IndexError: if the arguments do not fit the format.
    """
    _write(print, fmt, args, kwargs)


def debug_log(fmt: str, *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """As `debug_print`, but values go to the logger "nr", at level INFO."""
    _write(logging.getLogger("nr").info, fmt, args, kwargs)


def _write(write: Callable, fmt: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    _StrictFormatter().vformat(  # a misspelt name is reported here, at the user's line
        _without_specs(fmt), [_type_of_leaf(x) for x in args], dict(kwargs)
    )

    def show(*values: Any, **named: Any) -> None:
        write(fmt.format(*values, **named))

    debug_callback(show, *args, **kwargs)


def _type_of_leaf(x: Any) -> Any:
    return typeof(x) if tree_flatten(x)[1].is_leaf and is_array_like(x) else x


def _without_specs(fmt: str) -> str:
    parts = []
    for literal, field, _, _ in string.Formatter().parse(fmt):
        parts.append(literal.replace("{", "{{").replace("}", "}}"))
        if field is not None:
            parts.append("{" + field.split(".")[0].split("[")[0] + "}")
    return "".join(parts)
