"""Losses of probabilities: of one class out of several, of yes or no, of distributions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.lax.shape import stop_gradient
from nr.nn.activations import sigmoid, softplus
from nr.nn.functions import log_softmax
from nr.nn.losses.reduction import (
    Reduction,
    class_index,
    class_weights,
    factors,
    floats,
    reduce,
)
from nr.transforms.custom_derivatives import custom_jvp

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "nll_loss",
    "sigmoid_focal_loss",
    "softmax_cross_entropy",
    "softmax_focal_loss",
]


# ---------------------------------------------------------------- one class out of several
def softmax_cross_entropy(
    logits: Any,
    labels: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """The cross entropy between labels and softmax(logits): -sum(labels * log_softmax(logits)).

    Args:
        logits: floating scores, one a class along the axis.
        labels: either integers, the true classes, with the shape of logits less the axis; or
            floating probabilities of the shape of logits.
        axis: the axis of classes.
        weight: [classes], factors of the terms of the sum.
        label_smoothing: the fraction of each label's probability that goes to all classes alike.
        ignore_index: examples with this integer label do not count; it need not be a class.
        reduction: ``"mean"`` or ``"sum"`` over all examples, or ``"none"``: one loss an example.
            With integer labels, the mean's divisor is the sum of the weights of the labels that
            count; if that is 0, so is the mean.

    Raises:
        TypeError: labels are neither integers nor floating, or have another shape, or there is an
            ignore_index for probabilities.
        ValueError: for an unknown reduction, or a label_smoothing outside [0, 1].
        IndexError: an integer label is no class.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015,
    section 7, for label smoothing.

    Example:
        >>> import nr
        >>> logits = nr.numpy.array([[2.0, 0.0], [0.0, 1000.0]])
        >>> nr.nn.softmax_cross_entropy(logits, nr.numpy.array([0, 0]), reduction="none")
        Array([1.2692805e-01, 1.0000000e+03], dtype=float32)
    """
    op = "softmax_cross_entropy"
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be in [0, 1]; got {label_smoothing}.")
    labels = operand(op, labels)
    if labels.dtype in dtypes.INTEGER:
        dtype, (logits,) = floats(op, logits=logits)
        axis = _class_axis(op, "logits", logits, axis)
        index, counts = _classes(op, "logits", logits, labels, axis, ignore_index)
        weights = _weights(op, weight, logits, axis)
        # Not through log_softmax: its other columns are not needed.
        shifted, total = _log_total(logits, axis)
        losses = total - _pick(shifted, index, axis)
        weight_of = None if weights is None else weights[index]
        if weight_of is not None:
            losses = losses * weight_of
        if label_smoothing:
            n = logits.shape[axis]
            if weights is None:
                others = n * total - jnp.sum(shifted, axis)
            else:
                w = _along(weights, logits.ndim, axis)
                terms = w * jnp.where((w == 0) & jnp.isneginf(shifted), 0, shifted)
                others = jnp.sum(weights) * total - jnp.sum(terms, axis)
            losses = (1 - label_smoothing) * losses + (label_smoothing / n) * others
        return _reduce_classes(op, losses, counts, weight_of, reduction, dtype)
    if labels.dtype not in dtypes.FLOATING:
        raise TypeError(
            f"{op}: integer classes or floating probabilities were required; "
            f'got {labels.aval} for "labels".'
        )
    if ignore_index is not None:
        raise TypeError(
            f'{op}: integers were required with ignore_index; got {labels.aval} for "labels". '
            "An example of which all probabilities are 0 adds nothing to the sum."
        )
    logits = operand(op, logits)
    axis = _class_axis(op, "logits", logits, axis)
    _check_labels(op, "logits", logits, labels, logits.shape)
    dtype, (logits, labels) = floats(op, logits=logits, labels=labels)
    weights = _weights(op, weight, logits, axis)
    if label_smoothing:
        labels = (1 - label_smoothing) * labels + label_smoothing / logits.shape[axis]
    if weights is not None:
        labels = labels * _along(weights, logits.ndim, axis)
    # A class of probability 0 adds nothing, also where its logit is -inf.
    log_probabilities = log_softmax(logits, axis)
    never = (labels == 0) & jnp.isneginf(log_probabilities)
    log_probabilities = jnp.where(never, 0, log_probabilities)
    return reduce(op, -jnp.sum(labels * log_probabilities, axis), reduction, dtype)


def nll_loss(
    log_probabilities: Any,
    labels: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """The negative log-likelihood of classes: -log_probabilities[label].

    Of logits, `softmax_cross_entropy` takes the same loss in one step.

    Args:
        log_probabilities: one a class along the axis, such as results of `log_softmax`.
        labels: integers, the true classes, with the shape of log_probabilities less the axis.
        axis: the axis of classes.
        weight: [classes], factors of the losses of examples of each class.
        ignore_index: examples with this label do not count; it need not be a class.
        reduction: ``"mean"`` or ``"sum"`` over all examples, or ``"none"``: one loss an example.
            The mean's divisor is the sum of the weights of the labels that count; if that is 0,
            so is the mean.

    Raises:
        TypeError: labels are not integers, or have another shape.
        IndexError: a label is no class.

    Example:
        >>> import nr
        >>> scores = nr.numpy.log(nr.numpy.array([[0.5, 0.5], [0.25, 0.75]]))
        >>> nr.nn.nll_loss(scores, nr.numpy.array([0, 0]), reduction="none")
        Array([0.6931472, 1.3862944], dtype=float32)
    """
    op, name = "nll_loss", "log_probabilities"
    dtype, (scores,) = floats(op, log_probabilities=log_probabilities)
    axis = _class_axis(op, name, scores, axis)
    index, counts = _classes(op, name, scores, operand(op, labels), axis, ignore_index)
    weights = _weights(op, weight, scores, axis)
    weight_of = None if weights is None else weights[index]
    losses = -_pick(scores, index, axis)
    if weight_of is not None:
        losses = losses * weight_of
    return _reduce_classes(op, losses, counts, weight_of, reduction, dtype)


def softmax_focal_loss(
    logits: Any,
    labels: Any,
    *,
    axis: int = -1,
    gamma: float = 2.0,
    weight: Any = None,
    reduction: Reduction = "mean",
) -> Array:
    """(1 - p)**gamma * -log(p), with p the probability that softmax(logits) gives to the label.

    Args:
        logits: floating scores, one a class along the axis.
        labels: integers, the true classes, with the shape of logits less the axis.
        axis: the axis of classes.
        gamma: not negative; how much less examples count that are classified well.
        weight: [classes], factors of the losses of examples of each class, the paper's alpha.
        reduction: ``"mean"`` or ``"sum"`` over all examples, or ``"none"``: one loss an example.

    Raises:
        TypeError: labels are not integers, or have another shape.
        ValueError: gamma is negative.
        IndexError: a label is no class.

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, equation 5.

    Example:
        >>> import nr
        >>> logits = nr.numpy.array([[0.0, 0.0], [4.0, 0.0]])
        >>> nr.nn.softmax_focal_loss(logits, nr.numpy.array([0, 0]), reduction="none").round(4)
        Array([0.1733, 0.    ], dtype=float32)
    """
    op = "softmax_focal_loss"
    dtype, (logits,) = floats(op, logits=logits)
    axis = _class_axis(op, "logits", logits, axis)
    index, _ = _classes(op, "logits", logits, operand(op, labels), axis, None)
    weights = _weights(op, weight, logits, axis)
    shifted, total = _log_total(logits, axis)
    losses = total - _pick(shifted, index, axis)
    losses = losses * _focus(op, -jnp.expm1(-losses), gamma)
    if weights is not None:
        losses = losses * weights[index]
    return reduce(op, losses, reduction, dtype)


def _focus(op: str, missed: Array, gamma: float) -> Array:
    """missed**gamma, for probabilities that were not given to the target."""
    if not gamma >= 0:
        raise ValueError(f"{op}: gamma must not be negative; got {gamma}.")
    # The derivative at 0 is infinite for gamma below 1.
    return jnp.maximum(missed, float(np.finfo(missed.dtype).tiny)) ** gamma


def _log_total(logits: Array, axis: int) -> tuple[Array, Array]:
    """The logits less their maximum, and the logarithm of the sum of their exponentials."""
    shifted = logits - stop_gradient(jnp.max(logits, axis, keepdims=True))
    return shifted, jnp.log(jnp.sum(jnp.exp(shifted), axis))


def _pick(scores: Array, index: Array, axis: int) -> Array:
    return jnp.squeeze(jnp.take_along_axis(scores, jnp.expand_dims(index, axis), axis), axis)


def _class_axis(op: str, name: str, scores: Array, axis: int) -> int:
    if not -scores.ndim <= axis < scores.ndim:
        raise ValueError(
            f'{op}: an axis of "{name}" was required; got axis {axis} and {scores.aval}.'
        )
    return axis % scores.ndim


def _along(weights: Array, ndim: int, axis: int) -> Array:
    return weights.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _weights(op: str, weight: Any, scores: Array, axis: int) -> Array | None:
    return None if weight is None else class_weights(op, weight, scores.shape[axis], scores.dtype)


def _classes(
    op: str, name: str, scores: Array, labels: Array, axis: int, ignore_index: int | None
) -> tuple[Array, Array | None]:
    """Indices of the labels' classes, and which of them count (None: all)."""
    if labels.dtype not in dtypes.INTEGER:
        raise TypeError(f'{op}: integer classes were required; got {labels.aval} for "labels".')
    _check_labels(op, name, scores, labels, scores.shape[:axis] + scores.shape[axis + 1 :])
    counts = None
    if ignore_index is not None:
        limits = np.iinfo(labels.dtype)
        # A label of this dtype cannot be another number.
        if limits.min <= ignore_index <= limits.max:
            counts = labels != ignore_index
            labels = jnp.where(counts, labels, 0)
    return class_index(labels, scores.shape[axis]), counts


