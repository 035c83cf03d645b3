"""Without this embeddings, bags of them and bilinear layers could differ from PyTorch's, or read
beyond their table."""

import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn

RNG = np.random.default_rng(0)
# Sums of up to a hundred products of numbers around 1.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
KEY = nr.random.key(3)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def random(*shape, dtype="float32"):
    return RNG.normal(size=shape).astype(dtype)


def close(got, expected, tol):
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(np.asarray(got), expected, rtol=tol, atol=tol)


def compare(f, weight, y, ct, dweight, tol):
    """Value and gradient of f of the weight, eager and compiled."""

    def outputs(weight):
        out, pull = nr.vjp(f, weight)
        return out, *pull(jnp.asarray(ct))

    for call in (outputs, nr.jit(outputs)):
        got = call(jnp.asarray(weight))
        close(got[0], y, tol)
        close(got[1], dweight, tol)


# ---------------------------------------------------------------- embedding
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4), (0,), (2, 0)])
@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize(("dtype", "index"), [("float32", "int32"), ("float64", "int64")])
def test_embedding_is_that_of_torch(torch, shape, padding_idx, dtype, index):
    weight, ct = random(6, 5, dtype=dtype), random(*shape, 5, dtype=dtype)
    indices = RNG.integers(0, 6, shape).astype(index)
    theirs = torch.tensor(weight, requires_grad=True)
    y = torch.nn.functional.embedding(torch.tensor(indices), theirs, padding_idx)
    y.backward(torch.tensor(ct))

    def f(w):
        return nn.Embedding(w, padding_idx)(indices)

    compare(f, weight, y.detach(), ct, theirs.grad, TOLERANCE[dtype])


def test_max_norm_is_that_of_torch(torch):
    weight, indices = random(50, 4), np.arange(50)
    weight[0] = 0
    expected = torch.nn.Embedding(50, 4, max_norm=1.5, _weight=torch.tensor(weight))(
        torch.tensor(indices)
    )
    embed = nn.Embedding(jnp.asarray(weight), max_norm=1.5)
    for f in (embed, nr.jit(lambda i: embed(i))):
        close(f(indices), expected.detach(), 1e-6)
    assert (np.linalg.norm(weight, axis=1) > 1.5).sum() > 10
    grad = nr.grad(lambda w: (nn.Embedding(w, max_norm=1.5)(indices) ** 2).sum())(weight)
    assert np.isfinite(grad).all()
    # The length of long rows does not matter, so nothing goes along them.
    long = np.linalg.norm(weight, axis=1) > 1.5
    np.testing.assert_allclose(np.asarray(grad)[long], 0, atol=1e-5)
    np.testing.assert_allclose(np.asarray(grad)[~long], 2 * weight[~long], rtol=1e-6)


def test_tied_embedding():
    embed = nn.Embedding.init(7, 4, key=KEY)
    h = embed(jnp.arange(7))
    close(embed.attend(h), np.asarray(embed.weight) @ np.asarray(embed.weight).T, 1e-6)
    grad = nr.grad(lambda e: e.attend(e(jnp.array([1, 1, 2]))).sum())(embed).weight
    total = np.asarray(embed.weight).sum(0)
    rows = np.asarray(embed.weight)
    expected = np.broadcast_to(rows[1] * 2 + rows[2], (7, 4)) + np.outer(
        [0, 2, 1, 0, 0, 0, 0], total
    )
    close(grad, expected.astype("float32"), 1e-5)


def test_initial_rows():
    embed = nn.Embedding.init(2000, 64, key=KEY, padding_idx=3)
    weight = np.asarray(embed.weight)
    assert not weight[3].any()
    # Norms are 1 on average, with a deviation of 1 / sqrt(2 * 64).
    assert abs(np.linalg.norm(weight, axis=1).mean() - 1) < 0.01
    assert nn.Embedding.init(3, 4, key=KEY, dtype="bfloat16").weight.dtype == "bfloat16"
    ones = nn.Embedding.init(3, 4, key=KEY, weight_init=nn.initializers.ones)
    assert np.all(ones(np.arange(3)) == 1)
    assert nn.Embedding.init(3, 0, key=KEY)(np.arange(3)).shape == (3, 0)


