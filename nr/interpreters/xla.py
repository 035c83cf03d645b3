"""Running a primitive outside of jit by what compiled programs run for it."""

from __future__ import annotations

from typing import Any

from nr.extend.own_primitives import Primitive

__all__ = ["apply_primitive"]


def apply_primitive(prim: Primitive, *args: Any, **params: Any) -> Any:
    """What a primitive gives, by the lowering that `nr.interpreters.mlir` knows for it.

    Example:
        >>> import functools, nr
        >>> mlir, xla = nr.interpreters.mlir, nr.interpreters.xla
        >>> cube_p = nr.extend.core.Primitive("cube")
        >>> _ = cube_p.def_abstract_eval(lambda x: x)
        >>> _ = cube_p.def_impl(functools.partial(xla.apply_primitive, cube_p))
        >>> mlir.register_lowering(cube_p, mlir.lower_fun(lambda x: x ** 3, multiple_results=False))
        >>> cube_p.bind(nr.numpy.float32(2))
        Array(8., dtype=float32)
    """
    if prim.lowering is None:
        raise NotImplementedError(
            f"{prim.name}: a lowering was expected. Give it with nr.interpreters.mlir."
            f"register_lowering({prim.name}_p, nr.interpreters.mlir.lower_fun(f))."
        )
    return prim.lowering(*args, **params)
