"""A ResNet-18 for 32x32 images, with batch norm and dropout, and its training step: Flax NNX."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx

conv3x3 = partial(nnx.Conv, kernel_size=(3, 3), use_bias=False)


class Block(nnx.Module):
    def __init__(self, inputs, outputs, stride, *, rngs):
        self.conv1 = conv3x3(inputs, outputs, strides=stride, rngs=rngs)
        self.norm1 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        self.conv2 = conv3x3(outputs, outputs, rngs=rngs)
        self.norm2 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        self.shortcut = nnx.Sequential()
        if stride != 1 or inputs != outputs:
            conv = nnx.Conv(inputs, outputs, (1, 1), strides=stride, use_bias=False, rngs=rngs)
            self.shortcut = nnx.Sequential(conv, nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs))

    def __call__(self, x):
        y = self.norm1(self.conv1(x))
        y = self.norm2(self.conv2(nnx.relu(y)))
        return nnx.relu(self.shortcut(x) + y)


def resnet18(classes, *, rngs):
    layers = [conv3x3(3, 64, rngs=rngs), nnx.BatchNorm(64, momentum=0.9, rngs=rngs), nnx.relu]
    inputs = 64
    for outputs in (64, 128, 256, 512):
        layers.append(Block(inputs, outputs, 1 if outputs == 64 else 2, rngs=rngs))
        layers.append(Block(outputs, outputs, 1, rngs=rngs))
        inputs = outputs
    head = nnx.Linear(512, classes, rngs=rngs)
    pool = partial(jnp.mean, axis=(1, 2))
    return nnx.Sequential(*layers, pool, nnx.Dropout(0.1, rngs=rngs), head)


def loss(model, images, labels):
    losses = optax.softmax_cross_entropy_with_integer_labels(model(images), labels)
    return losses.mean()


@nnx.jit
def step(model, optimizer, images, labels):
    model.train()
    value, grads = nnx.value_and_grad(loss)(model, images, labels)
    optimizer.update(model, grads)
    return value


def main():
    model = resnet18(10, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1, momentum=0.9), wrt=nnx.Param)
    images = jax.random.normal(jax.random.key(0), (4, 32, 32, 3))
    return step(model, optimizer, images, jnp.arange(4))


if __name__ == "__main__":
    print(main())
