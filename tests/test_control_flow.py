"""Without these tests loops and branches could differ from the Python loops they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax

X = np.array([0.31, -0.47, 0.63])
XS = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
# Rounding of a few f64 operations whose order may differ.
TIGHT = {"rtol": 1e-13, "atol": 1e-14}


def close(got, want):
    nr.tree.map(lambda a, b: np.testing.assert_allclose(np.asarray(a), b, **TIGHT), got, want)


def quotient(f, x, t, h=1e-3):
    """The derivative of f along t by central differences of order four."""

    def at(k):
        return np.asarray(f(x + k * h * t))

    return (8.0 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12.0 * h)


def check_gradients(f, x):
    """Forward and reverse mode, eager and jitted, against a difference quotient."""
    t = np.array([0.7, -0.2, 1.1])
    want = quotient(f, x, t)
    for g in (f, nr.jit(f)):
        np.testing.assert_allclose(np.asarray(nr.jvp(g, (x,), (t,))[1]), want, rtol=1e-8, atol=1e-9)
        got = np.asarray(nr.grad(g)(x)) @ t
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9)


def python_scan(f, carry, xs, reverse=False):
    ys = [None] * len(xs)
    for i in reversed(range(len(xs))) if reverse else range(len(xs)):
        carry, ys[i] = f(carry, xs[i])
    return carry, np.stack(ys)


# ---------------------------------------------------------------- scan
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("unroll", [1, 2, 3, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_a_loop(reverse, unroll, jit):
    def run(init, xs):
        f = lambda h, x: (jnp.sin(h) + x, h * x)  # noqa: E731
        return lax.scan(f, init, xs, reverse=reverse, unroll=unroll)

    want = python_scan(lambda h, x: (np.sin(h) + x, h * x), X, XS, reverse)
    close((nr.jit(run) if jit else run)(X, XS), want)


def test_scan_of_trees():
    def step(carry, x):
        a, (b,) = carry["a"], carry["b"]
        return {"a": a + x["u"], "b": (b * x["v"],)}, {"s": a, "t": [b, x["v"]]}

    xs = {"u": XS, "v": np.array([2.0, 3.0, 4.0, 5.0])}
    carry, ys = lax.scan(step, {"a": X, "b": (np.float64(1.0),)}, xs)
    close(carry, {"a": X + XS.sum(0), "b": (120.0,)})
    close(ys["t"], [np.array([1.0, 2.0, 6.0, 24.0]), xs["v"]])
    assert ys["s"].shape == (4, 3)


def test_scan_without_xs_needs_a_length():
    carry, ys = lax.scan(lambda c, x: (c * 2, x), 1, None, length=5)
    assert int(carry) == 32 and ys is None
    with pytest.raises(ValueError, match="scan: the number of steps is not known.*length="):
        lax.scan(lambda c, x: (c, None), 1)


@pytest.mark.parametrize("jit", [False, True])
def test_scan_of_no_steps_gives_empty_outputs_of_the_right_type(jit):
    def run(init, xs):
        return lax.scan(lambda c, x: (c + x, jnp.stack([c, x]).astype("float32")), init, xs)

    carry, ys = (nr.jit(run) if jit else run)(X, np.zeros((0, 3)))
    close(carry, X)
    assert ys.shape == (0, 2, 3) and ys.dtype == np.float32
    total = nr.grad(lambda x: jnp.sum(run(x, np.zeros((0, 3)))[0]))(X)
    close(total, np.ones(3))


def test_scan_runs_its_body_in_python_a_fixed_number_of_times():
    calls = []

    def step(c, x):
        calls.append(1)
        return c + x, c

    lax.scan(step, X, np.zeros((50, 3)))
    assert len(calls) <= 2


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_gradients(reverse):
    def f(x):
        h, ys = lax.scan(
            lambda h, e: (jnp.sin(h * x) + e * h, h * e), x * x, XS, reverse=reverse, unroll=2
        )
        return jnp.sum(h * h) + jnp.sum(ys * ys)

    check_gradients(f, X)


def test_scan_gradient_by_xs_and_by_what_it_closes_over():
    w = np.array([0.3, 0.2, -0.4])

    def f(w, xs):
        return jnp.sum(lax.scan(lambda h, e: (jnp.tanh(h * w + e), None), X, xs)[0])

    gw, gxs = nr.grad(f, (0, 1))(w, XS)
    t = np.cos(np.arange(12.0)).reshape(4, 3)
    np.testing.assert_allclose(
        np.sum(np.asarray(gxs) * t), quotient(lambda z: f(w, z), XS, t), rtol=1e-8
    )
    np.testing.assert_allclose(np.asarray(gw) @ X, quotient(lambda z: f(z, XS), w, X), rtol=1e-8)


def test_scan_with_integer_carry_and_outputs_is_differentiable():
    def f(x):
        (i, h), (ys, evens) = lax.scan(
            lambda c, e: ((c[0] + 1, c[1] * x), (c[1] * c[0], c[0] % 2 == 0)),
            (0, x),
            None,
            length=4,
        )
        return jnp.sum(ys * jnp.where(evens, 2.0, 3.0)[:, None]) + jnp.sum(h) * i

    check_gradients(f, X)


def test_scan_in_scan():
    def f(x):
        inner = lambda h, e: (jnp.sin(h + e * x[0]), None)  # noqa: E731
        outer = lambda h, row: (lax.scan(inner, h * x[1], row)[0], h)  # noqa: E731
        h, ys = lax.scan(outer, x[2], XS)
        return h + jnp.sum(ys)

    def loop(x):
        h, total = x[2], 0.0
        for row in XS:
            total, h = total + h, h * x[1]
            for e in row:
                h = np.sin(h + e * x[0])
        return h + total

    close(f(X), loop(X))
    check_gradients(f, X)


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0), (None, 1), (1, -1)])
def test_vmap_of_scan(in_axes):
    def run(h, xs):
        return lax.scan(lambda h, e: (jnp.sin(h) * e, (h, e)), h, xs)

    values = [X, XS]
    batched = [
        v if a is None else np.stack([v * s for s in (1.0, 0.5)], a)
        for v, a in zip(values, in_axes, strict=True)
    ]
    got = nr.vmap(run, in_axes)(*batched)
    lanes = [
        run(*[b if a is None else np.take(b, i, a) for b, a in zip(batched, in_axes, strict=True)])
        for i in range(2)
    ]
    close(got, nr.tree.map(lambda *ys: np.stack([np.asarray(y) for y in ys]), *lanes))


def test_scan_weak_carry_takes_the_type_of_the_body():
    carry, ys = lax.scan(lambda c, x: (c + x, c), 0.0, XS[:, 0])
    assert carry.dtype == np.float64 and ys.dtype == np.float64
    close(carry, XS[:, 0].sum())
    assert (
        lax.scan(lambda c, x: (c + x, c), 0, np.arange(3, dtype=np.float32))[0].dtype == np.float32
    )
    assert lax.fori_loop(0, 3, lambda i, c: c + jnp.asarray(X[0]), 0.0).dtype == np.float64
    assert (
        lax.while_loop(lambda c: c < 3, lambda c: c + jnp.asarray(np.float64(1.5)), 0.0).dtype
        == np.float64
    )


def test_a_weak_carry_of_the_right_dtype_is_weak_in_the_body():
    strong, seen = np.float32(2), []

    def body(c, x):
        seen.append(jnp.asarray(c).weak_type)
        return c + strong, c * x

    carry, ys = lax.scan(body, 0.0, jnp.ones(3, "bfloat16"))
    assert (ys.dtype, carry.dtype, carry.weak_type) == ("bfloat16", "float32", False)
    last = lax.fori_loop(0, 3, lambda i, c: body(c, 1)[0], 0.0)
    last = lax.while_loop(lambda c: c < 9, lambda c: body(c, 1)[0], 1.0), last
    assert seen == [True] * 3  # traced once each
    assert [(float(x), x.weak_type) for x in last] == [(9.0, False), (6.0, False)]
    slope = nr.grad(lambda a: lax.scan(lambda c, x: (c + a, c * x), 0.0, jnp.ones(3))[1].sum())
    assert float(nr.jit(slope)(strong)) == float(slope(strong)) == 3.0


def test_results_of_branches_are_weak_as_in_the_first():
    strong = jnp.float32(2)
    for run in (lambda f: f, nr.jit):
        assert run(lambda p: lax.cond(p > 0, lambda: strong, lambda: 1.0))(1.0).weak_type
        assert not run(lambda p: lax.cond(p > 0, lambda: 1.0, lambda: strong))(1.0).weak_type
        assert run(lambda i: lax.switch(i, [lambda: 1.0, lambda: strong]))(1).weak_type
        assert not run(lambda i: lax.switch(i, [lambda: strong, lambda: 1.0]))(1).weak_type


def test_python_numbers_start_loops_with_all_their_digits():
    total = lambda c, x: (c + x, None)  # noqa: E731
    assert float(lax.scan(total, 0.1, np.zeros(2))[0]) == 0.1
    assert float(lax.fori_loop(0, 2, lambda i, c: c + np.zeros(()), 0.1)) == 0.1
    grown = lax.while_loop(lambda c: c < 0.5, lambda c: c + jnp.asarray(np.float64(0.5)), 0.1)
    assert float(grown) == 0.6


def test_scan_errors():
    with pytest.raises(
        TypeError,
        match=r"scan: carry must keep its type; `carry\['h'\]\[0\]` "
        r"starts as f32\[3\] but the body returns f64\[3\].*astype\('float32'\)",
    ):
        init = {"h": [np.zeros(3, np.float32)], "i": np.int32(0)}
        lax.scan(lambda c, x: ({"h": [jnp.asarray(X)], "i": c["i"]}, None), init, None, length=2)
    with pytest.raises(
        TypeError,
        match=r"scan: carry must keep its type; `carry` starts as "
        r"f64\[3\] but the body returns f64\[4,3\]",
    ):
        lax.scan(lambda c, x: (jnp.asarray(XS), None), X, None, length=2)
    with pytest.raises(TypeError, match="scan: carry must keep its structure"):
        lax.scan(lambda c, x: ((c, c), None), X, XS)
    with pytest.raises(TypeError, match=r"scan: the body must return a pair \(carry, y\); got"):
        lax.scan(lambda c, x: c, X, XS)
    with pytest.raises(ValueError, match=r"scan: leading axes of xs.*4 at xs\[0\].*3 at xs\[1\]"):
        lax.scan(lambda c, x: (c, None), 0, (XS, X))
    with pytest.raises(ValueError, match=r"scan: arrays to scan over.*rank 1.*xs\['s'\]"):
        lax.scan(lambda c, x: (c, None), 0, {"s": np.float64(1.0)})
    with pytest.raises(ValueError, match=r"scan: length=3 .*got sizes \[4\]"):
        lax.scan(lambda c, x: (c, None), 0, XS, length=3)


# ---------------------------------------------------------------- while_loop, fori_loop
def doubled(x):
    return lax.while_loop(lambda c: jnp.sum(c * c) < 9.0, lambda c: c * 1.6 + 0.1 * x, x)


def doubled_loop(x):
    c = x
    while np.sum(c * c) < 9.0:
        c = c * 1.6 + 0.1 * x
    return c


def test_while_is_a_loop():
    close(doubled(X), doubled_loop(X))
    close(nr.jit(doubled)(X), doubled_loop(X))
    close(lax.while_loop(lambda c: False, lambda c: c + 1, X), X)
    out = lax.while_loop(
        lambda c: c["i"] < 5, lambda c: {"i": c["i"] + 1, "v": c["v"] * 2}, {"i": 0, "v": X}
    )
    close(out, {"i": 5, "v": X * 32})


def test_while_lanes_stop_at_different_steps():
    batch = np.stack([X, 0.01 * X, 10.0 * X])
    close(nr.vmap(doubled)(batch), np.stack([doubled_loop(x) for x in batch]))
    close(nr.jit(nr.vmap(doubled, 1, 1))(batch.T), np.stack([doubled_loop(x) for x in batch], 1))
    # The lanes run the same number of steps where only the body is batched.
    counted = lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, x))  # noqa: E731
    i, out = nr.vmap(counted)(batch)
    close(out, batch**4)
    assert i.shape == (3,)


def test_while_closes_over_batched_values_in_the_condition():
    f = lambda n: lax.while_loop(lambda c: c < n, lambda c: c + 1, 0)  # noqa: E731
    close(nr.vmap(f)(np.array([3, 0, 5], np.int32)), np.array([3, 0, 5]))


def test_while_forward_mode():
    t = np.array([0.7, -0.2, 1.1])
    want = quotient(doubled, X, t)
    for f in (doubled, nr.jit(doubled)):
        np.testing.assert_allclose(np.asarray(nr.jvp(f, (X,), (t,))[1]), want, rtol=1e-9)
        np.testing.assert_allclose(np.asarray(nr.linearize(f, X)[1](t)), want, rtol=1e-9)
        np.testing.assert_allclose(np.asarray(nr.jacfwd(f)(X)) @ t, want, rtol=1e-9)


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit, nr.checkpoint], ids=["eager", "jit", "ckpt"])
def test_while_reverse_mode_error(wrap):
    with pytest.raises(
        ValueError,
        match="while_loop: reverse-mode.*nr.lax.scan.*fori_loop with static bounds.*nr.jvp",
    ):
        nr.grad(wrap(lambda x: jnp.sum(doubled(x))))(X)


def test_while_reverse_mode_is_defined_where_the_loop_does_not_depend_on_the_argument():
    def f(x):
        n = lax.while_loop(lambda c: c < 10.0, lambda c: c * 2.0, lax.stop_gradient(x[0]))
        return jnp.sum(x) * n

    close(nr.grad(f)(X), np.full(3, np.asarray(f(X)) / X.sum()))


def test_while_errors():
    with pytest.raises(
        TypeError, match=r"while_loop: cond_fun must return one b1\[\]; got f64\[3\]"
    ):
        lax.while_loop(lambda c: c, lambda c: c, X)
    with pytest.raises(TypeError, match=r"while_loop: carry must keep its type; `carry\[1\]`"):
        lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sum(c[1])), (0, X))
    with pytest.raises(TypeError, match="while_loop: carry must keep its structure"):
        lax.while_loop(lambda c: c[0] < 3, lambda c: c[0], (0, X))


def test_fori_with_static_bounds_is_differentiable():
    f = lambda x: jnp.sum(lax.fori_loop(1, 4, lambda i, h: jnp.sin(h * x) * i, x))  # noqa: E731

    def loop(x):
        h = x
        for i in range(1, 4):
            h = np.sin(h * x) * i
        return h.sum()

    close(f(X), loop(X))
    check_gradients(f, X)
    close(lax.fori_loop(3, 3, lambda i, h: h * 2, X), X)
    close(lax.fori_loop(5, 2, lambda i, h: h * 2, X), X)


def test_fori_with_traced_bounds():
    f = lambda n, x: lax.fori_loop(0, n, lambda i, h: h * 2.0 + i, x)  # noqa: E731
    want = X * 8 + np.array(0 * 4 + 1 * 2 + 2.0)
    close(nr.jit(f)(3, X), want)
    close(nr.jit(f)(0, X), X)
    lanes = nr.vmap(f, (0, None))(np.array([0, 3], np.int32), X)
    close(lanes, np.stack([X, want]))
    close(nr.jvp(lambda x: nr.jit(f)(3, x), (X,), (X,))[1], X * 8)
    with pytest.raises(ValueError, match="reverse-mode.*static bounds"):
        nr.jit(nr.grad(lambda x, n: jnp.sum(f(n, x))))(X, 3)


def test_types_of_the_index_of_fori_loop():
    kinds = []

    def body(i: Any, h: Any) -> Any:
        kinds.append((i.dtype, i.weak_type))
        return h

    lax.fori_loop(0, 2, body, 0.0)
    lax.fori_loop(np.int64(0), np.int64(2), body, 0.0)  # known bounds: a Python integer
    assert set(kinds) == {(np.dtype("int32"), True)}
    kinds.clear()
    nr.jit(lambda n: lax.fori_loop(0, n, body, 0.0))(np.int8(2))
    assert set(kinds) == {(np.dtype("int8"), False)}


def test_bounds_of_fori_loop():
    def count(lower: Any, upper: Any, **options: Any) -> Any:
        return lax.fori_loop(lower, upper, lambda i, n: n + 1, 0, **options)

    assert count(0.0, 2.5) == 2 and nr.jit(count)(0.0, 2.5) == 3 and count(False, True) == 1
    with pytest.raises(
        TypeError, match=r"fori_loop: bounds must have one dtype; got i16\[\] and i"
    ):
        count(np.int16(0), np.int32(3))
    with pytest.raises(TypeError, match="fori_loop: bounds must be rank-0 integers"):
        count(jnp.zeros(2, int), 3)
    with pytest.raises(ValueError, match="fori_loop: unroll=2 needs bounds that are known"):
        nr.jit(lambda n: count(0, n, unroll=2))(3)
    with pytest.raises(
        ValueError, match="scan: unroll must be a bool or a number of steps; got -1"
    ):
        lax.scan(lambda c, x: (c, x), 0, jnp.arange(3), unroll=-1)


# ---------------------------------------------------------------- cond, switch
@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit], ids=["eager", "jit"])
def test_cond_takes_one_branch(wrap):
    f = wrap(lambda p, x: lax.cond(p, lambda y: jnp.sin(y), lambda y: y * 2, x))
    close(f(True, X), np.sin(X))
    close(f(False, X), X * 2)
    close(wrap(lambda p: lax.cond(p, lambda: X, lambda: X * 2))(1), X)  # numbers count, no operands


def test_cond_runs_only_the_branch_chosen():
    ran = []

    def branch(name):
        def run(x):
            nr.debug.callback(lambda v: ran.append(name), x)
            return x

        return run

    f = nr.jit(lambda p, x: lax.cond(p, branch("yes"), branch("no"), x))
    f(True, X), f(False, X), f(False, X)
    assert ran == ["yes", "no", "no"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cond_gradients(sign):
    def f(x):
        out = lax.cond(
            x[0] > 0, lambda y: (jnp.sum(jnp.sin(y) * x), 1), lambda y: (jnp.sum(y * y * W), 2), x
        )
        return out[0] * out[1]

    W = np.array([1.0, 2.0, 3.0])
    check_gradients(f, sign * X)


def test_cond_where_only_one_branch_depends_on_the_argument():
    f = lambda x: jnp.sum(lax.cond(x[0] > 0, lambda: x * x, lambda: jnp.ones(3, "float64")))  # noqa: E731
    close(nr.grad(f)(X), 2 * X)
    close(nr.grad(f)(-X), np.zeros(3))
    close(nr.jit(nr.grad(f))(-X), np.zeros(3))


def test_cond_with_an_operand_for_each_branch():
    """JAX's older order of arguments."""
    for pred, expected in ((True, 3.0), (False, -5.0)):
        got = lax.cond(pred, 2.0, lambda x: x + 1, {"a": 5.0}, lambda d: -d["a"])
        assert float(got) == expected


