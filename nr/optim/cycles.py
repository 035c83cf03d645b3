"""Schedules that rise again: warm restarts, one-cycle and cyclic schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

import nr.numpy as jnp
from nr.core.array import Array
from nr.optim.hyper import Schedule
from nr.optim.schedules import (
    check_positive,
    check_steps,
    cosine_weights,
    fractions,
    join_schedules,
    power_of,
    value_dtype,
    warmup_cosine_decay_schedule,
)

__all__ = [
    "cosine_onecycle_schedule",
    "cosine_restarts_schedule",
    "cyclic_schedule",
    "linear_onecycle_schedule",
    "piecewise_interpolate_schedule",
    "sgdr_schedule",
]

_LAST_STEP = np.iinfo(np.int32).max


# ---------------------------------------------------------------- warm restarts
def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Several warm-ups and cosine decays, one after another.

    Args:
        cosine_kwargs: for each cycle the arguments of `warmup_cosine_decay_schedule`; its
            decay_steps is the length of the cycle.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016.

    Example:
        >>> import nr
        >>> cycle = dict(init_value=0.0, warmup_steps=1, decay_steps=3)
        >>> schedule = nr.optim.sgdr_schedule([cycle | {"peak_value": p} for p in (1.0, 0.5)])
        >>> schedule(nr.numpy.arange(7)).round(4)
        Array([0.  , 1.  , 0.5 , 0.  , 0.5 , 0.25, 0.  ], dtype=float32)
    """
    cycles = [dict(kwargs) for kwargs in cosine_kwargs]
    schedules = [warmup_cosine_decay_schedule(**kwargs) for kwargs in cycles]
    ends = np.cumsum([kwargs["decay_steps"] for kwargs in cycles], dtype=int).tolist()
    return join_schedules(schedules, ends[:-1])


def cosine_restarts_schedule(
    init_value: float | Array,
    first_steps: int,
    factor: int = 1,
    end_value: float | Array = 0.0,
) -> Schedule:
    """Cosine decays without end, each factor times as long as that before it.

    Args:
        init_value: the value at the beginning of each decay.
        first_steps: the length of the first decay.
        factor: by which lengths grow.
        end_value: what each decay approaches: the step at which it would be reached is the
            beginning of the next.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016;
    torch's ``CosineAnnealingWarmRestarts(T_0, T_mult, eta_min)``.

    Example:
        >>> import nr
        >>> nr.optim.cosine_restarts_schedule(1.0, 2, factor=2)(nr.numpy.arange(7)).round(4)
        Array([1.    , 0.5   , 1.    , 0.8536, 0.5   , 0.1464, 1.    ], dtype=float32)
    """
    check_steps("cosine_restarts_schedule", first_steps=first_steps, factor=factor)
    lengths, starts = [first_steps], [0]
    while factor > 1 and starts[-1] + lengths[-1] <= _LAST_STEP:
        starts.append(starts[-1] + lengths[-1])
        lengths.append(min(lengths[-1] * factor, _LAST_STEP))

    def schedule(step: Any) -> Array:
        step, dtype = jnp.asarray(step), value_dtype(init_value, end_value)
        if factor == 1:
            done, steps = step % first_steps, jnp.asarray(first_steps, "int32")
        else:
            # Starts are looked up, since a logarithm would miss some of them by rounding.
            cycle = (step[..., None] >= np.array(starts[1:], np.int32)).sum(axis=-1)
            done = step - jnp.asarray(np.array(starts, np.int32))[cycle]
            steps = jnp.asarray(np.array(lengths, np.int32))[cycle]
        size = steps.astype(dtype)
        falling, rising = cosine_weights(
            done.astype(dtype) / size, (steps - done).astype(dtype) / size
        )
        return init_value * falling + end_value * rising

    return schedule


# ---------------------------------------------------------------- one cycle
def piecewise_interpolate_schedule(
    interpolate_type: Literal["linear", "cosine"],
    init_value: float | Array,
    boundaries_and_scales: Mapping[int, float] | None = None,
) -> Schedule:
    """From value to value by straight lines or half waves of a cosine.

    Args:
        interpolate_type: how.
        init_value: the value at step 0.
        boundaries_and_scales: at each of these steps the value is that at the one before it,
            times the scale; after the last it stays.

    Example:
        >>> import nr
        >>> schedule = nr.optim.piecewise_interpolate_schedule("linear", 1.0, {2: 3.0, 4: 0.5})
        >>> schedule(nr.numpy.arange(6))
        Array([1.  , 2.  , 3.  , 2.25, 1.5 , 1.5 ], dtype=float32)
    """
    if interpolate_type not in ("linear", "cosine"):
        raise ValueError(
            'piecewise_interpolate_schedule: interpolate_type must be "linear" or "cosine"; got '
            f"{interpolate_type!r}."
        )
    changes = sorted((boundaries_and_scales or {}).items())
    for boundary, scale in changes:
        check_steps("piecewise_interpolate_schedule", least=0, boundary=boundary)
        if isinstance(scale, (int, float)) and not scale >= 0:
            raise ValueError(
                "piecewise_interpolate_schedule: scales must not be negative; got "
                f"{scale} at step {boundary}."
            )

    def schedule(step: Any) -> Array:
        step, dtype = jnp.asarray(step), value_dtype(init_value)
        out = jnp.full(step.shape, init_value, dtype)
        begin, start, scale = 0, init_value, 1.0
        for boundary, change in changes:
            scale = scale * change
            end = init_value * scale
            if boundary > begin:
                weights = fractions(step, begin, boundary - begin, dtype)
                if interpolate_type == "linear":
                    rising, falling = weights
                else:
                    falling, rising = cosine_weights(*weights)
                moving = start * falling + end * rising
            else:
                moving = jnp.asarray(end, dtype)
            out = jnp.where(step < begin, out, moving)
            begin, start = boundary, end
        return out

    return schedule


