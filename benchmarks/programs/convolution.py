"""Convolutional networks: training steps with Adam of small ones, inference of ResNet-18."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from row import Row

from programs.models import adam_setup
from programs.steps import (
    infer_onnx,
    infer_program,
    infer_torch,
    train_program,
    train_seen,
    train_torch,
)

CLASSES = 10
CNN_BATCH, RESNET_BATCH, SEPARABLE_BATCH, VAE_BATCH, RESNET18_BATCH = 64, 32, 32, 128, 8


class Maker:
    """Parameters and images from one seed."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return self.rng.standard_normal(shape, np.float32) * np.float32(scale)

    def kernel(self, *shape: int) -> np.ndarray:
        return self.normal(*shape, scale=(2 / np.prod(shape[:-1])) ** 0.5)

    def conv(self, size: int, m: int, n: int) -> dict:
        return {"conv": self.kernel(size, size, m, n), "b": np.zeros(n, np.float32)}

    def unit(self, size: int, m: int, n: int) -> dict:
        """A convolution and what follows batch norm.

        Biases are not 0: else ReLU and the next norm leave some scales without a gradient.
        """
        return {
            "conv": self.kernel(size, size, m, n),
            "scale": np.ones(n, np.float32),
            "bias": self.normal(n, scale=0.1),
        }

    def head(self, m: int, n: int = CLASSES) -> dict:
        return {"dense": self.normal(m, n, scale=m**-0.5), "b": np.zeros(n, np.float32)}

    def images(self, *shape: int) -> tuple:
        """Pixels and classes."""
        return self.normal(*shape), self.rng.integers(0, CLASSES, shape[0], np.int32)


def stats_of(tree: Any) -> Any:
    """Running averages for every unit in a tree of parameters."""
    if isinstance(tree, list):
        return [stats_of(item) for item in tree]
    if "scale" in tree:
        n = tree["scale"].size
        return {"mean": np.zeros(n, np.float32), "var": np.ones(n, np.float32)}
    return {key: stats_of(item) for key, item in tree.items() if key != "head"}


def _unit(ops: Any, p: Any, stats: Any, x: Any, stride: int = 1, train: bool = True) -> Any:
    return ops.batch_norm(p, stats, ops.conv(p, x, stride), train)


# ---------------------------------------------------------------- CNN
def cnn_inputs() -> tuple:
    """Parameters, no averages, images and classes."""
    make = Maker()
    params = {
        "first": make.conv(3, 3, 32),
        "second": make.conv(3, 32, 64),
        "head": {"flat": make.normal(8, 8, 64, CLASSES, scale=1 / 64), "b": np.zeros(10, "f4")},
    }
    return params, {}, *make.images(CNN_BATCH, 32, 32, 3)


def cnn_loss(ops: Any, params: Any, stats: Any, x: Any, labels: Any) -> Any:
    for key in ("first", "second"):
        x = ops.max_pool(ops.relu(ops.conv(params[key], x)), 2, 2)
    return ops.cross_entropy(ops.flat(params["head"], x), labels)


def cnn_products() -> list[float]:
    """Multiplications and additions of every layer for an image, in order."""
    return [2.0 * 32**2 * 27 * 32, 2.0 * 16**2 * 288 * 64, 2.0 * 4096 * CLASSES]


# ---------------------------------------------------------------- ResNets
def resnet_params(make: Maker, stem: int, widths: Sequence[int], blocks: int, out: int) -> dict:
    """Parameters of basic blocks; all but the first stage halve height and width."""
    made, m = [], widths[0]
    for stage, n in enumerate(widths):
        for i in range(blocks):
            block = {"a": make.unit(3, m, n), "b": make.unit(3, n, n)}
            if stage and not i:
                block["short"] = make.unit(1, m, n)
            made.append(block)
            m = n
    return {"stem": make.unit(stem, 3, widths[0]), "blocks": made, "head": make.head(m, out)}


def _resnet(ops: Any, params: Any, stats: Any, x: Any, train: bool, large: bool = False) -> Any:
    x = ops.relu(_unit(ops, params["stem"], stats["stem"], x, 2 if large else 1, train))
    if large:
        x = ops.max_pool(x, 3, 2, 1)
    for p, s in zip(params["blocks"], stats["blocks"]):
        stride = 2 if "short" in p else 1
        y = ops.relu(_unit(ops, p["a"], s["a"], x, stride, train))
        y = _unit(ops, p["b"], s["b"], y, 1, train)
        if "short" in p:
            x = _unit(ops, p["short"], s["short"], x, stride, train)
        x = ops.relu(x + y)
    return ops.dense(params["head"], ops.mean_pool(x))


