"""lgamma and digamma.

Rational minimax approximations, found by Remez' algorithm at 50 digits, hold the zeros of the
functions at positive arguments as factors (W. J. Cody & K. E. Hillstrom, Math. Comp. 21, 1967);
from 4 on come Stirling's formula and its derivative, whose remainders are polynomials in x**-2
(DLMF 5.11.1 and 5.11.2). Of negative f32, the reflection formulas (DLMF 5.5.3 and 5.5.4) in f64
leave enough digits; those of f64 are left to `nr.backends.gamma_negative`.
"""

from __future__ import annotations

import math

from nr.backends.compiler.expr import Expr, const, convert, eq, fma, node, select, unary
from nr.backends.compiler.math.doubled import Expressions
from nr.backends.compiler.math.logarithm import log
from nr.backends.compiler.math.polynomial import horner
from nr.backends.gamma_negative import digamma_negative, lgamma_negative

_LARGE = 4.0
_STIRLING_CONSTANT = 0.5 * math.log(2.0 * math.pi) - 0.5

# lgamma(1 + z) / (z (z - 1)) for -1/2 <= z <= 2: where it is all but a floating-point number, that
# number, and the rest of it over the distance from there, in z + 1/2.
_LGAMMA_ANCHOR = {
    "f32": (0.78125, 0.446448415517807),
    "f64": (0.421875, 0.4949316316500406),
}
_LGAMMA_P = {
    "f32": (
        0.24718426, 0.55985105, 0.31057557, 0.034219842,
    ),
    "f64": (
        0.29095227181873123, 1.7985634598183924, 4.3742743388785135, 5.344293065741439,
        3.482725443366812, 1.1915217612618259, 0.19791502766488514, 0.013455228153499548,
        0.0002493098867315771,
    ),
}  # fmt: skip
_LGAMMA_Q = {
    "f32": (
        1.0, 3.3250575, 3.3424735, 1.0825517, 0.08164141,
    ),
    "f64": (
        1.0, 7.27024313893775, 21.45331386984919, 33.13650444890633, 28.875836291152858,
        14.311948021700344, 3.890158539899586, 0.532164686508396, 0.03089364325118715,
        0.0005110616623715552,
    ),
}  # fmt: skip
# x (lgamma(x) - (x - 1/2) log(x) + x - log(2 pi)/2) in x**-2 for x >= 4.
_STIRLING = {
    "f32": (
        0.08333332, -0.002776017, 0.0007350965,
    ),
    "f64": (
        0.08333333333333316, -0.002777777777604132, 0.0007936507425927007,
        -0.0005952312212323385, 0.00084124281352957, -0.001894939089775375,
        0.005775425556040954, -0.017917353915305575, 0.03457385791713185,
    ),
}  # fmt: skip

# The zero of digamma less 1, in two parts; digamma(1 + z) / (z - zero) in the same form.
_DIGAMMA_ZERO = {
    "f32": (0.4616321325302124, 1.243815006546356e-08),
    "f64": (0.46163214496836225, 9.549995429965697e-17),
}
_DIGAMMA_ANCHOR = {
    "f32": (0.5625, 0.9254839420318604),
    "f64": (0.65625, 0.890221979165822),
}
_DIGAMMA_P = {
    "f32": (
        1.0506989, 1.3426745, 0.42471224, 0.029130025,
    ),
    "f64": (
        0.9960038994505461, 1.840430572276566, 1.1920189871072413, 0.3436156819752269,
        0.04513503799782659, 0.0024096370147750667, 3.611367302189472e-05,
    ),
}  # fmt: skip
_DIGAMMA_Q = {
    "f32": (
        1.0, 3.0315, 2.335038, 0.5600582, 0.032243002,
    ),
    "f64": (
        1.0, 3.5952270683602308, 4.108890041188802, 2.076717279534525, 0.5086353051313014,
        0.0593272984439739, 0.0028975694138861346, 4.0852882447130106e-05,
    ),
}  # fmt: skip
# x**2 (log(x) - 1/(2 x) - digamma(x)) in x**-2 for x >= 4.
_DIGAMMA_TAIL = {
    "f32": (
        0.08333319, -0.008318379, 0.0035341396,
    ),
    "f64": (
        0.08333333333332416, -0.008333333327197656, 0.00396825254829535, -0.004166504087710441,
        0.007565060104862038, -0.02065572048831241, 0.07174619576169833, -0.2373385675833382,
        0.4655127918880177,
    ),
}  # fmt: skip

# sin(pi r) / r and cos(pi r) in r**2 for |r| <= 1/2, of f64.
_SIN_PI = (
    3.141592653589793, -5.16771278004991, 2.5501640398724654, -0.5992645291688696,
    0.08214588427351416, -0.007370411293843292, 0.0004662106172160889, -2.168731145235541e-05,
    5.564972383319039e-07,
)  # fmt: skip
_COS_PI = (
    1.0, -4.934802200544679, 4.058712126416768, -1.3352627688545589, 0.23533063035806476,
    -0.025806891377310185, 0.0019295741917292747, -0.00010463743318579551, 4.300757076460385e-06,
    -1.3437995659952565e-07,
)  # fmt: skip


