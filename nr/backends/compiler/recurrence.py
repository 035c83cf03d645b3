"""Small loops as one kernel: a scan or while loop whose carry lives in registers.

Every element of a small carry is a variable of its own, and the loop's body is written out for
each element. Where all carries share a leading dimension, and no step mixes along it, that
dimension becomes the vector loop outside of the time loop, and only the rest is written out.
A loop that fits neither is run by the machine, step by step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from nr.backends.compiler.clusters import Reads
from nr.backends.compiler.expr import Complex, Expr
from nr.backends.compiler.index import Index, Loop, flatten, index_of, unflatten
from nr.backends.compiler.loops import (
    REGISTER,
    Buffer,
    Kernel,
    Pass,
    Recurrence,
    Store,
    fitted,
    load,
    parts_of,
    walk,
)
from nr.backends.compiler.lowering.rules import ELEMENT, REDUCTION, Value, round_to, storage
from nr.backends.compiler.matmul import is_product
from nr.core.jaxprs import Jaxpr, Literal, Var

# Limits of what is written out: elements of carries, of all values, and operations.
_MOST_CARRIED = 128
_MOST_IN_LANE = 32
_MOST_ELEMENTS = 1500
_MOST_NODES = 4000
# Products of more multiplications are quicker as loops of a kernel, though each step launches it.
_MOST_MULTIPLIED = 512
_FOREVER = 1 << 62


class _TooLarge(Exception):
    """The loop cannot be written out."""


class _Body(Reads):
    """Reads elements of the values of a loop's body: `known` gives those of its inputs."""

    def __init__(self, jaxpr: Jaxpr, known: dict[Var, Callable]) -> None:
        super().__init__()
        self.inputs = known
        self.producer = {v: q for q in jaxpr.eqns for v in q.outvars}

    def value(self, var: Var, index: tuple[Index, ...]) -> Value:
        given = self.inputs.get(var)
        return given(index, self.guard) if given is not None else self.element(var, index)

    def atom(self, atom: Any, index: tuple[Index, ...]) -> Value:
        return self.literal(atom) if type(atom) is Literal else self.value(atom, index)


def _admits(jaxpr: Jaxpr, scale: int = 1) -> bool:
    """Whether a body has only eqns that can be written out, and few elements."""
    elements = 0
    if jaxpr.constvars:
        return False
    for eqn in jaxpr.eqns:
        rule = ELEMENT.get(eqn.primitive.name) or REDUCTION.get(eqn.primitive.name)
        if rule is None or not eqn.outvars or not rule.supports(eqn) or is_product(eqn):
            return False
        if any([storage(a.aval.dtype) is None for a in (*eqn.invars, *eqn.outvars)]):
            return False
        if eqn.primitive.name in REDUCTION:
            points = math.prod(REDUCTION[eqn.primitive.name].domain(eqn)[0])
            if eqn.primitive.name == "dot_general" and points > _MOST_MULTIPLIED * scale:
                return False
            elements += points
        elements += sum([v.aval.size for v in eqn.outvars])
    return elements <= _MOST_ELEMENTS * scale


