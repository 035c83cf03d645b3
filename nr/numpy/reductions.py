"""Reductions and running reductions with NumPy's arguments: sum, mean, max, argmax, cumsum ...

Sums and means of 16-bit floats accumulate in float32 and are rounded once.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.config import config
from nr.core.tracing import Primitive
from nr.lax.convert import convert_element_type, convert_element_type_p
from nr.lax.cumulative import cumprod_p, cumsum_p
from nr.lax.elementwise import abs as lax_abs
from nr.lax.elementwise import add, div, div_p, eq, gt, mul, ne, sqrt, square, sub
from nr.lax.elementwise import max as lax_max
from nr.lax.elementwise import min as lax_min
from nr.lax.reduce import (
    argmax_p,
    argmin_p,
    reduce_and_p,
    reduce_max_p,
    reduce_min_p,
    reduce_or_p,
    reduce_prod_p,
    reduce_sum_p,
)
from nr.lax.rules import canonical_axes, canonical_axis, check_dtype, operand
from nr.lax.select import select
from nr.lax.shape import broadcast_in_dim, concatenate, full, full_like, reshape, reshape_p
from nr.numpy.deviations import squared_deviations
from nr.numpy.promotion import broadcast_to_shape

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "cumprod", "cumsum",
    "cumulative_prod", "cumulative_sum", "max", "mean", "min", "nanargmax", "nanargmin",
    "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum",
    "nanvar", "prod", "ptp", "std", "sum", "var",
]  # fmt: skip

_HALF = frozenset([dtypes.DTYPES["bfloat16"], dtypes.DTYPES["float16"]])
_F32 = dtypes.DTYPES["float32"]
_ALL_AXES = [tuple(range(n)) for n in range(9)]


# ---------------------------------------------------------------- what they share
def _array(op: str, a: Any) -> Any:
    return a if type(a) is ArrayImpl else operand(op, a)


def _axes(op: str, axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return _ALL_AXES[ndim] if ndim < 9 else tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis + ndim if axis < 0 else axis,)
    return canonical_axes(op, axis, ndim)


def _no_out(op: str, out: Any) -> None:
    if out is not None:
        raise NotImplementedError(f"{op}: out must be None; arrays are immutable.")


def _keep(x: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """A result with the axes it was reduced over, of extent 1."""
    return reshape_p.bind(x, new_sizes=tuple([1 if d in axes else n for d, n in enumerate(shape)]))


def _mask(op: str, where: Any, shape: tuple[int, ...]) -> Any:
    """A mask broadcast to the shape of the operand."""
    where = convert_element_type(operand(op, where), np.bool_)
    fits = where.ndim <= len(shape) and builtins.all(
        [n in (1, m) for n, m in zip(where.shape[::-1], shape[::-1], strict=False)]
    )
    if not fits:
        raise ValueError(
            f'{op}: "where" must broadcast to the shape {shape} of the array; got {where.aval}.'
        )
    return broadcast_to_shape(where, shape)


def _widened_integer(dtype: np.dtype) -> np.dtype:
    """The dtype in which integers are added: never narrower than the default."""
    if dtype.kind == "b":
        return config.default_int
    if dtype.kind in "iu" and dtype.itemsize < config.default_int.itemsize:
        name = config.default_int.name
        return dtypes.DTYPES[name if dtype.kind == "i" else "u" + name]
    return dtype


def _count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    n = 1
    for axis in axes:
        n *= shape[axis]
    return n


def _spread(x: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """A result repeated over the axes it was reduced over."""
    return broadcast_in_dim(x, shape, [d for d in range(len(shape)) if d not in axes])


# ---------------------------------------------------------------- sum and product
_MONOIDS = {"sum": (reduce_sum_p, add, 0), "prod": (reduce_prod_p, mul, 1)}


def _accumulate(
    op: str,
    a: Any,
    axis: Any,
    dtype: Any,
    keepdims: bool,
    initial: Any,
    where: Any,
    promote_integers: bool,
) -> Any:
    primitive, combine, identity = _MONOIDS[op]
    a = _array(op, a)
    given = a.dtype
    if dtype is None:
        dtype = given
        if promote_integers and given not in dtypes.INEXACT or given.kind == "b":
            dtype = _widened_integer(given)
    else:
        dtype = dtypes.canonicalize(dtype)
    work = dtype
    if dtype in _HALF and given not in _HALF:
        work = _F32
    elif dtype.kind == "b":
        a, work = convert_element_type(a, dtype), config.default_int
    if a.dtype != work:
        a = convert_element_type_p.bind(a, new_dtype=work)
    shape = a.shape
    axes = _axes(op, axis, len(shape))
    if where is not None:
        a = select(_mask(op, where, shape), a, full_like(a, identity))
    result = primitive.bind(a, axes=axes)
    if initial is not None:
        result = combine(result, convert_element_type(initial, work))
    if work != dtype:
        result = convert_element_type(result, dtype)
    return _keep(result, shape, axes) if keepdims else result


def sum(  # noqa: A001
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Array:
    """The sum of elements over axes.

    Args:
        a: an array.
        axis: an axis or a tuple of them; None means all.
        dtype: the dtype of the result; narrow integers and bool give the default integer.
        out: None.
        keepdims: keep the axes with extent 1.
        initial: a number to begin with.
        where: a mask of the elements to count, broadcast to `a`.
        promote_integers: False keeps the dtype of narrow integers.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.sum(jnp.array([[1, 2], [3, 4]]), axis=0)
        Array([4, 6], dtype=int32)
    """
    _no_out("sum", out)
    return _accumulate("sum", a, axis, dtype, keepdims, initial, where, promote_integers)


def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Array:
    """The product of elements over axes; arguments as of `sum`."""
    _no_out("prod", out)
    return _accumulate("prod", a, axis, dtype, keepdims, initial, where, promote_integers)


# ---------------------------------------------------------------- extremes
def _limit(dtype: np.dtype, largest: bool) -> Any:
    """The identity of min (largest) or max of a dtype."""
    if dtype.kind == "b":
        return largest
    if dtype in dtypes.INTEGER:
        info = np.iinfo(dtype)
        return info.max if largest else info.min
    end = np.inf if largest else -np.inf
    return complex(end, end) if dtype in dtypes.COMPLEX else end


def _extreme(op: str, a: Any, axis: Any, out: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    _no_out(op, out)
    primitive = reduce_max_p if op == "max" else reduce_min_p
    a = _array(op, a)
    shape = a.shape
    axes = _axes(op, axis, len(shape))
    if initial is None:
        if 0 in shape:
            _check_not_empty(op, a, axes)
        if where is not None:
            raise ValueError(
                f'{op}: with "where" there may be nothing to compare; "initial" must say what '
                f"that gives. Pass initial=..."
            )
    if where is not None:
        limit = np.asarray(_limit(a.dtype, op == "min")).astype(a.dtype)[()]
        a = select(_mask(op, where, shape), a, full_like(a, limit))
    result = primitive.bind(a, axes=axes)
    if initial is not None:
        combine = lax_max if op == "max" else lax_min
        result = combine(result, convert_element_type(initial, a.dtype))
    return _keep(result, shape, axes) if keepdims else result


def _check_not_empty(op: str, a: Any, axes: tuple[int, ...]) -> None:
    for axis in axes:
        if a.shape[axis] == 0:
            raise ValueError(
                f"{op}: an axis to reduce must not be empty; got {a.aval}, whose axis {axis} has "
                f"extent 0. Pass initial=... to say what nothing gives."
            )


def max(  # noqa: A001
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The largest element over axes; NaN where there is one.

    Args:
        a: an array.
        axis: an axis or a tuple of them; None means all.
        out: None.
        keepdims: keep the axes with extent 1.
        initial: a lower bound of the result; needed with `where`.
        where: a mask of the elements to compare, broadcast to `a`.

    Raises:
        ValueError: if an axis is empty and there is no `initial`.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.max(jnp.array([[1, 5], [3, 4]]), axis=1)
        Array([5, 4], dtype=int32)
    """
    return _extreme("max", a, axis, out, keepdims, initial, where)


