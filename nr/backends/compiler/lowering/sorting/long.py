"""Long rows: parts of them are sorted side by side, then merged, each merge in pieces of one size.

What is done does not depend on how many threads do it. A piece of a merge finds where it begins in
either run by binary search (Odeh et al., "Merge path", 2012).
"""

from __future__ import annotations

from collections.abc import Sequence

from nr.backends.compiler.lowering.sorting.code import Code
from nr.backends.compiler.lowering.sorting.keys import (
    Digit,
    any_lane,
    bits_of,
    is_float,
    mend_function,
)
from nr.backends.compiler.lowering.sorting.networks import Heads, Network, Words, declarations
from nr.backends.compiler.lowering.sorting.rows import (
    KERNEL,
    Payload,
    arguments,
    call_sort,
    decode,
    encode,
    encode_digit,
    fill,
    gather_payloads,
    module,
    no_specials,
    payload_kind,
    place_at,
    place_of,
)


class _Chunk:
    """Which part of which row a unit is."""

    def __init__(self, code: Code, unit: str, n: str, chunks: str, size: str) -> None:
        self.row, chunk = code.divide(unit, chunks)
        self.first = code.mul(chunk, size)
        # Of a short row with many chunks, the last may be empty.
        self.count = code.most(code.least(code.sub(n, self.first), size), 0)
        self.begin = code.add(code.mul(self.row, n), self.first)


def chunk_values_text(words: Words, dtype: str) -> str:
    """Sorts chunks of rows. Arguments: x, words, more room for words, flags for floats; n, chunks
    of a row, runs, length of a run."""
    code = Code()
    floats = is_float(dtype)
    x, a, b, *flags, n, chunks, runs, length = arguments(code, 3 + floats, 4)
    size = code.mul(runs, length)
    with code.loop("%low", "%high") as unit:
        chunk = _Chunk(code, unit, n, chunks, size)
        at = code.mul(unit, size)
        target, other = code.at(words.kind, a, at), code.at(words.kind, b, at)
        source = code.at(f"i{bits_of(dtype)}", x, chunk.begin)
        special = no_specials(code, words) if floats else None
        fill(code, words, target, chunk.count, size)
        encode(code, words, dtype, source, chunk.count, target, special)
        call_sort(code, target, other, runs, length)
        if special is not None:
            found = any_lane(code, special.get(), words.width)
            code.store("i8", code.op(f"zext i1 {found} to i8"), flags[0], unit)
    return module(words, code.function("kernel", KERNEL, internal=False))


def chunk_digits_text(
    words: Words, digit: Digit, nbytes: int, ordered: bool, *, descending: bool = False
) -> str:
    """Sorts chunks of rows by a digit. Arguments: the array, for `ordered` the places of the
    elements by the digits before, words, more room; n, chunks of a row, runs, length of a run."""
    code = Code()
    x, *order, a, b, n, chunks, runs, length = arguments(code, 3 + ordered, 4)
    size = code.mul(runs, length)
    with code.loop("%low", "%high") as unit:
        chunk = _Chunk(code, unit, n, chunks, size)
        at = code.mul(unit, size)
        target, other = code.at(words.kind, a, at), code.at(words.kind, b, at)
        kind = f"i{8 * nbytes}"
        fill(code, words, target, chunk.count, size)
        if ordered:
            row = code.at(kind, x, code.mul(chunk.row, n))
            places = code.at("i32", order[0], chunk.begin)
            encode_digit(
                code, words, digit, row, chunk.first, chunk.count, target, places,
                descending=descending,
            )  # fmt: skip
        else:
            part = code.at(kind, x, chunk.begin)
            encode_digit(
                code, words, digit, part, chunk.first, chunk.count, target, descending=descending
            )
        call_sort(code, target, other, runs, length)
    return module(words, code.function("kernel", KERNEL, internal=False))


# ------------------------------------------------------------------------------ merges
def merge_text(words: Words) -> str:
    """Merges pairs of runs that lie one after the other, two pieces a unit. Arguments: the words,
    the merged words; length of a run, length of a piece."""
    code = Code()
    net, kind, width = Network(code, words), words.kind, words.width
    source, target, length, piece = arguments(code, 2, 2)
    per, _ = code.divide(length, piece)
    room = code.add(piece, 2 * width)
    with code.loop("%low", "%high") as unit:
        pair, part = code.divide(unit, per)
        begin = code.mul(pair, code.add(length, length))
        a = code.at(kind, source, begin)
        b = code.at(kind, a, length)
        bounds = [code.mul(part, code.add(piece, piece))]
        bounds += [code.add(bounds[0], piece), code.add(bounds[0], code.add(piece, piece))]
        ranks = [
            code.op(f"call i64 @rank(ptr {a}, ptr {b}, i64 {length}, i64 {s})") for s in bounds
        ]
        out = code.at(kind, target, code.add(begin, bounds[0]))
        chains = []
        for k in range(2):
            pieces = []
            lows = (ranks[k], code.sub(bounds[k], ranks[k]))
            highs = (ranks[k + 1], code.sub(bounds[k + 1], ranks[k + 1]))
            for j, (run, low, high) in enumerate(zip((a, b), lows, highs, strict=True)):
                place = code.at(kind, "%scratch", code.mul(room, 2 * k + j))
                count = code.sub(high, low)
                with code.loop("0", count, width) as i:
                    net.store(net.load(code.at(kind, run, low), i), place, i)
                end = code.at(kind, place, count)
                net.store(words.last, end)
                net.store(words.last, end, str(width))
                pieces.append((place, end))
            (x, _), (y, end) = pieces
            to = code.at(kind, out, code.mul(piece, k))
            lower, carry = net.merge(net.load(x), net.load(y))
            net.store(lower, to)
            heads = Heads(net, *[code.at(kind, p, str(width)) for p in (x, y)])
            heads.carry.set(carry)
            chains.append((heads, code.op(f"ptrtoint ptr {end} to i64"), to))
        with code.loop(width, piece, width) as i:
            for heads, end, to in chains:
                lower, carry = net.merge(heads.carry.get(), heads.next(end))
                net.store(lower, to, i)
                heads.carry.set(carry)
    kernel = code.function("kernel", KERNEL, internal=False)
    return "\n".join([declarations(words), _rank_function(words), kernel])


