"""Without this, LLVM could get broken IR, relax arithmetic, or hold up Ctrl-C and other threads."""

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nr.backends.cpu import elf, llvm, object_cache
from nr.backends.cpu.limits import processors

ROOT = Path(__file__).resolve().parent.parent

SCALE = """
define void @scale(ptr %x, float %a, i64 %n) {
entry:
  %s = insertelement <32 x float> poison, float %a, i64 0
  %v = shufflevector <32 x float> %s, <32 x float> poison, <32 x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %p = getelementptr float, ptr %x, i64 %i
  %t = load <32 x float>, ptr %p, align 4
  %u = fmul <32 x float> %t, %v
  store <32 x float> %u, ptr %p, align 4
  %next = add i64 %i, 32
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %exit
exit:
  ret void
}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache for each test."""
    monkeypatch.setattr(object_cache, "_settings", None)
    monkeypatch.setenv("NR_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("NR_CACHE", raising=False)


@pytest.fixture(params=["elf", "llvm"])
def loader(request, monkeypatch):
    """Both ways to load an object: our own, and LLVM's, which other systems use."""
    if request.param == "llvm":
        monkeypatch.setattr(elf, "available", lambda: False)
    elif not elf.available():
        pytest.skip("this system's objects are not those of x86-64 Linux")
    return request.param


def function(text, name, restype, *argtypes, imports=None):
    loaded = llvm.load(llvm.compile_ir(text), imports=imports or {}, exports=[name])
    native = ctypes.CFUNCTYPE(restype, *argtypes)(loaded.address(name))
    native.loaded = loaded
    return native


def polynomial(degree, salt=0):
    """A straight line of operations, for something that takes time to compile."""
    lines = ["define <16 x float> @f(<16 x float> %x) {", "  %t0 = fadd <16 x float> %x, %x"]
    for i in range(1, degree):
        k = f"splat (float {i + salt}.0)"
        lines.append(f"  %u{i} = fmul <16 x float> %t{i - 1}, %x")
        lines.append(f"  %t{i} = fadd <16 x float> %u{i}, {k}")
    return "\n".join([*lines, f"  ret <16 x float> %t{degree - 1}", "}"])


@pytest.mark.parametrize("opt", [0, 1, 2, 3])
def test_code_runs(opt, loader):
    loaded = llvm.load(llvm.compile_ir(SCALE, opt=opt), imports={}, exports=["scale"])
    scale = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_float, ctypes.c_int64)(
        loaded.address("scale")
    )
    x = np.arange(96, dtype=np.float32)
    scale(x.ctypes.data, 2.5, 96)
    np.testing.assert_array_equal(x, np.arange(96, dtype=np.float32) * np.float32(2.5))


def test_wide_registers():
    if "+avx512f" not in llvm.host().features.split(","):
        pytest.skip("this processor has no 512-bit registers")
    text = llvm.assembly(SCALE)
    assert "zmm" in text and "ymm" not in text


def test_passes_run():
    text = """
define i32 @f(i32 %x) {
  %p = alloca i32
  store i32 %x, ptr %p
  %a = load i32, ptr %p
  %b = add i32 %a, 1
  %c = add i32 %a, 1
  %d = sub i32 %b, %c
  ret i32 %d
}
"""
    assert "alloca" not in llvm.optimized(text)
    assert "ret i32 0" in llvm.optimized(text, opt=3)
    assert "alloca" in llvm.optimized(text, opt=0)


def test_arithmetic_is_not_relaxed():
    d = ctypes.c_double
    muladd = """
define double @f(double %x, double %y, double %z) {
  %a = fmul double %x, %y
  %b = fadd double %a, %z
  ret double %b
}
"""
    f = function(muladd, "f", d, d, d, d)
    x = 1.0 + 2.0**-30
    assert f(x, x, -(x * x)) == 0.0  # fused, it would be the rounding error of x * x
    assert f(0.0, math.inf, 0.0) != f(0.0, math.inf, 0.0)  # NaN
    assert f(5e-324, 1.0, 5e-324) == 1e-323  # denormals
    assert math.copysign(1.0, f(-0.0, 1.0, -0.0)) == -1.0
    assert math.copysign(1.0, f(0.0, 1.0, -0.0)) == 1.0
    total = f"{muladd.replace('%z', '1.0').replace(', double 1.0)', ')')}"
    g = function(total, "f", d, d, d)
    assert g(1e17, -1.0) == -1e17 + 1.0


