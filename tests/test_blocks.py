"""Without these, attention in plain code could need memory with the square of its length, or be
wrong where scores are computed in blocks of rows."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler import blocks, plan
from nr.backends.compiler.blocks import with_row_blocks
from nr.backends.compiler.simplify import simplify
from nr.core.jaxprs import subjaxprs

RNG = np.random.default_rng(0)
# Sums of some hundred products of numbers around 1, in another order: some dozen roundings.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 0.05, "float16": 0.006}


@pytest.fixture
def small(monkeypatch):
    """Blocks from some hundred scores on, of few rows: so that rows are left over, and blocks of
    rows lie within blocks of the batch. The loops are run as those with large steps are."""
    monkeypatch.setattr(blocks, "_MOST_BYTES", 1 << 10)
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(blocks, "_EXPANSION", 2)
    monkeypatch.setattr(plan, "scan_kernel", lambda *args: None)


def random(*shape, dtype="float64"):
    return jnp.asarray(RNG.standard_normal(shape), dtype)


def scans(jaxpr):
    """How many loops there are, inner ones included."""
    here = sum(q.primitive.name == "scan" for q in jaxpr.eqns)
    return here + sum(scans(b) for q in jaxpr.eqns for b in subjaxprs(q.params))


def rewritten(f, *args):
    """The program as the compiler rewrites it, and whether that changes it."""
    jaxpr = simplify(nr.make_jaxpr(f)(*args).jaxpr)
    new = with_row_blocks(jaxpr)
    return new, new is not jaxpr


def check(f, *args, monkeypatch, dtype="float64", loops=True):
    """That a program in blocks gives what it gives without them; whether there are blocks."""
    got = nr.tree.leaves(nr.jit(lambda *a: f(*a))(*args))
    with monkeypatch.context() as m:
        m.setattr(plan, "with_row_blocks", lambda jaxpr: jaxpr)
        wide = nr.tree.map(lambda x: x.astype("float64") if x.dtype.kind in "fV" else x, args)
        expected = nr.tree.leaves(nr.jit(lambda *a: f(*a))(*wide))
    for one, other in zip(got, expected, strict=True):
        tolerance = TOLERANCE[dtype] * max(1.0, float(jnp.abs(other).max()))
        one = np.asarray(one.astype(other.dtype))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)
    new, changed = rewritten(f, *args)
    assert changed == loops
    return new


def gradient(f, n):
    """Result and gradients of a function of n arrays, for a loss that is not linear."""

    def loss(*args):
        out = f(*args)
        return jnp.sum(jnp.sin(out.astype("float32" if out.dtype.itemsize < 4 else out.dtype))), out

    return lambda *args: nr.value_and_grad(loss, tuple(range(n)), has_aux=True)(*args)


# ---------------------------------------------------------------- forms of attention
def softmax(s):
    e = jnp.exp(s - lax.stop_gradient(s.max(-1, keepdims=True)))
    return e / e.sum(-1, keepdims=True)


def masked(s):
    t, n = s.shape[-2:]
    return jnp.where(jnp.tril(jnp.ones((t, n), bool)), s, jnp.asarray(-1e4, s.dtype))


def causal(q, k, v):
    s = masked(jnp.einsum("bthd,bshd->bhts", q, k) * q.shape[-1] ** -0.5)
    return jnp.einsum("bhts,bshd->bthd", nr.nn.softmax(s), v)


def by_hand(q, k, v):
    s = masked(jnp.einsum("bthd,bshd->bhts", q, k) / 2)
    return jnp.einsum("bhts,bshd->bthd", softmax(s), v)


def divided_after(q, k, v):
    s = jnp.einsum("bthd,bshd->bths", q, k)
    e = jnp.exp(s - s.max(-1, keepdims=True))
    return jnp.einsum("bths,bshd->bthd", e, v) / e.sum(-1)[..., None]


def heads_first(q, k, v):
    q, k, v = [x.swapaxes(1, 2) for x in (q, k, v)]
    return (softmax(masked(q @ k.swapaxes(-1, -2) * 0.5)) @ v).swapaxes(1, 2)


def transposed_scores(q, k, v):
    s = jnp.einsum("bshd,bthd->bhst", k, q)
    return jnp.einsum("bhst,bshd->bthd", nr.nn.softmax(s, axis=2), v)


def merged_heads(q, k, v):
    b, t, h, d = q.shape
    q, k, v = [x.swapaxes(1, 2).reshape((b * h, -1, d)) for x in (q, k, v)]
    out = softmax(jnp.einsum("ntd,nsd->nts", q, k)) @ v
    return out.reshape((b, h, t, d)).swapaxes(1, 2)


FORMS = [causal, by_hand, divided_after, heads_first, transposed_scores, merged_heads]


def qkv(t, s, dtype="float64", b=2, h=2, d=8):
    return [random(*x, dtype=dtype) for x in ((b, t, h, d), (b, s, h, d), (b, s, h, d))]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("t, s", [(48, 48), (37, 50), (50, 31)])
def test_values_and_gradients(form, t, s, small, monkeypatch):
    arguments = qkv(t, s)
    check(form, *arguments, monkeypatch=monkeypatch)
    check(gradient(form, 3), *arguments, monkeypatch=monkeypatch)


def test_against_numpy(small):
    q, k, v = [np.asarray(x) for x in qkv(37, 37)]
    s = np.einsum("bthd,bshd->bhts", q, k) / 8**0.5
    s = np.where(np.tri(37, dtype=bool), s, -1e9)
    p = np.exp(s - s.max(-1, keepdims=True))
    expected = np.einsum("bhts,bshd->bthd", p / p.sum(-1, keepdims=True), v)
    np.testing.assert_allclose(nr.jit(causal)(q, k, v), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        nr.jit(causal)(*[x.astype("float32") for x in (q, k, v)]), expected, rtol=0, atol=5e-6
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtypes(dtype, small, monkeypatch):
    arguments = qkv(40, 40, dtype)
    f = gradient(causal, 3)
    check(f, *arguments, monkeypatch=monkeypatch, dtype=dtype)
    (_, out), gradients = nr.jit(f)(*arguments)
    assert {x.dtype for x in (out, *gradients)} == {arguments[0].dtype}


@pytest.mark.parametrize("shape", [(2, 30, 40), (2, 2, 30, 40), (1, 1, 30, 40), (2, 1, 1, 40)])
def test_bias(shape, small, monkeypatch):
    def f(q, k, v, bias):
        s = jnp.einsum("bthd,bshd->bhts", q, k) + bias
        return jnp.einsum("bhts,bshd->bthd", softmax(s), v)

    arguments = *qkv(30, 40), random(*shape)
    check(f, *arguments, monkeypatch=monkeypatch)
    check(gradient(f, 4), *arguments, monkeypatch=monkeypatch)


def test_masks_of_lengths(small, monkeypatch):
    lengths = jnp.asarray([17, 30])

    def f(q, k, v):
        s = jnp.einsum("bthd,bshd->bhts", q, k)
        keys, rows = jnp.arange(s.shape[-1]), jnp.arange(s.shape[-2])
        inside = keys < lengths[:, None, None, None]
        near = jnp.abs(rows[:, None] - keys) < 9
        s = jnp.where(inside & near, s, -jnp.inf)
        return jnp.einsum("bhts,bshd->bthd", jnp.nan_to_num(softmax(s)), v)

    check(gradient(f, 3), *qkv(40, 40), monkeypatch=monkeypatch)


def test_one_array_for_all(small, monkeypatch):
    check(gradient(lambda x: causal(x, x, x), 1), qkv(40, 40)[0], monkeypatch=monkeypatch)


# ---------------------------------------------------------------- random numbers
def with_dropout(q, k, v, key, shape=None):
    p = nr.nn.softmax(masked(jnp.einsum("bthd,bshd->bhts", q, k)))
    keep = nr.random.bernoulli(key, 0.7, shape or p.shape)
    return jnp.einsum("bhts,bshd->bthd", jnp.where(keep, p / 0.7, 0), v)


def with_noise(q, k, v, key):
    s = jnp.einsum("bthd,bshd->bhts", q, k)
    one, other = nr.random.split(key)
    s = s + nr.random.gumbel(one, s.shape, "float32") + nr.random.normal(other, s.shape, "float32")
    return jnp.einsum("bhts,bshd->bthd", nr.nn.softmax(s), v)


@pytest.mark.parametrize("t, s", [(48, 48), (37, 50)])
@pytest.mark.parametrize("form", [with_dropout, with_noise], ids=lambda f: f.__name__)
def test_random_numbers(form, t, s, small, monkeypatch):
    """They are those that the whole array of scores has."""
    arguments, key = qkv(t, s), nr.random.PRNGKey(3)
    check(form, *arguments, key, monkeypatch=monkeypatch)
    check(lambda *a: gradient(lambda *b: form(*b, key), 3)(*a), *arguments, monkeypatch=monkeypatch)


def test_masks_that_heads_share(small, monkeypatch):
    def f(q, k, v, key):
        return with_dropout(q, k, v, key, (1, 1, 40, 40))

    check(f, *qkv(40, 40), nr.random.PRNGKey(0), monkeypatch=monkeypatch)


def test_half_floats_draw_16_bits(small, monkeypatch):
    def f(q, k, v, key):
        p = nr.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k))
        u = nr.random.uniform(key, p.shape, "bfloat16")
        return jnp.einsum("bhts,bshd->bthd", jnp.where(u < 0.5, 2 * p, 0), v)

    check(f, *qkv(40, 40), nr.random.PRNGKey(0), monkeypatch=monkeypatch)


def test_layers_with_dropout_take_no_room_for_scores():
    layer = nr.nn.MultiHeadAttention.init(256, num_heads=4, dropout=0.1, key=nr.random.key(0))
    x, key = nr.ShapeDtypeStruct((1, 4096, 256), "float32"), nr.random.key(1)

    def loss(layer, x, key):
        return layer(x, training=True, key=key).sum()

    plan = nr.plan(nr.grad(loss), layer, x, key)
    assert plan.temporary_bytes < 4 * 4096**2 * 4 / 4  # of the bytes of all scores


# ---------------------------------------------------------------- in other programs
def layers(x, weights):
    """Attention in several layers, which share their mask."""
    for w in weights:
        q, k, v = [y.reshape((*x.shape[:2], 2, 8)) for y in jnp.split(x @ w, 3, -1)]
        x = x + jnp.tanh(causal(q, k, v)).reshape(x.shape)
    return x


def test_layers(small, monkeypatch):
    x, weights = random(2, 40, 16), [random(16, 48) / 4 for _ in range(3)]
    new = check(layers, x, weights, monkeypatch=monkeypatch)
    assert scans(new) == 3
    new = check(gradient(layers, 2), x, weights, monkeypatch=monkeypatch)
    assert scans(new) == 5  # the last layer's gradient follows in the same loop


def test_scan_over_layers(small, monkeypatch):
    x, weights = random(2, 40, 16), random(3, 16, 48) / 4

    def f(x, weights):
        return lax.scan(lambda x, w: (layers(x, [w]), None), x, weights)[0]

    def with_checkpoints(x, weights):
        step = nr.checkpoint(lambda x, w: (layers(x, [w]), None))
        return lax.scan(step, x, weights)[0]

    check(f, x, weights, monkeypatch=monkeypatch, loops=False)  # in the scan's body alone
    check(gradient(f, 2), x, weights, monkeypatch=monkeypatch, loops=False)
    check(gradient(with_checkpoints, 2), x, weights, monkeypatch=monkeypatch, loops=False)


def test_checkpoint(small, monkeypatch):
    new = check(gradient(nr.checkpoint(causal), 3), *qkv(40, 40), monkeypatch=monkeypatch)
    bodies = [q.params["jaxpr"] for q in new.eqns if q.primitive.name == "checkpoint"]
    assert [scans(body) for body in bodies] == [1, 1]


def test_transformations(small, monkeypatch):
    arguments = qkv(36, 36)
    stacked = [jnp.stack([x, 2 * x, x]) for x in arguments]
    check(nr.vmap(gradient(causal, 3)), *stacked, monkeypatch=monkeypatch)

    def second(*args):
        return nr.jvp(nr.grad(lambda *a: jnp.sum(jnp.sin(causal(*a)))), args, args)

    check(second, *arguments, monkeypatch=monkeypatch)


def test_what_is_not_attention(small, monkeypatch):
    def nearest(x, centers):
        d = (x**2).sum(1)[:, None] - 2 * x @ centers.T + (centers**2).sum(1)
        return d.argmin(1), d.min(1), jnp.exp(-d).sum()

    def cross_entropy(h, w):
        scores = h @ w
        log = jnp.log(jnp.exp(scores - scores.max(1, keepdims=True)).sum(1)) + scores.max(1)
        return (log - (h * w[:, 7]).sum(1)).mean()

    check(nearest, random(99, 4), random(55, 4), monkeypatch=monkeypatch)
    h, w = random(99, 4), random(4, 77)
    check(nr.value_and_grad(cross_entropy, (0, 1)), h, w, monkeypatch=monkeypatch)


# ---------------------------------------------------------------- what stays as it is
def with_probabilities(q, k, v):
    p = nr.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k))
    return jnp.einsum("bhts,bshd->bthd", p, v), p


def over_all_rows(q, k, v):
    p = jnp.exp(jnp.einsum("bthd,bshd->bhts", q, k))
    return jnp.einsum("bhts,bshd->bthd", jnp.flip(p, (0, 1, 2)) / p.max(), v)


def seen(q, k, v):
    p = nr.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k))
    nr.debug.callback(lambda p: None, p)
    return jnp.einsum("bhts,bshd->bthd", p, v)


@pytest.mark.parametrize(
    "form", [with_probabilities, over_all_rows, seen], ids=lambda f: f.__name__
)
def test_given_up(form, small, monkeypatch):
    check(form, *qkv(40, 40), monkeypatch=monkeypatch, loops=False)


def test_small_ones():
    assert not rewritten(gradient(causal, 3), *qkv(128, 128, d=64))[1]
    wide = nr.ShapeDtypeStruct((4096, 256), "float32"), nr.ShapeDtypeStruct((256, 1024), "float32")
    assert not rewritten(lambda x, w: jnp.tanh(x @ w) @ w.T, *wide)[1]


def test_callbacks_keep_their_order(small):
    order = []

    def f(q, k, v):
        for name, x in (("a", q), ("b", causal(q, k, v)), ("c", k), ("d", causal(q, v, k))):
            nr.debug.callback(lambda _, name=name: order.append(name), x[0, 0, 0, 0], ordered=True)
        return q

    arguments = qkv(40, 40)
    assert rewritten(f, *arguments)[1]
    nr.block_until_ready(nr.jit(f)(*arguments))
    assert order == ["a", "b", "c", "d"]


def test_checks_for_nan(small):
    q, k, v = qkv(40, 40)
    f = nr.jit(causal, check="nan")
    np.testing.assert_allclose(f(q, k, v), nr.jit(causal)(q, k, v), rtol=0, atol=1e-14)
    with pytest.raises(FloatingPointError):
        f(q.at[1, 3, 0, 0].set(jnp.inf), k, v * 0)


# ---------------------------------------------------------------- memory
@pytest.mark.parametrize("f", [causal, gradient(causal, 3)], ids=["forward", "gradient"])
def test_memory_is_linear(f):
    sizes = []
    for t in (2048, 4096, 8192):
        x = nr.ShapeDtypeStruct((2, t, 2, 64), "float32")
        sizes.append(nr.plan(f, x, x, x).temporary_bytes / (4 * 2 * t * 2 * 64))
    assert sizes[1] < sizes[0] * 1.1
    assert sizes[2] < sizes[1] * 1.1
    assert max(sizes) < 16  # times a query; all scores are 32, 64 and 128 times as large


def test_deterministic():
    arguments = qkv(1100, 1100, "float32", b=1, d=16)
    f = nr.jit(gradient(causal, 3))
    first = nr.tree.leaves(f(*arguments))
    with nr.num_threads(1):
        second = nr.tree.leaves(f(*arguments))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
