"""Runs expressions and kernels of the loop IR natively, for tests of the compiler."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import ml_dtypes
import numpy as np

from nr.backends.compiler.emission import emit_kernel
from nr.backends.compiler.expr import NUMPY, compiling
from nr.backends.compiler.index import Loop, index_of
from nr.backends.compiler.loops import Buffer, Kernel, Pass, Store, load, validate
from nr.backends.compiler.lowering.rules import storage
from nr.backends.cpu import program

_DTYPE = {
    **NUMPY,
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "c64": np.dtype(np.complex64),
    "c128": np.dtype(np.complex128),
}


def run_kernel(kernel: Kernel, arrays: dict[str, np.ndarray]) -> None:
    """Run a kernel on one thread, over arrays by the names of its buffers."""
    validate(kernel)
    emitted = emit_kernel(kernel)
    program.load_kernels([emitted.text])
    words = [arrays[b.name].ctypes.data for b in emitted.buffers] + emitted.integers
    args = (ctypes.c_int64 * len(words))(*words)
    scratch = np.zeros(sum([b.nbytes + 64 for b in kernel.scratch]) + 64, np.uint8)
    function = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
    )(program._kernels[emitted.text])
    function(ctypes.addressof(args), 0, kernel.units, scratch.ctypes.data)


def evaluate(
    function: Callable, *arrays: np.ndarray, out: str | None = None, width: int = 16
) -> np.ndarray:
    """A function of expressions over 1-d arrays of one length, e.g. ``evaluate(tanh, x)``."""
    n = len(arrays[0])
    out = out or storage(arrays[0].dtype)
    with compiling():
        loop = Loop("i", n)
        buffers = [Buffer(f"in{k}", storage(a.dtype), n) for k, a in enumerate(arrays)]
        result = Buffer("out", out, n)
        value = function(*[load(b, index_of(loop)) for b in buffers])
        step = Pass(stores=[Store(result, index_of(loop), value)])
        target = np.empty(n, _DTYPE[out])
        inputs = {f"in{k}": np.ascontiguousarray(a) for k, a in enumerate(arrays)}
        run_kernel(Kernel([loop], [], loop, [step], 1, width), {"out": target, **inputs})
    return target
