"""The loop IR: kernels over a domain of loops, with its printer and validator.

A `Kernel` runs, for every point of its kept loops, a few passes over its reduced loops: each pass
combines values into accumulators and stores elements; what only depends on the kept loops is
stored after a pass. One loop, kept or reduced, is the vector loop. A kernel without reduced loops
is an elementwise kernel; one whose vector loop is reduced works row by row, one whose vector loop
is kept works on a vector of columns at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from nr.backends.compiler.expr import NUMPY, Complex, Expr, node
from nr.backends.compiler.index import Index, Loop, index_text

# The register type of each type in memory; complex numbers are two registers.
REGISTER = {
    **{t: t for t in NUMPY}, "bf16": "f32", "f16": "f32", "c64": "f32", "c128": "f64",
}  # fmt: skip
ITEMSIZE = {
    **{t: d.itemsize for t, d in NUMPY.items()}, "bf16": 2, "f16": 2, "c64": 8, "c128": 16,
}  # fmt: skip


class Buffer:
    """An array in memory: contiguous, of `size` elements of a storage type.

    `source` is the user's line that it comes from, if known.
    """

    __slots__ = ("name", "dtype", "size", "source")

    def __init__(self, name: str, dtype: str, size: int) -> None:
        self.name = name
        self.dtype = dtype
        self.size = size
        self.source: Any = None

    def __repr__(self) -> str:
        return self.name

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.size * ITEMSIZE[self.dtype]


class Table(Buffer):
    """Numbers that a kernel reads and that are known when it is planned."""

    __slots__ = ("values", "__weakref__")

    def __init__(self, name: str, dtype: str, values: Any) -> None:
        super().__init__(name, dtype, values.size)
        self.values = values


# Stands for the frame of the running program, whose callback long loops look for signals with.
FRAME = Buffer("frame", "u8", 0)


def load(buffer: Buffer, index: Index, guard: Expr | None = None) -> Expr | Complex:
    """An element; zero, and no access, where a guard does not hold."""
    args = () if guard is None else (guard,)
    register = REGISTER[buffer.dtype]
    if buffer.dtype in ("c64", "c128"):
        re, im = [node("load", args, register, (buffer, index, part)) for part in (0, 1)]
        return Complex(re, im)
    return node("load", args, register, (buffer, index, 0))


@dataclass(slots=True, eq=False)
class Reducer:
    """Accumulators that a pass combines values into.

    `combine` takes two tuples of expressions, the earlier first, and gives their combination; it
    must be associative.
    """

    name: str
    values: tuple[Expr, ...]
    identity: tuple[Expr, ...]
    combine: Callable[[tuple, tuple], tuple]

    def result(self, k: int = 0) -> Expr:
        """What it has combined after the pass."""
        return node("acc", (), self.values[k].dtype, (self, k))

    def running(self, k: int = 0) -> Expr:
        """What it has combined so far, within the pass (its vector loop must be a kept one)."""
        return node("running", (), self.values[k].dtype, (self, k))

    def __repr__(self) -> str:
        return self.name


@dataclass(slots=True, eq=False)
class Recurrence:
    """Values that every step of a pass's (one, serial) loop computes from those before it."""

    name: str
    initial: tuple[Expr, ...]
    following: tuple[Expr, ...] = ()

    def current(self, k: int = 0) -> Expr:
        """The value at the beginning of a step."""
        return node("current", (), self.initial[k].dtype, (self, k))

    def result(self, k: int = 0) -> Expr:
        """The value after the last step."""
        return node("acc", (), self.initial[k].dtype, (self, k))

    def __repr__(self) -> str:
        return self.name


@dataclass(slots=True, eq=False)
class Store:
    """``buffer[index] = value``, where a guard, if there is one, holds."""

    buffer: Buffer
    index: Index
    value: Expr | Complex
    guard: Expr | None = None

    def exprs(self) -> list[Expr]:
        """What is computed for it."""
        guard = [] if self.guard is None else [self.guard]
        return [*parts_of(self.value), *self.index.exprs(), *guard]


@dataclass(slots=True, eq=False)
class Pass:
    """One pass over the reduced loops. `after` depends on the kept loops only.

    A pass ends before the step whose `condition`, if it has one, does not hold.
    """

    reducers: list[Reducer] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    after: list[Store] = field(default_factory=list)
    recurrences: list[Recurrence] = field(default_factory=list)
    condition: Expr | None = None

    def inner_roots(self) -> Iterator[Expr]:
        """The expressions computed at every point of the reduced loops."""
        for reducer in self.reducers:
            yield from reducer.values
        for recurrence in self.recurrences:
            yield from recurrence.initial
            yield from recurrence.following
        if self.condition is not None:
            yield self.condition
        for store in self.stores:
            yield from store.exprs()


