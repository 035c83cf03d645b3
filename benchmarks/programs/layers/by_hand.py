"""The models of the layers' rows written by hand, and their inputs, which all libraries get.

The CNN and the ResNet are those of `programs.convolution`; the GPT and the ViT are made of the
blocks of `programs.transformer`. Names in parameters are those that `programs.ops` asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from programs.convolution import (
    CLASSES,
    RESNET18,
    Maker,
    cnn_inputs,
    cnn_loss,
    resnet_loss,
    resnet_params,
    stats_of,
)
from programs.models import cross_entropy
from programs.transformer import Encoder, dense

__all__ = [
    "CLASSES",
    "cnn_inputs",
    "cnn_loss",
    "gpt_inputs",
    "gpt_loss",
    "language_model_inputs",
    "language_model_loss",
    "resnet_inputs",
    "resnet_loss",
    "stacked",
    "vit_inputs",
    "vit_loss",
]

RESNET_BATCH = 32
VOCABULARY = 1000
GPT, GPT_BATCH, GPT_LENGTH = Encoder(6, 256, 4, causal=True), 8, 128
VIT, VIT_BATCH, SIZE, PATCH = Encoder(6, 192, 3), 16, 32, 4
LSTM_LAYERS, LSTM_WIDTH, LSTM_BATCH, LSTM_LENGTH = 2, 256, 32, 64


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32) * np.float32(0.02)


def _tokens(rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
    return rng.integers(0, VOCABULARY, (batch, length + 1), np.int32)


def stacked(np_: Any, blocks: list) -> Any:
    """One tree for many of the same structure, its leaves stacked."""
    if isinstance(blocks[0], dict):
        return {key: stacked(np_, [p[key] for p in blocks]) for key in blocks[0]}
    return np_.stack(blocks)


# ---------------------------------------------------------------- ResNet-18
def resnet_inputs() -> tuple:
    """Parameters, running averages, 32x32 images and classes."""
    make = Maker()
    params = resnet_params(make, 3, *RESNET18, CLASSES)
    return params, stats_of(params), *make.images(RESNET_BATCH, 32, 32, 3)


# ---------------------------------------------------------------- LSTM language model
def language_model_inputs() -> tuple:
    """Parameters, no averages, tokens."""
    rng, d = np.random.default_rng(0), LSTM_WIDTH

    def cell() -> dict:
        # The forget gates' biases keep the memory, as is usual.
        bias = np.zeros(4 * d, np.float32)
        bias[d : 2 * d] = 1
        weights = rng.standard_normal((2, d, 4 * d), np.float32) * np.float32(d**-0.5)
        return {"wx": weights[0], "wh": weights[1], "b": bias}

    params = {
        "embed": rng.standard_normal((VOCABULARY, d), np.float32),
        "cells": [cell() for _ in range(LSTM_LAYERS)],
        "head": dense(rng, d, VOCABULARY),
    }
    return params, {}, _tokens(rng, LSTM_BATCH, LSTM_LENGTH)


def language_model_loss(ops: Any, params: Any, stats: Any, tokens: Any) -> Any:
    """The mean cross entropy of the next token; products with inputs are done at once."""
    lib = ops.lib
    np_ = lib.numpy
    x = np_.swapaxes(params["embed"][tokens[:, :-1]], 0, 1)
    for p in params["cells"]:

        def step(carry: Any, projected: Any, wh: Any = p["wh"]) -> Any:
            h, c = carry
            i, f, g, o = np_.split(projected + h @ wh, 4, axis=-1)
            c = ops.sigmoid(f) * c + ops.sigmoid(i) * np_.tanh(g)
            h = ops.sigmoid(o) * np_.tanh(c)
            return (h, c), h

        zeros = np_.zeros(x.shape[1:], x.dtype)
        _, x = lib.lax.scan(step, (zeros, zeros), x @ p["wx"] + p["b"])
    logits = ops.dense(params["head"], np_.swapaxes(x, 0, 1))
    return cross_entropy(lib, logits, tokens[:, 1:])


def language_model_flops() -> float:
    """Each cell's two products and the head's, and two more each for gradients."""
    per_token = LSTM_LAYERS * 8 * LSTM_WIDTH**2 + LSTM_WIDTH * VOCABULARY
    return 3 * 2.0 * LSTM_BATCH * LSTM_LENGTH * per_token


# ---------------------------------------------------------------- GPT
def gpt_inputs() -> tuple:
    """Parameters, no averages, tokens."""
    rng = np.random.default_rng(0)
    params = {
        "embed": _normal(rng, VOCABULARY, GPT.width),
        "position": _normal(rng, GPT_LENGTH, GPT.width),
        "encoder": GPT.params(rng),
    }
    return params, {}, _tokens(rng, GPT_BATCH, GPT_LENGTH)


def gpt_loss(ops: Any, params: Any, stats: Any, tokens: Any) -> Any:
    """The mean cross entropy of the next token; the embedding is the head."""
    x = params["embed"][tokens[:, :-1]] + params["position"]
    logits = GPT(ops, params["encoder"], x) @ params["embed"].T
    labels = tokens[:, 1:].reshape(-1)
    return ops.cross_entropy(logits.reshape(len(labels), -1), labels)


def gpt_flops() -> float:
    head = 2.0 * GPT_BATCH * GPT_LENGTH * GPT.width * VOCABULARY
    return 3 * (GPT.flops(GPT_BATCH, GPT_LENGTH) + head)


# ---------------------------------------------------------------- ViT
def vit_inputs() -> tuple:
    """Parameters, no averages, 32x32 images and classes."""
    make = Maker()
    d, tokens = VIT.width, (SIZE // PATCH) ** 2 + 1
    params = {
        "patch": make.conv(PATCH, 3, d),
        "token": _normal(make.rng, 1, 1, d),
        "position": _normal(make.rng, 1, tokens, d),
        "encoder": VIT.params(make.rng),
        "head": make.head(d),
    }
    return params, {}, *make.images(VIT_BATCH, SIZE, SIZE, 3)


def vit_loss(ops: Any, params: Any, stats: Any, x: Any, labels: Any) -> Any:
    """The mean cross entropy of the classes; Dosovitskiy et al. (2020)."""
    x = ops.tokens(ops.conv(params["patch"], x, PATCH, pad=0))
    x = ops.prepend(params["token"], x) + params["position"]
    x = VIT(ops, params["encoder"], x)[:, 0]
    return ops.cross_entropy(ops.dense(params["head"], x), labels)


def vit_flops() -> float:
    tokens = (SIZE // PATCH) ** 2
    patches = 2.0 * VIT_BATCH * tokens * PATCH**2 * 3 * VIT.width
    head = 2.0 * VIT_BATCH * VIT.width * CLASSES
    return 3 * (patches + head + VIT.flops(VIT_BATCH, tokens + 1)) - patches
