"""Without this, a derivative rule of an operation could be wrong, to first or second order."""

import numpy as np
import pytest

import nr
from tests.cases import ALL_CASES
from tests.util import check_grad, grad_dtype


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case.name}-{dtype}")
        for case in ALL_CASES
        if (dtype := grad_dtype(case)) is not None
    ],
)
def test_grad(case, dtype):
    check_grad(case, dtype, order=2)


# ------------------------------------------------- derivatives that are not those of the values
def _both(fun, x):
    """The forward and the reverse derivative of an elementwise function."""
    ones = np.ones_like(x)
    forward = nr.jvp(fun, (x,), (ones,))[1]
    (reverse,) = nr.vjp(fun, x)[1](ones)
    np.testing.assert_array_equal(forward, reverse)
    return np.asarray(forward)


def test_stop_gradient_is_a_constant():
    x = np.linspace(-1, 1, 5)
    np.testing.assert_array_equal(_both(nr.lax.stop_gradient, x), np.zeros(5))


def test_reduce_precision_lets_tangents_through():
    x = np.linspace(-1, 1, 5)
    derivative = _both(lambda x: nr.lax.reduce_precision(x, 8, 7), x)
    np.testing.assert_array_equal(derivative, np.ones(5))


@pytest.mark.parametrize("name", ["floor", "ceil", "round", "sign"])
def test_steps_have_derivative_zero(name):
    x = np.array([-1.0, 0.0, 0.5, 2.0])
    np.testing.assert_array_equal(_both(getattr(nr.lax, name), x), np.zeros(4))


@pytest.mark.parametrize("name", ["max", "min"])
def test_ties_share_the_derivative(name):
    x = np.array([1.0, 2.0, 3.0])
    _, t = nr.jvp(getattr(nr.lax, name), (x, x), (np.ones(3), np.zeros(3)))
    np.testing.assert_array_equal(t, np.full(3, 0.5))


def test_pow_at_zero():
    x, y = np.zeros(4), np.array([0.0, 1.0, 2.0, 3.0])
    _, t = nr.jvp(lambda x: nr.lax.pow(x, y), (x,), (np.ones(4),))
    np.testing.assert_array_equal(t, [0, 1, 0, 0])


def test_abs_of_complex_zero():
    x = np.zeros((), np.complex128)
    _, t = nr.jvp(nr.lax.abs, (x,), (np.ones((), np.complex128),))
    assert float(t) == 0
