"""What a compiled program is, for people: its stages as text, its memory, its cost, a report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nr.backends.base import ArrayPlan, ProgramPlan
from nr.backends.compiler.loops import Buffer, Expr, Kernel, walk
from nr.backends.compiler.plan import Block, Branch, Gemm, Launch, Loop, TableCall, View
from nr.backends.compiler.regions import Region
from nr.backends.compiler.routine import Routine
from nr.backends.cpu import llvm, threads

if TYPE_CHECKING:
    from nr.backends.cpu.program import CompiledProgram

STAGES = ("jaxpr", "simplified", "loops", "llvm", "assembly", "memory", "report")


def text(program: CompiledProgram, stage: str) -> str:
    """A stage of a program.

    Raises:
        ValueError: if there is no such stage.
    """
    if stage == "jaxpr":
        return str(program.jaxpr)
    if stage == "simplified":
        return str(program.simplified)
    if stage == "loops":
        first = program.planner.preparation(program.planner.kept())
        once = [] if first is None else ["once:", *_block_lines(first.top, "  "), "each time:"]
        return "\n".join([*once, *_block_lines(program.plan.top, "  " if once else "")])
    if stage == "llvm":
        return "\n".join(program.assembler.kernels)
    if stage == "assembly":
        return "\n".join([llvm.assembly(t) for t in program.assembler.kernels])
    if stage == "memory":
        return str(plan(program))
    if stage == "report":
        return _report(program)
    raise ValueError(f"as_text: the stages are {', '.join(STAGES)}; got {stage!r}.")


# ------------------------------------------------------------------------------ loop IR
def _block_lines(block: Block, indent: str) -> Iterator[str]:
    for step in block.steps:
        yield from _step_lines(step, indent)


def _step_lines(step: Any, indent: str) -> Iterator[str]:
    if type(step) is Region:
        if len(step.chains) > 1:
            yield f"{indent}side by side:"
            indent += "  "
        for chain in step.chains:
            inside = indent
            if len(chain) > 1:
                yield f"{indent}row by row:"
                inside += "  "
            for inner, _ in chain:
                yield from _step_lines(inner, inside)
    elif type(step) is Launch:
        for line in str(step.kernel).split("\n"):
            yield indent + line
    elif type(step) is Gemm:
        one = step.layout
        batch = "".join([f"{d[0]}x" for d in one.batch])
        yield f"{indent}{step.c} = {step.a} @ {step.b}  ({batch}{one.m}x{one.k}x{one.n}, in panels)"
    elif type(step) is Routine:
        outs, args = [", ".join(map(str, buffers)) for buffers in (step.writes, step.reads)]
        yield f"{indent}{outs} = {step.name}({args})  (native, {step.units} units)"
    elif type(step) is TableCall:
        outs = ", ".join(map(str, step.writes))
        args = ", ".join([str(b) if type(b) is Buffer else "constant" for b in step.operands])
        yield f"{indent}{outs} = {step.eqn.primitive.name}({args})  (in Python)"
    elif type(step) is View:
        yield f"{indent}{step.part} = part {step.index} of {step.whole}"
    elif type(step) is Loop:
        head = f"repeat {step.length}" if step.length is not None else "while"
        carried = ", ".join([str(now) for now, _ in step.carries])
        yield f"{indent}{head} carrying ({carried}):"
        if step.test is not None:
            yield from _block_lines(step.test, indent + "  ")
            yield f"{indent}  unless {step.condition}: leave"
        yield from _block_lines(step.body, indent + "  ")
    else:
        assert type(step) is Branch
        for i, block in enumerate(step.blocks):
            yield f"{indent}case {step.index} = {i}:"
            yield from _block_lines(block, indent + "  ")


def steps_of(block: Block) -> Iterator[tuple[Any, int]]:
    """Every step of a block and of those in it, and how often it runs (once, if unknown)."""
    for step in block.steps:
        if type(step) is Region:
            yield from [(s, 1) for s in step.steps]
        elif type(step) is Loop:
            times = step.length if step.length is not None else 1
            for inner in (step.body, step.test):
                if inner is not None:
                    yield from [(s, n * times) for s, n in steps_of(inner)]
        elif type(step) is Branch:
            for block in step.blocks:
                yield from steps_of(block)
        else:
            yield step, 1


# ------------------------------------------------------------------------------ memory and cost
_FREE = ("const", "load", "index", "acc", "current", "running", "convert", "bitcast", "select")


def _operations(roots: list[Expr]) -> int:
    return len([e for e in walk(roots) if e.op not in _FREE])


def kernel_flops(kernel: Kernel) -> float:
    """Arithmetic of a kernel; a function such as exp counts as one operation."""
    rows = math.prod([loop.extent for loop in kernel.kept])
    points = rows * math.prod([loop.extent for loop in kernel.reduced])
    total = 0
    for p in kernel.passes:
        after = [e for store in p.after for e in store.exprs()]
        inner = _operations(list(p.inner_roots())) + len(p.reducers)
        total += points * inner + rows * _operations(after)
    return float(total)


def flops(program: CompiledProgram) -> float:
    """Floating-point (and other arithmetic) operations of a call; while loops count once."""
    total = 0.0
    for step, times in steps_of(program.plan.top):
        if type(step) is Launch:
            if all([loop.extent < 1 << 60 for loop in step.kernel.reduced]):
                total += kernel_flops(step.kernel) * times
        elif type(step) is Gemm:
            one = step.layout
            total += 2.0 * math.prod([one.m, one.n, one.k, *[d[0] for d in one.batch]]) * times
    return total


def plan(program: CompiledProgram) -> ProgramPlan:
    """What a call will take."""
    steps, arena = program.plan, program.assembler.arena
    constants = sum([a.nbytes for a in program.constants.values()])
    workers = threads.get_num_threads() if program.assembler.parallel else 1
    largest = sorted(arena.at_peak, key=lambda b: -b.nbytes)[:10]
    return ProgramPlan(
        argument_bytes=sum([b.nbytes for b in steps.inputs]),
        output_bytes=sum([b.nbytes for b in steps.outputs]),
        temporary_bytes=program.arena_bytes + workers * program.scratch_bytes,
        constant_bytes=constants,
        reused_bytes=sum([steps.outputs[j].nbytes for j in steps.reused]),
        flops=flops(program),
        largest=tuple(
            [ArrayPlan(b.nbytes, f"{b.dtype}[{b.size}]", str(b.source or "")) for b in largest]
        ),
    )


def _report(program: CompiledProgram) -> str:
    lines = ["stage        seconds"]
    lines += [f"{name:12s} {seconds:.4f}" for name, seconds in program.seconds.items()]
    steps = [s for s, _ in steps_of(program.plan.top)]
    launches = [s for s in steps if type(s) is Launch]
    lines.append(
        f"kernels: {len(launches)} launches of {len(program.assembler.kernels)} different ones, "
        f"{program.compiled} of them new to this process"
    )
    routines = [s.name for s in steps if type(s) is Routine]
    if routines:
        lines.append(f"native routines: {', '.join(routines)}")
    lines.append(f"products in panels: {len([s for s in steps if type(s) is Gemm])}")
    calls = [s for s in steps if type(s) is TableCall]
    if calls:
        lines.append("not compiled, run in Python:")
        lines += [f"  {s.eqn.primitive.name} {s.eqn.source or ''}" for s in calls]
    else:
        lines.append("everything is compiled")
    return "\n".join(lines)
