"""Primitives, traces and tracers: how an operation finds the interpretation in force.

One trace is current (a context variable). A primitive bound under `EvalTrace` runs at once; under
any other trace, the trace processes it, running the primitive's rule with its own parent current.
A tracer belongs to a trace iff ``x._trace is self``: there are no levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from nr.core import devices, dtypes
from nr.core.array import DELETED, Array, ArrayImpl
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.errors import UnexpectedTracerError
from nr.core.quiet import hush, unhush

PYTHON_SCALARS: tuple[type, ...] = (bool, int, float, complex)


class Trace:
    """One interpretation of primitives. `parent` is the trace its rules run under."""

    __slots__ = ("parent", "alive", "__weakref__")
    parent: Trace | None
    alive: bool

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict) -> Any:
        raise NotImplementedError


class EvalTrace(Trace):
    """Run now."""

    __slots__ = ()

    def __init__(self) -> None:
        self.parent = None
        self.alive = True

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict) -> Any:
        return primitive.evaluate(args, params)


EVAL = EvalTrace()
_current: ContextVar[Trace] = ContextVar("trace", default=EVAL)
_axis_env: ContextVar[tuple[tuple[Any, int], ...]] = ContextVar("axis_env", default=())
current_trace = _current.get
# `current` without its object, for what happens in every operation.
set_trace, reset_trace = _current.set, _current.reset
axis_env = _axis_env.get


class current:  # noqa: N801 - reads as a word in `with current(trace):`
    """Make a trace the current one for a ``with`` block."""

    __slots__ = ("trace", "token")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __enter__(self) -> Trace:
        self.token = _current.set(self.trace)
        return self.trace

    def __exit__(self, *exc: Any) -> None:
        _current.reset(self.token)


class bound_axis:  # noqa: N801
    """Make an axis name of `vmap` known to the collectives in a ``with`` block."""

    __slots__ = ("env", "token")

    def __init__(self, name: Any, size: int) -> None:
        self.env = axis_env() if name is None else (*axis_env(), (name, size))

    def __enter__(self) -> None:
        self.token = _axis_env.set(self.env)

    def __exit__(self, *exc: Any) -> None:
        _axis_env.reset(self.token)


def axis_size(name: Any) -> int:
    """The size of a named axis in scope; NameError if there is none."""
    for bound, size in reversed(axis_env()):
        if bound == name:
            return size
    known = ", ".join(repr(bound) for bound, _ in axis_env()) or "none"
    raise NameError(
        f"unbound axis name: {name!r}; axes in scope: {known}. "
        f"Call the function under nr.vmap(..., axis_name={name!r})."
    )


class Tracer(Array):
    """A value in a transformation: it has an aval but, in general, no numbers."""

    # Not `trace`: that is a method of arrays.
    __slots__ = ("_trace", "__weakref__")
    _trace: Trace

    def describe(self) -> str:
        """Where the value came from, for messages: "it depends on argument `x` of jit(f)"."""
        return "it is traced"

    def concrete(self) -> Any:
        """The numbers, where the transformation has them (jvp and grad do), else None."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self.aval}>"

    def __bool__(self) -> bool:
        return bool(_concrete("bool", self))

    def __int__(self) -> int:
        return int(_concrete("int", self))

    def __float__(self) -> float:
        return float(_concrete("float", self))

    def __complex__(self) -> complex:
        return complex(_concrete("complex", self))

    def __index__(self) -> int:
        return _concrete("index", self).__index__()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return _concrete("array", self, self)

    def item(self, *args: int) -> Any:
        """One element as a Python scalar, where the numbers are there."""
        return _concrete("item", self).item(*args)

    def tolist(self) -> Any:
        """Nested Python lists, where the numbers are there."""
        return _concrete("tolist", self).tolist()

    def block_until_ready(self) -> Tracer:
        return self

    def is_deleted(self) -> bool:
        return False

    @property
    def device(self) -> devices.Device:
        return devices.current_default()


