"""Kernels that reduce over axes or scan along one."""

from types import ModuleType
from typing import Any

import numpy as np

from ._structure import (
    Array,
    Kernel,
    fold,
    highest,
    lowest,
    narrow,
    on_host,
    scan,
    widen,
)


def _complex_logaddexp(xp: ModuleType, a: Array, b: Array) -> Array:
    top = xp.maximum(a.real, b.real)
    top = xp.where(xp.isfinite(top), top, top.dtype.type(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return xp.log(xp.exp(a - top) + xp.exp(b - top)) + top


def rows(xp: ModuleType) -> dict[str, Kernel]:
    """Return the kernels of this file over the arrays of `xp`.

    Sums and products of 16-bit floats accumulate in float32 and are rounded once.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name.
    """
    host = on_host(xp)

    def summing(op: Any) -> Kernel:
        def kernel(x: Array, *, axes: tuple[int, ...]) -> Array:
            x = xp.asarray(x)
            if not axes:
                return x
            wide = widen(x)
            out = op(wide, tuple(axes), wide.dtype)
            return xp.asarray(narrow(out, x.dtype))

        return kernel

    def extreme(method: str, identity: Kernel) -> Kernel:
        def kernel(x: Array, *, axes: tuple[int, ...]) -> Array:
            x = xp.asarray(x)
            axes = tuple(axes)
            if not axes:
                return x
            if x.size == 0:
                return _filled(x, axes, identity(x.dtype))
            return xp.asarray(narrow(getattr(widen(x), method)(axis=axes), x.dtype))

        return kernel

    def bitwise(op: Any, identity: int) -> Kernel:
        def kernel(x: Array, *, axes: tuple[int, ...]) -> Array:
            x = xp.asarray(x)
            axes = tuple(axes)
            if not axes:
                return x
            if x.size == 0:
                return _filled(x, axes, np.array(identity).astype(x.dtype)[()])
            return xp.asarray(op.reduce(x, axis=axes) if host else fold(xp, op, x, axes))

        return kernel

    def _filled(x: Array, axes: tuple[int, ...], value: Any) -> Array:
        out = xp.empty([n for d, n in enumerate(x.shape) if d not in axes], x.dtype)
        out[...] = value
        return out

    def arg_extreme(method: str) -> Kernel:
        def kernel(x: Array, *, axes: tuple[int], index_dtype: np.dtype) -> Array:
            index = getattr(widen(xp.asarray(x)), method)(axis=axes[0])
            return xp.asarray(index).astype(index_dtype)

        return kernel

    def scanning(run: Kernel) -> Kernel:
        def kernel(x: Array, *, axis: int, reverse: bool) -> Array:
            x = xp.asarray(x)
            dtype = x.dtype
            x = widen(x)
            back = (slice(None),) * axis + (slice(None, None, -1),)
            with np.errstate(over="ignore", invalid="ignore"):
                out = run(x[back] if reverse else x, axis)
            return narrow(out[back] if reverse else out, dtype)

        return kernel

    def accumulate(op: Any) -> Kernel:
        def run(x: Array, axis: int) -> Array:
            return op.accumulate(x, axis) if host else scan(xp, op, x, axis)

        return run

    def log_sum_exp(x: Array, axis: int) -> Array:
        if x.dtype.kind == "c":
            return scan(xp, lambda a, b: _complex_logaddexp(xp, a, b), x, axis)
        return accumulate(xp.logaddexp)(x, axis)

    return {
        "reduce_sum": summing(np.add.reduce if host else xp.sum),
        "reduce_prod": summing(np.multiply.reduce if host else xp.prod),
        "reduce_max": extreme("max", lowest),
        "reduce_min": extreme("min", highest),
        "reduce_and": bitwise(xp.bitwise_and, -1),
        "reduce_or": bitwise(xp.bitwise_or, 0),
        "reduce_xor": bitwise(xp.bitwise_xor, 0),
        "argmax": arg_extreme("argmax"),
        "argmin": arg_extreme("argmin"),
        "cumsum": scanning(lambda x, axis: x.cumsum(axis, dtype=x.dtype)),
        "cumprod": scanning(lambda x, axis: x.cumprod(axis, dtype=x.dtype)),
        "cummax": scanning(accumulate(xp.maximum)),
        "cummin": scanning(accumulate(xp.minimum)),
        "cumlogsumexp": scanning(log_sum_exp),
    }
