"""The LLVM driver: text of LLVM IR to object code of this machine, and object code to addresses.

The IR that comes in is vectorized already, so no vectorizer runs, and floating-point operations
mean what their own flags say: no option here relaxes them.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nr.backends.cpu import elf, object_cache
from nr.backends.cpu.limits import processors

# Part of the key of cached objects, as the passes are: raise it when what else this file does to a
# text changes.
PIPELINE = "1"

# What each level runs before code is emitted. The emitter has taken invariants out of loops and
# computed common subexpressions once; left to do are its loop variables, which it keeps in memory,
# and the form of its loops. Level 3 searches for more, and LLVM's own pipelines do much more: that
# took 10 to 130 % longer for kernels that were not faster (gelu, softmax, sin, sums of columns).
_PASSES: dict[int, tuple[str, ...]] = {
    0: (),
    1: ("sroa",),
    2: ("sroa", "loop_rotate", "simplify_cfg"),
    3: ("sroa", "instruction_combine", "new_gvn", "loop_rotate", "simplify_cfg"),
}


class CompilerError(RuntimeError):
    """nr's compiler wrote LLVM IR that LLVM does not take: an error of nr, not of its user."""


@dataclass(frozen=True)
class Host:
    """The processor that code is made for."""

    triple: str
    cpu: str
    features: str
    version: str  # of llvmlite and LLVM


_lock = threading.Lock()
_runs = 0
_seconds = 0.0
_idle: dict[int, list[Any]] = {}  # target machines by level; whoever compiles takes one out


def runs() -> int:
    """How many modules LLVM has compiled in this process; what the cache had does not count."""
    return _runs


def seconds() -> float:
    """How long LLVM has run in this process, summed over threads."""
    return _seconds


@cache
def _binding() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@cache
def _library() -> ctypes.CDLL:
    """llvmlite's library by a handle of our own.

    A process that only loads code from the cache has no use for llvmlite's Python part, which takes
    far longer to import than the library. And that part lets one thread at a time into LLVM, for
    LLVM's objects must not be shared between threads. We share none: a compilation has a context, a
    module and a target machine to itself, so its long calls go without the lock.
    """
    import llvmlite
    from llvmlite.utils import get_library_name

    try:
        library = ctypes.CDLL(str(Path(llvmlite.__file__).parent / "binding" / get_library_name()))
    except OSError:  # llvmlite is not installed as plain files
        library = ctypes.CDLL(_binding().ffi.lib._name)
    pointer, text = ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p)
    for name, restype, *argtypes in (
        ("GetVersionInfo", ctypes.c_uint),
        ("GetProcessTriple", None, text),
        ("GetHostCPUName", None, text),
        ("GetHostCPUFeatures", ctypes.c_int, text),
        ("DisposeString", None, ctypes.c_char_p),
        ("RunNewModulePassManager", None, pointer, pointer, pointer),
        ("TargetMachineEmitToMemory", pointer, pointer, pointer, ctypes.c_int, text),
        ("GetBufferStart", pointer, pointer),
        ("GetBufferSize", ctypes.c_size_t, pointer),
        ("DisposeMemoryBuffer", None, pointer),
    ):
        function = getattr(library, f"LLVMPY_{name}")
        function.restype, function.argtypes = restype, argtypes
    return library


def _taken(text: ctypes.c_char_p) -> str:
    """A string that LLVM made; the original is freed."""
    value = (text.value or b"").decode()
    _library().LLVMPY_DisposeString(text)
    return value


@cache
def host() -> Host:
    """The processor of this machine, and the versions of what compiles for it."""
    import llvmlite

    library = _library()
    triple, cpu, features = (ctypes.c_char_p() for _ in range(3))
    library.LLVMPY_GetProcessTriple(triple)
    library.LLVMPY_GetHostCPUName(cpu)
    library.LLVMPY_GetHostCPUFeatures(features)
    flags = sorted(filter(None, _taken(features).split(",")))
    if "+avx512f" in flags:
        # Some processors ask for 256 bits by default; the emitter says how wide its vectors are.
        flags.append("-prefer-256-bit")
    version = f"{llvmlite.__version__} {library.LLVMPY_GetVersionInfo():#x}"
    return Host(_taken(triple), _taken(cpu), ",".join(flags), version)