def min(  # noqa: A001
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The smallest element over axes; NaN where there is one. Arguments as of `max`."""
    return _extreme("min", a, axis, out, keepdims, initial, where)


amax = max
amin = min


def ptp(a: Any, axis: Any = None, out: None = None, keepdims: bool = False) -> Array:
    """The largest less the smallest element over axes."""
    _no_out("ptp", out)
    a = _array("ptp", a)
    return sub(max(a, axis, keepdims=keepdims), min(a, axis, keepdims=keepdims))


# ---------------------------------------------------------------- truth
def _truth(op: str, a: Any, axis: Any, out: Any, keepdims: bool, where: Any) -> Any:
    _no_out(op, out)
    primitive = reduce_or_p if op == "any" else reduce_and_p
    a = _array(op, a)
    if a.dtype.kind != "b":
        a = convert_element_type_p.bind(a, new_dtype=dtypes.bool_dt)
    shape = a.shape
    axes = _axes(op, axis, len(shape))
    if where is not None:
        a = select(_mask(op, where, shape), a, full_like(a, op == "all"))
    result = primitive.bind(a, axes=axes)
    return _keep(result, shape, axes) if keepdims else result


def any(  # noqa: A001
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = None
) -> Array:
    """Whether any element over axes is true (not zero); False where there is none."""
    return _truth("any", a, axis, out, keepdims, where)


def all(  # noqa: A001
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = None
) -> Array:
    """Whether all elements over axes are true (not zero); True where there is none."""
    return _truth("all", a, axis, out, keepdims, where)


def count_nonzero(a: Any, axis: Any = None, keepdims: bool = False) -> Array:
    """How many elements over axes are not zero."""
    a = convert_element_type(_array("count_nonzero", a), np.bool_)
    return sum(a, axis, keepdims=keepdims)


# ---------------------------------------------------------------- moments
def _moment_dtypes(op: str, given: np.dtype, dtype: Any) -> tuple[np.dtype, np.dtype]:
    """The dtype to compute in, and that of the result."""
    if dtype is None and given in dtypes.INEXACT:
        return (_F32 if given in _HALF else given), given
    result = dtypes.to_inexact(given) if dtype is None else dtypes.canonicalize(dtype)
    work = result if result in dtypes.INEXACT else dtypes.to_inexact(given)
    return (_F32 if work in _HALF else work), result


def _divide_by(x: Any, n: Any) -> Any:
    """x / n for a count that is a number, or an array of x's shape."""
    if isinstance(n, (int, float)):
        return div_p.bind(x, x.dtype.type(n))
    return div(x, convert_element_type(n, x.dtype))


def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = None,
) -> Array:
    """The arithmetic mean over axes; integers give the default float.

    Args:
        a: an array.
        axis: an axis or a tuple of them; None means all.
        dtype: the dtype of the result.
        out: None.
        keepdims: keep the axes with extent 1.
        where: a mask of the elements to count, broadcast to `a`.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.mean(jnp.array([[1, 2], [3, 4]]), axis=0)
        Array([2., 3.], dtype=float32)
    """
    _no_out("mean", out)
    a = _array("mean", a)
    work, result_dtype = _moment_dtypes("mean", a.dtype, dtype)
    shape = a.shape
    axes = _axes("mean", axis, len(shape))
    if a.dtype != work:
        a = convert_element_type(a, work)
    if where is None:
        result = _divide_by(reduce_sum_p.bind(a, axes=axes), _count(shape, axes))
    else:
        mask = _mask("mean", where, shape)
        total = reduce_sum_p.bind(select(mask, a, full_like(a, 0)), axes=axes)
        result = _divide_by(total, sum(mask, axes))
    if work != result_dtype:
        result = convert_element_type(result, result_dtype)
    return _keep(result, shape, axes) if keepdims else result


