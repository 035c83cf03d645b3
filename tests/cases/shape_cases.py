"""Op cases of nr.lax.shape, nr.lax.staging and nr.lax.placement."""

import numpy as np

import nr
from nr.lax.shape import copy
from tests.cases.base import BOOL, COMPLEX, FLOATS, INTS, OpCase, booleans, integers, normal

LAX = nr.lax
ANY = (*FLOATS, *INTS, *BOOL, *COMPLEX)
SHAPES = [(3, 4), (5,), (), (0, 3)]


def _sample(rng, dt, shape):
    if dt == np.dtype(bool):
        return booleans(rng, shape)
    if dt.kind in "iu":
        return integers(rng, dt, shape, 0, 100)
    return normal(rng, dt, shape)


def _case(name, primitive, fun, reference, *shapes, dtypes=ANY, grad=True):
    return OpCase(
        name,
        fun,
        lambda rng, dt: tuple(_sample(rng, dt, shape) for shape in shapes),
        reference,
        dtypes,
        grad=grad,
        primitive=primitive,
    )


# ---------------------------------------------------------------- broadcasting
def _broadcast(x, shape, dims):
    widened = [1] * len(shape)
    for n, d in zip(x.shape, dims, strict=True):
        widened[d] = n
    return np.broadcast_to(x.reshape(widened), shape)


BROADCASTS = [
    *[
        _case(
            f"broadcast_in_dim {a} to {b} along {dims}",
            "broadcast_in_dim",
            lambda x, b=b, dims=dims: LAX.broadcast_in_dim(x, b, dims),
            lambda x, b=b, dims=dims: _broadcast(x, b, dims),
            a,
        )
        for a, b, dims in [
            ((3,), (2, 3), (1,)),
            ((3,), (3, 2), (0,)),
            ((), (2, 3), ()),
            ((), (), ()),
            ((1, 3), (2, 3), (0, 1)),
            ((2, 1), (2, 4, 3), (0, 2)),
            ((2, 3), (2, 1, 3), (0, 2)),
            ((1,), (0,), (0,)),
            ((0,), (2, 0), (1,)),
        ]
    ],
    _case(
        "broadcast",
        "broadcast_in_dim",
        lambda x: LAX.broadcast(x, (2, 1)),
        lambda x: np.broadcast_to(x, (2, 1, 3)),
        (3,),
    ),
    _case(
        "broadcast_to_rank",
        "reshape",
        lambda x: LAX.broadcast_to_rank(x, 3),
        lambda x: x[None, None],
        (3,),
    ),
    *[
        _case(
            f"expand_dims {shape} at {dims}",
            "broadcast_in_dim",
            lambda x, dims=dims: LAX.expand_dims(x, dims),
            lambda x, dims=dims: np.expand_dims(x, dims),
            shape,
        )
        for shape, dims in [((3,), (0,)), ((2, 3), (1, -1)), ((), (0, 1)), ((0, 2), (2,))]
    ],
    _case(
        "full_like",
        "broadcast_in_dim",
        lambda x: LAX.full_like(x, 1),
        np.ones_like,
        (2, 3),
        grad=False,
    ),
    _case(
        "full of an argument",
        "broadcast_in_dim",
        lambda x: LAX.full((2, 3), x),
        lambda x: np.full((2, 3), x, x.dtype),
        (),
    ),
    _case(
        "zeros_like_array",
        "broadcast_in_dim",
        LAX.zeros_like_array,
        np.zeros_like,
        (2, 3),
        grad=False,
    ),
]


# ---------------------------------------------------------------- rearranging
RESHAPES = [
    *[
        _case(
            f"reshape {a} to {b}",
            "reshape",
            lambda x, b=b: LAX.reshape(x, b),
            lambda x, b=b: x.reshape(b),
            a,
        )
        for a, b in [
            ((6,), (2, 3)),
            ((2, 3), (3, 2)),
            ((2, 3), (6,)),
            ((), (1, 1)),
            ((1,), ()),
            ((2, 3), (2, 3)),
            ((0, 3), (2, 0)),
        ]
    ],
    _case(
        "reshape with an order",
        "reshape",
        lambda x: LAX.reshape(x, (6,), (1, 0)),
        lambda x: x.T.reshape(6),
        (2, 3),
    ),
    _case(
        "collapse",
        "reshape",
        lambda x: LAX.collapse(x, 1, 3),
        lambda x: x.reshape(2, 6, 2),
        (2, 2, 3, 2),
    ),
    *[
        _case(
            f"squeeze {shape} of {dims}",
            "squeeze",
            lambda x, dims=dims: LAX.squeeze(x, dims),
            lambda x, dims=dims: np.squeeze(x, dims),
            shape,
        )
        for shape, dims in [((1, 3), (0,)), ((2, 1, 1), (1, -1)), ((1,), (0,)), ((0, 1), (1,))]
    ],
    *[
        _case(
            f"transpose {shape} by {order}",
            "transpose",
            lambda x, order=order: LAX.transpose(x, order),
            lambda x, order=order: x.transpose(order),
            shape,
        )
        for shape, order in [
            ((2, 3), (1, 0)),
            ((2, 3, 4), (2, 0, 1)),
            ((2, 3, 4), (0, 2, 1)),
            ((2, 0), (1, 0)),
            ((), ()),
        ]
    ],
    *[
        _case(
            f"rev {shape} along {dims}",
            "rev",
            lambda x, dims=dims: LAX.rev(x, dims),
            lambda x, dims=dims: np.flip(x, dims),
            shape,
        )
        for shape, dims in [
            ((4,), (0,)),
            ((2, 3), (1,)),
            ((2, 3), (0, 1)),
            ((2, 3), ()),
            ((0,), (0,)),
        ]
    ],
]


