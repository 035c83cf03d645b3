"""The k largest elements of rows: candidates above a threshold that rises.

A row is compared with the threshold, vectors at a time. What passes is a candidate; when there is
no room for more, the candidates are sorted and the best k kept, the last of which is the threshold
from then on. The first one is the k-th largest of the lanes' maxima, if there are as many lanes.
"""

from __future__ import annotations

from collections.abc import Sequence

from nr.backends.compiler.code import KERNEL, Code, arguments, wide
from nr.backends.compiler.lowering.sorting.keys import Digit, bits_of, each_lane, lane_bits, ordered
from nr.backends.compiler.lowering.sorting.networks import Network, Words, words
from nr.backends.compiler.lowering.sorting.rows import (
    call_sort,
    encode_digit,
    fill,
    module,
    place_at,
    place_of,
)

# Vectors that are compared before one branch.
_TOGETHER = 4


def room_bytes(kind: Words, capacity: int) -> int:
    """Scratch for so many candidates: words twice, places twice."""
    return capacity * (2 * kind.nbytes + 8)


class _Candidates:
    """Places of candidates, and where they are sorted."""

    def __init__(self, code: Code, kind: Words, capacity: str) -> None:
        self.code = code
        self.capacity = capacity
        self.words = "%scratch"
        self.room = code.at(kind.kind, self.words, capacity)
        self.places = code.at(kind.kind, self.room, capacity)
        self.spare = code.at("i32", self.places, capacity)

    def best(self, row: str, count: str, k: str) -> None:
        """Leaves the best k of some candidates, the best first."""
        self.code.do(
            f"call void @best(ptr {row}, ptr {self.places}, i64 {count}, i64 {k}, "
            f"ptr {self.words}, ptr {self.room}, ptr {self.spare})"
        )


def _best_function(kind: Words, digits: Sequence[Digit]) -> str:
    """``void @best(ptr row, ptr places, i64 count, i64 k, ptr words, ptr room, ptr spare)``: the
    best k of the elements at some places, in order."""
    code = Code()
    runs = code.variable("i64", "1")
    block = str(kind.block)
    with code.repeat_while(lambda: code.test("slt", code.mul(runs.get(), block), "%count")):
        runs.set(code.add(runs.get(), runs.get()))
    total = code.mul(runs.get(), block)
    for n, digit in enumerate(reversed(digits)):
        fill(code, kind, "%words", "%count", total)
        encode_digit(code, kind, digit, "%row", "0", "%count", "%words", "%places", descending=True)
        result = call_sort(code, "%words", "%room", runs.get(), block)
        last = code.least("%k", "%count") if n == len(digits) - 1 else "%count"
        with code.loop("0", last) as i:
            at = place_at(code, "%places", place_of(code, kind, result, i))
            code.store("i32", code.resize(at, "i64", "i32"), "%spare", i)
        with code.loop("0", last) as i:
            code.store("i32", code.load("i32", "%spare", i), "%places", i)
    parameters = "ptr %row, ptr %places, i64 %count, i64 %k, ptr %words, ptr %room, ptr %spare"
    return code.function("best", parameters)


def _sorted_vector(net: Network, value: str) -> str:
    """A vector of words, sorted."""
    code, kind = net.code, net.words
    lanes = range(kind.width)
    size = 2
    while size <= kind.width:
        flip = size - 1
        while flip:
            other = code.shuffle(kind.vector, value, "poison", [lane ^ flip for lane in lanes])
            low, high = net.order(value, other)
            # Of two lanes, the lower gets the lesser.
            chosen = [lane if lane < lane ^ flip else lane + kind.width for lane in lanes]
            value = code.shuffle(kind.vector, low, high, chosen)
            flip = size // 4 if flip == size - 1 else flip // 2
        size *= 2
    return value


