"""How eqns act on rows: which compute each row of their result from one row of their operands, and
the same eqns for a block of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.backends.compiler.lowering.reduce import dot_dimensions
from nr.core.avals import ShapedArray
from nr.core.jaxprs import JaxprEqn, Literal, Var
from nr.core.tracing import Primitive

# Functions of single elements.
_POINTWISE = frozenset([
    "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil",
    "clamp", "convert_element_type", "copy", "cos", "cosh", "device_put", "div", "eq", "erf",
    "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "integer_pow", "is_finite",
    "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "pow",
    "reduce_precision", "rem", "round", "rsqrt", "select_n", "sign", "sin", "sinh", "sqrt",
    "square", "stop_gradient", "sub", "tan", "tanh", "xor", "shift_left", "shift_right_logical",
    "bitcast_convert_type", "random_word", "normal_from_uniform", "log_of_uniform",
])  # fmt: skip
_REDUCTIONS = ("reduce_max", "reduce_min", "reduce_sum", "reduce_prod", "reduce_and", "reduce_or")
_CUMULATIVE = ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")


@dataclass(frozen=True, slots=True)
class Axis:
    """Something along which an eqn acts on each element by itself, or which it sums up.

    out: which dimension of the result that is; None, if it is summed up. operands: which dimension
    of each operand; None of what has no such dimension, and is read whole.
    """

    out: int | None
    operands: tuple[int | None, ...]


def axes_of(eqn: JaxprEqn) -> list[Axis]:
    """The axes of an eqn; none of an eqn that nothing is known about."""
    if len(eqn.outvars) != 1:
        return []
    name, p, shape = eqn.primitive.name, eqn.params, eqn.outvars[0].aval.shape
    shapes = [a.aval.shape for a in eqn.invars]
    dims = range(len(shape))
    if name in _POINTWISE:
        if any([s not in (shape, ()) for s in shapes]):
            return []
        return [Axis(d, tuple([d if s else None for s in shapes])) for d in dims]
    if name == "dot_general":
        return _axes_of_product(eqn)
    if name == "broadcast_in_dim":
        place = {d: k for k, d in enumerate(p["broadcast_dimensions"])}
        same = {d: k for d, k in place.items() if shapes[0][k] == shape[d]}
        return [Axis(d, (same.get(d),)) for d in dims]
    if name == "iota":
        # Counters of few bits, and rounded ones, are not sums of a block's counter and its start.
        exact = p["dtype"].kind in "iu" and p["dtype"].itemsize >= 4
        return [Axis(d, ()) for d in dims if exact or d != p["dimension"]]
    if name == "transpose":
        return [Axis(d, (k,)) for d, k in enumerate(p["permutation"])]
    if name in ("reshape", "squeeze") and 0 not in shape:
        before = {math.prod(shapes[0][:k]): k for k, n in enumerate(shapes[0]) if n > 1}
        pairs = [(d, before.get(math.prod(shape[:d]))) for d in dims if shape[d] > 1]
        return [Axis(d, (k,)) for d, k in pairs if k is not None and shapes[0][k] == shape[d]]
    if name in _REDUCTIONS or name in ("argmax", "argmin"):
        kept = [k for k in range(len(shapes[0])) if k not in p["axes"]]
        summed = p["axes"] if name == "reduce_sum" else ()
        return [
            *[Axis(d, (k,)) for d, k in enumerate(kept)],
            *[Axis(None, (k,)) for k in summed],
        ]
    if name in _CUMULATIVE:
        return [Axis(d, (d,)) for d in dims if d != p["axis"]]
    if name == "concatenate":
        return [Axis(d, (d,) * len(shapes)) for d in dims if d != p["dimension"]]
    if name == "pad":
        return [Axis(d, (d, None)) for d in dims if tuple(p["padding_config"][d]) == (0, 0, 0)]
    if name == "slice":
        return [Axis(d, (d,)) for d in dims if shapes[0][d] == shape[d]]
    return []


def _axes_of_product(eqn: JaxprEqn) -> list[Axis]:
    lb, rb, lf, rf, lc, rc = dot_dimensions(eqn)
    pairs: list[tuple[int | None, int | None]] = [*zip(lb, rb, strict=True)]
    pairs += [(k, None) for k in lf]
    pairs += [(None, k) for k in rf]
    summed = [Axis(None, pair) for pair in zip(lc, rc, strict=True)]
    return [*[Axis(d, pair) for d, pair in enumerate(pairs)], *summed]


def axis_of_result(eqn: JaxprEqn | None, d: int) -> Axis | None:
    axes = [] if eqn is None else axes_of(eqn)
    return next((x for x in axes if x.out == d), None)


def axis_of_whole(eqn: JaxprEqn) -> Axis | None:
    """How an eqn of little work for an element reads its operands for its whole result."""
    name = eqn.primitive.name
    known = bool(axes_of(eqn)) or (name in _POINTWISE and len(eqn.outvars) == 1)
    known = known and name not in (*_REDUCTIONS, *_CUMULATIVE, "argmax", "argmin", "dot_general")
    return Axis(None, (None,) * len(eqn.invars)) if known else None


def axis_of_operand(eqn: JaxprEqn, var: Var, d: int) -> Axis | None:
    """The axis that a dimension of an operand is, wherever the eqn reads the operand."""
    places = [k for k, a in enumerate(eqn.invars) if a is var]
    axes = axes_of(eqn)
    return next((x for x in axes if all([x.operands[k] == d for k in places])), None)


def resized(shape: Sequence[int], d: int, rows: int) -> tuple[int, ...]:
    return (*shape[:d], rows, *shape[d + 1 :])


class Writer:
    """Writes eqns, one after the other."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.eqns: list[JaxprEqn] = []

    def add(
        self, name: str, operands: Sequence[Any], shape: Any, dtype: Any, /, **params: Any
    ) -> Var:  # fmt: skip
        """An eqn, and the variable it gives."""
        out = Var(ShapedArray(shape, dtype))
        self.eqns.append(JaxprEqn(Primitive.all[name], [*operands], [out], params, self.source))
        return out

    def copied(self, eqn: JaxprEqn, operands: list[Any]) -> Var:
        """An eqn again, with other operands."""
        aval = eqn.outvars[0].aval
        return self.add(eqn.primitive.name, operands, aval.shape, aval.dtype, **eqn.params)

    def reshaped(self, var: Any, shape: Sequence[int]) -> Any:
        return self.add("reshape", [var], shape, var.aval.dtype, new_sizes=tuple(shape))

    def converted(self, atom: Any, dtype: Any) -> Any:
        """A value in another dtype."""
        if atom.aval.dtype == dtype:
            return atom
        params = {"new_dtype": np.dtype(dtype), "weak_type": False}
        return self.add("convert_element_type", [atom], atom.aval.shape, dtype, **params)

    def starts(self, first: int, n: int, rows: int) -> Var:
        """The first row of each of n blocks: i32[n]."""
        kind = np.dtype(np.int32)
        count = self.add("iota", [], (n,), kind, dtype=kind, shape=(n,), dimension=0)
        count = self.add("mul", [count, Literal(np.int32(rows))], (n,), kind)
        return self.add("add", [count, Literal(np.int32(first))], (n,), kind)


