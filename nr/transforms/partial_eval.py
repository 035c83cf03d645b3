"""Splitting a jaxpr into what known inputs determine and the rest.

First-order eqns need none of this: a `JaxprTrace` with a parent evaluates or records each. It is
for eqns that hold jaxprs and whose operands are known only in part, as happens when the rule of a
custom_jvp calls a jitted function, or a loop, with primals and tangents together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.core.jaxprs import (
    Jaxpr,
    JaxprTrace,
    JaxprTracer,
    cached_on_jaxpr,
    close,
    eval_jaxpr,
)
from nr.core.tracing import current

Flags = tuple[bool, ...]


def unknown_flags(trace: JaxprTrace, args: Sequence[Any]) -> Flags:
    """Which operands a recording trace does not know."""
    return tuple([isinstance(x, JaxprTracer) and x._trace is trace for x in args])


def chosen(values: Sequence[Any], flags: Sequence[bool], flag: bool) -> list[Any]:
    """The values whose flag is as given."""
    return [x for x, f in zip(values, flags, strict=True) if f is flag]


def merged(known: Sequence[Any], unknown: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    """Known and unknown values in their places."""
    k, u = iter(known), iter(unknown)
    return [next(u) if flag else next(k) for flag in flags]


@cached_on_jaxpr
def partial_eval_jaxpr(
    jaxpr: Jaxpr, unknown: Flags, force: Flags | bool = False
) -> tuple[Jaxpr, Jaxpr, Flags]:
    """Split by which inputs are unknown; outputs flagged in `force` count as unknown.

    Returns:
        the known jaxpr ``(*known ins) -> (*known outs, *residuals)``, the unknown jaxpr
        ``(*residuals, *unknown ins) -> unknown outs``, and which outputs are unknown.
    """
    outer = JaxprTrace(name="partial evaluation")
    inner = JaxprTrace(outer, name="partial evaluation")
    args = [
        (inner if flag else outer).new_arg(aval)
        for aval, flag in zip(jaxpr.in_avals, unknown, strict=True)
    ]
    with current(inner):
        outs = eval_jaxpr(jaxpr, *args)
    forced = [force] * len(outs) if isinstance(force, bool) else force
    out_unknown = tuple([f or u for f, u in zip(forced, unknown_flags(inner, outs), strict=True)])
    rest, residuals = inner.finish(chosen(outs, out_unknown, True))
    known, captured = outer.finish([*chosen(outs, out_unknown, False), *residuals])
    known, operands = close(known, captured)
    assert not operands, "nr bug: partial_eval_jaxpr closes over a tracer"
    return known, rest, out_unknown
