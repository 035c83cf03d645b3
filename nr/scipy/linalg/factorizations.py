"""Factorizations: QR, eigenvalues, singular values, polar, Schur and Hessenberg form."""

from __future__ import annotations

from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.linalg.matrices import adjoint
from nr.numpy.promotion import promote_inexact
from nr.scipy.linalg.arguments import matrices

__all__ = [
    "eigh",
    "eigh_tridiagonal",
    "hessenberg",
    "polar",
    "qr",
    "qr_multiply",
    "rsf2csf",
    "schur",
    "svd",
]


def qr(
    a: Any,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> tuple[Array, ...]:
    """Q with orthonormal columns and upper triangular R, with ``Q @ R == a``.

    Args:
        a: ``[..., m, n]``.
        mode: "full" (Q is square), "economic" (Q is ``[..., m, min(m, n)]``), or "r" (R only).
        pivoting: whether to exchange columns, so that the diagonal of R falls; their order p,
            with ``Q @ R == a[:, p]``, is one more result.
    """
    if mode not in ("full", "economic", "r"):
        raise ValueError(f'qr: mode must be "full", "economic" or "r"; got {mode!r}.')
    options = {"full_matrices": mode != "economic", "pivoting": pivoting}
    q, *rest = lax.linalg.qr(matrices("qr", a), **options)
    return tuple(rest) if mode == "r" else (q, *rest)


def qr_multiply(
    a: Any,
    c: Any,
    mode: str = "right",
    pivoting: bool = False,
    conjugate: bool = False,
    overwrite_a: bool = False,
    overwrite_c: bool = False,
) -> tuple[Array, ...]:
    """A product with Q, and R, of the economic `qr` of a.

    Args:
        a: ``[..., m, n]``, and k the smaller of m and n.
        c: for "right" ``[..., p, m]`` or ``[m]``, for "left" ``[..., k, p]`` or ``[k]``.
        mode: "right" for ``c @ Q``, "left" for ``Q @ c``.
        pivoting: as in `qr`.
        conjugate: take the conjugate of Q.

    Example:
        >>> import nr.numpy as jnp
        >>> a = jnp.array([[3., 1.], [4., 2.]])
        >>> q, r = qr(a)
        >>> bool(jnp.allclose(qr_multiply(a, jnp.eye(2))[0], q))
        True
    """
    if mode not in ("right", "left"):
        raise ValueError(f'qr_multiply: mode must be "right" or "left"; got {mode!r}.')
    a, c = promote_inexact("qr_multiply", a, c)
    q, *rest = qr(a, mode="economic", pivoting=pivoting)
    q = jnp.conj(q) if conjugate else q
    axis = max(c.ndim - 2, 0) if mode == "left" else c.ndim - 1
    inner = q.shape[-1] if mode == "left" else q.shape[-2]
    if not c.ndim or c.shape[axis] != inner:
        raise ValueError(
            f"qr_multiply: an extent of {inner} along axis {axis} was expected, as a is {a.aval}; "
            f'got {c.aval} for "c".'
        )
    return (q @ c if mode == "left" else c @ q, *rest)


def eigh(
    a: Any,
    b: None = None,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    turbo: bool = True,
    eigvals: None = None,
    type: int = 1,  # noqa: A002
    check_finite: bool = True,
) -> Any:
    """Eigenvalues, ascending, and eigenvectors of Hermitian matrices; one triangle is read.

    Args:
        a: ``[..., n, n]``.
        b: must be None.
        lower: which triangle.
        eigvals_only: whether to give no eigenvectors.
        eigvals: must be None.
        type: must be 1.
    """
    if b is not None or eigvals is not None or type != 1:
        raise NotImplementedError("eigh: only b=None, eigvals=None and type=1 are supported.")
    a = matrices("eigh", a, square=True)
    v, w = lax.linalg.eigh(a, lower=lower, symmetrize_input=False)
    return w if eigvals_only else (w, v)


def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """U, the singular values and Vh with ``U @ diag(s) @ Vh == a``; or the values only."""
    return lax.linalg.svd(matrices("svd", a), full_matrices=full_matrices, compute_uv=compute_uv)


def eigh_tridiagonal(
    d: Any,
    e: Any,
    *,
    eigvals_only: bool = False,
    select: str = "a",
    select_range: tuple[float, float] | None = None,
    tol: float | None = None,
    key: Any = None,
) -> Any:
    """Eigenvalues, ascending, and eigenvectors of a Hermitian tridiagonal matrix.

    They are computed as those of a full matrix, by `eigh`.

    Args:
        d: ``[..., n]``, the diagonal.
        e: ``[..., n - 1]``, what is below it.
        eigvals_only: whether to give no eigenvectors.
        select: "a" for all eigenvalues, "i" for those with indices in select_range.
        select_range: the first and the last index.
        tol: accepted for JAX's sake, as is key.

    Example:
        >>> import nr.numpy as jnp
        >>> eigh_tridiagonal(jnp.zeros(2), jnp.ones(1), eigvals_only=True)
        Array([-1.,  1.], dtype=float32)
    """
    op = "eigh_tridiagonal"
    d, e = promote_inexact(op, d, e)
    if not d.ndim or d.shape[:-1] != e.shape[:-1] or d.shape[-1] != e.shape[-1] + 1:
        raise ValueError(
            f'{op}: "d" must be [..., n] and "e" [..., n - 1]; got {d.aval} and {e.aval}.'
        )
    if select == "v":
        raise NotImplementedError(
            f'{op}: select must be "a" or "i"; got "v", whose number of results is not known.'
        )
    if select not in ("a", "i"):
        raise ValueError(f'{op}: select must be "a" or "i"; got {select!r}.')
    n = d.shape[-1]
    first, last = (0, n - 1) if select == "a" or select_range is None else select_range
    if not 0 <= first <= last < n:
        raise ValueError(
            f"{op}: select_range must be indices from 0 to {n - 1}; got {select_range}."
        )
    below = jnp.pad(e, [(0, 0)] * (e.ndim - 1) + [(0, 1)])
    matrix = d[..., :, None] * jnp.eye(n, dtype=d.dtype)
    matrix = matrix + below[..., None, :] * jnp.eye(n, k=-1, dtype=d.dtype)
    v, w = lax.linalg.eigh(matrix, lower=True, symmetrize_input=False)
    w, v = w[..., first : last + 1], v[..., first : last + 1]
    return w if eigvals_only else (w, v)


def polar(
    a: Any,
    side: str = "right",
    *,
    method: str = "qdwh",
    eps: float | None = None,
    max_iterations: int | None = None,
) -> tuple[Array, Array]:
    """A matrix with orthonormal columns (or rows) and a positive semidefinite one.

    N. Higham (1986), "Computing the polar decomposition - with applications".

    Args:
        a: ``[m, n]``; with method="svd" also stacks of matrices.
        side: "right" for ``a == u @ p``, "left" for ``a == p @ u``.
        method: "svd"; or "qdwh", by iteration, where u has as many columns as p, or fewer.
        eps: the relative error at which "qdwh" ends.
        max_iterations: the most steps of "qdwh".

    Returns:
        u and p.

    Example:
        >>> import nr.numpy as jnp
        >>> u, p = polar(jnp.array([[0., 2.], [-3., 0.]]))
        >>> u.round(4) + 0.0
        Array([[ 0.,  1.],
               [-1.,  0.]], dtype=float32)
    """
    if side not in ("right", "left"):
        raise ValueError(f'polar: side must be "right" or "left"; got {side!r}.')
    if method not in ("qdwh", "svd"):
        raise ValueError(f'polar: method must be "qdwh" or "svd"; got {method!r}.')
    a = matrices("polar", a)
    if method == "svd":
        w, s, vh = lax.linalg.svd(a, full_matrices=False)
        side_vectors = adjoint(vh) if side == "right" else w
        return w @ vh, (side_vectors * s[..., None, :]) @ adjoint(side_vectors)
    m, n = a.shape[-2:]
    if (m < n) if side == "right" else (m > n):
        raise NotImplementedError(
            f'polar: "qdwh" needs m >= n with side="right", and m <= n with "left"; got {a.aval} '
            f'with {side!r}. Use method="svd".'
        )
    options = {"is_hermitian": False, "max_iterations": max_iterations, "eps": eps}
    u, p, _, _ = lax.linalg.qdwh(a if side == "right" else adjoint(a), **options)
    return (u if side == "right" else adjoint(u)), p


# ---------------------------------------------------------------- similar matrices
def hessenberg(
    a: Any, *, calc_q: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Any:
    """The Hessenberg form h, zero below the first subdiagonal, with ``a == q @ h @ q^H``.

    Args:
        a: ``[..., n, n]``.
        calc_q: whether to give the unitary q, too.

    Returns:
        h; or h and q.

    Example:
        >>> import nr.numpy as jnp
        >>> h = hessenberg(jnp.ones((3, 3)))
        >>> float(h[2, 0])
        0.0
    """
    a = matrices("hessenberg", a, square=True)
    packed, taus = lax.linalg.hessenberg(a)
    h = jnp.triu(packed, -1)
    if not calc_q:
        return h
    n = a.shape[-1]
    if n < 2:
        return h, jnp.broadcast_to(jnp.eye(n, dtype=a.dtype), a.shape)
    inner = lax.linalg.householder_product(packed[..., 1:, :-1], taus)
    q = jnp.pad(inner, [(0, 0)] * (a.ndim - 2) + [(1, 0), (1, 0)])
    return h, q.at[..., 0, 0].set(1)


def schur(a: Any, output: str = "real") -> tuple[Array, Array]:
    """The Schur form: (block) triangular t and unitary z with ``a == z @ t @ z^H``.

    Args:
        a: ``[..., n, n]``.
        output: "real" keeps real matrices real, with 2 by 2 blocks for pairs of complex
            eigenvalues; "complex" gives a triangular t.

    Returns:
        t and z.

    Example:
        >>> import nr.numpy as jnp
        >>> t, z = schur(jnp.array([[0., 1.], [1., 0.]]))
        >>> jnp.sort(jnp.diag(t)).round(4)
        Array([-1.,  1.], dtype=float32)
    """
    if output not in ("real", "complex"):
        raise ValueError(f'schur: output must be "real" or "complex"; got {output!r}.')
    a = matrices("schur", a, square=True)
    if output == "complex":
        a = a.astype(dtypes.to_complex(a.dtype))
    t, z = lax.linalg.schur(a)
    return t, z


def rsf2csf(T: Any, Z: Any, check_finite: bool = True) -> tuple[Array, Array]:  # noqa: N803
    """The complex Schur form from the real one: triangular t and unitary z.

    Args:
        T: ``[..., n, n]``, with blocks on its diagonal.
        Z: ``[..., n, n]``.

    Returns:
        t and z, for which ``z @ t @ z^H`` is ``Z @ T @ Z^H``.
    """
    real, z = promote_inexact("rsf2csf", T, Z)
    t, turned = schur(matrices("rsf2csf", real, square=True), output="complex")
    return t, matrices("rsf2csf", z, square=True) @ turned
