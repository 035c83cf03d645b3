"""Arithmetic and elementary functions of complex numbers, as pairs of real expressions.

Branch cuts, signed zeros and infinities are those of C99 (annex G), after W. Kahan, "Branch cuts
for complex elementary functions, or: Much ado about nothing's sign bit" (1987). Products of
infinities follow the formula, as in NumPy. Where squares could overflow or underflow the operands
are first scaled by a power of two, in a branch that is taken only where some lane needs it. Real
functions are called, by the names of their primitives.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from nr.backends.compiler.expr import (
    Complex,
    Expr,
    compare,
    const,
    convert,
    copysign,
    eq,
    fma,
    maximum,
    ne,
    node,
    select,
    unary,
)
from nr.backends.compiler.math.polynomial import exact_product

# The size of numbers whose squares, and sums and quotients of squares, are normal numbers; and
# the exponents (divisible by 4) that bring larger and smaller ones there.
_SMALL = {"f32": 2.0**-30, "f64": 2.0**-250}
_BIG = {"f32": 2.0**30, "f64": 2.0**250}
_DOWN = {"f32": -72, "f64": -600}
_UP = {"f32": 88, "f64": 600}
# exp, sinh and cosh are finite and normal up to here, and beyond tanh is 1 to rounding.
_EXP_SAFE = {"f32": 86.0, "f64": 700.0}
_TANH_SAFE = {"f32": 12.0, "f64": 22.0}


# ---------------------------------------------------------------- helpers
def _call(name: str, *args: Expr) -> Expr:
    """A real function, which stays one operation until the kernel is emitted."""
    return node(name, args, args[0].dtype)


def _abs(x: Expr) -> Expr:
    return unary("abs", x)


def _rarely(condition: Expr, rare: Expr, usual: Expr) -> Expr:
    return node("rarely", (condition, rare, usual), usual.dtype)


def _both(condition: Expr, a: Complex, b: Complex) -> Complex:
    return Complex(select(condition, a.re, b.re), select(condition, a.im, b.im))


def _rarely_both(condition: Expr, rare: Complex, usual: Complex) -> Complex:
    return Complex(_rarely(condition, rare.re, usual.re), _rarely(condition, rare.im, usual.im))


def _is_nan(x: Expr) -> Expr:
    return ne(x, x)


def _is_infinite(x: Expr) -> Expr:
    return eq(_abs(x), math.inf)


def _size(z: Complex) -> Expr:
    """The larger of |re| and |im|, NaN if one is NaN."""
    return maximum(_abs(z.re), _abs(z.im))


def _extreme(size: Expr) -> Expr:
    """Whether squares need care: of small and large numbers, zero, infinity and NaN."""
    return ~((size >= _SMALL[size.dtype]) & (size <= _BIG[size.dtype]))


def _exponent(size: Expr, fraction: int) -> tuple[Expr, Expr]:
    """2**(k / fraction) and its inverse, where 2**k brings numbers of a size to moderate ones."""
    up, down = _UP[size.dtype] // fraction, _DOWN[size.dtype] // fraction
    one = const(1.0, size.dtype)
    small, big = size < _SMALL[size.dtype], size > _BIG[size.dtype]
    scale = select(small, 2.0**up, select(big, 2.0**down, one))
    inverse = select(small, 2.0**-up, select(big, 2.0**-down, one))
    return scale, inverse


def _scaled(z: Complex, factor: Expr | float) -> Complex:
    return Complex(z.re * factor, z.im * factor)


def _square_modulus(z: Complex) -> Expr:
    return fma(z.re, z.re, z.im * z.im)


def _times_i(z: Complex) -> Complex:
    return Complex(-z.im, z.re)


def _times_minus_i(z: Complex) -> Complex:
    return Complex(z.im, -z.re)


# ---------------------------------------------------------------- arithmetic
def add(x: Complex, y: Complex) -> Complex:
    """x + y."""
    return Complex(x.re + y.re, x.im + y.im)


def sub(x: Complex, y: Complex) -> Complex:
    """x - y."""
    return Complex(x.re - y.re, x.im - y.im)


def neg(z: Complex) -> Complex:
    """-z."""
    return Complex(-z.re, -z.im)


def mul(x: Complex, y: Complex) -> Complex:
    """x y, by the formula."""
    return Complex(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re)


def square(z: Complex) -> Complex:
    """z**2, whose real part is (re - im)(re + im)."""
    product = z.re * z.im
    return Complex((z.re - z.im) * (z.re + z.im), product + product)


def _quotient(x: Complex, y: Complex) -> Complex:
    inverse = 1.0 / _square_modulus(y)
    re = fma(x.re, y.re, x.im * y.im)
    # Each product is rounded, so that the quotient of equal numbers is real.
    im = fma(x.im, y.re, -0.0) - fma(x.re, y.im, -0.0)
    return Complex(re * inverse, im * inverse)


def _boxed(z: Complex) -> Complex:
    """An infinite number as one of components 0 and 1."""
    one, zero = const(1.0, z.re.dtype), const(0.0, z.re.dtype)
    re, im = [copysign(select(_is_infinite(x), one, zero), x) for x in (z.re, z.im)]
    return Complex(re, im)


def div(x: Complex, y: Complex) -> Complex:
    """x / y; a finite number over an infinite one is zero, and infinities keep their direction.

    Example:
        >>> from nr.backends.compiler.expr import const
        >>> z = Complex(const(1, "f32"), const(2, "f32"))
        >>> div(z, z).dtype
        'c64'
    """
    size_x, size_y = _size(x), _size(y)
    scale_x, _ = _exponent(size_x, 1)
    scale_y, _ = _exponent(size_y, 1)
    _, half_back_x = _exponent(size_x, 2)
    half_y, _ = _exponent(size_y, 2)
    infinite_x = _is_infinite(x.re) | _is_infinite(x.im)
    infinite_y = _is_infinite(y.re) | _is_infinite(y.im)
    top, bottom = _both(infinite_x, _boxed(x), x), _both(infinite_y, _boxed(y), y)
    top = _scaled(top, select(infinite_x, 1.0, scale_x))
    bottom = _scaled(bottom, select(infinite_y, 1.0, scale_y))
    quotient = _quotient(top, bottom)
    half = half_y * half_back_x
    scaled = _scaled(_scaled(quotient, half), half)
    direction = select(infinite_x, math.inf, const(1.0, x.re.dtype))
    direction = select(infinite_y, 0.0, direction)
    direction = select(infinite_x & infinite_y, math.nan, direction)
    rare = _both(infinite_x | infinite_y, _scaled(quotient, direction), scaled)
    by_zero = copysign(const(math.inf, x.re.dtype), y.re)
    rare = _both(eq(size_y, 0.0), _scaled(x, by_zero), rare)
    return _rarely_both(_extreme(size_x) | _extreme(size_y), rare, _quotient(x, y))


def integer_pow(z: Complex, *, y: int) -> Complex:
    """z to a constant integer, by repeated multiplication."""
    one = Complex(const(1.0, z.re.dtype), const(0.0, z.re.dtype))
    result, power, left = None, z, abs(y)
    while left:
        if left & 1:
            result = power if result is None else mul(result, power)
        left >>= 1
        if left:
            power = square(power)
    if result is None:
        return one
    return result if y > 0 else div(one, result)


def abs_(z: Complex) -> Expr:
    """sqrt(re**2 + im**2); infinite where a component is, even if the other is NaN."""
    size = _size(z)
    scale, back = _exponent(size, 1)
    rare = unary("sqrt", _square_modulus(_scaled(z, scale))) * back
    rare = select(_is_infinite(z.re) | _is_infinite(z.im), math.inf, rare)
    return _rarely(_extreme(size), rare, unary("sqrt", _square_modulus(z)))


def sign(z: Complex) -> Complex:
    """z / |z|; zeros stay."""
    size = _size(z)
    scale, _ = _exponent(size, 1)

    def unit(z: Complex) -> Complex:
        modulus = unary("sqrt", _square_modulus(z))
        return Complex(z.re / modulus, z.im / modulus)

    rare = _both(eq(size, 0.0), z, unit(_scaled(z, scale)))
    return _rarely_both(_extreme(size), rare, unit(z))


def _lexicographic(op: str) -> Callable[[Complex, Complex], Expr]:
    """lt, le, gt or ge, by the real parts first."""
    strict = op[0] + "t"

    def relation(x: Complex, y: Complex) -> Expr:
        return compare(strict, x.re, y.re) | (eq(x.re, y.re) & compare(op, x.im, y.im))

    return relation


def _equal(x: Complex, y: Complex) -> Expr:
    return eq(x.re, y.re) & eq(x.im, y.im)


def _different(x: Complex, y: Complex) -> Expr:
    return ne(x.re, y.re) | ne(x.im, y.im)


def _extremum(op: str) -> Callable[[Complex, Complex], Complex]:
    """The first number that is NaN in some component, or else the lexicographic extremum."""
    before = _lexicographic({"max": "ge", "min": "le"}[op])

    def extremum(x: Complex, y: Complex) -> Complex:
        x_nan, y_nan = _is_nan(x.re) | _is_nan(x.im), _is_nan(y.re) | _is_nan(y.im)
        return _both(x_nan | (before(x, y) & ~y_nan), x, y)

    return extremum


def clamp(low: Complex, z: Complex, high: Complex) -> Complex:
    """The smaller of `high` and the larger of z and `low`, in lexicographic order."""
    return _extremum("min")(_extremum("max")(z, low), high)


# ---------------------------------------------------------------- exponentials
def _product(a: Expr, wave: Expr, b: Expr) -> Expr:
    """a * wave * b where an exact zero makes a zero, even of infinity or NaN."""
    result = (a * wave) * b
    one = const(1.0, a.dtype)
    result = select(eq(wave, 0.0), wave * copysign(one, a), result)
    return select(eq(a, 0.0), a * copysign(one, wave), result)


def _infinite_or_nan(x: Expr) -> Expr:
    return ~(_abs(x) < math.inf)


def exp(z: Complex) -> Complex:
    """exp(re) (cos(im) + i sin(im)), in two factors where exp(re) might overflow."""
    a, cosine, sine = z.re, _call("cos", z.im), _call("sin", z.im)
    size = _call("exp", a)
    half = _call("exp", a * 0.5)
    # C99 G.6.3.1: exp(inf + i y) is infinite even if y has no cosine.
    re = _product(half, select(eq(a, math.inf) & _is_nan(cosine), 1.0, cosine), half)
    rare = Complex(re, _product(half, sine, half))
    condition = ~(_abs(a) <= _EXP_SAFE[a.dtype]) | _infinite_or_nan(z.im)
    return _rarely_both(condition, rare, Complex(size * cosine, size * sine))


def exp2(z: Complex) -> Complex:
    """exp(z log(2))."""
    return exp(_scaled(z, math.log(2.0)))


def expm1(z: Complex) -> Complex:
    """exp(z) - 1, whose real part is expm1(re) cos(im) - 2 sin(im / 2)**2."""
    sine, half_sine = _call("sin", z.im), _call("sin", z.im * 0.5)
    growth = _call("expm1", z.re)
    re = fma(growth, _call("cos", z.im), (half_sine * half_sine) * -2.0)
    usual = Complex(re, _call("exp", z.re) * sine)
    large = exp(z)
    condition = ~(_abs(z.re) <= _EXP_SAFE[z.re.dtype]) | _infinite_or_nan(z.im)
    return _rarely_both(condition, Complex(large.re - 1.0, large.im), usual)


def logistic(z: Complex) -> Complex:
    """1 / (1 + exp(-z)), or exp(z) / (1 + exp(z)) left of the imaginary axis."""
    left = z.re < 0.0
    w = exp(_both(left, z, neg(z)))
    one = Complex(const(1.0, z.re.dtype), const(0.0, z.re.dtype))
    return div(_both(left, w, one), Complex(w.re + 1.0, w.im))


def _hyperbolic(z: Complex, first: str, second: str) -> Complex:
    """first(re) cos(im) + i second(re) sin(im), of sinh and cosh in either order."""
    a, cosine, sine = z.re, _call("cos", z.im), _call("sin", z.im)
    factors = _call(first, a), _call(second, a)
    usual = Complex(factors[0] * cosine, factors[1] * sine)
    large = ~(_abs(a) <= _EXP_SAFE[a.dtype])
    half = _call("exp", _abs(a) * 0.5)
    waves = (select(_is_infinite(a) & _is_nan(cosine), 1.0, cosine), sine)
    parts = []
    for name, factor, wave in zip((first, second), factors, waves):
        signed = copysign(half, a) if name == "sinh" else half
        parts.append(_product(select(large, signed * 0.5, factor), wave, select(large, half, 1.0)))
    return _rarely_both(large | _infinite_or_nan(z.im), Complex(*parts), usual)


def sinh(z: Complex) -> Complex:
    """sinh(re) cos(im) + i cosh(re) sin(im)."""
    return _hyperbolic(z, "sinh", "cosh")


def cosh(z: Complex) -> Complex:
    """cosh(re) cos(im) + i sinh(re) sin(im)."""
    return _hyperbolic(z, "cosh", "sinh")


def tanh(z: Complex) -> Complex:
    """(sinh(re) cosh(re) + i sin(im) cos(im)) / (sinh(re)**2 + cos(im)**2)."""
    a, b = z.re, z.im
    cosine, sine = _call("cos", b), _call("sin", b)
    s, c = _call("sinh", a), _call("cosh", a)
    inverse = 1.0 / fma(s, s, cosine * cosine)
    usual = Complex((s * c) * inverse, (sine * cosine) * inverse)
    large = ~(_abs(a) <= _TANH_SAFE[a.dtype])
    endless = _infinite_or_nan(b)
    limit = copysign(const(1.0, a.dtype), a)
    re = select(_is_nan(a) | (endless & ~_is_infinite(a)), math.nan, limit)
    re = select(eq(a, 0.0), a, re)
    decay = _call("exp", _abs(a) * -2.0) * 4.0
    im = _product(decay, sine * cosine, const(1.0, a.dtype))
    im = select(endless & ~_is_infinite(a), math.nan, im)
    rare = Complex(select(large | endless, re, usual.re), select(large | endless, im, usual.im))
    return _rarely_both(large | endless, rare, usual)


def sin(z: Complex) -> Complex:
    """-i sinh(i z)."""
    return _times_minus_i(sinh(_times_i(z)))


def cos(z: Complex) -> Complex:
    """cosh(i z)."""
    return cosh(_times_i(z))


def tan(z: Complex) -> Complex:
    """-i tanh(i z)."""
    return _times_minus_i(tanh(_times_i(z)))


# ---------------------------------------------------------------- logarithms and powers
def _exact_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b rounded, and its error, whichever is the larger (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _log_modulus(z: Complex) -> Expr:
    """log|z|, accurate also where |z| is near 1: there it is log1p(re**2 - 1 + im**2) / 2."""
    a, b = _abs(z.re), _abs(z.im)
    swap = a < b
    large, little = select(swap, b, a), select(swap, a, b)
    high, low = exact_product(large, large)
    little_high, little_low = exact_product(little, little)
    excess = ((high - 1.0) + little_high) + (low + little_low)
    w = _square_modulus(z)
    near = (w > 0.5) & (w < 3.0)
    usual = _rarely(near, _call("log1p", excess), _call("log", w)) * 0.5
    size = _size(z)
    scale, _ = _exponent(size, 1)
    rare = _call("log", _square_modulus(_scaled(z, scale))) * 0.5
    up, down = -_UP[a.dtype] * math.log(2.0), -_DOWN[a.dtype] * math.log(2.0)
    zero = const(0.0, a.dtype)
    small, big = size < _SMALL[a.dtype], size > _BIG[a.dtype]
    rare = rare + select(small, up, select(big, down, zero))
    rare = select(_is_infinite(z.re) | _is_infinite(z.im), math.inf, rare)
    return _rarely(_extreme(size), rare, usual)


def log(z: Complex) -> Complex:
    """log(|z|) + i atan2(im, re)."""
    return Complex(_log_modulus(z), _call("atan2", z.im, z.re))


def log1p(z: Complex) -> Complex:
    """log(1 + z); where |1 + z| is near 1, from |1 + z|**2 - 1 = 2 re + re**2 + im**2."""
    shifted = Complex(z.re + 1.0, z.im)
    square, low = exact_product(z.re, z.re)
    other, other_low = exact_product(z.im, z.im)
    total, error = _exact_sum(z.re + z.re, square)
    total, other_error = _exact_sum(total, other)
    excess = total + ((error + other_error) + (low + other_low))
    near = (excess > -0.5) & (excess < 2.0)
    re = _rarely(near, _call("log1p", excess) * 0.5, _log_modulus(shifted))
    return Complex(re, _call("atan2", z.im, shifted.re))


def sqrt(z: Complex) -> Complex:
    """The root with re >= 0, continuous from above on the cut for im = +0, from below for -0."""
    size = _size(z)
    scale, _ = _exponent(size, 1)
    _, back = _exponent(size, 2)

    def root(z: Complex) -> Complex:
        a = _abs(z.re)
        t = unary("sqrt", (a + unary("sqrt", _square_modulus(z))) * 0.5)
        other = z.im * (0.5 / t)
        right = z.re >= 0.0
        return Complex(select(right, t, _abs(other)), select(right, other, copysign(t, z.im)))

    rare = _scaled(root(_scaled(z, scale)), back)
    zero, infinity = const(0.0, z.re.dtype), const(math.inf, z.re.dtype)
    rare = _both(eq(size, 0.0), Complex(zero, z.im), rare)
    # C99 G.6.4.2: csqrt(-inf + i y) = 0 + i inf, csqrt(inf + i y) = inf + i 0.
    flat = select(_is_nan(z.im), z.im, zero)
    positive = Complex(infinity, copysign(flat, z.im))
    negative = Complex(flat, copysign(infinity, z.im))
    rare = _both(_is_infinite(z.re), _both(z.re > 0.0, positive, negative), rare)
    rare = _both(_is_infinite(z.im), Complex(infinity, z.im), rare)
    return _rarely_both(_extreme(size), rare, root(z))


def rsqrt(z: Complex) -> Complex:
    """1 / sqrt(z)."""
    return div(Complex(const(1.0, z.re.dtype), const(0.0, z.re.dtype)), sqrt(z))


def _converted(z: Complex | Expr, dtype: str) -> Complex:
    if type(z) is Expr:  # an exponent may be an integer
        return Complex(convert(z, dtype), const(0.0, dtype))
    return Complex(convert(z.re, dtype), convert(z.im, dtype))


def pow_(x: Complex, y: Complex | Expr) -> Complex:
    """exp(y log(x)), 1 for y = 0, and for x = 0: 0 or NaN.

    The relative error is about (1 + |y log(x)|) epsilon; complex64 is computed in float64.
    """
    dtype = x.re.dtype
    x, y = _converted(x, "f64"), _converted(y, "f64")
    if y.re.op == y.im.op == "const" and not y.im.param and abs(y.re.param) <= 16:
        whole = int(y.re.param)
        if whole == y.re.param:
            return _converted(integer_pow(x, y=whole), dtype)
    power = exp(mul(y, log(x)))
    zero, one = const(0.0, "f64"), const(1.0, "f64")
    at_zero = Complex(select(y.re > 0.0, zero, math.nan), select(y.re > 0.0, zero, math.nan))
    power = _both(eq(x.re, 0.0) & eq(x.im, 0.0), at_zero, power)
    power = _both(eq(y.re, 0.0) & eq(y.im, 0.0), Complex(one, zero), power)
    return _converted(power, dtype)


# ---------------------------------------------------------------- inverse functions
def _log_twice(z: Complex) -> Expr:
    return _log_modulus(z) + math.log(2.0)


def _is_huge(z: Complex) -> Expr:
    return ~(_size(z) <= _BIG[z.re.dtype])


def asin(z: Complex) -> Complex:
    """From sqrt(1 - z) and sqrt(1 + z), by Kahan's formulas; of huge z, from log(2 |z|)."""
    left = sqrt(Complex(1.0 - z.re, -z.im))
    right = sqrt(Complex(z.re + 1.0, z.im))
    re = _call("atan2", z.re, left.re * right.re - left.im * right.im)
    im = _call("asinh", left.re * right.im - left.im * right.re)
    huge = Complex(_call("atan2", z.re, _abs(z.im)), copysign(_log_twice(z), z.im))
    return _rarely_both(_is_huge(z), huge, Complex(re, im))


