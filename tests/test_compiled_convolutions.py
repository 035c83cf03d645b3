"""Without these tests convolutions of some layout or size could run in Python, or go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler import convolution, winograd

NHWC, NCHW = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")


def whole(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Small whole numbers: their products and sums are exact in whatever order."""
    return rng.integers(-2, 3, shape).astype(np.float32)


def laid_out(extents: list[int], spec: tuple[int, ...]) -> list[int]:
    shape = [0] * len(spec)
    for d, n in zip(spec, extents, strict=True):
        shape[d] = n
    return shape


def random_convolution(rng: np.random.Generator) -> tuple[Callable, np.ndarray, np.ndarray] | None:
    def pick(*options: int) -> int:
        return int(rng.choice(options))

    rank, groups = pick(1, 2, 3), pick(1, 1, 1, 2, 3)
    batch_groups = pick(1, 1, 2) if groups == 1 else 1
    features, images = pick(1, 2, 5, 16), pick(1, 2, 3) * batch_groups
    outputs = pick(1, 2, 8, 17, 33) * groups * batch_groups
    specs = [tuple([int(d) for d in rng.permutation(rank + 2)]) for _ in range(3)]
    if pick(0, 1):
        last = (0, rank + 1, *range(1, rank + 1))
        specs = [last, (rank + 1, rank, *range(rank)), last]
    numbers = lax.ConvDimensionNumbers(*specs)
    space = [pick(3, 7, 16, 19) if rank < 3 else pick(3, 5, 8) for _ in range(rank)]
    window = [pick(1, 2, 3, 4) for _ in range(rank)]
    options = {
        "window_strides": [pick(1, 1, 2, 3) for _ in range(rank)],
        "padding": [(pick(-1, 0, 1, 3), pick(-1, 0, 2)) for _ in range(rank)],
        "lhs_dilation": [pick(1, 1, 2, 3) for _ in range(rank)],
        "rhs_dilation": [pick(1, 1, 2) for _ in range(rank)],
        "feature_group_count": groups,
        "batch_group_count": batch_groups,
    }
    x = whole(rng, laid_out([images, features * groups, *space], specs[0]))
    w = whole(rng, laid_out([outputs, features, *window], specs[1]))

    def convolve(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, dimension_numbers=numbers, **options)

    try:
        nr.eval_shape(convolve, x, w)
    except (TypeError, ValueError):  # negative padding may leave nothing
        return None
    return convolve, x, w


