"""Without this, parallel loops could lose tasks, hang, or keep a process from ending."""

from __future__ import annotations

import contextvars
import ctypes
import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import nr
from nr.backends.cpu import limits, llvm, threads
from nr.backends.cpu.pool import MAX_THREADS, Pool, native

WAIT = 20  # seconds until a test that hangs is a failure

Task = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
Parallel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, Task, ctypes.c_void_p, ctypes.c_int64)


def parallel(handle, task, n, arg=None):
    Parallel(native().parallel)(handle, task, arg, n)


@pytest.fixture
def pool():
    made = []

    def make(n):
        made.append(Pool(n))
        return made[-1]

    yield make
    for p in made:
        p.close()


# `count` adds one to counter i in task i. The two tasks of `meet` wait for each other, but not
# for ever: words are how many have come, and how many gave up.
NATIVE = """
declare void @nr_parallel(ptr, ptr, ptr, i64)
declare i32 @sched_yield()
define internal void @add(ptr %counters, i64 %task, i64 %worker) {
  %at = getelementptr i64, ptr %counters, i64 %task
  %before = load i64, ptr %at
  %after = add i64 %before, 1
  store i64 %after, ptr %at
  ret void
}
define void @count(ptr %handle, ptr %counters, i64 %n, i64 %times) {
entry:
  br label %next
next:
  %turn = phi i64 [ 0, %entry ], [ %following, %next ]
  call void @nr_parallel(ptr %handle, ptr @add, ptr %counters, i64 %n)
  %following = add i64 %turn, 1
  %more = icmp slt i64 %following, %times
  br i1 %more, label %next, label %leave
leave:
  ret void
}
define internal void @wait(ptr %words, i64 %task, i64 %worker) {
entry:
  %before = atomicrmw add ptr %words, i64 1 seq_cst
  %even = add i64 %before, 2
  %goal = and i64 %even, -2
  br label %look
look:
  %turn = phi i64 [ 0, %entry ], [ %following, %next ]
  %come = load atomic i64, ptr %words seq_cst, align 8
  %met = icmp sge i64 %come, %goal
  br i1 %met, label %leave, label %next
next:
  %r = call i32 @sched_yield()
  %following = add i64 %turn, 1
  %patient = icmp slt i64 %following, 5000000
  br i1 %patient, label %look, label %fail
fail:
  %failures = getelementptr i64, ptr %words, i64 1
  %r2 = atomicrmw add ptr %failures, i64 1 seq_cst
  br label %leave
leave:
  ret void
}
define void @meet(ptr %handle, ptr %words) {
  call void @nr_parallel(ptr %handle, ptr @wait, ptr %words, i64 2)
  ret void
}
"""


@pytest.fixture(scope="module")
def functions():
    """The functions above, compiled."""
    imports = {
        "nr_parallel": native().parallel,
        "sched_yield": ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value,
    }
    code = llvm.compile_ir(NATIVE)
    return llvm.load(code, imports=imports, exports=["count", "meet"])


@pytest.fixture
def count(functions):
    """`count(handle, n, times)` runs `times` loops whose task i of n adds one to counter i."""
    types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    function = ctypes.CFUNCTYPE(None, *types)(functions.address("count"))

    def run(handle, n, times):
        counters = np.zeros(max(n, 1), np.int64)
        function(handle, counters.ctypes.data, n, times)
        return counters

    return run


def together(handle, n):
    """Runs n tasks that wait for each other; returns the workers, all of them different ones."""
    barrier = threading.Barrier(n)
    workers = []

    @Task
    def task(arg, i, worker):
        barrier.wait(WAIT)
        workers.append(worker)

    parallel(handle, task, n)
    return sorted(workers)


# ---------------------------------------------------------------- every task once
@pytest.mark.parametrize("team", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, 1001])
def test_every_task_runs_once(pool, count, team, n):
    got = count(pool(team).address, n, 20)
    assert got.tolist() == [20 if n else 0] * max(n, 1)


def test_100000_loops_in_a_row(pool, count):
    handle = pool(2).address
    for n in (2, 5):
        assert set(count(handle, n, 100_000).tolist()) == {100_000}


def test_more_threads_than_processors(pool, count):
    """Helpers that are descheduled, awake or asleep, hold nothing up for good."""
    assert set(count(pool(6).address, 7, 3000).tolist()) == {3000}


def test_several_callers_at_once(pool, count):
    handle = pool(2).address
    got = [None] * 4

    def caller(k):
        got[k] = count(handle, 3 + k, 5000)

    callers = [threading.Thread(target=caller, args=(k,)) for k in range(4)]
    for t in callers:
        t.start()
    for t in callers:
        t.join(WAIT)
    assert [g.tolist() for g in got] == [[5000] * (3 + k) for k in range(4)]


def test_a_loop_in_a_task_runs_in_the_task(pool, count):
    handle = pool(3).address
    inner = []

    @Task
    def task(arg, i, worker):
        inner.append(count(handle, 10, 5))

    parallel(handle, task, 6)
    assert [g.tolist() for g in inner] == [[5] * 10] * 6


