"""From a plan to the words that the machine runs: where buffers lie, and the code.

Buffers get their places in the order of the steps: a temporary takes the best free range of the
arena at the step that writes it and gives it back after the last step that reads it. So the size
of the arena is known before the program runs.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from nr.backends.compiler.emission import scratch_bytes
from nr.backends.compiler.loops import FRAME, Buffer, is_copy
from nr.backends.compiler.places import Timeline, leading_to, shared_place, step_replaces
from nr.backends.compiler.plan import (
    Block,
    Branch,
    Gemm,
    Launch,
    Loop,
    Place,
    Plan,
    TableCall,
    View,
)
from nr.backends.compiler.regions import Region
from nr.backends.compiler.routine import Routine
from nr.backends.cpu import products, vm

_ALIGN = 64
# A task should take at least so many estimated nanoseconds, or sharing it out costs too much.
_TASK_NS = 10_000
_MOST_TASKS = 64
# What the steps of a chain hand on to each other within a task stays in cache.
_TASK_BYTES = 1 << 18


class Arena:
    """Ranges of the block of temporaries. `at_peak` holds the buffers of the moment of most use."""

    def __init__(self) -> None:
        self.size = 0
        self.at_peak: list[Buffer] = []
        self._used = self._most = 0
        self._live: dict[Buffer, int] = {}
        self._free: list[tuple[int, int]] = []  # offset, size; by offset

    def take(self, buffer: Buffer) -> int:
        """The offset of a free range for a buffer: the smallest that is large enough."""
        size = _padded(buffer)
        self._used += size
        offset = self._fit(size)
        self._live[buffer] = offset
        if self._used > self._most:
            self._most = self._used
            self.at_peak = list(self._live)
        return offset

    def _fit(self, size: int) -> int:
        fitting = [(s, o) for o, s in self._free if s >= size]
        if fitting:
            found, offset = min(fitting)
            self._free.remove((offset, found))
            if found > size:
                self._free.append((offset + size, found - size))
                self._free.sort()
            return offset
        if self._free and sum(self._free[-1]) == self.size:
            offset, _ = self._free.pop()
            self.size = offset + size
            return offset
        offset = self.size
        self.size += size
        return offset

    def rename(self, old: Buffer, new: Buffer) -> None:
        """Let a buffer take over another's range."""
        self._live[new] = self._live.pop(old)

    def holds(self, buffer: Buffer) -> bool:
        """Whether a range is a buffer's own."""
        return buffer in self._live

    def give(self, buffer: Buffer) -> None:
        """Free a buffer's range."""
        size = _padded(buffer)
        self._used -= size
        self._free.append((self._live.pop(buffer), size))
        self._free.sort()
        merged: list[tuple[int, int]] = []
        for o, s in self._free:
            if merged and sum(merged[-1]) == o:
                merged[-1] = (merged[-1][0], merged[-1][1] + s)
            else:
                merged.append((o, s))
        self._free = merged