def _variance(
    op: str,
    a: Any,
    axis: Any,
    dtype: Any,
    ddof: Any,
    keepdims: bool,
    where: Any,
    mean: Any,
    correction: Any,
) -> Any:
    if correction is not None:
        if ddof != 0:
            raise ValueError(
                f"{op}: ddof and correction mean the same and can't both be given; got {ddof} "
                f"and {correction}. Leave out ddof."
            )
        ddof = correction
    a = _array(op, a)
    given = a.dtype
    if dtype is not None:
        dtype = dtypes.canonicalize(dtype)
        if dtype not in dtypes.INEXACT:
            raise ValueError(
                f"{op}: the dtype must be floating or complex; got {dtypes.short_name(dtype)}."
            )
        if given in dtypes.COMPLEX and dtype not in dtypes.COMPLEX:
            raise ValueError(f"{op}: of {a.aval} the dtype must be complex; got {dtype}.")
    work, result_dtype = _moment_dtypes(op, given, dtype)
    if given != work:
        a = convert_element_type_p.bind(a, new_dtype=work)
    shape = a.shape
    axes = _axes(op, axis, len(shape))
    mask = None if where is None else _mask(op, where, shape)
    n: Any = _count(shape, axes) if mask is None else sum(mask, axes)
    if mean is None and mask is None and work not in dtypes.COMPLEX:
        total = squared_deviations(a, axes)
    else:
        if mean is None:
            kept = a if mask is None else select(mask, a, full_like(a, 0))
            center = _spread(_divide_by(reduce_sum_p.bind(kept, axes=axes), n), shape, axes)
        else:
            center = broadcast_to_shape(convert_element_type(operand(op, mean), work), shape)
        deviation = sub(a, center)
        squares = square(lax_abs(deviation)) if work in dtypes.COMPLEX else square(deviation)
        if mask is not None:
            squares = select(mask, squares, full_like(squares, 0))
        total = reduce_sum_p.bind(squares, axes=axes)
    result = _divide_by_freedom(total, n, ddof)
    if op == "std":
        result = sqrt(result)
    result = convert_element_type(result, dtypes.to_real(result_dtype) if dtype is None else dtype)
    return _keep(result, shape, axes) if keepdims else result