def test_a_function_that_is_several_branches_is_traced_once():
    traced = []

    def f(x):
        traced.append(x)
        return x + 1

    assert float(lax.switch(2, [f, lambda x: x, f, f], 1.0)) == 2.0
    assert float(lax.cond(True, f, f, 1.0)) == 2.0
    assert len(traced) == 2


def test_vmap_of_cond_selects_lane_by_lane():
    f = lambda p, x: lax.cond(p, lambda y: (jnp.sin(y), 1), lambda y: (y * 2.0, 0), x)  # noqa: E731
    preds, batch = np.array([True, False, True]), np.stack([X, X + 1, X - 1])
    want = np.where(preds[:, None], np.sin(batch), batch * 2)
    close(nr.vmap(f)(preds, batch), (want, np.array([1, 0, 1])))
    close(nr.vmap(f, (None, 0))(False, batch)[0], batch * 2)
    close(nr.vmap(f, (0, None))(preds, X)[0], np.where(preds[:, None], np.sin(X), X * 2))
    close(nr.jit(nr.vmap(nr.jit(f)))(preds, batch)[0], want)


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit], ids=["eager", "jit"])
def test_branches_that_a_lane_does_not_take_give_no_nans(wrap):
    x, scale = jnp.array([0.0, 8.0]), 2.0

    def loss(x: Any, scale: Any) -> Any:
        root = lambda x: lax.cond(x < 1, lambda: 0.5, lambda: jnp.sqrt(x * scale))  # noqa: E731
        return nr.vmap(root)(x).sum()

    close(wrap(nr.grad(loss, (0, 1)))(x, scale), (np.array([0.0, 0.25]), 1.0))


