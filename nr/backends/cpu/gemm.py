"""The product of two blocks of matrices in LLVM IR, by one thread.

Blocks of both operands are copied into panels of a few lines, one contracted index after the other,
so that the innermost loop reads memory in order whatever the operands' strides are. Both blocks fit
into the cache of a processor, a panel of the right one into its nearest part, where it stays while
all rows of the left one go by. The loop has a tile of the result in registers: up to 14 rows by two
vectors. (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.)

Each element of the result is a sum in the order of the contracted index, within blocks whose size
depends on that extent alone: so results do not depend on how the product is cut into blocks.
"""

from __future__ import annotations

from nr.backends.compiler.code import Code, wide

# The room of a panel, in lines; contracted indices of a block, at most; and bytes of the panels of
# the left and the right operand.
_LINES = 16
_DEPTH = 256
_LEFT_BYTES = 1 << 17
_RIGHT_BYTES = 1 << 20
# Panels that are copied at a time.
_TOGETHER = 8

_PARAMETERS = (
    "i64 %m, i64 %n, i64 %k, ptr %a, i64 %a.row, i64 %a.step, ptr %b, i64 %b.column, "
    "i64 %b.step, ptr %c, i64 %c.row, ptr %scratch"
)
_PACK_PARAMETERS = "ptr, ptr, i64, i64, i64, i64, i64"


