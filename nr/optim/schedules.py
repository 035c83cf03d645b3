"""Schedules: functions from the step to a hyper-parameter, such as the learning rate.

A step is an i32[] counted from 0, or an array of them (for a plot); the value is a float32, or a
float64 where a value given to the schedule is an array of that dtype. Steps are counted and
compared as integers, and ends of a transition are reached exactly; distances to both ends are
taken before they are rounded, so that values close to zero keep their digits in long schedules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.optim.hyper import Schedule

__all__ = [
    "constant_schedule",
    "cosine_decay_schedule",
    "exponential_decay",
    "inverse_sqrt_schedule",
    "join_schedules",
    "linear_schedule",
    "multi_step_schedule",
    "piecewise_constant_schedule",
    "polynomial_schedule",
    "step_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
]


# ---------------------------------------------------------------- what schedules are made from
def value_dtype(*values: Any) -> np.dtype:
    """The dtype of a schedule between these values: float32 unless one is an array of float64."""
    return dtypes.promote_types(dtypes.DTYPES["float32"], jnp.result_type(*values))


def check_steps(op: str, least: int = 1, **counts: Any) -> None:
    """Raise unless all counts of steps are integers of at least `least`."""
    for name, value in counts.items():
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(
                f"{op}: {name} must be an integer of at least {least}; got {value!r}. "
                "Count in steps, not in epochs or fractions."
            )


def check_positive(op: str, **values: Any) -> None:
    """Raise where a value that is a Python number is not positive."""
    for name, value in values.items():
        if isinstance(value, (int, float)) and not value > 0:
            raise ValueError(f"{op}: {name} must be positive; got {value}.")


def fractions(step: Any, begin: int, steps: int, dtype: np.dtype) -> tuple[Array, Array]:
    """The part of a transition that is done at a step, and the part that is left, both in [0, 1].

    One minus the other would lose the digits of whichever is small.
    """
    done = jnp.clip(jnp.asarray(step) - begin, 0, steps)
    return done.astype(dtype) / steps, (steps - done).astype(dtype) / steps


def cosine_weights(done: Array, left: Array) -> tuple[Array, Array]:
    """(1 + cos(pi done)) / 2 and (1 - cos(pi done)) / 2, without their cancellation."""
    quarter = math.pi / 2
    return jnp.square(jnp.sin(quarter * left)), jnp.square(jnp.sin(quarter * done))


def power_of(base: Any, exponent: Array) -> Array:
    """base**exponent for large exponents and a base near 1, whose float32 is not near enough."""
    if isinstance(base, (int, float)):
        return jnp.exp(exponent * math.log(base))
    return jnp.exp(exponent * jnp.log(jnp.asarray(base, exponent.dtype)))


# ---------------------------------------------------------------- constants and jumps
def constant_schedule(value: float | Array) -> Schedule:
    """The same value at all steps.

    Example:
        >>> import nr
        >>> nr.optim.constant_schedule(0.1)(100)
        Array(0.1, dtype=float32)
    """

    def schedule(step: Any) -> Array:
        return jnp.full(jnp.shape(step), value, value_dtype(value))

    return schedule


def piecewise_constant_schedule(
    init_value: float | Array, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """A value that is multiplied by a scale at each of some steps.

    Args:
        init_value: the value before the first boundary.
        boundaries_and_scales: what the value is multiplied by from each boundary on (at the
            boundary itself too).

    Example:
        >>> import nr
        >>> schedule = nr.optim.piecewise_constant_schedule(1.0, {100: 0.5, 200: 0.1})
        >>> schedule(nr.numpy.array([99, 100, 200]))
        Array([1.  , 0.5 , 0.05], dtype=float32)
    """
    changes = sorted((boundaries_and_scales or {}).items())
    for boundary, scale in changes:
        check_steps("piecewise_constant_schedule", least=0, boundary=boundary)
        if isinstance(scale, (int, float)) and not scale >= 0:
            raise ValueError(
                f"piecewise_constant_schedule: scales must not be negative; got {scale} at step "
                f"{boundary}."
            )

    def schedule(step: Any) -> Array:
        step, dtype = jnp.asarray(step), value_dtype(init_value)
        scale, out = 1.0, jnp.full(step.shape, init_value, dtype)
        for boundary, change in changes:
            scale = scale * change
            out = jnp.where(step < boundary, out, jnp.asarray(init_value * scale, dtype))
        return out

    return schedule


def step_schedule(init_value: float | Array, step_size: int, gamma: float = 0.1) -> Schedule:
    """A value that is multiplied by gamma every step_size steps: torch's ``StepLR``.

    Example:
        >>> import nr
        >>> schedule = nr.optim.step_schedule(1.0, step_size=30, gamma=0.5)
        >>> schedule(nr.numpy.array([29, 30, 60]))
        Array([1.  , 0.5 , 0.25], dtype=float32)
    """
    check_steps("step_schedule", step_size=step_size)
    check_positive("step_schedule", gamma=gamma)
    return exponential_decay(init_value, step_size, gamma, staircase=True)


def multi_step_schedule(
    init_value: float | Array, milestones: Iterable[int], gamma: float = 0.1
) -> Schedule:
    """A value that is multiplied by gamma at each milestone: torch's ``MultiStepLR``.

    Args:
        init_value: the value before the first milestone.
        milestones: steps in any order; one that is there twice counts twice.
        gamma: the factor.

    Example:
        >>> import nr
        >>> schedule = nr.optim.multi_step_schedule(1.0, [30, 80], gamma=0.5)
        >>> schedule(nr.numpy.array([29, 30, 80]))
        Array([1.  , 0.5 , 0.25], dtype=float32)
    """
    scales: dict[int, float] = {}
    for milestone in milestones:
        check_steps("multi_step_schedule", least=0, milestone=milestone)
        scales[milestone] = scales.get(milestone, 1.0) * gamma
    return piecewise_constant_schedule(init_value, scales)


# ---------------------------------------------------------------- decays
def polynomial_schedule(
    init_value: float | Array,
    end_value: float | Array,
    power: float | Array,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """From one value to another by ``(init - end) * (1 - t / transition_steps)**power + end``.

    Args:
        init_value: the value until transition_begin.
        end_value: the value from transition_begin + transition_steps on.
        power: 1 for a straight line.
        transition_steps: how many steps the transition takes.
        transition_begin: the step at which it begins.

    Example:
        >>> import nr
        >>> schedule = nr.optim.polynomial_schedule(1.0, 0.0, power=2, transition_steps=10)
        >>> schedule(nr.numpy.array([0, 5, 10]))
        Array([1.  , 0.25, 0.  ], dtype=float32)
    """
    check_steps("polynomial_schedule", transition_steps=transition_steps)
    check_steps("polynomial_schedule", least=0, transition_begin=transition_begin)

    def schedule(step: Any) -> Array:
        dtype = value_dtype(init_value, end_value, power)
        done, left = fractions(step, transition_begin, transition_steps, dtype)
        if isinstance(power, (int, float)) and power == 1:
            return init_value * left + end_value * done
        weight = left**power
        return init_value * weight + end_value * (1 - weight)

    return schedule


def linear_schedule(
    init_value: float | Array,
    end_value: float | Array,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """From one value to another in a straight line: a warm-up where it rises.

    Args:
        init_value: the value until transition_begin.
        end_value: the value from transition_begin + transition_steps on.
        transition_steps: how many steps the transition takes.
        transition_begin: the step at which it begins.

    Example:
        >>> import nr
        >>> nr.optim.linear_schedule(0.0, 1.0, 4)(nr.numpy.arange(6))
        Array([0.  , 0.25, 0.5 , 0.75, 1.  , 1.  ], dtype=float32)
    """
    check_steps("linear_schedule", transition_steps=transition_steps)
    check_steps("linear_schedule", least=0, transition_begin=transition_begin)
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


def exponential_decay(
    init_value: float | Array,
    transition_steps: int,
    decay_rate: float | Array,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | Array | None = None,
) -> Schedule:
    """A value that is multiplied by decay_rate every transition_steps: ``ExponentialLR``, if 1.

    Args:
        init_value: the value until transition_begin.
        transition_steps: in how many steps the value changes by decay_rate.
        decay_rate: positive.
        transition_begin: the step at which the decay begins.
        staircase: change only at multiples of transition_steps.
        end_value: where the decay stops (or the growth, where decay_rate is 1 or more).

    Example:
        >>> import nr
        >>> nr.optim.exponential_decay(1.0, 2, 0.25)(nr.numpy.arange(5))
        Array([1.    , 0.5   , 0.25  , 0.125 , 0.0625], dtype=float32)
    """
    check_steps("exponential_decay", transition_steps=transition_steps)
    check_steps("exponential_decay", least=0, transition_begin=transition_begin)
    check_positive("exponential_decay", decay_rate=decay_rate)

    def schedule(step: Any) -> Array:
        done = jnp.maximum(jnp.asarray(step) - transition_begin, 0)
        dtype = value_dtype(init_value, decay_rate)
        exponent = (
            (done // transition_steps).astype(dtype)
            if staircase
            else done.astype(dtype) / transition_steps
        )
        value = init_value * power_of(decay_rate, exponent)
        if end_value is None:
            return value
        # An array decays: whether it grows is not known when the program is made.
        grows = isinstance(decay_rate, (int, float)) and decay_rate >= 1
        return (jnp.minimum if grows else jnp.maximum)(value, end_value)

    return schedule


def cosine_decay_schedule(
    init_value: float | Array,
    decay_steps: int,
    alpha: float | Array = 0.0,
    exponent: float | Array = 1.0,
) -> Schedule:
    """Half a wave of a cosine from init_value to ``alpha * init_value``, which then stays.

    Args:
        init_value: the value at step 0.
        decay_steps: the step at which the end is reached.
        alpha: the end value as a part of init_value.
        exponent: of the wave, which goes from 1 to 0.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016,
    equation 5. torch's ``CosineAnnealingLR`` is the same up to ``T_max``, and then rises again.

    Example:
        >>> import nr
        >>> nr.optim.cosine_decay_schedule(1.0, 4)(nr.numpy.arange(5)).round(4)
        Array([1.    , 0.8536, 0.5   , 0.1464, 0.    ], dtype=float32)
    """
    check_steps("cosine_decay_schedule", decay_steps=decay_steps)
    return _cosine(init_value, init_value * alpha, decay_steps, exponent)


def _cosine(init_value: Any, end_value: Any, steps: int, exponent: Any = 1.0) -> Schedule:
    def schedule(step: Any) -> Array:
        dtype = value_dtype(init_value, end_value, exponent)
        falling, rising = cosine_weights(*fractions(step, 0, steps, dtype))
        if not isinstance(exponent, (int, float)) or exponent != 1:
            falling = falling**exponent
            rising = 1 - falling
        return init_value * falling + end_value * rising

    return schedule


def inverse_sqrt_schedule(
    peak_value: float | Array, warmup_steps: int, init_value: float | Array = 0.0
) -> Schedule:
    """A linear warm-up to peak_value, then ``peak_value * sqrt(warmup_steps / step)``.

    Args:
        peak_value: the value at step warmup_steps.
        warmup_steps: the length of the warm-up.
        init_value: the value at step 0.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 5.3, where peak_value is
    ``(d_model * warmup_steps)**-0.5``.

    Example:
        >>> import nr
        >>> nr.optim.inverse_sqrt_schedule(1.0, 4)(nr.numpy.array([0, 2, 4, 16]))
        Array([0. , 0.5, 1. , 0.5], dtype=float32)
    """
    check_steps("inverse_sqrt_schedule", warmup_steps=warmup_steps)

    def decay(step: Any) -> Array:
        dtype = value_dtype(peak_value, init_value)
        steps = jnp.maximum(jnp.asarray(step), 0) + warmup_steps
        return peak_value * jnp.sqrt(warmup_steps / steps.astype(dtype))

    return _after_warmup(init_value, peak_value, warmup_steps, decay)


# ---------------------------------------------------------------- one after another
def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Several schedules, one after another; each counts its steps from its own beginning.

    Args:
        schedules: at least one.
        boundaries: the steps at which the second, third, ... begin; they rise.

    Example:
        >>> import nr
        >>> warmup = nr.optim.linear_schedule(0.0, 1.0, 2)
        >>> schedule = nr.optim.join_schedules([warmup, lambda step: 1 / (1 + step)], [2])
        >>> schedule(nr.numpy.arange(5))
        Array([0.        , 0.5       , 1.        , 0.5       , 0.33333334], dtype=float32)
    """
    if not schedules or len(boundaries) != len(schedules) - 1:
        raise ValueError(
            "join_schedules: one schedule more than boundaries was required; got "
            f"{len(schedules)} schedules and {len(boundaries)} boundaries."
        )
    if any(b < a for a, b in zip(boundaries, boundaries[1:])):
        raise ValueError(f"join_schedules: boundaries must rise; got {list(boundaries)}.")

    def schedule(step: Any) -> Array:
        step = jnp.asarray(step)
        out = jnp.asarray(schedules[0](step))
        for boundary, following in zip(boundaries, schedules[1:]):
            out = jnp.where(step < boundary, out, following(step - boundary))
        return out

    return schedule


