"""Memory of compiled programs: arrays and arenas whose pages are kept for the next of their size.

Fresh memory costs a page fault, and a page of zeros, for every 4 KiB that is first touched: more
than most kernels cost for them. So what a program gives back stays mapped, in a list of its size
class, and the next step gets it again. Classes are an eighth to a quarter of their size apart.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import math
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.backends.cpu import limits

SMALL = 32 << 10  # arrays below this many bytes come from NumPy
_PAGE_BITS = (mmap.PAGESIZE - 1).bit_length()
_HUGE_PAGE = 2 << 20
_HUGE = 4 << 20  # from this size on, blocks are made of huge pages where the system has them
_MOST = 1 << 62  # more than any address space
_ADVICE: int | None = getattr(mmap, "MADV_HUGEPAGE", None)

_libc = ctypes.CDLL(None)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_madvise = _libc.madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_FAILED = ctypes.c_void_p(-1).value

# Held only where a pool counts what it has mapped. A thread that forks holds it meanwhile, so that
# the child finds it free.
_lock = threading.RLock()
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


def size_class(nbytes: int) -> int:
    """The size of the blocks that hold `nbytes` bytes: whole pages, four classes an octave."""
    bits = max((nbytes - 1).bit_length() - 3, _PAGE_BITS)
    if nbytes >= _HUGE:
        bits = max(bits, (_HUGE_PAGE - 1).bit_length())
    step = 1 << bits
    return max((nbytes + step - 1) & -step, step)


def _map(size: int) -> int | None:
    """The address of `size` fresh bytes, page-aligned; huge blocks at a huge page."""
    huge = _ADVICE is not None and size >= _HUGE
    length = size + _HUGE_PAGE if huge else size
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    start = _mmap(None, length, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if start == _FAILED:
        return None
    if not huge:
        return start
    address = (start + _HUGE_PAGE - 1) & -_HUGE_PAGE
    if address > start:
        _munmap(start, address - start)
    if start + length > address + size:
        _munmap(address + size, start + length - address - size)
    _madvise(address, size, _ADVICE)  # only advice: where it fails, pages are small
    return address


class Block:
    """Memory that `acquire` handed out: `nbytes` bytes at `address`, aligned to a page."""

    __slots__ = ("address", "nbytes")

    def __init__(self, address: int, nbytes: int) -> None:
        self.address = address
        self.nbytes = nbytes

    def __repr__(self) -> str:
        return f"Block(address={self.address:#x}, nbytes={self.nbytes})"


# The types of what stands at the base of arrays whose memory is a pool's.
_pooled: weakref.WeakSet[type] = weakref.WeakSet()


def is_pooled(array: Any) -> bool:
    """Whether an array is one of a pool's, and not a view of one."""
    return type(array) is np.ndarray and type(array.base) in _pooled


class _SizeClass:
    """The blocks of one size: `free` has when each was given back and its address, oldest first."""

    __slots__ = ("size", "free", "array_memory")

    def __init__(self, size: int, pool: MemoryPool) -> None:
        self.size = size
        self.free: deque[tuple[int, int]] = deque()
        give, addressof = pool._give, ctypes.addressof  # the module may be gone before an array

        def finalize(memory: Any) -> None:
            give(self, addressof(memory))

        # What array_memory(address) makes stands at the base of an array, and gives the block back.
        memory: Any = type("PooledMemory", (ctypes.c_char * size,), {"__del__": finalize})
        _pooled.add(memory)
        self.array_memory = memory.from_address


