"""The blocks of dot_product_attention: the programs that go over them, forward and backward.

Rows and keys are cut into blocks, and one loop goes over the pairs of these of which scores count.
What is known of a row so far - its maximum, the sum of its exponentials, its result - is put in
proportion whenever the maximum grows (Milakov and Gimelshein, "Online normalizer calculation for
softmax", 2018). The forward pass keeps, besides the result, the logarithm of each row's sum; from
that the derivative computes probabilities again (after Dao, FlashAttention-2, 2023).

The tangent is a program of its own, linear in the tangents; its transpose, the backward pass,
another. So the function can be differentiated in all modes, and as often as wanted.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.dot import dot_general
from nr.lax.dynamic_slice import (
    dynamic_index_in_dim,
    dynamic_slice,
    dynamic_update_index_in_dim,
    dynamic_update_slice,
)
from nr.lax.shape import iota, slice_in_dim
from nr.transforms.control_flow import scan

# What a masked score is replaced by, as in JAX: so a row that is masked as a whole has equal
# probabilities.
_MASKED = -0.7 * float(np.finfo(np.float32).max)
# Rows and keys of a block: its scores are what a step computes for each head. For up to so many
# keys there are other sizes: where masks leave out scores, less is computed in vain; else one
# block needs no others' maxima. Backward passes, which keep more in cache, have half the keys.
_ROWS, _BLOCK = 128, 256
_SPARSE_BLOCKS = ((160, 128), (384, 64), (2048, 128))
_DENSE_BLOCKS = ((512, 512),)
# Numbers of keys that fill vectors.
_KEYS = 16


@dataclass(frozen=True)
class Setting:
    """What is known when a program is traced."""

    scale: float
    causal: bool
    window: tuple[int, int] | None
    masked: bool  # whether all keys of a row may be masked
    logits: np.dtype

    @property
    def sparse(self) -> bool:
        """Whether positions decide which scores count."""
        return self.causal or self.window is not None

    def ahead(self) -> tuple[float, float]:
        """How far, at least and at most, keys that count are ahead of their row."""
        left, right = (math.inf, math.inf) if self.window is None else self.window
        return -left, min(right, 0) if self.causal else right


@dataclass(frozen=True)
class Grid:
    """Blocks of rows by blocks of keys; the last ones may be in part beyond the lengths."""

    length: int
    keys: int
    rows: int
    block: int

    @classmethod
    def of(cls, setting: Setting, query: Any, key: Any, *, backward: bool = False) -> Grid:
        """The grid for a query [..., T, G, H] and a key [..., S, H]."""
        length, group, keys = query.shape[-3], query.shape[-2], key.shape[-2]
        limits = _SPARSE_BLOCKS if setting.sparse else _DENSE_BLOCKS
        block = next((size for limit, size in limits if keys <= limit), _BLOCK)
        rows = block
        if _even(keys, block, _KEYS) < keys:  # there are several
            rows, block = min(block, _ROWS), max(block // 2, 64) if backward else block
        return cls(length, keys, _even(length, max(rows // group, 1), 1), _even(keys, block, _KEYS))

    @property
    def shape(self) -> tuple[int, int]:
        """How many blocks of rows, and of keys."""
        return -(-self.length // self.rows), -(-self.keys // self.block)

    def single(self, setting: Setting) -> bool:
        """Whether there is one block of rows, one of keys, and scores that count."""
        return self.shape == (1, 1) and bool(self.pairs(setting, by_keys=False))

    def pairs(self, setting: Setting, *, by_keys: bool) -> list[tuple[bool, list]]:
        """The pairs (rows, keys) of blocks with scores that count: those of which all do by their
        positions, and those of which some do, in the order of rows, or of keys."""
        low, high = setting.ahead()
        found: dict[bool, list] = {False: [], True: []}
        n, m = self.shape
        for i, j in sorted(np.ndindex(n, m), key=lambda pair: pair[:: -1 if by_keys else 1]):
            first, key = i * self.rows, j * self.block
            last, last_key = min(first + self.rows, self.length), min(key + self.block, self.keys)
            # How far the keys are ahead of the rows, at least and at most.
            least, most = key - (last - 1), last_key - 1 - first
            if least <= high and most >= low:
                whole = low <= least and most <= high and last_key == key + self.block
                found[not whole].append((i, j))
        return [(partial, pairs) for partial, pairs in found.items() if pairs]


def _even(length: int, most: int, multiple: int) -> int:
    """The size of blocks of a length: about equal ones; a multiple, if there are several."""
    n = max(round(length / most), 1)
    size = -(-length // n)
    return size if n == 1 else -(-size // multiple) * multiple


# Arguments of a step: query [..., T, G, H], key and value [..., S, H], where G query heads share a
# key's; bias and mask [..., T, G, S], query and key lengths [..., 1, 1, 1], or None. The leading
# dimensions, and T, G and S of bias and mask, may be 1.
Inputs = tuple[Any, Any, Any, Any, Any, Any, Any]


# ------------------------------------------------------------------------------ blocks
def _padded(x: Any, axis: int, size: int) -> Any:
    """x with zeros behind it up to a size of an axis, counted from the end; not if it is 1 long."""
    missing = size - x.shape[axis]
    if missing == 0 or x.shape[axis] == 1:
        return x
    edges = [(0, 0)] * x.ndim
    edges[axis] = (0, missing)
    return jnp.pad(x, edges)


def _blocks(x: Any, axis: int, n: int, size: int) -> Any:
    """n blocks of an axis, counted from the end; they come first."""
    x = _padded(x, axis, n * size)
    axis += x.ndim
    return jnp.moveaxis(x.reshape((*x.shape[:axis], n, size, *x.shape[axis + 1 :])), axis, 0)


def _joined(x: Any, axis: int, length: int) -> Any:
    """Blocks, which come first, as one axis of a length, counted from the end."""
    x = jnp.moveaxis(x, 0, axis - 1)
    axis += x.ndim
    x = x.reshape((*x.shape[: axis - 1], -1, *x.shape[axis + 1 :]))
    return slice_in_dim(x, 0, length, axis=axis - 1)


def _at(x: Any, i: Any) -> Any:
    """A block."""
    return dynamic_index_in_dim(x, i, 0, keepdims=False, allow_negative_indices=False)


def _put(x: Any, block: Any, i: Any) -> Any:
    """The blocks with another one in a place."""
    return dynamic_update_index_in_dim(x, block, i, 0, allow_negative_indices=False)


def _added(x: Any, block: Any, i: Any) -> Any:
    """The blocks with something added to one of them; None is a single block of zeros."""
    return block[None] if x is None else _put(x, _at(x, i) + block, i)


class _Scores:
    """Where the scores of a pair of blocks are in [..., T, G, S], an axis of which may be 1."""

    def __init__(self, grid: Grid, i: Any, j: Any) -> None:
        self.grid = grid
        self.first, self.key = i * grid.rows, j * grid.block

    def of(self, x: Any) -> Any:
        """The part of an array, which is padded."""
        if x is None:
            return None
        shape, starts = self._window(x)
        return dynamic_slice(x, starts, shape, allow_negative_indices=False)

    def added(self, x: Any, part: Any) -> Any:
        """The array with something added to that part, summed up where the array has 1 for all."""
        shape, starts = self._window(x)
        axes = tuple([d for d, n in enumerate(shape) if n < part.shape[d]])
        part = jnp.sum(part, axes, keepdims=True) if axes else part
        return dynamic_update_slice(x, self.of(x) + part, starts, allow_negative_indices=False)

    def _window(self, x: Any) -> tuple[list[int], list[Any]]:
        shape, starts = list(x.shape), [0] * x.ndim
        for axis, size, start in (
            (-3, self.grid.rows, self.first),
            (-1, self.grid.block, self.key),
        ):
            if shape[axis] > 1:
                shape[axis], starts[axis] = size, start
        return shape, starts


def _whole(grid: Grid, x: Any) -> Any:
    """An array [..., T, G, S] as large as all blocks are."""
    if x is None:
        return None
    n, m = grid.shape
    return _padded(_padded(x, -3, n * grid.rows), -1, m * grid.block)


def _product(x: Any, y: Any, dtype: Any, *, turned: bool = False) -> Array:
    """[..., T, G, A] by [..., A, B], or [..., B, A]."""
    batch = tuple(range(y.ndim - 2))
    dims = (((x.ndim - 1,), (y.ndim - 1 if turned else y.ndim - 2,)), (batch, batch))
    return dot_general(x, y, dims, preferred_element_type=dtype)


def _product_over_rows(x: Any, y: Any, dtype: Any) -> Array:
    """[..., T, G, A] by [..., T, G, B], summed over T and G."""
    batch, rows = tuple(range(x.ndim - 3)), (x.ndim - 3, x.ndim - 2)
    return dot_general(x, y, ((rows, rows), (batch, batch)), preferred_element_type=dtype)


def _loop(step: Callable, carry: Any, grid: Grid, setting: Setting, *, by_keys: bool) -> Any:
    """``carry = step(carry, i, j, partial)`` for the pairs of blocks that count."""
    for partial, pairs in grid.pairs(setting, by_keys=by_keys):
        if len(pairs) == 1:
            carry = step(carry, *pairs[0], partial)
            continue

        def body(carry: Any, pair: Any, partial: bool = partial) -> Any:
            return step(carry, *pair, partial), None

        numbers = np.asarray(pairs, np.int32)
        carry, _ = scan(body, carry, (jnp.asarray(numbers[:, 0]), jnp.asarray(numbers[:, 1])))
    return carry


def _allowed(
    setting: Setting, at: _Scores, mask: Any, query_length: Any, key_length: Any, partial: bool
) -> Any:
    """Which scores of a pair of blocks count, [..., rows, G, keys]; None if all do."""
    terms = [] if mask is None else [mask]
    rows, keys = at.grid.rows, at.grid.block
    if partial and setting.sparse:
        # How far a key is ahead of its row: a difference of counts, compared with one number.
        ahead = iota(np.int32, keys)[None, None, :] - iota(np.int32, rows)[:, None, None]
        low, high = setting.ahead()
        if high < math.inf:
            terms.append(ahead <= at.first - at.key + int(high))
        if low > -math.inf:
            terms.append(ahead >= at.first - at.key + int(low))
    if partial and at.grid.keys % keys:
        terms.append(iota(np.int32, keys) < at.grid.keys - at.key)
    if query_length is not None:
        terms.append(iota(np.int32, rows)[:, None, None] < query_length - at.first)
    if key_length is not None:
        terms.append(iota(np.int32, keys) < key_length - at.key)
    return functools.reduce(operator.and_, terms) if terms else None


class _Parts:
    """The inputs as blocks, and the scores of a pair of them."""

    def __init__(self, setting: Setting, grid: Grid, inputs: Inputs) -> None:
        query, key, _, bias, mask, *lengths = inputs
        self.query_length, self.key_length = lengths
        self.setting, self.grid = setting, grid
        self.query = _blocks(query, -3, grid.shape[0], grid.rows)
        self.key = _blocks(key, -2, grid.shape[1], grid.block)
        self.key_columns = self.columns(self.key)
        self.bias, self.mask = [_whole(grid, x) for x in (bias, mask)]

    def columns(self, x: Any) -> Any:
        """Blocks [..., keys, H] as the right operands of products over H: turned, once for all
        rows, so that tiles read neighbours."""
        return jnp.swapaxes(x, -1, -2) if self.grid.shape[0] > 1 else x

    def over_features(self, x: Any, columns: Any, j: Any) -> Array:
        """A product of a block of rows with `columns` of a block of keys."""
        turned = self.grid.shape[0] == 1
        return _product(x, _at(columns, j), self.setting.logits, turned=turned)

    def scores(self, i: Any, j: Any, partial: bool, masked: float) -> Array:
        """Scores of a pair of blocks, [..., rows, G, keys]."""
        setting, at = self.setting, _Scores(self.grid, i, j)
        scores = self.over_features(_at(self.query, i), self.key_columns, j)
        scores = scores * np.asarray(setting.scale, setting.logits)
        if self.bias is not None:
            scores = (scores + at.of(self.bias)).astype(setting.logits)
        allowed = _allowed(
            setting, at, at.of(self.mask), self.query_length, self.key_length, partial
        )
        if allowed is None:
            return scores
        return jnp.where(allowed, scores, np.asarray(masked, setting.logits))


# ------------------------------------------------------------------------------ the three programs
def forward(setting: Setting, inputs: Inputs) -> tuple[Array, Array]:
    """The result [..., T, G, H], and the logarithms of rows' sums [..., T, G]."""
    query, key, value = inputs[:3]
    grid = Grid.of(setting, query, key)
    parts = _Parts(setting, grid, inputs)
    values = _blocks(value, -2, grid.shape[1], grid.block)

    def step(carry: Any, i: Any, j: Any, partial: bool) -> Any:
        scores = parts.scores(i, j, partial, _MASKED)
        top = jnp.max(scores, -1)
        if carry is not None:
            old, total, out = [_at(x, i) for x in carry]
            top = jnp.maximum(top, old)
        weights = jnp.exp(scores - top[..., None])
        sums = jnp.sum(weights, -1)
        product = _product(weights.astype(value.dtype), _at(values, j), setting.logits)
        if carry is None:
            return [x[None] for x in (top, sums, product)]
        # What there is so far, as of the new maximum.
        kept = jnp.exp(old - top)
        new = top, total * kept + sums, out * kept[..., None] + product
        return [_put(x, y, i) for x, y in zip(carry, new, strict=True)]

    carry = None
    if not grid.single(setting):
        shape = (grid.shape[0], *query.shape[:-3], grid.rows, query.shape[-2])
        carry = [
            jnp.full(shape, _MASKED, setting.logits),
            jnp.zeros(shape, setting.logits),
            jnp.zeros((*shape, value.shape[-1]), setting.logits),
        ]
    top, total, out = _loop(step, carry, grid, setting, by_keys=False)
    out = _joined((out / total[..., None]).astype(query.dtype), -3, grid.length)
    log = _joined(top + jnp.log(total), -2, grid.length)
    return finished(setting, inputs, out, log, value), log


