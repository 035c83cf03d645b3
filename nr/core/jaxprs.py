"""Jaxprs: programs as data; and the trace that records them.

A `JaxprTrace` without a parent records everything (jit, make_jaxpr). With a parent it is partial
evaluation: operations on known values go to the parent, the rest is recorded. So no primitive has
a partial-evaluation rule.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from nr.core import source_info
from nr.core.array import Array, ArrayImpl
from nr.core.avals import ShapedArray
from nr.core.config import config
from nr.core.errors import RULE_CLOSES_OVER, UnexpectedTracerError
from nr.core.tracing import (
    PYTHON_SCALARS,
    Primitive,
    Trace,
    Tracer,
    axis_env,
    current,
    leaked_tracer_error,
    typeof,
)

_SCALARS = (np.generic, *PYTHON_SCALARS)


class Var:
    """A variable of a jaxpr."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"Var({self.aval})"


class Literal:
    """A scalar constant that stands in an eqn itself."""

    __slots__ = ("val", "aval")

    def __init__(self, val: Any, aval: ShapedArray | None = None) -> None:
        self.val = val
        self.aval = typeof(val) if aval is None else aval

    def __repr__(self) -> str:
        return f"{self.val}:{self.aval}"


Atom = Var | Literal


class JaxprEqn:
    """``outvars = primitive[params] invars``, with the user's line it came from."""

    __slots__ = ("primitive", "invars", "outvars", "params", "source")

    def __init__(
        self,
        primitive: Primitive,
        invars: list[Atom],
        outvars: list[Var],
        params: dict[str, Any],
        source: source_info.Source | None = None,
    ) -> None:
        self.primitive = primitive
        self.invars = invars
        self.outvars = outvars
        self.params = params
        self.source = source

    @property
    def source_info(self) -> source_info.Source:
        """The user's line, and the names of the scopes around it (empty if they are unknown)."""
        return self.source or source_info.NOWHERE

    @property
    def effects(self) -> frozenset[str]:
        """The names of the primitives in it that have effects."""
        inner = [eqn.effects for jaxpr in subjaxprs(self.params) for eqn in jaxpr.eqns]
        own = {self.primitive.name} if self.primitive.effectful else set()
        return frozenset(own.union(*inner))

    def replace(self, **changes: Any) -> JaxprEqn:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return JaxprEqn(**{**fields, **changes})

    def __repr__(self) -> str:
        from nr.core.jaxpr_print import eqn_text

        return eqn_text(self)


class Jaxpr:
    """A program: ``{ lambda constvars ; invars . let eqns in outvars }``. It carries its constants.

    Scalars are literals; closed-over arrays are `consts`, which compiled code takes as hidden
    arguments. Jaxprs are immutable and compared by identity; what is derived from one is cached
    on it.
    """

    __slots__ = ("constvars", "consts", "invars", "eqns", "outvars", "cache", "__weakref__")

    def __init__(
        self,
        constvars: Sequence[Var],
        consts: Sequence[Any],
        invars: Sequence[Var],
        eqns: Sequence[JaxprEqn],
        outvars: Sequence[Atom],
    ) -> None:
        self.constvars = list(constvars)
        self.consts = list(consts)
        self.invars = list(invars)
        self.eqns = list(eqns)
        self.outvars = list(outvars)
        self.cache: dict[Any, Any] = {}
        if config.check:
            from nr.core.jaxpr_check import check_jaxpr

            check_jaxpr(self)

    @property
    def jaxpr(self) -> Jaxpr:
        """The jaxpr itself (JAX separates open and closed jaxprs; here one class is both)."""
        return self

    @property
    def literals(self) -> list[Any]:
        return self.consts

    @property
    def in_avals(self) -> list[ShapedArray]:
        return [v.aval for v in self.invars]

    @property
    def out_avals(self) -> list[ShapedArray]:
        return [v.aval for v in self.outvars]

    @property
    def effects(self) -> frozenset[str]:
        """The names of the primitives in it that have effects."""
        return frozenset().union(*[eqn.effects for eqn in self.eqns])

    @property
    def effectful(self) -> bool:
        known = self.cache.get("effectful")
        if known is None:
            known = self.cache["effectful"] = any(eqn_effectful(eqn) for eqn in self.eqns)
        return known

    def uses_axis(self, name: Any) -> bool:
        """Whether a collective in it refers to the axis name."""
        key = ("uses_axis", name)
        known = self.cache.get(key)
        if known is None:
            known = self.cache[key] = any(
                eqn.primitive.uses_axis is not None and eqn.primitive.uses_axis(eqn.params, name)
                for eqn in self.eqns
            )
        return known

    def replace(self, *, jaxpr: Jaxpr | None = None, **changes: Any) -> Jaxpr:
        """The jaxpr with some parts replaced; of `jaxpr`, all but the values of constants."""
        if jaxpr is not None:
            return jaxpr.replace(**{"consts": self.consts, **changes})
        names = ("constvars", "consts", "invars", "eqns", "outvars")
        return Jaxpr(**{**{name: getattr(self, name) for name in names}, **changes})

    def pretty_print(self, **options: Any) -> str:
        from nr.core.jaxpr_print import jaxpr_text

        return jaxpr_text(self, **options)

    def __str__(self) -> str:
        return self.pretty_print()

    __repr__ = __str__


