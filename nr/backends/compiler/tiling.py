"""Register tiles: which kept loops of a reduction take several steps at a time, and how many.

A dot product that computes one vector of results reads two operands for each multiplication. Done
for several rows and several vectors of columns at once, with an accumulator each, every operand
that is read serves many of them.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from nr.backends.compiler.expr import NUMPY, Expr
from nr.backends.compiler.index import Loop
from nr.backends.compiler.loops import Kernel, operands_of, walk
from nr.backends.compiler.math import FUNCTIONS

if TYPE_CHECKING:
    from nr.backends.compiler.schedule import _Depends

# Registers by the bytes of one.
_REGISTERS = {64: 32, 32: 16, 16: 16}
_MOST_VECTORS = 4
_MOST_STEPS = 16
# Tiles pay for reductions of at least so many steps, whose body is no longer than this.
_SHORTEST = 4
_LONGEST_BODY = 12
# Additions begin one after the other so many half cycles apart, if each needs the one before.
_LATENCY = 8


def tile(kernel: Kernel, depends: _Depends, vector_bytes: int) -> bool:
    """Choose a kernel's tiles and its width; False if tiles do not pay."""
    if not _may_be_tiled(kernel):
        return False
    roots = [v for r in kernel.passes[0].reducers for v in r.values]
    loads = [depends.loops(e) for e in walk(roots) if e.op == "load"]
    vector = kernel.vector
    lanes = max(vector_bytes // max([NUMPY[v.dtype].itemsize for v in roots]), 1)
    best: tuple[float, dict[Loop, int]] | None = None
    others = [loop for loop in kernel.kept if loop is not vector]
    for loop in others:
        if not any([loop not in needed for needed in loads]):
            continue
        shared = len([needed for needed in loads if loop not in needed])
        most = min(loop.extent, _MOST_STEPS)
        columns = 1 if vector.reduced else min(-(-vector.extent // lanes), _MOST_VECTORS)
        for size, vectors in itertools.product(range(1, most + 1), range(1, columns + 1)):
            # Accumulators, what the steps share, and the one that is read last.
            if size * vectors * len(roots) + shared * vectors + 1 >= _REGISTERS[vector_bytes]:
                continue
            tiles = {loop: size} if vector.reduced else {loop: size, vector: vectors}
            cost = _whole_cost(loads, tiles, lanes, vector, len(roots))
            if best is None or cost < best[0]:
                best = cost, tiles
    if best is None or math.prod(best[1].values()) == 1:
        return False
    kernel.tiles = best[1]
    kernel.width = lanes
    (loop,) = [loop for loop in best[1] if loop is not vector]
    rest = [k for k in kernel.kept if k is not loop and k is not vector]
    kernel.kept = [*rest, loop, *([] if vector.reduced else [vector])]
    return True


def _may_be_tiled(kernel: Kernel) -> bool:
    if len(kernel.passes) != 1 or kernel.vector.reduced:
        return False
    (p,) = kernel.passes
    steps = math.prod([loop.extent for loop in kernel.reduced])
    if p.stores or not p.reducers or steps < _SHORTEST or kernel.vector.extent < 4:
        return False
    body = walk([v for r in p.reducers for v in r.values])
    if any([_is_dear(e) for e in body]):
        return False
    return len([e for e in body if e.op not in ("load", "const", "index")]) <= _LONGEST_BODY


def _is_dear(e: Expr) -> bool:
    if e.op in FUNCTIONS or e.op in ("rarely", "table", "div", "rem", "sqrt"):
        return True
    return e.op == "load" and bool([o for o in operands_of(e) if o not in e.args])


def _cost(loads: list[frozenset[Loop]], tiles: dict[Loop, int], vector: Loop, sums: int) -> float:
    """Half cycles a step of a tile's reduction takes: of its additions, or of what it reads."""
    copies = math.prod(tiles.values())
    reads = [math.prod([n for k, n in tiles.items() if k in needed]) for needed in loads]
    vectors = [r for r, needed in zip(reads, loads, strict=True) if vector in needed]
    # Vectors come from further away than the numbers that are spread over lanes.
    return max(copies * sums, sum(reads), _LATENCY) + 1 + sum(vectors) / 4


def _whole_cost(
    loads: list[frozenset[Loop]], tiles: dict[Loop, int], lanes: int, vector: Loop, sums: int
) -> float:
    """The cost of all tiles, whole ones and rests."""
    sizes = []
    for loop, n in tiles.items():
        steps = -(-loop.extent // lanes) if loop is vector else loop.extent
        sizes.append([(loop, n, steps // n), (loop, steps % n, 1 if steps % n else 0)])
    total = 0.0
    for parts in itertools.product(*sizes):
        times = math.prod([t for _, _, t in parts])
        if times:
            total += times * _cost(loads, {k: n for k, n, _ in parts}, vector, sums)
    return total


def fit_tasks(kernel: Kernel) -> None:
    """Have tasks begin where tiles do."""
    tasks = kernel.kept[: kernel.tasks]
    for i, loop in enumerate(tasks):
        size = kernel.tiles.get(loop, 1)
        whole = loop.extent % size == 0 and i == len(tasks) - 1 and loop is not kernel.vector
        if len(tasks) > 1 and size > 1 and not whole:
            kernel.tasks = i
            return
