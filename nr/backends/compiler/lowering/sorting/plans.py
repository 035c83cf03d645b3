"""Which routines sort rows: by how many there are, how long they are, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence

from nr.backends.compiler.loops import ITEMSIZE, Buffer
from nr.backends.compiler.lowering.sorting import long, short, top
from nr.backends.compiler.lowering.sorting.keys import bits_of, digits_of, is_float
from nr.backends.compiler.lowering.sorting.networks import Words, words
from nr.backends.compiler.lowering.sorting.rows import (
    Payload,
    Runs,
    order_text,
    runs_of,
    values_text,
)
from nr.backends.compiler.routine import Routine

# A row longer than this is sorted in chunks of at most so many elements, if there are few; and
# in any case if it is longer than _LONGEST, which needs scratch of some megabytes.
_CHUNK = 1 << 14
_FEW = 16
_LONGEST = 1 << 18
# If that would be many chunks, they are longer: merges of what is in cache are quicker.
_MANY, _LONG_CHUNK = 32, 1 << 16
# Elements of a piece of a merge, at most: such that it stays in the first cache.
_PIECE = 1 << 11
# The k largest are looked for among candidates up to this k.
_MOST_CANDIDATES = 1 << 11
# Nanoseconds of an element: of a first sort of blocks, of a merge, of
# what is read out of order, of what is compared with a threshold.
_BLOCK_NS, _MERGE_NS = 0.7, 0.35
_GATHER_NS, _SCAN_NS = 2.0, 0.3


def sorted_rows(
    operands: Sequence[Buffer], results: Sequence[Buffer], rows: int, n: int, num_keys: int,
    vector_bytes: int,
) -> list[Routine]:  # fmt: skip
    """Arrays of rows of n elements, one row after the other, each sorted by the first arrays.

    An operand of no elements counts along each row; results of none are not wanted.
    """
    if len(operands) == 1 and operands[0].dtype not in ("c64", "c128"):
        return _Values(operands[0], results[0], rows, n, vector_bytes).steps()
    return _Orders(operands, results, rows, n, num_keys, vector_bytes).steps()


def sorted_columns(
    operands: Sequence[Buffer], results: Sequence[Buffer], outer: int, n: int, inner: int,
    num_keys: int, vector_bytes: int, *, wanted: int | None = None,
) -> list[Routine] | None:  # fmt: skip
    """Arrays ``[outer, n, inner]``, sorted along the middle; None where rows are not short. Or the
    first `wanted` in descending order."""
    rows = outer * inner
    key = operands[0]
    digits = digits_of([x.dtype for x in operands[:num_keys]])
    if n > short.LENGTHS[-1] or rows < _FEW:
        return None
    length = min([size for size in short.LENGTHS if size >= n])
    integers = [n, inner, rows]
    if len(operands) == 1 and key.dtype not in ("c64", "c128"):
        kind = words(64 if bits_of(key.dtype) == 64 else 32, vector_bytes)
        text = short.values_text(kind, key.dtype, length)
        read, written = [key], list(results)
    elif len(digits) == 1:
        kind = words(32 if digits[0].bits <= 16 else 64, vector_bytes)
        payloads, read, written = payloads_of(operands, results)
        text = short.order_text(kind, digits[0], payloads, length, descending=wanted is not None)
        read = [key, *read]
        integers.insert(1, n if wanted is None else wanted)
    else:
        return None
    work = rows * length * (length.bit_length() * 0.15 + len(written)) * kind.nbytes / 4
    units = -(-rows // kind.width)
    return [Routine("sort", text, read, written, integers, units, work)]


def payloads_of(
    operands: Sequence[Buffer], results: Sequence[Buffer]
) -> tuple[list[Payload], list[Buffer], list[Buffer]]:
    """What is put in order, where it is read, and where written."""
    payloads, read, written = [], [], []
    for x, out in zip(operands, results, strict=True):
        if out.size:
            counts = not x.size
            payloads.append(Payload(ITEMSIZE[x.dtype], counts))
            written.append(out)
            read += [] if counts else [x]
    return payloads, read, written


class _Sorting:
    """Sorts of rows of words."""

    def __init__(self, bits: int, rows: int, n: int, vector_bytes: int) -> None:
        self.words: Words = words(bits, vector_bytes)
        self.rows = rows
        self.n = n
        self.long = n > (_CHUNK if rows < _FEW else _LONGEST)
        least = 1
        while self.long and least * (_CHUNK if least < _MANY else _LONG_CHUNK) < n:
            least *= 2
        self.runs: Runs = runs_of(n, self.words, least)
        self.chunks = least
        self.inner = self.runs.count // least  # runs of a chunk
        self.ns = rows * self.words.nbytes / 4

    def nanoseconds(self) -> float:
        """About how long it takes to sort the chunks, or rows."""
        return self.ns * self.n * (_BLOCK_NS + _MERGE_NS * (self.inner.bit_length() - 1))

    def temporary(self, name: str, count: int) -> Buffer:
        # Merges read whole vectors, up to one beyond the end.
        size = count * self.runs.total + self.words.width
        return Buffer(name, f"u{self.words.bits}", size)

    def merged(
        self, a: Buffer, b: Buffer, text: str, read: list[Buffer], written: list[Buffer],
        integers: list[int], work: float = 0.0,
    ) -> list[Routine]:  # fmt: skip
        """Merges of sorted chunks, of which the last has a text of its own, and is given more."""
        steps, length = [], self.inner * self.runs.length
        if self.inner.bit_length() % 2 == 0:  # an odd number of levels
            a, b = b, a
        piece = self.runs.length
        while piece * 2 <= min(_PIECE, length):
            piece *= 2
        units = self.rows * self.runs.total // (2 * piece)
        scratch = long.merge_scratch(self.words, piece)
        merge_ns = self.ns * self.n * _MERGE_NS
        merge = long.merge_text(self.words)
        while 2 * length < self.runs.total:
            steps.append(
                Routine("merge", merge, [a], [b], [length, piece], units, merge_ns, scratch)
            )
            a, b = b, a
            length *= 2
        integers = [*integers, length, piece]
        steps.append(
            Routine("merge", text, [a, *read], written, integers, units, merge_ns + work, scratch)
        )
        return steps


class _Values(_Sorting):
    """Rows of one real array."""

    def __init__(self, x: Buffer, out: Buffer, rows: int, n: int, vector_bytes: int) -> None:
        super().__init__(64 if bits_of(x.dtype) == 64 else 32, rows, n, vector_bytes)
        self.x = x
        self.out = out

    def steps(self) -> list[Routine]:
        x, out, runs = self.x, self.out, self.runs
        if not self.long:
            scratch = 2 * runs.total * self.words.nbytes
            return [
                Routine(
                    "sort", values_text(self.words, x.dtype), [x], [out],
                    [self.n, runs.count, runs.length], self.rows, self.nanoseconds(), scratch,
                )
            ]  # fmt: skip
        a, b = [self.temporary(f"{out}.{name}", self.rows) for name in ("words", "room")]
        flags = [Buffer(f"{out}.flags", "u8", self.rows * self.chunks)] if is_float(x.dtype) else []
        steps = [
            Routine(
                "sort chunks", long.chunk_values_text(self.words, x.dtype), [x], [a, b, *flags],
                [self.n, self.chunks, self.inner, runs.length], self.rows * self.chunks,
                self.nanoseconds(),
            )
        ]  # fmt: skip
        text = long.merge_values_text(self.words, x.dtype)
        steps += self.merged(a, b, text, [], [out], [self.n])
        if flags:
            steps.append(
                Routine(
                    "mend", long.mend_text(self.words, x.dtype), [*flags, x], [out],
                    [self.n, self.chunks], self.rows, self.ns * self.chunks,
                )
            )  # fmt: skip
        return steps


class _Orders(_Sorting):
    """Rows of several arrays, or of complex numbers; or the first `wanted` of a row's elements in
    descending order."""

    def __init__(
        self, operands: Sequence[Buffer], results: Sequence[Buffer], rows: int, n: int,
        num_keys: int, vector_bytes: int, *, wanted: int | None = None,
    ) -> None:  # fmt: skip
        self.keys = list(operands[:num_keys])
        self.digits = digits_of([x.dtype for x in self.keys])
        # Words of 32 bits have room for 16 bits of a key and a place.
        small = n <= 1 << 16 and max([d.bits for d in self.digits]) <= 16
        super().__init__(32 if small else 64, rows, n, vector_bytes)
        self.payloads, self.read, self.written = payloads_of(operands, results)
        self.wanted = n if wanted is None else wanted
        self.descending = wanted is not None

    def steps(self) -> list[Routine]:
        if self.long:
            return self._long()
        runs, many = self.runs, len(self.digits) > 1
        nbytes = [ITEMSIZE[x.dtype] for x in self.keys]
        text = order_text(
            self.words, self.digits, nbytes, self.payloads, descending=self.descending
        )
        scratch = 2 * runs.total * self.words.nbytes + (8 * self.n if many else 0)
        work = len(self.digits) * self.nanoseconds() + self.rows * self.n * len(self.payloads)
        return [
            Routine(
                "sort", text, [*self.keys, *self.read], self.written,
                [self.n, self.wanted, runs.count, runs.length], self.rows, work, scratch,
            )
        ]  # fmt: skip

    def _long(self) -> list[Routine]:
        steps: list[Routine] = []
        order: list[Buffer] = []
        for k, digit in enumerate(reversed(self.digits)):
            key = self.keys[digit.operand]
            name = f"{self.written[0]}.{k}"
            a, b = [self.temporary(f"{name}.{part}", self.rows) for part in ("words", "room")]
            text = long.chunk_digits_text(
                self.words, digit, ITEMSIZE[key.dtype], bool(order), descending=self.descending
            )
            steps.append(
                Routine(
                    "sort chunks", text, [key, *order], [a, b],
                    [self.n, self.chunks, self.inner, self.runs.length], self.rows * self.chunks,
                    self.nanoseconds(),
                )
            )  # fmt: skip
            last = k == len(self.digits) - 1
            wanted, payloads, written = self.wanted, self.payloads, self.written
            if not last:
                wanted, payloads = self.n, [Payload(4, counts=True)]
                written = [Buffer(f"{name}.order", "u32", self.rows * self.n)]
            steps += self.merged(
                a, b, long.merge_order_text(self.words, payloads, bool(order)),
                [*order, *(self.read if last else [])], written, [self.n, wanted],
                _GATHER_NS * self.rows * wanted * len(payloads),
            )  # fmt: skip
            order = written
        return steps


def largest(
    x: Buffer, values: Buffer, places: Buffer, rows: int, n: int, k: int, vector_bytes: int
) -> list[Routine]:
    """The k largest elements of rows of n, and their places."""
    counting = Buffer(f"{places}.counting", places.dtype, 0)
    operands, results = [x, counting], [values, places]
    found = sorted_columns(operands, results, rows, n, 1, 1, vector_bytes, wanted=k)
    if found is not None:
        return found
    if 4 * k >= n or k > _MOST_CANDIDATES:
        return _Orders(operands, results, rows, n, 1, vector_bytes, wanted=k).steps()
    digits = digits_of([x.dtype])
    kind = words(64, vector_bytes)

    def room(count: int) -> int:
        size = kind.block
        while size < count:
            size *= 2
        return size

    capacity = room(2 * k + vector_bytes)
    scratch = top.room_bytes(kind, capacity)
    if rows >= _FEW or n < 2 * _CHUNK:
        text = top.scan_text(kind, digits, x.dtype, vector_bytes, last=True)
        return [
            Routine(
                "top_k", text, [x], [values, places], [n, 1, n, k, capacity], rows,
                rows * (_SCAN_NS * n + kind.block), scratch,
            )
        ]  # fmt: skip
    chunks = n // _CHUNK
    partial = Buffer(f"{values}.partial", "u32", rows * chunks * k)
    several = room(chunks * k)
    return [
        Routine(
            "top_k of chunks", top.scan_text(kind, digits, x.dtype, vector_bytes, last=False),
            [x], [partial], [n, chunks, _CHUNK, k, capacity], rows * chunks, rows * _SCAN_NS * n,
            scratch,
        ),
        Routine(
            "top_k", top.pick_text(kind, digits, x.dtype), [x, partial], [values, places],
            [n, chunks * k, k, several], rows, rows * 4.0 * chunks * k,
            top.room_bytes(kind, several),
        ),
    ]  # fmt: skip