def subjaxprs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The jaxprs among an eqn's params."""
    for value in params.values():
        if isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, JaxprCallable):
            yield value.jaxpr
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Jaxpr))


def eqn_effectful(eqn: JaxprEqn) -> bool:
    return eqn.primitive.effectful or any(jaxpr.effectful for jaxpr in subjaxprs(eqn.params))


def depends_on(jaxpr: Jaxpr, flags: tuple[bool, ...]) -> list[bool]:
    """Which outputs of a jaxpr depend on the flagged inputs."""
    key = ("depends_on", flags)
    found = jaxpr.cache.get(key)
    if found is None:
        reached = {v for v, flag in zip(jaxpr.invars, flags, strict=True) if flag}
        for eqn in jaxpr.eqns:
            if any([a in reached for a in eqn.invars]):
                reached.update(eqn.outvars)
        found = jaxpr.cache[key] = [a in reached for a in jaxpr.outvars]
    return found


class JaxprCallable:
    """A jaxpr as a flat function: what is recorded of a function with a custom derivative."""

    __slots__ = ("jaxpr",)

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr

    def __call__(self, *args: Any) -> list[Any]:
        return eval_jaxpr(self.jaxpr, *args)


_scope: ContextVar[str] = ContextVar("scope", default="")


class name_scope:  # noqa: N801
    """Prefix the names of the eqns recorded in a ``with`` block (see `nr.named_scope`)."""

    __slots__ = ("name", "token")

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        outer = _scope.get()
        self.token = _scope.set(f"{outer}/{self.name}" if outer else self.name)

    def __exit__(self, *exc: Any) -> None:
        _scope.reset(self.token)


class JaxprTracer(Tracer):
    """A value in a program being recorded."""

    __slots__ = ("atom", "aval")
    _trace: JaxprTrace

    def __init__(self, trace: JaxprTrace, atom: Atom) -> None:
        self._trace = trace
        self.atom = atom
        self.aval = atom.aval

    def describe(self) -> str:
        return self._trace.describe(self.atom)


