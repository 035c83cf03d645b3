"""Linear algebra over stacks of matrices, with the names of jax.numpy.linalg.

The last two dimensions are those of the matrices; leading ones go along. Integers are converted
to the default float; 16-bit floats are not computed in and raise TypeError.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nr import lax
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.linalg.matrices import (
    adjoint,
    check_matrices,
    identity_like,
    matrix_transposed,
    product,
    scale_columns,
    scale_rows,
)
from nr.lax.rules import operand
from nr.numpy import products
from nr.numpy.creation import zeros
from nr.numpy.dtype_functions import astype
from nr.numpy.index_functions import diagonal as diagonal_of
from nr.numpy.index_functions import take_along_axis
from nr.numpy.manipulation import expand_dims, matrix_transpose, moveaxis, reshape
from nr.numpy.norms import matrix_norm, norm, vector_norm
from nr.numpy.products import matmul, multi_dot, tensordot, vecdot
from nr.numpy.promotion import broadcast_to_shape, promote_inexact
from nr.numpy.reductions import any as any_of
from nr.numpy.reductions import max as max_of
from nr.numpy.reductions import sum as sum_of
from nr.numpy.reflectors import reflectors
from nr.numpy.selection import where
from nr.numpy.sorting import argsort
from nr.numpy.ufuncs import abs as absolute
from nr.numpy.ufuncs import square
from nr.numpy.ufuncs_logic import isnan
from nr.transforms.custom_derivatives import custom_jvp
from nr.transforms.vmap import vmap

__all__ = [
    "EigResult",
    "EighResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]


class EigResult(NamedTuple):
    """What `eig` gives."""

    eigenvalues: Array
    eigenvectors: Array


class EighResult(NamedTuple):
    """What `eigh` gives."""

    eigenvalues: Array
    eigenvectors: Array


class QRResult(NamedTuple):
    """What `qr` gives."""

    Q: Array
    R: Array


class SVDResult(NamedTuple):
    """What `svd` gives."""

    U: Array
    S: Array
    Vh: Array


class SlogdetResult(NamedTuple):
    """What `slogdet` gives."""

    sign: Array
    logabsdet: Array


def _matrices(op: str, a: Any, *, square: bool = False) -> Any:
    (a,) = promote_inexact(op, a)
    check_matrices(op, a.aval, square=square)
    return a


def _triangle(op: str, uplo: str | None) -> bool:
    if uplo not in (None, "L", "U"):
        raise ValueError(f'{op}: UPLO must be "L" or "U"; got {uplo!r}.')
    return uplo != "U"


def _epsilon(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).eps)


# ---------------------------------------------------------------- determinants and systems
def det(a: Any) -> Array:
    """The determinant.

    Its derivative is that of the cofactors, also where the determinant is 0.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.linalg.det(jnp.array([[3., 0.], [1., 2.]]))
        Array(6., dtype=float32)
    """
    return lax.linalg.det(_matrices("det", a, square=True))


def slogdet(a: Any, *, method: str | None = None) -> SlogdetResult:
    """The sign of the determinant, and the logarithm of its absolute value.

    Args:
        a: ``[..., n, n]``.
        method: None, "lu" or "qr", which are JAX's; all are an LU factorization.
    """
    if method not in (None, "lu", "qr"):
        raise ValueError(f'slogdet: method must be "lu" or "qr"; got {method!r}.')
    return SlogdetResult(*lax.linalg.slogdet(_matrices("slogdet", a, square=True)))


def inv(a: Any) -> Array:
    """The inverse; infinities and NaNs where there is none."""
    a = _matrices("inv", a, square=True)
    return lax.linalg.solve(a, identity_like(a))


def solve(a: Any, b: Any) -> Array:
    """The solution x of ``a @ x == b``.

    Args:
        a: ``[..., n, n]``.
        b: ``[n]`` or ``[..., n, k]``; leading dimensions are broadcast.

    Returns:
        x, shaped as b; infinities and NaNs where a is singular.

    Raises:
        ValueError: if shapes don't fit.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.linalg.solve(jnp.array([[2., 0.], [1., 1.]]), jnp.array([2., 3.]))
        Array([1., 2.], dtype=float32)
    """
    a, b = promote_inexact("solve", a, b)
    check_matrices("solve", a.aval, "a", square=True)
    vector = b.ndim == 1
    n = a.shape[-1]
    if b.ndim == 0 or b.shape[0 if vector else -2] != n:
        raise ValueError(
            f'solve: the shape of "b" must be [{n}] or [..., {n}, k]; got {b.aval} for '
            f'"a" {a.aval}. Append a dimension to vectors of several systems, as in b[..., None].'
        )
    if vector:
        b = reshape(b, (n, 1))
    if a.shape[:-2] != b.shape[:-2]:
        lead = _broadcast_leading(a, b)
        a = broadcast_to_shape(a, (*lead, n, n))
        b = broadcast_to_shape(b, (*lead, *b.shape[-2:]))
    x = lax.linalg.solve(a, b)
    return reshape(x, x.shape[:-1]) if vector else x


def _broadcast_leading(a: Any, b: Any) -> tuple[int, ...]:
    try:
        return lax.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(
            f'solve: leading dimensions must be broadcastable; got {a.aval} for "a" and {b.aval} '
            f'for "b". Extents must be equal or 1, counted from the matrices.'
        ) from None


def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Array:
    """The solution x of ``tensordot(a, x, x.ndim) == b``.

    Args:
        a: an array of shape ``b.shape + x.shape``, with as many elements in both parts.
        b: an array.
        axes: dimensions of a that are moved to the end first.
    """
    a, b = promote_inexact("tensorsolve", a, b)
    if axes is not None:
        a = moveaxis(a, tuple(axes), tuple(range(a.ndim - len(tuple(axes)), a.ndim)))
    shape = a.shape[b.ndim :]
    n = b.size
    if a.size != n * n:
        raise ValueError(
            f"tensorsolve: the dimensions of a after those of b must have as many elements as b; "
            f"got {a.aval} and {b.aval}."
        )
    return reshape(solve(reshape(a, (n, n)), reshape(b, (n,))), shape)


def tensorinv(a: Any, ind: int = 2) -> Array:
    """The inverse of the map that contracts the dimensions of a from `ind` on."""
    (a,) = promote_inexact("tensorinv", a)
    if ind < 1:
        raise ValueError(f"tensorinv: ind must be 1 or more; got {ind}.")
    head, tail = a.shape[:ind], a.shape[ind:]
    rows = int(np.prod(head, dtype=np.int64))
    if rows * rows != a.size:
        raise ValueError(
            f"tensorinv: the dimensions before and after ind={ind} must have as many elements; "
            f"got {a.aval}."
        )
    return reshape(inv(reshape(a, (rows, rows))), tail + head)


def lstsq(
    a: Any, b: Any, rcond: float | None = None, *, numpy_resid: bool = False
) -> tuple[Array, Array, Array, Array]:
    """The x of least norm among those that minimize the norm of ``a @ x - b``.

    Args:
        a: ``[m, n]``.
        b: ``[m]`` or ``[m, k]``.
        rcond: singular values below this times the largest count as zero; by default the machine
            epsilon times max(m, n).
        numpy_resid: whether residuals are empty, as NumPy's, where a has not full column rank or
            m <= n. This needs concrete values.

    Returns:
        x, the sums of squared residuals, the rank of a and its singular values.
    """
    a, b = promote_inexact("lstsq", a, b)
    check_matrices("lstsq", a.aval)
    if a.ndim != 2 or b.ndim not in (1, 2) or b.shape[0] != a.shape[0] or 0 in a.shape:
        raise ValueError(
            f'lstsq: shapes [m, n] for "a" and [m] or [m, k] for "b" were expected, m and n not '
            f"0; got {a.aval} and {b.aval}."
        )
    vector = b.ndim == 1
    m, n = a.shape
    columns = reshape(b, (m, 1)) if vector else b
    if rcond is None:
        rcond = _epsilon(a.dtype) * max(m, n)
    elif rcond < 0:
        rcond = _epsilon(a.dtype)
    u, s, vh = lax.linalg.svd(a, full_matrices=False)
    used = (s > 0) & (s >= rcond * s[0])
    rank = sum_of(used)
    inverse = astype(where(used, 1 / where(used, s, 1), 0), a.dtype)
    x = adjoint(vh) @ scale_rows(adjoint(u) @ columns, inverse)
    residuals = sum_of(square(absolute(columns - a @ x)), axis=0)
    if numpy_resid and (m <= n or int(rank) < n):
        residuals = zeros((0,), residuals.dtype)
    return (reshape(x, (n,)) if vector else x), residuals, rank, s


# ---------------------------------------------------------------- factorizations
def cholesky(a: Any, *, upper: bool = False, symmetrize_input: bool = True) -> Array:
    """The triangular factor of a Hermitian positive definite matrix; NaNs if it is not definite.

    Args:
        a: ``[..., n, n]``.
        upper: whether to give U with ``U^H @ U == a``, not L with ``L @ L^H == a``.
        symmetrize_input: whether to take the mean of a and its adjoint first.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.linalg.cholesky(jnp.array([[4., 2.], [2., 2.]]))
        Array([[2., 0.],
               [1., 1.]], dtype=float32)
    """
    a = _matrices("cholesky", a, square=True)
    if upper and not symmetrize_input:
        a = adjoint(a)
    factor = lax.linalg.cholesky(a, symmetrize_input=symmetrize_input)
    return adjoint(factor) if upper else factor


def qr(a: Any, mode: str = "reduced") -> Any:
    """The factors Q, with orthonormal columns, and R, upper triangular, of ``[..., m, n]``.

    Args:
        a: matrices.
        mode: "reduced" (Q is ``[..., m, min(m, n)]``), "complete" or "full" (Q is square), "r" (R
            only), or "raw": R and the vectors of Householder reflectors in one matrix, transposed,
            and their factors, as NumPy and `lax.linalg.householder_product` have them.
    """
    if mode not in ("reduced", "complete", "full", "r", "raw"):
        raise ValueError(
            f'qr: mode must be "reduced", "complete", "full", "r" or "raw"; got {mode!r}.'
        )
    a = _matrices("qr", a)
    if mode == "raw":
        taken_apart = reflectors
        for _ in a.shape[:-2]:
            taken_apart = vmap(taken_apart)
        vectors, factors = taken_apart(a)
        return QRResult(matrix_transpose(vectors), factors)
    q, r = lax.linalg.qr(a, full_matrices=mode in ("complete", "full"))
    return r if mode == "r" else QRResult(q, r)


def eigh(a: Any, UPLO: str | None = None, symmetrize_input: bool = True) -> EighResult:  # noqa: N803
    """Eigenvalues, ascending, and orthonormal eigenvectors of Hermitian matrices.

    Args:
        a: ``[..., n, n]``.
        UPLO: which triangle is read, "L" or "U", if the input is not symmetrized.
        symmetrize_input: whether to take the mean of a and its adjoint first.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.linalg.eigh(jnp.diag(jnp.array([2., 1.]))).eigenvalues
        Array([1., 2.], dtype=float32)
    """
    lower = _triangle("eigh", UPLO)
    a = _matrices("eigh", a, square=True)
    v, w = lax.linalg.eigh(a, lower=lower, symmetrize_input=symmetrize_input)
    return EighResult(w, v)


def eigvalsh(a: Any, UPLO: str | None = "L", *, symmetrize_input: bool = True) -> Array:  # noqa: N803
    """The eigenvalues of Hermitian matrices, ascending."""
    return eigh(a, UPLO, symmetrize_input).eigenvalues


def eig(a: Any) -> EigResult:
    """Eigenvalues and eigenvectors (of length 1, in columns) of square matrices, complex."""
    a = _matrices("eig", a, square=True)
    return EigResult(*lax.linalg.eig(a, compute_left_eigenvectors=False))


def eigvals(a: Any) -> Array:
    """The eigenvalues of square matrices, complex."""
    a = _matrices("eigvals", a, square=True)
    return lax.linalg.eig(a, compute_left_eigenvectors=False, compute_right_eigenvectors=False)[0]


def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
    subset_by_index: tuple[int, int] | None = None,
) -> Any:
    """The singular value decomposition ``a == (U * S[..., None, :]) @ Vh``.

    Args:
        a: ``[..., m, n]``; k is min(m, n).
        full_matrices: whether U and Vh are square; if not, ``[..., m, k]`` and ``[..., k, n]``.
        compute_uv: whether to give an `SVDResult`, not S only.
        hermitian: whether a is Hermitian, which saves work.
        subset_by_index: give only the singular values from one index to another (exclusive), and
            their vectors; then full_matrices must be False.

    Raises:
        NotImplementedError: for a subset of a Hermitian matrix's values.
    """
    a = _matrices("svd", a, square=hermitian)
    if hermitian and subset_by_index is not None:
        raise NotImplementedError("svd: hermitian takes no subset_by_index. Leave out hermitian.")
    if not hermitian:
        out = lax.linalg.svd(
            a,
            full_matrices=full_matrices,
            compute_uv=compute_uv,
            subset_by_index=subset_by_index,
        )
        return SVDResult(*out) if compute_uv else out
    v, w = lax.linalg.eigh(a)
    order = argsort(absolute(w), axis=-1, descending=True)
    w = take_along_axis(w, order, axis=-1)
    s = absolute(w)
    if not compute_uv:
        return s
    v = take_along_axis(v, expand_dims(order, -2), axis=-1)
    signs = astype(where(w < 0, -1, 1), v.dtype)
    return SVDResult(v, s, adjoint(scale_columns(v, signs)))


def svdvals(x: Any, /) -> Array:
    """The singular values, descending."""
    return svd(x, compute_uv=False)


# ---------------------------------------------------------------- from singular values
def pinv(a: Any, rtol: Any = None, hermitian: bool = False, *, rcond: Any = None) -> Array:
    """The pseudoinverse (Moore and Penrose).

    Args:
        a: ``[..., m, n]``.
        rtol: singular values below this times the largest count as zero; by default, as in JAX,
            10 max(m, n) times the machine epsilon.
        hermitian: whether a is Hermitian, which saves work.
        rcond: another name of rtol.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.linalg.pinv(jnp.array([[2., 0.], [0., 0.]]))
        Array([[0.5, 0. ],
               [0. , 0. ]], dtype=float32)
    """
    a = _matrices("pinv", a, square=hermitian)
    if rtol is not None and rcond is not None:
        raise ValueError("pinv: one of rtol and rcond was expected; got both.")
    rtol = rcond if rtol is None else rtol
    if rtol is None:
        rtol = 10.0 * max(*a.shape[-2:], 1) * _epsilon(a.dtype)
    rtol = astype(operand("pinv", rtol), dtypes.to_real(a.dtype))
    return _pinv(hermitian, a, rtol)


@functools.partial(custom_jvp, nondiff_argnums=(0,))
def _pinv(hermitian: bool, a: Any, rtol: Any) -> Any:
    if 0 in a.shape:
        return matrix_transposed(a)
    u, s, vh = svd(a, full_matrices=False, hermitian=hermitian)
    used = s > expand_dims(rtol, -1) * s[..., :1]
    inverse = astype(where(used, 1 / where(used, s, 1), 0), a.dtype)
    return product(scale_columns(adjoint(vh), inverse), adjoint(u))


@_pinv.defjvp
def _pinv_jvp(hermitian: bool, primals: Any, tangents: Any) -> Any:
    # G. Golub and V. Pereyra (1973), "The differentiation of pseudo-inverses and nonlinear least
    # squares problems whose variables separate": of constant rank.
    (a, rtol), (t, _) = primals, tangents
    p = _pinv(hermitian, a, rtol)
    th, ph = adjoint(t), adjoint(p)
    inner = product(product(p, ph), th)
    outer_part = product(th, product(ph, p))
    out = -product(product(p, t), p)
    out = out + inner - product(product(inner, a), p)
    return p, out + outer_part - product(p, product(a, outer_part))


def matrix_rank(
    M: Any,  # noqa: N803
    rtol: Any = None,
    *,
    hermitian: bool = False,
    tol: Any = None,
) -> Array:
    """How many singular values are above a bound.

    Args:
        M: ``[..., m, n]``; a vector counts as one row.
        rtol: the bound, as a multiple of the largest one; by default max(m, n) times the machine
            epsilon. (JAX, against the array API standard, does not multiply.)
        hermitian: whether M is Hermitian, which saves work.
        tol: the bound itself.
    """
    if np.ndim(M) < 2:
        return astype(any_of(operand("matrix_rank", M) != 0), np.int32)
    a = _matrices("matrix_rank", M, square=hermitian)
    if rtol is not None and tol is not None:
        raise ValueError("matrix_rank: one of rtol and tol was expected; got both.")
    s = svd(a, compute_uv=False, hermitian=hermitian)
    if tol is None:
        if rtol is None:
            rtol = max(a.shape[-2:]) * _epsilon(a.dtype)
        tol = astype(operand("matrix_rank", rtol), s.dtype) * max_of(s, axis=-1, initial=0)
    bound = expand_dims(astype(operand("matrix_rank", tol), s.dtype), -1)
    return sum_of(s > bound, axis=-1)


def cond(x: Any, p: Any = None) -> Array:
    """The condition number: the norm of x times that of its inverse.

    Args:
        x: ``[..., m, n]``; square unless p is None, 2 or -2.
        p: which norm (see `norm`); by default 2.
    """
    x = _matrices("cond", x, square=p not in (None, 2, -2))
    if 0 in x.shape[-2:]:
        raise ValueError(f"cond: matrices with elements were expected; got {x.aval}.")
    if p in (None, 2, -2):
        s = svd(x, compute_uv=False)
        out = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    else:
        out = norm(x, p, (-2, -1)) * norm(inv(x), p, (-2, -1))
    return where(isnan(out) & ~any_of(isnan(x), axis=(-2, -1)), np.inf, out)


def matrix_power(a: Any, n: int) -> Array:
    """The product of n factors a; of inverses if n is negative.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.linalg.matrix_power(jnp.array([[1, 1], [1, 0]]), 10)
        Array([[89, 55],
               [55, 34]], dtype=int32)
    """
    a = operand("matrix_power", a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"matrix_power: the shape must be [..., n, n]; got {a.aval}.")
    try:
        n = n.__index__()
    except AttributeError:
        raise TypeError(f"matrix_power: the power must be an integer; got {n!r}.") from None
    if n == 0:
        return identity_like(a)
    if n < 0:
        a, n = inv(a), -n
    result: Any = None
    while True:  # binary digits of n, the lowest first
        if n & 1:
            result = a if result is None else matmul(result, a)
        n >>= 1
        if not n:
            return result
        a = matmul(a, a)


# ---------------------------------------------------------------- products and parts
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """The cross product of vectors of 3 components along an axis."""
    x1, x2 = operand("cross", x1), operand("cross", x2)
    for x in (x1, x2):
        if not -x.ndim <= axis < x.ndim or x.shape[axis] != 3:
            raise ValueError(
                f"cross: vectors of 3 components along axis {axis} were expected; got {x1.aval} "
                f"and {x2.aval}."
            )
    return products.cross(x1, x2, axis=axis)


def outer(x1: Any, x2: Any, /) -> Array:
    """The products of every element of one vector with every element of another."""
    x1, x2 = operand("outer", x1), operand("outer", x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(
            f"outer: vectors were expected; got {x1.aval} and {x2.aval}. "
            f"Use nr.numpy.outer, which takes other arrays as vectors."
        )
    return products.outer(x1, x2)


def diagonal(x: Any, /, *, offset: int = 0) -> Array:
    """A diagonal of each matrix; above the main one if the offset is positive."""
    return diagonal_of(x, offset, axis1=-2, axis2=-1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """The sum of a diagonal of each matrix."""
    return products.trace(x, offset, axis1=-2, axis2=-1, dtype=dtype)
