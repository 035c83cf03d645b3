"""Losses that ask for a margin: between classes, between the two of a pair, around 0."""

from __future__ import annotations

from typing import Any

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.nn.activations import log_sigmoid, relu, softplus
from nr.nn.losses.reduction import (
    Reduction,
    class_index,
    class_weights,
    factors,
    floats,
    reduce,
    signs,
)

__all__ = [
    "hinge_embedding_loss",
    "hinge_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
]


# ---------------------------------------------------------------- targets 1 and -1
def hinge_loss(predictions: Any, targets: Any, *, reduction: Reduction = "mean") -> Array:
    """max(0, 1 - targets * predictions): the loss of support vector machines.

    Args:
        predictions: scores.
        targets: 1 or -1, of the shape of predictions.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        TypeError: the shapes differ.

    Source: Cortes and Vapnik, "Support-Vector Networks", 1995.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([2.0, 0.5])
        >>> nr.nn.hinge_loss(x, nr.numpy.array([1, -1]), reduction="none")
        Array([0. , 1.5], dtype=float32)
    """
    op = "hinge_loss"
    dtype, (x, t) = floats(op, predictions=predictions, targets=targets)
    return reduce(op, relu(1 - t * x), reduction, dtype)


def soft_margin_loss(predictions: Any, targets: Any, *, reduction: Reduction = "mean") -> Array:
    """log(1 + exp(-targets * predictions)).

    Args:
        predictions: scores.
        targets: 1 or -1, of the shape of predictions.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        TypeError: the shapes differ.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([0.0, 1000.0])
        >>> nr.nn.soft_margin_loss(x, nr.numpy.array([1, -1]), reduction="none")
        Array([6.931472e-01, 1.000000e+03], dtype=float32)
    """
    op = "soft_margin_loss"
    dtype, (x, t) = floats(op, predictions=predictions, targets=targets)
    return reduce(op, softplus(-t * x), reduction, dtype)


def hinge_embedding_loss(
    predictions: Any, targets: Any, *, margin: float = 1.0, reduction: Reduction = "mean"
) -> Array:
    """predictions for the target 1, max(0, margin - predictions) for the target -1.

    Args:
        predictions: distances, for instance of pairs that are similar (1) or not (-1).
        targets: 1 or -1, of the shape of predictions.
        margin: the distance from which on pairs that are not similar add nothing.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        TypeError: the shapes differ.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([2.0, 0.25])
        >>> nr.nn.hinge_embedding_loss(x, nr.numpy.array([1, -1]), reduction="none")
        Array([2.  , 0.75], dtype=float32)
    """
    op = "hinge_embedding_loss"
    dtype, (x,) = floats(op, predictions=predictions)
    losses = jnp.where(signs(op, "targets", targets, x), x, relu(margin - x))
    return reduce(op, losses, reduction, dtype)


def margin_ranking_loss(
    x1: Any, x2: Any, targets: Any, *, margin: float = 0.0, reduction: Reduction = "mean"
) -> Array:
    """max(0, margin - targets * (x1 - x2)).

    Args:
        x1, x2: scores, of one shape.
        targets: of that shape; 1 where x1 should be the larger, -1 where x2 should.
        margin: how much larger.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        TypeError: the shapes differ.

    Example:
        >>> import nr
        >>> x1, x2 = nr.numpy.array([3.0, 3.0]), nr.numpy.array([1.0, 1.0])
        >>> nr.nn.margin_ranking_loss(x1, x2, nr.numpy.array([1, -1]), reduction="none")
        Array([0., 2.], dtype=float32)
    """
    op = "margin_ranking_loss"
    dtype, (a, b, t) = floats(op, x1=x1, x2=x2, targets=targets)
    return reduce(op, relu(margin - t * (a - b)), reduction, dtype)


