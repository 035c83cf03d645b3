"""Reductions: sums, products, extrema, logic, argmin and argmax, and dot products as loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import FLOATS, NUMPY, Complex, Expr
from nr.backends.compiler.index import ZERO, Index, flatten
from nr.backends.compiler.loops import parts_of
from nr.backends.compiler.lowering.rules import (
    REDUCTION,
    ReductionRule,
    from_index,
    register,
    storage,
)
from nr.backends.compiler.math.complex import COMPLEX_FUNCTIONS


def _axes_domain(eqn: Any) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    shape = eqn.invars[0].aval.shape
    axes = {d % len(shape) for d in eqn.params["axes"]}
    return shape, tuple([d in axes for d in range(len(shape))])


def _operand(eqn: Any, loops: tuple[Index, ...], read: Callable) -> tuple[Expr, ...]:
    return parts_of(read(0, loops))


def extreme_value(dtype: str, largest: bool) -> Any:
    if dtype in FLOATS:
        return np.inf if largest else -np.inf
    if dtype == "b1":
        return largest
    info = np.iinfo(NUMPY[dtype])
    return info.max if largest else info.min


def add(a: tuple, b: tuple) -> tuple:
    return tuple([x + y for x, y in zip(a, b, strict=True)])


def multiply(a: tuple, b: tuple) -> tuple:
    if len(a) == 1:
        return (a[0] * b[0],)
    return (a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0])


def repeated(value: Any) -> Callable:
    def identity(eqn: Any) -> tuple[Expr, ...]:
        aval = eqn.outvars[0].aval
        kind = register(aval)
        first = e.const(value(kind) if callable(value) else value, kind)
        if storage(aval.dtype) in ("c64", "c128"):
            return first, e.const(0, kind)
        return (first,)

    return identity


def _reduction(name: str, identity: Any, combine: Callable, **options: Any) -> None:
    REDUCTION[name] = ReductionRule(_axes_domain, _operand, repeated(identity), combine, **options)


def extremum(name: str) -> Callable:
    """The combination of max or min; complex numbers compare by real, then by imaginary parts."""
    of_real = e.maximum if name == "max" else e.minimum

    def combine(a: tuple, b: tuple) -> tuple:
        if len(a) == 1:
            return (of_real(a[0], b[0]),)
        return parts_of(COMPLEX_FUNCTIONS[name](Complex(*a), Complex(*b)))

    return combine


def _extreme_identity(largest: bool) -> Callable:
    def identity(eqn: Any) -> tuple[Expr, ...]:
        aval = eqn.outvars[0].aval
        kind = register(aval)
        parts = 2 if storage(aval.dtype) in ("c64", "c128") else 1
        return (e.const(extreme_value(kind, largest), kind),) * parts

    return identity


def real(eqn: Any) -> bool:
    return storage(eqn.invars[0].aval.dtype) not in ("c64", "c128")


_reduction("reduce_sum", 0, add)
_reduction("reduce_prod", 1, multiply)
for _name, _largest in (("max", False), ("min", True)):
    REDUCTION[f"reduce_{_name}"] = ReductionRule(
        _axes_domain, _operand, _extreme_identity(_largest), extremum(_name)
    )
_reduction("reduce_and", -1, lambda a, b: (a[0] & b[0],))  # -1: all bits, True
_reduction("reduce_or", 0, lambda a, b: (a[0] | b[0],))
_reduction("reduce_xor", 0, lambda a, b: (a[0] ^ b[0],))


def _arg_values(eqn: Any, loops: tuple[Index, ...], read: Callable) -> tuple[Expr, ...]:
    shape, reduced = _axes_domain(eqn)
    places = [i for i, r in zip(loops, reduced, strict=True) if r]
    extents = [n for n, r in zip(shape, reduced, strict=True) if r]
    value = read(0, loops)
    if value.dtype == "b1":
        value = e.convert(value, "u8")
    return value, from_index(flatten(places, extents), register(eqn.outvars[0].aval))


def _arg_combine(better: Callable) -> Callable:
    def combine(a: tuple, b: tuple) -> tuple:
        (x, i), (y, j) = a, b
        wins, ties = better(y, x), e.eq(y, x)
        if x.dtype in FLOATS:
            x_nan, y_nan = e.ne(x, x), e.ne(y, y)
            wins = (wins | y_nan) & ~x_nan
            ties = ties | (x_nan & y_nan)
        take = wins | (ties & (j < i))
        return e.select(take, y, x), e.select(take, j, i)

    return combine


def _arg_identity(largest: bool) -> Callable:
    def identity(eqn: Any) -> tuple[Expr, ...]:
        kind = register(eqn.invars[0].aval)
        kind = "u8" if kind == "b1" else kind
        index = register(eqn.outvars[0].aval)
        return e.const(extreme_value(kind, largest), kind), e.const(
            np.iinfo(NUMPY[index]).max, index
        )

    return identity


for _name, _better, _largest in (("argmax", e.Expr.__gt__, False), ("argmin", e.Expr.__lt__, True)):
    REDUCTION[_name] = ReductionRule(
        _axes_domain, _arg_values, _arg_identity(_largest), _arg_combine(_better), supports=real
    )


# ------------------------------------------------------------------------------ dot products
def dot_dimensions(eqn: Any) -> tuple[tuple[int, ...], ...]:
    """Batch, left-free, right-free and contracted dimensions of both operands."""
    (lc, rc), (lb, rb) = eqn.params["dimension_numbers"]
    left, right = [a.aval.ndim for a in eqn.invars]
    lf = tuple([d for d in range(left) if d not in (*lc, *lb)])
    rf = tuple([d for d in range(right) if d not in (*rc, *rb)])
    return tuple(lb), tuple(rb), lf, rf, tuple(lc), tuple(rc)


def _dot_domain(eqn: Any) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    *_, lc, _ = dot_dimensions(eqn)
    contracted = tuple([eqn.invars[0].aval.shape[d] for d in lc])
    out = eqn.outvars[0].aval.shape
    return (*out, *contracted), (False,) * len(out) + (True,) * len(contracted)


def _dot_values(eqn: Any, loops: tuple[Index, ...], read: Callable) -> tuple[Expr, ...]:
    lb, rb, lf, rf, lc, rc = dot_dimensions(eqn)
    batch = loops[: len(lb)]
    left_free = loops[len(lb) : len(lb) + len(lf)]
    right_free = loops[len(lb) + len(lf) : len(lb) + len(lf) + len(rf)]
    contracted = loops[len(lb) + len(lf) + len(rf) :]
    sides = []
    for k, dims_of in enumerate(((lb, lf, lc), (rb, rf, rc))):
        at: list[Index] = [ZERO] * eqn.invars[k].aval.ndim
        free = (left_free, right_free)[k]
        for dims, places in zip(dims_of, (batch, free, contracted), strict=True):
            for d, place in zip(dims, places, strict=True):
                at[d] = place
        value = read(k, tuple(at))
        kind = register(eqn.outvars[0].aval)
        if type(value) is Complex:
            value = Complex(e.convert(value.re, kind), e.convert(value.im, kind))
        else:
            value = e.convert(value, kind)
        sides.append(value)
    a, b = sides
    if type(a) is Complex or type(b) is Complex:
        zero = e.const(0, register(eqn.outvars[0].aval))
        a, b = [v if type(v) is Complex else Complex(v, zero) for v in (a, b)]
        return (a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)
    if a.dtype == "b1":
        return (a & b,)
    return (a * b,)


def add_products(a: tuple, b: tuple) -> tuple:
    """a + b of sums of products; of truth values, whether either holds."""
    return (a[0] | b[0],) if a[0].dtype == "b1" else add(a, b)


REDUCTION["dot_general"] = ReductionRule(_dot_domain, _dot_values, repeated(0), add_products)
