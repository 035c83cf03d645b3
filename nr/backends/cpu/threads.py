"""How many threads compiled programs use, and the pool that runs them."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from nr.backends.cpu import limits
from nr.backends.cpu.pool import MAX_THREADS, Pool

_threads: int | None = None  # what set_num_threads said, or the default once it is known
_here: ContextVar[int | None] = ContextVar("num_threads", default=None)
_pool: Pool | None = None
_lock = threading.RLock()
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


def _checked(op: str, n: int) -> int:
    try:
        number = operator.index(n)
    except TypeError:
        number = None
    if number is None or isinstance(n, bool):
        raise TypeError(f"{op}: n must be an int; got {n!r}. Write nr.{op}(2) for two threads.")
    if not 1 <= number <= MAX_THREADS:
        raise ValueError(
            f"{op}: n must be from 1 to {MAX_THREADS}; got {number}. "
            f"Write nr.{op}(1) to run without helper threads."
        )
    return number


def _default() -> int:
    text = os.environ.get("NR_NUM_THREADS", "").strip()
    if text:
        if not text.isdecimal() or not 1 <= int(text) <= MAX_THREADS:
            raise ValueError(
                f"NR_NUM_THREADS must be an int from 1 to {MAX_THREADS}; got {text!r}. "
                "Set it to a number of threads, or unset it to use all processors."
            )
        return int(text)
    # OpenMP allows a list here, one number for each level of nesting.
    outer = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if outer.isdecimal() and int(outer) >= 1:
        return min(int(outer), MAX_THREADS)
    return min(limits.processors(), MAX_THREADS)


def _common() -> int:
    global _threads
    if _threads is None:
        _threads = _default()
    return _threads


def set_num_threads(n: int) -> None:
    """Sets how many threads compiled programs use, in the whole process.

    Without it, they use NR_NUM_THREADS threads, or else OMP_NUM_THREADS, or else one for each
    processor that the process may use.

    Args:
        n: The number of threads, the calling one included: 1 … 256. Programs that are running
            keep what they started with.

    Example:
        >>> import nr
        >>> before = nr.get_num_threads()
        >>> nr.set_num_threads(2)
        >>> nr.get_num_threads()
        2
        >>> nr.set_num_threads(before)
    """
    global _threads
    number = _checked("set_num_threads", n)
    with _lock:
        _threads = number
        if _pool is not None:
            _pool.set_threads(number)


def get_num_threads() -> int:
    """How many threads a compiled program that is called here and now uses.

    Example:
        >>> import nr
        >>> with nr.num_threads(1):
        ...     nr.get_num_threads()
        1
    """
    return _here.get() or _common()


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Sets how many threads compiled programs use in a `with` block.

    It holds for the thread, or asyncio task, that runs the block: a context variable, as
    `decimal.localcontext` is. Others go on with what `set_num_threads` says.

    Args:
        n: The number of threads, the calling one included: 1 … 256.

    Example:
        >>> import nr
        >>> with nr.num_threads(1):
        ...     y = nr.jit(nr.numpy.sin)(nr.numpy.ones(3))
    """
    token = _here.set(_checked("num_threads", n))
    try:
        yield
    finally:
        _here.reset(token)


def pool() -> Pool:
    """The process's pool."""
    global _pool
    if _pool is None:
        with _lock:
            if _pool is None:
                _pool = Pool(_common())
    return _pool


def team() -> tuple[int, int]:
    """A handle for `nr_parallel`, and its number of threads, for a program that is called here.

    The handle's tasks see worker numbers below that number, even if another thread calls
    `set_num_threads` meanwhile.
    """
    n = get_num_threads()
    return pool().handle(n), n
