"""Losses of overlap: of what a segmentation marks and what it should."""

from __future__ import annotations

from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.rules import operand
from nr.nn.losses.reduction import Reduction, floats, reduce

__all__ = ["dice_loss"]


def dice_loss(
    probabilities: Any,
    targets: Any,
    *,
    axes: int | tuple[int, ...],
    smooth: float = 1.0,
    alpha: float = 0.5,
    beta: float = 0.5,
    reduction: Reduction = "mean",
) -> Array:
    """1 - both / (both + alpha * only_predicted + beta * only_true), of sums over space.

    With p the probabilities and t the targets, both is ``sum(p * t)``, only_predicted
    ``sum(p * (1 - t))`` and only_true ``sum((1 - p) * t)``. With alpha = beta = 0.5 it is 1 minus
    the Dice coefficient, with 1 and 1 it is 1 minus the intersection over the union; others are
    Tversky's index.

    Args:
        probabilities: in [0, 1], such as results of `softmax` or `sigmoid`.
        targets: 0 or 1, or probabilities, of that shape; of classes: `one_hot`.
        axes: those of space, over which is summed: ``(-3, -2)`` for images [..., H, W, classes].
        smooth: added above and below the line; it keeps the divisor from 0 where there is nothing.
        alpha, beta: the weights of what is only predicted and of what is missed.
        reduction: ``"mean"`` or ``"sum"`` over all other axes, or ``"none"``.

    Raises:
        TypeError: the shapes differ, or there are no such axes.

    Source: Milletari, Navab, Ahmadi, "V-Net", 2016, section 3, with sums in place of squares;
    Salehi, Erdogmus, Gholipour, "Tversky Loss Function for Image Segmentation", 2017, for alpha
    and beta.

    Example:
        >>> import nr
        >>> marked = nr.numpy.array([1.0, 1.0, 0.0, 0.0])
        >>> true = nr.numpy.array([1.0, 0.0, 1.0, 0.0])
        >>> nr.nn.dice_loss(marked, true, axes=-1, smooth=0.0)
        Array(0.5, dtype=float32)
    """
    op = "dice_loss"
    x = operand(op, probabilities)
    wanted = (axes,) if isinstance(axes, int) else tuple(axes)
    if not wanted or not all([-x.ndim <= axis < x.ndim for axis in wanted]):
        raise TypeError(
            f'{op}: axes of space, of "probabilities", were required; got {axes!r} for "axes" and '
            f"{x.aval}. Write (-3, -2) for images [..., H, W, classes]."
        )
    dtype, (p, t) = floats(op, probabilities=x, targets=targets)
    both = jnp.sum(p * t, wanted)
    predicted, true = jnp.sum(p, wanted) - both, jnp.sum(t, wanted) - both
    losses = 1 - (both + smooth) / (both + alpha * predicted + beta * true + smooth)
    return reduce(op, losses, reduction, dtype)
