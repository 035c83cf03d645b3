"""Pairs of f64 (see `nr.backends.doubled`) as arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._structure import Array

_HALF = 2.0**27 + 1


class Arrays:
    """An `Arithmetic` of float64 arrays; products have their errors by Dekker's algorithm (1971).

    Example:
        >>> Arrays(np).product(np.array([1 / 3]), 3.0)[1] * 2**54
        array([-1.])
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def product(self, a: Any, b: Any) -> tuple[Array, Array]:
        high = a * b
        (a1, a2), (b1, b2) = _halves(a), _halves(b)
        return high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2

    def residual(self, a: Array, b: Array, c: Any) -> Array:
        high, low = self.product(a, b)
        return (c - high) - low

    def fma(self, a: Any, b: Any, c: Any) -> Array:
        return a * b + c

    def select(self, condition: Array, a: Any, b: Any) -> Array:
        return self.xp.where(condition, a, b)

    def equal(self, a: Array, b: Any) -> Array:
        return a == b

    def size(self, a: Array) -> Array:
        return self.xp.absolute(a)

    def nearest(self, a: Array) -> Array:
        return self.xp.rint(a)

    def floor(self, a: Array) -> Array:
        return self.xp.floor(a)

    def lookup(self, values: tuple[float, ...], number: Array) -> Array:
        inside = (number > 0) & (number < len(values))
        return self.xp.asarray(values)[self.xp.where(inside, number, 0).astype(np.int64)]

    def split(self, a: Array) -> tuple[Array, Array, Array]:
        m, e = self.xp.frexp(a)
        low = m < math.sqrt(0.5)
        m, e = self.xp.where(low, m + m, m), self.xp.where(low, e - 1, e)
        return e.astype(np.float64), m, self.xp.ldexp(1.0, -e)


def _halves(x: Any) -> tuple[Any, Any]:
    """x as a sum of two numbers of half as many bits."""
    scaled = x * _HALF
    high = scaled - (scaled - x)
    return high, x - high
