"""LLVM IR of kernels, explicitly vectorized.

A kernel becomes ``void kernel(ptr args, i64 low, i64 high, ptr scratch)``: `args` holds the
addresses of its buffers, then its integers; [low, high) is the range of its flattened tasks. Loop
extents, strides and offsets are integers read at run time, so that kernels which differ in shapes
only are the same text and are compiled once. Each expression is emitted in the outermost loop it
is constant in, as a scalar where it does not depend on the vector loop, else as a vector.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.backends.compiler.expr import FLOATS, UNSIGNED, Complex, Expr, const, node
from nr.backends.compiler.index import Div, Index, Loop, Mod
from nr.backends.compiler.loops import (
    FRAME,
    ITEMSIZE,
    Buffer,
    Kernel,
    Pass,
    Recurrence,
    Reducer,
    Store,
    operands_of,
    parts_of,
    walk,
)
from nr.backends.compiler.math import FUNCTIONS

LLVM = {
    "b1": "i1", "i8": "i8", "u8": "i8", "i16": "i16", "u16": "i16", "i32": "i32", "u32": "i32",
    "i64": "i64", "u64": "i64", "f32": "float", "f64": "double",
}  # fmt: skip
MEMORY = {**LLVM, "b1": "i8", "bf16": "i16", "f16": "half", "c64": "float", "c128": "double"}
_BITS = {"f32": "i32", "f64": "i64"}
_SIZE = {t: {"i1": 1, "float": 4, "double": 8}.get(s) or int(s[1:]) // 8 for t, s in LLVM.items()}

_FLOAT_BINARY = {"add": "fadd contract", "sub": "fsub contract", "mul": "fmul contract",
                 "div": "fdiv", "rem": "frem"}  # fmt: skip
_INT_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor",
               "shl": "shl", "lshr": "lshr"}  # fmt: skip
_FLOAT_COMPARE = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
# The word of a program's frame that holds its callback (see the machine of the CPU backend).
CALLBACK_WORD = 3
_INTRINSIC = {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc",
              "round_even": "rint"}  # fmt: skip


def literal(value: Any, dtype: str) -> str:
    """A constant in LLVM's notation."""
    if dtype in FLOATS:
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"
    if dtype == "b1":
        return "true" if value else "false"
    return str(int(value))


@dataclass(slots=True)
class Emitted:
    """A kernel's text, its buffers in the order of its arguments, and the integers that follow."""

    text: str
    buffers: list[Buffer]
    integers: list[int]


class Scope:
    """The code of one loop body: lines, and what has been computed in it."""

    __slots__ = ("lines", "values")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[Any, str] = {}


class Function:
    """Names, declarations and the entry block of one LLVM function under construction."""

    def __init__(self) -> None:
        self.count = 0
        self.entry: list[str] = []
        self.globals: dict[str, str] = {}
        self.declared: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.buffers: dict[Buffer, str] = {}
        self.integers: dict[int, str] = {}
        self.scopes: list[Scope] = [Scope()]

    @property
    def scope(self) -> Scope:
        return self.scopes[-1]

    def name(self, prefix: str = "t") -> str:
        self.count += 1
        return f"%{prefix}{self.count}"

    def line(self, text: str, scope: Scope | None = None) -> None:
        (scope or self.scopes[-1]).lines.append(text)

    def op(self, text: str, scope: Scope | None = None) -> str:
        name = self.name()
        self.line(f"{name} = {text}", scope)
        return name

    def declare(self, name: str, signature: str) -> str:
        """Declare ``result @name(args)``, where the signature has {} for the name."""
        self.declared[name] = signature.format(f"@{name}")
        return f"@{name}"

    def alloca(self, kind: str) -> str:
        name = self.name("a")
        self.entry.append(f"{name} = alloca {kind}, align 64")
        return name

    def buffer(self, buffer: Buffer) -> str:
        name = self.buffers.get(buffer)
        if name is None:
            name = self.buffers[buffer] = f"%buffer{len(self.buffers)}"
        return name

    def integer(self, value: int) -> str:
        """A run-time integer: 0, 1 and -1 alone stand in the text."""
        if -1 <= value <= 1:
            return str(value)
        name = self.integers.get(value)
        if name is None:
            name = self.integers[value] = f"%n{len(self.integers)}"
        return name


