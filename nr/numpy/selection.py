"""Choosing between elements by conditions, and bounding them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.tracing import EVAL, PYTHON_SCALARS, current_trace
from nr.lax import elementwise as lax
from nr.lax.convert import convert_element_type
from nr.lax.cumulative import cumsum
from nr.lax.rules import canonical_axis, const_like, mark_weak, operand
from nr.lax.select import select_n_p
from nr.lax.shape import concatenate, slice_in_dim
from nr.lax.special import bessel_i0e
from nr.numpy.eager import absorbs
from nr.numpy.index_functions import nonzero
from nr.numpy.promotion import (
    broadcast_shape,
    broadcast_to_shape,
    promote,
    promote_inexact,
)
from nr.numpy.ufuncs import maximum, minimum, remainder
from nr.numpy.ufuncs_logic import isnan, truth

__all__ = ["clip", "i0", "nan_to_num", "piecewise", "select", "unwrap", "where"]


def where(
    condition: Any,
    x: Any = None,
    y: Any = None,
    /,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """x where the condition holds, y elsewhere; all broadcast together.

    Without x and y: the indices where the condition holds, as `nonzero` gives them (`size` and
    `fill_value` are its).

    The gradient flows through the chosen operand only; but a NaN in the derivative of the other
    one still spoils it, so guard its argument as well.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.where(jnp.array([True, False]), jnp.array([1., 2.]), 0)
        Array([1., 0.], dtype=float32)
    """
    if x is None and y is None:
        return nonzero(condition, size=size, fill_value=fill_value)
    if x is None or y is None:
        raise ValueError("where: both x and y were expected, or neither; got one of them.")
    if size is not None or fill_value is not None:
        raise ValueError("where: size and fill_value belong to the form without x and y.")
    mask = truth("where", condition)
    if current_trace() is EVAL and _plain(mask):
        out = _where_now(mask.data, x, y)
        if out is not None:
            return out
    x, y = promote("where", x, y)
    shape = broadcast_shape("where", mask, x, y)
    if mask.ndim:
        mask = broadcast_to_shape(mask, shape)
    cases = broadcast_to_shape(y, shape), broadcast_to_shape(x, shape)
    return mark_weak(select_n_p.bind(mask, *cases), *cases)


def _where_now(mask: np.ndarray, x: Any, y: Any) -> Array | None:
    """`where` by NumPy's, if that does the same."""
    x_plain, y_plain = _plain(x), _plain(y)
    if x_plain and y_plain:
        if x.weak or y.weak or x.data.dtype != y.data.dtype:
            return None
        x, y = x.data, y.data
    elif x_plain and not x.weak and absorbs(x.data.dtype, y):
        x = x.data
    elif y_plain and not y.weak and absorbs(y.data.dtype, x):
        y = y.data
    else:
        return None
    try:
        return ArrayImpl(np.where(mask, x, y))
    except ValueError:
        return None  # the shapes: our message is better


