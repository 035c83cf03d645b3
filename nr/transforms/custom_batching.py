"""custom_vmap: functions with a rule of their own for `nr.vmap`; sequential_vmap: in a loop.

The call is a primitive whose batch rule is the user's. Forward derivatives keep the rule: they are
a call of the same kind, whose rule is the derivative of the rule. Reverse mode differentiates the
function itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from nr.core.avals import Zero
from nr.core.jaxprs import eval_jaxpr
from nr.core.source_info import api_boundary, function_name
from nr.core.tracing import Primitive, typeof
from nr.core.trees import tree_flatten, tree_map, tree_unflatten
from nr.lax.rules import instantiate, operand, to_front
from nr.transforms.ad import jvp_flat, linearize_flat, zeros_filled
from nr.transforms.batching import jaxpr_uses_axis
from nr.transforms.control_flow import map as lax_map
from nr.transforms.custom_rules import function_aval, resolved_arguments, stage_function
from nr.transforms.flat_fun import FlatFun, check_leaves

# ``(size, batched, *args) -> (outs, outs batched)``: all flat, batched values batched in front.
FlatRule = Callable[..., tuple[list[Any], list[bool]]]


def _batch(axis: Any, args: Any, dims: Any, *, fun: Callable, rule: FlatRule, n_closed: int) -> Any:
    if any(d is not None for d in dims[:n_closed]):
        raise NotImplementedError(
            "custom_vmap: the function closes over a value that vmap maps, which its rule would "
            "not get. Pass the value as an argument."
        )
    args, dims = args[n_closed:], dims[n_closed:]
    flags = [d is not None for d in dims]
    values = [to_front(x, d, axis.size) if d is not None else x
              for x, d in zip(args, dims, strict=True)]  # fmt: skip
    outs, batched = rule(axis.size, flags, *values)
    return outs, [0 if flag else None for flag in batched]


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    fun: Callable,
    rule: FlatRule,
    n_closed: int,
) -> Any:
    n = len(primals)
    nonzero = [type(t) is not Zero for t in tangents]

    def both(f: Callable, values: Sequence[Any], avals: Sequence[Any]) -> list[Any]:
        rest = iter(values[n:])
        dots = [next(rest) if nz else Zero(typeof(a).to_tangent())
                for a, nz in zip(avals, nonzero, strict=True)]  # fmt: skip
        outs, outs_dot = jvp_flat(f, values[:n], dots)
        return [*outs, *map(instantiate, outs_dot)]

    def dual(*values: Any) -> list[Any]:
        return both(fun, values, values[:n])

    def dual_rule(size: int, flags: Sequence[bool], *values: Any) -> tuple[list, list[bool]]:
        # a primal and its tangent are batched together, or neither
        joint, position = list(flags[:n]), n
        for i, nz in enumerate(nonzero):
            if nz:
                joint[i] = joint[i] or flags[position]
                position += 1
        wanted = [*joint, *[j for j, nz in zip(joint, nonzero, strict=True) if nz]]
        values = tuple([
            to_front(x, None, size) if want and not flag else x
            for x, want, flag in zip(values, wanted, flags, strict=True)
        ])  # fmt: skip
        batched: list[bool] = []

        def run(*xs: Any) -> list[Any]:
            outs, batched[:] = rule(size, joint[n_closed:], *xs[n_closed:])
            return outs

        outs = both(run, values, values[:n])
        return outs, batched * 2

    moved = [t for t in tangents if type(t) is not Zero]
    results = custom_vmap_call_p.bind(*primals, *moved, fun=dual, rule=dual_rule, n_closed=0)
    half = len(results) // 2
    return results[:half], results[half:]


def _linearize(nonzeros: Sequence[bool], *primals: Any, fun: Callable, **params: Any) -> Any:
    outs = custom_vmap_call_p.bind(*primals, fun=fun, **params)
    _, tangent, residuals, nz_out = linearize_flat(fun, primals, nonzeros)

    def linear_fun(*tangents: Any) -> list[Any]:
        return zeros_filled(outs, eval_jaxpr(tangent, *residuals, *tangents), nz_out)

    return outs, linear_fun


custom_vmap_call_p: Primitive = Primitive(
    "custom_vmap_call",
    multiple_results=True,
    abstract_eval=function_aval,
    evaluate=lambda *args, fun, **params: [operand("custom_vmap", x) for x in fun(*args)],
    stage=stage_function(lambda: custom_vmap_call_p),
    jvp=_jvp,
    linearize=_linearize,
    batch=_batch,
    uses_axis=jaxpr_uses_axis,
)


class custom_vmap:  # noqa: N801 - JAX's name, used as a decorator
    """A function with a rule of its own for `nr.vmap`.

    Args:
        fun: a function of arrays and pytrees.

    Example:
        >>> import nr, nr.numpy as jnp
        >>> @nr.custom_batching.custom_vmap
        ... def f(x):
        ...     return jnp.sin(x)
        >>> @f.def_vmap
        ... def rule(axis_size, in_batched, x):
        ...     return jnp.cos(x), in_batched[0]
        >>> f(0.0), nr.vmap(f)(jnp.zeros(2))
        (Array(0., dtype=float32, weak_type=True), Array([1., 1.], dtype=float32))
    """

    def __init__(self, fun: Callable) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.vmap_rule: Callable | None = None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def def_vmap(self, vmap_rule: Callable) -> Callable:
        """Set the rule ``rule(axis_size, in_batched, *args) -> (out, out_batched)``.

        `in_batched` has a bool for each leaf of the arguments: whether the leaf has the mapped
        axis, as its first one. `out_batched` says so of each leaf of out.
        """
        self.vmap_rule = vmap_rule
        return vmap_rule

    @api_boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name, rule = function_name(self.fun), self.vmap_rule
        if rule is None:
            raise AttributeError(
                f"custom_vmap: {name} has no rule for vmap. Define one with @{name}.def_vmap."
            )
        args = resolved_arguments(self.fun, args, kwargs)
        leaves, in_tree = tree_flatten((args, {}))
        check_leaves("custom_vmap", leaves, args)
        flat = FlatFun(self.fun, in_tree, "custom_vmap")

        def flat_rule(size: int, batched: Sequence[bool], *xs: Any) -> tuple[list, list[bool]]:
            in_batched = list(in_tree.unflatten(batched)[0])
            pair = rule(size, in_batched, *in_tree.unflatten(xs)[0])
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(
                    f"custom_vmap: the rule of {name} must return a pair (out, out_batched); got "
                    f"{type(pair).__name__}."
                )
            outs, flat.out_tree = tree_flatten(pair[0])
            out_batched, batched_tree = tree_flatten(pair[1])
            if batched_tree != flat.out_tree:
                raise ValueError(
                    f"custom_vmap: the rule of {name} must return out_batched of the structure of "
                    f"out; got {batched_tree} for {flat.out_tree}."
                )
            return [operand("custom_vmap", x) for x in outs], [bool(b) for b in out_batched]

        operands = [operand("custom_vmap", x) for x in leaves]
        outs = custom_vmap_call_p.bind(*operands, fun=flat, rule=flat_rule, n_closed=0)
        return tree_unflatten(flat.out_tree, outs)


def sequential_vmap(fun: Callable) -> custom_vmap:
    """A function that `nr.vmap` calls once a lane, in a loop, rather than for all lanes at once.

    So branches and loops that depend on a lane run as they do without vmap, and memory is that of
    one lane.

    Example:
        >>> import nr, nr.numpy as jnp
        >>> f = nr.custom_batching.sequential_vmap(lambda x: nr.lax.cond(x > 0, jnp.sqrt, abs, x))
        >>> nr.vmap(f)(jnp.array([4.0, -1.0]))
        Array([2., 1.], dtype=float32)
    """
    mapped = custom_vmap(fun)

    @mapped.def_vmap
    def rule(axis_size: int, in_batched: list, *args: Any) -> Any:
        leaves, tree = tree_flatten(args)
        flags = tree_flatten(in_batched)[0]

        def step(given: Sequence[Any]) -> Any:
            rest = iter(given)
            lane = [next(rest) if b else x for x, b in zip(leaves, flags, strict=True)]
            return mapped(*tree_unflatten(tree, lane))

        out = lax_map(step, [x for x, b in zip(leaves, flags, strict=True) if b])
        return out, tree_map(lambda _: True, out)

    return mapped
