"""Tracing to jaxprs with arguments that are known in part, and jaxprs without what is not used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.backends.compiler.simplify import eliminate_dead_code
from nr.core.avals import ShapedArray
from nr.core.jaxprs import Jaxpr, JaxprTrace, JaxprTracer, Var, trace_to_jaxpr
from nr.core.tracing import current, current_trace
from nr.extend.linear_util import WrappedFun

__all__ = ["PartialVal", "dce_jaxpr", "trace_to_jaxpr_dynamic", "trace_to_jaxpr_nounits"]


class PartialVal(tuple):
    """A pair: ``(None, value)`` where the value is known, ``(aval, None)`` where it is not."""

    __slots__ = ()

    @classmethod
    def known(cls, const: Any) -> PartialVal:
        """Of a known value."""
        return cls((None, const))

    @classmethod
    def unknown(cls, aval: ShapedArray) -> PartialVal:
        """Of a value of which only the aval is known."""
        return cls((aval, None))

    def is_known(self) -> bool:
        """Whether the value is known."""
        return self[0] is None

    def get_known(self) -> Any:
        """The value, None if it is not known."""
        return self[1] if self.is_known() else None


def trace_to_jaxpr_nounits(
    fun: WrappedFun, pvals: Sequence[PartialVal], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[PartialVal], list[Any]]:
    """Run a flat function as far as its arguments are known, and record the rest.

    Args:
        fun: a function of leaves that returns a list.
        pvals: its arguments.
        instantiate: which results the jaxpr gives also where they are known.

    Returns:
        The jaxpr of what depends on unknown arguments, with its constants in front of those;
        the results, known or unknown; the values of the constants.

    Example:
        >>> import nr
        >>> pe, lu = nr.interpreters.partial_eval, nr.extend.linear_util
        >>> f = lu.wrap_init(lambda x, y: [nr.numpy.sin(x), x * y])
        >>> aval = nr.core.ShapedArray((), "float32")
        >>> jaxpr, outs, consts = pe.trace_to_jaxpr_nounits(
        ...     f, [pe.PartialVal.known(0.0), pe.PartialVal.unknown(aval)])
        >>> float(outs[0].get_known()), outs[1].is_known()
        (0.0, False)
    """
    trace = JaxprTrace(current_trace(), name="trace_to_jaxpr_nounits")
    args = [p.get_known() if p.is_known() else trace.new_arg(p[0]) for p in pvals]
    try:
        with current(trace):
            outs = list(fun.call_wrapped(*args))
        forced = [instantiate] * len(outs) if isinstance(instantiate, bool) else instantiate
        outs = [trace.tracer(x) if flag else x for x, flag in zip(outs, forced, strict=True)]
        unknown = [isinstance(x, JaxprTracer) and x._trace is trace for x in outs]
        jaxpr, consts = trace.finish([x for x, flag in zip(outs, unknown, strict=True) if flag])
    finally:
        trace.alive = False
    results = [
        PartialVal.unknown(x.aval) if flag else PartialVal.known(x)
        for x, flag in zip(outs, unknown, strict=True)
    ]
    return jaxpr, results, consts


def trace_to_jaxpr_dynamic(
    fun: WrappedFun, in_avals: Sequence[ShapedArray], **options: Any
) -> tuple[Jaxpr, list[ShapedArray], list[Any]]:
    """The jaxpr of a flat function, the avals of its results, and its constants."""
    jaxpr, operands = trace_to_jaxpr(fun.call_wrapped, in_avals)
    n = len(operands)
    opened = jaxpr.replace(
        constvars=[*jaxpr.constvars, *jaxpr.invars[:n]],
        consts=[*jaxpr.consts, *operands],
        invars=jaxpr.invars[n:],
    )
    return opened, opened.out_avals, opened.consts


def dce_jaxpr(
    jaxpr: Jaxpr, used_outputs: Sequence[bool], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[bool]]:
    """The jaxpr of some results, without what these do not need, and which inputs they need.

    Args:
        jaxpr: a jaxpr.
        used_outputs: which results are wanted.
        instantiate: which inputs to keep in any case.

    Example:
        >>> import nr
        >>> jaxpr = nr.make_jaxpr(lambda x, y: (x + 1.0, x * y))(1.0, 2.0)
        >>> nr.interpreters.partial_eval.dce_jaxpr(jaxpr, [True, False])
        ({ lambda ; a:f32[] . let
            b:f32[] = add a 1.0:f32[]
          in (b,) }, [True, False])
    """
    outvars = [v for v, used in zip(jaxpr.outvars, used_outputs, strict=True) if used]
    small = eliminate_dead_code(jaxpr.replace(outvars=outvars))
    live = {v for v in outvars if type(v) is Var}
    live |= {v for eqn in small.eqns for v in eqn.invars if type(v) is Var}
    kept = [instantiate] * len(small.invars) if isinstance(instantiate, bool) else instantiate
    used = [v in live or flag for v, flag in zip(small.invars, kept, strict=True)]
    return small.replace(invars=[v for v, u in zip(small.invars, used, strict=True) if u]), used
