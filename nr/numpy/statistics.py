"""Statistics beyond sums and means: averages, quantiles, covariances, counts and histograms."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.core.errors import ConcretizationTypeError
from nr.core.tracing import PYTHON_SCALARS, Tracer
from nr.lax.convert import convert_element_type
from nr.lax.cumulative import cumsum
from nr.lax.elementwise import add, ceil, conj, eq, floor, imag, mul, ne, real, sqrt, sub
from nr.lax.elementwise import complex as lax_complex
from nr.lax.gather import gather_along
from nr.lax.indexing import ScatterDimensionNumbers
from nr.lax.rules import canonical_axes, const_like, move_dim, operand
from nr.lax.scatter import scatter_add
from nr.lax.select import select
from nr.lax.shape import (
    broadcast_in_dim,
    concatenate,
    expand_dims,
    full,
    index_in_dim,
    reshape,
    slice_in_dim,
    transpose,
)
from nr.lax.sort import sort as lax_sort
from nr.numpy import reductions
from nr.numpy.grids import linspace
from nr.numpy.promotion import promote, promote_inexact, scalar_array
from nr.numpy.selection import clip, where
from nr.numpy.sorting import flat, search

__all__ = [
    "average",
    "bincount",
    "corrcoef",
    "cov",
    "histogram",
    "histogram2d",
    "histogram_bin_edges",
    "histogramdd",
    "median",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "percentile",
    "quantile",
]


# ---------------------------------------------------------------- average
def average(
    a: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    keepdims: bool = False,
) -> Any:
    """The weighted mean over axes.

    Args:
        a: an array.
        axis: the axes; None means all.
        weights: of the shape of a, or a vector along one axis; None weighs all alike.
        returned: also return the sum of weights.
        keepdims: keep the axes, with extent 1.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.average(jnp.array([1., 2.]), weights=jnp.array([3., 1.]))
        Array(1.25, dtype=float32)
    """
    if weights is None:
        (x,) = promote_inexact("average", a)
        mean = reductions.mean(x, axis, keepdims=keepdims)
        if not returned:
            return mean
        return mean, full(mean.shape, x.size / max(mean.size, 1), mean.dtype)
    x, w = promote_inexact("average", a, weights)
    w = _weights_of_elements("average", x, w, axis)
    total = reductions.sum(w, axis, keepdims=keepdims)
    mean = reductions.sum(mul(x, w), axis, keepdims=keepdims) / total
    return (mean, total) if returned else mean


def _weights_of_elements(op: str, x: Array, w: Array, axis: Any) -> Array:
    """Weights in the shape of x, where they may be given for its axes only."""
    if w.shape == x.shape:
        return w
    axes = canonical_axes(op, axis, x.ndim)
    if axis is None or w.shape != tuple([x.shape[d] for d in axes]):
        raise ValueError(
            f"{op}: weights must have the shape of the array, or of its axes; got {w.aval} "
            f"for {x.aval} and axis={axis}."
        )
    order = sorted(range(len(axes)), key=axes.__getitem__)
    return broadcast_in_dim(transpose(w, tuple(order)), x.shape, tuple(sorted(axes)))


# ---------------------------------------------------------------- quantiles
_METHODS = ("linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf")


def _quantile(
    op: str,
    a: Any,
    q: Any,
    axis: Any,
    method: str,
    keepdims: bool,
    ignore_nan: bool,
    weights: Any,
    per: int = 1,
) -> Array:
    """Quantiles q / per over axes; those of q come first in the result."""
    if method not in _METHODS:
        raise ValueError(f"{op}: method must be one of {', '.join(_METHODS)}; got {method!r}.")
    if weights is not None and method != "inverted_cdf":
        raise NotImplementedError(
            f'{op}: with weights, method must be "inverted_cdf"; got {method!r}.'
        )
    x, *w = promote_inexact(op, a, *([] if weights is None else [weights]))
    if x.dtype in dtypes.COMPLEX:
        raise ValueError(f"{op}: real numbers were expected; got {x.aval}.")
    axes = canonical_axes(op, axis, x.ndim)
    kept = [d for d in range(x.ndim) if d not in axes]
    shape = tuple([x.shape[d] for d in kept])
    n = math.prod([x.shape[d] for d in axes])
    w = [_weights_of_elements(op, x, weight, axis) for weight in w]
    lines = [reshape(transpose(y, (*kept, *axes)), (*shape, n)) for y in (x, *w)]
    x, *w = lax_sort(tuple(lines), len(shape), num_keys=1)
    q = _fraction(op, q, x.dtype, per)
    result_shape = q.shape + shape
    if n:
        if w:
            result = _at_weights(x, w[0], flat(q), ignore_nan)
        else:
            result = _at_fractions(x, flat(q), method, ignore_nan)
        result = reshape(move_dim(result, len(shape), 0), result_shape)
    else:
        result = full(result_shape, float("nan"), x.dtype)
    return expand_dims(result, [q.ndim + d for d in axes]) if keepdims else result


def _fraction(op: str, q: Any, dtype: np.dtype, per: int) -> Array:
    """q / per in a dtype that can tell positions apart."""
    if type(q) in PYTHON_SCALARS:
        wide = dtypes.promote_types(dtype, "float32")
        return scalar_array(q / per, wide)
    (q,) = promote_inexact(op, q)
    q = convert_element_type(q, dtypes.promote_types(dtypes.promote_types(q.dtype, dtype), "f4"))
    return q if per == 1 else q / per


def _at_fractions(x: Array, q: Array, method: str, ignore_nan: bool) -> Array:
    """Quantiles ``[..., len(q)]`` of the sorted lines of ``[..., n]``."""
    lead, n = x.shape[:-1], x.shape[-1]
    shape = (*lead, q.shape[0])
    axis = len(lead)
    q = broadcast_in_dim(q, shape, (axis,))
    valid = eq(x, x)
    if ignore_nan:
        count = reductions.sum(convert_element_type(valid, q.dtype), -1)
        count = broadcast_in_dim(count, shape, tuple(range(axis)))
    else:
        count = full(shape, n, q.dtype)
    last = sub(count, const_like(count, 1))
    if method == "inverted_cdf":
        position = sub(ceil(mul(q, count)), const_like(q, 1))
    else:
        position = mul(q, last)
    position = clip(position, 0, where(last < 0, 0, last))
    low, high = floor(position), ceil(position)
    below = gather_along(x, convert_element_type(low, config.default_int), axis)
    above = gather_along(x, convert_element_type(high, config.default_int), axis)
    result = _between(below, above, sub(position, low), method)
    missing = ne(below, below) if ignore_nan else _has_nan(valid, shape)
    return select(missing, full(shape, float("nan"), x.dtype), result)


def _at_weights(x: Array, w: Array, q: Array, ignore_nan: bool) -> Array:
    """Quantiles of sorted lines: where the weights up to an element reach the fraction of all."""
    lead, n = x.shape[:-1], x.shape[-1]
    axis = len(lead)
    shape = (*lead, q.shape[0])
    rows = tuple(range(axis))
    valid = eq(x, x)
    usable = w >= 0  # negative weights and NaNs are not
    reached = cumsum(where(valid & usable, w, const_like(w, 0)), axis)
    total = convert_element_type(index_in_dim(reached, n - 1, axis, keepdims=False), q.dtype)
    target = mul(broadcast_in_dim(q, shape, (axis,)), broadcast_in_dim(total, shape, rows))
    below = convert_element_type(reached, q.dtype)[..., None, :] < target[..., None]
    count = reductions.sum(valid, -1)
    last = broadcast_in_dim(count - 1, shape, rows)
    result = gather_along(x, clip(reductions.sum(below, -1), 0, where(last < 0, 0, last)), axis)
    proper = reductions.all(usable, -1) & ((count > 0) if ignore_nan else reductions.all(valid, -1))
    nan = full(shape, float("nan"), x.dtype)
    return select(broadcast_in_dim(proper, shape, rows), result, nan)


def _has_nan(valid: Array, shape: tuple[int, ...]) -> Array:
    every = reductions.all(valid, -1)
    return broadcast_in_dim(eq(every, const_like(every, False)), shape, tuple(range(every.ndim)))


def _between(below: Array, above: Array, weight: Array, method: str) -> Array:
    if method in ("lower", "inverted_cdf"):
        return below
    if method == "higher":
        return above
    if method == "nearest":
        return select(weight <= 0.5, below, above)
    if method == "midpoint":
        half = const_like(below, 0.5)
        return add(mul(below, half), mul(above, half))
    exact = eq(weight, const_like(weight, 0))  # keeps an infinite neighbour out
    dtype = weight.dtype
    wide_below, wide_above = convert_element_type(below, dtype), convert_element_type(above, dtype)
    mixed = mul(wide_below, sub(const_like(weight, 1), weight)) + mul(wide_above, weight)
    return select(exact, below, convert_element_type(mixed, below.dtype))


def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Array:
    """The numbers below which given fractions of the elements lie; NaN where there is one.

    Args:
        a: an array of real numbers.
        q: fractions from 0 to 1, a number or an array.
        axis: the axes; None means all.
        out: must be None.
        overwrite_input: accepted for NumPy's sake.
        method: what is taken of the two elements around a quantile: "linear", "lower", "higher",
            "midpoint", "nearest"; or "inverted_cdf" (Hyndman and Fan, 1996).
        keepdims: keep the axes, with extent 1.
        weights: how much each element counts, for "inverted_cdf" only: an array of the shape of a,
            or of its axes.

    Returns:
        An array with the dimensions of q, then those of a that are left.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.quantile(jnp.array([1., 2., 4.]), jnp.array([0.25, 0.5]))
        Array([1.5, 2. ], dtype=float32)
    """
    _no_out("quantile", out)
    return _quantile("quantile", a, q, axis, method, keepdims, False, weights)


def nanquantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Array:
    """`quantile` of the elements that are not NaN."""
    _no_out("nanquantile", out)
    return _quantile("nanquantile", a, q, axis, method, keepdims, True, weights)


def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Array:
    """`quantile` of fractions in hundredths.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.percentile(jnp.array([1., 2., 4.]), 75)
        Array(3., dtype=float32)
    """
    _no_out("percentile", out)
    return _quantile("percentile", a, q, axis, method, keepdims, False, weights, 100)


def nanpercentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Array:
    """`percentile` of the elements that are not NaN."""
    _no_out("nanpercentile", out)
    return _quantile("nanpercentile", a, q, axis, method, keepdims, True, weights, 100)


def median(
    a: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Array:
    """The middle element, or the mean of the two in the middle; NaN where there is one.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.median(jnp.array([1., 2., 4., 8.]))
        Array(3., dtype=float32)
    """
    _no_out("median", out)
    return _quantile("median", a, 0.5, axis, "midpoint", keepdims, False, None)


def nanmedian(
    a: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Array:
    """`median` of the elements that are not NaN."""
    _no_out("nanmedian", out)
    return _quantile("nanmedian", a, 0.5, axis, "midpoint", keepdims, True, None)


def _no_out(op: str, out: None) -> None:
    if out is not None:
        raise NotImplementedError(f"{op}: out must be None; arrays are immutable.")


# ---------------------------------------------------------------- covariance
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    dtype: Any = None,
) -> Array:
    """The covariance matrix of variables.

    Args:
        m: a vector of observations of one variable, or a matrix with a variable a row.
        y: more variables.
        rowvar: whether a row is a variable, rather than a column.
        bias: divide by the number of observations, rather than by one less.
        ddof: divide by the number of observations less this.
        fweights: how often each observation counts, integers.
        aweights: how much each observation counts.
        dtype: of the result.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.cov(jnp.array([[0., 1., 2.], [2., 1., 0.]]))
        Array([[ 1., -1.],
               [-1.,  1.]], dtype=float32)
    """
    xs = promote_inexact("cov", *([m] if y is None else [m, y]))
    if dtype is not None:
        xs = [convert_element_type(x, dtypes.canonicalize(dtype)) for x in xs]
    rows = [_variables(x, rowvar) for x in xs]
    if len({x.shape[1] for x in rows}) > 1:
        got = " and ".join(str(x.aval) for x in xs)
        raise ValueError(f"cov: variables must have as many observations; got {got}.")
    x = concatenate(rows, 0) if len(rows) > 1 else rows[0]
    if ddof is None:
        ddof = 0 if bias else 1
    weights = _observation_weights(x, fweights, aweights)
    if weights is None:
        mean, total = reductions.mean(x, 1, keepdims=True), const_like(x, x.shape[1])
        centred = x - mean
        divisor: Any = total - ddof
        weighted = centred
    else:
        total = reductions.sum(weights)
        centred = x - (x @ weights / total)[:, None]
        weighted = centred * weights
        divisor = total - ddof
        if aweights is not None and ddof:
            squares = weights * operand("cov", aweights)
            divisor = total - ddof * reductions.sum(squares) / total
    partner = conj(weighted) if x.dtype in dtypes.COMPLEX else weighted
    result = centred @ transpose(partner, (1, 0)) / divisor
    return reshape(result, ()) if result.shape == (1, 1) else result


def _variables(x: Array, rowvar: bool) -> Array:
    if x.ndim > 2:
        raise ValueError(f"cov: vectors or matrices were expected; got {x.aval}.")
    if x.ndim < 2:
        return reshape(x, (1, x.size))
    return x if rowvar or x.shape[0] == 1 else transpose(x, (1, 0))


def _observation_weights(x: Array, fweights: Any, aweights: Any) -> Array | None:
    result = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        w = operand("cov", given)
        if w.shape != (x.shape[1],):
            raise ValueError(
                f"cov: {name} must be a vector with one weight an observation; got {w.aval} for "
                f"{x.shape[1]} observations."
            )
        w = convert_element_type(w, dtypes.to_real(x.dtype))
        result = w if result is None else result * w
    return result


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, dtype: Any = None) -> Array:
    """The correlation coefficients of variables; arguments as of `cov`."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    n = c.shape[0]
    deviation = sqrt(real_part(reshape(c, (n * n,))[:: n + 1]))
    c = c / deviation[:, None] / deviation[None, :]
    if c.dtype in dtypes.COMPLEX:
        return lax_complex(clip(real(c), -1, 1), clip(imag(c), -1, 1))
    return clip(c, -1, 1)


