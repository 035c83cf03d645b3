"""Without these tests only the programs that somebody thought of would be known to work.

Hypothesis draws programs (expression graphs of elementwise operations, reductions, reshapes,
products, branches and loops) over f64[2,3], and each must satisfy the laws of the transformations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nr
import nr.numpy as jnp
from nr import lax

SHAPE = (2, 3)
# Sums of at most a few hundred f64 terms of size about 1, associated differently.
LAWS = {"rtol": 1e-10, "atol": 1e-11}


def fit(x: Any) -> Any:
    """Any value as f64[2,3]."""
    return jnp.broadcast_to(x, SHAPE)


@nr.custom_jvp
def bump(x):
    return jnp.exp(-x * x)


bump.defjvps(lambda t, out, x: -2.0 * x * out * t)

UNARY: list[Callable] = [
    jnp.sin,
    jnp.tanh,
    bump,
    lambda x: 0.5 * x - 0.25,
    lambda x: nr.jit(lambda y: jnp.cos(y) * x)(x + 1.0),
    lambda x: nr.checkpoint(lambda y: jnp.sin(jnp.tanh(y)))(x),
    lambda x: fit(jnp.mean(x)),
    lambda x: fit(jnp.sum(x, axis=0) / 2.0),
    lambda x: x - jnp.max(x, axis=1, keepdims=True),
    lambda x: jnp.reshape(jnp.transpose(x), SHAPE),
    lambda x: jnp.concatenate([x[:, 1:], x[:, :1]], axis=1),
    lambda x: x.at[0].set(jnp.sin(x[1])),
    lambda x: x[np.array([1, 1]), :][:, ::-1],
    lambda x: jnp.cumsum(x, axis=1) / 3.0,
    lambda x: jnp.sort(x, axis=1),
    lambda x: jnp.where(x > 0.1, jnp.sin(x), 0.3 * x),
    lambda x: jnp.logaddexp(x, 0.5),
    lambda x: lax.cond(x[0, 0] > 0.0, lambda y: jnp.sin(y) * x, lambda y: 0.5 * y, x),
    lambda x: lax.scan(lambda c, e: (jnp.sin(c + e), c * 0.5), x[0], x)[1],
    lambda x: lax.fori_loop(0, 2, lambda i, y: jnp.tanh(y * x + i), x),
    lambda x: nr.vmap(lambda r: r * jnp.tanh(jnp.sum(r)))(x),
    lambda x: nr.vmap(lambda r: jnp.sin(r - lax.pmean(r, "i")), axis_name="i")(x),
    lambda x: nr.grad(lambda y: jnp.sum(jnp.sin(y) * jnp.cos(x)))(x),
    lambda x: lax.map(lambda r: jnp.tanh(r) + r[0], x),
]
BINARY: list[Callable] = [
    lambda x, y: x + y,
    lambda x, y: x - 0.5 * y,
    lambda x, y: x * jnp.tanh(y),
    lambda x, y: x / (2.0 + jnp.sin(y)),
    jnp.maximum,
    lambda x, y: jnp.where(x > y, x, jnp.cos(y)),
    lambda x, y: (x @ jnp.transpose(y)) @ y / 6.0,
    lambda x, y: jnp.einsum("ij,kj->i", x, jnp.tanh(y))[:, None] * y / 6.0,
    lambda x, y: lax.scan(lambda c, e: (c * jnp.tanh(e[0]) + e[1], c), y[0], (x, y))[1],
    lambda x, y: nr.vmap(lambda a, b: a * jnp.tanh(jnp.sum(b)), (0, None))(x, y),
]


@st.composite
def programs(draw: Any) -> Callable:
    """A function f64[2,3] -> f64[2,3]: steps, each of one or two of the earlier values."""
    steps = []
    for i in range(draw(st.integers(1, 6))):
        earlier = st.integers(0, i)
        if draw(st.booleans()):
            steps.append((draw(st.sampled_from(range(len(UNARY)))), draw(earlier), None))
        else:
            steps.append((draw(st.sampled_from(range(len(BINARY)))), draw(earlier), draw(earlier)))

    def program(x: Any) -> Any:
        values = [x]
        for op, a, b in steps:
            if b is None:
                values.append(UNARY[op](values[a]))
            else:
                values.append(BINARY[op](values[a], values[b]))
        return sum(values[1:], start=0.0)

    program.__name__ = f"program{steps}"
    return program


inputs = st.integers(0, 2**16).map(
    lambda seed: np.random.default_rng(seed).normal(size=(3, *SHAPE))
)
laws = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def same(got: Any, want: Any) -> None:
    assert got.dtype == want.dtype
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), **LAWS)


@laws
@given(programs(), inputs)
def test_values_do_not_depend_on_how_they_are_computed(f: Callable, points: np.ndarray) -> None:
    x = points[0]
    want = f(jnp.asarray(x))
    assert want.shape == SHAPE and want.dtype == np.float64
    same(nr.jit(f)(x), want)
    same(nr.checkpoint(f)(x), want)
    same(nr.vmap(f)(x[None])[0], want)
    same(nr.jit(nr.vmap(f, in_axes=1, out_axes=2))(np.stack([x, points[1]], 1))[..., 0], want)
    same(nr.jvp(f, (x,), (x,))[0], want)
    assert nr.eval_shape(f, x) == nr.ShapeDtypeStruct(SHAPE, "float64")


@laws
@given(programs(), inputs)
def test_forward_and_reverse_mode_are_adjoint(f: Callable, points: np.ndarray) -> None:
    x, t, ct = points
    out_dot = nr.jvp(f, (x,), (t,))[1]
    (back,) = nr.vjp(f, x)[1](ct)
    np.testing.assert_allclose(np.sum(out_dot * ct), np.sum(back * t), **LAWS)
    same(nr.linearize(f, x)[1](t), out_dot)
    same(nr.jit(lambda x, t: nr.jvp(f, (x,), (t,))[1])(x, t), out_dot)
    same(nr.jit(lambda x, ct: nr.vjp(f, x)[1](ct)[0])(x, ct), back)
    same(nr.vjp(nr.checkpoint(f), x)[1](ct)[0], back)
    same(nr.vjp(nr.jit(f), x)[1](ct)[0], back)
    same(nr.vmap(lambda x, ct: nr.vjp(f, x)[1](ct)[0])(x[None], ct[None])[0], back)


@settings(laws, max_examples=12)
@given(programs(), inputs)
def test_second_derivatives_are_symmetric(f: Callable, points: np.ndarray) -> None:
    x, t, u = points
    loss = lambda y: jnp.sum(jnp.sin(f(y)))  # noqa: E731
    ht = nr.jvp(nr.grad(loss), (x,), (t,))[1]
    hu = nr.jvp(nr.jit(nr.grad(loss)), (x,), (u,))[1]
    scale = 1.0 + np.abs(np.asarray(ht)).max() + np.abs(np.asarray(hu)).max()
    np.testing.assert_allclose(np.sum(ht * u), np.sum(hu * t), rtol=1e-9, atol=1e-11 * scale)
    reverse = nr.grad(lambda y: jnp.sum(nr.grad(loss)(y) * t))(x)
    np.testing.assert_allclose(np.asarray(reverse), np.asarray(ht), rtol=1e-9, atol=1e-11 * scale)
