"""Without these tests small programs written for JAX could fail here: other values, dtypes, errors.

Each entry is one expression over the usual names (jax, jnp, lax, np ...); it is evaluated with jax
and with nr, and the results must agree. `error(f, *args)` stands for the class that a wrong use
raises.
"""

from __future__ import annotations

import functools
import importlib
import operator  # noqa: F401 - programs use it
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import nr
import nr.flatten_util
import nr.scipy.linalg
import nr.tree_util

jax = pytest.importorskip("jax")
pytest.importorskip("jax.flatten_util")

F32 = {"rtol": 2e-5, "atol": 2e-6}  # f32: other orders of summation and other polynomials

Point = namedtuple("Point", ["x", "y"])
BUILT_IN = (TypeError, ValueError, IndexError, KeyError, RuntimeError, AttributeError)


def error(f: Any, *args: Any, **kwargs: Any) -> str:
    """The built-in class of the error that a call raises."""
    try:
        f(*args, **kwargs)
    except BUILT_IN as err:
        return next(c.__name__ for c in BUILT_IN if isinstance(err, c))
    return "none"


def generator(x: Any) -> Any:
    yield x


def trainer(jax: Any) -> Any:
    class Model:
        def __init__(self, rate: float) -> None:
            self.rate = rate

        @functools.partial(jax.jit, static_argnums=0)
        def step(self, w: Any, x: Any) -> Any:
            return w - self.rate * jax.grad(lambda w: ((w * x) ** 2).sum())(w)

    return Model(0.1)


def newton(jax: Any, f: Any, start: float) -> Any:
    def body(state: Any) -> Any:
        x, _ = state
        return x - f(x) / jax.grad(f)(x), x

    return jax.lax.while_loop(lambda s: abs(s[0] - s[1]) > 1e-6, body, (start, start + 1))[0]


def square_with_gradient(jax: Any) -> Any:
    return jax.custom_gradient(lambda x: (x**2, lambda ct: (5.0 * ct * x,)))


def layers(jax: Any, sizes: list[int]) -> list[Any]:
    keys = jax.random.split(jax.random.PRNGKey(0), len(sizes))
    shapes = zip(sizes, sizes[1:], strict=False)
    return [jax.random.normal(k, s) / s[0] ** 0.5 for k, s in zip(keys, shapes, strict=False)]


def network(jax: Any, params: list[Any], x: Any) -> Any:
    *hidden, last = params
    for w in hidden:
        x = jax.numpy.tanh(x @ w)
    return x @ last


def adjoint_of_an_ode(jax: Any) -> Any:
    """The gradient of an ODE's solution by solving it backwards, in one flat state."""
    ravel = importlib.import_module(jax.__name__ + ".flatten_util").ravel_pytree

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def solve(f: Any, y: Any, params: Any) -> Any:
        def step(_: int, y: Any) -> Any:
            middle = y + 0.05 * f(y, params)
            return y + 0.1 * f(middle, params)

        return jax.lax.fori_loop(0, 10, step, y)

    def forward(f: Any, y: Any, params: Any) -> Any:
        out = solve(f, y, params)
        return out, (out, params)

    def backward(f: Any, residuals: Any, ct: Any) -> Any:
        y, params = residuals
        state, unravel = ravel((y, ct, jax.tree.map(jax.numpy.zeros_like, params)))

        def reversed_f(flat: Any, params: Any) -> Any:
            y, ct, _ = unravel(flat)
            dy, pull = jax.vjp(f, y, params)
            return ravel((-dy, *pull(ct)))[0]

        return unravel(solve(reversed_f, state, params))[1:]

    solve.defvjp(forward, backward)
    params = layers(jax, [2, 8, 2])
    loss = lambda p, y: (solve(lambda y, p: network(jax, p, y), y, p) ** 2).sum()  # noqa: E731
    ys = jax.numpy.array([[1.0, 0.5], [0.2, -1.0]])
    one = jax.value_and_grad(loss, argnums=(0, 1))
    return jax.jit(jax.vmap(one, in_axes=(None, 0)))(params, ys)


def burgers_residual(jax: Any) -> Any:
    """The loss of a physics-informed network, and its gradient: derivatives nested four deep."""
    params, jnp = layers(jax, [2, 8, 8, 1]), jax.numpy
    u = lambda p, t, x: network(jax, p, jnp.stack([t, x]))[0]  # noqa: E731

    def residual(p: Any, t: Any, x: Any) -> Any:
        u_xx = jax.jacfwd(jax.grad(u, 2), 2)(p, t, x)
        return jax.grad(u, 1)(p, t, x) + u(p, t, x) * jax.grad(u, 2)(p, t, x) - 0.01 * u_xx

    def loss(p: Any, points: Any) -> Any:
        return (jax.vmap(residual, (None, 0, 0))(p, *points.T) ** 2).mean()

    return jax.jit(jax.value_and_grad(loss))(params, jax.random.uniform(jax.random.key(1), (6, 2)))


