"""Linear: the affine layer."""

from __future__ import annotations

from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.rules import operand
from nr.nn import initializers
from nr.nn.module import module

__all__ = ["Linear"]


@module
class Linear:
    """``x @ weight + bias``, over the last axis of x.

    Attributes:
        weight: [in_features, out_features].
        bias: [out_features], or None.

    Example:
        >>> import nr
        >>> layer = nr.nn.Linear.init(784, 10, key=nr.random.key(0))
        >>> layer
        Linear(weight=f32[784,10], bias=f32[10])
        >>> layer(nr.numpy.ones((32, 784))).shape
        (32, 10)
    """

    weight: Array
    bias: Array | None = None

    @classmethod
    def init(
        cls,
        in_features: int,
        out_features: int,
        *,
        key: Any,
        bias: bool = True,
        weight_init: initializers.Initializer | None = None,
        dtype: Any = None,
    ) -> Linear:
        """Make a layer with random weights and a bias of zeros.

        Args:
            in_features: the size of the last axis of inputs.
            out_features: the size of the last axis of outputs.
            key: for the weights.
            bias: whether there is one.
            weight_init: by default `initializers.lecun_normal()`, which keeps the variance.
            dtype: of the parameters, by default the default float.
        """
        if weight_init is None:
            weight_init = initializers.lecun_normal()
        weight = weight_init(key, (in_features, out_features), dtype)
        return cls(weight, jnp.zeros(out_features, weight.dtype) if bias else None)

    def __call__(self, x: Any) -> Array:
        """The affine function of the last axis.

        Args:
            x: [..., in_features].

        Returns:
            [..., out_features].

        Raises:
            TypeError: the last axis of x has another size.
        """
        x = operand("Linear", x)
        if x.ndim == 0 or x.shape[-1] != self.weight.shape[-2]:
            raise TypeError(
                f'Linear: [..., {self.weight.shape[-2]}] was required; got {x.aval} for "x". '
                f"Features are the last axis; the layer's weight is {self.weight.aval}."
            )
        y = x @ self.weight
        return y if self.bias is None else y + self.bias
