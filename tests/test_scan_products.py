"""Without these, products could leave a scan with wrong results, or stay in it, one a step."""

from __future__ import annotations

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler import fission
from nr.backends.compiler.constants import with_constants_laid_out
from nr.backends.compiler.fission import split_scans
from nr.backends.compiler.hoist import hoist_invariants
from nr.backends.compiler.simplify import simplify
from nr.core.jaxprs import eval_jaxpr, subjaxprs

T, B, D, H = 9, 4, 32, 32
RNG = np.random.default_rng(0)
# Sums of up to 300 products of numbers around 1, in another order, in float64.
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def array(*shape, dtype="float64"):
    return jnp.asarray(RNG.standard_normal(shape), dtype=dtype)


def weight(*shape, dtype="float64"):
    return array(*shape, dtype=dtype) * (0.5 * shape[0] ** -0.5)


def prepared(f, *args):
    """The jaxpr of a function of arrays, as far as the compiler takes it."""
    return split_scans(hoist_invariants(simplify(nr.make_jaxpr(f)(*args).jaxpr)))


def products(jaxpr):
    """How many products there are outside of loops, and how many inside."""
    outside = sum(q.primitive.name == "dot_general" for q in jaxpr.eqns)
    inside = sum(sum(products(b)) for q in jaxpr.eqns for b in subjaxprs(q.params))
    return outside, inside


def agree(jaxpr, f, *args):
    """That a rewritten jaxpr gives what the function gives."""
    wanted = nr.tree.leaves(f(*args))
    got = eval_jaxpr(jaxpr, *nr.tree.leaves(args))
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), **CLOSE)


# ---------------------------------------------------------------- networks
def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))


def rnn(w, xs, **options):
    def step(h, x):
        h = jnp.tanh(x @ w["x"] + h @ w["h"] + w["b"])
        return h, h

    return lax.scan(step, jnp.zeros((*xs.shape[1:-1], H), xs.dtype), xs, **options)[1]