def test_calls_what_is_imported(loader):
    @ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
    def twice(x):
        return 2 * x

    text = """
declare double @twice(double)
define double @f(double %x) {
  %a = call double @twice(double %x)
  %b = call double @twice(double %a)
  ret double %b
}
"""
    address = ctypes.cast(twice, ctypes.c_void_p).value
    d = ctypes.c_double
    f = function(text, "f", d, d, imports={"twice": address, "unused": 1})
    assert f(3.0) == 12.0
    with pytest.raises(llvm.CompilerError, match="twice" if loader == "elf" else "load"):
        llvm.load(llvm.compile_ir(text), imports={}, exports=["f"])
    with pytest.raises(llvm.CompilerError, match="nothing" if loader == "elf" else "load"):
        llvm.load(llvm.compile_ir(text), imports={"twice": address}, exports=["nothing"])


def test_address_of_an_import(loader):
    text = """
@where = external global i64
declare void @far()
define ptr @f() {
  ret ptr @far
}
define i64 @g() {
  %x = load i64, ptr @where
  ret i64 %x
}
"""
    value, far = ctypes.c_int64(123), 2**46 + 16
    imports = {"far": far, "where": ctypes.addressof(value)}
    assert function(text, "f", ctypes.c_void_p, imports=imports)() == far
    assert function(text, "g", ctypes.c_int64, imports=imports)() == 123


def mapping(address):
    """The permissions of the page at an address; None if nothing is there."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(part, 16) for part in line.split()[0].split("-"))
        if low <= address < high:
            return line.split()[1]
    return None


@pytest.mark.skipif(not elf.available(), reason="our own loader is for x86-64 Linux")
def test_pages():
    size = 1 << 20  # of its own, so that no other mapping takes its place
    text = f"""
@table = internal global [{size} x i64] zeroinitializer
define ptr @f() {{
  ret ptr @table
}}
"""
    loaded = llvm.load(llvm.compile_ir(text), imports={}, exports=["f"])
    code = loaded.address("f")
    data = ctypes.CFUNCTYPE(ctypes.c_void_p)(code)()
    assert (mapping(code), mapping(data)) == ("r-xp", "rw-p")  # never both
    del loaded
    assert mapping(data + 4 * size) is None


def test_constants_and_variables(loader):
    """What lies in sections of its own: tables, zeros, pointers to functions."""
    text = """
