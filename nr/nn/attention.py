"""dot_product_attention: softmax(Q K^T) V, in blocks, so that memory is linear in the lengths.

The blocks are those of attention_blocks.py, for as many sequences and heads at a time as fit in a
cache. The derivative is a linear program with a transpose of its own, so that the function can be
differentiated in all modes, and as often as wanted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.rules import operand
from nr.lax.shape import stop_gradient
from nr.nn.attention_blocks import Grid, Inputs, Setting, cotangent, finished, forward, tangent
from nr.transforms.control_flow import scan
from nr.transforms.custom_derivatives import custom_jvp
from nr.transforms.linear_call import linear_call

__all__ = ["dot_product_attention"]

_OP = "dot_product_attention"
# Elements of scores of a step, of all its heads: what stays in the processors' caches.
_STEP = 1 << 19


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


def _over_heads(
    f: Callable, setting: Setting, query: Array, key: Array, args: Sequence[Any]
) -> list[Array]:
    """f of arguments [B, K, ...], for as many sequences and heads at a time as fit in a cache."""
    batch, heads, _, group, _ = query.shape
    grid = Grid.of(setting, query, key)
    fit = _STEP // (grid.rows * group * grid.block)
    heads_at_once = _divisor(heads, fit)
    sequences = _divisor(batch, fit // heads) if heads_at_once == heads else 1

    def some_sequences(args: Sequence[Any]) -> list[Array]:
        if heads_at_once == heads:
            return f(args)
        outs = _stepwise(f, heads, heads_at_once, [None if x is None else x[0] for x in args])
        return [y[None] for y in outs]

    return _stepwise(some_sequences, batch, sequences, args)


def _attention(setting: Setting, *inputs: Any) -> tuple[Array, Array]:
    def f(args: Sequence[Any]) -> list[Array]:
        return list(forward(setting, cast(Inputs, tuple(args))))

    out, log = _over_heads(f, setting, inputs[0], inputs[1], inputs)
    return out, log


_differentiable = custom_jvp(_attention, nondiff_argnums=(0,))


@_differentiable.defjvp
def _attention_jvp(setting: Setting, primals: Any, tangents: Any) -> Any:
    out, log = _differentiable(setting, *primals)
    n = len(primals)

    def f(args: Sequence[Any]) -> list[Array]:
        inputs, out, log, dots = tuple(args[:n]), args[n], args[n + 1], tuple(args[n + 2 :])
        programs = [functools.partial(g, setting) for g in (tangent, cotangent)]
        out_dot, log_dot = linear_call(*programs, (inputs, out, log), dots)
        out_dot = out_dot.astype(out.dtype)
        return [finished(setting, cast(Inputs, inputs), out_dot, log, dots[2]), log_dot]

    query, key = primals[:2]
    dots = _over_heads(f, setting, query, key, [*primals, out, log, *tangents[:4]])
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
    setting = Setting(
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