def _sin_pi(r: Expr) -> Expr:
    return r * horner(r * r, _SIN_PI)


def _regions(x: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """|x|; whether it is below 1/2; whether it is in [3, 4); and z.

    Functions of 1 + z, for -1/2 <= z < 2, and the recurrences gamma(x) = gamma(1 + x) / x for
    |x| < 1/2 and gamma(x) = (x - 1) gamma(x - 1) from 3 on, give those of x up to 4.
    """
    a = unary("abs", x)
    small, shifted = a < 0.5, a >= 3.0
    return a, small, shifted, select(small, x, a - select(shifted, const(2.0, x.dtype), 1.0))


def _near(z: Expr, anchors: dict, numerator: dict, denominator: dict) -> Expr:
    """value - (z - anchor) P / Q, which errs by less than a plain quotient."""
    anchor, value = anchors[z.dtype]
    u = z + 0.5  # all coefficients are positive, and so is u: nothing cancels
    ratio = horner(u, numerator[z.dtype]) / horner(u, denominator[z.dtype])
    return fma(anchor - z, ratio, value)


def lgamma_one_plus(z: Expr) -> Expr:
    """log(gamma(1 + z)) for -1/2 <= z < 2, exact near its zeros 0 and 1."""
    return z * (z - 1.0) * _near(z, _LGAMMA_ANCHOR, _LGAMMA_P, _LGAMMA_Q)


def stirling_error(x: Expr) -> Expr:
    """lgamma(x) less Stirling's formula (x - 1/2) log(x) - x + log(2 pi)/2, for x >= 4."""
    inverse = 1.0 / x
    return horner(inverse * inverse, _STIRLING[x.dtype]) * inverse


def _lgamma_positive(x: Expr) -> Expr:
    """lgamma(|x|), or that of x where |x| < 1/2."""
    a, small, shifted, z = _regions(x)
    logarithm = log(select(shifted & (a < _LARGE), a - 1.0, a))
    near = lgamma_one_plus(z) + select(small, -logarithm, select(shifted, logarithm, 0.0))
    inverse = 1.0 / a
    rest = fma(horner(inverse * inverse, _STIRLING[x.dtype]), inverse, _STIRLING_CONSTANT)
    far = fma(a - 0.5, logarithm - 1.0, rest)
    return select(a < _LARGE, near, far)


def _lgamma_reflected(x: Expr) -> Expr:
    """lgamma of an f32 up to -1/2, in f64."""
    a = -convert(x, "f64")
    sine = unary("abs", _sin_pi(a - unary("round_even", a)))
    reflected = log(math.pi / (a * sine)) - _lgamma_positive(a)
    return convert(select(eq(a, math.inf), math.inf, reflected), x.dtype)


def lgamma(x: Expr) -> Expr:
    """log|gamma(x)|: at most 3.3 ulp, infinite at the poles.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> lgamma(node("register", (), "f32", "x")).op
        'rarely'
    """
    negative = _lgamma_reflected(x) if x.dtype == "f32" else lgamma_negative(Expressions(), x)
    return node("rarely", (x <= -0.5, negative, _lgamma_positive(x)), x.dtype)


def _digamma_positive(x: Expr) -> Expr:
    a, small, shifted, z = _regions(x)
    high, low = _DIGAMMA_ZERO[x.dtype]
    near = ((z - high) - low) * _near(z, _DIGAMMA_ANCHOR, _DIGAMMA_P, _DIGAMMA_Q)
    inverse = 1.0 / select(small, x, select(shifted & (a < _LARGE), a - 1.0, a))
    near = near + select(small, -inverse, select(shifted, inverse, 0.0))
    square = inverse * inverse
    tail = fma(horner(square, _DIGAMMA_TAIL[x.dtype]), square, inverse * 0.5)
    return select(a < _LARGE, near, log(a) - tail)


def _digamma_reflected(x: Expr) -> Expr:
    """digamma of an f32 that is not positive, in f64."""
    a = -convert(x, "f64")
    r = a - unary("round_even", a)
    cotangent = horner(r * r, _COS_PI) / _sin_pi(r)
    reflected = fma(cotangent, math.pi, _digamma_positive(a) + 1.0 / a)
    return convert(select(eq(r, 0.0), math.nan, reflected), x.dtype)


def digamma(x: Expr) -> Expr:
    """The derivative of lgamma: at most 3.3 ulp, NaN at the poles 0, -1, -2, ...

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> digamma(node("register", (), "f32", "x")).op
        'rarely'
    """
    negative = _digamma_reflected(x) if x.dtype == "f32" else digamma_negative(Expressions(), x)
    return node("rarely", (~(x > 0.0), negative, _digamma_positive(x)), x.dtype)
