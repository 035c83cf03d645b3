"""Batch normalization, with its running statistics as fields that a call gives back renewed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.collectives import psum
from nr.lax.convert import convert_element_type
from nr.lax.rules import operand
from nr.lax.shape import stop_gradient
from nr.nn.module import buffer, module, static
from nr.nn.moments import affine, for_statistics, inverse_root, moments

__all__ = ["BatchNorm", "fold_batch_norm"]


@module
class BatchNorm:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` with a batch's mean and variance.

    These are taken over all axes but the last, so one class serves vectors, sequences and images.
    In training they are the batch's, and move the running statistics:
    ``running = (1 - momentum) * running + momentum * batch``, where the variance is the unbiased
    one. In inference the running statistics are used instead: one multiplication and one addition
    an element. All of it is computed in float32 at least. Ioffe and Szegedy, "Batch normalization",
    2015; names and momentum are PyTorch's.

    A call returns the layer besides the result, with new statistics: keep it. Statistics are not
    trained: no gradient goes into them, and `nr.tree.trainable` marks them.

    Attributes:
        weight, bias: [features], or None.
        running_mean, running_var: [features], of float32 at least; or None: then the batch's
            statistics are used in inference, too.
        num_features: the number of channels.
        eps: keeps the root from 0.
        momentum: the part of the batch in new running statistics.
        axis_name: of a `nr.vmap`, or several of them: statistics are those of all its lanes
            ("synchronized" batch normalization).

    Example:
        >>> import nr
        >>> norm = nr.nn.BatchNorm.init(2)
        >>> x = nr.numpy.array([[1.0, 20.0], [3.0, 40.0]])
        >>> y, norm = norm(x, training=True)
        >>> y.round(3)
        Array([[-1., -1.],
               [ 1.,  1.]], dtype=float32)
        >>> norm.running_mean, norm.running_var.round(3)
        (Array([0.2, 3. ], dtype=float32), Array([ 1.1, 20.9], dtype=float32))
        >>> y, norm = norm(x, training=False)
    """

    weight: Array | None
    bias: Array | None
    running_mean: Array | None = buffer()
    running_var: Array | None = buffer()
    num_features: int = static()
    eps: float = static(default=1e-5)
    momentum: float = static(default=0.1)
    axis_name: Hashable = static(default=None)

    @classmethod
    def init(
        cls,
        num_features: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        axis_name: Hashable = None,
        dtype: Any = None,
    ) -> BatchNorm:
        """Make a layer that, in inference, divides by ``sqrt(1 + eps)`` only.

        Args:
            num_features: the size of the last axis of inputs.
            eps: added to the variance.
            momentum: 0 keeps the running statistics, 1 replaces them by the batch's.
            affine: whether there are a weight and a bias.
            track_running_stats: whether there are running statistics.
            axis_name: over the lanes of which `nr.vmap` statistics are taken, besides.
            dtype: of the parameters, by default the default float.
        """
        weight = jnp.ones(num_features, dtype)
        wide = jnp.promote_types(weight.dtype, "float32")
        return cls(
            weight if affine else None,
            jnp.zeros(num_features, dtype) if affine else None,
            jnp.zeros(num_features, wide) if track_running_stats else None,
            jnp.ones(num_features, wide) if track_running_stats else None,
            num_features,
            eps,
            momentum,
            axis_name,
        )

    def __call__(self, x: Any, *, training: bool, mask: Any = None) -> tuple[Array, BatchNorm]:
        """Normalize.

        Args:
            x: [..., num_features].
            training: whether to use the batch's statistics, and to renew the running ones.
            mask: bool, broadcasts against x without its last axis: which positions count for the
                batch's statistics, for batches that are padded. The others are normalized as well.

        Returns:
            The result, in the common dtype of x and the parameters, and the layer with new
            statistics: itself if there are none.

        Raises:
            TypeError: x has another number of channels, or the mask is not of bools.
            ValueError: in training, there is one value a channel, or none.
        """
        x, dtype = for_statistics("BatchNorm", x, self.weight, self.bias)
        if x.ndim == 0 or x.shape[-1] != self.num_features:
            raise TypeError(
                f'BatchNorm: [..., {self.num_features}] was required; got {x.aval} for "x". '
                "Channels are the last axis."
            )
        mask = None if mask is None else _position_mask(x, mask)
        if not training and self.running_mean is not None and self.running_var is not None:
            mean, variance = stop_gradient((self.running_mean, self.running_var))
            scale, shift = _scale_and_shift(self, mean, variance)
            y = x * convert_element_type(scale, x.dtype) + convert_element_type(shift, x.dtype)
            return convert_element_type(y, dtype), self
        mean, variance, count = self._batch_statistics(x, mask)
        scale = inverse_root(variance, self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        bias = None if self.bias is None else convert_element_type(self.bias, x.dtype)
        y = convert_element_type(affine(x, mean, scale, bias), dtype)
        return y, self._renewed(mean, variance, count) if training else self

    def _batch_statistics(self, x: Array, mask: Array | None) -> tuple[Array, Array, Any]:
        """Mean and biased variance of each channel, [features], and how many values they are of.

        Raises:
            ValueError: they are of less than two.
        """
        axes = tuple(range(x.ndim - 1))
        lanes = 1 if self.axis_name is None else psum(1, self.axis_name)
        size = lanes
        for n in x.shape[:-1]:
            size *= n
        if size < 2:
            raise ValueError(
                f"BatchNorm: two values a channel were required for statistics; got {size} of "
                f'{x.aval} for "x". Use a larger batch, or training=False.'
            )
        # In the mean of one position, as lanes of a vmap may hold, there is no pass to spare.
        mean, variance = moments(x, axes, mask is None and bool(axes), mask)
        mean, variance = mean.reshape(-1), variance.reshape(-1)
        if mask is None:
            count: Any = size
            own = 1 / lanes
        else:
            counted = jnp.sum(jnp.broadcast_to(mask, (*x.shape[:-1], 1)), dtype=x.dtype)
            count = counted if self.axis_name is None else psum(counted, self.axis_name)
            own = counted / jnp.maximum(count, 1)
        if self.axis_name is not None:
            total = psum(mean * own, self.axis_name)
            spread = variance + jnp.square(mean - total)
            mean, variance = total, psum(spread * own, self.axis_name)
        return mean, variance, count

    def _renewed(self, mean: Array, variance: Array, count: Any) -> BatchNorm:
        """The layer with running statistics that have moved towards a batch's."""
        if self.running_mean is None or self.running_var is None:
            return self
        if isinstance(count, int):
            rate: Any = self.momentum
            unbiased = variance * (count / (count - 1))
        else:  # a batch of which nothing counts says nothing
            rate = jnp.where(count > 0, jnp.asarray(self.momentum, mean.dtype), 0)
            unbiased = variance * (count / jnp.maximum(count - 1, 1))
        return self.replace(  # type: ignore[attr-defined]
            running_mean=_moved(self.running_mean, mean, rate),
            running_var=_moved(self.running_var, unbiased, rate),
        )


def _position_mask(x: Array, mask: Any) -> Array:
    """A mask of positions as one of elements.

    Raises:
        TypeError: it is not of bools, or does not broadcast.
    """
    mask = operand("BatchNorm", mask)
    try:
        fits = jnp.broadcast_shapes(mask.shape, x.shape[:-1]) == x.shape[:-1]
    except ValueError:
        fits = False
    if mask.dtype != "bool" or not fits:
        raise TypeError(
            f"BatchNorm: bools that broadcast to {x.shape[:-1]} were required; got {mask.aval} for "
            '"mask". It has one element for each position, without the axis of channels.'
        )
    return mask[..., None]


def _moved(running: Array, batch: Array, rate: Any) -> Array:
    running, batch = stop_gradient((running, batch))
    new = running + (batch - running) * rate
    return convert_element_type(new, running.dtype)


def _scale_and_shift(norm: BatchNorm, mean: Array, variance: Array) -> tuple[Array, Array]:
    """What batch normalization multiplies by and adds in inference: [features] each."""
    scale = inverse_root(variance, norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def fold_batch_norm(layer: Any, norm: BatchNorm) -> Any:
    """A layer that does in inference what another does with a batch normalization after it.

    Args:
        layer: one with a weight of [..., out_features] and a bias of [out_features] or None, such
            as `Linear` or a convolution.
        norm: with running statistics.

    Returns:
        The layer with another weight and bias, of the dtype of its weight.

    Raises:
        ValueError: the normalization has no running statistics.

    Example:
        >>> import nr
        >>> layer = nr.nn.Linear.init(2, 3, key=nr.random.key(0), bias=False)
        >>> nr.nn.fold_batch_norm(layer, nr.nn.BatchNorm.init(3))
        Linear(weight=f32[2,3], bias=f32[3])
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(
            "fold_batch_norm: running statistics were required; got a BatchNorm without any. "
            "Make it with track_running_stats=True."
        )
    scale, shift = _scale_and_shift(norm, norm.running_mean, norm.running_var)
    if layer.bias is not None:
        shift = shift + layer.bias * scale
    dtype = layer.weight.dtype
    return layer.replace(
        weight=convert_element_type(layer.weight * scale, dtype),
        bias=convert_element_type(shift, dtype),
    )
