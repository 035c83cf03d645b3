"""Without these tests a transformation could be right alone and wrong inside another one.

Each program maps f64[3] to a scalar and runs under every order of jit, grad, jvp, vmap, linearize
and checkpoint to depth 3. What an order must give follows from the program's plain values alone:
a derivative is a difference quotient, vmap is a loop, jit and checkpoint change nothing.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

X = np.array([0.31, -0.47, 0.63])
W = np.array([0.9, -1.3, 0.4])
M = np.array([[0.5, -0.2, 0.1], [0.3, 0.8, -0.6], [-0.4, 0.7, 0.2]])
TABLE = np.linspace(-1.0, 1.0, 12).reshape(4, 3)

DIRECTION = np.array([0.7, -0.2, 1.1])
SCALES = np.array([0.8, 1.0, -0.9])
WEIGHTS = np.array([1.5, -0.5, 0.75])


# ---------------------------------------------------------------- custom rules and callbacks
@nr.custom_jvp
def cubed(x):
    return x * x * x


@cubed.defjvp
def _cubed_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return cubed(x), 3.0 * x * x * t


@nr.custom_vjp
def sine(x):
    return jnp.sin(x)


sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (ct * jnp.cos(x),))


@nr.custom_vjp
def product(pair):
    return pair["a"] * pair["b"]


product.defvjp(
    lambda p: (p["a"] * p["b"], (p["a"], p["b"])),
    lambda res, ct: ({"a": ct * res[1], "b": ct * res[0]},),
)


def host_sin(x):
    return nr.pure_callback(
        lambda v: np.sin(np.asarray(v)), nr.ShapeDtypeStruct(x.shape, x.dtype), x,
        vmap_method="sequential",
    )  # fmt: skip


def host_cos(x):
    return nr.pure_callback(
        lambda v: np.cos(np.asarray(v)), nr.ShapeDtypeStruct(x.shape, x.dtype), x,
        vmap_method="expand_dims",
    )  # fmt: skip


@nr.custom_jvp
def called_sin(x):
    return host_sin(x)


@nr.custom_jvp
def called_cos(x):
    return host_cos(x)


called_sin.defjvps(lambda t, out, x: t * called_cos(x))
called_cos.defjvps(lambda t, out, x: -t * called_sin(x))


# ---------------------------------------------------------------- programs
def poly(x):
    return jnp.sum(x * x * x - 2.0 * x)


def trig(x):
    return jnp.sum(jnp.sin(x) * jnp.exp(x) + jnp.tanh(x * W))


def matmul(x):
    return jnp.sum(jnp.tanh(M @ x) * x)


def einsum(x):
    return jnp.einsum("i,ij,j->", x, M, jnp.sin(x))


def reductions(x):
    return jnp.max(x * W) * jnp.mean(x) + jnp.prod(x) + jax_style_logsumexp(x)


def jax_style_logsumexp(x):
    m = lax.stop_gradient(jnp.max(x))
    return jnp.log(jnp.sum(jnp.exp(x - m))) + m


def select(x):
    return jnp.sum(jnp.where(x > 0.0, jnp.sin(x), x * x))


def indexing(x):
    return x[0] * x[2] + jnp.sum(x[np.array([2, 2, 0])] ** 2) * x[-1]


def scatter(x):
    y = lax.dynamic_update_slice(jnp.sin(x), x[:1] * x[1:2], (1,))
    return jnp.sum(y * y * W)


def sort(x):
    return jnp.sum(lax.sort(x * W) * TABLE[0])


def cumsum(x):
    return jnp.sum(jnp.sin(lax.cumsum(x)) * lax.cumprod(x, reverse=True))


def concatenate(x):
    y = lax.concatenate([x, lax.rev(x * x, (0,)), lax.pad(x[:1], 1.0, [(1, 0, 0)])], 0)
    return jnp.sum(jnp.sin(y) * y)


def pytree(x):
    params = {"w": x * W, "b": (x[0], [jnp.sin(x)])}
    out = nr.tree.map(lambda p: p * p, params)
    return jnp.sum(out["w"]) * out["b"][0] + jnp.sum(out["b"][1][0])


def jit_closure(x):
    return nr.jit(lambda y: jnp.sum(jnp.sin(y) * x * W))(x * 2.0)


def jit_tree(x):
    return nr.jit(lambda p, *, q: jnp.sum(p["a"] * q + p["b"]))({"a": x, "b": x * x}, q=jnp.sin(x))


def scan_carry(x):
    def step(h, e):
        return jnp.tanh(h * x + e), h * e

    h, ys = lax.scan(step, x, TABLE)
    return jnp.sum(h) + jnp.sum(ys * ys)


def scan_xs(x):
    def step(h, e):
        return h * jnp.cos(e["a"]) + e["b"], h + e["a"]

    xs = {"a": x * TABLE, "b": TABLE}
    h, ys = lax.scan(step, W, xs, reverse=True)
    return jnp.sum(h * ys[0])


def scan_mixed_carry(x):
    """The carry holds an integer, a constant part, and a part that becomes differentiated late."""

    def step(carry, _):
        i, a, b = carry
        return (i + 1, a * 0.9 + b, b * x), a * i

    (i, a, b), ys = lax.scan(step, (0, W, np.ones(3)), None, length=3)
    return jnp.sum(a * b) + jnp.sum(ys) * i


def fori(x):
    return jnp.sum(lax.fori_loop(0, 3, lambda i, h: jnp.sin(h * x) + i, x))


def while_static(x):
    def body(state):
        i, h = state
        return i + 1, jnp.sin(h) * x

    return jnp.sum(lax.while_loop(lambda s: s[0] < 3, body, (0, x))[1])


def while_data(x):
    """The number of steps depends on the values, so lanes of vmap stop at different steps."""
    return jnp.sum(lax.while_loop(lambda h: jnp.sum(h * h) < 9.0, lambda h: h * 1.6 + 0.1 * x, x))


def cond_static(x):
    return jnp.sum(lax.cond(True, lambda y: jnp.sin(y) * x, lambda y: y * y * y, x * 2.0))


def cond_data(x):
    return jnp.sum(lax.cond(x[0] > 0.0, lambda y: jnp.sin(y) * x, lambda y: y + cubed(y), x))


def switch(x):
    i = jnp.sum(x > 0.0)
    return jnp.sum(lax.switch(i, [jnp.sin, lambda y: y * x, lambda y: y * y * W], x))


def scan_cond(x):
    def step(h, e):
        h = lax.cond(jnp.sum(h) > 0.2, lambda y: jnp.sin(y * x), lambda y: y * y + e, h)
        return h, h

    return jnp.sum(lax.scan(step, x, TABLE)[1])


def checkpoint_closure(x):
    return jnp.sum(nr.checkpoint(lambda y: jnp.sin(jnp.sin(y)) * x)(x * W))


def scan_of_checkpoint(x):
    step = nr.checkpoint(lambda h, e: (jnp.sin(h * x) + e, h))
    return jnp.sum(lax.scan(step, x, TABLE)[0])


def checkpoint_of_scan(x):
    f = nr.checkpoint(lambda h: lax.scan(lambda c, e: (jnp.sin(c * e) + h, c * c), h, TABLE))
    h, ys = f(x)
    return jnp.sum(h) + jnp.sum(ys)


def jit_in_scan(x):
    step = nr.jit(lambda h, e: (jnp.sin(h * x) + e, h * h))
    return jnp.sum(lax.scan(step, x, TABLE)[1])


def custom_jvp(x):
    return jnp.sum(cubed(x) * x) + cubed(x[0])


def custom_jvp_in_scan(x):
    return jnp.sum(lax.scan(lambda h, e: (cubed(h * x) + e, h), x, TABLE)[0])


def custom_vjp(x):
    return jnp.sum(sine(x) * product({"a": x, "b": x * W}))


def custom_vjp_in_scan(x):
    step = nr.jit(lambda h, e: (sine(h * x) + e, product({"a": h, "b": x})))
    h, ys = lax.scan(step, x, TABLE)
    return jnp.sum(h) + jnp.sum(ys)


def custom_vjp_in_vmap(x):
    return jnp.sum(nr.vmap(lambda a, e: sine(a * x) * e)(x, TABLE[:3]))


def custom_vjp_in_checkpoint(x):
    return jnp.sum(nr.checkpoint(nr.jit(lambda y: sine(sine(y) * x)))(x))


def inner_grad(x):
    return jnp.sum(x * nr.grad(lambda y: jnp.sum(y * y * x * y))(x))


def inner_jvp(x):
    return jnp.sum(nr.jvp(lambda y: jnp.sin(y) * x, (x,), (x * W,))[1])


def inner_vmap(x):
    return jnp.sum(nr.vmap(lambda a: jnp.sin(a) * jnp.sum(x * a))(x))


def vmap_of_scan(x):
    return jnp.sum(nr.vmap(lambda a: lax.scan(lambda h, e: (h * a + e, h), a, x)[0])(x))


def collectives(x):
    def lane(a, e):
        a = a * lax.psum(jnp.sin(a), "i") + lax.pmean(a * a, "i")
        a = lax.ppermute(a, "i", [(0, 1), (1, 2), (2, 0)]) * a
        return a + jnp.sum(lax.all_gather(a * e, "i") * W) * lax.axis_index("i")

    return jnp.sum(nr.vmap(lane, axis_name="i")(x, W))


def collectives_in_jit_scan(x):
    def lane(a):
        f = nr.jit(lambda h, _: (jnp.sin(h) + lax.psum(a * h, "i"), None))
        return lax.scan(f, a, None, length=2)[0]

    return jnp.sum(nr.vmap(lane, axis_name="i")(x))


def callback(x):
    return jnp.sum(called_sin(x) * x)


def mapped(x):
    return jnp.sum(lax.map(lambda a: jnp.sin(a) * x, x * W, batch_size=2))


def associative(x):
    return jnp.sum(lax.associative_scan(lambda a, b: a * b + a + b, x) * W)


# Reverse mode is not defined through a while loop, forward mode not through a custom_vjp.
FORWARD_ONLY = {while_static, while_data}
REVERSE_ONLY = {custom_vjp, custom_vjp_in_scan, custom_vjp_in_vmap, custom_vjp_in_checkpoint}
PROGRAMS = [
    poly, trig, matmul, einsum, reductions, select, indexing, scatter, sort, cumsum, concatenate,
    pytree, jit_closure, jit_tree, scan_carry, scan_xs, scan_mixed_carry, fori, while_static,
    while_data, cond_static, cond_data, switch, scan_cond, checkpoint_closure, scan_of_checkpoint,
    checkpoint_of_scan, jit_in_scan, custom_jvp, custom_jvp_in_scan, custom_vjp,
    custom_vjp_in_scan, custom_vjp_in_vmap, custom_vjp_in_checkpoint, inner_grad, inner_jvp,
    inner_vmap, vmap_of_scan, collectives, collectives_in_jit_scan, callback, mapped, associative,
]  # fmt: skip


# ---------------------------------------------------------------- orders
def _grad(f: Callable) -> Callable:
    return lambda x: jnp.sum(nr.grad(f)(x) * DIRECTION)


def _jvp(f: Callable) -> Callable:
    return lambda x: nr.jvp(f, (x,), (DIRECTION,))[1]


def _linearize(f: Callable) -> Callable:
    return lambda x: nr.linearize(f, x)[1](DIRECTION)


def _vmap(f: Callable) -> Callable:
    return lambda x: jnp.sum(nr.vmap(lambda s: f(x * s))(SCALES) * WEIGHTS)


TRANSFORMS = {
    "jit": nr.jit,
    "checkpoint": nr.checkpoint,
    "vmap": _vmap,
    "grad": _grad,
    "jvp": _jvp,
    "linearize": _linearize,
}
MEANING = {
    "jit": "", "checkpoint": "", "vmap": "V", "grad": "D", "jvp": "D", "linearize": "D",
}  # fmt: skip
ORDERS = [order for n in (1, 2, 3) for order in itertools.product(TRANSFORMS, repeat=n)]


def _quotient(f: Callable, x: np.ndarray) -> float:
    """The derivative of f along DIRECTION, by central differences of order four."""
    h = 1e-3

    def at(k: int) -> float:
        return float(f(x + k * h * DIRECTION))

    return (8.0 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12.0 * h)


def _unrolled(f: Callable) -> Callable:
    """What vmap gives, one lane after another."""
    return lambda x: sum(
        [f(x * s) * w for w, s in zip(WEIGHTS, SCALES, strict=True)], start=np.float64(0.0)
    )


def _allowed(program: Callable, order: tuple[str, ...]) -> bool:
    if program in FORWARD_ONLY:
        return "grad" not in order
    if program in REVERSE_ONLY:  # innermost first: once differentiated in reverse, all is plain
        kinds = [name for name in reversed(order) if MEANING[name] == "D"]
        return not kinds or kinds[0] == "grad"
    return True


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_every_order_to_depth_three(program: Callable) -> None:
    # Truncation of the quotient is 1e-12 times a fifth derivative; the rest is rounding in 1/h.
    tolerance = 1e-7
    derivative = _jvp if program in FORWARD_ONLY else _grad

    @functools.cache
    def expected(meaning: str) -> float:
        """Outermost first; inner derivatives are nr's own, tested at the smaller depth."""
        if not meaning:
            return float(program(X))
        inner = program
        for kind in reversed(meaning[1:]):
            inner = derivative(inner) if kind == "D" else _unrolled(inner)
        return _quotient(inner, X) if meaning[0] == "D" else float(_unrolled(inner)(X))

    wrong = []
    for order in ORDERS:
        if not _allowed(program, order):
            continue
        f = program
        for name in reversed(order):
            f = TRANSFORMS[name](f)
        where = " of ".join(order)
        try:
            got = float(f(X))
        except Exception as err:
            wrong.append(f"{where}: {type(err).__name__}: {err}")
            continue
        want = expected("".join(MEANING[name] for name in order))
        if not abs(got - want) <= tolerance * max(1.0, abs(want)):
            wrong.append(f"{where}: {got} for {want}")
    assert not wrong, f"{len(wrong)} of {len(ORDERS)} orders; " + "\n".join(wrong[:8])


