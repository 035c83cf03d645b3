"""Fusion: which eqns of a program are computed together, in one kernel.

Most values are never stored: they are recomputed, as expressions, where they are read. *Anchors*
are those that may have to be stored: results of reductions, outputs of the program, operands of
calls, and what is read in several places and costs more than reading it. Anchors over the same
loops, which read each other at the same place only, form a cluster; a cluster becomes a kernel.

A cluster's domain is the shape of its largest anchors; its reductions share which of the domain's
dimensions are reduced. So softmax or a layer norm, written with NumPy's operations, is one
cluster: the anchors over whole rows, and the row's reductions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from nr.backends.compiler.expr import Complex, Expr, const
from nr.backends.compiler.index import (
    Index,
    Loop,
    flatten,
    index_of,
    reindexed,
    strides_of,
    unflatten,
)
from nr.backends.compiler.loops import Buffer, Reducer, load
from nr.backends.compiler.lowering.rules import (
    ELEMENT,
    KERNELS,
    REDUCTION,
    Value,
    buffer_for,
    constant,
    storage,
)
from nr.backends.compiler.matmul import Body, Layout, is_product, layout
from nr.backends.compiler.pieces import Piece, pieces_of
from nr.backends.compiler.simplify import reshaped
from nr.backends.compiler.updates import Updates
from nr.core.array import as_host
from nr.core.jaxprs import Atom, JaxprEqn, Literal, Var

# An anchor is made of what costs more than this many operations and is read more than once.
_SHARED_COST = 6.0
# Expressions longer than this are cut, so that kernels stay small.
_LONGEST = 300.0
# A reduction of at most this many elements is written out.
_WRITTEN_OUT = 8
# Kernels touch no more than this many buffers, and compute no more than so many anchors.
_MOST_BUFFERS = 40
_MOST_ANCHORS = 32
# Reductions to fewer rows than this, or to columns no more than that, are split.
_SPLIT_SIZE = 1 << 16
_FEW_ROWS = 16
_SPLIT_COLUMNS = 1 << 14
# So are gradients of weights of convolutions, sums of so many products or more, for so many weights
# at most.
_SPLIT_SUMS = 1 << 10
_SPLIT_RESULTS = 1 << 22
# A scalar is computed once a kernel, so it may cost more before it is stored.
_SCALAR_COST = 100.0


@final
@dataclass(slots=True, eq=False)
class Call:
    """An eqn that is not loops: a library call, a loop, a branch, a row of the table."""

    eqn: JaxprEqn


@final
@dataclass(slots=True, eq=False)
class Cluster:
    """Eqns that become one kernel.

    `shape` and `loops` are its domain, outermost first; `full` and `kept` the values computed at
    each point of it, or of its kept loops, and `pieces` those of which several elements are, with
    their places.
    """

    shape: tuple[int, ...]
    loops: list[Loop]
    full: dict[Var, Value] = field(default_factory=dict)
    kept: dict[Var, Value] = field(default_factory=dict)
    pieces: dict[Var, list[tuple[Index, Value]]] = field(default_factory=dict)
    reducers: list[Reducer] = field(default_factory=list)
    order: list[Var] = field(default_factory=list)
    reads: set[Var] = field(default_factory=set)
    group: Any = None
    stored: list[Var] = field(default_factory=list)
    weights: bool = False  # whether it has gradients of a convolution's weights
    product: JaxprEqn | None = None  # its first matrix product in tiles

    @property
    def reduces(self) -> bool:
        """Whether it has reductions."""
        return any([loop.reduced for loop in self.loops])

    @property
    def kept_loops(self) -> list[Loop]:
        """The loops whose values are not combined."""
        return [loop for loop in self.loops if not loop.reduced]

    @property
    def split(self) -> bool:
        """Whether its reductions are long and few: they are combined in two steps then, and
        nothing in the cluster can read them."""
        size = math.prod(self.shape)
        if size < _SPLIT_SIZE or not self.reduces:
            return False
        rows = size // self.kept_size
        if self.weights:  # many products: parts of the images stay in cache
            return rows >= _SPLIT_SUMS and self.kept_size <= _SPLIT_RESULTS
        columns = not self.loops[-1].reduced and self.kept_size <= _SPLIT_COLUMNS
        return rows >= 64 if columns else self.kept_size < _FEW_ROWS

    @property
    def kept_size(self) -> int:
        """How many points its kept loops have."""
        return math.prod([loop.extent for loop in self.kept_loops])

    def reduce(self, flags: Sequence[bool]) -> None:
        """Say which of its loops are reduced."""
        for loop, flag in zip(self.loops, flags, strict=True):
            loop.reduced = flag


class _Apart(Exception):
    """An anchor reads another of the cluster at another place than its own."""


class Graph:
    """The eqns of a jaxpr, sorted into clusters and calls."""

    def __init__(
        self, jaxpr: Body, is_call: Callable[[JaxprEqn], bool], groups: dict[int, Any],
        updates: Updates,
    ) -> None:  # fmt: skip
        self.jaxpr = jaxpr
        self.updates = updates
        self.groups = groups
        self.producer: dict[Var, JaxprEqn] = {v: q for q in jaxpr.eqns for v in q.outvars}
        self.calls = {id(q): Call(q) for q in jaxpr.eqns if is_call(q) or id(q) in updates.eqns}
        self.alias: dict[Var, Var] = {}
        self.buffers: dict[Var, Buffer] = {}
        self.anchors: set[Var] = set()
        self.needed: set[Var] = set()
        self.wanted: set[Var] = set()
        self.home: dict[Var, Cluster | Call] = {}
        self.pieces: dict[Var, Sequence[Piece]] = {}
        self.products: dict[int, Any] = {}
        self.before: dict[Cluster | Call, set] = {}
        self.units: list[Cluster | Call] = []
        self._find_aliases()

    def form(self) -> None:
        """Sort the eqns; `buffers` must hold those of inputs, constants and outputs by then."""
        self._find_anchors()
        for eqn in self.jaxpr.eqns:
            self._place(eqn)
        self._find_stored()

    # ------------------------------------------------------------------ what is an anchor
    def root(self, var: Var) -> Var:
        """The value in whose memory a value lies."""
        while var in self.alias:
            var = self.alias[var]
        return var

    def _find_aliases(self) -> None:
        """Values that are others with another shape share their memory."""
        for eqn in self.jaxpr.eqns:
            operand = reshaped(eqn)
            if operand is not None:
                self.alias[eqn.outvars[0]] = operand

    def _find_anchors(self) -> None:
        self.needed.update([self.root(a) for a in self.jaxpr.outvars if type(a) is Var])
        self.needed.update([self.root(v) for v in self.updates.kept])
        for call in self.calls.values():
            self.needed.update(self.call_reads(call.eqn))
        for eqn in self.jaxpr.eqns:
            if "stored" in eqn.params:
                self.needed.update([self.root(v) for v in eqn.outvars])
            if "tiled" in eqn.params:  # its loops read what they read many times
                self.needed.update([self._stored_below(a) for a in eqn.invars if type(a) is Var])
        uses, spread = self._uses(), self._spread()
        cost: dict[Var, float] = {}
        for eqn in self.jaxpr.eqns:
            if id(eqn) in self.calls:
                continue
            if self.reduces(eqn):
                self.anchors.update(eqn.outvars)
                cost.update(dict.fromkeys(eqn.outvars, 0.0))
                continue
            rule = ELEMENT.get(eqn.primitive.name)
            own = rule.cost if rule is not None else 2.0 * _reduced_size(eqn)
            operands = {a for a in eqn.invars if type(a) is Var}
            total = own + sum([cost.get(self.root(a), 0.0) for a in operands])
            for out in eqn.outvars:
                if out in self.alias:
                    continue
                dear = _worth_storing(out, total, uses.get(out, 0), spread.get(out, 1.0))
                if dear or out in self.needed:
                    self.anchors.add(out)
                    cost[out] = 0.0
                else:
                    cost[out] = total
        self.anchors |= {v for v in self.needed if not self.is_stored(v)}
        for eqn in self.jaxpr.eqns:
            if eqn.outvars and eqn.outvars[0] in self.anchors:
                pieces = pieces_of(eqn, self._inner)
                if pieces:
                    self.pieces[eqn.outvars[0]] = pieces

    def _inner(self, var: Var) -> JaxprEqn | None:
        """The eqn that computes a value where it is used."""
        root = self.root(var)
        return None if self.is_stored(root) else self.producer[root]

    def _stored_below(self, var: Var) -> Var:
        """What a value's elements lie in, once transposes and the like are read through."""
        root = self.root(var)
        eqn = self.producer.get(root)
        if eqn is None or eqn.primitive.name not in _VIEWS or type(eqn.invars[0]) is not Var:
            return root
        return self._stored_below(eqn.invars[0])

    def _uses(self) -> dict[Var, int]:
        """How many eqns read a value, those excepted that only give it another shape."""
        uses: dict[Var, int] = {}
        for eqn in self.jaxpr.eqns:
            if eqn.outvars and eqn.outvars[0] in self.alias:
                continue
            for var in {a for a in eqn.invars if type(a) is Var}:
                root = self.root(var)
                uses[root] = uses.get(root, 0) + 1
        return uses

    def _spread(self) -> dict[Var, float]:
        """How often an element of a value is read by the eqn that reads it most often."""
        spread: dict[Var, float] = {}
        for eqn in self.jaxpr.eqns:
            if id(eqn) in self.calls:
                continue
            for a in eqn.invars:
                if type(a) is Var:
                    root = self.root(a)
                    spread[root] = max(spread.get(root, 1.0), _spread(eqn, a))
        return spread

    def call_reads(self, eqn: JaxprEqn) -> list[Var]:
        """The stored values a call reads."""
        if is_product(eqn):
            (a, _), (b, _), _ = self.product_operands(eqn)
            return [a, b]
        return [
            self.root(a) for k, a in enumerate(eqn.invars)
            if type(a) is Var and self.filling(eqn, k) is None
        ]  # fmt: skip

    def filling(self, eqn: JaxprEqn, k: int) -> Literal | None:
        """The one number that an operand is full of, or counts from, where kernels of its own take
        that instead."""
        operand, rule = eqn.invars[k], KERNELS.get(eqn.primitive.name)
        if rule is None or isinstance(operand, Literal) or not rule.supports(eqn):
            return None
        maker = self.producer.get(operand)
        if maker is None:
            return None
        if rule.counts is not None and rule.counts(eqn, k, self.producer):
            return Literal(np.zeros((), operand.aval.dtype))
        if maker.primitive.name != "broadcast_in_dim" or k not in rule.fillings:
            return None
        (number,) = maker.invars
        return number if type(number) is Literal and not number.aval.shape else None

    def product_operands(self, eqn: JaxprEqn) -> tuple[tuple[Var, int], tuple[Var, int], Layout]:
        """What a matrix product reads, as stored values and offsets, and how it is called."""
        found = self.products.get(id(eqn))
        if found is None:
            operands = [a for a in eqn.invars if type(a) is Var]
            plain = [(self.root(a), 0, strides_of(a.aval.shape)) for a in operands]
            views = [self._view(a) or p for a, p in zip(operands, plain, strict=True)]
            for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
                left, right = (plain if a else views)[0], (plain if b else views)[1]
                one = layout(eqn, left[2], right[2])
                if one is not None:
                    found = self.products[id(eqn)] = (left[:2], right[:2], one)
                    break
        assert found is not None, (
            "prepare() has made the operands such that panels can be made of them"
        )
        return found

    def _view(self, var: Var) -> tuple[Var, int, list[int]] | None:
        """A value as a strided view of another: that one, an offset, and the strides."""
        loops = [Loop(f"v{d}", n) for d, n in enumerate(var.aval.shape)]
        views = _Views(self)
        try:
            views.value(var, tuple([index_of(loop) for loop in loops]))
        except _Apart:
            return None
        assert views.found is not None
        root, index = views.found
        if any([type(atom) is not Loop for atom in index.terms]):
            return None
        return root, index.offset, [index.terms.get(loop, 0) for loop in loops]

    def reduces(self, eqn: JaxprEqn) -> bool:
        """Whether an eqn is a reduction, too long to be written out."""
        return eqn.primitive.name in REDUCTION and not _written_out(eqn)

    # ------------------------------------------------------------------ clusters
    def _place(self, eqn: JaxprEqn) -> None:
        call = self.calls.get(id(eqn))
        if call is not None:
            self.units.append(call)
            before: set = set()
            for var in self.call_reads(eqn):
                self._depend(before, var)
            if id(eqn) in self.updates.eqns:  # what has read its operand so far comes before
                operand = self.updated(eqn)
                for unit in self._recent(len(self.units)):
                    if operand in unit.reads:
                        before |= {unit, *self.before[unit]}
            self.before[call] = before
            for out in eqn.outvars:
                self.home[out] = call
            return
        for out in eqn.outvars:
            if out in self.anchors:
                self._place_anchor(eqn, out)

    def _depend(self, before: set, var: Var) -> None:
        """Add what computes a stored value, and all that comes before it."""
        home = self.home.get(var)
        if home is not None and home not in before:
            before.add(home)
            before |= self.before[home]

    def _place_anchor(self, eqn: JaxprEqn, out: Var) -> None:
        if out.aval.size == 0:  # there is nothing to compute, and no element to read
            self.home[out] = empty = Cluster((0,), [])
            self.before[empty] = set()
            return
        reads = self._sources(eqn)
        shape, reduced = self._domain(eqn, out)
        # Products in tiles that have nothing in common would share one's registers and cache.
        alike = any(reduced) and "tiled" not in eqn.params
        for cluster in self._candidates(reads, shape, alike):
            apart = cluster.product is not None and _apart(cluster.product, eqn)
            if not apart and self._joins(cluster, eqn, out, reads):
                return
        loops = [
            Loop(f"i{d}", n, reduced=r) for d, (n, r) in enumerate(zip(shape, reduced, strict=True))
        ]
        cluster = Cluster(shape, loops, group=self.groups.get(id(eqn)))
        joined = self._evaluate_into(cluster, eqn, out)
        assert joined
        self._settle(cluster, out, reads)
        self.units.append(cluster)

    def _domain(self, eqn: JaxprEqn, out: Var) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        if self.reduces(eqn):
            return REDUCTION[eqn.primitive.name].domain(eqn)
        shape = (self.pieces[out][0].value if out in self.pieces else out).aval.shape
        return shape, (False,) * len(shape)

    def _sources(self, eqn: JaxprEqn) -> set[Var]:
        """The stored values an eqn's expressions read."""
        found: set[Var] = set()
        seen: set[Var] = set()
        stack = [a for a in eqn.invars if type(a) is Var]
        while stack:
            var = self.root(stack.pop())
            if var in seen:
                continue
            seen.add(var)
            if self.is_stored(var):
                found.add(var)
            else:
                stack += [a for a in self.producer[var].invars if type(a) is Var]
        return found

    def is_stored(self, var: Var) -> bool:
        """Whether a value may be in memory: an anchor, an input, a constant, a call's result."""
        eqn = self.producer.get(var)
        return eqn is None or id(eqn) in self.calls or var in self.anchors

    def _recent(self, n: int) -> list[Cluster]:
        """The clusters among the last n units, the latest first."""
        return [u for u in reversed(self.units[-n:]) if type(u) is Cluster]

    def _candidates(self, reads: set[Var], shape: tuple[int, ...], alike: bool) -> list[Cluster]:
        """Clusters to join: producers first, then those that read the same, or those over the same
        domain."""
        makers = {id(home) for v in reads if (home := self.home.get(v)) is not None}
        large = {v for v in reads if v.aval.size > 8}
        near = [u for u in self._recent(len(self.units)) if id(u) in makers]
        near += [u for u in self._recent(40) if id(u) not in makers and large & u.reads]
        same = [u for u in self._recent(12) if u.shape == shape and u not in near]
        return [*near[:6], *(same[:3] if alike else [])]

    def _joins(self, cluster: Cluster, eqn: JaxprEqn, out: Var, reads: set[Var]) -> bool:
        """Put an anchor into a cluster if it can be computed there."""
        if not self._may_join(cluster, eqn, reads):
            return False
        shape, reduced = self._domain(eqn, out)
        if 0 in shape or 0 in cluster.shape:
            return False
        known = [loop.reduced for loop in cluster.loops]
        if any(reduced):
            flags = _agreed(cluster, shape, reduced)
            if flags is None:
                return False
            cluster.reduce(flags)
        if self._evaluate_into(cluster, eqn, out):
            self._settle(cluster, out, reads)
            return True
        cluster.reduce(known)
        return False

    def _may_join(self, cluster: Cluster, eqn: JaxprEqn, reads: set[Var]) -> bool:
        """Whether an eqn belongs to the same checkpoint as a cluster, there is room in it, and
        what it reads from elsewhere does not come after the cluster."""
        if cluster.group is not self.groups.get(id(eqn)):
            return False
        if len(cluster.order) >= _MOST_ANCHORS or len(cluster.reads | reads) > _MOST_BUFFERS:
            return False
        before: set = set()
        self._depend_elsewhere(before, cluster, reads)
        return cluster not in before

    def _depend_elsewhere(self, before: set, cluster: Cluster, reads: set[Var]) -> None:
        """Add what computes stored values outside of a cluster, and all that comes before it."""
        for var in reads:
            if self.home.get(var) is not cluster:
                self._depend(before, var)

    def _settle(self, cluster: Cluster, out: Var, reads: set[Var]) -> None:
        """Note what a cluster with a new anchor comes after."""
        before = self.before.setdefault(cluster, set())
        self._depend_elsewhere(before, cluster, reads)
        # What comes after the cluster comes after what it now reads.
        for unit in self.units:
            if cluster in self.before[unit]:
                self.before[unit] |= before
        cluster.order.append(out)
        cluster.reads |= {v for v in reads if self.home.get(v) is not cluster}
        self.home[out] = cluster

    def _evaluate_into(self, cluster: Cluster, eqn: JaxprEqn, out: Var) -> bool:
        """Compute an anchor over a cluster's loops; False if it reads what it may not."""
        flat = flatten([index_of(loop) for loop in cluster.loops], cluster.shape)
        kept_loops = cluster.kept_loops
        kept = flatten([index_of(loop) for loop in kept_loops], [k.extent for k in kept_loops])
        reader = _Reader(self, cluster, flat, kept)
        try:
            if self.reduces(eqn):
                rule = REDUCTION[eqn.primitive.name]
                shape, _ = rule.domain(eqn)
                places = unflatten(flat, shape)
                if any([_mixes_loops(index) for index in places]):
                    return False
                values = rule.values(eqn, places, reader.operands(eqn))
                reducer = Reducer(
                    f"r{len(cluster.reducers)}", values, rule.identity(eqn), rule.combine
                )
                cluster.reducers.append(reducer)
                cluster.weights |= eqn.params.get("tiled") == "weights"
                if cluster.product is None and _is_tiled_product(eqn):
                    cluster.product = eqn
                if storage(out.aval.dtype) in ("c64", "c128"):
                    cluster.kept[out] = Complex(reducer.result(0), reducer.result(1))
                else:
                    cluster.kept[out] = reducer.result(len(values) - 1)
                return True
            pieces = self.pieces.get(out)
            if pieces is not None:
                if pieces[0].value.aval.size != math.prod(cluster.shape):
                    return False
                cluster.pieces[out] = [
                    (p.place(flat), reader.value(p.value, unflatten(flat, p.value.aval.shape)))
                    for p in pieces
                ]
                return True
            size = out.aval.size
            if size == math.prod(cluster.shape):
                places = unflatten(flat, out.aval.shape)
                if cluster.reducers and any([_mixes_loops(index) for index in places]):
                    return False
                cluster.full[out] = reader.element(out, places)
                return True
            if size == cluster.kept_size and not cluster.split:
                cluster.kept[out] = reader.element(out, unflatten(kept, out.aval.shape))
                return True
            return False
        except _Apart:
            return False

    def updated(self, eqn: JaxprEqn) -> Var:
        """The stored value that an update writes a part of."""
        operand = eqn.invars[0]
        assert type(operand) is Var
        return self.root(operand)

    def order_readers(self, replaced: Iterable[tuple[Var, Atom]]) -> None:
        """Put what reads a value before the unit that overwrites it, where it can come before.

        `replaced` are pairs of a value and its successor, in whose memory the latter should lie.
        """
        readers: dict[Var, list[Cluster | Call]] = {}
        for unit in self.units:
            for var in set(self.call_reads(unit.eqn) if type(unit) is Call else unit.reads):
                readers.setdefault(var, []).append(unit)
        writers: list[tuple[Var, Cluster | Call]] = [
            (self.updated(unit.eqn), unit)
            for unit in self.units
            if type(unit) is Call and id(unit.eqn) in self.updates.eqns
        ]
        for old, new in replaced:
            home = self.home.get(self.root(new)) if type(new) is Var else None
            if home is not None:
                writers.append((self.root(old), home))
        for var, writer in writers:
            for reader in readers.get(var, ()):
                if reader is not writer and writer not in self.before[reader]:
                    earlier = {reader, *self.before[reader]}
                    for unit in self.units:
                        if unit is writer or writer in self.before[unit]:
                            self.before[unit] |= earlier

    # ------------------------------------------------------------------ what is stored
    def _find_stored(self) -> None:
        wanted = set(self.needed)
        for unit in self.units:
            if type(unit) is Cluster:
                wanted |= unit.reads
        self.wanted = wanted
        for unit in self.units:
            if type(unit) is Cluster:
                unit.stored = [v for v in unit.order if v in wanted]

    def buffer(self, var: Var) -> Buffer:
        """The memory of a stored value."""
        var = self.root(var)
        found = self.buffers.get(var)
        if found is None:
            found = self.buffers[var] = buffer_for(f"b{len(self.buffers)}", var.aval)
            eqn = self.producer.get(var)
            found.source = None if eqn is None else eqn.source
        return found


