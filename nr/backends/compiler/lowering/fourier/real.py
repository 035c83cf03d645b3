"""Transforms of real rows of even length, as those of half as many complex numbers."""

from __future__ import annotations

from nr.backends.compiler.code import Code
from nr.backends.compiler.lowering.fourier.butterflies import conj, scaled, unfolded
from nr.backends.compiler.lowering.fourier.lines import Array, Module, Rows, nanoseconds
from nr.backends.compiler.lowering.fourier.passes import (
    APART,
    WHOLE,
    Unit,
    entries,
    parts_at,
)
from nr.backends.compiler.lowering.fourier.roots import half_turn
from nr.backends.compiler.routine import Routine


def frequencies(name: str, unit: Unit) -> str:
    """A function ``(real parts, imaginary parts, target, roots, m)``: the frequencies 0 to m of a
    row from its transform as m pairs, after which there is room for another number."""
    code = Code()
    parts = "%re", "%im"
    for part in parts:
        code.store(unit.kind, code.load(unit.kind, part), part, "%m")
    count = code.add("%m", 1)
    end = code.sub(count, unit.width)
    with code.loop("0", count, unit.width) as k:
        k = code.least(k, end)
        back = code.sub(end, k)
        this, other = [parts_at(code, unit, *parts, at) for at in (k, back)]
        root = entries(code, unit, "%roots", count, k)
        value = unfolded(this, conj(other.reversed()), root, -1)
        WHOLE.store(code, unit, WHOLE.neighbours(code, unit, ["%y"], k), scaled(value, 0.5))
    return code.function(name, "ptr %re, ptr %im, ptr %y, ptr %roots, i64 %m")


def pairs(name: str, unit: Unit) -> str:
    """A function ``(source, real parts, imaginary parts, roots, m)``: the opposite."""
    code = Code()
    end = code.sub("%m", unit.width)
    last = code.add(end, 1)
    with code.loop("0", "%m", unit.width) as k:
        k = code.least(k, end)
        this = WHOLE.load(code, unit, WHOLE.neighbours(code, unit, ["%x"], k))
        other = WHOLE.load(code, unit, WHOLE.neighbours(code, unit, ["%x"], code.sub(last, k)))
        root = entries(code, unit, "%roots", code.add("%m", 1), k)
        value = unfolded(this, conj(other.reversed()), root, 1)
        APART.store(code, unit, APART.neighbours(code, unit, ["%re", "%im"], k), value)
    # The imaginary parts of the ends are not looked at.
    ends = code.load(unit.kind, "%x"), code.load(unit.kind, "%x", code.shift("shl", "%m", 1))
    for operation, place in (("fadd", "%re"), ("fsub", "%im")):
        both = f"{ends[0]}, {ends[1]}"
        code.store(unit.kind, code.op(f"{operation} {unit.kind} {both}"), place)
    return code.function(name, "ptr %x, ptr %re, ptr %im, ptr %roots, i64 %m")


def _work(unit: Unit, m: int, count: int) -> float:
    return 1.4 * nanoseconds(unit, m, count)


def real_rows(unit: Unit, source: Array, target: Array, count: int, m: int) -> Routine:
    """The frequencies 0 to m of rows of 2 m real numbers."""
    plan = Rows(unit, m)
    table = half_turn(2 * m, -1, unit.dtype)
    module = Module(unit, [*source.buffers, *plan.tables, table], target.buffers, [count])
    code = module.code
    with module.pairs(module.integers[0]) as pair:
        read = module.line(source, *[code.mul(line, m) for line in pair])
        _, z = plan.transform(module, plan.rooms(module), (source.form, read), APART)
        written = module.line(target, *[code.mul(line, m + 1) for line in pair])
        for k, place in enumerate(written):
            module.call(frequencies, (), [z[k], z[2 + k], place, module.places[table]], [m])
    work = _work(unit, m, count)
    return module.of_pairs("fft of real rows", source, target, count, work, plan.scratch)


def rows_to_real(
    unit: Unit, source: Array, target: Array, count: int, m: int, scale: float
) -> Routine:
    """Rows of 2 m real numbers from the frequencies 0 to m."""
    plan = Rows(unit, m, scale)
    table = half_turn(2 * m, 1, unit.dtype)
    module = Module(unit, [*source.buffers, *plan.tables, table], target.buffers, [count])
    code = module.code
    with module.pairs(module.integers[0]) as pair:
        read = module.line(source, *[code.mul(line, m + 1) for line in pair])
        rooms = plan.rooms(module)
        z = plan.parts(module, rooms[1])
        for k, place in enumerate(read):
            module.call(pairs, (), [place, z[k], z[2 + k], module.places[table]], [m])
        written = module.line(target, *[code.mul(line, m) for line in pair])
        swapped = APART.inverse, target.form.inverse
        plan.transform(module, rooms, (swapped[0], z), (swapped[1], written))
    work = _work(unit, m, count)
    return module.of_pairs("fft to real rows", source, target, count, work, plan.scratch)