def finished(setting: Setting, inputs: Inputs, out: Array, log: Array, value: Array) -> Array:
    """Rows that see no key are the mean of all values, those beyond the query's length zero."""
    query_length = inputs[5]
    if setting.masked:
        mean = jnp.mean(value.astype(setting.logits), -2, keepdims=True)[..., None, :, :]
        out = jnp.where((log <= _MASKED)[..., None], mean.astype(out.dtype), out)
    if query_length is not None:
        inside = iota(np.int32, out.shape[-3])[:, None, None] < query_length
        out = jnp.where(inside, out, 0)
    return out


def tangent(setting: Setting, residuals: Any, tangents: Any) -> tuple[Array, Array]:
    """The tangents of a result and of the logarithms; linear in those of query, key, value, bias.

    Rows that `finished` replaces are not replaced.
    """
    inputs, out, log = residuals
    query, key, value = inputs[:3]
    query_dot, key_dot, value_dot, bias_dot = tangents
    grid = Grid.of(setting, query, key)
    parts = _Parts(setting, grid, inputs)
    n, m = grid.shape
    logs, query_dots = [_blocks(x, a, n, grid.rows) for x, a in ((log, -2), (query_dot, -3))]
    values, value_dots, key_dots = [
        _blocks(x, -2, m, grid.block) for x in (value, value_dot, key_dot)
    ]
    key_dots = parts.columns(key_dots)
    bias_dot = _whole(grid, bias_dot)
    scale = np.asarray(setting.scale, setting.logits)

    def step(carry: Any, i: Any, j: Any, partial: bool) -> Any:
        weights = jnp.exp(parts.scores(i, j, partial, -np.inf) - _at(logs, i)[..., None])
        moved = scale * (
            parts.over_features(_at(query_dots, i), parts.key_columns, j)
            + parts.over_features(_at(parts.query, i), key_dots, j)
        )
        if bias_dot is not None:
            moved = moved + _Scores(grid, i, j).of(bias_dot).astype(setting.logits)
        moved = weights * moved
        more = _product(weights.astype(value.dtype), _at(value_dots, j), setting.logits)
        more = more + _product(moved.astype(value.dtype), _at(values, j), setting.logits)
        new = more, jnp.sum(moved, -1)
        return [_added(x, y, i) for x, y in zip(carry, new, strict=True)]

    carry = [jnp.zeros(query_dots.shape, setting.logits), jnp.zeros(logs.shape, setting.logits)]
    out_dot, log_dot = _loop(step, carry, grid, setting, by_keys=False)
    out_dot, log_dot = _joined(out_dot, -3, grid.length), _joined(log_dot, -2, grid.length)
    return out_dot - log_dot[..., None] * out, log_dot


