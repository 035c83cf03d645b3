"""Checks of indices, part of a program as any other operation.

An index that is not known while a program is traced is checked when it runs. The check gives its
operand back, so it happens where the index is used, and is transformed along with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.tracing import Primitive
from nr.lax.rules import move_dim, zero_tangent


def _aval(
    indices: ShapedArray, *, dim: int, size: int, low: int, high: int, lanes: int
) -> ShapedArray:
    return indices.strip_weak_type()


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
    out = check_index_p.bind(*primals, **params)
    return out, zero_tangent(out)


def _batch(axis: Any, args: Any, dims: Any, *, lanes: int, **params: Any) -> Any:
    (indices,), (d,) = args, dims
    return check_index_p.bind(move_dim(indices, d, 0), lanes=lanes + 1, **params), 0


check_index_p = Primitive("check_index", abstract_eval=_aval, jvp=_jvp, batch=_batch)


def check_index(indices: Array, dim: int, size: int, low: int, high: int) -> Array:
    """The indices; IndexError, when the program runs, unless all lie in [low, high).

    Args:
        indices: of an integer type.
        dim, size: the dimension that they index, and its extent: for the message.
    """
    return check_index_p.bind(indices, dim=dim, size=size, low=low, high=high, lanes=0)
