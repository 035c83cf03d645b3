"""dot_product_attention: softmax(Q K^T) V, in blocks, so that memory is linear in the lengths.

The forward pass goes over blocks of query rows: scores of a block are whole rows, and are never
more than a block. What it keeps besides the result is the logarithm of each row's sum. From that
the derivative recomputes probabilities, over blocks of keys: what belongs to a key then comes out
of one step, and only the queries' part is summed up (after Dao, FlashAttention-2, 2023).

The tangent is a program of its own, linear in the tangents, and its transpose is the backward
pass; so the function can be differentiated in all modes, and as often as wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.dot import dot_general
from nr.lax.rules import operand
from nr.lax.shape import iota, stop_gradient
from nr.transforms.checkpoint import checkpoint
from nr.transforms.control_flow import scan
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["dot_product_attention"]

_OP = "dot_product_attention"
# What a masked score is replaced by, as in JAX: so a row that is masked as a whole has equal
# probabilities.
_MASKED = -0.7 * float(np.finfo(np.float32).max)
# Rows (or keys) of a block; and into how many parts, each a loop over blocks, lengths are cut where
# masks leave out scores: the ends of a part are known when the program is compiled.
_BLOCK = 128
_MOST_PARTS = 16
# Rows of scores that the derivative computes at a time, for a block of keys.
_ROWS = 1024
# Elements of scores of a step: what stays in the processors' caches.
_STEP = 1 << 19


@dataclass(frozen=True)
class _Setting:
    """What is known when a program is traced."""

    scale: float
    causal: bool
    window: tuple[int, int] | None
    masked: bool  # whether all keys of a row may be masked
    logits: np.dtype

    def keys(self, first: int, last: int, length: int) -> tuple[int, int]:
        """The keys that query rows [first, last) may see, of so many."""
        low, high = 0, length
        if self.causal:
            high = min(high, last)
        if self.window is not None:
            low = max(low, first - self.window[0])
            high = min(high, last + self.window[1])
        return low, max(low, high)

    def rows(self, first: int, last: int, length: int) -> tuple[int, int]:
        """The query rows, of so many, that may see keys [first, last)."""
        low, high = 0, length
        if self.causal:
            low = max(low, first)
        if self.window is not None:
            low = max(low, first - self.window[1])
            high = min(high, last + self.window[0])
        return low, max(low, high)

    def parts(self, length: int, block: int) -> Iterator[tuple[int, int, int]]:
        """(start, number of blocks, their size) of the loops that go over a length."""
        blocks = length // block
        sparse = self.causal or self.window is not None
        size = -(-blocks // _MOST_PARTS) if sparse else max(blocks, 1)
        for i in range(0, blocks, max(size, 1)):
            yield i * block, min(size, blocks - i), block
        if length % block:
            yield blocks * block, 1, length % block

    def tiles(self, length: int, keys: int, group: int) -> Iterator[tuple[int, int, int, int, int]]:
        """(first key, number of blocks, their size, first and last row) of the derivative's loops.

        Rows are cut, too: what is computed for a block of keys stays in the cache.
        """
        chunk = max(_ROWS // group, -(-length // _MOST_PARTS))
        for first in range(0, length, chunk):
            last = min(first + chunk, length)
            tile = None
            for start, n, block in self.parts(keys, _BLOCK):
                low, high = self.rows(start, start + n * block, length)
                rows = max(low, first), min(high, last)
                if rows[0] >= rows[1]:
                    continue
                if (
                    tile is not None
                    and tile[2:] == (block, *rows)
                    and (tile[0] + tile[1] * block == start)
                ):
                    tile = (tile[0], tile[1] + n, *tile[2:])
                    continue
                if tile is not None:
                    yield tile
                tile = (start, n, block, *rows)
            if tile is not None:
                yield tile


# Arguments of a step: query [..., T, G, H], key and value [..., S, H], where G query heads share a
# key's; bias and mask [..., T, G, S], query and key lengths [..., 1, 1, 1], or None. The leading
# dimensions, and T, G and S of bias and mask, may be 1.
_Inputs = tuple[Any, Any, Any, Any, Any, Any, Any]


def _product(x: Any, y: Any, over: tuple[int, int], dtype: Any, batch: int) -> Array:
    lead = tuple(range(batch))
    dims = (((over[0],), (over[1],)), (lead, lead))
    return dot_general(x, y, dims, preferred_element_type=dtype)


def _cut(x: Any, axis: int, low: int, high: int) -> Any:
    """Elements [low, high) of an axis, counted from the end; all, if it is 1 long."""
    if x is None or x.shape[axis] == 1 or (low, high) == (0, x.shape[axis]):
        return x
    index = [slice(None)] * x.ndim
    index[axis] = slice(low, high)
    return x[tuple(index)]


def _blocks(x: Any, axis: int, low: int, high: int, n: int) -> Any:
    """Elements [low, high) of an axis, counted from the end, as n blocks, which come first.

    None if the axis is 1 long: then all blocks share x."""
    if x is None or x.shape[axis] == 1:
        return None
    x = _cut(x, axis, low, high)
    axis += x.ndim
    shape = (*x.shape[:axis], n, x.shape[axis] // n, *x.shape[axis + 1 :])
    return jnp.moveaxis(x.reshape(shape), axis, 0)


def _either(block: Any, whole: Any) -> Any:
    return whole if block is None else block


def _loop(step: Callable, carry: Any, n: int, start: int, block: int, xs: Any) -> tuple[Any, Any]:
    """``carry, y = step(carry, first, x)`` for n blocks; ys with the blocks in front."""
    if n == 1:
        carry, y = step(carry, start, [None if x is None else x[0] for x in xs])
        return carry, [p[None] for p in y]
    firsts = start + block * iota(np.int32, n)
    return scan(lambda c, x: step(c, x[0], x[1]), carry, (firsts, xs))


def _joined(y: Any, axis: int) -> Any:
    """Blocks, which come first, as one axis, counted from the end."""
    n = y.shape[0]
    y = jnp.moveaxis(y, 0, axis - 1)
    axis += y.ndim
    return y.reshape((*y.shape[: axis - 1], n * y.shape[axis], *y.shape[axis + 1 :]))


def _allowed(
    setting: _Setting, first: Any, rows: int, first_key: Any, keys: int,
    mask: Any, query_length: Any, key_length: Any,
) -> Any:  # fmt: skip
    """Which scores of a block count, [..., rows, G, keys]; None if all do."""
    terms = [] if mask is None else [mask]
    if setting.causal or setting.window is not None:
        # How far a key is behind its query: a difference of counts, compared with one number.
        ahead = iota(np.int32, keys)[None, None, :] - iota(np.int32, rows)[:, None, None]
        if setting.causal:
            terms.append(ahead <= first - first_key)
        if setting.window is not None:
            terms.append(ahead >= first - first_key - setting.window[0])
            terms.append(ahead <= first - first_key + setting.window[1])
    if query_length is not None:
        terms.append(iota(np.int32, rows)[:, None, None] < query_length - first)
    if key_length is not None:
        terms.append(iota(np.int32, keys) < key_length - first_key)
    allowed = None
    for term in terms:
        allowed = term if allowed is None else allowed & term
    return allowed


def _forward(setting: _Setting, inputs: _Inputs) -> tuple[Array, Array]:
    """The result [..., T, G, H], and the logarithms of rows' sums [..., T, G]."""
    query, key, value, bias, mask, query_length, key_length = inputs
    batch, length, group = key.ndim - 2, query.shape[-3], query.shape[-2]
    outs, logs = [], []
    for start, n, block in setting.parts(length, max(_BLOCK // group, 1)):
        end = start + n * block
        low, high = setting.keys(start, end, key.shape[-2])

        def step(
            carry: None, first: Any, xs: Sequence[Any], start: int = start, end: int = end,
            low: int = low, high: int = high, block: int = block,
        ) -> Any:  # fmt: skip
            rows, b, m = map(_either, xs, (query, bias, mask))
            k, v = _cut(key, -2, low, high), _cut(value, -2, low, high)
            scores = _product(rows, k, (batch + 2, batch + 1), setting.logits, batch)
            scores = scores * np.asarray(setting.scale, setting.logits)
            if b is not None:
                scores = (scores + _cut(b, -1, low, high)).astype(setting.logits)
            allowed = _allowed(
                setting, first, block, low, high - low, _cut(m, -1, low, high),
                query_length, key_length,
            )  # fmt: skip
            if allowed is not None:
                scores = jnp.where(allowed, scores, np.asarray(_MASKED, setting.logits))
            initial = _MASKED if high == low else None
            top = jnp.max(scores, -1, keepdims=True, initial=initial)
            weights = jnp.exp(scores - top)
            total = jnp.sum(weights, -1, keepdims=True)
            out = _product(
                weights.astype(value.dtype), v, (batch + 2, batch), setting.logits, batch
            )
            return carry, [(out / total).astype(query.dtype), (top + jnp.log(total))[..., 0]]

        xs = [_blocks(x, -3, start, end, n) for x in (query, bias, mask)]
        # As a checkpoint it stays one step: scores of several blocks are never computed at once.
        _, (out, log) = _loop(checkpoint(step), None, n, start, block, xs)
        outs.append(_joined(out, -3))
        logs.append(_joined(log, -2))
    out, log = jnp.concatenate(outs, -3), jnp.concatenate(logs, -2)
    return _finished(setting, inputs, out, log, value), log


def _finished(setting: _Setting, inputs: _Inputs, out: Array, log: Array, value: Array) -> Array:
    """Rows that see no key are the mean of all values, those beyond the query's length zero."""
    query_length = inputs[5]
    if setting.masked:
        mean = jnp.mean(value.astype(setting.logits), -2, keepdims=True)[..., None, :, :]
        out = jnp.where((log <= _MASKED)[..., None], mean.astype(out.dtype), out)
    if query_length is not None:
        inside = iota(np.int32, out.shape[-3])[:, None, None] < query_length
        out = jnp.where(inside, out, 0)
    return out


def _tangent(
    setting: _Setting, inputs: _Inputs, out: Array, log: Array, tangents: Sequence[Any]
) -> tuple[Array, Array]:
    """The tangents of what `_forward` gives; linear in the tangents of query, key, value, bias."""
    query, key, value, bias, mask, query_length, key_length = inputs
    query_dot, key_dot, value_dot, bias_dot = tangents
    batch, length, keys = key.ndim - 2, query.shape[-3], key.shape[-2]
    shape = jnp.broadcast_shapes(query.shape[:-3], key.shape[:-2])
    out_dot: Any = None
    log_dot: Any = None
    whole = (key, value, bias, mask, key_dot, value_dot, bias_dot)
    axes = (-2, -2, -1, -1, -2, -2, -1)

    for start, n, block, low, high in setting.tiles(length, keys, query.shape[-2]):
        end, rows = start + n * block, (low, high)
        # Cut outside of the step: the queries' cotangent is summed up over these rows only.
        q_dot = _cut(query_dot, -3, *rows)

        def step(
            carry: Any, first: Any, xs: Sequence[Any], rows: tuple[int, int] = rows,
            block: int = block, q_dot: Any = q_dot,
        ) -> Any:  # fmt: skip
            k, v, b, m, k_dot, v_dot, b_dot = map(_either, xs, whole)
            q = _cut(query, -3, *rows)
            over = (batch + 2, batch + 1)
            scores = _product(q, k, over, setting.logits, batch)
            scores = scores * np.asarray(setting.scale, setting.logits)
            if b is not None:
                scores = (scores + _cut(b, -3, *rows)).astype(setting.logits)
            allowed = _allowed(
                setting, rows[0], rows[1] - rows[0], first, block, _cut(m, -3, *rows),
                query_length, key_length,
            )  # fmt: skip
            if allowed is not None:
                scores = jnp.where(allowed, scores, np.asarray(-np.inf, setting.logits))
            weights = jnp.exp(scores - _cut(log, -2, *rows)[..., None])
            scores_dot = _product(q_dot, k, over, setting.logits, batch) + _product(
                q, k_dot, over, setting.logits, batch
            )
            scores_dot = scores_dot * np.asarray(setting.scale, setting.logits)
            if b_dot is not None:
                scores_dot = scores_dot + _cut(b_dot, -3, *rows).astype(setting.logits)
            moved_weights = weights * scores_dot
            over = (batch + 2, batch)
            kind = value.dtype
            more = _product(weights.astype(kind), v_dot, over, setting.logits, batch) + _product(
                moved_weights.astype(kind), v, over, setting.logits, batch
            )
            return _sum(carry, (more, jnp.sum(moved_weights, -1))), []

        xs = [_blocks(x, axis, start, end, n) for x, axis in zip(whole, axes, strict=True)]
        counts = (high - low, query.shape[-2])
        zeros = tuple([
            jnp.zeros((*shape, *counts, *rest), setting.logits) for rest in (value.shape[-1:], ())
        ])  # fmt: skip
        carry = None if n == 1 else zeros
        (more, logs), _ = _loop(checkpoint(step), carry, n, start, block, xs)
        out_dot = _sum(out_dot, _padded(more, -3, low, length))
        log_dot = _sum(log_dot, _padded(logs, -2, low, length))
    if out_dot is None:  # no row sees any key
        out_dot, log_dot = jnp.zeros_like(out), jnp.zeros_like(log)
    else:
        out_dot = (out_dot - log_dot[..., None] * out).astype(out.dtype)
    return _finished(setting, inputs, out_dot, log, value_dot), log_dot


def _sum(x: Any, y: Any) -> Any:
    """Two arrays, or pairs of them; None is zero."""
    if x is None:
        return y
    return tuple([a + b for a, b in zip(x, y, strict=True)]) if type(y) is tuple else x + y


def _padded(x: Array, axis: int, low: int, length: int) -> Array:
    """x with zeros before and after it along an axis, counted from the end."""
    edges = [(0, 0)] * x.ndim
    edges[axis] = (low, length - low - x.shape[axis])
    return jnp.pad(x, edges)


# ------------------------------------------------------------------------------ batches and heads
def _divisor(n: int, most: int) -> int:
    """The largest divisor of n that is not more."""
    return max([d for d in range(1, n + 1) if n % d == 0 and d <= max(most, 1)])


def _stepwise(f: Callable, extent: int, size: int, args: Any) -> Any:
    """f of some elements of the leading axis at a time; axes of 1 serve all."""
    steps = extent // size
    if steps == 1:
        return f(args)
    leaves = list(args)
    moved = [x is not None and x.shape[0] == extent for x in leaves]
    xs = [x.reshape((steps, size, *x.shape[1:])) for x, m in zip(leaves, moved, strict=True) if m]

    def step(carry: None, xs: Sequence[Any]) -> Any:
        rest = iter(xs)
        return carry, f([next(rest) if m else x for x, m in zip(leaves, moved, strict=True)])

    _, outs = scan(step, None, xs)
    return [y.reshape((extent, *y.shape[2:])) for y in outs]


def _over_heads(f: Callable, query: Array, key: Array, args: Sequence[Any]) -> list[Array]:
    """f of arguments [B, K, ...], for as many sequences and heads at a time as fit in a cache."""
    batch, heads, length, group, _ = query.shape
    block = min(length, max(_BLOCK // group, 1)) * group
    fit = _STEP // max(block * key.shape[-2], 1)
    heads_at_once = _divisor(heads, fit)
    sequences = _divisor(batch, fit // heads) if heads_at_once == heads else 1

    def some_sequences(args: Sequence[Any]) -> list[Array]:
        if heads_at_once == heads:
            return f(args)
        outs = _stepwise(f, heads, heads_at_once, [None if x is None else x[0] for x in args])
        return [y[None] for y in outs]

    return _stepwise(some_sequences, batch, sequences, args)


def _attention(setting: _Setting, *inputs: Any) -> tuple[Array, Array]:
    query, key = inputs[:2]
    out, log = _over_heads(lambda x: list(_forward(setting, tuple(x))), query, key, inputs)
    return out, log


_differentiable = custom_jvp(_attention, nondiff_argnums=(0,))


@_differentiable.defjvp
def _attention_jvp(setting: _Setting, primals: Any, tangents: Any) -> Any:
    out, log = _differentiable(setting, *primals)
    n = len(primals)

    def f(args: Sequence[Any]) -> list[Array]:
        return list(_tangent(setting, tuple(args[:n]), args[n], args[n + 1], args[n + 2 :]))

    query, key = primals[:2]
    dots = _over_heads(f, query, key, [*primals, out, log, *tangents[:4]])
    return (out, log), (dots[0], dots[1])


# ------------------------------------------------------------------------------ for users
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: Any = None,
    is_causal: bool = False,
    query_seq_lengths: Any = None,
    key_value_seq_lengths: Any = None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: str | None = None,
    return_residual: bool = False,
) -> Any:
    """Attention: softmax(query key^T * scale + bias) value, over the keys, for each head.

    Memory is linear in the lengths, forward and backward: scores are computed in blocks, and
    again for the derivative. Scores and probabilities are float32 where the arguments are of 16
    bits, otherwise of their dtype.

    Args:
        query: [B, T, N, H] or [T, N, H]: sequences, positions, heads, features.
        key: [B, S, K, H] or [S, K, H]. N is a multiple of K: N / K query heads share a key's.
        value: the shape of key.
        bias: added to scores; broadcasts against [B, N, T, S].
        mask: bool, broadcasts against [B, N, T, S]: which keys take part.
        scale: by default 1 / sqrt(H). An array is multiplied with query.
        is_causal: position i sees keys 0 to i only. Blocks of which nothing is seen cost nothing.
        query_seq_lengths: i32[B]; positions from there on are padding: their result is 0.
        key_value_seq_lengths: i32[B]; keys from there on take no part.
        local_window_size: (left, right), or one number for both: position i sees keys i - left
            to i + right only.
        implementation: None or "xla", both this one.
        return_residual: also return the logarithm of the sum of the scores' exponentials, through
            which no gradient flows.

    Returns:
        The shape and dtype of query; with return_residual also an array of its shape less H. The
        result of a position for which all keys are masked is the mean of all values.

    Raises:
        ValueError: shapes or dtypes do not fit; or for another implementation.

    Example:
        >>> import nr
        >>> x = nr.random.normal(nr.random.key(0), (2, 5, 4, 8))
        >>> y = nr.nn.dot_product_attention(x, x, x, is_causal=True)
        >>> y.shape, bool((y[:, 0] == x[:, 0]).all())  # the first position sees itself only
        ((2, 5, 4, 8), True)
    """
    query, key, value = [operand(_OP, x) for x in (query, key, value)]
    shape = query.shape
    bias, mask = [None if x is None else _rank_4(operand(_OP, x)) for x in (bias, mask)]
    lengths = [
        None if x is None else operand(_OP, x) for x in (query_seq_lengths, key_value_seq_lengths)
    ]
    q, k, v = [_rank_4(x) for x in (query, key, value)]
    _check(q, k, v, bias, mask, *lengths)
    if implementation not in (None, "xla"):
        raise ValueError(
            f'{_OP}: implementation None or "xla" was required; got {implementation!r}. '
            "There is one implementation here; leave the argument out."
        )
    window = local_window_size
    if isinstance(window, int):
        window = (window, window)
    batch, length, heads, features = q.shape
    shared = k.shape[2]
    logits = np.dtype(np.promote_types(q.dtype, np.float32)) if _is_wide(q) else np.dtype("f4")
    if scale is None:
        scale = 1 / math.sqrt(max(features, 1))
    elif not isinstance(scale, (int, float, np.number)):  # an array, perhaps a parameter
        q, scale = (q * scale).astype(q.dtype), 1.0
    setting = _Setting(
        float(scale), is_causal,
        None if window is None else cast(tuple[int, int], tuple(window)),
        any([x is not None for x in (mask, window, *lengths)]), logits,
    )  # fmt: skip
    if 0 in (*q.shape, *k.shape):
        out = jnp.zeros(shape, q.dtype)
        empty = jnp.full(shape[:-1], -np.inf, q.dtype)
        return (out, empty) if return_residual else out

    def grouped(x: Any) -> Any:
        """[B, N, T, S] as [B, K, T, G, S]."""
        if x is None:
            return None
        b, n, t, s = x.shape
        if n == 1:
            return x.reshape((b, 1, t, 1, s))
        return jnp.moveaxis(x.reshape((b, shared, n // shared, t, s)), 2, 3)

    q = q.reshape((batch, length, shared, heads // shared, features)).transpose((0, 2, 1, 3, 4))
    k, v = [x.transpose((0, 2, 1, 3)) for x in (k, v)]
    lengths = [None if x is None else x.reshape((batch, 1, 1, 1, 1)) for x in lengths]
    out, log = _differentiable(setting, q, k, v, grouped(bias), grouped(mask), *lengths)
    out = out.transpose((0, 2, 1, 3, 4)).reshape(shape)
    if not return_residual:
        return out
    log = log.transpose((0, 2, 1, 3)).reshape(shape[:-1])
    return out, stop_gradient(log.astype(q.dtype))


def _is_wide(x: Array) -> bool:
    return x.dtype.itemsize > 4


def _rank_4(x: Array) -> Array:
    return x.reshape((*[1] * (4 - x.ndim), *x.shape)) if x.ndim < 4 else x


def _check(
    query: Array, key: Array, value: Array, bias: Any, mask: Any, *lengths: Any
) -> None:  # fmt: skip
    if query.dtype not in dtypes.FLOATING:
        raise ValueError(
            f'{_OP}: floating arrays were required; got {query.aval} for "query". '
            "Convert with .astype('float32')."
        )
    for name, x in (("query", query), ("key", key)):
        if x.ndim != 4:
            raise ValueError(
                f'{_OP}: [B, length, heads, H] was required; got {x.aval} for "{name}". '
                "Join or map leading dimensions (nr.vmap)."
            )
    if value.aval.shape != key.shape or {value.dtype, query.dtype} != {key.dtype}:
        raise ValueError(
            f"{_OP}: one dtype, and one shape of key and value, was required; got {query.aval} "
            f'for "query", {key.aval} for "key", {value.aval} for "value".'
        )
    if query.shape[0] != key.shape[0] or query.shape[3] != key.shape[3]:
        raise ValueError(
            f'{_OP}: the same B and H was required; got {query.aval} for "query", {key.aval} '
            'for "key". They are [B, T, N, H] and [B, S, K, H].'
        )
    heads, shared = query.shape[2], key.shape[2]
    if shared == 0 or heads % shared:
        raise ValueError(
            f'{_OP}: heads of "query" in a multiple of those of "key" were required; '
            f"got {heads} and {shared}. Heads are the last axis but one."
        )
    full = (query.shape[0], heads, query.shape[1], key.shape[1])
    for name, x in (("bias", bias), ("mask", mask)):
        if x is None:
            continue
        if x.ndim != 4 or any([n not in (1, m) for n, m in zip(x.shape, full, strict=True)]):
            raise ValueError(
                f"{_OP}: [B, N, T, S] = {list(full)}, or 1 in their place, was required; "
                f'got {x.aval} for "{name}".'
            )
    if mask is not None and mask.dtype != np.dtype(bool):
        raise ValueError(
            f'{_OP}: bool was required; got {mask.aval} for "mask". '
            "What is to be added to scores is a bias."
        )
    for name, x in zip(("query_seq_lengths", "key_value_seq_lengths"), lengths, strict=True):
        if x is not None and (x.shape != query.shape[:1] or x.dtype != np.dtype(np.int32)):
            raise ValueError(
                f'{_OP}: i32[{query.shape[0]}] was required; got {x.aval} for "{name}".'
            )