@contextmanager
def _machine(opt: int) -> Iterator[Any]:
    """A target machine that nobody else uses meanwhile."""
    llvm, target = _binding(), host()
    try:
        machine = _idle.setdefault(opt, []).pop()
    except IndexError:
        # The small code model reaches constants relative to the program counter, and calls go
        # through the stubs that the loader makes: libc may be anywhere.
        machine = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu,
            features=target.features,
            opt=opt,
            reloc="pic",
            codemodel="small",
            jit=True,
        )
    yield machine
    _idle[opt].append(machine)


def _lines(text: str, message: str) -> str:
    """The lines of a text that a message of LLVM's parser or verifier is about."""
    lines = text.splitlines()
    found = {int(n) for n in re.findall(r"<string>:(\d+):\d+: error", message)}
    quoted = {line.strip() for line in message.splitlines()[1:]} - {""}
    found |= {n for n, line in enumerate(lines, 1) if line.strip() in quoted}
    near = sorted({k for n in found for k in range(n - 2, n + 3) if 1 <= k <= len(lines)})
    return "\n".join(f"{'>' if n in found else ' '} {n:4d} | {lines[n - 1]}" for n in near)


def _attempt(text: str) -> tuple[Any, str]:
    """The module of a text; or nothing, and what LLVM says about the text."""
    llvm = _binding()
    try:
        module = llvm.parse_assembly(text, llvm.create_context())
        module.verify()
    except RuntimeError as error:
        return None, str(error).strip()
    return module, ""


def _parsed(text: str) -> Any:
    # In two functions, so that no object of LLVM is kept by the traceback, and freed in a thread
    # that then waits for llvmlite's lock.
    module, message = _attempt(text)
    if module is None:
        raise CompilerError(
            "nr's compiler wrote LLVM IR that is not valid; please report this. LLVM says:\n"
            f"{message}\n{_lines(text, message)}"
        )
    return module


def _optimize(module: Any, machine: Any, opt: int) -> None:
    llvm = _binding()
    options = llvm.create_pipeline_tuning_options(speed_level=opt)
    builder = llvm.create_pass_builder(machine, options)
    manager = llvm.create_new_module_pass_manager()
    for name in _PASSES[opt]:
        getattr(manager, f"add_{name}_pass")()
    _library().LLVMPY_RunNewModulePassManager(*map(_address, (manager, module, builder)))


def _address(reference: Any) -> ctypes.c_void_p:
    return ctypes.cast(reference._ptr, ctypes.c_void_p)


def _emit(module: Any, machine: Any) -> bytes:
    library, message = _library(), ctypes.c_char_p()
    buffer = library.LLVMPY_TargetMachineEmitToMemory(
        _address(machine), _address(module), 1, message
    )
    if not buffer:
        raise CompilerError(f"LLVM could not emit object code: {_taken(message)}")
    try:
        start, size = library.LLVMPY_GetBufferStart(buffer), library.LLVMPY_GetBufferSize(buffer)
        return ctypes.string_at(start, size)
    finally:
        library.LLVMPY_DisposeMemoryBuffer(buffer)


def compile_ir(text: str, *, opt: int = 2) -> bytes:
    """Object code of this machine for a module of LLVM IR.

    Args:
        text: The module.
        opt: How much to optimize: 0 … 3.

    Raises:
        CompilerError: The text is not valid LLVM IR.
    """
    global _runs, _seconds
    start = time.perf_counter()
    module = _parsed(text)
    with _machine(opt) as machine:
        _optimize(module, machine, opt)
        result = _emit(module, machine)
    with _lock:
        _runs += 1
        _seconds += time.perf_counter() - start
    return result


def assembly(text: str, *, opt: int = 2) -> str:
    """What `compile_ir` makes of a module, as text in the assembler's notation."""
    module = _parsed(text)
    with _machine(opt) as machine:
        _optimize(module, machine, opt)
        return machine.emit_assembly(module)


