"""Changing dtypes: casts, bit casts, and lowered precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, Zero
from nr.core.tracing import PYTHON_SCALARS, Primitive, typeof
from nr.lax.rules import check_dtype, elementwise, zero_tangent
from nr.lax.rules import operand as as_operand


def _convert_aval(x: ShapedArray, *, new_dtype: np.dtype, weak_type: bool = False) -> ShapedArray:
    return ShapedArray(x.shape, new_dtype, weak_type)


def _convert_jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    new_dtype: np.dtype,
    weak_type: bool = False,
) -> Any:
    (x,), (t,) = primals, tangents
    out = convert_element_type_p.bind(x, new_dtype=new_dtype)
    if type(t) is Zero or new_dtype not in dtypes.INEXACT:
        return out, zero_tangent(out)
    return out, convert_element_type_p.bind(t, new_dtype=new_dtype)


def _convert_transpose(
    ct: Any, x: Any, *, new_dtype: np.dtype, weak_type: bool = False
) -> list[Any]:
    return [convert_element_type(ct, x.aval.dtype)]


def _convert_batch(axis: Any, args: Any, dims: Any, **params: Any) -> Any:
    return convert_element_type_p.bind(*args, **params), dims[0]


convert_element_type_p = Primitive(
    "convert_element_type",
    abstract_eval=_convert_aval,
    jvp=_convert_jvp,
    transpose=_convert_transpose,
    batch=_convert_batch,
)


def convert_element_type(operand: Any, new_dtype: Any) -> Array:
    """x in another dtype; floats are truncated towards zero to integers (NaN to 0).

    Example:
        >>> import nr
        >>> nr.lax.convert_element_type(nr.numpy.array([1.7, -1.7]), "int32")
        Array([ 1, -1], dtype=int32)
    """
    new_dtype = dtypes.canonicalize(new_dtype)
    if type(operand) in PYTHON_SCALARS and new_dtype.kind != "b":
        operand = _scalar(operand, new_dtype)
    x = as_operand("convert_element_type", operand)
    if x.dtype == new_dtype and not x.weak_type:
        return x
    return convert_element_type_p.bind(x, new_dtype=new_dtype)


def _scalar(x: Any, dtype: np.dtype) -> Any:
    """A Python scalar through the widest dtype of its kind, so that no digits are lost."""
    if type(x) is int and dtype in dtypes.INTEGER:
        return np.asarray(x).astype(dtype)[()]
    return x if type(x) is not float else np.float64(x)


def _bitcast_aval(x: ShapedArray, *, new_dtype: np.dtype) -> ShapedArray:
    old, new = x.dtype.itemsize, new_dtype.itemsize
    if old == new:
        return ShapedArray(x.shape, new_dtype)
    if old > new:
        return ShapedArray((*x.shape, old // new), new_dtype)
    if not x.shape or x.shape[-1] != new // old:
        raise ValueError(
            f"bitcast_convert_type: to {dtypes.short_name(new_dtype)} the last dimension must "
            f"be {new // old}; got {x}. Reshape the operand."
        )
    return ShapedArray(x.shape[:-1], new_dtype)


def _bitcast_batch(axis: Any, args: Any, dims: Any, *, new_dtype: np.dtype) -> Any:
    from nr.lax.rules import move_dim

    return bitcast_convert_type_p.bind(move_dim(args[0], dims[0], 0), new_dtype=new_dtype), 0


def _bitcast_jvp(primals: Any, tangents: Any, *, new_dtype: np.dtype) -> Any:
    out = bitcast_convert_type_p.bind(*primals, new_dtype=new_dtype)
    return out, zero_tangent(out)


bitcast_convert_type_p = Primitive(
    "bitcast_convert_type",
    abstract_eval=_bitcast_aval,
    jvp=_bitcast_jvp,
    batch=_bitcast_batch,
)


def bitcast_convert_type(operand: Any, new_dtype: Any) -> Array:
    """The same bits read as another dtype; where widths differ the last dimension changes."""
    x = as_operand("bitcast_convert_type", operand)
    return bitcast_convert_type_p.bind(x, new_dtype=dtypes.canonicalize(new_dtype))


reduce_precision_p: Primitive = elementwise(
    "reduce_precision",
    dtypes.FLOATING,
    lambda t, out, x, **params: reduce_precision_p.bind(t, **params),
    transpose=lambda ct, x, **params: [reduce_precision_p.bind(ct, **params)],
)


def reduce_precision(operand: Any, exponent_bits: int, mantissa_bits: int) -> Array:
    """x rounded to a format of fewer bits, kept in its dtype."""
    x = as_operand("reduce_precision", operand)
    check_dtype("reduce_precision", typeof(x), dtypes.FLOATING)
    return reduce_precision_p.bind(
        x, exponent_bits=int(exponent_bits), mantissa_bits=int(mantissa_bits)
    )
