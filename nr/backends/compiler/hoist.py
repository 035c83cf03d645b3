"""Work that every step of a loop would repeat, done once before the loop.

Carries that no step changes are constants. Values that depend on constants only move out of a body,
if there is real work in them: what merely moves elements is cheaper as a view inside than as an
array that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.backends.compiler.lowering.rules import ELEMENT
from nr.backends.compiler.simplify import simplify
from nr.core.jaxprs import Jaxpr, JaxprEqn, Var, eqn_effectful

# An element rule of at least this cost is work; all that is not an element rule is, too.
_WORK = 2.0


def hoist_invariants(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with invariant work of its scans and while loops before them."""
    if not any([eqn.primitive.name in ("scan", "while") for eqn in jaxpr.eqns]):
        return jaxpr
    constvars, consts = list(jaxpr.constvars), list(jaxpr.consts)
    eqns: list[JaxprEqn] = []

    def hoist(body: Jaxpr, operands: Sequence[Any]) -> tuple[Jaxpr, list[Var]]:
        """A body without its invariant work, and the new operands that it takes first."""
        body = simplify(hoist_invariants(simplify(body)))  # inner loops first
        n = len(operands)
        moved, results = _invariant(body, n)
        if not results:
            return body, []
        outer: dict[Var, Any] = dict(zip(body.invars[:n], operands, strict=True))
        for var, value in zip(body.constvars, body.consts, strict=True):
            outer[var] = fresh = Var(var.aval)
            constvars.append(fresh)
            consts.append(value)
        for eqn in moved:
            outer.update({v: Var(v.aval) for v in eqn.outvars})
            invars = [outer[a] if type(a) is Var else a for a in eqn.invars]
            eqns.append(eqn.replace(invars=invars, outvars=[outer[v] for v in eqn.outvars]))
        gone = {id(eqn) for eqn in moved}
        needed = _needed(body, gone, set(results))
        rest = [eqn for eqn in body.eqns if id(eqn) not in gone or id(eqn) in needed]
        inner = {v: Var(v.aval) for v in results}
        renamed = [
            eqn.replace(invars=[inner.get(a, a) if type(a) is Var else a for a in eqn.invars])
            for eqn in rest
        ]
        outvars = [inner.get(a, a) if type(a) is Var else a for a in body.outvars]
        body = body.replace(
            invars=[*[inner[v] for v in results], *body.invars], eqns=renamed, outvars=outvars
        )
        return simplify(body), [outer[v] for v in results]

    unchanged: dict[Var, Any] = {}
    for eqn in jaxpr.eqns:
        eqn = eqn.replace(invars=[unchanged.get(a, a) if type(a) is Var else a for a in eqn.invars])
        if eqn.primitive.name in ("scan", "while"):
            eqn, found = _without_constant_carries(eqn)
            unchanged.update(found)
        p = eqn.params
        if eqn.primitive.name == "scan":
            n = p["num_consts"]
            body, extra = hoist(p["jaxpr"], eqn.invars[:n])
            params = {**p, "jaxpr": body, "num_consts": n + len(extra)}
            eqn = eqn.replace(invars=[*extra, *eqn.invars], params=params)
        elif eqn.primitive.name == "while":
            nc, nb = p["cond_nconsts"], p["body_nconsts"]
            test, first = hoist(p["cond_jaxpr"], eqn.invars[:nc])
            body, second = hoist(p["body_jaxpr"], eqn.invars[nc : nc + nb])
            params = {
                "cond_jaxpr": test, "body_jaxpr": body,
                "cond_nconsts": nc + len(first), "body_nconsts": nb + len(second),
            }  # fmt: skip
            invars = [*first, *eqn.invars[:nc], *second, *eqn.invars[nc:]]
            eqn = eqn.replace(invars=invars, params=params)
        eqns.append(eqn)
    outvars = [unchanged.get(a, a) if type(a) is Var else a for a in jaxpr.outvars]
    return Jaxpr(constvars, consts, jaxpr.invars, eqns, outvars)


