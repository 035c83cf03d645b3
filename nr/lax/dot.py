"""Products of matrices and their generalization: contract some dimensions, pair others up."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.tracing import typeof
from nr.lax.convert import convert_element_type
from nr.lax.rules import bilinear, cast_weak, operand
from nr.lax.shape import transpose

DotDimensionNumbers = tuple[
    tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]
]
Dims = tuple[tuple[tuple[int, ...], tuple[int, ...]], tuple[tuple[int, ...], tuple[int, ...]]]


class Precision(Enum):
    """JAX's precision of products; nr always computes in the full precision of the dtype."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


PrecisionLike = None | str | Precision | tuple[str, str] | tuple[Precision, Precision]


# ---------------------------------------------------------------- operands of products
def product_operands(op: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Two arrays, whose shapes may differ; those of weak type take the dtype of the other."""
    if isinstance(x, Array) and isinstance(y, Array) and not (x.weak_type or y.weak_type):
        return x, y
    x, y = operand(op, x), operand(op, y)
    return cast_weak(op, x, y.dtype), cast_weak(op, y, x.dtype)


def _precedence(dtype: np.dtype) -> tuple:
    """XLA's order of dtypes in products: the result has that of an operand, and no third one."""
    real = dtypes.to_real(dtype)
    info = dtypes.finfo(real) if real in dtypes.FLOATING else None
    of_float = (info.maxexp, info.nmant) if info else (-1, -1)
    width = 0 if dtype == dtypes.bool_dt else real.itemsize
    return dtype in dtypes.COMPLEX, *of_float, width, dtype not in dtypes.UNSIGNED


def promoted_operands(op: str, x: Any, y: Any) -> tuple[Any, Any]:
    """The same, in one dtype."""
    x, y = product_operands(op, x, y)
    if x.dtype == y.dtype:
        return x, y
    dtype = max(x.dtype, y.dtype, key=_precedence)
    return convert_element_type(x, dtype), convert_element_type(y, dtype)


_KIND_ORDER = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2, "c": 3}


def product_dtype(op: str, x: ShapedArray, y: ShapedArray, preferred: np.dtype | None) -> np.dtype:
    """The dtype of a sum of products; TypeError where the operands' dtypes do not allow it."""
    if x.dtype is not y.dtype and x.dtype != y.dtype:
        raise TypeError(
            f'{op}: operands must have the same dtype; got {x} for "lhs" and {y} for "rhs". '
            f"Convert one with .astype(...), or use nr.numpy, which promotes."
        )
    if preferred is None:
        return x.dtype
    kind, wanted = _KIND_ORDER[x.dtype.kind], _KIND_ORDER[preferred.kind]
    if wanted < kind or (wanted == 3) != (kind == 3):
        raise TypeError(
            f"{op}: preferred_element_type must hold the products of the operands; got "
            f"{dtypes.short_name(preferred)} for {x} and {y}. Convert the operands first."
        )
    return preferred


def common_dtype(ct: Any, other: Any) -> tuple[Any, Any]:
    """A cotangent and the operand that it meets, where preferred_element_type parted them."""
    a, b = typeof(ct).dtype, typeof(other).dtype
    if a == b:
        return ct, other
    dtype = dtypes.promote_types(a, b)
    return convert_element_type(ct, dtype), convert_element_type(other, dtype)


# ---------------------------------------------------------------- dot_general
def _free(rank: int, *used: Sequence[int]) -> tuple[int, ...]:
    taken = {d for dims in used for d in dims}
    return tuple([d for d in range(rank) if d not in taken])


@functools.lru_cache(maxsize=4096)
def _dot_aval(
    x: ShapedArray,
    y: ShapedArray,
    *,
    dimension_numbers: Dims,
    preferred_element_type: np.dtype | None,
) -> ShapedArray:
    (x_contract, y_contract), (x_batch, y_batch) = dimension_numbers
    for name, aval, dims in (("lhs", x, x_contract + x_batch), ("rhs", y, y_contract + y_batch)):
        if len(set(dims)) != len(dims) or any(not 0 <= d < aval.ndim for d in dims):
            raise TypeError(
                f'dot_general: dimensions of "{name}" must be distinct and lie in '
                f"[0, {aval.ndim}); got {dimension_numbers} for {x} and {y}."
            )
    for kind, x_dims, y_dims in (
        ("contracted", x_contract, y_contract),
        ("batch", x_batch, y_batch),
    ):
        x_sizes, y_sizes = [x.shape[d] for d in x_dims], [y.shape[d] for d in y_dims]
        if x_sizes != y_sizes:
            raise TypeError(
                f'dot_general: {kind} dimensions must have equal extents; got {x} for "lhs" along '
                f'{x_dims} and {y} for "rhs" along {y_dims}. Transpose or reshape one operand.'
            )
    dtype = product_dtype("dot_general", x, y, preferred_element_type)
    x_free, y_free = _free(x.ndim, x_contract, x_batch), _free(y.ndim, y_contract, y_batch)
    shape = [x.shape[d] for d in x_batch + x_free] + [y.shape[d] for d in y_free]
    return ShapedArray(shape, dtype)