class Emitter:
    """Emits one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.f = Function()
        self.width = kernel.width
        self.vector: Loop | None = kernel.vector
        self.loops: dict[Loop, tuple[int, str]] = {}  # the scope's number, and the variable
        self.mask: str | None = None
        self.depends: dict[int, tuple[int, bool]] = {}
        self.accumulators: dict[tuple[int, int], tuple[Any, ...]] = {}
        self.scratch = {b: f"%scratch{i}" for i, b in enumerate(kernel.scratch)}
        self.kept_depth = 0
        # Whether what depends on the kept loops differs between lanes.
        self.columns = kernel.vector in kernel.kept and kernel.width > 1
        self.groups: dict[int, list[Expr]] = {}  # functions that are called together
        self.leave: list[str] = []  # labels behind the serial loops around

    # ------------------------------------------------------------------------ the function
    def emit(self) -> Emitted:
        f, kernel = self.f, self.kernel
        # A buffer's number does not depend on what is emitted first.
        for store in kernel.stores():
            if store.buffer not in self.scratch:
                f.buffer(store.buffer)
        self._tasks()
        body = f.scopes[0].lines
        entry = list(f.entry)
        for i, (_, name) in enumerate(f.buffers.items()):
            entry += [f"{name}.at = getelementptr i64, ptr %args, i64 {i}",
                      f"{name} = load ptr, ptr {name}.at"]  # fmt: skip
        for i, (_, name) in enumerate(f.integers.items(), len(f.buffers)):
            entry += [f"{name}.at = getelementptr i64, ptr %args, i64 {i}",
                      f"{name} = load i64, ptr {name}.at"]  # fmt: skip
        offset = 0
        for buffer, name in self.scratch.items():
            entry.append(f"{name} = getelementptr i8, ptr %scratch, i64 {offset}")
            offset += scratch_bytes(buffer)
        lines = [*[f"  {line}" for line in entry], "  br label %start", "start:"]
        lines += [line if line.endswith(":") else f"  {line}" for line in body]
        text = "\n".join([
            *[f"{name} = private unnamed_addr constant {value}" for name, value in f.globals.items()],
            "define void @kernel(ptr %args, i64 %low, i64 %high, ptr %scratch) {",
            "entry:", *lines, "  ret void", "}",
            *f.functions.values(),
            *[f"declare {signature}" for signature in f.declared.values()], "",
        ])  # fmt: skip
        return Emitted(text, list(f.buffers), list(f.integers))

    def _tasks(self) -> None:
        """The loop over the range of tasks, around everything else."""
        kernel, f = self.kernel, self.f
        tasks, rest = kernel.kept[: kernel.tasks], kernel.kept[kernel.tasks :]
        if tasks == [kernel.vector]:
            self._vector(kernel.vector, "%low", "%high", lambda: self._nest(rest))
        elif not tasks:
            self._nest(rest)
        else:
            variable, end = self._open("%low", "%high", "1")
            flat = variable
            for i in range(len(tasks) - 1, -1, -1):
                loop = tasks[i]
                extent = f.integer(loop.extent)
                if i == 0:
                    value = flat
                elif loop.extent == 1:
                    value = "0"
                else:
                    value = f.op(f"urem i64 {flat}, {extent}")
                    flat = f.op(f"udiv i64 {flat}, {extent}")
                self.loops[loop] = (len(f.scopes) - 1, value)
            self._nest(rest)
            self._close(variable, end, "1")

    def _nest(self, loops: Sequence[Loop]) -> None:
        """The other kept loops, outermost first, then the passes."""
        if not loops:
            self._passes()
        elif loops[0] is self.kernel.vector:
            bound = self.f.integer(self.kernel.vector.extent)
            self._vector(self.kernel.vector, "0", bound, lambda: self._nest(loops[1:]))
        else:
            self._serial(loops[0], lambda: self._nest(loops[1:]))

    def _serial(self, loop: Loop, body: Any) -> None:
        variable, end = self._open("0", self.f.integer(loop.extent), "1")
        self.loops[loop] = (len(self.f.scopes) - 1, variable)
        self.leave.append(end[-1])
        body()
        self.leave.pop()
        self._close(variable, end, "1")

    def _vector(self, loop: Loop, low: str, high: str, body: Any) -> None:
        """Whole vectors, then one with a mask (only the latter where the body is long)."""
        f = self.f
        step = str(self.width)
        if loop.extent % self.width == 0:
            self._vector_loop(loop, low, high, step, body)
            return
        if len(walk(list(self.kernel.roots()))) <= 24:
            span = f.op(f"sub i64 {high}, {low}")
            left = f.op(f"srem i64 {span}, {step}")
            whole = f.op(f"sub i64 {high}, {left}")
            self._vector_loop(loop, low, whole, step, body)
            low = whole
        self._vector_loop(loop, low, high, step, body, bound=high)

    def _vector_loop(
        self, loop: Loop, low: str, high: str, step: str, body: Any, bound: str | None = None
    ) -> None:
        f = self.f
        variable, end = self._open(low, high, step)
        self.loops[loop] = (len(f.scopes) - 1, variable)
        if bound is not None:
            left = f.op(f"sub i64 {bound}, {variable}")
            # 32 bits are enough: what is left over is clamped to the width.
            smaller = f.op(f"icmp slt i64 {left}, {step}")
            left = f.op(f"select i1 {smaller}, i64 {left}, i64 {step}")
            left = f.op(f"trunc i64 {left} to i16")
            lanes = self._lanes("i16")
            left = self._splat("i16", left, f.scope)
            self.mask = f.op(f"icmp slt <{self.width} x i16> {lanes}, {left}")
        body()
        self.mask = None
        self._close(variable, end, step)

    def _open(self, low: str, high: str, step: str) -> tuple[str, tuple[str, ...]]:
        """Begin a loop: a new scope, whose text goes into the outer one when it ends."""
        f = self.f
        counter = f.alloca("i64")
        labels = tuple([f.name(s)[1:] for s in ("head", "body", "done")])
        f.scopes.append(Scope())
        variable = f.name("i")
        return variable, (counter, low, high, *labels)

    def _close(self, variable: str, loop: tuple[str, ...], step: str) -> None:
        f = self.f
        counter, low, high, head, body, done = loop
        inner = f.scopes.pop()
        f.line(f"store i64 {low}, ptr {counter}")
        f.line(f"br label %{head}")
        f.line(f"{head}:")
        f.line(f"{variable} = load i64, ptr {counter}")
        inside = f.op(f"icmp slt i64 {variable}, {high}")
        f.line(f"br i1 {inside}, label %{body}, label %{done}")
        f.line(f"{body}:")
        f.scope.lines += inner.lines
        following = f.op(f"add nsw i64 {variable}, {step}")
        f.line(f"store i64 {following}, ptr {counter}")
        f.line(f"br label %{head}")
        f.line(f"{done}:")

    # ------------------------------------------------------------------------ passes
    def _passes(self) -> None:
        self.kept_depth = len(self.f.scopes) - 1
        # What is computed at this level is not known to another copy of the body.
        self.depends.clear()
        for p in self.kernel.passes:
            if p.stores or p.reducers or p.recurrences:
                self._pass(p)
            for store in p.after:
                self._store(store)

    def _pass(self, p: Pass) -> None:
        f, kernel = self.f, self.kernel
        over_reduced = kernel.vector in kernel.reduced
        varying = over_reduced or kernel.vector in kernel.kept
        for reducer in p.reducers:
            slots = []
            for value in reducer.identity:
                kind = self._type(value.dtype, varying)
                slot = f.alloca(kind)
                self._constant_store(value, varying, slot)
                slots.append(slot)
            self.accumulators[id(reducer), 0] = tuple(slots)
        serial = [loop for loop in kernel.reduced if loop is not kernel.vector]
        for r in p.recurrences:
            self._begin(r, self.columns)
        columns = self.columns

        def body() -> None:
            for r in p.recurrences:
                for k, (slot, value) in enumerate(zip(self.accumulators[id(r), 0], r.initial, strict=True)):
                    name = f.op(f"load {self._type(value.dtype, columns)}, ptr {slot}")
                    self._know(r.current(k), name, len(f.scopes) - 1, columns)
            if p.condition is not None:
                further = f.name("further")[1:]
                test = self.value(p.condition)
                if self._where(p.condition)[1]:  # the same in all lanes
                    test = f.op(f"extractelement {self._type('b1', True)} {test}, i32 0")
                f.line(f"br i1 {test}, label %{further}, label %{self.leave[-1]}")
                f.line(f"{further}:")
            for reducer in p.reducers:
                self._accumulate(reducer)
            for store in p.stores:
                self._store(store)
            if self.width == 1:
                self._group_calls(p)
            names = []
            for r in p.recurrences:
                for value in r.following:
                    self.value(value)
                names += [self._vectorized(v) if columns else self._value(v) for v in r.following]
            slots = [(s, v) for r in p.recurrences for s, v in zip(self.accumulators[id(r), 0], r.following, strict=True)]
            for (slot, value), name in zip(slots, names, strict=True):
                f.line(f"store {self._type(value.dtype, columns)} {name}, ptr {slot}")
            if p.recurrences:
                self._poll(p)

        def nest(loops: list[Loop]) -> None:
            if loops:
                self._serial(loops[0], lambda: nest(loops[1:]))
            elif over_reduced:
                vector = kernel.vector
                self._vector(vector, "0", f.integer(vector.extent), body)
            else:
                body()

        nest(serial)
        for reducer in p.reducers:
            slots = self.accumulators[id(reducer), 0]
            values = []
            for slot, value in zip(slots, reducer.identity, strict=True):
                values.append(f.op(f"load {self._type(value.dtype, varying)}, ptr {slot}"))
            if over_reduced:
                values = self._horizontal(reducer, values)
            for k, name in enumerate(values):
                self._know(reducer.result(k), name, len(f.scopes) - 1, not over_reduced)
        for r in p.recurrences:
            for k, (slot, value) in enumerate(zip(self.accumulators[id(r), 0], r.initial, strict=True)):
                name = f.op(f"load {self._type(value.dtype, columns)}, ptr {slot}")
                self._know(r.result(k), name, len(f.scopes) - 1, columns)

    def _begin(self, r: Recurrence, varying: bool) -> None:
        """Put the initial values of a recurrence into slots."""
        slots = []
        for value in r.initial:
            slot = self.f.alloca(self._type(value.dtype, varying))
            self.value(value)
            self._constant_store(value, varying, slot)
            slots.append(slot)
        self.accumulators[id(r), 0] = tuple(slots)

    def _poll(self, p: Pass) -> None:
        """Every so many steps, let the program's callback look for signals; it may end the loop."""
        f = self.f
        frame = f.buffer(FRAME)
        nodes = sum([len(walk(list(r.following))) for r in p.recurrences])
        interval = max(1 << 22 >> max(nodes, 1).bit_length(), 1)
        slot = f.alloca("i64")
        f.entry.append(f"store i64 {interval}, ptr {slot}")
        left = f.op(f"load i64, ptr {slot}")
        left = f.op(f"sub i64 {left}, 1")
        f.line(f"store i64 {left}, ptr {slot}")
        tired = f.op(f"icmp eq i64 {left}, 0")
        look, done = f.name("look")[1:], f.name("go")[1:]
        f.line(f"br i1 {tired}, label %{look}, label %{done}")
        f.line(f"{look}:")
        f.line(f"store i64 {interval}, ptr {slot}")
        at = f.op(f"getelementptr i64, ptr {frame}, i64 {CALLBACK_WORD}")
        callback = f.op(f"load ptr, ptr {at}")
        status = f.op(f"call i64 {callback}(i64 -1, ptr {frame})")
        stop = f.op(f"icmp ne i64 {status}, 0")
        f.line(f"br i1 {stop}, label %{self.leave[-1]}, label %{done}")
        f.line(f"{done}:")

    def _constant_store(self, value: Expr, varying: bool, slot: str) -> None:
        name = self._vectorized(value) if varying else self._value(value)
        self.f.line(f"store {self._type(value.dtype, varying)} {name}, ptr {slot}")

    def _register(self, dtype: str, name: str, varying: bool) -> Expr:
        """A value that is in a register already, as an expression."""
        expr = node("register", (), dtype, name)
        self._know(expr, name, len(self.f.scopes) - 1, varying)
        return expr

    def _know(self, expr: Expr, name: str, depth: int, varying: bool) -> None:
        self.depends[id(expr)] = (depth, varying)
        self.f.scopes[depth].values[id(expr)] = name

    def _accumulate(self, reducer: Reducer) -> None:
        f = self.f
        slots = self.accumulators[id(reducer), 0]
        for value in reducer.values:
            self.value(value)
        old, new = [], []
        for slot, value in zip(slots, reducer.values, strict=True):
            kind = self._type(value.dtype, True)
            old.append(self._register(value.dtype, f.op(f"load {kind}, ptr {slot}"), True))
            new.append(value)
        combined = reducer.combine(tuple(old), tuple(new))
        names = []
        for before, after in zip(old, combined, strict=True):
            name = self.vector_value(after)
            if self.mask is not None and self.kernel.vector in self.kernel.reduced:
                kind = self._type(before.dtype, True)
                kept = self.vector_value(before)
                name = f.op(f"select <{self.width} x i1> {self.mask}, {kind} {name}, {kind} {kept}")
            names.append(name)
        for k, (slot, name, before) in enumerate(zip(slots, names, old, strict=True)):
            f.line(f"store {self._type(before.dtype, True)} {name}, ptr {slot}")
            self._know(reducer.running(k), name, len(f.scopes) - 1, True)

    def _horizontal(self, reducer: Reducer, values: list[str]) -> list[str]:
        """Combine the lanes by halves: a fixed tree."""
        f, full, mask = self.f, self.width, self.mask
        self.mask = None
        f.scopes.append(Scope())
        while self.width > 1:
            half = self.width // 2
            halves: list[list[Expr]] = [[], []]
            for name, identity in zip(values, reducer.identity, strict=True):
                kind = self._type(identity.dtype, True)
                for side in (0, 1):
                    lanes = ", ".join([f"i32 {side * half + i}" for i in range(half)])
                    part = f.op(f"shufflevector {kind} {name}, {kind} poison, <{half} x i32> <{lanes}>")
                    halves[side].append(node("register", (), identity.dtype, part))
            self.width = half
            for side in (0, 1):
                for expr in halves[side]:
                    self._know(expr, expr.param, len(f.scopes) - 1, True)
            combined = reducer.combine(tuple(halves[0]), tuple(halves[1]))
            values = [self.vector_value(v) for v in combined]
            # Constants splatted at one width are not those of the next.
            f.scope.values.clear()
        values = [
            f.op(f"extractelement {self._type(i.dtype, True)} {v}, i32 0")
            for v, i in zip(values, reducer.identity, strict=True)
        ]
        inner = f.scopes.pop()
        f.scope.lines += inner.lines
        self.width, self.mask = full, mask
        return values

    # ------------------------------------------------------------------------ values
    def _type(self, dtype: str, varying: bool) -> str:
        scalar = LLVM[dtype]
        return f"<{self.width} x {scalar}>" if varying else scalar

    def _where(self, expr: Expr) -> tuple[int, bool]:
        """The scope an expression belongs to, and whether it differs between lanes."""
        known = self.depends.get(id(expr))
        if known is not None:
            return known
        depth, varying = 0, False
        if expr.op in ("acc", "running", "current"):
            depth, varying = self.kept_depth, self.columns
        elif expr.op in ("load", "index"):
            index = expr.param[1] if expr.op == "load" else expr.param
            depth, varying = self._where_index(index)
            if expr.op == "load" and expr.param[0] in self.scratch:
                depth = max(depth, self.kept_depth)
            elif expr.op == "load" and any([expr.param[0] is s.buffer for s in self.kernel.stores()]):
                depth = max(depth, self.kept_depth)
        for operand in operands_of(expr):
            d, v = self._where(operand)
            depth, varying = max(depth, d), varying or v
        self.depends[id(expr)] = depth, varying
        return depth, varying

    def _where_index(self, index: Index) -> tuple[int, bool]:
        depth, varying = 0, False
        for loop in index.loops():
            depth = max(depth, self.loops[loop][0])
            varying = varying or loop is self.vector
        for expr in index.exprs():
            d, v = self._where(expr)
            depth, varying = max(depth, d), varying or v
        return depth, varying

    def value(self, expr: Expr) -> str:
        """The register of an expression, in its own scope."""
        for e in walk([expr], emitted=True):
            self._value(e)
        return self._value(expr)

    def vector_value(self, expr: Expr) -> str:
        self.value(expr)
        return self._vectorized(expr)

    def _value(self, expr: Expr) -> str:
        depth, varying = self._where(expr)
        scope = self.f.scopes[depth]
        found = scope.values.get(id(expr))
        if found is None:
            if expr.op == "const":
                return literal(expr.param, expr.dtype)
            found = scope.values[id(expr)] = self._operation(expr, scope, varying)
        return found

    def _vectorized(self, expr: Expr) -> str:
        """An expression as a vector; a uniform one is spread over the lanes in its own scope."""
        depth, varying = self._where(expr)
        if varying:
            return self._value(expr)
        if expr.op == "const":
            text = f"{LLVM[expr.dtype]} {literal(expr.param, expr.dtype)}"
            return f"splat ({text})"
        scope = self.f.scopes[depth]
        key = ("splat", id(expr), self.width)
        found = scope.values.get(key)
        if found is None:
            name = self._value(expr)
            found = scope.values[key] = self._splat(LLVM[expr.dtype], name, scope)
        return found

    def _splat(self, kind: str, name: str, scope: Scope) -> str:
        w = self.width
        first = self.f.op(f"insertelement <{w} x {kind}> poison, {kind} {name}, i32 0", scope)
        return self.f.op(
            f"shufflevector <{w} x {kind}> {first}, <{w} x {kind}> poison, "
            f"<{w} x i32> zeroinitializer", scope,
        )  # fmt: skip

    def _lanes(self, kind: str) -> str:
        return "<" + ", ".join([f"{kind} {i}" for i in range(self.width)]) + ">"

    def _operand(self, expr: Expr, varying: bool) -> str:
        return self._vectorized(expr) if varying else self._value(expr)

    def _operation(self, expr: Expr, scope: Scope, varying: bool) -> str:
        if expr.op == "load":
            return self._load(expr, scope, varying)
        if expr.op == "index":
            return self._index_value(expr, scope, varying)
        if expr.op == "rarely":
            return self._rarely(expr, scope, varying)
        if expr.op == "table":
            return self._table(expr, scope, varying)
        if expr.op in FUNCTIONS:
            return self._call(expr, scope)
        names = [self._operand(a, varying) for a in expr.args]
        operand = expr.args[0].dtype
        return self.instruction(expr.op, expr.dtype, operand, names, scope, varying)

    def instruction(
        self, op: str, dtype: str, operand: str, names: list[str], scope: Scope, varying: bool
    ) -> str:
        """One operation of LLVM's, or the few that stand for it."""
        f = self.f
        kind, to = self._type(operand, varying), self._type(dtype, varying)
        floating = operand in FLOATS

        def call(intrinsic: str, *extra: str) -> str:
            suffix = _suffix(operand, self.width if varying else 0)
            name = f"llvm.{intrinsic}.{suffix}"
            types = ", ".join([kind] * len(names) + [e.split()[0] for e in extra])
            f.declare(name, f"{to} {{}}({types})")
            args = ", ".join([f"{kind} {n}" for n in names] + list(extra))
            return f.op(f"call {to} @{name}({args})", scope)

        if op in ("lt", "le", "gt", "ge", "eq", "ne"):
            if floating:
                return f.op(f"fcmp {_FLOAT_COMPARE[op]} {kind} {names[0]}, {names[1]}", scope)
            sign = "" if op in ("eq", "ne") else "u" if operand in (*UNSIGNED, "b1") else "s"
            return f.op(f"icmp {sign}{op} {kind} {names[0]}, {names[1]}", scope)
        if op == "select":
            condition = self._type("b1", varying)
            return f.op(
                f"select {condition} {names[0]}, {to} {names[1]}, {to} {names[2]}", scope
            )
        if op in ("max", "min"):
            return self._extremum(op, operand, names, scope, kind)
        if floating and op in _FLOAT_BINARY:
            return f.op(f"{_FLOAT_BINARY[op]} {kind} {names[0]}, {names[1]}", scope)
        if op in _INT_BINARY:
            return f.op(f"{_INT_BINARY[op]} {kind} {names[0]}, {names[1]}", scope)
        if op in ("div", "rem"):
            sign = "u" if operand in UNSIGNED else "s"
            return f.op(f"{sign}{op} {kind} {names[0]}, {names[1]}", scope)
        if op == "shr":
            which = "lshr" if operand in UNSIGNED else "ashr"
            return f.op(f"{which} {kind} {names[0]}, {names[1]}", scope)
        if op == "neg":
            text = f"fneg {kind} {names[0]}" if floating else f"sub {kind} zeroinitializer, {names[0]}"
            return f.op(text.replace("zeroinitializer", "0") if not varying else text, scope)
        if op == "not":
            ones = "true" if operand == "b1" else "-1"
            ones = f"splat ({LLVM[operand]} {ones})" if varying else ones
            return f.op(f"xor {kind} {names[0]}, {ones}", scope)
        if op == "fma":
            return call("fma")
        if op == "abs":
            return call("fabs") if floating else call("abs", "i1 false")
        if op == "copysign":
            return call("copysign")
        if op in _INTRINSIC:
            return call(_INTRINSIC[op])
        if op == "popcount":
            return call("ctpop")
        if op in ("clz", "ctz"):
            return call("ctlz" if op == "clz" else "cttz", "i1 false")
        if op == "bitcast":
            return names[0] if kind == to else f.op(f"bitcast {kind} {names[0]} to {to}", scope)
        if op == "half":
            half = f.op(f"fptrunc {kind} {names[0]} to {kind.replace('float', 'half')}", scope)
            return f.op(f"fpext {kind.replace('float', 'half')} {half} to {kind}", scope)
        assert op == "convert", op
        return self._convert(operand, dtype, names[0], kind, to, scope, varying)

    def _extremum(self, op: str, operand: str, names: list[str], scope: Scope, kind: str) -> str:
        f = self.f
        boolean = kind.replace(LLVM[operand], "i1") if kind != LLVM[operand] else "i1"
        a, b = names
        if operand not in FLOATS:
            sign = "u" if operand in (*UNSIGNED, "b1") else "s"
            test = f.op(f"icmp {sign}{'gt' if op == 'max' else 'lt'} {kind} {a}, {b}", scope)
            return f.op(f"select {boolean} {test}, {kind} {a}, {kind} {b}", scope)
        if "0x" in b:
            a, b = b, a
        # x86's max and min give the second operand where one is NaN; the first is left to check.
        test = f.op(f"fcmp {'ogt' if op == 'max' else 'olt'} {kind} {a}, {b}", scope)
        larger = f.op(f"select {boolean} {test}, {kind} {a}, {kind} {b}", scope)
        if "0x" in a:
            return larger
        test = f.op(f"fcmp uno {kind} {a}, {a}", scope)
        return f.op(f"select {boolean} {test}, {kind} {a}, {kind} {larger}", scope)

    def _convert(
        self, source: str, target: str, name: str, kind: str, to: str, scope: Scope, varying: bool
    ) -> str:
        f = self.f
        if target == "b1":
            zero = "zeroinitializer" if varying else "0" if source not in FLOATS else "0.0"
            compare = "fcmp une" if source in FLOATS else "icmp ne"
            return f.op(f"{compare} {kind} {name}, {zero}", scope)
        if source in FLOATS and target in FLOATS:
            return f.op(f"{'fpext' if source == 'f32' else 'fptrunc'} {kind} {name} to {to}", scope)
        if source in FLOATS:
            sign = "u" if target in UNSIGNED else "s"
            width = self.width if varying else 0
            intrinsic = f"llvm.fpto{sign}i.sat.{_suffix(target, width)}.{_suffix(source, width)}"
            f.declare(intrinsic, f"{to} {{}}({kind})")
            return f.op(f"call {to} @{intrinsic}({kind} {name})", scope)
        unsigned = source in UNSIGNED or source == "b1"
        if target in FLOATS:
            return f.op(f"{'u' if unsigned else 's'}itofp {kind} {name} to {to}", scope)
        before, after = (1 if t == "b1" else 8 * _SIZE[t] for t in (source, target))
        if before == after:
            return name
        how = "trunc" if before > after else "zext" if unsigned else "sext"
        return f.op(f"{how} {kind} {name} to {to}", scope)

    def _call(self, expr: Expr, scope: Scope) -> str:
        """A function in scalar code: a call, of several equal functions at once if there are."""
        group = self.groups.get(id(expr))
        if group is None:
            values = [self._value(a) for a in expr.args]
            return self._function(expr, values, 1, scope)
        for member in group:
            for a in member.args:
                self.value(a)
        f, size = self.f, len(group)
        width = 1 << (size - 1).bit_length()
        vectors = []
        for k, a in enumerate(expr.args):
            kind = LLVM[a.dtype]
            vector = "poison"
            for lane in range(width):
                name = self._value(group[min(lane, size - 1)].args[k])
                vector = f.op(
                    f"insertelement <{width} x {kind}> {vector}, {kind} {name}, i32 {lane}", scope
                )
            vectors.append(vector)
        result = self._function(expr, vectors, width, scope)
        kind = f"<{width} x {LLVM[expr.dtype]}>"
        for lane, member in enumerate(group):
            scope.values[id(member)] = f.op(f"extractelement {kind} {result}, i32 {lane}", scope)
        return scope.values[id(expr)]

    def _function(self, expr: Expr, values: list[str], width: int, scope: Scope) -> str:
        """A call of a function that stands beside the kernel, once for all its calls."""
        f = self.f

        def kind(dtype: str) -> str:
            return LLVM[dtype] if width == 1 else f"<{width} x {LLVM[dtype]}>"

        params = "".join([f".{v}" for _, v in expr.param or ()])
        name = f'@"{expr.op}.{expr.dtype}x{width}{params}"'
        if name not in f.functions:
            f.functions[name] = ""
            inner = Emitter(self.kernel)
            inner.width = width
            inner.f.globals, inner.f.declared, inner.f.functions = f.globals, f.declared, f.functions
            args = [inner._register(a.dtype, f"%x{i}", width > 1) for i, a in enumerate(expr.args)]
            result = FUNCTIONS[expr.op](*args, **dict(expr.param or ()))
            value = inner.vector_value(result) if width > 1 else inner.value(result)
            head = ", ".join([f"{kind(a.dtype)} %x{i}" for i, a in enumerate(expr.args)])
            f.functions[name] = "\n".join([
                f"define internal {kind(expr.dtype)} {name}({head}) noinline {{",
                "entry:", *[f"  {line}" for line in inner.f.entry], "  br label %start", "start:",
                *[f"  {line}" for line in inner.f.scopes[0].lines],
                f"  ret {kind(expr.dtype)} {value}", "}",
            ])  # fmt: skip
        given = ", ".join([f"{kind(a.dtype)} {v}" for a, v in zip(expr.args, values, strict=True)])
        return f.op(f"call {kind(expr.dtype)} {name}({given})", scope)

    def _group_calls(self, p: Pass) -> None:
        """In scalar code, find equal functions that do not depend on each other."""
        roots = [v for r in p.recurrences for v in r.following]
        roots += [e for store in p.stores for e in store.exprs()]
        level: dict[int, int] = {}
        found: dict[tuple, list[Expr]] = {}
        lanes = {"f32": 16, "f64": 8}
        for e in walk(roots):
            below = max([level[id(o)] for o in operands_of(e)], default=0)
            level[id(e)] = below + (e.op in FUNCTIONS)
            if e.op in FUNCTIONS and self._where(e)[0] == len(self.f.scopes) - 1:
                key = (e.op, e.dtype, e.param, level[id(e)])
                found.setdefault(key, []).append(e)
        for calls in found.values():
            size = lanes[calls[0].dtype]
            for i in range(0, len(calls), size):
                group = calls[i : i + size]
                if len(group) >= 4:
                    self.groups.update(dict.fromkeys([id(e) for e in group], group))

    def _rarely(self, expr: Expr, scope: Scope, varying: bool) -> str:
        """A value whose exceptional lanes are computed only if there are any."""
        f = self.f
        condition, rare, usual = expr.args
        kind = self._type(expr.dtype, varying)
        test, name = self._operand(condition, varying), self._operand(usual, varying)
        slot = f.alloca(kind)
        f.line(f"store {kind} {name}, ptr {slot}", scope)
        any_lane = test
        if varying:
            suffix = f"v{self.width}i1"
            f.declare(f"llvm.vector.reduce.or.{suffix}", f"i1 {{}}(<{self.width} x i1>)")
            call = f"call i1 @llvm.vector.reduce.or.{suffix}(<{self.width} x i1> {test})"
            any_lane = f.op(call, scope)
        then, done = f.name("rare")[1:], f.name("usual")[1:]
        f.line(f"br i1 {any_lane}, label %{then}, label %{done}", scope)
        f.line(f"{then}:", scope)
        # What the rare branch computes is not known outside of it: its values are forgotten.
        before = dict(scope.values)
        self.value(rare)
        other = self._operand(rare, varying)
        boolean = self._type("b1", varying)
        blended = f.op(f"select {boolean} {test}, {kind} {other}, {kind} {name}", scope)
        f.line(f"store {kind} {blended}, ptr {slot}", scope)
        f.line(f"br label %{done}", scope)
        f.line(f"{done}:", scope)
        scope.values.clear()
        scope.values.update(before)
        return f.op(f"load {kind}, ptr {slot}", scope)

    def _table(self, expr: Expr, scope: Scope, varying: bool) -> str:
        f = self.f
        kind = LLVM[expr.dtype]
        values = ", ".join([f"{kind} {literal(np.asarray(v), expr.dtype)}" for v in expr.param])
        text = f"[{len(expr.param)} x {kind}] [{values}]"
        name = next((n for n, t in f.globals.items() if t == text), None)
        if name is None:
            name = f"@table{len(f.globals)}"
            f.globals[name] = text
        index = self._operand(expr.args[0], varying)
        if not varying:
            at = f.op(f"getelementptr {kind}, ptr {name}, i32 {index}", scope)
            return f.op(f"load {kind}, ptr {at}", scope)
        at = f.op(f"getelementptr {kind}, ptr {name}, <{self.width} x i32> {index}", scope)
        return self._gather(kind, at, None, scope)

    # ------------------------------------------------------------------------ indices
    def _index_value(self, expr: Expr, scope: Scope, varying: bool) -> str:
        """The value of an index, as an integer of the expression's type."""
        f = self.f
        kind = LLVM[expr.dtype]
        if not varying:
            name = self._offset(expr.param)
            return name if kind == "i64" else f.op(f"trunc i64 {name} to {kind}", scope)
        return self._index_vector(expr.param, kind, scope)

    def _offset(self, index: Index) -> str:
        """A uniform index as an i64, sums hoisted loop by loop."""
        f = self.f
        by_depth: dict[int, list[tuple[Any, int]]] = {}
        for atom, c in index.terms.items():
            by_depth.setdefault(self._atom_depth(atom), []).append((atom, c))
        total, depth_so_far = None, 0
        if index.offset or not index.terms:
            total = f.integer(index.offset)
        for depth in sorted(by_depth):
            depth_so_far = max(depth_so_far, depth)
            scope = f.scopes[depth_so_far]
            for atom, c in by_depth[depth]:
                name = self._atom(atom, f.scopes[depth])
                if c != 1:
                    name = self._cached(f"mul i64 {name}, {f.integer(c)}", f.scopes[depth])
                total = name if total is None else self._cached(f"add i64 {total}, {name}", scope)
        assert total is not None
        return total

    def _cached(self, text: str, scope: Scope) -> str:
        found = scope.values.get(text)
        if found is None:
            found = scope.values[text] = self.f.op(text, scope)
        return found

    def _atom_depth(self, atom: Any) -> int:
        if type(atom) is Loop:
            return self.loops[atom][0]
        if type(atom) is Expr:
            return self._where(atom)[0]
        return self._where_index(atom.index)[0]

    def _atom(self, atom: Any, scope: Scope) -> str:
        if type(atom) is Loop:
            return self.loops[atom][1]
        if type(atom) is Expr:
            return self._value(atom)
        inner = self._offset(atom.index)
        op = "udiv" if type(atom) is Div else "urem"
        return self._cached(f"{op} i64 {inner}, {self.f.integer(atom.divisor)}", scope)

    def _split_vector(self, index: Index) -> tuple[Index, int] | None:
        """`rest` and `stride` with index = rest + stride * vector variable, if it is so."""
        stride = index.terms.get(self.vector, 0)
        rest = Index({a: c for a, c in index.terms.items() if a is not self.vector}, index.offset)
        return None if self._where_index(rest)[1] else (rest, stride)

    def _index_vector(self, index: Index, kind: str, scope: Scope) -> str:
        """An index that differs between lanes, as a vector of integers."""
        f, w = self.f, self.width
        split = self._split_vector(index)
        if split is not None:
            rest, stride = split
            variable = self.loops[self.vector][1]  # type: ignore[index]
            start = self._offset(rest)
            scaled = variable if stride == 1 else f.op(f"mul i64 {variable}, {f.integer(stride)}", scope)
            start = f.op(f"add i64 {start}, {scaled}", scope)
            if kind != "i64":
                start = f.op(f"trunc i64 {start} to {kind}", scope)
            lanes = self._lanes(kind)
            if stride != 1:
                step = f.integer(stride)
                if kind != "i64" and step[0] == "%":
                    step = f.op(f"trunc i64 {step} to {kind}", scope)
                lanes = f.op(f"mul <{w} x {kind}> {lanes}, {self._splat(kind, step, scope)}", scope)
            return f.op(f"add <{w} x {kind}> {self._splat(kind, start, scope)}, {lanes}", scope)
        total = None
        uniform = Index({}, index.offset)
        for atom, c in index.terms.items():
            part = Index({atom: 1})
            if not self._where_index(part)[1]:
                uniform = uniform + part * c
                continue
            if type(atom) is Loop:
                name = self._index_vector(part, kind, scope)
            elif type(atom) is Expr:
                name = self._vectorized(atom)
                if kind != "i64":
                    name = f.op(f"trunc <{w} x i64> {name} to <{w} x {kind}>", scope)
            else:
                inner = self._index_vector(atom.index, "i64", scope)
                divisor = self._splat("i64", f.integer(atom.divisor), scope)
                op = "udiv" if type(atom) is Div else "urem"
                name = f.op(f"{op} <{w} x i64> {inner}, {divisor}", scope)
                if kind != "i64":
                    name = f.op(f"trunc <{w} x i64> {name} to <{w} x {kind}>", scope)
            if c != 1:
                step = f.integer(c)
                if kind != "i64" and step[0] == "%":
                    step = f.op(f"trunc i64 {step} to {kind}", scope)
                name = f.op(f"mul <{w} x {kind}> {name}, {self._splat(kind, step, scope)}", scope)
            total = name if total is None else f.op(f"add <{w} x {kind}> {total}, {name}", scope)
        assert total is not None
        if uniform.terms or uniform.offset:
            start = self._offset(uniform)
            if kind != "i64":
                start = f.op(f"trunc i64 {start} to {kind}", scope)
            total = f.op(f"add <{w} x {kind}> {total}, {self._splat(kind, start, scope)}", scope)
        return total

    # ------------------------------------------------------------------------ memory
    def _base(self, buffer: Buffer) -> str:
        return self.scratch.get(buffer) or self.f.buffer(buffer)

    def _address(self, buffer: Buffer, offset: str, scope: Scope, kind: str | None = None) -> str:
        kind = kind or MEMORY[buffer.dtype]
        return self.f.op(f"getelementptr {kind}, ptr {self._base(buffer)}, i64 {offset}", scope)

    def _load(self, expr: Expr, scope: Scope, varying: bool) -> str:
        f, w = self.f, self.width
        buffer, index, part = expr.param
        complex_pair = buffer.dtype in ("c64", "c128")
        kind = MEMORY[buffer.dtype]
        align = ITEMSIZE[buffer.dtype] // (2 if complex_pair else 1)
        if complex_pair:
            index = index * 2 + part
        if not varying:
            at = self._address(buffer, self._offset(index), scope)
            if expr.args:
                zero = f.globals.setdefault("@zero", "[16 x i8] zeroinitializer") and "@zero"
                test = self._value(expr.args[0])
                at = f.op(f"select i1 {test}, ptr {at}, ptr {zero}", scope)
            raw = f.op(f"load {kind}, ptr {at}, align {align}", scope)
            return self._widen(buffer.dtype, raw, scope, False)
        mask = self.mask
        if expr.args:
            guard = self._vectorized(expr.args[0])
            mask = guard if mask is None else f.op(f"and <{w} x i1> {mask}, {guard}", scope)
        split = self._split_vector(index)
        if split is not None and split[1] == 0:  # the guard alone differs between lanes
            at = self._address(buffer, self._offset(split[0]), scope)
            pointers = self._splat("ptr", at, scope)
            return self._widen(buffer.dtype, self._gather(kind, pointers, mask, scope), scope, True)
        if split is not None and split[1] in (1, -1):
            rest, stride = split
            variable = self.loops[self.vector][1]  # type: ignore[index]
            if stride == 1:
                offset = f.op(f"add i64 {self._offset(rest)}, {variable}", scope)
                at = self._address(buffer, offset, scope)
                return self._widen(buffer.dtype, self._contiguous(kind, at, mask, align, scope), scope, True)
            offset = f.op(f"sub i64 {self._offset(rest)}, {variable}", scope)
            offset = f.op(f"sub i64 {offset}, {w - 1}", scope)
            at = self._address(buffer, offset, scope)
            back = ", ".join([f"i32 {w - 1 - i}" for i in range(w)])
            if mask is not None:
                mask = f.op(f"shufflevector <{w} x i1> {mask}, <{w} x i1> poison, <{w} x i32> <{back}>", scope)
            raw = self._contiguous(kind, at, mask, align, scope)
            raw = f.op(f"shufflevector <{w} x {kind}> {raw}, <{w} x {kind}> poison, <{w} x i32> <{back}>", scope)
            return self._widen(buffer.dtype, raw, scope, True)
        small = buffer.size * (2 if complex_pair else 1) < 2**31
        offsets = self._index_vector(index, "i32" if small else "i64", scope)
        if small:
            offsets = f.op(f"sext <{w} x i32> {offsets} to <{w} x i64>", scope)
        pointers = f.op(f"getelementptr {kind}, ptr {self._base(buffer)}, <{w} x i64> {offsets}", scope)
        return self._widen(buffer.dtype, self._gather(kind, pointers, mask, scope), scope, True)

    def _contiguous(self, kind: str, at: str, mask: str | None, align: int, scope: Scope) -> str:
        f, w = self.f, self.width
        if mask is None:
            return f.op(f"load <{w} x {kind}>, ptr {at}, align {align}", scope)
        name = f"llvm.masked.load.v{w}{_short(kind)}.p0"
        f.declare(name, f"<{w} x {kind}> {{}}(ptr, i32, <{w} x i1>, <{w} x {kind}>)")
        return f.op(
            f"call <{w} x {kind}> @{name}(ptr {at}, i32 {align}, <{w} x i1> {mask}, "
            f"<{w} x {kind}> zeroinitializer)", scope,
        )  # fmt: skip

    def _gather(self, kind: str, pointers: str, mask: str | None, scope: Scope) -> str:
        f, w = self.f, self.width
        name = f"llvm.masked.gather.v{w}{_short(kind)}.v{w}p0"
        f.declare(name, f"<{w} x {kind}> {{}}(<{w} x ptr>, i32, <{w} x i1>, <{w} x {kind}>)")
        return f.op(
            f"call <{w} x {kind}> @{name}(<{w} x ptr> {pointers}, i32 1, "
            f"<{w} x i1> {mask or 'splat (i1 true)'}, <{w} x {kind}> zeroinitializer)", scope,
        )  # fmt: skip

    def _widen(self, dtype: str, raw: str, scope: Scope, varying: bool) -> str:
        """From the storage type to the register's."""
        f = self.f

        def kind(scalar: str) -> str:
            return f"<{self.width} x {scalar}>" if varying else scalar

        if dtype == "b1":
            zero = "zeroinitializer" if varying else "0"
            return f.op(f"icmp ne {kind('i8')} {raw}, {zero}", scope)
        if dtype == "bf16":
            wide = f.op(f"zext {kind('i16')} {raw} to {kind('i32')}", scope)
            high = f.op(f"shl {kind('i32')} {wide}, {self._constant('i32', 16, varying)}", scope)
            return f.op(f"bitcast {kind('i32')} {high} to {kind('float')}", scope)
        if dtype == "f16":
            return f.op(f"fpext {kind('half')} {raw} to {kind('float')}", scope)
        return raw

    def _constant(self, kind: str, value: int, varying: bool) -> str:
        return f"splat ({kind} {value})" if varying else str(value)

    def _narrow(self, dtype: str, name: str, scope: Scope, varying: bool) -> str:
        """From the register's type to the storage type, rounded to nearest even."""
        f = self.f

        def kind(scalar: str) -> str:
            return f"<{self.width} x {scalar}>" if varying else scalar

        if dtype == "b1":
            return f.op(f"zext {kind('i1')} {name} to {kind('i8')}", scope)
        if dtype == "f16":
            return f.op(f"fptrunc {kind('float')} {name} to {kind('half')}", scope)
        if dtype != "bf16":
            return name
        i32 = kind("i32")

        def c(value: int) -> str:
            return self._constant("i32", value, varying)

        bits = f.op(f"bitcast {kind('float')} {name} to {i32}", scope)
        odd = f.op(f"and {i32} {f.op(f'lshr {i32} {bits}, {c(16)}', scope)}, {c(1)}", scope)
        rounded = f.op(f"add {i32} {bits}, {f.op(f'add {i32} {odd}, {c(0x7FFF)}', scope)}", scope)
        quiet = f.op(f"or {i32} {bits}, {c(0x400000)}", scope)
        nan = f.op(f"fcmp uno {kind('float')} {name}, {name}", scope)
        chosen = f.op(f"select {kind('i1')} {nan}, {i32} {quiet}, {i32} {rounded}", scope)
        high = f.op(f"lshr {i32} {chosen}, {c(16)}", scope)
        return f.op(f"trunc {i32} {high} to {kind('i16')}", scope)

    def _store(self, store: Store) -> None:
        f, w = self.f, self.width
        buffer, index = store.buffer, store.index
        values = parts_of(store.value)
        for expr in store.exprs():
            self.value(expr)
        kind = MEMORY[buffer.dtype]
        align = ITEMSIZE[buffer.dtype] // len(values)
        over_lanes = self._where_index(index)[1]
        scope = f.scope
        mask = self.mask
        if store.guard is not None and over_lanes:
            guard = self._vectorized(store.guard)
            mask = guard if mask is None else f.op(f"and <{w} x i1> {mask}, {guard}")
        if not over_lanes:
            if store.guard is not None:
                then, done = f.name("then")[1:], f.name("done")[1:]
                f.line(f"br i1 {self._value(store.guard)}, label %{then}, label %{done}")
                f.line(f"{then}:")
            offset = self._offset(index * len(values))
            for k, value in enumerate(values):
                name = self._value(value)
                if self._where(value)[1]:  # the same in all lanes
                    name = f.op(f"extractelement {self._type(value.dtype, True)} {name}, i32 0")
                raw = self._narrow(buffer.dtype, name, scope, False)
                at = self._address(buffer, offset, scope)
                at = f.op(f"getelementptr {kind}, ptr {at}, i64 {k}", scope)
                f.line(f"store {kind} {raw}, ptr {at}, align {align}")
            if store.guard is not None:
                f.line(f"br label %{done}")
                f.line(f"{done}:")
            return
        raws = [self._narrow(buffer.dtype, self._vectorized(v), scope, True) for v in values]
        split = self._split_vector(index)
        if split is not None and split[1] == 1 and len(raws) == 1:
            variable = self.loops[self.vector][1]  # type: ignore[index]
            offset = f.op(f"add i64 {self._offset(split[0])}, {variable}")
            at = self._address(buffer, offset, scope)
            if mask is None:
                f.line(f"store <{w} x {kind}> {raws[0]}, ptr {at}, align {align}")
                return
            name = f"llvm.masked.store.v{w}{_short(kind)}.p0"
            f.declare(name, f"void {{}}(<{w} x {kind}>, ptr, i32, <{w} x i1>)")
            f.line(
                f"call void @{name}(<{w} x {kind}> {raws[0]}, ptr {at}, i32 {align}, "
                f"<{w} x i1> {mask})"
            )
            return
        for k, raw in enumerate(raws):
            offsets = self._index_vector(index * len(values) + k, "i64", scope)
            pointers = f.op(f"getelementptr {kind}, ptr {self._base(buffer)}, <{w} x i64> {offsets}")
            name = f"llvm.masked.scatter.v{w}{_short(kind)}.v{w}p0"
            f.declare(name, f"void {{}}(<{w} x {kind}>, <{w} x ptr>, i32, <{w} x i1>)")
            f.line(
                f"call void @{name}(<{w} x {kind}> {raw}, <{w} x ptr> {pointers}, i32 {align}, "
                f"<{w} x i1> {mask or 'splat (i1 true)'})"
            )


def scratch_bytes(buffer: Buffer) -> int:
    """The bytes a scratch buffer takes, padded to whole cache lines."""
    return -(-buffer.nbytes // 64) * 64


def _suffix(dtype: str, width: int) -> str:
    scalar = dtype if dtype in FLOATS else LLVM[dtype]
    return f"v{width}{scalar}" if width else scalar


def _short(kind: str) -> str:
    return {"float": "f32", "double": "f64", "half": "f16"}.get(kind, kind)


def emit_kernel(kernel: Kernel) -> Emitted:
    """LLVM IR of a kernel."""
    return Emitter(kernel).emit()
