"""Routines that call functions of LAPACK for each matrix of a stack.

All that Fortran is given are addresses. Numbers are words of the routine's arguments, so their
addresses are those of the words (the low bytes come first on all processors that nr runs on), and
one text serves matrices of all sizes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nr.backends.compiler.loops import ITEMSIZE, Buffer
from nr.backends.compiler.routine import Routine

# The letter that LAPACK's names begin with, and the type of real parts.
LETTER = {"f32": "s", "f64": "d", "c64": "c", "c128": "z"}
REAL_PART = {"f32": "f32", "f64": "f64", "c64": "f32", "c128": "f64"}
# What the names of OpenBLAS's functions have before them in the IR.
PREFIX = "openblas_"
_LINE = 64
# Whether all of some numbers are finite, for then their products with 0 add up to 0.
_FINITE = """
define internal i1 @finite(ptr %from, i64 %count) {
entry:
%rest = and i64 %count, 7
%whole = sub i64 %count, %rest
br label %next
next:
%i = phi i64 [ 0, %entry ], [ %i.more, %body ]
%sums = phi <8 x KIND> [ zeroinitializer, %entry ], [ %sums.more, %body ]
%inside = icmp slt i64 %i, %whole
br i1 %inside, label %body, label %tail
body:
%at = getelementptr KIND, ptr %from, i64 %i
%x = load <8 x KIND>, ptr %at, align 4
%product = fmul <8 x KIND> %x, zeroinitializer
%sums.more = fadd <8 x KIND> %sums, %product
%i.more = add i64 %i, 8
br label %next
tail:
%first = call KIND @llvm.vector.reduce.fadd.v8SHORT(KIND 0.0, <8 x KIND> %sums)
br label %next1
next1:
%j = phi i64 [ %whole, %tail ], [ %j.more, %body1 ]
%sum = phi KIND [ %first, %tail ], [ %sum.more, %body1 ]
%inside1 = icmp slt i64 %j, %count
br i1 %inside1, label %body1, label %leave
body1:
%at1 = getelementptr KIND, ptr %from, i64 %j
%x1 = load KIND, ptr %at1, align 4
%product1 = fmul KIND %x1, 0.0
%sum.more = fadd KIND %sum, %product1
%j.more = add i64 %j, 1
br label %next1
leave:
%result = fcmp oeq KIND %sum, 0.0
ret i1 %result
}
declare KIND @llvm.vector.reduce.fadd.v8SHORT(KIND, <8 x KIND>)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """An address: that of a word of the arguments, or in a matrix of a buffer, or in scratch."""

    kind: str  # "word", "buffer" or "scratch"
    number: int  # of the word, the buffer, or of the word that holds the offset in scratch
    offset: int | None = None  # the word that holds a further offset


Argument = Place | int | str


