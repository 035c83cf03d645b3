"""Error functions and the normal distribution's integral; Dawson's and Faddeeva's function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.numpy.promotion import promote_inexact
from nr.scipy.special.chebyshev import chebyshev_on, chebyshev_sum, upper_digits
from nr.scipy.special.operands import operands, unary
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["dawsn", "erf", "erfc", "erfcx", "erfinv", "log_ndtr", "ndtr", "ndtri", "wofz"]

erf = unary("erf", lax.erf, "The error function (DLMF 7.2).")
erfc = unary("erfc", lax.erfc, "1 - erf(x), accurate where that is small (DLMF 7.2).")
erfinv = unary("erfinv", lax.erf_inv, "The inverse of `erf` on (-1, 1).")


def ndtr(x: Any) -> Array:
    """The integral of the standard normal density up to x.

    Example:
        >>> ndtr(jnp.array([0.]))
        Array([0.5], dtype=float32)
    """
    (x,) = operands("ndtr", x)
    return 0.5 * lax.erfc(x * -math.sqrt(0.5))


def log_ndtr(x: Any, series_order: int = 3) -> Array:
    """The logarithm of `ndtr`, accurate also far to the left (DLMF 7.12.1).

    Args:
        x: real.
        series_order: accepted for JAX's sake; there are as many terms as the dtype needs.
    """
    (x,) = operands("log_ndtr", x)
    # Left of the cut the asymptotic series is at rounding error, and right of it erfc is normal.
    double = x.dtype == np.float64
    cut = -20.0 if double else -9.0
    far = x < cut
    near = jnp.where(far, 0, x)
    size = jnp.where(near > 0, near, -near)  # the slope at 0 is that of the branch for log(upper)
    upper = lax.erfc(size * math.sqrt(0.5)) * 0.5
    body = jnp.where(near > 0, jnp.log1p(-upper), jnp.log(upper))
    t = jnp.where(far, x, cut)
    square = 1 / (t * t)
    series, term = 1.0, 1.0
    for k in range(1, 11 if double else 5):
        term = term * square * -(2 * k - 1)
        series = series + term
    tail = -0.5 * t * t - jnp.log(-t) - 0.5 * math.log(2 * math.pi) + jnp.log(series)
    return jnp.where(far, tail, body)


def ndtri(p: Any) -> Array:
    """The inverse of `ndtr`, by Newton's method on its logarithm."""
    (p,) = operands("ndtri", p)
    upper = p > 0.5
    small = jnp.where(upper, 1 - p, p)  # by symmetry only the left half is needed
    inside = small > 0
    safe = jnp.where(inside, small, 0.25)
    # Where erf_inv runs out of digits, start from the tail's asymptote.
    u = jnp.sqrt(-2 * jnp.log(safe))
    asymptote = -(u - jnp.log(u * math.sqrt(2 * math.pi)) / u)
    tail = safe < 1e-3
    x = jnp.where(tail, asymptote, lax.erf_inv(2 * jnp.where(tail, 0.25, safe) - 1) * math.sqrt(2))
    for _ in range(4):  # Newton's method on log ndtr, which is concave
        density = -0.5 * x * x - 0.5 * math.log(2 * math.pi)
        log_p = log_ndtr(x)
        x = x - (log_p - jnp.log(safe)) * jnp.exp(log_p - density)
    x = jnp.where(upper, -x, x)
    ends = jnp.where(small == 0, jnp.where(upper, jnp.inf, -jnp.inf), jnp.nan)
    return jnp.where(inside, x, ends)


# ---------------------------------------------------------------- scaled error function
# (1 + 2 x) erfcx(x) for x >= 0, in t = (x - 3.75) / (x + 3.75): M. Shepherd and J. Laframboise
# (1981), "Chebyshev approximation of (1 + 2 x) exp(x^2) erfc x in 0 <= x < infinity".
_ERFCX = (
    1.1775789345674017, -0.004590054580646478, -0.08424913336651792, 0.05920993999819189,
    -0.026658668435305753, 0.009074997670705265, -0.002413163540417608, 0.0004907758365258086,
    -6.916973302501207e-05, 4.13902798607301e-06, 7.74038306619849e-07, -2.1886401049234397e-07,
    1.076499946567091e-08, 4.521959811218287e-09, -7.754400208831351e-10, -6.318088340886684e-11,
    2.86879501093067e-11, 1.9455868545777347e-13, -9.65469674843344e-13, 3.25254814814874e-14,
    3.3478119482868056e-14, -1.864562880419313e-15, -1.2507950530688648e-15,
    7.418235256624044e-17, 5.068148904796111e-17,
)  # fmt: skip
_TWO_BY_SQRT_PI = 2 / math.sqrt(math.pi)


