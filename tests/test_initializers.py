"""Without this initializers could give other numbers than JAX's, or lack what they promise."""

import math

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.nn import initializers

SHAPE = (3, 3, 4, 8)
MAKERS = [
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "kaiming_normal",
    "kaiming_uniform", "lecun_normal", "lecun_uniform", "xavier_normal", "xavier_uniform",
    "normal", "uniform", "truncated_normal",
]  # fmt: skip
# nr.random promises 4 ulp for samplers; a product rounds once more.
INIT_RTOL = 6 * 1.2e-7


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def close(got, expected):
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    assert np.dtype(got.dtype) == expected.dtype
    np.testing.assert_allclose(np.asarray(got), expected, rtol=INIT_RTOL, atol=0)


@pytest.mark.parametrize("name", MAKERS)
def test_initializers_give_the_numbers_of_jax(name, jax):
    ours, theirs = getattr(initializers, name)(), getattr(jax.nn.initializers, name)()
    expected = theirs(jax.random.key(7), SHAPE)
    close(ours(nr.random.key(7), SHAPE), expected)
    compiled = nr.jit(lambda key: ours(key, SHAPE))(nr.random.key(7))
    close(compiled, expected)
    assert ours(nr.random.key(7), SHAPE, "bfloat16").dtype == "bfloat16"


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
def test_variance_scaling(mode, distribution, jax):
    args = (0.7, mode, distribution, 0, (-1, 2), 1)
    close(
        initializers.variance_scaling(*args)(nr.random.key(3), (4, 5, 6, 7)),
        jax.nn.initializers.variance_scaling(*args)(jax.random.key(3), (4, 5, 6, 7)),
    )


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_variance_scaling(distribution, dtype, jax):
    ours = initializers.variance_scaling(2.0, "fan_avg", distribution)
    got = ours(nr.random.key(7), (40, 30), dtype)
    assert got.dtype == dtype
    # 1200 samples meet the variance 2 / fan_avg within a few percent
    np.testing.assert_allclose(np.mean(np.abs(np.asarray(got)) ** 2), 2 / 35, rtol=0.1)
    if dtype == "complex64":
        make = jax.nn.initializers.variance_scaling(2.0, "fan_avg", distribution)
        expected = np.asarray(make(jax.random.key(7), (40, 30), dtype))
        # sin and cos near their zeros: absolute, a few roundings of numbers up to 1
        np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=4e-7)


def test_truncated_normal_bounds_and_constants(jax):
    close(
        initializers.truncated_normal(0.5, lower=-1.0, upper=3.0)(nr.random.key(1), (50,)),
        jax.nn.initializers.truncated_normal(0.5, lower=-1.0, upper=3.0)(jax.random.key(1), (50,)),
    )
    np.testing.assert_array_equal(initializers.zeros(None, (2,)), [0, 0])
    np.testing.assert_array_equal(initializers.ones(None, (2,), "int32"), [1, 1])
    np.testing.assert_array_equal(initializers.constant([1.0, 2.0])(None, (2, 2)), [[1, 2]] * 2)


# ---------------------------------------------------------------- orthogonal
# float32's rounding (6e-8) through a factorization of up to 36 rows.
ORTHOGONAL = 2e-6


@pytest.mark.parametrize("shape", [(5, 5), (8, 3), (3, 8), (3, 3, 4, 6)])
@pytest.mark.parametrize("column_axis", [-1, 0])
def test_orthogonal_is_that_of_jax(shape, column_axis, jax):
    make = jax.nn.initializers.orthogonal(1.5, column_axis)
    ours = initializers.orthogonal(1.5, column_axis)
    expected = make(jax.random.key(2), shape)
    for run in (ours, nr.jit(ours, static_argnums=1)):
        got = run(nr.random.key(2), shape)
        np.testing.assert_allclose(got, expected, atol=ORTHOGONAL)
    matrix = np.moveaxis(np.asarray(got), column_axis, -1).reshape(-1, shape[column_axis]) / 1.5
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=ORTHOGONAL)


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 4, 2, 2), (1, 2, 3, 2, 5)])
def test_delta_orthogonal_is_that_of_jax(shape, jax):
    ours, theirs = (lib.delta_orthogonal(0.5) for lib in (initializers, jax.nn.initializers))
    got, expected = ours(nr.random.key(2), shape), theirs(jax.random.key(2), shape)
    np.testing.assert_allclose(got, expected, atol=ORTHOGONAL)
    kernel = np.asarray(got).reshape(-1, *shape[-2:])
    assert (np.abs(kernel).sum((1, 2)) > 0).sum() == 1
    gram = kernel.sum(0) @ kernel.sum(0).T
    np.testing.assert_allclose(gram, 0.25 * np.eye(shape[-2]), atol=ORTHOGONAL)


