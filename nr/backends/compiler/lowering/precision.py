"""Element rules of what is defined by bits: fewer bits of precision, and the same bits as another
dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import NUMPY, Expr
from nr.backends.compiler.index import Index, index_of
from nr.backends.compiler.lowering.rules import Value, element, round_to, storage, storage_of

_WORDS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
# The bits of a format's fraction.
_FRACTION = {"bf16": 7, "f16": 10, "f32": 23, "f64": 52}


# ------------------------------------------------------------------------------ bits of elements
def _half_bits(x: Expr) -> Expr:
    """The bits of an f32 that float16 can hold, as float16 has them."""
    bits = e.bitcast(x, "u32")
    size = bits & 0x7FFFFFFF
    below = e.convert(e.unary("abs", x) * 2.0**24, "u32")
    normal = e.shift_right_logical(size, 13) - (112 << 10)
    special = e.shift_right_logical(size, 13) & 0x3FF | 0x7C00
    result = e.select(size < (113 << 23), below, normal)
    result = e.select(size >= 0x7F800000, special, result)
    return e.convert(result | e.shift_right_logical(bits, 16) & 0x8000, "u16")


def _from_half_bits(word: Expr) -> Expr:
    """The f32 that the bits of a float16 stand for."""
    wide = e.convert(word, "u32")
    size = (wide & 0x7FFF) << 13
    below = e.bitcast(e.convert(wide & 0x3FF, "f32") * 2.0**-24, "u32")
    normal = size + (112 << 23)
    result = e.select(size < (1 << 23), below, normal)
    result = e.select(size >= (31 << 23), size + (224 << 23), result)
    return e.bitcast(result | (wide & 0x8000) << 16, "f32")


def to_bits(value: Expr, kind: str) -> Expr:
    """An element's bits as an unsigned integer of its storage's size."""
    if kind in ("bf16", "f16") and value.op not in ("load", "bitcast"):
        value = round_to(value, kind)  # what has been computed is an f32
    if kind == "bf16":
        return e.convert(e.shift_right_logical(e.bitcast(value, "u32"), 16), "u16")
    if kind == "f16":
        return _half_bits(value)
    return e.bitcast(value, _WORDS[NUMPY[kind].itemsize])


def from_bits(word: Expr, kind: str) -> Expr:
    """The element of a storage type that has these bits."""
    if kind == "bf16":
        return e.bitcast(e.convert(word, "u32") << 16, "f32")
    if kind == "f16":
        return _from_half_bits(word)
    return e.bitcast(word, kind)


# ------------------------------------------------------------------------------ bitcasts
def _has_bits(eqn: Any) -> bool:
    kinds = [storage(a.aval.dtype) for a in (eqn.invars[0], eqn.outvars[0])]
    if kinds[0] == kinds[1]:
        return kinds[0] is not None
    return not {None, "b1", "c64", "c128"} & set(kinds)


@element("bitcast_convert_type", cost=1, supports=_has_bits)
def _bitcast_convert_type(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    source, target = eqn.invars[0].aval, eqn.outvars[0].aval
    old, new = storage_of(source), storage_of(target)
    before, after = [np.dtype(a.dtype).itemsize for a in (source, target)]
    if before == after:
        value = read(0, index)
        return value if old == new else from_bits(to_bits(value, old), new)
    if before > after:  # the last dimension of the result is over the parts of an element
        place, part = index[:-1], index[-1]
        word = to_bits(read(0, place), old)
        shift = e.node("index", (), "i64", part * (8 * after))
        if part.constant is not None:
            shift = e.const(part.constant * 8 * after, "i64")
        piece = e.shift_right_logical(word, e.convert(shift, word.dtype))
        return from_bits(e.convert(piece, _WORDS[after]), new)
    result = None
    for k in range(after // before):
        word = e.convert(to_bits(read(0, (*index, index_of(k))), old), _WORDS[after])
        word = word << (8 * before * k)
        result = word if result is None else result | word
    assert result is not None
    return from_bits(result, new)


# ------------------------------------------------------------------------------ reduce_precision
def _reduced(bits: Expr, kind: str, exponent_bits: int, fraction_bits: int) -> Expr:
    """Bits rounded to fewer of the fraction, to nearest even, then to a smaller range."""
    size, fraction = 8 * NUMPY[bits.dtype].itemsize, _FRACTION[kind]
    exponent = size - 1 - fraction
    infinity = ((1 << exponent) - 1) << fraction
    out = bits
    if fraction_bits < fraction:
        dropped = fraction - fraction_bits
        odd = e.shift_right_logical(bits, dropped) & 1
        out = (bits + odd + ((1 << (dropped - 1)) - 1)) & ((1 << size) - (1 << dropped))
    if exponent_bits < exponent:
        bias, new_bias = (1 << (exponent - 1)) - 1, (1 << (exponent_bits - 1)) - 1
        level, sign = out & infinity, out & (1 << (size - 1))
        out = e.select(level > ((bias + new_bias) << fraction), sign | infinity, out)
        out = e.select(level <= ((bias - new_bias) << fraction), sign, out)
    return out


def _floating(eqn: Any) -> bool:
    return storage(eqn.invars[0].aval.dtype) in _FRACTION


@element("reduce_precision", cost=6, supports=_floating)
def _reduce_precision(eqn: Any, index: tuple[Index, ...], read: Callable) -> Expr:
    p, kind = eqn.params, storage_of(eqn.invars[0].aval)
    x = read(0, index)
    out = _reduced(to_bits(x, kind), kind, p["exponent_bits"], p["mantissa_bits"])
    return e.select(e.ne(x, x), x, from_bits(out, kind))
