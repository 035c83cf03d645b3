"""Compiled programs: a plan's code with its kernels loaded, called as a function of raw arrays."""

from __future__ import annotations

import ctypes
import math
import sys
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from nr.backends.base import NO_OPTIONS, Backend, Options, Program
from nr.backends.compiler.checks import with_errors
from nr.backends.compiler.loops import Buffer
from nr.backends.compiler.plan import Plan, Planner, TableCall
from nr.backends.compiler.simplify import simplify
from nr.backends.cpu import lapack, llvm, memory, threads, vm
from nr.backends.cpu.assembly import Assembler
from nr.backends.cpu.target import target
from nr.core.array import as_host
from nr.core.jaxprs import Jaxpr
from nr.core.quiet import hush, unhush

# Arenas up to this size stay with their frame between calls.
_OWN_ARENA = 1 << 18
# Programs shorter than this, in estimated nanoseconds, keep the GIL.
_SHORT_NS = 20_000

_Shapes = Sequence[tuple[tuple[int, ...], np.dtype]]

# What programs have computed of constants, for others to share as long as one of them is there.
_prepared: WeakValueDictionary[Hashable, np.ndarray] = WeakValueDictionary()
_kernels: dict[str, int] = {}
_loaded: list[Any] = []
_lock = threading.Lock()


def load_kernels(texts: list[str]) -> int:
    """Put kernels into memory, compiled or from the disk cache; says how many were not there."""
    missing = [text for text in texts if text not in _kernels]
    if not missing:
        return 0
    objects = llvm.compile_many(missing)
    imports = {**_library(), **lapack.imports(missing)}
    loaded = llvm.load_many(objects, imports=imports, exports=("kernel",))
    with _lock:
        for text, one in zip(missing, loaded, strict=True):
            _kernels[text] = one.address("kernel")
        _loaded.extend(loaded)
    return len(missing)


@cache
def _library() -> dict[str, int]:
    """Functions of the C library that LLVM may call: for remainders, and copies."""
    process = ctypes.CDLL(None)
    names = ("fmod", "fmodf", "memcpy", "memmove", "memset")
    return {n: ctypes.cast(getattr(process, n), ctypes.c_void_p).value or 0 for n in names}


@cache
def _references() -> int:
    """How many references to an argument a program counts that nobody holds but its caller."""
    values: tuple[Any, ...] = (np.empty(1),)
    return (lambda a: sys.getrefcount(a))(*values)


class _Frame:
    """The words of a call, made once and used by one call at a time."""

    __slots__ = ("words", "address", "arena", "team", "error", "failed")

    def __init__(self, program: _Executable) -> None:
        assembler = program.assembler
        slots = vm.FIRST_SLOT + assembler.slots
        self.words = np.zeros(slots + assembler.room, np.int64)
        self.address = self.words.ctypes.data
        self.words[vm.ROOM] = self.address + 8 * slots
        self.words[vm.BUDGET] = vm.BUDGET_NS
        self.words[vm.CODE] = program.code_address
        self.words[vm.FIRST_SLOT + assembler.frame_slot] = self.address
        for slot, array in program.constants.items():
            self.words[vm.FIRST_SLOT + slot] = array.ctypes.data
        # The error of a failed check goes to words of the frame's own, and not to new arrays.
        self.error = [np.zeros((), dtype) for dtype in program.errors]
        self.failed = self.error[0] if self.error else None
        slot = vm.FIRST_SLOT + len(program.inputs) + len(program.outputs)
        for k, word in enumerate(self.error, 1):
            self.words[slot + k] = word.ctypes.data
        self.arena: Any = None
        self.team: Any = None


