"""Distributions with densities that are functions of one or two uniform or normal samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import EVAL, Tracer, current, current_trace, typeof
from nr.lax.convert import bitcast_convert_type, convert_element_type
from nr.lax.elementwise import (
    abs,
    add,
    bitwise_and,
    bitwise_or,
    clamp,
    clz,
    div,
    exp,
    ge,
    integer_pow,
    le,
    log,
    log1p,
    lt,
    max,
    mul,
    neg,
    nextafter,
    pow,
    shift_left,
    shift_right_logical,
    sign,
    sqrt,
    sub,
    tan,
)
from nr.lax.elementwise import complex as make_complex
from nr.lax.reduce import reduce_sum
from nr.lax.select import select
from nr.lax.shape import broadcast_shapes, canonical_shape, reshape, slice_in_dim
from nr.lax.special import erf
from nr.lax.threefry import log_of_uniform_p, normal_from_uniform_p
from nr.random.arguments import broadcast_to, float_dtype, parameter, sample_shape
from nr.random.bits import random_bits
from nr.random.keys import raw_key, split_pair
from nr.random.uniform import between, uniform_between, unit_uniform


# ---------------------------------------------------------------- normal
def normal(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Samples of the standard normal distribution, by the inverse of its cumulative distribution.

    Args:
        key: a key, typed or raw.
        shape: of the result.
        dtype: floating or complex, by default the default float. Complex samples have real and
            imaginary parts of variance 1/2.

    Raises:
        ValueError: if the dtype is neither floating nor complex.

    Example:
        >>> import nr
        >>> nr.random.normal(nr.random.key(0), (2,))
        Array([1.6226422, 2.0252647], dtype=float32)
    """
    raw = raw_key("normal", key)
    dtype = float_dtype("normal", dtype, dtypes.INEXACT)
    shape = canonical_shape("normal", shape)
    if dtype in dtypes.FLOATING:
        return standard_normal(raw, shape, dtype)
    real_dtype = dtypes.to_real(dtype)
    root = real_dtype.type(math.sqrt(2))
    parts = [div(standard_normal(k, shape, real_dtype), root) for k in split_pair(raw)]
    return make_complex(*parts)