def _divide_by_freedom(total: Any, n: Any, ddof: Any) -> Any:
    """total / (n - ddof), NaN where that is not positive."""
    if isinstance(n, int):
        return _divide_by(total, n - ddof if n > ddof else float("nan"))
    freedom = sub(convert_element_type(n, total.dtype), convert_element_type(ddof, total.dtype))
    nan = full_like(freedom, float("nan"))
    return div(total, select(gt(freedom, np.zeros((), freedom.dtype)[()]), freedom, nan))


def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> Array:
    """The variance over axes: the mean square of deviations from the mean.

    Args:
        a: an array; complex ones have a real variance.
        axis: an axis or a tuple of them; None means all.
        dtype: the dtype of the computation and of the result; floating or complex.
        out: None.
        ddof: subtracted from the number of elements in the divisor.
        keepdims: keep the axes with extent 1.
        where: a mask of the elements to count, broadcast to `a`.
        mean: the mean with keepdims, where it is known already.
        correction: the array API's name of ddof.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.var(jnp.array([1., 2., 3.]), ddof=1)
        Array(1., dtype=float32)
    """
    _no_out("var", out)
    return _variance("var", a, axis, dtype, ddof, keepdims, where, mean, correction)


def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> Array:
    """The standard deviation over axes, the root of `var`; arguments as of `var`."""
    _no_out("std", out)
    return _variance("std", a, axis, dtype, ddof, keepdims, where, mean, correction)


