"""Scalar expressions of the loop IR: what a kernel computes for one element.

An expression is a node of a DAG. Nodes are interned while a program is being compiled, so equal
subexpressions are one object and are computed once. Its types are those a register holds: `b1`,
`i8` … `u64`, `f32`, `f64`. bfloat16 and float16 exist in memory only (loads widen them to f32,
stores round), and a complex number is a `Complex` pair of expressions.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np

FLOATS = ("f32", "f64")
# Operations that round to a type of half floats, whose registers are f32.
ROUNDINGS = {"half": "f16", "bfloat": "bf16"}
SIGNED = ("i8", "i16", "i32", "i64")
UNSIGNED = ("u8", "u16", "u32", "u64")
NUMPY = {
    "b1": np.dtype(bool), "f32": np.dtype(np.float32), "f64": np.dtype(np.float64),
    **{t: np.dtype(f"int{t[1:]}") for t in SIGNED},
    **{t: np.dtype(f"uint{t[1:]}") for t in UNSIGNED},
}  # fmt: skip

_DEEPEST = 200_000
_lock = threading.RLock()
_interned: dict[tuple, Expr] | None = None


@contextmanager
def compiling() -> Iterator[None]:
    """The scope in which expressions are built: one program at a time, nodes interned.

    Rules call each other along chains of eqns, which may be long: the limit of recursion, which
    is there to protect from endless ones, is lifted meanwhile.
    """
    global _interned
    with _lock:
        outer, _interned = _interned, {} if _interned is None else _interned
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, _DEEPEST))
        try:
            yield
        finally:
            sys.setrecursionlimit(limit)
            _interned = outer


@final
class Expr:
    """One operation on scalars: ``op[param](args)``, of a register type."""

    __slots__ = ("op", "args", "dtype", "param")

    def __init__(self, op: str, args: tuple, dtype: str, param: Any = None) -> None:
        self.op = op
        self.args = args
        self.dtype = dtype
        self.param = param

    def __repr__(self) -> str:
        return expr_text(self)

    def __add__(self, other: Any) -> Expr:
        return _binary("add", self, other)

    def __radd__(self, other: Any) -> Expr:
        return _binary("add", const(other, self.dtype), self)

    def __sub__(self, other: Any) -> Expr:
        return _binary("sub", self, other)

    def __rsub__(self, other: Any) -> Expr:
        return _binary("sub", const(other, self.dtype), self)

    def __mul__(self, other: Any) -> Expr:
        return _binary("mul", self, other)

    def __rmul__(self, other: Any) -> Expr:
        return _binary("mul", const(other, self.dtype), self)

    def __truediv__(self, other: Any) -> Expr:
        return _binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return _binary("div", const(other, self.dtype), self)

    def __neg__(self) -> Expr:
        return node("neg", (self,), self.dtype)

    def __and__(self, other: Any) -> Expr:
        return _binary("and", self, other)

    def __or__(self, other: Any) -> Expr:
        return _binary("or", self, other)

    def __xor__(self, other: Any) -> Expr:
        return _binary("xor", self, other)

    def __invert__(self) -> Expr:
        return node("not", (self,), self.dtype)

    def __lshift__(self, other: Any) -> Expr:
        return _binary("shl", self, other)

    def __rshift__(self, other: Any) -> Expr:
        """Arithmetic for signed types, logical for unsigned ones."""
        return _binary("shr", self, other)

    def __lt__(self, other: Any) -> Expr:
        return compare("lt", self, other)

    def __le__(self, other: Any) -> Expr:
        return compare("le", self, other)

    def __gt__(self, other: Any) -> Expr:
        return compare("gt", self, other)

    def __ge__(self, other: Any) -> Expr:
        return compare("ge", self, other)


@final
class Complex:
    """A complex scalar: two expressions of one float type."""

    __slots__ = ("re", "im")

    def __init__(self, re: Expr, im: Expr) -> None:
        self.re = re
        self.im = im

    @property
    def dtype(self) -> str:
        """c64 or c128."""
        return {"f32": "c64", "f64": "c128"}[self.re.dtype]


def node(op: str, args: tuple, dtype: str, param: Any = None) -> Expr:
    """The interned node; of constants, the constant it folds to."""
    foldable = op in _FOLD or (op == "div" and dtype in FLOATS)
    if args and foldable and all([a.op == "const" for a in args]):
        with np.errstate(all="ignore"):
            value = _FOLD.get(op, np.divide)(*[NUMPY[a.dtype].type(a.param) for a in args])
        return const(value, dtype)
    if op in ("mul", "div", "sub", "add", "neg"):
        simpler = _simpler(op, args, dtype)
        if simpler is not None:
            return simpler
    elif op in ("and", "or", "select", "load"):
        chosen = _chosen(op, args, dtype, param)
        if chosen is not None:
            return chosen
    if _interned is None:
        return Expr(op, args, dtype, param)
    key = (op, dtype, param, *[id(a) for a in args])
    found = _interned.get(key)
    if found is None:
        found = _interned[key] = Expr(op, args, dtype, param)
    return found


def _simpler(op: str, args: tuple, dtype: str) -> Expr | None:
    """What gives the same bits with less work: only identities that hold for all values."""
    if op == "neg":
        return args[0].args[0] if args[0].op == "neg" else None
    a, b = args
    if a.op == "const" and op in ("mul", "add"):
        a, b = b, a
    if b.op != "const":
        return None
    value = b.param
    if op in ("mul", "div") and value == 1:
        return a
    if op == "sub" and value == 0 and not np.signbit(float(value)):
        return a
    if op == "add" and value == 0 and (dtype not in FLOATS or np.signbit(value)):
        return a
    if op == "div" and dtype in FLOATS and np.isfinite(value) and value != 0:
        mantissa, exponent = np.frexp(value)
        if abs(mantissa) == 0.5 and abs(exponent) < 120:
            return node("mul", (a, const(1 / value, dtype)), dtype)
    return None


def _chosen(op: str, args: tuple, dtype: str, param: Any) -> Expr | None:
    """What is left of an operation one of whose conditions is known."""
    if op in ("and", "or"):
        for known, other in (args, args[::-1]) if dtype == "b1" else ():
            if known.op == "const":
                return other if bool(known.param) == (op == "and") else known
    elif args and args[0].op == "const":
        if op == "select":
            return args[1] if args[0].param else args[2]
        return node("load", (), dtype, param) if args[0].param else const(0, dtype)
    return None


def const(value: Any, dtype: str) -> Expr:
    """A constant of a register type; an `Expr` is given back as it is."""
    if type(value) is Expr:
        return value
    kind = NUMPY[dtype]
    scalar = np.asarray(value).astype(kind)
    if _interned is None:
        return Expr("const", (), dtype, scalar[()])
    key = ("const", dtype, scalar.tobytes())
    found = _interned.get(key)
    if found is None:
        found = _interned[key] = Expr("const", (), dtype, scalar[()])
    return found


def _binary(op: str, a: Expr, b: Any) -> Expr:
    b = const(b, a.dtype)
    assert a.dtype == b.dtype, f"{op}: {a.dtype} and {b.dtype}"
    return node(op, (a, b), a.dtype)


def compare(op: str, a: Expr, b: Any) -> Expr:
    """lt, le, gt, ge, eq or ne (ordered; only ne is true of NaN), as b1."""
    b = const(b, a.dtype)
    assert a.dtype == b.dtype, f"{op}: {a.dtype} and {b.dtype}"
    return node(op, (a, b), "b1")


def eq(a: Expr, b: Any) -> Expr:
    """a == b, false of NaN."""
    return compare("eq", a, b)


def ne(a: Expr, b: Any) -> Expr:
    """a != b, true of NaN."""
    return compare("ne", a, b)


def select(condition: Expr, a: Any, b: Any) -> Expr:
    """`a` where the b1 condition holds, else `b`; one of them may be a Python number."""
    dtype = a.dtype if type(a) is Expr else b.dtype
    a, b = const(a, dtype), const(b, dtype)
    assert condition.dtype == "b1" and a.dtype == b.dtype, f"select: {a.dtype} and {b.dtype}"
    if condition.op == "const":
        return a if condition.param else b
    if b.op == "max" and condition.op == "gt" and condition.args == b.args and a is b.args[0]:
        return b  # the larger anyway, and NaN where that is
    return a if a is b else node("select", (condition, a, b), dtype)


def fma(a: Expr, b: Any, c: Any) -> Expr:
    """a * b + c, rounded once."""
    return node("fma", (a, const(b, a.dtype), const(c, a.dtype)), a.dtype)


def maximum(a: Expr, b: Any) -> Expr:
    """The larger, NaN if one is NaN."""
    return _extremum("max", a, b)


def minimum(a: Expr, b: Any) -> Expr:
    """The smaller, NaN if one is NaN."""
    return _extremum("min", a, b)


def _extremum(op: str, a: Expr, b: Any) -> Expr:
    b = const(b, a.dtype)
    for x in (a, b):
        if x.op == "const" and x.param != x.param:
            return x
    return _binary(op, a, b)


def rem(a: Expr, b: Any) -> Expr:
    """Remainder with the dividend's sign (C's fmod and %)."""
    return _binary("rem", a, b)


def shift_right_logical(a: Expr, b: Any) -> Expr:
    """The bits moved down, zeros above, of signed types too."""
    return _binary("lshr", a, b)


def unary(op: str, a: Expr) -> Expr:
    """abs, sqrt, floor, ceil, trunc, round_even, popcount, clz or ctz, of the operand's type."""
    return node(op, (a,), a.dtype)


