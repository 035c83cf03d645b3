"""Dropout of elements, of channels, of branches and of weights.

All are layers without parameters. In training they draw from a key: give each call one of its own
(`nr.random.split`). In inference, and with rate 0, they need no key and give x back.
"""

from __future__ import annotations

import math
from typing import Any

import nr.numpy as jnp
from nr import random
from nr.core.array import Array
from nr.nn.module import module, static
from nr.numpy.promotion import promote_inexact

__all__ = ["AlphaDropout", "DropConnect", "DropPath", "Dropout"]

# What SELU tends to for large negative numbers: minus its scale times its alpha.
_SELU_FLOOR = -1.0507009873554805 * 1.6732632423543772


def _check_rate(op: str, rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(
            f"{op}: a probability was required; got rate={rate}. "
            "It is the part that is dropped: 0 for none, 1 for all."
        )


def _needs_key(op: str, rate: float, key: Any, training: bool) -> bool:
    """Whether anything is dropped.

    Raises:
        TypeError: it is, and there is no key.
    """
    if not training or rate == 0:
        return False
    if key is None:
        raise TypeError(
            f"{op}: a key was required in training; got None. "
            f"Call the layer with key=key, a new one each time (nr.random.split)."
        )
    return True


def _kept(key: Any, rate: float, shape: tuple[int, ...]) -> Array:
    """True with probability 1 - rate, to 2^-23, whatever the dtype of what is dropped."""
    return random.bernoulli(key, jnp.asarray(1 - rate, "float32"), shape)


def _scaled(x: Array, rate: float, kept: Array) -> Array:
    return jnp.where(kept, x * (1 / (1 - rate)), 0)


def _mask_shape(op: str, x: Array, dims: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of x, with size 1 in some dimensions.

    Raises:
        ValueError: x has no such dimension.
    """
    shape = list(x.shape)
    for d in dims:
        if not -x.ndim <= d < x.ndim:
            raise ValueError(
                f'{op}: dimensions of "x" were required; got broadcast_dims={dims} for {x.aval}.'
            )
        shape[d] = 1
    return tuple(shape)


@module
class Dropout:
    """Sets elements to 0 with probability `rate` in training, and divides the others by 1 - rate.

    So the mean stays. Srivastava et al., "Dropout: a simple way to prevent neural networks from
    overfitting", 2014.

    Attributes:
        rate: the probability, in [0, 1].
        broadcast_dims: dimensions along which elements are dropped together. With those of
            positions whole channels are dropped: ``(-3, -2)`` for images, ``(-2,)`` for sequences.

    Example:
        >>> import nr
        >>> drop = nr.nn.Dropout(0.5)
        >>> drop(nr.numpy.ones(8), key=nr.random.key(1), training=True)
        Array([2., 0., 2., 2., 0., 0., 0., 0.], dtype=float32)
        >>> drop(nr.numpy.ones(2), training=False)
        Array([1., 1.], dtype=float32)
    """

    rate: float = static()
    broadcast_dims: tuple[int, ...] = static(default=())

    def __post_init__(self) -> None:
        _check_rate("Dropout", self.rate)

    def __call__(self, x: Any, *, training: bool, key: Any = None) -> Array:
        """Drop.

        Args:
            x: any shape; integers become floats.
            training: whether anything is dropped.
            key: required in training, unless the rate is 0.

        Raises:
            TypeError: there is no key where one is required.
            ValueError: x lacks one of broadcast_dims.
        """
        (x,) = promote_inexact("Dropout", x)
        if not _needs_key("Dropout", self.rate, key, training):
            return x
        shape = _mask_shape("Dropout", x, self.broadcast_dims)
        if self.rate == 1:
            return jnp.zeros_like(x)
        return _scaled(x, self.rate, _kept(key, self.rate, shape))


@module
class AlphaDropout:
    """Dropout that keeps mean 0 and variance 1, for networks of `nr.nn.selu`.

    What is dropped becomes the least value of SELU, and the result is scaled and shifted. Klambauer
    et al., "Self-normalizing neural networks", 2017.

    Attributes:
        rate: the probability, in [0, 1]; with 1 the result is 0.
        broadcast_dims: dimensions along which elements are dropped together, as in `Dropout`.

    Example:
        >>> import nr
        >>> drop = nr.nn.AlphaDropout(0.5)
        >>> drop(nr.numpy.zeros(4), key=nr.random.key(1), training=True).round(3)
        Array([ 0.779, -0.779,  0.779,  0.779], dtype=float32)
    """

    rate: float = static()
    broadcast_dims: tuple[int, ...] = static(default=())

    def __post_init__(self) -> None:
        _check_rate("AlphaDropout", self.rate)

    def __call__(self, x: Any, *, training: bool, key: Any = None) -> Array:
        """Drop.

        Args:
            x: any shape; integers become floats.
            training: whether anything is dropped.
            key: required in training, unless the rate is 0.

        Raises:
            TypeError: there is no key where one is required.
            ValueError: x lacks one of broadcast_dims.
        """
        (x,) = promote_inexact("AlphaDropout", x)
        if not _needs_key("AlphaDropout", self.rate, key, training):
            return x
        shape = _mask_shape("AlphaDropout", x, self.broadcast_dims)
        if self.rate == 1:
            return jnp.zeros_like(x)
        scale = 1 / math.sqrt((1 - self.rate) * (1 + self.rate * _SELU_FLOOR**2))
        shift = -scale * self.rate * _SELU_FLOOR
        kept = _kept(key, self.rate, shape)
        return jnp.where(kept, x * scale + shift, _SELU_FLOOR * scale + shift)


@module
class DropPath:
    """Sets whole examples to 0 with probability `rate`, and divides the others by 1 - rate.

    For the branch of a residual block, ``x + drop(branch(x), ...)``, it skips the block for some
    examples. Huang et al., "Deep networks with stochastic depth", 2016.

    Attributes:
        rate: the probability, in [0, 1].
        batch_dims: how many leading dimensions count examples: 0 for a single one, as under
            `nr.vmap`.

    Example:
        >>> import nr
        >>> drop = nr.nn.DropPath(0.5)
        >>> drop(nr.numpy.ones((4, 2)), key=nr.random.key(2), training=True)[:, 0]
        Array([0., 0., 2., 0.], dtype=float32)
    """

    rate: float = static()
    batch_dims: int = static(default=1)

    def __post_init__(self) -> None:
        _check_rate("DropPath", self.rate)

    def __call__(self, x: Any, *, training: bool, key: Any = None) -> Array:
        """Drop.

        Args:
            x: [*batch, ...]; integers become floats.
            training: whether anything is dropped.
            key: required in training, unless the rate is 0.

        Raises:
            TypeError: there is no key where one is required, or x has too few dimensions.
        """
        (x,) = promote_inexact("DropPath", x)
        if x.ndim < self.batch_dims:
            raise TypeError(
                f"DropPath: {self.batch_dims} dimensions of examples were required; got {x.aval} "
                'for "x". A single example has batch_dims=0.'
            )
        if not _needs_key("DropPath", self.rate, key, training):
            return x
        if self.rate == 1:
            return jnp.zeros_like(x)
        shape = (*x.shape[: self.batch_dims], *(1,) * (x.ndim - self.batch_dims))
        return _scaled(x, self.rate, _kept(key, self.rate, shape))


@module
class DropConnect:
    """A layer whose weights, instead of its inputs, are dropped in training.

    Wan et al., "Regularization of neural networks using DropConnect", 2013; the weights that stay
    are divided by 1 - rate.

    Attributes:
        layer: one with a field `weight`.
        rate: the probability, in [0, 1].

    Example:
        >>> import nr
        >>> layer = nr.nn.DropConnect(nr.nn.Linear.init(3, 2, key=nr.random.key(0)), 0.5)
        >>> layer(nr.numpy.ones(3), key=nr.random.key(1), training=True).shape
        (2,)
    """

    layer: Any
    rate: float = static()

    def __post_init__(self) -> None:
        _check_rate("DropConnect", self.rate)

    def __call__(self, x: Any, *, training: bool, key: Any = None) -> Any:
        """What the layer gives for x.

        Args:
            x: as for the layer.
            training: whether anything is dropped.
            key: required in training, unless the rate is 0.

        Raises:
            TypeError: there is no key where one is required.
        """
        if not _needs_key("DropConnect", self.rate, key, training):
            return self.layer(x)
        weight = Dropout(self.rate)(self.layer.weight, training=True, key=key)
        return self.layer.replace(weight=weight)(x)
