"""Element rules of what takes uniform samples to others.

The steps are those of `nr.backends.table.sampling`, each rounded as there, so that a compiled
program draws the numbers that eager evaluation draws. Double precision is left to the table, whose
logarithm is not the compiler's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import Expr
from nr.backends.compiler.index import Index
from nr.backends.compiler.lowering.rules import element, round_to, storage, storage_of
from nr.backends.table.sampling import (
    _LOG,
    _LOG_2_HIGH,
    _LOG_2_LOW,
    _SINGLE_CENTRE,
    _SINGLE_TAIL,
    _SQRT_HALF,
)


def _times(a: Expr, b: Any) -> Expr:
    """A product that is rounded, whatever it is added to."""
    return e.fma(a, b, -0.0)


def _polynomial(coefficients: Sequence[Any], x: Expr) -> Expr:
    total = _times(x, np.float32(coefficients[0]))
    for c in coefficients[1:-1]:
        total = _times(total + np.float32(c), x)
    return total + np.float32(coefficients[-1])


def _split(x: Expr) -> tuple[Expr, Expr]:
    bits = e.bitcast(x, "i32") - _SQRT_HALF
    mantissa = (bits & 0x7FFFFF) + _SQRT_HALF
    return e.convert(bits >> 23, "f32"), e.bitcast(mantissa, "f32") - 1.0


def _log1p(x: Expr) -> Expr:
    whole = x + 1.0
    rest = (x - (whole - 1.0)) / whole
    exponent, z = _split(whole)
    square = _times(z, z)
    low = _times(_times(_polynomial(_LOG, z), z), square)
    low = low + _times(exponent, _LOG_2_LOW) - _times(square, 0.5) + rest + z
    return low + _times(exponent, _LOG_2_HIGH)


def _normal(u: Expr) -> Expr:
    w = -_log1p(-_times(u, u))
    centre = _polynomial(_SINGLE_CENTRE, w - 2.5)
    tail = _polynomial(_SINGLE_TAIL, e.unary("sqrt", w) - 3.0)
    return _times(e.select(w >= 5.0, tail, centre), u)


def _log(x: Expr) -> Expr:
    exponent, z = _split(x)
    square = _times(z, z)
    cube = _times(square, z)
    a, b, c = [
        e.fma(e.fma(e.const(_LOG[i], "f32"), z, _LOG[i + 1]), z, _LOG[i + 2]) for i in (0, 3, 6)
    ]
    series = e.fma(e.fma(e.fma(a, cube, b), cube, c), cube, _times(exponent, _LOG_2_LOW))
    return e.fma(exponent, _LOG_2_HIGH, (z - _times(square, 0.5)) + series)


def _single(eqn: Any) -> bool:
    return storage(eqn.outvars[0].aval.dtype) in ("f32", "bf16", "f16")


def _sampler(name: str, function: Callable, scale: float, cost: float) -> None:
    @element(name, cost=cost, supports=_single)
    def rule(eqn: Any, index: tuple[Index, ...], read: Callable) -> Expr:
        dtype = eqn.outvars[0].aval.dtype
        kind = storage_of(eqn.outvars[0].aval)
        value = function(read(0, index))
        if kind != "f32":
            value = round_to(value, kind)
        if scale != 1:
            value = _times(value, float(np.asarray(scale).astype(dtype)))
            if kind != "f32":
                value = round_to(value, kind)
        return value


_sampler("normal_from_uniform", _normal, math.sqrt(2), 70)
_sampler("log_of_uniform", _log, 1, 30)
