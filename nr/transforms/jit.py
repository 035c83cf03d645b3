"""The primitive of a compiled call, and its rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.core.avals import ShapedArray
from nr.core.jaxprs import Jaxpr, JaxprTrace, depends_on
from nr.core.tracing import Primitive
from nr.transforms.ad import (
    call_jvp,
    call_transpose,
    linearize_jaxpr,
    zeros_filled,
)
from nr.transforms.batching import call_batch, jaxpr_uses_axis
from nr.transforms.partial_eval import chosen, merged, partial_eval_jaxpr, unknown_flags


def call_aval(*avals: ShapedArray, jaxpr: Jaxpr, **params: Any) -> list[ShapedArray]:
    """The avals of a call are those of its jaxpr; operands must be what it takes."""
    for aval, expected in zip(avals, jaxpr.in_avals, strict=True):
        assert (aval.shape, aval.dtype) == (expected.shape, expected.dtype), (
            f"nr bug: a call got {aval} for {expected}"
        )
    return jaxpr.out_avals


def _linearize(nonzeros: Sequence[bool], *primals: Any, jaxpr: Jaxpr, name: str) -> Any:
    primal, tangent, _, nz_out = linearize_jaxpr(jaxpr, tuple(nonzeros))
    outs = jit_p.bind(*primals, jaxpr=primal, name=name)
    n = len(nz_out)
    outs, residuals = outs[:n], outs[n:]

    def linear_fun(*tangents: Any) -> list[Any]:
        results = jit_p.bind(*residuals, *tangents, jaxpr=tangent, name=name)
        return zeros_filled(outs, results, nz_out)

    return outs, linear_fun


def _bind(name: str) -> Any:
    return lambda jaxpr, *args: jit_p.bind(*args, jaxpr=jaxpr, name=name)


def _stage(trace: JaxprTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Recorded as one eqn, but for outputs that partial evaluation can compute now."""
    jaxpr, name = params["jaxpr"], params["name"]
    unknown = unknown_flags(trace, args)
    if trace.parent is None or all(depends_on(jaxpr, unknown)):
        return trace.record(jit_p, args, params)
    known, rest, out_unknown = partial_eval_jaxpr(jaxpr, unknown)
    outs = jit_p.bind(*chosen(args, unknown, False), jaxpr=known, name=name)
    n = out_unknown.count(False)
    tracers = trace.record(
        jit_p, [*outs[n:], *chosen(args, unknown, True)], {"jaxpr": rest, "name": name}
    )
    return merged(outs[:n], tracers, out_unknown)


jit_p = Primitive(
    "jit",
    multiple_results=True,
    stage=_stage,
    abstract_eval=call_aval,
    jvp=lambda primals, tangents, *, jaxpr, name: call_jvp(_bind(name), primals, tangents, jaxpr),
    linearize=_linearize,
    transpose=lambda cts, *args, jaxpr, name: call_transpose(_bind(name), cts, args, jaxpr),
    batch=lambda axis, args, dims, *, jaxpr, name: call_batch(_bind(name), axis, args, dims, jaxpr),
    uses_axis=jaxpr_uses_axis,
)