def lstm(w, xs):
    def step(carry, x):
        h, c = carry
        i, f, g, o = jnp.split(x @ w["x"] + h @ w["h"] + w["b"], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((B, H), xs.dtype)
    return lax.scan(step, (zeros, zeros), xs)[1]


def gru(w, xs):
    def step(h, x):
        z = sigmoid(x @ w["xz"] + h @ w["hz"])
        r = sigmoid(x @ w["xr"] + h @ w["hr"])
        n = jnp.tanh(x @ w["xn"] + (r * h) @ w["hn"])
        h = z * h + (1 - z) * n
        return h, h

    return lax.scan(step, jnp.zeros((B, H), xs.dtype), xs)[1]


def joined(w, xs):
    """One product of inputs and state together: it cannot leave the scan, its gradient can."""

    def step(h, x):
        h = jnp.tanh(jnp.concatenate([x, h], -1) @ w["w"])
        return h, h

    return lax.scan(step, jnp.zeros((B, H), xs.dtype), xs)[1]


def total(f):
    return lambda *args: (jnp.cos(f(*args)) ** 2).sum()


RNN = {"x": weight(D, H), "h": weight(H, H), "b": array(H)}
LSTM = {"x": weight(D, 4 * H), "h": weight(H, 4 * H), "b": array(4 * H)}
GRU = {k: weight(D, H) for k in ("xz", "xr", "xn", "hz", "hr", "hn")}
JOINED = {"w": weight(D + H, H)}
XS = array(T, B, D)


# Products inside: what depends on the state of the step before. Outside: one for all steps.
@pytest.mark.parametrize(
    ("f", "w", "forward", "backward"),
    [
        (rnn, RNN, (1, 1), (4, 2)),  # outside: x, and the gradients of x, and of both weights
        (lstm, LSTM, (1, 1), (4, 2)),
        (gru, GRU, (3, 3), (12, 6)),
        (joined, JOINED, (0, 1), (1, 2)),
    ],
)
def test_networks(f, w, forward, backward):
    jaxpr = prepared(f, w, XS)
    assert products(jaxpr) == forward
    agree(jaxpr, f, w, XS)
    gradient = nr.grad(total(f), argnums=(0, 1))
    jaxpr = prepared(gradient, w, XS)
    assert products(jaxpr) == backward
    agree(jaxpr, gradient, w, XS)


def test_gradients_of_weights_are_no_carries():
    jaxpr = prepared(nr.grad(total(lstm)), LSTM, XS)
    back = [q for q in jaxpr.eqns if q.primitive.name == "scan"][-1]
    assert back.params["num_carry"] == 2  # of h and of c; the bias's gradient is a sum, too


def test_one_example_without_a_batch():
    xs = array(4 * T, D)
    gradient = nr.grad(total(rnn), argnums=(0, 1))
    jaxpr = prepared(gradient, RNN, xs)
    assert products(jaxpr) == (4, 2)
    agree(jaxpr, gradient, RNN, xs)


def test_reversed():
    f = nr.grad(total(lambda w, xs: rnn(w, xs, reverse=True)))
    jaxpr = prepared(f, RNN, XS)
    assert products(jaxpr)[1] == 2
    agree(jaxpr, f, RNN, XS)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_short_scans(length):
    f = nr.value_and_grad(total(rnn))
    xs = array(length, 2 * B, D)
    agree(prepared(f, RNN, xs), f, RNN, xs)


def test_vmap_over_data_and_over_weights():
    gradient = nr.grad(total(rnn))
    xs = array(3, T, B, D)
    over_data = nr.vmap(gradient, in_axes=(None, 0))
    jaxpr = prepared(over_data, RNN, xs)
    assert products(jaxpr)[1] == 2
    agree(jaxpr, over_data, RNN, xs)
    weights = nr.tree.map(lambda x: jnp.stack([x, 2 * x, -x]), RNN)
    over_weights = nr.vmap(gradient, in_axes=(0, None))
    jaxpr = prepared(over_weights, weights, XS)
    assert products(jaxpr)[1] == 2
    agree(jaxpr, over_weights, weights, XS)


def test_second_derivatives():
    gradient = nr.grad(total(rnn))

    def forward_over_reverse(w, v, xs):
        return nr.jvp(lambda w: gradient(w, xs), (w,), (v,))[1]

    def reverse_over_reverse(w, v, xs):
        return nr.grad(lambda w: sum(map(jnp.vdot, *map(nr.tree.leaves, (gradient(w, xs), v)))))(w)

    v = nr.tree.map(jnp.cos, RNN)
    for f in (forward_over_reverse, reverse_over_reverse):
        before = products(hoist_invariants(simplify(nr.make_jaxpr(f)(RNN, v, XS).jaxpr)))[1]
        jaxpr = prepared(f, RNN, v, XS)
        assert products(jaxpr)[1] <= before - 6
        agree(jaxpr, f, RNN, v, XS)


@pytest.fixture
def any_size(monkeypatch):
    """Products leave scans however small they are."""
    monkeypatch.setattr(fission, "is_product", lambda q: q.primitive.name == "dot_general")


def test_nested_scans(any_size):
    def f(w, xs):
        def outer(h, x):
            def inner(h, x):
                return jnp.tanh(x @ w["x"] + h @ w["h"] + w["b"]), None

            return lax.scan(inner, h, x)[0], None

        return lax.scan(outer, jnp.zeros(xs.shape[2:], xs.dtype), xs)[0]

    xs = array(T, 5, 3, D)
    gradient = nr.grad(total(f))
    jaxpr = prepared(gradient, RNN, xs)
    assert products(jaxpr) == (3, 2)  # outside: the inputs' product, both weights' gradients
    agree(jaxpr, gradient, RNN, xs)


def test_layers_between_and_on_top():
    def f(w, xs):
        def step(h, x):
            x = jnp.tanh((x - x.mean(-1, keepdims=True)) @ w["x"]) @ w["x2"]
            h = jnp.sin(x + h @ w["h"])
            return h, (jnp.tanh(h @ w["y"]) @ w["y2"] + x).argmax(-1)

        return lax.scan(step, jnp.zeros((B, H), xs.dtype), xs)

    w = {k: weight(H, H) for k in ("x", "x2", "h", "y", "y2")}
    jaxpr = prepared(f, w, XS)
    assert products(jaxpr) == (4, 1)
    agree(jaxpr, f, w, XS)


def test_constants_on_the_left_and_transposed():
    def f(w, xs):
        def step(h, x):
            h = jnp.sin(w @ x + w.T @ h)
            return h, w.T @ h

        return lax.scan(step, jnp.zeros((D, B), xs.dtype), xs)

    w, xs = weight(D, D), array(T, D, B)
    for g in (f, nr.grad(lambda w, xs: jnp.cos(f(w, xs)[1]).sum(), argnums=(0, 1))):
        jaxpr = prepared(g, w, xs)
        assert products(jaxpr)[1] <= 2
        agree(jaxpr, g, w, xs)


def test_a_weight_used_twice_and_in_parts():
    def f(w, xs):
        def step(h, x):
            h = jnp.sin(x @ w[:, :H] + h @ w[:, H:])
            return jnp.tanh(h @ w[:, :H]), h

        return lax.scan(step, jnp.zeros((B, H), xs.dtype), xs)[1]

    w = weight(D, 2 * H)
    gradient = nr.grad(total(f))
    jaxpr = prepared(gradient, w, XS)
    back = [q for q in jaxpr.eqns if q.primitive.name == "scan"][-1]
    assert back.params["num_carry"] == 1
    agree(jaxpr, gradient, w, XS)


def test_sums_of_inputs_leave_no_loop():
    def f(c, xs, ys):
        def step(c, xy):
            x, y = xy
            return c + x.T @ y, None

        return lax.scan(step, c, (xs, ys))[0]

    args = array(D, H), XS, array(T, B, H)
    jaxpr = prepared(f, *args)
    assert products(jaxpr) == (1, 0)
    assert not [q for q in jaxpr.eqns if q.primitive.name == "scan"]
    agree(jaxpr, f, *args)


@pytest.mark.parametrize("kind", ["result", "used", "scaled", "next"])
def test_sums_that_steps_read_stay(kind):
    def step(c, x):
        u = x.T @ x
        if kind == "result":
            return c + u, c
        if kind == "used":
            return c + u + 1e-3 * jnp.sin(c), None
        if kind == "scaled":
            return 0.5 * (c + u), None
        return c + u, (c + u).sum()

    def f(xs):
        return lax.scan(step, jnp.zeros((D, D), xs.dtype), xs)

    jaxpr = prepared(f, XS)
    assert products(jaxpr)[1] == 1
    agree(jaxpr, f, XS)


def test_state_that_changes_places():
    """Two sums that read each other are none."""

    def f(w, xs):
        def step(carry, x):
            a, b = carry
            return (b + x.T @ x, a + x.T @ x), None

        return lax.scan(step, (w, 2 * w), xs)[0]

    jaxpr = prepared(f, weight(D, D), XS)
    agree(jaxpr, f, weight(D, D), XS)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "complex64"])
