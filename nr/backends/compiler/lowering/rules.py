"""How primitives become loops: the registries, and what the rules share.

An *element rule* says what one element of an eqn's result is: ``rule(eqn, index, read)`` where
`index` is a tuple of `Index`, and ``read(k, index)`` gives an element of operand k (with
``guard=`` a condition without which it must not be accessed). Fusion is nothing but reading an
element of what another rule computes. A *reduction* is an element rule with more loops and a way
to combine values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.backends.compiler.expr import (
    FLOATS,
    NUMPY,
    ROUNDINGS,
    Complex,
    Expr,
    const,
    convert,
    node,
    select,
)
from nr.backends.compiler.index import Index, index_of
from nr.backends.compiler.loops import REGISTER, Buffer
from nr.core.dtypes import DTYPES

Value = Expr | Complex

_STORAGE = {
    **{d: t for t, d in NUMPY.items()},
    np.dtype(np.float16): "f16",
    np.dtype(np.complex64): "c64",
    np.dtype(np.complex128): "c128",
}


def storage(dtype: Any) -> str | None:
    """The storage type of an array's dtype; None if the compiler has none for it."""
    dtype = np.dtype(dtype)
    return "bf16" if dtype.name == "bfloat16" else _STORAGE.get(dtype)


def storage_of(aval: Any) -> str:
    """The storage type of an array for which the compiler has one."""
    kind = storage(aval.dtype)
    assert kind is not None, f"the compiler has no type for {aval.dtype}"
    return kind


def register(aval: Any) -> str:
    """The type an array's element has in a register (of each part, for complex numbers)."""
    return REGISTER[storage_of(aval)]


def buffer_for(name: str, aval: Any) -> Buffer:
    """Memory for an array; bytes, where only the table knows its type."""
    kind = storage(aval.dtype)
    if kind is None:
        return Buffer(name, "u8", aval.size * np.dtype(aval.dtype).itemsize)
    return Buffer(name, kind, aval.size)


@dataclass(frozen=True, slots=True)
class ElementRule:
    """`cost` is about how many vector operations an element takes besides its operands."""

    rule: Callable
    cost: float = 1.0
    supports: Callable = lambda eqn: True


@dataclass(frozen=True, slots=True)
class ReductionRule:
    """A reduction. `domain(eqn)` gives the extents of its loops and which of them are reduced;
    ``values(eqn, loops, read)`` the tuple to combine, `loops` being an `Index` each."""

    domain: Callable
    values: Callable
    identity: Callable
    combine: Callable
    supports: Callable = lambda eqn: True


@dataclass(frozen=True, slots=True)
class KernelRule:
    """A primitive that is kernels of its own: ``build(eqn, operands, results, vector_bytes)``
    gives them, or routines, in order, over the buffers of its operands and results. An operand of
    `fillings` that is full of one number is given as a buffer of one element. So is the first
    number of an operand for which ``counts(eqn, k, producers)`` holds, and a result that nothing
    reads is given as a buffer of no elements, if there is such a function."""

    build: Callable
    supports: Callable = lambda eqn: True
    fillings: tuple[int, ...] = ()
    counts: Callable | None = None


ELEMENT: dict[str, ElementRule] = {}
REDUCTION: dict[str, ReductionRule] = {}
KERNELS: dict[str, KernelRule] = {}


def element(*names: str, cost: float = 1.0, supports: Callable | None = None) -> Callable:
    """Register an element rule of primitives."""

    def add(rule: Callable) -> Callable:
        for name in names:
            options = {} if supports is None else {"supports": supports}
            ELEMENT[name] = ElementRule(rule, cost, **options)
        return rule

    return add


def pointwise(
    name: str, function: Callable, *, cost: float = 1.0, supports: Callable = lambda eqn: True
) -> None:
    """Register a function of scalars, applied to operands of equal shapes or rank 0.

    It is given the operands, then the eqn's params as keywords.
    """

    def rule(eqn: Any, index: tuple[Index, ...], read: Callable) -> Any:
        values = [read(k, index if a.aval.shape else ()) for k, a in enumerate(eqn.invars)]
        params = {k: v for k, v in eqn.params.items() if k != "stored"}  # that is for clusters
        return function(*values, **params)

    ELEMENT[name] = ElementRule(rule, cost, supports)


def kernels(
    *names: str, supports: Callable | None = None, fillings: tuple[int, ...] = (),
    counts: Callable | None = None,
) -> Callable:  # fmt: skip
    """Register primitives that are kernels of their own."""

    def add(build: Callable) -> Callable:
        for name in names:
            options = {} if supports is None else {"supports": supports}
            KERNELS[name] = KernelRule(build, **options, fillings=fillings, counts=counts)
        return build

    return add


def is_complex(eqn: Any) -> bool:
    """Whether an operand is complex."""
    return any([np.dtype(a.aval.dtype).kind == "c" for a in eqn.invars])


def to_index(value: Expr) -> Index:
    """An integer expression as an index."""
    while value.op == "convert" and value.args[0].dtype not in (*FLOATS, "b1"):
        value = value.args[0]
    if value.op == "const":
        return index_of(int(value.param))
    if value.op == "index":
        return value.param
    return index_of(convert(value, "i64"))


def from_index(index: Index, dtype: str) -> Expr:
    """An index as a value of a register type."""
    if index.constant is not None:
        return const(index.constant, dtype)
    wide = dtype if dtype in ("i32", "i64") else "i64"
    return convert(node("index", (), wide, index), dtype)


def in_range(index: Index, low: int, high: int) -> Expr | None:
    """The condition low <= index < high; None where it always holds."""
    bounds = index.range()
    conditions = []
    value = from_index(index, "i64")
    if bounds is None or bounds[0] < low:
        conditions.append(value >= low)
    if bounds is None or bounds[1] >= high:
        conditions.append(value < high)
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else conditions[0] & conditions[1]


def choose(condition: Expr | None, a: Value, b: Value) -> Value:
    """`select` of real or complex values; no condition means `a`."""
    if condition is None:
        return a
    if type(a) is Complex:
        assert type(b) is Complex
        return Complex(select(condition, a.re, b.re), select(condition, a.im, b.im))
    return select(condition, a, b)


def round_to(value: Expr, dtype: str) -> Expr:
    """An f32 rounded to a 16-bit storage type, still as f32."""
    (op,) = [op for op, kind in ROUNDINGS.items() if kind == dtype]
    if value.op == "const":
        kind = DTYPES["bfloat16" if dtype == "bf16" else "float16"]
        with np.errstate(over="ignore"):
            return const(np.asarray(value.param).astype(kind).astype(np.float32), "f32")
    return node(op, (value,), "f32")


def constant(value: Any, aval: Any) -> Value:
    """A scalar constant of an array's type."""
    kind = storage_of(aval)
    scalar = np.asarray(value).astype(aval.dtype)
    if kind in ("c64", "c128"):
        return Complex(const(scalar.real, REGISTER[kind]), const(scalar.imag, REGISTER[kind]))
    return const(scalar, REGISTER[kind])
