"""Op cases of nr.lax.reduce and nr.lax.cumulative."""

import numpy as np

import nr
from tests.cases.base import (
    BOOL,
    COMPLEX,
    FLOATS,
    INTS,
    OpCase,
    booleans,
    distinct,
    integers,
    normal,
    positive,
)

F64 = ("float64",)
# (shape, axes): the usual ones, several axes in either order, all, none, rank 0, and empty ones.
REDUCTIONS = [
    ((3, 4), (0,)),
    ((3, 4), (1,)),
    ((3, 4), (0, 1)),
    ((2, 3, 4), (0, 2)),
    ((2, 3, 4), (2, 0)),
    ((2, 3, 4), (1,)),
    ((5,), (0,)),
    ((1, 7), (1,)),
    ((3, 4), ()),
    ((), ()),
    ((0, 3), (0,)),
    ((0, 3), (1,)),
    ((3, 0), (0, 1)),
]
LAX = nr.lax


def _reductions(name, reference, sample, dtypes, *, grad=True, shapes=REDUCTIONS, note=""):
    run = getattr(LAX, name)
    return [
        OpCase(
            f"{name} {note}{shape} axes={axes}",
            lambda x, axes=axes: run(x, axes),
            lambda rng, dt, shape=shape: (sample(rng, dt, shape),),
            lambda x, axes=axes: reference(x, axis=axes),
            dtypes,
            grad=grad,
            primitive=name,
        )
        for shape, axes in shapes
    ]


def _small(rng, dt, shape):
    return integers(rng, dt, shape, 0, 5)


def _some_zeros(zeros):
    """Positive numbers with that many zeros along axis 1."""

    def sample(rng, dt, shape):
        x = positive(rng, dt, shape)
        x[:, :zeros] = 0
        return x

    return sample


def _flags(rng, dt, shape):
    return booleans(rng, shape)


def _extreme_reference(method, identity):
    # NumPy has no largest element of nothing; nr gives the identity, as XLA does.
    def reference(x, axis):
        reduced = tuple(x.shape[a] for a in axis)
        initial = {"initial": identity} if 0 in reduced else {}
        return getattr(np, method)(x, axis=axis, **initial)

    return reference


_MAX, _MIN = _extreme_reference("max", -np.inf), _extreme_reference("min", np.inf)
_FULL = [(shape, axes) for shape, axes in REDUCTIONS if 0 not in shape]
_EMPTY = [(shape, axes) for shape, axes in REDUCTIONS if 0 in shape]

SUMS = [
    *_reductions("reduce_sum", np.sum, normal, FLOATS),
    *_reductions("reduce_sum", np.sum, normal, COMPLEX, shapes=REDUCTIONS[:4]),
    *_reductions("reduce_sum", np.sum, _small, INTS, grad=False, shapes=REDUCTIONS[:4]),
]

PRODUCTS = [
    *_reductions("reduce_prod", np.prod, normal, FLOATS),
    *_reductions("reduce_prod", np.prod, normal, COMPLEX, shapes=REDUCTIONS[:4]),
    *_reductions("reduce_prod", np.prod, _small, INTS, grad=False, shapes=REDUCTIONS[:2]),
    *[
        case
        for zeros in (1, 2, 3)
        for case in _reductions(
            "reduce_prod",
            np.prod,
            _some_zeros(zeros),
            F64,
            shapes=[((2, 5), (1,)), ((2, 4), (0, 1))],
            note=f"{zeros} zeros ",
        )
    ],
]

EXTREMES = [
    *_reductions("reduce_max", _MAX, distinct, FLOATS, shapes=_FULL),
    *_reductions("reduce_max", _MAX, distinct, FLOATS, shapes=_EMPTY, grad=False),
    *_reductions("reduce_min", _MIN, distinct, FLOATS, shapes=_FULL),
    *_reductions("reduce_min", _MIN, distinct, FLOATS, shapes=_EMPTY, grad=False),
    *_reductions("reduce_max", _MAX, _small, INTS, grad=False, shapes=_FULL),
    *_reductions("reduce_min", _MIN, _small, INTS, grad=False, shapes=_FULL),
]

BITS = [
    *[
        case
        for name, ufunc in (
            ("reduce_and", np.bitwise_and),
            ("reduce_or", np.bitwise_or),
            ("reduce_xor", np.bitwise_xor),
        )
        for sample, dtypes in ((_flags, BOOL), (_small, INTS))
        for case in _reductions(
            name, ufunc.reduce, sample, dtypes, grad=False, shapes=[*REDUCTIONS[:4], ((0, 3), (0,))]
        )
    ],
]


def _positions(name, reference, sample, dtypes):
    run = getattr(LAX, name)
    return [
        OpCase(
            f"{name} {shape} axis={axis} {index_dtype}",
            lambda x, axis=axis, index_dtype=index_dtype: run(x, axis, index_dtype),
            lambda rng, dt, shape=shape: (sample(rng, dt, shape),),
            lambda x, axis=axis, index_dtype=index_dtype: reference(x, axis).astype(index_dtype),
            dtypes,
            grad=False,
            primitive=name,
        )
        for shape, axis, index_dtype in [
            ((3, 4), 0, "int32"),
            ((3, 4), 1, "int64"),
            ((2, 3, 4), -2, "int32"),
            ((6,), 0, "uint8"),
            ((0, 3), 1, "int32"),
        ]
    ]


