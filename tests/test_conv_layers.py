"""Without these tests Conv, ConvTranspose, pad, fold or unfold could differ from PyTorch's."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn
from tests.torch_layers import agree, lifted, same_in_lanes, sample, torch

F = torch.nn.functional
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def layer_of(cls: Any, channels: tuple[int, int], window: tuple[int, ...], **options: Any) -> Any:
    layer = cls.init(*channels, window, key=nr.random.key(0), **options)
    return layer.replace(bias=jnp.asarray(sample((channels[1],), layer.weight.dtype.name, 2)))


def called(layer: Any) -> Any:
    return lambda x, weight, bias: layer.replace(weight=weight, bias=bias)(x)


def parameters(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(layer.weight), np.asarray(layer.bias)


def torch_weight(w: Any, rank: int) -> Any:
    """As Conv's docstring has it, backwards."""
    return w.permute(rank + 1, rank, *range(rank))


# ---------------------------------------------------------------- Conv
@pytest.mark.parametrize(
    "shape, channels, window, options",
    [
        ((2, 9, 3), (3, 4), (3,), {"padding": 1}),
        ((5, 3), (3, 4), (2,), {"padding": "VALID", "stride": 2}),
        ((2, 3, 7, 8, 4), (4, 6), (3, 2), {"padding": (1, 0), "stride": (2, 1), "groups": 2}),
        ((2, 7, 7, 4), (4, 8), (3, 3), {"padding": 2, "dilation": 2, "groups": 4}),
        ((7, 7, 4), (4, 3), (1, 1), {"padding": 0}),
        ((0, 7, 7, 4), (4, 3), (3, 3), {"padding": 1}),
        ((2, 5, 4, 6, 2), (2, 3), (2, 3, 3), {"padding": 1, "stride": (1, 2, 2)}),
    ],
)
def test_conv(shape: Any, channels: Any, window: Any, options: dict) -> None:
    rank, layer = len(window), layer_of(nn.Conv, channels, window, **options)
    theirs = {name: option for name, option in options.items() if option != "VALID"}

    def conv(x: Any, w: Any, b: Any) -> Any:
        return CONV[rank](x, torch_weight(w, rank), b, **theirs)

    agree(called(layer), lifted(conv, rank), sample(shape), *parameters(layer))


@pytest.mark.parametrize("window, dilation", [((3, 4), 1), ((2, 3), (2, 1))])
def test_conv_of_the_same_size(window: Any, dilation: Any) -> None:
    layer = layer_of(nn.Conv, (3, 4), window, dilation=dilation)

    def conv(x: Any, w: Any, b: Any) -> Any:
        return F.conv2d(x, torch_weight(w, 2), b, padding="same", dilation=dilation)

    agree(called(layer), lifted(conv, 2), sample((2, 6, 5, 3)), *parameters(layer))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [2, ((2, 1), (0, 3))])
def test_conv_with_padding_modes(mode: Any, padding: Any) -> None:
    layer = layer_of(nn.Conv, (3, 4), (3, 3), padding=padding, padding_mode=mode, stride=2)
    widths = [2] * 4 if padding == 2 else [0, 3, 2, 1]

    def conv(x: Any, w: Any, b: Any) -> Any:
        return F.conv2d(F.pad(x, widths, mode=mode), torch_weight(w, 2), b, stride=2)

    agree(called(layer), lifted(conv, 2), sample((2, 6, 5, 3)), *parameters(layer))


def test_padding_mode_with_the_same_size() -> None:
    layer = layer_of(nn.Conv, (3, 4), (4,), padding_mode="circular")
    module = torch.nn.Conv1d(3, 4, 4, padding="same", padding_mode="circular")

    def conv(x: Any, w: Any, b: Any) -> Any:
        return torch.func.functional_call(module, {"weight": torch_weight(w, 1), "bias": b}, (x,))

    agree(called(layer), lifted(conv, 1), sample((2, 6, 3)), *parameters(layer))


