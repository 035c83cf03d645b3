"""Names for parts of programs (named_scope, named_call); running at once (disable_jit ...)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from nr.core.config import config
from nr.core.jaxprs import name_scope
from nr.core.source_info import function_name, wraps
from nr.core.tracing import EVAL, EvalTrace, Primitive, Trace, Tracer, current, current_trace


@contextmanager
def named_scope(name: str) -> Any:
    """Prefix the names of operations recorded in a ``with`` block, or in a decorated function."""
    with name_scope(name):
        yield


def named_call(fun: Callable, *, name: str | None = None) -> Callable:
    """fun, whose operations are recorded under a name (its own by default)."""

    @wraps(fun)
    def named(*args: Any, **kwargs: Any) -> Any:
        with name_scope(name or function_name(fun)):
            return fun(*args, **kwargs)

    return named


def disable_jit(disable: bool = True) -> AbstractContextManager[None]:
    """Run jitted functions, loops and branches as plain Python in a ``with`` block.

    Loops and branches whose conditions are traced, as under `vmap`, are not changed.

    Example:
        >>> import nr
        >>> with nr.disable_jit():
        ...     total, _ = nr.lax.scan(lambda c, x: (print(float(x)) or c + x, c),
        ...                            0.0, nr.numpy.arange(2.0))
        0.0
        1.0
    """
    return config.using(disable_jit=disable)


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
