"""pow, integer_pow, rsqrt and cbrt.

|x|**y = 2**(y log2(|x|)). The product is as large as 1024 and its error counts in full, so that
the logarithm of f32 is computed in f64, and that of f64 in pairs of numbers with some 65 correct
bits (Dekker 1971; the series is that of `logarithm`, its first two terms as pairs).
"""

from __future__ import annotations

import math
from typing import Any

from nr.backends.compiler.expr import (
    Expr,
    bitcast,
    compare,
    const,
    convert,
    copysign,
    eq,
    fma,
    ne,
    node,
    select,
    unary,
)
from nr.backends.compiler.math.exponential import FORMATS, exp2_of_parts, rounded
from nr.backends.compiler.math.logarithm import exponent_of, not_normal
from nr.backends.compiler.math.polynomial import exact_product, exact_sum, horner

# log2(1 + f) / f for sqrt(1/2) <= 1 + f <= sqrt(2), with an error of 2.3e-11.
_LOG2 = (
    1.4426950408686972, -0.7213475213585353, 0.48089836100047123, -0.36067357429848007,
    0.28853732022842593, -0.24045897228168406, 0.20617692672578786, -0.18016171786222368,
    0.15866209848302582, -0.14463597759652358, 0.1465658586592686, -0.13700543905287113,
    0.06794358143891525,
)  # fmt: skip
# log2((1 + s)/(1 - s)) = s (A + B s**2 + s**4 T(s**2)): A and B in two parts, and T.
_A = (2.8853900817779268, 4.0710547481862066e-17)
_B = (0.9617966939259756, 5.0577616648125907e-17)
_T = (
    0.5770780163555853, 0.4121985831113121, 0.32059889787486195, 0.2623082104190088,
    0.2219509383157983, 0.19247320050165972, 0.16658743834023568, 0.19150828484457066,
)  # fmt: skip


def _special(x: Expr, y: Expr, power: Expr) -> Expr:
    """x**y by the cases of C99 (annex F.9.4.4), given |x|**y for finite numbers, x not 0."""
    a, size = unary("abs", x), unary("abs", y)
    one, nan = const(1.0, x.dtype), const(math.nan, x.dtype)
    growing = compare("eq", a > 1.0, y > 0.0)
    extreme = eq(a, 0.0) | eq(a, math.inf) | eq(size, math.inf)
    power = select(extreme, select(growing, const(math.inf, x.dtype), 0.0), power)
    power = select(eq(a, 1.0), 1.0, power)
    half = y * 0.5
    whole = eq(unary("round_even", y), y)
    odd = whole & ne(unary("round_even", half), half)
    power = select(odd, copysign(power, x), power)
    fractional_root = (x < 0.0) & ~whole & ne(a, math.inf)
    undefined = fractional_root | ne(x, x) | ne(y, y)
    power = select(undefined, nan, power)
    return select(eq(x, 1.0) | eq(y, 0.0), one, power)


def _clamped(x: Expr, bound: float) -> Expr:
    x = select(x > bound, bound, x)
    return select(x < -bound, -bound, x)


def _power_single(a: Expr, y: Expr) -> Expr:
    """a**y for positive finite f32."""
    wide = convert(a, "f64")
    e, m = exponent_of(wide)
    f = bitcast(m, "f64") - 1.0
    logarithm = fma(f, horner(f, _LOG2), convert(e, "f64"))
    z = _clamped(convert(y, "f64") * logarithm, 300.0)
    n, _ = rounded(z, 1.0)
    return exp2_of_parts(convert(n, "f32"), convert(z - n, "f32"))


def _power_double(a: Expr, y: Expr, offset: Expr | float) -> Expr:
    """(a * 2**offset)**y for positive normal f64."""
    e, m = exponent_of(a)
    e = convert(e, "f64") + offset
    f = bitcast(m, "f64") - 1.0
    # s = f / (2 + f) and z = s**2, as pairs.
    d, d_low = exact_sum(const(2.0, "f64"), f)
    inverse = 1.0 / d
    s = fma(f, inverse, -0.0)
    s_low = fma(-s, d_low, fma(-s, d, f)) * inverse
    z, z_low = exact_product(s, s)
    z_low = fma(s + s, s_low, z_low)
    # u = A + z (B + z T(z)), and log2(m) = s u.
    t = horner(z, _T)
    r = fma(z, t, _B[0])
    r_low = fma(z, t, _B[0] - r) + _B[1]
    w, w_low = exact_product(z, r)
    w_low = fma(z, r_low, fma(z_low, r, w_low))
    u, u_low = exact_sum(const(_A[0], "f64"), w)
    u_low = u_low + (w_low + _A[1])
    p, p_low = exact_product(s, u)
    p_low = fma(s, u_low, fma(s_low, u, p_low))
    logarithm, low = exact_sum(e, p)
    low = low + p_low
    # y beyond 2**66 has no other effect, and its product might overflow.
    y = _clamped(y, 2.0**66)
    product, product_low = exact_product(y, logarithm)
    product_low = fma(y, low, product_low)
    bounded = _clamped(product, 1200.0)
    n, _ = rounded(bounded, 1.0)
    rest = (bounded - n) + select(eq(bounded, product), product_low, 0.0)
    return exp2_of_parts(n, rest)