# ---------------------------------------------------------------- positions of extremes
def _arg_extreme(op: str, a: Any, axis: Any, out: Any, keepdims: bool | None) -> Any:
    _no_out(op, out)
    primitive = argmax_p if op == "argmax" else argmin_p
    a = _array(op, a)
    if a.dtype.kind == "c":
        check_dtype(op, a.aval, dtypes.REAL | dtypes.BOOL)
    shape = a.shape
    if axis is None:
        axes = tuple(range(len(shape)))
        a, axis = reshape(a, (_count(shape, axes),)), 0
    else:
        axis = canonical_axis(op, axis, len(shape))
        axes = (axis,)
    index_dtype = config.default_int
    if a.shape[axis] > np.iinfo(index_dtype).max:
        index_dtype = dtypes.DTYPES["int64"]
    result = primitive.bind(a, axes=(axis,), index_dtype=index_dtype)
    return _keep(result, shape, axes) if keepdims else result


def argmax(
    a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None
) -> Array:
    """The first position of the largest element along an axis (of the flat array if None).

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.argmax(jnp.array([[1, 5, 5], [7, 3, 2]]), axis=1)
        Array([1, 0], dtype=int32)
    """
    return _arg_extreme("argmax", a, axis, out, keepdims)


def argmin(
    a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None
) -> Array:
    """The first position of the smallest element along an axis (of the flat array if None)."""
    return _arg_extreme("argmin", a, axis, out, keepdims)


# ---------------------------------------------------------------- without NaN
def _without_nan(op: str, a: Any, value: Any) -> tuple[Any, Any]:
    """The array with a value in place of NaN, and where they were (None if it can't have any)."""
    a = _array(op, a)
    if a.dtype not in dtypes.INEXACT:
        return a, None
    missing = ne(a, a)
    return select(missing, full_like(a, value), a), missing


def nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The sum over axes of what is not NaN."""
    a, _ = _without_nan("nansum", a, 0)
    return sum(a, axis, dtype, out, keepdims, initial, where)


def nanprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The product over axes of what is not NaN."""
    a, _ = _without_nan("nanprod", a, 1)
    return prod(a, axis, dtype, out, keepdims, initial, where)


def _nan_extreme(
    op: str, reduction: Callable, a: Any, axis: Any, keepdims: bool, options: dict
) -> Array:
    a = _array(op, a)
    limit = np.asarray(_limit(a.dtype, reduction is min)).astype(a.dtype)[()]
    filled, missing = _without_nan(op, a, limit)
    result = reduction(filled, axis, keepdims=keepdims, **options)
    if missing is None or options["initial"] is not None:
        return result
    nothing = all(missing, axis, keepdims=keepdims)
    return select(nothing, full_like(result, float("nan")), result)


