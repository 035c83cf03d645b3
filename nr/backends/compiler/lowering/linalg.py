"""Linear algebra: LAPACK for each matrix of a stack, and loops over the stack of small ones.

LAPACK is called for the functions, and with the order of rows and columns, that NumPy calls it for:
so eager and compiled code choose the same pivots, and mostly the same signs of vectors. (NumPy
computes in double; here numbers are of the operands' type.) Failures give NaNs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import Complex
from nr.backends.compiler.index import ZERO, Index, Loop, index_of
from nr.backends.compiler.loops import (
    Buffer,
    Kernel,
    Pass,
    Recurrence,
    Reducer,
    Store,
    load,
)
from nr.backends.compiler.lowering import small_matrices as small
from nr.backends.compiler.lowering.calls import REAL_PART, Calls, Place
from nr.backends.compiler.lowering.rules import from_index, kernels
from nr.backends.compiler.lowering.strided import lanes
from nr.backends.compiler.routine import Routine

Steps = list[Kernel | Routine]
# What LAPACK's blocked code has room for besides its least workspace, in columns.
BLOCK = 64


def is_complex(dtype: str) -> bool:
    return dtype in ("c64", "c128")


def matrices(eqn: Any) -> tuple[int, int, int]:
    """How many matrices there are, and their extents."""
    *lead, m, n = eqn.invars[0].aval.shape
    return math.prod(lead), m, n


def nanoseconds(flops: float) -> float:
    """About how long LAPACK takes."""
    return 1000 + flops / 8


def _at(loop: Loop) -> Index:
    """Where a loop is; kernels whose vector loop has one step are scalar code."""
    return ZERO if loop.extent == 1 else index_of(loop)


def _diagonals(stack: int, n: int) -> tuple[Loop, Loop]:
    """Loops over matrices and what is on their diagonals, to be combined."""
    return Loop("matrix", stack), Loop("i", n, reduced=True)


# ------------------------------------------------------------------------------ cholesky
@kernels("cholesky")
def _cholesky(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, n, _ = matrices(eqn)
    if stack * n == 0:
        return []
    if small.fits(operands[0].dtype, stack, n):
        return [small.cholesky(stack, n, operands[0], results[0], vector_bytes)]
    # Rows of the lower triangle are columns of the upper one.
    calls = Calls("cholesky", results[0].dtype, stack)
    a, out = calls.read(operands[0]), calls.write(results[0])
    info = calls.scratch(1, "i32")
    zero = calls.constant(0.0)
    calls.call("lacpy", "U", n, n, a, n, out, n)
    calls.call("potrf", "U", n, out, n, info)
    with calls.failed(info):
        calls.fill(n, n, math.nan, out)
    calls.call("laset", "L", n - 1, n - 1, zero, zero, calls.at(out, 1), n)
    return [calls.routine(nanoseconds(n**3 / 3))]


# ------------------------------------------------------------------------------ systems
@kernels("triangular_solve")
def _triangular_solve(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> Steps:
    (stack, n, _), p = matrices(eqn), eqn.params
    left = p["left_side"]
    k = eqn.invars[1].aval.shape[-1 if left else -2]
    if results[0].size == 0:
        return []
    if small.fits(operands[0].dtype, stack, n):
        first, second = operands
        return [small.triangular_solve(stack, n, k, first, second, results[0], p, vector_bytes)]
    # To Fortran, all matrices are transposed: x on the other side, and the other triangle.
    calls = Calls("triangular_solve", results[0].dtype, stack)
    a, b, out = calls.read(operands[0]), calls.read(operands[1]), calls.write(results[0])
    conjugate = p["conjugate_a"] and is_complex(results[0].dtype)
    # A vector is its transpose, so there it is the matrix that changes, if x is on the right of it.
    transpose = p["transpose_a"] != (k == 1 and left)
    form = {(0, 0): "N", (1, 0): "T", (1, 1): "C", (0, 1): "R"}[transpose, conjugate]
    triangle, unit = "U" if p["lower"] else "L", "U" if p["unit_diagonal"] else "N"
    calls.copy(b, out, n * k)
    if k == 1:
        calls.call("trsv", triangle, form, unit, n, a, n, out, 1)
    else:
        one = calls.constant(1.0)
        rows, columns = (k, n) if left else (n, k)
        side = "R" if left else "L"
        calls.call("trsm", side, triangle, form, unit, rows, columns, one, a, n, out, rows)
    return [calls.routine(nanoseconds(n * n * k))]


@kernels("solve")
def _solve(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, n, _ = matrices(eqn)
    k = eqn.invars[1].aval.shape[-1]
    if results[0].size == 0:
        return []
    if small.fits(operands[0].dtype, stack, n):
        first, second = operands
        return [small.solve(stack, n, k, first, second, results[0], vector_bytes)]
    calls = Calls("solve", results[0].dtype, stack)
    a, b, out = calls.read(operands[0]), calls.read(operands[1]), calls.write(results[0])
    factors, pivots, info = _factorized(calls, a, n, n)
    if k == 1:
        calls.copy(b, out, n)
        calls.call("getrs", "N", n, k, factors, n, pivots, out, n, info)
    else:
        x = calls.scratch(n * k)
        calls.transpose(n, k, b, x)
        calls.call("getrs", "N", n, k, factors, n, pivots, x, n, info)
        calls.transpose(k, n, x, out)
    return [calls.routine(nanoseconds(2 * n**3 / 3 + 2 * n * n * k))]


def _factorized(
    calls: Calls, a: Place, m: int, n: int, pivots: Place | None = None
) -> tuple[Place, Place, Place]:
    """The LU decomposition of a matrix column by column, its pivots (from 1 on), and its status."""
    factors = calls.scratch(m * n)
    pivots = pivots or calls.scratch(min(m, n), "i32")
    info = calls.scratch(1, "i32")
    calls.transpose(m, n, a, factors)
    calls.call("getrf", m, n, factors, m, pivots, info)
    return factors, pivots, info


# ------------------------------------------------------------------------------ LU
@kernels("lu")
def _lu(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, m, n = matrices(eqn)
    if stack * m == 0:
        return []
    if small.fits(operands[0].dtype, stack, m, n):
        return [small.lu(stack, m, n, operands[0], results, vector_bytes)]
    k = min(m, n)
    raw = Buffer("lu.pivots", "i32", stack * k)
    calls = Calls("lu", results[0].dtype, stack)
    a, out, pivots = calls.read(operands[0]), calls.write(results[0]), calls.write(raw)
    factors, _, _ = _factorized(calls, a, m, n, pivots)
    calls.transpose(n, m, factors, out)
    first: Steps = [calls.routine(nanoseconds(2 * m * n * k))] if k else []
    if k:
        first.append(less_one(raw, results[1], vector_bytes))
    return [*first, _permutation(raw, stack, k, m, results[2], vector_bytes, first=1)]


@kernels("lu_pivots_to_permutation")
def _pivots_to_permutation(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> Steps:
    *lead, k = eqn.invars[0].aval.shape
    stack, m = math.prod(lead), eqn.params["permutation_size"]
    if stack * m == 0:
        return []
    return [_permutation(operands[0], stack, k, m, results[0], vector_bytes, first=0)]


@kernels("pivot_columns")
def _pivot_columns(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> Steps:
    # Of equal numbers LAPACK may choose another one than eager code; the order is as good.
    stack, n, _ = matrices(eqn)
    if stack * n == 0:
        return [_full(1, results[1], vector_bytes)]
    raw = Buffer("pivot_columns.pivots", "i32", stack * n)
    dtype = operands[0].dtype
    calls = Calls("pivot_columns", dtype, stack)
    a, pivots = calls.read(operands[0]), calls.write(raw)
    factors, rows, info = calls.scratch(n * n), calls.scratch(n, "i32"), calls.scratch(1, "i32")
    calls.transpose(n, n, a, factors)
    calls.call("getc2", n, factors, n, rows, pivots, info)
    matrix, i = _diagonals(stack, n)
    moved = _exchanged(raw, matrix, i, n)
    value = e.select(moved, e.const(-1, "i32"), e.const(1, "i32"))
    return [
        calls.routine(nanoseconds(16 * n**3)),
        _permutation(raw, stack, n, n, results[0], vector_bytes, first=1),
        _folded(matrix, i, [(results[1], (value,), small.times)], vector_bytes),
    ]


def _full(value: int, out: Buffer, vector_bytes: int) -> Kernel:
    loop = Loop("i", out.size)
    width = lanes(out.dtype, out.size, vector_bytes)
    store = Store(out, _at(loop), e.const(value, "i32"))
    return Kernel([loop], [], loop, [Pass(stores=[store])], 1, width)


def less_one(raw: Buffer, out: Buffer, vector_bytes: int) -> Kernel:
    """Indices that count from 1 as those that count from 0."""
    loop = Loop("i", out.size)
    number = load(raw, _at(loop))
    assert type(number) is e.Expr
    store = Store(out, _at(loop), number - 1)
    width = lanes(out.dtype, out.size, vector_bytes)
    return Kernel([loop], [], loop, [Pass(stores=[store])], 1, width)


def _permutation(
    pivots: Buffer, stack: int, k: int, m: int, out: Buffer, vector_bytes: int, *, first: int
) -> Kernel:
    """The order of rows after exchanges: each row is followed back to where it came from."""
    matrix, row, back = Loop("matrix", stack), Loop("row", m), Loop("back", k, reduced=True)
    vector = row if m >= min(stack, 16) else matrix
    step = (k - 1) - _at(back)
    other = load(pivots, _at(matrix) * k + step) - first  # type: ignore[operator]
    this = from_index(step, "i32")
    place = Recurrence("place", (from_index(_at(row), "i32"),))
    now = place.current()
    place.following = (e.select(e.eq(now, this), other, e.select(e.eq(now, other), this, now)),)
    store = Store(out, _at(matrix) * m + _at(row), place.result())
    kept = [matrix, row] if vector is row else [row, matrix]
    width = lanes("i32", vector.extent, vector_bytes)
    return Kernel(kept, [back], vector, [Pass(recurrences=[place], after=[store])], 1, width)


# ------------------------------------------------------------------------------ determinants
def _pivoted_diagonal(
    name: str, eqn: Any, operands: list[Buffer]
) -> tuple[Routine, Buffer, Buffer]:
    """The diagonals of U, and the pivots."""
    stack, n, _ = matrices(eqn)
    dtype = operands[0].dtype
    diagonal = Buffer(f"{name}.diagonal", dtype, stack * n)
    raw = Buffer(f"{name}.pivots", "i32", stack * n)
    calls = Calls(name, dtype, stack)
    a, out, pivots = calls.read(operands[0]), calls.write(diagonal), calls.write(raw)
    factors, _, _ = _factorized(calls, a, n, n, pivots)
    calls.call("copy", n, factors, n + 1, out, 1)
    return calls.routine(nanoseconds(2 * n**3 / 3)), diagonal, raw


def _exchanged(pivots: Buffer, matrix: Loop, i: Loop, n: int) -> e.Expr:
    """Whether a pivot exchanges rows."""
    at = _at(matrix) * n + _at(i)
    return e.ne(load(pivots, at), from_index(_at(i) + 1, "i32"))  # type: ignore[arg-type]


def _folded(
    matrix: Loop, i: Loop, results: Sequence[tuple[Buffer, tuple, Any]], vector_bytes: int
) -> Kernel:
    """Combinations of what is on the diagonals of matrices."""
    reducers, after = [], []
    for k, (out, values, combine) in enumerate(results):
        identity = small.identity_of(combine, values)
        reducer = Reducer(f"r{k}", values, identity, combine)
        parts = [reducer.result(j) for j in range(len(values))]
        value = parts[0] if len(parts) == 1 else Complex(*parts)
        reducers.append(reducer)
        after.append(Store(out, _at(matrix), value))
    vector = i if i.extent >= min(matrix.extent, 16) else matrix
    width = lanes(results[0][0].dtype, vector.extent, vector_bytes, registers=1)
    return Kernel([matrix], [i], vector, [Pass(reducers, after=after)], 1, width)


@kernels("det")
def _det(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, n, _ = matrices(eqn)
    if stack == 0:
        return []
    if small.fits(operands[0].dtype, stack, n):
        return [small.determinant(stack, n, operands[0], results, vector_bytes)]
    routine, diagonal, pivots = _pivoted_diagonal("det", eqn, operands)
    matrix, i = _diagonals(stack, n)
    values = small.signed(
        load(diagonal, _at(matrix) * n + _at(i)), _exchanged(pivots, matrix, i, n)
    )
    return [routine, _folded(matrix, i, [(results[0], values, small.times)], vector_bytes)]


@kernels("slogdet")
def _slogdet(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, n, _ = matrices(eqn)
    if stack == 0:
        return []
    if small.fits(operands[0].dtype, stack, n):
        return [small.determinant(stack, n, operands[0], results, vector_bytes)]
    routine, diagonal, pivots = _pivoted_diagonal("slogdet", eqn, operands)
    matrix, i = _diagonals(stack, n)
    sign, logarithm = small.polar(load(diagonal, _at(matrix) * n + _at(i)))
    values = small.signed(sign, _exchanged(pivots, matrix, i, n))
    parts = [(results[0], values, small.times), (results[1], (logarithm,), small.plus)]
    return [routine, _folded(matrix, i, parts, vector_bytes)]


# ------------------------------------------------------------------------------ QR
@kernels("qr")
def _qr(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, m, n = matrices(eqn)
    if stack * m == 0:
        return []
    dtype = operands[0].dtype
    calls = Calls("qr", dtype, stack)
    if n == 0:  # Q is the identity, if there is one
        if results[0].size == 0:
            return []
        calls.call("laset", "A", m, m, calls.constant(0), calls.constant(1),
                   calls.write(results[0]), m)  # fmt: skip
        return [calls.routine(nanoseconds(m * m))]
    k = min(m, n)
    rows = m if eqn.params["full_matrices"] else k
    a, q, r = calls.read(operands[0]), calls.write(results[0]), calls.write(results[1])
    room = BLOCK * max(n, rows)
    x, tau, work = calls.scratch(m * max(n, rows)), calls.scratch(k), calls.scratch(room)
    info, zero = calls.scratch(1, "i32"), calls.constant(0)
    calls.transpose(m, n, a, x)
    calls.call("geqrf", m, n, x, m, tau, work, room, info)
    calls.stride_transpose(n, rows, x, m, r, n)
    calls.call("laset", "U", n, rows - 1, zero, zero, calls.at(r, n), n)
    generate = "ungqr" if is_complex(dtype) else "orgqr"
    calls.call(generate, m, rows, k, x, m, tau, work, room, info)
    calls.transpose(rows, m, x, q)
    return [calls.routine(nanoseconds(4 * m * max(n, rows) * k))]


# ------------------------------------------------------------------------------ eigenvalues
@kernels("eigh")
def _eigh(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, n, _ = matrices(eqn)
    if stack * n == 0:
        return []
    dtype = operands[0].dtype
    calls = Calls("eigh", dtype, stack)
    a, v, w = calls.read(operands[0]), calls.write(results[0]), calls.write(results[1])
    x, info = calls.scratch(n * n), calls.scratch(1, "i32")
    uplo = "L" if eqn.params["lower"] else "U"
    integers = 3 + 5 * n
    calls.transpose(n, n, a, x)
    least = 1 + 6 * n + 2 * n * n
    if is_complex(dtype):
        room = max(2 * n + n * n, (BLOCK + 1) * n)
        workspace: list[Any] = [calls.scratch(room), room]
        real_room = 1 + 5 * n + 2 * n * n
        workspace += [calls.scratch(real_room, REAL_PART[dtype]), real_room]
    else:
        room = max(least, 2 * n + BLOCK * n)
        workspace = [calls.scratch(room), room]
    workspace += [calls.scratch(integers, "i32"), integers]
    function = "heevd" if is_complex(dtype) else "syevd"
    # What is in the other triangle does not count.
    zero, other = calls.constant(0), calls.at(x, n if uplo == "L" else 1)
    calls.call("laset", "U" if uplo == "L" else "L", n - 1, n - 1, zero, zero, other, n)
    with calls.where_finite(x, n * n, info):
        calls.call(function, "V", uplo, n, x, n, w, *workspace, info)
    with calls.failed(info):
        calls.fill(n, n, math.nan, x)
        calls.fill(n, 1, math.nan, w, dtype=REAL_PART[dtype])
    calls.transpose(n, n, x, v)
    return [calls.routine(nanoseconds(9 * n**3))]


@kernels("eig")
def _eig(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, n, _ = matrices(eqn)
    if stack * n == 0:
        return []
    dtype, vectors = operands[0].dtype, eqn.params["compute_vectors"]
    calls = Calls("eig", dtype, stack)
    a = calls.read(operands[0])
    x, info = calls.scratch(n * n), calls.scratch(1, "i32")
    room = (4 + BLOCK) * n
    work, unused = calls.scratch(room), calls.scratch(1)
    job = "V" if vectors else "N"
    calls.transpose(n, n, a, x)
    if is_complex(dtype):
        w = calls.write(results[0])
        v = calls.scratch(n * n) if vectors else unused
        rest: list[Place | int] = [work, room, calls.scratch(2 * n, REAL_PART[dtype])]
        with calls.where_finite(a, n * n, info):
            calls.call("geev", "N", job, n, x, n, w, unused, 1, v, n, *rest, info)
        with calls.failed(info):
            calls.fill(n, 1, math.nan, w)
            if vectors:
                calls.fill(n, n, math.nan, v)
        if vectors:
            calls.transpose(n, n, v, calls.write(results[1]))
        return [calls.routine(nanoseconds(25 * n**3))]
    parts = [Buffer(f"eig.{part}", dtype, stack * n) for part in ("re", "im")]
    re, im = [calls.write(b) for b in parts]
    packed = Buffer("eig.vectors", dtype, stack * n * n)
    v = calls.write(packed) if vectors else unused
    with calls.where_finite(a, n * n, info):
        calls.call("geev", "N", job, n, x, n, re, im, unused, 1, v, n, work, room, info)
    with calls.failed(info):
        calls.fill(n, 1, math.nan, re)
        calls.fill(n, 1, math.nan, im)
        if vectors:
            calls.fill(n, n, math.nan, v)
    steps: Steps = [calls.routine(nanoseconds(25 * n**3))]
    i = Loop("i", stack * n)
    value = Complex(*[load(b, _at(i)) for b in parts])  # type: ignore[arg-type]
    width = lanes(dtype, i.extent, vector_bytes)
    steps.append(Kernel([i], [], i, [Pass(stores=[Store(results[0], _at(i), value)])], 1, width))
    if vectors:
        steps.append(_unpacked(stack, n, parts[1], packed, results[1], vector_bytes))
    return steps


def _unpacked(
    stack: int, n: int, im: Buffer, packed: Buffer, out: Buffer, vector_bytes: int
) -> Kernel:
    """Complex eigenvectors: of a conjugate pair, LAPACK has the real and the imaginary part."""
    matrix, column, row = Loop("matrix", stack), Loop("column", n), Loop("row", n)
    place = _at(matrix) * n + _at(column)
    imaginary = load(im, place)
    assert type(imaginary) is e.Expr
    real = e.eq(imaginary, 0)
    first = imaginary > 0

    def entry(shift: int, guard: e.Expr | None = None) -> Any:
        return load(packed, (place + shift) * n + _at(row), guard)

    here, before, after = entry(0), entry(-1, ~real & ~first), entry(1, first)
    value = Complex(
        e.select(real | first, here, before),
        e.select(real, 0.0, e.select(first, after, -here)),
    )
    store = Store(out, _at(matrix) * (n * n) + _at(row) * n + _at(column), value)
    vector = row if n >= min(stack, 16) else matrix
    kept = [matrix, column, row] if vector is row else [column, row, matrix]
    width = lanes(packed.dtype, vector.extent, vector_bytes)
    return Kernel(kept, [], vector, [Pass(stores=[store])], 1, width)


# ------------------------------------------------------------------------------ SVD
@kernels("svd")
def _svd(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, m, n = matrices(eqn)
    dtype, vectors = operands[0].dtype, eqn.params["compute_uv"]
    k = min(m, n)
    calls = Calls("svd", dtype, stack)
    if stack * max(m, n) == 0:
        return []
    if k == 0:  # one of U and Vh is the identity
        for out in results[1:]:
            if out.size:
                extent = max(m, n)
                calls.call("laset", "A", extent, extent, calls.constant(0), calls.constant(1),
                           calls.write(out), extent)  # fmt: skip
        return [calls.routine(nanoseconds(max(m, n) ** 2))] if calls.lines else []
    a, s = calls.read(operands[0]), calls.write(results[0])
    x, info = calls.scratch(m * n), calls.scratch(1, "i32")
    full = eqn.params["full_matrices"]
    rows, columns = (m, n) if full else (k, k)
    most = max(m, n)
    # What the documentation of xGESDD asks for, and room for blocks.
    if is_complex(dtype):
        room = 2 * k * k + 3 * k + most + BLOCK * (m + n)
        real_room = max(5 * k * k + 7 * k, 2 * most * k + 2 * k * k + k) if vectors else 7 * k
        workspace: list[Any] = [calls.scratch(room), room]
        workspace += [calls.scratch(real_room, REAL_PART[dtype])]
    else:
        room = 4 * k * k + 7 * k + most + BLOCK * (m + n)
        workspace = [calls.scratch(room), room]
    workspace.append(calls.scratch(8 * k, "i32"))
    job = ("A" if full else "S") if vectors else "N"
    u, vh = [calls.scratch(size if vectors else 1) for size in (m * rows, columns * n)]
    calls.transpose(m, n, a, x)
    with calls.where_finite(a, m * n, info):
        calls.call("gesdd", job, m, n, x, m, s, u, m, vh, columns, *workspace, info)
    with calls.failed(info):
        calls.fill(k, 1, math.nan, s, dtype=REAL_PART[dtype])
        if vectors:
            calls.fill(m, rows, math.nan, u)
            calls.fill(columns, n, math.nan, vh)
    if vectors:
        calls.transpose(rows, m, u, calls.write(results[1]))
        calls.transpose(n, columns, vh, calls.write(results[2]))
    return [calls.routine(nanoseconds(20 * most * k * k))]