def _exp_of_square(x: Array, sign: int) -> Array:
    """exp(sign x^2), with an error that does not grow with x."""
    high = upper_digits(x)
    rest = jnp.where(jnp.isfinite(x), (x - high) * (x + high), 0)
    return jnp.exp(sign * high * high) * jnp.exp(sign * rest)


@custom_jvp
def _erfcx(x: Array) -> Array:
    size = jnp.abs(x)
    t = jnp.where(jnp.isinf(size), 1, (size - 3.75) / (size + 3.75))
    right = chebyshev_sum(_ERFCX, t) / (1 + 2 * size)
    left = 2 * _exp_of_square(jnp.where(x < 0, x, 0), 1) - right
    return jnp.where(x < 0, left, right)


_erfcx.defjvps(lambda t, y, x: t * (2 * x * y - _TWO_BY_SQRT_PI))


def erfcx(x: Any) -> Array:
    """exp(x^2) erfc(x), which falls like 1 / x; real or complex (DLMF 7.2).

    Example:
        >>> erfcx(0.0)
        Array(1., dtype=float32)
    """
    (x,) = promote_inexact("erfcx", x)
    return wofz(1j * x) if x.dtype in dtypes.COMPLEX else _erfcx(x)


# ---------------------------------------------------------------- Dawson's integral
# dawsn(x) / x, in x^2 from 0 to 4 and from 4 to 12.25; 2 x dawsn(x), in 1 / x^2 up to 1 / 12.25.
_DAWSN_NEAR = (
    0.4410406953812108, -0.39123921020678876, 0.12750248104023815, -0.03226539423443118,
    0.006621382082397935, -0.0011383378087073276, 0.0001680248882818195, -2.170167693150586e-05,
    2.489630283036481e-06, -2.567687962431865e-07, 2.4044785516810898e-08, -2.061400624084799e-09,
    1.629312713332284e-10, -1.1943935250188665e-11, 8.162835366150306e-13, -5.224558681934986e-14,
    3.144145283086303e-15, -1.7853929949067343e-16, 9.596492555002001e-18,
)  # fmt: skip
_DAWSN_MIDDLE = (
    0.08028570464148646, -0.049081538711313114, 0.015042005350514805, -0.004512518840765198,
    0.0012918348884100284, -0.00034611937934255686, 8.580527614961245e-05,
    -1.9586142661162423e-05, 4.113990118096854e-06, -7.966166779007683e-07,
    1.4263933447682667e-07, -2.370262150955022e-08, 3.6689658475146026e-09,
    -5.309733581830098e-10, 7.209390254045025e-11, -9.213823989860327e-12, 1.111767344203499e-12,
    -1.2700987914852818e-13, 1.377313730970558e-14, -1.4211318943199105e-15,
    1.3982857329361624e-16, -1.3146138868260145e-17, 1.183193175745373e-18,
)  # fmt: skip
_DAWSN_FAR = (
    1.0227320912134978, 0.023600237296035626, 0.000933830407653764, 7.397941559718564e-05,
    9.605709826673162e-06, 1.4367672090436846e-06, 8.104296529940173e-08, -7.436152453477144e-08,
    -3.497110039225301e-08, -4.272520083997912e-09, 2.4731306044662396e-09,
    1.0718494359614943e-09, -8.816278697879976e-11, -1.52355967182702e-10, -7.196757207833891e-12,
    2.110066733160656e-11, 2.3944670716350567e-12, -3.2036822568829457e-12,
    -4.0552717395606073e-13, 5.441640157148731e-13, 4.5412066373885996e-14,
    -1.0001710326614282e-13, 8.590671830330804e-16, 1.8708330854983123e-14,
    -2.676375784745751e-15, -3.279449472797361e-15, 1.1082770878390529e-15, 4.633798544815386e-16,
    -3.300328614646766e-16, -2.4555577344394857e-17, 7.79830953870919e-17,
    -1.4732210872450595e-17, -1.3565113919139883e-17, 7.300244179491125e-18,
)  # fmt: skip


