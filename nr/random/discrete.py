"""Distributions over integers and categories."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.core.tracing import typeof
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import (
    add,
    add_p,
    bitwise_and,
    clamp,
    div,
    eq,
    floor,
    gt,
    log,
    log1p,
    lt,
    lt_p,
    mul,
    neg,
    rem,
    sub,
)
from nr.lax.reduce import argmax
from nr.lax.rules import canonical_axis, move_dim, operand
from nr.lax.select import select
from nr.lax.shape import canonical_shape, reshape, slice_in_dim
from nr.lax.sort import top_k
from nr.random.arguments import broadcast_to, integer_dtype, parameter, sample_shape
from nr.random.bits import UINT, random_bits
from nr.random.continuous import float_dtype_of, gumbel, random_signs
from nr.random.keys import raw_key, subkeys
from nr.random.uniform import unit_uniform

_INT32 = np.dtype(np.int32)


# ---------------------------------------------------------------- integers
def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = None) -> Array:
    """Integers uniformly distributed in [minval, maxval); minval where that is empty.

    Twice as many random bits as the dtype has are reduced modulo maxval - minval, so that the bias
    is negligible.

    Args:
        key: a key, typed or raw.
        shape: of the result.
        minval, maxval: the bounds, which broadcast to the shape.
        dtype: an integer dtype, by default the default integer.

    Raises:
        TypeError: if the dtype is not an integer type.
        ValueError: if a bound does not broadcast to the shape.

    Example:
        >>> import nr
        >>> nr.random.randint(nr.random.key(0), (5,), 0, 10)
        Array([9, 0, 2, 3, 1], dtype=int32)
    """
    raw = raw_key("randint", key)
    dtype = integer_dtype("randint", dtype)
    shape = sample_shape("randint", canonical_shape("randint", shape), minval=minval, maxval=maxval)
    if isinstance(minval, int) and isinstance(maxval, int):
        return _randint_static(raw, shape, minval, maxval, dtype)
    wide = _INT32 if dtype.itemsize < 4 else dtype  # never fewer than 32 bits: less bias
    lo, hi = _bound("minval", minval), _bound("maxval", maxval)
    if wide != dtype:
        info = dtypes.iinfo(dtype)
        lo, hi = _clip(lo, wide, info.min, info.max), _clip(hi, wide, info.min, info.max + 1)
    out = _randint(raw, shape, lo, hi, wide)
    return convert_element_type(out, dtype)


def _bound(name: str, x: Any) -> Any:
    x = operand("randint", x)
    if x.dtype not in dtypes.REAL | dtypes.BOOL:
        raise TypeError(
            f'randint: integers were expected; got {x.aval} for "{name}". Take .real of it.'
        )
    return x if x.dtype in dtypes.INTEGER else convert_element_type(x, int)


def _clip(x: Any, dtype: np.dtype, lo: int, hi: int) -> Any:
    """Integers in another dtype, held between bounds that the dtype has."""
    info = dtypes.iinfo(typeof(x).dtype)
    return convert_element_type(clamp(max(lo, int(info.min)), x, min(hi, int(info.max))), dtype)


def _random_offsets(
    key: Any, shape: tuple[int, ...], width: int, span: Any, multiplier: Any
) -> Any:
    """Random numbers of 2 * width bits modulo span, multiplier being 2**width modulo span."""
    high_key, low_key = subkeys(key, 2)
    low = rem(random_bits(low_key, width, shape), span)
    if isinstance(multiplier, np.generic) and multiplier == 0:
        return low
    high = rem(random_bits(high_key, width, shape), span)
    return rem(add(mul(high, multiplier), low), span)


def _randint_static(
    key: Any, shape: tuple[int, ...], minval: int, maxval: int, dtype: np.dtype
) -> Any:
    """`randint` between Python integers: what depends on them alone is computed here."""
    info = dtypes.iinfo(dtype)
    lo, top = [min(max(n, int(info.min)), int(info.max)) for n in (minval, maxval)]
    wide = _INT32 if dtype.itemsize < 4 else dtype
    span = max(top - lo + (maxval > int(info.max)), 0) if maxval > minval else 0
    width = 8 * wide.itemsize
    uint = UINT[width]
    if span == 1 << width:
        _, low_key = subkeys(key, 2)
        offsets = random_bits(low_key, width, shape)
    else:
        span = max(span, 1)
        half = (1 << width // 2) % span
        multiplier = half * half % (1 << width) % span
        offsets = _random_offsets(key, shape, width, uint.type(span), uint.type(multiplier))
    out = convert_element_type(offsets, wide)
    if lo:
        out = add_p.bind(out, np.asarray(lo).astype(wide)[()])
    return convert_element_type(out, dtype)


def _randint(key: Any, shape: tuple[int, ...], lo: Any, hi: Any, dtype: np.dtype) -> Any:
    info = dtypes.iinfo(dtype)
    top = min(int(info.max), int(dtypes.iinfo(typeof(hi).dtype).max))
    beyond = gt(hi, typeof(hi).dtype.type(top))
    lo, hi = [_clip(x, dtype, int(info.min), int(info.max)) for x in (lo, hi)]
    lo, hi, beyond = [x if not x.shape else broadcast_to(x, shape) for x in (lo, hi, beyond)]
    width = 8 * dtype.itemsize
    uint = UINT[width]
    zero, one = uint.type(0), uint.type(1)
    some = gt(hi, lo)
    span = select(some, convert_element_type(sub(hi, lo), uint), one)
    # One more where maxval lies beyond the dtype; this wraps to 0 where the range is all of it.
    span = select(bitwise_and(beyond, some), add(span, one), span)
    full = eq(span, zero)
    span = select(full, one, span)
    half = rem(uint.type(1 << width // 2), span)
    offsets = _random_offsets(key, shape, width, span, rem(mul(half, half), span))
    everything = random_bits(subkeys(key, 2)[1], width, shape)
    return add(lo, convert_element_type(select(full, everything, offsets), dtype))


# ---------------------------------------------------------------- two outcomes
def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, mode: str = "low") -> Array:
    """True with probability p.

    Args:
        key: a key, typed or raw.
        p: floating, broadcasts to the shape.
        shape: of the result, by default that of p.
        mode: "low", or "high" for probabilities finer than the uniform samples of p's dtype.

    Raises:
        TypeError: if p is not floating.
        ValueError: for another mode.
    """
    raw = raw_key("bernoulli", key)
    dtype = float_dtype_of("bernoulli", p)
    if mode not in ("low", "high"):
        raise ValueError(f"bernoulli: mode must be 'low' or 'high'; got {mode!r}.")
    shape = sample_shape("bernoulli", shape, p=p)
    p = parameter("bernoulli", p, dtype, typeof(p).shape and shape)
    if mode == "low":
        return lt_p.bind(unit_uniform(raw, shape, dtype), p)
    u = unit_uniform(raw, (2, *shape), dtype)
    first, second = [reshape(slice_in_dim(u, i, i + 1), shape) for i in (0, 1)]
    fine = mul(second, dtype.type(2.0 ** -dtypes.finfo(dtype).nmant))
    return lt(fine, sub(p, first))


def rademacher(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """-1 or 1 with equal chance; integers by default."""
    raw = raw_key("rademacher", key)
    dtype = dtypes.canonicalize(int if dtype is None else dtype)
    if dtype not in dtypes.SIGNED | dtypes.INEXACT:
        raise TypeError(
            f"rademacher: the dtype must have -1; got {dtypes.short_name(dtype)}. Use 'int32'."
        )
    return random_signs(raw, canonical_shape("rademacher", shape), dtype)


# ---------------------------------------------------------------- counts
def geometric(key: Any, p: Any, shape: Any = None, dtype: Any = None) -> Array:
    """The number of trials up to the first success, each succeeding with probability p."""
    raw = raw_key("geometric", key)
    dtype = integer_dtype("geometric", dtype)
    shape = sample_shape("geometric", shape, p=p)
    float_dt = dtypes.to_inexact(typeof(p).dtype)
    p = parameter("geometric", p, float_dt, shape)
    one = float_dt.type(1)
    u = unit_uniform(raw, shape, float_dt)
    log_u = log(select(eq(u, float_dt.type(0)), one, u))
    return convert_element_type(add(floor(div(log_u, log1p(neg(p)))), one), dtype)


# ---------------------------------------------------------------- categories
def categorical(
    key: Any,
    logits: Any,
    axis: int = -1,
    shape: Any = None,
    replace: bool = True,
    mode: str | None = None,
) -> Array:
    """Categories with probabilities softmax(logits), by the largest of Gumbel-perturbed logits.

    Args:
        key: a key, typed or raw.
        logits: floating; unnormalized log probabilities along an axis.
        axis: the axis of the categories.
        shape: of the result, which must end in the shape of the logits without the axis; that is
            the default.
        replace: whether a category may come more than once along the new leading dimensions.
        mode: as for `gumbel`.

    Returns:
        Integers of the default integer dtype.

    Raises:
        TypeError: if the logits are not floating.
        ValueError: if the shape does not fit, or there are too few categories without replacement.

    Example:
        >>> import nr
        >>> nr.random.categorical(nr.random.key(0), nr.numpy.array([0., 9., 0.]), shape=(4,))
        Array([1, 1, 1, 1], dtype=int32)
    """
    raw = raw_key("categorical", key)
    logits = operand("categorical", logits)
    dtype = float_dtype_of("categorical", logits)
    axis = canonical_axis("categorical", axis, logits.ndim)
    batch = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    shape = batch if shape is None else canonical_shape("categorical", shape)
    prefix = shape[: len(shape) - len(batch)]
    tail = shape[len(prefix) :]
    if len(tail) != len(batch) or any(
        m != n and (m != 1 or not replace) for m, n in zip(batch, tail, strict=True)
    ):
        raise ValueError(
            f"categorical: the shape must end in {batch}, that of the logits without axis {axis}; "
            f'got shape {shape} for {logits.aval} as "logits".'
        )
    if replace:
        full = (*prefix, *tail[:axis], logits.shape[axis], *tail[axis:])
        perturbed = add(gumbel(raw, full, dtype, mode), broadcast_to(logits, full))
        return argmax(perturbed, axis + len(prefix), config.default_int)
    n, k = logits.shape[axis], math.prod(prefix)
    if k > n:
        raise ValueError(
            f"categorical: without replacement there are at most {n} samples; got shape {shape}, "
            f"{k} a distribution. Use replace=True."
        )
    perturbed = add(logits, gumbel(raw, logits.shape, dtype, mode))
    indices = top_k(move_dim(perturbed, axis, logits.ndim - 1), k)[1]
    return reshape(move_dim(indices, len(batch), 0), shape)
