"""custom_jvp and custom_vjp: ordinary primitives whose eager run is the user's Python function.

The function is traced only when something stages it. A custom vjp's tangent is one `custom_lin`
eqn that holds the backward function; transposing it calls that function.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.errors import CUSTOM_VJP_FORWARD_MODE
from nr.core.jaxprs import JaxprCallable, JaxprTrace, trace_to_jaxpr
from nr.core.source_info import api_boundary, function_name
from nr.core.tracing import Primitive, typeof
from nr.core.trees import (
    Partial,
    PyTreeDef,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_map,
    tree_structure,
    tree_unflatten,
)
from nr.lax.rules import instantiate, move_dim, operand, to_front, zeros_of
from nr.transforms.ad import differentiable
from nr.transforms.batching import BatchTrace, jaxpr_uses_axis, vmap_flat
from nr.transforms.derivatives import zero_tangents
from nr.transforms.flat_fun import FlatFun, check_leaves


def _stage(primitive_of: Callable[[], Primitive]) -> Callable:
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


def _without_closed(
    op: str, n_closed: int, primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Primals and tangents of the function's own arguments; closed-over values have no tangent."""
    if any(type(t) is not Zero for t in tangents[:n_closed]):
        raise NotImplementedError(
            f"{op}: differentiating with respect to a value that the function closes over "
            f"is not defined by its rule. Pass the value as an argument."
        )
    return primals[n_closed:], tangents[n_closed:]


def _call_aval(*avals: ShapedArray, fun: Any, **params: Any) -> list[ShapedArray]:
    return fun.jaxpr.out_avals


def _vmapped(
    f: Callable, axis: BatchTrace, dims: Sequence[int | None], out_box: list | None = None
) -> Callable:
    """f of batched arguments; every output is batched in front."""

    def batched(*vals: Any) -> list[Any]:
        outs, out_dims = vmap_flat(f, vals, dims, axis.size, axis.name)
        return [to_front(x, d, axis.size) for x, d in zip(outs, out_dims, strict=True)]

    return batched


# ---------------------------------------------------------------- custom_jvp
def _custom_jvp_rule(
    primals: Sequence[Any], tangents: Sequence[Any], *, fun: Callable, jvp: Callable, n_closed: int
) -> Any:
    primals, tangents = _without_closed("custom_jvp", n_closed, primals, tangents)
    outs, outs_dot = jvp(primals, [instantiate(t) for t in tangents])
    return outs, outs_dot


def _custom_jvp_batch(
    axis: Any, args: Any, dims: Any, *, fun: Callable, jvp: Callable, n_closed: int
) -> Any:
    n = len(args) - n_closed

    def jvp_flat(*values: Any) -> list[Any]:
        outs, outs_dot = jvp(values[:n], values[n:])
        return [*outs, *[instantiate(t) for t in outs_dot]]

    def batched_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        inner = dims[n_closed:]
        both = [*inner, *[0 if d is None else d for d in inner]]
        tangents = [
            to_front(t, None, axis.size) if d is None else t
            for t, d in zip(tangents, inner, strict=True)
        ]
        # float0 tangents are never batched values
        both = [
            d if typeof(t).dtype != dtypes.float0 else None
            for d, t in zip(both, [*primals, *tangents], strict=True)
        ]
        outs = _vmapped(jvp_flat, axis, both)(*primals, *tangents)
        half = len(outs) // 2
        return outs[:half], [
            t if differentiable(typeof(p)) else Zero(typeof(p).to_tangent())
            for p, t in zip(outs[:half], outs[half:], strict=True)
        ]

    outs = custom_jvp_call_p.bind(
        *args, fun=_vmapped(fun, axis, dims), jvp=batched_jvp, n_closed=n_closed
    )
    return outs, [0] * len(outs)


custom_jvp_call_p: Primitive = Primitive(
    "custom_jvp_call",
    multiple_results=True,
    abstract_eval=_call_aval,
    evaluate=lambda *args, fun, **params: [operand("custom_jvp", x) for x in fun(*args)],
    stage=_stage(lambda: custom_jvp_call_p),
    jvp=_custom_jvp_rule,
    batch=_custom_jvp_batch,
    uses_axis=jaxpr_uses_axis,
)


