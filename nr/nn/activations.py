"""Activation functions under the names of ``jax.nn``, or of torch for what JAX lacks.

Each takes an array of any shape. Integers are promoted to the default float where the result is
not an integer. At a kink the derivative is the one that JAX or torch gives; it is named in the
docstring.
"""

from __future__ import annotations

import math
from typing import Any

import nr.numpy as jnp
from nr import random
from nr.core.array import Array
from nr.core.tracing import Tracer
from nr.lax.elementwise import logistic
from nr.lax.rules import operand
from nr.lax.shape import stop_gradient
from nr.lax.special import erfc
from nr.numpy.promotion import promote_inexact
from nr.transforms.custom_derivatives import custom_jvp

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "hardshrink",
    "identity",
    "leaky_relu",
    "log1mexp",
    "log_sigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softplus",
    "softshrink",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "swish",
    "tanh",
    "tanhshrink",
    "threshold",
]


def _floating(op: str, x: Any) -> Array:
    return promote_inexact(op, x)[0]


# ---------------------------------------------------------------- piecewise linear
def identity(x: Any) -> Array:
    """x itself, as an array."""
    return operand("identity", x)


def relu(x: Any) -> Array:
    """max(x, 0); the derivative at 0 and at NaN is 0.

    Example:
        >>> import nr
        >>> nr.nn.relu(nr.numpy.array([-1.0, 0.0, 2.0]))
        Array([0., 0., 2.], dtype=float32)
    """
    x = operand("relu", x)
    if not isinstance(x, Tracer):
        return jnp.maximum(x, 0)
    # The derivative of a maximum is a half at 0, and at NaN is not 0.
    return jnp.where(x > 0, x, jnp.maximum(stop_gradient(x), 0))


def relu6(x: Any) -> Array:
    """min(max(x, 0), 6); the derivative at 0 and 6 is 0."""
    x = operand("relu6", x)
    return jnp.where(x <= 0, 0, jnp.where(x >= 6, 6.0, x))  # of integers floats, as in JAX


def leaky_relu(x: Any, negative_slope: Any = 0.01) -> Array:
    """x where it is not negative, else negative_slope * x; the derivative at 0 is 1."""
    x = _floating("leaky_relu", x)
    return jnp.where(x >= 0, x, negative_slope * x)


def prelu(x: Any, weight: Any) -> Array:
    """x where it is positive, else weight * x; the derivative at 0 is weight.

    `PReLU` is the layer whose weight is trained.

    Args:
        x: [..., channels].
        weight: [channels], a slope for each channel; or [1] or [], one for all.

    Raises:
        TypeError: weight has another shape.

    Source: He et al., "Delving Deep into Rectifiers", 2015.

    Example:
        >>> import nr
        >>> nr.nn.prelu(nr.numpy.array([[-2.0, -2.0], [3.0, 3.0]]), nr.numpy.array([0.5, 0.25]))
        Array([[-1. , -0.5],
               [ 3. ,  3. ]], dtype=float32)
    """
    x, weight = promote_inexact("prelu", x, weight)
    if weight.shape not in ((), (1,), x.shape[-1:]):
        raise TypeError(
            f"prelu: a number, or one a channel, {list(x.shape[-1:])}, was required; "
            f'got {weight.aval} for "weight". Channels are the last axis of x, {x.aval}.'
        )
    if x.ndim == 0:
        weight = weight.reshape(())
    return jnp.where(x > 0, x, weight * x)


def rrelu(
    x: Any, lower: float = 1 / 8, upper: float = 1 / 3, *, training: bool, key: Any = None
) -> Array:
    """x where it is positive, else slope * x; the derivative at 0 is the slope.

    Args:
        x: any array.
        lower, upper: between them lie the slopes.
        training: draw a slope for each element; otherwise all are (lower + upper) / 2.
        key: for the slopes, required in training.

    Raises:
        TypeError: there is no key in training.

    Source: Xu et al., "Empirical Evaluation of Rectified Activations in Convolutional Network",
    2015.

    Example:
        >>> import nr
        >>> nr.nn.rrelu(nr.numpy.array([-4.0, 2.0]), 0.0, 0.5, training=False)
        Array([-1.,  2.], dtype=float32)
    """
    x = _floating("rrelu", x)
    if not training:
        return jnp.where(x > 0, x, (lower + upper) / 2 * x)
    if key is None:
        raise TypeError("rrelu: a key was required in training; got None. Pass key=...")
    return jnp.where(x > 0, x, random.uniform(key, x.shape, x.dtype, lower, upper) * x)


