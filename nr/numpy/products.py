"""Products of vectors, matrices and stacks of them; einsum is in contraction.py."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.config import config
from nr.core.quiet import hush, unhush
from nr.core.tracing import EVAL, current_trace
from nr.lax.convert import convert_element_type
from nr.lax.dot import dot_general, dot_general_p
from nr.lax.elementwise import conj, mul, sub
from nr.lax.reduce import reduce_sum
from nr.lax.rules import canonical_axis, move_dim, operand, zeros_of
from nr.lax.shape import (
    broadcast_in_dim,
    concatenate,
    expand_dims,
    index_in_dim,
    reshape,
    slice_in_dim,
    squeeze,
    transpose,
)
from nr.numpy.contraction import einsum, einsum_path
from nr.numpy.promotion import broadcast_arrays_list, promote

__all__ = [
    "cross",
    "dot",
    "einsum",
    "einsum_path",
    "inner",
    "kron",
    "matmul",
    "matvec",
    "outer",
    "tensordot",
    "trace",
    "vdot",
    "vecdot",
    "vecmat",
]

_F32 = np.dtype(np.float32)


def _conj(x: Any) -> Any:
    return conj(x) if x.dtype in dtypes.COMPLEX else x


def _mul(x: Any, y: Any, preferred: Any) -> Array:
    """The product with a scalar, in the preferred dtype."""
    if preferred is not None:
        dtype = dtypes.canonicalize(preferred)
        x, y = convert_element_type(x, dtype), convert_element_type(y, dtype)
    return mul(x, y)


# ---------------------------------------------------------------- stacks of products
def matmul(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Array:
    """The product of two matrices, or of stacks of them; the operator ``@``.

    Args:
        a: ``[..., m, k]``, or ``[k]``.
        b: ``[..., k, n]``, or ``[k]``. Leading dimensions are broadcast.
        precision: accepted for JAX's sake; products have the full precision of their dtype.
        preferred_element_type: the dtype of the result, where not the operands' common one.

    Returns:
        ``[..., m, n]``; a vector lacks its dimension.

    Raises:
        TypeError: if the contracting dimensions differ, or an operand has rank 0.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.matmul(jnp.array([[1., 2.], [3., 4.]]), jnp.array([1., 1.]))
        Array([3., 7.], dtype=float32)
    """
    if (
        type(a) is ArrayImpl
        and type(b) is ArrayImpl
        and preferred_element_type is None
        and current_trace() is EVAL
    ):
        x, y = a.data, b.data
        if (
            type(x) is np.ndarray
            and type(y) is np.ndarray
            and x.dtype is _F32
            and y.dtype is _F32
            and 1 <= x.ndim <= 2
            and y.ndim == 2
            and x.shape[-1] == y.shape[0]
            and a.committed is None
            and b.committed is None
        ):
            token = hush()
            try:
                return ArrayImpl(np.matmul(x, y))
            finally:
                unhush(token)
    a, b = promote("matmul", a, b)
    return _stacked("matmul", a, b, True, True, preferred_element_type)


def _stacked(
    op: str, a: Array, b: Array, a_rows: bool, b_columns: bool, preferred: Any = None
) -> Array:
    """Stacks of products, broadcast: a is [..., (m,) k] and b [..., k (, n)], or vectors.

    a_rows, b_columns: whether a has the dimension m, and b has n (unless they have rank 1).
    """
    if not (a.ndim and b.ndim):
        raise ValueError(
            f"{op}: operands must have rank 1 or more; got {a.aval} and {b.aval}. "
            f"Use * for the product with a scalar."
        )
    plan = _stack_plan(a.shape, b.shape, a_rows and a.ndim > 1, b_columns and b.ndim > 1)
    if isinstance(plan, str):
        problem, hint = plan.split("|")
        raise TypeError(f"{op}: {problem}; got {a.aval} and {b.aval}. {hint}")
    a_ones, b_ones, dims, permutation = plan
    a = squeeze(a, a_ones) if a_ones else a
    b = squeeze(b, b_ones) if b_ones else b
    if preferred is None:  # the plan has checked all that `dot_general` would
        out = dot_general_p.bind(a, b, dimension_numbers=dims, preferred_element_type=None)
    else:
        out = dot_general(a, b, dims, preferred_element_type=preferred)
    return out if permutation is None else transpose(out, permutation)


@functools.lru_cache(maxsize=4096)
def _stack_plan(
    a: tuple[int, ...], b: tuple[int, ...], a_rows: bool, b_columns: bool
) -> tuple | str:
    """Dimensions to drop, dimension numbers and a permutation; or what is wrong, and a hint."""
    a_lead, b_lead = len(a) - 1 - a_rows, len(b) - 1 - b_columns
    a_k, b_k = len(a) - 1, b_lead
    if a[a_k] != b[b_k]:
        hint = "Reshape one operand."
        if b_columns and b[-1] == a[a_k]:
            hint = "Transpose the second operand, as with b.T or nr.numpy.matrix_transpose(b)."
        elif a_rows and a[a_k - 1] == b[b_k]:
            hint = "Transpose the first operand, as with a.T or nr.numpy.matrix_transpose(a)."
        return f"contracting dimensions must match|{hint}"
    rank = max(a_lead, b_lead)
    # A dimension that only one operand has, or has wider, is one more of its own.
    a_ones, b_ones, a_batch, b_batch, a_own, b_own = [], [], [], [], [], []
    for d in range(rank):
        i, j = d - (rank - a_lead), d - (rank - b_lead)
        m, n = a[i] if i >= 0 else None, b[j] if j >= 0 else None
        if m is not None and m == n:
            a_batch.append(i)
            b_batch.append(j)
        elif m is None or (m == 1 and n is not None):
            b_own.append(d)
            if m is not None:
                a_ones.append(i)
        elif n is None or n == 1:
            a_own.append(d)
            if n is not None:
                b_ones.append(j)
        else:
            return (
                "leading dimensions must be broadcastable|"
                "Their extents must be equal or 1, counted from the last dimension."
            )

    def after(d: int, dropped: Sequence[int]) -> int:
        return d - len([x for x in dropped if x < d])

    dims = (
        ((after(a_k, a_ones),), (after(b_k, b_ones),)),
        (
            tuple([after(d, a_ones) for d in a_batch]),
            tuple([after(d, b_ones) for d in b_batch]),
        ),
    )
    both = [d + (rank - a_lead) for d in a_batch]
    order = [*both, *a_own, *([rank] if a_rows else []), *b_own, *([rank + 1] if b_columns else [])]
    permutation: tuple[int, ...] | None = tuple(sorted(range(len(order)), key=order.__getitem__))
    if permutation == tuple(range(len(order))):
        permutation = None
    return tuple(a_ones), tuple(b_ones), dims, permutation


def matvec(x1: Any, x2: Any, /) -> Array:
    """The products of matrices ``[..., m, k]`` and vectors ``[..., k]``.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.matvec(jnp.array([[1., 2.], [3., 4.]]), jnp.array([[1., 0.], [0., 1.]]))
        Array([[1., 3.],
               [2., 4.]], dtype=float32)
    """
    x1, x2 = promote("matvec", x1, x2)
    _check_rank("matvec", x1, 2, x2, 1)
    return _stacked("matvec", x1, x2, True, False)


def vecmat(x1: Any, x2: Any, /) -> Array:
    """The products of vectors ``[..., k]``, conjugated, and matrices ``[..., k, n]``."""
    x1, x2 = promote("vecmat", x1, x2)
    _check_rank("vecmat", x1, 1, x2, 2)
    return _stacked("vecmat", _conj(x1), x2, False, True)


def _check_rank(op: str, a: Array, a_rank: int, b: Array, b_rank: int) -> None:
    if a.ndim < a_rank or b.ndim < b_rank:
        raise TypeError(
            f"{op}: operands of rank {a_rank} and {b_rank} or more were expected; got {a.aval} "
            f"and {b.aval}."
        )


def vecdot(
    x1: Any,
    x2: Any,
    /,
    *,
    axis: int = -1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """The products of vectors along an axis, the first conjugated; others are broadcast.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.vecdot(jnp.array([[1., 2.], [3., 4.]]), jnp.array([1., 1.]))
        Array([3., 7.], dtype=float32)
    """
    x1, x2 = promote("vecdot", x1, x2)
    _check_rank("vecdot", x1, 1, x2, 1)
    x1 = move_dim(x1, canonical_axis("vecdot", axis, x1.ndim), x1.ndim - 1)
    x2 = move_dim(x2, canonical_axis("vecdot", axis, x2.ndim), x2.ndim - 1)
    return _stacked("vecdot", _conj(x1), x2, False, False, preferred_element_type)


# ---------------------------------------------------------------- dot and its kin
def dot(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Array:
    """The sum of products over the last dimension of a and the last but one of b.

    The last one of b if it is a vector; with a scalar, the elementwise product.

    Raises:
        TypeError: if these dimensions differ.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.dot(jnp.array([1., 2.]), jnp.array([3., 4.]))
        Array(11., dtype=float32)
    """
    a, b = promote("dot", a, b)
    if not (a.ndim and b.ndim):
        return _mul(a, b, preferred_element_type)
    return _contract("dot", a, b, a.ndim - 1, max(b.ndim - 2, 0), preferred_element_type)


def _contract(op: str, a: Array, b: Array, i: int, j: int, preferred: Any) -> Array:
    if a.shape[i] != b.shape[j]:
        raise TypeError(
            f"{op}: contracting dimensions must match; got {a.aval} and {b.aval}. "
            f"Dimension {i} of the first meets dimension {j} of the second."
        )
    return dot_general(a, b, (((i,), (j,)), ((), ())), preferred_element_type=preferred)


def inner(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Array:
    """The sum of products over the last dimensions of both; with a scalar, the product."""
    a, b = promote("inner", a, b)
    if not (a.ndim and b.ndim):
        return _mul(a, b, preferred_element_type)
    return _contract("inner", a, b, a.ndim - 1, b.ndim - 1, preferred_element_type)


def vdot(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Array:
    """The sum of products of all elements of two arrays, those of the first conjugated."""
    a, b = promote("vdot", a, b)
    a, b = reshape(_conj(a), (a.size,)), reshape(b, (b.size,))
    return _contract("vdot", a, b, 0, 0, preferred_element_type)


def outer(a: Any, b: Any, out: None = None) -> Array:
    """The products of every element of a with every element of b, as ``[a.size, b.size]``.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.outer(jnp.array([1, 2]), jnp.array([3, 4]))
        Array([[3, 4],
               [6, 8]], dtype=int32)
    """
    if out is not None:
        raise NotImplementedError("outer: out must be None; arrays are immutable.")
    a, b = promote("outer", a, b)
    shape = (a.size, b.size)
    return mul(
        broadcast_in_dim(reshape(a, (a.size,)), shape, (0,)),
        broadcast_in_dim(reshape(b, (b.size,)), shape, (1,)),
    )


def tensordot(
    a: Any,
    b: Any,
    axes: int | Sequence[int] | Sequence[Sequence[int]] = 2,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """The sum of products over several dimensions of each operand.

    Args:
        a: an array.
        b: an array.
        axes: how many last dimensions of a meet as many first ones of b; or a pair: the dimensions
            of a, and those of b.
        precision: accepted for JAX's sake.
        preferred_element_type: the dtype of the result, where not the operands' common one.

    Returns:
        An array with the other dimensions of a, then those of b.

    Raises:
        TypeError: if paired dimensions differ.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.tensordot(jnp.ones((2, 3, 4)), jnp.ones((4, 3, 5)), axes=([1, 2], [1, 0])).shape
        (2, 5)
    """
    a, b = promote("tensordot", a, b)
    a_axes, b_axes = _tensordot_axes(axes, a, b)
    if [a.shape[i] for i in a_axes] != [b.shape[j] for j in b_axes]:
        raise TypeError(
            f"tensordot: contracting dimensions must match; got {a.aval} along {a_axes} and "
            f"{b.aval} along {b_axes}."
        )
    return dot_general(
        a, b, ((a_axes, b_axes), ((), ())), preferred_element_type=preferred_element_type
    )


def _tensordot_axes(axes: Any, a: Array, b: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(axes, (int, np.integer)):
        n = int(axes)
        if not 0 <= n <= min(a.ndim, b.ndim):
            raise TypeError(
                f"tensordot: axes must lie between 0 and the ranks of both operands; got "
                f"axes={n} for {a.aval} and {b.aval}."
            )
        return tuple(range(a.ndim - n, a.ndim)), tuple(range(n))
    pair = [(entry,) if isinstance(entry, (int, np.integer)) else tuple(entry) for entry in axes]
    if len(pair) != 2 or len(pair[0]) != len(pair[1]):
        raise TypeError(
            f"tensordot: axes must be an integer, or a pair of as many dimensions of one as of "
            f"the other; got {axes!r}."
        )
    return (
        tuple([canonical_axis("tensordot", i, a.ndim) for i in pair[0]]),
        tuple([canonical_axis("tensordot", j, b.ndim) for j in pair[1]]),
    )


def multi_dot(arrays: Sequence[Any], *, precision: Any = None) -> Array:
    """The product of several matrices, in the order that needs the fewest multiplications.

    Args:
        arrays: matrices whose inner extents agree; the first and the last may be vectors.
        precision: accepted for JAX's sake.

    Raises:
        ValueError: if there are fewer than two, or one has another rank.

    Example:
        >>> import nr.numpy as jnp
        >>> multi_dot([jnp.ones((10, 100)), jnp.ones((100, 5)), jnp.ones((5, 50))]).shape
        (10, 50)
    """
    xs = promote("multi_dot", *arrays)
    last = len(xs) - 1
    if len(xs) < 2:
        raise ValueError(f"multi_dot: two or more arrays were expected; got {len(xs)}.")
    for i, x in enumerate(xs):
        if x.ndim != 2 and not (x.ndim == 1 and i in (0, last)):
            raise ValueError(
                f"multi_dot: matrices were expected (the first and last may be vectors); got "
                f"{x.aval} at place {i}."
            )
    terms: list[Any] = []
    for i, x in enumerate(xs):
        terms += [x, [i + 1] if x.ndim == 1 and i == 0 else [i] if x.ndim == 1 else [i, i + 1]]
    ends = ([0] if xs[0].ndim == 2 else []) + ([last + 1] if xs[-1].ndim == 2 else [])
    return einsum(*terms, ends)


# ---------------------------------------------------------------- other products
def kron(a: Any, b: Any) -> Array:
    """The Kronecker product: every element of a times the whole of b, in blocks.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.kron(jnp.array([1, 10]), jnp.array([1, 2]))
        Array([ 1,  2, 10, 20], dtype=int32)
    """
    a, b = promote("kron", a, b)
    rank = max(a.ndim, b.ndim)
    a_shape = (1,) * (rank - a.ndim) + a.shape
    b_shape = (1,) * (rank - b.ndim) + b.shape
    shape = tuple([n for pair in zip(a_shape, b_shape, strict=True) for n in pair])
    out = mul(
        broadcast_in_dim(reshape(a, a_shape), shape, tuple(range(0, 2 * rank, 2))),
        broadcast_in_dim(reshape(b, b_shape), shape, tuple(range(1, 2 * rank, 2))),
    )
    return reshape(out, tuple([m * n for m, n in zip(a_shape, b_shape, strict=True)]))


def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Array:
    """The cross product of vectors of 2 or 3 components along an axis.

    Args:
        a: an array whose extent along axisa is 2 or 3.
        b: an array whose extent along axisb is 2 or 3.
        axisa: the axis of a.
        axisb: the axis of b.
        axisc: the axis of the result, which has none if all vectors have 2 components.
        axis: sets the three axes.

    Raises:
        ValueError: for other extents.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.cross(jnp.array([1, 0, 0]), jnp.array([0, 1, 0]))
        Array([0, 0, 1], dtype=int32)
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = promote("cross", a, b)
    a_axis, b_axis = canonical_axis("cross", axisa, a.ndim), canonical_axis("cross", axisb, b.ndim)
    if a.shape[a_axis] not in (2, 3) or b.shape[b_axis] not in (2, 3):
        raise ValueError(
            f"cross: vectors of 2 or 3 components were expected; got {a.aval} along axis {a_axis} "
            f"and {b.aval} along axis {b_axis}."
        )
    xs = [index_in_dim(a, i, a_axis, keepdims=False) for i in range(a.shape[a_axis])]
    ys = [index_in_dim(b, i, b_axis, keepdims=False) for i in range(b.shape[b_axis])]
    x0, y0 = broadcast_arrays_list("cross", xs[0], ys[0])
    xs = [broadcast_arrays_list("cross", x, y0)[0] for x in xs]
    ys = [broadcast_arrays_list("cross", y, x0)[0] for y in ys]

    def minor(i: int, j: int) -> Any:
        return sub(mul(xs[i], ys[j]), mul(xs[j], ys[i]))

    if len(xs) == len(ys) == 2:
        return minor(0, 1)
    zero = zeros_of(x0.aval)
    xs, ys = [*xs, zero][:3], [*ys, zero][:3]
    parts = [expand_dims(minor(i, j), (x0.ndim,)) for i, j in ((1, 2), (2, 0), (0, 1))]
    out = concatenate(parts, x0.ndim)
    return move_dim(out, out.ndim - 1, canonical_axis("cross", axisc, out.ndim))


