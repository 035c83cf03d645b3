"""Conv and ConvTranspose: convolutions of any rank, channels last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import nr.numpy as jnp
from nr.core.array import Array
from nr.lax.conv import conv_general_dilated, widening_pads
from nr.nn import initializers
from nr.nn.module import module, static
from nr.nn.padding import NUMPY_MODES
from nr.nn.spatial import (
    IntOrInts,
    Ints,
    PaddingLike,
    Pairs,
    channels_last,
    each,
    explicit,
    extents,
    padding_of,
    space_of,
    spread,
)
from nr.numpy.promotion import promote_inexact

__all__ = ["Conv", "ConvTranspose", "PaddingMode"]

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
_MODES = ("zeros", "reflect", "replicate", "circular")


# ---------------------------------------------------------------- parameters
def _parameters(
    op: str,
    in_channels: int,
    out_channels: int,
    window: Ints,
    groups: int,
    bias: bool,
    key: Any,
    weight_init: initializers.Initializer | None,
    dtype: Any,
) -> tuple[Array, Array | None]:
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{op}: groups must divide in_channels and out_channels; got groups={groups} for "
            f"{in_channels} and {out_channels} channels."
        )
    if weight_init is None:
        weight_init = initializers.lecun_normal()
    weight = weight_init(key, (*window, in_channels // groups, out_channels), dtype)
    return weight, jnp.zeros(out_channels, weight.dtype) if bias else None


def _operands(op: str, x: Any, weight: Array, rank: int, groups: int) -> tuple[Any, Any, Ints]:
    """x with its leading dimensions made one, the weight in the same dtype, and those."""
    x, weight = promote_inexact(op, x, weight)
    space = space_of(op, x, rank, weight.shape[-2] * groups)
    lead = x.shape[: -1 - rank]
    if len(lead) != 1:
        x = x.reshape(math.prod(lead), *space, x.shape[-1])
    return x, weight, lead


def _result(y: Array, lead: Ints, bias: Array | None) -> Array:
    if len(lead) != 1:
        y = y.reshape(*lead, *y.shape[1:])
    return y if bias is None else y + bias


# ---------------------------------------------------------------- Conv
@module
class Conv:
    """A convolution over space (as everywhere in deep learning, the window is not flipped).

    Its rank is the number of the window's extents: sequences [..., T, C], images [..., H, W, C],
    volumes [..., D, H, W, C]. ``groups=in_channels`` makes it depthwise.

    Attributes:
        weight: [*window, in_channels // groups, out_channels]. From PyTorch's
            [out, in // groups, *window]: ``w.transpose(2, ..., 1, 0)``, for images
            ``w.permute(2, 3, 1, 0)``.
        bias: [out_channels], or None.
        stride: how far windows are apart, in each spatial dimension.
        padding: "SAME", "SAME_LOWER", "VALID" or (low, high) pairs.
        dilation: how far elements of a window are apart.
        groups: of channels, convolved separately.
        padding_mode: what is padded with.

    Example:
        >>> import nr
        >>> layer = nr.nn.Conv.init(3, 64, (3, 3), key=nr.random.key(0), stride=2)
        >>> layer.weight.shape, layer.stride, layer.padding
        ((3, 3, 3, 64), (2, 2), 'SAME')
        >>> layer(nr.numpy.ones((8, 32, 32, 3))).shape
        (8, 16, 16, 64)
    """

    weight: Array
    bias: Array | None
    stride: Ints = static()
    padding: str | Pairs = static()
    dilation: Ints = static()
    groups: int = static()
    padding_mode: PaddingMode = static()

    @classmethod
    def init(
        cls,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        *,
        key: Any,
        stride: IntOrInts = 1,
        padding: PaddingLike = "SAME",
        dilation: IntOrInts = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        weight_init: initializers.Initializer | None = None,
        dtype: Any = None,
    ) -> Conv:
        """Make a layer with random weights and a bias of zeros.

        Args:
            in_channels, out_channels: the sizes of the last axis of inputs and outputs.
            kernel_size: the window's extents, one a spatial dimension; their number is the rank.
            key: for the weights.
            stride: of windows: an int, or one for each dimension.
            padding: "SAME" (``ceil(size / stride)`` outputs; an odd element goes to the end, with
                "SAME_LOWER" to the start), "VALID" (none), an int for all sides, or ints or
                (low, high) pairs for each dimension. PyTorch's default is 0.
            dilation: distance of a window's elements: an int, or one for each dimension.
            groups: divides both numbers of channels; each group of inputs makes its outputs.
            bias: whether there is one.
            padding_mode: "zeros", or as for `nr.nn.pad`.
            weight_init: by default `initializers.lecun_normal()`, which keeps the variance.
            dtype: of the parameters, by default the default float.

        Raises:
            ValueError: for an int as kernel_size, which leaves the rank open, and for options
                that don't fit.
        """
        op = "Conv"
        window = extents(op, "kernel_size", kernel_size)
        rank = len(window)
        if padding_mode not in _MODES:
            raise ValueError(
                f'{op}: "zeros", "reflect", "replicate" or "circular" was required; got '
                f'{padding_mode!r} for "padding_mode".'
            )
        # Before the weights, which may be large.
        options = {
            "stride": each(op, "stride", stride, rank),
            "padding": padding_of(op, padding, rank),
            "dilation": each(op, "dilation", dilation, rank),
        }
        weight, b = _parameters(
            op, in_channels, out_channels, window, groups, bias, key, weight_init, dtype
        )
        return cls(weight, b, **options, groups=groups, padding_mode=padding_mode)  # type: ignore[arg-type]

    def __call__(self, x: Any) -> Array:
        """The convolution.

        Args:
            x: [..., *space, in_channels].

        Returns:
            [..., *outputs, out_channels].

        Raises:
            TypeError: x has another number of channels or too few dimensions, or the window does
                not fit into it.
        """
        op, rank = "Conv", len(self.stride)
        x, weight, lead = _operands(op, x, self.weight, rank, self.groups)
        space = x.shape[1:-1]
        window = spread(weight.shape[-2 - rank : -2], self.dilation)
        pads = explicit(self.padding, space, window, self.stride)
        for n, k, (lo, hi) in zip(space, window, pads):
            if n + lo + hi < k:
                raise TypeError(
                    f"{op}: space of at least the window's extents {window} (dilated, less the "
                    f'padding {pads}) was required; got {space} for "x". Pad more.'
                )
        if self.padding_mode != "zeros":
            x = jnp.pad(x, ((0, 0), *pads, (0, 0)), NUMPY_MODES[self.padding_mode])
            pads = ((0, 0),) * rank
        y = conv_general_dilated(
            x,
            weight,
            self.stride,
            pads,
            rhs_dilation=self.dilation,
            dimension_numbers=channels_last(rank),
            feature_group_count=self.groups,
        )
        return _result(y, lead, self.bias)


# ---------------------------------------------------------------- ConvTranspose
def _widening(padding: str | Pairs, window: Ints, stride: Ints, more: Ints) -> Pairs:
    """The padding of the spread input."""
    if isinstance(padding, str):
        pads = [widening_pads(k, s, padding) for k, s in zip(window, stride, strict=True)]
    else:
        pads = [(k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(window, padding, strict=True)]
    return tuple([(lo, hi + n) for (lo, hi), n in zip(pads, more, strict=True)])


@module
class ConvTranspose:
    """A transposed convolution, which widens space by its strides.

    It is the transpose (the gradient) of a convolution with this stride, padding and dilation,
    that is, a convolution with the input's elements spread apart by the stride.

    Attributes:
        weight: [*window, in_channels // groups, out_channels], as met by that convolution with
            the spread input (``jax.lax.conv_transpose``). From PyTorch's
            [in, out // groups, *window]: flip the window's axes and exchange the others; for
            images without groups ``w.flip(2, 3).permute(2, 3, 0, 1)``, with groups
            ``w.flip(2, 3).unflatten(0, (groups, -1)).permute(3, 4, 1, 0, 2).flatten(3)``.
        bias: [out_channels], or None.
        stride: how many outputs there are for an input, in each spatial dimension.
        padding: "SAME", "VALID" or (low, high) pairs.
        output_padding: by how much the output is longer, in each spatial dimension.
        dilation: how far elements of a window are apart.
        groups: of channels, convolved separately.

    Example:
        >>> import nr
        >>> layer = nr.nn.ConvTranspose.init(8, 4, (3, 3), key=nr.random.key(0), stride=2)
        >>> layer(nr.numpy.ones((16, 16, 8))).shape
        (32, 32, 4)
    """

    weight: Array
    bias: Array | None
    stride: Ints = static()
    padding: str | Pairs = static()
    output_padding: Ints = static()
    dilation: Ints = static()
    groups: int = static()

    @classmethod
    def init(
        cls,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        *,
        key: Any,
        stride: IntOrInts = 1,
        padding: PaddingLike = "SAME",
        output_padding: IntOrInts = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        bias: bool = True,
        weight_init: initializers.Initializer | None = None,
        dtype: Any = None,
    ) -> ConvTranspose:
        """Make a layer with random weights and a bias of zeros.

        Args:
            in_channels, out_channels: the sizes of the last axis of inputs and outputs.
            kernel_size: the window's extents, one a spatial dimension; their number is the rank.
            key: for the weights.
            stride: an int, or one for each dimension.
            padding: "SAME" (outputs: ``size * stride``) and "VALID" (all outputs with a window
                that meets the input, at least ``size * stride``) as in JAX. Numbers (an int, or
                ints or (low, high) pairs for each dimension) as in PyTorch: the padding of the
                convolution that this is the transpose of, which is cut off here:
                ``(size - 1) * stride - low - high + dilation * (window - 1) + 1`` outputs.
                PyTorch's default is 0.
            output_padding: more outputs at the end, where the convolution's size left open how
                many there were: an int, or one for each dimension.
            dilation: distance of a window's elements: an int, or one for each dimension.
            groups: divides both numbers of channels; each group of inputs makes its outputs.
            bias: whether there is one.
            weight_init: by default `initializers.lecun_normal()`.
            dtype: of the parameters, by default the default float.

        Raises:
            ValueError: for an int as kernel_size, which leaves the rank open, and for options
                that don't fit.
        """
        op = "ConvTranspose"
        window = extents(op, "kernel_size", kernel_size)
        rank = len(window)
        if padding == "SAME_LOWER":
            raise ValueError(f'{op}: "SAME", "VALID" or numbers were required; got {padding!r}.')
        options = {
            "stride": each(op, "stride", stride, rank),
            "padding": padding_of(op, padding, rank),
            "output_padding": each(op, "output_padding", output_padding, rank, 0),
            "dilation": each(op, "dilation", dilation, rank),
        }
        weight, b = _parameters(
            op, in_channels, out_channels, window, groups, bias, key, weight_init, dtype
        )
        return cls(weight, b, **options, groups=groups)  # type: ignore[arg-type]

    def __call__(self, x: Any) -> Array:
        """The transposed convolution.

        Args:
            x: [..., *space, in_channels].

        Returns:
            [..., *outputs, out_channels].

        Raises:
            TypeError: x has another number of channels or too few dimensions, or all of the
                output would be cut off.
        """
        op, rank = "ConvTranspose", len(self.stride)
        x, weight, lead = _operands(op, x, self.weight, rank, self.groups)
        space = x.shape[1:-1]
        window = spread(weight.shape[-2 - rank : -2], self.dilation)
        pads = _widening(self.padding, window, self.stride, self.output_padding)
        for n, k, s, (lo, hi) in zip(space, window, self.stride, pads):
            if n == 0 or (n - 1) * s + 1 + lo + hi < k:
                raise TypeError(
                    f"{op}: more space than the padding {self.padding} cuts off was required; "
                    f'got {space} for "x".'
                )
        y = conv_general_dilated(
            x,
            weight,
            (1,) * rank,
            pads,
            self.stride,
            self.dilation,
            channels_last(rank),
            self.groups,
        )
        return _result(y, lead, self.bias)
