"""Op cases of nr.lax.elementwise."""

import math

import ml_dtypes
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
    unit,
)

LAX = nr.lax
SHAPES = [(7,), (2, 3), (), (0, 3)]
# one shape, an array beside rank 0, rank 0, and nothing
PAIRS = [((5,), (5,)), ((), (2, 3)), ((2, 3), ()), ((), ()), ((0, 2), (0, 2)), ((0,), ())]
EXACT = dict.fromkeys((*FLOATS, "float16"), 0.0)
ALL_FLOATS = (*FLOATS, "float16")


# ---------------------------------------------------------------- references
def _wide(reference):
    """The reference in double precision, rounded once to the dtype of the first operand."""

    def rounded(*xs):
        dtype = xs[0].dtype
        wide = np.complex128 if dtype.kind == "c" else np.float64
        with np.errstate(all="ignore"):
            result = np.asarray(reference(*[x.astype(wide) for x in xs]))
            return result if result.dtype == bool else result.astype(dtype)

    return rounded


def _round_away(x):
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


def _logistic(x):
    return 1 / (1 + np.exp(-x))


def _rsqrt(x):
    return 1 / np.sqrt(x)


# ---------------------------------------------------------------- one operand
def _unary(name, reference, sample, dtypes=FLOATS, *, grad=True, shapes=SHAPES, note="", fun=None):
    return [
        OpCase(
            f"{name} {note}{shape}",
            fun or getattr(LAX, name),
            lambda rng, dt, shape=shape: (sample(rng, dt, shape),),
            reference,
            dtypes,
            grad=grad,
            primitive=name,
        )
        for shape in shapes
    ]


def _inside(rng, dt, shape):
    return unit(rng, dt, shape) * np.asarray(0.9, dt)


def _above_one(rng, dt, shape):
    return positive(rng, dt, shape) + np.asarray(1, dt)


def _nonzero(rng, dt, shape):
    """Numbers of either sign, at least 1/4 in size."""
    sign = np.asarray(rng.choice([-1, 1], shape)).astype(dt)
    return positive(rng, dt, shape) * sign


def _off_halves(rng, dt, shape):
    """Numbers away from the steps of floor, ceil and round."""
    return (np.asarray(rng.integers(-4, 4, shape)) + 0.25 * rng.choice([1, 3], shape)).astype(dt)


def _small_complex(rng, dt, shape):
    return normal(rng, dt, shape) * np.asarray(0.4, dt)


# (name, reference, where real operands lie, whether complex operands are taken)
FUNCTIONS = [
    ("neg", np.negative, normal, True),
    ("sign", np.sign, _nonzero, True),
    ("exp", np.exp, normal, True),
    ("exp2", lambda x: np.exp(x * math.log(2)), normal, True),
    ("expm1", np.expm1, normal, True),
    ("log", np.log, positive, True),
    ("log1p", np.log1p, _inside, True),
    ("logistic", _logistic, normal, True),
    ("sqrt", np.sqrt, positive, True),
    ("rsqrt", _rsqrt, positive, True),
    ("cbrt", np.cbrt, _nonzero, False),
    ("square", np.square, normal, True),
    ("sin", np.sin, normal, True),
    ("cos", np.cos, normal, True),
    ("tan", np.tan, unit, True),
    ("asin", np.arcsin, _inside, True),
    ("acos", np.arccos, _inside, True),
    ("atan", np.arctan, normal, True),
    ("sinh", np.sinh, normal, True),
    ("cosh", np.cosh, normal, True),
    ("tanh", np.tanh, normal, True),
    ("asinh", np.arcsinh, normal, True),
    ("acosh", np.arccosh, _above_one, True),
    ("atanh", np.arctanh, _inside, True),
    ("floor", np.floor, _off_halves, False),
    ("ceil", np.ceil, _off_halves, False),
]

