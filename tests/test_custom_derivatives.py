"""Without these tests a user's own derivative rule could be bypassed, misfed or silently wrong."""

from __future__ import annotations

import functools
import gc
import re
import weakref

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.custom_derivatives import (
    CustomVJPPrimal,
    SymbolicZero,
    custom_vjp_primal_tree_values,
    zero_from_primal,
)
from nr.transforms.batching import BatchTrace

X = np.array([0.31, -0.47, 0.63])


def close(got, want):
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-13, atol=1e-14)


def marked_jvp():
    """sin with a rule that is deliberately ten times the truth, so that its use can be seen."""
    f = nr.custom_jvp(lambda x: jnp.sin(x))
    f.defjvp(lambda primals, tangents: (f(*primals), 10.0 * jnp.cos(primals[0]) * tangents[0]))
    return f


def marked_vjp():
    f = nr.custom_vjp(lambda x: jnp.sin(x))
    f.defvjp(lambda x: (f(x), jnp.cos(x)), lambda cos, ct: (10.0 * cos * ct,))
    return f


MARKED = 10.0 * np.cos(X)
WRAPPERS = {
    "plain": lambda f: f,
    "jit": nr.jit,
    "checkpoint": nr.checkpoint,
    "jit of checkpoint": lambda f: nr.jit(nr.checkpoint(f)),
    "vmap": nr.vmap,
    "jit of vmap": lambda f: nr.jit(nr.vmap(f)),
    "scan": lambda f: lambda x: lax.scan(lambda c, e: (c, f(e)), 0, x)[1],
    "scan carry": lambda f: lambda x: lax.scan(lambda c, _: (f(c), None), x, None, length=1)[0],
    "map": lambda f: lambda x: lax.map(f, x),
    "cond": lambda f: lambda x: lax.cond(True, f, lambda y: y, x),
    "batched cond": lambda f: nr.vmap(lambda x: lax.cond(x > -9.0, f, lambda y: y, x)),
    "fori": lambda f: lambda x: lax.fori_loop(0, 1, lambda i, y: f(y), x),
}


# ---------------------------------------------------------------- the rule is used everywhere
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("make", [marked_jvp, marked_vjp])
def test_the_rule_survives(make, wrap):
    f = wrap(make())
    close(f(X), np.sin(X))
    close(nr.grad(lambda x: jnp.sum(f(x)))(X), MARKED)
    close(nr.jit(nr.grad(lambda x: jnp.sum(f(x))))(X), MARKED)
    close(nr.vmap(nr.grad(lambda x: jnp.sum(f(x))))(np.stack([X, X])), np.stack([MARKED] * 2))
    if make is marked_jvp:
        close(nr.jvp(f, (X,), (X,))[1], MARKED * X)
        close(nr.jit(lambda x: nr.linearize(f, x)[1](x))(X), MARKED * X)


def test_while_uses_the_jvp_rule():
    f = marked_jvp()
    g = lambda x: lax.while_loop(lambda c: c[0] < 1, lambda c: (c[0] + 1, f(c[1])), (0, x))[1]  # noqa: E731
    close(nr.jvp(g, (X,), (X,))[1], MARKED * X)


def test_second_derivatives_go_through_the_rule():
    f, g = marked_jvp(), marked_vjp()
    close(nr.vmap(nr.grad(nr.grad(f)))(X), -10.0 * np.sin(X))
    close(nr.vmap(nr.grad(nr.grad(g)))(X), -10.0 * np.sin(X))
    # Forward over reverse sees fwd and bwd, not the function: here neither calls it.
    h = nr.custom_vjp(jnp.sin)
    h.defvjp(lambda x: (jnp.sin(x), jnp.cos(x)), lambda cos, ct: (10.0 * cos * ct,))
    close(nr.jvp(nr.vmap(nr.grad(h)), (X,), (X,))[1], -10.0 * np.sin(X) * X)


def test_the_rule_decides_where_it_contradicts_the_function():
    clip = nr.custom_vjp(lambda x: x)
    clip.defvjp(lambda x: (x, None), lambda _, ct: (jnp.clip(ct, -1.0, 1.0),))
    close(nr.grad(lambda x: jnp.sum(clip(x) * np.array([5.0, 0.5, -7.0])))(X), [1.0, 0.5, -1.0])


