"""The pool of threads that compiled programs run their parallel loops on.

The native half is LLVM IR: `nr_parallel` hands out the tasks of one loop, `nr_worker` is the life
of a helper thread. Both work on one *block* of shared words. The Python half allocates the block
and starts the helpers, as daemon threads that spend their lives in `nr_worker`, without the GIL.

Programs do not hold the block but a *handle*, two words: the address of the block, and how many
threads a loop may use. So a handle stays valid in a forked child, where the block is a new one,
and tasks never see a worker number that is not below the handle's limit.

How a loop is handed out: its tasks are a few shares, each a word of the block that holds the
loop's number (upper half) and how many tasks of the share are not yet taken (lower half). Whoever
lowers that by compare and swap has taken a task. The words that say what to run are written only
while nothing is left of any share, so the swap succeeds only if what was read of them belongs to
this loop. The caller waits for the tasks that were taken, not for the helpers: one that is asleep
or descheduled delays nobody.

A thread begins with a share of its own, the same part of every loop, and goes on with those of
others: what it has written in one loop it reads in the next, from its own caches, which on some
processors is several times as fast as from those of another core.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import platform
import threading
import time
from functools import cache
from typing import Any

from nr.backends.cpu import llvm

MAX_THREADS = 256
_SPIN_NS = 50_000  # how long a helper without work keeps its core before it sleeps
_YIELD_AFTER = 1000  # pauses until the waiting caller starts to offer its core to others

# Byte offsets in the block. What different threads write lies 128 bytes apart: that is a cache
# line on Apple's processors, and two lines, which are fetched together, on Intel's.
# What a loop is fits in one line: its number, what to run, how many tasks (lower half) for how many
# threads (upper half), and the shares.
_LOOP, _FN, _ARG, _SIZES, _SHARES = 0, 8, 16, 24, 32
_MOST_SHARES = 4
_CLOSED = 64
_DONE = 128
_LOCK, _STARTED, _START = 256, 264, 272
_ASLEEP = 384
_SLOTS = _ASLEEP + 8 * MAX_THREADS
_SLOT_SIZE, _CONDITION = 256, 128  # a mutex, then a condition variable: at most 64 bytes each
_BLOCK_SIZE = _SLOTS + _SLOT_SIZE * MAX_THREADS

_IMPORTS = (
    "clock_gettime",
    "pthread_cond_init",
    "pthread_cond_signal",
    "pthread_cond_wait",
    "pthread_mutex_init",
    "pthread_mutex_lock",
    "pthread_mutex_unlock",
    "sched_yield",
)
_EXPORTS = ("nr_parallel", "nr_worker", "nr_close")


def _pause() -> tuple[str, str]:
    """The declaration and the call that tell the processor that a loop is waiting."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return "declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"
    if machine in ("aarch64", "arm64"):
        return "declare void @llvm.aarch64.hint(i32 immarg)", "call void @llvm.aarch64.hint(i32 1)"
    return "", ""