def test_orthogonal_dtypes_and_stacks():
    assert initializers.orthogonal()(nr.random.key(0), (0, 3)).shape == (0, 3)
    for make in (initializers.orthogonal(), initializers.orthogonal(dtype="float64")):
        assert make(nr.random.key(0), (3, 3), "bfloat16").dtype == "bfloat16"
    assert make(nr.random.key(0), (3, 3)).dtype == "float64"
    keys = nr.random.split(nr.random.key(0), 4)
    stack = nr.vmap(lambda key: make(key, (3, 3)))(keys)
    np.testing.assert_allclose(
        stack @ jnp.matrix_transpose(stack), np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-14
    )


# ---------------------------------------------------------------- torch's
@pytest.mark.parametrize("groups, shape", [
    (1, (3, 2, 4)), (1, (3, 4, 5, 3)), (2, (3, 2, 4)), (3, (2, 3, 1, 2, 6)),
])  # fmt: skip
def test_dirac_is_that_of_torch(groups, shape):
    torch = pytest.importorskip("torch")
    *window, inputs, outputs = shape
    expected = torch.nn.init.dirac_(torch.empty(outputs, inputs, *window), groups)
    expected = np.moveaxis(expected.numpy(), [0, 1], [-1, -2])
    got = initializers.dirac(groups)(None, shape)
    np.testing.assert_array_equal(got, expected)
    assert initializers.dirac(groups, "float64")(None, shape, "bfloat16").dtype == "bfloat16"


def test_convolution_with_dirac_passes_channels_on():
    x = np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32)
    kernel = initializers.dirac()(None, (3, 3, 3))
    y = nr.lax.conv_general_dilated(
        x, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    np.testing.assert_array_equal(y, x)


def test_eye_and_gains_are_those_of_torch():
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.eye_(torch.empty(3, 5)).numpy()
    np.testing.assert_array_equal(initializers.eye(None, (3, 5)), expected)
    assert initializers.eye(None, (3, 5), "float64").dtype == "float64"
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        gain = initializers.calculate_gain(name)
        assert gain == pytest.approx(torch.nn.init.calculate_gain(name))
    slope = initializers.calculate_gain("leaky_relu", 0.3)
    assert slope == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))


@pytest.mark.parametrize("sparsity", [0.0, 0.33, 1.0])
def test_sparse_leaves_few_inputs_to_each_output(sparsity):
    weight = np.asarray(initializers.sparse(sparsity, 2.0)(nr.random.key(0), (200, 100)))
    zeros = math.ceil(sparsity * 200)
    assert ((weight == 0).sum(0) == zeros).all()
    if sparsity < 1:
        # Five standard errors of a standard deviation.
        error = 5 * 2 / math.sqrt(2 * weight.size * (1 - sparsity))
        assert abs(weight[weight != 0].std() - 2) < error
    if sparsity == 0.33:
        # Zeros are spread over inputs: five standard deviations of a count.
        counts = (weight == 0).sum(1)
        assert (np.abs(counts - 33) < 5 * math.sqrt(100 * 0.33 * 0.67)).all()
        assert counts.std() > 1


# ---------------------------------------------------------------- errors
def test_errors():
    raises, key = pytest.raises, nr.random.key(0)
    with raises(ValueError, match="mode must be"):
        initializers.variance_scaling(1.0, "fan", "normal")
    with raises(ValueError, match="distribution must be"):
        initializers.variance_scaling(1.0, "fan_in", "gaussian")
    with raises(ValueError, match=r"got \(3,\). For biases use initializers.zeros"):
        initializers.lecun_normal()(key, (3,))
    with raises(ValueError, match="a floating dtype was required; got i32"):
        initializers.lecun_normal()(key, (3, 3), "int32")
    with raises(ValueError, match=r"orthogonal: .* got \(3,\)"):
        initializers.orthogonal()(key, (3,))
    with raises(ValueError, match=r"delta_orthogonal: .* got \(3, 3\)"):
        initializers.delta_orthogonal()(key, (3, 3))
    with raises(ValueError, match=r"at least 4 outputs.* got \(3, 4, 2\)"):
        initializers.delta_orthogonal()(key, (3, 4, 2))
    with raises(ValueError, match=r"eye: .* got \(3, 3, 3\)"):
        initializers.eye(None, (3, 3, 3))
    with raises(ValueError, match=r"dirac: .* a multiple of 2 was required; got \(3, 1, 3\)"):
        initializers.dirac(2)(None, (3, 1, 3))
    with raises(ValueError, match=r"sparsity must be in \[0, 1\]; got 2"):
        initializers.sparse(2)
    with raises(ValueError, match=r"sparse: a shape \[in, out\] was required; got \(3,\)"):
        initializers.sparse(0.5)(key, (3,))
    with raises(ValueError, match="calculate_gain: one of linear, .* got 'gelu'"):
        initializers.calculate_gain("gelu")