# ---------------------------------------------------------------- custom_jvp
def test_defjvps_adds_the_parts():
    f = nr.custom_jvp(lambda x, y, z: x * jnp.sin(y) + z)
    f.defjvps(lambda t, out, x, y, z: t * jnp.sin(y), lambda t, out, x, y, z: t * out, None)
    gx, gy, gz = nr.grad(f, (0, 1, 2))(2.0, 0.3, 0.1)
    np.testing.assert_allclose(
        [float(gx), float(gy), float(gz)], [np.sin(0.3), 2 * np.sin(0.3) + 0.1, 0.0], rtol=1e-6
    )  # f32 rounding


def test_jvp_of_trees_and_integers():
    @nr.custom_jvp
    def f(p, n):
        return {"s": p["a"] * p["b"][0] * n, "n": n}

    @f.defjvp
    def rule(primals, tangents):
        p, n = primals
        t, n_dot = tangents
        assert n_dot.dtype == nr.dtypes.float0
        out = f(p, n)
        return out, {"s": (t["a"] * p["b"][0] + p["a"] * t["b"][0]) * n, "n": n_dot}

    p = {"a": X, "b": (X + 1.0,)}
    for g in (f, nr.jit(f)):
        grads = nr.grad(lambda p, g=g: jnp.sum(g(p, 3)["s"]))(p)
        close(grads["a"], 3 * (X + 1.0))
        close(grads["b"][0], 3 * X)


def test_rules_that_use_the_function_on_tangents():
    @nr.custom_jvp
    def scaled(x, by):
        return 2 * x * by

    @scaled.defjvp
    def _(primals, tangents):
        return scaled(*primals), scaled(tangents[0], primals[1])

    def f(x):
        return scaled(x, x)

    for wrap in (lambda f: f, nr.jit):
        np.testing.assert_allclose(nr.grad(wrap(f))(3.0), 6.0)
        np.testing.assert_allclose(nr.vmap(wrap(nr.grad(f)))(jnp.arange(3.0)), [0, 2, 4])
    looped = nr.grad(lambda x: nr.lax.scan(lambda c, _: (f(c), None), x, None, length=2)[0])
    np.testing.assert_allclose(looped(1.0), 8.0)
    (back,) = nr.linear_transpose(lambda x: scaled(x, 4.0), 1.0)(1.0)
    np.testing.assert_allclose(back, 8.0)


def test_jvp_nondiff_argnums_come_first():
    def f(apply, x, power):
        return apply(x) ** power

    f = nr.custom_jvp(f, nondiff_argnums=(0, 2))

    @f.defjvp
    def rule(apply, power, primals, tangents):
        assert apply is jnp.sin and power == 2
        (x,), (t,) = primals, tangents
        return f(apply, x, power), 10.0 * t

    close(f(jnp.sin, X, 2), np.sin(X) ** 2)
    close(nr.grad(lambda x: jnp.sum(f(jnp.sin, x, 2)))(X), np.full(3, 10.0))
    close(nr.jit(nr.grad(lambda x: jnp.sum(f(jnp.sin, x, 2))))(X), np.full(3, 10.0))


def test_keyword_arguments_and_defaults_reach_the_rule_by_position():
    g = nr.custom_jvp(lambda x, scale=2.0: x * scale)
    g.defjvp(lambda primals, tangents: (g(*primals), 10.0 * tangents[0] * primals[1]))
    close(nr.jvp(lambda x: g(x), (X,), (X,))[1], 20.0 * X)
    close(nr.jvp(lambda x: g(scale=3.0, x=x), (X,), (X,))[1], 30.0 * X)
    h = nr.custom_vjp(lambda x, y: x * y)
    h.defvjp(lambda x, y: (x * y, (x, y)), lambda res, ct: (ct * res[1], 10.0 * ct * res[0]))
    close(nr.grad(lambda x: jnp.sum(h(y=x, x=X)))(X), 10.0 * X)


