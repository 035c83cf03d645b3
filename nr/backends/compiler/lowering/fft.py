"""Discrete Fourier transforms, as kernels: one for each factor of the length.

The passes are the transposed ones of Stockham's (W. T. Cochran et al., "What is the fast Fourier
transform?", Proc. IEEE 55, 1967): results come in order, and only the last pass reads with a
stride. Between passes real and imaginary parts are arrays of their own. Lengths with a prime factor
above `_LARGEST_PRIME` become convolutions (L. I. Bluestein, IEEE Trans. AU-18, 1970). Roots of
unity are constants of the program. A real transform of even length is a complex one of half the
length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import NUMPY, Complex, Expr
from nr.backends.compiler.index import ZERO, Index, Loop, index_of
from nr.backends.compiler.loops import REGISTER, Buffer, Kernel, Pass, Store, Table, load
from nr.backends.compiler.lowering.rules import from_index, kernels
from nr.backends.compiler.lowering.strided import lanes, size_of

_LARGEST_PRIME = 16
# A pass may take this many elements at a time; later ones fewer, for they are not held up by
# reading with a stride.
_LARGEST_RADIX, _USUAL_RADIX = 16, 10
# Tasks that are enough for all threads.
_UNITS = 64


# ------------------------------------------------------------------------ lengths and constants
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


def _roots(numerators: np.ndarray, n: int, sign: int) -> np.ndarray:
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


def _table(key: tuple, kind: str, values: Callable[[], np.ndarray]) -> Table:
    """Complex numbers as a table: the real parts, then the imaginary ones."""
    found = _tables.get((*key, kind))
    if found is None:
        z = values()
        parts = np.concatenate([z.real.ravel(), z.imag.ravel()]).astype(NUMPY[kind])
        found = _tables[(*key, kind)] = Table(key[0], kind, parts)
    return found


def _twiddles(radix: int, m: int, sign: int, kind: str) -> Table:
    """exp(sign 2 pi i j p / (radix m)) at [j - 1, p]."""
    key = ("twiddles", radix, m, sign)
    j, p = np.arange(1, radix)[:, None], np.arange(m)[None, :]
    return _table(key, kind, lambda: _roots(j * p, radix * m, sign))


def _half_turn(n: int, sign: int, kind: str) -> Table:
    """exp(sign 2 pi i k / n) for k < n / 2."""
    return _table(("roots", n, sign), kind, lambda: _roots(np.arange(n // 2), n, sign))


def _chirp(n: int, padded: int, sign: int, kind: str) -> tuple[Table, Table]:
    """c(k) = exp(sign i pi k**2 / n), and the transform of its conjugate, around zero."""

    def chirp() -> np.ndarray:
        k = np.arange(n, dtype=np.int64)
        return _roots(k * k % (2 * n), 2 * n, sign).astype(np.complex128)

    def spectrum() -> np.ndarray:
        conjugate = chirp().conj()
        around = np.zeros(padded, np.complex128)
        around[:n] = conjugate
        around[padded - n + 1 :] = conjugate[:0:-1]
        return np.fft.fft(around) / padded

    return (
        _table(("chirp", n, sign), kind, chirp),
        _table(("spectrum", n, padded, sign), kind, spectrum),
    )


def _at(loop: Loop) -> Index:
    """The loop's variable; loops of one step are left out of kernels."""
    return index_of(loop) if loop.extent > 1 else ZERO


def _real(buffer: Buffer, index: Index, guard: Any = None) -> Expr:
    """An element of an array of real numbers."""
    value = load(buffer, index, guard)
    assert isinstance(value, Expr)
    return value


