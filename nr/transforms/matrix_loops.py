"""Algorithms of nr.lax.linalg that are loops: rank-1 updates, the polar decomposition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import typeof
from nr.lax.convert import convert_element_type
from nr.lax.dynamic_slice import dynamic_index_in_dim
from nr.lax.elementwise import abs as absolute
from nr.lax.elementwise import (
    add,
    bitwise_and,
    bitwise_or,
    div,
    eq,
    ge,
    lt,
    mul,
    real,
    sqrt,
    square,
    sub,
)
from nr.lax.linalg.factorizations import cholesky, qr
from nr.lax.linalg.matrices import (
    adjoint,
    identity_like,
    matrix_operand,
    part,
    product,
    without,
)
from nr.lax.linalg.solvers import triangular_solve
from nr.lax.reduce import reduce_max, reduce_sum
from nr.lax.rules import check_dtype, const_like, operand
from nr.lax.select import select
from nr.lax.shape import (
    broadcast_in_dim,
    broadcasted_iota,
    concatenate,
    full_like,
    iota,
    zeros_like_array,
)
from nr.transforms.control_flow import cond, scan, while_loop

_REAL = frozenset([dtypes.DTYPES["float32"], dtypes.DTYPES["float64"]])


# ---------------------------------------------------------------- cholesky_update
def cholesky_update(r_matrix: Any, w_vector: Any) -> Array:
    """The upper triangular R' with ``R'^T R' == R^T R + w w^T``, in O(n^2) steps.

    Each row of R is rotated against what is left of w. Source: P. Gill, G. Golub, W. Murray,
    M. Saunders (1974), "Methods for modifying matrix factorizations".

    Args:
        r_matrix: an upper triangular matrix R, ``[n, n]``, of f32 or f64.
        w_vector: ``[n]``, of the same dtype.

    Returns:
        R', with no negative number on its diagonal.

    Raises:
        TypeError: for other dtypes.
        ValueError: for other shapes.

    Example:
        >>> import nr
        >>> nr.lax.linalg.cholesky_update(nr.numpy.eye(2), nr.numpy.array([0.0, 1.0])).round(4)
        Array([[1.    , 0.    ],
               [0.    , 1.4142]], dtype=float32)
    """
    op = "cholesky_update"
    r = matrix_operand(op, r_matrix, "r_matrix", square=True)
    w = operand(op, w_vector)
    check_dtype(op, r.aval, _REAL)
    if r.ndim != 2 or w.shape != r.shape[:1] or w.dtype != r.dtype:
        raise ValueError(
            f'{op}: shapes [n, n] for "r_matrix" and [n] for "w_vector" were expected, of one '
            f"dtype; got {r.aval} and {w.aval}. Use nr.vmap for stacks."
        )

    def rotate(w: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        k, row = step
        a, b = (dynamic_index_in_dim(x, k, keepdims=False) for x in (row, w))
        length = sqrt(add(square(a), square(b)))
        none = eq(length, const_like(length, 0))
        one = full_like(length, 1)
        divisor = select(none, one, length)
        cosine = select(none, one, div(a, divisor))
        sine = div(b, divisor)
        return sub(mul(w, cosine), mul(row, sine)), add(mul(row, cosine), mul(w, sine))

    rows = scan(rotate, w, (iota(np.int32, r.shape[0]), r))[1]
    return without(rows, "lower")


# ---------------------------------------------------------------- qdwh
def _weights(eps: float, count: int) -> tuple[np.ndarray, int]:
    """The weights a, b and c of Halley's iteration for each step, and after how many of them
    singular values of eps or more are 1, but for rounding.

    A step's weights are the best for how far the steps before have brought eps.
    """
    rows, least, needed = [], eps, count
    for k in range(count):
        d = (4 * (1 - least**2) / least**4) ** (1 / 3)
        a = math.sqrt(1 + d)
        a += math.sqrt(8 - 4 * d + 8 * (2 - least**2) / (least**2 * math.sqrt(1 + d))) / 2
        b = (a - 1) ** 2 / 4
        c = a + b - 1
        rows.append((a, b, c))
        least = min(least * (a + b * least**2) / (1 + c * least**2), 1.0)
        if abs(least - 1) < 5 * eps:
            needed = min(needed, k + 1)
    return np.array(rows), needed


def qdwh(
    x: Any,
    *,
    is_hermitian: bool = False,
    max_iterations: int | None = None,
    eps: float | None = None,
    dynamic_shape: tuple[int, int] | None = None,
) -> tuple[Array, Array, Array, Array]:
    """The polar decomposition ``x == u @ h`` by dynamically weighted Halley iteration.

    Each step takes a QR decomposition, or a Cholesky decomposition once the singular values are not
    far from 1. Source: Y. Nakatsukasa, Z. Bai, F. Gygi (2010), "Optimizing Halley's iteration for
    computing the matrix polar decomposition".

    Args:
        x: a matrix ``[m, n]`` of full rank, m >= n.
        is_hermitian: accepted as in JAX, and not used.
        max_iterations: at most so many steps; 10 if not given.
        eps: no more steps are done once u changes by less than ``(4 eps)^(1/3)`` of its norm; the
            dtype's machine epsilon if not given.
        dynamic_shape: rows and columns of x that count, if it is padded.

    Returns:
        u, ``[m, n]`` with orthonormal columns; h, Hermitian ``[n, n]``; the number of steps; and
        whether they converged.

    Raises:
        TypeError: for dtypes other than f32, f64, c64 and c128.
        ValueError: for stacks of matrices, and if m < n.

    Example:
        >>> import nr
        >>> u, h, _, converged = nr.lax.linalg.qdwh(nr.numpy.array([[0., 2.], [-3., 0.]]))
        >>> h.round(4) + 0.0, converged
        (Array([[3., 0.],
               [0., 2.]], dtype=float32), Array(True, dtype=bool))
    """
    x = matrix_operand("qdwh", x, "x")
    if x.ndim != 2 or x.shape[0] < x.shape[1]:
        raise ValueError(f'qdwh: the shape must be [m, n] with m >= n; got {x.aval} for "x".')
    m, n = x.shape
    if dynamic_shape is not None:
        inside = [
            lt(broadcasted_iota(np.int32, x.shape, d), operand("qdwh", size).astype(np.int32))
            for d, size in enumerate(dynamic_shape)
        ]
        x = select(bitwise_and(*inside), x, zeros_like_array(x))
    dtype = typeof(real(x)).dtype if x.dtype.kind == "c" else x.dtype
    tiny = float(np.finfo(dtype).eps)
    eps = tiny if eps is None else float(eps)
    limit = 10 if max_iterations is None else int(max_iterations)
    table, needed = _weights(tiny, max(limit, 1))
    weights = table.astype(dtype)

    def in_dtype(value: Any) -> Array:
        return convert_element_type(value, x.dtype)

    def norm(y: Array) -> Array:
        return sqrt(reduce_sum(square(absolute(y)), (0, 1)))

    def by_qr(u: Array, b: Array, c: Array, factor: Array) -> Array:
        root = sqrt(c)
        q = qr(concatenate([mul(u, in_dtype(root)), identity_like(x[:n])], 0), full_matrices=False)
        lower = adjoint(part(q[0], slice(m, m + n), n))
        return mul(product(part(q[0], m, n), lower), in_dtype(div(factor, root)))

    def by_cholesky(u: Array, b: Array, c: Array, factor: Array) -> Array:
        z = add(mul(product(adjoint(u), u), in_dtype(c)), identity_like(x[:n]))
        low = cholesky(z, symmetrize_input=False)
        y = triangular_solve(low, u, lower=True, transpose_a=True, conjugate_a=True)
        return mul(triangular_solve(low, y, lower=True), in_dtype(factor))

    def step(carry: tuple) -> tuple:
        u, k, _ = carry
        a, b, c = (dynamic_index_in_dim(weights[:, i], k, keepdims=False) for i in range(3))
        ratio = div(b, c)
        moved = cond(lt(const_like(c, 100), c), by_qr, by_cholesky, u, b, c, sub(a, ratio))
        new = add(mul(u, in_dtype(ratio)), moved)
        moves = ge(norm(sub(new, u)), mul(norm(new), const_like(ratio, (4 * eps) ** (1 / 3))))
        k = add(k, np.int32(1))
        return new, k, bitwise_or(moves, lt(k, np.int32(needed)))

    def unfinished(carry: tuple) -> Array:
        return bitwise_and(lt(carry[1], np.int32(limit)), carry[2])

    # The norm is at most the root of the product of the norms by rows and by columns.
    bound = sqrt(mul(*[reduce_max(reduce_sum(absolute(x), (d,)), (0,)) for d in (0, 1)]))
    bound = select(eq(bound, const_like(bound, 0)), full_like(bound, 1), bound)
    start = div(x, broadcast_in_dim(in_dtype(bound), x.shape, ()))
    u, steps, left = while_loop(unfinished, step, (start, np.int32(0), np.bool_(True)))
    # One step of Newton and Schulz's iteration takes away what rounding has left.
    gram = product(u, product(adjoint(u), u))
    u = sub(mul(u, const_like(u, 1.5)), mul(gram, const_like(u, 0.5)))
    h = product(adjoint(u), x)
    h = mul(add(h, adjoint(h)), const_like(h, 0.5))
    return u, h, steps, eq(left, np.bool_(False))
