"""The scan and while primitives and their rules. The public functions are in control_flow.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.jaxprs import Jaxpr, JaxprTrace, Var, depends_on, eval_jaxpr, trace_closed
from nr.core.tracing import Primitive, typeof
from nr.core.unchecked import without_checks
from nr.lax.rules import add_tangents, instantiate, move_dim, to_front, zeros_of
from nr.transforms.ad import (
    jvp_jaxpr,
    linearize_jaxpr,
    transpose_jaxpr,
    zeros_filled,
)
from nr.transforms.batching import batch_jaxpr, jaxpr_uses_axis
from nr.transforms.partial_eval import chosen, merged, partial_eval_jaxpr, unknown_flags


def _fixpoint(flags: list[bool], start: int, stop: int, step: Callable) -> None:
    """Raise flags[start:stop], those of a carry, until `step(flags)` raises no more."""
    while True:
        raised = step(tuple(flags))
        new = [a or b for a, b in zip(flags[start:stop], raised, strict=True)]
        if new == flags[start:stop]:
            return
        flags[start:stop] = new


def _reordered(jaxpr: Jaxpr, invars: Sequence[int], outvars: Sequence[int] | None = None) -> Jaxpr:
    """The jaxpr with its inputs and outputs in another order (outputs may be left out)."""
    key = ("reordered", tuple(invars), None if outvars is None else tuple(outvars))
    found = jaxpr.cache.get(key)
    if found is None:
        outs = jaxpr.outvars if outvars is None else [jaxpr.outvars[i] for i in outvars]
        ins = [jaxpr.invars[i] for i in invars]
        found = jaxpr.cache[key] = jaxpr.replace(invars=ins, outvars=outs)
    return found


# ---------------------------------------------------------------- scan
# Operands: consts, carry, xs. Body: (*consts, *carry, *x) -> (*carry, *y).
def _scan_aval(
    *avals: ShapedArray,
    jaxpr: Jaxpr,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
) -> list[ShapedArray]:
    outs = jaxpr.out_avals
    ys = [ShapedArray((length, *a.shape), a.dtype) for a in outs[num_carry:]]
    return [*[a.strip_weak_type() for a in outs[:num_carry]], *ys]


def _scan_jvp(
    primals: Any, tangents: Any, *, jaxpr: Jaxpr, num_consts: int, num_carry: int, **params: Any
) -> Any:
    n, n_out = len(primals), len(jaxpr.outvars)
    nz = [type(t) is not Zero for t in tangents]
    lo, hi = num_consts, num_consts + num_carry

    def dual(flags: tuple[bool, ...]) -> tuple[Jaxpr, tuple[bool, ...]]:
        force = (*flags[lo:hi], *[False] * (n_out - num_carry))
        return jvp_jaxpr(jaxpr, flags, force)

    _fixpoint(nz, lo, hi, lambda flags: dual(flags)[1][:num_carry])
    body, nz_out = dual(tuple(nz))
    place: dict[int, int] = {}
    for i in range(n):
        if nz[i]:
            place[i] = n + len(place)
    groups = [range(lo), range(lo, hi), range(hi, n)]
    ins = [i for g in groups for i in (*g, *[place[j] for j in g if nz[j]])]
    out_place: dict[int, int] = {}
    for i in range(n_out):
        if nz_out[i]:
            out_place[i] = n_out + len(out_place)
    out_groups = [range(num_carry), range(num_carry, n_out)]
    outs_order = [i for g in out_groups for i in (*g, *[out_place[j] for j in g if nz_out[j]])]
    values = [*primals, *[instantiate(t) for t, z in zip(tangents, nz, strict=True) if z]]
    outs = scan_p.bind(
        *[values[i] for i in ins],
        jaxpr=_reordered(body, ins, outs_order),
        num_consts=lo + sum(nz[:lo]),
        num_carry=num_carry + sum(nz[lo:hi]),
        **params,
    )
    found = dict(zip(outs_order, outs, strict=True))
    primals_out = [found[i] for i in range(n_out)]
    return primals_out, [
        found[out_place[i]] if nz_out[i] else Zero(typeof(primals_out[i]).to_tangent())
        for i in range(n_out)
    ]


def _scan_linearize(
    nonzeros: Sequence[bool],
    *primals: Any,
    jaxpr: Jaxpr,
    num_consts: int,
    num_carry: int,
    **params: Any,
) -> Any:
    nz = list(nonzeros)
    lo, hi, n_out = num_consts, num_consts + num_carry, len(jaxpr.outvars)

    def parts(flags: tuple[bool, ...]) -> tuple[Jaxpr, Jaxpr, int, tuple[bool, ...]]:
        force = (*flags[lo:hi], *[False] * (n_out - num_carry))
        return linearize_jaxpr(jaxpr, flags, force)

    _fixpoint(nz, lo, hi, lambda flags: parts(flags)[3][:num_carry])
    primal, tangent, n_res, nz_out = parts(tuple(nz))

    # A residual that is an input of the body is not stacked: it is passed again.
    known = {v: i for i, v in enumerate(primal.invars) if not lo <= i < hi}
    res_atoms = primal.outvars[n_out:]
    stacked: dict[Any, int] = {}
    for a in res_atoms:
        if a not in known and a not in stacked:
            stacked[a] = n_out + len(stacked)
    forward = primal.cache.setdefault(
        "scan_forward",
        primal.replace(outvars=[*primal.outvars[:n_out], *stacked]),
    )
    outs = scan_p.bind(
        *primals, jaxpr=forward, num_consts=num_consts, num_carry=num_carry, **params
    )

    def residual(a: Any) -> tuple[Any, bool]:
        """The value, and whether it is the same in all steps."""
        if a in known:
            return primals[known[a]], known[a] < lo
        return outs[stacked[a]], False

    residuals = [residual(a) for a in res_atoms]
    fixed = [i for i, (_, const) in enumerate(residuals) if const]
    varying = [i for i, (_, const) in enumerate(residuals) if not const]
    n_tc, n_tk, n_t = sum(nz[:lo]), sum(nz[lo:hi]), sum(nz)
    t = [n_res + i for i in range(n_t)]
    order = [*fixed, *t[: n_tc + n_tk], *varying, *t[n_tc + n_tk :]]
    body = _reordered(tangent, order)

    def linear_fun(*tangents: Any) -> list[Any]:
        rest = iter(tangents)
        full = [
            next(rest) if given else zeros_of(typeof(p).to_tangent())
            for p, given, z in zip(primals, nonzeros, nz, strict=True)
            if z
        ]
        results = scan_p.bind(
            *[residuals[i][0] for i in fixed],
            *full[: n_tc + n_tk],
            *[residuals[i][0] for i in varying],
            *full[n_tc + n_tk :],
            jaxpr=body,
            num_consts=len(fixed) + n_tc,
            num_carry=n_tk,
            **params,
        )
        return zeros_filled(outs[:n_out], results, nz_out)

    return outs[:n_out], linear_fun


def _scan_transpose(
    cts: Any,
    *args: Any,
    jaxpr: Jaxpr,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
) -> list[Any]:
    lo, hi = num_consts, num_consts + num_carry
    undefined = [type(x) is UndefinedPrimal for x in args]
    flags = list(undefined)
    _fixpoint(flags, lo, hi, lambda f: depends_on(jaxpr, f)[:num_carry])
    if not all(flags[lo:hi]):  # some carries are not linear: run them forward first
        params = {"length": length, "reverse": reverse, "unroll": unroll}
        return _transpose_after_split(cts, args, jaxpr, undefined, lo, hi, params)
    linear = tuple(flags)
    transposed = transpose_jaxpr(jaxpr, linear)
    avals = jaxpr.in_avals
    c_known = [i for i in range(lo) if not linear[i]]
    c_linear = [i for i in range(lo) if linear[i]]
    x_known = [i for i in range(hi, len(args)) if not linear[i]]
    x_linear = [i for i in range(hi, len(args)) if linear[i]]
    n_y = len(jaxpr.outvars) - num_carry

    # The reverse loop: consts c_known; carry (sums for c_linear, ct_carry); xs (ct_y, x_known)
    def body(*values: Any) -> list[Any]:
        rest = iter(values)

        def take(n: int) -> list[Any]:
            return [next(rest) for _ in range(n)]

        known_c, sums, ct_carry = take(len(c_known)), take(len(c_linear)), take(num_carry)
        ct_y, known_x = take(n_y), take(len(x_known))
        outs = eval_jaxpr(transposed, *known_c, *known_x, *ct_carry, *ct_y)
        ct_c, rest_outs = outs[: len(c_linear)], outs[len(c_linear) :]
        return [*map(add_tangents, sums, ct_c), *rest_outs]

    key = ("scan_transpose", num_consts, num_carry, linear)
    reverse_body = jaxpr.cache.get(key)
    if reverse_body is None:
        reverse_body = jaxpr.cache[key] = trace_closed(
            body,
            [
                *[avals[i] for i in (*c_known, *c_linear, *range(lo, hi))],
                *jaxpr.out_avals[num_carry:],
                *[avals[i] for i in x_known],
            ],
        )
    cts = [instantiate(ct) for ct in cts]
    outs = scan_p.bind(
        *[args[i] for i in c_known],
        *[zeros_of(avals[i]) for i in c_linear],
        *cts,
        *[args[i] for i in x_known],
        jaxpr=reverse_body,
        num_consts=len(c_known),
        num_carry=len(c_linear) + num_carry,
        length=length,
        reverse=not reverse,
        unroll=unroll,
    )
    found = dict(zip([*c_linear, *range(lo, hi), *x_linear], outs, strict=True))
    return [found[i] if u else None for i, u in enumerate(undefined)]


def _transpose_after_split(
    cts: Any, args: Any, jaxpr: Jaxpr, undefined: list[bool], lo: int, hi: int, params: dict
) -> list[Any]:
    split = _split_scan(jaxpr, undefined, lo, hi)
    flags, out_unknown = split[2], split[3]
    result: list[Any] = []

    def transpose_rest(rest_args: list[Any], rest_params: dict[str, Any]) -> list[Any]:
        unknown_cts = chosen(cts, out_unknown, True)
        result[:] = _scan_transpose(unknown_cts, *rest_args, **rest_params)
        return unknown_cts

    _run_split_scan(transpose_rest, args, split, lo, hi, params)
    n_ck = sum(flags[:hi])
    n_res = len(result) - sum(flags)
    in_cts = iter([*result[:n_ck], *result[n_ck + n_res :]])
    found = [next(in_cts) if flag else None for flag in flags]
    return [ct if u else None for ct, u in zip(found, undefined, strict=True)]


def _scan_batch(
    axis: Any, args: Any, dims: Any, *, jaxpr: Jaxpr, num_consts: int, num_carry: int, **params: Any
) -> Any:
    lo, hi = num_consts, num_consts + num_carry
    n_y = len(jaxpr.outvars) - num_carry
    batched = [d is not None for d in dims]

    def body(flags: tuple[bool, ...]) -> tuple[Jaxpr, tuple[int | None, ...]]:
        force = (*flags[lo:hi], *[False] * n_y)
        in_dims = tuple([0 if b else None for b in flags])
        return batch_jaxpr(jaxpr, in_dims, axis.size, axis.name, force)

    _fixpoint(batched, lo, hi, lambda flags: [d is not None for d in body(flags)[1][:num_carry]])
    new_body, out_dims = body(tuple(batched))
    values = []
    for i, (x, d) in enumerate(zip(args, dims, strict=True)):
        if not batched[i]:
            values.append(x)
        elif i < hi:
            values.append(to_front(x, d, axis.size))
        else:  # the scanned dimension stays in front, the batch comes second
            values.append(move_dim(x, d, 1))
    outs = scan_p.bind(
        *values, jaxpr=new_body, num_consts=num_consts, num_carry=num_carry, **params
    )
    return outs, [
        None if d is None else (0 if i < num_carry else 1) for i, d in enumerate(out_dims)
    ]


def _split_scan(
    jaxpr: Jaxpr, unknown: Sequence[bool], lo: int, hi: int
) -> tuple[Jaxpr, Jaxpr, list[bool], tuple[bool, ...]]:
    """The body split by what is unknown in any step: parts, unknown inputs, unknown outputs."""
    flags = list(unknown)
    _fixpoint(flags, lo, hi, lambda f: depends_on(jaxpr, f)[: hi - lo])
    force = (*flags[lo:hi], *[False] * (len(jaxpr.outvars) - (hi - lo)))
    known, rest, out_unknown = partial_eval_jaxpr(jaxpr, tuple(flags), force)
    return known, rest, flags, out_unknown


def _run_split_scan(
    bind_rest: Callable, args: Sequence[Any], split: Any, lo: int, hi: int, params: dict[str, Any]
) -> list[Any]:
    """Run the known part of a scan, then ``bind_rest(args, params)`` on what it leaves."""
    known, rest, flags, out_unknown = split
    n_carry = flags[lo:hi].count(False)
    n_known = out_unknown.count(False)
    outs = scan_p.bind(
        *chosen(args, flags, False),
        jaxpr=known,
        num_consts=flags[:lo].count(False),
        num_carry=n_carry,
        **params,
    )
    residuals = outs[n_known:]
    n_ck, n_res = sum(flags[:hi]), len(residuals)
    order = [*range(n_res, n_res + n_ck), *range(n_res), *range(n_res + n_ck, len(rest.invars))]
    unknown_args = chosen(args, flags, True)
    tracers = bind_rest(
        [*unknown_args[:n_ck], *residuals, *unknown_args[n_ck:]],
        {
            "jaxpr": _reordered(rest, order),
            "num_consts": sum(flags[:lo]),
            "num_carry": sum(flags[lo:hi]),
            **params,
        },
    )
    return merged(outs[:n_known], tracers, out_unknown)


def _scan_stage(trace: JaxprTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Recorded as one eqn, but for outputs that partial evaluation can compute now."""
    unknown = unknown_flags(trace, args)
    params = dict(params)
    jaxpr, lo, n_carry = params["jaxpr"], params["num_consts"], params["num_carry"]
    if trace.parent is None:
        return trace.record(scan_p, args, params)
    split = _split_scan(jaxpr, unknown, lo, lo + n_carry)
    if all(split[3]):
        return trace.record(scan_p, args, params)
    for key in ("jaxpr", "num_consts", "num_carry"):
        del params[key]
    return _run_split_scan(
        lambda rest_args, rest_params: trace.record(scan_p, rest_args, rest_params),
        args,
        split,
        lo,
        lo + n_carry,
        params,
    )


