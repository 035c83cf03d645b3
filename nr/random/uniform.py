"""Uniform floats: random mantissas under a fixed exponent, then scaled."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import PYTHON_SCALARS, typeof
from nr.lax.convert import bitcast_convert_type_p, convert_element_type, reduce_precision
from nr.lax.elementwise import (
    add,
    add_p,
    max_p,
    mul,
    mul_p,
    or_p,
    shift_right_logical_p,
    sub,
    sub_p,
)
from nr.lax.shape import canonical_shape
from nr.random.arguments import float_dtype, parameter, sample_shape
from nr.random.bits import UINT, random_bits
from nr.random.keys import raw_key


def uniform(
    key: Any, shape: Any = (), dtype: Any = None, minval: Any = 0.0, maxval: Any = 1.0
) -> Array:
    """Floats uniformly distributed in [minval, maxval).

    Args:
        key: a key, typed or raw.
        shape: of the result.
        dtype: floating, by default the default float.
        minval, maxval: the bounds, which broadcast to the shape.

    Raises:
        ValueError: if the dtype is not floating, or bounds don't broadcast to the shape.

    Example:
        >>> import nr
        >>> nr.random.uniform(nr.random.key(0), (2,))
        Array([0.947667 , 0.9785799], dtype=float32)
    """
    raw = raw_key("uniform", key)
    dtype = float_dtype("uniform", dtype)
    return uniform_between(raw, canonical_shape("uniform", shape), dtype, minval, maxval)


def uniform_between(
    key: Any, shape: tuple[int, ...], dtype: np.dtype, minval: Any, maxval: Any
) -> Any:
    """`uniform` from a raw key, of checked arguments."""
    return between(unit_uniform(key, shape, dtype), minval, maxval)


def between(u: Any, minval: Any, maxval: Any) -> Any:
    """Floats in [0, 1) scaled to [minval, maxval)."""
    shape, dtype = u.shape, u.dtype
    if isinstance(minval, _SCALARS) and isinstance(maxval, _SCALARS):
        lo, hi = _number(minval, dtype), _number(maxval, dtype)
        span = dtype.type(hi - lo)
        if span > 0 and math.frexp(span)[0] == 0.5:
            # Times a power of two is exact, and nothing can fall below the lower bound.
            scaled = u if span == 1 else mul_p.bind(u, span)
            return scaled if lo == 0 else add_p.bind(scaled, lo)
    sample_shape("uniform", shape, minval=minval, maxval=maxval)
    lo = parameter("uniform", minval, dtype, shape)
    span = _rounded(sub_p.bind(parameter("uniform", maxval, dtype, shape), lo))
    return max_p.bind(lo, _multiply_add(u, span, lo))


_SCALARS = (*PYTHON_SCALARS[:-1], np.floating, np.integer, ml_dtypes.bfloat16)


def _number(x: Any, dtype: np.dtype) -> Any:
    return np.asarray(x).astype(dtype)[()]


def unit_uniform(key: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """Floats in [0, 1) from a raw key."""
    return unit_from_bits(random_bits(key, bits_wanted(dtype), shape), dtype)


def bits_wanted(dtype: np.dtype) -> int:
    """How many random bits a float of the dtype is made from."""
    return 8 if dtypes.finfo(dtype).nmant < 8 else 8 * dtype.itemsize


def unit_from_bits(bits: Any, dtype: np.dtype) -> Any:
    """Floats in [0, 1): random mantissas under the exponent of 1, less 1."""
    uint, one = UINT[8 * dtype.itemsize], dtype.type(1)
    unused = bits_wanted(dtype) - dtypes.finfo(dtype).nmant
    mantissas = shift_right_logical_p.bind(convert_element_type(bits, uint), uint.type(unused))
    floats = or_p.bind(mantissas, one.view(uint))
    return sub_p.bind(bitcast_convert_type_p.bind(floats, new_dtype=dtype), one)


# ---------------------------------------------------------------- u * span + lo
_WIDER = {"float16": np.dtype(np.float32), "float32": np.dtype(np.float64)}


def _multiply_add(u: Any, span: Any, lo: Any) -> Any:
    """u * span + lo rounded once, as by the fused instruction that XLA uses; bf16 rounds twice."""
    dtype = typeof(u).dtype
    if dtype.name in _WIDER:  # the product is exact in the wider dtype
        wide = [convert_element_type(x, _WIDER[dtype.name]) for x in (u, span, lo)]
        return convert_element_type(add(mul(wide[0], wide[1]), wide[2]), dtype)
    if dtype.name == "float64":
        return _compensated_multiply_add(u, span, lo)
    return add(_rounded(mul(u, span)), lo)


def _rounded(x: Any) -> Any:
    """Rounded to its own dtype, in compiled programs too, which compute halves in float32."""
    info = dtypes.finfo(x.dtype)
    return reduce_precision(x, info.nexp, info.nmant) if x.dtype.itemsize == 2 else x


def _compensated_multiply_add(x: Any, y: Any, z: Any) -> Any:
    """x * y + z with the errors of both roundings added at the end (Dekker 1971, Knuth 4.2.2)."""
    (x1, x2), (y1, y2) = _halves(x), _halves(y)
    product = mul(x, y)
    error = add(sub(mul(x1, y1), product), add(mul(x1, y2), mul(x2, y1)))
    error = add(error, mul(x2, y2))
    total = add(product, z)
    part = sub(total, product)
    lost = add(sub(product, sub(total, part)), sub(z, part))
    return add(total, add(lost, error))


def _halves(x: Any) -> tuple[Any, Any]:
    """x as the sum of two floats of 26 bits each (Veltkamp)."""
    scaled = mul(x, np.float64(2**27 + 1))
    high = sub(scaled, sub(scaled, x))
    return high, sub(x, high)
