"""Without these tests interpolation and pixel_shuffle could differ from PyTorch's and JAX's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn
from nr.test_util import check_grads
from tests.torch_layers import agree, close, lifted, same_in_lanes, sample, torch

F = torch.nn.functional
SPACE = (7, 5, 4)
NAMES = {1: {"linear": "linear"}, 2: {"linear": "bilinear", "cubic": "bicubic"},
         3: {"linear": "trilinear"}}  # fmt: skip


def images(rank: int, dtype: str = "float32") -> np.ndarray:
    return sample((2, *SPACE[:rank], 3), dtype)


def check(rank: int, size: Any, mode: str, dtype: str = "float32", **options: Any) -> None:
    named = NAMES[rank].get(mode, mode)
    agree(
        lambda x: nn.interpolate(x, size, mode=mode, **options),
        lifted(lambda x: F.interpolate(x, size, mode=named, **options), rank),
        images(rank, dtype),
    )


# ---------------------------------------------------------------- interpolate
@pytest.mark.parametrize("size", [(14, 10, 8), (11, 3, 4), (3, 13, 1), (1, 5, 9)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "area"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_interpolate(rank: int, mode: str, size: Any) -> None:
    check(rank, size[:rank], mode)


@pytest.mark.parametrize("size", [(14, 10), (11, 3), (3, 13), (1, 5)])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_linear_and_cubic_images(
    mode: str, antialias: bool, align_corners: bool, size: Any
) -> None:
    check(2, size, mode, antialias=antialias, align_corners=align_corners)


@pytest.mark.parametrize("rank", [1, 3])
def test_aligned_corners_in_other_ranks(rank: int) -> None:
    check(rank, (9, 9, 2)[:rank], "linear", align_corners=True)


def test_float64() -> None:
    for mode in ("linear", "cubic", "area"):
        check(2, (9, 4), mode, "float64")


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("factor", [(2.0, 2.0), (1.7, 0.6), (0.5, 3.0)])
def test_scale_factor(mode: Any, factor: Any) -> None:
    agree(
        lambda x: nn.interpolate(x, scale_factor=factor, mode=mode),
        lifted(lambda x: F.interpolate(x, scale_factor=factor, mode=mode), 2),
        images(2),
    )


@pytest.mark.parametrize("exact", [False, True])
def test_nearest_elements_are_those_of_torch_for_all_sizes(exact: bool) -> None:
    """Also where PyTorch's float32 coordinates fall just below an integer."""
    mode = "nearest-exact" if exact else "nearest"
    for n in (1, 6, 14, 26, 39):
        x = np.arange(n, dtype=np.float32).reshape(n, 1)
        for m in range(1, 80):
            want = F.interpolate(torch.tensor(x.T)[None], (m,), mode=mode)[0, 0].numpy()
            np.testing.assert_array_equal(nn.interpolate(x, (m,), mode=mode)[:, 0], want)


def test_whole_factors_are_copies_and_slices() -> None:
    x = np.ones((2, 8, 8, 3), np.float32)
    for size in ((16, 24), (4, 2), (16, 2), (8, 8)):
        for mode in ("nearest", "nearest-exact"):
            f = nr.make_jaxpr(lambda x, size=size, mode=mode: nn.interpolate(x, size, mode=mode))
            assert "gather" not in str(f(x))


def test_antialiasing_along_one_axis() -> None:
    """Only for images has torch one; with a height of 1 they are sequences."""
    x = sample((2, 9, 3))
    for mode in ("linear", "cubic"):
        want = nn.interpolate(x[:, None], (1, 4), mode=mode, antialias=True)[:, 0]
        close(nn.interpolate(x, (4,), mode=mode, antialias=True), np.asarray(want), mode)


