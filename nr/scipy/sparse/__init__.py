"""Sparse linear algebra: solvers that need products with a matrix only."""

from nr.scipy.sparse import linalg

__all__ = ["linalg"]
