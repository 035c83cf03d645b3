"""fwd_and_bwd: the forward and the backward pass of a function as two functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nr.transforms.compiled_function import jit
from nr.transforms.derivatives import vjp


def fwd_and_bwd(
    fun: Callable, argnums: int | Sequence[int], has_aux: bool = False, jitted: bool = True
) -> tuple[Callable, Callable]:
    """The forward and the backward pass of a function, each compiled once.

    Args:
        fun: a function of arrays and pytrees.
        argnums: which positional arguments to differentiate.
        has_aux: fun returns ``(output, aux)``, and aux is not differentiated.
        jitted: whether the two are jitted functions.

    Returns:
        ``fwd(*args) -> (output, residuals)``, with aux behind them if has_aux; and
        ``bwd(residuals, cotangent)``, the cotangents of the arguments: a tuple, if argnums is one.

    Example:
        >>> import nr
        >>> fwd, bwd = nr.fwd_and_bwd(lambda x, y: x * y, argnums=(0, 1))
        >>> out, residuals = fwd(2.0, 3.0)
        >>> bwd(residuals, 1.0)
        (Array(3., dtype=float32, weak_type=True), Array(2., dtype=float32, weak_type=True))
    """
    single = isinstance(argnums, int)
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def fwd(*args: Any) -> Any:
        numbers = [i % len(args) for i in places]

        def of_differentiated(*given: Any) -> Any:
            full = list(args)
            for i, x in zip(numbers, given, strict=True):
                full[i] = x
            return fun(*full)

        return vjp(of_differentiated, *[args[i] for i in numbers], has_aux=has_aux)

    def bwd(residuals: Any, cotangent: Any) -> Any:
        cts = residuals(cotangent)
        return cts[0] if single else cts

    return (jit(fwd), jit(bwd)) if jitted else (fwd, bwd)
