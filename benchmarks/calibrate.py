"""Measures the machine: ``python calibrate.py THREADS`` prints its arithmetic and memory rates.

Memory: loops in LLVM IR that read, or copy, arrays of several sizes, as what fits in a cache
streams faster; each thread has its own part. Arithmetic: the best rate of a 2048-cubed product by
the BLAS of NumPy and by PyTorch.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

SIZES = [2**n for n in range(20, 29)]
FLOATS = 16 * 8  # of one turn of the loops below
SECONDS = 0.02  # of one measurement


@dataclass(frozen=True)
class Calibration:
    """The machine's rates with the threads of this run.

    Attributes:
        flops: float32 multiplications and additions a second.
        read, copy: bytes a second, read or read and written, by the bytes touched in all.
    """

    flops: float
    read: dict[int, float]
    copy: dict[int, float]

    def seconds(self, flops: float, read: float, written: float) -> tuple[float, str] | None:
        """The floor of a row and what sets it; None where it has none."""
        floors = []
        if flops:
            floors.append((flops / self.flops, "flops"))
        if total := read + written:
            rates = self.copy if written > 0.1 * read else self.read
            rate = np.interp(math.log2(total), [math.log2(s) for s in rates], [*rates.values()])
            floors.append((total / float(rate), "bytes"))
        return max(floors, default=None)

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """What this file prints, run as a program."""
        data = json.loads(text)
        rates = {k: {int(s): r for s, r in data[k].items()} for k in ("read", "copy")}
        return cls(data["flops"], **rates)


# ---------------------------------------------------------------- memory
def _loop_ir(name: str, body: list[str]) -> str:
    """A function that runs the body for i = 0, FLOATS, ... below n, and that ``repeats`` times."""
    lines = "\n".join(f"  {line}" for line in body)
    return f"""
define void @{name}(ptr %dst, ptr %src, i64 %n, i64 %repeats) {{
entry:
  br label %outer
outer:
  %r = phi i64 [0, %entry], [%r1, %next]
  br label %inner
inner:
  %i = phi i64 [0, %outer], [%i1, %inner]
{lines}
  %i1 = add i64 %i, {FLOATS}
  %more = icmp ult i64 %i1, %n
  br i1 %more, label %inner, label %next
next:
  %r1 = add i64 %r, 1
  %again = icmp ult i64 %r1, %repeats
  br i1 %again, label %outer, label %exit
exit:
  ret void
}}
"""


def _loads(volatile: bool) -> list[str]:
    kind = "load volatile" if volatile else "load"
    lines = []
    for k in range(FLOATS // 16):
        lines += [
            f"%o{k} = add i64 %i, {16 * k}",
            f"%p{k} = getelementptr float, ptr %src, i64 %o{k}",
            f"%v{k} = {kind} <16 x float>, ptr %p{k}, align 64",
        ]
    return lines


def _stores(suffix: str) -> list[str]:
    lines = []
    for k in range(FLOATS // 16):
        lines += [
            f"%q{k} = getelementptr float, ptr %dst, i64 %o{k}",
            f"store <16 x float> %v{k}, ptr %q{k}, align 64{suffix}",
        ]
    return lines


def _compile() -> tuple[dict[str, Callable], Any]:
    """The loops by name, and what owns their memory."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = _loop_ir("read", _loads(volatile=True))
    text += _loop_ir("copy", _loads(volatile=False) + _stores(""))
    text += _loop_ir("stream", _loads(volatile=False) + _stores(", !nontemporal !0"))
    module = llvm.parse_assembly(text + "\n!0 = !{i32 1}\n")
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
    )
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    signature = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
    )
    names = ("read", "copy", "stream")
    return {name: signature(engine.get_function_address(name)) for name in names}, engine


def _aligned(count: int) -> np.ndarray:
    """Float32 numbers from a 64-byte boundary, each page touched."""
    raw = np.ones(count + 16, np.float32)
    start = -raw.ctypes.data % 64 // 4
    return raw[start : start + count]


def _bandwidth(f: Callable, arrays: int, total: int, threads: int) -> float:
    """Bytes a second where every thread streams its own part of ``total`` bytes."""
    count = total // (4 * arrays * threads) // FLOATS * FLOATS
    parts = [(_aligned(count), _aligned(count)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def seconds(repeats: int) -> float:
            start = time.perf_counter()
            jobs = [
                pool.submit(f, dst.ctypes.data, src.ctypes.data, count, repeats)
                for dst, src in parts
            ]
            for job in jobs:
                job.result()
            return time.perf_counter() - start

        seconds(1)
        repeats = max(1, int(SECONDS / seconds(1)))
        best = min(seconds(repeats) for _ in range(4)) / repeats
    return count * 4 * arrays * threads / best


# ---------------------------------------------------------------- arithmetic
def _sgemm(product: Callable[[], Any], n: int) -> float:
    product()
    best = math.inf
    for _ in range(6):
        start = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - start)
    return 2.0 * n**3 / best


def _arithmetic(threads: int, n: int = 2048) -> float:
    a = np.random.default_rng(0).standard_normal((n, n), np.float32)
    rates = [_sgemm(lambda: a @ a, n)]
    try:
        import torch
    except ImportError:
        return rates[0]
    torch.set_num_threads(threads)
    t = torch.from_numpy(a)
    return max(*rates, _sgemm(lambda: t @ t, n))


def main() -> None:
    """Print the machine's rates for a number of threads, as JSON."""
    threads = int(sys.argv[1])
    loops, engine = _compile()
    read = {size: _bandwidth(loops["read"], 1, size, threads) for size in SIZES}
    copy = {
        size: max(_bandwidth(loops[name], 2, size, threads) for name in ("copy", "stream"))
        for size in SIZES
    }
    del engine
    print(json.dumps({"flops": _arithmetic(threads), "read": read, "copy": copy}))


if __name__ == "__main__":
    main()
