"""Where in a kernel conditions on places are known: everywhere but at the borders.

Padding, windows beyond an image's border and the ends of rolled arrays are conditions on the steps
of single loops, which have one answer at most steps. A kernel is emitted twice then: for the steps
between, without these conditions, and for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nr.backends.compiler.index import Index, Loop
from nr.backends.compiler.loops import Kernel, walk

# What is emitted twice has no more expressions than this; what lies between borders is at least
# this part of a loop's steps, and of all.
_LONGEST = 400
_MOST_STEPS, _MOST_PLACES = 0.5, 0.25
# The vector loop has narrower vectors, if this part of them lies between borders then.
_WORTH_NARROWER = 0.7


def between_borders(kernel: Kernel) -> dict[Loop, tuple[int, int]]:
    """The first and the last step of kept loops between which conditions on one such loop are
    known; of the vector loop, the first and last lane."""
    found = {
        loop: part
        for loop, part in _parts(kernel).items()
        if _fraction(kernel, loop, part, kernel.width) >= _MOST_STEPS
    }
    shares = [_fraction(kernel, loop, part, kernel.width) for loop, part in found.items()]
    return found if math.prod(shares) >= _MOST_PLACES else {}


def narrowed(kernel: Kernel, lanes: int, least: int) -> int:
    """How many lanes of `lanes`, but not fewer than `least`, a kernel's vectors have, such that
    most of them lie between borders."""
    part = None if kernel.vector.reduced else _parts(kernel).get(kernel.vector)
    if part is None:
        return lanes
    width = lanes
    while width >= least:
        if _fraction(kernel, kernel.vector, part, width) >= _WORTH_NARROWER:
            return width
        width //= 2
    return lanes


def _parts(kernel: Kernel) -> dict[Loop, tuple[int, int]]:
    nodes = walk(list(kernel.roots()))
    if len(nodes) > _LONGEST or any([p.recurrences or p.condition for p in kernel.passes]):
        return {}
    found: dict[Loop, tuple[int, int]] = {}
    for e in nodes:
        if e.op not in ("lt", "ge") or e.args[0].op != "index" or e.args[1].op != "const":
            continue
        part = _longer_part(e.args[0].param, int(e.args[1].param), kernel.kept)
        if part is not None:
            loop, low, high = part
            before = found.get(loop, (0, loop.extent - 1))
            both = max(low, before[0]), min(high, before[1])
            if both[1] - both[0] + 1 >= _MOST_STEPS * loop.extent:
                found[loop] = both
    return found


def _longer_part(index: Index, limit: int, kept: Sequence[Loop]) -> tuple[Loop, int, int] | None:
    """Where an index that depends on one kept loop is below a limit, or is not, whatever reduced
    loops are at: the longer of both parts."""
    mine = [a for a in index.terms if a in kept]
    if len(mine) != 1 or any([type(a) is not Loop for a in index.terms]):
        return None
    (loop,) = mine
    c = index.terms[loop]
    rest = Index({a: k for a, k in index.terms.items() if a is not loop}, index.offset).range()
    assert rest is not None, "loops have ends"
    low, high = rest
    last = loop.extent - 1
    if c > 0:  # below the limit up to a step, and not below from another on
        below, above = (0, (limit - 1 - high) // c), (-((low - limit) // c), last)
    else:
        below, above = ((high - limit) // -c + 1, last), (0, (low - limit) // -c)
    begin, end = max(below, above, key=lambda part: min(part[1], last) - max(part[0], 0))
    return loop, max(begin, 0), min(end, last)


def _fraction(kernel: Kernel, loop: Loop, part: tuple[int, int], width: int) -> float:
    """Which part of a loop's steps, or vectors, is within some steps."""
    step = width if loop is kernel.vector else 1
    within = (part[1] + 1) // step - -(-part[0] // step)
    return max(within, 0) / -(-loop.extent // step)
