"""Exponentials and logarithms: sums of them, the logistic function, entropies, Box-Cox powers."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.lax.rules import canonical_axes
from nr.numpy.promotion import broadcast_arrays_list, promote_inexact
from nr.scipy.special.operands import operands

__all__ = [
    "boxcox",
    "boxcox1p",
    "entr",
    "expit",
    "kl_div",
    "log_softmax",
    "logit",
    "logsumexp",
    "rel_entr",
    "softmax",
    "xlog1py",
    "xlogy",
]


def logsumexp(
    a: Any,
    axis: Any = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Any = None,
) -> Any:
    """log(sum(b exp(a))) over axes, without overflow.

    Args:
        a: an array.
        axis: the axes; None means all.
        b: factors, broadcast with a; the sum must not be negative, unless return_sign.
        keepdims: keep the axes, with extent 1.
        return_sign: also return the sign of the sum, of whose absolute value the logarithm is.
        where: a mask of the elements that count.

    Example:
        >>> import nr.numpy as jnp
        >>> logsumexp(jnp.array([1000., 1000.]))
        Array(1000.6932, dtype=float32)
    """
    if b is None:
        (x,) = promote_inexact("logsumexp", a)
        factor = None
    else:
        x, factor = broadcast_arrays_list("logsumexp", *promote_inexact("logsumexp", a, b))
        x = jnp.where(factor == 0, -jnp.inf, x)
    if where is not None:
        x = jnp.where(where, x, -jnp.inf)
    axes = canonical_axes("logsumexp", axis, x.ndim)
    largest = jnp.max(jnp.real(x), axes, keepdims=True, initial=-jnp.inf)
    largest = lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    terms = jnp.exp(x - largest)
    if factor is not None:
        terms = jnp.where(factor == 0, 0, terms * factor)
    total = jnp.sum(terms, axes, keepdims=True)
    sign = jnp.sign(total)
    if return_sign:
        total = jnp.abs(total)
    result = jnp.log(total) + largest
    if not keepdims:
        result, sign = lax.squeeze(result, axes), lax.squeeze(sign, axes)
    return (result, sign) if return_sign else result


def softmax(x: Any, axis: Any = None) -> Array:
    """exp(x) divided by its sum over axes (all, if None).

    Example:
        >>> import nr.numpy as jnp
        >>> softmax(jnp.array([0., 0.]))
        Array([0.5, 0.5], dtype=float32)
    """
    (x,) = promote_inexact("softmax", x)
    axes = canonical_axes("softmax", axis, x.ndim)
    terms = jnp.exp(x - lax.stop_gradient(jnp.max(x, axes, keepdims=True)))
    return terms / jnp.sum(terms, axes, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Array:
    """The logarithm of `softmax`, accurate where that is small."""
    (x,) = promote_inexact("log_softmax", x)
    axes = canonical_axes("log_softmax", axis, x.ndim)
    shifted = x - lax.stop_gradient(jnp.max(x, axes, keepdims=True))
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axes, keepdims=True))


def expit(x: Any) -> Array:
    """The logistic function 1 / (1 + exp(-x))."""
    (x,) = promote_inexact("expit", x)
    return lax.logistic(x)


def logit(x: Any) -> Array:
    """log(x / (1 - x)), the inverse of `expit`."""
    (x,) = promote_inexact("logit", x)
    return jnp.log(x) - jnp.log1p(-x)


def xlogy(x: Any, y: Any) -> Array:
    """x log(y), which is 0 where x is.

    Example:
        >>> xlogy(0., 0.)
        Array(0., dtype=float32, weak_type=True)
    """
    x, y = operands("xlogy", x, y)
    # Only where it must: x log(y) has log(y) for derivative also where x is 0.
    replaced = (x == 0) & ((y <= 0) | (y == jnp.inf))
    return x * jnp.log(jnp.where(replaced, 1, y))


def xlog1py(x: Any, y: Any) -> Array:
    """x log(1 + y), which is 0 where x is."""
    x, y = operands("xlog1py", x, y)
    replaced = (x == 0) & ((y <= -1) | (y == jnp.inf))
    return x * jnp.log1p(jnp.where(replaced, 0, y))


def entr(x: Any) -> Array:
    """-x log(x), the entropy's term; 0 at 0, and minus infinity below."""
    (x,) = operands("entr", x)
    return jnp.where(x < 0, -jnp.inf, -xlogy(jnp.where(x < 0, 1, x), jnp.where(x < 0, 1, x)))


def rel_entr(p: Any, q: Any) -> Array:
    """p log(p / q), the relative entropy's term; 0 where p is 0 and q is not negative.

    Infinite where p or q is negative, or q is 0.
    """
    p, q = operands("rel_entr", p, q)
    both, zero = (p > 0) & (q > 0), (p == 0) & (q >= 0)
    safe_p, safe_q = jnp.where(both, p, 1), jnp.where(both, q, 1)
    result = jnp.where(both, safe_p * jnp.log(safe_p / safe_q), jnp.where(zero, 0, jnp.inf))
    return jnp.where((p != p) | (q != q), jnp.nan, result)


def kl_div(p: Any, q: Any) -> Array:
    """p log(p / q) - p + q, the term of the Kullback-Leibler divergence."""
    p, q = operands("kl_div", p, q)
    return rel_entr(p, q) - p + q


def boxcox(x: Any, lmbda: Any) -> Array:
    """(x^lmbda - 1) / lmbda, and log(x) where lmbda is 0; NaN for negative x.

    G. Box and D. Cox (1964), "An analysis of transformations".

    Example:
        >>> boxcox(4.0, 0.5)
        Array(2., dtype=float32, weak_type=True)
    """
    x, power = operands("boxcox", x, lmbda)
    return _power_integral(jnp.log(x), power)


def boxcox1p(x: Any, lmbda: Any) -> Array:
    """`boxcox` of 1 + x, accurate where x is small."""
    x, power = operands("boxcox1p", x, lmbda)
    return _power_integral(jnp.log1p(x), power)


def _power_integral(log_x: Array, power: Array) -> Array:
    """(exp(power log_x) - 1) / power, with derivatives where power is 0."""
    t = power * log_x
    small = jnp.abs(t) < 1e-3
    # log_x may be infinite: 0 times that is not the power's product
    series_t = jnp.where(small, t, 0)
    terms = 1 + series_t / 2 * (1 + series_t / 3 * (1 + series_t / 4 * (1 + series_t / 5)))
    safe = jnp.where(small | (power == 0), 1, power)
    body = jnp.expm1(jnp.where(small | (power == 0), 0, t)) / safe
    return jnp.where(small | (power == 0), log_x * terms, body)
