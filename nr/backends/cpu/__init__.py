"""The CPU backend: the kernel table over NumPy for eager code, the compiler for jitted code."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.backends.base import Backend, Program, ProgramPlan
from nr.backends.control import control_rows
from nr.backends.table import kernel_table
from nr.core.array import as_host
from nr.core.devices import Device
from nr.core.jaxprs import Jaxpr


class CpuBackend(Backend):
    """NumPy on the host."""

    platform = "cpu"

    def __init__(self) -> None:
        self.table = {**kernel_table(np), **control_rows(self, np)}

    def device_count(self) -> int:
        return 1

    def compile(self, jaxpr: Jaxpr, donated: tuple[int, ...] = ()) -> Program:
        return self._compiled(jaxpr, donated).program

    def as_text(self, jaxpr: Jaxpr, stage: str, donated: tuple[int, ...] = ()) -> str:
        from nr.backends.cpu import report

        return report.text(self._compiled(jaxpr, donated), stage)

    def plan(self, jaxpr: Jaxpr, donated: tuple[int, ...] = ()) -> ProgramPlan:
        from nr.backends.cpu import report

        return report.plan(self._compiled(jaxpr, donated))

    def _compiled(self, jaxpr: Jaxpr, donated: tuple[int, ...]) -> Any:
        key = ("cpu program", donated)
        program = jaxpr.cache.get(key)
        if program is None:
            # Imported late: it brings LLVM along.
            from nr.backends.cpu.program import CompiledProgram

            program = jaxpr.cache[key] = CompiledProgram(jaxpr, self, donated)
        return program

    def array(self, x: Any) -> Any:
        return np.asarray(x)

    def raw(self, x: Any) -> Any:
        return as_host(x)

    def put(self, x: Any, device: Device) -> Any:
        return np.array(x if isinstance(x, (np.ndarray, np.generic)) else x.get())

    def get(self, data: Any) -> np.ndarray:
        return np.asarray(data)
