"""Without this attention could differ from softmax(Q K^T) V at a mask or an odd length, or its
memory could grow with the square of the length."""

import itertools

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.nn import attention, attention_blocks, dot_product_attention

RNG = np.random.default_rng(0)
# Sums of a few hundred products of numbers around 1, and of as many probabilities: some dozen
# roundings of the dtype.
TOLERANCE = {"float64": 1e-13, "float32": 5e-6, "bfloat16": 0.04, "float16": 0.004}


def random(*shape, dtype="float32"):
    return RNG.normal(size=shape).astype(dtype)


def qkv(b, t, s, n, k, h, dtype="float32"):
    return [jnp.asarray(random(*d), dtype) for d in ((b, t, n, h), (b, s, k, h), (b, s, k, h))]


def allowed(b, t, s, kw):
    """The mask [B, N, T, S] that the options make."""
    row, column = np.arange(t)[:, None], np.arange(s)[None]
    result = np.ones((b, 1, t, s), bool)
    if kw.get("mask") is not None:
        mask = np.asarray(kw["mask"])
        result = result & mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    if kw.get("is_causal"):
        result = result & (column <= row)
    if (window := kw.get("local_window_size")) is not None:
        left, right = (window, window) if isinstance(window, int) else window
        result = result & (column >= row - left) & (column <= row + right)
    if (lengths := kw.get("query_seq_lengths")) is not None:
        result = result & (row < lengths[:, None, None, None])
    if (lengths := kw.get("key_value_seq_lengths")) is not None:
        result = result & (column < lengths[:, None, None, None])
    return result


