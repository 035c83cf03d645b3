"""Convolutions of any rank, with strides, padding, dilation and groups.

In the formulas below lhs has (batch N, feature C, space), rhs (output feature O, input feature I,
window) and the result (N, O, space), whatever the layout in memory is. The gradients are
convolutions again, with roles of the dimensions exchanged (Dumoulin & Visin 2016,
"A guide to convolution arithmetic for deep learning", chapter 4).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.tracing import typeof
from nr.lax.convert import convert_element_type
from nr.lax.dot import common_dtype, product_dtype, product_operands
from nr.lax.rules import bilinear, move_dim, zeros_of
from nr.lax.shape import reshape, rev

Padding = tuple[tuple[int, int], ...]


# ---------------------------------------------------------------- dimension numbers
class ConvDimensionNumbers(NamedTuple):
    """Which dimension plays which role, as positions.

    Attributes:
        lhs_spec: (batch, feature, *space) of the input.
        rhs_spec: (output feature, input feature, *window) of the kernel.
        out_spec: (batch, feature, *space) of the result.
    """

    lhs_spec: tuple[int, ...]
    rhs_spec: tuple[int, ...]
    out_spec: tuple[int, ...]


# What stands for dimension numbers: None, letters or positions.
ConvGeneralDilatedDimensionNumbers = None | ConvDimensionNumbers | tuple[str, str, str]


def conv_dimension_numbers(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], dimension_numbers: Any
) -> ConvDimensionNumbers:
    """Dimension numbers from letters, such as ``("NHWC", "HWIO", "NHWC")``.

    Args:
        lhs_shape: shape of the input.
        rhs_shape: shape of the kernel, of the same rank.
        dimension_numbers: None for (N, C, space) and (O, I, window); `ConvDimensionNumbers`; or
            three strings with N, C for batch and feature, O, I for the kernel's output and input
            features, and for the rest any letters, the same in each string.

    Example:
        >>> import nr
        >>> nr.lax.conv_dimension_numbers((1, 8, 8, 3), (3, 3, 3, 4), ("NHWC", "HWIO", "NHWC"))
        ConvDimensionNumbers(lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2))
    """
    return _dimension_numbers(len(lhs_shape), len(rhs_shape), _as_key(dimension_numbers))


def _as_key(dimension_numbers: Any) -> Any:
    if dimension_numbers is None or type(dimension_numbers) is ConvDimensionNumbers:
        return dimension_numbers
    return tuple(dimension_numbers)


@functools.lru_cache(maxsize=1024)
def _dimension_numbers(lhs_rank: int, rhs_rank: int, given: Any) -> ConvDimensionNumbers:
    if lhs_rank != rhs_rank or lhs_rank < 2:
        raise ValueError(
            f"conv_dimension_numbers: lhs and rhs must have one rank, 2 or more; got ranks "
            f"{lhs_rank} and {rhs_rank}. Add the missing batch or feature dimension."
        )
    if given is None:
        order = tuple(range(lhs_rank))
        return ConvDimensionNumbers(order, order, order)
    if type(given) is ConvDimensionNumbers:
        specs = ConvDimensionNumbers(*[tuple([int(d) for d in spec]) for spec in given])
        if any(sorted(spec) != list(range(lhs_rank)) for spec in specs):
            raise ValueError(
                f"conv_dimension_numbers: each entry must be a permutation of the {lhs_rank} "
                f"dimensions; got {given}."
            )
        return specs
    if len(given) != 3 or not all(isinstance(spec, str) for spec in given):
        raise TypeError(
            f"conv_dimension_numbers: None, ConvDimensionNumbers or three strings were expected; "
            f'got {given!r}. Write for example ("NHWC", "HWIO", "NHWC").'
        )
    lhs, rhs, out = given
    window = [letter for letter in rhs if letter not in "OI"]
    for spec, roles in ((lhs, "NC"), (rhs, "OI"), (out, "NC")):
        if sorted(spec) != sorted([*roles, *window]) or len(set(spec)) != lhs_rank:
            raise ValueError(
                f"conv_dimension_numbers: {lhs_rank} different letters each, {roles[0]} and "
                f"{roles[1]} among them and the others the same in all three, were expected; "
                f"got {spec!r} in {given}."
            )
    return ConvDimensionNumbers(
        tuple([lhs.index(letter) for letter in ("N", "C", *window)]),
        tuple([rhs.index(letter) for letter in ("O", "I", *window)]),
        tuple([out.index(letter) for letter in ("N", "C", *window)]),
    )


# ---------------------------------------------------------------- sizes and padding
def dilated(size: int, dilation: int) -> int:
    """The extent of a dimension once its elements stand `dilation` apart."""
    return (size - 1) * dilation + 1 if size else 0


def window_positions(size: int, window: int, stride: int) -> int:
    """How many (dilated) windows fit in a (padded) dimension."""
    return (size - window) // stride + 1 if size >= window else 0


def transposed_pads(size: int, window: int, out: int, low: int) -> tuple[int, int]:
    """The padding with which windows over the result give the operand's extent back.

    Args:
        size: the extent of the operand, dilated.
        window: the extent of the window, dilated.
        out: the extent of the result, spread by the strides.
        low: the padding before the operand.
    """
    before = window - 1 - low
    return before, size + window - 1 - out - before


def padtype_to_pads(
    in_shape: Sequence[int],
    window_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: str,
) -> list[tuple[int, int]]:
    """The (low, high) pairs meant by ``"SAME"``, ``"SAME_LOWER"`` or ``"VALID"``.

    With "SAME" the result has ``ceil(size / stride)`` positions; where the padding is odd its
    larger half goes to the end ("SAME") or to the start ("SAME_LOWER").

    Example:
        >>> import nr
        >>> nr.lax.padtype_to_pads((5, 6), (3, 3), (1, 2), "SAME")
        [(1, 1), (0, 1)]
    """
    kind = str(padding).upper()
    if kind == "VALID":
        return [(0, 0)] * len(in_shape)
    if kind not in ("SAME", "SAME_LOWER"):
        raise ValueError(
            f'padding: "SAME", "SAME_LOWER", "VALID" or a (low, high) pair for each dimension was '
            f"expected; got {padding!r}."
        )
    pads = []
    for size, window, stride in zip(in_shape, window_shape, window_strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        small = total // 2
        pads.append((small, total - small) if kind == "SAME" else (total - small, small))
    return pads


def explicit_padding(op: str, padding: Any) -> Padding:
    """A sequence of (low, high) pairs as a tuple."""
    try:
        return tuple([(int(lo), int(hi)) for lo, hi in padding])
    except (TypeError, ValueError):
        raise ValueError(
            f'{op}: padding must be "SAME", "SAME_LOWER", "VALID" or a (low, high) pair for each '
            f"dimension; got {padding!r}."
        ) from None


def steps(op: str, name: str, given: Any, rank: int) -> tuple[int, ...]:
    """Strides or dilations: one positive integer a dimension (None: all 1)."""
    if given is None:
        return (1,) * rank
    result = tuple([int(n) for n in given])
    if len(result) != rank or any(n < 1 for n in result):
        raise ValueError(f"{op}: {name} must be {rank} positive integers; got {given!r}.")
    return result


# ---------------------------------------------------------------- conv_general_dilated
@functools.lru_cache(maxsize=1024)
def _conv_aval(
    x: ShapedArray,
    y: ShapedArray,
    *,
    window_strides: tuple[int, ...],
    padding: Padding,
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    dimension_numbers: ConvDimensionNumbers,
    feature_group_count: int,
    batch_group_count: int,
    preferred_element_type: np.dtype | None,
) -> ShapedArray:
    dtype = product_dtype("conv_general_dilated", x, y, preferred_element_type)
    got = f'got {x} for "lhs" and {y} for "rhs" with {dimension_numbers}'
    n, c, *space = [x.shape[d] for d in dimension_numbers.lhs_spec]
    o, i, *window = [y.shape[d] for d in dimension_numbers.rhs_spec]
    groups, batch_groups = feature_group_count, batch_group_count
    if groups < 1 or batch_groups < 1 or (groups > 1 and batch_groups > 1):
        raise ValueError(
            f"conv_general_dilated: feature_group_count and batch_group_count must be positive, "
            f"and one of them 1; got {groups} and {batch_groups}."
        )
    if c != i * groups:
        raise TypeError(
            f"conv_general_dilated: lhs must have as many features as rhs takes ({i}, times "
            f"feature_group_count {groups}); {got}. Check dimension_numbers."
        )
    if o % groups or o % batch_groups or n % batch_groups:
        raise TypeError(
            f"conv_general_dilated: feature_group_count must divide the output features of rhs, "
            f"batch_group_count those and the batch of lhs; {got}, feature_group_count {groups} "
            f"and batch_group_count {batch_groups}."
        )
    if len(padding) != len(space):
        raise ValueError(
            f"conv_general_dilated: padding must have a (low, high) pair for each of the "
            f"{len(space)} spatial dimensions; got {padding} for {x}."
        )
    out = []
    for size, extent, (lo, hi), stride, spread, dilation in zip(
        space, window, padding, window_strides, lhs_dilation, rhs_dilation, strict=True
    ):
        padded = dilated(size, spread) + lo + hi
        if padded < 0:
            raise ValueError(
                f"conv_general_dilated: negative padding must not cut off more than there is; "
                f"got padding {padding} for {x}."
            )
        out.append(window_positions(padded, dilated(extent, dilation), stride))
    return ShapedArray(_arranged((n // batch_groups, o, *out), dimension_numbers.out_spec), dtype)


def _arranged(extents: Sequence[int], spec: Sequence[int]) -> list[int]:
    """Extents in the order of roles put in the order of a layout."""
    shape = [0] * len(spec)
    for d, n in zip(spec, extents, strict=True):
        shape[d] = n
    return shape


def _swapped(spec: tuple[int, ...]) -> tuple[int, ...]:
    return (spec[1], spec[0], *spec[2:])


def _split(x: Any, dim: int, outer: int) -> Any:
    """Dimension dim as two, (outer, the rest)."""
    shape = typeof(x).shape
    return reshape(x, (*shape[:dim], outer, shape[dim] // outer, *shape[dim + 1 :]))


def _merge(x: Any, dim: int) -> Any:
    """Dimensions dim and dim + 1 as one."""
    shape = typeof(x).shape
    return reshape(x, (*shape[:dim], shape[dim] * shape[dim + 1], *shape[dim + 2 :]))


def _fold(x: Any, source: int, into: int) -> Any:
    """Dimension source made the outer part of another one; `into` counts without source."""
    return _merge(move_dim(x, source, into), into)


def _regroup(x: Any, source: int, to: int, groups: int) -> Any:
    """The outer part of dimension source, `groups` long, made the outer part of another one."""
    if groups == 1:
        return x
    return _fold(_split(x, source, groups), source, to)


def _conv_transpose_lhs(
    ct: Any,
    x: Any,
    y: Any,
    *,
    window_strides: tuple[int, ...],
    padding: Padding,
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    dimension_numbers: ConvDimensionNumbers,
    feature_group_count: int,
    batch_group_count: int,
    preferred_element_type: np.dtype | None,
) -> Any:
    lhs_spec, rhs_spec, out_spec = dimension_numbers
    if 0 in typeof(ct).shape or 0 in typeof(y).shape or 0 in x.aval.shape:
        return zeros_of(x.aval)
    if preferred_element_type is not None:
        ct, y = common_dtype(ct, y)
    # Groups of output features become groups of input features; batch groups come out as
    # groups of features, and go back to the batch.
    kernel = _regroup(y, rhs_spec[0], rhs_spec[1], feature_group_count * batch_group_count)
    pads = [
        transposed_pads(
            dilated(x.aval.shape[d_in], spread),
            dilated(typeof(y).shape[d_window], dilation),
            dilated(typeof(ct).shape[d_out], stride),
            lo,
        )
        for d_in, d_window, d_out, (lo, _), stride, spread, dilation in zip(
            lhs_spec[2:], rhs_spec[2:], out_spec[2:], padding, window_strides, lhs_dilation,
            rhs_dilation, strict=True,
        )
    ]  # fmt: skip
    out = conv_general_dilated_p.bind(
        ct,
        rev(kernel, rhs_spec[2:]),
        window_strides=lhs_dilation,
        padding=tuple(pads),
        lhs_dilation=window_strides,
        rhs_dilation=rhs_dilation,
        dimension_numbers=ConvDimensionNumbers(out_spec, _swapped(rhs_spec), lhs_spec),
        feature_group_count=feature_group_count * batch_group_count,
        batch_group_count=1,
        preferred_element_type=None,
    )
    out = _regroup(out, lhs_spec[1], lhs_spec[0], batch_group_count)
    return convert_element_type(out, x.aval.dtype)


def _conv_transpose_rhs(
    ct: Any,
    x: Any,
    y: Any,
    *,
    window_strides: tuple[int, ...],
    padding: Padding,
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    dimension_numbers: ConvDimensionNumbers,
    feature_group_count: int,
    batch_group_count: int,
    preferred_element_type: np.dtype | None,
) -> Any:
    lhs_spec, rhs_spec, out_spec = dimension_numbers
    if 0 in typeof(ct).shape or 0 in typeof(x).shape or 0 in y.aval.shape:
        return zeros_of(y.aval)
    if preferred_element_type is not None:
        x, ct = common_dtype(x, ct)
    pads = []
    for d_in, d_window, d_out, (lo, _), stride, spread, dilation in zip(
        lhs_spec[2:], rhs_spec[2:], out_spec[2:], padding, window_strides, lhs_dilation,
        rhs_dilation, strict=True,
    ):  # fmt: skip
        size = dilated(typeof(x).shape[d_in], spread)
        window = dilated(y.aval.shape[d_window], dilation)
        pads.append((lo, dilated(typeof(ct).shape[d_out], stride) + window - 1 - size - lo))
    # The batch is summed over as features are, the input features go along as a batch does: so
    # groups of one kind become groups of the other.
    out = conv_general_dilated_p.bind(
        x,
        ct,
        window_strides=rhs_dilation,
        padding=tuple(pads),
        lhs_dilation=lhs_dilation,
        rhs_dilation=window_strides,
        dimension_numbers=ConvDimensionNumbers(
            _swapped(lhs_spec), _swapped(out_spec), _swapped(rhs_spec)
        ),
        feature_group_count=batch_group_count,
        batch_group_count=feature_group_count,
        preferred_element_type=None,
    )
    return convert_element_type(out, y.aval.dtype)


def _conv_batch(
    axis: Any,
    args: Any,
    dims: Any,
    *,
    dimension_numbers: ConvDimensionNumbers,
    feature_group_count: int,
    batch_group_count: int,
    **params: Any,
) -> Any:
    (x, y), (xd, yd), size = args, dims, axis.size
    lhs_spec, rhs_spec, out_spec = dimension_numbers
    groups = feature_group_count * batch_group_count

    def convolve(x: Any, y: Any, features: int, batches: int) -> Any:
        return conv_general_dilated_p.bind(
            x,
            y,
            dimension_numbers=dimension_numbers,
            feature_group_count=features,
            batch_group_count=batches,
            **params,
        )

    if size == 0:
        return _empty_batch(x, y, xd, yd, dimension_numbers, feature_group_count,
                            batch_group_count, params), 0  # fmt: skip
    if xd is not None and yd is not None:  # each lane a group of its own
        x = _fold(x, xd, lhs_spec[0] if batch_group_count > 1 else lhs_spec[1])
        y = _fold(y, yd, rhs_spec[0])
        if batch_group_count > 1:
            out = convolve(x, y, 1, size * batch_group_count)
        else:
            out = convolve(x, y, size * feature_group_count, 1)
        return _split(out, out_spec[1], size), out_spec[1]
    if xd is not None:  # the lanes lengthen the batch
        out = convolve(
            _fold_within(x, xd, lhs_spec[0], batch_group_count), y,
            feature_group_count, batch_group_count,
        )  # fmt: skip
        return _split(out, out_spec[0], size), out_spec[0]
    # the lanes are more output features, within each group where there are groups
    y = _fold_within(y, yd, rhs_spec[0], groups)
    out = convolve(x, y, feature_group_count, batch_group_count)
    d = out_spec[1]
    if groups == 1:
        return _split(out, d, size), d
    out = _split(_split(out, d, groups), d + 1, size)  # group, lane, feature
    return _fold(out, d, d + 1), d


def _fold_within(x: Any, source: int, into: int, groups: int) -> Any:
    """As `_fold`, below an outer part of the dimension that is `groups` long."""
    if groups == 1:
        return _fold(x, source, into)
    x = _split(move_dim(x, source, 0), into + 1, groups)
    return _merge(_fold(x, 0, into + 1), into)


def _empty_batch(
    x: Any, y: Any, xd: Any, yd: Any, dimension_numbers: Any, features: int, batches: int,
    params: dict,
) -> Any:  # fmt: skip
    lane = [
        a if d is None else a.update(shape=a.shape[:d] + a.shape[d + 1 :])
        for a, d in ((typeof(x), xd), (typeof(y), yd))
    ]
    out = _conv_aval(
        *lane,
        dimension_numbers=dimension_numbers,
        feature_group_count=features,
        batch_group_count=batches,
        **params,
    )
    return zeros_of(out.update(shape=(0, *out.shape)))


conv_general_dilated_p = bilinear(
    "conv_general_dilated",
    abstract_eval=_conv_aval,
    transpose_lhs=_conv_transpose_lhs,
    transpose_rhs=_conv_transpose_rhs,
    batch=_conv_batch,
)


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """A convolution (the kernel is not flipped) of any rank.

    Args:
        lhs: the input.
        rhs: the kernel, of the same rank and dtype.
        window_strides: distance between windows in each spatial dimension.
        padding: "SAME", "SAME_LOWER", "VALID", or a (low, high) pair for each spatial dimension;
            negative padding cuts off.
        lhs_dilation: distance to which input elements are moved apart (a transposed convolution).
        rhs_dilation: distance between the elements of a window (an atrous convolution).
        dimension_numbers: the layouts, as for `conv_dimension_numbers`.
        feature_group_count: groups of features convolved separately.
        batch_group_count: groups of the batch, each meeting its own group of output features.
        precision: accepted for JAX's sake; products have the full precision of their dtype.
        preferred_element_type: the dtype of the result, where not that of the operands.

    Returns:
        An array laid out as ``dimension_numbers`` says.

    Raises:
        TypeError: if dtypes differ, or features don't fit.
        ValueError: if strides, dilations, padding or groups are invalid.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[[1., 2., 3., 4.]]])
        >>> nr.lax.conv_general_dilated(x, nr.numpy.array([[[1., -1.]]]), (1,), "VALID")
        Array([[[-1., -1., -1.]]], dtype=float32)
    """
    op = "conv_general_dilated"
    lhs, rhs = product_operands(op, lhs, rhs)
    specs = _dimension_numbers(lhs.ndim, rhs.ndim, _as_key(dimension_numbers))
    rank = lhs.ndim - 2
    strides = steps(op, "window_strides", window_strides, rank)
    spread = steps(op, "lhs_dilation", lhs_dilation, rank)
    dilation = steps(op, "rhs_dilation", rhs_dilation, rank)
    if isinstance(padding, str):
        if spread != (1,) * rank:
            raise ValueError(
                f"{op}: with lhs_dilation, padding must be (low, high) pairs; got {padding!r} and "
                f"{spread}. Use nr.lax.conv_transpose."
            )
        window = [dilated(rhs.shape[d], r) for d, r in zip(specs.rhs_spec[2:], dilation)]
        padding = padtype_to_pads(
            [lhs.shape[d] for d in specs.lhs_spec[2:]], window, strides, padding
        )
    if preferred_element_type is not None:
        preferred_element_type = dtypes.canonicalize(preferred_element_type)
        if preferred_element_type == lhs.dtype:
            preferred_element_type = None
    params = {
        "window_strides": strides,
        "padding": explicit_padding(op, padding),
        "lhs_dilation": spread,
        "rhs_dilation": dilation,
        "dimension_numbers": specs,
        "feature_group_count": int(feature_group_count),
        "batch_group_count": int(batch_group_count),
        "preferred_element_type": preferred_element_type,
    }
    # Kernels may take operands that don't fit, and broadcast or promote: check before.
    _conv_aval(lhs.aval, rhs.aval, **params)
    return conv_general_dilated_p.bind(lhs, rhs, **params)


def conv(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """A convolution of (N, C, space) with (O, I, window), without dilation or groups."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """A convolution of (N, C, space) with (O, I, window), with dilation."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation,
        preferred_element_type=preferred_element_type,
    )  # fmt: skip


