"""Transformers without masks: ViT-Tiny, and a 6-layer encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Encoder:
    """Sizes of a stack of encoder blocks, normalized before each part.

    Causal ones are a GPT's, with its approximation of GELU.
    """

    layers: int
    width: int
    heads: int
    causal: bool = False

    def params(self, rng: np.random.Generator) -> dict:
        """The blocks and the last norm."""
        d = self.width

        def norm() -> dict:
            return {"scale": np.ones(d, np.float32), "bias": np.zeros(d, np.float32)}

        def block() -> dict:
            return {
                "norm1": norm(),
                "norm2": norm(),
                "qkv": dense(rng, d, 3 * d),
                "out": dense(rng, d, d),
                "up": dense(rng, d, 4 * d),
                "down": dense(rng, 4 * d, d),
            }

        return {"blocks": [block() for _ in range(self.layers)], "norm": norm()}

    def __call__(self, ops: Any, params: Any, x: Any) -> Any:
        """f32[batch, length, width] of the same."""
        for p in params["blocks"]:
            qkv = ops.dense(p["qkv"], ops.layer_norm(p["norm1"], x))
            x = x + ops.dense(p["out"], ops.attention(qkv, self.heads, self.causal))
            h = ops.gelu(ops.dense(p["up"], ops.layer_norm(p["norm2"], x)), self.causal)
            x = x + ops.dense(p["down"], h)
        return ops.layer_norm(params["norm"], x)

    def flops(self, batch: int, length: int) -> float:
        """Of the matrix products."""
        per_token = 12 * self.width**2 + 2 * length * self.width
        return 2.0 * batch * length * self.layers * per_token


def dense(rng: np.random.Generator, m: int, n: int) -> dict:
    """A dense layer's parameters."""
    kernel = rng.standard_normal((m, n), np.float32) * np.float32(0.02)
    return {"dense": kernel, "b": np.zeros(n, np.float32)}


# ---------------------------------------------------------------- 6-layer encoder
ENCODER, BATCH, LENGTH = Encoder(6, 256, 4), 8, 128


def _encoder_inputs() -> tuple:
    rng = np.random.default_rng(0)
    return ENCODER.params(rng), rng.standard_normal((BATCH, LENGTH, ENCODER.width), np.float32)


def _encoder_module(params: Any, x: Any) -> Callable[[], Any]:
    """torch.nn's own encoder, which has kernels for whole layers in inference."""
    import torch

    d = ENCODER.width
    layer = torch.nn.TransformerEncoderLayer(
        d, ENCODER.heads, 4 * d, 0.0, "gelu", batch_first=True, norm_first=True
    )
    last = torch.nn.LayerNorm(d)
    net = torch.nn.TransformerEncoder(layer, ENCODER.layers, last, enable_nested_tensor=False)
    names = {
        "norm1": ("norm1.weight", "norm1.bias"),
        "norm2": ("norm2.weight", "norm2.bias"),
        "qkv": ("self_attn.in_proj_weight", "self_attn.in_proj_bias"),
        "out": ("self_attn.out_proj.weight", "self_attn.out_proj.bias"),
        "up": ("linear1.weight", "linear1.bias"),
        "down": ("linear2.weight", "linear2.bias"),
    }

    def pair(p: Any) -> tuple:
        return (p["dense"].t(), p["b"]) if "dense" in p else (p["scale"], p["bias"])

    values = dict(zip(("norm.weight", "norm.bias"), pair(params["norm"])))
    for i, p in enumerate(params["blocks"]):
        for key, pieces in names.items():
            values.update({f"layers.{i}.{n}": v for n, v in zip(pieces, pair(p[key]))})
    net.load_state_dict(values)
    net.eval()
    return lambda: net(x)


# ---------------------------------------------------------------- ViT-Tiny
VIT, PATCH, SIZE, CLASSES = Encoder(12, 192, 3), 16, 224, 1000
VIT_BATCH, VIT_TRAINING_BATCH = 4, 2
TOKENS = (SIZE // PATCH) ** 2 + 1


def _vit_params(rng: np.random.Generator) -> dict:
    d = VIT.width

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) * np.float32(0.02)

    return {
        "patch": {"conv": normal(PATCH, PATCH, 3, d), "b": np.zeros(d, np.float32)},
        "token": normal(1, 1, d),
        "position": normal(1, TOKENS, d),
        "encoder": VIT.params(rng),
        "head": dense(rng, d, CLASSES),
    }


def _vit(ops: Any, params: Any, x: Any) -> Any:
    """Logits of images; Dosovitskiy et al. (2020), in the size of Touvron et al. (2020)."""
    x = ops.tokens(ops.conv(params["patch"], x, PATCH, pad=0))
    x = ops.prepend(params["token"], x) + params["position"]
    return ops.dense(params["head"], VIT(ops, params["encoder"], x)[:, 0])


def _vit_loss(ops: Any, params: Any, stats: Any, x: Any, labels: Any) -> Any:
    return ops.cross_entropy(_vit(ops, params, x), labels)


def _vit_inputs() -> tuple:
    rng = np.random.default_rng(0)
    return _vit_params(rng), rng.standard_normal((VIT_BATCH, SIZE, SIZE, 3), np.float32)


def _vit_training_inputs() -> tuple:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((VIT_TRAINING_BATCH, SIZE, SIZE, 3), np.float32)
    return _vit_params(rng), {}, x, rng.integers(0, CLASSES, VIT_TRAINING_BATCH, np.int32)


def _vit_flops(batch: int, training: bool) -> float:
    patches = 2.0 * batch * (TOKENS - 1) * PATCH**2 * 3 * VIT.width
    forward = patches + 2.0 * batch * VIT.width * CLASSES + VIT.flops(batch, TOKENS)
    return 3 * forward - patches if training else forward  # pixels need no gradient


# ---------------------------------------------------------------- rows
ROWS = [
    Row(
        "encoder, 6 layers, d 256, T 128: inference",
        "transformer",
        inputs=_encoder_inputs,
        program=infer_program(ENCODER),
        held=1,
        torch={
            "eager": infer_torch(ENCODER),
            "nn.TransformerEncoder": _encoder_module,
            "compile": infer_torch(ENCODER, compiled=True),
        },
        onnx=infer_onnx(ENCODER),
        flops=ENCODER.flops(BATCH, LENGTH),
        tolerance=1e-4,  # two dozen float32 products and norms deep
    ),
    Row(
        "ViT-Tiny inference, 4x224x224x3",
        "transformer",
        inputs=_vit_inputs,
        program=infer_program(_vit),
        held=1,
        torch={"eager": infer_torch(_vit), "compile": infer_torch(_vit, compiled=True)},
        onnx=infer_onnx(_vit),
        flops=_vit_flops(VIT_BATCH, training=False),
        tolerance=1e-4,  # fifty float32 products and norms deep
    ),
    Row(
        "ViT-Tiny step, Adam, 2x224x224x3",
        "transformer",
        inputs=_vit_training_inputs,
        program=train_program(_vit_loss),
        setup=adam_setup,
        carry=3,
        seen=train_seen,
        torch={"eager": train_torch(_vit_loss)},
        flops=_vit_flops(VIT_TRAINING_BATCH, training=True),
        grad=True,
        tolerance=3e-4,  # fifty float32 products and norms deep, squared
    ),
]