class MemoryPool:
    """Blocks by size class. Free ones are kept, up to `limit` bytes, the latest used first.

    Threads share a pool. It takes no lock where blocks change hands: appending to a deque and
    popping from it are atomic. For collecting garbage can give arrays back at any point of any
    method, in the midst of it.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = max(256 << 20, limits.memory() // 8) if limit is None else limit
        self._classes: dict[int, _SizeClass] = {}
        self._class_of: dict[int, _SizeClass] = {}  # by the number of bytes asked for
        self._clock = itertools.count()
        self._mapped = 0

    def empty(self, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """A new C-contiguous array, its elements whatever the memory holds.

        Arrays of `SMALL` bytes or more are aligned to a page, and their memory returns to the
        pool when the array and its views are gone. Smaller ones, and those of Python objects,
        come from `np.empty`, whose memory is aligned to 16 bytes.

        Raises:
            MemoryError: The system has no memory left.
        """
        nbytes = dtype.itemsize * math.prod(shape)
        if nbytes < SMALL or dtype.hasobject:  # used memory is no place for references
            return np.empty(shape, dtype)
        kind = self._class_of.get(nbytes) or self._find(nbytes)
        try:
            address = kind.free.pop()[1]
        except IndexError:
            address = self._map(kind.size)
        return np.ndarray(shape, dtype, kind.array_memory(address))

    def acquire(self, nbytes: int) -> Block:
        """A block of at least `nbytes` bytes, aligned to a page, until it is released.

        Raises:
            MemoryError: The system has no memory left.
        """
        kind = self._class_of.get(nbytes) or self._find(nbytes)
        try:
            address = kind.free.pop()[1]
        except IndexError:
            address = self._map(kind.size)
        return Block(address, kind.size)

    def release(self, block: Block) -> None:
        """Gives a block back."""
        if block.address == 0:
            raise ValueError("release: the block was released before. Release each block once.")
        address, block.address = block.address, 0
        self._give(self._classes[block.nbytes], address)

    def trim(self) -> None:
        """Returns all free blocks to the system."""
        self._keep(0)

    def cached_bytes(self) -> int:
        """How many bytes of free blocks are kept."""
        return sum([kind.size * len(kind.free) for kind in list(self._classes.values())])

    def in_use_bytes(self) -> int:
        """How many bytes of blocks arrays and arenas hold."""
        return self._mapped - self.cached_bytes()

    def _find(self, nbytes: int) -> _SizeClass:
        size = size_class(nbytes)
        if size > _MOST:
            raise self._out_of_memory(size)
        kind = self._classes.get(size)
        if kind is None:
            kind = self._classes.setdefault(size, _SizeClass(size, self))
        if len(self._class_of) > 10_000:  # programs whose shapes differ from call to call
            self._class_of.clear()
        self._class_of[nbytes] = kind
        return kind

    def _give(self, kind: _SizeClass, address: int) -> None:
        kind.free.append((next(self._clock), address))
        if self._mapped > self._limit:  # else the free blocks cannot be over it
            self._keep(self._limit)

    def _map(self, size: int) -> int:
        address = _map(size)
        if address is None:
            self.trim()
            address = _map(size)
        if address is None:
            raise self._out_of_memory(size)
        with _lock:
            self._mapped += size
        return address

    def _keep(self, limit: int) -> None:
        """Unmaps the least recently used free blocks until no more than `limit` bytes are free."""
        while self.cached_bytes() > limit:
            oldest = None
            when = math.inf
            for kind in list(self._classes.values()):
                # Other threads may take blocks, or give some back, between any two lines.
                with contextlib.suppress(IndexError):
                    if kind.free[0][0] < when:
                        when, oldest = kind.free[0][0], kind
            if oldest is None:
                return
            with contextlib.suppress(IndexError):
                address = oldest.free.popleft()[1]
                _munmap(address, oldest.size)
                with _lock:
                    self._mapped -= oldest.size

    def _out_of_memory(self, size: int) -> MemoryError:
        return MemoryError(
            f"out of memory: the system refused {_bytes(size)}; nr holds "
            f"{_bytes(self.in_use_bytes())}. Free some arrays, or compute in smaller pieces."
        )


def _bytes(n: int) -> str:
    for unit in ("GiB", "MiB"):
        scale = 1 << 30 if unit == "GiB" else 1 << 20
        if n >= scale:
            return f"{n / scale:.1f} {unit}"
    return f"{n} bytes"


_pool = MemoryPool()
empty = _pool.empty
acquire = _pool.acquire
release = _pool.release
trim = _pool.trim
cached_bytes = _pool.cached_bytes
in_use_bytes = _pool.in_use_bytes
