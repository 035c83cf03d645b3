"""Functions with transformations wrapped around them, as JAX's extensions pass them about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["WrappedFun", "wrap_init"]


class WrappedFun:
    """A function that is called by `call_wrapped`."""

    def __init__(self, f: Callable) -> None:
        self.f = f

    def call_wrapped(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.f(*args, **kwargs)


def wrap_init(f: Callable, params: dict[str, Any] | None = None, *, debug_info: Any = None) -> Any:
    """A function as a `WrappedFun`; `params` are keyword arguments of all its calls.

    Example:
        >>> import nr
        >>> nr.extend.linear_util.wrap_init(lambda x, y: x - y, {"y": 2}).call_wrapped(5)
        3
    """
    if not params:
        return WrappedFun(f)
    return WrappedFun(lambda *args, **kwargs: f(*args, **{**params, **kwargs}))
