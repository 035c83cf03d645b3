"""Work of scans taken out of their steps, and done for all steps at once (loop fission).

A step's product is small, and steps follow one another; one product for all steps is at its
best, on all threads. What leaves a scan:

- **before it**, products of the step's inputs with constants: ``x @ w`` becomes ``xs @ w``, of
  which the step takes its slice;
- **after it**, products with constants on which only stacked results depend (``h @ w`` of an
  output layer, or of a gradient with respect to inputs), with what comes after them;
- **after it**, sums over the steps: a carry that is only added to (the gradient of a weight,
  ``dw += h.T @ g``) becomes one product of the stacked operands, contracted over the steps.

What that takes is stacked by the scan as further results. The sums are in another order.

Besides, what is the same in all steps is no longer stacked: ``w.T`` within a step would be kept
for the gradient once for every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from nr.backends.compiler.matmul import is_product, sizes
from nr.backends.compiler.simplify import eliminate_dead_code, simplify
from nr.core.avals import ShapedArray
from nr.core.jaxprs import (
    Atom,
    Jaxpr,
    JaxprEqn,
    JaxprTrace,
    JaxprTracer,
    Literal,
    Var,
    eqn_effectful,
)
from nr.core.tracing import Primitive, current

# Bytes that a scan may stack beyond what it has: in any case, and if it pays at all. Up to the
# first bound they stay in the processor's cache.
_FEW_BYTES = 1 << 20
_MOST_BYTES = 32 << 20
# Products summed over the steps, added to a carry in cache by tiles, are as quick as one long
# product, unless a step's contracts few elements only, or the carry is larger than the cache.
_FEW_CONTRACTED = 16
_LARGE_SUM = 512 << 10

# What does not leave a step: other loops, and calls that are planned on their own.
_OPAQUE = ("scan", "while", "cond", "checkpoint")
# The elements of their operand, in another order.
_VIEWS = ("reshape", "transpose", "squeeze")
# Functions of one operand whose value for a sum is the sum of their values.
_LINEAR = (*_VIEWS, "neg", "pad", "slice", "rev", "reduce_sum", "broadcast_in_dim")

INVARIANT, OF_INPUTS, OF_CARRIES = range(3)


def split_scans(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with scans whose steps are left less to do, inner scans first.

    Args:
        jaxpr: a simplified jaxpr.

    Returns:
        An equivalent one, but for the order of sums; the same if nothing leaves a scan.
    """
    if not any([eqn.primitive.name == "scan" for eqn in jaxpr.eqns]):
        return jaxpr
    constvars, consts = list(jaxpr.constvars), list(jaxpr.consts)
    producer: dict[Var, JaxprEqn] = {}
    renamed: dict[Any, Any] = {}
    eqns: list[JaxprEqn] = []
    changed = False
    for original in jaxpr.eqns:
        eqn = original
        if renamed:
            eqn = eqn.replace(invars=[renamed.get(a, a) for a in eqn.invars])
        new = [eqn]
        if eqn.primitive.name == "scan" and eqn.params["length"] > 1:
            body = eqn.params["jaxpr"]
            inner = split_scans(body)
            if inner is not body:
                eqn = eqn.replace(params={**eqn.params, "jaxpr": simplify(inner)})
            eqn = _with_repeated_constants(eqn, producer)
            split = _Split(eqn, producer)
            if split.choose():
                new, results = split.rebuilt()
                renamed.update(zip(eqn.outvars, results, strict=True))
                constvars += [v for v, _ in split.captured]
                consts += [value for _, value in split.captured]
            else:
                new = [eqn]
            changed = changed or len(new) > 1 or new[0].params is not original.params
        eqns += new
        producer.update({v: q for q in new for v in q.outvars})
    if not changed:
        return jaxpr
    outvars = [renamed.get(a, a) for a in jaxpr.outvars]
    return eliminate_dead_code(Jaxpr(constvars, consts, jaxpr.invars, eqns, outvars))


