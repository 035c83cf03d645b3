"""`pad` with all of NumPy's modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import RoundingMethod, add, div, mul, round, sub
from nr.lax.reduce import reduce_max, reduce_min, reduce_sum
from nr.lax.rules import operand
from nr.lax.select import select
from nr.lax.shape import broadcast_in_dim, concatenate, reshape, slice_in_dim, squeeze
from nr.lax.shape import pad as lax_pad
from nr.lax.sort import sort
from nr.numpy.grids import linspace
from nr.numpy.manipulation import as_operand, take_static
from nr.numpy.vectorize import apply_along_axis

__all__ = ["pad"]

_OPTIONS = {
    "constant": ["constant_values"],
    "edge": [],
    "empty": [],
    "linear_ramp": ["end_values"],
    "maximum": ["stat_length"],
    "mean": ["stat_length"],
    "median": ["stat_length"],
    "minimum": ["stat_length"],
    "reflect": ["reflect_type"],
    "symmetric": ["reflect_type"],
    "wrap": [],
}


def pad(array: Any, pad_width: Any, mode: str | Callable = "constant", **kwargs: Any) -> Array:
    """An array with a border.

    Args:
        array: an array.
        pad_width: how wide: one number, ``(before, after)``, one such pair an axis, or a dict
            from axes to either.
        mode: what fills it. "constant" (`constant_values`, 0 by default); "edge", the outermost
            element; "linear_ramp" towards `end_values`; "maximum", "minimum", "mean", "median" of
            the nearest `stat_length` elements (all by default); "reflect" and "symmetric", the
            mirror image without and with the outermost element (`reflect_type` "even" or "odd");
            "wrap", the other end; "empty"; or a function
            ``(line, (before, after), axis, kwargs) -> line`` for each zero-padded line.
        **kwargs: the options of the mode; numbers for one or both sides or each axis.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.pad(jnp.array([1, 2, 3]), (2, 1), mode="reflect")
        Array([3, 2, 1, 2, 3, 2], dtype=int32)
    """
    x = as_operand("pad", array)
    widths = _widths(pad_width, x.ndim)
    if callable(mode):
        return _with_function(x, widths, mode, kwargs)
    if mode not in _OPTIONS:
        raise ValueError(f"pad: mode must be one of {', '.join(_OPTIONS)}; got {mode!r}.")
    for name in kwargs:
        if name not in _OPTIONS[mode]:
            known = ", ".join(_OPTIONS[mode]) or "no options"
            raise ValueError(f'pad: mode "{mode}" takes {known}; got {name!r}.')
    if mode == "constant":
        return _constant(x, widths, kwargs.get("constant_values", 0))
    if mode == "empty":
        return _constant(x, widths, 0)
    for axis, (lo, hi) in enumerate(widths):
        if (lo or hi) and x.shape[axis] == 0:
            raise ValueError(
                f'pad: an empty axis can only be padded with mode "constant" or "empty"; got '
                f"{x.aval} for axis {axis}."
            )
    if mode in ("edge", "wrap", "reflect", "symmetric"):
        odd = _reflects_oddly(kwargs.get("reflect_type", "even"))
        for axis, (lo, hi) in enumerate(widths):
            if lo or hi:
                x = _mirrored(x, axis, lo, hi, mode, odd)
        return x
    values = _pairs("end_values", kwargs.get("end_values", 0), x.ndim)
    lengths = _stat_lengths(kwargs.get("stat_length"), x.ndim)
    for axis, (lo, hi) in enumerate(widths):
        if not (lo or hi):
            continue
        if mode == "linear_ramp":
            ends = [_ramp(x, axis, lo, values[axis][0], 0), _ramp(x, axis, hi, values[axis][1], 1)]
        else:
            ends = [
                _statistic(x, axis, lo, lengths[axis][0], mode, False),
                _statistic(x, axis, hi, lengths[axis][1], mode, True),
            ]
        x = concatenate([ends[0], x, ends[1]], axis)
    return x


# ---------------------------------------------------------------- arguments
def _widths(pad_width: Any, rank: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        widths = [(0, 0)] * rank
        for axis, entry in pad_width.items():
            widths[axis] = tuple(np.broadcast_to(entry, (2,)).tolist())  # type: ignore[assignment]
    else:
        try:
            widths = np.broadcast_to(np.asarray(pad_width), (rank, 2)).tolist()
        except ValueError:
            raise ValueError(
                f"pad: pad_width must be a number, a pair, or {rank} pairs; got {pad_width!r}."
            ) from None
    for entry in widths:
        for n in entry:
            if type(n) is not int:
                raise TypeError(f"pad: pad_width must be integers; got {pad_width!r}.")
            if n < 0:
                raise ValueError(f"pad: pad_width must not be negative; got {pad_width!r}.")
    return [(lo, hi) for lo, hi in widths]


def _pairs(name: str, values: Any, rank: int) -> list[list[Any]]:
    """Values (numbers or rank-0 arrays) given once, for both sides, or for each axis."""
    if not isinstance(values, (tuple, list)):
        x = operand("pad", values)
        if x.ndim == 0:
            return [[values, values]] * rank
        values = _nested(x)
    entries = [_nested(v) if np.ndim(v) else v for v in values]
    if not any([isinstance(entry, (tuple, list)) for entry in entries]):
        entries = [entries]
    entries = [e if isinstance(e, (tuple, list)) else [e] for e in entries]
    entries = [[e[0], e[0]] if len(e) == 1 else list(e) for e in entries]
    if len(entries) == 1:
        entries = entries * rank
    if len(entries) != rank or not all([len(e) == 2 for e in entries]):
        raise ValueError(f"pad: {name} must be a number, a pair, or {rank} pairs; got {values!r}.")
    return entries


def _nested(x: Any) -> Any:
    """The elements of an array as nested lists of rank-0 arrays."""
    if isinstance(x, (tuple, list)):
        return x
    x = operand("pad", x)
    if x.ndim == 0:
        return x
    return [_nested(squeeze(slice_in_dim(x, i, i + 1), (0,))) for i in range(x.shape[0])]


def _stat_lengths(stat_length: Any, rank: int) -> list[tuple[int | None, int | None]]:
    if stat_length is None:
        return [(None, None)] * rank
    lengths = _widths(stat_length, rank)
    if any([n < 1 for pair in lengths for n in pair]):
        raise ValueError(f"pad: stat_length must be positive; got {stat_length!r}.")
    return lengths  # type: ignore[return-value]


def _reflects_oddly(reflect_type: str) -> bool:
    if reflect_type not in ("even", "odd"):
        raise ValueError(f'pad: reflect_type must be "even" or "odd"; got {reflect_type!r}.')
    return reflect_type == "odd"


# ---------------------------------------------------------------- modes
def _constant(x: Any, widths: list[tuple[int, int]], constant_values: Any) -> Any:
    pairs = _pairs("constant_values", constant_values, x.ndim)
    first = pairs[0][0] if pairs else 0
    if all([value is first for pair in pairs for value in pair]):
        config = [(lo, hi, 0) for lo, hi in widths]
        return lax_pad(x, convert_element_type(first, x.dtype), config)
    for axis, (lo, hi) in enumerate(widths):
        for value, lo_hi in zip(pairs[axis], [(lo, 0, 0), (0, hi, 0)], strict=True):
            config = [lo_hi if d == axis else (0, 0, 0) for d in range(x.ndim)]
            x = lax_pad(x, convert_element_type(value, x.dtype), config)
    return x


def _mirrored(x: Any, axis: int, lo: int, hi: int, mode: str, odd: bool) -> Any:
    """x continued beyond the ends of an axis by copies of what it has."""
    n = x.shape[axis]
    places = np.arange(-lo, n + hi)
    if mode == "edge":
        return take_static(x, np.clip(places, 0, n - 1), axis)
    if mode == "wrap":
        return take_static(x, places % n, axis)
    # Reflected twice, the axis is moved by one period, and by twice its rise if it is odd.
    half = n - 1 if mode == "reflect" else n
    period = max(2 * half, 1)
    turns, inside = np.divmod(places, period)
    back = inside > half if mode == "reflect" else inside >= half
    source = np.where(back, period - inside - (mode == "symmetric"), inside)
    out = take_static(x, source, axis)
    if not odd:
        return out
    first, last = slice_in_dim(x, 0, 1, axis=axis), slice_in_dim(x, n - 1, n, axis=axis)
    shape = out.shape

    def along(values: np.ndarray) -> Any:
        return broadcast_in_dim(values.astype(x.dtype), shape, (axis,))

    def across(value: Any) -> Any:
        return broadcast_in_dim(value, shape, range(len(shape)))

    mirrored = sub(add(across(last), across(last)), out)
    out = select(broadcast_in_dim(back, shape, (axis,)), mirrored, out)
    return add(out, mul(along(2 * turns), sub(across(last), across(first))))


def _ramp(x: Any, axis: int, width: int, end: Any, side: int) -> Any:
    """Numbers evenly spaced between an end value and the edge, which is left out."""
    n = x.shape[axis]
    edge = slice_in_dim(x, n - 1, n, axis=axis) if side else slice_in_dim(x, 0, 1, axis=axis)
    edge = squeeze(edge, (axis,))
    if x.dtype in dtypes.INEXACT:
        end = convert_element_type(end, x.dtype)
    ramp = linspace(end, edge, width, endpoint=False, dtype=x.dtype, axis=axis)
    if not side:
        return ramp
    return take_static(ramp, np.arange(width)[::-1], axis)


def _statistic(x: Any, axis: int, width: int, length: int | None, mode: str, last: bool) -> Any:
    """A statistic of the elements nearest to an end, repeated."""
    n = x.shape[axis]
    length = n if length is None else min(length, n)
    near = slice_in_dim(x, n - length, n, axis=axis) if last else (
        slice_in_dim(x, 0, length, axis=axis)
    )  # fmt: skip
    if mode == "maximum":
        value = reduce_max(near, (axis,))
    elif mode == "minimum":
        value = reduce_min(near, (axis,))
    else:
        wide = convert_element_type(near, _wide(x.dtype))
        if mode == "mean":
            value = div(reduce_sum(wide, (axis,)), wide.dtype.type(length))
        else:
            ordered = sort(wide, axis)
            middle = slice_in_dim(ordered, (length - 1) // 2, length // 2 + 1, axis=axis)
            count = wide.dtype.type(middle.shape[axis])
            value = div(reduce_sum(middle, (axis,)), count)
        if x.dtype in dtypes.INTEGER:
            value = round(value, RoundingMethod.TO_NEAREST_EVEN)
        value = convert_element_type(value, x.dtype)
    one = reshape(value, tuple([1 if d == axis else m for d, m in enumerate(x.shape)]))
    shape = [width if d == axis else m for d, m in enumerate(x.shape)]
    return broadcast_in_dim(one, shape, range(x.ndim))


def _wide(dtype: np.dtype) -> np.dtype:
    """The dtype in which means are computed."""
    dtype = dtypes.to_inexact(dtype)
    return dtypes.DTYPES["float32"] if dtype.itemsize == 2 else dtype


def _with_function(x: Any, widths: list[tuple[int, int]], fill: Callable, kwargs: dict) -> Any:
    out = _constant(x, widths, 0)
    for axis, width in enumerate(widths):
        out = apply_along_axis(fill, axis, out, width, axis, kwargs)
    return out
