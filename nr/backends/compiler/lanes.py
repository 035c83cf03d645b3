"""Which dimensions of a program's values are lanes of vmap: for the words of its checks.

A vmap notes it in `in_lanes` eqns, of what comes in, of every result of a primitive, and of what
goes out. What a primitive's rules compute on the way to a result has no note of its own: it has
the lanes of what it is computed from, or is used for, dimension by dimension.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from nr.backends.compiler.rowwise import Axis, axes_of
from nr.core.jaxprs import Jaxpr, JaxprEqn, Var

# Dimensions and axis names, the outermost vmap first.
Lanes = tuple[tuple[int, Any], ...]


class _Dimensions:
    """Which dimension of a value is which vmap's, and how many vmaps are around each."""

    def __init__(self) -> None:
        self.of: dict[Any, int] = {}
        self.levels: dict[Any, int] = {}

    def add(self, lane: Any, dim: int, level: int) -> bool:
        """Note a vmap's dimension, if it is free; whether that is new."""
        if lane in self.of or dim in self.of.values():
            return False
        self.of[lane], self.levels[lane] = dim, level
        return True

    def lanes(self) -> Lanes:
        inwards = sorted(self.of, key=self.levels.__getitem__)
        return tuple([(self.of[lane], lane.name) for lane in inwards])


def lanes_of(jaxpr: Jaxpr) -> dict[Var, Lanes]:
    """The lanes of a jaxpr's values; nothing of what belongs to none, or to a mixture of them."""
    if not any([eqn.primitive.name == "in_lanes" for eqn in jaxpr.eqns]):
        return {}
    found: defaultdict[Any, _Dimensions] = defaultdict(_Dimensions)
    steps = []
    for eqn in jaxpr.eqns:
        p, same = eqn.params, None
        axes = axes_of(eqn)
        if eqn.primitive.name == "in_lanes":
            same = p["lane"]
            axes = [Axis(d, (d,)) for d in range(eqn.outvars[0].aval.ndim)]
            for value, inside in ((eqn.invars[0], p["before"]), (eqn.outvars[0], p["after"])):
                if inside:
                    found[value].add(same, p["dim"], p["level"])
        steps.append((eqn, axes, same))
    while any([_share(found, *step) for step in (*steps, *reversed(steps))]):
        pass
    return {v: known.lanes() for v, known in found.items() if known.of}


def _share(found: Any, eqn: JaxprEqn, axes: list[Axis], own: Any) -> bool:
    """Give the lanes of an eqn's values to its other ones; whether that is new to any.

    own: the vmap that an eqn tells of, and has told what there is to tell.
    """
    changed = False
    for axis in axes:
        places = [(v, d) for v, d in zip(eqn.invars, axis.operands, strict=True) if d is not None]
        if axis.out is not None:
            places.append((eqn.outvars[0], axis.out))
        for source, dim in places:
            known = found[source]
            for lane, d in [*known.of.items()]:
                if d == dim and lane is not own:
                    level = known.levels[lane]
                    changed |= any([found[v].add(lane, e, level) for v, e in places])
    return changed