@dataclass(frozen=True, slots=True)
class _Axis:
    """The dimension of the steps, as the rules of batching want it."""

    size: int
    name: Any = None


@dataclass(slots=True)
class _Sum:
    """A carry that is only added to, and what is added: terms linear in products and values."""

    carry: int
    var: Var
    nodes: set[Var] = field(default_factory=set)  # the carry, sums, what is linear in terms
    products: dict[Var, JaxprEqn] = field(default_factory=dict)
    # Other terms: what they are sums of for all steps, over which dimensions.
    values: dict[Var, tuple[Atom, tuple[int, ...]]] = field(default_factory=dict)

    def summands(self) -> list[Atom]:
        """What has to be known of all steps."""
        values = [v for v, _ in self.values.values()]
        return [*values, *[a for q in self.products.values() for a in q.invars]]


class _Split:
    """What leaves one scan, and the scan that remains."""

    def __init__(self, eqn: JaxprEqn, producer: dict[Var, JaxprEqn]) -> None:
        p = eqn.params
        self.eqn, self.outer = eqn, producer
        self.body: Jaxpr = p["jaxpr"]
        self.length: int = p["length"]
        self.n_consts, self.n_carry = p["num_consts"], p["num_carry"]
        first = self.n_consts + self.n_carry
        self.consts = self.body.invars[: self.n_consts]
        self.carries = self.body.invars[self.n_consts : first]
        self.inputs = self.body.invars[first:]
        self.results = self.body.outvars[self.n_carry :]
        # What is chosen: eqns done outside, sums done after, values that the scan stacks for that.
        self.early: dict[int, JaxprEqn] = {}
        self.late: dict[int, JaxprEqn] = {}
        self.sums: list[_Sum] = []
        self.stacked: dict[Var, None] = {}
        self.more_bytes = 0
        self.captured: list[tuple[Var, Any]] = []

    # ------------------------------------------------------------------ what leaves
    def choose(self) -> bool:
        """Decide what leaves the scan; whether anything does."""
        self.producer: dict[Any, JaxprEqn] = {v: q for q in self.body.eqns for v in q.outvars}
        self.uses: dict[Any, int] = {}
        for atom in (*[a for q in self.body.eqns for a in q.invars], *self.body.outvars):
            self.uses[atom] = self.uses.get(atom, 0) + 1
        self.reader = {a: q for q in self.body.eqns for a in q.invars if type(a) is Var}
        self._classify()
        self.repeated = {a for a in self.results if type(a) is Var and self.kind[a] == INVARIANT}
        if any([q.primitive.name == "dot_general" for q in self.body.eqns]):
            self._choose_early()
            self._choose_late()
            self._choose_sums()
        return bool(self.early or self.late or self.sums or self.repeated)

    def _classify(self) -> None:
        """On what each value of the body depends."""
        kind: dict[Any, int] = dict.fromkeys((*self.consts, *self.body.constvars), INVARIANT)
        kind.update(dict.fromkeys(self.inputs, OF_INPUTS))
        kind.update(dict.fromkeys(self.carries, OF_CARRIES))
        for eqn in self.body.eqns:
            found = max([kind[a] for a in eqn.invars if type(a) is Var], default=INVARIANT)
            if not _movable(eqn):
                found = OF_CARRIES
            kind.update(dict.fromkeys(eqn.outvars, found))
        self.kind = kind

    def _of_constant(self, eqn: JaxprEqn) -> tuple[Any, Any] | None:
        """The varying and the invariant operand of a product that is in panels for all steps."""
        if eqn.primitive.name != "dot_general" or any([type(a) is not Var for a in eqn.invars]):
            return None
        left, right = eqn.invars
        if (self.kind[left] == INVARIANT) == (self.kind[right] == INVARIANT):
            return None
        varying = 1 if self.kind[left] == INVARIANT else 0
        if not is_product(_over_steps(eqn, self.length, [k == varying for k in range(2)])):
            return None
        return eqn.invars[varying], eqn.invars[1 - varying]

    def _choose_early(self) -> None:
        for eqn in self.body.eqns:
            found = self._of_constant(eqn)
            if found is None or self.kind[eqn.outvars[0]] != OF_INPUTS:
                continue
            # What it is computed from is computed outside; inside too, if it is needed there.
            before = self._before(eqn)
            operand = 0 if found[0] in self.inputs else found[0].aval.size
            if self._pays(eqn.outvars[0].aval.size + operand, found[1].aval.size, found[0]):
                self.early.update(before)
                self.early[id(eqn)] = eqn

    def _before(self, eqn: JaxprEqn) -> dict[int, JaxprEqn]:
        """The eqns that an eqn's operands are computed by, from inputs."""
        found: dict[int, JaxprEqn] = {}
        stack = list(eqn.invars)
        while stack:
            source = self.producer.get(stack.pop())
            if source is not None and id(source) not in found:
                found[id(source)] = source
                stack += [a for a in source.invars if type(a) is Var]
        return {k: q for k, q in found.items() if self.kind[q.outvars[0]] == OF_INPUTS}

    def _choose_late(self) -> None:
        """Products with constants whose results are read by stacked results alone."""
        outputs = {a: 0 for a in self.results if type(a) is Var}
        for a in self.results:
            if type(a) is Var:
                outputs[a] += 1
        # How often a value is read by what can be done after the scan.
        read_late: dict[Any, int] = dict(outputs)
        able: dict[int, JaxprEqn] = {}
        for eqn in reversed(self.body.eqns):
            if (
                _movable(eqn)
                and self.kind[eqn.outvars[0]] == OF_CARRIES
                and all([read_late.get(v, 0) == self.uses.get(v, 0) for v in eqn.outvars])
            ):
                able[id(eqn)] = eqn
                for a in eqn.invars:
                    read_late[a] = read_late.get(a, 0) + 1
        for eqn in self.body.eqns:
            if id(eqn) not in able or id(eqn) in self.late:
                continue
            found = self._of_constant(eqn)
            if found is None:
                continue
            after = self._after(eqn, able)
            leaving = {v for q in after.values() for v in q.outvars}
            needed = {
                a: None
                for q in after.values()
                for a in q.invars
                if type(a) is Var and a not in leaving
            }
            roots = self._to_stack(needed)
            gone = sum([a.aval.size for a in outputs if a in leaving])
            if self._pays(sum([r.aval.size for r in roots]) - gone, found[1].aval.size, found[0]):
                self.late.update(after)
                self.stacked.update(roots)

    def _after(self, eqn: JaxprEqn, able: dict[int, JaxprEqn]) -> dict[int, JaxprEqn]:
        """The eqn and all that depend on it."""
        found = {id(eqn): eqn}
        reached = set(eqn.outvars)
        for q in self.body.eqns:
            if any([a in reached for a in q.invars]):
                assert id(q) in able
                found[id(q)] = q
                reached.update(q.outvars)
        return found

    def _choose_sums(self) -> None:
        self.of_products = self._find_products()
        found = [s for k in range(self.n_carry) if (s := self._as_sum(k)) is not None]
        for one in found:
            roots = self._to_stack(one.summands())
            size = sum([v.aval.size for v in one.products])
            if not any([_is_slow_to_add(q) for q in one.products.values()]):
                continue
            if self._pays(sum([r.aval.size for r in roots]), size, one.var):
                self.sums.append(one)
                self.stacked.update(roots)
        if self.early or self.late or self.sums:
            # Sums of what is stacked anyway.
            self.sums += [s for s in found if not s.products and not self._to_stack(s.summands())]

    def _as_sum(self, k: int) -> _Sum | None:
        """The sum over the steps that a carry is; None if it is anything else."""
        one = _Sum(k, self.carries[k])
        new = self.body.outvars[k]
        one.nodes.add(one.var)
        var: Any = one.var
        while var is not new:  # from sum to sum, up to the carry's new value
            if self.uses.get(var) != 1 or not _is_plain_add(eqn := self.reader.get(var)):
                return None
            (var,) = eqn.outvars
            one.nodes.add(var)
        if self.uses[new] != 1 or new is one.var:
            return None
        stack = [new]
        while stack:
            var = stack.pop()
            if var is one.var:
                continue
            if type(var) is not Var or self.kind[var] == INVARIANT:
                return None
            eqn = self.producer.get(var) if self.uses[var] == 1 else None
            if var in one.nodes or (_is_plain_add(eqn) and var in self.of_products):
                assert eqn is not None
                one.nodes.add(var)
                stack += eqn.invars
            elif eqn is not None and self._is_summed(eqn):
                one.products[var] = eqn
            elif _is_linear(eqn) and var in self.of_products:
                one.nodes.add(var)
                stack.append(eqn.invars[0])
            elif _is_linear(eqn) and eqn.primitive.name == "reduce_sum":
                axes = tuple([d + 1 for d in eqn.params["axes"]])
                one.values[var] = eqn.invars[0], (0, *axes)
            else:
                one.values[var] = var, (0,)
        return one

    def _find_products(self) -> set[Var]:
        """The values that are linear in products which can be done after the scan."""
        found: set[Var] = set()
        for eqn in self.body.eqns:
            if len(eqn.outvars) != 1 or self.uses.get(eqn.outvars[0]) != 1:
                continue
            linear = _is_plain_add(eqn) or _is_linear(eqn)
            if (linear and any([a in found for a in eqn.invars])) or self._is_summed(eqn):
                found.add(eqn.outvars[0])
        return found

    def _is_summed(self, eqn: JaxprEqn) -> bool:
        """Whether a product of two varying operands, summed over the steps, is in panels."""
        if eqn.primitive.name != "dot_general":
            return False
        if any([type(a) is not Var or self.kind[a] == INVARIANT for a in eqn.invars]):
            return False
        if eqn.outvars[0].aval.dtype != eqn.invars[0].aval.dtype:
            return False
        return is_product(_over_steps(eqn, self.length, (True, True)))

    # ------------------------------------------------------------------ what that takes
    def _root(self, var: Any) -> Any:
        """The value whose elements a value has, in another order."""
        while (source := self.producer.get(var)) is not None and (
            source.primitive.name in _VIEWS and not self._leaves(source)
        ):
            var = source.invars[0]
        return var

    def _leaves(self, eqn: JaxprEqn) -> bool:
        return id(eqn) in self.early or id(eqn) in self.late

    def _to_stack(self, values: Iterable[Any]) -> dict[Var, None]:
        """What the scan would have to stack beyond what it does for some values outside."""
        roots: dict[Var, None] = {}
        for var in values:
            if type(var) is not Var or self.kind[var] == INVARIANT:
                continue
            root = self._root(var)
            source = self.producer.get(root)
            if root in self.inputs or (source is not None and self._leaves(source)):
                continue
            if root not in self.stacked and root not in self.results:
                roots[root] = None
        return roots

    def _pays(self, stacked: int, saved: int, like: Var) -> bool:
        """Whether to stack so many more elements a step for a product with so many others."""
        total = self.more_bytes + stacked * like.aval.dtype.itemsize * self.length
        if total > _FEW_BYTES and (stacked > saved or total > _MOST_BYTES):
            return False
        self.more_bytes = total
        return True

    def is_zero(self, atom: Any) -> bool:
        """Whether a value around the scan is known to be zeros."""
        while type(atom) is Var and (source := self.outer.get(atom)) is not None:
            if source.primitive.name != "broadcast_in_dim":
                return False
            atom = source.invars[0]
        return type(atom) is Literal and not atom.val

    # ------------------------------------------------------------------ what is left
    def rebuilt(self) -> tuple[list[JaxprEqn], list[Any]]:
        """The eqns in place of the scan, and its results."""
        eqn, body, n_consts = self.eqn, self.body, self.n_consts
        first = n_consts + self.n_carry
        summed = {s.carry: s for s in self.sums}
        kept = [k for k in range(self.n_carry) if k not in summed]
        outside = _Outside(self)
        early = [v for q in self.early.values() if self._of_constant(q) for v in q.outvars]
        new_inputs: dict[Any, Any] = {v: Var(v.aval) for v in early}
        new_operands = {v: outside.all_steps(v) for v in early}
        split = len(outside.trace.eqns)

        # The body without what leaves.
        gone = {v for q in self.late.values() for v in q.outvars} | set(early) | self.repeated
        results = [a for a in self.results if a not in gone]
        results += [v for v in self.stacked if v not in gone and v not in set(results)]
        inner = eliminate_dead_code(
            body.replace(
                invars=[*body.invars, *new_inputs.values()],
                eqns=[
                    q.replace(invars=[new_inputs.get(a, a) for a in q.invars])
                    for q in body.eqns
                    if id(q) not in self.late
                ],
                outvars=[
                    new_inputs.get(a, a) for a in [*[body.outvars[k] for k in kept], *results]
                ],
            )
        )
        read = {a for q in inner.eqns for a in q.invars} | set(inner.outvars)
        consts = [(v, a) for v, a in zip(self.consts, eqn.invars, strict=False) if v in read]
        carries = [(self.carries[k], eqn.invars[n_consts + k]) for k in kept]
        xs = [(v, a) for v, a in zip(self.inputs, eqn.invars[first:], strict=True) if v in read]
        xs += [(new, outside.atom(new_operands[v])) for v, new in new_inputs.items() if new in read]
        pairs = [*consts, *carries, *xs]
        outer_carries = [eqn.outvars[k] for k in kept]
        outer_results = [Var(_stacked(a.aval, self.length)) for a in results]
        scan = eqn.replace(
            invars=[a for _, a in pairs],
            outvars=[*outer_carries, *outer_results],
            params={
                **eqn.params,
                "jaxpr": inner.replace(invars=[v for v, _ in pairs]),
                "num_consts": len(consts),
                "num_carry": len(kept),
            },
        )

        # What comes after it.
        for atom, outer in zip(results, outer_results, strict=True):
            if type(atom) is Var:
                outside.give(atom, outer)
        atoms: list[Any] = [None] * self.n_carry
        for k, outer in zip(kept, outer_carries, strict=True):
            atoms[k] = outer
        for k, one in summed.items():
            atoms[k] = outside.atom(outside.total(one, eqn.invars[n_consts + k]))
        rest = iter(outer_results)
        for a in self.results:
            atoms.append(outside.atom(outside.all_steps(a)) if a in gone else next(rest))
        self.captured = [*outside.captured, *outside.trace.captured]
        recorded = [q.replace(source=eqn.source) for q in outside.trace.eqns]
        scans = [scan] if scan.outvars or eqn_effectful(scan) else []
        return [*recorded[:split], *scans, *recorded[split:]], atoms


