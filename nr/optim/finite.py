"""Steps that are skipped where gradients are not finite, and what they are made from."""

from __future__ import annotations

import dataclasses
from functools import reduce
from typing import Any

import nr.numpy as jnp
from nr import lax
from nr.core import dtypes
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_leaves, tree_map
from nr.optim.base import GradientTransformation
from nr.transforms.make_jaxpr import eval_shape

__all__ = ["ApplyIfFiniteState", "all_finite", "apply_if_finite", "select_tree"]


def all_finite(tree: Any) -> Array:
    """Whether no leaf of a pytree holds an infinity or NaN, as a b1[].

    Example:
        >>> import nr
        >>> nr.optim.all_finite({"w": nr.numpy.array([1.0, nr.numpy.inf]), "n": 3})
        Array(False, dtype=bool)
    """
    leaves = [jnp.asarray(x) for x in tree_leaves(tree)]
    each = [jnp.all(jnp.isfinite(x)) for x in leaves if x.dtype in dtypes.INEXACT]
    return reduce(jnp.logical_and, each) if each else jnp.asarray(True)


def select_tree(which: Any, on_true: Any, on_false: Any) -> Any:
    """One of two pytrees of the same structure and types, by a b1[].

    Example:
        >>> import nr
        >>> old, new = {"w": nr.numpy.zeros(2)}, {"w": nr.numpy.ones(2)}
        >>> nr.optim.select_tree(nr.optim.all_finite(new), new, old)
        {'w': Array([1., 1.], dtype=float32)}
    """
    which = jnp.asarray(which)
    if which.shape != () or which.dtype not in dtypes.BOOL:
        raise TypeError(f'select_tree: a b1[] was required; got {which.aval} for "which".')
    return tree_map(lambda a, b: jnp.where(which, a, b), on_true, on_false)


def update_if(
    condition: Array,
    transformation: GradientTransformation,
    grads: Any,
    state: Any,
    params: Any,
    extra: dict[str, Any],
) -> tuple[Any, Any]:
    """The transformation's update where the condition holds, else zeros and the same state."""

    def make() -> tuple[Any, Any]:
        return transformation.update(grads, state, params, **extra)

    # The transformation decides the dtypes of its updates.
    avals, _ = eval_shape(make)

    def skip() -> tuple[Any, Any]:
        return tree_map(lambda aval: jnp.zeros(aval.shape, aval.dtype), avals), state

    return lax.cond(condition, make, skip)


@register_dataclass
@dataclasses.dataclass(frozen=True)
class ApplyIfFiniteState:
    """The state of `apply_if_finite`.

    Attributes:
        max_consecutive_errors: how many steps in a row are skipped at most.
        last_finite: b1[], whether the last gradients were finite.
        consecutive_errors: i32[], how many gradients in a row were not.
        total_errors: i32[], how many gradients were not.
        inner: the state of the transformation.
    """

    max_consecutive_errors: Array
    last_finite: Array
    consecutive_errors: Array
    total_errors: Array
    inner: Any


def apply_if_finite(
    transformation: GradientTransformation, max_consecutive_errors: int
) -> GradientTransformation:
    """Skip the steps whose gradients hold an infinity or NaN: zero updates and the same state.

    Args:
        transformation: for gradients that are finite.
        max_consecutive_errors: after so many skipped steps in a row the next is made whatever its
            gradients are, so that an error that stays is seen.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.apply_if_finite(nr.optim.sgd(0.5), 3)
        >>> state = optimizer.init(nr.numpy.zeros(2))
        >>> updates, state = optimizer.update(nr.numpy.array([1.0, nr.numpy.nan]), state)
        >>> updates, int(state.total_errors), int(state.inner.step)
        (Array([0., 0.], dtype=float32), 1, 0)
    """
    if isinstance(max_consecutive_errors, int) and max_consecutive_errors < 0:
        raise ValueError(
            "apply_if_finite: max_consecutive_errors must not be negative; got "
            f"{max_consecutive_errors}."
        )

    def init(params: Any) -> ApplyIfFiniteState:
        zero = jnp.zeros((), "int32")
        return ApplyIfFiniteState(
            max_consecutive_errors=jnp.asarray(max_consecutive_errors, "int32"),
            last_finite=jnp.asarray(True),
            consecutive_errors=zero,
            total_errors=zero,
            inner=transformation.init(params),
        )

    def update(
        grads: Any, state: ApplyIfFiniteState, params: Any = None, **extra: Any
    ) -> tuple[Any, ApplyIfFiniteState]:
        finite = all_finite(grads)
        consecutive = jnp.where(finite, 0, state.consecutive_errors + 1)
        makes_step = finite | (consecutive > state.max_consecutive_errors)
        updates, inner = update_if(makes_step, transformation, grads, state.inner, params, extra)
        return updates, ApplyIfFiniteState(
            max_consecutive_errors=state.max_consecutive_errors,
            last_finite=finite,
            consecutive_errors=consecutive,
            total_errors=jnp.where(finite, state.total_errors, state.total_errors + 1),
            inner=inner,
        )

    return GradientTransformation(init, update)
