"""Runs programs operation by operation through the table: what compiled programs are tested by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from nr.backends.base import NO_OPTIONS, Options, Program
from nr.backends.cpu import CpuBackend
from nr.core.jaxprs import Jaxpr, Literal


def interpret(backend: CpuBackend, jaxpr: Jaxpr, options: Options = NO_OPTIONS) -> Program:
    """A jaxpr as a Python function that runs a row of the table for each of its eqns."""

    def run(*args: Any) -> list[Any]:
        env = dict(zip(jaxpr.constvars, [backend.raw(c) for c in jaxpr.consts], strict=True))
        env.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Any:
            return backend.raw(atom.val) if type(atom) is Literal else env[atom]

        for eqn in jaxpr.eqns:
            outs = backend.kernel(eqn.primitive)(*map(read, eqn.invars), **eqn.params)
            if not eqn.primitive.multiple_results:
                outs = [outs]
            env.update(zip(eqn.outvars, [backend.array(o) for o in outs], strict=True))
        return [backend.array(read(a)) for a in jaxpr.outvars]

    return run


@contextmanager
def interpreting() -> Iterator[None]:
    """Within it, jitted functions, loops and branches are interpreted, not compiled."""
    with mock.patch.object(CpuBackend, "compile", interpret):
        yield
