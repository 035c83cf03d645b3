"""Training steps and inference of networks written with ops, in each library."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from row import leaves, tree_map

from programs.models import RATE, adam_seen, adam_update
from programs.ops import LAYOUTS, ChannelsLast, Torch, batch_to_torch, keys, to_torch


# ---------------------------------------------------------------- PyTorch's optimizers
def torch_step(
    loss: Callable,
    params: Any,
    batch: tuple,
    optimizer: Callable[[list], Any],
    seen: Callable[[Any, list], Any],
    compiled: bool,
) -> Callable[[], Any]:
    """A training step that returns the loss and what ``seen`` takes from the optimizer."""
    import torch

    parts = [p.requires_grad_() for p in leaves(params)]
    if compiled:
        loss = torch.compile(loss)
    rule = optimizer(parts)

    def step() -> Any:
        rule.zero_grad()
        value = loss(params, *batch)
        value.backward()
        rule.step()
        return [value.detach(), seen(rule, parts)]

    return step


def adam_averages(rule: Any, parts: list) -> list:
    states = [rule.state[p] for p in parts]
    return [[s[key] for s in states] for key in ("exp_avg", "exp_avg_sq")]


def torch_adam(fused: bool) -> Callable:
    def make(parts: list) -> Any:
        import torch

        return torch.optim.Adam(parts, RATE, fused=fused, foreach=not fused)

    return make


# ---------------------------------------------------------------- training of networks
def train_program(loss: Callable) -> Callable:
    """From a loss (ops, params, stats, *batch), which may change stats, to a Row's program.

    A step of Adam: (params, state, stats, *batch) -> (params, state, stats, loss).
    """

    def program(lib: Any) -> Callable:
        ops, update = ChannelsLast(lib), adam_update(lib)

        def step(params: Any, state: Any, stats: Any, *batch: Any) -> tuple:
            def of(params: Any) -> tuple:
                new = tree_map(lambda x: x, stats)
                return loss(ops, params, new, *batch), new

            (value, new), grads = lib.value_and_grad(of, has_aux=True)(params)
            return *update(params, state, grads), new, value

        return step

    return program


def train_seen(out: tuple) -> list:
    """The loss, Adam's averages, and the statistics."""
    params, state, stats, value = out
    return [adam_seen((params, state, value)), stats]


def train_torch(loss: Callable, compiled: bool = False, channels_last: bool = False) -> Callable:
    """PyTorch's program for such a step."""

    def build(params: Any, stats: Any, *batch: Any) -> Callable[[], Any]:
        ops = Torch()
        back = [LAYOUTS.get(key, (None, lambda x: x))[1] for key in keys(params)]

        def seen(rule: Any, parts: list) -> list:
            return [
                [restore(x) for restore, x in zip(back, means)]
                for means in adam_averages(rule, parts)
            ]

        step = torch_step(
            lambda params, *batch: loss(ops, params, stats, *batch),
            to_torch(params, channels_last),
            tuple(batch_to_torch(x, channels_last) for x in batch),
            torch_adam(True),
            seen,
            compiled,
        )
        return lambda: [step(), stats]

    return build


# ---------------------------------------------------------------- inference of networks
def infer_program(net: Callable) -> Callable:
    """From a network (ops, params, x) to a Row's program."""

    def program(lib: Any) -> Callable:
        ops = ChannelsLast(lib)
        return lambda params, x: net(ops, params, x)

    return program


def infer_torch(net: Callable, compiled: bool = False, channels_last: bool = False) -> Callable:
    """PyTorch's program for a network (ops, params, x)."""

    def build(params: Any, x: Any) -> Callable[[], Any]:
        import torch

        ops, params = Torch(), to_torch(params, channels_last)
        x = batch_to_torch(x, channels_last)

        def run(x: Any) -> Any:
            return net(ops, params, x)

        f = torch.compile(run) if compiled else run
        return lambda: f(x)

    return build


def infer_onnx(net: Callable) -> Callable:
    """ONNX Runtime's session for a network (ops, params, x), exported by PyTorch."""

    def build(params: Any, x: Any) -> Callable[[], Any]:
        import onnxruntime
        import torch

        ops, params = Torch(), to_torch(params, channels_last=False)

        class Module(torch.nn.Module):
            def forward(self, x: Any) -> Any:
                return net(ops, params, x)

        x, file = batch_to_torch(x, channels_last=False), io.BytesIO()
        # The newer exporter would need one more package.
        torch.onnx.export(Module(), (x,), file, dynamo=False, opset_version=18, input_names=["x"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file.getvalue(), options)
        feed = {"x": x.numpy()}
        return lambda: session.run(None, feed)

    return build
