"""What programs say to a compiler: barriers, tokens, code by platform, named composites."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nr.core import devices, dtypes
from nr.core.array import Array
from nr.core.jaxprs import name_scope
from nr.core.tracing import Primitive, typeof
from nr.core.trees import tree_map
from nr.lax.rules import linear, operand

# ---------------------------------------------------------------- barriers and tokens
optimization_barrier_p: Primitive = linear(
    "optimization_barrier",
    abstract_eval=lambda x: x.strip_weak_type(),
    transpose=lambda ct, x: optimization_barrier_p.bind(ct),
    batch=lambda axis, args, dims: (optimization_barrier_p.bind(*args), dims[0]),
)


def optimization_barrier(operand: Any, /) -> Any:
    """A pytree of arrays as it is; what is computed from it is not merged with what is not.

    So ``f(x)`` and ``f(optimization_barrier(x))`` are both computed. Unlike in JAX, the compiler
    may still fuse operations before the barrier with those after it.

    Example:
        >>> import nr
        >>> nr.lax.optimization_barrier({"x": 1.0})
        {'x': Array(1., dtype=float32)}
    """
    return tree_map(lambda x: optimization_barrier_p.bind(_operand(x)), operand)


def _operand(x: Any) -> Any:
    return operand("optimization_barrier", x)


def create_token(_: Any = None) -> Array:
    """A value to order effects by, as in JAX; effects keep their order here without one."""
    return operand("create_token", np.bool_(False))


def after_all(*operands: Any) -> Array:
    """One token from several.

    Example:
        >>> import nr
        >>> nr.lax.after_all(nr.lax.create_token(), nr.lax.create_token()).shape
        ()
    """
    if not operands:
        return create_token()
    return optimization_barrier(operands)[0]


# ---------------------------------------------------------------- platforms and composites
def platform_dependent(
    *args: Any, default: Callable | None = None, **per_platform: Callable
) -> Any:
    """The function of the platform in use, applied to the arguments.

    Args:
        args: the arguments, pytrees of arrays.
        default: for platforms that are not named.
        per_platform: functions by platform: ``cpu=...``, ``cuda=...``.

    Raises:
        NotImplementedError: if there is no function for the platform.

    Example:
        >>> import nr
        >>> nr.lax.platform_dependent(2.0, cpu=lambda x: x + 1, default=lambda x: x)
        3.0
    """
    platform = devices.current_default().platform
    chosen = per_platform.get(platform, default)
    if chosen is None:
        raise NotImplementedError(
            f"platform_dependent: a function for {platform} is needed; got "
            f"{', '.join(sorted(per_platform)) or 'none'}. Pass {platform}=..., or default=...."
        )
    return chosen(*args)


def composite(decomposition: Callable, name: str, version: int = 0) -> Callable:
    """A function under a name by which compilers could know it; it is its decomposition here.

    Args:
        decomposition: ``f(*arrays, **attributes)``.
        name: the name, a scope in `nr.profile` and in jaxprs.
        version: accepted as in JAX.

    Example:
        >>> import nr
        >>> tangent = nr.lax.composite(lambda x: nr.lax.sin(x) / nr.lax.cos(x), name="my.tangent")
        >>> tangent(0.0)
        Array(0., dtype=float32, weak_type=True)
    """

    @functools.wraps(decomposition)
    def composed(*args: Any, **attributes: Any) -> Any:
        with name_scope(name):
            return decomposition(*args, **attributes)

    return composed


# ---------------------------------------------------------------- values
def stage(x: Any, /) -> Array:
    """A Python number or a NumPy array as an array of nr; other arrays as they are."""
    return operand("stage", x)


def dtype(x: Any) -> np.dtype:
    """The dtype that a value has as an array of nr, or that a dtype or scalar type stands for.

    Example:
        >>> import nr
        >>> nr.lax.dtype(1.0), nr.lax.dtype(int)
        (dtype('float32'), dtype('int32'))
    """
    if isinstance(x, type):
        return typeof(x(0)).dtype
    if isinstance(x, (np.dtype, str)):
        return dtypes.canonicalize(x)
    if isinstance(getattr(x, "dtype", None), np.dtype):  # ShapeDtypeStructs, too
        return dtypes.canonicalize(x.dtype)
    return typeof(x).dtype
