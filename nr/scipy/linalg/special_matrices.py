"""Matrices with a structure, from their elements or by their size alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.numpy.promotion import promote, promote_inexact

__all__ = [
    "block_diag",
    "circulant",
    "companion",
    "convolution_matrix",
    "dft",
    "fiedler",
    "fiedler_companion",
    "hadamard",
    "hankel",
    "helmert",
    "hilbert",
    "invhilbert",
    "invpascal",
    "leslie",
    "pascal",
    "toeplitz",
]


# ---------------------------------------------------------------- from their elements
def block_diag(*arrs: Any) -> Array:
    """A matrix with the given ones along its diagonal, and zeros elsewhere.

    Example:
        >>> import nr.numpy as jnp
        >>> block_diag(jnp.array([[1, 2]]), 3)
        Array([[1, 2, 0],
               [0, 0, 3]], dtype=int32)
    """
    if not arrs:
        raise ValueError("block_diag: at least one array was expected; got none.")
    blocks = promote("block_diag", *arrs)
    for x in blocks:
        if x.ndim > 2:
            raise ValueError(f"block_diag: arrays of rank 2 or less were expected; got {x.aval}.")
    blocks = [jnp.atleast_2d(x) for x in blocks]
    columns, left, rows = sum([x.shape[1] for x in blocks]), 0, []
    for x in blocks:
        right = columns - left - x.shape[1]
        rows.append(lax.pad(x, x.dtype.type(0), [(0, 0, 0), (left, right, 0)]))
        left += x.shape[1]
    return lax.concatenate(rows, 0)


def toeplitz(c: Any, r: Any = None) -> Array:
    """The matrix with constant diagonals that has the first column c and the first row r.

    Args:
        c: ``[..., m]``.
        r: ``[..., n]``, of which the first element is not read; by default the conjugate of c.

    Example:
        >>> import nr.numpy as jnp
        >>> toeplitz(jnp.array([1, 2, 3]), jnp.array([1, 5]))
        Array([[1, 5],
               [2, 1],
               [3, 2]], dtype=int32)
    """
    (c,) = promote("toeplitz", c)
    r = jnp.conj(c) if r is None else r
    c, r = _lines("toeplitz", c, r)
    m, n = c.shape[-1], r.shape[-1]
    line = jnp.concatenate([jnp.flip(c, -1), r[..., 1:]], axis=-1)
    places = np.arange(m)[::-1, None] + np.arange(n)
    return jnp.take(line, places, axis=-1)


def _lines(op: str, c: Any, r: Any) -> list[Array]:
    """A column and a row in one dtype, in stacks of one shape."""
    lines = [jnp.atleast_1d(x) for x in promote(op, c, r)]
    lead = lax.broadcast_shapes(*[x.shape[:-1] for x in lines])
    return [jnp.broadcast_to(x, (*lead, x.shape[-1])) for x in lines]


def hankel(c: Any, r: Any = None) -> Array:
    """The matrix with constant antidiagonals that has the first column c and the last row r.

    Args:
        c: ``[..., m]``.
        r: ``[..., n]``, of which the first element is not read; by default zeros like c.

    Example:
        >>> import nr.numpy as jnp
        >>> hankel(jnp.array([1, 2, 3]), jnp.array([0, 5]))
        Array([[1, 2],
               [2, 3],
               [3, 5]], dtype=int32)
    """
    (c,) = promote("hankel", c)
    c, r = _lines("hankel", c, jnp.zeros_like(c) if r is None else r)
    line = jnp.concatenate([c, r[..., 1:]], axis=-1)
    places = np.arange(c.shape[-1])[:, None] + np.arange(r.shape[-1])
    return jnp.take(line, places, axis=-1)


def circulant(c: Any) -> Array:
    """The matrix with the first column c, of which each column is turned one further than the last.

    Args:
        c: ``[..., n]``.

    Example:
        >>> import nr.numpy as jnp
        >>> circulant(jnp.array([1, 2, 3]))
        Array([[1, 3, 2],
               [2, 1, 3],
               [3, 2, 1]], dtype=int32)
    """
    (c,) = promote("circulant", c)
    n = jnp.atleast_1d(c).shape[-1]
    return jnp.take(jnp.atleast_1d(c), (np.arange(n)[:, None] - np.arange(n)) % n, axis=-1)


def convolution_matrix(a: Any, n: int, mode: str = "full") -> Array:
    """The matrix whose product with a vector v of n elements is ``nr.numpy.convolve(a, v, mode)``.

    Args:
        a: ``[..., m]``.
        n: the number of columns.
        mode: "full", "same" or "valid".

    Example:
        >>> import nr.numpy as jnp
        >>> convolution_matrix(jnp.array([1, 2]), 3, mode="valid")
        Array([[2, 1, 0],
               [0, 2, 1]], dtype=int32)
    """
    (a,) = promote("convolution_matrix", a)
    if n < 1 or not a.ndim or not a.shape[-1]:
        raise ValueError(
            f"convolution_matrix: a positive n and elements of a were expected; got n={n} and "
            f"{a.aval}."
        )
    m = a.shape[-1]
    sizes = {"full": m + n - 1, "same": max(m, n), "valid": max(m, n) - min(m, n) + 1}
    if mode not in sizes:
        raise ValueError(
            f'convolution_matrix: mode must be "full", "same" or "valid"; got {mode!r}.'
        )
    start = (sizes["full"] - sizes[mode]) // 2
    if mode == "same":
        start = (min(m, n) - 1) // 2
    lead = [(0, 0)] * (a.ndim - 1)
    full = toeplitz(jnp.pad(a, [*lead, (0, n - 1)]), jnp.zeros((n,), a.dtype))
    return lax.slice_in_dim(full, start, start + sizes[mode], axis=-2)


def companion(a: Any) -> Array:
    """The companion matrix: its eigenvalues are the roots of a polynomial.

    Args:
        a: ``[..., n]``, coefficients from the highest power on, two or more.

    Returns:
        ``[..., n - 1, n - 1]``.

    Example:
        >>> import nr.numpy as jnp
        >>> companion(jnp.array([1., -3., 2.]))
        Array([[ 3., -2.],
               [ 1.,  0.]], dtype=float32)
    """
    (a,) = promote_inexact("companion", a)
    if not a.ndim or a.shape[-1] < 2:
        raise ValueError(f"companion: two coefficients or more were expected; got {a.aval}.")
    n = a.shape[-1] - 1
    first = -a[..., 1:] / a[..., :1]
    below = jnp.broadcast_to(jnp.eye(n - 1, n, dtype=a.dtype), (*a.shape[:-1], n - 1, n))
    return jnp.concatenate([first[..., None, :], below], axis=-2)


def fiedler(a: Any) -> Array:
    """The absolute differences of all pairs of elements, ``[..., n, n]``.

    Args:
        a: ``[..., n]``.
    """
    (a,) = promote("fiedler", a)
    return jnp.abs(a[..., :, None] - a[..., None, :])


def fiedler_companion(a: Any) -> Array:
    """A companion matrix with five diagonals; see `companion`.

    M. Fiedler (2003), "A note on companion matrices".

    Args:
        a: ``[..., n]``, coefficients from the highest power on.

    Returns:
        ``[..., n - 1, n - 1]``.
    """
    (a,) = promote_inexact("fiedler_companion", a)
    if not a.ndim:
        raise ValueError(f"fiedler_companion: a vector was expected; got {a.aval}.")
    n = max(a.shape[-1] - 1, 0)
    if n < 2:
        return -(a[..., 1:, None] / a[..., :1, None])[..., :n]
    a = a / a[..., :1]
    powers = np.arange(2, n + 1)
    even = powers % 2 == 0
    rows = np.where(even, powers - 2, powers - 1)
    columns = np.where(even, powers - 1, powers - 2)
    near = np.arange(n - 2)
    ones = np.where(near % 2 == 0, [near, near + 2], [near + 2, near])
    out = jnp.zeros((*a.shape[:-1], n, n), a.dtype).at[..., 0, 0].set(-a[..., 1])
    out = out.at[..., rows, columns].set(-a[..., 2:])
    return out.at[..., ones[0], ones[1]].set(1).at[..., 1, 0].set(1)


def leslie(f: Any, s: Any) -> Array:
    """The matrix of a population by ages: births in its first row, survivors below the diagonal.

    P. H. Leslie (1945), "On the use of matrices in certain population mathematics".

    Args:
        f: ``[..., n]``, births at each age.
        s: ``[..., n - 1]``, the part of each age that reaches the next.

    Example:
        >>> import nr.numpy as jnp
        >>> leslie(jnp.array([0., 2.]), jnp.array([0.5]))
        Array([[0. , 2. ],
               [0.5, 0. ]], dtype=float32)
    """
    f, s = promote("leslie", f, s)
    if not f.ndim or not s.ndim or f.shape[-1] != s.shape[-1] + 1 or not s.shape[-1]:
        raise ValueError(
            f'leslie: "f" must be [..., n] and "s" [..., n - 1]; got {f.aval} and {s.aval}.'
        )
    n = f.shape[-1]
    lead = lax.broadcast_shapes(f.shape[:-1], s.shape[:-1])
    below = jnp.eye(n - 1, n, dtype=s.dtype) * s[..., :, None]
    first = jnp.broadcast_to(f[..., None, :], (*lead, 1, n))
    return jnp.concatenate([first, jnp.broadcast_to(below, (*lead, n - 1, n))], axis=-2)


# ---------------------------------------------------------------- by their size
def _constant(values: Any) -> Array:
    return jnp.asarray(np.array(values, np.float64), config.default_float)


def dft(n: int, scale: str | None = None, *, dtype: Any = None) -> Array:
    """The matrix of the discrete Fourier transform of n elements.

    Args:
        n: how many.
        scale: None, "sqrtn" to divide by the root of n, or "n" to divide by n.
        dtype: a complex dtype; by default that of the default float.

    Example:
        >>> dft(2).real
        Array([[ 1.,  1.],
               [ 1., -1.]], dtype=float32)
    """
    factors = {None: 1.0, "sqrtn": 1 / math.sqrt(n) if n else 1.0, "n": 1 / n if n else 1.0}
    if scale not in factors:
        raise ValueError(f'dft: scale must be None, "sqrtn" or "n"; got {scale!r}.')
    places = np.arange(n)
    values = np.exp(-2j * np.pi * (np.outer(places, places) % max(n, 1)) / max(n, 1))
    dtype = dtypes.to_complex(config.default_float) if dtype is None else dtype
    return jnp.asarray(values * factors[scale], dtype)


def hadamard(n: int, dtype: Any = int) -> Array:
    """Sylvester's matrix of ones and minus ones, with orthogonal columns; n is a power of 2.

    Example:
        >>> hadamard(2)
        Array([[ 1,  1],
               [ 1, -1]], dtype=int32)
    """
    if n < 1 or n & (n - 1):
        raise ValueError(f"hadamard: n must be a power of 2; got {n}.")
    common = np.arange(n)[:, None] & np.arange(n)
    odd = np.bitwise_count(common) % 2
    return jnp.asarray(1 - 2 * odd.astype(np.int64), dtype)


def helmert(n: int, full: bool = False) -> Array:
    """An orthogonal matrix, whose rows compare each element with the mean of those before.

    Args:
        n: the number of columns.
        full: whether to keep the first row, which is constant.

    Example:
        >>> helmert(2, full=True)
        Array([[ 0.70710677,  0.70710677],
               [ 0.70710677, -0.70710677]], dtype=float32)
    """
    if n < 1:
        raise ValueError(f"helmert: n must be positive; got {n}.")
    rows = np.tril(np.ones((n, n)), -1) - np.diag(np.arange(n))
    rows[0] = 1
    lengths = np.sqrt((rows * rows).sum(1, keepdims=True))
    return _constant((rows / lengths)[0 if full else 1 :])


def hilbert(n: int) -> Array:
    """The matrix with elements 1 / (i + j + 1).

    Example:
        >>> hilbert(2)
        Array([[1.        , 0.5       ],
               [0.5       , 0.33333334]], dtype=float32)
    """
    places = np.arange(n)
    return _constant(1 / (places[:, None] + places + 1))


def invhilbert(n: int) -> Array:
    """The inverse of `hilbert`: integers, rounded to the default float.

    Example:
        >>> invhilbert(2)
        Array([[ 4., -6.],
               [-6., 12.]], dtype=float32)
    """

    def element(i: int, j: int) -> int:
        products = math.comb(n + i, n - j - 1) * math.comb(n + j, n - i - 1)
        return (-1) ** (i + j) * (i + j + 1) * products * math.comb(i + j, i) ** 2

    return _integers(n, element)


def _integers(n: int, element: Any) -> Array:
    """Exact integers, rounded once."""
    return _constant([[float(element(i, j)) for j in range(n)] for i in range(n)]).reshape(n, n)


def _check_kind(op: str, kind: str | None) -> None:
    if kind not in ("symmetric", "lower", "upper", None):
        raise ValueError(f'{op}: kind must be "symmetric", "lower" or "upper"; got {kind!r}.')


def pascal(n: int, kind: str | None = None) -> Array:
    """Pascal's triangle as a matrix.

    Args:
        n: the size.
        kind: "symmetric" (the default), "lower" or "upper".

    Example:
        >>> pascal(3)
        Array([[1., 1., 1.],
               [1., 2., 3.],
               [1., 3., 6.]], dtype=float32)
    """
    _check_kind("pascal", kind)
    if kind == "lower":
        return _integers(n, math.comb)
    if kind == "upper":
        return _integers(n, lambda i, j: math.comb(j, i))
    return _integers(n, lambda i, j: math.comb(i + j, i))


def invpascal(n: int, kind: str | None = None) -> Array:
    """The inverse of `pascal`, with its arguments.

    Example:
        >>> invpascal(2, "lower")
        Array([[ 1.,  0.],
               [-1.,  1.]], dtype=float32)
    """
    _check_kind("invpascal", kind)
    if kind == "lower":
        return _integers(n, lambda i, j: (-1) ** (i + j) * math.comb(i, j))
    if kind == "upper":
        return _integers(n, lambda i, j: (-1) ** (i + j) * math.comb(j, i))
    return _integers(
        n,
        lambda i, j: (
            (-1) ** (i + j) * sum(math.comb(k, i) * math.comb(k, j) for k in range(max(i, j), n))
        ),
    )
