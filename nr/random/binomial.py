"""The binomial and multinomial distributions: by counting where few succeed, else by rejection."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.lax.shape import canonical_shape, full
from nr.numpy.promotion import promote_inexact
from nr.random.arguments import float_dtype, parameter, sample_shape
from nr.random.keys import halves, raw_key, split_raw, subkeys
from nr.random.uniform import unit_uniform
from nr.transforms.control_flow import scan, while_loop

_FEW = 10  # expected successes, above which they are not counted one by one
# Stirling's error of log k! for k below 10.
_ERRORS = (
    0.08106146679532726, 0.04134069595540929, 0.02767792568499834, 0.02079067210376509,
    0.01664469118982119, 0.01387612882307075, 0.01189670994589177, 0.01041126526197209,
    0.009255462182712733, 0.008330563433362871,
)  # fmt: skip


def _stirling_error(k: Array) -> Array:
    """log k! less Stirling's formula for it, of non-negative integers k."""
    table = jnp.asarray(_ERRORS, k.dtype)
    below = table[jnp.clip(k, 0, 9).astype(np.int32)]
    square = (k + 1) * (k + 1)
    above = (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)
    return jnp.where(k <= 9, below, above)


def _by_counting(key: Any, n: Array, p: Array) -> Array:
    """How many geometric waiting times fit in n trials (L. Devroye, Non-Uniform Random Variate
    Generation, 1986, X.4.3)."""
    log_failure = jnp.log1p(-p)

    def succeed(state: tuple) -> tuple:
        count, trials, key = state
        count = jnp.where(trials <= n, count + 1, count)
        subkey, key = subkeys(key, 2)
        waiting = jnp.ceil(jnp.log(unit_uniform(subkey, n.shape, n.dtype)) / log_failure)
        return count, trials + waiting, key

    zeros = full(n.shape, n.dtype.type(0))
    count, _, _ = while_loop(lambda state: jnp.any(state[1] <= n), succeed, (zeros, zeros, key))
    return count - 1


def _by_rejection(key: Any, n: Array, p: Array) -> Array:
    """W. Hormann, "The generation of binomial random variates", Journal of Statistical Computation
    and Simulation 46, 1993 (algorithm BTRS)."""
    spread = jnp.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = n * p + 0.5
    v_r = 0.92 - 4.2 / b
    ratio = p / (1 - p)
    alpha = (2.83 + 5.1 / b) * spread
    mode = jnp.floor((n + 1) * p)

    def attempt(state: tuple) -> tuple:
        out, accepted, key = state
        key, u_key, v_key = subkeys(key, 3)
        u = unit_uniform(u_key, n.shape, n.dtype) - 0.5
        v = unit_uniform(v_key, n.shape, n.dtype)
        inner = 0.5 - jnp.abs(u)
        k = jnp.floor((2 * a / inner + b) * u + c)
        inside = (inner >= 0.07) & (v <= v_r)
        outside = (k < 0) | (k > n)
        left = jnp.log(v * alpha / (a / (inner * inner) + b))
        right = (
            (mode + 0.5) * jnp.log((mode + 1) / (ratio * (n - mode + 1)))
            + (n + 1) * jnp.log((n - mode + 1) / (n - k + 1))
            + (k + 0.5) * jnp.log(ratio * (n - k + 1) / (k + 1))
            + _stirling_error(mode)
            + _stirling_error(n - mode)
            - _stirling_error(k)
            - _stirling_error(n - k)
        )
        accept = inside | (~outside & (left <= right))
        return jnp.where(accept, k, out), accepted | accept, key

    start = (full(n.shape, n.dtype.type(-1)), full(n.shape, False), key)
    return while_loop(lambda state: ~jnp.all(state[1]), attempt, start)[0]


