"""Losses: of batches, with an explicit reduction."""

from __future__ import annotations

from typing import Any, Literal

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.lax.shape import stop_gradient
from nr.nn.functions import log_softmax
from nr.numpy.promotion import promote_inexact

__all__ = ["Reduction", "softmax_cross_entropy"]

Reduction = Literal["mean", "sum", "none"]


def _reduce(op: str, losses: Array, reduction: Reduction) -> Array:
    if reduction == "mean":
        return jnp.mean(losses)
    if reduction == "sum":
        return jnp.sum(losses)
    if reduction == "none":
        return losses
    raise ValueError(f'{op}: reduction must be "mean", "sum" or "none"; got {reduction!r}.')


def softmax_cross_entropy(
    logits: Any, labels: Any, *, axis: int = -1, reduction: Reduction = "mean"
) -> Array:
    """The cross entropy between labels and softmax(logits): -sum(labels * log_softmax(logits)).

    Args:
        logits: floating scores, one a class along the axis.
        labels: either integers, the true classes, with the shape of logits less the axis; or
            floating probabilities of the shape of logits.
        axis: the axis of classes.
        reduction: ``"mean"`` or ``"sum"`` over all examples, or ``"none"``: one loss an example.

    Raises:
        TypeError: labels are neither integers nor floating, or have another shape.
        ValueError: for an unknown reduction.

    Example:
        >>> import nr
        >>> logits = nr.numpy.array([[2.0, 0.0], [0.0, 1000.0]])
        >>> nr.nn.softmax_cross_entropy(logits, nr.numpy.array([0, 0]), reduction="none")
        Array([1.2692805e-01, 1.0000000e+03], dtype=float32)
    """
    op = "softmax_cross_entropy"
    logits = promote_inexact(op, logits)[0]
    labels = operand(op, labels)
    if not -logits.ndim <= axis < logits.ndim:
        raise ValueError(f"{op}: an axis of {logits.aval} was required; got axis {axis}.")
    if labels.dtype in dtypes.INTEGER:
        required = list(logits.shape)
        del required[axis]
        _check_shape(op, logits, labels, tuple(required))
        # Not through log_softmax: its other columns are not needed.
        shifted = logits - stop_gradient(jnp.max(logits, axis, keepdims=True))
        index = jnp.expand_dims(labels, axis)
        picked = jnp.squeeze(jnp.take_along_axis(shifted, index, axis), axis)
        return _reduce(op, jnp.log(jnp.sum(jnp.exp(shifted), axis)) - picked, reduction)
    if labels.dtype in dtypes.FLOATING:
        _check_shape(op, logits, labels, logits.shape)
        # A class of probability 0 adds nothing, also where its logit is -inf.
        log_probabilities = jnp.where(labels == 0, 0, log_softmax(logits, axis))
        return _reduce(op, -jnp.sum(labels * log_probabilities, axis), reduction)
    raise TypeError(
        f"{op}: integer classes or floating probabilities were required; "
        f'got {labels.aval} for "labels".'
    )


def _check_shape(op: str, logits: Array, labels: Array, required: tuple[int, ...]) -> None:
    if labels.shape != required:
        kind = dtypes.short_name(labels.dtype)
        raise TypeError(
            f"{op}: {kind}[{','.join(map(str, required))}] was required for logits "
            f'{logits.aval}; got {labels.aval} for "labels". Integer labels have the shape of '
            "logits without the axis of classes; probabilities have the whole shape."
        )
