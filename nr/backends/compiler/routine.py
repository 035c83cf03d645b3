"""Native functions that are not loops of the loop IR: sorts, calls of LAPACK."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nr.backends.compiler.loops import Buffer


@dataclass(slots=True, eq=False)
class Routine:
    """A step of a region with LLVM IR of its own, which has the protocol of kernels.

    ``void @kernel(ptr args, i64 low, i64 high, ptr scratch)`` does units [low, high), which must
    not depend on each other. args are 64-bit words: the addresses of `reads`, then of `writes`,
    then `integers`. `scratch` is the room that one thread needs, in bytes; `work` an estimate of
    the nanoseconds that all units take on one thread. `strides` are the elements of buffers that
    belong to a unit, of those in which each unit has its own, one after another.
    """

    name: str
    text: str
    reads: list[Buffer]
    writes: list[Buffer]
    integers: list[int]
    units: int
    work: float
    scratch: int = 0
    source: Any = field(default=None)
    strides: dict[Buffer, int] = field(default_factory=dict)
