"""Sorts and the largest elements, as routines of their own (the folder `sorting`)."""

from __future__ import annotations

import math
from typing import Any

from nr.backends.compiler.loops import Buffer, Kernel
from nr.backends.compiler.lowering.rules import kernels
from nr.backends.compiler.lowering.sorting.plans import sorted_rows
from nr.backends.compiler.lowering.sorting.transposes import transposed
from nr.backends.compiler.lowering.strided import copy
from nr.backends.compiler.routine import Routine

# Places of elements are 32 bits.
_MOST = 1 << 32


def _short_enough(eqn: Any) -> bool:
    shape = eqn.invars[0].aval.shape
    return shape[eqn.params.get("dimension", -1)] < _MOST


@kernels("sort", supports=_short_enough)
def _sort(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Kernel | Routine]:
    shape, dimension = eqn.invars[0].aval.shape, eqn.params["dimension"]
    outer, n, inner = math.prod(shape[:dimension]), shape[dimension], math.prod(shape[dimension + 1 :])
    if not outer * n * inner:
        return []
    if n == 1:
        return [copy(x, out, vector_bytes) for x, out in zip(operands, results, strict=True)]
    steps: list[Kernel | Routine] = []
    wanted = results
    if inner > 1:
        rows = [Buffer(f"{x}.rows", x.dtype, x.size) for x in operands]
        steps += [transposed(x, r, outer, n, inner) for x, r in zip(operands, rows, strict=True)]
        operands, results = rows, [Buffer(f"{x}.rows", x.dtype, x.size) for x in wanted]
    steps += sorted_rows(
        operands, results, outer * inner, n, eqn.params["num_keys"], vector_bytes
    )
    if inner > 1:
        steps += [transposed(r, x, outer, inner, n) for r, x in zip(results, wanted, strict=True)]
    return steps
