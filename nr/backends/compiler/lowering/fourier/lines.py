"""Transforms along rows or columns as routines: a thread does all passes of a line in its cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nr.backends.compiler.code import KERNEL, Code, arguments
from nr.backends.compiler.loops import ITEMSIZE, Buffer
from nr.backends.compiler.lowering.fourier.passes import SCRATCH, Form, Unit, crossing, stockham
from nr.backends.compiler.lowering.fourier.roots import lane_twiddles, pass_twiddles, turns
from nr.backends.compiler.routine import Routine

# Vectors have at least so many lanes, else there would be no half to exchange.
_FEWEST_LANES = 4
# Scratch of a line at most; of longer ones each pass is shared out between threads.
_MOST_BYTES = 1 << 20
_FEWEST_PLANES = 16
# Nanoseconds of a number in a vector's lane, for each doubling of the length.
_NS = 0.05


def factors(n: int) -> list[int] | None:
    """Radices of the passes, first to last; None if a prime is too large.

    Example:
        >>> factors(128), factors(125), factors(22)
        ([8, 4, 4], [5, 5, 5], None)
    """
    twos = (n & -n).bit_length() - 1
    odd = n >> twos
    found = []
    for radix in (9, 7, 5, 3):
        while odd % radix == 0:
            found.append(radix)
            odd //= radix
    if odd > 1:
        return None
    while twos > 4 or twos == 3:
        found.append(8)
        twos -= 3
    found += [4] * (twos // 2) + [2] * (twos % 2)
    return sorted(found, reverse=True) or [1]


def unit_of(dtype: str, vector_bytes: int) -> Unit:
    """The vectors that transforms of a register type take."""
    return Unit(dtype, max(vector_bytes // ITEMSIZE[dtype], _FEWEST_LANES))


def nanoseconds(unit: Unit, n: int, lines: int) -> float:
    """About how long transforms take."""
    return _NS * n * math.log2(2 * n) * lines * unit.size / 4


@dataclass(frozen=True, slots=True)
class Array:
    """Complex numbers in memory: a buffer of them (or of twice as many real ones), or a buffer of
    real and one of imaginary parts, by their form."""

    form: Form
    buffers: tuple[Buffer, ...]


class Module:
    """The text of a routine: its functions, each of which is written once, and the kernel."""

    def __init__(
        self, unit: Unit, reads: Sequence[Buffer], writes: Sequence[Buffer], integers: Sequence[int]
    ) -> None:
        self.unit = unit
        self.code = Code()
        self.reads, self.writes, self.numbers = list(reads), list(writes), list(integers)
        names = arguments(self.code, len(reads) + len(writes), len(integers))
        self.places = dict(zip([*reads, *writes], names, strict=False))
        self.integers = names[len(reads) + len(writes) :]
        self._functions: dict[tuple, tuple[str, str]] = {}

    def call(
        self, write: Callable[..., str], parameters: tuple, pointers: Sequence[str],
        integers: Sequence[str | int],
    ) -> None:  # fmt: skip
        """Call the function that ``write(name, unit, *parameters)`` writes."""
        key = (write, parameters)
        if key not in self._functions:
            name = f"{write.__name__}.{len(self._functions)}"
            self._functions[key] = name, write(name, self.unit, *parameters)
        given = ", ".join([*[f"ptr {p}" for p in pointers], *[f"i64 {n}" for n in integers]])
        self.code.do(f"call void @{self._functions[key][0]}({given})")

    def line(self, array: Array, first: str, second: str) -> list[str]:
        """The addresses of the elements that begin both halves of vectors."""
        step = array.form.step(self.unit)
        offsets = [self.code.mul(element, step) for element in (first, second)]
        return [self.code.at("i8", self.places[b], o) for b in array.buffers for o in offsets]

    @contextmanager
    def pairs(self, count: str) -> Iterator[list[str]]:
        """For the units of work: two of so many rows. If the last is alone, it is done twice."""
        code = self.code
        with code.loop("%low", "%high") as unit:
            first = code.shift("shl", unit, 1)
            yield [first, code.least(code.add(first, 1), code.sub(count, 1))]

    def passes(
        self, radices: Sequence[int], scale: float, roots: str, rooms: Sequence[str],
        source: tuple[Form, Sequence[str], str | int],
        target: tuple[Form, Sequence[str], str | int] | None = None,
    ) -> str:  # fmt: skip
        """All passes of columns.

        Args:
            radices: Of the passes, first to last.
            scale: What to multiply with.
            roots: Where the `pass_twiddles` are.
            rooms: Scratch that the passes write to in turns.
            source: How the operand lies, where, and the bytes between its elements.
            target: The same of the result. If there is none, it stays in one of the rooms.

        Returns:
            The room with the result; without meaning if there is a target.
        """
        m, s = 1, math.prod(radices)
        room, other = rooms
        for k, radix in enumerate(radices):
            s //= radix
            to: Any = SCRATCH, [room], self.unit.nbytes
            if target is not None and k == len(radices) - 1:
                to = target
            self.call(
                stockham, (radix, source[0], to[0], None if k else scale),
                [*source[1], *to[1], roots], [source[2], to[2], m, s],
            )  # fmt: skip
            if k:
                roots = self.code.at(self.unit.kind, roots, str(2 * m * len(turns(radix))))
            source = to
            m *= radix
            room, other = other, room
        return other

    def routine(
        self, name: str, units: int, work: float, scratch: int, own: Sequence[Array] = ()
    ) -> Routine:
        """The finished routine; `own` are arrays of which each unit has a part to itself."""
        texts = [text for _, text in self._functions.values()]
        text = "\n".join([*texts, self.code.function("kernel", KERNEL, internal=False)])
        strides = {b: b.size // units for array in own for b in array.buffers}
        return Routine(
            name, text, self.reads, self.writes, self.numbers, units, work, scratch,
            strides=strides,
        )  # fmt: skip

    def of_pairs(
        self, name: str, source: Array, target: Array, count: int, work: float, scratch: int
    ) -> Routine:
        """The finished routine, whose units are pairs of so many rows."""
        own = () if count % 2 else (source, target)
        return self.routine(name, -(-count // 2), work, scratch, own)


class Rows:
    """Transforms of pairs of rows of n elements: halves of a vector belong to different rows."""

    def __init__(self, unit: Unit, n: int, scale: float = 1.0) -> None:
        self.unit = unit
        self.n = n
        self.vectors = n // unit.half
        radices = factors(self.vectors)
        assert radices is not None, "rows_fit has looked"
        self.radices = radices
        self.scale = scale
        kind = unit.dtype
        self.tables = [
            pass_twiddles(radices, kind),
            lane_twiddles(self.vectors, unit.half, kind),
        ]
        # Two rooms; or two parts of each row, a vector longer than need be.
        self.line = (n + unit.width) * unit.size
        self.scratch = 8 * self.line

    def rooms(self, module: Module) -> list[str]:
        """Scratch for two arrays, by turns."""
        return ["%scratch", module.code.at("i8", "%scratch", str(4 * self.line))]

    def parts(self, module: Module, room: str) -> list[str]:
        """Where the parts of both rows lie apart in a room: real parts, then imaginary ones."""
        return [module.code.at("i8", room, str(k * self.line)) for k in range(4)]

    def transform(
        self, module: Module, rooms: Sequence[str], source: tuple[Form, Sequence[str]],
        target: tuple[Form, Sequence[str]] | Form,
    ) -> tuple[str, list[str]]:  # fmt: skip
        """Transform two rows.

        Args:
            module: Where to.
            rooms: Scratch. If the source is in it, it is in the second room.
            source: How rows lie, and where.
            target: The same of the results; or how they are to lie in scratch.

        Returns:
            The room that does not hold the result, and where this is.
        """
        roots, lane_roots = [module.places[t] for t in self.tables]
        pitch = self.unit.half * source[0].step(self.unit)
        last = module.passes(self.radices, self.scale, roots, rooms, (*source, pitch))
        if isinstance(target, Form):
            (room,) = [r for r in rooms if r != last]
            target = target, self.parts(module, room)
        module.call(crossing, (target[0],), [last, *target[1], lane_roots], [self.vectors])
        return last, list(target[1])


def rows_fit(unit: Unit, n: int) -> bool:
    """Whether rows of this length can be transformed in pairs."""
    vectors, rest = divmod(n, unit.half)
    fits = not rest and vectors >= unit.half and factors(vectors) is not None
    return fits and 2 * vectors * unit.nbytes <= _MOST_BYTES


def columns_fit(unit: Unit, n: int, inner: int) -> bool:
    """Whether columns of this length can be transformed side by side."""
    return inner >= unit.width and factors(n) is not None and 2 * n * unit.nbytes <= _MOST_BYTES


def rows(unit: Unit, source: Array, target: Array, count: int, n: int, scale: float) -> Routine:
    """Transforms of rows of n elements."""
    plan = Rows(unit, n, scale)
    module = Module(unit, [*source.buffers, *plan.tables], target.buffers, [count])
    with module.pairs(module.integers[0]) as pair:
        starts = [module.code.mul(line, n) for line in pair]
        read, written = [(a.form, module.line(a, *starts)) for a in (source, target)]
        plan.transform(module, plan.rooms(module), read, written)
    work = nanoseconds(unit, n, count)
    return module.of_pairs("fft of rows", source, target, count, work, plan.scratch)


def columns(
    unit: Unit, source: Array, target: Array, outer: int, n: int, inner: int, scale: float
) -> Routine:
    """Transforms of the columns of ``[outer, n, inner]``, a vector of neighbours at a time."""
    radices = factors(n)
    assert radices is not None, "columns_fit has looked"
    table = pass_twiddles(radices, unit.dtype)
    blocks = -(-inner // unit.width)
    # Units are planes, so that a thread may do all steps of some, unless these are few or large.
    whole = outer >= _FEWEST_PLANES and n * inner * 2 * unit.size <= _MOST_BYTES
    each = blocks if whole else 1
    module = Module(unit, [*source.buffers, table], target.buffers, [inner, blocks, each])
    code = module.code
    inner_, blocks_, each_ = module.integers
    low, high = [code.mul(bound, each_) for bound in ("%low", "%high")]
    room = n * unit.nbytes
    rooms = ["%scratch", code.at("i8", "%scratch", str(room))]
    end = code.sub(inner_, unit.width)
    pitches = [code.mul(inner_, a.form.step(unit)) for a in (source, target)]
    with code.loop(low, high) as number:
        plane, block = code.divide(number, blocks_)
        # The last columns may be done twice.
        column = code.least(code.mul(block, unit.width), end)
        first = code.add(code.mul(plane, code.mul(inner_, n)), column)
        second = code.add(first, unit.half)
        read, written = [
            (a.form, module.line(a, first, second), pitch)
            for a, pitch in zip((source, target), pitches, strict=True)
        ]
        module.passes(radices, scale, module.places[table], rooms, read, written)
    work = nanoseconds(unit, n, outer * inner)
    own = (source, target) if whole else ()
    return module.routine("fft of columns", outer * blocks // each, work, 2 * room, own)