@pytest.mark.parametrize("cls", [nn.Conv, nn.ConvTranspose])
def test_float64(cls: Any) -> None:
    layer = layer_of(cls, (3, 4), (3, 2), padding=1, stride=2, dtype="float64")

    def conv(x: Any, w: Any, b: Any) -> Any:
        if cls is nn.Conv:
            return F.conv2d(x, torch_weight(w, 2), b, 2, 1)
        return F.conv_transpose2d(x, w.permute(2, 3, 0, 1).flip(2, 3), b, 2, 1)

    agree(called(layer), lifted(conv, 2), sample((2, 6, 5, 3), "float64"), *parameters(layer))


# ---------------------------------------------------------------- ConvTranspose
def transposed_torch_weight(w: Any, rank: int, groups: int) -> Any:
    """As ConvTranspose's docstring has it, backwards."""
    w = w.unflatten(-1, (groups, -1))  # [*window, in // g, g, out // g]
    w = w.permute(rank + 1, rank, rank + 2, *range(rank)).flatten(0, 1)
    return w.flip(*range(2, rank + 2))


TRANSPOSED_CASES = [
    ((2, 9, 3), (3, 4), (3,), {}),
    ((5, 3), (3, 4), (2,), {"stride": 3}),
    ((2, 3, 4, 5, 4), (4, 6), (3, 2), {"padding": (1, 0), "stride": (2, 1), "groups": 2}),
    ((2, 4, 5, 4), (4, 4), (3, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 4}),
    ((4, 5, 4), (4, 3), (3, 4), {"dilation": (2, 1), "padding": 2, "stride": 2}),
    ((0, 4, 5, 4), (4, 3), (3, 3), {"stride": 2}),
    ((2, 3, 2, 4, 2), (2, 3), (2, 3, 3), {"padding": 1, "stride": (1, 2, 2)}),
]


@pytest.mark.parametrize("shape, channels, window, options", TRANSPOSED_CASES)
def test_conv_transpose(shape: Any, channels: Any, window: Any, options: dict) -> None:
    rank, groups = len(window), options.get("groups", 1)
    layer = layer_of(nn.ConvTranspose, channels, window, **{"padding": 0, **options})

    def conv(x: Any, w: Any, b: Any) -> Any:
        return TRANSPOSED[rank](x, transposed_torch_weight(w, rank, groups), b, **options)

    agree(called(layer), lifted(conv, rank), sample(shape), *parameters(layer))


@pytest.mark.parametrize("groups", [1, 2])
def test_weights_from_torch(groups: int) -> None:
    """The lines for a loader, as the docstrings have them."""
    x = torch.tensor(sample((2, 4, 5, 6)))
    module = torch.nn.Conv2d(6, 4, (3, 2), groups=groups)
    layer = nn.Conv.init(6, 4, (3, 2), key=nr.random.key(0), padding=0, groups=groups)
    weight, bias = module.weight.detach(), jnp.asarray(module.bias.detach().numpy())
    layer = layer.replace(weight=jnp.asarray(weight.permute(2, 3, 1, 0).numpy()), bias=bias)
    want = module(x.movedim(-1, 1)).movedim(1, -1).detach().numpy()
    np.testing.assert_allclose(layer(x.numpy()), want, atol=1e-5)

    module = torch.nn.ConvTranspose2d(6, 4, (3, 2), groups=groups)
    layer = nn.ConvTranspose.init(6, 4, (3, 2), key=nr.random.key(0), padding=0, groups=groups)
    w = module.weight.detach()
    weight = w.flip(2, 3).unflatten(0, (groups, -1)).permute(3, 4, 1, 0, 2).flatten(3)
    if groups == 1:
        assert torch.equal(weight, w.flip(2, 3).permute(2, 3, 0, 1))
    bias = jnp.asarray(module.bias.detach().numpy())
    layer = layer.replace(weight=jnp.asarray(weight.numpy()), bias=bias)
    want = module(x.movedim(-1, 1)).movedim(1, -1).detach().numpy()
    np.testing.assert_allclose(layer(x.numpy()), want, atol=1e-5)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("window, stride, dilation", [((3, 2), 2, 1), ((2, 4), (3, 1), (1, 2))])
