"""The loop IR of a function as text: the kernels of its plan's steps, in order.

`python -m tests.loop_ir` writes the goldens of test_loop_ir.py anew.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import nr
from nr.backends.compiler.plan import (
    Block,
    Branch,
    Copy,
    Gemm,
    Launch,
    Loop,
    Planner,
    Region,
    TableCall,
    Target,
)
from nr.backends.compiler.simplify import simplify

GOLDENS = pathlib.Path(__file__).parent / "goldens"
# Goldens are of a machine with vectors of 64 bytes.
VECTOR_BYTES = 64


def loop_ir(f: Callable, *args: Any) -> str:
    """The plan of a jitted function for such arguments."""
    jaxpr = nr.jit(f).lower(*args).jaxpr
    planner = Planner(simplify(jaxpr), Target(VECTOR_BYTES))
    return block_text(planner.top, "")


def block_text(block: Block, indent: str) -> str:
    return "".join([step_text(step, indent) for step in block.steps])


def step_text(step: Any, indent: str) -> str:
    """A step and what it holds, each line indented."""
    kind, inner = type(step), indent + "  "
    if kind is Region:
        steps = "".join([step_text(s, inner) for s in step.steps])
        return f"{indent}region:\n{steps}"
    if kind is Launch:
        return "".join([f"{indent}{line}\n" for line in str(step.kernel).splitlines()])
    if kind is Gemm:
        return f"{indent}{_gemm_text(step)}\n"
    if kind is TableCall:
        writes = ", ".join(map(str, step.writes))
        reads = ", ".join(map(str, step.reads))
        return f"{indent}table {step.eqn.primitive.name}: {reads} -> {writes}\n"
    if kind is Copy:
        return f"{indent}copy {step.source} -> {step.target}\n"
    if kind is Branch:
        blocks = [f"{indent}branch of {step.index}:\n" + block_text(b, inner) for b in step.blocks]
        return "".join(blocks)
    assert kind is Loop, kind
    head = f"scan {step.length}" if step.length is not None else "while"
    carries = ", ".join([f"{a} -> {b}" for a, b in step.carries])
    text = f"{indent}{head} carries {carries}:\n"
    if step.test is not None:
        text += f"{inner}test:\n" + block_text(step.test, inner + "  ") + f"{inner}body:\n"
        return text + block_text(step.body, inner + "  ")
    return text + block_text(step.body, inner)


def _gemm_text(g: Gemm) -> str:
    one = g.layout
    batch = "".join([f"{d[0]}x " for d in one.batch])
    return f"gemm {g.dtype} {batch}{one.m}x{one.k}x{one.n}: {g.a}, {g.b} -> {g.c}"


def write_goldens() -> None:
    """Write the goldens of every program."""
    from tests.test_loop_ir import PROGRAMS

    GOLDENS.mkdir(exist_ok=True)
    for name, (f, args) in PROGRAMS.items():
        (GOLDENS / f"{name}.txt").write_text(loop_ir(f, *args))


if __name__ == "__main__":
    write_goldens()