def test_other_types_stay(dtype):
    def f(w, xs):
        def step(c, x):
            return (c[0] + x.T @ x, jnp.sin(c[1]) if dtype != "int32" else c[1] ^ 1), x @ w

        return lax.scan(step, (w, xs[0]), xs)

    args = array(D, D).astype(dtype), XS.astype(dtype)
    assert products(prepared(f, *args)) == (0, 2)


def test_large_batches_stay():
    """What would be stacked is more than the weight's gradient, and more than caches hold."""
    xs = jnp.zeros((T, 4096, D), "float32")
    w = nr.tree.map(lambda x: x.astype("float32"), RNN)
    assert products(prepared(nr.grad(total(rnn)), w, xs))[0] == 0


def test_results_that_inputs_give():
    """Results of the scan that are products, once as they are, once in more."""

    def f(w, xs):
        def step(h, x):
            y = x @ w
            return jnp.tanh(h + y), (y, y.sum(), y, h @ w)

        return lax.scan(step, jnp.zeros((B, H), xs.dtype), xs)

    w = weight(D, H)
    jaxpr = prepared(f, w, XS)
    assert products(jaxpr) == (2, 0)
    agree(jaxpr, f, w, XS)


def test_rows_of_tables_and_constants_of_the_program():
    table, w = array(50, D), weight(D, H)
    tokens = jnp.asarray(RNG.integers(0, 50, (T, B)), dtype="int32")

    def f(tokens):
        def step(h, token):
            h = jnp.tanh(table[token] @ w + h)
            return h, h @ w.T

        return lax.scan(step, jnp.zeros((B, H), w.dtype), tokens)

    jaxpr = prepared(f, tokens)
    assert products(jaxpr) == (2, 0)
    agree(jaxpr, f, tokens)


