"""Op cases of nr.lax.select."""

import numpy as np

import nr
from tests.cases.base import BOOL, COMPLEX, FLOATS, INTS, OpCase, booleans, integers, normal

LAX = nr.lax
ANY = (*FLOATS, *INTS, *BOOL, *COMPLEX)


def _sample(rng, dt, shape):
    if dt == np.dtype(bool):
        return booleans(rng, shape)
    if dt.kind in "iu":
        return integers(rng, dt, shape, 0, 100)
    return normal(rng, dt, shape)


def _chosen(which, *cases):
    return np.choose(np.broadcast_to(which, cases[0].shape).astype(int), cases)


def _select_n(which_shape, shape, count, which_dtype):
    def sample(rng, dt):
        which = integers(rng, np.dtype(which_dtype), which_shape, 0, count)
        return (which, *[_sample(rng, dt, shape) for _ in range(count)])

    return OpCase(
        f"select_n of {count} {which_dtype} {which_shape} {shape}",
        LAX.select_n,
        sample,
        _chosen,
        ANY,
        grad=tuple(range(1, count + 1)),
        primitive="select_n",
    )


CASES = [
    _select_n((5,), (5,), 2, "bool"),
    _select_n((2, 3), (2, 3), 2, "bool"),
    _select_n((), (2, 3), 2, "bool"),
    _select_n((), (), 2, "bool"),
    _select_n((0, 2), (0, 2), 2, "bool"),
    _select_n((5,), (5,), 3, "int32"),
    _select_n((), (2, 2), 4, "int32"),
    _select_n((3,), (3,), 1, "int32"),
    *[
        OpCase(
            f"select {p}, {a}, {b}",
            LAX.select,
            lambda rng, dt, p=p, a=a, b=b: (
                booleans(rng, p),
                _sample(rng, dt, a),
                _sample(rng, dt, b),
            ),
            lambda p, x, y: np.where(p, x, y),
            ANY,
            grad=(1, 2),
            primitive="select_n",
        )
        for p, a, b in [
            ((4,), (4,), (4,)),
            ((4,), (), (4,)),
            ((4,), (4,), ()),
            ((4,), (), ()),
            ((), (2, 3), (2, 3)),
        ]
    ],
]
