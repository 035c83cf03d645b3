"""Big intermediates that are computed a block of rows at a time, as the scores of attention.

Where a product is much larger than its operands, what is computed from it is usually made small
again: rows of scores become rows of probabilities, and their products with values. All of these
eqns act on each row by itself. Such a region of the program becomes a scan over blocks of rows:

- operands that have the rows are cut, others are read whole;
- results that have the rows are stacked; those in which rows are summed up are carries.

What lies between two parts of a region, as the loss between attention and its gradient, makes
them two loops. Big values that both need are computed again in the second, from what is small:
operands, and statistics of rows (maxima, sums), which the first loop gives as further results.

Batch dimensions are rows as well, and the better ones: nothing is summed up over them. The loop's
body is looked at in the same way, so that blocks of rows come within blocks of the batch.
"""

from __future__ import annotations

import heapq
import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.backends.compiler.drawn import with_bits_by_place
from nr.backends.compiler.matmul import sizes
from nr.backends.compiler.rowwise import (
    Axis,
    Writer,
    axis_of_operand,
    axis_of_result,
    axis_of_whole,
    in_block,
    resized,
    sum_dtype,
)
from nr.backends.compiler.simplify import eliminate_dead_code, simplify
from nr.core.avals import ShapedArray
from nr.core.jaxprs import Jaxpr, JaxprEqn, Literal, Var, eqn_effectful
from nr.core.tracing import Primitive

# Products of more bytes than this, and so many times as large as their operands together, are
# computed in blocks. The hidden layer of a transformer is less than 4 times as large.
_MOST_BYTES = 4 << 20
_EXPANSION = 4
# Bytes of such a product that a step computes: they stay in the processors' caches. No more than
# the above, or a body would be split again for ever.
_BLOCK_BYTES = 4 << 20
# How far back it is looked for what a value is computed from.
_DEPTH = 40


