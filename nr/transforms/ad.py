"""Differentiation: forward mode as a trace; reverse mode as linearize, then transpose.

`LinearizeTrace` is a `JVPTrace` whose parent is a `JaxprTrace` with a parent: primal values are
computed, and what depends on tangents is recorded. `backward_pass` runs the recording in reverse.
So a first-order primitive needs a jvp rule only, and a transpose rule if it is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.errors import RULE_CLOSES_OVER, UnexpectedTracerError
from nr.core.jaxprs import (
    Jaxpr,
    JaxprEqn,
    JaxprTrace,
    Literal,
    Var,
    cached_on_jaxpr,
    close,
    eval_jaxpr,
    trace_closed,
)
from nr.core.source_info import backward, line_instead
from nr.core.tracing import (
    EVAL,
    Primitive,
    Trace,
    Tracer,
    current,
    current_trace,
    reset_trace,
    set_trace,
    typeof,
)
from nr.lax.rules import add_tangents, instantiate
from nr.transforms.recorded import apply_rule, linearized

NonZeros = tuple[bool, ...]


class JVPTracer(Tracer):
    """A primal value with its tangent."""

    __slots__ = ("primal", "tangent", "aval")

    def __init__(self, trace: JVPTrace, primal: Any, tangent: Any) -> None:
        self._trace = trace
        self.primal = primal
        self.tangent = tangent
        self.aval = typeof(primal)

    def describe(self) -> str:
        if isinstance(self.primal, Tracer):
            return self.primal.describe()
        return "it is being differentiated (jvp, grad or linearize)"

    def concrete(self) -> Any:
        primal = self.primal
        return primal.concrete() if isinstance(primal, Tracer) else primal

    @property
    def device(self) -> Any:
        return self.primal.device


class JVPTrace(Trace):
    """Carries a tangent beside every value. `outer` takes what does not depend on tangents."""

    __slots__ = ("outer",)
    parent: Trace
    outer: Trace

    def __init__(self, parent: Trace) -> None:
        self.parent = self.outer = parent
        self.alive = True

    @property
    def main(self) -> JVPTrace:
        """What all values of one differentiation share, for users who ask whether two do."""
        return self

    def split(self, x: Any) -> tuple[Any, Any]:
        """A value's primal and tangent, zero for what does not depend on the inputs."""
        if type(x) is JVPTracer and x._trace is self:
            return x.primal, x.tangent
        return x, Zero(typeof(x).to_tangent())

    def primal(self, x: Any) -> Any:
        """x without its tangent; anything else as it is."""
        return x.primal if type(x) is JVPTracer and x._trace is self else x

    def join(self, primal: Any, tangent: Any) -> Any:
        """A value with a tangent."""
        return primal if type(tangent) is Zero else JVPTracer(self, primal, tangent)

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict) -> Any:
        for x in args:
            if type(x) is JVPTracer and x._trace is self:
                break
        else:
            return primitive.bind_with(self.outer, args, params)
        primals, tangents = [], []
        for x in args:
            if type(x) is JVPTracer and x._trace is self:
                primals.append(x.primal)
                tangents.append(x.tangent)
            else:
                primals.append(x)
                tangents.append(Zero(typeof(x).to_tangent()))
        if self.outer is EVAL and not primitive.multiple_results:
            known = self.recorded(primitive, primals, tangents, params)
            if known is not None:
                return self.join(*known)
        return self.differentiate(primitive, primals, tangents, params)

    def differentiate(
        self, primitive: Primitive, primals: list[Any], tangents: list[Any], params: dict
    ) -> Any:
        """The results of a primitive some of whose operands have tangents."""
        if primitive.jvp is None:
            raise NotImplementedError(
                f"{primitive.name}: it has no forward-mode derivative rule. "
                f"Wrap the function that uses it in nr.custom_jvp."
            )
        token = set_trace(self.parent)
        try:
            out, out_dot = primitive.jvp(primals, tangents, **params)
        finally:
            reset_trace(token)
        if primitive.multiple_results:
            return [self.join(p, t) for p, t in zip(out, out_dot, strict=True)]
        return self.join(out, out_dot)

    def recorded(
        self, primitive: Primitive, primals: list[Any], tangents: list[Any], params: dict
    ) -> Sequence[Any] | None:
        """What the jvp rule gives, by its record if there is one."""
        n = len(primals)

        def rule(*xs: Any) -> Any:
            return primitive.jvp(xs[:n], xs[n:], **params)  # type: ignore[misc]

        return apply_rule(rule, primitive, [*primals, *tangents], params, "jvp")


