"""Jaxprs for programs that read, write and run them, and primitives of one's own.

nr has one class of jaxprs, which carry their constants (see docs/differences.md). `Jaxpr` and
`ClosedJaxpr` here are that class for ``isinstance``, and make it from JAX's arguments.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nr.core import jaxprs
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.jaxpr_check import JaxprTypeError
from nr.core.jaxprs import JaxprEqn, Literal, Var
from nr.core.tracing import (
    EVAL,
    PYTHON_SCALARS,
    Trace,
    axis_env,
    current,
    current_trace,
    typeof,
)
from nr.extend.core import primitives
from nr.extend.own_primitives import Primitive
from nr.transforms.batching import BatchTrace

__all__ = [
    "ClosedJaxpr",
    "DropVar",
    "Effect",
    "Jaxpr",
    "JaxprEqn",
    "JaxprTypeError",
    "Literal",
    "Primitive",
    "Var",
    "check_jaxpr",
    "find_top_trace",
    "gensym",
    "get_opaque_trace_state",
    "jaxpr_as_fun",
    "jaxprs_in_params",
    "mapped_aval",
    "new_jaxpr_eqn",
    "no_effects",
    "nonempty_axis_env_DO_NOT_USE",
    "primal_dtype_to_tangent_dtype",
    "primitives",
    "set_current_trace",
    "subjaxprs",
    "take_current_trace",
    "unmapped_aval",
    "unsafe_am_i_under_a_jit_DO_NOT_USE",
    "unsafe_am_i_under_a_vmap_DO_NOT_USE",
    "unsafe_get_axis_names_DO_NOT_USE",
    "valid_jaxtype",
]


class DropVar(Var):
    """A variable nobody reads. nr gives every result a `Var`: no jaxpr of its own holds these."""

    __slots__ = ()


class Effect:
    """A base for kinds of effects of one's own; nr itself asks a primitive whether it has any."""


no_effects: frozenset[Effect] = frozenset()


class _Jaxprs(type):
    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, jaxprs.Jaxpr)


class Jaxpr(metaclass=_Jaxprs):
    """A jaxpr from its parts; `ClosedJaxpr` gives its constants their values.

    Args:
        constvars, invars, outvars, eqns: as in `nr.make_jaxpr`'s.
        effects, debug_info: JAX's; nr finds effects from the eqns.

    Example:
        >>> import nr
        >>> program = nr.make_jaxpr(lambda x: nr.numpy.sin(x) * 2.0)(1.0)
        >>> first = nr.extend.core.Jaxpr([], program.invars, program.eqns[0].outvars,
        ...                              program.eqns[:1])
        >>> first
        { lambda ; a:f32[] . let
            b:f32[] = sin a
          in (b,) }
    """

    def __new__(  # type: ignore[misc]
        cls,
        constvars: Sequence[Var],
        invars: Sequence[Var],
        outvars: Sequence[jaxprs.Atom],
        eqns: Sequence[JaxprEqn],
        effects: Any = None,
        debug_info: Any = None,
    ) -> jaxprs.Jaxpr:
        # avals stand for the values of constants that are not known yet
        return jaxprs.Jaxpr(constvars, [v.aval for v in constvars], invars, eqns, outvars)


class ClosedJaxpr(metaclass=_Jaxprs):
    """A jaxpr with values for its constants.

    Example:
        >>> import nr
        >>> program = nr.make_jaxpr(lambda x: x + 1.0)(1.0)
        >>> isinstance(program, nr.extend.core.ClosedJaxpr)
        True
    """

    def __new__(cls, jaxpr: jaxprs.Jaxpr, consts: Sequence[Any] = ()) -> jaxprs.Jaxpr:  # type: ignore[misc]
        return jaxpr.replace(consts=consts)


def new_jaxpr_eqn(
    invars: Sequence[jaxprs.Atom],
    outvars: Sequence[Var],
    primitive: Any,
    params: dict[str, Any],
    effects: Any = (),
    source_info: Any = None,
    ctx: Any = None,
) -> JaxprEqn:
    """An eqn ``outvars = primitive[params] invars``; effects are those of the primitive."""
    return JaxprEqn(primitive, list(invars), list(outvars), params, source_info)


def gensym() -> Any:
    """A function that makes a new variable from an aval."""
    return Var


def jaxpr_as_fun(closed_jaxpr: jaxprs.Jaxpr) -> jaxprs.JaxprCallable:
    """A jaxpr as a function of flat arguments that returns a list.

    Example:
        >>> import nr
        >>> double = nr.extend.core.jaxpr_as_fun(nr.make_jaxpr(lambda x: x * 2.0)(1.0))
        >>> double(4.0)
        [Array(8., dtype=float32, weak_type=True)]
    """
    return jaxprs.JaxprCallable(closed_jaxpr)


