"""Emission of scalar expressions: in which loop, as a scalar or a vector, by which instructions."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from nr.backends.compiler.emission.function import (
    FLOAT_BINARY,
    FLOAT_COMPARE,
    INT_BINARY,
    INTRINSIC,
    LLVM,
    SIZE,
    Function,
    Scope,
    literal,
    suffix,
)
from nr.backends.compiler.expr import FLOATS, ROUNDINGS, UNSIGNED, Expr, node, select
from nr.backends.compiler.index import Index, Loop
from nr.backends.compiler.loops import Buffer, Kernel, Pass, operands_of, walk
from nr.backends.compiler.math import FUNCTIONS
from nr.backends.compiler.math.iteration import Iteration


class Values:
    """Emits the expressions of one kernel."""

    def __init__(self, kernel: Kernel, rounds_bfloat: bool) -> None:
        self.kernel = kernel
        self.rounds_bfloat = rounds_bfloat  # whether the processor does
        self.f = Function()
        self.width = kernel.width
        self.vector = kernel.vector
        self.lanes = {kernel.vector}  # the loops whose steps are lanes: copies of the vector loop
        self.loops: dict[Loop, tuple[int, str]] = {}  # the scope's number, and the variable
        # Copies of tiled loops: whose they are, and how many steps further.
        self.origins: dict[Any, tuple[Loop, int]] = {}
        # Steps of loops that are written out and share with copies what they read.
        self.written: dict[Loop, int] = {}
        self.mask: str | None = None
        self.ahead: Loop | None = None  # the loop of which vectors are fetched before they are read
        self.depends: dict[int, tuple[int, bool]] = {}
        self.accumulators: dict[int, tuple[Any, ...]] = {}
        self.scratch = {b: f"%scratch{i}" for i, b in enumerate(kernel.scratch)}
        self.kept_depth = 0
        self.bare: Set[int] = frozenset()  # loads that are valid in the passes of a version only
        # Whether what depends on the kept loops differs between lanes.
        self.columns = kernel.vector in kernel.kept and kernel.width > 1
        self.groups: dict[int, list[Expr]] = {}  # functions that are called together
        self.leave: list[str] = []  # labels behind the serial loops around

    def _register(self, dtype: str, name: str, varying: bool) -> Expr:
        """A value that is in a register already, as an expression."""
        expr = node("register", (), dtype, name)
        self._know(expr, name, len(self.f.scopes) - 1, varying)
        return expr

    def _know(self, expr: Expr, name: str, depth: int, varying: bool) -> None:
        self.depends[id(expr)] = (depth, varying)
        self.f.scopes[depth].values[id(expr)] = name

    # ------------------------------------------------------------------------ see Memory
    def _load(self, expr: Expr, scope: Scope, varying: bool) -> str:
        """An element of a buffer."""
        raise NotImplementedError

    def _narrow(
        self, dtype: str, name: str, scope: Scope, varying: bool, *, exact: bool = False
    ) -> str:
        """From the register's type to the storage type, rounded to nearest even where needed."""
        raise NotImplementedError

    def _widen(self, dtype: str, raw: str, scope: Scope, varying: bool) -> str:
        """From the storage type to the register's."""
        raise NotImplementedError

    def _index_value(self, expr: Expr, scope: Scope, varying: bool) -> str:
        """The value of an index, as an integer of the expression's type."""
        raise NotImplementedError

    def _compared_lanes(self, expr: Expr, scope: Scope) -> str | None:
        """In which lanes an index is below a limit, or not, if it counts lanes."""
        raise NotImplementedError

    def _gather(self, kind: str, pointers: str, mask: str | None, scope: Scope) -> str:
        """What a vector of pointers points to, in the lanes of a mask."""
        raise NotImplementedError

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
            if id(expr) in self.bare or expr.op == "load" and self._is_written(expr.param[0]):
                depth = max(depth, self.kept_depth)
        for operand in operands_of(expr):
            d, v = self._where(operand)
            depth, varying = max(depth, d), varying or v
        self.depends[id(expr)] = depth, varying
        return depth, varying

    def _is_written(self, buffer: Buffer) -> bool:
        """Whether the kernel itself stores what is in a buffer."""
        return buffer in self.scratch or any([buffer is s.buffer for s in self.kernel.stores()])

    def _where_index(self, index: Index) -> tuple[int, bool]:
        depth, varying = 0, False
        for loop in index.loops():
            depth = max(depth, self.loops[loop][0])
            varying = varying or loop in self.lanes
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
        """The register of an expression as a vector, in its own scope."""
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
        if expr.op == "iterate":
            return self._iterate(expr, scope, varying)
        if expr.op == "table":
            return self._table(expr, scope, varying)
        if expr.op in FUNCTIONS and varying:
            values = [self._vectorized(a) for a in expr.args]
            if self.width > 1:
                return self._function(expr, values, self.width, scope)
            values = [
                self.f.op(f"extractelement {self._type(a.dtype, True)} {v}, i32 0", scope)
                for a, v in zip(expr.args, values, strict=True)
            ]
            result = f"{LLVM[expr.dtype]} {self._function(expr, values, 1, scope)}"
            return self.f.op(
                f"insertelement {self._type(expr.dtype, True)} poison, {result}, i32 0", scope
            )
        if expr.op in FUNCTIONS:
            return self._call(expr, scope)
        if varying and expr.op in ("lt", "ge"):
            known = self._compared_lanes(expr, scope)
            if known is not None:
                return known
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
            name = f"llvm.{intrinsic}.{suffix(operand, self.width if varying else 0)}"
            types = ", ".join([kind] * len(names) + [e.split()[0] for e in extra])
            f.declare(name, f"{to} {{}}({types})")
            args = ", ".join([f"{kind} {n}" for n in names] + list(extra))
            return f.op(f"call {to} @{name}({args})", scope)

        if op in ("lt", "le", "gt", "ge", "eq", "ne"):
            if floating:
                return f.op(f"fcmp {FLOAT_COMPARE[op]} {kind} {names[0]}, {names[1]}", scope)
            sign = "" if op in ("eq", "ne") else "u" if operand in (*UNSIGNED, "b1") else "s"
            return f.op(f"icmp {sign}{op} {kind} {names[0]}, {names[1]}", scope)
        if op == "select":
            condition = self._type("b1", varying)
            return f.op(f"select {condition} {names[0]}, {to} {names[1]}, {to} {names[2]}", scope)
        if op in ("max", "min"):
            return self._extremum(op, operand, names, scope, kind)
        if floating and op in FLOAT_BINARY:
            return f.op(f"{FLOAT_BINARY[op]} {kind} {names[0]}, {names[1]}", scope)
        if op in INT_BINARY:
            return f.op(f"{INT_BINARY[op]} {kind} {names[0]}, {names[1]}", scope)
        if op in ("div", "rem"):
            sign = "u" if operand in UNSIGNED else "s"
            return f.op(f"{sign}{op} {kind} {names[0]}, {names[1]}", scope)
        if op == "shr":
            which = "lshr" if operand in UNSIGNED else "ashr"
            return f.op(f"{which} {kind} {names[0]}, {names[1]}", scope)
        if op == "neg":
            if floating:
                return f.op(f"fneg {kind} {names[0]}", scope)
            zero = "zeroinitializer" if varying else "0"
            return f.op(f"sub {kind} {zero}, {names[0]}", scope)
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
        if op in INTRINSIC:
            return call(INTRINSIC[op])
        if op == "popcount":
            return call("ctpop")
        if op in ("clz", "ctz"):
            return call("ctlz" if op == "clz" else "cttz", "i1 false")
        if op == "bitcast":
            return names[0] if kind == to else f.op(f"bitcast {kind} {names[0]} to {to}", scope)
        if op in ROUNDINGS:
            half = self._narrow(ROUNDINGS[op], names[0], scope, varying)
            return self._widen(ROUNDINGS[op], half, scope, varying)
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
            intrinsic = f"llvm.fpto{sign}i.sat.{suffix(target, width)}.{suffix(source, width)}"
            f.declare(intrinsic, f"{to} {{}}({kind})")
            return f.op(f"call {to} @{intrinsic}({kind} {name})", scope)
        unsigned = source in UNSIGNED or source == "b1"
        if target in FLOATS:
            return f.op(f"{'u' if unsigned else 's'}itofp {kind} {name} to {to}", scope)
        before, after = (1 if t == "b1" else 8 * SIZE[t] for t in (source, target))
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
        dtypes = ".".join([expr.dtype, *[a.dtype for a in expr.args]])
        name = f'@"{expr.op}.{dtypes}x{width}{params}"'
        if name not in f.functions:
            f.functions[name] = ""
            inner = type(self)(self.kernel, self.rounds_bfloat)
            inner.width = width
            inner.f.globals = f.globals
            inner.f.declared = f.declared
            inner.f.functions = f.functions
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
                key = (e.op, e.dtype, e.param, level[id(e)], *[a.dtype for a in e.args])
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
        if varying and not self._where(condition)[1]:
            any_lane = self._value(condition)
        else:
            any_lane = self._any(test, scope, varying)
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

    def _any(self, test: str, scope: Scope, varying: bool, lanes: int = 0) -> str:
        """Whether a condition holds in some lane, of those of a vector or of another number."""
        if not varying:
            return test
        kind = f"<{lanes or self.width} x i1>"
        name = f"@llvm.vector.reduce.or.v{lanes or self.width}i1"
        self.f.declare(name[1:], f"i1 {{}}({kind})")
        return self.f.op(f"call i1 {name}({kind} {test})", scope)

    def _iterate(self, expr: Expr, scope: Scope, varying: bool) -> str:
        """A loop that goes on while some lane does; a lane that has ended keeps its result."""
        f, depth = self.f, self._where(expr)[0]
        iteration: Iteration = expr.param
        boolean = self._type("b1", varying)
        slots = []
        for initial in expr.args[: iteration.states + 1]:
            kind = self._type(initial.dtype, varying)
            slots.append(f.alloca(kind))
            f.line(f"store {kind} {self._operand(initial, varying)}, ptr {slots[-1]}", scope)
        counter = f.alloca("double")
        f.line(f"store double 1.0, ptr {counter}", scope)
        head, body, done = [f.name(s)[1:] for s in ("head", "body", "done")]
        f.line(f"br label %{head}", scope)
        f.line(f"{head}:", scope)
        going = f.op(f"load {boolean}, ptr {slots[0]}", scope)
        f.line(f"br i1 {self._any(going, scope, varying)}, label %{body}, label %{done}", scope)
        f.line(f"{body}:", scope)
        before = dict(scope.values)

        def known(dtype: str, name: str, varying: bool) -> Expr:
            value = node("register", (), dtype, name)
            self._know(value, name, depth, varying)
            return value

        step = known("f64", f.op(f"load double, ptr {counter}", scope), False)
        states = []
        for initial, slot in zip(expr.args[1:], slots[1:], strict=False):
            kind = self._type(initial.dtype, varying)
            states.append(known(initial.dtype, f.op(f"load {kind}, ptr {slot}", scope), varying))
        constants = [
            a if a.op == "const" else known(a.dtype, self._value(a), self._where(a)[1])
            for a in expr.args[iteration.states + 1 :]
        ]
        following, further = iteration.step(step, *states, *constants)
        following = [select(known("b1", going, varying), following[0], states[0]), *following[1:]]
        further = known("b1", going, varying) & further & (step < float(iteration.limit))
        for value in (further, *following):
            self.value(value)
        for value, slot in zip((further, *following), slots, strict=True):
            name = self._operand(value, varying)
            f.line(f"store {self._type(value.dtype, varying)} {name}, ptr {slot}", scope)
        f.line(f"store double {self._value(step + 1.0)}, ptr {counter}", scope)
        f.line(f"br label %{head}", scope)
        f.line(f"{done}:", scope)
        scope.values.clear()
        scope.values.update(before)
        return f.op(f"load {self._type(expr.dtype, varying)}, ptr {slots[1]}", scope)

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