@dataclass(slots=True, eq=False)
class Kernel:
    """A native function. `tasks` kept loops, the outermost, are flattened and run in parallel.

    `scratch` are buffers of a thread's own, which live during one point of the kept loops.
    `tiles` says of kept loops how many of their steps (vectors, of the vector loop) are done at a
    time, with accumulators of their own: what does not depend on a loop is read once for all.
    `panel` is done before all else of a task, over the reduced loops and the vector loop: it puts
    into scratch what is read there again and again.
    """

    kept: list[Loop]
    reduced: list[Loop]
    vector: Loop
    passes: list[Pass]
    tasks: int
    width: int
    scratch: list[Buffer] = field(default_factory=list)
    tiles: dict[Loop, int] = field(default_factory=dict)
    panel: Store | None = None

    @property
    def grain(self) -> int:
        """Ranges of tasks begin at multiples of this: there is code for a rest at the end only."""
        if not self.tasks:
            return 1
        innermost = self.kept[self.tasks - 1]
        shared = innermost is self.vector and self.tasks == 1
        return self.tiles.get(innermost, 1) * (self.width if shared else 1)

    @property
    def tile(self) -> int:
        """How many copies of a pass's body are done at a time."""
        return math.prod(self.tiles.values())

    @property
    def units(self) -> int:
        """How many tasks there are at most."""
        units = 1
        for loop in self.kept[: self.tasks]:
            units *= loop.extent
        return units

    def stores(self) -> Iterator[Store]:
        """All stores."""
        if self.panel is not None:
            yield self.panel
        for p in self.passes:
            yield from p.stores
            yield from p.after

    def roots(self) -> Iterator[Expr]:
        """The expressions computed."""
        if self.panel is not None:
            yield from self.panel.exprs()
        for p in self.passes:
            yield from p.inner_roots()
            for store in p.after:
                yield from store.exprs()

    def __str__(self) -> str:
        return kernel_text(self)


def parts_of(value: Expr | Complex) -> tuple[Expr, ...]:
    """The real scalars a value is made of: one, or two of a complex number."""
    return (value.re, value.im) if type(value) is Complex else (value,)


def walk(roots: Sequence[Expr], *, emitted: bool = False) -> list[Expr]:
    """Every expression once, operands first; with `emitted`, not those computed only rarely."""
    seen: set[int] = set()
    order: list[Expr] = []
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        expr, entered = stack.pop()
        if entered:
            order.append(expr)
        elif id(expr) not in seen:
            seen.add(id(expr))
            stack.append((expr, True))
            operands = operands_of(expr)
            if emitted and expr.op == "rarely":
                operands = [operands[0], operands[2]]
            stack += [(operand, False) for operand in operands if id(operand) not in seen]
    return order


def fitted(lanes: int, extent: int) -> int:
    """So many lanes, halved as long as a vector loop of so many steps needs no more."""
    while lanes > 1 and lanes // 2 >= extent:
        lanes //= 2
    return lanes


def operands_of(expr: Expr) -> list[Expr]:
    """The expressions one depends on, those inside its index too."""
    if expr.op == "load":
        return [*expr.args, *expr.param[1].exprs()]
    if expr.op == "index":
        return expr.param.exprs()
    return list(expr.args)


def accesses(kernel: Kernel) -> Iterator[tuple[Buffer, Index]]:
    """Every place a kernel reads or writes."""
    for expr in walk(list(kernel.roots())):
        if expr.op == "load":
            yield expr.param[0], expr.param[1]
    for store in kernel.stores():
        yield store.buffer, store.index


def replaces(kernel: Kernel, old: Buffer, new: Buffer) -> bool:
    """Whether a kernel may write one buffer over another: each element is read, for the last
    time, where its successor is written."""
    points = math.prod([loop.extent for loop in (*kernel.kept, *kernel.reduced)])
    if old.nbytes != new.nbytes or old.size != new.size or points != old.size:
        return False
    places = {index for of, index in accesses(kernel) if of is old or of is new}
    if len(places) != 1:
        return False
    written = False
    for p in kernel.passes:
        roots = [v for r in p.reducers for v in r.values]
        roots += [e for store in (*p.stores, *p.after) for e in store.exprs()]
        if written and any([e.op == "load" and e.param[0] is old for e in walk(roots)]):
            return False
        if p.recurrences or any([store.buffer is new for store in p.after]):
            return False
        written = written or any([store.buffer is new for store in p.stores])
    return written


