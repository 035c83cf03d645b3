"""The loop IR of a function as text: the kernels of its plan's steps, in order.

`python -m tests.loop_ir` writes the goldens of test_loop_ir.py anew.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import nr
from nr.backends.compiler.checks import with_errors
from nr.backends.compiler.plan import Planner, Target
from nr.backends.compiler.simplify import simplify
from nr.backends.cpu.report import _block_lines

GOLDENS = pathlib.Path(__file__).parent / "goldens"
# Goldens are of a machine with vectors of 64 bytes.
VECTOR_BYTES = 64


def loop_ir(f: Callable, *args: Any) -> str:
    """The plan of a jitted function for such arguments; `as_text("loops")` for that machine."""
    jaxpr = nr.jit(f).lower(*args).jaxpr
    checked, _ = with_errors(simplify(jaxpr))
    planner = Planner(checked, Target(VECTOR_BYTES))
    return "".join([f"{line}\n" for line in _block_lines(planner.top, "")])


def write_goldens() -> None:
    """Write the goldens of every program."""
    from tests.test_loop_ir import PROGRAMS

    GOLDENS.mkdir(exist_ok=True)
    for name, (f, args) in PROGRAMS.items():
        (GOLDENS / f"{name}.txt").write_text(loop_ir(f, *args))


if __name__ == "__main__":
    write_goldens()
