"""Arrays in files, in NumPy's formats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import save, savez

from nr.core import dtypes
from nr.core.array import Array
from nr.numpy.creation import asarray

__all__ = ["fromfile", "load", "save", "savez"]


def load(file: Any, *args: Any, **kwargs: Any) -> Any:
    """The array of an ``.npy`` file, or the mapping of an ``.npz`` file; arguments as NumPy's."""
    out = np.load(file, *args, **kwargs)
    if not isinstance(out, np.ndarray):
        return out
    if out.dtype == np.dtype("V2"):  # NumPy saves bfloat16 as plain bytes
        out = out.view(dtypes.bfloat16)
    return asarray(out)


def fromfile(*args: Any, **kwargs: Any) -> Array:
    """The array of a file of bare numbers or text; arguments as NumPy's."""
    return asarray(np.fromfile(*args, **kwargs))
