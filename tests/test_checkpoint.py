"""Without these tests checkpoint could keep what it promises to recompute, or change results."""

from __future__ import annotations

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.ad_checkpoint import checkpoint_name
from nr.backends.compiler.simplify import inline_checkpoints, simplify
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


# ---------------------------------------------------------------- policies
W = np.random.default_rng(0).normal(size=(4, 5)), np.random.default_rng(1).normal(size=(5, 6))
Y = np.ones((3, 4))
POLICIES = nr.checkpoint_policies
KEPT = {  # beside the arguments: a product and its tanh are (3, 5), a product and its sine (3, 6)
    "nothing": (POLICIES.nothing_saveable, []),
    "dots": (POLICIES.dots_saveable, [(3, 5), (3, 6)]),
    "weights": (POLICIES.dots_with_no_batch_dims_saveable, [(3, 5), (3, 6)]),
    "inner": (POLICIES.save_only_these_names("inner"), [(3, 5)]),
    "outer": (POLICIES.save_any_names_but_these("inner"), [(3, 6)]),
    "either": (
        POLICIES.save_from_both_policies(
            POLICIES.save_only_these_names("inner"), POLICIES.save_only_these_names("outer")
        ),
        [(3, 5), (3, 6)],
    ),
    "own": (lambda primitive, *avals, **params: primitive.name == "sin", [(3, 6)]),
}


def two_layers(w1, w2, x):
    h = checkpoint_name(jnp.tanh(x @ w1), "inner")
    return jnp.sum(jnp.exp(checkpoint_name(jnp.sin(h @ w2), "outer")))


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("inner", [lambda f: f, nr.jit], ids=["plain", "jit"])
def test_a_policy_decides_what_is_kept(name, inner):
    policy, kept = KEPT[name]
    f = nr.checkpoint(inner(two_layers), policy=policy)
    assert residual_shapes(f, *W, Y) == sorted([(3, 4), (4, 5), (5, 6), *kept])


def test_the_extreme_policies():
    plain = residual_shapes(two_layers, *W, Y)
    everything = nr.checkpoint(two_layers, policy=POLICIES.everything_saveable)
    kept = residual_shapes(everything, *W, Y)
    assert kept == sorted([(3, 4), (4, 5), (5, 6), *[s for s in plain if s in [(3, 5), (3, 6)]]])
    but = nr.checkpoint(two_layers, policy=POLICIES.save_anything_except_these_names("inner"))
    assert residual_shapes(but, *W, Y).count((3, 6)) == kept.count((3, 6))


@pytest.mark.parametrize("name", KEPT)
def test_policies_change_no_derivative(name):
    f = nr.checkpoint(two_layers, policy=KEPT[name][0])
    want = nr.grad(two_layers, (0, 1, 2))(*W, Y)
    for wrap in (lambda g: g, nr.jit):
        for g, w in zip(wrap(nr.grad(f, (0, 1, 2)))(*W, Y), want, strict=True):
            close(g, np.asarray(w))
    second = lambda h: nr.grad(lambda w: jnp.sum(nr.grad(h)(w, W[1], Y) ** 2))(W[0])  # noqa: E731
    np.testing.assert_allclose(np.asarray(second(f)), np.asarray(second(two_layers)), rtol=1e-11)
    lanes = np.stack([Y, 2 * Y])
    over = lambda h: nr.grad(  # noqa: E731
        lambda w: jnp.sum(nr.vmap(h, (None, None, 0))(w, W[1], lanes))
    )(W[0])
    np.testing.assert_allclose(np.asarray(over(f)), np.asarray(over(two_layers)), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "products"), [("nothing", 7), ("inner", 6), ("dots", 5), ("own", 7)]
)
def test_compiled_programs_compute_again_what_was_not_kept(name, products):
    """Two products forward and three backward; and those that are repeated."""
    f = nr.checkpoint(two_layers, policy=KEPT[name][0])
    program = simplify(nr.make_jaxpr(nr.value_and_grad(f, (0, 1)))(*W, Y))
    assert count(inline_checkpoints(program)[0], "dot_general") == products


def test_saved_residuals_are_printed(capsys):
    f = nr.checkpoint(two_layers, policy=KEPT["inner"][0])
    nr.ad_checkpoint.print_saved_residuals(f, *W, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("f64[3,5] output of checkpoint at test_checkpoint.py:")
    assert lines[1:] == [
        "f64[4,5] from the argument args[0]",
        "f64[5,6] from the argument args[1]",
        "f64[3,4] from the argument args[2]",
    ]
    nr.ad_checkpoint.print_saved_residuals(lambda x: jnp.sin(x * X), X)
    assert capsys.readouterr().out.count("\n") == 2  # X and cos


def test_names_are_nothing_but_names():
    tree = {"a": X, "b": 2.0}
    named = checkpoint_name(tree, "tree")
    close(named["a"], X)
    assert nr.jit(lambda x: checkpoint_name(x, "n") * 2)(3) == 6
    assert nr.vmap(lambda x: checkpoint_name(x, "n"))(X).shape == (3,)
    close(nr.jvp(lambda x: checkpoint_name(x, "n"), (X,), (X,))[1], X)
    assert nr.typeof(checkpoint_name(1.0, "n")).weak_type


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

    @nr.checkpoint(static_argnames=("power", "double"))
    def h(x, *, power=1, double=False, scale=1.0):
        return scale * x**power * (2 if double else 1)

    for kinds, slope in [({"power": 3}, 3 * X**2), ({"double": True}, 2 + 0 * X)]:
        close(nr.grad(lambda x, kinds=kinds: jnp.sum(h(x, scale=2.0, **kinds)))(X), 2 * slope)
    by_place = nr.checkpoint(lambda x, kind: jnp.sin(x) if kind else x, static_argnames="kind")
    close(by_place(X, True), np.sin(X))
    close(by_place(X, kind=False), X)


def test_numbers_stay_weak():
    for run in (lambda f: f, nr.jit):
        assert run(nr.checkpoint(lambda x: x * 2))(1.0).weak_type
        assert not run(nr.checkpoint(lambda x: x * np.float32(2)))(jnp.float32(1)).weak_type


def test_errors():
    with pytest.raises(TypeError, match="checkpoint: arguments must be arrays.*'sin'"):
        nr.checkpoint(deep)("sin")
    with pytest.raises(TypeError, match="checkpoint: the function must return arrays or numbers"):
        nr.checkpoint(lambda x: "text")(X)