def standard_normal(key: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """`normal` from a raw key, of a floating dtype."""
    return normal_from_unit(unit_uniform(key, shape, dtype))


def normal_from_unit(u: Any) -> Any:
    """Standard normal samples from floats in [0, 1)."""
    one, zero = u.dtype.type(1), u.dtype.type(0)
    return normal_from_uniform_p.bind(between(u, np.nextafter(-one, zero), one))


def exponential_from_unit(u: Any) -> Any:
    """Exponential samples from floats in [0, 1)."""
    return neg(log1p(neg(u)))


def truncated_normal(
    key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = None
) -> Array:
    """Samples of the standard normal distribution restricted to (lower, upper).

    Args:
        key: a key, typed or raw.
        lower, upper: the bounds, which broadcast to the shape.
        shape: of the result, by default that of the bounds.
        dtype: floating, by default the default float.
    """
    raw = raw_key("truncated_normal", key)
    dtype = float_dtype("truncated_normal", dtype)
    shape = sample_shape("truncated_normal", shape, lower=lower, upper=upper)
    low, high = _erf_of_bound(lower, dtype), _erf_of_bound(upper, dtype)
    lower = parameter("truncated_normal", lower, dtype, shape)
    upper = parameter("truncated_normal", upper, dtype, shape)
    out = normal_from_uniform_p.bind(uniform_between(raw, shape, dtype, low, high))
    # Rounding must not take a sample out of the open interval.
    infinity = dtype.type(np.inf)
    return clamp(nextafter(lower, infinity), out, nextafter(upper, -infinity))


def _erf_of_bound(bound: Any, dtype: np.dtype) -> Any:
    # Of a number it is computed now: compiled programs would round it otherwise.
    trace = current_trace() if isinstance(bound, Tracer) else EVAL
    with current(trace):
        bound = parameter("truncated_normal", bound, dtype, np.shape(bound))
        return erf(div(bound, dtype.type(math.sqrt(2))))


def lognormal(key: Any, sigma: Any = 1.0, shape: Any = None, dtype: Any = None) -> Array:
    """exp(sigma * z) for standard normal z; the shape is by default that of sigma."""
    raw = raw_key("lognormal", key)
    dtype = float_dtype("lognormal", dtype, dtypes.INEXACT)
    shape = sample_shape("lognormal", shape, sigma=sigma)
    z = normal(raw, shape, dtype)
    return exp(mul(z, parameter("lognormal", sigma, dtype, shape)))


def maxwell(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """The length of a vector of three standard normal components."""
    raw = raw_key("maxwell", key)
    dtype = float_dtype("maxwell", dtype)
    shape = canonical_shape("maxwell", shape)
    z = standard_normal(raw, (*shape, 3), dtype)
    return sqrt(reduce_sum(mul(z, z), (len(shape),)))


def double_sided_maxwell(
    key: Any, loc: Any, scale: Any, shape: Any = (), dtype: Any = None
) -> Array:
    """loc + scale * s * m for a random sign s and Maxwell-distributed m.

    The result has the shape asked for (by default that of the parameters) followed by the shape of
    the parameters broadcast together.
    """
    raw = raw_key("double_sided_maxwell", key)
    dtype = float_dtype("double_sided_maxwell", dtype)
    of_params = sample_shape("double_sided_maxwell", None, loc=loc, scale=scale)
    shape = (canonical_shape("double_sided_maxwell", shape) or of_params) + of_params
    maxwell_key, sign_key = split_pair(raw)
    signed = mul(random_signs(sign_key, shape, dtype), maxwell(maxwell_key, shape, dtype))
    scale = parameter("double_sided_maxwell", scale, dtype, shape)
    return add(mul(signed, scale), parameter("double_sided_maxwell", loc, dtype, shape))


def random_signs(key: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """-1 or 1 with equal chance, from a raw key."""
    u = unit_uniform(key, shape, dtypes.canonicalize(float))
    heads = convert_element_type(lt(u, u.dtype.type(0.5)), dtype)
    return sub(add(heads, heads), dtype.type(1))


def wald(key: Any, mean: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Samples of the Wald (inverse Gaussian) distribution of the given mean and scale 1.

    Michael, Schucany and Haas, The American Statistician 30(2), 1976.
    """
    raw = raw_key("wald", key)
    dtype = float_dtype("wald", dtype)
    shape = sample_shape("wald", shape, mean=mean)
    mean = parameter("wald", mean, dtype, shape)
    normal_key, uniform_key = split_pair(raw)
    y = integer_pow(standard_normal(normal_key, shape, dtype), 2)
    mean_squared = integer_pow(mean, 2)
    root = sqrt(add(mul(mul(mean, dtype.type(4)), y), mul(mean_squared, integer_pow(y, 2))))
    two = dtype.type(2)
    x = sub(add(mean, div(mul(mean_squared, y), two)), mul(div(mean, two), root))
    u = unit_uniform(uniform_key, shape, dtype)
    return select(le(u, div(mean, add(mean, x))), x, div(mean_squared, x))


# ---------------------------------------------------------------- exponential and extreme values
def exponential(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Samples of the exponential distribution of rate 1.

    Example:
        >>> import nr
        >>> nr.random.exponential(nr.random.key(0), (2,))
        Array([2.950128 , 3.8434246], dtype=float32)
    """
    raw = raw_key("exponential", key)
    dtype = float_dtype("exponential", dtype)
    return standard_exponential(raw, canonical_shape("exponential", shape), dtype)


def standard_exponential(key: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """`exponential` from a raw key."""
    return exponential_from_unit(unit_uniform(key, shape, dtype))


GUMBEL_MODES = ("low", "high", "highest")


def gumbel(key: Any, shape: Any = (), dtype: Any = None, mode: str | None = None) -> Array:
    """Samples of the standard Gumbel distribution, of cumulative distribution exp(-exp(-x)).

    Args:
        key: a key, typed or raw.
        shape: of the result.
        dtype: floating, by default the default float.
        mode: "low" (the default), "high" or "highest": how fine the uniform samples are that the
            result is a function of, and so how far its tails reach.

    Raises:
        ValueError: for another mode, or a dtype that is not floating.
    """
    raw = raw_key("gumbel", key)
    dtype = float_dtype("gumbel", dtype)
    shape = canonical_shape("gumbel", shape)
    if mode not in (None, *GUMBEL_MODES):
        raise ValueError(f"gumbel: mode must be one of {GUMBEL_MODES}; got {mode!r}.")
    if mode in (None, "low"):
        u = max(dtype.type(dtypes.finfo(dtype).tiny), unit_uniform(raw, shape, dtype))
        return neg(log(neg(log_of_uniform_p.bind(u))))
    if mode == "highest" and dtype == np.dtype(np.float32):
        return _finest_gumbel(raw, shape)
    u = unit_uniform(raw, (2, *shape), dtype)
    high, low = [reshape(slice_in_dim(u, i, i + 1), shape) for i in (0, 1)]
    info = dtypes.finfo(dtype)
    fine = add(add(high, mul(low, dtype.type(2.0**-info.nmant))), dtype.type(info.tiny))
    return neg(log(neg(log1p(neg(select(ge(high, dtype.type(0.5)), high, fine))))))


def _finest_gumbel(key: Any, shape: tuple[int, ...]) -> Any:
    """From 64-bit fixed-point fractions u, read from whichever of 0 and 1 is nearer."""
    halves = convert_element_type(random_bits(key, 32, (2, *shape)), np.uint64)
    high, low = [reshape(slice_in_dim(halves, i, i + 1), shape) for i in (0, 1)]
    fraction = bitwise_or(shift_left(high, np.uint64(32)), low)
    below = lt(fraction, np.uint64(2**63))
    x = _fraction_to_float(select(below, fraction, sub(np.uint64(0), fraction)))
    return neg(log(neg(select(below, log1p(neg(x)), log(x)))))


def _fraction_to_float(fraction: Any) -> Any:
    """A 64-bit fixed-point fraction as a float32, digits beyond its mantissa being cut off."""
    zeros = clz(fraction)
    digits = shift_right_logical(shift_left(fraction, zeros), np.uint64(40))
    mantissa = bitwise_and(digits, np.uint64(2**23 - 1))
    exponent = shift_left(sub(np.uint64(126), zeros), np.uint64(23))
    word = convert_element_type(bitwise_or(exponent, mantissa), np.uint32)
    return bitcast_convert_type(word, np.float32)


def rayleigh(key: Any, scale: Any, shape: Any = None, dtype: Any = None) -> Array:
    """scale * sqrt(-2 log u); the shape is by default that of scale."""
    raw = raw_key("rayleigh", key)
    dtype = float_dtype("rayleigh", dtype)
    shape = sample_shape("rayleigh", shape, scale=scale)
    u = unit_uniform(raw, shape, dtype)
    return mul(parameter("rayleigh", scale, dtype, shape), sqrt(mul(log(u), dtype.type(-2))))


def weibull_min(
    key: Any, scale: Any, concentration: Any, shape: Any = (), dtype: Any = None
) -> Array:
    """scale * e^(1 / concentration) for exponential e, which has the shape asked for."""
    raw = raw_key("weibull_min", key)
    dtype = float_dtype("weibull_min", dtype)
    shape = canonical_shape("weibull_min", shape)
    of_params = sample_shape("weibull_min", None, scale=scale, concentration=concentration)
    out_shape = broadcast_shapes(shape, of_params)
    e = broadcast_to(standard_exponential(raw, shape, dtype), out_shape)
    exponent = div(dtype.type(1), parameter("weibull_min", concentration, dtype, out_shape))
    return mul(pow(e, exponent), parameter("weibull_min", scale, dtype, out_shape))


def pareto(key: Any, b: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Samples of the Pareto distribution with density b / x^(b+1) for x >= 1."""
    raw = raw_key("pareto", key)
    dtype = float_dtype("pareto", dtype)
    shape = sample_shape("pareto", shape, b=b)
    return exp(div(standard_exponential(raw, shape, dtype), parameter("pareto", b, dtype, shape)))


# ---------------------------------------------------------------- others, by inversion
def laplace(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Samples of the Laplace distribution with density exp(-|x|) / 2."""
    raw = raw_key("laplace", key)
    dtype = float_dtype("laplace", dtype)
    lowest = dtype.type(-1 + float(dtypes.finfo(dtype).epsneg))
    u = uniform_between(raw, canonical_shape("laplace", shape), dtype, lowest, dtype.type(1))
    return mul(sign(u), log1p(neg(abs(u))))


def logistic(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Samples of the logistic distribution, log(u / (1 - u))."""
    raw = raw_key("logistic", key)
    dtype = float_dtype("logistic", dtype)
    tiny = dtype.type(dtypes.finfo(dtype).tiny)
    u = max(tiny, unit_uniform(raw, canonical_shape("logistic", shape), dtype))
    return sub(log_of_uniform_p.bind(u), log1p(neg(u)))


def cauchy(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Samples of the Cauchy distribution, tan(pi (u - 1/2))."""
    raw = raw_key("cauchy", key)
    dtype = float_dtype("cauchy", dtype)
    eps = dtypes.finfo(dtype).eps
    u = uniform_between(raw, canonical_shape("cauchy", shape), dtype, eps, dtype.type(1))
    return tan(mul(sub(u, dtype.type(0.5)), dtype.type(math.pi)))


def triangular(
    key: Any, left: Any, mode: Any, right: Any, shape: Any = None, dtype: Any = None
) -> Array:
    """Samples of the density that rises from left to mode and falls from there to right."""
    raw = raw_key("triangular", key)
    dtype = float_dtype("triangular", dtype)
    shape = sample_shape("triangular", shape, left=left, mode=mode, right=right)
    left, mode, right = [parameter("triangular", x, dtype, shape) for x in (left, mode, right)]
    u = unit_uniform(raw, shape, dtype)
    width = sub(right, left)
    rising = add(left, sqrt(mul(mul(u, width), sub(mode, left))))
    falling = mul(mul(sub(dtype.type(1), u), width), sub(right, mode))
    return select(lt(u, div(sub(mode, left), width)), rising, sub(right, sqrt(falling)))


def float_dtype_of(op: str, x: Any) -> np.dtype:
    """The dtype of a parameter that must be floating.

    Raises:
        TypeError: if it is not.
    """
    aval = typeof(x)
    if aval.dtype not in dtypes.FLOATING:
        raise TypeError(
            f"{op}: parameters must be floating; got {aval}. Convert with .astype('float32')."
        )
    return aval.dtype
