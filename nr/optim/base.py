"""The one type of optimizers and of what they are chained from: a pair of pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import tree_leaves, tree_map

__all__ = ["GradientTransformation", "apply_updates", "chain", "global_norm"]


class UpdateFunction(Protocol):
    """The type of ``update``."""

    def __call__(
        self, grads: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class GradientTransformation:
    """A pair of pure functions that turn gradients into updates: an optimizer, or a part of one.

    Attributes:
        init: ``init(params) -> state``. The state is a pytree that also holds the
            hyper-parameters, to be read, and changed by `dataclasses.replace`, between steps.
        update: ``update(grads, state, params=None, **extra) -> (updates, state)``; updates have
            the structure of grads and are added to the parameters (`apply_updates`). Extra
            arguments are for transformations that need more than gradients; others ignore them.

    Example:
        >>> import nr
        >>> params = nr.numpy.array([1.0, 2.0])
        >>> optimizer = nr.optim.sgd(0.5)
        >>> state = optimizer.init(params)
        >>> grads = nr.grad(lambda p: (p ** 2).sum())(params)
        >>> updates, state = optimizer.update(grads, state, params)
        >>> nr.optim.apply_updates(params, updates)
        Array([0., 0.], dtype=float32)
    """

    init: Callable[[Any], Any]
    update: UpdateFunction


def apply_updates(params: Any, updates: Any) -> Any:
    """params + updates, leaf by leaf, in the dtypes of params.

    Args:
        params: a pytree of arrays.
        updates: a pytree of the same structure, from ``update``.
    """
    return tree_map(lambda p, u: (p + u).astype(p.dtype), params, updates)


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """One transformation that applies several in turn; its state is the tuple of theirs.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.chain(nr.optim.clip_by_global_norm(2.5), nr.optim.sgd(0.5))
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> optimizer.update(nr.numpy.array([3.0, 4.0]), state)[0]
        Array([-0.75, -1.  ], dtype=float32)
    """

    def init(params: Any) -> tuple:
        return tuple([t.init(params) for t in transformations])

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, tuple]:
        if len(state) != len(transformations):
            raise ValueError(
                f"chain: a state of {len(transformations)} parts was required; got {len(state)}. "
                "Make it with this chain's init."
            )
        states = []
        for transformation, part in zip(transformations, state):
            grads, part = transformation.update(grads, part, params, **extra)
            states.append(part)
        return grads, tuple(states)

    return GradientTransformation(init, update)


def global_norm(tree: Any) -> Array:
    """The Euclidean norm of all leaves of a pytree taken together.

    Example:
        >>> import nr
        >>> nr.optim.global_norm({"w": nr.numpy.array([3.0]), "b": nr.numpy.array([4.0])})
        Array(5., dtype=float32)
    """
    squares = [jnp.sum(jnp.square(jnp.abs(x))) for x in tree_leaves(tree)]
    return jnp.sqrt(sum(squares[1:], start=squares[0])) if squares else jnp.zeros(())