def nanmax(
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The largest element over axes that is not NaN; NaN where there are only those."""
    _no_out("nanmax", out)
    return _nan_extreme("nanmax", max, a, axis, keepdims, {"initial": initial, "where": where})


def nanmin(
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Array:
    """The smallest element over axes that is not NaN; NaN where there are only those."""
    _no_out("nanmin", out)
    return _nan_extreme("nanmin", min, a, axis, keepdims, {"initial": initial, "where": where})


def _nan_arg(op: str, find: Callable, a: Any, axis: Any, out: Any, keepdims: Any) -> Any:
    _no_out(op, out)
    filled, missing = _without_nan(op, a, np.inf if find is argmin else -np.inf)
    result = find(filled, axis, keepdims=keepdims)
    if missing is None:
        return result
    nothing = all(missing, axis, keepdims=bool(keepdims))
    return select(nothing, full_like(result, -1), result)


def nanargmax(
    a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None
) -> Array:
    """The first position of the largest element that is not NaN; -1 where there are only those."""
    return _nan_arg("nanargmax", argmax, a, axis, out, keepdims)


def nanargmin(
    a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None
) -> Array:
    """The first position of the smallest element that is not NaN; -1 where there are only those."""
    return _nan_arg("nanargmin", argmin, a, axis, out, keepdims)


def _where_present(op: str, a: Any, where: Any) -> tuple[Any, Any]:
    """The array, with 0 for NaNs (so that derivatives have none), and the mask of what counts."""
    a = _array(op, a)
    present = eq(a, a)
    a = select(present, a, full_like(a, 0))
    if where is not None:
        present = mul(present, _mask(op, where, a.shape))
    return a, present


def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    where: Any = None,
) -> Array:
    """The mean over axes of what is not NaN; NaN where there are only those."""
    a, present = _where_present("nanmean", a, where)
    return mean(a, axis, dtype, out, keepdims, where=present)


def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Array:
    """The variance over axes of what is not NaN; arguments as of `var`."""
    a, present = _where_present("nanvar", a, where)
    return var(a, axis, dtype, out, ddof, keepdims, where=present, mean=mean)


def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Array:
    """The standard deviation over axes of what is not NaN; arguments as of `var`."""
    a, present = _where_present("nanstd", a, where)
    return std(a, axis, dtype, out, ddof, keepdims, where=present, mean=mean)


# ---------------------------------------------------------------- running reductions
def _running(
    op: str, primitive: Primitive, a: Any, axis: Any, dtype: Any, promote_integers: bool = False
) -> Any:
    a = _array(op, a)
    if axis is None:
        a, axis = reshape(a, (a.size,)), 0
    else:
        axis = canonical_axis(op, axis, a.ndim)
    if dtype is not None:
        dtype = dtypes.canonicalize(dtype)
    else:
        dtype = _widened_integer(a.dtype) if promote_integers or a.dtype.kind == "b" else a.dtype
    work = dtype
    if dtype.kind == "b":
        a, work = convert_element_type(a, dtype), config.default_int
    if a.dtype != work:
        a = convert_element_type(a, work)
    result = primitive.bind(a, axis=axis, reverse=False)
    return result if work == dtype else convert_element_type(result, dtype)


def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """Running sums along an axis (of the flat array if None).

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.cumsum(jnp.array([1, 2, 3]))
        Array([1, 3, 6], dtype=int32)
    """
    _no_out("cumsum", out)
    return _running("cumsum", cumsum_p, a, axis, dtype)


def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """Running products along an axis (of the flat array if None)."""
    _no_out("cumprod", out)
    return _running("cumprod", cumprod_p, a, axis, dtype)


def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """Running sums along an axis, NaN counting as 0."""
    return cumsum(_without_nan("nancumsum", a, 0)[0], axis, dtype, out)


def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
    """Running products along an axis, NaN counting as 1."""
    return cumprod(_without_nan("nancumprod", a, 1)[0], axis, dtype, out)


def _cumulative(
    op: str,
    primitive: Primitive,
    identity: int,
    x: Any,
    axis: int | None,
    dtype: Any,
    include_initial: bool,
) -> Any:
    x = _array(op, x)
    if x.ndim == 0 or (axis is None and x.ndim != 1):
        raise ValueError(
            f"{op}: an axis must be given where the rank is not 1; got {x.aval}. Pass axis=..."
        )
    axis = 0 if axis is None else canonical_axis(op, axis, x.ndim)
    out = _running(op, primitive, x, axis, dtype, promote_integers=True)
    if not include_initial:
        return out
    shape = [1 if d == axis else n for d, n in enumerate(out.shape)]
    return concatenate([full(shape, identity, out.dtype), out], axis)


def cumulative_sum(
    x: Any,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
) -> Array:
    """Running sums along an axis, as the array API standard has them.

    Args:
        x: an array of rank 1 or more.
        axis: the axis to run along; may be left out for rank 1.
        dtype: the dtype of the result; narrow integers give the default integer.
        include_initial: begin with 0, which makes the axis longer by one.
    """
    return _cumulative("cumulative_sum", cumsum_p, 0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Any,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
) -> Array:
    """Running products along an axis; arguments as of `cumulative_sum`."""
    return _cumulative("cumulative_prod", cumprod_p, 1, x, axis, dtype, include_initial)
