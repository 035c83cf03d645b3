"""Emission of indices, loads and stores."""

from __future__ import annotations

import math
from typing import Any

from nr.backends.compiler.emission.function import LLVM, MEMORY, Scope, short
from nr.backends.compiler.emission.values import Values
from nr.backends.compiler.expr import ROUNDINGS, Expr
from nr.backends.compiler.index import Div, Index, Loop, only_loop
from nr.backends.compiler.loops import ITEMSIZE, Buffer, Store, parts_of

# How many steps before it is read a vector of a tile is fetched.
_AHEAD = 8
# The instructions that round vectors of so many float32s; sisters tell which are subnormal.
_FEWEST_ROUNDED, _MOST_ROUNDED = 4, 16
_SUBNORMAL = 32


def _is_exact(e: Expr, dtype: str) -> bool:
    """Whether a value is one of a type of half floats for certain."""
    if e.op == "load":
        return bool(e.param[0].dtype == dtype)
    if e.op == "select":
        return all([_is_exact(a, dtype) for a in e.args[1:]])
    if e.op == "const":  # a bfloat16 is the upper half of a float32
        return dtype == "bf16" and e.param.tobytes()[:2] == bytes(2)
    return ROUNDINGS.get(e.op) == dtype


def _in_pairs(buffer: Buffer, rest: Index) -> bool:
    """Whether of numbers 0 and 1, 2 and 3, ... both may be read where one of them is."""
    whole = buffer.size % 2 == 0 and all([c % 2 == 0 for c in rest.terms.values()])
    return whole and MEMORY[buffer.dtype] in ("float", "double", "i32", "i64")


