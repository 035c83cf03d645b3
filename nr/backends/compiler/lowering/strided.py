"""What kernels made by hand share: loops that step through several arrays, copies, widths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nr.backends.compiler.expr import Expr
from nr.backends.compiler.index import ZERO, Index, Loop, index_of
from nr.backends.compiler.loops import ITEMSIZE, REGISTER, Buffer, Kernel, Pass, Store, fitted, load

# Complex numbers are two registers of this type each.
_PARTS = {"c64": "f32", "c128": "f64"}


@dataclass(frozen=True, slots=True)
class Axis:
    """A loop of `extent` steps, and how far each of several arrays moves with a step."""

    extent: int
    steps: tuple[int, ...]


def merged(axes: Sequence[Axis]) -> list[Axis]:
    """Axes, outermost first, without trivial ones and with neighbours joined where all arrays
    step through both as through one."""
    result: list[Axis] = []
    for axis in axes:
        if axis.extent == 1:
            continue
        if result and result[-1].steps == tuple([axis.extent * s for s in axis.steps]):
            axis = Axis(result.pop().extent * axis.extent, axis.steps)
        result.append(axis)
    return result


def place(axes: dict[Loop, Axis], array: int) -> Index:
    """Where an array is at a point of the loops."""
    index = ZERO
    for loop, axis in axes.items():
        index = index + index_of(loop) * axis.steps[array]
    return index


def lanes(dtype: str, extent: int, vector_bytes: int, registers: int = 4) -> int:
    """The width of a vector loop: some registers' worth, no more than the extent calls for."""
    width = vector_bytes // ITEMSIZE[REGISTER[_PARTS.get(dtype, dtype)]] * registers
    return fitted(max(min(width, 64), 1), extent)


def every(conditions: Sequence[Expr | None]) -> Expr | None:
    """The conjunction of conditions, None being one that always holds."""
    result = None
    for condition in conditions:
        if condition is not None:
            result = condition if result is None else result & condition
    return result


def copy(source: Buffer, target: Buffer, vector_bytes: int) -> Kernel:
    """All elements of a buffer, or its only one, to another of the same register type."""
    loop = Loop("i", target.size)
    element = load(source, index_of(loop) if source.size == target.size else ZERO)
    width = lanes(target.dtype, target.size, vector_bytes)
    stores = [Store(target, index_of(loop), element)]
    return Kernel([loop], [], loop, [Pass(stores=stores)], 1, width)


def size_of(loops: Sequence[Loop]) -> int:
    """How many points loops have."""
    return math.prod([loop.extent for loop in loops])