def _check_labels(
    op: str, name: str, scores: Array, labels: Array, required: tuple[int, ...]
) -> None:
    if labels.shape != required:
        kind = dtypes.short_name(labels.dtype)
        raise TypeError(
            f"{op}: {kind}[{','.join(map(str, required))}] was required for {name} "
            f'{scores.aval}; got {labels.aval} for "labels". Integer labels have the shape of '
            f"{name} without the axis of classes; probabilities have the whole shape."
        )


def _reduce_classes(
    op: str,
    losses: Array,
    counts: Array | None,
    weight_of: Array | None,
    reduction: Reduction,
    dtype: np.dtype,
) -> Array:
    if counts is None and weight_of is None:
        return reduce(op, losses, reduction, dtype)
    if counts is None:
        return reduce(op, losses, reduction, dtype, jnp.sum(weight_of))
    losses = jnp.where(counts, losses, 0)
    counted = jnp.where(counts, 1 if weight_of is None else weight_of, 0)
    return reduce(op, losses, reduction, dtype, jnp.sum(counted, dtype=losses.dtype))


# ---------------------------------------------------------------- yes or no
# As in torch: no logarithm is below this, and no slope of one is steeper than that.
_LEAST_LOG = -100.0
_STEEPEST = 1e12


@custom_jvp
def _bounded_log(p: Array) -> Array:
    return jnp.maximum(jnp.log(p), _LEAST_LOG)


