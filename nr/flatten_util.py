"""Pytrees as vectors: `ravel_pytree`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr.core import dtypes
from nr.core.array import Array
from nr.core.trees import tree_flatten, tree_unflatten
from nr.lax.convert import convert_element_type
from nr.lax.rules import operand
from nr.lax.shape import concatenate, full, reshape, slice_in_dim

__all__ = ["ravel_pytree"]


def ravel_pytree(pytree: Any) -> tuple[Array, Callable[[Any], Any]]:
    """All leaves of a pytree in one vector, and the function that undoes it.

    Leaves of different dtypes are promoted; the inverse restores each one's own.

    Example:
        >>> import nr
        >>> from nr.flatten_util import ravel_pytree
        >>> flat, unravel = ravel_pytree({"a": nr.numpy.ones(2), "b": nr.numpy.zeros(())})
        >>> flat, unravel(flat)["a"]
        (Array([1., 1., 0.], dtype=float32), Array([1., 1.], dtype=float32))
    """
    leaves, tree = tree_flatten(pytree)
    leaves = [operand("ravel_pytree", x) for x in leaves]
    shapes, kinds = [x.shape for x in leaves], [x.dtype for x in leaves]
    if not leaves:
        return full((0,), 0.0), lambda _: tree_unflatten(tree, [])
    dtype, _ = dtypes.promote([(d, False) for d in kinds])
    flat = concatenate([convert_element_type(reshape(x, (x.size,)), dtype) for x in leaves], 0)
    sizes = [x.size for x in leaves]
    mixed = len(set(kinds)) > 1  # leaves of one dtype follow the vector, whatever its dtype

    def unravel(vector: Any) -> Any:
        vector = operand("unravel", vector)
        if vector.shape != flat.shape:
            raise ValueError(
                f"unravel: a vector of the shape that ravel_pytree gave, {flat.aval}, was "
                f"expected; got {vector.aval}."
            )
        if mixed and vector.dtype != flat.dtype:
            raise TypeError(
                f"unravel: a vector of the dtype that ravel_pytree gave, {flat.aval}, was "
                f"expected; got {vector.aval}. Convert with .astype({flat.dtype.name!r})."
            )
        parts, start = [], 0
        for shape, kind, n in zip(shapes, kinds, sizes, strict=True):
            part = reshape(slice_in_dim(vector, start, start + n), shape)
            parts.append(convert_element_type(part, kind) if mixed else part)
            start += n
        return tree_unflatten(tree, parts)

    return flat, unravel