def same(f: Callable, *args: Any) -> None:
    args = tuple([jnp.asarray(a) for a in args])
    with nr.disable_jit():
        want = f(*args)
    compiled = nr.jit(f)
    report = compiled.lower(*args).compile().as_text("report")
    assert "everything is compiled" in report
    for a, b in zip(nr.tree.leaves(compiled(*args)), nr.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert np.array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("smallest", [1, 1 << 15])
@pytest.mark.parametrize("seed", range(12))
def test_random_convolutions_and_their_gradients(seed: int, smallest: int) -> None:
    rng = np.random.default_rng(seed)
    with mock.patch.object(convolution, "_SMALLEST", smallest):
        done = 0
        while done < 2:
            found = random_convolution(rng)
            if found is None:
                continue
            done += 1
            convolve, x, w = found
            same(convolve, x, w)
            ct = whole(rng, nr.eval_shape(convolve, x, w).shape)
            same(lambda x, w, ct, f=convolve: nr.vjp(f, x, w)[1](ct), x, w, ct)


def text(f: Callable, *args: Any) -> str:
    return nr.jit(f).lower(*args).compile().as_text("loops")


def images(layouts: tuple[str, str, str]) -> tuple[Callable, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = whole(rng, (4, 16, 16, 32) if layouts is NHWC else (4, 32, 16, 16))
    w = whole(rng, (3, 3, 32, 48) if layouts is NHWC else (48, 32, 3, 3))
    return (
        lambda x, w: lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=layouts
        )
    ), x, w  # fmt: skip


@pytest.mark.parametrize("layouts", [NHWC, NCHW])
def test_large_convolutions_are_tiles_without_tests(layouts: tuple[str, str, str]) -> None:
    f, x, w = images(layouts)
    for g in (f, lambda x, w: nr.grad(lambda x, w: (f(x, w) ** 2).sum(), (0, 1))(x, w)):
        loops = text(g, x, w)
        sums = [line for line in loops.splitlines() if "add mul(" in line]
        assert sums and not any([" if " in line or "select" in line for line in sums])
        assert " by " in loops
    same(f, x, w)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("window, dilation", [((3, 3), 1), ((5, 3), 1), ((1, 7), 1), ((3, 3), 2)])
@pytest.mark.parametrize("size", [(1, 3), (5, 11), (8, 13), (3, 26), (9, 40), (33, 33)])
def test_windows_over_the_border(
    size: tuple[int, int], window: tuple[int, int], dilation: int, dtype: str
) -> None:
    """Of depthwise convolutions, whose images are not copied with zeros around them."""
    rng = np.random.default_rng(0)
    for features in (16, 33):
        x, w = whole(rng, (2, *size, features)), whole(rng, (*window, 1, features))
        for padding in ("SAME", [(0, 2), (dilation, 0)]):

            def f(x: Any, w: Any, padding: Any = padding, features: int = features) -> Any:
                return lax.conv_general_dilated(
                    x, w, (1, 1), padding, rhs_dilation=(dilation, dilation),
                    dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=features,
                )  # fmt: skip

            try:
                shape = nr.eval_shape(f, x, w).shape
            except ValueError:  # the window is larger than the image
                continue
            assert 0 in shape or np.asarray(f(x, w)).any()
            same(f, x.astype(dtype), w.astype(dtype))
            ct = whole(rng, shape).astype(dtype)
            same(lambda x, w, ct, f=f: nr.vjp(f, x, w)[1](ct), x.astype(dtype), w.astype(dtype), ct)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layouts", [NHWC, NCHW])
@pytest.mark.parametrize("results", [2, 3, 5])
def test_several_results_of_each_feature(results: int, layouts: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = whole(rng, (2, 6, 7, 16) if layouts is NHWC else (2, 16, 6, 7)).astype(dtype)
    w = whole(rng, (3, 3, 1, 16 * results) if layouts is NHWC else (16 * results, 1, 3, 3))

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (1, 2), "SAME", dimension_numbers=layouts, feature_group_count=16
        )

    ct = whole(rng, nr.eval_shape(f, x, w.astype(dtype)).shape).astype(dtype)
    both = lambda x, w, ct: (f(x, w), nr.vjp(f, x, w)[1](ct))  # noqa: E731
    with mock.patch.object(convolution, "_SMALLEST", 1):
        same(both, x, w.astype(dtype), ct)
        if layouts is NHWC and results == 2:
            kernels = text(both, x, w.astype(dtype), ct).split("kernel width=")
            assert not any([k.startswith("2:") and "mul(" in k for k in kernels])


@pytest.mark.parametrize("spec", ["NHWC", "NCHW"])
def test_several_features_for_one_result(spec: str) -> None:
    """The images that make up a group in the weights' gradient must not be added up."""
    rng = np.random.default_rng(0)
    x, w = whole(rng, (16, 5, 8, 32)), whole(rng, (3, 3, 2, 16))

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", spec), feature_group_count=16
        )

    ct = whole(rng, nr.eval_shape(f, x, w).shape)
    with mock.patch.object(convolution, "_SMALLEST", 1):
        same(lambda x, w, ct: (f(x, w), nr.vjp(f, x, w)[1](ct)), x, w, ct)


WINDOWS = [  # window, stride, dilation, extent, padding
    (5, 1, 1, 33, (2, 2)), (5, 2, 1, 40, (2, 2)), (5, 3, 1, 50, (0, 4)), (3, 1, 2, 20, (2, 2)),
    (4, 1, 3, 40, (5, 4)), (7, 2, 3, 45, (9, 9)), (5, 4, 6, 90, (9, 3)), (31, 1, 1, 18, (15, 15)),
    (33, 1, 1, 40, (16, 16)), (9, 1, 1, 3, (7, 1)), (2, 1, 1, 17, (-1, 1)), (3, 1, 1, 16, (40, 40)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", WINDOWS)
def test_windows_that_share_what_they_read(case: Any, dtype: str) -> None:
    """A tile's windows are gone through by places, whatever beyond the border known at each."""
    window, stride, dilation, extent, padding = case
    rng = np.random.default_rng(0)
    x = whole(rng, (2, 3, extent, 17)).astype(dtype)
    w = whole(rng, (2, window, 1, 17)).astype(dtype)

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (1, stride), [(0, 1), padding], rhs_dilation=(1, dilation),
            dimension_numbers=NHWC, feature_group_count=17,
        )  # fmt: skip

    def pooled(x: Any) -> Any:
        return lax.reduce_window(
            x, -jnp.inf, lax.max, (1, 1, window, 1), (1, 1, stride, 1),
            [(0, 0), (0, 0), padding, (0, 0)], window_dilation=(1, 1, dilation, 1),
        )  # fmt: skip

    ct = whole(rng, nr.eval_shape(f, x, w).shape).astype(dtype)
    same(lambda x, w, ct: (f(x, w), nr.vjp(f, x, w)[1](ct)), x, w, ct)
    if padding[0] >= 0:
        same(pooled, x)


def test_few_results_are_sums_of_vectors() -> None:
    """Forward along what is summed, and gradients of weights along what they are for: vectors of
    three lanes would do little."""
    rng = np.random.default_rng(0)
    x, w = whole(rng, (4, 16, 16, 32)), whole(rng, (3, 3, 32, 3))

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC)

    ct = whole(rng, nr.eval_shape(f, x, w).shape)
    both = lambda x, w, ct: (f(x, w), nr.vjp(f, x, w)[1](ct))  # noqa: E731
    same(both, x, w, ct)
    products = [k for k in text(both, x, w, ct).split("kernel ") if " mul(" in k]
    assert len(products) == 3
    assert not any([" in 3 vector" in k for k in products])


