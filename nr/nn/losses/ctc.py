"""The connectionist temporal classification loss: of labels whose places in time are not known."""

from __future__ import annotations

from typing import Any

import numpy as np

import nr.numpy as jnp
from nr import lax
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.lax.shape import stop_gradient
from nr.nn.functions import log_softmax
from nr.nn.losses.reduction import Reduction, floats, reduce

__all__ = ["ctc_loss"]

# The logarithm of 0: finite, so that its derivatives are. Sums of some steps' are still far from
# the end of float32, and its exponential is 0 beside any probability.
_LOG_ZERO = -1e30


def ctc_loss(
    logits: Any,
    targets: Any,
    *,
    input_lengths: Any = None,
    target_lengths: Any = None,
    blank: int = 0,
    zero_infinity: bool = False,
    reduction: Reduction = "mean",
) -> Array:
    """The negative log-likelihood of label sequences, summed over all of their alignments.

    An alignment is one class a time step; it stands for the sequence that is left when repeated
    classes are merged and then blanks are taken out.

    Args:
        logits: [..., T, classes], scores; results of `log_softmax` give the same.
        targets: [..., S], integers: the labels of each sequence, none of them the blank.
        input_lengths: [...], integers: how many of the T steps count; by default all.
        target_lengths: [...], integers: how many of the S labels count; by default all. What
            follows them is not read.
        blank: the class that stands for no label.
        zero_infinity: use the loss 0 for sequences that have no alignment, as there are fewer
            steps than labels and repetitions. Otherwise their loss is infinite. Their gradients
            are 0 in both cases.
        reduction: ``"sum"`` over all sequences, or ``"none"``: one loss a sequence. ``"mean"``
            divides each loss by its number of labels (at least 1) and takes the mean of these.

    Raises:
        TypeError: shapes do not fit, or targets or lengths are not integers.
        ValueError: blank is no class.

    Source: Graves et al., "Connectionist Temporal Classification: Labelling Unsegmented Sequence
    Data with Recurrent Neural Networks", 2006, equations 6 to 8.

    Example:
        >>> import nr
        >>> logits = nr.numpy.zeros((2, 3))  # two steps, so 9 alignments; 3 give [1]: 11, 01, 10
        >>> nr.nn.ctc_loss(logits, nr.numpy.array([1]))
        Array(1.0986123, dtype=float32)
    """
    op = "ctc_loss"
    dtype, (x,) = floats(op, logits=logits)
    if x.ndim < 2:
        raise TypeError(f'{op}: [..., T, classes] was required; got {x.aval} for "logits".')
    *batch, steps, classes = x.shape
    labels = operand(op, targets)
    required = f"[{', '.join(map(str, (*batch, 'S')))}]"
    if labels.dtype not in dtypes.INTEGER or labels.shape[:-1] != tuple(batch) or not labels.ndim:
        raise TypeError(
            f"{op}: integers {required} were required for logits {x.aval}; "
            f'got {labels.aval} for "targets". Pad the sequences of labels to one length.'
        )
    if not 0 <= blank < classes:
        raise ValueError(f"{op}: blank must be one of {classes} classes; got {blank}.")
    input_lengths = _lengths(op, "input_lengths", input_lengths, tuple(batch), steps)
    target_lengths = _lengths(op, "target_lengths", target_lengths, tuple(batch), labels.shape[-1])
    # Labels beyond the lengths may be anything, and are reached from none that count.
    labels = jnp.clip(labels.astype(np.int32), 0, classes - 1)

    scores = log_softmax(x)
    scores = jnp.where(scores < _LOG_ZERO, _LOG_ZERO, scores)
    places = jnp.broadcast_to(jnp.expand_dims(labels, -2), (*batch, steps, labels.shape[-1]))
    emitted = jnp.moveaxis(jnp.take_along_axis(scores, places, -1), -2, 0)
    blanks = jnp.moveaxis(scores[..., blank : blank + 1], -2, 0)
    counts = jnp.arange(steps).reshape(-1, *[1] * (len(batch) + 1)) < input_lengths[..., None]

    nothing = jnp.full((*batch, 1), _LOG_ZERO, x.dtype)
    # From one label to the next without a blank between: not if they are the same.
    same = jnp.where(labels[..., 1:] == labels[..., :-1], _LOG_ZERO, 0).astype(x.dtype)

    def step(carry: Any, now: Any) -> Any:
        # Log-probabilities of being behind n labels and a blank, [..., S + 1], and of having
        # just emitted label n, [..., S].
        gap, label = carry
        emit, skip, count = now
        before = jnp.concatenate([nothing, label], -1)
        leap = jnp.concatenate([nothing, label[..., :-1] + same], -1)[..., : label.shape[-1]]
        next_gap = skip + _log_add(gap, before)
        next_label = emit + _log_add(label, gap[..., :-1], leap)
        return (jnp.where(count, next_gap, gap), jnp.where(count, next_label, label)), None

    gap = jnp.concatenate([jnp.zeros_like(nothing), *[nothing] * labels.shape[-1]], -1)
    start = gap, gap[..., 1:]
    (gap, label), _ = lax.scan(step, start, (emitted, blanks, counts))
    end = target_lengths[..., None]
    ends = [
        jnp.squeeze(jnp.take_along_axis(scores, end, -1), -1)
        for scores in (gap, jnp.concatenate([nothing, label], -1))
    ]
    losses = -_log_add(*ends)
    impossible = losses > -0.5 * _LOG_ZERO
    losses = jnp.where(impossible, 0 if zero_infinity else jnp.inf, losses)
    if reduction == "mean":
        losses = losses / jnp.maximum(target_lengths, 1).astype(losses.dtype)
    return reduce(op, losses, reduction, dtype)


def _log_add(*terms: Array) -> Array:
    """log(sum(exp(terms))) of finite terms."""
    top = terms[0]
    for x in terms[1:]:
        top = jnp.maximum(top, x)
    top = stop_gradient(top)
    total = jnp.exp(terms[0] - top)
    for x in terms[1:]:
        total = total + jnp.exp(x - top)
    return jnp.log(total) + top


def _lengths(op: str, name: str, lengths: Any, batch: tuple[int, ...], most: int) -> Array:
    if lengths is None:
        return jnp.full(batch, most, np.int32)
    lengths = operand(op, lengths)
    if lengths.dtype not in dtypes.INTEGER or lengths.shape != batch:
        raise TypeError(
            f"{op}: one integer a sequence, {list(batch)}, was required; got {lengths.aval} for "
            f'"{name}".'
        )
    return lengths.astype(np.int32)
