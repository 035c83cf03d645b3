"""Without these, minimize could end at no minimum, or say so of one."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.scipy.optimize import minimize

METHODS = ["BFGS", "l-bfgs-experimental-do-not-rely-on-this"]


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def himmelblau(p):
    return (p[0] ** 2 + p[1] - 11.0) ** 2 + (p[0] + p[1] ** 2 - 7.0) ** 2


def eggholder(p):
    x, y = p[0], p[1] + 47.0
    return -y * jnp.sin(jnp.sqrt(jnp.abs(x / 2 + y))) - x * jnp.sin(jnp.sqrt(jnp.abs(x - y)))


def zakharov(x):
    s = jnp.sum(0.5 * jnp.arange(1, x.size + 1) * x)
    return jnp.sum(x**2) + s**2 + s**4


CASES = {
    "rosenbrock": (rosenbrock, np.zeros(2), [1.0, 1.0]),
    "long rosenbrock": (rosenbrock, np.full(10, -1.0), np.ones(10)),
    "himmelblau": (himmelblau, np.full(2, 0.5), [3.0, 2.0]),
    "eggholder": (eggholder, np.full(2, 100.0), [97.27335, 111.09957]),
    "zakharov": (zakharov, np.arange(1.0, 6.0), np.zeros(5)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_minima(method, name, dtype):
    function, start, minimum = CASES[name]
    result = minimize(function, start.astype(dtype), method=method)
    assert result.x.dtype == dtype
    # where the gradient is below gtol=1e-5, or the function changes by less than ftol
    np.testing.assert_allclose(result.x, minimum, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result.fun, function(result.x), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(result.jac, nr.grad(function)(result.x), rtol=1e-4, atol=1e-4)
    if method == "BFGS":
        assert bool(result.success) and int(result.status) == 0
        assert np.max(np.abs(result.jac)) < 1e-5
    else:
        assert int(result.status) in (0, 4) and result.hess_inv is None
    assert 1 <= int(result.nit) <= int(result.nfev) == int(result.njev) < 200


def test_the_hessian_is_learned():
    matrix = np.array([[3.0, 1.0], [1.0, 2.0]])
    result = minimize(lambda x: 0.5 * x @ matrix @ x, np.array([1.0, -2.0]), method="BFGS")
    # exact after as many steps as dimensions only if each ends at the minimum of its line
    np.testing.assert_allclose(result.hess_inv, np.linalg.inv(matrix), rtol=1e-3)


def test_arguments_and_options():
    result = minimize(
        lambda x, a, b: jnp.sum((x - a) ** 2) + b, np.zeros(2), (3.0, 1.0), method="bfgs"
    )
    np.testing.assert_allclose(result.x, 3.0, rtol=1e-6)
    assert float(result.fun) == pytest.approx(1.0)
    for method in METHODS:
        stopped = minimize(rosenbrock, np.zeros(4), method=method, options={"maxiter": 3})
        assert (int(stopped.nit), int(stopped.status), bool(stopped.success)) == (3, 1, False)
        at_minimum = minimize(rosenbrock, np.ones(4), method=method)
        assert (int(at_minimum.nit), bool(at_minimum.success)) == (0, True)
        rough = minimize(rosenbrock, np.zeros(4), method=method, tol=1.0)
        assert 1e-5 < float(jnp.max(jnp.abs(rough.jac))) < 1.0
    few = minimize(rosenbrock, np.zeros(4), method=METHODS[1], options={"maxfun": 5})
    assert int(few.status) == 2
    few = minimize(rosenbrock, np.zeros(4), method=METHODS[1], options={"maxgrad": 5})
    assert int(few.status) == 3


def test_a_function_without_minimum_is_no_success():
    result = minimize(lambda x: jnp.sum(x), np.zeros(2), method="BFGS")
    assert int(result.status) == 5 and not bool(result.success)
    result = minimize(lambda x: jnp.sum(x) * jnp.nan, np.zeros(2), method="BFGS")
    assert not bool(result.success)


@pytest.mark.parametrize("method", METHODS)
def test_under_transformations(method):
    starts = np.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 2.0]])
    alone = [minimize(rosenbrock, x, method=method) for x in starts]
    batched = nr.jit(nr.vmap(lambda x: minimize(rosenbrock, x, method=method)))(starts)
    np.testing.assert_array_equal(batched.nit, [int(r.nit) for r in alone])
    np.testing.assert_allclose(batched.x, [np.asarray(r.x) for r in alone], rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_with_integers_of_64_bits(method):
    with nr.config.using(default_int="int64", default_float="float64"):
        found = minimize(rosenbrock, jnp.zeros(2), method=method)
    np.testing.assert_allclose(found.x, [1.0, 1.0], rtol=1e-3)


def test_errors():
    with pytest.raises(ValueError, match="minimize: method must be"):
        minimize(rosenbrock, np.zeros(2), method="newton")
    with pytest.raises(TypeError, match="minimize: args must be a tuple; got 1.0"):
        minimize(rosenbrock, np.zeros(2), 1.0, method="BFGS")
    with pytest.raises(ValueError, match=r"x0 must be a vector of real numbers; got f64\[2,2\]"):
        minimize(rosenbrock, np.zeros((2, 2)), method="BFGS")