POSITIONS = [
    *_positions("argmax", np.argmax, distinct, FLOATS),
    *_positions("argmin", np.argmin, distinct, FLOATS),
    *_positions("argmax", np.argmax, _small, INTS),  # with ties: the first one counts
    *_positions("argmin", np.argmin, _small, INTS),
    *_positions("argmax", np.argmax, _flags, BOOL),
]


# ---------------------------------------------------------------- reduce
def _longer(x, y):
    """An associative function that is no monoid of nr's: x + y + x y, with identity 0."""
    return LAX.add(LAX.add(x, y), LAX.mul(x, y))


def _first_largest(x, y):
    """The pair with the larger first entry, the earlier one of equals."""
    keep = LAX.ge(x[0], y[0])
    return tuple(LAX.select(keep, a, b) for a, b in zip(x, y, strict=True))


def _general(name, computation, init, shape, axes, reference, dtypes=FLOATS, sample=normal):
    return OpCase(
        f"reduce {name} {shape} axes={axes}",
        lambda x: LAX.reduce(x, init, computation, axes),
        lambda rng, dt: (sample(rng, dt, shape),),
        reference,
        dtypes,
    )


GENERAL = [
    _general("add", LAX.add, 0.0, (3, 4), (1,), lambda x: x.sum(1)),
    _general("add from 2", LAX.add, 2.0, (3, 4), (0, 1), lambda x: x.sum() + 2),
    _general("mul from -1", LAX.mul, -1.0, (3, 4), (0,), lambda x: -x.prod(0)),
    _general("max", LAX.max, -np.inf, (3, 4), (1,), lambda x: x.max(1), sample=distinct),
    _general("min", LAX.min, np.inf, (3, 4), (0,), lambda x: x.min(0), sample=distinct),
    *[
        _general(
            "x + y + xy",
            _longer,
            0.0,
            shape,
            axes,
            lambda x, axes=axes: (1 + x).prod(axes) - 1,
            ("float32", "float64"),  # bfloat16 would be rounded at each step
        )
        for shape, axes in [((3, 4), (1,)), ((7, 2), (0,)), ((2, 3, 3), (0, 2)), ((0, 2), (0,))]
    ],
    OpCase(
        "reduce of pairs (3, 5) axes=(1,)",
        lambda x, y: LAX.reduce((x, y), (-np.inf, 0.0), _first_largest, (1,)),
        lambda rng, dt: (distinct(rng, dt, (3, 5)), normal(rng, dt, (3, 5))),
        lambda x, y: (x.max(1), np.take_along_axis(y, x.argmax(1)[:, None], 1)[:, 0]),
        FLOATS,
    ),
]


# ---------------------------------------------------------------- cumulative
SCANS = [((5,), 0), ((3, 4), 0), ((3, 4), 1), ((2, 7, 2), 1), ((1, 3), 0), ((0, 3), 0), ((2, 0), 0)]


def _cumulative(name, reference, sample, dtypes, *, grad=True, scans=SCANS, note=""):
    run = getattr(LAX, name)

    def expected(x, axis, reverse):
        return np.flip(reference(np.flip(x, axis), axis), axis) if reverse else reference(x, axis)

    return [
        OpCase(
            f"{name} {note}{shape} axis={axis} reverse={reverse}",
            lambda x, axis=axis, reverse=reverse: run(x, axis, reverse),
            lambda rng, dt, shape=shape: (sample(rng, dt, shape),),
            lambda x, axis=axis, reverse=reverse: expected(x, axis, reverse),
            dtypes,
            grad=grad,
            primitive=name,
        )
        for shape, axis in scans
        for reverse in (False, True)
    ]


def _zeros_between(rng, dt, shape):
    x = positive(rng, dt, shape)
    x[..., [1, 3]] = 0
    return x


CUMULATIVE = [
    *_cumulative("cumsum", np.cumsum, normal, FLOATS),
    *_cumulative("cumsum", np.cumsum, normal, COMPLEX, scans=SCANS[:2]),
    *_cumulative("cumsum", np.cumsum, _small, INTS, grad=False, scans=SCANS[:3]),
    *_cumulative("cumprod", np.cumprod, normal, FLOATS),
    *_cumulative("cumprod", np.cumprod, normal, COMPLEX, scans=SCANS[:2]),
    *_cumulative("cumprod", np.cumprod, _zeros_between, F64, scans=[((2, 6), 1)], note="zeros "),
    *_cumulative("cummax", np.maximum.accumulate, distinct, FLOATS),
    *_cumulative("cummax", np.maximum.accumulate, _small, INTS, grad=False, scans=SCANS[:3]),
    *_cumulative("cummin", np.minimum.accumulate, distinct, FLOATS),
    *_cumulative("cummin", np.minimum.accumulate, _small, INTS, grad=False, scans=SCANS[:3]),
    *_cumulative("cumlogsumexp", np.logaddexp.accumulate, normal, FLOATS),
    *_cumulative(
        "cumlogsumexp",
        np.logaddexp.accumulate,
        lambda rng, dt, shape: normal(rng, dt, shape) * 500,  # exp overflows
        F64,
        scans=[((9,), 0)],
        note="wide ",
    ),
]

CASES = [*SUMS, *PRODUCTS, *EXTREMES, *BITS, *POSITIONS, *GENERAL, *CUMULATIVE]
