"""Shapes of convolutions and of reductions over windows, without computing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core.avals import ShapedArray
from nr.core.jaxprs import trace_closed
from nr.lax.conv import conv_dimension_numbers, conv_general_dilated, conv_transpose
from nr.lax.elementwise import add
from nr.lax.window import reduce_window

Shape = Sequence[int]


def _shape_of(f: Callable, *shapes: Shape) -> tuple[int, ...]:
    avals = [ShapedArray(tuple(shape), np.dtype(np.float32)) for shape in shapes]
    return trace_closed(lambda *xs: [f(*xs)], avals).out_avals[0].shape


def conv_general_permutations(dimension_numbers: Any) -> tuple[tuple[int, ...], ...]:
    """What takes the layouts of lhs, rhs and the result to (N, C, space) and (O, I, window).

    Example:
        >>> import nr
        >>> nr.lax.conv_general_permutations(("NHWC", "HWIO", "NCHW"))
        ((0, 3, 1, 2), (3, 2, 0, 1), (0, 1, 2, 3))
    """
    rank = len(dimension_numbers[0])
    return tuple(conv_dimension_numbers((1,) * rank, (1,) * rank, dimension_numbers))


def conv_shape_tuple(
    lhs_shape: Shape, rhs_shape: Shape, strides: Shape, pads: Any, batch_group_count: int = 1
) -> tuple[int, ...]:
    """The shape of the convolution of (N, C, space) with (O, I, window).

    Example:
        >>> import nr
        >>> nr.lax.conv_shape_tuple((2, 3, 8), (4, 3, 3), (2,), [(1, 1)])
        (2, 4, 4)
    """
    return _shape_of(
        lambda x, y: conv_general_dilated(x, y, strides, pads, batch_group_count=batch_group_count),
        lhs_shape,
        rhs_shape,
    )


def conv_general_shape_tuple(
    lhs_shape: Shape, rhs_shape: Shape, window_strides: Shape, padding: Any, dimension_numbers: Any
) -> tuple[int, ...]:
    """The shape of `conv_general_dilated` without dilation and groups."""
    return _shape_of(
        lambda x, y: conv_general_dilated(
            x, y, window_strides, padding, dimension_numbers=dimension_numbers
        ),
        lhs_shape,
        rhs_shape,
    )


def conv_transpose_shape_tuple(
    lhs_shape: Shape, rhs_shape: Shape, window_strides: Shape, padding: Any, dimension_numbers: Any
) -> tuple[int, ...]:
    """The shape of `conv_transpose`."""
    return _shape_of(
        lambda x, y: conv_transpose(
            x, y, window_strides, padding, dimension_numbers=dimension_numbers
        ),
        lhs_shape,
        rhs_shape,
    )


def reduce_window_shape_tuple(
    operand_shape: Shape,
    window_dimensions: Shape,
    window_strides: Shape,
    padding: Any,
    base_dilation: Shape | None = None,
    window_dilation: Shape | None = None,
) -> tuple[int, ...]:
    """The shape of `reduce_window`.

    Example:
        >>> import nr
        >>> nr.lax.reduce_window_shape_tuple((8, 8), (3, 3), (2, 2), ((0, 0), (1, 1)))
        (3, 4)
    """
    return _shape_of(
        lambda x: reduce_window(
            x, np.float32(0), add, window_dimensions, window_strides, padding, base_dilation,
            window_dilation,
        ),
        operand_shape,
    )  # fmt: skip
