"""A ResNet-18 for 32x32 images, with batch norm and dropout, and its training step."""

from functools import partial

import nr
from nr import nn, optim

conv3x3 = partial(nn.Conv.init, kernel_size=(3, 3), padding=1, bias=False)


@nn.module
class Block:
    conv1: nn.Conv
    norm1: nn.BatchNorm
    conv2: nn.Conv
    norm2: nn.BatchNorm
    shortcut: nn.Sequential | None

    @classmethod
    def init(cls, inputs, outputs, stride, *, key):
        key1, key2, key3 = nr.random.split(key, 3)
        conv1 = conv3x3(inputs, outputs, stride=stride, key=key1)
        conv2 = conv3x3(outputs, outputs, key=key2)
        shortcut = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv.init(inputs, outputs, (1, 1), stride=stride, bias=False, key=key3)
            shortcut = nn.Sequential([conv, nn.BatchNorm.init(outputs)])
        norms = nn.BatchNorm.init(outputs), nn.BatchNorm.init(outputs)
        return cls(conv1, norms[0], conv2, norms[1], shortcut)

    def __call__(self, x, *, training):
        y, norm1 = self.norm1(self.conv1(x), training=training)
        y, norm2 = self.norm2(self.conv2(nn.relu(y)), training=training)
        shortcut = self.shortcut
        if shortcut is not None:
            x, shortcut = shortcut(x, training=training)
        return nn.relu(x + y), self.replace(norm1=norm1, norm2=norm2, shortcut=shortcut)


def resnet18(classes, *, key):
    keys = iter(nr.random.split(key, 10))
    layers = [conv3x3(3, 64, key=next(keys)), nn.BatchNorm.init(64), nn.relu]
    inputs = 64
    for outputs in (64, 128, 256, 512):
        layers.append(Block.init(inputs, outputs, 1 if outputs == 64 else 2, key=next(keys)))
        layers.append(Block.init(outputs, outputs, 1, key=next(keys)))
        inputs = outputs
    head = nn.Linear.init(512, classes, key=next(keys))
    pool = partial(nn.global_avg_pool, rank=2)
    return nn.Sequential([*layers, pool, nn.Dropout(0.1), head])


def loss(model, images, labels, key):
    logits, model = model(images, key=key, training=True)
    return nn.softmax_cross_entropy(logits, labels), model


def make_step(optimizer):
    @partial(nr.jit, donate_argnums=(0, 1))
    def step(model, state, images, labels, key):
        grad = nr.value_and_grad(loss, has_aux=True)
        (value, new), grads = grad(model, images, labels, key)
        updates, state = optimizer.update(grads, state, model)
        return optim.apply_updates(new, updates), state, value

    return step
