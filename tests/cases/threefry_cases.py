"""Op cases of nr.lax.threefry, the primitives under nr.random."""

import numpy as np
import scipy.special as scipy_special

from nr.lax.threefry import (
    log_of_uniform_p,
    normal_from_uniform_p,
    random_word,
    threefry2x32,
)
from tests.cases.base import FLOATS, OpCase, unit

MASK = 0xFFFFFFFF
SHAPES = [(7,), (2, 3), (), (0, 3)]


def _encrypted(k1, k2, x1, x2):
    """Threefry-2x32 of 20 rounds on Python integers, as the paper's Algorithm has it."""
    keys = (k1, k2, k1 ^ k2 ^ 0x1BD11BDA)
    x1, x2 = (x1 + k1) & MASK, (x2 + k2) & MASK
    for i in range(20):
        rotation = (13, 15, 26, 6, 17, 29, 16, 24)[i % 8]
        x1 = (x1 + x2) & MASK
        x2 = ((x2 << rotation | x2 >> (32 - rotation)) & MASK) ^ x1
        if i % 4 == 3:
            n = i // 4 + 1
            x1, x2 = (x1 + keys[n % 3]) & MASK, (x2 + keys[(n + 1) % 3] + n) & MASK
    return x1, x2


def _blocks(*xs):
    columns = [x.ravel().tolist() for x in np.broadcast_arrays(*xs)]
    pairs = [_encrypted(*row) for row in zip(*columns, strict=True)]
    shape = np.broadcast_shapes(*[x.shape for x in xs])
    return tuple(np.array(x, np.uint32).reshape(shape) for x in zip(*pairs, strict=True))


def _words(rng, shape):
    return np.asarray(rng.integers(0, 2**32, shape, np.uint32))


def _between(low):
    """Numbers between low and 1, away from both."""
    return lambda rng, dt, shape: (unit(rng, dt, shape) * 0.45 * (1 - low) + (1 + low) / 2).astype(
        dt
    )


CASES = [
    *[
        OpCase(
            f"threefry2x32 of keys {a} and blocks {b}",
            threefry2x32,
            lambda rng, dt, a=a, b=b: tuple(_words(rng, shape) for shape in (a, a, b, b)),
            _blocks,
            ("uint32",),
            grad=False,
            primitive="threefry2x32",
        )
        for a, b in [((), (5,)), ((), ()), ((2, 3), (2, 3)), ((3,), ()), ((), (40,))]
    ],
    *[
        OpCase(
            f"random_word of keys {a} and blocks {b}",
            random_word,
            lambda rng, dt, a=a, b=b: tuple(_words(rng, shape) for shape in (a, a, b, b)),
            lambda *words: np.bitwise_xor(*_blocks(*words)),
            ("uint32",),
            grad=False,
            primitive="random_word",
        )
        for a, b in [((), (5,)), ((2, 3), (2, 3)), ((), (40,))]
    ],
    *[
        OpCase(
            f"{primitive.name} {shape}",
            primitive.bind,
            lambda rng, dt, shape=shape, low=low: (_between(low)(rng, dt, shape),),
            lambda u, reference=reference: reference(u.astype(np.float64)),
            FLOATS,
            primitive=primitive.name,
        )
        for primitive, low, reference in [
            (normal_from_uniform_p, -1, lambda u: np.sqrt(2) * scipy_special.erfinv(u)),
            (log_of_uniform_p, 0, np.log),
        ]
        for shape in SHAPES
    ],
]
