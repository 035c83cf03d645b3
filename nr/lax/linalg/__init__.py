"""Matrix factorizations and solvers over stacks of matrices, with JAX's names (jax.lax.linalg).

The last two dimensions are those of the matrices; all others go along.
"""

from nr.lax.linalg.determinants import det, slogdet
from nr.lax.linalg.factorizations import cholesky, eig, eigh, qr, svd
from nr.lax.linalg.lu import lu, lu_pivots_to_permutation
from nr.lax.linalg.solvers import solve, triangular_solve

__all__ = [
    "cholesky",
    "det",
    "eig",
    "eigh",
    "lu",
    "lu_pivots_to_permutation",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "triangular_solve",
]
