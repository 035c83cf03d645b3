"""AdaptiveLogSoftmax: a softmax over many classes, of which the rare ones have small layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr import random
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.nn import initializers
from nr.nn.containers import Sequential as Layers
from nr.nn.functions import log_softmax
from nr.nn.linear import Linear
from nr.nn.losses.reduction import class_index
from nr.nn.module import module, static

__all__ = ["AdaptiveLogSoftmax"]


@module
class AdaptiveLogSoftmax:
    """Log-probabilities of classes that are sorted by frequency, the most frequent first.

    The head scores the first classes and, as one each, the clusters of the others; in each cluster
    a layer through fewer features scores its classes. It saves parameters and products; all
    clusters are computed for all examples, since shapes do not depend on labels.

    Attributes:
        head: of the first ``cutoffs[0]`` classes and the clusters.
        tail: for each cluster two linear layers without bias.
        cutoffs: the first class of each cluster, and the number of classes.

    Source: Grave et al., "Efficient softmax approximation for GPUs", 2016, section 4.

    Example:
        >>> import nr
        >>> layer = nr.nn.AdaptiveLogSoftmax.init(64, 1000, [100, 400], key=nr.random.key(0))
        >>> x = nr.numpy.ones((5, 64))
        >>> loss = -layer(x, nr.numpy.array([3, 150, 999, 0, 400])).mean()
        >>> layer.log_probabilities(x).shape
        (5, 1000)
    """

    head: Linear
    tail: tuple[Layers, ...]
    cutoffs: tuple[int, ...] = static()

    @classmethod
    def init(
        cls,
        in_features: int,
        num_classes: int,
        cutoffs: Sequence[int],
        *,
        key: Any,
        div_value: float = 4.0,
        bias: bool = False,
        weight_init: initializers.Initializer | None = None,
        dtype: Any = None,
    ) -> AdaptiveLogSoftmax:
        """Make a layer with random weights.

        Args:
            in_features: the size of the last axis of inputs.
            num_classes: how many classes there are.
            cutoffs: increasing: the first class of each cluster.
            key: for the weights.
            div_value: by how much the features of a cluster are fewer than those of the one before.
            bias: whether the head has one.
            weight_init: by default `initializers.lecun_normal()`.
            dtype: of the parameters, by default the default float.

        Raises:
            ValueError: cutoffs do not increase, or are no classes; or a cluster has no features.
        """
        starts = tuple([int(c) for c in cutoffs])
        ends = (*starts[1:], num_classes)
        if not starts or starts[0] < 1 or any([a >= b for a, b in zip(starts, ends, strict=True)]):
            raise ValueError(
                f"AdaptiveLogSoftmax: cutoffs that increase, from 1 to {num_classes - 1}, were "
                f"required; got {list(cutoffs)}."
            )
        sizes = [int(in_features // div_value ** (i + 1)) for i in range(len(starts))]
        if min(sizes) < 1:
            raise ValueError(
                f"AdaptiveLogSoftmax: a feature or more for each cluster was required; got "
                f"{sizes}, of {in_features} divided by powers of {div_value:g}. Take a smaller "
                "div_value, or fewer clusters."
            )
        first, *keys = random.split(key, 1 + 2 * len(starts))
        make: dict[str, Any] = {"weight_init": weight_init, "dtype": dtype}
        head = Linear.init(in_features, starts[0] + len(starts), key=first, bias=bias, **make)
        tail = []
        for i, (n, start, end) in enumerate(zip(sizes, starts, ends, strict=True)):
            down = Linear.init(in_features, n, key=keys[2 * i], bias=False, **make)
            up = Linear.init(n, end - start, key=keys[2 * i + 1], bias=False, **make)
            tail.append(Layers((down, up)))
        return cls(head, tuple(tail), (*starts, num_classes))

    def __call__(self, x: Any, labels: Any) -> Array:
        """The log-probabilities of labels; minus their mean is the loss.

        Args:
            x: [..., in_features].
            labels: integers [...].

        Returns:
            [...].

        Raises:
            TypeError: shapes do not fit, or labels are not integers.
            IndexError: a label is no class.
        """
        op = "AdaptiveLogSoftmax"
        scores, labels = log_softmax(self.head(x)), operand(op, labels)
        if labels.dtype not in dtypes.INTEGER or labels.shape != scores.shape[:-1]:
            raise TypeError(
                f"{op}: integers {list(scores.shape[:-1])} were required; got {labels.aval} for "
                '"labels". There is one for each vector of features.'
            )
        labels = class_index(labels, self.cutoffs[-1]).astype(np.int32)
        # A label beyond all classes is beyond all columns of the head, too.
        beyond = sum([(labels >= cut).astype(np.int32) for cut in self.cutoffs])
        out = _pick(scores, jnp.where(beyond == 0, labels, self.cutoffs[0] + beyond - 1))
        for layers, start, end in zip(self.tail, self.cutoffs, self.cutoffs[1:]):
            inside = (labels >= start) & (labels < end)
            chosen = _pick(log_softmax(layers(x)), jnp.where(inside, labels - start, 0))
            out = out + jnp.where(inside, chosen, 0)
        return out

    def log_probabilities(self, x: Any) -> Array:
        """Those of all classes.

        Args:
            x: [..., in_features].

        Returns:
            [..., num_classes].
        """
        scores, first = log_softmax(self.head(x)), self.cutoffs[0]
        parts = [scores[..., :first]]
        for i, layers in enumerate(self.tail):
            parts.append(scores[..., first + i, None] + log_softmax(layers(x)))
        return jnp.concatenate(parts, -1)


def _pick(scores: Array, index: Array) -> Array:
    return jnp.squeeze(jnp.take_along_axis(scores, index[..., None], -1), -1)
