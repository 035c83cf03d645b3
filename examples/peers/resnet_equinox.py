"""A ResNet-18 for 32x32 images, with batch norm and dropout, and its training step: Equinox."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from equinox import nn

conv3x3 = partial(nn.Conv2d, kernel_size=3, padding=1, use_bias=False)
batch_norm = partial(nn.BatchNorm, axis_name="batch", mode="batch")


class Block(eqx.Module):
    conv1: nn.Conv2d
    norm1: nn.BatchNorm
    conv2: nn.Conv2d
    norm2: nn.BatchNorm
    shortcut: nn.Sequential | None

    def __init__(self, inputs, outputs, stride, *, key):
        key1, key2, key3 = jax.random.split(key, 3)
        self.conv1 = conv3x3(inputs, outputs, stride=stride, key=key1)
        self.norm1 = batch_norm(outputs)
        self.conv2 = conv3x3(outputs, outputs, key=key2)
        self.norm2 = batch_norm(outputs)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, use_bias=False, key=key3)
            self.shortcut = nn.Sequential([conv, batch_norm(outputs)])

    def __call__(self, x, state):
        y, state = self.norm1(self.conv1(x), state)
        y, state = self.norm2(self.conv2(jax.nn.relu(y)), state)
        if self.shortcut is not None:
            x, state = self.shortcut(x, state)
        return jax.nn.relu(x + y), state


class ResNet18(eqx.Module):
    stem: nn.Conv2d
    norm: nn.BatchNorm
    blocks: list[Block]
    dropout: nn.Dropout
    head: nn.Linear

    def __init__(self, classes, *, key):
        keys = iter(jax.random.split(key, 10))
        self.stem = conv3x3(3, 64, key=next(keys))
        self.norm = batch_norm(64)
        self.blocks, inputs = [], 64
        for outputs in (64, 128, 256, 512):
            stride = 1 if outputs == 64 else 2
            self.blocks.append(Block(inputs, outputs, stride, key=next(keys)))
            self.blocks.append(Block(outputs, outputs, 1, key=next(keys)))
            inputs = outputs
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(512, classes, key=next(keys))

    def __call__(self, x, state, key):
        x, state = self.norm(self.stem(x), state)
        x = jax.nn.relu(x)
        for block in self.blocks:
            x, state = block(x, state)
        x = self.dropout(jnp.mean(x, (1, 2)), key=key)
        return self.head(x), state


def loss(model, state, images, labels, key):
    keys = jax.random.split(key, len(images))
    batched = jax.vmap(model, axis_name="batch", in_axes=(0, None, 0), out_axes=(0, None))
    logits, state = batched(images, state, keys)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), state


def make_step(optimizer):
    @eqx.filter_jit(donate="all")
    def step(model, state, opt_state, images, labels, key):
        grad = eqx.filter_value_and_grad(loss, has_aux=True)
        (value, state), grads = grad(model, state, images, labels, key)
        params = eqx.filter(model, eqx.is_array)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return eqx.apply_updates(model, updates), state, opt_state, value

    return step


def main():
    key = jax.random.key(0)
    model, state = nn.make_with_state(ResNet18)(10, key=key)
    optimizer = optax.sgd(0.1, momentum=0.9)
    opt_state = optimizer.init(eqx.filter(model, eqx.is_array))
    images = jax.random.normal(key, (4, 3, 32, 32))
    step = make_step(optimizer)
    return step(model, state, opt_state, images, jnp.arange(4), key)[-1]


if __name__ == "__main__":
    print(main())
