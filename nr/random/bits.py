"""Uniform bits: one block of Threefry's output an element, the counter being its flat index."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import or_p, shift_left_p, xor_p
from nr.lax.shape import canonical_shape, reshape
from nr.lax.threefry import random_word_p
from nr.random.keys import counters, encrypt_counters, halves, raw_key

UINT = {8 * n: np.dtype(f"uint{8 * n}") for n in (1, 2, 4, 8)}


def bits(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Uniformly distributed unsigned integers of all their bits.

    Args:
        key: a key, typed or raw.
        shape: of the result.
        dtype: an unsigned integer dtype, by default uint32 (uint64 if the default int is int64).

    Raises:
        ValueError: if the dtype is not an unsigned integer type.

    Example:
        >>> import nr
        >>> nr.random.bits(nr.random.key(0), (2,), "uint8")
        Array([167, 146], dtype=uint8)
    """
    raw = raw_key("bits", key)
    dtype = UINT[8 * config.default_int.itemsize] if dtype is None else dtypes.canonicalize(dtype)
    if dtype not in dtypes.UNSIGNED:
        raise ValueError(
            f"bits: dtype must be an unsigned integer type; got {dtypes.short_name(dtype)}. "
            f"Use nr.random.randint for others."
        )
    return random_bits(raw, 8 * dtype.itemsize, canonical_shape("bits", shape))


def random_bits(key: Any, width: int, shape: tuple[int, ...]) -> Any:
    """Unsigned integers of 8, 16, 32 or 64 random bits from a raw key."""
    k1, k2 = halves(key)
    size = math.prod(shape)
    if width == 64:
        first, second = encrypt_counters(k1, k2, size)
        return reshape(mix(first, second, width), shape)
    word = random_word_p.bind(k1, k2, *counters(size))
    return reshape(convert_element_type(word, UINT[width]), shape)


def mix(first: Any, second: Any, width: int) -> Any:
    """Unsigned integers of a width from the halves of Threefry's blocks."""
    if width == 64:
        high = convert_element_type(first, UINT[64])
        return or_p.bind(
            shift_left_p.bind(high, np.uint64(32)), convert_element_type(second, UINT[64])
        )
    return convert_element_type(xor_p.bind(first, second), UINT[width])
