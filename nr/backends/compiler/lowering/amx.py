"""Products of half floats by the matrix unit of some processors (Intel's AMX).

Its instruction takes a tile of 16 rows of 32 numbers and one of 32 rows of 16 columns, and adds
their product to a tile of float32. Four tiles of results are computed at a time, so that each tile
that is read serves twice. Right operands are *packed* before: panels of 16 columns, in which 32
rows after another are a tile, two rows side by side. Left operands are read where they lie, if
tiles can be; else they are packed, too: panels of 16 rows.

Processors that have dot products of pairs instead take the same packed operands.

Source: Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 1, chapter
18, and TDPBF16PS in volume 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache

from nr.backends.compiler.code import KERNEL, Code, arguments, every, numbers
from nr.backends.compiler.loops import ITEMSIZE, Buffer
from nr.backends.compiler.routine import Routine

# Rows of a tile, and how many numbers of bfloat16 are in a row; bytes of a row and of a tile.
SIDE, DEPTH = 16, 32
_ROW = 64
_TILE = SIDE * _ROW
# Panels that are packed together: what is read for them are whole lines of the cache.
_PANELS = 4
_BATCH_DIMS = 3
# How many words of a product's arguments are about its left operand.
_WORDS = 6 + _BATCH_DIMS
# Nanoseconds of a multiplication, by tiles and by dot products of pairs, and of a packed number.
_NS, _DOT_NS, _PACK_NS = 1e-3, 1e-2, 0.1
# What a unit reads of its right operand stays in cache (such processors have 2 MiB each); its work
# is worth sharing out.
_BLOCK_BYTES = 1 << 20
_FEWEST_NS, _MOST_UNITS = 4000, 32

# The instruction that takes the place of those of tiles, and how many rows it is given at a time.
DOT = "avx512bf16.dpbf16ps.512"
_DOT_ROWS = 8
_PAIRS = "<32 x bfloat>"
_DECLARED = """
declare void @llvm.x86.ldtilecfg(ptr)
declare void @llvm.x86.tilerelease()
declare void @llvm.x86.tilezero(i8 immarg)
declare void @llvm.x86.tileloadd64(i8 immarg, ptr, i64)
declare void @llvm.x86.tilestored64(i8 immarg, ptr, i64)
"""


def is_worth(instruction: str, k: int, columns: int) -> bool:
    """Whether products of so many contracted numbers and columns are faster than float32's, tiles
    being filled up: dot products of pairs only do twice as much."""
    whole = -(-k // DEPTH) * DEPTH * -(-columns // DEPTH) * DEPTH
    return instruction != DOT or 2 * k * columns >= whole


@dataclass(frozen=True, slots=True)
class Left:
    """Where the rows of a left operand are, in elements: it begins at `offset`, and there are
    `line` from line to line, `row` from row to row, and `moves` along batch dimensions. If it is
    packed (`tiles` a panel), a line is all there is."""

    buffer: Buffer
    offset: int
    line: int
    row: int
    moves: tuple[int, ...] = ()
    tiles: int = 0

    def words(self, width: int) -> list[int]:
        """What the product's function is told, for lines of some rows: offset, the last row that a
        tile begins at, and the distances between lines, rows that tiles begin at, rows, and tiles
        along k; then those of batches. In bytes."""
        if self.tiles:
            apart, row, step, limit = self.tiles * _ROW, _ROW, _TILE, width
        else:
            apart, row, step, limit = 2 * self.row, 2 * self.row, _ROW, max(width - SIDE, 0)
        moves = [2 * s for s in _padded(self.moves, 0)]
        return [2 * self.offset, limit, 2 * self.line, apart, row, step, *moves]


@dataclass(frozen=True, slots=True)
class Window:
    """The numbers of a row: runs of `run` tiles at taps of two loops: how many, and how far they
    are apart in either operand."""

    run: int
    outer: tuple[int, int, int] = (1, 0, 0)
    inner: tuple[int, int, int] = (1, 0, 0)


@dataclass(frozen=True, slots=True)
class Result:
    """Where results go: `n` columns, of which `lines` lines of `width` rows. In elements."""

    buffer: Buffer
    n: int
    lines: int
    width: int
    line: int
    row: int
    moves: tuple[int, ...] = ()


def _padded(values: Sequence[int], fill: int) -> list[int]:
    return [fill] * (_BATCH_DIMS - len(values)) + list(values)


# ------------------------------------------------------------------------------ packing
@dataclass(slots=True)
class Packed:
    """An operand as tiles: [matrices, panels, tiles of a panel] of them."""

    buffer: Buffer
    panels: int
    tiles: int
    strides: tuple[int, ...]  # of batch dimensions
    steps: list[Routine] = field(default_factory=list)


def pack(
    source: Buffer, offset: int, lines: int, k: int, strides: tuple[int, int],
    batch: tuple[tuple[int, int], ...], *, left: bool, unless_aligned: bool = False,
) -> Packed:  # fmt: skip
    """Pack an operand.

    Args:
        source: Where it lies.
        offset: Where it begins there, in elements.
        lines: How many rows a left operand has, or columns a right one.
        k: The contracted extent.
        strides: From line to line, and along k; one of them is 1.
        batch: Extent and stride of batch dimensions; where the stride is 0, matrices are the same.
        left: Whether it is the left operand.
        unless_aligned: Whether to do nothing where the operand begins at a multiple of 64 bytes.
    """
    assert 1 in strides, "prepare() has made the operands such that one stride is 1"
    panels, tiles = -(-lines // SIDE), -(-k // DEPTH)
    one = panels * tiles * SIDE * DEPTH
    kept = [(n, s) for n, s in batch if s]
    matrices, places = 1, []
    for n, s in reversed(batch):
        places.append(one * matrices if s else 0)
        matrices *= n if s else 1
    target = Buffer("packed", source.dtype, one * matrices)
    by_lines = strides[1] == 1 and (strides[0] != 1 or k >= lines)
    groups = -(-panels // _PANELS)
    numbers_ = [
        int(unless_aligned), offset, lines, k, strides[0] if by_lines else strides[1], panels,
        tiles, groups,
        *_padded([n for n, _ in kept], 1)[1:], *_padded([s for _, s in kept], 0),
    ]  # fmt: skip
    step = Routine(
        "pack", _pack_text(by_lines, by_lines != left), [source], [target], numbers_,
        matrices * groups, matrices * lines * k * _PACK_NS,
    )  # fmt: skip
    return Packed(target, panels, tiles, tuple(reversed(places)), [step])


def _is_aligned(code: Code, base: str, offset: str) -> str:
    """Whether rows of tiles, some bytes from an address, are lines of the cache."""
    address = code.add(code.op(f"ptrtoint ptr {base} to i64"), offset)
    return code.test("eq", code.both(address, _ROW - 1), 0)


def _moved(code: Code, indices: Sequence[str], by: Sequence[str]) -> str:
    """How far it is to a matrix of a batch."""
    parts = [code.mul(i, s) for i, s in zip(indices, by, strict=True)]
    return code.add(code.add(parts[0], parts[1]), parts[2])


def _first(code: Code, count: str, kind: str) -> str:
    """The mask of so many of 32 lanes; `kind` is the type they are compared as."""
    some = code.splat(code.op(f"trunc i64 {count} to {kind}"), kind, DEPTH)
    return code.op(f"icmp slt <{DEPTH} x {kind}> {numbers(kind, range(DEPTH))}, {some}")


@cache
def _pack_text(by_lines: bool, transposed: bool) -> str:
    """Units are groups of panels. `by_lines`: lines, else numbers along k, are contiguous."""
    code = Code()
    source, target, never, offset, lines, k, stride, panels, tiles, groups, e1, e2, *moves = (
        arguments(code, 2, 13)
    )
    vector, mask = f"<{DEPTH} x i16>", f"<{DEPTH} x i1>"
    half = f"<{SIDE} x i16>"

    def read(at: str, chosen: str | None) -> str:
        if chosen is None:
            return code.load(vector, at, align=2)
        return code.op(
            f"call {vector} @llvm.masked.load.v{DEPTH}i16(ptr align 2 {at}, {mask} {chosen}, "
            f"{vector} zeroinitializer)"
        )

    def write(words: list[str], out: str) -> None:
        kind = f"<{SIDE} x i32>"
        for r, word in enumerate(code.transpose(kind, words) if transposed else words):
            code.store(kind, word, code.at("i8", out, str(r * _ROW)), align=4)

    def tile(corner: str, out: str, line: str, depth: str, whole: bool) -> None:
        """One tile, or two side by side where lines are contiguous, of the lines and of the
        numbers along k that are left."""
        rows, chosen = [], None
        if not whole:
            chosen = _first(code, code.least(depth if by_lines else line, DEPTH), "i16")
        for r in range(SIDE if by_lines else DEPTH):
            at = code.at("i16", corner, code.mul(stride, r))
            here = chosen
            if not whole:
                inside = code.test("sgt", line if by_lines else depth, r)
                here = code.op(f"select i1 {inside}, {mask} {chosen}, {mask} zeroinitializer")
            rows.append(read(at, here))
        if by_lines:
            write([code.op(f"bitcast {vector} {row} to <16 x i32>") for row in rows], out)
            return

        def pairs(panel: int) -> list[str]:
            """Two rows side by side, of one panel."""
            lanes = range(SIDE * panel, SIDE * panel + SIDE)
            parts = [code.shuffle(vector, row, row, lanes) for row in rows]
            both = [code.op(f"zext {half} {part} to <16 x i32>") for part in parts]
            high = [code.shift("shl", x, every("i32", 16, 16), "<16 x i32>") for x in both[1::2]]
            merged = zip(both[::2], high, strict=True)
            return [code.either(x, y, "<16 x i32>") for x, y in merged]

        write(pairs(0), out)
        with code.when(code.test("sgt", line, SIDE)):
            write(pairs(1), code.at("i8", out, code.mul(tiles, _TILE)))

    skipped = code.both(_is_aligned(code, source, code.mul(offset, 2)), "true", "i1")
    skipped = code.both(skipped, code.test("ne", never, 0), "i1")
    with code.loop(code.choose(skipped, "%high", "%low"), "%high") as unit:
        batch, group = code.divide(unit, groups)
        rest, i2 = code.divide(batch, e2)
        i0, i1 = code.divide(rest, e1)
        begin = code.add(_moved(code, (i0, i1, i2), moves), offset)
        low = code.mul(group, _PANELS)
        high = code.least(code.add(low, _PANELS), panels)
        base = code.mul(batch, panels)
        # Blocks of some depth, so that what lies side by side in memory is read together.
        with code.loop("0", tiles, 8) as block:
            deep = code.least(code.add(block, 8), tiles)
            step = 1 if by_lines else 2
            with code.loop(low, high, step) as panel, code.loop(block, deep) as t:
                line, depth = code.mul(panel, SIDE), code.mul(t, DEPTH)
                along, across = (depth, line) if by_lines else (line, depth)
                at = code.add(code.add(begin, along), code.mul(across, stride))
                corner = code.at("i16", source, at)
                place = code.add(code.mul(code.add(base, panel), tiles), t)
                out = code.at("i8", target, code.mul(place, _TILE))
                line, depth = code.sub(lines, line), code.sub(k, depth)
                enough = code.test("sge", line, SIDE * step)
                whole = code.both(enough, code.test("sge", depth, DEPTH), "i1")
                with code.when(whole):
                    tile(corner, out, line, depth, True)
                with code.when(code.differ(whole, "true", "i1")):
                    tile(corner, out, line, depth, False)
    text = code.function("kernel", KERNEL, internal=False)
    return f"{text}\ndeclare {vector} @llvm.masked.load.v{DEPTH}i16(ptr, {mask}, {vector})\n"


# ------------------------------------------------------------------------------ products
def multiply(
    instruction: str, a: Left, otherwise: Left, window: Window, b: Packed, c: Result,
    batch: tuple[int, ...] = (),
) -> Routine:  # fmt: skip
    """The product of a left operand and a packed right one, by an instruction; `otherwise` is read
    instead of `a` where that is not aligned.

    Where a line's rows are no whole tiles, its last tile begins earlier; a line shorter than a tile
    must have memory behind it, or be packed.
    """
    across = -(-c.width // SIDE)
    count = c.lines * across
    pairs = -(-b.panels // 2)
    depth = window.run * window.outer[0] * window.inner[0]
    # What a unit does depends on the shapes only.
    wide = max(min(_BLOCK_BYTES // (2 * depth * _TILE), pairs), 1)
    high = count + count % 2
    each = SIDE * 2 * SIDE * depth * DEPTH  # multiplications of a tile of rows, and a pair
    products = math.prod(batch)
    ns = _DOT_NS if instruction == DOT else _NS
    enough = max(int(_FEWEST_NS / ns), count * pairs * products * each // _MOST_UNITS)
    while high > 2 and high * wide * each > enough:
        high = -(-high // 4) * 2
    while wide > 1 and high * wide * each > enough:
        wide = -(-wide // 2)
    down, along = -(-count // high), -(-pairs // wide)
    size = ITEMSIZE[c.buffer.dtype]
    integers = [
        *a.words(c.width), *otherwise.words(c.width), c.width, across, count,
        window.outer[0], 2 * window.outer[1], 2 * window.outer[2],
        window.inner[0], 2 * window.inner[1], 2 * window.inner[2], window.run,
        size * c.line, size * c.row, c.n, b.panels, b.tiles * _TILE, high, wide, down, along,
        *_padded(batch, 1)[1:], *[2 * s for s in _padded(b.strides, 0)],
        *[size * s for s in _padded(c.moves, 0)],
    ]  # fmt: skip
    kind = a.buffer.dtype
    return Routine(
        f"{kind} product", _product_text(instruction, c.buffer.dtype),
        [a.buffer, otherwise.buffer, b.buffer], [c.buffer], integers, down * along * products,
        ns * count * pairs * each * products, 4 * _TILE,
    )  # fmt: skip


def _configuration() -> str:
    """What tells the unit the tiles' sizes: palette 1, 64 bytes a row, 16 rows."""
    data = bytearray(64)
    data[0] = 1
    for t in range(8):
        data[16 + 2 * t], data[48 + t] = _ROW, SIDE
    text = "".join([f"\\{x:02x}" for x in data])
    return f'@tiles = internal constant [64 x i8] c"{text}", align 64\n'


