"""Rows that one thread sorts: keys to words, the sort, and words to what is wanted.

Of one real array, the words are its elements. Otherwise a word is a digit of the keys and, below
it, the element's place: so all differ, any sort of them is stable, and places of sorted words are
the order of the elements. Keys of several digits are sorted by each, the least first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nr.backends.compiler.code import KERNEL, Code, Variable, arguments, every, numbers, wide
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
from nr.backends.compiler.lowering.sorting.networks import (
    Network,
    Words,
    declarations,
    sort_function,
)


@dataclass(frozen=True, slots=True)
class Runs:
    """How a row is cut: into a power of two of runs of equal length, which together are at least
    as long as the row."""

    count: int
    length: int

    @property
    def total(self) -> int:
        return self.count * self.length


def runs_of(n: int, words: Words, least: int = 1) -> Runs:
    """The runs of a row of n elements; at least some power of two of them."""
    count = least
    while count * words.block < n:
        count *= 2
    length = -(-n // (count * words.width)) * words.width
    return Runs(count, length)


def module(words: Words, *functions: str) -> str:
    """The text of a routine that sorts words."""
    return "\n".join([declarations(words), sort_function(words), *functions])


def fill(code: Code, words: Words, target: str, first: str, last: str) -> None:
    """Fill words up to a whole vector with the greatest."""
    net = Network(code, words)
    start = code.both(first, -words.width)
    with code.loop(start, last, words.width) as i:
        net.store(words.last, target, i)


# ------------------------------------------------------------------------------ elements as words
def encode(
    code: Code, words: Words, dtype: str, source: str, count: str, target: str,
    special: Variable | None,
) -> None:  # fmt: skip
    """Elements as words. `special`, a mask, gathers whether there are some that words are not
    enough for."""
    size, width = bits_of(dtype), words.width
    net = Network(code, words)
    whole = code.both(count, -width)
    with code.loop("0", whole, width) as i:
        bits = code.load(wide(f"i{size}", width), code.at(f"i{size}", source, i), align=size // 8)
        key = ordered(code, bits, dtype, width)
        net.store(code.resize(key, f"i{size}", words.kind, width), target, i)
        if special is not None:
            found = is_special(code, bits, dtype, width)
            special.set(code.either(special.get(), found, wide("i1", width)))
    with code.loop(whole, count) as i:
        bits = code.load(f"i{size}", source, i)
        key = ordered(code, bits, dtype)
        code.store(words.kind, code.resize(key, f"i{size}", words.kind), target, i)
        if special is not None:
            found = is_special(code, code.splat(bits, f"i{size}", width), dtype, width)
            special.set(code.either(special.get(), found, wide("i1", width)))


def decode(code: Code, words: Words, dtype: str, source: str, count: str, target: str) -> None:
    """Words as elements."""
    size, width = bits_of(dtype), words.width
    net = Network(code, words)
    whole = code.both(count, -width)
    with code.loop("0", whole, width) as i:
        key = code.resize(net.load(source, i), words.kind, f"i{size}", width)
        bits = original(code, key, dtype, width)
        place = code.at(f"i{size}", target, i)
        code.store(wide(f"i{size}", width), bits, place, align=size // 8)
    with code.loop(whole, count) as i:
        key = code.resize(code.load(words.kind, source, i), words.kind, f"i{size}")
        code.store(f"i{size}", original(code, key, dtype), target, i)


def no_specials(code: Code, words: Words) -> Variable:
    """A mask for `encode`."""
    return code.variable(wide("i1", words.width), "zeroinitializer")


def values_text(words: Words, dtype: str) -> str:
    """Sorts rows of one array. Arguments: x, out, n, runs, length of a run."""
    code = Code()
    x, out, n, runs, length = arguments(code, 2, 3)
    kind = f"i{bits_of(dtype)}"
    total = code.mul(runs, length)
    other = code.at(words.kind, "%scratch", total)
    with code.loop("%low", "%high") as row:
        begin = code.mul(row, n)
        source, target = code.at(kind, x, begin), code.at(kind, out, begin)
        special = no_specials(code, words) if is_float(dtype) else None
        fill(code, words, "%scratch", n, total)
        encode(code, words, dtype, source, n, "%scratch", special)
        result = call_sort(code, "%scratch", other, runs, length)
        decode(code, words, dtype, result, n, target)
        if special is not None:
            with code.when(any_lane(code, special.get(), words.width)):
                code.do(f"call void @mend(ptr {source}, ptr {target}, i64 {n}, i64 1)")
    mend = [mend_function(dtype)] if is_float(dtype) else []
    return module(words, *mend, code.function("kernel", KERNEL, internal=False))


def call_sort(code: Code, a: str, b: str, runs: str, length: str) -> str:
    """The address of the sorted words."""
    return code.op(f"call ptr @sort(ptr {a}, ptr {b}, i64 {runs}, i64 {length})")


# ------------------------------------------------------------------------------ digits and places
def digit_word(
    code: Code, bits: str, digit: Digit, words: Words, width: int, descending: bool
) -> str:
    """A digit in the upper half of a word."""
    size = bits_of(digit.dtype)
    kind = wide(f"i{size}", width)
    key = ordered(code, bits, digit.dtype, width, signed_zero=descending)
    if descending:
        key = code.differ(key, every(f"i{size}", -1, width), kind)
    if digit.shift:
        key = code.shift("lshr", key, every(f"i{size}", digit.shift, width), kind)
    half, word = words.bits // 2, words.kind
    if size > half:
        key = code.resize(key, f"i{size}", f"i{half}", width)
        size = half
    key = code.resize(key, f"i{size}", word, width)
    return code.shift("shl", key, every(word, half, width), wide(word, width))


def encode_digit(
    code: Code, words: Words, digit: Digit, source: str, first: str, count: str, target: str,
    order: str | None = None, *, descending: bool = False,
) -> None:  # fmt: skip
    """Words of a digit and the place, which counts from `first`.

    Of the elements at `source`, or of those whose places in it `order` (i32 each) has.
    """
    size, width, word = bits_of(digit.dtype), words.width, words.kind
    element = f"i{size}"
    done = "0"
    if order is None and digit.stride == 1:
        net = Network(code, words)
        done = code.both(count, -width)
        start = code.splat(code.resize(first, "i64", word), word, width)
        start = code.add(start, numbers(word, list(range(width))), words.vector)
        places = code.variable(words.vector, start)
        with code.loop("0", done, width) as i:
            at = code.at(element, source, i)
            bits = code.load(wide(element, width), at, align=size // 8)
            upper = digit_word(code, bits, digit, words, width, descending)
            net.store(code.either(upper, places.get(), words.vector), target, i)
            places.set(code.add(places.get(), every(word, width, width), words.vector))
    with code.loop(done, count) as i:
        at = i if order is None else place_at(code, order, i)
        if digit.stride > 1:
            at = code.add(code.mul(at, digit.stride), digit.part)
        bits = code.load(element, source, at)
        upper = digit_word(code, bits, digit, words, 0, descending)
        place = code.resize(code.add(first, i), "i64", word)
        code.store(word, code.either(upper, place, word), target, i)


def place_at(code: Code, order: str, index: str) -> str:
    """A place from an array of them."""
    return code.resize(code.load("i32", order, index), "i32", "i64")


def place_of(code: Code, words: Words, source: str, index: str) -> str:
    """The place in a word's lower half."""
    half = f"i{words.bits // 2}"
    word = code.load(words.kind, source, index)
    return code.resize(code.resize(word, words.kind, half), half, "i64")


