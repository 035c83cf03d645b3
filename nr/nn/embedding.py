"""Embeddings: rows of a table by index, alone or reduced over bags of them."""

from __future__ import annotations

import math
from typing import Any, Literal

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.checks import check_index
from nr.lax.elementwise import rsqrt
from nr.lax.rules import operand
from nr.lax.shape import stop_gradient
from nr.nn import initializers
from nr.nn.module import module, static
from nr.numpy.promotion import promote

__all__ = ["Embedding", "EmbeddingBag"]

Mode = Literal["sum", "mean", "max"]


def _rows(op: str, weight: Array, indices: Any) -> tuple[Array, Array]:
    """Rows of a table, and the indices as an array.

    Raises:
        TypeError: the indices are no integers.
        IndexError: one is not in [0, number of rows).
    """
    indices = operand(op, indices)
    if indices.dtype not in dtypes.INTEGER:
        raise TypeError(
            f'{op}: integers were required; got {indices.aval} for "indices". '
            "Convert with .astype('int32')."
        )
    size = weight.shape[-2]
    places = check_index(indices, 0, size, 0, size)
    return weight.at[places].get(mode="promise_in_bounds"), indices


def _init_weight(
    op: str,
    num_embeddings: int,
    features: int,
    padding_idx: int | None,
    key: Any,
    weight_init: initializers.Initializer | None,
    dtype: Any,
) -> Array:
    """A table, its row for padding 0.

    Raises:
        ValueError: padding_idx is no row.
    """
    if padding_idx is not None and not 0 <= padding_idx < num_embeddings:
        raise ValueError(
            f"{op}: a row of the table, 0 to {num_embeddings - 1}, was required; "
            f"got padding_idx={padding_idx}."
        )
    if weight_init is None:
        weight_init = initializers.normal(1 / math.sqrt(max(features, 1)))
    weight = weight_init(key, (num_embeddings, features), dtype)
    return weight if padding_idx is None else weight.at[padding_idx].set(0)


@module
class Embedding:
    """``weight[indices]``: a row of a table for each index.

    Attributes:
        weight: [num_embeddings, features].
        padding_idx: a row that gets no gradient, and starts as 0; None for none.
        max_norm: rows that are longer are scaled down to it, in the result; None for no limit.

    Example:
        >>> import nr
        >>> embed = nr.nn.Embedding.init(100, 16, key=nr.random.key(0))
        >>> embed
        Embedding(weight=f32[100,16])
        >>> h = embed(nr.numpy.array([[3, 14, 15], [92, 65, 35]]))
        >>> h.shape, embed.attend(h).shape
        ((2, 3, 16), (2, 3, 100))
    """

    weight: Array
    padding_idx: int | None = static(default=None)
    max_norm: float | None = static(default=None)

    @classmethod
    def init(
        cls,
        num_embeddings: int,
        features: int,
        *,
        key: Any,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        weight_init: initializers.Initializer | None = None,
        dtype: Any = None,
    ) -> Embedding:
        """Make a table of random rows.

        Args:
            num_embeddings: the number of rows.
            features: their size.
            key: for the rows.
            padding_idx: a row of zeros that gets no gradient.
            max_norm: what rows' Euclidean norms are limited to.
            weight_init: by default normal with variance 1 / features, so that rows have norm 1
                about, as Flax has it (PyTorch's variance is 1).
            dtype: of the table, by default the default float.

        Raises:
            ValueError: padding_idx is no row.
        """
        weight = _init_weight(
            "Embedding", num_embeddings, features, padding_idx, key, weight_init, dtype
        )
        return cls(weight, padding_idx, max_norm)

    def __call__(self, indices: Any) -> Array:
        """The rows.

        Args:
            indices: integers of any shape, in [0, num_embeddings).

        Returns:
            [*shape, features].

        Raises:
            TypeError: indices are no integers.
            IndexError: one is out of range; negative ones are.
        """
        rows, indices = _rows("Embedding", self.weight, indices)
        if self.padding_idx is not None:
            is_padding = (indices == self.padding_idx)[..., None]
            rows = jnp.where(is_padding, stop_gradient(rows), rows)
        return rows if self.max_norm is None else _limited(rows, self.max_norm)

    def attend(self, x: Any) -> Array:
        """``x @ weight.T``: a score for each row, as of a model whose output is tied to its input.

        Args:
            x: [..., features].

        Returns:
            [..., num_embeddings].

        Raises:
            TypeError: the last axis of x has another size.
        """
        x = operand("Embedding.attend", x)
        if x.ndim == 0 or x.shape[-1] != self.weight.shape[-1]:
            raise TypeError(
                f"Embedding.attend: [..., {self.weight.shape[-1]}] was required; got {x.aval} "
                f'for "x". Features are the last axis; the table is {self.weight.aval}.'
            )
        return x @ self.weight.T


