"""Without these, a compiled kernel's exp, log, sin, pow … could lose digits, or a special value."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from nr.backends.compiler.expr import NUMPY, compiling, const, node, unary
from nr.backends.compiler.math import FUNCTIONS
from tests import native_kernels
from tests.expr_interpreter import evaluate
from tests.math_reference import (
    BINARY,
    DTYPES,
    HAS_EXTENDED,
    UNARY,
    pairs,
    reference,
    samples,
    ulp_errors,
)

# Errors in ulp as measured on these samples and, in f32, on every 1024th number, rounded up to
# the next quarter: f32, f64.
BOUNDS = {
    "exp": (1, 1), "exp2": (1, 1), "expm1": (1.75, 2), "logistic": (2.5, 2.5),
    "log": (1, 1), "log1p": (1.5, 1.5), "pow": (1.25, 1.25), "rsqrt": (1.5, 1.5),
    "cbrt": (1, 1), "sinh": (1.75, 2), "cosh": (1.75, 1.75), "tanh": (2, 2.25),
    "asinh": (2, 2), "acosh": (2, 2), "atanh": (2.25, 2.25),
    "sin": (1.75, 1.75), "cos": (1.75, 1.75), "tan": (3, 3),
    "asin": (2.5, 2.25), "acos": (1.5, 1.5), "atan": (1.75, 2.5), "atan2": (2, 2.5),
}  # fmt: skip
INF, NAN = math.inf, math.nan
FORMATS = [
    "f32",
    pytest.param("f64", marks=pytest.mark.skipif(not HAS_EXTENDED, reason="no longer double")),
]


def interpreted(name: str, *args: np.ndarray, **params: int) -> np.ndarray:
    dtype = next(t for t, d in NUMPY.items() if d == args[0].dtype)
    with compiling():
        leaves = [node("register", (), dtype, f"x{i}") for i in range(len(args))]
        return evaluate(FUNCTIONS[name](*leaves, **params), dict(zip(leaves, args, strict=True)))


def native(name: str, *args: np.ndarray, **params: int) -> np.ndarray:
    return native_kernels.evaluate(lambda *xs: FUNCTIONS[name](*xs, **params), *args)


def check(name: str, dtype: str, got: np.ndarray, *args: np.ndarray) -> None:
    errors = ulp_errors(got, reference(name, *args))
    bound = BOUNDS[name][dtype == "f64"]
    worst = int(np.argmax(errors))
    at = ", ".join(repr(x[worst]) for x in args)
    assert errors[worst] <= bound, (
        f"{name}({at}) = {got[worst]!r}: {errors[worst]:.3g} ulp, more than {bound}"
    )


@pytest.mark.parametrize("run", [interpreted, native])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_error(name: str, dtype: str, run) -> None:
    count = 1 << 15 if run is interpreted else 1 << 17
    args = (samples(dtype, count),) if name in UNARY else pairs(dtype, count)
    check(name, dtype, run(name, *args), *args)


@pytest.mark.parametrize("name", UNARY)
def test_single_precision_stride(name: str) -> None:
    bits = np.arange(0, 1 << 32, 8191, dtype=np.uint64).astype(np.uint32)
    x = bits.view(np.float32)
    check(name, "f32", native(name, x), x)


# Worst cases of Payne and Hanek's reduction: multiples of pi/2 to within 2**-60 (Muller et al.,
# Handbook of Floating-Point Arithmetic, section 11.2), checked with decimals of enough digits.
@pytest.mark.parametrize("run", [interpreted, native])
@pytest.mark.parametrize(
    ("dtype", "x"),
    [("f64", 6381956970095103 * 2.0**797), ("f32", 16367173 * 2.0**72), ("f64", 1e308),
     ("f64", 2.0**1023), ("f64", 1e22), ("f32", 3.4e38), ("f64", 5.0e9), ("f32", 1e10)],
)  # fmt: skip
def test_large_angles(run, dtype: str, x: float) -> None:
    x = DTYPES[dtype].type(x)
    s, c = _sin_cos(int(x))
    values = np.full(3, x)
    for name, exact in (("sin", s), ("cos", c), ("tan", s / c)):
        got = run(name, values)[0]
        error = abs((Decimal(float(got)) - exact) / Decimal(float(np.spacing(abs(got)))))
        assert error <= 3, f"{name}({x!r}) = {got!r}, not {exact}: {error} ulp"


def _sin_cos(n: int) -> tuple[Decimal, Decimal]:
    """Of an integer, by its remainder modulo pi/2 and Taylor series with 400 digits."""
    with localcontext() as context:
        context.prec = 420

        def inverse_tangent(k: int) -> Decimal:
            total, power, i = Decimal(0), Decimal(1) / k, 0
            while power > Decimal(10) ** -418:
                total += (-power if i & 1 else power) / (2 * i + 1)
                power, i = power / (k * k), i + 1
            return total

        half_pi = 8 * inverse_tangent(5) - 2 * inverse_tangent(239)
        turns = (Decimal(n) / half_pi).to_integral_value()
        r = Decimal(n) - turns * half_pi
        sine, cosine, term, i = Decimal(0), Decimal(0), Decimal(1), 0
        while abs(term) > Decimal(10) ** -100:
            sign = -1 if i & 2 else 1
            if i & 1:
                sine += sign * term
            else:
                cosine += sign * term
            i += 1
            term = term * r / i
        quadrant = int(turns) % 4
        rotated = [(sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine)]
        return rotated[quadrant]


@pytest.mark.parametrize("run", [interpreted, native])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("exp", [((0.0,), 1.0), ((-0.0,), 1.0), ((-INF,), 0.0), ((INF,), INF), ((NAN,), NAN)]),
        ("exp2", [((float(n),), 2.0**n) for n in range(-149, 128)]),
        ("expm1", [((-0.0,), -0.0), ((-INF,), -1.0), ((INF,), INF), ((-50.0,), -1.0)]),
        ("log", [((1.0,), 0.0), ((0.0,), -INF), ((-0.0,), -INF), ((INF,), INF), ((-1.0,), NAN),
                 ((-INF,), NAN)]),
        ("log1p", [((-0.0,), -0.0), ((-1.0,), -INF), ((-1.5,), NAN), ((INF,), INF)]),
        ("tanh", [((-0.0,), -0.0), ((INF,), 1.0), ((-INF,), -1.0), ((25.0,), 1.0)]),
        ("logistic", [((0.0,), 0.5), ((INF,), 1.0), ((-INF,), 0.0), ((40.0,), 1.0)]),
        ("sin", [((-0.0,), -0.0), ((INF,), NAN), ((-INF,), NAN), ((NAN,), NAN)]),
        ("cos", [((0.0,), 1.0), ((-0.0,), 1.0), ((INF,), NAN)]),
        ("tan", [((-0.0,), -0.0), ((0.0,), 0.0), ((INF,), NAN)]),
        ("atanh", [((1.0,), INF), ((-1.0,), -INF), ((1.5,), NAN), ((-0.0,), -0.0)]),
        ("acosh", [((1.0,), 0.0), ((0.5,), NAN), ((-INF,), NAN), ((INF,), INF)]),
        ("cbrt", [((-0.0,), -0.0), ((-INF,), -INF), ((-27.0,), -3.0), ((8.0,), 2.0)]),
        ("rsqrt", [((0.0,), INF), ((-0.0,), -INF), ((INF,), 0.0), ((-1.0,), NAN), ((4.0,), 0.5)]),
        ("atan2", [((0.0, 0.0), 0.0), ((-0.0, 0.0), -0.0), ((0.0, 1.0), 0.0), ((1.0, INF), 0.0),
                   ((-1.0, INF), -0.0), ((NAN, 1.0), NAN), ((1.0, NAN), NAN), ((0.0, NAN), NAN)]),
        ("pow", [((0.0, 0.0), 1.0), ((NAN, 0.0), 1.0), ((1.0, NAN), 1.0), ((1.0, INF), 1.0),
                 ((-1.0, INF), 1.0), ((-1.0, -INF), 1.0), ((0.5, -INF), INF), ((2.0, -INF), 0.0),
                 ((-0.0, 3.0), -0.0), ((-0.0, 2.0), 0.0), ((-0.0, -3.0), -INF), ((-0.0, 0.5), 0.0),
                 ((-INF, 3.0), -INF), ((-INF, -3.0), -0.0), ((-INF, 0.5), INF),
                 ((-8.0, 1 / 3), NAN), ((-2.0, 3.0), -8.0), ((-2.0, -1.0), -0.5),
                 ((3.0, 4.0), 81.0), ((-1.0, 2.0**60), 1.0),
                 ((-1.0, 16777215.0), -1.0), ((10.0, 10.0), 1e10)]),
    ],
)  # fmt: skip
def test_special_values(run, dtype: str, name: str, cases: list) -> None:
    columns = zip(*[args for args, _ in cases], strict=True)
    args = [np.array(column, DTYPES[dtype]) for column in columns]
    got = run(name, *args)
    expected = np.array([value for _, value in cases], DTYPES[dtype])
    assert got.tobytes() == expected.tobytes() or all(
        g == e and np.signbit(g) == np.signbit(e) or (np.isnan(g) and np.isnan(e))
        for g, e in zip(got, expected, strict=True)
    ), f"{name}: {list(zip(cases, got, strict=True))}"


@pytest.mark.parametrize("run", [interpreted, native])
def test_overflow_thresholds(run) -> None:
    for dtype, largest in (("f32", 88.72283905206835), ("f64", 709.782712893384)):
        for name in ("exp", "expm1", "sinh", "cosh"):
            end = largest + (math.log(2) if name in ("sinh", "cosh") else 0)
            x = np.full(9, end, DTYPES[dtype])
            x = x + np.spacing(x) * np.arange(-4, 5, dtype=x.dtype)
            with np.errstate(over="ignore"):
                expected = np.isinf(reference(name, x).astype(x.dtype))
            assert 0 < expected.sum() < 9
            np.testing.assert_array_equal(np.isinf(run(name, x)), expected, f"{name} {dtype}")


@pytest.mark.parametrize("run", [interpreted, native])
def test_subnormal_results_are_not_flushed(run) -> None:
    x = np.array([-88.0, -95.0, -103.0], np.float32)
    assert (run("exp", x) > 0).all()
    assert (run("logistic", x) > 0).all()
    tiny = np.array([1e-45, -1e-45, 1e-40], np.float32)
    for name in ("sin", "tan", "asin", "atan", "tanh", "sinh", "expm1", "log1p", "asinh", "atanh"):
        np.testing.assert_array_equal(run(name, tiny), tiny, err_msg=name)


@pytest.mark.parametrize("run", [interpreted, native])
@pytest.mark.parametrize("y", [-3, -1, 0, 1, 2, 3, 5, 8, 17])
def test_integer_pow(run, y: int) -> None:
    x = np.array([-2.5, -1, 0.3, 1, 7], np.float32)
    got = run("integer_pow", x, y=y)
    # Each of the products, up to 2 log2(y), is rounded.
    np.testing.assert_allclose(got, x.astype(np.float64) ** y, 8 * np.finfo(np.float32).eps)
    n = np.array([-3, -1, 0, 1, 2], np.int32)
    got = run("integer_pow", n, y=y)
    expected = n**y if y >= 0 else [0, -1 if y & 1 else 1, -1, 1, 0]
    np.testing.assert_array_equal(got, np.asarray(expected, np.int32))


@pytest.mark.parametrize("y", [0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.0, 7.5])
def test_pow_of_a_constant_exponent(y: float) -> None:
    x = samples("f32", 1 << 14)
    got = native_kernels.evaluate(lambda x: FUNCTIONS["pow"](x, const(y, "f32")), x)
    errors = ulp_errors(got, reference("pow", x, np.full_like(x, y)))
    assert errors.max() <= 1.5  # two roundings


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_pow_of_integers_wraps(dtype: type) -> None:
    x, y = (z.ravel() for z in np.meshgrid(np.arange(0, 100, 7), np.arange(0, 100, 3)))
    x, y = x.astype(dtype), y.astype(dtype)
    np.testing.assert_array_equal(native("pow", x, y), x**y)


def test_pow_of_floats_and_integers() -> None:
    x = np.array([-1, -1, 0.5, -2, np.inf, -0.0, np.nan, 1], np.float32)
    y = np.array([2**24 + 1, 2**31 - 1, -3, 3, 0, -1, 0, 5], np.int32)
    expected = np.array([-1, -1, 8, -8, 1, -np.inf, 1, 1], np.float32)
    np.testing.assert_array_equal(native("pow", x, y), expected)


@pytest.mark.parametrize("run", [interpreted, native])
def test_pow_of_integers(run) -> None:
    x, y = (z.ravel().astype(np.int32) for z in np.meshgrid(np.arange(-4, 8), np.arange(0, 12)))
    np.testing.assert_array_equal(run("pow", x, y), x**y)
    x = np.array([0, 1, -1, -1, 2, -5], np.int32)
    y = np.array([-1, -7, -3, -4, -1, -2], np.int32)
    np.testing.assert_array_equal(run("pow", x, y), [-1, 1, -1, 1, 0, 0])


def test_no_library_calls_and_no_branches() -> None:
    """Straight-line code: every operation is one of the loop IR's, none a call."""
    known = {
        "register", "const", "add", "sub", "mul", "div", "neg", "fma", "and", "or", "xor", "not",
        "shl", "shr", "lshr", "lt", "le", "gt", "ge", "eq", "ne", "select", "rarely", "table",
        "bitcast", "convert", "abs", "sqrt", "copysign", "round_even",
    }  # fmt: skip
    for name in [*UNARY, *BINARY]:
        for dtype in DTYPES:
            leaves = [node("register", (), dtype, "x")] * (1 if name in UNARY else 2)
            stack, seen = [FUNCTIONS[name](*leaves)], set()
            while stack:
                expr = stack.pop()
                if id(expr) in seen:
                    continue
                seen.add(id(expr))
                assert expr.op in known, f"{name}: {expr.op}"
                stack += expr.args


def test_the_interpreter_rounds_fma_once() -> None:
    rng = np.random.default_rng(0)
    for dtype, bits in (("f32", 24), ("f64", 53)):
        x, y, z = (node("register", (), dtype, n) for n in "xyz")
        a, b = (rng.integers(2 ** (bits - 1), 2**bits, 200) for _ in range(2))
        c = -(a * 1.0 * b).astype(DTYPES[dtype])  # the rounded product, less which the rest is left
        got = evaluate(node("fma", (x, y, z), dtype), {x: a, y: b, z: c})
        exact = [int(p) * int(q) + int(r) for p, q, r in zip(a, b, c, strict=True)]
        np.testing.assert_array_equal(got, np.array([float(v) for v in exact], DTYPES[dtype]))
        assert np.count_nonzero(got) > 100
    assert evaluate(unary("clz", x32 := node("register", (), "i32", "x")), {x32: 1}) == 31