def _resnet_inputs() -> tuple:
    make = Maker()
    params = resnet_params(make, 3, (32, 64, 128), 1, CLASSES)
    return params, stats_of(params), *make.images(RESNET_BATCH, 32, 32, 3)


def resnet_loss(ops: Any, params: Any, stats: Any, x: Any, labels: Any) -> Any:
    return ops.cross_entropy(_resnet(ops, params, stats, x, train=True), labels)


def _resnet18_inputs(large: bool) -> Callable[[], tuple]:
    def inputs() -> tuple:
        make = Maker()
        widths = (64, 128, 256, 512)
        params = resnet_params(make, *((7, widths, 2, 1000) if large else (3, widths, 2, 10)))
        x = make.normal(1, 224, 224, 3) if large else make.normal(RESNET18_BATCH, 32, 32, 3)
        return {"net": params, "stats": stats_of(params)}, x

    return inputs


def _resnet18(large: bool) -> Callable:
    def net(ops: Any, params: Any, x: Any) -> Any:
        return _resnet(ops, params["net"], params["stats"], x, train=False, large=large)

    return net


def resnet_products(
    size: int, stem: int, widths: Sequence[int], blocks: int, out: int
) -> list[float]:
    """Multiplications and additions of every convolution for an image, in order."""
    large = stem == 7
    size = size // 2 if large else size
    products, m = [2.0 * size**2 * stem**2 * 3 * widths[0]], widths[0]
    size = size // 2 if large else size
    for stage, n in enumerate(widths):
        size = size // 2 if stage else size
        for i in range(blocks):
            products += [2.0 * size**2 * 9 * m * n, 2.0 * size**2 * 9 * n * n]
            if stage and not i:
                products.append(2.0 * size**2 * m * n)
            m = n
    return [*products, 2.0 * m * out]


# ---------------------------------------------------------------- depthwise-separable network
SEPARABLE = ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1))


def _separable_inputs() -> tuple:
    make = Maker()
    params = {
        "stem": make.unit(3, 3, 32),
        "blocks": [
            {"depth": make.unit(3, 1, m), "point": make.unit(1, m, n)} for m, n, _ in SEPARABLE
        ],
        "head": make.head(SEPARABLE[-1][1]),
    }
    return params, stats_of(params), *make.images(SEPARABLE_BATCH, 32, 32, 3)


def _separable_loss(ops: Any, params: Any, stats: Any, x: Any, labels: Any) -> Any:
    x = ops.relu(_unit(ops, params["stem"], stats["stem"], x))
    for p, s, (_, _, stride) in zip(params["blocks"], stats["blocks"], SEPARABLE):
        x = ops.relu(_unit(ops, p["depth"], s["depth"], x, stride))
        x = ops.relu(_unit(ops, p["point"], s["point"], x))
    return ops.cross_entropy(ops.dense(params["head"], ops.mean_pool(x)), labels)


def _separable_products() -> list[float]:
    products, size = [2.0 * 32**2 * 27 * 32], 32
    for m, n, stride in SEPARABLE:
        size //= stride
        products += [2.0 * size**2 * 9 * m, 2.0 * size**2 * m * n]
    return [*products, 2.0 * SEPARABLE[-1][1] * CLASSES]


# ---------------------------------------------------------------- variational autoencoder
LATENT = 16


def _vae_inputs() -> tuple:
    make = Maker()
    params = {
        "first": make.conv(3, 1, 32),
        "second": make.conv(3, 32, 64),
        "code": {
            "flat": make.normal(7, 7, 64, 2 * LATENT, scale=0.01),
            "b": np.zeros(2 * LATENT, np.float32),
        },
        "image": make.normal(LATENT, 7, 7, 64, scale=0.25),
        "third": {"deconv": make.normal(4, 4, 64, 32, scale=0.06), "b": np.zeros(32, np.float32)},
        "fourth": {"deconv": make.normal(4, 4, 32, 1, scale=0.1), "b": np.zeros(1, np.float32)},
    }
    x = make.rng.random((VAE_BATCH, 28, 28, 1), np.float32)
    return params, {}, x, make.normal(VAE_BATCH, LATENT)