def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
) -> Array:
    """The sum of a diagonal of matrices that lie along two axes.

    Args:
        a: an array of rank 2 or more.
        offset: which diagonal; above the main one if positive.
        axis1: the axis of rows.
        axis2: the axis of columns.
        dtype: the dtype of the sum; by default that of a, integers at least as wide as the default.
        out: must be None.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.trace(jnp.array([[1., 2.], [3., 4.]]))
        Array(5., dtype=float32)
    """
    if out is not None:
        raise NotImplementedError("trace: out must be None; arrays are immutable.")
    x = operand("trace", a)
    if x.ndim < 2:
        raise ValueError(f"trace: an array of rank 2 or more was expected; got {x.aval}.")
    i, j = canonical_axis("trace", axis1, x.ndim), canonical_axis("trace", axis2, x.ndim)
    if i == j:
        raise ValueError(f"trace: two different axes were expected; got {axis1} and {axis2}.")
    dtype = _sum_dtype(x.dtype) if dtype is None else dtypes.canonicalize(dtype)
    offset = int(offset)
    top, left = max(-offset, 0), max(offset, 0)
    n = max(min(x.shape[i] - top, x.shape[j] - left), 0)
    x = convert_element_type(x, dtype)
    x = slice_in_dim(x, min(top, x.shape[i]), min(top, x.shape[i]) + n, axis=i)
    x = slice_in_dim(x, min(left, x.shape[j]), min(left, x.shape[j]) + n, axis=j)
    kept = [d for d in range(x.ndim) if d not in (i, j)]
    lead = tuple([x.shape[d] for d in kept])
    x = reshape(transpose(x, (*kept, i, j)), (*lead, n * n))
    if n:
        x = slice_in_dim(x, 0, n * n, n + 1, axis=len(kept))
    return reduce_sum(x, (len(kept),))


def _sum_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of a sum: narrow integers and bool take the width of the default integer."""
    wide = config.default_int
    if dtype == dtypes.bool_dt:
        return wide
    if dtype in dtypes.INTEGER and dtype.itemsize < wide.itemsize:
        return dtypes.DTYPES[f"uint{8 * wide.itemsize}"] if dtype.kind == "u" else wide
    return dtype
