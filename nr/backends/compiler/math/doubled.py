"""Pairs of f64 (see `nr.backends.doubled`) as expressions of compiled programs."""

from __future__ import annotations

from typing import Any

from nr.backends.compiler.expr import (
    Expr,
    bitcast,
    const,
    convert,
    eq,
    fma,
    node,
    select,
    unary,
)
from nr.backends.compiler.math.exponential import FORMATS
from nr.backends.compiler.math.logarithm import exponent_of
from nr.backends.compiler.math.polynomial import exact_product


class Expressions:
    """An `Arithmetic` of expressions; a Python number stands for a constant.

    Example:
        >>> from nr.backends.compiler.expr import node
        >>> Expressions().product(node("register", (), "f64", "x"), 3.0)[0].op
        'fma'
    """

    def product(self, a: Expr, b: Any) -> tuple[Expr, Expr]:
        return exact_product(a, b)

    def residual(self, a: Expr, b: Expr, c: Any) -> Expr:
        return fma(-a, b, c)

    def fma(self, a: Any, b: Any, c: Any) -> Expr:
        return fma(const(a, "f64"), b, c)

    def select(self, condition: Expr, a: Any, b: Any) -> Expr:
        return select(condition, const(a, "f64"), b)

    def equal(self, a: Expr, b: Any) -> Expr:
        return eq(a, b)

    def size(self, a: Expr) -> Expr:
        return unary("abs", a)

    def nearest(self, a: Expr) -> Expr:
        return unary("round_even", a)

    def floor(self, a: Expr) -> Expr:
        return unary("floor", a)

    def lookup(self, values: tuple[float, ...], number: Expr) -> Expr:
        # Comparisons with NaN are false.
        inside = select(number < float(len(values)), number, 0.0)
        return node("table", (convert(select(inside > 0.0, inside, 0.0), "i32"),), "f64", values)

    def split(self, a: Expr) -> tuple[Expr, Expr, Expr]:
        f = FORMATS["f64"]
        e, bits = exponent_of(a)
        scale = bitcast(const(f.bias << f.fraction, "i64") - (e << f.fraction), "f64")
        return convert(e, "f64"), bitcast(bits, "f64"), scale
