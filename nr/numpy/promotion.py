"""Dtype promotion and broadcasting of operands, made explicit for the operations of nr.lax."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl, weak_scalar
from nr.core.config import config
from nr.core.errors import ShapeMismatchError
from nr.core.tracing import PYTHON_SCALARS
from nr.lax.convert import convert_element_type
from nr.lax.rules import convert_weak, operand
from nr.lax.shape import broadcast_in_dim_p

__all__ = [
    "broadcast_arrays_list",
    "broadcast_shape",
    "broadcast_to_shape",
    "cast",
    "dtype_and_weak",
    "promote",
    "promote_broadcast",
    "promote_inexact",
    "scalar_array",
]


def dtype_and_weak(x: Any) -> tuple[np.dtype, bool]:
    """What an operand brings to a promotion: its dtype, and whether that is weak."""
    if isinstance(x, Array):
        return x.dtype, x.weak_type
    kind = type(x)
    return dtypes.scalar_dtype(kind), kind is not bool


def scalar_array(x: Any, dtype: np.dtype, weak: bool = False) -> ArrayImpl:
    """A Python number as a rank-0 array.

    An integer beyond the dtype wraps around if the default integer holds it, as in JAX.

    Raises:
        OverflowError: if it does not.
    """
    try:
        data = np.asarray(x, dtype)
    except OverflowError:
        data = np.asarray(x, config.default_int).astype(dtype)
    return ArrayImpl(data, None, weak)


def cast(x: Any, dtype: np.dtype, weak: bool = False) -> Array:
    """An operand in a dtype that it was promoted to."""
    if type(x) in PYTHON_SCALARS:
        return scalar_array(x, dtype, weak)
    if x.dtype == dtype:
        return x
    return convert_weak(x, dtype) if weak else convert_element_type(x, dtype)


@functools.lru_cache(4096)
def _promoted(pairs: tuple[tuple[np.dtype, bool], ...], options: tuple) -> tuple[np.dtype, bool]:
    return dtypes.promote(list(pairs))


def _common_dtype(values: list[Any]) -> tuple[np.dtype, bool]:
    """The promoted dtype of operands, and whether it is weak."""
    pairs = tuple([dtype_and_weak(x) for x in values])
    return _promoted(pairs, config.trace_key())


def _operands(op: str, xs: tuple[Any, ...]) -> list[Any]:
    """Operands as Arrays, Python numbers as they are."""
    xs = tuple([weak_scalar(x) for x in xs])
    return [x if type(x) in PYTHON_SCALARS else operand(op, x) for x in xs]


def promote(op: str, *xs: Any) -> list[Array]:
    """Operands in their common dtype (JAX's lattice; Python numbers are weak).

    Raises:
        TypeError: if one is no array and no number.

    Example:
        >>> import nr.numpy as jnp
        >>> promote("add", jnp.array([1, 2]), 0.5)
        [Array([1., 2.], dtype=float32), Array(0.5, dtype=float32, weak_type=True)]
    """
    first = xs[0]
    if isinstance(first, Array):
        aval = first.aval
        for x in xs:
            if not isinstance(x, Array) or (x.aval is not aval and x.dtype != aval.dtype):
                break
        else:
            return list(xs)
    values = _operands(op, xs)
    dtype, weak = _common_dtype(values)
    return [cast(x, dtype, weak) for x in values]


def promote_inexact(op: str, *xs: Any) -> list[Array]:
    """Operands in their common dtype, made floating where it is an integer type or bool."""
    first = xs[0]
    if isinstance(first, Array):
        dtype = first.dtype
        if dtype in dtypes.INEXACT:
            for x in xs:
                if not isinstance(x, Array) or x.dtype != dtype:
                    break
            else:
                return list(xs)
    values = _operands(op, xs)
    dtype, weak = _common_dtype(values)
    dtype = dtypes.to_inexact(dtype)
    return [cast(x, dtype, weak) for x in values]


def broadcast_shape(op: str, *xs: Any) -> tuple[int, ...]:
    """The shape to which arrays broadcast together.

    Raises:
        ShapeMismatchError: if their shapes are not compatible.
    """
    shape = _broadcast(tuple([x.shape for x in xs]))
    if shape is None:
        got = " and ".join(str(x.aval) for x in xs)
        raise ShapeMismatchError(
            f"{op}: Incompatible shapes for broadcasting: {got}. Extents must be equal or 1, "
            f"counted from the last dimension: insert one with x[..., None] or reshape."
        )
    return shape


@functools.lru_cache(4096)
def _broadcast(shapes: tuple[tuple[int, ...], ...]) -> tuple[int, ...] | None:
    """The common shape of shapes, if there is one."""
    rank = max([len(s) for s in shapes])
    result = []
    for column in zip(*[(1,) * (rank - len(s)) + s for s in shapes], strict=True):
        wide = {n for n in column if n != 1}
        if len(wide) > 1:
            return None
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def broadcast_to_shape(x: Any, shape: tuple[int, ...]) -> Array:
    """x broadcast to a shape with which its own is known to be compatible."""
    own = x.shape
    if own == shape:
        return x
    dims = tuple(range(len(shape) - len(own), len(shape)))
    return broadcast_in_dim_p.bind(x, shape=shape, broadcast_dimensions=dims)


def broadcast_arrays_list(op: str, *xs: Any) -> list[Array]:
    """Operands broadcast to their common shape.

    Raises:
        ValueError: if the shapes are not compatible.
        TypeError: if an operand is no array and no number.
    """
    arrays = [operand(op, x) for x in xs]
    if len({x.shape for x in arrays}) == 1:
        return arrays
    shape = broadcast_shape(op, *arrays)
    return [broadcast_to_shape(x, shape) for x in arrays]


def promote_broadcast(op: str, *xs: Any, inexact: bool = False) -> list[Array]:
    """Operands of elementwise primitives: in their common dtype (and shape, if not of rank 0).

    Rank-0 operands stay as they are, since elementwise primitives take them beside any shape.

    Example:
        >>> import nr.numpy as jnp
        >>> [x.shape for x in promote_broadcast("add", jnp.ones((2, 3)), jnp.ones(3), 1)]
        [(2, 3), (2, 3), ()]
    """
    arrays = promote_inexact(op, *xs) if inexact else promote(op, *xs)
    shape: tuple[int, ...] = ()
    for x in arrays:
        own = x.shape
        if own and own != shape:
            if shape:
                break
            shape = own
    else:
        return arrays
    if config.numpy_rank_promotion != "allow":
        _question_ranks(op, arrays)
    shape = broadcast_shape(op, *arrays)
    return [broadcast_to_shape(x, shape) if x.shape else x for x in arrays]


def _question_ranks(op: str, arrays: list[Array]) -> None:
    """Warn or raise where arrays of several ranks, none of them 0, are to be broadcast."""
    if len({x.ndim for x in arrays if x.ndim}) < 2:
        return
    message = (
        f"{op}: Operands could not be broadcast together: arrays of one rank were expected, "
        f"jax_numpy_rank_promotion being {config.numpy_rank_promotion!r}; got "
        f"{' and '.join([str(x.aval) for x in arrays])}. Insert dimensions with x[None]."
    )
    if config.numpy_rank_promotion == "raise":
        raise ValueError(message)
    warnings.warn(message, stacklevel=2)
