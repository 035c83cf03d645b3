"""Without this, elements could land in wrong places when arrays are reshaped, joined or padded."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.numpy import asarray, ones, zeros

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4)).astype(np.float32)
S = X[0]
V = np.arange(6, dtype=np.float32)
INTS = RNG.integers(-9, 9, (3, 4)).astype(np.int32)
BYTES = RNG.integers(0, 256, (3, 4)).astype(np.uint8)

SHAPES = [
    lambda m, x: m.reshape(x, (4, -1)),
    lambda m, x: m.reshape(x, (4, 6), order="F"),
    lambda m, x: m.ravel(x, order="F"),
    lambda m, x: m.transpose(x),
    lambda m, x: m.transpose(x, (1, -1, 0)),
    lambda m, x: m.permute_dims(x, (2, 0, 1)),
    lambda m, x: m.matrix_transpose(x),
    lambda m, x: m.swapaxes(x, 0, -1),
    lambda m, x: m.moveaxis(x, (0, 1), (-1, 0)),
    lambda m, x: m.rollaxis(x, 2),
    lambda m, x: m.rollaxis(x, 0, 3),
    lambda m, x: m.rollaxis(x, 1, -1),
    lambda m, x: m.expand_dims(x, (0, -1)),
    lambda m, x: m.squeeze(m.reshape(x, (1, 24, 1)), -1),
    lambda m, x: m.atleast_3d(m.ravel(x)),
    lambda m, x: m.broadcast_to(x, (5, 2, 3, 4)),
    lambda m, x: m.tile(x, (2, 1, 1, 3)),
    lambda m, x: m.repeat(x, 2),
    lambda m, x: m.repeat(x, np.array([1, 0, 3]), axis=1),
    lambda m, x: m.flip(x, (0, 2)),
    lambda m, x: m.fliplr(x),
    lambda m, x: m.roll(x, 5),
    lambda m, x: m.roll(x, (1, -2), axis=(0, 2)),
    lambda m, x: m.rot90(x, 1, (1, 2)),
    lambda m, x: m.rot90(x, -1, (2, 0)),
    lambda m, x: m.rot90(x, 2),
]
JOINS = [
    lambda m, x: m.concatenate([x, x], 1),
    lambda m, x: m.concatenate([x, m.ravel(x)], None),
    lambda m, x: m.concat([x, x], axis=-1),
    lambda m, x: m.stack([x, x], axis=-1),
    lambda m, x: m.hstack([x, x]),
    lambda m, x: m.vstack([m.ravel(x), m.ravel(x)]),
    lambda m, x: m.dstack([x, x]),
    lambda m, x: m.column_stack([m.ravel(x), m.ravel(x)]),
    lambda m, x: m.block([[x, x], [x, x]]),
    lambda m, x: m.append(x, x, axis=0),
    lambda m, x: m.split(x, [1, 3], axis=2)[1],
    lambda m, x: m.array_split(x, 3, axis=2)[0],
    lambda m, x: m.hsplit(x, 3)[2],
    lambda m, x: m.vsplit(x, 2)[1],
    lambda m, x: m.dsplit(x, 2)[1],
    lambda m, x: m.insert(x, 1, 5, axis=1),
    lambda m, x: m.insert(m.ravel(x), [3, 1], [7, 8]),
    lambda m, x: m.insert(x, slice(0, 2), 9, axis=2),
    lambda m, x: m.insert(x, [1], np.ones((2, 1, 4), np.float32), axis=1),
    lambda m, x: m.delete(x, [0, -1], axis=1),
    lambda m, x: m.delete(x, slice(0, 4, 2), axis=2),
    lambda m, x: m.delete(x, np.array([True, False, True]), axis=1),
    lambda m, x: m.resize(x, (5, 7)),
]
FUNCTIONALS = [
    lambda m, x: m.apply_along_axis(m.cumsum, 1, x),
    lambda m, x: m.apply_along_axis(m.sum, 0, x),
    lambda m, x: m.apply_over_axes(m.sum, x, [0, 2]),
]


@pytest.mark.parametrize("f", SHAPES + JOINS + FUNCTIONALS)
def test_values_equal_numpy_and_jit_equals_eager(f):
    want = f(np, X)
    got = f(jnp, asarray(X))
    assert got.dtype == np.float32
    # Elements are only moved; running sums differ by float32 rounding.
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(nr.jit(lambda x: f(jnp, x))(asarray(X))), got)


@pytest.mark.parametrize("f", SHAPES + JOINS)
def test_gradients_are_counts_of_uses(f):
    weights = RNG.normal(size=f(np, X).shape).astype(np.float32)
    got = nr.grad(lambda x: jnp.sum(nr.lax.mul(f(jnp, x), asarray(weights))))(asarray(X))
    want = np.zeros(X.size)
    places = f(np, np.arange(1, X.size + 1, dtype=np.float32).reshape(X.shape))
    base = f(np, np.zeros(X.shape, np.float32))
    for place, weight in zip((places - base).ravel(), weights.ravel(), strict=True):
        if place:
            want[int(place) - 1] += weight
    np.testing.assert_allclose(np.asarray(got).ravel(), want, rtol=1e-5, atol=1e-6)


WIDTHS = [2, (1, 2), ((1, 5), (9, 3))]


@pytest.mark.parametrize("width", WIDTHS, ids=["same", "sides", "axes"])
@pytest.mark.parametrize(
    "mode, options",
    [
        ("constant", {}),
        ("constant", {"constant_values": 7}),
        ("constant", {"constant_values": (1, 2)}),
        ("constant", {"constant_values": ((1, 2), (3, 4))}),
        ("edge", {}),
        ("reflect", {}),
        ("reflect", {"reflect_type": "odd"}),
        ("symmetric", {}),
        ("symmetric", {"reflect_type": "odd"}),
        ("wrap", {}),
        ("linear_ramp", {"end_values": ((1, 2), (3, 4))}),
        ("maximum", {}),
        ("minimum", {"stat_length": 2}),
        ("mean", {"stat_length": ((1, 2), (2, 3))}),
        ("median", {}),
    ],
)
def test_pad_equals_numpy(mode, options, width):
    for x in (S, INTS):
        want = np.pad(x, width, mode, **options)
        got = jnp.pad(asarray(x), width, mode, **options)
        assert got.dtype == x.dtype
        # Means, ramps and odd reflections round in float32 a few times.
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-5, atol=1e-5)
        traced = nr.jit(lambda x: jnp.pad(x, width, mode, **options))(asarray(x))
        np.testing.assert_allclose(np.asarray(traced), np.asarray(got), rtol=1e-5, atol=1e-5)


def test_pad_with_function_traced_value_and_dict():
    def fill(line, width, axis, options):
        return nr.lax.add(line, options["by"])

    got = jnp.pad(asarray(V), 1, fill, by=asarray(1.0))
    np.testing.assert_array_equal(np.asarray(got), [1, 1, 2, 3, 4, 5, 6, 1])
    slope = nr.grad(lambda c: jnp.sum(jnp.pad(asarray(S), 1, constant_values=c)))(2.0)
    assert float(slope) == 5 * 6 - 12
    got = jnp.pad(asarray(S), {-1: (1, 2)})
    np.testing.assert_array_equal(np.asarray(got), np.pad(S, ((0, 0), (1, 2))))


def test_bits_equal_numpy():
    for kwargs in ({}, {"axis": 1}, {"axis": 0, "bitorder": "little"}):
        bits = INTS > 0
        np.testing.assert_array_equal(
            np.asarray(jnp.packbits(asarray(bits), **kwargs)), np.packbits(bits, **kwargs)
        )
        for count in (None, 5, -3, 200):
            np.testing.assert_array_equal(
                np.asarray(jnp.unpackbits(asarray(BYTES), count=count, **kwargs)),
                np.unpackbits(BYTES, count=count, **kwargs),
            )


def test_sequences():
    assert jnp.stack([1, 2.5]).dtype == np.float32
    assert jnp.concatenate([asarray(S), asarray(INTS)]).dtype == np.float32
    assert jnp.concatenate([[1, 2], [3]]).tolist() == [1, 2, 3]
    assert jnp.concatenate(asarray(S)).shape == (12,)
    assert [x.tolist() for x in jnp.unstack(asarray([[1, 2], [3, 4]]), axis=1)] == [
        [1, 3],
        [2, 4],
    ]
    a, b = jnp.broadcast_arrays(asarray(V), ones((2, 1)))
    assert a.shape == b.shape == (2, 6)
    assert jnp.broadcast_shapes((2, 1), (3,)) == (2, 3)
    assert jnp.size(asarray(X), (0, 2)) == 8
    assert jnp.trim_zeros(asarray([0, 1, 0, 2, 0])).tolist() == [1, 0, 2]


def test_axes_in_arrays():
    x = np.arange(24.0).reshape(2, 3, 4)
    for of in (np.array, jnp.array):
        axes = of([0, 2])
        assert np.array_equal(jnp.moveaxis(x, axes, of([1, 0])), np.moveaxis(x, [0, 2], [1, 0]))
        assert np.array_equal(jnp.sum(x, axis=axes), x.sum((0, 2)))
        assert np.array_equal(jnp.flip(x, axes), np.flip(x, (0, 2)))
        assert jnp.expand_dims(x, axes).shape == (1, 2, 1, 3, 4)
        assert jnp.squeeze(x[None], of([0])).shape == x.shape


def test_traced_counts_and_positions():
    x = asarray(V)
    counts = asarray([1, 0, 2, 0, 1, 0])
    repeat = nr.jit(lambda x, n: jnp.repeat(x, n, total_repeat_length=6))
    assert repeat(x, counts).tolist() == [0, 2, 2, 4, 5, 5]
    assert jnp.repeat(x, counts, total_repeat_length=6).tolist() == [0, 2, 2, 4, 5, 5]
    for shift in (-7, 0, 4):
        got = nr.jit(lambda x, s: jnp.roll(x, s))(x, shift)
        np.testing.assert_array_equal(np.asarray(got), np.roll(V, shift))
    delete = nr.jit(lambda x, i: jnp.delete(x, i, assume_unique_indices=True))
    assert delete(x, asarray([4, -6])).tolist() == [1, 2, 3, 5]
    assert delete(x, -1).tolist() == [0, 1, 2, 3, 4]
    corners = jnp.delete(jnp.arange(4), np.array([[1], [-2]]))
    np.testing.assert_array_equal(corners, [0, 3])


def test_vectorize():
    def outer(x, y):
        return nr.lax.mul(jnp.broadcast_to(x[:, None], (3, 4)), y[None].repeat(3, 0))

    got = jnp.vectorize(outer, signature="(n),(m)->(n,m)")(asarray(X[..., 0]), asarray(S[0]))
    np.testing.assert_allclose(np.asarray(got), np.einsum("bn,m->bnm", X[..., 0], S[0]), rtol=1e-6)
    add = jnp.vectorize(nr.lax.add)
    np.testing.assert_array_equal(np.asarray(add(asarray(S), asarray(S[:, :1]))), S + S[:, :1])
    pair = jnp.vectorize(lambda x: (jnp.sum(x), x), signature="(n)->(),(n)")
    assert [y.shape for y in pair(asarray(X))] == [(2, 3), (2, 3, 4)]
    power = jnp.vectorize(lambda x, n: nr.lax.integer_pow(x, n), excluded={1})
    assert power(asarray(V), 2).tolist() == [0, 1, 4, 9, 16, 25]
    assert jnp.vectorize(nr.lax.neg)(ones((1, 3, 1))).shape == (1, 3, 1)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: jnp.reshape(zeros(4), (3, -1)), TypeError, r"f32\[4\]"),
        (lambda: jnp.reshape(zeros(4), (3,)), TypeError, "number of elements"),
        (lambda: jnp.reshape([1, 2], (2, 1)), TypeError, "reshape: an array"),
        (lambda: jnp.transpose(zeros((2, 3)), (0,)), ValueError, "transpose"),
        (lambda: jnp.squeeze(zeros((1, 2)), 1), ValueError, "axis 1"),
        (lambda: jnp.moveaxis(zeros((1, 2)), 0, 5), ValueError, "out of bounds"),
        (lambda: jnp.broadcast_to(zeros(3), (2, 2)), ValueError, r"f32\[3\]"),
        (lambda: jnp.broadcast_arrays(zeros(3), zeros(2)), ValueError, "Incompatible"),
        (lambda: jnp.repeat(zeros(3), np.array([1, 2])), ValueError, "repeats"),
        (lambda: nr.jit(jnp.repeat)(zeros(3), asarray([1, 2, 0])), TypeError, "total_"),
        (lambda: jnp.unpackbits(zeros(3)), TypeError, "u8 was expected"),
        (lambda: jnp.concatenate([]), ValueError, "at least one"),
        (lambda: jnp.concatenate([1, 2]), ValueError, "rank 0"),
        (lambda: jnp.concatenate([zeros((2, 2)), zeros((3, 3))]), TypeError, "extents"),
        (lambda: jnp.stack([zeros(2), zeros(3)]), ValueError, "same shape"),
        (lambda: jnp.stack(1), TypeError, "sequence"),
        (lambda: jnp.split(zeros(5), 2), ValueError, "array_split"),
        (lambda: jnp.block([[zeros(1)], zeros(1)]), ValueError, "nested"),
        (lambda: jnp.delete(zeros(3), 5), IndexError, "positions"),
        (lambda: jnp.delete(zeros(3), np.array([True, False])), ValueError, "a mask must have"),
        (lambda: jnp.pad(zeros(3), -1), ValueError, "negative"),
        (lambda: jnp.pad(zeros(3), 1.5), TypeError, "integers"),
        (lambda: jnp.pad(zeros(3), 1, "foo"), ValueError, "'foo'"),
        (lambda: jnp.pad(zeros(3), 1, "edge", end_values=1), ValueError, "end_values"),
        (lambda: jnp.pad(zeros(0), 1, "wrap"), ValueError, "empty axis"),
        (lambda: jnp.vectorize(abs, signature="(n->()"), ValueError, "signature"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
