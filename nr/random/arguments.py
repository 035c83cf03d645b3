"""Checks and conversions of the samplers' arguments: shapes, dtypes, parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import PYTHON_SCALARS, typeof
from nr.lax.convert import convert_element_type
from nr.lax.rules import operand
from nr.lax.shape import broadcast_in_dim, broadcast_shapes, canonical_shape


def float_dtype(op: str, dtype: Any, accepts: frozenset = dtypes.FLOATING) -> np.dtype:
    """The floating dtype asked for, by default the default float.

    Raises:
        ValueError: if it is another kind of dtype.
    """
    dtype = dtypes.canonicalize(float if dtype is None else dtype)
    if dtype not in accepts:
        kind = "floating" if accepts is dtypes.FLOATING else "floating or complex"
        raise ValueError(
            f"{op}: dtype must be {kind}; got {dtypes.short_name(dtype)}. "
            f"For integers use nr.random.randint or nr.random.bits."
        )
    return dtype


def integer_dtype(op: str, dtype: Any) -> np.dtype:
    """The integer dtype asked for, by default the default integer.

    Raises:
        TypeError: if it is another kind of dtype.
    """
    dtype = dtypes.canonicalize(int if dtype is None else dtype)
    if dtype not in dtypes.INTEGER:
        raise TypeError(
            f"{op}: dtype must be an integer type; got {dtypes.short_name(dtype)}. "
            f"Convert the result with .astype(...)."
        )
    return dtype


def sample_shape(op: str, shape: Any, **params: Any) -> tuple[int, ...]:
    """The shape asked for, or that of the parameters broadcast together if it is None.

    Raises:
        ValueError: if a parameter does not broadcast to the shape.
    """
    shapes = {
        name: () if type(x) in PYTHON_SCALARS else typeof(operand(op, x)).shape
        for name, x in params.items()
    }
    if shape is None:
        return broadcast_shapes(*shapes.values())
    shape = canonical_shape(op, shape)
    for name, of_param in shapes.items():
        if of_param and not _fits(of_param, shape):
            raise ValueError(
                f"{op}: parameters must broadcast to the shape asked for; got {of_param} for "
                f'"{name}" and shape {shape}. Give a shape that ends in that of "{name}".'
            )
    return shape


def _fits(inner: tuple[int, ...], outer: tuple[int, ...]) -> bool:
    return len(inner) <= len(outer) and all(
        n in (1, m) for n, m in zip(reversed(inner), reversed(outer), strict=False)
    )


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Array:
    """x broadcast as NumPy does, to a shape that it fits."""
    rank = typeof(x).ndim
    return broadcast_in_dim(x, shape, range(len(shape) - rank, len(shape)))


def parameter(op: str, x: Any, dtype: np.dtype, shape: tuple[int, ...]) -> Array:
    """A parameter of a distribution in the dtype and shape of the samples.

    Raises:
        TypeError: if it is complex and the samples are not.
    """
    if type(x) not in PYTHON_SCALARS:  # those keep their digits until they meet the dtype
        x = operand(op, x)
    aval = typeof(x)
    if aval.dtype in dtypes.COMPLEX and dtype not in dtypes.COMPLEX:
        raise TypeError(f"{op}: parameters must be real; got {aval}. Take .real of it.")
    return broadcast_to(convert_element_type(x, dtype), shape)
