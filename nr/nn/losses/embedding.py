"""Losses of embeddings: of pairs and triplets, and of batches in which all others are negatives."""

from __future__ import annotations

from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.rules import operand
from nr.nn.activations import relu
from nr.nn.distances import cosine_similarity, normalize, pairwise_distance
from nr.nn.losses.classification import softmax_cross_entropy
from nr.nn.losses.reduction import Reduction, floats, reduce, signs

__all__ = [
    "contrastive_loss",
    "cosine_embedding_loss",
    "info_nce_loss",
    "nt_xent_loss",
    "triplet_margin_loss",
]


def _features(op: str, least: int, **arrays: Any) -> tuple[Any, list[Array]]:
    dtype, values = floats(op, **arrays)
    if values[0].ndim < least:
        form = "[..., features]" if least == 1 else "[..., examples, features]"
        raise TypeError(
            f"{op}: {form} was required; got {operand(op, next(iter(arrays.values()))).aval} "
            f'for "{next(iter(arrays))}".'
        )
    return dtype, values


# ---------------------------------------------------------------- pairs
def cosine_embedding_loss(
    x1: Any, x2: Any, targets: Any, *, margin: float = 0.0, reduction: Reduction = "mean"
) -> Array:
    """1 - cos(x1, x2) for the target 1, max(0, cos(x1, x2) - margin) for the target -1.

    Args:
        x1, x2: [..., features], of one shape.
        targets: [...], 1 for pairs that are similar, -1 for others.
        margin: the cosine up to which pairs that are not similar add nothing.
        reduction: ``"mean"`` or ``"sum"`` over all pairs, or ``"none"``: one loss a pair.

    Raises:
        TypeError: shapes do not fit.

    Example:
        >>> import nr
        >>> x1 = nr.numpy.array([[3.0, 4.0], [3.0, 4.0]])
        >>> x2 = nr.numpy.array([[4.0, 3.0], [4.0, 3.0]])
        >>> nr.nn.cosine_embedding_loss(x1, x2, nr.numpy.array([1, -1]), reduction="none").round(4)
        Array([0.04, 0.96], dtype=float32)
    """
    op = "cosine_embedding_loss"
    dtype, (a, b) = _features(op, 1, x1=x1, x2=x2)
    cosine = cosine_similarity(a, b)
    losses = jnp.where(signs(op, "targets", targets, cosine), 1 - cosine, relu(cosine - margin))
    return reduce(op, losses, reduction, dtype)


def contrastive_loss(
    x1: Any, x2: Any, targets: Any, *, margin: float = 1.0, reduction: Reduction = "mean"
) -> Array:
    """d**2 / 2 for the target 1, max(0, margin - d)**2 / 2 for -1; d is the Euclidean distance.

    Args:
        x1, x2: [..., features], of one shape.
        targets: [...], 1 for pairs that are similar, -1 for others.
        margin: the distance from which on pairs that are not similar add nothing.
        reduction: ``"mean"`` or ``"sum"`` over all pairs, or ``"none"``: one loss a pair.

    Raises:
        TypeError: shapes do not fit.

    Source: Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping",
    2006, equation 4, where similar pairs have Y = 0.

    Example:
        >>> import nr
        >>> x1, x2 = nr.numpy.zeros((2, 2)), nr.numpy.array([[0.3, 0.4], [0.3, 0.4]])
        >>> nr.nn.contrastive_loss(x1, x2, nr.numpy.array([1, -1]), reduction="none")
        Array([0.125, 0.125], dtype=float32)
    """
    op = "contrastive_loss"
    dtype, (a, b) = _features(op, 1, x1=x1, x2=x2)
    distance = pairwise_distance(a, b, eps=0.0)
    square = jnp.sum(jnp.square(a - b), -1)
    apart = jnp.square(relu(margin - distance))
    losses = 0.5 * jnp.where(signs(op, "targets", targets, distance), square, apart)
    return reduce(op, losses, reduction, dtype)


