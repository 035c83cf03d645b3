"""Pytrees as vectors: `ravel_pytree`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.tracing import typeof
from nr.core.trees import PyTreeDef, tree_flatten, tree_unflatten
from nr.lax.convert import convert_element_type
from nr.lax.rules import operand
from nr.lax.shape import concatenate, full, reshape, slice_in_dim

__all__ = ["ravel_pytree"]


@dataclass(frozen=True)
class Unravel:
    """A vector's pytree; of trees of one structure and types they are equal (static arguments)."""

    tree: PyTreeDef
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[np.dtype, ...]
    aval: ShapedArray

    def __call__(self, vector: Any) -> Any:
        """The pytree of the elements of a vector of the shape that `ravel_pytree` gave."""
        if not self.shapes:
            return tree_unflatten(self.tree, [])
        vector = operand("unravel", vector)
        mixed = len(set(self.dtypes)) > 1  # leaves of one dtype follow the vector, whatever its
        if vector.shape != self.aval.shape:
            raise ValueError(
                f"unravel: a vector of the shape that ravel_pytree gave, {self.aval}, was "
                f"expected; got {vector.aval}."
            )
        if mixed and vector.dtype != self.aval.dtype:
            raise TypeError(
                f"unravel: a vector of the dtype that ravel_pytree gave, {self.aval}, was "
                f"expected; got {vector.aval}. Convert with .astype({self.aval.dtype.name!r})."
            )
        parts, start = [], 0
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            n = math.prod(shape)
            part = reshape(slice_in_dim(vector, start, start + n), shape)
            parts.append(convert_element_type(part, dtype) if mixed else part)
            start += n
        return tree_unflatten(self.tree, parts)


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
    shapes, kinds = tuple([x.shape for x in leaves]), tuple([x.dtype for x in leaves])
    if leaves:
        dtype, _ = dtypes.promote([(d, False) for d in kinds])
        columns = [convert_element_type(reshape(x, (x.size,)), dtype) for x in leaves]
        flat = concatenate(columns, 0)
    else:
        flat = full((0,), 0.0)
    return flat, Unravel(tree, shapes, kinds, typeof(flat))
