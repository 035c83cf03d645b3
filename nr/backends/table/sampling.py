"""Functions that take uniform samples to others, with XLA's rounding in single precision.

These are not the accurate `erf_inv` and `log`. What samplers make of them magnifies their last
digits (near +-1 erf_inv hangs on how u * u is rounded; -log(-log(u)) passes through 0), so numbers
that agree with JAX's come only of the same steps.

M. Giles, "Approximating the erfinv function", GPU Computing Gems (Jade), 2011, chapter 10:
polynomials in w = -log(1 - u^2) near the centre, and in sqrt(w) in the tails. S. Moshier, Cephes
Mathematical Library, 1989, logf: log(m) of m in [sqrt(1/2), sqrt(2)) by a polynomial in m - 1.

Each step is one operation of IEEE 754, so that compiled programs give the same numbers; all but
the logarithm of float64, for which the library's is more accurate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._structure import Array, Kernel, is_half

_BLOCK = 1 << 14  # elements: the temporaries stay in the second-level cache

# Polynomials, the highest power first.
_SINGLE_CENTRE = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_SINGLE_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)
_DOUBLE_CENTRE = (
    -3.6444120640178196996e-21,
    -1.685059138182016589e-19,
    1.2858480715256400167e-18,
    1.115787767802518096e-17,
    -1.333171662854620906e-16,
    2.0972767875968561637e-17,
    6.6376381343583238325e-15,
    -4.0545662729752068639e-14,
    -8.1519341976054721522e-14,
    2.6335093153082322977e-12,
    -1.2975133253453532498e-11,
    -5.4154120542946279317e-11,
    1.051212273321532285e-09,
    -4.1126339803469836976e-09,
    -2.9070369957882005086e-08,
    4.2347877827932403518e-07,
    -1.3654692000834678645e-06,
    -1.3882523362786468719e-05,
    0.0001867342080340571352,
    -0.00074070253416626697512,
    -0.0060336708714301490533,
    0.24015818242558961693,
    1.6536545626831027356,
)
_DOUBLE_TAIL = (
    2.2137376921775787049e-09,
    9.0756561938885390979e-08,
    -2.7517406297064545428e-07,
    1.8239629214389227755e-08,
    1.5027403968909827627e-06,
    -4.013867526981545969e-06,
    2.9234449089955446044e-06,
    1.2475304481671778723e-05,
    -4.7318229009055733981e-05,
    6.8284851459573175448e-05,
    2.4031110387097893999e-05,
    -0.0003550375203628474796,
    0.00095328937973738049703,
    -0.0016882755560235047313,
    0.0024914420961078508066,
    -0.0037512085075692412107,
    0.005370914553590063617,
    1.0052589676941592334,
    3.0838856104922207635,
)
_DOUBLE_FAR = (
    -2.7109920616438573243e-11,
    -2.5556418169965252055e-10,
    1.5076572693500548083e-09,
    -3.7894654401267369937e-09,
    7.6157012080783393804e-09,
    -1.4960026627149240478e-08,
    2.9147953450901080826e-08,
    -6.7711997758452339498e-08,
    2.2900482228026654717e-07,
    -9.9298272942317002539e-07,
    4.5260625972231537039e-06,
    -1.9681778105531670567e-05,
    7.5995277030017761139e-05,
    -0.00021503011930044477347,
    -0.00013871931833623122026,
    1.0103004648645343977,
    4.8499064014085844221,
)
_LOG = tuple(
    np.float32(c)
    for c in (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
)
_SQRT_HALF = 0x3F3504F3  # the bits of a float
_SQRT_HALF_DOUBLE = 0x3FE6A09E667F3BCD
# (2 atanh(s) - 2 s) / s**3 in s**2 for 1/sqrt(2) <= (1 + s) / (1 - s) <= sqrt(2), a minimax one.
_ATANH_DOUBLE = (
    0.14795744575414702,
    0.15314075331137164,
    0.18183563155690483,
    0.22222198600592963,
    0.28571428742057037,
    0.3999999999941658,
    0.6666666666666734,
)
_LOG_2_LOW_DOUBLE, _LOG_2_HIGH_DOUBLE = 7.440617110012397e-11, 0.6931471804855391
_LOG_2_LOW, _LOG_2_HIGH = np.float32(-2.12194440e-4), np.float32(0.693359375)


def _polynomial(coefficients: Sequence[float | np.floating], x: Array) -> Array:
    dtype = x.dtype.type
    total = dtype(coefficients[0]) * x
    for c in coefficients[1:-1]:
        total += dtype(c)
        total *= x
    total += dtype(coefficients[-1])
    return total


def _split(x: Array) -> tuple[Array, Array]:
    """e and m - 1 for which x = 2**e * m, m in [sqrt(1/2), sqrt(2)); x is normal and positive."""
    bits = x.view(np.int32) - _SQRT_HALF
    exponent = (bits >> 23).astype(np.float32)
    bits &= 0x7FFFFF
    bits += _SQRT_HALF
    return exponent, bits.view(np.float32) - np.float32(1)


def _log1p_single(x: Array) -> Array:
    """log(1 + x) for -1 < x <= 0: log of what 1 + x is rounded to, and what that leaves out.

    NaN at -1.
    """
    whole = x + np.float32(1)
    rest = (x - (whole - np.float32(1))) / whole
    exponent, z = _split(whole)
    square = z * z
    low = _polynomial(_LOG, z)
    low *= z
    low *= square
    low += exponent * _LOG_2_LOW
    square *= np.float32(0.5)
    low -= square
    low += rest
    low += z
    exponent *= _LOG_2_HIGH
    low += exponent
    return low


def _log1p_double(x: Array) -> Array:
    """The same by log(1 + f) = 2 atanh(f / (2 + f)) (Tang 1990)."""
    whole = x + 1.0
    rest = (x - (whole - 1.0)) / whole
    bits = whole.view(np.int64) - _SQRT_HALF_DOUBLE
    exponent = (bits >> 52).astype(np.float64)
    bits &= (1 << 52) - 1
    bits += _SQRT_HALF_DOUBLE
    f = bits.view(np.float64)
    f -= 1.0
    s = f + 2.0
    s = f / s
    z = s * s
    low = _polynomial(_ATANH_DOUBLE, z)
    low *= z
    half = f * f
    half *= 0.5
    low += half
    low *= s
    low += exponent * _LOG_2_LOW_DOUBLE
    low += rest
    half -= low
    f -= half
    exponent *= _LOG_2_HIGH_DOUBLE
    f += exponent
    return f


def _single(xp: Any, u: Array) -> Array:
    w = -_log1p_single(-(u * u))
    factor = _polynomial(_SINGLE_CENTRE, w - np.float32(2.5))
    tail = ~(w < 5)
    part = w[tail]
    factor[tail] = _tail(xp, part, _polynomial(_SINGLE_TAIL, xp.sqrt(part) - np.float32(3)))
    return factor * u


def _double(xp: Any, u: Array) -> Array:
    w = -_log1p_double(-(u * u))
    factor = _polynomial(_DOUBLE_CENTRE, w - 3.125)
    tail = ~(w < 6.25)
    part = w[tail]
    root = xp.sqrt(part)
    near, far = _polynomial(_DOUBLE_TAIL, root - 3.25), _polynomial(_DOUBLE_FAR, root - 5)
    factor[tail] = _tail(xp, part, xp.where(part < 16, near, far))
    return factor * u


def _tail(xp: Any, w: Array, factor: Array) -> Array:
    """Infinite at -1 and 1, where w is NaN."""
    return xp.where(xp.isnan(w), w.dtype.type(np.inf), factor)


def _fused(x: Array, y: Array, z: Array) -> Array:
    """x * y + z rounded to float32 once: the product is exact in double precision."""
    return (x.astype(np.float64) * y + z).astype(np.float32)


def _log_single(xp: Any, x: Array) -> Array:
    """log of normal positive floats, in three interleaved polynomials of z**3 = (m - 1)**3."""
    exponent, z = _split(x)
    z2 = z * z
    z3 = z2 * z
    a, b, c = (
        _fused(_fused(_LOG[i] * xp.ones_like(z), z, _LOG[i + 1]), z, _LOG[i + 2]) for i in (0, 3, 6)
    )
    series = _fused(_fused(_fused(a, z3, b), z3, c), z3, exponent * _LOG_2_LOW)
    return _fused(exponent, _LOG_2_HIGH, (z - np.float32(0.5) * z2) + series)


def rows(xp: Any) -> dict[str, Kernel]:
    """Return the kernels of this file over the arrays of `xp`.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name.
    """

    def blockwise(single: Kernel, double: Kernel, scale: float) -> Kernel:
        def row(u: Array) -> Array:
            u = xp.asarray(u)
            dtype = u.dtype
            kernel = double if dtype == np.float64 else single
            wide = u.reshape(-1).astype(np.float32) if is_half(dtype) else u.reshape(-1)
            result = xp.empty(u.shape, dtype)
            flat = result.reshape(-1)
            size = _BLOCK if xp.__name__ == "numpy" else max(1, flat.size)
            with np.errstate(all="ignore"):
                for start in range(0, flat.size, size):
                    part = slice(start, start + size)
                    flat[part] = kernel(xp, wide[part])
                    if scale != 1:
                        flat[part] *= dtype.type(scale)
            return result

        return row

    return {
        "normal_from_uniform": blockwise(_single, _double, math.sqrt(2)),
        "log_of_uniform": blockwise(_log_single, lambda xp, x: xp.log(x), 1),
    }
