"""Jaxprs as text: ``{ lambda ; a:f32[3] . let b:f32[3] = sin a in (b,) }``."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core import jaxprs
from nr.core.avals import ShapedArray


class _Names:
    """Variables named a, b, ..., z, ba, bb in order of appearance."""

    def __init__(self) -> None:
        self.names: dict[Any, str] = {}

    def __getitem__(self, atom: Any) -> str:
        if type(atom) is jaxprs.Literal:
            return f"{_literal(atom.val)}:{atom.aval}"
        name = self.names.get(atom)
        if name is None:
            name = self.names[atom] = _letters(len(self.names))
        return name

    def typed(self, var: Any) -> str:
        return f"{self[var]}:{var.aval}"


def _letters(n: int) -> str:
    text = ""
    while True:
        n, digit = divmod(n, 26)
        text = chr(97 + digit) + text
        if n == 0:
            return text


def _literal(value: Any) -> str:
    value = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
    return str(value)


def _param(value: Any, indent: str, source: bool) -> str:
    if isinstance(value, jaxprs.JaxprCallable):
        value = value.jaxpr
    if isinstance(value, jaxprs.Jaxpr):
        return jaxpr_text(value, indent=indent + "  ", source=source).lstrip()
    if isinstance(value, tuple) and any(isinstance(item, jaxprs.Jaxpr) for item in value):
        parts = [_param(item, indent + "  ", source) for item in value]
        return "(" + ", ".join(parts) + ")"
    if isinstance(value, (np.dtype, ShapedArray)):
        return str(value)
    if isinstance(value, type):
        return value.__name__
    if callable(value) and not isinstance(value, (str, tuple)):
        return getattr(value, "__name__", type(value).__name__)
    return repr(value) if isinstance(value, str) and not value.isidentifier() else str(value)


def eqn_text(
    eqn: jaxprs.JaxprEqn, names: _Names | None = None, indent: str = "", source: bool = False
) -> str:
    names = _Names() if names is None else names
    ins = " ".join(names[a] for a in eqn.invars)
    shown = {k: v for k, v in sorted(eqn.params.items()) if v is not None}
    nested = any(True for _ in jaxprs.subjaxprs(eqn.params))
    parts = [f"{k}={_param(v, indent, source)}" for k, v in shown.items()]
    if nested:
        params = "[\n" + "".join(f"{indent}  {part}\n" for part in parts) + f"{indent}]"
    else:
        params = f"[{' '.join(parts)}]" if parts else ""
    outs = " ".join(names.typed(v) for v in eqn.outvars)
    where = f"  # {eqn.source}" if source and eqn.source else ""
    left = f"{outs} = " if outs else ""
    return f"{left}{eqn.primitive.name}{params} {ins}".rstrip() + where


def jaxpr_text(jaxpr: jaxprs.Jaxpr, *, indent: str = "", source: bool = False) -> str:
    """The jaxpr as text; with `source`, each eqn with the line it came from."""
    names = _Names()
    consts = " ".join(names.typed(v) for v in jaxpr.constvars)
    ins = " ".join(names.typed(v) for v in jaxpr.invars)
    lines = [eqn_text(eqn, names, indent + "    ", source) for eqn in jaxpr.eqns]
    outs = ", ".join(names[a] for a in jaxpr.outvars) + ("," if len(jaxpr.outvars) == 1 else "")
    head = f"{{ lambda {consts + ' ' if consts else ''};{' ' + ins if ins else ''} . let"
    body = "".join(f"\n{indent}    {line}" for line in lines)
    return f"{indent}{head}{body}\n{indent}  in ({outs}) }}"
