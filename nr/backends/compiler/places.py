"""Results in the memory of the operands that they replace: decided from the steps of a plan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from nr.backends.compiler.loops import Buffer, replaces


def shared_place(
    steps: Sequence[Any], old: Buffer, new: Buffer, fixed: Collection[Buffer]
) -> list[Buffer] | None:
    """The buffers that lie where `old` does, if `new`, which some of the steps write, may: those
    through which the one becomes the other, none of them `fixed`. None if it may not."""
    if old.nbytes != new.nbytes:
        return None
    reading = [i for i, step in enumerate(steps) if old in step.reads]
    writing = [i for i, step in enumerate(steps) if new in step.writes]
    if not writing or (reading and reading[-1] > writing[0]):
        return None
    if not reading:
        return []
    last = reading[-1]
    if last == writing[0]:
        return step_replaces(steps[last], old, new, fixed)
    # What replaces it at its last use may be what becomes the result.
    for between in steps[last].writes:
        if between not in fixed:
            taken = step_replaces(steps[last], old, between, fixed)
            rest = None if taken is None else shared_place(steps[last + 1 :], between, new, fixed)
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
        if len(touching) != 1 or new not in touching[0].writes:
            return None
        kernel = getattr(touching[0], "kernel", None)
        return [] if kernel is not None and replaces(kernel, old, new) else None
    if hasattr(step, "blocks"):  # a branch
        found: list[Buffer] = []
        for block in step.blocks:
            taken = shared_place(block.steps, old, new, {*fixed, *step.results})
            if taken is None or step.index is old:
                return None
            found += taken
        return found
    if hasattr(step, "carries"):  # a loop
        k = step.results.index(new) if new in step.results else -1
        once = k >= 0 and step.initial[k] is old and step.reads.count(old) == 1
        return [] if once else None
    return None


def leading_to(steps: Sequence[Any], result: Buffer, fixed: Collection[Buffer]) -> list[Buffer]:
    """The temporaries that may lie where a result will, whose memory is free before: what the
    step that writes it first replaces, what that has replaced, and so on."""
    end = next((i for i, step in enumerate(steps) if result in step.writes), 0)
    for old in steps[end].reads if end else ():
        if old in fixed or any([old in step.reads for step in steps[end + 1 :]]):
            continue
        taken = step_replaces(steps[end], old, result, fixed)
        if taken is not None:
            return [*leading_to(steps, old, fixed), old, *taken]
    return []
