"""Op cases of nr.lax.convert."""

import math

import ml_dtypes
import numpy as np

import nr
from nr.core.dtypes import DTYPES
from tests.cases.base import FLOATS, OpCase, booleans, integers, normal

LAX = nr.lax
ALL = tuple(DTYPES)
INEXACT = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")


def _sample(rng, dt, shape):
    if dt == np.dtype(bool):
        return booleans(rng, shape)
    if dt.kind in "iu":
        return integers(rng, dt, shape, 0, 100)
    return np.asarray(normal(rng, dt, shape) * np.asarray(4, dt))


# ---------------------------------------------------------------- convert_element_type
def _converted(x, dtype):
    if x.dtype.kind == "c" and dtype.kind != "c":
        x = x.real if dtype.kind != "b" else x
    if dtype.kind in "iu" and x.dtype.kind in "fV":  # towards zero, held within the range
        info = np.iinfo(dtype)
        held = [min(max(math.trunc(v), info.min), info.max) for v in x.ravel().tolist()]
        return np.array(held, dtype).reshape(x.shape)
    return x.astype(dtype)


# A gradient in the narrow dtypes can't be told from rounding: conversions among wide ones only.
CONVERSIONS = [
    OpCase(
        f"convert_element_type to {name} {shape}",
        lambda x, name=name: LAX.convert_element_type(x, name),
        lambda rng, dt, shape=shape: (_sample(rng, dt, shape),),
        lambda x, dtype=dtype: _converted(x, dtype),
        ALL,
        grad=name in ("float64", "complex128"),
        primitive="convert_element_type",
    )
    for name, dtype in DTYPES.items()
    for shape in ([(5,), ()] if name in ("float32", "int32") else [(5,)])
] + [
    OpCase(
        "convert_element_type complex128 to float64",
        lambda x: LAX.convert_element_type(x, "float64"),
        lambda rng, dt: (normal(rng, dt, (4,)),),
        lambda x: x.real,
        ("complex128",),
        primitive="convert_element_type",
    )
]

OUTSIDE = [
    OpCase(
        f"convert_element_type of special values to {name}",
        lambda x, name=name: LAX.convert_element_type(x, name),
        lambda rng, dt: (np.array([-2.75, 2.75, 0.0, -0.0, 100.5]).astype(dt),),
        lambda x, name=name: _converted(x, np.dtype(name)),
        FLOATS,
        grad=False,
        primitive="convert_element_type",
    )
    for name in ("int8", "int32", "int64", "bool")
]


# ---------------------------------------------------------------- bitcast_convert_type
def _bits(rng, dt, shape):
    raw = rng.integers(0, 256, (*shape, dt.itemsize), np.uint8)
    raw[..., -1] &= 0x3F  # small exponents: no NaN, whose bits NumPy may change
    return raw.view(dt).reshape(shape)


BITCASTS = [
    OpCase(
        f"bitcast_convert_type {source} {shape} to {target}",
        lambda x, target=target: LAX.bitcast_convert_type(x, target),
        lambda rng, dt, shape=shape: (_bits(rng, dt, shape),),
        lambda x, t=target, r=result: np.ascontiguousarray(x).view(DTYPES[t]).reshape(r),
        (source,),
        grad=False,
        tol=dict.fromkeys(INEXACT, 0.0),
        primitive="bitcast_convert_type",
    )
    for source, shape, target, result in [
        ("float32", (5,), "int32", (5,)),
        ("int32", (), "float32", ()),
        ("float64", (2, 3), "uint64", (2, 3)),
        ("bfloat16", (4,), "uint16", (4,)),
        ("float32", (3,), "uint8", (3, 4)),
        ("float64", (2, 2), "int32", (2, 2, 2)),
        ("uint16", (3, 2), "float32", (3,)),
        ("uint8", (8,), "float64", ()),
        ("int32", (0, 2), "float32", (0, 2)),
    ]
]


# ---------------------------------------------------------------- reduce_precision
def _through(dtype):
    return lambda x: x.astype(dtype).astype(x.dtype)


PRECISIONS = [  # a staircase, whose derivative is taken as 1: test_lax_grad.py has it
    OpCase(
        f"reduce_precision {exponent}, {mantissa} {shape}",
        lambda x, e=exponent, m=mantissa: LAX.reduce_precision(x, e, m),
        lambda rng, dt, shape=shape: (normal(rng, dt, shape),),
        _through(dtype),
        dtypes,
        grad=False,
        tol=dict.fromkeys(INEXACT, 0.0),
        primitive="reduce_precision",
    )
    for exponent, mantissa, dtype, dtypes in [
        (8, 7, ml_dtypes.bfloat16, ("float32", "bfloat16")),
        (5, 10, np.float16, ("float32", "float16")),
        (8, 23, np.float32, ("float32", "float64", "bfloat16")),
    ]
    for shape in [(50,), (), (0, 2)]
]

CASES = [*CONVERSIONS, *OUTSIDE, *BITCASTS, *PRECISIONS]
