"""Which steps run together: independent ones side by side, and chains row by row.

A region is one fork and join. Its chains are independent of each other; the steps of a chain
depend on those before them in the same rows only, so a task runs all of them for its rows while
these are in cache: a matrix product, the activation after it, the next product. What a step needs
besides a large chain is done in the region before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from nr.backends.compiler.index import Index, Loop, strides_of
from nr.backends.compiler.loops import Buffer, Kernel, accesses
from nr.backends.compiler.routine import Routine

if TYPE_CHECKING:
    from nr.backends.compiler.plan import Gemm, Launch

_MOST_STEPS = 64
_MOST_IN_CHAIN = 8
# Estimated nanoseconds from which on threads share the work.
_WORTH_SHARING = 20_000
# What steps write stays in cache until the next region reads it, if it is no more than this.
_STAYS_IN_CACHE = 1 << 20

# Steps, each with how many of its units make one of the chain's first step.
Chain = list[tuple["Launch | Gemm | Routine", Fraction]]


@dataclass(slots=True, eq=False)
class Region:
    """Chains of steps."""

    chains: list[Chain]

    @property
    def steps(self) -> list[Launch | Gemm | Routine]:
        return [step for chain in self.chains for step, _ in chain]

    @property
    def reads(self) -> list[Buffer]:
        return [b for s in self.steps for b in s.reads]

    @property
    def writes(self) -> list[Buffer]:
        return [b for s in self.steps for b in s.writes]


def form_regions(steps: list[Any]) -> list[Any]:
    """Launches and matrix products in regions, other steps between them."""
    result: list[Any] = []
    for step in steps:
        if not hasattr(step, "units"):
            result.append(step)
            continue
        last = result[-1] if result else None
        if type(last) is not Region or not _join(last, step):
            result.append(Region([_taken_out(last, step) or [(step, Fraction(1))]]))
    for region in result:
        if type(region) is Region:
            for chain in region.chains:
                if len(chain) == 1:
                    _share_longer_side(chain[0][0])
    return result


def _share_longer_side(step: Launch | Gemm | Routine) -> None:
    """Have tasks share the longer side of a product that is alone, as each of them copies all of
    the shorter one to panels."""
    if hasattr(step, "layout"):
        step.layout = replace(step.layout, by_columns=step.layout.n > step.layout.m)


def _join(region: Region, step: Launch | Gemm | Routine) -> bool:
    """Put a step into a region if it is independent of all chains, or can follow one of them.

    The copies that updates begin with stay apart, so that they can be left out (see updates.py).
    """
    if len(region.steps) >= _MOST_STEPS:
        return False
    if any([getattr(s, "alone", False) for s in (step, *region.steps)]):
        return False
    if len({getattr(s, "begins_update", False) for s in (step, *region.steps)}) > 1:
        return False
    met = [chain for chain in region.chains if any([_depends(step, s) for s, _ in chain])]
    if not met:
        region.chains.append([(step, Fraction(1))])
        return True
    # Chains that a step follows together become one.
    units = met[0][0][0].units
    chain = [(s, ratio * Fraction(other[0][0].units, units)) for other in met for s, ratio in other]
    ratio = _ratio(chain, step) if len(chain) < _MOST_IN_CHAIN else None
    if ratio is None or not _can_be_shared([*chain, (step, ratio)]):
        return False
    region.chains = [c for c in region.chains if c not in met] + [[*chain, (step, ratio)]]
    return True


def _taken_out(region: Any, step: Launch | Gemm | Routine) -> Chain | None:
    """A chain that a step can follow, out of a region before it that has all else which the step
    needs: weights are prepared first, then images, row by row with what reads them. Worth it if
    what the step reads would not stay in cache."""
    if type(region) is not Region or len(region.chains) < 2:
        return None
    best, most = None, _STAYS_IN_CACHE
    for chain in region.chains:
        shared = {b for s, _ in chain for b in s.writes} & set(step.reads)
        nbytes = sum([b.nbytes for b in shared])
        if nbytes > most:
            alone = Region([chain])
            if _join(alone, step) and len(alone.chains) == 1:
                best, most, taken = alone.chains[0], nbytes, chain
    if best is not None:
        region.chains.remove(taken)
    return best


def _can_be_shared(chain: list[tuple[Any, Fraction]]) -> bool:
    """Whether several tasks could do a chain: tiles of its kernels must begin where tasks do."""
    grains = [Fraction(s.kernel.grain) / r for s, r in chain if hasattr(s, "kernel")]
    whole = math.lcm(*[g.numerator for g in grains])
    short = sum([s.work for s, _ in chain]) < _WORTH_SHARING
    return short or 2 * whole <= chain[0][0].units


def _depends(step: Any, earlier: Any) -> bool:
    written, read = set(earlier.writes), set(earlier.reads)
    return bool(written & {*step.reads, *step.writes} or read & set(step.writes))


def _ratio(chain: list[tuple[Any, Fraction]], step: Any) -> Fraction | None:
    """How many units of a step correspond to one of a chain's first; None if rows don't match."""
    found: Fraction | None = None
    for earlier, ratio in chain:
        shared = set(earlier.writes) & {*step.reads, *step.writes}
        shared |= set(earlier.reads) & set(step.writes)
        for buffer in shared:
            before, after = _stride(earlier, buffer), _stride(step, buffer)
            if before is None or after is None:
                return None
            this = ratio * Fraction(before, after)
            if found is not None and found != this:
                return None
            found = this
    assert found is not None
    first = chain[0][0]
    return found if first.units * found == step.units and first.units > 1 else None


def _stride(step: Any, buffer: Buffer) -> int | None:
    """The elements of a buffer that belong to one unit of a step, if units do not meet in it."""
    if hasattr(step, "kernel"):
        return _kernel_stride(step.kernel, buffer)
    if type(step) is Routine:
        return step.strides.get(buffer)
    one = step.layout
    if one.by_columns or buffer is step.b:
        return None
    if buffer is step.c:
        row, place = one.c[0], 3
    else:
        if one.a[1] != 1 or step.a_offset:
            return None
        row, place = one.a[0], 1
    if len(one.batch) > 1 or (one.batch and one.batch[0][place] != row * one.m):
        return None
    return row if row * one.lines == buffer.size else None


def window_follows(region: Region, reader: Any, old: Buffer, new: Buffer) -> bool:
    """Whether a window is written in one array by the tasks that have read it in another, and
    nothing else of the region writes the one: then both arrays may lie at one place."""
    writers = [s for s in region.steps if new in s.writes]
    chain = next(c for c in region.chains if any([s is reader for s, _ in c]))
    steps = [s for s, _ in chain]
    if len(writers) != 1 or writers[0] not in steps or new in region.reads:
        return False
    (writer,) = writers
    if not (hasattr(reader, "kernel") and hasattr(writer, "kernel")):
        return False
    if steps.index(writer) < steps.index(reader):
        return False
    moved: set[Any] = set()
    strides = []
    for step, buffer in ((reader, old), (writer, new)):
        places = [index for of, index in accesses(step.kernel) if of is buffer]
        moved |= {
            tuple([(a, c) for a, c in i.terms.items() if type(a) is not Loop]) for i in places
        }
        fixed = [
            Index({a: c for a, c in i.terms.items() if type(a) is Loop}, i.offset) for i in places
        ]
        strides.append(_strides(step.kernel, fixed, _window(step.kernel, fixed)))
    ratios = [ratio for s, ratio in chain if s is reader or s is writer]
    first, second = strides
    if len(moved) != 1 or first is None or second is None:
        return False
    return first * ratios[0] == second * ratios[1]


def _window(kernel: Kernel, places: list[Index]) -> int:
    """The elements that a kernel touches, if it touches all from the first to the last."""
    return 1 + max([
        i.offset + sum([max(c, 0) * (a.extent - 1) for a, c in i.terms.items()]) for i in places
    ])  # fmt: skip


def _kernel_stride(kernel: Kernel, buffer: Buffer) -> int | None:
    return _strides(kernel, [i for of, i in accesses(kernel) if of is buffer], buffer.size)


def _strides(kernel: Kernel, places: list[Index], size: int) -> int | None:
    """The elements from one unit of a kernel to the next, in places of an array of some size."""
    tasks = kernel.kept[: kernel.tasks]
    if not tasks:
        return None
    units = strides_of([loop.extent for loop in tasks])
    total = math.prod([loop.extent for loop in tasks])
    if size % total:
        return None
    stride = size // total
    for index in places:
        low = high = index.offset
        for atom, c in index.terms.items():
            if type(atom) is not Loop:
                return None
            if atom in tasks:
                if c != stride * units[tasks.index(atom)]:
                    return None
            else:
                low += min(c, 0) * (atom.extent - 1)
                high += max(c, 0) * (atom.extent - 1)
        if any([loop not in index.terms for loop in tasks if loop.extent > 1]):
            return None
        if low < 0 or high >= stride:
            return None
    return stride
