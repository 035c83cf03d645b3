"""Layers whose weight is computed from other parameters: weight norm and spectral norm."""

from __future__ import annotations

from typing import Any

import nr.numpy as jnp
from nr import random
from nr.core.array import Array
from nr.lax.shape import stop_gradient
from nr.nn.module import buffer, module, static

__all__ = ["SpectralNorm", "WeightNorm"]


def _checked_weight(op: str, layer: Any, rank: int) -> Array:
    """The layer's weight.

    Raises:
        TypeError: it has none, or one of too few dimensions.
    """
    weight = getattr(layer, "weight", None)
    if weight is None or weight.ndim < rank:
        got = "a layer without one" if weight is None else str(weight.aval)
        raise TypeError(
            f"{op}: a layer with a weight of {rank} or more dimensions was required; "
            f"got {got}: {type(layer).__name__}."
        )
    return weight


@module
class WeightNorm:
    """A layer whose weight is ``g * v / |v|``: a direction and a length for each output.

    The norm is taken over all axes of v but the one of outputs. Salimans and Kingma, "Weight
    normalization", 2016.

    Attributes:
        layer: the layer, with None for its weight.
        g: [out_features], the norms.
        v: of the weight's shape.
        axis: the weight's axis of outputs.

    Example:
        >>> import nr
        >>> linear = nr.nn.Linear.init(3, 2, key=nr.random.key(0))
        >>> layer = nr.nn.WeightNorm.init(linear)
        >>> layer
        WeightNorm(layer=Linear(weight=None, bias=f32[2]), g=f32[2], v=f32[3,2])
        >>> x = nr.numpy.ones(3)
        >>> nr.numpy.allclose(layer(x), linear(x)).item()
        True
    """

    layer: Any
    g: Array
    v: Array
    axis: int = static(default=-1)

    @classmethod
    def init(cls, layer: Any, *, axis: int = -1) -> WeightNorm:
        """Make a layer that computes the same as another, so far.

        Args:
            layer: one with a field `weight`, which holds no buffers.
            axis: the weight's axis of outputs: the last for all layers of nr.nn.

        Raises:
            TypeError: the layer has no weight.
        """
        v = _checked_weight("WeightNorm", layer, 1)
        return cls(layer.replace(weight=None), _norms(v, axis).reshape(-1), v, axis)

    @property
    def weight(self) -> Array:
        """``g * v / |v|``."""
        shape = [1] * self.v.ndim
        shape[self.axis] = self.v.shape[self.axis]
        return self.v * (self.g.reshape(shape) / _norms(self.v, self.axis))

    def __call__(self, x: Any) -> Any:
        """What the layer gives for x with the weight."""
        return self.layer.replace(weight=self.weight)(x)


def _norms(v: Array, axis: int) -> Array:
    others = tuple([d for d in range(v.ndim) if d != axis % v.ndim])
    return jnp.sqrt(jnp.sum(jnp.square(v), others, keepdims=True))


# ---------------------------------------------------------------- spectral norm
@module
class SpectralNorm:
    """A layer whose weight is divided by its largest singular value.

    The weight is taken as a matrix [everything else, out_features]. Its singular vectors are
    estimated by power iteration, some steps a call in training, and are no parameters: a call
    returns the layer besides the result, with new vectors. Miyato et al., "Spectral normalization
    for generative adversarial networks", 2018.

    Attributes:
        layer: the layer.
        u: [out_features], v: [everything else]: the singular vectors.
        n_power_iterations: how many steps a call in training makes.
        eps: the least norm that vectors are divided by.
        axis: the weight's axis of outputs.

    Example:
        >>> import nr
        >>> linear = nr.nn.Linear.init(3, 2, key=nr.random.key(0))
        >>> layer = nr.nn.SpectralNorm.init(linear, key=nr.random.key(1))
        >>> y, layer = layer(nr.numpy.ones(3), training=True)
        >>> nr.numpy.linalg.norm(layer.weight, 2).round(3)
        Array(1., dtype=float32)
    """

    layer: Any
    u: Array = buffer()
    v: Array = buffer()
    n_power_iterations: int = static(default=1)
    eps: float = static(default=1e-12)
    axis: int = static(default=-1)

    @classmethod
    def init(
        cls,
        layer: Any,
        *,
        key: Any,
        n_power_iterations: int = 1,
        eps: float = 1e-12,
        axis: int = -1,
    ) -> SpectralNorm:
        """Make a layer, with singular vectors after 15 steps from random ones.

        Args:
            layer: one with a field `weight` of two or more dimensions, which holds no buffers.
            key: for the vectors.
            n_power_iterations: how many steps a call in training makes.
            eps: the least norm that vectors are divided by.
            axis: the weight's axis of outputs: the last for all layers of nr.nn.

        Raises:
            TypeError: the layer has no such weight.
            ValueError: n_power_iterations is not positive.
        """
        if n_power_iterations < 1:
            raise ValueError(
                "SpectralNorm: one step a call or more was required; "
                f"got n_power_iterations={n_power_iterations}."
            )
        matrix = _matrix(_checked_weight("SpectralNorm", layer, 2), axis)
        keys = random.split(key)
        u = _unit(random.normal(keys[0], matrix.shape[1:], matrix.dtype), eps)
        v = _unit(random.normal(keys[1], matrix.shape[:1], matrix.dtype), eps)
        u, v = _iterated(matrix, u, v, 15, eps)
        return cls(layer, u, v, n_power_iterations, eps, axis)

    @property
    def weight(self) -> Array:
        """The weight over its largest singular value, by the vectors as they are."""
        u, v = stop_gradient((self.u, self.v))
        weight = self.layer.weight
        return weight / (v @ (_matrix(weight, self.axis) @ u))

    def __call__(self, x: Any, *, training: bool) -> tuple[Any, SpectralNorm]:
        """What the layer gives for x with the weight.

        Args:
            x: as for the layer.
            training: whether the vectors are iterated before.

        Returns:
            The layer's result, and this layer with new vectors: itself in inference.
        """
        new = self
        if training:
            matrix = stop_gradient(_matrix(self.layer.weight, self.axis))
            u, v = stop_gradient((self.u, self.v))
            u, v = _iterated(matrix, u, v, self.n_power_iterations, self.eps)
            new = self.replace(u=u, v=v)  # type: ignore[attr-defined]
        return self.layer.replace(weight=new.weight)(x), new


def _matrix(weight: Array, axis: int) -> Array:
    """The weight as [everything else, out_features]."""
    last = jnp.moveaxis(weight, axis, -1)
    return last.reshape(-1, last.shape[-1])


def _unit(x: Array, eps: float) -> Array:
    return x / jnp.maximum(jnp.sqrt(jnp.sum(jnp.square(x))), eps)


def _iterated(matrix: Array, u: Array, v: Array, steps: int, eps: float) -> tuple[Array, Array]:
    for _ in range(steps):
        u = _unit(v @ matrix, eps)
        v = _unit(matrix @ u, eps)
    return u, v
