"""Op cases of nr.lax.sort."""

import numpy as np

import nr
from tests.cases.base import (
    BOOL,
    FLOATS,
    INTS,
    OpCase,
    booleans,
    distinct,
    integers,
    normal,
)

LAX = nr.lax
SHAPES = [((6,), 0), ((3, 4), 0), ((3, 4), -1), ((2, 5, 3), 1), ((1,), 0), ((0, 3), 0), ((3, 0), 0)]


def _repeats(rng, dt, shape):
    return integers(rng, dt, shape, 0, 4)


def _sorts(sample, dtypes, *, grad=True):
    return [
        OpCase(
            f"sort {shape} dimension={dimension}",
            lambda x, dimension=dimension: LAX.sort(x, dimension),
            lambda rng, dt, shape=shape: (sample(rng, dt, shape),),
            lambda x, dimension=dimension: np.sort(x, axis=dimension),
            dtypes,
            grad=grad,
            primitive="sort",
        )
        for shape, dimension in SHAPES
    ]


def _by_key(keys, values, dimension):
    order = np.argsort(keys, axis=dimension, kind="stable")
    return (
        np.take_along_axis(keys, order, dimension),
        np.take_along_axis(values, order, dimension),
    )


def _lexicographic(a, b, c):
    order = np.lexsort((b, a), axis=0)
    return tuple(np.take_along_axis(x, order, 0) for x in (a, b, c))


SORTS = [
    *_sorts(distinct, FLOATS),
    *_sorts(_repeats, INTS, grad=False),
    *_sorts(lambda rng, dt, shape: booleans(rng, shape), BOOL, grad=False),
    *[
        OpCase(
            f"sort_key_val {shape} dimension={dimension}",
            lambda x, y, dimension=dimension: LAX.sort_key_val(x, y, dimension),
            lambda rng, dt, shape=shape: (distinct(rng, dt, shape), normal(rng, dt, shape)),
            lambda x, y, dimension=dimension: _by_key(x, y, dimension),
            FLOATS,
            primitive="sort",
        )
        for shape, dimension in SHAPES
    ],
    OpCase(
        "sort_key_val, integer keys with ties",
        lambda keys, x: LAX.sort_key_val(keys, x, 0),
        lambda rng, dt: (_repeats(rng, np.dtype("int32"), (8, 2)), normal(rng, dt, (8, 2))),
        lambda keys, x: _by_key(keys, x, 0),
        FLOATS,
        grad=(1,),
        primitive="sort",
    ),
    OpCase(
        "sort of three, two keys",
        lambda a, b, c: LAX.sort((a, b, c), 0, num_keys=2),
        lambda rng, dt: (
            _repeats(rng, np.dtype("int32"), (7, 2)),
            distinct(rng, dt, (7, 2)),
            normal(rng, dt, (7, 2)),
        ),
        _lexicographic,
        FLOATS,
        grad=(1, 2),
        primitive="sort",
    ),
]


def _top_k_reference(x, k, axis):
    order = np.take(np.argsort(-x, axis=axis, kind="stable"), range(k), axis)
    return np.take_along_axis(x, order, axis), order.astype(np.int32)


def _top_k(shape, k, axis, sample, dtypes, *, grad=True):
    return OpCase(
        f"top_k {shape} k={k} axis={axis}",
        lambda x: LAX.top_k(x, k, axis=axis),
        lambda rng, dt: (sample(rng, dt, shape),),
        lambda x: _top_k_reference(x, k, axis),
        dtypes,
        grad=grad,
        primitive="top_k",
    )


TOP_KS = [
    _top_k((6,), 2, -1, distinct, FLOATS),
    _top_k((3, 5), 5, -1, distinct, FLOATS),
    _top_k((4, 3), 2, 0, distinct, FLOATS),
    _top_k((2, 4, 3), 3, 1, distinct, FLOATS),
    _top_k((2, 4), 0, 1, distinct, FLOATS),
    _top_k((0, 4), 2, 1, distinct, FLOATS),
    _top_k((3, 8), 4, -1, _repeats, ("int8", "int32", "int64"), grad=False),  # ties: lower first
]

CASES = [*SORTS, *TOP_KS]
