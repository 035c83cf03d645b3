"""custom_jvp and custom_vjp: ordinary primitives whose eager run is the user's Python function.

The function is traced only when something stages it. A custom vjp's tangent is one `custom_lin`
eqn that holds the backward function; transposing it calls that function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nr.core import dtypes
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.errors import CUSTOM_VJP_FORWARD_MODE
from nr.core.source_info import api_boundary, function_name
from nr.core.tracing import PYTHON_SCALARS, Primitive, typeof
from nr.core.trees import (
    PyTreeDef,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    tree_structure,
    tree_unflatten,
)
from nr.lax.rules import instantiate, move_dim, operand, to_front, zeros_of
from nr.transforms.ad import backward_pass, differentiable
from nr.transforms.batching import jaxpr_uses_axis
from nr.transforms.custom_rules import (
    agree,
    arity_of,
    function_aval,
    lane_avals,
    not_batched,
    placed,
    resolved_arguments,
    split_zeros,
    stage_function,
    static_places,
    vmapped,
    without_closed,
    without_static,
)
from nr.transforms.derivatives import of_free_type, zero_tangents
from nr.transforms.flat_fun import FlatFun, check_leaves


# ---------------------------------------------------------------- custom_jvp
def _custom_jvp_rule(
    primals: Sequence[Any], tangents: Sequence[Any], *, fun: Callable, jvp: Callable, n_closed: int
) -> Any:
    primals, tangents = without_closed("custom_jvp", n_closed, primals, tangents)
    return jvp(primals, tangents)


def _custom_jvp_batch(
    axis: Any, args: Any, dims: Any, *, fun: Callable, jvp: Callable, n_closed: int
) -> Any:
    axis, inner = axis.axis(), dims[n_closed:]
    noted: list[int | None] | None = [] if not_batched(dims) else None

    def batched_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        lanes = lane_avals(primals, inner)
        given, given_dims, whole = split_zeros(tangents, lanes, inner)
        n = len(primals)
        zero: list[Any] = []

        def jvp_flat(*values: Any) -> list[Any]:
            outs, outs_dot = jvp(values[:n], whole(values[n:]))
            zero[:] = [t if type(t) is Zero else None for t in outs_dot]
            return [*outs, *[t for t in outs_dot if type(t) is not Zero]]

        found: list[int | None] | None = None if noted is None else []
        outs = vmapped(jvp_flat, axis, [*inner, *given_dims], found)(*primals, *given)
        if noted is not None and found is not None:
            nonzero = [i for i, z in enumerate(zero) if z is None]
            agree(noted, found[: len(zero)], zip(nonzero, found[len(zero) :], strict=True))
            outs = placed(outs, found, [*noted, *[noted[i] for i in nonzero]], axis.size)
        outs, rest = outs[: len(zero)], iter(outs[len(zero) :])
        return outs, [
            next(rest) if z is None else Zero(typeof(p).to_tangent())
            for p, z in zip(outs, zero, strict=True)
        ]

    outs = custom_jvp_call_p.bind(
        *args, fun=vmapped(fun, axis, dims, noted), jvp=batched_jvp, n_closed=n_closed
    )
    return outs, [0] * len(outs) if noted is None else noted


def _custom_jvp_transpose(cts: Sequence[Any], *args: Any, fun: Any, **params: Any) -> list[Any]:
    # What is transposed is linear: a rule's own use of the function on tangents.
    return backward_pass(fun.jaxpr, args, cts)


custom_jvp_call_p: Primitive = Primitive(
    "custom_jvp_call",
    multiple_results=True,
    abstract_eval=function_aval,
    evaluate=lambda *args, fun, **params: [operand("custom_jvp", x) for x in fun(*args)],
    stage=stage_function(lambda: custom_jvp_call_p),
    jvp=_custom_jvp_rule,
    transpose=_custom_jvp_transpose,
    batch=_custom_jvp_batch,
    uses_axis=jaxpr_uses_axis,
)
custom_jvp_call_p.runs_functions = True


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
        Array(10., dtype=float32, weak_type=True)
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
        self.symbolic_zeros = False
        self.nondiff_argnums = static_places(fun, nondiff_argnums, nondiff_argnames)
        self._arity = arity_of(fun)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def defjvp(self, jvp: Callable, symbolic_zeros: bool = False) -> Callable:
        """Set the rule ``jvp(*nondiff, primals, tangents) -> (out, tangent_out)``.

        With symbolic_zeros, tangents known to be zero are
        `nr.custom_derivatives.SymbolicZero`, which has their shape and dtype, not arrays.
        """
        self.jvp, self.symbolic_zeros = jvp, symbolic_zeros
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

        self.jvp, self.symbolic_zeros = jvp, False

    @api_boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = function_name(self.fun)
        if self.jvp is None:
            raise AttributeError(f"custom_jvp: {name} has no rule. Define one with @{name}.defjvp.")
        if kwargs or len(args) != self._arity:
            args = resolved_arguments(self.fun, args, kwargs)
        dynamic, fun, statics = without_static(self.fun, args, self.nondiff_argnums)
        leaves, in_tree = tree_flatten((dynamic, {}))
        check_leaves("custom_jvp", leaves, dynamic)
        flat = FlatFun(fun, in_tree, "custom_jvp")
        rule, symbolic_zeros = self.jvp, self.symbolic_zeros

        def flat_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            if not symbolic_zeros:
                tangents = [instantiate(t) for t in tangents]
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
            if getattr(flat, "out_tree", out_tree) != out_tree:
                raise TypeError(
                    f"custom_jvp: the rule of {name} must return an output of the function's "
                    f"structure, {flat.out_tree}; got {out_tree}."
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
    tangent = of_free_type("custom_jvp", tangent, expected)
    got = typeof(tangent)
    number = got.weak_type and got.dtype in dtypes.INTEGER
    if got.shape != expected.shape or (got.dtype != expected.dtype and not number):
        raise TypeError(
            f"custom_jvp: the rule of {name} must return a tangent of the type of its output, "
            f"{expected}; got {got}."
        )
    tangent = operand("custom_jvp", tangent)
    return tangent.astype(expected.dtype) if number else tangent


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
    primals, tangents = without_closed("custom_vjp", n_closed, primals, tangents)
    outs, residuals = fwd([type(t) is not Zero for t in tangents], *primals)
    outs = [operand("custom_vjp", x) for x in outs]
    avals = [typeof(x) for x in outs]
    real = [i for i, a in enumerate(avals) if differentiable(a)]
    if not real:
        return outs, [Zero(a.to_tangent()) for a in avals]
    linear = [i for i, p in enumerate(primals) if differentiable(typeof(p))]
    numbers = _numbers(residuals)
    arrays = [operand("custom_vjp", r) for i, r in enumerate(residuals) if i not in numbers]
    results = iter(
        custom_lin_p.bind(
            *arrays,
            *[instantiate(tangents[i]) for i in linear],
            n_residuals=len(arrays),
            bwd=lambda rest, cts: bwd(_joined(numbers, rest), cts),
            in_avals=tuple([typeof(p) for p in primals]),
            out_avals=tuple(avals),
        )
    )
    return outs, [next(results) if i in real else Zero(a.to_tangent()) for i, a in enumerate(avals)]


def _numbers(residuals: Sequence[Any]) -> dict[int, Any]:
    """Python's numbers among residuals, by place: bwd gets them as they are, as flags and axes."""
    return {i: r for i, r in enumerate(residuals) if type(r) in PYTHON_SCALARS}