def test_the_argument_reaches_the_task(pool):
    value = ctypes.c_int64(7)
    seen = []
    task = Task(lambda arg, i, worker: seen.append(ctypes.c_int64.from_address(arg).value))
    parallel(pool(2).address, task, 3, ctypes.addressof(value))
    assert seen == [7, 7, 7]


# ---------------------------------------------------------------- how many threads
def test_all_threads_take_part(pool):
    assert together(pool(4).address, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("team", "n", "begins"),
    [(2, 2, [0, 1]), (2, 5, [0, 2]), (3, 9, [0, 3, 6]), (4, 8, [0, 2, 4, 6])],
)
def test_threads_begin_with_the_same_part_of_every_loop(pool, team, n, begins):
    """What they have written in one is in their caches in the next."""
    handle = pool(team).address
    for _ in range(50):
        barrier = threading.Barrier(team)
        first = {}

        @Task
        def task(arg, i, worker, barrier=barrier, first=first):
            if worker not in first:
                first[worker] = i
                barrier.wait(WAIT)

        parallel(handle, task, n)
        assert first == dict(enumerate(begins))


def test_sleeping_helpers_wake(pool):
    handle = pool(3).address
    for _ in range(20):
        assert together(handle, 3) == [0, 1, 2]
        time.sleep(0.003)  # many times as long as helpers stay awake


def test_no_call_to_wake_is_lost(pool, functions):
    """Loops that come while a helper is about to sleep, just before and just after, get it."""
    meet = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(functions.address("meet"))
    handle = pool(2).address
    words = (ctypes.c_int64 * 2)()
    for turn in range(4000):
        meet(handle, ctypes.addressof(words))
        until = time.perf_counter_ns() + 47_500 + turn
        while time.perf_counter_ns() < until:
            pass
    assert list(words) == [8000, 0]


def test_threads_up_and_down(pool):
    p = pool(1)
    for n in (1, 4, 2, 3, 1, 4):
        p.set_threads(n)
        assert p.threads == n
        assert together(p.address, n) == list(range(n))
        seen = set()
        parallel(p.address, Task(lambda arg, i, w, seen=seen: seen.add(w)), 50)
        assert max(seen) < n


def test_a_handle_keeps_its_limit(pool):
    p = pool(4)
    assert together(p.address, 4) == [0, 1, 2, 3]  # all helpers are there
    seen = set()

    @Task
    def task(arg, i, worker):
        seen.add(worker)
        time.sleep(0.001)

    parallel(p.handle(2), task, 20)
    assert seen <= {0, 1}
    assert together(p.handle(2), 2) == [0, 1]
    assert p.handle(2) == p.handle(2) != p.handle(3)


def test_helpers_start_with_the_first_loop_that_needs_them(pool):
    def helpers():
        return {t for t in threading.enumerate() if t.name.startswith("nr-worker")}

    before = helpers()
    p = pool(8)
    task = Task(lambda arg, i, worker: None)
    parallel(p.address, task, 1)
    assert helpers() == before
    parallel(p.address, task, 3)
    assert sorted(t.name for t in helpers() - before) == ["nr-worker-1", "nr-worker-2"]
    p.close()
    assert helpers() == before


def test_loops_go_on_where_threads_cannot_start(pool, count, monkeypatch):
    tries = []

    def refuse(thread):
        tries.append(thread)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert count(pool(4).address, 5, 100).tolist() == [100] * 5
    assert len(tries) == 1  # not once a loop


def test_loops_go_on_after_close(pool, count):
    for p in (pool(3), pool(3)):
        count(p.address, 5, 1)
        p.close()
        assert count(p.address, 5, 100).tolist() == [100] * 5


# ---------------------------------------------------------------- processes
PRELUDE = """
import ctypes, os, threading, time
from nr.backends.cpu.pool import Pool, native
Task = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
parallel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, Task, ctypes.c_void_p, ctypes.c_int64)(
    native().parallel
)
def together(handle, n):
    barrier = threading.Barrier(n)
    parallel(handle, Task(lambda arg, i, worker: barrier.wait(20) and None), None, n)
    return not barrier.broken
pool = Pool(2)
"""


def script(body):
    """Runs a script in a new process; returns its output and how long it took to end after."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + textwrap.dedent(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output = process.stdout.readline().strip()
        said = time.monotonic()
        rest, errors = process.communicate(timeout=WAIT)
    finally:
        process.kill()
    assert (process.returncode, rest, errors) == (0, "", "")
    return output, time.monotonic() - said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_starts_its_own_helpers():
    """Also where another thread is in the midst of a loop; and the parent's go on."""
    output, _ = script("""
    inside, leave = threading.Event(), threading.Event()
    def task(arg, i, worker):
        inside.set()
        leave.wait(20)
    other = threading.Thread(target=parallel, args=(pool.address, Task(task), None, 4))
    handle = pool.handle(3)
    other.start()
    inside.wait(20)
    child = os.fork()
    if child == 0:
        good = together(pool.address, 2) and together(handle, 3)
        names = sorted(t.name for t in threading.enumerate() if "worker" in t.name)
        os._exit(7 if good and names == ["nr-worker-1", "nr-worker-2"] else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    leave.set()
    other.join()
    print(status, together(pool.address, 2), flush=True)
    """)
    assert output == "7 True"