def test_constants_of_branches_keep_their_type_in_lanes():
    out = nr.vmap(lambda p: lax.cond(p, lambda: 1, lambda: 2))(jnp.array([True, False]))
    assert out.dtype == np.int32 and out.tolist() == [1, 2]


def test_gradient_of_a_batched_cond_does_not_see_the_other_branch():
    # d/dx log(x) at 0 is infinite: it must not leak into the lanes that took the other branch.
    f = lambda x: lax.cond(x > 0, lambda y: jnp.log(y), lambda y: y * 3.0, x)  # noqa: E731
    got = nr.vmap(nr.grad(f))(np.array([2.0, -1.0]))
    close(got, np.array([0.5, 3.0]))


def test_switch_takes_its_operand_by_name():
    assert float(lax.switch(1, [lambda x: x, lambda x: -x], operand=3.0)) == -3.0
    assert float(lax.switch(0, [lambda x: x], operand=3.0)) == 3.0


def test_switch_clamps_its_index():
    branches = [lambda x: x, lambda x: x * 10.0, lambda x: x * 100.0]
    for wrap in (lambda f: f, nr.jit):
        f = wrap(lambda i, x: lax.switch(i, branches, x))
        for i, factor in [(0, 1), (1, 10), (2, 100), (7, 100), (-3, 1)]:
            close(f(i, X), X * factor)
    got = nr.vmap(lambda i: lax.switch(i, branches, X))(np.array([-3, 1, 9], np.int32))
    close(got, np.stack([X, X * 10, X * 100]))
    check_gradients(lambda x: jnp.sum(lax.switch(1, [jnp.sin, jnp.cos, jnp.tanh], x)), X)
    with pytest.raises(TypeError, match=r"switch: the index must be a rank-0 integer; got f32\[\]"):
        lax.switch(1.0, branches, X)


