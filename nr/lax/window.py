"""Reductions over sliding windows (pooling) and what their gradients are made of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.avals import ShapedArray
from nr.core.dtypes import BOOL, NUMERIC, REAL
from nr.core.tracing import Primitive, typeof
from nr.lax import elementwise
from nr.lax.conv import (
    ConvDimensionNumbers,
    Padding,
    _as_key,
    _dimension_numbers,
    conv_general_dilated,
    dilated,
    explicit_padding,
    padtype_to_pads,
    steps,
    window_positions,
)
from nr.lax.rules import (
    Accepts,
    broadcast_batch,
    broadcast_scalar,
    check_dtype,
    const_like,
    linear,
    move_dim,
    no_derivative,
    operand,
    operands,
    zero_tangent,
    zeros_of,
)
from nr.lax.shape import pad, slice

Ints = tuple[int, ...]


# ---------------------------------------------------------------- shapes and batching
def _window_shape(
    op: str,
    x: ShapedArray,
    window_dimensions: Ints,
    window_strides: Ints,
    padding: Padding,
    base_dilation: Ints,
    window_dilation: Ints,
) -> tuple[int, ...]:
    lengths = {len(window_dimensions), len(window_strides), len(padding)}
    if lengths | {len(base_dilation), len(window_dilation)} != {x.ndim}:
        raise ValueError(
            f"{op}: window dimensions, strides, padding and dilations must have {x.ndim} entries; "
            f"got {window_dimensions}, {window_strides}, {padding}, {base_dilation} and "
            f"{window_dilation} for {x}."
        )
    shape = []
    for size, window, stride, (lo, hi), spread, dilation in zip(
        x.shape, window_dimensions, window_strides, padding, base_dilation, window_dilation
    ):
        padded = dilated(size, spread) + lo + hi
        if padded < 0:
            raise ValueError(
                f"{op}: negative padding must not cut off more than there is; got padding "
                f"{padding} for {x}."
            )
        shape.append(window_positions(padded, dilated(window, dilation), stride))
    return tuple(shape)


def _insert(dim: int, params: dict) -> dict:
    """Parameters for operands with one more dimension, along which nothing is reduced."""
    result = {}
    for name, entries in params.items():
        if name != "select_prim":
            entries = (*entries[:dim], (0, 0) if name == "padding" else 1, *entries[dim:])
        result[name] = entries
    return result


def _reduce_window_aval(op: str, accepts: Accepts) -> Callable:
    @functools.lru_cache(maxsize=1024)
    def rule(x: ShapedArray, **params: Any) -> ShapedArray:
        check_dtype(op, x, accepts)
        return ShapedArray(_window_shape(op, x, **params), x.dtype)

    return rule


def _window_batch(axis: Any, args: Any, dims: Any, **params: Any) -> Any:
    raise NotImplementedError
