"""Compiled objects on disk: one file an object, named by a hash of everything it depends on.

Any number of processes may share a directory: a file is written under another name and moved to
its own in one step, and holds a checksum, so a reader sees a whole object or none. What is read
here is executed later, so nothing is taken that somebody else could have written.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEFAULT_LIMIT = 1 << 30
_MAGIC = b"nr object 1\n"
_HEADER = len(_MAGIC) + hashlib.sha256().digest_size
_HOUR = 3600.0
_SUFFIX, _UNFINISHED = ".o", ".tmp"
_OTHERS_WRITE = 0o022


@dataclass
class _Settings:
    """Where objects are kept. `trouble` says why nothing is, or why nothing is written."""

    path: Path | None
    limit: int
    trouble: str = ""
    usable: bool | None = None  # whether the directory exists and may be trusted; None: not known


_settings: _Settings | None = None
_counts = {"hits": 0, "misses": 0, "writes": 0}
_lock = threading.Lock()
_serial = itertools.count()


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_new_lock)


def _count(what: str) -> None:
    with _lock:
        _counts[what] += 1


def _default_path() -> tuple[Path | None, str]:
    """The directory that the environment asks for, or why there is none."""
    if os.environ.get("NR_CACHE") == "0":
        return None, "NR_CACHE=0 turns it off"
    own = os.environ.get("NR_CACHE_DIR")
    if own is not None:
        return (Path(own).absolute(), "") if own else (None, 'NR_CACHE_DIR="" turns it off')
    # The XDG Base Directory Specification has relative paths ignored.
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base, "nr"), ""
    try:
        home = Path.home()
    except RuntimeError:
        return None, "there is no home directory; set NR_CACHE_DIR"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "nr", ""


def _default_limit() -> int:
    text = os.environ.get("NR_CACHE_MAX_BYTES", "").strip()
    if not text:
        return DEFAULT_LIMIT
    if not text.isdecimal():
        raise ValueError(
            f"NR_CACHE_MAX_BYTES must be a number of bytes; got {text!r}. "
            f"Unset it to allow {DEFAULT_LIMIT}."
        )
    return int(text)


def settings() -> _Settings:
    """The settings in force: what was set, else what the environment says at first use."""
    global _settings
    if _settings is None:
        path, trouble = _default_path()
        _settings = _Settings(path, _default_limit(), trouble)
    return _settings


def set_path(path: Path | None) -> None:
    """Keeps objects in another directory from now on, or nowhere."""
    global _settings
    trouble = "" if path else "set_directory(None) turned it off"
    _settings = _Settings(path and path.absolute(), settings().limit, trouble)


def set_limit(nbytes: int) -> None:
    """Lets the directory hold this much, and removes what is too much now."""
    settings().limit = nbytes
    evict()


def counts() -> dict[str, int]:
    """Hits, misses and writes of this process."""
    with _lock:
        return dict(_counts)


def _distrust(path: Path) -> str:
    """Why code in this directory must not be executed; empty if it may be."""
    status = path.stat()
    if status.st_uid != os.geteuid():
        return f"{path} belongs to another user"
    if status.st_mode & 0o002:
        return f"everybody may write to {path}"
    return ""


def directory(*, create: bool = False) -> Path | None:
    """The directory, if it exists (or could be created) and may be trusted."""
    s = settings()
    if s.path is None or s.usable is False:
        return None
    if s.usable is None:
        try:
            if create:
                s.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            elif not s.path.exists():
                return None
            s.trouble = _distrust(s.path)
        except OSError as error:
            s.trouble = f"{s.path} cannot be used: {error.strerror}"
        s.usable = not s.trouble
    return s.path if s.usable else None


def key(*parts: str) -> str:
    """The name of an object that depends on these texts, and on nothing else."""
    name = hashlib.sha256()
    for part in parts:
        data = part.encode()
        name.update(b"%d:" % len(data))
        name.update(data)
    return name.hexdigest()


def _file(root: Path, key: str) -> str:
    return f"{root}/{key[:2]}/{key[2:]}{_SUFFIX}"


def _checksum(key: str, data: bytes) -> bytes:
    return hashlib.sha256(key.encode() + data).digest()


def get(key: str) -> bytes | None:
    """The object of that name, if the cache has it."""
    root = directory()
    data = None if root is None else _read(_file(root, key), key)
    if settings().path is not None:
        _count("misses" if data is None else "hits")
    return data


def _read(name: str, key: str) -> bytes | None:
    try:
        handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        safe = status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE
        with open(handle, "rb", buffering=0, closefd=False) as file:
            content = file.read() if safe else b""
        data = content[_HEADER:]
        if content[:_HEADER] != _MAGIC + _checksum(key, data):
            os.unlink(name)
            return None
        if status.st_mtime < time.time() - _HOUR:
            os.utime(name)  # eviction goes by the time of last use, to the hour
        return data
    except OSError:  # another process removed the file, or it cannot be read
        return None
    finally:
        os.close(handle)


def put(key: str, data: bytes) -> None:
    """Keeps an object. Where that fails, the cache goes without it and `trouble` says why."""
    root = directory(create=True)
    s = settings()
    size = _HEADER + len(data)
    if root is None or size > s.limit:
        return
    name = _file(root, key)
    unfinished = f"{name}.{os.getpid()}.{next(_serial)}{_UNFINISHED}"
    try:
        os.makedirs(os.path.dirname(name), mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(unfinished, flags, 0o600), "wb") as file:
            file.write(_MAGIC + _checksum(key, data) + data)
        os.replace(unfinished, name)
    except OSError as error:
        s.trouble = f"{root} cannot be written to: {error.strerror}"
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        return
    _count("writes")
    # Looking through the directory takes long when it is full. A write does it with a probability
    # in proportion to its size, all processes together about once in a 32nd of the limit; the hash
    # is as good as a random number.
    if int(key[-8:], 16) * s.limit < (32 * size) << 32:
        evict()


def _scan(root: Path) -> Iterator[tuple[os.stat_result, str]]:
    """The files of the cache: their status and names."""
    for shard in _entries(root):
        for entry in _entries(shard.path) if len(shard.name) == 2 else ():
            if entry.name.endswith((_SUFFIX, _UNFINISHED)):
                with contextlib.suppress(OSError):
                    yield entry.stat(follow_symlinks=False), entry.path


def _entries(path: str | Path) -> list[os.DirEntry]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:
        return []


def usage() -> tuple[int, int]:
    """How many objects the directory holds, and how many bytes they take."""
    root = directory()
    sizes = (
        [status.st_size for status, name in _scan(root) if name.endswith(_SUFFIX)] if root else []
    )
    return len(sizes), sum(sizes)


def evict() -> None:
    """Removes the objects that were not used for longest, if the limit is near or exceeded."""
    root, limit = directory(), settings().limit
    if root is None:
        return
    files = []
    for status, name in _scan(root):
        if name.endswith(_SUFFIX):
            files.append((status.st_mtime_ns, status.st_size, name))
        elif status.st_mtime < time.time() - _HOUR:  # left by a process that was killed
            _remove(name)
    total = sum(size for _, size, _ in files)
    if total <= limit - limit // 16:
        return
    for _, size, name in sorted(files):
        if total <= limit - limit // 8:
            break
        _remove(name)
        total -= size


def clear() -> None:
    """Removes all objects."""
    root = directory()
    for _, name in list(_scan(root)) if root else ():
        _remove(name)


def _remove(name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)
