"""softmax and its kin, one-hot vectors, standardization: functions over an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr import random
from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.lax.elementwise import rsqrt
from nr.lax.rules import operand
from nr.lax.shape import iota, stop_gradient
from nr.numpy.promotion import promote_inexact

__all__ = [
    "flatten",
    "gumbel_softmax",
    "log_softmax",
    "logmeanexp",
    "logsumexp",
    "one_hot",
    "softmax",
    "softmin",
    "standardize",
]

Axis = int | Sequence[int] | None


def _shifted(x: Array, axis: Axis, where: Any) -> Array:
    """x less its maximum over the axis; 0 where masked.

    No gradient goes through the maximum: what is computed from the result does not depend on it.
    """
    if where is None:
        return x - stop_gradient(jnp.max(x, axis, keepdims=True, initial=-np.inf))
    top = jnp.max(x, axis, keepdims=True, initial=-np.inf, where=where)
    return jnp.where(where, x - stop_gradient(jnp.where(jnp.isneginf(top), 0, top)), 0)


def softmax(x: Any, axis: Axis = -1, where: Any = None) -> Array:
    """exp(x) / sum(exp(x)) over an axis, without overflow.

    Args:
        x: scores; -inf gives 0, a slice that holds only -inf, or inf, gives NaN.
        axis: the axis or axes of the sum; None for all.
        where: bool, broadcasts against x. Elements where it is False take no part: their
            result is 0, and so are their gradients.

    Example:
        >>> import nr
        >>> nr.nn.softmax(nr.numpy.array([1000.0, 1000.0, -nr.numpy.inf]))
        Array([0.5, 0.5, 0. ], dtype=float32)
    """
    x = promote_inexact("softmax", x)[0]
    weights = jnp.exp(_shifted(x, axis, where))
    if where is None:
        return weights / jnp.sum(weights, axis, keepdims=True)
    weights = jnp.where(where, weights, 0)
    total = jnp.sum(weights, axis, keepdims=True)
    # A slice that is masked as a whole has the total 0, and 0 / 1 as its result.
    return weights / jnp.where(total == 0, 1, total)


def softmin(x: Any, axis: Axis = -1, where: Any = None) -> Array:
    """``softmax(-x)``: the smallest x gets the largest weight.

    Args:
        x: costs.
        axis: the axis or axes of the sum; None for all.
        where: as in `softmax`.

    Example:
        >>> import nr
        >>> nr.nn.softmin(nr.numpy.array([0.0, 0.0, 1000.0]))
        Array([0.5, 0.5, 0. ], dtype=float32)
    """
    return softmax(-promote_inexact("softmin", x)[0], axis, where)


def gumbel_softmax(
    logits: Any, *, key: Any, tau: float = 1.0, hard: bool = False, axis: int = -1
) -> Array:
    """A relaxed sample of one class: softmax((logits + Gumbel noise) / tau), which has a gradient.

    Args:
        logits: unnormalized logarithms of the probabilities of classes, along the axis.
        key: for the noise.
        tau: positive; the lower, the nearer are samples to one-hot vectors, and the larger the
            variance of gradients.
        hard: give one-hot vectors, exact samples of the classes, with the gradient of the
            relaxed ones (straight-through).
        axis: the axis of classes.

    Raises:
        ValueError: tau is not positive.

    Source: Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax", 2016; Maddison,
    Mnih, Teh, "The Concrete Distribution", 2016.

    Example:
        >>> import nr
        >>> logits = nr.numpy.array([0.0, 1000.0, 0.0])
        >>> nr.nn.gumbel_softmax(logits, key=nr.random.key(0), hard=True)
        Array([0., 1., 0.], dtype=float32)
    """
    if not tau > 0:
        raise ValueError(f"gumbel_softmax: tau must be positive; got {tau}.")
    (logits,) = promote_inexact("gumbel_softmax", logits)
    relaxed = softmax((logits + random.gumbel(key, logits.shape, logits.dtype)) / tau, axis)
    if not hard:
        return relaxed
    sample = one_hot(jnp.argmax(relaxed, axis), relaxed.shape[axis], dtype=relaxed.dtype, axis=axis)
    return sample + (relaxed - stop_gradient(relaxed))


def log_softmax(x: Any, axis: Axis = -1, where: Any = None) -> Array:
    """log(softmax(x)), exact also where the softmax rounds to 0 or 1.

    Args:
        x: scores.
        axis: the axis or axes of the sum; None for all.
        where: as in `softmax`; the result is -inf where it is False.

    Example:
        >>> import nr
        >>> nr.nn.log_softmax(nr.numpy.array([0.0, 1000.0]))
        Array([-1000.,     0.], dtype=float32)
    """
    x = promote_inexact("log_softmax", x)[0]
    shifted = _shifted(x, axis, where)
    if where is None:
        return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis, keepdims=True))
    total = jnp.sum(jnp.where(where, jnp.exp(shifted), 0), axis, keepdims=True)
    return jnp.where(where, shifted - jnp.log(jnp.where(total == 0, 1, total)), -np.inf)


def logsumexp(
    a: Any,
    axis: Axis = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Any = None,
) -> Array | tuple[Array, Array]:
    """log(sum(b * exp(a))) over an axis, without overflow.

    Args:
        a: exponents.
        axis: the axis or axes of the sum; None for all.
        b: factors, which broadcast against a; 1 by default.
        keepdims: keep the summed axes with size 1.
        return_sign: also return the sign of the sum, and the logarithm of its absolute value.
        where: bool, which elements take part.

    Returns:
        The logarithm (NaN where the sum is negative), or (logarithm, sign).

    Example:
        >>> import nr
        >>> nr.nn.logsumexp(nr.numpy.array([1000.0, 1000.0]))
        Array(1000.6932, dtype=float32)
    """
    if b is None:
        (a,) = promote_inexact("logsumexp", a)
    else:
        a, b = promote_inexact("logsumexp", a, b)
        # An exponent of inf beside a factor 0 must not be the maximum, nor make inf * 0.
        a, b = jnp.broadcast_arrays(a, b)
        a = jnp.where(b == 0, -np.inf, a)
    top = jnp.max(jnp.real(a), axis, keepdims=True, initial=-np.inf, where=where)
    top = stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    terms = jnp.exp(a - top)
    if b is not None:
        terms = terms * b
    total = jnp.sum(terms, axis, keepdims=keepdims, where=where)
    if not keepdims:
        top = jnp.squeeze(top, axis)
    if return_sign:
        return jnp.log(jnp.abs(total)) + top, jnp.sign(total)
    if total.dtype in dtypes.COMPLEX:
        return jnp.log(total) + top
    return jnp.log(jnp.where(total < 0, np.nan, total)) + top


def logmeanexp(x: Any, axis: Axis = None, where: Any = None, keepdims: bool = False) -> Array:
    """log(mean(exp(x))) over an axis, without overflow; the mean of the elements taking part."""
    total = logsumexp(x, axis, keepdims=keepdims, where=where)
    assert not isinstance(total, tuple)
    counted = jnp.broadcast_to(True if where is None else where, jnp.shape(x))
    return total - jnp.log(jnp.sum(counted, axis, keepdims=keepdims, dtype=total.dtype))


def standardize(
    x: Any,
    axis: Axis = -1,
    mean: Any = None,
    variance: Any = None,
    epsilon: Any = 1e-5,
    where: Any = None,
    *,
    algorithm: str = "fast",
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) over an axis.

    Args:
        x: any array.
        axis: the axis or axes over which mean and variance are taken; None for all.
        mean, variance: used instead of those of x; they broadcast against x.
        epsilon: keeps the root from 0.
        where: bool, which elements count for mean and variance.
        algorithm: JAX's "fast" or "stable": here both take the variance of what is left without
            the mean, which is stable.

    Raises:
        ValueError: for another algorithm.

    Example:
        >>> import nr
        >>> nr.nn.standardize(nr.numpy.array([1.0, 3.0]), epsilon=0.0)
        Array([-1.,  1.], dtype=float32)
    """
    if algorithm not in ("fast", "stable"):
        raise ValueError(f'standardize: algorithm must be "fast" or "stable"; got {algorithm!r}.')
    x = promote_inexact("standardize", x)[0]
    if mean is None:
        mean = jnp.mean(x, axis, keepdims=True, where=where)
    centred = x - mean
    if variance is None:
        variance = jnp.mean(jnp.square(centred), axis, keepdims=True, where=where)
    return centred * rsqrt(variance + jnp.asarray(epsilon, x.dtype))