class _Scan:
    """A row's keys, and those that pass."""

    def __init__(
        self, code: Code, dtype: str, row: str, first: str, last: str, vector_bytes: int
    ) -> None:
        self.code = code
        self.dtype = dtype
        self.row = row
        self.first = first
        self.last = last
        self.size = bits_of(dtype)
        self.words = words(64 if self.size == 64 else 32, vector_bytes)
        self.width = self.words.width
        self.threshold = code.variable(self.words.kind, "0")

    def key(self, index: str, width: int) -> str:
        """The keys from an element on."""
        code, kind = self.code, f"i{self.size}"
        at = code.at(kind, self.row, index)
        bits = code.load(wide(kind, width), at, align=self.size // 8)
        key = ordered(code, bits, self.dtype, width, signed_zero=True)
        return code.resize(key, kind, self.words.kind, width)

    def start(self, k: str) -> None:
        """The k-th largest of some vectors' lanes' maxima as the first threshold."""
        code, kind, width = self.code, self.words, self.width
        step = width * _TOGETHER
        count = code.sub(self.last, self.first)
        enough = code.test("sle", k, step)
        enough = code.both(enough, code.test("sge", count, 2 * step), "i1")
        with code.when(enough):
            zero = "zeroinitializer"
            most = [code.variable(kind.vector, zero) for _ in range(_TOGETHER)]
            whole = code.add(self.first, code.both(count, -step))
            with code.loop(self.first, whole, step) as i:
                for j, each in enumerate(most):
                    key = self.key(code.add(i, j * width), width)
                    each.set(code.call("umax", kind.vector, each.get(), key))
            net = Network(code, kind)
            runs = [[_sorted_vector(net, each.get())] for each in most]
            while len(runs) > 1:
                runs = [net.merge_runs(a, b) for a, b in zip(runs[::2], runs[1::2], strict=True)]
            room = code.room(kind.vector, _TOGETHER)
            for j, vector in enumerate(runs[0]):
                code.store(kind.vector, vector, room, str(j))
            self.threshold.set(code.load(kind.kind, room, code.sub(str(step), k)))

    def run(self, candidates: _Candidates, k: str) -> str:
        """Collects candidates; how many there are in the end."""
        code, width = self.code, self.width
        self.count = code.variable("i64", "0")
        self.end = code.variable("i64", self.last)
        step = width * _TOGETHER
        vectors = code.both(code.sub(self.last, self.first), -step)
        whole = code.add(self.first, vectors)
        place = code.variable("i64", self.first)
        vector = wide(self.words.kind, width)
        with code.repeat_while(
            lambda: code.test("slt", place.get(), code.least(whole, self.end.get()))
        ):
            i = place.get()
            limit = code.splat(self.threshold.get(), self.words.kind, width)
            masks = []
            for j in range(_TOGETHER):
                key = self.key(code.add(i, j * width), width)
                passed = code.test("uge", key, limit, vector)
                masks.append(lane_bits(code, passed, width))
            any_ = masks[0]
            for mask in masks[1:]:
                any_ = code.either(any_, mask)
            with code.when(code.test("ne", any_, 0)):
                for j, mask in enumerate(masks):
                    at = code.add(i, j * width)
                    with each_lane(code, mask) as lane:
                        self._append(candidates, code.add(at, lane))
                    self._compact(candidates, k, width)
            place.set(code.add(i, step))
        with code.repeat_while(lambda: code.test("slt", place.get(), self.end.get())):
            i = place.get()
            key = self.key(i, 0)
            passes = code.test("uge", key, self.threshold.get(), self.words.kind)
            with code.when(passes):
                self._append(candidates, i)
                self._compact(candidates, k, width)
            place.set(code.add(i, 1))
        return self.count.get()

    def _append(self, candidates: _Candidates, place: str) -> None:
        code = self.code
        count = self.count.get()
        code.store("i32", code.resize(place, "i64", "i32"), candidates.places, count)
        self.count.set(code.add(count, 1))

    def _compact(self, candidates: _Candidates, k: str, room: int) -> None:
        """If there is no room for a vector more, leave the best k and raise the threshold."""
        code, kind = self.code, self.words.kind
        full = code.test("sgt", code.add(self.count.get(), room), candidates.capacity)
        with code.when(full):
            candidates.best(self.row, self.count.get(), k)
            self.count.set(k)
            worst = place_at(code, candidates.places, code.sub(k, 1))
            key = self.key(worst, 0)
            self.threshold.set(code.add(key, 1, kind))
            # Nothing is above the greatest key.
            over = code.test("eq", key, -1, kind)
            self.end.set(code.choose(over, "0", self.end.get()))


def scan_text(
    kind: Words, digits: Sequence[Digit], dtype: str, vector_bytes: int, *, last: bool
) -> str:
    """The k largest elements of rows, or of chunks of rows.

    Arguments: x; the values and their places, or for chunks their places alone; n, chunks of a
    row, elements of a chunk but the last one of a row, k, how many candidates there is room for.
    """
    code = Code()
    x, *out, n, chunks, size, k, capacity = arguments(code, 3 if last else 2, 5)
    element = f"i{bits_of(dtype)}"
    with code.loop("%low", "%high") as unit:
        row, chunk = code.divide(unit, chunks)
        source = code.at(element, x, code.mul(row, n))
        first = code.mul(chunk, size)
        ends = code.test("eq", code.add(chunk, 1), chunks)
        scan = _Scan(
            code, dtype, source, first, code.choose(ends, n, code.add(first, size)), vector_bytes
        )
        candidates = _Candidates(code, kind, capacity)
        scan.start(k)
        count = scan.run(candidates, k)
        candidates.best(source, count, k)
        _write(code, candidates, element, source, code.mul(unit, k), k, out)
    kernel = code.function("kernel", KERNEL, internal=False)
    return module(
        kind, *_scan_declarations(dtype, kind, vector_bytes),
        _best_function(kind, digits), kernel,
    )  # fmt: skip


def _scan_declarations(dtype: str, kind: Words, vector_bytes: int) -> list[str]:
    found = words(64 if bits_of(dtype) == 64 else 32, vector_bytes)
    if found == kind:
        return []
    v, suffix = found.vector, f"v{found.width}{found.kind}"
    return [f"declare {v} @llvm.{name}.{suffix}({v}, {v})" for name in ("umin", "umax")]


def _write(
    code: Code, candidates: _Candidates, element: str, source: str, begin: str, k: str,
    out: Sequence[str],
) -> None:  # fmt: skip
    with code.loop("0", k) as i:
        place = place_at(code, candidates.places, i)
        at = code.add(begin, i)
        if len(out) == 2:
            code.store(element, code.load(element, source, place), out[0], at)
        code.store("i32", code.resize(place, "i64", "i32"), out[-1], at)


def pick_text(kind: Words, digits: Sequence[Digit], dtype: str) -> str:
    """The k largest elements of what was found in chunks of rows.

    Arguments: x, places in its rows; the values and their places; n, how many places a row has, k,
    how many candidates there is room for.
    """
    code = Code()
    x, found, *out, n, count, k, capacity = arguments(code, 4, 4)
    element = f"i{bits_of(dtype)}"
    with code.loop("%low", "%high") as row:
        source = code.at(element, x, code.mul(row, n))
        candidates = _Candidates(code, kind, capacity)
        begin = code.mul(row, count)
        with code.loop("0", count) as i:
            place = code.load("i32", found, code.add(begin, i))
            code.store("i32", place, candidates.places, i)
        candidates.best(source, count, k)
        _write(code, candidates, element, source, code.mul(row, k), k, out)
    kernel = code.function("kernel", KERNEL, internal=False)
    return module(kind, _best_function(kind, digits), kernel)
