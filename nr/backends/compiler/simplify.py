"""Simplification of jaxprs before they run: inlining, dead code, common subexpressions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from nr.core.array import as_host
from nr.core.jaxprs import Jaxpr, JaxprEqn, Literal, Var, eqn_effectful

# Calls that are inlined. `checkpoint` is not: merging its body with the forward pass would undo it.
_INLINED = (
    "jit",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vmap_call",
    "linear_solve",
    "linear_call",
)

# What gives the same elements another shape: results lie where the operands do.
_ALIASES = ("reshape", "squeeze", "broadcast_in_dim", "stop_gradient", "device_put")


def simplify(jaxpr: Jaxpr) -> Jaxpr:
    """An equivalent jaxpr with calls inlined, without repeated or dead eqns."""
    return eliminate_dead_code(merge_common(inline_calls(jaxpr)))


def _substitute(atom: Any, env: dict[Var, Any]) -> Any:
    return env.get(atom, atom) if type(atom) is Var else atom


def inline_calls(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with the bodies of jitted calls in place of the calls."""
    return _inline(jaxpr, _INLINED, lambda body: body, expanding=True)[0]


def inline_jitted(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with jitted calls inlined only: what has rules of its own stays as it is."""
    return _inline(jaxpr, ("jit",), lambda body: body)[0]


def inline_checkpoints(jaxpr: Jaxpr) -> tuple[Jaxpr, dict[int, Any]]:
    """The jaxpr with the bodies of checkpoints in place, and the checkpoint each eqn is from.

    What belongs to different checkpoints must be kept apart from then on, or the values that are
    to be recomputed would be stored after all.
    """
    return _inline(jaxpr, ("checkpoint",), simplify)


def _inline(
    jaxpr: Jaxpr,
    names: Sequence[str],
    prepared: Callable[[Jaxpr], Jaxpr],
    *,
    expanding: bool = False,
) -> tuple[Jaxpr, dict[int, Any]]:
    """The jaxpr with bodies, prepared, in place of calls, and the innermost call of each eqn."""
    calls: dict[int, Any] = {}

    def is_call(eqn: JaxprEqn) -> bool:
        return eqn.primitive.name in names or (expanding and eqn.primitive.expand is not None)

    if not any([is_call(eqn) for eqn in jaxpr.eqns]):
        return jaxpr, calls
    constvars, consts = list(jaxpr.constvars), list(jaxpr.consts)
    eqns: list[JaxprEqn] = []

    def splice(call: JaxprEqn, operands: Sequence[Any]) -> list[Any]:
        p, expand = call.params, call.primitive.expand
        if expand is not None:
            body = expand([a.aval for a in call.invars], p)
        else:
            body = p["jaxpr"] if "jaxpr" in p else p["fun"].jaxpr
        inner = prepared(body)
        env: dict[Var, Any] = {}
        for var, value in zip(inner.constvars, inner.consts, strict=True):
            env[var] = fresh = Var(var.aval)
            constvars.append(fresh)
            consts.append(value)
        env.update(zip(inner.invars, operands, strict=True))
        add(inner.eqns, env, call)
        return [_substitute(a, env) for a in inner.outvars]

    def add(body: Sequence[JaxprEqn], env: dict[Var, Any], call: JaxprEqn | None) -> None:
        for eqn in body:
            invars = [_substitute(a, env) for a in eqn.invars]
            if is_call(eqn):
                env.update(zip(eqn.outvars, splice(eqn, invars), strict=True))
            else:
                outvars = [Var(v.aval) for v in eqn.outvars]
                env.update(zip(eqn.outvars, outvars, strict=True))
                eqns.append(eqn.replace(invars=invars, outvars=outvars))
                calls[id(eqns[-1])] = call

    env: dict[Var, Any] = {}
    add(jaxpr.eqns, env, None)
    outvars = [_substitute(a, env) for a in jaxpr.outvars]
    return Jaxpr(constvars, consts, jaxpr.invars, eqns, outvars), calls


def _literal_key(value: Any) -> Hashable:
    value = as_host(value)
    return value.dtype, value.tobytes()  # bytes: 0.0 and -0.0 differ, NaN equals itself


def _key(eqn: JaxprEqn) -> Hashable | None:
    try:
        operands = tuple(
            [(_literal_key(a.val), a.aval) if type(a) is Literal else id(a) for a in eqn.invars]
        )
        key = (eqn.primitive.name, operands, tuple(sorted(eqn.params.items())))
        hash(key)
        return key
    except TypeError:  # a parameter that can't be hashed or ordered
        return None


def merge_common(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with each repeated eqn replaced by its first occurrence."""
    seen: dict[Hashable, JaxprEqn] = {}
    env: dict[Var, Any] = {}
    eqns = []
    for eqn in jaxpr.eqns:
        eqn = eqn.replace(invars=[_substitute(a, env) for a in eqn.invars])
        # Nothing is differentiated any more, and nothing is promoted.
        if eqn.primitive.name == "stop_gradient" or _strengthens(eqn):
            env[eqn.outvars[0]] = eqn.invars[0]
            continue
        if eqn.primitive.name == "select_n" and _one_value(eqn.invars[1:]):
            env[eqn.outvars[0]] = eqn.invars[1]  # the choice was one of derivatives
            continue
        # Not across checkpoint: its recomputation must stay separate from the forward pass.
        key = None if eqn_effectful(eqn) or eqn.primitive.name == "checkpoint" else _key(eqn)
        first = seen.get(key) if key is not None else None
        if first is not None:
            env.update(zip(eqn.outvars, first.outvars, strict=True))
            continue
        if key is not None:
            seen[key] = eqn
        eqns.append(eqn)
    outvars = [_substitute(a, env) for a in jaxpr.outvars]
    return jaxpr.replace(eqns=eqns, outvars=outvars)


def _strengthens(eqn: JaxprEqn) -> bool:
    """Whether an eqn changes nothing but whether its operand is weak."""
    same = eqn.primitive.name == "convert_element_type"
    return same and eqn.invars[0].aval.dtype == eqn.outvars[0].aval.dtype


def _one_value(cases: Sequence[Any]) -> bool:
    return type(cases[0]) is Var and len(set(cases)) == 1


def eliminate_dead_code(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr without eqns that no output or effect depends on, and without unused constants."""
    live = {a for a in jaxpr.outvars if type(a) is Var}
    eqns = []
    for eqn in reversed(jaxpr.eqns):
        if any([v in live for v in eqn.outvars]) or eqn_effectful(eqn):
            eqns.append(eqn)
            live.update([a for a in eqn.invars if type(a) is Var])
    constants = [(v, c) for v, c in zip(jaxpr.constvars, jaxpr.consts, strict=True) if v in live]
    return jaxpr.replace(
        eqns=eqns[::-1], constvars=[v for v, _ in constants], consts=[c for _, c in constants]
    )


def reshaped(eqn: JaxprEqn | None) -> Var | None:
    """The operand of an eqn that only gives it another shape; None for other eqns."""
    if eqn is None or eqn.primitive.name not in _ALIASES:
        return None
    operand = eqn.invars[0]
    whole = operand.aval.size == eqn.outvars[0].aval.size
    return operand if whole and type(operand) is Var else None