class _Lanes:
    """The leading dimensions along which nothing is mixed, if any, and how carries are laid out."""

    def __init__(self, avals: Sequence[Any], prefix: tuple[int, ...]) -> None:
        self.prefix = prefix
        self.loops = [Loop(f"lane{d}", n) for d, n in enumerate(prefix)]
        self.index = tuple([index_of(loop) for loop in self.loops])
        self.places: list[tuple[int, tuple[int, ...], bool]] = []
        self.total = 0
        for aval in avals:
            shape, over = self.rest(aval.shape)
            self.places.append((self.total, shape, over))
            parts = 2 if storage(aval.dtype) in ("c64", "c128") else 1
            self.total += math.prod(shape) * parts

    def rest(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
        """The dimensions that are written out, and whether there are the others before them."""
        n = len(self.prefix)
        over = n > 0 and shape[:n] == self.prefix
        return (shape[n:] if over else shape), over

    def indices(self, shape: tuple[int, ...], over: bool) -> list[tuple[Index, ...]]:
        """The index of each element that is written out."""
        flat = [unflatten(index_of(i), shape) for i in range(math.prod(shape))]
        return [(*self.index, *index) for index in flat] if over else flat

    def current(self, recurrence: Recurrence, k: int, aval: Any) -> Callable:
        """Reads an element of a carry."""
        first, shape, over = self.places[k]
        parts = 2 if storage(aval.dtype) in ("c64", "c128") else 1

        def read(index: tuple[Index, ...], guard: Expr | None) -> Value:
            if over:
                n = len(self.prefix)
                if index[:n] != self.index:
                    raise _TooLarge
                index = index[n:]
            place = flatten(index, shape).constant
            if place is None:
                raise _TooLarge
            at = first + place * parts
            if parts == 2:
                return Complex(recurrence.current(at), recurrence.current(at + 1))
            return recurrence.current(at)

        return read


def _reader(buffer: Buffer, aval: Any, step: Index | None = None) -> Callable:
    """Reads an element of an array around the loop, or of its piece for a step."""

    def read(index: tuple[Index, ...], guard: Expr | None) -> Value:
        flat = flatten(index, aval.shape)
        if step is not None:
            flat = flat + step * aval.size
        return load(buffer, flat, guard)

    return read


def _rounded(value: Value, aval: Any) -> tuple[Expr, ...]:
    kind = storage(aval.dtype)
    if kind in ("bf16", "f16"):
        assert type(value) is Expr
        return (round_to(value, kind),)
    return parts_of(value)


def _candidates(avals: Sequence[Any]) -> list[tuple[int, ...]]:
    """Ways to take a loop: written out as a whole, or along leading dimensions."""
    largest = max([a.shape for a in avals], key=math.prod, default=())
    prefixes = [largest[:r] for r in range(len(largest), 0, -1)]
    return [(), *[p for p in prefixes if math.prod(p) >= 8]]


def scan_kernel(
    jaxpr: Jaxpr, consts: Sequence[Buffer], initial: Sequence[Buffer], xs: Sequence[Buffer],
    results: Sequence[Buffer], length: int, reverse: bool, vector_bytes: int,
) -> Kernel | None:  # fmt: skip
    """A scan as one kernel; None where that is not possible, or not wise."""
    carried = jaxpr.out_avals[: len(initial)]
    for prefix in _candidates(carried):
        time = Loop("t", length, reduced=True)
        step = (length - 1) - index_of(time) if reverse else index_of(time)

        def inputs(lanes: _Lanes, recurrence: Recurrence, step: Index = step) -> dict:
            known = {}
            avals = jaxpr.in_avals
            for k, var in enumerate(jaxpr.invars):
                if k < len(consts):
                    known[var] = _reader(consts[k], avals[k])
                elif k < len(consts) + len(initial):
                    known[var] = lanes.current(recurrence, k - len(consts), avals[k])
                else:
                    known[var] = _reader(xs[k - len(consts) - len(initial)], avals[k], step)
            return known

        kernel = _kernel(
            jaxpr, None, inputs, None, initial, carried, results, time, step, prefix, vector_bytes
        )
        if kernel is not None:
            return kernel
    return None


def while_kernel(
    test: Jaxpr, body: Jaxpr, test_consts: Sequence[Buffer], body_consts: Sequence[Buffer],
    initial: Sequence[Buffer], results: Sequence[Buffer], vector_bytes: int,
) -> Kernel | None:  # fmt: skip
    """A while loop as one kernel; None where that is not possible, or not wise."""
    carried = body.out_avals

    def inputs_of(jaxpr: Jaxpr, consts: Sequence[Buffer]) -> Callable:
        def inputs(lanes: _Lanes, recurrence: Recurrence) -> dict:
            known = {v: _reader(b, v.aval) for v, b in zip(jaxpr.invars, consts, strict=False)}
            for k, var in enumerate(jaxpr.invars[len(consts) :]):
                known[var] = lanes.current(recurrence, k, var.aval)
            return known

        return inputs

    for prefix in _candidates(carried):
        time = Loop("t", _FOREVER, reduced=True)
        kernel = _kernel(
            body, test, inputs_of(body, body_consts), inputs_of(test, test_consts), initial,
            carried, results, time, None, prefix, vector_bytes,
        )  # fmt: skip
        if kernel is not None:
            return kernel
    return None


def _kernel(
    body: Jaxpr, test: Jaxpr | None, body_inputs: Callable, test_inputs: Callable | None,
    initial: Sequence[Buffer], carried: Sequence[Any], results: Sequence[Buffer], time: Loop,
    step: Index | None, prefix: tuple[int, ...], vector_bytes: int,
) -> Kernel | None:  # fmt: skip
    lanes = _Lanes(carried, prefix)
    if (
        lanes.total > (_MOST_IN_LANE if prefix else _MOST_CARRIED)
        or not carried
        or any([a.size == 0 for a in carried])
    ):
        return None
    scale = math.prod(prefix)
    if not _admits(body, scale) or (test is not None and not _admits(test, scale)):
        return None
    starts: list[Expr] = []
    for aval, buffer, (_, shape, over) in zip(carried, initial, lanes.places, strict=True):
        for index in lanes.indices(shape, over):
            starts += parts_of(load(buffer, flatten(index, aval.shape)))
    recurrence = Recurrence("carry", tuple(starts))
    try:
        reader = _Body(body, body_inputs(lanes, recurrence))
        following: list[Expr] = []
        for atom, aval, (_, shape, over) in zip(body.outvars, carried, lanes.places, strict=False):
            for index in lanes.indices(shape, over):
                following += _rounded(reader.atom(atom, index), aval)
        recurrence.following = tuple(following)
        stores = []
        for atom, buffer in zip(body.outvars[len(carried) :], results[len(carried) :], strict=True):
            assert step is not None
            shape = atom.aval.shape
            for index in lanes.indices(*lanes.rest(shape)):
                place = flatten(index, shape) + step * atom.aval.size
                stores.append(Store(buffer, place, reader.atom(atom, index)))
        condition = None
        if test is not None:
            assert test_inputs is not None
            holds = _Body(test, test_inputs(lanes, recurrence)).atom(test.outvars[0], ())
            assert type(holds) is Expr, "a condition is a boolean"
            condition = holds
    except _TooLarge:
        return None
    after = []
    for aval, buffer, (first, shape, over) in zip(carried, results, lanes.places, strict=False):
        for i, index in enumerate(lanes.indices(shape, over)):
            if storage(aval.dtype) in ("c64", "c128"):
                value: Any = Complex(*[recurrence.result(first + 2 * i + p) for p in (0, 1)])
            else:
                value = recurrence.result(first + i)
            after.append(Store(buffer, flatten(index, aval.shape), value))
    roots = [*following, *[x for s in stores for x in s.exprs()]]
    if len(walk(roots)) > _MOST_NODES:
        return None
    step_pass = Pass([], stores, after, [recurrence], condition)
    if not prefix:
        vector = Loop("v", 1)
        return Kernel([vector], [time], vector, [step_pass], 0, 1)
    vector = lanes.loops[-1]
    if _varies(condition, set(lanes.loops)):
        return None
    width = vector_bytes // max([{"f64": 8, "i64": 8}.get(REGISTER[b.dtype], 4) for b in initial])
    width = fitted(width, vector.extent)
    outer = lanes.loops[:-1]
    if math.prod([loop.extent for loop in outer]) >= 16:
        return Kernel(lanes.loops, [time], vector, [step_pass], len(outer), width)
    return Kernel([vector, *outer], [time], vector, [step_pass], 1, width)


def _varies(condition: Expr | None, lanes: set[Loop]) -> bool:
    """Whether a condition differs between lanes: then they do not end together."""
    if condition is None:
        return False
    seen: set[int] = set()
    stack = [condition]
    while stack:
        for e in walk([stack.pop()]):
            index = e.param[1] if e.op == "load" else e.param if e.op == "index" else None
            if index is not None and lanes & index.loops():
                return True
            if e.op == "current" and e.param[1] not in seen:
                recurrence, k = e.param
                seen.add(k)
                stack += [recurrence.initial[k], recurrence.following[k]]
    return False
