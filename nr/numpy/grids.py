"""Arrays of a pattern: spaced numbers, identity and triangles, grids of coordinates."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.config import config
from nr.core.tracing import EVAL, PYTHON_SCALARS, Tracer, current_trace
from nr.lax.convert import convert_element_type
from nr.lax.cumulative import cumprod
from nr.lax.elementwise import abs as lax_abs
from nr.lax.elementwise import add, div, eq, exp, floor, ge, gt, is_finite, log, mul, sub
from nr.lax.rules import canonical_axis, move_dim, operand
from nr.lax.select import select
from nr.lax.shape import (
    broadcast_in_dim,
    broadcasted_iota,
    concatenate,
    full_like,
    iota,
    reshape,
    rev,
    slice_in_dim,
)
from nr.numpy.creation import arange, asarray, known_scalar, place, zeros
from nr.numpy.promotion import broadcast_arrays_list, promote, promote_inexact

__all__ = [
    "c_",
    "eye",
    "geomspace",
    "identity",
    "indices",
    "linspace",
    "logspace",
    "meshgrid",
    "mgrid",
    "ogrid",
    "r_",
    "tri",
    "tril",
    "triu",
    "vander",
]


# ---------------------------------------------------------------- spaced numbers
def _count(op: str, num: Any) -> int:
    num = operator.index(known_scalar(op, "num", num))
    if num < 0:
        raise ValueError(f"{op}: num must not be negative; got {num}.")
    return num


def _ends(op: str, start: Any, stop: Any) -> tuple[Any, Any, bool]:
    """The ends in their common floating dtype, and whether their numbers are known on the host."""
    start, stop = broadcast_arrays_list(op, *promote_inexact(op, start, stop))
    known = all([type(x) is ArrayImpl and x.committed is None for x in (start, stop)])
    return start, stop, known


def _wide(x: Any) -> np.ndarray:
    """The numbers in double precision."""
    x = operand("linspace", x).host()
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _host_ends(given: tuple[Any, Any], start: Any, stop: Any) -> list[Any]:
    # Python numbers are not rounded to the dtype of the result before they are spaced.
    return [
        np.asarray(g) if type(g) in PYTHON_SCALARS else _wide(x)
        for g, x in zip(given, (start, stop), strict=True)
    ]


def _finish(op: str, x: Any, dtype: Any, axis: int, device: Any) -> Any:
    axis = canonical_axis(op, axis, x.ndim)
    dtype = x.dtype if dtype is None else dtypes.canonicalize(dtype)
    if dtype in dtypes.INTEGER and x.dtype in dtypes.FLOATING:
        x = floor(x)
    return place(move_dim(convert_element_type(x, dtype), 0, axis), device)


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """Evenly spaced numbers from start to stop.

    Args:
        start: the first number, or an array of them.
        stop: the last number, or where it would be without `endpoint`.
        num: how many.
        endpoint: whether `stop` is the last.
        retstep: return the distance between neighbours too.
        dtype: by default the floating dtype of the ends; integers are rounded down.
        axis: where the numbers lie in the result, if the ends are arrays.
        device: where to put the result.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.linspace(0, 1, 5)
        Array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    num = _count("linspace", num)
    low, high, known = _ends("linspace", start, stop)
    gaps = num - 1 if endpoint else num
    if known:
        ends = _host_ends((start, stop), low, high)
        data, gap = np.linspace(ends[0], ends[1], num, endpoint, retstep=True)
        step = asarray(np.asarray(gap if gaps else np.nan * (ends[1] - ends[0])), low.dtype)
        data = np.floor(data) if dtype is not None and _is_integer(dtype) else data
        out = asarray(data, low.dtype if dtype is None else dtype)
        out = move_dim(place(out, device), 0, canonical_axis("linspace", axis, out.ndim))
    else:
        step = div(sub(high, low), _number(low, gaps if gaps > 0 else np.nan))
        if dtype is not None and _is_integer(dtype):
            out = _spaced_whole(low, high, num, gaps)
        else:
            out = _spaced(low, high, num, gaps, endpoint)
        out = _finish("linspace", out, dtype, axis, device)
    return (out, step) if retstep else out


def _is_integer(dtype: Any) -> bool:
    return dtypes.canonicalize(dtype) in dtypes.INTEGER


