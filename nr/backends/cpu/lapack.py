"""The functions of OpenBLAS, which has LAPACK in it, that kernels' texts call."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable

from nr.backends.compiler.lowering.calls import PREFIX
from nr.backends.cpu import blas

_DECLARED = re.compile(rf"^declare .*@{PREFIX}(\w+)\(", re.MULTILINE)


def imports(texts: Iterable[str]) -> dict[str, int]:
    """The addresses of what texts declare of OpenBLAS; where they do not, it is not loaded."""
    names = {name for text in texts for name in _DECLARED.findall(text)}
    return {PREFIX + name: _address(name) for name in names}


def _address(name: str) -> int:
    function = getattr(blas.library(), f"scipy_{name}")
    return ctypes.cast(function, ctypes.c_void_p).value or 0
