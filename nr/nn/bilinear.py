"""Bilinear: the layer that is affine in each of two inputs."""

from __future__ import annotations

from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.rules import operand
from nr.nn import initializers
from nr.nn.module import module

__all__ = ["Bilinear"]


@module
class Bilinear:
    """``y[k] = sum over i and j of x1[i] * weight[i, j, k] * x2[j]``, plus a bias.

    Attributes:
        weight: [in1_features, in2_features, out_features].
        bias: [out_features], or None.

    Example:
        >>> import nr
        >>> layer = nr.nn.Bilinear.init(3, 4, 5, key=nr.random.key(0))
        >>> layer(nr.numpy.ones((32, 3)), nr.numpy.ones((32, 4))).shape
        (32, 5)
    """

    weight: Array
    bias: Array | None = None

    @classmethod
    def init(
        cls,
        in1_features: int,
        in2_features: int,
        out_features: int,
        *,
        key: Any,
        bias: bool = True,
        weight_init: initializers.Initializer | None = None,
        dtype: Any = None,
    ) -> Bilinear:
        """Make a layer with random weights and a bias of zeros.

        Args:
            in1_features, in2_features: the sizes of the last axes of the inputs.
            out_features: the size of the last axis of outputs.
            key: for the weights.
            bias: whether there is one.
            weight_init: by default `initializers.lecun_normal` over both inputs, which keeps the
                variance.
            dtype: of the parameters, by default the default float.
        """
        if weight_init is None:
            weight_init = initializers.lecun_normal(in_axis=(-3, -2))
        weight = weight_init(key, (in1_features, in2_features, out_features), dtype)
        return cls(weight, jnp.zeros(out_features, weight.dtype) if bias else None)

    def __call__(self, x1: Any, x2: Any) -> Array:
        """The bilinear function of the last axes.

        Args:
            x1: [..., in1_features].
            x2: [..., in2_features]; leading dimensions broadcast.

        Returns:
            [..., out_features].

        Raises:
            TypeError: a last axis has another size.
        """
        x1, x2 = operand("Bilinear", x1), operand("Bilinear", x2)
        first, second, out = self.weight.shape
        for name, x, size in (("x1", x1, first), ("x2", x2, second)):
            if x.ndim == 0 or x.shape[-1] != size:
                raise TypeError(
                    f'Bilinear: [..., {size}] was required; got {x.aval} for "{name}". '
                    f"Features are the last axis; the layer's weight is {self.weight.aval}."
                )
        # One matrix product: over all pairs of features.
        pairs = x1[..., :, None] * x2[..., None, :]
        pairs = pairs.reshape(*pairs.shape[:-2], first * second)
        y = pairs @ self.weight.reshape(first * second, out)
        return y if self.bias is None else y + self.bias
