"""Register tiles: which kept loops of a reduction take several steps at a time, and how many.

A dot product that computes one vector of results reads two operands for each multiplication. Done
for several rows and several vectors of columns at once, with an accumulator each, every operand
that is read serves many of them. A transpose that takes as many steps as a vector has lanes reads
whole rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nr.backends.compiler.expr import NUMPY, Expr
from nr.backends.compiler.index import Loop
from nr.backends.compiler.loops import ITEMSIZE, Kernel, fitted, operands_of, walk
from nr.backends.compiler.math import FUNCTIONS

if TYPE_CHECKING:
    from nr.backends.compiler.schedule import _Depends

# Registers by the bytes of one.
REGISTERS = {64: 32, 32: 16, 16: 16}
_MOST_VECTORS = 4
_MOST_STEPS = 16
# Windows beside each other are read once, if they are of so many steps.
_LONGEST_WINDOW = 32
# Tiles pay for reductions of at least so many steps, whose body is no longer than this.
_SHORTEST = 4
_LONGEST_BODY = 12
# Where lanes are combined in the end, that costs about as much as so many steps.
_SHORTEST_OF_LANES = 64
_PAGE = 4096
# So many arrays at most are read across rows, each in as many registers as a vector has lanes.
_MOST_TRANSPOSED = 2
# Squares are shared out by the loops around them, if these have so many steps.
_FEWEST_TASKS = 16
_MOST_CACHED = 1 << 20
# Additions begin one after the other so many half cycles apart, if each needs the one before.
_LATENCY = 10


@dataclass(frozen=True, slots=True)
class _Read:
    """What is read in a reduction: the loops that it depends on, and its windows (see `windows`)
    that a reduced loop goes through."""

    loops: frozenset[Loop]
    windows: Mapping[Loop, tuple[int, int]]
    step: Loop

    def times(self, tiles: Mapping[Loop, int]) -> float:
        """How often it is read for a step of a tile."""
        times: float = math.prod([n for k, n in tiles.items() if k in self.loops])
        for loop, (inside, along) in self.windows.items():
            length, n = self.step.extent, tiles.get(loop, 1)
            again = max(length - along, 0) * max(n - inside, 0)
            times *= 1 - again / (length * n)
        return times


def tile(kernel: Kernel, depends: _Depends, vector_bytes: int) -> bool:
    """Choose a kernel's tiles and its width; False if tiles do not pay."""
    if not _may_be_tiled(kernel, depends):
        return False
    roots = [v for r in kernel.passes[0].reducers for v in r.values]
    read = [e for e in walk(roots) if e.op == "load"]
    vector = kernel.vector
    step = kernel.reduced[-1]
    others = set() if vector.reduced else {k for k in kernel.kept if k is not vector}
    loads = [_Read(depends.loops(e), windows(e, step, others, {vector}), step) for e in read]
    far = {loop: _far(loop, read, depends) for loop in kernel.kept if loop is not vector}
    lanes = max(vector_bytes // max([NUMPY[v.dtype].itemsize for v in roots]), 1)
    if not vector.reduced:
        lanes = fitted(lanes, vector.extent)
    best: tuple[float, dict[Loop, int]] | None = None
    for tiles in _candidates(kernel, loads, lanes):
        copies = math.prod(tiles.values())
        # Registers: accumulators, what is read once for several of them, and one that is read last.
        rows = {k for k in tiles if k is not vector}
        kept = [r.times(tiles) for r in loads if not rows <= r.loops]
        if any([r.windows.keys() & rows for r in loads]):
            # All steps are done at once; what does not fit is read where it is used.
            most = REGISTERS[vector_bytes] // 2 - 1
            kept = [min(n * step.extent, most) for n in kept]
        elif len(kept) == len(loads):
            kept.remove(max(kept))
        if copies * len(roots) + sum(kept) + 1 >= REGISTERS[vector_bytes]:
            continue
        cost = _whole_cost(kernel, loads, tiles, lanes, len(roots))
        cost *= 1.05 ** sum([far.get(loop, 0) for loop, n in tiles.items() if n > 1])
        if best is None or cost <= best[0]:
            best = cost, tiles
    if best is None or math.prod(best[1].values()) == 1:
        return False
    kernel.tiles = {loop: n for loop, n in best[1].items() if n > 1 or loop is vector}
    kernel.width = lanes
    tiled = [loop for loop in kernel.tiles if loop is not vector]
    rest = [k for k in kernel.kept if k not in kernel.tiles]
    for e, r in zip(read, loads, strict=True):
        size = math.prod([k.extent for k in r.loops]) * ITEMSIZE[e.param[0].dtype]
        if vector in r.loops and size > _MOST_CACHED:
            # Each part of it should serve all else while it is in cache.
            rest = [*[k for k in rest if k in r.loops], *[k for k in rest if k not in r.loops]]
    kernel.kept = [*rest, *tiled, *([] if vector.reduced else [vector])]
    return True


def tile_transposed(kernel: Kernel, depends: _Depends, lanes: int) -> bool:
    """Have vectors of so many lanes that are read across rows come from whole pieces of as many
    rows, which are transposed in registers; False if there are none, or it does not pay."""
    vector = kernel.vector
    if len(kernel.passes) != 1 or kernel.reduced or kernel.passes[0].recurrences:
        return False
    body = walk(list(kernel.roots()))
    work = [e for e in body if e.op not in ("load", "const", "index")]
    # Conditions are known between borders, which tiles do not know.
    if len(work) > _LONGEST_BODY or any([_is_dear(e) or e.dtype == "b1" for e in work]):
        return False
    lanes = min(lanes, _MOST_STEPS)
    along: set[Loop] = set(kernel.kept)
    across = 0
    for e in body:
        if e.op == "load" and abs(depends.step(e.param[1], vector) or 0) > 1:
            across += 1
            along &= {loop for loop in kernel.kept if e.param[1].terms.get(loop) == 1}
            if e.args or e.param[0].dtype in ("c64", "c128"):
                return False
    if not 0 < across <= _MOST_TRANSPOSED or len(along) != 1 or vector.extent < lanes:
        return False
    (loop,) = along
    if loop.extent < lanes or lanes < _SHORTEST:
        return False
    kernel.tiles, kernel.width = {loop: lanes, vector: 1}, lanes
    outer = [k for k in kernel.kept if k is not loop and k is not vector]
    kernel.kept = [*outer, loop, vector]
    kernel.tasks = len(outer)
    if math.prod([k.extent for k in outer]) < _FEWEST_TASKS:
        kernel.kept = [loop, *outer, vector]
        kernel.tasks = 1
    return True


def beside(e: Expr, step: Loop) -> dict[Loop, tuple[int, int]]:
    """The loops along which a load has windows that overlap, if another loop goes through each.

    With the steps of that one and of the loop itself, in units of what both are multiples of: one
    and one, but for strides and dilations.
    """
    found: dict[Loop, tuple[int, int]] = {}
    terms = e.param[1].terms if e.op == "load" else {}
    inside = terms.get(step, 0)
    for loop, c in terms.items() if inside > 0 else ():
        unit = math.gcd(inside, c)
        # So many steps of one are as many of the other.
        if type(loop) is Loop and 0 < c < step.extent * unit and inside < loop.extent * unit:
            found[loop] = inside // unit, c // unit
    found.pop(step, None)
    return found


def windows(
    e: Expr, step: Loop, tiled: Set[Loop], vector: Set[Loop]
) -> dict[Loop, tuple[int, int]]:
    """As `beside`, of tiled loops, if a tile may do all steps of windows of vectors at once."""
    if step.extent > _LONGEST_WINDOW or not (e.op == "load" and vector & e.param[1].terms.keys()):
        return {}
    return {loop: steps for loop, steps in beside(e, step).items() if loop in tiled}


def _candidates(kernel: Kernel, loads: list[_Read], lanes: int) -> Iterator[dict[Loop, int]]:
    """Tiles of a loop or two, and of the vector loop unless that is reduced."""
    vector = kernel.vector
    loops = [
        loop for loop in kernel.kept
        if loop is not vector and any([loop not in r.loops for r in loads])
    ]  # fmt: skip
    if not loops:
        return
    if vector.reduced:
        for some in itertools.combinations(loops, min(len(loops), 2)):
            sizes = [range(1, min(loop.extent, _MOST_VECTORS + 2) + 1) for loop in some]
            for chosen in itertools.product(*sizes):
                yield dict(zip(some, chosen, strict=True))
        return
    columns = min(-(-vector.extent // lanes), _MOST_VECTORS)
    for loop in loops:
        steps = min(loop.extent, _MOST_STEPS)
        for size, vectors in itertools.product(range(1, steps + 1), range(1, columns + 1)):
            yield {loop: size, vector: vectors}
    # All of a short loop, and some steps of the loop around it: small images.
    for outer, inner in itertools.pairwise(loops):
        for size, vectors in itertools.product(
            range(2, _MOST_STEPS // inner.extent + 1), range(1, columns + 1)
        ):
            yield {outer: min(size, outer.extent), inner: inner.extent, vector: vectors}


def _may_be_tiled(kernel: Kernel, depends: _Depends) -> bool:
    if len(kernel.passes) != 1:
        return False
    (p,) = kernel.passes
    steps = math.prod([loop.extent for loop in kernel.reduced])
    shortest = _SHORTEST_OF_LANES if kernel.vector.reduced else _SHORTEST
    if p.stores or not p.reducers or steps < shortest or kernel.vector.extent < 4:
        return False
    body = walk([v for r in p.reducers for v in r.values])
    if any([_is_dear(e) for e in body]):
        return False
    # Conditions on places alone are known of most steps, or of all steps of a loop.
    work = [
        e for e in body
        if e.op not in ("load", "const", "index")
        and (e.dtype != "b1" or kernel.vector in depends.loops(e))
    ]  # fmt: skip
    return len(work) <= _LONGEST_BODY


def _is_dear(e: Expr) -> bool:
    if e.op in FUNCTIONS or e.op in ("rarely", "table", "div", "rem", "sqrt"):
        return True
    return e.op == "load" and bool([o for o in operands_of(e) if o not in e.args])


def _far(loop: Loop, loads: list[Expr], depends: _Depends) -> int:
    """How many loads go to another page at each step of a loop."""
    count = 0
    for e in loads:
        step = depends.step(e.param[1], loop)
        count += step is None or abs(step) * ITEMSIZE[e.param[0].dtype] >= _PAGE
    return count


def _cost(loads: list[_Read], tiles: dict[Loop, int], vector: Loop, sums: int) -> float:
    """Half cycles a step of a tile's reduction takes: of its additions, or of what it reads."""
    copies = math.prod(tiles.values())
    reads = [r.times(tiles) for r in loads]
    vectors = [n for n, r in zip(reads, loads, strict=True) if vector in r.loops]
    # Vectors come from further away than the numbers that are spread over lanes.
    return max(copies * sums, sum(reads), _LATENCY) + 1 + sum(vectors) / 2


def _whole_cost(
    kernel: Kernel, loads: list[_Read], tiles: dict[Loop, int], lanes: int, sums: int
) -> float:
    """The cost of all tiles, whole ones and rests."""
    sizes = []
    for loop, n in tiles.items():
        steps = -(-loop.extent // lanes) if loop is kernel.vector else loop.extent
        sizes.append([(loop, n, steps // n), (loop, steps % n, 1 if steps % n else 0)])
    total = 0.01 * len([times for _, (_, _, times) in sizes if times])  # rests are more code
    for parts in itertools.product(*sizes):
        times = math.prod([t for _, _, t in parts])
        if times:
            total += times * _cost(loads, {k: n for k, n, _ in parts}, kernel.vector, sums)
    return total * math.prod([k.extent for k in kernel.kept if k not in tiles])


def fit_tasks(kernel: Kernel, depends: _Depends) -> None:
    """Have tasks begin where tiles do; order the other loops."""
    tasks = kernel.kept[: kernel.tasks]
    for i, loop in enumerate(tasks):
        size = kernel.tiles.get(loop, 1)
        whole = loop.extent % size == 0 and i == len(tasks) - 1 and loop is not kernel.vector
        if len(tasks) > 1 and size > 1 and not whole:
            kernel.tasks = i
            break
    # What the vectors of a tile are read from serves all tiles inside the vector loop.
    inner = kernel.kept[kernel.tasks :]
    if kernel.vector in inner:
        needed: set[Loop] = set()
        for r in kernel.passes[0].reducers:
            for e in walk(r.values):
                if e.op == "load" and kernel.vector in depends.loops(e):
                    needed |= depends.loops(e)
        outer = [k for k in inner if k in needed and k is not kernel.vector]
        rest = [k for k in inner if k not in needed and k is not kernel.vector]
        kernel.kept = [*kernel.kept[: kernel.tasks], *outer, kernel.vector, *rest]
