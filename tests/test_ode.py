"""Without these, odeint could give wrong states, or derivatives that belong to other equations."""

import jax.experimental.ode
import numpy as np
import pytest
import scipy.linalg

import nr
import nr.numpy as jnp
from nr.experimental.ode import odeint

TIMES = np.linspace(0.0, 2.0, 7)
MATRIX = np.array([[-0.3, 1.2], [-0.9, 0.1]])
START = np.array([1.0, -0.5])
# Both solvers err by their tolerance a step, and take some tens of steps.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def linear(y, t, matrix):
    return matrix @ y


def pendulum(state, t, stiffness, rest):
    force = -stiffness * jnp.sin(state["x"]) - rest["drag"] * state["v"] + jnp.cos(t)
    return {"x": state["v"], "v": force}


def test_states_are_those_of_the_equation():
    want = np.stack([scipy.linalg.expm(MATRIX * t) @ START for t in TIMES])
    np.testing.assert_allclose(odeint(linear, START, TIMES, MATRIX), want, **CLOSE)
    np.testing.assert_allclose(
        nr.jit(odeint, static_argnums=0)(linear, START, TIMES, MATRIX), want, **CLOSE
    )
    turning = odeint(lambda y, t: 1j * y, np.array([1.0 + 0j]), TIMES)
    np.testing.assert_allclose(turning[:, 0], np.exp(1j * TIMES), **CLOSE)


def test_steps_follow_their_bounds():
    f = lambda y, t: -50.0 * (y - jnp.cos(t))  # noqa: E731
    rough = odeint(f, np.float64(0.0), TIMES, rtol=1e-3, atol=1e-3)
    fine = odeint(f, np.float64(0.0), TIMES, rtol=1e-3, atol=1e-3, hmax=0.01)
    exact = odeint(f, np.float64(0.0), TIMES)
    assert np.max(np.abs(fine - exact)) < np.max(np.abs(rough - exact)) / 10
    stopped = odeint(f, np.float64(0.0), TIMES, mxstep=1)
    assert np.max(np.abs(stopped - exact)) > 1e-2


def test_derivatives_of_state_times_and_arguments():
    state = {"x": np.array([1.0, 0.5]), "v": np.zeros(2)}
    arguments = (state, TIMES, np.float64(2.0), {"drag": np.float64(0.1)})

    def loss(odeint, np):
        def f(state, times, stiffness, rest):
            out = odeint(
                lambda s, t, k, r: {
                    "x": s["v"],
                    "v": -k * np.sin(s["x"]) - r["drag"] * s["v"] + np.cos(t),
                },
                state,
                times,
                stiffness,
                rest,
            )
            return np.sum(out["x"] ** 2) + np.sum(out["v"][-1])

        return f

    ours = nr.jit(nr.grad(loss(odeint, jnp), (0, 1, 2, 3)))(*arguments)
    with jax.enable_x64(True):
        theirs = jax.grad(loss(jax.experimental.ode.odeint, jax.numpy), (0, 1, 2, 3))(*arguments)
    for got, want in zip(nr.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)


def test_derivatives_of_what_the_function_closes_over():
    f = lambda m: odeint(lambda y, t: m @ y, START, TIMES)[-1].sum()  # noqa: E731
    want = nr.grad(lambda m: (nr.scipy.linalg.expm(m * TIMES[-1]) @ START).sum())(MATRIX)
    np.testing.assert_allclose(nr.grad(f)(MATRIX), want, **CLOSE)
    rates = np.array([0.5, 1.0])
    second = nr.vmap(nr.grad(nr.grad(lambda k: odeint(lambda y, t: -k * y, 1.0, TIMES)[-1])))
    np.testing.assert_allclose(second(rates), 4 * np.exp(-2 * rates), rtol=1e-4)


def test_times_of_another_rank():
    with pytest.raises(ValueError, match='odeint: times of rank 1 .* for "t"'):
        odeint(linear, START, 1.0, MATRIX)