def test_jvp_rule_of_a_method():
    class Layer:
        def __init__(self, scale):
            self.scale = scale

        @nr.custom_jvp
        def apply(self, x):
            return x * 2.0

    nr.tree_util.register_pytree_node(
        Layer, lambda layer: ((layer.scale,), None), lambda _, parts: Layer(*parts)
    )
    Layer.apply.defjvp(lambda ps, ts: (ps[0].apply(ps[1]), ps[0].scale * ts[1]))
    close(nr.grad(lambda x: jnp.sum(Layer(7.0).apply(x)))(X), np.full(3, 7.0))


def test_custom_jvp_without_tangents_is_not_run():
    f = nr.custom_jvp(lambda x: x * 2.0)
    f.defjvp(lambda p, t: pytest.fail("the rule ran without a tangent"))
    close(nr.grad(lambda x: jnp.sum(x * f(X)))(X), X * 2.0)


def test_custom_jvp_errors():
    f = nr.custom_jvp(lambda x: x)
    with pytest.raises(AttributeError, match="custom_jvp: <lambda> has no rule.*defjvp"):
        f(X)
    f.defjvp(lambda p, t: f(*p))
    with pytest.raises(TypeError, match=r"custom_jvp: the rule of <lambda> must return a pair"):
        nr.jvp(f, (X,), (X,))
    f.defjvp(lambda p, t: (p[0], jnp.sum(t[0])))
    with pytest.raises(
        TypeError, match=r"a tangent of the type of its output, f64\[3\]; got f64\[\]"
    ):
        nr.jvp(f, (X,), (X,))
    f.defjvp(lambda p, t: (p[0], (t[0],)))
    with pytest.raises(TypeError, match="an output and a tangent of the same structure"):
        nr.jvp(nr.jit(f), (X,), (X,))


# ---------------------------------------------------------------- custom_vjp
def test_vjp_of_trees_with_none_cotangents():
    @nr.custom_vjp
    def f(p, x, n):
        return {"y": p["w"] * x * n}

    def fwd(p, x, n):
        return f(p, x, n), {"p": p, "x": x, "n": n}

    def bwd(res, ct):
        return {"w": ct["y"] * res["x"], "b": None}, None, None

    f.defvjp(fwd, bwd)
    loss = lambda p, x: jnp.sum(f(p, x, 2)["y"])  # noqa: E731
    for g in (loss, nr.jit(loss), nr.checkpoint(loss)):
        gp, gx = nr.grad(g, (0, 1))({"w": X, "b": X}, X + 1.0)
        close(gp["w"], X + 1.0)
        close(gp["b"], np.zeros(3))
        close(gx, np.zeros(3))


def test_vjp_nondiff_argnums_come_first_in_bwd():
    f = nr.custom_vjp(lambda x, axis, y: jnp.sum(x * y, axis=axis), nondiff_argnums=(1,))
    f.defvjp(
        lambda x, axis, y: (jnp.sum(x * y, axis=axis), (x, y)),
        lambda axis, res, ct: (ct * res[1] * (axis + 1), ct * res[0] * 10.0),
    )
    gx, gy = nr.grad(f, (0, 2))(X, 0, X + 1.0)
    close(gx, X + 1.0)
    close(gy, 10.0 * X)
    close(nr.jit(nr.grad(lambda x: f(x, 0, X)))(X), X)


def test_residuals_may_be_python_numbers_and_none():
    f = nr.custom_vjp(lambda x: x * 3.0)
    f.defvjp(lambda x: (x * 3.0, (2, None, {"k": 1.5})), lambda r, ct: (ct * r[0] * r[2]["k"],))
    close(nr.grad(lambda x: jnp.sum(f(x)))(X), np.full(3, 3.0))
    close(nr.jit(nr.vmap(nr.grad(f)))(X), np.full(3, 3.0))

    def bwd(res, ct):
        flag, axis, x = res
        assert flag is True and type(axis) is int
        return (jnp.cumsum(ct, axis=axis) * x,)

    g = nr.custom_vjp(lambda x: jnp.cumsum(x))
    g.defvjp(lambda x: (jnp.cumsum(x), (True, 0, x)), bwd)
    want = X * np.arange(1, 4)

    def gradient(f):
        return nr.grad(lambda x: jnp.sum(f(x)))

    for wrap in (lambda f: f, nr.jit, nr.checkpoint):
        close(gradient(wrap(g))(X), want)
        close(gradient(wrap(nr.vmap(g)))(jnp.stack([X, X])), [want, want])
        close(nr.vmap(gradient(wrap(g)))(jnp.stack([X, X])), [want, want])


