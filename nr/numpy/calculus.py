"""Sampled functions: convolution, interpolation, differences and integrals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.core import dtypes
from nr.core.array import Array
from nr.lax.conv import conv_general_dilated
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import conj, ne, sub
from nr.lax.rules import canonical_axes, canonical_axis, operand
from nr.lax.shape import (
    broadcast_in_dim,
    concatenate,
    expand_dims,
    reshape,
    rev,
    slice_in_dim,
)
from nr.lax.sort import sort as lax_sort
from nr.numpy import reductions
from nr.numpy.promotion import broadcast_to_shape, promote, promote_inexact
from nr.numpy.selection import clip, where
from nr.numpy.sorting import flat, search, take_flat

__all__ = [
    "convolve",
    "correlate",
    "diff",
    "ediff1d",
    "gradient",
    "interp",
    "trapezoid",
]


# ---------------------------------------------------------------- convolution
def convolve(
    a: Any, v: Any, mode: str = "full", *, precision: Any = None, preferred_element_type: Any = None
) -> Array:
    """The convolution of two vectors, y[k] = sum of a[k - i] v[i].

    Args:
        a: a vector.
        v: a vector.
        mode: "full" for every k where they overlap, "same" for the middle part of the longer one's
            length, "valid" for those k where they overlap completely.
        precision: accepted for JAX's sake.
        preferred_element_type: the dtype of the result, where not the operands' common one.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.convolve(jnp.array([1., 2., 3.]), jnp.array([1., 1.]))
        Array([1., 3., 5., 3.], dtype=float32)
    """
    a, v = _vectors("convolve", a, v)
    if a.size < v.size:
        a, v = v, a
    return _slide("convolve", a, rev(v, (0,)), mode, preferred_element_type)


def correlate(
    a: Any,
    v: Any,
    mode: str = "valid",
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """The correlation of two vectors, y[k] = sum of a[k + i] conj(v[i]); see `convolve`.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.correlate(jnp.array([1., 2., 3.]), jnp.array([0., 1.]))
        Array([2., 3.], dtype=float32)
    """
    a, v = _vectors("correlate", a, v)
    if v.dtype in dtypes.COMPLEX:
        v = conj(v)
    if a.size >= v.size:
        return _slide("correlate", a, v, mode, preferred_element_type)
    return rev(_slide("correlate", v, a, mode, preferred_element_type), (0,))


def _vectors(op: str, a: Any, v: Any) -> list[Array]:
    a, v = promote_inexact(op, a, v)
    if a.ndim != 1 or v.ndim != 1 or not (a.size and v.size):
        raise ValueError(
            f"{op}: two vectors, not empty, were expected; got {a.aval} and {v.aval}. "
            f"Use nr.lax.conv_general_dilated for more dimensions."
        )
    return [a, v]


def _slide(op: str, a: Array, window: Array, mode: str, preferred: Any) -> Array:
    """Inner products of a window with the places it can take on a longer vector."""
    n = window.size
    pads = {"full": (n - 1, n - 1), "same": (n // 2, (n - 1) // 2), "valid": (0, 0)}
    if mode not in pads:
        raise ValueError(f"{op}: mode must be 'full', 'same' or 'valid'; got {mode!r}.")
    out = conv_general_dilated(
        reshape(a, (1, 1, a.size)),
        reshape(window, (1, 1, n)),
        (1,),
        [pads[mode]],
        preferred_element_type=preferred,
    )
    return flat(out)


# ---------------------------------------------------------------- interpolation
def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Array:
    """The piecewise linear function through given points.

    Args:
        x: where to evaluate it, an array of any shape.
        xp: the points' abscissae, an ascending vector.
        fp: their ordinates, a vector.
        left: the value left of all points; fp[0] if None; "extrapolate" prolongs the first piece.
        right: the value right of all points, likewise.
        period: of the function, whose points may then be in any order.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.interp(jnp.array([0.5, 3.]), jnp.array([0., 1.]), jnp.array([0., 10.]))
        Array([ 5., 10.], dtype=float32)
    """
    x, xp = promote_inexact("interp", x, xp)
    (fp,) = promote_inexact("interp", fp)
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ValueError(
            f"interp: xp and fp must be vectors of one length, 1 or more; got {xp.aval} and "
            f"{fp.aval}."
        )
    for name, value in (("left", left), ("right", right)):
        if isinstance(value, str) and value != "extrapolate":
            raise ValueError(f"interp: {name} must be a number or 'extrapolate'; got {value!r}.")
    if period is not None:
        x, xp, fp = _one_period(x, xp, fp, period)
        left = right = "extrapolate"
    n = xp.shape[0]
    if n == 1:
        result = where(x == x, fp[0], x)
    else:
        upper = clip(search(xp, x, "right"), 1, n - 1)
        lower = upper - 1
        x0, f0 = take_flat(xp, lower), take_flat(fp, lower)
        width = take_flat(xp, upper) - x0
        # Two points at one place: the piece between them has no slope, nor a gradient.
        width_or_one = where(width == 0, 1, width)
        share = where(width == 0, 0, (x - x0) / width_or_one)
        result = f0 + share * (take_flat(fp, upper) - f0)
    if not isinstance(left, str):
        result = where(x < xp[0], fp[0] if left is None else left, result)
    if not isinstance(right, str):
        result = where(x > xp[-1], fp[-1] if right is None else right, result)
    return result


def _one_period(x: Array, xp: Array, fp: Array, period: Any) -> tuple[Array, Array, Array]:
    """Everything moved into one period, with the nearest points of its neighbours."""
    period = operand("interp", period)
    if period.ndim:
        raise ValueError(f"interp: period must be a number; got {period.aval}.")
    period = abs(period)
    xp, fp = lax_sort((xp % period, fp))
    return (
        x % period,
        concatenate([xp[-1:] - period, xp, xp[:1] + period], 0),
        concatenate([fp[-1:], fp, fp[:1]], 0),
    )


# ---------------------------------------------------------------- differences
def _ends(x: Array, axis: int) -> tuple[Array, Array]:
    """x without its last, and without its first element along an axis."""
    n = x.shape[axis]
    return slice_in_dim(x, 0, n - 1, axis=axis), slice_in_dim(x, 1, n, axis=axis)


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Array:
    """The n-th differences of neighbours along an axis.

    Args:
        a: an array; of bools, whether neighbours differ.
        n: how many times to take differences.
        axis: the axis.
        prepend: what to put before a, an array, or a scalar for every line.
        append: what to put after it.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.diff(jnp.array([1, 2, 4, 0]))
        Array([ 1,  2, -4], dtype=int32)
    """
    if n < 0:
        raise ValueError(f"diff: n must not be negative; got {n}.")
    x = operand("diff", a)
    if n == 0:
        return x
    if not x.ndim:
        raise ValueError(f"diff: an array of rank 1 or more was expected; got {x.aval}.")
    axis = canonical_axis("diff", axis, x.ndim)
    parts = [part for part in (prepend, x, append) if part is not None]
    if len(parts) > 1:
        parts = promote("diff", *parts)
        line = tuple([1 if d == axis else extent for d, extent in enumerate(x.shape)])
        x = concatenate([p if p.ndim else broadcast_to_shape(p, line) for p in parts], axis)
    for _ in range(min(n, x.shape[axis])):
        before, after = _ends(x, axis)
        x = ne(after, before) if x.dtype == dtypes.bool_dt else sub(after, before)
    return x


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Array:
    """The differences of neighbours in the flattened array, with others before and after them."""
    x = flat(operand("ediff1d", ary))
    parts = [diff(x) if x.size else x]
    for place, extra in ((0, to_begin), (len(parts) + 1, to_end)):
        if extra is not None:
            parts.insert(place, flat(convert_element_type(operand("ediff1d", extra), x.dtype)))
    return concatenate(parts, 0)


def gradient(
    f: Any, *varargs: Any, axis: int | Sequence[int] | None = None, edge_order: int | None = None
) -> Any:
    """Derivatives of a sampled function: central differences, one-sided ones at the ends.

    Args:
        f: the samples.
        varargs: the distance of samples, or the vector of their places, for all axes or for each.
        axis: the axes to differentiate along; None means all.
        edge_order: 1 (or None).

    Returns:
        An array of the shape of f; or a list of them, one an axis.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.gradient(jnp.array([0., 1., 4., 9.]))
        Array([1., 2., 4., 5.], dtype=float32)
    """
    if edge_order not in (None, 1):
        raise NotImplementedError(f"gradient: edge_order must be 1; got {edge_order}.")
    (f,) = promote_inexact("gradient", f)
    axes = canonical_axes("gradient", axis, f.ndim)
    if len(varargs) not in (0, 1, len(axes)):
        raise TypeError(
            f"gradient: no distance, one, or one an axis was expected; got {len(varargs)} for "
            f"{len(axes)} axes."
        )
    spacings = list(varargs) if len(varargs) == len(axes) else [*(varargs or (1,))] * len(axes)
    results = [_gradient(f, spacing, d) for spacing, d in zip(spacings, axes, strict=True)]
    return results[0] if len(results) == 1 else results


def _gradient(f: Array, spacing: Any, axis: int) -> Array:
    n = f.shape[axis]
    if n < 2:
        raise ValueError(
            f"gradient: two samples or more are needed along axis {axis}; got {f.aval}."
        )
    h = operand("gradient", spacing)
    if h.ndim > 1 or (h.ndim and h.shape[0] != n):
        raise ValueError(
            f"gradient: places must be a vector with one for each sample; got {h.aval} for "
            f"{f.aval} along axis {axis}."
        )
    before, after = _ends(f, axis)
    slopes = after - before
    if not h.ndim:
        slopes = slopes / h
        left, right = _ends(slopes, axis)
        inner = (left + right) / 2
    else:
        steps = diff(convert_element_type(h, f.dtype))
        slopes = slopes / broadcast_in_dim(steps, slopes.shape, (axis,))
        left, right = _ends(slopes, axis)
        a, b = (broadcast_in_dim(s, left.shape, (axis,)) for s in _ends(steps, 0))
        inner = (left * b + right * a) / (a + b)  # exact for parabolas
    ends = [slice_in_dim(slopes, i, i + 1, axis=axis) for i in (0, n - 2)]
    return concatenate([ends[0], inner, ends[1]], axis)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    """The integral of a sampled function by the trapezoidal rule.

    Args:
        y: the samples.
        x: their places, a vector or an array of the shape of y; by default they are dx apart.
        dx: the distance of samples.
        axis: the axis to integrate over.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.trapezoid(jnp.array([1., 2., 3.]))
        Array(4., dtype=float32)
    """
    if x is None:
        (y,) = promote_inexact("trapezoid", y)
        axis = canonical_axis("trapezoid", axis, y.ndim)
        before, after = _ends(y, axis)
        return reductions.sum(before + after, axis) * dx * 0.5
    y, x = promote_inexact("trapezoid", y, x)
    axis = canonical_axis("trapezoid", axis, y.ndim)
    steps = diff(x, axis=0 if x.ndim == 1 else axis)
    if x.ndim == 1:
        steps = expand_dims(steps, tuple(range(1, y.ndim - axis)))
    before, after = _ends(y, axis)
    return reductions.sum((before + after) * steps, axis) * 0.5