class JaxprTrace(Trace):
    """Records eqns. With a parent, only those that depend on its own tracers."""

    __slots__ = ("eqns", "invars", "const_vars", "captured", "name", "arg_names", "sources")

    def __init__(
        self,
        parent: Trace | None = None,
        *,
        name: str = "jit",
        arg_names: Sequence[str] = (),
    ) -> None:
        self.parent = parent
        self.alive = True
        self.eqns: list[JaxprEqn] = []
        self.invars: list[Var] = []
        # The original is kept beside the variable, so that its id stays its own.
        self.const_vars: dict[int, tuple[Var, Any]] = {}
        self.captured: list[tuple[Var, Any]] = []
        self.name = name
        self.arg_names = arg_names
        # Eager code does not look for lines: nobody would see them.
        outer = parent
        while outer is not None and not isinstance(outer, JaxprTrace):
            outer = outer.parent
        self.sources: bool = parent is None or (outer is not None and outer.sources)

    def new_arg(self, aval: ShapedArray) -> JaxprTracer:
        var = Var(aval)
        self.invars.append(var)
        return JaxprTracer(self, var)

    def atom(self, x: Any) -> Atom:
        if type(x) is ArrayImpl:
            if not x.shape and x.committed is None:
                # A weak one stays an array: a NumPy scalar would be strong.
                return Literal(x if x.weak else x.host()[()], x.aval)
        elif isinstance(x, Tracer):
            if x._trace is self:
                return x.atom  # type: ignore[attr-defined]
            if not x._trace.alive:
                raise leaked_tracer_error(x, self.name)
        elif isinstance(x, _SCALARS) or np.ndim(x) == 0:
            return Literal(x)
        found = self.const_vars.get(id(x))
        if found is None:
            found = self.const_vars[id(x)] = (Var(typeof(x)), x)
            if not isinstance(x, Array):
                x = ArrayImpl(np.array(x))  # a copy: the user may write to the original later
            self.captured.append((found[0], x))
        return found[0]

    def tracer(self, x: Any) -> JaxprTracer:
        """x as a value of this trace."""
        if isinstance(x, JaxprTracer) and x._trace is self:
            return x
        return JaxprTracer(self, self.atom(x))

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict) -> Any:
        if self.parent is not None:
            for x in args:
                if type(x) is JaxprTracer and x._trace is self:
                    break
            else:
                return primitive.bind_with(self.parent, args, params)
        if primitive.stage is not None:
            return primitive.stage(self, args, params)
        return self.record(primitive, args, params)

    def record(self, primitive: Primitive, args: Sequence[Any], params: dict) -> Any:
        """Append the eqn; its outputs as tracers."""
        if not self.alive:
            raise leaked_tracer_error(JaxprTracer(self, self.atom(args[0])), primitive.name)
        atoms, in_avals = [], []
        for x in args:
            a = x.atom if type(x) is JaxprTracer and x._trace is self else self.atom(x)
            atoms.append(a)
            in_avals.append(a.aval)
        avals = primitive.abstract_eval(*in_avals, **params)
        source = source_info.user_source(_scope.get()) if self.sources else None
        if primitive.multiple_results:
            outvars = [Var(aval) for aval in avals]
            self.eqns.append(JaxprEqn(primitive, atoms, outvars, params, source))
            return [JaxprTracer(self, var) for var in outvars]
        if (
            primitive.keeps_weak
            and avals.ndim == 0
            and not avals.weak_type
            and in_avals
            and all([aval.weak_type for aval in in_avals])
        ):
            avals = avals.update(weak_type=True)
        outvar = Var(avals)
        self.eqns.append(JaxprEqn(primitive, atoms, [outvar], params, source))
        return JaxprTracer(self, outvar)

    def finish(self, outs: Sequence[Any]) -> tuple[Jaxpr, list[Any]]:
        """The jaxpr, its first invars being the captured values; and those. No dead eqns."""
        atoms = [self.atom(x) for x in outs]
        self.alive = False
        live = set(atoms)
        eqns = []
        for eqn in reversed(self.eqns):
            if not live.isdisjoint(eqn.outvars) or eqn_effectful(eqn):
                eqns.append(eqn)
                live.update(eqn.invars)
        captured = [(var, x) for var, x in self.captured if var in live]
        invars = [var for var, _ in captured] + self.invars
        return Jaxpr([], [], invars, eqns[::-1], atoms), [x for _, x in captured]

    def describe(self, atom: Atom) -> str:
        """Which arguments of the traced function a value depends on."""
        producers = {v: eqn for eqn in self.eqns for v in eqn.outvars}
        seen: set[int] = set()
        names: list[str] = []

        def visit(a: Atom) -> None:
            if type(a) is not Var or id(a) in seen:
                return
            seen.add(id(a))
            if a in self.invars:
                index = self.invars.index(a)
                if index < len(self.arg_names):
                    names.append(f"`{self.arg_names[index]}`")
            elif a in producers:
                for operand in producers[a].invars:
                    visit(operand)

        visit(atom)
        made = producers.get(atom) if type(atom) is Var else None  # type: ignore[arg-type]
        where = f", computed at {made.source}" if made is not None and made.source else ""
        if not names:
            return f"it is traced by {self.name}{where}"
        noun = "argument" if len(names) == 1 else "arguments"
        return f"it depends on {noun} {', '.join(sorted(set(names)))} of {self.name}{where}"


