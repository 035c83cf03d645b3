"""Without this, random vectors and matrices could differ from JAX's, or miss their distribution."""

import numpy as np
import pytest

import nr

MEAN = np.array([1.0, -1.0, 0.5], np.float32)
COV = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.5]], np.float32)


# Of float16 are the standard normal samples only.
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [None, (4,), (2, 3)])
def test_multivariate_normal_is_that_of_jax(shape, dtype):
    jax = pytest.importorskip("jax")
    got = nr.random.multivariate_normal(nr.random.key(3), MEAN, COV, shape, dtype)
    expected = jax.random.multivariate_normal(jax.random.key(3), MEAN, COV, shape, dtype)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["cholesky", "eigh", "svd"])
def test_moments(method):
    key = nr.random.key(0)
    x = np.asarray(nr.random.multivariate_normal(key, MEAN, COV, (20000,), method=method))
    # means of 20000 have standard deviations below 0.01, covariances below 0.02
    np.testing.assert_allclose(x.mean(0), MEAN, atol=0.05)
    np.testing.assert_allclose(np.cov(x.T), COV, atol=0.1)


def test_many_means_and_covariances():
    means, covs = np.stack([MEAN, -MEAN]), np.stack([COV, np.eye(3, dtype=np.float32)])
    x = nr.random.multivariate_normal(nr.random.key(0), means, covs)
    assert x.shape == (2, 3)
    with pytest.raises(ValueError, match="multivariate_normal: shapes"):
        nr.random.multivariate_normal(nr.random.key(0), MEAN, COV[:2])
    with pytest.raises(ValueError, match="method must be"):
        nr.random.multivariate_normal(nr.random.key(0), MEAN, COV, method="lu")


@pytest.mark.parametrize(("n", "m"), [(3, None), (4, 2), (2, 4)])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_orthogonal_is_that_of_jax(n, m, dtype):
    jax = pytest.importorskip("jax")
    got = np.asarray(nr.random.orthogonal(nr.random.key(1), n, (2,), dtype, m))
    expected = jax.random.orthogonal(jax.random.key(1), n, (2,), dtype, m)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    small = got @ got.conj().mT if n <= got.shape[-1] else got.conj().mT @ got
    np.testing.assert_allclose(
        small, np.broadcast_to(np.eye(small.shape[-1]), small.shape), atol=1e-5
    )
