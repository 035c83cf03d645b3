"""Where in the user's program things happen: frames outside nr, and tracebacks without nr's own."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from nr.core.config import config

_NR = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's program, and the names of the scopes around it."""

    file: str
    line: int
    function: str
    scope: str = ""

    @property
    def name_stack(self) -> str:
        """The names of the scopes, as JAX calls them."""
        return self.scope

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line} ({self.function})"


NOWHERE = Source("", 0, "")


@functools.cache
def _is_ours(file: str) -> bool:
    return (file.startswith(_NR) and f"{os.sep}tools{os.sep}" not in file) or file == "<nr>"


# The line that operations recorded now are said to come from, if not from their caller's.
line_instead: ContextVar[Source | None] = ContextVar("nr_line", default=None)


def backward(source: Source) -> Source:
    """The same line, of what its backward pass does."""
    return Source(source.file, source.line, source.function, f"{source.scope}/backward".lstrip("/"))


def user_source(scope: str = "") -> Source | None:
    """The innermost line outside nr, or what stands for it."""
    instead = line_instead.get()
    if instead is not None:
        return instead
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return None
    return Source(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, scope)


def in_lane(names: Sequence[Any], lane: Sequence[int]) -> str:
    """Words for a lane of nested vmaps: its number in each, with the name of the axis if any."""
    parts = [f"{i}" if name is None else f"{name}={i}" for name, i in zip(names, lane, strict=True)]
    which = ", ".join(parts)
    return f"in lane {which if len(parts) == 1 else f'({which})'} of vmap"


def function_name(f: Any) -> str:
    """A function's name for messages and jaxprs."""
    f = getattr(f, "func", f)
    name = getattr(f, "__name__", None)
    return name if name and isinstance(name, str) else type(f).__name__


# What Python lets a function's attributes be.
_KINDS = {"__name__": str, "__qualname__": str, "__annotations__": dict, "__type_params__": tuple}


def wraps(f: Any) -> Callable[[Callable], Callable]:
    """`functools.wraps` for any callable: what a function's attributes may not be is not taken."""
    taken = [
        name
        for name in functools.WRAPPER_ASSIGNMENTS
        if isinstance(getattr(f, name, None), _KINDS.get(name, object))
    ]
    return functools.wraps(f, assigned=taken)


def api_boundary(f: Callable) -> Callable:
    """Drop nr's frames from the traceback of an exception that leaves a public transformation."""

    @functools.wraps(f)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        try:
            out = f(*args, **kwargs)
            if config.check_tracer_leaks:
                from nr.core.leaks import refuse_leaks

                refuse_leaks(function_name(f))
            return out
        except Exception as err:
            raise filtered(err) from err.__cause__

    bounded.__nr_boundary__ = True  # type: ignore[attr-defined]
    return bounded


def filtered(err: Exception) -> Exception:
    """The exception with nr's frames taken out of its traceback."""
    if not config.traceback_filtering:
        return err
    kept = []
    tb = err.__traceback__
    while tb is not None:
        if not _is_ours(tb.tb_frame.f_code.co_filename):
            kept.append(tb)
        tb = tb.tb_next
    chain = None
    for tb in reversed(kept):
        chain = TracebackType(chain, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)
    return err.with_traceback(chain)