class Reads:
    """Reads elements of values that are not stored: what element rules are given."""

    def __init__(self) -> None:
        self.known: dict[tuple, Any] = {}
        self.guard: Expr | None = None
        self.producer: dict[Var, JaxprEqn] = {}

    def value(self, var: Var, index: tuple[Index, ...]) -> Value:
        """An element of any value."""
        raise NotImplementedError

    def literal(self, atom: Literal) -> Value:
        """A constant of the program."""
        return constant(as_host(atom.val), atom.aval)

    def operands(self, eqn: JaxprEqn) -> Any:
        """The function by which an eqn's rule reads its operands."""

        def read(k: int, index: Sequence[Index], guard: Expr | None = None) -> Value:
            atom = eqn.invars[k]
            if isinstance(atom, Literal):
                return self.literal(atom)
            if guard is not None and guard.op == "const":
                if not guard.param:
                    return constant(0, atom.aval)
                guard = None
            outer = self.guard
            if guard is not None:
                self.guard = guard if outer is None else outer & guard
            try:
                return self.value(atom, tuple(index))
            finally:
                self.guard = outer

        return read

    def element(self, var: Var, index: tuple[Index, ...]) -> Value:
        """An element of a value that is not stored, computed."""
        key = (var, index, id(self.guard))
        found = self.known.get(key)
        if found is None:
            eqn = self.producer[var]
            if eqn.primitive.name in REDUCTION:
                result = self._sum_up(eqn, index)
            else:
                result = ELEMENT[eqn.primitive.name].rule(eqn, index, self.operands(eqn))
            if type(result) is tuple:
                result = result[eqn.outvars.index(var)]
            found = self.known[key] = result
        return found

    def _sum_up(self, eqn: JaxprEqn, index: tuple[Index, ...]) -> Value:
        """A short reduction, element after element."""
        rule = REDUCTION[eqn.primitive.name]
        shape, reduced = rule.domain(eqn)
        total = None
        extents = [n for n, r in zip(shape, reduced, strict=True) if r]
        for flat in range(math.prod(extents)):
            inner = iter(unflatten(index_of(flat), extents))
            outer = iter(index)
            loops = tuple([next(inner) if r else next(outer) for r in reduced])
            values = rule.values(eqn, loops, self.operands(eqn))
            total = values if total is None else rule.combine(total, values)
        if total is None:
            total = rule.identity(eqn)
        if storage(eqn.outvars[0].aval.dtype) in ("c64", "c128"):
            return Complex(*total)
        return total[-1]