scan_p = Primitive(
    "scan",
    multiple_results=True,
    stage=_scan_stage,
    abstract_eval=_scan_aval,
    jvp=_scan_jvp,
    linearize=_scan_linearize,
    transpose=_scan_transpose,
    batch=_scan_batch,
    uses_axis=jaxpr_uses_axis,
)


# ---------------------------------------------------------------- while
# Operands: consts of the condition, consts of the body, carry.
def _while_aval(*avals: ShapedArray, body_jaxpr: Jaxpr, **params: Any) -> list[ShapedArray]:
    return [a.strip_weak_type() for a in body_jaxpr.out_avals]


def _while_jvp(
    primals: Any,
    tangents: Any,
    *,
    cond_jaxpr: Jaxpr,
    body_jaxpr: Jaxpr,
    cond_nconsts: int,
    body_nconsts: int,
) -> Any:
    cond_consts = primals[:cond_nconsts]
    primals, tangents = primals[cond_nconsts:], tangents[cond_nconsts:]
    n_carry = len(primals) - body_nconsts
    nz = [type(t) is not Zero for t in tangents]
    _fixpoint(
        nz,
        body_nconsts,
        len(nz),
        lambda flags: jvp_jaxpr(body_jaxpr, flags, flags[body_nconsts:])[1],
    )
    dual, nz_out = jvp_jaxpr(body_jaxpr, tuple(nz), tuple(nz[body_nconsts:]))
    n = len(primals)
    place: dict[int, int] = {}
    for i in range(n):
        if nz[i]:
            place[i] = n + len(place)
    consts, carry = range(body_nconsts), range(body_nconsts, n)
    ins = [i for g in (consts, carry) for i in (*g, *[place[j] for j in g if nz[j]])]
    body = _reordered(dual, ins)
    values = [*primals, *[instantiate(t) for t, z in zip(tangents, nz, strict=True) if z]]
    n_dots = sum(nz[body_nconsts:])
    outs = while_p.bind(
        *cond_consts,
        *[values[i] for i in ins],
        cond_jaxpr=_ignoring(cond_jaxpr, body.in_avals[len(body.in_avals) - n_dots :]),
        body_jaxpr=body,
        cond_nconsts=cond_nconsts,
        body_nconsts=body_nconsts + sum(nz[:body_nconsts]),
    )
    return outs[:n_carry], zeros_filled(outs[:n_carry], outs[n_carry:], nz_out)