def optimized(text: str, *, opt: int = 2) -> str:
    """A module after the passes that `compile_ir` runs before it emits code."""
    module = _parsed(text)
    with _machine(opt) as machine:
        _optimize(module, machine, opt)
    return str(module)


def _submit(workers: ThreadPoolExecutor, work: Callable[[str], bytes], text: str) -> Callable:
    """Has a text compiled; returns what waits for the result."""
    try:
        return workers.submit(work, text).result
    except RuntimeError:  # the interpreter is shutting down: no more threads
        return lambda: work(text)


def compile_many(texts: Sequence[str]) -> list[bytes]:
    """Object code for each of several modules: from the cache, or compiled, in several threads.

    The calling thread only waits, so that it can be interrupted: modules that are being compiled
    then go on in the background, the others are dropped.
    """
    target = host()
    pipeline = f"{PIPELINE} {_PASSES[2]}"
    common = "\n".join([target.triple, target.cpu, target.features, target.version, pipeline])
    done: dict[str, bytes] = {}
    missing: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        key = object_cache.key(common, text)
        found = object_cache.get(key)
        if found is None:
            missing[text] = key
        else:
            done[text] = found

    def compiled(text: str) -> bytes:
        result = compile_ir(text)
        object_cache.put(missing[text], result)
        return result

    if missing:
        workers = ThreadPoolExecutor(min(len(missing), processors()), "nr-compile")
        try:
            results = {text: _submit(workers, compiled, text) for text in missing}
            done.update((text, result()) for text, result in results.items())
        finally:
            workers.shutdown(wait=False, cancel_futures=True)
    return [done[text] for text in texts]


class Loaded:
    """Object code in memory, ready to be called for as long as this lives."""

    def __init__(self, addresses: Any, owner: Any) -> None:
        self._addresses = addresses
        self._owner = owner

    def address(self, name: str) -> int:
        """The address of an exported function."""
        return self._addresses[name]


_serial = itertools.count()


@cache
def _jit() -> Any:
    llvm, target = _binding(), host()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, reloc="pic", codemodel="small", jit=True
    )
    # LLVM's newer linker: the older one loses code that lies far from its constants on aarch64.
    return llvm.create_lljit_compiler(machine, use_jit_link=True, suppress_errors=True)


def _linked(obj: bytes, imports: Mapping[str, int], exports: Sequence[str]) -> Loaded:
    """An object that LLVM's own linker loads."""
    builder = _binding().JITLibraryBuilder().add_object_img(obj)
    for name, address in imports.items():
        builder.import_symbol(name, address)
    for name in exports:
        builder.export_symbol(name)
    try:
        library = builder.link(_jit(), f"nr{next(_serial)}")
    except RuntimeError as error:
        raise CompilerError(f"LLVM could not load compiled code: {error}") from None
    return Loaded(library, library)


def load(obj: bytes, *, imports: Mapping[str, int], exports: Sequence[str]) -> Loaded:
    """Puts object code into memory.

    Args:
        obj: What `compile_ir` returned.
        imports: Addresses of the functions that it calls; more than it calls is fine.
        exports: Names of the functions whose addresses are wanted.

    Raises:
        CompilerError: The code calls what is not imported, or lacks what is to be exported.
    """
    return load_many([obj], imports=imports, exports=exports)[0]


def load_many(
    objs: Sequence[bytes], *, imports: Mapping[str, int], exports: Sequence[str]
) -> list[Loaded]:
    """Puts several objects into memory, each for itself; see `load`.

    They share pages: these stay as long as one of the results lives.
    """
    if objs and elf.available():
        try:
            memory, addresses = elf.load(objs, imports, exports)
            return [Loaded(each, memory) for each in addresses]
        except elf.UnsupportedError:
            pass  # LLVM knows all that it can emit
        except LookupError as error:
            raise CompilerError(f"{error.args[0]}; please report this.") from None
    return [_linked(obj, imports, exports) for obj in objs]
