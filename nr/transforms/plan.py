"""`nr.plan`: what a function will need before it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr.backends.base import ProgramPlan


def plan(fun: Callable, *args: Any, **kwargs: Any) -> ProgramPlan:
    """Bytes and arithmetic operations of a jitted call, without running it.

    Args:
        fun: a function, jitted or not.
        args, kwargs: its arguments; arrays, or `ShapeDtypeStruct`s of any size.

    Returns:
        A record with `peak_bytes`, `argument_bytes`, `output_bytes`, `temporary_bytes`,
        `constant_bytes`, `flops`, and `largest`, the largest temporary arrays with the user's
        lines they come from. Printed, it is a table.

    Example:
        >>> import nr
        >>> x = nr.ShapeDtypeStruct((1024, 1024), "float32")
        >>> p = nr.plan(lambda x: (x @ x).sum(), x)
        >>> p.argument_bytes, p.temporary_bytes >= 2**22
        (4194304, True)
    """
    from nr.transforms.compiled_function import JitFunction, jit

    function = fun if isinstance(fun, JitFunction) else jit(fun)
    return function.lower(*args, **kwargs).plan()