def test_integer_arguments_and_outputs_of_custom_vjp():
    f = nr.custom_vjp(lambda x, i: (x[i], i + 1))
    f.defvjp(
        lambda x, i: ((x[i], i + 1), (x, i)),
        lambda res, cts: (jnp.zeros_like(res[0]).at[res[1]].set(cts[0] * 10.0), None),
    )
    want = np.array([0.0, 10.0, 0.0])
    close(nr.grad(lambda x: f(x, 1)[0])(X), want)
    close(nr.jit(nr.grad(lambda x, i: f(x, i)[0]))(X, 1), want)
    lanes = nr.vmap(nr.grad(lambda x, i: f(x, i)[0]), (None, 0))(X, np.array([1, 1], np.int32))
    close(lanes, np.stack([want, want]))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, None), (0, 1)])
def test_vmap_of_custom_vjp_by_loops(axes):
    f = nr.custom_vjp(lambda x, y: jnp.sin(x) * y)
    f.defvjp(
        lambda x, y: (jnp.sin(x) * y, (x, y)),
        lambda res, ct: (ct * jnp.cos(res[0]) * res[1] * 10.0, ct * jnp.sin(res[0]) * 100.0),
    )
    xs = [np.stack([X, X + 1.0]), np.stack([X - 1.0, X * 2.0])]
    args = [X if a is None else v if a == 0 else v.T for v, a in zip(xs, axes, strict=True)]
    grads = nr.grad(lambda x, y: jnp.sum(f(x, y)), (0, 1))
    got = nr.vmap(grads, axes)(*args)
    for i in range(2):
        lane = [v if a is None else np.take(v, i, a) for v, a in zip(args, axes, strict=True)]
        for whole, one in zip(got, grads(*lane), strict=True):
            close(whole[i], np.asarray(one))
    # The gradient of a sum over lanes adds up where an argument is shared.
    total = nr.grad(lambda x, y: jnp.sum(nr.vmap(f, axes)(x, y)), (0, 1))(*args)
    for t, g, v, a in zip(total, got, args, axes, strict=True):
        want = np.asarray(g).sum(0) if a is None else np.moveaxis(np.asarray(g), 0, a)
        assert t.shape == v.shape
        close(t, want)


def test_custom_vjp_may_close_over_values_that_are_not_differentiated():
    def outer(x, w):
        f = nr.custom_vjp(lambda y: jnp.sin(y) * w)
        f.defvjp(lambda y: (jnp.sin(y) * w, y), lambda y, ct: (10.0 * ct * jnp.cos(y) * w,))
        return jnp.sum(f(x))

    want = MARKED * 2.0
    close(nr.grad(outer)(X, 2.0), want)
    close(nr.jit(nr.grad(outer))(X, np.float64(2.0)), want)
    close(nr.vmap(nr.grad(outer), (None, 0))(X, np.array([2.0, 2.0])), np.stack([want, want]))


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit, nr.checkpoint], ids=["eager", "jit", "ckpt"])
def test_forward_mode_of_custom_vjp_is_an_error(wrap):
    f = wrap(marked_vjp())
    message = "custom_vjp: forward mode .*custom_vjp only. Define a custom_jvp, or use reverse"
    with pytest.raises(TypeError, match=message):
        nr.jvp(f, (X,), (X,))
    with pytest.raises(TypeError, match=message):
        nr.jit(lambda x: nr.jvp(f, (x,), (x,)))(X)
    with pytest.raises(TypeError, match=message):
        nr.jacfwd(f)(X)


def test_a_rule_that_closes_over_a_differentiated_value_is_an_error_that_says_so():
    def outer(x):
        f = nr.custom_vjp(lambda y: y * x)
        f.defvjp(lambda y: (y * x, None), lambda _, ct: (ct * x,))
        return jnp.sum(f(x))

    for g in (nr.grad(outer), nr.jit(nr.grad(outer)), nr.grad(nr.jit(outer))):
        with pytest.raises((nr.errors.UnexpectedTracerError, NotImplementedError)) as info:
            g(X)
        assert re.search("clos(e|es|ed) over", str(info.value)) and "argument" in str(info.value)


