"""Without this, programs could share memory, leak it, or fault in new pages at each step."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

from nr.backends.cpu import memory
from nr.backends.cpu.memory import SMALL, MemoryPool, size_class

F32 = np.dtype(np.float32)
MIB = 1 << 20


@pytest.fixture
def pool():
    pools = []

    def make(limit=64 * MIB):
        pools.append(MemoryPool(limit))
        return pools[-1]

    yield make
    gc.collect()
    for p in pools:
        p.trim()
        assert (p.cached_bytes(), p.in_use_bytes()) == (0, 0)  # nothing leaked


# ---------------------------------------------------------------- arrays
@pytest.mark.parametrize(
    "dtype", [F32, np.dtype(bool), np.dtype("c16"), np.dtype(ml_dtypes.bfloat16)]
)
@pytest.mark.parametrize("shape", [(), (0, 7), (3, 5), (100, 200), (1, 3, 2_000_003)])
def test_arrays_are_what_np_empty_makes(pool, shape, dtype):
    x = pool().empty(shape, dtype)
    assert (x.shape, x.dtype, x.strides) == (shape, dtype, np.empty(shape, dtype).strides)
    assert x.flags.c_contiguous and x.flags.writeable and x.flags.aligned
    x[...] = 1
    assert (x == 1).all()


def test_large_arrays_are_aligned(pool):
    p = pool()
    for elements in (SMALL // 4, SMALL // 4 + 1, 100_000, 3 * MIB):
        arrays = [p.empty((elements,), F32) for _ in range(3)]
        assert all(x.ctypes.data % 4096 == 0 for x in arrays)


@pytest.mark.skipif(not hasattr(memory.mmap, "MADV_HUGEPAGE"), reason="no huge pages here")
def test_blocks_of_huge_pages_start_at_one(pool):
    x = pool().empty((9 * MIB,), np.dtype(np.int8))
    assert x.ctypes.data % (2 * MIB) == 0


def test_arrays_that_live_do_not_overlap(pool):
    p = pool()
    rng = np.random.default_rng(0)
    live = {}
    for step in range(400):
        n = int(rng.integers(SMALL // 4, 40_000))
        live[step] = p.empty((n,), F32)
        live[step].fill(step)
        if len(live) > 12:
            live.pop(int(rng.choice(list(live))))
        assert all((x == k).all() for k, x in live.items())


def test_memory_that_is_given_back_is_used_again(pool):
    p = pool()
    x = p.empty((512, 512), F32)
    address, held = x.ctypes.data, p.in_use_bytes()
    assert (held, p.cached_bytes()) == (MIB, 0)
    del x
    assert (p.in_use_bytes(), p.cached_bytes()) == (0, MIB)
    y = p.empty((1000, 250), F32)  # a little less, of the same class
    assert y.ctypes.data == address
    assert (p.in_use_bytes(), p.cached_bytes()) == (MIB, 0)


def test_views_keep_the_memory(pool):
    p = pool()
    x = p.empty((512, 512), F32)
    x.fill(3)
    for view in (x[5:7].T, x.reshape(-1)[::2].view(np.int32), memoryview(x)):
        del x
        assert p.in_use_bytes() == MIB
        y = p.empty((512, 512), F32)
        y.fill(4)
        assert (np.asarray(view).view(F32) == 3).all()
        x = np.asarray(view)
        del y, view
    del x
    assert p.in_use_bytes() == 0


def test_objects_never_lie_in_used_memory(pool):
    p = pool()
    p.empty((100_000,), np.dtype(np.int64)).fill(-1)  # would be references to nowhere
    assert p.empty((100_000,), np.dtype(object))[7] is None


@pytest.mark.parametrize("shape", [(-200, -200), (1,) * 80 + (100_000,)])
def test_what_numpy_refuses_leaks_nothing(pool, shape):
    p = pool()
    with pytest.raises(ValueError):
        p.empty(shape, F32)
    assert p.in_use_bytes() == 0


def test_repeated_steps_fault_no_pages(pool):
    resource = pytest.importorskip("resource")
    p = pool()

    def step():
        for n in (100_000, 300_000, 2_000_000):
            p.empty((n,), F32).fill(1)

    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    # One step's pages are 2343 of 4 KiB; a few faults are Python's own.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 200


# ---------------------------------------------------------------- size classes
def test_size_classes():
    for n in [1, 4095, 4096, 4097, *np.random.default_rng(1).integers(1, 1 << 34, 2000).tolist()]:
        size = size_class(n)
        assert size >= n
        assert size % memory.mmap.PAGESIZE == 0
        assert size_class(size) == size
        # A quarter too much at most, or a page; from 4 MiB on, less than a huge page.
        assert size - n < max(n / 4, memory.mmap.PAGESIZE, 2 * MIB * (n >= 4 * MIB))
    assert size_class(0) == memory.mmap.PAGESIZE


def test_many_sizes_share_few_classes(pool):
    p = pool()
    for n in range(SMALL // 4, SMALL // 4 + 20_000):
        p.empty((n,), F32)
    assert p.cached_bytes() < 1 * MIB
    assert len(p._class_of) <= 10_001  # the table of sizes seen does not grow for ever


# ---------------------------------------------------------------- blocks
def test_blocks(pool):
    p = pool()
    a, b = p.acquire(10), p.acquire(5 * MIB)
    assert a.nbytes >= 10 and b.nbytes >= 5 * MIB
    assert a.address % 4096 == b.address % 4096 == 0
    assert p.in_use_bytes() == a.nbytes + b.nbytes
    address = b.address
    p.release(b)
    with pytest.raises(ValueError, match="release: the block was released before"):
        p.release(b)
    assert p.acquire(5 * MIB).address == address
    p.release(memory.Block(address, b.nbytes))
    p.release(a)


# ---------------------------------------------------------------- bounds
def test_the_least_recently_used_blocks_leave_first(pool):
    p = pool(limit=3 * MIB)
    blocks = [p.acquire(size * MIB) for size in (1, 1, 2, 1)]
    addresses = [b.address for b in blocks]
    for b in blocks[:3]:
        p.release(b)
    assert p.cached_bytes() == 3 * MIB  # the first of them made room for the third
    p.release(blocks[3])
    assert p.cached_bytes() == 3 * MIB
    assert p.in_use_bytes() == 0
    one, two = p.acquire(MIB), p.acquire(2 * MIB)
    assert (one.address, two.address) == (addresses[3], addresses[2])
    p.release(one)
    p.release(two)


def test_the_cache_stays_within_its_limit(pool):
    p = pool(limit=8 * MIB)
    rng = np.random.default_rng(2)
    live = []
    for _ in range(300):
        live.append(p.empty((int(rng.integers(10_000, 700_000)),), F32))
        del live[: int(rng.integers(0, 3))]
        assert p.cached_bytes() <= 8 * MIB
    live.clear()
    assert p.cached_bytes() <= 8 * MIB


def test_trim_returns_memory_to_the_system(pool):
    p = pool()
    p.release(p.acquire(MIB))
    kept = p.empty((MIB,), F32)
    kept.fill(5)
    p.trim()
    assert (p.cached_bytes(), p.in_use_bytes()) == (0, 4 * MIB)
    assert (kept == 5).all()


@pytest.mark.parametrize("elements", [1 << 44, 1 << 61, 1 << 80])
def test_out_of_memory_names_the_size(pool, elements):
    p = pool()
    kept = p.empty((MIB // 2,), F32)
    gib = elements * 4 / 2**30
    with pytest.raises(MemoryError, match=rf"the system refused {gib:.1f} GiB; nr holds 2\.0 MiB"):
        p.empty((elements,), F32)
    with pytest.raises(MemoryError, match="out of memory"):
        p.acquire(elements * 4)
    assert p.in_use_bytes() == kept.nbytes


def test_a_refusal_frees_the_cache_and_tries_again(pool, monkeypatch):
    p = pool()
    p.release(p.acquire(MIB))
    system, cached = memory._map, []

    def scarce(size):
        cached.append(p.cached_bytes())
        return None if p.cached_bytes() else system(size)

    monkeypatch.setattr(memory, "_map", scarce)
    assert p.empty((MIB,), F32).nbytes == 4 * MIB
    assert cached == [MIB, 0]


def test_the_limit_of_the_common_pool():
    assert memory.empty.__self__._limit == max(256 * MIB, memory.limits.memory() // 8)
    x = memory.empty((MIB,), F32)
    assert memory.in_use_bytes() >= x.nbytes
    del x
    assert memory.cached_bytes() >= 4 * MIB


# ---------------------------------------------------------------- threads and processes
def test_threads_share_a_pool(pool):
    p = pool(limit=2 * MIB)  # so small that blocks are unmapped all the time
    wrong = []

    def work(k):
        rng = np.random.default_rng(k)
        live = []
        for step in range(300):
            x = p.empty((int(rng.integers(SMALL // 4, 150_000)),), F32)
            x.fill(1000 * k + step)
            live.append((x, 1000 * k + step))
            if len(live) > 3:
                y, value = live.pop(int(rng.integers(4)))
                if not (y == value).all():
                    wrong.append((k, step))

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in workers:
        t.start()
    for t in workers:
        t.join()
    assert wrong == []


def test_arrays_collected_in_the_midst_of_a_method(pool):
    """Cycles of garbage hold arrays; collecting at every allocation runs their finalizers there."""
    p = pool(limit=MIB)
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for n in range(300):
            cycle = [p.empty((SMALL + 1000 * (n % 7),), F32)]
            cycle.append(cycle)
            p.release(p.acquire(100_000 + 5000 * n))
            p.cached_bytes()
    finally:
        gc.set_threshold(*thresholds)
    del cycle
    gc.collect()
    assert p.in_use_bytes() == 0


def run(body):
    """Runs a script in a new process; returns its output."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", body],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_goes_on_with_a_copy():
    output = run("""
import os, threading
import numpy as np
from nr.backends.cpu import memory

F32 = np.dtype("f4")
x = memory.empty((1 << 18,), F32)
x.fill(1)
stop = False
def busy():  # takes and gives back, and counts what is mapped, all the time
    while not stop:
        memory.empty((20_000,), F32)
        memory.trim()
others = [threading.Thread(target=busy) for _ in range(2)]
for t in others:
    t.start()
codes = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        y = memory.empty((1 << 18,), F32)
        y.fill(2)
        good = (x == 1).all() and y.ctypes.data != x.ctypes.data
        x.fill(3)
        memory.trim()
        memory.release(memory.acquire(1 << 24))
        os._exit(7 if good else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop = True
for t in others:
    t.join()
print(set(codes) == {7}, (x == 1).all())
""")
    assert output == ["True", "True"]


def test_arrays_that_outlive_the_modules():
    """The interpreter tears modules down in any order; arrays may be the last to go."""
    output = run("""
import sys
import numpy as np
from nr.backends.cpu import memory
sys.kept = [memory.empty((100_000,), np.dtype("f4")) for _ in range(3)]
sys.kept.append(sys.kept)
print("made")
""")
    assert output == ["made"]