class LinearizeTrace(JVPTrace):
    """jvp over partial evaluation; higher-order primitives bring a linearize rule of their own."""

    __slots__ = ()
    parent: JaxprTrace

    def __init__(self, parent: JaxprTrace) -> None:
        super().__init__(parent)
        assert parent.parent is not None
        self.outer = parent.parent

    def differentiate(
        self, primitive: Primitive, primals: list[Any], tangents: list[Any], params: dict
    ) -> Any:
        if primitive.linearize is None:
            return super().differentiate(primitive, primals, tangents, params)
        nonzeros = tuple([type(t) is not Zero for t in tangents])
        with current(self.outer):
            outs, linear_fun = primitive.linearize(nonzeros, *primals, **params)
        with current(self.parent):
            outs_dot = linear_fun(*[t for t in tangents if type(t) is not Zero])
        return [self.join(p, t) for p, t in zip(outs, outs_dot, strict=True)]

    def recorded(
        self, primitive: Primitive, primals: list[Any], tangents: list[Any], params: dict
    ) -> Sequence[Any] | None:
        return linearized(self.parent, primitive, primals, tangents, params)


# ---------------------------------------------------------------- flat transformations
def jvp_flat(
    f: Callable,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    primal_aux: Callable | None = None,
) -> tuple[list, list]:
    """f's outputs and their tangents (which may be `Zero`).

    ``primal_aux(primal)`` is called at the end with the function that strips tangents.
    """
    trace = JVPTrace(current_trace())
    try:
        with current(trace):
            outs = f(*[trace.join(p, t) for p, t in zip(primals, tangents, strict=True)])
    finally:
        trace.alive = False
    pairs = [trace.split(x) for x in outs]
    if primal_aux is not None:
        primal_aux(trace.primal)
    return [p for p, _ in pairs], [t for _, t in pairs]


def linearize_flat(
    f: Callable,
    primals: Sequence[Any],
    nonzeros: Sequence[bool] | None = None,
    instantiate_outputs: bool | Sequence[bool] = False,
    primal_aux: Callable | None = None,
) -> tuple[list[Any], Jaxpr, list[Any], NonZeros]:
    """f's outputs, and its tangent program. `primal_aux` as in `jvp_flat`.

    Returns:
        outs, tangent jaxpr ``(*residuals, *nonzero tangents) -> nonzero output tangents``, the
        residuals, and which output tangents are not symbolically zero.
    """
    if nonzeros is None:
        nonzeros = [differentiable(typeof(p)) for p in primals]
    tangent_trace = JaxprTrace(current_trace(), name="linearize")
    trace = LinearizeTrace(tangent_trace)
    args = [
        JVPTracer(trace, p, tangent_trace.new_arg(typeof(p).to_tangent())) if nz else p
        for p, nz in zip(primals, nonzeros, strict=True)
    ]
    try:
        with current(trace):
            outs = f(*args)
        pairs = [trace.split(x) for x in outs]
        if primal_aux is not None:
            primal_aux(trace.primal)
        if isinstance(instantiate_outputs, bool):
            instantiate_outputs = [instantiate_outputs] * len(pairs)
        outs_dot = [
            instantiate(t) if force and differentiable(typeof(p)) else t
            for (p, t), force in zip(pairs, instantiate_outputs, strict=True)
        ]
        nz_out = tuple([type(t) is not Zero for t in outs_dot])
        jaxpr, residuals = tangent_trace.finish([t for t in outs_dot if type(t) is not Zero])
    finally:
        trace.alive = tangent_trace.alive = False
    return [p for p, _ in pairs], jaxpr, residuals, nz_out


def differentiable(aval: ShapedArray) -> bool:
    """Whether values of the aval have tangents other than float0."""
    return aval.to_tangent().dtype == aval.dtype


