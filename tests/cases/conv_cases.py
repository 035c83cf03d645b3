"""Op cases of nr.lax.conv, and of the patches that convolutions meet."""

import itertools

import numpy as np

import nr
from tests.cases.base import FLOATS, OpCase, integers, normal

F64 = ("float64",)
NHWC = ("NHWC", "HWIO", "NHWC")
NHC = ("NHC", "HIO", "NHC")


# ---------------------------------------------------------------- reference
def convolution(
    x,
    y,
    strides,
    padding,
    lhs_dilation=None,
    rhs_dilation=None,
    dimension_numbers=None,
    feature_group_count=1,
    batch_group_count=1,
):
    """The definition, one product at a time: O(outputs * window) Python steps."""
    letters = "XYZ"[: x.ndim - 2]
    lhs, rhs, out = dimension_numbers or ("NC" + letters, "OI" + letters, "NC" + letters)
    letters = [c for c in rhs if c not in "OI"]
    wide = np.int64 if x.dtype.kind in "iu" else np.float64
    dtype = x.dtype
    x = x.astype(wide).transpose([lhs.index(c) for c in ("N", "C", *letters)])
    y = y.astype(wide).transpose([rhs.index(c) for c in ("O", "I", *letters)])
    rank = len(letters)
    spread, reach = lhs_dilation or (1,) * rank, rhs_dilation or (1,) * rank
    sizes = [(n - 1) * d + 1 for n, d in zip(x.shape[2:], spread, strict=True)]
    windows = [(n - 1) * d + 1 for n, d in zip(y.shape[2:], reach, strict=True)]
    if isinstance(padding, str):
        padding = [_pads(n, w, s, padding) for n, w, s in zip(sizes, windows, strides, strict=True)]
    space = [
        max(0, (n + lo + hi - w) // s + 1)
        for n, w, s, (lo, hi) in zip(sizes, windows, strides, padding, strict=True)
    ]
    batch, features = x.shape[0] // batch_group_count, y.shape[1]
    per_group = y.shape[0] // (feature_group_count * batch_group_count)
    result = np.zeros((batch, y.shape[0], *space), wide)
    for n, o, *place in np.ndindex(*result.shape):
        group = o // per_group
        row = n + batch * group if batch_group_count > 1 else n
        first = features * group if feature_group_count > 1 else 0
        for tap in itertools.product(*map(range, y.shape[2:])):
            at = [
                p * s + k * d - lo
                for p, s, k, d, (lo, _) in zip(place, strides, tap, reach, padding, strict=True)
            ]
            inside = all(0 <= a < n for a, n in zip(at, sizes, strict=True))
            if inside and not any(a % d for a, d in zip(at, spread, strict=True)):
                source = tuple(a // d for a, d in zip(at, spread, strict=True))
                for i in range(features):
                    result[(n, o, *place)] += x[(row, first + i, *source)] * y[(o, i, *tap)]
    return result.transpose([["N", "C", *letters].index(c) for c in out]).astype(dtype)


def _pads(size, window, stride, padding):
    if padding == "VALID":
        return 0, 0
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    low = total // 2 if padding == "SAME" else -(-total // 2)
    return low, total - low


def patches(x, window, strides, padding):
    """The windows by fancy indexing: x is [N, C, H], the result [N, C * window, positions]."""
    lo, hi = padding
    padded = np.pad(x, [(0, 0), (0, 0), (lo, hi)])
    starts = np.arange(0, padded.shape[2] - window + 1, strides)
    taken = padded[:, :, starts[None, :] + np.arange(window)[:, None]]
    return taken.reshape(x.shape[0], -1, len(starts))


def upsampled(x, y, strides, padding, transpose_kernel=False):
    """conv_transpose in 1 dimension with explicit padding, features last."""
    if transpose_kernel:
        y = y[::-1].swapaxes(1, 2)
    return convolution(x, y, (1,), padding, strides, None, NHC)


# ---------------------------------------------------------------- cases
def _case(name, a, b, strides, padding, dtypes=F64, sample=normal, *, grad=True, **params):
    return OpCase(
        f"conv_general_dilated {name}",
        lambda x, y: nr.lax.conv_general_dilated(x, y, strides, padding, **params),
        lambda rng, dt: (sample(rng, dt, a), sample(rng, dt, b)),
        lambda x, y: convolution(x, y, strides, padding, **params),
        dtypes,
        grad=grad,
        primitive="conv_general_dilated",
    )


def _integers(rng, dt, shape):
    return integers(rng, dt, shape, -3, 4)


CASES = [
    _case("valid", (2, 3, 5), (4, 3, 2), (1,), "VALID", FLOATS),
    _case("same", (2, 2, 5), (3, 2, 3), (2,), "SAME", FLOATS),
    _case("same lower", (1, 2, 5), (3, 2, 2), (1,), "SAME_LOWER"),
    _case("no space", (2, 3), (4, 3), (), "VALID"),
    _case("2d", (1, 2, 3, 4), (2, 2, 2, 3), (1, 2), [(1, 0), (1, 1)], FLOATS),
    _case("3d", (1, 1, 2, 3, 2), (2, 1, 2, 1, 2), (1, 2, 1), "SAME"),
    _case("nhwc", (1, 3, 4, 2), (2, 2, 2, 3), (1, 1), "SAME", FLOATS, dimension_numbers=NHWC),
    _case(
        "mixed layouts",
        (3, 2, 1, 4),
        (2, 3, 2, 2),
        (1, 2),
        [(1, 0), (0, 1)],
        dimension_numbers=("HCNW", "IOHW", "WNCH"),
    ),
    _case("negative padding", (1, 2, 7), (3, 2, 2), (2,), [(-1, -2)]),
    _case("padding of both signs", (1, 2, 5), (3, 2, 2), (1,), [(-2, 3)]),
    _case("wide padding", (1, 1, 2), (1, 1, 2), (1,), [(4, 3)]),
    _case("lhs dilation", (1, 2, 4), (3, 2, 3), (1,), [(2, 1)], lhs_dilation=(2,)),
    _case("rhs dilation", (1, 2, 6), (3, 2, 2), (2,), [(1, 2)], rhs_dilation=(3,)),
    _case(
        "both dilations",
        (1, 2, 4),
        (3, 2, 2),
        (3,),
        [(4, -1)],
        lhs_dilation=(3,),
        rhs_dilation=(2,),
    ),
    _case("stride leaves a rest", (1, 1, 8), (1, 1, 2), (3,), "VALID"),
    _case("feature groups", (2, 4, 4), (6, 2, 2), (1,), "SAME", FLOATS, feature_group_count=2),
    _case("depthwise", (1, 3, 4), (6, 1, 2), (1,), [(1, 1)], feature_group_count=3),
    _case(
        "depthwise nhwc",
        (1, 3, 3, 2),
        (2, 2, 1, 4),
        (2, 1),
        "SAME",
        dimension_numbers=NHWC,
        feature_group_count=2,
    ),
    _case(
        "feature groups dilated",
        (1, 4, 4),
        (2, 2, 2),
        (2,),
        [(2, 1)],
        feature_group_count=2,
        lhs_dilation=(2,),
        rhs_dilation=(2,),
    ),
    _case("batch groups", (4, 2, 4), (6, 2, 2), (1,), "SAME", FLOATS, batch_group_count=2),
    _case(
        "batch groups dilated",
        (6, 2, 3),
        (3, 2, 2),
        (2,),
        [(1, 2)],
        batch_group_count=3,
        lhs_dilation=(2,),
    ),
    _case("empty result", (1, 2, 2), (3, 2, 4), (1,), "VALID"),
    _case("empty batch", (0, 2, 3), (3, 2, 2), (1,), "VALID"),
    _case("integer", (1, 2, 4), (3, 2, 2), (1,), "SAME", ("int32",), _integers, grad=False),
    OpCase(
        "conv",
        lambda x, y: nr.lax.conv(x, y, (2,), "SAME"),
        lambda rng, dt: (normal(rng, dt, (1, 2, 5)), normal(rng, dt, (3, 2, 2))),
        lambda x, y: convolution(x, y, (2,), "SAME"),
        F64,
        primitive="conv_general_dilated",
    ),
    OpCase(
        "conv_with_general_padding",
        lambda x, y: nr.lax.conv_with_general_padding(x, y, (1,), [(1, 2)], (2,), (2,)),
        lambda rng, dt: (normal(rng, dt, (1, 2, 3)), normal(rng, dt, (3, 2, 2))),
        lambda x, y: convolution(x, y, (1,), [(1, 2)], (2,), (2,)),
        F64,
        primitive="conv_general_dilated",
    ),
    *[
        OpCase(
            f"conv_transpose window={window} stride={stride} {padding}{' transposed' * flip}",
            lambda x, y, s=stride, p=padding, flip=flip: nr.lax.conv_transpose(
                x, y, (s,), p, transpose_kernel=flip
            ),
            lambda rng, dt, w=window: (normal(rng, dt, (1, 3, 2)), normal(rng, dt, (w, 2, 2))),
            lambda x, y, s=stride, pads=pads, flip=flip: upsampled(x, y, (s,), [pads], flip),
            F64,
            primitive="conv_general_dilated",
        )
        # the pads are those of the arithmetic of "SAME" and "VALID", worked out by hand
        for window, stride, padding, pads, flip in [
            (3, 1, "SAME", (1, 1), False),
            (3, 2, "SAME", (2, 1), False),
            (2, 3, "SAME", (1, 2), True),
            (3, 2, "VALID", (2, 2), False),
            (2, 3, "VALID", (1, 2), False),
            (2, 2, [(0, 1)], (0, 1), True),
        ]
    ],
    OpCase(
        "conv_general_dilated_patches",
        lambda x: nr.lax.conv_general_dilated_patches(x, (3,), (2,), [(1, 0)]),
        lambda rng, dt: (normal(rng, dt, (2, 2, 6)),),
        lambda x: patches(x, 3, 2, (1, 0)),
        FLOATS,
        primitive="conv_general_dilated",
    ),
]
