"""Batching rules of primitives: what `vmap` does with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nr.core.tracing import Primitive, current_trace, typeof
from nr.interpreters._rules import RuleTable
from nr.lax.rules import move_dim, to_front
from nr.transforms.batching import BatchTrace

__all__ = [
    "axis_primitive_batchers",
    "bdim_at_front",
    "broadcast",
    "defbroadcasting",
    "defvectorized",
    "fancy_primitive_batchers",
    "not_mapped",
    "primitive_batchers",
]

not_mapped = None
"""The batch dimension of an operand that is the same in all lanes."""


def _size(args: Sequence[Any], dims: Sequence[int | None]) -> int:
    return next(typeof(x).shape[d] for x, d in zip(args, dims, strict=True) if d is not None)


def _without_axis(primitive: Primitive, rule: Callable) -> Callable:
    def shown(args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        axis = BatchTrace(current_trace(), _size(args, dims), None)
        return rule(axis, args, dims, **params)

    return shown


def _with_axis(primitive: Primitive, rule: Callable) -> Callable:
    return lambda axis, args, dims, **params: rule(args, dims, **params)


primitive_batchers = RuleTable("batch", _without_axis, _with_axis)
"""``(args, dims, **params) -> (out, out_dim)`` by primitive, ``dims`` being the operands' batch
dimensions; lists of results and dimensions for primitives with several."""


def _asked_always(primitive: Primitive, rule: Callable) -> Callable:
    primitive.uses_axis = lambda params, name: True  # it may refer to any axis
    return rule


def _shown_sizes(primitive: Primitive, rule: Callable) -> Callable:
    def shown(size: int, name: Any, trace_type: Any, *operands: Any, **params: Any) -> Any:
        return rule(BatchTrace(current_trace(), size, name), *operands, **params)

    return shown


def _with_sizes(primitive: Primitive, rule: Callable) -> Callable:
    def kept(axis: Any, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        return rule(axis.size, axis.name, None, args, dims, **params)

    return _asked_always(primitive, kept)


fancy_primitive_batchers = RuleTable("batch", kept=_asked_always)
"""``(axis, args, dims, **params)`` by primitive: rules that are told the `size` and `name` of
vmap's axis. Where it has a name, they are asked also if no operand is batched."""

axis_primitive_batchers = RuleTable("batch", _shown_sizes, _with_sizes)
"""The same as ``(size, name, None, args, dims, **params)``."""


def broadcast(x: Any, size: int, axis: int) -> Any:
    """x in `size` lanes along a new dimension."""
    return move_dim(to_front(x, None, size), 0, axis)


def bdim_at_front(x: Any, bdim: int | None, size: int) -> Any:
    """x with its batch dimension, or a new one, in front."""
    return to_front(x, bdim, size)


def defvectorized(primitive: Primitive) -> None:
    """Say that a primitive of one operand works element by element."""

    def batch(args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        out = primitive.bind(*args, **params)
        return out, [dims[0]] * len(out) if primitive.multiple_results else dims[0]

    primitive_batchers[primitive] = batch


def defbroadcasting(primitive: Primitive) -> None:
    """Say that a primitive works element by element on operands of one shape (or rank 0)."""

    def batch(args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        size = _size(args, dims)
        rank = max(
            typeof(x).ndim - (d is not None) for x, d in zip(args, dims, strict=True)
        )  # of a lane
        full = []
        for x, d in zip(args, dims, strict=True):
            x = to_front(x, d, size)
            missing = rank + 1 - typeof(x).ndim
            full.append(x.reshape((size, *[1] * missing, *x.shape[1:])) if missing else x)
        out = primitive.bind(*full, **params)
        return out, [0] * len(out) if primitive.multiple_results else 0

    primitive_batchers[primitive] = batch
