"""Kernels that place, cut, convert and choose elements without computing with them."""

from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np

from ._structure import (
    BFLOAT16,
    Array,
    Kernel,
    is_float,
    is_half,
    narrow,
    on_host,
    widen,
)

# Up to this size filling a fresh array is quicker than making a zero-stride view of the operand.
_SMALL = 2048

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_MANTISSA_BITS = {
    BFLOAT16: 7,
    np.dtype(np.float16): 10,
    np.dtype(np.float32): 23,
    np.dtype(np.float64): 52,
}


def _floor_start(index: Array, size: int, window: int) -> int:
    """Return the start at which a window lies wholly inside an axis."""
    return min(max(int(index), 0), size - window)


def _pad_axis(size: int, low: int, high: int, interior: int) -> tuple[int, slice, slice]:
    """Return the padded size, the elements that survive it, and the places they go to.

    Raises:
        ValueError: The size is negative.
    """
    step = interior + 1
    padded = low + max((size - 1) * step + 1, 0) + high
    if padded < 0:
        raise ValueError("a negative extent")
    first = max(0, -(low // step)) if low < 0 else 0
    last = min(size, (padded - 1 - low) // step + 1)
    if padded <= 0 or last <= first:
        return padded, slice(0, 0), slice(0, 0)
    begin = low + first * step
    return padded, slice(first, last), slice(begin, begin + (last - first - 1) * step + 1, step)


def _reduce_precision(xp: ModuleType, x: Array, exponent_bits: int, mantissa_bits: int) -> Array:
    """Round to fewer mantissa bits (to nearest even), then clamp to a smaller exponent range."""
    dtype = x.dtype
    word = np.dtype(_UNSIGNED[dtype.itemsize])
    mantissa = _MANTISSA_BITS[dtype]
    exponent = word.itemsize * 8 - 1 - mantissa
    bits = xp.ascontiguousarray(x).view(word).reshape(x.shape)
    sign_mask = 1 << (word.itemsize * 8 - 1)
    infinity = ((1 << exponent) - 1) << mantissa

    def const(value: int) -> Any:
        return word.type(value)

    out = bits
    if mantissa_bits < mantissa:
        dropped = mantissa - mantissa_bits
        odd = (bits >> const(dropped)) & const(1)
        out = (bits + odd + const((1 << (dropped - 1)) - 1)) & const(
            (1 << (word.itemsize * 8)) - (1 << dropped)
        )
    if exponent_bits < exponent:
        bias, new_bias = (1 << (exponent - 1)) - 1, (1 << (exponent_bits - 1)) - 1
        level = out & const(infinity)
        sign = out & const(sign_mask)
        out = xp.where(level > const((bias + new_bias) << mantissa), sign | const(infinity), out)
        out = xp.where(level <= const((bias - new_bias) << mantissa), sign, out)
    is_nan = (bits & const(sign_mask - 1)) > const(infinity)
    return xp.where(is_nan, bits, out).view(dtype)


def _float_to_int(xp: ModuleType, x: Array, dtype: np.dtype) -> Array:
    """Truncate towards zero, saturate at the range of `dtype`, and take NaN to 0."""
    info = np.iinfo(dtype)
    real = x.dtype.type
    beyond = float(info.max + 1)
    if on_host(xp) and x.size and x.min() >= info.min and x.max() < beyond:
        return x.astype(dtype)
    inside = xp.clip(x, float(info.min), float(np.nextafter(real(beyond), real(0))))
    whole = xp.where(x == x, inside, real(0)).astype(dtype)
    return xp.where(x >= real(beyond), dtype.type(info.max), whole)


def rows(xp: ModuleType) -> dict[str, Kernel]:
    """Return the kernels of this file over the arrays of `xp`.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name.
    """
    host = on_host(xp)

    def broadcast_in_dim(
        x: Array, *, shape: tuple[int, ...], broadcast_dimensions: tuple[int, ...]
    ) -> Array:
        x = xp.asarray(x)
        if x.shape == tuple(shape):
            return x
        if x.ndim:
            placed = [1] * len(shape)
            for size, dim in zip(x.shape, broadcast_dimensions, strict=True):
                placed[dim] = size
            x = x.reshape(placed)
        size = 1
        for extent in shape:
            size *= extent
        if size > _SMALL:
            return xp.broadcast_to(x, shape)
        out = xp.empty(shape, x.dtype)
        out[...] = x
        return out

    def reshape(x: Array, *, new_sizes: tuple[int, ...]) -> Array:
        return xp.asarray(x).reshape(new_sizes)

    def transpose(x: Array, *, permutation: tuple[int, ...]) -> Array:
        return xp.asarray(x).transpose(permutation)

    def squeeze(x: Array, *, dimensions: tuple[int, ...]) -> Array:
        return xp.asarray(x).squeeze(tuple(dimensions))

    def concatenate(*xs: Array, dimension: int) -> Array:
        return xp.concatenate(xs, axis=dimension)

    def pad(x: Array, pv: Array, *, padding_config: tuple[tuple[int, int, int], ...]) -> Array:
        x = xp.asarray(x)
        axes = [_pad_axis(n, *config) for n, config in zip(x.shape, padding_config, strict=True)]
        out = xp.empty([size for size, _, _ in axes], x.dtype)
        out[...] = pv
        kept = (*(source for _, source, _ in axes), ...)
        out[(*(target for _, _, target in axes), ...)] = x[kept]
        return out

    def slice_(
        x: Array,
        *,
        start_indices: tuple[int, ...],
        limit_indices: tuple[int, ...],
        strides: tuple[int, ...] | None,
    ) -> Array:
        if strides is None:
            cuts = map(slice, start_indices, limit_indices)
        else:
            cuts = map(slice, start_indices, limit_indices, strides)
        return xp.asarray(x)[(*cuts, ...)]

    def dynamic_slice(x: Array, *starts: Array, slice_sizes: tuple[int, ...]) -> Array:
        x = xp.asarray(x)
        begins = map(_floor_start, starts, x.shape, slice_sizes)
        return x[(*(slice(b, b + n) for b, n in zip(begins, slice_sizes, strict=True)), ...)]

    def dynamic_update_slice(x: Array, update: Array, *starts: Array) -> Array:
        out = xp.array(x)
        sizes = np.shape(update)
        begins = map(_floor_start, starts, out.shape, sizes)
        out[(*(slice(b, b + n) for b, n in zip(begins, sizes, strict=True)), ...)] = update
        return out

    def rev(x: Array, *, dimensions: tuple[int, ...]) -> Array:
        x = xp.asarray(x)
        back, same = slice(None, None, -1), slice(None)
        return x[(*(back if d in dimensions else same for d in range(x.ndim)), ...)]

    def iota(*, dtype: np.dtype, shape: tuple[int, ...], dimension: int) -> Array:
        dtype = np.dtype(dtype)
        # 16-bit arange steps in its own precision; counting in integers rounds once.
        counting = dtype if dtype.kind in "iu" and dtype.itemsize >= 4 else np.int64
        line = narrow(xp.arange(shape[dimension], dtype=counting), dtype)
        return broadcast_in_dim(line, shape=shape, broadcast_dimensions=(dimension,))

    def convert_element_type(x: Array, *, new_dtype: np.dtype, weak_type: bool = False) -> Array:
        x, dtype = xp.asarray(x), np.dtype(new_dtype)
        if x.dtype == dtype:
            return x
        if dtype.kind == "b":
            return xp.asarray(x != 0)
        if x.dtype.kind == "c" and dtype.kind != "c":
            x = x.real
        if is_float(x.dtype) and dtype.kind in "iu":
            return xp.asarray(_float_to_int(xp, widen(x), dtype))
        if dtype.itemsize < x.dtype.itemsize or is_half(dtype):
            return narrow(x, dtype)
        return x.astype(dtype)

    def bitcast_convert_type(x: Array, *, new_dtype: np.dtype) -> Array:
        x, dtype = xp.asarray(x), np.dtype(new_dtype)
        old, new = x.dtype.itemsize, dtype.itemsize
        if old == new:
            return x.view(dtype)
        shape = (*x.shape, old // new) if new < old else x.shape[:-1]
        if x.size == 0:
            return xp.empty(shape, dtype)
        return xp.ascontiguousarray(x).reshape(-1).view(dtype).reshape(shape)

    def reduce_precision(x: Array, *, exponent_bits: int, mantissa_bits: int) -> Array:
        return _reduce_precision(xp, xp.asarray(x), exponent_bits, mantissa_bits)

    def copy(x: Array) -> Array:
        return xp.array(x)

    def select_n(which: Array, *cases: Array) -> Array:
        if len(cases) == 1:
            return xp.asarray(cases[0])
        which = xp.asarray(which)
        if host and which.ndim == 0:
            return xp.asarray(cases[min(max(int(which), 0), len(cases) - 1)])
        if which.dtype.kind == "b":
            return xp.where(which, cases[1], cases[0])
        numbered = enumerate(cases[1:], 1)
        return reduce(
            lambda out, case: xp.where(which >= case[0], case[1], out), numbered, cases[0]
        )

    def clamp(lo: Array, x: Array, hi: Array) -> Array:
        x = xp.asarray(x)
        dtype = x.dtype
        # bfloat16's own minimum warns at NaN, so halves are compared in float32.
        lo, x, hi = (widen(xp.asarray(v)) for v in (lo, x, hi))
        return xp.asarray(narrow(xp.minimum(xp.maximum(x, lo), hi), dtype))

    return {
        "broadcast_in_dim": broadcast_in_dim,
        "reshape": reshape,
        "transpose": transpose,
        "squeeze": squeeze,
        "concatenate": concatenate,
        "pad": pad,
        "slice": slice_,
        "dynamic_slice": dynamic_slice,
        "dynamic_update_slice": dynamic_update_slice,
        "rev": rev,
        "iota": iota,
        "convert_element_type": convert_element_type,
        "bitcast_convert_type": bitcast_convert_type,
        "reduce_precision": reduce_precision,
        "copy": copy,
        "in_lanes": lambda x, **params: x,
        "name": lambda x, **params: x,
        "stop_gradient": lambda x: x,
        "optimization_barrier": lambda x: x,
        # in a program, which runs on one device; eagerly the primitive itself places
        "device_put": lambda x, *, device: x,
        "select_n": select_n,
        "clamp": clamp,
    }
