"""A GPT with tied embeddings, and its training step: Equinox."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from equinox import nn


class Block(eqx.Module):
    norm1: nn.LayerNorm
    attention: nn.MultiheadAttention
    norm2: nn.LayerNorm
    up: nn.Linear
    down: nn.Linear
    dropout: nn.Dropout

    def __init__(self, width, heads, dropout, *, key):
        key1, key2, key3 = jax.random.split(key, 3)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(heads, width, key=key3)
        self.up = nn.Linear(width, 4 * width, key=key1)
        self.down = nn.Linear(4 * width, width, key=key2)
        self.dropout = nn.Dropout(dropout)

    def __call__(self, x, key):
        key1, key2 = jax.random.split(key)
        mask = jnp.tril(jnp.ones((len(x), len(x)), bool))
        y = jax.vmap(self.norm1)(x)
        x = x + self.dropout(self.attention(y, y, y, mask), key=key1)
        y = jax.nn.gelu(jax.vmap(self.up)(jax.vmap(self.norm2)(x)))
        return x + self.dropout(jax.vmap(self.down)(y), key=key2)


class GPT(eqx.Module):
    tokens: nn.Embedding
    positions: nn.Embedding
    blocks: Block
    norm: nn.LayerNorm

    def __init__(self, vocabulary, length, width, heads, depth, *, dropout=0.0, key):
        key1, key2, key3 = jax.random.split(key, 3)
        self.tokens = nn.Embedding(vocabulary, width, key=key1)
        self.positions = nn.Embedding(length, width, key=key2)
        make = eqx.filter_vmap(lambda key: Block(width, heads, dropout, key=key))
        self.blocks = make(jax.random.split(key3, depth))
        self.norm = nn.LayerNorm(width)

    def __call__(self, tokens, key):
        x = self.tokens.weight[tokens] + self.positions.weight[: len(tokens)]
        arrays, static = eqx.partition(self.blocks, eqx.is_array)

        def apply(x, layer):
            arrays, key = layer
            return eqx.combine(arrays, static)(x, key), None

        depth = len(self.blocks.norm1.weight)
        x, _ = jax.lax.scan(apply, x, (arrays, jax.random.split(key, depth)))
        return jax.vmap(self.norm)(x) @ self.tokens.weight.T


def loss(model, tokens, key):
    keys = jax.random.split(key, len(tokens))
    logits = jax.vmap(model)(tokens[:, :-1], keys)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return losses.mean()


def make_step(optimizer):
    @eqx.filter_jit(donate="all")
    def step(model, state, tokens, key):
        value, grads = eqx.filter_value_and_grad(loss)(model, tokens, key)
        updates, state = optimizer.update(grads, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, value

    return step


def main():
    key = jax.random.key(0)
    model = GPT(100, 32, 64, 4, 2, key=key)
    optimizer = optax.adamw(1e-3)
    state = optimizer.init(eqx.filter(model, eqx.is_array))
    tokens = jax.random.randint(key, (4, 33), 0, 100)
    return make_step(optimizer)(model, state, tokens, jax.random.key(1))[-1]


if __name__ == "__main__":
    print(main())
