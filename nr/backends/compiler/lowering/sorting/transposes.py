"""Batches of matrices, transposed: sorts along other dimensions than the last go through them."""

from __future__ import annotations

from nr.backends.compiler.code import KERNEL, Code, arguments, wide
from nr.backends.compiler.loops import ITEMSIZE, Buffer
from nr.backends.compiler.routine import Routine

# Elements of a side of the squares that are transposed in registers.
_SIDE = 16
# Elements of a side of the blocks that are done one after another: on either side, a page of
# memory is met often enough to be worth finding.
_BLOCK = 64
_NS_PER_BYTE = 0.15


def transposed(source: Buffer, target: Buffer, batch: int, rows: int, columns: int) -> Routine:
    """``[batch, rows, columns]`` as ``[batch, columns, rows]``."""
    nbytes = ITEMSIZE[source.dtype]
    groups = -(-columns // _BLOCK)
    work = _NS_PER_BYTE * nbytes * batch * rows * columns
    integers = [rows, columns, groups]
    return Routine("transpose", _text(nbytes), [source], [target], integers, batch * groups, work)


def _text(nbytes: int) -> str:
    code = Code()
    kind = f"i{8 * nbytes}"
    align = min(nbytes, 8)
    x, out, rows, columns, groups = arguments(code, 2, 3)
    side = _SIDE
    vector = wide(kind, side)
    size = code.mul(rows, columns)
    with code.loop("%low", "%high") as unit:
        batch, group = code.divide(unit, groups)
        begin = code.mul(batch, size)
        column = code.mul(group, _BLOCK)
        source = code.at(kind, code.at(kind, x, begin), column)
        target = code.at(kind, code.at(kind, out, begin), code.mul(column, rows))
        here = code.least(code.sub(columns, column), _BLOCK)
        # Whole squares first; then what is left of rows and of columns, one by one.
        wide_, long = code.both(here, -side), code.both(rows, -side)
        with code.loop("0", long, _BLOCK) as block:
            end = code.least(code.add(block, _BLOCK), long)
            with code.loop("0", wide_, side) as first, code.loop(block, end, side) as row:
                corner = code.at(kind, source, code.add(code.mul(row, columns), first))
                lines = []
                for k in range(side):
                    at = code.at(kind, corner, code.mul(columns, k))
                    lines.append(code.load(vector, at, align=align))
                corner = code.at(kind, target, code.add(code.mul(first, rows), row))
                for k, line in enumerate(code.transpose(vector, lines)):
                    at = code.at(kind, corner, code.mul(rows, k))
                    code.store(vector, line, at, align=align)
        for columns_, rows_ in ((("0", here), (long, rows)), ((wide_, here), ("0", long))):
            with code.loop(*columns_) as column, code.loop(*rows_) as row:
                at = code.add(code.mul(row, columns), column)
                value = code.load(kind, code.at(kind, source, at), align=align)
                place = code.at(kind, target, code.add(code.mul(column, rows), row))
                code.store(kind, value, place, align=align)
    return code.function("kernel", KERNEL, internal=False)
