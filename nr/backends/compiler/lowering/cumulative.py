"""Cumulative sums, products, extrema and log-sum-exps, as kernels of their own.

Along a dimension that is not the last one, a vector of columns goes through the rows at once.
Along the last one, a few rows are done together, so that one row's additions do not wait for each
other only; or a vector of rows, where that is worth loading elements one by one. Few long rows are
cut into parts, which first are summed up, then go on from the sum of what is before them. The
parts depend on the shape alone, and so do the results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import Complex, Expr
from nr.backends.compiler.index import Index, Loop, index_of
from nr.backends.compiler.loops import (
    REGISTER,
    Buffer,
    Kernel,
    Pass,
    Reducer,
    Store,
    load,
    parts_of,
)
from nr.backends.compiler.lowering.reduce import add, extreme_value, extremum, multiply
from nr.backends.compiler.lowering.rules import kernels, storage
from nr.backends.compiler.lowering.strided import lanes
from nr.backends.compiler.math import FUNCTIONS
from nr.backends.compiler.math.complex import COMPLEX_FUNCTIONS

# Rows that are done together: about the latency of an addition, in additions.
_TOGETHER = 4
# Columns from this many on are worth a vector.
_COLUMNS = 4
# Rows longer than this are cut into parts, if there are fewer rows than parts.
_LONG = 1 << 13
_PARTS = 32


@dataclass(frozen=True, slots=True)
class _Scan:
    """A scan: what an element is to begin with, how two are combined, and the result of that."""

    first: Callable
    identity: Callable
    combine: Callable
    last: Callable
    costly: bool = False


def _plain(identity: Callable, combine: Callable) -> _Scan:
    return _Scan(
        parts_of,
        lambda kind, n: (e.const(identity(kind), kind), e.const(0, kind))[:n],
        combine,
        _whole,
    )


def _whole(parts: tuple) -> Expr | Complex:
    return parts[0] if len(parts) == 1 else Complex(*parts)


def _extreme(name: str, largest: bool) -> _Scan:
    def identity(kind: str, n: int) -> tuple[Expr, ...]:
        return (e.const(extreme_value(kind, largest), kind),) * n

    return _Scan(parts_of, identity, extremum(name), _whole)


def _exponents(value: Expr | Complex) -> tuple[Expr, ...]:
    if type(value) is Complex:
        return value.re, FUNCTIONS["cos"](value.im), FUNCTIONS["sin"](value.im)
    return value, e.const(1, value.dtype)


def _combine_exponents(a: tuple, b: tuple) -> tuple:
    """Sums of exponentials as the largest (real) exponent and the sum relative to its exponential,
    of complex numbers in two parts."""
    (x, *s), (y, *t) = a, b
    apart = e.unary("abs", y - x)
    # Infinities that are equal are no distance apart.
    apart = e.select(e.eq(x, y), 0, apart)
    small = FUNCTIONS["exp"](-apart)
    after = y > x
    parts = [e.select(after, s * small + t, s + t * small) for s, t in zip(s, t, strict=True)]
    return e.maximum(x, y), *parts


def _logarithm(parts: tuple) -> Expr | Complex:
    if len(parts) == 2:
        return parts[0] + FUNCTIONS["log"](parts[1])
    log = COMPLEX_FUNCTIONS["log"](Complex(*parts[1:]))
    return Complex(parts[0] + log.re, log.im)


_SCANS = {
    "cumsum": _plain(lambda kind: 0, add),
    "cumprod": _plain(lambda kind: 1, multiply),
    "cummax": _extreme("max", False),
    "cummin": _extreme("min", True),
    "cumlogsumexp": _Scan(
        _exponents,
        lambda kind, n: (e.const(float("-inf"), kind), *[e.const(0, kind)] * n),
        _combine_exponents,
        _logarithm,
        costly=True,
    ),
}


def _supported(eqn: Any) -> bool:
    kind = storage(eqn.outvars[0].aval.dtype)
    return kind not in (None, "b1")


@kernels(*_SCANS, supports=_supported)
def _cumulative(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Kernel]:
    shape, axis = eqn.invars[0].aval.shape, eqn.params["axis"]
    around = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    if 0 in around:
        return []
    scan = _Scanning(
        _SCANS[eqn.primitive.name], operands[0], results[0], *around,
        reverse=eqn.params["reverse"], vector_bytes=vector_bytes,
    )  # fmt: skip
    if scan.columns >= _COLUMNS:
        return [scan.by_columns()]
    if scan.rows * scan.columns < _PARTS and scan.length >= _LONG:
        return scan.by_parts()
    return scan.by_rows()


class _Scanning:
    """The kernels of one scan over ``[rows, length, columns]``, along the middle."""

    def __init__(
        self, scan: _Scan, operand: Buffer, out: Buffer, rows: int, length: int, columns: int,
        *, reverse: bool, vector_bytes: int,
    ) -> None:  # fmt: skip
        self.scan = scan
        self.operand = operand
        self.out = out
        self.rows = rows
        self.length = length
        self.columns = columns
        self.reverse = reverse
        self.vector_bytes = vector_bytes

    def place(self, row: Index, position: Index, column: Index) -> Index:
        if self.reverse:
            position = (self.length - 1) - position
        return row * (self.length * self.columns) + position * self.columns + column

    def reducer(self, at: Index, name: str = "total") -> Reducer:
        values = self.scan.first(load(self.operand, at))
        return Reducer(name, values, self.identity(), self.scan.combine)

    def identity(self) -> tuple[Expr, ...]:
        parts = 2 if self.operand.dtype in ("c64", "c128") else 1
        return self.scan.identity(REGISTER[self.operand.dtype], parts)

    def so_far(self, reducer: Reducer) -> tuple[Expr, ...]:
        return tuple([reducer.running(k) for k in range(len(reducer.values))])

    # ------------------------------------------------------------------ vectors of columns
    def by_columns(self) -> Kernel:
        row, step, column = (
            Loop("row", self.rows),
            Loop("step", self.length),
            Loop("v", self.columns),
        )
        step.reduced = True
        at = self.place(index_of(row), index_of(step), index_of(column))
        reducer = self.reducer(at)
        store = Store(self.out, at, self.scan.last(self.so_far(reducer)))
        width = lanes(self.operand.dtype, self.columns, self.vector_bytes)
        kept, tasks = [row, column], 1
        if self.rows < 64 and self.columns >= 2 * width:
            kept = [column, row]
        kernel = Kernel(kept, [step], column, [Pass([reducer], [store])], tasks, width)
        return kernel

    # ------------------------------------------------------------------ rows
    def by_rows(self) -> list[Kernel]:
        rows = self.rows * self.columns
        if self.scan.costly and self.columns == 1:
            return [self._lanes(1, rows, self._row, self.length)]
        whole = rows // _TOGETHER * _TOGETHER
        result = []
        if whole:
            result.append(self._rows(0, whole, _TOGETHER, self._row, self.length))
        if rows > whole:
            result.append(self._rows(whole, rows - whole, rows - whole, self._row, self.length))
        return result

    def _row(self, row: Index, position: Index) -> Index:
        return self.place(row // self.columns, position, row % self.columns)

    def _rows(
        self, first: int, rows: int, together: int, place: Callable, length: int,
        before: Callable | None = None,
    ) -> Kernel:  # fmt: skip
        """Scan rows `first` … `first` + `rows` - 1, some at a time, each from what is before it."""
        block, lane = Loop("block", rows // together), Loop("v", 1)
        step = Loop("step", length, reduced=True)
        reducers, stores = [], []
        for k in range(together):
            row = index_of(block) * together + (first + k)
            at = place(row, index_of(step))
            reducer = self.reducer(at, f"total{k}")
            total = self.so_far(reducer)
            if before is not None:
                total = self.scan.combine(before(row), total)
            reducers.append(reducer)
            stores.append(Store(self.out, at, self.scan.last(total)))
        kernel = Kernel([block, lane], [step], lane, [Pass(reducers, stores)], 1, 1)
        return kernel

    def _lanes(
        self, rows: int, together: int, place: Callable, length: int,
        before: Callable | None = None,
    ) -> Kernel:  # fmt: skip
        """Scan rows, a vector of them at a time."""
        row, lane = Loop("row", rows), Loop("v", together)
        step = Loop("step", length, reduced=True)
        number = index_of(row) * together + index_of(lane)
        at = place(number, index_of(step))
        reducer = self.reducer(at)
        total = self.so_far(reducer)
        if before is not None:
            total = self.scan.combine(before(number), total)
        store = Store(self.out, at, self.scan.last(total))
        width = lanes(self.operand.dtype, together, self.vector_bytes, registers=1)
        kernel = Kernel([lane, row], [step], lane, [Pass([reducer], [store])], 1, width)
        return kernel

    # ------------------------------------------------------------------ parts of rows
    def by_parts(self) -> list[Kernel]:
        """Sums of parts; sums of what is before each part; and the parts, from there on."""
        rows = self.rows * self.columns
        # An odd number of cache lines, or parts of 2**k elements would meet in few cache sets.
        size = self.length // _PARTS // 32 * 32 - 16
        whole = size * _PARTS
        kinds = [v.dtype for v in self.identity()]
        sums = [Buffer(f"{self.out}.parts{k}", kind, rows * _PARTS) for k, kind in enumerate(kinds)]
        before = [
            Buffer(f"{self.out}.before{k}", kind, rows * (_PARTS + 1))
            for k, kind in enumerate(kinds)
        ]

        def part_place(part: Index, position: Index) -> Index:
            row = part // _PARTS
            return self._row(row, part % _PARTS * size + position)

        def before_part(part: Index) -> tuple[Expr, ...]:
            at = part + part // _PARTS
            return tuple([load(b, at) for b in before])  # type: ignore[misc]

        result = [
            self._sums(sums, part_place, rows * _PARTS, size),
            self._offsets(sums, before, rows),
            self._lanes(rows, _PARTS, part_place, size, before_part)
            if self.scan.costly
            else self._rows(0, rows * _PARTS, _TOGETHER, part_place, size, before_part),
        ]
        rest = self.length - whole
        if rest:
            result.append(
                self._rows(
                    0,
                    rows,
                    1,
                    lambda row, position: self._row(row, position + whole),
                    rest,
                    lambda row: tuple([load(b, row * (_PARTS + 1) + _PARTS) for b in before]),
                )  # fmt: skip
            )
        return result

    def _sums(self, sums: list[Buffer], place: Callable, parts: int, size: int) -> Kernel:
        part, step = Loop("part", parts), Loop("v", size, reduced=True)
        reducer = self.reducer(place(index_of(part), index_of(step)))
        after = [Store(b, index_of(part), reducer.result(k)) for k, b in enumerate(sums)]
        width = lanes(self.operand.dtype, size, self.vector_bytes)
        kernel = Kernel([part], [step], step, [Pass([reducer], [], after)], 1, width)
        return kernel

    def _offsets(self, sums: list[Buffer], before: list[Buffer], rows: int) -> Kernel:
        """What is before each part, and at the end of all."""
        row, lane = Loop("row", rows), Loop("v", 1)
        step = Loop("step", _PARTS, reduced=True)
        at = index_of(row) * _PARTS + index_of(step)
        values = tuple([load(b, at) for b in sums])
        reducer = Reducer("total", values, self.identity(), self.scan.combine)  # type: ignore[arg-type]
        place = index_of(row) * (_PARTS + 1)
        passes = [
            Pass(after=[Store(b, place, i) for b, i in zip(before, self.identity(), strict=True)]),
            Pass(
                [reducer],
                [
                    Store(b, place + index_of(step) + 1, reducer.running(k))
                    for k, b in enumerate(before)
                ],
            ),
        ]
        kernel = Kernel([row, lane], [step], lane, passes, 1, 1)
        return kernel