def pool_ir() -> str:
    """The pool's functions, as LLVM IR.

    `void nr_parallel(ptr handle, ptr fn, ptr arg, i64 n)` runs `fn(arg, task, worker)` for the
    tasks 0 … n-1 and returns when all are done. The caller is worker 0. It runs all tasks itself
    where the pool is busy: another thread is in `nr_parallel`, or a task is what calls it.
    `void nr_worker(ptr block, i64 worker)` serves loops until `void nr_close(ptr block)`.
    """
    declare_pause, pause = _pause()
    return f"""
declare i32 @clock_gettime(i32, ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @sched_yield()
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
{declare_pause}

; How many threads have a task of a loop at first: at least one.
define internal i64 @team(i64 %sizes) {{
  %n = and i64 %sizes, 4294967295
  %limit = lshr i64 %sizes, 32
  %fewest = call i64 @llvm.umin.i64(i64 %limit, i64 %n)
  %team = call i64 @llvm.umax.i64(i64 %fewest, i64 1)
  ret i64 %team
}}

; How many shares a loop has.
define internal i64 @shares(i64 %sizes) {{
  %team = call i64 @team(i64 %sizes)
  %shares = call i64 @llvm.umin.i64(i64 %team, i64 {_MOST_SHARES})
  ret i64 %shares
}}

; The task that a share begins with.
define internal i64 @first(i64 %sizes, i64 %share) {{
  %n = and i64 %sizes, 4294967295
  %shares = call i64 @shares(i64 %sizes)
  %before = mul i64 %share, %n
  %task = udiv i64 %before, %shares
  ret i64 %task
}}

; Runs tasks of the current loop until none is left to take; returns how many.
define internal i64 @take(ptr %block, i64 %worker) {{
entry:
  %fn.at = getelementptr i8, ptr %block, i64 {_FN}
  %arg.at = getelementptr i8, ptr %block, i64 {_ARG}
  %sizes.at = getelementptr i8, ptr %block, i64 {_SIZES}
  %shares.at = getelementptr i8, ptr %block, i64 {_SHARES}
  ; Neighbouring threads have a share in common, if there are fewer.
  %sizes.now = load atomic i64, ptr %sizes.at monotonic, align 8
  %shares = call i64 @shares(i64 %sizes.now)
  %team = call i64 @team(i64 %sizes.now)
  %scaled = mul i64 %worker, %shares
  %own = udiv i64 %scaled, %team
  br label %scan
scan:
  %turn = phi i64 [ 0, %entry ], [ %turn.more, %empty ]
  %found = phi i64 [ 0, %entry ], [ %taken, %empty ]
  %more = icmp slt i64 %turn, {_MOST_SHARES}
  br i1 %more, label %visit, label %leave
visit:
  %turned = add i64 %own, %turn
  %share = urem i64 %turned, {_MOST_SHARES}
  %share.at = getelementptr i64, ptr %shares.at, i64 %share
  %following = add i64 %share, 1
  br label %next
next:
  %taken = phi i64 [ %found, %visit ], [ %taken.more, %run ]
  %state.new = load atomic i64, ptr %share.at acquire, align 8
  br label %attempt
attempt:
  %state = phi i64 [ %state.new, %next ], [ %state.seen, %swap ]
  %left = and i64 %state, 4294967295
  %none = icmp eq i64 %left, 0
  br i1 %none, label %empty, label %read
read:
  %fn = load atomic ptr, ptr %fn.at monotonic, align 8
  %arg = load atomic ptr, ptr %arg.at monotonic, align 8
  %sizes = load atomic i64, ptr %sizes.at monotonic, align 8
  %limit = lshr i64 %sizes, 32
  %mine = icmp slt i64 %worker, %limit
  br i1 %mine, label %swap, label %empty
swap:
  %lower = sub i64 %state, 1
  %pair = cmpxchg ptr %share.at, i64 %state, i64 %lower acq_rel acquire, align 8
  %state.seen = extractvalue {{ i64, i1 }} %pair, 0
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %run, label %attempt
run:
  %end = call i64 @first(i64 %sizes, i64 %following)
  %task = sub i64 %end, %left
  call void %fn(ptr %arg, i64 %task, i64 %worker)
  %taken.more = add i64 %taken, 1
  br label %next
empty:
  %turn.more = add i64 %turn, 1
  br label %scan
leave:
  ret i64 %found
}}

; Wakes those of the helpers 1 … end-1 that sleep.
define internal void @wake(ptr %block, i64 %end) {{
entry:
  br label %next
next:
  %worker = phi i64 [ 1, %entry ], [ %following, %continue ]
  %more = icmp slt i64 %worker, %end
  br i1 %more, label %look, label %leave
look:
  %asleep.offset = mul i64 %worker, 8
  %asleep.base = getelementptr i8, ptr %block, i64 {_ASLEEP}
  %asleep.at = getelementptr i8, ptr %asleep.base, i64 %asleep.offset
  %asleep = load atomic i64, ptr %asleep.at seq_cst, align 8
  %awake = icmp eq i64 %asleep, 0
  br i1 %awake, label %continue, label %rouse
rouse:
  %slot.offset = mul i64 %worker, {_SLOT_SIZE}
  %slot.base = getelementptr i8, ptr %block, i64 {_SLOTS}
  %slot = getelementptr i8, ptr %slot.base, i64 %slot.offset
  %condition = getelementptr i8, ptr %slot, i64 {_CONDITION}
  %r1 = call i32 @pthread_mutex_lock(ptr %slot)
  store atomic i64 0, ptr %asleep.at seq_cst, align 8
  %r2 = call i32 @pthread_cond_signal(ptr %condition)
  %r3 = call i32 @pthread_mutex_unlock(ptr %slot)
  br label %continue
continue:
  %following = add i64 %worker, 1
  br label %next
leave:
  ret void
}}

define void @nr_parallel(ptr %handle, ptr %fn, ptr %arg, i64 %n) {{
entry:
  %limit.at = getelementptr i8, ptr %handle, i64 8
  %limit = load atomic i64, ptr %limit.at monotonic, align 8
  %team = call i64 @llvm.smin.i64(i64 %limit, i64 %n)
  %several = icmp sgt i64 %team, 1
  %fits = icmp slt i64 %n, 4294967296
  %worth = and i1 %several, %fits
  br i1 %worth, label %try, label %alone
try:
  %block = load atomic ptr, ptr %handle monotonic, align 8
  %lock.at = getelementptr i8, ptr %block, i64 {_LOCK}
  %pair = cmpxchg ptr %lock.at, i64 0, i64 1 acquire monotonic, align 8
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %locked, label %alone
locked:
  %started.at = getelementptr i8, ptr %block, i64 {_STARTED}
  %started = load atomic i64, ptr %started.at monotonic, align 8
  %enough = icmp sge i64 %started, %team
  br i1 %enough, label %publish, label %start
start:
  %start.at = getelementptr i8, ptr %block, i64 {_START}
  %start.fn = load ptr, ptr %start.at, align 8
  call void %start.fn(i64 %team)
  br label %publish
publish:
  %fn.at = getelementptr i8, ptr %block, i64 {_FN}
  %arg.at = getelementptr i8, ptr %block, i64 {_ARG}
  %sizes.at = getelementptr i8, ptr %block, i64 {_SIZES}
  %shares.at = getelementptr i8, ptr %block, i64 {_SHARES}
  %loop.at = getelementptr i8, ptr %block, i64 {_LOOP}
  %done.at = getelementptr i8, ptr %block, i64 {_DONE}
  %limit.upper = shl i64 %limit, 32
  %sizes = or i64 %limit.upper, %n
  store atomic ptr %fn, ptr %fn.at monotonic, align 8
  store atomic ptr %arg, ptr %arg.at monotonic, align 8
  store atomic i64 %sizes, ptr %sizes.at monotonic, align 8
  store atomic i64 0, ptr %done.at monotonic, align 8
  %before = load atomic i64, ptr %loop.at monotonic, align 8
  %loop = add i64 %before, 1
  %loop.upper = shl i64 %loop, 32
  %shares = call i64 @shares(i64 %sizes)
  br label %share
share:
  %k = phi i64 [ 0, %publish ], [ %k.more, %share ]
  %k.more = add i64 %k, 1
  %begin = call i64 @first(i64 %sizes, i64 %k)
  %end = call i64 @first(i64 %sizes, i64 %k.more)
  %left = sub i64 %end, %begin
  %state = or i64 %loop.upper, %left
  %share.at = getelementptr i64, ptr %shares.at, i64 %k
  store atomic i64 %state, ptr %share.at release, align 8
  %shares.more = icmp slt i64 %k.more, %shares
  br i1 %shares.more, label %share, label %call
call:
  ; Sequentially consistent, as is the helper's flag: of this store and the look at the flags, and
  ; the helper's store of its flag and look at the loop, one look must see the other's store.
  store atomic i64 %loop, ptr %loop.at seq_cst, align 8
  call void @wake(ptr %block, i64 %team)
  %mine = call i64 @take(ptr %block, i64 0)
  %others = sub i64 %n, %mine
  br label %wait
wait:
  %turns = phi i64 [ 0, %call ], [ %turns.more, %spin ], [ %turns, %offer ]
  %done = load atomic i64, ptr %done.at acquire, align 8
  %all = icmp eq i64 %done, %others
  br i1 %all, label %finish, label %hold
hold:
  %patient = icmp slt i64 %turns, {_YIELD_AFTER}
  br i1 %patient, label %spin, label %offer
spin:
  {pause}
  %turns.more = add i64 %turns, 1
  br label %wait
offer:
  %r = call i32 @sched_yield()
  br label %wait
finish:
  store atomic i64 0, ptr %lock.at release, align 8
  ret void
alone:
  br label %next
next:
  %task = phi i64 [ 0, %alone ], [ %task.more, %run ]
  %more = icmp slt i64 %task, %n
  br i1 %more, label %run, label %leave
run:
  call void %fn(ptr %arg, i64 %task, i64 0)
  %task.more = add i64 %task, 1
  br label %next
leave:
  ret void
}}

define internal i64 @now(ptr %time) {{
  %r = call i32 @clock_gettime(i32 {time.CLOCK_MONOTONIC}, ptr %time)
  %seconds = load i64, ptr %time, align 8
  %nanos.at = getelementptr i8, ptr %time, i64 8
  %nanos = load i64, ptr %nanos.at, align 8
  %scaled = mul i64 %seconds, 1000000000
  %now = add i64 %scaled, %nanos
  ret i64 %now
}}

define void @nr_worker(ptr %block, i64 %worker) {{
entry:
  %time = alloca [2 x i64], align 8
  %seen = alloca i64, align 8
  store i64 0, ptr %seen, align 8
  %loop.at = getelementptr i8, ptr %block, i64 {_LOOP}
  %closed.at = getelementptr i8, ptr %block, i64 {_CLOSED}
  %done.at = getelementptr i8, ptr %block, i64 {_DONE}
  %asleep.offset = mul i64 %worker, 8
  %asleep.base = getelementptr i8, ptr %block, i64 {_ASLEEP}
  %asleep.at = getelementptr i8, ptr %asleep.base, i64 %asleep.offset
  %slot.offset = mul i64 %worker, {_SLOT_SIZE}
  %slot.base = getelementptr i8, ptr %block, i64 {_SLOTS}
  %slot = getelementptr i8, ptr %slot.base, i64 %slot.offset
  %condition = getelementptr i8, ptr %slot, i64 {_CONDITION}
  %r1 = call i32 @pthread_mutex_init(ptr %slot, ptr null)
  %r2 = call i32 @pthread_cond_init(ptr %condition, ptr null)
  br label %idle
idle:
  %since = call i64 @now(ptr %time)
  br label %look
look:
  %turns = phi i64 [ 0, %idle ], [ %turns.more, %rest ], [ 0, %clock ]
  %loop = load atomic i64, ptr %loop.at acquire, align 8
  %loop.seen = load i64, ptr %seen, align 8
  %new = icmp ne i64 %loop, %loop.seen
  br i1 %new, label %serve, label %ask
serve:
  store i64 %loop, ptr %seen, align 8
  %taken = call i64 @take(ptr %block, i64 %worker)
  %some = icmp sgt i64 %taken, 0
  br i1 %some, label %report, label %ask
report:
  %r3 = atomicrmw add ptr %done.at, i64 %taken release, align 8
  br label %idle
ask:
  %closed = load atomic i64, ptr %closed.at monotonic, align 8
  %open = icmp eq i64 %closed, 0
  br i1 %open, label %rest, label %leave
rest:
  {pause}
  %turns.more = add i64 %turns, 1
  %early = icmp slt i64 %turns.more, 32
  br i1 %early, label %look, label %clock
clock:
  %now = call i64 @now(ptr %time)
  %waited = sub i64 %now, %since
  %hopeful = icmp slt i64 %waited, {_SPIN_NS}
  br i1 %hopeful, label %look, label %bed
bed:
  %r4 = call i32 @pthread_mutex_lock(ptr %slot)
  store atomic i64 1, ptr %asleep.at seq_cst, align 8
  %loop.now = load atomic i64, ptr %loop.at seq_cst, align 8
  %loop.last = load i64, ptr %seen, align 8
  %call = icmp ne i64 %loop.now, %loop.last
  %closed.now = load atomic i64, ptr %closed.at seq_cst, align 8
  %closing = icmp ne i64 %closed.now, 0
  %up = or i1 %call, %closing
  br i1 %up, label %stay, label %sleep
stay:
  store atomic i64 0, ptr %asleep.at monotonic, align 8
  br label %rise
sleep:
  %r5 = call i32 @pthread_cond_wait(ptr %condition, ptr %slot)
  %asleep = load atomic i64, ptr %asleep.at monotonic, align 8
  %spurious = icmp ne i64 %asleep, 0
  br i1 %spurious, label %sleep, label %rise
rise:
  %r6 = call i32 @pthread_mutex_unlock(ptr %slot)
  br label %idle
leave:
  ret void
}}

define void @nr_close(ptr %block) {{
  %closed.at = getelementptr i8, ptr %block, i64 {_CLOSED}
  store atomic i64 1, ptr %closed.at seq_cst, align 8
  call void @wake(ptr %block, i64 {MAX_THREADS})
  ret void
}}
"""