# ---------------------------------------------------------------- triplets
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Array:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), with d the `pairwise_distance`.

    Args:
        anchor, positive, negative: [..., features], of one shape.
        margin: how much farther the negative should be.
        p: of the norm.
        eps: added to differences.
        swap: use d(positive, negative) where that is the smaller distance of the negative.
        reduction: ``"mean"`` or ``"sum"`` over all triplets, or ``"none"``: one loss a triplet.

    Raises:
        TypeError: the shapes differ.

    Source: Schroff et al., "FaceNet", 2015, with norms for their squares; Balntas et al.,
    "Learning Local Feature Descriptors with Triplets and Shallow Convolutional Neural Networks",
    2016, for swap.

    Example:
        >>> import nr
        >>> anchor, positive, negative = nr.numpy.array([[0.0], [3.0], [3.5]])
        >>> nr.nn.triplet_margin_loss(anchor, positive, negative)
        Array(0.5, dtype=float32)
    """
    op = "triplet_margin_loss"
    dtype, (a, near, far) = _features(op, 1, anchor=anchor, positive=positive, negative=negative)
    distance = pairwise_distance(a, far, p=p, eps=eps)
    if swap:
        distance = jnp.minimum(distance, pairwise_distance(near, far, p=p, eps=eps))
    losses = relu(margin + pairwise_distance(a, near, p=p, eps=eps) - distance)
    return reduce(op, losses, reduction, dtype)


# ---------------------------------------------------------------- batches
def info_nce_loss(x1: Any, x2: Any, *, temperature: float, reduction: Reduction = "mean") -> Array:
    """The cross entropy of finding each example's partner among all of the batch, by cosine.

    Args:
        x1: [..., examples, features].
        x2: of that shape; row i is the partner of row i of x1, its other rows are negatives.
        temperature: positive; cosines are divided by it to give logits.
        reduction: ``"mean"`` or ``"sum"`` over all rows of x1, or ``"none"``: one loss a row.

    Raises:
        TypeError: the shapes differ.
        ValueError: temperature is not positive.

    Source: van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive
    Coding", 2018, equation 4, with the cosines and the temperature of He et al., "Momentum
    Contrast for Unsupervised Visual Representation Learning", 2019. The mean of this and of the
    loss with x1 and x2 exchanged is CLIP's.

    Example:
        >>> import nr
        >>> x = nr.numpy.eye(2)
        >>> nr.nn.info_nce_loss(x, x, temperature=1.0).round(4)
        Array(0.3133, dtype=float32)
    """
    op = "info_nce_loss"
    _check_temperature(op, temperature)
    dtype, (a, b) = _features(op, 2, x1=x1, x2=x2)
    logits = normalize(a) @ jnp.matrix_transpose(normalize(b)) / temperature
    partners = jnp.broadcast_to(jnp.arange(a.shape[-2]), a.shape[:-1])
    return reduce(op, softmax_cross_entropy(logits, partners, reduction="none"), reduction, dtype)


def nt_xent_loss(x1: Any, x2: Any, *, temperature: float, reduction: Reduction = "mean") -> Array:
    """`info_nce_loss` among both views: the negatives of a row are all others of x1 and of x2.

    Args:
        x1, x2: [..., examples, features], of one shape; two views of each example.
        temperature: positive; cosines are divided by it to give logits.
        reduction: ``"mean"`` or ``"sum"`` over all rows of x1 and x2, or ``"none"``: one loss a
            row, [..., 2 * examples], those of x1 first.

    Raises:
        TypeError: the shapes differ.
        ValueError: temperature is not positive.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
    2020, equation 1.

    Example:
        >>> import nr
        >>> x = nr.numpy.eye(2)
        >>> nr.nn.nt_xent_loss(x, x, temperature=1.0).round(4)
        Array(0.5514, dtype=float32)
    """
    op = "nt_xent_loss"
    _check_temperature(op, temperature)
    dtype, views = _features(op, 2, x1=x1, x2=x2)
    x = normalize(jnp.concatenate(views, -2))
    n = x.shape[-2]
    logits = x @ jnp.matrix_transpose(x) / temperature
    logits = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, logits)
    partners = jnp.broadcast_to((jnp.arange(n) + n // 2) % n, x.shape[:-1])
    return reduce(op, softmax_cross_entropy(logits, partners, reduction="none"), reduction, dtype)


def _check_temperature(op: str, temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"{op}: temperature must be positive; got {temperature}.")