def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: float | Array,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """A straight line up to peak_value, one down to where it began, and one further down.

    Args:
        transition_steps: the length of the cycle; the value then stays.
        peak_value: the largest value.
        pct_start: the part of the cycle at which it is reached.
        pct_final: the part of the cycle at which the first value is reached again.
        div_factor: the peak over the first value.
        final_div_factor: the first value over the last.

    Source: Smith and Topin, "Super-Convergence", 2017. torch's ``OneCycleLR`` with three phases
    reaches its end at step total_steps - 1.

    Example:
        >>> import nr
        >>> schedule = nr.optim.linear_onecycle_schedule(10, 1.0, 0.5, 0.8, 5.0, 2.0)
        >>> schedule(nr.numpy.array([0, 5, 8, 10]))
        Array([0.2, 1. , 0.2, 0.1], dtype=float32)
    """
    op = "linear_onecycle_schedule"
    check_steps(op, transition_steps=transition_steps)
    check_positive(op, div_factor=div_factor, final_div_factor=final_div_factor)
    if not 0 <= pct_start <= pct_final <= 1:
        raise ValueError(
            f"{op}: 0 <= pct_start <= pct_final <= 1 was required; got {pct_start} and {pct_final}."
        )
    return _through(
        "linear",
        peak_value / div_factor,
        [
            (int(pct_start * transition_steps), div_factor),
            (int(pct_final * transition_steps), 1 / div_factor),
            (transition_steps, 1 / final_div_factor),
        ],
    )


def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: float | Array,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Half a wave of a cosine up to peak_value, and one down to almost nothing.

    Args:
        transition_steps: the length of the cycle; the value then stays.
        peak_value: the largest value.
        pct_start: the part of the cycle at which it is reached.
        div_factor: the peak over the first value.
        final_div_factor: the first value over the last.

    Source: Smith and Topin, "Super-Convergence", 2017. torch's ``OneCycleLR`` reaches its end at
    step total_steps - 1.

    Example:
        >>> import nr
        >>> schedule = nr.optim.cosine_onecycle_schedule(10, 1.0, 0.4, 5.0, 2.0)
        >>> schedule(nr.numpy.array([0, 2, 4, 10])).round(4)
        Array([0.2, 0.6, 1. , 0.1], dtype=float32)
    """
    op = "cosine_onecycle_schedule"
    check_steps(op, transition_steps=transition_steps)
    check_positive(op, div_factor=div_factor, final_div_factor=final_div_factor)
    if not 0 <= pct_start <= 1:
        raise ValueError(f"{op}: 0 <= pct_start <= 1 was required; got {pct_start}.")
    return _through(
        "cosine",
        peak_value / div_factor,
        [
            (int(pct_start * transition_steps), div_factor),
            (transition_steps, 1 / (div_factor * final_div_factor)),
        ],
    )


def _through(
    kind: Literal["linear", "cosine"], init_value: Any, changes: list[tuple[int, float]]
) -> Schedule:
    """`piecewise_interpolate_schedule`, for phases that may be empty: their factors multiply."""
    scales: dict[int, float] = {}
    for boundary, scale in changes:
        scales[boundary] = scales.get(boundary, 1.0) * scale
    return piecewise_interpolate_schedule(kind, init_value, scales)


# ---------------------------------------------------------------- cycles
def cyclic_schedule(
    base_value: float | Array,
    peak_value: float | Array,
    up_steps: int,
    down_steps: int | None = None,
    *,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: float = 1.0,
) -> Schedule:
    """Straight lines up and down again, without end: torch's ``CyclicLR``.

    Args:
        base_value: the least value.
        peak_value: the largest, reached up_steps after the beginning of each cycle.
        up_steps: the length of each way up.
        down_steps: the length of each way down, by default the same.
        mode: "triangular": all peaks are the same; "triangular2": the height of each cycle is
            half that of the one before; "exp_range": heights are scaled by gamma**step.
        gamma: of "exp_range", positive.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2015.

    Example:
        >>> import nr
        >>> nr.optim.cyclic_schedule(0.0, 1.0, 2, mode="triangular2")(nr.numpy.arange(8))
        Array([0.  , 0.5 , 1.  , 0.5 , 0.  , 0.25, 0.5 , 0.25], dtype=float32)
    """
    down_steps = up_steps if down_steps is None else down_steps
    check_steps("cyclic_schedule", up_steps=up_steps, down_steps=down_steps)
    check_positive("cyclic_schedule", gamma=gamma)
    if mode not in ("triangular", "triangular2", "exp_range"):
        raise ValueError(
            'cyclic_schedule: mode must be "triangular", "triangular2" or "exp_range"; got '
            f"{mode!r}."
        )
    period = up_steps + down_steps

    def schedule(step: Any) -> Array:
        step, dtype = jnp.asarray(step), value_dtype(base_value, peak_value)
        place = step % period
        up = place.astype(dtype) / up_steps
        down = (period - place).astype(dtype) / down_steps
        height = jnp.minimum(up, down)
        if mode == "triangular2":
            height = height * jnp.exp2(-(step // period).astype(dtype))
        elif mode == "exp_range":
            height = height * power_of(gamma, step.astype(dtype))
        return base_value * (1 - height) + peak_value * height

    return schedule
