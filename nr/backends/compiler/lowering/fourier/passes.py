"""Passes of Fourier transforms over vectors, as functions in LLVM IR.

A *column* is a transform in each lane of the vectors. Columns go through Stockham's passes (W. T.
Cochran et al., "What is the fast Fourier transform?", Proc. IEEE 55, 1967), from which results come
in order. That of radix r, after passes over m elements, with s places left, is

    y[(p + k m) s + q] = sum over j < r of x[(p r + j) s + q] w(j p / (r m)) w(j k / r)

for p < m and q < s, where w(t) is exp(-2 pi i t). Rows are columns as well: a lane has every h-th
element, of as many as half a vector has lanes, the other half being another row. What is still to
be combined then lies in different lanes, which change places with vectors (`crossing`).

Between passes, arrays are in scratch: for each place a vector of real parts and one of imaginary
parts. What is read first and written last is in two halves, which lie side by side or in different
rows. Inverse transforms are those of numbers whose parts have changed places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nr.backends.compiler.code import Code, numbers, wide
from nr.backends.compiler.emission.function import FLOAT_BINARY, literal
from nr.backends.compiler.expr import NUMPY
from nr.backends.compiler.lowering.fourier.butterflies import dft, mul, scaled, turned_dft
from nr.backends.compiler.lowering.fourier.roots import turns


@dataclass(frozen=True, slots=True)
class Unit:
    """Vectors of `width` numbers of a register type."""

    dtype: str
    width: int

    @property
    def kind(self) -> str:
        """LLVM's name of the type."""
        return {"f32": "float", "f64": "double"}[self.dtype]

    @property
    def size(self) -> int:
        """Bytes of a number."""
        return {"f32": 4, "f64": 8}[self.dtype]

    @property
    def half(self) -> int:
        """Lanes of half a vector; what `crossing` combines."""
        return self.width // 2

    @property
    def vector(self) -> str:
        """LLVM's name of a vector."""
        return wide(self.kind, self.width)

    @property
    def nbytes(self) -> int:
        """Bytes of a complex number in every lane."""
        return 2 * self.width * self.size

    def constant(self, value: float) -> str:
        """A vector of one number."""
        text = literal(NUMPY[self.dtype].type(value), self.dtype)
        return numbers(self.kind, [text] * self.width)


class Lanes:
    """A vector of real numbers in LLVM IR."""

    __slots__ = ("code", "unit", "name")

    def __init__(self, code: Code, unit: Unit, name: str) -> None:
        self.code = code
        self.unit = unit
        self.name = name

    def _with(self, operation: str, other: Lanes | float) -> Lanes:
        name = other.name if isinstance(other, Lanes) else self.unit.constant(other)
        text = f"{FLOAT_BINARY[operation]} {self.unit.vector} {self.name}, {name}"
        return Lanes(self.code, self.unit, self.code.op(text))

    def __add__(self, other: Lanes) -> Lanes:
        return self._with("add", other)

    def __sub__(self, other: Lanes) -> Lanes:
        return self._with("sub", other)

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self._with("mul", other)

    def __neg__(self) -> Lanes:
        return Lanes(self.code, self.unit, self.code.op(f"fneg {self.unit.vector} {self.name}"))

    def fused(self, factor: Lanes | float, term: Lanes) -> Lanes:
        """The product with a factor, plus a term; rounded once where the processor can."""
        kind = self.unit.vector
        name = factor.name if isinstance(factor, Lanes) else self.unit.constant(factor)
        return Lanes(
            self.code, self.unit, self.code.call("fmuladd", kind, self.name, name, term.name)
        )

    def reversed(self) -> Lanes:
        """The last number first."""
        lanes = range(self.unit.width - 1, -1, -1)
        name = self.code.shuffle(self.unit.vector, self.name, self.name, lanes)
        return Lanes(self.code, self.unit, name)


@dataclass(frozen=True, slots=True)
class Pair:
    """A complex number in each lane."""

    re: Lanes
    im: Lanes

    def reversed(self) -> Pair:
        """The last number first."""
        return Pair(self.re.reversed(), self.im.reversed())