def copysign(a: Expr, b: Expr) -> Expr:
    """|a| with the sign bit of b."""
    return node("copysign", (a, b), a.dtype)


def bitcast(a: Expr, dtype: str) -> Expr:
    """The same bits as another type of the same size."""
    return a if a.dtype == dtype else node("bitcast", (a,), dtype)


def convert(a: Expr, dtype: str) -> Expr:
    """The value as another type. Floats become integers by truncation, saturating; NaN gives 0.
    b1 is true for what is not zero; integers wrap."""
    if a.dtype == dtype:
        return a
    if a.op == "const" and not (a.dtype in FLOATS and dtype not in FLOATS):
        return const(a.param, dtype)
    return node("convert", (a,), dtype)


def _shift(f: Callable) -> Callable:
    return lambda a, b: f(a, b) if 0 <= int(b) < a.dtype.itemsize * 8 else a.dtype.type(0)


_FOLD: dict[str, Callable] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "shl": _shift(np.left_shift),
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal, "sqrt": np.sqrt,
    "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def expr_text(expr: Expr) -> str:
    """One line, nested."""
    if expr.op == "const":
        return f"{expr.param}"
    param = f"[{expr.param}]" if expr.param is not None else ""
    if not expr.args:
        return f"{expr.op}{param}"
    return f"{expr.op}{param}({', '.join([expr_text(a) for a in expr.args])})"