def test_conv_transpose_pads_like_jax(
    padding: str, window: Any, stride: Any, dilation: Any
) -> None:
    lax = pytest.importorskip("jax").lax
    layer = layer_of(
        nn.ConvTranspose, (3, 4), window, stride=stride, padding=padding, dilation=dilation
    )
    x = sample((2, 5, 4, 3))
    want = lax.conv_transpose(
        x, np.asarray(layer.weight), layer.stride, padding, layer.dilation
    ) + np.asarray(layer.bias)  # fmt: skip
    np.testing.assert_allclose(layer(x), want, atol=1e-5)


def test_conv_transpose_is_the_transpose_of_conv() -> None:
    options = {"padding": ((1, 0), (0, 2)), "stride": 2}
    conv = nn.Conv.init(3, 4, (3, 3), key=nr.random.key(0), bias=False, **options)
    back = nn.ConvTranspose.init(4, 3, (3, 3), key=nr.random.key(0), bias=False, **options)
    back = back.replace(weight=conv.weight[::-1, ::-1].swapaxes(2, 3))
    x = sample((2, 6, 7, 3))
    y, pullback = nr.vjp(conv, x)
    ct = sample(y.shape)
    want = np.asarray(pullback(jnp.asarray(ct))[0])
    got = np.asarray(back(ct))
    np.testing.assert_allclose(got, want[:, : got.shape[1], : got.shape[2]], atol=1e-5)


# ---------------------------------------------------------------- as modules
def test_layers_under_transforms() -> None:
    x = sample((3, 2, 6, 5, 4))
    for cls in (nn.Conv, nn.ConvTranspose):
        layer = layer_of(cls, (4, 4), (3, 3))
        same_in_lanes(layer, x)
        np.testing.assert_allclose(nr.jit(layer)(x), layer(x), atol=1e-5)
        np.testing.assert_allclose(pickle.loads(pickle.dumps(layer))(x), layer(x), atol=0)
        keys = nr.random.split(nr.random.key(0), 3)
        stacked = nr.vmap(lambda key, cls=cls: cls.init(4, 4, (3, 3), key=key))(keys)
        assert stacked.weight.shape == (3, 3, 3, 4, 4)
        end, _ = nr.lax.scan(lambda x, layer: (layer(x), None), jnp.asarray(x[0]), stacked)
        want = x[0]
        for i in range(3):
            want = nr.tree.map(lambda a, i=i: a[i], stacked)(want)
        np.testing.assert_allclose(end, want, rtol=1e-5, atol=1e-5)
        lanes = nr.vmap(lambda layer, x: layer(x))(stacked, x)
        np.testing.assert_allclose(
            lanes[1], nr.tree.map(lambda a: a[1], stacked)(x[1]), rtol=1e-5, atol=1e-5
        )


def test_the_program_is_that_written_by_hand() -> None:
    layer = nn.Conv.init(3, 8, (3, 3), key=nr.random.key(0), stride=2)

    def by_hand(layer: Any, x: Any) -> Any:
        layouts = ("NHWC", "HWIO", "NHWC")
        y = nr.lax.conv_general_dilated(
            x, layer.weight, (2, 2), "SAME", dimension_numbers=layouts
        )  # fmt: skip
        return y + layer.bias

    x = np.ones((2, 9, 9, 3), np.float32)
    layers = nr.make_jaxpr(lambda layer, x: layer(x))(layer, x)
    assert str(layers) == str(nr.make_jaxpr(by_hand)(layer, x))


def test_defaults_and_dtypes() -> None:
    layer = nn.Conv.init(3, 8, (5,), key=nr.random.key(0), bias=False)
    assert layer.bias is None and layer.padding == "SAME" and layer.stride == (1,)
    assert "weight=f32[5,3,8]" in repr(layer) and "padding='SAME'" in repr(layer)
    assert 0.5 < float(jnp.std(layer.weight)) * np.sqrt(15) < 1.5  # lecun_normal
    half = nn.Conv.init(3, 8, (5,), key=nr.random.key(0), dtype="bfloat16")
    x = sample((2, 9, 3))
    assert half(jnp.asarray(x).astype("bfloat16")).dtype == "bfloat16"
    assert half(x).dtype == "float32"
    assert layer(np.ones((9, 3), np.int32)).dtype == "float32"
    ones = nn.Conv.init(
        3, 8, (5,), key=nr.random.key(0), weight_init=nn.initializers.ones, groups=1
    )
    assert float(ones(np.ones((5, 3), np.float32))[2, 0]) == 15


