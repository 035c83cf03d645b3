"""Training steps and inference of whole models, with PyTorch's best programs for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

from programs.models import (
    GPT,
    adam_seen,
    adam_setup,
    adam_step,
    mlp_flops,
    mlp_inputs,
    mlp_loss,
    sgd_step,
)
from programs.steps import adam_averages, torch_adam, torch_step

MODEL = GPT()


# ---------------------------------------------------------------- PyTorch
def _torch_mlp_loss(params: Any, x: Any, labels: Any) -> Any:
    from torch.nn import functional as f

    for layer in params[:-1]:
        x = f.relu(f.linear(x, layer["w"], layer["b"]))
    return f.cross_entropy(f.linear(x, params[-1]["w"], params[-1]["b"]), labels)


def _linear_layout(params: Any) -> list:
    """The weights as PyTorch's layers keep them: f32[out, in]."""
    return [{"w": p["w"].t().contiguous(), "b": p["b"]} for p in params]


def _torch_gpt_logits(params: Any, tokens: Any) -> Any:
    from torch.nn import functional as f

    b, t = tokens.shape
    d, heads = MODEL.width, MODEL.heads

    def norm(p: Any, x: Any) -> Any:
        return f.layer_norm(x, (d,), p["scale"], p["bias"], 1e-5)

    x = params["embed"][tokens] + params["position"][:t]
    for p in params["blocks"]:
        parts = (norm(p["norm1"], x) @ p["qkv"]).split(d, -1)
        q, k, v = (part.reshape(b, t, heads, d // heads).transpose(1, 2) for part in parts)
        out = f.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + out.transpose(1, 2).reshape(b, t, d) @ p["out"]
        h = norm(p["norm2"], x) @ p["up"]["w"] + p["up"]["b"]
        h = f.gelu(h, approximate="tanh")
        x = x + h @ p["down"]["w"] + p["down"]["b"]
    return norm(params["norm"], x) @ params["embed"].T


def _torch_gpt_loss(params: Any, tokens: Any) -> Any:
    from torch.nn.functional import cross_entropy

    logits = _torch_gpt_logits(params, tokens[:, :-1])
    return cross_entropy(logits.reshape(-1, MODEL.vocabulary), tokens[:, 1:].reshape(-1))


def _mlp_sgd_torch(fused: bool = True, compiled: bool = False) -> Callable:
    def build(params: Any, x: Any, labels: Any) -> Callable[[], Any]:
        import torch

        return torch_step(
            _torch_mlp_loss,
            _linear_layout(params),
            (x, labels.long()),
            lambda parts: torch.optim.SGD(parts, 0.1, fused=fused, foreach=not fused),
            lambda rule, parts: [p.detach().t() for p in parts],
            compiled,
        )

    return build


def _mlp_adam_torch(fused: bool = True, compiled: bool = False) -> Callable:
    def build(params: Any, x: Any, labels: Any) -> Callable[[], Any]:
        def seen(rule: Any, parts: list) -> list:
            return [[m.t() for m in means] for means in adam_averages(rule, parts)]

        return torch_step(
            _torch_mlp_loss,
            _linear_layout(params),
            (x, labels.long()),
            torch_adam(fused),
            seen,
            compiled,
        )

    return build


def _gpt_torch(compiled: bool) -> Callable:
    def build(params: Any, tokens: Any) -> Callable[[], Any]:
        return torch_step(
            _torch_gpt_loss, params, (tokens.long(),), torch_adam(True), adam_averages, compiled
        )

    return build


def _gpt_inference_torch(compiled: bool) -> Callable:
    def build(params: Any, tokens: Any) -> Callable[[], Any]:
        import torch

        def run(tokens: Any) -> Any:
            return _torch_gpt_logits(params, tokens)

        f = torch.compile(run) if compiled else run
        return lambda: f(tokens)

    return build


# ---------------------------------------------------------------- rows
def _mlp_sgd_seen(out: tuple) -> list:
    params, value = out
    return [value, params]


def _gpt_tokens() -> tuple:
    params, tokens = MODEL.inputs()
    return params, np.ascontiguousarray(tokens[:, :-1])


_WHY = "The floor is at MKL's rate; nr's products, most of all at these sizes, are slower."

ROWS = [
    Row(
        "MLP 784-512-512-10 step, SGD",
        "training",
        inputs=mlp_inputs,
        program=lambda lib: sgd_step(lib, mlp_loss(lib)),
        carry=1,
        seen=_mlp_sgd_seen,
        torch={
            "eager, fused": _mlp_sgd_torch(),
            "eager, foreach": _mlp_sgd_torch(fused=False),
            "compile, fused": _mlp_sgd_torch(compiled=True),
        },
        flops=mlp_flops(),
        grad=True,
        tolerance=3e-5,  # biases start at 0, so theirs is the gradient's own relative error
        floor_factor=1.6,
        why=_WHY,
    ),
    Row(
        "MLP 784-512-512-10 step, Adam",
        "training",
        inputs=mlp_inputs,
        program=lambda lib: adam_step(lib, mlp_loss(lib)),
        setup=adam_setup,
        carry=2,
        seen=adam_seen,
        torch={
            "eager, fused": _mlp_adam_torch(),
            "eager, foreach": _mlp_adam_torch(fused=False),
            "compile, fused": _mlp_adam_torch(compiled=True),
        },
        flops=mlp_flops(),
        grad=True,
        tolerance=3e-5,  # three layers of float32 products, squared
        floor_factor=1.6,
        why=_WHY,
    ),
    Row(
        "GPT, 4 layers: step, Adam",
        "training",
        inputs=MODEL.inputs,
        program=lambda lib: adam_step(lib, MODEL.loss(lib)),
        setup=adam_setup,
        carry=2,
        seen=adam_seen,
        torch={"eager, fused": _gpt_torch(False), "compile, fused": _gpt_torch(True)},
        flops=MODEL.flops(training=True),
        grad=True,
        tolerance=1e-4,  # a dozen float32 products and norms deep, squared
        floor_factor=1.6,
        why=_WHY,
    ),
    Row(
        "GPT, 4 layers: inference",
        "training",
        inputs=_gpt_tokens,
        program=MODEL.logits,
        held=1,
        torch={"eager": _gpt_inference_torch(False), "compile": _gpt_inference_torch(True)},
        flops=MODEL.flops(training=False),
        tolerance=1e-4,  # a dozen float32 products and norms deep
        floor_factor=1.6,
        why=_WHY,
    ),
]
