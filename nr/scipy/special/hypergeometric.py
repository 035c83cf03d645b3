"""Hypergeometric functions of real numbers (DLMF 13.2, 15.2), by their series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.scipy.special.gamma_functions import gammasgn
from nr.scipy.special.operands import constant, operands
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["hyp1f1", "hyp2f1"]

_STEPS = 20000


def _sum(ratio: Callable, x: Array, steps: int = _STEPS) -> Array:
    """1 + ratio(0) + ratio(0) ratio(1) + ..., until terms are below rounding errors."""
    epsilon = float(jnp.finfo(x.dtype).eps) / 4

    def body(state: Any) -> Any:
        k, term, total, _ = state
        factor = ratio(k.astype(x.dtype))
        term = term * factor
        total = total + term
        # terms must be small, and falling for good
        done = (jnp.abs(term) <= epsilon * jnp.abs(total)) & (jnp.abs(factor) < 1)
        return k + 1, term, total, ~(done | (term == 0) | (total != total))

    def unfinished(state: Any) -> Array:
        return (state[0] < steps) & jnp.any(state[3])

    start = (jnp.zeros((), "int32"), jnp.ones_like(x), jnp.ones_like(x), jnp.ones_like(x, "bool"))
    return lax.while_loop(unfinished, body, start)[2]


def _is_pole(x: Array) -> Array:
    return (x <= 0) & (x == jnp.floor(x))


def _divides_by_zero(bottom: Array, *tops: Array) -> Array:
    """Whether the series reaches a term over 0, before one that is 0."""
    bad = _is_pole(bottom)
    for top in tops:
        bad = bad & ~(_is_pole(top) & (top > bottom))
    return bad


def _gamma_ratio(above: list[Array], below: list[Array]) -> Array:
    """The quotient of products of gamma functions; 0 at the poles of the lower ones."""
    log_size: Any = 0
    sign: Any = 1
    zero = jnp.zeros_like(above[0], "bool")
    for x in above:
        log_size, sign = log_size + lax.lgamma(x), sign * gammasgn(x)
    for x in below:
        pole = _is_pole(x)
        safe = jnp.where(pole, 1, x)
        log_size, sign = log_size - lax.lgamma(safe), sign * gammasgn(safe)
        zero = zero | pole
    return jnp.where(zero, 0, sign * jnp.exp(log_size))


# ---------------------------------------------------------------- Kummer's function
@custom_jvp
def _hyp1f1(a: Array, b: Array, x: Array) -> Array:
    # For negative x the terms of M(a, b, x) = exp(x) M(b - a, b, -x) do not cancel (DLMF 13.2.39),
    # and a finite sum stays one.
    swap = (x < 0) & ~_is_pole(a)
    start, end = (25, 80) if x.dtype.itemsize <= 4 else (100, 700)
    slow = 2 * jnp.abs(a) * (jnp.abs(a) + jnp.abs(b))
    far = (jnp.abs(x) > jnp.minimum(start + slow, end)) & ~_is_pole(a) & ~_is_pole(b - a)
    upper, y = jnp.where(swap, b - a, a), jnp.where(far, 0, jnp.where(swap, -x, x))
    series = _sum(lambda k: (upper + k) * y / ((b + k) * (k + 1)), y)
    near = jnp.where(swap, jnp.exp(x) * series, series)
    # DLMF 13.7.1, 13.7.2, with as many terms as fall
    size = jnp.where(far, jnp.abs(x), 200)
    first, second = jnp.where(swap, a, b - a), jnp.where(swap, a - b + 1, 1 - a)
    tail, term = jnp.ones_like(x), jnp.ones_like(x)
    for k in range(30):
        factor = (first + k) * (second + k) / ((k + 1) * size)
        term = jnp.where(jnp.abs(factor) < 1, term * factor, 0)
        tail = tail + term
    shape = _gamma_ratio([b], [jnp.where(swap, b - a, a)])
    power = jnp.where(swap, -a, a - b) * jnp.log(size)
    outer = shape * jnp.exp(jnp.where(swap, power, power + size)) * tail
    value = jnp.where(far, outer, near)
    return jnp.where(_divides_by_zero(b, a), jnp.inf, value)


@_hyp1f1.defjvp
def _hyp1f1_jvp(primals: Any, tangents: Any) -> Any:
    a, b, x = primals
    return _hyp1f1(a, b, x), tangents[2] * (a / b) * _hyp1f1(a + 1, b + 1, x)


def hyp1f1(a: Any, b: Any, x: Any) -> Array:
    """Kummer's function M(a, b, x) (DLMF 13.2.2); no derivative in a and b.

    Digits are lost where terms of both signs are large: for negative a or b of some size.

    Example:
        >>> hyp1f1(1.0, 1.0, 0.0)
        Array(1., dtype=float32)
    """
    a, b, x = operands("hyp1f1", a, b, x)
    return _hyp1f1(constant("hyp1f1", "a", a), constant("hyp1f1", "b", b), x)


# ---------------------------------------------------------------- Gauss's function
def _gauss_series(a: Array, b: Array, c: Array, x: Array) -> Array:
    return _sum(lambda k: (a + k) * (b + k) * x / ((c + k) * (k + 1)), x)


@custom_jvp
def _hyp2f1(a: Array, b: Array, c: Array, x: Array) -> Array:
    finite = _is_pole(a) | _is_pole(b)
    # Left of 0 terms change their signs: smaller parameters lose fewer digits (DLMF 15.8.1).
    smaller = (x < 0) & ~finite & (jnp.abs(c - a) + jnp.abs(c - b) < jnp.abs(a) + jnp.abs(b))
    factor = jnp.where(smaller, (1 - jnp.where(smaller, x, 0)) ** (c - a - b), 1)
    a, b = jnp.where(smaller, c - a, a), jnp.where(smaller, c - b, b)
    finite = _is_pole(a) | _is_pole(b)
    # From the left of 0 to the unit interval (DLMF 15.8.1), but sums that are finite anyhow.
    turn = (x < 0) & ~finite
    second = jnp.where(turn, c - b, b)
    y = jnp.where(turn, x / (x - 1), x)
    rest = jnp.where(turn, 1 / (1 - jnp.where(turn, x, 0)), 1 - x)  # 1 - y
    s = c - a - second
    # Next to 1 to the neighbourhood of 0 (DLMF 15.8.4), unless that has a pole for a factor.
    across = (y > 0.9) & (y < 1) & (jnp.abs(s - jnp.round(s)) > 1e-2) & ~finite & ~_is_pole(second)
    end = (y == 1) & ~finite
    inside = jnp.where(across | end | ((y > 1) & ~finite), 0, y)
    series = _gauss_series(a, second, c, inside)
    other = jnp.where(across, rest, 0)
    s_safe = jnp.where(across, s, 0.5)
    left = _gauss_series(a, second, 1 - s_safe, other)
    right = _gauss_series(c - a, c - second, 1 + s_safe, other)
    power = jnp.where(across, rest, 1) ** s_safe
    crossed = _gamma_ratio([c, s_safe], [c - a, c - second]) * left
    crossed = crossed + power * _gamma_ratio([c, -s_safe], [a, second]) * right
    positive = jnp.where(s > 0, s, 0.5)
    at_end = _gamma_ratio([c, positive], [c - a, c - second])
    endless = gammasgn(c) * gammasgn(a) * gammasgn(second) * jnp.inf
    at_end = jnp.where(s > 0, at_end, endless)
    value = jnp.where(across, crossed, jnp.where(end, at_end, series))
    value = factor * jnp.where(turn, rest**a, 1) * value
    value = jnp.where(_divides_by_zero(c, a, b), jnp.inf, value)
    return jnp.where((x > 1) & ~finite, jnp.nan, value)


@_hyp2f1.defjvp
def _hyp2f1_jvp(primals: Any, tangents: Any) -> Any:
    a, b, c, x = primals
    return _hyp2f1(a, b, c, x), tangents[3] * (a * b / c) * _hyp2f1(a + 1, b + 1, c + 1, x)


def hyp2f1(a: Any, b: Any, c: Any, x: Any) -> Array:
    """Gauss's function F(a, b; c; x) for x <= 1 (DLMF 15.2.1); no derivative in a, b and c.

    Digits are lost where terms of both signs are large: for parameters of some size. Where
    c - a - b is an integer, and x next to 1, the series takes many steps.

    Example:
        >>> hyp2f1(1.0, 1.0, 1.0, 0.5)
        Array(2., dtype=float32)
    """
    a, b, c, x = operands("hyp2f1", a, b, c, x)
    a, b, c = [constant("hyp2f1", name, y) for name, y in (("a", a), ("b", b), ("c", c))]
    return _hyp2f1(a, b, c, x)
