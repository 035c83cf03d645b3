"""Hessenberg, tridiagonal and Schur forms, tridiagonal systems, QR's pivots: LAPACK's functions.

They are those that the table calls for eager code, so results are the same.
"""

from __future__ import annotations

import math
from typing import Any

from nr.backends.compiler.loops import Buffer
from nr.backends.compiler.lowering.calls import REAL_PART, Calls, Place
from nr.backends.compiler.lowering.linalg import (
    BLOCK,
    Steps,
    is_complex,
    less_one,
    matrices,
    nanoseconds,
)
from nr.backends.compiler.lowering.rules import kernels


def _written(calls: Calls, out: Buffer) -> Place:
    """Where a result goes; somewhere else if it has no elements."""
    return calls.write(out) if out.size else calls.scratch(1, out.dtype)


@kernels("hessenberg")
def _hessenberg(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> Steps:
    stack, n, _ = matrices(eqn)
    if stack * n == 0:
        return []
    calls = Calls("hessenberg", operands[0].dtype, stack)
    a, out, taus = calls.read(operands[0]), calls.write(results[0]), _written(calls, results[1])
    room = BLOCK * n
    x, work, info = calls.scratch(n * n), calls.scratch(room), calls.scratch(1, "i32")
    calls.transpose(n, n, a, x)
    calls.call("gehrd", n, 1, n, x, n, taus, work, room, info)
    calls.transpose(n, n, x, out)
    return [calls.routine(nanoseconds(10 * n**3 / 3))]


@kernels("tridiagonal")
def _tridiagonal(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> Steps:
    stack, n, _ = matrices(eqn)
    if stack == 0:
        return []
    dtype = operands[0].dtype
    calls = Calls("tridiagonal", dtype, stack)
    a, out, d = calls.read(operands[0]), calls.write(results[0]), calls.write(results[1])
    e, taus = _written(calls, results[2]), _written(calls, results[3])
    room = BLOCK * n
    x, work, info = calls.scratch(n * n), calls.scratch(room), calls.scratch(1, "i32")
    calls.transpose(n, n, a, x)
    function, uplo = "hetrd" if is_complex(dtype) else "sytrd", "L" if eqn.params["lower"] else "U"
    calls.call(function, uplo, n, x, n, d, e, taus, work, room, info)
    calls.transpose(n, n, x, out)
    return [calls.routine(nanoseconds(4 * n**3 / 3))]


@kernels("schur")
def _schur(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, n, _ = matrices(eqn)
    if stack * n == 0:
        return []
    dtype, vectors = operands[0].dtype, eqn.params["compute_vectors"]
    calls = Calls("schur", dtype, stack)
    a = calls.read(operands[0])
    room = BLOCK * n
    x, q = calls.scratch(n * n), calls.scratch(n * n if vectors else 1)
    work, info, unused = calls.scratch(room), calls.scratch(1, "i32"), calls.scratch(n, "i32")
    values = [calls.scratch(n) for _ in range(1 if is_complex(dtype) else 2)]
    rest = [calls.scratch(n, REAL_PART[dtype])] if is_complex(dtype) else []
    calls.transpose(n, n, a, x)
    job = "V" if vectors else "N"
    with calls.where_finite(a, n * n, info):
        calls.call(
            "gees", job, "N", unused, n, x, n, unused, *values, q, n, work, room, *rest, unused,
            info,
        )  # fmt: skip
    with calls.failed(info):
        calls.fill(n, n, math.nan, x)
        if vectors:
            calls.fill(n, n, math.nan, q)
    calls.transpose(n, n, x, calls.write(results[0]))
    if vectors:
        calls.transpose(n, n, q, calls.write(results[1]))
    return [calls.routine(nanoseconds(25 * n**3))]


@kernels("tridiagonal_solve", supports=lambda eqn: not eqn.params["perturb_singular"])
def _tridiagonal_solve(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> Steps:
    *lead, n, columns = eqn.outvars[0].aval.shape
    stack = math.prod(lead)
    if stack * n * columns == 0:
        return []
    calls = Calls("tridiagonal_solve", operands[0].dtype, stack)
    dl, d, du, b = [calls.read(x) for x in operands]
    below, diagonal, above = [calls.scratch(n) for _ in range(3)]
    x, info = calls.scratch(n * columns), calls.scratch(1, "i32")
    # LAPACK writes over the diagonals.
    calls.copy(calls.at(dl, 1), below, n - 1)
    calls.copy(d, diagonal, n)
    calls.copy(du, above, n - 1)
    calls.transpose(n, columns, b, x)
    calls.call("gtsv", n, columns, below, diagonal, above, x, n, info)
    with calls.failed(info):
        calls.fill(n, columns, math.nan, x)
    calls.transpose(columns, n, x, calls.write(results[0]))
    return [calls.routine(nanoseconds(8 * n * columns))]


@kernels("qr_pivots", supports=lambda eqn: eqn.invars[0].aval.shape[-2] > 0)
def _qr_pivots(eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int) -> Steps:
    stack, m, n = matrices(eqn)
    if stack * n == 0:
        return []
    dtype = operands[0].dtype
    raw = Buffer("qr_pivots.raw", "i32", stack * n)
    calls = Calls("qr_pivots", dtype, stack)
    a, pivots = calls.read(operands[0]), calls.write(raw)
    room = 2 * n + BLOCK * (n + 1)
    x, taus, work = calls.scratch(m * n), calls.scratch(min(m, n)), calls.scratch(room)
    rest = [calls.scratch(2 * n, REAL_PART[dtype])] if is_complex(dtype) else []
    calls.transpose(m, n, a, x)
    calls.fill(n, 1, 0.0, pivots, dtype="f32")  # the bits of an integer 0
    calls.call("geqp3", m, n, x, m, pivots, taus, work, room, *rest, calls.scratch(1, "i32"))
    return [
        calls.routine(nanoseconds(4 * m * n * min(m, n))),
        less_one(raw, results[0], vector_bytes),
    ]