def _number(x: Any, value: Any) -> Any:
    return np.asarray(value).astype(x.dtype)[()]


def _spaced(low: Any, high: Any, num: int, gaps: int, endpoint: bool) -> Any:
    """num values between arrays of one shape, along a new leading axis."""
    shape = (num, *low.shape)
    if num == 0:
        return zeros(shape, low.dtype)
    real = dtypes.to_real(low.dtype)
    part = div(iota(real, num), np.asarray(max(gaps, 1)).astype(real)[()])
    part = broadcast_in_dim(convert_element_type(part, low.dtype), shape, (0,))
    first, last = [broadcast_in_dim(x, shape, range(1, len(shape))) for x in (low, high)]
    # A weighted mean: exact at the start, and it cannot overflow between finite ends.
    out = add(mul(first, sub(_number(low, 1), part)), mul(last, part))
    if low.dtype == real:
        rise = mul(sub(high, low), _number(low, max(gaps, 1)))
        safe = broadcast_in_dim(is_finite(rise), shape, range(1, len(shape)))
        out = select(safe, _spaced_whole(low, high, num, gaps), out)
    if endpoint and num > 1:
        end = reshape(high, (1, *high.shape))
        out = concatenate([slice_in_dim(out, 0, num - 1), end], 0)
    return out


def _spaced_whole(low: Any, high: Any, num: int, gaps: int) -> Any:
    """`_spaced`, exact wherever the result is an integer, if products do not overflow."""
    shape = (num, *low.shape)
    rise = broadcast_in_dim(sub(high, low), shape, range(1, len(shape)))
    numbers = broadcast_in_dim(iota(low.dtype, num), shape, (0,))
    start = broadcast_in_dim(low, shape, range(1, len(shape)))
    return add(start, div(mul(rise, numbers), _number(low, max(gaps, 1))))


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """Powers of a base whose exponents are evenly spaced from start to stop.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.logspace(0, 2, 3)
        Array([  1.,  10., 100.], dtype=float32)
    """
    num = _count("logspace", num)
    low, high, known = _ends("logspace", start, stop)
    known = known and not isinstance(base, Tracer)
    if known:
        first, last = _host_ends((start, stop), low, high)
        data = np.linspace(first, last, num, endpoint)
        powers = np.power(_wide(base), data)
        return _finish("logspace", asarray(powers, low.dtype), dtype, axis, None)
    low, high, log_base = promote("logspace", low, high, log(promote_inexact("logspace", base)[0]))
    exponents = _spaced(low, high, num, num - 1 if endpoint else num, endpoint)
    return _finish("logspace", exp(mul(exponents, log_base)), dtype, axis, None)


def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """Numbers in geometric progression from start to stop; both ends are exact.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.geomspace(1, 8, 4)
        Array([1., 2., 4., 8.], dtype=float32)
    """
    num = _count("geomspace", num)
    low, high, known = _ends("geomspace", start, stop)
    if known:
        ends = _host_ends((start, stop), low, high)
        if any([(end == 0).any() for end in ends]):
            raise ValueError("geomspace: the ends must not be zero; got a zero. Use linspace.")
        data = np.geomspace(ends[0], ends[1], num, endpoint)
        return _finish("geomspace", asarray(data, low.dtype), dtype, axis, None)
    sign = low if low.dtype in dtypes.COMPLEX else div(low, lax_abs(low))
    if low.dtype in dtypes.COMPLEX:
        sign = div(low, convert_element_type(lax_abs(low), low.dtype))
    first, last = log(div(low, sign)), log(div(high, sign))
    out = exp(_spaced(first, last, num, num - 1 if endpoint else num, endpoint))
    out = mul(out, broadcast_in_dim(sign, out.shape, range(1, out.ndim)))
    if num:
        out = concatenate([reshape(low, (1, *low.shape)), slice_in_dim(out, 1, num)], 0)
    if endpoint and num > 1:
        out = concatenate([slice_in_dim(out, 0, num - 1), reshape(high, (1, *high.shape))], 0)
    return _finish("geomspace", out, dtype, axis, None)


# ---------------------------------------------------------------- identity and triangles
def _extent(op: str, name: str, n: Any) -> int:
    n = operator.index(known_scalar(op, name, n))
    if n < 0:
        raise ValueError(f"{op}: {name} must not be negative; got {n}.")
    return n