_CHANNELS_LAST = {
    2: ("NC", "IO", "NC"),
    3: ("NHC", "HIO", "NHC"),
    4: ("NHWC", "HWIO", "NHWC"),
    5: ("NHWDC", "HWDIO", "NHWDC"),
}


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
    use_consistent_padding: bool = False,
) -> Array:
    """A transposed ("fractionally strided") convolution, which widens its input by the strides.

    Args:
        lhs: the input.
        rhs: the kernel.
        strides: by how much each spatial dimension grows.
        padding: "SAME" (size times stride), "VALID" (all positions that a forward "VALID"
            convolution could have come from), or pairs that pad the widened input.
        rhs_dilation: distance between the elements of a window.
        dimension_numbers: the layouts; None means features last, as in ("NHWC", "HWIO", "NHWC").
        transpose_kernel: flip the window and exchange O and I, which makes this the gradient of
            the convolution with the same kernel.
        precision: accepted for JAX's sake.
        preferred_element_type: the dtype of the result, where not that of the operands.
        use_consistent_padding: pairs, too, are the padding of a forward convolution that this one
            goes back through.

    Example:
        >>> import nr
        >>> x, w = nr.numpy.ones((1, 2, 1)), nr.numpy.ones((2, 1, 1))
        >>> nr.lax.conv_transpose(x, w, (2,), "VALID").shape
        (1, 4, 1)
    """
    op = "conv_transpose"
    lhs, rhs = product_operands(op, lhs, rhs)
    if dimension_numbers is None:
        if lhs.ndim not in _CHANNELS_LAST:
            raise ValueError(
                f"{op}: dimension_numbers must be given for rank {lhs.ndim}; got {lhs.aval} for "
                f'"lhs" and {rhs.aval} for "rhs".'
            )
        dimension_numbers = _CHANNELS_LAST[lhs.ndim]
    specs = conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    rank = lhs.ndim - 2
    strides = steps(op, "strides", strides, rank)
    dilation = steps(op, "rhs_dilation", rhs_dilation, rank)
    windows = [dilated(rhs.shape[d], r) for d, r in zip(specs.rhs_spec[2:], dilation)]
    if isinstance(padding, str):
        padding = [widening_pads(n, s, padding) for n, s in zip(windows, strides)]
    elif use_consistent_padding:
        padding = [(n - 1 - lo, n - 1 - hi) for n, (lo, hi) in zip(windows, padding)]
    if transpose_kernel:
        rhs = rev(rhs, specs.rhs_spec[2:])
        specs = specs._replace(rhs_spec=_swapped(specs.rhs_spec))
    return conv_general_dilated(
        lhs, rhs, (1,) * rank, padding, strides, dilation, specs,
        preferred_element_type=preferred_element_type,
    )  # fmt: skip


def widening_pads(window: int, stride: int, padding: str) -> tuple[int, int]:
    """How `conv_transpose` pads its widened input; the window is given with its dilation."""
    kind = padding.upper()
    if kind == "SAME":
        total = window + stride - 2
        low = window - 1 if stride > window - 1 else -(-total // 2)
    elif kind == "VALID":
        total = window + stride - 2 + max(window - stride, 0)
        low = window - 1
    else:
        raise ValueError(
            f'conv_transpose: padding must be "SAME", "VALID" or pairs; got {padding!r}.'
        )
    return low, total - low
