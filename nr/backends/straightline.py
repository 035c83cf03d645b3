"""Jaxprs as straight-line Python over a backend's table: how `jit` runs on backends without a
compiler of their own.

One line an eqn, values freed after their last use. Closed-over arrays are referred to, not copied.
"""

from __future__ import annotations

from typing import Any

from nr.backends.base import Backend, Program
from nr.backends.compiler.simplify import simplify
from nr.core.array import as_host
from nr.core.jaxprs import Jaxpr, JaxprEqn, Literal, Var

# CPython compiles very long functions slowly: cut programs into functions of this many lines.
_CHUNK = 2000


def compile_straightline(jaxpr: Jaxpr, backend: Backend) -> Program:
    """The program of a jaxpr over a backend's table."""
    return _Writer(simplify(jaxpr), backend).program()


class _Writer:
    def __init__(self, jaxpr: Jaxpr, backend: Backend) -> None:
        self.jaxpr = jaxpr
        self.backend = backend
        self.namespace: dict[str, Any] = {"_array": backend.array}
        self.names: dict[Var, str] = {}
        self.rows: dict[str, str] = {}

    def bound(self, prefix: str, value: Any) -> str:
        name = f"{prefix}{len(self.namespace)}"
        self.namespace[name] = value
        return name

    def name(self, var: Var) -> str:
        found = self.names.get(var)
        if found is None:
            found = self.names[var] = f"v{len(self.names)}"
        return found

    def atom(self, a: Any) -> str:
        if type(a) is Literal:
            return self.bound("c", as_host(a.val).astype(a.aval.dtype)[()])
        return self.name(a)

    def eqn(self, eqn: JaxprEqn) -> str:
        primitive = eqn.primitive
        row = self.rows.get(primitive.name)
        if row is None:
            kernel = self.backend.kernel(primitive)
            row = self.rows[primitive.name] = self.bound("k", kernel)
        operands = [self.atom(a) for a in eqn.invars]
        operands += [f"{key}={self.bound('p', value)}" for key, value in eqn.params.items()]
        call = f"{row}({', '.join(operands)})"
        if not primitive.multiple_results:
            return f"{self.name(eqn.outvars[0])} = {call}"
        if not eqn.outvars:
            return call
        return f"{', '.join(self.name(v) for v in eqn.outvars)}, = {call}"

    def program(self) -> Program:
        jaxpr = self.jaxpr
        for var, value in zip(jaxpr.constvars, jaxpr.consts, strict=True):
            self.names[var] = self.bound("const", self.backend.raw(value))
        constants = set(jaxpr.constvars)
        last_use: dict[Var, int] = {}
        for i, eqn in enumerate(jaxpr.eqns):
            for a in (*eqn.outvars, *eqn.invars):
                if type(a) is Var:
                    last_use[a] = i
        kept = {a for a in jaxpr.outvars if type(a) is Var} | constants
        dying: dict[int, list[Var]] = {}
        for var, i in last_use.items():
            if var not in kept:
                dying.setdefault(i, []).append(var)
        args = [self.name(v) for v in jaxpr.invars]
        lines = []
        for i, eqn in enumerate(jaxpr.eqns):
            lines.append(self.eqn(eqn))
            dead = [self.name(v) for v in dying.get(i, []) if v in self.names]
            if dead:
                lines.append(f"del {', '.join(dead)}")
        outs = []
        for a in jaxpr.outvars:
            text = self.atom(a)
            # NumPy's ufuncs give scalars, not arrays, for rank 0.
            outs.append(text if a.aval.shape else f"_array({text})")
        return self.define(args, lines, outs)

    def define(self, args: list[str], lines: list[str], outs: list[str]) -> Program:
        chunks = [lines[i : i + _CHUNK] for i in range(0, len(lines), _CHUNK)] or [[]]
        if len(chunks) > 1:
            return self.define_long(args, chunks, outs)
        body = "".join(f"    {line}\n" for line in chunks[0])
        source = f"def program({', '.join(args)}):\n{body}    return [{', '.join(outs)}]\n"
        exec(compile(source, "<nr>", "exec"), self.namespace)
        program = self.namespace["program"]
        program.source = source
        return program

    def define_long(self, args: list[str], chunks: list[list[str]], outs: list[str]) -> Program:
        """Chunks as generators' code over one shared dict of values."""
        codes = [compile("\n".join(chunk), "<nr>", "exec") for chunk in chunks]
        result = compile(f"[{', '.join(outs)}]", "<nr>", "eval")

        def program(*values: Any) -> list[Any]:
            scope = dict(self.namespace)
            scope.update(zip(args, values, strict=True))
            for code in codes:
                exec(code, scope)
            return eval(result, scope)

        program.source = "\n".join(line for chunk in chunks for line in chunk)  # type: ignore[attr-defined]
        return program
