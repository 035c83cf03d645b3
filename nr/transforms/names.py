"""Names for parts of programs (named_scope, named_call); running at once (disable_jit ...)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nr.core.jaxprs import name_scope
from nr.core.source_info import function_name
from nr.core.tracing import EVAL, current

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


@contextmanager
def ensure_compile_time_eval() -> Any:
    """Compute at once, while a function is traced, what depends on no traced value.

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
    with current(EVAL):
        yield