def test_perturbations_are_not_confused() -> None:
    # The inner derivative of x * y^0 by y is 0 (Siskind and Pearlmutter, 2005, give the example
    # d/dx [x * d/dy (x + y)] = 1).
    f = nr.grad(lambda x: x * nr.grad(lambda y: x + y)(1.0))
    assert float(f(1.0)) == 1.0
    g = nr.jvp(lambda x: x * nr.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1]
    assert float(g) == 1.0


def test_hessians_agree_in_all_four_ways() -> None:
    ways = [
        nr.jacfwd(nr.jacfwd(trig)),
        nr.jacfwd(nr.jacrev(trig)),
        nr.jacrev(nr.jacfwd(trig)),
        nr.jacrev(nr.jacrev(trig)),
        nr.hessian(nr.jit(trig)),
        nr.jit(nr.hessian(trig)),
    ]
    first = np.asarray(ways[0](X))
    assert first.shape == (3, 3) and np.any(np.diagonal(first) != 0)
    for way in ways[1:]:
        # Two orders of summation of the same dozen f64 operations.
        np.testing.assert_allclose(np.asarray(way(X)), first, rtol=1e-13, atol=1e-14)


class _Scale:
    """A callable object whose name is not a string, as wrappers of others may have them."""

    def __init__(self):
        self.__name__ = self.__qualname__ = self.__annotations__ = object()

    def __call__(self, x):
        return 2.0 * x


_KEEP_VALUES = [
    nr.jit,
    nr.vmap,
    nr.checkpoint,
    nr.named_call,
    jnp.vectorize,
    lambda f: lambda x: nr.linearize(f, x)[0],
    lambda f: lambda x: nr.eval_shape(f, x) and f(x),
    lambda f: lambda x: nr.core.eval_jaxpr(nr.make_jaxpr(f)(x).jaxpr, [], x)[0],
]
_DERIVATIVES = [nr.grad, nr.jacrev, nr.jacfwd, lambda f: lambda x: nr.value_and_grad(f)(x)[1]]


@pytest.mark.parametrize("transform", _KEEP_VALUES)
def test_any_callable_keeps_its_values(transform):
    assert transform(_Scale())(jnp.ones(3)).tolist() == [2, 2, 2]


@pytest.mark.parametrize("transform", _DERIVATIVES)
def test_any_callable_has_derivatives(transform):
    assert transform(_Scale())(1.0) == 2.0
