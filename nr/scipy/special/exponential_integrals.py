"""Exponential integrals (DLMF 6.2, 8.19)."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.special.chebyshev import chebyshev_on, gap_and_log_ratio
from nr.scipy.special.operands import constant, operands, unary
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["exp1", "expi", "expn"]

# E1(x) + log(x), for x from 0 to 1.
_E1_NEAR = (
    -0.15608954289343577, 0.39708785273195646, -0.02277106547144326, 0.0012097775028096784,
    -5.5182563885653714e-05, 2.1671613488351387e-06, -7.426313409051455e-08,
    2.2509122178774545e-09, -6.107395323643698e-11, 1.498675699736102e-12, -3.354930941889216e-14,
    6.90235852390662e-16, -1.3134361119396419e-17,
)  # fmt: skip
# x exp(x) E1(x), for x from 1 to 4, and in 1 / x from 0 to 1/4.
_E1_MIDDLE = (
    0.7361930142806509, 0.10860598521493683, -0.02388631895900859, 0.005547189911799939,
    -0.0013468314333207857, 0.0003391294727949977, -8.79897837824138e-05, 2.3404288702199644e-05,
    -6.356186543874855e-06, 1.7568527851358291e-06, -4.92933696058904e-07, 1.4010308907587848e-07,
    -4.026908771996578e-08, 1.1688275704897672e-08, -3.421973927262269e-09,
    1.0095452553003414e-09, -2.9987413864799496e-10, 8.96212713945433e-11,
    -2.6932733905378344e-11, 8.134321577832048e-12, -2.467958654468261e-12, 7.518981660460654e-13,
    -2.299506520111391e-13, 7.057198021308714e-14, -2.1728744205262704e-14, 6.7102258426671e-15,
    -2.078004344732759e-15, 6.451768645228439e-16, -2.0079768319641403e-16, 6.263513615798837e-17,
    -1.9579202185397714e-17, 6.1324417460766625e-18, -1.9243415011832124e-18,
)  # fmt: skip
_E1_FAR = (
    0.9053540999623492, -0.08648117855259871, 0.007224101543746595, -0.0008097559457557386,
    0.00010999134432661389, -1.7173329989377674e-05, 2.9856275144792833e-06,
    -5.65964914577193e-07, 1.15268083971414e-07, -2.4950304402693382e-08, 5.692324201833754e-09,
    -1.3599576648056003e-09, 3.3846628887608844e-10, -8.737853904474682e-11, 2.33158866322266e-11,
    -6.411481049213786e-12, 1.8122469802048165e-12, -5.253831761558461e-13,
    1.5592182725919257e-13, -4.7291682970803986e-14, 1.4637618643932435e-14,
    -4.617388988712924e-15, 1.4827103482893693e-15, -4.841672496239229e-16,
    1.6062155757002903e-16, -5.408917538957171e-17, 1.847470159346898e-17, -6.395830792759095e-18,
    2.2427807216997594e-18,
)  # fmt: skip
# (Ei(x) - log(x / r)) / (x - r), for x from 0 to 6 and the root r of Ei, which is given in two
# parts: W. Cody and H. Thacher (1969), "Chebyshev approximations for the exponential integral
# Ei(x)".
_EI_ROOT = (0.3725074107813666, 1.3140183414386028e-17)
_EI_NEAR = (
    5.257958226943482, 6.004639395661629, 2.469688170948231, 0.7902956029932626,
    0.2071548491532639, 0.04602682604407321, 0.008880237057344323, 0.0015146911094885722,
    0.00023159134968734474, 3.2092485124027427e-05, 4.066921310320624e-06, 4.748419512679941e-07,
    5.140302084703391e-08, 5.187110649842181e-09, 4.902148216697985e-10, 4.356558086355594e-11,
    3.6539244499196015e-12, 2.901505315385807e-13, 2.1876473555324577e-14, 1.5701440360230516e-15,
    1.0752799606371169e-16,
)  # fmt: skip
# x exp(-x) Ei(x), in 1 / x from 1/12 to 1/6, from 1/24 to 1/12, and from 0 to 1/24.
_EI_SIX = (
    1.186519731605943, 0.08867277799156566, 0.004538849615854891, -0.0007360917133533506,
    -0.0001311802094421383, 1.860281858277769e-05, 1.7610424153850599e-06, -6.410426692376372e-07,
    4.3431190977401596e-08, 9.457713014017885e-09, -2.804867660824966e-09, 2.9077513809389464e-10,
    1.5005396668585005e-11, -1.1038674953026538e-11, 2.0752769575841014e-12,
    -1.824894014255641e-13, -1.3060424323093775e-14, 8.22817443438954e-15,
    -1.7064640854405607e-15, 2.0895115006185691e-16, -6.96952388785186e-18,
    -3.985678032031781e-18,
)  # fmt: skip
_EI_TWELVE = (
    1.0733284937260361, 0.028589376984320986, 0.0009877354599019657, 6.535142674684368e-05,
    4.080867437625506e-06, -3.589926611838061e-07, -1.3445734356897559e-07,
    -3.096554001036047e-09, 2.9939580378560676e-09, 6.636901195446687e-11, -7.580298873512545e-11,
    2.91093271006445e-12, 1.6949183480316525e-12, -2.4843531143767757e-13,
    -1.4921371160913075e-14, 8.569592517547666e-15, -8.552327771250706e-16,
    -9.567382338710219e-17, 3.92278471915959e-17, -4.34268592032165e-18,
)  # fmt: skip
_EI_FAR = (
    1.0222957360954668, 0.022812793514753286, 0.0005360936928493524, 2.0034094292122614e-05,
    1.0686092350144287e-06, 7.746060698591084e-08, 7.504513851387549e-09, 9.65386432321799e-10,
    1.5701407029249868e-10, 2.779058341161681e-11, 3.828483997307224e-12, -1.9274603059481113e-13,
    -3.984438522784285e-13, -1.5561943489863476e-13, -2.6325433913268538e-14,
    5.119012243843834e-15, 4.450825135967824e-15, 8.977579029888121e-16, -2.2282754984589544e-16,
    -1.6452081405038015e-16, -1.5179371674871094e-17, 1.6736756138129383e-17,
    5.4633715506034455e-18,
)  # fmt: skip


@custom_jvp
def _exp1(x: Array) -> Array:
    near = chebyshev_on(_E1_NEAR, 0, 1, jnp.clip(x, 0, 1)) - jnp.log(x)
    middle = chebyshev_on(_E1_MIDDLE, 1, 4, jnp.clip(x, 1, 4))
    far = chebyshev_on(_E1_FAR, 0, 0.25, 1 / jnp.where(x > 4, x, 5))
    safe = jnp.where(x > 1, x, 2)
    scaled = jnp.where(x <= 4, middle, far) * jnp.exp(-safe) / safe
    return jnp.where(x > 1, scaled, near)


_exp1.defjvps(lambda t, y, x: -t * jnp.exp(-x) / x)
exp1 = unary(
    "exp1", _exp1, "The integral of exp(-t) / t from x to infinity; NaN for x < 0 (DLMF 6.2.1)."
)


@custom_jvp
def _expi(x: Array) -> Array:
    safe = jnp.clip(x, 0, 6)
    gap, log_ratio = gap_and_log_ratio(safe, _EI_ROOT)
    near = log_ratio + gap * chebyshev_on(_EI_NEAR, 0, 6, safe)
    inverse = 1 / jnp.where(x > 6, x, 7)
    six = chebyshev_on(_EI_SIX, 1 / 12, 1 / 6, jnp.clip(inverse, 1 / 12, 1 / 6))
    twelve = chebyshev_on(_EI_TWELVE, 1 / 24, 1 / 12, jnp.clip(inverse, 1 / 24, 1 / 12))
    far = chebyshev_on(_EI_FAR, 0, 1 / 24, jnp.clip(inverse, 0, 1 / 24))
    scaled = jnp.where(x <= 12, six, jnp.where(x <= 24, twelve, far))
    # exp(x) alone may overflow where exp(x) / x does not
    half = jnp.exp(x / 2)
    right = jnp.where(x <= 6, near, jnp.where(jnp.isinf(x), x, half * inverse * scaled * half))
    left = -_exp1(jnp.where(x < 0, -x, 1))
    return jnp.where(x < 0, left, right)


_expi.defjvps(lambda t, y, x: t * jnp.exp(x) / x)
expi = unary(
    "expi", _expi, "The principal value of the integral of exp(t) / t up to x (DLMF 6.2.5)."
)


# ---------------------------------------------------------------- generalized
_TERMS = 24
_STEPS = 100


def _expn_series(n: Array, x: Array) -> Array:
    """DLMF 8.19.8, for 0 < x <= 1."""
    total = jnp.zeros_like(x)
    power = jnp.ones_like(x)  # (-x)^k / k!
    last = jnp.zeros_like(x)  # that of k = n - 1; for larger n below rounding errors
    for k in range(_TERMS):
        pole = n == k + 1
        total = total - jnp.where(pole, 0, power / jnp.where(pole, 1, k + 1 - n))
        last = jnp.where(pole, power, last)
        power = power * -x / (k + 1)
    return last * (lax.digamma(n) - jnp.log(x)) + total


def _expn_fraction(n: Array, x: Array) -> Array:
    """exp(x) times it, for x > 1: the even part of the continued fraction DLMF 8.19.17."""

    def step(j: Any, tail: Array) -> Array:
        k = _STEPS - j.astype(x.dtype)
        return x + n + 2 * (k - 1) - k * (n - 1 + k) / tail

    return 1 / lax.fori_loop(0, _STEPS, step, x + n + 2 * _STEPS)


@custom_jvp
def _expn(n: Array, x: Array) -> Array:
    whole = (n >= 0) & (n == jnp.floor(n))
    inner = (x > 0) & (x < jnp.inf)
    positive = jnp.where(whole & (n > 0), n, 1)
    near = inner & (x <= 1)
    series = _expn_series(positive, jnp.where(near, x, 0.5))
    safe = jnp.where(inner & ~near, x, 2)
    y = jnp.where(near, series, jnp.exp(-safe) * _expn_fraction(positive, safe))
    at_zero = jnp.where(n > 1, 1 / jnp.where(n > 1, n - 1, 1), jnp.inf)
    y = jnp.where(x == 0, at_zero, jnp.where(x == jnp.inf, 0, y))
    y = jnp.where(n == 0, jnp.exp(-x) / x, y)
    return jnp.where(whole & (x >= 0), y, jnp.nan)


@_expn.defjvp
def _expn_jvp(primals: Any, tangents: Any) -> Any:
    n, x = primals
    lower = jnp.where(n > 0, _expn(jnp.maximum(n - 1, 0), x), jnp.exp(-x) * (1 + 1 / x) / x)
    return _expn(n, x), -lower * tangents[1]


def expn(n: Any, x: Any) -> Array:
    """The integral of exp(-x t) / t^n from 1 to infinity (DLMF 8.19.3); no derivative in n.

    Args:
        n: integers, not negative; else the result is NaN.
        x: numbers; NaN is given for negative ones.

    Example:
        >>> expn(2, 0.0)
        Array(1., dtype=float32)
    """
    n, x = operands("expn", n, x)
    return _expn(constant("expn", "n", n), x)