def backward_pass(jaxpr: Jaxpr, args: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
    """Cotangents of the linear inputs of a jaxpr.

    Eqns that do not depend on linear inputs are evaluated (this is all that rematerialization
    needs); the others are transposed in reverse order.

    Args:
        args: a value for each invar, or `UndefinedPrimal` for a linear one.
        cts: one an output; may be `Zero`.

    Returns:
        For each invar: its cotangent (may be `Zero`) if linear, else None.
    """
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    linear_eqns: list[tuple[JaxprEqn, list[Any]]] = []
    for eqn in jaxpr.eqns:
        ins = [a.val if type(a) is Literal else env[a] for a in eqn.invars]
        for x in ins:
            if type(x) is UndefinedPrimal:
                linear_eqns.append((eqn, ins))
                for v in eqn.outvars:
                    env[v] = UndefinedPrimal(v.aval)
                break
        else:
            out = eqn.primitive.bind(*ins, **eqn.params)
            outs = out if eqn.primitive.multiple_results else [out]
            env.update(zip(eqn.outvars, outs, strict=True))

    ct_env: dict[Any, Any] = {}

    def accumulate(a: Any, ct: Any) -> None:
        if ct is not None and type(ct) is not Zero:
            known = ct_env.get(a)
            ct_env[a] = ct if known is None else add_tangents(known, ct)

    for a, ct in zip(jaxpr.outvars, cts, strict=True):
        if type(a) is Var and type(env[a]) is UndefinedPrimal:
            accumulate(a, ct)
    outer = line_instead.get()
    try:
        for eqn, ins in reversed(linear_eqns):
            primitive = eqn.primitive
            if primitive.multiple_results:
                outs = [ct_env.pop(v, None) for v in eqn.outvars]
                if all([ct is None for ct in outs]):
                    continue
                ct = [Zero(v.aval) if c is None else c for v, c in zip(eqn.outvars, outs)]
            else:
                ct = ct_env.pop(eqn.outvars[0], None)
                if ct is None:
                    continue
            if primitive.transpose is None:
                raise NotImplementedError(
                    f"{primitive.name}: it has no transpose rule, so that it can't be "
                    f"differentiated in reverse mode here. Use nr.jvp or nr.jacfwd, or give the "
                    f"function an nr.custom_vjp."
                )
            line_instead.set(outer if eqn.source is None else backward(eqn.source))
            in_cts = primitive.transpose(ct, *ins, **eqn.params)
            for a, x, in_ct in zip(eqn.invars, ins, in_cts, strict=True):
                if in_ct is not None and type(x) is UndefinedPrimal:
                    accumulate(a, in_ct)
    finally:
        line_instead.set(outer)
    return [
        ct_env.get(var, Zero(var.aval)) if type(x) is UndefinedPrimal else None
        for var, x in zip(jaxpr.invars, args, strict=True)
    ]


# ---------------------------------------------------------------- jaxpr to jaxpr
@cached_on_jaxpr
def jvp_jaxpr(
    jaxpr: Jaxpr, nonzeros: NonZeros, instantiate_outputs: NonZeros | bool = False
) -> tuple[Jaxpr, NonZeros]:
    """``(*primals, *nonzero tangents) -> (*outs, *nonzero output tangents)``."""
    nz_out: list[bool] = []
    n = len(nonzeros)

    def f(*args: Any) -> list[Any]:
        primals, rest = args[:n], iter(args[n:])
        tangents = [
            next(rest) if nz else Zero(typeof(p).to_tangent())
            for p, nz in zip(primals, nonzeros, strict=True)
        ]
        outs, outs_dot = jvp_flat(lambda *xs: eval_jaxpr(jaxpr, *xs), primals, tangents)
        force = instantiate_outputs
        flags = [force] * len(outs) if isinstance(force, bool) else force
        outs_dot = [
            instantiate(t) if flag and differentiable(typeof(p)) else t
            for p, t, flag in zip(outs, outs_dot, flags, strict=True)
        ]
        nz_out[:] = [type(t) is not Zero for t in outs_dot]
        return [*outs, *[t for t in outs_dot if type(t) is not Zero]]

    tangent_avals = [a.to_tangent() for a, nz in zip(jaxpr.in_avals, nonzeros, strict=True) if nz]
    return trace_closed(f, [*jaxpr.in_avals, *tangent_avals]), tuple(nz_out)


@cached_on_jaxpr
def linearize_jaxpr(
    jaxpr: Jaxpr, nonzeros: NonZeros, instantiate_outputs: NonZeros | bool = False
) -> tuple[Jaxpr, Jaxpr, int, NonZeros]:
    """The primal jaxpr ``(*ins) -> (*outs, *residuals)`` and the tangent jaxpr
    ``(*residuals, *nonzero tangents) -> nonzero output tangents``; how many residuals; nonzeros.
    """
    trace = JaxprTrace(name="linearize")
    args = [trace.new_arg(aval) for aval in jaxpr.in_avals]
    with current(trace):
        outs, tangent, residuals, nz_out = linearize_flat(
            lambda *xs: eval_jaxpr(jaxpr, *xs), args, nonzeros, instantiate_outputs
        )
        primal, captured = trace.finish([*outs, *residuals])
    primal, operands = close(primal, captured)
    if operands:
        raise UnexpectedTracerError(RULE_CLOSES_OVER)
    return primal, tangent, len(residuals), nz_out


@cached_on_jaxpr
def transpose_jaxpr(jaxpr: Jaxpr, linear: NonZeros, given: NonZeros | None = None) -> Jaxpr:
    """``(*non-linear ins, *cts) -> cts of the linear ins`` (zeros made explicit).

    Args:
        given: of which outputs there are cotangents, the others' being zero; None: of all.
    """
    nonzero = (True,) * len(jaxpr.outvars) if given is None else given
    out_avals = jaxpr.out_avals

    def f(*args: Any) -> list[Any]:
        rest = iter(args)
        ins = [
            UndefinedPrimal(v.aval) if is_linear else next(rest)
            for v, is_linear in zip(jaxpr.invars, linear, strict=True)
        ]
        out_cts = [next(rest) if nz else Zero(a) for a, nz in zip(out_avals, nonzero, strict=True)]
        cts = backward_pass(jaxpr, ins, out_cts)
        return [instantiate(ct) for ct, lin in zip(cts, linear, strict=True) if lin]

    known = [a for a, is_linear in zip(jaxpr.in_avals, linear, strict=True) if not is_linear]
    return trace_closed(f, [*known, *[a for a, nz in zip(out_avals, nonzero) if nz]])


# ---------------------------------------------------------------- rules of call-like primitives
def call_jvp(bind: Callable[..., list[Any]], primals: Any, tangents: Any, jaxpr: Jaxpr) -> Any:
    """The jvp rule of a primitive that runs a jaxpr; `bind(jaxpr, *args)` binds it again."""
    nonzeros = tuple([type(t) is not Zero for t in tangents])
    dual, nz_out = jvp_jaxpr(jaxpr, nonzeros)
    outs = bind(dual, *primals, *[t for t in tangents if type(t) is not Zero])
    n = len(nz_out)
    return outs[:n], zeros_filled(outs[:n], outs[n:], nz_out)


def zeros_filled(outs: Sequence[Any], tangents: Sequence[Any], nonzeros: NonZeros) -> list[Any]:
    """The given tangents where nonzeros says so, symbolic zeros elsewhere."""
    rest = iter(tangents)
    return [
        next(rest) if nz else Zero(typeof(p).to_tangent())
        for p, nz in zip(outs, nonzeros, strict=True)
    ]


def call_transpose(
    bind: Callable[..., list[Any]], cts: Sequence[Any], args: Sequence[Any], jaxpr: Jaxpr
) -> list[Any]:
    """The transpose rule of a primitive that runs a jaxpr."""
    linear = tuple([type(x) is UndefinedPrimal for x in args])
    known = [x for x, is_linear in zip(args, linear, strict=True) if not is_linear]
    given = tuple([type(ct) is not Zero for ct in cts])
    transposed = transpose_jaxpr(jaxpr, linear, given)
    outs = iter(bind(transposed, *known, *[ct for ct in cts if type(ct) is not Zero]))
    return [next(outs) if is_linear else None for is_linear in linear]