def _limited(rows: Array, max_norm: float) -> Array:
    """Rows, those longer than max_norm scaled down to it."""
    square = jnp.sum(jnp.square(rows), -1, keepdims=True)
    is_long = square > max_norm**2
    # The root is taken of 1 where it is not used: that of 0 has no derivative.
    return rows * jnp.where(is_long, max_norm * rsqrt(jnp.where(is_long, square, 1)), 1)


# ---------------------------------------------------------------- bags
@module
class EmbeddingBag:
    """The sum, mean or maximum of some rows of a table, for each of many bags of indices.

    No rows are stored in between where `nr.jit` compiles it. Rows that have the same maximum share
    its gradient.

    Attributes:
        weight: [num_embeddings, features].
        mode: "sum", "mean" or "max".
        padding_idx: an index that does not count, and gets no gradient; None for none.

    Example:
        >>> import nr
        >>> weight = nr.numpy.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
        >>> bag = nr.nn.EmbeddingBag(weight, "sum")
        >>> bag(nr.numpy.array([[0, 1], [1, 2]]))
        Array([[ 3., 30.],
               [ 5., 50.]], dtype=float32)
        >>> bag(nr.numpy.array([0, 1, 2]), offsets=nr.numpy.array([0, 1]))
        Array([[ 1., 10.],
               [ 5., 50.]], dtype=float32)
    """

    weight: Array
    mode: Mode = static(default="mean")
    padding_idx: int | None = static(default=None)

    @classmethod
    def init(
        cls,
        num_embeddings: int,
        features: int,
        *,
        key: Any,
        mode: Mode = "mean",
        padding_idx: int | None = None,
        weight_init: initializers.Initializer | None = None,
        dtype: Any = None,
    ) -> EmbeddingBag:
        """Make a table of random rows.

        Args:
            num_embeddings: the number of rows.
            features: their size.
            key: for the rows.
            mode: how rows of a bag are combined.
            padding_idx: a row that does not count.
            weight_init: by default normal with variance 1 / features.
            dtype: of the table, by default the default float.

        Raises:
            ValueError: padding_idx is no row, or the mode is another.
        """
        weight = _init_weight(
            "EmbeddingBag", num_embeddings, features, padding_idx, key, weight_init, dtype
        )
        return cls(weight, mode, padding_idx)

    def __post_init__(self) -> None:
        if self.mode not in ("sum", "mean", "max"):
            raise ValueError(
                f'EmbeddingBag: mode must be "sum", "mean" or "max"; got {self.mode!r}.'
            )

    def __call__(
        self, indices: Any, *, offsets: Any = None, mask: Any = None, weights: Any = None
    ) -> Array:
        """Combine the rows of each bag.

        Args:
            indices: integers in [0, num_embeddings): [..., n], a bag each line; with `offsets`
                [n], all bags one after the other.
            offsets: [bags], where in indices each bag begins: from 0, ascending.
            mask: bool, of the shape of indices: which count.
            weights: of the shape of indices: factors of the rows, for mode "sum".

        Returns:
            [..., features], or [bags, features]; 0 for bags in which nothing counts.

        Raises:
            TypeError: indices are no integers, or shapes do not fit.
            ValueError: there are weights in another mode than "sum".
            IndexError: an index is out of range; negative ones are. Or the first offset is not 0.
        """
        rows, indices = _rows("EmbeddingBag", self.weight, indices)
        counts = self._counts(indices, mask)
        if weights is not None:
            if self.mode != "sum":
                raise ValueError(
                    f'EmbeddingBag: weights are for mode "sum"; got mode={self.mode!r}. '
                    "Divide or compare weighted rows yourself."
                )
            rows, factors = promote("EmbeddingBag", rows, weights)
            _check_like("weights", factors, indices)
            rows = rows * factors[..., None]
        if offsets is None:
            if indices.ndim == 0:
                raise TypeError(
                    f'EmbeddingBag: [..., n] was required; got {indices.aval} for "indices". '
                    "A bag is the last axis."
                )
            return self._reduced(rows, counts)
        return self._segments(rows, counts, indices, operand("EmbeddingBag", offsets))

    def _counts(self, indices: Array, mask: Any) -> Array | None:
        """Which indices count; None: all."""
        counts = None
        if mask is not None:
            counts = operand("EmbeddingBag", mask)
            _check_like("mask", counts, indices)
        if self.padding_idx is not None:
            real = indices != self.padding_idx
            counts = real if counts is None else counts & real
        return counts

    def _reduced(self, rows: Array, counts: Array | None) -> Array:
        where = None if counts is None else counts[..., None]
        if self.mode == "sum":
            return jnp.sum(rows, -2, where=where)
        size = rows.shape[-2]
        number: Any = size if where is None else jnp.sum(where, -2, dtype=rows.dtype)
        if self.mode == "mean":
            return jnp.sum(rows, -2, where=where) / jnp.maximum(number, 1)
        if size == 0:
            return jnp.sum(rows, -2)
        top = jnp.max(rows, -2, where=where, initial=None if where is None else -jnp.inf)
        return top if where is None else jnp.where(number > 0, top, 0)

    def _segments(self, rows: Array, counts: Array | None, indices: Array, offsets: Array) -> Array:
        if indices.ndim != 1 or offsets.ndim != 1 or offsets.dtype not in dtypes.INTEGER:
            raise TypeError(
                f'EmbeddingBag: [n] was required for "indices" and integers [bags] for "offsets"; '
                f"got {indices.aval} and {offsets.aval}. Without offsets, a bag is a line."
            )
        bags = offsets.shape[0]
        # The last bag that begins at a place or before; empty bags begin where the next one does.
        bag = jnp.searchsorted(offsets, jnp.arange(indices.shape[0]), side="right") - 1
        bag = check_index(bag, 0, bags, 0, bags)
        counted = jnp.ones(indices.shape, bool) if counts is None else counts
        number = jnp.zeros((bags, 1), rows.dtype).at[bag, 0].add(counted.astype(rows.dtype))
        blank = 0 if self.mode != "max" else -jnp.inf
        rows = jnp.where(counted[:, None], rows, blank)
        empty = jnp.full((bags, rows.shape[-1]), blank, rows.dtype)
        if self.mode == "max":
            return jnp.where(number > 0, empty.at[bag].max(rows), 0)
        total = empty.at[bag].add(rows)
        return total if self.mode == "sum" else total / jnp.maximum(number, 1)


def _check_like(name: str, x: Array, indices: Array) -> None:
    wanted = "bools" if name == "mask" else "numbers"
    if x.shape != indices.shape or (name == "mask" and x.dtype != "bool"):
        raise TypeError(
            f"EmbeddingBag: {wanted} of the shape of indices, {indices.shape}, were required; "
            f'got {x.aval} for "{name}".'
        )