class Tile:
    """The sizes that fit a machine: of its vectors, and of the tile in its registers."""

    def __init__(self, itemsize: int, vector_bytes: int, registers: int) -> None:
        self.itemsize = itemsize
        self.kind = {4: "float", 8: "double"}[itemsize]
        self.lanes = vector_bytes // itemsize
        # Besides the sums: two vectors of the right operand, and one number of the left one.
        self.rows = (registers - 3) // 2
        self.columns = 2 * self.lanes
        self.left_panels = _LEFT_BYTES // (_DEPTH * _LINES * itemsize)
        self.right_panels = _RIGHT_BYTES // (_DEPTH * _LINES * itemsize)

    @property
    def vector(self) -> str:
        """The type of a vector."""
        return wide(self.kind, self.lanes)

    @property
    def panel(self) -> int:
        """Elements from one panel to the next: no multiple of a page, as caches mix these up."""
        return (_DEPTH + 1) * _LINES

    def scratch(self, columns: int) -> int:
        """Bytes of panels that a thread needs, for a result of so many columns."""
        right = min(self.right_panels, -(-columns // self.columns) * -(-self.columns // _LINES))
        return (self.left_panels + right) * self.panel * self.itemsize


def gemm_text(tile: Tile) -> str:
    """The IR of ``void @gemm(...)``, which calls `pack_text`'s function. Strides are in elements.

    Of a and b, either the stride of lines (rows of a, columns of b) or that of steps is 1.
    """
    heights = sorted({tile.rows, max(tile.rows // 2 + 1, 1), max(tile.rows // 4 + 1, 1)})
    declared = f"declare void @pack({_PACK_PARAMETERS})"
    return "\n".join([declared, *[_micro(tile, rows) for rows in heights], _gemm(tile, heights)])


def _below(code: Code, limit: str, lanes: int) -> str:
    """A mask of the lanes whose number is below a limit."""
    count = code.most(code.least(limit, lanes), "0")
    bits = code.sub(code.shift("shl", "1", count), "1")
    return code.op(f"bitcast i{lanes} {code.op(f'trunc i64 {bits} to i{lanes}')} to <{lanes} x i1>")


def _masked_load(code: Code, tile: Tile, place: str, mask: str) -> str:
    v = tile.vector
    return code.op(
        f"call {v} @llvm.masked.load.v{tile.lanes}f{8 * tile.itemsize}.p0(ptr {place}, "
        f"i32 {tile.itemsize}, <{tile.lanes} x i1> {mask}, {v} zeroinitializer)"
    )


def _masked_store(code: Code, tile: Tile, value: str, place: str, mask: str) -> None:
    code.do(
        f"call void @llvm.masked.store.v{tile.lanes}f{8 * tile.itemsize}.p0({tile.vector} {value}, "
        f"ptr {place}, i32 {tile.itemsize}, <{tile.lanes} x i1> {mask})"
    )


# ---------------------------------------------------------------- panels
def pack_text(tile: Tile) -> str:
    """The IR of ``void @pack(...)``, a module of its own, as it takes half of the compilation.

    ``target[panel p, 16 k + l] = source[(height p + l) line + k step]``, for `count` lines. One of
    line and step is 1, and along that memory is read. Beyond a panel's last line there are other
    numbers, for sums that are not stored.
    """
    code = Code()
    kind, lanes, panel = tile.kind, tile.lanes, str(tile.panel)
    panels = code.divide(code.add("%count", code.sub("%height", 1)), "%height")[0]
    beside = code.test("eq", "%line", 1)
    with code.when(beside):
        next_ = code.variable("i64", "0")
        # Some panels at a time, so that pages are met less often.
        for many in (_TOGETHER, 1):
            wanted = code.add(code.mul("%height", many - 1), _LINES)

            def fits(wanted: str = wanted) -> str:
                first = code.mul(next_.get(), "%height")
                return code.test("sle", code.add(first, wanted), "%count")

            with code.repeat_while(fits):
                _copy_lines(code, tile, next_.get(), many, None)
                next_.set(code.add(next_.get(), many))
        with code.loop(next_.get(), panels) as p:
            left = code.sub("%count", code.mul(p, "%height"))
            masks = [_below(code, code.sub(left, g), lanes) for g in range(0, _LINES, lanes)]
            _copy_lines(code, tile, p, 1, masks)
    with code.when(code.op(f"xor i1 {beside}, true")), code.loop("0", panels) as p:
        first, last = code.mul(p, "%height"), code.sub("%count", 1)
        lines = [
            code.at(kind, "%source", code.mul(code.least(code.add(first, i), last), "%line"))
            for i in range(_LINES)
        ]
        target = code.at(kind, "%target", code.mul(p, panel))
        with code.loop("0", "%depth", lanes) as step:
            known = _below(code, code.sub("%depth", step), lanes)
            _transpose(code, tile, lines, target, step, known)
    return code.function(
        "pack",
        "ptr %target, ptr %source, i64 %line, i64 %step, i64 %count, i64 %height, i64 %depth",
        internal=False,
    )


def _copy_lines(code: Code, tile: Tile, p: str, many: int, masks: list[str] | None) -> None:
    """Panels whose lines are beside each other in memory: all contracted indices of them."""
    kind, align = tile.kind, tile.itemsize
    source = code.at(kind, "%source", code.mul(p, "%height"))
    target = code.at(kind, "%target", code.mul(p, str(tile.panel)))
    with code.loop("0", "%depth") as step:
        start = code.at(kind, source, code.mul(step, "%step"))
        row = code.at(kind, target, code.mul(step, _LINES))
        for i in range(many):
            from_ = code.at(kind, start, code.mul("%height", i))
            for j, g in enumerate(range(0, _LINES, tile.lanes)):
                place = code.at(kind, from_, str(g))
                if masks is None:
                    value = code.load(tile.vector, place, align=align)
                else:
                    value = _masked_load(code, tile, place, masks[j])
                place = code.at(kind, row, str(i * tile.panel + g))
                code.store(tile.vector, value, place, align=align)


def _transpose(code: Code, tile: Tile, lines: list[str], target: str, step: str, mask: str) -> None:
    """A vector's worth of contracted indices of a panel whose lines are contiguous."""
    lanes, vector, align = tile.lanes, tile.vector, tile.itemsize
    row = code.at(tile.kind, target, code.mul(step, _LINES))
    for g in range(0, _LINES, lanes):
        rows = [
            _masked_load(code, tile, code.at(tile.kind, line, step), mask)
            for line in lines[g : g + lanes]
        ]
        for i, value in enumerate(code.transpose(vector, rows)):
            place = code.at(tile.kind, row, str(i * _LINES + g))
            code.store(vector, value, place, align=align)


# ---------------------------------------------------------------- a tile
def _micro(tile: Tile, rows: int) -> str:
    """A tile of the result: the sum over a block, which is added to what is there, or not."""
    code = Code()
    kind, lanes, vector = tile.kind, tile.lanes, tile.vector
    align = tile.itemsize
    sums = [[code.variable(vector, "zeroinitializer") for _ in range(2)] for _ in range(rows)]
    fma = f"fmuladd.v{lanes}f{8 * tile.itemsize}"
    # The result's lines come from memory while the sums are computed.
    for i in range(rows):
        line = code.at(kind, "%c", code.mul("%c.row", i))
        for j in range(0, tile.columns * tile.itemsize, 64):
            place = code.at("i8", line, str(j))
            code.do(f"call void @llvm.prefetch.p0(ptr {place}, i32 1, i32 3, i32 1)")
    with code.loop("0", "%depth") as step:
        offset = code.mul(step, _LINES)
        right = [code.load(vector, code.at(kind, b, offset), align=align) for b in ("%b0", "%b1")]
        left = code.at(kind, "%a", offset)
        for i, row in enumerate(sums):
            value = code.splat(code.load(kind, left, str(i)), kind, lanes)
            for total, b in zip(row, right):
                arguments = f"{vector} {value}, {vector} {b}, {vector} {total.get()}"
                total.set(code.op(f"call {vector} @llvm.{fma}({arguments})"))
    masks = [_below(code, code.sub("%columns", j), lanes) for j in (0, lanes)]
    for how in ("eq", "ne"):  # the first block's sums are stored, others are added
        with code.when(code.test(how, "%more", 0)):
            for i, row in enumerate(sums):
                with code.when(code.test("sgt", "%rows", i)):
                    line = code.at(kind, "%c", code.mul("%c.row", i))
                    for j, (total, mask) in enumerate(zip(row, masks)):
                        place = code.at(kind, line, str(j * lanes))
                        value = total.get()
                        if how == "ne":
                            old = _masked_load(code, tile, place, mask)
                            value = code.op(f"fadd {vector} {old}, {value}")
                        _masked_store(code, tile, value, place, mask)
    return code.function(
        f"micro{rows}",
        "i64 %depth, ptr %a, ptr %b0, ptr %b1, ptr %c, i64 %c.row, i64 %rows, i64 %columns, "
        "i64 %more",
    )


# ---------------------------------------------------------------- all of them
def _gemm(tile: Tile, heights: list[int]) -> str:
    code = Code()
    kind, lanes, panel = tile.kind, tile.lanes, tile.panel
    left = "%scratch"
    right = code.at(kind, "%scratch", str(tile.left_panels * panel))
    # Blocks of the contracted index are about equal, and whole vectors.
    blocks = code.divide(code.add("%k", _DEPTH - 1), _DEPTH)[0]
    even = code.divide(code.add("%k", code.sub(blocks, 1)), blocks)[0]
    depth = code.both(code.add(even, lanes - 1), -lanes)
    rows, columns = tile.left_panels * tile.rows, tile.right_panels * _LINES
    with code.loop("0", "%n", columns) as n0, code.loop("0", "%k", depth) as k0:
        ns, ks = code.least(code.sub("%n", n0), columns), code.least(code.sub("%k", k0), depth)
        source = code.at(kind, "%b", code.mul(n0, "%b.column"))
        source = code.at(kind, source, code.mul(k0, "%b.step"))
        code.do(
            f"call void @pack(ptr {right}, ptr {source}, i64 %b.column, i64 %b.step, i64 {ns}, "
            f"i64 {_LINES}, i64 {ks})"
        )
        with code.loop("0", "%m", rows) as m0:
            ms = code.least(code.sub("%m", m0), rows)
            source = code.at(kind, "%a", code.mul(m0, "%a.row"))
            source = code.at(kind, source, code.mul(k0, "%a.step"))
            code.do(
                f"call void @pack(ptr {left}, ptr {source}, i64 %a.row, i64 %a.step, i64 {ms}, "
                f"i64 {tile.rows}, i64 {ks})"
            )
            with code.loop("0", ns, tile.columns) as j, code.loop("0", ms, tile.rows) as i:
                a = code.at(kind, left, code.mul(code.divide(i, tile.rows)[0], panel))
                whole, rest = code.divide(j, _LINES)
                b = code.at(kind, right, code.add(code.mul(whole, panel), rest))
                second = code.at(kind, b, str(panel if lanes == _LINES else lanes))
                row = code.mul(code.add(m0, i), "%c.row")
                c = code.at(kind, "%c", code.add(row, code.add(n0, j)))
                left_rows, left_columns = code.sub(ms, i), code.sub(ns, j)
                below = "0"
                for height in heights:
                    fits = code.test("sle", left_rows, height)
                    if height == tile.rows:
                        fits = "true"
                    above = code.test("sgt", left_rows, below)
                    with code.when(code.op(f"and i1 {fits}, {above}")):
                        code.do(
                            f"call void @micro{height}(i64 {ks}, ptr {a}, ptr {b}, ptr {second}, "
                            f"ptr {c}, i64 %c.row, i64 {left_rows}, i64 {left_columns}, i64 {k0})"
                        )
                    below = str(height)
    return code.function("gemm", _PARAMETERS)
