"""The cache of compiled programs on disk.

Compiled code is kept in `~/.cache/nr` (macOS: `~/Library/Caches/nr`), so that later processes find
it there. Environment variables, read when the cache is first used:

- `NR_CACHE_DIR`: another directory; empty turns the cache off. `XDG_CACHE_HOME` is respected.
- `NR_CACHE=0`: turns the cache off.
- `NR_CACHE_MAX_BYTES`: how much it may hold, 1 GiB by default.
"""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from pathlib import Path

from nr.backends.cpu import object_cache

__all__ = ["CacheInfo", "clear", "info", "set_directory", "set_limit"]


@dataclass(frozen=True)
class CacheInfo:
    """What `nr.cache.info` tells.

    Attributes:
        path: The directory; None if there is none.
        enabled: Whether objects are read from the directory.
        entries: How many objects the directory holds.
        bytes: How many bytes they take.
        limit: How many bytes they may take.
        hits: How many objects this process found in the directory.
        misses: How many it did not find.
        writes: How many it added.
        reason: Why the cache is off, or could not be written to; empty if all is well.
    """

    path: Path | None
    enabled: bool
    entries: int
    bytes: int
    limit: int
    hits: int
    misses: int
    writes: int
    reason: str


def info() -> CacheInfo:
    """Where the cache is, what it holds, and how it served this process.

    Example:
        >>> import nr, tempfile
        >>> before = nr.cache.info()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nr.cache.set_directory(folder)
        ...     (nr.cache.info().enabled, nr.cache.info().entries)
        (True, 0)
        >>> nr.cache.set_directory(before.path)
    """
    entries, size = object_cache.usage()
    settings = object_cache.settings()
    return CacheInfo(
        path=settings.path,
        enabled=settings.path is not None and settings.usable is not False,
        entries=entries,
        bytes=size,
        limit=settings.limit,
        reason=settings.trouble,
        **object_cache.counts(),
    )


def clear() -> None:
    """Removes everything from the cache's directory; programs that are loaded keep running.

    Example:
        >>> import nr, tempfile
        >>> before = nr.cache.info()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nr.cache.set_directory(folder)
        ...     nr.cache.clear()
        ...     nr.cache.info().entries
        0
        >>> nr.cache.set_directory(before.path)
    """
    object_cache.clear()


def set_directory(path: str | os.PathLike[str] | None) -> None:
    """Keeps compiled programs in another directory, for the rest of this process.

    Args:
        path: The directory, which is created when something is first written to it. It must not
            belong to another user or be writable for everybody, else it is not used: the code in
            it will be executed. None turns the cache off.

    Example:
        >>> import nr
        >>> before = nr.cache.info()
        >>> nr.cache.set_directory(None)
        >>> nr.cache.info().reason
        'set_directory(None) turned it off'
        >>> nr.cache.set_directory(before.path)
    """
    object_cache.set_path(None if path is None else Path(path))


def set_limit(nbytes: int) -> None:
    """Sets how many bytes the directory may hold, for the rest of this process.

    When it is nearly full, what was not used for longest is removed.

    Args:
        nbytes: The number of bytes; 0 keeps nothing.

    Example:
        >>> import nr, tempfile
        >>> before = nr.cache.info()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nr.cache.set_directory(folder)
        ...     nr.cache.set_limit(100_000_000)
        ...     print(nr.cache.info().limit)
        ...     nr.cache.set_limit(before.limit)
        100000000
        >>> nr.cache.set_directory(before.path)
    """
    try:
        number = operator.index(nbytes)
    except TypeError:
        raise TypeError(
            f"set_limit: nbytes must be an int; got {nbytes!r}. "
            "Write nr.cache.set_limit(10**9) for a gigabyte."
        ) from None
    if number < 0:
        raise ValueError(f"set_limit: nbytes must not be negative; got {number}.")
    object_cache.set_limit(number)
