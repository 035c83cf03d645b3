"""Short rows: a lane each, so that one network sorts as many rows as a vector has lanes.

Rows may lie any way: an element of one is some steps from the next. Where neighbouring lanes are
neighbours in memory, they are read and written as vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nr.backends.compiler.code import KERNEL, Code, arguments, numbers, wide
from nr.backends.compiler.lowering.sorting.keys import (
    Digit,
    any_lane,
    bits_of,
    is_float,
    is_special,
    mend_function,
    ordered,
    original,
)
from nr.backends.compiler.lowering.sorting.networks import Network, Words, declarations, network
from nr.backends.compiler.lowering.sorting.rows import Payload, digit_word, payload_kind

# Lengths of networks: a row goes through the next one.
LENGTHS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)


class _Group:
    """The rows of a unit: where each begins, and their elements in and out of vectors."""

    def __init__(self, code: Code, words: Words, unit: str, n: str, inner: str, rows: str) -> None:
        self.code = code
        self.width = words.width
        self.n = n
        self.inner = inner
        self.begins = code.room("i64", words.width)
        first = code.mul(unit, words.width)
        self.count = code.least(code.sub(rows, first), words.width)
        last = code.sub(rows, 1)
        size = code.mul(n, inner)
        for lane in range(words.width):
            row = code.least(code.add(first, lane), last)
            outer, column = code.divide(row, inner)
            code.store("i64", code.add(code.mul(outer, size), column), self.begins, str(lane))
        self.first = code.load("i64", self.begins)
        end = code.load("i64", self.begins, str(words.width - 1))
        near = code.test("eq", code.sub(end, self.first), words.width - 1)
        whole = code.test("eq", self.count, words.width)
        self.together = code.both(near, whole, "i1")
        self.apart = code.differ(self.together, "true", "i1")

    def read(self, kind: str, source: str, room: str) -> None:
        """Elements to memory in which those at one place of all rows are neighbours."""
        code, vector = self.code, wide(kind, self.width)
        nbytes = int(kind[1:]) // 8
        with code.when(self.together):
            begin = code.at(kind, source, self.first)
            with code.loop("0", self.n) as i:
                at = code.at(kind, begin, code.mul(i, self.inner))
                code.store(vector, code.load(vector, at, align=nbytes), room, i)
        with code.when(self.apart), self.lanes(self.width) as (lane, begin):
            row = code.at(kind, source, begin)
            with code.loop("0", self.n) as i:
                value = code.load(kind, row, code.mul(i, self.inner))
                code.store(kind, value, room, code.add(code.mul(i, self.width), lane))

    def write(self, kind: str, room: str, target: str) -> None:
        """Such memory to elements."""
        code, vector = self.code, wide(kind, self.width)
        nbytes = int(kind[1:]) // 8
        with code.when(self.together):
            begin = code.at(kind, target, self.first)
            with code.loop("0", self.n) as i:
                at = code.at(kind, begin, code.mul(i, self.inner))
                code.store(vector, code.load(vector, room, i), at, align=nbytes)
        with code.when(self.apart), self.lanes(self.count) as (lane, begin):
            row = code.at(kind, target, begin)
            with code.loop("0", self.n) as i:
                value = code.load(kind, room, code.add(code.mul(i, self.width), lane))
                code.store(kind, value, row, code.mul(i, self.inner))

    @contextmanager
    def lanes(self, count: str | int) -> Iterator[tuple[str, str]]:
        """A loop over lanes: which, and where its row begins."""
        with self.code.loop("0", count) as lane:
            yield lane, self.code.load("i64", self.begins, lane)


def _sorted(net: Network, rows: list[str]) -> list[str]:
    for i, j in network(len(rows)):
        rows[i], rows[j] = net.order(rows[i], rows[j])
    return rows


def values_text(words: Words, dtype: str, length: int) -> str:
    """Sorts rows of one array, of at most `length` elements. Arguments: x, out; n, elements from
    one of a row to the next, rows."""
    code = Code()
    x, out, n, inner, rows = arguments(code, 2, 3)
    net = Network(code, words)
    kind, vector = f"i{bits_of(dtype)}", wide(f"i{bits_of(dtype)}", words.width)
    room = code.room(vector, length)
    with code.loop("%low", "%high") as unit:
        group = _Group(code, words, unit, n, inner, rows)
        group.read(kind, x, room)
        special = None
        keys = []
        for j in range(length):
            bits = code.load(vector, room, str(j))
            key = ordered(code, bits, dtype, words.width)
            key = code.resize(key, kind, words.kind, words.width)
            inside = code.test("slt", str(j), n)
            keys.append(code.choose(inside, key, words.last, words.vector))
            if is_float(dtype):
                zeros = "zeroinitializer"
                found = is_special(
                    code, code.choose(inside, bits, zeros, vector), dtype, words.width
                )
                mask = wide("i1", words.width)
                special = found if special is None else code.either(special, found, mask)
        for j, key in enumerate(_sorted(net, keys)):
            key = code.resize(key, words.kind, kind, words.width)
            code.store(vector, original(code, key, dtype, words.width), room, str(j))
        group.write(kind, room, out)
        if special is not None:
            with (
                code.when(any_lane(code, special, words.width)),
                group.lanes(group.count) as (_, begin),
            ):
                source, target = code.at(kind, x, begin), code.at(kind, out, begin)
                code.do(f"call void @mend(ptr {source}, ptr {target}, i64 {n}, i64 {inner})")
    mend = [mend_function(dtype)] if is_float(dtype) else []
    kernel = code.function("kernel", KERNEL, internal=False)
    return "\n".join([declarations(words), *mend, kernel])


def order_text(
    words: Words, digit: Digit, payloads: Sequence[Payload], length: int, *,
    descending: bool = False,
) -> str:  # fmt: skip
    """Sorts rows of several arrays by a digit of one, of at most `length` elements. Arguments: the
    key; payloads that do not count; results; n, how many of a sorted row are wanted, elements from
    one of a row to the next, rows."""
    code = Code()
    read = [p for p in payloads if not p.counts]
    pointers = 1 + len(read) + len(payloads)
    x, *arrays, n, wanted, inner, rows = arguments(code, pointers, 4)
    net = Network(code, words)
    width = words.width
    kind, vector = f"i{bits_of(digit.dtype)}", wide(f"i{bits_of(digit.dtype)}", width)
    room, found = code.room(vector, length), code.room(words.vector, length)
    half = f"i{words.bits // 2}"
    with code.loop("%low", "%high") as unit:
        group = _Group(code, words, unit, n, inner, rows)
        results = _Group(code, words, unit, wanted, inner, rows)
        group.read(kind, x, room)
        keys = []
        for j in range(length):
            bits = code.load(vector, room, str(j))
            word = digit_word(code, bits, digit, words, width, descending=descending)
            word = code.either(word, numbers(words.kind, [j] * width), words.vector)
            inside = code.test("slt", str(j), n)
            keys.append(code.choose(inside, word, words.last, words.vector))
        for j, word in enumerate(_sorted(net, keys)):
            code.store(words.vector, word, found, str(j))
        sources, targets = iter(arrays[: len(read)]), arrays[len(read) :]
        for payload, target in zip(payloads, targets, strict=True):
            kind_ = payload_kind(payload)
            align = min(payload.nbytes, 8)
            if payload.counts:
                moved = code.room(wide(kind_, width), length)
                with code.loop("0", wanted) as i:
                    place = code.resize(code.load(words.vector, found, i), words.kind, half, width)
                    place = code.resize(place, half, kind_, width)
                    code.store(wide(kind_, width), place, moved, i)
                results.write(kind_, moved, target)
                continue
            source = next(sources)
            with group.lanes(group.count) as (lane, begin):
                end = code.load("i64", results.begins, lane)
                from_, to = code.at(kind_, source, begin), code.at(kind_, target, end)
                with code.loop("0", wanted) as i:
                    at = code.add(code.mul(i, width), lane)
                    word = code.resize(code.load(words.kind, found, at), words.kind, half)
                    at = code.mul(code.resize(word, half, "i64"), inner)
                    value = code.load(kind_, code.at(kind_, from_, at), align=align)
                    place = code.at(kind_, to, code.mul(i, inner))
                    code.store(kind_, value, place, align=align)
    kernel = code.function("kernel", KERNEL, internal=False)
    return "\n".join([declarations(words), kernel])
