"""Losses of numbers: squared and absolute differences, what lies between, and likelihoods."""

from __future__ import annotations

import math
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.rules import operand
from nr.lax.shape import stop_gradient
from nr.nn.activations import softplus
from nr.nn.losses.reduction import Reduction, factors, floats, reduce

__all__ = [
    "gaussian_nll_loss",
    "huber_loss",
    "l1_loss",
    "log_cosh_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


def mse_loss(
    predictions: Any, targets: Any, *, weight: Any = None, reduction: Reduction = "mean"
) -> Array:
    """The squared error, (predictions - targets)**2.

    Args:
        predictions, targets: of one shape.
        weight: factors of the elements' losses; broadcasts to their shape.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``. The mean's divisor is
            the sum of the weights; if that is 0, so is the mean.

    Raises:
        TypeError: the shapes differ.

    Example:
        >>> import nr
        >>> nr.nn.mse_loss(nr.numpy.array([1.0, 4.0]), nr.numpy.array([1.0, 2.0]))
        Array(2., dtype=float32)
    """
    op = "mse_loss"
    dtype, (x, t) = floats(op, predictions=predictions, targets=targets)
    return _weighted(op, jnp.square(x - t), weight, reduction, dtype)


def l1_loss(
    predictions: Any, targets: Any, *, weight: Any = None, reduction: Reduction = "mean"
) -> Array:
    """The absolute error, abs(predictions - targets); its derivative at 0 is 0.

    Args:
        predictions, targets: of one shape.
        weight: factors of the elements' losses; broadcasts to their shape.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``. The mean's divisor is
            the sum of the weights; if that is 0, so is the mean.

    Raises:
        TypeError: the shapes differ.

    Example:
        >>> import nr
        >>> nr.nn.l1_loss(nr.numpy.array([1.0, 4.0]), nr.numpy.array([1.0, 2.0]))
        Array(1., dtype=float32)
    """
    op = "l1_loss"
    dtype, (x, t) = floats(op, predictions=predictions, targets=targets)
    difference = x - t
    # Not abs, whose derivative at 0 is 1.
    return _weighted(op, difference * jnp.sign(difference), weight, reduction, dtype)


def huber_loss(
    predictions: Any,
    targets: Any,
    *,
    delta: float = 1.0,
    weight: Any = None,
    reduction: Reduction = "mean",
) -> Array:
    """d**2 / 2 where d = abs(predictions - targets) is at most delta, else delta * (d - delta / 2).

    Args:
        predictions, targets: of one shape.
        delta: positive; where the loss goes over from quadratic to linear.
        weight: factors of the elements' losses; broadcasts to their shape.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``. The mean's divisor is
            the number of elements, whatever the weights.

    Raises:
        TypeError: the shapes differ.
        ValueError: delta is not positive.

    Source: Huber, "Robust Estimation of a Location Parameter", 1964.

    Example:
        >>> import nr
        >>> nr.nn.huber_loss(nr.numpy.array([0.5, 4.0]), nr.numpy.zeros(2), reduction="none")
        Array([0.125, 3.5  ], dtype=float32)
    """
    op = "huber_loss"
    if not delta > 0:
        raise ValueError(f"{op}: delta must be positive; got {delta}.")
    dtype, (x, t) = floats(op, predictions=predictions, targets=targets)
    losses = _huber(x - t, delta)
    if weight is not None:
        losses = losses * factors(op, "weight", weight, losses)
    return reduce(op, losses, reduction, dtype)


def smooth_l1_loss(
    predictions: Any, targets: Any, *, beta: float = 1.0, reduction: Reduction = "mean"
) -> Array:
    """``huber_loss(predictions, targets, delta=beta) / beta``; for beta = 0 it is the `l1_loss`.

    Args:
        predictions, targets: of one shape.
        beta: not negative; where the loss goes over from quadratic to linear, of slope 1.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        TypeError: the shapes differ.
        ValueError: beta is negative.

    Source: Girshick, "Fast R-CNN", 2015, equation 3, where beta is 1.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([0.5, 4.0])
        >>> nr.nn.smooth_l1_loss(x, nr.numpy.zeros(2), beta=2.0, reduction="none")
        Array([0.0625, 3.    ], dtype=float32)
    """
    op = "smooth_l1_loss"
    if not beta >= 0:
        raise ValueError(f"{op}: beta must not be negative; got {beta}.")
    dtype, (x, t) = floats(op, predictions=predictions, targets=targets)
    difference = x - t
    if beta == 0:
        losses = difference * jnp.sign(difference)
    else:
        losses = _huber(difference, beta) / beta
    return reduce(op, losses, reduction, dtype)


def _weighted(op: str, losses: Array, weight: Any, reduction: Reduction, dtype: Any) -> Array:
    """Losses with the weights of a weighted mean, reduced."""
    if weight is None:
        return reduce(op, losses, reduction, dtype)
    weight = factors(op, "weight", weight, losses)
    return reduce(op, losses * weight, reduction, dtype, jnp.sum(weight))


def _huber(difference: Array, delta: float) -> Array:
    distance = jnp.abs(difference)
    near = distance <= delta
    # The branch not taken gets a harmless argument: the square of 1e30 is inf in float32.
    square = jnp.square(jnp.where(near, difference, 0))
    return jnp.where(near, 0.5 * square, delta * (distance - 0.5 * delta))


def log_cosh_loss(predictions: Any, targets: Any, *, reduction: Reduction = "mean") -> Array:
    """log(cosh(predictions - targets)): quadratic for small differences, linear for large ones.

    Args:
        predictions, targets: of one shape.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        TypeError: the shapes differ.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([0.0, 0.5])
        >>> nr.nn.log_cosh_loss(x, nr.numpy.zeros(2), reduction="none").round(4)
        Array([0.    , 0.1201], dtype=float32)
    """
    op = "log_cosh_loss"
    dtype, (x, t) = floats(op, predictions=predictions, targets=targets)
    difference = x - t
    distance = jnp.abs(difference)
    near = distance < 1
    # cosh(d) = 1 + 2 sinh(d / 2)**2: nothing cancels where d is small.
    small = jnp.log1p(2 * jnp.square(jnp.sinh(0.5 * jnp.where(near, difference, 0))))
    large = distance + softplus(-2 * distance) - math.log(2)
    return reduce(op, jnp.where(near, small, large), reduction, dtype)


# ---------------------------------------------------------------- likelihoods
def poisson_nll_loss(
    predictions: Any,
    targets: Any,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
) -> Array:
    """The negative log-likelihood of counts, up to a constant: rate - targets * log(rate).

    Args:
        predictions: logarithms of the rates of Poisson distributions, or the rates.
        targets: counts, of the shape of predictions.
        log_input: whether predictions are logarithms.
        full: add Stirling's approximation of the constant, log(targets!), for counts above 1.
        eps: added to rates whose logarithm is taken.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        TypeError: the shapes differ.

    Example:
        >>> import nr
        >>> nr.nn.poisson_nll_loss(nr.numpy.array([0.0, 1.0]), nr.numpy.array([2, 0])).round(4)
        Array(1.8591, dtype=float32)
    """
    op = "poisson_nll_loss"
    dtype, (x, t) = floats(op, predictions=predictions, targets=targets)
    losses = jnp.exp(x) - t * x if log_input else x - t * jnp.log(x + eps)
    if full:
        above = t > 1
        n = jnp.where(above, t, 1)
        stirling = n * jnp.log(n) - n + 0.5 * jnp.log(2 * math.pi * n)
        losses = losses + jnp.where(above, stirling, 0)
    return reduce(op, losses, reduction, dtype)


def gaussian_nll_loss(
    predictions: Any,
    targets: Any,
    var: Any,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> Array:
    """The negative log-likelihood: (log(var) + (predictions - targets)**2 / var) / 2.

    Args:
        predictions: means of normal distributions.
        targets: numbers, of the shape of predictions.
        var: variances: of the shape of predictions, or [..., 1], one for all along the last axis.
        full: add the constant, log(2 pi) / 2.
        eps: the least variance. Smaller ones are raised to it, and get the gradient at eps.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        TypeError: shapes differ.

    Source: Nix and Weigend, "Estimating the Mean and Variance of the Target Probability
    Distribution", 1994.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([0.0, 2.0])
        >>> nr.nn.gaussian_nll_loss(x, nr.numpy.zeros(2), nr.numpy.array([1.0, 4.0]))
        Array(0.5965736, dtype=float32)
    """
    op = "gaussian_nll_loss"
    x, variance = operand(op, predictions), operand(op, var)
    one = (*x.shape[:-1], 1)
    if variance.shape not in (x.shape, one):
        raise TypeError(
            f'{op}: the shape of "predictions", {x.aval}, or {list(one)}, was required; '
            f'got {variance.aval} for "var".'
        )
    variance = jnp.broadcast_to(variance, x.shape)
    dtype, (x, t, v) = floats(op, predictions=x, targets=targets, var=variance)
    # The clipping takes no part in the gradient, which would be 0 below eps for ever.
    v = v + stop_gradient(jnp.where(v < eps, eps, v) - v)
    losses = 0.5 * (jnp.log(v) + jnp.square(x - t) / v)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduce(op, losses, reduction, dtype)
