"""Op cases of nr.lax.window."""

import numpy as np

import nr
from nr.lax.window import select_and_gather_add_p, select_and_scatter_add_p
from tests.cases.base import BOOL, FLOATS, INTS, OpCase, booleans, distinct, integers, normal

F64 = ("float64",)
# (name, shape, window, strides, padding, base dilation, window dilation)
WINDOWS = [
    ("valid", (6,), (2,), (1,), [(0, 0)], (1,), (1,)),
    ("strided", (6,), (2,), (2,), [(0, 0)], (1,), (1,)),
    ("rest", (8,), (2,), (3,), [(0, 0)], (1,), (1,)),
    ("padded", (5,), (3,), (1,), [(1, 2)], (1,), (1,)),
    ("cropped", (7,), (2,), (2,), [(-1, 1)], (1,), (1,)),
    ("2d", (3, 4), (2, 3), (1, 2), [(1, 0), (1, 1)], (1, 1), (1, 1)),
    ("images", (1, 4, 4, 2), (1, 2, 2, 1), (1, 2, 2, 1), [(0, 0)] * 4, (1,) * 4, (1,) * 4),
    ("base dilation", (4,), (2,), (1,), [(0, 0)], (2,), (1,)),
    ("window dilation", (6,), (3,), (1,), [(1, 1)], (1,), (2,)),
    ("both dilations", (3, 3), (2, 2), (2, 1), [(0, 1), (1, 1)], (1, 2), (2, 1)),
    ("no window", (2,), (4,), (1,), [(0, 0)], (1,), (1,)),
]
PLAIN = [w for w in WINDOWS if set(w[5] + w[6]) == {1}]