_VIEWS = ("transpose", "slice", "reshape", "squeeze", "broadcast_in_dim")


class _Views(Reads):
    """Follows a value back through what only moves elements."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.producer = graph.producer
        self.found: tuple[Var, Index] | None = None

    def literal(self, atom: Literal) -> Value:
        raise _Apart

    def value(self, var: Var, index: tuple[Index, ...]) -> Value:
        root = self.graph.root(var)
        if root is not var:
            index = reindexed(index, var.aval.shape, root.aval.shape)
        eqn = self.producer.get(root)
        if eqn is not None and eqn.primitive.name in _VIEWS and eqn.outvars[0].aval.size:
            return self.element(root, index)
        self.found = root, flatten(index, root.aval.shape)
        return const(0, "f32")


class _Reader(Reads):
    """Reads elements of values for the expressions of a cluster."""

    def __init__(self, graph: Graph, cluster: Cluster, flat: Index, kept: Index) -> None:
        super().__init__()
        self.producer = graph.producer
        self.graph = graph
        self.cluster = cluster
        self.flat = flat
        self.kept = kept

    def value(self, var: Var, index: tuple[Index, ...]) -> Value:
        root = self.graph.root(var)
        if root is not var:
            index = reindexed(index, var.aval.shape, root.aval.shape)
            var = root
        cluster = self.cluster
        if var in cluster.full:
            if flatten(index, var.aval.shape) != self.flat:
                raise _Apart
            return cluster.full[var]
        if var in cluster.kept:
            if cluster.split or flatten(index, var.aval.shape) != self.kept:
                raise _Apart
            return cluster.kept[var]
        if self.graph.is_stored(var):
            if self.graph.home.get(var) is cluster:
                raise _Apart
            return load(self.graph.buffer(var), flatten(index, var.aval.shape), self.guard)
        return self.element(var, index)


def _mixes_loops(index: Index) -> bool:
    """Whether an index divides a sum of several loop variables: no splitting of loops undoes that,
    and neighbours in a loop would not be neighbours in memory."""
    return any([type(atom) is not Loop and len(atom.index.terms) > 1 for atom in index.terms])


def _written_out(eqn: JaxprEqn) -> bool:
    return _reduced_size(eqn) <= _WRITTEN_OUT


def _reduced_size(eqn: JaxprEqn) -> int:
    shape, reduced = REDUCTION[eqn.primitive.name].domain(eqn)
    return math.prod([n for n, r in zip(shape, reduced, strict=True) if r])


def _is_tiled_product(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name == "dot_general" and "tiled" in eqn.params


def _apart(one: JaxprEqn, other: JaxprEqn) -> bool:
    """Whether two matrix products in tiles have no operand in common that both read alike."""
    if not _is_tiled_product(other):
        return False
    dims = [eqn.params["dimension_numbers"] for eqn in (one, other)]
    return not any([
        one.invars[side] is other.invars[side]
        and [d[side] for d in dims[0]] == [d[side] for d in dims[1]]
        for side in (0, 1)
    ])  # fmt: skip


def _worth_storing(out: Var, cost: float, uses: int, times: float) -> bool:
    """Whether a value of some cost is better stored than computed by each of its readers, one of
    which reads every element so many times."""
    size = out.aval.size
    limit = _SHARED_COST if size > 1 else _SCALAR_COST
    if cost > _LONGEST or (uses > 1 and cost > limit):
        return True
    return times > 1 and cost > (limit if size == 1 else limit / min(times, 4))


def _spread(eqn: JaxprEqn, operand: Var) -> float:
    """How often an eqn reads each element of an operand, about."""
    name = eqn.primitive.name
    if name in ("concatenate", "pad", "dynamic_update_slice"):
        return 1.0
    if name == "gather" and operand is not eqn.invars[0]:
        return 1.0  # an index serves a whole slice
    if name in REDUCTION:
        points = math.prod(REDUCTION[name].domain(eqn)[0])
    else:
        points = sum([v.aval.size for v in eqn.outvars])
    return points / max(operand.aval.size, 1)


def _agreed(cluster: Cluster, shape: Sequence[int], reduced: Sequence[bool]) -> list[bool] | None:
    """Which of a cluster's loops a reduction in it reduces: None if the cluster's other values
    do not allow that."""
    flags = _project(shape, reduced, cluster.shape)
    if cluster.reduces:
        return flags if flags == [loop.reduced for loop in cluster.loops] else None
    return None if cluster.kept else flags


def _project(
    shape: Sequence[int], reduced: Sequence[bool], onto: Sequence[int]
) -> list[bool] | None:
    """Which dimensions of a shape of the same size are reduced; None if they are not whole."""
    if math.prod(shape) != math.prod(onto):
        return None
    # Runs of dimensions of one kind, as (first stride, stride after the last, kind).
    runs: list[tuple[int, int, bool]] = []
    stride = 1
    for n, r in reversed(list(zip(shape, reduced, strict=True))):
        if n != 1:
            runs.append((stride, stride * n, r))
        stride *= n
    flags = []
    stride = 1
    for n in reversed(onto):
        kinds = {r for low, high, r in runs if low < stride * n and high > stride}
        if n == 1:
            flags.append(False)
        elif len(kinds) == 1:
            flags.append(kinds.pop())
        else:
            return None
        stride *= n
    return flags[::-1]