def is_copy(kernel: Kernel, old: Buffer, new: Buffer) -> bool:
    """Whether a kernel does nothing but copy one buffer to another, element by element."""
    stores = list(kernel.stores())
    if len(stores) != 1 or stores[0].buffer is not new or old.dtype != new.dtype:
        return False
    points = math.prod([loop.extent for loop in (*kernel.kept, *kernel.reduced)])
    return points == new.size == old.size and all([
        part.op == "load" and part.param == (old, stores[0].index, k) and not part.args
        for k, part in enumerate(parts_of(stores[0].value))
    ])  # fmt: skip


# ------------------------------------------------------------------------------ printing
def kernel_text(kernel: Kernel) -> str:
    """The kernel as text: loops, and one line an expression that is used more than once."""
    lines = []
    uses: dict[int, int] = {}
    roots = list(kernel.roots())
    for expr in [*roots, *[o for e in walk(roots) for o in operands_of(e)]]:
        uses[id(expr)] = uses.get(id(expr), 0) + 1
    names: dict[int, str] = {}

    def place(index: Index, indent: str) -> str:
        return index_text(index, lambda e: text(e, indent))

    def text(expr: Expr, indent: str) -> str:
        known = names.get(id(expr))
        if known is not None:
            return known
        args = [text(a, indent) for a in expr.args]
        if expr.op == "const":
            return f"{expr.param}"
        if expr.op == "load":
            buffer, index, part = expr.param
            result = f"{buffer}[{place(index, indent)}]" + (".im" if part else "")
            if args:
                result = f"{result} if {args[0]}"
        elif expr.op in ("acc", "running", "current"):
            of, k = expr.param
            many = len(of.values if type(of) is Reducer else of.initial) > 1
            result = f"{of}.{k}" if many else f"{of}"
        elif expr.op == "index":
            result = f"({place(expr.param, indent)})"
        elif expr.op == "convert":
            result = f"{expr.dtype}({args[0]})"
        else:
            param = f"[{expr.param}]" if expr.param is not None and expr.op != "table" else ""
            result = f"{expr.op}{param}({', '.join(args)})"
        if uses[id(expr)] > 1 and expr.op not in ("acc", "running", "current", "index"):
            name = names[id(expr)] = f"t{len(names)}"
            lines.append(f"{indent}{name}:{expr.dtype} = {result}")
            return name
        return result

    def value_text(value: Expr | Complex, indent: str) -> str:
        return ", ".join([text(part, indent) for part in parts_of(value)])

    def store_text(store: Store, indent: str) -> str:
        value = value_text(store.value, indent)
        guard = "" if store.guard is None else f" if {text(store.guard, indent)}"
        return f"{store.buffer}[{place(store.index, indent)}] = {value}{guard}"

    def loop_line(loop: Loop, note: str) -> str:
        by = f" by {kernel.tiles[loop]}" if loop in kernel.tiles else ""
        return f"for {loop} in {loop.extent}{' vector' if loop is kernel.vector else ''}{by}{note}:"

    depth = ""
    lines.append(f"kernel width={kernel.width}:")
    depth = "  "
    for i, loop in enumerate(kernel.kept):
        lines.append(depth + loop_line(loop, " parallel" if i < kernel.tasks else ""))
        depth += "  "
        if kernel.panel is not None and i == kernel.tasks - 1:
            loops = ", ".join([str(k) for k in kernel.panel.index.terms])
            lines.append(f"{depth}for {loops}: {store_text(kernel.panel, depth)}")
    for p in kernel.passes:
        inner = depth
        for r in p.recurrences:
            lines.append(f"{inner}{r} = {', '.join([text(v, inner) for v in r.initial])}")
        if p.stores or p.reducers or p.recurrences:
            for loop in kernel.reduced:
                lines.append(inner + loop_line(loop, " reduce"))
                inner += "  "
            if p.condition is not None:
                lines.append(f"{inner}while {text(p.condition, inner)}")
            for r in p.recurrences:
                lines.append(f"{inner}{r} <- {', '.join([text(v, inner) for v in r.following])}")
            for reducer in p.reducers:
                value = ", ".join([text(v, inner) for v in reducer.values])
                lines.append(f"{inner}{reducer} <- {_combining(reducer)} {value}")
            for store in p.stores:
                lines.append(inner + store_text(store, inner))
        for store in p.after:
            lines.append(depth + store_text(store, depth))
    return "\n".join(lines)


