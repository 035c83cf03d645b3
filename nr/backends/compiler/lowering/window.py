"""Reductions over windows, and the gradients of pooling.

A reduction over windows is a reduction whose reduced loops are those over the window. The gradients
of pooling first find which element of each window was chosen; then each element of the result looks
at the few windows it may be in, so that nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import Expr
from nr.backends.compiler.index import ZERO, Index, Loop, flatten, index_of
from nr.backends.compiler.loops import (
    Buffer,
    Kernel,
    Pass,
    Reducer,
    Store,
    load,
    parts_of,
)
from nr.backends.compiler.lowering.reduce import add, extreme_value, real, repeated
from nr.backends.compiler.lowering.rules import (
    REDUCTION,
    ReductionRule,
    Value,
    choose,
    constant,
    from_index,
    in_range,
    kernels,
    storage,
)
from nr.backends.compiler.lowering.strided import every, lanes


def _taken(
    eqn: Any, shape: Sequence[int], windows: Sequence[Index], taps: Sequence[Index]
) -> tuple[tuple[Index, ...], Expr | None]:
    """The element of an operand that windows have at a tap, and whether there is one."""
    p = eqn.params
    ones = (1,) * len(shape)
    at, inside = [], []
    for n, window, tap, stride, (low, _), spread, dilation in zip(
        shape, windows, taps, p["window_strides"], p["padding"],
        p.get("base_dilation") or ones, p.get("window_dilation") or ones, strict=True,
    ):  # fmt: skip
        place = window * stride + tap * dilation - low
        if spread > 1:  # places between elements are holes; `before` keeps what is divided positive
            before = -(-max(low, 0) // spread)
            place = place + before * spread
            inside.append(e.eq(from_index(place % spread, "i64"), 0) if n > 0 else None)
            place = place // spread - before
        inside.append(in_range(place, 0, n))
        at.append(place)
    return tuple(at), every(inside)


# ------------------------------------------------------------------------------ reductions
def _domain(eqn: Any) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    out, window = eqn.outvars[0].aval.shape, eqn.params["window_dimensions"]
    return (*out, *window), (False,) * len(out) + (True,) * len(window)


def _window_values(identity: Callable) -> Callable:
    def values(eqn: Any, loops: tuple[Index, ...], read: Callable) -> tuple[Expr, ...]:
        shape = eqn.invars[0].aval.shape
        rank = len(shape)
        if 0 in shape:
            return identity(eqn)
        at, guard = _taken(eqn, shape, loops[:rank], loops[rank:])
        value = parts_of(read(0, at, guard=guard))
        if guard is None:
            return value
        return tuple([e.select(guard, v, i) for v, i in zip(value, identity(eqn), strict=True)])

    return values


for _name, _first, _combine in (
    ("reduce_window_sum", lambda kind: 0, add),
    ("reduce_window_max", lambda kind: extreme_value(kind, False),
     lambda a, b: (e.maximum(a[0], b[0]),)),
    ("reduce_window_min", lambda kind: extreme_value(kind, True),
     lambda a, b: (e.minimum(a[0], b[0]),)),
):  # fmt: skip
    _identity = repeated(_first)
    _supports = {} if _name == "reduce_window_sum" else {"supports": real}
    REDUCTION[_name] = ReductionRule(
        _domain, _window_values(_identity), _identity, _combine, **_supports
    )


# ------------------------------------------------------------------------------ pooling gradients
def _chooses(eqn: Any) -> bool:
    kinds = {storage(a.aval.dtype) for a in eqn.invars}
    return not kinds & {None, "c64", "c128", "b1"}


def _displaces(select_prim: str) -> Callable:
    """Whether a later element displaces the chosen one: unless that is ge (or le) the later."""
    keeps = {"ge": Expr.__ge__, "le": Expr.__le__}[select_prim]

    def combine(a: tuple, b: tuple) -> tuple:
        (best, tap), (value, number) = a[:2], b[:2]
        take = (number >= 0) & ((tap < 0) | ~keeps(best, value))
        pairs = zip(a, b, strict=True)
        return tuple([e.select(take, new, old) for old, new in pairs])

    return combine


def _chosen(
    eqn: Any, operand: Buffer, shape: Sequence[int], out: Sequence[int], others: Sequence[Buffer],
    store: Callable, vector_bytes: int,
) -> Kernel:  # fmt: skip
    """The kernel that goes through each window for the element chosen, and stores something.

    ``store(place, tap, values)`` is given where the window is in the result, the number of the tap
    chosen, and the elements of other buffers at it.
    """
    window = eqn.params["window_dimensions"]
    kept = [Loop(f"i{d}", n) for d, n in enumerate(out)] or [Loop("v", 1)]
    reduced = [Loop(f"t{d}", n, reduced=True) for d, n in enumerate(window)]
    places = [index_of(loop) for loop in kept] if out else []
    taps = [index_of(loop) for loop in reduced]
    at, guard = _taken(eqn, shape, places, taps)
    flat = flatten(at, shape)
    number = from_index(flatten(taps, window), "i32")
    if guard is not None:
        number = e.select(guard, number, -1)
    values: list[Any] = [load(operand, flat, guard), number]
    values += [load(b, flat, guard) for b in others]
    identity = [e.const(-1 if v is number else 0, v.dtype) for v in values]
    reducer = Reducer(
        "best", tuple(values), tuple(identity), _displaces(eqn.params["select_prim"])
    )  # fmt: skip
    results = [reducer.result(k) for k in range(len(values))]
    after = store(flatten(places, out), results[1], results[2:])
    return _kernel(kept, reduced, Pass([reducer], [], [after]), operand, vector_bytes)


def _kernel(
    kept: list[Loop], reduced: list[Loop], only: Pass, like: Buffer, vector_bytes: int
) -> Kernel:
    """A kernel over windows whose innermost kept loop is the vector loop."""
    vector = kept[-1]
    width = lanes(like.dtype, vector.extent, vector_bytes, registers=2)
    kernel = Kernel(kept, reduced, vector, [only], max(len(kept) - 1, 1), width)
    return kernel


@kernels("select_and_gather_add", supports=_chooses)
def _select_and_gather_add(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Kernel]:
    (tangents, operand), (result,) = operands, results
    shape, out = eqn.invars[1].aval.shape, eqn.outvars[0].aval.shape
    if result.size == 0:
        return []

    def store(place: Index, tap: Expr, values: Sequence[Expr]) -> Store:
        return Store(result, place, values[0])

    return [_chosen(eqn, operand, shape, out, [tangents], store, vector_bytes)]


@kernels("select_and_scatter_add", supports=_chooses)
def _select_and_scatter_add(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Kernel]:
    (source, operand), (result,) = operands, results
    windows, shape = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    if result.size == 0:
        return []
    chosen = Buffer(f"{result}.chosen", "i32", source.size)
    kernels_ = []
    if source.size:
        kernels_.append(
            _chosen(
                eqn,
                operand,
                shape,
                windows,
                [],
                lambda place, tap, values: Store(chosen, place, tap),
                vector_bytes,
            )  # fmt: skip
        )
    kernels_.append(_spread_back(eqn, source, chosen, result, vector_bytes))
    return kernels_


def _variable(loop: Loop) -> Index:
    return ZERO if loop.extent == 1 else index_of(loop)


def _spread_back(
    eqn: Any, source: Buffer, chosen: Buffer, result: Buffer, vector_bytes: int
) -> Kernel:
    """The kernel that adds up, for each element, what windows that chose it pass back."""
    p = eqn.params
    windows, shape = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    sizes = p["window_dimensions"]
    around = [-(-size // stride) for size, stride in zip(sizes, p["window_strides"], strict=True)]
    reduced = [Loop(f"w{d}", n, reduced=True) for d, n in enumerate(around)]
    zero = constant(0, eqn.outvars[0].aval)
    outer, inner, element, at, taps, inside, exists = [], [], [], [], [], [], []
    for d, (back, extent, n, size, stride, (low, _)) in enumerate(
        zip(reduced, shape, windows, sizes, p["window_strides"], p["padding"], strict=True)
    ):
        # An element is at place low + i = window * stride + tap, for the last window it may be in
        # and the first tap of it; the loops are over those two, for nothing has to be divided then.
        first, last = low // stride, (low + extent - 1) // stride
        window, tap = Loop(f"i{d}", last - first + 1), Loop(f"t{d}", stride)
        outer.append(window)
        inner.append(tap)
        last_window = _variable(window) + first
        element.append(last_window * stride + _variable(tap) - low)
        exists.append(in_range(element[-1], 0, extent))
        at.append(last_window - index_of(back))
        taps.append(_variable(tap) + index_of(back) * stride)
        inside += [in_range(at[-1], 0, n), in_range(taps[-1], 0, size)]
    value: Value = zero
    if source.size:
        guard = every(inside)
        place = flatten(at, windows)
        number = load(chosen, place, guard)
        assert isinstance(number, Expr)
        hit = e.eq(number, from_index(flatten(taps, sizes), "i32"))
        value = choose(hit if guard is None else hit & guard, load(source, place, guard), zero)
    reducer = Reducer("total", parts_of(value), parts_of(zero), add)
    store = Store(result, flatten(element, shape), reducer.result(), every(exists))
    kept = [*outer[:-1], *inner, *outer[-1:]] or [Loop("v", 1)]
    return _kernel(kept, reduced, Pass([reducer], [], [store]), result, vector_bytes)
