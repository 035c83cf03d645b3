"""Convolutions with windows of 3x3 by Winograd's minimal filtering: 4 multiplications for 9.

Images are cut into tiles of 4x4 that overlap by two. Tiles and windows are transformed, which takes
additions and halvings; the products of what has the same place in a tile, summed over features, are
16 matrix products; and their results are transformed to 2x2 pixels, or for gradients of weights to
windows. Sums are shorter than those of the definition, so that rounding errors are smaller.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015: F(2x2, 3x3), F(3x3, 2x2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nr.backends.compiler.panels import PANEL
from nr.core.jaxprs import Literal, Var

if TYPE_CHECKING:
    from nr.backends.compiler.convolution import Preparation

_SIDE = 4
_PLACES = _SIDE * _SIDE
# Transforms of tiles, of windows and of results along one dimension: rows of coefficients.
_TILES = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_WINDOWS = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_PIXELS = ((1, 1, 1, 0), (0, 1, -1, -1))
# The same where a gradient takes the place of the window, and the window that of the result.
_GRADIENTS = ((1, 0), (0.5, 0.5), (0.5, -0.5), (0, 1))
_WEIGHTS = ((1, 1, 1, 0), (0, 1, -1, 0), (0, 1, 1, -1))

# What is multiplied for a tile (for gradients of weights more, as their tiles leave the cache), and
# how many tiles there are, at least: else the transforms take longer than they save. They have four
# numbers for each of the image, and as much room is not always there.
_FEWEST_PRODUCTS = 1 << 11
_FEWEST_WEIGHTS = 1 << 14
_FEWEST_TILES = 32
_MOST_BYTES = 1 << 27
# Transformed windows of at most so many bytes stay in cache, and tiles go by in blocks of so many.
_NEAR = 1 << 20
_BLOCK = 16
# The rows of larger matrices are read in panels.
_MOST_NEAR = 1 << 17


def suits(params: dict[str, Any], lhs: Any, rhs: Any, out: Any) -> bool:
    """Whether a convolution is one that this does, and does faster than the definition."""
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    ones = [*params["window_strides"], *params["lhs_dilation"], *params["rhs_dilation"]]
    ones += [params["feature_group_count"], params["batch_group_count"]]
    if out.ndim != 4 or max(ones) > 1 or min(lhs.shape) == 0:
        return False
    pixels = [out.shape[d] for d in out_spec[2:]]
    window = [rhs.shape[d] for d in rhs_spec[2:]]
    results, features = out.shape[out_spec[1]], lhs.shape[lhs_spec[1]]
    if window == [3, 3]:
        images, sides, fewest = lhs.shape[lhs_spec[0]], pixels, _FEWEST_PRODUCTS
    elif pixels == [3, 3] and min(window) > 3:
        images, sides, fewest = features, window, _FEWEST_WEIGHTS
        features = lhs.shape[lhs_spec[0]]
    else:
        return False
    tiles = images * math.prod([-(-n // 2) for n in sides])
    nbytes = _PLACES * tiles * max(features, results) * lhs.dtype.itemsize
    return features * results >= fewest and tiles >= _FEWEST_TILES and nbytes <= _MOST_BYTES


def convolve(at: Preparation, lhs: Any, rhs: Any, params: dict[str, Any], out: Var) -> None:
    """Eqns for a convolution that `suits`."""
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    pixels = [out.aval.shape[d] for d in out_spec[2:]]
    low = [low for low, _ in params["padding"]]
    if [rhs.aval.shape[d] for d in rhs_spec[2:]] == [3, 3]:
        lhs = at.transpose(lhs, (lhs_spec[0], *lhs_spec[2:], lhs_spec[1]))
        rhs = at.transpose(rhs, (*rhs_spec[2:], rhs_spec[1], rhs_spec[0]))
        order = [out_spec[0], *out_spec[2:], out_spec[1]]
        value = _images(at, lhs, rhs, low, pixels)
    else:
        lhs = at.transpose(lhs, (lhs_spec[1], *lhs_spec[2:], lhs_spec[0]))
        rhs = at.transpose(rhs, (rhs_spec[1], *rhs_spec[2:], rhs_spec[0]))
        order = [*out_spec[2:], out_spec[0], out_spec[1]]
        value = _weights(at, lhs, rhs, low)
    permutation = tuple([order.index(d) for d in range(4)])
    if permutation == (0, 1, 2, 3):
        at.result("reshape", [value], out, new_sizes=out.aval.shape)
    else:
        at.result("transpose", [value], out, permutation=permutation)


def _images(at: Preparation, x: Any, w: Any, low: Sequence[int], pixels: Sequence[int]) -> Any:
    """Images of features, last, and windows of inputs and results: images of results."""
    n = x.aval.shape[0]
    c, k = w.aval.shape[2:]
    height, width = counts = [-(-p // 2) for p in pixels]
    itemsize = x.aval.dtype.itemsize
    near = _PLACES * c * k * itemsize <= _NEAR
    each = _block(n, height, width) if near else n * height * width
    blocks = n * height * width // each
    # Of windows, columns of panels are neighbours, so that tiles of the product read in order.
    wide = PANEL // itemsize
    columns = (k // wide, wide) if k % wide == 0 and c * k * itemsize > _MOST_NEAR else (k,)
    matrices = [at.reshape(one, (1, c, *columns)) for one in _both(at, _WINDOWS, _window(at, w))]
    if len(columns) == 2:
        matrices = [at.transpose(one, (0, 2, 1, 3)) for one in matrices]
    u = at.concatenate(matrices, 0)
    right = tuple(u.aval.shape[1:])
    shape = (blocks, _PLACES, *right)
    u = at.bind(
        "broadcast_in_dim", [u], u.aval.update(shape=shape), shape=shape,
        broadcast_dimensions=tuple(range(1, len(shape))),
    )  # fmt: skip
    # After the windows, so that a block's tiles, products and results are steps in a row.
    v = _stack(at, _tiles(at, x, low, counts), (blocks, 1, each, c), 1)
    contracted = 1 + len(columns)
    m = at.bind(
        "dot_general", [v, u], v.aval.update(shape=(blocks, _PLACES, each, *columns)),
        dimension_numbers=(((3,), (contracted,)), ((0, 1), (0, 1))), preferred_element_type=None,
        tiled=True,
    )  # fmt: skip
    parts = [
        at.reshape(at.slice(m, {1: (p, p + 1, 1)}), (n, height, width, k)) for p in range(_PLACES)
    ]
    y = _both(at, _PIXELS, [parts[_SIDE * p : _SIDE * (p + 1)] for p in range(_SIDE)])
    rows = [_stack(at, y[2 * r : 2 * r + 2], (n, height, width, 1, k), 3) for r in range(2)]
    rows = [at.reshape(r, (n, height, 1, width, 2, k)) for r in rows]
    whole = at.reshape(at.kept(at.concatenate(rows, 2)), (n, 2 * height, 2 * width, k))
    return at.slice(whole, {1: (0, pixels[0], 1), 2: (0, pixels[1], 1)})


def _weights(at: Preparation, x: Any, g: Any, low: Sequence[int]) -> Any:
    """Images and gradients of results, features last: gradients of windows."""
    n, *pixels, k = g.aval.shape
    c = x.aval.shape[3]
    counts = [-(-p // 2) for p in pixels]
    total = n * math.prod(counts)
    v = _stack(at, _tiles(at, x, low, counts), (1, total, c), 0)
    g = at.kept(at.pad(g, [(0, 0, 0), *[(0, p % 2, 0) for p in pixels], (0, 0, 0)]))
    parts = [[_every_other(at, g, (i, j), counts) for j in range(2)] for i in range(2)]
    d = _stack(at, _both(at, _GRADIENTS, parts), (1, total, k), 0)
    z = at.bind(
        "dot_general", [v, d], v.aval.update(shape=(_PLACES, c, k)),
        dimension_numbers=(((1,), (1,)), ((0,), (0,))), preferred_element_type=None,
    )  # fmt: skip
    parts = [at.reshape(at.slice(z, {0: (p, p + 1, 1)}), (c, k)) for p in range(_PLACES)]
    y = _both(at, _WEIGHTS, [parts[_SIDE * p : _SIDE * (p + 1)] for p in range(_SIDE)])
    return at.reshape(_stack(at, y, (1, c, k), 0), (3, 3, c, k))


def _block(n: int, height: int, width: int) -> int:
    """How many tiles go by together: whole rows of an image, whole images, or a part of a row."""
    rows = [g * width for g in range(1, height + 1) if height % g == 0]
    images = [g * height * width for g in range(1, n + 1) if n % g == 0]
    return min([b for b in (*rows, *images) if b >= _BLOCK], default=n * height * width)


def _tiles(at: Preparation, x: Any, low: Sequence[int], counts: Sequence[int]) -> list[Any]:
    """Tiles of images, transformed."""
    config = [
        (a, 2 * count + 2 - a - size, 0)
        for a, count, size in zip(low, counts, x.aval.shape[1:3], strict=True)
    ]
    x = at.kept(at.pad(x, [(0, 0, 0), *config, (0, 0, 0)]))
    parts = [[_every_other(at, x, (i, j), counts) for j in range(_SIDE)] for i in range(_SIDE)]
    return _both(at, _TILES, parts)


def _every_other(at: Preparation, x: Any, start: Sequence[int], counts: Sequence[int]) -> Any:
    """The pixels of images at one place of each tile."""
    places = zip((1, 2), start, counts, strict=True)
    return at.slice(x, {d: (first, first + 2 * n - 1, 2) for d, first, n in places})


def _window(at: Preparation, w: Any) -> list[list[Any]]:
    """The matrices of a window, row by row."""
    c, k = w.aval.shape[2:]
    return [
        [at.reshape(at.slice(w, {0: (i, i + 1, 1), 1: (j, j + 1, 1)}), (c, k)) for j in range(3)]
        for i in range(3)
    ]


def _both(
    at: Preparation, rows: Sequence[Sequence[float]], parts: Sequence[Sequence[Any]]
) -> list[Any]:
    """Transform a matrix of arrays along both dimensions."""
    columns = [_transformed(at, rows, column) for column in zip(*parts, strict=True)]
    return [y for row in zip(*columns, strict=True) for y in _transformed(at, rows, row)]


def _transformed(
    at: Preparation, rows: Sequence[Sequence[float]], parts: Sequence[Any]
) -> list[Any]:
    """Sums of arrays, with a row of coefficients each: 1, -1, or all of them halves."""
    results = []
    for row in rows:
        signs = [(a, x) for a, x in zip(row, parts, strict=True) if a]
        (_, total), *rest = sorted(signs, key=lambda sign: sign[0] < 0)
        for a, x in rest:
            total = at.bind("add" if a > 0 else "sub", [total, x], x.aval)
        if 0.5 in row:
            half = Literal(total.aval.dtype.type(0.5))
            total = at.bind("mul", [total, half], total.aval)
        results.append(total)
    return results


def _stack(at: Preparation, parts: Sequence[Any], shape: Sequence[int], d: int) -> Any:
    """Arrays, given a shape, one after the other along a dimension of it."""
    return at.concatenate([at.reshape(x, shape) for x in parts], d)