@dataclass(frozen=True, slots=True)
class Form:
    """How an array lies: in `scratch`; as complex numbers (`whole`); `apart`, real parts and
    imaginary parts; or, to be written only, as complex numbers of two rows by turns (`braided`).
    `swapped`: with the parts in each other's place."""

    name: str
    swapped: bool = False

    @property
    def inverse(self) -> Form:
        """The same with the parts in the other's place."""
        return Form(self.name, not self.swapped)

    @property
    def pointers(self) -> int:
        """How many addresses say where it begins."""
        return {"scratch": 1, "whole": 2, "braided": 2, "apart": 4}[self.name]

    def step(self, unit: Unit) -> int:
        """Bytes from an element to the next one of a row."""
        return {"apart": 1, "braided": 4}.get(self.name, 2) * unit.size

    def neighbours(self, code: Code, unit: Unit, bases: Sequence[str], index: str) -> list[str]:
        """Where the halves of a vector from one row begin, by where the row does."""
        places = []
        for base in bases:
            start = code.at("i8", base, code.mul(index, self.step(unit)))
            places += [start, code.at("i8", start, str(unit.half * self.step(unit)))]
        return places

    def load(self, code: Code, unit: Unit, places: Sequence[str]) -> Pair:
        """What lies at some addresses."""
        w, h = unit.width, unit.half
        if self.name == "scratch":
            (place,) = places
            re = code.load(unit.vector, place)
            im = code.load(unit.vector, code.at(unit.vector, place, "1"))
        elif self.name == "whole":
            a, b = [code.load(unit.vector, p, align=unit.size) for p in places]
            re, im = [code.shuffle(unit.vector, a, b, range(k, 2 * w, 2)) for k in (0, 1)]
        else:
            part = wide(unit.kind, h)
            a, b, c, d = [code.load(part, p, align=unit.size) for p in places]
            re, im = [code.shuffle(part, x, y, range(w)) for x, y in ((a, b), (c, d))]
        parts = [Lanes(code, unit, name) for name in (re, im)]
        return Pair(*parts[::-1]) if self.swapped else Pair(*parts)

    def store(self, code: Code, unit: Unit, places: Sequence[str], value: Pair) -> None:
        """Write what lies at some addresses."""
        w, h = unit.width, unit.half
        parts = (value.im, value.re) if self.swapped else (value.re, value.im)
        re, im = [part.name for part in parts]
        if self.name == "scratch":
            (place,) = places
            code.store(unit.vector, re, place)
            code.store(unit.vector, im, code.at(unit.vector, place, "1"))
        elif self.name in ("whole", "braided"):
            order = [*range(w)]
            if self.name == "braided":
                order = [lane // 2 + h * (lane % 2) for lane in order]
            for k, place in enumerate(places):
                lanes = [order[h * k + lane // 2] + w * (lane % 2) for lane in range(w)]
                mixed = code.shuffle(unit.vector, re, im, lanes)
                code.store(unit.vector, mixed, place, align=unit.size)
        else:
            part = wide(unit.kind, h)
            for k, place in enumerate(places):
                name = (re, im)[k // 2]
                start = h * (k % 2)
                piece = code.shuffle(unit.vector, name, name, range(start, start + h))
                code.store(part, piece, place, align=unit.size)


SCRATCH, WHOLE, APART = Form("scratch"), Form("whole"), Form("apart")


def parts_at(code: Code, unit: Unit, re: str, im: str, index: str) -> Pair:
    """Neighbours in a row whose parts begin at two addresses."""
    places = [code.at(unit.kind, part, index) for part in (re, im)]
    return Pair(*[Lanes(code, unit, code.load(unit.vector, p, align=unit.size)) for p in places])


def entries(code: Code, unit: Unit, table: str, count: str, index: str) -> Pair:
    """Neighbours in a table of `count` complex numbers, real parts first."""
    return parts_at(code, unit, table, code.at(unit.kind, table, count), index)


def _named(prefix: str, count: int) -> list[str]:
    return [f"%{prefix}{k}" for k in range(count)]


def _moved(code: Code, places: Sequence[str], offset: str) -> list[str]:
    return [code.at("i8", place, offset) for place in places]


def _multiples(code: Code, step: str, count: int) -> list[str]:
    found = ["0", step]
    while len(found) < count:
        found.append(code.add(found[-1], step))
    return found[:count]


def stockham(
    name: str, unit: Unit, radix: int, source: Form, target: Form, scale: float | None
) -> str:
    """A function ``(sources, targets, twiddles, source pitch, target pitch, m, s)`` of one pass.

    Pitches are the bytes between places. The first pass has a scale, no twiddles, and m is 1.
    """
    code = Code()
    read, written = _named("x", source.pointers), _named("y", target.pointers)
    pointers = [f"ptr {p}" for p in (*read, *written, "%roots")]
    parameters = ", ".join([*pointers, "i64 %from", "i64 %to", "i64 %m", "i64 %s"])
    turned = turns(radix) if scale is None else []
    apart = code.mul("%from", "%s")
    block = code.mul("%to", "%s")
    jumps = _multiples(code, apart, radix)
    lands = _multiples(code, code.mul(block, "%m"), radix)
    with code.loop("0", "%m") as p:
        here = _moved(code, read, code.mul(p, code.mul(apart, radix)))
        there = _moved(code, written, code.mul(p, block))
        roots = code.at(unit.kind, "%roots", code.mul(p, 2 * len(turned)))
        with code.loop("0", "%s") as q:
            near = _moved(code, here, code.mul(q, "%from"))
            places = [_moved(code, near, jump) if j else near for j, jump in enumerate(jumps)]
            values = [source.load(code, unit, place) for place in places]
            found = []
            for e in range(len(turned)):
                pair = [code.load(unit.kind, roots, str(2 * e + k)) for k in (0, 1)]
                lanes = [Lanes(code, unit, code.splat(x, unit.kind, unit.width)) for x in pair]
                found.append(Pair(*lanes))
            if scale is not None:
                results = dft([scaled(value, scale) for value in values], -1)
            elif radix & (radix - 1):
                values[1:] = [mul(*pair) for pair in zip(values[1:], found, strict=True)]
                results = dft(values, -1)
            else:
                results = turned_dft(values, dict(zip(turned, found, strict=True)))
            near = _moved(code, there, code.mul(q, "%to"))
            for k, value in enumerate(results):
                target.store(code, unit, _moved(code, near, lands[k]) if k else near, value)
    return code.function(name, parameters)


def crossing(name: str, unit: Unit, target: Form) -> str:
    """A function ``(source, targets, twiddles, m)`` of the last pass of rows.

    Lane q of either half of vector k, below m, is to be multiplied with a root of unity, and the
    lanes of each half are transformed: to elements k, m + k, 2 m + k ... of its row.
    """
    code = Code()
    half, written = unit.half, _named("y", target.pointers)
    pointers = [f"ptr {p}" for p in ("%x", *written, "%roots")]
    parameters = ", ".join([*pointers, "i64 %m"])
    line = code.mul("%m", target.step(unit))
    lands = _multiples(code, line, half)
    end = code.sub("%m", half)
    part = wide(unit.kind, half)
    twice = [*range(half), *range(half)]
    with code.loop("0", "%m", half) as k:
        # The last vectors may be done twice.
        first = code.least(k, end)
        near = code.at("i8", "%x", code.mul(first, unit.nbytes))
        values = [
            SCRATCH.load(code, unit, [code.at("i8", near, str(j * unit.nbytes))])
            for j in range(half)
        ]
        parts = [
            [Lanes(code, unit, x) for x in code.transpose(unit.vector, [v.name for v in one])]
            for one in ([v.re for v in values], [v.im for v in values])
        ]
        crossed = [Pair(re, im) for re, im in zip(*parts, strict=True)]
        roots = {}
        row = code.at(unit.kind, "%roots", first)
        for key in turns(half):
            found = []
            for _ in range(2):
                one = code.load(part, row, align=unit.size)
                found.append(Lanes(code, unit, code.shuffle(part, one, one, twice)))
                row = code.at(unit.kind, row, "%m")
            roots[key] = Pair(*found)
        spots = _moved(code, written, code.mul(first, target.step(unit)))
        for land, value in zip(lands, turned_dft(crossed, roots), strict=True):
            target.store(code, unit, _moved(code, spots, land), value)
    return code.function(name, parameters)