@pytest.mark.parametrize("bad", [6, -1, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("layer", [nn.Embedding, nn.EmbeddingBag])
def test_indices_are_checked(layer, bad):
    layer = layer(jnp.ones((6, 5)))
    indices = jnp.array([[0, 1], [bad, 2]])
    for f in (layer, nr.jit(lambda i: layer(i)), nr.vmap(layer)):
        with pytest.raises(IndexError, match=str(bad)):
            np.asarray(f(indices))
    assert layer(jnp.array([[255, 5]], "uint8")[:, 1:]).shape[-1] == 5


def test_transformations():
    embed = nn.Embedding.init(9, 4, key=KEY, padding_idx=0, max_norm=0.9)
    indices = RNG.integers(0, 9, (3, 5))
    np.testing.assert_array_equal(nr.vmap(embed)(jnp.asarray(indices)), embed(indices))
    stacked = nr.vmap(lambda k: nn.Embedding.init(9, 4, key=k))(nr.random.split(KEY, 2))
    total, _ = nr.lax.scan(lambda s, e: (s + e(indices), None), jnp.zeros((3, 5, 4)), stacked)
    close(total, stacked.weight[0][indices] + stacked.weight[1][indices], 1e-6)

    def loss(e):
        return (e(indices) ** 3).sum()

    close(nr.grad(nr.checkpoint(loss))(embed).weight, nr.grad(loss)(embed).weight, 1e-6)
    copy = pickle.loads(pickle.dumps(embed))
    assert (copy.padding_idx, copy.max_norm) == (0, 0.9)
    np.testing.assert_array_equal(copy(indices), embed(indices))
    half = embed.replace(weight=embed.weight.astype("bfloat16"))
    assert half(indices).dtype == "bfloat16"


# ---------------------------------------------------------------- bags
def torch_bag(torch, weight, ct, *args, **options):
    theirs = torch.tensor(weight, requires_grad=True)
    args = [torch.tensor(a) for a in args]
    y = torch.nn.functional.embedding_bag(args[0], theirs, *args[1:], **options)
    y.backward(torch.tensor(ct))
    return y.detach(), theirs.grad


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 7])
def test_bags_are_those_of_torch(torch, mode, padding_idx, dtype, size):
    weight, ct = random(6, 5, dtype=dtype), random(8, 5, dtype=dtype)
    indices = RNG.integers(0, 6, (8, size))
    # PyTorch gives all the gradient of a maximum to one of equal rows: here rows differ.
    if mode == "max":
        indices = np.argsort(RNG.random((8, 6)))[:, : min(size, 6)]
    indices[0] = 2  # with padding a bag in which nothing counts
    if mode == "max":
        indices[0] = np.arange(indices.shape[1])
    y, grad = torch_bag(torch, weight, ct, indices, mode=mode, padding_idx=padding_idx)

    def f(w):
        return nn.EmbeddingBag(w, mode, padding_idx)(indices)

    compare(f, weight, y, ct, grad, TOLERANCE[dtype])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize(
    "offsets", [[0, 3, 3, 5, 9], [0], [0, 0, 10, 10], list(range(10))], ids=str
)
def test_bags_by_offsets_are_those_of_torch(torch, mode, padding_idx, offsets):
    weight, ct = random(12, 5), random(len(offsets), 5)
    indices = RNG.permutation(12)[:10]
    offsets = np.array(offsets)
    y, grad = torch_bag(torch, weight, ct, indices, offsets, mode=mode, padding_idx=padding_idx)

    def f(weight):
        return nn.EmbeddingBag(weight, mode, padding_idx)(indices, offsets=offsets)

    compare(f, weight, y, ct, grad, 1e-5)


def test_weighted_bags_are_those_of_torch(torch):
    weight, ct = random(6, 5), random(8, 5)
    indices, factors = RNG.integers(0, 6, (8, 4)), random(8, 4)
    options = {"mode": "sum", "per_sample_weights": torch.tensor(factors)}
    y, grad = torch_bag(torch, weight, ct, indices, **options)

    def f(w):
        return nn.EmbeddingBag(w, "sum")(indices, weights=factors)

    compare(f, weight, y, ct, grad, 1e-5)

    def flat(w):
        return nn.EmbeddingBag(w, "sum")(
            indices.ravel(), offsets=np.arange(0, 32, 4), weights=factors.ravel()
        )

    compare(flat, weight, y, ct, grad, 1e-5)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_masks_leave_out(mode):
    bag = nn.EmbeddingBag(jnp.asarray(random(6, 5)), mode)
    indices = RNG.integers(0, 6, (2, 3, 4))
    mask = np.array([True, False, True, True])
    close(bag(indices, mask=np.broadcast_to(mask, indices.shape)), bag(indices[..., mask]), 1e-6)
    nothing = bag(indices, mask=np.zeros(indices.shape, bool))
    np.testing.assert_array_equal(nothing, np.zeros((2, 3, 5)))
    np.testing.assert_array_equal(bag(np.zeros((2, 0), int)), np.zeros((2, 5)))
    flat = bag(indices[0, 0], offsets=np.array([0, 2]), mask=mask)
    close(flat[0], bag(indices[0, 0, :1]), 1e-6)
    close(flat[1], bag(indices[0, 0, 2:]), 1e-6)


def test_rows_of_bags_are_not_stored():
    bag = nn.EmbeddingBag.init(1000, 64, key=KEY)
    indices = nr.ShapeDtypeStruct((32, 20), "int32")
    assert nr.plan(lambda b, i: b(i), bag, indices).temporary_bytes < 32 * 20 * 64