def test_branch_mismatch_errors():
    def one(x):
        return {"a": x}

    def other(x):
        return {"a": x.astype("float32")}

    with pytest.raises(
        TypeError,
        match=r"cond: branches must return the same types; "
        r"`out\['a'\]` is f32\[3\] from other and f64\[3\] from one.*astype",
    ):
        lax.cond(True, one, other, X)
    with pytest.raises(TypeError, match="cond: branches must return the same structure; got"):
        lax.cond(True, one, lambda x: x, X)
    with pytest.raises(TypeError, match=r"switch: branches must return the same types"):
        lax.switch(0, [one, other], X)
    with pytest.raises(
        TypeError, match=r"cond: the predicate must have rank 0; got b1\[3\].*where"
    ):
        lax.cond(X > 0, one, one, X)


# ---------------------------------------------------------------- closed-over values
def test_closed_over_tracers_are_operands():
    def f(x, n):
        a = lax.scan(lambda h, e: (h * x + e * n, None), x, XS)[0]
        b = lax.while_loop(lambda c: jnp.max(c) < n, lambda c: c + x * x, x)
        return a + lax.cond(n > 1.0, lambda: a * x, lambda: b) + nr.jit(lambda: x * n)()

    def loop(x, n):
        a, b = x, x
        for e in XS:
            a = a * x + e * n
        while np.max(b) < n:
            b = b + x * x
        return a + (a * x if n > 1.0 else b) + x * n

    for n in (np.asarray(0.9), np.asarray(1.5)):
        close(f(X, n), loop(X, n))
        close(nr.jit(f)(X, n), loop(X, n))
        batch = np.stack([X, X * 0.7])
        close(nr.vmap(f, (0, None))(batch, n), np.stack([loop(x, n) for x in batch]))
        t = np.array([0.7, -0.2, 1.1])
        np.testing.assert_allclose(
            np.asarray(nr.jvp(lambda x, n=n: f(x, n), (X,), (t,))[1]),
            quotient(lambda x, n=n: loop(x, n), X, t),
            rtol=1e-8,
        )


