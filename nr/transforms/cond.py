"""The cond primitive (one of several branches) and its rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.core import dtypes
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.jaxprs import (
    Jaxpr,
    JaxprTrace,
    cached_on_jaxpr,
    depends_on,
    eval_jaxpr,
    trace_closed,
)
from nr.core.tracing import EVAL, Primitive, current_trace, typeof
from nr.core.unchecked import without_checks
from nr.lax.rules import instantiate, to_front, zeros_of
from nr.transforms.ad import (
    jvp_jaxpr,
    linearize_jaxpr,
    transpose_jaxpr,
    zeros_filled,
)
from nr.transforms.batching import batch_jaxpr, jaxpr_uses_axis
from nr.transforms.partial_eval import chosen, merged, partial_eval_jaxpr, unknown_flags

Branches = tuple[Jaxpr, ...]


def _cond_aval(index: ShapedArray, *avals: ShapedArray, branches: Branches) -> list[ShapedArray]:
    return [a.strip_weak_type() for a in branches[0].out_avals]


def _union(flags: Sequence[Sequence[bool]]) -> tuple[bool, ...]:
    return tuple([any(column) for column in zip(*flags, strict=True)])


def _cond_jvp(primals: Any, tangents: Any, *, branches: Branches) -> Any:
    nz = tuple([type(t) is not Zero for t in tangents[1:]])
    nz_out = _union([jvp_jaxpr(b, nz)[1] for b in branches])
    duals = tuple([jvp_jaxpr(b, nz, nz_out)[0] for b in branches])
    outs = cond_p.bind(*primals, *[t for t in tangents[1:] if type(t) is not Zero], branches=duals)
    n = len(nz_out)
    return outs[:n], zeros_filled(outs[:n], outs[n:], nz_out)


@cached_on_jaxpr
def _with_slots(
    jaxpr: Jaxpr, n_out: int, slots: tuple[int, ...], avals: tuple[ShapedArray, ...]
) -> Jaxpr:
    """Residual i goes to slots[i] of all residuals; slots of other branches are zeros."""

    def f(*args: Any) -> list[Any]:
        outs = eval_jaxpr(jaxpr, *args)
        own = dict(zip(slots, outs[n_out:], strict=True))
        return [
            *outs[:n_out],
            *[own[i] if i in own else zeros_of(a) for i, a in enumerate(avals)],
        ]

    return trace_closed(f, jaxpr.in_avals)


@cached_on_jaxpr
def _from_slots(jaxpr: Jaxpr, slots: tuple[int, ...], avals: tuple[ShapedArray, ...]) -> Jaxpr:
    """The tangent program of a branch, taking all residuals."""

    def f(*args: Any) -> list[Any]:
        return eval_jaxpr(jaxpr, *[args[i] for i in slots], *args[len(avals) :])

    return trace_closed(f, [*avals, *jaxpr.in_avals[len(slots) :]])


def _share_slots(
    residuals: Sequence[Sequence[ShapedArray]],
) -> tuple[list[tuple[int, ...]], tuple[ShapedArray, ...]]:
    """Slots that residuals of different branches share where their avals agree."""
    avals: list[ShapedArray] = []
    assigned = []
    for own in residuals:
        free = list(range(len(avals)))
        slots = []
        for aval in own:
            slot = next((i for i in free if avals[i] is aval), None)
            if slot is None:
                slot = len(avals)
                avals.append(aval)
            else:
                free.remove(slot)
            slots.append(slot)
        assigned.append(tuple(slots))
    return assigned, tuple(avals)


def _cond_linearize(nonzeros: Sequence[bool], index: Any, *primals: Any, branches: Branches) -> Any:
    nz = tuple(nonzeros[1:])
    nz_out = _union([linearize_jaxpr(b, nz)[3] for b in branches])
    parts = [linearize_jaxpr(b, nz, nz_out) for b in branches]
    n = len(nz_out)
    slots, avals = _share_slots([primal.out_avals[n:] for primal, *_ in parts])
    forward = tuple([_with_slots(p[0], n, s, avals) for p, s in zip(parts, slots, strict=True)])
    outs = cond_p.bind(index, *primals, branches=forward)
    outs, residuals = outs[:n], outs[n:]
    linear = tuple([_from_slots(p[1], s, avals) for p, s in zip(parts, slots, strict=True)])

    def linear_fun(*tangents: Any) -> list[Any]:
        results = cond_p.bind(index, *residuals, *tangents, branches=linear)
        return zeros_filled(outs, results, nz_out)

    return outs, linear_fun


def _cond_transpose(cts: Any, index: Any, *args: Any, branches: Branches) -> list[Any]:
    linear = tuple([type(x) is UndefinedPrimal for x in args])
    known = [x for x, is_linear in zip(args, linear, strict=True) if not is_linear]
    transposed = tuple([transpose_jaxpr(b, linear) for b in branches])
    outs = iter(cond_p.bind(index, *known, *[instantiate(ct) for ct in cts], branches=transposed))
    return [None, *[next(outs) if is_linear else None for is_linear in linear]]


def _guarded(
    index: Any, i: int, operands: Sequence[Any], dims: Sequence[int | None], size: int
) -> tuple[list[Any], tuple[int | None, ...]]:
    """The operands of branch i, constants to differentiation in lanes that take another branch.

    There the cotangents of the results are 0, and 0 times an infinite derivative is NaN. Arrays
    that all lanes share stay shared: a copy a lane would cost what sharing saves.
    """
    if current_trace() is EVAL:
        return list(operands), tuple(dims)
    mine = Primitive.all["eq"].bind(index, typeof(index).dtype.type(i))
    guarded, out_dims = [], []
    for x, d in zip(operands, dims, strict=True):
        if typeof(x).dtype in dtypes.INEXACT and (d is not None or not typeof(x).shape):
            x, d = to_front(x, d, size), 0
            which = Primitive.all["broadcast_in_dim"].bind(
                mine, shape=typeof(x).shape, broadcast_dimensions=(0,)
            )
            constant = Primitive.all["stop_gradient"].bind(x)
            x = Primitive.all["select_n"].bind(which, constant, x)
        guarded.append(x)
        out_dims.append(d)
    return guarded, tuple(out_dims)


def _cond_batch(axis: Any, args: Any, dims: Any, *, branches: Branches) -> Any:
    in_dims = tuple([None if d is None else 0 for d in dims[1:]])
    args = [x if d is None else to_front(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
    found = [batch_jaxpr(b, in_dims, axis.size, axis.name) for b in branches]
    if dims[0] is None:
        force = _union([[d is not None for d in out_dims] for _, out_dims in found])
        batched = tuple([batch_jaxpr(b, in_dims, axis.size, axis.name, force)[0] for b in branches])
        outs = cond_p.bind(*args, branches=batched)
        return outs, [0 if flag else None for flag in force]
    # Each lane has a branch of its own: run all branches, and select.
    index = args[0]
    if typeof(index).dtype.kind != "b" or len(branches) != 2:
        last = typeof(index).dtype.type(len(branches) - 1)
        index = Primitive.all["clamp"].bind(typeof(index).dtype.type(0), index, last)
    results = []
    for i, branch in enumerate(branches):
        operands, own_dims = _guarded(index, i, args[1:], in_dims, axis.size)
        body, _ = batch_jaxpr(without_checks(branch), own_dims, axis.size, axis.name, True)
        results.append(eval_jaxpr(body, *operands))
    outs = []
    for cases in zip(*results, strict=True):
        shape = typeof(cases[0]).shape
        which = Primitive.all["broadcast_in_dim"].bind(
            index, shape=shape, broadcast_dimensions=(0,)
        )
        outs.append(Primitive.all["select_n"].bind(which, *cases))
    return outs, [0] * len(outs)


def _cond_stage(trace: JaxprTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Recorded as one eqn, but for outputs that partial evaluation can compute now."""
    branches = params["branches"]
    index, operands = args[0], args[1:]
    index_unknown, *flags = unknown_flags(trace, args)
    unknown = tuple(flags)
    if trace.parent is None or index_unknown:
        return trace.record(cond_p, args, params)
    out_unknown = _union([depends_on(b, unknown) for b in branches])
    if all(out_unknown):
        return trace.record(cond_p, args, params)
    parts = [partial_eval_jaxpr(b, unknown, out_unknown) for b in branches]
    n = out_unknown.count(False)
    slots, avals = _share_slots([known.out_avals[n:] for known, *_ in parts])
    known = tuple([_with_slots(p[0], n, s, avals) for p, s in zip(parts, slots, strict=True)])
    rest = tuple([_from_slots(p[1], s, avals) for p, s in zip(parts, slots, strict=True)])
    outs = cond_p.bind(index, *chosen(operands, unknown, False), branches=known)
    tracers = trace.record(
        cond_p, [index, *outs[n:], *chosen(operands, unknown, True)], {"branches": rest}
    )
    return merged(outs[:n], tracers, out_unknown)


cond_p = Primitive(
    "cond",
    multiple_results=True,
    stage=_cond_stage,
    abstract_eval=_cond_aval,
    jvp=_cond_jvp,
    linearize=_cond_linearize,
    transpose=_cond_transpose,
    batch=_cond_batch,
    uses_axis=jaxpr_uses_axis,
)
