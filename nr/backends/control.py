"""Rows of the primitives that hold jaxprs or Python functions: calls, loops, branches, callbacks.

They are the same for every backend that runs straight-line programs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nr.backends.base import NO_OPTIONS, Backend, Options, Program
from nr.core.config import config
from nr.core.errors import CUSTOM_VJP_FORWARD_MODE
from nr.core.jaxprs import Jaxpr
from nr.core.structure import structure

_CHECKED = Options(nan=True)
_MOST_BODIES = 256


def control_rows(backend: Backend, xp: Any) -> dict[str, Callable]:
    """Rows by primitive name, over a backend that can compile jaxprs."""

    def compiled(jaxpr: Jaxpr) -> Program:
        return backend.compile(jaxpr, _CHECKED if config.debug_nans else NO_OPTIONS)

    # Bodies of loops and branches, which eager code traces anew in every call, with the programs
    # they have in their caches. What a body closes over is an argument, so that no array is held.
    bodies: dict[Any, Jaxpr] = {}

    def compiled_body(jaxpr: Jaxpr) -> Program:
        known = jaxpr.cache.get("eager body")
        if known is None:
            open_jaxpr = jaxpr.replace(
                constvars=[], consts=[], invars=[*jaxpr.constvars, *jaxpr.invars]
            )
            try:
                key = structure(open_jaxpr)
                known = bodies.pop(key, open_jaxpr)
                bodies[key] = known  # the last one used comes last
                if len(bodies) > _MOST_BODIES:
                    del bodies[next(iter(bodies))]
            except TypeError:  # params that can't be looked up
                known = open_jaxpr
            jaxpr.cache["eager body"] = known
        program = compiled(known)
        if not jaxpr.consts:
            return program
        return functools.partial(program, *[backend.raw(x) for x in jaxpr.consts])

    def call(*args: Any, jaxpr: Jaxpr, **params: Any) -> list[Any]:
        return compiled(jaxpr)(*args)

    def call_fun(*args: Any, fun: Any, **params: Any) -> list[Any]:
        return compiled(fun.jaxpr)(*args)

    def scan(
        *args: Any, jaxpr: Jaxpr, num_consts: int, num_carry: int, length: int, reverse: bool,
        unroll: int = 1,
    ) -> list[Any]:  # fmt: skip
        step = compiled_body(jaxpr)
        consts, rest = args[:num_consts], args[num_consts:]
        carry, xs = list(rest[:num_carry]), rest[num_carry:]
        avals = jaxpr.out_avals[num_carry:]
        ys = [xp.empty((length, *a.shape), a.dtype) for a in avals]
        for i in reversed(range(length)) if reverse else range(length):
            outs = step(*consts, *carry, *[x[i] for x in xs])
            carry = outs[:num_carry]
            for y, value in zip(ys, outs[num_carry:], strict=True):
                y[i] = value
        return [*carry, *ys]

    def while_loop(
        *args: Any, cond_jaxpr: Jaxpr, body_jaxpr: Jaxpr, cond_nconsts: int, body_nconsts: int
    ) -> list[Any]:
        cond, body = compiled_body(cond_jaxpr), compiled_body(body_jaxpr)
        cond_consts = args[:cond_nconsts]
        body_consts = args[cond_nconsts : cond_nconsts + body_nconsts]
        carry = list(args[cond_nconsts + body_nconsts :])
        while cond(*cond_consts, *carry)[0]:
            carry = body(*body_consts, *carry)
        return carry

    def cond(index: Any, *args: Any, branches: tuple[Jaxpr, ...]) -> list[Any]:
        chosen = min(max(int(index), 0), len(branches) - 1)
        return compiled_body(branches[chosen])(*args)

    def python_callback(
        *args: Any, callback: Callable, result_avals: tuple, **params: Any
    ) -> list[Any]:
        outs = callback(*[backend.get(x) if hasattr(x, "shape") else np.asarray(x) for x in args])
        checked = []
        for aval, out in zip(result_avals, outs, strict=True):
            out = np.asarray(out)
            if out.shape != aval.shape:
                raise ValueError(
                    f"pure_callback: the callback must return {aval}, as declared; "
                    f"got shape {out.shape}."
                )
            checked.append(xp.asarray(out.astype(aval.dtype)))
        return checked

    def custom_lin(*args: Any, **params: Any) -> list[Any]:
        # It stands for a tangent that only a transposition can make sense of.
        raise TypeError(CUSTOM_VJP_FORWARD_MODE)

    return {
        "custom_lin": custom_lin,
        "jit": call,
        "linear_solve": call,
        "linear_call": call,
        "checkpoint": call,
        "custom_jvp_call": call_fun,
        "custom_vjp_call": call_fun,
        "custom_vmap_call": call_fun,
        "scan": scan,
        "while": while_loop,
        "cond": cond,
        "pure_callback": python_callback,
        "io_callback": python_callback,
        "debug_callback": python_callback,
    }