class Calls:
    """A routine under construction: places, then calls in their order.

    Integers that stand for arguments are Fortran's INTEGER, strings its CHARACTER.
    """

    def __init__(self, name: str, dtype: str, stack: int) -> None:
        self.name = name
        self.dtype = dtype
        self.stack = stack
        self.buffers: list[tuple[Buffer, int, bool]] = []  # with bytes a matrix, and if written
        self.words: list[int] = []
        self.room = 0
        self.lines: list[str] = []
        self.declared: dict[str, None] = {}
        self.count = 0

    # ------------------------------------------------------------------ places
    def read(self, buffer: Buffer) -> Place:
        """The matrix of a stack that is read."""
        return self._buffer(buffer, False)

    def write(self, buffer: Buffer) -> Place:
        """The matrix of a stack that is written; what is in it before is not defined."""
        return self._buffer(buffer, True)

    def _buffer(self, buffer: Buffer, written: bool) -> Place:
        self.buffers.append((buffer, buffer.nbytes // self.stack, written))
        return Place("buffer", len(self.buffers) - 1)

    def scratch(self, count: int, dtype: str | None = None) -> Place:
        """Room for some numbers of a type, while one matrix is worked on."""
        offset = self.room
        self.room += -(-max(count, 1) * ITEMSIZE[dtype or self.dtype] // _LINE) * _LINE
        return Place("scratch", self._word(offset))

    def at(self, place: Place, elements: int) -> Place:
        """A place some elements of the routine's type further."""
        return Place(place.kind, place.number, self._word(elements * ITEMSIZE[self.dtype]))

    def constant(self, value: float, dtype: str | None = None) -> Place:
        """The address of a floating-point number; both parts of a complex NaN are NaN."""
        dtype = dtype or self.dtype
        real = struct.pack("<f" if REAL_PART[dtype] == "f32" else "<d", value)
        imaginary = real if value != value else bytes(len(real))
        raw = real + imaginary if dtype in ("c64", "c128") else real
        raw += bytes(-len(raw) % 8)
        first, *rest = struct.unpack(f"<{len(raw) // 8}q", raw)
        return Place("word", self._word(first, *rest))

    def _word(self, *values: int) -> int:
        """The number of a new word, the first of some that lie together.

        Equal numbers are words of their own: the text does not depend on which are equal.
        """
        self.words += values
        return len(self.words) - len(values)

    # ------------------------------------------------------------------ calls
    def call(self, function: str, *arguments: Argument, dtype: str | None = None) -> None:
        """Call a function by its name without the type's letter."""
        pointers, characters = [], 0
        for a in arguments:
            if isinstance(a, str):
                characters += 1
                a = ord(a)
            place = a if isinstance(a, Place) else Place("word", self._word(int(a)))
            pointers.append(f"ptr {self._address(place)}")
        # Fortran is told the length of each CHARACTER after the arguments.
        pointers += ["i64 1"] * characters
        name = f"{PREFIX}{LETTER[dtype or self.dtype]}{function}_"
        kinds = ", ".join([p.split()[0] for p in pointers])
        self.declared[f"declare void @{name}({kinds})"] = None
        self.lines.append(f"call void @{name}({', '.join(pointers)})")

    def copy(self, source: Place, target: Place, elements: int) -> None:
        """Copy numbers of the routine's type that lie one after the other."""
        size = self._name()
        number = self._word(elements * ITEMSIZE[self.dtype])
        self.lines.append(f"{size} = load i64, ptr {self._address(Place('word', number))}")
        self.declared["declare ptr @memcpy(ptr, ptr, i64)"] = None
        from_, to = self._address(source), self._address(target)
        self.lines.append(f"call ptr @memcpy(ptr {to}, ptr {from_}, i64 {size})")

    def transpose(self, rows: int, columns: int, source: Place, target: Place) -> None:
        """Write a matrix of rows, one after the other, column by column."""
        self.stride_transpose(rows, columns, source, columns, target, rows)

    def stride_transpose(
        self, rows: int, columns: int, source: Place, line: int, target: Place, target_line: int
    ) -> None:
        """The same, with the distances between the source's rows, and the target's columns."""
        one = self.constant(1.0)
        self.call("omatcopy", "R", "T", rows, columns, one, source, line, target, target_line)

    def fill(self, rows: int, columns: int, value: float, target: Place, **options: Any) -> None:
        """Give all elements of a contiguous matrix one value."""
        number = self.constant(value, options.get("dtype"))
        self.call("laset", "A", rows, columns, number, number, target, max(rows, 1), **options)

    @contextmanager
    def where_finite(self, a: Place, count: int, info: Place) -> Iterator[None]:
        """What is done if all numbers of a matrix are finite; the status of others is a failure.

        LAPACK's iterations need not end with NaNs or infinities.
        """
        kind = {"f32": "float", "f64": "double"}[REAL_PART[self.dtype]]
        text = _FINITE.replace("KIND", kind).replace("SHORT", REAL_PART[self.dtype])
        self.declared[text] = None
        word = self._word(count * ITEMSIZE[self.dtype] // ITEMSIZE[REAL_PART[self.dtype]])
        number, finite, status = self._loaded(word), self._name(), self._name()
        self.lines += [
            f"{finite} = call i1 @finite(ptr {self._address(a)}, i64 {number})",
            f"{status} = select i1 {finite}, i32 0, i32 -1",
            f"store i32 {status}, ptr {self._address(info)}",
        ]
        with self._where(finite):
            yield

    @contextmanager
    def failed(self, info: Place) -> Iterator[None]:
        """What is done where LAPACK tells of a failure."""
        address, status, failure = self._address(info), self._name(), self._name()
        self.lines += [
            f"{status} = load i32, ptr {address}",
            f"{failure} = icmp ne i32 {status}, 0",
        ]
        with self._where(failure):
            yield

    @contextmanager
    def _where(self, condition: str) -> Iterator[None]:
        then, done = self._name()[1:], self._name()[1:]
        self.lines += [f"br i1 {condition}, label %{then}, label %{done}", f"{then}:"]
        yield
        self.lines += [f"br label %{done}", f"{done}:"]

    def _name(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def _address(self, place: Place) -> str:
        """The address of a place, computed anew where it is used."""
        if place.kind == "word":
            return self._further("%words", str(8 * place.number))
        if place.kind == "buffer":
            address = f"%matrix{place.number}"
        else:
            address = self._further("%room", self._loaded(place.number))
        return (
            address if place.offset is None else self._further(address, self._loaded(place.offset))
        )

    def _further(self, base: str, offset: str) -> str:
        address = self._name()
        self.lines.append(f"{address} = getelementptr i8, ptr {base}, i64 {offset}")
        return address

    def _loaded(self, word: int) -> str:
        at, value = self._name(), self._name()
        self.lines.append(f"{at} = getelementptr i64, ptr %words, i64 {word}")
        self.lines.append(f"{value} = load i64, ptr {at}")
        return value

    # ------------------------------------------------------------------ the routine
    def routine(self, nanoseconds: float) -> Routine:
        """The routine, which takes so long for a matrix.

        A stack of one has a buffer for scratch, for a thread's own would be there for all threads.
        """
        buffers = list(self.buffers)
        alone = self.stack == 1 and self.room > 0
        if alone:
            buffers.append((Buffer(f"{self.name}.room", "u8", self.room), 0, True))
        order = sorted(range(len(buffers)), key=lambda number: buffers[number][2])
        reads = [buffers[number][0] for number in order if not buffers[number][2]]
        writes = [buffers[number][0] for number in order if buffers[number][2]]
        lines, moves = [], []
        for k, number in enumerate(order):
            lines += [
                f"%base{number}.at = getelementptr ptr, ptr %args, i64 {k}",
                f"%base{number} = load ptr, ptr %base{number}.at",
                f"%size{number}.at = getelementptr i64, ptr %args, i64 {len(order) + k}",
                f"%size{number} = load i64, ptr %size{number}.at",
            ]
            moves += [
                f"%move{number} = mul i64 %i, %size{number}",
                f"%matrix{number} = getelementptr i8, ptr %base{number}, i64 %move{number}",
            ]
        room = f"%base{len(buffers) - 1}" if alone else "%scratch"
        text = "\n".join([
            *self.declared,
            "define void @kernel(ptr %args, i64 %low, i64 %high, ptr %scratch) {",
            "entry:",
            *lines,
            f"%words = getelementptr i64, ptr %args, i64 {2 * len(order)}",
            f"%room = getelementptr i8, ptr {room}, i64 0",
            "br label %next",
            "next:",
            "%i = phi i64 [ %low, %entry ], [ %more, %again ]",
            "%inside = icmp slt i64 %i, %high",
            "br i1 %inside, label %work, label %leave",
            "work:",
            *moves,
            *self.lines,
            "br label %again",
            "again:",
            "%more = add i64 %i, 1",
            "br label %next",
            "leave:",
            "ret void",
            "}",
            "",
        ])  # fmt: skip
        return Routine(
            name=self.name,
            text=text,
            reads=reads,
            writes=writes,
            integers=[*[buffers[number][1] for number in order], *self.words],
            units=self.stack,
            work=self.stack * nanoseconds,
            scratch=0 if alone else self.room,
        )
