"""Element rules of what takes uniform samples to others.

The steps are those of `nr.backends.table.sampling`, each rounded as there, so that a compiled
program draws the numbers that eager evaluation draws; all but the logarithm in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import Expr
from nr.backends.compiler.index import Index
from nr.backends.compiler.lowering.rules import element, round_to, storage_of
from nr.backends.table.sampling import (
    _ATANH_DOUBLE,
    _DOUBLE_CENTRE,
    _DOUBLE_FAR,
    _DOUBLE_TAIL,
    _LOG,
    _LOG_2_HIGH,
    _LOG_2_HIGH_DOUBLE,
    _LOG_2_LOW,
    _LOG_2_LOW_DOUBLE,
    _SINGLE_CENTRE,
    _SINGLE_TAIL,
    _SQRT_HALF,
    _SQRT_HALF_DOUBLE,
)


def _times(a: Expr, b: Any) -> Expr:
    """A product that is rounded, whatever it is added to."""
    return e.fma(a, b, -0.0)


def _polynomial(coefficients: Sequence[Any], x: Expr) -> Expr:
    kind = e.NUMPY[x.dtype].type
    total = _times(x, kind(coefficients[0]))
    for c in coefficients[1:-1]:
        total = _times(total + kind(c), x)
    return total + kind(coefficients[-1])


def _split(x: Expr) -> tuple[Expr, Expr]:
    """e and m - 1 for which x = 2**e * m, m in [sqrt(1/2), sqrt(2)); x is normal and positive."""
    integer, fraction, start = {
        "f32": ("i32", 23, _SQRT_HALF),
        "f64": ("i64", 52, _SQRT_HALF_DOUBLE),
    }[x.dtype]
    bits = e.bitcast(x, integer) - start
    mantissa = (bits & ((1 << fraction) - 1)) + start
    return e.convert(bits >> fraction, x.dtype), e.bitcast(mantissa, x.dtype) - 1.0


def _log1p(x: Expr) -> Expr:
    whole = x + 1.0
    rest = (x - (whole - 1.0)) / whole
    exponent, f = _split(whole)
    if x.dtype == "f32":
        square = _times(f, f)
        low = _times(_times(_polynomial(_LOG, f), f), square)
        low = low + _times(exponent, _LOG_2_LOW) - _times(square, 0.5) + rest + f
        return low + _times(exponent, _LOG_2_HIGH)
    s = f / (f + 2.0)
    z = _times(s, s)
    half = _times(_times(f, f), 0.5)
    low = _times(_times(_polynomial(_ATANH_DOUBLE, z), z) + half, s)
    low = low + _times(exponent, _LOG_2_LOW_DOUBLE) + rest
    return f - (half - low) + _times(exponent, _LOG_2_HIGH_DOUBLE)


def _normal(u: Expr) -> Expr:
    w = -_log1p(-_times(u, u))
    root = e.unary("sqrt", w)
    if u.dtype == "f32":
        end = 5.0
        centre = _polynomial(_SINGLE_CENTRE, w - 2.5)
        tail = _polynomial(_SINGLE_TAIL, root - 3.0)
    else:
        end = 6.25
        centre = _polynomial(_DOUBLE_CENTRE, w - 3.125)
        near, far = _polynomial(_DOUBLE_TAIL, root - 3.25), _polynomial(_DOUBLE_FAR, root - 5.0)
        tail = e.select(w < 16.0, near, far)
    tail = e.select(e.ne(w, w), math.inf, tail)
    return _times(e.node("rarely", (~(w < end), tail, centre), u.dtype), u)


def _log(x: Expr) -> Expr:
    if x.dtype == "f64":
        return e.node("log", (x,), "f64")
    exponent, z = _split(x)
    square = _times(z, z)
    cube = _times(square, z)
    a, b, c = [
        e.fma(e.fma(e.const(_LOG[i], "f32"), z, _LOG[i + 1]), z, _LOG[i + 2]) for i in (0, 3, 6)
    ]
    series = e.fma(e.fma(e.fma(a, cube, b), cube, c), cube, _times(exponent, _LOG_2_LOW))
    return e.fma(exponent, _LOG_2_HIGH, (z - _times(square, 0.5)) + series)


def _sampler(name: str, function: Callable, scale: float, cost: float) -> None:
    @element(name, cost=cost)
    def rule(eqn: Any, index: tuple[Index, ...], read: Callable) -> Expr:
        dtype = eqn.outvars[0].aval.dtype
        kind = storage_of(eqn.outvars[0].aval)
        value = function(read(0, index))
        half = kind in ("bf16", "f16")
        if half:
            value = round_to(value, kind)
        if scale != 1:
            value = _times(value, float(np.asarray(scale).astype(dtype)))
            if half:
                value = round_to(value, kind)
        return value


_sampler("normal_from_uniform", _normal, math.sqrt(2), 70)
_sampler("log_of_uniform", _log, 1, 30)