def _ignoring(cond_jaxpr: Jaxpr, extra: Sequence[ShapedArray]) -> Jaxpr:
    """The condition, taking further carries that it does not look at."""
    return cond_jaxpr.replace(invars=[*cond_jaxpr.invars, *[Var(a) for a in extra]])


def _while_linearize(nonzeros: Sequence[bool], *primals: Any, **params: Any) -> Any:
    outs = while_p.bind(*primals, **params)

    def linear_fun(*tangents: Any) -> list[Any]:
        full = zeros_filled(primals, tangents, tuple(nonzeros))
        # The primal loop runs again beside the tangents: nothing was kept of its steps.
        return _while_jvp(primals, full, **params)[1]

    return outs, linear_fun


def _while_transpose(cts: Any, *args: Any, **params: Any) -> Any:
    raise ValueError(
        "while_loop: reverse-mode differentiation needs the number of steps beforehand; got a "
        "while_loop (or a fori_loop with traced bounds). Use nr.lax.scan, nr.lax.fori_loop with "
        "static bounds, or forward mode (nr.jvp, nr.jacfwd)."
    )


def _while_batch(
    axis: Any,
    args: Any,
    dims: Any,
    *,
    cond_jaxpr: Jaxpr,
    body_jaxpr: Jaxpr,
    cond_nconsts: int,
    body_nconsts: int,
) -> Any:
    n_consts = cond_nconsts + body_nconsts
    batched = [d is not None for d in dims]
    cond_b, body_b = batched[:cond_nconsts], batched[cond_nconsts:n_consts]
    carry_b = batched[n_consts:]

    def dims_of(flags: Sequence[bool]) -> tuple[int | None, ...]:
        return tuple([0 if b else None for b in flags])

    while True:
        _, (pred_dim,) = batch_jaxpr(cond_jaxpr, dims_of([*cond_b, *carry_b]), axis.size, axis.name)
        if pred_dim is not None:  # lanes stop at different steps: every carry is batched
            carry_b = [True] * len(carry_b)
        _, out_dims = batch_jaxpr(
            body_jaxpr, dims_of([*body_b, *carry_b]), axis.size, axis.name, tuple(carry_b)
        )
        new = [b or d is not None for b, d in zip(carry_b, out_dims, strict=True)]
        if new == carry_b:
            break
        carry_b = new
    cond, (pred_dim,) = batch_jaxpr(cond_jaxpr, dims_of([*cond_b, *carry_b]), axis.size, axis.name)
    body, _ = batch_jaxpr(
        body_jaxpr, dims_of([*body_b, *carry_b]), axis.size, axis.name, tuple(carry_b)
    )
    values = [
        to_front(x, d, axis.size) if b else x
        for x, d, b in zip(args, dims, [*cond_b, *body_b, *carry_b], strict=True)
    ]
    if pred_dim is not None:
        cond, body = without_checks(cond), without_checks(body)  # lanes run on that have ended
        return _while_by_lanes(axis, values, cond, body, cond_nconsts, body_nconsts), [0] * len(
            carry_b
        )
    outs = while_p.bind(
        *values,
        cond_jaxpr=cond,
        body_jaxpr=body,
        cond_nconsts=cond_nconsts,
        body_nconsts=body_nconsts,
    )
    return outs, [0 if b else None for b in carry_b]


