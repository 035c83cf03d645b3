"""Runs one row in one library: ``python worker.py ROW LIBRARY VARIANT THREADS RESULTS``.

It prints a line of JSON after the first call, and one for every line with a time budget that it
reads. The results of the first call are saved for comparison.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from programs import ROWS
from row import Row, leaves, tree_map

MARK = "@benchmark "  # libraries may print, too
BATCH = 2e-3  # seconds of calls between two looks at the clock


# ---------------------------------------------------------------- memory
def _status(key: str) -> int | None:
    """A line of /proc/self/status in bytes; None where there is no such file."""
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith(key))
    except (OSError, StopIteration):
        return None
    return 1024 * int(line.split()[1])


def _reset_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


# ---------------------------------------------------------------- programs
def _jax_like(row: Row, library: str) -> Callable[[], Any]:
    """A call of the row's program with nr or JAX."""
    lib, args = _prepared(row, library)
    f = row.program(lib)
    if row.setup:
        args = row.setup(lib, *args)
    f, args = functools.partial(f, *args[: row.held]), args[row.held :]
    if row.jit:
        f = lib.jit(f, donate_argnums=tuple(range(row.carry)))
    if not row.block:
        return functools.partial(f, *args)
    state = list(lib.block_until_ready(args))

    def call() -> Any:
        out = lib.block_until_ready(f(*state))
        state[: row.carry] = out[: row.carry] if row.carry else ()
        return out

    return call


def _built(row: Row, library: str, build: Callable) -> Callable[[], Any]:
    """A call of a program that is built from nr's or JAX's arrays."""
    lib, args = _prepared(row, library)
    f = build(*args)
    return (lambda: lib.block_until_ready(f())) if row.block else f


def _prepared(row: Row, library: str) -> tuple[Any, Any]:
    """The module, which has run a program, and the row's inputs as its arrays."""
    lib = importlib.import_module(library)
    lib.jit(lambda x: x + 1)(lib.numpy.ones(3)).block_until_ready()
    return lib, tree_map(lib.numpy.array, row.inputs())


def _torch(row: Row, build: Callable, threads: int) -> Callable[[], Any]:
    """A call of a program that is built from tensors: PyTorch's, or one that it exports."""
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(row.grad)
    torch.ones(3) + 1
    args = tree_map(lambda x: torch.from_numpy(np.array(x)), row.inputs())
    return build(*args)


def _call(row: Row, library: str, variant: str, threads: int) -> Callable[[], Any]:
    if library == "torch":
        return _torch(row, row.torch[variant], threads)
    if library == "onnxruntime":
        return _torch(row, row.onnx, threads)
    if library == "numpy":
        return row.numpy(*row.inputs())
    if library == "nr" and row.nr:
        return _built(row, "nr", row.nr)
    if library == "jax" and variant:
        return _built(row, "jax", row.jax[variant])
    return _jax_like(row, "nr" if library == "by hand" else library)


def _seen(row: Row, library: str, variant: str, out: Any) -> list[np.ndarray]:
    """Copies of the results that are compared."""
    whole = library == "by hand" or (library in ("nr", "jax") and not (row.nr or variant))
    return [np.array(_array(leaf)) for leaf in leaves(row.seen(out) if whole else out)]


def _array(leaf: Any) -> np.ndarray:
    if hasattr(leaf, "detach"):  # a tensor
        leaf = leaf.detach()
        return (leaf.float() if str(leaf.dtype) == "torch.bfloat16" else leaf).numpy()
    array = np.array(leaf)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


# ---------------------------------------------------------------- timing
def steady_seconds(call: Callable[[], Any], budget: float) -> float:
    """The median over batches of the seconds of a call, for as long as the budget lasts."""
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-8)
    if once > budget / 2:
        return once
    count = max(1, int(BATCH / once))
    times: list[float] = []
    end = time.perf_counter() + budget
    while (start := time.perf_counter()) < end:
        for _ in range(count):
            call()
        times.append((time.perf_counter() - start) / count)
    return statistics.median(times)


def _report(**values: Any) -> None:
    print(MARK + json.dumps(values), flush=True)


def main() -> None:
    """Time a row for one library: rounds of a budget read from standard input."""
    name, library, variant, threads, path = sys.argv[1:]
    row = ROWS[name]
    call = _call(row, library, variant, int(threads))
    gc.collect()
    before = _status("VmRSS")
    start = time.perf_counter()
    out = call()
    first = time.perf_counter() - start
    seen = _seen(row, library, variant, out)
    for _ in range(row.calls - 1):
        seen += _seen(row, library, variant, call())
    np.savez(path, *seen)
    _report(first=first)
    del out, seen
    _reset_peak()
    for line in sys.stdin:
        seconds = steady_seconds(call, float(line))
        peak = _status("VmHWM")
        _report(seconds=seconds, memory=None if peak is None else peak - before)


if __name__ == "__main__":
    main()
