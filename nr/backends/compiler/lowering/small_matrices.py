"""Kernels for stacks of small matrices: elimination written out, a lane of a vector for a matrix.

Where there are many right-hand sides, lanes are these, and what is done to the matrix is done once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import Complex, Expr
from nr.backends.compiler.index import ZERO, Index, Loop, index_of
from nr.backends.compiler.loops import REGISTER, Buffer, Kernel, Pass, Store, load, parts_of
from nr.backends.compiler.lowering.rules import Value, choose
from nr.backends.compiler.lowering.strided import lanes
from nr.backends.compiler.math import complex as cx

# Elimination is written out for matrices up to this extent; in stacks of at least so many (a few
# vectors), real ones up to the other extent. Texts, and how long they take to compile, grow with
# the cube, and LAPACK's calls become small beside its work.
_MOST = 4
_STACK = 32
_MOST_IN_STACKS = 8
# So many right-hand sides are written out; of more there is a loop.
_MOST_COLUMNS = 2

Matrix = list[list[Value]]


def fits(dtype: str, stack: int, *extents: int) -> bool:
    """Whether matrices are so small that loops over the stack are better than LAPACK."""
    many = stack >= _STACK and dtype in ("f32", "f64")
    return max(extents) <= (_MOST_IN_STACKS if many else _MOST)


# ------------------------------------------------------------------------------ numbers
def _mul(x: Value, y: Value) -> Value:
    if type(x) is Complex and type(y) is Complex:
        return cx.mul(x, y)
    assert type(x) is Expr and type(y) is Expr
    return x * y


def _sub(x: Value, y: Value) -> Value:
    if type(x) is Complex and type(y) is Complex:
        return cx.sub(x, y)
    assert type(x) is Expr and type(y) is Expr
    return x - y


def _div(x: Value, y: Value) -> Value:
    if type(x) is Complex and type(y) is Complex:
        return cx.div(x, y)
    assert type(x) is Expr and type(y) is Expr
    return x / y


def _conj(x: Value) -> Value:
    return Complex(x.re, -x.im) if type(x) is Complex else x


def _size(x: Value) -> Expr:
    """What pivots are compared by; LAPACK's measure of complex numbers."""
    first, *rest = [e.unary("abs", part) for part in parts_of(x)]
    return first + rest[0] if rest else first


def _is_zero(x: Value) -> Expr:
    first, *rest = [e.eq(part, 0) for part in parts_of(x)]
    return first & rest[0] if rest else first


def _constant(value: float, dtype: str) -> Value:
    """A number of a storage type; both parts of a complex NaN are NaN."""
    real = e.const(value, REGISTER[dtype])
    if dtype not in ("c64", "c128"):
        return real
    return Complex(real, real if value != value else e.const(0, REGISTER[dtype]))


def times(a: tuple, b: tuple) -> tuple:
    """The product of numbers as tuples of their parts."""
    if len(a) == 2:
        return parts_of(cx.mul(Complex(*a), Complex(*b)))
    return (a[0] * b[0],)


def plus(a: tuple, b: tuple) -> tuple:
    """The sum of real numbers."""
    return (a[0] + b[0],)


def identity_of(combine: Callable, values: tuple) -> tuple[Expr, ...]:
    """What changes nothing."""
    one = 1 if combine is times else 0
    return tuple([e.const(0 if k else one, v.dtype) for k, v in enumerate(values)])


def signed(value: Value, moved: Expr) -> tuple[Expr, ...]:
    """The parts of a number, or of its negative where rows were exchanged."""
    return tuple([e.select(moved, -part, part) for part in parts_of(value)])


def polar(value: Value) -> tuple[Value, Expr]:
    """The sign, and the logarithm of the modulus. As in NumPy, the sign of a real NaN is 1."""
    if type(value) is Complex:
        size = cx.abs_(value)
        return cx.sign(value), e.node("log", (size,), size.dtype)
    assert type(value) is Expr
    one = e.const(1, value.dtype)
    sign = e.select(_is_zero(value), 0, e.select(value < 0, -one, one))
    return sign, e.node("log", (e.unary("abs", value),), value.dtype)


