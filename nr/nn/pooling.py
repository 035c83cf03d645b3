"""Pooling: maxima, means and norms of windows over space, channels last.

Windows of fixed extents are reductions over windows; those of adaptive pooling, whose extents
differ by one, are gathered first, so that all have one extent.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import nr.numpy as jnp
from nr import lax
from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.lax.rules import operand, operand_of
from nr.lax.window import reduce_window
from nr.nn.patches import unfold
from nr.nn.spatial import (
    IntOrInts,
    Ints,
    PaddingLike,
    Pairs,
    each,
    explicit,
    extents,
    padding_of,
    space_of,
    spread,
)
from nr.numpy.manipulation import take_static
from nr.numpy.promotion import promote_inexact

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "global_avg_pool",
    "global_max_pool",
    "lp_pool",
    "max_pool",
    "max_pool_with_indices",
    "max_unpool",
    "min_pool",
]


# ---------------------------------------------------------------- windows
class _Windows(NamedTuple):
    """Where windows lie in space.

    Attributes:
        window, stride, dilation: extents and distances, for each spatial dimension.
        pads: of space, with what ceil_mode adds at the end.
        elements: for each dimension how many elements of x there are in each window.
        places: the same, with padding, but without what ceil_mode added.
    """

    window: Ints
    stride: Ints
    dilation: Ints
    pads: Pairs
    elements: tuple[np.ndarray, ...]
    places: tuple[np.ndarray, ...]

    def reduce(self, x: Array, init: Any, computation: Callable) -> Array:
        """The reduction of each window; padded places don't count."""
        lead = x.ndim - len(self.window) - 1
        ones = (1,) * lead
        return reduce_window(
            x,
            init,
            computation,
            (*ones, *self.window, 1),
            (*ones, *self.stride, 1),
            ((0, 0),) * lead + self.pads + ((0, 0),),
            None,
            (*ones, *self.dilation, 1),
        )

    def tiles(self, x: Array) -> bool:
        """Whether each element of x is in one window."""
        size = [len(c) * k for c, k in zip(self.elements, self.window, strict=True)]
        return (
            self.stride == self.window
            and all([n == 1 for n in self.dilation])
            and all([p == (0, 0) for p in self.pads])
            and x.shape[-1 - len(size) : -1] == tuple(size)
        )


