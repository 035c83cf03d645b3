"""From a cluster to kernels: passes, loops, the vector loop, and how wide it is.

Loops are split where that removes a division from an index, merged where that loses nothing, and
ordered. What is expensive and needed in two passes over a row is kept in a scratch buffer between
them. Long reductions to few values are done in two steps, whose shape does not depend on the
number of threads, so neither does the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nr.backends.compiler.borders import narrowed
from nr.backends.compiler.clusters import Cluster, Graph
from nr.backends.compiler.expr import NUMPY, Expr, node, select
from nr.backends.compiler.index import Div, Index, Loop, Mod, flatten, index_of, only_loop
from nr.backends.compiler.loops import (
    ITEMSIZE,
    REGISTER,
    Buffer,
    Kernel,
    Pass,
    Reducer,
    Store,
    accesses,
    fitted,
    load,
    operands_of,
    parts_of,
    walk,
)
from nr.backends.compiler.lowering.rules import in_range
from nr.backends.compiler.math import FUNCTIONS
from nr.backends.compiler.panels import add_panel, panel_width
from nr.backends.compiler.rewrite import Rewriter
from nr.backends.compiler.tiling import beside, fit_tasks, tile, tile_transposed

# From so many images on, a task takes whole ones, with what is computed for their windows before.
_IMAGES = 16
# Rows of more steps than this are hardly slower for how their results are stored.
_SHORT_ROW = 32
# A value is worth storing between passes from this many operations on.
_WORTH_KEEPING = 10
_MOST_SCRATCH = 1 << 18
# Partial results of a split reduction.
_PARTS = 32
# What a part reads, and all partial results, where that decides on the number of parts.
_IN_CACHE = 1 << 20
_MOST_PARTIAL = 1 << 27
_COSTLY = {"div": 6, "sqrt": 6, "rem": 20, "table": 8, "rarely": 4}


def schedule(graph: Graph, cluster: Cluster, vector_bytes: int) -> list[Kernel]:
    """The kernels that compute what a cluster stores."""
    full = flatten([index_of(loop) for loop in cluster.loops], cluster.shape)
    kept_loops = cluster.kept_loops
    kept = flatten([index_of(loop) for loop in kept_loops], [k.extent for k in kept_loops])
    stores, after = [], []
    for var in cluster.stored:
        if var in cluster.pieces:
            stores += [Store(graph.buffer(var), at, v) for at, v in cluster.pieces[var]]
        elif var in cluster.full:
            stores.append(Store(graph.buffer(var), full, cluster.full[var]))
        else:
            after.append(Store(graph.buffer(var), kept, cluster.kept[var]))
    draft = _Draft(list(cluster.loops), list(cluster.reducers), stores, after)
    if not cluster.split:
        return [_finish(draft, vector_bytes)]
    drafts = _split_reduction(draft, vector_bytes, near=cluster.weights)
    return [_finish(d, vector_bytes) for d in drafts]


class _Draft:
    """Loops, reductions and stores before they are put into passes."""

    def __init__(
        self, loops: list[Loop], reducers: list[Reducer], stores: list[Store], after: list[Store]
    ) -> None:
        self.loops = loops
        self.reducers = reducers
        self.stores = stores
        self.after = after

    def indices(self) -> list[Index]:
        roots = [v for r in self.reducers for v in r.values]
        found = []
        for store in (*self.stores, *self.after):
            found.append(store.index)
            roots += store.exprs()
        for expr in walk(roots):
            if expr.op == "load":
                found.append(expr.param[1])
            elif expr.op == "index":
                found.append(expr.param)
        return found

    def substitute(self, loops: list[Loop], replaced: dict[Loop, Index]) -> _Draft:
        """The draft over other loops."""
        rewrite = Rewriter(replaced)
        reducers = [rewrite.reducer(r) for r in self.reducers]
        return _Draft(
            loops, reducers, [rewrite.store(s) for s in self.stores],
            [rewrite.store(s) for s in self.after],
        )  # fmt: skip


# ------------------------------------------------------------------------------ loops
def _simplified(draft: _Draft, vector_bytes: int) -> tuple[_Draft, Loop | None]:
    """The draft with as few loops as do, of which none is divided but one through small groups."""
    draft = _drop_trivial(draft)
    found = _few_a_group(draft, vector_bytes)
    if found is None:
        return _merge_loops(_split_loops(draft)), None
    few, lanes = found
    if few.extent > lanes:
        draft, few = _split_loop(draft, few, lanes)
    return _merge_loops(draft), few


def _split_loops(draft: _Draft) -> _Draft:
    """Split loops whose variable is divided by something, until none is."""
    for _ in range(16):
        found = None
        for index in draft.indices():
            found = found or _divided_loop(index)
        if found is None:
            return draft
        draft, _ = _split_loop(draft, *found)
    return draft


def _split_loop(draft: _Draft, loop: Loop, width: int) -> tuple[_Draft, Loop]:
    """The draft with a loop around another, which has so many steps then; and that one."""
    outer = Loop(f"{loop}o", loop.extent // width, reduced=loop.reduced)
    inner = Loop(f"{loop}i", width, reduced=loop.reduced)
    at = draft.loops.index(loop)
    loops = [*draft.loops[:at], outer, inner, *draft.loops[at + 1 :]]
    return draft.substitute(loops, {loop: index_of(outer) * width + index_of(inner)}), inner


def _few_a_group(draft: _Draft, vector_bytes: int) -> tuple[Loop, int] | None:
    """A loop through groups of few results each, of which a vector may hold several: all that is
    divided is its variable, to find what a group reads. With how many of its steps are vectors of
    whole groups."""
    found: set[tuple[Loop, int]] = set()
    for index in draft.indices():
        for atom, c in index.terms.items():
            if type(atom) in (Div, Mod):
                inner = only_loop(atom.index)
                if type(atom) is Mod or inner is None or inner.reduced:
                    return None
                if not 0 < c <= atom.divisor:
                    return None
                found.add((inner, atom.divisor))
    if len(found) != 1:
        return None
    ((loop, few),) = found
    values = [v for r in draft.reducers for v in r.values]
    values += [v for store in draft.stores for v in parts_of(store.value)]
    lanes = vector_bytes // max([ITEMSIZE[v.dtype] for v in values], default=1)
    # Half a vector of results needs no lanes moved, which costs as much as to multiply them.
    most = lanes // 4 if draft.reducers else lanes
    if few > most:
        return None
    even = loop.extent % lanes == 0 or not draft.reducers  # the rest of a tile is read by gathers
    if lanes % few == 0 and loop.extent >= lanes and even:
        return loop, loop.extent
    whole = [n for n in range(2 * few, lanes + 1, few) if loop.extent % n == 0]
    return (loop, max(whole)) if whole else None


def _divided_loop(index: Index) -> tuple[Loop, int] | None:
    for atom in index.terms:
        if type(atom) in (Div, Mod):
            inner = atom.index
            for loop, c in inner.terms.items():
                if type(loop) is not Loop:
                    continue
                part = atom.divisor // math.gcd(atom.divisor, c)
                if 1 < part < loop.extent and loop.extent % part == 0:
                    return loop, part
            found = _divided_loop(inner)
            if found is not None:
                return found
    return None


def _drop_trivial(draft: _Draft) -> _Draft:
    trivial = {loop: Index({}) for loop in draft.loops if loop.extent == 1}
    if not trivial:
        return draft
    return draft.substitute([loop for loop in draft.loops if loop not in trivial], trivial)


def _merge_loops(draft: _Draft) -> _Draft:
    """Merge neighbours that every index steps through as one."""
    i = 0
    while i + 1 < len(draft.loops):
        outer, inner = draft.loops[i], draft.loops[i + 1]
        if outer.reduced == inner.reduced and all(
            [_steps_as_one(index, outer, inner) for index in draft.indices()]
        ):
            merged = Loop(str(outer), outer.extent * inner.extent, reduced=outer.reduced)
            loops = [*draft.loops[:i], merged, *draft.loops[i + 2 :]]
            draft = draft.substitute(loops, {outer: Index({}), inner: index_of(merged)})
        else:
            i += 1
    return draft


def _steps_as_one(index: Index, outer: Loop, inner: Loop) -> bool:
    for atom in index.terms:
        if type(atom) in (Div, Mod) and {outer, inner} & atom.index.loops():
            return False
    return index.terms.get(outer, 0) == inner.extent * index.terms.get(inner, 0)


# ------------------------------------------------------------------------------ kernels
def _finish(draft: _Draft, vector_bytes: int) -> Kernel:
    draft, few = _simplified(draft, vector_bytes)
    depends = _Depends()
    kernel, tiled = _kernel(draft, depends, vector_bytes, few)
    if few is not None and (kernel.vector is not few or draft.reducers and not tiled):
        draft = _merge_loops(_split_loops(draft))
        kernel, tiled = _kernel(draft, depends, vector_bytes)
    width = panel_width(kernel, depends) if tiled else 0
    if width:
        split, _ = _split_loop(draft, kernel.vector, width)
        cut, still_tiled = _kernel(split, depends, vector_bytes)
        if still_tiled and add_panel(cut, depends):
            fit_tasks(cut, depends)
            return cut
    if not tiled and tile_transposed(kernel, depends, vector_bytes // _lane_bytes(kernel)):
        return kernel
    kernel.tasks = _tasks(kernel, depends)
    if tiled:
        fit_tasks(kernel, depends)
    if len(kernel.passes) > 1 and kernel.vector.reduced:
        _keep_between_passes(kernel, depends)
    return kernel


def _kernel(
    draft: _Draft, depends: _Depends, vector_bytes: int, few: Loop | None = None
) -> tuple[Kernel, bool]:
    """The kernel of a draft, whose tasks are not decided; whether it is tiled."""
    loops = draft.loops
    vector = _choose_vector(draft, depends, few)
    if vector is None:
        vector = Loop("v", 1)
        loops = [vector]
    kept = [loop for loop in loops if not loop.reduced and loop is not vector]
    reduced = [loop for loop in loops if loop.reduced and loop is not vector]
    if vector.reduced:
        reduced.append(vector)
    else:
        kept.append(vector)
    passes = _passes(draft)
    kernel = Kernel(kept, reduced, vector, passes, 0, 1)
    tiled = tile(kernel, depends, vector_bytes)
    if not tiled:
        kernel.width = _width(kernel, vector_bytes)
    return kernel, tiled


def _passes(draft: _Draft) -> list[Pass]:
    stages: dict[int, int] = {}
    alive: list[Any] = []

    def stage(values: Sequence[Expr]) -> int:
        for e in walk(values):
            if id(e) not in stages:
                alive.append(e)
                if e.op == "acc":
                    stages[id(e)] = stages[id(e.param[0])] + 1
                else:
                    stages[id(e)] = max([stages[id(o)] for o in operands_of(e)], default=0)
        return max([stages[id(v)] for v in values], default=0)

    passes: list[Pass] = []

    def at(k: int) -> Pass:
        while len(passes) <= k:
            passes.append(Pass())
        return passes[k]

    for reducer in draft.reducers:
        k = stages[id(reducer)] = stage(reducer.values)
        at(k).reducers.append(reducer)
    for store in draft.stores:
        at(stage([*parts_of(store.value), *store.index.exprs()])).stores.append(store)
    for store in draft.after:
        at(max(stage(parts_of(store.value)) - 1, 0)).after.append(store)
    return passes


class _Depends:
    """Which loops an expression depends on."""

    def __init__(self) -> None:
        self.known: dict[int, frozenset[Loop]] = {}
        self.alive: list[Expr] = []

    def loops(self, expr: Expr) -> frozenset[Loop]:
        for e in walk([expr]):
            if id(e) not in self.known:
                found: set[Loop] = set()
                for operand in operands_of(e):
                    found |= self.known[id(operand)]
                if e.op == "load":
                    found |= e.param[1].loops()
                elif e.op == "index":
                    found |= e.param.loops()
                self.known[id(e)] = frozenset(found)
                self.alive.append(e)
        return self.known[id(expr)]

    def step(self, index: Index, loop: Loop) -> int | None:
        """How far an index moves a step of a loop; None if that is irregular."""
        for atom in index.terms:
            if type(atom) is Expr:
                if loop in self.loops(atom):
                    return None
            elif type(atom) is not Loop:
                inner = atom.index
                if loop in inner.loops() or any([loop in self.loops(e) for e in inner.exprs()]):
                    return None
        return index.terms.get(loop, 0)


def _choose_vector(draft: _Draft, depends: _Depends, few: Loop | None = None) -> Loop | None:
    """The loop along which most accesses are contiguous, or of few elements for all lanes."""
    places = [(store.index, 1.5) for store in draft.stores]
    inner = walk(
        [v for r in draft.reducers for v in r.values] + [e for s in draft.stores for e in s.exprs()]
    )
    places += [(e.param[1], 1.0) for e in inner if e.op == "load"]
    # What is stored once a row counts as one store, however many results a row has, and for
    # less the more steps a row has.
    steps = math.prod([loop.extent for loop in draft.loops if loop.reduced])
    rarely = min(_SHORT_ROW / max(steps, 1), 1)
    places += [(store.index, 1.5 * rarely / len(draft.after)) for store in draft.after]
    known = {id(e) for e in inner}
    after = walk([e for store in draft.after for e in store.exprs()])
    places += [(e.param[1], rarely) for e in after if e.op == "load" and id(e) not in known]
    best, best_score = None, -math.inf
    for loop in draft.loops:
        score = 0.0
        for index, weight in places:
            step = depends.step(index, loop)
            if step is None:
                score -= 0 if loop is few else 2 * weight
            elif abs(step) == 1:
                score += weight
            elif step == 0:
                score += 0.3 * weight
            else:
                score -= 1.5 * weight
        if loop.extent < 8:
            score -= 3 if loop.extent < 4 else 1.5
        if score >= best_score:
            best, best_score = loop, score
    return best


def _lane_bytes(kernel: Kernel) -> int:
    sizes = [
        NUMPY[e.dtype].itemsize
        for e in walk(list(kernel.roots()))
        if e.op not in ("index", "const")
    ]
    return max(sizes, default=4)


# Registers that values may take; where there are fewer, some go to memory, which costs less than
# waiting for results. And how many values a function has at a time.
_REGISTERS = 40
_IN_FUNCTIONS = 4


def _registers_each(kernel: Kernel) -> int:
    """1, 2 or 4: how many registers each value may take, for all that are live to fit in them."""
    if kernel.reduced:
        return 1
    order = walk([e for s in kernel.stores() for e in s.exprs()], emitted=True)
    last = {id(operand): k for k, e in enumerate(order) for operand in operands_of(e)}
    varying: set[int] = set()
    ends: dict[int, int] = {}
    live = most = 0
    for k, e in enumerate(order):
        index = e.param[1] if e.op == "load" else e.param if e.op == "index" else None
        of_lanes = index is not None and kernel.vector in index.loops()
        if of_lanes or any([id(o) in varying for o in operands_of(e)]):
            varying.add(id(e))
            live += 1
            most = max(most, live + (_IN_FUNCTIONS if e.op in FUNCTIONS else 0))
            end = last.get(id(e), k)
            ends[end] = ends.get(end, 0) + 1
        live -= ends.get(k, 0)
    return next((k for k in (4, 2) if k * most <= _REGISTERS), 1)


def _width(kernel: Kernel, vector_bytes: int) -> int:
    """Lanes: several registers' worth where the body is short, so that latencies overlap."""
    nodes = [e for e in walk(list(kernel.roots())) if e.op not in ("const", "load", "index", "acc")]
    count = sum([12 if e.op in FUNCTIONS else 1 for e in nodes])
    lanes = vector_bytes // max(_lane_bytes(kernel), 1 if count < 10 else 2)
    least = 4 if count <= 40 else 2 if count <= 120 else 1
    lanes *= max(least, _registers_each(kernel))
    lanes = min(lanes, 64)
    if kernel.reduced and not kernel.vector.reduced and count <= 3:
        # Sums of columns wait for memory: the longer the pieces of rows, the better.
        lanes *= vector_bytes // 16
    lanes = fitted(lanes, kernel.vector.extent)
    return max(narrowed(kernel, lanes, vector_bytes // _lane_bytes(kernel)), 1)


def _overlap(loop: Loop, kernel: Kernel) -> bool:
    """Whether steps of a loop read what others read, as neighbouring windows do."""
    read = walk([v for p in kernel.passes for r in p.reducers for v in r.values])
    return any([loop in beside(e, step) for e in read for step in kernel.reduced])


def _tasks(kernel: Kernel, depends: _Depends) -> int:
    """How many of the outermost kept loops are flattened into parallel tasks."""
    outer = [loop for loop in kernel.kept if loop is not kernel.vector]
    units = 1
    # Where loads jump from lane to lane, as in a transpose, the vector loop goes outside: then
    # the lines that its lanes touch are read to their end.
    strided = (
        outer
        and not kernel.vector.reduced
        and kernel.vector.extent >= 32
        and any([abs(depends.step(index, kernel.vector) or 0) > 1 for _, index in accesses(kernel)])
    )
    for i, loop in enumerate(outer):
        units *= loop.extent
        if units >= 64 and not strided:
            return i + 1
        if units >= _IMAGES and not strided and any([_overlap(k, kernel) for k in outer[i + 1 :]]):
            return i + 1
    if strided or (not kernel.vector.reduced and kernel.vector.extent >= max(16 * units, 512)):
        # Few rows, long vectors: the range of the vector loop is what is shared out.
        kernel.kept = [kernel.vector, *outer]
        return 1
    return len(outer)


# ------------------------------------------------------------------------------ scratch
def _keep_between_passes(kernel: Kernel, depends: _Depends) -> None:
    """Store what several passes over a row need, where it costs more than reading it back."""
    length = math.prod([loop.extent for loop in kernel.reduced])
    reduced = set(kernel.reduced)
    place = flatten([index_of(k) for k in kernel.reduced], [k.extent for k in kernel.reduced])

    def roots_of(p: Pass) -> list[Expr]:
        roots = [v for r in p.reducers for v in r.values]
        for store in p.stores:
            roots += parts_of(store.value)
        return roots

    for k, p in enumerate(kernel.passes[:-1]):
        mine = {id(e): e for e in walk(roots_of(p))}
        later = walk([r for q in kernel.passes[k + 1 :] for r in roots_of(q)])
        common = {id(e) for e in later if id(e) in mine and depends.loops(e) & reduced}
        inner = {id(o) for e in later if id(e) in common for o in operands_of(e)}
        shared_tops = [
            e
            for e in later
            if id(e) in common and (id(e) not in inner or _read_elsewhere(e, later, common))
        ]
        costs = _costs(later)
        tops = [e for e in shared_tops if costs[id(e)] >= _WORTH_KEEPING]
        replaced: dict[int, Expr] = {}
        for e in tops:
            stored = next(
                (
                    s
                    for s in p.stores
                    if s.value is e and REGISTER[s.buffer.dtype] == e.dtype == s.buffer.dtype
                ),
                None,
            )
            if stored is not None:
                value = load(stored.buffer, stored.index)
            else:
                buffer = Buffer(f"s{len(kernel.scratch)}", e.dtype, length)
                if sum([b.nbytes for b in kernel.scratch]) + buffer.nbytes > _MOST_SCRATCH:
                    continue
                kernel.scratch.append(buffer)
                p.stores.append(Store(buffer, place, e))
                value = load(buffer, place)
            assert isinstance(value, Expr)
            replaced[id(e)] = value
        if replaced:
            _replace_after(kernel, k, replaced)


def _read_elsewhere(e: Expr, later: list[Expr], common: set[int]) -> bool:
    """Whether something that is not common reads a common expression."""
    return any([id(o) not in common and e in operands_of(o) for o in later])


def _replace_after(kernel: Kernel, k: int, replaced: dict[int, Expr]) -> None:
    rewrite = Rewriter({}, replaced)
    for q in kernel.passes[: k + 1]:
        for reducer in q.reducers:
            rewrite.reducers[id(reducer)] = reducer
    q = kernel.passes[k]
    for q in kernel.passes[k + 1 :]:
        for i, reducer in enumerate(q.reducers):
            # In place: accumulators that refer to it stay its own.
            q.reducers[i].values = tuple([rewrite.expr(v) for v in reducer.values])
        q.stores = [rewrite.store(s) for s in q.stores]
        q.after = [rewrite.store(s) for s in q.after]


def _costs(order: list[Expr]) -> dict[int, float]:
    cost: dict[int, float] = {}
    for e in order:
        own = (
            0
            if e.op in ("const", "load", "index", "acc")
            else _COSTLY.get(e.op, 12 if e.op in FUNCTIONS else 1)
        )
        cost[id(e)] = own + sum([cost.get(id(o), 0) for o in operands_of(e)])
    return cost


# ------------------------------------------------------------------------------ split reductions
def _parts_in_cache(draft: _Draft, loop: Loop) -> int:
    """In how many parts of one length a loop is to be done for what each reads to stay in cache."""
    depends = _Depends()
    loads = [e for e in walk([v for r in draft.reducers for v in r.values]) if e.op == "load"]
    read = sum([
        math.prod([k.extent for k in depends.loops(e)]) * ITEMSIZE[e.param[0].dtype] for e in loads
    ])  # fmt: skip
    results = 8 * math.prod([k.extent for k in draft.loops if not k.reduced])
    even = [
        k for k in range(1, _PARTS + 1) if loop.extent % k == 0 and k * results <= _MOST_PARTIAL
    ]
    enough = [k for k in even if k >= _PARTS // 4 and read <= k * _IN_CACHE]
    return min(enough, default=max(even, default=1))


def _split_reduction(draft: _Draft, vector_bytes: int, *, near: bool = False) -> list[_Draft]:
    """Two drafts: the reductions over parts of the longest reduced loop, and over the parts.

    With `near`, the parts are such that what they read stays in cache.
    """
    draft, _ = _simplified(draft, vector_bytes)
    longest = max([loop for loop in draft.loops if loop.reduced], key=lambda loop: loop.extent)
    # Parts of one length need no test of whether they have ended.
    parts = max([k for k in range(1, _PARTS + 1) if longest.extent % k == 0])
    if near:
        parts = _parts_in_cache(draft, longest)
        if parts == 1:
            return [draft]
    elif parts < _PARTS // 4:
        parts = min(_PARTS, longest.extent)
    step = -(-longest.extent // parts)
    parts = -(-longest.extent // step)
    part, inner = Loop("part", parts), Loop(str(longest), step, reduced=True)
    at = index_of(part) * step + index_of(inner)
    loops = [part, *[inner if loop is longest else loop for loop in draft.loops]]
    inside = in_range(at, 0, longest.extent)
    first = draft.substitute(loops, {longest: at})
    if inside is not None:
        first = _guarded(first, inside)
    kept = [loop for loop in draft.loops if not loop.reduced]
    size = math.prod([loop.extent for loop in kept])
    place = flatten([index_of(k) for k in kept], [k.extent for k in kept])
    outer = [Loop(loop.name, loop.extent) for loop in kept]
    over = Loop("part", parts, reduced=True)
    partial_place = flatten([index_of(k) for k in outer], [k.extent for k in outer])
    reducers, results = [], {}
    for old, new in zip(draft.reducers, first.reducers, strict=True):
        values: list[Expr] = []
        for k, value in enumerate(new.values):
            buffer = Buffer(f"{old}.{k}.parts", value.dtype, parts * size)
            first.after.append(Store(buffer, index_of(part) * size + place, new.result(k)))
            values += parts_of(load(buffer, index_of(over) * size + partial_place))
        reducer = Reducer(old.name, tuple(values), old.identity, old.combine)
        reducers.append(reducer)
        results[id(old)] = reducer
    rewrite = Rewriter({a: index_of(b) for a, b in zip(kept, outer, strict=True)})
    rewrite.reducers = results
    after = [rewrite.store(s) for s in draft.after]
    first.after = first.after[len(draft.after) :]
    return [first, _Draft([*outer, over], reducers, [], after)]


def _guarded(draft: _Draft, inside: Expr) -> _Draft:
    """With nothing read, counted or written where the condition does not hold."""
    rewrite = _Guard(inside)
    reducers = []
    for r in draft.reducers:
        values = [rewrite.expr(v) for v in r.values]
        kept = [select(inside, v, i) for v, i in zip(values, r.identity, strict=True)]
        reducers.append(Reducer(r.name, tuple(kept), r.identity, r.combine))
    stores = [rewrite.store(s) for s in draft.stores]
    for store in stores:
        store.guard = inside
    return _Draft(draft.loops, reducers, stores, draft.after)


class _Guard(Rewriter):
    """Lets loads happen only where a condition holds."""

    def __init__(self, inside: Expr) -> None:
        super().__init__({})
        self.inside = inside

    def _one(self, e: Expr) -> Expr:
        rebuilt = super()._one(e)
        if e.op != "load":
            return rebuilt
        guard = rebuilt.args[0] & self.inside if rebuilt.args else self.inside
        return node("load", (guard,), e.dtype, rebuilt.param)
