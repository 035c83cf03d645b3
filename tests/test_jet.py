"""Without these, derivatives along series could be scaled or ordered otherwise than in JAX."""

import jax
import jax.experimental.jet
import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.experimental.jet import jet

X = np.float32([0.3, -0.7, 1.1])
TERMS = [np.float32([1.0, 0.5, -0.2]), np.float32([0.4, 0.0, 2.0]), np.float32([-1.0, 0.3, 0.1])]
WEIGHTS = np.float32([[0.2, -0.5, 1.0], [0.7, 0.1, -0.3], [0.0, 0.4, 0.9]])
# Third derivatives are sums of some ten products.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def network(np):
    return lambda x: {"out": np.tanh(WEIGHTS @ x), "sums": [np.exp(x).sum(), x * 2]}


@pytest.mark.parametrize("scaled", [True, False])
def test_series_are_those_of_jax(scaled):
    ours = nr.jit(lambda x, s: jet(network(jnp), (x,), (s,), factorial_scaled=scaled))(X, TERMS)
    theirs = jax.experimental.jet.jet(network(jax.numpy), (X,), (TERMS,), factorial_scaled=scaled)
    assert jax.tree.structure(nr.tree.map(np.asarray, ours)) == jax.tree.structure(theirs)
    for got, want in zip(nr.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)


def test_several_arguments():
    value, (first, second) = jet(jnp.multiply, (X, X + 1), (TERMS[:2], TERMS[1:]))
    np.testing.assert_allclose(value, X * (X + 1), **CLOSE)
    np.testing.assert_allclose(first, TERMS[0] * (X + 1) + X * TERMS[1], **CLOSE)
    wanted = TERMS[1] * (X + 1) + 2 * TERMS[0] * TERMS[1] + X * TERMS[2]
    np.testing.assert_allclose(second, wanted, **CLOSE)


def test_derivatives_of_a_solution():
    """The series of a differential equation's solution, found order by order, as in its users."""

    def series(x, orders):
        terms = [-x]
        for _ in range(orders - 1):
            terms = [-x, *jet(lambda y: -y, (x,), (terms,))[1]]
        return terms

    np.testing.assert_allclose(series(X, 3), [-X, X, -X])
    slope = nr.grad(lambda x: jet(jnp.sin, (x,), ([jnp.ones(3)],))[1][0].sum())(X)
    np.testing.assert_allclose(slope, -np.sin(X), **CLOSE)


def test_errors():
    with pytest.raises(ValueError, match="jet: a series for each of 1 primals"):
        jet(jnp.sin, (X,), (TERMS, TERMS))
    with pytest.raises(ValueError, match=r"all of one length; got lengths \[3, 2\]"):
        jet(jnp.multiply, (X, X), (TERMS, TERMS[:2]))