@custom_jvp
def _bounded_log1m(p: Array) -> Array:
    """The bounded logarithm of 1 - p, exact for small p."""
    return jnp.maximum(jnp.log1p(-p), _LEAST_LOG)


@_bounded_log.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (p,), (dp,) = primals, tangents
    return _bounded_log(p), dp / jnp.maximum(p, 1 / _STEEPEST)


@_bounded_log1m.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (p,), (dp,) = primals, tangents
    return _bounded_log1m(p), -dp / jnp.maximum(1 - p, 1 / _STEEPEST)


def binary_cross_entropy(
    probabilities: Any, targets: Any, *, weight: Any = None, reduction: Reduction = "mean"
) -> Array:
    """-(targets * log(p) + (1 - targets) * log(1 - p)), of probabilities p.

    `binary_cross_entropy_with_logits` is exact also for probabilities that round to 0 or 1.

    Args:
        probabilities: in [0, 1]. Their logarithms are taken as no less than -100, and the
            derivatives of these as no more than 1e12.
        targets: true probabilities, often 0 or 1, of the shape of probabilities.
        weight: factors of the losses, of a shape that broadcasts to that of probabilities.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``. The mean's divisor is
            the number of elements, whatever their weights.

    Raises:
        TypeError: the shapes differ.

    Example:
        >>> import nr
        >>> p = nr.numpy.array([0.5, 0.0])
        >>> nr.nn.binary_cross_entropy(p, nr.numpy.array([1, 1]), reduction="none")
        Array([  0.6931472, 100.       ], dtype=float32)
    """
    op = "binary_cross_entropy"
    dtype, (p, t) = floats(op, probabilities=probabilities, targets=targets)
    losses = -(t * _bounded_log(p) + (1 - t) * _bounded_log1m(p))
    if weight is not None:
        losses = losses * factors(op, "weight", weight, losses)
    return reduce(op, losses, reduction, dtype)


