"""Polynomials of an expression."""

from __future__ import annotations

from collections.abc import Sequence

from nr.backends.compiler.expr import Expr, const, fma


def horner(x: Expr, coefficients: Sequence[float | Expr]) -> Expr:
    """``c[0] + c[1] x + c[2] x**2 + …``, one fused multiply-add for each power.

    Example:
        >>> from nr.backends.compiler.expr import const
        >>> horner(const(2, "f32"), (1.0, 3.0)).op
        'fma'
    """
    result = const(coefficients[-1], x.dtype)
    for c in reversed(coefficients[:-1]):
        result = fma(result, x, c)
    return result


def exact_product(a: Expr, b: Expr | float) -> tuple[Expr, Expr]:
    """Two numbers whose sum is a * b, the first of them the rounded product.

    The product is written as a fused multiply-add, since the compiler may merge a plain one
    into an addition that uses it, after which the second number would be wrong.

    Source: Muller et al., Handbook of Floating-Point Arithmetic, 2nd edition, section 4.4.
    """
    high = fma(a, b, -0.0)
    return high, fma(a, b, -high)


def exact_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Two numbers whose sum is a + b, the first of them the rounded sum; |a| >= |b| or a = 0.

    Source: Dekker, "A floating-point technique for extending the available precision",
    Numerische Mathematik 18 (1971).
    """
    high = a + b
    return high, b - (high - a)