# ------------------------------------------------------------------------------ loops
class _Loops:
    """The loops of a kernel over matrices, and over right-hand sides where these are many.

    What is done to the matrix does not depend on the right-hand side, and is done once.
    """

    def __init__(self, stack: int, columns: int, like: Buffer, vector_bytes: int) -> None:
        matrix, column = Loop("matrix", stack), Loop("column", columns)
        self.columns = [ZERO + c for c in range(columns)]
        self.kept, self.vector = [matrix], matrix
        if columns > _MOST_COLUMNS:
            self.columns = [index_of(column)]
            self.kept.append(column)
            if columns > stack:
                self.vector = column
        if stack == 1:
            self.kept = [self.vector]
        # One matrix is scalar code, or uniform.
        self.at = ZERO if stack == 1 else index_of(matrix)
        self.width = lanes(like.dtype, self.vector.extent, vector_bytes, registers=1)

    def load(self, buffer: Buffer, rows: int, columns: int) -> Matrix:
        """A matrix, element by element."""
        start = self.at * (rows * columns)
        return [
            [load(buffer, start + (i * columns + j)) for j in range(columns)] for i in range(rows)
        ]

    def stores(self, out: Buffer, values: Matrix) -> list[Store]:
        """A matrix, element by element."""
        rows, columns = len(values), len(values[0])
        start = self.at * (rows * columns)
        return [
            Store(out, start + (i * columns + j), values[i][j])
            for i in range(rows)
            for j in range(columns)
        ]

    def place(self, i: int, column: Index, n: int, k: int, left: bool) -> Index:
        """Element i of a right-hand side, which is a column, or a row."""
        inside = column + i * k if left else column * n + i
        return self.at * (n * k) + inside

    def kernel(self, stores: list[Store]) -> Kernel:
        """The kernel that stores elements at each point."""
        return Kernel(self.kept, [], self.vector, [Pass(stores=stores)], 1, self.width)


# ------------------------------------------------------------------------------ elimination
def _eliminated(a: Matrix, columns: int, order: list[list[Any]]) -> list[Expr]:
    """LU with partial pivoting in place, of the first columns; the pivots.

    The largest of a column comes up, the first if several are; a column of zeros stays. The rows of
    `order` are exchanged as those of a.
    """
    m, pivots = len(a), []
    for j in range(min(m, columns)):
        best, p = _size(a[j][j]), e.const(j, "i32")
        for i in range(j + 1, m):
            size = _size(a[i][j])
            larger = size > best
            best, p = e.select(larger, size, best), e.select(larger, e.const(i, "i32"), p)
        pivots.append(p)
        _exchange(a, j, p)
        _exchange(order, j, p)
        pivot = a[j][j]
        one = _constant(1, pivot.dtype)
        divisor = choose(_is_zero(pivot), one, pivot)
        inverse = _div(one, divisor) if type(pivot) is Complex else None
        for i in range(j + 1, m):
            # Divisions of complex numbers are dear.
            entry = a[i][j]
            factor = a[i][j] = _div(entry, divisor) if inverse is None else _mul(entry, inverse)
            for c in range(j + 1, len(a[i])):
                a[i][c] = _sub(a[i][c], _mul(factor, a[j][c]))
    return pivots


def _exchange(rows: list[list[Any]], j: int, p: Expr) -> None:
    """Exchange row j with row p, which is one from j on."""
    for c in range(len(rows[0]) if rows else 0):
        first = rows[j][c]
        for i in range(j + 1, len(rows)):
            here = e.eq(p, i)
            rows[j][c] = choose(here, rows[i][c], rows[j][c])
            rows[i][c] = choose(here, first, rows[i][c])


def _substituted(a: Matrix, b: list[Value], lower: bool, unit: bool) -> list[Value]:
    """The solution of a triangular system; zeros on the diagonal give infinities and NaNs."""
    n = len(b)
    x = list(b)
    for i in range(n) if lower else reversed(range(n)):
        for j in range(i) if lower else range(i + 1, n):
            x[i] = _sub(x[i], _mul(a[i][j], x[j]))
        if not unit:
            x[i] = _div(x[i], a[i][i])
    return x


# ------------------------------------------------------------------------------ kernels
def cholesky(stack: int, n: int, a: Buffer, out: Buffer, vector_bytes: int) -> Kernel:
    """The lower factors; NaNs where a matrix is not positive definite."""
    loops = _Loops(stack, 0, a, vector_bytes)
    rows = loops.load(a, n, n)
    factor: Matrix = [[_constant(0, a.dtype)] * n for _ in range(n)]
    failed: Any = None
    for j in range(n):
        square = parts_of(rows[j][j])[0]
        for c in range(j):
            for part in parts_of(factor[j][c]):
                square = square - part * part
        bad = square <= 0
        failed = bad if failed is None else failed | bad
        root = e.unary("sqrt", square)
        inverse = 1 / root
        factor[j][j] = Complex(root, e.const(0, root.dtype)) if _is_complex(a) else root
        for i in range(j + 1, n):
            rest = rows[i][j]
            for c in range(j):
                rest = _sub(rest, _mul(factor[i][c], _conj(factor[j][c])))
            scaled = [part * inverse for part in parts_of(rest)]
            factor[i][j] = Complex(*scaled) if len(scaled) == 2 else scaled[0]
    nan = _constant(math.nan, a.dtype)
    for i in range(n):
        for j in range(i + 1):
            factor[i][j] = choose(failed, nan, factor[i][j])
    return loops.kernel(loops.stores(out, factor))


