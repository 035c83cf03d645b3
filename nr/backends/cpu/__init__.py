"""The CPU backend: the kernel table over NumPy for eager code, the compiler for jitted code."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.backends.base import NO_OPTIONS, Backend, Options, Program, ProgramPlan
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

    def compile(self, jaxpr: Jaxpr, options: Options = NO_OPTIONS) -> Program:
        return self._compiled(jaxpr, options).program

    def as_text(self, jaxpr: Jaxpr, stage: str, options: Options = NO_OPTIONS) -> str:
        from nr.backends.cpu import report

        return report.text(self._compiled(jaxpr, options), stage)

    def plan(self, jaxpr: Jaxpr, options: Options = NO_OPTIONS) -> ProgramPlan:
        from nr.backends.cpu import report

        return report.plan(self._compiled(jaxpr, options))

    def _compiled(self, jaxpr: Jaxpr, options: Options) -> Any:
        key = ("cpu program", options)
        program = jaxpr.cache.get(key)
        if program is None:
            # Imported late: it brings LLVM along.
            from nr.backends.cpu.program import CompiledProgram

            program = jaxpr.cache[key] = CompiledProgram(jaxpr, self, options)
        return program

    def array(self, x: Any) -> Any:
        return np.asarray(x)

    def raw(self, x: Any) -> Any:
        return as_host(x)

    def put(self, x: Any, device: Device) -> Any:
        return np.array(x if isinstance(x, (np.ndarray, np.generic)) else x.get())

    def get(self, data: Any) -> np.ndarray:
        return np.asarray(data)
