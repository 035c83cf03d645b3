"""Products of matrices by groups of rows (ragged products): masks, then one dot_general."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.core.dtypes import INTEGER
from nr.lax.convert import convert_element_type
from nr.lax.cumulative import cumsum
from nr.lax.dot import DotDimensionNumbers, dot_general, promoted_operands
from nr.lax.elementwise import bitwise_and, ge, lt, sub
from nr.lax.rules import check_dtype, move_dim, operand, zeros_of
from nr.lax.select import select
from nr.lax.shape import broadcast_in_dim, broadcasted_iota, transpose


@dataclass(frozen=True)
class RaggedDotDimensionNumbers:
    """Which dimensions of a ragged product play which role.

    Attributes:
        dot_dimension_numbers: ``((lhs_contract, rhs_contract), (lhs_batch, rhs_batch))``.
        lhs_ragged_dimensions: the one dimension of lhs whose rows come in groups.
        rhs_group_dimensions: the dimension of rhs that has an entry a group, if the ragged one is
            neither contracted nor a batch dimension.
    """

    dot_dimension_numbers: DotDimensionNumbers
    lhs_ragged_dimensions: Sequence[int]
    rhs_group_dimensions: Sequence[int]


def ragged_dot_general(
    lhs: Any,
    rhs: Any,
    group_sizes: Any,
    ragged_dot_dimension_numbers: RaggedDotDimensionNumbers,
    precision: Any = None,
    preferred_element_type: Any = None,
    group_offset: None = None,
) -> Array:
    """A `dot_general` in which groups of rows of lhs go their own ways.

    Rows along the ragged dimension beyond the sum of the groups' sizes count as zeros, unless it is
    a batch dimension: then groups change nothing.

    Args:
        lhs, rhs: the operands.
        group_sizes: how many rows each group has, integers ``[g]``; or ``[*outer, g]``, where they
            differ along dimensions of lhs: its batch dimensions, then those of the ragged
            dimension's kind that come before it.
        ragged_dot_dimension_numbers: if the ragged dimension is neither contracted nor a batch
            dimension, each group meets its own slice of rhs; if it is contracted, each group has
            its own result, along a new first dimension.
        precision, preferred_element_type: as for `dot_general`.
        group_offset: not supported.

    Raises:
        TypeError, ValueError: if dimensions don't fit.
    """
    op, numbers = "ragged_dot_general", ragged_dot_dimension_numbers
    if group_offset is not None:
        raise NotImplementedError(f"{op}: group_offset is not supported; got {group_offset!r}.")
    lhs, rhs = promoted_operands(op, lhs, rhs)
    sizes = operand(op, group_sizes)
    check_dtype(op, sizes.aval, INTEGER)
    (x_contract, y_contract), (x_batch, y_batch) = [
        [tuple(dims) for dims in pair] for pair in numbers.dot_dimension_numbers
    ]
    ragged, group = tuple(numbers.lhs_ragged_dimensions), tuple(numbers.rhs_group_dimensions)
    if len(ragged) != 1 or not 0 <= ragged[0] < lhs.ndim:
        raise ValueError(f"{op}: lhs must have one ragged dimension; got {ragged} for {lhs.aval}.")
    (row,) = ragged
    free = tuple([d for d in range(lhs.ndim) if d not in x_contract + x_batch])
    contracted, batch = row in x_contract, row in x_batch
    if len(group) != (row in free):
        raise ValueError(
            f"{op}: rhs must have one group dimension if the ragged one is neither contracted nor "
            f"a batch dimension, else none; got {numbers}."
        )
    if batch:  # each group's rows meet their own rows of rhs already
        dims = ((x_contract, y_contract), (x_batch, y_batch))
        return dot_general(lhs, rhs, dims, precision, preferred_element_type)
    outer = x_batch + tuple([d for d in (x_contract if contracted else free) if d < row])
    inside = _inside(op, sizes, lhs, row, outer)
    shape = inside.shape
    spread = broadcast_in_dim(lhs, shape, range(1, len(shape)))
    rows = select(inside, spread, zeros_of(spread.aval))
    x_contract, x_batch = [tuple([d + 1 for d in dims]) for dims in (x_contract, x_batch)]
    if contracted:
        dims = ((x_contract, y_contract), (x_batch, y_batch))
        out = dot_general(rows, rhs, dims, precision, preferred_element_type)
        return move_dim(out, len(x_batch), 0)
    if rhs.shape[group[0]] != shape[0]:
        raise TypeError(
            f"{op}: rhs must have an entry for each of {shape[0]} groups; got {rhs.aval} along "
            f"dimension {group[0]}."
        )
    dims = (((0, *x_contract), (*group, *y_contract)), (x_batch, y_batch))
    return dot_general(rows, rhs, dims, precision, preferred_element_type)


def _inside(op: str, sizes: Any, lhs: Any, row: int, outer: tuple[int, ...]) -> Any:
    """Which elements of lhs belong to each group, b1[g, *lhs.shape]."""
    dims = outer if sizes.ndim > 1 else ()
    wanted = tuple([lhs.shape[d] for d in dims])
    if sizes.shape[:-1] != wanted or not sizes.ndim:
        raise ValueError(
            f"{op}: group_sizes must be [g], or [*outer, g] with the extents {wanted} of "
            f"dimensions {outer}; got {sizes.aval} for {lhs.aval}."
        )
    sizes = convert_element_type(sizes, np.int32)
    last = sizes.ndim - 1
    ends = cumsum(sizes, last)
    shape = (sizes.shape[-1], *lhs.shape)
    places = (*[d + 1 for d in dims], 0)
    order = sorted(range(len(places)), key=places.__getitem__)
    at = broadcasted_iota(np.int32, shape, row + 1)

    def spread(x: Any) -> Any:
        return broadcast_in_dim(transpose(x, order), shape, sorted(places))

    return bitwise_and(ge(at, spread(sub(ends, sizes))), lt(at, spread(ends)))


_ROWS = RaggedDotDimensionNumbers((((1,), (1,)), ((), ())), (0,), (0,))


def ragged_dot(
    lhs: Any,
    rhs: Any,
    group_sizes: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    group_offset: None = None,
) -> Array:
    """The products of groups of rows with a matrix each, as of experts with their tokens.

    Args:
        lhs: ``[m, k]``; the first rows are the first group's, and so on.
        rhs: ``[g, k, n]``, a matrix a group.
        group_sizes: integers ``[g]``. Rows beyond their sum give zeros.
        precision, preferred_element_type: as for `dot_general`.
        group_offset: not supported.

    Returns:
        ``[m, n]``.

    Example:
        >>> import nr
        >>> x, w = nr.numpy.ones((3, 1)), nr.numpy.array([[[1.]], [[2.]]])
        >>> nr.lax.ragged_dot(x, w, nr.numpy.array([1, 2])).ravel()
        Array([1., 2., 2.], dtype=float32)
    """
    lhs, rhs = promoted_operands("ragged_dot", lhs, rhs)
    if lhs.ndim != 2 or rhs.ndim != 3:
        raise TypeError(
            f'ragged_dot: shapes [m, k] for "lhs" and [g, k, n] for "rhs" were expected; got '
            f"{lhs.aval} and {rhs.aval}. Use ragged_dot_general."
        )
    return ragged_dot_general(
        lhs, rhs, group_sizes, _ROWS, precision, preferred_element_type, group_offset
    )