class custom_jvp:  # noqa: N801 - JAX's name, used as a decorator
    """A function with a derivative rule of its own (forward mode; reverse follows from it).

    Args:
        fun: the function.
        nondiff_argnums: positional arguments that are Python values, passed to the rule first.

    Example:
        >>> import nr
        >>> @nr.custom_jvp
        ... def f(x):
        ...     return x ** 2
        >>> @f.defjvp
        ... def f_jvp(primals, tangents):
        ...     (x,), (t,) = primals, tangents
        ...     return f(x), 10.0 * t
        >>> nr.grad(f)(1.0)
        Array(10., dtype=float32)
    """

    def __init__(
        self,
        fun: Callable,
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: Sequence[str] = (),
    ) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.jvp: Callable | None = None
        self.nondiff_argnums = _nondiff(fun, nondiff_argnums, nondiff_argnames)
        self._arity = _arity(fun)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def defjvp(self, jvp: Callable, symbolic_zeros: bool = False) -> Callable:
        """Set the rule ``jvp(*nondiff, primals, tangents) -> (out, tangent_out)``."""
        if symbolic_zeros:
            raise NotImplementedError("custom_jvp: symbolic_zeros=True is not supported.")
        self.jvp = jvp
        return jvp

    def defjvps(self, *jvps: Callable | None) -> None:
        """Set one rule an argument: ``jvp(t, out, *args)`` gives its part of the tangent."""

        def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            out = self(*primals)
            parts = [
                rule(t, out, *primals)
                for rule, t in zip(jvps, tangents, strict=True)
                if rule is not None
            ]
            if not parts:
                return out, zero_tangents(out)
            return out, functools.reduce(lambda a, b: tree_map(lambda x, y: x + y, a, b), parts)

        self.jvp = jvp

    @api_boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = function_name(self.fun)
        if self.jvp is None:
            raise AttributeError(f"custom_jvp: {name} has no rule. Define one with @{name}.defjvp.")
        if kwargs or len(args) != self._arity:
            args = _resolve(self.fun, args, kwargs)
        dynamic, fun, statics = _without_static(self.fun, args, self.nondiff_argnums)
        leaves, in_tree = tree_flatten((dynamic, {}))
        check_leaves("custom_jvp", leaves, dynamic)
        flat = FlatFun(fun, in_tree, "custom_jvp")
        rule = self.jvp

        def flat_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            (xs, _), (ts, _) = in_tree.unflatten(primals), in_tree.unflatten(tangents)
            pair = rule(*statics, tuple(xs), tuple(ts))
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(
                    f"custom_jvp: the rule of {name} must return a pair (out, tangent_out); "
                    f"got {type(pair).__name__}."
                )
            outs, out_tree = tree_flatten(pair[0])
            outs_dot, dot_tree = tree_flatten(pair[1])
            if out_tree != dot_tree:
                raise TypeError(
                    f"custom_jvp: the rule of {name} must return an output and a tangent of the "
                    f"same structure; got {out_tree} and {dot_tree}."
                )
            flat.out_tree = out_tree
            outs = [operand("custom_jvp", x) for x in outs]
            return outs, [_checked_tangent(name, p, t) for p, t in zip(outs, outs_dot, strict=True)]

        outs = custom_jvp_call_p.bind(
            *[operand("custom_jvp", x) for x in leaves], fun=flat, jvp=flat_jvp, n_closed=0
        )
        return tree_unflatten(flat.out_tree, outs)


def _checked_tangent(name: str, primal: Any, tangent: Any) -> Any:
    expected = typeof(primal).to_tangent()
    if type(tangent) is Zero or expected.dtype == dtypes.float0:
        return Zero(expected)
    got = typeof(tangent)
    if got.shape != expected.shape or (got.dtype != expected.dtype and not got.weak_type):
        raise TypeError(
            f"custom_jvp: the rule of {name} must return a tangent of the type of its output, "
            f"{expected}; got {got}."
        )
    tangent = operand("custom_jvp", tangent)
    return tangent if got.dtype == expected.dtype else tangent.astype(expected.dtype)


# ---------------------------------------------------------------- custom_vjp
def _custom_vjp_rule(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    fun: Callable,
    fwd: Callable,
    bwd: Callable,
    n_closed: int,
) -> Any:
    primals, tangents = _without_closed("custom_vjp", n_closed, primals, tangents)
    outs, residuals = fwd(*primals)
    outs = [operand("custom_vjp", x) for x in outs]
    avals = [typeof(x) for x in outs]
    real = [i for i, a in enumerate(avals) if differentiable(a)]
    if not real:
        return outs, [Zero(a.to_tangent()) for a in avals]
    linear = [i for i, p in enumerate(primals) if differentiable(typeof(p))]
    results = iter(
        custom_lin_p.bind(
            *[operand("custom_vjp", r) for r in residuals],
            *[instantiate(tangents[i]) for i in linear],
            n_residuals=len(residuals),
            bwd=bwd,
            in_avals=tuple([typeof(p) for p in primals]),
            out_avals=tuple(avals),
        )
    )
    return outs, [next(results) if i in real else Zero(a.to_tangent()) for i, a in enumerate(avals)]