class _Executable:
    """A plan as native code: calling `program` of its raw inputs gives the list of its outputs."""

    def __init__(self, plan: Plan, backend: Backend, inputs: _Shapes, outputs: _Shapes) -> None:
        self.plan = plan
        self.backend = backend
        self.inputs = inputs
        self.outputs = outputs
        self.errors: list[np.dtype] = []
        self.sites: list[Any] = []
        self.assembler = Assembler(plan)

    def load(self, prepared: Mapping[Buffer, np.ndarray]) -> None:
        """Make it ready to be called, with the values of constants that are computed once."""
        self.code = self.assembler.code(_kernels)
        self.constants = {
            slot: prepared[buffer] if value is None else np.ascontiguousarray(as_host(value))
            for slot, buffer, value in self.assembler.constants
        }
        self.frames: list[_Frame] = []  # free ones
        self.arena_bytes = self.assembler.arena.size
        self.scratch_bytes = -(-self.assembler.scratch // 4096) * 4096
        short = self.assembler.work < _SHORT_NS and not self.assembler.calls
        machine = vm.machine()
        self.run = machine.run_short if short else machine.run
        self.code_address = self.code.ctypes.data
        self.program = self._entry()

    def _entry(self) -> Program:
        """The function that is called, written out for its number of inputs and outputs."""
        scope: dict[str, Any] = {
            "run": self.run, "take": self.frames.pop,
            "give": self.frames.append, "new": lambda: _Frame(self), "finish": self._finish,
            "prepare": self._prepare, "release": self._release, "empty": np.empty,
            "pooled": memory.empty, "ndarray": np.ndarray, "convert": self._as_array,
            "team": threads.team, "own": self._own, "references": sys.getrefcount,
            "error_of": self._error_of,
        }  # fmt: skip
        names = [f"a{i}" for i in range(len(self.inputs))]
        lines = [f"def program({', '.join(names)}):"]
        for i, (shape, _) in enumerate(self.inputs):
            if not shape:
                lines.append(f" if type(a{i}) is not ndarray: a{i} = convert({i}, a{i})")
        for i, (shape, dtype) in enumerate(self.outputs):
            names.append(f"o{i}")
            if i in self.plan.reused:
                k, _ = self.plan.reused[i]
                lines += [f" n = references(a{k})", f" a{k} = o{i} = own({k}, a{k}, n)"]
                continue
            scope[f"s{i}"], scope[f"d{i}"] = shape, dtype
            small = math.prod(shape) * dtype.itemsize < memory.SMALL
            lines.append(f" o{i} = {'empty' if small else 'pooled'}(s{i}, d{i})")
        results = names[len(self.inputs) :]
        lines.append(f" arrays = ({''.join([f'{n}, ' for n in names])})")
        lines.append(" try: frame = take()")
        lines.append(" except IndexError: frame = new()")
        large = self.arena_bytes + self.scratch_bytes > _OWN_ARENA
        if self.assembler.parallel or self.scratch_bytes or large:
            lines.append(" now = team()")
            lines.append(" if now != frame.team or frame.arena is None: prepare(frame, now)")
        elif self.arena_bytes:
            lines.append(" if frame.arena is None: prepare(frame, None)")
        lines.append(" try:")
        lines.append(f"  status = run(frame.address, id(arrays), {len(names)})")
        lines.append("  if status: finish(frame, arrays, status)")
        lines.append(" except BaseException:")
        lines.append("  if frame.arena is not None: release(frame)")
        lines.append("  raise")
        if large:
            lines.append(" release(frame)")
        if self.errors:
            lines.append(" if frame.failed: raise error_of(frame)")
        lines.append(" give(frame)")
        lines.append(f" return [{', '.join(results)}]")
        exec(compile("\n".join(lines), "<nr>", "exec"), scope)
        return scope["program"]

    def _prepare(self, frame: _Frame, team: tuple[int, int] | None) -> None:
        """Give a frame its memory, and the pool's threads it may use."""
        frame.team = team
        count = 1
        if team is not None:
            frame.words[vm.POOL], count = team
        if frame.arena is not None:
            memory.release(frame.arena)
        frame.arena = memory.acquire(max(self.arena_bytes + self.scratch_bytes * count, 64))
        frame.words[vm.FIRST_SLOT] = frame.arena.address
        frame.words[vm.SCRATCH] = frame.arena.address + self.arena_bytes
        frame.words[vm.SCRATCH_STRIDE] = self.scratch_bytes

    def _release(self, frame: _Frame) -> None:
        """Give a large arena back to the pool of memory."""
        memory.release(frame.arena)
        frame.arena = None

    def _finish(self, frame: _Frame, arrays: tuple, status: int) -> None:
        """Run again with contiguous inputs; do the steps in Python."""
        if status < 0:
            inputs = [self._as_array(i, a) for i, a in enumerate(arrays[: len(self.inputs)])]
            arrays = (*inputs, *arrays[len(inputs) :])
            status = self.run(frame.address, id(arrays), len(arrays))
            assert status >= 0, "an array that NumPy calls contiguous is not"
        while status:
            self._call_table(status - 1, frame)
            status = self.run(frame.address, 0, 0)

    def _error_of(self, frame: _Frame) -> Exception:
        """The exception for a call whose checks have failed; its frame is given back."""
        site, packed, step = [int(word) for word in frame.error]
        self.frames.append(frame)
        return self.sites[site - 1].exception(packed, step)

    def _own(self, i: int, value: Any, references: int) -> np.ndarray:
        """A donated input, if nobody else refers to it, or else a copy."""
        if references == _references() and memory.is_pooled(value) and value.flags.c_contiguous:
            return value
        shape, dtype = self.inputs[i]
        own = memory.empty(shape, dtype)
        own[...] = value
        return own

    def _as_array(self, i: int, value: Any) -> np.ndarray:
        """An input as a contiguous, aligned array of its dtype."""
        shape, dtype = self.inputs[i]
        return np.require(value, dtype, ["C", "A"]).reshape(shape)

    # ------------------------------------------------------------------ Python steps
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
        token = hush()
        try:
            outs = row(*args, **eqn.params)
        finally:
            unhush(token)
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


class CompiledProgram(_Executable):
    """A jaxpr as native code. What depends on constants alone is computed when it is made."""

    def __init__(self, jaxpr: Jaxpr, backend: Backend, options: Options = NO_OPTIONS) -> None:
        self.seconds: dict[str, float] = {}
        clock = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            self.seconds[stage] = now - clock
            clock = now

        self.jaxpr = jaxpr
        self.simplified = simplify(jaxpr)
        checked, sites = with_errors(self.simplified, nan=options.nan)
        lap("simplify")
        # It holds the constants, by whose identity others know what is prepared of them.
        planner = self.planner = Planner(checked, target(), options.donated)
        lap("plan")
        inputs = [(v.aval.shape, np.dtype(v.aval.dtype)) for v in jaxpr.invars]
        outputs = [(a.aval.shape, np.dtype(a.aval.dtype)) for a in jaxpr.outvars]
        super().__init__(planner.plan(), backend, inputs, outputs)
        self.errors = [np.dtype(a.aval.dtype) for a in checked.outvars[len(outputs) :]]
        self.sites = sites
        texts = list(self.assembler.kernels)
        names = planner.once.names(planner.constants)
        found = {b: _prepared.get(names[b]) for b in planner.kept()}
        prepared = {b: array for b, array in found.items() if array is not None}
        missing = [b for b in found if b not in prepared]
        preparation = planner.preparation(missing)
        if preparation is not None:
            raw = [((b.nbytes,), np.dtype(np.uint8)) for b in missing]
            first = _Executable(preparation, backend, [], raw)
            texts += first.assembler.kernels
        lap("assemble")
        self.compiled = load_kernels(texts)
        lap("compile")
        if preparation is not None:
            first.load({})
            for b, array in zip(missing, first.program(), strict=True):
                _prepared[names[b]] = prepared[b] = array
            lap("prepare")
        self.load(prepared)