def _concrete(kind: str, tracer: Tracer, no_numpy: Tracer | None = None) -> Any:
    """The numbers behind a tracer, or the error that says why there are none."""
    from nr.core.concretization import concretization_error

    value = None if no_numpy is not None else tracer.concrete()
    if value is None:
        raise concretization_error(kind, tracer)
    return value


def typeof(x: Any) -> ShapedArray:
    """The aval of an array, tracer, NumPy array or scalar, or Python scalar."""
    if isinstance(x, Array):
        return x.aval
    kind = type(x)
    if kind in PYTHON_SCALARS:
        return ShapedArray((), dtypes.scalar_dtype(kind), kind is not bool)
    if kind is np.ndarray or isinstance(x, (np.ndarray, np.generic)):
        return ShapedArray(x.shape, dtypes.canonicalize(x.dtype))
    if kind is Zero or kind is UndefinedPrimal:
        return x.aval
    if isinstance(x, PYTHON_SCALARS):  # subclasses such as IntEnum
        return typeof(next(base(x) for base in PYTHON_SCALARS if isinstance(x, base)))
    if isinstance(x, ShapedArray):
        return x
    if hasattr(x, "__array__"):
        return typeof(np.asarray(x))
    raise TypeError(
        f"argument: an array or a number was expected; got {x!r} of type {kind.__name__}."
    )


