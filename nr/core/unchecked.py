"""Programs without their checks of indices."""

from __future__ import annotations

from typing import Any

from nr.core.jaxprs import Jaxpr, JaxprEqn, Var, cached_on_jaxpr


@cached_on_jaxpr
def without_checks(jaxpr: Jaxpr) -> Jaxpr:
    """A program without its checks: for lanes that run what they do not need the results of, and
    for loops whose checks are made elsewhere."""
    env: dict[Var, Any] = {}
    eqns: list[JaxprEqn] = []

    def known(atom: Any) -> Any:
        return env.get(atom, atom) if type(atom) is Var else atom

    for eqn in jaxpr.eqns:
        invars = [known(a) for a in eqn.invars]
        if eqn.primitive.name == "check_index":
            env[eqn.outvars[0]] = invars[0]
            continue
        params = {name: _stripped(value) for name, value in eqn.params.items()}
        if params.get("mode") == "error":
            params["mode"] = "clip"
        eqns.append(eqn.replace(invars=invars, params=params))
    return jaxpr.replace(eqns=eqns, outvars=[known(a) for a in jaxpr.outvars])


def _stripped(value: Any) -> Any:
    if type(value) is Jaxpr:
        return without_checks(value)
    if type(value) is tuple and any([type(v) is Jaxpr for v in value]):
        return tuple([_stripped(v) for v in value])
    return value
