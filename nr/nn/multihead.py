"""MultiHeadAttention: the layer, and the cache of keys and values for decoding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr import random
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.checks import check_index
from nr.lax.dynamic_slice import dynamic_index_in_dim, dynamic_update_slice
from nr.lax.rules import operand
from nr.lax.shape import iota
from nr.nn.attention import dot_product_attention
from nr.nn.dropout import Dropout
from nr.nn.functions import softmax
from nr.nn.linear import Linear
from nr.nn.module import module, static

__all__ = ["KVCache", "MultiHeadAttention"]

_OP = "MultiHeadAttention"
# What a masked score is replaced by, as in dot_product_attention: a row that is masked as a whole
# has equal probabilities.
_MASKED = -0.7 * float(np.finfo(np.float32).max)


@module
class KVCache:
    """Keys and values of a sequence so far, with room for more.

    Attributes:
        key: [..., max_length, num_kv_heads, head size].
        value: as key.
        length: i32[]: how many positions are filled.
        layer: None; or i32[], if key and value hold those of several layers, in a leading axis:
            which of them attention reads and writes. So a loop over layers carries one cache,
            and nothing of it is copied.
    """

    key: Array
    value: Array
    length: Array
    layer: Array | None = None


@module
class MultiHeadAttention:
    """Attention of queries to keys and values, in heads, all of them projected from the inputs.

    Positions are the last axis but one of inputs. What attends is `x`; what it attends to is
    `context`, by default x itself; `key` is, as everywhere, for random numbers.

    Masks say which keys take part, where they are True, as in JAX (in torch they say which do
    not). The result of a query that sees no key is that of the mean of all values (torch: NaN).

    Of torch's layer, with E = embed_dim: ``q_proj.weight`` is ``in_proj_weight[:E].T``,
    ``k_proj.weight`` is ``in_proj_weight[E : 2 * E].T``, ``v_proj.weight`` is
    ``in_proj_weight[2 * E :].T`` (with kdim or vdim: ``q_proj_weight.T`` etc.); biases are the
    same parts of ``in_proj_bias``; ``out_proj`` is ``out_proj``, its weight transposed.

    Attributes:
        q_proj: Linear, [features, num_heads * head size].
        k_proj, v_proj: Linear, [key_features or value_features, num_kv_heads * head size].
        out_proj: Linear, [num_heads * head size, out_features].
        rotary: turns queries and keys, ``rotary(x, positions)``: a `Rotary`, or None.
        num_heads: heads of queries.
        num_kv_heads: heads of keys and values; each serves num_heads / num_kv_heads queries.
        dropout: the rate at which probabilities are dropped in training.

    Source: Vaswani et al., "Attention Is All You Need", 2017; grouped queries: Ainslie et al.,
    "GQA", 2023.

    Example:
        >>> import nr
        >>> attention = nr.nn.MultiHeadAttention.init(64, 8, key=nr.random.key(0))
        >>> x = nr.random.normal(nr.random.key(1), (2, 10, 64))
        >>> attention(x, causal=True).shape
        (2, 10, 64)

        Decoding, where the first call has 7 positions and each other one:

        >>> cache = attention.init_cache((2,), max_length=16)
        >>> y, cache = attention(x[:, :7], cache=cache)
        >>> y, cache = attention(x[:, 7:8], cache=cache)
        >>> y.shape, int(cache.length)
        ((2, 1, 64), 8)
    """

    q_proj: Linear
    k_proj: Linear
    v_proj: Linear
    out_proj: Linear
    rotary: Any = None
    num_heads: int = static(default=1)
    num_kv_heads: int = static(default=1)
    dropout: float = static(default=0.0)

    @classmethod
    def init(
        cls,
        features: int,
        num_heads: int,
        *,
        key: Any,
        num_kv_heads: int | None = None,
        qkv_features: int | None = None,
        out_features: int | None = None,
        key_features: int | None = None,
        value_features: int | None = None,
        bias: bool = True,
        rotary: Callable[[Any, Any], Array] | None = None,
        dropout: float = 0.0,
        dtype: Any = None,
    ) -> MultiHeadAttention:
        """Make a layer with random weights and biases of zeros.

        Args:
            features: of the inputs.
            num_heads: heads of queries.
            key: for the weights.
            num_kv_heads: heads of keys and values, of which num_heads is a multiple; by default
                num_heads. With 1, all queries share the keys and values.
            qkv_features: of all heads of queries together, by default as the inputs.
            out_features: of the result, by default as the inputs.
            key_features: of the context, by default as the inputs (torch's kdim).
            value_features: of what values are made of, by default key_features (torch's vdim).
            bias: whether projections have one.
            rotary: a `Rotary`, if queries and keys are to be turned by their positions.
            dropout: the rate at which probabilities are dropped in training.
            dtype: of the parameters, by default the default float.

        Raises:
            ValueError: heads do not divide the features, or their number does not that of queries;
                or the rate is not in [0, 1].
        """
        shared = num_heads if num_kv_heads is None else num_kv_heads
        inner = features if qkv_features is None else qkv_features
        of_keys = features if key_features is None else key_features
        of_values = of_keys if value_features is None else value_features
        if num_heads < 1 or inner % num_heads:
            raise ValueError(
                f"{_OP}: heads that divide the {inner} features were required; got {num_heads} "
                'for "num_heads". Or set qkv_features to a multiple of it.'
            )
        if shared < 1 or num_heads % shared:
            raise ValueError(
                f"{_OP}: heads of keys that divide the {num_heads} of queries were required; "
                f'got {shared} for "num_kv_heads".'
            )
        if not 0 <= dropout <= 1:
            raise ValueError(f'{_OP}: a rate in [0, 1] was required; got {dropout} for "dropout".')
        keys = random.split(key, 4)
        size = inner // num_heads * shared
        sizes = [
            (features, inner),
            (of_keys, size),
            (of_values, size),
            (inner, features if out_features is None else out_features),
        ]
        q, k, v, out = [
            Linear.init(m, n, key=k, bias=bias, dtype=dtype)
            for (m, n), k in zip(sizes, keys, strict=True)
        ]
        return cls(q, k, v, out, rotary, num_heads, shared, dropout)

    # ------------------------------------------------------------ parts
    def init_cache(self, batch_shape: Sequence[int], max_length: int, dtype: Any = None) -> KVCache:
        """An empty cache.

        Args:
            batch_shape: the dimensions of inputs before the positions.
            max_length: how many positions there is room for.
            dtype: of keys and values, by default that of the parameters.
        """
        weight = self.k_proj.weight
        size = weight.shape[-1] // self.num_kv_heads
        kind = weight.dtype if dtype is None else dtypes.canonicalize(dtype)
        empty = jnp.zeros((*batch_shape, max_length, self.num_kv_heads, size), kind)
        # Two arrays: one could not be given away (donated) twice.
        return KVCache(empty, jnp.zeros_like(empty), jnp.zeros((), np.int32))

    def project(self, context: Any, values: Any = None, *, positions: Any = None) -> KVCache:
        """Keys and values of a context, to attend to many times.

        Args:
            context: [..., S, key_features].
            values: what values are made of, [..., S, value_features]; by default the context.
            positions: for `rotary`, [S] or [..., S]; by default 0 to S - 1.

        Returns:
            A cache without room for more, which can be given as `context`.
        """
        k = self._keys(context, positions)
        if values is None:
            values = _checked("context", context, self.v_proj)
        else:
            values = _checked("values", values, self.v_proj)
        v = _in_heads(self.v_proj(values), self.num_kv_heads)
        if v.shape != k.shape:
            raise TypeError(
                f"{_OP}: one value a key was required; got {list(v.shape[:-2])} values and "
                f"{list(k.shape[:-2])} keys. "
                "Only the last axes of context and values may differ."
            )
        return KVCache(k, v, jnp.asarray(k.shape[-3], np.int32))

    def _keys(self, context: Any, positions: Any) -> Array:
        k = _in_heads(self.k_proj(_checked("context", context, self.k_proj)), self.num_kv_heads)
        return k if self.rotary is None else self.rotary(k, positions)

    def _queries(self, x: Any, positions: Any) -> Array:
        q = _in_heads(self.q_proj(_checked("x", x, self.q_proj)), self.num_heads)
        return q if self.rotary is None else self.rotary(q, positions)

    # ------------------------------------------------------------ calls
    def __call__(
        self,
        x: Any,
        context: Any = None,
        values: Any = None,
        *,
        mask: Any = None,
        bias: Any = None,
        causal: bool = False,
        lengths: Any = None,
        positions: Any = None,
        cache: KVCache | None = None,
        training: bool | None = None,
        key: Any = None,
    ) -> Any:
        """Attend.

        Args:
            x: what attends, [..., T, features].
            context: what it attends to, [..., S, key_features], by default x; or keys and values
                made before, by `project`.
            values: what values are made of, [..., S, value_features], by default the context.
            mask: bool, broadcasts against [..., num_heads, T, S]: which keys take part. A mask
                [..., S] of padding is given as ``mask[..., None, None, :]``.
            bias: added to scores; broadcasts against [..., num_heads, T, S].
            causal: position i sees keys 0 to i only.
            lengths: integers, one a sequence, [...]; keys from there on take no part.
            positions: for `rotary`, [T] or [..., T]; by default 0 to T - 1, and with a cache they
                go on from its length. Keys of x stand where their queries do, those of a context
                at 0 to S - 1.
            cache: to go on with a sequence: keys and values of x are written behind those in it;
                x attends to all of them that do not come later. S is the cache's max_length in
                masks and biases.
            training: required if the layer has dropout.
            key: for dropout in training.

        Returns:
            [..., T, out_features]; with a cache ``(y, cache)``, of which the second is the new one.

        Raises:
            TypeError: shapes or dtypes do not fit; or `training`, or `key`, is missing.
            IndexError: the cache has no room for T more, under jit too.
        """
        dropping = self._drops(training, key)
        if cache is not None:
            if context is not None or values is not None:
                raise TypeError(
                    f"{_OP}: with a cache, no context was required; got one. A cache continues "
                    'its own sequence; give what "project" makes of a context as the context.'
                )
            x = _checked("x", x, self.q_proj)
            steps = cache.length + iota(np.int32, x.shape[-2])
            positions = steps if positions is None else positions
            q = self._queries(x, positions)
            cache, seen = _extended(cache, self.project(x, positions=positions))
            # Bottom right of the causal mask; what lies beyond the length is not seen either.
            allowed = iota(np.int32, seen.key.shape[-3]) <= steps[:, None]
            if mask is None and x.shape[-2] == 1:
                # As a bias: attention provides for masked rows without keys, which costs a pass
                # over the values, and one position at least sees itself.
                later = jnp.where(allowed, np.float32(0), np.float32(_MASKED))
                bias = later if bias is None else _as_bias(bias) + later
            else:
                mask = allowed if mask is None else _as_mask(mask) & allowed
            causal = False
        else:
            q = self._queries(x, positions)
            if isinstance(context, KVCache):
                if values is not None:
                    raise TypeError(
                        f'{_OP}: no "values" were required; got some. '
                        "The context has them already: attention.project(context, values)."
                    )
                seen = context
            elif context is None:
                seen = self.project(x, values, positions=positions)
            else:
                seen = self.project(context, values)
        dtype = jnp.result_type(q, seen.key, seen.value)
        # A cache of another dtype changes the precision and not the type of the result.
        kind = dtype if cache is None else q.dtype
        q, k, v = [y.astype(dtype) for y in (q, seen.key, seen.value)]
        args = _joined(q, k, mask, bias, lengths)
        v = v.reshape(args[1].shape)
        if dropping:
            weights = Dropout(self.dropout)(_weights(args, causal), key=key, training=True)
            y = jnp.einsum("bkgts,bskh->btkgh", weights.astype(dtype), v)
        else:
            joined, k, mask, bias, lengths = args
            y = dot_product_attention(
                joined, k, v, bias, mask, is_causal=causal, key_value_seq_lengths=lengths
            )
        y = self.out_proj(y.astype(kind).reshape((*q.shape[:-2], -1)))
        return y if cache is None else (y, cache)

    def weights(
        self,
        x: Any,
        context: Any = None,
        *,
        mask: Any = None,
        bias: Any = None,
        causal: bool = False,
        lengths: Any = None,
        positions: Any = None,
    ) -> Array:
        """The probabilities with which a call sums up values, [..., num_heads, T, S].

        They are for looking at: a call computes them in blocks and never holds all of them.

        Args:
            x, context, mask, bias, causal, lengths, positions: those of a call.
        """
        q = self._queries(x, positions)
        if context is None:
            k = self._keys(x, positions)
        else:
            k = context.key if isinstance(context, KVCache) else self._keys(context, None)
        dtype = jnp.result_type(q, k)
        out = _weights(_joined(q.astype(dtype), k.astype(dtype), mask, bias, lengths), causal)
        shape = (*q.shape[:-3], self.num_heads, q.shape[-3], k.shape[-3])
        return out.reshape(shape).astype(dtype)

    def _drops(self, training: bool | None, key: Any) -> bool:
        """Whether probabilities are dropped."""
        if self.dropout == 0:
            return False
        if training is None:
            raise TypeError(
                f"{_OP}: training=True or False was required, because of dropout; got None. "
                "Write attention(x, training=False) for inference."
            )
        if training and key is None:
            raise TypeError(
                f'{_OP}: a key was required, because of dropout in training; got None for "key". '
                "Write attention(x, training=True, key=key)."
            )
        return training


# ---------------------------------------------------------------- arguments
def _checked(name: str, x: Any, layer: Linear) -> Array:
    """x, if it is what the layer projects."""
    x = operand(_OP, x)
    features = layer.weight.shape[-2]
    if x.ndim < 2 or x.shape[-1] != features:
        raise TypeError(
            f'{_OP}: [..., length, {features}] was required; got {x.aval} for "{name}". '
            "Features are the last axis, positions the last but one."
        )
    return x


def _in_heads(x: Array, heads: int) -> Array:
    """[..., T, heads, H]"""
    return x.reshape((*x.shape[:-1], heads, x.shape[-1] // heads))


def _as_mask(mask: Any) -> Array:
    mask = operand(_OP, mask)
    if mask.dtype != np.dtype(bool):
        raise TypeError(
            f'{_OP}: bool was required; got {mask.aval} for "mask". '
            "What is to be added to scores is a bias."
        )
    return mask


def _as_bias(bias: Any) -> Array:
    bias = operand(_OP, bias)
    if bias.dtype not in dtypes.FLOATING:
        raise TypeError(
            f'{_OP}: floating was required; got {bias.aval} for "bias". '
            "What says which keys take part is a mask."
        )
    return bias


def _extended(cache: KVCache, new: KVCache) -> tuple[KVCache, KVCache]:
    """The cache with new keys and values behind those in it; and what of it is the layer's."""
    of_layers = 0 if cache.layer is None else 1
    *lead, length, heads, size = new.key.shape
    given = cache.key.shape[of_layers:]
    room = given[-3] if len(given) > 2 else 0
    if given != (*lead, room, heads, size):
        raise TypeError(
            f"{_OP}: a cache of {[*lead, 'max_length', heads, size]} was required; "
            f'got {list(given)} for "cache". '
            "Make it of the batch dimensions of x: attention.init_cache(x.shape[:-2], max_length)."
        )
    if length > room:
        raise IndexError(
            f"{_OP}: room for {length} positions was required; got a cache of {room}. "
            "Give init_cache a larger max_length."
        )
    axis = len(lead)
    last = check_index(cache.length + (length - 1), axis, room, length - 1, room)
    starts = [*[0] * axis, last - (length - 1), 0, 0]

    def written(to: Array, x: Array) -> Array:
        x = x.astype(to.dtype)
        if cache.layer is None:
            return dynamic_update_slice(to, x, starts)
        return dynamic_update_slice(to, x[None], [cache.layer, *starts])

    key, value = written(cache.key, new.key), written(cache.value, new.value)
    out = KVCache(key, value, cache.length + length, cache.layer)
    if cache.layer is None:
        return out, out
    key, value = [dynamic_index_in_dim(x, cache.layer, keepdims=False) for x in (key, value)]
    return out, KVCache(key, value, out.length)


def _joined(q: Array, k: Array, mask: Any, bias: Any, lengths: Any) -> tuple[Any, ...]:
    """The arguments with their leading dimensions as one, as dot_product_attention takes them."""
    lead = q.shape[:-3]
    if k.shape[:-3] != lead:
        raise TypeError(
            f"{_OP}: the same leading dimensions of x and context were required; got "
            f"{list(lead)} and {list(k.shape[:-3])}. Broadcast one (nr.numpy.broadcast_to)."
        )
    batch = math.prod(lead)
    full = (*lead, q.shape[-2], q.shape[-3], k.shape[-3])
    if mask is not None:
        mask = _rank_4("mask", _as_mask(mask), full)
    if bias is not None:
        bias = _rank_4("bias", _as_bias(bias), full)
    if lengths is not None:
        lengths = operand(_OP, lengths)
        if lengths.shape != lead or lengths.dtype not in dtypes.INTEGER:
            raise TypeError(
                f"{_OP}: integers {list(lead)}, one a sequence, were required; "
                f'got {lengths.aval} for "lengths".'
            )
        lengths = lengths.astype(np.int32).reshape(batch)
    q, k = [x.reshape((batch, *x.shape[-3:])) for x in (q, k)]
    return q, k, mask, bias, lengths


def _rank_4(name: str, x: Array, full: tuple[int, ...]) -> Array:
    """A mask or bias that broadcasts against [..., N, T, S], as one that does against [B, ...]."""
    padded = (*[1] * (len(full) - x.ndim), *x.shape)
    if len(padded) != len(full) or any([n not in (1, m) for n, m in zip(padded, full)]):
        raise TypeError(
            f"{_OP}: [..., heads, T, S] = {list(full)}, or 1 in their place, was required; got "
            f'{x.aval} for "{name}". A mask [..., T, S] for all heads is mask[..., None, :, :].'
        )
    lead, inner = padded[:-3], padded[-3:]
    if math.prod(lead) == 1:
        return x.reshape((1, *inner))
    batch = math.prod(full[:-3])
    return jnp.broadcast_to(x.reshape(padded), (*full[:-3], *inner)).reshape((batch, *inner))


def _weights(args: tuple[Any, ...], causal: bool) -> Array:
    """Probabilities [B, K, G, T, S], not less than float32, of what `_joined` gives."""
    q, k, mask, bias, lengths = args
    (batch, rows, heads, size), (_, keys, shared, _) = q.shape, k.shape
    wide = np.dtype(np.float32) if q.dtype.itemsize < 4 else q.dtype
    group = heads // shared
    q = q.reshape((batch, rows, shared, group, size))
    scores = jnp.einsum("btkgh,bskh->bkgts", q, k, preferred_element_type=wide)
    scores = scores * np.asarray(1 / math.sqrt(size), wide)

    def grouped(x: Array) -> Array:
        if x.shape[1] == 1:
            return x[:, :, None]
        return x.reshape((x.shape[0], shared, group, *x.shape[2:]))

    if bias is not None:
        scores = (scores + grouped(bias)).astype(wide)
    if mask is not None:
        scores = jnp.where(grouped(mask), scores, _MASKED)
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((rows, keys), bool)), scores, _MASKED)
    if lengths is not None:
        inside = iota(np.int32, keys) < lengths[:, None, None, None, None]
        scores = jnp.where(inside, scores, _MASKED)
    return softmax(scores, -1)
