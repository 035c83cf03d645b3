"""Element rules of arithmetic, comparisons, bits, selection and conversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import (
    FLOATS,
    NUMPY,
    ROUNDINGS,
    SIGNED,
    UNSIGNED,
    Complex,
    Expr,
)
from nr.backends.compiler.index import Index
from nr.backends.compiler.lowering.rules import (
    ELEMENT,
    Value,
    choose,
    element,
    is_complex,
    pointwise,
    register,
    round_to,
    storage,
    storage_of,
)
from nr.backends.compiler.math import FUNCTIONS
from nr.backends.compiler.math.complex import COMPLEX_FUNCTIONS


def _either(name: str, real: Callable | None) -> Callable:
    """The function of a primitive, by whether its operands are complex."""

    def function(*values: Value, **params: Any) -> Value:
        if any([type(v) is Complex for v in values]):
            return COMPLEX_FUNCTIONS[name](*values, **params)
        assert real is not None, f"{name} has complex operands only"
        return real(*values, **params)

    return function


def _named(name: str) -> Callable | None:
    """A function that stays one operation until the kernel is emitted."""
    if name not in FUNCTIONS:
        return None

    def function(*values: Expr, **params: Any) -> Expr:
        if values[0].dtype not in FLOATS:  # e.g. integer powers
            return FUNCTIONS[name](*values, **params)
        return e.node(name, values, values[0].dtype, tuple(sorted(params.items())) or None)

    return function


def _scalars(name: str, real: Callable | None, *, cost: float = 1.0) -> None:
    def supports(eqn: Any) -> bool:
        return name in COMPLEX_FUNCTIONS if is_complex(eqn) else real is not None

    pointwise(name, _either(name, real), cost=cost, supports=supports)


def _divisor(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """A divisor that never traps, and whether it was 0: 1 stands for 0, and for -1 where the
    quotient would overflow."""
    by_zero = e.eq(b, 0)
    safe = e.select(by_zero, 1, b)
    if a.dtype in SIGNED:
        least = np.iinfo(NUMPY[a.dtype]).min
        overflows = e.eq(a, least) & e.eq(b, -1)
        safe = e.select(overflows, 1, safe)
    return safe, by_zero


def _div(a: Expr, b: Expr) -> Expr:
    if a.dtype in FLOATS:
        return a / b
    safe, by_zero = _divisor(a, b)
    return e.select(by_zero, -1, a / safe)  # all bits, of unsigned types too


def _rem(a: Expr, b: Expr) -> Expr:
    if a.dtype in FLOATS:
        return e.rem(a, b)
    safe, by_zero = _divisor(a, b)
    return e.select(by_zero, a, e.rem(a, safe))


def _sign(x: Expr) -> Expr:
    if x.dtype in FLOATS:
        one = e.copysign(e.const(1, x.dtype), x)
        return e.select(e.compare("lt", x, 0) | e.compare("gt", x, 0), one, x)
    if x.dtype in UNSIGNED:
        return e.select(e.eq(x, 0), 0, e.const(1, x.dtype))
    return e.select(x > 0, 1, e.select(x < 0, -1, e.const(0, x.dtype)))


def _round(x: Expr, *, rounding_method: Any = 0) -> Expr:
    if int(rounding_method) == 1:
        return e.unary("round_even", x)
    whole = e.unary("trunc", x)
    away = e.select(e.unary("abs", x - whole) >= 0.5, e.const(1, x.dtype), 0)
    return e.select(e.unary("abs", x) >= 0.5, whole + e.copysign(away, x), whole)


def _shifted(op: str) -> Callable:
    def shift(x: Expr, y: Expr) -> Expr:
        bits = 8 * NUMPY[x.dtype].itemsize
        unsigned = f"u{x.dtype[1:]}"
        count = e.convert(y, unsigned)
        if op == "arithmetic":
            value = e.convert(x, f"i{x.dtype[1:]}")
            limited = e.convert(e.minimum(count, bits - 1), value.dtype)
            return e.convert(value >> limited, x.dtype)
        far = count >= bits
        limited = e.convert(e.select(far, 0, count), x.dtype)
        value = x << limited if op == "left" else e.shift_right_logical(x, limited)
        return e.select(far, 0, value)

    return shift


def _is_finite(x: Expr) -> Expr:
    if x.dtype not in FLOATS:
        return e.const(True, "b1")
    return e.unary("abs", x) < float("inf")


def _conj(x: Value, **params: Any) -> Complex:
    if type(x) is Complex:
        return Complex(x.re, -x.im)
    return Complex(x, e.const(0, x.dtype))


# Vector operations an element takes, roughly; 15 for what is not listed.
_COSTS = {
    "integer_pow": 3,
    "pow": 60,
    "atan2": 30,
    "lgamma": 80,
    "digamma": 60,
    "erf_inv": 40,
    "igamma": 400,
    "igammac": 400,
    "igamma_grad_a": 800,
    "random_gamma_grad": 800,
    "regularized_incomplete_beta": 400,
}


def _register_all() -> None:
    _scalars("sub", Expr.__sub__)
    _scalars("mul", Expr.__mul__)
    _scalars("neg", Expr.__neg__)
    pointwise("and", Expr.__and__)
    pointwise("or", Expr.__or__)
    pointwise("xor", Expr.__xor__)
    pointwise("not", Expr.__invert__)
    _scalars("add", lambda a, b: a | b if a.dtype == "b1" else a + b)
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        _scalars(name, lambda a, b, name=name: e.compare(name, a, b))
    _scalars("div", _div, cost=6)
    pointwise("rem", _rem, cost=20)
    _scalars("max", e.maximum, cost=2)
    _scalars("min", e.minimum, cost=2)
    _scalars("abs", lambda x: x if x.dtype in UNSIGNED else e.unary("abs", x))
    for name in ("floor", "ceil"):
        pointwise(name, lambda x, name=name: e.unary(name, x))
    pointwise("round", _round)
    _scalars("sign", _sign)
    _scalars("sqrt", lambda x: e.unary("sqrt", x), cost=6)
    _scalars("square", lambda x: x * x)
    _scalars("is_finite", _is_finite)
    pointwise("shift_left", _shifted("left"), cost=2)
    pointwise("shift_right_logical", _shifted("right"), cost=2)
    pointwise("shift_right_arithmetic", _shifted("arithmetic"), cost=2)
    pointwise("population_count", lambda x: e.unary("popcount", x))
    pointwise("clz", lambda x: e.unary("clz", x))
    pointwise("name", lambda x, **params: x, cost=0)
    pointwise("stop_gradient", lambda x: x, cost=0)
    pointwise("optimization_barrier", lambda x: x, cost=0)
    pointwise("in_lanes", lambda x, **params: x, cost=0)
    pointwise("device_put", lambda x, **params: x, cost=0)
    pointwise("copy", lambda x: x, cost=0)
    _scalars("clamp", lambda low, x, high: e.minimum(e.maximum(x, low), high), cost=4)
    pointwise("real", lambda x: x.re, cost=0)
    pointwise("imag", lambda x: x.im, cost=0)
    pointwise("complex", Complex, cost=0)
    pointwise("conj", _conj)
    for name in (*FUNCTIONS, *COMPLEX_FUNCTIONS):
        if name not in ELEMENT:
            _scalars(name, _named(name), cost=_COSTS.get(name, 15))


_register_all()


# How far neighbours are in the bits of a register, by the type that is stored.
_NEXT = {"f64": 1, "f32": 1, "bf16": 1 << 16, "f16": 1 << 13}
# Below the first, float16s are apart by the second; the third is the largest.
_LEAST_HALF, _HALF_STEP, _LARGEST_HALF = 2.0**-14, 2.0**-24, 65504.0


@element("nextafter", cost=6)
def _nextafter(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    x, y = [read(k, index if a.aval.shape else ()) for k, a in enumerate(eqn.invars)]
    kind = storage_of(eqn.outvars[0].aval)
    if kind in ROUNDINGS.values():
        x, y = round_to(x, kind), round_to(y, kind)
    integer = {"f32": "i32", "f64": "i64"}[x.dtype]
    further = e.eq(e.convert(y > x, "i32"), e.convert(e.compare("gt", x, 0), "i32"))
    step = e.select(further, e.const(_NEXT[kind], integer), -_NEXT[kind])
    result = e.bitcast(e.bitcast(x, integer) + step, x.dtype)
    least = e.bitcast(e.const(_NEXT[kind], integer), x.dtype)
    if kind == "f16":
        size, least = e.unary("abs", x), e.const(_HALF_STEP, x.dtype)
        near = e.copysign(size + e.select(further, least, -_HALF_STEP), x)
        largest = e.copysign(e.const(_LARGEST_HALF, x.dtype), x)
        result = e.select(size > _LARGEST_HALF, largest, round_to(result, kind))
        result = e.select(size <= _LEAST_HALF, near, result)
    result = e.select(e.eq(x, 0), e.copysign(least, y), result)
    result = e.select(e.eq(x, y), y, result)
    return e.select(e.ne(x, x) | e.ne(y, y), x + y, result)


@element("select_n", cost=1)
def _select_n(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    which = read(0, index if eqn.invars[0].aval.shape else ())
    cases = range(1, len(eqn.invars))
    values = [read(k, index if eqn.invars[k].aval.shape else ()) for k in cases]
    if which.dtype == "b1" and len(values) > 1:
        return choose(which, values[1], values[0])
    result = values[0]
    for k, value in enumerate(values[1:], 1):
        result = choose(which >= k, value, result)
    return result


@element("convert_element_type", cost=1)
def _convert_element_type(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    value = read(0, index)
    target = storage(eqn.outvars[0].aval.dtype)
    kind = register(eqn.outvars[0].aval)
    if target in ("c64", "c128"):
        if type(value) is Complex:
            return Complex(e.convert(value.re, kind), e.convert(value.im, kind))
        return Complex(e.convert(value, kind), e.const(0, kind))
    if type(value) is Complex:
        if target == "b1":
            return e.ne(value.re, 0) | e.ne(value.im, 0)
        value = value.re
    source = storage(eqn.invars[0].aval.dtype)
    if source == target:
        return value
    value = e.convert(value, kind)
    if target in ("bf16", "f16"):
        return round_to(value, target)
    return value


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


@element("threefry2x32", cost=70)
def _threefry2x32(eqn: Any, index: tuple[Index, ...], read: Callable) -> tuple[Expr, Expr]:
    """Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011."""
    k1, k2, a, b = [read(k, index if x.aval.shape else ()) for k, x in enumerate(eqn.invars)]
    keys = (k1, k2, k1 ^ k2 ^ 0x1BD11BDA)
    a, b = a + k1, b + k2
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            a = a + b
            b = ((b << r) | (b >> (32 - r))) ^ a
        a = a + keys[(group + 1) % 3]
        b = b + keys[(group + 2) % 3] + (group + 1)
    return a, b


@element("random_word", cost=71)
def _random_word(eqn: Any, index: tuple[Index, ...], read: Callable) -> Expr:
    first, second = _threefry2x32(eqn, index, read)
    return first ^ second