# ------------------------------------------------------------------------------ regions
def with_row_blocks(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with loops over blocks of rows for what is computed from big products.

    Args:
        jaxpr: a simplified jaxpr.

    Returns:
        An equivalent one, but for the order of sums over rows; the same if nothing is big.
    """
    eqns = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "checkpoint":
            body = simplify(eqn.params["jaxpr"])
            inner = with_row_blocks(body)
            if inner is not body:
                eqn = eqn.replace(params={**eqn.params, "jaxpr": inner})
        eqns.append(eqn)
    if any([new is not old for new, old in zip(eqns, jaxpr.eqns, strict=True)]):
        jaxpr = jaxpr.replace(eqns=eqns)
    if any([_is_big(eqn) for eqn in jaxpr.eqns]):
        by_place = with_bits_by_place(jaxpr)
        found = _in_blocks(by_place)
        return jaxpr if found is by_place else found
    return jaxpr


def _in_blocks(jaxpr: Jaxpr) -> Jaxpr:
    tried: set[Var] = set()
    while True:
        seed = next((q for q in jaxpr.eqns if _is_big(q) and q.outvars[0] not in tried), None)
        if seed is None:
            return jaxpr
        tried.add(seed.outvars[0])
        shape = seed.outvars[0].aval.shape
        for d in [d for d, n in enumerate(shape) if n > 1]:  # those of the batch come first
            region = _Region(jaxpr, seed, d)
            if region.grow() and region.pays():
                jaxpr = region.rebuilt()
                break


def _is_big(eqn: JaxprEqn) -> bool:
    if eqn.primitive.name != "dot_general" or any([type(a) is not Var for a in eqn.invars]):
        return False
    aval = eqn.outvars[0].aval
    operands = sum([a.aval.size for a in eqn.invars])
    return aval.size * aval.dtype.itemsize > _MOST_BYTES and aval.size >= _EXPANSION * operands


class _Region:
    """Eqns that act on each row by itself, around a big product; and the loops they become.

    Members of a region have levels: a value that is computed from what the region gives, but not
    row by row, comes after the loop of that level, and what needs it belongs to the next one.
    """

    def __init__(self, jaxpr: Jaxpr, seed: JaxprEqn, dim: int) -> None:
        self.jaxpr, self.seed, self.dim = jaxpr, seed, dim
        self.extent = seed.outvars[0].aval.shape[dim]
        self.producer: dict[Any, JaxprEqn] = {v: q for q in jaxpr.eqns for v in q.outvars}
        self.order = {id(q): k for k, q in enumerate(jaxpr.eqns)}
        self.readers: dict[Any, list[JaxprEqn]] = {}
        for eqn in jaxpr.eqns:
            for atom in {a for a in eqn.invars if type(a) is Var}:
                self.readers.setdefault(atom, []).append(eqn)
        self.effects = {id(q) for q in jaxpr.eqns if eqn_effectful(q)}
        self.members: dict[int, tuple[JaxprEqn, Axis]] = {}
        self.row: dict[Any, int] = {}  # which dimension of the members' results are the rows
        self.cheap: set[Var] = set()  # results computed from little: never stored for the loops
        self.costs: dict[tuple[Any, int | None], int] = {}

    # ------------------------------------------------------------------ which eqns
    def wide(self, var: Any) -> bool:
        """Whether a value is about as big as the product."""
        return 2 * var.aval.size >= self.seed.outvars[0].aval.size

    def grow(self) -> bool:
        """Find the members; whether all that has to be one can be one."""
        axis = axis_of_result(self.seed, self.dim)
        pending: list[tuple[JaxprEqn, Axis | None]] = [(self.seed, axis)]
        edge: list[tuple[Any, int]] = []
        while pending:
            while pending:
                eqn, axis = pending.pop()
                known = self.members.get(id(eqn))
                if axis is None or (known is not None and known[1] != axis):
                    return False
                if known is None:
                    self.members[id(eqn)] = eqn, axis
                    pending += self._beside(eqn, axis, edge)
            pending = self._behind(edge)
        reads = [
            (a, d) for eqn, axis in self.members.values()
            for a, d in zip(eqn.invars, axis.operands, strict=True) if d is not None
        ]  # fmt: skip
        return all([self.row.get(a, d) == d for a, d in reads])

    def _beside(
        self, eqn: JaxprEqn, axis: Axis, edge: list[tuple[Any, int]]
    ) -> Iterator[tuple[JaxprEqn, Axis | None]]:
        """What must be a member if an eqn is one: what gives and reads its wide values."""
        for a, d in zip(eqn.invars, axis.operands, strict=True):
            if d is None or a in self.row or a not in self.producer:
                continue
            if self.wide(a):
                yield self.producer[a], axis_of_result(self.producer[a], d)
            else:
                edge.append((a, d))
        (out,) = eqn.outvars
        if axis.out is None:
            return
        self.row[out] = axis.out
        if 2 * self.cost(out, axis.out) <= out.aval.size:
            self.cheap.add(out)
        elif self.wide(out):
            for reader in self.readers.get(out, ()):
                yield reader, axis_of_operand(reader, out, axis.out)

    def _behind(self, edge: list[tuple[Any, int]]) -> list[tuple[JaxprEqn, Axis | None]]:
        """What else becomes a member: what gives small values, from little or from members."""
        reached: dict[tuple[Var, int], bool] = {}

        def reaches(var: Any, d: int, depth: int = 0) -> bool:
            if var in self.row:
                return self.row[var] == d and var not in self.cheap
            if (var, d) not in reached:
                reached[var, d] = False
                eqn = self.producer.get(var)
                axis = axis_of_result(eqn, d)
                if eqn is not None and axis is not None and depth < _DEPTH and not _is_dot(eqn):
                    pairs = zip(eqn.invars, axis.operands, strict=True)
                    found = [reaches(a, k, depth + 1) for a, k in pairs if k is not None]
                    reached[var, d] = any(found)
            return reached[var, d]

        found: list[tuple[JaxprEqn, Axis | None]] = []
        for var, d in edge:
            little = 2 * self.cost(var, d) <= var.aval.size
            if var not in self.row and (little or reaches(var, d)):
                found.append((self.producer[var], axis_of_result(self.producer[var], d)))
        return found

    def cost(self, var: Any, d: int | None, depth: int = 0) -> int:
        """How many elements have to be read to compute a value, without products.

        Of rows in a dimension, or (None) of the value as a whole.
        """
        if type(var) is Literal:
            return 0
        known = self.costs.get((var, d))
        if known is None:
            known = var.aval.size
            eqn = self.producer.get(var)
            if eqn is not None and depth < _DEPTH and not _is_dot(eqn):
                axis = axis_of_result(eqn, d) if d is not None else axis_of_whole(eqn)
                if axis is not None:
                    pairs = zip(eqn.invars, axis.operands, strict=True)
                    known = min(known, sum([self.cost(a, k, depth + 1) for a, k in pairs]))
            self.costs[var, d] = known
        return known

    def little(self, atom: Any) -> bool:
        """Whether what is read whole is computed from little, in the loop."""
        return atom in self.producer and 2 * self.cost(atom, None) <= atom.aval.size

    def leaves(self, atom: Any) -> set[Any]:
        """What has to be known outside for a value that is read whole."""
        found: set[Any] = set()
        seen: set[Any] = set()
        stack = [atom]
        while stack:
            one = stack.pop()
            if one not in seen:
                seen.add(one)
                if self.little(one):
                    stack += self.producer[one].invars
                else:
                    found.add(one)
        return found

    def pays(self) -> bool:
        """Whether fewer wide values are stored, and few products computed again."""
        self._assign_levels()
        while self._drop_detours():
            self._assign_levels()
        self._choose_results()
        given = {a for a in self.jaxpr.outvars if type(a) is Var}
        kept = [v for v in self.row if v in given and self.wide(v) and v not in self.cheap]
        stored = set()
        again = first = 0.0
        for eqn, _ in self.members.values():
            if _is_dot(eqn):
                stored.update([v for v in (*eqn.invars, *eqn.outvars) if v in self.row])
                work = math.prod(sizes(eqn))
                loops = [self.order[id(eqn)] in group for group in self.bodies.values()]
                first += work * any(loops)
                again += work * max(sum(loops) - 1, 0)
        stored = {v for v in stored if self.wide(v) and v not in self.cheap}
        return len(stored) > 2 * len(kept) and again <= 0.5 * first

    # ------------------------------------------------------------------ which loops
    def _assign_levels(self) -> None:
        """The level of each member's result; and from which level on others are known."""
        self.level: dict[Any, int] = {}
        self.after: dict[Any, int] = {}
        effects = 0
        for eqn in self.jaxpr.eqns:
            member = self.members.get(id(eqn))
            outside = max([self.after.get(a, 0) for a in eqn.invars], default=0)
            if member is not None:
                pairs = zip(eqn.invars, member[1].operands, strict=True)
                found = [
                    self.level[a] if d is not None and a in self.row else self.after.get(a, 0)
                    for a, d in pairs
                ]
                self.level[eqn.outvars[0]] = max(found, default=0)
                if eqn.outvars[0] not in self.cheap:
                    outside = self.level[eqn.outvars[0]] + 1
            elif id(eqn) in self.effects:
                effects = outside = max(outside, effects)
            self.after.update(dict.fromkeys(eqn.outvars, outside))

    def _drop_detours(self) -> bool:
        """Leave out small values that are not on a way from member to member in one loop, such as
        the sum of what attention gives and takes, in a network of several layers."""
        members = [self.members[id(q)] for q in self.jaxpr.eqns if id(q) in self.members]

        def local(eqn: JaxprEqn, axis: Axis) -> list[Any]:
            """Operands that are computed by the same loop."""
            level = self.level[eqn.outvars[0]]
            pairs = zip(eqn.invars, axis.operands, strict=True)
            found = [a for a, d in pairs if d is not None and a in self.row and self.owned(a)]
            return [a for a in found if self.level[a] == level]

        def small(eqn: JaxprEqn, axis: Axis) -> bool:
            """Whether an eqn need not be a member."""
            (out,) = eqn.outvars
            values = [a for a in (out, *eqn.invars) if a in self.row and self.owned(a)]
            needed = axis.out is None or any([self.wide(a) for a in values])
            return self.owned(out) and not needed and not _is_dot(eqn)

        follows: set[Any] = set()
        for eqn, axis in members:
            if not small(eqn, axis) or any([a in follows for a in local(eqn, axis)]):
                follows.add(eqn.outvars[0])
        leads: set[Any] = set()
        for eqn, axis in reversed(members):
            if not small(eqn, axis) or eqn.outvars[0] in leads:
                leads.update(local(eqn, axis))
        dropped = [
            q for q, axis in members
            if small(q, axis) and not (q.outvars[0] in follows and q.outvars[0] in leads)
        ]  # fmt: skip
        for eqn in dropped:
            del self.members[id(eqn)], self.row[eqn.outvars[0]]
        return bool(dropped)

    def owned(self, var: Any) -> bool:
        """Whether a value comes from a loop wherever it is read."""
        return var in self.level and var not in self.cheap

    def computed(self, var: Any, d: int | None, level: int) -> bool:
        """Whether the loop of a level computes an operand itself."""
        if d is None or var not in self.row:
            return False
        return self.level[var] == level or var in self.cheap or self.wide(var)

    def _choose_results(self) -> None:
        """What each loop gives, and what it computes; and what is computed outside."""
        self.wanted: dict[int, set[Var]] = {k: set() for k in set(self.level.values())}
        self.bodies: dict[int, set[int]] = {}
        self.outside: set[int] = set()
        live: set[Any] = set()

        def want(atom: Any) -> None:
            if type(atom) is Var:
                (self.wanted[self.level[atom]] if self.owned(atom) else live).add(atom)

        for a in self.jaxpr.outvars:
            want(a)
        while True:
            before = len(live) + sum(map(len, self.wanted.values()))
            for k in range(len(self.jaxpr.eqns) - 1, -1, -1):
                eqn = self.jaxpr.eqns[k]
                if k in self.outside:
                    continue
                if id(eqn) in self.effects or any([v in live for v in eqn.outvars]):
                    self.outside.add(k)
                    for a in eqn.invars:
                        want(a)
            for level, results in self.wanted.items():
                body = self.bodies[level] = set()
                stack: list[Any] = list(results)
                while stack:
                    var = stack.pop()
                    eqn, axis = self.members[id(self.producer[var])]
                    if self.order[id(eqn)] in body:
                        continue
                    body.add(self.order[id(eqn)])
                    for a, d in zip(eqn.invars, axis.operands, strict=True):
                        if self.computed(a, d, level):
                            stack.append(a)
                        else:
                            for leaf in self.leaves(a) if d is None else {a}:
                                want(leaf)
            if before == len(live) + sum(map(len, self.wanted.values())):
                return

    # ------------------------------------------------------------------ the new program
    def rebuilt(self) -> Jaxpr:
        """The jaxpr with loops in place of the members."""
        eqns = self.jaxpr.eqns
        units: list[tuple[int, list[JaxprEqn]]] = [(k, [eqns[k]]) for k in self.outside]
        for level, body in self.bodies.items():
            if self.wanted[level]:
                loop = _Loops(self, level, [self.members[id(eqns[k])] for k in sorted(body)])
                last = max([self.order[id(self.producer[v])] for v in self.wanted[level]])
                units.append((last, loop.eqns()))
        return eliminate_dead_code(self.jaxpr.replace(eqns=_sorted(units, self.effects)))

    def rows(self) -> int:
        """How many rows a block has."""
        aval = self.seed.outvars[0].aval
        most = _BLOCK_BYTES * self.extent // (aval.size * aval.dtype.itemsize)
        most = min(max(most, 1), self.extent)
        return next((n for n in range(most, most // 2, -1) if self.extent % n == 0), most)


def _is_dot(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name == "dot_general"


def _sorted(units: list[tuple[int, list[JaxprEqn]]], effects: set[int]) -> list[JaxprEqn]:
    """Eqns in an order in which each comes after what it needs, close to the one that is given.

    What has effects keeps its order.
    """
    units.sort(key=lambda unit: unit[0])
    producer = {v: k for k, (_, eqns) in enumerate(units) for q in eqns for v in q.outvars}
    missing: list[int] = []
    readers: list[list[int]] = [[] for _ in units]
    effect = None
    for k, (_, eqns) in enumerate(units):
        needed = {producer[a] for q in eqns for a in q.invars if a in producer} - {k}
        if id(eqns[0]) in effects:
            needed |= set() if effect is None else {effect}
            effect = k
        missing.append(len(needed))
        for other in needed:
            readers[other].append(k)
    ready = [k for k, n in enumerate(missing) if n == 0]
    result: list[JaxprEqn] = []
    while ready:
        first = heapq.heappop(ready)
        result += units[first][1]
        for k in readers[first]:
            missing[k] -= 1
            if missing[k] == 0:
                heapq.heappush(ready, k)
    assert not any(missing), "loops over blocks that need each other"
    return result


# ------------------------------------------------------------------------------ loops
@dataclass(slots=True)
class _Body:
    """A loop's body, and the arrays around it that it takes, in the same order."""

    jaxpr: Jaxpr
    consts: list[Any]
    inputs: list[Any]  # of which a step takes a block of rows; without the starts, which come first


class _Loops:
    """The loops of one level of a region: over all blocks, and over the rows that are left."""

    def __init__(
        self, region: _Region, level: int, members: Sequence[tuple[JaxprEqn, Axis]]
    ) -> None:
        self.region, self.level, self.members = region, level, members
        self.extent, self.rows = region.extent, region.rows()
        wanted = region.wanted[level]
        outs = [(eqn.outvars[0], axis.out) for eqn, axis in members if eqn.outvars[0] in wanted]
        self.sums = [v for v, d in outs if d is None]
        self.stacked = [(v, d) for v, d in outs if d is not None]
        self.out = Writer(region.seed.source)

    def eqns(self) -> list[JaxprEqn]:
        """The loops, and what puts their results together."""
        out, n, rest = self.out, *divmod(self.extent, self.rows)
        carries: list[Any] = []
        for var in self.sums:
            shape, dtype = var.aval.shape, sum_dtype(var.aval.dtype)
            zero = Literal(np.zeros((), dtype)[()])
            carries.append(
                out.add(
                    "broadcast_in_dim", [zero], shape, dtype, shape=shape, broadcast_dimensions=()
                )
            )
        carries, parts = self._loop(carries, 0, n, self.rows)
        if rest:
            carries, more = self._loop(carries, self.extent - rest, 1, rest)
            for k, (var, d) in enumerate(self.stacked):
                both, aval = [parts[k], more[k]], var.aval
                parts[k] = out.add("concatenate", both, aval.shape, aval.dtype, dimension=d)
        for var, new in zip(self.sums, carries, strict=True):
            self._name(out.converted(new, var.aval.dtype), var)
        for (var, _), new in zip(self.stacked, parts, strict=True):
            self._name(new, var)
        return out.eqns

    def _name(self, new: Var, var: Var) -> None:
        """Let a result have the variable that the program knows it by."""
        for eqn in reversed(self.out.eqns):
            if new in eqn.outvars:
                eqn.outvars[eqn.outvars.index(new)] = var
                return

    def _loop(
        self, carries: list[Any], first: int, n: int, rows: int
    ) -> tuple[list[Any], list[Any]]:
        """A loop over n blocks from a row on: the sums, and the rows of other results."""
        out = self.out
        body = self._body(rows)
        inputs = [out.starts(first, n, rows), *body.inputs]
        sums = [Var(c.aval) for c in carries]
        ys = [Var(a.aval.update(shape=(n, *a.aval.shape))) for a in body.jaxpr.outvars[len(sums) :]]
        params: dict[str, Any] = {
            "jaxpr": body.jaxpr, "num_consts": len(body.consts), "num_carry": len(carries),
            "length": n, "reverse": False, "unroll": 1,
        }  # fmt: skip
        operands = [*body.consts, *carries, *inputs]
        out.eqns.append(JaxprEqn(_scan(), operands, [*sums, *ys], params, out.source))
        parts = []
        for y, (var, d) in zip(ys, self.stacked, strict=True):
            if not _is_leading(var.aval.shape, d):
                order = (*range(1, d + 1), 0, *range(d + 1, y.aval.ndim))
                shape = [y.aval.shape[k] for k in order]
                y = out.add("transpose", [y], shape, y.aval.dtype, permutation=order)
            parts.append(out.reshaped(y, resized(var.aval.shape, d, n * rows)))
        return sums, parts

    def _body(self, rows: int) -> _Body:
        """What a step does with so many rows."""
        inner = Writer(self.out.source)
        start = Var(ShapedArray((), np.int32))
        consts: dict[Any, Var] = {}
        copies: dict[Any, Var] = {}
        blocks: dict[tuple[Any, int], Any] = {}
        inputs: list[tuple[Var, Any]] = []
        env: dict[Var, Any] = {}

        def whole(atom: Any) -> Any:
            if type(atom) is Literal or atom in copies:
                return copies.get(atom, atom)
            if self.region.little(atom):
                eqn = self.region.producer[atom]
                operands = [whole(a) for a in eqn.invars]
                inner.source = eqn.source
                copies[atom] = inner.copied(eqn, operands)
                return copies[atom]
            return consts.setdefault(atom, Var(atom.aval))

        def block(var: Any, d: int) -> Any:
            if self.region.computed(var, d, self.level):
                return env[var]
            if (var, d) not in blocks:
                shape = resized(var.aval.shape, d, rows)
                if _is_leading(shape, d) and self.extent % self.rows == 0:
                    # Blocks lie one after the other: they need not be copied.
                    n = self.extent // rows
                    inputs.append((Var(var.aval.update(shape=shape)), self._cut(var, (n, *shape))))
                    blocks[var, d] = inputs[-1][0]
                else:
                    zero = Literal(np.int32(0))
                    at = [start if k == d else zero for k in range(len(shape))]
                    operands = [consts.setdefault(var, Var(var.aval)), *at]
                    blocks[var, d] = inner.add(
                        "dynamic_slice", operands, shape, var.aval.dtype, slice_sizes=shape
                    )
            return blocks[var, d]

        for eqn, axis in self.members:
            pairs = zip(eqn.invars, axis.operands, strict=True)
            operands = [whole(a) if d is None else block(a, d) for a, d in pairs]
            inner.source = eqn.source
            env[eqn.outvars[0]] = in_block(inner, eqn, axis, operands, rows, start)
        accumulators = [Var(ShapedArray(v.aval.shape, sum_dtype(v.aval.dtype))) for v in self.sums]
        sums = [
            inner.add("add", [c, env[v]], c.aval.shape, c.aval.dtype)
            for c, v in zip(accumulators, self.sums, strict=True)
        ]
        results = [*sums, *[env[v] for v, _ in self.stacked]]
        invars = [*consts.values(), *accumulators, start, *[v for v, _ in inputs]]
        jaxpr = Jaxpr([], [], invars, inner.eqns, results)
        return _Body(jaxpr, list(consts), [a for _, a in inputs])

    def _cut(self, var: Var, shape: tuple[int, ...]) -> Var:
        return self.out.reshaped(var, shape)


def _scan() -> Primitive:
    """The primitive of scans. Programs without loops may not have loaded it, and it stands above
    the backends, so that they cannot import it themselves."""
    importlib.import_module("nr.transforms.loops")
    return Primitive.all["scan"]


def _is_leading(shape: Sequence[int], d: int) -> bool:
    """Whether no other dimension is before one, in memory."""
    return math.prod(shape[:d]) == 1
