"""The Threefry-2x32 block cipher (20 rounds), the bits behind every random number.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.2.
"""

from types import ModuleType

import numpy as np

from ._structure import Array, Kernel, on_host

_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_MASK = 0xFFFFFFFF
# Elements a block: the two halves and a temporary stay in the first-level caches.
_BLOCK = 16384
# Up to this many elements Python integers are quicker than a hundred calls of array functions.
_TINY = 4


def _encrypt_one(k1: int, k2: int, a: int, b: int) -> tuple[int, int]:
    keys = (k1, k2, k1 ^ k2 ^ _PARITY)
    a, b = (a + k1) & _MASK, (b + k2) & _MASK
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            a = (a + b) & _MASK
            b = ((b << r) & _MASK | b >> (32 - r)) ^ a
        a = (a + keys[(group + 1) % 3]) & _MASK
        b = (b + keys[(group + 2) % 3] + group + 1) & _MASK
    return a, b


def _encrypt(xp: ModuleType, keys: tuple[Array, Array, Array], a: Array, b: Array) -> None:
    """Encrypt the counters (a, b) in place; `keys` are arrays that broadcast against them."""
    spare = xp.empty_like(b)
    a += keys[0]
    b += keys[1]
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            a += b
            xp.left_shift(b, np.uint32(r), out=spare)
            xp.right_shift(b, np.uint32(32 - r), out=b)
            b |= spare
            b ^= a
        a += keys[(group + 1) % 3]
        b += keys[(group + 2) % 3]
        b += np.uint32(group + 1)


def rows(xp: ModuleType) -> dict[str, Kernel]:
    """Return the kernels of this file over the arrays of `xp`.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name.
    """
    host = on_host(xp)

    def threefry2x32(k1: Array, k2: Array, x1: Array, x2: Array) -> tuple[Array, Array]:
        k1, k2, x1, x2 = (xp.asarray(v) for v in (k1, k2, x1, x2))
        shape = np.broadcast_shapes(k1.shape, k2.shape, x1.shape, x2.shape)
        out1, out2 = xp.empty(shape, np.uint32), xp.empty(shape, np.uint32)
        out1[...] = x1
        out2[...] = x2
        flat1, flat2 = out1.reshape(-1), out2.reshape(-1)
        size = flat1.size
        one_key = k1.size == 1 and k2.size == 1
        if one_key:
            k1, k2 = k1.reshape(1), k2.reshape(1)
        else:
            k1, k2 = (xp.broadcast_to(k, shape).reshape(-1) for k in (k1, k2))
        if host and size <= _TINY:
            for i in range(size):
                key = 0 if one_key else i
                flat1[i], flat2[i] = _encrypt_one(
                    int(k1[key]), int(k2[key]), int(flat1[i]), int(flat2[i])
                )
            return out1, out2
        keys = (k1, k2, k1 ^ k2 ^ np.uint32(_PARITY))
        for start in range(0, size, _BLOCK if host else max(size, 1)):
            part = slice(start, start + _BLOCK if host else size)
            block_keys = keys if one_key else tuple(k[part] for k in keys)
            _encrypt(xp, block_keys, flat1[part], flat2[part])
        return out1, out2

    def random_word(k1: Array, k2: Array, x1: Array, x2: Array) -> Array:
        first, second = threefry2x32(k1, k2, x1, x2)
        first ^= second
        return first

    return {"threefry2x32": threefry2x32, "random_word": random_word}
