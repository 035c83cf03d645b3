"""Results in the memory of the operands that they replace: decided from the steps of a plan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from nr.backends.compiler.loops import Buffer, replaces
from nr.backends.compiler.regions import window_follows


class Timeline:
    """The steps of a block, and which of them read and write a buffer."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self.steps = steps
        self.last_read: dict[Buffer, int] = {}
        self.first_write: dict[Buffer, int] = {}
        self.reads: list[list[Buffer]] = []
        for i, step in enumerate(steps):
            # Such copies are left out where both arrays lie at one place, and come first.
            parts = [s for s in getattr(step, "steps", [step]) if not begins_carry(s)]
            self.reads.append(list(dict.fromkeys([b for s in parts for b in s.reads])))
            self.last_read.update(dict.fromkeys(self.reads[-1], i))
            for buffer in [b for s in parts for b in s.writes]:
                self.first_write.setdefault(buffer, i)


def begins_carry(step: Any) -> bool:
    """Whether a step copies a loop's carry to what takes its place, of which others write parts."""
    return getattr(step, "begins_carry", False)


def shared_place(
    of: Timeline, old: Buffer, new: Buffer, fixed: Collection[Buffer]
) -> list[Buffer] | None:
    """The buffers that lie where `old` does, if `new`, which a block's steps write, may: those
    through which the one becomes the other, none of them `fixed`. None if it may not."""
    written = of.first_write.get(new)
    if old.nbytes != new.nbytes or written is None:
        return None
    last = of.last_read.get(old)
    if last is None:
        return []
    if last > written:
        return None
    if last == written:
        return step_replaces(of.steps[last], old, new, fixed)
    # What replaces it at its last use may be what becomes the result.
    for between in of.steps[last].writes:
        if between not in fixed and of.first_write[between] == last:
            taken = step_replaces(of.steps[last], old, between, fixed)
            rest = None if taken is None else shared_place(of, between, new, fixed)
            if taken is not None and rest is not None:
                return [*taken, between, *rest]
    return []


def step_replaces(
    step: Any, old: Buffer, new: Buffer, fixed: Collection[Buffer]
) -> list[Buffer] | None:
    """The same for one step, which reads the one and writes the other."""
    if old.nbytes != new.nbytes:
        return None
    if hasattr(step, "chains"):  # a region
        touching = [s for s in step.steps if old in s.reads or old in s.writes]
        if len(touching) != 1:
            return None
        if new not in touching[0].writes:
            return [] if window_follows(step, touching[0], old, new) else None
        kernel = getattr(touching[0], "kernel", None)
        return [] if kernel is not None and replaces(kernel, old, new) else None
    if hasattr(step, "blocks"):  # a branch
        found: list[Buffer] = []
        for block in step.blocks:
            taken = shared_place(Timeline(block.steps), old, new, {*fixed, *step.results})
            if taken is None or step.index is old:
                return None
            found += taken
        return found
    if hasattr(step, "carries"):  # a loop
        k = step.results.index(new) if new in step.results else -1
        once = k >= 0 and step.initial[k] is old and step.reads.count(old) == 1
        return [] if once else None
    return None


def leading_to(of: Timeline, result: Buffer, fixed: Collection[Buffer]) -> list[Buffer]:
    """The temporaries that may lie where a result will, whose memory is free before: what the
    step that writes it first replaces, what that has replaced, and so on."""
    end = of.first_write.get(result, 0)
    for old in of.reads[end] if end else ():
        if old.nbytes != result.nbytes or old in fixed or of.last_read[old] > end:
            continue
        taken = step_replaces(of.steps[end], old, result, fixed)
        if taken is not None:
            return [*leading_to(of, old, fixed), old, *taken]
    return []