class Primitive:
    """An operation and its rules: one object, made in one place.

    Args:
        name: its name in jaxprs and in the backends' tables.
        abstract_eval: ``(*avals, **params) -> aval`` (a list of avals with multiple_results):
            the only place where shapes and dtypes are checked.
        jvp: ``(primals, tangents, **params) -> (out, tangent_out)``; tangents may be `Zero`.
        transpose: ``(ct, *args, **params) -> [ct or None]``, linear args being `UndefinedPrimal`.
        batch: ``(axis, args, dims, **params) -> (out, dim_out)``; `axis` has size and name.
        linearize: higher-order primitives only: ``(nonzeros, *primals, **params) ->
            (outs, linear_fun)``.
        evaluate: how it runs eagerly, if not by its row in the backend's table.
        stage: ``(trace, args, params) -> out``: how a recording trace takes it, if not as one eqn.
        effectful: never dropped, duplicated or reordered.
        uses_axis: ``(params, name) -> bool``: whether it refers to that axis name of vmap.
        keeps_weak: the result of weak operands is weak.
        expand: ``(avals, params) -> Jaxpr``: what compiled programs have in its place.
    """

    all: dict[str, Primitive] = {}
    # Kinds of primitives that JAX has and nr has not.
    call_primitive = map_primitive = False
    # Whether its parameter `fun` may be a Python function, which may close over traced values.
    runs_functions = False

    def __init__(
        self,
        name: str,
        *,
        abstract_eval: Callable,
        jvp: Callable | None = None,
        transpose: Callable | None = None,
        batch: Callable | None = None,
        linearize: Callable | None = None,
        evaluate: Callable | None = None,
        stage: Callable | None = None,
        multiple_results: bool = False,
        effectful: bool = False,
        uses_axis: Callable | None = None,
        keeps_weak: bool = False,
        expand: Callable | None = None,
    ) -> None:
        if expand is None:
            assert name not in Primitive.all, f"nr bug: two primitives named {name}"
            Primitive.all[name] = self
        self.name = name
        self.abstract_eval = abstract_eval
        self.jvp = jvp
        self.transpose = transpose
        self.batch = batch
        self.linearize = linearize
        self.custom_evaluate = evaluate
        self.stage = stage
        self.multiple_results = multiple_results
        self.effectful = effectful
        self.uses_axis = uses_axis
        self.keeps_weak = keeps_weak
        self.expand = expand
        self._cpu: Callable | None = None

    def __repr__(self) -> str:
        return self.name

    def get_bind_params(self, params: dict[str, Any]) -> dict[str, Any]:
        """The params with which `bind` runs an eqn of them again: the same."""
        return params

    def bind(self, *args: Any, **params: Any) -> Any:
        trace = current_trace()
        if trace is EVAL:
            return self.evaluate(args, params)
        return trace.process(self, args, params)

    def bind_with(self, trace: Trace, args: Sequence[Any], params: dict) -> Any:
        if trace is EVAL and self.custom_evaluate is None and not self.multiple_results:
            return self.evaluate(args, params)  # its row is of raw arrays, and asks for no trace
        token = _current.set(trace)
        try:
            return trace.process(self, args, params)
        finally:
            _current.reset(token)

    def evaluate(self, args: Sequence[Any], params: dict) -> Any:
        """Run now, on the device of the operands."""
        if self.custom_evaluate is not None:
            return self.custom_evaluate(*args, **params)
        device, creates = None, True
        values = []
        for x in args:
            if type(x) is ArrayImpl:
                values.append(x.data)
                creates = False
                if x.committed is not None:
                    device = x.committed
            else:
                values.append(x)
        if creates:  # of numbers only: the result goes to the default device
            device = devices.chosen_default()
            if args and all([type(x) in PYTHON_SCALARS for x in args]):
                args = [_weak_array(x) for x in args]  # NumPy would make 64 bits of them
                values = [x.data for x in args]
        if device is not None:
            return self._evaluate_on(device, args, params)
        kernel = self._cpu
        if kernel is None:
            kernel = self._cpu = devices.backend("cpu").kernel(self)
        token = hush()
        try:
            out = kernel(*values, **params)
        except Exception as err:
            self._explain(args, params)
            raise err
        finally:
            unhush(token)
        if self.multiple_results:
            return [wrap(x) for x in out]
        if type(out) is not np.ndarray:
            out = np.asarray(out)
        if self.keeps_weak and out.ndim == 0 and all([_is_weak(x) for x in args]):
            return ArrayImpl(out, None, True)
        return ArrayImpl(out)

    def _evaluate_on(self, device: devices.Device, args: Sequence[Any], params: dict) -> Any:
        backend = device.backend
        values = []
        for x in args:
            if type(x) is ArrayImpl:
                if x.committed is not None and x.committed is not device:
                    raise ValueError(
                        f"{self.name}: operands must be on one device; got {x.aval} on "
                        f"{x.committed} and others on {device}. Use nr.device_put."
                    )
                values.append(x.data if x.committed is device else backend.put(x.data, device))
            elif isinstance(x, Tracer):
                raise leaked_tracer_error(x, self.name)
            else:
                values.append(backend.put(np.asarray(x), device))
        try:
            with backend.on(device):
                out = backend.kernel(self)(*values, **params)
        except Exception:
            self._explain(args, params)
            raise
        if self.multiple_results:
            return [ArrayImpl(x, device) for x in out]
        return ArrayImpl(out, device)

    def _explain(self, args: Sequence[Any], params: dict) -> None:
        """Raise the error that tracing gives, where a row failed by its operands' fault."""
        for x in args:
            if isinstance(x, Tracer):
                raise leaked_tracer_error(x, self.name) from None
            if type(x) is ArrayImpl and x.data is None:
                raise RuntimeError(DELETED) from None
        self.abstract_eval(*[typeof(x) for x in args], **params)


def _weak_array(x: Any) -> ArrayImpl:
    kind = type(x)
    return ArrayImpl(np.asarray(x, dtypes.scalar_dtype(kind)), None, kind is not bool)


def _is_weak(x: Any) -> bool:
    if type(x) is ArrayImpl:
        return x.weak
    return type(x) in PYTHON_SCALARS and type(x) is not bool


def wrap(x: Any) -> ArrayImpl:
    """An Array around a backend's result."""
    if type(x) is np.ndarray:
        return ArrayImpl(x)
    if isinstance(x, (np.generic, *PYTHON_SCALARS)):
        return ArrayImpl(np.asarray(x))
    if isinstance(x, np.ndarray):
        return ArrayImpl(x.view(np.ndarray))
    return ArrayImpl(x, devices.device(f"cuda:{x.device.id}"))


def leaked_tracer_error(x: Tracer, op: str) -> UnexpectedTracerError:
    from nr.core.concretization import leak_message

    return UnexpectedTracerError(leak_message(x, op))