@pytest.mark.parametrize("lead", [(), (0,), (2, 3)])
def test_any_leading_dimensions(lead: tuple[int, ...]) -> None:
    x = sample((*lead, 4, 5, 3))
    for mode in ("nearest", "linear", "cubic", "area"):
        f = lambda x, mode=mode: nn.interpolate(x, (7, 3), mode=mode)  # noqa: E731
        got = np.asarray(nr.jit(f)(x))
        want = np.asarray(f(sample((6, 4, 5, 3)))) if lead else np.asarray(f(x[None])[0])
        if lead == (2, 3):
            x6 = x.reshape(6, 4, 5, 3)
            want = np.asarray(f(x6)).reshape(2, 3, 7, 3, 3)
        elif lead == (0,):
            want = want[:0]
        close(got, want, mode)
        close(f(x), want, mode)


def test_dtypes() -> None:
    x = np.arange(6, dtype=np.uint8).reshape(6, 1)
    assert nn.interpolate(x, (3,)).dtype == "uint8"
    assert nn.interpolate(x, (3,), mode="linear").dtype == "float32"
    half = jnp.asarray(sample((16, 1))).astype("bfloat16")
    got = nn.interpolate(half, (5,), mode="cubic", antialias=True)
    assert got.dtype == "bfloat16"
    wide = nn.interpolate(half.astype("float32"), (5,), mode="cubic", antialias=True)
    assert jnp.array_equal(got, wide.astype("bfloat16"))  # rounded once


def test_infinities_stay_where_they_are() -> None:
    x = np.zeros((8, 1), np.float32)
    x[7] = np.inf
    for mode in ("linear", "cubic", "area"):
        got = np.asarray(nn.interpolate(x, (4,), mode=mode))[:, 0]
        assert np.isfinite(got[:3]).all() and not np.isfinite(got[3])


# ---------------------------------------------------------------- nr.image
METHODS = ["nearest", "linear", "cubic", "cubic-pytorch", "lanczos3", "lanczos5", "area"]


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_resize_is_that_of_jax(method: str, antialias: bool) -> None:
    jax = pytest.importorskip("jax")
    x, shape = sample((2, 7, 12, 3)), (1, 29, 5, 3)
    want = np.asarray(jax.image.resize(x, shape, method, antialias))
    f = nr.jit(lambda x: nr.image.resize(x, shape, method, antialias))
    assert "everything is compiled" in f.lower(x).compile().as_text("report")
    close(f(x), want, method)
    close(nr.image.resize(x, shape, method, antialias), want, method)
    assert nr.image.resize(x, (2, 0, 12, 3), method).shape == (2, 0, 12, 3)


def test_resize_of_other_dtypes() -> None:
    x = np.arange(6, dtype=np.uint8)
    assert nr.image.resize(x, (3,), "nearest").tolist() == [1, 3, 5]
    assert nr.image.resize(x, (3,), "bilinear").dtype == "float32"
    assert nr.image.resize(x.astype(jnp.bfloat16), (3,), "cubic").dtype == "bfloat16"
    same_in_lanes(lambda x: nr.image.resize(x, (4, 5), "lanczos3"), sample((3, 6, 3)))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("method", METHODS[1:])
def test_scale_and_translate_is_that_of_jax(method: str, antialias: bool) -> None:
    jax = pytest.importorskip("jax")
    x = sample((7, 5, 2)).astype(np.float32)
    for scale, translation in (([0.7, 1.5], [0.5, -1.0]), ([2.0, 0.3], [-3.0, 1.25])):
        args = ((6, 9, 2), (0, -2), np.array(scale, "f4"), np.array(translation, "f4"))
        want = jax.image.scale_and_translate(x, *args, method, antialias)
        # Weights of float32 on both sides.
        got = nr.image.scale_and_translate(x, *args, method, antialias)
        np.testing.assert_allclose(got, want, 2e-5, 2e-5)


def test_scale_and_translate_of_traced_values() -> None:
    x = sample((6,)).astype(np.float64)
    f = lambda s, t: nr.image.scale_and_translate(x, (6,), (0,), s, t, "cubic")  # noqa: E731
    args = (jnp.array(np.array([1.2])), jnp.array(np.array([0.37])))
    np.testing.assert_allclose(nr.jit(f)(*args), f(*args), 1e-12, 1e-12)
    check_grads(f, args, 1, atol=1e-6, rtol=1e-6)
    method = nr.image.ResizeMethod.from_string("bilinear")
    assert method is nr.image.ResizeMethod.LINEAR
    want = nr.image.resize(x, (3,), "linear")
    np.testing.assert_array_equal(nr.image.resize(x, (3,), method), want)
    with pytest.raises(ValueError, match='with weights was required; got "nearest"'):
        nr.image.scale_and_translate(x, (6,), (0,), *args, "nearest")


