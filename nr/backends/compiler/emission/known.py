"""Kernels that are alike are emitted once: those of a model's layers differ in buffers only.

Two kernels are alike if numbering their buffers, loops, reducers and expressions in the order in
which they are met gives the same description. Extents are part of it: they decide what is emitted.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from nr.backends.compiler.emission.function import Emitted
from nr.backends.compiler.emission.kernel import emit_kernel
from nr.backends.compiler.expr import Complex, Expr
from nr.backends.compiler.index import Div, Index, Loop
from nr.backends.compiler.loops import (
    FRAME,
    Buffer,
    Kernel,
    Recurrence,
    Reducer,
    Store,
    parts_of,
    walk,
)
from nr.backends.compiler.rewrite import expand

_MOST = 4096
_known: OrderedDict[Any, tuple[str, list[int], list[int]]] = OrderedDict()


def emit_once(kernel: Kernel, *, rounds_bfloat: bool = False) -> Emitted:
    """LLVM IR of a kernel, its functions written out; of those that are alike, the first one's."""
    description = _Description(kernel)
    key = description.key, rounds_bfloat
    found = _known.get(key)
    if found is None:
        result = emit_kernel(expand(kernel), rounds_bfloat=rounds_bfloat)
        numbers = [description.buffers.get(b, -1) for b in result.buffers]
        if -1 not in numbers:
            _known[key] = result.text, numbers, result.integers
            while len(_known) > _MOST:
                _known.popitem(last=False)
        return result
    text, numbers, integers = found
    buffers = list(description.buffers)
    return Emitted(text, [buffers[i] for i in numbers], integers)


class _Description:
    """A kernel as nested tuples, in `key`, without the objects that it is made of."""

    def __init__(self, kernel: Kernel) -> None:
        self.buffers: dict[Buffer, int] = {FRAME: 0}
        self.loops: dict[Loop, int] = {}
        self.sums: dict[int, int] = {}
        self.exprs: dict[int, int] = {}
        self.nodes: list[Any] = []
        for loop in (*kernel.kept, *kernel.reduced):
            self.loops[loop] = len(self.loops)
        for p in kernel.passes:
            for one in (*p.reducers, *p.recurrences):
                self.sums[id(one)] = len(self.sums)
        loops = tuple([(loop.extent, loop.reduced) for loop in self.loops])
        passes = tuple([self._pass(p) for p in kernel.passes])
        scratch = tuple([self._buffer(b) for b in kernel.scratch])
        tiles = tuple([(self.loops[loop], n) for loop, n in kernel.tiles.items()])
        panel = None if kernel.panel is None else self._store(kernel.panel)
        used = tuple([(b.dtype, b.size, type(b)) for b in self.buffers])
        self.key = (
            loops, len(kernel.kept), self.loops[kernel.vector], kernel.tasks, kernel.width,
            scratch, tiles, panel, passes, used, tuple(self.nodes),
        )  # fmt: skip

    def _pass(self, p: Any) -> tuple:
        reducers = tuple([self._reducer(r) for r in p.reducers])
        recurrences = tuple([
            (self._exprs(r.initial), self._exprs(r.following)) for r in p.recurrences
        ])  # fmt: skip
        condition = None if p.condition is None else self._expr(p.condition)
        stores, after = [tuple([self._store(s) for s in of]) for of in (p.stores, p.after)]
        return reducers, recurrences, condition, stores, after

    def _reducer(self, r: Reducer) -> tuple:
        return self._exprs(r.values), self._exprs(r.identity), r.combine

    def _store(self, store: Store) -> tuple:
        parts = self._exprs(parts_of(store.value))
        guard = None if store.guard is None else self._expr(store.guard)
        kind = type(store.value) is Complex
        return self._buffer(store.buffer), self._index(store.index), kind, parts, guard

    def _buffer(self, buffer: Buffer) -> int:
        return self.buffers.setdefault(buffer, len(self.buffers))

    def _index(self, index: Index) -> tuple:
        return (index.offset, *[(self._atom(a), c) for a, c in index.terms.items()])

    def _atom(self, atom: Any) -> Any:
        if type(atom) is Loop:
            return self.loops[atom]
        if type(atom) is Expr:
            return "expr", self._expr(atom)
        name = "div" if type(atom) is Div else "mod"
        return name, self._index(atom.index), atom.divisor

    def _exprs(self, values: Any) -> tuple[int, ...]:
        return tuple([self._expr(v) for v in values])

    def _expr(self, root: Expr) -> int:
        for e in walk([root]) if id(root) not in self.exprs else ():
            if id(e) not in self.exprs:
                param = self._param(e)
                args = tuple([self.exprs[id(a)] for a in e.args])
                self.exprs[id(e)] = len(self.nodes)
                self.nodes.append((e.op, e.dtype, args, param))
        return self.exprs[id(root)]

    def _param(self, e: Expr) -> Any:
        if e.op == "const":  # by its bits: -0 is not 0, and a NaN equals itself
            return e.param.tobytes()
        if e.op == "load":
            buffer, index, *rest = e.param
            return self._buffer(buffer), self._index(index), *rest
        if e.op == "index":
            return self._index(e.param)
        if e.op in ("acc", "running", "current"):
            of, k = e.param
            assert type(of) in (Reducer, Recurrence)
            return self.sums[id(of)], k
        return e.param
