"""Keys as unsigned integers of the same order, and what cannot be told from these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nr.backends.compiler.code import Code, every, wide
from nr.backends.compiler.expr import SIGNED
from nr.backends.compiler.loops import ITEMSIZE

# Lanes of the vectors in which rows are looked through for zeros and NaN.
_LANES = 16
# The bits of infinity.
_INFINITY = {"f16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000, "f64": 0x7FF0000000000000}


def bits_of(dtype: str) -> int:
    """The bits of a storage type, of a part for complex numbers."""
    return 8 * ITEMSIZE[dtype] // (2 if dtype in ("c64", "c128") else 1)


@dataclass(frozen=True, slots=True)
class Digit:
    """Up to 32 bits of a key: of which operand, which part of a complex number, and from where."""

    operand: int
    dtype: str  # of the part
    stride: int  # parts of an element
    part: int
    shift: int

    @property
    def bits(self) -> int:
        """How many they are."""
        return min(bits_of(self.dtype), 32)


def digits_of(dtypes: list[str]) -> list[Digit]:
    """The digits of keys of some types, the most significant first."""
    result = []
    for k, dtype in enumerate(dtypes):
        parts = 2 if dtype in ("c64", "c128") else 1
        real = {"c64": "f32", "c128": "f64"}.get(dtype, dtype)
        for part in range(parts):
            shifts = (32, 0) if bits_of(real) == 64 else (0,)
            result += [Digit(k, real, parts, part, shift) for shift in shifts]
    return result


def is_float(dtype: str) -> bool:
    """Whether keys can be NaN or a negative zero."""
    return dtype in _INFINITY


def is_nan(code: Code, bits: str, dtype: str, width: int = 0) -> str:
    """Whether floats, given by their bits, are NaN."""
    size = bits_of(dtype)
    kind = wide(f"i{size}", width)
    magnitude = code.both(bits, every(f"i{size}", (1 << (size - 1)) - 1, width), kind)
    return code.test("ugt", magnitude, every(f"i{size}", _INFINITY[dtype], width), kind)


def ordered(code: Code, bits: str, dtype: str, width: int = 0, *, signed_zero: bool = False) -> str:
    """Unsigned integers in the order of keys that are given by their bits.

    NaNs are all ones, and so the last; zeros are equal, or if `signed_zero`, the negative less.
    """
    size = bits_of(dtype)
    element = f"i{size}"
    kind, sign = wide(element, width), every(element, -1 << (size - 1), width)
    if dtype in SIGNED:
        return code.differ(bits, sign, kind)
    if not is_float(dtype):
        return bits
    nan = is_nan(code, bits, dtype, width)
    if not signed_zero:
        zero = code.test("eq", bits, sign, kind)
        bits = _select(code, zero, every(element, 0, width), bits, element, width)
    smear = code.shift("ashr", bits, every(element, size - 1, width), kind)
    key = code.differ(bits, code.either(smear, sign, kind), kind)
    return _select(code, nan, every(element, -1, width), key, element, width)


def original(code: Code, key: str, dtype: str, width: int = 0) -> str:
    """The bits of a key: a NaN of all of them, the positive zero of both."""
    size = bits_of(dtype)
    element = f"i{size}"
    kind, sign = wide(element, width), every(element, -1 << (size - 1), width)
    if dtype in SIGNED:
        return code.differ(key, sign, kind)
    if not is_float(dtype):
        return key
    positive = code.test("slt", key, every(element, 0, width), kind)
    flip = _select(code, positive, sign, every(element, -1, width), element, width)
    return code.differ(key, flip, kind)


def is_special(code: Code, bits: str, dtype: str, width: int) -> str:
    """Whether floats are not what `original` gives back: negative zeros and NaN."""
    element = f"i{bits_of(dtype)}"
    sign = every(element, -1 << (bits_of(dtype) - 1), width)
    negative_zero = code.test("eq", bits, sign, wide(element, width))
    return code.either(negative_zero, is_nan(code, bits, dtype, width), wide("i1", width))


def any_lane(code: Code, mask: str, width: int) -> str:
    """Whether any lane of a mask is set."""
    return code.test("ne", lane_bits(code, mask, width), 0)


def mend_function(dtype: str) -> str:
    """``void @mend(ptr x, ptr out, i64 n, i64 stride)``: writes the zeros and NaNs of a row over
    those of the sorted row, in the order in which the row has them."""
    code = Code()
    size = bits_of(dtype)
    element, sign = f"i{size}", 1 << (size - 1)
    kind = wide(element, _LANES)

    def vector(i: str) -> str:
        return code.load(kind, code.at(element, "%x", i), align=size // 8)

    def negative(bits: str, width: int) -> str:
        """Numbers below zero: above the bits of the negative zero are theirs, and those of NaN."""
        low = code.test("ugt", bits, every(element, sign, width), wide(element, width))
        mask, true = wide("i1", width), every("i1", 1, width)
        return code.both(low, code.differ(is_nan(code, bits, dtype, width), true, mask), mask)

    # Whole vectors of rows whose elements are neighbours, then the rest.
    near = code.test("eq", "%stride", 1)
    whole = code.choose(near, code.both("%n", -_LANES), "0")
    below, others = code.variable("i64", "0"), code.variable("i64", "0")
    with code.loop("0", whole, _LANES) as i:
        bits = vector(i)
        for counter, mask in (
            (below, negative(bits, _LANES)),
            (others, is_nan(code, bits, dtype, _LANES)),
        ):
            count = code.op(f"call i64 @llvm.ctpop.i64(i64 {lane_bits(code, mask, _LANES)})")
            counter.set(code.add(counter.get(), count))
    with code.loop(whole, "%n") as i:
        bits = code.load(element, "%x", code.mul(i, "%stride"))
        for counter, mask in ((below, negative(bits, 0)), (others, is_nan(code, bits, dtype))):
            counter.set(code.add(counter.get(), code.op(f"zext i1 {mask} to i64")))
    zeros = code.variable("i64", below.get())
    nans = code.variable("i64", code.sub("%n", others.get()))

    def put(i: str) -> None:
        bits = code.load(element, "%x", code.mul(i, "%stride"))
        zero = code.test("eq", code.both(bits, str(sign - 1), element), 0, element)
        for place, mask in ((zeros, zero), (nans, is_nan(code, bits, dtype))):
            with code.when(mask):
                at = place.get()
                code.store(element, bits, "%out", code.mul(at, "%stride"))
                place.set(code.add(at, 1))

    with code.loop("0", whole, _LANES) as i:
        bits = vector(i)
        magnitude = code.both(bits, every(element, sign - 1, _LANES), kind)
        zero = code.test("eq", magnitude, every(element, 0, _LANES), kind)
        mask = code.either(zero, is_nan(code, bits, dtype, _LANES), wide("i1", _LANES))
        with each_lane(code, lane_bits(code, mask, _LANES)) as lane:
            put(code.add(i, lane))
    with code.loop(whole, "%n") as i:
        put(i)
    return code.function("mend", "ptr %x, ptr %out, i64 %n, i64 %stride")


def lane_bits(code: Code, mask: str, width: int) -> str:
    """A mask as a number, a bit a lane."""
    bits = code.op(f"bitcast {wide('i1', width)} {mask} to i{width}")
    return code.resize(bits, f"i{width}", "i64")


@contextmanager
def each_lane(code: Code, bits: str) -> Iterator[str]:
    """A loop over the lanes that a number has a bit of."""
    left = code.variable("i64", bits)
    with code.repeat_while(lambda: code.test("ne", left.get(), 0)):
        now = left.get()
        yield code.op(f"call i64 @llvm.cttz.i64(i64 {now}, i1 true)")
        left.set(code.both(now, code.sub(now, 1)))


def _select(code: Code, mask: str, a: str, b: str, element: str, width: int) -> str:
    kind = wide(element, width)
    return code.op(f"select {wide('i1', width)} {mask}, {kind} {a}, {kind} {b}")