def threshold(x: Any, threshold: Any, value: Any) -> Array:
    """x where it is above the threshold, else value; the derivative at the threshold is 0.

    Example:
        >>> import nr
        >>> nr.nn.threshold(nr.numpy.array([0.5, 1.5]), 1.0, -1.0)
        Array([-1. ,  1.5], dtype=float32)
    """
    x = operand("threshold", x)
    # A NaN is not <= the threshold and stays.
    return jnp.where(x <= threshold, value, x)


def hardshrink(x: Any, lambd: Any = 0.5) -> Array:
    """x where abs(x) is above lambd, else 0; the derivative at -lambd and lambd is 0."""
    x = operand("hardshrink", x)
    return jnp.where(jnp.abs(x) <= lambd, 0, x)


def softshrink(x: Any, lambd: Any = 0.5) -> Array:
    """x moved towards 0 by lambd, but no farther than 0; the derivative at -lambd and lambd is 0.

    Source: Donoho and Johnstone, "Ideal Spatial Adaptation by Wavelet Shrinkage", 1994.

    Example:
        >>> import nr
        >>> nr.nn.softshrink(nr.numpy.array([-2.0, 0.25, 2.0]))
        Array([-1.5,  0. ,  1.5], dtype=float32)
    """
    x = _floating("softshrink", x)
    return jnp.where(jnp.abs(x) <= lambd, 0, x - lambd * jnp.sign(x))


def hard_tanh(x: Any) -> Array:
    """x clipped to [-1, 1]; the derivative at -1 and 1 is 1."""
    x = operand("hard_tanh", x)
    return jnp.where(x > 1, 1, jnp.where(x < -1, -1, x))


def hard_sigmoid(x: Any) -> Array:
    """relu6(x + 3) / 6: a sigmoid of three straight pieces."""
    x = _floating("hard_sigmoid", x)
    return relu6(x + 3) / 6


def hard_silu(x: Any) -> Array:
    """x * hard_sigmoid(x).

    Source: Howard et al., "Searching for MobileNetV3", 2019, section 5.2.
    """
    x = _floating("hard_silu", x)
    return x * hard_sigmoid(x)


hard_swish = hard_silu


def sparse_sigmoid(x: Any) -> Array:
    """(x + 1) / 2 clipped to [0, 1]: the derivative of `sparse_plus`."""
    return 0.5 * jnp.clip(_floating("sparse_sigmoid", x) + 1, 0, 2)


# ---------------------------------------------------------------- sigmoids
def tanh(x: Any) -> Array:
    """The hyperbolic tangent."""
    return jnp.tanh(x)


def sigmoid(x: Any) -> Array:
    """1 / (1 + exp(-x)), without overflow.

    Example:
        >>> import nr
        >>> nr.nn.sigmoid(nr.numpy.array([-1000.0, 0.0, 1000.0]))
        Array([0. , 0.5, 1. ], dtype=float32)
    """
    return logistic(_floating("sigmoid", x))


def log_sigmoid(x: Any) -> Array:
    """log(sigmoid(x)), exact also where the sigmoid rounds to 0 or 1."""
    return -softplus(-_floating("log_sigmoid", x))


def tanhshrink(x: Any) -> Array:
    """x - tanh(x)."""
    x = _floating("tanhshrink", x)
    return x - jnp.tanh(x)


def soft_sign(x: Any) -> Array:
    """x / (1 + abs(x))."""
    x = _floating("soft_sign", x)
    return x / (jnp.abs(x) + 1)


# ---------------------------------------------------------------- smooth relus
def softplus(x: Any) -> Array:
    """log(1 + exp(x)), without overflow."""
    return jnp.logaddexp(_floating("softplus", x), 0.0)


def squareplus(x: Any, b: Any = 4) -> Array:
    """(x + sqrt(x**2 + b)) / 2.

    Source: Barron, "Squareplus: A Softplus-Like Algebraic Rectifier", 2021.
    """
    x = _floating("squareplus", x)
    return 0.5 * (x + jnp.sqrt(jnp.square(x) + b))


def sparse_plus(x: Any) -> Array:
    """0 up to -1, (x + 1)**2 / 4 up to 1, then x; its derivative is `sparse_sigmoid`."""
    x = _floating("sparse_plus", x)
    return jnp.where(x <= -1, 0, jnp.where(x >= 1, x, jnp.square(x + 1) / 4))


def silu(x: Any) -> Array:
    """x * sigmoid(x).

    Source: Elfwing, Uchibe, Doya, "Sigmoid-Weighted Linear Units for Neural Network Function
    Approximation in Reinforcement Learning", 2017.
    """
    x = _floating("silu", x)
    return x * logistic(x)


