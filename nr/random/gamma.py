"""The gamma distribution and what is made of it: beta, Dirichlet, chi-squared, Student's t, F.

G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables", ACM TOMS 26(3),
2000. Every element has a key of its own and is rejected or accepted on its own, so that vmap
changes nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.lax.elementwise import (
    abs,
    add,
    bitwise_and,
    bitwise_or,
    div,
    eq,
    exp,
    ge,
    le,
    log,
    lt,
    max,
    mul,
    neg,
    pow,
    sqrt,
    sub,
)
from nr.lax.reduce import reduce_max, reduce_or, reduce_sum
from nr.lax.rules import operand
from nr.lax.select import select
from nr.lax.shape import canonical_shape, full, full_like, reshape, slice_in_dim
from nr.lax.special import digamma, random_gamma_grad
from nr.lax.threefry import threefry2x32_p
from nr.random.arguments import broadcast_to, float_dtype, parameter, sample_shape
from nr.random.bits import mix
from nr.random.continuous import (
    exponential,
    exponential_from_unit,
    normal,
    normal_from_unit,
    random_signs,
)
from nr.random.keys import raw_key, split_pair, split_raw
from nr.random.uniform import bits_wanted, unit_from_bits
from nr.transforms.control_flow import while_loop
from nr.transforms.custom_derivatives import custom_jvp

Lanes = tuple[Any, Any]  # the halves of one key an element


def _subkeys(keys: Lanes, count: int) -> list[Lanes]:
    zero = np.uint32(0)
    return [tuple(threefry2x32_p.bind(*keys, zero, np.uint32(i))) for i in range(count)]


def _unit(keys: Lanes, dtype: np.dtype) -> Any:
    """One float in [0, 1) for each key."""
    return unit_from_bits(mix(*_subkeys(keys, 1)[0], bits_wanted(dtype)), dtype)


def _where(mask: Any, new: tuple, old: tuple) -> tuple:
    return tuple(select(mask, a, b) for a, b in zip(new, old, strict=True))


def _any(mask: Any) -> Any:
    return reduce_or(mask, (0,))


def _candidate(keys: Lanes, c: Any) -> tuple[Any, Any]:
    """For each element the first normal sample x of its stream with 1 + c x > 0, and that."""
    dtype = c.dtype

    def again(state: tuple) -> tuple:
        k1, k2, x, v = state
        following, drawn = _subkeys((k1, k2), 2)
        x_new = normal_from_unit(_unit(drawn, dtype))
        v_new = add(mul(x_new, c), dtype.type(1))
        return _where(le(v, dtype.type(0)), (*following, x_new, v_new), state)

    shape = c.shape
    start = (*keys, full(shape, dtype.type(0)), full(shape, dtype.type(-1)))
    return while_loop(lambda state: _any(le(state[3], dtype.type(0))), again, start)[2:]


def _accepted_cube(keys: Lanes, d: Any, c: Any) -> Any:
    """(1 + c x)^3 of the first accepted candidate of each element."""
    dtype = d.dtype
    one, half, squeeze = dtype.type(1), dtype.type(0.5), dtype.type(0.0331)

    def again(state: tuple) -> tuple:
        *old_keys, cube, waiting = state
        following, candidate_keys, uniform_keys = _subkeys(tuple(old_keys), 3)
        x, v = _candidate(candidate_keys, c)
        square = mul(x, x)
        new_cube = mul(mul(v, v), v)
        u = _unit(uniform_keys, dtype)
        outside = ge(u, sub(one, mul(mul(square, square), squeeze)))
        bound = add(mul(square, half), mul(d, add(sub(one, new_cube), log(new_cube))))
        rejected = bitwise_and(outside, ge(log(u), bound))
        new = (*following, new_cube, rejected)
        return _where(waiting, new, tuple(state))

    start = (*keys, full(d.shape, one), full(d.shape, True))
    return while_loop(lambda state: _any(state[3]), again, start)[2]


def _sample(k1: Any, k2: Any, a: Any, log_space: bool) -> Any:
    dtype = a.dtype
    one, third = dtype.type(1), dtype.type(1 / 3)
    # Below 1: gamma(a) is gamma(a + 1) u^(1/a).
    large = ge(a, one)
    d = sub(select(large, a, add(a, one)), third)
    c = div(third, sqrt(d))
    loop_keys, boost_keys = _subkeys((k1, k2), 2)
    cube = _accepted_cube(loop_keys, d, c)
    u = _unit(boost_keys, dtype)
    exponent = div(one, a)
    if not log_space:
        return mul(mul(d, cube), select(large, one, pow(sub(one, u), exponent)))
    log_u = neg(exponential_from_unit(u))
    zero = dtype.type(0)
    boost = select(bitwise_or(large, eq(log_u, zero)), zero, mul(log_u, exponent))
    return add(add(log(d), log(cube)), boost)


@custom_jvp
def _gamma_lanes(k1: Any, k2: Any, a: Any) -> Any:
    return _sample(k1, k2, a, False)


@custom_jvp
def _log_gamma_lanes(k1: Any, k2: Any, a: Any) -> Any:
    return _sample(k1, k2, a, True)


@_gamma_lanes.defjvp
def _gamma_jvp(primals: tuple, tangents: tuple) -> tuple:
    a, x = primals[2], _gamma_lanes(*primals)
    return x, mul(tangents[2], random_gamma_grad(a, x))


@_log_gamma_lanes.defjvp
def _log_gamma_jvp(primals: tuple, tangents: tuple) -> tuple:
    # Of a sample that is close to 0, P(a, x) is x^a / gamma(a + 1).
    a, log_x = primals[2], _log_gamma_lanes(*primals)
    small = lt(log_x, log_x.dtype.type(-40))
    x = exp(select(small, full_like(log_x, 0), log_x))
    near_zero = div(sub(digamma(add(a, log_x.dtype.type(1))), log_x), a)
    return log_x, mul(tangents[2], select(small, near_zero, div(random_gamma_grad(a, x), x)))


def _gamma(op: str, key: Any, a: Any, shape: Any, dtype: Any, log_space: bool) -> Any:
    raw = raw_key(op, key)
    dtype = float_dtype(op, dtype)
    shape = sample_shape(op, shape, a=a)
    size = math.prod(shape)
    if size == 0:
        return full(shape, dtype.type(0))
    keys = split_raw(raw, (size,))
    k1, k2 = [reshape(slice_in_dim(keys, i, i + 1, axis=1), (size,)) for i in (0, 1)]
    lanes = _log_gamma_lanes if log_space else _gamma_lanes
    return reshape(lanes(k1, k2, reshape(parameter(op, a, dtype, shape), (size,))), shape)


def gamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Samples of the gamma distribution with density x^(a-1) exp(-x) / gamma(a).

    Args:
        key: a key, typed or raw.
        a: positive; broadcasts to the shape. Samples are differentiable with respect to it
            (`nr.lax.random_gamma_grad`).
        shape: of the result, by default that of a.
        dtype: floating, by default the default float.
    """
    return _gamma("gamma", key, a, shape, dtype, False)


def loggamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Array:
    """The logarithm of gamma samples, finite also where they would underflow."""
    return _gamma("loggamma", key, a, shape, dtype, True)


def beta(key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Samples of the beta distribution with density proportional to x^(a-1) (1-x)^(b-1)."""
    raw = raw_key("beta", key)
    dtype = float_dtype("beta", dtype)
    shape = sample_shape("beta", shape, a=a, b=b)
    key_a, key_b = split_pair(raw)
    log_a, log_b = loggamma(key_a, a, shape, dtype), loggamma(key_b, b, shape, dtype)
    top = max(log_a, log_b)
    share_a, share_b = exp(sub(log_a, top)), exp(sub(log_b, top))
    return div(share_a, add(share_a, share_b))


def dirichlet(key: Any, alpha: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Samples of the Dirichlet distribution: positive vectors that sum to 1.

    Args:
        key: a key, typed or raw.
        alpha: positive, [..., n]; leading dimensions broadcast to the shape.
        shape: of the result without its last dimension, by default that of alpha without it.
        dtype: floating, by default the default float.

    Raises:
        ValueError: if alpha has rank 0.
    """
    raw = raw_key("dirichlet", key)
    dtype = float_dtype("dirichlet", dtype)
    alpha = operand("dirichlet", alpha)
    if not alpha.ndim:
        raise ValueError(f'dirichlet: rank 1 or more was expected; got {alpha.aval} for "alpha".')
    batch = alpha.shape[:-1] if shape is None else canonical_shape("dirichlet", shape)
    out = (*batch, alpha.shape[-1])
    logs = loggamma(raw, alpha, out, dtype)
    axis = (len(batch),)
    weights = exp(sub(logs, _spread(reduce_max(logs, axis), out)))
    return div(weights, _spread(reduce_sum(weights, axis), out))


def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    return broadcast_to(reshape(x, (*shape[:-1], 1)), shape)


def chisquare(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Samples of the chi-squared distribution with df degrees of freedom."""
    raw = raw_key("chisquare", key)
    dtype = float_dtype("chisquare", dtype)
    shape = sample_shape("chisquare", shape, df=df)
    half = div(parameter("chisquare", df, dtype, shape), dtype.type(2))
    return mul(exp(loggamma(raw, half, shape, dtype)), dtype.type(2))


def f(key: Any, dfnum: Any, dfden: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Samples of the F distribution: the ratio of two chi-squared samples, each by its df."""
    raw = raw_key("f", key)
    dtype = float_dtype("f", dtype)
    shape = sample_shape("f", shape, dfnum=dfnum, dfden=dfden)
    key_den, key_num = split_pair(raw)
    ratios = [
        div(chisquare(k, df, shape, dtype), parameter("f", df, dtype, shape))
        for k, df in ((key_num, dfnum), (key_den, dfden))
    ]
    return div(*ratios)


def t(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Samples of Student's t distribution with df degrees of freedom."""
    raw = raw_key("t", key)
    dtype = float_dtype("t", dtype)
    shape = sample_shape("t", shape, df=df)
    normal_key, gamma_key = split_pair(raw)
    half = div(parameter("t", df, dtype, shape), dtype.type(2))
    g = gamma(gamma_key, half, shape, dtype)
    return mul(normal(normal_key, shape, dtype), sqrt(div(half, g)))


def generalized_normal(key: Any, p: float, shape: Any = (), dtype: Any = None) -> Array:
    """Samples of the density proportional to exp(-|x|^p)."""
    raw = raw_key("generalized_normal", key)
    dtype = float_dtype("generalized_normal", dtype)
    shape = canonical_shape("generalized_normal", shape)
    gamma_key, sign_key = split_pair(raw)
    inverse = div(dtype.type(1), parameter("generalized_normal", p, dtype, shape))
    g = gamma(gamma_key, inverse, shape, dtype)
    return mul(random_signs(sign_key, shape, dtype), pow(g, inverse))


def ball(key: Any, d: int, p: float = 2, shape: Any = (), dtype: Any = None) -> Array:
    """Points uniformly distributed in the unit ball of the p-norm in d dimensions.

    Barthe, Guedon, Mendelson and Naor, Annals of Probability 33(2), 2005, theorem 1.

    Returns:
        An array of shape (*shape, d).
    """
    raw = raw_key("ball", key)
    dtype = float_dtype("ball", dtype)
    shape = canonical_shape("ball", shape)
    full_shape = (*shape, int(d))
    normal_key, radius_key = split_pair(raw)
    g = generalized_normal(normal_key, p, full_shape, dtype)
    powers = pow(abs(g), parameter("ball", p, dtype, full_shape))
    total = add(reduce_sum(powers, (len(shape),)), exponential(radius_key, shape, dtype))
    inverse = div(dtype.type(1), parameter("ball", p, dtype, shape))
    return div(g, _spread(pow(total, inverse), full_shape))