def _no_forward_mode(*args: Any, **params: Any) -> Any:
    raise TypeError(CUSTOM_VJP_FORWARD_MODE)


def _custom_lin_aval(
    *avals: ShapedArray, n_residuals: int, bwd: Callable, in_avals: tuple, out_avals: tuple
) -> list[ShapedArray]:
    return [a.to_tangent() for a in out_avals if differentiable(a)]


def _custom_lin_transpose(
    cts: Sequence[Any],
    *args: Any,
    n_residuals: int,
    bwd: Callable,
    in_avals: tuple,
    out_avals: tuple,
) -> list[Any]:
    rest = iter(cts)
    full = [
        instantiate(next(rest)) if differentiable(a) else np.zeros(a.shape, dtypes.float0)
        for a in out_avals
    ]
    in_cts = bwd(args[:n_residuals], full)
    given = [ct for ct, a in zip(in_cts, in_avals, strict=True) if differentiable(a)]
    return [
        *[None] * n_residuals,
        *[
            ct if type(x) is UndefinedPrimal else None
            for x, ct in zip(args[n_residuals:], given, strict=True)
        ],
    ]


def _custom_lin_batch(
    axis: Any,
    args: Any,
    dims: Any,
    *,
    n_residuals: int,
    bwd: Callable,
    in_avals: tuple,
    out_avals: tuple,
) -> Any:
    args = [
        to_front(x, d, axis.size) if d is not None or i >= n_residuals else x
        for i, (x, d) in enumerate(zip(args, dims, strict=True))
    ]
    res_dims = [None if d is None else 0 for d in dims[:n_residuals]]

    def wide(aval: ShapedArray) -> ShapedArray:
        return ShapedArray((axis.size, *aval.shape), aval.dtype)

    def batched_bwd(residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        ct_dims = [0 if typeof(ct).dtype != dtypes.float0 else None for ct in cts]

        def flat(*values: Any) -> list[Any]:
            return [
                x
                for x, a in zip(bwd(values[:n_residuals], values[n_residuals:]), in_avals,
                                strict=True)
                if differentiable(a)
            ]  # fmt: skip

        outs = iter(_vmapped(flat, axis, [*res_dims, *ct_dims])(*residuals, *cts))
        return [next(outs) if differentiable(a) else Zero(a.to_tangent()) for a in in_avals]

    outs = custom_lin_p.bind(
        *args,
        n_residuals=n_residuals,
        bwd=batched_bwd,
        in_avals=tuple([wide(a) for a in in_avals]),
        out_avals=tuple([wide(a) for a in out_avals]),
    )
    return outs, [0] * len(outs)


custom_lin_p = Primitive(
    "custom_lin",
    multiple_results=True,
    abstract_eval=_custom_lin_aval,
    jvp=_no_forward_mode,
    transpose=_custom_lin_transpose,
    batch=_custom_lin_batch,
)


def _custom_vjp_batch(
    axis: Any,
    args: Any,
    dims: Any,
    *,
    fun: Callable,
    fwd: Callable,
    bwd: Callable,
    n_closed: int,
) -> Any:
    inner = dims[n_closed:]
    in_avals: list[ShapedArray] = []

    def batched_fwd(*vals: Any) -> Any:
        count: list[int] = []

        def both(*xs: Any) -> list[Any]:
            in_avals[:] = [typeof(x) for x in xs]
            outs, residuals = fwd(*xs)
            count[:] = [len(outs)]
            return [*outs, *residuals]

        flat = _vmapped(both, axis, inner)(*vals)
        return flat[: count[0]], flat[count[0] :]

    def batched_bwd(residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        n = len(residuals)
        ct_dims = [0 if typeof(ct).dtype != dtypes.float0 else None for ct in cts]

        def flat(*values: Any) -> list[Any]:
            in_cts = bwd(values[:n], values[n:])
            return [
                instantiate(ct) for ct, a in zip(in_cts, in_avals, strict=True) if differentiable(a)
            ]

        outs = iter(_vmapped(flat, axis, [0] * n + ct_dims)(*residuals, *cts))
        result = []
        for a, d in zip(in_avals, inner, strict=True):
            if not differentiable(a):
                result.append(Zero(a.to_tangent()))
                continue
            ct = next(outs)
            if d is None:  # the same in all lanes: their cotangents add up
                ct = Primitive.all["reduce_sum"].bind(ct, axes=(0,))
            elif d != 0:
                ct = move_dim(ct, 0, d)
            result.append(ct)
        return result

    outs = custom_vjp_call_p.bind(
        *args,
        fun=_vmapped(fun, axis, dims),
        fwd=batched_fwd,
        bwd=batched_bwd,
        n_closed=n_closed,
    )
    return outs, [0] * len(outs)


custom_vjp_call_p: Primitive = Primitive(
    "custom_vjp_call",
    multiple_results=True,
    abstract_eval=_call_aval,
    evaluate=lambda *args, fun, **params: [operand("custom_vjp", x) for x in fun(*args)],
    stage=_stage(lambda: custom_vjp_call_p),
    jvp=_custom_vjp_rule,
    batch=_custom_vjp_batch,
    uses_axis=jaxpr_uses_axis,
)


class custom_vjp:  # noqa: N801
    """A function with a reverse-mode derivative rule of its own.

    Args:
        fun: the function.
        nondiff_argnums: positional arguments that are Python values; `bwd` gets them first.

    Example:
        >>> import nr
        >>> @nr.custom_vjp
        ... def f(x):
        ...     return x ** 2
        >>> f.defvjp(lambda x: (x ** 2, x), lambda x, ct: (10.0 * ct,))
        >>> nr.grad(f)(1.0)
        Array(10., dtype=float32)
    """

    def __init__(
        self,
        fun: Callable,
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: Sequence[str] = (),
    ) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.fwd: Callable | None = None
        self.bwd: Callable | None = None
        self.nondiff_argnums = _nondiff(fun, nondiff_argnums, nondiff_argnames)
        self._arity = _arity(fun)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def defvjp(
        self,
        fwd: Callable,
        bwd: Callable,
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
    ) -> None:
        """Set the rules: ``fwd(*args) -> (out, residuals)``, ``bwd(*nondiff, residuals, ct)``.

        bwd returns a tuple with a cotangent (or None for zero) for each argument.
        """
        if symbolic_zeros:
            raise NotImplementedError("custom_vjp: symbolic_zeros=True is not supported.")
        self.fwd, self.bwd = fwd, bwd

    @api_boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = function_name(self.fun)
        if self.fwd is None or self.bwd is None:
            raise AttributeError(
                f"custom_vjp: {name} has no rules. Define them with {name}.defvjp(fwd, bwd)."
            )
        if kwargs or len(args) != self._arity:
            args = _resolve(self.fun, args, kwargs)
        dynamic, fun, statics = _without_static(self.fun, args, self.nondiff_argnums)
        _, fwd, _ = _without_static(self.fwd, args, self.nondiff_argnums)
        leaves, in_tree = tree_flatten((dynamic, {}))
        check_leaves("custom_vjp", leaves, dynamic)
        flat = FlatFun(fun, in_tree, "custom_vjp")
        trees: dict[str, PyTreeDef] = {}
        bwd = self.bwd

        def flat_fwd(*xs: Any) -> Any:
            pair = fwd(*in_tree.unflatten(xs)[0])
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(
                    f"custom_vjp: fwd of {name} must return a pair (out, residuals); "
                    f"got {type(pair).__name__}."
                )
            outs, trees["out"] = tree_flatten(pair[0])
            residuals, trees["residuals"] = tree_flatten(pair[1])
            return [operand("custom_vjp", x) for x in outs], residuals

        def flat_bwd(residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
            ct = tree_unflatten(trees["out"], cts)
            res = tree_unflatten(trees["residuals"], residuals)
            return _checked_cts(name, bwd(*statics, res, ct), dynamic)

        outs = custom_vjp_call_p.bind(
            *[operand("custom_vjp", x) for x in leaves],
            fun=flat,
            fwd=flat_fwd,
            bwd=flat_bwd,
            n_closed=0,
        )
        tree = flat.out_tree if hasattr(flat, "out_tree") else trees["out"]
        return tree_unflatten(tree, outs)


def _checked_cts(name: str, cts: Any, args: tuple) -> list[Any]:
    """What bwd returned, as one cotangent a leaf of the arguments."""
    if isinstance(cts, list):
        cts = tuple(cts)
    if not isinstance(cts, tuple) or len(cts) != len(args):
        got = f"a tuple of {len(cts)}" if isinstance(cts, tuple) else type(cts).__name__
        raise TypeError(
            f"custom_vjp: bwd of {name} must return a tuple of {len(args)} cotangent(s), one an "
            f"argument; got {got}."
        )
    result = []
    for i, (ct, arg) in enumerate(zip(cts, args, strict=True)):
        leaves, tree = tree_flatten(arg)
        if ct is None:
            result += [_zero_ct(x) for x in leaves]
            continue
        parts, ct_tree = tree_flatten(ct, is_leaf=lambda x: x is None)
        if ct_tree != tree and tree_structure(ct) != tree:
            raise TypeError(
                f"custom_vjp: bwd of {name} must return cotangents of the arguments' structure; "
                f"got {tree_structure(ct)} for {tree} at argument {i}."
            )
        paths = tree_flatten_with_path(arg)[0]
        for part, (path, x) in zip(parts, paths, strict=True):
            expected = typeof(x).to_tangent()
            if part is None or type(part) is Zero or expected.dtype == dtypes.float0:
                result.append(_zero_ct(x))
                continue
            part = operand("custom_vjp", part)
            if part.shape != expected.shape or (
                part.dtype != expected.dtype and not part.weak_type
            ):
                raise ValueError(
                    f"custom_vjp: bwd of {name} must return a cotangent of the argument's type "
                    f"{expected}; got {part.aval} at argument {i}{keystr(path)}."
                )
            result.append(part if part.dtype == expected.dtype else part.astype(expected.dtype))
    return result


def _zero_ct(x: Any) -> Any:
    aval = typeof(x).to_tangent()
    return Zero(aval) if aval.dtype == dtypes.float0 else zeros_of(aval)


# ---------------------------------------------------------------- arguments
def _nondiff(fun: Callable, nums: Any, names: Sequence[str]) -> tuple[int, ...]:
    nums = (nums,) if isinstance(nums, int) else tuple(nums)
    if names:
        order = list(inspect.signature(fun).parameters)
        nums += tuple([order.index(name) for name in names])
    return tuple(sorted(nums))


def _arity(fun: Callable) -> int | None:
    """How many arguments, all by position, are all arguments; None where there is no such number.

    Calls of so many need no look at the signature, which takes longer than the call.
    """
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (ValueError, TypeError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return len(parameters) if all([p.kind in positional for p in parameters]) else None


def _resolve(fun: Callable, args: tuple, kwargs: dict) -> tuple:
    """All arguments by position, defaults filled in."""
    if not kwargs:
        try:
            bound = inspect.signature(fun).bind(*args)
        except (ValueError, TypeError):
            return args
    else:
        bound = inspect.signature(fun).bind(*args, **kwargs)
    bound.apply_defaults()
    if bound.kwargs:
        raise TypeError(
            f"custom derivatives: {function_name(fun)} must take its arguments by position; got "
            f"keyword-only {', '.join(bound.kwargs)}."
        )
    return bound.args


def _without_static(
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


def closure_convert(fun: Callable, *example_args: Any) -> tuple[Callable, list[Any]]:
    """A function without closed-over tracers, and those as a list of extra arguments.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([1.0, 3.0])
        >>> f, consts = nr.closure_convert(lambda x: x * 2.0, x)
        >>> f(x, *consts), consts
        (Array([2., 6.], dtype=float32), [])
    """
    leaves, in_tree = tree_flatten((example_args, {}))
    flat = FlatFun(fun, in_tree, "closure_convert")
    jaxpr, operands = trace_to_jaxpr(flat, [typeof(x) for x in leaves])
    out_tree, n = flat.out_tree, len(example_args)

    def converted(*args: Any) -> Any:
        given = tree_flatten((args[:n], {}))[0]
        return tree_unflatten(out_tree, JaxprCallable(jaxpr)(*args[n:], *given))

    return converted, operands


def custom_gradient(fun: Callable) -> Callable:
    """A function from one that returns its value and the function of the cotangent.

    Args:
        fun: ``f(*args) -> (value, pullback)``; ``pullback(ct)`` gives the cotangents of args as a
            tuple (or, of a single argument, the cotangent itself).

    Example:
        >>> import nr
        >>> f = nr.custom_gradient(lambda x: (x ** 2, lambda ct: (ct * 5.0,)))
        >>> f(3.0), nr.grad(f)(3.0)
        (Array(9., dtype=float32, weak_type=True), Array(5., dtype=float32))
    """

    def forward(*args: Any) -> tuple[Any, Any]:
        out, pullback = fun(*args)
        # the pullback closes over values of the forward pass: they become residuals
        like = tree_map(lambda x: operand("custom_gradient", x), out)
        converted, residuals = closure_convert(pullback, like)
        return out, (Partial(converted), residuals)

    def backward(kept: Any, ct: Any) -> tuple:
        converted, residuals = kept
        cts = converted(ct, *residuals)
        return cts if isinstance(cts, tuple) else (cts,)

    wrapped = custom_vjp(functools.wraps(fun)(lambda *args: fun(*args)[0]))
    wrapped.defvjp(forward, backward)
    return wrapped
