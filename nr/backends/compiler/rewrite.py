"""Rebuilding expressions: with other loop variables, and with functions written out."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from nr.backends.compiler.expr import FLOATS, Complex, Expr, const, fma, node, select, unary
from nr.backends.compiler.index import Index, Loop
from nr.backends.compiler.loops import Kernel, Pass, Recurrence, Reducer, Store, operands_of, walk
from nr.backends.compiler.math import FUNCTIONS


class Rewriter:
    """Rebuilds expressions with loop variables, or whole expressions, replaced."""

    def __init__(self, loops: dict[Loop, Index], exprs: dict[int, Expr] | None = None) -> None:
        self.loops = loops
        self.done: dict[int, Expr] = dict(exprs or {})
        self.keep: list[Expr] = []
        self.reducers: dict[int, Any] = {}

    def expr(self, root: Expr) -> Expr:
        """The expression, rebuilt."""
        for e in walk([root]):
            if id(e) not in self.done:
                self.keep.append(e)
                self.done[id(e)] = self._one(e)
        return self.done[id(root)]

    def _one(self, e: Expr) -> Expr:
        args = tuple([self.done[id(a)] for a in e.args])
        if e.op == "load":
            buffer, index, part = e.param
            return node("load", args, e.dtype, (buffer, self.index(index), part))
        if e.op == "index":
            index = self.index(e.param)
            if index.constant is not None:
                return const(index.constant, e.dtype)
            return node("index", (), e.dtype, index)
        if e.op in ("acc", "running", "current"):
            reducer, k = e.param
            return node(e.op, (), e.dtype, (self.reducers.get(id(reducer), reducer), k))
        if all([a is b for a, b in zip(args, e.args, strict=True)]):
            return e
        return node(e.op, args, e.dtype, e.param)

    def index(self, index: Index) -> Index:
        """The index, and the expressions inside it, rebuilt."""
        return index.substitute(self.loops, lambda e: self.done.get(id(e)) or self.expr(e))

    def value(self, value: Expr | Complex) -> Expr | Complex:
        """The real or complex value, rebuilt."""
        if type(value) is Complex:
            return Complex(self.expr(value.re), self.expr(value.im))
        return self.expr(value)

    def reducer(self, reducer: Reducer) -> Reducer:
        """With its values rebuilt; expressions rebuilt later refer to the new one."""
        values = tuple([self.expr(v) for v in reducer.values])
        new = Reducer(reducer.name, values, reducer.identity, reducer.combine)
        self.reducers[id(reducer)] = new
        return new

    def recurrence(self, recurrence: Recurrence) -> Recurrence:
        """With its initial values rebuilt; the following ones may refer to the new one."""
        initial = tuple([self.expr(v) for v in recurrence.initial])
        new = Recurrence(recurrence.name, initial)
        self.reducers[id(recurrence)] = new
        return new

    def store(self, store: Store) -> Store:
        """With its index, value and guard rebuilt."""
        guard = None if store.guard is None else self.expr(store.guard)
        return Store(store.buffer, self.index(store.index), self.value(store.value), guard)


# How often a function is written out in a vector kernel.
_MOST_WRITTEN_OUT = 8


class _Expander(Rewriter):
    """Replaces functions, such as `exp`, by the arithmetic they are made of, and divisions by what
    is the same in all lanes by multiplications."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__({})
        self.vector = kernel.vector
        self.columns = kernel.vector in kernel.kept
        # Functions that occur very often remain calls, or the kernel would take long to compile.
        uses = Counter(
            [(e.op, e.dtype, e.param) for e in walk(list(kernel.roots())) if e.op in FUNCTIONS]
        )
        most = _MOST_WRITTEN_OUT // kernel.tile
        self.called = {key for key, n in uses.items() if n > most}
        self.varies: dict[int, bool] = {}

    def _one(self, e: Expr) -> Expr:
        self.varies[id(e)] = varies = self._varies(e)
        if e.op == "div" and e.dtype in FLOATS and varies and not self.varies[id(e.args[1])]:
            a, b = [self.done[id(x)] for x in e.args]
            if b.op != "const" or b.param != 1:
                return _divide(a, b)
        function = FUNCTIONS.get(e.op)
        if function is None or (e.op, e.dtype, e.param) in self.called:
            return super()._one(e)
        args = [self.done[id(a)] for a in e.args]
        return function(*args, **dict(e.param or ()))

    def _varies(self, e: Expr) -> bool:
        """Whether an expression differs between lanes."""
        if e.op in ("acc", "current", "running"):
            return self.columns
        index = e.param[1] if e.op == "load" else e.param if e.op == "index" else None
        if index is not None and self.vector in index.loops():
            return True
        return any([self.varies.get(id(o), True) for o in operands_of(e)])


def _divide(a: Expr, b: Expr) -> Expr:
    """a / b by the reciprocal of b, which is computed once for all lanes.

    The quotient is corrected by its remainder and then correctly rounded (Markstein, "Computation
    of elementary functions on the IBM RISC System/6000 processor", 1990), where no intermediate
    result over- or underflows: for divisors far from 1 it is an ordinary division; for dividends
    near underflow the result may be an ulp off, for the remainder is then rounded.
    """
    reciprocal = 1.0 / b
    quotient = fma(a, reciprocal, -0.0)
    remainder = fma(-quotient, b, a)
    corrected = fma(remainder, reciprocal, quotient)
    # An exact quotient may be -0, an infinite one has no remainder.
    inexact = (unary("abs", remainder) > 0.0) & (unary("abs", quotient) < math.inf)
    usual = select(inexact, corrected, quotient)
    size = unary("abs", b)
    far = ~((size >= 2.0**-90) & (size <= 2.0**90))
    return node("rarely", (far, a / b, usual), a.dtype)


def expand(kernel: Kernel) -> Kernel:
    """A kernel of the operations that are emitted; in scalar kernels functions remain calls."""
    if kernel.width == 1 or not any(
        [e.op in FUNCTIONS or e.op == "div" for e in walk(list(kernel.roots()))]
    ):
        return kernel
    rewrite = _Expander(kernel)
    passes = []
    for p in kernel.passes:
        recurrences = [rewrite.recurrence(r) for r in p.recurrences]
        condition = None if p.condition is None else rewrite.expr(p.condition)
        reducers = [rewrite.reducer(r) for r in p.reducers]
        for old, new in zip(p.recurrences, recurrences, strict=True):
            new.following = tuple([rewrite.expr(v) for v in old.following])
        passes.append(
            Pass(
                reducers,
                [rewrite.store(s) for s in p.stores],
                [rewrite.store(s) for s in p.after],
                recurrences,
                condition,
            )
        )
    return Kernel(
        kernel.kept, kernel.reduced, kernel.vector, passes, kernel.tasks, kernel.width,
        kernel.scratch, kernel.tiles, kernel.panel,
    )  # fmt: skip
