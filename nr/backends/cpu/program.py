"""Compiled programs: a plan's code with its kernels loaded, called as a function of raw arrays."""

from __future__ import annotations

import ctypes
import math
import threading
import time
from functools import cache
from typing import Any

import numpy as np

from nr.backends.base import Backend
from nr.backends.compiler.plan import Planner, TableCall, Target
from nr.backends.compiler.simplify import simplify
from nr.backends.cpu import llvm, memory, threads, vm
from nr.backends.cpu.assembly import Assembler
from nr.core.array import ArrayImpl
from nr.core.jaxprs import Jaxpr

# Arenas up to this size stay with their frame between calls.
_OWN_ARENA = 1 << 18
# Programs shorter than this, in estimated nanoseconds, keep the GIL.
_SHORT_NS = 20_000

_kernels: dict[str, int] = {}
_loaded: list[Any] = []
_lock = threading.Lock()


def load_kernels(texts: list[str]) -> None:
    """Compile what is not compiled yet, and put it into memory."""
    missing = [text for text in texts if text not in _kernels]
    if not missing:
        return
    objects = llvm.compile_many(missing)
    loaded = llvm.load_many(objects, imports=_library(), exports=("kernel",))
    with _lock:
        for text, one in zip(missing, loaded, strict=True):
            _kernels[text] = one.address("kernel")
        _loaded.extend(loaded)


@cache
def _library() -> dict[str, int]:
    """Functions of the C library that LLVM may call: for remainders, and copies."""
    process = ctypes.CDLL(None)
    names = ("fmod", "fmodf", "memcpy", "memmove", "memset")
    return {n: ctypes.cast(getattr(process, n), ctypes.c_void_p).value or 0 for n in names}


@cache
def target() -> Target:
    """The machine's vectors."""
    features = llvm.host().features.split(",")
    if "+avx512f" in features:
        return Target(64)
    return Target(32 if "+avx2" in features else 16)


class _Frame:
    """The words of one call: made once, used by one call at a time."""

    __slots__ = ("words", "address", "arena", "error", "scratch_threads", "handle", "home")

    def __init__(self, program: CompiledProgram) -> None:
        assembler = program.assembler
        slots = vm.FIRST_SLOT + assembler.slots
        self.words = np.zeros(slots + assembler.room, np.int64)
        self.address = self.words.ctypes.data
        self.words[vm.ROOM] = self.address + 8 * slots
        self.words[vm.BUDGET] = vm.BUDGET_NS
        self.words[vm.CALLBACK] = program.callback_address
        for slot, array in program.constants:
            self.words[vm.FIRST_SLOT + slot] = array.ctypes.data
        self.error: BaseException | None = None
        self.handle = 0
        self.arena: Any = None
        self.home = program


class CompiledProgram:
    """A jaxpr as native code. Calling it gives the list of its outputs."""

    def __init__(self, jaxpr: Jaxpr, backend: Backend) -> None:
        self.backend = backend
        self.seconds: dict[str, float] = {}
        clock = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            self.seconds[stage] = now - clock
            clock = now

        self.jaxpr = jaxpr
        self.simplified = simplify(jaxpr)
        lap("simplify")
        self.planner = Planner(self.simplified, target())
        lap("plan")
        self.assembler = Assembler(self.planner)
        lap("assemble")
        load_kernels(list(self.assembler.kernels))
        self.code = self.assembler.code(_kernels)
        lap("compile")
        self.constants = [
            (slot, np.ascontiguousarray(v.host() if type(v) is ArrayImpl else v))
            for slot, v in self.assembler.constants
        ]
        self.callback = vm.CallbackFunction(self._callback)
        self.callback_address = ctypes.cast(self.callback, ctypes.c_void_p).value
        self.frames: list[_Frame] = []
        self.running: dict[int, _Frame] = {}
        self.work = sum(
            [self.code[i + 4] for i in ()]
        )
        self.outs = [(a.aval.shape, np.dtype(a.aval.dtype)) for a in jaxpr.outvars]
        self.inputs = [(v.aval.shape, np.dtype(v.aval.dtype)) for v in jaxpr.invars]
        self.arena_bytes = self.assembler.arena.size
        self.scratch_bytes = -(-self.assembler.scratch // 4096) * 4096
        self.machine = vm.machine()

    def __call__(self, *raw: Any) -> list[Any]:
        outs = [memory.empty(shape, dtype) for shape, dtype in self.outs]
        arrays = (*raw, *outs)
        for (shape, dtype), a in zip(self.inputs, raw, strict=True):
            if type(a) is not np.ndarray:
                arrays = self._as_arrays(arrays)
                break
        try:
            frame = self.frames.pop()
        except IndexError:
            frame = _Frame(self)
        handle, team = threads.team()
        words = frame.words
        words[vm.POOL] = handle
        size = self.arena_bytes + self.scratch_bytes * team
        block = None
        if size:
            block = memory.acquire(size)
            words[vm.FIRST_SLOT] = block.address
            words[vm.SCRATCH] = block.address + self.arena_bytes
            words[vm.SCRATCH_STRIDE] = self.scratch_bytes
        self.running[frame.address] = frame
        try:
            while True:
                status = self.machine.run(
                    self.code.ctypes.data, frame.address, id(arrays), len(arrays)
                )
                if status >= 0:
                    break
                arrays = self._as_arrays(arrays)
        finally:
            del self.running[frame.address]
            if block is not None:
                memory.release(block)
        if status:
            error, frame.error = frame.error, None
            assert error is not None
            raise error
        self.frames.append(frame)
        return outs

    def _as_arrays(self, arrays: tuple) -> tuple:
        """With inputs made contiguous arrays of their dtypes."""
        inputs = [
            np.ascontiguousarray(a, dtype).reshape(shape)
            for a, (shape, dtype) in zip(arrays, self.inputs, strict=False)
        ]
        return (*inputs, *arrays[len(inputs) :])

    # ------------------------------------------------------------------ Python steps
    def _callback(self, number: int, frame_address: int) -> int:
        frame = self.running[frame_address]
        try:
            if number >= 0:
                self._call_table(number, frame)
            return 0
        except BaseException as error:  # noqa: BLE001  native code is between here and the caller
            frame.error = error
            return 1

    def _call_table(self, number: int, frame: _Frame) -> None:
        step, operands, results = self.assembler.calls[number]
        assert type(step) is TableCall
        eqn = step.eqn
        args = []
        for atom, place in zip(eqn.invars, operands, strict=True):
            if type(place) is np.ndarray:
                args.append(place)
            else:
                args.append(self._view(frame, place, atom.aval))
        row = self.backend.kernel(eqn.primitive)
        outs = row(*args, **eqn.params)
        if not eqn.primitive.multiple_results:
            outs = [outs]
        for out, place, var in zip(outs, results, eqn.outvars, strict=True):
            self._view(frame, place, var.aval)[...] = out

    def _view(self, frame: _Frame, place: Any, aval: Any) -> np.ndarray:
        """The array at a place; it must not be kept."""
        dtype = np.dtype(aval.dtype)
        nbytes = math.prod(aval.shape) * dtype.itemsize
        address = int(frame.words[vm.FIRST_SLOT + place.slot]) + place.offset
        raw = (ctypes.c_char * max(nbytes, 1)).from_address(address)
        return np.ndarray(aval.shape, dtype, raw)
