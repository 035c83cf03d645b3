"""What all losses share: their operands, and how they reduce a batch to a number."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.numpy.promotion import promote_inexact

__all__ = ["Reduction", "reduce"]

Reduction = Literal["mean", "sum", "none"]


def reduce(
    op: str, losses: Array, reduction: Reduction, dtype: np.dtype, divisor: Any = None
) -> Array:
    """The mean or the sum of losses, or the losses themselves, in a dtype.

    Args:
        op: the loss's name, for errors.
        losses: any shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        dtype: of the result.
        divisor: of the mean, a scalar; by default the number of losses. Where it is 0, as no
            example counts, the mean is 0.

    Raises:
        ValueError: for an unknown reduction.
    """
    if reduction == "mean":
        if divisor is None:
            losses = jnp.mean(losses)
        else:
            losses = jnp.sum(losses) / jnp.where(divisor == 0, 1, divisor)
    elif reduction == "sum":
        losses = jnp.sum(losses)
    elif reduction != "none":
        raise ValueError(f'{op}: reduction must be "mean", "sum" or "none"; got {reduction!r}.')
    return losses.astype(dtype)


def floats(op: str, **arrays: Any) -> tuple[np.dtype, list[Array]]:
    """The dtype of a loss's result, and its operands: all of one shape, ready to compute with.

    The dtype is the common one of the operands. Half floats become float32: losses are
    differences and sums, which keep few of their digits, and float16 ends at 65504.

    Raises:
        TypeError: the operands differ in shape, or are complex.
    """
    values = [operand(op, x) for x in arrays.values()]
    (first, *_), model = arrays, values[0]
    for name, x in zip(arrays, values):
        if x.dtype in dtypes.COMPLEX:
            raise TypeError(
                f'{op}: real numbers were required; got {x.aval} for "{name}". '
                "Take the losses of the real and the imaginary part."
            )
        if x.shape != model.shape:
            raise TypeError(
                f'{op}: the shape of "{first}", {model.aval}, was required; got {x.aval} for '
                f'"{name}". Losses do not broadcast: reshape one of the two.'
            )
    values = promote_inexact(op, *values)
    dtype = values[0].dtype
    return dtype, [x.astype(np.float32) for x in values] if dtype.itemsize == 2 else values


def factors(op: str, name: str, x: Any, losses: Array) -> Array:
    """Weights of elements, in the dtype and the shape of their losses.

    Raises:
        TypeError: the weights do not broadcast to the losses.
    """
    x = operand(op, x)
    if x.ndim > losses.ndim or any(
        m not in (1, n) for m, n in zip(x.shape[::-1], losses.shape[::-1])
    ):
        raise TypeError(
            f"{op}: a shape that broadcasts to {losses.aval} was required; "
            f'got {x.aval} for "{name}".'
        )
    return jnp.broadcast_to(x.astype(losses.dtype), losses.shape)


def class_weights(op: str, weight: Any, classes: int, dtype: np.dtype) -> Array:
    """Weights of classes in a dtype.

    Raises:
        TypeError: there is not one for each class.
    """
    weight = operand(op, weight)
    if weight.shape != (classes,):
        raise TypeError(
            f'{op}: one number a class, [{classes}], was required; got {weight.aval} for "weight".'
        )
    return weight.astype(dtype)


def class_index(labels: Array, classes: int) -> Array:
    """Integer labels as indices; negative ones are out of bounds and not counted from the end."""
    if labels.dtype.kind == "u":
        return labels
    if labels.dtype.itemsize < 4:  # which might not hold the number of classes
        labels = labels.astype(np.int32)
    return jnp.where(labels < 0, labels - classes, labels)


def signs(op: str, name: str, x: Any, losses: Array) -> Array:
    """Targets of which 1 means yes and all others mean no, as bool.

    Raises:
        TypeError: the targets have not the shape of the losses.
    """
    x = operand(op, x)
    if x.shape != losses.shape:
        raise TypeError(
            f"{op}: one target an example, of the shape of {losses.aval}, was required; "
            f'got {x.aval} for "{name}".'
        )
    return x == 1