def _windows(
    op: str, x: Array, window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> _Windows:
    extent = extents(op, "window", window)
    rank = len(extent)
    space_of(op, x, rank)
    return _lie(
        op,
        x.aval,
        extent,
        extent if stride is None else each(op, "stride", stride, rank),
        padding_of(op, padding, rank),
        each(op, "dilation", dilation, rank),
        ceil_mode,
    )


@functools.lru_cache(maxsize=1024)
def _lie(
    op: str,
    x: ShapedArray,
    window: Ints,
    stride: Ints,
    padding: str | Pairs,
    dilation: Ints,
    ceil_mode: bool,
) -> _Windows:
    space = x.shape[-1 - len(window) : -1]
    reach = spread(window, dilation)
    pads, elements, places = [], [], []
    given = explicit(padding, space, reach, stride)
    for n, k, s, d, r, (lo, hi) in zip(space, window, stride, dilation, reach, given, strict=True):
        # ceil_mode lets a last window stand out at the end, if it begins before the end of x.
        count = (n + lo + hi - r + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= n + lo:
            count -= 1
        starts = np.arange(max(count, 0))[:, None] * s - lo
        taps = starts + np.arange(k) * d
        inside = ((taps >= 0) & (taps < n)).sum(1)
        if not inside.size or not inside.min():
            raise TypeError(
                f"{op}: space with an element for each window was required; got {x} for "
                f'"x", window {window}, dilation {dilation} and padding {given}. Take a smaller '
                f"window, or pad less than its extent."
            )
        elements.append(inside)
        places.append(((taps >= -lo) & (taps < n + hi)).sum(1))
        pads.append((lo, max(hi, (count - 1) * s + r - lo - n)))
    return _Windows(window, stride, dilation, tuple(pads), tuple(elements), tuple(places))


def _over(total: Array, counts: Sequence[np.ndarray]) -> Array:
    """Sums over the number of what was summed, the product of the counts of each dimension."""
    if all([(c == c[0]).all() for c in counts]):
        return total / math.prod([int(c[0]) for c in counts])
    product = functools.reduce(np.multiply.outer, counts)
    return total / product[..., None].astype(total.dtype)


# ---------------------------------------------------------------- maxima and minima
def max_pool(
    x: Any,
    window: Sequence[int],
    *,
    stride: IntOrInts | None = None,
    padding: PaddingLike = "VALID",
    dilation: IntOrInts = 1,
    ceil_mode: bool = False,
) -> Array:
    """The maximum of each window. Its gradient goes to the first of equal maxima.

    Args:
        x: [..., *space, C], of real numbers.
        window: extents, one a spatial dimension; their number is the rank.
        stride: distance of windows, an int or one for each dimension; by default the window.
        padding: "VALID" (none), "SAME", "SAME_LOWER", an int for all sides, or ints or
            (low, high) pairs for each dimension. Padded places don't count.
        dilation: distance of a window's elements, an int or one for each dimension.
        ceil_mode: whether a last window that is not whole counts, if it begins in x or in the
            padding before it.

    Returns:
        [..., *windows, C], of x's dtype.

    Raises:
        TypeError: x has too few dimensions, or a window has no element of x.
        ValueError: for an int as window, and for options that don't fit.

    Example:
        >>> import nr
        >>> x = nr.numpy.arange(16.0).reshape(4, 4, 1)
        >>> nr.nn.max_pool(x, (2, 2))[..., 0]
        Array([[ 5.,  7.],
               [13., 15.]], dtype=float32)
    """
    x = operand_of("max_pool", x, dtypes.REAL)
    lie = _windows("max_pool", x, window, stride, padding, dilation, ceil_mode)
    return lie.reduce(x, _least(x.dtype), lax.max)


def min_pool(
    x: Any,
    window: Sequence[int],
    *,
    stride: IntOrInts | None = None,
    padding: PaddingLike = "VALID",
    dilation: IntOrInts = 1,
    ceil_mode: bool = False,
) -> Array:
    """The minimum of each window; arguments are those of `max_pool`.

    Example:
        >>> import nr
        >>> nr.nn.min_pool(nr.numpy.array([[3.0], [1.0], [2.0], [4.0]]), (2,))[:, 0]
        Array([1., 2.], dtype=float32)
    """
    x = operand_of("min_pool", x, dtypes.REAL)
    lie = _windows("min_pool", x, window, stride, padding, dilation, ceil_mode)
    most = dtypes.iinfo(x.dtype).max if x.dtype in dtypes.INTEGER else np.inf
    return lie.reduce(x, most, lax.min)


def _least(dtype: np.dtype) -> Any:
    return dtypes.iinfo(dtype).min if dtype in dtypes.INTEGER else -np.inf


# ---------------------------------------------------------------- means and norms
def avg_pool(
    x: Any,
    window: Sequence[int],
    *,
    stride: IntOrInts | None = None,
    padding: PaddingLike = "VALID",
    dilation: IntOrInts = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window.

    Args:
        x: [..., *space, C]; integers are made floating.
        window, stride, padding, dilation, ceil_mode: as for `max_pool`.
        count_include_pad: whether padded places count, as zeros. Those that ceil_mode adds don't.

    Returns:
        [..., *windows, C].

    Raises:
        TypeError: x has too few dimensions, or a window has no element of x.
        ValueError: for an int as window, and for options that don't fit.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[1.0], [2.0], [3.0]])
        >>> nr.nn.avg_pool(x, (2,), stride=1, padding="SAME", count_include_pad=False)[:, 0]
        Array([1.5, 2.5, 3. ], dtype=float32)
    """
    (x,) = promote_inexact("avg_pool", x)
    lie = _windows("avg_pool", x, window, stride, padding, dilation, ceil_mode)
    counts = lie.places if count_include_pad else lie.elements
    if lie.tiles(x):  # whose gradient is a copy
        return _over(_block_sums(x, tuple([len(c) for c in counts])), counts)
    return _over(lie.reduce(x, 0, lax.add), counts)


def lp_pool(
    x: Any,
    window: Sequence[int],
    p: float,
    *,
    stride: IntOrInts | None = None,
    padding: PaddingLike = "VALID",
    dilation: IntOrInts = 1,
    ceil_mode: bool = False,
) -> Array:
    """The p-norm of each window, ``sum(|x| ** p) ** (1 / p)``.

    PyTorch's is the same for even p; for others it lacks the absolute value. Where the norm is 0
    the gradient is 0.

    Args:
        x: [..., *space, C]; integers are made floating.
        window: as for `max_pool`.
        p: positive; infinity gives maxima.
        stride, padding, dilation, ceil_mode: as for `max_pool`.

    Raises:
        TypeError: x has too few dimensions, or a window has no element of x.
        ValueError: for an int as window, and for options that don't fit.

    Example:
        >>> import nr
        >>> nr.nn.lp_pool(nr.numpy.array([[3.0], [-4.0]]), (2,), 2)[:, 0]
        Array([5.], dtype=float32)
    """
    op = "lp_pool"
    (x,) = promote_inexact(op, x)
    if not p > 0:
        raise ValueError(f'{op}: a positive number was required; got {p!r} for "p".')
    lie = _windows(op, x, window, stride, padding, dilation, ceil_mode)
    if p == math.inf:
        return lie.reduce(jnp.abs(x), -np.inf, lax.max)
    total = lie.reduce(x * x if p == 2 else jnp.abs(x) ** p, 0, lax.add)
    zero = total == 0
    above = jnp.where(zero, 1, total)  # roots have no derivative at 0
    return jnp.where(zero, 0, jnp.sqrt(above) if p == 2 else above ** (1 / p))


# ---------------------------------------------------------------- adaptive
def adaptive_avg_pool(x: Any, output_size: Sequence[int | None]) -> Array:
    """Means of as many windows as asked for, which cover space and overlap where they must.

    Window i of m over n elements is ``floor(i * n / m) .. ceil((i + 1) * n / m)``.

    Args:
        x: [..., *space, C]; integers are made floating.
        output_size: how many windows in each spatial dimension, None for as many as elements.

    Returns:
        [..., *output_size, C].

    Raises:
        TypeError: x has too few dimensions, or its space is empty.
        ValueError: for an int as output_size, which leaves the rank open.

    Example:
        >>> import nr
        >>> x = nr.numpy.arange(7.0).reshape(7, 1)
        >>> nr.nn.adaptive_avg_pool(x, (3,))[:, 0]
        Array([1., 3., 5.], dtype=float32)
    """
    op = "adaptive_avg_pool"
    (x,) = promote_inexact(op, x)
    sizes = _output_size(op, x, output_size)
    counts = []
    for axis, m in enumerate(sizes, x.ndim - 1 - len(sizes)):
        n = x.shape[axis]
        places, inside = _adaptive(n, m)
        if n % m:
            x = take_static(x, places.reshape(-1), axis)
            if not inside.all():
                mask = inside.reshape(-1, *[1] * (x.ndim - axis - 1))
                x = jnp.where(mask, x, 0)
        counts.append(inside.sum(1))
    return _over(_block_sums(x, sizes), counts)


def adaptive_max_pool(x: Any, output_size: Sequence[int | None]) -> Array:
    """Maxima of as many windows as asked for; the windows are those of `adaptive_avg_pool`.

    Args:
        x: [..., *space, C], of real numbers.
        output_size: how many windows in each spatial dimension, None for as many as elements.

    Returns:
        [..., *output_size, C], of x's dtype.

    Raises:
        TypeError: x has too few dimensions, or its space is empty.
        ValueError: for an int as output_size, which leaves the rank open.

    Example:
        >>> import nr
        >>> x = nr.numpy.arange(7.0).reshape(7, 1)
        >>> nr.nn.adaptive_max_pool(x, (3,))[:, 0]
        Array([2., 4., 6.], dtype=float32)
    """
    op = "adaptive_max_pool"
    x = operand_of(op, x, dtypes.REAL)
    sizes = _output_size(op, x, output_size)
    for axis, m in enumerate(sizes, x.ndim - 1 - len(sizes)):
        if x.shape[axis] % m:  # windows that lack an element have their last one twice
            x = take_static(x, _adaptive(x.shape[axis], m)[0].reshape(-1), axis)
    space = x.shape[-1 - len(sizes) : -1]
    return max_pool(x, [n // m for n, m in zip(space, sizes, strict=True)])


def _output_size(op: str, x: Array, given: Any) -> Ints:
    if isinstance(given, Sequence):
        space = space_of(op, x, len(given))
        given = [n if m is None else m for n, m in zip(space, given, strict=True)]
        if 0 in space:
            raise TypeError(f'{op}: space that is not empty was required; got {x.aval} for "x".')
    return extents(op, "output_size", given)


@functools.lru_cache(maxsize=1024)
def _adaptive(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The elements of m windows over n elements: [m, longest], and which are in the window."""
    window = np.arange(m)
    start, stop = window * n // m, -(-(window + 1) * n // m)
    places = start[:, None] + np.arange((stop - start).max())
    inside = places < stop[:, None]
    return np.minimum(places, stop[:, None] - 1), inside


def _block_sums(x: Array, sizes: Ints) -> Array:
    """Sums of blocks of equal extents, so many in each spatial dimension."""
    first = x.ndim - 1 - len(sizes)
    space = x.shape[first:-1]
    split = [part for n, m in zip(space, sizes, strict=True) for part in (m, n // m)]
    blocks = x.reshape(*x.shape[:first], *split, x.shape[-1])
    return blocks.sum(tuple(range(first + 1, first + 2 * len(sizes), 2)))


# ---------------------------------------------------------------- global
def global_avg_pool(x: Any, *, rank: int, keepdims: bool = False) -> Array:
    """The mean over space.

    Args:
        x: [..., *space, C]; integers are made floating.
        rank: the number of spatial dimensions, 2 for images.
        keepdims: whether they stay, with extent 1.

    Returns:
        [..., C].

    Raises:
        TypeError: x has too few dimensions.
        ValueError: rank is not a positive integer.

    Example:
        >>> import nr
        >>> nr.nn.global_avg_pool(nr.numpy.ones((8, 7, 7, 512)), rank=2).shape
        (8, 512)
    """
    (x,) = promote_inexact("global_avg_pool", x)
    return jnp.mean(x, _space_axes("global_avg_pool", x, rank), keepdims=keepdims)


def global_max_pool(x: Any, *, rank: int, keepdims: bool = False) -> Array:
    """The maximum over space. Equal maxima share its gradient, as for `nr.numpy.max`.

    Args:
        x: [..., *space, C], of real numbers.
        rank: the number of spatial dimensions, 2 for images.
        keepdims: whether they stay, with extent 1.

    Returns:
        [..., C], of x's dtype.

    Raises:
        TypeError: x has too few dimensions.
        ValueError: rank is not a positive integer.

    Example:
        >>> import nr
        >>> nr.nn.global_max_pool(nr.numpy.array([[1.0, 5.0], [4.0, 2.0]]), rank=1)
        Array([4., 5.], dtype=float32)
    """
    x = operand_of("global_max_pool", x, dtypes.REAL)
    return jnp.max(x, _space_axes("global_max_pool", x, rank), keepdims=keepdims)


def _space_axes(op: str, x: Array, rank: Any) -> Ints:
    if type(rank) is not int or rank < 1:
        raise ValueError(
            f"{op}: the number of spatial dimensions was required (2 for images); got {rank!r} "
            f'for "rank".'
        )
    space_of(op, x, rank)
    return tuple(range(-1 - rank, -1))


# ---------------------------------------------------------------- maxima with their places
def max_pool_with_indices(
    x: Any,
    window: Sequence[int],
    *,
    stride: IntOrInts | None = None,
    padding: PaddingLike = "VALID",
    dilation: IntOrInts = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    """`max_pool`, and where in space the maxima are.

    Returns:
        The maxima, and int32 indices of the same shape into x's space as one dimension (the first
        of equal maxima; a NaN is one).

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[3.0], [1.0], [2.0], [4.0]])
        >>> nr.nn.max_pool_with_indices(x, (2,))[1][:, 0]
        Array([0, 3], dtype=int32)
    """
    op = "max_pool_with_indices"
    x = operand_of(op, x, dtypes.REAL)
    lie = _windows(op, x, window, stride, padding, dilation, ceil_mode)
    rank = len(lie.window)
    best = lie.reduce(x, _least(x.dtype), lax.max)
    # The place of the maximum in its window, from which follows that in space.
    least = jnp.full((), _least(x.dtype), x.dtype)
    config = [*[(0, 0, 0)] * (x.ndim - rank - 1), *[(*p, 0) for p in lie.pads], (0, 0, 0)]
    padded = lax.pad(lax.stop_gradient(x), least, config)
    taps = unfold(padded, lie.window, stride=lie.stride, dilation=lie.dilation)
    taps = taps.reshape(*best.shape[:-1], math.prod(lie.window), x.shape[-1])
    rest = jnp.argmax(taps, -2).astype(np.int32)
    index, scale = jnp.zeros_like(rest), 1
    for d in reversed(range(rank)):
        n, (lo, _), k = x.shape[d - rank - 1], lie.pads[d], lie.window[d]
        starts = np.arange(best.shape[d - rank - 1], dtype=np.int32) * lie.stride[d] - lo
        place = starts.reshape(-1, *[1] * (rank - d)) + rest % k * lie.dilation[d]
        # In a window of nothing but -inf the first place may be a padded one.
        index = index + jnp.clip(place, 0, n - 1) * scale
        rest, scale = rest // k, scale * n
    return best, index


def max_unpool(y: Any, indices: Any, output_size: Sequence[int]) -> Array:
    """Zeros, but for maxima at the places that they were at.

    Args:
        y: [..., *windows, C].
        indices: of y's shape, as `max_pool_with_indices` gives them; others are left out.
        output_size: the extents of space.

    Returns:
        [..., *output_size, C].

    Raises:
        TypeError: indices are not integers of y's shape.
        ValueError: for an int as output_size, which leaves the rank open.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[3.0], [1.0], [2.0], [4.0]])
        >>> nr.nn.max_unpool(*nr.nn.max_pool_with_indices(x, (2,)), (4,))[:, 0]
        Array([3., 0., 0., 4.], dtype=float32)
    """
    op = "max_unpool"
    y, indices = operand(op, y), operand(op, indices)
    sizes = extents(op, "output_size", output_size)
    windows = space_of(op, y, len(sizes))
    if indices.shape != y.shape or indices.dtype not in dtypes.INTEGER:
        raise TypeError(
            f'{op}: integers of the shape of "y" were required; got {indices.aval} for "indices" '
            f'and {y.aval} for "y". Take both from nr.nn.max_pool_with_indices.'
        )
    lead = y.shape[: -1 - len(sizes)]
    flat = (math.prod(lead), math.prod(windows), y.shape[-1])
    zeros = jnp.zeros((flat[0], math.prod(sizes), flat[2]), y.dtype)
    batch, channel = np.arange(flat[0])[:, None, None], np.arange(flat[2])
    out = zeros.at[batch, indices.reshape(flat), channel].set(y.reshape(flat), mode="drop")
    return out.reshape(*lead, *sizes, flat[2])