# ---------------------------------------------------------------- bilinear
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bilinear_is_that_of_torch(torch, batch, bias, dtype):
    layer = nn.Bilinear.init(3, 4, 5, key=KEY, bias=bias, dtype=dtype)
    if bias:
        layer = layer.replace(bias=jnp.asarray(random(5, dtype=dtype)))
    xs = [random(*batch, n, dtype=dtype) for n in (3, 4)]
    ct = random(*batch, 5, dtype=dtype)
    theirs = torch.nn.Bilinear(3, 4, 5, bias=bias)
    theirs.weight.data = torch.tensor(np.asarray(layer.weight).transpose(2, 0, 1).copy())
    if bias:
        theirs.bias.data = torch.tensor(np.asarray(layer.bias))
    inputs = [torch.tensor(x, requires_grad=True) for x in xs]
    y = theirs(*inputs)
    y.backward(torch.tensor(ct))
    tol = TOLERANCE[dtype]

    def outputs(layer, x1, x2):
        y, pull = nr.vjp(lambda layer, x1, x2: layer(x1, x2), layer, x1, x2)
        return y, pull(jnp.asarray(ct))

    for f in (outputs, nr.jit(outputs)):
        got, (dlayer, *dxs) = f(layer, *[jnp.asarray(x) for x in xs])
        close(got, y.detach(), tol)
        close(dlayer.weight, theirs.weight.grad.permute(1, 2, 0), tol)
        if bias:
            close(dlayer.bias, theirs.bias.grad, tol)
        for dx, x in zip(dxs, inputs, strict=True):
            close(dx, x.grad, tol)


def test_bilinear_keeps_variance_and_broadcasts():
    layer = nn.Bilinear.init(30, 20, 50, key=KEY)
    y = np.asarray(layer(random(1000, 30), random(1000, 20)))
    assert 0.8 < y.std() < 1.2
    assert layer(random(4, 1, 30), random(5, 20)).shape == (4, 5, 50)
    assert layer(random(0, 30), random(0, 20)).shape == (0, 50)


# ---------------------------------------------------------------- errors
TABLE = jnp.ones((6, 5))


@pytest.mark.parametrize(
    ("error", "message", "f"),
    [
        (TypeError, r'Embedding: integers were required; got f32\[2\] for "indices". Convert',
         lambda: nn.Embedding(TABLE)(jnp.ones(2))),
        (ValueError, "Embedding: a row of the table, 0 to 5, was required; got padding_idx=6",
         lambda: nn.Embedding.init(6, 5, key=KEY, padding_idx=6)),
        (ValueError, "EmbeddingBag: a row of the table, 0 to 5, was required; got padding_idx=-1",
         lambda: nn.EmbeddingBag.init(6, 5, key=KEY, padding_idx=-1)),
        (TypeError, r'Embedding.attend: \[..., 5\] was required; got f32\[2,4\] for "x"',
         lambda: nn.Embedding(TABLE).attend(jnp.ones((2, 4)))),
        (ValueError, 'EmbeddingBag: mode must be "sum", "mean" or "max"; got \'median\'',
         lambda: nn.EmbeddingBag(TABLE, "median")),
        (TypeError, r'EmbeddingBag: \[..., n\] was required; got i32\[\] for "indices"',
         lambda: nn.EmbeddingBag(TABLE)(jnp.asarray(1))),
        (ValueError, 'EmbeddingBag: weights are for mode "sum"; got mode=\'mean\'',
         lambda: nn.EmbeddingBag(TABLE)(jnp.arange(3), weights=jnp.ones(3))),
        (TypeError, r"EmbeddingBag: numbers of the shape of indices, \(3,\), were required; got "
         r'f32\[2\] for "weights"',
         lambda: nn.EmbeddingBag(TABLE, "sum")(jnp.arange(3), weights=jnp.ones(2))),
        (TypeError, r"EmbeddingBag: bools of the shape of indices, \(3,\), were required; got "
         r'f32\[3\] for "mask"', lambda: nn.EmbeddingBag(TABLE)(jnp.arange(3), mask=jnp.ones(3))),
        (TypeError, r'EmbeddingBag: \[n\] was required for "indices" and integers \[bags\] for '
         r'"offsets"; got i32\[1,3\] and i32\[1\]',
         lambda: nn.EmbeddingBag(TABLE)(jnp.arange(3)[None], offsets=jnp.array([0]))),
        (IndexError, "-1",
         lambda: nn.EmbeddingBag(TABLE)(jnp.arange(3), offsets=jnp.array([1]))),
        (TypeError, r'Bilinear: \[..., 3\] was required; got f32\[4\] for "x1"',
         lambda: nn.Bilinear.init(3, 4, 5, key=KEY)(jnp.ones(4), jnp.ones(4))),
        (TypeError, r'Bilinear: \[..., 4\] was required; got f32\[\] for "x2"',
         lambda: nn.Bilinear.init(3, 4, 5, key=KEY)(jnp.ones(3), 1.0)),
    ],
)  # fmt: skip
def test_errors(error, message, f):
    with pytest.raises(error, match=message):
        f()
