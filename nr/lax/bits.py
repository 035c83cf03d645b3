"""The high half of integer products, and random bits from a state that is passed along."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.dtypes import INTEGER
from nr.core.tracing import typeof
from nr.lax.convert import bitcast_convert_type, convert_element_type
from nr.lax.elementwise import (
    add,
    bitwise_and,
    bitwise_or,
    lt,
    mul,
    shift_left,
    shift_right_arithmetic,
    shift_right_logical,
)
from nr.lax.rules import const_like, operand, operands
from nr.lax.shape import canonical_shape, index_in_dim, iota, reshape, slice_in_dim
from nr.lax.stacking import stack
from nr.lax.threefry import threefry2x32_p

_UINT32, _UINT64 = np.dtype(np.uint32), np.dtype(np.uint64)


# ---------------------------------------------------------------- products
def mulhi(x: Any, y: Any) -> Array:
    """The upper half of the bits of integer products, whose lower half `mul` gives.

    Raises:
        TypeError: for dtypes that are not integer.

    Example:
        >>> import nr
        >>> nr.lax.mulhi(nr.numpy.int32(1 << 20), nr.numpy.int32(1 << 20))
        Array(256, dtype=int32)
    """
    x, y = operands("mulhi", x, y, accepts=INTEGER)
    dtype = typeof(x).dtype
    if dtype.itemsize < 8:
        wide = np.dtype(np.int64 if dtype.kind == "i" else np.uint64)
        product = mul(convert_element_type(x, wide), convert_element_type(y, wide))
        shift = shift_right_arithmetic if dtype.kind == "i" else shift_right_logical
        return convert_element_type(shift(product, const_like(product, 8 * dtype.itemsize)), dtype)
    # By halves of 32 bits: those above carry the sign.
    shift = shift_right_arithmetic if dtype.kind == "i" else shift_right_logical
    half, mask = const_like(x, 32), const_like(x, 0xFFFFFFFF)
    (x_high, x_low), (y_high, y_low) = [(shift(z, half), bitwise_and(z, mask)) for z in (x, y)]
    carry = shift_right_logical(mul(x_low, y_low), half)
    first = add(mul(x_high, y_low), carry)
    second = add(mul(x_low, y_high), bitwise_and(first, mask))
    return add(mul(x_high, y_high), add(shift(first, half), shift(second, half)))


# ---------------------------------------------------------------- random bits
class RandomAlgorithm(enum.IntEnum):
    """Generators of `rng_bit_generator`; the default is Threefry."""

    RNG_DEFAULT = 0
    RNG_THREE_FRY = 1
    RNG_PHILOX = 2


def rng_bit_generator(
    key: Any,
    shape: Sequence[int],
    dtype: Any = np.uint32,
    algorithm: RandomAlgorithm = RandomAlgorithm.RNG_DEFAULT,
) -> tuple[Array, Array]:
    """Random bits by Threefry, and the state from which to go on. Mostly `nr.random` is better.

    Args:
        key: the state, uint32[4] or uint64[2]: a key, and how many blocks have been taken.
        shape: of the result.
        dtype: uint8, uint16, uint32 or uint64.
        algorithm: the default or Threefry.

    Returns:
        The state after this, and the bits.

    Raises:
        TypeError: for other keys and dtypes.
        NotImplementedError: for Philox.

    Example:
        >>> import nr
        >>> state, bits = nr.lax.rng_bit_generator(nr.numpy.arange(4, dtype="uint32"), (2,))
        >>> state
        Array([0, 1, 3, 3], dtype=uint32)
    """
    op = "rng_bit_generator"
    key, dtype, shape = operand(op, key), dtypes.canonicalize(dtype), canonical_shape(op, shape)
    if (key.shape, key.dtype) not in (((4,), _UINT32), ((2,), _UINT64)):
        raise TypeError(f'{op}: u32[4] or u64[2] was expected; got {key.aval} for "key".')
    if dtype.kind != "u":
        raise TypeError(
            f"{op}: the dtype must be u8, u16, u32 or u64; got {dtypes.short_name(dtype)}."
        )
    if algorithm == RandomAlgorithm.RNG_PHILOX:
        raise NotImplementedError(f"{op}: the algorithm must be Threefry; got {algorithm!r}.")
    words = reshape(bitcast_convert_type(key, _UINT32), (4,))
    k1, k2, low, high = [index_in_dim(words, i, keepdims=False) for i in range(4)]
    # A block has two words. They lie beside each other along an even dimension, or the largest.
    rank, blocks = len(shape), list(shape)
    split = next((d for d, n in enumerate(shape) if n % 2 == 0), None)
    if split is None and rank:
        split = int(np.argmax(shape))
    if dtype != _UINT64 and split is not None:
        blocks[split] = -(-shape[split] // 2)
    count = math.prod(blocks)

    def counter(steps: Any) -> tuple[Any, Any]:
        at = add(low, steps)
        return at, add(high, convert_element_type(lt(at, low), _UINT32))

    at = [reshape(x, tuple(blocks)) for x in counter(iota(_UINT32, count))]
    outs = threefry2x32_p.bind(k1, k2, *at)
    if dtype == _UINT64:
        first, second = [convert_element_type(x, _UINT64) for x in outs]
        bits = bitwise_or(first, shift_left(second, const_like(second, 32)))
    elif split is None:
        bits = outs[0]
    else:
        both = stack(outs, split + 1)
        joined = (*blocks[:split], 2 * blocks[split], *blocks[split + 1 :])
        bits = slice_in_dim(reshape(both, joined), 0, shape[split], axis=split)
    state = stack([k1, k2, *counter(np.uint32(count))])
    if key.dtype == _UINT64:
        state = bitcast_convert_type(reshape(state, (2, 2)), _UINT64)
    return state, convert_element_type(bits, dtype)