# ---------------------------------------------------------------- map, associative_scan
@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 7, 10])
def test_map_is_a_loop(batch_size):
    xs = {"a": np.arange(21.0).reshape(7, 3), "b": np.arange(7.0)}
    f = lambda e: (jnp.sin(e["a"]) * e["b"], e["b"])  # noqa: E731
    want = (np.sin(xs["a"]) * xs["b"][:, None], xs["b"])
    close(lax.map(f, xs, batch_size=batch_size), want)
    close(nr.jit(lambda xs: lax.map(f, xs, batch_size=batch_size))(xs), want)
    assert lax.map(lambda x: x[1:], jnp.ones((7, 3, 0)), batch_size=batch_size).shape == (7, 2, 0)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(n, reverse):
    elems = {"a": np.sin(np.arange(2.0 * n)).reshape(2, n) + 1.5, "b": np.ones((2, n))}

    def affine(f, g):  # x -> a x + b, composed: not commutative
        return {"a": g["a"] * f["a"], "b": g["a"] * f["b"] + g["b"]}

    got = lax.associative_scan(affine, elems, reverse=reverse, axis=-1)
    a, b = elems["a"].copy(), elems["b"].copy()
    order = range(n - 2, -1, -1) if reverse else range(1, n)
    for i in order:
        j = i + 1 if reverse else i - 1
        out = affine({"a": a[:, j], "b": b[:, j]}, {"a": a[:, i], "b": b[:, i]})
        a[:, i], b[:, i] = out["a"], out["b"]
    close(got, {"a": a, "b": b})