def _rank_function(words: Words) -> str:
    """``i64 @rank(ptr a, ptr b, i64 n, i64 s)``: how many of the first s words of two merged runs
    are the first run's."""
    code = Code()
    low = code.variable("i64", code.most(code.sub("%s", "%n"), 0))
    high = code.variable("i64", code.least("%s", "%n"))
    with code.repeat_while(lambda: code.test("slt", low.get(), high.get())):
        middle = code.shift("lshr", code.add(low.get(), high.get()), 1)
        other = code.sub(code.sub("%s", 1), middle)
        x, y = code.load(words.kind, "%a", middle), code.load(words.kind, "%b", other)
        less = code.test("ult", x, y, words.kind)
        low.set(code.choose(less, code.add(middle, 1), low.get()))
        high.set(code.choose(less, high.get(), middle))
    code.do(f"ret i64 {low.get()}")
    return code.function("rank", "ptr %a, ptr %b, i64 %n, i64 %s", "i64")


# ------------------------------------------------------------------------------ what is wanted
def decode_text(words: Words, dtype: str) -> str:
    """Elements of words. Arguments: the words, out; n, words of a row, elements of a piece,
    pieces of a row."""
    code = Code()
    source, out, n, total, piece, pieces = arguments(code, 2, 4)
    with code.loop("%low", "%high") as unit:
        part = _Chunk(code, unit, n, pieces, piece)
        at = code.add(code.mul(part.row, total), part.first)
        target = code.at(f"i{bits_of(dtype)}", out, part.begin)
        decode(code, words, dtype, code.at(words.kind, source, at), part.count, target)
    return code.function("kernel", KERNEL, internal=False)


def mend_text(words: Words, dtype: str) -> str:
    """Zeros and NaNs in the order of the operand. Arguments: flags, x, out; n, chunks of a row."""
    code = Code()
    kind = f"i{bits_of(dtype)}"
    flags, x, out, n, chunks = arguments(code, 3, 2)
    with code.loop("%low", "%high") as row:
        found = code.variable("i8", "0")
        with code.loop("0", chunks) as i:
            flag = code.load("i8", flags, code.add(code.mul(row, chunks), i))
            found.set(code.either(found.get(), flag, "i8"))
        with code.when(code.test("ne", found.get(), 0, "i8")):
            begin = code.mul(row, n)
            source, target = code.at(kind, x, begin), code.at(kind, out, begin)
            code.do(f"call void @mend(ptr {source}, ptr {target}, i64 {n}, i64 1)")
    kernel = code.function("kernel", KERNEL, internal=False)
    return "\n".join([declarations(words), mend_function(dtype), kernel])


def gather_text(words: Words, payloads: Sequence[Payload], ordered: bool) -> str:
    """Elements in the order of words. Arguments: the words, for `ordered` the places that the
    words' places are of; payloads that do not count; results; n, how many of a sorted row are
    wanted, words of a row, elements of a piece, pieces of what is wanted of a row."""
    code = Code()
    read = [p for p in payloads if not p.counts]
    pointers = 1 + ordered + len(read) + len(payloads)
    source, *arrays, n, wanted, total, piece, pieces = arguments(code, pointers, 5)
    with code.loop("%low", "%high") as unit:
        part = _Chunk(code, unit, wanted, pieces, piece)
        row = code.mul(part.row, n)
        row_words = code.at(words.kind, source, code.mul(part.row, total))
        rest = arrays
        order = None
        if ordered:
            order, rest = code.at("i32", arrays[0], row), arrays[1:]
        kinds = [payload_kind(p) for p in (*read, *payloads)]
        begins = [row] * len(read) + [code.mul(part.row, wanted)] * len(payloads)
        rows = [code.at(*each) for each in zip(kinds, rest, begins, strict=True)]
        sources = iter(rows[: len(read)])
        inputs = ["" if p.counts else next(sources) for p in payloads]

        def place(i: str, source: str = row_words, order: str | None = order) -> str:
            at = place_of(code, words, source, i)
            return at if order is None else place_at(code, order, at)

        last = code.add(part.first, part.count)
        gather_payloads(code, payloads, inputs, rows[len(read) :], part.first, last, place)
    return code.function("kernel", KERNEL, internal=False)
