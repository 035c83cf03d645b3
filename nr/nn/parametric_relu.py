"""PReLU: a rectifier whose slope for negative inputs is trained."""

from __future__ import annotations

from typing import Any

from nr.core.array import Array
from nr.nn import initializers
from nr.nn.activations import prelu
from nr.nn.module import module

__all__ = ["PReLU"]


@module
class PReLU:
    """x where it is positive, else ``weight * x``.

    Attributes:
        weight: [channels], a slope for each channel, or [1]: one slope for all. Weight decay
            would pull it to that of `relu`.

    Source: He et al., "Delving Deep into Rectifiers", 2015.

    Example:
        >>> import nr
        >>> layer = nr.nn.PReLU.init(3)
        >>> layer
        PReLU(weight=f32[3])
        >>> layer(nr.numpy.array([-4.0, 0.0, 4.0]))
        Array([-1.,  0.,  4.], dtype=float32)
    """

    weight: Array

    @classmethod
    def init(cls, channels: int = 1, *, slope: float = 0.25, dtype: Any = None) -> PReLU:
        """Make a layer with equal slopes.

        Args:
            channels: the size of the last axis of inputs, or 1 for one slope.
            slope: the value of all slopes.
            dtype: of the weight, by default the default float.
        """
        return cls(initializers.constant(slope)(None, (channels,), dtype))

    def __call__(self, x: Any) -> Array:
        """The activation.

        Args:
            x: [..., channels]; any shape if there is one slope.

        Raises:
            TypeError: the last axis of x has another size.
        """
        return prelu(x, self.weight)
