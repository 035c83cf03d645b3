"""What distributions share: promotion of their arguments, and location and scale."""

from __future__ import annotations

from typing import Any

from nr.core.array import Array
from nr.numpy.promotion import broadcast_arrays_list, promote_inexact


def arguments(op: str, *xs: Any) -> list[Array]:
    """Arguments in one floating dtype and shape."""
    return broadcast_arrays_list(op, *promote_inexact(op, *xs))


def standard(op: str, x: Any, loc: Any, scale: Any) -> tuple[Array, Array]:
    """(x - loc) / scale, and the scale."""
    x, loc, scale = arguments(op, x, loc, scale)
    return (x - loc) / scale, scale
