"""Conditions on places, as windows beyond an image's border have: those that are known at a place,
and those for which steps of a loop are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nr.backends.compiler.expr import Expr, const
from nr.backends.compiler.index import Index, Loop
from nr.backends.compiler.loops import Pass, Reducer, walk
from nr.backends.compiler.rewrite import Rewriter

_PLAIN = ("index", "const", "and", "lt", "le", "gt", "ge", "eq", "ne")


def decided(e: Expr, ranges: Mapping[Loop, tuple[int, int]]) -> Expr:
    """An expression; of a comparison of an index with a number, its answer where loops run within
    `ranges`, if that is always the same. (Of these, lt and ge are made; see `rules.in_range`.)"""
    if e.op not in ("lt", "ge") or e.args[0].op != "index" or e.args[1].op != "const":
        return e
    bounds = e.args[0].param.range(ranges)
    limit = int(e.args[1].param)
    if bounds is None or bounds[0] < limit <= bounds[1]:
        return e
    return const((bounds[1] < limit) == (e.op == "lt"), "b1")


class Within(Rewriter):
    """Rebuilds expressions where loops run within ranges; over other loops, too."""

    def __init__(self, loops: dict[Loop, Index], ranges: Mapping[Loop, tuple[int, int]]) -> None:
        super().__init__(loops)
        self.ranges = ranges
        self.bare: set[int] = set()  # loads that may have lost a condition: valid in the ranges

    def _one(self, e: Expr) -> Expr:
        new = decided(super()._one(e), self.ranges)
        if e.op == "load" and e.args:
            self.bare.add(id(new))
        return new

    def passes(self, passes: Sequence[Pass]) -> list[Pass]:
        """Passes without recurrences, rebuilt."""
        return [
            Pass(
                [self.reducer(r) for r in p.reducers],
                [self.store(s) for s in p.stores],
                [self.store(s) for s in p.after],
            )
            for p in passes
        ]


def steps_passed_over(
    reducers: Sequence[Reducer], loops: Sequence[Loop], lanes: set[Loop]
) -> dict[Loop, list[Expr]]:
    """Conditions without which a step of a reduced loop adds nothing to any sum, each with the
    innermost loop that it depends on. Loops are given from the outermost on."""
    common: dict[int, Expr] | None = None
    for r in reducers:
        for value, identity in zip(r.values, r.identity, strict=True):
            if value.op != "select" or not same_constant(value.args[2], identity):
                return {}
            parts = {id(c): c for c in _conjuncts(value.args[0])}
            known = parts if common is None else common
            common = {k: c for k, c in known.items() if k in parts}
    found: dict[Loop, list[Expr]] = {}
    for c in (common or {}).values():
        nodes = walk([c])  # what is inside indices, too
        if not all([e.op in _PLAIN for e in nodes]):
            continue
        needed = {k for e in nodes if e.op == "index" for k in e.param.loops()}
        mine = [k for k in loops if k in needed]
        if mine and not needed & lanes:
            found.setdefault(mine[-1], []).append(c)
    return found


class Holding(Rewriter):
    """Rebuilds expressions where some conditions hold."""

    def __init__(self, conditions: Sequence[Expr]) -> None:
        super().__init__({}, {id(c): const(True, "b1") for c in conditions})


def _conjuncts(e: Expr) -> list[Expr]:
    if e.op != "and":
        return [e]
    return [c for a in e.args for c in _conjuncts(a)]


def same_constant(a: Expr, b: Expr) -> bool:
    """Whether both are the same constant, bit by bit."""
    if a.op != "const" or b.op != "const" or a.dtype != b.dtype:
        return False
    return bool(a.param.tobytes() == b.param.tobytes())