def binary_cross_entropy_with_logits(
    logits: Any,
    targets: Any,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: Reduction = "mean",
) -> Array:
    """-(targets * log(p) + (1 - targets) * log(1 - p)) with p = sigmoid(logits).

    Args:
        logits: any shape.
        targets: true probabilities, often 0 or 1, of the shape of logits.
        weight: factors of the losses, of a shape that broadcasts to that of logits.
        pos_weight: factors of the first term, of a shape that broadcasts to that of logits: above
            1 for targets that are rarely 1.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``. The mean's divisor is
            the number of elements, whatever their weights.

    Raises:
        TypeError: the shapes differ.

    Example:
        >>> import nr
        >>> logits, targets = nr.numpy.array([0.0, -1000.0]), nr.numpy.array([1, 1])
        >>> nr.nn.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        Array([6.931472e-01, 1.000000e+03], dtype=float32)
    """
    op = "binary_cross_entropy_with_logits"
    dtype, (x, t) = floats(op, logits=logits, targets=targets)
    yes = t if pos_weight is None else t * factors(op, "pos_weight", pos_weight, x)
    losses = _log_losses(x, yes, 1 - t)
    if weight is not None:
        losses = losses * factors(op, "weight", weight, losses)
    return reduce(op, losses, reduction, dtype)


def _log_losses(x: Array, yes: Array, no: Array) -> Array:
    """-(yes * log(sigmoid(x)) + no * log(sigmoid(-x))), in which nothing cancels."""
    # 0 * inf, of infinite logits that are right, would be NaN.
    right = jnp.isinf(x) & (jnp.where(x < 0, yes, no) == 0)
    x = jnp.where(right, 0, x)
    return jnp.where(right, 0, yes * softplus(-x) + no * softplus(x))


def sigmoid_focal_loss(
    logits: Any,
    targets: Any,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Array:
    """The `binary_cross_entropy_with_logits`, where probabilities that are right count less.

    With p the probability given to the target, the cross entropy is multiplied by
    ``(1 - p)**gamma`` and by alpha for the target 1, 1 - alpha for the target 0.

    Args:
        logits: any shape.
        targets: true probabilities, mostly 0 or 1, of the shape of logits.
        alpha: in [0, 1], or None for no such factor.
        gamma: not negative; how much less targets count that are predicted well.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        TypeError: the shapes differ.
        ValueError: alpha or gamma is out of range.

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, equation 5.

    Example:
        >>> import nr
        >>> logits, targets = nr.numpy.array([0.0, 4.0]), nr.numpy.array([1, 1])
        >>> nr.nn.sigmoid_focal_loss(logits, targets, reduction="none").round(4)
        Array([0.0433, 0.    ], dtype=float32)
    """
    op = "sigmoid_focal_loss"
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"{op}: alpha must be in [0, 1] or None; got {alpha}.")
    dtype, (x, t) = floats(op, logits=logits, targets=targets)
    losses = _log_losses(x, t, 1 - t) * _focus(op, t * sigmoid(-x) + (1 - t) * sigmoid(x), gamma)
    if alpha is not None:
        losses = losses * (alpha * t + (1 - alpha) * (1 - t))
    return reduce(op, losses, reduction, dtype)


# ---------------------------------------------------------------- distributions
def kl_div(
    log_predictions: Any,
    targets: Any,
    *,
    log_target: bool = False,
    reduction: Reduction | Literal["batchmean"] = "mean",
) -> Array:
    """The terms of the Kullback-Leibler divergence, targets * (log(targets) - log_predictions).

    Args:
        log_predictions: logarithms of probabilities.
        targets: probabilities, of the shape of log_predictions.
        log_target: whether targets are logarithms, too.
        reduction: ``"batchmean"``: the sum of all terms over the size of the first axis, which is
            the mean divergence of distributions; ``"mean"`` (over all elements, as in torch, not
            only over distributions) or ``"sum"``; or ``"none"``.

    Raises:
        TypeError: the shapes differ, or there is no first axis for ``"batchmean"``.

    Source: Kullback and Leibler, "On Information and Sufficiency", 1951.

    Example:
        >>> import nr
        >>> log_p = nr.numpy.log(nr.numpy.array([[0.5, 0.5]]))
        >>> nr.nn.kl_div(log_p, nr.numpy.array([[1.0, 0.0]]), reduction="batchmean")
        Array(0.6931472, dtype=float32)
    """
    op = "kl_div"
    dtype, (x, t) = floats(op, log_predictions=log_predictions, targets=targets)
    # What has the probability 0 adds nothing, also where the prediction is 0.
    never = jnp.isneginf(t) if log_target else t == 0
    x = jnp.where(never, 0, x)
    if log_target:
        log = jnp.where(never, 0, t)
        losses = jnp.where(never, 0, jnp.exp(log)) * (log - x)
    else:
        losses = t * (jnp.log(jnp.where(never, 1, t)) - x)
    if reduction == "batchmean":
        if losses.ndim == 0:
            raise TypeError(
                f'{op}: an axis of batches was required; got {x.aval} for "log_predictions". '
                'Use the reduction "sum".'
            )
        return (jnp.sum(losses) / losses.shape[0]).astype(dtype)
    return reduce(op, losses, reduction, dtype)
