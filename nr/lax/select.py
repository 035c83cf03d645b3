"""Choosing between arrays element by element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.tracing import Primitive, typeof
from nr.lax.rules import (
    broadcast_batch,
    instantiate,
    mark_weak,
    move_dim,
    operand,
    operands,
    to_front,
    zero_tangent,
    zeros_of,
)


def _select_n_aval(which: ShapedArray, *cases: ShapedArray) -> ShapedArray:
    if not cases:
        raise TypeError("select_n: at least one case was expected; got none.")
    if any(c.shape != cases[0].shape or c.dtype != cases[0].dtype for c in cases):
        raise TypeError(
            f"select_n: all cases must have the same shape and dtype; "
            f"got {', '.join(map(str, cases))}. Use nr.numpy.where, which promotes and broadcasts."
        )
    if which.shape and which.shape != cases[0].shape:
        raise TypeError(
            f'select_n: "which" must have rank 0 or the shape of the cases; got {which} for '
            f"cases {cases[0]}. Use nr.numpy.where, which broadcasts."
        )
    if which.dtype not in (dtypes.bool_dt, np.dtype(np.int32)):
        raise TypeError(f'select_n: "which" must be bool or int32; got {which}.')
    if which.dtype == dtypes.bool_dt and len(cases) > 2:
        raise TypeError(f"select_n: a bool chooses between 2 cases; got {len(cases)}. Use int32.")
    return cases[0] if all([c.weak_type for c in cases]) else cases[0].strip_weak_type()


def _select_n_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    which, *cases = primals
    out = select_n_p.bind(which, *cases)
    if all(type(t) is Zero for t in tangents[1:]):
        return out, zero_tangent(out)
    return out, select_n_p.bind(which, *map(instantiate, tangents[1:]))


def _select_n_transpose(ct: Any, which: Any, *cases: Any) -> list[Any]:
    zeros = zeros_of(typeof(ct))
    return [
        None,
        *[
            select_n_p.bind(which, *[ct if i == j else zeros for j in range(len(cases))])
            if type(case) is UndefinedPrimal
            else None
            for i, case in enumerate(cases)
        ],
    ]


def _select_n_batch(axis: Any, args: Sequence[Any], dims: Sequence[int | None]) -> Any:
    which, *cases = args
    whole = typeof(which).ndim == typeof(cases[0]).ndim
    if dims[0] is None and typeof(which).ndim == 0 or len(set(dims)) == 1 and whole:
        dim = next(d for d in dims if d is not None)
        cases = [
            broadcast_batch(c, axis.size, dim) if d is None else move_dim(c, d, dim)
            for c, d in zip(cases, dims[1:], strict=True)
        ]
        return select_n_p.bind(which, *cases), dim
    cases = [to_front(c, d, axis.size) for c, d in zip(cases, dims[1:], strict=True)]
    shape = typeof(cases[0]).shape
    which = to_front(which, dims[0], axis.size)
    if typeof(which).ndim < len(shape):
        which = Primitive.all["broadcast_in_dim"].bind(
            which, shape=shape, broadcast_dimensions=(0,)
        )
    return select_n_p.bind(which, *cases), 0


select_n_p = Primitive(
    "select_n",
    abstract_eval=_select_n_aval,
    jvp=_select_n_jvp,
    transpose=_select_n_transpose,
    batch=_select_n_batch,
)


def select_n(which: Any, *cases: Any) -> Array:
    """The element of cases[which] at each place; False counts as 0, True as 1.

    Args:
        which: bool or int32, of rank 0 or the shape of the cases.
        cases: arrays of one shape and dtype.

    Example:
        >>> import nr
        >>> nr.lax.select_n(nr.numpy.array([True, False]), nr.numpy.array([1, 2]),
        ...                 nr.numpy.array([3, 4]))
        Array([3, 2], dtype=int32)
    """
    return _checked(operand("select_n", which), *operands("select_n", *cases))


def _checked(which: Any, *cases: Any) -> Array:
    """Bind; what NumPy would broadcast or promote is found here."""
    shape = cases[0].shape if cases else ()
    if (
        (which.shape and which.shape != shape)
        or (which.dtype != dtypes.bool_dt or len(cases) != 2)
        or any([x.shape != shape for x in cases])
    ):
        _select_n_aval(typeof(which), *map(typeof, cases))
    return mark_weak(select_n_p.bind(which, *cases), *cases)


def select(pred: Any, on_true: Any, on_false: Any) -> Array:
    """on_true where pred holds, on_false elsewhere; arrays of one shape (scalars are broadcast)."""
    pred, (x, y) = operand("select", pred), operands("select", on_true, on_false)
    shape = max(typeof(pred).shape, typeof(x).shape, typeof(y).shape, key=len)
    broadcast = Primitive.all["broadcast_in_dim"].bind
    cases = [
        z if typeof(z).shape or not shape else broadcast(z, shape=shape, broadcast_dimensions=())
        for z in (y, x)
    ]
    return _checked(pred, *cases)
