"""Sorting networks on vectors of unsigned words: blocks of registers, and merges.

A block is sorted in registers: each lane by itself (Batcher's network), then, transposed, the
lanes by bitonic merges. Two sorted runs are merged a vector at a time: of a carried vector and the
next one of either run, the smaller half is the next of the result. Runs of one length are merged
from both ends at once, so that two chains of instructions fill the processor, and neither can come
to the end of a run. (Inoue et al., "AA-Sort", 2007; Batcher, "Sorting networks", 1968.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nr.backends.compiler.code import Code, every, wide

# Vectors of a block: as many as a network sorts in the registers of today's processors.
ROWS = 16


@dataclass(frozen=True, slots=True)
class Words:
    """Unsigned words that are sorted: i32 or i64, and how many a vector holds."""

    kind: str
    width: int

    @property
    def vector(self) -> str:
        return wide(self.kind, self.width)

    @property
    def bits(self) -> int:
        return int(self.kind[1:])

    @property
    def nbytes(self) -> int:
        return self.bits // 8

    @property
    def block(self) -> int:
        """How many words a block of vectors holds."""
        return ROWS * self.width

    @property
    def last(self) -> str:
        """A vector of the greatest word, with which runs are filled up."""
        return every(self.kind, -1, self.width)


def words(bits: int, vector_bytes: int) -> Words:
    """Words of some bits, on a machine with vectors of some bytes."""
    return Words(f"i{bits}", max(min(vector_bytes * 8 // bits, ROWS), 2))


def network(n: int) -> Iterator[tuple[int, int]]:
    """The comparators of Batcher's network for n elements."""
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                for i in range(min(k, n - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        yield i + j, i + j + k
            k //= 2
        p *= 2


class Network:
    """Networks written into a function."""

    def __init__(self, code: Code, words: Words) -> None:
        self.code = code
        self.words = words

    def load(self, place: str, index: str | None = None) -> str:
        """A vector of words, which may lie anywhere."""
        at = place if index is None else self.code.at(self.words.kind, place, index)
        return self.code.load(self.words.vector, at, align=self.words.nbytes)

    def store(self, value: str, place: str, index: str | None = None) -> None:
        at = place if index is None else self.code.at(self.words.kind, place, index)
        self.code.store(self.words.vector, value, at, align=self.words.nbytes)

    def order(self, a: str, b: str) -> tuple[str, str]:
        """The lesser and the greater of two vectors, lane by lane."""
        kind = self.words.vector
        return self.code.call("umin", kind, a, b), self.code.call("umax", kind, a, b)

    def reverse(self, a: str) -> str:
        return self.code.shuffle(self.words.vector, a, "poison", range(self.words.width)[::-1])

    def clean(self, a: str, b: str) -> tuple[str, str]:
        """Two bitonic vectors, each sorted."""
        width = self.words.width
        # Which elements lie in the two registers; partners have to come into one lane each.
        registers = [a, b]
        where = {(v, i): (v, i) for v in range(2) for i in range(width)}
        distance = width // 2
        while distance:
            low, high = _paired(where, distance, 128 // self.words.bits)
            x = self._gathered(registers, where, low)
            y = self._gathered(registers, where, high)
            registers = list(self.order(x, y))
            where = {e: (0, k) for k, e in enumerate(low)}
            where |= {e: (1, k) for k, e in enumerate(high)}
            distance //= 2
        rows = [[(v, i) for i in range(width)] for v in range(2)]
        first, second = [self._gathered(registers, where, row) for row in rows]
        return first, second

    def _gathered(self, registers: list[str], where: dict, elements: list) -> str:
        lanes = [where[e][0] * self.words.width + where[e][1] for e in elements]
        a, b = registers
        return self.code.shuffle(self.words.vector, a, b, lanes)

    def merge(self, a: str, b: str) -> tuple[str, str]:
        """Two sorted vectors as the sorted lower and upper half of all."""
        return self.clean(*self.order(a, self.reverse(b)))

    def sort_block(self, rows: list[str]) -> list[str]:
        """Vectors with all their elements sorted."""
        rows, width = list(rows), self.words.width
        for i, j in network(len(rows)):
            rows[i], rows[j] = self.order(rows[i], rows[j])
        kind = self.words.vector
        squares = [
            self.code.transpose(kind, rows[k : k + width]) for k in range(0, len(rows), width)
        ]
        runs = [[square[lane] for square in squares] for lane in range(width)]
        while len(runs) > 1:
            runs = [self.merge_runs(a, b) for a, b in zip(runs[::2], runs[1::2], strict=True)]
        return runs[0]

    def merge_runs(self, a: list[str], b: list[str]) -> list[str]:
        """Two sorted runs of one number of vectors as one."""
        all_ = a + [self.reverse(v) for v in b[::-1]]
        distance = len(a)
        while distance:
            for i in range(len(all_)):
                if not i & distance:
                    all_[i], all_[i + distance] = self.order(all_[i], all_[i + distance])
            distance //= 2
        result: list[str] = []
        for k in range(0, len(all_), 2):
            result += self.clean(all_[k], all_[k + 1])
        return result


def _paired(where: dict, distance: int, lane: int) -> tuple[list, list]:
    """Lists of elements for two registers, partners at one place each.

    Where partners are near each other, elements stay in their part of `lane` elements, or a
    shuffle takes longer on x86.
    """
    low = [e for e in where if not e[1] & distance]
    near = distance < lane
    low.sort(key=lambda e: (where[e][1] // lane if near else 0, *where[e]))
    return low, [(v, i + distance) for v, i in low]


def sort_function(words: Words) -> str:
    """``ptr @sort(ptr a, ptr b, i64 runs, i64 length)`` sorts runs * length words in a.

    Runs are a power of two, their length is a multiple of a vector and at most a block. b is room
    for as many words; the result is in a or b.
    """
    return "\n".join([_block_function(words), _merge_function(words), _sort_function(words)])


def _block_function(words: Words) -> str:
    """``void @block(ptr run, i64 length)``: a run of at most a block."""
    code = Code()
    net = Network(code, words)
    fill, dump = code.room(words.vector), code.room(words.vector)
    net.store(words.last, fill)
    places = []
    for row in range(ROWS):
        inside = code.test("slt", str(row * words.width), "%length")
        places.append((inside, code.at(words.kind, "%run", str(row * words.width))))
    rows = [net.load(code.choose(inside, at, fill, "ptr")) for inside, at in places]
    for value, (inside, at) in zip(net.sort_block(rows), places, strict=True):
        net.store(value, code.choose(inside, at, dump, "ptr"))
    return code.function("block", "ptr %run, i64 %length")


class Heads:
    """Where a merge is in its two runs, and the vector that it carries.

    Which run is next can't be predicted, so nothing branches: addresses are numbers here, and
    conditions masks, lest LLVM makes branches of choices.
    """

    def __init__(self, net: Network, a: str, b: str, *, backwards: bool = False) -> None:
        self.net = net
        self.backwards = backwards
        code = net.code
        self.places = [code.variable("i64", code.op(f"ptrtoint ptr {p} to i64")) for p in (a, b)]
        self.carry = code.variable(net.words.vector, "zeroinitializer")

    def next(self, end: str | None = None) -> str:
        """The next vector; of the first run if the second has come to its end, an address."""
        code, words = self.net.code, self.net.words
        a, b = [place.get() for place in self.places]
        offset = (words.width - 1) * words.nbytes if self.backwards else 0
        heads = []
        for place in (a, b):
            at = code.op(f"inttoptr i64 {code.add(place, offset)} to ptr")
            heads.append(code.load(words.kind, at))
        head_a, head_b = heads
        first = code.test("ugt" if self.backwards else "ult", head_a, head_b, words.kind)
        mask = code.op(f"sext i1 {first} to i64")
        if end is not None:
            over = code.op(f"sext i1 {code.test('uge', b, end)} to i64")
            mask = code.either(mask, over)
        chosen = code.differ(b, code.both(code.differ(a, b), mask))
        value = self.net.load(code.op(f"inttoptr i64 {chosen} to ptr"))
        step = words.width * words.nbytes * (-1 if self.backwards else 1)
        self.places[0].set(code.add(a, code.both(mask, step)))
        self.places[1].set(code.add(b, code.both(code.differ(mask, -1), step)))
        return value


def _merge_function(words: Words) -> str:
    """``void @merge(ptr a, ptr b, ptr out, i64 length)``: two runs of one length."""
    code = Code()
    net, kind, width = Network(code, words), words.kind, words.width
    end = code.add("%length", "%length")
    # From the front.
    low, carry = net.merge(net.load("%a"), net.load("%b"))
    net.store(low, "%out")
    front = Heads(net, *[code.at(kind, p, str(width)) for p in ("%a", "%b")])
    front.carry.set(carry)
    # From the back; these point to the last vector that has not been taken.
    last = code.sub("%length", width)
    ends = [code.at(kind, p, last) for p in ("%a", "%b")]
    carry, high = net.merge(*[net.load(p) for p in ends])
    net.store(high, "%out", code.sub(end, width))
    back = Heads(net, *[code.at(kind, p, str(-width)) for p in ends], backwards=True)
    back.carry.set(carry)
    with code.loop(width, "%length", width) as i:
        low, carry = net.merge(front.carry.get(), front.next())
        net.store(low, "%out", i)
        front.carry.set(carry)
        carry, high = net.merge(back.carry.get(), back.next())
        net.store(high, "%out", code.sub(code.sub(end, width), i))
        back.carry.set(carry)
    return code.function("merge", "ptr %a, ptr %b, ptr %out, i64 %length")


def _sort_function(words: Words) -> str:
    code = Code()
    total = code.mul("%runs", "%length")
    with code.loop("0", total, "%length") as i:
        code.do(f"call void @block(ptr {code.at(words.kind, '%a', i)}, i64 %length)")
    source, target = code.variable("ptr", "%a"), code.variable("ptr", "%b")
    length = code.variable("i64", "%length")
    with code.repeat_while(lambda: code.test("slt", length.get(), total)):
        a, b, one = source.get(), target.get(), length.get()
        both = code.add(one, one)
        with code.loop("0", total, both) as i:
            x = code.at(words.kind, a, i)
            y = code.at(words.kind, x, one)
            out = code.at(words.kind, b, i)
            code.do(f"call void @merge(ptr {x}, ptr {y}, ptr {out}, i64 {one})")
        source.set(b)
        target.set(a)
        length.set(both)
    code.do(f"ret ptr {source.get()}")
    return code.function("sort", "ptr %a, ptr %b, i64 %runs, i64 %length", "ptr")


def declarations(words: Words) -> str:
    """The intrinsics that sorts of words call."""
    kind = words.vector
    suffix = f"v{words.width}{words.kind}"
    return "\n".join(
        [f"declare {kind} @llvm.{n}.{suffix}({kind}, {kind})" for n in ("umin", "umax")]
    )
