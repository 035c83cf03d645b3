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

    def compile(self, jaxpr: Jaxpr) -> Program:
        return self._compiled(jaxpr).program

    def as_text(self, jaxpr: Jaxpr, stage: str) -> str:
        from nr.backends.cpu import report

        return report.text(self._compiled(jaxpr), stage)

    def plan(self, jaxpr: Jaxpr) -> ProgramPlan:
        from nr.backends.cpu import report

        return report.plan(self._compiled(jaxpr))

    def _compiled(self, jaxpr: Jaxpr) -> Any:
        program = jaxpr.cache.get("cpu program")
        if program is None:
            # Imported late: it brings LLVM along.
            from nr.backends.cpu.program import CompiledProgram

            program = jaxpr.cache["cpu program"] = CompiledProgram(jaxpr, self)
        return program

    def array(self, x: Any) -> Any:
        return np.asarray(x)

    def raw(self, x: Any) -> Any:
        return as_host(x)

    def put(self, x: Any, device: Device) -> Any:
        return np.array(x if isinstance(x, (np.ndarray, np.generic)) else x.get())

    def get(self, data: Any) -> np.ndarray:
        return np.asarray(data)