def sum_dtype(dtype: Any) -> np.dtype:
    """What sums of blocks are kept in: half floats would be rounded after every block."""
    half = dtype.itemsize == 2 and dtype.kind not in "iu"
    return np.dtype(np.float32) if half else dtype


def in_block(
    inner: Writer, eqn: JaxprEqn, axis: Axis, operands: list[Any], rows: int, start: Var
) -> Var:
    """Add an eqn for a block of rows, or for its part of a sum."""
    name, params, (out,) = eqn.primitive.name, dict(eqn.params), eqn.outvars
    d, dtype = axis.out, out.aval.dtype
    if d is None:
        dtype = sum_dtype(dtype)
        if dtype != out.aval.dtype and name == "dot_general":
            params["preferred_element_type"] = dtype
        elif dtype != out.aval.dtype:
            operands = [inner.converted(operands[0], dtype)]
        return inner.add(name, operands, out.aval.shape, dtype, **params)
    shape = resized(out.aval.shape, d, rows)
    if "shape" in params:  # of broadcasts and counters
        params["shape"] = shape
    if "new_sizes" in params:
        params["new_sizes"] = shape
    if "limit_indices" in params:
        params["limit_indices"] = resized(params["limit_indices"], d, rows)
    new = inner.add(name, operands, shape, dtype, **params)
    if name == "iota" and params["dimension"] == d:
        new = inner.add("add", [new, inner.converted(start, dtype)], shape, dtype)
    return new
