"""Long rows: parts of them are sorted side by side, then merged, each merge in pieces of one size.

What is done does not depend on how many threads do it. A piece of a merge finds where it begins in
either run by binary search (Odeh et al., "Merge path", 2012).
"""

from __future__ import annotations

from collections.abc import Sequence

from nr.backends.compiler.code import KERNEL, Code, arguments
from nr.backends.compiler.lowering.sorting.keys import (
    Digit,
    any_lane,
    bits_of,
    is_float,
    mend_function,
)
from nr.backends.compiler.lowering.sorting.networks import Heads, Network, Words, declarations
from nr.backends.compiler.lowering.sorting.rows import (
    Payload,
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
    source, target, length, piece = arguments(code, 2, 2)
    with code.loop("%low", "%high") as unit:
        pair, first = _pieces(code, unit, length, piece)
        at = code.add(code.mul(pair, code.add(length, length)), first)
        out = code.at(words.kind, target, at)
        _merge_pieces(code, words, source, out, pair, first, length, piece)
    return _merges(code, words)


def merge_values_text(words: Words, dtype: str) -> str:
    """The last merge, of words that are elements. Arguments: the words, out; n, length of a run,
    length of a piece."""
    code = Code()
    source, target, n, length, piece = arguments(code, 2, 3)
    merged = _merged(code, words, piece)
    with code.loop("%low", "%high") as unit:
        row, first = _pieces(code, unit, length, piece)
        _merge_pieces(code, words, source, merged, row, first, length, piece)
        count = code.most(code.least(code.sub(n, first), code.add(piece, piece)), 0)
        out = code.at(f"i{bits_of(dtype)}", target, code.add(code.mul(row, n), first))
        decode(code, words, dtype, merged, count, out)
    return _merges(code, words)


def merge_order_text(words: Words, payloads: Sequence[Payload], ordered: bool) -> str:
    """The last merge, of words with places. Arguments: the words, for `ordered` the places that
    the words' places are of; payloads that do not count; results; n, how many of a sorted row are
    wanted, length of a run, length of a piece."""
    code = Code()
    read = [p for p in payloads if not p.counts]
    source, *arrays, n, wanted, length, piece = arguments(
        code, 1 + ordered + len(read) + len(payloads), 4
    )
    merged = _merged(code, words, piece)
    with code.loop("%low", "%high") as unit:
        row, first = _pieces(code, unit, length, piece)
        _merge_pieces(code, words, source, merged, row, first, length, piece)
        count = code.most(code.least(code.sub(wanted, first), code.add(piece, piece)), 0)
        begin, out = code.mul(row, n), code.add(code.mul(row, wanted), first)
        kinds = ["i32"] * ordered + [payload_kind(p) for p in (*read, *payloads)]
        begins = [begin] * (ordered + len(read)) + [out] * len(payloads)
        rows = [code.at(*each) for each in zip(kinds, arrays, begins, strict=True)]
        order = rows.pop(0) if ordered else None
        sources = iter(rows[: len(read)])
        inputs = ["" if p.counts else next(sources) for p in payloads]

        def place(i: str, order: str | None = order) -> str:
            at = place_of(code, words, merged, i)
            return at if order is None else place_at(code, order, at)

        gather_payloads(code, payloads, inputs, rows[len(read) :], "0", count, place)
    return _merges(code, words)


def merge_scratch(words: Words, piece: int) -> int:
    """The bytes of scratch for merges in pieces of a length: of two pieces, and their runs."""
    return (6 * piece + 8 * words.width) * words.nbytes


def _merges(code: Code, words: Words) -> str:
    kernel = code.function("kernel", KERNEL, internal=False)
    return "\n".join([declarations(words), _rank_function(words), kernel])


def _merged(code: Code, words: Words, piece: str) -> str:
    """Where in scratch the words of two merged pieces lie, if they don't go elsewhere."""
    room = code.add(piece, 2 * words.width)
    return code.at(words.kind, "%scratch", code.mul(room, 4))


def _pieces(code: Code, unit: str, length: str, piece: str) -> tuple[str, str]:
    """Which pair of runs a unit merges, and from which merged word on."""
    per, _ = code.divide(length, piece)
    pair, part = code.divide(unit, per)
    return pair, code.mul(part, code.add(piece, piece))


def _merge_pieces(
    code: Code, words: Words, source: str, out: str, pair: str, first: str, length: str,
    piece: str,
) -> None:  # fmt: skip
    """Merges the two pieces of a unit.

    A piece may read on in the runs, for what comes later is not less. Near the ends of runs, what
    is needed of them is copied to scratch first, with the greatest word behind it.
    """
    net, kind, width = Network(code, words), words.kind, words.width
    room = code.add(piece, 2 * width)
    a = code.at(kind, source, code.mul(pair, code.add(length, length)))
    b = code.at(kind, a, length)
    bounds = [first, code.add(first, piece)]
    bounds.append(code.add(bounds[1], piece))
    ranks = [code.op(f"call i64 @rank(ptr {a}, ptr {b}, i64 {length}, i64 {s})") for s in bounds]
    last = code.most(ranks[2], code.sub(bounds[2], ranks[2]))
    near = code.test("sgt", code.add(last, 2 * width), length)
    chains = []
    for k in range(2):
        parts = []
        lows = (ranks[k], code.sub(bounds[k], ranks[k]))
        highs = (ranks[k + 1], code.sub(bounds[k + 1], ranks[k + 1]))
        for j, (run, low, high) in enumerate(zip((a, b), lows, highs, strict=True)):
            place = code.at(kind, "%scratch", code.mul(room, 2 * k + j))
            count = code.choose(near, code.sub(high, low), "0")
            begin = code.at(kind, run, low)
            with code.loop("0", count, width) as i:
                net.store(net.load(begin, i), place, i)
            end = code.at(kind, place, count)
            net.store(words.last, end)
            net.store(words.last, end, str(width))
            end = code.choose(near, code.op(f"ptrtoint ptr {end} to i64"), "-1")
            parts.append((code.choose(near, place, begin, "ptr"), end))
        (x, _), (y, end) = parts
        to = code.at(kind, out, code.mul(piece, k))
        lower, carry = net.merge(net.load(x), net.load(y))
        net.store(lower, to)
        heads = Heads(net, *[code.at(kind, p, str(width)) for p in (x, y)])
        heads.carry.set(carry)
        chains.append((heads, end, to))
    with code.loop(width, piece, width) as i:
        for heads, end, to in chains:
            lower, carry = net.merge(heads.carry.get(), heads.next(end))
            net.store(lower, to, i)
            heads.carry.set(carry)


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


# ------------------------------------------------------------------------------ zeros and NaNs
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