def test_effects_stay():
    seen = []

    def f(w, xs):
        def step(h, x):
            y = x @ w
            nr.debug.callback(lambda v: seen.append(float(v)), y.sum())
            return h + y, None

        return lax.scan(step, jnp.zeros((B, H), xs.dtype), xs)[0]

    w = weight(D, H)
    want = f(w, XS)
    expected, seen[:] = sorted(seen), []
    got = nr.jit(f)(w, XS)
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), **CLOSE)
    np.testing.assert_allclose(sorted(seen), expected, **CLOSE)


def test_within_other_control_flow():
    def f(n, w, xs):
        def body(state):
            i, w = state
            return i + 1, nr.tree.map(lambda w, g: w - 0.1 * g, w, nr.grad(total(rnn))(w, xs))

        w = lax.while_loop(lambda s: s[0] < n, body, (0, w))[1]
        return lax.cond(n > 1, lambda w: nr.grad(total(rnn))(w, xs), lambda w: w, w)

    got = nr.tree.leaves(nr.jit(f)(3, RNN, XS))
    for a, b in zip(got, nr.tree.leaves(f(3, RNN, XS)), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), **CLOSE)


# ---------------------------------------------------------------- compiled
@pytest.mark.parametrize(("f", "w"), [(rnn, RNN), (lstm, LSTM), (gru, GRU), (joined, JOINED)])
def test_compiled(f, w):
    gradient = nr.value_and_grad(total(f), argnums=(0, 1))
    one = nr.tree.leaves(nr.jit(gradient)(w, XS))
    for a, b in zip(one, nr.tree.leaves(gradient(w, XS)), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), **CLOSE)
    with nr.num_threads(1):
        alone = nr.tree.leaves(nr.jit(gradient)(w, XS))
    for a, b in zip(one, alone, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_transposed_constants_are_copied_once():
    def f(w, v, x):
        def step(h, _):
            return jnp.tanh(h @ w.T) + jnp.einsum("bd,nd->bn", h, v), None

        return lax.scan(step, x, None, length=T)[0]

    args = weight(64, 64), weight(64, 64), array(B * 4, 64)
    jaxpr = hoist_invariants(simplify(nr.make_jaxpr(f)(*args).jaxpr))
    plain = with_constants_laid_out(jaxpr)
    assert [q.primitive.name for q in plain.eqns] == ["transpose", "transpose", "scan"]
    assert "transpose" not in [q.primitive.name for q in plain.eqns[-1].params["jaxpr"].eqns]
    agree(plain, f, *args)
    agree(with_constants_laid_out(hoist_invariants(jaxpr)), f, *args)


def test_transposed_constants_of_while_loops_and_of_vectors():
    def loop(w, x):
        return lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, jnp.sin(c[1] @ w.T)), (0, x))

    def vectors(w, x):
        def step(h, x):
            return jnp.cos(w @ h + x), jnp.tanh(h) @ w.T

        return lax.scan(step, x[0], x)

    # Of vectors those with short lines; long lines are vectors themselves.
    for f, n, rows, copies in ((loop, 64, B * 4, 1), (vectors, 48, T, 1), (vectors, 64, T, 0)):
        w, x = weight(n, n), array(rows, n)
        plain = with_constants_laid_out(hoist_invariants(simplify(nr.make_jaxpr(f)(w, x).jaxpr)))
        assert sum(q.primitive.name == "transpose" for q in plain.eqns) == copies
        agree(plain, f, w, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_constants_are_cut_into_panels_once(dtype):
    def f(w, v, x):
        def step(h, _):
            wide = jnp.tanh(h @ w) @ v.T  # f[96, 640], then f[96, 640] transposed
            return jnp.sin(wide), wide.sum(1)

        return lax.scan(step, x, None, length=T)

    args = [a.astype(dtype) for a in (weight(96, 640), weight(96, 640), array(B * 4, 96))]
    jaxpr = hoist_invariants(simplify(nr.make_jaxpr(f)(*args).jaxpr))
    laid_out = with_constants_laid_out(jaxpr)
    # v.T has few columns: as rows of 96 it is near enough to be read again and again.
    assert [q.primitive.name for q in laid_out.eqns] == [
        "reshape", "transpose", "transpose", "scan"
    ]  # fmt: skip
    panels = laid_out.eqns[1].outvars[0].aval
    wide = 128 // panels.dtype.itemsize
    assert panels.shape == (640 // wide, 96, wide)
    if dtype == "float64":
        agree(laid_out, f, *args)
    loops = nr.jit(f).lower(*args).as_text("loops")
    assert "in panels" not in loops.split("repeat")[1], "a product that copies its operands"


def test_panels_of_several_dimensions():
    """Rows, columns and contracted dimensions that are not one each."""

    def f(w, x):
        def step(h, _):
            y = jnp.einsum("abcd,cdef->abef", h, w)
            return jnp.tanh(jnp.einsum("abef,cdef->abcd", y, w)), None

        return lax.scan(step, x, None, length=T)[0]

    args = weight(8, 12, 20, 32), array(2, B, 8, 12)
    laid_out = with_constants_laid_out(hoist_invariants(simplify(nr.make_jaxpr(f)(*args).jaxpr)))
    assert laid_out.eqns[-1].params["num_consts"] > 1
    agree(laid_out, f, *args)


# ---------------------------------------------------------------- any body
def random_scan(seed):
    """A scan whose body is a random program of square matrices and rows."""
    rng = np.random.default_rng(seed)
    n = 4
    n_consts, n_carry, n_xs = (int(k) for k in rng.integers(1, 4, 3))
    script = [
        (rng.choice(["dot", "dot", "add", "mul", "sin", "T", "sum", "neg", "pad"]),
         *(int(k) for k in rng.integers(0, 1 << 30, 2)))
        for _ in range(int(rng.integers(4, 14)))
    ]  # fmt: skip
    accumulates = [bool(b) for b in rng.integers(0, 3, n_carry)]
    picks = [int(k) for k in rng.integers(0, 1 << 30, n_carry + 3)]

    def f(consts, carry, xs):
        def step(carry, x):
            # The sums' own values are seldom read.
            values = [*consts, *[c for c, a in zip(carry, accumulates, strict=True) if not a], *x]
            for name, i, j in script:
                a, b = values[i % len(values)], values[j % len(values)]
                if name == "dot":
                    c = 0.4 * (a @ b) if i % 2 else a @ b
                elif name == "add":
                    c = a + b
                elif name == "mul":
                    c = 0.5 * a * b
                elif name == "sin":
                    c = jnp.sin(a)
                elif name == "T":
                    c = a.T
                elif name == "sum":
                    c = jnp.broadcast_to(a.sum(0), (n, n)) * 0.25
                elif name == "neg":
                    c = -a
                else:
                    c = jnp.pad(a[:, 1:3], ((0, 0), (0, 2)))
                values.append(c)
            chosen = [values[-1 - p % min(len(values), 6)] for p in picks]
            new = [
                c + u if a else 0.5 * jnp.sin(u)
                for c, u, a in zip(carry, chosen, accumulates, strict=False)
            ]
            return tuple(new), tuple(chosen[n_carry:])

        return lax.scan(step, carry, xs, reverse=bool(seed % 2))

    def arrays(count, *lead):
        return tuple(0.3 * array(*lead, n, n) for _ in range(count))

    return f, (arrays(n_consts), arrays(n_carry), arrays(n_xs, 5))


def test_random_bodies(any_size):
    changed = 0
    for seed in range(60):
        f, args = random_scan(seed)
        before = hoist_invariants(simplify(nr.make_jaxpr(f)(*args).jaxpr))
        after = split_scans(before)
        changed += after is not before
        agree(after, f, *args)
        if seed % 4 == 0:
            gradient = nr.grad(lambda *a: sum(map(jnp.sum, nr.tree.leaves(f(*a)))), (0, 1, 2))  # noqa: B023
            agree(prepared(gradient, *args), gradient, *args)
    assert changed > 20