UNARY = [
    *[
        case
        for name, reference, sample, _ in FUNCTIONS
        for case in _unary(name, _wide(reference), sample, ALL_FLOATS)
    ],
    *[
        case
        for name, reference, _, takes_complex in FUNCTIONS
        if takes_complex
        for case in _unary(
            name,
            _wide(reference),
            _small_complex,
            COMPLEX,
            # x / |x| of a complex number is not constant, yet its derivative is taken as 0 (JAX's)
            grad=name != "sign",
            shapes=[(5,), ()],
            note="complex ",
        )
    ],
    *_unary("abs", np.abs, _nonzero),
    *_unary("abs", np.abs, normal, COMPLEX, shapes=[(5,), ()], note="complex "),
    *_unary("is_finite", np.isfinite, normal, grad=False),
    *[
        case
        for y in (-3, -1, 2, 3, 5)
        for dtypes, sample in ((FLOATS, _nonzero), (COMPLEX, normal))
        for case in _unary(
            "integer_pow",
            _wide(lambda x, y=y: x**y),
            sample,
            dtypes,
            shapes=[(4,), ()],
            note=f"{y} {dtypes[0]} ",
            fun=lambda x, y=y: LAX.integer_pow(x, y),
        )
    ],
    *_unary(
        "integer_pow",
        lambda x: x**3,
        lambda rng, dt, shape: integers(rng, dt, shape, 0, 4),
        INTS,
        grad=False,
        shapes=[(4,)],
        note="3 integer ",
        fun=lambda x: LAX.integer_pow(x, 3),
    ),
    *_unary("round", _wide(_round_away), _off_halves),
    *[
        OpCase(
            f"round halves {method.name}",
            lambda x, method=method: LAX.round(x, method),
            lambda rng, dt: (np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.75]).astype(dt),),
            _wide(reference),
            ALL_FLOATS,
            grad=False,
            tol=EXACT,
            primitive="round",
        )
        for method, reference in [
            (LAX.RoundingMethod.AWAY_FROM_ZERO, _round_away),
            (LAX.RoundingMethod.TO_NEAREST_EVEN, np.round),
        ]
    ],
    *_unary("real", np.real, normal, COMPLEX),
    *_unary("imag", np.imag, normal, COMPLEX),
    *_unary("conj", np.conj, normal, COMPLEX),
    OpCase(
        "conj of real numbers",
        LAX.conj,
        lambda rng, dt: (normal(rng, dt, (4,)),),
        lambda x: x.astype(np.result_type(x.dtype, np.complex64)),
        ("float32", "float64"),
        primitive="complex",
    ),
    OpCase(
        "reciprocal",
        LAX.reciprocal,
        lambda rng, dt: (_nonzero(rng, dt, (4,)),),
        _wide(lambda x: 1 / x),
        FLOATS,
        primitive="div",
    ),
]


# ---------------------------------------------------------------- special values
def _specials(dtype):
    info = ml_dtypes.finfo(dtype)
    tiny, largest = float(info.smallest_subnormal), float(info.max)
    values = [0.0, 1.0, 0.5, 2.5, tiny, 3 * tiny, float(info.tiny), largest, np.inf]
    return np.array([s * v for v in values for s in (1, -1)] + [np.nan]).astype(dtype)


def _signed(fun):
    """Beside the value the angle of (-1, value), which tells -0.0 from 0.0."""
    return lambda x: (fun(x), LAX.atan2(fun(x), LAX.full_like(x, -1)))


def _signed_reference(reference):
    def both(x):
        y = reference(x)
        return y, np.arctan2(y.astype(np.float64), -1.0)

    return both