# ---------------------------------------------------------------- classes
def multi_margin_loss(
    predictions: Any,
    labels: Any,
    *,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: Reduction = "mean",
) -> Array:
    """The mean over classes of max(0, margin - x[label] + x[class])**p; the label itself adds 0.

    Args:
        predictions: [..., classes], scores.
        labels: [...], integers: the true classes.
        p: 1 or 2.
        margin: how much larger the true class's score should be than others.
        weight: [classes], factors of the losses of examples of each class.
        reduction: ``"mean"`` or ``"sum"`` over all examples, or ``"none"``: one loss an example.
            The mean's divisor is the number of examples, whatever their weights.

    Raises:
        TypeError: labels are not integers, or shapes do not fit.
        ValueError: p is another number.

    Source: Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based
    Vector Machines", 2001, whose maximum over classes is a mean here.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([0.0, 2.0, 1.5, -1.0])
        >>> nr.nn.multi_margin_loss(x, nr.numpy.array(1))
        Array(0.125, dtype=float32)
    """
    op = "multi_margin_loss"
    if p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2; got {p!r}.")
    dtype, (x,) = floats(op, predictions=predictions)
    labels = _labels(op, x, labels, x.shape[:-1])
    n = x.shape[-1]
    labels = class_index(labels, n)
    index = jnp.expand_dims(labels, -1)
    terms = relu(margin - jnp.take_along_axis(x, index, -1) + x)
    terms = jnp.where(jnp.arange(n) == index, 0, terms if p == 1 else jnp.square(terms))
    losses = jnp.sum(terms, -1) / n
    if weight is not None:
        losses = losses * class_weights(op, weight, n, x.dtype)[labels]
    return reduce(op, losses, reduction, dtype)


def multilabel_margin_loss(
    predictions: Any, labels: Any, *, reduction: Reduction = "mean"
) -> Array:
    """The sum of max(0, 1 - x[label] + x[other]) over labels and other classes, over their number.

    Args:
        predictions: [..., classes], scores.
        labels: [..., classes], integers: the true classes of an example, then -1; what follows
            the first negative one is not read.
        reduction: ``"mean"`` or ``"sum"`` over all examples, or ``"none"``: one loss an example.

    Raises:
        TypeError: labels are not integers, or shapes do not fit.

    Example:
        >>> import nr
        >>> x, labels = nr.numpy.array([0.1, 0.2, 0.4, 0.8]), nr.numpy.array([3, 0, -1, 1])
        >>> nr.nn.multilabel_margin_loss(x, labels)
        Array(0.85, dtype=float32)
    """
    op = "multilabel_margin_loss"
    dtype, (x,) = floats(op, predictions=predictions)
    labels = _labels(op, x, labels, x.shape)
    n = x.shape[-1]
    counts = jnp.cumprod(labels >= 0, -1) == 1
    labels = jnp.where(counts, labels, 0)
    # [..., place in the list, class]
    hits = (jnp.expand_dims(labels, -1) == jnp.arange(n)) & jnp.expand_dims(counts, -1)
    others = ~jnp.any(hits, -2, keepdims=True)
    scores = jnp.expand_dims(jnp.take_along_axis(x, labels, -1), -1)
    terms = relu(1 - scores + jnp.expand_dims(x, -2))
    terms = jnp.where(jnp.expand_dims(counts, -1) & others, terms, 0)
    return reduce(op, jnp.sum(terms, (-2, -1)) / n, reduction, dtype)


def _labels(op: str, x: Array, labels: Any, required: tuple[int, ...]) -> Array:
    labels = operand(op, labels)
    if x.ndim == 0:
        raise TypeError(f'{op}: an axis of classes was required; got {x.aval} for "predictions".')
    if labels.dtype not in dtypes.INTEGER or labels.shape != required:
        raise TypeError(
            f"{op}: integers [{','.join(map(str, required))}] were required for predictions "
            f'{x.aval}; got {labels.aval} for "labels".'
        )
    return labels


def multilabel_soft_margin_loss(
    logits: Any, targets: Any, *, weight: Any = None, reduction: Reduction = "mean"
) -> Array:
    """The mean over classes of `binary_cross_entropy_with_logits`.

    Args:
        logits: [..., classes].
        targets: of the shape of logits; 1 for each class that the example has, else 0.
        weight: [classes], factors of the terms.
        reduction: ``"mean"`` or ``"sum"`` over all examples, or ``"none"``: one loss an example.

    Raises:
        TypeError: shapes do not fit.

    Example:
        >>> import nr
        >>> logits, targets = nr.numpy.zeros((2, 3)), nr.numpy.ones((2, 3))
        >>> nr.nn.multilabel_soft_margin_loss(logits, targets, reduction="none")
        Array([0.6931472, 0.6931472], dtype=float32)
    """
    op = "multilabel_soft_margin_loss"
    dtype, (x, t) = floats(op, logits=logits, targets=targets)
    if x.ndim == 0:
        raise TypeError(f'{op}: an axis of classes was required; got {x.aval} for "logits".')
    losses = -(t * log_sigmoid(x) + (1 - t) * log_sigmoid(-x))
    if weight is not None:
        losses = losses * factors(op, "weight", weight, losses)
    return reduce(op, jnp.mean(losses, -1), reduction, dtype)
