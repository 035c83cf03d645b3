"""What nr.numpy can do, in the terms of the array API standard's inspection functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core import devices as device_module
from nr.core import dtypes
from nr.core.config import config
from nr.numpy.dtype_functions import isdtype

__all__ = ["ArrayNamespaceInfo"]

_STANDARD = [name for name in dtypes.SHORT_NAMES if name not in ("bfloat16", "float16")]


class ArrayNamespaceInfo:
    """The answer of ``__array_namespace_info__()``."""

    def capabilities(self) -> dict[str, Any]:
        """Masks and data-dependent shapes work eagerly; the rank is not limited below NumPy's."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> device_module.Device:
        """The device where new arrays are put."""
        return device_module.current_default()

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """The dtypes that functions choose if none is named."""
        return {
            "real floating": config.default_float,
            "complex floating": dtypes.scalar_dtype(complex),
            "integral": config.default_int,
            "indexing": config.default_int,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, np.dtype]:
        """The standard's dtypes, of one kind (as for `isdtype`) if one is named."""
        found = {name: dtypes.DTYPES[name] for name in _STANDARD}
        if kind is None:
            return found
        return {name: dtype for name, dtype in found.items() if isdtype(dtype, kind)}

    def devices(self) -> list[device_module.Device]:
        """All devices of this machine."""
        cpus = device_module.devices("cpu")
        return cpus + [d for d in device_module.devices() if d not in cpus]