@pytest.mark.parametrize("window", [1, 3])
def test_depthwise_in_three_dimensions_is_tiled(window: int) -> None:
    """However many conditions on places there are."""
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 8, 9, 10, 32)), whole(rng, (3, window, 3, 1, 32))
    dims = ("NDHWC", "DHWIO", "NDHWC")

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (1, 1, 1), "SAME", dimension_numbers=dims, feature_group_count=32
        )

    ct = whole(rng, nr.eval_shape(f, x, w).shape)
    same(lambda x, w, ct: (f(x, w), nr.vjp(f, x, w)[1](ct)), x, w, ct)
    assert " in 10 by 10" in text(f, x, w)


def test_tasks_of_rows_beside_tiles_of_places() -> None:
    """One step of a loop is no tile, and may be in another task than the next."""
    rng = np.random.default_rng(0)
    x, w = whole(rng, (1, 40, 24)), whole(rng, (5, 40, 8))
    dims = ("NCW", "OIW", "NCW")

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (2,), "SAME", rhs_dilation=(2,), dimension_numbers=dims
        )  # fmt: skip

    same(f, x, w)


@pytest.mark.parametrize("images", [4, 16])
def test_tasks_take_whole_images_of_many(images: int) -> None:
    """With their padding and what is computed before, while that is in cache."""

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(nr.nn.relu(x), w, (1, 1), "SAME", dimension_numbers=NHWC)

    rng = np.random.default_rng(0)
    x, w = whole(rng, (images, 16, 16, 32)), whole(rng, (3, 3, 32, 32))
    assert ("row by row:" in text(f, x, w)) == (images == 16)
    same(f, x, w)


def test_weights_are_laid_out_before_images_are_padded() -> None:
    """So that tasks pad their own images; but not where all would stay in cache."""

    def f(x: Any, w: Any) -> Any:
        layouts = "NHWC", "OIHW", "NHWC"
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layouts)

    rng = np.random.default_rng(0)
    w = whole(rng, (32, 32, 3, 3))
    for images in (16, 64):
        x = whole(rng, (images, 18, 18, 32))
        assert ("row by row:" in text(f, x, w)) == (images == 64)
        same(f, x, w)


def test_places_within_the_image_are_not_tested() -> None:
    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=32
        )

    x, w = np.ones((2, 33, 33, 32), np.float32), np.ones((3, 3, 1, 32), np.float32)
    llvm = nr.jit(f).lower(x, w).as_text("llvm")
    # The first tile of a row and the last one are on their own, and of each of their pixels it is
    # known which of its window's columns are beyond the border: nothing asks.
    assert "@llvm.masked.load" not in llvm and "select" not in llvm and " fmul " in llvm


def minimal(n: int, size: tuple[int, int], features: int, results: int, pad: Any) -> tuple:
    """A convolution by Winograd's tiles, in float32 and float64, its input and its window."""
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, *size, features), np.float32)
    w = rng.standard_normal((3, 3, features, results), np.float32)

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, (1, 1), pad, dimension_numbers=NHWC)

    return f, x, w


SIZES = [
    (3, (8, 8), 48, 48, "SAME"), (3, (7, 9), 24, 96, "SAME"), (4, (9, 8), 64, 40, "VALID"),
    (1, (12, 15), 32, 64, [(2, 0), (-1, 3)]), (5, (8, 8), 64, 32, "SAME"),
    (2, (10, 10), 160, 256, "SAME"), (40, (2, 2), 128, 160, "SAME"),
]  # fmt: skip