@table = internal constant [4 x i64] [i64 3, i64 1, i64 4, i64 1]
@state = internal global i64 7
@zeros = internal global [100 x i64] zeroinitializer
@target = internal constant ptr @one
define internal i64 @one(i64 %x) noinline {
  %y = add i64 %x, 100
  ret i64 %y
}
define i64 @f(i64 %i) {
  %p = getelementptr [4 x i64], ptr @table, i64 0, i64 %i
  %a = load volatile i64, ptr %p
  %s = load volatile i64, ptr @state
  %q = getelementptr [100 x i64], ptr @zeros, i64 0, i64 %i
  %z = load volatile i64, ptr %q
  store volatile i64 5, ptr %q
  %s2 = add i64 %s, 1
  store volatile i64 %s2, ptr @state
  %fn = load volatile ptr, ptr @target
  %r = call i64 %fn(i64 %a)
  %t = add i64 %r, %s
  %u = add i64 %t, %z
  ret i64 %u
}
"""
    f = function(text, "f", ctypes.c_int64, ctypes.c_int64)
    assert [f(0), f(1), f(2), f(2)] == [110, 109, 113, 119]


def test_switch_tables(loader):
    cases = [f"    i64 {i}, label %l{i}" for i in range(12)]
    blocks = [f"l{i}:\n  %r{i} = call i64 @g(i64 {i * i + 1})\n  ret i64 %r{i}" for i in range(12)]
    text = "\n".join([
        "define internal i64 @g(i64 %x) noinline {", "  %y = xor i64 %x, 5", "  ret i64 %y", "}",
        "define i64 @f(i64 %x) {", "  switch i64 %x, label %other [", *cases, "  ]", *blocks,
        "other:", "  ret i64 -1", "}",
    ])  # fmt: skip
    f = function(text, "f", ctypes.c_int64, ctypes.c_int64)
    assert [f(i) for i in range(13)] == [*((i * i + 1) ^ 5 for i in range(12)), -1]


def test_many_objects_with_the_same_names(loader):
    texts = [f"define i64 @f() {{\n  ret i64 {i}\n}}" for i in range(20)]
    loaded = llvm.load_many(llvm.compile_many(texts), imports={}, exports=["f"])
    calls = [ctypes.CFUNCTYPE(ctypes.c_int64)(each.address("f")) for each in loaded]
    kept = loaded[7]
    del loaded  # the others' code may go; this one's stays
    assert calls[7]() == 7
    assert kept.address("f")


def test_bad_ir():
    with pytest.raises(llvm.CompilerError, match=r">    3 \|   %b = fadx double %a"):
        llvm.compile_ir("define void @f(double %a) {\n  \n  %b = fadx double %a, %a\n  ret void\n}")
    with pytest.raises(llvm.CompilerError, match=r"dominate(.|\n)*>    2 \|   %b = add i64 %c, 1"):
        llvm.compile_ir(
            "define i64 @f() {\n  %b = add i64 %c, 1\n  %c = add i64 1, 1\n  ret i64 %b\n}"
        )
    with pytest.raises(llvm.CompilerError, match="not valid"):
        llvm.compile_many([SCALE, "nonsense"])


def test_parallel_compilation_gives_the_same_code():
    texts = [polynomial(40, i) for i in range(12)]
    before = llvm.runs()
    together = llvm.compile_many([*texts, texts[0]])
    assert llvm.runs() - before == 12
    assert llvm.compile_many(texts) == together[:12] and together[12] == together[0]
    assert llvm.runs() - before == 12  # all of them were found
    assert [llvm.compile_ir(text) for text in texts] == together[:12]
    assert llvm.runs() - before == 24
    assert llvm.seconds() > 0


def test_without_a_cache():
    object_cache.set_path(None)
    before = llvm.runs()
    assert llvm.compile_many([SCALE]) == llvm.compile_many([SCALE])
    assert llvm.runs() - before == 2


def test_interruption():
    """The main thread only waits, so an interrupt reaches it before the module is compiled."""
    texts = [polynomial(3000, i) for i in range(6)]
    start = time.perf_counter()
    llvm.compile_ir(texts[0])
    full = time.perf_counter() - start
    before = llvm.runs()

    def interrupt(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, full / 10)
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            llvm.compile_many(texts)
        waited = time.perf_counter() - start
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert waited < full / 10 + 0.1, full
    deadline = time.perf_counter() + 20 * full
    while llvm.runs() < before + min(processors(), 6) and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert llvm.runs() > before  # what was being compiled goes on


def run(code):
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


COMPILE = """
import os, sys
from nr.backends.cpu import llvm
texts = [f"define i64 @f() {{\\n  ret i64 {i}\\n}}" for i in range(3)]
"""


def test_works_in_a_forked_child():
    code = f"""{COMPILE}
llvm.compile_many(texts[:1])
if os.fork() == 0:
    llvm.compile_many(texts)
    print(llvm.runs(), flush=True)
    os._exit(0)
status = os.wait()[1]
print(status)
"""
    assert run(code) == ["3", "0"]


def test_works_at_exit():
    code = (
        f"import atexit\n{COMPILE}\natexit.register(lambda: print(len(llvm.compile_many(texts))))"
    )
    assert run(code) == ["3"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_exit_while_compiling():
    code = f"""{COMPILE}
import signal, time
def stop(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 0.1)
body = "\\n".join(f"  %t{{i}} = fmul double %t{{i - 1}}, {{i}}.0" for i in range(1, 8000))
big = f"define double @f(double %t0) {{{{\\n{{body}}\\n  ret double %t7999\\n}}}}"
try:
    llvm.compile_many([big] + [big + f"; {{i}}" for i in range(9)])
    print("done")
except KeyboardInterrupt:
    print("interrupted")
"""
    assert run(code) == ["interrupted"]