def _without_constant_carries(eqn: JaxprEqn) -> tuple[JaxprEqn, dict[Var, Any]]:
    """A loop with the carries that no step changes as constants; what their results are."""
    p, scan = eqn.params, eqn.primitive.name == "scan"
    body = simplify(p["jaxpr" if scan else "body_jaxpr"])
    n = p["num_consts" if scan else "body_nconsts"]
    nc = 0 if scan else p["cond_nconsts"]
    m = p["num_carry"] if scan else len(body.outvars)
    same = [k for k in range(m) if body.outvars[k] is body.invars[n + k]]
    if not same:
        return eqn, {}
    kept = [k for k in range(m) if k not in same]

    def moved(atoms: Sequence[Any], consts: int) -> list[Any]:
        """Constants, those that were carries, carries, and the rest."""
        carry = atoms[consts : consts + m]
        rest = atoms[consts + m :]
        return [*atoms[:consts], *[carry[k] for k in same], *[carry[k] for k in kept], *rest]

    def without(atoms: Sequence[Any]) -> list[Any]:
        return [*[atoms[k] for k in kept], *atoms[m:]]

    new = body.replace(invars=moved(body.invars, n), outvars=without(body.outvars))
    found = {eqn.outvars[k]: eqn.invars[nc + n + k] for k in same}
    if scan:
        params = {**p, "jaxpr": new, "num_consts": n + len(same), "num_carry": len(kept)}
        invars = moved(eqn.invars, n)
    else:
        test = p["cond_jaxpr"]
        params = {
            "cond_jaxpr": test.replace(invars=moved(test.invars, nc)), "body_jaxpr": new,
            "cond_nconsts": nc + len(same), "body_nconsts": n + len(same),
        }  # fmt: skip
        starts = [eqn.invars[nc + n + k] for k in same]
        invars = [*eqn.invars[:nc], *starts, *moved(eqn.invars[nc:], n)]
    return eqn.replace(invars=invars, outvars=without(eqn.outvars), params=params), found


def _invariant(body: Jaxpr, n: int) -> tuple[list[JaxprEqn], list[Var]]:
    """The eqns to move, and those of their results that the rest of the body reads."""
    known: set[Var] = {*body.invars[:n], *body.constvars}
    heavy: set[Var] = set()
    producer: dict[Var, JaxprEqn] = {}
    for eqn in body.eqns:
        operands = [a for a in eqn.invars if type(a) is Var]
        if eqn_effectful(eqn) or not operands or not all([a in known for a in operands]):
            continue
        known.update(eqn.outvars)
        producer.update(dict.fromkeys(eqn.outvars, eqn))
        rule = ELEMENT.get(eqn.primitive.name)
        if rule is None or rule.cost >= _WORK or any([a in heavy for a in operands]):
            heavy.update(eqn.outvars)
    read = {a for a in body.outvars if type(a) is Var}
    for eqn in body.eqns:
        if not all([v in producer for v in eqn.outvars]) or not eqn.outvars:
            read.update([a for a in eqn.invars if type(a) is Var])
    results = [v for v in producer if v in heavy and v in read]
    wanted: set[int] = set()
    stack: list[Any] = list(results)
    while stack:
        source = producer.get(stack.pop())
        if source is not None and id(source) not in wanted:
            wanted.add(id(source))
            stack += [a for a in source.invars if type(a) is Var]
    return [eqn for eqn in body.eqns if id(eqn) in wanted], results


def _needed(body: Jaxpr, moved: set[int], results: set[Var]) -> set[int]:
    """The moved eqns that the rest still reads by other values than the results."""
    producer = {v: eqn for eqn in body.eqns if id(eqn) in moved for v in eqn.outvars}
    stack: list[Any] = [a for a in body.outvars if a not in results]
    for eqn in body.eqns:
        if id(eqn) not in moved:
            stack += [a for a in eqn.invars if type(a) is Var and a not in results]
    needed: set[int] = set()
    while stack:
        source = producer.get(stack.pop()) if stack else None
        if source is not None and id(source) not in needed:
            needed.add(id(source))
            stack += [a for a in source.invars if type(a) is Var and a not in results]
    return needed