# ---------------------------------------------------------------- rearrangements
@pytest.mark.parametrize("shape", [(2, 3, 4, 12), (3, 4, 12), (2, 2, 1, 2, 8), (0, 2, 2, 4)])
def test_pixel_shuffles(shape: tuple[int, ...]) -> None:
    x = sample(shape)
    if 0 in shape:
        assert nn.pixel_shuffle(x, 2).shape == (0, 4, 4, 1)
        return
    agree(lambda x: nn.pixel_shuffle(x, 2), lifted(lambda x: F.pixel_shuffle(x, 2), 2), x)
    y = np.asarray(nn.pixel_shuffle(x, 2))
    agree(lambda y: nn.pixel_unshuffle(y, 2), lifted(lambda y: F.pixel_unshuffle(y, 2), 2), y)
    np.testing.assert_array_equal(nn.pixel_unshuffle(y, 2), x)


def test_channel_shuffle() -> None:
    x = images(2).reshape(2, 7, 5, 3)[..., [0, 1, 2, 0, 2, 1]]
    module = torch.nn.ChannelShuffle(3)
    got = nr.jit(lambda x: nn.channel_shuffle(x, 3))(x)
    np.testing.assert_array_equal(got, lifted(module, 2)(torch.tensor(x)).numpy())
    np.testing.assert_array_equal(nn.channel_shuffle(got, 2), x)


def test_under_vmap() -> None:
    x = sample((3, 2, 6, 4, 4))
    for f in (
        lambda x: nn.interpolate(x, (5, 8)),
        lambda x: nn.interpolate(x, (5, 8), mode="cubic"),
        lambda x: nn.interpolate(x, (12, 8), mode="linear", align_corners=True),
        lambda x: nn.pixel_shuffle(x, 2),
        lambda x: nn.pixel_unshuffle(x, 2),
        lambda x: nn.channel_shuffle(x, 2),
    ):
        same_in_lanes(f, x)


# ---------------------------------------------------------------- grid_sample
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode, named, rank", [
    ("linear", "bilinear", 2), ("nearest", "nearest", 2), ("cubic", "bicubic", 2),
    ("linear", "bilinear", 3), ("nearest", "nearest", 3)])  # fmt: skip
def test_grid_sample(
    mode: Any, named: str, rank: int, padding_mode: Any, align_corners: bool
) -> None:
    options = {"padding_mode": padding_mode, "align_corners": align_corners}
    grid = sample((2, *(3, 4, 2)[:rank], rank), seed=3) * 1.2  # some beyond the ends
    agree(
        lambda x, grid: nn.grid_sample(x, grid, mode=mode, **options),
        lifted(lambda x, grid: F.grid_sample(x, grid, named, **options), rank),
        images(rank),
        grid,
    )


@pytest.mark.parametrize("lead", [(), (0,), (2, 3)])
def test_grid_sample_with_any_leading_dimensions(lead: tuple[int, ...]) -> None:
    x, grid = sample((*lead, 5, 4, 3)), sample((*lead, 6, 7, 2))
    got = nr.jit(nn.grid_sample)(x, grid)
    assert got.shape == (*lead, 6, 7, 3)
    f = nn.grid_sample
    for _ in lead:
        f = nr.vmap(f)
    np.testing.assert_allclose(got, f(x, grid), atol=1e-5)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(4, 5), (3, 1, 4)])
def test_affine_grid(size: tuple[int, ...], align_corners: bool) -> None:
    rank = len(size)
    agree(
        lambda theta: nn.affine_grid(theta, size, align_corners=align_corners),
        lambda theta: F.affine_grid(theta, [2, 1, *size], align_corners=align_corners),
        sample((2, rank, rank + 1)),
    )
    same_in_lanes(lambda theta: nn.affine_grid(theta, size), sample((2, 3, rank, rank + 1)))