def eye(
    N: int, M: int | None = None, k: int = 0, dtype: Any = None, *, device: Any = None
) -> Array:
    """Ones on diagonal k of N rows and M columns, zeros elsewhere.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.eye(2, 3, k=1)
        Array([[0., 1., 0.],
               [0., 0., 1.]], dtype=float32)
    """
    N = _extent("eye", "N", N)
    M = N if M is None else _extent("eye", "M", M)
    dtype = config.default_float if dtype is None else dtypes.canonicalize(dtype)
    if current_trace() is EVAL:
        k = operator.index(known_scalar("eye", "k", k))
        return place(ArrayImpl(np.eye(N, M, k, dtype)), device)
    rows, columns = _coordinates(N, M, k)
    return place(convert_element_type(eq(rows, columns), dtype), device)


def identity(n: int, dtype: Any = None) -> Array:
    """The identity matrix of n rows."""
    return eye(n, dtype=dtype)


def _coordinates(n: int, m: int, k: Any) -> tuple[Any, Any]:
    """For each place of n rows and m columns its row index + k, and its column index."""
    counting = dtypes.DTYPES["int32"]
    rows = broadcasted_iota(counting, (n, m), 0)
    return add(rows, convert_element_type(k, counting)), broadcasted_iota(counting, (n, m), 1)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Array:
    """Ones at and below diagonal k, zeros above."""
    N = _extent("tri", "N", N)
    M = N if M is None else _extent("tri", "M", M)
    dtype = config.default_float if dtype is None else dtypes.canonicalize(dtype)
    return convert_element_type(ge(*_coordinates(N, M, k)), dtype)


def tril(m: Any, k: int = 0) -> Array:
    """The matrices of m with zeros above diagonal k.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.tril(jnp.array([[1, 2], [3, 4]]))
        Array([[1, 0],
               [3, 4]], dtype=int32)
    """
    m = _matrices("tril", m)
    mask = ge(*_coordinates(m.shape[-2], m.shape[-1], k))
    return select(_for_each_matrix(mask, m.shape), m, full_like(m, 0))


def triu(m: Any, k: int = 0) -> Array:
    """The matrices of m with zeros below diagonal k."""
    m = _matrices("triu", m)
    mask = gt(*_coordinates(m.shape[-2], m.shape[-1], k))
    return select(_for_each_matrix(mask, m.shape), full_like(m, 0), m)


def _for_each_matrix(mask: Any, shape: tuple[int, ...]) -> Any:
    return broadcast_in_dim(mask, shape, (len(shape) - 2, len(shape) - 1))


def _matrices(op: str, m: Any) -> Any:
    m = operand(op, m)
    if m.ndim < 2:
        raise ValueError(f'{op}: rank 2 or more was expected; got {m.aval} for "m".')
    return m


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Array:
    """The powers of the elements of x in N columns, highest first unless `increasing`.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.vander(jnp.array([1, 2, 3]))
        Array([[1, 1, 1],
               [4, 2, 1],
               [9, 3, 1]], dtype=int32)
    """
    x = operand("vander", x)
    if x.ndim != 1:
        raise ValueError(f'vander: rank 1 was expected; got {x.aval} for "x".')
    n = x.shape[0]
    N = n if N is None else _extent("vander", "N", N)
    if N == 0:
        return zeros((n, 0), x.dtype)
    ones = full_like(x, 1, shape=(n, 1))
    if N == 1:
        return ones
    factors = concatenate([ones, broadcast_in_dim(x, (n, N - 1), (0,))], 1)
    powers = cumprod(factors, 1)
    return powers if increasing else rev(powers, (1,))