def test_custom_vjp_errors():
    f = nr.custom_vjp(lambda x, y: x * y)
    loss = lambda x, y: jnp.sum(f(x, y))  # noqa: E731
    with pytest.raises(AttributeError, match="custom_vjp: <lambda> has no rules.*defvjp"):
        f(X, X)
    f.defvjp(lambda x, y: x, lambda r, ct: (ct, ct))
    with pytest.raises(TypeError, match=r"fwd of <lambda> must return a pair \(out, residuals\)"):
        nr.grad(loss)(X, X)
    f.defvjp(lambda x, y: (x * y, None), lambda r, ct: ct)
    with pytest.raises(TypeError, match="bwd of <lambda> must return a tuple of 2 cotangent"):
        nr.grad(loss)(X, X)
    f.defvjp(lambda x, y: (x * y, None), lambda r, ct: (ct,))
    with pytest.raises(TypeError, match="tuple of 2 cotangent.*got a tuple of 1"):
        nr.grad(loss)(X, X)
    f.defvjp(lambda x, y: (x * y, None), lambda r, ct: (jnp.sum(ct), ct))
    with pytest.raises(ValueError, match=r"bwd of <lambda>.*f64\[3\]; got f64\[\] at argument 0"):
        nr.grad(loss)(X, X)
    f.defvjp(lambda x, y: (x * y, None), lambda r, ct: (ct, {"a": ct}))
    with pytest.raises(TypeError, match="cotangents of the arguments' structure.*at argument 1"):
        nr.grad(loss)(X, X)


# ---------------------------------------------------------------- closure_convert
def test_closure_convert_hoists_tracers():
    def solve(x):
        converted, consts = nr.closure_convert(lambda y: jnp.sin(y) * x, X)
        assert len(consts) == 1
        return jnp.sum(converted(X, *consts))

    close(nr.grad(solve)(X), np.sin(X))
    close(nr.jit(nr.grad(solve))(X), np.sin(X))
    f, consts = nr.closure_convert(lambda y: y * X, X)
    assert consts == []
    close(f(X), X * X)


# ---------------------------------------------------------------- symbolic zeros
TWO, THREE = np.array(2.0), np.array(3.0)


def zero_flags(values):
    return [type(v) is SymbolicZero for v in values]


def with_symbolic_zeros():
    """x * y and x, with rules that write down what they are told."""
    told = []

    @nr.custom_vjp
    def f(x, y):
        return x * y, x

    def fwd(x, y):
        assert isinstance(x, CustomVJPPrimal)
        told.append((x.perturbed, y.perturbed))
        return (x.value * y.value, x.value), (x.value, y.value)

    def bwd(residuals, cts):
        told.append(zero_flags(cts))
        x, y = residuals
        a, b = [jnp.zeros(ct.shape, ct.dtype) if zero else ct
                for ct, zero in zip(cts, zero_flags(cts), strict=True)]  # fmt: skip
        return a * y + 10.0 * b, a * x

    f.defvjp(fwd, bwd, symbolic_zeros=True)
    return f, told


@pytest.mark.parametrize("wrap", [lambda g: g, nr.jit], ids=["eager", "jit"])
def test_rules_are_told_what_is_differentiated(wrap):
    f, told = with_symbolic_zeros()
    close(wrap(nr.grad(lambda x: f(x, THREE)[0]))(TWO), 3.0)
    assert told == [(True, False), [False, True]]
    told.clear()
    close(wrap(nr.grad(lambda y: f(TWO, y)[1]))(THREE), 0.0)
    assert told == [(False, True), [True, False]] or told == [(False, True)]
    told.clear()
    close(wrap(nr.vmap(nr.grad(lambda x: f(x, THREE)[1])))(X), np.full(3, 10.0))
    assert told == [(True, False), [True, False]]
    told.clear()
    close(wrap(nr.grad(lambda x: jnp.sum(nr.vmap(f, (0, None))(x, THREE)[0])))(X), np.full(3, 3.0))
    assert told == [(True, False), [False, True]]