def acos(z: Complex) -> Complex:
    """From sqrt(1 - z) and sqrt(1 + z), as `asin`."""
    left = sqrt(Complex(1.0 - z.re, -z.im))
    right = sqrt(Complex(z.re + 1.0, z.im))
    re = _call("atan2", left.re, right.re) * 2.0
    im = _call("asinh", right.re * left.im - right.im * left.re)
    huge = Complex(_call("atan2", _abs(z.im), z.re), copysign(_log_twice(z), -z.im))
    return _rarely_both(_is_huge(z), huge, Complex(re, im))


def acosh(z: Complex) -> Complex:
    """From sqrt(z - 1) and sqrt(z + 1), as `asin`."""
    left = sqrt(Complex(z.re - 1.0, z.im))
    right = sqrt(Complex(z.re + 1.0, z.im))
    re = _call("asinh", left.re * right.re + left.im * right.im)
    im = _call("atan2", left.im, right.re) * 2.0
    huge = Complex(_log_twice(z), _call("atan2", z.im, z.re))
    return _rarely_both(_is_huge(z), huge, Complex(re, im))


def asinh(z: Complex) -> Complex:
    """-i asin(i z)."""
    return _times_minus_i(asin(_times_i(z)))


def atanh(z: Complex) -> Complex:
    """log1p(4 re / ((1 - re)**2 + im**2)) / 4 + i atan2(2 im, (1 - re)(1 + re) - im**2) / 2."""
    a, b = _abs(z.re), z.im
    rest = 1.0 - a
    distance = fma(rest, rest, b * b)
    re = _call("log1p", (a * 4.0) / distance) * 0.25
    im = _call("atan2", b + b, fma(rest, a + 1.0, -(b * b))) * 0.5
    # Far out, re = a / |z|**2; next to the pole, the squares underflow.
    huge, pole = _is_huge(z), distance < _SMALL[a.dtype]
    scale, _ = _exponent(_size(z), 1)
    small = _scaled(Complex(a, b), scale)
    far = (small.re / _square_modulus(small)) * scale
    far = select(_is_infinite(z.re) | _is_infinite(b), 0.0, far)
    quarter_turn = copysign(const(math.pi / 2, a.dtype), b)
    far_im = select(_is_nan(z.re) & ~_is_infinite(b), z.re, quarter_turn)
    far_im = select(_is_nan(b), b, far_im)
    close = (_call("log", _abs(b)) - math.log(2.0)) * -0.5
    rare = Complex(select(huge, far, close), select(huge, far_im, im))
    result = _rarely_both(huge | pole, rare, Complex(re, im))
    return Complex(copysign(result.re, z.re), result.im)


def atan(z: Complex) -> Complex:
    """-i atanh(i z)."""
    return _times_minus_i(atanh(_times_i(z)))


# By the primitive's name; a function takes the operands, and the primitive's parameters by name.
COMPLEX_FUNCTIONS: dict[str, Callable] = {
    "add": add,
    "sub": sub,
    "neg": neg,
    "mul": mul,
    "div": div,
    "square": square,
    "integer_pow": integer_pow,
    "pow": pow_,
    "abs": abs_,
    "sign": sign,
    "eq": _equal,
    "ne": _different,
    **{op: _lexicographic(op) for op in ("lt", "le", "gt", "ge")},
    **{op: _extremum(op) for op in ("max", "min")},
    "clamp": clamp,
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "logistic": logistic,
    "log": log,
    "log1p": log1p,
    "sqrt": sqrt,
    "rsqrt": rsqrt,
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "asin": asin,
    "acos": acos,
    "atan": atan,
    "sinh": sinh,
    "cosh": cosh,
    "tanh": tanh,
    "asinh": asinh,
    "acosh": acosh,
    "atanh": atanh,
}