SPECIAL = [
    OpCase(
        f"{name} of special values",
        _signed(getattr(LAX, name)),
        lambda rng, dt: (_specials(dt),),
        _signed_reference(_wide(reference)),
        ALL_FLOATS,
        grad=False,
        primitive=name,
    )
    for name, reference in [
        *[(name, reference) for name, reference, *_ in FUNCTIONS if name not in ("exp2", "sign")],
        ("exp2", np.exp2),
        ("sign", lambda x: np.where(x == 0, x, np.sign(x))),
        ("abs", np.abs),
        ("round", _round_away),
    ]
] + [
    OpCase(
        "is_finite of special values",
        LAX.is_finite,
        lambda rng, dt: (_specials(dt),),
        np.isfinite,
        ALL_FLOATS,
        grad=False,
        primitive="is_finite",
    ),
]


def _all_pairs(dtype):
    x = _specials(dtype)
    return np.repeat(x, len(x)), np.tile(x, len(x))


SPECIAL_PAIRS = [
    OpCase(
        f"{name} of special values",
        getattr(LAX, name),
        lambda rng, dt: _all_pairs(dt),
        _wide(reference),
        ALL_FLOATS,
        grad=False,
        primitive=name,
    )
    for name, reference in [
        ("add", np.add),
        ("sub", np.subtract),
        ("mul", np.multiply),
        ("div", np.divide),
        ("rem", np.fmod),
        ("max", np.maximum),
        ("min", np.minimum),
        ("atan2", np.arctan2),
        ("pow", np.power),
        ("eq", np.equal),
        ("ne", np.not_equal),
        ("lt", np.less),
        ("le", np.less_equal),
        ("gt", np.greater),
        ("ge", np.greater_equal),
    ]
] + [
    OpCase(
        "nextafter of special values",
        LAX.nextafter,
        lambda rng, dt: _all_pairs(dt),
        np.nextafter,
        ALL_FLOATS,
        grad=False,
        tol=EXACT,
        primitive="nextafter",
    )
]


# ---------------------------------------------------------------- two operands
def _binary(name, reference, sample, dtypes=FLOATS, *, grad=True, pairs=PAIRS, note="", tol=None):
    return [
        OpCase(
            f"{name} {note}{a}, {b}",
            getattr(LAX, name),
            lambda rng, dt, a=a, b=b: sample(rng, dt, a, b),
            reference,
            dtypes,
            grad=grad,
            tol=tol or {},
            primitive=_PRIMITIVES.get(name, name),
        )
        for a, b in pairs
    ]


_PRIMITIVES = {f"bitwise_{name}": name for name in ("and", "or", "xor", "not")}


def _each(first, second):
    return lambda rng, dt, a, b: (first(rng, dt, a), second(rng, dt, b))


def _apart(rng, dt, a, b):
    """Numbers no two of which are equal."""
    n = math.prod(a)
    x = distinct(rng, dt, (n + math.prod(b),))
    return x[:n].reshape(a), x[n:].reshape(b)


def _off_multiples(rng, dt, a, b):
    """Dividends away from the multiples of their divisors."""
    y = np.asarray(rng.choice([-2.0, -1.0, 1.0, 2.0], b)).astype(dt)
    return _off_halves(rng, dt, a), y


def _some_equal(rng, dt, a, b):
    return integers(rng, dt, a, 0, 3), integers(rng, dt, b, 0, 3)


def _signed_integers(low, high):
    def sample(rng, dt, shape):
        return integers(rng, dt, shape, low if dt.kind == "i" else 0, high)

    return sample


def _divisors(rng, dt, shape):
    x = integers(rng, dt, shape, 1, 6)
    return x * np.asarray(rng.choice([-1, 1], shape)).astype(dt) if dt.kind == "i" else x


def _truncated(x, y):
    quotient = np.abs(x.astype(object)) // np.abs(y.astype(object))
    return (quotient * np.sign(x).astype(object) * np.sign(y).astype(object)).astype(x.dtype)


def _flags(rng, dt, a, b):
    return booleans(rng, a), booleans(rng, b)


_ints = _signed_integers(-6, 7)
FEW = PAIRS[:3]

