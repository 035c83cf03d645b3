"""Krylov solvers of linear systems, with the names of jax.scipy.sparse.linalg."""

from nr.scipy.sparse.linalg.solvers import bicgstab, cg, gmres

__all__ = ["bicgstab", "cg", "gmres"]