# ---------------------------------------------------------------- pad
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(rank: int, mode: Any) -> None:
    widths = [(2, 1), (0, 3), (1, 1)][:rank]
    flat = [n for pair in reversed(widths) for n in pair]

    def padded(x: Any) -> Any:
        return F.pad(x, flat, mode)

    agree(
        lambda x: nn.pad(x, widths, mode=mode),
        lifted(padded, rank),
        sample((2, 5, 4, 6)[: rank + 1] + (3,)),
    )


def test_pad_with_a_value_and_cutting() -> None:
    x = sample((2, 5, 4, 3))
    agree(
        lambda x: nn.pad(x, [(-1, 2), 1], value=0.5),
        lifted(lambda x: F.pad(x, [1, 1, -1, 2], value=0.5), 2),
        x,
    )
    assert nn.pad(np.ones((2, 1), np.int32), [1], value=7).tolist() == [[7], [1], [1], [7]]
    same_in_lanes(lambda x: nn.pad(x, [1], mode="reflect"), x)


# ---------------------------------------------------------------- fold, unfold
UNFOLD_CASES = [
    ((2, 6, 7, 3), (2, 3), {}),
    ((6, 7, 3), (2, 3), {"stride": (2, 3), "padding": 1}),
    ((2, 2, 7, 7, 3), (2, 2), {"dilation": (2, 3), "stride": 2, "padding": (1, 2)}),
    ((2, 6, 6, 3), (3, 2), {"stride": (3, 2)}),
    ((0, 6, 6, 3), (3, 2), {}),
]


@pytest.mark.parametrize("shape, window, options", UNFOLD_CASES)
def test_unfold_and_fold(shape: Any, window: Any, options: dict) -> None:
    x, lead = sample(shape), shape[:-3]
    y = nn.unfold(x, window, **options)

    def as_ours(columns: Any) -> Any:
        """[N, C * h * w, L] as [..., *windows, h, w, C]."""
        columns = columns.unflatten(1, (shape[-1], *window)).permute(0, 4, 2, 3, 1)
        return columns.reshape(y.shape)

    def unfolded(x: Any) -> Any:
        x = x.reshape(-1, *shape[-3:]).movedim(-1, 1)
        return as_ours(F.unfold(x, window, **options))

    def folded(y: Any) -> Any:
        n = int(np.prod(lead))
        columns = y.reshape(n, -1, *window, shape[-1]).permute(0, 4, 2, 3, 1).flatten(1, 3)
        return F.fold(columns, shape[-3:-1], window, **options).movedim(1, -1).reshape(shape)

    if 0 in shape:  # torch refuses it
        assert np.asarray(nn.fold(y, shape[-3:-1], **options)).shape == shape
        return
    agree(lambda x: nn.unfold(x, window, **options), unfolded, x)
    agree(lambda y: nn.fold(y, shape[-3:-1], **options), folded, np.asarray(y))


def test_unfold_along_one_and_three_dimensions() -> None:
    x = sample((2, 5, 6, 7, 3))
    got = np.asarray(nn.unfold(x, (2, 3, 2), stride=(1, 2, 3)))
    want = np.lib.stride_tricks.sliding_window_view(x, (2, 3, 2), (1, 2, 3))[:, :, ::2, ::3]
    np.testing.assert_array_equal(got, np.moveaxis(want, 4, -1))
    same_in_lanes(lambda x: nn.unfold(x, (3,), padding="SAME"), x[0])


# ---------------------------------------------------------------- errors
KEY = nr.random.key(0)
IMAGES = np.ones((2, 5, 5, 3), np.float32)