def real_part(x: Array) -> Array:
    """x, or its real part where it is complex."""
    return real(x) if x.dtype in dtypes.COMPLEX else x


# ---------------------------------------------------------------- counts
def _add_up(places: Array, values: Array, length: int) -> Array:
    """The sums of the values that fall on each of `length` places; others are dropped."""
    return scatter_add(
        full((length,), 0, values.dtype),
        expand_dims(places, (1,)),
        values,
        ScatterDimensionNumbers((), (0,), (0,)),
        mode="drop",
    )


def bincount(
    x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None
) -> Array:
    """How often each of 0, 1, 2, ... occurs, or the sum of weights where it does.

    Args:
        x: a vector of integers; negative ones count as 0.
        weights: a vector of the same length.
        minlength: the least length of the result.
        length: the length of the result, beyond which nothing is counted; needed where x is traced.

    Raises:
        ConcretizationTypeError: if x is traced and length is not given.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.bincount(jnp.array([0, 2, 2]))
        Array([1, 0, 2], dtype=int32)
    """
    x = operand("bincount", x)
    if x.ndim != 1 or x.dtype not in dtypes.INTEGER | dtypes.BOOL:
        raise TypeError(f"bincount: a vector of integers was expected; got {x.aval}.")
    if x.dtype == dtypes.bool_dt:
        x = convert_element_type(x, config.default_int)
    if length is None:
        length = max(int(minlength), _largest(x) + 1)
    if weights is None:
        values = full(x.shape, 1, config.default_int)
    else:
        values = operand("bincount", weights)
        if values.shape != x.shape:
            raise ValueError(
                f"bincount: weights must have the shape of x; got {values.aval} for {x.aval}."
            )
    return _add_up(clip(x, 0, None), values, int(length))