class _Outside:
    """Computes values of a scan's body for all steps at once, into a trace."""

    def __init__(self, split: _Split) -> None:
        self.split = split
        self.trace = JaxprTrace(name="scan")
        self.trace.sources = False
        # Values, and their dimension of the steps: 0, or None of what is the same in all.
        self.known: dict[Var, tuple[Any, int | None]] = {}
        self.captured: list[tuple[Var, Any]] = []
        body, operands = split.body, split.eqn.invars
        for var, atom in zip(split.consts, operands, strict=False):
            self.known[var] = self.value(atom), None
        for var, atom in zip(
            split.inputs, operands[len(operands) - len(split.inputs) :], strict=True
        ):
            self.known[var] = self.value(atom), 0
        self.constants = dict(zip(body.constvars, body.consts, strict=True))

    def value(self, atom: Any) -> Any:
        """An atom of the jaxpr around the scan, as an operand."""
        return atom.val if type(atom) is Literal else JaxprTracer(self.trace, atom)

    def atom(self, value: Any) -> Any:
        return self.trace.atom(value)

    def give(self, var: Var, outer: Var) -> None:
        """Make a value known by what the scan has stacked of it."""
        self.known.setdefault(var, (self.value(outer), 0))

    def lookup(self, atom: Any) -> tuple[Any, int | None]:
        """A value of the body, and its dimension of the steps."""
        if type(atom) is Literal:
            return atom.val, None
        found = self.known.get(atom)
        if found is None:
            if atom in self.constants:
                outer = Var(atom.aval)
                self.captured.append((outer, self.constants[atom]))
                found = self.known[atom] = self.value(outer), None
            else:
                self.compute(self.split.producer[atom])
                found = self.known[atom]
        return found

    def compute(self, eqn: JaxprEqn) -> None:
        """All steps of an eqn."""
        pairs = [self.lookup(a) for a in eqn.invars]
        values = [v for v, _ in pairs]
        dims: Any = [d for _, d in pairs]
        primitive = eqn.primitive
        with current(self.trace):
            if any([d is not None for d in dims]):
                assert primitive.batch is not None
                axis = _Axis(self.split.length)
                out, dims = primitive.batch(axis, values, dims, **eqn.params)
            else:
                out = primitive.bind(*values, **eqn.params)
                dims = [None] * len(eqn.outvars) if primitive.multiple_results else None
        if not primitive.multiple_results:
            out, dims = [out], [dims]
        self.known.update(zip(eqn.outvars, zip(out, dims, strict=True), strict=True))

    def all_steps(self, atom: Any) -> Any:
        """A value of all steps, stacked."""
        value, dim = self.lookup(atom)
        if dim == 0:
            return value
        rank = atom.aval.ndim + 1
        with current(self.trace):
            if dim is None:
                shape = (self.split.length, *atom.aval.shape)
                dims = tuple(range(1, rank))
                value = Primitive.all["broadcast_in_dim"].bind(
                    value, shape=shape, broadcast_dimensions=dims
                )
                return value  # elsewhere it is still known to be the same in all steps
            order = (dim, *[d for d in range(rank) if d != dim])
            value = Primitive.all["transpose"].bind(value, permutation=order)
        self.known[atom] = value, 0
        return value

    def total(self, one: _Sum, initial: Any) -> Any:
        """What a sum is after the scan."""
        split, bind = self.split, Primitive.all
        found: dict[Any, Any] = {}  # of each node the sum over the steps
        if not split.is_zero(initial):
            found[one.var] = self.value(initial)
        with current(self.trace):
            for term, (summed, axes) in one.values.items():
                found[term] = bind["reduce_sum"].bind(self.all_steps(summed), axes=axes)
            for eqn in split.body.eqns:
                var = eqn.outvars[0] if len(eqn.outvars) == 1 else None
                if var in one.products:
                    params = _over_steps(eqn, split.length, (True, True)).params
                    found[var] = eqn.primitive.bind(*map(self.all_steps, eqn.invars), **params)
                elif var in one.nodes:
                    values = [a.val if type(a) is Literal else found.get(a) for a in eqn.invars]
                    if any([v is None for v in values]):  # zeros and one term
                        (found[var],) = [v for v in values if v is not None]
                    else:
                        found[var] = eqn.primitive.bind(*values, **eqn.params)
        return found[split.body.outvars[one.carry]]