@pytest.mark.parametrize("wrap", [lambda g: g, nr.jit], ids=["eager", "jit"])
def test_tangents_that_are_zero_stay_symbolic(wrap):
    told = []
    f = nr.custom_jvp(lambda x, y: (x * y, y))

    def rule(primals, tangents):
        told.append(zero_flags(tangents))
        (x, y), (dx, dy) = primals, tangents
        first = jnp.zeros_like(x) if type(dx) is SymbolicZero else dx * y
        return f(x, y), (first, dy)

    f.defjvp(rule, symbolic_zeros=True)
    out, dots = wrap(lambda x: nr.jvp(lambda x: f(x, THREE), (x,), (np.ones(()),)))(TWO)
    close(dots[0], 3.0)
    close(dots[1], 0.0)
    assert told[-1] == [False, True]
    close(wrap(nr.vmap(nr.grad(lambda y: f(TWO, y)[1])))(X), np.ones(3))
    assert told[-1] == [True, False]


def test_zeros_of_primals():
    tree = nr.custom_derivatives.zero_from_primal({"a": (X, None), "b": 1.5})
    assert tree["a"][1] is None and tree["b"].shape == () and tree["a"][0].shape == X.shape
    zero = zero_from_primal(X, symbolic_zeros=True)
    assert (zero.shape, zero.dtype, zero.ndim) == ((3,), np.float64, 1)
    close(zero_from_primal(X), np.zeros(3))
    assert zero_from_primal(3, symbolic_zeros=True).dtype == nr.float0
    tree = {"a": CustomVJPPrimal(X, True), "b": CustomVJPPrimal(2.0, False)}
    values = custom_vjp_primal_tree_values(tree)
    assert values["b"] == 2.0 and values["a"] is X


def test_a_pullback_keeps_residuals_only():
    class Argument(np.ndarray):
        """An array that can be referred to weakly."""

    x = np.ones(3).view(Argument)
    gone = weakref.ref(x)
    f = nr.custom_vjp(lambda x: x * 2.0)
    f.defvjp(lambda x: (x * 2.0, None), lambda _, ct: (ct * 2.0,))
    _, pullback = nr.vjp(f, x)
    del x
    gc.collect()
    assert gone() is None
    close(pullback(np.ones(3))[0], np.full(3, 2.0))


# ---------------------------------------------------------------- closing over lanes of vmap
def scaled(kind, a):
    """y -> a y^2, with a rule that closes over `a`, too: the derivative is 5a."""
    if kind == "jvp":
        f = nr.custom_jvp(lambda y: a * y * y)
        f.defjvp(lambda primals, tangents: (f(*primals), 5.0 * a * tangents[0]))
    else:
        f = nr.custom_vjp(lambda y: a * y * y)
        f.defvjp(lambda y: (f(y), None), lambda _, ct: (5.0 * a * ct,))
    return f


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_functions_and_rules_may_close_over_lanes(kind):
    two = np.asarray(2.0)
    f = lambda a, y: scaled(kind, a)(y)  # noqa: E731
    df = lambda a, y: nr.grad(scaled(kind, a))(y)  # noqa: E731
    close(nr.vmap(lambda a: f(a, two))(X), 4 * X)
    close(nr.vmap(lambda a: df(a, two))(X), 5 * X)
    close(nr.vmap(df)(X, X[::-1].copy()), 5 * X)
    close(nr.jit(nr.vmap(lambda a: df(a, two)))(X), 5 * X)
    close(nr.grad(lambda y: nr.vmap(lambda a: f(a, y))(X).sum())(two), 5 * X.sum())
    inner = lambda b: nr.vmap(lambda a: f(a * b, two))(X)  # noqa: E731
    close(nr.vmap(inner)(X), 4 * np.outer(X, X))
    tables = nr.vmap(lambda b: nr.vmap(lambda a: df(b, a))(X))(X)
    close(tables, np.repeat(5 * X[:, None], 3, 1))


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_what_is_the_same_in_all_lanes_stays_so(kind):
    same = nr.vmap(lambda a: scaled(kind, 3.0)(2.0), out_axes=None)
    assert float(same(X)) == 12.0
    of = lambda y: nr.vmap(lambda a: scaled(kind, 3.0)(y), out_axes=None)(X)  # noqa: E731
    assert float(nr.grad(of)(2.0)) == 15.0


