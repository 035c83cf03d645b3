"""Loops and branches as Python runs them: what `disable_jit` makes of those in control_flow.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr.core.config import jit_disabled
from nr.core.tracing import Tracer
from nr.core.trees import tree_map
from nr.lax.rules import operand
from nr.lax.shape import concatenate, expand_dims, index_in_dim


def scan_in_python(f: Callable, carry: Any, xs: Any, length: int, reverse: bool) -> Any:
    """`scan` of one step or more, whose steps are calls; f has been checked."""
    ys = []
    for i in reversed(range(length)) if reverse else range(length):
        step = tree_map(lambda x, i=i: index_in_dim(operand("scan", x), i, keepdims=False), xs)
        carry, y = f(carry, step)
        ys.append(y)
    if reverse:
        ys.reverse()
    return carry, tree_map(_stacked, *ys)


def _stacked(*rows: Any) -> Any:
    return concatenate([expand_dims(operand("scan", row), (0,)) for row in rows], 0)


def while_in_python(cond_fun: Callable, body_fun: Callable, value: Any) -> Any:
    """`while_loop` by calls.

    Raises:
        ConcretizationTypeError: where the condition has no number, as under `vmap`.
    """
    while cond_fun(value):
        value = body_fun(value)
    return value


def number_without_jit(x: Any) -> Any:
    """The number that decides on a branch where jit is disabled, None if it is not to be had."""
    if not jit_disabled():
        return None
    return x.concrete() if isinstance(x, Tracer) else x
