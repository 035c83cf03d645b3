"""Traced values that outlive their transformation: found when it ends (`nr.checking_leaks`)."""

from __future__ import annotations

import gc

from nr.core.concretization import leak_message
from nr.core.errors import UnexpectedTracerError
from nr.core.tracing import Tracer


def begin() -> None:
    """Look only at objects that are made from now on, of which there are few."""
    gc.collect()
    gc.freeze()


def end() -> None:
    """Let the garbage collector look at all objects again."""
    gc.unfreeze()


def _ended() -> list[Tracer]:
    gc.collect()
    return [x for x in gc.get_objects() if isinstance(x, Tracer) and not x._trace.alive]


def refuse_leaks(op: str) -> None:
    """Raise if a traced value is still referred to whose transformation has ended.

    Every object since `begin` is looked at. A transformation is reported once.
    """
    leaked = _ended()
    if leaked:
        end()  # what holds it may be older
        message = leak_message(leaked[0], op)
        begin()
        raise UnexpectedTracerError(f"Leaked trace. {message}")
