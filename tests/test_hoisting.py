"""Without these, compiled loops could repeat in every step what does not change, or lose values."""

from __future__ import annotations

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

RNG = np.random.default_rng(0)
W = RNG.standard_normal((40, 40)).astype(np.float32)
X = RNG.standard_normal((40, 40)).astype(np.float32)


def loops(f, *args):
    return nr.jit(f).lower(*args).as_text("loops")


def scan(w, x):
    def step(c, _):
        return jnp.tanh(c @ (w @ w)) + jnp.exp(w).sum(0) + w.T, None

    return lax.scan(step, x, None, length=5)[0]


def while_loop(w, x):
    return lax.while_loop(
        lambda c: c[0] < 3 + 0 * jnp.exp(w).sum(),
        lambda c: (c[0] + 1, jnp.sin(c[1] @ (w @ w))),
        (0.0, x),
    )


def nested(w, x):
    def outer(c, _):
        return lax.scan(lambda d, _: (jnp.cos(d @ (w @ w)), None), c, None, length=2)[0], None

    return lax.scan(outer, x, None, length=3)[0]


def invariant_output(w, x):
    return lax.scan(lambda c, t: (c + t, jnp.exp(w).sum()), x, jnp.stack([x, x]))


def reads_part_of_it(w, x):
    def step(c, _):
        e = jnp.exp(w)
        return c @ (e @ e) * e, None

    return lax.scan(step, x, None, length=2)[0]


@pytest.mark.parametrize("f", [scan, while_loop, nested, invariant_output, reads_part_of_it])
def test_results_are_those_of_the_loop(f):
    eager = nr.tree.leaves(f(jnp.asarray(W), jnp.asarray(X)))
    for got, want in zip(nr.tree.leaves(nr.jit(f)(W, X)), eager, strict=True):
        # Other summation orders, through a few products of 40 terms.
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("f", [scan, reads_part_of_it])
def test_gradients_are_those_of_the_loop(f):
    def total(w, x):
        return jnp.tanh(f(w, x)).sum()

    eager = nr.grad(total)(jnp.asarray(W), jnp.asarray(X))
    jitted = nr.jit(nr.grad(total))(W, X)
    np.testing.assert_allclose(np.asarray(jitted), np.asarray(eager), rtol=2e-3, atol=2e-3)


def products(text):
    """How many products there are: register tiles, or in panels."""
    return text.count("add mul(") + text.count("in panels")


@pytest.mark.parametrize("f", [scan, while_loop, nested])
def test_the_product_of_constants_is_before_the_loop(f):
    text = loops(f, W, X)
    before, inside = text.split("repeat" if "repeat" in text else "while", 1)
    assert products(before) == 1
    assert products(inside) == 1


def test_what_only_moves_elements_stays_inside():
    def f(w, x):
        return lax.scan(lambda c, _: (jnp.tanh(c @ w.T), None), x, None, length=5)[0]

    before, inside = loops(f, W, X).split("repeat", 1)
    assert "kernel" not in before
    assert "in panels" in inside


def test_effects_stay_inside():
    seen = []

    def f(w):
        def step(c, _):
            nr.debug.callback(lambda v: seen.append(float(v)), jnp.exp(w).sum())
            return c + 1, None

        return lax.scan(step, 0.0, None, length=3)[0]

    assert float(nr.jit(f)(W)) == 3
    assert len(seen) == 3