# ------------------------------------------------------------------------------ eqns
def _with_repeated_constants(eqn: JaxprEqn, producer: dict[Any, JaxprEqn]) -> JaxprEqn:
    """A scan in which inputs that are the same in all steps are constants."""
    p = eqn.params
    n_consts, first = p["num_consts"], p["num_consts"] + p["num_carry"]
    body: Jaxpr = p["jaxpr"]
    consts: list[tuple[Var, Any]] = []
    inputs: list[tuple[Var, Any]] = []
    before: list[JaxprEqn] = []
    for var, atom in zip(body.invars[first:], eqn.invars[first:], strict=True):
        source = producer.get(atom)
        dims = source.params.get("broadcast_dimensions") if source is not None else None
        if source is None or dims is None or 0 in dims:
            inputs.append((var, atom))
            continue
        (value,) = source.invars
        dims = tuple([d - 1 for d in dims])
        whole = value.aval.shape == var.aval.shape and dims == tuple(range(len(dims)))
        inner = var if whole else Var(value.aval) if type(value) is Var else value
        if type(inner) is Var:
            consts.append((inner, value))
        if not whole:
            params = {"shape": var.aval.shape, "broadcast_dimensions": dims}
            before.append(source.replace(invars=[inner], outvars=[var], params=params))
    if not before and not consts:
        return eqn
    invars = [*[v for v, _ in consts], *body.invars[:first], *[v for v, _ in inputs]]
    return eqn.replace(
        invars=[*[a for _, a in consts], *eqn.invars[:first], *[a for _, a in inputs]],
        params={
            **p,
            "jaxpr": body.replace(invars=invars, eqns=[*before, *body.eqns]),
            "num_consts": n_consts + len(consts),
        },
    )