def _joined(numbers: dict[int, Any], others: Sequence[Any]) -> list[Any]:
    """All residuals, of numbers by place and the others in their order."""
    rest = iter(others)
    return [numbers[i] if i in numbers else next(rest) for i in range(len(numbers) + len(others))]


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
    full = [next(rest) if differentiable(a) else Zero(a.to_tangent()) for a in out_avals]
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
    axis = axis.axis()
    res_dims = [None if d is None else 0 for d in dims[:n_residuals]]

    def wide(aval: ShapedArray) -> ShapedArray:
        return ShapedArray((axis.size, *aval.shape), aval.dtype)

    def batched_bwd(residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        given, ct_dims, whole = split_zeros(cts, out_avals, [0] * len(cts))

        def flat(*values: Any) -> list[Any]:
            in_cts = bwd(values[:n_residuals], whole(values[n_residuals:]))
            return [x for x, a in zip(in_cts, in_avals, strict=True) if differentiable(a)]

        outs = iter(vmapped(flat, axis, [*res_dims, *ct_dims])(*residuals, *given))
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
    axis, inner = axis.axis(), dims[n_closed:]
    noted: list[int | None] | None = [] if not_batched(dims) else None
    residual_dims: list[int | None] = []
    in_avals: list[ShapedArray] = []
    out_avals: list[ShapedArray] = []

    def batched_fwd(perturbed: Sequence[bool], *vals: Any) -> Any:
        numbers: dict[int, Any] = {}

        def both(*xs: Any) -> list[Any]:
            in_avals[:] = [typeof(x) for x in xs]
            outs, residuals = fwd(perturbed, *xs)
            out_avals[:] = [typeof(x) for x in outs]
            numbers.update(_numbers(residuals))
            return [*outs, *[r for i, r in enumerate(residuals) if i not in numbers]]

        found: list[int | None] | None = None if noted is None else []
        flat = vmapped(both, axis, inner, found)(*vals)
        n = len(out_avals)
        others = [0] * (len(flat) - n) if found is None else found[n:]
        if noted is not None and found is not None:
            agree(noted, found[:n])
            flat = placed(flat, found, [*noted, *others], axis.size)
        residual_dims[:] = _joined(dict.fromkeys(numbers), others)
        return flat[:n], _joined(numbers, flat[n:])

    def batched_bwd(residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        n = len(residuals)
        dims_of_cts = [0] * len(cts) if noted is None else noted
        given, ct_dims, whole = split_zeros(cts, out_avals, dims_of_cts)

        def flat(*values: Any) -> list[Any]:
            in_cts = bwd(values[:n], whole(values[n:]))
            return [
                instantiate(ct) for ct, a in zip(in_cts, in_avals, strict=True) if differentiable(a)
            ]

        found: list[int | None] = []
        run = vmapped(flat, axis, [*residual_dims, *ct_dims], None if noted is None else found)
        outs = run(*residuals, *given)
        parts = zip(outs, found or [0] * len(outs), strict=True)
        result = []
        for a, d in zip(in_avals, inner, strict=True):
            if not differentiable(a):
                result.append(Zero(a.to_tangent()))
                continue
            ct, ct_dim = next(parts)
            if ct_dim is None:
                pass
            elif d is None:  # the same in all lanes: their cotangents add up
                ct = Primitive.all["reduce_sum"].bind(ct, axes=(0,))
            elif d != 0:
                ct = move_dim(ct, 0, d)
            result.append(ct)
        return result

    outs = custom_vjp_call_p.bind(
        *args,
        fun=vmapped(fun, axis, dims, noted),
        fwd=batched_fwd,
        bwd=batched_bwd,
        n_closed=n_closed,
    )
    return outs, [0] * len(outs) if noted is None else noted


custom_vjp_call_p: Primitive = Primitive(
    "custom_vjp_call",
    multiple_results=True,
    abstract_eval=function_aval,
    evaluate=lambda *args, fun, **params: [operand("custom_vjp", x) for x in fun(*args)],
    stage=stage_function(lambda: custom_vjp_call_p),
    jvp=_custom_vjp_rule,
    batch=_custom_vjp_batch,
    uses_axis=jaxpr_uses_axis,
)
custom_vjp_call_p.runs_functions = True


@dataclass(frozen=True, slots=True)
class CustomVJPPrimal:
    """What `fwd` of a custom_vjp with symbolic zeros gets for an array.

    value: the array. perturbed: whether anything is differentiated with respect to it.
    """

    value: Any
    perturbed: bool


def custom_vjp_primal_tree_values(tree: Any) -> Any:
    """A tree with the arrays in place of every `CustomVJPPrimal`."""
    return tree_map(lambda x: x.value if isinstance(x, CustomVJPPrimal) else x, tree)


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
        Array(10., dtype=float32, weak_type=True)
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
        self.symbolic_zeros = False
        self.nondiff_argnums = static_places(fun, nondiff_argnums, nondiff_argnames)
        self._arity = arity_of(fun)

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

        Args:
            symbolic_zeros: `fwd` gets `nr.custom_derivatives.CustomVJPPrimal` in place of arrays,
                which tell what is differentiated, and `bwd` gets
                `nr.custom_derivatives.SymbolicZero` for cotangents known to be zero.
            optimize_remat: accepted for compatibility; what `fwd` computes beside its residuals
                is never computed twice here.
        """
        self.fwd, self.bwd, self.symbolic_zeros = fwd, bwd, symbolic_zeros

    @api_boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = function_name(self.fun)
        if self.fwd is None or self.bwd is None:
            raise AttributeError(
                f"custom_vjp: {name} has no rules. Define them with {name}.defvjp(fwd, bwd)."
            )
        if kwargs or len(args) != self._arity:
            args = resolved_arguments(self.fun, args, kwargs)
        dynamic, fun, statics = without_static(self.fun, args, self.nondiff_argnums)
        _, fwd, _ = without_static(self.fwd, args, self.nondiff_argnums)
        leaves, in_tree = tree_flatten((dynamic, {}))
        check_leaves("custom_vjp", leaves, dynamic)
        flat = FlatFun(fun, in_tree, "custom_vjp")
        trees: dict[str, PyTreeDef] = {}
        bwd, symbolic_zeros = self.bwd, self.symbolic_zeros
        avals = [typeof(x) for x in leaves]

        def flat_fwd(perturbed: Sequence[bool], *xs: Any) -> Any:
            if symbolic_zeros:
                xs = tuple(map(CustomVJPPrimal, xs, perturbed))
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
            if not symbolic_zeros:
                cts = [instantiate(ct) for ct in cts]
            ct = tree_unflatten(trees["out"], cts)
            res = tree_unflatten(trees["residuals"], residuals)
            # of the arguments only the types: residuals are what the backward pass keeps
            return _checked_cts(name, bwd(*statics, res, ct), in_tree.unflatten(avals)[0])

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
        parts: list[Any] = []

        def add(part: Any, subtree: Any, parts: list[Any] = parts) -> None:
            parts.extend([part] * len(tree_leaves(subtree)))

        try:  # None stands for the zeros of all that is at its place
            tree_map(add, ct, arg, is_leaf=lambda x: x is None)
        except ValueError:
            raise TypeError(
                f"custom_vjp: bwd of {name} must return cotangents of the arguments' structure; "
                f"got {tree_structure(ct)} for {tree_structure(arg)} at argument {i}."
            ) from None
        paths = tree_flatten_with_path(arg)[0]
        for part, (path, x) in zip(parts, paths, strict=True):
            expected = typeof(x).to_tangent()
            if part is None or type(part) is Zero or expected.dtype == dtypes.float0:
                result.append(_zero_ct(x))
                continue
            part = operand("custom_vjp", part)
            loses = part.dtype in dtypes.COMPLEX and expected.dtype not in dtypes.COMPLEX
            if part.shape != expected.shape or loses:
                raise ValueError(
                    f"custom_vjp: bwd of {name} must return a cotangent of the argument's type "
                    f"{expected}; got {part.aval} at argument {i}{keystr(path)}."
                )
            result.append(part if part.dtype == expected.dtype else part.astype(expected.dtype))
    return result


def zero_from_primal(val: Any, symbolic_zeros: bool = False) -> Any:
    """The zero tangents of a pytree of values: arrays, or `SymbolicZero` if that is asked for.

    Example:
        >>> import nr
        >>> nr.custom_derivatives.zero_from_primal(nr.numpy.arange(2.0))
        Array([0., 0.], dtype=float32)
    """

    def zero(x: Any) -> Any:
        aval = typeof(x).to_tangent()
        return Zero(aval) if symbolic_zeros else operand("zero_from_primal", zeros_of(aval))

    return tree_map(zero, val)


def _zero_ct(x: Any) -> Any:
    aval = typeof(x).to_tangent()
    return Zero(aval) if aval.dtype == dtypes.float0 else zeros_of(aval)
