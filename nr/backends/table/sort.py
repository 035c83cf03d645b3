"""Sorting kernels: every order is that of unsigned integers made from the keys."""

from types import ModuleType

import numpy as np

from ._structure import Array, Kernel, is_float, on_host, widen


def _ordered_bits(xp: ModuleType, x: Array, *, signed_zero: bool) -> Array:
    """Map real keys to uint32 or uint64 of the same order, with every NaN equal and last.

    Args:
        x: bool, integers or real floats.
        signed_zero: whether -0.0 comes before 0.0, or equals it.
    """
    x = widen(x)
    wide = x.dtype.itemsize == 8
    word, integer = (np.uint64, np.int64) if wide else (np.uint32, np.int32)
    if x.dtype.kind in "bu":
        return x.astype(word)
    sign = word(1 << (63 if wide else 31))
    if x.dtype.kind == "i":
        return x.astype(integer).view(word) ^ sign
    if not signed_zero:
        x = x + x.dtype.type(0)  # -0.0 + 0.0 is 0.0
    x = xp.ascontiguousarray(xp.where(x == x, x, x.dtype.type(np.nan)))
    bits = x.view(integer)
    magnitude = integer(np.iinfo(integer).max)
    return (bits ^ ((bits >> integer(63 if wide else 31)) & magnitude)).view(word) ^ sign


def _numbered(xp: ModuleType, bits: Array) -> Array:
    """Append the place along the last axis to 32-bit keys: all differ, so any sort is stable."""
    places = xp.arange(bits.shape[-1], dtype=np.uint64)
    return (bits.astype(np.uint64) << np.uint64(32)) | places


def _place(numbered: Array) -> Array:
    return (numbered & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _stable_argsort(xp: ModuleType, bits: Array) -> Array:
    if bits.dtype.itemsize == 4:
        return _place(xp.sort(_numbered(xp, bits), axis=-1))
    return xp.argsort(bits, axis=-1, kind="stable")


def _order(xp: ModuleType, keys: list[Array]) -> Array:
    """Return the stable lexicographic order of real keys along their last axis."""
    order = None
    for key in reversed(keys):
        bits = _ordered_bits(xp, key, signed_zero=False)
        if order is None:
            order = _stable_argsort(xp, bits)
        else:
            moved = xp.take_along_axis(bits, order, axis=-1)
            order = xp.take_along_axis(order, _stable_argsort(xp, moved), axis=-1)
    return order


def _has_negative_zero(xp: ModuleType, x: Array) -> bool:
    return is_float(x.dtype) and bool(xp.any(xp.signbit(x) & (x == 0)))


def rows(xp: ModuleType) -> dict[str, Kernel]:
    """Return the kernels of this file over the arrays of `xp`.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name.
    """
    host = on_host(xp)

    def sort(*operands: Array, dimension: int, is_stable: bool, num_keys: int) -> tuple[Array, ...]:
        operands = tuple(xp.asarray(x) for x in operands)
        first = operands[0]
        if first.shape[dimension] <= 1 or first.size == 0:
            return operands
        # Equal reals can be told apart only by the sign of zero; on a device asking would wait.
        signed = is_stable and is_float(first.dtype)
        signed = signed and (not host or _has_negative_zero(xp, first))
        if len(operands) == 1 and first.dtype.kind != "c" and not signed:
            return (xp.sort(widen(first), axis=dimension).astype(first.dtype, copy=False),)
        lasts = [xp.moveaxis(x, dimension, -1) for x in operands]
        keys = []
        for key in lasts[:num_keys]:
            keys += [key.real, key.imag] if key.dtype.kind == "c" else [key]
        order = _order(xp, keys)
        return tuple(
            xp.moveaxis(xp.take_along_axis(x, order, axis=-1), -1, dimension) for x in lasts
        )

    def top_k(x: Array, *, k: int, axis: int = -1) -> tuple[Array, Array]:
        x = xp.asarray(x)
        x = xp.moveaxis(x, axis, -1)
        # Inverted keys ascend as the operand descends, and ties keep the lower index first.
        bits = ~_ordered_bits(xp, x, signed_zero=True)
        if k == 0 or x.size == 0:
            order = xp.empty((*x.shape[:-1], k), np.int64)
        elif bits.dtype.itemsize == 4 and k < x.shape[-1]:
            least = xp.partition(_numbered(xp, bits), k - 1, axis=-1)[..., :k]
            order = _place(xp.sort(least, axis=-1))
        else:
            order = _stable_argsort(xp, bits)[..., :k]
        values = xp.take_along_axis(x, order, axis=-1)
        return xp.moveaxis(values, -1, axis), xp.moveaxis(order.astype(np.int32), -1, axis)

    return {"sort": sort, "top_k": top_k}