@functools.lru_cache(maxsize=4096)
def _lhs_transpose_dims(
    dims: Dims, x_rank: int, y_rank: int
) -> tuple[Dims, tuple[int, ...] | None]:
    """How the cotangent of lhs is the product of ct and rhs, and the transpose that follows."""
    (x_contract, y_contract), (x_batch, y_batch) = dims
    x_free, y_free = _free(x_rank, x_contract, x_batch), _free(y_rank, y_contract, y_batch)
    batch = tuple(range(len(x_batch)))
    start = len(x_batch) + len(x_free)
    contract = tuple(range(start, start + len(y_free)))
    # the result has batch, free and, in the order of y, contracted dimensions
    contracted = [x for _, x in sorted(zip(y_contract, x_contract, strict=True))]
    order = [*x_batch, *x_free, *contracted]
    return ((contract, y_free), (batch, y_batch)), _inverse(order)


@functools.lru_cache(maxsize=4096)
def _rhs_transpose_dims(
    dims: Dims, x_rank: int, y_rank: int
) -> tuple[Dims, tuple[int, ...] | None]:
    """How the cotangent of rhs is the product of lhs and ct, and the transpose that follows."""
    (x_contract, y_contract), (x_batch, y_batch) = dims
    x_free, y_free = _free(x_rank, x_contract, x_batch), _free(y_rank, y_contract, y_batch)
    batch = tuple(range(len(x_batch)))
    contract = tuple(range(len(x_batch), len(x_batch) + len(x_free)))
    contracted = [y for _, y in sorted(zip(x_contract, y_contract, strict=True))]
    order = [*y_batch, *contracted, *y_free]
    return ((x_free, contract), (x_batch, batch)), _inverse(order)


def _inverse(order: Sequence[int]) -> tuple[int, ...] | None:
    """The permutation that undoes one; None for that which changes nothing."""
    inverse = tuple(sorted(range(len(order)), key=order.__getitem__))
    return None if inverse == tuple(range(len(order))) else inverse


def _laid_out(out: Any, order: tuple[int, ...] | None, dtype: np.dtype) -> Any:
    """A cotangent with the dimensions and in the dtype of its operand."""
    if order is not None:
        out = transpose(out, order)
    return out if out.dtype == dtype else convert_element_type(out, dtype)


def _dot_transpose_lhs(
    ct: Any, x: Any, y: Any, *, dimension_numbers: Dims, preferred_element_type: Any
) -> Any:
    dims, order = _lhs_transpose_dims(dimension_numbers, x.aval.ndim, typeof(y).ndim)
    if preferred_element_type is not None:
        ct, y = common_dtype(ct, y)
    out = dot_general_p.bind(ct, y, dimension_numbers=dims, preferred_element_type=None)
    return _laid_out(out, order, x.aval.dtype)


def _dot_transpose_rhs(
    ct: Any, x: Any, y: Any, *, dimension_numbers: Dims, preferred_element_type: Any
) -> Any:
    dims, order = _rhs_transpose_dims(dimension_numbers, typeof(x).ndim, y.aval.ndim)
    if preferred_element_type is not None:
        x, ct = common_dtype(x, ct)
    out = dot_general_p.bind(x, ct, dimension_numbers=dims, preferred_element_type=None)
    return _laid_out(out, order, y.aval.dtype)


def _shift(dims: tuple[int, ...], new: int | None) -> tuple[int, ...]:
    """Dimensions after the insertion of a new one."""
    return dims if new is None else tuple([d + (d >= new) for d in dims])


def _dot_batch(axis: Any, args: Any, dims: Any, *, dimension_numbers: Dims, **params: Any) -> Any:
    (x, y), (xd, yd) = args, dims
    (x_contract, y_contract), (x_batch, y_batch) = dimension_numbers
    x_contract, x_batch = _shift(x_contract, xd), _shift(x_batch, xd)
    y_contract, y_batch = _shift(y_contract, yd), _shift(y_batch, yd)
    x_free = _free(typeof(x).ndim, x_contract, x_batch)
    if xd is not None and yd is not None:
        x_batch, y_batch, dim = (xd, *x_batch), (yd, *y_batch), 0
    elif xd is not None:  # one more free dimension: nothing is repeated
        dim = len(x_batch) + x_free.index(xd)
    else:
        y_free = _free(typeof(y).ndim, y_contract, y_batch)
        dim = len(x_batch) + len(x_free) + y_free.index(yd)
    out = dot_general_p.bind(
        x, y, dimension_numbers=((x_contract, y_contract), (x_batch, y_batch)), **params
    )
    return out, dim


dot_general_p = bilinear(
    "dot_general",
    abstract_eval=_dot_aval,
    transpose_lhs=_dot_transpose_lhs,
    transpose_rhs=_dot_transpose_rhs,
    batch=_dot_batch,
)


