"""The protocol between tracing and execution.

A backend has a row for every primitive, which is how eager code runs, and `compile`, which turns a
jaxpr into a function of raw arrays, which is how jitted code runs. Backends know `nr.core` and the
names of primitives, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.core.devices import Device
from nr.core.jaxprs import Jaxpr
from nr.core.tracing import Primitive

Program = Callable[..., list[Any]]


@dataclass(frozen=True)
class ArrayPlan:
    """A temporary array of a program: its bytes, type and extent, and the user's line."""

    nbytes: int
    type: str
    source: str


@dataclass(frozen=True)
class ProgramPlan:
    """What a call of a compiled program takes: bytes, and arithmetic operations.

    reused_bytes: results that lie in the memory of donated arguments.
    largest: the largest temporary arrays that live at the moment of greatest need.
    """

    argument_bytes: int
    output_bytes: int
    temporary_bytes: int
    constant_bytes: int
    reused_bytes: int
    flops: float
    largest: tuple[ArrayPlan, ...]

    @property
    def peak_bytes(self) -> int:
        """Bytes in use at the peak: arguments, results, closed-over arrays and temporaries."""
        held = self.argument_bytes + self.output_bytes - self.reused_bytes
        return held + self.temporary_bytes + self.constant_bytes

    def __str__(self) -> str:
        lines = [
            f"peak        {self.peak_bytes:>14,} bytes",
            f"arguments   {self.argument_bytes:>14,}",
            f"results     {self.output_bytes:>14,}",
            f"constants   {self.constant_bytes:>14,}",
            f"temporaries {self.temporary_bytes:>14,}",
            f"operations  {self.flops:>14,.0f}",
        ]
        if self.largest:
            lines.append("largest temporaries at the peak:")
            lines += [f"  {a.nbytes:>14,}  {a.type}  {a.source}" for a in self.largest]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Options:
    """How a program is compiled.

    donated: the numbers of inputs that it may write over, if nobody else refers to them.
    nan: whether it raises FloatingPointError for the first NaN that it makes.
    """

    donated: tuple[int, ...] = ()
    nan: bool = False


NO_OPTIONS = Options()


class Backend:
    """One platform. Subclasses set `platform` and `table`."""

    platform: str
    table: dict[str, Callable]

    def device_count(self) -> int:
        """How many devices of the platform this machine has."""
        raise NotImplementedError

    def kernel(self, primitive: Primitive) -> Callable:
        """The row of a primitive.

        Raises:
            NotImplementedError: if the table has none.
        """
        row = self.table.get(primitive.name)
        if row is None:
            raise NotImplementedError(
                f"{primitive.name}: the {self.platform} backend has no row for it."
            )
        return row

    def compile(self, jaxpr: Jaxpr, options: Options = NO_OPTIONS) -> Program:
        """A function of raw arrays that gives the list of the jaxpr's outputs."""
        raise NotImplementedError

    def as_text(self, jaxpr: Jaxpr, stage: str, options: Options = NO_OPTIONS) -> str:
        """A stage of a jaxpr's compilation, as text."""
        raise NotImplementedError(f"as_text: the {self.platform} backend has no stage {stage!r}.")

    def plan(self, jaxpr: Jaxpr, options: Options = NO_OPTIONS) -> ProgramPlan:
        """What a call of a jaxpr's program takes, without running it."""
        raise NotImplementedError(f"plan: the {self.platform} backend does not plan its memory.")

    def array(self, x: Any) -> Any:
        """A row's result of rank 0, which may be a scalar, as a raw array."""
        raise NotImplementedError

    def raw(self, x: Any) -> Any:
        """A constant of a jaxpr as what rows take."""
        raise NotImplementedError

    def put(self, x: Any, device: Device) -> Any:
        """A NumPy array, or another device's array, as a raw array on a device."""
        raise NotImplementedError

    def get(self, data: Any) -> np.ndarray:
        """A raw array as a NumPy array."""
        raise NotImplementedError

    def synchronize(self, device: Device) -> None:
        """Wait for everything started on a device."""

    def on(self, device: Device) -> AbstractContextManager:
        """Run what is in the ``with`` block on a device."""
        return nullcontext()
