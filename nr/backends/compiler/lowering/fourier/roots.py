"""Factors of lengths, and roots of unity as constants of programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import numpy as np

from nr.backends.compiler.expr import NUMPY
from nr.backends.compiler.loops import Table

_LARGEST_PRIME = 16
# A pass may take this many elements at a time; later ones fewer, for they are not held up by
# reading with a stride.
_LARGEST_RADIX, _USUAL_RADIX = 16, 10


def radices(n: int) -> list[int] | None:
    """Factors of n for the passes, the one with stride first; None if a prime is too large.

    Example:
        >>> radices(1024), radices(60), radices(17)
        ([16, 8, 8], [15, 4], None)
    """
    found: list[int] = []
    most = _LARGEST_RADIX
    while n > 1:
        options = [r for r in range(2, _LARGEST_PRIME + 1) if n % r == 0]
        if not options:
            return None
        options = [r for r in options if r <= most] or options[:1]
        # A power of two is cheaper than a larger number that is none.
        best = max(options, key=lambda r: (not found or r & (r - 1) == 0, r))
        found.append(best)
        n //= best
        most = _USUAL_RADIX
    return found or [1]


def roots(numerators: np.ndarray, n: int, sign: int) -> np.ndarray:
    """exp(sign 2 pi i k / n), from angles of at most pi / 4, so that nothing is lost."""
    fourths = 4 * (numerators.astype(np.int64) % n)
    quarters = (2 * fourths + n) // (2 * n)
    rest = (fourths - quarters * n).astype(np.longdouble)
    angle = rest * (np.longdouble("3.14159265358979323846264338327950288") / (2 * n))
    turn = np.array([1, 1j, -1, -1j])[quarters % 4]
    value = (np.cos(angle) + 1j * np.sin(angle)) * turn
    return value if sign > 0 else np.conj(value)


# By what they hold: as long as a program has them.
_tables: WeakValueDictionary[tuple, Table] = WeakValueDictionary()


def table(key: tuple, kind: str, values: Callable[[], np.ndarray]) -> Table:
    """Numbers as a table, by a key that begins with a name."""
    found = _tables.get((*key, kind))
    if found is None:
        found = _tables[(*key, kind)] = Table(key[0], kind, values().ravel().astype(NUMPY[kind]))
    return found


def _planar(z: np.ndarray) -> np.ndarray:
    """The real parts, then the imaginary ones."""
    return np.concatenate([z.real.ravel(), z.imag.ravel()])


def twiddles(radix: int, m: int, sign: int, kind: str) -> Table:
    """exp(sign 2 pi i j p / (radix m)) at [j - 1, p]."""
    key = ("twiddles", radix, m, sign)
    j, p = np.arange(1, radix)[:, None], np.arange(m)[None, :]
    return table(key, kind, lambda: _planar(roots(j * p, radix * m, sign)))


def half_turn(n: int, sign: int, kind: str) -> Table:
    """exp(sign 2 pi i k / n) for k up to n / 2."""
    key = ("roots", n, sign)
    return table(key, kind, lambda: _planar(roots(np.arange(n // 2 + 1), n, sign)))


def _chirp(n: int, sign: int) -> np.ndarray:
    k = np.arange(n, dtype=np.int64)
    return roots(k * k % (2 * n), 2 * n, sign).astype(np.complex128)


def chirp(n: int, padded: int, sign: int, scale: float, kind: str) -> tuple[Table, Table]:
    """c(k) = exp(sign i pi k**2 / n), and the transform of its conjugate, around zero, by which a
    convolution's spectrum is to be multiplied, and scaled."""

    def spectrum() -> np.ndarray:
        conjugate = _chirp(n, sign).conj()
        around = np.zeros(padded, np.complex128)
        around[:n] = conjugate
        around[padded - n + 1 :] = conjugate[:0:-1]
        return _planar(np.fft.fft(around) * (scale / padded))

    return (
        table(("chirp", n, sign), kind, lambda: _planar(_chirp(n, sign))),
        table(("spectrum", n, padded, sign, scale), kind, spectrum),
    )


def turns(n: int) -> list[tuple[int, int, int]]:
    """What it takes to transform n numbers of which the j-th is turned before, by
    exp(-2 pi i j t / n): (r, k, j) stands for exp(-2 pi i j (t + k) / r).

    These are just those factors; but for a power of two, what `turned_dft` takes.

    Example:
        >>> turns(8), turns(3)
        ([(2, 0, 1), (4, 0, 1), (8, 0, 1), (8, 1, 1)], [(3, 0, 1), (3, 0, 2)])
    """
    if n & (n - 1):
        return [(n, 0, j) for j in range(1, n)]
    sizes = [1 << k for k in range(1, n.bit_length())]
    return [(r, k, 1) for r in sizes for k in range(max(r // 4, 1))]


def _turning(radix: int, m: int) -> np.ndarray:
    """`turns` of a pass after passes over m elements, at [p, :] by t = p / m."""
    p = np.arange(m)
    return np.stack([roots(j * (p + k * m), r * m, -1) for r, k, j in turns(radix)], -1)


def pass_twiddles(factors: Sequence[int], kind: str) -> Table:
    """The `turns` of each pass but the first: real and imaginary part side by side."""

    def values() -> np.ndarray:
        parts, m = [np.zeros(0, np.complex128)], factors[0]
        for radix in factors[1:]:
            parts.append(_turning(radix, m).ravel())
            m *= radix
        z = np.concatenate(parts)
        return np.stack([z.real, z.imag], -1)

    return table(("pass_twiddles", *factors), kind, values)


def lane_twiddles(m: int, lanes: int, kind: str) -> Table:
    """The `turns` of as many numbers as lanes, at [:, k] by t = k / m: a row of real parts, then
    one of imaginary parts."""

    def values() -> np.ndarray:
        z = _turning(lanes, m).T
        return np.stack([z.real, z.imag], 1)

    return table(("lane_twiddles", m, lanes), kind, values)