def _largest(x: Array) -> int:
    if not x.size:
        return -1
    known = x.concrete() if isinstance(x, Tracer) else x
    if known is None:
        raise ConcretizationTypeError(
            f"bincount: the length of the result depends on the numbers of a traced value; "
            f"{x.describe()}. Give it with length=..."  # type: ignore[attr-defined]
        )
    return max(int(np.asarray(known).max()), 0)


Bounds = Sequence[Any] | None


def histogram_bin_edges(
    a: Any,
    bins: Any = 10,
    range: Bounds = None,
    weights: Any = None,  # noqa: A002
) -> Array:
    """The edges of the bins of `histogram`.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.histogram_bin_edges(jnp.array([0., 4.]), bins=2)
        Array([0., 2., 4.], dtype=float32)
    """
    if isinstance(bins, str):
        raise NotImplementedError(
            f"histogram_bin_edges: bins must be a number or an array of edges; got {bins!r}."
        )
    (x,) = promote_inexact("histogram_bin_edges", a)
    if not isinstance(bins, (int, np.integer)):
        edges = operand("histogram_bin_edges", bins)
        if edges.ndim:
            return convert_element_type(edges, x.dtype)
        bins = int(edges)
    if range is not None:
        start, stop = (operand("histogram_bin_edges", end) for end in range)
    elif x.size:
        start, stop = reductions.min(x), reductions.max(x)
    else:
        start, stop = operand("histogram_bin_edges", 0.0), operand("histogram_bin_edges", 1.0)
    start, stop = (convert_element_type(end, x.dtype) for end in (start, stop))
    flat_range = eq(start, stop)
    start, stop = where(flat_range, start - 0.5, start), where(flat_range, stop + 0.5, stop)
    return linspace(start, stop, int(bins) + 1, dtype=x.dtype)