def kalman_filter(jax: Any) -> Any:
    """All steps at once, by an associative scan over (A, b, C, eta, J)."""
    jnp, linalg = jax.numpy, importlib.import_module(jax.__name__ + ".scipy.linalg")
    f, h = jnp.array([[0.9, 0.2], [-0.1, 0.8]]), jnp.array([[1.0, 0.3]])
    ys, eye = jnp.sin(jnp.arange(6.0))[:, None], jnp.eye(2)

    def element(y: Any) -> Any:
        factor = linalg.cho_factor(0.1 * h @ h.T + jnp.array([[0.2]]))
        gain = linalg.cho_solve(factor, 0.1 * h).T
        back = f.T @ h.T
        eta, j = [back @ linalg.cho_solve(factor, x) for x in (y, h @ f)]
        return f - gain @ h @ f, gain @ y, 0.1 * (eye - gain @ h), eta, j

    @jax.vmap
    def combine(first: Any, second: Any) -> Any:
        (a1, b1, c1, e1, j1), (a2, b2, c2, e2, j2) = first, second
        left = a2 @ jnp.linalg.inv(eye + c1 @ j2)
        right = a1.T @ jnp.linalg.inv(eye + j2 @ c1)
        return (left @ a1, left @ (b1 + c1 @ e2) + b2, left @ c1 @ a2.T + c2,
                right @ (e2 - j2 @ b1) + e1, right @ j2 @ a1 + j1)  # fmt: skip

    return jax.jit(lambda ys: jax.lax.associative_scan(combine, jax.vmap(element)(ys)))(ys)[1:3]


def beam_search(jax: Any) -> Any:
    """Decoding with a cache that is written in place, and beams that are reordered."""
    jnp, lax = jax.numpy, jax.lax
    words, (w,) = jax.random.normal(jax.random.PRNGKey(2), (7, 4)), layers(jax, [4, 4])

    def body(state: tuple) -> tuple:
        t, cache, words_so_far, scores, done = state
        x = words[words_so_far[:, t]]
        cache = lax.dynamic_update_slice(cache, (x @ w)[:, None], (0, t, 0))
        weights = jnp.where(jnp.arange(5) <= t, jnp.einsum("bd,btd->bt", x, cache), -jnp.inf)
        mixed = jnp.einsum("bt,btd->bd", jax.nn.softmax(weights), cache)
        logs = jax.nn.log_softmax((x + mixed) @ words.T)
        logs = jnp.where(done[:, None], jnp.where(jnp.arange(7) == 0, 0.0, -jnp.inf), logs)
        scores, best = lax.top_k((scores[:, None] + logs).ravel(), 3)
        parents, word = jnp.divmod(best, 7)
        words_so_far = words_so_far[parents].at[:, t + 1].set(word)
        return t + 1, cache[parents], words_so_far, scores, done[parents] | (word == 0)

    start = (0, jnp.zeros((3, 5, 4)), jnp.ones((3, 5), jnp.int32),
             jnp.array([0.0, -jnp.inf, -jnp.inf]), jnp.zeros(3, bool))  # fmt: skip
    go_on = lambda state: (state[0] < 4) & ~state[4].all()  # noqa: E731
    return jax.jit(lambda s: lax.while_loop(go_on, body, s))(start)[2:]


def hamiltonian_samples(jax: Any) -> Any:
    jnp, lax, random = jax.numpy, jax.lax, jax.random
    log_p = lambda q: -0.5 * (q**2 / jnp.array([1.0, 4.0])).sum() - 0.1 * q[0] ** 4  # noqa: E731

    def sample(state: Any, _: None) -> Any:
        q, (key, *keys) = state.x, random.split(state.y, 4)
        p = random.normal(keys[0], q.shape)

        def leap(_: int, qp: Any) -> Any:
            p = qp[1] + 0.15 * jax.grad(log_p)(qp[0])
            q = qp[0] + 0.3 * p
            return q, p + 0.15 * jax.grad(log_p)(q)

        new_q, new_p = lax.fori_loop(0, random.randint(keys[1], (), 2, 8), leap, (q, p))
        change = log_p(new_q) - log_p(q) - 0.5 * (new_p @ new_p - p @ p)
        taken = jnp.log(random.uniform(keys[2])) < change
        return Point(jnp.where(taken, new_q, q), key), (new_q, taken)

    state = Point(jnp.zeros(2), random.PRNGKey(7))
    return jax.jit(lambda s: lax.scan(sample, s, length=8))(state)