def _while_by_lanes(
    axis: Any, values: list, cond: Jaxpr, body: Jaxpr, cond_nconsts: int, body_nconsts: int
) -> list[Any]:
    """Loop while any lane goes on; lanes that are done keep their carry."""
    n_consts = cond_nconsts + body_nconsts
    bind = Primitive.all

    def any_lane(*args: Any) -> list[Any]:
        (preds,) = eval_jaxpr(cond, *args)
        return [bind["reduce_or"].bind(preds, axes=(0,))]

    def step(*args: Any) -> list[Any]:
        consts_c, consts_b = args[:cond_nconsts], args[cond_nconsts:n_consts]
        carry = args[n_consts:]
        (preds,) = eval_jaxpr(cond, *consts_c, *carry)
        new = eval_jaxpr(body, *consts_b, *carry)
        return [select_lanes(preds, a, b) for a, b in zip(new, carry, strict=True)]

    avals = [typeof(v).strip_weak_type() for v in values]
    return while_p.bind(
        *values[:cond_nconsts],
        *values[:n_consts],
        *values[n_consts:],
        cond_jaxpr=trace_closed(any_lane, [*avals[:cond_nconsts], *avals[n_consts:]]),
        body_jaxpr=trace_closed(step, avals),
        cond_nconsts=cond_nconsts,
        body_nconsts=n_consts,
    )