@functools.lru_cache(maxsize=4096)
def _canonical(dimension_numbers: Any) -> Dims:
    try:
        (x_contract, y_contract), (x_batch, y_batch) = [
            [tuple([int(d) for d in dims]) for dims in pair] for pair in dimension_numbers
        ]
    except (TypeError, ValueError):
        raise TypeError(
            f"dot_general: dimension_numbers must be ((lhs_contract, rhs_contract), (lhs_batch, "
            f"rhs_batch)), each a sequence of dimensions; got {dimension_numbers!r}."
        ) from None
    if len(x_contract) != len(y_contract) or len(x_batch) != len(y_batch):
        raise TypeError(
            f"dot_general: as many dimensions of lhs as of rhs must be contracted, and paired as "
            f"batch; got {dimension_numbers!r}."
        )
    if any(d < 0 for d in x_contract + y_contract + x_batch + y_batch):
        raise TypeError(
            f"dot_general: dimensions must not be negative; got {dimension_numbers!r}. "
            f"Count them from the front."
        )
    return (x_contract, y_contract), (x_batch, y_batch)


def _hashable(dims: Any) -> Any:
    return tuple([_hashable(d) for d in dims]) if hasattr(dims, "__iter__") else dims


def dot_general(
    lhs: Any,
    rhs: Any,
    dimension_numbers: DotDimensionNumbers,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """Sums of products over paired dimensions.

    Args:
        lhs: an array.
        rhs: an array; if its dtype is another one, both are promoted.
        dimension_numbers: ``((lhs_contract, rhs_contract), (lhs_batch, rhs_batch))``: dimensions
            summed over, and dimensions that go along.
        precision: accepted for JAX's sake; products have the full precision of their dtype.
        preferred_element_type: the dtype of the result, where not that of the operands.

    Returns:
        An array with the batch dimensions, then the other ones of lhs, then those of rhs.

    Raises:
        TypeError: if extents of paired dimensions differ.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[1., 2.], [3., 4.]])
        >>> nr.lax.dot_general(x, x, (((1,), (0,)), ((), ())))
        Array([[ 7., 10.],
               [15., 22.]], dtype=float32)
    """
    lhs, rhs = promoted_operands("dot_general", lhs, rhs)
    try:
        dims = _canonical(dimension_numbers)
    except TypeError:  # lists can't be looked up (or the dimensions are wrong)
        dims = _canonical(_hashable(dimension_numbers))
    if preferred_element_type is not None:
        preferred_element_type = dtypes.canonicalize(preferred_element_type)
        if preferred_element_type == lhs.dtype:
            preferred_element_type = None
    # Kernels may take operands that don't fit, and broadcast or promote: check before.
    _dot_aval(
        lhs.aval,
        rhs.aval,
        dimension_numbers=dims,
        preferred_element_type=preferred_element_type,
    )
    return dot_general_p.bind(
        lhs, rhs, dimension_numbers=dims, preferred_element_type=preferred_element_type
    )


_DOT_DIMS: dict[tuple[int, int], Dims] = {
    (1, 1): (((0,), (0,)), ((), ())),
    (1, 2): (((0,), (0,)), ((), ())),
    (2, 1): (((1,), (0,)), ((), ())),
    (2, 2): (((1,), (0,)), ((), ())),
}


def dot(
    lhs: Any,
    rhs: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    *,
    dimension_numbers: Any = None,
) -> Array:
    """The product of two vectors, of a matrix and a vector, or of two matrices.

    With `dimension_numbers` it is `dot_general`.

    Example:
        >>> import nr
        >>> nr.lax.dot(nr.numpy.array([1, 2]), nr.numpy.array([3, 4]))
        Array(11, dtype=int32)
    """
    if dimension_numbers is not None:
        return dot_general(lhs, rhs, dimension_numbers, precision, preferred_element_type)
    lhs, rhs = promoted_operands("dot", lhs, rhs)
    x_shape, y_shape = lhs.shape, rhs.shape
    dims = _DOT_DIMS.get((len(x_shape), len(y_shape)))
    if dims is None or x_shape[-1] != y_shape[0]:
        raise TypeError(
            f"dot: vectors or matrices with equal inner extents were expected; got {lhs.aval} for "
            f'"lhs" and {rhs.aval} for "rhs". Use nr.lax.dot_general or nr.numpy.matmul.'
        )
    if preferred_element_type is None:
        return dot_general_p.bind(lhs, rhs, dimension_numbers=dims, preferred_element_type=None)
    return dot_general(lhs, rhs, dims, None, preferred_element_type)


def batch_matmul(lhs: Any, rhs: Any, precision: Any = None) -> Array:
    """The products of the matrices in two stacks: [..., m, k] by [..., k, n].

    Raises:
        TypeError: if the ranks differ or are below 2.
    """
    lhs, rhs = promoted_operands("batch_matmul", lhs, rhs)
    rank = lhs.ndim
    if rank < 2 or rhs.ndim != rank:
        raise TypeError(
            f"batch_matmul: operands of one rank, 2 or more, were expected; got {lhs.aval} for "
            f'"lhs" and {rhs.aval} for "rhs". Use nr.numpy.matmul, which broadcasts.'
        )
    batch = tuple(range(rank - 2))
    return dot_general(lhs, rhs, (((rank - 1,), (rank - 2,)), (batch, batch)))