BINARY = [
    *_binary("add", _wide(np.add), _each(normal, normal)),
    *_binary("sub", _wide(np.subtract), _each(normal, normal)),
    *_binary("mul", _wide(np.multiply), _each(normal, normal)),
    *_binary("div", _wide(np.divide), _each(normal, _nonzero)),
    *_binary("rem", _wide(np.fmod), _off_multiples),
    *_binary("max", _wide(np.maximum), _apart),
    *_binary("min", _wide(np.minimum), _apart),
    *_binary("atan2", _wide(np.arctan2), _each(_nonzero, _nonzero)),
    *_binary("pow", _wide(np.power), _each(positive, normal)),
    *_binary("nextafter", np.nextafter, _each(normal, normal), grad=False, tol=EXACT),
    *[
        case
        for name, ufunc in [
            ("add", np.add),
            ("sub", np.subtract),
            ("mul", np.multiply),
            ("div", np.divide),
            ("pow", np.power),
        ]
        for case in _binary(
            name, _wide(ufunc), _each(normal, normal), COMPLEX, pairs=FEW, note="complex "
        )
    ],
    *[
        case
        for name, ufunc in [
            ("add", np.add),
            ("sub", np.subtract),
            ("mul", np.multiply),
            ("max", np.maximum),
            ("min", np.minimum),
        ]
        for case in _binary(
            name, ufunc, _each(_ints, _ints), INTS, grad=False, pairs=FEW, note="integer "
        )
    ],
    *_binary("div", _truncated, _each(_ints, _divisors), INTS, grad=False, pairs=FEW, note="int "),
    *_binary("rem", np.fmod, _each(_ints, _divisors), INTS, grad=False, pairs=FEW, note="int "),
    *_binary(
        "pow",
        np.power,
        _each(_ints, _signed_integers(0, 4)),
        INTS,
        grad=False,
        pairs=FEW,
        note="integer ",
    ),
    *[
        OpCase(
            f"pow with an int32 exponent {a}, {b}",
            LAX.pow,
            lambda rng, dt, a=a, b=b: (
                _nonzero(rng, dt, a),
                integers(rng, np.dtype("int32"), b, -3, 4),
            ),
            _wide(np.power),
            FLOATS,
            grad=(0,),
            primitive="pow",
        )
        for a, b in FEW
    ],
    *_binary("complex", lambda x, y: x + 1j * y, _each(normal, normal), ("float32", "float64")),
]

COMPARISONS = [
    case
    for name, ufunc in [
        ("eq", np.equal),
        ("ne", np.not_equal),
        ("lt", np.less),
        ("le", np.less_equal),
        ("gt", np.greater),
        ("ge", np.greater_equal),
    ]
    for case in [
        *_binary(name, ufunc, _some_equal, (*FLOATS, *INTS), grad=False),
        *_binary(name, ufunc, _flags, BOOL, grad=False, pairs=FEW, note="bool "),
    ]
]


# ---------------------------------------------------------------- bits
def _any_bits(rng, dt, shape):
    info = np.iinfo(dt)
    return np.asarray(rng.integers(info.min, info.max, shape, dt, endpoint=True))


def _shifts(rng, dt, shape):
    """From nothing to beyond the width, and negative ones, which count as beyond it."""
    return np.asarray(rng.integers(-2 * (dt.kind == "i"), 8 * dt.itemsize + 3, shape)).astype(dt)


def _each_element(function):
    """A function of Python ints and the width, element by element."""

    def reference(*xs):
        dtype, bits = xs[0].dtype, 8 * xs[0].dtype.itemsize
        xs = np.broadcast_arrays(*xs)
        out = [function(bits, *map(int, row)) for row in zip(*[x.ravel() for x in xs], strict=True)]
        out = [(y & (2**bits - 1)) for y in out]
        unsigned = np.array(out, np.dtype(f"u{dtype.itemsize}"))
        return unsigned.view(dtype).reshape(xs[0].shape)

    return reference


def _left(bits, x, y):
    return x << y if 0 <= y < bits else 0


