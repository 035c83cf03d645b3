"""Operations that raise where they make a NaN: eager ones here; compiled ones carry checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from nr.core.array import ArrayImpl
from nr.core.config import config
from nr.core.tracing import EVAL, EvalTrace, Primitive, current_trace, set_trace

# What cannot make a NaN of numbers.
HARMLESS = frozenset([
    "abs", "argsort", "bitcast_convert_type", "broadcast_in_dim", "ceil", "clamp", "concatenate",
    "conj", "convert_element_type", "copy", "cummax", "cummin", "device_put", "dynamic_slice",
    "dynamic_update_slice", "floor", "gather", "imag", "in_lanes", "max", "min", "neg", "pad",
    "real", "reduce_max", "reduce_min", "reduce_precision", "reshape", "rev", "round", "scatter",
    "select_n", "sign", "slice", "sort", "squeeze", "stop_gradient", "top_k", "transpose",
])  # fmt: skip


class _CheckingTrace(EvalTrace):
    """Run now, and look for NaNs where that is asked for.

    It is no `EVAL`, so that nothing takes a way around it, or around what else is looked at.
    """

    __slots__ = ()

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict) -> Any:
        out = primitive.evaluate(args, params)
        if config.debug_nans and primitive.name not in HARMLESS:
            for x in out if primitive.multiple_results else (out,):
                _refuse_nans(primitive.name, x)
        return out


CHECKING = _CheckingTrace()


def _refuse_nans(name: str, x: Any) -> None:
    if type(x) is not ArrayImpl or np.dtype(x.dtype).kind not in "fcV":
        return
    bad = np.asarray(x.data != x.data)
    if bad.any():
        place = tuple([int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape)])
        element = f"element {place} of its result" if place else "its result"
        raise FloatingPointError(f"{name}: {element} is NaN.")


def check_eager_code(on: bool) -> None:
    """Take the long way in what runs at once, where options are looked at, or stop doing so."""
    if current_trace() is (EVAL if on else CHECKING):
        set_trace(CHECKING if on else EVAL)


@contextmanager
def debug_nans(on: bool = True) -> Iterator[None]:
    """In a ``with`` block, operations that make a NaN raise FloatingPointError.

    Eager code raises at the operation. Functions that are jitted are traced as with
    ``nr.jit(f, check="nan")``: the message has the operation and its line.

    Args:
        on: False ends the checks for a block.

    Example:
        >>> import nr, nr.numpy as jnp
        >>> with nr.debug_nans(True):
        ...     jnp.log(jnp.array([1.0, -1.0]))
        Traceback (most recent call last):
        FloatingPointError: log: element (1,) of its result is NaN.
    """
    before = config.debug_nans
    config.debug_nans = on
    try:
        yield
    finally:
        config.debug_nans = before