def _plain(x: Any) -> bool:
    return type(x) is ArrayImpl and x.committed is None and x.data is not None


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Array:
    """At each place the choice of the first condition that holds, else the default.

    Example:
        >>> import nr.numpy as jnp
        >>> x = jnp.arange(4)
        >>> jnp.select([x < 1, x > 2], [-x - 1, x * 10], 7)
        Array([-1,  7,  7, 30], dtype=int32)
    """
    condlist, choicelist = list(condlist), list(choicelist)
    if len(condlist) != len(choicelist) or not condlist:
        raise ValueError(
            f"select: as many conditions as choices (at least one) were expected; "
            f"got {len(condlist)} and {len(choicelist)}."
        )
    *choices, result = promote("select", *choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        result = where(condition, choice, result)
    return result


def piecewise(
    x: Any,
    condlist: Any,
    funclist: Sequence[Any],
    *args: Any,
    **kw: Any,
) -> Array:
    """A function in pieces: at each place the piece of the last condition that holds.

    Args:
        x: array.
        condlist: bool arrays (or one array of them) of the shape of x.
        funclist: a function of arrays, or a number, a condition; one more is for the places where
            none holds (else 0). Functions are called as ``f(x, *args, **kw)`` on all of x.

    Returns:
        An array of the shape and dtype of x.

    Example:
        >>> import nr.numpy as jnp
        >>> x = jnp.array([-2., 3.])
        >>> jnp.piecewise(x, [x < 0, x >= 0], [lambda x: -x, lambda x: x * x])
        Array([2., 9.], dtype=float32)
    """
    x = operand("piecewise", x)
    if isinstance(condlist, (Array, np.ndarray)):
        conditions = [condlist] if condlist.ndim == x.ndim else list(condlist)
    else:
        conditions = list(condlist)
        if conditions and type(conditions[0]) is bool and x.ndim == 0:
            conditions = [np.bool_(c) for c in conditions]
    functions = list(funclist)
    if len(functions) == len(conditions):
        functions.append(0)
    if len(functions) != len(conditions) + 1:
        raise ValueError(
            f"piecewise: {len(conditions)} or {len(conditions) + 1} functions were expected for "
            f"{len(conditions)} conditions; got {len(functions)}."
        )

    def piece(f: Callable | Any) -> Array:
        value = f(x, *args, **kw) if callable(f) else f
        if type(value) in PYTHON_SCALARS:
            return convert_element_type(value, x.dtype)
        return convert_element_type(operand("piecewise", value), x.dtype)

    *pieces, result = map(piece, functions)
    for condition, value in zip(conditions, pieces, strict=True):
        result = where(condition, value, result)
    return broadcast_to_shape(result, x.shape)


_MISSING: Any = object()


def clip(
    arr: Any = _MISSING,
    /,
    min: Any = None,  # noqa: A002 - NumPy's name
    max: Any = None,  # noqa: A002
    *,
    a: Any = _MISSING,
    a_min: Any = None,
    a_max: Any = None,
) -> Array:
    """x held between min and max; where they cross, max wins.

    `a`, `a_min` and `a_max` are older names of the three.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.clip(jnp.array([-1., 0.5, 2.]), 0, 1)
        Array([0. , 0.5, 1. ], dtype=float32)
    """
    if arr is _MISSING:
        arr = a
    if arr is _MISSING:
        raise TypeError("clip: an array was expected; got none.")
    low = a_min if min is None else min
    high = a_max if max is None else max
    result = operand("clip", arr)
    for x in (result, low, high):
        if getattr(x, "dtype", None) in dtypes.COMPLEX or type(x) is complex:
            raise ValueError("clip: arguments must be real; got complex ones. Clip the parts.")
    if low is not None:
        result = maximum(low, result)
    return result if high is None else minimum(high, result)


def nan_to_num(
    x: Any,
    copy: bool = True,
    nan: Any = 0.0,
    posinf: Any = None,
    neginf: Any = None,
) -> Array:
    """x with NaN and infinities replaced, by 0 and the largest numbers unless said otherwise.

    Args:
        copy: no matter, arrays being immutable.
    """
    x = operand("nan_to_num", x)
    if x.dtype in dtypes.COMPLEX:
        parts = [nan_to_num(part, copy, nan, posinf, neginf) for part in (lax.real(x), lax.imag(x))]
        return lax.complex(*parts)
    if x.dtype not in dtypes.FLOATING:
        return x
    limits = dtypes.finfo(x.dtype)
    replacements = [
        (isnan(x), nan),
        (lax.eq(x, const_like(x, np.inf)), limits.max if posinf is None else posinf),
        (lax.eq(x, const_like(x, -np.inf)), limits.min if neginf is None else neginf),
    ]
    for mask, value in replacements:
        x = where(mask, convert_element_type(value, x.dtype), x)
    return x


def unwrap(p: Any, discont: Any = None, axis: int = -1, period: Any = 2 * math.pi) -> Array:
    """Phases made continuous: jumps beyond half a period become their complement to it.

    Args:
        discont: the least jump that is changed; half the period by default, and never less.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.unwrap(jnp.array([0., 3., 6.5]), period=6.)
        Array([0. , 3. , 0.5], dtype=float32)
    """
    p = operand("unwrap", p)
    if p.dtype not in dtypes.INTEGER or type(period) is not int:
        p, _ = promote_inexact("unwrap", p, period)
    axis = canonical_axis("unwrap", axis, p.ndim)
    if p.shape[axis] == 0:
        return p
    head = slice_in_dim(p, 0, 1, axis=axis)
    tail = slice_in_dim(p, 1, None, axis=axis)
    jump = lax.sub(tail, slice_in_dim(p, 0, -1, axis=axis))
    half = period // 2 if p.dtype in dtypes.INTEGER else period / 2
    ambiguous = p.dtype not in dtypes.INTEGER or period % 2 == 0
    wrapped = remainder(lax.add(jump, const_like(jump, half)), const_like(jump, period))
    wrapped = lax.sub(wrapped, const_like(jump, half))
    if ambiguous:  # a jump of half a period up stays one up
        at_end = lax.eq(wrapped, const_like(jump, -half))
        up = lax.bitwise_and(at_end, lax.gt(jump, const_like(jump, 0)))
        wrapped = where(up, const_like(jump, half), wrapped)
    correction = lax.sub(wrapped, jump)
    small = lax.lt(lax.abs(jump), const_like(jump, half if discont is None else discont))
    correction = where(small, const_like(jump, 0), correction)
    return concatenate([head, lax.add(tail, cumsum(correction, axis))], axis)


def i0(x: Any) -> Array:
    """The modified Bessel function of the first kind, of order 0."""
    (x,) = promote_inexact("i0", x)
    # Not abs: its derivative at 0, 1, is not that of the even function that it stands in here.
    return lax.mul(bessel_i0e(x), lax.exp(lax.mul(x, lax.sign(x))))
