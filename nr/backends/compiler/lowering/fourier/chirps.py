"""Transforms of rows of any length as convolutions (L. I. Bluestein, IEEE Trans. AU-18, 1970).

X(k) = c(k) times the convolution of x(k) c(k) with the conjugate of c, where c(k) is
exp(-i pi k**2 / n). The convolution is a product of transforms of a length that is a power of two.
"""

from __future__ import annotations

from nr.backends.compiler.code import Code
from nr.backends.compiler.lowering.fourier.butterflies import mul
from nr.backends.compiler.lowering.fourier.lines import (
    Array,
    Module,
    Rows,
    nanoseconds,
    rows_fit,
)
from nr.backends.compiler.lowering.fourier.passes import APART, Form, Unit, entries, parts_at
from nr.backends.compiler.lowering.fourier.roots import chirp
from nr.backends.compiler.routine import Routine


def padded_length(n: int) -> int:
    """The length of the convolution: 1, 9/8, 5/4 or 3/2 times a power of two."""
    sizes = [64 * factor for factor in (1, 3, 5, 9)]
    return min([s << max(-(-(2 * n - 1) // s) - 1, 0).bit_length() for s in sizes])


def _bases(form: Form) -> list[str]:
    return [f"%b{k}" for k in range(form.pointers // 2)]


def _function(code: Code, name: str, form: Form) -> str:
    """With the addresses of two parts in scratch, those of a row, a table and two extents."""
    pointers = ", ".join([f"ptr {p}" for p in ("%re", "%im", *_bases(form), "%table")])
    return code.function(name, f"{pointers}, i64 %n, i64 %m")


def modulate(name: str, unit: Unit, form: Form) -> str:
    """A function ``(real parts, imaginary parts, row, table, n, m)``: the n numbers of a row, each
    multiplied with the table's, and zeros up to m."""
    code = Code()
    zero = unit.constant(0)
    whole = code.both("%n", -unit.width)
    for part in ("%re", "%im"):
        with code.loop(whole, "%m", unit.width) as k:
            code.store(unit.vector, zero, code.at(unit.kind, part, k), align=unit.size)
    end = code.sub("%n", unit.width)
    with code.loop("0", "%n", unit.width) as k:
        k = code.least(k, end)
        value = form.load(code, unit, form.neighbours(code, unit, _bases(form), k))
        value = mul(value, entries(code, unit, "%table", "%n", k))
        APART.store(code, unit, APART.neighbours(code, unit, ["%re", "%im"], k), value)
    return _function(code, name, form)


def demodulate(name: str, unit: Unit, form: Form) -> str:
    """A function with the same parameters: n numbers, each multiplied with the table's, to a
    row."""
    code = Code()
    end = code.sub("%n", unit.width)
    with code.loop("0", "%n", unit.width) as k:
        k = code.least(k, end)
        value = parts_at(code, unit, "%re", "%im", k)
        value = mul(value, entries(code, unit, "%table", "%n", k))
        form.store(code, unit, form.neighbours(code, unit, _bases(form), k), value)
    return _function(code, name, form)


def multiply(name: str, unit: Unit) -> str:
    """A function ``(real parts, imaginary parts, table, m)``: products in place."""
    code = Code()
    with code.loop("0", "%m", unit.width) as k:
        value = parts_at(code, unit, "%re", "%im", k)
        value = mul(value, entries(code, unit, "%table", "%m", k))
        APART.store(code, unit, APART.neighbours(code, unit, ["%re", "%im"], k), value)
    return code.function(name, "ptr %re, ptr %im, ptr %table, i64 %m")


def chirps_fit(unit: Unit, n: int) -> bool:
    """Whether rows of this length can be transformed in pairs."""
    return n >= unit.width and rows_fit(unit, padded_length(n))


def chirped_rows(
    unit: Unit, source: Array, target: Array, count: int, n: int, scale: float
) -> Routine:
    """Transforms of rows of n elements."""
    m = padded_length(n)
    plan = Rows(unit, m)
    tables = chirp(n, m, -1, scale, unit.dtype)
    reads = [*source.buffers, *plan.tables, *tables]
    module = Module(unit, reads, target.buffers, [count])
    code = module.code
    own, spectrum = [module.places[t] for t in tables]
    with module.pairs(module.integers[0]) as pair:
        starts = [code.mul(line, n) for line in pair]
        read, written = [module.line(a, *starts) for a in (source, target)]
        rooms = plan.rooms(module)
        z = plan.parts(module, rooms[1])
        for k in (0, 1):
            module.call(modulate, (source.form,), [z[k], z[2 + k], *read[k::2], own], [n, m])
        room, z = plan.transform(module, rooms, (APART, z), APART)
        for k in (0, 1):
            module.call(multiply, (), [z[k], z[2 + k], spectrum], [m])
        # The inverse has parts in each other's place.
        if room != rooms[0]:
            rooms.reverse()
        _, z = plan.transform(module, rooms, (APART.inverse, z), APART.inverse)
        for k in (0, 1):
            module.call(demodulate, (target.form,), [z[k], z[2 + k], *written[k::2], own], [n, m])
    work = 2.5 * nanoseconds(unit, m, count)
    return module.of_pairs("fft of rows by chirps", source, target, count, work, plan.scratch)
