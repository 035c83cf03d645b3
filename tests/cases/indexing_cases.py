"""Op cases of gather, the scatters, dynamic slices, and NumPy indexing on top of them."""

import numpy as np

import nr
from nr.lax.checks import check_index
from tests.cases.base import BOOL, COMPLEX, FLOATS, INTS, OpCase, booleans, integers, normal

LAX = nr.lax
# Sums and products of bfloat16 round once in nr and at every step in the reference.
SUMS = {"bfloat16": 2e-2}
ANY = (*FLOATS, *INTS, *BOOL, *COMPLEX)
NUMBERS = (*FLOATS, *INTS, *COMPLEX)


def _sample(rng, dt, shape):
    if dt == np.dtype(bool):
        return booleans(rng, shape)
    if np.dtype(dt).kind in "iu":
        return integers(rng, dt, shape, 0, 9)
    return normal(rng, dt, shape)


def _gather_dims(*fields):
    return LAX.GatherDimensionNumbers(*fields)


def _scatter_dims(*fields):
    return LAX.ScatterDimensionNumbers(*fields)


# ---------------------------------------------------------------- gather
ROWS = np.array([[0], [3], [1], [3]], np.int32)
OUTSIDE = np.array([[0], [7], [-2], [3]], np.int32)
PAIRS = np.array([[2, 1], [0, 2], [2, 1]], np.int32)


def _rows(x, indices, mode, fill_value=None):
    dims = _gather_dims((1,), (0,), (0,))
    return LAX.gather(x, indices, dims, (1, x.shape[1]), mode=mode, fill_value=fill_value)


def _filled_rows(x, indices, fill_value):
    inside = (indices[:, 0] >= 0) & (indices[:, 0] < len(x))
    taken = x[np.clip(indices[:, 0], 0, len(x) - 1)]
    return np.where(inside[:, None], taken, np.asarray(fill_value).astype(x.dtype))


def _windows(x, indices):
    return np.stack([x[i : i + 2, j : j + 2] for i, j in indices])


def _lines(x, indices):
    return np.take_along_axis(x, indices[..., 0], 1)


GATHERS = [
    OpCase(
        "check_index",
        lambda i: check_index(i, 0, 5, -5, 5),
        lambda rng, dt: (rng.integers(-5, 5, (4, 3)).astype(dt),),
        lambda i: i,
        ("int32", "int64", "int8"),
        grad=False,
        primitive="check_index",
    ),
    OpCase(
        "gather rows",
        lambda x, i: _rows(x, i, "promise_in_bounds"),
        lambda rng, dt: (_sample(rng, dt, (4, 3)), ROWS),
        lambda x, i: x[i[:, 0]],
        ANY,
        grad=(0,),
        primitive="gather",
    ),
    OpCase(
        "gather rows clip",
        lambda x, i: _rows(x, i, "clip"),
        lambda rng, dt: (_sample(rng, dt, (4, 3)), OUTSIDE),
        lambda x, i: x[np.clip(i[:, 0], 0, 3)],
        ANY,
        grad=(0,),
        primitive="gather",
    ),
    OpCase(
        "gather rows fill",
        lambda x, i: _rows(x, i, "fill", 1),
        lambda rng, dt: (_sample(rng, dt, (4, 3)), OUTSIDE),
        lambda x, i: _filled_rows(x, i, 1),
        ANY,
        grad=(0,),
        primitive="gather",
    ),
    OpCase(
        "gather windows",
        lambda x, i: LAX.gather(x, i, _gather_dims((1, 2), (), (0, 1)), (2, 2)),
        lambda rng, dt: (_sample(rng, dt, (4, 4)), PAIRS),
        _windows,
        NUMBERS,
        grad=(0,),
        primitive="gather",
    ),
    OpCase(
        "gather batched lines",
        lambda x, i: LAX.gather(x, i, _gather_dims((), (1,), (1,), (0,), (0,)), (1, 1)),
        lambda rng, dt: (
            _sample(rng, dt, (3, 4)),
            rng.integers(0, 4, (3, 2, 1)).astype(np.int32),
        ),
        _lines,
        NUMBERS,
        grad=(0,),
        primitive="gather",
    ),
]


# ---------------------------------------------------------------- scatter
def _scatter_rows(op, mode):
    def fun(x, indices, updates):
        return op(x, indices, updates, _scatter_dims((1,), (0,), (0,)), mode=mode)

    return fun


def _reference(combine, mode):
    """Row by row, in order."""

    def reference(x, indices, updates):
        out = x.copy()
        for (i,), row in zip(indices, updates, strict=True):
            if mode == "clip":
                i = min(max(i, 0), len(x) - 1)
            if 0 <= i < len(x):
                out[i] = combine(out[i], row)
        return out

    return reference


