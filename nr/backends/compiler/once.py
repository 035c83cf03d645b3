"""What needs nothing but constants is done once, when a program is made.

The weights of a model are transposed, transformed for minimal filtering or cut into panels in each
call, if they are arguments. Those of a model that a function closes over are constants. Programs
for inputs of several shapes share what is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from typing import Any

from nr.backends.compiler.loops import Buffer

# What is kept takes less than so many times the room of what it is made of: constants that are
# widened or spread out are smaller as they are.
_MOST_GROWTH = 2


class Once:
    """The steps that are done once, in their order."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.results: set[Buffer] = set()

    def suits(self, step: Any, constants: Collection[Buffer]) -> bool:
        """Whether a step computes something from constants, and results of such steps, alone."""
        if not hasattr(step, "units") or not step.reads:
            return False
        if getattr(step, "begins_update", False) or getattr(step, "begins_carry", False):
            return False
        if not all([b in constants or b in self.results for b in step.reads]):
            return False
        read, written = [sum([b.nbytes for b in x]) for x in (step.reads, step.writes)]
        return bool(written < _MOST_GROWTH * read)

    def take(
        self, steps: Sequence[Any], constants: Collection[Buffer], outputs: Collection[Buffer]
    ) -> list[Any]:
        """A block's steps without those that are done once. Results of the block are not theirs,
        nor is what other steps write into."""
        writers = Counter([b for step in steps for b in {*step.writes}])
        left = []
        for step in steps:
            own = all([writers[b] == 1 and b not in outputs for b in step.writes])
            if own and self.suits(step, constants):
                self.steps.append(step)
                self.results.update(step.writes)
            else:
                left.append(step)
        return left

    def needed(self, wanted: Collection[Buffer]) -> list[Any]:
        """The steps that some results take."""
        found = []
        missing = set(wanted)
        for step in reversed(self.steps):
            if missing & {*step.writes}:
                found.append(step)
                missing.update(step.reads)
        return found[::-1]

    def names(self, constants: Sequence[tuple[Buffer, Any]]) -> dict[Buffer, Hashable]:
        """What tells results apart, in all programs, as long as the constants are there."""
        names: dict[Buffer, Hashable] = {b: ("constant", id(value)) for b, value in constants}
        for step in self.steps:
            operands = tuple([names[b] for b in step.reads])
            how = step.units, *_instructions(step)
            names.update({b: (how, operands, k) for k, b in enumerate(step.writes)})
        return names


def _instructions(step: Any) -> tuple[Hashable, ...]:
    """What a step does to its operands."""
    if hasattr(step, "layout"):
        return step.dtype, step.layout, step.a_offset, step.b_offset
    code = getattr(step, "emitted", step)  # of a kernel, or a routine
    places = {b: k for k, b in enumerate((*step.reads, *step.writes))}
    order = tuple([places.get(b) for b in getattr(code, "buffers", ())])  # None: the frame
    return code.text, tuple(code.integers), order