def test_functions_with_rules_may_sum_over_a_named_axis():
    f = nr.custom_jvp(lambda x: lax.psum(x, "lanes"))
    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
    total = nr.vmap(lambda _, x: f(x), (0, None), None, axis_name="lanes")(jnp.arange(4.0), 2.0)
    assert float(total) == 8.0


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_rules_in_loops_can_not_close_over_traced_values(kind):
    def loop(a):
        body = lambda c, _: (scaled(kind, a)(c), None)  # noqa: E731
        return nr.grad(lambda y: lax.scan(body, y, None, length=2)[0])(2.0)

    with pytest.raises(nr.errors.UnexpectedTracerError, match="must not close over a traced value"):
        nr.jit(loop)(1.5)


# ---------------------------------------------------------------- types of what rules return
def test_cotangents_of_another_precision_take_that_of_the_argument():
    f = nr.custom_vjp(lambda x: x.astype("float32"))
    f.defvjp(lambda x: (f(x), None), lambda _, ct: (ct,))
    got = nr.grad(lambda x: f(x * 2).sum())(jnp.ones(2, "bfloat16"))
    assert got.dtype == jnp.bfloat16 and got.tolist() == [2.0, 2.0]


def test_tangents_of_rules_take_the_outputs_type_where_theirs_is_no_choice():
    def with_tangent(tangent):
        f = nr.custom_jvp(lambda x: x * 2)
        f.defjvp(lambda primals, _: (f(*primals), tangent))
        return nr.jvp(f, (jnp.float32(1),), (jnp.float32(1),))[1]

    assert with_tangent(np.float64(3)).dtype == with_tangent(3).dtype == jnp.float32
    for wrong in (1j, jnp.float16(1), np.ones(2)):
        with pytest.raises(TypeError, match="a tangent of the type of its output"):
            with_tangent(wrong)


def test_a_rule_must_return_the_functions_structure():
    f = nr.custom_jvp(lambda x: x)
    f.defjvp(lambda primals, tangents: ((primals[0],) * 2, (tangents[0],) * 2))
    body = lambda c, _: (f(c), None)  # noqa: E731
    with pytest.raises(TypeError, match="an output of the function's structure"):
        nr.jvp(lambda x: lax.scan(body, x, None, length=1)[0], (1.0,), (1.0,))


def test_keywords_of_a_partial_function_stay_its_own():
    f = nr.custom_jvp(functools.partial(lambda x, y, scale: x + y * scale, scale=0.5))
    f.defjvp(lambda primals, tangents: (f(*primals), 2.0 * tangents[0] + tangents[1]))
    assert [float(g) for g in nr.grad(f, argnums=(0, 1))(1.0, 2.0)] == [2.0, 1.0]


def test_converted_closures_check_what_they_get():
    converted, consts = nr.closure_convert(lambda x: x * 2.0, 1.0)
    with pytest.raises(TypeError, match="closure_convert: the function takes 1 argument"):
        converted(1.0, consts)


def test_none_stands_for_the_zeros_of_all_at_its_place():
    tree = (1.0, (2.0, None, {"a": 3.0}))
    for rest in (None, (None, None, None), (None, None, {"a": None})):
        f = nr.custom_vjp(lambda t: t[0] * 2)
        f.defvjp(lambda t: (t[0] * 2, None), lambda _, ct, rest=rest: ((7 * ct, rest),))
        got = nr.grad(f)(tree)
        assert float(got[0]) == 7.0 and nr.tree.leaves(got[1]) == [0.0, 0.0]


@pytest.mark.parametrize("make", [marked_jvp, marked_vjp])
def test_rules_in_programs_hold_no_trace(make):
    f = make()
    program = nr.make_jaxpr(nr.vmap(lambda x: f(x) + f(2.0)))(X)
    gc.collect()
    assert program.eqns and not [o for o in gc.get_objects() if isinstance(o, BatchTrace)]