def _after_warmup(init_value: Any, peak_value: Any, steps: int, following: Schedule) -> Schedule:
    if steps == 0:
        return following
    return join_schedules([linear_schedule(init_value, peak_value, steps), following], [steps])


def warmup_constant_schedule(
    init_value: float | Array, peak_value: float | Array, warmup_steps: int
) -> Schedule:
    """A straight line from init_value to peak_value, which then stays.

    Args:
        init_value: the value at step 0.
        peak_value: the value from step warmup_steps on.
        warmup_steps: 0 for none.

    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2.

    Example:
        >>> import nr
        >>> nr.optim.warmup_constant_schedule(0.0, 1.0, 2)(nr.numpy.arange(4))
        Array([0. , 0.5, 1. , 1. ], dtype=float32)
    """
    check_steps("warmup_constant_schedule", least=0, warmup_steps=warmup_steps)
    return _after_warmup(init_value, peak_value, warmup_steps, constant_schedule(peak_value))


def warmup_cosine_decay_schedule(
    init_value: float | Array,
    peak_value: float | Array,
    warmup_steps: int,
    decay_steps: int,
    end_value: float | Array = 0.0,
    exponent: float | Array = 1.0,
) -> Schedule:
    """A straight line from init_value to peak_value, then half a cosine down to end_value.

    Args:
        init_value: the value at step 0.
        peak_value: the value at step warmup_steps.
        warmup_steps: 0 for none.
        decay_steps: the step at which end_value is reached: warm-up and decay together.
        end_value: the value from then on.
        exponent: of the cosine's wave, which goes from 1 to 0.

    Example:
        >>> import nr
        >>> schedule = nr.optim.warmup_cosine_decay_schedule(0.0, 1.0, 10, 110, end_value=0.1)
        >>> schedule(nr.numpy.array([0, 5, 10, 60, 110])).round(4)
        Array([0.  , 0.5 , 1.  , 0.55, 0.1 ], dtype=float32)
    """
    check_steps("warmup_cosine_decay_schedule", least=0, warmup_steps=warmup_steps)
    check_steps("warmup_cosine_decay_schedule", least=warmup_steps + 1, decay_steps=decay_steps)
    decay = _cosine(peak_value, end_value, decay_steps - warmup_steps, exponent)
    return _after_warmup(init_value, peak_value, warmup_steps, decay)


def warmup_exponential_decay_schedule(
    init_value: float | Array,
    peak_value: float | Array,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: float | Array,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | Array | None = None,
) -> Schedule:
    """A straight line from init_value to peak_value, then an exponential decay.

    Args:
        init_value: the value at step 0.
        peak_value: the value at step warmup_steps.
        warmup_steps: 0 for none.
        transition_steps, decay_rate, staircase, end_value: as in `exponential_decay`.
        transition_begin: how many steps after the warm-up the decay begins.

    Example:
        >>> import nr
        >>> schedule = nr.optim.warmup_exponential_decay_schedule(0.0, 1.0, 2, 1, 0.5)
        >>> schedule(nr.numpy.arange(5))
        Array([0.  , 0.5 , 1.  , 0.5 , 0.25], dtype=float32)
    """
    check_steps("warmup_exponential_decay_schedule", least=0, warmup_steps=warmup_steps)
    decay = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return _after_warmup(init_value, peak_value, warmup_steps, decay)