_COMBINE = {
    "scatter": (lambda old, new: new, ANY),
    "scatter_add": (np.add, NUMBERS),
    "scatter_sub": (np.subtract, NUMBERS),
    "scatter_mul": (np.multiply, NUMBERS),
    "scatter_min": (np.minimum, (*FLOATS, *INTS)),
    "scatter_max": (np.maximum, (*FLOATS, *INTS)),
}

SCATTERS = [
    OpCase(
        f"{op} rows {mode}",
        _scatter_rows(getattr(LAX, op), mode),
        lambda rng, dt: (_sample(rng, dt, (4, 3)), OUTSIDE, _sample(rng, dt, (4, 3))),
        _reference(combine, mode),
        dtypes,
        grad=(0, 2),
        tol=SUMS,
        primitive="scatter_add" if op == "scatter_sub" else op,
    )
    for op, (combine, dtypes) in _COMBINE.items()
    for mode in ("drop", "clip")
] + [
    OpCase(
        f"{op} repeated rows",
        _scatter_rows(getattr(LAX, op), "promise_in_bounds"),
        lambda rng, dt: (_sample(rng, dt, (4, 3)), ROWS, _sample(rng, dt, (4, 3))),
        _reference(combine, "drop"),
        dtypes,
        grad=(0, 2),
        tol=SUMS,
        primitive="scatter_add" if op == "scatter_sub" else op,
    )
    for op, (combine, dtypes) in _COMBINE.items()
]


# ---------------------------------------------------------------- dynamic slices
def _placed(x, update, i, j):
    out = x.copy()
    i, j = min(max(int(i), 0), 2), min(max(int(j), 0), 3)
    out[i : i + 2, j : j + 2] = update
    return out


def _starts(i, j):
    return np.asarray(i, np.int32), np.asarray(j, np.int32)


DYNAMIC = [
    OpCase(
        f"dynamic_slice at {i}, {j}",
        lambda x, i, j: LAX.dynamic_slice(x, (i, j), (2, 2)),
        lambda rng, dt, i=i, j=j: (_sample(rng, dt, (4, 5)), *_starts(i, j)),
        lambda x, i, j: x[min(i, 2) : min(i, 2) + 2, min(j, 3) : min(j, 3) + 2],
        ANY,
        grad=(0,),
        primitive="dynamic_slice",
    )
    for i, j in [(1, 2), (3, 9)]
] + [
    OpCase(
        f"dynamic_update_slice at {i}, {j}",
        lambda x, u, i, j: LAX.dynamic_update_slice(x, u, (i, j)),
        lambda rng, dt, i=i, j=j: (
            _sample(rng, dt, (4, 5)),
            _sample(rng, dt, (2, 2)),
            *_starts(i, j),
        ),
        _placed,
        ANY,
        grad=(0, 1),
        primitive="dynamic_update_slice",
    )
    for i, j in [(1, 2), (3, 9)]
]


# ---------------------------------------------------------------- NumPy indexing
I = np.array([0, 2, -1])  # noqa: E741 - an index
J = np.array([[1], [2]])
FORMS = {
    "1": np.s_[1],
    "-1, 1:": np.s_[-1, 1:],
    "::-1, ::2": np.s_[::-1, ::2],
    "..., None, 0": np.s_[..., None, 0],
    "I": np.s_[I],
    "I, J": np.s_[I, J],
    ":, I": np.s_[:, I],
    "I, :, J": np.s_[I, :, J],
    "1, :, I": np.s_[1, :, I],
    "None, I, ::-2": np.s_[None, I, ::-2],
    "mask": np.s_[np.array([True, False, True])],
}


def _selected(x, index):
    return np.shape(np.empty(x, bool)[index])


def _reference_update(x, index, v, ufunc):
    out = x.copy()
    if ufunc is None:
        out[index] = v
    else:
        ufunc.at(out, index, v)
    return out


NUMPY = [
    OpCase(
        f"x[{text}]",
        lambda x, index=index: x[index],
        lambda rng, dt: (_sample(rng, dt, (3, 4, 5)),),
        lambda x, index=index: x[index],
        ("float32", "int32"),
    )
    for text, index in FORMS.items()
] + [
    OpCase(
        f"x.at[{text}].{method}",
        lambda x, v, index=index, method=method: getattr(x.at[index], method)(v),
        lambda rng, dt, index=index: (
            _sample(rng, dt, (3, 4, 5)),
            _sample(rng, dt, _selected((3, 4, 5), index)),
        ),
        lambda x, v, index=index, ufunc=ufunc: _reference_update(x, index, v, ufunc),
        ("float32", "int32"),
    )
    for text, index in FORMS.items()
    for method, ufunc in {"set": None, "add": np.add, "multiply": np.multiply}.items()
]

CASES = [*GATHERS, *SCATTERS, *DYNAMIC, *NUMPY]