def _immortal(thing: Any) -> Any:
    """Keeps what helper threads use in place after the interpreter has torn down its modules."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    return thing


class _Native:
    """The compiled functions of the pool."""

    def __init__(self) -> None:
        process = ctypes.CDLL(None)
        imports = {
            name: ctypes.cast(getattr(process, name), ctypes.c_void_p).value or 0
            for name in _IMPORTS
        }
        code = llvm.compile_many([pool_ir()])[0]
        loaded = _immortal(llvm.load(code, imports=imports, exports=_EXPORTS))
        worker, close = loaded.address("nr_worker"), loaded.address("nr_close")
        self.parallel: int = loaded.address("nr_parallel")
        self.worker = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(worker)
        self.close = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(close)


@cache
def native() -> _Native:
    """The compiled functions, compiled on first use: `parallel` is the address of nr_parallel."""
    return _immortal(_Native())


_StartFunction = ctypes.CFUNCTYPE(None, ctypes.c_int64)


class Pool:
    """Threads that share the tasks of native parallel loops.

    The helper threads are started when a loop first needs them. A forked child has none and starts
    its own. (A child forked by a task itself cannot go on in the loop that it was forked in.)

    Attributes:
        address: Address of the handle that `nr_parallel` takes. It never changes; loops run with
            as many threads as `set_threads` last said.
    """

    def __init__(self, threads: int) -> None:
        self._native = native()
        self._handles: dict[int, ctypes.Array] = {}
        self._default = (ctypes.c_int64 * 2)(0, threads)
        self.address: int = ctypes.addressof(self._default)
        self._start_callback = _immortal(_StartFunction(self._start))
        self._new_block()
        os.register_at_fork(after_in_child=self._new_block)
        atexit.register(self.close)

    @property
    def threads(self) -> int:
        """How many threads loops use, the calling one included."""
        return self._default[1]

    def set_threads(self, n: int) -> None:
        """Sets how many threads the loops that start from now on use: 1 … MAX_THREADS."""
        self._default[1] = n

    def handle(self, n: int) -> int:
        """The address of a handle for loops of up to `n` threads, whatever `threads` says."""
        words = self._handles.get(n)
        if words is None:
            words = self._handles.setdefault(n, (ctypes.c_int64 * 2)(self._block, n))
        return ctypes.addressof(words)

    def close(self) -> None:
        """Ends the helper threads. Loops still work afterwards; their callers run all tasks."""
        self._closed = True
        self._native.close(self._block)
        deadline = time.monotonic() + 0.2
        for thread in self._helpers:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _new_block(self) -> None:
        memory = _immortal(ctypes.create_string_buffer(_BLOCK_SIZE + 128))
        self._block: int = (ctypes.addressof(memory) + 127) & ~127
        self._helpers: list[threading.Thread] = []
        self._closed = False
        self._word(_STARTED).value = 1
        self._word(_START).value = ctypes.cast(self._start_callback, ctypes.c_void_p).value or 0
        for words in (self._default, *self._handles.values()):
            words[0] = self._block

    def _word(self, offset: int) -> ctypes.c_int64:
        return ctypes.c_int64.from_address(self._block + offset)

    def _start(self, team: int) -> None:
        """Starts the helpers up to number `team` - 1. The caller has the block's lock."""
        started = self._word(_STARTED)
        # No thread can start in a closing interpreter, or beyond the system's limits.
        with contextlib.suppress(RuntimeError):
            while started.value < team and not self._closed:
                worker = started.value
                started.value = worker + 1
                thread = threading.Thread(
                    target=self._native.worker,
                    args=(self._block, worker),
                    name=f"nr-worker-{worker}",
                    daemon=True,
                )
                thread.start()
                self._helpers.append(thread)
            if not self._closed:
                return
        # The loop does without them, and so do later ones: trying costs more than most loops take.
        started.value = MAX_THREADS
