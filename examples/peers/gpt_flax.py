"""A GPT with tied embeddings, and its training step: Flax NNX."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx


class Block(nnx.Module):
    def __init__(self, width, heads, dropout, *, rngs):
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        up = nnx.Linear(width, 4 * width, rngs=rngs)
        down = nnx.Linear(4 * width, width, rngs=rngs)
        self.mlp = nnx.Sequential(up, nnx.gelu, down)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def __call__(self, x):
        mask = nnx.make_causal_mask(x[..., 0])
        x = x + self.dropout(self.attention(self.norm1(x), mask=mask))
        return x + self.dropout(self.mlp(self.norm2(x)))


class GPT(nnx.Module):
    def __init__(self, vocabulary, length, width, heads, depth, *, dropout=0.0, rngs):
        self.tokens = nnx.Embed(vocabulary, width, rngs=rngs)
        self.positions = nnx.Embed(length, width, rngs=rngs)

        @nnx.split_rngs(splits=depth)
        @nnx.vmap(in_axes=0, out_axes=0)
        def make(rngs):
            return Block(width, heads, dropout, rngs=rngs)

        self.blocks = make(rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(self, tokens):
        x = self.tokens(tokens) + self.positions(jnp.arange(tokens.shape[-1]))

        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def apply(x, block):
            return block(x)

        x = apply(x, self.blocks)
        return self.tokens.attend(self.norm(x))


def loss(model, tokens):
    logits = model(tokens[:, :-1])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return losses.mean()


@nnx.jit
def step(model, optimizer, tokens):
    model.train()
    value, grads = nnx.value_and_grad(loss)(model, tokens)
    optimizer.update(model, grads)
    return value


def main():
    model = GPT(100, 32, 64, 4, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adamw(1e-3), wrt=nnx.Param)
    tokens = jax.random.randint(jax.random.key(0), (4, 33), 0, 100)
    return step(model, optimizer, tokens)


if __name__ == "__main__":
    print(main())
