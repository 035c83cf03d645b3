"""`cg`, `bicgstab` and `gmres` for users: matrices or functions, vectors or pytrees, derivatives.

Derivatives are those of the solution, not of the steps: each mode solves one more system.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array
from nr.core.trees import tree_flatten, tree_unflatten
from nr.lax.rules import operand
from nr.numpy.promotion import cast, promote_inexact
from nr.scipy.sparse.linalg import krylov
from nr.transforms.derivatives import linear_transpose

__all__ = ["bicgstab", "cg", "gmres"]


class _Space:
    """The pytrees like b as vectors."""

    def __init__(self, op: str, b: Any) -> None:
        leaves, self.tree = tree_flatten(b)
        if not leaves:
            raise ValueError(f'{op}: "b" must hold arrays; got {b!r}.')
        self.op = op
        self.leaves = [operand(op, x) for x in leaves]
        self.dtype = promote_inexact(op, *self.leaves)[0].dtype

    def vector(self, name: str, value: Any) -> Array:
        """A pytree as a vector; it must have the structure and shapes of b."""
        leaves, tree = tree_flatten(value)
        if tree != self.tree:
            raise ValueError(
                f'{self.op}: {name} must have the structure of "b", {self.tree}; got {tree}.'
            )
        leaves = [operand(self.op, x) for x in leaves]
        for x, own in zip(leaves, self.leaves):
            if x.shape != own.shape:
                raise ValueError(
                    f'{self.op}: {name} must have the shapes of "b"; got {x.aval} for {own.aval}.'
                )
        flat = [cast(x, self.dtype).reshape(-1) for x in leaves]
        return flat[0] if len(flat) == 1 else lax.concatenate(flat, 0)

    def pytree(self, vector: Array) -> Any:
        values, start = [], 0
        for own in self.leaves:
            part = lax.slice_in_dim(vector, start, start + own.size, axis=0)
            values.append(part.reshape(own.shape))
            start += own.size
        return tree_unflatten(self.tree, values)

    def operator(self, name: str, function: Any) -> Callable[[Array], Array]:
        """A matrix, or a function of pytrees, as a function of vectors."""
        if not callable(function):
            function = self._product(name, function)
        return lambda v: self.vector(f"the result of {name}", function(self.pytree(v)))

    def _product(self, name: str, matrix: Any) -> Callable[[Any], Any]:
        matrix = operand(self.op, matrix)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(
                f"{self.op}: {name} must be a square matrix or a function; got {matrix.aval}."
            )
        if not self.tree.is_leaf or self.leaves[0].shape[:1] != matrix.shape[:1]:
            got = self.leaves[0].aval if self.tree.is_leaf else self.tree
            raise ValueError(
                f'{self.op}: "b" must be [{matrix.shape[0]}] or [{matrix.shape[0]}, k], as {name} '
                f"is {matrix.aval}; got {got}. Give a function for other structures."
            )
        return lambda v: matrix @ v


def _solve(
    op: str,
    method: Callable,
    A: Any,  # noqa: N803 - the field's name
    b: Any,
    x0: Any,
    tol: float,
    atol: float,
    maxiter: int | None,
    M: Any,  # noqa: N803
    *,
    hermitian: bool = False,
) -> Any:
    space = _Space(op, b)
    right = space.vector("b", b)
    start = jnp.zeros_like(right) if x0 is None else space.vector("x0", x0)
    start = lax.stop_gradient(start)
    precondition = (lambda v: v) if M is None else space.operator("M", M)
    steps = 10 * right.size if maxiter is None else maxiter

    def solve(matvec: Callable, rhs: Array) -> Array:
        return _from(start, precondition, matvec, rhs)

    def transpose_solve(matvec: Callable, rhs: Array) -> Array:
        transposed = precondition
        if M is not None:
            transposed = lambda v: linear_transpose(precondition, v)(v)[0]  # noqa: E731
        return _from(jnp.zeros_like(rhs), transposed, matvec, rhs)

    def _from(x: Array, precondition: Callable, matvec: Callable, rhs: Array) -> Array:
        threshold = jnp.maximum(tol * jnp.sqrt(jnp.vdot(rhs, rhs).real), atol)
        return method(matvec, rhs, x, threshold, steps, precondition)

    symmetric = hermitian and right.dtype.kind != "c"
    matvec = space.operator("A", A)
    x = lax.custom_linear_solve(matvec, right, solve, transpose_solve, symmetric=symmetric)
    return space.pytree(x), x


def cg(
    A: Any,  # noqa: N803 - the field's name
    b: Any,
    x0: Any = None,
    *,
    tol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
    M: Any = None,  # noqa: N803
) -> tuple[Any, None]:
    """The solution of A x = b for a Hermitian positive definite A, by conjugate gradients.

    It has derivatives with respect to b and what A depends on, in both modes.

    Args:
        A: a matrix ``[n, n]``, or a linear function of pytrees like b.
        b: the right-hand side, an array or a pytree of arrays.
        x0: where to start, like b; by default zeros.
        tol: end where the residual's norm is at most tol times that of b,
        atol: or at most atol.
        maxiter: the most steps; by default ten times the size of b.
        M: an approximate inverse of A, as A is given: fewer steps, the better it is.

    Returns:
        x like b, and None (the place of SciPy's `info`).

    Raises:
        ValueError: if A, x0 or M do not fit b.

    Example:
        >>> import nr.numpy as jnp
        >>> x, _ = cg(jnp.array([[4., 1.], [1., 3.]]), jnp.array([6., 7.]))
        >>> x.round(4)
        Array([1., 2.], dtype=float32)
    """
    method = krylov.conjugate_gradients
    return _solve("cg", method, A, b, x0, tol, atol, maxiter, M, hermitian=True)[0], None


def bicgstab(
    A: Any,  # noqa: N803
    b: Any,
    x0: Any = None,
    *,
    tol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
    M: Any = None,  # noqa: N803
) -> tuple[Any, None]:
    """The solution of A x = b by stabilized biconjugate gradients; arguments as in `cg`.

    Example:
        >>> import nr.numpy as jnp
        >>> x, _ = bicgstab(jnp.array([[4., 1.], [0., 3.]]), jnp.array([6., 6.]))
        >>> x.round(4)
        Array([1., 2.], dtype=float32)
    """
    return _solve("bicgstab", krylov.bicgstab, A, b, x0, tol, atol, maxiter, M)[0], None


def gmres(
    A: Any,  # noqa: N803
    b: Any,
    x0: Any = None,
    *,
    tol: float = 1e-5,
    atol: float = 0.0,
    restart: int = 20,
    maxiter: int | None = None,
    M: Any = None,  # noqa: N803
    solve_method: str = "batched",
) -> tuple[Any, Array]:
    """The solution of A x = b by generalized minimal residuals; arguments as in `cg`, and these.

    Args:
        restart: how many vectors a basis has, before a new one is begun.
        maxiter: the most bases.
        solve_method: "batched" or "incremental", for JAX's sake: steps end at the tolerance.

    Returns:
        x like b, and a rank-0 integer: 0, or -1 if x has a NaN.

    Example:
        >>> import nr.numpy as jnp
        >>> x, _ = gmres(jnp.array([[4., 1.], [0., 3.]]), jnp.array([6., 6.]))
        >>> x.round(4)
        Array([1., 2.], dtype=float32)
    """
    if solve_method not in ("batched", "incremental"):
        raise ValueError(
            f'gmres: solve_method must be "batched" or "incremental"; got {solve_method!r}.'
        )
    method = functools.partial(krylov.gmres, restart=restart)
    x, vector = _solve("gmres", method, A, b, x0, tol, atol, maxiter, M)
    return x, jnp.where(jnp.isnan(vector).any(), -1, 0)