def histogram(
    a: Any,
    bins: Any = 10,
    range: Bounds = None,  # noqa: A002
    weights: Any = None,
    density: bool | None = None,
) -> tuple[Array, Array]:
    """How many elements, or what weight of them, lie between consecutive edges.

    Args:
        a: an array of real numbers.
        bins: the number of bins, or an array of their edges. The last bin holds its right edge.
        range: the outer edges; by default the smallest and the largest element.
        weights: an array of the shape of a.
        density: divide by the width of each bin and by the sum, so that the integral is 1.

    Returns:
        The counts, floating as in JAX, and the edges, one more.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.histogram(jnp.array([0., 1., 1., 4.]), bins=2)
        (Array([3., 1.], dtype=float32), Array([0., 2., 4.], dtype=float32))
    """
    (x,) = promote_inexact("histogram", a)
    if weights is None:
        w = full((x.size,), 1, x.dtype)
    else:
        x, w = promote_inexact("histogram", x, weights)
        if w.shape != x.shape:
            raise ValueError(
                f"histogram: weights must have the shape of a; got {w.aval} for {x.aval}."
            )
        w = flat(w)
    edges = histogram_bin_edges(x, bins, range)
    counts = _add_up(_bin_places(flat(x), edges), w, edges.shape[0] + 1)
    counts = slice_in_dim(counts, 1, edges.shape[0])
    if density:
        counts = counts / (edges[1:] - edges[:-1]) / reductions.sum(counts)
    return counts, edges


