"""Convolutions whose kernel is another one at each place (locally connected layers)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.lax.conv import conv_dimension_numbers
from nr.lax.dot import dot_general, product_operands
from nr.lax.shape import transpose
from nr.lax.window import conv_general_dilated_patches


def conv_general_dilated_local(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    filter_shape: Sequence[int],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    precision: Any = None,
) -> Array:
    """A convolution without shared weights: each place of the result has a kernel of its own.

    Args:
        lhs: the input, with C features.
        rhs: the kernels: the window's dimensions have the extents of the result's space, and I is
            ``C * prod(filter_shape)``, the places of a window of one feature together.
        filter_shape: extents of the window.
        window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers: as for
            `conv_general_dilated`.
        precision: accepted for JAX's sake.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[[1., 2., 3.]]])
        >>> w = nr.numpy.array([[[1., 2.], [1., 3.]]])
        >>> nr.lax.conv_general_dilated_local(x, w, (1,), "VALID", (2,))
        Array([[[ 3., 13.]]], dtype=float32)
    """
    lhs, rhs = product_operands("conv_general_dilated_local", lhs, rhs)
    specs = conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    windows = conv_general_dilated_patches(
        lhs, filter_shape, window_strides, padding, lhs_dilation, rhs_dilation, specs
    )
    dims = (((specs.out_spec[1],), (specs.rhs_spec[1],)), (specs.out_spec[2:], specs.rhs_spec[2:]))
    out = dot_general(windows, rhs, dims)  # space, N, O
    rank = len(specs.out_spec) - 2
    roles = (rank, rank + 1, *range(rank))  # where N, O and space are
    order = np.empty(rank + 2, np.int64)
    order[list(specs.out_spec)] = roles
    return transpose(out, [int(d) for d in order])
