"""The short way of elementwise functions when they run at once on uncommitted CPU arrays.

A function decorated with `unary` or `binary` is the general definition: it promotes, broadcasts and
binds primitives under any transformation. Where no transformation is in force and NumPy's ufunc
gives the very same result, the decorator calls the ufunc and spares the rest. Whatever the ufunc
refuses is left to the general definition, whose messages are ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import ArrayImpl
from nr.core.quiet import hush, unhush
from nr.core.tracing import EVAL, current_trace

# NumPy does not know bfloat16: ml_dtypes' ufuncs round and promote by rules of their own.
NATIVE_INEXACT = dtypes.INEXACT - {dtypes.DTYPES["bfloat16"]}
NATIVE_FLOATING = dtypes.FLOATING - {dtypes.DTYPES["bfloat16"]}
_ABSORB_INT = frozenset([dtypes.DTYPES["int32"], dtypes.DTYPES["int64"]])

_ndarray, _asarray = np.ndarray, np.asarray


def unary(ufunc: Callable, accepts: frozenset[np.dtype], *, weak: bool = True) -> Callable:
    """Decorate a function of one array with a ufunc equal to it on the dtypes of a set.

    Args:
        weak: the result of a weak operand is weak.
    """

    def decorate(general: Callable) -> Callable:
        @functools.wraps(general)
        def function(x: Any, /) -> Any:
            if type(x) is ArrayImpl and x.committed is None and current_trace() is EVAL:
                token = hush()
                try:
                    data = x.data
                    if data.dtype in accepts:
                        out = ufunc(data)
                        if type(out) is not _ndarray:
                            out = _asarray(out)
                        return ArrayImpl(out, None, weak and x.weak)
                except Exception:  # noqa: S110 - the general definition reports it
                    pass
                finally:
                    unhush(token)
            return general(x)

        return function

    return decorate


def absorbs(dtype: np.dtype, number: Any) -> bool:
    """Whether NumPy takes a Python number beside an array of the dtype as JAX does: weakly."""
    kind = type(number)
    if kind is float:
        return dtype in NATIVE_INEXACT
    if kind is int and -0x80000000 <= number <= 0x7FFFFFFF:
        return dtype in _ABSORB_INT or dtype in NATIVE_INEXACT
    return False


def binary(
    ufunc: Callable,
    accepts: frozenset[np.dtype] | None = None,
    *,
    weak: bool = True,
) -> Callable:
    """Decorate a function of two arrays with a ufunc equal to it on operands of one dtype.

    Args:
        accepts: the dtypes where they are equal; None for all.
        weak: the result of weak operands is weak.
    """

    def decorate(general: Callable) -> Callable:
        @functools.wraps(general)
        def function(x1: Any, x2: Any, /) -> Any:
            if current_trace() is EVAL:
                token = hush()
                try:
                    if type(x1) is ArrayImpl:
                        a = x1.data
                        if type(x2) is ArrayImpl:
                            b = x2.data
                            dtype = a.dtype
                            if (
                                dtype is b.dtype
                                and x1.committed is None
                                and x2.committed is None
                                and (accepts is None or dtype in accepts)
                            ):
                                out = ufunc(a, b)
                                if type(out) is not _ndarray:
                                    out = _asarray(out)
                                return ArrayImpl(out, None, weak and x1.weak and x2.weak)
                        elif (
                            absorbs(a.dtype, x2)
                            and x1.committed is None
                            and (accepts is None or a.dtype in accepts)
                        ):
                            out = ufunc(a, x2)
                            if type(out) is not _ndarray:
                                out = _asarray(out)
                            return ArrayImpl(out, None, weak and x1.weak)
                    elif type(x2) is ArrayImpl and x2.committed is None:
                        b = x2.data
                        if absorbs(b.dtype, x1) and (accepts is None or b.dtype in accepts):
                            out = ufunc(x1, b)
                            if type(out) is not _ndarray:
                                out = _asarray(out)
                            return ArrayImpl(out, None, weak and x2.weak)
                except Exception:  # noqa: S110 - the general definition reports it
                    pass
                finally:
                    unhush(token)
            return general(x1, x2)

        function.in_front_of = decorate  # type: ignore[attr-defined]
        return function

    return decorate