def _bin_places(x: Array, edges: Array) -> Array:
    """The bin of each element, counted from 1; 0 below the first, len(edges) above the last."""
    x, edges = promote("histogram", x, edges)
    places = search(edges, x, "right")
    top = eq(x, index_in_dim(edges, -1, keepdims=False))
    return select(top, full(places.shape, edges.shape[0] - 1, places.dtype), places)


def histogramdd(
    sample: Any,
    bins: Any = 10,
    range: Sequence[Bounds] | None = None,  # noqa: A002
    weights: Any = None,
    density: bool | None = None,
) -> tuple[Array, list[Array]]:
    """A histogram of points in several dimensions.

    Args:
        sample: points ``[n, d]``.
        bins: the number of bins, or a sequence with their number or edges for each dimension.
        range: the outer edges for each dimension.
        weights: a vector of n weights.
        density: make the integral 1.

    Returns:
        The counts, of rank d (integers without weights and density), and a list of edges.
    """
    (x,) = promote_inexact("histogramdd", sample)
    if x.ndim != 2:
        raise ValueError(f"histogramdd: points [n, d] were expected; got {x.aval}.")
    n, d = x.shape
    per_axis = list(bins) if isinstance(bins, (tuple, list)) else [bins] * d
    ranges = [None] * d if range is None else list(range)
    if len(per_axis) != d or len(ranges) != d:
        raise ValueError(
            f"histogramdd: bins and range must have an entry a dimension; got {len(per_axis)} and "
            f"{len(ranges)} for {x.aval}."
        )
    columns = [reshape(slice_in_dim(x, i, i + 1, axis=1), (n,)) for i in builtins.range(d)]
    edges = [histogram_bin_edges(column, b, r) for column, b, r in zip(columns, per_axis, ranges)]
    extents = [e.shape[0] + 1 for e in edges]
    place = full((n,), 0, config.default_int)
    for column, e, extent in zip(columns, edges, extents):
        place = place * extent + _bin_places(column, e)
    w = full((n,), 1, x.dtype if density else config.default_int)
    if weights is not None:
        x, w = promote_inexact("histogramdd", x, weights)
    counts = reshape(_add_up(place, w, math.prod(extents)), tuple(extents))
    for axis, extent in enumerate(extents):
        counts = slice_in_dim(counts, 1, extent - 1, axis=axis)
    if density:
        counts = counts / reductions.sum(counts)
        for axis, e in enumerate(edges):
            width = e[1:] - e[:-1]
            counts = counts / broadcast_in_dim(width, counts.shape, (axis,))
    return counts, edges


def histogram2d(
    x: Any,
    y: Any,
    bins: Any = 10,
    range: Sequence[Bounds] | None = None,  # noqa: A002
    weights: Any = None,
    density: bool | None = None,
) -> tuple[Array, Array, Array]:
    """A histogram of points with given coordinates x and y; arguments as of `histogramdd`.

    Returns:
        The counts ``[x bins, y bins]``, the edges along x, and those along y.
    """
    x, y = promote_inexact("histogram2d", x, y)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"histogram2d: two vectors of one length were expected; got {x.aval} and {y.aval}."
        )
    if isinstance(bins, (Array, np.ndarray)) and bins.ndim == 1:
        bins = [bins, bins]
    points = concatenate([expand_dims(x, (1,)), expand_dims(y, (1,))], 1)
    counts, (x_edges, y_edges) = histogramdd(points, bins, range, weights, density)
    return counts, x_edges, y_edges