def test_associative_scan_of_booleans_and_its_gradient():
    flags = np.array([False, True, False, True, False])
    got = lax.associative_scan(jnp.logical_or, flags)
    assert np.asarray(got).tolist() == [False, True, True, True, True]
    check_gradients(lambda x: jnp.sum(jnp.sin(lax.associative_scan(jnp.multiply, x))), X)


def test_without_jit_loops_and_branches_run_in_python():
    def steps(x):
        carry, ys = lax.scan(
            lambda c, v: ({"s": c["s"] + float(v["a"])}, (c["s"], v["b"])),
            {"s": x},
            {"a": jnp.arange(3.0), "b": jnp.arange(6).reshape(3, 2)},
            reverse=True,
        )
        grown = lax.while_loop(lambda c: bool(c[1] < 5), lambda c: (c[0] + 1, c[1] * 2), (0, x))
        total = lax.fori_loop(1, 4, lambda i, v: v + int(i), 0)
        chosen = lax.cond(grown[0] > 2, lambda v: float(v), lambda v: -float(v), x)
        return carry, ys, grown, total, chosen, lax.switch(7, [lambda: 1, lambda: float(x)])

    with nr.disable_jit():
        (carry, (sums, rows), grown, total, chosen, last) = steps(jnp.float32(1))
        slopes = nr.grad(lambda x: lax.fori_loop(0, 3, lambda i, v: v * x, 1.0))(2.0)
        lanes = nr.vmap(lambda x: lax.while_loop(lambda v: v < 5, lambda v: v * 2, x))(
            jnp.array([1.0, 3.0])
        )
        empty = lax.scan(lambda c, x: (c, x * 2), 1.0, jnp.zeros(0))
    assert float(carry["s"]) == 4 and total == 6 and chosen == 1 and last == 1
    np.testing.assert_array_equal(sums, [4, 3, 1])
    np.testing.assert_array_equal(rows, np.arange(6).reshape(3, 2))
    assert (int(grown[0]), float(grown[1])) == (3, 8.0)
    assert float(slopes) == 12 and empty[1].shape == (0,)
    np.testing.assert_array_equal(lanes, [8, 6])
    with pytest.raises(nr.errors.ConcretizationTypeError):
        steps(jnp.float32(1))
