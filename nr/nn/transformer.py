"""Transformers: encoder and decoder layers, and stacks of them that run as one loop.

A layer is attention and a small network, each in a residual branch with a norm: before the branch
(`norm_first`) or after the sum. A stack holds its layers as one, whose leaves have a leading axis,
and scans over them: it compiles as quickly as one layer. Positions are the user's: `rotary`, a
bias (`alibi_bias`), or vectors added to the input. A language model is a causal encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr import random
from nr.core.array import Array
from nr.lax.rules import operand
from nr.lax.shape import iota
from nr.nn.activations import relu
from nr.nn.containers import Sequential
from nr.nn.dropout import Dropout
from nr.nn.linear import Linear
from nr.nn.module import module, static
from nr.nn.multihead import KVCache, MultiHeadAttention
from nr.nn.norm import LayerNorm
from nr.transforms.checkpoint import checkpoint
from nr.transforms.control_flow import scan
from nr.transforms.vmap import vmap

__all__ = [
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]


# ---------------------------------------------------------------- what both layers do
def _dropping(op: str, rate: float, training: bool | None, key: Any) -> bool:
    """Whether anything is dropped."""
    if rate == 0:
        return False
    if training is None:
        raise TypeError(
            f"{op}: training=True or False was required, because of dropout; got None. "
            "Write training=False for inference."
        )
    if training and key is None:
        raise TypeError(
            f'{op}: a key was required, because of dropout in training; got None for "key". '
            "Give each call one of its own (nr.random.split)."
        )
    return training


def _parts(
    features: int,
    num_heads: int,
    key: Any,
    attentions: int,
    hidden_features: int | None,
    num_kv_heads: int | None,
    rotary: Any,
    dropout: float,
    activation: Callable[..., Any],
    bias: bool,
    dtype: Any,
) -> tuple[list[MultiHeadAttention], dict[str, Any], list[LayerNorm]]:
    """Attentions, of which the first has the positions; the network's fields; and norms."""
    keys = random.split(key, attentions + 2)
    hidden = 4 * features if hidden_features is None else hidden_features
    of_attention = {
        "num_kv_heads": num_kv_heads, "dropout": dropout, "bias": bias, "dtype": dtype,
    }  # fmt: skip
    attention = [
        MultiHeadAttention.init(
            features, num_heads, key=keys[i], rotary=rotary if i == 0 else None, **of_attention
        )
        for i in range(attentions)
    ]
    # A container makes layers of functions, which compare by value wherever they were made.
    (function,) = Sequential((activation,)).layers
    network = {
        "linear1": Linear.init(features, hidden, key=keys[-2], bias=bias, dtype=dtype),
        "linear2": Linear.init(hidden, features, key=keys[-1], bias=bias, dtype=dtype),
        "dropout": Dropout(dropout),
        "activation": function,
    }
    norms = [LayerNorm.init(features, bias=bias, dtype=dtype) for _ in range(attentions + 1)]
    return attention, network, norms


def _branch(layer: Any, x: Array, norm: Any, f: Callable, key: Any) -> tuple[Array, Any]:
    """x + drop(f(x)), with the norm where the layer has it; and what else f gives."""
    y, rest = f(norm(x) if layer.norm_first else x)
    x = x + layer.dropout(y, training=key is not None, key=key)
    return x if layer.norm_first else norm(x), rest


def _network(layer: Any, x: Array, key: Any) -> tuple[Array, None]:
    hidden = layer.activation(layer.linear1(x))
    return layer.linear2(layer.dropout(hidden, training=key is not None, key=key)), None


def _attend(attention: Any, cache: KVCache | None, *args: Any, **options: Any) -> tuple[Any, Any]:
    """What attention gives, and the new cache, or None."""
    y = attention(*args, cache=cache, **options)
    return (y, None) if cache is None else y


