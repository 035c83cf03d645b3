"""Op cases of nr.lax.dot."""

import numpy as np

import nr
from tests.cases.base import BOOL, COMPLEX, FLOATS, INTS, OpCase, booleans, integers, normal

LETTERS = "abcdefgh"
# (name, lhs shape, rhs shape, dimension numbers)
PRODUCTS = [
    ("vv", (3,), (3,), (((0,), (0,)), ((), ()))),
    ("mv", (3, 4), (4,), (((1,), (0,)), ((), ()))),
    ("vm", (3,), (3, 4), (((0,), (0,)), ((), ()))),
    ("mm", (2, 3), (3, 4), (((1,), (0,)), ((), ()))),
    ("mm.T", (2, 3), (4, 3), (((1,), (1,)), ((), ()))),
    ("m.Tm", (3, 2), (3, 4), (((0,), (0,)), ((), ()))),
    ("outer", (2,), (3,), (((), ()), ((), ()))),
    ("scalar", (), (3,), (((), ()), ((), ()))),
    ("elementwise", (2, 3), (3, 2), (((), ()), ((0, 1), (1, 0)))),
    ("two contracted", (2, 3, 4), (4, 3, 5), (((1, 2), (1, 0)), ((), ()))),
    ("contracted out of order", (3, 2, 4), (4, 5, 3), (((2, 0), (0, 2)), ((), ()))),
    ("batch in front", (2, 3, 4), (2, 4, 5), (((2,), (1,)), ((0,), (0,)))),
    ("batch inside", (3, 2, 4), (4, 5, 2), (((2,), (0,)), ((1,), (2,)))),
    ("two batch out of order", (2, 3, 4), (4, 3, 2), (((), ()), ((2, 0), (0, 2)))),
    ("all at once", (2, 5, 3, 2), (2, 3, 4, 5), (((2, 0), (1, 0)), ((1,), (3,)))),
    ("empty sum", (2, 0), (0, 3), (((1,), (0,)), ((), ()))),
    ("empty result", (0, 2), (2, 3), (((1,), (0,)), ((), ()))),
]


def product(x, y, dims, dtype=None):
    """The product by NumPy's einsum, summed in a wide dtype."""
    (x_contract, y_contract), (x_batch, y_batch) = dims
    x_letters = list(LETTERS[: x.ndim])
    y_letters = list(LETTERS[x.ndim : x.ndim + y.ndim].upper())
    for i, j in zip(x_contract + x_batch, y_contract + y_batch, strict=True):
        y_letters[j] = x_letters[i]
    out = [x_letters[i] for i in x_batch]
    out += [c for i, c in enumerate(x_letters) if i not in x_contract + x_batch]
    out += [c for j, c in enumerate(y_letters) if j not in y_contract + y_batch]
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    wide = np.int64 if x.dtype.kind in "biu" else wide
    spec = f"{''.join(x_letters)},{''.join(y_letters)}->{''.join(out)}"
    return np.einsum(spec, x.astype(wide), y.astype(wide)).astype(dtype or x.dtype)


def _cases(dtypes, sample, products, *, grad, note=""):
    return [
        OpCase(
            f"dot_general {name}{note}",
            lambda x, y, dims=dims: nr.lax.dot_general(x, y, dims),
            lambda rng, dt, a=a, b=b: (sample(rng, dt, a), sample(rng, dt, b)),
            lambda x, y, dims=dims: product(x, y, dims),
            dtypes,
            grad=grad,
            primitive="dot_general",
        )
        for name, a, b, dims in products
    ]


def _integers(rng, dt, shape):
    return integers(rng, dt, shape, 0, 5)


def _preferring(dtype, dtypes, sample, *, grad):
    """A product of matrices whose result has another dtype than the operands."""
    name, a, b, dims = PRODUCTS[3]
    return OpCase(
        f"dot_general {name} to {dtype}",
        lambda x, y: nr.lax.dot_general(x, y, dims, preferred_element_type=dtype),
        lambda rng, dt: (sample(rng, dt, a), sample(rng, dt, b)),
        lambda x, y: product(x, y, dims, dtype),
        dtypes,
        grad=grad,
        primitive="dot_general",
    )


def _matmul(name, fun, a, b):
    """One of the functions that are named special cases."""
    rank = len(a)
    batch = tuple(range(rank - 2))
    dims = (((rank - 1,), (max(len(b) - 2, 0),)), (batch, batch))
    return OpCase(
        name,
        fun,
        lambda rng, dt: (normal(rng, dt, a), normal(rng, dt, b)),
        lambda x, y: product(x, y, dims),
        FLOATS,
        primitive="dot_general",
    )


CASES = [
    *_cases(FLOATS, normal, PRODUCTS, grad=True),
    *_cases(COMPLEX, normal, PRODUCTS[3:4] + PRODUCTS[11:12], grad=False, note=" complex"),
    *_cases(INTS, _integers, PRODUCTS[3:4] + PRODUCTS[14:15], grad=False, note=" integer"),
    *_cases(
        BOOL,
        lambda rng, dt, shape: booleans(rng, shape),
        PRODUCTS[3:4] + PRODUCTS[11:12],
        grad=False,
        note=" bool",
    ),
    _preferring("int32", ("int8", "uint8"), _integers, grad=False),
    _preferring("float32", ("bfloat16", "float16"), normal, grad=False),
    _preferring("float64", ("float32",), normal, grad=False),
    _matmul("dot vv", lambda x, y: nr.lax.dot(x, y), (3,), (3,)),
    _matmul("dot mv", lambda x, y: nr.lax.dot(x, y), (2, 3), (3,)),
    _matmul("dot vm", lambda x, y: nr.lax.dot(x, y), (3,), (3, 2)),
    _matmul("dot mm", lambda x, y: nr.lax.dot(x, y), (2, 3), (3, 4)),
    _matmul("batch_matmul", lambda x, y: nr.lax.batch_matmul(x, y), (2, 3, 4), (2, 4, 2)),
]
