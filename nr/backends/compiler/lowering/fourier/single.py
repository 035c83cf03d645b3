"""Transforms of single rows, each as those of two rows of half its length, which fill vectors.

The even results are the transform of x(k) + x(k + m), the odd ones that of the differences times
exp(-pi i k / m), where 2 m is the length.
"""

from __future__ import annotations

from nr.backends.compiler.code import Code
from nr.backends.compiler.lowering.fourier.butterflies import add, mul, sub
from nr.backends.compiler.lowering.fourier.lines import Array, Module, Rows, nanoseconds, rows_fit
from nr.backends.compiler.lowering.fourier.passes import APART, WHOLE, Form, Unit, entries
from nr.backends.compiler.lowering.fourier.roots import half_turn
from nr.backends.compiler.routine import Routine


def folded(name: str, unit: Unit, form: Form) -> str:
    """A function ``(row, real parts of sums, of differences, imaginary parts of both, roots, m)``
    that writes what is to be transformed."""
    code = Code()
    bases = [f"%b{k}" for k in range(form.pointers // 2)]
    end = code.sub("%m", unit.width)
    count = code.add("%m", 1)
    with code.loop("0", "%m", unit.width) as k:
        k = code.least(k, end)
        a, b = [
            form.load(code, unit, form.neighbours(code, unit, bases, at))
            for at in (k, code.add(k, "%m"))
        ]
        root = entries(code, unit, "%roots", count, k)
        for value, parts in (
            (add(a, b), ["%re0", "%im0"]),
            (mul(sub(a, b), root), ["%re1", "%im1"]),
        ):
            APART.store(code, unit, APART.neighbours(code, unit, parts, k), value)
    pointers = ", ".join([f"ptr {p}" for p in (*bases, "%re0", "%re1", "%im0", "%im1", "%roots")])
    return code.function(name, f"{pointers}, i64 %m")


def single_rows_fit(target: Array, n: int, unit: Unit) -> bool:
    """Whether rows of this length can be transformed one by one."""
    return target.form.name == WHOLE.name and n % 2 == 0 and rows_fit(unit, n // 2)


def single_rows(
    unit: Unit, source: Array, target: Array, count: int, n: int, scale: float
) -> Routine:
    """Transforms of rows of n elements."""
    m = n // 2
    plan = Rows(unit, m, scale)
    table = half_turn(n, -1, unit.dtype)
    module = Module(unit, [*source.buffers, *plan.tables, table], target.buffers, [])
    code = module.code
    rooms = plan.rooms(module)
    z = plan.parts(module, rooms[1])
    with code.loop("%low", "%high") as line:
        start = code.mul(line, n)
        # Of each array, where the row begins, and half a vector further.
        read, written = [
            module.line(a, start, code.add(start, unit.half)) for a in (source, target)
        ]
        module.call(folded, (source.form,), [*read[::2], *z, module.places[table]], [m])
        braided = Form("braided", target.form.swapped), written
        plan.transform(module, rooms, (APART, z), braided)
    work = nanoseconds(unit, n, count)
    own = (source, target)
    return module.routine("fft of single rows", count, work, plan.scratch, own)