@dataclass(frozen=True, slots=True)
class Payload:
    """An operand that is put in order: the bytes of an element, or for one that only counts along
    the row, of an integer; and whether it only counts."""

    nbytes: int
    counts: bool = False


def payload_kind(payload: Payload) -> str:
    return f"i{8 * payload.nbytes}"


def gather_payloads(
    code: Code, payloads: Sequence[Payload], sources: Sequence[str], targets: Sequence[str],
    first: str, last: str, place: Callable[[str], str],
) -> None:  # fmt: skip
    """Elements of operands at the places that `place(i)` gives, for i from first below last."""
    with code.loop(first, last) as i:
        at = place(i)
        for payload, source, target in zip(payloads, sources, targets, strict=True):
            kind = payload_kind(payload)
            align = min(payload.nbytes, 8)
            if payload.counts:
                value = code.resize(at, "i64", kind)
            else:
                value = code.load(kind, source, at, align=align)
            code.store(kind, value, target, i, align=align)


def order_text(
    words: Words, digits: Sequence[Digit], keys: Sequence[int], payloads: Sequence[Payload], *,
    descending: bool = False,
) -> str:  # fmt: skip
    """Sorts rows of several arrays by the digits of some.

    Arguments: the arrays of keys, whose bytes an element `keys` has; those of payloads that do
    not count; the results; n, how many of a sorted row are wanted, runs, length of a run.
    """
    code = Code()
    read = [p for p in payloads if not p.counts]
    pointers = len(keys) + len(read) + len(payloads)
    *places, n, wanted, runs, length = arguments(code, pointers, 4)
    total = code.mul(runs, length)
    other = code.at(words.kind, "%scratch", total)
    orders = [code.at(words.kind, other, total)]
    orders.append(code.at("i32", orders[0], n))
    with code.loop("%low", "%high") as row:
        begins = [code.mul(row, n)] * (len(keys) + len(read))
        begins += [code.mul(row, wanted)] * len(payloads)
        kinds = [f"i{8 * b}" for b in keys] + [payload_kind(p) for p in (*read, *payloads)]
        rows = [code.at(*each) for each in zip(kinds, places, begins, strict=True)]
        order: str | None = None
        for k, digit in enumerate(reversed(digits)):
            fill(code, words, "%scratch", n, total)
            encode_digit(
                code, words, digit, rows[digit.operand], "0", n, "%scratch", order,
                descending=descending,
            )  # fmt: skip
            result = call_sort(code, "%scratch", other, runs, length)
            if k < len(digits) - 1:
                with code.loop("0", n) as i:
                    at = place_of(code, words, result, i)
                    if order is not None:
                        at = place_at(code, order, at)
                    code.store("i32", code.resize(at, "i64", "i32"), orders[k % 2], i)
                order = orders[k % 2]

        def place(i: str, result: str = result, order: str | None = order) -> str:
            at = place_of(code, words, result, i)
            return at if order is None else place_at(code, order, at)

        sources = iter(rows[len(keys) : len(keys) + len(read)])
        inputs = ["" if p.counts else next(sources) for p in payloads]
        outputs = rows[len(keys) + len(read) :]
        first = "0"
        if order is None and all([p.counts for p in payloads]):
            first = _store_places(code, words, payloads, result, outputs, wanted)
        gather_payloads(code, payloads, inputs, outputs, first, wanted, place)
    return module(words, code.function("kernel", KERNEL, internal=False))


def _store_places(
    code: Code, words: Words, payloads: Sequence[Payload], source: str, targets: Sequence[str],
    count: str,
) -> str:  # fmt: skip
    """The places in words, a vector at a time; how many there are before the rest."""
    half, width = f"i{words.bits // 2}", words.width
    whole = code.both(count, -width)
    with code.loop("0", whole, width) as i:
        word = Network(code, words).load(source, i)
        at = code.resize(word, words.kind, half, width)
        for payload, target in zip(payloads, targets, strict=True):
            kind = payload_kind(payload)
            value = code.resize(at, half, kind, width)
            place = code.at(kind, target, i)
            code.store(wide(kind, width), value, place, align=payload.nbytes)
    return whole
