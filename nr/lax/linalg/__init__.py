"""Matrix factorizations and solvers over stacks of matrices, with JAX's names (jax.lax.linalg).

The last two dimensions are those of the matrices; all others go along.
"""

import importlib
from typing import Any

from nr.lax.linalg.determinants import det, slogdet
from nr.lax.linalg.factorizations import cholesky, eig, eigh, qr, svd
from nr.lax.linalg.lu import lu, lu_pivots_to_permutation
from nr.lax.linalg.products import symmetric_product
from nr.lax.linalg.reductions import hessenberg, schur, tridiagonal
from nr.lax.linalg.reflectors import householder_product, ormqr
from nr.lax.linalg.solvers import solve, triangular_solve
from nr.lax.linalg.tridiagonal_systems import tridiagonal_solve
from nr.lax.primitives import named_primitive

# Algorithms that are loops stand above this package, as control flow does.
_LOOPS = ("cholesky_update", "qdwh")

__all__ = [
    "cholesky",
    "cholesky_update",
    "det",
    "eig",
    "eigh",
    "hessenberg",
    "householder_product",
    "lu",
    "lu_pivots_to_permutation",
    "ormqr",
    "qdwh",
    "qr",
    "schur",
    "slogdet",
    "solve",
    "svd",
    "symmetric_product",
    "triangular_solve",
    "tridiagonal",
    "tridiagonal_solve",
]


def __getattr__(name: str) -> Any:
    if name not in _LOOPS:
        return named_primitive(name, __name__)
    return getattr(importlib.import_module("nr.transforms.matrix_loops"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LOOPS])
