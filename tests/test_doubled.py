"""Without these, pairs of numbers could hold fewer digits than the results of cancellation need."""

import math

import numpy as np
import pytest
from mpmath import mp, mpf

from nr.backends import doubled
from nr.backends.compiler.expr import compiling, node
from nr.backends.compiler.math.doubled import Expressions
from nr.backends.table._doubled import Arrays
from tests import expr_interpreter

# Functions of pairs, with the arithmetic of their numbers; and of exact numbers.
PAIRS = {
    "add": (lambda of, a, b: doubled.add(a, b), lambda a, b: a + b),
    "multiply": (doubled.multiply, lambda a, b: a * b),
    "divide": (doubled.divide, lambda a, b: a / b),
    "reciprocal": (lambda of, a, b: doubled.reciprocal(of, a), lambda a, b: 1 / a),
    "log": (lambda of, a, b: doubled.log(of, a), lambda a, b: mp.log(a)),
}


def operands(x, y):
    """Two pairs."""
    return doubled.total(x, y * 2.0**-40), doubled.total(y, x * 2.0**-80)


def as_arrays(function, x, y):
    with np.errstate(all="ignore"):
        return function(Arrays(np), *operands(x, y))


def as_expressions(function, x, y):
    with compiling():
        leaves = [node("register", (), "f64", name) for name in "xy"]
        pair = function(Expressions(), *operands(*leaves))
        return expr_interpreter.evaluate_all(pair, dict(zip(leaves, (x, y), strict=True)))


@pytest.mark.parametrize("evaluate", [as_arrays, as_expressions])
@pytest.mark.parametrize("name", PAIRS)
def test_twice_the_digits_of_a_number(name, evaluate):
    """Also between the tabulated logarithms, next to 1, and where the exponent changes."""
    function, reference = PAIRS[name]
    rng = np.random.default_rng(0)
    x = np.concatenate([np.exp(rng.uniform(-30, 30, 100)), np.arange(45, 91.5, 0.5) / 64])
    x = np.concatenate([x, np.nextafter(1, [0, 2]), 2.0 ** np.arange(-3, 4) * math.sqrt(2)])
    y = rng.uniform(0.5, 3, len(x))
    high, low = evaluate(function, x, y)
    with mp.workprec(250):
        for a, b, got, rest in zip(*[v.tolist() for v in (x, y, high, low)], strict=True):
            expected = reference(mpf(a) + mpf(b) * mpf(2) ** -40, mpf(b) + mpf(a) * mpf(2) ** -80)
            # The logarithm's largest terms may be log(2)/2 where the result is small.
            size = max(abs(expected), 0.4) if name == "log" else abs(expected)
            assert abs(mpf(got) + mpf(rest) - expected) <= size * mpf(2) ** -103