def conv(*args: Any, **options: Any) -> nn.Conv:
    return nn.Conv.init(*args, key=KEY, **options)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ValueError, r'got 3 for "kernel_size". Write \(n,\)', lambda: conv(3, 4, 3)),
        (ValueError, 'got 3 for "kernel_size"', lambda: nn.ConvTranspose.init(3, 4, 3, key=KEY)),
        (ValueError, r'got \(3, 0\) for "kernel_size"', lambda: conv(3, 4, (3, 0))),
        (ValueError, r'got \(\) for "kernel_size"', lambda: conv(3, 4, ())),
        (ValueError, "groups=2 for 3 and 4", lambda: conv(3, 4, (3,), groups=2)),
        (ValueError, "groups=0", lambda: conv(3, 4, (3,), groups=0)),
        (ValueError, r'2 of them.*got \(1, 1, 1\) for "stride"',
         lambda: conv(3, 4, (3, 3), stride=(1, 1, 1))),
        (ValueError, 'got 0 for "dilation"', lambda: conv(3, 4, (3, 3), dilation=0)),
        (ValueError, "got 'same_' for \"padding\"", lambda: conv(3, 4, (3, 3), padding="same_")),
        (ValueError, 'got -1 for "padding"', lambda: conv(3, 4, (3, 3), padding=-1)),
        (ValueError, 'got 1.5 for "padding"', lambda: conv(3, 4, (3, 3), padding=1.5)),
        (ValueError, "got 'mirror' for \"padding_mode\"",
         lambda: conv(3, 4, (3, 3), padding_mode="mirror")),
        (ValueError, "got 'SAME_LOWER'",
         lambda: nn.ConvTranspose.init(3, 4, (3,), key=KEY, padding="SAME_LOWER")),
        (ValueError, 'got -1 for "output_padding"',
         lambda: nn.ConvTranspose.init(3, 4, (3,), key=KEY, output_padding=-1)),
        (TypeError, r'Conv: \[..., H, W, 4\] was required; got f32\[2,5,5,3\] for "x"',
         lambda: conv(4, 4, (3, 3))(IMAGES)),
        (TypeError, r"\[..., D, H, W, 3\] was required; got f32\[5,5,3\]",
         lambda: conv(3, 4, (3, 3, 3))(IMAGES[0])),
        (TypeError, r"window's extents \(9, 9\).*got \(5, 5\)",
         lambda: conv(3, 4, (5, 5), dilation=2, padding=1)(IMAGES)),
        (TypeError, r"cuts off was required; got \(5, 5\)",
         lambda: nn.ConvTranspose.init(3, 4, (1, 1), key=KEY, padding=3)(IMAGES)),
        (ValueError, 'got 1 for "widths"', lambda: nn.pad(IMAGES, 1)),
        (ValueError, 'got .*1, 2, 3.* for "widths"', lambda: nn.pad(IMAGES, [(1, 2, 3)])),
        (ValueError, 'widths of 0 or more were required in mode "reflect"',
         lambda: nn.pad(IMAGES, [1, -1], mode="reflect")),
        (ValueError, "got 'mirror'", lambda: nn.pad(IMAGES, [1], mode="mirror")),
        (TypeError, "not empty", lambda: nn.pad(IMAGES[:, :0], [1, 1], mode="circular")),
        (TypeError, "negative widths", lambda: nn.pad(IMAGES, [-3, 1])),
        (TypeError, "a number was required", lambda: nn.pad(IMAGES, [1], value=np.ones(2))),
        (ValueError, 'got 2 for "window"', lambda: nn.unfold(IMAGES, 2)),
        (TypeError, "extent, 6, was required; got 5", lambda: nn.unfold(IMAGES, (6, 1))),
        (TypeError, r"\[..., 4, 4, 2, 2, C\] was required for output_size \(5, 5\)",
         lambda: nn.fold(np.ones((3, 4, 2, 2, 3)), (5, 5))),
        (TypeError, "of rank 5 or more", lambda: nn.fold(IMAGES, (5, 5))),
    ],
)  # fmt: skip
def test_errors(error: type, message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()