# ---------------------------------------------------------------- layers
@module
class TransformerEncoderLayer:
    """Self-attention and a network of two affine layers.

    The fields are those of torch's layer (of `self_attn`, see `MultiHeadAttention`).

    Attributes:
        self_attn: `MultiHeadAttention`.
        linear1, linear2: to hidden_features and back.
        dropout: of both branches' results and of the hidden features.
        activation: between the affine layers.
        norm1, norm2: of the attention's and of the network's branch.
        norm_first: whether branches begin with their norms; otherwise sums are normalized.

    Source: Vaswani et al., "Attention Is All You Need", 2017; norms first: Xiong et al., "On Layer
    Normalization in the Transformer Architecture", 2020.

    Example:
        >>> import nr
        >>> layer = nr.nn.TransformerEncoderLayer.init(64, 8, key=nr.random.key(0), dropout=0.1)
        >>> x = nr.numpy.ones((2, 10, 64))
        >>> layer(x, training=False).shape
        (2, 10, 64)
        >>> layer(x, causal=True, training=True, key=nr.random.key(1)).shape
        (2, 10, 64)
    """

    self_attn: MultiHeadAttention
    linear1: Linear
    linear2: Linear
    dropout: Dropout
    activation: Any
    norm1: Any
    norm2: Any
    norm_first: bool = static(default=False)

    @classmethod
    def init(
        cls,
        features: int,
        num_heads: int,
        *,
        key: Any,
        hidden_features: int | None = None,
        num_kv_heads: int | None = None,
        rotary: Callable[[Any, Any], Array] | None = None,
        dropout: float = 0.0,
        activation: Callable[..., Any] = relu,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = None,
    ) -> TransformerEncoderLayer:
        """Make a layer.

        Args:
            features: of inputs and results.
            num_heads: of attention.
            key: for the weights.
            hidden_features: of the network, by default 4 * features.
            num_kv_heads, rotary: as for `MultiHeadAttention`.
            dropout: the rate, of attention's probabilities too.
            activation: a function or a layer.
            norm_first: as the attribute.
            bias: whether affine layers and norms have one.
            dtype: of the parameters, by default the default float.
        """
        (attention,), network, (norm1, norm2) = _parts(
            features, num_heads, key, 1, hidden_features, num_kv_heads, rotary, dropout,
            activation, bias, dtype,
        )  # fmt: skip
        return cls(attention, norm1=norm1, norm2=norm2, norm_first=norm_first, **network)

    def __call__(
        self,
        x: Any,
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
        """Apply the layer.

        Args:
            x: [..., T, features].
            mask, bias, causal, lengths, positions, cache: as for `MultiHeadAttention`.
            training: required if there is dropout.
            key: for dropout in training.

        Returns:
            [..., T, features]; with a cache ``(y, cache)``, of which the second is the new one.
        """
        dropping = _dropping("TransformerEncoderLayer", self.dropout.rate, training, key)
        keys: Any = random.split(key, 4) if dropping else [None] * 4
        x = operand("TransformerEncoderLayer", x)

        def attend(x: Array) -> tuple[Array, Any]:
            return _attend(
                self.self_attn, cache, x, mask=mask, bias=bias, causal=causal, lengths=lengths,
                positions=positions, training=dropping, key=keys[0],
            )  # fmt: skip

        x, new_cache = _branch(self, x, self.norm1, attend, keys[1])
        x, _ = _branch(self, x, self.norm2, lambda x: _network(self, x, keys[2]), keys[3])
        return x if cache is None else (x, new_cache)


@module
class TransformerDecoderLayer:
    """Self-attention, attention to a memory, and a network of two affine layers.

    The fields are those of torch's layer (of attentions, see `MultiHeadAttention`).

    Attributes:
        self_attn: `MultiHeadAttention` of the sequence to itself.
        multihead_attn: `MultiHeadAttention` of the sequence to the memory.
        linear1, linear2, dropout, activation, norm_first: as in `TransformerEncoderLayer`.
        norm1, norm2, norm3: of the branches, in their order.

    Source: as `TransformerEncoderLayer`.

    Example:
        >>> import nr
        >>> layer = nr.nn.TransformerDecoderLayer.init(64, 8, key=nr.random.key(0))
        >>> layer(nr.numpy.ones((2, 10, 64)), nr.numpy.ones((2, 7, 64))).shape
        (2, 10, 64)
    """

    self_attn: MultiHeadAttention
    multihead_attn: MultiHeadAttention
    linear1: Linear
    linear2: Linear
    dropout: Dropout
    activation: Any
    norm1: Any
    norm2: Any
    norm3: Any
    norm_first: bool = static(default=False)

    @classmethod
    def init(
        cls,
        features: int,
        num_heads: int,
        *,
        key: Any,
        hidden_features: int | None = None,
        num_kv_heads: int | None = None,
        rotary: Callable[[Any, Any], Array] | None = None,
        dropout: float = 0.0,
        activation: Callable[..., Any] = relu,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = None,
    ) -> TransformerDecoderLayer:
        """Make a layer.

        Args:
            features: of inputs, memories and results.
            rotary: as for `MultiHeadAttention`; of the self-attention only.
            num_heads, key, hidden_features, num_kv_heads, dropout, activation, norm_first, bias,
                dtype: as for `TransformerEncoderLayer`.
        """
        (own, other), network, norms = _parts(
            features, num_heads, key, 2, hidden_features, num_kv_heads, rotary, dropout,
            activation, bias, dtype,
        )  # fmt: skip
        norm1, norm2, norm3 = norms
        return cls(
            own, other, norm1=norm1, norm2=norm2, norm3=norm3, norm_first=norm_first, **network
        )

    def __call__(
        self,
        x: Any,
        memory: Any,
        *,
        mask: Any = None,
        bias: Any = None,
        causal: bool = True,
        lengths: Any = None,
        memory_mask: Any = None,
        memory_lengths: Any = None,
        positions: Any = None,
        cache: KVCache | None = None,
        training: bool | None = None,
        key: Any = None,
    ) -> Any:
        """Apply the layer.

        Args:
            x: [..., T, features].
            memory: what the second attention attends to, [..., S, features], such as an encoder's
                result; or what ``multihead_attn.project`` made of it.
            mask, bias, lengths, positions, cache: of the self-attention, as for
                `MultiHeadAttention`.
            causal: whether position i sees positions 0 to i only. True, unlike in torch.
            memory_mask: bool, broadcasts against [..., num_heads, T, S].
            memory_lengths: integers, one a sequence; the memory from there on takes no part.
            training: required if there is dropout.
            key: for dropout in training.

        Returns:
            [..., T, features]; with a cache ``(y, cache)``, of which the second is the new one.
        """
        dropping = _dropping("TransformerDecoderLayer", self.dropout.rate, training, key)
        keys: Any = random.split(key, 6) if dropping else [None] * 6
        x = operand("TransformerDecoderLayer", x)

        def attend(x: Array) -> tuple[Array, Any]:
            return _attend(
                self.self_attn, cache, x, mask=mask, bias=bias, causal=causal, lengths=lengths,
                positions=positions, training=dropping, key=keys[0],
            )  # fmt: skip

        def recall(x: Array) -> tuple[Array, Any]:
            return _attend(
                self.multihead_attn, None, x, memory, mask=memory_mask, lengths=memory_lengths,
                training=dropping, key=keys[2],
            )  # fmt: skip

        x, new_cache = _branch(self, x, self.norm1, attend, keys[1])
        x, _ = _branch(self, x, self.norm2, recall, keys[3])
        x, _ = _branch(self, x, self.norm3, lambda x: _network(self, x, keys[4]), keys[5])
        return x if cache is None else (x, new_cache)


# ---------------------------------------------------------------- stacks
def _stacked(
    op: str, kind: Any, depth: int, features: int, num_heads: int, key: Any,
    final_norm: bool | None, options: dict[str, Any],
) -> tuple[Any, LayerNorm | None]:  # fmt: skip
    """The layers, and the norm after the last."""
    if depth < 1:
        raise ValueError(f'{op}: at least 1 layer was required; got {depth} for "depth".')
    make = vmap(lambda key: kind.init(features, num_heads, key=key, **options))
    if final_norm is None:
        final_norm = options.get("norm_first", False)
    norm = None
    if final_norm:
        norm = LayerNorm.init(features, bias=options.get("bias", True), dtype=options.get("dtype"))
    return make(random.split(key, depth)), norm


def _run(
    stack: Any, op: str, x: Any, apply: Callable[..., Any], xs: Any, cache: KVCache | None,
    training: bool | None, key: Any,
) -> Any:  # fmt: skip
    """All layers, and the norm: ``apply(layer, x, some of xs, cache=, training=, key=)``."""
    layers = stack.layers
    x = operand(op, x)
    # The loop carries one dtype: that in which the layers add.
    weight = layers.linear2.weight
    x = x.astype(jnp.result_type(x, weight))
    depth = weight.shape[0]
    dropping = _dropping(op, layers.dropout.rate, training, key)
    keys = random.split(key, depth) if dropping else None

    def step(carry: Any, of_layer: Any) -> tuple[Any, None]:
        x, cache = carry
        layer, number, key, rest = of_layer
        options = {"training": dropping, "key": key}
        if cache is None:
            return (apply(layer, x, rest, **options), None), None
        # All layers write behind the same length, that of before.
        x, new = apply(layer, x, rest, cache=cache.replace(layer=number), **options)
        return (x, new.replace(layer=None, length=cache.length)), None

    body = checkpoint(step) if stack.remat else step
    numbers = iota(np.int32, depth)
    (y, new), _ = scan(body, (x, cache), (layers, numbers, keys, xs))
    if stack.norm is not None:
        y = stack.norm(y)
    return y if new is None else (y, new.replace(length=new.length + x.shape[-2]))


def _empty_cache(layers: Any, batch_shape: Sequence[int], max_length: int, dtype: Any) -> KVCache:
    depth = layers.linear2.weight.shape[0]
    return layers.self_attn.init_cache((depth, *batch_shape), max_length, dtype)


@module
class TransformerEncoder:
    """A stack of `TransformerEncoderLayer`; a language model's, if it is called with causal=True.

    Attributes:
        layers: a `TransformerEncoderLayer` whose leaves have a leading axis, one entry a layer
            (torch has ``layers.0``, ``layers.1``, ...).
        norm: after the last layer, or None.
        remat: whether the backward pass recomputes what happens inside of layers, and keeps only
            what goes from one to the next.

    Example:
        >>> import nr
        >>> encoder = nr.nn.TransformerEncoder.init(
        ...     6, 64, 8, key=nr.random.key(0), norm_first=True, rotary=nr.nn.Rotary()
        ... )
        >>> encoder.layers.linear1
        Linear(weight=f32[6,64,256], bias=f32[6,256])
        >>> x = nr.random.normal(nr.random.key(1), (2, 10, 64))
        >>> y = encoder(x, causal=True)
        >>> cache = encoder.init_cache((2,), max_length=16)
        >>> first, cache = encoder(x[:, :9], cache=cache)
        >>> last, cache = encoder(x[:, 9:], cache=cache)
        >>> bool(abs(y[:, 9:] - last).max() < 1e-5)
        True
    """

    layers: TransformerEncoderLayer
    norm: Any = None
    remat: bool = static(default=False)

    @classmethod
    def init(
        cls,
        depth: int,
        features: int,
        num_heads: int,
        *,
        key: Any,
        final_norm: bool | None = None,
        remat: bool = False,
        **options: Any,
    ) -> TransformerEncoder:
        """Make a stack.

        Args:
            depth: the number of layers, at least 1.
            features: of inputs and results.
            num_heads: of attention.
            key: for the weights.
            final_norm: whether there is one; by default if norms come first.
            remat: as the attribute.
            **options: those of `TransformerEncoderLayer.init`.
        """
        op, kind = "TransformerEncoder", TransformerEncoderLayer
        return cls(*_stacked(op, kind, depth, features, num_heads, key, final_norm, options), remat)

    def init_cache(self, batch_shape: Sequence[int], max_length: int, dtype: Any = None) -> KVCache:
        """An empty cache for all layers: that of `MultiHeadAttention` with a leading axis."""
        return _empty_cache(self.layers, batch_shape, max_length, dtype)

    def __call__(
        self,
        x: Any,
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
        """Apply all layers, and the norm.

        Args:
            x: [..., T, features].
            mask, bias, causal, lengths, positions: as for `MultiHeadAttention`; the same for all
                layers.
            cache: made by `init_cache`.
            training: required if there is dropout.
            key: for dropout in training.

        Returns:
            [..., T, features]; with a cache ``(y, cache)``, of which the second is the new one.
        """

        def apply(layer: Any, x: Array, _: None, **options: Any) -> Any:
            return layer(
                x, mask=mask, bias=bias, causal=causal, lengths=lengths, positions=positions,
                **options,
            )  # fmt: skip

        return _run(self, "TransformerEncoder", x, apply, None, cache, training, key)


@module
class TransformerDecoder:
    """A stack of `TransformerDecoderLayer`.

    Attributes:
        layers: a `TransformerDecoderLayer` whose leaves have a leading axis, one entry a layer.
        norm: after the last layer, or None.
        remat: as in `TransformerEncoder`.

    Example:
        >>> import nr
        >>> decoder = nr.nn.TransformerDecoder.init(6, 64, 8, key=nr.random.key(0))
        >>> decoder(nr.numpy.ones((2, 10, 64)), nr.numpy.ones((2, 7, 64))).shape
        (2, 10, 64)
    """

    layers: TransformerDecoderLayer
    norm: Any = None
    remat: bool = static(default=False)

    @classmethod
    def init(
        cls,
        depth: int,
        features: int,
        num_heads: int,
        *,
        key: Any,
        final_norm: bool | None = None,
        remat: bool = False,
        **options: Any,
    ) -> TransformerDecoder:
        """Make a stack.

        Args:
            depth, features, num_heads, key, final_norm, remat: as for `TransformerEncoder`.
            **options: those of `TransformerDecoderLayer.init`.
        """
        op, kind = "TransformerDecoder", TransformerDecoderLayer
        return cls(*_stacked(op, kind, depth, features, num_heads, key, final_norm, options), remat)

    def init_cache(self, batch_shape: Sequence[int], max_length: int, dtype: Any = None) -> KVCache:
        """An empty cache for all layers' self-attention."""
        return _empty_cache(self.layers, batch_shape, max_length, dtype)

    def project(self, memory: Any) -> KVCache:
        """Keys and values of a memory for all layers, to attend to many times.

        Args:
            memory: [..., S, features].

        Returns:
            What can be given in place of the memory.
        """
        made = vmap(lambda attention: attention.project(memory))(self.layers.multihead_attn)
        return made.replace(length=made.length[0])

    def __call__(
        self,
        x: Any,
        memory: Any,
        *,
        mask: Any = None,
        bias: Any = None,
        causal: bool = True,
        lengths: Any = None,
        memory_mask: Any = None,
        memory_lengths: Any = None,
        positions: Any = None,
        cache: KVCache | None = None,
        training: bool | None = None,
        key: Any = None,
    ) -> Any:
        """Apply all layers, and the norm.

        Args:
            x: [..., T, features].
            memory: [..., S, features], or what `project` made of it.
            mask, bias, causal, lengths, memory_mask, memory_lengths, positions: as for
                `TransformerDecoderLayer`; the same for all layers.
            cache: made by `init_cache`.
            training: required if there is dropout.
            key: for dropout in training.

        Returns:
            [..., T, features]; with a cache ``(y, cache)``, of which the second is the new one.
        """
        made = (memory.key, memory.value) if isinstance(memory, KVCache) else None

        def apply(layer: Any, x: Array, made: Any, **options: Any) -> Any:
            seen = memory if made is None else KVCache(made[0], made[1], memory.length)
            return layer(
                x, seen, mask=mask, bias=bias, causal=causal, lengths=lengths,
                memory_mask=memory_mask, memory_lengths=memory_lengths, positions=positions,
                **options,
            )  # fmt: skip

        return _run(self, "TransformerDecoder", x, apply, made, cache, training, key)
