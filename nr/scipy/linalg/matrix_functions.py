"""Functions of matrices through their Schur form, and Sylvester equations, which they come from.

N. Higham (2008), Functions of Matrices, chapters 4, 6 and B.14; R. Bartels and G. Stewart (1972),
"Solution of the matrix equation AX + XB = C"; A. Bjorck and S. Hammarling (1983), "A Schur method
for the square root of a matrix".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.lax.linalg.matrices import adjoint
from nr.numpy.promotion import promote_inexact
from nr.scipy.linalg.arguments import matrices
from nr.scipy.linalg.factorizations import schur
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["funm", "solve_sylvester", "sqrtm"]


# ---------------------------------------------------------------- Sylvester equations
def solve_sylvester(
    A: Any,  # noqa: N803 - SciPy's name
    B: Any,  # noqa: N803
    C: Any,  # noqa: N803
    *,
    method: str = "schur",
    tol: float = 1e-8,
) -> Array:
    """The solution X of ``A @ X + X @ B == C``, differentiable in all three.

    Args:
        A: ``[m, m]``.
        B: ``[n, n]``.
        C: ``[m, n]``.
        method: "schur"; "eigen" is accepted, too.
        tol: NaNs are given where eigenvalues of A and of -B are nearer to each other than this.

    Raises:
        ValueError: for other shapes, or an unknown method.

    Example:
        >>> import nr.numpy as jnp
        >>> solve_sylvester(jnp.array([[1.]]), jnp.array([[2.]]), jnp.array([[6.]]))
        Array([[2.]], dtype=float32)
    """
    op = "solve_sylvester"
    if method not in ("schur", "eigen"):
        raise ValueError(f'{op}: method must be "schur" or "eigen"; got {method!r}.')
    a, b, c = promote_inexact(op, A, B, C)
    a, b = matrices(op, a, square=True), matrices(op, b, square=True)
    if a.ndim != 2 or b.ndim != 2 or c.shape != (a.shape[0], b.shape[0]):
        raise ValueError(
            f"{op}: [m, m], [n, n] and [m, n] were expected; got {a.aval}, {b.aval} and {c.aval}."
        )
    a_form, b_form = [schur(lax.stop_gradient(x), "complex") for x in (a, b)]

    def solve(_: Callable, rhs: Array) -> Array:
        return _from_forms(a_form, b_form, rhs, tol)

    def transpose_solve(_: Callable, rhs: Array) -> Array:
        # the adjoint equation, for conjugates
        return jnp.conj(_from_forms(b_form, a_form, adjoint(rhs), tol)).T

    return lax.custom_linear_solve(lambda x: a @ x + x @ b, c, solve, transpose_solve)


def _from_forms(a_form: Any, b_form: Any, c: Array, tol: float) -> Array:
    (ta, za), (tb, zb) = a_form, b_form
    right = adjoint(za) @ c.astype(za.dtype) @ zb
    identity = jnp.eye(ta.shape[0], dtype=ta.dtype)

    def column(j: Any, y: Array) -> Array:
        known = right[:, j] - y @ tb[:, j]  # columns from j on are zeros still
        x = lax.linalg.triangular_solve(
            ta + tb[j, j] * identity, known[:, None], left_side=True, lower=False
        )
        return y.at[:, j].set(x[:, 0])

    y = lax.fori_loop(0, tb.shape[0], column, jnp.zeros_like(right))
    x = za @ y @ adjoint(zb)
    sums = jnp.abs(jnp.diagonal(ta)[:, None] + jnp.diagonal(tb))
    x = jnp.where(jnp.min(sums, initial=jnp.inf) <= tol, jnp.nan, x)
    return x if c.dtype in dtypes.COMPLEX else x.real


# ---------------------------------------------------------------- functions of triangular matrices
def _columns(t: Array, diagonal: Array, system: Callable, otherwise: Callable) -> Array:
    """An upper triangular function f of t, column by column.

    Args:
        t: upper triangular ``[n, n]``.
        diagonal: that of f.
        system: from f up to a column j, column j of t above the diagonal, and j: the matrix, what
            is added to its diagonal, and the right-hand side of the system for column j of f.
        otherwise: where a pivot is 0, the element of f from the numerator.
    """
    n = t.shape[0]
    rows = jnp.arange(n)
    identity = jnp.eye(n, dtype=t.dtype)

    def column(j: Any, f: Array) -> Array:
        above = rows < j
        matrix, shift, known = system(f, jnp.where(above, t[:, j], 0), j)
        inner = jnp.where(above[:, None] & above, matrix + shift * identity, 0)
        pivots = jnp.diagonal(inner)
        inner = inner + jnp.diag(jnp.where(pivots == 0, 1, 0).astype(t.dtype))
        known = jnp.where(above, known, 0)
        x = lax.linalg.triangular_solve(inner, known[:, None], left_side=True, lower=False)
        x = jnp.where(above & (pivots == 0), otherwise(x), x)
        return f + x * (rows == j).astype(t.dtype)

    return lax.fori_loop(1, max(n, 1), column, jnp.diag(diagonal))


@custom_jvp
def _sqrtm(a: Array) -> Array:
    t, z = schur(a, "complex")
    roots = jnp.sqrt(jnp.diagonal(t))

    def no_root(numerator: Array) -> Array:
        return jnp.where(numerator == 0, 0, jnp.nan)

    root = _columns(t, roots, lambda f, line, j: (f, roots[j], line), no_root)
    return z @ root @ adjoint(z)


@_sqrtm.defjvp
def _sqrtm_jvp(primals: Any, tangents: Any) -> Any:
    root = _sqrtm(*primals)  # of root @ root == a, the derivative is a Sylvester equation
    return root, solve_sylvester(root, root, tangents[0].astype(root.dtype), tol=0.0)


def sqrtm(A: Any, blocksize: int = 1) -> Array:  # noqa: N803
    """The principal square root of a matrix: complex, and differentiable.

    Args:
        A: ``[n, n]``; a root is found if 0 is not an eigenvalue, else NaNs may be given.
        blocksize: must be 1.

    Example:
        >>> import nr.numpy as jnp
        >>> sqrtm(jnp.array([[4., 0.], [0., 9.]])).real
        Array([[2., 0.],
               [0., 3.]], dtype=float32)
    """
    if blocksize > 1:
        raise NotImplementedError(f"sqrtm: blocksize must be 1; got {blocksize}.")
    return _sqrtm(_one("sqrtm", A))


def funm(A: Any, func: Callable[[Array], Array], disp: bool = True) -> Any:  # noqa: N803
    """A function of a matrix, by Parlett's recurrence: eigenvalues should be far from each other.

    Args:
        A: ``[n, n]``.
        func: the function, element by element, of complex numbers.
        disp: whether to give no estimate of the error.

    Returns:
        The complex matrix; and, if not disp, the estimate of its error in the 1-norm.

    Example:
        >>> import nr.numpy as jnp
        >>> funm(jnp.array([[1., 0.], [0., 4.]]), jnp.sqrt).real
        Array([[1., 0.],
               [0., 2.]], dtype=float32)
    """
    t, z = schur(_one("funm", A), "complex")
    eigenvalues = jnp.diagonal(t)
    values = func(eigenvalues)

    def system(f: Array, line: Array, j: Any) -> Any:
        return t, -eigenvalues[j], f @ line - line * values[j]

    result = z @ _columns(t, values, system, lambda numerator: numerator) @ adjoint(z)
    if disp:
        return result
    gaps = jnp.abs(eigenvalues[:, None] - eigenvalues)
    gaps = jnp.where(jnp.triu(gaps > 0, 1), gaps, jnp.inf)
    least = jnp.min(gaps, initial=1.0)
    epsilon = float(jnp.finfo(t.dtype).eps)
    size = jnp.linalg.norm(jnp.triu(t, 1), 1)
    error = jnp.clip(epsilon / least * size, epsilon, 1.0)
    return result, jnp.where(jnp.isfinite(result).all(), error, jnp.inf)


def _one(op: str, a: Any) -> Array:
    a = matrices(op, a, square=True)
    if a.ndim != 2:
        raise ValueError(f"{op}: one matrix [n, n] was expected; got {a.aval}. Use nr.vmap.")
    return a
