"""Without these tests small programs written for JAX could fail here: other values, dtypes, errors.

Each entry is one expression over the usual names (jax, jnp, lax, np ...); it is evaluated with jax
and with nr, and the results must agree. `error(f, *args)` stands for the class that a wrong use
raises.
"""

from __future__ import annotations

import functools
import operator  # noqa: F401 - programs use it
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import nr
import nr.flatten_util
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


PROGRAMS = """
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
jax.jvp(lambda x: lax.fori_loop(0, 3, lambda i, s: s * x, x), (2.0,), (1.0,))
jax.grad(lambda f: f(3.0))(jax.tree_util.Partial(operator.mul, 2.0)).args
jax.tree.transpose(jax.tree.structure([0, 0]), None, [{"a": 1}, {"a": 2}])
[jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path({"a": (1, [2]), "b": 3})]
jax.random.choice(jax.random.PRNGKey(1), jnp.arange(6).reshape(3, 2), (2,), axis=1)
jax.vmap(lambda k: jax.random.normal(k, ()))(jax.random.split(jax.random.key(3), 3))
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