def test_the_identity_samples_x() -> None:
    x = images(3)
    grid = nn.affine_grid(np.broadcast_to(np.eye(3, 4, dtype=np.float32), (2, 3, 4)), SPACE)
    for mode in ("nearest", "linear", "cubic"):
        np.testing.assert_allclose(nn.grid_sample(x, grid, mode=mode), x, atol=1e-5)


# ---------------------------------------------------------------- errors
X = np.ones((2, 5, 4, 3), np.float32)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (TypeError, "one of size and scale_factor", lambda: nn.interpolate(X)),
        (TypeError, "one of size", lambda: nn.interpolate(X, (2, 2), scale_factor=(1, 1))),
        (ValueError, 'got 8 for "size"', lambda: nn.interpolate(X, 8)),
        (ValueError, 'got 2 for "scale_factor"', lambda: nn.interpolate(X, scale_factor=2)),
        (ValueError, r'got \(0, 1\) for "scale_factor"',
         lambda: nn.interpolate(X, scale_factor=(0, 1))),
        (TypeError, "leaves something", lambda: nn.interpolate(X, scale_factor=(0.1, 1))),
        (ValueError, "bilinear, bicubic was required for rank 2; got 'lanczos'",
         lambda: nn.interpolate(X, (2, 2), mode="lanczos")),
        (ValueError, "for rank 1; got 'bilinear'",
         lambda: nn.interpolate(X, (2,), mode="bilinear")),
        (ValueError, "are for linear and cubic",
         lambda: nn.interpolate(X, (2, 2), align_corners=True)),
        (ValueError, 'got "area"', lambda: nn.interpolate(X, (2, 2), mode="area", antialias=True)),
        (TypeError, "not empty", lambda: nn.interpolate(X[:, :0], (2, 2))),
        (TypeError, r"\[..., D, H, W, C\] was required; got f32\[5,4,3\]",
         lambda: nn.interpolate(X[0], (2, 2, 2))),
        (ValueError, r"resize: 4 extents were required; got \(2, 2\)",
         lambda: nr.image.resize(X, (2, 2), "linear")),
        (ValueError, "got 'spline'", lambda: nr.image.resize(X, X.shape, "spline")),
        (ValueError, r"elements along axes.*got f32\[0,3\]",
         lambda: nr.image.resize(X[0, 0, :0], (2, 3), "linear")),
        (TypeError, r"\[..., H, W, C \* 4\] was required; got f32\[2,5,4,3\]",
         lambda: nn.pixel_shuffle(X, 2)),
        (ValueError, 'got 0 for "factor"', lambda: nn.pixel_shuffle(X, 0)),
        (TypeError, r"\[..., H \* 2, W \* 2, C\]", lambda: nn.pixel_unshuffle(X, 2)),
        (TypeError, r"\[..., C \* 2\]", lambda: nn.channel_shuffle(X, 2)),
        (TypeError, r"got f32\[2,5,4,3\] for \"x\" and f32\[2,5,2\] for \"grid\"",
         lambda: nn.grid_sample(X, np.ones((2, 5, 2), np.float32))),
        (TypeError, "same leading", lambda: nn.grid_sample(X, np.ones((3, 5, 4, 2)))),
        (TypeError, "not empty", lambda: nn.grid_sample(X[:, :0], np.ones((2, 5, 4, 2)))),
        (ValueError, "got 'bilinear' for \"mode\"",
         lambda: nn.grid_sample(X, X[..., :2], mode="bilinear")),
        (ValueError, "got 'wrap' for \"padding_mode\"",
         lambda: nn.grid_sample(X, X[..., :2], padding_mode="wrap")),
        (TypeError, r"\[..., 2, 3\] was required for size \(4, 4\); got f32\[2,5,4,3\]",
         lambda: nn.affine_grid(X, (4, 4))),
        (ValueError, 'got 4 for "size"', lambda: nn.affine_grid(X[0, 0, :2], 4)),
        (ValueError, 'got 1.5 for "groups"', lambda: nn.channel_shuffle(X, 1.5)),
    ],
)  # fmt: skip
def test_errors(error: type, message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()
