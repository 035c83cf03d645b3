"""Where a token stands: rotary embeddings, ALiBi, sinusoids. Learned positions are an Embedding.

Positions are arrays of integers (or floats), so that they may be traced: those of a decoding step
are known only when it runs. Angles are float32 for numbers of 16 bits, which cannot count to 1000.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.lax.rules import operand
from nr.lax.shape import iota
from nr.nn.module import module, static

__all__ = ["Rotary", "alibi_bias", "alibi_slopes", "sinusoidal_positions"]


def _positions(op: str, name: str, x: Any) -> Array:
    x = operand(op, x)
    if x.dtype not in dtypes.INTEGER and x.dtype not in dtypes.FLOATING:
        raise TypeError(
            f'{op}: integers or floats were required; got {x.aval} for "{name}". '
            "Positions are counted from 0: nr.numpy.arange(length)."
        )
    return x


def _angles(positions: Array, features: int, base: float, dtype: Any) -> Array:
    """positions * base ** (-2 i / features), [..., features / 2]."""
    rates = base ** (-np.arange(0, features, 2) / features)
    return positions.astype(dtype)[..., None] * rates.astype(dtype)


def _wide(dtype: np.dtype) -> np.dtype:
    """The dtype of angles: not less than float32."""
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype


# ---------------------------------------------------------------- rotary
@module
class Rotary:
    """Rotary position embedding: turns pairs of features by angles proportional to the position.

    Products of a query at i and a key at j then depend on i - j. Pair p of d features is turned
    by position * base ** (-2 p / d).

    Attributes:
        base: the slowest pair turns once in about 2 pi * base positions. Larger for longer texts.
        dims: how many of the features are turned, the first ones; None for all. An even number.
        interleaved: whether pairs are neighbours, features 2 p and 2 p + 1, as in the paper and
            in GPT-J; otherwise they are features p and p + d / 2, as in GPT-NeoX and Llama.

    Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.

    Example:
        >>> import nr
        >>> queries = nr.random.normal(nr.random.key(0), (5, 4, 8))
        >>> turned = nr.nn.Rotary()(queries)
        >>> turned.shape, bool((turned[0] == queries[0]).all())  # position 0 is not turned
        ((5, 4, 8), True)
    """

    base: float = static(default=10000.0)
    dims: int | None = static(default=None)
    interleaved: bool = static(default=False)

    def __call__(self, x: Any, positions: Any = None) -> Array:
        """Turn queries or keys.

        Args:
            x: [..., T, N, H]: positions, heads, features.
            positions: [T], or [..., T] that broadcasts against the leading dimensions of x; by
                default 0 to T - 1.

        Returns:
            The shape and dtype of x.

        Raises:
            TypeError: x is not floating, has too few dimensions or features, or `dims` is odd;
                or positions do not fit.
        """
        x = operand("Rotary", x)
        if x.ndim < 3 or x.dtype not in dtypes.FLOATING:
            raise TypeError(
                f'Rotary: floating [..., T, N, H] was required; got {x.aval} for "x". '
                "Heads are the last axis but one, positions stand before them."
            )
        dims = x.shape[-1] if self.dims is None else self.dims
        if dims % 2 or not 0 < dims <= x.shape[-1]:
            raise TypeError(
                f"Rotary: an even number of features to turn, at most {x.shape[-1]}, was required; "
                f'got {dims} for x {x.aval}. Give Rotary another "dims".'
            )
        if positions is None:
            positions = iota(np.int32, x.shape[-3])
        positions = _positions("Rotary", "positions", positions)
        given, lead = positions.shape, x.shape[:-2]
        fits = 0 < len(given) <= len(lead) and all(
            [n in (1, m) for n, m in zip(given[::-1], lead[::-1], strict=False)]
        )
        if not fits:
            raise TypeError(
                f"Rotary: positions that broadcast against {list(lead)} were required; "
                f'got {positions.aval} for "positions", {x.aval} for "x".'
            )
        wide = _wide(x.dtype)
        angles = _angles(positions, dims, self.base, wide)[..., None, :]
        cos, sin = jnp.cos(angles), jnp.sin(angles)
        turned, rest = x[..., :dims].astype(wide), x[..., dims:]
        if self.interleaved:
            pairs = turned.reshape((*turned.shape[:-1], dims // 2, 2))
            first, second = pairs[..., 0], pairs[..., 1]
        else:
            first, second = turned[..., : dims // 2], turned[..., dims // 2 :]
        parts = [first * cos - second * sin, second * cos + first * sin]
        if self.interleaved:
            out = jnp.stack(parts, -1).reshape(turned.shape).astype(x.dtype)
        else:
            out = jnp.concatenate(parts, -1).astype(x.dtype)
        return out if dims == x.shape[-1] else jnp.concatenate([out, rest], -1)


# ---------------------------------------------------------------- ALiBi
def alibi_slopes(num_heads: int) -> Array:
    """How much a head's scores fall with each position of distance, f32[num_heads].

    They are 2 ** (-8 i / n) for i = 1 to n if n is a power of 2. Otherwise they are those of the
    next lower power of 2, m, and then every other one of those of 2 m.

    Source: Press et al., "Train Short, Test Long", 2021, and its published program.

    Example:
        >>> import nr
        >>> nr.nn.alibi_slopes(4)
        Array([0.25      , 0.0625    , 0.015625  , 0.00390625], dtype=float32)
    """
    if num_heads < 1:
        raise ValueError(f"alibi_slopes: at least 1 head was required; got {num_heads}.")
    lower = 1 << (num_heads.bit_length() - 1)
    exponents = [8 * i / lower for i in range(1, lower + 1)]
    exponents += [4 * i / lower for i in range(1, 2 * (num_heads - lower), 2)]
    return jnp.asarray(np.exp2(-np.array(exponents)), np.float32)


def alibi_bias(num_heads: int, positions: Any, key_positions: Any = None) -> Array:
    """Attention with linear biases: what is added to scores, -slope * \\|i - j\\|.

    Args:
        num_heads: the number of query heads.
        positions: of the queries, [..., T].
        key_positions: of the keys, [..., S]; by default those of the queries. For a cache, those
            of all of it: ``arange(max_length)``.

    Returns:
        f32[..., num_heads, T, S], the `bias` of `MultiHeadAttention`, `dot_product_attention`.

    Source: as `alibi_slopes`.

    Example:
        >>> import nr
        >>> nr.nn.alibi_bias(8, nr.numpy.arange(3))[0]
        Array([[ 0. , -0.5, -1. ],
               [-0.5,  0. , -0.5],
               [-1. , -0.5,  0. ]], dtype=float32)
    """
    positions = _positions("alibi_bias", "positions", positions)
    if key_positions is None:
        key_positions = positions
    key_positions = _positions("alibi_bias", "key_positions", key_positions)
    for name, x in (("positions", positions), ("key_positions", key_positions)):
        if x.ndim == 0:
            raise TypeError(
                f'alibi_bias: [..., length] was required; got {x.aval} for "{name}". '
                "One position is an array of length 1."
            )
    i = positions.astype(np.float32)[..., None, :, None]
    j = key_positions.astype(np.float32)[..., None, None, :]
    return jnp.minimum(i - j, j - i) * alibi_slopes(num_heads)[:, None, None]


# ---------------------------------------------------------------- sinusoids
def sinusoidal_positions(
    positions: Any, features: int, *, base: float = 10000.0, dtype: Any = None
) -> Array:
    """Vectors of positions: sine and cosine of position / base ** (2 i / features), by turns.

    Args:
        positions: how many, counted from 0; or an array of positions.
        features: the size of the vectors, an even number.
        base: as in the formula.
        dtype: of the result, by default the default float.

    Returns:
        [length, features] for a number, [..., features] for an array. Features 2 i are sines and
        features 2 i + 1 are cosines.

    Raises:
        ValueError: the number of features is odd.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.5.

    Example:
        >>> import nr
        >>> nr.nn.sinusoidal_positions(2, 4)
        Array([[0.        , 1.        , 0.        , 1.        ],
               [0.841471  , 0.5403023 , 0.00999983, 0.99995   ]], dtype=float32)
    """
    if features < 2 or features % 2:
        raise ValueError(
            f"sinusoidal_positions: an even number of features was required; got {features}."
        )
    kind = config.default_float if dtype is None else dtypes.canonicalize(dtype)
    wide = _wide(kind)
    if isinstance(positions, int):
        positions = iota(np.int32, positions)
    positions = _positions("sinusoidal_positions", "positions", positions)
    angles = _angles(positions, features, base, wide)
    table = jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1)
    return table.reshape((*positions.shape, features)).astype(kind)
