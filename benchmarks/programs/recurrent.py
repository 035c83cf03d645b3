"""Scans: an LSTM's gradient, and a loop that carries many scalars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row, leaves

LENGTH, BATCH, HIDDEN = 64, 32, 128
CARRIES, STEPS = 60, 1000


# ---------------------------------------------------------------- LSTM
def _lstm_inputs() -> tuple:
    rng = np.random.default_rng(0)

    def weight() -> np.ndarray:
        return rng.standard_normal((HIDDEN, 4 * HIDDEN), np.float32) * np.float32(HIDDEN**-0.5)

    params = {"wx": weight(), "wh": weight(), "b": np.zeros(4 * HIDDEN, np.float32)}
    return params, rng.standard_normal((LENGTH, BATCH, HIDDEN), np.float32)


def _lstm(lib: Any) -> Callable:
    """The gradient of the mean square of all outputs; gates in PyTorch's order i, f, g, o."""
    np_ = lib.numpy

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np_.exp(-x))

    def loss(params: Any, xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            h, c = carry
            gates = x @ params["wx"] + h @ params["wh"] + params["b"]
            i, f, g, o = np_.split(gates, 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * np_.tanh(g)
            h = sigmoid(o) * np_.tanh(c)
            return (h, c), h

        zeros = np_.zeros((BATCH, HIDDEN), np_.float32)
        _, hs = lib.lax.scan(step, (zeros, zeros), xs)
        return (hs**2).mean()

    return lib.value_and_grad(loss)


def _lstm_module(params: Any, xs: Any) -> Callable[[], Any]:
    import torch

    layer = torch.nn.LSTM(HIDDEN, HIDDEN)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(params["wx"].t())
        layer.weight_hh_l0.copy_(params["wh"].t())
        layer.bias_ih_l0.copy_(params["b"])
        layer.bias_hh_l0.zero_()
    layer.bias_hh_l0.requires_grad_(False)
    weights = [layer.bias_ih_l0, layer.weight_hh_l0, layer.weight_ih_l0]

    def run() -> Any:
        value = (layer(xs)[0] ** 2).mean()
        return [value.detach(), [g.t() for g in torch.autograd.grad(value, weights)]]

    return run


def _lstm_loop(params: Any, xs: Any) -> Callable[[], Any]:
    import torch

    weights = [p.requires_grad_() for p in leaves(params)]
    b, wh, wx = weights

    def run() -> Any:
        h = c = torch.zeros(BATCH, HIDDEN)
        hs = []
        for x in xs:
            i, f, g, o = (x @ wx + h @ wh + b).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            hs.append(h)
        value = (torch.stack(hs) ** 2).mean()
        return [value.detach(), torch.autograd.grad(value, weights)]

    return run


def _lstm_flops() -> float:
    """A step's two products, and two more each for gradients; the first inputs need none."""
    product = 2.0 * BATCH * HIDDEN * 4 * HIDDEN
    return LENGTH * product * (2 + 3)


# ---------------------------------------------------------------- many scalars
def _carries() -> tuple:
    values = np.random.default_rng(0).standard_normal(CARRIES, np.float32)
    return ({f"node{i:02}": np.asarray(v) for i, v in enumerate(values)},)


def _coupled(tanh: Callable, state: dict) -> dict:
    """Every node moves towards its neighbour's value."""
    names = sorted(state)
    return {
        name: 0.95 * state[name] + 0.05 * tanh(state[names[i - 1]]) for i, name in enumerate(names)
    }


def _scalars(lib: Any) -> Callable:
    def run(state: dict) -> dict:
        def step(state: dict, _: None) -> tuple:
            return _coupled(lib.numpy.tanh, state), None

        return lib.lax.scan(step, state, None, length=STEPS)[0]

    return run


def _scalars_gradient(lib: Any) -> Callable:
    run = _scalars(lib)
    return lib.grad(lambda state: sum(x**2 for _, x in sorted(run(state).items())))


def _scalars_torch(state: dict) -> Callable[[], Any]:
    import torch

    def run() -> dict:
        now = state
        for _ in range(STEPS):
            now = _coupled(torch.tanh, now)
        return now

    return run


def _scalars_gradient_torch(state: dict) -> Callable[[], Any]:
    import torch

    nodes = [x.requires_grad_() for x in leaves(state)]
    run = _scalars_torch(state)
    return lambda: torch.autograd.grad(sum(x**2 for x in leaves(run())), nodes)


ROWS = [
    Row(
        "LSTM gradient, T 64, B 32, H 128",
        "recurrent",
        inputs=_lstm_inputs,
        program=_lstm,
        torch={"nn.LSTM": _lstm_module, "loop": _lstm_loop},
        flops=_lstm_flops(),
        grad=True,
        tolerance=3e-5,  # 64 steps, each of float32 products, and back
        why="nn.LSTM has kernels for the whole cell; the scan stacks 15 residuals a step, where 7 "
        "would do, and gradients of slices are sums of padded arrays.",
    ),
    Row(
        "scan of 60 scalars, 1,000 steps",
        "recurrent",
        inputs=_carries,
        program=_scalars,
        torch={"eager loop": _scalars_torch},
        tolerance=3e-5,  # 1,000 roundings of sums
    ),
    Row(
        "scan of 60 scalars, gradient (jax#40150)",
        "recurrent",
        inputs=_carries,
        program=_scalars_gradient,
        torch={"eager loop": _scalars_gradient_torch},
        grad=True,
        tolerance=2e-4,  # a product of 1,000 derivatives, each of tanh's error of some 2**-23
    ),
]
