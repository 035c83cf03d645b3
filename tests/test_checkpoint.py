"""Without these tests checkpoint could keep what it promises to recompute, or change results."""

from __future__ import annotations

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler.simplify import simplify
from nr.core.jaxprs import subjaxprs

X = np.array([0.31, -0.47, 0.63])


def close(got, want):
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-13, atol=1e-14)


def deep(x):
    return jnp.sin(jnp.sin(jnp.sin(jnp.sin(x))))


def residual_shapes(f, *args):
    return sorted(np.shape(r) for r in nr.vjp(f, *args)[1].residuals)


def count(jaxpr, name):
    """How many eqns of a primitive are in a jaxpr and the jaxprs in it."""
    return sum(
        (eqn.primitive.name == name) + sum(count(j, name) for j in subjaxprs(eqn.params))
        for eqn in jaxpr.eqns
    )


# ---------------------------------------------------------------- what is kept
def test_residuals_are_the_inputs_only():
    assert len(residual_shapes(deep, X)) == 4
    assert residual_shapes(nr.checkpoint(deep), X) == [(3,)]
    assert residual_shapes(nr.remat(lambda x: deep(x) * X), X) == [(3,)]
    two = nr.checkpoint(lambda x, y: deep(x * y))
    assert residual_shapes(two, X, X + 1.0) == [(3,), (3,)]
    closing = lambda x: nr.checkpoint(lambda y: deep(y) * x)  # noqa: E731
    assert residual_shapes(lambda x: closing(x)(x), X) == [(3,)]
    assert residual_shapes(lambda x: closing(x)(x * X), X) in ([(3,)] * 2, [(3,)] * 3)


def test_a_scan_of_checkpoint_keeps_one_carry_a_step():
    def run(step):
        return lambda x: lax.scan(step, x, None, length=5)[0]

    plain, kept = (lambda h, _: (deep(h), None)), nr.checkpoint(lambda h, _: (deep(h), None))
    assert sum(s == (5, 3) for s in residual_shapes(run(plain), X)) == 4
    assert residual_shapes(run(kept), X) == [(5, 3)]


def test_a_checkpoint_of_scan_keeps_the_initial_carry_only():
    run = nr.checkpoint(lambda x: lax.scan(lambda h, _: (deep(h), None), x, None, length=5)[0])
    assert residual_shapes(run, X) == [(3,)]


def test_residuals_under_jit_and_vmap_are_the_inputs_too():
    assert residual_shapes(nr.jit(nr.checkpoint(deep)), X) == [(3,)]
    assert residual_shapes(nr.checkpoint(nr.jit(deep)), X) == [(3,)]
    assert residual_shapes(nr.vmap(nr.checkpoint(deep)), X) == [(3,)]


# ---------------------------------------------------------------- what is recomputed
def test_recomputation_is_not_merged_with_the_forward_pass():
    loss = lambda x: jnp.sum(nr.checkpoint(deep)(x))  # noqa: E731
    program = simplify(nr.make_jaxpr(nr.value_and_grad(loss))(X))
    assert count(program, "checkpoint") == 2
    # Four sines forward, and at least three again before the cosines.
    assert count(program, "sin") >= 7
    assert (
        count(simplify(nr.make_jaxpr(nr.value_and_grad(lambda x: jnp.sum(deep(x))))(X)), "sin") == 4
    )


def test_recomputation_happens_when_the_program_runs():
    ran = []

    def f(x):
        y = jnp.sin(x)
        nr.debug.callback(lambda v: ran.append("f"), y)
        return jnp.sin(y)

    nr.jit(nr.grad(lambda x: jnp.sum(f(x))))(X)
    assert ran == ["f"]
    ran.clear()
    nr.jit(nr.grad(lambda x: jnp.sum(nr.checkpoint(f)(x))))(X)
    assert len(ran) == 2


def test_the_forward_pass_traces_the_function_once():
    traced = []

    @nr.checkpoint
    def f(x):
        traced.append(1)
        return jnp.sin(x)

    nr.grad(lambda x: jnp.sum(f(x)))(X)
    assert traced == [1]


# ---------------------------------------------------------------- it changes nothing else
def test_values_and_derivatives_are_those_of_the_function():
    def f(p, x):
        return {"y": jnp.tanh(p["w"] * x) + p["b"], "n": 3}

    p, g = {"w": X, "b": np.asarray(0.5)}, nr.checkpoint(f)
    assert int(g(p, X)["n"]) == 3
    close(g(p, X)["y"], np.asarray(f(p, X)["y"]))
    loss = lambda h: lambda p, x: jnp.sum(h(p, x)["y"] ** 2)  # noqa: E731
    for wrap in (lambda h: h, nr.jit):
        got, want = wrap(nr.grad(loss(g), (0, 1)))(p, X), nr.grad(loss(f), (0, 1))(p, X)
        nr.tree.map(lambda a, b: close(a, np.asarray(b)), got, want)
    t = {"w": X + 1.0, "b": np.asarray(2.0)}
    close(
        nr.jvp(lambda p: g(p, X)["y"], (p,), (t,))[1],
        np.asarray(nr.jvp(lambda p: f(p, X)["y"], (p,), (t,))[1]),
    )
    close(
        nr.hessian(lambda x: loss(g)(p, x))(X), np.asarray(nr.hessian(lambda x: loss(f)(p, x))(X))
    )


def test_nested_checkpoints():
    inner = nr.checkpoint(lambda x: jnp.sin(jnp.sin(x)))
    outer = nr.checkpoint(lambda x: inner(inner(x)))
    assert residual_shapes(outer, X) == [(3,)]
    close(
        nr.grad(lambda x: jnp.sum(outer(x)))(X), np.asarray(nr.grad(lambda x: jnp.sum(deep(x)))(X))
    )


def test_static_arguments_and_decorator_options():
    @nr.checkpoint(static_argnums=(1,))
    def f(x, power):
        assert isinstance(power, int)
        return x**power

    close(nr.grad(lambda x: jnp.sum(f(x, 3)))(X), 3 * X**2)
    g = nr.checkpoint(lambda kind, x: jnp.sin(x) if kind == "sin" else x, static_argnums=0)
    close(g("sin", X), np.sin(X))


def test_errors():
    with pytest.raises(NotImplementedError, match="checkpoint: policies are not supported"):
        nr.checkpoint(deep, policy=lambda *a, **k: True)
    with pytest.raises(TypeError, match="checkpoint: arguments must be arrays.*'sin'"):
        nr.checkpoint(deep)("sin")
    with pytest.raises(TypeError, match="checkpoint: the function must return arrays or numbers"):
        nr.checkpoint(lambda x: "text")(X)
