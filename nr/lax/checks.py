"""Checks of indices, part of a program as any other operation.

An index that is not known while a program is traced is checked when it runs. The check gives its
operand back, so it happens where the index is used, and is transformed along with it.

So is what says which dimensions are lanes of vmap, for checks of NaNs: it is recorded only where
these are wanted (`nr.core.nans`), and taken out of the program when they are written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, Zero
from nr.core.tracing import Primitive
from nr.lax.rules import check_dtype, move_dim, zero_tangent


def _aval(
    indices: ShapedArray, *, dim: int, size: int, low: int, high: int, lanes: tuple
) -> ShapedArray:
    check_dtype("index", indices, dtypes.INTEGER)
    return indices.strip_weak_type()


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
    out = check_index_p.bind(*primals, **params)
    return out, zero_tangent(out)


def _batch(axis: Any, args: Any, dims: Any, *, lanes: tuple, **params: Any) -> Any:
    (indices,), (d,) = args, dims
    lanes = (axis.name, *lanes)
    return check_index_p.bind(move_dim(indices, d, 0), lanes=lanes, **params), 0


check_index_p = Primitive("check_index", abstract_eval=_aval, jvp=_jvp, batch=_batch)


def check_index(indices: Array, dim: int, size: int, low: int, high: int) -> Array:
    """The indices; IndexError, when the program runs, unless all lie in [low, high).

    Args:
        indices: of an integer type.
        dim, size: the dimension that they index, and its extent: for the message.
    """
    return check_index_p.bind(indices, dim=dim, size=size, low=low, high=high, lanes=())


def _same_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
    (x,), (t,) = primals, tangents
    return in_lanes_p.bind(x, **params), t if type(t) is Zero else in_lanes_p.bind(t, **params)


def _same_transpose(ct: Any, x: Any, *, before: bool, after: bool, **params: Any) -> Any:
    return [in_lanes_p.bind(ct, before=after, after=before, **params)]


def _same_batch(axis: Any, args: Any, dims: Any, *, dim: int, level: int, **params: Any) -> Any:
    (x,), (d,) = args, dims
    # That vmap is inside of this one.
    return in_lanes_p.bind(x, dim=dim + (d <= dim), level=level + 1, **params), d


in_lanes_p = Primitive(
    "in_lanes",
    abstract_eval=lambda x, **params: x.strip_weak_type(),
    jvp=_same_jvp,
    transpose=_same_transpose,
    batch=_same_batch,
)


class Lane:
    """Stands for one vmap: `name` is its axis name, or None."""

    __slots__ = ("name",)

    def __init__(self, name: Any) -> None:
        self.name = name


def in_lanes(x: Array, dim: int, lane: Lane, *, before: bool = True, after: bool = True) -> Array:
    """x, saying that a dimension of it is that of the lanes of a vmap.

    Args:
        before: whether what computes x does so for lanes. Not so of what comes into a vmap.
        after: whether what takes the result does so for lanes. Not so of what leaves a vmap.
    """
    return in_lanes_p.bind(x, dim=dim, level=0, lane=lane, before=before, after=after)
