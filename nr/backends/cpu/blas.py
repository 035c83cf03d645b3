"""Where OpenBLAS is, whose LAPACK compiled programs call."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path


@cache
def library() -> ctypes.CDLL:
    """OpenBLAS, told to use one thread.

    Its file is looked up, not its package imported: that would take 20 ms for nothing.
    """
    found = importlib.util.find_spec("scipy_openblas32")
    if found is None or not found.submodule_search_locations:
        raise ImportError("nr needs OpenBLAS. Install it: pip install scipy-openblas32")
    folder = Path(found.submodule_search_locations[0], "lib")
    (path,) = [p for p in folder.iterdir() if p.name.startswith("libscipy_openblas")]
    lib = ctypes.CDLL(str(path))
    lib.scipy_openblas_set_num_threads(1)
    return lib
