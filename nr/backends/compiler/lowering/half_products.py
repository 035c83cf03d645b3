"""Matrix products and convolutions of half floats, for a processor with a matrix unit (amx.py).

A convolution is a product for each tap of its window, all of which are added up in the unit: rows
of the left operand are pixels of a line, or the same pixel of many images. The gradient of weights
is a product for each tap as well, along images and pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nr.backends.compiler.loops import Buffer
from nr.backends.compiler.lowering.amx import (
    DEPTH,
    SIDE,
    Left,
    Result,
    Window,
    multiply,
    pack,
)
from nr.backends.compiler.routine import Routine

# For fewer columns a left operand that lies badly is read as it is.
_FEWEST_COLUMNS = 256


def _reads_tiles(rows: int, k: int, strides: tuple[int, int], moves: Sequence[int]) -> bool:
    """Whether tiles of a left operand can be read where they lie, if it begins well."""
    row, along = strides
    whole = [n % DEPTH == 0 for n in (k, row, *moves)]
    return along == 1 and rows >= SIDE and all(whole)


def product(
    instruction: str, a: Buffer, a_offset: int, a_strides: tuple[int, int], b: Buffer,
    b_offset: int, b_strides: tuple[int, int], c: Buffer, c_row: int,
    sizes: tuple[int, int, int], batch: Sequence[tuple[int, int, int, int]],
) -> list[Routine]:  # fmt: skip
    """A batch of matrix products C = A B.

    Args:
        instruction: What the processor multiplies with.
        a: Where the left operand lies.
        a_offset: Where it begins there, in elements.
        a_strides: From row to row, and from column to column; one of them is 1.
        b: The right operand, `b_offset` and `b_strides` likewise.
        c: The result, whose rows are `c_row` elements apart.
        sizes: Rows, columns, and the contracted extent.
        batch: Extent and strides in a, b and c of up to three dimensions.
    """
    m, n, k = sizes
    steps: list[Routine] = []
    right = pack(
        b, b_offset, n, k, (b_strides[1], b_strides[0]), tuple([(e, s) for e, _, s, _ in batch]),
        left=False,
    )  # fmt: skip
    steps += right.steps
    moves = tuple([s for _, s, _, _ in batch])
    near = Left(a, a_offset, 0, a_strides[0], moves)
    direct = _reads_tiles(m, k, a_strides, moves)
    if not direct or n >= _FEWEST_COLUMNS:
        packed = pack(
            a, a_offset, m, k, a_strides, tuple([(e, s) for e, s, _, _ in batch]), left=True,
            unless_aligned=direct,
        )  # fmt: skip
        steps += packed.steps
        far = Left(packed.buffer, 0, 0, 0, packed.strides, packed.tiles)
    else:
        far = near
    result = Result(c, n, 1, m, 0, c_row, tuple([s for *_, s in batch]))
    step = multiply(
        instruction, near if direct else far, far, Window(right.tiles), right, result,
        tuple([e for e, _, _, _ in batch]),
    )  # fmt: skip
    return [*steps, step]


def convolution(
    instruction: str, x: Buffer, shape: Sequence[int], w: Buffer, window: Sequence[int],
    out: Buffer, results: Sequence[int], strides: tuple[int, int], spread: tuple[int, int], *,
    by_images: bool,
) -> list[Routine]:  # fmt: skip
    """A convolution of images of two dimensions, as a sum of products over the window.

    Args:
        instruction: What the processor multiplies with.
        x: The images, padded: so that no window leaves them, nor the rest of the tile that a short
            line is; of a multiple of 32 features, which are contiguous.
        shape: Of the images: number, height, width, features; with `by_images` the number comes
            after the width, and rows of tiles are images, not pixels.
        w: The weights, contiguous: height, width, features, results.
        window: Their shape.
        out: The results, contiguous.
        results: Their shape: number, height, width, features. Of images, or pixels of a line, there
            are as many as here; `x` may have more.
        strides: How far windows are apart.
        spread: How far pixels of a window are apart.
        by_images: See shape.
    """
    images, height, width, n = results
    taps_y, taps_x, features, _ = window
    right = pack(w, 0, n, taps_y * taps_x * features, (1, n), (), left=False)
    *_, d = shape
    if by_images:
        _, columns, room, _ = shape
        row, pixel = d, room * d
        left = Left(x, 0, strides[1] * pixel, row, (strides[0] * columns * pixel,))
        result = Result(out, n, width, images, n, height * width * n, (width * n,))
        batch = height
    else:
        _, _, columns, _ = shape
        batch, pixel = images, d
        moves = (math.prod(shape[1:]),)
        left = Left(x, 0, strides[0] * columns * d, strides[1] * d, moves)
        result = Result(out, n, height, width, width * n, n, (height * width * n,))
    run = d // DEPTH
    if spread[1] == 1 and not by_images:  # pixels of a line lie one after the other
        run, taps_x = run * taps_x, 1
    across, one = taps_x * run, SIDE * DEPTH
    taps = Window(
        run, (taps_y, spread[0] * columns * pixel, across * one),
        (taps_x, spread[1] * pixel, run * one),
    )  # fmt: skip
    right.strides = (0,)
    return [*right.steps, multiply(instruction, left, left, taps, right, result, (batch,))]


def weight_gradient(
    instruction: str, x: Buffer, shape: Sequence[int], y: Buffer, pixels: Sequence[int],
    out: Buffer, window: Sequence[int], strides: Sequence[int], spread: Sequence[int],
    slices: int, *, by_images: bool,
) -> list[Routine]:  # fmt: skip
    """Sums over images and pixels of products of features that are a window apart.

    Args:
        instruction: What the processor multiplies with.
        x: Images with their padding: number, height, width, features.
        shape: Their shape.
        y: What takes the place of weights: number, height, width, results.
        pixels: Its shape.
        out: Sums of parts of what is summed: slices, window, results, features.
        window: Height and width of the window.
        strides: How far apart the window's places are.
        spread: How far apart the pixels are that are summed.
        slices: A divisor of the number of images; with `by_images`, of the height of y.
        by_images: Whether tiles along k are images, not pixels of a line.
    """
    images, height, width, n = shape
    _, rows, columns, m = pixels
    x_moves = (height * width * n, width * n, n)
    y_moves = (rows * columns * m, columns * m, m)
    if by_images:
        lines = (rows, y_moves[1]), (columns, m)
        a = pack(y, 0, m, images, (1, y_moves[0]), lines, left=True)
        places = (height, x_moves[1]), (width, n)
        b = pack(x, 0, n, images, (1, x_moves[0]), places, left=False)
        row, pixel = b.strides
        outer = rows // slices, a.strides[0], spread[0] * row
        inner = columns, a.strides[1], spread[1] * pixel
        taps = strides[0] * row, strides[1] * pixel
    else:
        lines = (images, y_moves[0]), (rows, y_moves[1])
        a = pack(y, 0, m, columns, (1, m), lines, left=True)
        shifts = (window[1], strides[1] * n), (images, x_moves[0]), (height, x_moves[1])
        b = pack(x, 0, n, columns, (1, spread[1] * n), shifts, left=False)
        place, image, row = b.strides
        outer = images // slices, a.strides[0], image
        inner = rows, a.strides[1], spread[0] * row
        taps = strides[0] * row, place
    left = Left(a.buffer, 0, 0, 0, (outer[0] * outer[1], 0, 0), a.tiles)
    b.strides = (outer[0] * outer[2], *taps)
    moves = (window[0] * window[1] * m * n, window[1] * m * n, m * n)
    result = Result(out, n, 1, m, 0, n, moves)
    step = multiply(
        instruction, left, left, Window(a.tiles, outer, inner), b, result, (slices, *window)
    )
    return [*a.steps, *b.steps, step]