@custom_jvp
def _dawsn(x: Array) -> Array:
    square = x * x
    near = x * chebyshev_on(_DAWSN_NEAR, 0, 4, jnp.minimum(square, 4))
    middle = x * chebyshev_on(_DAWSN_MIDDLE, 4, 12.25, jnp.clip(square, 4, 12.25))
    inverse = 1 / jnp.where(square > 12.25, x, 4)
    far = 0.5 * inverse * chebyshev_on(_DAWSN_FAR, 0, 1 / 12.25, inverse * inverse)
    far = jnp.where(square > 12.25, far, x)  # NaN
    return jnp.where(square <= 4, near, jnp.where(square <= 12.25, middle, far))


@_dawsn.defjvp
def _dawsn_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    y = _dawsn(x)
    # far out 2 x y is near 1: what is left is -1 / (2 x^2) and so on
    inverse = 1 / jnp.where(jnp.abs(x) > 12, x, 12)
    u = 0.5 * inverse * inverse
    terms = jnp.ones_like(u)
    for k in range(19, 1, -2):
        terms = 1 + k * u * terms
    slope = jnp.where(jnp.abs(x) > 12, -u * terms, 1 - 2 * x * y)
    return y, t * slope


dawsn = unary(
    "dawsn", _dawsn, "Dawson's integral, exp(-x^2) times that of exp(t^2) to x (DLMF 7.2.5)."
)


# ---------------------------------------------------------------- Faddeeva's function
# J. Weideman (1994), "Computation of the complex error function": the Fourier coefficients of what
# exp(-t^2) becomes on the circle.
def _wofz_coefficients(terms: int) -> tuple[float, list[float]]:
    scale = math.sqrt(terms / math.sqrt(2))
    angles = np.arange(-2 * terms + 1, 2 * terms) * np.pi / (2 * terms)
    t = scale * np.tan(angles / 2)
    values = np.concatenate([[0.0], np.exp(-t * t) * (scale * scale + t * t)])
    spectrum = np.fft.fft(np.fft.fftshift(values)).real / (4 * terms)
    return scale, spectrum[1 : terms + 1].tolist()


_WOFZ_SCALE, _WOFZ = _wofz_coefficients(40)


@custom_jvp
def _wofz(z: Array) -> Array:
    lower = z.imag < 0
    upper = jnp.where(lower, -z, z)
    big = upper.real**2 + upper.imag**2 > 64
    near, far = jnp.where(big, 0, upper), jnp.where(big, upper, 8j)
    bottom = _WOFZ_SCALE - 1j * near
    ratio = (_WOFZ_SCALE + 1j * near) / bottom
    total = jnp.zeros_like(z)
    for coefficient in reversed(_WOFZ):
        total = total * ratio + coefficient
    inside = 2 * total / (bottom * bottom) + (1 / math.sqrt(math.pi)) / bottom
    # Laplace's continued fraction (DLMF 7.9.3)
    tail = jnp.zeros_like(z)
    for k in range(16, 0, -1):
        tail = (k / 2) / (far - tail)
    outside = 1j / math.sqrt(math.pi) / (far - tail)
    w = jnp.where(big, outside, inside)
    # On the real axis the real part is known, and falls below the error of the imaginary one.
    w = jnp.where(upper.imag == 0, lax.complex(_exp_of_square(upper.real, -1), w.imag), w)
    return jnp.where(lower, 2 * jnp.exp(-z * z) - w, w)


_wofz.defjvps(lambda t, w, z: t * (2j / math.sqrt(math.pi) - 2 * z * w))


def wofz(z: Any) -> Array:
    """Faddeeva's function exp(-z^2) erfc(-i z) of complex numbers (DLMF 7.2.3).

    The error is relative to the absolute value: a real or imaginary part that is much smaller than
    the other has fewer digits.

    Example:
        >>> wofz(0.0).real
        Array(1., dtype=float32)
    """
    (z,) = promote_inexact("wofz", z)
    return _wofz(z.astype(dtypes.to_complex(z.dtype)))
