"""Scatters of a few single elements a row, as selections: they fuse like any element rule.

That is what the gradient of picking an element from every row is, of a label's logit for example.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nr.backends.compiler import expr as e
from nr.backends.compiler.index import Index, index_of, unflatten
from nr.backends.compiler.lowering.rules import Value, choose, element, from_index, is_complex

_MOST = 4  # elements a row


def _rows(eqn: Any) -> tuple[list[int], list[int]]:
    """The dimensions of the indices that count elements of a row, and those that count rows."""
    dims = eqn.params["dimension_numbers"]
    rank = len(eqn.invars[1].aval.shape) - 1
    rows = list(dims.scatter_indices_batching_dims)
    return [d for d in range(rank) if d not in rows], rows


def _few(eqn: Any) -> bool:
    dims, mode = eqn.params["dimension_numbers"], eqn.params["mode"]
    if dims.update_window_dims or is_complex(eqn) or "clip" in str(mode).lower():
        return False
    counted, _ = _rows(eqn)
    shape = eqn.invars[1].aval.shape
    return math.prod([shape[d] for d in counted]) <= _MOST


def _select(combine: Callable) -> Callable:
    def rule(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
        dims = eqn.params["dimension_numbers"]
        counted, rows = _rows(eqn)
        shape = eqn.invars[1].aval.shape
        result = read(0, index)
        for flat in range(math.prod([shape[d] for d in counted])):
            place: list[Any] = [None] * (len(shape) - 1)
            for d, k in zip(
                counted, unflatten(index_of(flat), [shape[d] for d in counted]), strict=True
            ):
                place[d] = k
            for d, of in zip(rows, dims.operand_batching_dims, strict=True):
                place[d] = index[of]
            here = None
            for d in dims.inserted_window_dims:
                if d in dims.scatter_dims_to_operand_dims:
                    k = dims.scatter_dims_to_operand_dims.index(d)
                    target = read(1, (*place, index_of(k)))
                    kind = target.dtype if target.dtype in ("i32", "i64") else "i64"
                    match = e.eq(e.convert(target, kind), from_index(index[d], kind))
                else:
                    match = e.eq(from_index(index[d], "i64"), 0)
                here = match if here is None else here & match
            result = choose(here, combine(result, read(2, tuple(place))), result)
        return result

    return rule


def _add(a: e.Expr, b: e.Expr) -> e.Expr:
    return b if a.op == "const" and a.param == 0 else a + b


for _name, _combine in (
    ("scatter_add", _add), ("scatter_mul", e.Expr.__mul__), ("scatter", lambda a, b: b),
    ("scatter_min", e.minimum), ("scatter_max", e.maximum),
):  # fmt: skip
    element(_name, cost=3, supports=_few)(_select(_combine))
