"""What the rules of matrix primitives share: checks, transposes, products, triangles, batching."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import ArrayImpl
from nr.core.avals import ShapedArray
from nr.core.tracing import Primitive, typeof
from nr.lax.dot import dot_general_p
from nr.lax.elementwise import conj, mul
from nr.lax.reduce import reduce_sum
from nr.lax.rules import const_like, operand, to_front, zeros_of
from nr.lax.select import select
from nr.lax.shape import broadcast_in_dim, transpose
from nr.lax.shape import slice as lax_slice

# What LAPACK computes in.
LAPACK_DTYPES = frozenset(
    dtypes.DTYPES[n] for n in ("float32", "float64", "complex64", "complex128")
)
HALF_DTYPES = frozenset(dtypes.DTYPES[n] for n in ("bfloat16", "float16"))


# ---------------------------------------------------------------- checks
def check_matrices(
    op: str, x: ShapedArray, name: str = "a", *, square: bool = False, half: bool = False
) -> None:
    """Raise TypeError for dtypes that LAPACK lacks (but half floats that the caller widens, if
    half), ValueError for what is no (square) matrix."""
    if x.dtype not in LAPACK_DTYPES and not (half and x.dtype in HALF_DTYPES):
        raise TypeError(
            f'{op}: the dtype must be f32, f64, c64 or c128; got {x} for "{name}". '
            f'Convert it, as with {name}.astype("float32").'
        )
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        expected = "[..., n, n]" if square else "[..., m, n]"
        raise ValueError(f'{op}: the shape must be {expected}; got {x} for "{name}".')


def matrix_operand(op: str, x: Any, name: str = "a", *, square: bool = False) -> Any:
    """x as an operand that holds matrices."""
    x = operand(op, x)
    check_matrices(op, x.aval, name, square=square)
    return x


# ---------------------------------------------------------------- products and transposes
def matrix_transposed(x: Any) -> Any:
    """x with its last two dimensions exchanged."""
    rank = typeof(x).ndim
    return transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def conjugated(x: Any) -> Any:
    """The complex conjugate; x itself if it is real."""
    return conj(x) if typeof(x).dtype in dtypes.COMPLEX else x


def adjoint(x: Any) -> Any:
    """The conjugate transpose."""
    return conjugated(matrix_transposed(x))


def product(x: Any, y: Any) -> Any:
    """The products of matrices in two stacks of one shape."""
    rank = typeof(x).ndim
    batch = tuple(range(rank - 2))
    return dot_general_p.bind(
        x,
        y,
        dimension_numbers=(((rank - 1,), (rank - 2,)), (batch, batch)),
        preferred_element_type=None,
    )


# ---------------------------------------------------------------- parts
@functools.lru_cache(maxsize=256)
def _mask(rows: int, columns: int, kind: str) -> ArrayImpl:
    lower = np.tri(rows, columns, -1, dtype=bool)
    mask = {
        "lower": lower,
        "diagonal": np.eye(rows, columns, dtype=bool),
        "upper": np.tri(columns, rows, -1, dtype=bool).T,
    }[kind]
    return ArrayImpl(np.ascontiguousarray(mask))


def keep(x: Any, kind: str) -> Any:
    """The part strictly below the diagonal, above it, or on it; zeros elsewhere."""
    shape = typeof(x).shape
    return select(matrix_mask(shape, kind), x, zeros_of(typeof(x).strip_weak_type()))


def matrix_mask(shape: tuple[int, ...], kind: str) -> Any:
    """True in the "lower", "upper" or "diagonal" part of each matrix."""
    rank = len(shape)
    return broadcast_in_dim(_mask(*shape[-2:], kind), shape, (rank - 2, rank - 1))


def without(x: Any, kind: str) -> Any:
    """x with zeros in one part."""
    shape = typeof(x).shape
    return select(matrix_mask(shape, kind), zeros_of(typeof(x).strip_weak_type()), x)


def half_lower(x: Any) -> Any:
    """The lower triangle with half the diagonal: x is the sum of it and its adjoint, if x is
    Hermitian.
    """
    lower = without(x, "upper")
    return select(matrix_mask(typeof(x).shape, "diagonal"), mul(x, const_like(x, 0.5)), lower)


def identity_like(x: Any) -> Any:
    """Identity matrices in the shape and dtype of x."""
    aval = typeof(x)
    one = broadcast_in_dim(np.ones((), aval.dtype), aval.shape, ())
    return keep(one, "diagonal")


def diagonal(x: Any) -> Any:
    """The main diagonals, as vectors along the last dimension."""
    rank = typeof(x).ndim
    rows, columns = typeof(x).shape[-2:]
    n = min(rows, columns)
    return reduce_sum(keep(part(x, n, n), "diagonal"), (rank - 1,))


def part(x: Any, rows: int | slice, columns: int | slice) -> Any:
    """Some rows and columns of each matrix; an integer means that many from the first."""
    shape = typeof(x).shape
    starts, limits = [0] * len(shape), list(shape)
    for d, which in ((-2, rows), (-1, columns)):
        start, stop, _ = (slice(which) if isinstance(which, int) else which).indices(shape[d])
        starts[d], limits[d] = start, max(stop, start)
    return lax_slice(x, starts, limits)


def scale_rows(x: Any, factors: Any) -> Any:
    """Each row of the matrices times a number."""
    return mul(x, along(factors, typeof(x).shape, -2))


def scale_columns(x: Any, factors: Any) -> Any:
    """Each column of the matrices times a number."""
    return mul(x, along(factors, typeof(x).shape, -1))


def along(vectors: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Vectors repeated along the other dimension of matrices: ``axis`` is -2 or -1."""
    rank = len(shape)
    return broadcast_in_dim(vectors, shape, (*range(rank - 2), rank + axis))


# ---------------------------------------------------------------- batching
def matrix_batch(name: str) -> Callable:
    """Batching of operations on stacks of matrices: one more leading dimension."""

    def batch(axis: Any, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        primitive = Primitive.all[name]
        moved = [to_front(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
        out = primitive.bind(*moved, **params)
        return (out, [0] * len(out)) if primitive.multiple_results else (out, 0)

    return batch
