"""What several kernel files of this table share: array modules, half floats, folds and scans."""

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

Array = Any  # a raw array of the module a table is made for: np.ndarray or cupy.ndarray
Kernel = Callable[..., Any]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_HALF = frozenset({np.dtype(np.float16), BFLOAT16})


def on_host(xp: ModuleType) -> bool:
    """Whether `xp` is NumPy: reading an element is free there and a synchronisation on a device."""
    return xp.__name__ == "numpy"


def is_half(dtype: np.dtype) -> bool:
    """Whether `dtype` is a 16-bit float, which kernels compute in float32."""
    return dtype in _HALF


def is_float(dtype: np.dtype) -> bool:
    """Whether `dtype` is a real float; NumPy's own kind of bfloat16 is 'V'."""
    return dtype.kind == "f" or dtype == BFLOAT16


def widen(x: Array) -> Array:
    """Return 16-bit floats as float32 (exactly), anything else as it is."""
    return x.astype(np.float32) if x.dtype in _HALF else x


def narrow(x: Array, dtype: np.dtype) -> Array:
    """Round the result of a widened computation back to `dtype`, overflow giving infinity."""
    if x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):
        return x.astype(dtype)


@cache
def lowest(dtype: np.dtype) -> Any:
    """Return the identity of max: -inf, the least integer, False."""
    if dtype.kind == "b":
        return dtype.type(False)
    if dtype.kind in "iu":
        return dtype.type(np.iinfo(dtype).min)
    return dtype.type(complex(-np.inf, -np.inf) if dtype.kind == "c" else -np.inf)


@cache
def highest(dtype: np.dtype) -> Any:
    """Return the identity of min: inf, the greatest integer, True."""
    if dtype.kind == "b":
        return dtype.type(True)
    if dtype.kind in "iu":
        return dtype.type(np.iinfo(dtype).max)
    return dtype.type(complex(np.inf, np.inf) if dtype.kind == "c" else np.inf)


def fold(xp: ModuleType, op: Kernel, x: Array, axes: tuple[int, ...]) -> Array:
    """Reduce non-empty `axes` by halving, with an operation that `xp` has no reduction for."""
    kept = tuple(d for d in range(x.ndim) if d not in axes)
    shape = tuple(x.shape[d] for d in kept)
    length = int(np.prod([x.shape[d] for d in axes], dtype=np.int64))
    x = x.transpose(axes + kept).reshape((length, *shape))
    while x.shape[0] > 1:
        half = x.shape[0] // 2
        folded = op(x[:half], x[half : 2 * half])
        x = folded if x.shape[0] % 2 == 0 else xp.concatenate((folded, x[2 * half :]))
    return x[0, ...]


def scan(xp: ModuleType, op: Kernel, x: Array, axis: int) -> Array:
    """Inclusive scan along `axis` by doubling steps (Hillis and Steele, 1986)."""
    x = xp.moveaxis(x, axis, 0)
    step = 1
    while step < x.shape[0]:
        x = xp.concatenate((x[:step], op(x[:-step], x[step:])))
        step *= 2
    return xp.moveaxis(x, 0, axis)
