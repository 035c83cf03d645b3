"""Names for parts of programs (named_scope, named_call); running at once (disable_jit ...)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nr.core.jaxprs import name_scope
from nr.core.source_info import function_name
from nr.core.tracing import EVAL, EvalTrace, Primitive, Trace, Tracer, current, current_trace

named_scope = name_scope


def named_call(fun: Callable, *, name: str | None = None) -> Callable:
    """fun, whose operations are recorded under a name (its own by default)."""

    @functools.wraps(fun)
    def named(*args: Any, **kwargs: Any) -> Any:
        with name_scope(name or function_name(fun)):
            return fun(*args, **kwargs)

    return named


_jit_disabled: ContextVar[bool] = ContextVar("jit_disabled", default=False)
jit_disabled = _jit_disabled.get


@contextmanager
def disable_jit(disable: bool = True) -> Any:
    """Run jitted functions as plain Python for the duration of a ``with`` block."""
    token = _jit_disabled.set(disable)
    try:
        yield
    finally:
        _jit_disabled.reset(token)


class _FoldingTrace(Trace):
    """Runs at once what has no traced operand; all else is for the trace around it."""

    __slots__ = ()

    def __init__(self, parent: Trace) -> None:
        self.parent = parent
        self.alive = True

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict) -> Any:
        if any(isinstance(x, Tracer) for x in args):
            return primitive.bind_with(self.parent, args, params)  # type: ignore[arg-type]
        if primitive.custom_evaluate is not None:  # a user's function, which may close over tracers
            return primitive.custom_evaluate(*args, **params)
        return primitive.bind_with(EVAL, args, params)


@contextmanager
def ensure_compile_time_eval() -> Any:
    """Compute at once, while a function is traced, what depends on no traced value.

    What depends on one is traced as outside of the block.

    Example:
        >>> import nr
        >>> @nr.jit
        ... def f(x):
        ...     with nr.ensure_compile_time_eval():
        ...         n = int(nr.numpy.arange(4).sum())
        ...     return x * n
        >>> f(2.0)
        Array(12., dtype=float32, weak_type=True)
    """
    trace = current_trace()
    with current(trace if isinstance(trace, EvalTrace) else _FoldingTrace(trace)):
        yield
