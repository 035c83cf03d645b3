"""Vectorization: a trace that carries a batch dimension, found by each primitive's batch rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nr.core.avals import ShapedArray
from nr.core.config import config
from nr.core.jaxprs import (
    Jaxpr,
    JaxprCallable,
    cached_on_jaxpr,
    eval_jaxpr,
    subjaxprs,
    trace_closed,
)
from nr.core.tracing import (
    EVAL,
    Primitive,
    Trace,
    Tracer,
    bound_axis,
    current,
    current_trace,
    typeof,
)
from nr.lax.checks import Lane, in_lanes, in_lanes_p
from nr.lax.rules import to_front
from nr.transforms.recorded import apply_rule

Dims = tuple[int | None, ...]


class Axis(NamedTuple):
    """The mapped axis of a vmap: its size and name, and what its values are known by."""

    size: int
    name: Any
    lanes: object


class BatchTracer(Tracer):
    """One lane's view of a batched value."""

    __slots__ = ("val", "dim", "aval")

    def __init__(self, trace: BatchTrace, val: Any, dim: int) -> None:
        self._trace = trace
        self.val = val
        self.dim = dim
        aval = typeof(val)
        self.aval = ShapedArray(aval.shape[:dim] + aval.shape[dim + 1 :], aval.dtype)

    def describe(self) -> str:
        outer = f"; {self.val.describe()}" if isinstance(self.val, Tracer) else ""
        size = self._trace.size  # type: ignore[attr-defined]
        return f"it stands for {size} lanes of vmap{outer}"

    @property
    def device(self) -> Any:
        return self.val.device


class BatchTrace(Trace):
    """Computes all lanes at once. Rules get it as `axis`: its size and name.

    Where NaNs are looked for, it notes in the program which dimensions are its lanes.
    """

    __slots__ = ("size", "name", "lane", "lanes")
    parent: Trace

    def __init__(self, parent: Trace, size: int, name: Any, lanes: Any = None) -> None:
        self.parent = parent
        self.alive = True
        self.size = size
        self.name = name
        self.lanes = object() if lanes is None else lanes  # traces of one vmap share it
        self.lane = Lane(name) if config.debug_nans else None

    def axis(self) -> Axis:
        """What rules may keep for later: no trace, nor what its tracers hold."""
        return Axis(self.size, self.name, self.lanes)

    def split(self, x: Any) -> tuple[Any, int | None]:
        """A value of all lanes and its batch dimension, None if it is the same in all."""
        if isinstance(x, BatchTracer):
            trace = x._trace
            if trace is self or trace.lanes is self.lanes:  # type: ignore[attr-defined]
                return x.val, x.dim
        return x, None

    def join(self, val: Any, dim: int | None) -> Any:
        """A value of all lanes as one lane's."""
        return val if dim is None else BatchTracer(self, val, dim)

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict) -> Any:
        pairs = [self.split(x) for x in args]
        vals, dims = [v for v, _ in pairs], [d for _, d in pairs]
        if (
            all([d is None for d in dims])
            and not (
                self.name is not None
                and primitive.uses_axis is not None
                and primitive.uses_axis(params, self.name)
            )
            and not (primitive.runs_functions and type(params["fun"]) is not JaxprCallable)
        ):
            return primitive.bind_with(self.parent, vals, params)
        if primitive.batch is None:
            raise NotImplementedError(
                f"{primitive.name}: it has no batching rule. Use nr.lax.map in place of nr.vmap."
            )
        if self.parent is EVAL and not primitive.multiple_results:
            known = self.recorded(primitive, vals, dims, params)
            if known is not None:
                return self.join(*known)
        with current(self.parent):
            out, out_dims = primitive.batch(self, vals, dims, **params)
            if self.lane is not None and primitive is not in_lanes_p:
                out = self.noted(out, out_dims)
        if primitive.multiple_results:
            return [self.join(v, d) for v, d in zip(out, out_dims, strict=True)]
        return self.join(out, out_dims)

    def recorded(
        self, primitive: Primitive, vals: list[Any], dims: list[int | None], params: dict
    ) -> list[Any] | None:
        """What the batch rule gives, by its record if there is one."""

        def rule(*xs: Any) -> Any:
            return primitive.batch(self, xs, dims, **params)  # type: ignore[misc]

        return apply_rule(rule, primitive, vals, params, "batch", self.size, *dims)

    def noted(self, out: Any, out_dims: Any, **where: bool) -> Any:
        """Values of all lanes, the program saying which of their dimensions these are."""
        if self.lane is None or out_dims is None:
            return out
        if isinstance(out_dims, int):
            return in_lanes(out, out_dims, self.lane, **where)
        return [self.noted(v, d, **where) for v, d in zip(out, out_dims, strict=True)]


def vmap_flat(
    f: Callable,
    args: Sequence[Any],
    dims: Sequence[int | None],
    size: int,
    name: Any = None,
    lanes: Any = None,
) -> tuple[list[Any], list[int | None]]:
    """f's outputs over all lanes, and their batch dimensions (None: the same in all lanes).

    With the `lanes` of another trace, f may close over values of that trace.
    """
    trace = BatchTrace(current_trace(), size, name, lanes)
    args = trace.noted(args, dims, before=False)
    try:
        with bound_axis(name, size), current(trace):
            outs = f(*[trace.join(x, d) for x, d in zip(args, dims, strict=True)])
    finally:
        trace.alive = False
    pairs = [trace.split(x) for x in outs]
    vals, out_dims = [v for v, _ in pairs], [d for _, d in pairs]
    return trace.noted(vals, out_dims, after=False), out_dims


@cached_on_jaxpr
def batch_jaxpr(
    jaxpr: Jaxpr, dims: Dims, size: int, name: Any, force: tuple[bool, ...] | bool = False
) -> tuple[Jaxpr, Dims]:
    """The jaxpr over all lanes. Batched outputs have their batch dimension in front; those
    flagged in `force` are batched in any case. Returns it with the output dims (0 or None).
    """
    out_dims: list[int | None] = []

    def f(*vals: Any) -> list[Any]:
        outs, ds = vmap_flat(lambda *xs: eval_jaxpr(jaxpr, *xs), vals, dims, size, name)
        flags = [force] * len(outs) if isinstance(force, bool) else force
        batched = [d is not None or flag for d, flag in zip(ds, flags, strict=True)]
        out_dims[:] = [0 if b else None for b in batched]
        return [to_front(x, d, size) if b else x for x, d, b in zip(outs, ds, batched, strict=True)]

    avals = [
        a if d is None else a.update(shape=(*a.shape[:d], size, *a.shape[d:]), weak_type=False)
        for a, d in zip(jaxpr.in_avals, dims, strict=True)
    ]
    return trace_closed(f, avals), tuple(out_dims)


def call_batch(
    bind: Callable[..., list[Any]], axis: Any, args: Any, dims: Any, jaxpr: Jaxpr
) -> Any:
    """The batch rule of a primitive that runs a jaxpr; `bind(jaxpr, *args)` binds it again."""
    batched, out_dims = batch_jaxpr(jaxpr, tuple(dims), axis.size, axis.name)
    return bind(batched, *args), list(out_dims)


def jaxpr_uses_axis(params: dict[str, Any], name: Any) -> bool:
    """Whether an eqn's jaxprs hold a collective over the axis name."""
    return any(jaxpr.uses_axis(name) for jaxpr in subjaxprs(params))