def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: int = -1) -> Array:
    """Vectors that are 1 at the index given by x, and 0 elsewhere.

    Args:
        x: integers (or floats of integral values); one outside [0, num_classes) gives a vector
            of zeros.
        num_classes: the length of the vectors.
        dtype: of the result, by default the default float.
        axis: where in the result the vectors lie.

    Example:
        >>> import nr
        >>> nr.nn.one_hot(nr.numpy.array([1, 3]), 3)
        Array([[0., 1., 0.],
               [0., 0., 0.]], dtype=float32)
    """
    x = jnp.asarray(x)
    rank = x.ndim + 1
    if not -rank <= axis < rank:
        raise ValueError(
            f"one_hot: an axis of the result, of rank {rank}, was required; got axis {axis}."
        )
    dtype = config.default_float if dtype is None else dtypes.canonicalize(dtype)
    shape = [1] * rank
    shape[axis] = num_classes
    # Classes that x's dtype cannot hold are never hit: compare in a dtype that holds both.
    classes = iota(np.int32 if x.dtype.itemsize < 8 else x.dtype, num_classes).reshape(shape)
    return (jnp.expand_dims(x, axis) == classes).astype(dtype)


def flatten(x: Any, start: int = -3) -> Array:
    """x with its last axes made one, those from `start` on: by default those of an image.

    Args:
        x: [..., H, W, C], or with other axes.
        start: the first axis that is merged.

    Raises:
        ValueError: x has no such axis.

    Example:
        >>> import nr
        >>> nr.nn.flatten(nr.numpy.ones((8, 4, 4, 16))).shape
        (8, 256)
    """
    x = operand("flatten", x)
    if not -x.ndim <= start < x.ndim:
        raise ValueError(
            f'flatten: an axis of "x" was required; got start={start} for {x.aval}. '
            "Images have the axes -3, -2 and -1."
        )
    return x.reshape(*x.shape[:start], math.prod(x.shape[start:]))