def _padded(buffer: Buffer) -> int:
    return max(-(-buffer.nbytes // _ALIGN) * _ALIGN, _ALIGN)


class Assembler:
    """Writes the code of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.words: list[Any] = []
        self.places: dict[Buffer, Place] = {}
        self.arena = Arena()
        # Steps in Python: what, where the operands are (or constants), and the results.
        self.calls: list[tuple[TableCall, list[Any], list[Place]]] = []
        self.kernels: dict[str, None] = {}
        self.room = 0
        self.scratch = 0
        self.slots = 1
        self.work = 0.0  # estimated nanoseconds, loops counted
        self.parallel = False
        self._times = 1
        for buffer in (*plan.inputs, *plan.outputs):
            self.places[buffer] = Place(self._slot())
        self.frame_slot = self._slot()
        self.places[FRAME] = Place(self.frame_slot)
        self.constants: list[tuple[int, Buffer, Any]] = []
        for buffer, value in plan.constants:
            place = self.places[buffer] = Place(self._slot())
            self.constants.append((place.slot, buffer, value))
        timeline = Timeline(plan.top.steps)
        for j, result in enumerate(plan.outputs):
            if j in plan.reused:
                i, between = plan.reused[j]
                self.places[result] = self.places[plan.inputs[i]]
            else:
                between = leading_to(timeline, result, self.places)
            for buffer in between:
                self.places[buffer] = self.places[result]
        self.block(plan.top)
        self.words.append(vm.END)

    def _slot(self) -> int:
        self.slots += 1
        return self.slots - 1

    # ------------------------------------------------------------------ buffers
    def place(self, buffer: Buffer) -> Place:
        found = self.places.get(buffer)
        if found is None:
            found = self.places[buffer] = Place(0, self.arena.take(buffer))
        return found

    def free(self, buffer: Buffer) -> None:
        del self.places[buffer]
        if self.arena.holds(buffer):  # else another has taken its place, or it is a view
            self.arena.give(buffer)

    def block(self, block: Block) -> None:
        """The steps, with the temporaries that begin in the block given back in it."""
        outer = set(self.places)
        last: dict[Buffer, int] = {}
        for i, step in enumerate(block.steps):
            for buffer in (*step.reads, *step.writes):
                last[buffer] = i
        keep = outer | set(block.results)
        for i, step in enumerate(block.steps):
            for buffer in step.reads:
                if not buffer.size:  # nothing has written it
                    self.place(buffer)
            self.reuse(step, {b for b in step.reads if last[b] == i and b not in keep})
            self.step(step)
            for buffer in {*step.reads, *step.writes}:
                if last[buffer] == i and buffer not in keep and buffer in self.places:
                    self.free(buffer)

    def reuse(self, step: Any, dying: set[Buffer]) -> None:
        """Give results the places of operands that they replace."""
        for new in step.writes:
            for old in step.reads if new not in self.places else ():
                if old not in dying or old not in self.places or self.places[old].slot:
                    continue
                taken = step_replaces(step, old, new, self.places)
                if taken is not None:
                    for buffer in (*taken, new):
                        self.places[buffer] = self.places[old]
                    self.arena.rename(old, new)
                    dying.remove(old)
                    break

    # ------------------------------------------------------------------ steps
    def step(self, step: Any) -> None:
        kind = type(step)
        if kind is Region:
            self.region(step)
        elif kind is TableCall:
            for buffer in step.writes:
                self.place(buffer)
            self.words += [vm.PYTHON, len(self.calls)]
            places = [self.places[b] if type(b) is Buffer else b for b in step.operands]
            self.calls.append((step, places, [self.places[b] for b in step.writes]))
        elif kind is Loop:
            self.loop(step)
        elif kind is View:
            slot, whole, index = self._slot(), self.places[step.whole], self.places[step.index]
            self.places[step.part] = Place(slot)
            self.words += [vm.VIEW, slot, whole.slot, whole.offset, index.slot, index.offset]
            self.words += [step.extent, step.last, step.step]
        else:
            assert kind is Branch
            self.branch(step)

    def copy(self, source: Buffer, target: Buffer) -> None:
        a, b = self.place(target), self.places[source]
        if a != b:
            self.words += [vm.COPY, a.slot, a.offset, b.slot, b.offset, source.nbytes]

    def region(self, region: Region) -> None:
        for step in region.steps:
            for buffer in step.writes:
                self.place(buffer)
        chains = [kept for chain in region.chains if (kept := self._without_copies(chain))]
        steps = [step for chain in chains for step, _ in chain]
        if not steps:
            return
        total = min(sum([step.work for step in steps]), 1e12)
        shared = total > 2 * _TASK_NS  # else it is too short to be shared out: one task does all
        stages: list[Any] = []
        count = words = 0
        left = 0 if shared else math.inf  # what the last task has time for
        for chain in chains:
            kernels = [self._kernel(step) for step, _ in chain]
            chunk = self._chunk(chain, kernels) if shared else kernels[0][2]
            tasks = max(-(-kernels[0][2] // chunk), 1) if chunk else 1
            work = sum([step.work for step, _ in chain])
            if not count or tasks > 1 or work > left:
                first, count = count, count + tasks
                if shared:
                    left = _TASK_NS if tasks == 1 else 0
            left -= work
            for (fn, args, units, _), (_, ratio) in zip(kernels, chain, strict=True):
                stages += [fn, first, tasks, units, int(chunk * ratio), len(args)]
                for base, value in args:
                    stages += [base, value]
                words += len(args)
        self.work += total * self._times
        self.parallel = self.parallel or count > 1
        self.room = max(self.room, 3 + 6 * len(steps) + words)
        self.words += [vm.REGION, 5 + len(stages), len(steps), count, int(total), *stages]

    def _without_copies(self, chain: list[tuple[Any, Fraction]]) -> list[tuple[Any, Fraction]]:
        """The steps of a chain, without copies of what lies in its place already."""
        kept = []
        for step, ratio in chain:
            if type(step) is Launch and len(step.reads) == len(step.writes) == 1:
                (old,), (new,) = step.reads, step.writes
                if self.places[old] == self.places[new] and is_copy(step.kernel, old, new):
                    continue
            kept.append((step, ratio))
        return [(step, ratio / kept[0][1]) for step, ratio in kept]

    def _chunk(self, chain: list[tuple[Any, Fraction]], kernels: list[tuple]) -> int:
        """How many units of a chain's first step a task takes."""
        units = kernels[0][2]
        # A chunk is a whole number of units of every step, and of every step's vectors: a kernel
        # whose vector loop is shared out has no code for a rest within the loop.
        whole = math.lcm(*[ratio.denominator for _, ratio in chain])
        work = sum([step.work for step, _ in chain])
        wanted: Fraction | int = 0
        for (_, _, _, grain), (step, ratio) in zip(kernels, chain, strict=True):
            grains = Fraction(grain) / ratio
            if type(step) is not Gemm:
                whole = math.lcm(whole, grains.numerator)
            elif 8 * step.work >= work:  # large blocks are better: each packs its operands
                wanted = max(wanted, grains)
        if not wanted:
            between = sum([b.nbytes for step, _ in chain[:-1] for b in step.writes])
            tasks = max(min(work // _TASK_NS, _MOST_TASKS), between // _TASK_BYTES, 1)
            wanted = Fraction(units, int(tasks))
        return min(math.ceil(wanted / whole) * whole, max(units, 1))

    def _kernel(self, step: Any) -> tuple[Any, list[tuple[int, int]], int, int]:
        """The function, its arguments, how many units it has, and the least number to share out."""
        if type(step) is Gemm:
            self.scratch = max(self.scratch, products.scratch(step))
            return products.stage(step, self.places)
        if type(step) is Routine:
            self.kernels[step.text] = None
            self.scratch = max(self.scratch, step.scratch)
            args = [
                (self.places[b].slot, self.places[b].offset) for b in (*step.reads, *step.writes)
            ]
            args += [(-1, n) for n in step.integers]
            return _Symbol(step.text), args, step.units, 1
        assert type(step) is Launch
        kernel, emitted = step.kernel, step.emitted
        self.kernels[emitted.text] = None
        self.scratch = max(self.scratch, sum([scratch_bytes(b) for b in kernel.scratch]))
        args = [(self.places[b].slot, self.places[b].offset) for b in emitted.buffers]
        args += [(-1, n) for n in emitted.integers]
        return _Symbol(emitted.text), args, kernel.units, kernel.grain

    # ------------------------------------------------------------------ loops and branches
    def loop(self, loop: Loop) -> None:
        for target in loop.writes:
            self.place(target)
        for _, whole, _ in loop.moved:
            self.place(whole)
        swapped: list[tuple[Buffer, Buffer]] = []
        timeline = Timeline(loop.body.steps)
        for (now, following), start, result in zip(
            loop.carries, loop.initial, loop.results, strict=True
        ):
            taken = shared_place(timeline, now, following, self.places)
            if taken is not None:  # its memory is that of the result, from the start
                for buffer in (now, *taken, following):
                    self.places[buffer] = self.places[result]
            else:
                swapped.append((now, following))
                for buffer in (now, following):
                    slot = self._slot()
                    self.words += [vm.SET, slot, 0, self.arena.take(buffer)]
                    self.places[buffer] = Place(slot)
            self.copy(start, now)
        counter = None
        if loop.length is not None:
            counter = self._slot()
            self.words += [vm.SET, counter, -1, 0]
            for piece, whole, step in loop.moved:
                slot = self._slot()
                at = self.places[whole]
                first = step * (loop.length - 1) if loop.reverse else 0
                self.words += [vm.SET, slot, at.slot, at.offset + first]
                self.places[piece] = Place(slot)
        head, times = len(self.words), self._times
        self._times *= loop.length if loop.length is not None else 1000
        if loop.length is not None:
            self.words += [vm.COUNT, 0, counter, loop.length]
            leave = head + 1
        else:
            assert loop.test is not None and loop.condition is not None
            self.place(loop.condition)
            self.block(loop.test)
            at = self.places[loop.condition]
            leave = len(self.words) + 1
            self.words += [vm.JUMP_UNLESS, 0, at.slot, at.offset]
        self.block(loop.body)
        for now, following in swapped:
            self.words += [vm.SWAP, self.places[now].slot, self.places[following].slot]
        for piece, _, step in loop.moved:
            self.words += [vm.ADD, self.places[piece].slot, -step if loop.reverse else step]
        if counter is not None:
            self.words += [vm.ADD, counter, 1]
        self.words += [vm.BACK, head]
        self.words[leave] = len(self.words)
        self._times = times
        for (now, following), result in zip(loop.carries, loop.results, strict=True):
            self.copy(now, result)
            del self.places[now], self.places[following]
        for piece, _, _ in loop.moved:
            del self.places[piece]
        if loop.condition is not None:
            self.free(loop.condition)
        for buffer in [b for pair in swapped for b in pair]:
            self.arena.give(buffer)

    def branch(self, branch: Branch) -> None:
        for target in branch.results:
            self.place(target)
        at = self.places[branch.index]
        n = len(branch.blocks)
        table = len(self.words) + 4
        self.words += [vm.SWITCH, at.slot, at.offset, n, *[0] * n]
        ends = []
        for i, block in enumerate(branch.blocks):
            self.words[table + i] = len(self.words)
            self.block(block)
            ends.append(len(self.words) + 1)
            self.words += [vm.JUMP, 0]
        for end in ends:
            self.words[end] = len(self.words)

    def code(self, addresses: dict[str, int]) -> np.ndarray:
        """The words, with the addresses of kernels by their text."""
        return np.array(
            [addresses[w.text] if type(w) is _Symbol else w for w in self.words], np.int64
        )


class _Symbol:
    """Stands for the address of a kernel until it is compiled."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text