def _right_logical(bits, x, y):
    return (x % 2**bits) >> y if 0 <= y < bits else 0


def _right_arithmetic(bits, x, y):
    signed = (x + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)  # unsigned dtypes too, as in XLA
    return signed >> (y if 0 <= y < bits else bits - 1)


MORE_INTS = ("int32", "int64", "int8", "uint8", "uint16", "uint32", "uint64")
BITS = [
    *[
        case
        for name, ufunc in [
            ("bitwise_and", np.bitwise_and),
            ("bitwise_or", np.bitwise_or),
            ("bitwise_xor", np.bitwise_xor),
        ]
        for case in [
            *_binary(name, ufunc, _each(_any_bits, _any_bits), INTS, grad=False),
            *_binary(name, ufunc, _flags, BOOL, grad=False, pairs=FEW, note="bool "),
        ]
    ],
    *[
        case
        for name, function in [
            ("shift_left", _left),
            ("shift_right_logical", _right_logical),
            ("shift_right_arithmetic", _right_arithmetic),
        ]
        for case in _binary(
            name, _each_element(function), _each(_any_bits, _shifts), MORE_INTS, grad=False
        )
    ],
    *[
        OpCase(
            f"bitwise_not {shape} {dtypes[0]}",
            LAX.bitwise_not,
            lambda rng, dt, shape=shape, sample=sample: (sample(rng, dt, shape),),
            np.bitwise_not,
            dtypes,
            grad=False,
            primitive="not",
        )
        for shape in SHAPES
        for dtypes, sample in ((INTS, _any_bits), (BOOL, lambda rng, dt, s: booleans(rng, s)))
    ],
    *_unary(
        "population_count",
        _each_element(lambda bits, x: (x % 2**bits).bit_count()),
        _any_bits,
        MORE_INTS,
        grad=False,
    ),
    *_unary(
        "clz",
        _each_element(lambda bits, x: bits - (x % 2**bits).bit_length()),
        lambda rng, dt, shape: (
            _any_bits(rng, dt, shape) >> np.asarray(rng.integers(0, 8, shape)).astype(dt)
        ),
        MORE_INTS,
        grad=False,
    ),
]


# ---------------------------------------------------------------- clamp
def _clamped(lo, x, hi):
    return np.minimum(np.maximum(x, lo), hi)


def _around_bounds(a, b, c):
    """Bounds -1/8 and 1/8 of a quarter off the numbers, so that none lies on a bound."""

    def sample(rng, dt, low=-0.625, high=0.625):
        x = distinct(rng, dt, b)
        return np.full(a, low).astype(dt), x, np.full(c, high).astype(dt)

    return sample


CLAMPS = [
    OpCase(
        f"clamp {a}, {b}, {c}",
        LAX.clamp,
        _around_bounds(a, b, c),
        _clamped,
        FLOATS,
        primitive="clamp",
    )
    for a, b, c in [
        ((), (9,), ()),
        ((9,), (9,), (9,)),
        ((), (3, 4), (3, 4)),
        ((), (), ()),
        ((), (0, 2), ()),
    ]
] + [
    OpCase(
        "clamp integer",
        LAX.clamp,
        lambda rng, dt: (np.asarray(2, dt), integers(rng, dt, (9,), 0, 8), np.asarray(5, dt)),
        _clamped,
        INTS,
        grad=False,
        primitive="clamp",
    ),
    OpCase(
        "clamp of NaN",
        LAX.clamp,
        lambda rng, dt: tuple(
            np.array(x).astype(dt) for x in (0.0, [np.nan, -np.inf, np.inf, -0.5], 1.0)
        ),
        _clamped,
        ALL_FLOATS,
        grad=False,
        primitive="clamp",
    ),
]

CASES = [*UNARY, *SPECIAL, *SPECIAL_PAIRS, *BINARY, *COMPARISONS, *BITS, *CLAMPS]
