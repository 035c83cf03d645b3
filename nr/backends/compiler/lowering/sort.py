"""Sorts and the largest elements, as routines of their own (the folder `sorting`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr.backends.compiler.loops import Buffer, Kernel
from nr.backends.compiler.lowering.rules import kernels, storage
from nr.backends.compiler.lowering.sorting.plans import largest, sorted_columns, sorted_rows
from nr.backends.compiler.lowering.sorting.transposes import transposed
from nr.backends.compiler.lowering.strided import copy
from nr.backends.compiler.routine import Routine
from nr.core.jaxprs import Literal

# Places of elements are 32 bits.
_MOST = 1 << 32


def _supported(eqn: Any) -> bool:
    shape = eqn.invars[0].aval.shape
    known = all([storage(x.aval.dtype) is not None for x in eqn.invars])
    return known and shape[eqn.params.get("dimension", -1)] < _MOST


def _counts(eqn: Any, k: int, producer: dict) -> bool:
    """Whether an operand of a sort is the place along its dimension: an iota, or several."""
    atom, dimension = eqn.invars[k], eqn.params["dimension"]
    if k < eqn.params["num_keys"] or np.dtype(atom.aval.dtype).kind not in "iu":
        return False
    extent = atom.aval.shape[dimension]
    while (maker := producer.get(atom)) is not None:
        if maker.primitive.name == "iota":
            return maker.params["dimension"] == dimension
        if maker.primitive.name != "broadcast_in_dim":
            return False
        dimensions = maker.params["broadcast_dimensions"]
        (atom,) = maker.invars
        if dimension not in dimensions or type(atom) is Literal:
            return False
        dimension = dimensions.index(dimension)
        if atom.aval.shape[dimension] != extent:
            return False
    return False


@kernels("sort", supports=_supported, counts=_counts)
def _sort(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Kernel | Routine]:
    shape, dimension = eqn.invars[0].aval.shape, eqn.params["dimension"]
    n = shape[dimension]
    outer, inner = math.prod(shape[:dimension]), math.prod(shape[dimension + 1 :])
    if not outer * n * inner:
        return []
    if n == 1:
        return [_copied(x, out, vector_bytes) for x, out in zip(operands, results, strict=True)]
    # Here, what only counts has no elements.
    operands = [x if x.size > 1 else Buffer(x.name, x.dtype, 0) for x in operands]
    num_keys = eqn.params["num_keys"]
    short = sorted_columns(operands, results, outer, n, inner, num_keys, vector_bytes)
    if short is not None:
        return list(short)
    if inner == 1:
        return list(sorted_rows(operands, results, outer, n, num_keys, vector_bytes))

    def rows(x: Buffer) -> Buffer:  # what counts along the dimension, or is not wanted, stays
        return x if not x.size else Buffer(f"{x}.rows", x.dtype, x.size)

    rows_in, rows_out = [rows(x) for x in operands], [rows(x) for x in results]
    steps: list[Kernel | Routine] = [
        transposed(x, r, outer, n, inner)
        for x, r in zip(operands, rows_in, strict=True)
        if r is not x
    ]
    steps += sorted_rows(rows_in, rows_out, outer * inner, n, num_keys, vector_bytes)
    steps += [
        transposed(r, x, outer, inner, n)
        for r, x in zip(rows_out, results, strict=True)
        if r is not x
    ]
    return steps


def _copied(x: Buffer, out: Buffer, vector_bytes: int) -> Kernel | Routine:
    """A copy; to the bit, which the loop IR's copies of 16-bit NaNs are not."""
    return copy(x, out, vector_bytes) if x.size < out.size else transposed(x, out, 1, 1, out.size)


@kernels("top_k", supports=_supported)
def _top_k(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Routine]:
    *batch, n = eqn.invars[0].aval.shape
    rows, k = math.prod(batch), eqn.params["k"]
    if not rows * k:
        return []
    values, places = results
    return largest(operands[0], values, places, rows, n, k, vector_bytes)
