"""Discrete Fourier transforms: routines (the folder `fourier`) where they fit, else kernels.

In a routine, a thread takes a few rows or columns through all passes while they are in its cache.
Left for kernels, one for each factor of the length, are rows that are short or too long for that,
of no suitable factors, and few columns. The passes are the transposed ones of Stockham's (W. T.
Cochran et al., "What is the fast Fourier transform?", Proc. IEEE 55, 1967): results come in order,
and only the last pass reads with a stride. Between passes real and imaginary parts are arrays of
their own. Lengths with large prime factors become convolutions (L. I. Bluestein, IEEE Trans. AU-18,
1970). Roots of unity are constants of the program. A real transform of even length is a complex one
of half the length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import Complex, Expr
from nr.backends.compiler.index import ZERO, Index, Loop, index_of
from nr.backends.compiler.loops import REGISTER, Buffer, Kernel, Pass, Store, Table, load
from nr.backends.compiler.lowering.fourier.butterflies import conj, dft, mul, scaled, unfolded
from nr.backends.compiler.lowering.fourier.chirps import (
    chirped_rows,
    chirps_fit,
    padded_length,
)
from nr.backends.compiler.lowering.fourier.lines import (
    Array,
    columns,
    columns_fit,
    rows,
    rows_fit,
    unit_of,
)
from nr.backends.compiler.lowering.fourier.passes import APART, WHOLE, Unit
from nr.backends.compiler.lowering.fourier.real import real_rows, rows_to_real
from nr.backends.compiler.lowering.fourier.roots import chirp, half_turn, radices, twiddles
from nr.backends.compiler.lowering.fourier.single import single_rows, single_rows_fit
from nr.backends.compiler.lowering.rules import from_index, kernels
from nr.backends.compiler.lowering.strided import lanes, size_of
from nr.backends.compiler.routine import Routine

# Tasks that are enough for all threads.
_UNITS = 64


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


# ------------------------------------------------------------------------ arrays
class _Whole:
    """Complex numbers as programs have them."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer

    def halves(self) -> Array:
        """The same for routines."""
        return Array(WHOLE, (self.buffer,))

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

    def halves(self) -> Array | None:
        """The same for routines, which have both parts."""
        return None if self.im is None else Array(APART, (self.re, self.im))

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

    def halves(self) -> Array:
        """The same for routines."""
        return Array(WHOLE, (self.buffer,))

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
        self.kernels: list[Kernel | Routine] = []

    @property
    def units(self) -> list[Unit]:
        """The vectors of routines; narrower ones suit more lengths."""
        sizes = [self.vector_bytes >> k for k in range(3)]
        return list(dict.fromkeys([unit_of(self.kind, size) for size in sizes]))

    def halves(self, *arrays: _Array) -> list[Array | None]:
        """Arrays for routines: for inverse transforms, parts change places."""
        found = [array.halves() for array in arrays]
        if self.sign < 0:
            return found
        return [None if a is None else Array(a.form.inverse, a.buffers) for a in found]

    def whole(self, size: int) -> _Whole:
        """A temporary array of complex numbers."""
        return _Whole(Buffer("fft", {"f32": "c64", "f64": "c128"}[self.kind], size))

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
        a, b = self.halves(source, target)
        routine = self.routine(a, b, outer, n, inner, scale)
        if routine is not None:
            self.kernels.append(routine)
            return
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

    def routine(
        self, source: Array | None, target: Array | None, outer: int, n: int, inner: int,
        scale: float,
    ) -> Routine | None:  # fmt: skip
        """The same as one routine, if there is one for it."""
        if source is None or target is None:
            return None
        for unit in self.units if inner == 1 else ():
            fits = rows_fit(unit, n)
            if (outer == 1 or not fits) and single_rows_fit(target, n, unit):
                return single_rows(unit, source, target, outer, n, scale)
            if fits:
                return rows(unit, source, target, outer, n, scale)
        for unit in self.units:
            if columns_fit(unit, n, inner):
                return columns(unit, source, target, outer, n, inner, scale)
        unit = self.units[0]
        if inner == 1 and radices(n) is None and chirps_fit(unit, n):
            return chirped_rows(unit, source, target, outer, n, scale)
        return None

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
            w = twiddles(radix, m, self.sign, self.kind)
            values[1:] = [mul(v, _entry(w, _at(p) + j * m)) for j, v in enumerate(values[1:])]
        stores = []
        for k, value in enumerate(dft(values, self.sign)):
            place = at + (_at(p) + k * m) * stride
            stores += target.stores(place, scaled(value, scale))
        vector = q if stride >= 8 else p if m >= 8 else max((q, p, b), key=lambda loop: loop.extent)
        self.kernel([b, p, q], vector, stores, 2 if radix <= 4 else 1)

    def bluestein(
        self, source: _Array, target: _Array, outer: int, n: int, inner: int, scale: float
    ) -> None:
        """X(k) = c(k) times the convolution of x(k) c(k) with the conjugate of c."""
        padded = padded_length(n)
        c_table, spectrum = chirp(n, padded, self.sign, scale, self.kind)
        room, product = [self.room(outer * padded * inner) for _ in range(2)]
        b, k, q = Loop("b", outer), Loop("k", padded), Loop("q", inner)
        inside = from_index(_at(k), "i64") < n
        x = source.load(_at(b) * (n * inner) + _at(k) * inner + _at(q), inside)
        c = Complex(*[_real(c_table, _at(k) + part * n, inside) for part in (0, 1)])
        wide = _at(b) * (padded * inner) + _at(k) * inner + _at(q)
        vector = q if inner >= 8 else k
        self.kernel([b, k, q], vector, room.stores(wide, mul(x, c)), 1)
        forward = _Transforms(self.kind, -1, self.vector_bytes)
        transformed = self.room(outer * padded * inner)
        forward.along(room, transformed, outer, padded, inner)
        self.kernels += forward.kernels
        value = mul(transformed.load(wide), _entry(spectrum, _at(k)))
        self.kernel([b, k, q], vector, product.stores(wide, value), 1)
        backward = _Transforms(self.kind, 1, self.vector_bytes)
        convolved = self.room(outer * padded * inner)
        backward.along(product, convolved, outer, padded, inner)
        self.kernels += backward.kernels
        j = Loop("j", n)
        vector = q if inner >= 8 else j
        at = _at(b) * (padded * inner) + _at(j) * inner + _at(q)
        value = mul(convolved.load(at), _entry(c_table, _at(j)))
        at = _at(b) * (n * inner) + _at(j) * inner + _at(q)
        self.kernel([b, j, q], vector, target.stores(at, value), 1)

    def real(self, source: Buffer, target: _Array, outer: int, n: int) -> None:
        """The first n // 2 + 1 frequencies of real rows."""
        half = n // 2
        to = target.halves()
        unit = next((u for u in self.units if rows_fit(u, half)), None)
        if n % 2 == 0 and to and unit:
            pairs = Array(WHOLE, (source,))
            self.kernels.append(real_rows(unit, pairs, to, outer, half))
            return
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
        other = conj(z.load(_at(b) * half - _at(k) + (half - 1)))
        root = _entry(half_turn(n, -1, self.kind), _at(k) + 1)
        value = scaled(unfolded(this, other, root, -1), 0.5)
        self.kernel([b, k], k, target.stores(row + _at(k) + 1, value), 1)

    def to_real(self, source: _Array, target: Buffer, outer: int, n: int, scale: float) -> None:
        """Real rows from the first n // 2 + 1 frequencies."""
        half = n // 2
        given = source.halves()
        unit = next((u for u in self.units if rows_fit(u, half)), None)
        if n % 2 == 0 and given and unit:
            pairs = Array(WHOLE, (target,))
            self.kernels.append(rows_to_real(unit, given, pairs, outer, half, scale))
            return
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
                stores += whole.stores(_at(b) * n - _at(k) + (n - 1), conj(value))
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
            other = conj(source.load(row - _at(k) + (half - 1)))
            root = _entry(half_turn(n, 1, self.kind), _at(k) + 1)
            value = unfolded(this, other, root, 1)
            self.kernel([b, k], k, z.stores(_at(b) * half + _at(k) + 1, value), 1)
        self.along(z, _Pairs(target), outer, half, 1, scale)