def _integer_power(x: Expr, y: Expr) -> Expr:
    """x**y of integers, which wraps; for y < 0 it is 1 / x**-y, truncated."""
    if y.dtype != x.dtype:
        y = convert(y, x.dtype)
    signed = x.dtype[0] == "i"
    # |x|**-y matters where |x| <= 1 only, so that the parity of y is enough.
    count = select(y < 0, y & 1, y) if signed else y
    result, square = const(1, x.dtype), x
    for bit in range(int(x.dtype[1:])):
        result = select(ne(count & (1 << bit), 0), result * square, result)
        square = square * square
    if not signed:
        return result
    negative = select(eq(x, 0), -1, select(eq(x, 1) | eq(x, -1), result, 0))
    return select(y < 0, negative, result)


_CHEAP = (-1.0, -0.5, 0.5, 1.0, 2.0, 3.0)


def _constant_power(x: Expr, y: float) -> Expr:
    """x**y for y in _CHEAP, for which no intermediate result leaves the range of numbers."""
    if abs(y) != 0.5:
        return integer_pow(x, int(y))
    root = x + 0.0  # -0 counts as 0
    if y > 0:
        return select(eq(x, -math.inf), math.inf, unary("sqrt", root))
    return select(eq(x, -math.inf), 0.0, rsqrt(root))


def pow(x: Expr, y: Expr) -> Expr:  # noqa: A001 - the primitive's name
    """x**y, with the special cases of C99.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> pow(*[node("register", (), "f32", name) for name in "xy"]).dtype
        'f32'
    """
    if x.dtype not in FORMATS:
        return _integer_power(x, y)
    if y.dtype not in FORMATS:  # as f64 it keeps its parity
        y = convert(y, "f64")
    elif y.op == "const" and float(y.param) in _CHEAP:
        return _constant_power(x, float(y.param))
    a = unary("abs", x)
    if x.dtype == "f32":
        usual = extended = _power_single(a, y)
        first = 0.0
    else:
        first = float(2.0**-1022)
        usual = _power_double(a, y, 0.0)
        small = a < first
        extended = _power_double(
            select(small, a * 2.0**54, a), y, select(small, const(-54.0, "f64"), 0.0)
        )
    ordinary = (x > first) & (x < math.inf) & (unary("abs", y) < math.inf)
    return node("rarely", (~ordinary, _special(x, y, extended), usual), x.dtype)


def integer_pow(x: Any, y: int) -> Any:
    """x to a constant integer, by repeated multiplication."""
    if y == 0:
        return const(1, x.dtype)
    result: Any = None
    square, left = x, abs(y)
    while left:
        if left & 1:
            result = square if result is None else result * square
        left >>= 1
        if left:
            square = square * square
    if y > 0:
        return result
    if x.dtype in FORMATS:
        return 1.0 / result
    # Integers: 1 / result, truncated; the quotient by zero is -1, as division's is.
    unit = eq(result, 1) if x.dtype[0] == "u" else eq(result, 1) | eq(result, -1)
    return select(eq(result, 0), -1, select(unit, result, 0))


def rsqrt(x: Expr) -> Expr:
    """1 / sqrt(x), which is cheaper than either alone.

    An estimate by halving the exponent is refined twice by the fourth-order iteration
    r (1 + h/2 + 3 h**2/8 + 5 h**3/16) with h = 1 - x r**2, and in f64 once more by Newton's.
    """
    if x.dtype == "f32":
        r = bitcast(const(0x5F375A86, "i32") - (bitcast(x, "i32") >> 1), "f32")
    else:
        r = bitcast(const(0x5FE6EB50C7B537A9, "i64") - (bitcast(x, "i64") >> 1), "f64")
    steps = ((0.5, 0.375, 0.3125),) * 2 + (((0.5,),) if x.dtype == "f64" else ())
    for coefficients in steps:
        h = fma(-(x * r), r, 1.0)
        r = fma(r * h, horner(h, coefficients), r)
    return node("rarely", (not_normal(x), 1.0 / unary("sqrt", x), r), x.dtype)


def _cbrt_normal(a: Expr) -> Expr:
    """The cube root of a positive normal number.

    r = a**(-1/3) is estimated by dividing the exponent by three, refined twice by the fourth-order
    iteration r (1 + h/3 + 2 h**2/9 + 14 h**3/81) with h = 1 - a r**3, and y = a r**2 is corrected
    by the residual y**3 - a, computed exactly enough.
    """
    if a.dtype == "f32":
        bits = const(0x54A21D2A, "u32") - node("div", (bitcast(a, "u32"), const(3, "u32")), "u32")
        r = bitcast(bits, "f32")
    else:
        top = convert(bitcast(a, "u64") >> 32, "u32")
        bits = const(0x553EF0FF, "u32") - node("div", (top, const(3, "u32")), "u32")
        r = bitcast(convert(bits, "u64") << 32, "f64")
    for _ in range(2):
        h = fma(-(a * r), r * r, 1.0)
        r = fma(r * h, horner(h, (1 / 3, 2 / 9, 14 / 81)), r)
    square = r * r
    y = a * square
    y_square, rest = exact_product(y, y)
    residual = fma(y_square, y, -a) + y * rest
    return fma(residual * square, -1 / 3, y)


def cbrt(x: Expr) -> Expr:
    """The real cube root, with the sign of x."""
    a = unary("abs", x)
    up, down = (2.0**24, 2.0**-8) if x.dtype == "f32" else (2.0**54, 2.0**-18)
    subnormal = (a > 0.0) & (a < 1.0)
    special = select(subnormal, _cbrt_normal(a * up) * down, a)
    return copysign(node("rarely", (not_normal(a), special, _cbrt_normal(a)), x.dtype), x)
