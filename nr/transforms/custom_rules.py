"""What functions with rules of their own share: recording, lanes, zeros, and their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nr.core.avals import ShapedArray, Zero
from nr.core.jaxprs import JaxprCallable, JaxprTrace, trace_to_jaxpr
from nr.core.source_info import function_name
from nr.core.tracing import Primitive, typeof
from nr.lax.rules import to_front
from nr.transforms.batching import Axis, vmap_flat


def stage_function(primitive_of: Callable[[], Primitive]) -> Callable:
    """Recording: the user's function becomes a jaxpr; what it closes over, leading operands."""

    def stage(trace: JaxprTrace, args: Sequence[Any], params: dict) -> Any:
        fun = params["fun"]
        if isinstance(fun, JaxprCallable):
            return trace.record(primitive_of(), args, params)
        jaxpr, operands = trace_to_jaxpr(fun, [typeof(x) for x in args])
        n = len(operands)
        params = {**params, "fun": JaxprCallable(jaxpr), "n_closed": params["n_closed"] + n}
        return trace.record(primitive_of(), [*operands, *args], params)

    return stage


def without_closed(
    op: str, n_closed: int, primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Primals and tangents of the function's own arguments; closed-over values have no tangent."""
    if any(type(t) is not Zero for t in tangents[:n_closed]):
        raise NotImplementedError(
            f"{op}: differentiating with respect to a value that the function closes over "
            f"is not defined by its rule. Pass the value as an argument."
        )
    return primals[n_closed:], tangents[n_closed:]


def function_aval(*avals: ShapedArray, fun: Any, **params: Any) -> list[ShapedArray]:
    return fun.jaxpr.out_avals


def vmapped(
    f: Callable,
    axis: Axis,
    dims: Sequence[int | None],
    found: list[int | None] | None = None,
) -> Callable:
    """f of batched arguments; every output is batched in front.

    With `found`, what is the same in all lanes stays so: the list is filled with the dimensions.
    """

    def batched(*vals: Any) -> list[Any]:
        outs, out_dims = vmap_flat(f, vals, dims, axis.size, axis.name, axis.lanes)
        if found is not None:
            found[:] = [None if d is None else 0 for d in out_dims]
        return [
            x if d is None and found is not None else to_front(x, d, axis.size)
            for x, d in zip(outs, out_dims, strict=True)
        ]

    return batched


def not_batched(dims: Sequence[int | None]) -> bool:
    """Whether only what a function closes over can differ between lanes."""
    return all([d is None for d in dims])


def agree(
    noted: list[int | None],
    found: Sequence[int | None],
    tangents: Iterable[tuple[int, int | None]] = (),
) -> None:
    """Note the batch dimensions of results, at the first run of what makes them.

    Args:
        noted: filled here, or already when the function was recorded.
        found: the dimensions of the results.
        tangents: places of results, and the dimensions of their tangents.
    """
    dims = list(found)
    for i, d in tangents:
        dims[i] = dims[i] if d is None else d
    if not noted:
        noted[:] = dims
    elif any([d is not None and known is None for d, known in zip(dims, noted, strict=True)]):
        raise NotImplementedError(
            "custom derivatives: under vmap, a rule may close over values that differ between "
            "lanes only if the function does. Pass them as arguments."
        )


def placed(
    values: Sequence[Any], dims: Sequence[int | None], wanted: Sequence[int | None], size: int
) -> list[Any]:
    """Values in all lanes where that is wanted and they are not yet."""
    return [
        x if d == w else to_front(x, d, size) for x, d, w in zip(values, dims, wanted, strict=True)
    ]


def lane_avals(values: Sequence[Any], dims: Sequence[int | None]) -> list[ShapedArray]:
    """The avals of one lane's values."""
    avals = [typeof(x) for x in values]
    return [
        a if d is None else ShapedArray(a.shape[:d] + a.shape[d + 1 :], a.dtype)
        for a, d in zip(avals, dims, strict=True)
    ]


def split_zeros(
    values: Sequence[Any],
    lanes: Sequence[ShapedArray],
    dims: Sequence[int | None],
) -> tuple[list[Any], list[int | None], Callable[[Sequence[Any]], list[Any]]]:
    """The (co)tangents of all lanes that are no symbolic zeros, their batch dimensions, and the
    function that puts one lane's zeros back in place.
    """
    zeros = [Zero(a.to_tangent()) if type(x) is Zero else None
             for x, a in zip(values, lanes, strict=True)]  # fmt: skip
    given = [(x, d) for x, d in zip(values, dims, strict=True) if type(x) is not Zero]

    def whole(rest: Sequence[Any]) -> list[Any]:
        following = iter(rest)
        return [next(following) if z is None else z for z in zeros]

    return [x for x, _ in given], [d for _, d in given], whole


# ---------------------------------------------------------------- arguments
def static_places(fun: Callable, nums: Any, names: Sequence[str]) -> tuple[int, ...]:
    nums = (nums,) if isinstance(nums, int) else tuple(nums)
    if names:
        order = list(inspect.signature(fun).parameters)
        nums += tuple([order.index(name) for name in names])
    return tuple(sorted(nums))


def arity_of(fun: Callable) -> int | None:
    """How many arguments, all by position, are all arguments; None where there is no such number.

    Calls of so many need no look at the signature, which takes longer than the call.
    """
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (ValueError, TypeError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return len(parameters) if all([p.kind in positional for p in parameters]) else None


def resolved_arguments(fun: Callable, args: tuple, kwargs: dict) -> tuple:
    """All arguments by position, defaults filled in."""
    if not kwargs:
        try:
            bound = inspect.signature(fun).bind(*args)
        except (ValueError, TypeError):
            return args
    else:
        bound = inspect.signature(fun).bind(*args, **kwargs)
    if bound.kwargs:
        raise TypeError(
            f"custom derivatives: {function_name(fun)} must take its arguments by position; got "
            f"keyword-only {', '.join(bound.kwargs)}."
        )
    bound.apply_defaults()
    return bound.args


def without_static(
    fun: Callable, args: tuple, nums: tuple[int, ...]
) -> tuple[tuple, Callable, tuple]:
    """The differentiable arguments, fun of those, and the static values."""
    if not nums:
        return args, fun, ()
    dynamic = tuple([x for i, x in enumerate(args) if i not in nums])

    def f(*given: Any) -> Any:
        rest = iter(given)
        return fun(*[args[i] if i in nums else next(rest) for i in range(len(args))])

    return dynamic, f, tuple([args[i] for i in nums])
