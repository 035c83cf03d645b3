"""The CUDA backend: the kernel table over CuPy, asynchronous, in CuPy's memory pool.

The module imports without CuPy and without a GPU; the table is then made over NumPy, so that its
rows can be listed, and there are no devices.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from nr.backends.base import NO_OPTIONS, Backend, Options, Program
from nr.backends.control import control_rows
from nr.backends.straightline import compile_straightline
from nr.backends.table import kernel_table
from nr.core.array import ArrayImpl
from nr.core.devices import Device
from nr.core.jaxprs import Jaxpr


def _cupy() -> Any:
    """CuPy where it is installed and finds a device, else None."""
    try:
        import cupy

        return cupy if cupy.cuda.runtime.getDeviceCount() else None
    except Exception:  # no CuPy, no driver, or one that does not fit
        return None


class CudaBackend(Backend):
    """CuPy on the GPUs."""

    platform = "cuda"

    def __init__(self) -> None:
        self.cupy = _cupy()
        xp = np if self.cupy is None else self.cupy
        self.table = {**kernel_table(xp), **control_rows(self, xp)}

    def device_count(self) -> int:
        return 0 if self.cupy is None else self.cupy.cuda.runtime.getDeviceCount()

    def compile(self, jaxpr: Jaxpr, options: Options = NO_OPTIONS) -> Program:
        program = jaxpr.cache.get("cuda program")
        if program is None:
            program = jaxpr.cache["cuda program"] = compile_straightline(jaxpr, self)
        return program

    def array(self, x: Any) -> Any:
        return self.cupy.asarray(x)

    def raw(self, x: Any) -> Any:
        """A constant of a jaxpr on the current device."""
        return self.cupy.asarray(x.data if type(x) is ArrayImpl else x)

    def put(self, x: Any, device: Device) -> Any:
        with self.on(device):
            return self.cupy.array(x)

    def get(self, data: Any) -> np.ndarray:
        return self.cupy.asnumpy(data)

    def synchronize(self, device: Device) -> None:
        self.cupy.cuda.Device(device.id).synchronize()

    def on(self, device: Device) -> AbstractContextManager:
        return self.cupy.cuda.Device(device.id)
