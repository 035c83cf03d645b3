"""Rules of primitives, recorded: what eager differentiation and eager `vmap` do again and again.

A rule sees no numbers, so on operands of the same avals it does the same. Where nothing outside
traces, it is traced when it runs for the second time, and from then on its record runs on the raw
arrays: dispatch, promotion and checks of its single operations are done once. What can't be
recorded (operands on a device, primitives that hold programs, whatever raises) takes the plain way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.backends.base import Program
from nr.backends.straightline import compile_straightline
from nr.core import devices
from nr.core.array import Array, ArrayImpl
from nr.core.avals import ShapedArray, Zero
from nr.core.config import config
from nr.core.jaxprs import (
    Jaxpr,
    JaxprEqn,
    JaxprTrace,
    JaxprTracer,
    Literal,
    Var,
    close,
    trace_closed,
)
from nr.core.quiet import hush, unhush
from nr.core.tracing import Primitive, current, typeof

# Signatures with their records: False for what ran once, None for what can't be recorded.
_records: dict[tuple, Any] = {}
_MOST = 4096


def _signature(key: list[Any], xs: Sequence[Any], params: dict[str, Any]) -> list[Any] | None:
    """The raw arrays among the operands, the key being made longer; None for other operands."""
    values: list[Any] = []
    for x in xs:
        kind = type(x)
        if kind is ArrayImpl:
            if x.committed is not None:
                return None
            values.append(x.data)
            key.append(x.aval)
        elif kind is Zero:
            key += (Zero, x.aval)
        elif isinstance(x, np.generic):
            values.append(x)
            key.append(typeof(x))
        else:
            return None
    if params:
        key += params.items()
    return values


def _record_of(key: list[Any], make: Callable[..., Any], *args: Any) -> Any:
    """The record of a signature, made when it is asked for the second time; or None."""
    signature = tuple(key)
    try:
        found = _records.get(signature, _records)
    except TypeError:  # params that can't be looked up
        return None
    if found is _records:  # a new one
        if len(_records) >= _MOST:
            _records.clear()
        found = _records[signature] = False
    elif found is False:
        try:
            found = make(*args)
        except Exception:  # the plain way says what is wrong
            found = None
        _records[signature] = found
    return found or None


def _program(primitive: Primitive, jaxpr: Jaxpr) -> Program:
    assert (
        not primitive.multiple_results
        and not primitive.effectful
        and primitive.custom_evaluate is None
        and primitive.stage is None
        and primitive.linearize is None
        and primitive.uses_axis is None
        and primitive.expand is None
    ), f"{primitive.name}: it does more than to compute an array"
    return compile_straightline(jaxpr, devices.backend("cpu"))


def _run(program: Program, values: Sequence[Any]) -> list[Any] | None:
    token = hush()
    try:
        return program(*values)
    except Exception:  # the plain way says what is wrong
        return None
    finally:
        unhush(token)


# ---------------------------------------------------------------- rules as functions
class _Record:
    """A rule's program, and its results: avals of arrays, and what is no array."""

    __slots__ = ("program", "results")

    def __init__(
        self, rule: Callable[..., Sequence[Any]], primitive: Primitive, xs: Sequence[Any]
    ) -> None:
        self.results: list[Any] = []
        holes = [isinstance(x, (ArrayImpl, np.generic)) for x in xs]

        def f(*arrays: Any) -> list[Any]:
            rest = iter(arrays)
            outs = rule(*[next(rest) if hole else x for x, hole in zip(xs, holes, strict=True)])
            made = [isinstance(x, (Array, np.ndarray, np.generic)) for x in outs]
            self.results = [typeof(x) if m else x for x, m in zip(outs, made, strict=True)]
            return [x for x, m in zip(outs, made, strict=True) if m]

        avals = [typeof(x) for x, hole in zip(xs, holes, strict=True) if hole]
        self.program = _program(primitive, trace_closed(f, avals))


def apply_rule(
    rule: Callable[..., Sequence[Any]],
    primitive: Primitive,
    xs: Sequence[Any],
    params: dict[str, Any],
    *statics: Any,
) -> list[Any] | None:
    """What ``rule(*xs)`` gives, or None where the rule has to run itself.

    Args:
        rule: it is determined by the primitive, the params and the statics.
        xs: arrays, and symbolic zeros.
        statics: hashable.
    """
    key = [primitive, config.trace_key(), *statics]
    values = _signature(key, xs, params)
    if values is None:
        return None
    record = _record_of(key, _Record, rule, primitive, xs)
    raw = None if record is None else _run(record.program, values)
    if raw is None:
        return None
    rest = iter(raw)
    return [
        ArrayImpl.of_aval(next(rest), x) if type(x) is ShapedArray else x for x in record.results
    ]


