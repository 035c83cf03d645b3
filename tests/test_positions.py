"""Without this tokens could stand at other places than their models were trained with."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn

RNG = np.random.default_rng(0)
# A product and a sum of numbers around 1, and an angle rounded once, in each dtype; angles of
# positions around 100 are rounded to 4e-6.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 0.03}


def normal(*shape, dtype="float64"):
    return RNG.normal(size=shape).astype(dtype)


def turned(x, positions, base=10000.0, dims=None, interleaved=False):
    """Rotary by complex numbers, in float64: a pair is one, and is multiplied by exp(i angle)."""
    x = np.asarray(x, np.float64)
    dims = x.shape[-1] if dims is None else dims
    rates = base ** (-2 * np.arange(dims // 2) / dims)
    factor = np.exp(1j * np.asarray(positions)[..., None, None] * rates)
    first = slice(0, dims, 2) if interleaved else slice(0, dims // 2)
    second = slice(1, dims, 2) if interleaved else slice(dims // 2, dims)
    z = (x[..., first] + 1j * x[..., second]) * factor
    out = x.copy()
    out[..., first], out[..., second] = z.real, z.imag
    return out


# ---------------------------------------------------------------- rotary
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dims", [None, 6])
@pytest.mark.parametrize("given", ["default", "vector", "each", "shared"])
def test_rotary_multiplies_complex_numbers(dtype, interleaved, dims, given):
    x = jnp.asarray(normal(2, 5, 3, 8), dtype)
    positions = {
        "default": None,
        "vector": np.arange(100, 105),
        "each": np.array([[0, 1, 2, 3, 4], [7, 7, 9, 100, 3]]),
        "shared": np.array([[3, 1, 4, 1, 5]]),
    }[given]
    rotary = nn.Rotary(500.0, dims, interleaved)
    expected = turned(x, np.arange(5) if positions is None else positions, 500.0, dims, interleaved)
    for f in (rotary, nr.jit(rotary)):
        got = f(x) if positions is None else f(x, positions)
        assert got.dtype == dtype
        np.testing.assert_allclose(np.asarray(got, "float64"), expected, atol=TOLERANCE[dtype])


def test_scores_of_turned_queries_and_keys_depend_on_the_distance_only():
    q, k = normal(1, 1, 16), normal(1, 1, 16)
    rotary = nn.Rotary()

    def score(i, j):
        return float(jnp.sum(rotary(q, np.array([i])) * rotary(k, np.array([j]))))

    assert abs(score(3, 1) - score(1002, 1000)) < 1e-10
    assert abs(score(3, 1) - score(3, 2)) > 1e-3


def test_the_gradient_of_rotary_is_turned_back():
    x, y = normal(4, 2, 8), normal(4, 2, 8)
    for interleaved in (False, True):
        rotary = nn.Rotary(interleaved=interleaved)
        gradient = nr.jit(nr.grad(lambda x, rotary=rotary: jnp.sum(rotary(x) * y)))
        np.testing.assert_allclose(gradient(x), turned(y, -np.arange(4), interleaved=interleaved))
        text = gradient.lower(x).compile().as_text("report")
        assert "everything is compiled" in text


def test_positions_may_be_traced():
    x = normal(3, 2, 4)
    rotary = nn.Rotary()
    f = nr.jit(lambda x, start: rotary(x, start + jnp.arange(3)))
    np.testing.assert_allclose(f(x, 5), turned(x, [5, 6, 7]), rtol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nn.Rotary()(np.ones((2, 4), "f4")), r'\[..., T, N, H\].*got f32\[2,4\] for "x"'),
        (lambda: nn.Rotary()(np.ones((2, 3, 4), "i4")), r"floating .* was required; got i32"),
        (lambda: nn.Rotary()(np.ones((2, 3, 5))), r"even number .* at most 5.*got 5"),
        (lambda: nn.Rotary(dims=6)(np.ones((2, 3, 4))), r"at most 4, was required; got 6"),
        (lambda: nn.Rotary()(np.ones((2, 3, 4)), np.arange(3)), r'got i64\[3\] for "positions"'),
        (lambda: nn.Rotary()(np.ones((2, 3, 4)), 1), r'got i32\[\] for "positions"'),
        (
            lambda: nn.Rotary()(np.ones((2, 3, 4)), np.ones(2, bool)),
            r"integers or floats .* b1",
        ),
        (lambda: nn.alibi_bias(2, 3), r'\[..., length\] was required; got i32\[\] for "positions"'),
        (lambda: nn.alibi_bias(2, np.arange(1), 3), r'got i32\[\] for "key_positions"'),
    ],
)
def test_arguments_that_do_not_fit(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_numbers_that_make_no_sense():
    with pytest.raises(ValueError, match="at least 1 head was required; got 0"):
        nn.alibi_slopes(0)
    with pytest.raises(ValueError, match="even number of features was required; got 3"):
        nn.sinusoidal_positions(4, 3)


# ---------------------------------------------------------------- ALiBi
def test_slopes_are_those_of_the_paper():
    # "For our models with 8 heads the slopes are 1/2, 1/4, ..., 1/256"; with 16, that set with
    # its geometric means.
    np.testing.assert_array_equal(nn.alibi_slopes(8), 0.5 ** np.arange(1, 9, dtype="f4"))
    np.testing.assert_allclose(nn.alibi_slopes(16), 0.5 ** np.arange(0.5, 8.5, 0.5), rtol=1e-7)
    # Its program, for numbers that are no power of 2: those of 8, then every other one of 16.
    np.testing.assert_allclose(
        nn.alibi_slopes(12),
        [*0.5 ** np.arange(1.0, 9.0), *0.5 ** np.array([0.5, 1.5, 2.5, 3.5])],
        rtol=1e-7,
    )
    assert nn.alibi_slopes(1).tolist() == [1 / 256]


def test_alibi_bias_falls_with_the_distance():
    positions, keys = np.array([[3, 4], [0, 9]], "uint8"), np.array([[0, 3, 5], [1, 2, 3]], "uint8")
    got = nr.jit(lambda i, j: nn.alibi_bias(2, i, j))(positions, keys)
    distances = np.abs(positions[:, None, :, None] - keys[:, None, None, :].astype(int))
    np.testing.assert_array_equal(got, -distances * np.array([1 / 16, 1 / 256])[:, None, None])
    assert got.dtype == "float32"


# ---------------------------------------------------------------- sinusoids
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_sinusoids_are_those_of_the_formula(dtype):
    i, p = np.arange(4), np.arange(120)[:, None]
    angles = p / 10000 ** (2 * i / 8)
    expected = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(120, 8)
    table = nn.sinusoidal_positions(120, 8, dtype=dtype)
    assert table.dtype == dtype
    np.testing.assert_allclose(np.asarray(table, "f8"), expected, atol=TOLERANCE[dtype])
    some = nr.jit(lambda p: nn.sinusoidal_positions(p, 8, dtype=dtype))(np.array([[7], [100]]))
    np.testing.assert_allclose(
        np.asarray(some, "f8")[:, 0], expected[[7, 100]], atol=TOLERANCE[dtype]
    )
    assert not np.allclose(nn.sinusoidal_positions(4, 8, base=10), expected[:4])
