"""Emission of a kernel: its loops and passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nr.backends.compiler.borders import between_borders
from nr.backends.compiler.emission.conditions import (
    Holding,
    Within,
    same_constant,
    steps_passed_over,
)
from nr.backends.compiler.emission.function import POLL_WORD, Emitted, Scope, scratch_bytes
from nr.backends.compiler.emission.tiles import Tiles
from nr.backends.compiler.expr import Expr, node
from nr.backends.compiler.index import Loop
from nr.backends.compiler.loops import FRAME, Kernel, Pass, Recurrence, Reducer, Store, walk

# Reduced loops are written out up to this many steps in all, and this many expressions.
_MOST_UNROLLED = 16
_MOST_WRITTEN = 160
NO_BOUNDS: Mapping[Loop, tuple[str, str]] = {}


class Emitter(Tiles):
    """Emits one kernel."""

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
        tables = [f"{n} = private unnamed_addr constant {v}" for n, v in f.globals.items()]
        text = "\n".join([
            *tables,
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
        if not tasks:
            self._nest(rest)
        elif len(tasks) == 1:
            bounds = {tasks[0]: ("%low", "%high")}
            # All tiles of a task are done for a vector before the next: what is read along it
            # stays in cache.
            inside = tasks[0] in kernel.tiles and rest == [kernel.vector]
            self._nest([*rest, *tasks] if inside else [*tasks, *rest], bounds)
        else:
            variable, end = self._open("%low", "%high")
            flat, last = variable, len(tasks) - 1
            size = kernel.tiles.get(tasks[last], 1)
            for i in range(last, -1, -1):
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
            if size > 1:
                part = 0, tasks[last].extent - size
                self._copies(tasks[last], size, len(f.scopes) - 1, part)
            self._nest(rest)
            self._close(variable, end, str(size))

    def _nest(
        self, loops: Sequence[Loop], bounds: Mapping[Loop, tuple[str, str]] = NO_BOUNDS
    ) -> None:
        """Kept loops, outermost first, then the passes. `bounds` are those of ranges of tasks."""
        kernel = self.kernel
        if kernel.panel is not None and len(loops) == len(kernel.kept) - kernel.tasks:
            self._fill(kernel.panel)
        if not loops:
            self._versions()
            return
        loop = loops[0]
        low, high = bounds.get(loop) or ("0", self.f.integer(loop.extent))

        def body() -> None:
            self._nest(loops[1:], bounds)

        if loop in self.kernel.tiles:
            self._tiled(loop, low, high, body)
        elif loop is self.kernel.vector:
            self._vector(loop, low, high, body)
        else:
            self._serial(loop, low, high, body)

    def _fill(self, panel: Store) -> None:
        """Put into scratch what a task reads again and again."""
        *serial, vector = panel.index.terms

        def nest(loops: Sequence[Loop]) -> None:
            low, high = "0", self.f.integer((loops or [vector])[0].extent)
            if loops:
                self._serial(loops[0], low, high, lambda: nest(loops[1:]))
            else:
                self._vector(vector, low, high, lambda: self._store(panel))

        nest(serial)
        self.depends.clear()

    def _serial(self, loop: Loop, low: str, high: str, body: Any) -> None:
        variable, end = self._open(low, high)
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
        if loop.extent > self.width and len(walk(list(self.kernel.roots()))) <= 24:
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
        variable, end = self._open(low, high)
        self.loops[loop] = (len(f.scopes) - 1, variable)
        if bound is not None:
            self.mask = self._lanes_below(loop, variable, bound)
        body()
        self.mask = None
        self._close(variable, end, step)

    def _open(self, low: str, high: str) -> tuple[str, tuple[str, ...]]:
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
    def _versions(self) -> None:
        """The passes; between borders, without conditions that are known there."""
        f = self.f
        between = {} if self.kernel.tiles else between_borders(self.kernel)
        # What is computed at this level is not known to another copy of the body.
        self.depends.clear()
        if not between:
            self._passes(self._copied_passes())
            return
        inside, beside, done = [f.name(s)[1:] for s in ("inside", "beside", "done")]
        test = "true"
        for loop, (low, high) in between.items():
            name = self.loops[loop][1]
            last = high - (self.width - 1 if loop is self.vector else 0)
            for order, step in (("sge", low), ("sle", last)):
                one = f.op(f"icmp {order} i64 {name}, {f.integer(step)}")
                test = f.op(f"and i1 {test}, {one}")
        f.line(f"br i1 {test}, label %{inside}, label %{beside}")
        within = Within({}, between)
        self.alive.append(within)
        depth = len(f.scopes) - 1
        for label, passes, bare in (
            (inside, within.passes(self.kernel.passes), within.bare),
            (beside, self.kernel.passes, frozenset()),
        ):
            f.line(f"{label}:")
            f.scopes.append(Scope())
            # What is computed for a step is computed in its version.
            moved = {k: at for k, at in self.loops.items() if at[0] == depth}
            self.loops.update({k: (depth + 1, name) for k, (_, name) in moved.items()})
            self.depends.clear()
            self.bare = bare
            self._passes(passes)
            self.loops.update(moved)
            inner = f.scopes.pop()
            f.scope.lines += inner.lines
            f.line(f"br label %{done}")
        f.line(f"{done}:")
        self.depends.clear()

    def _passes(self, passes: Sequence[Pass]) -> None:
        self.kept_depth = len(self.f.scopes) - 1
        for p in passes:
            if p.stores or p.reducers or p.recurrences:
                self._pass(p)
            for store in p.after:
                self._store(store)

    def _pass(self, p: Pass) -> None:
        f, kernel = self.f, self.kernel
        over_reduced = kernel.vector in kernel.reduced
        varying = over_reduced or kernel.vector in kernel.kept
        for reducer in p.reducers:
            slots: list[str] = []
            for value in reducer.identity:
                kind = self._type(value.dtype, varying)
                slot = f.alloca(kind)
                self._constant_store(value, varying, slot)
                slots.append(slot)
            self.accumulators[id(reducer)] = tuple(slots)
        serial = [loop for loop in kernel.reduced if loop is not kernel.vector]
        for r in p.recurrences:
            self._begin(r, self.columns)
        columns = self.columns
        unrolled = self._unrolled(serial, p)
        passed_over: dict[Loop, list[Expr]] = {}
        if p.reducers and not (p.stores or p.recurrences):
            passed_over = steps_passed_over(p.reducers, serial, self.lanes)
            for loop in unrolled:
                passed_over.pop(loop, None)
        summed = [r.values for r in p.reducers]
        if passed_over:
            holding = Holding([c for conditions in passed_over.values() for c in conditions])
            self.alive.append(holding)
            summed = [tuple([holding.expr(v) for v in values]) for values in summed]

        def body() -> None:
            for r in p.recurrences:
                for k, (slot, value) in enumerate(
                    zip(self.accumulators[id(r)], r.initial, strict=True)
                ):
                    name = f.op(f"load {self._type(value.dtype, columns)}, ptr {slot}")
                    self._know(r.current(k), name, len(f.scopes) - 1, columns)
            if p.condition is not None:
                further = f.name("further")[1:]
                test = self.value(p.condition)
                if self._where(p.condition)[1]:  # the same in all lanes
                    test = f.op(f"extractelement {self._type('b1', True)} {test}, i32 0")
                f.line(f"br i1 {test}, label %{further}, label %{self.leave[-1]}")
                f.line(f"{further}:")
            for reducer, values in zip(p.reducers, summed, strict=True):
                self._accumulate(reducer, values)
            # What is stored may lie over an operand: everything is read before.
            for store in p.stores:
                for e in store.exprs():
                    self.value(e)
            for store in p.stores:
                self._store(store)
            if self.width == 1:
                self._group_calls(p)
            names = []
            for r in p.recurrences:
                for value in r.following:
                    self.value(value)
                names += [self._vectorized(v) if columns else self._value(v) for v in r.following]
            carried = [
                (s, v)
                for r in p.recurrences
                for s, v in zip(self.accumulators[id(r)], r.following, strict=True)
            ]
            for (slot, value), name in zip(carried, names, strict=True):
                f.line(f"store {self._type(value.dtype, columns)} {name}, ptr {slot}")
            if p.recurrences:
                self._poll(p)

        def nest(loops: list[Loop]) -> None:
            if loops and loops[0] in unrolled and self.copies:
                self._written_out(loops[0], p.reducers, summed)
            elif loops and loops[0] in unrolled:
                for k in range(loops[0].extent):
                    f.scopes.append(Scope())
                    self.loops[loops[0]] = (len(f.scopes) - 1, str(k))
                    nest(loops[1:])
                    inner = f.scopes.pop()
                    f.scope.lines += inner.lines
            elif loops:
                high = f.integer(loops[0].extent)
                conditions = passed_over.get(loops[0], [])
                self._serial(loops[0], "0", high, lambda: step(conditions, loops[1:]))
            elif over_reduced:
                vector = kernel.vector
                self._vector(vector, "0", f.integer(vector.extent), body)
            else:
                body()

        def step(conditions: list[Expr], loops: list[Loop]) -> None:
            if not conditions:
                nest(loops)
                return
            go, over = f.name("go")[1:], f.name("over")[1:]
            test = "true"
            for c in conditions:
                test = f.op(f"and i1 {test}, {self.value(c)}")
            f.line(f"br i1 {test}, label %{go}, label %{over}")
            f.line(f"{go}:")
            nest(loops)
            f.line(f"br label %{over}")
            f.line(f"{over}:")

        if self.copies and serial and not unrolled:
            self.ahead = serial[-1]
        nest(serial)
        self.ahead = None
        for reducer in p.reducers:
            values = []
            slots_of = self.accumulators[id(reducer)]
            for slot, value in zip(slots_of, reducer.identity, strict=True):
                values.append(f.op(f"load {self._type(value.dtype, varying)}, ptr {slot}"))
            if over_reduced:
                values = self._horizontal(reducer, values)
            for k, name in enumerate(values):
                self._know(reducer.result(k), name, len(f.scopes) - 1, not over_reduced)
        for r in p.recurrences:
            for k, (slot, value) in enumerate(
                zip(self.accumulators[id(r)], r.initial, strict=True)
            ):
                name = f.op(f"load {self._type(value.dtype, columns)}, ptr {slot}")
                self._know(r.result(k), name, len(f.scopes) - 1, columns)

    def _written_out(
        self, loop: Loop, reducers: Sequence[Reducer], summed: Sequence[tuple[Expr, ...]]
    ) -> None:
        """All steps of a loop that goes through windows of a tile."""
        f = self.f
        scopes = [Scope(f.scope.lines) for _ in range(loop.extent)]
        inside = [Within({}, {**self.ranges, loop: (k, k)}) for k in range(loop.extent)]
        self.alive.append(inside)
        for k, n in self._through_windows(loop, summed):
            values = tuple([inside[k].expr(v) for v in summed[n]])
            if all(map(same_constant, values, reducers[n].identity)):
                continue  # beyond the border
            f.scopes.append(scopes[k])
            self.loops[loop] = (len(f.scopes) - 1, str(k))
            self.written[loop] = k
            self._accumulate(reducers[n], values)
            f.scopes.pop()
        self.written.clear()

    def _unrolled(self, serial: list[Loop], p: Pass) -> list[Loop]:
        """The innermost short loops, which are written out: then their counters cost nothing."""
        if p.recurrences or p.condition is not None:
            return []
        roots = [v for r in p.reducers for v in r.values]
        roots += [e for store in p.stores for e in store.exprs()]
        # The steps of a tile hide the counters; of windows, they share what they read.
        if self.copies:
            windows = self.vector in self.kernel.kept and serial
            return serial[-1:] if windows and self._windows(serial[-1], roots) else []
        most = min(_MOST_UNROLLED, _MOST_WRITTEN // max(len(walk(roots)), 1))
        found: list[Loop] = []
        for loop in reversed(serial):
            most //= max(loop.extent, 1)
            if most < 1:
                break
            found.append(loop)
        return found

    def _begin(self, r: Recurrence, varying: bool) -> None:
        """Put the initial values of a recurrence into slots."""
        slots = []
        for value in r.initial:
            slot = self.f.alloca(self._type(value.dtype, varying))
            self.value(value)
            self._constant_store(value, varying, slot)
            slots.append(slot)
        self.accumulators[id(r)] = tuple(slots)

    def _poll(self, p: Pass) -> None:
        """Every so many steps, look for signals; a handler that raises ends the loop."""
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
        at = f.op(f"getelementptr i64, ptr {frame}, i64 {POLL_WORD}")
        poll = f.op(f"load ptr, ptr {at}")
        status = f.op(f"call i64 {poll}(ptr {frame})")
        stop = f.op(f"icmp ne i64 {status}, 0")
        f.line(f"br i1 {stop}, label %{self.leave[-1]}, label %{done}")
        f.line(f"{done}:")

    def _constant_store(self, value: Expr, varying: bool, slot: str) -> None:
        name = self._vectorized(value) if varying else self._value(value)
        self.f.line(f"store {self._type(value.dtype, varying)} {name}, ptr {slot}")

    def _accumulate(self, reducer: Reducer, values: Sequence[Expr]) -> None:
        f = self.f
        slots = self.accumulators[id(reducer)]
        for value in values:
            self.value(value)
        old, new = [], []
        for slot, value in zip(slots, values, strict=True):
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
                    part = f.op(
                        f"shufflevector {kind} {name}, {kind} poison, <{half} x i32> <{lanes}>"
                    )
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


def emit_kernel(kernel: Kernel, *, rounds_bfloat: bool = False) -> Emitted:
    """LLVM IR of a kernel, for a processor that rounds to bfloat16 or one that does not."""
    return Emitter(kernel, rounds_bfloat).emit()