def cotangent(setting: Setting, residuals: Any, cotangents: Any) -> tuple[Any, Any, Any, Any]:
    """The transpose of `tangent`: cotangents of query, key, value and bias."""
    inputs, out, log = residuals
    query, key, value, bias = inputs[:4]
    out_bar, log_bar = cotangents
    kind, logits = value.dtype, setting.logits
    grid = Grid.of(setting, query, key, backward=True)
    parts = _Parts(setting, grid, inputs)
    n, m = grid.shape
    # What is added to the cotangents of a row's scores, before they are weighted.
    shift = log_bar - jnp.sum(out_bar * out, -1)
    logs, shifts = [_blocks(x, -2, n, grid.rows) for x in (log, shift)]
    out_bars = _blocks(out_bar.astype(kind), -3, n, grid.rows)
    values = parts.columns(_blocks(value, -2, m, grid.block))
    whole_bias = _whole(grid, bias)

    def step(carry: Any, i: Any, j: Any, partial: bool) -> Any:
        rows, bars = _at(parts.query, i), _at(out_bars, i)
        weights = jnp.exp(parts.scores(i, j, partial, -np.inf) - _at(logs, i)[..., None])
        moved = parts.over_features(bars, values, j) + _at(shifts, i)[..., None]
        moved = weights * moved
        scaled = (moved * np.asarray(setting.scale, logits)).astype(kind)
        new = (
            (_product(scaled, _at(parts.key, j), logits), i),
            (_product_over_rows(scaled, rows, logits), j),
            (_product_over_rows(weights.astype(kind), bars, logits), j),
        )
        *sums, bias_bar = carry
        sums = [_added(x, y, k) for x, (y, k) in zip(sums, new, strict=True)]
        if bias_bar is not None:
            bias_bar = _Scores(grid, i, j).added(bias_bar, moved)
        return [*sums, bias_bar]

    shapes = (parts.query.shape, parts.key.shape, parts.key.shape)
    single = grid.single(setting)
    zeros = [None if single else jnp.zeros(shape, logits) for shape in shapes]
    carry = [*zeros, None if bias is None else jnp.zeros(whole_bias.shape, logits)]
    *sums, bias_bar = _loop(step, carry, grid, setting, by_keys=True)
    bars = [
        _joined(x, axis, like.shape[axis]).astype(like.dtype)
        for x, axis, like in zip(sums, (-3, -2, -2), (query, key, value), strict=True)
    ]
    if bias_bar is not None:
        bias_bar = bias_bar[..., : bias.shape[-3], :, : bias.shape[-1]].astype(bias.dtype)
    return *bars, bias_bar