# ---------------------------------------------------------------- grids of coordinates
def meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> list[Array]:
    """Coordinate arrays of the grid that rank-1 arrays span.

    Args:
        *xi: rank-1 arrays (or numbers).
        copy: accepted for NumPy's sake; arrays are immutable.
        sparse: leave extents of 1 where a coordinate does not vary.
        indexing: "xy" swaps the first two dimensions, "ij" does not.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.meshgrid(jnp.array([1, 2]), jnp.array([3, 4, 5]))[0]
        Array([[1, 2],
               [1, 2],
               [1, 2]], dtype=int32)
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f'meshgrid: indexing must be "xy" or "ij"; got {indexing!r}.')
    lines = []
    for x in xi:
        x = operand("meshgrid", x)
        if x.ndim > 1:
            raise ValueError(f"meshgrid: arrays of rank 1 were expected; got {x.aval}.")
        lines.append(reshape(x, (1,)) if x.ndim == 0 else x)
    dims = list(range(len(lines)))
    if indexing == "xy" and len(lines) > 1:
        dims[:2] = [1, 0]
    shape = [0] * len(lines)
    for line, d in zip(lines, dims, strict=True):
        shape[d] = line.shape[0]
    out = []
    for line, d in zip(lines, dims, strict=True):
        full = [line.shape[0] if i == d else 1 for i in range(len(lines))] if sparse else shape
        out.append(broadcast_in_dim(line, full, (d,)))
    return out


def indices(dimensions: Any, dtype: Any = None, sparse: bool = False) -> Any:
    """The coordinates of every place of a shape: one array a dimension, stacked.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.indices((2, 2))[0]
        Array([[0, 0],
               [1, 1]], dtype=int32)
    """
    dtype = config.default_int if dtype is None else dtypes.canonicalize(dtype)
    shape = tuple([_extent("indices", "dimensions", n) for n in dimensions])
    rank = len(shape)
    lines = [arange(n, dtype=dtype) for n in shape]
    if sparse:
        return tuple(meshgrid(*lines, sparse=True, indexing="ij"))
    if not lines:
        return zeros((0,), dtype)
    grids = meshgrid(*lines, indexing="ij")
    return concatenate([broadcast_in_dim(g, (1, *shape), range(1, rank + 1)) for g in grids], 0)


def _line(part: slice) -> Any:
    """The numbers that a slice stands for; an imaginary step is a count, ends included."""
    start = 0 if part.start is None else part.start
    if isinstance(part.step, complex):
        return linspace(start, part.stop, int(abs(part.step)))
    return arange(start, part.stop, 1 if part.step is None else part.step)


class _Grid:
    """`mgrid` and `ogrid`: grids written as slices in brackets."""

    def __init__(self, name: str, sparse: bool) -> None:
        self._name = name
        self._sparse = sparse

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return _line(key)
        lines = promote(self._name, *[_line(part) for part in key])
        grids = meshgrid(*lines, sparse=self._sparse, indexing="ij")
        if self._sparse:
            return grids
        return concatenate([reshape(g, (1, *g.shape)) for g in grids], 0)

    def __repr__(self) -> str:
        return f"nr.numpy.{self._name}"


mgrid = _Grid("mgrid", sparse=False)
ogrid = _Grid("ogrid", sparse=True)


class _Concatenator:
    """`r_` and `c_`: arrays, numbers and slices in brackets, joined along an axis."""

    def __init__(self, name: str, axis: int, ndmin: int, place: int) -> None:
        self._name = name
        self._defaults = axis, ndmin, place

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        axis, ndmin, start = self._defaults
        if parts and isinstance(parts[0], str):
            axis, ndmin, start = self._directive(parts[0])
            parts = parts[1:]
        arrays = []
        for part in parts:
            if isinstance(part, str):
                raise ValueError(f"{self._name}: a directive must come first; got {part!r} later.")
            x = _line(part) if isinstance(part, slice) else asarray(part)
            arrays.append(self._raise_rank(x, max(ndmin, 1), start))
        return concatenate(promote(self._name, *arrays), axis)

    def _directive(self, text: str) -> tuple[int, int, int]:
        try:
            numbers = [int(word) for word in text.split(",")]
        except ValueError:
            raise ValueError(
                f"{self._name}: a directive of one to three integers was expected, as '0,2'; "
                f"got {text!r}."
            ) from None
        axis, ndmin, start = self._defaults
        return tuple((numbers + [axis, ndmin, start][len(numbers) :])[:3])  # type: ignore

    @staticmethod
    def _raise_rank(x: Any, ndmin: int, start: int) -> Any:
        """x with extents of 1 up to rank ndmin; its own dimensions begin at `start`."""
        extra = ndmin - x.ndim
        if extra <= 0:
            return x
        before = extra if start == -1 else min(start % ndmin, extra)
        return reshape(x, (1,) * before + x.shape + (1,) * (extra - before))

    def __repr__(self) -> str:
        return f"nr.numpy.{self._name}"


r_ = _Concatenator("r_", 0, 1, -1)
c_ = _Concatenator("c_", -1, 2, 0)