class Memory(Values):
    """Emits what reads and writes buffers."""

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

    def _split_vector(self, index: Index) -> tuple[Index, int, str] | None:
        """`rest`, `stride` and the vector loop's variable with index = rest + stride * variable,
        if it is so."""
        vector = next((a for a in index.terms if a in self.lanes), self.vector)
        rest = Index({a: c for a, c in index.terms.items() if a is not vector}, index.offset)
        if self._where_index(rest)[1]:
            return None
        return rest, index.terms.get(vector, 0), self.loops[vector][1]

    def _compared_lanes(self, expr: Expr, scope: Scope) -> str | None:
        """In which lanes an index is below a limit, or not, if it counts lanes: these are compared
        as small numbers, many of which are in a register."""
        f = self.f
        index, limit = expr.args
        if index.op != "index" or limit.op != "const":
            return None
        split = self._split_vector(index.param)
        if split is None or split[1] != 1:
            return None
        rest, _, variable = split
        start = f.op(f"add i64 {self._offset(rest)}, {variable}", scope)
        left = f.op(f"sub i64 {f.integer(int(limit.param))}, {start}", scope)
        return self._first_lanes(left, scope, "slt" if expr.op == "lt" else "sge")

    def _first_lanes(self, count: str, scope: Scope, order: str = "slt") -> str:
        """A mask of the first lanes, so many of them; or of the others."""
        f, w = self.f, self.width
        for test, bound in (("slt", w), ("sgt", 0)):
            within = f.op(f"icmp {test} i64 {count}, {bound}", scope)
            count = f.op(f"select i1 {within}, i64 {count}, i64 {bound}", scope)
        count = self._splat("i16", f.op(f"trunc i64 {count} to i16", scope), scope)
        return f.op(f"icmp {order} <{w} x i16> {self._lanes('i16')}, {count}", scope)

    def _index_vector(self, index: Index, kind: str, scope: Scope) -> str:
        """An index that differs between lanes, as a vector of integers."""
        f, w = self.f, self.width
        split = self._split_vector(index)
        if split is not None:
            rest, stride, variable = split
            start = self._offset(rest)
            if stride != 1:
                variable = f.op(f"mul i64 {variable}, {f.integer(stride)}", scope)
            start = f.op(f"add i64 {start}, {variable}", scope)
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

    def _place(self, buffer: Buffer, index: Index, scope: Scope) -> str:
        """The address of a uniform index, or of one that is contiguous along the vector loop.

        In a tile, that of a copy is the first copy's, and how far it is from that to the copy.
        """
        f = self.f
        kind = MEMORY[buffer.dtype]
        first: dict[Any, int] = {}
        steps: dict[int, int] = {}  # how many there are, of each width
        for atom, c in index.terms.items():
            loop, k = self.origins.get(atom, (atom, 0))
            if loop in self.written:
                k = self.written[loop]
            else:
                first[loop] = c
            if k:
                steps[c] = steps.get(c, 0) + k
        key = ("at", buffer, Index(first, index.offset))
        at = scope.values.get(key)
        if at is None:
            rest = Index({a: c for a, c in first.items() if a is not self.vector}, index.offset)
            offset = self._offset(rest)
            if self.vector in first:
                offset = f.op(f"add i64 {offset}, {self.loops[self.vector][1]}", scope)
            at = scope.values[key] = self._address(buffer, offset, scope)
        if self.written and steps:
            # The same place must be the same text, by whichever loops it is reached.
            unit = math.gcd(*steps)
            steps = {unit: sum([c // unit * k for c, k in steps.items()])}
        for c, k in steps.items():
            distance = str(k * c)
            if abs(c) > 1:
                distance = self._cached(f"mul i64 {f.integer(c)}, {k}", f.scopes[0])
            at = f.op(f"getelementptr {kind}, ptr {at}, i64 {distance}", scope)
        return at

    def _load(self, expr: Expr, scope: Scope, varying: bool) -> str:
        """An element, as what is in a register; of a vector by the cheapest way there is."""
        f, w = self.f, self.width
        buffer, index, part = expr.param
        complex_pair = buffer.dtype in ("c64", "c128")
        kind = MEMORY[buffer.dtype]
        align = ITEMSIZE[buffer.dtype] // (2 if complex_pair else 1)
        if complex_pair:
            index = index * 2 + part
        guard = expr.args[0] if expr.args else None
        if not varying:
            at = self._place(buffer, index, scope)
            test = None if guard is None else self._value(guard)
            at = self._at_or_zeros(at, test, kind, 1, scope)
            raw = f.op(f"load {kind}, ptr {at}, align {align}", scope)
            return self._widen(buffer.dtype, raw, scope, False)
        mask, test = self.mask, None
        split = self._split_vector(index)
        # Conditions that differ between lanes may differ within a group.
        known = guard is None or not self._where(guard)[1]
        few = self._few_a_group(index) if split is None and known else None
        in_row = few is not None or split is not None and split[1] in (1, -1)
        if guard is not None and in_row and known:
            test = self._value(guard)
        elif guard is not None:
            lanes = self._vectorized(guard)
            mask = lanes if mask is None else f.op(f"and <{w} x i1> {mask}, {lanes}", scope)
            test = self._any(mask, scope, True) if in_row else None
        if few is not None:
            at = self._at_or_zeros(self._place(buffer, index, scope), test, kind, w, scope)
            wanted = self._first_of_groups(mask, few, scope)
            raw = self._contiguous(kind, at, wanted, align, scope)
            wide = self._widen(buffer.dtype, raw, scope, True)
            scalar = LLVM[expr.dtype]
            return self._shuffled(scalar, wide, [k // few[0] * few[1] for k in range(w)], scope)
        if split is not None and split[1] == 0:  # the guard alone differs between lanes
            at = self._address(buffer, self._offset(split[0]), scope)
            pointers = self._splat("ptr", at, scope)
            return self._widen(buffer.dtype, self._gather(kind, pointers, mask, scope), scope, True)
        if split is not None and split[1] == 2:
            if complex_pair:
                return self._part_of_pairs(buffer, split, part, mask, scope)
            if _in_pairs(buffer, split[0]):
                return self._part_of_pairs(buffer, split, split[0].offset % 2, mask, scope)
        if split is not None and split[1] in (1, -1):
            rest, stride, variable = split
            if stride == 1:
                at = self._place(buffer, index, scope)
                self._fetch_ahead(kind, at, index, scope)
                at = self._at_or_zeros(at, test, kind, w, scope)
                return self._widen(
                    buffer.dtype, self._contiguous(kind, at, mask, align, scope), scope, True
                )
            offset = f.op(f"sub i64 {self._offset(rest)}, {variable}", scope)
            offset = f.op(f"sub i64 {offset}, {w - 1}", scope)
            at = self._at_or_zeros(self._address(buffer, offset, scope), test, kind, w, scope)
            back = ", ".join([f"i32 {w - 1 - i}" for i in range(w)])
            if mask is not None:
                mask = f.op(
                    f"shufflevector <{w} x i1> {mask}, <{w} x i1> poison, <{w} x i32> <{back}>",
                    scope,
                )
            raw = self._contiguous(kind, at, mask, align, scope)
            raw = f.op(
                f"shufflevector <{w} x {kind}> {raw}, <{w} x {kind}> poison, <{w} x i32> <{back}>",
                scope,
            )
            return self._widen(buffer.dtype, raw, scope, True)
        if split is not None and guard is None and mask is None and not complex_pair:
            column = self._from_rows(buffer, split, scope)
            if column is not None:
                return self._widen(buffer.dtype, column, scope, True)
        small = buffer.size * (2 if complex_pair else 1) < 2**31
        offsets = self._index_vector(index, "i32" if small else "i64", scope)
        if small:
            offsets = f.op(f"sext <{w} x i32> {offsets} to <{w} x i64>", scope)
        pointers = f.op(
            f"getelementptr {kind}, ptr {self._base(buffer)}, <{w} x i64> {offsets}", scope
        )
        return self._widen(buffer.dtype, self._gather(kind, pointers, mask, scope), scope, True)

    def _from_rows(self, buffer: Buffer, split: tuple[Index, int, str], scope: Scope) -> str | None:
        """A vector across rows, of which a tile of the kernel reads as many as rows: by rows."""
        raise NotImplementedError

    def _few_a_group(self, index: Index) -> tuple[int, int] | None:
        """How many lanes read the same element, and how far it is to that of the next lanes, if
        lanes go through groups; and these lie close together."""
        divided = [(a, c) for a, c in index.terms.items() if type(a) is Div]
        if len(divided) != 1:
            return None
        ((atom, step),) = divided
        rest = Index({a: c for a, c in index.terms.items() if a is not atom})
        many = atom.divisor
        if (
            only_loop(atom.index) not in self.lanes
            or self._where_index(rest)[1]
            or min(self.width, self.vector.extent) % many
            or not 0 < step <= many
        ):
            return None
        return many, step

    def _first_of_groups(self, mask: str | None, few: tuple[int, int], scope: Scope) -> str:
        """Where in a row the elements lie that some lanes of a mask read."""
        w = self.width
        many, step = few
        first = [k // step * many if k % step == 0 else w for k in range(w)]  # lane of a group
        if mask is None:
            read = ", ".join([f"i1 {'true' if lane < w else 'false'}" for lane in first])
            return f"<{read}>"
        return self._shuffled("i1", mask, [min(lane, w) for lane in first], scope)

    def _shuffled(self, kind: str, vector: str, lanes: list[int], scope: Scope) -> str:
        """Lanes of a vector in another order; zeros where their number is the width."""
        w = self.width
        order = ", ".join([f"i32 {lane}" for lane in lanes])
        return self.f.op(
            f"shufflevector <{w} x {kind}> {vector}, <{w} x {kind}> zeroinitializer, "
            f"<{w} x i32> <{order}>", scope,
        )  # fmt: skip

    def _at_or_zeros(self, at: str, test: str | None, kind: str, n: int, scope: Scope) -> str:
        """An address, or that of zeros where a condition does not hold: then what lies at the
        address may not be memory at all, and to pass over it lane by lane takes processors
        hundreds of cycles."""
        if test is None:
            return at
        name = f"@zeros{n}{short(kind)}"
        self.f.globals[name] = f"[{n} x {kind}] zeroinitializer, align 64"
        return self.f.op(f"select i1 {test}, ptr {at}, ptr {name}", scope)

    def _fetch_ahead(self, kind: str, at: str, index: Index, scope: Scope) -> None:
        """Have the processor fetch what a tile reads at a later step from further than its
        nearest cache."""
        f = self.f
        step = 0 if self.ahead is None else index.terms.get(self.ahead, 0)
        if step:
            name = f.declare("llvm.prefetch.p0", "void {}(ptr, i32, i32, i32)")
            at = f.op(f"getelementptr {kind}, ptr {at}, i64 {f.integer(_AHEAD * step)}", scope)
            f.line(f"call void {name}(ptr {at}, i32 0, i32 3, i32 1)", scope)

    def _part_of_pairs(
        self, buffer: Buffer, split: tuple[Index, int, str], part: int, mask: str | None,
        scope: Scope,
    ) -> str:  # fmt: skip
        """Every second number, e.g. the real parts of complex numbers; `part` is 0 or 1."""
        f, w = self.f, self.width
        kind = MEMORY[buffer.dtype]
        align = 8 if kind in ("double", "i64") else 4
        rest, _, variable = split
        rest = rest - part
        key = ("pairs", id(buffer), rest, variable, mask)
        pairs = None if self._is_written(buffer) else scope.values.get(key)
        if pairs is None:
            at = self._pairs_address(buffer, rest, variable, scope)
            if mask is not None and mask != self.mask:
                at = self._at_or_zeros(at, self._any(mask, scope, True), kind, 2 * w, scope)
            if mask is None:
                pairs = f.op(f"load <{2 * w} x {kind}>, ptr {at}, align {align}", scope)
            else:
                name = f"llvm.masked.load.v{2 * w}{short(kind)}.p0"
                both = f"<{2 * w} x i1>"
                f.declare(name, f"<{2 * w} x {kind}> {{}}(ptr, i32, {both}, <{2 * w} x {kind}>)")
                pairs = f.op(
                    f"call <{2 * w} x {kind}> @{name}(ptr {at}, i32 {align}, "
                    f"{both} {self._doubled(mask, scope)}, <{2 * w} x {kind}> zeroinitializer)",
                    scope,
                )
            scope.values[key] = pairs
        places = ", ".join([f"i32 {2 * i + part}" for i in range(w)])
        vector = f"<{2 * w} x {kind}>"
        lanes = f"<{w} x i32> <{places}>"
        return f.op(f"shufflevector {vector} {pairs}, {vector} poison, {lanes}", scope)

    def _pairs_address(self, buffer: Buffer, rest: Index, variable: str, scope: Scope) -> str:
        """Where complex numbers begin, of which `rest` is twice the index but for the lanes'."""
        offset = self.f.op(f"shl i64 {variable}, 1", scope)
        offset = self.f.op(f"add i64 {self._offset(rest)}, {offset}", scope)
        return self._address(buffer, offset, scope, MEMORY[buffer.dtype])

    def _doubled(self, mask: str, scope: Scope) -> str:
        """A mask of pairs."""
        w = self.width
        places = ", ".join([f"i32 {i // 2}" for i in range(2 * w)])
        kind = f"<{w} x i1>"
        return self.f.op(
            f"shufflevector {kind} {mask}, {kind} poison, <{2 * w} x i32> <{places}>", scope
        )

    def _store_pairs(
        self, buffer: Buffer, split: tuple[Index, int, str], parts: list[str], mask: str | None
    ) -> None:
        """Store complex numbers one after the other."""
        f, w, scope = self.f, self.width, self.f.scope
        kind, align = MEMORY[buffer.dtype], ITEMSIZE[buffer.dtype] // 2
        rest, _, variable = split
        places = ", ".join([f"i32 {i // 2 + w * (i % 2)}" for i in range(2 * w)])
        pairs = f.op(
            f"shufflevector <{w} x {kind}> {parts[0]}, <{w} x {kind}> {parts[1]}, "
            f"<{2 * w} x i32> <{places}>"
        )
        at = self._pairs_address(buffer, rest * 2, variable, scope)
        doubled = None if mask is None else self._doubled(mask, scope)
        self._put(kind, 2 * w, pairs, at, doubled, align)

    def _put(
        self, kind: str, w: int, value: str, at: str, mask: str | None, align: int
    ) -> None:  # fmt: skip
        """Store a vector to one address, its lanes one after the other."""
        f = self.f
        if mask is None:
            f.line(f"store <{w} x {kind}> {value}, ptr {at}, align {align}")
            return
        name = f"llvm.masked.store.v{w}{short(kind)}.p0"
        f.declare(name, f"void {{}}(<{w} x {kind}>, ptr, i32, <{w} x i1>)")
        f.line(
            f"call void @{name}(<{w} x {kind}> {value}, ptr {at}, i32 {align}, <{w} x i1> {mask})"
        )

    def _contiguous(self, kind: str, at: str, mask: str | None, align: int, scope: Scope) -> str:
        """Elements that lie one after the other, zeros where a mask does not hold."""
        f, w = self.f, self.width
        if mask is None:
            return f.op(f"load <{w} x {kind}>, ptr {at}, align {align}", scope)
        name = f"llvm.masked.load.v{w}{short(kind)}.p0"
        f.declare(name, f"<{w} x {kind}> {{}}(ptr, i32, <{w} x i1>, <{w} x {kind}>)")
        return f.op(
            f"call <{w} x {kind}> @{name}(ptr {at}, i32 {align}, <{w} x i1> {mask}, "
            f"<{w} x {kind}> zeroinitializer)", scope,
        )  # fmt: skip

    def _gather(self, kind: str, pointers: str, mask: str | None, scope: Scope) -> str:
        """What a vector of pointers points to, zeros where a mask does not hold."""
        f, w = self.f, self.width
        name = f"llvm.masked.gather.v{w}{short(kind)}.v{w}p0"
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

    def _narrow(
        self, dtype: str, name: str, scope: Scope, varying: bool, *, exact: bool = False
    ) -> str:
        """From the register's type to the storage type, rounded to nearest even where needed."""
        f = self.f

        def kind(scalar: str) -> str:
            return f"<{self.width} x {scalar}>" if varying else scalar

        if dtype == "b1":
            return f.op(f"zext {kind('i1')} {name} to {kind('i8')}", scope)
        if dtype == "f16":
            return f.op(f"fptrunc {kind('float')} {name} to {kind('half')}", scope)
        if dtype != "bf16":
            return name
        if self.rounds_bfloat and varying and not exact and self.width >= _FEWEST_ROUNDED:
            return self._round_natively(name, scope)
        return self._round_bits(name, scope, varying, exact)

    def _round_natively(self, name: str, scope: Scope) -> str:
        """A vector of bfloat16s, by the processor's instruction. As that takes subnormal numbers
        for zero, they are looked for, and if there are any all is done without it."""
        f, w = self.f, self.width
        n = min(w, _MOST_ROUNDED)
        test = f"llvm.x86.avx512.fpclass.ps.{32 * n}"
        f.declare(test, f"<{n} x i1> {{}}(<{n} x float>, i32 immarg)")
        slot = f.alloca(f"<{w} x i16>")
        native = f.op(f"fptrunc <{w} x float> {name} to <{w} x bfloat>", scope)
        f.line(f"store <{w} x bfloat> {native}, ptr {slot}", scope)
        found = ""
        for first in range(0, w, n):
            lanes = ", ".join([f"i32 {first + k}" for k in range(n)])
            kind = f"<{w} x float>"
            part = f"shufflevector {kind} {name}, {kind} poison, <{n} x i32> <{lanes}>"
            one = f"<{n} x float> {f.op(part, scope)}, i32 {_SUBNORMAL}"
            one = f.op(f"call <{n} x i1> @{test}({one})", scope)
            found = f.op(f"or <{n} x i1> {found}, {one}", scope) if found else one
        rare, done = f.name("rare")[1:], f.name("usual")[1:]
        f.line(f"br i1 {self._any(found, scope, True, n)}, label %{rare}, label %{done}", scope)
        f.line(f"{rare}:", scope)
        bits = self._round_bits(name, scope, True, exact=False)
        f.line(f"store <{w} x i16> {bits}, ptr {slot}", scope)
        f.line(f"br label %{done}", scope)
        f.line(f"{done}:", scope)
        return f.op(f"load <{w} x i16>, ptr {slot}", scope)

    def _round_bits(self, name: str, scope: Scope, varying: bool, exact: bool) -> str:
        """The upper half of a float32, rounded to nearest even if that is not exact."""
        f = self.f

        def kind(scalar: str) -> str:
            return f"<{self.width} x {scalar}>" if varying else scalar

        i32 = kind("i32")

        def c(value: int) -> str:
            return self._constant("i32", value, varying)

        bits = f.op(f"bitcast {kind('float')} {name} to {i32}", scope)
        if exact:
            high = f.op(f"lshr {i32} {bits}, {c(16)}", scope)
            return f.op(f"trunc {i32} {high} to {kind('i16')}", scope)
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
                exact = _is_exact(value, buffer.dtype)
                raw = self._narrow(buffer.dtype, name, scope, False, exact=exact)
                at = self._address(buffer, offset, scope)
                at = f.op(f"getelementptr {kind}, ptr {at}, i64 {k}", scope)
                f.line(f"store {kind} {raw}, ptr {at}, align {align}")
            if store.guard is not None:
                f.line(f"br label %{done}")
                f.line(f"{done}:")
            return
        raws = [
            self._narrow(
                buffer.dtype, self._vectorized(v), scope, True, exact=_is_exact(v, buffer.dtype)
            )
            for v in values
        ]
        split = self._split_vector(index)
        if split is not None and split[1] == 1 and len(raws) == 1:
            at = self._place(buffer, index, scope)
            self._put(kind, w, raws[0], at, mask, align)
            return
        if split is not None and split[1] == 1:
            self._store_pairs(buffer, split, raws, mask)
            return
        for k, raw in enumerate(raws):
            offsets = self._index_vector(index * len(values) + k, "i64", scope)
            pointers = f.op(
                f"getelementptr {kind}, ptr {self._base(buffer)}, <{w} x i64> {offsets}"
            )
            name = f"llvm.masked.scatter.v{w}{short(kind)}.v{w}p0"
            f.declare(name, f"void {{}}(<{w} x {kind}>, <{w} x ptr>, i32, <{w} x i1>)")
            f.line(
                f"call void @{name}(<{w} x {kind}> {raw}, <{w} x ptr> {pointers}, i32 {align}, "
                f"<{w} x i1> {mask or 'splat (i1 true)'})"
            )
