"""A checker of jaxprs, run on every jaxpr that is made when ``NR_CHECK=1`` (always in tests)."""

from __future__ import annotations

from nr.core.avals import ShapedArray
from nr.core.jaxprs import Jaxpr, Literal, Var
from nr.core.tracing import typeof


class JaxprTypeError(AssertionError):
    """A jaxpr that nr made is not well-formed: a bug of nr."""


def check_jaxpr(jaxpr: Jaxpr) -> None:
    """Check binding, use before definition, and that every eqn's avals are what its rule gives.

    Raises:
        JaxprTypeError: naming the eqn and what is wrong.
    """
    known: set[Var] = set()

    def define(var: Var, where: object) -> None:  # its text is made only for an error
        if type(var) is not Var:
            raise JaxprTypeError(f"nr bug: {where}: a variable was expected; got {var!r}.")
        if var in known:
            raise JaxprTypeError(f"nr bug: {where}: {var.aval} is bound twice.")
        known.add(var)

    if len(jaxpr.constvars) != len(jaxpr.consts):
        raise JaxprTypeError("nr bug: jaxpr: as many constants as constvars were expected.")
    for var, const in zip(jaxpr.constvars, jaxpr.consts, strict=True):
        define(var, "constvars")
        if typeof(const) is not var.aval:
            raise JaxprTypeError(f"nr bug: constvars: {var.aval} holds {typeof(const)}.")
    for var in jaxpr.invars:
        define(var, "invars")
    for eqn in jaxpr.eqns:
        for atom in eqn.invars:
            if type(atom) is not Literal and atom not in known:
                raise JaxprTypeError(f"nr bug: {eqn!r}: an operand is used before it is bound.")
        avals = eqn.primitive.abstract_eval(*[a.aval for a in eqn.invars], **eqn.params)
        outs = list(avals) if eqn.primitive.multiple_results else [avals]
        got = [v.aval for v in eqn.outvars]
        if len(outs) != len(got) or not all(map(_same_type, outs, got)):
            raise JaxprTypeError(f"nr bug: {eqn!r}: the rule gives {outs}, the eqn says {got}.")
        for var in eqn.outvars:
            define(var, eqn)
    for atom in jaxpr.outvars:
        if type(atom) is not Literal and atom not in known:
            raise JaxprTypeError("nr bug: outvars: an output is not bound.")


def _same_type(a: ShapedArray, b: ShapedArray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype
