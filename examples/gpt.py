"""A GPT with tied embeddings, and its training step."""

from functools import partial

import nr
import nr.numpy as jnp
from nr import nn, optim


@nn.module
class Block:
    norm1: nn.LayerNorm
    attention: nn.MultiHeadAttention
    norm2: nn.LayerNorm
    mlp: nn.Sequential
    dropout: nn.Dropout

    @classmethod
    def init(cls, width, heads, dropout, *, key):
        key1, key2, key3 = nr.random.split(key, 3)
        up = nn.Linear.init(width, 4 * width, key=key1)
        down = nn.Linear.init(4 * width, width, key=key2)
        attention = nn.MultiHeadAttention.init(width, heads, key=key3)
        norms = nn.LayerNorm.init(width), nn.LayerNorm.init(width)
        mlp = nn.Sequential([up, nn.gelu, down])
        return cls(norms[0], attention, norms[1], mlp, nn.Dropout(dropout))

    def __call__(self, x, *, key=None, training):
        key1, key2 = nr.random.split(key) if training else (None, None)
        y = self.attention(self.norm1(x), causal=True)
        x = x + self.dropout(y, key=key1, training=training)
        y = self.mlp(self.norm2(x))
        return x + self.dropout(y, key=key2, training=training)


@nn.module
class GPT:
    tokens: nn.Embedding
    positions: nn.Embedding
    blocks: nn.Stack
    norm: nn.LayerNorm

    @classmethod
    def init(cls, vocabulary, length, width, heads, depth, *, dropout=0.0, key):
        key1, key2, key3 = nr.random.split(key, 3)
        block = partial(Block.init, width, heads, dropout)
        return cls(
            nn.Embedding.init(vocabulary, width, key=key1),
            nn.Embedding.init(length, width, key=key2),
            nn.Stack.init(depth, lambda key: block(key=key), key=key3),
            nn.LayerNorm.init(width),
        )

    def __call__(self, tokens, *, key=None, training=False):
        x = self.tokens(tokens) + self.positions(jnp.arange(tokens.shape[-1]))
        x = self.blocks(x, key=key, training=training)
        return self.tokens.attend(self.norm(x))


def loss(model, tokens, key):
    logits = model(tokens[:, :-1], key=key, training=True)
    return nn.softmax_cross_entropy(logits, tokens[:, 1:])


def make_step(optimizer):
    @partial(nr.jit, donate_argnums=(0, 1))
    def step(model, state, tokens, key):
        value, grads = nr.value_and_grad(loss)(model, tokens, key)
        updates, state = optimizer.update(grads, state, model)
        return optim.apply_updates(model, updates), state, value

    return step