def select_lanes(preds: Any, on_true: Any, on_false: Any) -> Any:
    """Lane by lane one of two values; preds is a vector with one entry a lane."""
    shape = typeof(on_true).shape
    mask = Primitive.all["broadcast_in_dim"].bind(preds, shape=shape, broadcast_dimensions=(0,))
    return Primitive.all["select_n"].bind(mask, on_false, on_true)


def _while_stage(trace: JaxprTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Recorded as one eqn; carries that are known throughout are computed now as well."""
    cond_jaxpr, body_jaxpr = params["cond_jaxpr"], params["body_jaxpr"]
    n_cond, n_consts = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    tracers = trace.record(while_p, args, params)
    if trace.parent is None:
        return tracers
    flags = list(unknown_flags(trace, args))
    cond_flags, flags = flags[:n_cond], flags[n_cond:]
    n_body = params["body_nconsts"]
    _fixpoint(flags, n_body, len(flags), lambda f: depends_on(body_jaxpr, f))
    carry_flags = flags[n_body:]
    if any(depends_on(cond_jaxpr, (*cond_flags, *carry_flags))) or all(carry_flags):
        return tracers
    known_cond, _, _ = partial_eval_jaxpr(cond_jaxpr, (*cond_flags, *carry_flags))
    known_body, _, _ = partial_eval_jaxpr(body_jaxpr, tuple(flags), tuple(carry_flags))
    n_carry = carry_flags.count(False)
    outs = while_p.bind_with(
        trace.parent,
        [
            *chosen(args[:n_cond], cond_flags, False),
            *chosen(args[n_cond:n_consts], flags[:n_body], False),
            *chosen(args[n_consts:], carry_flags, False),
        ],
        {
            "cond_jaxpr": known_cond,
            "body_jaxpr": known_body.replace(outvars=known_body.outvars[:n_carry]),
            "cond_nconsts": cond_flags.count(False),
            "body_nconsts": flags[:n_body].count(False),
        },
    )
    return merged(outs, chosen(tracers, carry_flags, True), carry_flags)


while_p = Primitive(
    "while",
    multiple_results=True,
    stage=_while_stage,
    abstract_eval=_while_aval,
    jvp=_while_jvp,
    linearize=_while_linearize,
    transpose=_while_transpose,
    batch=_while_batch,
    uses_axis=jaxpr_uses_axis,
)