swish = silu


def mish(x: Any) -> Array:
    """x * tanh(softplus(x)).

    Source: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019.
    """
    x = _floating("mish", x)
    return x * jnp.tanh(softplus(x))


def gelu(x: Any, approximate: bool = True) -> Array:
    """x * Phi(x), with Phi the cumulative distribution function of the standard normal.

    Args:
        x: any array.
        approximate: use the paper's tanh formula, which is off by less than 0.0005.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.

    Example:
        >>> import nr
        >>> nr.nn.gelu(nr.numpy.array([-1.0, 0.0, 1.0]))
        Array([-0.158808,  0.      ,  0.841192], dtype=float32)
    """
    x = _floating("gelu", x)
    return (_gelu_with_rule if isinstance(x, Tracer) else _gelu)(bool(approximate), x)


def _gelu(approximate: bool, x: Array) -> Array:
    if approximate:
        return x * (0.5 * (1.0 + _gelu_tanh(x)))
    # erfc and not 1 + erf, which cancels for negative x.
    return 0.5 * x * erfc(-x * math.sqrt(0.5))


def _gelu_tanh(x: Array) -> Array:
    return jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x)))


_gelu_with_rule = custom_jvp(_gelu, nondiff_argnums=(0,))


@_gelu_with_rule.defjvp
def _gelu_jvp(approximate: bool, primals: Any, tangents: Any) -> Any:
    """The tangent by the derivative: it alone is kept for the gradient, not each factor's own."""
    (x,), (dx,) = primals, tangents
    if approximate:
        t = _gelu_tanh(x)
        phi = 0.5 * (1.0 + t)
        # x comes last: where powers of x overflow, what is 0 is so before.
        rest = x * (1.0 - t * t)
        rest = math.sqrt(0.5 / math.pi) * (rest + 0.134145 * (rest * x * x))
    else:
        phi = 0.5 * erfc(-x * math.sqrt(0.5))
        rest = math.sqrt(0.5 / math.pi) * (x * jnp.exp(-0.5 * (x * x)))
    return x * phi, dx * (phi + rest)


def elu(x: Any, alpha: Any = 1.0) -> Array:
    """x where positive, else alpha * (exp(x) - 1).

    Source: Clevert, Unterthiner, Hochreiter, "Fast and Accurate Deep Network Learning by
    Exponential Linear Units", 2015.
    """
    x = _floating("elu", x)
    positive = x > 0
    # The exponential's argument is guarded: inf * 0 in its derivative would be NaN.
    return jnp.where(positive, x, alpha * jnp.expm1(jnp.where(positive, 0, x)))


def celu(x: Any, alpha: Any = 1.0) -> Array:
    """x where positive, else alpha * (exp(x / alpha) - 1).

    Source: Barron, "Continuously Differentiable Exponential Linear Units", 2017.
    """
    x = _floating("celu", x)
    positive = x > 0
    return jnp.where(positive, x, alpha * jnp.expm1(jnp.where(positive, 0, x) / alpha))


# The fixed point of mean 0 and variance 1 (Klambauer et al., equation 14).
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def selu(x: Any) -> Array:
    """elu scaled so that layers keep zero mean and unit variance.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", 2017.
    """
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


# ---------------------------------------------------------------- others
def glu(x: Any, axis: int = -1) -> Array:
    """The first half of an axis times the sigmoid of the second half.

    Raises:
        ValueError: the axis has an odd size.

    Source: Dauphin et al., "Language Modeling with Gated Convolutional Networks", 2016.
    """
    x = _floating("glu", x)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f'glu: an axis of "x" was required; got axis {axis} and {x.aval}.')
    if x.shape[axis] % 2:
        raise ValueError(
            f'glu: axis {axis} of "x" must have an even size; got {x.aval}. '
            "Give the layer before it twice as many features as the gate should leave."
        )
    value, gate = jnp.split(x, 2, axis)
    return value * logistic(gate)


def log1mexp(x: Any) -> Array:
    """log(1 - exp(-x)) for positive x, without cancellation.

    Source: Maechler, "Accurately Computing log(1 - exp(-|a|))", 2012.
    """
    x = _floating("log1mexp", x)
    small = x < math.log(2)
    # Each branch sees a harmless argument where the other is taken.
    below = jnp.log(-jnp.expm1(-jnp.where(small, x, 1)))
    return jnp.where(small, below, jnp.log1p(-jnp.exp(-jnp.where(small, 1, x))))