def _movable(eqn: JaxprEqn) -> bool:
    """Whether an eqn may be done for all steps at once."""
    p = eqn.primitive
    return (
        bool(eqn.outvars)
        and p.name not in _OPAQUE
        and p.batch is not None
        and p.uses_axis is None
        and not eqn_effectful(eqn)
    )


def _is_plain_add(eqn: JaxprEqn | None) -> TypeGuard[JaxprEqn]:
    """Whether an eqn adds arrays of one shape."""
    if eqn is None or eqn.primitive.name != "add":
        return False
    shape = eqn.outvars[0].aval.shape
    return all([a.aval.shape == shape for a in eqn.invars])


def _is_linear(eqn: JaxprEqn | None) -> TypeGuard[JaxprEqn]:
    """Whether an eqn's value for a sum is the sum of its values."""
    if eqn is None or eqn.primitive.name not in _LINEAR or type(eqn.invars[0]) is not Var:
        return False
    return all([type(a) is Literal and not a.val for a in eqn.invars[1:]])  # padded with zeros


def _is_slow_to_add(eqn: JaxprEqn) -> bool:
    """Whether a step's product takes less time than adding it to a sum."""
    aval = eqn.outvars[0].aval
    return sizes(eqn)[3] <= _FEW_CONTRACTED or aval.size * aval.dtype.itemsize >= _LARGE_SUM


def _stacked(aval: ShapedArray, length: int) -> ShapedArray:
    return ShapedArray((length, *aval.shape), aval.dtype)


def _over_steps(eqn: JaxprEqn, length: int, stacked: Sequence[bool]) -> JaxprEqn:
    """A product whose operands are stacked, or one is; that of both is summed over the steps."""
    (contract, batch), invars = eqn.params["dimension_numbers"], []
    numbers: list[list[tuple[int, ...]]] = [[], []]
    for k, atom in enumerate(eqn.invars):
        shift = int(stacked[k])
        new = [tuple([d + shift for d in dims[k]]) for dims in (contract, batch)]
        numbers[0].append((0, *new[0]) if all(stacked) else new[0])
        numbers[1].append(new[1])
        invars.append(Var(_stacked(atom.aval, length) if shift else atom.aval))
    params = {**eqn.params, "dimension_numbers": tuple([tuple(pair) for pair in numbers])}
    return eqn.replace(invars=invars, params=params)