def _vae_loss(ops: Any, params: Any, stats: Any, x: Any, noise: Any) -> Any:
    """The negative evidence lower bound of Kingma and Welling (2013), Bernoulli pixels."""
    h = ops.relu(ops.conv(params["first"], x, 2))
    h = ops.relu(ops.conv(params["second"], h, 2))
    code = ops.flat(params["code"], h)
    mean, log_variance = code[:, :LATENT], code[:, LATENT:]
    z = mean + ops.exp(0.5 * log_variance) * noise
    h = ops.relu(ops.image(params, z))
    h = ops.relu(ops.deconv(params["third"], h))
    logits = ops.deconv(params["fourth"], h)
    distortion = (ops.softplus(logits) - x * logits).sum()
    rate = 0.5 * (ops.exp(log_variance) + mean**2 - 1 - log_variance).sum()
    return (distortion + rate) / VAE_BATCH


def _vae_products() -> list[float]:
    first, second = 14**2 * 9 * 32, 7**2 * 9 * 32 * 64
    # Of a transposed convolution, those that do not meet the zeros between pixels.
    third, fourth = 7**2 * 16 * 64 * 32, 14**2 * 16 * 32
    dense = 7**2 * 64 * 3 * LATENT
    return [2.0 * n for n in (first, second, third, fourth, dense)]


# ---------------------------------------------------------------- rows
# Rounding moves a few of millions of activations over ReLU's kink, and each one changes sums of
# gradients that mostly cancel: in float32 each library is up to 2e-2 from PyTorch's float64. In
# float64 the programs agree to 1e-10 (tests/test_benchmarks.py).
_KINKS = 5e-2


# How often PyTorch's speed the training of a CNN and of a ResNet should have.
TRAINING_TARGET = 1.3


def _training(
    name: str,
    inputs: Callable[[], tuple],
    loss: Callable,
    products: list[float],
    batch: int,
    compiled: bool = False,
    tolerance: float = 1e-4,  # a few float32 layers, squared
    target: float | None = None,
    why: str = "",
) -> Row:
    torch = {
        "eager": train_torch(loss),
        "eager, channels_last": train_torch(loss, channels_last=True),
    }
    if compiled:
        torch["compile"] = train_torch(loss, compiled=True)
    return Row(
        name,
        "convolution",
        inputs=inputs,
        program=train_program(loss),
        setup=adam_setup,
        carry=3,
        seen=train_seen,
        torch=torch,
        # Three products a layer, less that for the gradient of the images.
        flops=batch * (3 * sum(products) - products[0]),
        grad=True,
        tolerance=tolerance,
        target=target,
        why=why,
    )


def _inference(
    name: str,
    large: bool,
    batch: int,
    products: list[float],
    why: str = "",
) -> Row:
    net = _resnet18(large)
    torch = {
        "eager": infer_torch(net),
        "eager, channels_last": infer_torch(net, channels_last=True),
    }
    if not large:  # compiling takes as long as all else in the row
        torch["compile"] = infer_torch(net, compiled=True)
    return Row(
        name,
        "convolution",
        inputs=_resnet18_inputs(large),
        program=infer_program(net),
        held=1,
        torch=torch,
        onnx=infer_onnx(net),
        flops=batch * sum(products),
        tolerance=1e-4,  # twenty float32 products deep
        why=why,
    )


RESNET18 = (64, 128, 256, 512), 2

_DEEP = "Deep layers have few pixels and megabytes of weights, which are read from memory."

ROWS = [
    _training(
        "CNN 32-64 step, Adam, 64x32x32x3",
        cnn_inputs,
        cnn_loss,
        cnn_products(),
        CNN_BATCH,
        compiled=True,
        target=TRAINING_TARGET,
    ),
    _training(
        "small ResNet step, Adam, 32x32x32x3",
        _resnet_inputs,
        resnet_loss,
        resnet_products(32, 3, (32, 64, 128), 1, CLASSES),
        RESNET_BATCH,
        compiled=True,
        tolerance=_KINKS,
        target=TRAINING_TARGET,
        why="Half of it is layers of 32 features, where minimal filtering saves no more than its "
        "transforms cost; a third is batch norms and their gradients, in several passes.",
    ),
    _training(
        "depthwise-separable network step, Adam, 32x32x32x3",
        _separable_inputs,
        _separable_loss,
        _separable_products(),
        SEPARABLE_BATCH,
        tolerance=_KINKS,
    ),
    _training("VAE step, Adam, 128x28x28x1", _vae_inputs, _vae_loss, _vae_products(), VAE_BATCH),
    _inference(
        "ResNet-18 inference, 8x32x32x3",
        False,
        RESNET18_BATCH,
        resnet_products(32, 3, *RESNET18, CLASSES),
        why=_DEEP,
    ),
    _inference(
        "ResNet-18 inference, 1x224x224x3",
        True,
        1,
        resnet_products(224, 7, *RESNET18, 1000),
        why=_DEEP,
    ),
]
