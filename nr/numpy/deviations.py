"""Sums of squared deviations from the mean, with a derivative that leaves out what is 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core.array import Array
from nr.core.tracing import Tracer
from nr.lax.elementwise import div, mul, square, sub
from nr.lax.reduce import reduce_sum_p
from nr.lax.shape import broadcast_in_dim
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["squared_deviations"]


def squared_deviations(x: Array, axes: tuple[int, ...]) -> Array:
    """``sum((x - mean(x))²)`` over axes, of real floats; there must be elements to sum."""
    # Numbers that nothing traces need no rule, and the call through one would take longer.
    return (_with_rule if isinstance(x, Tracer) else _sum_of_squares)(x, axes)


def _deviations(x: Any, axes: tuple[int, ...]) -> Any:
    shape = x.shape
    n = np.prod([shape[d] for d in axes], dtype=np.float64).astype(x.dtype)
    mean = div(reduce_sum_p.bind(x, axes=axes), n)
    kept = tuple([d for d in range(len(shape)) if d not in axes])
    return sub(x, broadcast_in_dim(mean, shape, kept))


def _sum_of_squares(x: Any, axes: tuple[int, ...]) -> Any:
    return reduce_sum_p.bind(square(_deviations(x, axes)), axes=axes)


_with_rule = custom_jvp(_sum_of_squares, nondiff_argnums=(1,))


@_with_rule.defjvp
def _sum_of_squares_jvp(axes: tuple[int, ...], primals: Any, tangents: Any) -> Any:
    """2 sum((x - mean) dx): the term with the mean's tangent is 0, for deviations sum to 0. It is
    made of operations with derivatives, for those of higher order."""
    (x,), (t,) = primals, tangents
    scattered = reduce_sum_p.bind(mul(_deviations(x, axes), t), axes=axes)
    return squared_deviations(x, axes), mul(scattered, np.asarray(2, scattered.dtype))
