"""Emission of register tiles: copies of the passes for several steps of kept loops at a time.

A copy is the passes rebuilt over loop variables of its own. Expressions are interned, so what
copies have in common, such as a load that does not depend on the tiled loop, is computed once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nr.backends.compiler.emission.conditions import Within, decided
from nr.backends.compiler.emission.function import MEMORY, Scope
from nr.backends.compiler.emission.memory import Memory
from nr.backends.compiler.expr import Expr, node
from nr.backends.compiler.index import Div, Index, Loop, index_of, only_loop
from nr.backends.compiler.loops import ITEMSIZE, Buffer, Kernel, Pass, Store, accesses, walk
from nr.backends.compiler.tiling import windows

# LLVM's code generator fails for some constant masks of more lanes.
_MOST_CONSTANT = 64


class Tiles(Memory):
    """Emits loops that take several steps at a time."""

    def __init__(self, kernel: Kernel, rounds_bfloat: bool) -> None:
        super().__init__(kernel, rounds_bfloat)
        # The copies of tiled loops, each with the mask of its lanes if it has one.
        self.copies: dict[Loop, list[tuple[Loop, str | None]]] = {}
        self.ranges: dict[Loop, tuple[int, int]] = {}  # where the loops of copies run
        self.alive: list[Any] = []  # expressions are known by their identity

    # ------------------------------------------------------------------------ see Emitter
    def _open(self, low: str, high: str) -> tuple[str, tuple[str, ...]]:
        """Begin a loop."""
        raise NotImplementedError

    def _close(self, variable: str, loop: tuple[str, ...], step: str) -> None:
        """End a loop."""
        raise NotImplementedError

    # ------------------------------------------------------------------------ loops
    def _tiled(self, loop: Loop, low: str, high: str, body: Callable) -> None:
        """A loop in whole tiles, then the rest at the end of its extent."""
        f = self.f
        lanes = self.width if loop is self.vector else 1
        step = self.kernel.tiles[loop] * lanes
        rest = loop.extent % step
        last = loop.extent - rest - step  # where the last whole tile begins
        if loop.extent >= step:
            whole = high
            if rest:
                span = f.op(f"sub i64 {high}, {low}")
                whole = f.op(f"sub i64 {high}, {f.op(f'urem i64 {span}, {step}')}")
            for begin, end, part in self._parts(loop, low, whole, step, last):
                self._tile(loop, begin, end, self.kernel.tiles[loop], None, body, part)
            low = whole
        if rest:
            bound = high if rest % lanes else None
            if loop.extent < lanes:  # then it is the only tile, of which all has this mask
                self.mask, bound = self._lanes_below(loop, low, high), None
            part = last + step, last + step
            self._tile(loop, low, high, -(-rest // lanes), bound, body, part)
            self.mask = None

    def _parts(
        self, loop: Loop, low: str, high: str, step: int, last: int
    ) -> list[tuple[str, str, tuple[int, int]]]:
        """A loop's whole tiles, and where they begin; the first and the last one on their own if
        conditions are known in all others, as those of windows beyond the border are."""
        begin, end, top = 0, last, last + step - 1
        first, others_end = [], high
        whole_loop = low == "0" and last > 0
        if whole_loop and self._is_known(loop, (step, top), (0, top)):
            first = [(low, str(step), (0, 0))]
            low, begin = str(step), step
        if whole_loop and self._is_known(loop, (0, last - 1), (0, top)):
            others_end, end = self.f.op(f"sub i64 {high}, {step}"), last - step
        parts = [*first, (low, others_end, (begin, end))] if begin <= end else first
        return parts if end == last else [*parts, (others_end, high, (last, last))]

    def _is_known(self, loop: Loop, part: tuple[int, int], whole: tuple[int, int]) -> bool:
        """Whether a condition is known in a part of a loop that is not in the whole."""
        return any([
            decided(e, {loop: whole}) is e and decided(e, {loop: part}) is not e
            for e in walk(list(self.kernel.roots()))
        ])  # fmt: skip

    def _tile(
        self, loop: Loop, low: str, high: str, size: int, bound: str | None, body: Callable,
        part: tuple[int, int],
    ) -> None:  # fmt: skip
        """A loop with `size` copies of its body; of the last one, lanes up to a bound. `part` is
        where tiles begin."""
        lanes = self.width if loop is self.vector else 1
        variable, end = self._open(low, high)
        depth = len(self.f.scopes) - 1
        self.loops[loop] = (depth, variable)
        self._copies(loop, size, depth, part, bound)
        body()
        for copy, _ in self.copies.pop(loop):
            del self.ranges[copy]
        self._close(variable, end, str(size * lanes))

    def _copies(
        self, loop: Loop, size: int, depth: int, part: tuple[int, int], bound: str | None = None
    ) -> None:
        """Have what is inside a loop done for `size` of its steps, from a number within `part`."""
        f = self.f
        lanes = self.width if loop is self.vector else 1
        variable = self.loops[loop][1]
        copies: list[tuple[Loop, str | None]] = [(loop, None)]
        for k in range(1, size):
            copy = Loop(f"{loop}+{k}", loop.extent)
            self.loops[copy] = (depth, f.op(f"add nsw i64 {variable}, {k * lanes}"))
            self.origins[copy] = (loop, k * lanes)
            if loop is self.vector:
                self.lanes.add(copy)
            copies.append((copy, None))
        if bound is not None:
            last = copies[-1][0]
            copies[-1] = (last, self._lanes_below(last, self.loops[last][1], bound))
        self.copies[loop] = copies
        for k, (copy, _) in enumerate(copies):
            self.ranges[copy] = part[0] + k * lanes, part[1] + (k + 1) * lanes - 1

    def _lanes_below(self, loop: Loop, variable: str, bound: str) -> str:
        """The mask of the lanes that are within the vector loop's range: a constant, which masks
        of elements can be made of, if they are whole groups of less than a vector."""
        if loop.extent < self.width <= _MOST_CONSTANT and self._goes_through_groups():
            lanes = ["true" if k < loop.extent else "false" for k in range(self.width)]
            return "<" + ", ".join([f"i1 {lane}" for lane in lanes]) + ">"
        left = self.f.op(f"sub i64 {bound}, {variable}")
        return self._first_lanes(left, self.f.scope)

    def _goes_through_groups(self) -> bool:
        """Whether several lanes read one element, the next ones the next."""
        return any([
            type(a) is Div and only_loop(a.index) is self.vector
            for _, index in accesses(self.kernel)
            for a in index.terms
        ])  # fmt: skip

    # ------------------------------------------------------------------------ windows
    def _windows(self, loop: Loop, values: Sequence[Expr]) -> dict[Loop, tuple[int, int]]:
        """The windows that a reduced loop goes through; see `tiling.windows`."""
        found: dict[Loop, tuple[int, int]] = {}
        for e in walk(values):
            found |= windows(e, loop, self.ranges.keys() - self.lanes, self.lanes)
        return found

    def _through_windows(
        self, loop: Loop, summed: Sequence[Sequence[Expr]]
    ) -> list[tuple[int, int]]:
        """A loop's steps, each with the number of a sum of a copy, by the places that they read:
        what is there is read once, used, and forgotten before the next."""
        found = []
        for n, values in enumerate(summed):
            read = self._windows(loop, values).items()
            stride = max([inside for _, (inside, _) in read], default=1)
            first = sum([along * self.origins.get(k, (k, 0))[1] for k, (_, along) in read])
            found += [(first + stride * step, step, n) for step in range(loop.extent)]
        return [(step, n) for _, step, n in sorted(found)]

    # ------------------------------------------------------------------------ transposes
    def _from_rows(self, buffer: Buffer, split: tuple[Index, int, str], scope: Scope) -> str | None:
        """A vector across rows, of which a tile of the kernel reads as many as rows: by rows."""
        f = self.f
        rest, stride, variable = split
        found = [(a, *self.origins.get(a, (a, 0))) for a, c in rest.terms.items() if c == 1]
        for atom, loop, k in found:
            if len(self.copies.get(loop, ())) == self.width > 1 and not self._is_written(buffer):
                terms = {(loop if a is atom else a): c for a, c in rest.terms.items()}
                first = Index(terms, rest.offset)
                key = ("column", buffer, first, stride)
                if (*key, k) not in scope.values:
                    step = f.integer(stride)
                    start = f.op(f"mul i64 {variable}, {step}", scope)
                    offset = f.op(f"add i64 {self._offset(first)}, {start}", scope)
                    for j, name in enumerate(self._columns(buffer, offset, step, scope)):
                        scope.values[(*key, j)] = name
                return scope.values[(*key, k)]
        return None

    def _columns(self, buffer: Buffer, offset: str, step: str, scope: Scope) -> list[str]:
        """The columns of a square of as many rows as there are lanes, `step` apart.

        Blocks of 1, 2, 4 … elements beside the diagonal change places (Eklundh, "A fast computer
        method for matrix transposing", 1972).
        """
        f, w, kind = self.f, self.width, MEMORY[buffer.dtype]
        at = self._address(buffer, offset, scope)
        rows = []
        for _ in range(w):
            align = ITEMSIZE[buffer.dtype]
            rows.append(f.op(f"load <{w} x {kind}>, ptr {at}, align {align}", scope))
            at = f.op(f"getelementptr {kind}, ptr {at}, i64 {step}", scope)
        size = 1
        while size < w:
            for i in [i for i in range(w) if not i & size]:
                upper, lower = rows[i], rows[i + size]
                for k, of in ((i, 0), (i + size, size)):
                    lanes = [j + of if not j & size else w + j + of - size for j in range(w)]
                    order = ", ".join([f"i32 {lane}" for lane in lanes])
                    rows[k] = f.op(
                        f"shufflevector <{w} x {kind}> {upper}, <{w} x {kind}> {lower}, "
                        f"<{w} x i32> <{order}>", scope,
                    )  # fmt: skip
            size *= 2
        return rows

    # ------------------------------------------------------------------------ copies
    def _copied_passes(self) -> Sequence[Pass]:
        """The kernel's passes, each with a copy of what it does for every step of the tile."""
        passes = self.kernel.passes
        if not self.copies:
            return passes
        copied = [Pass(condition=p.condition) for p in passes]
        # Vectors innermost: a number that is spread over lanes is used and forgotten.
        loops = sorted(self.copies, key=lambda loop: loop is self.vector)
        for chosen in itertools.product(*[self.copies[loop] for loop in loops]):
            to = [index_of(copy) for copy, _ in chosen]
            names: set[str | None] = {mask for _, mask in chosen if mask is not None}
            (name,) = names or {None}
            mask = None if name is None else self._register("b1", name, True)
            rewrite = _Copy(dict(zip(loops, to, strict=True)), self.lanes, mask, self.ranges)
            self.alive.append(rewrite)
            for p, copy in zip(passes, copied, strict=True):
                copy.reducers += [rewrite.reducer(r) for r in p.reducers]
                copy.stores += [rewrite.store(s) for s in p.stores]
                copy.after += [rewrite.store(s) for s in p.after]
        self.alive.append(copied)
        return copied


class _Copy(Within):
    """Rebuilds expressions over a copy's loops; lanes without its mask are not accessed."""

    def __init__(
        self, loops: dict[Loop, Index], lanes: set[Loop], mask: Expr | None,
        ranges: Mapping[Loop, tuple[int, int]],
    ) -> None:  # fmt: skip
        super().__init__(loops, ranges)
        self.lanes = lanes
        self.mask = mask
        self.varying: set[int] = set()  # what differs between lanes

    def _one(self, e: Expr) -> Expr:
        rebuilt = super()._one(e)
        loaded = rebuilt.op == "load"
        index = rebuilt.param[1] if loaded else rebuilt.param if rebuilt.op == "index" else None
        differs = index is not None and self._differs(index)
        if differs and loaded and self.mask is not None:
            guard = rebuilt.args[0] & self.mask if rebuilt.args else self.mask
            rebuilt = node("load", (guard,), e.dtype, rebuilt.param)
        if differs or any([id(a) in self.varying for a in rebuilt.args]):
            self.varying.add(id(rebuilt))
        return rebuilt

    def _differs(self, index: Index) -> bool:
        """Whether an index differs between lanes."""
        return bool(self.lanes & index.loops()) or any(
            [id(e) in self.varying for e in index.exprs()]
        )

    def store(self, store: Store) -> Store:
        """With its index, value and guard rebuilt."""
        rebuilt = super().store(store)
        if self.mask is not None and self._differs(rebuilt.index):
            guard = rebuilt.guard
            rebuilt.guard = self.mask if guard is None else guard & self.mask
        return rebuilt
