"""A stand-in for CuPy over NumPy, so that the device logic of the CUDA backend runs without a GPU.

Its arrays are NumPy arrays of a class of their own; mixing them with plain NumPy arrays raises
TypeError, as CuPy does.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np


class ndarray(np.ndarray):  # noqa: N801 - CuPy's name
    """An array "on the GPU"."""

    @property
    def device(self) -> Any:
        return types.SimpleNamespace(id=0)

    def get(self) -> np.ndarray:
        return np.array(self.view(np.ndarray))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        for x in inputs:
            if type(x) is np.ndarray and x.ndim:
                raise TypeError(f"Unsupported type {type(x)}: a NumPy array met a CuPy array")
        plain = [x.view(np.ndarray) if isinstance(x, ndarray) else x for x in inputs]
        kwargs = {
            k: tuple(o.view(np.ndarray) for o in v) if k == "out" else v for k, v in kwargs.items()
        }
        return _on_gpu(getattr(ufunc, method)(*plain, **kwargs))


def _on_gpu(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(_on_gpu(item) for item in x)
    return np.asarray(x).view(ndarray)


class _Device:
    def __init__(self, index: int) -> None:
        self.index = index

    def __enter__(self) -> _Device:
        return self

    def __exit__(self, *exc: Any) -> None:
        pass

    def synchronize(self) -> None:
        pass


class FakeCupy(types.ModuleType):
    """The module: NumPy's functions, with results on the "GPU"."""

    def __init__(self) -> None:
        super().__init__("cupy")
        self.ndarray = ndarray
        self.cuda = types.SimpleNamespace(
            runtime=types.SimpleNamespace(getDeviceCount=lambda: 1), Device=_Device
        )

    def array(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return _on_gpu(np.array(np.asarray(x), *args, **kwargs))

    def asarray(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return _on_gpu(np.asarray(np.asarray(x), *args, **kwargs))

    def empty(self, *args: Any, **kwargs: Any) -> Any:
        return _on_gpu(np.empty(*args, **kwargs))

    def asnumpy(self, x: Any) -> np.ndarray:
        return np.array(np.asarray(x).view(np.ndarray))

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if not callable(found) or isinstance(found, (type, np.ufunc)):
            return found

        def function(*args: Any, **kwargs: Any) -> Any:
            out = found(*args, **kwargs)
            return _on_gpu(out) if type(out) is np.ndarray else out

        return function
