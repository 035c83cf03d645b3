"""Krylov methods on vectors; all stop once the residual's norm is at a threshold.

R. Barrett et al. (1994), Templates for the Solution of Linear Systems, chapter 2; Y. Saad (2003),
Iterative Methods for Sparse Linear Systems, sections 6.5 and 9.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr import lax
from nr import numpy as jnp
from nr.core.array import Array

__all__ = ["bicgstab", "conjugate_gradients", "gmres"]

Operator = Callable[[Any], Any]


def _square(x: Array) -> Array:
    return jnp.vdot(x, x).real


def _ratio(a: Array, b: Array) -> Array:
    """a / b, 0 where b is: a search that broke down goes no further."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def _checked(x: Array, residual: Array) -> Array:
    """x, or NaNs if the residual has some: they end the loops, too."""
    square = _square(residual)
    return jnp.where(square == square, x, jnp.nan)


def conjugate_gradients(
    matvec: Operator, b: Array, x0: Array, threshold: Array, maxiter: int, precondition: Operator
) -> Array:
    """For Hermitian positive definite matrices: the error's energy norm falls with every step."""

    def body(state: Any) -> Any:
        x, r, z, p, rho, k = state
        q = matvec(p)
        alpha = _ratio(rho, jnp.vdot(p, q).real)
        x, r = x + alpha * p, r - alpha * q
        z = precondition(r)
        new = jnp.vdot(r, z).real
        return x, r, z, z + _ratio(new, rho) * p, new, k + 1

    def unfinished(state: Any) -> Array:
        _, r, _, _, rho, k = state
        return (_square(r) > threshold**2) & (rho != 0) & (k < maxiter)

    r = b - matvec(x0)
    z = precondition(r)
    init = (x0, r, z, z, jnp.vdot(r, z).real, 0)
    return _checked(*lax.while_loop(unfinished, body, init)[:2])


def bicgstab(
    matvec: Operator, b: Array, x0: Array, threshold: Array, maxiter: int, precondition: Operator
) -> Array:
    """Stabilized biconjugate gradients, for any matrix: no transpose, and constant memory."""

    def body(state: Any) -> Any:
        x, r, p, v, rho, alpha, omega, k = state
        new = jnp.vdot(shadow, r)
        beta = _ratio(new, rho) * _ratio(alpha, omega)
        p = r + beta * (p - omega * v)
        p_hat = precondition(p)
        v = matvec(p_hat)
        alpha = _ratio(new, jnp.vdot(shadow, v))
        s = r - alpha * v
        s_hat = precondition(s)
        t = matvec(s_hat)
        omega = _ratio(jnp.vdot(t, s), jnp.vdot(t, t))
        x = x + alpha * p_hat + omega * s_hat
        # after a breakdown no step changes anything: that ends the loop
        stuck = (new == 0) | ((alpha == 0) & (omega == 0))
        return x, s - omega * t, p, v, new, alpha, omega, jnp.where(stuck, maxiter, k + 1)

    def unfinished(state: Any) -> Array:
        return (_square(state[1]) > threshold**2) & (state[-1] < maxiter)

    r = shadow = b - matvec(x0)
    one, zeros = jnp.ones((), b.dtype), jnp.zeros_like(b)
    init = (x0, r, zeros, zeros, one, one, one, jnp.zeros((), "int32"))
    return _checked(*lax.while_loop(unfinished, body, init)[:2])


def gmres(
    matvec: Operator,
    b: Array,
    x0: Array,
    threshold: Array,
    maxiter: int,
    precondition: Operator,
    restart: int,
) -> Array:
    """Generalized minimal residuals, for any matrix; at most maxiter bases of `restart` vectors.

    Preconditioned from the left; the threshold of the preconditioned residual is in proportion.
    """
    size, moved = jnp.sqrt(_square(b)), jnp.sqrt(_square(precondition(b)))
    inner = moved * jnp.minimum(1, _ratio(threshold, size))
    restart = min(restart, b.size)

    def body(state: Any) -> Any:
        x, r, k = state
        x = x + _minimal(matvec, precondition(r), inner, precondition, restart)
        return x, b - matvec(x), k + 1

    def unfinished(state: Any) -> Array:
        return (_square(state[1]) > threshold**2) & (state[2] < maxiter)

    return _checked(*lax.while_loop(unfinished, body, (x0, b - matvec(x0), 0))[:2])


def _minimal(
    matvec: Operator, r: Array, threshold: Array, precondition: Operator, restart: int
) -> Array:
    """What a Krylov space of r has to offer: Arnoldi's basis, and rotations that solve for it."""
    beta = jnp.sqrt(_square(r))
    basis = jnp.zeros((restart + 1, r.size), r.dtype).at[0].set(_ratio(r, beta))
    # `rotations` @ (the Hessenberg matrix) is triangular; its first column times beta, what is left
    rotations = jnp.eye(restart + 1, dtype=r.dtype)
    triangle = jnp.eye(restart + 1, restart, dtype=r.dtype)

    def body(state: Any) -> Any:
        basis, rotations, triangle, k = state
        w = precondition(matvec(basis[k]))
        column = jnp.zeros(restart + 1, r.dtype)
        for _ in range(2):  # once more: what rounding errors left of the other vectors
            parts = basis.conj() @ w
            w, column = w - parts @ basis, column + parts
        norm = jnp.sqrt(_square(w))
        basis = basis.at[k + 1].set(_ratio(w, norm))
        column = rotations @ column.at[k + 1].set(norm)
        a, rest = column[k], column[k + 1]
        radius = jnp.sqrt((a * a.conj()).real + norm * norm)
        cosine, sine = _ratio(a, radius), _ratio(rest, radius)
        upper, lower = rotations[k], rotations[k + 1]
        rotations = rotations.at[k].set(cosine.conj() * upper + sine * lower)
        rotations = rotations.at[k + 1].set(cosine * lower - sine * upper)
        column = column.at[k].set(jnp.where(radius == 0, 1, radius)).at[k + 1].set(0)
        return basis, rotations, triangle.at[:, k].set(column), k + 1

    def unfinished(state: Any) -> Array:
        _, rotations, _, k = state
        return (k < restart) & (beta * jnp.abs(rotations[k, 0]) > threshold)

    basis, rotations, triangle, k = lax.while_loop(
        unfinished, body, (basis, rotations, triangle, jnp.zeros((), "int32"))
    )
    wanted = jnp.where(jnp.arange(restart) < k, beta * rotations[:restart, 0], 0)
    weights = lax.linalg.triangular_solve(
        triangle[:restart], wanted[:, None], left_side=True, lower=False
    )
    return weights[:, 0] @ basis[:restart]
