"""What functions of matrices check."""

from __future__ import annotations

from typing import Any

from nr.core.array import Array
from nr.lax.linalg.matrices import check_matrices
from nr.numpy.promotion import promote_inexact

__all__ = ["matrices"]


def matrices(op: str, a: Any, *, square: bool = False) -> Array:
    """One (square) matrix or a stack of them, floating."""
    (a,) = promote_inexact(op, a)
    check_matrices(op, a.aval, square=square)
    return a
