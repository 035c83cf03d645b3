"""What optimizers share: hyper-parameters as arrays of their states, and rules of one leaf.

Hyper-parameters are arrays of rank 0 in the state, in the widest dtype of the parameters and at
least float32. Moments have their parameter's dtype and at least float32, since an average in
bfloat16 stops to change when its changes are below 1/256 of it. Arithmetic is done in the wider of
these dtypes, and updates are rounded to the gradients' dtypes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import typeof
from nr.core.trees import keystr, tree_flatten, tree_leaves_with_path, tree_map, tree_unflatten

__all__ = [
    "Number",
    "Rate",
    "Schedule",
    "bias_correction",
    "check_nonnegative",
    "common_fields",
    "current_rate",
    "hyper_dtype",
    "is_zero",
    "map_leaves",
    "moments_like",
    "need_params",
    "rate_at",
    "widen",
]

Schedule = Callable[[Any], Any]
Number = float | Array
Rate = float | Array | Schedule

_FLOAT32 = dtypes.DTYPES["float32"]


# ---------------------------------------------------------------- hyper-parameters
def hyper_dtype(op: str, params: Any) -> np.dtype:
    """The dtype of hyper-parameters for these parameters, which must be real."""
    dtype = _FLOAT32
    for path, leaf in tree_leaves_with_path(params):
        aval = typeof(leaf)
        if aval.dtype not in dtypes.FLOATING:
            raise TypeError(
                f'{op}: floating parameters were required; got {aval} at "params{keystr(path)}". '
                "Keep what is not trained out of the parameters, or mark it static."
            )
        dtype = dtypes.promote_types(dtype, aval.dtype)
    return dtype


def check_nonnegative(op: str, below: float = np.inf, **hyper: Any) -> None:
    """Raise ValueError for a number that is negative, or not below the bound."""
    for name, value in hyper.items():
        if isinstance(value, (int, float)) and not 0 <= value < below:
            upper = "" if below == np.inf else f" and less than {below:g}"
            raise ValueError(f"{op}: {name} must not be negative{upper}; got {value}.")


def is_zero(value: Any) -> bool:
    """Whether a hyper-parameter is the number 0, so that what it scales can be left out."""
    return isinstance(value, (int, float)) and value == 0


def rate_at(learning_rate: Rate, step: Array, dtype: np.dtype) -> Array:
    """A schedule's value at a step, or the fixed rate."""
    return jnp.asarray(learning_rate(step) if callable(learning_rate) else learning_rate, dtype)


def current_rate(learning_rate: Rate, state: Any) -> Array:
    """What this update uses: the state's own rate, unless a schedule says otherwise."""
    if callable(learning_rate):
        return rate_at(learning_rate, state.step, state.learning_rate.dtype)
    return state.learning_rate


def common_fields(op: str, params: Any, learning_rate: Rate, **hyper: Any) -> dict[str, Array]:
    """The fields of an optimizer's first state that are no moments: the step, rate and others."""
    dtype = hyper_dtype(op, params)
    step = jnp.zeros((), "int32")
    arrays = {name: jnp.asarray(value, dtype) for name, value in hyper.items()}
    return {"step": step, "learning_rate": rate_at(learning_rate, step, dtype), **arrays}


def bias_correction(decay: Array, step: Array) -> Array:
    """1 - decay**step, without the cancellation that costs float32 three digits at 0.999."""
    return -jnp.expm1(step.astype(decay.dtype) * jnp.log(decay))


def need_params(op: str, params: Any, why: str) -> None:
    """Raise ValueError where ``update`` got no parameters and needs them."""
    if params is None:
        raise ValueError(
            f'{op}: the parameters were required, since {why}; got None for "params". '
            "Write update(grads, state, params)."
        )


# ---------------------------------------------------------------- leaves
def moments_like(params: Any, value: Number = 0.0) -> Any:
    """Moments of parameters: filled with a value, in the leaves' dtypes and at least float32."""
    return tree_map(lambda p: jnp.full_like(p, value, dtype=_at_least_float32(p)), params)


def map_leaves(rule: Callable, grads: Any, params: Any, mask: Any, *moments: Any) -> tuple:
    """Apply the formula of an optimizer to every leaf.

    Args:
        rule: ``rule(g, p, decays, *moments) -> (update, *moments)``. It gets the gradient and the
            parameter as float32 where they are shorter; its results are rounded to the dtypes of
            the gradient and of the moments that they replace. What is None stays None.
        grads, params, mask, moments: trees of the same structure; all but grads may be None. A
            leaf of mask may be a tuple.

    Returns:
        The tree of updates and those of the new moments.
    """
    leaves, treedef = tree_flatten(grads)
    absent = tree_map(lambda _: None, grads)
    columns: list[list[Any]] = []

    def visit(g: Any, p: Any, decays: Any, *old: Any) -> None:
        new = rule(widen(g), None if p is None else widen(p), decays, *old)
        dtype_of = [typeof(g).dtype, *[None if m is None else typeof(m).dtype for m in old]]
        columns.append([None if d is None else x.astype(d) for x, d in zip(new, dtype_of)])

    tree_map(visit, grads, *[absent if tree is None else tree for tree in (params, mask, *moments)])
    return tuple(
        [
            None if tree is None else tree_unflatten(treedef, [row[i] for row in columns])
            for i, tree in enumerate((grads, *moments))
        ]
    )


def _at_least_float32(x: Any) -> np.dtype:
    return dtypes.promote_types(typeof(x).dtype, _FLOAT32)


def widen(x: Any) -> Array:
    """x in its dtype and at least float32."""
    return jnp.asarray(x, _at_least_float32(x))