def _combining(reducer: Reducer) -> str:
    """The operations that combine values: `add`, `max`."""
    combined = reducer.combine(reducer.identity, reducer.values)
    return ".".join([part.op for part in combined])


# ------------------------------------------------------------------------------ validation
def validate(kernel: Kernel) -> None:
    """Raise AssertionError where a kernel is not well formed."""
    loops = {*kernel.kept, *kernel.reduced}
    assert kernel.vector in loops, f"the vector loop {kernel.vector} is not a loop of the kernel"
    assert len(loops) == len(kernel.kept) + len(kernel.reduced), "a loop occurs twice"
    kept = set(kernel.kept)
    if kernel.tiles:
        _check_tiles(kernel)
    done: set[Any] = set()
    for p in kernel.passes:
        done.update([("current", id(r)) for r in p.recurrences])
        for reducer in p.reducers:
            for value, identity in zip(reducer.values, reducer.identity, strict=True):
                assert value.dtype == identity.dtype, f"{reducer}: {value.dtype}, {identity.dtype}"
        _check_values([v for r in p.reducers for v in r.values], loops, done)
        running = {id(r) for r in p.reducers} if kernel.vector in kept else set()
        for store in p.stores:
            _check_store(store, loops, done, running)
        for r in p.recurrences:
            _check_values([*r.initial], kept, done)
            _check_values([*r.following], loops, done)
        done.update([id(r) for r in (*p.reducers, *p.recurrences)])
        for store in p.after:
            _check_store(store, kept, done)
    for buffer, index in accesses(kernel):
        bounds = index.range()
        if bounds is not None and not any([loop.extent == 0 for loop in loops]):
            guarded = bounds[0] < 0 or bounds[1] >= max(buffer.size, 1)
            assert not guarded or _only_guarded(kernel, buffer, index), (
                f"{buffer}[{index}] runs over {bounds}, of {buffer.size} elements"
            )


def _only_guarded(kernel: Kernel, buffer: Buffer, index: Index) -> bool:
    loads = [e for e in walk(list(kernel.roots())) if e.op == "load"]
    guarded = [e.args for e in loads if e.param[0] is buffer and e.param[1] == index]
    stores = [s.guard for s in kernel.stores() if s.buffer is buffer and s.index == index]
    return all(guarded) and None not in stores


def _check_tiles(kernel: Kernel) -> None:
    own = [] if kernel.panel is None else [kernel.panel.buffer]
    assert kernel.scratch == own, "copies of a tile would share scratch"
    assert not any([p.recurrences for p in kernel.passes]), "a recurrence is not tiled"
    tasks = kernel.kept[: kernel.tasks]
    for loop, size in kernel.tiles.items():
        assert loop in kernel.kept and size >= 1, f"the tile {size} of {loop}"
        if loop in tasks and len(tasks) > 1:
            whole = loop.extent % size == 0 and loop is tasks[-1]
            assert whole, f"a task would begin within a tile of {loop}"


def _check_store(
    store: Store, loops: set[Loop], done: set[Any], running: Set[int] = frozenset()
) -> None:
    assert store.index.loops() <= loops, f"{store.buffer}[{store.index}] uses an outside loop"
    for part in parts_of(store.value):
        assert part.dtype == REGISTER[store.buffer.dtype], f"{store.buffer}: {part.dtype}"
    _check_values(store.exprs(), loops, done, running)


def _check_values(
    values: list[Expr], loops: set[Loop], done: set[Any], running: Set[int] = frozenset()
) -> None:
    for expr in walk(values):
        used: Any = None
        if expr.op == "acc":
            assert id(expr.param[0]) in done, f"{expr.param[0]} is used before it is complete"
        elif expr.op == "current":
            assert ("current", id(expr.param[0])) in done, f"{expr.param[0]} does not run yet"
        elif expr.op == "running":
            assert id(expr.param[0]) in running, f"{expr.param[0]} does not run in this pass"
        elif expr.op == "load":
            used = expr.param[1]
        elif expr.op == "index":
            used = expr.param
        if used is not None:
            assert used.loops() <= loops, f"{used} uses an outside loop"
