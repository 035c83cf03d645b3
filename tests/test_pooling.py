"""Without these tests pooling could differ from PyTorch's, or run in Python under jit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn
from tests.torch_layers import agree, lifted, same_in_lanes, sample, torch

F = torch.nn.functional
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LP = {1: F.lp_pool1d, 2: F.lp_pool2d, 3: F.lp_pool3d}
SPACE = (9, 7, 6)

OPTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": 1},
    {"stride": 2, "padding": 1, "ceil_mode": True},
    {"stride": 3, "ceil_mode": True},
]


def images(rank: int, dtype: str = "float32") -> np.ndarray:
    return sample((2, *SPACE[:rank], 3), dtype)


# ---------------------------------------------------------------- fixed windows
@pytest.mark.parametrize("options", [*OPTIONS, {"dilation": 2, "stride": 2, "padding": 1}])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_pool(rank: int, options: dict) -> None:
    window = (3, 2, 2)[:rank]
    agree(
        lambda x: nn.max_pool(x, window, **options),
        lifted(lambda x: MAX[rank](x, window, **options), rank),
        images(rank),
    )


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_avg_pool(rank: int, options: dict, include: bool) -> None:
    window = (3, 2, 2)[:rank]
    options = options | {"count_include_pad": include}
    agree(
        lambda x: nn.avg_pool(x, window, **options),
        lifted(lambda x: AVG[rank](x, window, **options), rank),
        images(rank),
    )


@pytest.mark.parametrize("p", [1, 2, 3, 1.5, np.inf])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_lp_pool(rank: int, p: float) -> None:
    window = (3, 2, 2)[:rank]
    extent = window if rank > 1 else window[0]
    agree(
        lambda x: nn.lp_pool(x, window, p, stride=2),
        lifted(lambda x: LP[rank](x.abs(), p, extent, stride=2), rank),
        images(rank),
    )


def test_min_pool() -> None:
    agree(
        lambda x: nn.min_pool(x, (3, 2), padding=1),
        lifted(lambda x: -F.max_pool2d(-x, (3, 2), padding=1), 2),
        images(2),
    )


@pytest.mark.parametrize("lead", [(), (0,), (2, 3)])
def test_any_leading_dimensions(lead: tuple[int, ...]) -> None:
    x = sample((*lead, 5, 4, 3))
    if 0 in lead:  # torch refuses it
        for pool in (nn.max_pool, nn.avg_pool):
            for run in (pool, nr.jit(pool, static_argnums=1)):
                assert run(jnp.asarray(x), (2, 2)).shape == (0, 2, 2, 3)
        return
    agree(lambda x: nn.max_pool(x, (2, 2)), lifted(lambda x: F.max_pool2d(x, 2), 2), x)
    agree(lambda x: nn.avg_pool(x, (2, 2)), lifted(lambda x: F.avg_pool2d(x, 2), 2), x)


def test_float64() -> None:
    x = images(2, "float64")
    for ours, theirs in (
        (lambda x: nn.max_pool(x, (2, 2)), lambda x: F.max_pool2d(x, 2)),
        (lambda x: nn.avg_pool(x, (3, 3), padding=1), lambda x: F.avg_pool2d(x, 3, padding=1)),
        (lambda x: nn.lp_pool(x, (2, 2), 2), lambda x: F.lp_pool2d(x, 2, 2)),
        (lambda x: nn.adaptive_avg_pool(x, (4, 3)), lambda x: F.adaptive_avg_pool2d(x, (4, 3))),
    ):
        agree(ours, lifted(theirs, 2), x)


@pytest.mark.parametrize("padding", ["SAME", "SAME_LOWER", "VALID"])
def test_padding_by_name_is_that_of_reduce_window(padding: str) -> None:
    x = images(2)
    want = nr.lax.reduce_window(x, -np.inf, nr.lax.max, (1, 3, 4, 1), (1, 2, 3, 1), padding)
    np.testing.assert_array_equal(nn.max_pool(x, (3, 4), stride=(2, 3), padding=padding), want)
    ones = nn.avg_pool(
        np.ones_like(x), (3, 4), stride=(2, 3), padding=padding, count_include_pad=False
    )
    np.testing.assert_allclose(ones, np.ones(want.shape), rtol=1e-6)


def test_equal_maxima_give_the_first_the_gradient() -> None:
    x = np.zeros((1, 4, 4, 2), np.float32)
    agree(lambda x: nn.max_pool(x, (2, 2)), lifted(lambda x: F.max_pool2d(x, 2), 2), x)
    agree(
        lambda x: nn.adaptive_max_pool(x, (3, 3)),
        lifted(lambda x: F.adaptive_max_pool2d(x, 3), 2),
        x,
    )


def test_norms_of_zeros_have_gradient_zero_and_nans_stay() -> None:
    x = np.zeros((4, 1), np.float32)
    for p in (1, 2, 3):
        assert nr.grad(lambda x, p=p: nn.lp_pool(x, (2,), p).sum())(x).tolist() == [[0.0]] * 4
    x[0] = np.nan
    for pool in (nn.max_pool, nn.avg_pool, lambda x, w: nn.lp_pool(x, w, 2)):
        assert np.isnan(pool(x, (2,))).tolist() == [[True], [False]]
    assert np.isnan(nn.adaptive_avg_pool(x, (3,))).tolist() == [[True], [False], [False]]


def test_integers_and_half_floats() -> None:
    x = np.arange(-8, 8, dtype=np.int32).reshape(16, 1)
    assert nn.max_pool(x, (3,), padding=1).dtype == "int32"
    assert nn.max_pool(x, (3,), padding=1)[0, 0] == -7
    assert nn.min_pool(x.astype(np.uint8), (16,))[0, 0] == 0
    assert nn.avg_pool(x, (2,)).dtype == "float32"
    half = jnp.asarray(sample((40, 1))).astype("bfloat16")
    mean = nn.avg_pool(half, (40,))
    assert mean.dtype == "bfloat16"
    exact = np.asarray(half).astype(np.float64).mean()
    assert abs(float(mean[0, 0]) - exact) <= 2**-7 * abs(exact)  # rounded twice


# ---------------------------------------------------------------- adaptive, global
ADAPTIVE = [(3, 7), (4, 3), (9, 1), (5, 14), (None, 2)]


@pytest.mark.parametrize("size", ADAPTIVE)
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_pools(kind: str, size: Any) -> None:
    ours = {"avg": nn.adaptive_avg_pool, "max": nn.adaptive_max_pool}[kind]
    theirs = {"avg": F.adaptive_avg_pool2d, "max": F.adaptive_max_pool2d}[kind]
    agree(lambda x: ours(x, size), lifted(lambda x: theirs(x, size), 2), images(2))


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_pools_of_other_ranks(kind: str) -> None:
    ours = {"avg": nn.adaptive_avg_pool, "max": nn.adaptive_max_pool}[kind]
    for rank, size in ((1, (4,)), (3, (4, 7, 4))):
        theirs = getattr(F, f"adaptive_{kind}_pool{rank}d")
        agree(
            lambda x, size=size: ours(x, size),
            lifted(lambda x, f=theirs, size=size: f(x, size), rank),
            images(rank),
        )


def test_even_adaptive_pools_are_means_of_blocks() -> None:
    jaxpr = str(nr.make_jaxpr(lambda x: nn.adaptive_avg_pool(x, (2, 3)))(np.ones((2, 8, 9, 3))))
    assert "gather" not in jaxpr and "reduce_sum" in jaxpr


def test_global_pools() -> None:
    for rank in (1, 2, 3):
        axes = tuple(range(2, rank + 2))
        x = images(rank)
        agree(
            lambda x, rank=rank: nn.global_avg_pool(x, rank=rank),
            lambda x, axes=axes: x.movedim(-1, 1).mean(axes),
            x,
        )
        agree(
            lambda x, rank=rank: nn.global_max_pool(x, rank=rank),
            lambda x, axes=axes: x.movedim(-1, 1).amax(axes),
            x,
        )
    assert nn.global_avg_pool(images(2), rank=2, keepdims=True).shape == (2, 1, 1, 3)
    assert nn.global_max_pool(images(2), rank=2, keepdims=True).shape == (2, 1, 1, 3)


# ---------------------------------------------------------------- places of maxima
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1, "ceil_mode": True},
                                     {"dilation": 2, "stride": 1}])  # fmt: skip
def test_maxima_with_their_places(rank: int, options: dict) -> None:
    window, x = (3, 2, 2)[:rank], images(rank)
    want = MAX[rank](torch.tensor(x).movedim(-1, 1), window, return_indices=True, **options)
    f = nr.jit(lambda x: nn.max_pool_with_indices(x, window, **options))
    assert "everything is compiled" in f.lower(x).compile().as_text("report")
    for got in (f(x), nn.max_pool_with_indices(x, window, **options)):
        assert got[1].dtype == "int32"
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(np.asarray(a), b.movedim(1, -1).numpy())


def test_unpooling() -> None:
    x = images(2)
    y, places = nn.max_pool_with_indices(x, (3, 2))

    def unpool(y: Any) -> Any:
        return F.max_unpool2d(
            y, torch.tensor(np.asarray(places)).long().movedim(-1, 1), (3, 2), output_size=(9, 7)
        )

    agree(lambda y: nn.max_unpool(y, places, (9, 7)), lifted(unpool, 2), np.asarray(y))
    empty = nr.jit(lambda y, places: nn.max_unpool(y, places, (9, 7)))(y[:0], places[:0])
    assert empty.shape == (0, 9, 7, 3)
    lanes = nr.vmap(lambda y, places: nn.max_unpool(y, places, (9, 7)))(y, places)
    np.testing.assert_array_equal(lanes, nn.max_unpool(y, places, (9, 7)))


def test_places_in_windows_of_minus_infinity_lie_in_space() -> None:
    x = np.full((1, 3, 1), -np.inf, np.float32)
    _, places = nn.max_pool_with_indices(x, (2,), padding=1)
    assert places[0, :, 0].tolist() == [0, 1]


def test_pools_under_vmap() -> None:
    x = sample((3, 2, 7, 6, 4))
    for f in (
        lambda x: nn.max_pool(x, (2, 3), padding=1),
        lambda x: nn.avg_pool(x, (2, 3), padding=1, count_include_pad=False),
        lambda x: nn.lp_pool(x, (2, 2), 2),
        lambda x: nn.adaptive_avg_pool(x, (3, 4)),
        lambda x: nn.adaptive_max_pool(x, (3, 4)),
        lambda x: nn.global_avg_pool(x, rank=2),
        lambda x: nn.max_pool_with_indices(x, (2, 3))[1],
    ):
        same_in_lanes(f, x)


# ---------------------------------------------------------------- errors
X = np.ones((2, 5, 5, 3), np.float32)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ValueError, 'max_pool: .*got 2 for "window". Write', lambda: nn.max_pool(X, 2)),
        (ValueError, r'avg_pool: .*got \(2, 0\) for "window"', lambda: nn.avg_pool(X, (2, 0))),
        (ValueError, 'or 2 of them.*got 0 for "stride"', lambda: nn.max_pool(X, (2, 2), stride=0)),
        (ValueError, r'got \(1,\) for "dilation"',
         lambda: nn.max_pool(X, (2, 2), dilation=(1,))),
        (ValueError, "got 'FULL' for \"padding\"", lambda: nn.max_pool(X, (2, 2), padding="FULL")),
        (TypeError, r"max_pool: .*element for each window.*got f32\[2,5,5,3\].*window \(6, 2\)",
         lambda: nn.max_pool(X, (6, 2))),
        (TypeError, "pad less than its extent", lambda: nn.avg_pool(X, (2, 2), padding=2)),
        (TypeError, r"\[..., D, H, W, C\] was required; got f32\[5,5,3\]",
         lambda: nn.max_pool(X[0], (2, 2, 2))),
        (TypeError, "max_pool", lambda: nn.max_pool(X.astype(np.complex64), (2, 2))),
        (ValueError, 'got 0 for "p"', lambda: nn.lp_pool(X, (2, 2), 0)),
        (ValueError, 'got 2 for "output_size"', lambda: nn.adaptive_avg_pool(X, 2)),
        (ValueError, r'got \[0, 1\] for "output_size"', lambda: nn.adaptive_max_pool(X, (0, 1))),
        (TypeError, "not empty", lambda: nn.adaptive_avg_pool(X[:, :0], (1, 1))),
        (TypeError, r"\[..., H, W, C\]", lambda: nn.adaptive_avg_pool(X[0, 0], (1, 1))),
        (ValueError, 'got 0 for "rank"', lambda: nn.global_avg_pool(X, rank=0)),
        (TypeError, r"\[..., H, W, C\]", lambda: nn.global_max_pool(X[0, 0], rank=2)),
        (TypeError, 'integers of the shape of "y"', lambda: nn.max_unpool(X, X, (9, 9))),
    ],
)  # fmt: skip
def test_errors(error: type, message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()


def test_errors_are_the_same_under_jit() -> None:
    with pytest.raises(TypeError, match=r"got f32\[2,5,5,3\]"):
        nr.jit(lambda x: nn.max_pool(x, (6, 6)))(X)