# ---------------------------------------------------------------- joining and cutting
def _padded(x, value, config):
    """The definition, one element at a time."""
    shape = [lo + hi + n + max(n - 1, 0) * inner for n, (lo, hi, inner) in zip(x.shape, config)]
    result = np.full(shape, value, x.dtype)
    for place in np.ndindex(*x.shape):
        to = tuple(lo + i * (inner + 1) for i, (lo, _, inner) in zip(place, config))
        if all(0 <= i < n for i, n in zip(to, shape)):
            result[to] = x[place]
    return result


JOINS = [
    *[
        _case(
            f"concatenate {shapes} along {dim}",
            "concatenate",
            lambda *xs, dim=dim: LAX.concatenate(xs, dim),
            lambda *xs, dim=dim: np.concatenate(xs, dim),
            *shapes,
        )
        for shapes, dim in [
            (((2,), (3,)), 0),
            (((2, 3), (1, 3)), 0),
            (((2, 3), (2, 1), (2, 2)), 1),
            (((0, 2), (1, 2)), 0),
            (((2, 3),), 1),
        ]
    ],
    *[
        _case(
            f"pad {shape} by {config}",
            "pad",
            lambda x, value, config=config: LAX.pad(x, value, config),
            lambda x, value, config=config: _padded(x, value, config),
            shape,
            (),
        )
        for shape, config in [
            ((3,), ((1, 2, 0),)),
            ((3,), ((0, 0, 2),)),
            ((5,), ((-1, -2, 0),)),
            ((2, 3), ((1, 0, 1), (-1, 2, 1))),
            ((4,), ((-1, 1, 1),)),
            ((0,), ((1, 1, 1),)),
            ((2, 2), ((0, 0, 0), (0, 0, 0))),
            ((), ()),
        ]
    ],
    *[
        _case(
            f"slice {shape} {start}:{stop}:{step}",
            "slice",
            lambda x, s=start, e=stop, t=step: LAX.slice(x, s, e, t),
            lambda x, s=start, e=stop, t=step: x[
                tuple(slice(*z) for z in zip(s, e, t or (1,) * len(s), strict=True))
            ],
            shape,
        )
        for shape, start, stop, step in [
            ((5,), (1,), (4,), None),
            ((5,), (0,), (5,), (2,)),
            ((6,), (1,), (6,), (3,)),
            ((3, 4), (1, 0), (3, 3), (1, 2)),
            ((3, 4), (0, 0), (3, 4), None),
            ((3,), (2,), (2,), None),
            ((0, 2), (0, 0), (0, 1), None),
            ((), (), (), None),
        ]
    ],
    _case(
        "slice_in_dim",
        "slice",
        lambda x: LAX.slice_in_dim(x, -3, -1, 1, axis=1),
        lambda x: x[:, -3:-1],
        (2, 5),
    ),
    _case(
        "slice_in_dim with a stride",
        "slice",
        lambda x: LAX.slice_in_dim(x, None, None, 2, axis=-1),
        lambda x: x[:, ::2],
        (2, 5),
    ),
    *[
        _case(
            f"index_in_dim keepdims={keepdims}",
            "slice",
            lambda x, keepdims=keepdims: LAX.index_in_dim(x, -1, 1, keepdims),
            lambda x, keepdims=keepdims: x[:, -1:] if keepdims else x[:, -1],
            (2, 3),
        )
        for keepdims in (True, False)
    ],
    _case(
        "split",
        "slice",
        lambda x: LAX.split(x, (1, 0, 3), 1),
        lambda x: [x[:, :1], x[:, 1:1], x[:, 1:]],
        (2, 4),
    ),
]


# ---------------------------------------------------------------- the rest
def _beside(x, shape, dimension):
    """x, and a count in x's dtype."""
    column = [1] * len(shape)
    column[dimension] = shape[dimension]
    return x, np.broadcast_to(np.arange(shape[dimension]).reshape(column), shape).astype(x.dtype)


OTHERS = [
    *[
        _case(
            f"iota {shape} along {dimension}",
            "iota",
            lambda x, s=shape, d=dimension: (x, LAX.broadcasted_iota(x.dtype, s, d)),
            lambda x, s=shape, d=dimension: _beside(x, s, d),
            (2,),
            dtypes=(*FLOATS, *INTS),
        )
        for shape, dimension in [((4,), 0), ((2, 3), 0), ((2, 3), 1), ((0,), 0), ((2, 0), 1)]
    ],
    _case(
        "iota of a size",
        "iota",
        lambda x: (x, LAX.iota(x.dtype, 4)),
        lambda x: _beside(x, (4,), 0),
        (2,),
        dtypes=INTS,
        grad=False,
    ),
    *[_case(f"copy {shape}", "copy", copy, lambda x: x, shape) for shape in SHAPES],
    *[
        _case(
            f"optimization_barrier {shape}",
            "optimization_barrier",
            LAX.optimization_barrier,
            lambda x: x,
            shape,
        )
        for shape in SHAPES
    ],
    *[
        _case(  # its derivative is 0 by design; test_lax_grad.py has it
            f"stop_gradient {shape}",
            "stop_gradient",
            LAX.stop_gradient,
            lambda x: x,
            shape,
            grad=False,
        )
        for shape in SHAPES
    ],
    *[
        _case(
            f"device_put {shape}",
            "device_put",
            lambda x: nr.device_put(x, "cpu"),
            lambda x: x,
            shape,
        )
        for shape in SHAPES
    ],
]

CASES = [*BROADCASTS, *RESHAPES, *JOINS, *OTHERS]