def _is_complex(a: Buffer) -> bool:
    return a.dtype in ("c64", "c128")


def triangular_solve(
    stack: int, n: int, k: int, a: Buffer, b: Buffer, out: Buffer, params: Mapping[str, bool],
    vector_bytes: int,
) -> Kernel:  # fmt: skip
    """Systems of one triangle; see the primitive."""
    loops = _Loops(stack, k, a, vector_bytes)
    left, lower = params["left_side"], params["lower"]
    matrix = loops.load(a, n, n)
    if params["conjugate_a"]:
        matrix = [[_conj(x) for x in row] for row in matrix]
    if params["transpose_a"] == left:  # x op(a) = b is op(a)^T x^T = b^T
        matrix, lower = [list(column) for column in zip(*matrix, strict=True)], not lower
    stores = []
    for column in loops.columns:
        at = [loops.place(i, column, n, k, left) for i in range(n)]
        right = [load(b, i) for i in at]
        x = _substituted(matrix, right, lower, params["unit_diagonal"])
        stores += [Store(out, i, value) for i, value in zip(at, x, strict=True)]
    return loops.kernel(stores)


def solve(
    stack: int, n: int, k: int, a: Buffer, b: Buffer, out: Buffer, vector_bytes: int
) -> Kernel:
    """Systems, by elimination."""
    loops = _Loops(stack, k, a, vector_bytes)
    at = [[loops.place(i, column, n, k, True) for column in loops.columns] for i in range(n)]
    both = loops.load(a, n, n)
    for row, places in zip(both, at, strict=True):
        row += [load(b, place) for place in places]
    _eliminated(both, n, [])
    stores = []
    for c in range(len(loops.columns)):
        x = _substituted(both, [row[n + c] for row in both], False, False)
        stores += [Store(out, at[i][c], x[i]) for i in range(n)]
    return loops.kernel(stores)


def lu(stack: int, m: int, n: int, a: Buffer, results: list[Buffer], vector_bytes: int) -> Kernel:
    """The factors in one matrix, pivots, and the permutation of rows."""
    loops = _Loops(stack, 0, a, vector_bytes)
    order: list[list[Any]] = [[e.const(i, "i32")] for i in range(m)]
    factors = loops.load(a, m, n)
    pivots = _eliminated(factors, n, order)
    stores = loops.stores(results[0], factors) if n else []
    if pivots:
        stores += loops.stores(results[1], [list(pivots)])
    stores += loops.stores(results[2], order)
    return loops.kernel(stores)


def determinant(stack: int, n: int, a: Buffer, results: list[Buffer], vector_bytes: int) -> Kernel:
    """The determinants, or the signs and logarithms of moduli where two results are wanted."""
    loops = _Loops(stack, 0, a, vector_bytes)
    factors = loops.load(a, n, n)
    pivots = _eliminated(factors, n, [])
    one = _constant(1, a.dtype)
    moved: Any = None
    for j, p in enumerate(pivots[:-1]):
        exchanged = e.ne(p, j)
        moved = exchanged if moved is None else moved ^ exchanged
    diagonal = [factors[j][j] for j in range(n)]
    if len(results) == 1:
        product = one
        for x in diagonal:
            product = x if product is one else _mul(product, x)
        return loops.kernel([Store(results[0], loops.at, _with_sign(product, moved))])
    sign: Value = one
    total: Expr = e.const(0, REGISTER[results[1].dtype])
    for k, x in enumerate(diagonal):
        direction, size = polar(x)
        sign = _mul(sign, direction) if k else direction
        total = total + size if k else size
    stores = [
        Store(results[0], loops.at, _with_sign(sign, moved)),
        Store(results[1], loops.at, total),
    ]
    return loops.kernel(stores)


def _with_sign(value: Value, moved: Expr | None) -> Value:
    if moved is None:
        return value
    parts = signed(value, moved)
    return Complex(*parts) if len(parts) == 2 else parts[0]
