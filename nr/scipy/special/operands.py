"""What special functions do with their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr.core import dtypes
from nr.core.array import Array
from nr.numpy.promotion import broadcast_arrays_list, promote_inexact
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["constant", "operands", "unary"]


def operands(op: str, *xs: Any) -> list[Array]:
    """Real floating operands of one dtype and shape."""
    arrays = broadcast_arrays_list(op, *promote_inexact(op, *xs))
    if arrays[0].dtype in dtypes.COMPLEX:
        got = " and ".join(str(x.aval) for x in arrays)
        raise TypeError(f"{op}: real numbers were expected; got {got}.")
    return arrays


def unary(name: str, function: Callable, summary: str) -> Callable:
    """A function of one real operand, for users."""

    def apply(x: Any) -> Array:
        (x,) = operands(name, x)
        return function(x)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = summary
    return apply


def constant(op: str, name: str, x: Array) -> Array:
    """x itself; an error if the derivative with respect to it is asked for."""

    @custom_jvp
    def same(x: Array) -> Array:
        return x

    @same.defjvp
    def same_jvp(primals: Any, tangents: Any) -> Any:
        raise NotImplementedError(
            f"{op}: the derivative with respect to {name} is not defined. "
            f"Hold {name} constant, as with nr.lax.stop_gradient({name})."
        )

    return same(x)