@kernels("fft")
def _fft(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Kernel | Routine]:
    kind, lengths = eqn.params["fft_type"], eqn.params["fft_lengths"]
    (x,), (out,) = operands, results
    if not out.size:
        return []
    forward = kind in ("FFT", "RFFT")
    work = _Transforms(REGISTER[out.dtype], -1 if forward else 1, vector_bytes)
    scale = 1.0 if forward else 1.0 / math.prod(lengths)
    real = kind in ("RFFT", "IRFFT")
    # The extents while complex numbers are transformed, and which of them are transformed.
    extents = list(eqn.outvars[0].aval.shape)
    rank, last = len(extents), lengths[-1]
    dimensions = eqn.params.get("dimensions", range(rank - len(lengths), rank))
    if real:
        extents[-1] = last // 2 + 1
        dimensions = dimensions[:-1]
    lines, size = math.prod(extents[:-1]), math.prod(extents)
    axes = [a for a in sorted(dimensions) if extents[a] > 1] or list(dimensions[:1])
    source: _Array = _Whole(x) if kind != "RFFT" else _Planar(x, None)
    if kind == "RFFT":
        source = work.whole(size) if axes else _Whole(out)
        work.real(x, source, lines, last)
    for a in axes[::-1]:
        final = a == axes[0] and kind != "IRFFT"
        to = _Whole(out) if final else work.whole(size)
        outer, inner = math.prod(extents[:a]), math.prod(extents[a + 1 :])
        work.along(source, to, outer, extents[a], inner, scale if final else 1.0)
        source = to
    if kind == "IRFFT":
        work.to_real(source, out, lines, last, scale)
    return work.kernels
