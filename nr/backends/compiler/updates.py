"""Updates in place: scatters and `dynamic_update_slice` that write a window of an array.

Done in place they cost what the window costs. Where their operand may be overwritten they are
steps of their own, not elements of a fused kernel, and what else reads the operand comes before
them. Whether a result really gets its operand's memory is decided when places are given out (see
places.py): an update begins with a copy, which is left out where both lie at one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nr.backends.compiler.lowering.rules import KERNELS
from nr.backends.compiler.matmul import Body
from nr.backends.compiler.simplify import reshaped
from nr.core.jaxprs import JaxprEqn, Var

UPDATES = ("dynamic_update_slice", "scatter", "scatter_add", "scatter_mul", "scatter_min",
            "scatter_max")  # fmt: skip
# Smaller arrays, and windows that are more than this part of the array, are not worth a step.
_SMALLEST = 8 << 10
_LARGEST_PART = 1 / 4


@dataclass(frozen=True, slots=True)
class Updates:
    """The ids of eqns that are done in place, and the values that are stored before them: parts
    of their operands that are needed afterwards."""

    eqns: frozenset[int]
    kept: frozenset[Var]


def find_updates(
    body: Body, is_call: Callable[[JaxprEqn], bool], overwritable: Iterable[Var]
) -> Updates:
    """What is best done in place: updates of what may be overwritten, with a result that is stored
    in any case."""
    producer = {v: q for q in body.eqns for v in q.outvars}

    def root(var: Var) -> Var:
        while (before := reshaped(producer.get(var))) is not None:
            var = before
        return var

    free = set(overwritable)
    chosen: dict[int, JaxprEqn] = {}
    for eqn in body.eqns:
        if eqn.primitive.name in UPDATES and _is_small(eqn) and type(eqn.invars[0]) is Var:
            operand = root(eqn.invars[0])
            maker = producer.get(operand)
            if operand in free or (maker is not None and (id(maker) in chosen or is_call(maker))):
                chosen[id(eqn)] = eqn
    stored = {root(a) for a in body.outvars if type(a) is Var}
    for eqn in reversed(body.eqns):
        if id(eqn) in chosen and root(eqn.outvars[0]) not in stored:
            del chosen[id(eqn)]
        if id(eqn) in chosen or is_call(eqn):
            stored |= {root(a) for a in eqn.invars if type(a) is Var}
    kept: set[Var] = set()
    for eqn in chosen.values():
        kept |= _needed_after(body, eqn, root)
    return Updates(frozenset(chosen), frozenset(kept))


def _needed_after(body: Body, update: JaxprEqn, root: Callable[[Var], Var]) -> set[Var]:
    """Small values read from an update's operand that are used together with its result."""
    assert type(update.invars[0]) is Var
    operand = root(update.invars[0])
    after = _descendants(body, update, [])
    small = update.invars[0].aval.size * _LARGEST_PART
    return {
        out
        for eqn in body.eqns
        if eqn is not update and operand in [root(a) for a in eqn.invars if type(a) is Var]
        for out in eqn.outvars
        if out not in after and out.aval.size <= small and _descendants(body, eqn, [update]) & after
    }


def _descendants(body: Body, start: JaxprEqn, without: list[JaxprEqn]) -> set[Var]:
    """The values that depend on an eqn's results, these too, not by way of some other eqns."""
    found = set(start.outvars)
    for eqn in body.eqns:
        if eqn not in without and any([type(a) is Var and a in found for a in eqn.invars]):
            found.update(eqn.outvars)
    return found


def _is_small(eqn: JaxprEqn) -> bool:
    """Whether an update writes a small part of a large array."""
    name, operand = eqn.primitive.name, eqn.invars[0].aval
    window = eqn.invars[1 if name == "dynamic_update_slice" else 2].aval
    size = operand.size * operand.dtype.itemsize
    return (
        size >= _SMALLEST and window.size <= operand.size * _LARGEST_PART
        and KERNELS[name].supports(eqn)
    )  # fmt: skip