def reference(q, k, v, bias=None, scale=None, **kw):
    """The formula, on whole scores."""
    (b, t, n, h), (_, s, heads, _) = q.shape, k.shape
    k, v = [jnp.repeat(x, n // heads, axis=2) for x in (k, v)]
    scores = jnp.einsum("btnh,bsnh->bnts", q, k) * (h**-0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    scores = jnp.where(allowed(b, t, s, kw), scores, -1e30)
    out = jnp.einsum("bnts,bsnh->btnh", nr.nn.softmax(scores, -1), v)
    if (lengths := kw.get("query_seq_lengths")) is not None:
        out = jnp.where(np.arange(t)[:, None, None] < lengths[:, None, None, None], out, 0)
    return out


def with_gradients(f, arguments, weights):
    def loss(*arguments):
        out = f(*arguments)
        return jnp.sum(out.astype(weights.dtype) * weights), out

    gradient = nr.grad(loss, argnums=tuple(range(len(arguments))), has_aux=True)
    gradients, out = nr.jit(gradient)(*arguments)
    return [out, *gradients]


def check(shape, dtype="float64", **kw):
    """Values and gradients against the formula in float64."""
    arguments = qkv(*shape, dtype)
    if (bias := kw.pop("bias", None)) is not None:
        arguments.append(jnp.asarray(bias, dtype))

    def call(f):
        return lambda q, k, v, bias=None: f(q, k, v, bias=bias, **kw)

    weights = random(*arguments[0].shape, dtype="float64")
    got = with_gradients(call(dot_product_attention), arguments, weights)
    wide = [x.astype("float64") for x in arguments]
    expected = with_gradients(call(reference), wide, weights)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == dtype
        tolerance = TOLERANCE[dtype] * max(1.0, float(jnp.abs(other).max()))
        np.testing.assert_allclose(np.asarray(one, "float64"), other, rtol=0, atol=tolerance)


def masks(b, n, t, s):
    """A random mask with rows of which nothing is left."""
    mask = RNG.random((b, n, t, s)) < 0.4
    mask[:, :, [0, t // 2, t - 1]] = False
    return mask


# ---------------------------------------------------------------- values and gradients
LENGTHS = [(1, 1), (5, 3), (128, 128), (200, 130), (130, 200), (257, 257)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("t, s", LENGTHS)
def test_lengths(t, s, causal):
    check((2, t, s, 4, 2, 8), is_causal=causal)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("causal", [False, True])
def test_dtypes(dtype, causal):
    check((2, 150, 150, 2, 2, 16), dtype, is_causal=causal)


@pytest.mark.parametrize("heads", [(1, 1), (4, 4), (6, 3), (6, 1)])
def test_heads_share_keys(heads):
    check((2, 70, 90, *heads, 8), is_causal=True)


@pytest.mark.parametrize("dims", list(itertools.product([False, True], repeat=4)))
def test_bias_and_mask_broadcast(dims):
    full = (2, 4, 129, 257)  # blocks leave one row and one key
    shape = [n if whole else 1 for n, whole in zip(full, dims, strict=True)]
    check((2, 129, 257, 4, 2, 8), bias=random(*shape))
    check((2, 129, 257, 4, 2, 8), mask=RNG.random(shape) < 0.7, bias=random(4, 1, 257))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [0, 3, (150, 0), (0, 40), (-5, 10), (-400, 9)])
def test_windows(window, causal):
    # Where keys are fewer, windows of late positions hold none.
    check((1, 300, 170, 2, 2, 8), local_window_size=window, is_causal=causal)
    check((1, 170, 300, 2, 2, 8), local_window_size=window, is_causal=causal)


@pytest.mark.parametrize("causal", [False, True])
def test_rows_without_keys_are_the_mean_of_all_values(causal):
    kw = {"mask": masks(2, 1, 150, 260), "is_causal": causal}
    check((2, 150, 260, 2, 1, 8), **kw)
    q, k, v = qkv(2, 150, 260, 2, 1, 8, "float64")
    out = dot_product_attention(q, k, v, **kw)
    np.testing.assert_allclose(out[:, 0], jnp.repeat(v.mean(1), 2, axis=1), atol=1e-14)


def test_lengths_of_sequences():
    lengths = np.array([0, 97, 150], np.int32)
    for kw in ({}, {"is_causal": True}, {"mask": masks(3, 4, 150, 150)}):
        check((3, 150, 150, 4, 2, 8), query_seq_lengths=lengths, **kw)
        check((3, 150, 150, 4, 2, 8), key_value_seq_lengths=lengths, **kw)
        check((3, 150, 150, 4, 2, 8), key_value_seq_lengths=lengths, query_seq_lengths=lengths)


def use_blocks(monkeypatch, size):
    """Blocks of so many rows and keys, for any lengths."""
    sizes = {"_BLOCK": size, "_ROWS": size, "_KEYS": 1, "_SPARSE_BLOCKS": (), "_DENSE_BLOCKS": ()}
    for name, value in sizes.items():
        monkeypatch.setattr(attention_blocks, name, value)


def test_one_head_at_a_time_and_many_are_the_same(monkeypatch):
    arguments = qkv(4, 60, 80, 4, 2, 8, "float64")
    bias, mask = random(1, 4, 1, 80), RNG.random((4, 1, 60, 80)) < 0.7

    def f(*arguments):
        return jnp.sin(dot_product_attention(*arguments, bias, mask)).sum()

    results = []
    for block, step in ((128, 1 << 30), (128, 60 * 80 * 4), (16, 1), (7, 100)):
        use_blocks(monkeypatch, block)
        monkeypatch.setattr(attention, "_STEP", step)
        results.append(nr.grad(f, argnums=(0, 1, 2))(*arguments))
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-13)


def test_many_blocks(monkeypatch):
    use_blocks(monkeypatch, 4)
    for kw in ({}, {"is_causal": True}, {"local_window_size": (9, 2)}):
        check((1, 203, 187, 2, 1, 4), **kw)  # 50 blocks in 13 loops, and a rest of 3


def test_large_scores():
    q, k, v = [x * 100 for x in qkv(1, 40, 40, 1, 1, 8)]
    out = dot_product_attention(q, k, v, is_causal=True)
    wide = reference(*[x.astype("float64") for x in (q, k, v)], is_causal=True)
    # Scores around 1e4 are rounded to 1e-3.
    np.testing.assert_allclose(out, wide, atol=2.0)
    assert np.isfinite(nr.grad(lambda q: dot_product_attention(q, k, v).sum())(q)).all()


def test_scores_that_are_masked_may_be_as_large_as_they_like():
    q, k, v = qkv(1, 6, 6, 1, 1, 4, "float64")
    k = k.at[:, 4:].multiply(1e6)
    mask = np.arange(6) < 4

    def f(k):
        return jnp.sin(dot_product_attention(q, k, v, mask=mask[None])).sum()

    assert np.isfinite(nr.hessian(f)(k)).all()


def test_the_scale_may_be_a_parameter():
    q, k, v = qkv(1, 30, 30, 2, 1, 4, "float64")
    ours, formula = [
        nr.value_and_grad(lambda s, f=f: jnp.sin(f(q, k, v, scale=s)).sum())(jnp.float64(0.3))
        for f in (dot_product_attention, reference)
    ]
    np.testing.assert_allclose(ours, formula, rtol=1e-12)
    np.testing.assert_allclose(
        dot_product_attention(q, k, v, scale=2), reference(q, k, v, scale=2), atol=1e-13
    )


def test_empty_arrays():
    for shape in ((0, 3, 3, 2, 2, 4), (2, 0, 3, 2, 2, 4), (2, 3, 0, 2, 2, 4), (2, 3, 3, 2, 2, 0)):
        arguments = qkv(*shape)
        out = dot_product_attention(*arguments, is_causal=True)
        assert out.shape == arguments[0].shape and not np.any(out)


# ---------------------------------------------------------------- beside JAX
OPTIONS = [
    {},
    {"is_causal": True, "scale": 0.7},
    {"mask": masks(2, 1, 140, 150)},
    {"mask": masks(2, 4, 140, 150), "is_causal": True},
    {"bias": random(4, 140, 150), "local_window_size": (30, 4)},
    {
        "query_seq_lengths": np.array([3, 140], "i4"),
        "key_value_seq_lengths": np.array([0, 99], "i4"),
    },
]


@pytest.mark.parametrize("kw", OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_jax_agrees(kw, dtype):
    jax = pytest.importorskip("jax")
    arguments = qkv(2, 140, 150, 4, 2, 8, dtype)
    theirs = [jax.numpy.asarray(np.asarray(x, "float32"), dtype) for x in arguments]
    got = dot_product_attention(*arguments, return_residual=True, **kw)
    expected = jax.nn.dot_product_attention(*theirs, return_residual=True, **kw)
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        np.testing.assert_allclose(
            np.asarray(one, "float64"), np.asarray(other, "float64"),
            rtol=TOLERANCE[dtype] / 4, atol=TOLERANCE[dtype],
        )  # fmt: skip

    def loss(lib):
        def f(q, k, v):
            attend = lib.nn.dot_product_attention
            return (attend(q, k, v, implementation="xla", **kw).astype("float32") ** 2).sum()

        return f

    slopes = nr.grad(loss(nr), argnums=(0, 1, 2))(*arguments)
    for one, other in zip(slopes, jax.grad(loss(jax), argnums=(0, 1, 2))(*theirs), strict=True):
        other = np.asarray(other, "float64")
        atol = TOLERANCE[dtype] * max(1.0, np.abs(other).max())
        np.testing.assert_allclose(np.asarray(one, "float64"), other, rtol=0, atol=atol)


def test_rank_3_is_one_sequence():
    q, k, v = qkv(1, 20, 30, 4, 2, 8)
    bias = random(4, 20, 30)
    out, log = dot_product_attention(q[0], k[0], v[0], bias, return_residual=True)
    assert log.shape == (20, 4)
    np.testing.assert_array_equal(out, dot_product_attention(q, k, v, bias[None])[0])


# ---------------------------------------------------------------- transformations
def small(causal=True):
    arguments = qkv(1, 9, 7, 2, 1, 3, "float64")
    mask = RNG.random((1, 1, 9, 7)) < 0.8
    return lambda *a: dot_product_attention(*a, mask=mask, is_causal=causal), arguments


def test_all_modes_of_differentiation(monkeypatch):
    use_blocks(monkeypatch, 3)
    f, arguments = small()
    nr.test_util.check_grads(f, tuple(arguments), order=2, modes=("fwd", "rev"))


def test_hessian_and_jvp_are_those_of_the_formula(monkeypatch):
    use_blocks(monkeypatch, 4)
    arguments = qkv(1, 6, 6, 2, 2, 2, "float64")

    def loss(f):
        return lambda q: jnp.sin(f(q, *arguments[1:], is_causal=True)).sum()

    ours, formula = loss(dot_product_attention), loss(reference)
    q = arguments[0]
    np.testing.assert_allclose(nr.hessian(ours)(q), nr.hessian(formula)(q), atol=1e-12)
    direction = jnp.ones_like(q)
    for f in (lambda g: nr.jvp(g, (q,), (direction,)), lambda g: nr.jvp(nr.grad(g), (q,), (q,))):
        for one, other in zip(f(ours), f(formula), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)


def test_vmap():
    q, k, v = qkv(3, 20, 30, 4, 2, 8, "float64")

    def f(q, k, v):
        return dot_product_attention(q, k, v, is_causal=True)

    np.testing.assert_allclose(nr.vmap(f)(q, k, v), f(q, k, v), atol=1e-14)
    shared = nr.vmap(f, in_axes=(0, None, None))(q, k[0], v[0])
    same = [jnp.broadcast_to(x[:1], x.shape) for x in (k, v)]
    np.testing.assert_allclose(shared, f(q, *same), atol=1e-14)
    g = nr.grad(lambda *a: (f(*a) ** 2).sum(), argnums=(0, 1, 2))
    for one, other in zip(nr.jit(nr.vmap(g))(q, k, v), g(q, k, v), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


def test_no_gradient_goes_through_the_residual():
    q, k, v = qkv(1, 5, 5, 1, 1, 4)

    def f(q):
        return dot_product_attention(q, k, v, return_residual=True)[1].sum()

    assert not np.any(nr.grad(f)(q))


# ---------------------------------------------------------------- memory
def test_memory_is_linear_in_the_length():
    def attend(q, k, v):
        return dot_product_attention(q, k, v, is_causal=True).sum()

    for f in (attend, nr.grad(attend, argnums=(0, 1, 2))):
        short, long = [
            nr.plan(f, *[nr.ShapeDtypeStruct((1, t, 8, 64), "float32")] * 3).temporary_bytes
            for t in (4096, 8192)
        ]
        assert long < 2.3 * short
        assert short < 8 * 4096 * 4096 * 4 / 4  # a quarter of the scores alone


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    "arguments, kw, message",
    [
        (((5, 4),) * 3, {}, None),
        (((2, 5, 4, 8), (2, 5, 3, 8), (2, 5, 3, 8)), {}, "a multiple"),
        (((2, 5, 4, 8), (2, 5, 4, 7), (2, 5, 4, 7)), {}, "the same B and H"),
        (((2, 5, 4, 8), (3, 5, 4, 8), (3, 5, 4, 8)), {}, "the same B and H"),
        (((2, 5, 4, 8), (2, 5, 4, 8), (2, 6, 4, 8)), {}, "one shape of key and value"),
        (((1, 2, 5, 4, 8),) * 3, {}, 'for "query"'),
        (((2, 5, 4, 8),) * 3, {"implementation": "cudnn"}, "implementation"),
        (((2, 5, 4, 8),) * 3, {"mask": np.ones((5, 5))}, 'bool was required.*"mask"'),
        (((2, 5, 4, 8),) * 3, {"bias": np.ones((2, 5, 5), "f4")}, r"\[2, 4, 5, 5\].*\"bias\""),
        (((2, 5, 4, 8),) * 3, {"query_seq_lengths": np.ones(3, "i4")}, r"i32\[2\]"),
    ],
)
def test_what_does_not_fit(arguments, kw, message):
    arguments = [jnp.ones(shape) for shape in arguments]
    if message is None:  # [N, H] is [1, T, N, H] of one position
        assert dot_product_attention(*arguments).shape == (5, 4)
        return
    with pytest.raises(ValueError, match=f"(?s)dot_product_attention: .*{message}"):
        dot_product_attention(*arguments, **kw)


def test_dtypes_must_agree():
    x = jnp.ones((2, 5, 4, 8))
    with pytest.raises(ValueError, match="one dtype"):
        dot_product_attention(x, x.astype("bfloat16"), x)
    with pytest.raises(ValueError, match="floating"):
        dot_product_attention(*[x.astype("int32")] * 3)