PROGRAMS = """
adjoint_of_an_ode(jax)
burgers_residual(jax)
kalman_filter(jax)
beam_search(jax)
hamiltonian_samples(jax)
jax.grad(lambda p: jnp.sqrt(p.x**2 + p.y**2))(Point(3.0, 4.0))
jax.jit(lambda p: Point(p.y, p.x))(Point(1, 2.0))
trainer(jax).step(jnp.ones(2), jnp.arange(2.0))
newton(jax, lambda x: x**3 - 2, 1.0)
jax.vmap(lambda f, x: f(x), (None, 0))(lambda x: x + 1, jnp.arange(3))
jax.vmap(lambda d, x: d["a"] + x, [None, 0])({"a": 5.0, "b": jnp.ones(2)}, jnp.arange(3.0))
jax.vmap(lambda x: (x, 1.0), out_axes=(0, None))(jnp.arange(3))
square_with_gradient(jax)(3.0)
jax.grad(square_with_gradient(jax))(3.0)
jax.jit(jax.vmap(jax.grad(square_with_gradient(jax))))(jnp.arange(3.0))
jax.grad(jax.custom_gradient(lambda x, y: (x * y, lambda ct: (y, x))), (0, 1))(3.0, 4.0)
jnp.iinfo(jnp.int32).max + jnp.iinfo(jnp.uint8).max
jnp.where(jnp.array([True, False]), 0.0, jnp.finfo(jnp.float32).min)
jnp.finfo(jnp.float16).max
(jax.process_index(), jax.process_count(), jax.typeof(jnp.ones((2, 3))).shape)
(jax.effects_barrier(), jax.block_until_ready({"a": jnp.ones(2)}))
(jax.config.update("jax_debug_nans", False), jax.config.update("jax_platform_name", "cpu"))
(jax.config.jax_enable_x64, jax.config.read("jax_enable_x64"))
error(jax.jit, generator), error(jax.jit, 3), error(jax.make_jaxpr, 3), error(jax.jacfwd, 3)
error(jax.jacfwd(lambda x: x**2), 3.0 + 1j), error(jax.jacrev(lambda x: x), jnp.arange(2))
error(jax.jvp, jnp.sin, (1.0,), (1,)), error(jax.jvp, jnp.sin, (1.0,), (1.0, 2.0))
error(jax.jvp, jnp.sin, (jnp.float32(1),), (np.float16(1),)), error(jax.jvp, jnp.sin, 1.0, 1.0)
error(jax.vjp(lambda x: (x, x), 1.0)[1], 1.0), error(jax.vjp(jnp.sin, 1.0)[1], 1)
error(jax.vmap(lambda x: x, in_axes=None), jnp.ones(3)), error(jax.vmap(lambda x: x), 1.0)
error(lambda: jax.vmap(lambda x: x, in_axes=(jnp.ones(2),))(jnp.ones(2)))
error(jax.vmap(lambda x: x, in_axes=2), jnp.ones((2, 2)))
error(lax.switch, 0, [], 1.0), error(lax.switch, "a", [lambda x: x], 1.0)
error(lax.switch, 1.0, [lambda x: x, lambda x: x], 1.0)
error(lax.cond, None, lambda x: x, lambda x: x, 1.0)
error(lax.cond, True, lambda x: 2.0, lambda x: (3.0, 3.0), 1.0)
error(lax.scan, lambda c, x: (c, x), 0.0, (jnp.ones(2), jnp.ones(3)))
error(lax.scan, lambda c, x: ((c, c), x), 0.0, jnp.ones(2))
error(lax.while_loop, lambda x: 1.0, lambda x: x, 0)
error(jax.grad(lambda x: lax.while_loop(lambda y: y < 5, lambda y: y * 2, x)), 1.0)
error(jnp.ones(2).__setitem__, 0, 1.0), error(hash, jnp.ones(2)), error(len, jnp.float32(1))
error(jnp.sin, [1.0]), error(jnp.sum, [1.0]), error(jnp.add, 1, None), error(jnp.array, object())
error(jnp.dot, jnp.ones(2), jnp.ones(3)), error(jnp.reshape, jnp.ones(3), (2, 2))
error(operator.index, jnp.ones(2)), operator.index(jnp.int32(3)), [1, 2, 3][jnp.int32(1)]
error(jax.flatten_util.ravel_pytree([1.0])[1], jnp.ones(1, int))
jax.flatten_util.ravel_pytree({"a": jnp.ones((2, 2)), "b": (1, 2.0)})[0]
lax.fori_loop(0, 3, lambda i, c: (c[0] + 1, c[1] * 2.0), (0, 1.0))
lax.scan(lambda c, _: (c + 1, None), 0, None, length=3)
lax.map(lambda t: t[0] * t[1], (jnp.arange(3), jnp.arange(3)))
lax.associative_scan(lambda a, b: (a[0] * b[0], a[1] + b[1]), (jnp.arange(1, 5), jnp.arange(4)))
jax.vmap(lambda i, x: lax.switch(i, [jnp.sin, jnp.cos], x))(jnp.array([0, 1, 5]), jnp.ones(3))
jax.vmap(lambda n: lax.while_loop(lambda s: s < n, lambda s: s * 2, 1))(jnp.arange(4))
jax.vmap(lambda x: x / lax.psum(x, "i"), axis_name="i")(jnp.arange(1.0, 4.0))
jax.vmap(lambda x: lax.psum(x > 1, "i"), axis_name="i")(jnp.arange(3))
lax.map(lambda x: x * 2, jnp.arange(5), batch_size=0)
lax.fori_loop(np.int64(0), np.int64(3), lambda i, c: c + i, 1)
error(lax.fori_loop, np.int16(0), np.int32(3), lambda i, c: c, 0)
error(lax.cond, 1j, lambda: 1, lambda: 2)
[round(jnp.float32(2.6)), round(jnp.array([1.2, 3.7])), round(jnp.float32(2.66), 1)]
error(jnp.matmul, 2, jnp.ones(3))
jnp.einsum("ij->j", jnp.array([[1.0], [0.001]], jnp.bfloat16), preferred_element_type=jnp.float32)
jnp.logaddexp.reduce(jnp.arange(6).reshape(2, 3), axis=(0, 1))
jnp.logical_and.accumulate(jnp.array([3, 2, 0, 1]))
jnp.logaddexp.at(jnp.arange(3), jnp.array([1, 1]), 2, inplace=False)
jnp.add.accumulate(jnp.ones((2, 2), int), axis=None)
jnp.vectorize(lambda x: {"a": x * 2})(jnp.ones((3, 2)))
jnp.vectorize(lambda x, y: x + y)(np.ones((2, 1), "f"), [1.0, 2.0])
error(jnp.vectorize, jnp.sin, excluded={-1})
jax.jvp(lambda x: lax.fori_loop(0, 3, lambda i, s: s * x, x), (2.0,), (1.0,))
jax.grad(lambda f: f(3.0))(jax.tree_util.Partial(operator.mul, 2.0)).args
jax.tree.transpose(jax.tree.structure([0, 0]), None, [{"a": 1}, {"a": 2}])
[jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path({"a": (1, [2]), "b": 3})]
jax.random.choice(jax.random.PRNGKey(1), jnp.arange(6).reshape(3, 2), (2,), axis=1)
jax.vmap(lambda k: jax.random.normal(k, ()))(jax.random.split(jax.random.key(3), 3))
(jnp.expand_dims(jnp.ones(3), range(2)).shape, jnp.sum(jnp.ones((2, 3)), axis=range(2)))
[jnp.histogram2d(jnp.arange(3.0), jnp.ones(3), 2, density=d)[0] for d in (False, True)]
[lax.cond(p, 2.0, lambda x: x + 1, 5.0, lambda x: -x) for p in (True, False)]
jax.jit(lambda a, b: a if b else -a, static_argnums=(), static_argnames="b")(1, b=False)
jax.make_jaxpr(lambda x: lax.psum(x, "i"), axis_env=[("i", 3)])(1.0).out_avals[0].shape
isinstance(jax.random.key(0), jax.Array)
jnp.zeros(5).at[jnp.array([0, 0])].add(1).at[10].set(9.0, mode="drop").at[-1].apply(jnp.cos)
"""


def same(expected: Any, got: Any) -> None:
    if isinstance(expected, (tuple, list)):
        assert type(got).__name__ == type(expected).__name__ and len(got) == len(expected)
        for a, b in zip(expected, got, strict=True):
            same(a, b)
    elif isinstance(expected, dict):
        assert list(expected) == list(got)
        same(list(expected.values()), list(got.values()))
    elif isinstance(expected, (jax.Array, np.ndarray)):
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(np.asarray(got), np.asarray(expected), **F32)
    elif isinstance(expected, float):
        assert got == pytest.approx(expected)
    else:
        assert got == expected


@pytest.mark.parametrize("source", PROGRAMS.strip().splitlines())
def test_program(source: str) -> None:
    def run(library: Any) -> Any:
        names = {"jax": library, "jnp": library.numpy, "lax": library.lax}
        return eval(source, globals() | names)

    same(run(jax), run(nr))