def jaxprs_in_params(params: dict[str, Any]) -> Iterator[jaxprs.Jaxpr]:
    """The jaxprs among an eqn's params, such as a loop's body."""
    return jaxprs.subjaxprs(params)


def subjaxprs(jaxpr: jaxprs.Jaxpr) -> Iterator[jaxprs.Jaxpr]:
    """The jaxprs that a jaxpr's eqns hold."""
    for eqn in jaxpr.eqns:
        yield from jaxprs.subjaxprs(eqn.params)


def check_jaxpr(jaxpr: jaxprs.Jaxpr) -> None:
    """Check that a jaxpr is well-formed.

    Raises:
        JaxprTypeError: naming the eqn and what is wrong.
    """
    from nr.core import jaxpr_check

    jaxpr_check.check_jaxpr(jaxpr)


def mapped_aval(size: int, axis: int | None, aval: ShapedArray) -> ShapedArray:
    """The aval of one lane of an array that has `size` lanes along `axis`."""
    if axis is None:
        return aval
    if aval.shape[axis] != size:
        raise ValueError(f"mapped_aval: {size} lanes along axis {axis} were expected; got {aval}.")
    return aval.update(shape=(*aval.shape[:axis], *aval.shape[axis + 1 :]))


def unmapped_aval(size: int, axis: int | None, aval: ShapedArray) -> ShapedArray:
    """The aval of `size` lanes, stacked along `axis`."""
    if axis is None:
        return aval
    return aval.update(shape=(*aval.shape[:axis], size, *aval.shape[axis:]), weak_type=False)


def primal_dtype_to_tangent_dtype(primal_dtype: Any) -> Any:
    """The dtype of tangents of values of a dtype: float0 for integers and booleans."""
    return ShapedArray((), primal_dtype).to_tangent().dtype


def valid_jaxtype(x: Any) -> bool:
    """Whether x can be an argument of a traced function, as a leaf."""
    if not isinstance(x, (Array, *PYTHON_SCALARS)) and not hasattr(x, "dtype"):
        return False
    try:
        typeof(x)
    except TypeError:
        return False
    return True


def unsafe_get_axis_names_DO_NOT_USE() -> list[Any]:  # noqa: N802 - JAX's name
    """The axis names of the `vmap`s around."""
    return [name for name, _ in axis_env()]


def nonempty_axis_env_DO_NOT_USE() -> bool:  # noqa: N802 - JAX's name
    """Whether a `vmap` around has an axis name."""
    return bool(axis_env())


def find_top_trace(xs: Any) -> Trace:
    """The transformation that operations go to; JAX once looked for it among operands."""
    return current_trace()


set_current_trace = current


@contextmanager
def take_current_trace() -> Iterator[Trace]:
    """Run a ``with`` block outside of all transformations; it gets the innermost one."""
    trace = current_trace()
    with current(EVAL):
        yield trace


def _traces() -> Iterator[Trace]:
    trace: Trace | None = current_trace()
    while trace is not None:
        yield trace
        trace = trace.parent


def unsafe_am_i_under_a_jit_DO_NOT_USE() -> bool:  # noqa: N802 - JAX's name
    """Whether what runs is being recorded as a program.

    Example:
        >>> import nr
        >>> inside = nr.extend.core.unsafe_am_i_under_a_jit_DO_NOT_USE
        >>> inside(), nr.jit(lambda: inside())()
        (False, Array(True, dtype=bool))
    """
    # with a parent, a recording is a derivative's
    return any(isinstance(t, jaxprs.JaxprTrace) and t.parent is None for t in _traces())


def unsafe_am_i_under_a_vmap_DO_NOT_USE() -> bool:  # noqa: N802 - JAX's name
    """Whether a `vmap` is around, inside of the innermost `jit`."""
    return any(isinstance(t, BatchTrace) for t in _traces())


class OpaqueTraceState:
    """Which transformations are at work; it can be compared, nothing else."""

    __slots__ = ("_trace", "_axes")

    def __init__(self) -> None:
        self._trace = weakref.ref(current_trace())  # one object a trace, also when that is gone
        self._axes = axis_env()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpaqueTraceState) and (
            self._trace is other._trace and self._axes == other._axes
        )

    __hash__ = None  # type: ignore[assignment]


def get_opaque_trace_state(convention: str | None = None) -> OpaqueTraceState:
    """Something equal to what another call returns iff the same transformations are around both.

    Example:
        >>> import nr
        >>> outside = nr.extend.core.get_opaque_trace_state()
        >>> nr.extend.core.get_opaque_trace_state() == outside
        True
        >>> def f(x):
        ...     print(nr.extend.core.get_opaque_trace_state() == outside)
        ...     return x
        >>> nr.grad(f)(1.0)
        False
        Array(1., dtype=float32, weak_type=True)
    """
    return OpaqueTraceState()
