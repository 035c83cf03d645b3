"""Training steps of models built from layers, in each library, and the same by hand with nr.

All start from the same weights and train on one batch with Adam; `by_hand` has the inputs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from row import Row, leaves

from programs.convolution import RESNET18, TRAINING_TARGET, cnn_products, resnet_products
from programs.layers import by_hand, calls
from programs.models import adam_setup
from programs.steps import train_program, train_torch


def _model(library: str, name: str) -> Callable:
    """A function of the row's inputs to a call: that of this name, loaded when it is run."""

    def build(*args: Any) -> Callable[[], Any]:
        module = importlib.import_module(f"programs.layers.{library}_models")
        return getattr(module, name)(*args)

    return build


def _torch(loss: Callable, **options: bool) -> Callable:
    """PyTorch's step of a loss by functions, which layers call: the same kernels, less Python."""

    def build(*args: Any) -> Callable[[], Any]:
        step = train_torch(loss, **options)(*args)
        return lambda: next(leaves(step()))

    return build


def _row(
    title: str,
    name: str,
    flops: float,
    tolerance: float,
    torch: dict[str, Callable] | None = None,
    target: float | None = None,
    why: str = "",
) -> Row:
    loss = getattr(by_hand, f"{name}_loss")
    variants = {"eager": _torch(loss), "compile": _torch(loss, compiled=True)}
    return Row(
        title,
        "layers",
        inputs=getattr(by_hand, f"{name}_inputs"),
        program=train_program(loss),
        setup=adam_setup,
        carry=3,
        seen=lambda out: out[-1],
        nr=_model("nr", name),
        jax={"flax": _model("flax", name), "equinox": _model("equinox", name)},
        torch=variants if torch is None else torch,
        calls=3,
        flops=flops,
        grad=True,
        tolerance=tolerance,
        target=target,
        why=why,
    )


def _images(name: str) -> dict[str, Callable]:
    loss = getattr(by_hand, f"{name}_loss")
    return {
        "eager": _torch(loss),
        "eager, channels_last": _torch(loss, channels_last=True),
        "compile": _torch(loss, compiled=True),
    }


def _training_flops(products: list[float], batch: int) -> float:
    """Three products a layer, less that for the gradient of the images."""
    return batch * (3 * sum(products) - products[0])


# Tolerances are for losses of three steps; Adam's steps have the signs of gradients, so that
# rounding turns a few of them.
ROWS = [
    _row(
        "layers: CNN 32-64, 64x32x32x3",
        "cnn",
        _training_flops(cnn_products(), 64),
        1e-4,
        _images("cnn"),
        TRAINING_TARGET,
    ),
    _row(
        "layers: ResNet-18, 32x32x32x3",
        "resnet",
        _training_flops(resnet_products(32, 3, *RESNET18, by_hand.CLASSES), by_hand.RESNET_BATCH),
        1e-3,  # as ReLUs, too, turn at rounded zeros
        _images("resnet"),
        TRAINING_TARGET,
        "PyTorch's time varies: 1.23, 1.45 and 1.52 in three whole runs of this row on one AMD.",
    ),
    _row(
        "layers: LSTM language model, 2x256, T 64, B 32",
        "language_model",
        by_hand.language_model_flops(),
        1e-4,
        {
            "eager": _model("torch", "language_model"),
            "compile": _model("torch", "compiled_language_model"),
        },
    ),
    _row("layers: GPT, 6 layers, d 256, T 128, B 8", "gpt", by_hand.gpt_flops(), 1e-4),
    _row("layers: ViT, 6 layers, d 192, 16x32x32x3", "vit", by_hand.vit_flops(), 1e-4),
    *calls.ROWS,
]
