"""Convolutions: reductions over the input features of a group and the window.

Large ones come prepared (see convolution.py): padded, and in layouts that suit tiled loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import Complex, Expr
from nr.backends.compiler.index import Index
from nr.backends.compiler.loops import parts_of
from nr.backends.compiler.lowering.reduce import add_products, repeated
from nr.backends.compiler.lowering.rules import (
    REDUCTION,
    ReductionRule,
    Value,
    choose,
    constant,
    from_index,
    in_range,
    register,
    storage,
)
from nr.backends.compiler.lowering.strided import every


def _inner(eqn: Any) -> list[int]:
    """The reduced dimensions of rhs, as their places in its specification: in the order in which
    those of lhs that they go along lie in memory."""
    dims = eqn.params["dimension_numbers"]
    return sorted(range(1, len(dims.rhs_spec)), key=lambda k: dims.lhs_spec[k])


def _domain(eqn: Any) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """The result's dimensions; then the input features of a group, and the window."""
    out, kernel = eqn.outvars[0].aval.shape, eqn.invars[1].aval.shape
    spec = eqn.params["dimension_numbers"].rhs_spec
    inner = tuple([kernel[spec[k]] for k in _inner(eqn)])
    return (*out, *inner), (False,) * len(out) + (True,) * len(inner)


def _values(eqn: Any, loops: tuple[Index, ...], read: Callable) -> tuple[Expr, ...]:
    p, dims = eqn.params, eqn.params["dimension_numbers"]
    left, right, out = [a.aval for a in (*eqn.invars, *eqn.outvars)]
    rank = out.ndim - 2
    inner = dict(zip(_inner(eqn), loops[out.ndim :], strict=True))
    feature, *window = [inner[k] for k in range(1, left.ndim)]
    image, channel, *space = [loops[d] for d in dims.out_spec]
    # Which group an output feature belongs to, and with it the input features, or the images.
    groups = max(p["feature_group_count"], p["batch_group_count"])
    group = channel // (out.shape[dims.out_spec[1]] // groups)
    at: list[Any] = [None] * left.ndim
    if p["batch_group_count"] > 1:
        image = group * (left.shape[dims.lhs_spec[0]] // groups) + image
        at[dims.lhs_spec[1]] = feature
    else:
        at[dims.lhs_spec[1]] = group * right.shape[dims.rhs_spec[1]] + feature
    at[dims.lhs_spec[0]] = image
    inside: list[Expr | None] = []
    for k in range(rank):
        d = dims.lhs_spec[2 + k]
        low, _ = p["padding"][k]
        spread = p["lhs_dilation"][k]
        place = space[k] * p["window_strides"][k] + window[k] * p["rhs_dilation"][k] - low
        if spread > 1:  # only every so many places there is an element; what is divided is >= 0
            before = -(-max(low, 0) // spread)
            place = place + before * spread
            inside.append(e.eq(from_index(place % spread, "i64"), 0))
            place = place // spread - before
        inside.append(in_range(place, 0, left.shape[d]))
        at[d] = place
    guard = every(inside)
    where: list[Any] = [None] * right.ndim
    for d, index in zip(dims.rhs_spec, (channel, feature, *window), strict=True):
        where[d] = index
    a = _as_result(read(0, tuple(at), guard=guard), eqn)
    b = _as_result(read(1, tuple(where)), eqn)
    return parts_of(choose(guard, _product(a, b), constant(0, out)))


def _as_result(value: Value, eqn: Any) -> Value:
    """A factor in the type of the sum."""
    kind = register(eqn.outvars[0].aval)
    if type(value) is Complex:
        return Complex(e.convert(value.re, kind), e.convert(value.im, kind))
    assert type(value) is Expr
    if storage(eqn.outvars[0].aval.dtype) in ("c64", "c128"):
        return Complex(e.convert(value, kind), e.const(0, kind))
    return e.convert(value, kind)


def _product(a: Value, b: Value) -> Value:
    if type(a) is Complex and type(b) is Complex:
        return Complex(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)
    assert type(a) is Expr and type(b) is Expr
    return a & b if a.dtype == "b1" else a * b


REDUCTION["conv_general_dilated"] = ReductionRule(_domain, _values, repeated(0), add_products)
