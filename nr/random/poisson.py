"""The Poisson distribution: by counting arrivals where they are few, by rejection where many."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core.array import Array
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import (
    abs,
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    div,
    eq,
    floor,
    ge,
    gt,
    le,
    log,
    lt,
    mul,
    ne,
    neg,
    sqrt,
    sub,
)
from nr.lax.reduce import reduce_or
from nr.lax.select import select
from nr.lax.shape import full
from nr.lax.special import lgamma
from nr.random.arguments import integer_dtype, parameter, sample_shape
from nr.random.keys import halves, raw_key, subkeys
from nr.random.uniform import unit_uniform
from nr.transforms.control_flow import while_loop

_F32 = np.dtype(np.float32)
_FEW = np.float32(10)
_MANY = np.float32(1e5)  # stands in for small rates, whose results by rejection are dropped


def _real(value: float) -> Any:
    return np.float32(value)


def _any(mask: Any) -> Any:
    return reduce_or(mask, tuple(range(mask.ndim)))


def _by_counting(key: Any, rate: Any, dtype: np.dtype) -> Any:
    """How many exponential waiting times fit in the rate (D. Knuth, TAOCP 2, 3.4.1)."""
    shape = rate.shape

    def arrive(state: tuple) -> tuple:
        count, key, log_product = state
        key, subkey = subkeys(key, 2)
        count = select(gt(log_product, neg(rate)), add(count, dtype.type(1)), count)
        return count, key, add(log_product, log(unit_uniform(subkey, shape, _F32)))

    start = (full(shape, dtype.type(0)), key, full(shape, _real(0)))
    count, _, _ = while_loop(lambda state: _any(gt(state[2], neg(rate))), arrive, start)
    return sub(count, dtype.type(1))


def _by_rejection(key: Any, rate: Any, dtype: np.dtype) -> Any:
    """W. Hormann, "The transformed rejection method for generating Poisson random variables",
    Insurance: Mathematics and Economics 12, 1993 (algorithm PTRS)."""
    shape = rate.shape
    log_rate = log(rate)
    b = add(mul(sqrt(rate), _real(2.53)), _real(0.931))
    a = add(mul(b, _real(0.02483)), _real(-0.059))
    inverse_alpha = add(div(_real(1.1328), sub(b, _real(3.4))), _real(1.1239))
    v_r = sub(_real(0.9277), div(_real(3.6224), sub(b, _real(2))))

    def attempt(state: tuple) -> tuple:
        out, accepted, key = state
        key, u_key, v_key = subkeys(key, 3)
        u = sub(unit_uniform(u_key, shape, _F32), _real(0.5))
        v = unit_uniform(v_key, shape, _F32)
        inner = sub(_real(0.5), abs(u))
        slope = add(div(mul(a, _real(2)), inner), b)
        k = floor(add(add(mul(slope, u), rate), _real(0.43)))
        left = log(div(mul(v, inverse_alpha), add(div(a, mul(inner, inner)), b)))
        right = sub(add(neg(rate), mul(k, log_rate)), lgamma(add(k, _real(1))))
        inside = bitwise_and(ge(inner, _real(0.07)), le(v, v_r))
        outside = bitwise_or(lt(k, _real(0)), bitwise_and(lt(inner, _real(0.013)), gt(v, inner)))
        accept = bitwise_or(inside, bitwise_and(bitwise_not(outside), le(left, right)))
        return select(accept, k, out), bitwise_or(accepted, accept), key

    start = (full(shape, _real(-1)), full(shape, False), key)
    out, _, _ = while_loop(lambda state: _any(bitwise_not(state[1])), attempt, start)
    return convert_element_type(out, dtype)


def poisson(key: Any, lam: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Samples of the Poisson distribution.

    Args:
        key: a key, typed or raw.
        lam: the mean, not negative; broadcasts to the shape.
        shape: of the result, by default that of lam.
        dtype: an integer dtype, by default the default integer.

    Raises:
        TypeError: if the dtype is not an integer type.
    """
    raw = raw_key("poisson", key)
    dtype = integer_dtype("poisson", dtype)
    shape = sample_shape("poisson", shape, lam=lam)
    rate = parameter("poisson", lam, _F32, shape)
    if 0 in shape:
        return full(shape, dtype.type(0))
    few = bitwise_or(ne(rate, rate), lt(rate, _FEW))
    key_halves = halves(raw)
    counted = _by_counting(key_halves, select(few, rate, _real(0)), dtype)
    drawn = _by_rejection(key_halves, select(few, _MANY, rate), dtype)
    zero = dtype.type(0)
    return select(eq(rate, _real(0)), zero, select(few, counted, drawn))
