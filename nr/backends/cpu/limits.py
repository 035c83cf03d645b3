"""What the system lets this process have: processors and memory, containers' quotas included."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
# arch_prctl, its request for leave to use a state, and the state: tiles (Linux, asm/prctl.h).
_ARCH_PRCTL, _REQUEST, _TILES = 158, 0x1023, 18


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's control groups, from its own up to the root.

    A line of /proc/self/cgroup is `number:controllers:path`; version 2 of control groups has one
    line, without controllers (Linux, cgroups(7)). In a container the path may be the host's, and
    lead nowhere; the root then is the container's own group.
    """
    try:
        lines = _PROC.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = _ROOT
        elif controller in controllers.split(","):
            base = _ROOT / controller
        else:
            continue
        group = base / path.strip("/")
        yield group
        while group != base:
            group = group.parent
            yield group


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def processors() -> int:
    """How many processors this process may keep busy: its affinity, its quota rounded up."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        count = os.cpu_count() or 1
    for group in _groups("cpu"):
        words = _words(group / "cpu.max") or [
            *_words(group / "cpu.cfs_quota_us"),
            *_words(group / "cpu.cfs_period_us"),
        ]
        # An unlimited quota is "max" in version 2 and -1 in version 1.
        if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0:
            count = min(count, -(-int(words[0]) // int(words[1])))
    return max(count, 1)


def memory() -> int:
    """How many bytes of memory this process may use: the machine's, or its group's limit."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in _groups("memory"):
        words = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
        if words and words[0].isdigit():
            size = min(size, int(words[0]))
    return size


def matrix_unit() -> bool:
    """Ask the system for leave to use the tiles of an x86-64 processor, for all threads from now
    on and for processes that are forked; whether it is given."""
    if not sys.platform.startswith("linux"):
        return False
    return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILES) == 0
