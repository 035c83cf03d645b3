"""The primitives of `nr.random`: the Threefry-2x32 block cipher, and maps of uniform samples.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.dtypes import FLOATING
from nr.core.tracing import typeof
from nr.lax.elementwise import div, exp, mul, square
from nr.lax.rules import (
    const_like,
    elementwise,
    elementwise_aval,
    elementwise_batch,
    nondifferentiable,
    operands,
)

_UINT32 = frozenset([np.dtype(np.uint32)])
_common_aval = elementwise_aval("threefry2x32", _UINT32)
_batch_elements = elementwise_batch("threefry2x32")


def _threefry_aval(*avals: ShapedArray) -> list[ShapedArray]:
    return [_common_aval(*avals).strip_weak_type()] * 2


def _threefry_batch(axis: Any, args: Sequence[Any], dims: Sequence[int | None]) -> Any:
    outs, dim = _batch_elements(axis, args, dims)
    return outs, [dim, dim]


threefry2x32_p = nondifferentiable(
    "threefry2x32", abstract_eval=_threefry_aval, batch=_threefry_batch, multiple_results=True
)


_word_aval = elementwise_aval("random_word", _UINT32)
random_word_p = nondifferentiable(
    "random_word",
    abstract_eval=lambda *avals: _word_aval(*avals).strip_weak_type(),
    batch=elementwise_batch("random_word"),
)


def threefry2x32(k1: Any, k2: Any, x1: Any, x2: Any) -> tuple[Array, Array]:
    """The 64-bit blocks (x1, x2) encrypted under the 64-bit keys (k1, k2), 20 rounds.

    Args:
        k1, k2: the halves of the keys, uint32.
        x1, x2: the halves of the blocks, uint32. All four have one shape, or rank 0.

    Returns:
        The halves of the encrypted blocks.

    Example:
        >>> import nr
        >>> from nr.lax.threefry import threefry2x32
        >>> zero = nr.numpy.uint32(0)
        >>> [hex(int(x)) for x in threefry2x32(zero, zero, zero, zero)]
        ['0x6b200159', '0x99ba4efe']
    """
    words = operands("threefry2x32", k1, k2, x1, x2)
    # The kernel would broadcast what has to have one shape: check before, not after a failure.
    threefry2x32_p.abstract_eval(*map(typeof, words))
    return tuple(threefry2x32_p.bind(*words))


def random_word(k1: Any, k2: Any, x1: Any, x2: Any) -> Array:
    """32 random bits: the halves of an encrypted block (see `threefry2x32`), combined by xor.

    Args:
        k1, k2: the halves of the keys, uint32.
        x1, x2: the halves of the blocks, uint32. All four have one shape, or rank 0.

    Example:
        >>> import nr
        >>> from nr.lax.threefry import random_word
        >>> zero = nr.numpy.uint32(0)
        >>> hex(int(random_word(zero, zero, zero, zero)))
        '0xf29a4fa7'
    """
    words = operands("random_word", k1, k2, x1, x2)
    random_word_p.abstract_eval(*map(typeof, words))
    return random_word_p.bind(*words)


def _normal_derivative(t: Any, z: Any, u: Any) -> Any:
    half_square = mul(square(z), const_like(z, 0.5))
    return mul(t, mul(exp(half_square), const_like(z, math.sqrt(math.pi / 2))))


# sqrt(2) erf_inv(u): a standard normal sample from u uniform in (-1, 1). And log(u) of u in (0, 1].
# In single precision both round as XLA does, which keeps samples within a few ulp of JAX's.
normal_from_uniform_p = elementwise("normal_from_uniform", FLOATING, _normal_derivative)
log_of_uniform_p = elementwise("log_of_uniform", FLOATING, lambda t, y, u: div(t, u))