# ---------------------------------------------------------------- linearization
class _Linearized:
    """A primitive's jvp rule, split: a program of what is known, eqns of what is not.

    Attributes:
        program: ``(*primals) -> (out, *new residuals)``.
        avals: of out and the new residuals.
        literals: of the eqns.
        residuals: where each is found: the number of a primal, -1 for out, None for a new one.
        eqns: with the numbers of their operands: literals, residuals, tangents, and results of eqns
            before, in this order.
        tangent: the number of out's tangent; None if it is zero.
    """

    __slots__ = ("program", "avals", "literals", "residuals", "eqns", "tangent")

    def __init__(
        self,
        primitive: Primitive,
        primals: Sequence[Any],
        tangents: Sequence[Any],
        params: dict[str, Any],
    ) -> None:
        assert primitive.jvp is not None
        known = JaxprTrace(name="linearize")
        linear = JaxprTrace(known, name="linearize")
        args = [known.new_arg(typeof(x)) for x in primals]
        dots = [t if type(t) is Zero else linear.new_arg(t.aval) for t in tangents]
        with current(linear):
            out, out_dot = primitive.jvp(args, dots, **params)
        zero = type(out_dot) is Zero
        jaxpr, residuals = linear.finish([] if zero else [out_dot])
        self.residuals: list[int | None] = []
        new = []
        for x in residuals:
            places = [i for i, y in enumerate([*args, out]) if y is x]
            if places:
                self.residuals.append(-1 if places[0] == len(args) else places[0])
            else:
                self.residuals.append(None)
                new.append(x)
        primal_jaxpr, operands = close(*known.finish([out, *new]))
        assert not operands, "nr bug: a rule closes over a tracer"
        self.program = _program(primitive, primal_jaxpr)
        self.avals = primal_jaxpr.out_avals
        atoms = [a for eqn in jaxpr.eqns for a in eqn.invars] + jaxpr.outvars
        self.literals = list(dict.fromkeys([a for a in atoms if type(a) is Literal]))
        numbers: dict[Any, int] = {}
        for a in [*self.literals, *jaxpr.invars]:
            numbers[a] = len(numbers)
        self.eqns: list[tuple[Primitive, list[int], dict[str, Any], list[ShapedArray]]] = []
        for eqn in jaxpr.eqns:
            ins, outs = [numbers[a] for a in eqn.invars], [v.aval for v in eqn.outvars]
            self.eqns.append((eqn.primitive, ins, eqn.params, outs))
            for v in eqn.outvars:
                numbers[v] = len(numbers)
        self.tangent = None if zero else numbers[jaxpr.outvars[0]]


def linearized(
    trace: JaxprTrace,
    primitive: Primitive,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    params: dict[str, Any],
) -> tuple[Any, Any] | None:
    """What the jvp rule gives under a trace that records its linear eqns, or None."""
    if not trace.alive:
        return None
    key: list[Any] = [primitive, config.trace_key()]
    dots = []
    for t in tangents:
        if type(t) is JaxprTracer and t._trace is trace:
            dots.append(t.atom)
            key.append(True)
        elif type(t) is Zero:
            key.append(False)
        else:
            return None
    values = _signature(key, primals, params)
    if values is None:
        return None
    record = _record_of(key, _Linearized, primitive, primals, tangents, params)
    raw = None if record is None else _run(record.program, values)
    if raw is None:
        return None
    out = ArrayImpl.of_aval(raw[0], record.avals[0])
    if record.tangent is None:
        return out, Zero(record.avals[0].to_tangent())
    atoms = record.literals.copy()
    new = 1
    for i in record.residuals:
        if i is None:
            atoms.append(trace.atom(ArrayImpl.of_aval(raw[new], record.avals[new])))
            new += 1
        else:
            atoms.append(trace.atom(out if i < 0 else primals[i]))
    atoms += dots
    atom = atoms.__getitem__
    for operation, ins, eqn_params, avals in record.eqns:
        outvars = list(map(Var, avals))
        trace.eqns.append(JaxprEqn(operation, list(map(atom, ins)), outvars, eqn_params))
        atoms += outvars
    return out, JaxprTracer(trace, atom(record.tangent))