def _binomial(key: Any, n: Array, p: Array) -> Array:
    invalid = jnp.isnan(n) | jnp.isnan(p) | (n < 0) | (p < 0) | (p > 1)
    n, p = jnp.where(invalid, 0, jnp.floor(n)), jnp.where(invalid, 0.5, p)
    # The rarer outcome is drawn.
    rare = jnp.where(p < 0.5, p, 1 - p)
    few = n * rare <= _FEW
    counted = _by_counting(key, jnp.where(few & (rare > 0), n, 0), jnp.where(few, rare, 0.5))
    drawn = _by_rejection(key, jnp.where(few, 1e4, n), jnp.where(few, 0.5, rare))
    out = jnp.where(rare > 0, jnp.where(few, counted, drawn), 0)
    out = jnp.where(p < 0.5, out, n - out)
    return jnp.where(invalid, jnp.nan, out).astype(n.dtype)


def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = None) -> Array:
    """How many of n trials succeed, each with probability p, as floating numbers.

    Args:
        key: a key, typed or raw.
        n: the number of trials; broadcasts to the shape.
        p: the probability; broadcasts to the shape. NaN is drawn where it is not in [0, 1].
        shape: of the result, by default that of n and p.
        dtype: floating, by default the default float. (Samples are computed in that of n and p.)

    Example:
        >>> import nr
        >>> nr.random.binomial(nr.random.key(0), 10, nr.numpy.array([0.0, 1.0]))
        Array([ 0., 10.], dtype=float32)
    """
    op = "binomial"
    raw, dtype = raw_key(op, key), float_dtype(op, dtype)
    shape = sample_shape(op, shape, n=n, p=p)
    if 0 in shape:
        return full(shape, dtype.type(0))
    wide = float_dtype(op, promote_inexact(op, n, p)[0].dtype)
    args = [parameter(op, x, wide, shape) for x in (n, p)]
    return _binomial(halves(raw), *args).astype(dtype)


def multinomial(
    key: Any,
    n: Any,
    p: Any,
    *,
    shape: Any = None,
    dtype: Any = None,
    unroll: int | bool = 1,
) -> Array:
    """How often each of several outcomes comes in n trials.

    Each outcome's count is binomial, given those of the outcomes before it.

    Args:
        key: a key, typed or raw.
        n: the number of trials; broadcasts to the shape without its last axis.
        p: the outcomes' probabilities along the last axis; broadcasts to the shape.
        shape: of the result, outcomes last; by default that of p.
        dtype: of the result, by default the default float.
        unroll: as for `nr.lax.scan`.

    Returns:
        Counts that sum to n along the last axis.

    Raises:
        ValueError: if p has rank 0.

    Example:
        >>> import nr
        >>> nr.random.multinomial(nr.random.key(0), 10, nr.numpy.array([0.0, 1.0]))
        Array([ 0., 10.], dtype=float32)
    """
    op = "multinomial"
    raw, p = raw_key(op, key), operand(op, p)
    dtype = dtypes.canonicalize(float if dtype is None else dtype)
    wide = dtypes.to_inexact(dtype)
    if not p.ndim:
        raise ValueError(f'{op}: rank 1 or more was expected; got {p.aval} for "p".')
    shape = sample_shape(op, p.shape if shape is None else canonical_shape(op, shape), p=p)
    *batch, outcomes = shape
    n = parameter(op, n, wide, sample_shape(op, tuple(batch), n=n))
    p = jnp.moveaxis(parameter(op, p, wide, shape), -1, 0)
    left = jnp.cumsum(p[::-1], 0)[::-1]
    ratios = jnp.clip(p / jnp.where(left == 0, 1, left), 0, 1)

    def draw(rest: Array, step: tuple) -> tuple:
        subkey, ratio = step
        count = binomial(subkey, rest, ratio, batch, wide)
        return rest - count, count

    counts = scan(draw, n, (split_raw(raw, (outcomes,)), ratios), unroll=unroll)[1]
    return jnp.moveaxis(counts, 0, -1).astype(dtype)
