"""Times one library in its own process: ``python worker.py LIBRARY CASE`` prints seconds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import programs


def per_call(f: Callable[[], Any], budget: float = 0.4) -> float:
    """The best mean over seven batches of calls, in seconds."""
    f()
    f()
    start = time.perf_counter()
    f()
    once = max(time.perf_counter() - start, 1e-7)
    n = max(1, int(budget / 7 / once))
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(n):
            f()
        best = min(best, (time.perf_counter() - start) / n)
    return best


def library(name: str) -> Any:
    if name == "nr":
        import nr

        return nr
    import jax

    return jax


def eager_add(name: str) -> float:
    if name == "numpy":
        import numpy as np

        a, b = np.ones(10, np.float32), np.ones(10, np.float32)
    elif name == "torch":
        import torch

        torch.set_grad_enabled(False)
        a, b = torch.ones(10), torch.ones(10)
    else:
        lib = library(name)
        a, b = lib.numpy.ones(10), lib.numpy.ones(10)
    return per_call(lambda: a + b)


def jit_call_1(name: str) -> float:
    lib = library(name)
    x = lib.numpy.ones(10)
    f = lib.jit(lambda x: x + 1)
    return per_call(lambda: f(x))


def jit_call_80(name: str) -> float:
    """80 leaves in, one out: the cost is that of the arguments."""
    lib = library(name)
    tree = programs.tree_of(lib, 80)
    f = lib.jit(lambda t: t["layer0"]["norm"] + 1)
    return per_call(lambda: f(tree))


def jit_call_80_out(name: str) -> float:
    """80 leaves in, 80 out."""
    lib = library(name)
    tree = programs.tree_of(lib, 80)
    f = lib.jit(lambda t: lib.tree.map(lambda x: x, t))
    return per_call(lambda: f(tree))


def eager_grad_mlp(name: str) -> float:
    if name != "torch":
        lib = library(name)
        loss, args = programs.mlp(lib)
        grad = lib.grad(loss)
        return per_call(lambda: grad(*args))
    import torch

    sizes = [(16, 32), (32, 32), (32, 4)]
    params = [
        (torch.randn(s, requires_grad=True), torch.zeros(s[1], requires_grad=True)) for s in sizes
    ]
    leaves = [p for pair in params for p in pair]
    x = torch.randn(8, 16)

    def run() -> Any:
        h = x
        for w, b in params[:-1]:
            h = torch.tanh(h @ w + b)
        loss = ((h @ params[-1][0] + params[-1][1]) ** 2).mean()
        return torch.autograd.grad(loss, leaves)

    return per_call(run)


def gpt_trace_lower(name: str) -> float:
    """Seconds to trace and lower the training step of a 4-layer GPT; caches are not used."""
    lib = library(name)
    step, args = programs.gpt(lib)
    best = float("inf")
    for _ in range(5):
        fresh = lambda *a: step(*a)  # noqa: E731 - a new function: nothing is cached for it
        lib.clear_caches() if name == "jax" else None
        start = time.perf_counter()
        lowered = lib.jit(fresh).lower(*args)
        if name == "nr":
            lowered.compile()  # nr's lowering: the simplified program as Python code
        best = min(best, time.perf_counter() - start)
    return best


def gpt_first_lower(name: str) -> float:
    """The same, the first time in the process."""
    lib = library(name)
    step, args = programs.gpt(lib)
    start = time.perf_counter()
    lowered = lib.jit(step).lower(*args)
    if name == "nr":
        lowered.compile()
    return time.perf_counter() - start


def import_time(name: str) -> float:
    start = time.perf_counter()
    __import__(name)
    return time.perf_counter() - start


def first_array(name: str) -> float:
    """Import the library and make an array: what a program pays that uses it."""
    start = time.perf_counter()
    if name == "numpy":
        import numpy

        numpy.zeros(3)
    elif name == "torch":
        import torch

        torch.zeros(3)
    else:
        lib = library(name)
        lib.jit(lambda x: x)
        lib.numpy.zeros(3)
    return time.perf_counter() - start


CASES: dict[str, tuple[Callable[[str], float], tuple[str, ...]]] = {
    "eager_add_10": (eager_add, ("nr", "numpy", "jax", "torch")),
    "jit_call_1_array": (jit_call_1, ("nr", "jax")),
    "jit_call_80_leaves_in": (jit_call_80, ("nr", "jax")),
    "jit_call_80_leaves_in_out": (jit_call_80_out, ("nr", "jax")),
    "eager_grad_mlp": (eager_grad_mlp, ("nr", "jax", "torch")),
    "gpt_trace_and_lower": (gpt_trace_lower, ("nr", "jax")),
    "gpt_trace_and_lower_first": (gpt_first_lower, ("nr", "jax")),
    "import": (import_time, ("nr", "numpy", "jax", "torch")),
    "import_and_first_array": (first_array, ("nr", "numpy", "jax", "torch")),
}

if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[2]][0](sys.argv[1])))
