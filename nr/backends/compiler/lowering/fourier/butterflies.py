"""Transforms of a few numbers, written out, over any complex numbers: of a type with two parts
`re` and `im`, which add and multiply."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from nr.backends.compiler.lowering.fourier.roots import roots

C = TypeVar("C", bound=Any)


def add(a: C, b: C) -> C:
    """The sum."""
    return type(a)(a.re + b.re, a.im + b.im)


def sub(a: C, b: C) -> C:
    """The difference."""
    return type(a)(a.re - b.re, a.im - b.im)


def mul(a: C, b: Any) -> C:
    """The product; b may be a number."""
    re, im = (b.real, b.imag) if type(b) is complex else (b.re, b.im)
    return type(a)(a.re * re - a.im * im, a.re * im + a.im * re)


def conj(a: C) -> C:
    """The conjugate."""
    return type(a)(a.re, -a.im)


def times_i(a: C, sign: int = 1) -> C:
    """The product with i, or with -i."""
    return type(a)(-a.im, a.re) if sign > 0 else type(a)(a.im, -a.re)


def scaled(a: C, factor: float) -> C:
    """The product with a real number."""
    return a if factor == 1 else type(a)(a.re * factor, a.im * factor)


def unfolded(this: C, other: C, root: C, sign: int) -> C:
    """Twice the frequency k of 2 m real numbers, from the transform of m pairs of them.

    Args:
        this: The transform at k; or for sign 1, this is the inverse.
        other: The conjugate of the transform at m - k.
        root: exp(sign pi i k / m).
        sign: -1 for frequencies, 1 for the inverse: the transform of pairs from frequencies.
    """
    return add(add(this, other), times_i(mul(sub(this, other), root), sign))


def _turned(a: C, k: int, n: int, sign: int) -> C:
    """a exp(sign 2 pi i k / n)."""
    k %= n
    if 8 * k % n:
        return mul(a, complex(roots(np.array([k]), n, sign)[0]))
    eighth = 8 * k // n
    for _ in range(eighth // 2):
        a = times_i(a, sign)
    if eighth % 2:
        a = scaled(add(a, times_i(a, sign)), math.sqrt(0.5))
    return a


def dft(values: Sequence[C], sign: int) -> list[C]:
    """The transform of a few numbers, written out."""
    n = len(values)
    if n == 1:
        return list(values)
    if n == 2:
        return [add(*values), sub(*values)]
    split = next((d for d in (4, 2, 3, 5) if n % d == 0 and n > d), None)
    if n == 4:
        split = 2
    if split is not None:  # the Cooley-Tukey algorithm
        m = n // split
        parts = [dft(values[k::split], sign) for k in range(split)]
        result: list[Any] = [None] * n
        for p in range(m):
            terms = [_turned(parts[k][p], k * p, n, sign) for k in range(split)]
            for j, value in enumerate(dft(terms, sign)):
                result[p + m * j] = value
        return result
    pairs = [(values[k], values[n - k]) for k in range(1, n // 2 + 1)]
    sums, differences = [add(*p) for p in pairs], [sub(*p) for p in pairs]
    first = values[0]
    for value in sums:
        first = add(first, value)
    result = [first] + [None] * (n - 1)
    for j in range(1, n // 2 + 1):
        even, odd = values[0], None
        for k, (s, d) in enumerate(zip(sums, differences, strict=True), 1):
            w = complex(roots(np.array([j * k]), n, sign)[0])
            even = add(even, scaled(s, w.real))
            term = scaled(d, w.imag)
            odd = term if odd is None else add(odd, term)
        assert odd is not None
        result[j] = add(even, times_i(odd))
        result[n - j] = sub(even, times_i(odd))
    return result


def turned_dft(values: Sequence[C], roots: Mapping[tuple[int, int, int], C]) -> list[C]:
    """The transform of a power of two of numbers, turned first (see `turns`): for each two numbers
    at a time six fused products and sums."""
    n = len(values)
    if n == 1:
        return list(values)
    even, odd = turned_dft(values[::2], roots), turned_dft(values[1::2], roots)
    low, high = [], []
    for k, (a, b) in enumerate(zip(even, odd, strict=True)):
        quarter, k = divmod(k, max(n // 4, 1))
        if quarter:
            b = times_i(b, -1)
        w: Any = roots[n, k, 1]
        minus = -w.im
        re = minus.fused(b.im, w.re.fused(b.re, a.re))
        im = w.im.fused(b.re, w.re.fused(b.im, a.im))
        low.append(type(a)(re, im))
        high.append(type(a)(a.re.fused(2.0, -re), a.im.fused(2.0, -im)))
    return low + high
