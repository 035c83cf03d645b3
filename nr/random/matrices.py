"""Distributions of vectors and matrices that need linear algebra."""

from __future__ import annotations

from typing import Any

from nr.core import dtypes
from nr.core.array import Array
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import abs as absolute
from nr.lax.elementwise import add, div, max, sqrt
from nr.lax.linalg import cholesky, eigh, qr, svd
from nr.lax.linalg.matrices import diagonal, matrix_transposed, product, scale_columns
from nr.lax.rules import const_like, operand
from nr.lax.shape import broadcast_shapes, canonical_shape, reshape
from nr.random.arguments import broadcast_to, float_dtype, parameter, sample_shape
from nr.random.continuous import normal


def multivariate_normal(
    key: Any, mean: Any, cov: Any, shape: Any = None, dtype: Any = None, method: str = "cholesky"
) -> Array:
    """Samples of normal vectors with a mean and a covariance.

    Args:
        key: a key, typed or raw.
        mean: ``[..., n]``.
        cov: ``[..., n, n]``, symmetric and positive definite.
        shape: of the result without n, by default that of mean and cov.
        dtype: of the standard normal samples, floating, by default the default float.
        method: how cov is factored: "cholesky", or "eigh" or "svd", which are slower and take
            matrices that are not quite definite.

    Returns:
        ``[*shape, n]``, of the dtype, or float32 where it is narrower.

    Raises:
        ValueError: if shapes don't fit.

    Example:
        >>> import nr, nr.numpy as jnp
        >>> nr.random.multivariate_normal(nr.random.key(0), jnp.zeros(2), jnp.eye(2), (5,)).shape
        (5, 2)
    """
    if method not in ("cholesky", "eigh", "svd"):
        raise ValueError(
            f'multivariate_normal: method must be "cholesky", "eigh" or "svd"; got {method!r}.'
        )
    dtype = float_dtype("multivariate_normal", dtype)
    mean, cov = operand("multivariate_normal", mean), operand("multivariate_normal", cov)
    n = mean.shape[-1] if mean.ndim else 0
    if not mean.ndim or cov.shape[-2:] != (n, n):
        raise ValueError(
            f'multivariate_normal: shapes [..., n] for "mean" and [..., n, n] for "cov" were '
            f"expected; got {mean.aval} and {cov.aval}."
        )
    if shape is None:
        shape = broadcast_shapes(mean.shape[:-1], cov.shape[:-2])
    else:
        shape = canonical_shape("multivariate_normal", shape)
    sample_shape("multivariate_normal", (*shape, n), mean=mean)
    sample_shape("multivariate_normal", (*shape, n, n), cov=cov)
    wide = dtypes.promote_types(dtype, "float32")
    mean = parameter("multivariate_normal", mean, wide, (*shape, n))
    cov = parameter("multivariate_normal", cov, wide, cov.shape)
    factor = broadcast_to(_factor(cov, method), (*shape, n, n))
    z = convert_element_type(normal(key, (*shape, n), dtype), wide)
    return add(mean, reshape(product(factor, reshape(z, (*shape, n, 1))), (*shape, n)))


def _factor(cov: Any, method: str) -> Any:
    """A matrix f with f f^T = cov."""
    if method == "cholesky":
        return cholesky(cov)
    if method == "svd":
        vectors, values, _ = svd(cov, full_matrices=False)
    else:
        vectors, values = eigh(cov)
        values = max(values, const_like(values, 0))  # below 0 they are rounding errors
    return scale_columns(vectors, sqrt(values))


def orthogonal(key: Any, n: int, shape: Any = (), dtype: Any = None, m: int | None = None) -> Array:
    """Matrices of the uniform (Haar) distribution over orthogonal matrices, or unitary ones.

    Args:
        key: a key, typed or raw.
        n: rows.
        shape: of the stack of matrices.
        dtype: floating or complex, by default the default float.
        m: columns, by default n; the rows or the columns are orthonormal.

    Returns:
        ``[*shape, n, m]``.

    Example:
        >>> import nr
        >>> q = nr.random.orthogonal(nr.random.key(0), 3)
        >>> bool(nr.numpy.allclose(q @ q.T, nr.numpy.eye(3), atol=1e-6))
        True
    """
    dtype = float_dtype("orthogonal", dtype, dtypes.INEXACT)
    shape = canonical_shape("orthogonal", shape)
    n, m = (int(x) for x in (n, n if m is None else m))
    # F. Mezzadri (2007), "How to generate random matrices from the classical compact groups"
    rows, columns = (n, m) if n >= m else (m, n)
    q, r = qr(normal(key, (*shape, rows, columns), dtype), full_matrices=False)
    d = diagonal(r)
    q = scale_columns(q, div(d, convert_element_type(absolute(d), dtype)))
    return q if n >= m else matrix_transposed(q)