_Along = Callable[[], AbstractContextManager[tuple[str, str]]]


def _by_tiles(
    code: Code, instruction: str, rows: tuple[str, str], row: str, panels: tuple[str, str],
    along: _Along,
) -> None:  # fmt: skip
    """The products of two tiles of rows and two panels, into scratch: tiles 0 to 3 of the unit."""
    for t in range(4):
        code.do(f"call void @llvm.x86.tilezero(i8 {t})")
    with along() as (a_at, b_at):
        operands = (
            (4, rows[0], a_at, row), (6, panels[0], b_at, str(_ROW)),
            (7, panels[1], b_at, str(_ROW)), (5, rows[1], a_at, row),
        )  # fmt: skip
        for t, base, by, stride in operands:
            source = f"ptr {code.at('i8', base, by)}, i64 {stride}"
            code.do(f"call void @llvm.x86.tileloadd64(i8 {t}, {source})")
        for t in range(4):
            tiles = f"i8 {t}, i8 {4 + t // 2}, i8 {6 + t % 2}"
            code.do(f"call void @llvm.x86.{instruction}({tiles})")
    for t in range(4):
        out = code.at("i8", "%scratch", str(2 * _TILE * (t // 2) + _ROW * (t % 2)))
        code.do(f"call void @llvm.x86.tilestored64(i8 {t}, ptr {out}, i64 {2 * _ROW})")


def _by_dots(
    code: Code, rows: tuple[str, str], row: str, panels: tuple[str, str], along: _Along
) -> None:
    """The same, some rows at a time: a pair of numbers of a row with pairs of all columns."""
    vector = "<16 x float>"
    with code.loop("0", 2 * SIDE, _DOT_ROWS) as first:
        base = code.choose(code.test("slt", first, SIDE), *rows, "ptr")
        base = code.at("i8", base, code.mul(code.both(first, SIDE - 1), row))
        sums = [code.variable(vector, "zeroinitializer") for _ in range(2 * _DOT_ROWS)]
        with along() as (a_at, b_at), code.loop("0", _ROW, 4) as pair:
            there = code.add(b_at, code.mul(pair, _ROW // 4))
            right = [code.load(_PAIRS, code.at("i8", p, there), align=4) for p in panels]
            for r in range(_DOT_ROWS):
                at = code.at("i8", base, code.add(code.add(a_at, pair), code.mul(row, r)))
                left = code.splat(code.load("i32", at, align=2), "i32", SIDE)
                left = code.op(f"bitcast <16 x i32> {left} to {_PAIRS}")
                for total, b in zip(sums[2 * r : 2 * r + 2], right, strict=True):
                    operands = f"{vector} {total.get()}, {_PAIRS} {left}, {_PAIRS} {b}"
                    total.set(code.op(f"call {vector} @llvm.x86.{DOT}({operands})"))
        out = code.at("i8", "%scratch", code.mul(first, 2 * _ROW))
        for k, total in enumerate(sums):
            code.store(vector, total.get(), code.at("i8", out, str(k * _ROW)), align=4)


@cache
def _product_text(instruction: str, dtype: str) -> str:
    """Units are blocks of rows and columns; see `multiply` for the integers."""
    code = Code()
    element, size = {"f32": ("float", 4), "bf16": ("bfloat", 2), "f16": ("half", 2)}[dtype]
    near, far, b, c, near_offset, *words = arguments(code, 4, 2 * _WORDS + 27)
    (
        width, across, count, taps, a_tap, b_tap, steps, a_step_x, b_step_x, run, c_line, c_row, n,
        panels, b_panel, high, wide, down, across_columns, e1, e2, *moves,
    ) = words[2 * _WORDS - 1 :]  # fmt: skip
    aligned = _is_aligned(code, near, near_offset)
    a = code.choose(aligned, near, far, "ptr")
    its_words = code.at("i64", "%args", code.choose(aligned, "4", str(4 + _WORDS)))
    offset, limit, a_line, a_place, a_row, a_step, *a_moves = [
        code.load("i64", its_words, str(k)) for k in range(_WORDS)
    ]
    if instruction != DOT:
        code.do("call void @llvm.x86.ldtilecfg(ptr @tiles)")

    def place(p: str) -> tuple[str, str]:
        """The line of a tile, and its first row there."""
        line, t = code.divide(p, across)
        return line, code.least(code.mul(t, SIDE), limit)

    def address(base: str, p: str) -> str:
        line, row = place(p)
        return code.at("i8", base, code.add(code.mul(line, a_line), code.mul(row, a_place)))

    def write(base: str, p: str, tile: int, column: str, chosen: str) -> None:
        """Some rows of two tiles of results, from scratch to where they belong."""
        line, row = place(p)
        begin = code.add(code.mul(line, c_line), code.mul(row, c_row))
        begin = code.add(begin, code.mul(column, size))
        rows = code.least(code.sub(width, row), SIDE)
        with code.loop("0", rows) as r:
            source = code.at("i8", "%scratch", code.add(code.mul(r, 2 * _ROW), tile * _TILE))
            value = code.load("<32 x float>", source, align=4)
            if dtype != "f32":
                value = code.op(f"fptrunc <32 x float> {value} to <32 x {element}>")
            out = code.at("i8", base, code.add(begin, code.mul(r, c_row)))
            code.do(
                f"call void @llvm.masked.store.v32{dtype}"
                f"(<32 x {element}> {value}, ptr align {size} {out}, <32 x i1> {chosen})"
            )

    with code.loop("%low", "%high") as unit:
        rest, row_block = code.divide(unit, down)
        batch, column_block = code.divide(rest, across_columns)
        rest, i2 = code.divide(batch, e2)
        i0, i1 = code.divide(rest, e1)
        at = (i0, i1, i2)
        a_base = code.at("i8", a, code.add(_moved(code, at, a_moves), offset))
        b_base = code.at("i8", b, _moved(code, at, moves[:_BATCH_DIMS]))
        c_base = code.at("i8", c, _moved(code, at, moves[_BATCH_DIMS:]))
        first = code.mul(row_block, high)
        last = code.least(code.add(first, high), count)
        begin = code.mul(column_block, code.mul(wide, 2))
        end = code.least(code.add(begin, code.mul(wide, 2)), panels)
        with code.loop(first, last, 2) as p, code.loop(begin, end, 2) as panel:
            other = code.least(code.add(panel, 1), code.sub(panels, 1))
            left_panel = code.at("i8", b_base, code.mul(panel, b_panel))
            right_panel = code.at("i8", b_base, code.mul(other, b_panel))
            column = code.mul(panel, SIDE)
            q = code.least(code.add(p, 1), code.sub(count, 1))
            a0, a1 = address(a_base, p), address(a_base, q)

            @contextmanager
            def along() -> Iterator[tuple[str, str]]:
                """For all tiles along k: how far it is to them in either operand."""
                with code.loop("0", taps) as y, code.loop("0", steps) as x:
                    a_at, b_at = [
                        code.variable("i64", code.add(code.mul(y, outer), code.mul(x, inner)))
                        for outer, inner in ((a_tap, a_step_x), (b_tap, b_step_x))
                    ]
                    with code.loop("0", run):
                        yield a_at.get(), b_at.get()
                        a_at.set(code.add(a_at.get(), a_step))
                        b_at.set(code.add(b_at.get(), _TILE))

            if instruction == DOT:
                _by_dots(code, (a0, a1), a_row, (left_panel, right_panel), along)
            else:
                _by_tiles(code, instruction, (a0, a1), a_row, (left_panel, right_panel), along)
            chosen = _first(code, code.least(code.sub(n, column), 2 * SIDE), "i32")
            write(c_base, p, 0, column, chosen)
            with code.when(code.test("sgt", q, p)):
                write(c_base, q, 2, column, chosen)
    declared = f"declare void @llvm.masked.store.v32{dtype}(<32 x {element}>, ptr, <32 x i1>)\n"
    if instruction == DOT:
        declared += f"declare <16 x float> @llvm.x86.{DOT}(<16 x float>, {_PAIRS}, {_PAIRS})\n"
    else:
        code.do("call void @llvm.x86.tilerelease()")
        declared += f"declare void @llvm.x86.{instruction}(i8 immarg, i8 immarg, i8 immarg)\n"
        declared += _configuration() + _DECLARED
    return f"{code.function('kernel', KERNEL, internal=False)}\n{declared}"