def _entry(table: Table, index: Index) -> Complex:
    return Complex(_real(table, index), _real(table, index + table.size // 2))


# ------------------------------------------------------------------------ complex arithmetic
def _add(a: Complex, b: Complex) -> Complex:
    return Complex(a.re + b.re, a.im + b.im)


def _sub(a: Complex, b: Complex) -> Complex:
    return Complex(a.re - b.re, a.im - b.im)


def _mul(a: Complex, b: Complex) -> Complex:
    return Complex(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)


def _conj(a: Complex) -> Complex:
    return Complex(a.re, -a.im)


def _times_i(a: Complex, sign: int = 1) -> Complex:
    return Complex(-a.im, a.re) if sign > 0 else Complex(a.im, -a.re)


def _scaled(a: Complex, factor: float) -> Complex:
    return a if factor == 1 else Complex(a.re * factor, a.im * factor)


def _turned(a: Complex, k: int, n: int, sign: int) -> Complex:
    """a exp(sign 2 pi i k / n)."""
    k %= n
    if 8 * k % n:
        w = complex(_roots(np.array([k]), n, sign)[0])
        kind = a.re.dtype
        return _mul(a, Complex(e.const(w.real, kind), e.const(w.imag, kind)))
    eighth = 8 * k // n
    for _ in range(eighth // 2):
        a = _times_i(a, sign)
    if eighth % 2:
        half = math.sqrt(0.5)
        a = _scaled(_add(a, _times_i(a, sign)), half)
    return a


def dft(values: Sequence[Complex], sign: int) -> list[Complex]:
    """The transform of a few numbers, written out."""
    n = len(values)
    if n == 1:
        return list(values)
    if n == 2:
        return [_add(*values), _sub(*values)]
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
    sums, differences = [_add(*p) for p in pairs], [_sub(*p) for p in pairs]
    first = values[0]
    for value in sums:
        first = _add(first, value)
    result = [first] + [None] * (n - 1)
    for j in range(1, n // 2 + 1):
        even, odd = values[0], None
        for k, (s, d) in enumerate(zip(sums, differences, strict=True), 1):
            w = complex(_roots(np.array([j * k]), n, sign)[0])
            even = _add(even, _scaled(s, w.real))
            term = _scaled(d, w.imag)
            odd = term if odd is None else _add(odd, term)
        assert odd is not None
        result[j] = _add(even, _times_i(odd))
        result[n - j] = _sub(even, _times_i(odd))
    return result


# ------------------------------------------------------------------------ arrays
class _Whole:
    """Complex numbers as programs have them."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer

    def load(self, index: Index, guard: Any = None) -> Complex:
        value = load(self.buffer, index, guard)
        assert type(value) is Complex
        return value

    def stores(self, index: Index, value: Complex) -> list[Store]:
        return [Store(self.buffer, index, value)]


class _Planar:
    """Real and imaginary parts apart; without the latter, they are zero and are not stored."""

    def __init__(self, re: Buffer, im: Buffer | None) -> None:
        self.re = re
        self.im = im

    def load(self, index: Index, guard: Any = None) -> Complex:
        re = _real(self.re, index, guard)
        im = e.const(0, re.dtype) if self.im is None else _real(self.im, index, guard)
        return Complex(re, im)

    def stores(self, index: Index, value: Complex) -> list[Store]:
        stores = [Store(self.re, index, value.re)]
        return stores if self.im is None else [*stores, Store(self.im, index, value.im)]


class _Pairs:
    """Real numbers, of which every second one is taken for an imaginary part."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer

    def load(self, index: Index, guard: Any = None) -> Complex:
        return Complex(*[_real(self.buffer, index * 2 + k, guard) for k in (0, 1)])

    def stores(self, index: Index, value: Complex) -> list[Store]:
        parts = (value.re, value.im)
        return [Store(self.buffer, index * 2 + k, v) for k, v in enumerate(parts)]


_Array = _Whole | _Planar | _Pairs


# ------------------------------------------------------------------------ transforms
class _Transforms:
    """The kernels of one eqn. Arrays have `outer` rows of n times `inner` elements."""

    def __init__(self, kind: str, sign: int, vector_bytes: int) -> None:
        self.kind = kind
        self.sign = sign
        self.vector_bytes = vector_bytes
        self.kernels: list[Kernel] = []

    def room(self, size: int) -> _Planar:
        """A temporary array."""
        return _Planar(*[Buffer(f"fft.{part}", self.kind, size) for part in ("re", "im")])

    def kernel(self, loops: Sequence[Loop], vector: Loop, stores: list[Store], wide: int) -> None:
        """A kernel over loops, outermost first; `wide` registers for each value."""
        others = [loop for loop in loops if loop is not vector and loop.extent > 1]
        width = lanes(self.kind, vector.extent, self.vector_bytes, wide)
        tasks = next((k for k in range(1, len(others)) if size_of(others[:k]) >= _UNITS), None)
        if size_of(others) >= _UNITS:
            kept, tasks = [*others, vector], tasks or len(others)
        else:
            kept, tasks = [vector, *others], 1
        self.kernels.append(Kernel(kept, [], vector, [Pass(stores=stores)], tasks, width))

    def along(
        self, source: _Array, target: _Array, outer: int, n: int, inner: int, scale: float = 1.0
    ) -> None:
        """The transform along one dimension."""
        factors = radices(n)
        if factors is None:
            self.bluestein(source, target, outer, n, inner, scale)
            return
        stride = n * inner
        for k in range(len(factors) - 1, -1, -1):
            stride //= factors[k]
            last = k == 0
            to = target if last else self.room(outer * n * inner)
            self.step(source, to, outer, n, inner, factors[k], stride, scale if last else 1.0)
            source = to

    def step(
        self, source: _Array, target: _Array, outer: int, n: int, inner: int, radix: int,
        stride: int, scale: float,
    ) -> None:  # fmt: skip
        """One pass: transforms of `radix` elements, each `stride` from the one before it."""
        m = n * inner // stride // radix
        b, p, q = Loop("b", outer), Loop("p", m), Loop("q", stride)
        at = _at(b) * (n * inner) + _at(q)
        values = [source.load(at + (_at(p) * radix + j) * stride) for j in range(radix)]
        if m > 1:
            roots = _twiddles(radix, m, self.sign, self.kind)
            values[1:] = [_mul(v, _entry(roots, _at(p) + j * m)) for j, v in enumerate(values[1:])]
        stores = []
        for k, value in enumerate(dft(values, self.sign)):
            place = at + (_at(p) + k * m) * stride
            stores += target.stores(place, _scaled(value, scale))
        vector = q if stride >= 8 else p if m >= 8 else max((q, p, b), key=lambda loop: loop.extent)
        self.kernel([b, p, q], vector, stores, 2 if radix <= 4 else 1)

    def bluestein(
        self, source: _Array, target: _Array, outer: int, n: int, inner: int, scale: float
    ) -> None:
        """X(k) = c(k) times the convolution of x(k) c(k) with the conjugate of c."""
        padded = 1 << (2 * n - 2).bit_length()
        chirp, spectrum = _chirp(n, padded, self.sign, self.kind)
        room, product = [self.room(outer * padded * inner) for _ in range(2)]
        b, k, q = Loop("b", outer), Loop("k", padded), Loop("q", inner)
        inside = from_index(_at(k), "i64") < n
        x = source.load(_at(b) * (n * inner) + _at(k) * inner + _at(q), inside)
        c = Complex(*[_real(chirp, _at(k) + part * n, inside) for part in (0, 1)])
        wide = _at(b) * (padded * inner) + _at(k) * inner + _at(q)
        vector = q if inner >= 8 else k
        self.kernel([b, k, q], vector, room.stores(wide, _mul(x, c)), 1)
        forward = _Transforms(self.kind, -1, self.vector_bytes)
        transformed = self.room(outer * padded * inner)
        forward.along(room, transformed, outer, padded, inner)
        self.kernels += forward.kernels
        value = _mul(transformed.load(wide), _entry(spectrum, _at(k)))
        self.kernel([b, k, q], vector, product.stores(wide, value), 1)
        backward = _Transforms(self.kind, 1, self.vector_bytes)
        convolved = self.room(outer * padded * inner)
        backward.along(product, convolved, outer, padded, inner)
        self.kernels += backward.kernels
        j = Loop("j", n)
        vector = q if inner >= 8 else j
        at = _at(b) * (padded * inner) + _at(j) * inner + _at(q)
        value = _scaled(_mul(convolved.load(at), _entry(chirp, _at(j))), scale)
        at = _at(b) * (n * inner) + _at(j) * inner + _at(q)
        self.kernel([b, j, q], vector, target.stores(at, value), 1)

    def real(self, source: Buffer, target: _Array, outer: int, n: int) -> None:
        """The first n // 2 + 1 frequencies of real rows."""
        half = n // 2
        b = Loop("b", outer)
        row = _at(b) * (half + 1)
        if n % 2:
            whole = self.room(outer * n)
            self.along(_Planar(source, None), whole, outer, n, 1)
            k = Loop("k", half + 1)
            value = whole.load(_at(b) * n + _at(k))
            self.kernel([b, k], k, target.stores(row + _at(k), value), 2)
            return
        z = self.room(outer * half)
        self.along(_Pairs(source), z, outer, half, 1)
        first = z.load(_at(b) * half)
        zero = e.const(0, self.kind)
        ends = target.stores(row, Complex(first.re + first.im, zero))
        ends += target.stores(row + half, Complex(first.re - first.im, zero))
        self.kernel([b], b, ends, 1)
        if half == 1:
            return
        k = Loop("k", half - 1)
        this = z.load(_at(b) * half + _at(k) + 1)
        other = _conj(z.load(_at(b) * half - _at(k) + (half - 1)))
        root = _entry(_half_turn(n, -1, self.kind), _at(k) + 1)
        odd = _times_i(_mul(_sub(this, other), root), -1)
        value = _scaled(_add(_add(this, other), odd), 0.5)
        self.kernel([b, k], k, target.stores(row + _at(k) + 1, value), 1)

    def to_real(self, source: _Array, target: Buffer, outer: int, n: int, scale: float) -> None:
        """Real rows from the first n // 2 + 1 frequencies."""
        half = n // 2
        b = Loop("b", outer)
        row = _at(b) * (half + 1)
        first = source.load(row)
        if n % 2:
            whole = self.room(outer * n)
            alone = Complex(first.re, e.const(0, self.kind))
            self.kernel([b], b, whole.stores(_at(b) * n, alone), 1)
            if half:
                k = Loop("k", half)
                value = source.load(row + _at(k) + 1)
                stores = whole.stores(_at(b) * n + _at(k) + 1, value)
                stores += whole.stores(_at(b) * n - _at(k) + (n - 1), _conj(value))
                self.kernel([b, k], k, stores, 1)
            self.along(whole, _Planar(target, None), outer, n, 1, scale)
            return
        z = self.room(outer * half)
        last = source.load(row + half)
        ends = Complex(first.re + last.re, first.re - last.re)
        self.kernel([b], b, z.stores(_at(b) * half, ends), 1)
        if half > 1:
            k = Loop("k", half - 1)
            this = source.load(row + _at(k) + 1)
            other = _conj(source.load(row - _at(k) + (half - 1)))
            root = _entry(_half_turn(n, 1, self.kind), _at(k) + 1)
            odd = _times_i(_mul(_sub(this, other), root))
            place = _at(b) * half + _at(k) + 1
            self.kernel([b, k], k, z.stores(place, _add(_add(this, other), odd)), 1)
        self.along(z, _Pairs(target), outer, half, 1, scale)


@kernels("fft")
def _fft(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Kernel]:
    kind, lengths = eqn.params["fft_type"], eqn.params["fft_lengths"]
    (x,), (out,) = operands, results
    if not out.size:
        return []
    forward = kind in ("FFT", "RFFT")
    work = _Transforms(REGISTER[out.dtype], -1 if forward else 1, vector_bytes)
    scale = 1.0 if forward else 1.0 / math.prod(lengths)
    shape = eqn.outvars[0].aval.shape
    real = kind in ("RFFT", "IRFFT")
    *others, last = lengths
    # The extents while complex numbers are transformed, and the rows before them.
    extents = (*others, last // 2 + 1 if real else last)
    outer = math.prod(shape[: len(shape) - len(lengths)])
    size = outer * math.prod(extents)
    axes = list(range(len(others) if real else len(lengths)))
    axes = [a for a in axes if extents[a] > 1] or axes[:1]
    source: _Array = _Whole(x) if kind != "RFFT" else _Planar(x, None)
    if kind == "RFFT":
        source = _Whole(out) if not axes else work.room(size)
        work.real(x, source, outer * math.prod(others), last)
    for a in axes[::-1]:
        final = a == axes[0] and kind != "IRFFT"
        to = _Whole(out) if final else work.room(size)
        work.along(
            source, to, outer * math.prod(extents[:a]), extents[a], math.prod(extents[a + 1 :]),
            scale if final else 1.0,
        )  # fmt: skip
        source = to
    if kind == "IRFFT":
        work.to_real(source, out, outer * math.prod(others), last, scale)
    return work.kernels
