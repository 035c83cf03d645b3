"""What compiled programs run for a primitive of one's own: a function of arrays.

JAX lowers to StableHLO; nr has no such text, and takes rules made by `lower_fun` only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nr.extend.own_primitives import Primitive

__all__ = ["lower_fun", "register_lowering"]


@dataclass(frozen=True)
class _LoweredFunction:
    fun: Callable
    multiple_results: bool


def lower_fun(fun: Callable, multiple_results: bool = True) -> Any:
    """A rule for `register_lowering`: run a function that is made of other primitives."""
    return _LoweredFunction(fun, multiple_results)


def register_lowering(
    prim: Primitive, rule: Any, platform: str | None = None, **options: Any
) -> None:
    """Say what compiled programs run for a primitive.

    Args:
        prim: the primitive.
        rule: what `lower_fun` made.
        platform: in JAX, a platform; in nr the rule holds for all.

    Raises:
        TypeError: for a rule that makes StableHLO.

    Example:
        >>> import nr
        >>> mlir = nr.interpreters.mlir
        >>> cube_p = nr.extend.core.Primitive("cube")
        >>> _ = cube_p.def_abstract_eval(lambda x: x)
        >>> mlir.register_lowering(cube_p, mlir.lower_fun(lambda x: x ** 3, multiple_results=False))
        >>> nr.jit(cube_p.bind)(nr.numpy.float32(2))
        Array(8., dtype=float32)
    """
    if not isinstance(rule, _LoweredFunction):
        raise TypeError(
            f"register_lowering: a rule made by mlir.lower_fun was expected for {prim.name}; got "
            f"{rule!r}. nr has no StableHLO: write the primitive as a function of arrays."
        )
    if not isinstance(prim, Primitive):
        raise TypeError(
            f"register_lowering: a primitive made by nr.extend.core.Primitive was expected; got "
            f"{prim!r}. nr's own primitives keep their kernels."
        )
    fun, several = rule.fun, prim.multiple_results
    if rule.multiple_results and not several:
        prim.lowering = lambda *args, **params: fun(*args, **params)[0]
    else:
        prim.lowering = fun