def eval_jaxpr(jaxpr: Jaxpr, *args: Any) -> list[Any]:
    """Run a jaxpr's eqns through the current trace; what is recorded keeps its lines."""
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    line = source_info.line_instead
    outer = line.get()
    try:
        for eqn in jaxpr.eqns:
            line.set(eqn.source or outer)
            outs = eqn.primitive.bind(
                *[a.val if type(a) is Literal else env[a] for a in eqn.invars], **eqn.params
            )
            if eqn.primitive.multiple_results:
                env.update(zip(eqn.outvars, outs, strict=True))
            else:
                env[eqn.outvars[0]] = outs
    finally:
        line.set(outer)
    return [a.val if type(a) is Literal else env[a] for a in jaxpr.outvars]


def close(jaxpr: Jaxpr, captured: Sequence[Any]) -> tuple[Jaxpr, list[Any]]:
    """Split captured values: arrays ride on the jaxpr; tracers become its first operands."""
    if not captured:
        return jaxpr, []
    n = len(captured)
    constvars, consts, invars, operands = [], [], [], []
    for var, x in zip(jaxpr.invars[:n], captured, strict=True):
        if isinstance(x, Tracer):
            invars.append(var)
            operands.append(x)
        else:
            constvars.append(var)
            consts.append(x)
    closed = Jaxpr(constvars, consts, invars + jaxpr.invars[n:], jaxpr.eqns, jaxpr.outvars)
    return closed, operands


def with_common_operands(
    traced: Sequence[tuple[Jaxpr, Sequence[Any]]],
) -> tuple[tuple[Jaxpr, ...], list[Any]]:
    """Jaxprs that take what any of them closes over (those operands first), and the operands.

    Args:
        traced: jaxprs and their closed-over operands, as `trace_to_jaxpr` gives them.
    """
    closed: list[Any] = []
    for _, own in traced:
        closed += [x for x in own if not any(x is y for y in closed)]
    jaxprs = []
    for jaxpr, own in traced:
        n = len(own)
        places = {next(i for i, y in enumerate(closed) if y is x): v
                  for x, v in zip(own, jaxpr.invars[:n], strict=True)}  # fmt: skip
        ins = [places.get(i) or Var(typeof(x)) for i, x in enumerate(closed)]
        jaxprs.append(jaxpr.replace(invars=[*ins, *jaxpr.invars[n:]]))
    return tuple(jaxprs), closed


def trace_to_jaxpr(
    f: Callable[..., Sequence[Any]],
    avals: Sequence[ShapedArray],
    *,
    name: str = "jit",
    arg_names: Sequence[str] = (),
) -> tuple[Jaxpr, list[Any]]:
    """Trace a flat function; the jaxpr takes the returned operands (closed-over tracers) first."""
    trace = JaxprTrace(name=name, arg_names=arg_names)
    args = [trace.new_arg(aval) for aval in avals]
    try:
        with current(trace):
            outs = f(*args)
        return close(*trace.finish(outs))
    finally:
        trace.alive = False


def trace_closed(f: Callable[..., Sequence[Any]], avals: Sequence[ShapedArray]) -> Jaxpr:
    """Trace a flat function that closes over no tracer."""
    jaxpr, operands = trace_to_jaxpr(f, avals)
    if operands:  # only the rules of users can do so
        raise UnexpectedTracerError(RULE_CLOSES_OVER)
    return jaxpr


def cached_on_jaxpr(f: Callable) -> Callable:
    """Cache a function of a jaxpr and hashable arguments on the jaxpr, by name and axis names."""

    @functools.wraps(f)
    def cached(jaxpr: Jaxpr, *args: Any) -> Any:
        key = (f.__name__, args, axis_env(), config.trace_key())
        found = jaxpr.cache.get(key)
        if found is None:
            found = jaxpr.cache[key] = f(jaxpr, *args)
        return found

    return cached
