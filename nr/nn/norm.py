"""Layers that normalize each example by its own statistics: layer, group, instance and RMS norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import add
from nr.lax.window import reduce_window
from nr.nn.module import module, static
from nr.nn.moments import affine, for_statistics, inverse_root, moments

__all__ = ["GroupNorm", "InstanceNorm", "LayerNorm", "RMSNorm", "local_response_norm"]


def _shape(op: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    """The last dimensions of inputs, as a tuple.

    Raises:
        ValueError: there is none, or a negative one.
    """
    sizes = (shape,) if isinstance(shape, int) else tuple([int(n) for n in shape])
    if not sizes or min(sizes) < 0:
        raise ValueError(
            f"{op}: the last dimensions of inputs were required; got {shape!r} for "
            f'"shape". Write {op}.init(features), or {op}.init((height, width, features)).'
        )
    return sizes


def _check_last(op: str, x: Array, shape: tuple[int, ...]) -> None:
    if x.shape[max(0, x.ndim - len(shape)) :] != shape:
        raise TypeError(
            f"{op}: [..., {', '.join(map(str, shape))}] was required; "
            f'got {x.aval} for "x". Features are the last dimensions.'
        )


@module
class LayerNorm:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, over the last axis or axes.

    Mean and (biased) variance are each example's own; they are computed in float32 at least. Ba,
    Kiros and Hinton, "Layer normalization", 2016.

    Attributes:
        weight, bias: of the normalized shape, or None.
        shape: the normalized dimensions, the last of x.
        eps: keeps the root from 0.

    Example:
        >>> import nr
        >>> norm = nr.nn.LayerNorm.init(3)
        >>> norm
        LayerNorm(weight=f32[3], bias=f32[3], shape=(3,))
        >>> norm(nr.numpy.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])).round(3)
        Array([[-1.225,  0.   ,  1.225],
               [-1.225,  0.   ,  1.225]], dtype=float32)
    """

    weight: Array | None
    bias: Array | None
    shape: tuple[int, ...] = static()
    eps: float = static(default=1e-5)

    @classmethod
    def init(
        cls,
        shape: int | Sequence[int],
        *,
        eps: float = 1e-5,
        affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> LayerNorm:
        """Make a layer with weights of ones and a bias of zeros.

        Args:
            shape: the size of the last axis of inputs, or of several.
            eps: added to the variance.
            affine: whether there are a weight and a bias.
            bias: whether there is a bias, if there is a weight.
            dtype: of the parameters, by default the default float.

        Raises:
            ValueError: the shape is empty.
        """
        sizes = _shape("LayerNorm", shape)
        return cls(
            jnp.ones(sizes, dtype) if affine else None,
            jnp.zeros(sizes, dtype) if affine and bias else None,
            sizes,
            eps,
        )

    def __call__(self, x: Any) -> Array:
        """Normalize.

        Args:
            x: [..., *shape].

        Returns:
            [..., *shape], in the common dtype of x and the parameters.

        Raises:
            TypeError: the last dimensions of x are others.
        """
        x, dtype = for_statistics("LayerNorm", x, self.weight, self.bias)
        _check_last("LayerNorm", x, self.shape)
        mean, variance = moments(x, tuple(range(x.ndim - len(self.shape), x.ndim)))
        y = affine(x, mean, inverse_root(variance, self.eps), None)
        if self.weight is not None:
            y = y * self.weight
        if self.bias is not None:
            y = y + self.bias
        return convert_element_type(y, dtype)


@module
class RMSNorm:
    """``x / sqrt(mean(x^2) + eps) * weight``, over the last axis or axes.

    The mean is computed in float32 at least. Zhang and Sennrich, "Root mean square layer
    normalization", 2019.

    Attributes:
        weight: of the normalized shape, or None.
        shape: the normalized dimensions, the last of x.
        eps: keeps the root from 0.

    Example:
        >>> import nr
        >>> norm = nr.nn.RMSNorm.init(2)
        >>> norm(nr.numpy.array([3.0, 4.0])).round(3)
        Array([0.849, 1.131], dtype=float32)
    """

    weight: Array | None
    shape: tuple[int, ...] = static()
    eps: float = static(default=1e-6)

    @classmethod
    def init(
        cls,
        shape: int | Sequence[int],
        *,
        eps: float = 1e-6,
        affine: bool = True,
        dtype: Any = None,
    ) -> RMSNorm:
        """Make a layer with weights of ones.

        Args:
            shape: the size of the last axis of inputs, or of several.
            eps: added to the mean of squares.
            affine: whether there is a weight.
            dtype: of the weight, by default the default float.

        Raises:
            ValueError: the shape is empty.
        """
        sizes = _shape("RMSNorm", shape)
        return cls(jnp.ones(sizes, dtype) if affine else None, sizes, eps)

    def __call__(self, x: Any) -> Array:
        """Normalize.

        Args:
            x: [..., *shape].

        Returns:
            [..., *shape], in the common dtype of x and the weight.

        Raises:
            TypeError: the last dimensions of x are others.
        """
        x, dtype = for_statistics("RMSNorm", x, self.weight)
        _check_last("RMSNorm", x, self.shape)
        axes = tuple(range(x.ndim - len(self.shape), x.ndim))
        y = x * inverse_root(jnp.mean(jnp.square(x), axes, keepdims=True), self.eps)
        return convert_element_type(y if self.weight is None else y * self.weight, dtype)


# ---------------------------------------------------------------- groups of channels
@module
class GroupNorm:
    """Layer norm over the positions and each group of neighbouring channels of an example.

    Wu and He, "Group normalization", 2018. One group normalizes a whole example; as many as there
    are channels is `InstanceNorm`.

    Attributes:
        weight, bias: [features], or None.
        num_groups: the number of groups.
        num_features: the number of channels.
        spatial_dims: how many axes before the last belong to one example: 2 for images, 1 for
            sequences, 0 for vectors.
        eps: keeps the root from 0.

    Example:
        >>> import nr
        >>> norm = nr.nn.GroupNorm.init(2, 8, spatial_dims=2)
        >>> y = norm(nr.random.normal(nr.random.key(0), (5, 16, 16, 8)))
        >>> abs(y[0, :, :, :4].mean()).item() < 1e-6, y[0, :, :, :4].std().round(3).item()
        (True, 1.0)
    """

    weight: Array | None
    bias: Array | None
    num_groups: int = static()
    num_features: int = static()
    spatial_dims: int = static()
    eps: float = static(default=1e-5)

    @classmethod
    def init(
        cls,
        num_groups: int,
        num_features: int,
        *,
        spatial_dims: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: Any = None,
    ) -> GroupNorm:
        """Make a layer with weights of ones and a bias of zeros.

        Args:
            num_groups: divides num_features.
            num_features: the size of the last axis of inputs.
            spatial_dims: the number of axes of positions.
            eps: added to the variance.
            affine: whether there are a weight and a bias.
            dtype: of the parameters, by default the default float.

        Raises:
            ValueError: groups do not divide the channels, or spatial_dims is negative.
        """
        if num_groups < 1 or num_features % num_groups:
            raise ValueError(
                f"GroupNorm: groups of one size were required; got {num_groups} groups of "
                f"{num_features} channels. num_groups must divide num_features."
            )
        _check_spatial_dims("GroupNorm", spatial_dims)
        weight = jnp.ones(num_features, dtype) if affine else None
        bias = jnp.zeros(num_features, dtype) if affine else None
        return cls(weight, bias, num_groups, num_features, spatial_dims, eps)

    def __call__(self, x: Any) -> Array:
        """Normalize.

        Args:
            x: [..., *positions, num_features].

        Returns:
            The same shape, in the common dtype of x and the parameters.

        Raises:
            TypeError: x has another number of channels, or too few dimensions.
        """
        x, dtype = for_statistics("GroupNorm", x, self.weight, self.bias)
        mean, variance = _channel_moments("GroupNorm", x, self.num_features, self.spatial_dims)
        # Channels are combined after the sums over positions, which so run along memory.
        grouped = (*mean.shape[:-1], self.num_groups, self.num_features // self.num_groups)
        mean, variance = mean.reshape(grouped), variance.reshape(grouped)
        total, between = moments(mean, (mean.ndim - 1,))
        scale = inverse_root(jnp.mean(variance, -1, keepdims=True) + between, self.eps)
        total, scale = jnp.broadcast_to(total, grouped), jnp.broadcast_to(scale, grouped)
        channels = (*grouped[:-2], self.num_features)
        return _scaled(x, total.reshape(channels), scale.reshape(channels), self, dtype)


@module
class InstanceNorm:
    """Each channel of each example, normalized over its positions.

    Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016. It has no running statistics:
    it is the same in training and inference.

    Attributes:
        weight, bias: [features], or None, as by default.
        num_features: the number of channels.
        spatial_dims: how many axes before the last are positions: 2 for images, 1 for sequences.
        eps: keeps the root from 0.

    Example:
        >>> import nr
        >>> norm = nr.nn.InstanceNorm.init(1, spatial_dims=1)
        >>> norm(nr.numpy.array([[1.0], [3.0], [5.0]])).round(3).ravel()
        Array([-1.225,  0.   ,  1.225], dtype=float32)
    """

    weight: Array | None
    bias: Array | None
    num_features: int = static()
    spatial_dims: int = static()
    eps: float = static(default=1e-5)

    @classmethod
    def init(
        cls,
        num_features: int,
        *,
        spatial_dims: int,
        eps: float = 1e-5,
        affine: bool = False,
        dtype: Any = None,
    ) -> InstanceNorm:
        """Make a layer; with `affine`, one with weights of ones and a bias of zeros.

        Args:
            num_features: the size of the last axis of inputs.
            spatial_dims: the number of axes of positions.
            eps: added to the variance.
            affine: whether there are a weight and a bias.
            dtype: of the parameters, by default the default float.

        Raises:
            ValueError: spatial_dims is negative.
        """
        _check_spatial_dims("InstanceNorm", spatial_dims)
        weight = jnp.ones(num_features, dtype) if affine else None
        bias = jnp.zeros(num_features, dtype) if affine else None
        return cls(weight, bias, num_features, spatial_dims, eps)

    def __call__(self, x: Any) -> Array:
        """Normalize.

        Args:
            x: [..., *positions, num_features].

        Returns:
            The same shape, in the common dtype of x and the parameters.

        Raises:
            TypeError: x has another number of channels, or too few dimensions.
        """
        x, dtype = for_statistics("InstanceNorm", x, self.weight, self.bias)
        mean, variance = _channel_moments("InstanceNorm", x, self.num_features, self.spatial_dims)
        return _scaled(x, mean, inverse_root(variance, self.eps), self, dtype)


def _check_spatial_dims(op: str, spatial_dims: int) -> None:
    if spatial_dims < 0:
        raise ValueError(
            f"{op}: a number of axes was required; got spatial_dims={spatial_dims}. "
            "Images have 2, sequences 1, vectors 0."
        )


def _channel_moments(op: str, x: Array, features: int, spatial_dims: int) -> Any:
    """Mean and variance of each channel of each example: [..., 1, ..., 1, features].

    Raises:
        TypeError: x has another number of channels, or too few dimensions.
    """
    if x.ndim <= spatial_dims or x.shape[-1] != features:
        dims = "".join([f"d{i + 1}, " for i in range(spatial_dims)])
        raise TypeError(
            f'{op}: [..., {dims}{features}] was required; got {x.aval} for "x". '
            f"Channels are the last axis, after the {spatial_dims} of spatial_dims."
        )
    axes = tuple(range(x.ndim - 1 - spatial_dims, x.ndim - 1))
    return moments(x, axes, bool(axes))


def _scaled(x: Array, mean: Array, scale: Array, layer: Any, dtype: Any) -> Array:
    """``(x - mean) * scale``, with the layer's weight and bias of channels, in a dtype."""
    if layer.weight is not None:
        scale = scale * layer.weight
    bias = None if layer.bias is None else convert_element_type(layer.bias, x.dtype)
    return convert_element_type(affine(x, mean, scale, bias), dtype)


# ---------------------------------------------------------------- across channels
def local_response_norm(
    x: Any, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """``x / (k + alpha * m)^beta``, with m the mean of squares over neighbouring channels.

    Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
    networks", 2012, with alpha divided by the size, as PyTorch has it.

    Args:
        x: [..., features].
        size: the number of channels in a window, ``size // 2`` of them before the channel itself.
            Channels beyond the ends count as 0.
        alpha, beta, k: as above.

    Raises:
        ValueError: the size is not positive.

    Example:
        >>> import nr
        >>> nr.nn.local_response_norm(nr.numpy.ones(3), 3, alpha=3.0).round(3)
        Array([0.439, 0.354, 0.439], dtype=float32)
    """
    if size < 1:
        raise ValueError(
            f"local_response_norm: a positive number of channels was required; got size={size}."
        )
    x, dtype = for_statistics("local_response_norm", x)
    window = (*(1,) * (x.ndim - 1), size)
    padding = [(0, 0)] * (x.ndim - 1) + [(size // 2, (size - 1) // 2)]
    total = reduce_window(jnp.square(x), 0, add, window, padding=padding)
    base = total * (alpha / size) + k
    return convert_element_type(x * base ** (-beta), dtype)
