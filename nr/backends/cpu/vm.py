"""The machine that runs a program's plan: one native call from start to end.

A plan is an array of words, written by `assembly.py`: regions of kernels, branches, jumps, copies
and Python callbacks. It has no addresses of arrays in it but numbers of *slots*; a call brings a
frame, an array of words too, whose slots hold the addresses of this call's inputs, outputs,
temporaries and constants. So one plan serves several threads at once, and loops step through
arrays, or swap buffers, by changing slots.

For a step in Python the machine returns, and is called again to go on: nothing native lies between
the step and the caller. Now and then it lets Python's signal handlers run; if one raises, the
machine stops and the exception is raised by the call.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from nr.backends.cpu import llvm, pool

# The words at the head of a frame; the slots follow.
(
    POOL, SCRATCH, SCRATCH_STRIDE, POLL, BUDGET, ROOM, STOPPED, RESUME, THREAD, OWNER, CODE,
    FIRST_SLOT,
) = range(12)  # fmt: skip

# Instructions: [operation, words ...].
(
    END, REGION, PYTHON, JUMP, JUMP_UNLESS, SWITCH, COUNT, ADD, SET, SWAP, COPY, BACK, VIEW,
) = range(13)  # fmt: skip

# Work, in estimated nanoseconds, between two looks for signals.
BUDGET_NS = 5_000_000

_STAGE = 6  # words of a stage in a region's context: fn, first, n, units, chunk, args


def _object_layout() -> tuple[int, int]:
    """Where a NumPy array object holds its data pointer, and its flags (NumPy's C ABI)."""
    for size in (3, 5):
        array = np.zeros((size, 1, 2))
        words = (ctypes.c_int64 * 8).from_address(id(array))
        data = next(k for k in range(8) if words[k] == array.ctypes.data)
        # data, nd (an int), dimensions, strides, base, descr, flags (an int)
        flags = 8 * data + 48
        known = ctypes.c_int.from_address(id(array) + flags).value
        assert known == array.flags.num, "NumPy's array objects have another layout than expected"
    return 8 * data, flags


def vm_ir() -> str:
    """The machine's functions, as LLVM IR.

    ``i64 nr_run(ptr frame, ptr arrays, i64 n)`` takes the addresses of n arrays from a tuple object
    into the first slots, then runs from where the word RESUME says. It gives 0 at the end, -k-1 if
    array k is not contiguous, 1+k for step k in Python (another call goes on after it), and
    anything if it was stopped: then a Python exception is set. The caller holds the GIL, which
    `nr_run_released` releases meanwhile.
    """
    data, flags = _object_layout()
    names = [
        "end", "region", "python", "jump", "unless", "switch", "count", "add", "set", "swap",
        "copy", "back", "view",
    ]  # fmt: skip
    targets = " ".join([f"i64 {i}, label %{name}" for i, name in enumerate(names)])

    def words(operation: str, *names: str) -> str:
        """The words behind an instruction's number, as ``%operation.name``."""
        return "".join([
            f"  %{operation}.{name}.at = getelementptr i64, ptr %op.at, i64 {k}\n"
            f"  %{operation}.{name} = load i64, ptr %{operation}.{name}.at\n"
            for k, name in enumerate(names, 1)
        ])  # fmt: skip

    def slot(name: str, number: str) -> str:
        """The address of a slot."""
        return f"  %{name} = getelementptr i64, ptr %slots, i64 {number}\n"

    return f"""
declare void @nr_parallel(ptr, ptr, ptr, i64)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

; One task of a region. The context: stages, scratch, scratch stride, then the stages.
define internal void @task(ptr %context, i64 %task, i64 %worker) {{
entry:
  %n = load i64, ptr %context
  %scratch.at = getelementptr i64, ptr %context, i64 1
  %scratch.base = load i64, ptr %scratch.at
  %stride.at = getelementptr i64, ptr %context, i64 2
  %stride = load i64, ptr %stride.at
  %own = mul i64 %worker, %stride
  %scratch.int = add i64 %scratch.base, %own
  %scratch = inttoptr i64 %scratch.int to ptr
  %stages = getelementptr i64, ptr %context, i64 3
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k.more, %continue ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %look, label %leave
look:
  %stage.offset = mul i64 %k, {_STAGE}
  %stage = getelementptr i64, ptr %stages, i64 %stage.offset
  %first.at = getelementptr i64, ptr %stage, i64 1
  %first = load i64, ptr %first.at
  %count.at = getelementptr i64, ptr %stage, i64 2
  %count = load i64, ptr %count.at
  %mine = sub i64 %task, %first
  %inside = icmp ult i64 %mine, %count
  br i1 %inside, label %run, label %continue
run:
  %fn = load ptr, ptr %stage
  %units.at = getelementptr i64, ptr %stage, i64 3
  %units = load i64, ptr %units.at
  %chunk.at = getelementptr i64, ptr %stage, i64 4
  %chunk = load i64, ptr %chunk.at
  %args.at = getelementptr i64, ptr %stage, i64 5
  %args = load ptr, ptr %args.at
  %low = mul i64 %mine, %chunk
  %end = add i64 %low, %chunk
  %high = call i64 @llvm.smin.i64(i64 %end, i64 %units)
  call void %fn(ptr %args, i64 %low, i64 %high, ptr %scratch)
  br label %continue
continue:
  %k.more = add i64 %k, 1
  br label %next
leave:
  ret void
}}

declare i32 @PyErr_CheckSignals()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @pthread_self()

; Lets signal handlers run, in the thread that called the program; says whether to stop.
define i64 @nr_poll(ptr %frame) {{
entry:
  %stopped.at = getelementptr i64, ptr %frame, i64 {STOPPED}
  %thread.at = getelementptr i64, ptr %frame, i64 {THREAD}
  %owner.at = getelementptr i64, ptr %frame, i64 {OWNER}
  %owner = load ptr, ptr %owner.at
  %self = call ptr @pthread_self()
  %mine = icmp eq ptr %self, %owner
  br i1 %mine, label %look, label %leave
look:
  %thread = load ptr, ptr %thread.at
  %held = icmp eq ptr %thread, null
  br i1 %held, label %check, label %acquire
acquire:
  call void @PyEval_RestoreThread(ptr %thread)
  br label %check
check:
  %result = call i32 @PyErr_CheckSignals()
  %raised = icmp slt i32 %result, 0
  %word = zext i1 %raised to i64
  store i64 %word, ptr %stopped.at
  br i1 %held, label %leave, label %release
release:
  %again = call ptr @PyEval_SaveThread()
  store ptr %again, ptr %thread.at
  br label %leave
leave:
  %stopped = load i64, ptr %stopped.at
  ret i64 %stopped
}}

define i64 @nr_run_released(ptr %frame, ptr %arrays, i64 %n) {{
  %thread.at = getelementptr i64, ptr %frame, i64 {THREAD}
  %thread = call ptr @PyEval_SaveThread()
  store ptr %thread, ptr %thread.at
  %status = call i64 @nr_run(ptr %frame, ptr %arrays, i64 %n)
  %now = load ptr, ptr %thread.at
  call void @PyEval_RestoreThread(ptr %now)
  ret i64 %status
}}

define i64 @nr_run(ptr %frame, ptr %arrays, i64 %n) {{
entry:
  %code.at = getelementptr i64, ptr %frame, i64 {CODE}
  %code = load ptr, ptr %code.at
  %resume.at = getelementptr i64, ptr %frame, i64 {RESUME}
  %start = load i64, ptr %resume.at
  %poll.at = getelementptr i64, ptr %frame, i64 {POLL}
  store ptr @nr_poll, ptr %poll.at
  %owner.at = getelementptr i64, ptr %frame, i64 {OWNER}
  %self = call ptr @pthread_self()
  store ptr %self, ptr %owner.at
  %slots = getelementptr i64, ptr %frame, i64 {FIRST_SLOT}
  %budget.at = getelementptr i64, ptr %frame, i64 {BUDGET}
  %items = getelementptr i8, ptr %arrays, i64 24
  br label %take
take:
  %i = phi i64 [ 0, %entry ], [ %i.more, %taken ]
  %left = icmp slt i64 %i, %n
  br i1 %left, label %look, label %fetch
look:
  %item.at = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %item.at
  %flags.at = getelementptr i8, ptr %item, i64 {flags}
  %flags = load i32, ptr %flags.at
  %wanted = and i32 %flags, 257
  %contiguous = icmp eq i32 %wanted, 257
  %i.more = add i64 %i, 1
  br i1 %contiguous, label %taken, label %refuse
refuse:
  %refused = sub i64 0, %i.more
  ret i64 %refused
taken:
  %data.at = getelementptr i8, ptr %item, i64 {data}
  %data = load i64, ptr %data.at
  %slot.at = getelementptr i64, ptr %slots, i64 %i.more
  store i64 %data, ptr %slot.at
  br label %take

fetch:
  %pc = phi i64 [ %start, %take ], [ %pc.region, %region.well ],
    [ %jump.to, %jump ], [ %unless.pc, %unless ], [ %switch.pc, %switch ], [ %count.pc, %count ],
    [ %pc.add, %add ], [ %pc.set, %set ], [ %pc.swap, %swap ], [ %pc.copy, %copy ],
    [ %back.to, %back ], [ %poll.to, %poll ], [ %pc.view, %view ]
  %op.at = getelementptr i64, ptr %code, i64 %pc
  %op = load i64, ptr %op.at
  switch i64 %op, label %end [ {targets} ]
end:
  store i64 0, ptr %resume.at
  ret i64 0

; [REGION, length, stages, tasks, work, then a stage:
;  fn, first, n, units, chunk, args, 2 * args words]
region:
{words("region", "length", "stages", "tasks", "work")}
  %pc.region = add i64 %pc, %region.length
  %budget = load i64, ptr %budget.at
  %budget.less = sub i64 %budget, %region.work
  store i64 %budget.less, ptr %budget.at
  %room.at = getelementptr i64, ptr %frame, i64 {ROOM}
  %context = load ptr, ptr %room.at
  %pool.at = getelementptr i64, ptr %frame, i64 {POOL}
  %pool = load ptr, ptr %pool.at
  store i64 %region.stages, ptr %context
  %scratch.from = getelementptr i64, ptr %frame, i64 {SCRATCH}
  %scratch = load i64, ptr %scratch.from
  %context.scratch = getelementptr i64, ptr %context, i64 1
  store i64 %scratch, ptr %context.scratch
  %stride.from = getelementptr i64, ptr %frame, i64 {SCRATCH_STRIDE}
  %stride = load i64, ptr %stride.from
  %context.stride = getelementptr i64, ptr %context, i64 2
  store i64 %stride, ptr %context.stride
  %context.stages = getelementptr i64, ptr %context, i64 3
  %stage.words = mul i64 %region.stages, {_STAGE}
  %args.first = getelementptr i64, ptr %context.stages, i64 %stage.words
  %source.first = getelementptr i64, ptr %op.at, i64 5
  br label %stage
stage:
  %s = phi i64 [ 0, %region ], [ %s.more, %stage.end ]
  %source = phi ptr [ %source.first, %region ], [ %source.next, %stage.end ]
  %args = phi ptr [ %args.first, %region ], [ %args.next, %stage.end ]
  %s.left = icmp slt i64 %s, %region.stages
  br i1 %s.left, label %stage.copy, label %region.run
stage.copy:
  %target.offset = mul i64 %s, {_STAGE}
  %target = getelementptr i64, ptr %context.stages, i64 %target.offset
  call void @llvm.memmove.p0.p0.i64(ptr %target, ptr %source, i64 40, i1 false)
  %target.args = getelementptr i64, ptr %target, i64 5
  store ptr %args, ptr %target.args
  %nargs.at = getelementptr i64, ptr %source, i64 5
  %nargs = load i64, ptr %nargs.at
  %pairs = getelementptr i64, ptr %source, i64 6
  br label %arg
arg:
  %a = phi i64 [ 0, %stage.copy ], [ %a.more, %arg.store ]
  %a.left = icmp slt i64 %a, %nargs
  br i1 %a.left, label %arg.load, label %stage.end
arg.load:
  %pair.offset = mul i64 %a, 2
  %base.at = getelementptr i64, ptr %pairs, i64 %pair.offset
  %base = load i64, ptr %base.at
  %value.at = getelementptr i64, ptr %base.at, i64 1
  %value = load i64, ptr %value.at
  %is.address = icmp sge i64 %base, 0
  br i1 %is.address, label %arg.address, label %arg.store
arg.address:
  %base.slot = getelementptr i64, ptr %slots, i64 %base
  %base.value = load i64, ptr %base.slot
  %address = add i64 %base.value, %value
  br label %arg.store
arg.store:
  %arg.value = phi i64 [ %value, %arg.load ], [ %address, %arg.address ]
  %arg.at = getelementptr i64, ptr %args, i64 %a
  store i64 %arg.value, ptr %arg.at
  %a.more = add i64 %a, 1
  br label %arg
stage.end:
  %pair.words = mul i64 %nargs, 2
  %source.next = getelementptr i64, ptr %pairs, i64 %pair.words
  %args.next = getelementptr i64, ptr %args, i64 %nargs
  %s.more = add i64 %s, 1
  br label %stage
region.run:
  %alone = icmp eq i64 %region.tasks, 1
  br i1 %alone, label %region.one, label %region.all
region.one:
  call void @task(ptr %context, i64 0, i64 0)
  br label %region.end
region.all:
  call void @nr_parallel(ptr %pool, ptr @task, ptr %context, i64 %region.tasks)
  br label %region.end
region.end:
  %stopped.at = getelementptr i64, ptr %frame, i64 {STOPPED}
  %stopped = load i64, ptr %stopped.at
  %going = icmp eq i64 %stopped, 0
  br i1 %going, label %region.well, label %stop
region.well:
  %tired = icmp slt i64 %budget.less, 0
  br i1 %tired, label %poll, label %fetch

; [PYTHON, number]
python:
{words("python", "number")}
  %pc.python = add i64 %pc, 2
  store i64 %pc.python, ptr %resume.at
  %python.status = add i64 %python.number, 1
  ret i64 %python.status
stop:
  ret i64 -1

; [JUMP, to]
jump:
{words("jump", "to")}
  br label %fetch

; [BACK, to]: a jump back, which looks for signals now and then
back:
{words("back", "to")}
  %back.budget = load i64, ptr %budget.at
  %back.less = sub i64 %back.budget, 20
  store i64 %back.less, ptr %budget.at
  %spent = icmp slt i64 %back.less, 0
  br i1 %spent, label %poll, label %fetch
poll:
  %poll.to = phi i64 [ %back.to, %back ], [ %pc.region, %region.well ]
  store i64 {BUDGET_NS}, ptr %budget.at
  %poll.status = call i64 @nr_poll(ptr %frame)
  %poll.well = icmp eq i64 %poll.status, 0
  br i1 %poll.well, label %fetch, label %stop

; [JUMP_UNLESS, to, slot, offset]: if the byte there is 0
unless:
{words("unless", "to", "number", "offset")}{slot("unless.slot", "%unless.number")}
  %unless.base = load ptr, ptr %unless.slot
  %unless.byte.at = getelementptr i8, ptr %unless.base, i64 %unless.offset
  %unless.byte = load i8, ptr %unless.byte.at
  %unless.zero = icmp eq i8 %unless.byte, 0
  %unless.next = add i64 %pc, 4
  %unless.pc = select i1 %unless.zero, i64 %unless.to, i64 %unless.next
  br label %fetch

; [SWITCH, slot, offset, n, to ...]: by the 32-bit integer there, clamped
switch:
{words("switch", "number", "offset", "n")}{slot("switch.slot", "%switch.number")}
  %switch.base = load ptr, ptr %switch.slot
  %switch.int.at = getelementptr i8, ptr %switch.base, i64 %switch.offset
  %switch.int = load i32, ptr %switch.int.at
  %switch.wide = sext i32 %switch.int to i64
  %switch.positive = call i64 @llvm.smax.i64(i64 %switch.wide, i64 0)
  %switch.last = sub i64 %switch.n, 1
  %switch.chosen = call i64 @llvm.smin.i64(i64 %switch.positive, i64 %switch.last)
  %switch.targets = getelementptr i64, ptr %op.at, i64 4
  %switch.to.at = getelementptr i64, ptr %switch.targets, i64 %switch.chosen
  %switch.pc = load i64, ptr %switch.to.at
  br label %fetch

; [COUNT, to, slot, limit]: leave a loop whose counter has reached its limit
count:
{words("count", "to", "number", "limit")}{slot("count.slot", "%count.number")}
  %count.value = load i64, ptr %count.slot
  %count.done = icmp sge i64 %count.value, %count.limit
  %count.next = add i64 %pc, 4
  %count.pc = select i1 %count.done, i64 %count.to, i64 %count.next
  br label %fetch

; [ADD, slot, amount]
add:
{words("add", "number", "amount")}{slot("add.slot", "%add.number")}
  %add.value = load i64, ptr %add.slot
  %add.sum = add i64 %add.value, %add.amount
  store i64 %add.sum, ptr %add.slot
  %pc.add = add i64 %pc, 3
  br label %fetch

; [SET, slot, base, offset]: a slot's address plus an offset; the offset alone if base is -1
set:
{words("set", "number", "base", "offset")}{slot("set.slot", "%set.number")}
  %set.positive = call i64 @llvm.smax.i64(i64 %set.base, i64 0)
{slot("set.from", "%set.positive")}  %set.value = load i64, ptr %set.from
  %set.none = icmp slt i64 %set.base, 0
  %set.address = select i1 %set.none, i64 0, i64 %set.value
  %set.sum = add i64 %set.address, %set.offset
  store i64 %set.sum, ptr %set.slot
  %pc.set = add i64 %pc, 4
  br label %fetch

; [SWAP, slot, slot]
swap:
{words("swap", "a", "b")}{slot("swap.a.slot", "%swap.a")}{slot("swap.b.slot", "%swap.b")}
  %swap.a.value = load i64, ptr %swap.a.slot
  %swap.b.value = load i64, ptr %swap.b.slot
  store i64 %swap.b.value, ptr %swap.a.slot
  store i64 %swap.a.value, ptr %swap.b.slot
  %pc.swap = add i64 %pc, 3
  br label %fetch

; [COPY, to slot, offset, from slot, offset, bytes]
copy:
{words("copy", "to", "to.offset", "from", "from.offset", "bytes")}
{slot("copy.to.slot", "%copy.to")}{slot("copy.from.slot", "%copy.from")}
  %copy.to.base = load ptr, ptr %copy.to.slot
  %copy.from.base = load ptr, ptr %copy.from.slot
  %copy.target = getelementptr i8, ptr %copy.to.base, i64 %copy.to.offset
  %copy.source = getelementptr i8, ptr %copy.from.base, i64 %copy.from.offset
  call void @llvm.memmove.p0.p0.i64(ptr %copy.target, ptr %copy.source, i64 %copy.bytes, i1 false)
  %pc.copy = add i64 %pc, 6
  br label %fetch

; [VIEW, slot, base, offset, slot, offset, extent, last, step]: the address of a part, by the 32-bit
; integer in the second place: below zero it counts from the extent, then it is clamped
view:
{words("view", "number", "base", "offset", "from", "from.offset", "extent", "last", "step")}
{slot("view.slot", "%view.number")}{slot("view.base.slot", "%view.base")}
{slot("view.from.slot", "%view.from")}
  %view.address = load i64, ptr %view.base.slot
  %view.from.base = load ptr, ptr %view.from.slot
  %view.int.at = getelementptr i8, ptr %view.from.base, i64 %view.from.offset
  %view.int = load i32, ptr %view.int.at
  %view.below = icmp slt i32 %view.int, 0
  %view.plain = sext i32 %view.int to i64
  %view.moved = add i64 %view.plain, %view.extent
  %view.index = select i1 %view.below, i64 %view.moved, i64 %view.plain
  %view.positive = call i64 @llvm.smax.i64(i64 %view.index, i64 0)
  %view.chosen = call i64 @llvm.smin.i64(i64 %view.positive, i64 %view.last)
  %view.bytes = mul i64 %view.chosen, %view.step
  %view.first = add i64 %view.address, %view.offset
  %view.sum = add i64 %view.first, %view.bytes
  store i64 %view.sum, ptr %view.slot
  %pc.view = add i64 %pc, 9
  br label %fetch
}}
"""


_RUN = [ctypes.c_int64] * 4
_PYTHON = ("PyErr_CheckSignals", "PyEval_SaveThread", "PyEval_RestoreThread")


class _Machine:
    """The compiled machine: `run` releases the GIL while it runs, `run_short` keeps it."""

    def __init__(self) -> None:
        process = ctypes.CDLL(None)
        functions = [(n, getattr(ctypes.pythonapi, n)) for n in _PYTHON]
        functions += [(n, getattr(process, n)) for n in ("memmove", "pthread_self")]
        imports = {n: ctypes.cast(f, ctypes.c_void_p).value or 0 for n, f in functions}
        imports["nr_parallel"] = pool.native().parallel
        code = llvm.compile_many([vm_ir()])[0]
        self.code = llvm.load(code, imports=imports, exports=("nr_run", "nr_run_released"))
        # Python's own calling convention: an exception that is set is raised after the call.
        prototype = ctypes.PYFUNCTYPE(*_RUN)
        self.run: Any = prototype(self.code.address("nr_run_released"))
        self.run_short: Any = prototype(self.code.address("nr_run"))


@cache
def machine() -> _Machine:
    """The machine, compiled (or taken from the cache) on first use."""
    return _Machine()
