"""Constants of loops and branches as operands that they take from outside.

Loops that become kernels, and what lays out or hoists constants before a loop, look at operands. An
array that a function closes over is one as much as one that it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.backends.compiler.simplify import inline_calls
from nr.core.jaxprs import Jaxpr, JaxprEqn, Var


def with_lifted_constants(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with constants of its loops and branches, and of those inside, as its own."""
    if not any([eqn.primitive.name in ("scan", "while", "cond") for eqn in jaxpr.eqns]):
        return jaxpr
    lifted = _Lifted(jaxpr)
    eqns = [lifted.eqn(eqn) for eqn in jaxpr.eqns]
    return jaxpr.replace(eqns=eqns, constvars=lifted.constvars, consts=lifted.consts)


class _Lifted:
    def __init__(self, jaxpr: Jaxpr) -> None:
        self.constvars, self.consts = list(jaxpr.constvars), list(jaxpr.consts)
        self.known = {id(c): v for v, c in zip(self.constvars, self.consts, strict=True)}

    def eqn(self, eqn: JaxprEqn) -> JaxprEqn:
        p, name = eqn.params, eqn.primitive.name
        if name == "scan":
            (body,), first = self._operands([p["jaxpr"]])
            params = {**p, "jaxpr": body, "num_consts": p["num_consts"] + len(first)}
            return eqn.replace(invars=[*first, *eqn.invars], params=params)
        if name == "while":
            n = p["cond_nconsts"]
            (test,), first = self._operands([p["cond_jaxpr"]])
            (body,), second = self._operands([p["body_jaxpr"]])
            params = {
                **p, "cond_jaxpr": test, "body_jaxpr": body, "cond_nconsts": n + len(first),
                "body_nconsts": p["body_nconsts"] + len(second),
            }  # fmt: skip
            invars = [*first, *eqn.invars[:n], *second, *eqn.invars[n:]]
            return eqn.replace(invars=invars, params=params)
        if name == "cond":
            index, *operands = eqn.invars
            branches, first = self._operands(p["branches"])
            params = {**p, "branches": tuple(branches)}
            return eqn.replace(invars=[index, *first, *operands], params=params)
        return eqn

    def _operands(self, bodies: Sequence[Jaxpr]) -> tuple[list[Jaxpr], list[Var]]:
        """Bodies that take all their constants first, each one those of all, and these."""
        bodies = [with_lifted_constants(inline_calls(body)) for body in bodies]
        taken = [
            [(v, c) for v, c in zip(body.constvars, body.consts, strict=True) if not _may_count(v)]
            for body in bodies
        ]
        result = []
        for body, own in zip(bodies, taken, strict=True):
            operands = [v if found is own else Var(v.aval) for found in taken for v, _ in found]
            left = {v: c for v, c in zip(body.constvars, body.consts, strict=True) if _may_count(v)}
            result.append(
                body.replace(
                    constvars=list(left), consts=list(left.values()),
                    invars=[*operands, *body.invars],
                )
            )  # fmt: skip
        return result, [self._outer(v, c) for found in taken for v, c in found]

    def _outer(self, inner: Var, value: Any) -> Var:
        if id(value) not in self.known:
            self.known[id(value)] = fresh = Var(inner.aval)
            self.constvars.append(fresh)
            self.consts.append(value)
        return self.known[id(value)]


def _may_count(constant: Var) -> bool:
    """Whether a constant may be one whose values the compiler looks at: places, as indices are."""
    return bool(constant.aval.ndim and constant.aval.dtype.kind in "iu")
