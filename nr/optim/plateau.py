"""reduce_on_plateau: smaller steps when a value, such as the loss, does not improve any more."""

from __future__ import annotations

import dataclasses
from typing import Any

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.trees import register_dataclass, tree_map
from nr.optim.base import GradientTransformation
from nr.optim.hyper import Number, check_nonnegative, hyper_dtype

__all__ = ["PlateauState", "reduce_on_plateau"]


@register_dataclass
@dataclasses.dataclass(frozen=True)
class PlateauState:
    """The state of `reduce_on_plateau`.

    Attributes:
        scale: what updates are multiplied by.
        best: the best value so far.
        bad: i32[], how many values in a row were no improvement.
        cooling: i32[], how many more values are not counted.
        average: of the values since the last one that was judged.
        count: i32[], how many these are.
        factor, rtol, atol, min_scale, patience, cooldown, accumulation_size: those given.
    """

    scale: Array
    best: Array
    bad: Array
    cooling: Array
    average: Array
    count: Array
    factor: Array
    rtol: Array
    atol: Array
    min_scale: Array
    patience: Array
    cooldown: Array
    accumulation_size: Array


def reduce_on_plateau(
    factor: Number = 0.1,
    patience: int = 10,
    rtol: Number = 1e-4,
    atol: Number = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: Number = 0.0,
) -> GradientTransformation:
    """Scale updates down each time a value has not improved for some calls.

    It comes last in a chain, after the optimizer, and ``update`` needs the value:
    ``update(grads, state, params, value=loss)``. The value is to be minimized; give the negative
    of one that is to be maximized.

    Args:
        factor: of the scale, in (0, 1).
        patience: how many values in a row must be no improvement: 1 more than torch's
            ``ReduceLROnPlateau`` is given, the same as optax.
        rtol, atol: an improvement is less than ``(1 - rtol) * best - atol``.
        cooldown: for how many values after a reduction none is counted.
        accumulation_size: how many values are averaged to one, for noisy losses of mini-batches.
        min_scale: where reductions end.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.chain(
        ...     nr.optim.sgd(1.0), nr.optim.reduce_on_plateau(factor=0.5, patience=2))
        >>> params = nr.numpy.zeros(())
        >>> state = optimizer.init(params)
        >>> for loss in (3.0, 2.0, 2.0, 2.0):
        ...     updates, state = optimizer.update(nr.numpy.ones(()), state, params, value=loss)
        >>> updates, state[1].scale
        (Array(-0.5, dtype=float32), Array(0.5, dtype=float32))
    """
    op = "reduce_on_plateau"
    check_nonnegative(op, rtol=rtol, atol=atol, min_scale=min_scale)
    if isinstance(factor, (int, float)) and not 0 < factor < 1:
        raise ValueError(f"{op}: factor must be between 0 and 1; got {factor}.")
    if patience < 1 or accumulation_size < 1 or cooldown < 0:
        raise ValueError(
            f"{op}: patience and accumulation_size of at least 1 and a cooldown of at least 0 were "
            f"required; got {patience}, {accumulation_size} and {cooldown}."
        )

    def init(params: Any) -> PlateauState:
        dtype = hyper_dtype(op, params)
        zero = jnp.zeros((), "int32")
        return PlateauState(
            scale=jnp.ones((), dtype),
            best=jnp.full((), jnp.inf, dtype),
            bad=zero,
            cooling=zero,
            average=jnp.zeros((), dtype),
            count=zero,
            factor=jnp.asarray(factor, dtype),
            rtol=jnp.asarray(rtol, dtype),
            atol=jnp.asarray(atol, dtype),
            min_scale=jnp.asarray(min_scale, dtype),
            patience=jnp.asarray(patience, "int32"),
            cooldown=jnp.asarray(cooldown, "int32"),
            accumulation_size=jnp.asarray(accumulation_size, "int32"),
        )

    def update(
        grads: Any, state: PlateauState, params: Any = None, *, value: Any = None, **extra: Any
    ) -> tuple[Any, PlateauState]:
        if value is None:
            raise TypeError(
                f'{op}: the value to be minimized was required; got None for "value". '
                "Write update(grads, state, params, value=loss)."
            )
        if jnp.shape(value) != ():
            raise TypeError(
                f'{op}: a value of rank 0 was required; got shape {jnp.shape(value)} for "value". '
                "Give its mean."
            )
        state = _observe(state, jnp.asarray(value, state.best.dtype))
        return tree_map(lambda g: (state.scale * g).astype(g.dtype), grads), state

    return GradientTransformation(init, update)


def _observe(state: PlateauState, value: Array) -> PlateauState:
    count = state.count + 1
    average = state.average + (value - state.average) / count
    judges = count >= state.accumulation_size
    better = average < (1 - state.rtol) * state.best - state.atol
    cools = state.cooling > 0
    bad = jnp.where(better | cools, 0, state.bad + 1)
    reduces = bad >= state.patience
    cooling = jnp.where(reduces, state.cooldown, state.cooling - cools)
    scale = jnp.where(
        reduces, jnp.maximum(state.scale * state.factor, state.min_scale), state.scale
    )
    return dataclasses.replace(
        state,
        scale=jnp.where(judges, scale, state.scale),
        best=jnp.where(judges & better, average, state.best),
        bad=jnp.where(judges, jnp.where(reduces, 0, bad), state.bad),
        cooling=jnp.where(judges, cooling, state.cooling),
        average=jnp.where(judges, 0, average),
        count=jnp.where(judges, 0, count),
    )
