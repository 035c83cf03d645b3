"""What two jaxprs have in common that compute the same: traced anew, a function gives an equal one.

Jaxprs are compared by identity; a loop that runs eagerly traces its body in every call, and finds
the program of the last call by the body's structure.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from nr.core.array import as_host
from nr.core.jaxprs import Jaxpr, JaxprCallable, Literal


def structure(jaxpr: Jaxpr) -> Hashable:
    """A key that is equal for jaxprs of equal eqns, in the same lines of the user's program.

    The jaxpr's own constants count by their avals, those of jaxprs inside of it by identity: who
    keeps the key must keep the jaxpr.
    """
    numbers: dict[Any, Any] = {}
    for var in (*jaxpr.constvars, *jaxpr.invars):
        numbers[var] = len(numbers)

    def atom(a: Any) -> Hashable:
        if type(a) is not Literal:
            return numbers[a]
        return a.aval, as_host(a.val).tobytes()

    eqns = []
    for eqn in jaxpr.eqns:
        params = tuple([(name, _param(value)) for name, value in _computed(eqn.params).items()])
        ins = tuple([atom(a) for a in eqn.invars])
        avals = tuple([v.aval for v in eqn.outvars])
        eqns.append((eqn.primitive, ins, params, avals, eqn.source))
        for var in eqn.outvars:
            numbers[var] = len(numbers)
    avals = tuple([v.aval for v in (*jaxpr.constvars, *jaxpr.invars)])
    return len(jaxpr.constvars), avals, tuple(eqns), tuple([atom(a) for a in jaxpr.outvars])


def _computed(params: dict[str, Any]) -> dict[str, Any]:
    """The params that say what an eqn computes: of a custom derivative, the function alone."""
    fun = params.get("fun")
    return {"fun": fun} if isinstance(fun, JaxprCallable) else params


def _param(value: Any) -> Hashable:
    if isinstance(value, JaxprCallable):
        value = value.jaxpr
    if isinstance(value, Jaxpr):
        return structure(value), tuple([id(x) for x in value.consts])
    if isinstance(value, tuple):
        return tuple([_param(item) for item in value])
    return value