@pytest.mark.parametrize(("n", "size", "features", "results", "pad"), SIZES)
def test_minimal_filtering_is_as_exact_as_the_definition(
    n: int, size: tuple[int, int], features: int, results: int, pad: Any
) -> None:
    f, x, w = minimal(n, size, features, results, pad)
    exact = np.asarray(f(x.astype(np.float64), w.astype(np.float64)))
    ct = np.random.default_rng(0).standard_normal(exact.shape, np.float32)

    def all_of_it(x: Any, w: Any, ct: Any) -> Any:
        y, pull = nr.vjp(f, x, w)
        return y, *pull(ct)

    assert "0.5)" in text(f, x, w), "the transform of windows has halves"
    want = all_of_it(*[a.astype(np.float64) for a in (x, w, ct)])
    with mock.patch.object(winograd, "suits", lambda *_: False):
        plain = nr.jit(lambda *args: all_of_it(*args))(x, w, ct)
    for got, direct, true in zip(nr.jit(all_of_it)(x, w, ct), plain, want, strict=True):
        assert got.dtype == np.float32 and got.shape == true.shape
        worst = [abs(np.asarray(a) - np.asarray(true)).max() for a in (got, direct)]
        # Less in general, as sums are shorter. Where windows are padding for the most part, as for
        # images of 2x2, the definition has fewer terms, and its errors are up to a third.
        assert worst[0] <= 3 * worst[1]


def test_minimal_filtering_takes_no_more_room_than_it_may() -> None:
    f, x, w = minimal(2, (16, 16), 64, 64, "SAME")
    assert "0.5)" in text(f, x, w)
    with mock.patch.object(winograd, "_MOST_BYTES", 16 * 128 * 64 * 4 - 1):
        assert "0.5)" not in text(lambda x, w: f(x, w), x, w)


def test_minimal_filtering_gives_the_same_bits_for_any_number_of_threads() -> None:
    f, x, w = minimal(4, (16, 16), 64, 64, "SAME")
    both = nr.jit(lambda x, w: nr.vjp(f, x, w)[1](f(x, w)))
    results = []
    for threads in (1, 2, 3):
        with nr.num_threads(threads):
            results.append([np.asarray(a) for a in both(x, w)])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_what_comes_after_is_in_the_kernel() -> None:
    f, x, w = images(NHWC)
    loops = text(lambda x, w, b: jnp.maximum(f(x, w) + b, 0), x, w, np.ones(48, np.float32))
    assert loops.count("kernel") == 2  # the padding, and the rest
    assert "max(add(r0" in loops


def test_weights_of_strided_convolutions_are_met_once() -> None:
    """The gradient of a strided convolution does not multiply the zeros between elements."""
    f, x, w = images(NHWC)

    def strided(x: Any) -> Any:
        return lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=NHWC)

    ct = np.ones(nr.eval_shape(strided, x).shape, np.float32)
    assert text(lambda x, ct: nr.vjp(strided, x)[1](ct), x, ct).count("add mul(") == 4


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 5, 6, 70), (3, 3, 70, 256), {"window_strides": (1, 1), "padding": "SAME"}),
        ((1, 9, 9, 64), (3, 3, 64, 288), {"window_strides": (2, 2), "padding": "VALID"}),
        ((3, 4, 7, 128), (3, 3, 64, 512),
         {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2}),
    ],
)  # fmt: skip
def test_wide_weights_are_read_from_panels(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(1)
    args = [jnp.asarray(whole(rng, shape)) for shape in (x, w)]

    def convolve(x: Any, w: Any) -> Any:
        return jnp.maximum(lax.conv_general_dilated(x, w, dimension_numbers=NHWC, **options) + 1, 0)

    compiled = nr.jit(convolve).lower(*args)
    assert compiled.as_text("loops").count("panel[") == 2  # filled once, and read in one place
    same(convolve, *args)
    same(nr.grad(lambda *args: (convolve(*args) ** 2).sum(), (0, 1)), *args)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_floats_are_summed_as_float32(dtype: str) -> None:
    f, x, w = images(NHWC)
    got = nr.jit(f)(jnp.asarray(x).astype(dtype), jnp.asarray(w).astype(dtype))
    assert jnp.array_equal(got, nr.jit(f)(x, w).astype(dtype))


def test_empty_operands() -> None:
    for n, c, o in ((0, 3, 4), (2, 0, 4), (2, 3, 0)):
        x, w = np.ones((n, 5, 5, c), np.float32), np.ones((2, 2, c, o), np.float32)
        same(
            lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC),
            x, w,
        )  # fmt: skip


def test_float64_products_of_a_float32_result_are_added_as_float64() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 9, 9, 4)), rng.standard_normal((3, 3, 4, 8))
    same(
        lambda x, w: lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=NHWC, preferred_element_type=jnp.float32
        ).astype(jnp.float16),
        x, w,
    )  # fmt: skip


@pytest.mark.parametrize("features", [2, 32])
def test_truth_values_are_or_of_and(features: int) -> None:
    def convolve(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC)

    rng = np.random.default_rng(3)
    x = rng.random((2, 9, 9, features)) < 0.05
    w = rng.random((3, 3, features, features)) < 0.3
    got = nr.jit(convolve)(x, w)
    assert got.dtype == np.bool_
    counts = convolve(x.astype(np.float32), w.astype(np.float32))
    np.testing.assert_array_equal(got, np.asarray(counts) > 0.5)
