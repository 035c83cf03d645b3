"""Parts of chains that remember nothing: functions of the updates and the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import tree_map
from nr.optim.base import GradientTransformation
from nr.optim.hyper import widen

__all__ = ["centralize", "stateless", "zero_nans"]


def stateless(f: Callable[[Any, Any], Any]) -> GradientTransformation:
    """A transformation made of a function ``f(updates, params) -> updates``.

    Args:
        f: of two trees of one structure; params is None where ``update`` got none.

    Example:
        >>> import nr
        >>> signs = nr.optim.stateless(lambda grads, _: nr.tree.map(nr.numpy.sign, grads))
        >>> optimizer = nr.optim.chain(signs, nr.optim.sgd(0.1))
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([2.0, -3.0]), state)[0]
        Array([-0.1,  0.1], dtype=float32)
    """

    def update(grads: Any, state: tuple, params: Any = None, **extra: Any) -> tuple[Any, tuple]:
        return f(grads, params), state

    return GradientTransformation(lambda params: (), update)


def centralize() -> GradientTransformation:
    """Take the mean off the gradients of each output: over all axes of a weight but the last.

    Leaves of fewer than two axes pass as they are.

    Source: Yong et al., "Gradient Centralization: A New Optimization Technique for Deep Neural
    Networks", 2020, equation 1; `nr.nn` has outputs on the last axis.

    Example:
        >>> import nr
        >>> part = nr.optim.centralize()
        >>> grads = nr.numpy.array([[1.0, 5.0], [3.0, 5.0]])
        >>> part.update(grads, part.init(grads))[0]
        Array([[-1.,  0.],
               [ 1.,  0.]], dtype=float32)
    """

    def centered(g: Array) -> Array:
        if g.ndim < 2:
            return g
        mean = jnp.mean(widen(g), tuple(range(g.ndim - 1)), keepdims=True)
        return (g - mean).astype(g.dtype)

    return stateless(lambda grads, params: tree_map(centered, grads))


def zero_nans() -> GradientTransformation:
    """Replace NaN by 0 in gradients, and leave all others as they are.

    `apply_if_finite` leaves out whole steps instead, which is the safer remedy.

    Example:
        >>> import nr
        >>> part = nr.optim.zero_nans()
        >>> grads = nr.numpy.array([1.0, float("nan")])
        >>> part.update(grads, part.init(grads))[0]
        Array([1., 0.], dtype=float32)
    """
    return stateless(lambda grads, params: tree_map(lambda g: jnp.where(jnp.isnan(g), 0, g), grads))