@pytest.mark.parametrize("state", ["awake", "asleep", "in a task", "looping"])
def test_the_interpreter_ends_within_a_second(state):
    _, seconds = script(f"""
    state = {state!r}
    together(pool.address, 2)
    if state == "asleep":
        time.sleep(0.1)
    if state in ("in a task", "looping"):
        seconds = 30 if state == "in a task" else 0.001
        def work():
            while True:
                parallel(pool.address, Task(lambda arg, i, worker: time.sleep(seconds)), None, 2)
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.1)
    print("ready", flush=True)
    """)
    assert seconds < 1


# ---------------------------------------------------------------- the public functions
@pytest.fixture
def default(monkeypatch):
    """Computes the default number of threads anew, from these environment variables."""

    def compute(**variables):
        for name in ("NR_NUM_THREADS", "OMP_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(threads, "_threads", None)
        return nr.get_num_threads()

    monkeypatch.setattr(limits, "processors", lambda: 5)
    return compute


def test_the_default(default):
    assert default() == 5
    assert default(OMP_NUM_THREADS="3") == 3
    assert default(OMP_NUM_THREADS="3,1") == 3
    assert default(OMP_NUM_THREADS="zero") == 5
    assert default(OMP_NUM_THREADS="3", NR_NUM_THREADS="4") == 4
    assert default(NR_NUM_THREADS="") == 5


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5", "257"])
def test_a_wrong_environment_variable_is_refused(default, text):
    with pytest.raises(
        ValueError, match=f"NR_NUM_THREADS must be an int from 1 to 256; got '{text}"
    ):
        default(NR_NUM_THREADS=text)


def test_set_num_threads():
    before = nr.get_num_threads()
    try:
        for n in (3, np.int64(1), MAX_THREADS, 2):
            nr.set_num_threads(n)
            assert nr.get_num_threads() == n == threads.pool().threads
            assert threads.team() == (threads.pool().handle(n), n)
    finally:
        nr.set_num_threads(before)


@pytest.mark.parametrize("op", ["set_num_threads", "num_threads"])
def test_wrong_numbers_are_refused(op):
    def use(n):
        if op == "set_num_threads":
            nr.set_num_threads(n)
        else:
            with nr.num_threads(n):
                pass

    before = nr.get_num_threads()
    for n in (2.0, True, "2", None):
        with pytest.raises(TypeError, match=f"{op}: n must be an int; got {n!r}. Write nr.{op}"):
            use(n)
    for n in (0, -1, 257):
        with pytest.raises(ValueError, match=f"{op}: n must be from 1 to 256; got {n}. Write nr"):
            use(n)
    assert nr.get_num_threads() == before


def test_num_threads_holds_in_its_block_and_its_thread():
    before = nr.get_num_threads()
    elsewhere = []
    with nr.num_threads(before + 2):
        assert nr.get_num_threads() == before + 2
        assert threads.team() == (threads.pool().handle(before + 2), before + 2)
        with nr.num_threads(1):
            assert nr.get_num_threads() == 1
        thread = threading.Thread(target=lambda: elsewhere.append(nr.get_num_threads()))
        # Python can be built, or told, to give new threads a copy of the context.
        contextvars.Context().run(thread.start)
        thread.join()
        assert nr.get_num_threads() == before + 2
    assert elsewhere == [before]
    with pytest.raises(KeyError), nr.num_threads(before + 1):
        raise KeyError
    assert nr.get_num_threads() == before


# ---------------------------------------------------------------- what the system allows
@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Pretends that these are the control groups' files, and that there are 64 processors."""

    def write(**files):
        for path, text in files["files"].items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (tmp_path / "self").write_text(files["line"])

    monkeypatch.setattr(limits, "_PROC", tmp_path / "self")
    monkeypatch.setattr(limits, "_ROOT", tmp_path)
    monkeypatch.setattr(limits.os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    return write


@pytest.mark.parametrize(
    ("line", "files", "want"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ("0::/host/path\n", {"cpu.max": "50000 100000\n"}, 1),
        (
            "3:cpu,cpuacct:/x\n2:memory:/x\n",
            {"cpu/x/cpu.cfs_quota_us": "400000", "cpu/x/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
    ],
)
def test_processors_follow_the_quota(groups, line, files, want):
    groups(line=line, files=files)
    assert limits.processors() == want


@pytest.mark.parametrize(
    ("line", "files", "want"),
    [
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/a\n", {"memory.max": "max", "a/memory.max": "1048576\n"}, 1 << 20),
        ("2:memory:/a\n", {"memory/a/memory.limit_in_bytes": "2097152\n"}, 2 << 20),
        ("2:memory:/\n", {"memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, None),
    ],
)
def test_memory_follows_the_limit(groups, line, files, want):
    groups(line="", files={})
    whole = limits.memory()
    groups(line=line, files=files)
    assert limits.memory() == (want or whole)