# ---------------------------------------------------------------- reference
def positions(shape, window, strides, padding, base, dilation):
    """For each window, the indices of the elements in it, in row-major order."""
    rank = len(shape)
    space = [
        max(0, ((n - 1) * b + 1 + lo + hi - (w - 1) * d - 1) // s + 1)
        for n, w, s, (lo, hi), b, d in zip(
            shape, window, strides, padding, base, dilation, strict=True
        )
    ]
    found = {}
    for place in np.ndindex(*space):
        found[place] = []
        for tap in np.ndindex(*window):
            at = [place[i] * strides[i] + tap[i] * dilation[i] - padding[i][0] for i in range(rank)]
            source = tuple(at[i] // base[i] for i in range(rank))
            inside = all(0 <= source[i] < shape[i] for i in range(rank))
            if inside and not any(at[i] % base[i] for i in range(rank)):
                found[place].append(source)
    return space, found


def reduced(x, reduce, start, *window):
    """reduce over each window, with start as the first element."""
    space, found = positions(x.shape, *window)
    wide = np.float64 if x.dtype.kind in "fV" else x.dtype
    result = np.zeros(space, wide)
    for place, sources in found.items():
        result[place] = reduce(np.asarray([start, *[x[s] for s in sources]], wide))
    return result.astype(x.dtype)


def chosen(x, *window):
    """The index of the largest element (the first of them) in each window."""
    space, found = positions(x.shape, *window)
    return space, {p: max(sources, key=lambda s: float(x[s])) for p, sources in found.items()}


def scattered(source, x, *window):
    result = np.zeros(x.shape, np.float64)
    for place, at in chosen(x, *window)[1].items():
        result[at] += float(source[place])
    return result.astype(x.dtype)


def gathered(t, x, *window):
    space, found = chosen(x, *window)
    result = np.zeros(space, t.dtype)
    for place, at in found.items():
        result[place] = t[at]
    return result


# ---------------------------------------------------------------- cases
def _lowest(dtype):
    return -np.inf if dtype.kind in "fV" else np.iinfo(dtype).min


def _highest(dtype):
    return np.inf if dtype.kind in "fV" else np.iinfo(dtype).max


def _integers(rng, dt, shape):
    return integers(rng, dt, shape, 0, 9)


def _reductions(name, function, reduce, start, windows, dtypes, sample, *, grad, note=""):
    return [
        OpCase(
            f"{name} {kind}{note}",
            lambda x, w=window: nr.lax.reduce_window(x, start(np.dtype(x.dtype)), function, *w),
            lambda rng, dt, shape=shape: (sample(rng, dt, shape),),
            lambda x, w=window: reduced(x, reduce, start(x.dtype), *w),
            dtypes,
            grad=grad,
            primitive=name,
        )
        for kind, shape, *window in windows
    ]


def _zero(dtype):
    return 0


def _with_start(name, function, reduce):
    """A start value that matters: each window also meets 0.5."""
    shape, *window = WINDOWS[3][1:]
    return OpCase(
        f"{name} with a start value",
        lambda x: nr.lax.reduce_window(x, 0.5, function, *window),
        lambda rng, dt: (normal(rng, dt, shape),),
        lambda x: reduced(x, reduce, 0.5, *window),
        F64,
        primitive=name,
    )


def _windows_of(kind):
    return next(w[1:] for w in WINDOWS if w[0] == kind)


def _params(window):
    names = (
        "window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation"
    )  # fmt: skip
    params = dict(zip(names, window, strict=True))
    return {**params, "padding": tuple(params["padding"])}


def _scatter(kind):
    shape, *window = _windows_of(kind)
    params = {k: v for k, v in _params(window).items() if not k.endswith("dilation")}
    space, _ = positions(shape, *window)
    return OpCase(
        f"select_and_scatter_add {kind}",
        lambda source, x: select_and_scatter_add_p.bind(source, x, select_prim="ge", **params),
        lambda rng, dt: (normal(rng, dt, tuple(space)), distinct(rng, dt, shape)),
        lambda source, x: scattered(source, x, *window),
        FLOATS,
        grad=(0,),
        primitive="select_and_scatter_add",
    )


def _gather(kind):
    shape, *window = _windows_of(kind)
    params = _params(window)
    return OpCase(
        f"select_and_gather_add {kind}",
        lambda t, x: select_and_gather_add_p.bind(t, x, select_prim="ge", **params),
        lambda rng, dt: (normal(rng, dt, shape), distinct(rng, dt, shape)),
        lambda t, x: gathered(t, x, *window),
        FLOATS,
        grad=(0,),
        primitive="select_and_gather_add",
    )


def _gradient_with_ties(kind):
    """Where several elements of a window are the largest, the first of them has the gradient."""
    shape, *window = _windows_of(kind)
    space, _ = positions(shape, *window)
    return OpCase(
        f"gradient of reduce_window_max {kind}",
        lambda ct, x: nr.vjp(lambda x: nr.lax.reduce_window(x, -np.inf, MAX, *window), x)[1](ct)[0],
        lambda rng, dt: (normal(rng, dt, tuple(space)), integers(rng, dt, shape, 0, 2)),
        lambda ct, x: scattered(ct, x, *window),
        F64,
        grad=(0,),
        primitive="select_and_scatter_add",
    )


ADD, MAX, MIN = nr.lax.add, nr.lax.max, nr.lax.min
CASES = [
    *_reductions("reduce_window_sum", ADD, np.sum, _zero, WINDOWS, FLOATS, normal, grad=True),
    *_reductions("reduce_window_max", MAX, np.max, _lowest, WINDOWS, FLOATS, distinct, grad=True),
    *_reductions("reduce_window_min", MIN, np.min, _highest, WINDOWS, FLOATS, distinct, grad=True),
    *[
        case
        for name, function, reduce, start in [
            ("reduce_window_sum", ADD, np.sum, _zero),
            ("reduce_window_max", MAX, np.max, _lowest),
            ("reduce_window_min", MIN, np.min, _highest),
        ]
        for case in _reductions(
            name, function, reduce, start, PLAIN[3:6], INTS, _integers, grad=False, note=" integer"
        )
    ],
    *_reductions(
        "reduce_window_max",
        MAX,
        np.any,
        lambda dtype: False,
        PLAIN[:2],
        BOOL,
        lambda rng, dt, shape: booleans(rng, shape),
        grad=False,
        note=" bool",
    ),
    _with_start("reduce_window_sum", ADD, np.sum),
    _with_start("reduce_window_max", MAX, np.max),
    *map(_scatter, ["valid", "strided", "padded", "cropped", "2d"]),
    *map(_gradient_with_ties, ["padded", "2d", "base dilation", "window dilation"]),
    *map(_gather, ["strided", "padded", "2d", "base dilation", "window dilation"]),
]
